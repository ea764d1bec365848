//! `RevokedHostKeys`, `RevokedKeys`: a file that is either a key revocation list or a list of keys, one a line.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use core::fmt;

use base64ct::{Base64, Encoding};

use super::read::MAGIC;
use super::{CertificateFields, Krl, KrlError, MAX_FILE, RevokedBy};
use crate::keys::{Certificate, PublicKey};
use crate::text::{BadLine, Limits, TooLarge, lines, next_field};
use crate::wire::Reader;

const LIMITS: Limits = Limits { file: MAX_FILE, line: 64 * 1024 };

/// Keys that nobody may use any more (ssh_config(5) `RevokedHostKeys`, sshd_config(5) `RevokedKeys`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevokedKeys {
    krl: Krl,
}

/// Why a file of revoked keys is not used. Any key may be revoked in it, so every key has to be refused (F-06).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotReadable {
    /// It is a key revocation list that cannot be read.
    Krl(KrlError),
    /// It is a list of keys that is too large.
    File(TooLarge),
    /// This line, by its number, is none.
    Line(u32, BadLine),
    /// On this line, by its number, stands no `type base64`.
    Key(u32),
}

impl fmt::Display for NotReadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotReadable::Krl(problem) => problem.fmt(f),
            NotReadable::File(problem) => problem.fmt(f),
            NotReadable::Line(line, problem) => write!(f, "line {line}: {problem}"),
            NotReadable::Key(line) => {
                write!(f, "line {line} is no public key, and it may be one that is revoked")
            }
        }
    }
}

impl core::error::Error for NotReadable {}

impl RevokedKeys {
    /// Reads a file of either form. In a list of keys, empty lines and comments are passed over, keys of types that we
    /// do not have are kept, and any other line is an error (OpenSSH passes over it).
    ///
    /// # Errors
    /// [`NotReadable`]; refuse every key then.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotReadable> {
        if bytes.starts_with(MAGIC) {
            return Krl::parse(bytes).map(|krl| RevokedKeys { krl }).map_err(NotReadable::Krl);
        }
        let mut keys: BTreeSet<Box<[u8]>> = BTreeSet::new();
        for line in lines(bytes, LIMITS).map_err(NotReadable::File)? {
            let text = line.read().map_err(|problem| NotReadable::Line(line.number(), problem))?;
            keys.insert(key(text).ok_or(NotReadable::Key(line.number()))?);
        }
        Ok(RevokedKeys { krl: Krl { keys, ..Krl::new() } })
    }

    /// By what a key is revoked, or a certificate; `None` if it is not.
    pub fn check_key(&self, key: &PublicKey) -> Option<RevokedBy> {
        self.krl.check_key(key)
    }

    /// By what a certificate is revoked; `None` if it is not. See [`Krl::check_certificate`].
    pub fn check_certificate(&self, certificate: &CertificateFields<'_>) -> Option<RevokedBy> {
        self.krl.check_certificate(certificate)
    }
}

impl From<Krl> for RevokedKeys {
    fn from(krl: Krl) -> Self {
        RevokedKeys { krl }
    }
}

/// The blob of the key on a line; of a certificate it is the key that counts.
fn key(line: &[u8]) -> Option<Box<[u8]>> {
    if let Ok((certificate, _)) = Certificate::from_openssh_line(line) {
        return Some(certificate.key().to_blob().into());
    }
    if let Ok((key, _)) = PublicKey::from_openssh_line(line) {
        return Some(key.to_blob().into());
    }
    let (declared, rest) = next_field(line);
    let (encoded, _) = next_field(rest);
    let blob = Base64::decode_vec(core::str::from_utf8(encoded).ok()?).ok()?;
    (Reader::new(&blob).string().ok()? == declared).then(|| blob.into())
}
