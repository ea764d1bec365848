//! What a person writes to say what is to be revoked (ssh-keygen(1), KEY REVOCATION LISTS).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use base64ct::{Base64Unpadded, Encoding};

use super::{Krl, MAX_FILE};
use crate::crypto::HashAlgorithm;
use crate::keys::{Certificate, KeyError, PublicKey};
use crate::text::{BadLine, Limits, TooLarge, lines};

const LIMITS: Limits = Limits { file: MAX_FILE, line: 64 * 1024 };

/// Whose certificates a specification revokes by serial number and key id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authority {
    /// Nobody's: it may not revoke any so.
    #[default]
    Unsaid,
    /// Every authority's.
    Any,
    /// That of the authority with this key blob.
    Key(Box<[u8]>),
}

impl Authority {
    fn key(&self) -> Result<Option<&[u8]>, SpecProblem> {
        match self {
            Authority::Unsaid => Err(SpecProblem::NoAuthority),
            Authority::Any => Ok(None),
            Authority::Key(blob) => Ok(Some(blob)),
        }
    }
}

/// What is wrong with a specification of what is to be revoked, and on which line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecProblem {
    /// The file is too large.
    File(TooLarge),
    /// The line is none.
    Line(BadLine),
    /// A serial number or a key id, without a word about whose.
    NoAuthority,
    /// No serial number: those are 1 and above, in decimal, or in hexadecimal behind `0x`.
    Serial,
    /// A range of serial numbers that does not grow.
    SerialRange,
    /// No `SHA256:` hash.
    Hash,
    /// No key.
    Key(KeyError),
}

impl fmt::Display for SpecProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpecProblem::File(problem) => problem.fmt(f),
            SpecProblem::Line(problem) => problem.fmt(f),
            SpecProblem::NoAuthority => f.write_str(
                "revoking certificates by serial number or key id requires specification of a CA key (-s)",
            ),
            SpecProblem::Serial => f.write_str("invalid serial number"),
            SpecProblem::SerialRange => f.write_str("invalid serial range"),
            SpecProblem::Hash => {
                f.write_str("unsupported hash algorithm or damaged hash: it is SHA256:base64")
            }
            SpecProblem::Key(problem) => write!(f, "invalid key: {problem}"),
        }
    }
}

impl core::error::Error for SpecProblem {}

impl Krl {
    /// Revokes what a specification says, line by line: `serial: N`, `serial: N-M`, `id: KEY ID`, `key: KEY`,
    /// `sha1: KEY`, `sha256: KEY`, `hash: SHA256:…`, or a key alone; a certificate alone is revoked by its serial number,
    /// or by its key id if it has none. A `#` begins a comment.
    ///
    /// # Errors
    /// The number of the first line that is wrong, 0 for the whole file, and [what is wrong](SpecProblem) with it. The
    /// lines before it have been obeyed.
    pub fn revoke_from(&mut self, spec: &[u8], authority: &Authority) -> Result<(), (u32, SpecProblem)> {
        for line in lines(spec, LIMITS).map_err(|problem| (0, SpecProblem::File(problem)))? {
            let obeyed = line.read().map_err(SpecProblem::Line).and_then(|text| self.obey(text, authority));
            obeyed.map_err(|problem| (line.number(), problem))?;
        }
        Ok(())
    }

    /// Revokes a certificate by its serial number, or by its key id if it has none.
    fn revoke_certificate(&mut self, certificate: &Certificate) -> Result<(), SpecProblem> {
        let authority = certificate.authority().to_blob();
        match certificate.serial() {
            0 => self.revoke_key_id(Some(&authority), certificate.key_id().as_bytes()),
            serial => {
                let revoked = self.revoke_serials(Some(&authority), serial, serial);
                revoked.map_err(|_| SpecProblem::Serial)?;
            }
        }
        Ok(())
    }

    fn obey(&mut self, line: &[u8], authority: &Authority) -> Result<(), SpecProblem> {
        let line = line.split(|b| *b == b'#').next().unwrap_or_default().trim_ascii_end();
        let (word, value) = match line.iter().position(|b| *b == b':') {
            Some(at) => (line.get(..at).unwrap_or_default(), line.get(at..).unwrap_or_default()),
            None => (line, &[][..]),
        };
        let value = value.get(1..).unwrap_or_default().trim_ascii_start();
        match &word.to_ascii_lowercase()[..] {
            b"serial" => {
                let (first, last) = serials(value)?;
                self.revoke_serials(authority.key()?, first, last).map_err(|_| SpecProblem::Serial)?;
            }
            b"id" => self.revoke_key_id(authority.key()?, value),
            b"hash" => self.revoke_sha256(hash(value)?),
            b"key" => self.revoke_key(&key(value)?.to_blob()),
            b"sha1" => {
                let hash = key(value)?.fingerprint(HashAlgorithm::Sha1);
                self.revoke_sha1(hash.as_bytes().try_into().map_err(|_| SpecProblem::Hash)?);
            }
            b"sha256" => {
                let hash = key(value)?.fingerprint(HashAlgorithm::Sha256);
                self.revoke_sha256(hash.as_bytes().try_into().map_err(|_| SpecProblem::Hash)?);
            }
            _ => match Certificate::from_openssh_line(line) {
                Ok((certificate, _)) => self.revoke_certificate(&certificate)?,
                Err(_) => self.revoke_key(&key(line)?.to_blob()),
            },
        }
        Ok(())
    }
}

/// A key, or that of a certificate.
fn key(text: &[u8]) -> Result<PublicKey, SpecProblem> {
    match Certificate::from_openssh_line(text) {
        Ok((certificate, _)) => Ok(certificate.key().clone()),
        Err(_) => PublicKey::from_openssh_line(text).map(|(key, _)| key).map_err(SpecProblem::Key),
    }
}

fn serials(text: &[u8]) -> Result<(u64, u64), SpecProblem> {
    let (first, last) = match text.iter().position(|b| *b == b'-') {
        Some(at) => (text.get(..at), text.get(at.saturating_add(1)..)),
        None => (Some(text), None),
    };
    let first = first.and_then(number).ok_or(SpecProblem::Serial)?;
    let Some(last) = last else { return Ok((first, first)) };
    let last = number(last).ok_or(SpecProblem::Serial)?;
    if last <= first { Err(SpecProblem::SerialRange) } else { Ok((first, last)) }
}

/// As strtoull(3) reads it with base 0.
fn number(text: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(text).ok()?;
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let octal = text.strip_prefix('0').filter(|rest| !rest.is_empty());
    let (digits, base) = match (hex, octal) {
        (Some(hex), _) => (hex, 16),
        (None, Some(octal)) => (octal, 8),
        (None, None) => (text, 10),
    };
    // The standard library would take a sign.
    digits.bytes().all(|b| b.is_ascii_alphanumeric()).then(|| u64::from_str_radix(digits, base).ok())?
}

fn hash(text: &[u8]) -> Result<[u8; 32], SpecProblem> {
    let text = text.strip_prefix(b"SHA256:").ok_or(SpecProblem::Hash)?;
    let end = text.iter().rposition(|b| *b != b'=').map_or(0, |at| at.saturating_add(1));
    let text = core::str::from_utf8(text.get(..end).unwrap_or_default()).map_err(|_| SpecProblem::Hash)?;
    let bytes: Vec<u8> = Base64Unpadded::decode_vec(text).map_err(|_| SpecProblem::Hash)?;
    bytes.try_into().map_err(|_| SpecProblem::Hash)
}
