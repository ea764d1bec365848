//! Flow control: long fat links, stubborn peers, and the ends of channels.

use std::time::Duration;

use konko_core::channel::{ChannelEvent, ChannelId, ChannelRequest, DataStream, OpenKind, WindowConfig};
use konko_core::error::Error;
use konko_core::msg::{self, Message};
use konko_core::transport::negotiate::Role;
use konko_core::wire::SshStr;
use konko_core::*;
use konko_test::apps::{Host, Shell, all_methods};
use konko_test::raw::Rig;
use konko_test::{App, Pair, host_key, transport_config};

/// Sends or receives without looking at the bytes.
#[derive(Default)]
struct Bulk {
    id: Option<ChannelId>,
    to_send: u64,
    sent: u64,
    got: u64,
}

impl Bulk {
    fn sending(to_send: u64) -> Self {
        Bulk { to_send, ..Bulk::default() }
    }
}

macro_rules! pump {
    ($self:ident, $conn:ident) => {
        if let Some(id) = $self.id {
            while $self.sent < $self.to_send {
                let want = ($self.to_send - $self.sent).min(32768) as usize;
                let Some(mut slot) = $conn.slot(id, DataStream::Data, want).unwrap() else { break };
                let n = slot.bytes().len();
                slot.commit(n);
                $self.sent += n as u64;
            }
        }
    };
}

impl App<client::ClientSide> for Bulk {
    fn on_event(&mut self, conn: &mut ClientConnection, event: ClientEvent<'_>) {
        match event {
            ClientEvent::Auth(ClientAuth::HostKey(ticket)) => {
                conn.decide_host_key(ticket, Decision::Accept).unwrap()
            }
            ClientEvent::Auth(ClientAuth::Needed { .. }) => {
                let password = client::Password::new("x");
                conn.authenticate("x", client::AuthRequest::Password(&password)).unwrap();
            }
            ClientEvent::Authenticated { .. } => drop(conn.open(OpenKind::Session).unwrap()),
            ClientEvent::Opened(id) => self.id = Some(id),
            ClientEvent::Channel(id, ChannelEvent::Data { data, .. }) => {
                self.got += data.len() as u64;
                conn.consume(id, data.len()).unwrap();
            }
            _ => {}
        }
    }

    fn idle(&mut self, conn: &mut ClientConnection) {
        pump!(self, conn);
    }
}

impl App<server::ServerSide> for Bulk {
    fn on_event(&mut self, conn: &mut ServerConnection, event: ServerEvent<'_>) {
        match event {
            ServerEvent::Auth(ServerAuth::Attempt { ticket, .. }) => {
                conn.decide_auth(ticket, server::AuthDecision::Accept).unwrap()
            }
            ServerEvent::Open { ticket, .. } => self.id = Some(conn.accept_channel(ticket).unwrap()),
            ServerEvent::Channel(id, ChannelEvent::Data { data, .. }) => {
                self.got += data.len() as u64;
                conn.consume(id, data.len()).unwrap();
            }
            _ => {}
        }
    }

    fn idle(&mut self, conn: &mut ServerConnection) {
        pump!(self, conn);
    }
}

const GIGABIT: u64 = 125_000_000;

/// Share of a gigabit link that a transfer fills once its windows have grown.
fn share(rtt: Duration, up: bool, total: u64) -> f64 {
    let client = ClientConfig::new(transport_config());
    let server = ServerConfig::new(transport_config(), vec![host_key()]);
    let (c, s) = if up { (total, 0) } else { (0, total) };
    let mut pair = Pair::new(client, server, (Bulk::sending(c), Bulk::sending(s)));
    pair.link.latency = rtt / 2;
    pair.link.bandwidth = GIGABIT;
    pair.link.chunk = 64 * 1024;
    let got = |p: &Pair<Bulk, Bulk>| if up { p.server.app.got } else { p.client.app.got };
    let half = total / 2;
    pair.drive_until("half of it", |p| got(p) >= half);
    let (from, had) = (pair.now, got(&pair));
    pair.drive_until("all of it", |p| got(p) == total);
    let seconds = pair.now.since(from).as_secs_f64();
    (total - had) as f64 / seconds / GIGABIT as f64
}

