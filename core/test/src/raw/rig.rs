//! A machine of the core and a raw peer, face to face. Bytes move when [`Rig::run`] says so.

use std::sync::Arc;
use std::time::Duration;

use konko_core::auth::{Method, MethodSet};
use konko_core::channel::{ChannelEvent, ChannelId, GlobalTicket, OpenKind, OpenTicket, RequestTicket};
use konko_core::client::{AuthRequest, ClientSide, HostKeyTicket, Password, PromptTicket, SignTicket};
use konko_core::error::Fault;
use konko_core::keys::{KeyPair, PublicKey};
use konko_core::msg::{self, Message};
use konko_core::server::{AuthDecision, AuthTicket, Challenge, Credential, ProbeTicket, ServerSide};
use konko_core::transport::Job;
use konko_core::transport::negotiate::{Policy, Role};
use konko_core::*;

use super::{PASSWORD, RawPeer, provider, strings};
use crate::host_key;

/// A connection of either role.
#[allow(clippy::large_enum_variant)]
pub enum Machine {
    /// A client.
    Client(ClientConnection),
    /// A server.
    Server(ServerConnection),
}

impl Machine {
    /// What both roles can do.
    pub fn conn(&mut self) -> &mut Connection<dyn Side> {
        match self {
            Machine::Client(c) => c,
            Machine::Server(c) => c,
        }
    }

    /// Polls once, and drops an event: true then.
    pub fn poll(&mut self, now: Time, rx: &mut RxBuf) -> Result<bool, Error> {
        match self {
            Machine::Client(c) => c.poll(now, rx).map(|step| matches!(step, Step::Event(_))),
            Machine::Server(c) => c.poll(now, rx).map(|step| matches!(step, Step::Event(_))),
        }
    }
}

/// What the application behind the machine does.
pub struct App {
    /// Client: answers host key questions; `None` keeps the ticket.
    pub accept_host: Option<bool>,
    /// Client: what it tries, one after the other.
    pub proofs: Vec<Proof>,
    /// Server: keys that may come in.
    pub keys: Vec<PublicKey>,
    /// Server: keep authentication tickets instead of deciding.
    pub hold_auth: bool,
    /// Server: keep the tickets of probes instead of deciding.
    pub hold_probes: bool,
    /// Server: what follows the first right proof.
    pub partial: Option<MethodSet>,
    /// Server: how many questions it asks.
    pub prompts: usize,
    /// Keep open and request tickets.
    pub hold_opens: bool,
    /// The same for requests.
    pub hold_requests: bool,
    /// Drop the tickets of global requests.
    pub drop_globals: bool,
    /// Keep tickets of global requests instead of saying no.
    pub hold_globals: bool,
    /// Do not consume data.
    pub hold_data: bool,
    /// What was kept: questions about host keys,
    pub host_tickets: Vec<HostKeyTicket>,
    /// attempts and signatures,
    pub auth_tickets: Vec<AuthTicket>,
    /// probes,
    pub probe_tickets: Vec<ProbeTicket>,
    /// channels that the peer opens,
    pub open_tickets: Vec<OpenTicket>,
    /// requests on channels,
    pub request_tickets: Vec<RequestTicket>,
    /// global requests,
    pub global_tickets: Vec<GlobalTicket>,
    /// the server's questions,
    pub prompt_tickets: Vec<PromptTicket>,
    /// and signatures that are asked for.
    pub sign_tickets: Vec<SignTicket>,
    /// Work of key exchanges.
    pub jobs: Vec<Job>,
    /// Server: believe other hosts.
    pub hosts: bool,
    /// Every channel there was.
    pub channels: Vec<ChannelId>,
    /// Data that came, by channel of the machine.
    pub data: Vec<u8>,
}

/// One way for the client to authenticate.
#[derive(Clone)]
pub enum Proof {
    /// The method `none`.
    None,
    /// The [password](super::PASSWORD).
    Password,
    /// Whether this key would do.
    Probe(PublicKey),
    /// A key.
    Key(Arc<KeyPair>),
    /// The server's questions.
    Interactive,
}

