//! Backends that answer late, from other threads and in any order.
#![cfg(feature = "server")]

#[path = "../examples/object_store.rs"]
mod object_store;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::time::{Duration, Instant};

use konko::core::channel::WindowConfig;
use konko::core::keys::{KeyType, PrivateKey};
use konko::core::provider;
use konko::core::sftp::MAX_DATA;
use konko::core::sftp::*;
use konko::core::{Rng, Seed};
use konko::server::users::{User, Users};
use konko::server::{Programs, Server as SshServer, ServerOptions, Service};
use konko::sftp::{Pooled, Replies, Sftp, SftpOptions, Workers, serve, serve_streams};
use konko::{Auth, Cancel, Client, ClientOptions, Exit, FdStream, HostKeys};
use object_store::{AT_ONCE, Body, Database, ObjectStore};

const LIMIT: Duration = Duration::from_secs(60);
/// What the server's end of a channel takes before it is read.
fn small() -> WindowConfig {
    WindowConfig::new().initial(64 << 10).max(64 << 10).packet(32 << 10)
}

/// Tickets go to the test, which answers when it likes.
struct Kept {
    replies: Replies,
    asked: Sender<(Ticket, Option<u64>)>,
}

impl Backend for Kept {
    fn request(&mut self, _: &mut SftpServer, request: Request<'_>) {
        let offset = match request.op {
            Op::Read { offset, .. } => Some(offset),
            _ => None,
        };
        let _ = self.asked.send((request.ticket, offset));
    }

    fn settle(&mut self, server: &mut SftpServer) {
        self.replies.settle(server);
    }

    fn abandoned(&mut self, _: HandleId) {}
}

type Asked = Receiver<(Ticket, Option<u64>)>;

/// A server over SSH with a backend that keeps what it is asked, with this configuration, and a client of it.
fn kept_over_ssh(config: ServerConfig) -> (SshServer, Client, Replies, Asked) {
    let (asked, requests) = channel();
    let replies = Replies::new();
    let theirs = replies.clone();
    let programs = Programs::new().subsystem("sftp", move |call| {
        let mut backend = Kept { replies: theirs.clone(), asked: asked.clone() };
        u32::from(serve(&call.channel(), config.clone(), &mut backend).is_err())
    });
    let (server, client) = over_ssh(programs);
    (server, client, replies, requests)
}

/// A server that runs these programs, and a client of it.
fn over_ssh(programs: Programs) -> (SshServer, Client) {
    let mut users = Users::new();
    users.add("alice", User::new().password("wonderland")).unwrap();
    let service = Service::new(Arc::new(users), Arc::new(programs));
    let options = ServerOptions::with_new_key().unwrap().methods(service.users().methods()).window(small());
    let server = SshServer::listen("127.0.0.1:0", options, move |_| service.clone()).unwrap();
    let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
    let client = Client::connect(server.local_addr(), options).unwrap();
    client.login("alice", Auth::new().password("wonderland")).unwrap();
    (server, client)
}

/// The same over a socket.
fn kept_over_streams(config: ServerConfig) -> (UnixStream, Replies, Asked) {
    let (asked, requests) = channel();
    let replies = Replies::new();
    let theirs = replies.clone();
    let (ours, peer) = UnixStream::pair().unwrap();
    std::thread::spawn(move || {
        let mut backend = Kept { replies: theirs, asked };
        serve_streams(&peer, &peer, config, &mut backend)
    });
    (ours, replies, requests)
}

#[test]
fn a_session_whose_channel_is_cancelled_does_not_look_like_one_that_ended() {
    let (cancel, (told, served)) = (Cancel::new(), channel());
    let theirs = cancel.clone();
    let programs = Programs::new().subsystem("sftp", move |call| {
        let channel = call.channel();
        channel.cancelled_by(&theirs);
        let mut backend = Kept { replies: Replies::new(), asked: std::sync::mpsc::channel().0 };
        told.send(serve(&channel, ServerConfig::default(), &mut backend)).unwrap();
        0
    });
    let (_server, client) = over_ssh(programs);
    let _sftp = client.sftp().unwrap();
    cancel.cancel();
    let error = served.recv_timeout(LIMIT).unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted, "{error}");
}

