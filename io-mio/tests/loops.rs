//! What a loop does besides serving: other people's loops, late answers, draining, several of them.

mod support;

use std::io::Read;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use konko::{Auth, Client, ClientOptions, Exit, HostKeys};
use konko_mio::core::admission::{AdmissionLimits, Penalty, Refused};
use konko_mio::core::channel::{ChannelEvent, ChannelRequest, OpenKind};
use konko_mio::core::keys::{KeyPair, KeyType, PrivateKey};
use konko_mio::core::login::{Answer, Login, LoginMethod, Question};
use konko_mio::core::server::{AuthDecision, AuthRejection, AuthResult, AuthTicket, Credential};
use konko_mio::core::wire::SshStr;
use konko_mio::core::*;
use konko_mio::{App, Closed, ConnId, Driver, Hub, Loop, Settings, Socket, Workers, seed_from_os};
use support::{Counts, Server, client_config, server_config, wait};

fn options() -> ClientOptions {
    ClientOptions::new().host_keys(HostKeys::insecure_accept_any())
}

fn login(addr: std::net::SocketAddr) -> Client {
    let client = Client::connect(addr, options()).unwrap();
    client.login("alice", Auth::new().password("wonderland")).unwrap();
    client
}

fn user_key() -> Arc<KeyPair> {
    let key = PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&Seed::new([9; 32]))).unwrap();
    Arc::new(key.key_pair(provider::best()).unwrap())
}

/// Both ends of a connection in one loop: the client's key signs on a worker thread, the server asks
/// a slow directory, which answers late.
struct Both {
    login: Login,
    signed: bool,
    late: u32,
    ticks: u32,
    output: Vec<u8>,
    ended: Vec<String>,
}

enum Message {
    Decided(ConnId, AuthTicket, bool),
    Signed(ConnId, Vec<u8>),
    Tick,
}

impl App for Both {
    type Message = Message;

    fn on_server_event(
        &mut self,
        id: ConnId,
        conn: &mut ServerConnection,
        event: ServerEvent<'_>,
        hub: &mut Hub<Message>,
    ) {
        match event {
            ServerEvent::Auth(ServerAuth::Probe { ticket, .. }) => {
                conn.decide_probe(ticket, Decision::Accept).unwrap()
            }
            ServerEvent::Auth(ServerAuth::Signed { ticket, key }) => {
                let right = key.key() == user_key().public();
                hub.spawn(move || Message::Decided(id, ticket, right));
            }
            ServerEvent::Open { ticket, .. } => drop(conn.accept_channel(ticket).unwrap()),
            ServerEvent::Channel(channel, ChannelEvent::Request { ticket: Some(ticket), .. }) => {
                conn.reply(ticket, Decision::Accept).unwrap();
                conn.write(channel, channel::DataStream::Data, b"hello").unwrap();
                conn.close_channel(channel).unwrap();
            }
            _ => {}
        }
    }

    fn on_client_event(
        &mut self,
        id: ConnId,
        conn: &mut ClientConnection,
        event: ClientEvent<'_>,
        hub: &mut Hub<Message>,
    ) {
        let Some(event) = self.login.event(conn, event) else {
            if let Some(asked) = self.login.question() {
                let Question::Sign { pair: Some(key), algorithm, message, .. } = asked.question else {
                    panic!()
                };
                hub.spawn(move || {
                    let mut rng = Rng::from_seed(&seed_from_os().unwrap());
                    Message::Signed(id, key.sign(algorithm, &message, &mut rng).unwrap())
                });
            }
            return;
        };
        match event {
            ClientEvent::Auth(ClientAuth::HostKey(ticket)) => {
                conn.decide_host_key(ticket, Decision::Accept).unwrap()
            }
            ClientEvent::Authenticated { .. } => drop(conn.open(OpenKind::Session).unwrap()),
            ClientEvent::Opened(channel) => {
                conn.request(channel, ChannelRequest::Exec(SshStr::new(b"greet")), WantReply::Yes).unwrap();
            }
            ClientEvent::Channel(channel, ChannelEvent::Data { data, .. }) => {
                self.output.extend_from_slice(data);
                conn.consume(channel, data.len()).unwrap();
            }
            ClientEvent::Channel(_, ChannelEvent::Closed) => hub.drain(Duration::from_secs(5)),
            _ => {}
        }
    }

