//! The keys that an agent holds.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::destination::Destination;
use super::{AgentError, Constraints, Identity, MAX_IDENTITIES, MAX_MESSAGE};
use crate::crypto::Provider;
use crate::keys::{KeyPair, PrivateKey, PublicKey, SignatureAlgorithm};
use crate::rng::Rng;
use crate::time::Time;

/// Rounds of bcrypt behind the lock, about 60 ms. OpenSSH has one; nobody locks often.
const LOCK_ROUNDS: u32 = 8;
/// After each wrong passphrase the next one waits so much longer, up to ten seconds (OpenSSH ssh-agent.c).
const LOCK_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAYS: u32 = 100;

/// The keys of an agent, which all its connections share.
///
/// Nothing here asks what time it is: keys whose time is over are gone with the first call that says so.
pub struct Keyring {
    pub(super) provider: &'static dyn Provider,
    rng: Rng,
    held: Vec<Held>,
    lock: Option<Lock>,
    failures: u32,
    unlock_after: Time,
    lifetime: Option<u32>,
    asks: bool,
}

pub(super) struct Held {
    pair: KeyPair,
    blob: Vec<u8>,
    comment: Vec<u8>,
    expires: Option<Time>,
    pub(super) confirm: bool,
    pub(super) destinations: Vec<Destination>,
}

impl Held {
    pub(super) fn public(&self) -> &PublicKey {
        self.pair.public()
    }

    pub(super) fn comment(&self) -> &[u8] {
        &self.comment
    }

    pub(super) fn blob(&self) -> &[u8] {
        &self.blob
    }
}

struct Lock {
    salt: [u8; 16],
    hash: Zeroizing<[u8; 32]>,
}

impl Keyring {
    /// No keys. `rng` blinds signatures and salts the lock.
    pub fn new(provider: &'static dyn Provider, rng: Rng) -> Self {
        Keyring {
            provider,
            rng,
            held: Vec::new(),
            lock: None,
            failures: 0,
            unlock_after: Time::ZERO,
            lifetime: None,
            asks: false,
        }
    }

    /// Keys that are added without a lifetime have this one, in seconds (`ssh-agent -t`).
    #[must_use]
    pub fn default_lifetime(mut self, seconds: u32) -> Self {
        self.lifetime = Some(seconds);
        self
    }

    /// Somebody can be asked before a key is used ([`Confirm`](super::Confirm)). Without that, a key that wants it
    /// is not taken.
    #[must_use]
    pub fn can_confirm(mut self) -> Self {
        self.asks = true;
        self
    }

    /// Adds a key. One that is there is replaced, with what limits its use.
    ///
    /// # Errors
    ///
    /// [`AgentError::Constraint`] for what cannot be held to; [`AgentError::Key`] for a key that the provider refuses;
    /// [`AgentError::TooManyKeys`] and [`AgentError::TooLarge`] when a list of all keys would be too long for clients.
    pub fn add(
        &mut self,
        key: &PrivateKey,
        comment: &[u8],
        constraints: &Constraints,
        now: Time,
    ) -> Result<(), AgentError> {
        self.add_as(key, key.public(), comment, constraints, now)
    }

