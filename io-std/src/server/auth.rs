//! Answers to authentication: tickets that can be answered now, later, or on another thread.

use std::fmt;
use std::sync::Arc;

use konko_core::UsageError;
use konko_core::auth::{Method, MethodSet};
use konko_core::client::Password;
use konko_core::crypto::{HashAlg, SigAlg};
use konko_core::keys::PublicKey;
use konko_core::server::{AuthTicket, Challenge, Verdict};

use super::connection::Connection;
use crate::error::{Error, ErrorKind, Outcome};
use crate::notice::Notice;

/// What a client offers as proof.
#[derive(Debug)]
#[non_exhaustive]
pub enum Credential {
    /// Nothing. Most clients begin with it to learn what methods there are; reject it then.
    None,
    /// A password.
    Password(Password),
    /// An expired password and a new one.
    PasswordChange {
        /// The expired one.
        old: Password,
        /// The new one.
        new: Password,
    },
    /// A key whose signature over this very session was verified.
    PublicKey {
        /// The key that signed.
        key: Box<PublicKey>,
        /// The algorithm of the signature.
        algorithm: SigAlg,
    },
    /// The start of keyboard-interactive; answer with [`AuthAttempt::challenge`].
    KeyboardInteractive {
        /// What the client would like to be asked by, comma-separated; mostly empty.
        submethods: String,
    },
    /// The answers to the last challenge, as many as it had prompts.
    Answers(Vec<Password>),
}

impl Credential {
    /// The authentication method it belongs to.
    pub fn method(&self) -> Method {
        match self {
            Credential::None => Method::None,
            Credential::Password(_) | Credential::PasswordChange { .. } => Method::Password,
            Credential::PublicKey { .. } => Method::PublicKey,
            Credential::KeyboardInteractive { .. } | Credential::Answers(_) => Method::KeyboardInteractive,
        }
    }

    /// The key, of a public key.
    pub fn key(&self) -> Option<&PublicKey> {
        match self {
            Credential::PublicKey { key, .. } => Some(key),
            _ => None,
        }
    }
}

/// A client asks whether it would help to sign with a key. Nothing is proven yet, so saying yes lets
/// nobody in: it asks the client to sign, and an [`AuthAttempt`] follows. Dropped, it says no.
pub struct KeyProbe {
    pending: Pending,
    user: String,
    key: Box<PublicKey>,
    algorithm: SigAlg,
}

impl KeyProbe {
    pub(super) fn new(
        connection: &Connection,
        ticket: AuthTicket,
        user: String,
        key: Box<PublicKey>,
        algorithm: SigAlg,
    ) -> Self {
        KeyProbe { pending: Pending::new(connection, ticket), user, key, algorithm }
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.pending.connection
    }

    /// The user name. From the client: escape it before it reaches a terminal.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// How it would sign.
    pub fn algorithm(&self) -> SigAlg {
        self.algorithm
    }

    /// The key would do: the client may sign with it.
    pub fn would_do(mut self) {
        let _ = self.pending.decide(Verdict::Accept, None);
    }

    /// The key would not do. Dropping does the same.
    pub fn refuse(mut self) {
        self.answer_no();
    }

    fn answer_no(&mut self) {
        if self.pending.ticket.is_none() {
            return;
        }
        let notice = login(Method::PublicKey, &self.user, Some(&self.key), Outcome::Rejected);
        let _ = self.pending.decide(Verdict::Reject, Some(notice));
    }
}

impl Drop for KeyProbe {
    fn drop(&mut self) {
        self.answer_no();
    }
}

impl fmt::Debug for KeyProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyProbe({:?}, {})", self.user, self.key.fingerprint(HashAlg::Sha256))
    }
}

/// A client offers proof of who it is. Signatures were verified already; whether the proof is enough
/// is for this to be answered. Dropped, it is rejected.
pub struct AuthAttempt {
    pending: Pending,
    user: String,
    credential: Credential,
}

