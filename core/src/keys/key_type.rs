//! The table of key types, one row a type: how public keys and OpenSSH key files are read and
//! written, sizes, signature algorithms and the form of signatures.
//!
//! A type whose numbers are those of another needs a row of [`TABLE`], and an implementation of
//! [`Fields`] where its fields differ. One with numbers of its own also needs its algorithms in
//! [`SigAlg`], its numbers in [`VerifyKey`], [`SigningKey`] and [`PrivateKey::from_numbers`], a
//! primitive in each provider, and, to be read from PKCS#8, its identifier in `der.rs`.

use core::fmt;

use super::private::Numbers;
use super::public::bit_length;
use super::{KeyError, PrivateKey, numbers};
use crate::crypto::{Curve, SigAlg, SigningKey, VerifyKey};
use crate::wire::{DecodeError, Reader, Sink, minimal};

/// A type of public key, such as `ssh-rsa`: one row of the table of those that are known here.
#[derive(Clone, Copy)]
pub struct KeyType(&'static Row);

/// What there is to know about a type of key.
struct Row {
    name: &'static str,
    /// Best first.
    algorithms: &'static [SigAlg],
    signature: Form,
    fields: &'static dyn Fields,
}

/// The form of what stands in a signature behind the algorithm's name, and of the raw signature that
/// a [`Signer`](crate::crypto::Signer) makes.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// As many bytes, both ways (RFC 8709 §6).
    Bytes(usize),
    /// Two mpints; raw, both with as many bytes (RFC 5656 §3.1.2).
    Pair(usize),
    /// A number, raw as long as the key's modulus (RFC 8332 §3).
    Modulus,
}

/// Longest RSA signature: 16,384 bits.
const MAX_RSA_SIGNATURE: usize = 2048;

impl Form {
    /// Whether a signature that is its bytes may be that long.
    pub(super) fn allows(self, len: usize) -> bool {
        match self {
            Self::Bytes(exact) => len == exact,
            Self::Modulus => (1..=MAX_RSA_SIGNATURE).contains(&len),
            Self::Pair(_) => false,
        }
    }
}

