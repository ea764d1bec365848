//! What a client and a server do in a session, and how what they see is written down.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use konko_mio::core::auth::Method;
use konko_mio::core::channel::{ChannelEvent, ChannelId, ChannelRequest, DataStream, OpenFailure, OpenKind};
use konko_mio::core::client::{AuthRequest, Password};
use konko_mio::core::crypto::HashAlgorithm;
use konko_mio::core::keys::{KeyPair, KeyType, PrivateKey, SignatureAlgorithm};
use konko_mio::core::msg::DisconnectCode;
use konko_mio::core::server::{AuthDecision, Challenge, Credential};
use konko_mio::core::wire::SshStr;
use konko_mio::core::*;

#[derive(Clone)]
pub enum Proof {
    Password(&'static str),
    Key(Arc<KeyPair>),
    Answers(Vec<&'static str>),
}

#[derive(Clone)]
pub enum Act {
    /// A command and its input.
    Run(&'static str, Vec<u8>),
    Rekey,
    /// A channel that the server does not want.
    OpenRefused,
}

pub struct Scenario {
    pub name: &'static str,
    pub proofs: Vec<Proof>,
    pub acts: Vec<Act>,
}

pub fn scenarios() -> Vec<Scenario> {
    let right = || vec![Proof::Password("wonderland")];
    let run = |command| Act::Run(command, Vec::new());
    let input: Vec<u8> = (0..300_000u32).map(|n| (n * 31 / 7) as u8).collect();
    let scenario = |name, proofs, acts| Scenario { name, proofs, acts };
    vec![
        scenario("a command with both outputs", right(), vec![run("both")]),
        scenario("a command that a signal ends", right(), vec![run("die")]),
        scenario("input that comes back", right(), vec![Act::Run("cat", input.clone())]),
        scenario("a key", vec![Proof::Key(user_key())], vec![run("both")]),
        scenario("questions and answers", vec![Proof::Answers(vec!["blue", "42"])], vec![run("both")]),
        scenario(
            "a wrong key, then a password",
            vec![Proof::Key(support_key()), right().remove(0)],
            vec![run("both")],
        ),
        scenario("what is refused", right(), vec![Act::OpenRefused, run("nonsense"), run("both")]),
        scenario(
            "new keys",
            right(),
            vec![run("both"), Act::Rekey, Act::Run("cat", input), Act::Rekey, run("die")],
        ),
    ]
}

fn key(seed: u8) -> Arc<KeyPair> {
    let key = PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&Seed::new([seed; 32]))).unwrap();
    Arc::new(key.key_pair(provider::best()).unwrap())
}

pub fn user_key() -> Arc<KeyPair> {
    key(9)
}

fn support_key() -> Arc<KeyPair> {
    key(10)
}

pub fn client_config() -> ClientConfig {
    crate::support::client_config()
}

pub fn server_config() -> ServerConfig {
    let mut config = crate::support::server_config();
    config.methods = [Method::PublicKey, Method::Password, Method::KeyboardInteractive].into_iter().collect();
    config
}

pub fn challenge() -> Challenge {
    let prompts = vec![("Colour: ".into(), true), ("Number: ".into(), false)];
    Challenge { name: "Riddle".into(), instruction: "Guess.".into(), prompts }
}

pub fn right<'a>(answers: impl Iterator<Item = &'a [u8]>) -> bool {
    answers.eq([&b"blue"[..], b"42"])
}

/// Events as lines. Adjacent data of a stream is one line.
#[derive(Debug, Default)]
pub struct Trace {
    lines: Vec<String>,
    data: Option<(String, Vec<u8>)>,
    ended: bool,
}

impl Trace {
    fn note(&mut self, line: String) {
        if let Some((stream, bytes)) = self.data.take() {
            let hash = crypto::Digest::of(provider::best(), HashAlgorithm::Sha256, &[&bytes]);
            self.lines.push(format!("{stream}: {} bytes, {:02x?}", bytes.len(), &hash.as_bytes()[..4]));
        }
        self.lines.push(line);
    }

    fn data(&mut self, stream: String, bytes: &[u8]) {
        match &mut self.data {
            Some((same, before)) if *same == stream => before.extend_from_slice(bytes),
            _ => {
                if self.data.is_some() {
                    self.note("-".into());
                    self.lines.pop();
                }
                self.data = Some((stream, bytes.to_vec()));
            }
        }
    }

    pub fn end(&mut self, why: &str) {
        assert!(!std::mem::replace(&mut self.ended, true));
        self.note(format!("end: {why}"));
    }

    pub fn ended(&self) -> bool {
        self.ended
    }

    pub fn lines(self) -> Vec<String> {
        assert!(self.ended);
        self.lines
    }

