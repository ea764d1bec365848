//! The blocking server, with the blocking client.
#![cfg(feature = "server")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use konko::core::admission::{Addresses, AdmissionLimits, Penalties};
use konko::core::auth::{Method, MethodSet};
use konko::core::client::Password;
use konko::core::keys::{KeyType, PrivateKey};
use konko::core::server::Challenge;
use konko::server::{AuthAttempt, AuthOutcome, Connection, Control, Credential, Handler, KeyProbe, Program};
use konko::server::{ChannelKind, ChannelOpen, GlobalRequest, Request, Server, ServerOptions, Session};
use konko::{Auth, Channel, Client, ClientOptions, Error, ErrorKind, Exit, HostKeys, Pty};

/// Alice's password is "wonderland". A few commands.
#[derive(Default)]
struct App {
    ended: Option<mpsc::Sender<String>>,
    /// Attempts and what came of them, before the word that the user is in.
    attempted: Option<mpsc::Sender<String>>,
}

impl Handler for App {
    fn authenticate(&mut self, attempt: AuthAttempt) {
        match (attempt.user(), attempt.credential()) {
            ("alice", Credential::Password(p)) if p.expose() == b"wonderland" => attempt.accept(),
            // Decided later, on another thread.
            ("slow", Credential::Password(_)) => {
                std::thread::spawn(move || attempt.accept());
            }
            ("twice", Credential::Password(p)) if p.expose() == b"first" => {
                attempt.partial(MethodSet::EMPTY.with(Method::KeyboardInteractive));
            }
            ("twice", Credential::KeyboardInteractive { .. }) => {
                let prompts = vec![("Second: ".to_owned(), false)];
                attempt.challenge(Challenge { prompts, ..Challenge::default() }).unwrap();
            }
            ("twice", Credential::Answers(answers)) if answers[0].expose() == b"second" => attempt.accept(),
            ("panic", _) => panic!("the application of the test fails"),
            _ => attempt.reject(),
        }
    }

    fn key_probe(&mut self, probe: KeyProbe) {
        match probe.user() {
            "carol" => probe.would_do(),
            _ => probe.reject(),
        }
    }

    fn attempted(&mut self, connection: &Connection, outcome: &AuthOutcome) {
        assert!(connection.user().is_some());
        if let Some(attempted) = &self.attempted {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (who, how) = (text(&outcome.user), text(&outcome.method));
            let key = if outcome.key.is_some() { " with a key" } else { "" };
            let counted = if outcome.counted { ", counted" } else { "" };
            let _ = attempted.send(format!("{who} by {how}{key}: {:?}{counted}", outcome.result));
        }
    }

    fn authenticated(&mut self, _connection: &Connection) {
        if let Some(attempted) = &self.attempted {
            let _ = attempted.send("in".to_owned());
        }
    }

    fn session(&mut self, session: Session) {
        let Program::Exec(command) = session.program().clone() else { return session.reject() };
        let command = String::from_utf8(command).unwrap();
        let (name, rest) = command.split_once(' ').unwrap_or((&command, ""));
        let number = rest.parse().unwrap_or(0);
        let started = match name {
            "exit" => session.run(move |_| number),
            "echo" => session.run(|channel| {
                let mut input = channel.clone();
                std::io::copy(&mut input, &mut channel.clone()).map_or(1u32, |_| 0)
            }),
            "both" => session.run(move |channel| {
                let chunk = vec![b'x'; 64 * 1024];
                for _ in 0..number {
                    channel.stderr().write_all(&chunk).unwrap();
                    channel.clone().write_all(&chunk).unwrap();
                }
                0u32
            }),
            "env" => {
                let env = format!("{:?} {:?}", session.env(), session.pty());
                session.run(move |mut channel| channel.write_all(env.as_bytes()).map_or(1u32, |()| 0))
            }
            "controls" => {
                let (tell, told) = mpsc::channel();
                session.on_control(move |control| tell.send(control).unwrap());
                session.run(move |mut channel| {
                    channel.write_all(b"ready").unwrap();
                    let size = told.recv_timeout(Duration::from_secs(10)).unwrap();
                    assert!(matches!(size, Control::WindowChange { columns: 132, rows: 43, .. }), "{size:?}");
                    match told.recv_timeout(Duration::from_secs(10)).unwrap() {
                        Control::Signal(signal) => {
                            Exit::Signal { signal, core_dumped: false, message: String::new() }
                        }
                        other => panic!("{other:?}"),
                    }
                })
            }
            "hang" => session.run(|channel| channel.clone().read(&mut [0]).map_or(1u32, |_| 0)),
            "panic" => session.run(|_| -> u32 { panic!("the program of the test fails") }),
            _ => return session.reject(),
        };
        started.unwrap();
    }

