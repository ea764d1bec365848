//! Authorized keys: text in, the options of a key out (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
//!
//! Files are read by the caller. A line that is not understood in full lets nobody in: a restriction
//! that nobody knows must not be lost (F-14).

mod certificate;
mod line;
mod options;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

pub use certificate::AuthorizedPrincipals;
pub use line::Problem;
pub use options::{CommandConflict, KeyOptions, OptionProblem};

use crate::keys::PublicKey;
use crate::text::{Limits, Location, MAX_WARNINGS, TooLarge, lines};
use crate::wire::SshStr;
use line::Line;

/// How large an authorized_keys file may be (F-14, F-15).
pub const LIMITS: Limits = Limits { file: 1024 * 1024, line: 16 * 1024 };

/// A line that lets nobody in, and why.
pub type Warning = crate::text::Warning<Problem>;

/// The keys that users may log in with, from one or several files.
///
/// Immutable once filled; put it in an `Arc` to share it.
///
/// ```
/// # use konko_core::authorized_keys::AuthorizedKeys;
/// # use konko_core::keys::PublicKey;
/// let line = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINFtSbggKRyVeFDitf8xA29Zg+1YGYKaPC9ct1zY2Y5Q";
/// let (key, _) = PublicKey::from_openssh_line(line).unwrap();
/// let file = [br#"from="192.0.2.0/24",restrict,command="uptime" "#, &line[..], b" alice"].concat();
/// let keys = AuthorizedKeys::parse("authorized_keys", &file).unwrap();
/// let entry = keys.find(&key, Some("192.0.2.7".parse().unwrap()), None).unwrap();
/// assert_eq!(entry.options.command.as_deref(), Some(&b"uptime"[..]));
/// assert!(!entry.options.pty);
/// assert!(keys.find(&key, Some("198.51.100.1".parse().unwrap()), None).is_none());
/// ```
#[derive(Clone, Default)]
pub struct AuthorizedKeys {
    entries: Vec<Entry>,
    warnings: Vec<Warning>,
}

/// A key that may log in, and what it may do then.
#[derive(Clone)]
pub struct Entry {
    /// What the line allows.
    pub options: KeyOptions,
    /// Where the line stands.
    pub at: Location,
    key: PublicKey,
    comment: Box<[u8]>,
    /// The key signs certificates, and lets nobody in itself.
    authority: bool,
    /// Whom the certificates may be for (`principals`); the user who logs in, if nothing is said.
    principals: Option<Vec<Box<[u8]>>>,
}

impl Entry {
    /// Whether the key signs certificates (`cert-authority`): it lets nobody in itself.
    pub fn is_authority(&self) -> bool {
        self.authority
    }

    /// The key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The text behind the key; may be empty.
    pub fn comment(&self) -> SshStr<'_> {
        SshStr::new(&self.comment)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { options, at, key, comment, .. } = self;
        let comment = SshStr::new(comment);
        let mut out = f.debug_struct("Entry");
        out.field("at", at).field("key", key).field("options", options).field("comment", &comment).finish()
    }
}

impl AuthorizedKeys {
    /// No key may log in.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one file. `name` is for messages only.
    ///
    /// # Errors
    /// [`TooLarge`]; lines that are not understood in full are skipped, see
    /// [`warnings`](Self::warnings).
    pub fn parse(name: impl AsRef<[u8]>, bytes: &[u8]) -> Result<Self, TooLarge> {
        let mut keys = Self::new();
        keys.add_file(name, bytes)?;
        Ok(keys)
    }

    /// Adds another file, which is looked at after those before it.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); nothing is added then.
    pub fn add_file(&mut self, name: impl AsRef<[u8]>, bytes: &[u8]) -> Result<(), TooLarge> {
        let file: Arc<[u8]> = name.as_ref().into();
        for line in lines(bytes, LIMITS)? {
            let at = Location::new(file.clone(), line.number());
            match Line::read(line) {
                Ok(Line { options, key, comment, authority, principals }) => {
                    let comment = comment.into();
                    self.entries.push(Entry { options, at, key, comment, authority, principals });
                }
                Err(problem) if self.warnings.len() < MAX_WARNINGS => {
                    self.warnings.push(Warning::new(at, problem));
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// The first line that lets `key` in now and from there, as in sshd: a line whose `from` or
    /// `expiry-time` does not hold is passed over, and a later one may.
    ///
    /// `source` is the peer's address. A peer without one (a pipe, a Unix socket) never matches a
    /// `from` (AS-13). `now` is in seconds since 1970 UTC; without it, a key that expires is taken
    /// for expired.
    ///
    /// A line marked `cert-authority` is for certificates alone: [`find_certified`](Self::find_certified).
    ///
    /// That a key is found proves nothing: whoever asks may only have its public half. Let somebody
    /// in after a signature was verified.
    pub fn find(&self, key: &PublicKey, source: Option<IpAddr>, now: Option<u64>) -> Option<&Entry> {
        let plain = |entry: &&Entry| !entry.authority && entry.key == *key;
        self.entries.iter().filter(plain).find(|entry| entry.options.admits(source, now))
    }

    /// The lines that were not used and why, in order; at most the first 1000.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The lines that can let somebody in, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl fmt::Debug for AuthorizedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorizedKeys({} keys, {} warnings)", self.entries.len(), self.warnings.len())
    }
}
