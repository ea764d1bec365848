//! The server's side of user authentication.
//!
//! The core parses, verifies signatures, counts and delays; who may come in is the application's
//! decision, one ticket an attempt. Everything that is not accepted is rejected.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::{CONNECTION_SERVICE, Method, MethodSet, USERAUTH_SERVICE};
use crate::crypto::{Digest, HashAlg, SigAlg};
use crate::error::{Failure, Fault, TimerKind, UsageError};
use crate::keys::PublicKey;
use crate::msg::{
    MAX_PROMPTS, Message, ServiceAccept, ServiceRequest, UserauthBanner, UserauthFailure,
    UserauthInfoRequest, UserauthInfoResponse, UserauthPasswdChangereq, UserauthPkOk, UserauthRequest,
    UserauthSuccess,
};
use crate::time::Time;
use crate::transport::Transport;
use crate::transport::legal::State;
use crate::transport::negotiate::Role;
use crate::wire::{DecodeError, NameList, Reader, Sink, SshStr};

/// Bytes of text that one message to the user may have: far below a packet, and what a client of
/// ours reads of banners in all.
const MAX_TEXT: usize = 64 * 1024;

/// Answers one authentication attempt or probe. Give it to `decide_auth`.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an attempt without a verdict holds up the client until the login grace time ends"]
pub struct AuthTicket {
    pub(crate) number: u32,
}

/// The application's word on an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The user is in; for a probe: the key would do.
    Accept,
    /// No. The answer goes out after a delay that does not depend on the reason.
    Reject,
    /// Right so far, and one of these methods is needed too.
    Partial(MethodSet),
    /// Ask the user; for keyboard-interactive only. `Attempt::Answers` follows.
    Challenge(Challenge),
    /// The password was right but has expired; for passwords only. `Attempt::PasswordChange`
    /// may follow. The answer to that too, when the new password will not do (RFC 4252 §8).
    PasswordExpired {
        /// Text for the user: that the password has expired, or what is wrong with the new one.
        prompt: String,
    },
}

/// Questions to the user (RFC 4256 §3.2), at most 64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// Title; may be empty.
    pub name: String,
    /// What to do; may be empty.
    pub instruction: String,
    /// Each with whether the answer may be shown while it is typed.
    pub prompts: Vec<(String, bool)>,
}

/// What a client offers as proof.
#[derive(Debug)]
#[non_exhaustive]
pub enum Attempt<'b> {
    /// Nothing.
    None,
    /// A password. Compare it in constant time.
    Password(&'b [u8]),
    /// An expired password and a new one.
    PasswordChange {
        /// The expired one.
        old: &'b [u8],
        /// The new one.
        new: &'b [u8],
    },
    /// A key whose signature over this session was verified.
    PublicKey {
        /// The key that signed.
        key: Box<PublicKey>,
        /// The algorithm of the signature.
        alg: SigAlg,
    },
    /// The start of keyboard-interactive; answer with `Challenge`.
    KeyboardInteractive {
        /// What the client would like to be asked by, comma-separated; mostly empty.
        submethods: SshStr<'b>,
    },
    /// The answers to the last challenge, as many as it had prompts.
    Answers(Answers<'b>),
}

/// Answers of keyboard-interactive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Answers<'b>(UserauthInfoResponse<'b>);

impl<'b> Answers<'b> {
    /// The answers in order. Compare them in constant time.
    pub fn iter(&self) -> impl Iterator<Item = &'b [u8]> + Clone + use<'b> {
        self.0.answers()
    }
}

impl core::fmt::Debug for Answers<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Answers({})", self.0.count)
    }
}

/// Why an attempt was rejected before the application could be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthRejection {
    /// The user name is no text, or holds a NUL.
    UserName,
    /// The method is not offered now, or the service is another than `ssh-connection`.
    Method,
    /// The password is longer than the limits allow.
    PasswordLength,
    /// The signature algorithm is not among those that users may sign with; those of certificates
    /// are not.
    Algorithm,
    /// The key cannot be read, is too short, does not fit the algorithm, or has served as a factor.
    Key,
    /// The signature is not one of this key over this session.
    Signature,
    /// The number of answers is not the number of prompts (RFC 4256 §3.4).
    AnswerCount,
}

