//! The files of known hosts, for whoever asks a [`HostKeyCheck`](konko_core::hosts::HostKeyCheck) of the core without
//! [`HostKeys`](crate::HostKeys): an event loop, an async runtime. No state that they can be in makes anybody wait.

mod change;

use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use konko_core::Rng;
use konko_core::crypto::HashAlgorithm;
use konko_core::hosts::{
    Contents, HostKeyChanges, HostKeysUpdate, KnownHosts, LIMITS, NewHost, NextOfUpdate, Question, Reading,
    Trust,
};
use konko_core::keys::PublicKey;
use konko_core::wire::SshStr;
use rustix::fs::OFlags;

pub use change::{Change, change};

/// What the files say that count for whom a client believes. `KnownHostsCommand` is not asked, and refuses every host if
/// there is one: see [`load_for`].
pub fn load(trust: &Trust) -> KnownHosts {
    answered(Reading::new(trust))
}

/// The same about one host, by its name and port as it is looked up, and about the key that it has shown, if it has:
/// `KnownHostsCommand` is run too, with the rights of this process.
pub fn load_for(trust: &Trust, host: &str, port: u16, key: Option<&PublicKey>) -> KnownHosts {
    let reading = Reading::new(trust);
    answered(match key {
        Some(key) => reading.host_with(host, port, key),
        None => reading.host(host, port),
    })
}

fn answered(mut reading: Reading) -> KnownHosts {
    while let Some(question) = reading.question() {
        let contents = answer(question);
        reading.answer(contents);
    }
    reading.finish()
}

/// The answer to a question of [`Reading`] or [`HostKeysUpdate`].
pub fn answer(question: Question<'_>) -> Contents {
    match question {
        Question::Read { path, max } => read_up_to(path, max),
        Question::Run(words) => run(words),
    }
}

/// What is to be done about the keys that a host tells, by what the user's files say.
pub fn decide(update: &mut HostKeysUpdate) -> NextOfUpdate {
    while let Some(question) = update.question() {
        let contents = answer(question);
        update.answer(contents);
    }
    update.decide()
}

/// Changes the user's files as a host's keys have changed; what was done, or could not be, for a person. A file that is
/// not there is not made.
pub fn apply(changes: &HostKeyChanges) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    let mut rng = match crate::seed_from_os() {
        Ok(seed) => Rng::from_seed(&seed),
        Err(e) => return vec![format!("host keys could not be updated: {e}")],
    };
    for (index, path) in changes.files().iter().enumerate() {
        let file = Path::new(OsStr::from_bytes(path));
        if !file.exists() {
            continue;
        }
        let changed = change(file, |file| changes.apply(index, file, &mut rng));
        let changed = changed.and_then(|change| change.result.map_err(io::Error::other));
        if let Err(e) = changed {
            return vec![format!("{} could not be updated: {e}", SshStr::new(path))];
        }
    }
    let print = |key: &PublicKey| format!("{} {}", key.key_type(), key.fingerprint(HashAlgorithm::Sha256));
    told.extend(changes.learned().iter().map(|key| format!("learned new host key: {}", print(key))));
    told.extend(changes.removed().iter().map(|key| format!("removed obsolete host key: {}", print(key))));
    told
}

/// What is found in the place of a file.
pub fn read(path: &[u8]) -> Contents {
    read_up_to(path, LIMITS.file)
}

fn read_up_to(path: &[u8], max: usize) -> Contents {
    match bytes(Path::new(OsStr::from_bytes(path)), max) {
        Ok(bytes) => bytes.map_or(Contents::Missing, Contents::Bytes),
        // ENOTDIR: a file stands where a folder would have to be.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Contents::Missing
        }
        Err(e) => Contents::Unreadable(e.to_string()),
    }
}

/// What a program prints, without a shell and without input.
fn run(words: &[Vec<u8>]) -> Contents {
    let mut words = words.iter().map(|word| OsStr::from_bytes(word));
    let Some(program) = words.next() else { return Contents::Missing };
    let output = || -> io::Result<Vec<u8>> {
        let mut child =
            Command::new(program).args(words).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut bytes = Vec::new();
        let read = match child.stdout.take() {
            Some(stdout) => stdout.take(LIMITS.file as u64 + 1).read_to_end(&mut bytes),
            None => Ok(0),
        };
        let status = child.wait()?;
        read?;
        if status.success() { Ok(bytes) } else { Err(io::Error::other(format!("it failed: {status}"))) }
    };
    output().map_or_else(|e| Contents::Unreadable(e.to_string()), Contents::Bytes)
}

fn bytes(path: &Path, max: usize) -> io::Result<Option<Vec<u8>>> {
    // Looked at before it is opened, since opening a device can do something, and afterwards, since
    // it may be another one by then.
    if is_null(&path.metadata()?)? {
        return Ok(None);
    }
    let file = open(OpenOptions::new().read(true), path)?;
    if is_null(&file.metadata()?)? {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Opens without waiting for the other end of a FIFO or for a line.
fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    options.custom_flags(flags.bits() as i32).open(path)
}

/// Whether it is `/dev/null`, by whatever name.
///
/// # Errors
/// What is not a regular file either.
fn is_null(meta: &Metadata) -> io::Result<bool> {
    if meta.is_file() {
        return Ok(false);
    }
    let null = || Path::new("/dev/null").metadata().is_ok_and(|null| null.rdev() == meta.rdev());
    if meta.file_type().is_char_device() && null() {
        return Ok(true);
    }
    Err(io::Error::other("it is not a regular file"))
}

/// Appends a host to its file, which is made if it is missing (0600), with its folder (0700).
///
/// # Errors
/// Why it cannot be written, or must not be: it would become too large to be read again. Nothing was appended then.
pub fn append(new: &NewHost) -> io::Result<()> {
    let path = Path::new(OsStr::from_bytes(new.file()));
    if path.metadata().is_ok_and(|meta| is_null(&meta).is_ok_and(|null| null)) {
        return Ok(());
    }
    // Held until the line is written: another program may be about to put a new file in the place of this one.
    let _lock = change::lock_beside(&change::target(path))?;
    let mut file = open(OpenOptions::new().read(true).append(true).create(true).mode(0o600), path)?;
    let meta = file.metadata()?;
    is_null(&meta)?;
    let mut last = None;
    if let Some(at) = meta.len().checked_sub(1) {
        file.read_exact_at(std::slice::from_mut(last.insert(0)), at)?;
    }
    let mut salt = [0; 20];
    getrandom::fill(&mut salt).map_err(|e| io::Error::other(e.to_string()))?;
    file.write_all(&new.text(meta.len(), last, salt).map_err(io::Error::other)?)
}
