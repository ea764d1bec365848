//! The server's side of user authentication.
//!
//! The core parses, verifies signatures, counts and delays; who may come in is the application's
//! decision, one ticket an attempt. Everything that is not accepted is rejected.
//!
//! A key is two questions. May it be used, is asked first, of a probe and of a signed request alike
//! (OpenSSH `user_key_allowed`). Only after a yes is a signature verified, so that strangers' keys cost
//! no arithmetic; and what was verified is asked about again, by another ticket.
//!
//! ```text
//! probe  ──> Probe ── yes ──> PK_OK
//! signed ──> Probe ── yes ──> verify ── right ──> Signed ── Accept ──> SUCCESS
//!           no │                 wrong │         Reject │
//!              └────────────> FAILURE after a delay <───┘
//! ```

mod ask;
mod delay;
mod fields;
mod host_based;
mod outcome;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

pub use self::ask::{Answers, AuthDecision, AuthTicket, Challenge, Credential, ProbeTicket, ServerAuth};
use self::delay::Delay;
pub(crate) use self::delay::secret_of;
use self::fields::{KeyFields, PasswordFields};
pub use self::outcome::{AuthOutcome, AuthRejection, AuthResult, VerifiedKey};
use super::{CONNECTION_SERVICE, HOSTBOUND_METHOD, Method, MethodSet, Told, USERAUTH_SERVICE};
use crate::error::{Failure, Fault, UsageError};
use crate::keys::{PublicKey, SignatureAlgorithm, TouchPolicy, signature};
use crate::msg::{
    MAX_PROMPTS, Message, ServiceAccept, ServiceRequest, UserauthBanner, UserauthFailure,
    UserauthInfoRequest, UserauthInfoResponse, UserauthPasswdChangereq, UserauthPkOk, UserauthRequest,
    UserauthSuccess,
};
use crate::rng::Seed;
use crate::time::Time;
use crate::transport::{Liveness, Open, Stage, parse};
use crate::wire::{DecodeError, NameList, Reader, Sink, SshStr};

/// Bytes of text that one message to the user may have: far below a packet, and what a client of
/// ours reads of banners in all.
const MAX_TEXT: usize = 64 * 1024;

#[derive(Debug)]
enum Waiting {
    /// For the client.
    Client,
    /// For the application's decision over an attempt.
    AuthDecision(Kind, u32),
    /// For the application's word on a key; with what was signed, if the client did.
    Probe(Option<Signed>, u32),
    /// For the delay of a rejection.
    Delay(Delay),
    /// For the answers of a challenge.
    Answers(u32),
    /// For the end, with the next poll: too many attempts failed.
    GivenUp,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    None,
    Password,
    PublicKey,
    Interactive,
    HostBased,
}

/// A signature that nobody has looked at, and what it is said to be over.
struct Signed {
    message: Vec<u8>,
    signature: Vec<u8>,
    /// The flag in front is a `true` as it is signed (RFC 4252 §7), not any other number than 0.
    canonical: bool,
    kind: Kind,
}

impl Kind {
    /// The method, and whether it took no proof at all; `answered`: the last questions were some.
    fn shown(self, answered: bool) -> (Method, bool) {
        match self {
            Kind::None => (Method::None, true),
            Kind::Password => (Method::Password, false),
            Kind::PublicKey => (Method::PublicKey, false),
            Kind::HostBased => (Method::HostBased, false),
            Kind::Interactive => (Method::KeyboardInteractive, !answered),
        }
    }
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signed({} bytes)", self.message.len())
    }
}

/// What the request at hand says.
#[derive(Debug, Default)]
struct Offer {
    method: Vec<u8>,
    algorithm: Vec<u8>,
    key: Option<(PublicKey, SignatureAlgorithm)>,
    /// The key of a probe as it came, which may be spelt otherwise than it would be here.
    blob: Vec<u8>,
    /// Of `hostbased`: the client's host, and the user there.
    vouched: Option<(Vec<u8>, Vec<u8>)>,
}

/// Longest name of a user, a service or a method, in bytes; they are kept. Ours; longer than any system has, and
/// than any principal of a directory.
const MAX_NAME: usize = 4096;

/// The machine.
#[derive(Debug)]
pub(crate) struct Userauth {
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
    attempted: bool,
    /// Questions of the request at hand were answered.
    answered: bool,
    /// Keys that were a factor already, certificates by the key that they are for; each counts once (AS-27), however its
    /// blob is spelt.
    used_keys: Vec<PublicKey>,
    offer: Offer,
    /// What the application has not been told.
    news: VecDeque<Told<ServerAuth<'static>>>,
    /// When the request at hand came.
    arrived: Time,
    delay_secret: Arc<Seed>,
}

