//! Two ends on a virtual clock, joined by a link with a delay and a bandwidth: how fast is a download over a line
//! that nobody here has? The same seed gives the same numbers, on every machine.
//!
//! ```text
//! cargo run --release -p konko-core --example simulate
//! ```

mod memory;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use konko_core::*;
use memory::{Host, Runner};

const BYTES: u64 = 64 << 20;

/// One direction of a line: bytes on their way, and when they arrive.
struct Line {
    delay: Duration,
    bytes_a_second: u64,
    free: Time,
    flying: VecDeque<(Time, Vec<u8>)>,
}

impl Line {
    fn new(delay: Duration, bytes_a_second: u64) -> Self {
        Line { delay, bytes_a_second, free: Time::ZERO, flying: VecDeque::new() }
    }

    /// Takes what an end wants to send; at most 64 KiB wait in the socket.
    fn take(&mut self, now: Time, tx: &mut TxBuf) -> bool {
        if tx.is_empty() || self.free.since(now) > Duration::from_millis(1) {
            return false;
        }
        let n = tx.len().min(64 * 1024);
        let busy = Duration::from_micros(n as u64 * 1_000_000 / self.bytes_a_second);
        self.free = self.free.max(now) + busy;
        self.flying.push_back((self.free + self.delay, tx.pending()[..n].to_vec()));
        tx.consume(n);
        true
    }

    fn deliver(&mut self, now: Time, rx: &mut RxBuf) {
        while self.flying.front().is_some_and(|(at, _)| *at <= now) {
            let (_, bytes) = self.flying.pop_front().unwrap();
            rx.push(&bytes);
        }
    }

    fn next(&self) -> Option<Time> {
        self.flying.front().map(|(at, _)| *at)
    }
}

/// How long a login and a download take.
fn download(round_trip: Duration, bytes_a_second: u64) -> Duration {
    let mut now = Time::ZERO;
    let mut client = ClientConnection::new(Arc::new(memory::client_config()), Seed::new([3; 32]), now);
    let mut server = ServerConnection::new(Arc::new(memory::server_config()), Seed::new([2; 32]), now);
    let (mut runner, mut host) = (Runner::new("send 67108864"), Host::default());
    let (mut client_rx, mut server_rx) = (RxBuf::new(), RxBuf::new());
    let [mut up, mut down] = [(); 2].map(|()| Line::new(round_trip / 2, bytes_a_second));
    while !runner.closed {
        up.deliver(now, &mut server_rx);
        down.deliver(now, &mut client_rx);
        loop {
            while let Step::Event(event) = client.poll(now, &mut client_rx).unwrap() {
                runner.on_event(&mut client, event);
            }
            while let Step::Event(event) = server.poll(now, &mut server_rx).unwrap() {
                host.on_event(&mut server, event);
            }
            if !(up.take(now, client.tx()) | down.take(now, server.tx())) {
                break;
            }
        }
        // Nothing more can happen now: on to the next thing that will.
        let waiting = [(&up, !client.tx().is_empty()), (&down, !server.tx().is_empty())];
        let lines =
            waiting.iter().flat_map(|(line, more)| [line.next(), more.then_some(line.free)]).flatten();
        let timers = [client.deadline(), server.deadline()].into_iter().flatten().map(|(at, _)| at);
        now = lines.chain(timers).min().unwrap().max(now + Duration::from_micros(1));
    }
    assert_eq!(runner.received, BYTES);
    now.since(Time::ZERO)
}

fn main() {
    println!("{} MiB down, login included:\n", BYTES >> 20);
    println!("{:>12} {:>12} {:>10} {:>8}", "bandwidth", "round trip", "time", "of line");
    for megabits in [100, 1000] {
        for milliseconds in [1, 20, 50, 200] {
            let bytes_a_second = megabits * 1_000_000 / 8;
            let took = download(Duration::from_millis(milliseconds), bytes_a_second);
            let used = 100.0 * BYTES as f64 / bytes_a_second as f64 / took.as_secs_f64();
            println!("{megabits:>7} Mbit {milliseconds:>9} ms {:>8.2} s {used:>6.0} %", took.as_secs_f64());
        }
    }
}
