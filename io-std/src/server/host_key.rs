//! The server's own key, in a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use konko_core::Rng;
use konko_core::keys::{KeyPair, KeyType, MAX_FILE, PrivateKey};
use konko_core::provider;
use rustix::fs::OFlags;

use crate::error::{Error, ErrorKind};
use crate::key_file::{Existing, read_to_end, write_private};

/// The host key in a file; if there is no such file, a new Ed25519 key is made and kept there.
///
/// The file is one that `ssh-keygen` writes and reads, without a passphrase. It has to be a regular file, no symbolic
/// link, that belongs to root or to the user that this program runs as, and that nobody else can read: as with sshd, a
/// key that others may have read is no key. A new file has the mode 0600 from its first moment, and gets its name only
/// when all of it is on the disk. Of several programs that begin at the same time one makes the key, and all have it.
///
/// # Errors
/// `Local`, with the path and what is wrong.
pub fn host_key(path: impl AsRef<Path>) -> Result<Arc<KeyPair>, Error> {
    let path = path.as_ref();
    let pair = load(path).or_else(|e| if e.kind() == io::ErrorKind::NotFound { make(path) } else { Err(e) });
    pair.map(Arc::new).map_err(|e| {
        let text = format!("the host key {}: {e}", path.display());
        Error::new(ErrorKind::Local(text), &Arc::from(""))
    })
}

fn load(path: &Path) -> io::Result<KeyPair> {
    // Opened without waiting, whatever it is (F-15).
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file =
        File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path).map_err(|e| {
            match rustix::io::Errno::from_io_error(&e) {
                Some(rustix::io::Errno::LOOP) => io::Error::other("it is a symbolic link"),
                _ => e,
            }
        })?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if meta.uid() != 0 && meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!("it is owned by another user (number {})", meta.uid())));
    }
    if meta.mode() & 0o077 != 0 {
        let mode = meta.mode() & 0o7777;
        return Err(io::Error::other(format!("others have access to it (mode {mode:o}); chmod go=")));
    }
    let key = PrivateKey::load(&read_to_end(file, MAX_FILE)?, None).map_err(io::Error::other)?;
    key.key_pair(provider::best()).map_err(io::Error::other)
}

/// Makes a key, or takes the one that somebody else has made meanwhile.
fn make(path: &Path) -> io::Result<KeyPair> {
    let mut rng = Rng::from_seed(&crate::seed_from_os()?);
    let key = PrivateKey::generate(KeyType::ED25519, &mut rng).map_err(io::Error::other)?;
    let text = key.to_openssh(None, &mut rng).map_err(io::Error::other)?;
    match write_private(path, text.as_bytes(), Existing::Keep) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    load(path)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::Barrier;

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn of_many_who_begin_at_once_one_makes_the_key_and_all_have_it() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let path = folder.path().join(format!("key{round}"));
            let (begin, path) = (&Barrier::new(8), &path);
            let keys: Vec<_> = std::thread::scope(|scope| {
                let make = || {
                    begin.wait();
                    host_key(path).unwrap().public().clone()
                };
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(keys.iter().all(|key| *key == keys[0]));
            assert_eq!(*host_key(path).unwrap().public(), keys[0]);
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o7777, 0o600);
        }
        // What was written beside them is gone.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 20);
    }

    #[test]
    fn a_key_that_others_can_read_or_put_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        host_key(&path).unwrap();
        let says = |path: &Path| host_key(path).unwrap_err().to_string();
        mode(&path, 0o640);
        assert!(says(&path).contains("mode 640"), "{}", says(&path));
        mode(&path, 0o400);
        host_key(&path).unwrap();
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(says(&link).contains("symbolic link"), "{}", says(&link));
        // Nor is anything made behind a link that leads nowhere.
        let nowhere = folder.path().join("nowhere");
        symlink(folder.path().join("elsewhere"), &nowhere).unwrap();
        assert!(says(&nowhere).contains("symbolic link"), "{}", says(&nowhere));
        assert!(!folder.path().join("elsewhere").exists());
        assert!(says(folder.path()).contains("not a regular file"), "{}", says(folder.path()));
        let broken = folder.path().join("broken");
        fs::write(&broken, "no key").unwrap();
        mode(&broken, 0o600);
        assert!(says(&broken).contains("broken"), "{}", says(&broken));
        assert_eq!(fs::read(&broken).unwrap(), b"no key");
    }
}
