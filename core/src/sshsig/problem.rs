use alloc::string::String;
use core::fmt;

use super::MAX_FILE;
use crate::keys::KeyError;
use crate::wire::{DecodeError, SshStr};

/// Why a signature is not made, not read or not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SshSigError {
    /// It does not begin as one.
    NotASignature,
    /// It is larger than is read.
    TooLarge,
    /// It is cut off, or its fields do not fit together.
    Malformed,
    /// It is of another version of the format.
    Version(u32),
    /// Its key cannot be read.
    Key(KeyError),
    /// It says not what it is for.
    NoNamespace,
    /// It is for something else.
    Namespace {
        /// What it should be for.
        expected: String,
        /// What it is for.
        found: String,
    },
    /// It has data where there should be none.
    Reserved,
    /// Its message is hashed in a way that is not allowed, or not as it was hashed here.
    Hash(String),
    /// An algorithm that its key does not have, or that must not be used for this.
    Algorithm(String),
    /// The key cannot sign.
    Signer,
    /// It is not this key's signature of this message.
    Bad,
}

impl From<DecodeError> for SshSigError {
    fn from(_: DecodeError) -> Self {
        SshSigError::Malformed
    }
}

impl fmt::Display for SshSigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |name: &'_ str| SshStr::new(name.as_bytes()).excerpt(80);
        match self {
            SshSigError::NotASignature => {
                f.write_str("it is no SSH signature: one begins with -----BEGIN SSH SIGNATURE-----")
            }
            SshSigError::TooLarge => write!(f, "the signature is larger than {} KiB", MAX_FILE >> 10),
            SshSigError::Malformed => f.write_str("the signature is damaged"),
            SshSigError::Version(version) => {
                write!(f, "the signature is of format {version}, and only 1 is known")
            }
            SshSigError::Key(problem) => write!(f, "the signature's key cannot be read: {problem}"),
            SshSigError::NoNamespace => f.write_str("the signature has no namespace"),
            SshSigError::Namespace { expected, found } => write!(
                f,
                "the signature is for the namespace \"{}\", and expected is \"{}\"",
                shown(found),
                shown(expected)
            ),
            SshSigError::Reserved => f.write_str("the signature has data in a field that is reserved"),
            SshSigError::Hash(name) => {
                write!(f, "the signature's hash is {}; it has to be sha256 or sha512", shown(name))
            }
            SshSigError::Algorithm(name) => {
                write!(f, "{} is no algorithm that this key may sign files with", shown(name))
            }
            SshSigError::Signer => f.write_str("the key cannot sign"),
            SshSigError::Bad => f.write_str("the signature is not this key's signature of this message"),
        }
    }
}

impl core::error::Error for SshSigError {}
