//! Two machines and any sequence of calls: neither finds fault with the other, whatever their
//! applications do, and a watcher on the wire sees RFC 4254 kept.

use std::collections::HashMap;
use std::sync::Arc;

use konko_core::channel::{
    ChannelEvent, ChannelId, ChannelRequest, DataStream, GlobalTicket, OpenFailure, OpenKind, OpenTicket,
    RequestTicket, WindowConfig,
};
use konko_core::client::{AuthRequest, Password};
use konko_core::msg::{self, Message};
use konko_core::server::AuthDecision;
use konko_core::wire::SshStr;
use konko_core::*;

use crate::input::Input;
use konko_test::{null, null_key};

/// What one side may send to one channel of the other.
#[derive(Debug, Default)]
struct Flow {
    window: u64,
    packet: u32,
    eof: bool,
    closed: bool,
}

/// Reads what goes by in clear.
#[derive(Default)]
struct Watcher {
    /// By the sender (0 client, 1 server) and the channel number of the recipient.
    flows: HashMap<(usize, u32), Flow>,
    /// Opens under way, by opener and its number: its window and packet size.
    opens: HashMap<(usize, u32), (u32, u32)>,
    /// The other end's number, by side and own number.
    partner: HashMap<(usize, u32), u32>,
    held: [Vec<u8>; 2],
    ident: [bool; 2],
}

impl Watcher {
    fn see(&mut self, from: usize, bytes: &[u8]) {
        self.held[from].extend_from_slice(bytes);
        if !self.ident[from] {
            let Some(end) = self.held[from].iter().position(|b| *b == b'\n') else { return };
            self.held[from].drain(..=end);
            self.ident[from] = true;
        }
        while let Some(head) = self.held[from].first_chunk::<4>() {
            let total = u32::from_be_bytes(*head) as usize + 4;
            if self.held[from].len() < total {
                return;
            }
            let packet: Vec<u8> = self.held[from].drain(..total).collect();
            let payload = &packet[5..total - usize::from(packet[4])];
            self.message(from, payload);
        }
    }

    fn flow(&mut self, from: usize, recipient: u32) -> &mut Flow {
        let flow = self.flows.get_mut(&(from, recipient));
        let flow = flow.unwrap_or_else(|| panic!("a message to channel {recipient}, which does not exist"));
        assert!(!flow.closed, "a message after CLOSE");
        flow
    }

    fn message(&mut self, from: usize, payload: &[u8]) {
        let other = 1 - from;
        match payload[0] {
            90 => {
                let m = msg::ChannelOpen::parse(payload).expect("well made");
                let (sender, window, packet) = (m.sender, m.window, m.max_packet);
                assert!(self.opens.insert((from, sender), (window, packet)).is_none());
                assert!(!self.partner.contains_key(&(from, sender)), "number {sender} is in use");
            }
            91 => {
                let m = msg::ChannelOpenConfirmation::parse(payload).expect("well made");
                let (window, packet) = self.opens.remove(&(other, m.recipient)).expect("an open to confirm");
                let flow = |window: u32, packet| Flow { window: window.into(), packet, ..Flow::default() };
                self.flows.insert((from, m.recipient), flow(window, packet));
                self.flows.insert((other, m.sender), flow(m.window, m.max_packet));
                self.partner.insert((from, m.sender), m.recipient);
                self.partner.insert((other, m.recipient), m.sender);
            }
            92 => {
                let m = msg::ChannelOpenFailure::parse(payload).expect("well made");
                self.opens.remove(&(other, m.recipient)).expect("an open to refuse");
            }
            93 => {
                let m = msg::ChannelWindowAdjust::parse(payload).expect("well made");
                self.flow(from, m.recipient);
                // The recipient may now send more to the sender's end of this channel.
                let own = self.partner[&(other, m.recipient)];
                let Some(flow) = self.flows.get_mut(&(other, own)) else { return };
                flow.window += u64::from(m.bytes);
                assert!(flow.window <= u64::from(u32::MAX), "a window beyond 2^32 - 1");
            }
            94 | 95 => self.data(from, payload),
            96 => {
                let flow = self.flow(from, recipient(payload));
                assert!(!flow.eof, "EOF twice");
                flow.eof = true;
            }
            97 => {
                let number = recipient(payload);
                self.flow(from, number).closed = true;
                let own = self.partner[&(other, number)];
                if self.flows.get(&(other, own)).is_some_and(|f| f.closed) {
                    self.flows.remove(&(from, number));
                    self.flows.remove(&(other, own));
                    self.partner.remove(&(other, number));
                    self.partner.remove(&(from, own));
                }
            }
            98..=100 => drop(self.flow(from, recipient(payload))),
            _ => {}
        }
    }

