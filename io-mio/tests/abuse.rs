//! Peers that stall, do not read, vanish or come in masses: nothing is left of them, and the others
//! notice nothing.

mod support;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use konko::{Auth, Client, ClientOptions, Exit, HostKeys};
use konko_mio::core::admission::AdmissionLimits;
use konko_mio::core::channel::{ChannelEvent, ChannelRequest, OpenKind};
use konko_mio::core::client::{AuthRequest, Password};
use konko_mio::core::wire::SshStr;
use konko_mio::core::*;
use support::{Counts, Server, client_config, descriptors, full, server_config, status_kib, wait};

fn login(addr: SocketAddr) -> Client {
    let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
    let client = Client::connect(addr, options).unwrap();
    client.login("alice", Auth::new().password("wonderland")).unwrap();
    client
}

/// Asserts that a new client is served without delay.
fn serves(server: &Server) {
    let start = Instant::now();
    let output = login(server.addr).exec("hello").unwrap();
    assert_eq!((output.exit, &output.stdout[..]), (Exit::Status(0), &b"hello"[..]));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

/// Closes with a reset, which also leaves no port behind that waits.
fn reset(socket: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
}

/// How far a raw client goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Keys,
    Login,
    Exec(&'static str),
}

/// A client that goes so far, in proper form, and then is nothing but a socket.
fn go(addr: SocketAddr, until: Until) -> TcpStream {
    let mut socket = TcpStream::connect(addr).unwrap();
    let mut config = client_config();
    // More than any socket holds.
    config.window.initial = 1 << 30;
    let mut conn = ClientConnection::new(Arc::new(config), Seed::new([3; 32]), Time::ZERO);
    let mut rx = RxBuf::new();
    loop {
        let mut there = false;
        while let Step::Event(event) = conn.poll(Time::ZERO, &mut rx).unwrap() {
            match event {
                ClientEvent::Auth(ClientAuth::HostKey(ticket)) => {
                    conn.decide_host_key(ticket, Decision::Accept).unwrap()
                }
                ClientEvent::Auth(ClientAuth::Needed { .. }) if until == Until::Keys => there = true,
                ClientEvent::Auth(ClientAuth::Needed { .. }) => {
                    conn.authenticate("alice", AuthRequest::Password(&Password::new("wonderland"))).unwrap();
                }
                ClientEvent::Authenticated { .. } if until == Until::Login => there = true,
                ClientEvent::Authenticated { .. } => drop(conn.open(OpenKind::Session).unwrap()),
                ClientEvent::Opened(channel) => {
                    let Until::Exec(command) = until else { unreachable!() };
                    let exec = ChannelRequest::Exec(SshStr::new(command.as_bytes()));
                    conn.request(channel, exec, WantReply::Yes).unwrap();
                }
                ClientEvent::Channel(_, ChannelEvent::RequestDone { .. }) => there = true,
                _ => {}
            }
        }
        let n = conn.tx().len();
        socket.write_all(conn.tx().pending()).unwrap();
        conn.tx().consume(n);
        if there {
            return socket;
        }
        let n = socket.read(rx.spare()).unwrap();
        rx.filled(n);
    }
}

#[test]
fn r03_peers_that_stall_in_a_handshake_hold_up_nobody_and_are_dropped() {
    let _alone = support::alone();
    let mut config = server_config();
    let limits = &mut Arc::make_mut(&mut config.transport).limits;
    (limits.login_grace, limits.ident_timeout) = (Duration::from_secs(2), Duration::from_secs(1));
    let server = Server::start(config);
    let base = descriptors();
    let mut stalled: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(server.addr).unwrap()).collect();
    for (socket, words) in
        stalled.iter_mut().zip([&b""[..], b"SSH-2.0-x\r\n", b"SSH-2.0-x\r\n\0\0\x01"].into_iter().cycle())
    {
        socket.write_all(words).unwrap();
    }
    stalled.push(go(server.addr, Until::Keys));
    serves(&server);
    wait("them to be dropped", || server.counts.open() == 0);
    drop(stalled);
    wait("their descriptors", || descriptors() <= base);
    assert_eq!(server.admission.lock().connections(), 0);
}

#[test]
fn r08_a_peer_that_never_reads_is_cut_off_and_costs_what_its_window_allows() {
    let _alone = support::alone();
    let settings = support::settings().write_timeout(Duration::from_secs(1));
    let mut config = server_config();
    // It does not answer probes either, but that would take longer.
    support::keepalive(&mut config.transport, 3600);
    let server = Server::with(config, AdmissionLimits::unlimited(1000), settings);
    let before = status_kib("VmRSS");
    let deaf: Vec<TcpStream> = (0..20).map(|_| go(server.addr, Until::Exec("source 1000000000"))).collect();
    serves(&server);
    wait("them to be cut off", || Counts::of(&server.counts.stalled) == 20);
    // What the receiving sockets hold is the kernel's.
    assert!(status_kib("VmRSS") - before < 64 * 1024, "{} KiB", status_kib("VmRSS") - before);
    drop(deaf);
    wait("the rest", || server.counts.open() == 0);
}

