//! The same configuration, seed, input and calls give the same output and events, however the
//! input is cut and in whatever order independent calls are made.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use konko_core::channel::{ChannelEvent, ChannelId, ChannelRequest, DataStream, OpenKind, WindowConfig};
use konko_core::client::{AuthRequest, Password};
use konko_core::crypto::{Cipher, Compression, Mac};
use konko_core::server::AuthDecision;
use konko_core::*;

use konko_test::apps::{Host, Proof, Shell, all_methods};
use konko_test::{App, Pair, host_key, transport_config};

/// How input is cut into pieces.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Whole,
    Pieces(usize),
    Random(u64),
}

impl Cut {
    fn next(&mut self, left: usize) -> usize {
        match self {
            Cut::Whole => left,
            Cut::Pieces(n) => left.min(*n),
            Cut::Random(state) => {
                *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                left.min(1 + (*state >> 33) as usize % 60)
            }
        }
    }
}

const CUTS: [Cut; 6] =
    [Cut::Whole, Cut::Pieces(1), Cut::Pieces(7), Cut::Random(1), Cut::Random(2), Cut::Random(99)];

/// What one end shows: its events and its output.
type Trace = (Vec<String>, Vec<u8>, Vec<u8>);

/// A server that logs in whoever comes and sends back what comes, acting on events only.
struct Echo {
    held: VecDeque<u8>,
    channel: Option<ChannelId>,
}

fn serve(conn: &mut ServerConnection, app: &mut Echo, event: ServerEvent<'_>) {
    match event {
        ServerEvent::Auth(ServerAuth::Attempt { ticket, .. }) => {
            conn.decide_auth(ticket, AuthDecision::Accept).unwrap()
        }
        ServerEvent::Open { ticket, .. } => {
            app.channel = Some(conn.accept_channel(ticket).unwrap());
        }
        ServerEvent::Channel(_, ChannelEvent::Request { ticket: Some(ticket), .. }) => {
            conn.reply(ticket, Decision::Accept).unwrap();
        }
        ServerEvent::Channel(id, ChannelEvent::Data { data, .. }) => {
            app.held.extend(data);
            conn.consume(id, data.len()).unwrap();
        }
        ServerEvent::Channel(id, ChannelEvent::Eof) => {
            conn.request(id, ChannelRequest::ExitStatus(3), WantReply::No).unwrap();
            conn.close_channel(id).unwrap();
        }
        _ => {}
    }
    if let Some(id) = app.channel {
        while !app.held.is_empty() {
            let n = conn.write(id, DataStream::Data, app.held.as_slices().0).unwrap_or(0);
            app.held.drain(..n);
            if n == 0 {
                break;
            }
        }
    }
}

/// Feeds `input` (with the times at which it came) in pieces; tx is drained before each poll.
fn feed(config: &Arc<ServerConfig>, input: &[(Time, Vec<u8>)], mut cut: Cut) -> Trace {
    let start = Time::from_micros(1_000_000);
    let mut conn = ServerConnection::recorded(Arc::clone(config), Seed::new([101; 32]), start);
    let mut app = Echo { held: VecDeque::new(), channel: None };
    let (mut rx, mut events, mut sent, mut data) = (RxBuf::new(), Vec::new(), Vec::new(), Vec::new());
    'over: for (now, bytes) in input {
        let mut rest = &bytes[..];
        loop {
            let n = cut.next(rest.len());
            rx.push(&rest[..n]);
            rest = &rest[n..];
            loop {
                sent.extend_from_slice(conn.tx().pending());
                let len = conn.tx().len();
                conn.tx().consume(len);
                match conn.poll(*now, &mut rx) {
                    Ok(Step::Event(event)) => {
                        match &event {
                            ServerEvent::Channel(_, ChannelEvent::Data { data: d, .. }) => {
                                events.push(format!("Data {}", d.len()));
                                data.extend_from_slice(d);
                            }
                            other => events.push(format!("{other:?}")),
                        }
                        serve(&mut conn, &mut app, event);
                    }
                    Ok(Step::Blocked(_)) => break,
                    Err(error) => {
                        events.push(format!("{error:?}"));
                        sent.extend_from_slice(conn.tx().pending());
                        break 'over;
                    }
                }
            }
            if rest.is_empty() {
                break;
            }
        }
        sent.extend_from_slice(conn.tx().pending());
        let len = conn.tx().len();
        conn.tx().consume(len);
        events.push(format!("{:?}", conn.deadline()));
    }
    let transcript = conn.take_transcript().unwrap();
    replay::replay(&transcript, replay::Setup::Server(Arc::clone(config))).unwrap();
    (events, sent, data)
}