    fn data(&mut self, from: usize, payload: &[u8]) {
        let (number, len) = match payload[0] {
            94 => {
                let m = msg::ChannelData::parse(payload).expect("well made");
                (m.recipient, m.data.len())
            }
            _ => {
                let m = msg::ChannelExtendedData::parse(payload).expect("well made");
                (m.recipient, m.data.len())
            }
        };
        let flow = self.flow(from, number);
        assert!(!flow.eof, "data after EOF");
        assert!(len <= flow.packet as usize, "a packet of {len} bytes, {} allowed", flow.packet);
        flow.window = flow.window.checked_sub(len as u64).expect("no more than the window");
    }
}

fn recipient(payload: &[u8]) -> u32 {
    u32::from_be_bytes(*payload[1..].first_chunk().expect("a recipient"))
}

#[derive(Default)]
struct Face {
    ids: Vec<ChannelId>,
    opens: Vec<OpenTicket>,
    requests: Vec<RequestTicket>,
    globals: Vec<GlobalTicket>,
    rx: RxBuf,
    received: u64,
}

struct Scene {
    client: ClientConnection,
    server: ServerConnection,
    sides: [Face; 2],
    watcher: Watcher,
    now: Time,
    over: bool,
}

/// Polls until blocked, and keeps what comes.
fn drain<S: Side>(
    conn: &mut Connection<S>,
    face: &mut Face,
    now: Time,
    mut on_auth: impl for<'b> FnMut(&mut Connection<S>, S::Auth<'b>),
) -> Result<(), Error> {
    let mut rx = std::mem::take(&mut face.rx);
    while let Step::Event(event) = conn.poll(now, &mut rx)? {
        match event {
            Event::Auth(auth) => on_auth(conn, auth),
            Event::Open { ticket, .. } => face.opens.push(ticket),
            Event::OpenFailed { channel, .. } => face.ids.retain(|i| *i != channel),
            Event::GlobalRequest { ticket, .. } => face.globals.extend(ticket),
            Event::Channel(id, event) => match event {
                ChannelEvent::Data { data, .. } => face.received += data.len() as u64,
                ChannelEvent::Request { ticket, .. } => face.requests.extend(ticket),
                ChannelEvent::Closed => face.ids.retain(|i| *i != id),
                _ => {}
            },
            _ => {}
        }
    }
    face.rx = rx;
    Ok(())
}

/// Any call.
fn call(conn: &mut Connection<dyn Side>, face: &mut Face, input: &mut Input<'_>) {
    let (what, arg) = (input.byte() % 16, input.byte());
    let id = face.ids.get(usize::from(arg >> 4) % face.ids.len().max(1)).copied();
    let stream = if arg & 1 == 0 { DataStream::Data } else { DataStream::Stderr };
    match (what, id) {
        (0, _) => face.ids.extend(conn.open_with(OpenKind::Session, window(arg)).ok()),
        (1, _) => {
            if let Some(ticket) = face.opens.pop() {
                if arg & 7 == 0 {
                    let _ = conn.reject_channel(ticket, OpenFailure::CONNECT_FAILED, "no");
                } else {
                    face.ids.extend(conn.accept_channel(ticket).ok());
                }
            }
        }
        (2..=4, Some(id)) => {
            let _ = conn.write(id, stream, &vec![arg; usize::from(input.u16())]);
        }
        (5, Some(id)) => {
            if let Ok(Some(mut slot)) = conn.slot(id, stream, usize::from(input.u16())) {
                let n = slot.bytes().len();
                slot.commit(n);
            }
        }
        (6 | 7, Some(id)) => {
            let _ = conn.consume(id, usize::from(input.u16()));
        }
        (8, Some(id)) => {
            let _ = conn.send_eof(id);
        }
        (9, Some(id)) => {
            let _ = conn.close_channel(id);
        }
        (10, Some(id)) => {
            let kind = SshStr::new(b"anything");
            let request = ChannelRequest::Other { kind, fields: &[arg] };
            let _ = conn.request(id, request, WantReply::yes_if(arg & 2 == 0));
        }
        (11, _) if !face.requests.is_empty() => {
            let ticket = face.requests.swap_remove(usize::from(arg) % face.requests.len());
            let _ = conn.reply(ticket, Decision::accept_if(arg & 1 == 0));
        }
        (12, _) if arg > 128 => {
            let _ = conn.rekey();
        }
        (13, _) => {
            let _ = conn.request_global("any@fuzz", &[arg], WantReply::yes_if(arg & 1 == 0));
        }
        (14, _) if !face.globals.is_empty() => {
            let ticket = face.globals.swap_remove(usize::from(arg) % face.globals.len());
            let _ = conn.reply_global(ticket, Decision::accept_if(arg & 1 == 0), None);
        }
        _ => {}
    }
}

