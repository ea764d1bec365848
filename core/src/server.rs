//! The server's face.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::auth::Penalty;
pub use crate::auth::server::{
    Answers, AuthDecision, AuthOutcome, AuthRejection, AuthResult, AuthTicket, Challenge, Credential,
    ProbeTicket, ServerAuth, VerifiedKey,
};
use crate::auth::server::{Userauth, secret_of};
use crate::auth::{Method, MethodSet, Told};
use crate::channel::WindowConfig;
use crate::channel::host_keys::HostKeys;
use crate::connection::{Connection, Decision, Event, Logic, Machine, Side};
use crate::error::{Error, Failure, UsageError};
use crate::keys::{KeyPair, TouchPolicy};
use crate::msg::{self, ExtInfo, Message};
use crate::options::setters;
use crate::record::Call;
use crate::rng::Seed;
use crate::time::Time;
use crate::transport::negotiate::Role;
use crate::transport::{Transport, TransportConfig};
use crate::wire::{Part, SshStr};

/// What a server configures.
#[derive(Clone, Debug)]
#[non_exhaustive]
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
    /// Hand the costly part of each key exchange out as `Event::Job`, instead of doing it
    /// inside `poll`.
    pub offload: bool,
    /// What the delay of a refusal depends on, beside the user's name. It is the server's, not the
    /// connection's: who asks twice for one name gets one answer. Made of a host key's private half, as
    /// by OpenSSH, so that it is the same after a restart; without a host key each connection has its own.
    pub delay_secret: Option<Arc<Seed>>,
    /// Once a user is in, tells the client all host keys, and proves each of them once, so that the client can learn
    /// those it does not know (OpenSSH PROTOCOL 2.5, `UpdateHostKeys` of ssh_config(5)). Certificates are not told.
    pub announce_host_keys: bool,
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
            announce_host_keys: false,
        }
    }

    setters! {
        /// Windows of channels.
        window: WindowConfig,
        /// Authentication methods that a client may start with.
        methods: MethodSet,
        /// Text shown before authentication; at most 64 KiB of it.
        banner: Option<String>,
        /// Hand the costly part of each key exchange out as `Event::Job`, instead of doing it
        /// inside `poll`.
        offload: bool,
        /// What the delay of a refusal depends on, beside the user's name. It is the server's, not the
        /// connection's: who asks twice for one name gets one answer. Made of a host key's private half, as
        /// by OpenSSH, so that it is the same after a restart; without a host key each connection has its own.
        delay_secret: Option<Arc<Seed>>,
        /// Once a user is in, tells the client all host keys, and proves each of them once, so that the client can
        /// learn those it does not know (OpenSSH PROTOCOL 2.5, `UpdateHostKeys` of ssh_config(5)). Certificates are
        /// not told.
        announce_host_keys: bool,
    }
}

/// A server's connection.
pub type ServerConnection = Connection<ServerSide>;

/// The server's role in a [`Connection`].
#[derive(Debug)]
pub struct ServerSide {
    auth: Userauth,
    /// What the application says that the source deserves.
    penalty: Option<Penalty>,
}

/// What happens on a server's connection.
pub type ServerEvent<'b> = Event<'b, ServerAuth<'b>>;

