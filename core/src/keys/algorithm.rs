use core::fmt;

use super::KeyType;
use crate::crypto::{HashAlgorithm, Policy};

/// A signature algorithm, which is a *public key algorithm* of RFC 4252 and a *server host key algorithm*
/// of RFC 4253. A type of key may have several (RFC 8332).
///
/// [`all`](Self::all) are those that are here. One of your own works wherever it stands in a
/// configuration's lists: the connection finds an algorithm by its name there, and the type of its keys
/// by the algorithm.
#[derive(Clone, Copy)]
pub struct SignatureAlgorithm(&'static Algorithm);

/// What there is to know about a signature algorithm: one row.
pub struct Algorithm {
    name: &'static str,
    /// The name in signatures.
    signature: &'static str,
    key_type: KeyType,
    hash: Option<HashAlgorithm>,
    policy: Policy,
}

impl Algorithm {
    /// The algorithm of that name, for keys of that type. It hashes by itself, and is sound.
    pub const fn new(name: &'static str, key_type: KeyType) -> Self {
        Algorithm { name, signature: name, key_type, hash: None, policy: Policy::Modern }
    }

    /// The name in signatures is another one: what a certificate's key signs has the name of the key's own
    /// algorithm (OpenSSH PROTOCOL.certkeys).
    #[must_use]
    pub const fn signature(mut self, name: &'static str) -> Self {
        self.signature = name;
        self
    }

    /// The algorithm signs a hash.
    #[must_use]
    pub const fn hash(mut self, hash: HashAlgorithm) -> Self {
        self.hash = Some(hash);
        self
    }

    /// The strictest policy that has it.
    #[must_use]
    pub const fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }
}

impl SignatureAlgorithm {
    /// The algorithm of a row.
    pub const fn new(row: &'static Algorithm) -> Self {
        SignatureAlgorithm(row)
    }

    /// All that are here, type by type, best first; certificates before plain keys, as OpenSSH has them.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        KeyType::certificates()
            .chain(KeyType::all())
            .flat_map(|kind| kind.signature_algorithms().iter().copied())
    }

    /// The algorithm of that name among [all](Self::all).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|algorithm| algorithm.name() == name)
    }

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        self.0.name
    }

    /// The name that its signatures have.
    pub const fn signature_name(self) -> &'static str {
        self.0.signature
    }

    /// The type of the keys that make such signatures.
    pub const fn key_type(self) -> KeyType {
        self.0.key_type
    }

    /// The hash inside; `None` for an algorithm that hashes by itself, such as Ed25519.
    pub const fn hash(self) -> Option<HashAlgorithm> {
        self.0.hash
    }

    /// The strictest policy that has it.
    pub const fn policy(self) -> Policy {
        self.0.policy
    }
}

impl PartialEq for SignatureAlgorithm {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for SignatureAlgorithm {}

impl fmt::Debug for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