    fn channel(&mut self, id: ChannelId, event: &ChannelEvent<'_>) {
        match event {
            ChannelEvent::Data { stream, data } => self.data(format!("{id} {stream:?}"), data),
            ChannelEvent::Writable => {}
            ChannelEvent::Request { ticket, request } => {
                self.note(format!("{id} {request:?}, reply {}", ticket.is_some()));
            }
            other => self.note(format!("{id} {other:?}")),
        }
    }
}

/// A client that does what its scenario says, one thing after the other.
pub struct ClientScript {
    pub trace: Trace,
    proofs: VecDeque<Proof>,
    current: Option<Proof>,
    acts: VecDeque<Act>,
    input: Vec<u8>,
}

impl ClientScript {
    pub fn new(scenario: &Scenario) -> Self {
        ClientScript {
            trace: Trace::default(),
            proofs: scenario.proofs.clone().into(),
            current: None,
            acts: scenario.acts.clone().into(),
            input: Vec::new(),
        }
    }

    pub fn on_event(&mut self, conn: &mut ClientConnection, event: ClientEvent<'_>) {
        match &event {
            ClientEvent::Auth(ClientAuth::HostKey(_)) => self.trace.note("HostKey".into()),
            ClientEvent::Auth(ClientAuth::Prompts { prompts, .. }) => {
                self.trace.note(format!("Prompts {:?}", prompts.prompts().collect::<Vec<_>>()));
            }
            ClientEvent::Channel(id, event) => self.trace.channel(*id, event),
            other => self.trace.note(format!("{other:?}")),
        }
        match event {
            ClientEvent::Auth(ClientAuth::HostKey(ticket)) => {
                conn.decide_host_key(ticket, Decision::Accept).unwrap()
            }
            // As the blocking client does it: a key needs no question first.
            ClientEvent::Auth(ClientAuth::Needed { methods: None, .. })
                if !matches!(self.proofs.front(), Some(Proof::Key(_))) =>
            {
                conn.authenticate("alice", AuthRequest::None).unwrap();
            }
            ClientEvent::Auth(ClientAuth::Needed { .. }) => {
                self.current = self.proofs.pop_front();
                let algorithm = SignatureAlgorithm::ED25519;
                match self.current.as_ref().expect("a proof that is taken") {
                    Proof::Password(password) => {
                        conn.authenticate("alice", AuthRequest::Password(&Password::new(*password)))
                    }
                    Proof::Key(key) => conn.authenticate("alice", AuthRequest::PublicKey { key, algorithm }),
                    Proof::Answers(_) => conn.authenticate("alice", AuthRequest::KeyboardInteractive),
                }
                .unwrap();
            }
            ClientEvent::Auth(ClientAuth::Prompts { ticket, prompts }) => {
                let Some(Proof::Answers(answers)) = &self.current else { panic!() };
                conn.answer_prompts(ticket, &answers[..prompts.prompts().count()]).unwrap();
            }
            ClientEvent::Authenticated { .. } | ClientEvent::Rekeyed | ClientEvent::OpenFailed { .. } => {
                self.next(conn);
            }
            ClientEvent::Opened(channel) => {
                let Some(Act::Run(command, input)) = self.acts.pop_front() else { panic!() };
                self.input = input;
                let exec = ChannelRequest::Exec(SshStr::new(command.as_bytes()));
                conn.request(channel, exec, WantReply::Yes).unwrap();
            }
            ClientEvent::Channel(channel, event) => match event {
                ChannelEvent::RequestDone { ok: true } | ChannelEvent::Writable => {
                    let n = conn.write(channel, DataStream::Data, &self.input).unwrap_or(0);
                    self.input.drain(..n);
                    if self.input.is_empty() {
                        let _ = conn.send_eof(channel);
                    }
                }
                ChannelEvent::RequestDone { ok: false } => {
                    // The blocking client sends its input without waiting for the answer.
                    conn.send_eof(channel).unwrap();
                    conn.close_channel(channel).unwrap();
                }
                ChannelEvent::Data { data, .. } => conn.consume(channel, data.len()).unwrap(),
                ChannelEvent::Closed => self.next(conn),
                _ => {}
            },
            _ => {}
        }
    }

    fn next(&mut self, conn: &mut ClientConnection) {
        match self.acts.front() {
            Some(Act::Run(..)) => drop(conn.open(OpenKind::Session).unwrap()),
            Some(Act::Rekey) => {
                self.acts.pop_front();
                conn.rekey().unwrap();
            }
            Some(Act::OpenRefused) => {
                self.acts.pop_front();
                let (host, originator) = (SshStr::new(b"nowhere"), SshStr::new(b"127.0.0.1"));
                conn.open(OpenKind::DirectTcpip { host, port: 1, originator, originator_port: 0 }).unwrap();
            }
            None => conn.disconnect(DisconnectCode::BY_APPLICATION, "closed by the user"),
        }
    }
}

