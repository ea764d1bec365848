//! The files of known hosts, for whoever asks a [`HostKeyCheck`](konko_core::hosts::HostKeyCheck) of the core without
//! [`HostKeys`](crate::HostKeys): an event loop, an async runtime. No state that they can be in makes anybody wait.

mod change;

use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use konko_core::hosts::{Contents, KnownHosts, LIMITS, NewHost, Reading, Trust};
use rustix::fs::OFlags;

pub use change::{Change, change};

/// What the files say that count for whom a client believes.
pub fn load(trust: &Trust) -> KnownHosts {
    let mut reading = Reading::new(trust);
    while let Some(path) = reading.file() {
        let contents = read(path);
        reading.answer(contents);
    }
    reading.finish()
}

/// What is found in the place of a file.
pub fn read(path: &[u8]) -> Contents {
    match bytes(Path::new(OsStr::from_bytes(path))) {
        Ok(bytes) => bytes.map_or(Contents::Missing, Contents::Bytes),
        // ENOTDIR: a file stands where a folder would have to be.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Contents::Missing
        }
        Err(e) => Contents::Unreadable(e.to_string()),
    }
}

fn bytes(path: &Path) -> io::Result<Option<Vec<u8>>> {
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
    file.take(LIMITS.file as u64 + 1).read_to_end(&mut bytes)?;
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