impl fmt::Display for AuthRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AuthRejection::UserName => "the user name is no text",
            AuthRejection::Method => "the method is not offered",
            AuthRejection::PasswordLength => "the password is too long",
            AuthRejection::Algorithm => "the signature algorithm is not accepted (PubkeyAcceptedAlgorithms)",
            AuthRejection::Key => "the key is unusable, too short, or was used before",
            AuthRejection::Signature => "the signature is wrong",
            AuthRejection::AnswerCount => "the number of answers is wrong",
        })
    }
}

/// What the server's authentication has for the application.
#[derive(Debug)]
pub(crate) enum RawAuth {
    /// Would this key do?
    Probe(AuthTicket),
    /// An attempt.
    Attempt(AuthTicket),
    /// An attempt that was rejected already.
    Rejected(AuthRejection),
    /// The user is in.
    Authenticated,
}

/// What came of a verdict.
pub(crate) struct Decided {
    pub(crate) event: Result<Option<RawAuth>, Failure>,
    /// Why the verdict did not fit, if it did not.
    pub(crate) misfit: Option<UsageError>,
}

#[derive(Debug)]
enum Waiting {
    /// For the client.
    Client,
    /// For the application's verdict over an attempt.
    Verdict(Kind, u32),
    /// For the delay of a rejection.
    Delay,
    /// For the answers of a challenge.
    Answers(u32),
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    None,
    Password,
    Probe { alg: SigAlg, blob: Vec<u8> },
    PublicKey { key: PublicKey },
    Interactive,
}

/// The machine.
#[derive(Debug)]
pub(crate) struct ServerAuth {
    waiting: Waiting,
    /// Methods that can go on now.
    methods: MethodSet,
    banner: Option<String>,
    /// User and service of the first request; a change ends the connection.
    user: Option<Vec<u8>>,
    service: Option<Vec<u8>>,
    number: u32,
    failures: u32,
    requests: u32,
    probes: u32,
    /// Keys that were a factor already; each counts once (AS-27), however its blob is spelt.
    used_keys: Vec<PublicKey>,
    /// A rejection that waits: when the attempt came, and whether it was partly right.
    arrived: Time,
    delay: Duration,
    delay_secret: [u8; 32],
}

impl ServerAuth {
    pub(crate) fn new(methods: MethodSet, banner: Option<String>, delay_secret: [u8; 32]) -> Self {
        ServerAuth {
            waiting: Waiting::Client,
            methods,
            banner,
            user: None,
            service: None,
            number: 0,
            failures: 0,
            requests: 0,
            probes: 0,
            used_keys: Vec::new(),
            arrived: Time::ZERO,
            delay: Duration::ZERO,
            delay_secret,
        }
    }

    pub(crate) fn user(&self) -> Option<&[u8]> {
        self.user.as_deref()
    }

    pub(crate) fn done(&self) -> bool {
        matches!(self.waiting, Waiting::Done)
    }

    /// The application, or a delay, has to come first.
    pub(crate) fn awaits_decision(&self) -> bool {
        matches!(self.waiting, Waiting::Verdict(..) | Waiting::Delay)
    }

    // ---- what the client sends ----

