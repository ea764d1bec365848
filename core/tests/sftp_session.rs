//! The SFTP client session, driven by a binding that has neither threads nor a file system.

mod sftp;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use konko_core::Time;
use konko_core::provider;
use konko_core::sftp::session::{
    Answer, Cursor, Error, ErrorKind, Event, Filled, GetOptions, Links, OpenOptions, PutOptions, Question,
    Remote, Session,
};
use konko_core::sftp::transfer::TransferConfig;
use konko_core::sftp::{Attrs, ClientConfig, ServerConfig};
use sftp::drive::{Far, Own};
use sftp::pattern;

/// What a local path stands for: permissions with the type, and what is in a file.
type Local = BTreeMap<Vec<u8>, (u32, Vec<u8>)>;

const DIR: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

/// A client over a server in memory; its local files are in memory as well.
struct Desk {
    session: Session<Vec<u8>>,
    far: Own,
    local: Local,
    now: Time,
    /// The server's answers do not arrive.
    mute: bool,
}

#[derive(Debug)]
struct NoSuchFile;

impl std::fmt::Display for NoSuchFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no such local file")
    }
}

impl std::error::Error for NoSuchFile {}

impl Desk {
    fn new() -> (Self, Remote) {
        let transfers = TransferConfig::new().provider(Some(provider::best()));
        let session = Session::new(ClientConfig::default(), transfers);
        let remote = session.remote();
        let far = Own::new(ServerConfig::default());
        let mut desk = Desk { session, far, local: Local::new(), now: Time::ZERO, mute: false };
        desk.run(remote.ready()).unwrap();
        (desk, remote)
    }

    /// Runs a procedure to its end; whenever nothing moves, the time goes on to the next deadline.
    fn run<T>(&mut self, procedure: impl Future<Output = T>) -> T {
        let mut procedure = pin!(procedure);
        let mut still = 0;
        loop {
            if let Poll::Ready(result) = procedure.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                self.turn();
                return result;
            }
            still = if self.turn() { 0 } else { still + 1 };
            // What needs no bytes is answered without any.
            if still > 1 {
                self.now = self.session.deadline().expect("it waits for something that never comes");
                still = 0;
            }
        }
    }

    /// True: something moved.
    fn turn(&mut self) -> bool {
        let Desk { session, far, local, now, mute } = self;
        let mut moved = false;
        while let Some(event) = session.poll(*now) {
            moved = true;
            answer(event, local).give(session, local, *now);
        }
        let bytes = session.tx().pending().to_vec();
        session.tx().consume(bytes.len());
        far.receive(&bytes);
        let replies = far.send().filter(|_| !*mute).unwrap_or_default();
        let mut input = &replies[..];
        while let Some(event) = session.receive(&mut input, *now) {
            answer(event, local).give(session, local, *now);
        }
        moved || !bytes.is_empty() || !replies.is_empty()
    }

    fn file(&mut self, path: &str, content: &[u8]) {
        for (at, _) in path.match_indices('/') {
            self.local.entry(path.as_bytes()[..at].to_vec()).or_insert((DIR | 0o755, Vec::new()));
        }
        self.local.insert(path.as_bytes().to_vec(), (FILE | 0o640, content.to_vec()));
    }

    fn below(&self, dir: &str) -> Vec<(String, u32, Vec<u8>)> {
        let below = |path: &[u8]| {
            path.strip_prefix(dir.as_bytes()).map(|rest| String::from_utf8(rest.to_vec()).unwrap())
        };
        let entry = |(path, (mode, content)): (&Vec<u8>, &(u32, Vec<u8>))| {
            Some((below(path)?, *mode, content.clone()))
        };
        self.local.iter().filter_map(entry).collect()
    }
}

/// What the session is to be told when the event is gone.
enum Told {
    Nothing,
    Source(konko_core::sftp::transfer::JobId, Result<Attrs, Error>),
    Fill(konko_core::sftp::transfer::JobId, u64),
    Finished(konko_core::sftp::transfer::JobId),
}

