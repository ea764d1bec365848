//! The client's side of user authentication.
//!
//! ```text
//! Idle -> Sent(request) -> FAILURE -> Idle (Needed)
//!                       -> SUCCESS -> authenticated
//!                       -> PK_OK, PASSWD_CHANGEREQ -> Idle (KeyAccepted, PasswordExpired)
//!                       -> INFO_REQUEST -> Prompting -> Sent(keyboard-interactive)
//! Idle -> Signing (external signer) -> Sent(publickey)
//! ```

mod host_based;

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

pub use self::host_based::HostClaim;
use super::{CONNECTION_SERVICE, HOSTBOUND_METHOD, Method, Told};
use crate::error::{Failure, Fault, UsageError};
use crate::keys::{KeyPair, PublicKey, SignatureAlgorithm, signature};
use crate::msg::{
    self, ExtInfo, Message, UserauthBanner, UserauthFailure, UserauthInfoRequest, UserauthInfoResponse,
    UserauthPasswdChangereq, UserauthPkOk, UserauthRequest, UserauthSuccess,
};
use crate::rng::Rng;
use crate::time::Time;
use crate::transport::{HOSTBOUND, Stage, Transport, parse};
use crate::wire::{NameList, Part, Sink, SshStr};

/// Payloads with a password or answers are padded to this, so that short secrets look alike.
const PADDED: usize = 256;

/// How to prove who the user is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AuthRequest<'a> {
    /// Not at all; the answer tells which methods the server has.
    None,
    /// With a password.
    Password(&'a Password),
    /// With an expired password and a new one, after `PasswordExpired`.
    PasswordChange {
        /// The expired one.
        old: &'a Password,
        /// The new one.
        new: &'a Password,
    },
    /// Would this key do? Costs the server nothing and the user no touch; answered by
    /// `KeyAccepted` or `Needed`.
    ProbeKey {
        /// The key.
        key: &'a PublicKey,
        /// How it would sign.
        algorithm: SignatureAlgorithm,
    },
    /// With a key that is here.
    PublicKey {
        /// The key.
        key: &'a Arc<KeyPair>,
        /// How to sign.
        algorithm: SignatureAlgorithm,
    },
    /// With a key that is elsewhere: in an agent, in hardware. The event `Sign` follows.
    ExternalKey {
        /// The public half.
        key: &'a PublicKey,
        /// How to sign.
        algorithm: SignatureAlgorithm,
    },
    /// With answers to the server's questions; the event `Prompts` follows.
    KeyboardInteractive,
    /// With a key of this host, which is here: the host vouches for its user (`hostbased`).
    HostBased {
        /// The host's key.
        key: &'a Arc<KeyPair>,
        /// How to sign.
        algorithm: SignatureAlgorithm,
        /// Who vouches for whom.
        claim: HostClaim<'a>,
    },
    /// The same with a key that is elsewhere, as with ssh-keysign. The event `Sign` follows.
    ExternalHostBased {
        /// The host's key.
        key: &'a PublicKey,
        /// How to sign.
        algorithm: SignatureAlgorithm,
        /// Who vouches for whom.
        claim: HostClaim<'a>,
    },
}

/// A password, wiped on drop and never printed.
pub struct Password(zeroize::Zeroizing<Vec<u8>>);