impl Userauth {
    pub(crate) fn new(methods: MethodSet, banner: Option<String>, delay_secret: Arc<Seed>) -> Self {
        Userauth {
            waiting: Waiting::Client,
            methods,
            banner,
            user: None,
            service: None,
            number: 0,
            failures: 0,
            requests: 0,
            probes: 0,
            attempted: false,
            answered: false,
            used_keys: Vec::new(),
            offer: Offer::default(),
            news: VecDeque::new(),
            arrived: Time::ZERO,
            delay_secret,
        }
    }

    pub(crate) fn user(&self) -> Option<&[u8]> {
        self.user.as_deref()
    }

    /// The application, or a delay, has to come first.
    pub(crate) fn awaits_decision(&self) -> bool {
        matches!(self.waiting, Waiting::AuthDecision(..) | Waiting::Probe(..) | Waiting::Delay(_))
    }

    /// The client has tried something that could have let it in.
    pub(crate) fn attempted(&self) -> bool {
        self.attempted
    }

    /// What the application is to be told next. After all of it, too many failures end the connection.
    pub(crate) fn news(
        &mut self,
        liveness: &mut Liveness,
        now: Time,
    ) -> Result<Option<Told<ServerAuth<'static>>>, Failure> {
        self.settle(liveness, now);
        match self.news.pop_front() {
            None if matches!(self.waiting, Waiting::GivenUp) => Err(Fault::TooManyAuthAttempts.into()),
            news => Ok(news),
        }
    }

    // ---- what the client sends ----

    pub(crate) fn on_service(
        &mut self,
        open: &mut Open<'_>,
        now: Time,
        payload: &[u8],
    ) -> Result<(), Failure> {
        let m = parse::<ServiceRequest<'_>>(payload)?;
        if m.service.as_bytes() != USERAUTH_SERVICE.as_bytes() {
            return Err(Failure::text(
                Fault::ServiceNotAvailable,
                alloc::format!("\"{}\"", m.service.excerpt(100)),
            ));
        }
        open.send(&ServiceAccept::new(m.service));
        if open.stage() != Some(Stage::Service) {
            // Paramiko asks again before each method. That changes nothing, and is not to be had for ever.
            return self.count(open);
        }
        open.enter(Stage::Auth, now);
        if let Some(banner) = self.banner.take() {
            let end = (0..=MAX_TEXT.min(banner.len())).rev().find(|i| banner.is_char_boundary(*i));
            let text = banner.get(..end.unwrap_or(0)).unwrap_or_default();
            open.send(&UserauthBanner { message: SshStr::new(text.as_bytes()) });
        }
        Ok(())
    }

    pub(crate) fn receive<'p>(
        &mut self,
        open: &mut Open<'_>,
        now: Time,
        number: u8,
        payload: &'p [u8],
    ) -> Result<Option<ServerAuth<'p>>, Failure> {
        self.arrived = now;
        match number {
            UserauthRequest::NUMBER => self.on_request(open, payload),
            UserauthInfoResponse::NUMBER => {
                let m = parse::<UserauthInfoResponse<'_>>(payload)?;
                let Waiting::Answers(asked) = self.waiting else { return Err(Failure::unexpected(number)) };
                if m.count != asked {
                    // RFC 4256 §3.4: a failure, not an error.
                    return self.refuse(open, AuthRejection::AnswerCount);
                }
                self.answered |= asked > 0;
                let (user, credential) = (SshStr::new(b""), Credential::Answers(Answers(m)));
                Ok(Some(ServerAuth::Attempt { ticket: self.ask(Kind::Interactive), user, credential }))
            }
            other => Err(Failure::unexpected(other)),
        }
    }

    fn count(&mut self, open: &Open<'_>) -> Result<(), Failure> {
        self.requests = self.requests.saturating_add(1);
        if self.requests > open.config().limits.auth_requests {
            return Err(Fault::TooManyAuthAttempts.into());
        }
        Ok(())
    }

    fn on_request<'p>(
        &mut self,
        open: &mut Open<'_>,
        payload: &'p [u8],
    ) -> Result<Option<ServerAuth<'p>>, Failure> {
        let m = parse::<UserauthRequest<'_>>(payload)?;
        self.count(open)?;
        // Whatever was asked before is over with a new request (RFC 4256 §3.1).
        self.waiting = Waiting::Client;
        self.answered = false;
        if [m.user, m.service, m.method].iter().any(|name| name.as_bytes().len() > MAX_NAME) {
            return Err(malformed(DecodeError::Invalid));
        }
        // With another user or service, what was proven before must not count (RFC 4252 §5).
        let other_user = self.user.as_deref().is_some_and(|u| u != m.user.as_bytes());
        if other_user || self.service.as_deref().is_some_and(|s| s != m.service.as_bytes()) {
            return Err(Fault::PrincipalChanged.into());
        }
        self.user = Some(m.user.as_bytes().to_vec());
        self.service = Some(m.service.as_bytes().to_vec());
        let hostbound = m.method.as_bytes() == HOSTBOUND_METHOD.as_bytes();
        let name = if hostbound { SshStr::new(Method::PublicKey.name().as_bytes()) } else { m.method };
        self.offer = Offer { method: name.as_bytes().to_vec(), ..Offer::default() };
        let sane = m.user.to_str().is_some_and(|u| !u.contains('\0'));
        let method = name.to_str().and_then(Method::from_name).filter(|method| {
            (*method == Method::None || self.methods.contains(*method))
                && m.service.as_bytes() == CONNECTION_SERVICE.as_bytes()
                && sane
        });
        self.attempted |= method.is_some_and(|method| method != Method::None);
        // The whole message is parsed before anybody is looked up (AS-19).
        match method {
            None if !sane => self.refuse(open, AuthRejection::UserName),
            None => self.refuse(open, AuthRejection::Method),
            Some(Method::None) => {
                Reader::new(m.fields).end().map_err(malformed)?;
                Ok(Some(self.attempt(Kind::None, m.user, Credential::None)))
            }
            Some(Method::Password) => {
                let password = PasswordFields::parse(m.fields).map_err(malformed)?;
                if password.longest() > open.config().limits.password {
                    return self.refuse(open, AuthRejection::PasswordLength);
                }
                Ok(Some(self.attempt(Kind::Password, m.user, password.attempt())))
            }
            Some(Method::KeyboardInteractive) => {
                let submethods = fields::submethods(m.fields).map_err(malformed)?;
                let credential = Credential::KeyboardInteractive { submethods };
                Ok(Some(self.attempt(Kind::Interactive, m.user, credential)))
            }
            Some(Method::PublicKey) => self.on_public_key(open, payload, &m, hostbound),
            Some(Method::HostBased) => self.on_host_based(open, payload, &m),
        }
    }

    /// Asks about a key, whether the request is signed or not. Nothing here costs arithmetic.
    fn on_public_key<'p>(
        &mut self,
        open: &mut Open<'_>,
        payload: &[u8],
        request: &UserauthRequest<'p>,
        hostbound: bool,
    ) -> Result<Option<ServerAuth<'p>>, Failure> {
        let (user, fields) = (request.user, request.fields);
        let m = KeyFields::parse(fields, hostbound).map_err(malformed)?;
        if m.algorithm.as_bytes().len() > MAX_NAME {
            return Err(malformed(DecodeError::Invalid));
        }
        self.offer.algorithm = m.algorithm.as_bytes().to_vec();
        // Somebody was told to sign for another host (OpenSSH auth2-pubkey.c `userauth_pubkey`).
        let ours = open.first_host_key();
        if m.host_key.is_some_and(|blob| ours.is_none_or(|ours| blob != ours.to_blob())) {
            return self.refuse(open, AuthRejection::HostKey);
        }
        // The policy decides before any key parser sees the blob (AS-08).
        let named = |algorithm: &&SignatureAlgorithm| algorithm.name().as_bytes() == m.algorithm.as_bytes();
        let algorithm = open.config().algorithms.user_key.iter().find(named).copied();
        let Some(algorithm) = algorithm else { return self.refuse(open, AuthRejection::Algorithm) };
        let key = PublicKey::from_blob_with(algorithm.key_type(), m.blob).ok();
        self.offer.key = key.clone().map(|key| (key, algorithm));
        let key = key
            .filter(|k| k.fits(algorithm) && open.config().limits.allow(k))
            .filter(|k| !self.used_keys.contains(&k.plain()));
        let Some(key) = key else { return self.refuse(open, AuthRejection::Key) };
        let canonical = fields.first() == Some(&1);
        let signed =
            m.signature.map(|signature| signed(open, payload, signature, (Kind::PublicKey, canonical)));
        if signed.is_none() {
            self.probes = self.probes.saturating_add(1);
            if self.probes > open.config().limits.key_probes {
                return Err(Fault::TooManyAuthAttempts.into());
            }
            self.offer.blob = m.blob.to_vec();
        }
        self.number = self.number.wrapping_add(1);
        let (ticket, is_signed) = (ProbeTicket { number: self.number }, signed.is_some());
        self.waiting = Waiting::Probe(signed, self.number);
        Ok(Some(ServerAuth::Probe { ticket, user, key: Box::new(key), algorithm, signed: is_signed }))
    }

    fn attempt<'p>(&mut self, kind: Kind, user: SshStr<'p>, credential: Credential<'p>) -> ServerAuth<'p> {
        ServerAuth::Attempt { ticket: self.ask(kind), user, credential }
    }

    fn ask(&mut self, kind: Kind) -> AuthTicket {
        self.number = self.number.wrapping_add(1);
        self.waiting = Waiting::AuthDecision(kind, self.number);
        AuthTicket { number: self.number }
    }

    // ---- what the application says ----

    /// What comes of the application's word on a key. None of it lets anybody in.
    pub(crate) fn decide_probe(
        &mut self,
        open: &mut Open<'_>,
        ticket: &ProbeTicket,
        usable: Option<TouchPolicy>,
    ) -> Result<(), UsageError> {
        let Waiting::Probe(signed, number) = &mut self.waiting else { return Err(UsageError::StaleTicket) };
        if *number != ticket.number {
            return Err(UsageError::StaleTicket);
        }
        let signed = signed.take();
        let (Some(policy), Some((key, algorithm))) = (usable, self.offer.key.clone()) else {
            self.reject(open, AuthRejection::Decision, true);
            return Ok(());
        };
        let Some(signed) = signed else {
            // RFC 4252 §7: the blob from the request, to the byte.
            let name = SshStr::new(algorithm.name().as_bytes());
            open.send(&UserauthPkOk::new(name, &self.offer.blob));
            self.waiting = Waiting::Client;
            return Ok(());
        };
        match verify(open, key, algorithm, &signed) {
            Some(verified) if !policy.admits(verified.details()) => {
                self.reject(open, AuthRejection::Presence, true);
            }
            Some(verified) => {
                let (ticket, key) = (self.ask(signed.kind), Box::new(verified));
                let told = match self.offer.vouched.take() {
                    Some((host, user)) => ServerAuth::HostSigned { ticket, key, host, user },
                    None => ServerAuth::Signed { ticket, key },
                };
                self.news.push_back(Told::Auth(told));
            }
            None => self.reject(open, AuthRejection::Signature, true),
        }
        Ok(())
    }

    /// What comes of a decision. One that does not fit is a rejection.
    pub(crate) fn decide(
        &mut self,
        open: &mut Open<'_>,
        now: Time,
        ticket: &AuthTicket,
        decision: AuthDecision,
    ) -> Result<(), UsageError> {
        let kind = match &self.waiting {
            Waiting::AuthDecision(kind, number) if *number == ticket.number => *kind,
            _ => return Err(UsageError::StaleTicket),
        };
        let misfit = match decision {
            AuthDecision::Reject => Ok(()),
            decision => match self.grant(open, now, kind, decision) {
                Ok(()) => return Ok(()),
                misfit => misfit,
            },
        };
        // The first question what there is is free (OpenSSH auth2.c).
        self.reject(open, AuthRejection::Decision, kind != Kind::None || self.requests > 1);
        misfit
    }

    /// A decision that is not a rejection.
    fn grant(
        &mut self,
        open: &mut Open<'_>,
        now: Time,
        kind: Kind,
        decision: AuthDecision,
    ) -> Result<(), UsageError> {
        match (decision, kind) {
            (AuthDecision::Accept, _) => {
                open.send(&UserauthSuccess::new(&[]));
                self.waiting = Waiting::Done;
                open.enter(Stage::Connected, now);
                self.tell(AuthResult::Accepted, false);
                let (method, trivial) = kind.shown(self.answered);
                self.news.push_back(Told::Authenticated { method, trivial });
                Ok(())
            }
            (AuthDecision::Partial(methods), kind) => {
                self.tell(AuthResult::Partial, false);
                if let (Kind::PublicKey, Some((key, _))) = (kind, self.offer.key.take()) {
                    self.used_keys.push(key.plain());
                }
                self.methods = methods;
                self.send_failure(open, true);
                Ok(())
            }
            (AuthDecision::Challenge(challenge), Kind::Interactive) => self.challenge(open, &challenge),
            (AuthDecision::PasswordExpired { prompt }, Kind::Password) => {
                let prompt = SshStr::new(prompt.as_bytes());
                open.send(&UserauthPasswdChangereq::new(prompt, SshStr::new(b"")));
                self.waiting = Waiting::Client;
                Ok(())
            }
            _ => Err(UsageError::DecisionMismatch),
        }
    }

    fn challenge(&mut self, open: &mut Open<'_>, challenge: &Challenge) -> Result<(), UsageError> {
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
        open.send(&request);
        self.waiting = Waiting::Answers(count);
        Ok(())
    }

    // ---- rejection ----

    /// Rejects what the application need not be asked about.
    fn refuse(
        &mut self,
        open: &mut Open<'_>,
        why: AuthRejection,
    ) -> Result<Option<ServerAuth<'static>>, Failure> {
        self.reject(open, why, true);
        Ok(None)
    }

    /// Tells of a failure, counts it, and answers it at once or after the delay (AS-20).
    fn reject(&mut self, open: &mut Open<'_>, why: AuthRejection, counted: bool) {
        self.tell(AuthResult::Rejected(why), counted);
        if !counted {
            self.send_failure(open, false);
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= open.config().limits.auth_tries {
            self.waiting = Waiting::GivenUp;
            return;
        }
        let user = self.user.as_deref().unwrap_or_default();
        let least = delay::of_user(open.config().provider, &self.delay_secret, user);
        let delay = Delay::new(self.arrived, least);
        open.liveness().delay_rejection(delay.least());
        self.waiting = Waiting::Delay(delay);
    }

    fn tell(&mut self, result: AuthResult, counted: bool) {
        let Offer { method, algorithm, key, .. } = &self.offer;
        self.news.push_back(Told::Auth(ServerAuth::Outcome(Box::new(AuthOutcome {
            user: self.user.clone().unwrap_or_default(),
            method: method.clone(),
            algorithm: algorithm.clone(),
            key: key.as_ref().map(|(key, _)| Box::new(key.clone())),
            result,
            counted,
        }))));
    }

    /// Looks at the clock after a rejection.
    fn settle(&mut self, liveness: &mut Liveness, now: Time) {
        if let Waiting::Delay(delay) = &mut self.waiting
            && let Some(at) = delay.settle(now)
        {
            liveness.delay_rejection(at);
        }
    }

    /// The delay ended, unless it turns out that the decision took longer.
    pub(crate) fn on_delay(&mut self, open: &mut Open<'_>, now: Time) {
        self.settle(open.liveness(), now);
        if open.liveness().rejection_waits(now) {
            return;
        }
        open.liveness().rejection_answered();
        if matches!(self.waiting, Waiting::Delay(_)) {
            self.send_failure(open, false);
        }
    }

    fn send_failure(&mut self, open: &mut Open<'_>, partial: bool) {
        let names = self.methods.name_list();
        let list = NameList::parse(names.as_bytes()).unwrap_or(NameList::EMPTY);
        open.send(&UserauthFailure::new(list, partial));
        self.waiting = Waiting::Client;
    }
}

