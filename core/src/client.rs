//! The client's face.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::auth::USERAUTH_SERVICE;
pub use crate::auth::client::{AuthMethod, Password, PromptTicket, SignRequest, SignTicket};
use crate::auth::client::{RawAuth, Userauth};
use crate::channel::WindowConfig;
use crate::connection::{Connection, Event, Logic, Machine, Raw, Side};
use crate::crypto::SigAlg;
use crate::error::{Failure, TimerKind, UsageError};
use crate::keys::PublicKey;
use crate::msg::{
    self, DisconnectCode, ExtInfo, Message, UserauthBanner, UserauthFailure, UserauthInfoRequest,
    UserauthPasswdChangereq,
};
use crate::replay::{Call, ClientCall, Proof, Texts};
use crate::rng::Seed;
use crate::time::Time;
use crate::transport::negotiate::Role;
use crate::transport::{Transport, TransportConfig};
use crate::wire::{NameList, SshStr};

/// What a client configures.
#[derive(Clone, Debug)]
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
}

/// A client's connection.
pub type ClientConnection = Connection<Client>;

/// The client's role in a [`Connection`].
#[derive(Debug)]
pub struct Client {
    auth: Userauth,
    number: u32,
    asked: Option<u32>,
    /// A signature was asked for and not told yet.
    sign: Option<SignTicket>,
}

/// Answers the question whose key the host key is: give it to `decide_host_key`.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the connection waits for the decision; nothing is sent to a host that was not accepted"]
pub struct HostKeyTicket {
    pub(crate) number: u32,
}

/// What happens on a client's connection.
pub type ClientEvent<'b> = Event<'b, ClientAuth<'b>>;

/// What only a client is asked: about the server's key, and for proof of who its user is (RFC 4252).
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuth<'b> {
    /// The server proved that it has the key that [`ClientConnection::offered_host_key`] shows. Is
    /// it the right one? The core never decides that.
    HostKey(HostKeyTicket),
    /// Call `authenticate`.
    Needed {
        /// Methods that can go on. `None` while the server has not said: before the first request,
        /// and when it answers with an empty list, which it may (RFC 4252 §5.2). Then any method
        /// may be tried.
        methods: Option<NameList<'b>>,
        /// The last request was right, and more is needed.
        partial_success: bool,
    },
    /// Text of the server for the user. Escape it before it reaches a terminal: `SshStr` does.
    Banner(SshStr<'b>),
    /// Questions for the user.
    Prompts {
        /// For `answer_prompts`.
        ticket: PromptTicket,
        /// The questions.
        prompts: UserauthInfoRequest<'b>,
    },
    /// A signature is needed; see [`ClientConnection::sign_request`].
    Sign(SignTicket),
    /// The probed key would do.
    KeyAccepted,
    /// The password was right but has expired, or the new one will not do; `authenticate` with
    /// `PasswordChange`.
    PasswordExpired {
        /// Text of the server.
        prompt: SshStr<'b>,
    },
}