impl Password {
    /// Takes the password. It should be UTF-8 (RFC 4252 §8); it is sent as it is.
    pub fn new(password: impl Into<Vec<u8>>) -> Self {
        Password(zeroize::Zeroizing::new(password.into()))
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Password {
    fn as_ref(&self) -> &[u8] {
        self.expose()
    }
}

impl core::fmt::Debug for Password {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Answers one round of questions: give it to `answer_prompts`.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the server waits for the answers"]
pub struct PromptTicket {
    pub(crate) number: u32,
}

/// Carries one signature: give it to `provide_signature`, or to `cancel_signature`.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the authentication request goes out with the signature"]
pub struct SignTicket {
    pub(crate) number: u32,
}

/// What is to be signed, and how.
#[derive(Clone, Copy, Debug)]
pub struct SignRequest<'c> {
    /// The key.
    pub key: &'c PublicKey,
    /// The algorithm. An agent is told by its flags; the signature that comes back is checked.
    pub algorithm: SignatureAlgorithm,
    /// The message to sign, as it is: hashing belongs to the algorithm.
    pub message: &'c [u8],
}

/// Answers the question whose key the host key is: give it to `decide_host_key`.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the connection waits for the decision; nothing is sent to a host that was not accepted"]
pub struct HostKeyTicket {
    pub(crate) number: u32,
}

/// What only a client is asked: about the server's key, and for proof of who its user is (RFC 4252).
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuth<'b> {
    /// The server proved that it has the key that [`offered_host_key`](crate::ClientConnection::offered_host_key) shows. Is
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
    /// A signature is needed; see [`sign_request`](crate::ClientConnection::sign_request).
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

impl<'a> ClientAuth<'a> {
    /// The same in other bytes.
    pub(crate) fn over<'b>(self, part: &mut impl Part<'a, 'b>) -> Option<ClientAuth<'b>> {
        Some(match self {
            Self::HostKey(ticket) => ClientAuth::HostKey(ticket),
            Self::Needed { methods: None, partial_success } => {
                ClientAuth::Needed { methods: None, partial_success }
            }
            Self::Needed { methods: Some(methods), partial_success } => {
                ClientAuth::Needed { methods: Some(methods.over(part)?), partial_success }
            }
            Self::Banner(text) => ClientAuth::Banner(text.over(part)?),
            Self::Prompts { ticket, prompts } => ClientAuth::Prompts { ticket, prompts: prompts.over(part)? },
            Self::Sign(ticket) => ClientAuth::Sign(ticket),
            Self::KeyAccepted => ClientAuth::KeyAccepted,
            Self::PasswordExpired { prompt } => ClientAuth::PasswordExpired { prompt: prompt.over(part)? },
        })
    }
}

#[derive(Debug)]
enum Waiting {
    /// For the service.
    Service,
    /// For the application.
    Idle,
    /// For the server's answer.
    Sent(Sent),
    /// For a signature.
    Signing {
        key: PublicKey,
        algorithm: SignatureAlgorithm,
        message: Vec<u8>,
        number: u32,
    },
    /// For a signature of the host.
    Vouching {
        key: PublicKey,
        algorithm: SignatureAlgorithm,
        fields: Vec<u8>,
        message: Vec<u8>,
        number: u32,
    },
    /// For answers.
    Prompting {
        number: u32,
        count: u32,
    },
    Done,
}

#[derive(Debug)]
enum Sent {
    None,
    Password,
    Probe(PublicKey),
    PublicKey,
    Interactive,
    HostBased,
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Userauth {
    waiting: Waiting,
    user: Vec<u8>,
    number: u32,
    attempts: u32,
    banners: u32,
    banner_bytes: usize,
    /// Some proof was really asked for: a signature, a password, an answered prompt.
    proof: bool,
    method: Method,
    pub(crate) server_sig_algs: Option<ServerAlgorithms>,
    /// The server takes requests that are bound to its host key.
    hostbound: bool,
    rng: Rng,
}

impl Userauth {
    pub(crate) fn new(rng: Rng) -> Self {
        Userauth {
            waiting: Waiting::Service,
            user: Vec::new(),
            number: 0,
            attempts: 0,
            banners: 0,
            banner_bytes: 0,
            proof: false,
            method: Method::None,
            server_sig_algs: None,
            hostbound: false,
            rng,
        }
    }

    /// The next request can be sent.
    pub(crate) fn idle(&self) -> bool {
        matches!(self.waiting, Waiting::Idle)
    }

    /// The application has to speak next.
    pub(crate) fn awaits_decision(&self) -> bool {
        matches!(self.waiting, Waiting::Signing { .. } | Waiting::Vouching { .. } | Waiting::Prompting { .. })
    }

    // ---- what the application asks for ----

    pub(crate) fn authenticate(
        &mut self,
        transport: &mut Transport,
        now: Time,
        user: &[u8],
        method: &AuthRequest<'_>,
    ) -> Result<Option<SignTicket>, UsageError> {
        match self.waiting {
            Waiting::Idle => {}
            Waiting::Service => return Err(UsageError::TooEarly),
            Waiting::Done => return Err(UsageError::AlreadyAuthenticated),
            _ => return Err(UsageError::RequestPending),
        }
        if user.contains(&0) || user.len() > 1024 {
            return Err(UsageError::InvalidText);
        }
        if self.attempts >= transport.config().limits.client_attempts {
            return Err(UsageError::TooManyAttempts);
        }
        self.user = user.to_vec();
        self.proof = false;
        self.request(transport, now, method)
    }

    fn request(
        &mut self,
        transport: &mut Transport,
        now: Time,
        method: &AuthRequest<'_>,
    ) -> Result<Option<SignTicket>, UsageError> {
        let mut fields = zeroize::Zeroizing::new(Vec::new());
        let (name, sent, pad) = match method {
            AuthRequest::None => (Method::None, Sent::None, 0),
            AuthRequest::Password(password) => {
                fields.reserve_exact(password.expose().len().saturating_add(5));
                fields.put_bool(false);
                fields.put_string(password.expose());
                self.proof = true;
                (Method::Password, Sent::Password, PADDED)
            }
            AuthRequest::PasswordChange { old, new } => {
                let len = old.expose().len().saturating_add(new.expose().len());
                fields.reserve_exact(len.saturating_add(9));
                fields.put_bool(true);
                fields.put_string(old.expose());
                fields.put_string(new.expose());
                self.proof = true;
                (Method::Password, Sent::Password, PADDED)
            }
            AuthRequest::ProbeKey { key, algorithm } => {
                fit(transport, key, *algorithm)?;
                put_key(&mut fields, false, *algorithm, key);
                (Method::PublicKey, Sent::Probe((*key).clone()), 0)
            }
            AuthRequest::PublicKey { key, algorithm } => {
                fit(transport, key.public(), *algorithm)?;
                let message = self.to_sign(transport, key.public(), *algorithm);
                let signature =
                    key.sign(*algorithm, &message, &mut self.rng).map_err(|_| UsageError::KeyMismatch)?;
                self.put_signed(&mut fields, transport, *algorithm, key.public());
                fields.put_string(&signature);
                self.proof = true;
                (Method::PublicKey, Sent::PublicKey, 0)
            }
            AuthRequest::ExternalKey { key, algorithm } => {
                fit(transport, key, *algorithm)?;
                self.number = self.number.wrapping_add(1);
                let message = self.to_sign(transport, key, *algorithm);
                let number = self.number;
                self.waiting =
                    Waiting::Signing { key: (*key).clone(), algorithm: *algorithm, message, number };
                return Ok(Some(SignTicket { number }));
            }
            AuthRequest::KeyboardInteractive => {
                // Language and submethods, both empty.
                fields.put_string(b"");
                fields.put_string(b"");
                (Method::KeyboardInteractive, Sent::Interactive, 0)
            }
            AuthRequest::HostBased { key, algorithm, claim } => {
                let (before, message) = self.vouched(transport, key.public(), *algorithm, claim)?;
                let signature =
                    key.sign(*algorithm, &message, &mut self.rng).map_err(|_| UsageError::KeyMismatch)?;
                fields.put(&before);
                fields.put_string(&signature);
                self.proof = true;
                (Method::HostBased, Sent::HostBased, 0)
            }
            AuthRequest::ExternalHostBased { key, algorithm, claim } => {
                return self.vouch_elsewhere(transport, key, *algorithm, claim).map(Some);
            }
        };
        crate::channel::bounded(&fields)?;
        let wire_name = self.wire_name(name, &sent);
        self.send(transport, now, (name, wire_name), &fields, pad)?;
        self.waiting = Waiting::Sent(sent);
        Ok(None)
    }

    fn send(
        &mut self,
        transport: &mut Transport,
        now: Time,
        (method, name): (Method, &str),
        fields: &[u8],
        pad: usize,
    ) -> Result<(), UsageError> {
        let [user, service, name] =
            [&self.user, CONNECTION_SERVICE.as_bytes(), name.as_bytes()].map(SshStr::new);
        let request = UserauthRequest::new(user, service, name, fields);
        transport.post_padded(&request, pad)?;
        self.attempts = self.attempts.saturating_add(1);
        self.method = method;
        transport.liveness().auth_asked(now);
        Ok(())
    }

    /// RFC 4252 §7: the session identifier and the request up to the signature.
    fn to_sign(&self, transport: &Transport, key: &PublicKey, algorithm: SignatureAlgorithm) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_string(transport.handshake().session_id().map_or(&[], |id| id.as_bytes()));
        out.put_u8(UserauthRequest::NUMBER);
        out.put_string(&self.user);
        out.put_string(CONNECTION_SERVICE.as_bytes());
        out.put_string(self.wire_name(Method::PublicKey, &Sent::PublicKey).as_bytes());
        self.put_signed(&mut out, transport, algorithm, key);
        out
    }

    /// What a request is called. A question whether a key would do is not bound, as in OpenSSH.
    fn wire_name(&self, method: Method, sent: &Sent) -> &'static str {
        if self.hostbound && matches!(sent, Sent::PublicKey) { HOSTBOUND_METHOD } else { method.name() }
    }

    /// The fields of a signed request before the signature, with the host key it is bound to.
    fn put_signed(
        &self,
        out: &mut Vec<u8>,
        transport: &Transport,
        algorithm: SignatureAlgorithm,
        key: &PublicKey,
    ) {
        put_key(out, true, algorithm, key);
        if let Some(host_key) = transport.handshake().first_host_key().filter(|_| self.hostbound) {
            out.put_string(&host_key.to_blob());
        }
    }

    pub(crate) fn sign_request(&self, ticket: &SignTicket) -> Option<SignRequest<'_>> {
        match &self.waiting {
            Waiting::Signing { key, algorithm, message, number } if *number == ticket.number => {
                Some(SignRequest { key, algorithm: *algorithm, message })
            }
            Waiting::Vouching { key, algorithm, message, number, .. } if *number == ticket.number => {
                Some(SignRequest { key, algorithm: *algorithm, message })
            }
            _ => None,
        }
    }