    fn open(&mut self, open: ChannelOpen) {
        match open.kind() {
            ChannelKind::DirectTcpip { host, port: 7, .. } if host == "echo" => {
                let channel = open.accept().unwrap();
                std::thread::spawn(move || std::io::copy(&mut &channel, &mut &channel));
            }
            _ => open.accept_session(),
        }
    }

    fn request(&mut self, request: Request) {
        match request.name() {
            "auth-agent-req@openssh.com" => request.grant(),
            _ => request.reject(),
        }
    }

    fn global_request(&mut self, request: GlobalRequest) {
        request.reject();
    }

    fn ended(&mut self, why: &Error) {
        if let Some(ended) = &self.ended {
            let _ = ended.send(why.to_string());
        }
    }
}

fn options() -> ServerOptions {
    let methods = [Method::Password, Method::KeyboardInteractive];
    ServerOptions::with_new_key().unwrap().methods(methods.into_iter().collect())
}

fn server() -> Server {
    listen(options())
}

fn listen(options: ServerOptions) -> Server {
    Server::listen("127.0.0.1:0", options, |_: &Connection| App::default()).unwrap()
}

fn connect(addr: SocketAddr) -> Client {
    Client::connect(addr, ClientOptions::new().host_keys(HostKeys::insecure_accept_any())).unwrap()
}

fn alice(server: &Server) -> Client {
    let client = connect(server.local_addr());
    client.login("alice", Auth::new().password("wonderland")).unwrap();
    client
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn commands_run_and_their_exit_arrives() {
    let server = server();
    let client = alice(&server);
    assert_eq!(client.exec("exit 7").unwrap().exit, Exit::Status(7));
    let both = client.exec("both 16").unwrap();
    assert_eq!((both.stdout.len(), both.stderr.len()), (1 << 20, 1 << 20));
    let refused = client.exec("rm -rf /").unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::RequestRefused("exec")), "{refused}");
    // What was prepared stays for the next try on the same channel.
    let channel = client.session().unwrap();
    channel.env("LANG", "eo").unwrap();
    assert!(channel.subsystem("sftp").is_err() && channel.shell().is_err());
    channel.exec("env").unwrap();
    let mut text = String::new();
    (&channel).read_to_string(&mut text).unwrap();
    assert_eq!(text, r#"[("LANG", "eo")] None"#);
    assert_eq!(server.connections()[0].user().as_deref(), Some("alice"));
    drop(client);
    assert!(server.shutdown(Duration::from_secs(5)));
}

#[test]
fn decisions_come_later_from_another_thread_and_in_several_steps() {
    let server = server();
    let slow = connect(server.local_addr());
    slow.login("slow", Auth::new().password("anything")).unwrap();
    let twice = connect(server.local_addr());
    assert!(twice.login("twice", Auth::new().password("second")).is_err());
    let login = twice.login("twice", Auth::new().password("first").password("second")).unwrap();
    assert_eq!(login.method.name(), "keyboard-interactive");
}