fn window(arg: u8) -> WindowConfig {
    match arg % 4 {
        0 => WindowConfig::new().initial(10).max(40).packet(7),
        1 => WindowConfig::new().initial(0).max(0).packet(1),
        2 => WindowConfig::new().initial(70_000).max(200_000).packet(32_768),
        _ => WindowConfig::default(),
    }
}

impl Scene {
    fn new() -> Self {
        let mut transport = TransportConfig::new(null());
        transport.keepalive = None;
        // Every application call may come before any flush of the peer: budgets that fit.
        transport.limits.channels = 32;
        let server = Arc::new(ServerConfig::with_transport(transport.clone(), vec![null_key()]));
        let now = Time::from_micros(1);
        let mut scene = Scene {
            client: ClientConnection::new(Arc::new(ClientConfig::new(transport)), Seed::new([1; 32]), now),
            server: ServerConnection::new(server, Seed::new([2; 32]), now),
            sides: Default::default(),
            watcher: Watcher::default(),
            now,
            over: false,
        };
        for _ in 0..12 {
            scene.client_to_server(usize::MAX);
            scene.server_to_client(usize::MAX);
        }
        assert!(scene.client.is_authenticated() && scene.server.is_authenticated());
        scene
    }

    /// Takes up to `n` bytes of the client's output to the server and lets it look.
    fn client_to_server(&mut self, n: usize) {
        self.carry(0, n);
        let done = drain(&mut self.server, &mut self.sides[1], self.now, |server, auth| {
            if let ServerAuth::Attempt { ticket, .. } = auth {
                server.decide_auth(ticket, AuthDecision::Accept).expect("a fresh ticket");
            }
        });
        self.judge(done);
    }

    fn server_to_client(&mut self, n: usize) {
        self.carry(1, n);
        let done = drain(&mut self.client, &mut self.sides[0], self.now, |client, auth| match auth {
            ClientAuth::HostKey(ticket) => {
                client.decide_host_key(ticket, Decision::Accept).expect("a fresh ticket")
            }
            ClientAuth::Needed { .. } => {
                let password = Password::new("x");
                client.authenticate("u", AuthRequest::Password(&password)).expect("it is time");
            }
            _ => {}
        });
        self.judge(done);
    }

    /// Moves up to `n` bytes from one to the other, past the watcher.
    fn carry(&mut self, from: usize, n: usize) {
        let conn: &mut Connection<dyn Side> = if from == 0 { &mut self.client } else { &mut self.server };
        let tx = conn.tx();
        let n = n.min(tx.len());
        self.watcher.see(from, &tx.pending()[..n]);
        self.sides[1 - from].rx.push(&tx.pending()[..n]);
        tx.consume(n);
    }

    fn judge(&mut self, done: Result<(), Error>) {
        if let Err(error) = done {
            fair(&error);
            self.over = true;
        }
    }
}

/// Two of our own never break the protocol. That one has too many questions open is no breach: an
/// application that asks without end gets there.
fn fair(error: &Error) {
    let fine = match error {
        Error::Peer(e) => {
            matches!(e.fault(), error::Fault::TooManyRequests | error::Fault::TooManyKeyExchanges)
        }
        _ => true,
    };
    assert!(fine, "{error:?}");
}

/// The target `channels`.
pub fn channels(data: &[u8]) {
    let mut scene = Scene::new();
    let mut input = Input::new(data);
    while !input.is_empty() && !scene.over {
        match input.byte() % 8 {
            0..=2 => call(&mut scene.client, &mut scene.sides[0], &mut input),
            3..=5 => call(&mut scene.server, &mut scene.sides[1], &mut input),
            6 => {
                let n = if input.byte() > 127 { usize::MAX } else { usize::from(input.u16()) };
                scene.client_to_server(n);
                scene.server_to_client(n);
            }
            _ => {
                scene.now = scene.now + core::time::Duration::from_millis(u64::from(input.byte()) * 100);
                scene.server_to_client(0);
                scene.client_to_server(0);
            }
        }
        for tx in [scene.client.tx(), scene.server.tx()] {
            assert!(tx.len() < 8 << 20, "{} bytes of output", tx.len());
        }
    }
    // Everything that is under way arrives, and nobody minds.
    for _ in 0..6 {
        if !scene.over {
            scene.client_to_server(usize::MAX);
            scene.server_to_client(usize::MAX);
        }
    }
}
