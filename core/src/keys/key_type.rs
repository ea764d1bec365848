//! The table of key types, one row a type.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use super::{KeyError, SignatureAlgorithm, SignatureDetails};
use crate::crypto::{BadKey, BadSignature, Provider, Secret, Signer};
use crate::rng::Rng;
use crate::wire::{Reader, Sink};

/// A type of public key, such as `ssh-rsa`.
#[derive(Clone, Copy)]
pub struct KeyType(&'static dyn KeyFormat);

/// What there is to know about a type of key: how its keys and signatures are read and written, behind
/// the type's or the algorithm's name.
///
/// A key is its fields in their one canonical encoding, whatever they are: numbers, or what somebody has
/// signed about a key. What it verifies and signs with is the [`Scheme`](crate::crypto::Scheme) of the
/// same name, unless [`verify`](Self::verify) and [`signer`](Self::signer) say otherwise.
pub trait KeyFormat: Sync {
    /// The type's name in key blobs and key lines.
    fn name(&self) -> &'static str;

    /// The signature algorithms that keys of this type can make and verify, best first.
    fn algorithms(&self) -> &'static [SignatureAlgorithm];

    /// Reads the public fields, checks their form and size, and writes them canonically.
    ///
    /// # Errors
    /// What is wrong with them.
    fn read(&self, r: &mut Reader<'_>, out: &mut dyn Sink) -> Result<(), KeyError>;

    /// The strength people speak of, in bits, of a key with these public fields.
    fn bits(&self, key: &[u8]) -> usize;

    /// Bits of modulus and public exponent, where a key is an RSA key.
    fn rsa_size(&self, _key: &[u8]) -> Option<[usize; 2]> {
        None
    }

    /// The type of the keys that it is a certificate for, of a type of certificates.
    fn certifies(&self) -> Option<KeyType> {
        None
    }

    /// The fields of the key that a certificate with these fields is for.
    fn certified(&self, _key: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// Whether private keys never leave a device, so that [`signer`](Self::signer) makes none ready.
    fn on_device(&self) -> bool {
        false
    }

    /// Reads the private fields, as in OpenSSH's `sshkey_private_deserialize`, and checks that the two
    /// halves belong together.
    ///
    /// # Errors
    /// What is wrong with them; [`KeyError::UnsupportedKeyType`] for a type without private keys.
    fn read_private(&self, _r: &mut Reader<'_>) -> Result<Halves, KeyError> {
        Err(KeyError::unsupported_type(self.name().as_bytes()))
    }

    /// A new key, of that many bits where there is a choice.
    ///
    /// # Errors
    /// [`KeyError::UnsupportedKeyType`] for a type whose keys are not made here, and a size that is not
    /// possible.
    fn generate(&self, _bits: Option<usize>, _rng: &mut Rng) -> Result<Halves, KeyError> {
        Err(KeyError::unsupported_type(self.name().as_bytes()))
    }

    /// How PKCS#8 names the type: the object identifier of the algorithm, and of the parameters if they
    /// are one. A type without is not in PKCS#8.
    fn object_identifiers(&self) -> Option<(&'static str, Option<&'static str>)> {
        None
    }

    /// Reads the private key within PKCS#8 (RFC 5958 §2); `public` is the public half, if it is there.
    ///
    /// # Errors
    /// What is wrong with them.
    fn read_der(&self, _private: &[u8], _public: Option<&[u8]>) -> Result<Halves, KeyError> {
        Err(KeyError::unsupported_type(self.name().as_bytes()))
    }

    /// Writes the private key within PKCS#8, which [`read_der`](Self::read_der) reads; `alone` where nothing around it
    /// will say of which curve it is.
    ///
    /// # Errors
    /// [`KeyError::UnsupportedKeyType`] for a type that is not in PKCS#8.
    fn write_der(&self, _key: &[u8], _alone: bool) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        Err(KeyError::unsupported_type(self.name().as_bytes()))
    }

    /// Reads the key within `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7) and writes its fields, which are checked as those
    /// of a blob then.
    ///
    /// # Errors
    /// What is wrong with it.
    fn read_public_der(&self, _key: &[u8], _out: &mut dyn Sink) -> Result<(), KeyError> {
        Err(KeyError::unsupported_type(self.name().as_bytes()))
    }

    /// Writes what [`read_public_der`](Self::read_public_der) reads.
    ///
    /// # Errors
    /// [`KeyError::UnsupportedKeyType`] for a type that has no such form.
    fn write_public_der(&self, _key: &[u8]) -> Result<Vec<u8>, KeyError> {
        Err(KeyError::unsupported_type(self.name().as_bytes()))
    }

    /// Reads the private fields of a `.ppk` file beside the public ones, and checks that they belong together. What
    /// follows them is padding.
    ///
    /// # Errors
    /// What is wrong with them; [`KeyError::UnsupportedKeyType`] for a type that PuTTY has not.
    fn read_putty(&self, _public: &[u8], _r: &mut Reader<'_>) -> Result<Halves, KeyError> {
        Err(KeyError::unsupported_type(self.name().as_bytes()))
    }

    /// Writes what [`read_putty`](Self::read_putty) reads.
    ///
    /// # Errors
    /// [`KeyError::UnsupportedKeyType`] for a type that PuTTY has not.
    fn write_putty(&self, _key: &[u8]) -> Result<Secret, KeyError> {
        Err(KeyError::unsupported_type(self.name().as_bytes()))
    }

    /// Makes a key of these private fields ready to sign.
    ///
    /// # Errors
    /// [`BadKey`] when the provider refuses them.
    fn signer(&self, provider: &dyn Provider, key: &[u8]) -> Result<Box<dyn Signer>, BadKey> {
        provider.signer(self.name(), key)
    }

    /// Reads what stands in a signature behind the algorithm's name, and makes it raw.
    ///
    /// # Errors
    /// [`BadSignature`] for a form that is not exact.
    fn read_signature(&self, r: &mut Reader<'_>) -> Result<Vec<u8>, BadSignature>;

    /// Writes what stands in a signature behind the algorithm's name.
    fn write_signature(&self, raw: &[u8], out: &mut dyn Sink) {
        out.put_string(raw);
    }

    /// What a raw signature says beside being one: see [`SignatureDetails`].
    fn details(&self, _raw: &[u8]) -> Option<SignatureDetails> {
        None
    }

    /// Verifies a raw signature of `algorithm` over `message` with a key of these public fields.
    ///
    /// # Errors
    /// [`BadSignature`] if it is not one.
    fn verify(
        &self,
        provider: &dyn Provider,
        key: &[u8],
        algorithm: SignatureAlgorithm,
        message: &[u8],
        raw: &[u8],
    ) -> Result<(), BadSignature> {
        provider.verify(self.name(), algorithm.hash(), key, message, raw)
    }
}

/// Both halves of a key, each as its canonical fields.
#[derive(Debug)]
pub struct Halves {
    pub(super) public: Vec<u8>,
    pub(super) private: Secret,
}

impl Halves {
    /// The fields that the two write. `private` is called twice, so that no copy is left in memory.
    pub fn written(public: impl FnOnce(&mut dyn Sink), private: impl Fn(&mut dyn Sink)) -> Self {
        let mut fields = Vec::new();
        public(&mut fields);
        Halves { public: fields, private: Secret::written(private) }
    }
}

/// RFC 8709 (Ed25519), RFC 5656 (ECDSA), OpenSSH PROTOCOL.u2f (security keys), RFC 4253 §6.6 and RFC 8332 (RSA).
/// Certificates have a table of their own, so that none stands where a plain key belongs.
static TABLE: [KeyType; 7] = [
    KeyType::ED25519,
    KeyType::ECDSA_NISTP256,
    KeyType::ECDSA_NISTP384,
    KeyType::ECDSA_NISTP521,
    KeyType::SK_ED25519,
    KeyType::SK_ECDSA_NISTP256,
    KeyType::RSA,
];

impl KeyType {
    /// The type of a row, which may be one of your own: see [`SignatureAlgorithm`].
    pub const fn new(row: &'static dyn KeyFormat) -> Self {
        KeyType(row)
    }

    /// All types of plain keys that are here, best first. Certificates: [`certificates`](Self::certificates).
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        TABLE.iter().copied()
    }

    /// The type of that name among [all](Self::all).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|kind| kind.name() == name)
    }

    /// The type's name in key blobs and key lines.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// What OpenSSH calls the type where it shows keys to people: `ED25519`, `RSA`, `ECDSA-SK`, `ED25519-CERT`
    /// (`sshkey_type`).
    pub fn short_name(self) -> String {
        let name = self.name();
        let plain = name.split_once('@').map_or(name, |(name, _)| name);
        let (plain, certificate) = match plain.split_once("-cert-v0") {
            Some((plain, _)) => (plain, "-CERT"),
            None => (plain, ""),
        };
        let (plain, token) = plain.strip_prefix("sk-").map_or((plain, ""), |plain| (plain, "-SK"));
        let plain = plain.strip_prefix("ssh-").unwrap_or(plain);
        let plain = if plain.starts_with("ecdsa-") { "ecdsa" } else { plain };
        [&plain.to_ascii_uppercase(), token, certificate].concat()
    }

    /// The signature algorithms that keys of this type can make and verify, best first. Only RSA has
    /// more than one (RFC 8332).
    pub fn signature_algorithms(self) -> &'static [SignatureAlgorithm] {
        self.0.algorithms()
    }

    pub(super) fn format(self) -> &'static dyn KeyFormat {
        self.0
    }

    /// The type that a blob or a key file names; otherwise what is wrong with the name.
    pub(super) fn named(name: &[u8]) -> Result<Self, KeyError> {
        if let Some(kind) = Self::all().find(|kind| kind.name().as_bytes() == name) {
            Ok(kind)
        } else if name.windows(8).any(|w| w == b"-cert-v0") {
            Err(KeyError::CertificateGiven)
        } else {
            Err(KeyError::unsupported_type(name))
        }
    }
}

impl PartialEq for KeyType {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for KeyType {}

impl PartialOrd for KeyType {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KeyType {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.name().cmp(other.name())
    }
}

impl core::hash::Hash for KeyType {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl fmt::Debug for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