#[test]
fn environment_terminal_size_and_signals_reach_the_program() {
    let server = server();
    let client = alice(&server);
    let channel = client.session().unwrap();
    channel.env("LANG", "eo").unwrap();
    channel.env("LD_PRELOAD", "evil.so").unwrap();
    channel.request_pty(&Pty { columns: 100, modes: vec![(53, 0)], ..Pty::default() }).unwrap();
    channel.exec("env").unwrap();
    let mut text = String::new();
    (&channel).read_to_string(&mut text).unwrap();
    assert!(text.starts_with(r#"[("LANG", "eo")] Some(Pty { term: "xterm", columns: 100"#), "{text}");
    assert!(text.contains("modes: [(53, 0)]"), "{text}");

    let channel = client.session().unwrap();
    channel.exec("controls").unwrap();
    (&channel).read_exact(&mut [0; 5]).unwrap();
    channel.window_change(132, 43).unwrap();
    channel.signal("USR1").unwrap();
    let Exit::Signal { signal, .. } = channel.wait().unwrap() else { panic!("no signal") };
    assert_eq!(signal, "USR1");
}

/// sshd_config(5), AcceptEnv: `http_proxy` and `HTTP_PROXY` are two variables.
#[test]
fn a13_the_case_of_a_variable_counts() {
    let server = listen(options().accept_env(["HTTP_PROXY", "lc_*", "?Q"]));
    let channel = alice(&server).session().unwrap();
    for name in ["http_proxy", "HTTP_PROXY", "Http_Proxy", "LC_ALL", "lc_all", "xq", "xQ"] {
        channel.env(name, "x").unwrap();
    }
    channel.exec("env").unwrap();
    let mut text = String::new();
    (&channel).read_to_string(&mut text).unwrap();
    assert!(text.starts_with(r#"[("HTTP_PROXY", "x"), ("lc_all", "x"), ("xQ", "x")]"#), "{text}");
}

#[test]
fn other_channels_and_requests_are_for_the_application() {
    let server = server();
    let client = alice(&server);
    let mut tunnel = client.direct_tcpip("echo", 7).unwrap();
    tunnel.write_all(b"back").unwrap();
    let mut back = [0; 4];
    tunnel.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"back");
    let refused = client.direct_tcpip("elsewhere", 80).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::OpenRefused(..)), "{refused}");
    let session = client.session().unwrap();
    use konko::core::channel::ChannelRequest;
    session.request(&ChannelRequest::AuthAgent).unwrap();
    assert!(session.request(&ChannelRequest::Break(1)).is_err());
}

#[test]
fn max_sessions_counts_what_is_open_now() {
    let server = listen(options().max_sessions(2));
    let client = alice(&server);
    let open: Vec<Channel> = (0..2).map(|_| client.session().unwrap()).collect();
    assert!(client.session().unwrap_err().to_string().contains("MaxSessions"));
    drop(open);
    wait_until("room for a session", || client.session().is_ok());
}

#[test]
fn r_17_an_application_that_panics_ends_its_own_connection_only() {
    let server = server();
    let good = alice(&server);
    let client = connect(server.local_addr());
    assert!(client.login("panic", Auth::new().password("x")).is_err());
    // A program that panics closes its channel.
    let channel = good.session().unwrap();
    channel.exec("panic").unwrap();
    assert_eq!(channel.wait().unwrap(), Exit::Missing);
    assert_eq!(good.exec("exit 3").unwrap().exit, Exit::Status(3));
    wait_until("the end of the other", || server.connections().len() == 1);
}

#[test]
fn r_03_a_silent_peer_keeps_nobody_out() {
    let server = server();
    let silent: Vec<TcpStream> = (0..5).map(|_| TcpStream::connect(server.local_addr()).unwrap()).collect();
    let start = Instant::now();
    assert!(alice(&server).exec("exit 0").unwrap().exit.success());
    assert!(start.elapsed() < Duration::from_secs(5));
    drop(silent);
}

#[test]
fn r_04_too_many_who_do_not_authenticate_are_turned_away() {
    let admission = AdmissionLimits::new().per_source(2);
    let server = listen(options().admission(admission));
    let user = alice(&server);
    let silent: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(server.local_addr()).unwrap()).collect();
    wait_until("two starts", || server.connections().len() == 3);
    let mut third = TcpStream::connect(server.local_addr()).unwrap();
    assert_eq!(third.read(&mut [0; 64]).unwrap(), 0, "closed without a word");
    // Who is in stays.
    assert!(user.exec("exit 0").unwrap().exit.success());
    drop(silent);
    wait_until("room again", || server.connections().len() == 1);
    assert!(alice(&server).exec("exit 0").unwrap().exit.success());
}

