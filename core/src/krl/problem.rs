use alloc::string::String;
use core::fmt;

use super::MAX_FILE;
use crate::wire::{DecodeError, SshStr};

/// Why a key revocation list is not used. Every key has to be refused then (F-06).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KrlError {
    /// It does not begin as one.
    NotAKrl,
    /// It is of another version of the format.
    Version(u32),
    /// It is cut off, or its fields do not fit together.
    Malformed,
    /// A section of a type that PROTOCOL.krl does not have.
    Section(u8),
    /// An extension that must be understood and is not.
    Extension(String),
    /// It is signed inside, which OpenSSH does not read any more either: sign the file instead, with
    /// `ssh-keygen -Y sign`.
    Signed,
    /// Serial number 0, or a range that ends before it begins.
    Serials,
    /// It is larger than is read.
    TooLarge,
}

impl From<DecodeError> for KrlError {
    fn from(_: DecodeError) -> Self {
        KrlError::Malformed
    }
}

impl fmt::Display for KrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KrlError::NotAKrl => f.write_str("it is not a key revocation list"),
            KrlError::Version(version) => {
                write!(f, "the key revocation list is of format {version}, and only 1 is known")
            }
            KrlError::Malformed => f.write_str("the key revocation list is damaged"),
            KrlError::Section(kind) => {
                write!(f, "the key revocation list has a section of type {kind:#04x}, which is not known")
            }
            KrlError::Extension(name) => {
                let name = SshStr::new(name.as_bytes());
                write!(f, "the key revocation list has the critical extension \"{name}\", which is not known")
            }
            KrlError::Signed => {
                f.write_str("the key revocation list is signed inside, which is not supported")
            }
            KrlError::Serials => {
                f.write_str("serial numbers are 1 and above, and a range does not end before it begins")
            }
            KrlError::TooLarge => {
                write!(f, "the key revocation list is larger than {} MiB, or as good as that", MAX_FILE >> 20)
            }
        }
    }
}

impl core::error::Error for KrlError {}
