//! Connect, run, close, thousands of times: nothing piles up, and it is quick. A process of its own, so
//! that what is counted is ours. `KONKO_FULL=1` does it 10,000 times; figures are worth something in
//! a release build on a quiet machine:
//! `KONKO_FULL=1 cargo test --release -p konko --features aws-lc --test server_cycles -- --nocapture`
#![cfg(feature = "server")]

mod census;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use census::Census;
use konko::core::admission::AdmissionLimits;
use konko::server::users::{User, Users};
use konko::server::{Programs, Server, ServerOptions, Service};
use konko::{Auth, Client, ClientOptions, Exit, HostKeys};

/// What of the heap may be left: a buffer or two of a thread that is just ending. Ten bytes of each
/// connection would be more.
const HEAP: isize = 64 << 10;
/// What the allocator may keep: on a busy machine dozens of connections are still ending while others
/// begin. Three KiB of each of 10,000 would be more.
const POOL: usize = 24 << 20;

/// The threads of a server that nobody is connected to.
const LISTENER: usize = 1;

fn server() -> Server {
    let mut users = Users::new();
    users.add("alice", User::new().password("wonderland")).unwrap();
    let programs = Programs::new()
        .command("true", |_| 0u32)
        .command("cat", |call| std::io::copy(&mut call.channel(), &mut call.channel()).map_or(1u32, |_| 0));
    let service = Service::new(Arc::new(users), Arc::new(programs));
    let options = ServerOptions::with_new_key().unwrap().methods(service.users().methods());
    let options = options.admission(AdmissionLimits::unlimited(1000));
    Server::listen("127.0.0.1:0", options, move |_| service.clone()).unwrap()
}

fn alice(addr: SocketAddr) -> Client {
    let client = Client::connect(addr, ClientOptions::new().host_keys(HostKeys::insecure_accept_any()));
    let client = client.unwrap();
    client.login("alice", Auth::new().password("wonderland")).unwrap();
    client
}

fn cycle(addr: SocketAddr) {
    assert_eq!(alice(addr).exec("true").unwrap().exit, Exit::Status(0));
}

/// `count` cycles, `at_a_time` of them at a time; how long that took.
fn cycles(addr: SocketAddr, count: usize, at_a_time: usize) -> Duration {
    let start = Instant::now();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..at_a_time {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < count {
                    cycle(addr);
                }
            });
        }
    });
    start.elapsed()
}

/// The median and the 99th percentile of `count` runs, in microseconds.
fn times(count: usize, mut run: impl FnMut()) -> (f64, f64) {
    let mut times: Vec<f64> = (0..count)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[count / 2], times[count * 99 / 100])
}

#[test]
fn r_15_thousands_of_connections_leave_nothing_behind() {
    let full = std::env::var_os("KONKO_FULL").is_some();
    let count = if full { 10_000 } else { 1_000 };
    let server = server();
    let addr = server.local_addr();
    // The allocator's own pools, and what the system sets up once.
    cycles(addr, 100, 8);
    let before = Census::at_rest(LISTENER);
    for (at_a_time, name) in [(1, "one at a time"), (8, "8 at a time")] {
        let took = cycles(addr, count / 2, at_a_time);
        let rate = (count / 2) as f64 / took.as_secs_f64();
        eprintln!("{} cycles {name}: {rate:.0}/s", count / 2);
    }
    before.returns("cycles", HEAP, POOL);

    let client = alice(addr);
    let (median, late) = times(count, || assert!(client.exec("true").unwrap().exit.success()));
    eprintln!("exec: {median:.0} us median, {late:.0} us p99");
    let mut channel = client.session().unwrap();
    channel.exec("cat").unwrap();
    let (median, late) = times(count, || {
        channel.write_all(&[7; 64]).unwrap();
        channel.read_exact(&mut [0; 64]).unwrap();
    });
    eprintln!("echo of 64 bytes: {median:.0} us median, {late:.0} us p99");
    drop((channel, client));
    before.returns("cycles, then thousands of commands on one connection", HEAP, POOL);
    assert!(server.shutdown(Duration::from_secs(5)));
}