    /// Sends the request with a signature made elsewhere, after checking that it is one.
    pub(crate) fn provide_signature(
        &mut self,
        transport: &mut Transport,
        now: Time,
        ticket: &SignTicket,
        signature: &[u8],
    ) -> Result<(), UsageError> {
        let provider = transport.config().provider;
        let request = self.sign_request(ticket).ok_or(UsageError::StaleTicket)?;
        let mut fields = Vec::new();
        let (method, sent) = match &self.waiting {
            Waiting::Vouching { fields: before, .. } => {
                fields.put(before);
                (Method::HostBased, Sent::HostBased)
            }
            _ => {
                self.put_signed(&mut fields, transport, request.algorithm, request.key);
                (Method::PublicKey, Sent::PublicKey)
            }
        };
        let genuine = signature::verify(provider, request.key, request.algorithm, request.message, signature);
        // Servers are stricter than we are about zeros that a signer put in front of ECDSA's numbers.
        let exact = signature::decode(signature, request.algorithm)
            .map(|raw| signature::encode(request.algorithm, &raw));
        fields.put_string(&exact.unwrap_or_default());
        // The question is answered either way; a signature that is none never leaves (AC-09).
        self.waiting = Waiting::Idle;
        genuine.map_err(|_| UsageError::KeyMismatch)?;
        let name = self.wire_name(method, &sent);
        self.send(transport, now, (method, name), &fields, 0)?;
        self.proof = true;
        self.waiting = Waiting::Sent(sent);
        Ok(())
    }

