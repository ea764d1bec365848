//! What the protocol needs of cryptography, behind one small trait.
//!
//! A [`Provider`] offers primitives; [`kex`] composes them into SSH's key exchange methods. No
//! provider draws randomness of its own: entropy is always an argument, so a seeded connection
//! replays exactly, whichever provider it runs on.

pub mod algorithms;
pub(crate) mod fields;
pub mod groups;
pub mod kex;
mod policy;
mod secret;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

pub use algorithms::{Cipher, Compression, Curve, HashAlgorithm, Kem, Kex, Mac};
pub use policy::Policy;
pub(crate) use secret::{Scrubbed, exact, grow};
pub use secret::{Secret, SharedSecret};

use crate::rng::Rng;

/// Layout rules of one direction's packet protection (RFC 4253 §6, RFC 5647, OpenSSH PROTOCOL).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Packets are padded to a multiple of this many bytes (at least 8).
    pub block: usize,
    /// Bytes of MAC or tag after the packet.
    pub tag: usize,
    /// Whether the 4-byte length counts toward the padding multiple. True for encrypt-and-MAC
    /// (and no cipher), false for AEAD and encrypt-then-MAC.
    pub length_in_block: bool,
    /// How many bytes must have arrived before [`PacketOpener::length`] can be asked: 4, or one
    /// block where the length is encrypted with the packet.
    pub head: usize,
    /// True for CBC: a bad length or padding must not be told apart from a bad MAC, so the
    /// receiver goes on reading up to the largest packet before it fails (CVE-2008-5161).
    pub conceal: bool,
}

impl Shape {
    /// Before the first NEWKEYS: 8-byte alignment, no tag.
    pub const PLAIN: Shape = Shape { block: 8, tag: 0, length_in_block: true, head: 4, conceal: false };
}

/// The tag or MAC of a packet is wrong. Nothing else is said, and no byte of it was released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTag;

/// A public value from the peer is not acceptable (length, range, not on the curve, low order).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPublicValue;

/// A signature does not verify, or its encoding is not the canonical one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSignature;

/// A key's numbers are out of range or do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadKey;

macro_rules! display {
    ($($t:ty => $text:literal),*) => {$(
        impl fmt::Display for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($text)
            }
        }
        impl core::error::Error for $t {}
    )*};
}
display! {
    BadTag => "the packet's integrity check failed",
    BadPublicValue => "the peer's public key exchange value is not acceptable",
    BadSignature => "the signature does not verify",
    BadKey => "the key's numbers are out of range or do not fit together"
}

/// Seals packets of one direction for one key epoch.
pub trait PacketSealer: Send {
    /// The layout rules.
    fn shape(&self) -> Shape;

    /// Encrypts and authenticates in place.
    ///
    /// `packet` is `[length: 4][padding length: 1][payload][padding][tag bytes to be filled]`.
    /// `seq` is the packet's sequence number.
    ///
    /// What cannot be sealed becomes all zeros, which the peer refuses: a packet that is not a
    /// whole number of blocks, or one that would use a nonce a second time (a sequence number
    /// that went back with ChaCha20-Poly1305, 2^64 packets with AES-GCM). Rekeying comes long before.
    fn seal(&mut self, seq: u32, packet: &mut [u8]);
}

/// Opens packets of one direction for one key epoch.
///
/// For each packet: [`length`](Self::length) once, as soon as `shape().head` bytes have arrived,
/// then [`open`](Self::open) once, when the whole packet has.
pub trait PacketOpener: Send {
    /// The layout rules.
    fn shape(&self) -> Shape;

    /// The packet length field. `head` are the first `shape().head` bytes; where the length is
    /// encrypted with the packet (encrypt-and-MAC, CBC) they are decrypted in place and
    /// [`open`](Self::open) takes that into account.
    ///
    /// The value is not authenticated yet: the caller bounds it before it waits or allocates.
    fn length(&mut self, seq: u32, head: &mut [u8]) -> u32;

    /// Verifies and decrypts a whole packet in place, `[length][padding length]…[tag]`. Afterwards
    /// everything before the tag is plaintext, the length included.
    ///
    /// On failure the buffer is zeroed.
    ///
    /// # Errors
    ///
    /// [`BadTag`] for a packet that is not genuine.
    fn open(&mut self, seq: u32, packet: &mut [u8]) -> Result<(), BadTag>;
}

/// Keys of one direction, as derived (RFC 4253 §7.2). Lengths are those the algorithms ask for.
#[derive(Debug)]
pub struct DirectionKeys {
    /// Initial IV: [`Cipher::iv_len`] bytes.
    pub iv: Secret,
    /// Encryption key: [`Cipher::key_len`] bytes.
    pub key: Secret,
    /// Integrity key: [`Mac::key_len`] bytes; empty for an AEAD cipher.
    pub mac: Secret,
}

