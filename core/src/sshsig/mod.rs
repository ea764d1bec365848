//! Signatures of files and messages by SSH keys (OpenSSH PROTOCOL.sshsig), and who may make them (ssh-keygen(1), ALLOWED
//! SIGNERS).
//!
//! What is signed is not the message but its hash, together with a namespace, which says what the signature is for: a
//! signature of a file is none of a commit, and none of either lets anybody log in.
//!
//! ```
//! # use konko_core::keys::{KeyType, PrivateKey};
//! # use konko_core::sshsig::{HashKind, MessageHash, Namespace, SshSig, ToSign};
//! # use konko_core::{Rng, Seed, provider};
//! let provider = provider::best();
//! let mut rng = Rng::from_seed(&Seed::new([1; 32]));
//! let key = PrivateKey::generate(KeyType::ED25519, &mut rng).unwrap().key_pair(provider).unwrap();
//! let namespace = Namespace::new(b"file").unwrap();
//!
//! let hash = MessageHash::of(HashKind::Sha512, b"a message");
//! let signature = ToSign::new(key.public(), &namespace, &hash).unwrap().sign(&key, &mut rng).unwrap();
//! let text = signature.to_armored();
//!
//! let signature = SshSig::from_armored(text.as_bytes()).unwrap();
//! let hash = MessageHash::of(signature.hash(), b"a message");
//! let key = signature.verify(provider, &namespace, &hash).unwrap();
//! // Whose key that is, and what it may sign, is in a file of allowed signers.
//! # assert_eq!(key, signature.key());
//! ```

mod allowed;
mod armor;
mod problem;
mod signers;

use alloc::string::String;
use alloc::vec::Vec;

pub use allowed::{SignerProblem, SignerTimes};
pub use problem::SshSigError;
pub use signers::{AllowedSigners, NotAllowed};

use crate::crypto::{HashAlgorithm, Provider};
use crate::keys::{Certificate, KeyPair, PublicKey, SignatureAlgorithm, signature};
use crate::rng::Rng;
use crate::text::moment;
use crate::wire::{Reader, Sink};

const MAGIC: &[u8] = b"SSHSIG";
const VERSION: u32 = 1;
/// The longest signature that is read, armored; one by a certificate with many principals fits.
pub const MAX_FILE: usize = 256 * 1024;

/// What a signature is for, such as `file`, `git` or `name@example.org`: not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace(Vec<u8>);

impl Namespace {
    /// A namespace; `None` for an empty one.
    pub fn new(name: impl Into<Vec<u8>>) -> Option<Self> {
        Some(Namespace(name.into())).filter(|namespace| !namespace.0.is_empty())
    }

    /// Its name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// How a message is hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashKind {
    /// SHA-256.
    Sha256,
    /// SHA-512, which OpenSSH takes unless it is told otherwise.
    #[default]
    Sha512,
}

impl HashKind {
    /// Its name in a signature.
    pub const fn name(self) -> &'static str {
        match self {
            HashKind::Sha256 => "sha256",
            HashKind::Sha512 => "sha512",
        }
    }

    /// The hash of that name; `None` for one that signatures must not use.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        [HashKind::Sha256, HashKind::Sha512].into_iter().find(|kind| kind.name().as_bytes() == name)
    }
}

/// A message while it is hashed, piece by piece.
#[derive(Clone, Debug)]
pub struct Hashing(Hasher);

#[derive(Clone, Debug)]
enum Hasher {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Hashing {
    /// Nothing is hashed yet.
    pub fn new(kind: HashKind) -> Self {
        use sha2::Digest as _;
        Hashing(match kind {
            HashKind::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
            HashKind::Sha512 => Hasher::Sha512(sha2::Sha512::new()),
        })
    }

