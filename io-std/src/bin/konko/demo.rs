//! `konko demo`: a client and a server in this process, joined in memory; every claim is checked.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use konko_core::channel::{ChannelEvent, ChannelId, ChannelRequest, Exit, OpenKind, Stream};
use konko_core::client::{AuthMethod, Password};
use konko_core::crypto::{Digest, Hash, HashAlg, SigAlg};
use konko_core::keys::{KeyKind, KeyPair, PrivateKey, PublicKey};
use konko_core::server::{Attempt, Verdict};
use konko_core::wire::SshStr;
use konko_core::*;

type Outcome<T> = Result<T, Box<dyn Error>>;

const USER: &str = "alice";
const PASSWORD: &[u8] = b"wonderland";
/// Bytes streamed each way.
const STREAM: u64 = 64 << 20;
/// Keys are renewed after so many bytes, so that it happens in the middle of the streams.
const REKEY: u64 = 16 << 20;

/// Runs the demo; prints what happened.
pub fn run() -> Outcome<()> {
    let start = Instant::now();
    println!("konko demo: a client and a server in one process, joined in memory\n");
    let host_key = new_key()?;
    let user_key = new_key()?;

    refuse_wrong_host_key(&host_key)?;
    refuse_wrong_password(&host_key)?;

    let mut pair = Pair::new(&host_key, user_key.public())?;
    pair.login(Login::Key(&user_key))?;
    describe(&pair, &host_key)?;
    run_command(&mut pair)?;
    stream(&mut pair, "upload", "sink", STREAM, 0)?;
    stream(&mut pair, "download", &format!("source {STREAM}"), 0, STREAM)?;
    let exchanges = pair.client.key_exchanges();
    check(exchanges >= 4, "the keys were renewed while data flowed")?;
    line("rekey", &format!("{} times in the middle of that, without losing a byte", exchanges - 1));
    println!("\nEverything was checked. {:.2} s.", start.elapsed().as_secs_f64());
    Ok(())
}

fn refuse_wrong_host_key(host_key: &Arc<KeyPair>) -> Outcome<()> {
    let other = new_key()?;
    let mut pair = Pair::new(host_key, other.public())?;
    pair.expected = other.public().clone();
    let error = match pair.login(Login::Password(PASSWORD)) {
        Ok(()) => return Err("a server with a wrong host key was accepted".into()),
        Err(error) => error,
    };
    check(pair.host.attempts == 0, "no login was tried with a wrong host key")?;
    line("wrong host", &format!("refused before any login ({error})"));
    Ok(())
}

fn refuse_wrong_password(host_key: &Arc<KeyPair>) -> Outcome<()> {
    let mut pair = Pair::new(host_key, host_key.public())?;
    check(pair.login(Login::Password(b"looking-glass")).is_err(), "a wrong password is refused")?;
    check(!pair.client.is_authenticated() && pair.host.attempts == 1, "one attempt, no entry")?;
    line("wrong login", "a wrong password is refused, after a delay that tells nothing");
    Ok(())
}

fn describe(pair: &Pair, host_key: &KeyPair) -> Outcome<()> {
    let n = pair.client.negotiated().ok_or("nothing was negotiated")?;
    check(pair.client.host_key() == Some(host_key.public()), "the host key is the expected one")?;
    check(pair.client.session_id() == pair.server.session_id(), "both ends agree on the session")?;
    let quantum = if n.kex.post_quantum() { "post-quantum" } else { "not post-quantum" };
    let strict = if pair.client.strict_kex() { "strict" } else { "not strict" };
    line("key exchange", &format!("{} ({quantum}, {strict})", n.kex));
    line("host key", &format!("{} {}", n.host_key, host_key.public().fingerprint(HashAlg::Sha256)));
    let [there, _] = n.protection;
    line("cipher", &format!("{}, by {}", there.cipher, pair.client.config().provider.name()));
    line("login", &format!("{USER}, publickey"));
    Ok(())
}

fn run_command(pair: &mut Pair) -> Outcome<()> {
    let session = pair.run("greet konko", 0)?;
    check(session.out == b"hello, konko\n" && session.status == Some(7), "output and status arrive")?;
    line("exec", "\"greet konko\" printed \"hello, konko\" and ended with status 7");
    Ok(())
}

fn stream(pair: &mut Pair, name: &str, command: &str, up: u64, down: u64) -> Outcome<()> {
    let start = Instant::now();
    let session = pair.run(command, up)?;
    let seconds = start.elapsed().as_secs_f64();
    let bytes = up + down;
    let (sent, received) = if up > 0 {
        (session.sent_digest, pair.host.received_digest.take())
    } else {
        (pair.host.sent_digest.take(), session.received_digest)
    };
    check(sent.is_some() && sent == received, "the checksums of what was sent and received are equal")?;
    let digest = format!("{:?}", sent.ok_or("no checksum")?);
    let rate = bytes as f64 / seconds / 1e9;
    line(name, &format!("{} MiB, {rate:.2} GB/s, SHA-256 {}… at both ends", bytes >> 20, &digest[..16]));
    Ok(())
}

fn line(name: &str, text: &str) {
    println!("  {name:<13}{text}");
}

