use alloc::vec::Vec;
use core::fmt;

use base64ct::{Base64, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::name::canonical_entry;
use crate::keys::{KeyType, PublicKey};
use crate::text::next_field;
use crate::text::pattern::{ListMatch, Sign, is_wild, matches_host};
use crate::text::{BadLine, Line as Text};

/// RFC 4251 §6: the longest algorithm name.
const MAX_TYPE: usize = 64;

/// A line of known_hosts in its fields: `[marker] names type key [comment]` (sshd(8), SSH_KNOWN_HOSTS
/// FILE FORMAT). The key is still base64: only the type in front of it was compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) marker: Marker,
    pub(super) names: &'a [u8],
    pub(super) key_type: &'a str,
    pub(super) key: &'a [u8],
    /// What stands behind the key.
    pub(super) comment: &'a [u8],
    /// The type, the key and the comment.
    pub(super) key_and_on: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    None,
    Revoked,
    Authority,
}

/// Why a line of known_hosts was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// No line is like that.
    Line(BadLine),
    /// The line does not have names, a key type and a key.
    Fields,
    /// A marker other than one `@cert-authority` or one `@revoked`.
    Marker,
    /// A hashed name that is not `|1|salt|hash` with 20 bytes each.
    HashedName,
    /// The type before the key is not the one inside the key.
    TypeMismatch,
    /// The key is damaged.
    Key,
    /// The key is of a type we do not have. The line still counts as a key of another type.
    UnknownType,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Line(problem) => return problem.fmt(f),
            Self::Fields => "the line is not `names type key`",
            Self::Marker => "a marker is either @cert-authority or @revoked, and one at most",
            Self::HashedName => "the hashed name is damaged",
            Self::TypeMismatch => "the key is not of the type that stands before it",
            Self::Key => "the key is damaged",
            Self::UnknownType => "the key's type is not supported",
        })
    }
}

impl<'a> Line<'a> {
    /// Reads a line of a file.
    pub(super) fn read(line: Text<'a>) -> Result<Self, Problem> {
        Self::parse(line.read().map_err(Problem::Line)?)
    }

    /// Reads what a line says.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, Problem> {
        let line = Self::fields(line)?;
        // What revokes is looked at closely at once: a name that matches nothing would revoke nothing.
        let damaged =
            || !Hashed::fits(line.names) || (line.marker == Marker::Revoked && damaged_hash(line.names));
        if line.names.starts_with(b"|") && damaged() {
            return Err(Problem::HashedName);
        }
        check_type(line.key_type.as_bytes(), line.key)?;
        Ok(line)
    }

    /// The fields of a line, whatever is in them. Spaces and tabs separate fields, and nothing else does (H-12).
    pub(super) fn fields(line: &'a [u8]) -> Result<Self, Problem> {
        let (mut names, mut rest) = next_field(line);
        let mut marker = Marker::None;
        if names.starts_with(b"@") {
            marker = match names {
                b"@revoked" => Marker::Revoked,
                b"@cert-authority" => Marker::Authority,
                _ => return Err(Problem::Marker),
            };
            (names, rest) = next_field(rest);
            if names.starts_with(b"@") {
                return Err(Problem::Marker);
            }
        }
        let key_and_on = rest;
        let (key_type, rest) = next_field(rest);
        let (key, comment) = next_field(rest);
        if names.is_empty() || key_type.is_empty() || key.is_empty() {
            return Err(Problem::Fields);
        }
        let key_type = core::str::from_utf8(key_type).map_err(|_| Problem::Fields)?;
        Ok(Line { marker, names, key_type, key, comment, key_and_on })
    }

    /// Checks what [`parse`](Self::parse) left unchecked, and decodes the key.
    pub(super) fn public_key(&self) -> Result<PublicKey, Problem> {
        if damaged_hash(self.names) {
            return Err(Problem::HashedName);
        }
        if KeyType::from_name(self.key_type).is_none() {
            return Err(Problem::UnknownType);
        }
        PublicKey::from_base64(self.key_type.as_bytes(), self.key).map_err(|_| Problem::Key)
    }

    /// The key, if its type is one that we have or that of `like`.
    pub(super) fn public_key_like(&self, like: &PublicKey) -> Result<PublicKey, Problem> {
        match self.public_key() {
            Err(Problem::UnknownType) if self.key_type == like.key_type().name() => {
                PublicKey::from_base64_with(like.key_type(), self.key).map_err(|_| Problem::Key)
            }
            key => key,
        }
    }

    /// Whether the line is for `name`, which is canonical.
    pub(super) fn is_for(&self, name: &[u8]) -> bool {
        are_for(self.names, name)
    }
}

/// Whether the names of a line are for `name`, which is canonical.
pub(super) fn are_for(names: &[u8], name: &[u8]) -> bool {
    if let Some(hashed) = Hashed::parse(names) {
        return hashed.matches(name);
    }
    let patterns = names.split(|b| *b == b',').map(Sign::split);
    ListMatch::of(patterns.map(|(sign, pattern)| (sign, is_one(pattern, name)))) == ListMatch::Yes
}