impl Told {
    fn give(self, session: &mut Session<Vec<u8>>, local: &Local, now: Time) {
        match self {
            Told::Nothing => {}
            Told::Source(job, attrs) => session.source(job, attrs),
            Told::Fill(job, offset) => session.fill(job, offset, now, |path, room| {
                let (_, content) = local.get(path).ok_or(NoSuchFile)?;
                let rest = &content[offset as usize..];
                let len = rest.len().min(room.len());
                room[..len].copy_from_slice(&rest[..len]);
                Ok::<_, NoSuchFile>(Filled { len, size: Some(content.len() as u64) })
            }),
            Told::Finished(job) => session.finished(job, Ok(())),
        }
    }
}

fn attrs(local: &Local, path: &[u8]) -> Result<Attrs, Error> {
    let (mode, content) = local.get(path).ok_or_else(|| Error::local(path, NoSuchFile))?;
    Ok(Attrs::new().with_permissions(*mode).with_size(content.len() as u64).with_times(5, 7))
}

fn answer(event: Event<'_, Vec<u8>>, local: &mut Local) -> Told {
    match event {
        Event::Asked(asked) => {
            let answer = match asked.question() {
                Question::Stat { path, .. } => attrs(local, path).map(Answer::Attrs),
                Question::List { path } => {
                    let dir = [path, &b"/"[..]].concat();
                    let name = |other: &Vec<u8>| other.strip_prefix(&dir[..]).map(<[u8]>::to_vec);
                    Ok(Answer::Names(local.keys().filter_map(name).filter(|n| !n.contains(&b'/')).collect()))
                }
                Question::MakeDir { path, mode } => {
                    let made = !local.contains_key(path);
                    local.entry(path.clone()).or_insert((DIR | mode, Vec::new()));
                    Ok(Answer::Made(made))
                }
                Question::SetAttrs { path, attrs } => {
                    local.get_mut(path).unwrap().0 = DIR | attrs.permissions().unwrap();
                    Ok(Answer::Done)
                }
                // Dropped: nobody can say.
                _ => return Told::Nothing,
            };
            asked.answer(answer);
            Told::Nothing
        }
        Event::Open { job, source, file } => {
            *file = Some(source.path().to_vec());
            Told::Source(job, attrs(local, source.path()))
        }
        Event::Data { target, file, offset, data, .. } => {
            *file = Some(target.path().to_vec());
            let (_, content) =
                local.entry(target.path().to_vec()).or_insert((FILE | target.mode(), Vec::new()));
            let end = offset as usize + data.len();
            content.resize(content.len().max(end), 0);
            content[offset as usize..end].copy_from_slice(&data);
            Told::Nothing
        }
        Event::Fill { job, offset } => Told::Fill(job, offset),
        Event::Finish { job, target, .. } => {
            let file = local.entry(target.path().to_vec()).or_insert((FILE | target.mode(), Vec::new()));
            if let Some(mode) = target.finish(file.1.len() as u64).permissions {
                file.0 = FILE | mode;
            }
            Told::Finished(job)
        }
        _ => Told::Nothing,
    }
}

#[test]
fn a_tree_goes_to_a_server_and_comes_back_without_threads_and_files() {
    let (mut desk, remote) = Desk::new();
    desk.file("from/a", b"alpha");
    desk.file("from/empty", b"");
    desk.file("from/deep/er/big", &pattern(3_000_000));
    let put = desk.run(remote.put_tree(b"from", b"there", &PutOptions::new(), Links::Skip)).unwrap();
    assert_eq!((put.files, put.dirs, put.bytes, put.is_complete()), (3, 3, 3_000_005, true), "{put:?}");
    let get = GetOptions::new().preserve(true);
    let got = desk.run(remote.get_tree(b"there", b"back", &get, Links::Skip)).unwrap();
    assert_eq!((got.files, got.dirs, got.bytes, got.is_complete()), (3, 3, 3_000_005, true), "{got:?}");
    assert_eq!(desk.below("from"), desk.below("back"));
    let listed = desk.run(async {
        let (mut walk, mut paths) = (remote.walk(b"there"), Vec::new());
        while let Some(found) = walk.next().await {
            paths.push(String::from_utf8(found.unwrap().0).unwrap());
        }
        (paths, remote.glob(b"there/*/e?").await.unwrap())
    });
    assert_eq!(listed.0.len(), 5);
    assert_eq!(listed.1.iter().map(|(path, _)| &path[..]).collect::<Vec<_>>(), [b"there/deep/er"]);
    desk.run(remote.remove_dir_all(b"there")).unwrap();
    assert!(!desk.run(remote.exists(b"there")).unwrap());
    assert_eq!(desk.far.server.open_handles(), 0);
}

