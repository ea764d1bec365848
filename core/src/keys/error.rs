use alloc::string::String;
use core::fmt;

use crate::crypto::BadKey;
use crate::wire::{DecodeError, SshStr};

/// Why a key could not be read or made. `Display` says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// There is nothing, or nothing but blanks.
    Empty,
    /// Nothing in the input looks like a key.
    NotAKey,
    /// A private key was asked for, a public key came.
    PublicKeyGiven,
    /// A private key was asked for, a certificate came; or a certificate where a plain key belongs.
    CertificateGiven,
    /// A certificate was asked for, a plain key came.
    NotACertificate,
    /// The certificate is for another key.
    OtherKey,
    /// The private half is on a security key, and what is in the file signs nothing.
    OnSecurityKey,
    /// The key is encrypted and no passphrase was given.
    Encrypted,
    /// The passphrase does not open the key.
    WrongPassphrase,
    /// The key file uses a cipher we do not have; its name, as it stands in the file.
    UnsupportedCipher(String),
    /// The key file derives its key in a way we do not have; the name, as it stands in the file.
    UnsupportedKdf(String),
    /// A private key in a container we do not read.
    UnsupportedFormat(&'static str),
    /// A key of a type we do not have; its name or identifier, as it stands in the file.
    UnsupportedKeyType(String),
    /// More bytes than any key needs.
    TooLarge,
    /// The key derivation of the file asks for more than is allowed, or for nothing.
    KdfCost {
        /// Of what, such as `bcrypt rounds`.
        what: &'static str,
        /// How much.
        asked: u32,
    },
    /// An RSA modulus of this many bits, outside of what we read or make.
    RsaSize {
        /// Bits of the modulus.
        bits: usize,
    },
    /// The key says it is of one type and holds another.
    TypeMismatch {
        /// What the text before the key says.
        declared: String,
        /// What the key itself says.
        found: String,
    },
    /// A field of the key is cut short, too long or out of range; which.
    Malformed(&'static str),
    /// The key's numbers do not fit together; which.
    Inconsistent(&'static str),
}

impl KeyError {
    pub(crate) fn unsupported_type(name: &[u8]) -> Self {
        Self::UnsupportedKeyType(String::from_utf8_lossy(name.get(..64).unwrap_or(name)).into_owned())
    }
}

/// Text from the file, safe to print (F-37).
fn shown(text: &str) -> SshStr<'_> {
    SshStr::new(text.as_bytes())
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("this is empty; is it the right file?"),
            Self::NotAKey => f.write_str("this is not a key in any format we know; is it the right file?"),
            Self::PublicKeyGiven => f.write_str(
                "this is a public key; give the private key, which is the file of the same name without .pub",
            ),
            Self::CertificateGiven => {
                f.write_str("this is a certificate; give the key itself, which is the file without -cert.pub")
            }
            Self::NotACertificate => {
                f.write_str("this is a plain key, not a certificate; give the file that ends in -cert.pub")
            }
            Self::OtherKey => f.write_str("the certificate is for another key"),
            Self::OnSecurityKey => f.write_str(
                "the private half is on a security key, which an agent has to ask; add it there with ssh-add",
            ),
            Self::Encrypted => f.write_str("the private key is encrypted; give its passphrase"),
            Self::WrongPassphrase => f.write_str("the passphrase does not open this private key; try again"),
            Self::UnsupportedCipher(name) => write!(
                f,
                "the private key is encrypted with {}, which is not supported; \
                 re-encrypt it with `ssh-keygen -p -Z aes256-ctr -f <file>`",
                shown(name)
            ),
            Self::UnsupportedKdf(name) => write!(
                f,
                "the private key is protected by the key derivation {}, which is not supported; \
                 re-encrypt it with `ssh-keygen -p -f <file>`",
                shown(name)
            ),
            Self::UnsupportedFormat(label) => write!(
                f,
                "a private key in the format {label} is not supported; \
                 convert a copy to OpenSSH's format (`ssh-keygen -p -f <copy>`, or PuTTYgen's export)"
            ),
            Self::UnsupportedKeyType(name) => write!(
                f,
                "keys of type {} are not supported; use ssh-ed25519, ecdsa-sha2-nistp256/384/521, ssh-rsa or the sk- types",
                shown(name)
            ),
            Self::TooLarge => f.write_str("the input is larger than any key; is it the right file?"),
            Self::KdfCost { what, asked } => write!(
                f,
                "the private key asks for {asked} {what} to be opened, outside of what is allowed; \
                 re-encrypt it with `ssh-keygen -p -a 24 -f <file>`, or what made it"
            ),
            Self::RsaSize { bits } => {
                write!(
                    f,
                    "an RSA key of {bits} bits is not usable; make one of 3072 bits, or an ssh-ed25519 key"
                )
            }
            Self::TypeMismatch { declared, found } => write!(
                f,
                "the key is declared as {} but is {} inside; take a fresh copy of it",
                shown(declared),
                shown(found)
            ),
            Self::Malformed(what) => {
                write!(f, "the key is damaged ({what}); take a fresh copy of it")
            }
            Self::Inconsistent(what) => {
                write!(f, "the key's numbers do not fit together ({what}); do not use it, make a new one")
            }
        }
    }
}

impl core::error::Error for KeyError {}

impl From<DecodeError> for KeyError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(match error {
            DecodeError::Truncated => "it ends inside a field",
            DecodeError::Trailing => "bytes are left after its last field",
            _ => "a field holds a value that its type does not allow",
        })
    }
}

impl From<BadKey> for KeyError {
    fn from(_: BadKey) -> Self {
        Self::Inconsistent("a number is out of range")
    }
}
