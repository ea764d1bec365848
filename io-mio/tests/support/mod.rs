//! A server for tests, and a second process that puts load on it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use konko_mio::core::admission::{AdmissionLimits, Refused};
use konko_mio::core::channel::{ChannelEvent, ChannelId, ChannelRequest, DataStream, WindowConfig};
use konko_mio::core::keys::{KeyPair, KeyType, PrivateKey};
use konko_mio::core::server::{AuthDecision, Credential};
use konko_mio::core::transport::Keepalive;
use konko_mio::core::*;
use konko_mio::{App, Closed, ConnId, Hub, Loop, Mailbox, Settings, SharedAdmission, Workers};

pub mod load;

/// What a server has seen, for all to look at.
#[derive(Default)]
pub struct Counts {
    pub accepted: AtomicUsize,
    pub established: AtomicUsize,
    pub closed: AtomicUsize,
    pub refused: AtomicUsize,
    pub panicked: AtomicUsize,
    pub stalled: AtomicUsize,
    pub accept_errors: AtomicUsize,
}

impl Counts {
    pub fn of(count: &AtomicUsize) -> usize {
        count.load(Ordering::Relaxed)
    }

    /// Connections that are there.
    pub fn open(&self) -> usize {
        Self::of(&self.accepted) - Self::of(&self.closed)
    }
}

fn add(count: &AtomicUsize) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// Lets alice in, echoes what it is sent, and knows a few commands: `exit N`, `source N` writes N
/// bytes, `hang` answers nothing, `panic` panics, anything else is said back.
#[derive(Default)]
pub struct Host {
    pub counts: Arc<Counts>,
    channels: BTreeMap<(ConnId, ChannelId), Program>,
}

#[derive(Default)]
struct Program {
    /// To be echoed.
    backlog: Vec<u8>,
    /// Bytes of a `source` still to be written.
    owed: usize,
    eof: bool,
    hangs: bool,
}

impl App for Host {
    type Message = ();

    fn on_accepted(&mut self, _: ConnId, _: &mut ServerConnection, _: SocketAddr, _: &mut Hub<()>) {
        add(&self.counts.accepted);
    }

    fn on_server_event(
        &mut self,
        id: ConnId,
        conn: &mut ServerConnection,
        event: ServerEvent<'_>,
        _: &mut Hub<()>,
    ) {
        match event {
            ServerEvent::Auth(ServerAuth::Attempt { ticket, credential, .. }) => {
                let right = matches!(credential, Credential::Password(b"wonderland"));
                conn.decide_auth(ticket, if right { AuthDecision::Accept } else { AuthDecision::Reject })
                    .unwrap();
            }
            ServerEvent::Auth(ServerAuth::Probe { ticket, key, .. }) => {
                let known = *key == *user_key().public();
                conn.decide_probe(ticket, Decision::accept_if(known)).unwrap()
            }
            ServerEvent::Auth(ServerAuth::Signed { ticket, .. }) => {
                conn.decide_auth(ticket, AuthDecision::Accept).unwrap();
            }
            ServerEvent::Authenticated { .. } => add(&self.counts.established),
            ServerEvent::Open { ticket, .. } => {
                let channel = conn.accept_channel(ticket).unwrap();
                self.channels.insert((id, channel), Program::default());
            }
            ServerEvent::Channel(channel, event) => self.on_channel(id, conn, channel, event),
            ServerEvent::GlobalRequest { ticket: Some(ticket), .. } => {
                conn.reply_global(ticket, Decision::Reject, None).unwrap();
            }
            _ => {}
        }
    }

    fn on_closed(&mut self, id: ConnId, why: Closed, _: &mut Hub<()>) {
        self.channels.retain(|(of, _), _| *of != id);
        add(&self.counts.closed);
        match why {
            Closed::Panicked => add(&self.counts.panicked),
            Closed::Stalled => add(&self.counts.stalled),
            _ => {}
        }
    }

    fn on_refused(&mut self, _: SocketAddr, _: Refused) {
        add(&self.counts.refused);
    }

    fn on_accept_error(&mut self, _: &std::io::Error) {
        add(&self.counts.accept_errors);
    }
}

impl Host {
    fn on_channel(
        &mut self,
        id: ConnId,
        conn: &mut ServerConnection,
        channel: ChannelId,
        event: ChannelEvent<'_>,
    ) {
        let Some(program) = self.channels.get_mut(&(id, channel)) else { return };
        match event {
            ChannelEvent::Data { data, .. } => {
                let mut sent = 0;
                if program.backlog.is_empty() {
                    sent = conn.write(channel, DataStream::Data, data).unwrap();
                }
                program.backlog.extend_from_slice(&data[sent..]);
                conn.consume(channel, sent).unwrap();
            }
            ChannelEvent::Writable => {}
            ChannelEvent::Eof => program.eof = !program.hangs,
            ChannelEvent::Closed => return drop(self.channels.remove(&(id, channel))),
            ChannelEvent::Request { ticket, request } => {
                if let Some(ticket) = ticket {
                    conn.reply(ticket, Decision::Accept).unwrap();
                }
                if let ChannelRequest::Exec(command) = request {
                    match command.to_string().split_once(' ').unwrap_or((&command.to_string(), "")) {
                        ("exit", status) => return exit(conn, channel, status.parse().unwrap()),
                        ("source", n) => (program.owed, program.eof) = (n.parse().unwrap(), true),
                        ("hang", _) => program.hangs = true,
                        ("panic", _) => panic!("as asked for"),
                        _ => {
                            conn.write(channel, DataStream::Data, command.as_bytes()).unwrap();
                            return exit(conn, channel, 0);
                        }
                    }
                }
            }
            _ => return,
        }
        program.go_on(conn, channel);
    }
}