#[test]
fn u12_windows_grow_until_a_long_fat_link_is_full() {
    for up in [false, true] {
        for (ms, total) in [(50, 80 << 20), (200, 240 << 20)] {
            let share = share(Duration::from_millis(ms), up, total);
            assert!(share >= 0.8, "{:.0} % of the link at {ms} ms, up: {up}", share * 100.0);
        }
    }
}

/// OpenSSH's server: it answers no ping, and takes in of its program's output what the window allows at once.
#[test]
fn b4_a_peer_without_pings_fills_the_link_and_is_never_let_far_ahead() {
    for ms in [10, 20, 50, 100] {
        let client = ClientConfig::new(transport_config());
        let server = ServerConfig::new(transport_config(), vec![host_key()]);
        let total = 96 << 20;
        let mut pair = Pair::new(client, server, (Bulk::default(), Bulk::sending(total)));
        (pair.link.latency, pair.link.bandwidth) = (Duration::from_millis(ms / 2), GIGABIT);
        pair.link.chunk = 32 * 1024;
        let holds = GIGABIT * ms / 1000;
        let (mut most, mut from) = (0, None);
        pair.drive_until("all of it", |p| {
            most = most.max(p.server.app.sent - p.client.app.got);
            if p.client.app.got >= total / 2 {
                from.get_or_insert((p.now, p.client.app.got));
            }
            p.client.app.got == total
        });
        let (from, had) = from.unwrap();
        let share = (total - had) as f64 / pair.now.since(from).as_secs_f64() / GIGABIT as f64;
        assert!(share >= 0.9, "{:.0} % of the link at {ms} ms", share * 100.0);
        assert!(most <= (2 * holds + (2 << 20)), "{most} ahead at {ms} ms, where the link holds {holds}");
    }
}

#[test]
fn b4_a_window_that_does_not_grow_is_used_almost_whole() {
    for up in [false, true] {
        let fixed = WindowConfig::new().initial(2 << 20).max(2 << 20).packet(32 << 10);
        let mut client = ClientConfig::new(transport_config());
        let mut server = ServerConfig::new(transport_config(), vec![host_key()]);
        (client.window, server.window) = (fixed, fixed);
        let total = 40 << 20;
        let (c, s) = if up { (total, 0) } else { (0, total) };
        let mut pair = Pair::new(client, server, (Bulk::sending(c), Bulk::sending(s)));
        // The link would hold more than the window: it is never full.
        (pair.link.latency, pair.link.bandwidth) = (Duration::from_millis(50), 40_000_000);
        pair.link.chunk = 32 * 1024;
        let got = |p: &Pair<Bulk, Bulk>| if up { p.server.app.got } else { p.client.app.got };
        pair.drive_until("half of it", |p| got(p) >= total / 2);
        let (from, had) = (pair.now, got(&pair));
        pair.drive_until("all of it", |p| got(p) == total);
        let rate = (total - had) as f64 / pair.now.since(from).as_secs_f64();
        let share = rate * 0.1 / f64::from(2 << 20);
        assert!(share >= 0.85, "{:.0} % of window / RTT, up: {up}", share * 100.0);
    }
}

#[test]
fn windows_stay_small_on_a_short_link() {
    let client = ClientConfig::new(transport_config());
    let server = ServerConfig::new(transport_config(), vec![host_key()]);
    let total = 40 << 20;
    let mut pair = Pair::new(client, server, (Bulk::default(), Bulk::sending(total)));
    pair.link.latency = Duration::from_micros(200);
    pair.link.bandwidth = GIGABIT;
    pair.link.chunk = 16 * 1024;
    // How far ahead of the reader the writer ever is.
    let mut most = 0;
    pair.drive_until("all of it", |p| {
        most = most.max(p.server.app.sent - p.client.app.got);
        p.client.app.got == total
    });
    assert!(most <= 8 << 20, "{most}");
}