/// The two, face to face, and the time.
pub struct Rig {
    /// The core's connection.
    pub machine: Machine,
    /// Its input.
    pub rx: RxBuf,
    /// The raw peer.
    pub peer: RawPeer,
    /// What time it is; it passes when [`Rig::wait`] says so.
    pub now: Time,
    /// Events in `Debug` form.
    pub events: Vec<String>,
    /// How the machine failed, if it did.
    pub error: Option<Error>,
    /// Why its last poll went no further.
    pub blocked: Option<Blocked>,
    /// Its application.
    pub app: App,
    /// Everything the machine sent.
    pub sent: u64,
    /// How long the machine was at work, its application included.
    pub worked: Duration,
}

/// The algorithms of a policy, as on a machine that has AES in hardware.
pub fn transport(policy: Policy) -> TransportConfig {
    let mut config = TransportConfig::new(provider());
    config.algorithms = policy.algorithms(true);
    config
}

/// A server with the host key and every method but `none` and `hostbased`.
pub fn server_config(transport: TransportConfig) -> ServerConfig {
    let mut config = ServerConfig::with_transport(transport, vec![host_key()]);
    let left_out = [Method::None, Method::HostBased];
    config.methods = Method::ALL.into_iter().filter(|m| !left_out.contains(m)).collect();
    config
}

impl Default for App {
    fn default() -> Self {
        App {
            accept_host: Some(true),
            proofs: vec![Proof::Password],
            keys: Vec::new(),
            hold_auth: false,
            hold_probes: false,
            partial: None,
            prompts: 2,
            hold_opens: false,
            hold_requests: false,
            drop_globals: false,
            hold_globals: false,
            hold_data: false,
            host_tickets: Vec::new(),
            auth_tickets: Vec::new(),
            probe_tickets: Vec::new(),
            open_tickets: Vec::new(),
            request_tickets: Vec::new(),
            global_tickets: Vec::new(),
            prompt_tickets: Vec::new(),
            sign_tickets: Vec::new(),
            jobs: Vec::new(),
            hosts: false,
            channels: Vec::new(),
            data: Vec::new(),
        }
    }
}

impl Rig {
    /// A machine that plays `role`, under the policy `Modern`.
    pub fn new(role: Role) -> Self {
        Self::with(role, transport(Policy::Modern))
    }

    /// The same with any configuration of the transport.
    pub fn with(role: Role, transport: TransportConfig) -> Self {
        match role {
            Role::Client => Self::client(ClientConfig::new(transport)),
            Role::Server => Self::server(server_config(transport)),
        }
    }

    /// A client and a raw server.
    pub fn client(config: ClientConfig) -> Self {
        let now = Time::from_micros(1_000_000);
        let machine = ClientConnection::new(Arc::new(config), Seed::new([1; 32]), now);
        Self::around(Machine::Client(machine), RawPeer::new(Role::Server), now)
    }

    /// A server and a raw client.
    pub fn server(config: ServerConfig) -> Self {
        Self::seeded(config, 2)
    }

    /// A server's connection with a seed of its own.
    pub fn seeded(config: ServerConfig, seed: u8) -> Self {
        let now = Time::from_micros(1_000_000);
        let machine = ServerConnection::new(Arc::new(config), Seed::new([seed; 32]), now);
        Self::around(Machine::Server(machine), RawPeer::new(Role::Client), now)
    }

    fn around(machine: Machine, peer: RawPeer, now: Time) -> Self {
        Rig {
            machine,
            rx: RxBuf::new(),
            peer,
            now,
            events: Vec::new(),
            error: None,
            blocked: None,
            app: App::default(),
            sent: 0,
            worked: Duration::ZERO,
        }
    }

    /// The machine's role.
    pub fn role(&self) -> Role {
        self.peer.role.peer()
    }

    /// The machine, which is a client.
    pub fn conn_client(&mut self) -> &mut ClientConnection {
        match &mut self.machine {
            Machine::Client(c) => c,
            Machine::Server(_) => panic!("the machine is a server"),
        }
    }

