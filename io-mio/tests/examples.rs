//! The examples do what they say.

#[path = "../examples/bastion.rs"]
mod bastion;
#[path = "../examples/fleet.rs"]
mod fleet;
#[path = "../examples/sftp.rs"]
mod sftp;
mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use konko::{Auth, Client, ClientOptions, ErrorKind, HostKeys, known_hosts};
use konko_mio::core::admission::AdmissionLimits;
use konko_mio::core::channel::{ChannelEvent, ChannelId, OpenFailure, OpenKind};
use konko_mio::core::client::Password;
use konko_mio::core::crypto::HashAlgorithm;
use konko_mio::core::hosts::{Checking, KnownHosts, Trust, Unknown, UpdateHostKeys, learn_line};
use konko_mio::core::server::AuthDecision;
use konko_mio::core::*;
use konko_mio::{App, ConnId, Hub, Loop, Settings, Workers};
use support::{Server, host_key, server_config};

#[test]
fn a_fleet_gets_one_command_so_many_hosts_at_a_time() {
    let servers: Vec<Server> = (0..2).map(|_| Server::start(server_config())).collect();
    let stranger = {
        let key = bastion::server_config().unwrap();
        Server::start(key)
    };
    let lines: String = servers
        .iter()
        .map(|s| learn_line("127.0.0.1", s.addr.port(), host_key().public(), None).unwrap() + "\n")
        .collect();
    // Nobody listens there.
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let mut hosts: Vec<(String, u16)> =
        (0..30).map(|n| ("127.0.0.1".into(), servers[n % 2].addr.port())).collect();
    hosts.extend([stranger.addr, closed].map(|addr| ("127.0.0.1".to_owned(), addr.port())));
    let plan = |command: &str| fleet::Plan {
        user: "alice".into(),
        agent: None,
        key: None,
        password: Some(Password::new("wonderland")),
        trust: Trust::default(),
        known: Arc::new(KnownHosts::parse("known_hosts", lines.as_bytes()).unwrap()),
        at_once: 4,
        timeout: Duration::from_secs(30),
        command: command.into(),
        hosts: hosts.clone(),
    };
    let outcomes = fleet::run(plan("hello there"), indicatif::ProgressBar::hidden()).unwrap();
    assert_eq!(outcomes.len(), 32);
    assert!(
        outcomes[..30].iter().all(|o| o.result == Ok(0) && o.output == b"hello there"),
        "{}",
        fleet::table(&outcomes)
    );
    let table = fleet::table(&outcomes);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].contains("hello there"), "{table}");
    assert!(lines[30].contains("the host key is not known"), "{table}");
    assert!(lines[31].contains("refused"), "{table}");
    let outcomes = fleet::run(plan("exit 3"), indicatif::ProgressBar::hidden()).unwrap();
    assert!(outcomes[..30].iter().all(|o| o.result == Ok(3)));
    // None of the servers ever had more than four of them at a time.
    for server in &servers {
        assert_eq!(server.counts.accepted.load(std::sync::atomic::Ordering::Relaxed), 30);
    }
}

#[test]
fn a_fleet_logs_in_with_an_agent() {
    use konko::core::agent::{Constraints, Keyring};
    let server = Server::start(server_config());
    let line = learn_line("127.0.0.1", server.addr.port(), host_key().public(), None).unwrap() + "\n";
    let mut keyring = Keyring::new(provider::best(), Rng::from_seed(&Seed::new([1; 32])));
    keyring.add(&support::user_key(), b"mine", &Constraints::new(), Time::ZERO).unwrap();
    let agent = Arc::new(konko::AgentServer::bind_private(keyring).unwrap());
    let serving = Arc::clone(&agent);
    let thread = std::thread::spawn(move || serving.serve());
    let mut plan = fleet::Plan {
        user: "alice".into(),
        agent: Some(agent.path().into()),
        key: None,
        password: None,
        trust: Trust::default(),
        known: Arc::new(KnownHosts::parse("known_hosts", line.as_bytes()).unwrap()),
        at_once: 4,
        timeout: Duration::from_secs(30),
        command: "hello".into(),
        hosts: (0..8).map(|_| ("127.0.0.1".to_owned(), server.addr.port())).collect(),
    };
    let hosts = plan.hosts.clone();
    let outcomes = fleet::run(plan, indicatif::ProgressBar::hidden()).unwrap();
    assert!(outcomes.iter().all(|o| o.result == Ok(0)), "{}", fleet::table(&outcomes));
    // Without it, nobody comes in.
    agent.close();
    thread.join().unwrap().unwrap();
    plan = fleet::Plan {
        user: "alice".into(),
        agent: Some(agent.path().into()),
        key: None,
        password: None,
        trust: Trust::default(),
        known: Arc::new(KnownHosts::parse("known_hosts", line.as_bytes()).unwrap()),
        at_once: 4,
        timeout: Duration::from_secs(30),
        command: "hello".into(),
        hosts,
    };
    let outcomes = fleet::run(plan, indicatif::ProgressBar::hidden()).unwrap();
    assert!(outcomes.iter().all(|o| o.result.is_err()), "{}", fleet::table(&outcomes));
}