impl Connection<ServerSide> {
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
        transport.liveness().login_begins(now);
        let own = || Arc::new(Seed::new(seed.fork(b"delay").array()));
        let delay_secret = config.delay_secret.clone().unwrap_or_else(own);
        let mut core = Machine::new(transport, config.window, now);
        if config.announce_host_keys {
            core.channels.globals.host_keys = Some(Box::new(HostKeys::new(seed.fork(b"host keys"))));
        }
        Connection {
            core,
            side: ServerSide {
                auth: Userauth::new(config.methods, config.banner.clone(), delay_secret),
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

    /// Says whether the user may come in with the key of a `Probe`. A no goes out after a delay
    /// that does not tell why. A yes lets nobody in: it asks the client to sign, or has the signature
    /// verified, in this call, if the client has signed already.
    ///
    /// # Errors
    ///
    /// `StaleTicket`.
    pub fn decide_probe(&mut self, ticket: ProbeTicket, decision: Decision) -> Result<(), UsageError> {
        let usable = decision.is_accept();
        self.core.note(&Call::DecideProbe { number: ticket.number, usable });
        self.core.usable()?;
        let mut open = self.core.transport.open().ok_or(UsageError::StaleTicket)?;
        self.side.auth.decide_probe(&mut open, &ticket, usable.then(TouchPolicy::default))
    }

    /// Says yes to a `Probe`, as [`decide_probe`](Self::decide_probe) does, and what a security key has to say about its
    /// user: a signature that does not is rejected. `decide_probe` asks for a touch.
    ///
    /// # Errors
    ///
    /// `StaleTicket`.
    pub fn accept_probe(&mut self, ticket: ProbeTicket, policy: TouchPolicy) -> Result<(), UsageError> {
        let (touch, verify) = (policy.touch_required, policy.verify_required);
        self.core.note(&Call::AcceptProbe { number: ticket.number, touch, verify });
        self.core.usable()?;
        let mut open = self.core.transport.open().ok_or(UsageError::StaleTicket)?;
        self.side.auth.decide_probe(&mut open, &ticket, Some(policy))
    }

    /// Answers an attempt. A rejection goes out after a delay that does not tell why.
    ///
    /// # Errors
    ///
    /// `StaleTicket`. `DecisionMismatch`, `AnswerCount` or `InvalidText` if the decision does not fit
    /// the attempt or cannot be sent: the attempt is rejected then.
    pub fn decide_auth(&mut self, ticket: AuthTicket, decision: AuthDecision) -> Result<(), UsageError> {
        let (number, word) = (ticket.number, Cow::Borrowed(&decision));
        self.core.note(&Call::DecideAuth { number, decision: word });
        self.core.usable()?;
        let now = self.core.now;
        let mut open = self.core.transport.open().ok_or(UsageError::StaleTicket)?;
        self.side.auth.decide(&mut open, now, &ticket, decision)
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
}

impl Side for ServerSide {
    type Auth<'b> = ServerAuth<'b>;
}

impl Logic for ServerSide {
    fn keyed(&mut self, _core: &mut Machine) {}

    fn host_key(&mut self, _core: &mut Machine) -> Option<ServerAuth<'static>> {
        None
    }

    fn message<'p>(
        &mut self,
        core: &mut Machine,
        number: u8,
        payload: &'p [u8],
    ) -> Result<Option<Told<ServerAuth<'p>>>, Failure> {
        // Keys are not renewed while a client logs in, by neither side: what it sends finds the gate open.
        let Some(mut open) = core.transport.open() else { return Err(Failure::unexpected(number)) };
        match number {
            msg::ServiceRequest::NUMBER => self.auth.on_service(&mut open, core.now, payload).map(|()| None),
            ExtInfo::NUMBER => Ok(None),
            _ => {
                let auth = self.auth.receive(&mut open, core.now, number, payload)?;
                Ok(auth.map(Told::Auth))
            }
        }
    }

    #[inline]
    fn pending(&mut self, core: &mut Machine) -> Result<Option<Told<ServerAuth<'static>>>, Failure> {
        let now = core.now;
        let news = self.auth.news(core.transport.liveness(), now)?;
        if matches!(news, Some(Told::Authenticated { .. })) && core.channels.globals.host_keys.is_some() {
            // Without room for it now the client is told nothing, and asks for nothing.
            let _ = HostKeys::announce(&mut core.transport);
        }
        Ok(news)
    }

    fn awaits_decision(&self) -> bool {
        self.auth.awaits_decision()
    }

    fn delayed(&mut self, core: &mut Machine) {
        let now = core.now;
        if let Some(mut open) = core.transport.open() {
            self.auth.on_delay(&mut open, now);
        }
    }

    fn over<'a, 'b>(auth: ServerAuth<'a>, part: &mut impl Part<'a, 'b>) -> Option<ServerAuth<'b>> {
        auth.over(part)
    }

    fn show(auth: &ServerAuth<'_>, _number: Option<u8>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match auth {
            ServerAuth::Probe { ticket, signed, .. } => write!(f, "Probe({} {signed})", ticket.number),
            ServerAuth::Attempt { ticket, .. } => write!(f, "Attempt({})", ticket.number),
            ServerAuth::Signed { ticket, .. } => write!(f, "Signed({})", ticket.number),
            ServerAuth::HostProbe { ticket, .. } => write!(f, "HostProbe({})", ticket.number),
            ServerAuth::HostSigned { ticket, .. } => write!(f, "HostSigned({})", ticket.number),
            ServerAuth::Outcome(outcome) => write!(f, "Over({:?} {})", outcome.result, outcome.counted),
        }
    }
}
