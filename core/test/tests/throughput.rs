//! How much goes over lines that nobody here has: bandwidth × delay × a receiver that does not always read × window, on
//! a virtual clock, without cryptography. `core/test/throughput.txt` says what it was; `UPDATE=1` writes it anew.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use konko_core::channel::WindowConfig;
use konko_core::client::ClientSide;
use konko_core::server::ServerSide;
use konko_core::sftp::transfer::{DownloadOptions, TransferConfig, UploadOptions};
use konko_core::{ClientConfig, ServerConfig, Time, TransportConfig};
use konko_test::apps::{Host, Shell};
use konko_test::sftp::{self, Mover, Store};
use konko_test::{App, Link, Pair, Stalls, null, null_key};

/// What a number may differ by from the one before, in percent: it depends on nothing but the code.
const TOLERANCE: f64 = 3.0;

/// The window of a peer that never thought of long lines.
const SMALL: u32 = 64 << 10;

/// A line and what the ends do with it.
struct Case {
    megabits: u64,
    round_trip: u64,
    stalls: bool,
    window: Option<u32>,
}

impl Case {
    fn link(&self) -> Link {
        let mut link = Link::default();
        link.latency = Duration::from_millis(self.round_trip) / 2;
        link.bandwidth = self.megabits * 125_000;
        link.chunk = 16 << 10;
        // What Linux gives a socket that is asked for nothing: as much as the line holds, and more.
        link.buffer = (256 << 10).max((link.bandwidth * self.round_trip / 1000) as usize);
        link.stalls = self
            .stalls
            .then_some(Stalls { every: Duration::from_millis(100), lasting: Duration::from_millis(20) });
        link
    }

    /// Two seconds of it, as long as that is not too much for a test.
    fn bytes(&self) -> usize {
        let most = if self.window == Some(SMALL) { 4 << 20 } else { 24 << 20 };
        (self.megabits as usize * 250_000).min(most)
    }

    fn configure(&self, client: &mut ClientConfig, server: &mut ServerConfig) {
        client.transport = Arc::new(TransportConfig::new(null()));
        *server = ServerConfig::with_transport(TransportConfig::new(null()), vec![null_key()]);
        if let Some(bytes) = self.window {
            let window = WindowConfig::new().initial(bytes).max(bytes).packet(32 << 10);
            (client.window, server.window) = (window, window);
        }
    }

    /// Channel data; megabits a second, login not counted.
    fn data(&self, up: bool) -> f64 {
        let bytes = self.bytes();
        let shell = match up {
            true => Shell::new("count").with_input(vec![7; bytes]),
            false => Shell::new(&format!("source {bytes}")),
        };
        let mut client = ClientConfig::new(TransportConfig::new(null()));
        let mut server = ServerConfig::with_transport(TransportConfig::new(null()), vec![null_key()]);
        self.configure(&mut client, &mut server);
        let mut pair = Pair::new(client, server, (shell, Host::default()));
        pair.link = self.link();
        let start = until(&mut pair, |p| p.client.app.seen.opened);
        let end = until(&mut pair, |p| p.client.app.seen.closed);
        let out = &pair.client.app.seen.out;
        let right = if up { *out == bytes.to_string().into_bytes() } else { out.len() == bytes };
        assert!(right, "{} bytes came", out.len());
        rate(bytes, end.since(start))
    }

    /// One file; megabits a second, the session's beginning not counted.
    fn file(&self, up: bool) -> f64 {
        let bytes = self.bytes();
        let mut pair: Pair<Mover, Store> =
            sftp::pair(TransferConfig::default(), |client, server| self.configure(client, server));
        pair.link = self.link();
        until(&mut pair, |p| p.client.app.client.is_ready());
        let start = pair.now;
        let app = &mut pair.client.app;
        app.now = start;
        if up {
            let job = app.transfers.upload(b"f", UploadOptions::default());
            app.sources.insert(job, vec![7; bytes]);
        } else {
            app.expected = vec![7; bytes];
            pair.server.app.fs.insert(b"f", vec![7; bytes]).unwrap();
            app.transfers.download(b"f", DownloadOptions::default());
        }
        sftp::run(&mut pair, "the file");
        let app = &pair.client.app;
        assert!(app.ended.values().all(|end| end.as_ref().is_ok_and(|done| done.bytes == bytes as u64)));
        assert!(app.got.values().all(|got| *got == (bytes as u64, true)));
        rate(bytes, app.last.since(start))
    }

    fn row(&self) -> String {
        let window = self.window.map_or("own".into(), |w| format!("{} KiB", w >> 10));
        let stalls = if self.stalls { "20/100 ms" } else { "-" };
        format!("{:>4} Mbit {:>4} ms  {stalls:<9}  {window:<8}", self.megabits, self.round_trip)
    }
}

/// Lets time pass until something has happened, and says when it did.
fn until<C, S>(pair: &mut Pair<C, S>, happened: impl Fn(&Pair<C, S>) -> bool) -> Time
where
    C: App<ClientSide>,
    S: App<ServerSide>,
{
    loop {
        let now = pair.now;
        let goes_on = pair.step();
        if happened(pair) {
            return now;
        }
        assert!(goes_on, "nothing moves any more");
    }
}

fn rate(bytes: usize, took: Duration) -> f64 {
    bytes as f64 / 125_000.0 / took.as_secs_f64()
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for megabits in [10, 100, 1000] {
        for round_trip in [1, 50, 200] {
            for stalls in [false, true] {
                for window in [None, Some(2 << 20), Some(SMALL)] {
                    cases.push(Case { megabits, round_trip, stalls, window });
                }
            }
        }
    }
    cases
}

#[test]
fn lines_carry_what_they_carried() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("throughput.txt");
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let mut table = String::from(
        "# Mbit/s of two seconds, at most 24 MiB (4 through the small window), slow start included; login not.\n",
    );
    table += "# Sockets hold 256 KiB, or what the line does; a window of one's own grows from 2 to 32 MiB.\n";
    table += "# line      RTT    not read   window       down      up     get     put\n";
    let mut worse = String::new();
    for case in cases() {
        let row = case.row();
        let now = [case.data(false), case.data(true), case.file(false), case.file(true)];
        let [down, up, get, put] = now;
        writeln!(table, "{row} {down:>8.1}{up:>8.1}{get:>8.1}{put:>8.1}").unwrap();
        let line = before.lines().find_map(|line| line.strip_prefix(&row)).unwrap_or_default();
        let old: Vec<f64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
        let differs = |(old, now): (&f64, &f64)| (now - old).abs() > old * TOLERANCE / 100.0 + 0.1;
        if old.len() != now.len() || old.iter().zip(&now).any(differs) {
            writeln!(worse, "{row} was {old:?}, is {now:.1?}").unwrap();
        }
    }
    print!("{table}");
    if std::env::var_os("UPDATE").is_some() {
        return std::fs::write(path, table).unwrap();
    }
    assert!(worse.is_empty(), "not what core/test/throughput.txt says (UPDATE=1 writes it anew):\n{worse}");
}