    /// The machine, which is a server.
    pub fn conn_server(&mut self) -> &mut ServerConnection {
        match &mut self.machine {
            Machine::Server(c) => c,
            Machine::Client(_) => panic!("the machine is a client"),
        }
    }

    // ---- driving ----

    /// Moves what the peer queued, polls, and moves what the machine answers.
    pub fn run(&mut self) -> &mut Self {
        let bytes = std::mem::take(&mut self.peer.tx);
        self.feed(&bytes);
        self
    }

    /// Gives the machine these bytes and takes what it answers.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.rx.push(bytes);
        self.poll();
        self.collect();
    }

    /// Takes the machine's output.
    pub fn collect(&mut self) {
        let tx = self.tx();
        let out = tx.pending().to_vec();
        tx.consume(out.len());
        self.sent += out.len() as u64;
        self.peer.rx.extend_from_slice(&out);
    }

    /// The machine, whichever role it plays.
    pub fn conn(&mut self) -> &mut Connection<dyn Side> {
        self.machine.conn()
    }

    /// What the machine wants to send.
    pub fn tx(&mut self) -> &mut TxBuf {
        self.conn().tx()
    }

    /// When the machine wants to be polled again, and for what.
    pub fn deadline(&mut self) -> Option<(Time, konko_core::error::TimerKind)> {
        self.conn().deadline()
    }

    /// Polls the machine until it can go no further.
    pub fn poll(&mut self) {
        let start = std::time::Instant::now();
        self.poll_till_blocked();
        self.worked += start.elapsed();
    }

    fn poll_till_blocked(&mut self) {
        let Rig { machine, rx, now, events, error, blocked, app, .. } = self;
        let done = match machine {
            Machine::Client(c) => app.drain(c, *now, rx, events),
            Machine::Server(c) => app.drain(c, *now, rx, events),
        };
        match done {
            Ok(why) => *blocked = Some(why),
            Err(e) => *error = Some(e),
        }
    }

    /// Does the work that waits.
    pub fn finish_jobs(&mut self) {
        for job in std::mem::take(&mut self.app.jobs) {
            self.conn().finish_job(job.run()).unwrap();
        }
        self.run();
    }

    /// Lets time pass, polling at every deadline.
    pub fn wait(&mut self, d: Duration) {
        let until = self.now + d;
        while let Some((at, _)) = self.deadline().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            self.poll();
            self.collect();
        }
        self.now = until;
        self.poll();
        self.collect();
    }

    /// Sends one message and lets the machine act.
    pub fn send(&mut self, payload: &[u8]) -> &mut Self {
        self.peer.send(payload);
        self.run()
    }

    /// The same for a message of the core.
    pub fn put<'m>(&mut self, message: &impl Message<'m>) -> &mut Self {
        self.peer.put(message);
        self.run()
    }

    /// Sends a request of a user that the server refuses: its USERAUTH_FAILURE, once the delay is over.
    #[track_caller]
    pub fn refused(&mut self, request: &[u8]) -> Vec<u8> {
        self.send(request);
        self.wait(Duration::from_millis(20));
        let failure = self.expect(51);
        self.assert_alive();
        failure
    }

    /// All messages of the machine that have arrived.
    pub fn messages(&mut self) -> Vec<Vec<u8>> {
        self.peer.by_ref().collect()
    }

    /// The numbers of all messages that have arrived.
    pub fn numbers(&mut self) -> Vec<u8> {
        self.messages().iter().map(|m| m[0]).collect()
    }

    /// The number of the last message of the machine.
    pub fn messages_so_far(&mut self) -> Option<u8> {
        self.numbers().pop()
    }

    /// The next message, which must have this number.
    #[track_caller]
    pub fn expect(&mut self, number: u8) -> Vec<u8> {
        match self.peer.next() {
            Some(message) if message[0] == number => message,
            other => panic!("expected {number}, got {other:?}; error {:?}", self.error),
        }
    }

    /// How many events have this word in them.
    pub fn events_with(&self, word: &str) -> usize {
        self.events.iter().filter(|e| e.contains(word)).count()
    }

    /// How often something of the user's authentication was told.
    pub fn login_events(&self) -> usize {
        self.events_with("Auth") - self.events_with("Auth(HostKey(")
    }

    // ---- the usual course ----

    /// Idents and KEXINITs.
    pub fn kexinit(&mut self) -> &mut Self {
        self.peer.send_ident();
        self.rekey_init()
    }

    /// KEXINITs only.
    pub fn rekey_init(&mut self) -> &mut Self {
        self.peer.send_kexinit();
        self.run();
        while self.expect_any()[0] != 20 {}
        self.peer.agree();
        self
    }

    #[track_caller]
    fn expect_any(&mut self) -> Vec<u8> {
        self.peer.next().unwrap_or_else(|| panic!("no message; error {:?}", self.error))
    }

    /// The method up to, and without, the peer's NEWKEYS.
    pub fn method(&mut self) -> &mut Self {
        if self.peer.role == Role::Client {
            self.peer.send_kex_init();
            self.run();
            let mut reply = self.expect_any();
            if self.peer.chosen.as_ref().unwrap().kex.group_exchange() {
                self.peer.on_gex_group(&reply);
                self.run();
                reply = self.expect_any();
            }
            self.peer.on_kex_reply(&reply);
            self.expect(21);
        } else {
            let mut init = self.expect_any();
            let mut answer = self.peer.on_kex_init(&init);
            if init[0] == 34 {
                self.send(&answer);
                init = self.expect_any();
                answer = self.peer.on_kex_init(&init);
            }
            self.send(&answer);
            if self.app.accept_host == Some(true) {
                self.expect(21);
            }
        }
        self
    }

    /// A whole first key exchange.
    pub fn handshake(&mut self) -> &mut Self {
        self.kexinit().method();
        self.peer.send_newkeys();
        self.run();
        if self.peer.role == Role::Client && self.peer.offer.kex.contains("ext-info-c") {
            self.expect(7);
        }
        self
    }

    /// A whole later key exchange, started by the peer.
    pub fn rekey(&mut self) -> &mut Self {
        self.rekey_init().method();
        self.peer.send_newkeys();
        self.run()
    }

    /// Up to user authentication: the next message is a request.
    pub fn service(&mut self) -> &mut Self {
        self.handshake();
        if self.peer.role == Role::Client {
            self.send(&strings(5, &[b"ssh-userauth"]));
            self.expect(6);
        } else {
            self.expect(5);
            self.send(&strings(6, &[b"ssh-userauth"]));
        }
        self
    }

    /// A USERAUTH_REQUEST with a password.
    pub fn password_request(user: &str, password: &str) -> Vec<u8> {
        let mut m = strings(50, &[user.as_bytes(), b"ssh-connection", b"password"]);
        m.push(0);
        wire::Sink::put_string(&mut m, password.as_bytes());
        m
    }

    /// Up to the connection protocol.
    pub fn login(&mut self) -> &mut Self {
        self.service();
        if self.peer.role == Role::Client {
            self.send(&Self::password_request("alice", PASSWORD));
            self.expect(52);
        } else {
            self.expect(50);
            self.send(&[52]);
            self.peer.login_done();
        }
        assert_eq!(self.error, None);
        self
    }

    /// The peer opens a session with this window and packet size; the machine's number.
    pub fn open(&mut self, mine: u32, window: u32, packet: u32) -> u32 {
        self.put(&msg::ChannelOpen::new(wire::SshStr::new(b"session"), mine, window, packet, &[]));
        let m = self.expect(91);
        u32::from_be_bytes(m[5..9].try_into().unwrap())
    }

    /// The machine opens a session; the peer confirms as channel `mine`. The machine's number.
    pub fn opened(&mut self, mine: u32, window: u32, packet: u32) -> (ChannelId, u32) {
        let id = self.conn().open(OpenKind::Session).unwrap();
        self.run();
        let m = self.expect(90);
        let open = msg::ChannelOpen::parse(&m).unwrap();
        let theirs = open.sender;
        self.put(&msg::ChannelOpenConfirmation::new(theirs, mine, window, packet, &[]));
        (id, theirs)
    }

    // ---- how it ended ----

    /// The connection is dead for this fault of the peer, said so with the right DISCONNECT, and
    /// stays dead: later input brings no event and no byte.
    #[track_caller]
    pub fn assert_fault(&mut self, fault: Fault) {
        match &self.error {
            Some(Error::Peer(e)) => assert_eq!(e.fault(), fault, "{e}"),
            other => panic!("expected {fault:?}, got {other:?} and events {:?}", self.events),
        }
        if !matches!(fault, Fault::NotSsh | Fault::IdentTooLong | Fault::IdentInvalid | Fault::Version) {
            let last = self.messages().pop().expect("a DISCONNECT");
            assert_eq!(last[0], 1, "{last:?}");
            let code = u32::from_be_bytes(last[1..5].try_into().unwrap());
            assert_eq!(code, fault.disconnect_code().0);
        }
        self.assert_dead();
    }

    /// The connection is over and stays so, whatever comes.
    #[track_caller]
    pub fn assert_dead(&mut self) {
        let (error, events) = (self.error.clone(), self.events.len());
        assert!(error.is_some(), "alive; events {:?}", self.events);
        self.peer.rx.clear();
        self.peer.send(&[2, 0, 0, 0, 0]);
        self.peer.tx.resize(64 * 1024, 0x20);
        self.run();
        assert_eq!((&self.error, self.events.len()), (&error, events));
        assert!(self.peer.rx.is_empty(), "dead connections are silent");
        assert_eq!(self.deadline(), None);
    }

    /// The connection has not failed.
    #[track_caller]
    pub fn assert_alive(&self) {
        assert_eq!(self.error, None, "events {:?}", self.events);
    }
}

