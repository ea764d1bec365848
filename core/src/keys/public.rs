use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64ct::{Base64, Encoding};

use super::certificate::MAX_CERTIFICATE;
use super::{Fingerprint, KeyError, KeyType, SignatureAlgorithm};
use crate::crypto::HashAlgorithm;
use crate::text::{next_field, without_mark};
use crate::wire::{Reader, Sink, SshStr};

/// Longest public key blob: two numbers of 16,384 bits with their names fit well.
const MAX_BLOB: usize = 8 * 1024;

/// The smallest RSA modulus accepted by default, in bits (H-18; OpenSSH's `RequiredRSASize` is
/// 1024, NIST SP 800-131A asks for 2048).
pub const DEFAULT_MIN_RSA_BITS: usize = 2048;

/// A public key, checked for form: lengths and ranges are those of its type.
///
/// Equality and order are those of the key's numbers, not of the bytes they came in. A certificate is one too, of a type
/// of its own, and never equal to the key that it is for: see [`plain`](Self::plain) and
/// [`Certificate`](super::Certificate). It is read only where certificates are asked for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey {
    kind: KeyType,
    /// The fields behind the type's name, in their canonical encoding.
    fields: Box<[u8]>,
}

impl PublicKey {
    /// Reads a key blob: RFC 4253 §6.6 (RSA), RFC 5656 §3.1 (ECDSA), RFC 8709 §4 (Ed25519).
    ///
    /// Exact: bytes after the last field are an error, a point is uncompressed and as long as its
    /// curve asks, the curve is the one that the type names, RSA numbers are odd and the modulus
    /// has 1024 to 16,384 bits. Whether a point is on its curve is left to the first use.
    ///
    /// # Errors
    /// The first of these that does not hold, [`KeyError::UnsupportedKeyType`] for another type and
    /// [`KeyError::CertificateGiven`] for a certificate.
    pub fn from_blob(blob: &[u8]) -> Result<Self, KeyError> {
        Self::read(blob, KeyType::named)
    }

    /// As [`from_blob`](Self::from_blob), for keys of the type `kind` too, which may be one of your own.
    ///
    /// # Errors
    /// As [`from_blob`](Self::from_blob).
    pub fn from_blob_with(kind: KeyType, blob: &[u8]) -> Result<Self, KeyError> {
        Self::read(blob, |name| if name == kind.name().as_bytes() { Ok(kind) } else { KeyType::named(name) })
    }

    fn read(blob: &[u8], named: impl FnOnce(&[u8]) -> Result<KeyType, KeyError>) -> Result<Self, KeyError> {
        if blob.len() > MAX_CERTIFICATE {
            return Err(KeyError::TooLarge);
        }
        let mut r = Reader::new(blob);
        let kind = named(r.string()?)?;
        if blob.len() > MAX_BLOB && !kind.is_certificate() {
            return Err(KeyError::TooLarge);
        }
        let mut fields = Vec::new();
        kind.format().read(&mut r, &mut fields)?;
        r.end()?;
        Ok(Self::from_fields(kind, fields))
    }

    /// A key from its canonical fields.
    pub(super) fn from_fields(kind: KeyType, fields: Vec<u8>) -> Self {
        PublicKey { kind, fields: fields.into() }
    }

    /// The key blob, as [`from_blob`](Self::from_blob) reads it.
    pub fn to_blob(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        self.put_blob(&mut blob);
        blob
    }

    /// Appends the key blob, without a length in front.
    pub fn put_blob(&self, out: &mut dyn Sink) {
        out.put_string(self.kind.name().as_bytes());
        out.put(&self.fields);
    }

    /// The key's type, whose `Display` is its name, such as `ssh-rsa`. Not a signature algorithm: an RSA key has three
    /// of those, see [`signature_algorithms`](Self::signature_algorithms).
    pub fn key_type(&self) -> KeyType {
        self.kind
    }

    /// The key's fields, which are what stands in its blob behind the type's name; for a
    /// [`Provider`](crate::crypto::Provider).
    pub fn fields(&self) -> &[u8] {
        &self.fields
    }