// ---- stubborn peers ----

fn machine(role: Role) -> Rig {
    let mut rig = Rig::new(role);
    rig.login();
    rig
}

fn write(rig: &mut Rig, id: ChannelId, data: &[u8]) -> usize {
    let n = rig.conn().write(id, DataStream::Data, data).unwrap();
    rig.run();
    n
}

#[test]
fn u12_a_window_that_starts_at_zero_or_grows_by_single_bytes_is_used_to_the_byte() {
    for role in [Role::Client, Role::Server] {
        let mut rig = machine(role);
        let (id, number) = rig.opened(3, 0, 1 << 15);
        assert_eq!(write(&mut rig, id, b"hello"), 0);
        for n in 0..50 {
            rig.put(&msg::ChannelWindowAdjust::new(number, 1));
            assert_eq!(rig.events_with("Writable"), n + 1);
            assert_eq!(write(&mut rig, id, b"hello"), 1);
            assert_eq!(rig.expect(94).len(), 10);
        }
        // Less than a packet: what there is, is used.
        rig.put(&msg::ChannelWindowAdjust::new(number, 16_384));
        assert_eq!(write(&mut rig, id, &[0; 1 << 20]), 16_384);
    }
}

#[test]
fn u12_writable_comes_once_for_each_time_a_writer_was_told_to_wait() {
    let mut rig = machine(Role::Client);
    let (id, number) = rig.opened(3, 100, 1 << 15);
    rig.put(&msg::ChannelWindowAdjust::new(number, 100));
    assert_eq!(rig.events_with("Writable"), 0, "nobody waits");
    assert_eq!(write(&mut rig, id, &[0; 500]), 200);
    assert_eq!(write(&mut rig, id, &[0; 500]), 0);
    rig.put(&msg::ChannelWindowAdjust::new(number, 100));
    rig.put(&msg::ChannelWindowAdjust::new(number, 100));
    assert_eq!(rig.events_with("Writable"), 1);
}

#[test]
fn u12_a_peer_that_counts_only_part_of_our_window_still_gets_credit_in_time() {
    // Dropbear takes a window for smaller than it is; it stops after 500 MB of 2 GB. Whatever part it
    // counts above 1 MiB, credit arrives before it is used up.
    for role in [Role::Client, Role::Server] {
        let mut rig = machine(role);
        let (_, number) = rig.opened(3, 1 << 20, 1 << 15);
        let mut counted: u64 = (1 << 20) + (1 << 15);
        for _ in 0..1000 {
            let n = counted.min(1 << 15);
            assert!(n > 0, "starved");
            rig.put(&msg::ChannelData::new(number, &vec![0; n as usize]));
            counted -= n;
            for m in rig.messages() {
                counted += u64::from(msg::ChannelWindowAdjust::parse(&m).unwrap().bytes);
            }
        }
    }
}

#[test]
fn u12_a_stalled_reader_stops_only_its_own_channel() {
    // C-17: channel A is full and unread; B echoes 20 MiB.
    let mut server = ServerConfig::new(transport_config(), vec![host_key()]);
    server.methods = all_methods();
    let mut pair = Pair::new(
        ClientConfig::new(transport_config()),
        server,
        (Two { total: 20 << 20, ..Two::default() }, Host::default()),
    );
    pair.drive_until("B has its echo", |p| p.client.app.echoed == 20 << 20);
    assert_eq!(pair.client.app.unread, 2 << 20, "A came as far as its window");
    assert_eq!(pair.client.result, None);
}

/// Two channels: A is a source that is never consumed, B an echo.
#[derive(Default)]
struct Two {
    a: Option<ChannelId>,
    b: Option<ChannelId>,
    ready: bool,
    unread: usize,
    total: usize,
    sent: usize,
    echoed: usize,
}

