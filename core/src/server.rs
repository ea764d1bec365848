//! The server's face.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::admission::Penalty;
pub use crate::auth::server::{
    Answers, Attempt, AuthOutcome, AuthRejection, AuthResult, AuthTicket, Challenge, ProbeTicket, Verdict,
    VerifiedKey,
};
use crate::auth::server::{RawAuth, ServerAuth, present, secret_of, user_of};
use crate::auth::{Method, MethodSet};
use crate::channel::{
    ChannelEvent, ChannelId, GlobalRequestRef, GlobalTicket, OpenFailure, OpenKind, OpenTicket, WindowConfig,
};
use crate::connection::{Connection, Logic, Machine, Question, Shared, Side};
use crate::crypto::SigAlg;
use crate::error::{Error, Failure, TimerKind, UsageError};
use crate::keys::{KeyPair, PublicKey};
use crate::msg::{self, ExtInfo, Message};
use crate::replay::{Call, ServerCall};
use crate::rng::Seed;
use crate::time::Time;
use crate::transport::negotiate::Role;
use crate::transport::{DoneJob, Job, Transport, TransportConfig};
use crate::wire::SshStr;

/// What a server configures.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Algorithms, limits, rekeying. Host key algorithms without a key are not offered.
    pub transport: Arc<TransportConfig>,
    /// Windows of channels.
    pub window: WindowConfig,
    /// The keys that prove who the server is; at least one.
    pub host_keys: Vec<Arc<KeyPair>>,
    /// Authentication methods that a client may start with.
    pub methods: MethodSet,
    /// Text shown before authentication; at most 64 KiB of it.
    pub banner: Option<String>,
    /// Hand the costly part of each key exchange out as `ServerEvent::Job`, instead of doing it
    /// inside `poll`.
    pub offload: bool,
    /// What the delay of a refusal depends on, beside the user's name. It is the server's, not the
    /// connection's: who asks twice for one name gets one answer. Made of a host key's private half, as
    /// by OpenSSH, so that it is the same after a restart; without a host key each connection has its own.
    pub delay_secret: Option<Arc<Seed>>,
}

impl ServerConfig {
    /// The defaults with these host keys: publickey and password, no banner. Of the transport's
    /// algorithms, those that are [for a server](crate::transport::negotiate::Algorithms::for_server):
    /// no Diffie-Hellman over finite fields, unless the list is one for old peers.
    pub fn new(mut transport: TransportConfig, host_keys: Vec<Arc<KeyPair>>) -> Self {
        transport.algorithms.for_server();
        Self::with_transport(transport, host_keys)
    }

    /// The same, with exactly the key exchanges that the transport has.
    pub fn with_transport(mut transport: TransportConfig, host_keys: Vec<Arc<KeyPair>>) -> Self {
        transport.algorithms.host_key.retain(|a| host_keys.iter().any(|k| k.public().fits(*a)));
        ServerConfig {
            delay_secret: secret_of(&host_keys).map(Arc::new),
            transport: Arc::new(transport),
            window: WindowConfig::default(),
            host_keys,
            methods: MethodSet::EMPTY.with(Method::PublicKey).with(Method::Password),
            banner: None,
            offload: false,
        }
    }
}

/// A server's connection.
pub type ServerConnection = Connection<Server>;

/// The server's role in a [`Connection`].
#[derive(Debug)]
pub struct Server {
    auth: ServerAuth,
    /// What the application says that the source deserves.
    penalty: Option<Penalty>,
}

/// What happens on a server's connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerEvent<'b> {
    /// The algorithms are agreed on; see `negotiated`.
    Negotiated,
    /// Costly work; run it anywhere and give the result to `finish_job`. Only with `offload`.
    Job(Box<Job>),
    /// May this user come in with this key? Nothing is proven yet, and a yes lets nobody in: the client
    /// signs then, or has signed already and its signature is verified. `AuthSigned` follows.
    AuthProbe {
        /// For `decide_probe`.
        ticket: ProbeTicket,
        /// The user name.
        user: SshStr<'b>,
        /// The key.
        key: Box<PublicKey>,
        /// How it signs.
        alg: SigAlg,
        /// Whether the client has signed. Nobody has looked at the signature.
        signed: bool,
    },
    /// The client has the private half of this key, about which `AuthProbe` asked just before: its
    /// signature over this session was verified. For which user, says `user`.
    AuthSigned {
        /// For `decide_auth`.
        ticket: AuthTicket,
        /// The key.
        key: Box<VerifiedKey>,
    },
    /// The client offers proof that is no key.
    Auth {
        /// For `decide_auth`.
        ticket: AuthTicket,
        /// The user name; empty with answers, see `user`.
        user: SshStr<'b>,
        /// The proof.
        attempt: Attempt<'b>,
    },
    /// An attempt is over: accepted, partly right, or rejected by the application or by the core. For
    /// logs and counts; there is nothing to answer.
    AuthOutcome(Box<AuthOutcome>),
    /// The user is in; see `user`.
    Authenticated,
    /// Keys were renewed.
    Rekeyed,
    /// A channel of ours is open.
    Opened(ChannelId),
    /// A channel of ours was refused; its identifier is gone.
    OpenFailed {
        /// Which one.
        channel: ChannelId,
        /// Why.
        why: OpenFailure,
        /// Text of the client.
        text: SshStr<'b>,
    },
    /// The client opens a channel.
    Open {
        /// For `accept_channel` or `refuse_channel`.
        ticket: OpenTicket,
        /// What kind.
        kind: OpenKind<'b>,
    },
    /// Something happened on a channel.
    Channel(ChannelId, ChannelEvent<'b>),
    /// The client asks something that concerns no channel.
    GlobalRequest {
        /// For `reply_global`; absent when no answer is wanted.
        ticket: Option<GlobalTicket>,
        /// What it asks.
        request: GlobalRequestRef<'b>,
    },
    /// Our oldest unanswered global request was granted or not.
    GlobalReply {
        /// Whether it was granted.
        ok: bool,
        /// What the request's definition says.
        fields: &'b [u8],
    },
}

