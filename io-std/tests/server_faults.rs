//! Applications that do what they should not, at the worst of times.
#![cfg(feature = "server")]

mod raw_client;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use konko::core::admission::AdmissionLimits;
use konko::server::{AuthAttempt, ChannelOpen, Connection, Credential, Handler, KeyProbe, Server};
use konko::server::{ServerNotice, ServerOptions, Session};
use konko::{Auth, Client, ClientOptions, Error, ErrorKind, HostKeys, Pty};
use raw_client::{Raw, Stop};

const SOON: Duration = Duration::from_secs(20);
const AT_ONCE: Duration = Duration::from_millis(200);

type Hook<T> = Box<dyn FnMut(T) + Send>;

/// Lets in whoever knows the word, and does what a test says.
struct App {
    authenticate: Hook<AuthAttempt>,
    open: Hook<ChannelOpen>,
    session: Hook<Session>,
    pty: Hook<()>,
    ended: Hook<()>,
}

impl Default for App {
    fn default() -> Self {
        App {
            authenticate: Box::new(|attempt| match attempt.credential() {
                Credential::Password(word) if word.expose() == b"wonderland" => attempt.accept(),
                _ => attempt.reject(),
            }),
            open: Box::new(|open| open.accept_session()),
            session: Box::new(|session| session.run(|_| 0u32).unwrap()),
            pty: Box::new(|()| {}),
            ended: Box::new(|()| {}),
        }
    }
}

impl Handler for App {
    fn authenticate(&mut self, attempt: AuthAttempt) {
        (self.authenticate)(attempt);
    }

    fn key_probe(&mut self, probe: KeyProbe) {
        probe.reject();
    }

    fn open(&mut self, open: ChannelOpen) {
        (self.open)(open);
    }

    fn session(&mut self, session: Session) {
        (self.session)(session);
    }

    fn pty(&mut self, _pty: &Pty) -> bool {
        (self.pty)(());
        true
    }

    fn ended(&mut self, _why: &Error) {
        (self.ended)(());
    }
}

fn options() -> ServerOptions {
    ServerOptions::with_new_key().unwrap()
}

fn listen(options: ServerOptions, app: impl Fn() -> App + Send + Sync + 'static) -> Server {
    Server::listen("127.0.0.1:0", options, move |_: &Connection| app()).unwrap()
}

fn connect(addr: SocketAddr) -> Client {
    let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
    Client::connect(addr, options.io_timeout(Some(SOON))).unwrap()
}

fn alice(server: &Server) -> Client {
    let client = connect(server.local_addr());
    client.login("alice", Auth::new().password("wonderland")).unwrap();
    client
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < SOON, "{what} did not happen");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A hook that hands on what it gets.
fn hand_on<T: Send + 'static>() -> (impl Fn() -> Hook<T> + Send + Sync, Receiver<T>) {
    let (tell, told) = mpsc::channel();
    let hook = move || -> Hook<T> {
        let tell: Sender<T> = tell.clone();
        Box::new(move |what| tell.send(what).unwrap())
    };
    (hook, told)
}

/// Options whose notices are kept as lines.
fn logged() -> (ServerOptions, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&lines);
    let note = move |notice: &ServerNotice<'_>| log.lock().unwrap().push(notice.to_string());
    (options().on_notice(note), lines)
}

#[test]
fn a_handler_that_would_wait_for_its_own_thread_gets_an_error() {
    let (tell, told) = mpsc::channel();
    let server = listen(options(), move || {
        let tell = tell.clone();
        let session = move |session: Session| {
            let connection = session.connection().clone();
            let mut channel = session.accept();
            let read = channel.read(&mut [0]).unwrap_err().kind();
            // More than the client's window: it cannot give any back meanwhile.
            let write = channel.write_all(&vec![b'x'; 64 << 20]).unwrap_err().kind();
            let open = connection.forwarded_tcpip("host", 80, "127.0.0.1:1".parse().unwrap()).unwrap_err();
            let request = channel.shell().unwrap_err();
            let wait = channel.wait().unwrap_err();
            tell.send((read, write, [open, request, wait])).unwrap();
            channel.exit(&3.into()).unwrap();
        };
        App { session: Box::new(session), ..App::default() }
    });
    let client = alice(&server);
    let output = client.exec("anything").unwrap();
    let (read, write, others) = told.recv_timeout(SOON).unwrap();
    assert_eq!([read, write], [io::ErrorKind::Deadlock; 2]);
    for error in others {
        assert!(matches!(error.kind(), ErrorKind::WouldDeadlock(_)), "{error}");
    }
    assert_eq!(output.exit, 3.into());
    assert!(!output.stdout.is_empty(), "what went out at once has arrived");
}

#[test]
fn a_session_accepted_on_another_thread_misses_no_request() {
    let open = |open: ChannelOpen| drop(thread::spawn(move || open.accept_session()));
    let server = listen(options(), move || App { open: Box::new(open), ..App::default() });
    let client = alice(&server);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..200).for_each(|_| assert!(client.exec("true").unwrap().exit.success())));
        }
    });
}

#[test]
fn max_sessions_counts_those_that_are_accepted_later_too() {
    let (open, opens) = hand_on();
    let server = listen(options().max_sessions(1), move || App { open: open(), ..App::default() });
    let client = alice(&server);
    let clients: Vec<_> = (0..3)
        .map(|_| {
            thread::spawn({
                let client = client.clone();
                move || client.session()
            })
        })
        .collect();
    let opens: Vec<ChannelOpen> = (0..3).map(|_| opens.recv_timeout(SOON).unwrap()).collect();
    opens.into_iter().for_each(ChannelOpen::accept_session);
    let sessions: Vec<_> = clients.into_iter().map(|c| c.join().unwrap()).collect();
    assert_eq!(sessions.iter().filter(|s| s.is_ok()).count(), 1);
}