impl AuthAttempt {
    pub(super) fn new(
        connection: &Connection,
        ticket: AuthTicket,
        user: String,
        credential: Credential,
    ) -> Self {
        AuthAttempt { pending: Pending::new(connection, ticket), user, credential }
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.pending.connection
    }

    /// The user name. From the client: escape it before it reaches a terminal.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// What is offered.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Lets the user in.
    pub fn accept(mut self) {
        let _ = self.decide(Verdict::Accept, Some(Outcome::Accepted));
    }

    /// Says no, after a delay that does not tell why. Dropping does the same.
    pub fn reject(self) {}

    /// Right so far, and one of these methods is needed too.
    pub fn partial(mut self, methods: MethodSet) {
        let _ = self.decide(Verdict::Partial(methods), Some(Outcome::Partial));
    }

    /// Asks the user something; an attempt with [`Credential::Answers`] follows.
    ///
    /// # Errors
    /// `Usage` if this is no keyboard-interactive, or if the challenge is none that can be sent
    /// (more than 64 prompts, an empty prompt, 64 KiB of text). The attempt is rejected then.
    pub fn challenge(mut self, challenge: Challenge) -> Result<(), Error> {
        self.decide(Verdict::Challenge(challenge), None)
    }

    /// The password was right but has expired; an attempt with [`Credential::PasswordChange`] may
    /// follow.
    ///
    /// # Errors
    /// `Usage` if no password was offered. The attempt is rejected then.
    pub fn password_expired(mut self, prompt: impl Into<String>) -> Result<(), Error> {
        self.decide(Verdict::PasswordExpired { prompt: prompt.into() }, None)
    }

    fn decide(&mut self, verdict: Verdict, outcome: Option<Outcome>) -> Result<(), Error> {
        if self.pending.ticket.is_none() {
            return Ok(());
        }
        let (method, key) = (self.credential.method(), self.credential.key());
        let notice = outcome.map(|outcome| login(method, &self.user, key, outcome));
        self.pending.decide(verdict, notice)
    }
}

impl Drop for AuthAttempt {
    fn drop(&mut self) {
        // Everybody asks with "none" what there is; that is no news.
        let news = self.credential.method() != Method::None;
        let _ = self.decide(Verdict::Reject, news.then_some(Outcome::Rejected));
    }
}

impl fmt::Debug for AuthAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthAttempt({:?}, {})", self.user, self.credential.method())
    }
}

/// A ticket that rejects when it is dropped.
struct Pending {
    connection: Connection,
    ticket: Option<AuthTicket>,
}

impl Pending {
    fn new(connection: &Connection, ticket: AuthTicket) -> Self {
        Pending { connection: connection.clone(), ticket: Some(ticket) }
    }

    /// Decides, once, and tells of it if it counted.
    fn decide(&mut self, verdict: Verdict, notice: Option<Notice>) -> Result<(), Error> {
        let Some(ticket) = self.ticket.take() else { return Ok(()) };
        let decided = self.connection.shared().with(|state| {
            let decided = state.conn.server().decide_auth(ticket, verdict);
            if let Some(notice) = notice.filter(|_| decided.is_ok() && state.ended.is_none()) {
                state.note(|_| notice);
            }
            decided
        });
        match decided {
            // The connection has gone meanwhile; nobody waits for the answer.
            Ok(()) | Err(UsageError::Closed) => Ok(()),
            Err(e) => Err(self.connection.usage(e)),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let _ = self.decide(Verdict::Reject, None);
    }
}

fn login(method: Method, user: &str, key: Option<&PublicKey>, outcome: Outcome) -> Notice {
    let key = key.map(|key| (key.key_type(), key.fingerprint(HashAlg::Sha256)));
    Notice::Login { user: user.to_owned(), method: method.name(), key, outcome }
}

impl Connection {
    pub(super) fn usage(&self, e: UsageError) -> Error {
        Error::new(ErrorKind::Usage(e), &Arc::clone(&self.shared().peer))
    }
}
