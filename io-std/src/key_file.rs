//! Files of private and public keys: read whole, and written so that nobody else can read a private key, from the
//! first moment that its file exists.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use konko_core::keys::MAX_FILE;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// What happens to a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and writing fails with [`AlreadyExists`](io::ErrorKind::AlreadyExists).
    Keep,
    /// The new file takes its place, with its own owner and mode. Of a symbolic link the link is replaced, not what it
    /// leads to.
    Replace,
}

/// Writes a private key file: mode 0600 from its first moment whatever the umask says, never through a symbolic link,
/// and under its name only when all of it is on the disk (CVE-2022-24302).
///
/// # Errors
/// What the system says.
pub fn write_private(path: impl AsRef<Path>, text: &[u8], existing: Existing) -> io::Result<()> {
    write(path.as_ref(), text, 0o600, existing)
}

/// Writes what everybody may read, such as a `.pub` file: mode 0644 as far as the umask lets it, otherwise as
/// [`write_private`].
///
/// # Errors
/// What the system says.
pub fn write_public(path: impl AsRef<Path>, text: &[u8], existing: Existing) -> io::Result<()> {
    write(path.as_ref(), text, 0o644, existing)
}

/// The name of the public key file beside that of a private key: with `.pub` appended.
pub fn public_path(private: impl AsRef<Path>) -> PathBuf {
    let mut path = OsString::from(private.as_ref());
    path.push(".pub");
    path.into()
}

/// The name of the file of a certificate beside that of a private key: with `-cert.pub` appended.
pub fn certificate_path(private: impl AsRef<Path>) -> PathBuf {
    let mut path = OsString::from(private.as_ref());
    path.push("-cert.pub");
    path.into()
}

/// Reads a key file, of at most [`MAX_FILE`] bytes and one more, which the parsers refuse. What was read is wiped when
/// it goes. Never waits for a pipe.
///
/// # Errors
/// What the system says, and that it is a folder or a device.
pub fn read(path: impl AsRef<Path>) -> io::Result<Zeroizing<Vec<u8>>> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    read_to_end(file, MAX_FILE)
}

/// Reads at most `max` bytes and one more, which the parsers refuse. What was read is wiped.
pub(crate) fn read_to_end(file: File, max: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    // Room for all of it, so that no copy of a secret is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(file.metadata()?.size().min(max as u64) as usize + 64));
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write(path: &Path, text: &[u8], mode: u32, existing: Existing) -> io::Result<()> {
    if existing == Existing::Keep && fs::symlink_metadata(path).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let beside = beside(path)?;
    let new = |path: &Path| File::options().write(true).create_new(true).mode(mode).open(path);
    // `create_new` follows no link.
    let mut file = new(&beside)?;
    let written = file.write_all(text).and_then(|()| file.sync_all());
    let named = written.and_then(|()| match existing {
        Existing::Replace => fs::rename(&beside, path),
        // A second name replaces nothing, and follows nothing: of several who write at once there is one winner.
        Existing::Keep => match fs::hard_link(&beside, path) {
            // A file system without second names.
            Err(e) if matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
                let mut file = new(path)?;
                file.write_all(text).and_then(|()| file.sync_all())
            }
            result => result,
        },
    });
    match fs::remove_file(&beside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => named.and(Err(e)),
        _ => named,
    }
}

/// A name in the same folder that nobody has.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::other("not the name of a file"))?;
    let mut number = [0; 8];
    getrandom::fill(&mut number).map_err(|e| io::Error::other(format!("no random numbers: {e}")))?;
    let mut beside = OsString::from(".");
    beside.push(name);
    beside.push(format!(".{:016x}", u64::from_ne_bytes(number)));
    Ok(path.with_file_name(beside))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn s19_f16_a_new_key_file_is_0600_and_no_other_file_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write_private(&path, b"one", Existing::Keep).unwrap();
        assert_eq!(mode(&path), 0o600);
        let again = write_private(&path, b"two", Existing::Keep).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        // A wider file, which somebody may have open, is another file than the new one.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let mut old = File::open(&path).unwrap();
        write_private(&path, b"three", Existing::Replace).unwrap();
        assert_eq!((mode(&path), &fs::read(&path).unwrap()[..]), (0o600, &b"three"[..]));
        let mut seen = String::new();
        old.read_to_string(&mut seen).unwrap();
        assert_eq!(seen, "one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn s19_f16_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "theirs").unwrap();
        for there in [true, false] {
            if !there {
                fs::remove_file(&target).unwrap();
            }
            symlink(&target, &link).unwrap();
            let kept = write_private(&link, b"secret", Existing::Keep).unwrap_err();
            assert_eq!(kept.kind(), io::ErrorKind::AlreadyExists);
            write_private(&link, b"secret", Existing::Replace).unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_file());
            assert_eq!(target.exists(), there);
            fs::remove_file(&link).unwrap();
            if there {
                assert_eq!(fs::read(&target).unwrap(), b"theirs");
            }
        }
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(read(&pipe).is_err());
        assert!(read(folder.path()).is_err());
    }
}