/// Bytes that the client sends on its channel.
const TOTAL: usize = 24_000;

/// What a client sends to an [`Echo`] server, with the times at which it arrives.
fn record_client(client: &ClientConfig, server: &Arc<ServerConfig>) -> Vec<(Time, Vec<u8>)> {
    let mut now = Time::from_micros(1_000_000);
    let mut c = ClientConnection::new(Arc::new(client.clone()), Seed::new([1; 32]), now);
    let mut s = ServerConnection::new(Arc::clone(server), Seed::new([101; 32]), now);
    let mut echo = Echo { held: VecDeque::new(), channel: None };
    let (mut to_c, mut to_s, mut sent) = (RxBuf::new(), RxBuf::new(), Vec::new());
    let (mut id, mut out, mut open) = (None, 0usize, false);
    loop {
        let bytes = c.tx().pending().to_vec();
        c.tx().consume(bytes.len());
        let quiet = bytes.is_empty() && s.tx().is_empty();
        to_s.push(&bytes);
        sent.push((now, bytes));
        while let Ok(Step::Event(event)) = s.poll(now, &mut to_s) {
            serve(&mut s, &mut echo, event);
        }
        to_c.push(s.tx().pending());
        let n = s.tx().len();
        s.tx().consume(n);
        now = now + Duration::from_millis(3);
        while let Ok(Step::Event(event)) = c.poll(now, &mut to_c) {
            match event {
                ClientEvent::Auth(ClientAuth::HostKey(t)) => c.decide_host_key(t, Decision::Accept).unwrap(),
                ClientEvent::Auth(ClientAuth::Needed { .. }) => {
                    c.authenticate("u", AuthRequest::Password(&Password::new("p"))).unwrap();
                }
                ClientEvent::Authenticated { .. } => id = Some(c.open(OpenKind::Session).unwrap()),
                ClientEvent::Opened(id) => {
                    open = true;
                    c.request(id, ChannelRequest::Shell, WantReply::Yes).unwrap();
                }
                ClientEvent::Channel(id, ChannelEvent::Data { data, .. }) => {
                    c.consume(id, data.len()).unwrap();
                }
                _ => {}
            }
        }
        if let (Some(id), true) = (id, open) {
            if out < TOTAL {
                let before = out;
                let piece = [out as u8; 3000];
                out += c.write(id, DataStream::Data, &piece[..piece.len().min(TOTAL - out)]).unwrap();
                if before < TOTAL / 2 && out >= TOTAL / 2 {
                    c.rekey().unwrap();
                }
            } else if out == TOTAL {
                c.send_eof(id).unwrap();
                out += 1;
            } else if quiet {
                c.disconnect(msg::DisconnectCode::BY_APPLICATION, "done");
                sent.push((now, c.tx().pending().to_vec()));
                return sent;
            }
        }
    }
}

fn chunking_holds(change: impl Fn(&mut TransportConfig)) {
    let mut transport = transport_config();
    change(&mut transport);
    let mut server = ServerConfig::with_transport(transport.clone(), vec![host_key()]);
    server.window = WindowConfig::new().initial(20_000).max(20_000).packet(2_000);
    let server = Arc::new(server);
    let input = record_client(&ClientConfig::new(transport), &server);
    let whole = feed(&server, &input, Cut::Whole);
    assert_eq!(whole.2.len(), TOTAL, "{:#?}", whole.0);
    assert!(whole.0.iter().any(|e| e.contains("Rekeyed")));
    assert!(whole.0.last().unwrap().starts_with("Disconnected"), "{:?}", whole.0);
    for cut in CUTS {
        let cut_up = feed(&server, &input, cut);
        assert_eq!(cut_up.0, whole.0, "{cut:?}");
        assert!(cut_up.1 == whole.1 && cut_up.2 == whole.2, "{cut:?}: output or data differ");
    }
}