impl App<client::ClientSide> for Two {
    fn on_event(&mut self, conn: &mut ClientConnection, event: ClientEvent<'_>) {
        match event {
            ClientEvent::Auth(ClientAuth::HostKey(ticket)) => {
                conn.decide_host_key(ticket, Decision::Accept).unwrap()
            }
            ClientEvent::Auth(ClientAuth::Needed { .. }) => {
                let password = client::Password::new("wonderland");
                conn.authenticate("alice", client::AuthRequest::Password(&password)).unwrap();
            }
            ClientEvent::Authenticated { .. } => {
                self.a = Some(conn.open(OpenKind::Session).unwrap());
                self.b = Some(conn.open(OpenKind::Session).unwrap());
            }
            ClientEvent::Opened(id) => {
                let command = if Some(id) == self.a { "source 10000000" } else { "echo" };
                conn.request(id, ChannelRequest::Exec(SshStr::new(command.as_bytes())), WantReply::Yes)
                    .unwrap();
            }
            ClientEvent::Channel(id, ChannelEvent::RequestDone { .. }) => self.ready |= Some(id) == self.b,
            ClientEvent::Channel(id, ChannelEvent::Data { data, .. }) => {
                if Some(id) == self.a {
                    self.unread += data.len();
                } else {
                    self.echoed += data.len();
                    conn.consume(id, data.len()).unwrap();
                }
            }
            _ => {}
        }
    }

    fn idle(&mut self, conn: &mut ClientConnection) {
        if self.ready && self.sent < self.total {
            let chunk = vec![7; (self.total - self.sent).min(1 << 18)];
            self.sent += conn.write(self.b.unwrap(), DataStream::Data, &chunk).unwrap();
        }
    }
}

#[test]
fn u12_a_peer_that_never_reads_costs_the_window_and_no_more() {
    let mut rig = machine(Role::Server);
    let (id, _) = rig.opened(3, u32::MAX, 1 << 15);
    let mut taken = 0;
    loop {
        let n = rig.conn_server().write(id, DataStream::Data, &[0; 1 << 16]).unwrap();
        taken += n;
        if n == 0 {
            break;
        }
    }
    let pending = rig.tx().len();
    assert!(taken <= (256 << 10) + (32 << 10) && pending < taken + 4096, "{taken} {pending}");
}

#[test]
fn a_window_of_one_packet_of_one_byte_works() {
    let mut client = ClientConfig::new(transport_config());
    client.window = WindowConfig::new().initial(1).max(1).packet(1);
    let mut server = ServerConfig::new(transport_config(), vec![host_key()]);
    server.methods = all_methods();
    server.window = client.window;
    let shell = Shell::new("echo").with_input(b"slow but sure".to_vec());
    let mut pair = Pair::new(client, server, (shell, Host::default()));
    pair.drive_until("the echo", |p| p.client.app.seen.closed);
    assert_eq!(pair.client.app.seen.out, b"slow but sure");
}

// ---- the ends of a channel ----

#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Data,
    Ext,
    Eof,
    Status,
    Signal,
    Close,
    Fin,
}

const ACTS: [Act; 7] = [Act::Data, Act::Ext, Act::Eof, Act::Status, Act::Signal, Act::Close, Act::Fin];

/// What a reader must have seen after these acts; `None`: the connection died of a fault.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    data: usize,
    eof: bool,
    exit: Option<&'static str>,
    closed: bool,
    fault: bool,
    fin: bool,
}