/// A server with three commands: `both`, `cat`, `die`.
#[derive(Default)]
pub struct ServerScript {
    pub trace: Trace,
    /// Channels that echo: what is to be sent, and whether all has come.
    echoes: BTreeMap<ChannelId, (Vec<u8>, bool)>,
}

impl ServerScript {
    pub fn on_event(&mut self, conn: &mut ServerConnection, event: ServerEvent<'_>) {
        match &event {
            ServerEvent::Auth(ServerAuth::Probe { user, algorithm, .. }) => {
                self.trace.note(format!("AuthProbe {user} {algorithm}"))
            }
            ServerEvent::Auth(ServerAuth::Attempt { user, credential, .. }) => {
                self.trace.note(format!("Auth {user} {credential:?}"))
            }
            ServerEvent::Open { kind, .. } => self.trace.note(format!("Open {kind:?}")),
            ServerEvent::Channel(id, event) => self.trace.channel(*id, event),
            other => self.trace.note(format!("{other:?}")),
        }
        match event {
            ServerEvent::Auth(ServerAuth::Probe { ticket, key, .. }) => {
                conn.decide_probe(ticket, Decision::accept_if(*key == *user_key().public())).unwrap();
            }
            ServerEvent::Auth(ServerAuth::Signed { ticket, key }) => {
                let right = key.key() == user_key().public();
                conn.decide_auth(ticket, if right { AuthDecision::Accept } else { AuthDecision::Reject })
                    .unwrap();
            }
            ServerEvent::Auth(ServerAuth::Attempt { ticket, credential, .. }) => {
                let verdict = match credential {
                    Credential::Password(b"wonderland") => AuthDecision::Accept,
                    Credential::KeyboardInteractive { .. } => AuthDecision::Challenge(challenge()),
                    Credential::Answers(answers) if right(answers.iter()) => AuthDecision::Accept,
                    _ => AuthDecision::Reject,
                };
                conn.decide_auth(ticket, verdict).unwrap();
            }
            ServerEvent::Open { ticket, kind: OpenKind::Session } => {
                conn.accept_channel(ticket).unwrap();
            }
            ServerEvent::Open { ticket, .. } => {
                let why = OpenFailure::ADMINISTRATIVELY_PROHIBITED;
                conn.reject_channel(ticket, why, "not allowed here").unwrap();
            }
            ServerEvent::Channel(channel, event) => self.on_channel(conn, channel, event),
            ServerEvent::GlobalRequest { ticket: Some(ticket), .. } => {
                conn.reply_global(ticket, Decision::Reject, None).unwrap();
            }
            _ => {}
        }
    }

    fn on_channel(&mut self, conn: &mut ServerConnection, channel: ChannelId, event: ChannelEvent<'_>) {
        match event {
            ChannelEvent::Request { ticket, request } => {
                let ChannelRequest::Exec(command) = request else { return };
                let known = [&b"both"[..], b"cat", b"die"].contains(&command.as_bytes());
                conn.reply(ticket.unwrap(), Decision::accept_if(known)).unwrap();
                match command.as_bytes() {
                    b"both" => {
                        conn.write(channel, DataStream::Data, b"hello").unwrap();
                        conn.write(channel, DataStream::Stderr, b"oops").unwrap();
                        end(conn, channel, ChannelRequest::ExitStatus(3));
                    }
                    b"cat" => drop(self.echoes.insert(channel, (Vec::new(), false))),
                    b"die" => {
                        let (signal, message) = (SshStr::new(b"TERM"), SshStr::new(b"enough"));
                        end(
                            conn,
                            channel,
                            ChannelRequest::ExitSignal { signal, core_dumped: false, message },
                        );
                    }
                    _ => {}
                }
            }
            ChannelEvent::Data { data, .. } => {
                if let Some((backlog, _)) = self.echoes.get_mut(&channel) {
                    backlog.extend_from_slice(data);
                }
                conn.consume(channel, data.len()).unwrap();
                self.echo(conn, channel);
            }
            ChannelEvent::Eof => {
                if let Some((_, eof)) = self.echoes.get_mut(&channel) {
                    *eof = true;
                }
                self.echo(conn, channel);
            }
            ChannelEvent::Writable => self.echo(conn, channel),
            _ => {}
        }
    }

    fn echo(&mut self, conn: &mut ServerConnection, channel: ChannelId) {
        let Some((backlog, eof)) = self.echoes.get_mut(&channel) else { return };
        let n = conn.write(channel, DataStream::Data, backlog).unwrap();
        backlog.drain(..n);
        if backlog.is_empty() && *eof {
            self.echoes.remove(&channel);
            end(conn, channel, ChannelRequest::ExitStatus(0));
        }
    }
}

fn end(conn: &mut ServerConnection, channel: ChannelId, exit: ChannelRequest<'_>) {
    conn.request(channel, exit, WantReply::No).unwrap();
    conn.send_eof(channel).unwrap();
    conn.close_channel(channel).unwrap();
}