    /// Adds a key that is shown as `shown`: its public half, or a certificate for it
    /// ([`Certificate::public`](crate::keys::Certificate::public)). The same key can be there in several such shapes.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add); [`AgentError::Key`] for a certificate that is for another key.
    pub fn add_as(
        &mut self,
        key: &PrivateKey,
        shown: &PublicKey,
        comment: &[u8],
        constraints: &Constraints,
        now: Time,
    ) -> Result<(), AgentError> {
        constraints.check(false)?;
        if constraints.confirm && !self.asks {
            return Err(AgentError::Constraint("nobody can be asked before the key is used"));
        }
        let mut pair = key.key_pair(self.provider).map_err(|bad| AgentError::Key(bad.into()))?;
        if pair.public() != shown {
            pair = pair.certified(shown).map_err(AgentError::Key)?;
        }
        let lifetime = constraints.lifetime.or(self.lifetime);
        let held = Held {
            blob: pair.public().to_blob(),
            pair,
            comment: comment.to_vec(),
            expires: lifetime.map(|seconds| now + Duration::from_secs(seconds.into())),
            confirm: constraints.confirm,
            destinations: constraints.destinations.clone(),
        };
        let others = || self.held.iter().filter(|other| other.public() != held.public());
        let size = |held: &Held| held.blob.len().saturating_add(held.comment.len()).saturating_add(8);
        let listed = others().map(size).fold(size(&held), usize::saturating_add);
        if listed > MAX_MESSAGE.saturating_sub(5) {
            return Err(AgentError::TooLarge);
        }
        if others().count() >= MAX_IDENTITIES {
            return Err(AgentError::TooManyKeys(u32::try_from(self.held.len()).unwrap_or(u32::MAX)));
        }
        match self.held.iter_mut().find(|other| other.public() == held.public()) {
            Some(old) => *old = held,
            None => self.held.push(held),
        }
        Ok(())
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The keys, whether it is locked or not; for whoever owns it.
    pub fn identities(&self) -> impl Iterator<Item = Identity> {
        self.held.iter().map(|held| Identity::new(&held.blob, &held.comment))
    }

    /// Forgets all keys.
    pub fn remove_all(&mut self) {
        self.held.clear();
    }

    /// Forgets the keys whose time is over.
    pub fn expire(&mut self, now: Time) {
        self.held.retain(|held| held.expires.is_none_or(|at| now < at));
    }

    /// When [`expire`](Self::expire) has something to do.
    pub fn next_expiry(&self) -> Option<Time> {
        self.held.iter().filter_map(|held| held.expires).min()
    }

    /// Whether it is locked.
    pub fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// When a passphrase may be tried; each wrong one makes the next one later.
    pub(super) fn unlock_after(&self) -> Time {
        self.unlock_after
    }

    pub(super) fn held(&self) -> &[Held] {
        &self.held
    }

    pub(super) fn find(&self, key: &PublicKey) -> Option<&Held> {
        self.held.iter().find(|held| held.public() == key)
    }

    pub(super) fn remove(&mut self, key: &PublicKey) {
        self.held.retain(|held| held.public() != key);
    }

    pub(super) fn sign(
        &mut self,
        key: &PublicKey,
        algorithm: SignatureAlgorithm,
        message: &[u8],
    ) -> Option<Vec<u8>> {
        let held = self.held.iter().find(|held| held.public() == key)?;
        held.pair.sign(algorithm, message, &mut self.rng).ok()
    }

    pub(super) fn lock(&mut self, passphrase: &[u8]) -> bool {
        if self.is_locked() || passphrase.is_empty() {
            return false;
        }
        let salt = self.rng.array();
        let Some(hash) = stretched(passphrase, &salt) else { return false };
        self.lock = Some(Lock { salt, hash });
        true
    }

    pub(super) fn unlock(&mut self, passphrase: &[u8], now: Time) -> bool {
        let Some(lock) = &self.lock else { return false };
        let right = stretched(passphrase, &lock.salt)
            .is_some_and(|hash| bool::from(hash.as_slice().ct_eq(lock.hash.as_slice())));
        if right {
            self.lock = None;
            self.failures = 0;
        } else {
            self.failures = self.failures.saturating_add(1).min(MAX_DELAYS);
            self.unlock_after = now + LOCK_DELAY.saturating_mul(self.failures);
        }
        right
    }
}

fn stretched(passphrase: &[u8], salt: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let mut hash = Zeroizing::new([0; 32]);
    bcrypt_pbkdf::bcrypt_pbkdf(passphrase, salt, LOCK_ROUNDS, &mut *hash).ok()?;
    Some(hash)
}

/// Prints how many keys there are.
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys{})", self.len(), if self.is_locked() { ", locked" } else { "" })
    }
}
