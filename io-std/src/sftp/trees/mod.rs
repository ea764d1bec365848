//! Trees: directories with all that is in them, between this machine and a server, or from one server to another.

mod get;
mod put;
mod relay;

use std::collections::BTreeMap;
use std::sync::Arc;

use konko_core::sftp::{FileType, NameRules};
use konko_core::wire::SshStr;

use super::client::Sftp;
use super::client_dir::{DirEntry, Metadata};
use super::client_error::{Error, ErrorKind};
use super::path::join;
use super::sides::NOT_REGULAR;
use super::transfers::Queue;

/// Files of a tree that are on their way or wait for their turn.
const QUEUE: usize = 1024;
/// Failures that are kept.
const FAILURES: usize = 1000;
/// Links to directories that are followed one below the other. Ours: where a server does not tell where links lead,
/// this and the depth of a tree are what ends a loop.
const LINKS: usize = 10;

/// What became of a tree.
#[derive(Debug, Default)]
#[must_use = "a part of the tree may have failed"]
pub struct TreeReport {
    /// Files that were moved.
    pub files: u64,
    /// Directories that were made or were there.
    pub dirs: u64,
    /// Bytes that were moved.
    pub bytes: u64,
    /// What failed, and why; 1000 of them at most.
    pub failures: Vec<Error>,
    /// Failures that were not kept.
    pub more_failures: u64,
    /// What was moved without its permissions and times, as the server refused them; 1000 at most. No failure.
    pub warnings: Vec<Error>,
    /// What is no file and no directory, and was passed over: symbolic links that are not followed, named pipes,
    /// sockets and devices; 1000 of them at most. As with cp(1) and sftp(1), this is no failure.
    pub skipped: Vec<Error>,
}

impl TreeReport {
    /// Whether all files and directories were moved.
    pub fn is_complete(&self) -> bool {
        self.failures.is_empty()
    }

    /// The report of a whole tree.
    ///
    /// # Errors
    /// The first failure, if there was any.
    pub fn complete(mut self) -> Result<Self, Error> {
        if self.failures.is_empty() { Ok(self) } else { Err(self.failures.swap_remove(0)) }
    }

    fn warn(&mut self, error: Error) -> Result<(), Error> {
        if error.is_fatal() || matches!(error.kind(), ErrorKind::Cancelled) {
            return Err(error);
        }
        if self.warnings.len() < FAILURES {
            self.warnings.push(error);
        }
        Ok(())
    }

    fn skip(&mut self, error: Error) {
        if self.skipped.len() < FAILURES {
            self.skipped.push(error);
        }
    }

    fn fail(&mut self, error: Error) -> Result<(), Error> {
        if error.is_fatal() || matches!(error.kind(), ErrorKind::Cancelled) {
            return Err(error);
        }
        if self.failures.len() < FAILURES {
            self.failures.push(error);
        } else {
            self.more_failures += 1;
        }
        Ok(())
    }
}

/// Names of what is on its way.
type Names = BTreeMap<usize, Vec<u8>>;

/// Takes results until no more than `most` are left.
fn settle(
    queue: &mut Queue<'_>,
    names: &mut Names,
    report: &mut TreeReport,
    op: &'static str,
    most: usize,
) -> Result<(), Error> {
    while queue.left() > most {
        let (number, result) = queue.next()?;
        let name = names.remove(&number).unwrap_or_default();
        match result {
            Ok(summary) => {
                report.files += 1;
                report.bytes += summary.bytes;
                if let Some(status) = summary.attrs_refused {
                    report.warn(Error::refused(status).of("fsetstat", &[&name]))?;
                }
            }
            Err(error) => report.fail(error.of(op, &[&name]))?,
        }
    }
    if queue.is_cancelled() {
        return Err(Error::new(ErrorKind::Cancelled).of(op, &[]));
    }
    Ok(())
}

/// The real paths of directories in which a link was followed, on the way from the top.
type Trail<P> = Arc<[P]>;

/// What an entry of a remote directory is to a tree.
enum Found {
    Dir(Metadata, Trail<Vec<u8>>),
    File(Metadata),
    /// It is neither.
    Other(&'static str),
}

const A_LINK: &str = "it is a symbolic link, and not followed";
const A_LOOP: &str =
    "the link leads to a directory that it is in, or through too many links; it is not followed";

/// A directory of a tree on a server.
struct Dir<'a> {
    path: &'a [u8],
    trail: &'a Trail<Vec<u8>>,
}

impl Sftp {
    /// What an entry is. `rules` are those of where it is to be copied.
    fn classify(
        &self,
        dir: &Dir<'_>,
        entry: &DirEntry,
        rules: NameRules,
        follow: bool,
    ) -> Result<Found, Error> {
        let name = entry.file_name();
        rules.check(name).map_err(|why| {
            let why = format!("\"{}\": {why}; it is passed over", SshStr::new(name));
            Error::new(ErrorKind::Unsafe(why))
        })?;
        let path = join(dir.path, name);
        let mut meta = entry.metadata().clone();
        if meta.file_type().is_none() && !follow {
            meta = self.symlink_metadata(&path).unwrap_or(meta);
        }
        let link = meta.is_symlink();
        if link && !follow {
            return Ok(Found::Other(A_LINK));
        }
        if link || meta.file_type().is_none() {
            meta = match self.metadata(&path) {
                Err(e) if e.is_fatal() || link => return Err(e),
                told => told.unwrap_or(meta),
            };
        }
        let unknown = meta.file_type().is_none();
        match meta.file_type() {
            Some(FileType::Directory) if link => Ok(Found::Dir(meta, self.through_link(dir, &path)?)),
            Some(FileType::Directory) => Ok(Found::Dir(meta, Arc::clone(dir.trail))),
            None if unknown && self.read_dir(&path).is_ok() => {
                Ok(Found::Dir(meta, self.through_link(dir, &path)?))
            }
            Some(FileType::File) | None => Ok(Found::File(meta)),
            Some(_) => Ok(Found::Other(NOT_REGULAR)),
        }
    }

    /// The way on through a link to a directory, unless it goes round.
    fn through_link(&self, dir: &Dir<'_>, link: &[u8]) -> Result<Trail<Vec<u8>>, Error> {
        let real = |path: &[u8]| self.canonicalize(path).unwrap_or_else(|_| path.to_vec());
        let (here, there) = (real(dir.path), real(link));
        let holds = |path: &[u8]| {
            let rest = path.strip_prefix(there.as_slice());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/") || there.ends_with(b"/"))
        };
        let trail: Trail<Vec<u8>> = dir.trail.iter().cloned().chain([here]).collect();
        if trail.len() > LINKS || trail.iter().any(|path| holds(path)) {
            return Err(Error::invalid(A_LOOP));
        }
        Ok(trail)
    }
}
