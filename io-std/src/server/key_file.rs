use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use konko_core::authorized_keys::{AuthorizedKeys, LIMITS};
use rustix::fs::OFlags;

use crate::key_file::read_to_end;

/// A file system's clock is no finer than this, so what changed within it may change again unseen.
const COARSE: Duration = Duration::from_secs(2);

/// An authorized_keys file, read again when it has changed.
///
/// It has to be a regular file of at most 1 MiB, owned by root or by the user that this program runs
/// as, that nobody else can write or put in another's place (sshd's `StrictModes`). Otherwise nobody
/// comes in by it.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    strict: bool,
    cached: Mutex<Cached>,
}

#[derive(Debug, Default)]
struct Cached {
    stamp: Option<Stamp>,
    /// Changed so shortly before it was read that the next change might have the same stamp.
    fresh: bool,
    keys: Arc<AuthorizedKeys>,
    /// What was last said about the file, so that it is not said for each attempt.
    said: Vec<String>,
}

/// What tells two states of a file apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    mode: u32,
    owner: u32,
}

impl Stamp {
    fn of(meta: &fs::Metadata) -> Self {
        Stamp {
            file: (meta.dev(), meta.ino()),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            mode: meta.mode(),
            owner: meta.uid(),
        }
    }
}

impl KeyFile {
    /// The file at `path`. It is read when somebody logs in, so it need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        KeyFile { path: path.into(), strict: true, cached: Mutex::default() }
    }

    /// Takes the file whoever owns it and can write it (`StrictModes no`). Whoever can write it can
    /// log in.
    #[must_use]
    pub fn insecure_any_owner(mut self) -> Self {
        self.strict = false;
        self
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keys as they are now; none if the file cannot be trusted. `warn` is told why, and which
    /// lines are not used, once for each change.
    pub(super) fn keys(&self, warn: &dyn Fn(&str)) -> Arc<AuthorizedKeys> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let (stamp, keys) = match self.read(&cached) {
            Ok(None) => return cached.keys.clone(),
            Ok(Some((stamp, keys))) => (Some(stamp), keys),
            Err(e) => {
                // As before, nobody comes in by what was there once.
                let said = vec![format!("{}: {e}; no key in it is used", self.path.display())];
                cached.stamp = None;
                cached.keys = Arc::default();
                cached.say(said, warn);
                return cached.keys.clone();
            }
        };
        cached.fresh = stamp.as_ref().is_some_and(is_fresh);
        cached.stamp = stamp;
        cached.keys = Arc::new(keys);
        let said = cached.keys.warnings().iter().map(ToString::to_string).collect();
        cached.say(said, warn);
        cached.keys.clone()
    }

    /// Reads the file unless it is the one that is known.
    fn read(&self, known: &Cached) -> io::Result<Option<(Stamp, AuthorizedKeys)>> {
        let (file, meta) = open(&self.path, self.strict)?;
        let stamp = Stamp::of(&meta);
        if known.stamp.as_ref() == Some(&stamp) && !known.fresh {
            return Ok(None);
        }
        let bytes = read_to_end(file, LIMITS.file)?;
        let keys = AuthorizedKeys::parse(self.path.as_os_str().as_bytes(), &bytes);
        Ok(Some((stamp, keys.map_err(io::Error::other)?)))
    }
}

impl Cached {
    fn say(&mut self, said: Vec<String>, warn: &dyn Fn(&str)) {
        if self.said != said {
            said.iter().for_each(|text| warn(text));
            self.said = said;
        }
    }
}

fn is_fresh(stamp: &Stamp) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let changed = u64::try_from(stamp.changed.0).unwrap_or(0);
    now.saturating_sub(COARSE) <= Duration::from_secs(changed)
}

/// Opens a file that decides who comes in. It never waits, whatever the path is (F-15).
pub(super) fn open(path: &Path, strict: bool) -> io::Result<(File, fs::Metadata)> {
    // Where it really is, so that the folder that is looked at is the one that it can be replaced in.
    let path = fs::canonicalize(path)?;
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(&path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if strict {
        trusted(&meta, "the file", false)?;
        if let Some(folder) = path.parent() {
            trusted(&fs::metadata(folder)?, "its folder", true)?;
        }
    }
    Ok((file, meta))
}

/// Whether only root and the user of this program can write it.
fn trusted(meta: &fs::Metadata, what: &str, sticky_helps: bool) -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw();
    if meta.uid() != 0 && meta.uid() != user {
        return Err(io::Error::other(format!("{what} is owned by another user (number {})", meta.uid())));
    }
    // In a sticky folder, such as /tmp, others can put files, but not in the place of one that is there.
    if meta.mode() & 0o022 != 0 && !(sticky_helps && meta.mode() & 0o1000 != 0) {
        let mode = meta.mode() & 0o7777;
        return Err(io::Error::other(format!("{what} can be written by others (mode {mode:o}); chmod go-w")));
    }
    Ok(())
}