#[test]
fn replies_come_late_from_any_thread_and_in_any_order() {
    for over_ssh in [false, true] {
        let (sftp, replies, requests, _both) = if over_ssh {
            let (server, client, replies, requests) = kept_over_ssh(ServerConfig::default());
            (client.sftp().unwrap(), replies, requests, Some((server, client)))
        } else {
            let (ours, replies, requests) = kept_over_streams(ServerConfig::default());
            let sftp = Sftp::over(FdStream::try_from(ours).unwrap(), SftpOptions::default()).unwrap();
            (sftp, replies, requests, None)
        };
        std::thread::scope(|scope| {
            let answers = scope.spawn(move || {
                let (open, _) = requests.recv_timeout(LIMIT).unwrap();
                replies.send(open, Answer::Opened);
                let mut reads: Vec<_> = (0..8).map(|_| requests.recv_timeout(LIMIT).unwrap()).collect();
                // The client has nothing more to say: only a reply can wake the server.
                reads.sort_by_key(|(_, offset)| std::cmp::Reverse(*offset));
                for (ticket, offset) in reads {
                    match offset.unwrap() {
                        // Nobody will answer that.
                        30 => drop(ticket),
                        offset => replies.send(ticket, Answer::Data(vec![offset as u8; 10])),
                    }
                }
                let (close, _) = requests.recv_timeout(LIMIT).unwrap();
                assert_eq!(close.operation(), Operation::Close);
                replies.send(close, StatusCode::OK);
            });
            let file = sftp.open("f").unwrap();
            std::thread::scope(|readers| {
                for offset in (0..80u64).step_by(10) {
                    let file = &file;
                    readers.spawn(move || {
                        let mut room = [0; 10];
                        match file.read_at(&mut room, offset) {
                            Ok(n) => assert_eq!((n, room), (10, [offset as u8; 10])),
                            Err(_) => assert_eq!(offset, 30, "a ticket that is dropped says no"),
                        }
                    });
                }
            });
            file.close().unwrap();
            answers.join().unwrap();
        });
    }
}

/// INIT, and LSTAT of so many long paths.
fn questions(n: u32) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 5, 1, 0, 0, 0, 3];
    let path = [b'p'; 1000];
    for id in 0..n {
        bytes.extend_from_slice(&(9 + path.len() as u32).to_be_bytes());
        bytes.push(7);
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(&(path.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&path);
    }
    bytes
}

/// Reads VERSION and then `n` replies: which requests they answer.
fn answers(from: &mut impl Read, n: usize) -> Vec<u32> {
    let mut message = || {
        let mut len = [0; 4];
        from.read_exact(&mut len).unwrap();
        let mut message = vec![0; u32::from_be_bytes(len) as usize];
        from.read_exact(&mut message).unwrap();
        message
    };
    assert_eq!(message()[0], 2);
    let number = |message: Vec<u8>| u32::from_be_bytes(message[1..5].try_into().unwrap());
    let mut numbers: Vec<u32> = (0..n).map(|_| number(message())).collect();
    numbers.sort_unstable();
    numbers
}

/// Sends more than is read while nothing is answered, and then the rest while it is.
fn back_pressure<P: Sync>(pipe: &P, patience: impl Fn(Duration), replies: &Replies, requests: &Asked)
where
    for<'p> &'p P: Read + Write,
{
    const ALL: u32 = 4000;
    let (bytes, mut went, mut to) = (questions(ALL), 0, pipe);
    patience(Duration::from_millis(300));
    while went < bytes.len()
        && let Ok(n) = to.write(&bytes[went..])
    {
        went += n;
    }
    assert!(went < bytes.len() / 3, "it stops reading: {went} of {}", bytes.len());
    let mut kept: Vec<_> = (0..4).map(|_| requests.recv_timeout(LIMIT).unwrap()).collect();
    assert!(requests.try_recv().is_err(), "four are enough");
    patience(LIMIT);
    std::thread::scope(|scope| {
        let rest = &bytes[went..];
        scope.spawn(move || (&mut &*pipe).write_all(rest).unwrap());
        let reader = scope.spawn(move || answers(&mut &*pipe, ALL as usize));
        for _ in 0..ALL {
            let (ticket, _) = kept.pop().unwrap_or_else(|| requests.recv_timeout(LIMIT).unwrap());
            replies.send(ticket, StatusCode::NO_SUCH_FILE);
        }
        assert!(reader.join().unwrap().into_iter().eq(0..ALL));
    });
}

