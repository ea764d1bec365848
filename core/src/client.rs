//! The client's face.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::auth::client::Userauth;
pub use crate::auth::client::{
    AuthRequest, ClientAuth, HostClaim, HostKeyTicket, Password, PromptTicket, SessionBinding, SignRequest,
    SignTicket,
};
use crate::auth::{Told, USERAUTH_SERVICE};
use crate::channel::WindowConfig;
use crate::connection::{Connection, Decision, Event, Logic, Machine, Side};
use crate::error::{Failure, UsageError};
use crate::keys::{PublicKey, SignatureAlgorithm};
use crate::msg::{self, DisconnectCode, ExtInfo, Message, UserauthFailure};
use crate::options::setters;
use crate::record::{AuthFields, Call, Rest, Texts};
use crate::rng::Seed;
use crate::time::Time;
use crate::transport::negotiate::Role;
use crate::transport::{Stage, Transport, TransportConfig, parse};
use crate::wire::Part;
use crate::wire::SshStr;

/// What a client configures.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Algorithms, limits, rekeying.
    pub transport: Arc<TransportConfig>,
    /// Windows of channels.
    pub window: WindowConfig,
}

impl ClientConfig {
    /// The defaults, on a transport configuration.
    pub fn new(transport: TransportConfig) -> Self {
        ClientConfig { transport: Arc::new(transport), window: WindowConfig::default() }
    }

    setters! {
        /// Windows of channels.
        window: WindowConfig,
    }
}

/// A client's connection.
pub type ClientConnection = Connection<ClientSide>;

/// The client's role in a [`Connection`].
#[derive(Debug)]
pub struct ClientSide {
    auth: Userauth,
    number: u32,
    asked: Option<u32>,
    /// A signature was asked for and not told yet.
    sign: Option<SignTicket>,
}

/// What happens on a client's connection.
pub type ClientEvent<'b> = Event<'b, ClientAuth<'b>>;

impl Connection<ClientSide> {
    /// Starts a connection. The identification line and the first KEXINIT are in `tx` at once.
    pub fn new(config: Arc<ClientConfig>, seed: Seed, now: Time) -> Self {
        let transport =
            Transport::new(Role::Client, Arc::clone(&config.transport), Vec::new(), false, &seed, now);
        Connection {
            core: Machine::new(transport, config.window, now),
            side: ClientSide { auth: Userauth::new(seed.fork(b"auth")), number: 0, asked: None, sign: None },
        }
    }

    /// The same, with everything that happens from now on written down for
    /// [`replay`](crate::replay); see [`take_transcript`](Self::take_transcript). A recording holds
    /// the seed and all data.
    pub fn recorded(config: Arc<ClientConfig>, seed: Seed, now: Time) -> Self {
        let copy = Seed::new(*seed.bytes());
        let mut connection = Self::new(config, copy, now);
        connection.core.record(&seed, now);
        connection
    }

    /// The key that waits for a decision.
    pub fn offered_host_key(&self) -> Option<&PublicKey> {
        self.core.transport.handshake().offered_key()
    }

    /// Accepts the host key, or ends the connection.
    ///
    /// # Errors
    ///
    /// `StaleTicket`; `Closed` when the connection has ended.
    pub fn decide_host_key(&mut self, ticket: HostKeyTicket, decision: Decision) -> Result<(), UsageError> {
        let accept = decision.is_accept();
        self.core.note(&Call::DecideHostKey { number: ticket.number, accept });
        self.core.usable()?;
        if self.side.asked.take_if(|n| *n == ticket.number).is_none() {
            return Err(UsageError::StaleTicket);
        }
        if accept {
            let now = self.core.now;
            if let Err(failure) = self.core.transport.accept_host_key(now) {
                self.core.fail(failure);
            }
        } else {
            let rejected = self.core.transport.reject_host_key();
            self.core.reject(rejected, DisconnectCode::HOST_KEY_NOT_VERIFIABLE);
        }
        Ok(())
    }

    /// Sends an authentication request. What the server says to it is an event: `Authenticated`,
    /// `Needed`, or what the method is documented to bring.
    ///
    /// # Errors
    ///
    /// `TooEarly` before the first `Needed`, `RequestPending` while one is unanswered,
    /// `KeyMismatch` if the key cannot sign with the algorithm or the policy does not allow it,
    /// `Full` after 64 requests.
    pub fn authenticate(
        &mut self,
        user: impl AsRef<[u8]>,
        request: AuthRequest<'_>,
    ) -> Result<(), UsageError> {
        let user = user.as_ref();
        self.core.note(&Call::Authenticate { user, proof: AuthFields::of(&request) });
        self.core.usable()?;
        let now = self.core.now;
        if let Some(ticket) = self.side.auth.authenticate(&mut self.core.transport, now, user, &request)? {
            self.side.sign = Some(ticket);
        }
        Ok(())
    }

    /// Whether [`authenticate`](Self::authenticate) may be called now: the server is ready for it, and no
    /// request is waiting for its answer.
    pub fn may_authenticate(&self) -> bool {
        self.side.auth.idle()
    }