fn expected(acts: &[Act]) -> Outcome {
    let mut o = Outcome::default();
    for act in acts {
        if o.fault || o.fin {
            break;
        }
        if o.closed && *act != Act::Fin {
            o.fault = true;
            continue;
        }
        match act {
            Act::Data | Act::Ext if o.eof => o.fault = true,
            Act::Data | Act::Ext => o.data += 1,
            Act::Eof => o.eof = true,
            Act::Status => o.exit = o.exit.or(Some("Status(7)")),
            Act::Signal => o.exit = o.exit.or(Some("KILL")),
            Act::Close => o.closed = true,
            Act::Fin => o.fin = true,
        }
    }
    o
}

fn perform(rig: &mut Rig, number: u32, act: Act) {
    let request = |kind: &'static [u8], fields: &'static [u8]| {
        konko_test::raw::payload(&msg::ChannelRequest::new(number, SshStr::new(kind), false, fields))
    };
    match act {
        Act::Data => rig.peer.put(&msg::ChannelData::new(number, b"x")),
        Act::Ext => rig.peer.put(&msg::ChannelExtendedData::new(number, 1, b"x")),
        Act::Eof => rig.peer.put(&msg::ChannelEof::new(number)),
        Act::Close => rig.peer.put(&msg::ChannelClose::new(number)),
        Act::Status => {
            let m = request(b"exit-status", &[0, 0, 0, 7]);
            rig.peer.send(&m);
        }
        Act::Signal => {
            let m = request(b"exit-signal", b"\0\0\0\x04KILL\0\0\0\0\0\0\0\0\0");
            rig.peer.send(&m);
        }
        Act::Fin => {}
    }
}

fn check(rig: &mut Rig, base: usize, acts: &[Act]) {
    let want = expected(acts);
    let seen = &rig.events[base..];
    let count = |w: &str| seen.iter().filter(|e| e.contains(w)).count();
    let exits: Vec<&String> = seen.iter().filter(|e| e.contains("Exit(")).collect();
    let got = Outcome {
        data: count("Data {"),
        eof: count("Eof") > 0,
        exit: want.exit.filter(|w| exits.len() == 1 && exits[0].contains(w)),
        closed: count("Closed") > 0,
        fault: matches!(rig.error, Some(Error::Peer(_))),
        fin: matches!(rig.error, Some(Error::Disconnected(_))),
    };
    assert_eq!(got, want, "{acts:?} {seen:?}");
    assert!(exits.len() <= 1 && count("Eof") <= 1 && count("Closed") <= 1);
    // CLOSE is answered with CLOSE, once, and nothing of the channel follows it.
    let sent = rig.numbers();
    let close = sent.iter().position(|n| *n == 97);
    assert_eq!(close.is_some(), want.closed, "{acts:?}");
    assert!(close.is_none_or(|at| sent[at + 1..].iter().all(|n| *n == 1)));
}

#[test]
fn u11_every_order_of_data_eof_exit_close_and_the_end_of_the_connection() {
    // All sequences up to length 6 would be 137,256; every prefix that ends a connection ends its
    // branch, and connections that live on are used again for the next sequence.
    let mut rig = machine(Role::Client);
    let mut sequences = 0;
    let mut pending: Vec<Vec<Act>> = vec![vec![]];
    while let Some(acts) = pending.pop() {
        for act in ACTS {
            let mut next = acts.clone();
            next.push(act);
            let (_, number) = rig.opened(3, 1000, 1000);
            rig.numbers();
            let base = rig.events.len();
            next.iter().for_each(|a| perform(&mut rig, number, *a));
            if act == Act::Fin {
                rig.rx.eof();
            }
            rig.run();
            check(&mut rig, base, &next);
            sequences += 1;
            let over = rig.error.is_some();
            if over || rig.events.len() > 5000 {
                rig = machine(Role::Client);
            } else if !next.contains(&Act::Close) {
                // So that the number of open channels stays small.
                rig.put(&msg::ChannelClose::new(number));
                rig.numbers();
            }
            let useful = next.len() < 6 && !over && next.iter().filter(|a| **a == act).count() <= 2;
            if useful {
                pending.push(next);
            }
        }
    }
    assert!(sequences > 5000, "{sequences}");
}
