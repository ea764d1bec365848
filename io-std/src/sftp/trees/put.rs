//! Trees from this machine to a server.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use konko_core::sftp::Attrs;

use super::super::client::{Sftp, done};
use super::super::client_error::Error;
use super::super::client_session::Call;
use super::super::path::{RemotePath, join};
use super::super::sides::NOT_REGULAR;
use super::super::transfers::{PutOptions, Queue, preserved};
use super::super::tree::{DEPTH, REQUESTS};
use super::{A_LINK, A_LOOP, LINKS, Names, QUEUE, Trail, TreeReport, settle};

/// A directory on its way.
struct Place {
    local: PathBuf,
    remote: Vec<u8>,
    meta: fs::Metadata,
    trail: Trail<PathBuf>,
    /// It was made for this: nothing is in it.
    made: bool,
}

impl Sftp {
    /// Sends a local directory with all that is in it, into the remote directory `remote`, which is made if it is
    /// not there. Many files are on their way at a time. Directories get the permission bits of the local ones less
    /// those that the server masks, or all of them with `preserve`. Symbolic links are followed if `follow`, unless
    /// they go round.
    ///
    /// # Errors
    /// What ends everything. What concerns one file is in the report.
    pub fn put_tree(
        &self,
        local: impl AsRef<Path>,
        remote: impl RemotePath,
        options: &PutOptions,
        follow: bool,
    ) -> Result<TreeReport, Error> {
        let local = local.as_ref();
        let here = |e| Error::local(local, e);
        let meta = fs::metadata(local).map_err(here)?;
        if !meta.is_dir() {
            return Err(here(io::ErrorKind::NotADirectory.into()));
        }
        // Before anything is made: it may be made in there.
        let mut first = Some(fs::read_dir(local).map_err(here)?.collect::<Vec<_>>());
        let mut put = TreePut {
            queue: Queue::new(self, options.cancel.as_ref()),
            names: Names::new(),
            report: TreeReport::default(),
            options: options.clone(),
            follow,
            below: Vec::new(),
        };
        let (local, remote) = (local.to_owned(), self.path(&remote));
        let mut level = vec![Place { local, remote, meta, trail: Arc::default(), made: false }];
        let mut dirs: Vec<Place> = Vec::new();
        for depth in 0.. {
            let Some(place) = level.first() else { break };
            if depth >= DEPTH {
                let why = format!("directories are nested more than {DEPTH} deep");
                put.report.fail(Error::local(&place.local, io::Error::other(why)))?;
                break;
            }
            for place in self.make_remote_dirs(std::mem::take(&mut level), &mut put.report)? {
                put.report.dirs += 1;
                match first.take() {
                    Some(list) => put.dir(&place, list)?,
                    None => match fs::read_dir(&place.local) {
                        Ok(list) => put.dir(&place, list)?,
                        Err(error) => put.report.fail(Error::local(&place.local, error))?,
                    },
                }
                dirs.push(place);
            }
            level = std::mem::take(&mut put.below);
        }
        settle(&mut put.queue, &mut put.names, &mut put.report, "put", 0)?;
        for place in dirs.iter().rev() {
            let done = match (options.preserve, place.made) {
                (true, _) => self.set_metadata(&place.remote, &preserved(&place.meta)),
                (false, true) => self.lock_dir(&place.remote, place.meta.permissions().mode()),
                (false, false) => Ok(()),
            };
            done.or_else(|e| put.report.warn(e))?;
        }
        Ok(put.report)
    }

    /// Makes directories on the server; those that are there then.
    fn make_remote_dirs(&self, level: Vec<Place>, report: &mut TreeReport) -> Result<Vec<Place>, Error> {
        let mut there = Vec::with_capacity(level.len());
        let mut level = level.into_iter().peekable();
        while level.peek().is_some() {
            let begin = |place: Place| {
                let (call, own) = (self.call(), place.remote.clone());
                // We have to be able to write into it.
                let with = Attrs::new().with_permissions(place.meta.permissions().mode() & 0o777 | 0o700);
                call.request(move |client| client.mkdir(&own, &with));
                (place, call)
            };
            let calls: Vec<(Place, Call)> = level.by_ref().take(REQUESTS).map(begin).collect();
            for (mut place, call) in calls {
                let answer = call.next(self.patience()).and_then(done);
                match self.made(&place.remote, answer) {
                    Ok(made) => {
                        place.made = made;
                        there.push(place);
                    }
                    Err(e) => report.fail(e)?,
                }
            }
        }
        Ok(there)
    }