impl Connection<Client> {
    /// Starts a connection. The identification line and the first KEXINIT are in `tx` at once.
    pub fn new(config: Arc<ClientConfig>, seed: Seed, now: Time) -> Self {
        let transport =
            Transport::new(Role::Client, Arc::clone(&config.transport), Vec::new(), false, &seed, now);
        Connection {
            core: Machine::new(transport, config.window, now),
            side: Client { auth: Userauth::new(seed.fork(b"auth")), number: 0, asked: None, sign: None },
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
        self.core.transport.offered_key()
    }

    /// Accepts the host key, or ends the connection.
    pub fn decide_host_key(&mut self, ticket: HostKeyTicket, accept: bool) -> Result<(), UsageError> {
        self.core.note(&Call::Client(ClientCall::DecideHostKey { number: ticket.number, accept }));
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
            let denied = self.core.transport.refuse_host_key();
            self.core.deny(denied, DisconnectCode::HOST_KEY_NOT_VERIFIABLE);
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
    pub fn authenticate(&mut self, user: impl AsRef<[u8]>, method: AuthMethod<'_>) -> Result<(), UsageError> {
        let user = user.as_ref();
        self.core.note(&Call::Client(ClientCall::Authenticate { user, proof: Proof::of(&method) }));
        self.core.usable()?;
        let now = self.core.now;
        let raw = self.side.auth.authenticate(&mut self.core.transport, now, user, &method)?;
        if let Some(RawAuth::Sign(ticket)) = raw {
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
        self.core.note(&Call::Client(ClientCall::ProvideSignature { number, signature }));
        self.core.usable()?;
        let now = self.core.now;
        self.side.auth.provide_signature(&mut self.core.transport, now, &ticket, signature)
    }

    /// Gives up on a signature. Nothing was sent; another `authenticate` may follow.
    pub fn cancel_signature(&mut self, ticket: SignTicket) -> Result<(), UsageError> {
        self.core.note(&Call::Client(ClientCall::CancelSignature(ticket.number)));
        self.core.usable()?;
        self.side.auth.cancel_signature(&ticket)
    }

    /// Answers questions, as many answers as there were prompts.
    pub fn answer_prompts(&mut self, ticket: PromptTicket, answers: &[&str]) -> Result<(), UsageError> {
        let (number, given) = (ticket.number, Texts::Given(answers));
        self.core.note(&Call::Client(ClientCall::AnswerPrompts { number, answers: given }));
        self.core.usable()?;
        let now = self.core.now;
        self.side.auth.answer_prompts(&mut self.core.transport, now, &ticket, answers)
    }

    /// How to sign with `key` here, best first: what it can do, the policy allows and the server
    /// takes (RFC 8308 §3.1, RFC 8332 §3.3).
    pub fn signature_algorithms(&self, key: &PublicKey) -> Vec<SigAlg> {
        self.side.auth.sig_algs(&self.core.transport, key)
    }
}

impl Side for Client {
    type Auth<'b> = ClientAuth<'b>;
}

impl Logic for Client {
    type Raw = RawAuth;

    fn keyed(&mut self, core: &mut Machine) {
        core.transport.request_service(USERAUTH_SERVICE);
        core.transport.expect_reply(core.now);
        let timeout = core.transport.config.limits.auth_reply_timeout;
        core.transport.timers.set(TimerKind::AuthReply, Some(core.now + timeout));
    }

    fn host_key(&mut self, core: &mut Machine) -> Option<RawAuth> {
        // A person may have to look; only the login as a whole has a time.
        core.transport.timers.set(TimerKind::KeyExchange, None);
        self.number = self.number.wrapping_add(1);
        self.asked = Some(self.number);
        Some(RawAuth::HostKey(self.number))
    }

    fn message(
        &mut self,
        core: &mut Machine,
        number: u8,
        payload: &[u8],
    ) -> Result<Option<Raw<RawAuth>>, Failure> {
        let raw = match number {
            msg::ServiceAccept::NUMBER => {
                let m = Transport::parse::<msg::ServiceAccept<'_>>(payload)?;
                let name = m.service.as_bytes();
                if !name.is_empty() && name != USERAUTH_SERVICE.as_bytes() {
                    return Err(Failure::unexpected(number));
                }
                core.transport.measure_rtt(core.now);
                core.transport.timers.set(TimerKind::AuthReply, None);
                core.transport.measure_rtt(core.now);
                core.transport.enter(crate::transport::legal::State::Auth);
                Raw::Auth(self.auth.service_accepted()?)
            }
            ExtInfo::NUMBER => {
                self.auth.on_ext_info(&Transport::parse::<ExtInfo<'_>>(payload)?);
                return Ok(None);
            }
            _ => self.auth.receive(&mut core.transport, number, payload)?,
        };
        if matches!(raw, Raw::Authenticated { .. }) {
            core.authenticated();
        }
        Ok(Some(raw))
    }

    fn pending(&mut self, _core: &mut Machine) -> Result<Option<Raw<RawAuth>>, Failure> {
        Ok(self.sign.take().map(|ticket| Raw::Auth(RawAuth::Sign(ticket))))
    }

    fn awaits_decision(&self) -> bool {
        self.auth.awaits_decision()
    }

    fn delayed(&mut self, _core: &mut Machine) {}

    fn present<'b>(&self, raw: RawAuth, payload: &'b [u8]) -> ClientAuth<'b> {
        let text = |text: Option<SshStr<'b>>| text.unwrap_or(SshStr::new(b""));
        match raw {
            RawAuth::HostKey(number) => ClientAuth::HostKey(HostKeyTicket { number }),
            RawAuth::Needed(listed) => {
                let m = UserauthFailure::parse(payload).ok().filter(|_| listed);
                ClientAuth::Needed {
                    methods: m.map(|m| m.methods).filter(|methods| !methods.is_empty()),
                    partial_success: m.is_some_and(|m| m.partial_success),
                }
            }
            RawAuth::Banner => {
                ClientAuth::Banner(text(UserauthBanner::parse(payload).ok().map(|m| m.message)))
            }
            RawAuth::Prompts(ticket) => {
                let empty = UserauthInfoRequest::new(SshStr::new(b""), SshStr::new(b""), 0, &[]);
                ClientAuth::Prompts { ticket, prompts: UserauthInfoRequest::parse(payload).unwrap_or(empty) }
            }
            RawAuth::Sign(ticket) => ClientAuth::Sign(ticket),
            RawAuth::KeyAccepted => ClientAuth::KeyAccepted,
            RawAuth::PasswordExpired => ClientAuth::PasswordExpired {
                prompt: text(UserauthPasswdChangereq::parse(payload).ok().map(|m| m.prompt)),
            },
        }
    }
}