#[test]
fn c23_one_place_sees_every_attempt_and_what_came_of_it() {
    let (attempted, seen) = mpsc::channel();
    let all = [Method::PublicKey, Method::Password, Method::KeyboardInteractive].into_iter().collect();
    let app = move |_: &Connection| App { ended: None, attempted: Some(attempted.clone()) };
    let server = Server::listen("127.0.0.1:0", options().methods(all).max_auth_tries(3), app).unwrap();
    let key = || {
        let seed = konko::core::Seed::new([3; 32]);
        let key = PrivateKey::generate(KeyType::ED25519, &mut konko::core::Rng::from_seed(&seed)).unwrap();
        Arc::new(key.key_pair(konko::core::provider::best()).unwrap())
    };
    let told = || -> Vec<String> { std::iter::from_fn(|| seen.try_recv().ok()).collect() };
    // A key that the probe refuses, then the password: all by the time the client is in.
    let client = connect(server.local_addr());
    client.login("alice", Auth::new().none().key(key()).password("wonderland")).unwrap();
    client.session().unwrap();
    let expected = [
        "alice by none: Rejected(Decision)",
        "alice by publickey with a key: Rejected(Decision), counted",
        "alice by password: Accepted",
        "in",
    ];
    assert_eq!(told(), expected);
    // A key that is asked for and then not let in; the last of three ends the connection and is told.
    let client = connect(server.local_addr());
    let wrong = Auth::new().key(key()).password("wrong").password("wrong again");
    assert!(client.login("carol", wrong).is_err());
    wait_until("the end of the second", || server.connections().len() == 1);
    let told: Vec<_> = told().into_iter().filter(|line| line.contains("counted")).collect();
    let expected = [
        "carol by publickey with a key: Rejected(Decision), counted",
        "carol by password: Rejected(Decision), counted",
        "carol by password: Rejected(Decision), counted",
    ];
    assert_eq!(told, expected);
    // Two factors; and what the core rejects by itself.
    let client = connect(server.local_addr());
    let both = Auth::new().password("first").interactive(1, |_| Some(vec![Password::new("second")]));
    client.login("twice", both).unwrap();
    client.session().unwrap();
    let told: Vec<_> = seen.try_iter().filter(|line| !line.contains("none")).collect();
    let expected = ["twice by password: Partial", "twice by keyboard-interactive: Accepted", "in"];
    assert_eq!(told, expected);
}

#[test]
fn a6_a_source_that_fails_stays_outside_and_who_logs_in_does_not() {
    let penalties = Penalties::new()
        .auth_fail(Duration::from_secs(60))
        .no_auth(Duration::from_secs(60))
        .min(Duration::from_secs(100));
    let with = |exempt| AdmissionLimits::new().penalties(Some(penalties)).exempt(exempt);
    let serve = |exempt| {
        let (refused, told) = mpsc::channel();
        let options = options().admission(with(exempt)).on_notice(move |notice| {
            if notice.connection.is_none() {
                let _ = refused.send(notice.to_string());
            }
        });
        (listen(options), told)
    };
    let fail = |server: &Server| {
        let client = connect(server.local_addr());
        assert!(client.login("alice", Auth::new().password("wrong")).is_err());
        client.disconnect();
        drop(client);
        wait_until("the end of it", || server.connections().is_empty());
    };
    let outside = |server: &Server| {
        let mut socket = TcpStream::connect(server.local_addr()).unwrap();
        // A word of ours left unread would make it a reset.
        socket.read(&mut [0; 1]).map_or(true, |n| n == 0)
    };
    // A login is no misbehaviour, whatever failed before it.
    let (server, told) = serve(None);
    for _ in 0..3 {
        let client = connect(server.local_addr());
        client.login("alice", Auth::new().password("wrong").password("wonderland")).unwrap();
        drop(client);
        wait_until("the end of it", || server.connections().is_empty());
    }
    fail(&server);
    fail(&server);
    assert!(outside(&server), "120 s are more than 100");
    let line = told.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(line.contains("failed authentication (PerSourcePenalties)"), "{line}");
    // Who leaves without trying.
    let (server, told) = serve(None);
    for _ in 0..2 {
        drop(connect(server.local_addr()));
        wait_until("the end of it", || server.connections().is_empty());
    }
    assert!(outside(&server));
    let line = told.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(line.contains("without attempting authentication"), "{line}");
    // Who is exempt.
    let (server, _told) = serve(Addresses::parse(b"127.0.0.0/8"));
    for _ in 0..4 {
        fail(&server);
    }
    assert!(!outside(&server));
}