/// A role that the application can play.
trait Play: Side + Sized {
    fn on_auth(app: &mut App, conn: &mut Connection<Self>, auth: Self::Auth<'_>);
}

impl Play for ClientSide {
    fn on_auth(app: &mut App, conn: &mut ClientConnection, auth: ClientAuth<'_>) {
        match auth {
            ClientAuth::HostKey(ticket) => match app.accept_host {
                Some(accept) => conn.decide_host_key(ticket, Decision::accept_if(accept)).unwrap(),
                None => app.host_tickets.push(ticket),
            },
            ClientAuth::Needed { .. } | ClientAuth::KeyAccepted if !app.proofs.is_empty() => {
                let proof = app.proofs.remove(0);
                prove(conn, &proof);
            }
            ClientAuth::Prompts { ticket, .. } => app.prompt_tickets.push(ticket),
            ClientAuth::Sign(ticket) => app.sign_tickets.push(ticket),
            _ => {}
        }
    }
}

impl Play for ServerSide {
    fn on_auth(app: &mut App, conn: &mut ServerConnection, auth: ServerAuth<'_>) {
        match auth {
            ServerAuth::Probe { ticket, .. } if app.hold_probes => app.probe_tickets.push(ticket),
            ServerAuth::Probe { ticket, key, .. } => {
                conn.decide_probe(ticket, Decision::accept_if(app.keys.contains(&key))).unwrap();
            }
            ServerAuth::Attempt { ticket, .. } | ServerAuth::Signed { ticket, .. } if app.hold_auth => {
                app.auth_tickets.push(ticket);
            }
            ServerAuth::Attempt { ticket, credential, .. } => {
                let verdict = app.judge(&credential);
                conn.decide_auth(ticket, verdict).unwrap();
            }
            ServerAuth::HostProbe { ticket, .. } => {
                conn.decide_probe(ticket, Decision::accept_if(app.hosts)).unwrap();
            }
            ServerAuth::HostSigned { ticket, .. } => {
                conn.decide_auth(ticket, app.verdict(app.hosts)).unwrap();
            }
            ServerAuth::Signed { ticket, key } => {
                let verdict = app.verdict(app.keys.contains(key.key()));
                conn.decide_auth(ticket, verdict).unwrap();
            }
            _ => {}
        }
    }
}

impl App {
    /// Polls until blocked.
    fn drain<S: Play>(
        &mut self,
        conn: &mut Connection<S>,
        now: Time,
        rx: &mut RxBuf,
        events: &mut Vec<String>,
    ) -> Result<Blocked, Error> {
        loop {
            match conn.poll(now, rx)? {
                Step::Event(event) => {
                    events.push(format!("{event:?}"));
                    self.on_event(conn, event);
                }
                Step::Blocked(why) => return Ok(why),
            }
        }
    }

