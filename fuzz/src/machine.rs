//! Whole connections: any peer, any application.

use std::sync::Arc;

use konko_core::auth::{Method, MethodSet};
use konko_core::channel::{
    ChannelEvent, ChannelId, ChannelRequest, DataStream, GlobalTicket, OpenFailure, OpenKind, OpenTicket,
    PtyModes, PtyRequest, RequestTicket, WindowConfig,
};
use konko_core::client::{AuthRequest, HostKeyTicket, Password, PromptTicket, SignTicket};
use konko_core::crypto::Compression;
use konko_core::keys::{KeyPair, SignatureAlgorithm, signature};
use konko_core::msg::DisconnectCode;
use konko_core::replay::{SecretTranscript, Setup, replay};
use konko_core::server::{AuthDecision, AuthTicket, Challenge, Credential};
use konko_core::transport::Job;
use konko_core::transport::negotiate::Role;
use konko_core::wire::SshStr;
use konko_core::*;

use crate::input::Input;
use crate::peer;
use konko_test::{null, null_key};

/// Output that one poll and the calls after it may make at most: the hard limit, a packet, and
/// what the application itself asked for.
const MAX_OUTPUT: usize = 4 << 20;
/// Events of one run.
const MAX_EVENTS: usize = 4096;

/// What a run showed.
#[derive(PartialEq, Eq, Debug)]
struct Trace {
    events: Vec<String>,
    sent: Vec<u8>,
}

enum Seen {
    Event(String),
    Blocked(Blocked),
    Failed(Error),
}