/// An event of the server before it borrows.
#[doc(hidden)]
pub struct RawServer(Raw);

impl core::fmt::Debug for RawServer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match &self.0 {
            Raw::Auth(raw) => raw.fmt(f),
            Raw::Job(job) => job.fmt(f),
        }
    }
}

enum Raw {
    Auth(RawAuth),
    Job(Box<Job>),
}

impl Connection<Server> {
    /// Starts a connection that was accepted. The identification line is in `tx` at once.
    pub fn new(config: Arc<ServerConfig>, seed: Seed, now: Time) -> Self {
        let mut transport = Transport::new(
            Role::Server,
            Arc::clone(&config.transport),
            config.host_keys.clone(),
            config.offload,
            &seed,
            now,
        );
        let grace = config.transport.limits.login_grace;
        transport.timers.set(TimerKind::LoginGrace, Some(now + grace));
        let own = || Arc::new(Seed::new(seed.fork(b"delay").array()));
        let delay_secret = config.delay_secret.clone().unwrap_or_else(own);
        Connection {
            core: Machine::new(transport, config.window, now),
            side: Server {
                auth: ServerAuth::new(config.methods, config.banner.clone(), delay_secret),
                penalty: None,
            },
        }
    }

    /// The same, with everything that happens from now on written down for
    /// [`replay`](crate::replay); see [`take_transcript`](Self::take_transcript). A recording holds
    /// the seed and all data.
    pub fn recorded(config: Arc<ServerConfig>, seed: Seed, now: Time) -> Self {
        let copy = Seed::new(*seed.bytes());
        let mut connection = Self::new(config, copy, now);
        connection.core.record(&seed, now);
        connection
    }

    /// Says whether the user may come in with the key of an `AuthProbe`. A no goes out after a delay
    /// that does not tell why. A yes lets nobody in: it asks the client to sign, or has the signature
    /// verified, in this call, if the client has signed already.
    ///
    /// # Errors
    ///
    /// `StaleTicket`.
    pub fn decide_probe(&mut self, ticket: ProbeTicket, usable: bool) -> Result<(), UsageError> {
        self.core.note(&Call::Server(ServerCall::DecideProbe { number: ticket.number, usable }));
        self.core.usable()?;
        self.side.auth.decide_probe(&mut self.core.transport, &ticket, usable)
    }

    /// Answers an attempt. A rejection goes out after a delay that does not tell why.
    ///
    /// # Errors
    ///
    /// `StaleTicket`. `VerdictMismatch`, `AnswerCount` or `InvalidText` if the verdict does not fit
    /// the attempt or cannot be sent: the attempt is rejected then.
    pub fn decide_auth(&mut self, ticket: AuthTicket, verdict: Verdict) -> Result<(), UsageError> {
        let (number, word) = (ticket.number, Cow::Borrowed(&verdict));
        self.core.note(&Call::Server(ServerCall::DecideAuth { number, verdict: word }));
        self.core.usable()?;
        let decided = self.side.auth.decide(&mut self.core.transport, &ticket, verdict);
        if decided.is_ok() && self.side.auth.done() {
            self.core.authenticated();
        }
        decided
    }

    /// Takes the result of a job.
    pub fn finish_job(&mut self, job: DoneJob) -> Result<(), UsageError> {
        self.core.note(&Call::Server(ServerCall::FinishJob(job.generation)));
        self.core.usable()?;
        let now = self.core.now;
        match self.core.transport.finish_job(now, job) {
            Ok(true) => Ok(()),
            Ok(false) => Err(UsageError::StaleTicket),
            Err(failure) => {
                self.core.fail(failure);
                Ok(())
            }
        }
    }

