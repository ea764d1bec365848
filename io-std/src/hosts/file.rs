//! The files of known hosts. No state that they can be in makes anybody wait.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use konko_core::hosts::{KnownHosts, LIMITS};
use konko_core::text::TooLarge;
use rustix::fs::OFlags;

/// Reads the files. What is not there is empty; what is there and cannot be read whole is noted, and
/// then refuses every key.
pub(super) fn load<'p>(paths: impl Iterator<Item = &'p PathBuf>) -> KnownHosts {
    let mut known = KnownHosts::new();
    for path in paths {
        let name = path.display().to_string();
        match read(path) {
            Ok(bytes) => {
                let kept = known.add_file(&name, &bytes);
                debug_assert!(kept.is_ok(), "read() takes no more than that");
            }
            Err(e) => known.add_unreadable(&name, &e.to_string()),
        }
    }
    known
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Looked at before it is opened, since opening a device can do something, and afterwards, since
    // it may be another one by then.
    let looked = path.metadata().and_then(|meta| is_empty(&meta));
    let file = match looked {
        Ok(true) => return Ok(Vec::new()),
        Ok(false) => open(OpenOptions::new().read(true), path),
        Err(e) => Err(e),
    };
    let file = match file {
        // ENOTDIR: a file stands where a folder would have to be.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        file => file?,
    };
    if is_empty(&file.metadata()?)? {
        return Ok(Vec::new());
    }
    let mut bytes = Vec::new();
    file.take(LIMITS.file as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > LIMITS.file { Err(io::Error::other(TooLarge { max: LIMITS.file })) } else { Ok(bytes) }
}

/// Opens without waiting for the other end of a FIFO or for a line.
fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    options.custom_flags(flags.bits() as i32).open(path)
}

/// Whether it is `/dev/null`, by whatever name: that is how people say "none".
///
/// # Errors
/// What is not a regular file either.
fn is_empty(meta: &Metadata) -> io::Result<bool> {
    if meta.is_file() {
        return Ok(false);
    }
    let null = || Path::new("/dev/null").metadata().is_ok_and(|null| null.rdev() == meta.rdev());
    if meta.file_type().is_char_device() && null() {
        return Ok(true);
    }
    Err(io::Error::other("it is not a regular file"))
}

/// Adds a line, on a line of its own even if the last one lacks its end.
pub(super) fn append(path: &Path, line: &str) -> io::Result<()> {
    if path.metadata().is_ok_and(|meta| is_empty(&meta).is_ok_and(|null| null)) {
        return Ok(());
    }
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty() && !d.exists()) {
        DirBuilder::new().mode(0o700).create(dir)?;
    }
    let mut file = open(OpenOptions::new().read(true).append(true).create(true).mode(0o600), path)?;
    let meta = file.metadata()?;
    is_empty(&meta)?;
    let mut text = String::new();
    if meta.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0; 1];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            text.push('\n');
        }
    }
    text.push_str(line);
    text.push('\n');
    // What is larger than that could not be read again, and would refuse every host.
    if meta.len().saturating_add(text.len() as u64) > LIMITS.file as u64 {
        return Err(io::Error::other(TooLarge { max: LIMITS.file }));
    }
    file.write_all(text.as_bytes())
}
