//! Destinations that a key is for (OpenSSH PROTOCOL.agent §2).

use alloc::vec::Vec;

use super::{AgentError, MAX_USER};
use crate::keys::PublicKey;
use crate::wire::{Reader, Sink};

/// One way that a key may be used on: to a host, and from which one. `ssh-add -h` makes them.
///
/// The agent lets the key be used only over connections that are bound to sessions
/// ([`bind_session`](super::Client::bind_session)) with the host keys that stand here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub(super) from: Hop,
    pub(super) to: Hop,
}

/// One end of a [`Destination`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hop {
    pub(super) user: Vec<u8>,
    pub(super) host: Vec<u8>,
    pub(super) keys: Vec<HopKey>,
}

/// A key that a host of a [`Hop`] may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopKey {
    pub(super) key: PublicKey,
    /// The key signs the certificates of hosts.
    pub(super) authority: bool,
}

impl HopKey {
    /// A host's own key.
    pub fn host(key: PublicKey) -> Self {
        HopKey { key, authority: false }
    }

    /// A key that signs certificates of hosts.
    pub fn authority(key: PublicKey) -> Self {
        HopKey { key, authority: true }
    }

    /// The key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Whether it signs the certificates of hosts, and is no host's own.
    pub fn is_authority(&self) -> bool {
        self.authority
    }
}

impl Hop {
    /// Where the agent runs.
    pub fn origin() -> Self {
        Self::default()
    }

    /// A host, by its name, which certificates are checked with, and its keys.
    pub fn host(name: impl Into<Vec<u8>>, keys: impl IntoIterator<Item = HopKey>) -> Self {
        Hop { user: Vec::new(), host: name.into(), keys: keys.into_iter().collect() }
    }

    /// Only users whose names match this pattern; only where a way ends.
    #[must_use]
    pub fn user(mut self, pattern: impl Into<Vec<u8>>) -> Self {
        self.user = pattern.into();
        self
    }

    /// The host's name; empty for the [origin](Self::origin).
    pub fn name(&self) -> &[u8] {
        &self.host
    }

    /// The pattern of user names; empty for any.
    pub fn user_pattern(&self) -> &[u8] {
        &self.user
    }

    /// The keys that the host may have.
    pub fn keys(&self) -> &[HopKey] {
        &self.keys
    }

    fn put(&self, out: &mut dyn Sink) {
        out.put_string(&self.user);
        out.put_string(&self.host);
        out.put_string(b"");
        for key in &self.keys {
            out.put_string(&key.key.to_blob());
            out.put_bool(key.authority);
        }
    }

    fn read(bytes: &[u8]) -> Result<Self, AgentError> {
        let mut r = Reader::new(bytes);
        let (user, host) = (r.string()?.to_vec(), r.string()?.to_vec());
        if !r.string()?.is_empty() {
            return Err(AgentError::Constraint("a destination has an extension that is not known"));
        }
        if user.len() > MAX_USER {
            return Err(AgentError::Constraint("a pattern of user names is longer than 256 bytes"));
        }
        let mut keys = Vec::new();
        while !r.is_empty() {
            let key = PublicKey::from_blob(r.string()?)?;
            keys.push(HopKey { key, authority: r.bool()? });
        }
        Ok(Hop { user, host, keys })
    }
}

impl Destination {
    /// From one host to another.
    ///
    /// # Errors
    ///
    /// [`AgentError::Constraint`] when `from` names a user, or a host without keys, and when `to` has no name or no
    /// keys: OpenSSH's agent takes none of these.
    pub fn new(from: Hop, to: Hop) -> Result<Self, AgentError> {
        if from.host.is_empty() != from.keys.is_empty() || !from.user.is_empty() {
            return Err(AgentError::Constraint(
                "where a way begins stands a host with its keys, and no user",
            ));
        }
        if to.host.is_empty() || to.keys.is_empty() {
            return Err(AgentError::Constraint("where a way ends stands a host with its keys"));
        }
        if to.user.len() > MAX_USER {
            return Err(AgentError::Constraint("a pattern of user names is longer than 256 bytes"));
        }
        Ok(Destination { from, to })
    }

    /// Where the way begins.
    pub fn from(&self) -> &Hop {
        &self.from
    }

    /// Where it ends.
    pub fn to(&self) -> &Hop {
        &self.to
    }

    /// Without a length in front.
    pub(super) fn put(&self, out: &mut dyn Sink) {
        let hop = |hop: &Hop| {
            let mut bytes = Vec::new();
            hop.put(&mut bytes);
            bytes
        };
        out.put_string(&hop(&self.from));
        out.put_string(&hop(&self.to));
        out.put_string(b"");
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, AgentError> {
        let mut r = Reader::new(bytes);
        let (from, to) = (r.string()?, r.string()?);
        // OpenSSH reads over what follows; what is not known must not be lost.
        if !r.string()?.is_empty() || r.end().is_err() {
            return Err(AgentError::Constraint("a destination has an extension that is not known"));
        }
        Self::new(Hop::read(from)?, Hop::read(to)?)
    }
}