    /// The next bytes of the message.
    pub fn update(&mut self, bytes: &[u8]) {
        use sha2::Digest as _;
        match &mut self.0 {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The message has ended.
    pub fn finish(self) -> MessageHash {
        use sha2::Digest as _;
        match self.0 {
            Hasher::Sha256(hasher) => {
                MessageHash { kind: HashKind::Sha256, digest: hasher.finalize().to_vec() }
            }
            Hasher::Sha512(hasher) => {
                MessageHash { kind: HashKind::Sha512, digest: hasher.finalize().to_vec() }
            }
        }
    }
}

/// The hash of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageHash {
    kind: HashKind,
    digest: Vec<u8>,
}

impl MessageHash {
    /// The hash of a message that is there as a whole; see [`Hashing`] for others.
    pub fn of(kind: HashKind, message: &[u8]) -> Self {
        let mut hashing = Hashing::new(kind);
        hashing.update(message);
        hashing.finish()
    }

    /// What is signed instead of the message: nothing else that SSH keys sign begins like this (F-32).
    fn signed_by(&self, namespace: &[u8]) -> Vec<u8> {
        let mut data = MAGIC.to_vec();
        data.put_string(namespace);
        data.put_string(b"");
        data.put_string(self.kind.name().as_bytes());
        data.put_string(&self.digest);
        data
    }
}

/// A signature that is to be made: by a [key pair](Self::sign), or by whoever has the key, who is given
/// [`data`](Self::data) and [`algorithm`](Self::algorithm) and whose answer goes to [`signed`](Self::signed).
#[derive(Clone, Debug)]
pub struct ToSign {
    key: PublicKey,
    namespace: Namespace,
    kind: HashKind,
    algorithm: SignatureAlgorithm,
    data: Vec<u8>,
}

impl ToSign {
    /// By this key, or certificate.
    ///
    /// # Errors
    /// [`SshSigError::Algorithm`] for a key that has no algorithm for this.
    pub fn new(key: &PublicKey, namespace: &Namespace, hash: &MessageHash) -> Result<Self, SshSigError> {
        let algorithm = (key.signature_algorithms().iter().copied().find(|a| allowed_here(*a)))
            .ok_or_else(|| SshSigError::Algorithm(String::from(key.key_type().name())))?;
        let data = hash.signed_by(namespace.as_bytes());
        Ok(ToSign { key: key.clone(), namespace: namespace.clone(), kind: hash.kind, algorithm, data })
    }

    /// What the key has to sign.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// With which algorithm: rsa-sha2-512 for an RSA key.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The key that has to sign.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Signs with a key pair: of the key, or for a certificate of the key that it certifies.
    ///
    /// # Errors
    /// [`SshSigError::Signer`] when it cannot sign.
    pub fn sign(self, pair: &KeyPair, rng: &mut Rng) -> Result<SshSig, SshSigError> {
        // The key of a certificate signs with its own algorithm, whose name is that in signatures.
        let own = |a: &SignatureAlgorithm| a.signature_name() == self.algorithm.signature_name();
        let algorithm = pair.public().signature_algorithms().iter().copied().find(own);
        let algorithm = algorithm.ok_or(SshSigError::Signer)?;
        let blob = pair.sign(algorithm, &self.data, rng).map_err(|_| SshSigError::Signer)?;
        self.signed(blob)
    }

    /// With the signature blob that the key's owner made, which is not verified.
    ///
    /// # Errors
    /// [`SshSigError::Algorithm`] when it is not of the algorithm that was asked for, or another that is allowed.
    pub fn signed(self, blob: Vec<u8>) -> Result<SshSig, SshSigError> {
        algorithm_of(&self.key, &blob)?;
        Ok(SshSig { key: self.key, namespace: self.namespace, hash: self.kind, signature: blob })
    }
}

/// A signature of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshSig {
    key: PublicKey,
    namespace: Namespace,
    hash: HashKind,
    signature: Vec<u8>,
}

impl SshSig {
    /// Reads a signature without its armor.
    ///
    /// # Errors
    /// [`SshSigError`]: what it is, or has, and must not.
    pub fn from_blob(blob: &[u8]) -> Result<Self, SshSigError> {
        if blob.len() > MAX_FILE {
            return Err(SshSigError::TooLarge);
        }
        let mut r = Reader::new(blob.strip_prefix(MAGIC).ok_or(SshSigError::NotASignature)?);
        match r.u32()? {
            VERSION => {}
            other => return Err(SshSigError::Version(other)),
        }
        let blob = r.string()?;
        let key = match Certificate::from_blob(blob) {
            Ok(certificate) => certificate.public().clone(),
            Err(_) => PublicKey::from_blob(blob).map_err(SshSigError::Key)?,
        };
        let namespace = Namespace::new(r.string()?).ok_or(SshSigError::NoNamespace)?;
        // Nothing is defined to stand here; a signature over something else than nothing would not verify.
        if !r.string()?.is_empty() {
            return Err(SshSigError::Reserved);
        }
        let name = r.string()?;
        let hash = HashKind::from_name(name)
            .ok_or_else(|| SshSigError::Hash(String::from_utf8_lossy(name).into_owned()))?;
        let signature = r.string()?.to_vec();
        r.end()?;
        algorithm_of(&key, &signature)?;
        Ok(SshSig { key, namespace, hash, signature })
    }

