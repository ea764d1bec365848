//! Trees over SFTP in an async runtime: the procedures of the core's client are futures, and run as they are.
//!
//! ```text
//! cargo run -p konko-mio --example sftp_tokio -- put notes /srv/notes ssh -s alice@example.org sftp
//! cargo run -p konko-mio --example sftp_tokio -- get /srv/notes back /usr/lib/openssh/sftp-server
//! ```
//!
//! [`drive`] is the whole binding: it moves bytes, and does what the session asks for with local files.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::{Wake, Waker};

use konko_mio::core::sftp::session::{
    Answer, Error, Event, Filled, GetOptions, PutOptions, Question, Remote, Session, Target, TreeReport,
};
use konko_mio::core::sftp::transfer::TransferConfig;
use konko_mio::core::sftp::{Attrs, ClientConfig};
use konko_mio::core::{Time, provider};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::Instant;

/// A procedure asked for something.
struct Asked(Notify);

impl Wake for Asked {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Runs a session until the server closes.
pub(crate) async fn drive(mut session: Session<fs::File>, stream: impl AsyncRead + AsyncWrite) {
    let (mut reader, mut writer) = tokio::io::split(Box::pin(stream));
    let asked = Arc::new(Asked(Notify::new()));
    session.set_waker(Waker::from(asked.clone()));
    let (start, mut buffer) = (Instant::now(), vec![0; 256 * 1024]);
    loop {
        let now = Time::ZERO + start.elapsed();
        while let Some(event) = session.poll(now) {
            let told = answer(event);
            told(&mut session, now);
        }
        let due = session.deadline().map(|at| start + at.since(Time::ZERO));
        let sending = !session.tx().is_empty();
        let came = tokio::select! {
            n = writer.write(session.tx().pending()), if sending => n.map(|n| {
                session.tx().consume(n);
                None
            }),
            n = reader.read(&mut buffer) => n.map(Some),
            () = tokio::time::sleep_until(due.unwrap_or(start)), if due.is_some() => Ok(None),
            () = asked.0.notified() => Ok(None),
        };
        match came {
            Ok(None) => {}
            Ok(Some(0)) => session.eof(),
            Ok(Some(n)) => {
                let (mut input, now) = (&buffer[..n], Time::ZERO + start.elapsed());
                while let Some(event) = session.receive(&mut input, now) {
                    let told = answer(event);
                    told(&mut session, now);
                }
            }
            Err(error) => session.lost(Error::link(error)),
        }
        if session.ended().is_some() {
            return;
        }
    }
}

type Told = Box<dyn FnOnce(&mut Session<fs::File>, Time)>;

/// Does what the session asks for; what it is to be told of that.
fn answer(event: Event<'_, fs::File>) -> Told {
    match event {
        Event::Asked(asked) => {
            let answer = look(asked.question()).map_err(|e| Error::local(b"", e));
            asked.answer(answer);
        }
        Event::Open { job, source, file } => {
            let opened = fs::File::open(path(source.path())).and_then(|opened| {
                let attrs = attrs(&opened.metadata()?);
                *file = Some(opened);
                Ok(attrs)
            });
            let opened = opened.map_err(|e| Error::local(source.path(), e));
            return Box::new(move |session, _| session.source(job, opened));
        }
        Event::Fill { job, offset } => {
            return Box::new(move |session, now| {
                session.fill(job, offset, now, |file, room| {
                    let len = file.read_at(room, offset)?;
                    let size = if len < room.len() { Some(file.metadata()?.len()) } else { None };
                    Ok::<_, io::Error>(Filled { len, size })
                });
            });
        }
        Event::Data { job, target, file, offset, data } => {
            let written = create(target, file).and_then(|file| {
                if target.takes(offset, &data) { file.write_all_at(&data, offset) } else { Ok(()) }
            });
            if let Err(error) = written {
                let error = Error::local(target.path(), error);
                return Box::new(move |session, _| session.failed(job, error));
            }
        }
        Event::Finish { job, target, file } => {
            let done = create(target, file).map(drop).map_err(|e| Error::local(target.path(), e));
            return Box::new(move |session, _| session.finished(job, done));
        }
        _ => {}
    }
    Box::new(|_, _| ())
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

fn attrs(meta: &fs::Metadata) -> Attrs {
    Attrs::new().with_permissions(meta.mode()).with_size(meta.len())
}

fn look(question: &Question) -> io::Result<Answer> {
    Ok(match question {
        Question::Stat { path: of, follow: true } => Answer::Attrs(attrs(&fs::metadata(path(of))?)),
        Question::Stat { path: of, .. } => Answer::Attrs(attrs(&fs::symlink_metadata(path(of))?)),
        Question::List { path: of } => Answer::Names(
            fs::read_dir(path(of))?.map(|e| Ok(e?.file_name().into_vec())).collect::<io::Result<_>>()?,
        ),
        Question::MakeDir { path: of, mode } => match fs::DirBuilder::new().mode(*mode).create(path(of)) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            made => Answer::Made(made.is_ok()),
        },
        _ => return Err(io::ErrorKind::Unsupported.into()),
    })
}

fn create<'f>(target: &mut Target, file: &'f mut Option<fs::File>) -> io::Result<&'f fs::File> {
    if file.is_none() {
        let opened = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(target.mode())
            .open(path(target.path()))?;
        if target.opened(&attrs(&opened.metadata()?)) {
            opened.set_len(0)?;
        }
        *file = Some(opened);
    }
    file.as_ref().ok_or_else(|| io::ErrorKind::Other.into())
}

/// Moves a tree: `put` sends it, anything else fetches it.
pub(crate) async fn tree(remote: Remote, what: &str, from: &[u8], to: &[u8]) -> Result<TreeReport, Error> {
    remote.ready().await?;
    match what {
        "put" => remote.put_tree(from, to, &PutOptions::new(), false).await,
        _ => remote.get_tree(from, to, &GetOptions::new(), false).await,
    }
}

pub(crate) fn session() -> Session<fs::File> {
    let transfers = TransferConfig::new().provider(Some(provider::best()));
    Session::new(ClientConfig::default(), transfers)
}

#[allow(dead_code, reason = "the tests take this file as a module")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, from, to, program, rest @ ..] = &arguments[..] else {
        return Err("usage: put|get FROM TO PROGRAM [ARGUMENT]...".into());
    };
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    let input = Stdio::from(OwnedFd::from(theirs.try_clone()?));
    let mut server = Command::new(program).args(rest).stdin(input).stdout(OwnedFd::from(theirs)).spawn()?;
    ours.set_nonblocking(true)?;
    let session = session();
    let moved = tree(session.remote(), what, from.as_bytes(), to.as_bytes());
    let report = tokio::select! {
        report = moved => report?,
        () = drive(session, tokio::net::UnixStream::from_std(ours)?) => return Err("the server closed".into()),
    };
    server.wait()?;
    let report = report.complete()?;
    println!("{} files, {} bytes", report.files, report.bytes);
    Ok(())
}
