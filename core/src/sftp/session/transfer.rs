//! Whole files: between this machine and a server, on a server, and from one server to another.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::ask::{Ask, Got, Order, Patience, Start};
use super::entry::Metadata;
use super::error::{Error, ErrorKind};
use super::file::{Cursor, MAX_AHEAD, OpenOptions};
use super::local::{Answer, Place, Question, Source, Target, Teller, here};
use super::path::{join, split};
use super::remote::{Remote, unexpected};
use crate::options::options;
use crate::sftp::transfer::{self, Summary, TransferError, Verify};
use crate::sftp::{Attrs, Extension, FileType};

pub(super) const NOT_REGULAR: &str = "it is not a regular file";
/// Longest part of a temporary name that is of the real one: names have 255 bytes at most nearly everywhere.
const NAME: usize = 200;

options! {
    /// How files are fetched.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct GetOptions {
        /// Go on where the local file ends. An error if it is longer than the remote one.
        resume: bool = false,
        /// Give the local file the remote one's permissions and times.
        preserve: bool = false,
        /// Leave holes where the remote file has nothing but zeros.
        sparse: bool = false,
        /// Wait until the local file is on the disk.
        sync: bool = false,
        /// How the result is checked.
        verify: Verify = Verify::default(),
        /// Follow no symbolic link at the local name.
        no_follow: bool = false,
    }
}

options! {
    /// How files are sent.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct PutOptions {
        /// Go on where the remote file ends. An error if it is longer than the local one.
        resume: bool = false,
        /// Send to a temporary name next to the real one, and put it in its place when all is there: nobody sees half
        /// a file, and a failure leaves the old one. Needs posix-rename@openssh.com to replace a file.
        atomic: bool = false,
        /// Wait until it is on the server's disk: fsync@openssh.com, where the server has it.
        sync: bool = false,
        /// Give the remote file the local one's permissions and times. What the server refuses of that is no error, as
        /// with OpenSSH: [`Summary::attrs_refused`] tells.
        preserve: bool = false,
        /// Permission bits of a file that is made; those of the local file unless set.
        mode: Option<u32> = None,
        /// How the result is checked.
        verify: Verify = Verify::default(),
    }
}

/// Transfers of one procedure, any number at a time, each with the name of what it moves.
pub(super) struct Queue<'r> {
    pub(super) remote: &'r Remote,
    ask: Ask,
    started: usize,
    names: BTreeMap<usize, Vec<u8>>,
}

impl<'r> Queue<'r> {
    pub(super) fn new(remote: &'r Remote) -> Self {
        Queue { remote, ask: remote.begin(), started: 0, names: BTreeMap::new() }
    }

    /// Transfers that have not ended.
    pub(super) fn left(&self) -> usize {
        self.names.len()
    }

    fn start(&mut self, name: Vec<u8>, start: Start) {
        let number = self.started;
        self.started = self.started.saturating_add(1);
        self.names.insert(number, name);
        self.ask.order(|slot| Order::Start(slot, number, Box::new(start)));
    }

    /// Fetches a file of which `meta` is known.
    pub(super) async fn get(
        &mut self,
        remote: &[u8],
        local: &[u8],
        meta: &Metadata,
        options: &GetOptions,
    ) -> Result<(), Error> {
        is_regular(meta)?;
        let mut get = transfer::DownloadOptions::new()
            .size(meta.size())
            .attrs(options.preserve && (meta.0.times.is_none() || meta.0.permissions.is_none()))
            .verify(options.verify);
        if options.resume
            && let Ok(there) = self.remote.stat_here(local, true).await
        {
            let there = there.size.unwrap_or(0);
            if meta.size().is_some_and(|size| size < there) {
                let why = "the local file is longer than the remote one; it cannot be resumed";
                return Err(Error::unsuitable(local, why));
            }
            get.offset = there;
        }
        let target = Target {
            path: local.to_vec(),
            mode: meta.permissions(),
            attrs: meta.0.clone(),
            preserve: options.preserve,
            sparse: options.sparse,
            sync: options.sync,
            no_follow: options.no_follow,
            offset: 0,
            high: 0,
            in_place: false,
        };
        let place = Place::Target(target, Teller::new(local, remote, meta.size()));
        self.start(remote.to_vec(), Start::Get { remote: remote.to_vec(), get, place });
        Ok(())
    }