/// The numbers of a type and how they stand in blobs and key files, behind the type's name.
trait Fields: Sync {
    /// The public fields, as they came.
    fn read<'a>(&self, r: &mut Reader<'a>) -> Result<VerifyKey<'a>, KeyError>;

    /// Whether the numbers are of this type.
    fn holds(&self, key: VerifyKey<'_>) -> bool;

    /// Whether the numbers have the form and the size that the type asks for.
    fn check(&self, key: VerifyKey<'_>) -> Result<(), KeyError>;

    /// The public fields in their one canonical encoding.
    fn write(&self, key: VerifyKey<'_>, out: &mut dyn Sink);

    /// Bits of the modulus for RSA, of the curve otherwise.
    fn bits(&self, key: VerifyKey<'_>) -> usize;

    /// The private fields, as in OpenSSH's `sshkey_private_deserialize`. Both halves are compared.
    fn read_private(&self, r: &mut Reader<'_>) -> Result<PrivateKey, KeyError>;

    /// The private fields, as in OpenSSH's `sshkey_private_serialize`.
    fn write_private(&self, public: VerifyKey<'_>, private: &Numbers, out: &mut dyn Sink);
}

/// RFC 8709 (Ed25519), RFC 5656 (ECDSA), RFC 4253 §6.6 and RFC 8332 (RSA).
static TABLE: [Row; 5] = [
    Row { name: "ssh-ed25519", algorithms: &[SigAlg::Ed25519], signature: Form::Bytes(64), fields: &Ed25519 },
    Row {
        name: "ecdsa-sha2-nistp256",
        algorithms: &[SigAlg::EcdsaNistp256],
        signature: Form::Pair(Curve::P256.width()),
        fields: &Ecdsa { curve: Curve::P256, bits: 256 },
    },
    Row {
        name: "ecdsa-sha2-nistp384",
        algorithms: &[SigAlg::EcdsaNistp384],
        signature: Form::Pair(Curve::P384.width()),
        fields: &Ecdsa { curve: Curve::P384, bits: 384 },
    },
    Row {
        name: "ecdsa-sha2-nistp521",
        algorithms: &[SigAlg::EcdsaNistp521],
        signature: Form::Pair(Curve::P521.width()),
        fields: &Ecdsa { curve: Curve::P521, bits: 521 },
    },
    Row {
        name: "ssh-rsa",
        algorithms: &[SigAlg::RsaSha512, SigAlg::RsaSha256, SigAlg::RsaSha1],
        signature: Form::Modulus,
        fields: &Rsa,
    },
];

impl KeyType {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(KeyType)
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|kind| kind.name() == name)
    }

    /// The type of key that makes and verifies signatures of `alg`.
    pub fn of_algorithm(alg: SigAlg) -> Option<Self> {
        Self::all().find(|kind| kind.signature_algorithms().contains(&alg))
    }

    /// The type with such numbers.
    pub(super) fn of_numbers(key: VerifyKey<'_>) -> Option<Self> {
        Self::all().find(|kind| kind.0.fields.holds(key))
    }

    /// The type's name in key blobs and key lines.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The signature algorithms that keys of this type can make and verify, best first. Only RSA has
    /// more than one (RFC 8332).
    pub fn signature_algorithms(self) -> &'static [SigAlg] {
        self.0.algorithms
    }

    pub(super) fn signature(self) -> Form {
        self.0.signature
    }

    pub(super) fn read<'a>(self, r: &mut Reader<'a>) -> Result<VerifyKey<'a>, KeyError> {
        self.0.fields.read(r)
    }

    pub(super) fn check(self, key: VerifyKey<'_>) -> Result<(), KeyError> {
        self.0.fields.check(key)
    }

    pub(super) fn write(self, key: VerifyKey<'_>, out: &mut dyn Sink) {
        self.0.fields.write(key, out);
    }

    pub(super) fn bits(self, key: VerifyKey<'_>) -> usize {
        self.0.fields.bits(key)
    }

    pub(super) fn read_private(self, r: &mut Reader<'_>) -> Result<PrivateKey, KeyError> {
        self.0.fields.read_private(r)
    }

    pub(super) fn write_private(self, public: VerifyKey<'_>, private: &Numbers, out: &mut dyn Sink) {
        self.0.fields.write_private(public, private, out);
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

const FOREIGN: KeyError = KeyError::Inconsistent("the public half is not the private one's");

struct Ed25519;

impl Ed25519 {
    const LENGTH: KeyError = KeyError::Malformed("Ed25519 key length");
}

impl Fields for Ed25519 {
    fn read<'a>(&self, r: &mut Reader<'a>) -> Result<VerifyKey<'a>, KeyError> {
        r.string()?.try_into().map(VerifyKey::Ed25519).map_err(|_| Self::LENGTH)
    }

    fn holds(&self, key: VerifyKey<'_>) -> bool {
        matches!(key, VerifyKey::Ed25519(_))
    }

    fn check(&self, _: VerifyKey<'_>) -> Result<(), KeyError> {
        Ok(())
    }

    fn write(&self, key: VerifyKey<'_>, out: &mut dyn Sink) {
        if let VerifyKey::Ed25519(key) = key {
            out.put_string(key);
        }
    }

    fn bits(&self, _: VerifyKey<'_>) -> usize {
        256
    }

    fn read_private(&self, r: &mut Reader<'_>) -> Result<PrivateKey, KeyError> {
        let public = r.string()?;
        // Seed and public key again (RFC 8032's "secret key" of old implementations).
        let both: &[u8; 64] = r.string()?.try_into().map_err(|_| Self::LENGTH)?;
        let (seed, again) = both.split_first_chunk::<32>().ok_or(FOREIGN)?;
        let key = PrivateKey::from_numbers(SigningKey::Ed25519(seed))?;
        match key.public().verify_key() {
            VerifyKey::Ed25519(own) if own == public && own == again => Ok(key),
            _ => Err(FOREIGN),
        }
    }

    fn write_private(&self, public: VerifyKey<'_>, private: &Numbers, out: &mut dyn Sink) {
        if let (VerifyKey::Ed25519(public), Numbers::Ed25519(seed)) = (public, private) {
            out.put_string(public);
            out.put_len(64);
            out.put(&seed[..]);
            out.put(public);
        }
    }
}

struct Ecdsa {
    curve: Curve,
    bits: usize,
}

impl Ecdsa {
    /// The curve's name, which stands in front of the point once more.
    fn read_curve(&self, r: &mut Reader<'_>) -> Result<(), KeyError> {
        if r.string()? == self.curve.name().as_bytes() {
            Ok(())
        } else {
            Err(KeyError::Malformed("the curve is not the one its type names"))
        }
    }
}

