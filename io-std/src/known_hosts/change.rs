//! Files of known hosts that are changed as a whole: under a lock, and there at once or not at all.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use konko_core::hosts::{KnownHostsFile, LIMITS};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

/// How long another program may hold the lock.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is asked for.
const PAUSE: Duration = Duration::from_millis(10);

/// What [`change`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change<T> {
    /// What the edit returned.
    pub result: T,
    /// Where the file's contents of before are, if it was changed: beside it, with `.old` behind its name.
    pub old: Option<PathBuf>,
}

/// Changes a file of known hosts, as `ssh-keygen -R` does: what `edit` made of it takes the place of the file at once,
/// with its mode and owner, and what was there before is kept beside it as `.old`. Nothing is written if nothing was
/// changed. A file that is not there is empty, and made (0600) with its folder (0700). A symbolic link stays one.
///
/// konko's own writers wait for each other (flock(2) of the folder); OpenSSH takes no lock.
///
/// # Errors
/// Why the file cannot be read or written, or that it is too large; it is as it was then.
pub fn change<T>(
    path: impl AsRef<Path>,
    edit: impl FnOnce(&mut KnownHostsFile) -> T,
) -> io::Result<Change<T>> {
    let path = &target(path.as_ref());
    let lock = lock_beside(path)?;
    let there = match super::bytes(path, LIMITS.file) {
        Ok(Some(bytes)) => Some(bytes),
        // Nothing can be kept there.
        Ok(None) => return Ok(Change { result: edit(&mut parse(b"")?), old: None }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    let mut file = parse(there.as_deref().unwrap_or_default())?;
    let result = edit(&mut file);
    if !file.is_changed() {
        return Ok(Change { result, old: None });
    }
    let old = there.is_some().then(|| beside(path, ".old"));
    replace(path, &file.to_bytes(), old.as_deref())?;
    // The name is on the disk too then; a folder that cannot be written through is not worth a failure.
    drop(lock.map(|folder| folder.sync_all()));
    Ok(Change { result, old })
}

fn parse(bytes: &[u8]) -> io::Result<KnownHostsFile> {
    KnownHostsFile::parse(bytes).map_err(io::Error::other)
}

/// Where a path leads, so that a link is not replaced by a file.
pub(super) fn target(path: &Path) -> PathBuf {
    let link = path.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
    link.then(|| path.canonicalize().ok()).flatten().unwrap_or_else(|| path.to_owned())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The lock that writers of files in a folder share, which is made if it is missing; until it is dropped. `None` where
/// the system has none.
pub(super) fn lock_beside(path: &Path) -> io::Result<Option<File>> {
    let dir = folder(path);
    if !dir.exists() {
        DirBuilder::new().mode(0o700).create(dir)?;
    }
    let Ok(file) = File::open(dir) else { return Ok(None) };
    let deadline = Instant::now() + PATIENCE;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => thread::sleep(PAUSE),
            Err(Errno::WOULDBLOCK | Errno::INTR) => {
                let why = format!("another program has locked {} for too long", dir.display());
                return Err(io::Error::new(io::ErrorKind::WouldBlock, why));
            }
            // Network file systems may have no such lock.
            Err(_) => return Ok(None),
        }
    }
}

/// Puts bytes into the place of a file.
fn replace(path: &Path, bytes: &[u8], old: Option<&Path>) -> io::Result<()> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|e| io::Error::other(e.to_string()))?;
    let new = beside(path, &format!(".{:016x}", u64::from_ne_bytes(random)));
    let nofollow = OFlags::NOFOLLOW.bits() as i32;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(nofollow).open(&new)?;
    let written = write(&mut file, path, bytes).and_then(|()| {
        if let Some(old) = old {
            match fs::remove_file(old) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => fs::hard_link(path, old)?,
            }
        }
        fs::rename(&new, path)
    });
    if written.is_err() {
        // What is left over of it is of no use, and it is why it is left over that counts.
        drop(fs::remove_file(&new));
    }
    written
}

/// Writes the new file, with the mode and the owner of the one that it replaces.
fn write(file: &mut File, like: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Ok(meta) = like.metadata() {
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (meta.uid(), meta.gid()) {
            // Only root may; for all others the file is theirs anyway.
            drop(std::os::unix::fs::fchown(&*file, Some(meta.uid()), Some(meta.gid())));
        }
        file.set_permissions(Permissions::from_mode(meta.mode() & 0o777))?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}
