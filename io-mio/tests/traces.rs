//! The same scenarios over several drivers: a virtual clock, this crate's loop, tokio, and the
//! blocking binding. Whoever drives a connection, the application sees the same events in the same
//! order: adjacent data is one piece, and events about scheduling (`Writable`, `Job`) do not count.

mod scenario;
mod support;
#[path = "../examples/tokio.rs"]
mod tokio_driver;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use konko::server::{AuthAttempt, Credential, Handler, KeyProbe, Server, ServerOptions, Session};
use konko::{Auth, Channel, Client, ClientOptions, Exec, Exit, HostKeys};
use konko_mio::core::admission::AdmissionLimits;
use konko_mio::core::auth::Method;
use konko_mio::core::client::Password;
use konko_mio::core::*;
use konko_mio::{App, Closed, ConnId, Hub, Loop, Settings, Workers};
use scenario::{Act, ClientScript, Proof, Scenario, ServerScript, scenarios};

/// What client and server saw.
type Traces = [Vec<String>; 2];

#[test]
fn every_driver_shows_the_same_events() {
    for scenario in scenarios() {
        let [client, server] = on_a_virtual_clock(&scenario, usize::MAX);
        assert!(client.len() > 3, "{}: {client:#?}", scenario.name);
        let same = |driver: &str, traces: Traces| {
            for (side, (seen, expected)) in
                ["client", "server"].iter().zip(traces.iter().zip([&client, &server]))
            {
                assert_eq!(seen, expected, "{} over {driver}: the {side}'s events", scenario.name);
            }
        };
        for piece in [1, 7, 1000] {
            same("a virtual clock", on_a_virtual_clock(&scenario, piece));
        }
        same("mio", on_mio(&scenario, None));
        same("mio with workers", on_mio(&scenario, Some(Workers::new(1).unwrap())));
        same("tokio", on_tokio(&scenario));
        assert_eq!(std_client(&scenario), server, "{}: what the blocking client's server saw", scenario.name);
        assert_eq!(std_server(&scenario), client, "{}: what the blocking server's client saw", scenario.name);
    }
}

/// Both in one thread; bytes come in pieces, and time passes only when nothing else happens.
fn on_a_virtual_clock(scenario: &Scenario, piece: usize) -> Traces {
    let (mut client, mut server) = (ClientScript::new(scenario), ServerScript::default());
    let mut now = Time::ZERO;
    let config = Arc::new(scenario::client_config());
    let mut c = ClientConnection::new(config, Seed::new([1; 32]), now);
    let mut s = ServerConnection::new(Arc::new(scenario::server_config()), Seed::new([2; 32]), now);
    let (mut c_rx, mut s_rx) = (RxBuf::new(), RxBuf::new());
    while !client.trace.ended() || !server.trace.ended() {
        let mut moved = false;
        while !client.trace.ended() {
            match c.poll(now, &mut c_rx) {
                Ok(Step::Event(event)) => client.on_event(&mut c, event),
                Ok(Step::Blocked(Blocked::Closed)) => client.trace.end("closed"),
                Ok(Step::Blocked(_)) => break,
                Err(error) => client.trace.end(&error.to_string()),
            }
        }
        while !server.trace.ended() {
            match s.poll(now, &mut s_rx) {
                Ok(Step::Event(ServerEvent::Job(job))) => s.finish_job(job.run()).unwrap(),
                Ok(Step::Event(event)) => server.on_event(&mut s, event),
                Ok(Step::Blocked(Blocked::Closed)) => server.trace.end("closed"),
                Ok(Step::Blocked(_)) => break,
                Err(error) => server.trace.end(&error.to_string()),
            }
        }
        for (tx, rx) in [(c.tx(), &mut s_rx), (s.tx(), &mut c_rx)] {
            let n = tx.len().min(piece);
            rx.push(&tx.pending()[..n]);
            tx.consume(n);
            moved |= n > 0;
        }
        if !moved {
            let next = [c.deadline(), s.deadline()].into_iter().flatten().map(|(at, _)| at).min();
            now = next.unwrap_or(now).max(now) + Duration::from_micros(1);
            assert!(
                now.as_micros() < 3_600_000_000,
                "nothing moves any more: {:#?} {:#?}",
                client.trace,
                server.trace
            );
        }
    }
    [client.trace.lines(), server.trace.lines()]
}