#[test]
fn a_terminal_may_be_decided_while_a_session_is_accepted() {
    let (open, opens) = hand_on();
    let (give, given) = mpsc::channel::<ChannelOpen>();
    let given = Arc::new(Mutex::new(given));
    let server = listen(options(), move || {
        let given = Arc::clone(&given);
        let pty = move |()| {
            let second = given.lock().unwrap().recv_timeout(SOON).unwrap();
            thread::spawn(move || second.accept_session()).join().unwrap();
        };
        App { open: open(), pty: Box::new(pty), ..App::default() }
    });
    let client = alice(&server);
    let session = || {
        let client = client.clone();
        let opened = thread::spawn(move || client.session());
        (opens.recv_timeout(SOON).unwrap(), opened)
    };
    let (open, first) = session();
    open.accept_session();
    let first = first.join().unwrap().unwrap();
    let (open, second) = session();
    give.send(open).unwrap();
    first.request_pty(&Pty::default()).unwrap();
    second.join().unwrap().unwrap();
}

#[test]
fn what_is_answered_after_the_end_changes_nothing() {
    let (options, lines) = logged();
    let (authenticate, attempts) = hand_on();
    let app = move || App { authenticate: authenticate(), ..App::default() };
    let server = listen(options.login_grace(AT_ONCE), app);
    let client = connect(server.local_addr());
    assert!(client.login("alice", Auth::new().password("wonderland")).is_err());
    wait_until("the end", || server.connections().is_empty());
    while let Ok(attempt) = attempts.try_recv() {
        attempt.accept();
    }
    let lines = lines.lock().unwrap();
    assert!(!lines.iter().any(|line| line.ends_with(": accepted")), "{lines:#?}");
}

#[test]
fn a_channel_cannot_be_accepted_after_the_end() {
    let (open, opens) = hand_on();
    let (ended, ends) = hand_on();
    let server = listen(options(), move || App { open: open(), ended: ended(), ..App::default() });
    let client = alice(&server);
    let other = client.clone();
    let session = thread::spawn(move || other.session());
    let open = opens.recv_timeout(SOON).unwrap();
    client.disconnect();
    ends.recv_timeout(SOON).unwrap();
    assert!(open.accept().is_err());
    assert!(session.join().unwrap().is_err());
}

#[test]
fn r_17_a_handler_that_cannot_be_made_ends_the_connection() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    let server = Server::listen("127.0.0.1:0", options(), move |connection: &Connection| -> App {
        keep.lock().unwrap().push(connection.clone());
        panic!("the application of the test fails")
    });
    let server = server.unwrap();
    let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
    assert!(Client::connect(server.local_addr(), options).is_err());
    assert!(kept.lock().unwrap()[0].rekey().is_err(), "it is over");
}

#[test]
fn r_08_a_client_that_never_answers_a_close_is_cut() {
    let server = listen(options().unused_timeout(Some(AT_ONCE)), App::default);
    let raw = Raw::new(TcpStream::connect(server.local_addr()).unwrap(), 1, "true").run(Stop::Running);
    // It reads nothing any more, so it never learns that its program has ended.
    wait_until("the end", || server.connections().is_empty());
    drop(raw);
}

#[test]
fn a_connection_that_comes_while_the_server_stops_does_not_hold_it_up() {
    for _ in 0..300 {
        let server = listen(options(), App::default);
        let silent = TcpStream::connect(server.local_addr()).unwrap();
        assert!(server.shutdown(Duration::ZERO), "it did not end");
        drop(silent);
    }
}

#[test]
fn exits_survive_key_exchanges_at_any_moment() {
    let server = listen(options(), || {
        let session = |session: Session| {
            let connection = session.connection().clone();
            let run = session.run(move |mut channel| {
                channel.write_all(&[b'x'; 100_000]).unwrap();
                connection.rekey().unwrap();
                7u32
            });
            run.unwrap();
        };
        App { session: Box::new(session), ..App::default() }
    });
    let client = alice(&server);
    for _ in 0..100 {
        let output = client.exec("anything").unwrap();
        assert_eq!((output.exit, output.stdout.len()), (7.into(), 100_000));
    }
    assert!(server.connections()[0].key_exchanges() > 50);
}

#[test]
fn r_13_nobody_can_flood_the_log() {
    let (options, lines) = logged();
    let admission = AdmissionLimits::new().per_source(2);
    let server = listen(options.admission(admission), App::default);
    let client = alice(&server);
    for _ in 0..1000 {
        assert!(client.direct_tcpip("nowhere", 1).is_err());
    }
    let about_channels = lines.lock().unwrap().len();
    assert!((100..=110).contains(&about_channels), "{about_channels}");
    let _silent: Vec<TcpStream> =
        (0..1000).map(|_| TcpStream::connect(server.local_addr()).unwrap()).collect();
    let quiet = || lines.lock().unwrap()[about_channels..].iter().any(|line| line.contains("very often"));
    wait_until("silence", quiet);
    assert!(client.exec("true").unwrap().exit.success());
    assert!(lines.lock().unwrap().len() <= about_channels + 110);
}
