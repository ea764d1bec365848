//! Which hosts may vouch for which users: shosts.equiv, and known hosts for their keys (OpenSSH auth-rhosts.c,
//! auth2-hostbased.c).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::{HostKeyStatus, KnownHosts};
use crate::keys::PublicKey;
use crate::text::{self, BadLine, Limits, Location, MAX_WARNINGS, TooLarge};

/// How large a file of equivalent hosts may be.
pub const EQUIVALENTS_LIMITS: Limits = Limits { file: 1 << 20, line: 1024 };

/// Hosts whose users are let in when their host vouches for them: a file like `/etc/ssh/shosts.equiv`, `host [user]` a
/// line. A minus in front of either refuses, and the first line that fits decides.
///
/// Without a user, a host vouches for users of the same name. With one, for that user alone, and under that name alone:
/// OpenSSH takes such a user under any name. Netgroups and `+` are not taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Equivalents {
    lines: Vec<Equivalent>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Equivalent {
    /// `None`: a refusal that cannot be read, which is one of everybody.
    host: Option<Vec<u8>>,
    user: Option<Vec<u8>>,
    refuses: bool,
}

/// What is wrong with a line of equivalent hosts. If it refuses somebody, everybody is refused from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadEquivalent {
    /// It is no line of text.
    Line(BadLine),
    /// There are more fields than a host and a user.
    Fields,
    /// A netgroup: they are not asked for.
    Netgroup,
    /// A `+`, which means everybody.
    Everybody,
}

impl fmt::Display for BadEquivalent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(why) => write!(f, "{why}"),
            Self::Fields => f.write_str("more than a host and a user"),
            Self::Netgroup => f.write_str("netgroups are not supported"),
            Self::Everybody => f.write_str("\"+\" would let everybody in"),
        }
    }
}

impl core::error::Error for BadEquivalent {}

impl Equivalents {
    /// Reads a file, whose name is for the warnings: one a line that is not used.
    ///
    /// # Errors
    /// [`TooLarge`], for a file over [`EQUIVALENTS_LIMITS`].
    pub fn parse(
        name: impl Into<Arc<[u8]>>,
        file: &[u8],
    ) -> Result<(Self, Vec<text::Warning<BadEquivalent>>), TooLarge> {
        let name = name.into();
        let (mut lines, mut warnings) = (Vec::new(), Vec::new());
        for line in text::lines(file, EQUIVALENTS_LIMITS)? {
            let read = line.read().map_err(BadEquivalent::Line).and_then(equivalent);
            lines.extend(read.as_ref().ok().cloned().or_else(|| {
                let refuses = line.text().contains(&b'-');
                refuses.then_some(Equivalent { host: None, user: None, refuses })
            }));
            if let (Err(problem), true) = (read, warnings.len() < MAX_WARNINGS) {
                warnings.push(text::Warning::new(Location::new(Arc::clone(&name), line.number()), problem));
            }
        }
        Ok((Equivalents { lines }, warnings))
    }

    /// Whether `host` may vouch for its user `host_user`, to come in as `user`.
    pub fn allow(&self, host: &[u8], host_user: &[u8], user: &[u8]) -> bool {
        let fits = |line: &&Equivalent| {
            let host = line.host.as_deref().is_none_or(|named| named.eq_ignore_ascii_case(host));
            host && line.user.as_deref().is_none_or(|named| named == host_user)
        };
        host_user == user && self.lines.iter().find(fits).is_some_and(|line| !line.refuses)
    }
}

/// One line.
fn equivalent(line: &[u8]) -> Result<Equivalent, BadEquivalent> {
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    let (host, user, rest) = (fields.next().unwrap_or_default(), fields.next(), fields.next());
    if rest.is_some() {
        return Err(BadEquivalent::Fields);
    }
    let mut refuses = false;
    let mut name = |field: &[u8]| {
        let name = match field.split_first() {
            Some((b'-', name)) => {
                refuses = true;
                name
            }
            _ => field,
        };
        match name.first() {
            Some(b'+') => Err(BadEquivalent::Everybody),
            Some(b'@') => Err(BadEquivalent::Netgroup),
            Some(_) => Ok(name.to_vec()),
            None => Err(BadEquivalent::Fields),
        }
    };
    let (host, user) = (Some(name(host)?), user.map(&mut name).transpose()?);
    Ok(Equivalent { host, user, refuses })
}

/// What a server believes other hosts.
#[derive(Debug)]
pub struct HostTrust {
    equivalents: Equivalents,
    known: KnownHosts,
}

impl HostTrust {
    /// Hosts of `equivalents`, with the keys that `known` has for them.
    pub fn new(equivalents: Equivalents, known: KnownHosts) -> Self {
        HostTrust { equivalents, known }
    }

    /// Whether this host, by this key, may vouch for its user `host_user` to come in as `user`. The host is looked up by
    /// the name that it says, less a dot at its end: its key proves the name, whatever the DNS says (OpenSSH
    /// `HostbasedUsesNameFromPacketOnly`).
    pub fn allow(&self, host: &str, key: &PublicKey, host_user: &str, user: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
        // A name, no pattern and no list.
        !host.is_empty()
            && host.bytes().all(plain)
            && self.equivalents.allow(host.as_bytes(), host_user.as_bytes(), user.as_bytes())
            && matches!(self.known.lookup(host, 22, None, key), HostKeyStatus::Match { .. })
    }
}