    fn on_message(&mut self, message: Message, hub: &mut Hub<Message>) {
        match message {
            Message::Decided(id, ticket, right) => {
                self.late += 1;
                let verdict = if right { AuthDecision::Accept } else { AuthDecision::Reject };
                hub.server(id).unwrap().decide_auth(ticket, verdict).unwrap();
            }
            Message::Signed(id, signature) => {
                self.signed = true;
                self.login.answer(hub.client(id).unwrap(), Answer::Signature(signature)).unwrap();
            }
            Message::Tick => self.ticks += 1,
        }
    }

    fn on_closed(&mut self, _: ConnId, why: Closed, _: &mut Hub<Message>) {
        self.ended.push(why.to_string());
    }
}

#[test]
fn both_ends_run_in_somebody_elses_loop_over_a_socket_pair() {
    let settings = Settings::new().workers(Workers::new(1).unwrap());
    let mut poll = mio::Poll::new().unwrap();
    // A socket of the caller's own, with a token below the driver's.
    let (mine, mut other) = UnixStream::pair().unwrap();
    mine.set_nonblocking(true).unwrap();
    let mut mine = mio::net::UnixStream::from_std(mine);
    poll.registry().register(&mut mine, mio::Token(3), mio::Interest::READABLE).unwrap();
    let mut driver = Driver::new(poll.registry(), mio::Token(1000), settings).unwrap();
    let (left, right) = UnixStream::pair().unwrap();
    let hub = driver.hub();
    hub.adopt_server(Socket::try_from(left).unwrap(), Arc::new(server_config())).unwrap();
    hub.adopt_client(Socket::try_from(right).unwrap(), Arc::new(client_config())).unwrap();
    hub.after(Duration::from_millis(1), Message::Tick);
    std::io::Write::write_all(&mut other, b"!").unwrap();
    let login = Login::new("alice", [LoginMethod::Key(user_key())]).sign_elsewhere();
    let mut app = Both { login, signed: false, late: 0, ticks: 0, output: Vec::new(), ended: Vec::new() };
    let mut own = 0;
    let mut events = mio::Events::with_capacity(8);
    let start = Instant::now();
    while !driver.is_drained() {
        assert!(start.elapsed() < Duration::from_secs(30), "{driver:?}");
        poll.poll(&mut events, driver.timeout()).unwrap();
        for event in &events {
            if !driver.ready(event) {
                assert_eq!(event.token(), mio::Token(3));
                own += 1;
            }
        }
        driver.turn(&mut app);
    }
    assert_eq!((own, app.late, app.ticks, &app.output[..]), (1, 1, 1, &b"hello"[..]));
    assert!(app.signed);
    assert_eq!(app.ended.len(), 2, "{:?}", app.ended);
}

