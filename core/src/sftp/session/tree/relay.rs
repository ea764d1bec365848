//! Trees from one server to another.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::super::dir::{DEPTH, too_deep};
use super::super::entry::{DirEntry, Metadata};
use super::super::error::{Error, ErrorKind};
use super::super::path::join;
use super::super::remote::Remote;
use super::super::transfer::PutOptions;
use super::{Dir, Found, Links, Trail, TreeReport};
use crate::sftp::{Attrs, NameRules};

/// A directory on its way.
struct Place {
    from: Vec<u8>,
    to: Vec<u8>,
    meta: Metadata,
    trail: Trail,
    made: bool,
    /// What is in it and was not copied yet, the last first.
    entries: Vec<DirEntry>,
}

impl Place {
    fn mode(&self) -> u32 {
        self.meta.permissions().unwrap_or(0o777) & 0o777
    }
}

impl Remote {
    /// Copies a directory of this server with all that is in it into the directory `to` of another one, which is made
    /// if it is not there, through this machine. Of the options those count that [`copy_to`](Self::copy_to) names;
    /// directories, names and links are treated as in [`get_tree`](Self::get_tree).
    ///
    /// # Errors
    /// What ends everything. What concerns one file is in the report.
    pub async fn copy_tree_to(
        &self,
        from: &[u8],
        other: &Remote,
        to: &[u8],
        options: &PutOptions,
        links: Links,
    ) -> Result<TreeReport, Error> {
        let (from, to) = (self.path(from), other.path(to));
        let meta = self.tree(&from, "copy").await?;
        let mut relay = Relay {
            from: self,
            to: other,
            options,
            follow: links == Links::Follow,
            report: TreeReport::default(),
            open: Vec::new(),
        };
        // Before anything is made: it may be made in there.
        let entries = self.list_one(&from).await?;
        relay.enter(Place { from, to, meta, trail: Arc::default(), made: false, entries }).await?;
        while let Some(place) = relay.open.last_mut() {
            match place.entries.pop() {
                Some(entry) => relay.entry(&entry).await?,
                None => relay.leave().await?,
            }
        }
        Ok(relay.report)
    }
}

struct Relay<'a> {
    from: &'a Remote,
    to: &'a Remote,
    options: &'a PutOptions,
    follow: bool,
    report: TreeReport,
    /// From the top to where it is.
    open: Vec<Place>,
}

impl Relay<'_> {
    async fn enter(&mut self, mut place: Place) -> Result<(), Error> {
        // We have to be able to write into it.
        let made = self.to.create_dir(&place.to, Some(place.mode() | 0o700)).await;
        match self.to.made(&place.to, made).await {
            Ok(made) => {
                self.report.dirs = self.report.dirs.saturating_add(1);
                place.made = made;
                place.entries.reverse();
                self.open.push(place);
                Ok(())
            }
            Err(error) => self.report.fail(error),
        }
    }

    async fn entry(&mut self, entry: &DirEntry) -> Result<(), Error> {
        if self.from.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled).of("copy", &[]));
        }
        let Some(place) = self.open.last() else { return Ok(()) };
        let (from, to) = (join(&place.from, entry.file_name()), join(&place.to, entry.file_name()));
        let (dir, made) = (Dir { path: &place.from, trail: &place.trail }, place.made);
        let done = match self.from.classify(&dir, entry, NameRules::Unix, self.follow).await {
            Ok(Found::Dir(..)) if self.open.len() >= DEPTH => Err(too_deep(&from)),
            Ok(Found::Dir(meta, trail)) => match self.from.list_one(&from).await {
                Ok(entries) => {
                    let from = from.clone();
                    return self.enter(Place { from, to, meta, trail, made: false, entries }).await;
                }
                Err(error) => Err(error),
            },
            Ok(Found::File(meta)) => self.file((&from, &to), &meta, made).await,
            Ok(Found::Other(why)) => {
                self.report.skip(Error::invalid(why).of("copy", &[&from]));
                Ok(())
            }
            Err(error) => Err(error),
        };
        done.or_else(|error| self.report.fail(error.of("copy", &[&from])))
    }

    async fn file(&mut self, (from, to): (&[u8], &[u8]), meta: &Metadata, fresh: bool) -> Result<(), Error> {
        let summary = self.from.relay((from, meta), (self.to, to), self.options, fresh).await?;
        self.report.moved(summary.bytes);
        match summary.attrs_refused {
            Some(status) => self.report.warn(Error::refused(status).of("setstat", &[to])),
            None => Ok(()),
        }
    }

    /// Permissions and times of a directory that is complete.
    async fn leave(&mut self) -> Result<(), Error> {
        let Some(place) = self.open.pop() else { return Ok(()) };
        let done = if self.options.preserve {
            let permissions = place.meta.permissions().map(|mode| mode & 0o777);
            let set = Attrs { permissions, times: place.meta.0.times, ..Attrs::new() };
            self.to.set_metadata(&place.to, &set).await
        } else if place.made {
            self.to.lock_dir(&place.to, place.mode()).await
        } else {
            Ok(())
        };
        done.or_else(|error| self.report.warn(error))
    }
}
