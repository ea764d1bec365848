//! Backends that answer late, from other threads and in any order.

#[path = "../examples/object_store.rs"]
mod object_store;

use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::time::Duration;

use konko::core::keys::{KeyKind, PrivateKey};
use konko::core::provider;
use konko::core::{Rng, Seed};
use konko::server::users::{User, Users};
use konko::server::{Programs, Server as SshServer, ServerOptions, Service};
use konko::sftp::*;
use konko::{Auth, Client, ClientOptions, FdStream, HostKeys};
use object_store::{AT_ONCE, Body, Database, ObjectStore};

const LIMIT: Duration = Duration::from_secs(60);

/// Tickets go to the test, which answers when it likes.
struct Kept {
    replies: Replies,
    asked: Sender<(Ticket, Option<u64>)>,
}

impl Backend for Kept {
    fn request(&mut self, _: &mut Server, request: Request<'_>) {
        let offset = match request.op {
            Op::Read { offset, .. } => Some(offset),
            _ => None,
        };
        let _ = self.asked.send((request.ticket, offset));
    }

    fn settle(&mut self, server: &mut Server) {
        self.replies.settle(server);
    }

    fn abandoned(&mut self, _: HandleId) {}
}

type Asked = Receiver<(Ticket, Option<u64>)>;

/// A client of a backend that keeps what it is asked, over streams or over a channel.
fn kept(over_ssh: bool) -> (Sftp, Replies, Asked, Option<(SshServer, Client)>) {
    let (asked, requests) = channel();
    let replies = Replies::new();
    let theirs = replies.clone();
    if over_ssh {
        let programs = Programs::new().subsystem("sftp", move |call| {
            let mut backend = Kept { replies: theirs.clone(), asked: asked.clone() };
            u32::from(serve(call.channel(), ServerConfig::default(), &mut backend).is_err())
        });
        let mut users = Users::new();
        users.add("alice", User::new().password("wonderland")).unwrap();
        let service = Service::new(Arc::new(users), Arc::new(programs));
        let options = ServerOptions::with_new_key().unwrap().methods(service.users().methods());
        let server = SshServer::listen("127.0.0.1:0", options, move |_| service.clone()).unwrap();
        let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
        let client = Client::connect(server.local_addr(), options).unwrap();
        client.login("alice", Auth::new().password("wonderland")).unwrap();
        return (client.sftp().unwrap(), replies, requests, Some((server, client)));
    }
    let (ours, peer) = UnixStream::pair().unwrap();
    std::thread::spawn(move || {
        let mut backend = Kept { replies: theirs, asked };
        serve_streams(&peer, &peer, ServerConfig::default(), &mut backend)
    });
    let sftp = Sftp::over(FdStream::try_from(ours).unwrap(), SftpOptions::default()).unwrap();
    (sftp, replies, requests, None)
}

#[test]
fn replies_come_late_from_any_thread_and_in_any_order() {
    for over_ssh in [false, true] {
        let (sftp, replies, requests, _server) = kept(over_ssh);
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

#[test]
fn an_object_store_serves_64_reads_at_once() {
    // Each read waits for all others: served one after the other, none would ever end.
    let gate = Arc::new((Mutex::new(0), Condvar::new()));
    let at_gate = Arc::clone(&gate);
    let open = Arc::new(Mutex::new(true));
    let closed = Arc::clone(&open);
    let store = Arc::new(ObjectStore::new(move |_| {
        if *closed.lock().unwrap() {
            return;
        }
        let (count, came) = &*at_gate;
        let mut count = count.lock().unwrap();
        *count += 1;
        came.notify_all();
        let _unused = came.wait_timeout_while(count, LIMIT, |count| *count < AT_ONCE).unwrap();
    }));
    store.put("/public/large", Body::Made(16 << 20));
    let database = Database::open(":memory:").unwrap();
    let key = PrivateKey::generate(KeyKind::Ed25519, &mut Rng::from_seed(&Seed::new([3; 32]))).unwrap();
    let key = Arc::new(key.key_pair(provider::best()).unwrap());
    database.add("alice", &key.public().to_openssh_line(""), true, 1000).unwrap();
    let server = object_store::listen("127.0.0.1:0", Arc::clone(&store), database.clone()).unwrap();
    let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
    let client = Client::connect(server.local_addr(), options).unwrap();
    client.login("alice", Auth::new().key(key)).unwrap();
    let sftp = client.sftp().unwrap();

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