#[test]
fn nothing_more_is_read_while_enough_is_unanswered_and_all_of_it_later() {
    let config = || ServerConfig::new().max_requests(4);
    // Over a channel, whose window closes.
    let (_server, client, replies, requests) = kept_over_ssh(config());
    let pipe = client.session().unwrap();
    pipe.subsystem("sftp").unwrap();
    back_pressure(&pipe, |time| pipe.set_timeout(Some(time)), &replies, &requests);
    // Over a socket, whose buffers fill.
    let (pipe, replies, requests) = kept_over_streams(config());
    back_pressure(&pipe, |time| pipe.set_write_timeout(Some(time)).unwrap(), &replies, &requests);
}

/// Answers ten requests when the input has ended, the last first, and one of them not at all.
fn answer_late(pipe: &mut impl Read, replies: &Replies, requests: &Asked) {
    let kept: Vec<_> = (0..10).map(|_| requests.recv_timeout(LIMIT).unwrap().0).collect();
    for (i, ticket) in kept.into_iter().enumerate().rev() {
        match i {
            4 => drop(ticket),
            _ => replies.send(ticket, StatusCode::NO_SUCH_FILE),
        }
    }
    assert!(answers(pipe, 10).into_iter().eq(0..10));
    assert_eq!(pipe.read(&mut [0]).unwrap(), 0, "then it ends");
}

#[test]
fn what_is_unanswered_when_the_input_ends_is_answered_before_the_session_ends() {
    let (_server, client, replies, requests) = kept_over_ssh(ServerConfig::default());
    let channel = client.session().unwrap();
    channel.subsystem("sftp").unwrap();
    channel.set_timeout(Some(LIMIT));
    (&channel).write_all(&questions(10)).unwrap();
    channel.send_eof().unwrap();
    answer_late(&mut &channel, &replies, &requests);
    assert_eq!(channel.wait().unwrap(), Exit::Status(0));
    let (socket, replies, requests) = kept_over_streams(ServerConfig::default());
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    (&socket).write_all(&questions(10)).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    answer_late(&mut &socket, &replies, &requests);
}

/// Files with a mine at the third byte.
struct Mined;

impl FileSystem for Mined {
    type File = ();
    type Dir = std::vec::IntoIter<Result<DirItem, Status>>;

    fn open(&self, _: &Target<'_>, _: OpenFlags, _: &Attrs) -> Result<(), Status> {
        Ok(())
    }

    fn read(&self, _: &(), offset: u64, room: &mut [u8]) -> Result<usize, Status> {
        assert_ne!(offset, 3, "the mine");
        room.fill(offset as u8);
        Ok(room.len())
    }
}

#[test]
fn a_call_that_panics_is_answered_with_failure_and_the_others_as_ever() {
    let workers = Workers::new(2);
    let (ours, peer) = UnixStream::pair().unwrap();
    let serving = std::thread::spawn(move || {
        serve_streams(&peer, &peer, ServerConfig::default(), &mut Pooled::new(Arc::new(Mined), &workers))
    });
    let sftp = Sftp::over(FdStream::try_from(ours).unwrap(), SftpOptions::default()).unwrap();
    let file = sftp.open("f").unwrap();
    // More often than there are threads: none of them is lost.
    for round in 0..4 {
        for offset in [0, 3, 5] {
            let mut room = [9; 10];
            match file.read_at(&mut room, offset) {
                Ok(n) => assert_eq!((n, room), (10, [offset as u8; 10]), "round {round}"),
                Err(error) => {
                    let told = error.get_ref().and_then(|e| e.downcast_ref::<konko::sftp::Error>());
                    let code = told.and_then(konko::sftp::Error::code);
                    assert_eq!((offset, code), (3, Some(StatusCode::FAILURE)));
                }
            }
        }
    }
    file.close().unwrap();
    drop(sftp);
    serving.join().unwrap().unwrap();
}

/// The object store of the example, and a client of it.
struct Rig {
    store: Arc<ObjectStore>,
    database: Database,
    sftp: Sftp,
    _both: (SshServer, Client),
}