    pub(crate) fn cancel_signature(&mut self, ticket: &SignTicket) -> Result<(), UsageError> {
        self.sign_request(ticket).ok_or(UsageError::StaleTicket)?;
        self.waiting = Waiting::Idle;
        Ok(())
    }

    pub(crate) fn answer_prompts(
        &mut self,
        transport: &mut Transport,
        now: Time,
        ticket: &PromptTicket,
        answers: &[&[u8]],
    ) -> Result<(), UsageError> {
        let Waiting::Prompting { number, count } = self.waiting else { return Err(UsageError::StaleTicket) };
        if number != ticket.number {
            return Err(UsageError::StaleTicket);
        }
        if u32::try_from(answers.len()) != Ok(count) {
            return Err(UsageError::AnswerCount);
        }
        let len = answers.iter().fold(0usize, |n, a| n.saturating_add(a.len()).saturating_add(4));
        let mut encoded = zeroize::Zeroizing::new(Vec::with_capacity(len));
        for answer in answers {
            encoded.put_string(answer);
        }
        transport.post_padded(&UserauthInfoResponse::new(count, &encoded), PADDED)?;
        transport.liveness().auth_asked(now);
        self.proof |= count > 0;
        self.waiting = Waiting::Sent(Sent::Interactive);
        Ok(())
    }

