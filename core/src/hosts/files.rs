//! The files of known hosts, as questions: read this one, append that to this one.
//!
//! Who answers has five things to see to. Nothing that a path may be (a FIFO, a device) may be waited for. What is no
//! regular file cannot be read, but for the null device, by whatever name: that is how people say "none", so there is
//! no such file, and nothing is appended to it. A folder that is missing is made for its user alone (0700), a file too
//! (0600). A line is appended in one piece (`O_APPEND`).

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use base64ct::{Base64, Encoding};

use super::{BadHostName, Checking, KnownHosts, LIMITS, Trust, canonical, learn_line};
use crate::crypto::HashAlgorithm;
use crate::keys::PublicKey;
use crate::krl;
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

/// The files of known hosts while they are read. As long as there is a [`question`](Self::question), answer.
///
/// ```
/// # use konko_core::hosts::{Contents, KnownHosts, Question, Reading, Trust};
/// # fn read(_: &[u8], _max: usize) -> Contents { Contents::Missing }
/// # fn output(_: &[Vec<u8>]) -> Contents { Contents::Missing }
/// fn known_hosts(trust: &Trust) -> KnownHosts {
///     let mut reading = Reading::new(trust).host("example.org", 22);
///     while let Some(question) = reading.question() {
///         let contents = match question {
///             Question::Read { path, max } => read(path, max),
///             Question::Run(words) => output(words),
///         };
///         reading.answer(contents);
///     }
///     reading.finish()
/// }
/// # assert!(known_hosts(&Trust::default()).is_empty());
/// ```
#[derive(Debug)]
pub struct Reading {
    wanted: VecDeque<Wanted>,
    /// `KnownHostsCommand`, until it is known about which host it has to be asked.
    command: Option<Vec<Vec<u8>>>,
    known: KnownHosts,
}

#[derive(Debug)]
enum Wanted {
    Hosts(Vec<u8>),
    Revoked(Vec<u8>),
    Command(Vec<Vec<u8>>),
}

/// What is to be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question<'a> {
    /// What is in the file at this path? More than `max` bytes are too many: one more is enough to see that.
    Read {
        /// The path.
        path: &'a [u8],
        /// The most bytes that are of use.
        max: usize,
    },
    /// What does this program print? It is run without a shell, with nothing on standard input, and these are its
    /// words, the first of them its path. [`Unreadable`](Contents::Unreadable) if it fails. More than
    /// [`LIMITS`] allows a file are too many bytes.
    Run(&'a [Vec<u8>]),
}

/// What stands in messages for what a program printed.
const COMMAND: &[u8] = b"KnownHostsCommand";

impl Reading {
    /// The files that count for whom a client believes: those of revoked keys, those of the user, then those of the
    /// system.
    pub fn new(trust: &Trust) -> Self {
        let (mut wanted, mut command) = (VecDeque::new(), None);
        if let Trust::KnownHosts(checking) = trust {
            wanted.extend(checking.revoked_host_keys.iter().cloned().map(Wanted::Revoked));
            let files = checking.user_files.iter().chain(&checking.global_files);
            wanted.extend(files.cloned().map(Wanted::Hosts));
            command = checking.known_hosts_command.clone();
        }
        Reading { wanted, command, known: KnownHosts::new() }
    }

    /// Asks `KnownHostsCommand` too, if there is one, about this host, which is to be connected to.
    #[must_use]
    pub fn host(mut self, host: &str, port: u16) -> Self {
        self.run(host, port, None);
        self
    }

    /// The same about a host that has shown this key.
    #[must_use]
    pub fn host_with(mut self, host: &str, port: u16, key: &PublicKey) -> Self {
        self.run(host, port, Some(key));
        self
    }

    fn run(&mut self, host: &str, port: u16, key: Option<&PublicKey>) {
        let Some(words) = self.command.take() else { return };
        let name = canonical(host, port);
        match words.iter().map(|word| expanded(word, &name, key)).collect() {
            Some(words) => self.wanted.push_back(Wanted::Command(words)),
            None => self.known.add_unreadable(COMMAND, "it has a token other than %H, %I, %f, %t, %K and %%"),
        }
    }

