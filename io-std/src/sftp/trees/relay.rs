//! Trees from one server to another.

use std::sync::Arc;

use konko_core::sftp::{Attrs, FileType, NameRules};

use super::super::client::Sftp;
use super::super::client_dir::{DirEntry, Metadata};
use super::super::client_error::{Error, ErrorKind};
use super::super::path::{RemotePath, join};
use super::super::transfers::{Cancel, PutOptions};
use super::super::tree::{DEPTH, too_deep};
use super::{Dir, Found, Trail, TreeReport};

impl Sftp {
    /// Copies a directory of this server with all that is in it into the directory `to` of another one, which is made
    /// if it is not there, through this machine. Of the options those count that [`copy_to`](Self::copy_to) names;
    /// directories, names and links are treated as in [`get_tree`](Self::get_tree).
    ///
    /// # Errors
    /// What ends everything. What concerns one file is in the report.
    pub fn copy_tree_to(
        &self,
        from: impl RemotePath,
        other: &Sftp,
        to: impl RemotePath,
        options: &PutOptions,
        follow: bool,
    ) -> Result<TreeReport, Error> {
        let (from, to) = (self.path(&from), other.path(&to));
        let meta = self.source(&from)?;
        if meta.file_type().is_some_and(|kind| kind != FileType::Directory) {
            return Err(Error::invalid("it is not a directory").of("copy", &[&from]));
        }
        // Before anything is made: it may be made in there.
        let entries = self.list(std::slice::from_ref(&from)).pop().unwrap_or_else(|| Ok(Vec::new()))?;
        let mut relay = Relay { from: self, to: other, options, follow, report: TreeReport::default() };
        relay.dir((&from, &to), &meta, &Arc::default(), entries, 0)?;
        Ok(relay.report)
    }
}

struct Relay<'a> {
    from: &'a Sftp,
    to: &'a Sftp,
    options: &'a PutOptions,
    follow: bool,
    report: TreeReport,
}

impl Relay<'_> {
    fn dir(
        &mut self,
        (from, to): (&[u8], &[u8]),
        meta: &Metadata,
        trail: &Trail<Vec<u8>>,
        entries: Vec<DirEntry>,
        depth: usize,
    ) -> Result<(), Error> {
        // We have to be able to write into it.
        let mode = meta.permissions().unwrap_or(0o777) & 0o777;
        let made = match self.to.made(to, self.to.create_dir_with(to, mode | 0o700)) {
            Ok(made) => made,
            Err(error) => return self.report.fail(error),
        };
        self.report.dirs += 1;
        let dir = Dir { path: from, trail };
        for entry in entries {
            if self.options.cancel.as_ref().is_some_and(Cancel::is_cancelled) {
                return Err(Error::new(ErrorKind::Cancelled).of("copy", &[]));
            }
            let (from, to) = (join(from, entry.file_name()), join(to, entry.file_name()));
            let done = match self.from.classify(&dir, &entry, NameRules::Unix, self.follow) {
                Ok(Found::Dir(..)) if depth + 1 >= DEPTH => Err(too_deep(&from)),
                Ok(Found::Dir(meta, trail)) => match self.from.list(std::slice::from_ref(&from)).pop() {
                    Some(Ok(entries)) => {
                        self.dir((&from, &to), &meta, &trail, entries, depth + 1)?;
                        Ok(())
                    }
                    Some(Err(error)) => Err(error),
                    None => Ok(()),
                },
                Ok(Found::File(meta)) => self.file((&from, &to), &meta, made),
                Ok(Found::Other(why)) => {
                    self.report.skip(Error::invalid(why).of("copy", &[&from]));
                    Ok(())
                }
                Err(error) => Err(error),
            };
            done.or_else(|error| self.report.fail(error.of("copy", &[&from])))?;
        }
        let done = if self.options.preserve {
            let permissions = meta.permissions().map(|mode| mode & 0o777);
            self.to.set_metadata(to, &Attrs { permissions, times: meta.0.times, ..Attrs::new() })
        } else if made {
            self.to.lock_dir(to, mode)
        } else {
            Ok(())
        };
        done.or_else(|error| self.report.warn(error))
    }

    fn file(&mut self, (from, to): (&[u8], &[u8]), meta: &Metadata, fresh: bool) -> Result<(), Error> {
        let summary = self.from.relay((from, meta), (self.to, to), self.options, fresh)?;
        self.report.files += 1;
        self.report.bytes += summary.bytes;
        match summary.attrs_refused {
            Some(status) => self.report.warn(Error::refused(status).of("setstat", &[to])),
            None => Ok(()),
        }
    }
}