    /// The signature without its armor.
    pub fn to_blob(&self) -> Vec<u8> {
        let mut blob = MAGIC.to_vec();
        blob.put_u32(VERSION);
        blob.put_string(&self.key.to_blob());
        blob.put_string(self.namespace.as_bytes());
        blob.put_string(b"");
        blob.put_string(self.hash.name().as_bytes());
        blob.put_string(&self.signature);
        blob
    }

    /// The key, or certificate, that the signature says it is by. Nothing is known about it before
    /// [`verify`](Self::verify) has said so.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// What the signature says it is for.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// How the message has to be hashed.
    pub fn hash(&self) -> HashKind {
        self.hash
    }

    /// Verifies that the key signed the message, for this namespace, and returns the key. Whether that is somebody who
    /// may is another question: [`AllowedSigners`].
    ///
    /// # Errors
    /// [`SshSigError::Namespace`] for one that is for something else, [`SshSigError::Hash`] for a hash of another kind,
    /// [`SshSigError::Bad`] for another message or a forged signature.
    pub fn verify(
        &self,
        provider: &dyn Provider,
        namespace: &Namespace,
        hash: &MessageHash,
    ) -> Result<&PublicKey, SshSigError> {
        if self.namespace != *namespace {
            let [found, expected] =
                [&self.namespace, namespace].map(|n| String::from_utf8_lossy(&n.0).into_owned());
            return Err(SshSigError::Namespace { expected, found });
        }
        if self.hash != hash.kind {
            return Err(SshSigError::Hash(String::from(self.hash.name())));
        }
        let algorithm = algorithm_of(&self.key, &self.signature)?;
        let data = hash.signed_by(namespace.as_bytes());
        signature::verify(provider, &self.key, algorithm, &data, &self.signature)
            .map_err(|_| SshSigError::Bad)?;
        Ok(&self.key)
    }
}

/// Reads `YYYYMMDD[HHMM[SS]]`, with `Z` behind it or not, as seconds since 1970 UTC: the time at which a signature is to
/// be judged. OpenSSH takes one without `Z` for local time, which is not known here; `None` for what is no time.
pub fn time_from_text(text: &[u8]) -> Option<u64> {
    let utc = text.strip_suffix(b"Z").unwrap_or(text);
    moment::parse(&[utc, b"Z"].concat())
}

/// RSA keys sign with SHA-2 here, never with SHA-1 (PROTOCOL.sshsig §2).
fn allowed_here(algorithm: SignatureAlgorithm) -> bool {
    !matches!(algorithm.hash(), Some(HashAlgorithm::Sha1 | HashAlgorithm::Md5))
}

/// The algorithm of a signature blob that the key made.
fn algorithm_of(key: &PublicKey, blob: &[u8]) -> Result<SignatureAlgorithm, SshSigError> {
    let name = Reader::new(blob).string()?;
    (key.signature_algorithms().iter().copied())
        .find(|a| a.signature_name().as_bytes() == name && allowed_here(*a))
        .ok_or_else(|| SshSigError::Algorithm(String::from_utf8_lossy(name).into_owned()))
}