fn check(ok: bool, claim: &str) -> Outcome<()> {
    if ok { Ok(()) } else { Err(format!("not true: {claim}").into()) }
}

fn seed() -> Outcome<Seed> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(Seed::new(bytes))
}

fn new_key() -> Outcome<Arc<KeyPair>> {
    let key = PrivateKey::generate(KeyKind::Ed25519, &mut Rng::from_seed(&seed()?))?;
    Ok(Arc::new(key.key_pair(provider::best())?))
}

fn config() -> TransportConfig {
    let mut config = TransportConfig::new(provider::best());
    config.rekey.bytes = REKEY;
    config
}

/// Byte `i` of a stream.
fn pattern(i: u64, room: &mut [u8]) {
    for (k, b) in room.iter_mut().enumerate() {
        *b = ((i + k as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    }
}

enum Login<'k> {
    Password(&'static [u8]),
    Key(&'k Arc<KeyPair>),
}

/// What the client's end of a command saw.
#[derive(Default)]
struct Session {
    out: Vec<u8>,
    status: Option<u32>,
    sent_digest: Option<Digest>,
    received_digest: Option<Digest>,
}

/// The server's application.
struct Host {
    allowed: PublicKey,
    attempts: u32,
    source: Option<Stream64>,
    sink: Option<Box<dyn Hash>>,
    sent_digest: Option<Digest>,
    received_digest: Option<Digest>,
}

/// A running stream of the demo's pattern.
struct Stream64 {
    channel: ChannelId,
    sent: u64,
    total: u64,
    hash: Box<dyn Hash>,
}

impl Stream64 {
    fn new(channel: ChannelId, total: u64) -> Self {
        Stream64 { channel, sent: 0, total, hash: provider::best().hash(HashAlg::Sha256) }
    }

    fn done(&self) -> bool {
        self.sent == self.total
    }
}

struct Pair {
    client: ClientConnection,
    server: ServerConnection,
    client_rx: RxBuf,
    server_rx: RxBuf,
    start: Instant,
    expected: PublicKey,
    host: Host,
}

impl Pair {
    fn new(host_key: &Arc<KeyPair>, allowed: &PublicKey) -> Outcome<Pair> {
        let client = Arc::new(ClientConfig::new(config()));
        let server = Arc::new(ServerConfig::new(config(), vec![Arc::clone(host_key)]));
        Ok(Pair {
            client: ClientConnection::new(client, seed()?, Time::ZERO),
            server: ServerConnection::new(server, seed()?, Time::ZERO),
            client_rx: RxBuf::new(),
            server_rx: RxBuf::new(),
            start: Instant::now(),
            expected: host_key.public().clone(),
            host: Host {
                allowed: allowed.clone(),
                attempts: 0,
                source: None,
                sink: None,
                sent_digest: None,
                received_digest: None,
            },
        })
    }

    fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    /// The network: what one end sends, the other receives.
    fn exchange(&mut self) {
        for (tx, rx) in [(self.client.tx(), &mut self.server_rx), (self.server.tx(), &mut self.client_rx)] {
            rx.push(tx.pending());
            tx.consume(tx.len());
        }
    }

    /// Logs in, or says why not.
    fn login(&mut self, login: Login<'_>) -> Outcome<()> {
        let mut tried = false;
        loop {
            let now = self.now();
            while let Step::Event(event) = self.client.poll(now, &mut self.client_rx)? {
                match event {
                    ClientEvent::HostKey(ticket) => {
                        let known = self.client.offered_host_key() == Some(&self.expected);
                        self.client.decide_host_key(ticket, known)?;
                    }
                    ClientEvent::AuthNeeded { .. } if tried => return Err("permission denied".into()),
                    ClientEvent::AuthNeeded { .. } => {
                        tried = true;
                        let (alg, password);
                        let method = match &login {
                            Login::Password(p) => {
                                password = Password::new(*p);
                                AuthMethod::Password(&password)
                            }
                            Login::Key(key) => {
                                alg = SigAlg::Ed25519;
                                AuthMethod::PublicKey { key, alg }
                            }
                        };
                        self.client.authenticate(USER, method)?;
                    }
                    ClientEvent::Authenticated { .. } => return Ok(()),
                    _ => {}
                }
            }
            self.exchange();
            self.serve()?;
            self.exchange();
        }
    }

    /// Runs one command, sending `up` bytes to it.
    fn run(&mut self, command: &str, up: u64) -> Outcome<Session> {
        let mut session = Session::default();
        let channel = self.client.open(OpenKind::Session)?;
        let mut upload = Stream64::new(channel, up);
        let mut received = provider::best().hash(HashAlg::Sha256);
        let mut open = false;
        loop {
            let now = self.now();
            while let Step::Event(event) = self.client.poll(now, &mut self.client_rx)? {
                match event {
                    ClientEvent::Opened(id) => {
                        let exec = ChannelRequest::Exec(SshStr::new(command.as_bytes()));
                        self.client.request(id, exec, true)?;
                        open = true;
                    }
                    ClientEvent::Channel(id, ChannelEvent::Data { data, .. }) => {
                        received.update(data);
                        if session.out.len() < 1024 {
                            session.out.extend_from_slice(data);
                        }
                        self.client.consume(id, data.len())?;
                    }
                    ClientEvent::Channel(_, ChannelEvent::Exit(Exit::Status(n))) => session.status = Some(n),
                    ClientEvent::Channel(_, ChannelEvent::Closed) => {
                        session.received_digest = Some(Digest::finish(HashAlg::Sha256, received));
                        session.sent_digest = Some(Digest::finish(HashAlg::Sha256, upload.hash));
                        return Ok(session);
                    }
                    _ => {}
                }
            }
            if open && !upload.done() {
                let client = &mut self.client;
                fill(&mut upload, |id, want, write| Ok(commit(client.slot(id, Stream::Data, want)?, write)))?;
                if upload.done() {
                    self.client.finish(channel)?;
                }
            }
            self.exchange();
            self.serve()?;
            self.exchange();
        }
    }

    fn serve(&mut self) -> Outcome<()> {
        let now = self.now();
        while let Step::Event(event) = self.server.poll(now, &mut self.server_rx)? {
            self.host.on_event(&mut self.server, event)?;
        }
        self.host.pump(&mut self.server)
    }
}

/// Puts as much of a stream into packets as fits now. `send` fills one packet.
fn fill(
    stream: &mut Stream64,
    mut send: impl FnMut(ChannelId, usize, &mut dyn FnMut(&mut [u8])) -> Result<usize, UsageError>,
) -> Outcome<()> {
    while !stream.done() {
        let want = usize::try_from(stream.total - stream.sent).unwrap_or(usize::MAX).min(32 * 1024);
        let (start, hash) = (stream.sent, &mut stream.hash);
        let n = send(stream.channel, want, &mut |room| {
            pattern(start, room);
            hash.update(room);
        })?;
        if n == 0 {
            break;
        }
        stream.sent += n as u64;
    }
    Ok(())
}

/// Fills and commits one slot; how much it took.
fn commit(slot: Option<DataSlot<'_>>, write: &mut dyn FnMut(&mut [u8])) -> usize {
    let Some(mut slot) = slot else { return 0 };
    let room = slot.bytes();
    write(room);
    let n = room.len();
    slot.commit(n);
    n
}

impl Host {
    fn on_event(&mut self, conn: &mut ServerConnection, event: ServerEvent<'_>) -> Outcome<()> {
        match event {
            ServerEvent::Auth { ticket, user, attempt } => {
                self.attempts += 1;
                let right = match attempt {
                    Attempt::Password(password) => password == PASSWORD,
                    Attempt::PublicKey { key, .. } => *key == self.allowed,
                    _ => false,
                };
                let accept = right && user.as_bytes() == USER.as_bytes();
                conn.decide_auth(ticket, if accept { Verdict::Accept } else { Verdict::Reject })?;
            }
            ServerEvent::Open { ticket, .. } => {
                conn.accept_channel(ticket)?;
            }
            ServerEvent::Channel(id, ChannelEvent::Request { ticket, request }) => {
                let started = self.start(conn, id, &request)?;
                if let Some(ticket) = ticket {
                    conn.reply(ticket, started)?;
                }
            }
            ServerEvent::Channel(id, ChannelEvent::Data { data, .. }) => {
                if let Some(hash) = &mut self.sink {
                    hash.update(data);
                }
                conn.consume(id, data.len())?;
            }
            ServerEvent::Channel(id, ChannelEvent::Eof) => {
                if let Some(hash) = self.sink.take() {
                    self.received_digest = Some(Digest::finish(HashAlg::Sha256, hash));
                    end(conn, id, 0)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn start(
        &mut self,
        conn: &mut ServerConnection,
        id: ChannelId,
        what: &ChannelRequest<'_>,
    ) -> Outcome<bool> {
        let ChannelRequest::Exec(command) = what else { return Ok(false) };
        match command.to_str().and_then(|c| c.split_once(' ')).or(command.to_str().map(|c| (c, ""))) {
            Some(("greet", name)) => {
                conn.write(id, Stream::Data, format!("hello, {name}\n").as_bytes())?;
                end(conn, id, 7)?;
            }
            Some(("sink", _)) => self.sink = Some(provider::best().hash(HashAlg::Sha256)),
            Some(("source", total)) => self.source = Some(Stream64::new(id, total.parse()?)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn pump(&mut self, conn: &mut ServerConnection) -> Outcome<()> {
        let Some(source) = &mut self.source else { return Ok(()) };
        fill(source, |id, want, write| Ok(commit(conn.slot(id, Stream::Data, want)?, write)))?;
        if let Some(source) = self.source.take_if(|s| s.done()) {
            self.sent_digest = Some(Digest::finish(HashAlg::Sha256, source.hash));
            end(conn, source.channel, 0)?;
        }
        Ok(())
    }
}

fn end(conn: &mut ServerConnection, id: ChannelId, status: u32) -> Outcome<()> {
    conn.request(id, ChannelRequest::ExitStatus(status), false)?;
    conn.finish(id)?;
    conn.close_channel(id)?;
    Ok(())
}
