//! Trees: directories with all that is in them, between this machine and a server, or from one server to another.

mod get;
mod put;
mod relay;

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::entry::{DirEntry, Metadata};
use super::error::{Error, ErrorKind};
use super::path::join;
use super::remote::Remote;
use super::transfer::{NOT_REGULAR, Queue};
use crate::sftp::{FileType, NameRules};
use crate::wire::SshStr;

/// Files of a tree that are on their way or wait for their turn.
const QUEUE: usize = 1024;
/// Failures that are kept.
const FAILURES: usize = 1000;
/// Links to directories that are followed one below the other. Ours: where a server does not tell where links lead,
/// this and the depth of a tree are what ends a loop.
const LINKS: usize = 10;

/// What is done about symbolic links in a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Links {
    /// They are passed over, and stand in the report as skipped.
    #[default]
    Skip,
    /// What they lead to is moved in their place, unless they go round.
    Follow,
}

/// What became of a tree.
#[derive(Debug, Default)]
#[must_use = "a part of the tree may have failed"]
#[non_exhaustive]
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
        let error = survivable(error)?;
        keep(&mut self.warnings, error);
        Ok(())
    }

    fn skip(&mut self, error: Error) {
        keep(&mut self.skipped, error);
    }

    fn fail(&mut self, error: Error) -> Result<(), Error> {
        let error = survivable(error)?;
        if !keep(&mut self.failures, error) {
            self.more_failures = self.more_failures.saturating_add(1);
        }
        Ok(())
    }

    /// One more file of so many bytes.
    fn moved(&mut self, bytes: u64) {
        self.files = self.files.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// An error after which a tree goes on.
fn survivable(error: Error) -> Result<Error, Error> {
    let ends = error.is_fatal() || matches!(error.kind(), ErrorKind::Cancelled);
    if ends { Err(error) } else { Ok(error) }
}

fn keep(list: &mut Vec<Error>, error: Error) -> bool {
    let room = list.len() < FAILURES;
    if room {
        list.push(error);
    }
    room
}

/// Takes results until no more than `most` are left.
async fn settle(
    queue: &mut Queue<'_>,
    report: &mut TreeReport,
    op: &'static str,
    most: usize,
) -> Result<(), Error> {
    while queue.left() > most {
        let (name, result) = queue.next().await?;
        match result {
            Ok(summary) => {
                report.moved(summary.bytes);
                if let Some(status) = summary.attrs_refused {
                    report.warn(Error::refused(status).of("fsetstat", &[&name]))?;
                }
            }
            Err(error) => report.fail(error.of(op, &[&name]))?,
        }
    }
    if queue.remote.is_cancelled() {
        return Err(Error::new(ErrorKind::Cancelled).of(op, &[]));
    }
    Ok(())
}

/// The real paths of directories in which a link was followed, on the way from the top.
type Trail = Arc<[Vec<u8>]>;

/// The way on from the directory `here` through a link to the directory `there`, unless it goes round: then it holds a
/// directory that it is in.
fn through(trail: &Trail, here: Vec<u8>, there: &[u8]) -> Option<Trail> {
    let holds = |path: &[u8]| {
        let rest = path.strip_prefix(there);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/") || there.ends_with(b"/"))
    };
    let trail: Trail = trail.iter().cloned().chain([here]).collect();
    let round = trail.len() > LINKS || trail.iter().any(|path| holds(path));
    (!round).then_some(trail)
}

/// What an entry of a directory is to a tree.
enum Found<M> {
    Dir(M, Trail),
    File(M),
    /// It is neither.
    Other(&'static str),
}

const A_LINK: &str = "it is a symbolic link, and not followed";
const A_LOOP: &str =
    "the link leads to a directory that it is in, or through too many links; it is not followed";

/// A directory of a tree on a server.
struct Dir<'a> {
    path: &'a [u8],
    trail: &'a Trail,
}

/// Takes back the bits of `mode` that a new directory only needed to be written into.
fn surplus(mode: u32) -> u32 {
    0o700 & !mode
}

impl Remote {
    /// The top of a tree: a directory, as far as that is told.
    async fn tree(&self, path: &[u8], op: &'static str) -> Result<Metadata, Error> {
        let meta = self.source(path).await?;
        if meta.file_type().is_some_and(|kind| kind != FileType::Directory) {
            return Err(Error::invalid("it is not a directory").of(op, &[path]));
        }
        Ok(meta)
    }

    /// What an entry is. `rules` are those of where it is to be copied.
    async fn classify(
        &self,
        dir: &Dir<'_>,
        entry: &DirEntry,
        rules: NameRules,
        follow: bool,
    ) -> Result<Found<Metadata>, Error> {
        let name = entry.file_name();
        rules.check(name).map_err(|why| {
            let why = alloc::format!("\"{}\": {why}; it is passed over", SshStr::new(name));
            Error::new(ErrorKind::Unsafe(why))
        })?;
        let path = join(dir.path, name);
        let mut meta = entry.metadata().clone();
        if meta.file_type().is_none() && !follow {
            meta = self.symlink_metadata(&path).await.unwrap_or(meta);
        }
        let link = meta.is_symlink();
        if link && !follow {
            return Ok(Found::Other(A_LINK));
        }
        if link || meta.file_type().is_none() {
            meta = match self.metadata(&path).await {
                Err(e) if e.is_fatal() || link => return Err(e),
                told => told.unwrap_or(meta),
            };
        }
        match meta.file_type() {
            Some(FileType::Directory) if link => Ok(Found::Dir(meta, self.through_link(dir, &path).await?)),
            Some(FileType::Directory) => Ok(Found::Dir(meta, Arc::clone(dir.trail))),
            None if self.read_dir(&path).await.is_ok() => {
                Ok(Found::Dir(meta, self.through_link(dir, &path).await?))
            }
            Some(FileType::File) | None => Ok(Found::File(meta)),
            Some(_) => Ok(Found::Other(NOT_REGULAR)),
        }
    }

    /// The way on through a link to a directory, unless it goes round.
    async fn through_link(&self, dir: &Dir<'_>, link: &[u8]) -> Result<Trail, Error> {
        let here = self.canonicalize(dir.path).await.unwrap_or_else(|_| dir.path.to_vec());
        let there = self.canonicalize(link).await.unwrap_or_else(|_| link.to_vec());
        through(dir.trail, here, &there).ok_or_else(|| Error::invalid(A_LOOP))
    }
}