#[test]
fn a_cursor_writes_behind_and_reads_ahead_what_was_written() {
    let (mut desk, remote) = Desk::new();
    let bytes = pattern(5_000_000);
    let options = OpenOptions::new().read(true).write(true).create(true);
    let read = desk.run(async {
        let mut cursor = Cursor::new(Arc::new(remote.open_with(b"f", &options).await?));
        for piece in bytes.chunks(70_001) {
            cursor.write_all(piece).await?;
        }
        cursor.seek(1);
        let mut read = Vec::new();
        loop {
            cursor.fill(0).await?;
            let n = cursor.buffer().len();
            if n == 0 {
                break;
            }
            read.extend_from_slice(cursor.buffer());
            cursor.consume(n);
        }
        cursor.close().await?;
        Ok::<_, Error>(read)
    });
    assert!(read.unwrap() == bytes[1..]);
    assert_eq!(desk.far.server.open_handles(), 0);
}

#[test]
fn what_is_not_answered_in_time_is_an_error_and_the_session_goes_on() {
    let (mut desk, mut remote) = Desk::new();
    remote.set_timeout(Some(Duration::from_secs(3)));
    desk.mute = true;
    let error = desk.run(remote.metadata(b"/")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout(after) if after.as_secs() == 3), "{error}");
    assert_eq!(desk.now, Time::ZERO + Duration::from_secs(3));
    desk.mute = false;
    assert!(desk.session.ended().is_none());
}

#[test]
fn a_procedure_that_is_dropped_leaves_nothing_open() {
    let (mut desk, remote) = Desk::new();
    desk.far.fs.insert(b"f", pattern(1000)).unwrap();
    {
        let mut opening = pin!(remote.open(b"f"));
        assert!(opening.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        // It is sent, and the answer is not seen.
        while desk.session.poll(desk.now).is_some() {}
    }
    while desk.turn() {}
    assert_eq!(desk.far.server.open_handles(), 0);
    assert!(desk.run(remote.metadata(b"f")).is_ok());
}

#[test]
fn a_question_that_nobody_answers_is_an_error() {
    let (mut desk, remote) = Desk::new();
    desk.file("f", b"x");
    let atomic = PutOptions::new().atomic(true);
    let error = desk.run(remote.put(b"f", b"f", &atomic)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Cancelled), "{error}");
    let error = desk.run(remote.put(b"none", b"f", &PutOptions::new())).unwrap_err();
    assert_eq!(error.to_string(), "put \"f\": local \"none\": no such local file");
}

#[test]
fn the_end_of_the_session_ends_every_procedure() {
    let (mut desk, remote) = Desk::new();
    {
        let mut waiting = pin!(remote.metadata(b"/"));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        while desk.session.poll(desk.now).is_some() {}
        desk.session.stderr(b"out of memory\n");
        desk.session.eof();
        let Poll::Ready(Err(error)) = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("it waits for ever")
        };
        assert!(error.is_fatal() && error.to_string().contains("out of memory"), "{error}");
    }
    assert!(desk.run(remote.open(b"f")).unwrap_err().is_fatal());
}

#[test]
fn procedures_can_run_on_any_thread() {
    fn sent(_: &impl Send) {}
    let (_, remote) = Desk::new();
    let (get, put) = (GetOptions::new(), PutOptions::new());
    sent(&remote.get_tree(b"", b"", &get, Links::Skip));
    sent(&remote.put_tree(b"", b"", &put, Links::Skip));
    sent(&remote.copy_tree_to(b"", &remote, b"", &put, Links::Skip));
    sent(&remote.remove_dir_all(b""));
}