#[test]
fn a6_a_panic_before_login_keeps_its_source_outside() {
    let penalties = Some(Penalties::new().min(Duration::ZERO));
    let server = listen(options().admission(AdmissionLimits::new().penalties(penalties)));
    let client = connect(server.local_addr());
    assert!(client.login("panic", Auth::new().password("x")).is_err());
    drop(client);
    wait_until("the end of it", || server.connections().is_empty());
    let mut socket = TcpStream::connect(server.local_addr()).unwrap();
    assert!(socket.read(&mut [0; 1]).map_or(true, |n| n == 0));
}

#[test]
fn shutdown_lets_sessions_finish_and_cuts_what_does_not() {
    let (ended, why) = mpsc::channel();
    let app = move |_: &Connection| App { ended: Some(ended.clone()), attempted: None };
    let server = Server::listen("127.0.0.1:0", options(), app).unwrap();
    let addr = server.local_addr();
    let idle = alice(&server);
    let busy = alice(&server);
    let channel = busy.session().unwrap();
    channel.exec("echo").unwrap();
    let stopping = std::thread::spawn(move || server.shutdown(Duration::from_secs(20)));
    let first = why.recv_timeout(Duration::from_secs(10)).unwrap();
    wait_until("the goodbye", || !idle.is_connected());
    assert!(idle.exec("exit 0").unwrap_err().to_string().contains("shutting down"), "{first}");
    // The busy one goes on.
    (&channel).write_all(b"still there").unwrap();
    (&channel).read_exact(&mut [0; 11]).unwrap();
    assert!(TcpStream::connect(addr).is_err() || !stopping.is_finished());
    channel.send_eof().unwrap();
    assert_eq!(channel.wait().unwrap(), Exit::Status(0));
    drop((channel, busy));
    assert!(stopping.join().unwrap());
    assert!(TcpStream::connect(addr).is_err());

    // One that never ends.
    let server = listen(options());
    let client = alice(&server);
    let channel = client.session().unwrap();
    channel.exec("hang").unwrap();
    let start = Instant::now();
    assert!(server.shutdown(Duration::from_millis(200)), "no thread is left");
    assert!((Duration::from_millis(200)..Duration::from_secs(4)).contains(&start.elapsed()));
    wait_until("the end", || !client.is_connected());
}

#[test]
fn r_10_an_unused_connection_ends() {
    let server = listen(options().unused_timeout(Some(Duration::from_millis(100))));
    let client = alice(&server);
    wait_until("the end", || !client.is_connected());
    let why = client.wait_closed().to_string();
    assert!(why.contains("a channel did not come in time"), "{why}");
}

#[test]
fn r_08_a_client_that_reads_nothing_is_cut() {
    // `Client` always reads its socket, so a relay between the two plays the network that stops.
    let (done, over) = mpsc::channel();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let options = options().stall_timeout(Some(Duration::from_millis(300)));
    std::thread::spawn(move || {
        let stream = konko::FdStream::try_from(theirs).unwrap();
        done.send(konko::server::serve(stream, options, |_| App::default())).unwrap();
    });
    let (left, right) = std::os::unix::net::UnixStream::pair().unwrap();
    let (mut up, mut down) = (right.try_clone().unwrap(), right);
    let (mut to, mut from) = (ours.try_clone().unwrap(), ours);
    std::thread::spawn(move || std::io::copy(&mut up, &mut to));
    let (stop, stopped) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        let mut total = 0;
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            down.write_all(&buffer[..n]).unwrap();
            total += n;
            if total > 1 << 20 {
                // Keeps the stream open, and reads no more.
                return stopped.recv().unwrap_or(());
            }
        }
    });
    let stream = konko::FdStream::try_from(left).unwrap();
    let insecure = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
    let client = Client::over(stream, "pipe", 22, insecure).unwrap();
    client.login("alice", Auth::new().password("wonderland")).unwrap();
    let channel = client.session().unwrap();
    channel.exec("both 64").unwrap();
    let collector = std::thread::spawn(move || (&channel).read_to_end(&mut Vec::new()));
    let error = over.recv_timeout(Duration::from_secs(10)).unwrap().unwrap_err();
    assert!(error.to_string().contains("room for output did not come"), "{error}");
    drop(stop);
    client.disconnect();
    let _ = collector.join();
}