/// A server, and files of known hosts in each of the states that they can be in, as the fleet and as the blocking
/// client see them: whether they believe the server, why not, and what stands in the file afterwards.
#[test]
fn a4_the_fleet_believes_what_the_blocking_client_believes() {
    use std::os::unix::ffi::OsStrExt;
    let server = Server::start(server_config());
    let right = learn_line("127.0.0.1", server.addr.port(), host_key().public(), None).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for unknown in [Unknown::Reject, Unknown::AcceptNew] {
        for state in [
            "missing",
            "missing folder",
            "null",
            "folder",
            "fifo",
            "below a file",
            "loop",
            "right",
            "no line feed",
            "revoked",
            "torn",
            "torn revoked",
            "too large",
            "full",
        ] {
            let file = dir.path().join("one").join("known_hosts");
            let prepare = || {
                let folder = file.parent().unwrap();
                let _ = std::fs::remove_dir_all(folder).or_else(|_| std::fs::remove_file(folder));
                prepare(&file, state, &right);
            };
            // Nobody would ever write into the FIFO.
            let after = || file.is_file().then(|| std::fs::read(&file).unwrap());
            prepare();
            let mut checking = Checking::default();
            (checking.unknown, checking.user_files) = (unknown, vec![file.as_os_str().as_bytes().into()]);
            let trust = Trust::KnownHosts(checking);
            let plan = fleet::Plan {
                user: "alice".into(),
                agent: None,
                key: None,
                password: Some(Password::new("wonderland")),
                known: Arc::new(known_hosts::load(&trust)),
                trust,
                at_once: 1,
                timeout: Duration::from_secs(30),
                command: "true".into(),
                hosts: vec![("127.0.0.1".into(), server.addr.port())],
            };
            let outcomes = fleet::run(plan, indicatif::ProgressBar::hidden()).unwrap();
            let fleets = (outcomes[0].result.clone().map(drop), after());
            prepare();
            let mut files = HostKeys::known_hosts().user_files([&file]).global_files(["/dev/null"]);
            if unknown == Unknown::AcceptNew {
                files = files.accept_new();
            }
            let client = Client::connect(server.addr, ClientOptions::new().host_keys(files));
            let client = client.map(drop).map_err(|e| match e.kind() {
                ErrorKind::HostKey(problem) => problem.to_string(),
                _ => panic!("{state}: {e}"),
            });
            assert_eq!(fleets, (client, after()), "{state}, {unknown:?}");
            let stands = match state {
                "right" => true,
                "missing" | "missing folder" | "null" | "no line feed" | "below a file" | "full" => {
                    unknown == Unknown::AcceptNew
                }
                _ => false,
            };
            assert_eq!(fleets.0.is_ok(), stands, "{state}, {unknown:?}: {:?}", fleets.0);
            if fleets.0.is_ok() && matches!(state, "missing" | "missing folder" | "no line feed") {
                let text = String::from_utf8(fleets.1.unwrap()).unwrap();
                assert!(text.ends_with(&format!("{right}\n")) && text.lines().count() < 3, "{text}");
            }
        }
    }
}