    pub(crate) fn on_service(&mut self, transport: &mut Transport, payload: &[u8]) -> Result<(), Failure> {
        let m = Transport::parse::<ServiceRequest<'_>>(payload)?;
        if m.service.as_bytes() != USERAUTH_SERVICE.as_bytes() {
            return Err(Failure::text(
                Fault::ServiceNotAvailable,
                alloc::format!("\"{}\"", m.service.excerpt(100)),
            ));
        }
        transport.sender.send(&ServiceAccept::new(m.service));
        if transport.base() != State::Service {
            // Paramiko asks again before each method. That changes nothing, and is not to be had for ever.
            return self.count(transport);
        }
        transport.enter(State::Auth);
        if let Some(banner) = self.banner.take() {
            let end = (0..=MAX_TEXT.min(banner.len())).rev().find(|i| banner.is_char_boundary(*i));
            let text = banner.get(..end.unwrap_or(0)).unwrap_or_default();
            transport.sender.send(&UserauthBanner { message: SshStr::new(text.as_bytes()) });
        }
        Ok(())
    }

    pub(crate) fn receive(
        &mut self,
        transport: &mut Transport,
        now: Time,
        number: u8,
        payload: &[u8],
    ) -> Result<Option<RawAuth>, Failure> {
        self.arrived = now;
        match number {
            UserauthRequest::NUMBER => self.on_request(transport, now, payload),
            UserauthInfoResponse::NUMBER => {
                let m = Transport::parse::<UserauthInfoResponse<'_>>(payload)?;
                let Waiting::Answers(asked) = self.waiting else { return Err(Failure::unexpected(number)) };
                if m.count != asked {
                    // RFC 4256 §3.4: a failure, not an error.
                    return self.refuse(transport, now, AuthRejection::AnswerCount);
                }
                Ok(Some(self.ask(Kind::Interactive)))
            }
            other => Err(Failure::unexpected(other)),
        }
    }

    fn count(&mut self, transport: &Transport) -> Result<(), Failure> {
        self.requests = self.requests.saturating_add(1);
        if self.requests > transport.config.limits.auth_requests {
            return Err(Fault::TooManyAuthAttempts.into());
        }
        Ok(())
    }

    fn on_request(
        &mut self,
        transport: &mut Transport,
        now: Time,
        payload: &[u8],
    ) -> Result<Option<RawAuth>, Failure> {
        let m = Transport::parse::<UserauthRequest<'_>>(payload)?;
        self.count(transport)?;
        // Whatever was asked before is over with a new request (RFC 4256 §3.1).
        self.waiting = Waiting::Client;
        // With another user or service, what was proven before must not count (RFC 4252 §5).
        let other_user = self.user.as_deref().is_some_and(|u| u != m.user.as_bytes());
        if other_user || self.service.as_deref().is_some_and(|s| s != m.service.as_bytes()) {
            return Err(Fault::PrincipalChanged.into());
        }
        self.user = Some(m.user.as_bytes().to_vec());
        self.service = Some(m.service.as_bytes().to_vec());
        let sane = m.user.to_str().is_some_and(|u| !u.contains('\0'));
        let method = m.method.to_str().and_then(Method::from_name).filter(|method| {
            (*method == Method::None || self.methods.contains(*method))
                && m.service.as_bytes() == CONNECTION_SERVICE.as_bytes()
                && sane
        });
        // The whole message is parsed before anybody is looked up (AS-19).
        match method {
            None if !sane => self.refuse(transport, now, AuthRejection::UserName),
            None => self.refuse(transport, now, AuthRejection::Method),
            Some(Method::None) => {
                Reader::new(m.fields).end().map_err(|e| Failure::malformed(UserauthRequest::NUMBER, e))?;
                Ok(Some(self.ask(Kind::None)))
            }
            Some(Method::Password) => {
                let password = PasswordFields::parse(m.fields)
                    .map_err(|e| Failure::malformed(UserauthRequest::NUMBER, e))?;
                if password.longest() > transport.config.limits.password {
                    return self.refuse(transport, now, AuthRejection::PasswordLength);
                }
                Ok(Some(self.ask(Kind::Password)))
            }
            Some(Method::KeyboardInteractive) => {
                let mut r = Reader::new(m.fields);
                r.string()
                    .and_then(|_| r.string())
                    .and_then(|_| r.end())
                    .map_err(|e| Failure::malformed(UserauthRequest::NUMBER, e))?;
                Ok(Some(self.ask(Kind::Interactive)))
            }
            Some(Method::PublicKey) => self.on_public_key(transport, now, payload, m.fields),
        }
    }