fn rig(store: ObjectStore, options: &SftpOptions) -> Rig {
    let store = Arc::new(store);
    let database = Database::open(":memory:").unwrap();
    let key = PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&Seed::new([3; 32]))).unwrap();
    let key = Arc::new(key.key_pair(provider::best()).unwrap());
    database.add("alice", &key.public().to_openssh_line(""), true, 1000).unwrap();
    let server = object_store::listen("127.0.0.1:0", Arc::clone(&store), database.clone()).unwrap();
    let options_ = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
    let client = Client::connect(server.local_addr(), options_).unwrap();
    client.login("alice", Auth::new().key(key)).unwrap();
    let sftp = client.sftp_with(options.clone()).unwrap();
    Rig { store, database, sftp, _both: (server, client) }
}

#[test]
fn an_object_store_serves_64_reads_at_once() {
    // Each read waits for all others: served one after the other, none would ever end.
    let gate = Arc::new((Mutex::new(0), Condvar::new()));
    let at_gate = Arc::clone(&gate);
    let open = Arc::new(Mutex::new(true));
    let closed = Arc::clone(&open);
    let store = ObjectStore::new(move |_| {
        if *closed.lock().unwrap() {
            return;
        }
        let (count, came) = &*at_gate;
        let mut count = count.lock().unwrap();
        *count += 1;
        came.notify_all();
        let _unused = came.wait_timeout_while(count, LIMIT, |count| *count < AT_ONCE).unwrap();
    });
    store.put("/public/large", Body::Made(16 << 20));
    let Rig { store, database, sftp, _both } = rig(store, &SftpOptions::default());

    // Whole objects, as any client gets them.
    let folder = tempfile::tempdir().unwrap();
    sftp.get("/public/large", folder.path().join("large")).unwrap();
    let data = std::fs::read(folder.path().join("large")).unwrap();
    let wrong = data.iter().zip(0..).position(|(byte, at)| *byte != object_store::made(at));
    assert_eq!((data.len(), wrong), (16 << 20, None));
    // And in order, from replies that come in any.
    let data = sftp.read("/public/large").unwrap();
    let wrong = data.iter().zip(0..).position(|(byte, at)| *byte != object_store::made(at));
    assert_eq!((data.len(), wrong), (16 << 20, None));

    let file = sftp.open("/public/large").unwrap();
    *open.lock().unwrap() = false;
    let start = Barrier::new(AT_ONCE);
    std::thread::scope(|scope| {
        for i in 0..AT_ONCE as u64 {
            let (file, start) = (&file, &start);
            scope.spawn(move || {
                start.wait();
                let mut room = vec![0; 4096];
                assert_eq!(file.read_at(&mut room, i << 18).unwrap(), 4096);
                assert!(room.iter().zip(i << 18..).all(|(byte, at)| *byte == object_store::made(at)));
            });
        }
    });
    assert_eq!((*gate.0.lock().unwrap(), store.most()), (AT_ONCE, AT_ONCE));
    *open.lock().unwrap() = true;
    file.close().unwrap();

    // Rights, allowance, audit.
    assert_eq!(sftp.write("/public/new", b"x").unwrap_err().code(), Some(StatusCode::PERMISSION_DENIED));
    sftp.write("/home/alice/small", vec![7; 600]).unwrap();
    assert_eq!(sftp.read("/home/alice/small").unwrap(), [7; 600]);
    assert!(sftp.write("/home/alice/more", vec![7; 600]).is_err(), "the allowance is 1000 bytes");
    let lines = database.lines().unwrap();
    let has = |what: &str| lines.iter().any(|line| line.contains(what));
    assert!(has("alice open \"/public/new\" read 0 written 0: permission denied"), "{lines:#?}");
    assert!(has("alice write \"/home/alice/small\" read 0 written 600: success"), "{lines:#?}");
    assert!(has("alice write \"/home/alice/more\" read 0 written 0: failure"), "{lines:#?}");
    assert!(lines.iter().filter(|line| line.contains("alice read ")).count() > 2 * AT_ONCE);
}

