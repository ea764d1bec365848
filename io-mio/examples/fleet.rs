//! Runs one command on many hosts from one thread, so many at a time, and prints a table.
//!
//! ```text
//! cargo run --release -p konko-mio --example fleet -- -u root -i ~/.ssh/id_ed25519 -n 100 'uptime' web1 web2:2222 10.0.0.7
//! ```
//!
//! Host keys must be in the files of known hosts that `ssh` has (or that of `-k`); with `-a` a host that no file
//! knows is accepted and added. The keys of the agent are tried first (`SSH_AUTH_SOCK`); `-i` names an unencrypted private key; without it the password is taken from the
//! environment variable `FLEET_PASSWORD`.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use konko::{Agent, AgentSocket, known_hosts};
use konko_mio::core::channel::{ChannelEvent, ChannelId, ChannelRequest, Exit, OpenKind};
use konko_mio::core::client::Password;
use konko_mio::core::hosts::{
    self, ANNOUNCEMENT, Checked, Checking, HostKeyCheck, HostKeysUpdate, KnownHosts, NextOfUpdate, PROOF,
    Settled, Trust, Unknown,
};
use konko_mio::core::keys::{KeyPair, PrivateKey};
use konko_mio::core::login::{Answer, Login, LoginMethod, Question};
use konko_mio::core::wire::SshStr;
use konko_mio::core::{
    ClientAuth, ClientConfig, ClientConnection, ClientEvent, Rng, TransportConfig, provider,
};
use konko_mio::core::{Decision, WantReply};
use konko_mio::{App, Closed, ConnId, Hub, Loop, Settings, Workers, seed_from_os};

/// Output of a host that is kept.
const MAX_OUTPUT: usize = 64 * 1024;

/// What is to be done, and as whom.
pub(crate) struct Plan {
    pub(crate) user: String,
    /// An agent whose keys are tried first.
    pub(crate) agent: Option<AgentSocket>,
    pub(crate) key: Option<Arc<KeyPair>>,
    pub(crate) password: Option<Password>,
    pub(crate) trust: Trust,
    pub(crate) known: Arc<KnownHosts>,
    pub(crate) at_once: usize,
    pub(crate) timeout: Duration,
    pub(crate) command: String,
    pub(crate) hosts: Vec<(String, u16)>,
}

/// How it went on one host.
pub(crate) struct Outcome {
    pub(crate) host: String,
    /// The exit status, or what went wrong.
    pub(crate) result: Result<u32, String>,
    pub(crate) output: Vec<u8>,
    pub(crate) took: Duration,
}

struct Host {
    index: usize,
    channel: Option<ChannelId>,
    login: Login,
    /// The connection to the agent, while nobody uses it.
    agent: Option<Agent>,
    started: Instant,
    exit: Option<Result<u32, String>>,
    output: Vec<u8>,
    /// How the host's key was accepted.
    settled: Option<Settled>,
    /// Keys that it says it has, and has to prove.
    update: Option<HostKeysUpdate>,
}

struct Fleet {
    plan: Plan,
    waiting: VecDeque<usize>,
    /// Looked up or connected.
    active: usize,
    hosts: BTreeMap<ConnId, Host>,
    outcomes: Vec<Option<Outcome>>,
    bar: ProgressBar,
}

/// What a worker thread does.
type Work = Box<dyn FnOnce() -> Message + Send>;

/// What comes from other threads and from timers.
enum Message {
    Resolved(usize, Result<Vec<SocketAddr>, String>),
    Signed(ConnId, Option<Vec<u8>>),
    /// What the agent said, and the connection to it.
    Agent(ConnId, Option<Agent>, Result<Vec<u8>, String>),
    Late(ConnId),
}

impl App for Fleet {
    type Message = Message;