/// One connection with an application that decides by a control stream.
trait End {
    fn poll(&mut self, now: Time, rx: &mut RxBuf, control: &mut Input<'_>) -> Seen;
    fn tx(&mut self) -> &mut TxBuf;
    /// A call out of the blue.
    fn call(&mut self, control: &mut Input<'_>);
    fn deadline(&self) -> Option<Time>;
    fn check_replay(&mut self);
}

/// Tickets that wait, and channels that were seen.
#[derive(Default)]
struct Pocket {
    ids: Vec<ChannelId>,
    requests: Vec<RequestTicket>,
    opens: Vec<OpenTicket>,
    globals: Vec<GlobalTicket>,
}

/// The target `client`.
pub fn client(data: &[u8]) {
    both_ways(data, Role::Server, Client::new);
}

/// The target `server`.
pub fn server(data: &[u8]) {
    both_ways(data, Role::Client, Server::new);
}

/// Runs in one piece and byte by byte; both are the same.
fn both_ways<E: End>(data: &[u8], peer: Role, new: impl Fn(u8, bool) -> E) {
    let flags = data.first().copied().unwrap_or(0);
    let data = data.get(1..).unwrap_or_default();
    let whole = run(new(flags, true), data, peer, usize::MAX);
    if data.len() < 2000 {
        let cut = run(new(flags, false), data, peer, 1);
        assert_eq!(whole.events, cut.events, "input cut differently");
        assert!(whole.sent == cut.sent, "input cut differently gives other output");
    }
}

fn run<E: End>(mut end: E, data: &[u8], role: Role, cut: usize) -> Trace {
    let (mut control, mut peer) = Input::split(data);
    let mut trace = Trace { events: Vec::new(), sent: Vec::new() };
    let (mut now, mut rx) = (Time::from_micros(1_000_000), RxBuf::new());
    while !peer.is_empty() && trace.events.len() < MAX_EVENTS {
        let mut bytes = Vec::new();
        match peer.byte() % 12 {
            0 => bytes = peer.bytes().to_vec(),
            1 => bytes = peer::frame(peer.bytes()),
            2 => bytes = peer::assembled(&mut peer),
            3..=6 => bytes = peer::script(role, peer.byte(), peer.byte()),
            7 => bytes = peer::opening(role, peer.byte()),
            8 => {
                bytes = peer::script(role, peer.byte(), peer.byte());
                let at = usize::from(peer.u16()) % bytes.len();
                bytes[at] ^= peer.byte();
            }
            9 => now = now + core::time::Duration::from_millis(1 << (peer.byte() % 24)),
            10 => {
                for _ in 0..1 + peer.below(4) {
                    end.call(&mut control);
                }
            }
            _ => {
                if peer.byte() == 255 {
                    rx.eof();
                }
                now = end.deadline().map_or(now, |d| d.max(now));
            }
        }
        if feed(&mut end, now, &mut rx, &bytes, cut, &mut control, &mut trace) {
            break;
        }
        trace.events.push(format!("{:?}", end.deadline()));
    }
    end.check_replay();
    trace
}

/// Delivers `bytes` in pieces. True when the connection is over.
fn feed<E: End>(
    end: &mut E,
    now: Time,
    rx: &mut RxBuf,
    bytes: &[u8],
    cut: usize,
    control: &mut Input<'_>,
    trace: &mut Trace,
) -> bool {
    let mut pieces = bytes.chunks(cut.min(bytes.len().max(1)));
    loop {
        rx.push(pieces.next().unwrap_or_default());
        loop {
            drain(end, trace);
            match end.poll(now, rx, control) {
                Seen::Event(event) => trace.events.push(event),
                Seen::Blocked(Blocked::Closed) => return true,
                Seen::Blocked(Blocked::Output) => assert!(!end.tx().is_empty(), "nothing to send"),
                Seen::Blocked(_) => break,
                Seen::Failed(error) => {
                    trace.events.push(format!("{error:?}"));
                    drain(end, trace);
                    // Sticky and silent.
                    rx.push(b"more");
                    let again = end.poll(now, rx, control);
                    assert!(matches!(again, Seen::Failed(e) if e == error));
                    assert!(end.tx().is_empty());
                    return true;
                }
            }
            assert!(trace.events.len() < 3 * MAX_EVENTS, "events without end");
        }
        if pieces.len() == 0 {
            drain(end, trace);
            return false;
        }
    }
}

fn drain<E: End>(end: &mut E, trace: &mut Trace) {
    let n = end.tx().len();
    assert!(n < MAX_OUTPUT, "{n} bytes of output");
    trace.sent.extend_from_slice(end.tx().pending());
    end.tx().consume(n);
}

fn transport(flags: u8) -> TransportConfig {
    let mut transport = TransportConfig::new(null());
    if flags & 1 != 0 {
        transport.algorithms.compression = [
            vec![Compression::ZlibOpenssh, Compression::None],
            vec![Compression::ZlibOpenssh, Compression::None],
        ];
    }
    if flags & 2 != 0 {
        transport.rekey.packets = 20;
    }
    if flags & 4 != 0 {
        transport.keepalive = None;
    }
    transport.allow_terrapin = flags & 8 != 0;
    transport
}

fn window(flags: u8) -> WindowConfig {
    match flags >> 6 {
        0 => WindowConfig::default(),
        1 => WindowConfig::new().initial(100).max(100).packet(10),
        2 => WindowConfig::new().initial(5000).max(50_000).packet(1000),
        _ => WindowConfig::new().initial(0).max(u32::MAX).packet(u32::MAX),
    }
}

/// Requests of every kind, by number.
fn request<'a>(n: u8, text: &'a [u8]) -> ChannelRequest<'a> {
    let name = SshStr::new(text);
    match n % 14 {
        0 => ChannelRequest::Shell,
        1 => ChannelRequest::Exec(name),
        2 => ChannelRequest::Subsystem(name),
        3 => ChannelRequest::Env { name, value: name },
        4 => ChannelRequest::Signal(name),
        5 => ChannelRequest::Break(9),
        6 => ChannelRequest::ExitStatus(u32::from(n)),
        7 => ChannelRequest::ExitSignal { signal: name, core_dumped: true, message: name },
        8 => ChannelRequest::Eow,
        9 => ChannelRequest::AuthAgent,
        10 => ChannelRequest::WindowChange { columns: 1, rows: 2, width: 3, height: 4 },
        11 => ChannelRequest::Pty(PtyRequest {
            term: name,
            columns: 80,
            rows: 24,
            width: 0,
            height: 0,
            modes: PtyModes::new(text),
        }),
        12 => ChannelRequest::Other { kind: SshStr::new(b"exec"), fields: text },
        _ => ChannelRequest::Other { kind: name, fields: text },
    }
}

fn open_kind(n: u8, text: &[u8]) -> OpenKind<'_> {
    let host = SshStr::new(text);
    match n % 4 {
        0 => OpenKind::Session,
        1 => OpenKind::DirectTcpip { host, port: 22, originator: host, originator_port: 1 },
        2 => OpenKind::ForwardedTcpip { host, port: 22, originator: host, originator_port: 1 },
        _ => OpenKind::Other { kind: host, fields: text },
    }
}