#[test]
fn r08_a_slow_reader_gets_everything_in_the_end() {
    let _alone = support::alone();
    let server = Server::start(server_config());
    let client = login(server.addr);
    let mut channel = client.session().unwrap();
    channel.exec("source 3000000").unwrap();
    let (mut piece, mut sum) = (vec![0; 100_000], 0);
    loop {
        let n = channel.read(&mut piece).unwrap();
        sum += n;
        if n == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((sum, channel.wait().unwrap()), (3_000_000, Exit::Status(0)));
}

#[test]
fn r09_a_cut_link_ends_when_probes_are_not_answered() {
    let _alone = support::alone();
    let mut config = server_config();
    let interval = Duration::from_millis(200);
    Arc::make_mut(&mut config.transport).keepalive =
        Some(transport::Keepalive::new().interval(interval).count(3));
    let server = Server::start(config);
    // To the server it looks the same: bytes are taken, and nobody answers.
    let silent = go(server.addr, Until::Login);
    wait("the login", || Counts::of(&server.counts.established) == 1);
    wait("the end", || server.counts.open() == 0);
    drop(silent);
    serves(&server);
}

#[test]
fn r15_resets_at_any_moment_leave_nothing() {
    let _alone = support::alone();
    let server = Server::start(server_config());
    let base = descriptors();
    for _ in 0..5 {
        for until in [Until::Keys, Until::Login, Until::Exec("hang"), Until::Exec("source 100000000")] {
            reset(go(server.addr, until));
        }
        reset(TcpStream::connect(server.addr).unwrap());
    }
    wait("all to end", || Counts::of(&server.counts.closed) == 25);
    wait("their descriptors", || descriptors() <= base);
    serves(&server);
    assert_eq!(server.admission.lock().unauthenticated(), 0);
}

#[test]
fn r15_many_connections_come_and_go_without_a_trace() {
    let _alone = support::alone();
    let cycles = if full() { 100_000 } else { 4000 };
    let server = Server::start(server_config());
    let mut cycle = |n: usize| {
        let mut socket = TcpStream::connect(server.addr).unwrap();
        match n % 4 {
            0 => {}
            1 => socket.write_all(b"SSH-2.0-x\r\n").unwrap(),
            2 => socket.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap(),
            // In proper form up to the end, now and then.
            _ if n % 100 == 3 => drop(login(server.addr).exec("hello").unwrap()),
            _ => {
                let mut line = [0; 9];
                socket.read_exact(&mut line).unwrap();
            }
        }
        reset(socket);
    };
    (0..500).for_each(&mut cycle);
    wait("the first to end", || server.counts.open() == 0);
    let (memory, files) = (status_kib("VmRSS"), descriptors());
    let start = Instant::now();
    (0..cycles).for_each(&mut cycle);
    wait("all to end", || server.counts.open() == 0 && descriptors() <= files);
    let grown = status_kib("VmRSS").saturating_sub(memory);
    println!("{cycles} cycles in {:.1?}: {grown} KiB more", start.elapsed());
    assert!(grown < 2048, "{grown} KiB");
}

#[test]
fn r17_a_panic_of_the_application_ends_one_connection() {
    let _alone = support::alone();
    let server = Server::start(server_config());
    let (other, unlucky) = (login(server.addr), login(server.addr));
    assert!(unlucky.exec("panic").is_err());
    wait("the panic", || Counts::of(&server.counts.panicked) == 1);
    assert_eq!(other.exec("hello").unwrap().stdout, b"hello");
    serves(&server);
}

#[test]
fn r04_starts_are_limited_and_those_who_log_in_make_room() {
    let _alone = support::alone();
    let limits = AdmissionLimits::new().per_source(3);
    let server = Server::with(server_config(), limits, support::settings());
    let users: Vec<Client> = (0..6).map(|_| login(server.addr)).collect();
    let silent: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(server.addr).unwrap()).collect();
    wait("three to be admitted", || Counts::of(&server.counts.accepted) == 9);
    let mut one_more = TcpStream::connect(server.addr).unwrap();
    let end = one_more.read(&mut [0; 100]);
    assert!(matches!(&end, Ok(0)) || end.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset));
    assert_eq!(Counts::of(&server.counts.refused), 1);
    drop(silent);
    wait("them to end", || server.counts.open() == 6);
    serves(&server);
    drop(users);
}

#[test]
#[ignore = "the second process of r18, which starts it"]
fn starved_server() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let server = Server::start(server_config());
    let few = Some(descriptors() as u64 + 10);
    setrlimit(Resource::Nofile, Rlimit { current: few, maximum: few }).unwrap();
    println!("\naddr: {}", server.addr);
    // Until the parent hangs up.
    let _ = std::io::stdin().read(&mut [0]);
    println!("\nerrors: {}", Counts::of(&server.counts.accept_errors));
}

#[test]
fn r18_without_descriptors_the_loop_rests_and_then_goes_on() {
    let _alone = support::alone();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "starved_server", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut told = |what: &str| {
        let line = lines.find_map(|line| line.split_once(what).map(|(_, rest)| rest.to_owned()));
        line.unwrap_or_else(|| panic!("the server ended before: {what}"))
    };
    let addr: SocketAddr = told("addr: ").parse().unwrap();
    let crowd: Vec<TcpStream> = (0..60).map(|_| TcpStream::connect(addr).unwrap()).collect();
    // The last of them waits in the queue, and the server does not spin for it.
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    std::thread::sleep(Duration::from_secs(2));
    let spent = ticks() - before;
    assert!(spent < 20, "{spent} hundredths of a second of work in two seconds of waiting");
    drop(crowd);
    let output = login(addr).exec("hello").unwrap();
    assert_eq!(output.stdout, b"hello");
    drop(child.stdin.take());
    assert_eq!(told("errors: "), "1", "it was told once");
    assert!(child.wait().unwrap().success());
}
