//! The second process: many clients on one loop, which does what the test tells it by lines.
//!
//! `open N AT_ONCE` logs N clients in, so many at a time; each has a channel that echoes. `echo` sends 64 bytes
//! on each and waits for them to come back. `busy N SECONDS` keeps N of them sending and receiving as
//! fast as they can. `ping N MILLISECONDS` sends a few bytes on N of them, each again and again with a
//! pause, until `pings`, which tells the latencies. `plain PORT` and `plains` do the same over plain TCP,
//! from a thread of its own: what the machine can do. Each command answers with one line.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use konko_mio::core::channel::{ChannelEvent, ChannelId, ChannelRequest, DataStream, OpenKind};
use konko_mio::core::client::{AuthRequest, Password};
use konko_mio::core::*;
use konko_mio::{App, Closed, ConnId, Hub, Loop, Settings};

const PORTS: &str = "KONKO_LOAD_ADDR";

/// The process as its parent sees it.
pub struct Load {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Load {
    /// Starts the test binary again, with only the test `load_client` in it.
    pub fn start(addr: SocketAddr) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "load_client", "--ignored", "--nocapture", "--test-threads=1"])
            .env(PORTS, addr.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Load { child, input, output }
    }

    pub fn tell(&mut self, command: &str) {
        writeln!(self.input.as_mut().unwrap(), "{command}").unwrap();
    }

    /// The next answer, without its first word, which is `word`.
    pub fn answer(&mut self, word: &str) -> Vec<f64> {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the load ended before: {word}");
            if let Some(rest) = line.split_once("load: ").map(|(_, rest)| rest.trim()) {
                let (first, numbers) = rest.split_once(' ').unwrap_or((rest, ""));
                assert_eq!(first, word, "{line}");
                return numbers.split(' ').filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect();
            }
        }
    }

    pub fn ask(&mut self, command: &str) -> Vec<f64> {
        self.tell(command);
        self.answer(command.split(' ').next().unwrap())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // The end of its input ends it.
        self.input = None;
        let status = self.child.wait();
        assert!(std::thread::panicking() || status.unwrap().success());
    }
}

/// The body of the test `load_client`.
pub fn run() {
    let Ok(addr) = std::env::var(PORTS) else { return };
    let limit = konko_mio::raise_descriptor_limit(1 << 20);
    let mut clients = Loop::new(Settings::default()).unwrap();
    let mailbox = clients.mailbox();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            if mailbox.send(Order::Line(line.unwrap())).is_err() {
                return;
            }
        }
        let _ = mailbox.send(Order::End);
    });
    let mut config = super::client_config();
    config.window = super::small_windows();
    super::keepalive(&mut config.transport, 3600);
    let mut app = Clients {
        addr: addr.parse().unwrap(),
        config: Arc::new(config),
        descriptors: limit as usize,
        wanted: 0,
        at_once: 0,
        starting: 0,
        clients: BTreeMap::new(),
        task: Task::Open,
        failed: 0,
        left: 0,
        pings: Vec::new(),
        plain: Arc::default(),
    };
    clients.run(&mut app).unwrap();
}

enum Order {
    Line(String),
    /// The time of `busy` is up.
    Stop,
    Ping(ConnId),
    End,
}

#[derive(PartialEq)]
enum Task {
    Open,
    Echo,
    Busy,
    Ping(Duration),
    None,
}

struct Client {
    channel: Option<ChannelId>,
    /// Bytes that are to come back.
    awaited: usize,
    received: u64,
    busy: bool,
    sent_at: Instant,
}

struct Clients {
    addr: SocketAddr,
    config: Arc<ClientConfig>,
    descriptors: usize,
    wanted: usize,
    at_once: usize,
    starting: usize,
    clients: BTreeMap<ConnId, Client>,
    task: Task,
    failed: usize,
    /// Echoes that have not come back.
    left: usize,
    pings: Vec<f64>,
    plain: Arc<Mutex<Vec<f64>>>,
}

/// How many, and the median, the 99th percentile and the longest.
fn percentiles(mut samples: Vec<f64>) -> [f64; 4] {
    samples.sort_by(f64::total_cmp);
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize];
    [samples.len() as f64, at(0.5), at(0.99), at(1.0)]
}

