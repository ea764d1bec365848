//! Trees from this machine to a server.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::super::ask::Ask;
use super::super::dir::{DEPTH, REQUESTS, nested};
use super::super::error::Error;
use super::super::local::{Answer, Question};
use super::super::path::join;
use super::super::remote::{Remote, done};
use super::super::transfer::{NOT_REGULAR, PutOptions, Queue, no_answer, preserved};
use super::{A_LINK, A_LOOP, Found, Links, QUEUE, Trail, TreeReport, settle, surplus, through};
use crate::sftp::{Attrs, FileType};

/// A directory on its way.
struct Place {
    local: Vec<u8>,
    remote: Vec<u8>,
    meta: Attrs,
    trail: Trail,
    /// It was made for this: nothing is in it.
    made: bool,
}

impl Place {
    fn mode(&self) -> u32 {
        self.meta.permissions.unwrap_or(0o777) & 0o777
    }
}

impl Remote {
    /// Sends a local directory with all that is in it, into the remote directory `remote`, which is made if it is
    /// not there. Many files are on their way at a time. Directories get the permission bits of the local ones less
    /// those that the server masks, or all of them with `preserve`. Symbolic links are followed if
    /// that is asked for, unless they go round.
    ///
    /// # Errors
    /// What ends everything. What concerns one file is in the report.
    pub async fn put_tree(
        &self,
        local: &[u8],
        remote: &[u8],
        options: &PutOptions,
        links: Links,
    ) -> Result<TreeReport, Error> {
        let meta = self.stat_here(local, true).await?;
        if !meta.is_dir() {
            return Err(Error::unsuitable(local, "not a directory"));
        }
        // Before anything is made: it may be made in there.
        let mut first = Some(self.list_here(local).await?);
        let (queue, report, options) = (Queue::new(self), TreeReport::default(), options.clone());
        let mut put = TreePut { queue, report, options, follow: links == Links::Follow, below: Vec::new() };
        let (local, remote) = (local.to_vec(), self.path(remote));
        let mut level = alloc::vec![Place { local, remote, meta, trail: Arc::default(), made: false }];
        let mut dirs: Vec<Place> = Vec::new();
        for depth in 0.. {
            let Some(place) = level.first() else { break };
            if depth >= DEPTH {
                put.report.fail(Error::unsuitable(&place.local, nested()))?;
                break;
            }
            for place in self.make_dirs(core::mem::take(&mut level), &mut put.report).await? {
                put.report.dirs = put.report.dirs.saturating_add(1);
                let list = match first.take() {
                    Some(list) => Ok(list),
                    None => self.list_here(&place.local).await,
                };
                match list {
                    Ok(list) => put.dir(&place, list).await?,
                    Err(error) => put.report.fail(error)?,
                }
                dirs.push(place);
            }
            level = core::mem::take(&mut put.below);
        }
        settle(&mut put.queue, &mut put.report, "put", 0).await?;
        for place in dirs.iter().rev() {
            let done = match (put.options.preserve, place.made) {
                (true, _) => self.set_metadata(&place.remote, &preserved(&place.meta)).await,
                (false, true) => self.lock_dir(&place.remote, place.mode()).await,
                (false, false) => Ok(()),
            };
            done.or_else(|e| put.report.warn(e))?;
        }
        Ok(put.report)
    }

    async fn list_here(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        match self.ask_here(Question::List { path: path.to_vec() }).await? {
            Answer::Names(names) => Ok(names),
            _ => Err(no_answer()),
        }
    }

    /// Makes directories on the server; those that are there then.
    async fn make_dirs(&self, level: Vec<Place>, report: &mut TreeReport) -> Result<Vec<Place>, Error> {
        let mut there = Vec::with_capacity(level.len());
        let mut level = level.into_iter().peekable();
        while level.peek().is_some() {
            let begin = |place: Place| {
                let (mut ask, own) = (self.begin(), place.remote.clone());
                // We have to be able to write into it.
                let with = Attrs::new().with_permissions(place.mode() | 0o700);
                ask.request(move |client| client.mkdir(&own, &with));
                (place, ask)
            };
            let asks: Vec<(Place, Ask)> = level.by_ref().take(REQUESTS).map(begin).collect();
            for (mut place, mut ask) in asks {
                let answer = ask.next(self.patience()).await.and_then(done);
                match self.made(&place.remote, answer).await {
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
    pub(super) async fn made(&self, path: &[u8], answer: Result<(), Error>) -> Result<bool, Error> {
        match answer {
            Ok(()) => Ok(true),
            Err(e) if e.is_fatal() => Err(e),
            Err(_) if self.is_dir(path).await.is_ok_and(|dir| dir) => Ok(false),
            Err(e) => Err(e.of("create_dir", &[path])),
        }
    }

    /// Takes back the bits that a new directory needed to be written into, and `mode` does not have.
    pub(super) async fn lock_dir(&self, path: &[u8], mode: u32) -> Result<(), Error> {
        let surplus = surplus(mode);
        if surplus == 0 {
            return Ok(());
        }
        let Some(now) = self.metadata(path).await?.permissions() else { return Ok(()) };
        self.set_permissions(path, now & !surplus).await
    }
}

struct TreePut<'r> {
    queue: Queue<'r>,
    report: TreeReport,
    options: PutOptions,
    follow: bool,
    below: Vec<Place>,
}

impl TreePut<'_> {
    async fn dir(&mut self, place: &Place, names: Vec<Vec<u8>>) -> Result<(), Error> {
        for name in names {
            let (local, remote) = (join(&place.local, &name), join(&place.remote, &name));
            match self.classify(place, &local).await {
                Ok(Found::Dir(meta, trail)) => {
                    self.below.push(Place { local, remote, meta, trail, made: false });
                }
                Ok(Found::File(meta)) => {
                    let started = self.queue.put(&local, &meta, &remote, &self.options, place.made).await;
                    started.or_else(|e| self.report.fail(e))?;
                    settle(&mut self.queue, &mut self.report, "put", QUEUE).await?;
                }
                Ok(Found::Other(why)) => self.report.skip(Error::unsuitable(&local, why)),
                Err(error) => self.report.fail(error)?,
            }
        }
        Ok(())
    }

    async fn classify(&self, place: &Place, path: &[u8]) -> Result<Found<Attrs>, Error> {
        let mut meta = self.queue.remote.stat_here(path, false).await?;
        let link = meta.is_symlink();
        if link && !self.follow {
            return Ok(Found::Other(A_LINK));
        }
        if link {
            meta = self.queue.remote.stat_here(path, true).await?;
        }
        Ok(match meta.file_type() {
            Some(FileType::Directory) if link => Found::Dir(meta, self.through_link(place, path).await?),
            Some(FileType::Directory) => Found::Dir(meta, Arc::clone(&place.trail)),
            Some(FileType::File) => Found::File(meta),
            _ => Found::Other(NOT_REGULAR),
        })
    }

    /// The way on through a link to a directory, unless it goes round.
    async fn through_link(&self, place: &Place, link: &[u8]) -> Result<Trail, Error> {
        let (here, there) = (self.real_path(&place.local).await?, self.real_path(link).await?);
        through(&place.trail, here, &there).ok_or_else(|| Error::unsuitable(link, A_LOOP))
    }

    async fn real_path(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        match self.queue.remote.ask_here(Question::RealPath { path: path.to_vec() }).await? {
            Answer::Path(path) => Ok(path),
            _ => Err(no_answer()),
        }
    }
}
