//! Two ends on a virtual clock, joined by a line with a delay and a bandwidth: how fast is a download over a line
//! that nobody here has? The same seed gives the same numbers, on every machine.
//!
//! ```text
//! cargo run --release -p konko-core --example simulate
//! ```

mod memory;

use std::time::Duration;

use konko_core::client::ClientSide;
use konko_core::server::ServerSide;
use konko_core::*;
use konko_test::{App, Pair};
use memory::{Host, Runner};

const BYTES: u64 = 64 << 20;

impl App<ClientSide> for Runner {
    fn on_event(&mut self, conn: &mut ClientConnection, event: ClientEvent<'_>) {
        Runner::on_event(self, conn, event);
    }
}

impl App<ServerSide> for Host {
    fn on_event(&mut self, conn: &mut ServerConnection, event: ServerEvent<'_>) {
        Host::on_event(self, conn, event);
    }
}

/// How long a login and a download take.
fn download(round_trip: Duration, bytes_a_second: u64) -> Duration {
    let ends = (Runner::new("send 67108864"), Host::default());
    let mut pair = Pair::new(memory::client_config(), memory::server_config(), ends);
    pair.link.latency = round_trip / 2;
    pair.link.bandwidth = bytes_a_second;
    pair.link.chunk = 64 * 1024;
    // At most so much waits in the socket.
    pair.link.buffer = 256 * 1024;
    let start = pair.now;
    pair.drive_until("the end", |pair| pair.client.app.closed);
    assert_eq!(pair.client.app.received, BYTES);
    pair.now.since(start)
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