    /// Sends a file of which `meta` is known; `fresh`: to where nothing is.
    pub(super) async fn put(
        &mut self,
        local: &[u8],
        meta: &Attrs,
        remote: &[u8],
        options: &PutOptions,
        fresh: bool,
    ) -> Result<(), Error> {
        if !meta.is_file() {
            return Err(Error::unsuitable(local, NOT_REGULAR));
        }
        let mode = meta.permissions.unwrap_or(0o666) & 0o777;
        let temporary = if options.atomic { Some(self.temporary(remote).await?) } else { None };
        let put = transfer::UploadOptions::new()
            .create(Attrs::new().with_permissions(options.mode.unwrap_or(mode)))
            .resume(options.resume)
            .temporary(temporary)
            .fsync(options.sync)
            .attrs(options.preserve.then(|| preserved(meta)))
            .verify(options.verify)
            .careful(true)
            .fresh(fresh);
        let total = meta.size.unwrap_or(0);
        let source = Source { path: local.to_vec(), resumes: options.resume, total };
        let place = Place::Source(source, Teller::new(local, remote, Some(total)));
        self.start(remote.to_vec(), Start::Put { remote: remote.to_vec(), put, place });
        Ok(())
    }

    /// A name next to `path` that nobody else uses.
    async fn temporary(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        let Answer::Random(random) = self.remote.ask_here(Question::Random).await? else {
            return Err(no_answer());
        };
        let (dir, name) = split(path);
        let mut temporary = b".".to_vec();
        temporary.extend(name.iter().take(NAME));
        temporary.push(b'.');
        random.iter().for_each(|b| temporary.extend_from_slice(alloc::format!("{b:02x}").as_bytes()));
        temporary.extend_from_slice(b".part");
        Ok(join(dir, &temporary))
    }

    /// Waits for the end of one of them: its name, and how it ended.
    pub(super) async fn next(&mut self) -> Result<(Vec<u8>, Result<Summary, Error>), Error> {
        loop {
            match self.ask.next(Patience::Progress(None)).await? {
                // The engine finds out by itself when the server stalls.
                Got::Job(number, result) => {
                    return Ok((self.names.remove(&number).unwrap_or_default(), result));
                }
                Got::Late(_) => {}
                other => return Err(unexpected(other)),
            }
        }
    }

    /// The end of the only one, under the name of the operation.
    async fn only(mut self, op: &'static str, paths: &[&[u8]]) -> Result<Summary, Error> {
        self.next().await.and_then(|(_, result)| result).map_err(|e| e.of(op, paths))
    }
}

/// Permissions and times of a local file.
pub(super) fn preserved(meta: &Attrs) -> Attrs {
    let permissions = meta.permissions.map(|mode| mode & 0o777);
    Attrs { permissions, times: meta.times, ..Attrs::new() }
}

/// A pipe would make one wait for ever, a device has no end.
pub(super) fn is_regular(meta: &Metadata) -> Result<(), Error> {
    match meta.file_type() {
        Some(FileType::File) | None => Ok(()),
        Some(_) => Err(Error::new(ErrorKind::Transfer(TransferError::NotRegular))),
    }
}

/// A question that was answered with something else.
pub(super) fn no_answer() -> Error {
    Error::invalid("the question was not answered")
}

impl Remote {
    /// Fetches a remote file to a local path, and checks its size. What has come of a file that fails stays, so that it
    /// can be resumed.
    ///
    /// # Errors
    /// What the server or the local file system says, and what does not match.
    pub async fn get(&self, remote: &[u8], local: &[u8], options: &GetOptions) -> Result<Summary, Error> {
        let path = self.path(remote);
        let named = |e: Error| e.of("get", &[&path]);
        let meta = self.source(&path).await.map_err(|e| e.again("get"))?;
        if meta.is_dir() {
            return Err(named(Error::invalid("it is a directory; get_tree fetches those")));
        }
        let mut queue = Queue::new(self);
        queue.get(&path, local, &meta, options).await.map_err(named)?;
        queue.only("get", &[&path]).await
    }

    /// Sends a local file to a remote path, and checks its size.
    ///
    /// # Errors
    /// What the server or the local file system says, and what does not match.
    pub async fn put(&self, local: &[u8], remote: &[u8], options: &PutOptions) -> Result<Summary, Error> {
        let path = self.path(remote);
        let named = |e: Error| e.of("put", &[&path]);
        let meta = self.stat_here(local, true).await.map_err(named)?;
        let mut queue = Queue::new(self);
        queue.put(local, &meta, &path, options, false).await.map_err(named)?;
        queue.only("put", &[&path]).await
    }