    fn on_public_key(
        &mut self,
        transport: &mut Transport,
        now: Time,
        payload: &[u8],
        fields: &[u8],
    ) -> Result<Option<RawAuth>, Failure> {
        let m = KeyFields::parse(fields).map_err(|e| Failure::malformed(UserauthRequest::NUMBER, e))?;
        // The policy decides before any key parser sees the blob (AS-08).
        let alg = m
            .algorithm
            .to_str()
            .and_then(SigAlg::from_name)
            .filter(|a| transport.config.algorithms.user_key.contains(a));
        let Some(alg) = alg else { return self.refuse(transport, now, AuthRejection::Algorithm) };
        let key = PublicKey::from_blob(m.blob)
            .ok()
            .filter(|k| k.fits(alg) && k.strength_ok(transport.config.limits.rsa_bits))
            .filter(|k| !self.used_keys.contains(k));
        let Some(key) = key else { return self.refuse(transport, now, AuthRejection::Key) };
        let Some(signature) = m.signature else {
            self.probes = self.probes.saturating_add(1);
            if self.probes > transport.config.limits.key_probes {
                return Err(Fault::TooManyAuthAttempts.into());
            }
            let RawAuth::Attempt(ticket) = self.ask(Kind::Probe { alg, blob: m.blob.to_vec() }) else {
                return Ok(None);
            };
            return Ok(Some(RawAuth::Probe(ticket)));
        };
        // Over the bytes as they were received, so that nothing can be read in two ways (AS-31).
        // `payload` ends with the signature, a string of its own.
        let signed = payload.len().saturating_sub(signature.len().saturating_add(4));
        let mut message = Vec::with_capacity(payload.len().saturating_add(68));
        message.put_string(transport.session_id.as_ref().map_or(&[], |id| id.as_bytes()));
        message.put(payload.get(..signed).unwrap_or_default());
        let canonical = fields.first() == Some(&1);
        let genuine =
            crate::keys::signature::verify(transport.provider(), &key, alg, &message, signature).is_ok();
        if !genuine || !canonical {
            return self.refuse(transport, now, AuthRejection::Signature);
        }
        Ok(Some(self.ask(Kind::PublicKey { key })))
    }

    fn ask(&mut self, kind: Kind) -> RawAuth {
        self.number = self.number.wrapping_add(1);
        self.waiting = Waiting::Verdict(kind, self.number);
        RawAuth::Attempt(AuthTicket { number: self.number })
    }

    // ---- what the application says ----

    /// What comes of a verdict. One that does not fit is a rejection.
    pub(crate) fn decide(
        &mut self,
        transport: &mut Transport,
        now: Time,
        ticket: &AuthTicket,
        verdict: Verdict,
    ) -> Result<Decided, UsageError> {
        let kind = match &self.waiting {
            Waiting::Verdict(kind, number) if *number == ticket.number => kind.clone(),
            _ => return Err(UsageError::StaleTicket),
        };
        // The first question what there is is free (OpenSSH auth2.c).
        let counted = kind != Kind::None || self.requests > 1;
        let misfit = match verdict {
            Verdict::Reject => None,
            verdict => match self.grant(transport, kind, verdict) {
                Ok(event) => return Ok(Decided { event: Ok(event), misfit: None }),
                Err(misfit) => Some(misfit),
            },
        };
        Ok(Decided { event: self.reject(transport, now, counted).map(|()| None), misfit })
    }