#[test]
fn h16_a_fleet_learns_the_keys_that_its_hosts_tell() {
    use std::os::unix::ffi::OsStrExt;
    let mut config = server_config();
    let mut rng = Rng::from_seed(&Seed::new([42; 32]));
    let second = keys::PrivateKey::generate(keys::KeyType::ECDSA_NISTP256, &mut rng).unwrap();
    config.host_keys.push(Arc::new(second.key_pair(provider::best()).unwrap()));
    config.announce_host_keys = true;
    let server = Server::start(config);
    let line = |key: &keys::PublicKey| learn_line("127.0.0.1", server.addr.port(), key, None).unwrap() + "\n";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("known_hosts");
    for (update, expected) in [
        (UpdateHostKeys::No, line(host_key().public())),
        (UpdateHostKeys::Yes, line(host_key().public()) + &line(second.public())),
    ] {
        std::fs::write(&file, line(host_key().public())).unwrap();
        let mut checking = Checking::default();
        checking.user_files = vec![file.as_os_str().as_bytes().into()];
        checking.update_host_keys = update;
        let trust = Trust::KnownHosts(checking);
        let plan = fleet::Plan {
            user: "alice".into(),
            agent: None,
            key: None,
            password: Some(Password::new("wonderland")),
            known: Arc::new(known_hosts::load(&trust)),
            trust,
            at_once: 1,
            timeout: Duration::from_secs(30),
            command: "true".into(),
            hosts: vec![("127.0.0.1".into(), server.addr.port())],
        };
        let outcomes = fleet::run(plan, indicatif::ProgressBar::hidden()).unwrap();
        assert_eq!(outcomes[0].result, Ok(0), "{update:?}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), expected, "{update:?}");
    }
}

fn prepare(file: &std::path::Path, state: &str, right: &str) {
    use std::fs;
    let folder = file.parent().unwrap();
    match state {
        "missing folder" => return,
        "below a file" => return fs::write(folder, "").unwrap(),
        _ => fs::create_dir(folder).unwrap(),
    }
    let sized = |size| fs::File::create(file).unwrap().set_len(size).unwrap();
    match state {
        "missing" => {}
        "null" => std::os::unix::fs::symlink("/dev/null", file).unwrap(),
        "folder" => fs::create_dir(file).unwrap(),
        "fifo" => assert!(std::process::Command::new("mkfifo").arg(file).status().unwrap().success()),
        "loop" => std::os::unix::fs::symlink(file, file).unwrap(),
        "right" => fs::write(file, right).unwrap(),
        "no line feed" => fs::write(file, "# mine").unwrap(),
        "revoked" => {
            fs::write(file, format!("{right}\n@revoked * {}", right.split_once(' ').unwrap().1)).unwrap()
        }
        "torn" => fs::write(file, right.replace("AAAA", "BBBB")).unwrap(),
        "torn revoked" => {
            fs::write(file, format!("{right}\n@revoked {}", &right[..right.len() - 3])).unwrap()
        }
        "too large" => sized(16 * 1024 * 1024 + 1),
        // One more line would be one too many.
        "full" => fs::write(file, "#".repeat(16 * 1024 * 1024)).unwrap(),
        other => panic!("{other}"),
    }
}

/// The server further in: what is opened comes back, port 7 is closed.
#[derive(Default)]
struct Inner {
    kept: Vec<u8>,
    eof: bool,
}

impl App for Inner {
    type Message = ();

    fn on_server_event(
        &mut self,
        _: ConnId,
        conn: &mut ServerConnection,
        event: ServerEvent<'_>,
        _: &mut Hub<()>,
    ) {
        match event {
            ServerEvent::Auth(ServerAuth::Attempt { ticket, .. }) => {
                conn.decide_auth(ticket, AuthDecision::Accept).unwrap()
            }
            ServerEvent::Open { ticket, kind: OpenKind::DirectTcpip { port: 7, .. } } => {
                conn.reject_channel(ticket, OpenFailure::CONNECT_FAILED, "nobody there").unwrap();
            }
            ServerEvent::Open { ticket, .. } => drop(conn.accept_channel(ticket).unwrap()),
            ServerEvent::Channel(channel, ChannelEvent::Data { data, .. }) => {
                self.kept.extend_from_slice(data);
                self.echo(conn, channel);
            }
            ServerEvent::Channel(channel, ChannelEvent::Writable) => self.echo(conn, channel),
            ServerEvent::Channel(channel, ChannelEvent::Eof) => {
                self.eof = true;
                self.echo(conn, channel);
            }
            _ => {}
        }
    }
}

impl Inner {
    /// Gives back what can be given back now. What is kept is bounded by the window.
    fn echo(&mut self, conn: &mut ServerConnection, channel: ChannelId) {
        let n = conn.write(channel, channel::DataStream::Data, &self.kept).unwrap();
        self.kept.drain(..n);
        conn.consume(channel, n).unwrap();
        if self.eof && self.kept.is_empty() {
            conn.send_eof(channel).unwrap();
            conn.close_channel(channel).unwrap();
        }
    }
}

#[test]
fn a_bastion_passes_data_straight_on() {
    let listen = || konko_mio::bind("127.0.0.1:0".parse().unwrap(), konko_mio::Sharing::Alone).unwrap();
    let admission = || konko_mio::admission(AdmissionLimits::unlimited(100)).unwrap();
    let mut inner = Loop::new(Settings::default()).unwrap();
    let (listener, inner_mail) = (listen(), inner.mailbox());
    let inner_addr = listener.local_addr().unwrap();
    inner.hub().listen(listener, Arc::new(server_config()), admission()).unwrap();
    let inner = std::thread::spawn(move || inner.run(&mut Inner::default()).unwrap());

    let mut both = Loop::new(Settings::default()).unwrap();
    let (listener, mail) = (listen(), both.mailbox());
    let addr = listener.local_addr().unwrap();
    both.hub().listen(listener, Arc::new(bastion::server_config().unwrap()), admission()).unwrap();
    let upstream = both.hub().connect(inner_addr, Arc::new(support::client_config())).unwrap();
    let fingerprint = host_key().public().fingerprint(HashAlgorithm::Sha256).to_string();
    let mut app = bastion::Bastion::new(upstream, "relay".into(), Password::new("x"), fingerprint);
    let relay = std::thread::spawn(move || {
        both.run(&mut app).unwrap();
        app
    });

    let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
    let client = Client::connect(addr, options).unwrap();
    client.login("alice", Auth::new().password("wonderland")).unwrap();
    let refused = client.direct_tcpip("inner", 7).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::OpenRefused(OpenFailure::CONNECT_FAILED, _)), "{refused}");
    assert!(client.session().is_err(), "nothing but connections further in");
    let sent: Vec<u8> = (0..8_000_000u32).map(|n| (n * 7 / 3) as u8).collect();
    let mut channel = client.direct_tcpip("inner", 22).unwrap();
    let mut writer = channel.clone();
    let received = std::thread::scope(|scope| {
        scope.spawn(|| {
            writer.write_all(&sent).unwrap();
            writer.send_eof().unwrap();
        });
        let mut received = Vec::new();
        channel.read_to_end(&mut received).unwrap();
        received
    });
    assert!(received == sent);
    drop((channel, writer, client));
    mail.drain(Duration::from_secs(5));
    let app = relay.join().unwrap();
    println!("{} bytes straight on, {} kept for a while", app.direct, app.kept);
    assert_eq!(app.direct + app.kept, 16_000_000);
    inner_mail.drain(Duration::ZERO);
    inner.join().unwrap();
}