/// Reads that take 50 ms each; once 64 were there at the same time, they leave only 64 at a time.
#[derive(Default)]
struct Rounds {
    came: usize,
    left: usize,
    /// When 64 were there, how many had left.
    full: Option<usize>,
    inside: usize,
    round: usize,
    /// Rounds to which fewer came in two seconds: how many, when so many had left.
    poor: Vec<(usize, usize)>,
}

impl Rounds {
    fn leave(&mut self) {
        self.left += std::mem::take(&mut self.inside);
        self.round += 1;
    }
}

#[test]
fn a_file_is_fetched_by_64_reads_at_once_from_soon_after_its_start_to_its_end() {
    // What every server takes, and what is read from this one by default.
    for read in [32 << 10, MAX_DATA as u32] {
        fetched_in_rounds(read);
    }
}

fn fetched_in_rounds(read: u32) {
    const READS: usize = 12 * AT_ONCE;
    // STAT, OPEN, and the READ that shows where the file ends.
    const ALL: usize = READS + 3;
    let rounds = Arc::new((Mutex::new(Rounds::default()), Condvar::new()));
    let door = Arc::clone(&rounds);
    let store = ObjectStore::new(move |under_way| {
        let (rounds, moved) = &*door;
        let mut now = rounds.lock().unwrap();
        now.came += 1;
        if under_way == AT_ONCE && now.full.is_none() {
            now.full = Some(now.left);
        }
        drop(now);
        std::thread::sleep(Duration::from_millis(50));
        let mut now = rounds.lock().unwrap();
        now.inside += 1;
        let mine = now.round;
        if now.full.is_none() || now.inside == AT_ONCE || now.left + now.inside == ALL {
            now.leave();
            moved.notify_all();
            return;
        }
        let patience = Duration::from_secs(2);
        let (mut now, late) = moved.wait_timeout_while(now, patience, |now| now.round == mine).unwrap();
        if late.timed_out() && now.round == mine {
            let few = (now.inside, now.left);
            now.poor.push(few);
            now.leave();
            moved.notify_all();
        }
    });
    store.put("/public/large", Body::Made(READS as u64 * u64::from(read)));
    let mut options = SftpOptions::default();
    options.transfers.request_len = Some(read);
    let rig = rig(store, &options);
    rig.sftp.get("/public/large", "/dev/null").unwrap();
    let now = rounds.0.lock().unwrap();
    assert_eq!((now.came, rig.store.most()), (ALL, AT_ONCE));
    assert!(now.full.is_some_and(|left| left < READS / 3), "64 were there when {:?} had left", now.full);
    assert!(now.poor.is_empty(), "fewer than 64 came: {:?} in {} rounds", now.poor, now.round);
}

/// `KONKO_FULL=1`: it takes half a minute, and a machine with nothing else to do. How long an answer takes is measured,
/// since a thread that sleeps is woken late if the machine has; whatever else takes time counts.
#[test]
fn a_gib_takes_no_longer_than_the_delay_allows() {
    if std::env::var_os("KONKO_FULL").is_none() {
        return;
    }
    const DELAY: Duration = Duration::from_millis(50);
    const SIZE: u64 = 1 << 30;
    for len in [32 << 10, MAX_DATA as u32] {
        let answers = Arc::new(Mutex::new((0, Duration::ZERO)));
        let measured = Arc::clone(&answers);
        let store = ObjectStore::new(move |_| {
            let start = Instant::now();
            std::thread::sleep(DELAY);
            let mut answers = measured.lock().unwrap();
            *answers = (answers.0 + 1, answers.1 + start.elapsed());
        });
        store.put("/public/large", Body::Made(SIZE));
        let mut options = SftpOptions::default();
        options.transfers.request_len = Some(len);
        let rig = rig(store, &options);
        let start = Instant::now();
        rig.sftp.get("/public/large", "/dev/null").unwrap();
        let took = start.elapsed();
        let (n, all) = *answers.lock().unwrap();
        let delay = all / n;
        let allowed = delay.mul_f64(SIZE as f64 / f64::from(len) / AT_ONCE as f64);
        let share = allowed.as_secs_f64() / took.as_secs_f64();
        println!(
            "{len} bytes a read, {delay:.2?} an answer: {took:.2?} of {allowed:.2?}, {:.1} %",
            share * 100.0
        );
        assert!(share >= 0.9, "{:.1} %", share * 100.0);
    }
}