    /// What to find out now; `None` when there is no more.
    pub fn question(&self) -> Option<Question<'_>> {
        Some(match self.wanted.front()? {
            Wanted::Hosts(path) => Question::Read { path, max: LIMITS.file },
            Wanted::Revoked(path) => Question::Read { path, max: krl::MAX_FILE },
            Wanted::Command(words) => Question::Run(words),
        })
    }

    /// What the file holds, or the program printed. Without a question, it changes nothing.
    pub fn answer(&mut self, contents: Contents) {
        match (self.wanted.pop_front(), contents) {
            (None, _) | (Some(Wanted::Hosts(_)), Contents::Missing) => {}
            // One that is too large is noted.
            (Some(Wanted::Hosts(path)), Contents::Bytes(bytes)) => {
                let _ = self.known.add_file(&path, &bytes);
            }
            (Some(Wanted::Command(_)), Contents::Bytes(bytes)) => {
                let _ = self.known.add_file(COMMAND, &bytes);
            }
            // Without it nobody knows what is revoked (ssh_config(5), RevokedHostKeys).
            (Some(Wanted::Revoked(path)), Contents::Missing) => {
                self.known.add_unreadable(&path, "there is no such file of revoked keys");
            }
            (Some(Wanted::Revoked(path)), Contents::Bytes(bytes)) => {
                let _ = self.known.add_revoked(&path, &bytes);
            }
            (Some(Wanted::Command(_)), Contents::Missing) => {
                self.known.add_unreadable(COMMAND, "there is no such program");
            }
            (Some(Wanted::Hosts(path) | Wanted::Revoked(path)), Contents::Unreadable(why)) => {
                self.known.add_unreadable(&path, &why);
            }
            (Some(Wanted::Command(_)), Contents::Unreadable(why)) => self.known.add_unreadable(COMMAND, &why),
        }
    }

    /// What the files say. One that was not answered counts as one that cannot be read, and so does a program that
    /// nobody asked about a [host](Self::host).
    pub fn finish(mut self) -> KnownHosts {
        while self.question().is_some() {
            self.answer(Contents::Unreadable("it was not read".to_string()));
        }
        if self.command.is_some() {
            self.known.add_unreadable(COMMAND, "it was not asked about a host");
        }
        self.known
    }
}

/// A word with its tokens (ssh_config(5), TOKENS) replaced: `%H` is the name that is looked up, `%I` what for, `%t`,
/// `%f` and `%K` the type, the fingerprint and the base64 of the host's key, `NONE` as long as it has shown none.
fn expanded(word: &[u8], name: &str, key: Option<&PublicKey>) -> Option<Vec<u8>> {
    let none = || "NONE".to_string();
    let mut out = Vec::with_capacity(word.len());
    let mut bytes = word.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let text = match bytes.next()? {
            b'%' => "%".to_string(),
            b'H' => name.to_string(),
            b'I' => if key.is_some() { "HOSTNAME" } else { "ORDER" }.to_string(),
            b't' => key.map_or_else(none, |key| key.key_type().name().to_string()),
            b'f' => key.map_or_else(none, |key| key.fingerprint(HashAlgorithm::Sha256).to_string()),
            b'K' => key.map_or_else(none, |key| Base64::encode_string(&key.to_blob())),
            _ => return None,
        };
        out.extend(text.bytes());
    }
    Some(out)
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
    /// The host's address, which gets a line of its own.
    address: Option<String>,
}

impl NewHost {
    pub(super) fn new(checking: &Checking, host: &str, port: u16, key: &PublicKey) -> Option<Self> {
        let file = checking.user_files.first()?.clone();
        let (host, key, hash) = (host.to_string(), key.clone(), checking.hash_names);
        Some(NewHost { file, host, port, key, hash, address: None })
    }

    /// The host is remembered by this address too.
    pub(super) fn with_address(mut self, address: Option<&str>) -> Self {
        self.address = address.map(ToString::to_string);
        self
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
        let mut text = learn_line(&self.host, self.port, &self.key, self.hash.then_some(salt))?;
        text.push('\n');
        if let Some(address) = &self.address {
            // Another salt, so that the two cannot be told to be the same host's.
            let salt = salt.map(|byte| !byte);
            text += &learn_line(address, self.port, &self.key, self.hash.then_some(salt))?;
            text.push('\n');
        }
        let end: &[u8] = if last.is_none_or(|last| last == b'\n') { b"" } else { b"\n" };
        let text = [end, text.as_bytes()].concat();
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