/// A call out of the blue. Whatever it returns is right; it may not panic.
fn call(conn: &mut Connection<dyn Side>, pocket: &mut Pocket, control: &mut Input<'_>) {
    let (what, arg) = (control.byte() % 18, control.byte());
    let id = pocket.ids.get(usize::from(arg) % pocket.ids.len().max(1)).copied();
    let stream = if arg & 128 == 0 { DataStream::Data } else { DataStream::Stderr };
    match (what, id) {
        (0, _) => pocket.ids.extend(conn.open(open_kind(arg, control.bytes())).ok()),
        (1 | 2, Some(id)) => ignore(conn.write(id, stream, &vec![arg; usize::from(control.u16())])),
        (3, Some(id)) => {
            if let Ok(Some(mut slot)) = conn.slot(id, stream, usize::from(control.u16())) {
                let n = slot.bytes().len();
                slot.bytes().fill(arg);
                if arg & 3 != 0 {
                    slot.commit(n.min(usize::from(control.u16())));
                }
            }
        }
        (4, Some(id)) => ignore(conn.send_eof(id)),
        (5, Some(id)) => ignore(conn.close_channel(id)),
        (6, Some(id)) => {
            ignore(conn.request(id, request(arg, control.bytes()), WantReply::yes_if(arg & 64 == 0)))
        }
        (7, Some(id)) => ignore(conn.consume(id, control.u32() as usize)),
        (8, _) => ignore(conn.rekey()),
        (9, _) => ignore(conn.request_global(
            "keepalive@openssh.com",
            control.bytes(),
            WantReply::yes_if(arg & 1 == 0),
        )),
        (10, _) if arg > 250 => conn.disconnect(DisconnectCode::BY_APPLICATION, "bye"),
        (11, _) => {
            if let Some(ticket) = pocket.requests.pop() {
                ignore(conn.reply(ticket, Decision::accept_if(arg & 1 == 0)));
            }
        }
        (12, _) => {
            if let Some(ticket) = pocket.opens.pop() {
                answer(conn, pocket, ticket, arg);
            }
        }
        (13, _) => {
            if let Some(ticket) = pocket.globals.pop() {
                ignore(conn.reply_global(
                    ticket,
                    Decision::accept_if(arg & 1 == 0),
                    (arg & 2 == 0).then_some(4000),
                ));
            }
        }
        _ => {}
    }
}

fn answer(conn: &mut Connection<dyn Side>, pocket: &mut Pocket, ticket: OpenTicket, arg: u8) {
    if arg & 3 == 0 {
        ignore(conn.reject_channel(ticket, OpenFailure(u32::from(arg)), "no"));
    } else {
        pocket.ids.extend(conn.accept_channel(ticket).ok());
    }
}

/// What comes of an event that both roles have.
fn hear<A>(conn: &mut Connection<dyn Side>, pocket: &mut Pocket, event: Event<'_, A>, arg: u8) {
    match event {
        Event::Open { ticket, .. } if arg & 16 == 0 => answer(conn, pocket, ticket, arg),
        Event::Open { ticket, .. } => pocket.opens.push(ticket),
        Event::GlobalRequest { ticket: Some(ticket), .. } => pocket.globals.push(ticket),
        Event::Channel(id, event) => match event {
            ChannelEvent::Data { data, .. } if arg & 1 == 0 => ignore(conn.consume(id, data.len())),
            ChannelEvent::Request { ticket: Some(ticket), .. } => match arg & 3 {
                0 => pocket.requests.push(ticket),
                n => ignore(conn.reply(ticket, Decision::accept_if(n == 1))),
            },
            ChannelEvent::Writable => ignore(conn.write(id, DataStream::Data, &[arg; 3000])),
            ChannelEvent::Eof if arg & 1 == 0 => ignore(conn.close_channel(id)),
            ChannelEvent::Closed => pocket.ids.retain(|i| *i != id),
            _ => {}
        },
        _ => {}
    }
}

struct Client {
    conn: ClientConnection,
    config: Arc<ClientConfig>,
    key: Arc<KeyPair>,
    pocket: Pocket,
    host_key: Option<HostKeyTicket>,
    sign: Option<SignTicket>,
    prompts: Option<PromptTicket>,
}

impl Client {
    fn new(flags: u8, recorded: bool) -> Self {
        let mut config = ClientConfig::new(transport(flags));
        config.window = window(flags);
        let config = Arc::new(config);
        let seed = Seed::new([1; 32]);
        let make = if recorded { ClientConnection::recorded } else { ClientConnection::new };
        Client {
            conn: make(Arc::clone(&config), seed, Time::from_micros(1_000_000)),
            config,
            key: null_key(),
            pocket: Pocket::default(),
            host_key: None,
            sign: None,
            prompts: None,
        }
    }