    /// What the ticket's signature is to cover.
    pub fn sign_request(&self, ticket: &SignTicket) -> Option<SignRequest<'_>> {
        self.side.auth.sign_request(ticket)
    }

    /// Sends the request with a signature that was made elsewhere: an SSH signature blob.
    ///
    /// # Errors
    ///
    /// `KeyMismatch` if it is no signature by that key and algorithm; nothing was sent, and
    /// another `authenticate` may follow.
    pub fn provide_signature(&mut self, ticket: SignTicket, signature: &[u8]) -> Result<(), UsageError> {
        let number = ticket.number;
        self.core.note(&Call::ProvideSignature { number, signature: Rest(signature) });
        self.core.usable()?;
        let now = self.core.now;
        self.side.auth.provide_signature(&mut self.core.transport, now, &ticket, signature)
    }

    /// Gives up on a signature. Nothing was sent; another `authenticate` may follow.
    ///
    /// # Errors
    ///
    /// `StaleTicket`; `Closed` when the connection has ended.
    pub fn cancel_signature(&mut self, ticket: SignTicket) -> Result<(), UsageError> {
        self.core.note(&Call::CancelSignature { number: ticket.number });
        self.core.usable()?;
        self.side.auth.cancel_signature(&ticket)
    }

    /// Answers questions, as many answers as there were prompts.
    ///
    /// # Errors
    ///
    /// `StaleTicket`, `AnswerCount` if there are more or fewer answers than prompts, `InvalidText` if one is too long;
    /// `Closed` when the connection has ended.
    pub fn answer_prompts(
        &mut self,
        ticket: PromptTicket,
        answers: &[impl AsRef<[u8]>],
    ) -> Result<(), UsageError> {
        let answers: Vec<&[u8]> = answers.iter().map(AsRef::as_ref).collect();
        let (number, given) = (ticket.number, Texts::Given(&answers));
        self.core.note(&Call::AnswerPrompts { number, answers: given });
        self.core.usable()?;
        let now = self.core.now;
        self.side.auth.answer_prompts(&mut self.core.transport, now, &ticket, &answers)
    }

    /// What binds an agent to this session, once a host key was accepted.
    pub fn session_binding(&self) -> Option<SessionBinding<'_>> {
        let handshake = self.core.transport.handshake();
        Some(SessionBinding {
            host_key: handshake.first_host_key()?,
            session_id: handshake.session_id()?.as_bytes(),
            signature: handshake.proof()?,
        })
    }

    /// The names of the signature algorithms that the server says it takes (`server-sig-algs`, RFC 8308 §3.1), joined
    /// by commas; from the peer. `None` when it has not said.
    pub fn server_signature_algorithms(&self) -> Option<&str> {
        self.side.auth.server_names()
    }

    /// How to sign with `key` here, best first: what it can do, the policy allows and the server
    /// takes (RFC 8308 §3.1, RFC 8332 §3.3).
    pub fn signature_algorithms(&self, key: &PublicKey) -> Vec<SignatureAlgorithm> {
        self.side.auth.signature_algorithms(&self.core.transport, key)
    }
}

impl Side for ClientSide {
    type Auth<'b> = ClientAuth<'b>;
}

impl Logic for ClientSide {
    fn keyed(&mut self, core: &mut Machine) {
        if let Some(mut open) = core.transport.open() {
            open.send(&msg::ServiceRequest::new(SshStr::new(USERAUTH_SERVICE.as_bytes())));
        }
        let liveness = core.transport.liveness();
        liveness.expect_reply(core.now);
        liveness.auth_asked(core.now);
    }

    fn host_key(&mut self, core: &mut Machine) -> Option<ClientAuth<'static>> {
        core.transport.liveness().host_key_asked();
        self.number = self.number.wrapping_add(1);
        self.asked = Some(self.number);
        Some(ClientAuth::HostKey(HostKeyTicket { number: self.number }))
    }

    fn message<'p>(
        &mut self,
        core: &mut Machine,
        number: u8,
        payload: &'p [u8],
    ) -> Result<Option<Told<ClientAuth<'p>>>, Failure> {
        let told = match number {
            msg::ServiceAccept::NUMBER => {
                let m = parse::<msg::ServiceAccept<'_>>(payload)?;
                let name = m.service.as_bytes();
                if !name.is_empty() && name != USERAUTH_SERVICE.as_bytes() {
                    return Err(Failure::unexpected(number));
                }
                let liveness = core.transport.liveness();
                liveness.measure_rtt(core.now);
                liveness.auth_answered();
                core.transport.enter(Stage::Auth, core.now);
                Told::Auth(self.auth.service_accepted()?)
            }
            ExtInfo::NUMBER => {
                self.auth.on_ext_info(&core.transport, &parse::<ExtInfo<'_>>(payload)?);
                return Ok(None);
            }
            _ => self.auth.receive(&mut core.transport, core.now, number, payload)?,
        };
        Ok(Some(told))
    }

    #[inline]
    fn pending(&mut self, _core: &mut Machine) -> Result<Option<Told<ClientAuth<'static>>>, Failure> {
        Ok(self.sign.take().map(|ticket| Told::Auth(ClientAuth::Sign(ticket))))
    }

    fn awaits_decision(&self) -> bool {
        self.auth.awaits_decision()
    }

    fn delayed(&mut self, _core: &mut Machine) {}

    fn over<'a, 'b>(auth: ClientAuth<'a>, part: &mut impl Part<'a, 'b>) -> Option<ClientAuth<'b>> {
        auth.over(part)
    }

    fn show(auth: &ClientAuth<'_>, number: Option<u8>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match auth {
            ClientAuth::HostKey(ticket) => write!(f, "HostKey({})", ticket.number),
            ClientAuth::Needed { .. } => write!(f, "Needed({})", number == Some(UserauthFailure::NUMBER)),
            ClientAuth::Banner(_) => f.write_str("Banner"),
            ClientAuth::Prompts { ticket, .. } => write!(f, "Prompts({ticket:?})"),
            ClientAuth::Sign(ticket) => write!(f, "Sign({ticket:?})"),
            ClientAuth::KeyAccepted => f.write_str("KeyAccepted"),
            ClientAuth::PasswordExpired { .. } => f.write_str("PasswordExpired"),
        }
    }
}