/// Both ends in one loop, or only one of them.
#[derive(Default)]
struct Scripts {
    client: Option<ClientScript>,
    server: Option<ServerScript>,
    of_client: Option<ConnId>,
}

impl App for Scripts {
    type Message = ();

    fn on_server_event(
        &mut self,
        _: ConnId,
        conn: &mut ServerConnection,
        event: ServerEvent<'_>,
        _: &mut Hub<()>,
    ) {
        self.server.as_mut().unwrap().on_event(conn, event);
    }

    fn on_client_event(
        &mut self,
        _: ConnId,
        conn: &mut ClientConnection,
        event: ClientEvent<'_>,
        _: &mut Hub<()>,
    ) {
        self.client.as_mut().unwrap().on_event(conn, event);
    }

    fn on_closed(&mut self, id: ConnId, why: Closed, hub: &mut Hub<()>) {
        let why = match why {
            Closed::Local => "closed".into(),
            why => why.to_string(),
        };
        match (&mut self.client, &mut self.server) {
            (Some(client), _) if self.of_client == Some(id) => client.trace.end(&why),
            (_, Some(server)) => server.trace.end(&why),
            _ => unreachable!(),
        }
        let over = |ended: Option<bool>| ended.unwrap_or(true);
        let (client, server) =
            (self.client.as_ref().map(|c| c.trace.ended()), self.server.as_ref().map(|s| s.trace.ended()));
        if over(client) && over(server) {
            hub.drain(Duration::ZERO);
        }
    }
}

fn listen(server: &mut Loop<()>, config: ServerConfig) -> std::net::SocketAddr {
    let listener = konko_mio::bind("127.0.0.1:0".parse().unwrap(), konko_mio::Sharing::Alone).unwrap();
    let addr = listener.local_addr().unwrap();
    let admission = konko_mio::admission(AdmissionLimits::default()).unwrap();
    server.hub().listen(listener, Arc::new(config), admission).unwrap();
    addr
}

fn on_mio(scenario: &Scenario, workers: Option<Workers>) -> Traces {
    let mut config = scenario::server_config();
    config.offload = workers.is_some();
    let mut both = Loop::new(workers.into_iter().fold(Settings::new(), Settings::workers)).unwrap();
    let addr = listen(&mut both, config);
    let id = both.hub().connect(addr, Arc::new(scenario::client_config())).unwrap();
    let (client, server) = (Some(ClientScript::new(scenario)), Some(ServerScript::default()));
    let mut scripts = Scripts { client, server, of_client: Some(id) };
    both.run(&mut scripts).unwrap();
    [scripts.client.unwrap().trace.lines(), scripts.server.unwrap().trace.lines()]
}

fn on_tokio(scenario: &Scenario) -> Traces {
    use tokio_driver::{Call, drive};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let said = |end: std::io::Result<Option<Error>>| end.unwrap().map_or("closed".into(), |e| e.to_string());
    let (mut client, mut server) = (ClientScript::new(scenario), ServerScript::default());
    runtime.block_on(async {
        let start = tokio::time::Instant::now();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let serving = async {
            let (socket, _) = listener.accept().await.unwrap();
            let config = Arc::new(scenario::server_config());
            let conn = ServerConnection::new(config, Seed::new([2; 32]), Time::ZERO);
            // Jobs are finished from another task.
            let (calls, inbox) = tokio::sync::mpsc::unbounded_channel::<Call<server::ServerSide>>();
            let end = drive(conn, socket, start, inbox, |conn, _, event| {
                match event {
                    Some(ServerEvent::Job(job)) => {
                        let calls = calls.clone();
                        tokio::spawn(async move {
                            let done = job.run();
                            let _ = calls.send(Box::new(|conn| conn.finish_job(done).unwrap()));
                        });
                    }
                    Some(event) => server.on_event(conn, event),
                    None => {}
                }
                None
            });
            end.await
        };
        let connecting = async {
            let socket = tokio::net::TcpStream::connect(addr).await.unwrap();
            let config = Arc::new(scenario::client_config());
            let conn = ClientConnection::new(config, Seed::new([1; 32]), Time::ZERO);
            let (_calls, inbox) = tokio::sync::mpsc::unbounded_channel();
            let script = |conn: &mut ClientConnection, _, event: Option<ClientEvent<'_>>| {
                event.into_iter().for_each(|event| client.on_event(conn, event));
                None
            };
            drive(conn, socket, start, inbox, script).await
        };
        let (s, c) = tokio::join!(serving, connecting);
        server.trace.end(&said(s));
        client.trace.end(&said(c));
    });
    [client.trace.lines(), server.trace.lines()]
}