    fn authenticate(&mut self, arg: u8) {
        let (password, algorithm) =
            (Password::new(vec![b'x'; usize::from(arg)]), SignatureAlgorithm::ED25519);
        let key = self.key.public();
        let method = match arg % 7 {
            0 => AuthRequest::None,
            1 => AuthRequest::Password(&password),
            2 => AuthRequest::PasswordChange { old: &password, new: &password },
            3 => AuthRequest::ProbeKey { key, algorithm },
            4 => AuthRequest::PublicKey { key: &self.key, algorithm },
            5 => AuthRequest::ExternalKey { key, algorithm },
            _ => AuthRequest::KeyboardInteractive,
        };
        ignore(self.conn.authenticate(if arg & 128 == 0 { "alice" } else { "b\0b" }, method));
    }

    fn sign(&mut self, ticket: SignTicket, arg: u8) {
        if self.conn.sign_request(&ticket).is_none() || arg & 3 == 0 {
            ignore(self.conn.cancel_signature(ticket));
        } else {
            let raw = vec![arg; if arg & 3 == 1 { 63 } else { 64 }];
            ignore(
                self.conn.provide_signature(ticket, &signature::encode(SignatureAlgorithm::ED25519, &raw)),
            );
        }
    }
}

impl End for Client {
    fn poll(&mut self, now: Time, rx: &mut RxBuf, control: &mut Input<'_>) -> Seen {
        let event = match self.conn.poll(now, rx) {
            Ok(Step::Event(event)) => event,
            Ok(Step::Blocked(why)) => {
                // A decision that was put off is made when nothing else goes on.
                if let (Blocked::Decision, Some(ticket)) = (why, self.host_key.take()) {
                    ignore(self.conn.decide_host_key(ticket, Decision::Accept));
                    return Seen::Event("decided".into());
                }
                return Seen::Blocked(why);
            }
            Err(error) => return Seen::Failed(error),
        };
        let (text, arg) = (format!("{event:?}"), control.byte());
        match event {
            ClientEvent::Auth(ClientAuth::HostKey(ticket)) if arg & 7 == 7 => self.host_key = Some(ticket),
            ClientEvent::Auth(ClientAuth::HostKey(ticket)) => {
                ignore(self.conn.decide_host_key(ticket, Decision::accept_if(arg != 6)))
            }
            ClientEvent::Auth(ClientAuth::Needed { .. })
            | ClientEvent::Auth(ClientAuth::KeyAccepted)
            | ClientEvent::Auth(ClientAuth::PasswordExpired { .. }) => {
                self.authenticate(arg);
            }
            ClientEvent::Auth(ClientAuth::Sign(ticket)) if arg & 16 == 0 => self.sign(ticket, arg),
            ClientEvent::Auth(ClientAuth::Sign(ticket)) => self.sign = Some(ticket),
            ClientEvent::Auth(ClientAuth::Prompts { ticket, prompts }) => {
                let answers = vec!["answer"; prompts.prompts().count() + usize::from(arg == 3)];
                if arg & 16 == 0 {
                    ignore(self.conn.answer_prompts(ticket, &answers));
                } else {
                    self.prompts = Some(ticket);
                }
            }
            event => hear(&mut self.conn, &mut self.pocket, event, arg),
        }
        Seen::Event(text)
    }

    fn tx(&mut self) -> &mut TxBuf {
        self.conn.tx()
    }

    fn call(&mut self, control: &mut Input<'_>) {
        let arg = control.byte();
        match arg & 31 {
            0 => self.authenticate(control.byte()),
            1 => {
                if let Some(ticket) = self.sign.take() {
                    self.sign(ticket, control.byte());
                }
            }
            2 => {
                if let Some(ticket) = self.prompts.take() {
                    let answers = vec!["a"; control.below(5)];
                    ignore(self.conn.answer_prompts(ticket, &answers));
                }
            }
            _ => call(&mut self.conn, &mut self.pocket, control),
        }
    }

    fn deadline(&self) -> Option<Time> {
        self.conn.deadline().map(|d| d.0)
    }

    fn check_replay(&mut self) {
        let keys = [Arc::clone(&self.key)];
        let Some(transcript) = self.conn.take_transcript() else { return };
        again(&transcript, || Setup::Client { config: Arc::clone(&self.config), keys: &keys });
    }
}

/// The recording replays, also from its bytes.
fn again<'a>(transcript: &SecretTranscript, setup: impl Fn() -> Setup<'a>) {
    let read = SecretTranscript::from_bytes(transcript.to_bytes()).expect("what was written reads");
    if let Err(divergence) = replay(&read, setup()) {
        panic!("{divergence}\n{}", transcript.redact());
    }
}

