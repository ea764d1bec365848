//! Trees from a server to this machine.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use konko_core::sftp::{FileType, NameRules};

use super::super::client::Sftp;
use super::super::client_dir::{DirEntry, Metadata};
use super::super::client_error::Error;
use super::super::path::{RemotePath, join};
use super::super::transfers::{GetOptions, Queue};
use super::super::tree::{AT_ONCE, DEPTH, too_deep};
use super::{Dir, Found, Names, QUEUE, Trail, TreeReport, settle};

/// A directory on its way.
#[derive(Clone)]
struct Place {
    remote: Vec<u8>,
    local: PathBuf,
    meta: Metadata,
    trail: Trail<Vec<u8>>,
    /// It was made for this.
    made: bool,
}

impl Sftp {
    /// Fetches a directory with all that is in it, into the local directory `local`, which is made if it is not
    /// there. Many files are on their way at a time. Directories get the permission bits of the remote ones less the
    /// umask, or all of them with `preserve`. Names that the system does not have, or that could lead out of `local`,
    /// are failures of the report (S-18); symbolic links are followed if `follow`, unless they go round.
    ///
    /// # Errors
    /// What ends everything. What concerns one file is in the report.
    pub fn get_tree(
        &self,
        remote: impl RemotePath,
        local: impl AsRef<Path>,
        options: &GetOptions,
        follow: bool,
    ) -> Result<TreeReport, Error> {
        let options = GetOptions { no_follow: true, ..options.clone() };
        let mut get = TreeGet {
            queue: Queue::new(self, options.cancel.as_ref()),
            names: Names::new(),
            report: TreeReport::default(),
            options,
            follow,
            below: Vec::new(),
        };
        let mut top = self.top(&self.path(&remote), local.as_ref())?;
        // Before anything is made: it may be made in there.
        let entries = self.list(std::slice::from_ref(&top.remote)).pop().unwrap_or_else(|| Ok(Vec::new()))?;
        top.made = make_local_dir(&top.local, &top.meta, true)?;
        get.report.dirs += 1;
        get.dir(&top, entries)?;
        let mut dirs = vec![top];
        for depth in 1.. {
            let level = std::mem::take(&mut get.below);
            let Some(first) = level.first() else { break };
            if depth >= DEPTH {
                get.report.fail(too_deep(&first.remote))?;
                break;
            }
            for some in level.chunks(AT_ONCE) {
                let remote: Vec<Vec<u8>> = some.iter().map(|place| place.remote.clone()).collect();
                for (place, list) in some.iter().zip(self.list(&remote)) {
                    match list {
                        Ok(entries) => get.dir(place, entries)?,
                        Err(error) => get.report.fail(error)?,
                    }
                }
            }
            dirs.extend(level);
        }
        settle(&mut get.queue, &mut get.names, &mut get.report, "get", 0)?;
        // Last, and the innermost first: making what is in a directory changes its times, and needs its permissions.
        for Place { local, meta, made, .. } in dirs.iter().rev() {
            let done = match (get.options.preserve, made) {
                (true, _) => preserve_local_dir(local, meta),
                (false, true) => lock_local_dir(local, meta),
                (false, false) => Ok(()),
            };
            done.or_else(|e| get.report.fail(Error::local(local, e)))?;
        }
        Ok(get.report)
    }

    fn top(&self, remote: &[u8], local: &Path) -> Result<Place, Error> {
        let meta = self.source(remote)?;
        if meta.file_type().is_some_and(|kind| kind != FileType::Directory) {
            return Err(Error::invalid("it is not a directory").of("get", &[remote]));
        }
        let (remote, local) = (remote.to_vec(), local.to_owned());
        Ok(Place { remote, local, meta, trail: Arc::default(), made: false })
    }
}

struct TreeGet<'a> {
    queue: Queue<'a>,
    names: Names,
    report: TreeReport,
    options: GetOptions,
    follow: bool,
    /// The directories of the next level.
    below: Vec<Place>,
}

impl TreeGet<'_> {
    fn dir(&mut self, place: &Place, entries: Vec<DirEntry>) -> Result<(), Error> {
        let dir = Dir { path: &place.remote, trail: &place.trail };
        for entry in entries {
            let name = entry.file_name();
            let path = join(&place.remote, name);
            let local = place.local.join(std::ffi::OsStr::from_bytes(name));
            match self.queue.sftp().classify(&dir, &entry, NameRules::HERE, self.follow) {
                Ok(Found::Dir(meta, trail)) => match make_local_dir(&local, &meta, false) {
                    Ok(made) => {
                        self.report.dirs += 1;
                        self.below.push(Place { remote: path, local, meta, trail, made });
                    }
                    Err(error) => self.report.fail(error)?,
                },
                Ok(Found::File(meta)) => {
                    match self.queue.get(path.clone(), local, &meta, &self.options) {
                        Ok(number) => drop(self.names.insert(number, path)),
                        Err(error) => self.report.fail(error.of("get", &[&path]))?,
                    }
                    settle(&mut self.queue, &mut self.names, &mut self.report, "get", QUEUE)?;
                }
                Ok(Found::Other(why)) => self.report.skip(Error::invalid(why).of("get", &[&path])),
                Err(error) => self.report.fail(error.of("get", &[&path]))?,
            }
        }
        Ok(())
    }
}

/// Makes a local directory unless it is there; whether it was made. Below the top it must be one, and no link to one.
fn make_local_dir(path: &Path, meta: &Metadata, top: bool) -> Result<bool, Error> {
    // We have to be able to write into it.
    let mode = meta.permissions().unwrap_or(0o777) & 0o777 | 0o700;
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let meta = if top { fs::metadata(path) } else { fs::symlink_metadata(path) };
            match meta {
                Ok(meta) if meta.is_dir() => Ok(false),
                Ok(_) => Err(Error::local(path, io::Error::from(io::ErrorKind::NotADirectory))),
                Err(e) => Err(Error::local(path, e)),
            }
        }
        Err(e) => Err(Error::local(path, e)),
    }
}

/// Takes back what was only needed to write into it.
fn lock_local_dir(path: &Path, meta: &Metadata) -> io::Result<()> {
    let surplus = 0o700 & !meta.permissions().unwrap_or(0o777);
    if surplus == 0 {
        return Ok(());
    }
    let now = fs::symlink_metadata(path)?.permissions().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(now & !surplus & 0o7777))
}

fn preserve_local_dir(path: &Path, meta: &Metadata) -> io::Result<()> {
    if let Some(mode) = meta.permissions() {
        fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o777))?;
    }
    if let Some(times) = meta.0.times {
        let at = |seconds: u32| UNIX_EPOCH + Duration::from_secs(seconds.into());
        let set = fs::FileTimes::new().set_accessed(at(times.accessed)).set_modified(at(times.modified));
        fs::File::open(path)?.set_times(set)?;
    }
    Ok(())
}