/// What was signed: the bytes as they were received, so that nothing can be read in two ways (AS-31). `payload` ends with
/// the signature, a string of its own.
fn signed(open: &Open<'_>, payload: &[u8], signature: &[u8], (kind, canonical): (Kind, bool)) -> Signed {
    let signed = payload.len().saturating_sub(signature.len().saturating_add(4));
    let mut message = Vec::with_capacity(payload.len().saturating_add(68));
    message.put_string(open.session_id().map_or(&[], |id| id.as_bytes()));
    message.put(payload.get(..signed).unwrap_or_default());
    Signed { message, signature: signature.to_vec(), canonical, kind }
}

/// A request that cannot be read.
fn malformed(e: DecodeError) -> Failure {
    Failure::malformed(UserauthRequest::NUMBER, e)
}

/// The only maker of a `VerifiedKey`.
fn verify(
    open: &Open<'_>,
    key: PublicKey,
    algorithm: SignatureAlgorithm,
    signed: &Signed,
) -> Option<VerifiedKey> {
    let genuine =
        signature::verify(open.config().provider, &key, algorithm, &signed.message, &signed.signature);
    let details = signature::details(&signed.signature, algorithm);
    (genuine.is_ok() && signed.canonical).then(|| VerifiedKey::new(key, algorithm, details))
}
