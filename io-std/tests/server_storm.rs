//! Hundreds of clients that stop anywhere. A good one gets in and works meanwhile, and nothing is
//! left of the bad ones. A process of its own, so that what is counted is ours; one storm at a time.
#![cfg(feature = "server")]

mod census;
mod raw_client;

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use census::Census;
use konko::core::admission::AdmissionLimits;
use konko::server::users::{User, Users};
use konko::server::{AuthAttempt, Handler, KeyProbe, Programs, Server, ServerOptions, Service};
use konko::{Auth, Client, ClientOptions, FdStream, HostKeys};
use raw_client::{Raw, Stop, connect};

/// Bad clients of a storm.
const MANY: usize = 200;
/// Within this time a good client has to be in.
const PATIENCE: Duration = Duration::from_secs(10);
/// What of the heap may be left of a storm: a buffer or two of a thread that is just ending, and the table of
/// waiting threads of parking_lot, which is kept: 64 bytes for each of three places a thread, for the most threads there
/// ever were.
const HEAP: isize = (64 + 128) << 10;
/// What the allocator may keep of one storm, and by how much another one of the same size may add to it.
const POOL: usize = 64 << 20;
const DRIFT: usize = 16 << 20;

const GOOD: [u8; 4] = [127, 0, 0, 2];
const BAD: [u8; 4] = [127, 0, 0, 1];

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn service() -> Service {
    let mut users = Users::new();
    users.add("alice", User::new().password("wonderland")).unwrap();
    let programs = Programs::new().command("true", |_| 0u32).command("flood", |call| {
        // More than any buffer holds.
        let mut endless = std::io::repeat(b'x').take(8 << 20);
        std::io::copy(&mut endless, &mut call.channel()).map_or(1u32, |_| 0)
    });
    Service::new(Arc::new(users), Arc::new(programs))
}

fn listen(set: impl FnOnce(ServerOptions) -> ServerOptions) -> Server {
    let service = service();
    let options = ServerOptions::with_new_key().unwrap().methods(service.users().methods());
    Server::listen("127.0.0.1:0", set(options), move |_| service.clone()).unwrap()
}

fn unlimited(options: ServerOptions) -> ServerOptions {
    options.admission(AdmissionLimits::unlimited(1000))
}

/// A good client comes, works and goes.
fn good(to: SocketAddr) -> Result<(), konko::Error> {
    let stream = FdStream::try_from(connect(GOOD, to)).unwrap();
    let options =
        ClientOptions::new().host_keys(HostKeys::insecure_accept_any()).handshake_timeout(Some(PATIENCE));
    let client = Client::over(stream, "server", 22, options)?;
    client.login("alice", Auth::new().password("wonderland"))?;
    assert!(client.exec("true")?.exit.success());
    Ok(())
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Lets many bad clients come, each made by `bad` of its number. First they stay until they hang up
/// themselves, twice; then a server with `short` timers gets rid of them. `each`: what one of them may
/// cost, theirs and ours.
fn storm<B: Send>(
    what: &str,
    bad: impl Fn(SocketAddr, u64) -> B,
    cut: impl Fn(&mut B) -> bool,
    short: impl Fn(ServerOptions) -> ServerOptions,
    each: isize,
) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let server = listen(unlimited);
    let addr = server.local_addr();
    good(addr).unwrap();
    drop(bad(addr, 1000));
    wait_until("rest", || server.connections().is_empty());
    let mut before = Census::at_rest(1);
    for (round, kept) in [POOL, DRIFT].into_iter().enumerate() {
        let crowd: Vec<B> = (0..MANY as u64).map(|i| bad(addr, i)).collect();
        wait_until("the crowd", || server.connections().len() == MANY);
        let start = Instant::now();
        good(addr).unwrap();
        let cost = (Census::now().heap - before.heap) / MANY as isize;
        eprintln!("{what}: {cost} bytes of heap each; a good client took {:?}", start.elapsed());
        assert!(cost < each, "{what}: {cost} bytes each");
        drop(crowd);
        before.returns(&format!("{what}, round {round}"), HEAP, kept);
        before = Census::now();
    }
    assert!(server.shutdown(PATIENCE));

    let before = Census::at_rest(0);
    let server = listen(|options| short(unlimited(options)));
    let addr = server.local_addr();
    let mut crowd: Vec<B> = (0..MANY as u64).map(|i| bad(addr, i)).collect();
    good(addr).unwrap();
    assert!(crowd.iter_mut().all(cut), "{what}: not cut");
    wait_until("the end of all", || server.connections().is_empty());
    good(addr).unwrap();
    drop(crowd);
    assert!(server.shutdown(PATIENCE));
    before.returns(&format!("{what}, cut by the server"), HEAP, DRIFT);
}

#[test]
fn r_08_clients_that_never_speak() {
    let cut = |socket: &mut TcpStream| {
        // What the server said, then the end.
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let read = socket.read_to_end(&mut Vec::new());
        read.map_or_else(|e| e.kind() == std::io::ErrorKind::ConnectionReset, |_| true)
    };
    let grace = |options: ServerOptions| options.login_grace(Duration::from_secs(1));
    storm("never speak", |addr, _| connect(BAD, addr), cut, grace, 64 << 10);
}