    fn on_client_event(
        &mut self,
        id: ConnId,
        conn: &mut ClientConnection,
        event: ClientEvent<'_>,
        hub: &mut Hub<Message>,
    ) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let Some(event) = host.login.event(conn, event) else {
            if let Some(work) = host.log_in(id, conn, &self.plan) {
                hub.spawn(work);
            }
            return;
        };
        // What cannot be done now is noticed when the connection ends.
        let _ = match event {
            ClientEvent::Auth(ClientAuth::HostKey(ticket)) => {
                let check = self.plan.check(host.index);
                let settled = match conn.offered_host_key().map(|key| check.decide(key)) {
                    Some(Checked::Settled(settled)) => Some(settled),
                    // Nobody sits there.
                    Some(Checked::Ask(unknown)) => Some(unknown.answer(hosts::Answer::Reject)),
                    None => None,
                };
                let believed = matches!(settled, Some(Settled::Accept { .. }));
                match &settled {
                    Some(Settled::Accept { remember: Some(new), .. }) => {
                        if let Err(e) = known_hosts::append(new) {
                            eprintln!("warning: {new} is not remembered: {e}");
                        }
                    }
                    Some(Settled::Reject(why) | Settled::Tolerate(why)) => {
                        host.exit = Some(Err(why.to_string()));
                    }
                    _ => {}
                }
                host.settled = settled;
                conn.decide_host_key(ticket, Decision::accept_if(believed))
            }
            ClientEvent::Authenticated { .. } => conn.open(OpenKind::Session).map(drop),
            ClientEvent::Opened(channel) => {
                host.channel = Some(channel);
                let command = SshStr::new(self.plan.command.as_bytes());
                conn.request(channel, ChannelRequest::Exec(command), WantReply::Yes)
            }
            ClientEvent::Channel(channel, event) => return host.on_channel(conn, channel, event),
            ClientEvent::GlobalRequest { ticket: None, request }
                if request.name.as_bytes() == ANNOUNCEMENT.as_bytes() =>
            {
                return host.told(conn, &self.plan, request.fields);
            }
            ClientEvent::GlobalReply { ok, fields } => return host.proved(conn, ok, fields),
            ClientEvent::GlobalRequest { ticket: Some(ticket), .. } => {
                conn.reply_global(ticket, Decision::Reject, None)
            }
            _ => Ok(()),
        };
    }

    fn on_closed(&mut self, id: ConnId, why: Closed, hub: &mut Hub<Message>) {
        let Some(host) = self.hosts.remove(&id) else { return };
        let result = host.exit.unwrap_or_else(|| Err(why.to_string()));
        self.done(host.index, result, host.output, host.started, hub);
    }

    fn on_message(&mut self, message: Message, hub: &mut Hub<Message>) {
        match message {
            Message::Resolved(index, addrs) => {
                let started = Instant::now();
                let connected = addrs
                    .and_then(|a| hub.connect_any(a, self.plan.config(index)).map_err(|e| e.to_string()));
                match connected {
                    Ok(id) => {
                        let host = Host {
                            index,
                            channel: None,
                            login: self.plan.login(),
                            agent: None,
                            started,
                            exit: None,
                            output: Vec::new(),
                            settled: None,
                            update: None,
                        };
                        self.hosts.insert(id, host);
                        hub.after(self.plan.timeout, Message::Late(id));
                    }
                    Err(why) => self.done(index, Err(why), Vec::new(), started, hub),
                }
            }
            Message::Signed(id, signature) => {
                if let (Some(host), Some(conn)) = (self.hosts.get_mut(&id), hub.client(id)) {
                    let answer = signature.map_or(Answer::No, Answer::Signature);
                    let _ = host.login.answer(conn, answer);
                }
            }
            Message::Agent(id, agent, said) => {
                let (Some(host), Some(conn)) = (self.hosts.get_mut(&id), hub.client(id)) else { return };
                host.agent = agent;
                let _ = host.login.answer(conn, Answer::Agent(said));
                if let Some(work) = host.log_in(id, conn, &self.plan) {
                    hub.spawn(work);
                }
            }
            Message::Late(id) => {
                if let (Some(host), Some(conn)) = (self.hosts.get_mut(&id), hub.client(id)) {
                    host.exit = Some(Err(format!("not done within {:?}", self.plan.timeout)));
                    conn.disconnect(konko_mio::core::msg::DisconnectCode::BY_APPLICATION, "timed out");
                }
            }
        }
    }
}

impl Host {
    /// The host tells which keys it has (`UpdateHostKeys`).
    fn told(&mut self, conn: &mut ClientConnection, plan: &Plan, fields: &[u8]) {
        let Some(settled) = self.settled.take() else { return };
        let (allowed, min) = (&conn.config().algorithms.host_key, conn.config().limits.rsa_bits);
        let Ok(mut update) = plan.check(self.index).update(&settled, fields, allowed, min) else { return };
        match known_hosts::decide(&mut update) {
            NextOfUpdate::Prove(fields) => {
                let asked = conn.request_global(PROOF, &fields, WantReply::Yes);
                self.update = asked.is_ok().then_some(update);
            }
            NextOfUpdate::Change(changes) => drop(known_hosts::apply(&changes)),
            NextOfUpdate::Nothing(_) => {}
        }
    }

