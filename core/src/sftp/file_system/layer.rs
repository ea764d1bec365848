//! What stands between clients and a file system: who may do what where, and what was done.

use alloc::vec::Vec;
use core::time::Duration;

use crate::sftp::client::OpenFlags;
use crate::sftp::operation::{Operation, OperationSet};
use crate::sftp::status::{Status, StatusCode};
use crate::time::Time;

/// What a client is about to do, for [`Layer::judge`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Access<'a> {
    /// The request. READ, WRITE, READDIR and CLOSE are not asked about: OPEN and OPENDIR were.
    pub operation: Operation,
    /// What it is about: absolute, as the client sees it, without links, `.` or `..`. For requests with a
    /// handle it is the path that was opened.
    pub path: &'a [u8],
    /// The second path: what a rename or a hard link makes, where copied data goes.
    pub other: Option<&'a [u8]>,
    /// How a file is to be opened.
    pub flags: Option<OpenFlags>,
}

/// What a client has done, for [`Layer::done`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Done<'a> {
    /// The request.
    pub operation: Operation,
    /// What it was about, as the client called it. From the client: escape it.
    pub path: &'a [u8],
    /// The second path; what a symbolic link says.
    pub other: Option<&'a [u8]>,
    /// How a file was opened.
    pub flags: Option<OpenFlags>,
    /// How it ended.
    pub status: StatusCode,
    /// Bytes read: by a READ, or for CLOSE all that were read from the file.
    pub read: u64,
    /// Bytes written: by a WRITE, or for CLOSE all that were written to the file.
    pub written: u64,
    /// From when it was taken from the input until its answer, by [`Layer::now`].
    pub took: Duration,
}

/// Stands before any file system, for one session: [`OpenFiles::layer`](super::OpenFiles::layer).
///
/// Each request is judged by all layers, the first that says no decides; all are told of it when it is done.
#[allow(unused_variables, reason = "names are documentation")]
pub trait Layer: Send + Sync {
    /// Whether it judges at all. If not, paths are not made canonical for its sake.
    fn judges(&self) -> bool {
        true
    }

    /// Whether this may be done. If a link comes in between, the request fails: what was allowed is what is done.
    ///
    /// # Errors
    /// What the client is told instead.
    fn judge(&self, access: &Access<'_>) -> Result<(), Status> {
        Ok(())
    }

    /// Whether so many bytes may be read from, or written to, a file that is open; for a copy to the end it is not
    /// known how many, and 0.
    ///
    /// # Errors
    /// What the client is told instead.
    fn transfer(&self, operation: Operation, path: &[u8], bytes: u64) -> Result<(), Status> {
        Ok(())
    }

    /// What was done, on the thread that serves.
    fn done(&self, done: &Done<'_>) {}

    /// The time, if it has a clock: [`Done::took`] is measured with the first that there is.
    fn now(&self) -> Option<Time> {
        None
    }
}

/// Who may do what where: a table of folders, each with what may be done in it. Nothing is allowed anywhere else.
///
/// ```
/// use konko_core::sftp::{Operation, OperationSet, Rules};
///
/// let rules = Rules::new()
///     .allow("/", OperationSet::reading())
///     .allow("/upload", OperationSet::ALL.without(Operation::Symlink))
///     .allow("/secret", OperationSet::EMPTY);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Rules {
    folders: Vec<(Vec<u8>, OperationSet)>,
}

impl Rules {
    /// Nothing is allowed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows these operations on a folder, or a file, and on everything below it, instead of what a folder above
    /// allows. A path as clients see it, absolute. OPEN for writing takes WRITE.
    #[must_use]
    pub fn allow(mut self, path: impl Into<Vec<u8>>, operations: OperationSet) -> Self {
        self.folders.push((super::normalize(b"/", &path.into()), operations));
        self
    }

    fn on(&self, path: &[u8]) -> OperationSet {
        let above = self.folders.iter().filter(|(folder, _)| is_below(path, folder));
        above.max_by_key(|(folder, _)| folder.len()).map_or(OperationSet::EMPTY, |(_, allowed)| *allowed)
    }
}

impl Layer for Rules {
    fn judge(&self, access: &Access<'_>) -> Result<(), Status> {
        let writes = access.flags.is_some_and(|flags| flags != OpenFlags::READ);
        let may = |path: &[u8]| {
            let allowed = self.on(path);
            allowed.contains(access.operation) && (!writes || allowed.contains(Operation::Write))
        };
        // What has another name now would have other rules.
        let renames = matches!(access.operation, Operation::Rename | Operation::PosixRename);
        let holds = |path: &[u8]| self.folders.iter().any(|(f, _)| f != path && is_below(f, path));
        if renames && (holds(access.path) || access.other.is_some_and(holds)) {
            return Err(StatusCode::PERMISSION_DENIED.into());
        }
        let both = may(access.path) && access.other.is_none_or(may);
        if both { Ok(()) } else { Err(StatusCode::PERMISSION_DENIED.into()) }
    }
}

/// Whether a path is a folder or below it, both in normal form.
pub(super) fn is_below(path: &[u8], folder: &[u8]) -> bool {
    match path.strip_prefix(folder) {
        Some([]) => true,
        Some(rest) => folder == b"/" || rest.first() == Some(&b'/'),
        None => false,
    }
}