    /// A verdict that is not a rejection.
    fn grant(
        &mut self,
        transport: &mut Transport,
        kind: Kind,
        verdict: Verdict,
    ) -> Result<Option<RawAuth>, UsageError> {
        match (verdict, kind) {
            (Verdict::Accept, Kind::Probe { alg, blob }) => {
                transport.sender.send(&UserauthPkOk::new(SshStr::new(alg.name().as_bytes()), &blob));
                self.waiting = Waiting::Client;
                Ok(None)
            }
            (Verdict::Accept, _) => {
                transport.sender.send(&UserauthSuccess::new(&[]));
                self.waiting = Waiting::Done;
                transport.enter(State::Connected);
                transport.start_delayed_compression(Role::Server);
                transport.start_delayed_compression(Role::Client);
                transport.timers.set(TimerKind::LoginGrace, None);
                Ok(Some(RawAuth::Authenticated))
            }
            (Verdict::Partial(methods), kind) if !matches!(kind, Kind::Probe { .. }) => {
                if let Kind::PublicKey { key } = kind {
                    self.used_keys.push(key);
                }
                self.methods = methods;
                self.send_failure(transport, true);
                Ok(None)
            }
            (Verdict::Challenge(challenge), Kind::Interactive) => self.challenge(transport, &challenge),
            (Verdict::PasswordExpired { prompt }, Kind::Password) => {
                let prompt = SshStr::new(prompt.as_bytes());
                transport.sender.send(&UserauthPasswdChangereq::new(prompt, SshStr::new(b"")));
                self.waiting = Waiting::Client;
                Ok(None)
            }
            _ => Err(UsageError::VerdictMismatch),
        }
    }

    fn challenge(
        &mut self,
        transport: &mut Transport,
        challenge: &Challenge,
    ) -> Result<Option<RawAuth>, UsageError> {
        let count = u32::try_from(challenge.prompts.len()).unwrap_or(u32::MAX);
        if count > MAX_PROMPTS {
            return Err(UsageError::AnswerCount);
        }
        let mut prompts = Vec::new();
        for (prompt, echo) in &challenge.prompts {
            // RFC 4256 §3.2: a prompt is not empty.
            if prompt.is_empty() {
                return Err(UsageError::InvalidText);
            }
            prompts.put_string(prompt.as_bytes());
            prompts.put_bool(*echo);
        }
        let (name, instruction) = (challenge.name.as_bytes(), challenge.instruction.as_bytes());
        let texts = prompts.len().saturating_add(name.len()).saturating_add(instruction.len());
        if texts > MAX_TEXT {
            return Err(UsageError::InvalidText);
        }
        let request = UserauthInfoRequest::new(SshStr::new(name), SshStr::new(instruction), count, &prompts);
        transport.sender.send(&request);
        self.waiting = Waiting::Answers(count);
        Ok(None)
    }

    // ---- rejection ----

    /// Rejects what the application need not be asked about.
    fn refuse(
        &mut self,
        transport: &mut Transport,
        now: Time,
        why: AuthRejection,
    ) -> Result<Option<RawAuth>, Failure> {
        self.reject(transport, now, true)?;
        Ok(Some(RawAuth::Rejected(why)))
    }