fn stops(what: &str, stop: Stop) {
    let bad = |addr, seed| Raw::new(connect(BAD, addr), seed, "true").run(stop);
    let grace = |options: ServerOptions| options.login_grace(Duration::from_secs(1));
    storm(what, bad, Raw::is_cut, grace, 256 << 10);
}

#[test]
fn r_01_r_06_clients_that_stop_in_the_key_exchange() {
    stops("stop in the key exchange", Stop::HostKey);
}

#[test]
fn r_01_r_06_clients_that_stop_before_they_authenticate() {
    stops("stop before they authenticate", Stop::Auth);
}

#[test]
fn r_01_r_06_clients_that_stop_after_a_wrong_password() {
    stops("stop after a wrong password", Stop::Rejected);
}

#[test]
fn r_08_clients_that_authenticate_and_never_read() {
    let bad = |addr, seed| Raw::new(connect(BAD, addr), seed, "flood").run(Stop::Running);
    let stall = |options: ServerOptions| options.stall_timeout(Some(Duration::from_secs(1)));
    // The cut is noticed by the server alone: who never reads does not see it.
    storm("never read", bad, |_| true, stall, 2 << 20);
}

#[test]
fn r_15_clients_cut_anywhere_in_the_handshake_leave_nothing() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let full = std::env::var_os("KONKO_FULL").is_some();
    let (points, each) = (40, if full { 250 } else { 5 });
    let server = listen(unlimited);
    let addr = server.local_addr();
    let whole = Raw::new(connect(BAD, addr), 0, "true").run(Stop::Running).sent;
    good(addr).unwrap();
    wait_until("rest", || server.connections().is_empty());
    let before = Census::at_rest(1);
    for point in 0..points {
        for seed in 0..each {
            let raw = Raw::new(connect(BAD, addr), seed, "true").limit(whole * point / points);
            drop(raw.run(Stop::Running));
        }
    }
    wait_until("the end of all", || server.connections().is_empty());
    good(addr).unwrap();
    before.returns("cut anywhere", HEAP, POOL);
    assert!(server.shutdown(PATIENCE));
}

/// Keeps every attempt to authenticate.
struct Hoard(Arc<Mutex<Vec<AuthAttempt>>>);

impl Handler for Hoard {
    fn authenticate(&mut self, attempt: AuthAttempt) {
        self.0.lock().unwrap().push(attempt);
    }

    fn key_probe(&mut self, probe: KeyProbe) {
        probe.reject();
    }
}

#[test]
fn r_15_tickets_answered_on_other_threads_after_the_end_leave_nothing() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let hoard = Arc::new(Mutex::new(Vec::new()));
    let tickets = Arc::clone(&hoard);
    let options = unlimited(ServerOptions::with_new_key().unwrap());
    let server = Server::listen("127.0.0.1:0", options, move |_| Hoard(Arc::clone(&tickets))).unwrap();
    let addr = server.local_addr();
    let mut before = None;
    for round in 0..2 {
        let crowd: Vec<Raw> =
            (0..MANY as u64).map(|i| Raw::new(connect(BAD, addr), i, "true").run(Stop::Asked)).collect();
        wait_until("all attempts", || hoard.lock().unwrap().len() == MANY);
        // Nothing is read while a decision is due, so the server says when it is over.
        server.connections().iter().for_each(|connection| connection.disconnect("enough"));
        drop(crowd);
        wait_until("the end of all", || server.connections().is_empty());
        let attempts = std::mem::take(&mut *hoard.lock().unwrap());
        let answer = |(i, attempt): (usize, AuthAttempt)| match i % 3 {
            0 => attempt.accept(),
            1 => attempt.reject(),
            _ => drop(attempt),
        };
        std::thread::spawn(move || attempts.into_iter().enumerate().for_each(answer)).join().unwrap();
        let now = Census::at_rest(1);
        if let Some(before) = before.replace(now) {
            Census::returns(&before, &format!("late answers, round {round}"), HEAP, DRIFT);
        }
    }
    assert!(server.shutdown(PATIENCE));
}

#[test]
fn r_04_a6_by_default_one_source_gets_eight_and_others_get_in() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let server = listen(|options| options);
    let addr = server.local_addr();
    let crowd: Vec<TcpStream> = (0..MANY).map(|_| connect(BAD, addr)).collect();
    wait_until("eight", || server.connections().len() == 8);
    // Too few for a random drop: others do not notice.
    good(addr).unwrap();
    // From everywhere at once: no more than a hundred.
    let sources = (0..MANY).flat_map(|i| [[127, 0, 1, (i / 8) as u8]; 5]);
    let more: Vec<TcpStream> = sources.map(|from| connect(from, addr)).collect();
    wait_until("a verdict on each", || {
        let mut open = crowd.iter().chain(&more).filter(|socket| !hung_up(socket));
        open.by_ref().take(101).count() <= 100
    });
    assert!(server.connections().len() > 50);
    drop((crowd, more));
    wait_until("rest", || server.connections().is_empty());
    good(addr).unwrap();
}

/// Whether the server has closed the connection.
fn hung_up(socket: &TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    let mut seen = [0; 4096];
    loop {
        match (&*socket).read(&mut seen) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) => return e.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}