fn ping_plain(addr: SocketAddr, samples: &Mutex<Vec<f64>>) {
    let mut socket = TcpStream::connect(addr).unwrap();
    socket.set_nodelay(true).unwrap();
    loop {
        let start = Instant::now();
        if socket.write_all(b"ping").and_then(|()| socket.read_exact(&mut [0; 4])).is_err() {
            return;
        }
        samples.lock().unwrap().push(start.elapsed().as_secs_f64() * 1000.0);
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn say(word: &str, numbers: &[f64]) {
    let numbers: Vec<String> = numbers.iter().map(|n| format!("{n:.3}")).collect();
    println!("load: {word} {}", numbers.join(" "));
}

impl Clients {
    fn open_more(&mut self, hub: &mut Hub<Order>) {
        while self.starting < self.at_once && self.clients.len() < self.wanted {
            let id = hub.connect(self.addr, self.config.clone()).unwrap();
            let client =
                Client { channel: None, awaited: 0, received: 0, busy: false, sent_at: Instant::now() };
            self.clients.insert(id, client);
            self.starting += 1;
        }
        if self.starting == 0 && self.task == Task::Open {
            self.task = Task::None;
            say("open", &[self.clients.len() as f64, self.failed as f64]);
        }
    }

    fn order(&mut self, line: &str, hub: &mut Hub<Order>) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| words[i].parse::<usize>().unwrap();
        match words[0] {
            "open" => {
                (self.wanted, self.at_once) = (self.wanted + number(1), number(2));
                assert!(
                    self.wanted + 50 < self.descriptors,
                    "{} connections need more descriptors than the {} of this process (ulimit -n)",
                    self.wanted,
                    self.descriptors
                );
                self.task = Task::Open;
                self.open_more(hub);
            }
            "echo" => {
                (self.task, self.left) = (Task::Echo, self.clients.len());
                for (id, client) in &mut self.clients {
                    let Some(conn) = hub.client(*id) else { continue };
                    client.awaited =
                        conn.write(client.channel.unwrap(), DataStream::Data, &[b'e'; 64]).unwrap();
                }
            }
            "busy" => {
                self.task = Task::Busy;
                hub.after(Duration::from_secs(number(2) as u64), Order::Stop);
                for (id, client) in self.clients.iter_mut().take(number(1)) {
                    (client.busy, client.received) = (true, 0);
                    if let Some(conn) = hub.client(*id) {
                        client.fill(conn);
                    }
                }
            }
            "ping" => {
                self.task = Task::Ping(Duration::from_millis(number(2) as u64));
                let ids: Vec<ConnId> = self.clients.keys().take(number(1)).copied().collect();
                for (i, id) in ids.into_iter().enumerate() {
                    hub.after(Duration::from_millis(i as u64 % 20), Order::Ping(id));
                }
                say("ping", &[]);
            }
            "pings" => say("pings", &percentiles(std::mem::take(&mut self.pings))),
            "plain" => {
                let (addr, samples) = (SocketAddr::new(self.addr.ip(), number(1) as u16), self.plain.clone());
                std::thread::spawn(move || ping_plain(addr, &samples));
                say("plain", &[]);
            }
            "plains" => say("plains", &percentiles(std::mem::take(&mut self.plain.lock().unwrap()))),
            other => panic!("{other}"),
        }
    }

    fn on_data(&mut self, id: ConnId, conn: &mut ClientConnection, n: usize, hub: &mut Hub<Order>) {
        let client = self.clients.get_mut(&id).unwrap();
        conn.consume(client.channel.unwrap(), n).unwrap();
        client.received += n as u64;
        client.awaited = client.awaited.saturating_sub(n);
        match self.task {
            Task::Echo if client.awaited == 0 => {
                self.left -= 1;
                if self.left > 0 {
                    return;
                }
                self.task = Task::None;
                say("echo", &[self.clients.len() as f64]);
            }
            Task::Ping(pause) if client.awaited == 0 => {
                self.pings.push(client.sent_at.elapsed().as_secs_f64() * 1000.0);
                hub.after(pause, Order::Ping(id));
            }
            Task::Busy if client.busy => client.fill(conn),
            _ => {}
        }
    }
}

impl Client {
    fn fill(&mut self, conn: &mut ClientConnection) {
        let block = [b'b'; 16 * 1024];
        while conn.write(self.channel.unwrap(), DataStream::Data, &block).unwrap() == block.len() {}
    }
}

impl App for Clients {
    type Message = Order;

    fn on_client_event(
        &mut self,
        id: ConnId,
        conn: &mut ClientConnection,
        event: ClientEvent<'_>,
        hub: &mut Hub<Order>,
    ) {
        match event {
            ClientEvent::Auth(ClientAuth::HostKey(ticket)) => {
                conn.decide_host_key(ticket, Decision::Accept).unwrap()
            }
            ClientEvent::Auth(ClientAuth::Needed { .. }) => {
                conn.authenticate("alice", AuthRequest::Password(&Password::new("wonderland"))).unwrap();
            }
            ClientEvent::Authenticated { .. } => drop(conn.open(OpenKind::Session).unwrap()),
            ClientEvent::Opened(channel) => {
                conn.request(channel, ChannelRequest::Shell, WantReply::Yes).unwrap()
            }
            ClientEvent::Channel(channel, ChannelEvent::RequestDone { ok }) => {
                assert!(ok);
                self.clients.get_mut(&id).unwrap().channel = Some(channel);
                self.starting -= 1;
                self.open_more(hub);
            }
            ClientEvent::Channel(_, ChannelEvent::Data { data, .. }) => {
                self.on_data(id, conn, data.len(), hub);
            }
            ClientEvent::Channel(_, ChannelEvent::Writable) => {
                let client = self.clients.get_mut(&id).unwrap();
                if client.busy {
                    client.fill(conn);
                }
            }
            _ => {}
        }
    }

    fn on_closed(&mut self, id: ConnId, why: Closed, hub: &mut Hub<Order>) {
        let client = self.clients.remove(&id).unwrap();
        if !matches!(why, Closed::Local) {
            eprintln!("a client ended: {why}");
        }
        if client.channel.is_none() {
            self.failed += 1;
            self.starting -= 1;
            self.wanted -= 1;
            self.open_more(hub);
        }
    }

    fn on_message(&mut self, order: Order, hub: &mut Hub<Order>) {
        match order {
            Order::Line(line) => self.order(&line, hub),
            Order::Stop => {
                self.task = Task::None;
                let busy = || self.clients.values().filter(|c| c.busy).map(|c| c.received);
                let (least, most, sum) = (busy().min().unwrap(), busy().max().unwrap(), busy().sum::<u64>());
                say("busy", &[least as f64, most as f64, sum as f64]);
                self.clients.values_mut().for_each(|c| c.busy = false);
            }
            Order::Ping(id) => {
                let Some(client) = self.clients.get_mut(&id) else { return };
                let Some(conn) = hub.client(id) else { return };
                client.sent_at = Instant::now();
                client.awaited = conn.write(client.channel.unwrap(), DataStream::Data, b"ping").unwrap();
            }
            Order::End => hub.drain(Duration::ZERO),
        }
    }
}