    /// Whether MKDIR made a directory, and not somebody else before.
    pub(super) fn made(&self, path: &[u8], answer: Result<(), Error>) -> Result<bool, Error> {
        match answer {
            Ok(()) => Ok(true),
            Err(e) if e.is_fatal() => Err(e),
            Err(_) if self.is_dir(path).is_ok_and(|dir| dir) => Ok(false),
            Err(e) => Err(e.of("create_dir", &[path])),
        }
    }

    /// Takes back the bits that a new directory needed to be written into, and `mode` does not have.
    pub(super) fn lock_dir(&self, path: &[u8], mode: u32) -> Result<(), Error> {
        let surplus = 0o700 & !mode;
        if surplus == 0 {
            return Ok(());
        }
        let Some(now) = self.metadata(path)?.permissions() else { return Ok(()) };
        self.set_permissions(path, now & !surplus)
    }
}

struct TreePut<'a> {
    queue: Queue<'a>,
    names: Names,
    report: TreeReport,
    options: PutOptions,
    follow: bool,
    below: Vec<Place>,
}

/// What an entry of a local directory is to a tree.
enum Found {
    Dir(fs::Metadata, Trail<PathBuf>),
    File(fs::Metadata),
    Other(&'static str),
}

impl TreePut<'_> {
    fn dir(
        &mut self,
        place: &Place,
        list: impl IntoIterator<Item = io::Result<fs::DirEntry>>,
    ) -> Result<(), Error> {
        for entry in list {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.report.fail(Error::local(&place.local, error))?;
                    continue;
                }
            };
            let (local, remote) = (entry.path(), join(&place.remote, entry.file_name().as_bytes()));
            match self.classify(place, &entry) {
                Ok(Found::Dir(meta, trail)) => {
                    self.below.push(Place { local, remote, meta, trail, made: false });
                }
                Ok(Found::File(meta)) => {
                    match self.queue.put(local, &meta, remote.clone(), &self.options, place.made) {
                        Ok(number) => drop(self.names.insert(number, remote)),
                        Err(error) => self.report.fail(error)?,
                    }
                    settle(&mut self.queue, &mut self.names, &mut self.report, "put", QUEUE)?;
                }
                Ok(Found::Other(why)) => {
                    let why = io::Error::new(io::ErrorKind::InvalidInput, why);
                    self.report.skip(Error::local(&local, why));
                }
                Err(error) => self.report.fail(Error::local(&local, error))?,
            }
        }
        Ok(())
    }

    fn classify(&self, place: &Place, entry: &fs::DirEntry) -> io::Result<Found> {
        let mut meta = entry.metadata()?;
        let link = meta.is_symlink();
        if link && !self.follow {
            return Ok(Found::Other(A_LINK));
        }
        if link {
            meta = fs::metadata(entry.path())?;
        }
        Ok(match meta.file_type() {
            kind if kind.is_dir() && link => Found::Dir(meta, through_link(place, &entry.path())?),
            kind if kind.is_dir() => Found::Dir(meta, Arc::clone(&place.trail)),
            kind if kind.is_file() => Found::File(meta),
            _ => Found::Other(NOT_REGULAR),
        })
    }
}

/// The way on through a link to a directory, unless it goes round.
fn through_link(place: &Place, link: &Path) -> io::Result<Trail<PathBuf>> {
    let (here, there) = (fs::canonicalize(&place.local)?, fs::canonicalize(link)?);
    let trail: Trail<PathBuf> = place.trail.iter().cloned().chain([here]).collect();
    if trail.len() > LINKS || trail.iter().any(|path| path.starts_with(&there)) {
        return Err(io::Error::other(A_LOOP));
    }
    Ok(trail)
}