/// Whether one name or pattern is for `name`. What is not a pattern is canonical in both; in
/// `[host]:*` that is the host.
fn is_one(pattern: &[u8], name: &[u8]) -> bool {
    if !is_wild(pattern) {
        return canonical_entry(pattern).eq(name.iter().copied());
    }
    let host = pattern.strip_prefix(b"[").and_then(|rest| rest.split(|b| *b == b']').next());
    match host {
        Some(host) if !is_wild(host) => matches_host(&canonical_entry(pattern).collect::<Vec<_>>(), name),
        _ => matches_host(pattern, name),
    }
}

/// Whether names that begin with `|` are not the hash they should be.
pub(super) fn damaged_hash(names: &[u8]) -> bool {
    names.starts_with(b"|") && Hashed::parse(names).is_none()
}

/// Whether a name is more than itself: a wildcard, a negation or a hash.
pub(super) fn is_pattern(name: &[u8]) -> bool {
    is_wild(name) || name.starts_with(b"!") || name.starts_with(b"|")
}

/// How keys begin: the base64 of the type and of the next byte, which is the first of a length that
/// is far below 2^24. Nearly every line is one of these, and comparing is quicker than decoding.
const BEGINNINGS: [(&[u8], &[u8]); 5] = [
    (b"ssh-ed25519", b"AAAAC3NzaC1lZDI1NTE5"),
    (b"ssh-rsa", b"AAAAB3NzaC1yc2EA"),
    (b"ecdsa-sha2-nistp256", b"AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYA"),
    (b"ecdsa-sha2-nistp384", b"AAAAE2VjZHNhLXNoYTItbmlzdHAzODQA"),
    (b"ecdsa-sha2-nistp521", b"AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEA"),
];

/// Compares the declared type with the one inside the key (H-11), decoding no more than that.
pub(super) fn check_type(declared: &[u8], key: &[u8]) -> Result<(), Problem> {
    let mut buffer = [0u8; MAX_TYPE + 8];
    if BEGINNINGS.iter().any(|(name, start)| *name == declared && key.starts_with(start)) {
        return Ok(());
    }
    if declared.len() > MAX_TYPE {
        return Err(Problem::Fields);
    }
    // Whole groups of four characters for the length (4 bytes) and the name.
    let bytes = declared.len().saturating_add(4);
    let characters = bytes.div_ceil(3).saturating_mul(4);
    let head = key.get(..characters).unwrap_or(key);
    let decoded = Base64::decode(head, &mut buffer).map_err(|_| Problem::Key)?;
    let mut r = crate::wire::Reader::new(decoded);
    match r.string() {
        Ok(found) if found == declared => Ok(()),
        // Either another name, or a longer one that the head does not reach.
        _ if decoded.len() >= 4 => Err(Problem::TypeMismatch),
        _ => Err(Problem::Key),
    }
}

/// `|1|salt|hash`: HMAC-SHA1 of the name under the salt (OpenSSH `hostfile.c`).
struct Hashed {
    salt: [u8; 20],
    hash: [u8; 20],
}

impl Hashed {
    /// Whether the text has the right form, without decoding it.
    fn fits(names: &[u8]) -> bool {
        const PART: usize = 28; // 20 bytes
        names.len() == 4 + 2 * PART && names.starts_with(b"|1|") && names.get(3 + PART) == Some(&b'|')
    }

    fn parse(names: &[u8]) -> Option<Self> {
        let mut parts = names.strip_prefix(b"|1|")?.split(|b| *b == b'|');
        let (salt, hash) = (decode20(parts.next()?)?, decode20(parts.next()?)?);
        if parts.next().is_some() {
            return None;
        }
        Some(Hashed { salt, hash })
    }

    fn matches(&self, name: &[u8]) -> bool {
        hash(&self.salt, name) == self.hash
    }
}

fn decode20(text: &[u8]) -> Option<[u8; 20]> {
    let mut bytes = [0; 20];
    // 20 bytes are 28 characters; the decoder refuses what does not fit and what is not canonical.
    (Base64::decode(text, &mut bytes).ok()?.len() == 20).then_some(bytes)
}

pub(super) fn hash(salt: &[u8; 20], name: &[u8]) -> [u8; 20] {
    // HMAC takes keys of any length; this cannot fail.
    Hmac::<Sha1>::new_from_slice(salt).map_or([0; 20], |mut mac| {
        mac.update(name);
        mac.finalize().into_bytes().into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Sink;

    #[test]
    fn h11_the_quick_comparison_is_the_slow_one() {
        for (name, start) in BEGINNINGS {
            let mut blob = Vec::new();
            blob.put_string(name);
            blob.put_u32(32);
            assert!(Base64::encode_string(&blob).as_bytes().starts_with(start), "{start:?}");
        }
    }
}