struct Server {
    conn: ServerConnection,
    config: Arc<ServerConfig>,
    pocket: Pocket,
    auth: Option<AuthTicket>,
    jobs: Vec<Job>,
}

impl Server {
    fn new(flags: u8, recorded: bool) -> Self {
        let mut config = ServerConfig::with_transport(transport(flags), vec![null_key()]);
        config.window = window(flags);
        config.offload = flags & 16 != 0;
        config.methods =
            [Method::Password, Method::PublicKey, Method::KeyboardInteractive].into_iter().collect();
        if flags & 32 != 0 {
            config.methods = config.methods.with(Method::None);
            config.banner = Some("welcome".into());
        }
        let config = Arc::new(config);
        let seed = Seed::new([2; 32]);
        let make = if recorded { ServerConnection::recorded } else { ServerConnection::new };
        Server {
            conn: make(Arc::clone(&config), seed, Time::from_micros(1_000_000)),
            config,
            pocket: Pocket::default(),
            auth: None,
            jobs: Vec::new(),
        }
    }

    fn verdict(arg: u8) -> AuthDecision {
        match arg % 9 {
            0..=3 => AuthDecision::Accept,
            4 => AuthDecision::Reject,
            5 => AuthDecision::Partial(MethodSet::EMPTY.with(Method::PublicKey)),
            6 => AuthDecision::Challenge(Challenge {
                name: "n".into(),
                instruction: "i".into(),
                prompts: vec![("p".into(), true); usize::from(arg >> 3)],
            }),
            7 => AuthDecision::PasswordExpired { prompt: "old".into() },
            _ => AuthDecision::Partial(MethodSet::EMPTY),
        }
    }
}

impl End for Server {
    fn poll(&mut self, now: Time, rx: &mut RxBuf, control: &mut Input<'_>) -> Seen {
        let event = match self.conn.poll(now, rx) {
            Ok(Step::Event(event)) => event,
            Ok(Step::Blocked(why)) => {
                if why == Blocked::Decision {
                    if let Some(job) = self.jobs.pop() {
                        ignore(self.conn.finish_job(job.run()));
                        return Seen::Event("finished".into());
                    }
                    if let Some(ticket) = self.auth.take() {
                        ignore(self.conn.decide_auth(ticket, AuthDecision::Reject));
                        return Seen::Event("decided".into());
                    }
                }
                return Seen::Blocked(why);
            }
            Err(error) => return Seen::Failed(error),
        };
        let (text, arg) = (format!("{event:?}"), control.byte());
        match event {
            ServerEvent::Job(job) if arg & 1 == 0 => ignore(self.conn.finish_job(job.run())),
            ServerEvent::Job(job) => self.jobs.push(*job),
            ServerEvent::Auth(ServerAuth::Probe { ticket, .. }) => {
                ignore(self.conn.decide_probe(ticket, Decision::accept_if(arg & 1 == 0)));
            }
            ServerEvent::Auth(ServerAuth::Signed { ticket, .. }) if arg == 200 => self.auth = Some(ticket),
            ServerEvent::Auth(ServerAuth::Signed { ticket, .. }) => {
                ignore(self.conn.decide_auth(ticket, Self::verdict(arg)));
            }
            ServerEvent::Auth(ServerAuth::Attempt { ticket, credential, .. }) => {
                let challenge = matches!(credential, Credential::KeyboardInteractive { .. }) && arg & 1 == 0;
                let verdict = Self::verdict(if challenge { 6 + 9 * (arg & 15) } else { arg });
                if arg == 200 {
                    self.auth = Some(ticket);
                } else {
                    ignore(self.conn.decide_auth(ticket, verdict));
                }
            }
            event => hear(&mut self.conn, &mut self.pocket, event, arg),
        }
        Seen::Event(text)
    }

    fn tx(&mut self) -> &mut TxBuf {
        self.conn.tx()
    }

    fn call(&mut self, control: &mut Input<'_>) {
        let arg = control.byte();
        match (arg & 31, self.auth.take()) {
            (0, Some(ticket)) => ignore(self.conn.decide_auth(ticket, Self::verdict(arg >> 3))),
            (_, held) => {
                self.auth = held;
                call(&mut self.conn, &mut self.pocket, control);
            }
        }
    }

    fn deadline(&self) -> Option<Time> {
        self.conn.deadline().map(|d| d.0)
    }

    fn check_replay(&mut self) {
        let Some(transcript) = self.conn.take_transcript() else { return };
        again(&transcript, || Setup::Server(Arc::clone(&self.config)));
    }
}

/// Whatever a call returns is right.
fn ignore<T>(_: T) {}