#[test]
fn chunking_changes_nothing() {
    chunking_holds(|_| {});
}

#[test]
fn chunking_changes_nothing_under_any_framing() {
    for (cipher, mac) in [
        (Cipher::ChaCha20Poly1305, None),
        (Cipher::Aes128Gcm, None),
        (Cipher::Aes256Ctr, Some(Mac::HmacSha256)),
        (Cipher::Aes128Ctr, Some(Mac::HmacSha512Etm)),
        (Cipher::Aes128Cbc, Some(Mac::HmacSha1)),
    ] {
        chunking_holds(|t| {
            t.algorithms.set_ciphers(&[cipher]);
            if let Some(mac) = mac {
                t.algorithms.mac = [vec![mac], vec![mac]];
            }
        });
    }
}

#[test]
fn chunking_changes_nothing_with_compression() {
    chunking_holds(|t| {
        t.algorithms.compression = [vec![Compression::ZlibOpenssh], vec![Compression::ZlibOpenssh]];
    });
}

/// What a peer said instead of its identification is quoted the same.
#[test]
fn chunking_changes_no_words() {
    let server = Arc::new(ServerConfig::with_transport(transport_config(), vec![host_key()]));
    let long = [b'x'; 300];
    for said in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"SSH", b"SS\nH", b"\n", &long] {
        let input = [(Time::from_micros(1_000_000), said.to_vec())];
        let whole = feed(&server, &input, Cut::Whole).0;
        let bytes = feed(&server, &input, Cut::Pieces(1)).0;
        assert_eq!(
            bytes.iter().find(|e| e.starts_with("Peer")),
            whole.iter().find(|e| e.starts_with("Peer"))
        );
    }
}

/// The same faults are found at the same place, however the bytes before them are cut.
#[test]
fn chunking_changes_no_error() {
    let server = Arc::new(ServerConfig::with_transport(transport_config(), vec![host_key()]));
    let good = record_client(&ClientConfig::new(transport_config()), &server);
    for n in 0..24usize {
        let mut input = good.clone();
        let piece = n % input.len();
        let Some(at) = (n * 7877).checked_rem(input[piece].1.len()) else { continue };
        input[piece].1[at] ^= 1 << (n % 8);
        let whole = feed(&server, &input, Cut::Whole);
        for cut in [Cut::Pieces(1), Cut::Random(n as u64)] {
            let cut_up = feed(&server, &input, cut);
            assert_eq!(cut_up.0, whole.0, "{n} {cut:?}");
            assert!(cut_up.1 == whole.1, "{n} {cut:?}");
        }
    }
}

#[test]
fn two_runs_with_the_same_seed_are_identical_and_two_seeds_are_not() {
    let run = |seed: u8| {
        let mut server = ServerConfig::with_transport(transport_config(), vec![host_key()]);
        server.methods = all_methods();
        let shell = Shell::new("echo").with_input(vec![9; 50_000]).with_proofs([
            Proof::None,
            Proof::Password("no"),
            Proof::Interactive(vec!["blue", "42"]),
        ]);
        let client = ClientConfig::new(transport_config());
        let mut pair = Pair::recorded(client, server, (shell, Host::default()), seed);
        pair.drive_until("the end", |p| p.client.app.seen.closed);
        [
            pair.client.conn.take_transcript().unwrap().to_bytes().to_vec(),
            pair.server.conn.take_transcript().unwrap().to_bytes().to_vec(),
        ]
    };
    let first = run(4);
    assert!(first == run(4));
    let other = run(5);
    assert!(first[0] != other[0] && first[1] != other[1]);
}

/// A client that writes to several channels, gives credit and asks things, in an order that a
/// number chooses. What one channel does is not in the order of what another does.
struct Many {
    order: u64,
    ids: Vec<ChannelId>,
    seen: Vec<(u32, Vec<u8>, bool)>,
}