    /// The signature algorithms that a key of this type can make and verify, best first.
    pub fn signature_algorithms(&self) -> &'static [SignatureAlgorithm] {
        self.kind.signature_algorithms()
    }

    /// Whether signatures of `algorithm` can be made and verified with this key.
    pub fn fits(&self, algorithm: SignatureAlgorithm) -> bool {
        self.own_algorithm(algorithm).is_some()
    }

    /// The algorithm of that name as the key's type has it. Another row may have the name too, and must not say what
    /// is hashed.
    pub(super) fn own_algorithm(&self, algorithm: SignatureAlgorithm) -> Option<SignatureAlgorithm> {
        self.signature_algorithms().iter().copied().find(|own| *own == algorithm)
    }

    /// The strength people speak of: bits of the modulus for RSA, of the curve otherwise.
    pub fn bits(&self) -> usize {
        self.kind.format().bits(&self.fields)
    }

    /// Whether the key is strong enough: an RSA modulus has at least `min_rsa_bits`
    /// ([`DEFAULT_MIN_RSA_BITS`] unless configured); the other types always are.
    pub fn strength_ok(&self, min_rsa_bits: usize) -> bool {
        self.rsa_size().is_none_or(|[bits, _]| bits >= min_rsa_bits)
    }

    /// Bits of an RSA key's modulus and public exponent.
    pub(crate) fn rsa_size(&self) -> Option<[usize; 2]> {
        self.kind.format().rsa_size(&self.fields)
    }

    /// The hash of the key blob, for people to compare; of a certificate, that of its key, as in OpenSSH. Use
    /// [`HashAlgorithm::Sha256`].
    pub fn fingerprint(&self, algorithm: HashAlgorithm) -> Fingerprint {
        if self.is_certificate() {
            return Fingerprint::of(algorithm, &self.plain().to_blob());
        }
        Fingerprint::of(algorithm, &self.to_blob())
    }

    /// Reads a line of a `.pub` file, `type base64 [comment]`, and returns the comment too.
    ///
    /// Fields are separated by spaces and tabs. A byte order mark before and line ends behind are
    /// tolerated. The declared type must be the one inside the blob.
    pub fn from_openssh_line(line: &[u8]) -> Result<(Self, SshStr<'_>), KeyError> {
        if line.len() > 4 * MAX_BLOB {
            return Err(KeyError::TooLarge);
        }
        let line = without_mark(line).trim_ascii();
        if line.iter().any(|b| matches!(b, b'\n' | b'\r' | 0)) {
            return Err(KeyError::Malformed("more than one line"));
        }
        let (declared, rest) = next_field(line);
        let (encoded, comment) = next_field(rest);
        if encoded.is_empty() {
            return Err(KeyError::NotAKey);
        }
        Ok((Self::from_base64(declared, encoded)?, SshStr::new(comment)))
    }

    /// A key from the two fields `type` and `base64` that key lines of every kind share.
    pub(crate) fn from_base64(declared: &[u8], encoded: &[u8]) -> Result<Self, KeyError> {
        Self::from_blob(&Self::blob_of(declared, encoded)?)
    }

    /// As [`from_base64`](Self::from_base64), for a key of the type `kind`.
    pub(crate) fn from_base64_with(kind: KeyType, encoded: &[u8]) -> Result<Self, KeyError> {
        Self::from_blob_with(kind, &Self::blob_of(kind.name().as_bytes(), encoded)?)
    }

    pub(super) fn blob_of(declared: &[u8], encoded: &[u8]) -> Result<Vec<u8>, KeyError> {
        let text = core::str::from_utf8(encoded).map_err(|_| KeyError::Malformed("base64"))?;
        let blob = Base64::decode_vec(text).map_err(|_| KeyError::Malformed("base64"))?;
        let found = Reader::new(&blob).string()?;
        if found != declared {
            return Err(KeyError::TypeMismatch {
                declared: String::from_utf8_lossy(declared).into_owned(),
                found: String::from_utf8_lossy(found).into_owned(),
            });
        }
        Ok(blob)
    }

    /// The line of a `.pub` or `authorized_keys` file, without a line end. Control characters in
    /// `comment` become spaces, so that it stays one line.
    pub fn to_openssh_line(&self, comment: &str) -> String {
        let mut line = self.kind.name().to_owned();
        line.push(' ');
        line.push_str(&Base64::encode_string(&self.to_blob()));
        let comment = comment.trim();
        if !comment.is_empty() {
            line.push(' ');
            line.extend(comment.chars().map(|c| if c.is_control() { ' ' } else { c }));
        }
        line
    }
}

/// Prints the type and the SHA-256 fingerprint.
impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.key_type(), self.fingerprint(HashAlgorithm::Sha256))
    }
}