#[test]
fn draining_lets_sessions_end_and_nobody_in() {
    let server = Server::start(server_config());
    let (idle, busy) = (login(server.addr), login(server.addr));
    let mut shell = busy.session().unwrap();
    shell.shell().unwrap();
    wait("both", || Counts::of(&server.counts.established) == 2);
    server.mailbox.drain(Duration::from_secs(20));
    assert!(idle.wait_closed().to_string().contains("shutting down"));
    wait("the listener to close", || TcpStream::connect(server.addr).is_err());
    std::io::Write::write_all(&mut shell, b"still here").unwrap();
    let mut answer = [0; 10];
    shell.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"still here");
    shell.send_eof().unwrap();
    assert_eq!(shell.wait().unwrap(), Exit::Status(0));
    assert!(busy.wait_closed().to_string().contains("shutting down"));
    // Long before its time is up.
    let start = Instant::now();
    drop(server);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_drain_ends_with_its_time() {
    let server = Server::start(server_config());
    let client = login(server.addr);
    let shell = client.session().unwrap();
    shell.shell().unwrap();
    let start = Instant::now();
    server.mailbox.drain(Duration::from_millis(500));
    client.wait_closed();
    assert!((400..5000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    let mailbox = server.mailbox.clone();
    drop(server);
    assert_eq!(mailbox.send(()), Err(()), "nobody reads it any more");
}

#[test]
fn several_loops_share_an_address_an_admission_and_workers() {
    let addr = konko_mio::bind("127.0.0.1:0".parse().unwrap(), konko_mio::Sharing::Shared)
        .unwrap()
        .local_addr()
        .unwrap();
    let admission = konko_mio::admission(AdmissionLimits::unlimited(1000)).unwrap();
    let workers = Workers::new(1).unwrap();
    let served = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let loops: Vec<_> = (0..2)
        .map(|n| {
            let settings = Settings::new().workers(workers.clone());
            let mut server = Loop::new(settings).unwrap();
            let listener = konko_mio::bind(addr, konko_mio::Sharing::Shared).unwrap();
            server.hub().listen(listener, Arc::new(server_config()), admission.clone()).unwrap();
            let (mailbox, served) = (server.mailbox(), served.clone());
            let thread = std::thread::spawn(move || {
                let mut host = support::Host::default();
                server.run(&mut host).unwrap();
                served[n].store(Counts::of(&host.counts.accepted), Ordering::Relaxed);
            });
            (mailbox, thread)
        })
        .collect();
    let clients: Vec<Client> = (0..40).map(|_| login(addr)).collect();
    assert_eq!(admission.lock().connections(), 40);
    assert_eq!(admission.lock().unauthenticated(), 0);
    drop(clients);
    for (mailbox, thread) in loops {
        mailbox.drain(Duration::ZERO);
        thread.join().unwrap();
    }
    let [a, b] = [0, 1].map(|n| served[n].load(Ordering::Relaxed));
    assert!(a + b == 40 && a > 0 && b > 0, "{a} and {b}");
    assert_eq!(admission.lock().connections(), 0);
}

#[test]
fn a_host_that_is_not_there_is_an_error_of_the_connection() {
    struct Nobody(Vec<Closed>);
    impl App for Nobody {
        type Message = ();
        fn on_closed(&mut self, _: ConnId, why: Closed, hub: &mut Hub<()>) {
            self.0.push(why);
            hub.drain(Duration::ZERO);
        }
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut clients = Loop::new(Settings::default()).unwrap();
    clients.hub().connect(closed, Arc::new(client_config())).unwrap();
    let mut nobody = Nobody(Vec::new());
    clients.run(&mut nobody).unwrap();
    assert!(
        matches!(&nobody.0[..], [Closed::Io(e)] if e.kind() == std::io::ErrorKind::ConnectionRefused),
        "{:?}",
        nobody.0
    );
}

/// Counts failed logins by the one event that has them all.
#[derive(Default)]
struct Guard {
    outcomes: Vec<(String, AuthResult, bool)>,
    ended: usize,
}

impl App for Guard {
    type Message = ();

    fn on_server_event(
        &mut self,
        _id: ConnId,
        conn: &mut ServerConnection,
        event: ServerEvent<'_>,
        hub: &mut Hub<()>,
    ) {
        match event {
            ServerEvent::Auth(ServerAuth::Probe { ticket, .. }) => {
                conn.decide_probe(ticket, Decision::Reject).unwrap()
            }
            ServerEvent::Auth(ServerAuth::Attempt { ticket, .. }) => {
                conn.decide_auth(ticket, AuthDecision::Reject).unwrap()
            }
            ServerEvent::Auth(ServerAuth::Outcome(outcome)) => {
                let method = String::from_utf8(outcome.method.clone()).unwrap();
                self.outcomes.push((method, outcome.result, outcome.counted));
            }
            _ => {}
        }
        let _ = hub;
    }

    fn on_closed(&mut self, _id: ConnId, _why: Closed, hub: &mut Hub<()>) {
        self.ended += 1;
        hub.drain(Duration::from_secs(1));
    }
}

#[test]
fn c23_a_loop_tells_of_every_attempt_and_its_outcome() {
    let mut config = server_config();
    let mut transport = (*config.transport).clone();
    transport.limits.auth_tries = 3;
    config.transport = Arc::new(transport);
    let mut server = Loop::new(Settings::default()).unwrap();
    let admission = konko_mio::admission(AdmissionLimits::unlimited(10)).unwrap();
    let listener = konko_mio::bind("127.0.0.1:0".parse().unwrap(), konko_mio::Sharing::Alone).unwrap();
    let addr = listener.local_addr().unwrap();
    server.hub().listen(listener, Arc::new(config), admission).unwrap();
    let client = std::thread::spawn(move || {
        let client = Client::connect(addr, options()).unwrap();
        let auth = Auth::new().none().key(user_key()).password("wrong").password("wrong again");
        assert!(client.login("alice", auth).is_err());
    });
    let mut app = Guard::default();
    server.run(&mut app).unwrap();
    client.join().unwrap();
    let no = AuthResult::Rejected(AuthRejection::Decision);
    let expected = [("none", false), ("publickey", true), ("password", true), ("password", true)];
    let expected: Vec<_> = expected.map(|(method, counted)| (method.to_owned(), no, counted)).into();
    assert_eq!((app.outcomes, app.ended), (expected, 1));
}

#[test]
fn a6_a_loop_keeps_sources_outside_that_fail() {
    struct Strict(Vec<Refused>, Arc<AtomicUsize>);
    impl App for Strict {
        type Message = ();

        fn on_server_event(
            &mut self,
            _id: ConnId,
            conn: &mut ServerConnection,
            event: ServerEvent<'_>,
            _hub: &mut Hub<()>,
        ) {
            match event {
                ServerEvent::Auth(ServerAuth::Probe { ticket, .. }) => {
                    conn.decide_probe(ticket, Decision::Reject).unwrap()
                }
                ServerEvent::Auth(ServerAuth::Attempt {
                    ticket,
                    credential: Credential::Password(b"panic"),
                    ..
                }) => {
                    drop(ticket);
                    panic!("the application of the test fails");
                }
                ServerEvent::Auth(ServerAuth::Attempt { ticket, .. }) => {
                    conn.decide_auth(ticket, AuthDecision::Reject).unwrap()
                }
                _ => {}
            }
        }

        fn on_closed(&mut self, _id: ConnId, _why: Closed, _hub: &mut Hub<()>) {
            self.1.fetch_add(1, Ordering::SeqCst);
        }

        fn on_refused(&mut self, _peer: std::net::SocketAddr, why: Refused) {
            self.0.push(why);
        }
    }

    for (password, attempts, penalty) in [("wrong", 4, Penalty::AuthFail), ("panic", 1, Penalty::Crash)] {
        let mut server = Loop::new(Settings::default()).unwrap();
        let admission = konko_mio::admission(AdmissionLimits::default()).unwrap();
        let listener = konko_mio::bind("127.0.0.1:0".parse().unwrap(), konko_mio::Sharing::Alone).unwrap();
        let addr = listener.local_addr().unwrap();
        server.hub().listen(listener, Arc::new(server_config()), admission).unwrap();
        let mailbox = server.mailbox();
        let closed = Arc::new(AtomicUsize::new(0));
        let ended = Arc::clone(&closed);
        let client = std::thread::spawn(move || {
            for n in 0..attempts {
                let client = Client::connect(addr, options()).unwrap();
                assert!(client.login("alice", Auth::new().password(password)).is_err());
                drop(client);
                wait("the end", || ended.load(Ordering::SeqCst) == n + 1);
            }
            let mut socket = TcpStream::connect(addr).unwrap();
            assert!(socket.read(&mut [0; 1]).map_or(true, |n| n == 0), "nobody comes in");
            mailbox.drain(Duration::ZERO);
        });
        let mut app = Strict(Vec::new(), closed);
        server.run(&mut app).unwrap();
        client.join().unwrap();
        assert_eq!(app.0, [Refused::Penalty(penalty)]);
    }
}