    /// The user name of the authentication in progress, then of the user who is in.
    pub fn user(&self) -> Option<SshStr<'_>> {
        self.side.auth.user().map(SshStr::new)
    }

    /// What the source of this connection deserves if it is over now (OpenSSH sshd.c `child_reap`): for
    /// [`Admission::ended`](crate::admission::Admission::ended). `None` when the user is in, or when it
    /// was this side that said goodbye.
    pub fn penalty(&self) -> Option<Penalty> {
        let late = matches!(self.core.ended(), Some(Error::Timeout(..)));
        match self.side.penalty {
            _ if self.is_authenticated() => None,
            Some(told) => Some(told),
            None if self.core.closing() => None,
            None if late => Some(Penalty::GraceExceeded),
            None if self.side.auth.attempted() => Some(Penalty::AuthFail),
            None => Some(Penalty::NoAuth),
        }
    }

    /// Says what the source deserves if this connection ends before its user is in, where only the
    /// application can know: [`Penalty::InvalidUser`] for a name that nobody has,
    /// [`Penalty::RefuseConnection`] for somebody who is not wanted. The connection goes on as before.
    pub fn penalize(&mut self, penalty: Penalty) {
        self.side.penalty = Some(penalty);
    }

    /// Whether the user is in.
    pub fn is_authenticated(&self) -> bool {
        self.side.auth.done()
    }
}

impl Side for Server {
    type Event<'b> = ServerEvent<'b>;
    type Raw = RawServer;
}

impl Logic for Server {
    fn keyed(&mut self, _core: &mut Machine) {}

    fn ask(&mut self, _core: &mut Machine, question: Question) -> Option<RawServer> {
        match question {
            Question::Job(job) => Some(RawServer(Raw::Job(job))),
            Question::HostKey => None,
        }
    }

    fn message(
        &mut self,
        core: &mut Machine,
        number: u8,
        payload: &[u8],
    ) -> Result<Option<RawServer>, Failure> {
        match number {
            msg::ServiceRequest::NUMBER => self.auth.on_service(&mut core.transport, payload).map(|()| None),
            ExtInfo::NUMBER => Ok(None),
            _ => {
                let now = core.now;
                let raw = self.auth.receive(&mut core.transport, now, number, payload)?;
                Ok(raw.map(|raw| RawServer(Raw::Auth(raw))))
            }
        }
    }

    fn pending(&mut self, core: &mut Machine) -> Result<Option<RawServer>, Failure> {
        let now = core.now;
        let news = self.auth.news(&mut core.transport, now)?;
        Ok(news.map(|raw| RawServer(Raw::Auth(raw))))
    }

    fn awaits_decision(&self) -> bool {
        self.auth.awaits_decision()
    }

    fn timer(&mut self, core: &mut Machine, _kind: TimerKind) {
        let now = core.now;
        self.auth.on_delay(&mut core.transport, now);
    }

    fn event<'b>(&self, _core: &Machine, raw: RawServer, payload: &'b [u8]) -> ServerEvent<'b> {
        match raw.0 {
            Raw::Job(job) => ServerEvent::Job(job),
            Raw::Auth(RawAuth::Authenticated) => ServerEvent::Authenticated,
            Raw::Auth(RawAuth::Over(outcome)) => ServerEvent::AuthOutcome(outcome),
            Raw::Auth(RawAuth::Probe(ticket, key, alg, signed)) => {
                ServerEvent::AuthProbe { ticket, user: user_of(payload), key, alg, signed }
            }
            Raw::Auth(RawAuth::Signed(ticket, key)) => ServerEvent::AuthSigned { ticket, key },
            Raw::Auth(RawAuth::Attempt(ticket)) => {
                let (user, attempt) = present(payload).unwrap_or((SshStr::new(b""), Attempt::None));
                ServerEvent::Auth { ticket, user, attempt }
            }
        }
    }

    fn shared(event: Shared<'_>) -> ServerEvent<'_> {
        match event {
            Shared::Negotiated => ServerEvent::Negotiated,
            Shared::Rekeyed => ServerEvent::Rekeyed,
            Shared::Opened(id) => ServerEvent::Opened(id),
            Shared::OpenFailed { channel, why, text } => ServerEvent::OpenFailed { channel, why, text },
            Shared::Open { ticket, kind } => ServerEvent::Open { ticket, kind },
            Shared::Channel(id, event) => ServerEvent::Channel(id, event),
            Shared::Global { ticket, request } => ServerEvent::GlobalRequest { ticket, request },
            Shared::GlobalReply { ok, fields } => ServerEvent::GlobalReply { ok, fields },
        }
    }
}
