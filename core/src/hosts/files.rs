//! The files of known hosts, as questions: read this one, append that to this one.
//!
//! Who answers has five things to see to. Nothing that a path may be (a FIFO, a device) may be waited for. What is no
//! regular file cannot be read, but for the null device, by whatever name: that is how people say "none", so there is
//! no such file, and nothing is appended to it. A folder that is missing is made for its user alone (0700), a file too
//! (0600). A line is appended in one piece (`O_APPEND`).

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use super::{BadHostName, Checking, KnownHosts, LIMITS, Trust, canonical, learn_line};
use crate::keys::PublicKey;
use crate::text::TooLarge;
use crate::wire::SshStr;

/// What is found in the place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Nothing: there is no such file, nor a folder for it. No host is known by it.
    Missing,
    /// All its bytes, or as many as make it [too large](LIMITS).
    Bytes(Vec<u8>),
    /// Something that cannot be read whole, and why. Any key may be revoked there, so none is accepted.
    Unreadable(String),
}

/// The files of known hosts while they are read. As long as there is a [`file`](Self::file), answer.
///
/// ```
/// # use konko_core::hosts::{Contents, KnownHosts, Reading, Trust};
/// # fn read(_: &[u8]) -> Contents { Contents::Missing }
/// fn known_hosts(trust: &Trust) -> KnownHosts {
///     let mut reading = Reading::new(trust);
///     while let Some(path) = reading.file() {
///         let contents = read(path);
///         reading.answer(contents);
///     }
///     reading.finish()
/// }
/// # assert!(known_hosts(&Trust::default()).is_empty());
/// ```
#[derive(Debug)]
pub struct Reading {
    files: vec::IntoIter<Vec<u8>>,
    known: KnownHosts,
}

impl Reading {
    /// The files that count for whom a client believes: those of the user, then those of the system.
    pub fn new(trust: &Trust) -> Self {
        let files = match trust {
            Trust::KnownHosts(Checking { user_files, global_files, .. }) => {
                [&user_files[..], global_files].concat()
            }
            Trust::Pinned(_) | Trust::Any => Vec::new(),
        };
        Reading { files: files.into_iter(), known: KnownHosts::new() }
    }

    /// The path of the file to read now; `None` when there is no more.
    pub fn file(&self) -> Option<&[u8]> {
        self.files.as_slice().first().map(Vec::as_slice)
    }

    /// What the file holds. Without a question, it changes nothing.
    pub fn answer(&mut self, contents: Contents) {
        let Some(path) = self.files.next() else { return };
        match contents {
            Contents::Missing => {}
            // One that is too large is noted.
            Contents::Bytes(bytes) => drop(self.known.add_file(&path, &bytes)),
            Contents::Unreadable(why) => self.known.add_unreadable(&path, &why),
        }
    }

    /// What the files say. One that was not answered counts as one that cannot be read.
    pub fn finish(mut self) -> KnownHosts {
        while self.file().is_some() {
            self.answer(Contents::Unreadable("it was not read".to_string()));
        }
        self.known
    }
}

/// A host that is to be remembered: append [`text`](Self::text) to [`file`](Self::file).
///
/// `Display` is the host's name and the key's type, as in "permanently added … to the file".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHost {
    file: Vec<u8>,
    host: String,
    port: u16,
    key: PublicKey,
    hash: bool,
}

impl NewHost {
    pub(super) fn new(checking: &Checking, host: &str, port: u16, key: &PublicKey) -> Option<Self> {
        let file = checking.user_files.first()?.clone();
        Some(NewHost { file, host: host.to_string(), port, key: key.clone(), hash: checking.hash_names })
    }

    /// The path of the file: the first of the user.
    pub fn file(&self) -> &[u8] {
        &self.file
    }

    /// What to write at the end of the file, which has so many bytes now and ends with this one: a line, on a line
    /// of its own. The salt, 20 random bytes, is used if names are hashed.
    ///
    /// # Errors
    /// [`CannotRemember`]; write nothing then.
    pub fn text(&self, length: u64, last: Option<u8>, salt: [u8; 20]) -> Result<Vec<u8>, CannotRemember> {
        let line = learn_line(&self.host, self.port, &self.key, self.hash.then_some(salt))?;
        let end: &[u8] = if last.is_none_or(|last| last == b'\n') { b"" } else { b"\n" };
        let text = [end, line.as_bytes(), b"\n"].concat();
        let total = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(text.len());
        // It could not be read again, and would refuse every host.
        if total > LIMITS.file { Err(TooLarge { max: LIMITS.file }.into()) } else { Ok(text) }
    }
}

impl fmt::Display for NewHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = canonical(&self.host, self.port);
        write!(f, "{} ({})", SshStr::new(name.as_bytes()), self.key.key_type())
    }
}

/// Why a host is not written into a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CannotRemember {
    /// Its name would mean something else there.
    Name(BadHostName),
    /// The file would be too large to be read again.
    File(TooLarge),
}

impl From<BadHostName> for CannotRemember {
    fn from(e: BadHostName) -> Self {
        CannotRemember::Name(e)
    }
}

impl From<TooLarge> for CannotRemember {
    fn from(e: TooLarge) -> Self {
        CannotRemember::File(e)
    }
}

impl fmt::Display for CannotRemember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CannotRemember::Name(e) => e.fmt(f),
            CannotRemember::File(e) => e.fmt(f),
        }
    }
}

impl core::error::Error for CannotRemember {}