#[test]
fn sftp_sessions_share_one_file_system_in_memory() {
    let mut files = Loop::new(Settings::default().workers(Workers::new(1).unwrap())).unwrap();
    let listener = konko_mio::bind("127.0.0.1:0".parse().unwrap(), konko_mio::Sharing::Alone).unwrap();
    let (addr, mail) = (listener.local_addr().unwrap(), files.mailbox());
    let admission = konko_mio::admission(AdmissionLimits::unlimited(100)).unwrap();
    files.hub().listen(listener, Arc::new(server_config()), admission).unwrap();
    let serving = std::thread::spawn(move || files.run(&mut sftp::Files::default()).unwrap());

    let connect = || {
        let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
        let client = Client::connect(addr, options).unwrap();
        client.login("alice", Auth::new().password("wonderland")).unwrap();
        client
    };
    let (one, two) = (connect(), connect());
    assert!(one.exec("ls").is_err(), "nothing but SFTP");
    // Larger than every window and backlog, both ways at once.
    let large: Vec<u8> = (0..12_000_000u32).map(|n| (n * 7 / 3) as u8).collect();
    let (here, there) = (one.sftp().unwrap(), two.sftp().unwrap());
    here.create_dir("shared").unwrap();
    here.create("shared/one").unwrap().write_all(&large).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| there.create("shared/two").unwrap().write_all(&large).unwrap());
        let mut back = Vec::new();
        here.open("shared/one").unwrap().read_to_end(&mut back).unwrap();
        assert!(back == large);
    });
    let mut back = Vec::new();
    here.open("shared/two").unwrap().read_to_end(&mut back).unwrap();
    assert!(back == large);
    assert_eq!(there.read_dir("shared").unwrap().count(), 2);
    // Hashes come from a worker, and what is asked meanwhile is answered before.
    let hash = there.check_file("shared/two", &[HashAlgorithm::Sha256], (0, 0), 0).unwrap();
    let expected = crypto::Digest::of(provider::best(), HashAlgorithm::Sha256, &[&large]);
    assert_eq!((hash.algorithm, &hash.digests[..]), (HashAlgorithm::Sha256, expected.as_bytes()));
    drop((here, there, one, two));
    mail.drain(Duration::from_secs(5));
    serving.join().unwrap();
}