/// A cipher with the MAC that goes with it; no MAC for an AEAD cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// The cipher.
    pub cipher: Cipher,
    /// Its MAC, `None` exactly when the cipher is an AEAD.
    pub mac: Option<Mac>,
}

/// A running hash.
pub trait Hash: Send {
    /// Adds bytes.
    fn update(&mut self, bytes: &[u8]);
    /// Writes the digest ([`HashAlgorithm::len`] bytes) into the front of `out`.
    fn finish(self: Box<Self>, out: &mut [u8; 64]);
}

impl crate::wire::Sink for dyn Hash + '_ {
    fn put(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }
}

/// A digest of up to 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    bytes: [u8; 64],
    len: usize,
}

impl Digest {
    /// Hashes `parts` one after the other.
    pub fn of(provider: &dyn Provider, algorithm: HashAlgorithm, parts: &[&[u8]]) -> Self {
        let mut hash = provider.hash(algorithm);
        for part in parts {
            hash.update(part);
        }
        Self::finish(algorithm, hash)
    }

    /// Finishes a running hash.
    pub fn finish(algorithm: HashAlgorithm, hash: Box<dyn Hash>) -> Self {
        let mut bytes = [0; 64];
        hash.finish(&mut bytes);
        Digest { bytes, len: algorithm.len() }
    }

    /// Overwrites it: what was derived from a secret is one.
    pub(crate) fn wipe(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.bytes);
    }

    /// The digest.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// A kind of signature: verifies, and makes private keys ready to sign.
///
/// Keys are their fields as SSH writes them behind the name of their type, so that a kind needs no
/// place but a provider's list: public ones as in a key blob (RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709
/// §4), private ones as in OpenSSH's key files (`sshkey_private_serialize`).
pub trait Scheme: Sync {
    /// The name of the type of keys that it takes, such as `ssh-rsa`.
    fn key_type(&self) -> &'static str;

    /// Verifies a raw signature, as [`Signer::sign`] makes them, over `message`.
    ///
    /// # Errors
    /// [`BadSignature`] for a signature that is wrong, and for fields or a hash that are none of its own.
    fn verify(
        &self,
        hash: Option<HashAlgorithm>,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature>;

    /// Prepares a private key for signing.
    ///
    /// # Errors
    /// [`BadKey`] for fields that are out of range or do not fit together.
    fn signer(&'static self, key: &[u8]) -> Result<Box<dyn Signer>, BadKey>;
}

/// A private key that is ready to sign.
pub trait Signer: Send + Sync {
    /// Signs `message` and returns the raw signature: 64 bytes for Ed25519, `r || s` of fixed
    /// width for ECDSA, as long as the modulus for RSA. The SSH encoding is the caller's work
    /// ([`crate::keys`]). `hash` is that of the signature algorithm: an RSA key signs with any of three.
    /// ECDSA nonces are RFC 6979; `rng` only blinds.
    ///
    /// The signature was verified before it is returned, so that a faulty one never leaves
    /// (lattice and CRT fault attacks).
    ///
    /// # Errors
    /// [`BadKey`] for a hash that the key does not sign with, and when signing fails.
    fn sign(&self, hash: Option<HashAlgorithm>, message: &[u8], rng: &mut Rng) -> Result<Vec<u8>, BadKey>;
}

/// A Diffie-Hellman group: safe prime and generator, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DhGroup<'a> {
    /// The prime.
    pub p: &'a [u8],
    /// The generator.
    pub g: &'a [u8],
}

/// Cryptographic primitives. One static value an implementation; see [`crate::provider`].
///
/// An accelerated provider hands what it does not do itself to the portable one, so that every
/// provider is complete and all of them give the same bytes.
pub trait Provider: Send + Sync + fmt::Debug {
    /// A short name for reports, such as `rustcrypto`.
    fn name(&self) -> &'static str;

    /// What stands before the names of key exchange methods, host key algorithms, ciphers and MACs in KEXINIT, ours and
    /// the peer's. Empty for cryptography that protects; what only looks like it (`konko-test`) has names of its own, so
    /// that it is never agreed on with anybody else.
    fn prefix(&self) -> &'static str {
        ""
    }

    /// Whether AES runs in hardware here, which decides the default cipher preference.
    fn fast_aes(&self) -> bool;

    /// A sealer for `protection`; keys have the lengths the algorithms ask for.
    ///
    /// # Errors
    ///
    /// [`BadKey`] for a protection that the provider lacks, or keys of another length.
    fn sealer(&self, protection: Protection, keys: &DirectionKeys) -> Result<Box<dyn PacketSealer>, BadKey>;

