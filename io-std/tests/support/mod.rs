//! A server of a hundred lines: the core's own, driven over a loopback socket by one thread a
//! connection. Commands: `both N` writes N bytes to both outputs, `echo` and `count` read their input,
//! `exit N`, `signal NAME`, `vanish` hangs up without a word, `open` opens a channel to the client and ends with why it was
//! refused, or 0.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use konko::core::auth::{Method, MethodSet};
use konko::core::channel::{ChannelEvent, ChannelId, ChannelRequest, DataStream, OpenKind};
use konko::core::crypto::HashAlgorithm;
use konko::core::keys::{Fingerprint, KeyPair, KeyType, PrivateKey};
use konko::core::provider::best;
use konko::core::server::{AuthDecision, Challenge, Credential};
use konko::core::wire::SshStr;
use konko::core::{
    Blocked, Decision, Rng, RxBuf, Seed, ServerAuth, ServerConfig, ServerConnection, ServerEvent, Step, Time,
    TransportConfig, WantReply,
};
use konko::{Auth, Client, ClientOptions, HostKeys};

/// What a channel's program still has to do.
#[derive(Default)]
struct Program {
    owed: [usize; 2],
    echo: Vec<u8>,
    echoes: bool,
    counted: Option<usize>,
    waits_for_eof: bool,
    opens: bool,
    exit: Option<Result<u32, String>>,
}

/// Listens on a free port and serves until the process ends.
pub fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (socket, n) in listener.incoming().zip(0u8..) {
            std::thread::spawn(move || Session::new(n).run(&mut socket.unwrap()));
        }
    });
    addr
}

/// A client that is logged in.
pub fn client(addr: SocketAddr, options: ClientOptions) -> Client {
    let client = Client::connect(addr, options.host_keys(HostKeys::insecure_accept_any())).unwrap();
    client.login("alice", Auth::new().password("wonderland")).unwrap();
    client
}

/// Carol's key, and its fingerprint.
pub fn key_of_carol() -> (Arc<KeyPair>, Fingerprint) {
    let key = PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&Seed::new([9; 32]))).unwrap();
    (Arc::new(key.key_pair(best()).unwrap()), key.public().fingerprint(HashAlgorithm::Sha256))
}

/// Alice has a password, bob answers a hidden question and then an open one, carol has a key and then
/// a password, dora answers one hidden question, erin's password has expired and the new one has to be long.
fn judge(user: &[u8], credential: &Credential<'_>) -> AuthDecision {
    let challenge = |prompt: &str, echo| {
        let prompts = vec![(prompt.to_owned(), echo)];
        AuthDecision::Challenge(Challenge { prompts, ..Challenge::default() })
    };
    let methods = |list: &[Method]| AuthDecision::Partial(list.iter().copied().collect::<MethodSet>());
    match (user, credential) {
        (b"alice", Credential::Password(b"wonderland")) => AuthDecision::Accept,
        (b"carol", Credential::Password(b"both")) => AuthDecision::Accept,
        (b"bob" | b"dora", Credential::None) => methods(&[Method::KeyboardInteractive]),
        (b"bob" | b"dora", Credential::KeyboardInteractive { .. }) => challenge("Secret: ", false),
        (b"bob", Credential::Answers(a)) if a.iter().eq([&b"hush"[..]]) => challenge("Colour: ", true),
        (b"bob", Credential::Answers(a)) if a.iter().eq([&b"blue"[..]]) => AuthDecision::Accept,
        (b"erin", Credential::Password(b"old")) => {
            AuthDecision::PasswordExpired { prompt: "it has expired".into() }
        }
        (b"erin", Credential::PasswordChange { old: b"old", new }) => match new.len() {
            12.. => AuthDecision::Accept,
            n => AuthDecision::PasswordExpired { prompt: format!("{n} are too few: at least 12") },
        },
        (b"dora", Credential::Answers(a)) if a.iter().eq([&b"hush"[..]]) => AuthDecision::Accept,
        _ => AuthDecision::Reject,
    }
}

struct Session {
    conn: ServerConnection,
    programs: BTreeMap<ChannelId, Program>,
    start: Instant,
    vanish: bool,
}

