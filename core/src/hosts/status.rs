use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::Problem;
use crate::keys::Fingerprint;
use crate::text::Location;
use crate::wire::SshStr;

/// A key that is known for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Known {
    /// Where it stands.
    pub at: Location,
    /// Its type, such as `ssh-rsa`.
    pub key_type: String,
    /// Its SHA-256 fingerprint; `None` for a type that we do not have.
    pub fingerprint: Option<Fingerprint>,
    /// True when the line is for the host's address rather than for its name.
    pub by_address: bool,
}

/// What known_hosts says about the key that a host offers.
///
/// Only [`Match`](Self::Match) is a yes. Whether the others may be answered with yes, and by whom,
/// is policy: nothing but [`Unknown`](Self::Unknown) should ever be accepted without a person
/// (`accept-new`), and `Unknown` only if its [`Hints::unreadable`] is empty. Neither
/// [`Revoked`](Self::Revoked) nor [`Unreadable`](Self::Unreadable) is for a person to overrule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum HostKeyStatus {
    /// The key is the host's.
    Match {
        /// The first line that says so.
        at: Location,
    },
    /// The key is marked `@revoked` for this host. Never accept it.
    Revoked {
        /// The line that says so.
        at: Location,
    },
    /// Nobody can tell whether the key is revoked: a file, or a line marked `@revoked`, cannot be
    /// read. Never accept it.
    Unreadable {
        /// What cannot be read, and why.
        what: Unreadable,
    },
    /// Keys of this type are known for the host and this one is not among them.
    Changed {
        /// Those keys.
        known: Vec<Known>,
    },
    /// Only keys of other types are known for the host, so it is not a new host (H-04).
    OtherTypeKnown {
        /// Those keys.
        known: Vec<Known>,
    },
    /// No key is known for the host.
    Unknown(Hints),
}

/// What may revoke a key and cannot be read; `Display` is `file: why` or `file:line: why`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unreadable {
    /// The line, or the whole file.
    pub at: Location,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, SshStr::new(self.why.as_bytes()))
    }
}

/// What else was seen when a host is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hints {
    /// `@cert-authority` lines for the host, which accept certificates alone.
    pub authorities: Vec<Location>,
    /// Damaged lines for the host: it may be known by a key that cannot be read.
    pub unreadable: Vec<Location>,
    /// The same key is known for the host on port 22. OpenSSH accepts such a key; here it is the
    /// caller's choice.
    pub without_port: Option<Location>,
}

/// A line that was not used, and why.
pub type Warning = crate::text::Warning<Damage>;

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// What is wrong.
    pub what: Problem,
    /// The line is marked `@revoked`: the hosts that it may be for are refused until it is mended.
    pub revokes: bool,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what.fmt(f)?;
        f.write_str(match self.what {
            Problem::UnknownType => "; the line matches no key",
            _ if self.revokes => "; what it may revoke is refused",
            _ => "; the line is ignored",
        })
    }
}