    fn proved(&mut self, conn: &mut ClientConnection, ok: bool, fields: &[u8]) {
        let (Some(update), Some(id), Some(agreed)) =
            (self.update.take(), conn.session_id(), conn.negotiated())
        else {
            return;
        };
        if let Ok(changes) = update.proved(provider::best(), id.as_bytes(), agreed.host_key, ok, fields) {
            known_hosts::apply(&changes).iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

impl Fleet {
    fn start_more(&mut self, hub: &mut Hub<Message>) {
        while self.active < self.plan.at_once
            && let Some(index) = self.waiting.pop_front()
        {
            self.active += 1;
            let (name, port) = self.plan.hosts[index].clone();
            hub.spawn(move || {
                let found = (name.as_str(), port).to_socket_addrs().map_err(|e| e.to_string());
                Message::Resolved(index, found.map(Iterator::collect))
            });
        }
        if self.active == 0 {
            self.bar.finish_and_clear();
            hub.drain(Duration::ZERO);
        }
    }

    fn done(
        &mut self,
        index: usize,
        result: Result<u32, String>,
        output: Vec<u8>,
        started: Instant,
        hub: &mut Hub<Message>,
    ) {
        let (host, port) = &self.plan.hosts[index];
        let host = if *port == 22 { host.clone() } else { format!("{host}:{port}") };
        self.outcomes[index] = Some(Outcome { host, result, output, took: started.elapsed() });
        self.active -= 1;
        self.bar.inc(1);
        self.start_more(hub);
    }
}

impl Plan {
    /// Whether to believe a host; nobody is asked.
    fn check(&self, index: usize) -> HostKeyCheck {
        let (name, port) = &self.hosts[index];
        HostKeyCheck::new(name, *port, self.trust.clone(), Arc::clone(&self.known))
    }

    /// The host is asked for keys that are known first.
    fn config(&self, index: usize) -> Arc<ClientConfig> {
        let mut transport = TransportConfig::new(provider::best());
        transport.algorithms.prefer_host_keys(&self.check(index).algorithms());
        Arc::new(ClientConfig::new(transport))
    }

    fn login(&self) -> Login {
        let agent = self.agent.as_ref().map(|agent| agent.path().display().to_string());
        let agent = agent.map(|name| LoginMethod::Agent { name });
        let key = self.key.clone().map(LoginMethod::Key);
        let password = self.password.as_ref().map(|_| LoginMethod::Password { tries: 1 });
        Login::new(self.user.clone(), agent.into_iter().chain(key).chain(password)).sign_elsewhere()
    }
}

impl Host {
    /// Answers what the login asks, or says what a worker thread is to do for it: signatures take milliseconds with
    /// RSA, and an agent as long as its user thinks.
    fn log_in(&mut self, id: ConnId, conn: &mut ClientConnection, plan: &Plan) -> Option<Work> {
        while let Some(asked) = self.login.question() {
            let answer = match asked.question {
                Question::Sign { pair: Some(key), algorithm, message, .. } => {
                    return Some(Box::new(move || {
                        let sign = |seed| key.sign(algorithm, &message, &mut Rng::from_seed(&seed)).ok();
                        Message::Signed(id, seed_from_os().ok().and_then(sign))
                    }));
                }
                Question::Agent { send } => {
                    let (agent, socket) = (self.agent.take(), plan.agent.clone()?);
                    return Some(Box::new(move || {
                        let connected = agent.map_or_else(|| Agent::connect(&socket), Ok);
                        match connected.map(|mut agent| (agent.exchange(&send), agent)) {
                            Ok((said, agent)) => {
                                Message::Agent(id, Some(agent), said.map_err(|e| e.to_string()))
                            }
                            Err(e) => Message::Agent(id, None, Err(e.to_string())),
                        }
                    }));
                }
                Question::Password { .. } => {
                    plan.password.as_ref().map_or(Answer::No, |p| Answer::Secret(Password::new(p.expose())))
                }
                _ => Answer::No,
            };
            let _ = self.login.answer(conn, answer);
        }
        if self.login.is_over() {
            self.exit = Some(Err(format!("{} may not log in", plan.user)));
            conn.disconnect(konko_mio::core::msg::DisconnectCode::BY_APPLICATION, "");
        }
        None
    }

    fn on_channel(&mut self, conn: &mut ClientConnection, channel: ChannelId, event: ChannelEvent<'_>) {
        match event {
            ChannelEvent::Data { data, .. } => {
                let room = MAX_OUTPUT.saturating_sub(self.output.len());
                self.output.extend_from_slice(&data[..room.min(data.len())]);
                let _ = conn.consume(channel, data.len());
            }
            ChannelEvent::RequestDone { ok: true } => drop(conn.send_eof(channel)),
            ChannelEvent::RequestDone { ok: false } => {
                self.exit = Some(Err("the server does not run commands".into()));
                let _ = conn.close_channel(channel);
            }
            ChannelEvent::Exit(Exit::Status(status)) => self.exit = Some(Ok(status)),
            ChannelEvent::Exit(Exit::Signal { signal, .. }) => {
                self.exit = Some(Err(format!("ended by SIG{signal}")));
            }
            ChannelEvent::Closed => {
                conn.disconnect(konko_mio::core::msg::DisconnectCode::BY_APPLICATION, "done");
            }
            _ => {}
        }
    }
}

/// Runs the command everywhere. The outcomes are in the order of the hosts.
pub(crate) fn run(plan: Plan, bar: ProgressBar) -> std::io::Result<Vec<Outcome>> {
    let count = plan.hosts.len();
    konko_mio::raise_descriptor_limit(plan.at_once as u64 + 100);
    let settings = Settings::new().workers(Workers::new(4)?);
    let mut clients = Loop::new(settings)?;
    let mut fleet = Fleet {
        waiting: (0..count).collect(),
        active: 0,
        hosts: BTreeMap::new(),
        outcomes: (0..count).map(|_| None).collect(),
        bar,
        plan,
    };
    fleet.start_more(clients.hub());
    clients.run(&mut fleet)?;
    Ok(fleet.outcomes.into_iter().flatten().collect())
}

/// One line a host: its name, its status, how long it took, the first line of what it said.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let mut table = String::new();
    let width = outcomes.iter().map(|o| o.host.len()).max().unwrap_or(0).max(4);
    for o in outcomes {
        let line = o.output.split(|b| *b == b'\n').next().unwrap_or_default();
        let (status, text) = match &o.result {
            Ok(status) => (status.to_string(), SshStr::new(line).excerpt(80)),
            Err(why) => ("-".into(), why.lines().next().unwrap_or_default().to_owned()),
        };
        let _ = writeln!(table, "{:width$}  {status:>3}  {:>8.1?}  {text}", o.host, o.took);
    }
    table
}

#[allow(dead_code, reason = "the tests take this file as a module")]
fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

#[allow(dead_code, reason = "the tests take this file as a module")]
fn main() -> Result<(), Box<dyn Error>> {
    let home = std::env::home_dir().unwrap_or_default();
    let mut checking = Checking::of_home(home.as_os_str().as_bytes());
    let mut key = None;
    let (mut user, mut at_once) = (std::env::var("USER").unwrap_or_default(), 50);
    let mut args = std::env::args().skip(1).peekable();
    while let Some(option) = args.next_if(|arg| arg.starts_with('-')) {
        if option == "-a" {
            checking.unknown = Unknown::AcceptNew;
            continue;
        }
        let value = args.next().ok_or("an option without its value")?;
        match option.as_str() {
            "-u" => user = value,
            "-n" => at_once = value.parse()?,
            "-i" => key = Some(PathBuf::from(value)),
            "-k" => checking.user_files = vec![OsString::from(value).into_vec()],
            _ => {
                return Err(
                    "usage: fleet [-a] [-u USER] [-i KEY] [-k KNOWN_HOSTS] [-n AT_ONCE] COMMAND HOST..."
                        .into(),
                );
            }
        }
    }
    let command = args.next().ok_or("no command")?;
    let hosts: Vec<(String, u16)> = args
        .map(|host| match host.rsplit_once(':').map(|(name, port)| (name, port.parse())) {
            // An address with colons has a port only behind its brackets.
            Some((name, Ok(port))) if !name.contains(':') || name.ends_with(']') => (bare(name), port),
            _ => (bare(&host), 22),
        })
        .collect();
    let key = match key {
        Some(path) => {
            let key = PrivateKey::load(&std::fs::read(path)?, None)?;
            Some(Arc::new(key.key_pair(provider::best())?))
        }
        None => None,
    };
    let trust = Trust::KnownHosts(checking);
    let known = Arc::new(known_hosts::load(&trust));
    for warning in known.warnings().iter().take(10) {
        eprintln!("warning: {warning}");
    }
    let plan = Plan {
        user,
        agent: AgentSocket::from_env(),
        key,
        password: std::env::var("FLEET_PASSWORD").ok().map(Password::new),
        trust,
        known,
        at_once,
        timeout: Duration::from_secs(60),
        command,
        hosts,
    };
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} hosts, {elapsed}")?;
    let bar = ProgressBar::new(plan.hosts.len() as u64).with_style(style);
    print!("{}", table(&run(plan, bar)?));
    Ok(())
}