    // ---- what the server sends ----

    pub(crate) fn service_accepted(&mut self) -> Result<ClientAuth<'static>, Failure> {
        if !matches!(self.waiting, Waiting::Service) {
            return Err(Failure::unexpected(msg::ServiceAccept::NUMBER));
        }
        self.waiting = Waiting::Idle;
        Ok(ClientAuth::Needed { methods: None, partial_success: false })
    }

    pub(crate) fn receive<'p>(
        &mut self,
        transport: &mut Transport,
        now: Time,
        number: u8,
        payload: &'p [u8],
    ) -> Result<Told<ClientAuth<'p>>, Failure> {
        if number == UserauthBanner::NUMBER {
            return self.on_banner(transport, payload).map(Told::Auth);
        }
        let Waiting::Sent(sent) = &self.waiting else { return Err(Failure::unexpected(number)) };
        let auth = match number {
            UserauthFailure::NUMBER => {
                let m = parse::<UserauthFailure<'_>>(payload)?;
                self.waiting = Waiting::Idle;
                let methods = Some(m.methods).filter(|methods| !methods.is_empty());
                ClientAuth::Needed { methods, partial_success: m.partial_success }
            }
            UserauthSuccess::NUMBER => {
                parse::<UserauthSuccess<'_>>(payload)?;
                if matches!(sent, Sent::Probe(_)) {
                    self.proof = false;
                }
                self.waiting = Waiting::Done;
                transport.enter(Stage::Connected, now);
                return Ok(Told::Authenticated { method: self.method, trivial: !self.proof });
            }
            // 60 means what the request says (AC-03).
            60 => match sent {
                Sent::Probe(key) => {
                    let m = parse::<UserauthPkOk<'_>>(payload)?;
                    if !confirms(&m, key) {
                        let text = "USERAUTH_PK_OK for another key than the one asked about".into();
                        return Err(Failure::text(Fault::UnexpectedMessage, text));
                    }
                    self.waiting = Waiting::Idle;
                    ClientAuth::KeyAccepted
                }
                Sent::Password => {
                    let m = parse::<UserauthPasswdChangereq<'_>>(payload)?;
                    self.waiting = Waiting::Idle;
                    ClientAuth::PasswordExpired { prompt: m.prompt }
                }
                Sent::Interactive => {
                    let m = parse::<UserauthInfoRequest<'_>>(payload)?;
                    self.number = self.number.wrapping_add(1);
                    let number = self.number;
                    self.waiting = Waiting::Prompting { number, count: m.count };
                    ClientAuth::Prompts { ticket: PromptTicket { number }, prompts: m }
                }
                _ => return Err(Failure::unexpected(number)),
            },
            other => return Err(Failure::unexpected(other)),
        };
        transport.liveness().auth_answered();
        Ok(Told::Auth(auth))
    }

    fn on_banner<'p>(&mut self, transport: &Transport, payload: &'p [u8]) -> Result<ClientAuth<'p>, Failure> {
        let m = parse::<UserauthBanner<'_>>(payload)?;
        self.banners = self.banners.saturating_add(1);
        self.banner_bytes = self.banner_bytes.saturating_add(m.message.as_bytes().len());
        let limits = &transport.config().limits;
        if self.banners > limits.banners || self.banner_bytes > limits.banner_bytes {
            return Err(Fault::TooMuchBeforeAuth.into());
        }
        Ok(ClientAuth::Banner(m.message))
    }

    /// Remembers which signatures the server takes (RFC 8308 §3.1). A second EXT_INFO replaces the
    /// first, also in what it leaves out (§2.4).
    pub(crate) fn on_ext_info(&mut self, transport: &Transport, info: &ExtInfo<'_>) {
        let value = info.iter().find(|(name, _)| *name == b"server-sig-algs").map(|(_, value)| value);
        let list = value.and_then(|v| NameList::parse(v).ok());
        let ours = transport.config().algorithms.user_key.iter().copied();
        self.server_sig_algs = list.map(|theirs| ServerAlgorithms {
            common: ours.filter(|algorithm| theirs.contains(algorithm.signature_name())).collect(),
            names: theirs.to_string(),
        });
        // Its value is the version; there is one.
        self.hostbound = info.iter().any(|(name, value)| name == HOSTBOUND.as_bytes() && value == b"0");
    }

    /// How to sign with `key` here: what the policy allows and the server takes, best first. A
    /// server that says nothing gets all that the policy allows.
    pub(crate) fn signature_algorithms(
        &self,
        transport: &Transport,
        key: &PublicKey,
    ) -> Vec<SignatureAlgorithm> {
        let old = key.is_certificate() && transport.handshake().peer_signs_certificates_by_type();
        let fits = |a: &SignatureAlgorithm| {
            // What hashes by itself, or has one hash, is not concerned.
            key.fits(*a) && (!old || a.name() == a.key_type().name())
        };
        let allowed = transport.config().algorithms.user_key.iter().copied().filter(fits);
        match &self.server_sig_algs {
            // OpenSSH 7.4 leaves RSA with SHA-2 out of its list, and takes it (OpenSSH compat.c `SSH_BUG_SIGTYPE74`).
            Some(theirs) => {
                let incomplete = transport.handshake().peer_ident().starts_with(b"SSH-2.0-OpenSSH_7.4");
                let left_out = |a: &SignatureAlgorithm| {
                    incomplete && matches!(a.signature_name(), "rsa-sha2-256" | "rsa-sha2-512")
                };
                allowed.filter(|a| theirs.common.contains(a) || left_out(a)).collect()
            }
            None => allowed.collect(),
        }
    }

    /// The names that the server listed in server-sig-algs.
    pub(crate) fn server_names(&self) -> Option<&str> {
        self.server_sig_algs.as_ref().map(|theirs| theirs.names.as_str())
    }
}