    fn on_event<S: Play>(&mut self, conn: &mut Connection<S>, event: EventOf<'_, S>) {
        match event {
            Event::Auth(auth) => S::on_auth(self, conn, auth),
            Event::Open { ticket, .. } if self.hold_opens || conn.role() == Role::Client => {
                self.open_tickets.push(ticket);
            }
            Event::Open { ticket, .. } => self.channels.push(conn.accept_channel(ticket).unwrap()),
            Event::Job(job) => self.jobs.push(*job),
            Event::Opened(id) => self.channels.push(id),
            Event::GlobalRequest { ticket: Some(ticket), .. } if self.hold_globals => {
                self.global_tickets.push(ticket);
            }
            Event::GlobalRequest { ticket: Some(ticket), .. } if !self.drop_globals => {
                conn.reply_global(ticket, Decision::Reject, None).unwrap();
            }
            Event::Channel(id, ChannelEvent::Data { data, .. }) => {
                self.data.extend_from_slice(data);
                if !self.hold_data {
                    conn.consume(id, data.len()).unwrap();
                }
            }
            Event::Channel(_, ChannelEvent::Request { ticket: Some(ticket), .. }) => {
                if self.hold_requests {
                    self.request_tickets.push(ticket);
                } else {
                    conn.reply(ticket, Decision::Accept).unwrap();
                }
            }
            _ => {}
        }
    }

