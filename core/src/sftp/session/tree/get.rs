//! Trees from a server to this machine.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::super::dir::{AT_ONCE, DEPTH, too_deep};
use super::super::entry::{DirEntry, Metadata};
use super::super::error::Error;
use super::super::local::{Answer, Question};
use super::super::path::join;
use super::super::remote::Remote;
use super::super::transfer::{GetOptions, Queue, no_answer};
use super::{Dir, Found, Links, QUEUE, Trail, TreeReport, settle, surplus};
use crate::sftp::{Attrs, NameRules};

/// A directory on its way.
#[derive(Clone)]
struct Place {
    remote: Vec<u8>,
    local: Vec<u8>,
    meta: Metadata,
    trail: Trail,
    /// It was made for this.
    made: bool,
}

impl Remote {
    /// Fetches a directory with all that is in it, into the local directory `local`, which is made if it is not
    /// there. Many files are on their way at a time. Directories get the permission bits of the remote ones less the
    /// umask, or all of them with `preserve`. Names that the system does not have, or that could lead out of `local`,
    /// are failures of the report (S-18); symbolic links are followed if that is asked for, unless they go round.
    ///
    /// # Errors
    /// What ends everything. What concerns one file is in the report.
    pub async fn get_tree(
        &self,
        remote: &[u8],
        local: &[u8],
        options: &GetOptions,
        links: Links,
    ) -> Result<TreeReport, Error> {
        let options = GetOptions { no_follow: true, ..options.clone() };
        let (queue, report) = (Queue::new(self), TreeReport::default());
        let mut get = TreeGet { queue, report, options, follow: links == Links::Follow, below: Vec::new() };
        let (remote, local) = (self.path(remote), local.to_vec());
        let meta = self.tree(&remote, "get").await?;
        // Before anything is made: it may be made in there.
        let entries = self.list_one(&remote).await?;
        let made = self.make_dir_here(&local, &meta, true).await?;
        let top = Place { remote, local, meta, trail: Arc::default(), made };
        get.report.dirs = 1;
        get.dir(&top, entries).await?;
        let mut dirs = alloc::vec![top];
        for depth in 1.. {
            let level = core::mem::take(&mut get.below);
            let Some(first) = level.first() else { break };
            if depth >= DEPTH {
                get.report.fail(too_deep(&first.remote))?;
                break;
            }
            for some in level.chunks(AT_ONCE) {
                let remote: Vec<Vec<u8>> = some.iter().map(|place| place.remote.clone()).collect();
                for (place, list) in some.iter().zip(self.list(&remote).await) {
                    match list {
                        Ok(entries) => get.dir(place, entries).await?,
                        Err(error) => get.report.fail(error)?,
                    }
                }
            }
            dirs.extend(level);
        }
        settle(&mut get.queue, &mut get.report, "get", 0).await?;
        // Last, and the innermost first: making what is in a directory changes its times, and needs its permissions.
        for place in dirs.iter().rev() {
            let done = self.finish_dir_here(place, get.options.preserve).await;
            done.or_else(|e| get.report.fail(e))?;
        }
        Ok(get.report)
    }

    /// Makes a local directory unless it is there; whether it was made. Below the top it must be one, and no link to
    /// one.
    async fn make_dir_here(&self, path: &[u8], meta: &Metadata, top: bool) -> Result<bool, Error> {
        // We have to be able to write into it.
        let mode = meta.permissions().unwrap_or(0o777) & 0o777 | 0o700;
        match self.ask_here(Question::MakeDir { path: path.to_vec(), mode }).await? {
            Answer::Made(true) => Ok(true),
            Answer::Made(false) if self.stat_here(path, top).await?.is_dir() => Ok(false),
            Answer::Made(false) => Err(Error::unsuitable(path, "not a directory")),
            _ => Err(no_answer()),
        }
    }

    async fn finish_dir_here(
        &self,
        Place { local, meta, made, .. }: &Place,
        preserve: bool,
    ) -> Result<(), Error> {
        let mut attrs = Attrs::new();
        if preserve {
            attrs.permissions = meta.permissions().map(|mode| mode & 0o777);
            attrs.times = meta.0.times;
        } else if *made {
            let surplus = surplus(meta.permissions().unwrap_or(0o777));
            if surplus > 0 {
                let now = self.stat_here(local, false).await?.permissions;
                attrs.permissions = now.map(|now| now & !surplus & 0o7777);
            }
        }
        if !attrs.is_empty() {
            self.ask_here(Question::SetAttrs { path: local.clone(), attrs }).await?;
        }
        Ok(())
    }
}

struct TreeGet<'r> {
    queue: Queue<'r>,
    report: TreeReport,
    options: GetOptions,
    follow: bool,
    /// The directories of the next level.
    below: Vec<Place>,
}

impl TreeGet<'_> {
    async fn dir(&mut self, place: &Place, entries: Vec<DirEntry>) -> Result<(), Error> {
        let dir = Dir { path: &place.remote, trail: &place.trail };
        let remote = self.queue.remote;
        for entry in entries {
            let (path, local) =
                (join(&place.remote, entry.file_name()), join(&place.local, entry.file_name()));
            match remote.classify(&dir, &entry, NameRules::HERE, self.follow).await {
                Ok(Found::Dir(meta, trail)) => match remote.make_dir_here(&local, &meta, false).await {
                    Ok(made) => {
                        self.report.dirs = self.report.dirs.saturating_add(1);
                        self.below.push(Place { remote: path, local, meta, trail, made });
                    }
                    Err(error) => self.report.fail(error)?,
                },
                Ok(Found::File(meta)) => {
                    let started = self.queue.get(&path, &local, &meta, &self.options).await;
                    started.or_else(|e| self.report.fail(e.of("get", &[&path])))?;
                    settle(&mut self.queue, &mut self.report, "get", QUEUE).await?;
                }
                Ok(Found::Other(why)) => self.report.skip(Error::invalid(why).of("get", &[&path])),
                Err(error) => self.report.fail(error.of("get", &[&path]))?,
            }
        }
        Ok(())
    }
}