/// What a server says it takes (RFC 8308 §3.1).
#[derive(Debug)]
pub(crate) struct ServerAlgorithms {
    /// Those of ours that it lists.
    common: Vec<SignatureAlgorithm>,
    /// All, for a report.
    names: String,
}

/// What an agent needs to be bound to a session, see [`bind_session`](crate::agent::Client::bind_session): the host key
/// of the first key exchange, the session identifier, and the server's signature over it.
#[derive(Clone, Copy, Debug)]
pub struct SessionBinding<'c> {
    /// The host key.
    pub host_key: &'c PublicKey,
    /// The session identifier.
    pub session_id: &'c [u8],
    /// The signature blob.
    pub signature: &'c [u8],
}

fn fit(transport: &Transport, key: &PublicKey, algorithm: SignatureAlgorithm) -> Result<(), UsageError> {
    let allowed = transport.config().algorithms.user_key.contains(&algorithm);
    if key.fits(algorithm) && allowed { Ok(()) } else { Err(UsageError::KeyMismatch) }
}

/// Whether PK_OK is for this key, whatever the spelling of its blob, and names an algorithm of its
/// kind. Devices say `ssh-rsa` where they were asked about `rsa-sha2-512`; what will sign is what was
/// asked about (OpenSSH `input_userauth_pk_ok`).
fn confirms(m: &UserauthPkOk<'_>, key: &PublicKey) -> bool {
    let named = |algorithm: &SignatureAlgorithm| algorithm.name().as_bytes() == m.algorithm.as_bytes();
    key.signature_algorithms().iter().any(named)
        && PublicKey::from_blob_with(key.key_type(), m.key).as_ref() == Ok(key)
}

/// The fields of a publickey request before the signature.
fn put_key(out: &mut Vec<u8>, signed: bool, algorithm: SignatureAlgorithm, key: &PublicKey) {
    out.put_bool(signed);
    out.put_string(algorithm.name().as_bytes());
    out.put_string(&key.to_blob());
}