    fn judge(&mut self, credential: &Credential<'_>) -> AuthDecision {
        let right = match credential {
            Credential::Password(p) => *p == PASSWORD.as_bytes(),
            Credential::KeyboardInteractive { .. } => {
                let prompts = (0..self.prompts).map(|i| (format!("{i}? "), false)).collect();
                return AuthDecision::Challenge(Challenge { prompts, ..Challenge::default() });
            }
            Credential::Answers(answers) => answers.iter().all(|a| a == PASSWORD.as_bytes()),
            _ => false,
        };
        self.verdict(right)
    }

    fn verdict(&mut self, right: bool) -> AuthDecision {
        match (right, self.partial.take()) {
            (true, Some(more)) => AuthDecision::Partial(more),
            (true, None) => AuthDecision::Accept,
            (false, more) => {
                self.partial = more;
                AuthDecision::Reject
            }
        }
    }
}

/// Tries this.
pub fn prove(conn: &mut ClientConnection, proof: &Proof) {
    let best = |conn: &ClientConnection, key: &PublicKey| conn.signature_algorithms(key)[0];
    match proof {
        Proof::None => conn.authenticate("alice", AuthRequest::None),
        Proof::Password => {
            conn.authenticate("alice", AuthRequest::Password(&Password::new(PASSWORD.as_bytes())))
        }
        Proof::Probe(key) => {
            let algorithm = best(conn, key);
            conn.authenticate("alice", AuthRequest::ProbeKey { key, algorithm })
        }
        Proof::Key(key) => {
            let algorithm = best(conn, key.public());
            conn.authenticate("alice", AuthRequest::PublicKey { key, algorithm })
        }
        Proof::Interactive => conn.authenticate("alice", AuthRequest::KeyboardInteractive),
    }
    .unwrap();
}
