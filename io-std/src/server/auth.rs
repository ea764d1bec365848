//! Answers to authentication: tickets that can be answered now, later, or on another thread.

use std::fmt;
use std::sync::Arc;

use konko_core::auth::{Method, MethodSet};
use konko_core::client::Password;
use konko_core::crypto::HashAlgorithm;
use konko_core::keys::{PublicKey, SignatureAlgorithm, SignatureDetails, TouchPolicy};
use konko_core::server::{AuthDecision, AuthTicket, Challenge, ProbeTicket};
use konko_core::{Decision, ServerConnection, UsageError};

use super::connection::Connection;
use crate::error::{Error, ErrorKind};
use crate::state::State;

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
        algorithm: SignatureAlgorithm,
        /// What a security key said about its user.
        details: Option<SignatureDetails>,
    },
    /// A host vouches for its user; its signature over this very session was verified.
    HostBased {
        /// The host's key.
        key: Box<PublicKey>,
        /// The algorithm of the signature.
        algorithm: SignatureAlgorithm,
        /// The host, as it calls itself.
        host: String,
        /// The user there.
        user: String,
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
            Credential::HostBased { .. } => Method::HostBased,
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

/// May a user come in with a key? Nothing is proven yet, so saying yes lets nobody in: the client is
/// asked to sign, or has signed and the signature is verified, and an [`AuthAttempt`] follows. Dropped,
/// it says no.
pub struct KeyProbe {
    connection: Connection,
    ticket: Option<ProbeTicket>,
    user: String,
    key: Box<PublicKey>,
    algorithm: SignatureAlgorithm,
    signed: bool,
}

impl KeyProbe {
    pub(super) fn new(
        connection: &Connection,
        ticket: ProbeTicket,
        user: String,
        key: Box<PublicKey>,
        algorithm: SignatureAlgorithm,
        signed: bool,
    ) -> Self {
        KeyProbe { connection: connection.clone(), ticket: Some(ticket), user, key, algorithm, signed }
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The user name. From the client: escape it before it reaches a terminal.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// How it signs.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// Whether the client has signed already. Nobody has looked at the signature.
    pub fn signed(&self) -> bool {
        self.signed
    }

    /// The key would do: the client may sign with it. A security key has to be touched.
    pub fn would_do(self) {
        self.would_do_with(TouchPolicy::default());
    }

    /// The key would do, and this is what a security key has to say about its user.
    pub fn would_do_with(mut self, policy: TouchPolicy) {
        if let Some(ticket) = self.ticket.take() {
            // Where the connection has gone meanwhile, nobody waits for the answer.
            let _ = self.connection.shared().with(|state| state.end.accept_probe(ticket, policy));
        }
    }

    /// The key would not do. Dropping does the same.
    pub fn reject(mut self) {
        self.say_no();
    }

    /// Answers, once.
    fn say_no(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let decide =
                |state: &mut State<ServerConnection>| state.end.decide_probe(ticket, Decision::Reject);
            // Where the connection has gone meanwhile, nobody waits for the answer.
            let _ = self.connection.shared().with(decide);
        }
    }
}

impl Drop for KeyProbe {
    fn drop(&mut self) {
        self.say_no();
    }
}

impl fmt::Debug for KeyProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyProbe({:?}, {})", self.user, self.key.fingerprint(HashAlgorithm::Sha256))
    }
}

/// May a user come in because another host vouches for it (`hostbased`, RFC 4252 §9)? Nothing is proven yet: saying yes
/// has the host's signature verified, and an [`AuthAttempt`] follows. Dropped, it says no.
#[derive(Debug)]
pub struct HostProbe {
    pub(super) probe: KeyProbe,
    pub(super) host: String,
    pub(super) host_user: String,
}

impl HostProbe {
    /// The connection, the user who wants to come in, and the host's key.
    pub fn key_probe(&self) -> &KeyProbe {
        &self.probe
    }

    /// The host, as it calls itself. Escape it before it reaches a terminal.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The user there.
    pub fn host_user(&self) -> &str {
        &self.host_user
    }

    /// The host would be believed, with this key and for this user.
    pub fn would_do(self) {
        self.probe.would_do();
    }
}

/// A client offers proof of who it is. Signatures were verified already; whether the proof is enough
/// is for this to be answered. Dropped, it is rejected.
pub struct AuthAttempt {
    connection: Connection,
    ticket: Option<AuthTicket>,
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
        AuthAttempt { connection: connection.clone(), ticket: Some(ticket), user, credential }
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
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
        let _ = self.decide(AuthDecision::Accept);
    }

    /// Says no, after a delay that does not tell why. Dropping does the same.
    pub fn reject(self) {}

    /// Right so far, and one of these methods is needed too.
    pub fn partial(mut self, methods: MethodSet) {
        let _ = self.decide(AuthDecision::Partial(methods));
    }

    /// Asks the user something; an attempt with [`Credential::Answers`] follows.
    ///
    /// # Errors
    /// `Usage` if this is no keyboard-interactive, or if the challenge is none that can be sent
    /// (more than 64 prompts, an empty prompt, 64 KiB of text). The attempt is rejected then.
    pub fn challenge(mut self, challenge: Challenge) -> Result<(), Error> {
        self.decide(AuthDecision::Challenge(challenge))
    }

    /// The password was right but has expired; an attempt with [`Credential::PasswordChange`] may
    /// follow.
    ///
    /// # Errors
    /// `Usage` if no password was offered. The attempt is rejected then.
    pub fn password_expired(mut self, prompt: impl Into<String>) -> Result<(), Error> {
        self.decide(AuthDecision::PasswordExpired { prompt: prompt.into() })
    }

    /// Decides, once.
    fn decide(&mut self, decision: AuthDecision) -> Result<(), Error> {
        let Some(ticket) = self.ticket.take() else { return Ok(()) };
        match self.connection.shared().with(|state| state.end.decide_auth(ticket, decision)) {
            // The connection has gone meanwhile; nobody waits for the answer.
            Ok(()) | Err(UsageError::Closed) => Ok(()),
            Err(e) => Err(self.connection.usage(e)),
        }
    }
}

impl Drop for AuthAttempt {
    fn drop(&mut self) {
        let _ = self.decide(AuthDecision::Reject);
    }
}

impl fmt::Debug for AuthAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthAttempt({:?}, {})", self.user, self.credential.method())
    }
}

impl Connection {
    pub(super) fn usage(&self, e: UsageError) -> Error {
        Error::new(ErrorKind::Usage(e), &Arc::clone(&self.shared().peer))
    }
}
