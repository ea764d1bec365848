//! Applications for the two ends of a [`Pair`](crate::Pair).

use std::collections::VecDeque;
use std::sync::Arc;

use konko_core::auth::{Method, MethodSet};
use konko_core::channel::{ChannelEvent, ChannelId, ChannelRequest, DataStream, Exit, OpenFailure, OpenKind};
use konko_core::client::{AuthRequest, HostKeyTicket, Password};
use konko_core::keys::{KeyPair, PublicKey, SignatureAlgorithm};
use konko_core::server::{AuthDecision, Challenge, Credential};
use konko_core::*;

use crate::App;

/// One way for the client to authenticate.
#[derive(Clone)]
pub enum Proof {
    /// The method `none`.
    None,
    /// A password.
    Password(&'static str),
    /// The old password and the new one, which the server has asked for.
    Change(&'static str, &'static str),
    /// A key, with its signature at once.
    Key(Arc<KeyPair>, SignatureAlgorithm),
    /// Whether this key would do; what follows is the next proof.
    Probe(PublicKey, SignatureAlgorithm),
    /// A key whose signature is asked for, as from an agent.
    External(Arc<KeyPair>, SignatureAlgorithm),
    /// Answers to the server's questions.
    Interactive(Vec<&'static str>),
}

/// What one channel of the client saw.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
pub struct Seen {
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error.
    pub err: Vec<u8>,
    /// It ended.
    pub eof: bool,
    /// The status of the program, or the name of its signal.
    pub exit: Option<String>,
    /// The channel is closed on both sides.
    pub closed: bool,
    /// The answers to its requests.
    pub granted: Vec<bool>,
    /// The server took it.
    pub opened: bool,
}

/// A client that logs in, runs one command, sends `input`, and reads what comes.
pub struct Shell {
    /// The user's name.
    pub user: String,
    /// What is tried, one after the other.
    pub proofs: VecDeque<Proof>,
    /// The one that is being tried.
    pub current: Option<Proof>,
    /// What is run; `None`: it only logs in.
    pub command: Option<String>,
    /// What the program gets.
    pub input: Vec<u8>,
    /// So much of it is written.
    pub written: usize,
    /// Say EOF after it; false once that is said.
    pub finish: bool,
    /// What is said of the host key; `None` keeps the ticket.
    pub accept_host_key: Option<bool>,
    /// Its channel, once it is asked for.
    pub channel: Option<ChannelId>,
    /// What came.
    pub seen: Seen,
    /// All events but those about data, in `Debug` form.
    pub log: Vec<String>,
    /// Every method that the server named.
    pub methods: Vec<String>,
    /// The question that was kept.
    pub host_key_ticket: Option<HostKeyTicket>,
    /// How often keys were renewed.
    pub rekeyed: u32,
    /// Do not give credit back.
    pub hold: bool,
    /// Reasons for which channels were refused (RFC 4254 §5.1).
    pub failed_opens: Vec<u32>,
}

impl Shell {
    /// Logs in as alice with her password and runs this.
    pub fn new(command: &str) -> Self {
        Shell {
            user: "alice".into(),
            proofs: VecDeque::from([Proof::Password("wonderland")]),
            current: None,
            command: Some(command.into()),
            input: Vec::new(),
            written: 0,
            finish: true,
            accept_host_key: Some(true),
            channel: None,
            seen: Seen::default(),
            log: Vec::new(),
            methods: Vec::new(),
            host_key_ticket: None,
            rekeyed: 0,
            hold: false,
            failed_opens: Vec::new(),
        }
    }

    /// The same, and the program gets this.
    pub fn with_input(mut self, input: Vec<u8>) -> Self {
        self.input = input;
        self
    }

    /// The same, and logs in like this.
    pub fn with_proofs(mut self, proofs: impl IntoIterator<Item = Proof>) -> Self {
        self.proofs = proofs.into_iter().collect();
        self
    }

    /// Logs in like this and does nothing more.
    pub fn login(proofs: impl IntoIterator<Item = Proof>) -> Self {
        let mut shell = Shell::new("").with_proofs(proofs);
        shell.command = None;
        shell
    }

    fn pump(&mut self, conn: &mut ClientConnection) {
        let Some(channel) = self.channel.filter(|_| self.seen.opened && !self.seen.closed) else { return };
        if self.written < self.input.len() {
            let n = conn.write(channel, DataStream::Data, &self.input[self.written..]).unwrap_or(0);
            self.written += n;
        }
        if self.written == self.input.len() && self.finish {
            self.finish = false;
            let _ = conn.send_eof(channel);
        }
    }

    fn authenticate(&mut self, conn: &mut ClientConnection) {
        let Some(proof) = self.proofs.pop_front() else { return };
        let user = self.user.clone();
        let password = |p: &str| Password::new(p.as_bytes());
        self.current = Some(proof.clone());
        match proof {
            Proof::None => conn.authenticate(&user, AuthRequest::None),
            Proof::Password(p) => conn.authenticate(&user, AuthRequest::Password(&password(p))),
            Proof::Change(old, new) => {
                let (old, new) = (password(old), password(new));
                conn.authenticate(&user, AuthRequest::PasswordChange { old: &old, new: &new })
            }
            Proof::Key(key, algorithm) => {
                conn.authenticate(&user, AuthRequest::PublicKey { key: &key, algorithm })
            }
            Proof::Probe(key, algorithm) => {
                conn.authenticate(&user, AuthRequest::ProbeKey { key: &key, algorithm })
            }
            Proof::External(key, algorithm) => {
                conn.authenticate(&user, AuthRequest::ExternalKey { key: key.public(), algorithm })
            }
            Proof::Interactive(_) => conn.authenticate(&user, AuthRequest::KeyboardInteractive),
        }
        .unwrap();
    }
}

impl App<client::ClientSide> for Shell {
    fn on_event(&mut self, conn: &mut ClientConnection, event: ClientEvent<'_>) {
        if !matches!(event, ClientEvent::Channel(_, ChannelEvent::Data { .. } | ChannelEvent::Writable)) {
            self.log.push(format!("{event:?}"));
        }
        match event {
            ClientEvent::Auth(ClientAuth::HostKey(ticket)) => match self.accept_host_key {
                Some(accept) => conn.decide_host_key(ticket, Decision::accept_if(accept)).unwrap(),
                None => self.host_key_ticket = Some(ticket),
            },
            ClientEvent::Auth(ClientAuth::Needed { methods, .. }) => {
                self.methods.extend(methods.map(|m| m.as_str().to_string()));
                self.authenticate(conn);
            }
            ClientEvent::Auth(ClientAuth::KeyAccepted)
            | ClientEvent::Auth(ClientAuth::PasswordExpired { .. }) => self.authenticate(conn),
            ClientEvent::Auth(ClientAuth::Sign(ticket)) => {
                let Some(Proof::External(key, algorithm)) = self.current.clone() else { panic!("no key") };
                let message = conn.sign_request(&ticket).unwrap().message.to_vec();
                let mut rng = Rng::from_seed(&Seed::new([5; 32]));
                let signature = key.sign(algorithm, &message, &mut rng).unwrap();
                conn.provide_signature(ticket, &signature).unwrap();
            }
            ClientEvent::Auth(ClientAuth::Prompts { ticket, prompts }) => {
                let Some(Proof::Interactive(answers)) = self.current.clone() else { panic!() };
                let count = prompts.prompts().count();
                conn.answer_prompts(ticket, &answers[..count.min(answers.len())]).unwrap();
            }
            ClientEvent::Authenticated { .. } if self.command.is_some() => {
                self.channel = Some(conn.open(OpenKind::Session).unwrap());
            }
            ClientEvent::Opened(id) => {
                self.seen.opened = true;
                let command = self.command.clone().unwrap();
                let exec = ChannelRequest::Exec(wire::SshStr::new(command.as_bytes()));
                conn.request(id, exec, WantReply::Yes).unwrap();
                self.pump(conn);
            }
            ClientEvent::OpenFailed { why, .. } => self.failed_opens.push(why.0),
            ClientEvent::Rekeyed => self.rekeyed += 1,
            ClientEvent::Channel(id, event) => match event {
                ChannelEvent::Data { stream, data } => {
                    match stream {
                        DataStream::Data => self.seen.out.extend_from_slice(data),
                        DataStream::Stderr => self.seen.err.extend_from_slice(data),
                    }
                    if !self.hold {
                        conn.consume(id, data.len()).unwrap();
                    }
                }
                ChannelEvent::Eof => self.seen.eof = true,
                ChannelEvent::Exit(Exit::Status(n)) => self.seen.exit = Some(n.to_string()),
                ChannelEvent::Exit(Exit::Signal { signal, .. }) => self.seen.exit = Some(signal.to_string()),
                ChannelEvent::Closed => self.seen.closed = true,
                ChannelEvent::RequestDone { ok } => self.seen.granted.push(ok),
                ChannelEvent::Writable => self.pump(conn),
                ChannelEvent::Request { ticket: Some(ticket), .. } => {
                    conn.reply(ticket, Decision::Reject).unwrap();
                }
                _ => {}
            },
            ClientEvent::Open { ticket, .. } => {
                conn.reject_channel(ticket, OpenFailure::ADMINISTRATIVELY_PROHIBITED, "no").unwrap();
            }
            ClientEvent::GlobalRequest { ticket: Some(ticket), .. } => {
                conn.reply_global(ticket, Decision::Reject, None).unwrap();
            }
            _ => {}
        }
    }

    fn idle(&mut self, conn: &mut ClientConnection) {
        self.pump(conn);
    }
}

/// A program on a channel of the server.
#[derive(Debug)]
pub enum Program {
    /// Sends back what comes; exit status 0 at EOF.
    Echo(VecDeque<u8>),
    /// Counts what comes; prints the number at EOF.
    Count(u64),
    /// Sends so many bytes.
    Source(u64),
    /// Ends at once.
    Exit,
}

/// Bytes that a [`Program::Source`] sends.
pub fn source_byte(i: u64) -> u8 {
    (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// A program that runs.
pub struct Running {
    /// Its channel.
    pub id: ChannelId,
    /// What it does.
    pub program: Program,
    /// Its input has ended.
    pub eof: bool,
    /// What it has sent so far.
    pub sent: u64,
    /// It has ended.
    pub done: bool,
}

/// A server with one user and a few programs: `echo`, `count`, `source N`, `exit N`, `signal NAME`.
pub struct Host {
    /// The user who may come in.
    pub user: String,
    /// With this password,
    pub password: &'static str,
    /// with any of these keys,
    pub keys: Vec<PublicKey>,
    /// or with these answers.
    pub answers: Vec<&'static str>,
    /// After the first right proof, ask for these.
    pub second: Option<MethodSet>,
    /// The password is right and has to be changed, to `fresh`.
    pub expired: bool,
    /// What runs.
    pub running: Vec<Running>,
    /// All events but those about data, in `Debug` form.
    pub log: Vec<String>,
    /// What was tried: the user and the kind of proof.
    pub attempts: Vec<String>,
    /// How often keys were renewed.
    pub rekeyed: u32,
    /// Never answer authentication.
    pub mute: bool,
}

impl Default for Host {
    fn default() -> Self {
        Host {
            user: "alice".into(),
            password: "wonderland",
            keys: Vec::new(),
            answers: vec!["blue", "42"],
            second: None,
            expired: false,
            running: Vec::new(),
            log: Vec::new(),
            attempts: Vec::new(),
            rekeyed: 0,
            mute: false,
        }
    }
}

impl Host {
    fn judge(&mut self, user: &str, credential: &Credential<'_>) -> AuthDecision {
        let right = match credential {
            Credential::None => false,
            Credential::Password(p) => {
                if self.expired && *p == self.password.as_bytes() {
                    return AuthDecision::PasswordExpired {
                        prompt: "too\told:\r\n\u{1b}[1mchange it".into(),
                    };
                }
                *p == self.password.as_bytes()
            }
            Credential::PasswordChange { old, new } => *old == self.password.as_bytes() && *new == b"fresh",
            Credential::KeyboardInteractive { .. } => {
                return AuthDecision::Challenge(Challenge {
                    name: "quiz".into(),
                    instruction: "answer".into(),
                    prompts: vec![("Colour? ".into(), true), ("Number? ".into(), false)],
                });
            }
            Credential::Answers(a) => a.iter().eq(self.answers.iter().map(|s| s.as_bytes())),
            _ => false,
        };
        self.verdict(right && user == self.user)
    }

    fn verdict(&mut self, right: bool) -> AuthDecision {
        match (right, self.second.take()) {
            (true, None) => AuthDecision::Accept,
            (true, Some(more)) => AuthDecision::Partial(more),
            (false, more) => {
                self.second = more;
                AuthDecision::Reject
            }
        }
    }

    fn start(&mut self, conn: &mut ServerConnection, id: ChannelId, command: &str) -> bool {
        let (name, arg) = command.split_once(' ').unwrap_or((command, ""));
        let program = match name {
            "echo" => Program::Echo(VecDeque::new()),
            "count" => Program::Count(0),
            "source" => Program::Source(arg.parse().unwrap()),
            "exit" => {
                let status = ChannelRequest::ExitStatus(arg.parse().unwrap());
                conn.request(id, status, WantReply::No).unwrap();
                Program::Exit
            }
            "signal" => {
                let signal = ChannelRequest::ExitSignal {
                    signal: wire::SshStr::new(arg.as_bytes()),
                    core_dumped: false,
                    message: wire::SshStr::new(b"gone"),
                };
                conn.request(id, signal, WantReply::No).unwrap();
                Program::Exit
            }
            _ => return false,
        };
        self.running.push(Running { id, program, eof: false, sent: 0, done: false });
        true
    }

    /// Lets the programs go on.
    pub fn pump(&mut self, conn: &mut ServerConnection) {
        for run in self.running.iter_mut().filter(|r| !r.done) {
            let id = run.id;
            let status = |n| ChannelRequest::ExitStatus(n);
            let finished = match &mut run.program {
                Program::Echo(held) => {
                    while !held.is_empty() {
                        let (front, _) = held.as_slices();
                        let n = conn.write(id, DataStream::Data, front).unwrap_or(0);
                        held.drain(..n);
                        conn.consume(id, n).unwrap();
                        if n == 0 {
                            break;
                        }
                    }
                    run.eof && held.is_empty()
                }
                Program::Count(n) => {
                    if run.eof {
                        let text = n.to_string();
                        conn.write(id, DataStream::Data, text.as_bytes()).unwrap() == text.len()
                    } else {
                        false
                    }
                }
                Program::Source(total) => {
                    while run.sent < *total {
                        let want = (*total - run.sent).min(32768) as usize;
                        let Some(mut slot) = conn.slot(id, DataStream::Data, want).unwrap() else { break };
                        let room = slot.bytes();
                        let n = room.len();
                        for (i, b) in room.iter_mut().enumerate() {
                            *b = source_byte(run.sent + i as u64);
                        }
                        slot.commit(n);
                        run.sent += n as u64;
                    }
                    run.sent == *total
                }
                Program::Exit => {
                    run.done = true;
                    conn.send_eof(id).unwrap();
                    conn.close_channel(id).unwrap();
                    continue;
                }
            };
            if finished {
                run.done = true;
                conn.request(id, status(0), WantReply::No).unwrap();
                conn.send_eof(id).unwrap();
                conn.close_channel(id).unwrap();
            }
        }
    }
}

impl App<server::ServerSide> for Host {
    fn on_event(&mut self, conn: &mut ServerConnection, event: ServerEvent<'_>) {
        if !matches!(event, ServerEvent::Channel(_, ChannelEvent::Data { .. } | ChannelEvent::Writable)) {
            self.log.push(format!("{event:?}"));
        }
        match event {
            ServerEvent::Auth(ServerAuth::Probe { ticket, key, signed, .. }) => {
                if !signed {
                    self.attempts.push("probe".into());
                }
                conn.decide_probe(ticket, Decision::accept_if(self.keys.contains(&key))).unwrap();
            }
            ServerEvent::Auth(ServerAuth::Signed { ticket, key }) => {
                let user = conn.user().unwrap().to_string();
                let right = self.keys.contains(key.key()) && user == self.user;
                self.attempts.push(format!("{user} PublicKey"));
                let verdict = self.verdict(right);
                conn.decide_auth(ticket, verdict).unwrap();
            }
            ServerEvent::Auth(ServerAuth::Attempt { ticket, credential, .. }) => {
                if self.mute {
                    return;
                }
                let user = conn.user().unwrap().to_string();
                let verdict = self.judge(&user, &credential);
                self.attempts
                    .push(format!("{user} {credential:?}").split(['(', '{']).next().unwrap().trim().into());
                conn.decide_auth(ticket, verdict).unwrap();
            }
            ServerEvent::Job(job) => conn.finish_job(job.run()).unwrap(),
            ServerEvent::Rekeyed => self.rekeyed += 1,
            ServerEvent::Open { ticket, kind: OpenKind::Session } => {
                conn.accept_channel(ticket).unwrap();
            }
            ServerEvent::Open { ticket, .. } => {
                conn.reject_channel(ticket, OpenFailure::UNKNOWN_CHANNEL_TYPE, "unknown").unwrap();
            }
            ServerEvent::GlobalRequest { ticket: Some(ticket), .. } => {
                conn.reply_global(ticket, Decision::Reject, None).unwrap();
            }
            ServerEvent::Channel(id, event) => match event {
                ChannelEvent::Request { ticket, request } => {
                    let ok = match request {
                        ChannelRequest::Exec(command) => {
                            let command = command.to_str().unwrap().to_string();
                            self.start(conn, id, &command)
                        }
                        ChannelRequest::Pty(_) | ChannelRequest::Env { .. } => true,
                        _ => false,
                    };
                    if let Some(ticket) = ticket {
                        conn.reply(ticket, Decision::accept_if(ok)).unwrap();
                    }
                    self.pump(conn);
                }
                ChannelEvent::Data { data, .. } => {
                    let run = self.running.iter_mut().find(|r| r.id == id);
                    match run.map(|r| &mut r.program) {
                        Some(Program::Echo(held)) => held.extend(data),
                        Some(Program::Count(n)) => {
                            *n += data.len() as u64;
                            conn.consume(id, data.len()).unwrap();
                        }
                        _ => conn.consume(id, data.len()).unwrap(),
                    }
                    self.pump(conn);
                }
                ChannelEvent::Eof => {
                    for r in self.running.iter_mut().filter(|r| r.id == id) {
                        r.eof = true;
                    }
                    self.pump(conn);
                }
                ChannelEvent::Closed => self.running.retain(|r| r.id != id),
                ChannelEvent::Writable => self.pump(conn),
                _ => {}
            },
            _ => {}
        }
    }

    fn idle(&mut self, conn: &mut ServerConnection) {
        self.pump(conn);
    }
}

/// Every method on.
pub fn all_methods() -> MethodSet {
    [Method::Password, Method::PublicKey, Method::KeyboardInteractive].into_iter().collect()
}