impl Fields for Ecdsa {
    fn read<'a>(&self, r: &mut Reader<'a>) -> Result<VerifyKey<'a>, KeyError> {
        self.read_curve(r)?;
        Ok(VerifyKey::Ecdsa(self.curve, r.string()?))
    }

    fn holds(&self, key: VerifyKey<'_>) -> bool {
        matches!(key, VerifyKey::Ecdsa(curve, _) if curve == self.curve)
    }

    fn check(&self, key: VerifyKey<'_>) -> Result<(), KeyError> {
        let length = self.curve.width().saturating_mul(2).saturating_add(1);
        match key {
            VerifyKey::Ecdsa(_, point) if point.len() == length && point.first() == Some(&4) => Ok(()),
            _ => Err(KeyError::Malformed("the point is not an uncompressed one of its curve")),
        }
    }

    fn write(&self, key: VerifyKey<'_>, out: &mut dyn Sink) {
        if let VerifyKey::Ecdsa(curve, point) = key {
            out.put_string(curve.name().as_bytes());
            out.put_string(point);
        }
    }

    fn bits(&self, _: VerifyKey<'_>) -> usize {
        self.bits
    }

    fn read_private(&self, r: &mut Reader<'_>) -> Result<PrivateKey, KeyError> {
        self.read_curve(r)?;
        let point = r.string()?;
        let key = PrivateKey::from_numbers(SigningKey::Ecdsa(self.curve, r.mpint()?))?;
        match key.public().verify_key() {
            VerifyKey::Ecdsa(_, own) if own == point => Ok(key),
            _ => Err(FOREIGN),
        }
    }

    fn write_private(&self, public: VerifyKey<'_>, private: &Numbers, out: &mut dyn Sink) {
        if let Numbers::Ecdsa(_, d) = private {
            self.write(public, out);
            out.put_mpint(d.expose());
        }
    }
}

struct Rsa;

/// Widest and narrowest RSA modulus that is read at all, in bits. Upper: OpenSSH's
/// `SSHBUF_MAX_BIGNUM`. Lower: OpenSSH's `SSH_RSA_MINIMUM_MODULUS_SIZE`; policy asks for more, see
/// [`PublicKey::strength_ok`](super::PublicKey::strength_ok).
const RSA_BITS: core::ops::RangeInclusive<usize> = 1024..=16_384;

impl Fields for Rsa {
    fn read<'a>(&self, r: &mut Reader<'a>) -> Result<VerifyKey<'a>, KeyError> {
        let e = r.mpint()?;
        Ok(VerifyKey::Rsa { e, n: r.mpint()? })
    }

    fn holds(&self, key: VerifyKey<'_>) -> bool {
        matches!(key, VerifyKey::Rsa { .. })
    }

    /// F-09: the exponent is odd, over 1 and at most 32 bits; the modulus is odd and of a sane size.
    fn check(&self, key: VerifyKey<'_>) -> Result<(), KeyError> {
        let VerifyKey::Rsa { e, n } = key else { return Err(DecodeError::Invalid.into()) };
        let bits = bit_length(n);
        if !RSA_BITS.contains(&bits) {
            return Err(KeyError::RsaSize { bits });
        }
        let odd = |x: &[u8]| x.last().is_some_and(|b| b & 1 == 1);
        if !odd(n) {
            return Err(KeyError::Malformed("the RSA modulus is even"));
        }
        if !odd(e) || minimal(e) == [1] || bit_length(e) > 32 {
            return Err(KeyError::Malformed("the RSA exponent is not an odd number of 2 to 32 bits"));
        }
        Ok(())
    }

    fn write(&self, key: VerifyKey<'_>, out: &mut dyn Sink) {
        if let VerifyKey::Rsa { e, n } = key {
            out.put_mpint(e);
            out.put_mpint(n);
        }
    }

    fn bits(&self, key: VerifyKey<'_>) -> usize {
        if let VerifyKey::Rsa { n, .. } = key { bit_length(n) } else { 0 }
    }

    fn read_private(&self, r: &mut Reader<'_>) -> Result<PrivateKey, KeyError> {
        let (n, e, d) = (r.mpint()?, r.mpint()?, r.mpint()?);
        let iqmp = r.mpint()?;
        let (p, q) = (r.mpint()?, r.mpint()?);
        PrivateKey::from_rsa(&numbers::Rsa { n, e, d, p, q, iqmp: Some(iqmp) })
    }

    fn write_private(&self, public: VerifyKey<'_>, private: &Numbers, out: &mut dyn Sink) {
        if let (VerifyKey::Rsa { e, n }, Numbers::Rsa { d, p, q, iqmp }) = (public, private) {
            out.put_mpint(n);
            out.put_mpint(e);
            [d, iqmp, p, q].into_iter().for_each(|x| out.put_mpint(x.expose()));
        }
    }
}