impl Program {
    fn go_on(&mut self, conn: &mut ServerConnection, channel: ChannelId) {
        if !self.backlog.is_empty() {
            let sent = conn.write(channel, DataStream::Data, &self.backlog).unwrap_or(0);
            self.backlog.drain(..sent);
            let _ = conn.consume(channel, sent);
        }
        while self.owed > 0 {
            let block = [b'x'; 32 * 1024];
            let n = self.owed.min(block.len());
            match conn.write(channel, DataStream::Data, &block[..n]) {
                Ok(sent) if sent > 0 => self.owed -= sent,
                _ => return,
            }
        }
        if self.eof && self.backlog.is_empty() {
            self.eof = false;
            exit(conn, channel, 0);
        }
    }
}

fn exit(conn: &mut ServerConnection, channel: ChannelId, status: u32) {
    let _ = conn.request(channel, ChannelRequest::ExitStatus(status), WantReply::No);
    let _ = conn.send_eof(channel);
    let _ = conn.close_channel(channel);
}

/// The key that servers let in, beside the password.
pub fn user_key() -> PrivateKey {
    PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&Seed::new([77; 32]))).unwrap()
}

pub fn host_key() -> Arc<KeyPair> {
    let key = PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&Seed::new([7; 32]))).unwrap();
    Arc::new(key.key_pair(provider::best()).unwrap())
}

pub fn server_config() -> ServerConfig {
    let mut config = ServerConfig::new(TransportConfig::new(provider::best()), vec![host_key()]);
    config.offload = true;
    config
}

pub fn client_config() -> ClientConfig {
    ClientConfig::new(TransportConfig::new(provider::best()))
}

/// Windows that let a thousand busy channels fit into a test's memory.
pub fn small_windows() -> WindowConfig {
    WindowConfig::new().initial(64 * 1024).max(64 * 1024)
}

pub fn keepalive(transport: &mut Arc<TransportConfig>, seconds: u64) {
    let interval = Duration::from_secs(seconds);
    Arc::make_mut(transport).keepalive = Some(Keepalive::new().interval(interval).count(3));
}

/// The name of a server's thread.
const THREAD: &str = "server loop";

/// How long the server's thread has run, and how long it waited for a processor, in seconds.
pub fn loop_schedule() -> [f64; 2] {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let ours = |task: &std::path::PathBuf| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == THREAD)
    };
    let task = tasks.into_iter().find(ours).expect("one server");
    let stat = std::fs::read_to_string(task.join("schedstat")).unwrap();
    let mut times = stat.split_whitespace().map(|n| n.parse::<f64>().unwrap() / 1e9);
    [times.next().unwrap(), times.next().unwrap()]
}

/// A loop on a thread of its own, ended on drop.
pub struct Server {
    pub addr: SocketAddr,
    pub counts: Arc<Counts>,
    pub mailbox: Mailbox<()>,
    pub admission: SharedAdmission,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(config: ServerConfig) -> Self {
        Self::with(config, AdmissionLimits::unlimited(100_000), settings())
    }

    pub fn with(config: ServerConfig, limits: AdmissionLimits, settings: Settings) -> Self {
        let mut server = Loop::new(settings).unwrap();
        let listener = konko_mio::bind("127.0.0.1:0".parse().unwrap(), konko_mio::Sharing::Alone).unwrap();
        let addr = listener.local_addr().unwrap();
        let admission = konko_mio::admission(limits).unwrap();
        server.hub().listen(listener, Arc::new(config), admission.clone()).unwrap();
        let mut host = Host::default();
        let (counts, mailbox) = (host.counts.clone(), server.mailbox());
        let run = move || server.run(&mut host).unwrap();
        let thread = std::thread::Builder::new().name(THREAD.into()).spawn(run).unwrap();
        Server { addr, counts, mailbox, admission, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.mailbox.drain(Duration::ZERO);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

pub fn settings() -> Settings {
    Settings::new().workers(Workers::new(1).unwrap())
}

/// Waits for something, a minute at most.
pub fn wait(what: &str, mut done: impl FnMut() -> bool) {
    wait_for(Duration::from_secs(60), what, &mut done);
}

pub fn wait_for(limit: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Memory, descriptors and time are those of the whole process: tests that look at them run alone.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A line of /proc/self/status, in KiB.
pub fn status_kib(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Open descriptors of this process.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// CPU time of this process.
pub fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// The long form of tests that have one.
pub fn full() -> bool {
    std::env::var_os("KONKO_FULL").is_some()
}