    /// Copies a remote file to another path of the same server: there, if the server has copy-data, else through
    /// here. What is at `to` is not touched before `from` is open, and known to be a file; onto itself it stays as it is.
    ///
    /// # Errors
    /// What the server says, and what does not match.
    pub async fn copy(&self, from: &[u8], to: &[u8]) -> Result<Summary, Error> {
        let (from, to) = (self.path(from), self.path(to));
        let meta = self.source(&from).await.map_err(|e| e.again("copy"))?;
        is_regular(&meta).map_err(|e| e.of("copy", &[&from, &to]))?;
        let mode = meta.permissions().map(|mode| mode & 0o777);
        let create = Attrs { permissions: mode, ..Attrs::new() };
        let put = transfer::UploadOptions::new().create(create);
        let mut queue = Queue::new(self);
        queue.start(from.clone(), Start::Copy { from: from.clone(), to: to.clone(), put });
        queue.only("copy", &[&from, &to]).await
    }

    pub(super) async fn stat_here(&self, path: &[u8], follow: bool) -> Result<Attrs, Error> {
        match self.ask_here(Question::Stat { path: path.to_vec(), follow }).await? {
            Answer::Attrs(attrs) => Ok(attrs),
            _ => Err(no_answer()),
        }
    }

    /// Copies a file of this server to another server, through this machine, and checks its size. Of the options
    /// `preserve`, `mode` and `sync` count. A file that is made gets the permission bits of the source less those that
    /// the server masks; what is at `to` is not touched before the source is open, and if both are the same file it
    /// stays as it is.
    ///
    /// # Errors
    /// What the servers say, and what does not match.
    pub async fn copy_to(
        &self,
        from: &[u8],
        other: &Remote,
        to: &[u8],
        options: &PutOptions,
    ) -> Result<Summary, Error> {
        let (from, to) = (self.path(from), other.path(to));
        let meta = self.source(&from).await.map_err(|e| e.again("copy"))?;
        self.relay((&from, &meta), (other, &to), options, false).await
    }

    /// The same for a file of which `meta` is known; `fresh`: to where nothing is.
    pub(super) async fn relay(
        &self,
        (from, meta): (&[u8], &Metadata),
        (other, to): (&Remote, &[u8]),
        options: &PutOptions,
        fresh: bool,
    ) -> Result<Summary, Error> {
        let named = |e: Error| e.of("copy", &[from, to]);
        is_regular(meta).map_err(named)?;
        let mut source = Cursor::new(Arc::new(self.open(from).await?));
        source.set_read_ahead(MAX_AHEAD);
        source.fill(0).await?;
        let there = if fresh { None } else { other.metadata(to).await.ok() };
        let same = there.is_some_and(|there| here(&there.0).may_be_same_file(&meta.0));
        let mut open = OpenOptions::new().write(true).create(true).truncate(!same);
        let permissions = meta.permissions().map(|mode| mode & 0o777);
        if let Some(mode) = options.mode.or(permissions) {
            open = open.mode(mode);
        }
        let mut target = Cursor::new(Arc::new(other.open_with(to, &open).await?));
        let size = self.pour(&mut source, &mut target, to, meta.size()).await.map_err(named)?;
        let synced = options.sync && other.supports(Extension::Fsync).await;
        if synced {
            target.file().sync_all().await?;
        }
        source.close().await?;
        target.close().await?;
        let mut attrs_refused = None;
        if options.preserve {
            let set = Attrs { permissions, times: meta.0.times, ..Attrs::new() };
            // No error, as in a put.
            if let Err(error) = other.set_metadata(to, &set).await {
                attrs_refused = Some(error.status().cloned().ok_or(error)?);
            }
        }
        Ok(Summary {
            bytes: size,
            size,
            size_verified: other.check_size(to, size).await.map_err(named)?,
            synced,
            attrs_set: options.preserve && attrs_refused.is_none(),
            attrs_refused,
            attrs: Some(meta.0.clone()),
            ..Summary::default()
        })
    }

    /// All of one file into another; how many bytes.
    async fn pour(
        &self,
        from: &mut Cursor,
        to: &mut Cursor,
        name: &[u8],
        total: Option<u64>,
    ) -> Result<u64, Error> {
        let mut teller = Teller::new(b"", name, total);
        loop {
            if self.is_cancelled() {
                return Err(Error::new(ErrorKind::Cancelled));
            }
            from.fill(0).await?;
            let n = to.write(from.buffer()).await?;
            if n == 0 {
                break;
            }
            from.consume(n);
            self.tell(teller.at(from.position()));
        }
        to.settle().await?;
        self.tell(Some(teller.end()));
        Ok(from.position())
    }
}