/// The blocking client against the script on a loop: what the server saw.
fn std_client(scenario: &Scenario) -> Vec<String> {
    let mut server = Loop::new(Settings::default()).unwrap();
    let mut config = scenario::server_config();
    config.offload = false;
    let addr = listen(&mut server, config);
    let serving = std::thread::spawn(move || {
        let mut scripts = Scripts { server: Some(ServerScript::default()), ..Scripts::default() };
        server.run(&mut scripts).unwrap();
        scripts.server.unwrap().trace.lines()
    });
    let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
    let client = Client::connect(addr, options).unwrap();
    let mut auth = Auth::new();
    for proof in &scenario.proofs {
        auth = match proof {
            Proof::Password(password) => auth.password(*password),
            Proof::Key(key) => auth.key(key.clone()),
            Proof::Answers(answers) => {
                let answers = answers.clone();
                auth.interactive(1, move |asked| {
                    Some(answers[..asked.questions.len()].iter().map(|a| Password::new(*a)).collect())
                })
            }
        };
    }
    client.login("alice", auth).unwrap();
    for act in &scenario.acts {
        match act {
            Act::Run(command, input) => {
                let exec = Exec::new(*command).stdin(input);
                // A refused command leaves a channel, which the handle closes.
                let _ = client.exec_with(&exec);
            }
            Act::Rekey => {
                let before = client.key_exchanges();
                client.rekey().unwrap();
                support::wait("new keys", || client.key_exchanges() > before);
            }
            Act::OpenRefused => drop(client.direct_tcpip("nowhere", 1).unwrap_err()),
        }
    }
    drop(client);
    serving.join().unwrap()
}

/// As [`ServerScript`] does it.
struct Blocking;

impl Handler for Blocking {
    fn authenticate(&mut self, attempt: AuthAttempt) {
        match attempt.credential() {
            Credential::Password(password) if password.expose() == b"wonderland" => attempt.accept(),
            Credential::PublicKey { key, .. } if **key == *scenario::user_key().public() => attempt.accept(),
            Credential::KeyboardInteractive { .. } => attempt.challenge(scenario::challenge()).unwrap(),
            Credential::Answers(answers) if scenario::right(answers.iter().map(|a| a.expose())) => {
                attempt.accept()
            }
            _ => attempt.reject(),
        }
    }

    fn key_probe(&mut self, probe: KeyProbe) {
        if *probe.key() == *scenario::user_key().public() { probe.would_do() } else { probe.reject() }
    }

    fn session(&mut self, session: Session) {
        let run: fn(Channel) -> Exit = match session.program().to_string().trim_matches('"') {
            "both" => |mut channel| {
                channel.write_all(b"hello").unwrap();
                channel.stderr().write_all(b"oops").unwrap();
                Exit::Status(3)
            },
            "cat" => |mut channel| {
                std::io::copy(&mut channel.clone(), &mut channel).unwrap();
                Exit::Status(0)
            },
            "die" => |_| Exit::Signal { signal: "TERM".into(), core_dumped: false, message: "enough".into() },
            _ => return session.reject(),
        };
        session.run(run).unwrap();
    }
}

/// The script on a loop against the blocking server: what the client saw.
fn std_server(scenario: &Scenario) -> Vec<String> {
    let methods = [Method::PublicKey, Method::Password, Method::KeyboardInteractive].into_iter().collect();
    let options = ServerOptions::new([support::host_key()]).methods(methods).keep_host_keys_untold();
    let server = Server::listen("127.0.0.1:0", options, |_| Blocking).unwrap();
    let mut client = Loop::new(Settings::default()).unwrap();
    let id = client.hub().connect(server.local_addr(), Arc::new(scenario::client_config())).unwrap();
    let mut scripts =
        Scripts { client: Some(ClientScript::new(scenario)), server: None, of_client: Some(id) };
    client.run(&mut scripts).unwrap();
    server.shutdown(Duration::from_secs(5));
    scripts.client.unwrap().trace.lines()
}