const CHANNELS: usize = 4;

impl App<client::ClientSide> for Many {
    fn on_event(&mut self, conn: &mut ClientConnection, event: ClientEvent<'_>) {
        match event {
            ClientEvent::Auth(ClientAuth::HostKey(t)) => conn.decide_host_key(t, Decision::Accept).unwrap(),
            ClientEvent::Auth(ClientAuth::Needed { .. }) => {
                conn.authenticate("alice", AuthRequest::Password(&Password::new("wonderland"))).unwrap();
            }
            ClientEvent::Authenticated { .. } => {
                for _ in 0..CHANNELS {
                    conn.open(OpenKind::Session).unwrap();
                }
            }
            ClientEvent::Opened(id) => {
                self.ids.push(id);
                self.seen.push((u32::try_from(self.ids.len()).unwrap(), Vec::new(), false));
                if self.ids.len() == CHANNELS {
                    self.act(conn);
                }
            }
            ClientEvent::Channel(id, event) => {
                let at = self.ids.iter().position(|i| *i == id).unwrap();
                match event {
                    ChannelEvent::Data { data, .. } => {
                        self.seen[at].1.extend_from_slice(data);
                        conn.consume(id, data.len()).unwrap();
                    }
                    ChannelEvent::Closed => self.seen[at].2 = true,
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

impl Many {
    fn act(&mut self, conn: &mut ClientConnection) {
        let mut left: Vec<usize> = (0..CHANNELS).collect();
        let mut order = self.order;
        while !left.is_empty() {
            let i = left.remove(order as usize % left.len());
            order /= 4;
            let echo = ChannelRequest::Exec(wire::SshStr::new(b"echo"));
            conn.request(self.ids[i], echo, WantReply::Yes).unwrap();
            assert_eq!(conn.write(self.ids[i], DataStream::Data, &[i as u8; 500]).unwrap(), 500);
            conn.send_eof(self.ids[i]).unwrap();
        }
    }
}

#[test]
fn the_order_of_independent_calls_does_not_matter() {
    for order in 0..24 {
        let server = ServerConfig::with_transport(transport_config(), vec![host_key()]);
        let client = ClientConfig::new(transport_config());
        let many = Many { order, ids: Vec::new(), seen: Vec::new() };
        let mut pair = Pair::new(client, server, (many, Host::default()));
        pair.drive_until("all channels close", |p| {
            p.client.app.seen.len() == CHANNELS && p.client.app.seen.iter().all(|s| s.2)
        });
        for (i, (_, data, _)) in pair.client.app.seen.iter().enumerate() {
            assert_eq!(*data, [i as u8; 500], "order {order}");
        }
        let bytes = pair.client.conn.deadline();
        assert!(bytes.is_some());
    }
}

/// Calls that only set flags give the very same bytes in any order: credit, answers, farewell.
#[test]
fn flags_go_out_in_channel_order_whatever_the_order_of_the_calls() {
    let run = |backwards: bool| {
        let server = ServerConfig::with_transport(transport_config(), vec![host_key()]);
        let client = ClientConfig::new(transport_config());
        let many = Many { order: 0, ids: Vec::new(), seen: Vec::new() };
        let mut pair = Pair::new(client, server, (many, Host::default()));
        pair.drive_until("all channels open", |p| p.client.app.ids.len() == CHANNELS);
        let ids = pair.client.app.ids.clone();
        let conn = &mut pair.client.conn;
        let calls: [&dyn Fn(&mut ClientConnection); 4] = [
            &|c| c.send_eof(ids[0]).unwrap(),
            &|c| c.consume(ids[1], 0).unwrap(),
            &|c| c.rekey().unwrap(),
            &|c| c.consume(ids[2], 0).unwrap(),
        ];
        if backwards {
            calls.iter().rev().for_each(|call| call(conn));
        } else {
            calls.iter().for_each(|call| call(conn));
        }
        let now = pair.now;
        let step = pair.client.conn.poll(now, &mut pair.client.rx).map(|_| ()).is_ok();
        (step, pair.client.conn.tx().pending().to_vec())
    };
    assert_eq!(run(false), run(true));
}