impl Session {
    fn new(n: u8) -> Self {
        let key = PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&Seed::new([7; 32]))).unwrap();
        let keys = vec![Arc::new(key.key_pair(best()).unwrap())];
        let mut config = ServerConfig::new(TransportConfig::new(best()), keys);
        config.methods = config.methods.with(Method::KeyboardInteractive);
        let config = Arc::new(config);
        let conn = ServerConnection::new(config, Seed::new([n; 32]), Time::ZERO);
        Session { conn, programs: BTreeMap::new(), start: Instant::now(), vanish: false }
    }

    fn run(mut self, socket: &mut TcpStream) {
        let mut rx = RxBuf::new();
        socket.set_nodelay(true).unwrap();
        while !self.vanish {
            let now = Time::ZERO + self.start.elapsed();
            let blocked = loop {
                match self.conn.poll(now, &mut rx) {
                    Ok(Step::Event(event)) => self.on_event(event),
                    Ok(Step::Blocked(why)) => break Some(why),
                    Err(_) => break None,
                }
            };
            let busy = blocked.is_some() && self.work();
            let tx = self.conn.tx();
            let n = tx.len();
            if socket.write_all(tx.pending()).is_err() {
                return;
            }
            tx.consume(n);
            if matches!(blocked, None | Some(Blocked::Closed)) {
                return;
            }
            socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            socket.set_nonblocking(busy).unwrap();
            let read = socket.read(rx.spare());
            socket.set_nonblocking(false).unwrap();
            match read {
                Ok(0) => rx.eof(),
                Ok(n) => rx.filled(n),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return,
            }
        }
    }

    fn on_event(&mut self, event: ServerEvent<'_>) {
        match event {
            ServerEvent::Auth(ServerAuth::Attempt { ticket, credential, .. }) => {
                let user = self.conn.user().map(|u| u.as_bytes().to_vec()).unwrap_or_default();
                self.conn.decide_auth(ticket, judge(&user, &credential)).unwrap();
            }
            ServerEvent::Auth(ServerAuth::Probe { ticket, key, .. }) => {
                let known = key.fingerprint(HashAlgorithm::Sha256) == key_of_carol().1;
                self.conn.decide_probe(ticket, Decision::accept_if(known)).unwrap();
            }
            ServerEvent::Auth(ServerAuth::Signed { ticket, .. }) => {
                let carol = self.conn.user().is_some_and(|u| u.as_bytes() == b"carol");
                let more = MethodSet::EMPTY.with(Method::Password);
                let verdict = if carol { AuthDecision::Partial(more) } else { AuthDecision::Reject };
                self.conn.decide_auth(ticket, verdict).unwrap();
            }
            ServerEvent::Open { ticket, .. } => {
                let id = self.conn.accept_channel(ticket).unwrap();
                self.programs.insert(id, Program::default());
            }
            ServerEvent::GlobalRequest { ticket: Some(ticket), .. } => {
                self.conn.reply_global(ticket, Decision::Reject, None).unwrap();
            }
            ServerEvent::Opened(_) => self.opened(0),
            ServerEvent::OpenFailed { why, .. } => self.opened(why.0),
            ServerEvent::Channel(id, event) => self.on_channel(id, event),
            _ => {}
        }
    }

    fn opened(&mut self, status: u32) {
        for program in self.programs.values_mut().filter(|p| p.opens) {
            (program.opens, program.exit) = (false, Some(Ok(status)));
        }
    }

    fn on_channel(&mut self, id: ChannelId, event: ChannelEvent<'_>) {
        let Some(program) = self.programs.get_mut(&id) else { return };
        match event {
            ChannelEvent::Data { data, .. } => {
                if let Some(counted) = &mut program.counted {
                    *counted += data.len();
                }
                if program.echoes {
                    program.echo.extend_from_slice(data);
                } else {
                    self.conn.consume(id, data.len()).unwrap();
                }
            }
            ChannelEvent::Eof => program.waits_for_eof = false,
            ChannelEvent::Closed => drop(self.programs.remove(&id)),
            ChannelEvent::Request { ticket, request } => {
                let ok = match request {
                    ChannelRequest::Exec(command) => program.start(command.to_str().unwrap()),
                    ChannelRequest::Pty(_) => true,
                    _ => false,
                };
                if program.opens {
                    let host = SshStr::new(b"localhost");
                    let (port, originator_port) = (8080, 40_000);
                    let kind = OpenKind::ForwardedTcpip { host, port, originator: host, originator_port };
                    self.conn.open(kind).unwrap();
                }
                self.vanish |= matches!(request, ChannelRequest::Exec(c) if c.as_bytes() == b"vanish");
                if let Some(ticket) = ticket {
                    self.conn.reply(ticket, Decision::accept_if(ok)).unwrap();
                }
            }
            _ => {}
        }
    }

    /// Writes what the programs owe, and ends those that are done. True while there is more.
    fn work(&mut self) -> bool {
        let (block, conn) = ([b'x'; 32 * 1024], &mut self.conn);
        let mut busy = false;
        for (id, program) in &mut self.programs {
            for (stream, i) in [(DataStream::Data, 0), (DataStream::Stderr, 1)] {
                let owed = program.owed[i];
                program.owed[i] -= conn.write(*id, stream, &block[..owed.min(block.len())]).unwrap_or(0);
            }
            let n = conn.write(*id, DataStream::Data, &program.echo).unwrap_or(0);
            program.echo.drain(..n);
            let _ = conn.consume(*id, n);
            let owes = program.owed != [0, 0] || !program.echo.is_empty();
            busy |= owes;
            if owes || program.waits_for_eof {
                continue;
            }
            let Some(exit) = program.exit.take() else { continue };
            if let Some(counted) = program.counted {
                conn.write(*id, DataStream::Data, counted.to_string().as_bytes()).unwrap();
            }
            let request = match &exit {
                Ok(status) => ChannelRequest::ExitStatus(*status),
                Err(name) => ChannelRequest::ExitSignal {
                    signal: SshStr::new(name.as_bytes()),
                    core_dumped: false,
                    message: SshStr::new(b"enough"),
                },
            };
            let _ = conn.request(*id, request, WantReply::No);
            let _ = conn.send_eof(*id);
            let _ = conn.close_channel(*id);
        }
        busy
    }
}

impl Program {
    fn start(&mut self, command: &str) -> bool {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        self.exit = Some(Ok(0));
        match verb {
            "both" => self.owed = [rest.parse().unwrap(); 2],
            "echo" => (self.echoes, self.waits_for_eof) = (true, true),
            "count" => (self.counted, self.waits_for_eof) = (Some(0), true),
            "exit" => self.exit = Some(Ok(rest.parse().unwrap())),
            "signal" => self.exit = Some(Err(rest.to_owned())),
            "vanish" | "hang" => self.exit = None,
            "open" => (self.opens, self.exit) = (true, None),
            _ => return false,
        }
        true
    }
}