    /// An opener for `protection`.
    ///
    /// # Errors
    ///
    /// Those of [`sealer`](Self::sealer).
    fn opener(&self, protection: Protection, keys: &DirectionKeys) -> Result<Box<dyn PacketOpener>, BadKey>;

    /// Starts a hash.
    fn hash(&self, algorithm: HashAlgorithm) -> Box<dyn Hash>;

    /// X25519 of a clamped-at-use secret and the base point.
    fn x25519_public(&self, secret: &[u8; 32]) -> [u8; 32];

    /// X25519 with a peer's point; an all-zero result is refused (RFC 8731 §3).
    ///
    /// # Errors
    ///
    /// [`BadPublicValue`] for a point that gives zero.
    fn x25519(&self, secret: &[u8; 32], peer: &[u8; 32]) -> Result<Secret, BadPublicValue>;

    /// A scalar for `curve` (big-endian, curve width) drawn from `rng`, and its public point,
    /// uncompressed.
    fn ecdh_generate(&self, curve: Curve, rng: &mut Rng) -> (Secret, Vec<u8>);

    /// ECDH: the x coordinate (curve width). The peer's point must be uncompressed, on the curve
    /// and not infinity.
    ///
    /// # Errors
    ///
    /// [`BadPublicValue`] for a point that is compressed, not on the curve, or infinity.
    fn ecdh(&self, curve: Curve, secret: &Secret, peer: &[u8]) -> Result<Secret, BadPublicValue>;

    /// The key encapsulation mechanisms that it has. A hybrid method with another one is left out of what is
    /// offered, whatever the configuration lists.
    fn kems(&self) -> &'static [Kem];

    /// Makes a key pair from a random seed: what [`kem_decapsulate`](Self::kem_decapsulate) takes, and the encapsulation
    /// key. ML-KEM takes the whole seed, `d || z` (FIPS 203), which is its decapsulation key too; sntrup761 takes the
    /// first 32 bytes.
    ///
    /// # Errors
    ///
    /// [`BadPublicValue`] for a mechanism that the provider lacks.
    fn kem_generate(&self, kem: Kem, seed: &[u8; 64]) -> Result<(Secret, Vec<u8>), BadPublicValue>;

    /// Encapsulates with the random bytes `m`: the ciphertext and the 32-byte secret. The length of the key, and for
    /// ML-KEM its coefficients, are checked.
    ///
    /// # Errors
    ///
    /// [`BadPublicValue`] for a key of the wrong length or with coefficients out of range, and for a mechanism that the
    /// provider lacks.
    fn kem_encapsulate(
        &self,
        kem: Kem,
        public: &[u8],
        m: &[u8; 32],
    ) -> Result<(Vec<u8>, Secret), BadPublicValue>;

    /// Decapsulates (implicit rejection; only a wrong length is an error).
    ///
    /// # Errors
    ///
    /// [`BadPublicValue`] for a private key or ciphertext of the wrong length, and for a mechanism that the provider lacks.
    fn kem_decapsulate(
        &self,
        kem: Kem,
        private: &Secret,
        ciphertext: &[u8],
    ) -> Result<Secret, BadPublicValue>;

    /// `base ^ exponent mod p`, constant time in the exponent, as a minimal big-endian magnitude.
    /// `p` is odd and at most 8192 bits; `base < p`.
    ///
    /// # Errors
    ///
    /// [`BadPublicValue`] for a modulus that is even or too large, or a base out of range.
    fn modexp(&self, p: &[u8], base: &[u8], exponent: &Secret) -> Result<Secret, BadPublicValue>;

    /// Whether `p`, which is public, is probably a safe prime: `p` and `(p - 1) / 2` are prime. `None` where the provider
    /// cannot tell; those of this crate can with the feature `screening`.
    fn safe_prime(&self, p: &[u8]) -> Option<bool> {
        let _ = p;
        None
    }

    /// The kinds of signature that it computes.
    fn schemes(&self) -> &'static [&'static dyn Scheme];

    /// Verifies a raw signature over `message` with a key of type `key_type`; see [`Scheme::verify`].
    ///
    /// # Errors
    /// [`BadSignature`], also where no scheme has that type.
    fn verify(
        &self,
        key_type: &str,
        hash: Option<HashAlgorithm>,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        let scheme = self.schemes().iter().find(|scheme| scheme.key_type() == key_type);
        scheme.ok_or(BadSignature)?.verify(hash, key, message, signature)
    }

    /// Prepares a private key of type `key_type` for signing; see [`Scheme::signer`].
    ///
    /// # Errors
    /// [`BadKey`], also where no scheme has that type.
    fn signer(&self, key_type: &str, key: &[u8]) -> Result<Box<dyn Signer>, BadKey> {
        let scheme = self.schemes().iter().find(|scheme| scheme.key_type() == key_type);
        scheme.ok_or(BadKey)?.signer(key)
    }
}