    /// Counts a failure and answers it, at once or after the delay (AS-20).
    fn reject(&mut self, transport: &mut Transport, now: Time, counted: bool) -> Result<(), Failure> {
        if !counted {
            self.send_failure(transport, false);
            return Ok(());
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= transport.config.limits.auth_tries {
            return Err(Fault::TooManyAuthAttempts.into());
        }
        self.delay = self.delay_of_user(transport);
        self.waiting = Waiting::Delay;
        self.rearm(transport, now);
        Ok(())
    }

    /// 5 ms and up to 4.2 ms more that only this server and this user name decide: a lookup that
    /// takes longer or shorter for a known user does not show (OpenSSH auth2.c).
    fn delay_of_user(&self, transport: &Transport) -> Duration {
        let user = self.user.as_deref().unwrap_or_default();
        let hash = Digest::of(transport.provider(), HashAlg::Sha512, &[&self.delay_secret, user]);
        let extra = hash.as_bytes().first_chunk::<2>().map_or(0, |b| u16::from_be_bytes(*b));
        // 65,535 units of 64 ns are 4.2 ms.
        Duration::from_micros(5000).saturating_add(Duration::from_nanos(u64::from(extra).saturating_mul(64)))
    }

    fn rearm(&mut self, transport: &mut Transport, now: Time) {
        // When the decision took longer than the delay, the delay doubles until it does not.
        let most = Duration::from_secs(5);
        while self.arrived + self.delay < now && self.delay < most {
            self.delay = self.delay.saturating_mul(2);
        }
        transport.timers.set(TimerKind::AuthDelay, Some(self.arrived + self.delay));
    }

    /// The delay ended.
    pub(crate) fn on_delay(&mut self, transport: &mut Transport) {
        if matches!(self.waiting, Waiting::Delay) {
            self.send_failure(transport, false);
        }
    }

    fn send_failure(&mut self, transport: &mut Transport, partial: bool) {
        let names = self.methods.name_list();
        let list = NameList::parse(names.as_bytes()).unwrap_or(NameList::EMPTY);
        transport.sender.send(&UserauthFailure::new(list, partial));
        self.waiting = Waiting::Client;
    }
}

/// The fields of a password request.
struct PasswordFields<'a> {
    old: &'a [u8],
    new: Option<&'a [u8]>,
}

impl<'a> PasswordFields<'a> {
    fn parse(fields: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(fields);
        let change = r.bool()?;
        let old = r.string()?;
        let new = if change { Some(r.string()?) } else { None };
        r.end()?;
        Ok(PasswordFields { old, new })
    }

    fn longest(&self) -> usize {
        self.old.len().max(self.new.map_or(0, <[u8]>::len))
    }
}

/// The fields of a publickey request.
struct KeyFields<'a> {
    algorithm: SshStr<'a>,
    blob: &'a [u8],
    signature: Option<&'a [u8]>,
}

impl<'a> KeyFields<'a> {
    fn parse(fields: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(fields);
        let signed = r.bool()?;
        let (algorithm, blob) = (r.text()?, r.string()?);
        let signature = if signed { Some(r.string()?) } else { None };
        r.end()?;
        Ok(KeyFields { algorithm, blob, signature })
    }
}

/// The user, the method and the signature algorithm that a rejected request names; nothing for answers.
pub(crate) fn named(payload: &[u8]) -> [SshStr<'_>; 3] {
    let Ok(m) = UserauthRequest::parse(payload) else { return [SshStr::new(b""); 3] };
    let key = KeyFields::parse(m.fields).ok().filter(|_| m.method.as_bytes() == b"publickey");
    [m.user, m.method, key.map_or(SshStr::new(b""), |key| key.algorithm)]
}

/// Makes the application's view of a request that was checked before.
pub(crate) fn present(payload: &[u8]) -> Option<(SshStr<'_>, Attempt<'_>)> {
    if let Ok(answers) = UserauthInfoResponse::parse(payload) {
        return Some((SshStr::new(b""), Attempt::Answers(Answers(answers))));
    }
    let m = UserauthRequest::parse(payload).ok()?;
    let attempt = match Method::from_name(m.method.to_str()?)? {
        Method::None => Attempt::None,
        Method::Password => {
            let fields = PasswordFields::parse(m.fields).ok()?;
            match fields.new {
                None => Attempt::Password(fields.old),
                Some(new) => Attempt::PasswordChange { old: fields.old, new },
            }
        }
        Method::PublicKey => {
            let fields = KeyFields::parse(m.fields).ok()?;
            let alg = SigAlg::from_name(fields.algorithm.to_str()?)?;
            Attempt::PublicKey { key: Box::new(PublicKey::from_blob(fields.blob).ok()?), alg }
        }
        Method::KeyboardInteractive => {
            let mut r = Reader::new(m.fields);
            r.string().ok()?;
            Attempt::KeyboardInteractive { submethods: r.text().ok()? }
        }
    };
    Some((m.user, attempt))
}
