//! Whole files between this machine and the server.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use konko_core::sftp::transfer::{self, TransferError};
pub use konko_core::sftp::transfer::{Summary, Verify};
use konko_core::sftp::{Attrs, FileType};

use super::client::Sftp;
use super::client_dir::Metadata;
use super::client_error::{Error, ErrorKind};
use super::client_machine::{Answer, CallId};
use super::client_session::{Call, Patience, Session};
use super::path::{RemotePath, join, split};
use super::sides::{GetFile, NOT_REGULAR, NoFile, PutFile, Teller};

/// How far a file has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The local file.
    pub local: &'a Path,
    /// The remote file.
    pub remote: &'a [u8],
    /// Bytes of it that are where they belong, those of an earlier attempt included.
    pub done: u64,
    /// Bytes that it has, if that is known.
    pub total: Option<u64>,
    /// It has ended; `done` is final.
    pub finished: bool,
}

/// Gets told how far files have come.
pub type OnProgress = Arc<dyn Fn(Progress<'_>) + Send + Sync>;

/// Ends transfers from another thread, or from a progress callback.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<Cancelling>);

#[derive(Default)]
struct Cancelling {
    set: AtomicBool,
    calls: Mutex<Vec<(Weak<Session>, CallId)>>,
}

impl fmt::Debug for Cancelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.set.load(Ordering::Relaxed))
    }
}

impl Cancel {
    /// Not cancelled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends all transfers that were given this, now and later.
    pub fn cancel(&self) {
        self.0.set.store(true, Ordering::SeqCst);
        let calls = std::mem::take(&mut *self.0.calls.lock().unwrap_or_else(PoisonError::into_inner));
        for (session, call) in calls {
            if let Some(session) = session.upgrade() {
                session.nudge(call);
            }
        }
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.set.load(Ordering::SeqCst)
    }

    fn watch(&self, call: &Call) {
        let mut calls = self.0.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.retain(|(session, _)| session.strong_count() > 0);
        calls.push((Arc::downgrade(call.session()), call.id()));
    }
}

/// How files are fetched.
#[derive(Clone, Default)]
pub struct GetOptions {
    /// Go on where the local file ends. An error if it is longer than the remote one.
    pub resume: bool,
    /// Give the local file the remote one's permissions and times.
    pub preserve: bool,
    /// Leave holes where the remote file has nothing but zeros.
    pub sparse: bool,
    /// Wait until the local file is on the disk.
    pub sync: bool,
    /// How the result is checked.
    pub verify: Verify,
    /// Follow no symbolic link at the local name.
    pub no_follow: bool,
    /// See `on_progress`.
    pub progress: Option<OnProgress>,
    /// See `cancelled_by`.
    pub cancel: Option<Cancel>,
}

/// How files are sent.
#[derive(Clone, Default)]
pub struct PutOptions {
    /// Go on where the remote file ends. An error if it is longer than the local one.
    pub resume: bool,
    /// Send to a temporary name next to the real one, and put it in its place when all is there: nobody sees half
    /// a file, and a failure leaves the old one. Needs posix-rename@openssh.com to replace a file.
    pub atomic: bool,
    /// Wait until it is on the server's disk: fsync@openssh.com, where the server has it.
    pub sync: bool,
    /// Give the remote file the local one's permissions and times. What the server refuses of that is no error, as
    /// with OpenSSH: [`Summary::attrs_refused`] tells.
    pub preserve: bool,
    /// Permission bits of a file that is made; those of the local file unless set.
    pub mode: Option<u32>,
    /// How the result is checked.
    pub verify: Verify,
    /// See `on_progress`.
    pub progress: Option<OnProgress>,
    /// See `cancelled_by`.
    pub cancel: Option<Cancel>,
}

macro_rules! observed {
    ($($type:ident),*) => {$(
        impl $type {
            /// The defaults.
            pub fn new() -> Self {
                Self::default()
            }

            /// Gets told how far each file has come, on whichever thread drives the session: do not use the
            /// session in it.
            #[must_use]
            pub fn on_progress(mut self, progress: impl Fn(Progress<'_>) + Send + Sync + 'static) -> Self {
                self.progress = Some(Arc::new(progress));
                self
            }

            /// Can be ended by this.
            #[must_use]
            pub fn cancelled_by(mut self, cancel: &Cancel) -> Self {
                self.cancel = Some(cancel.clone());
                self
            }
        }

        impl fmt::Debug for $type {
            fmt_options!();
        }
    )*};
}

macro_rules! fmt_options {
    () => {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Options")
                .field("resume", &self.resume)
                .field("preserve", &self.preserve)
                .field("verify", &self.verify)
                .finish_non_exhaustive()
        }
    };
}

observed!(GetOptions, PutOptions);

/// Transfers of one caller, any number at a time.
pub(crate) struct Queue<'a> {
    sftp: &'a Sftp,
    call: Call,
    started: usize,
    left: usize,
    cancel: Option<Cancel>,
    cancelling: bool,
}

impl<'a> Queue<'a> {
    pub(crate) fn new(sftp: &'a Sftp, cancel: Option<&Cancel>) -> Self {
        let call = sftp.call();
        if let Some(cancel) = cancel {
            cancel.watch(&call);
        }
        Queue { sftp, call, started: 0, left: 0, cancel: cancel.cloned(), cancelling: false }
    }

    /// Transfers that have not ended.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    fn number(&mut self) -> usize {
        self.left += 1;
        self.started += 1;
        self.started - 1
    }

    /// Fetches a file of which `meta` is known. The number that comes back with its result.
    pub(crate) fn get(
        &mut self,
        remote: Vec<u8>,
        local: PathBuf,
        meta: &Metadata,
        options: &GetOptions,
    ) -> Result<usize, Error> {
        is_regular(meta)?;
        let mut get = transfer::GetOptions {
            size: meta.size(),
            attrs: options.preserve && (meta.0.times.is_none() || meta.0.permissions.is_none()),
            verify: options.verify,
            ..Default::default()
        };
        if options.resume
            && let Ok(there) = fs::metadata(&local)
        {
            if meta.size().is_some_and(|size| size < there.len()) {
                let why = "the local file is longer than the remote one; it cannot be resumed";
                return Err(Error::local(local, io::Error::other(why)));
            }
            get.offset = there.len();
        }
        let teller = Teller {
            progress: options.progress.clone(),
            local,
            remote: remote.clone(),
            done: 0,
            told: 0,
            total: meta.size(),
        };
        let side = GetFile {
            teller,
            file: None,
            mode: meta.permissions(),
            attrs: meta.0.clone(),
            options: options.clone(),
            offset: 0,
            high: 0,
            in_place: false,
        };
        let number = self.number();
        self.call.start(number, move |t| t.get(&remote, get), Box::new(side));
        Ok(number)
    }

    /// Sends a file of which `meta` is known; `fresh`: to where nothing is. The number that comes back with its result.
    pub(crate) fn put(
        &mut self,
        local: PathBuf,
        meta: &fs::Metadata,
        remote: Vec<u8>,
        options: &PutOptions,
        fresh: bool,
    ) -> Result<usize, Error> {
        if !meta.is_file() {
            return Err(Error::local(local, io::Error::new(io::ErrorKind::InvalidInput, NOT_REGULAR)));
        }
        let mode = meta.permissions().mode() & 0o777;
        let put = transfer::PutOptions {
            create: Attrs::new().with_permissions(options.mode.unwrap_or(mode)),
            resume: options.resume,
            temporary: options.atomic.then(|| temporary(&remote)).transpose()?,
            fsync: options.sync,
            attrs: options.preserve.then(|| preserved(meta)),
            verify: options.verify,
            careful: true,
            fresh,
            ..Default::default()
        };
        let teller = Teller {
            progress: options.progress.clone(),
            local,
            remote: remote.clone(),
            done: 0,
            told: 0,
            total: Some(meta.len()),
        };
        let side = PutFile { teller, file: None, resumes: options.resume };
        let number = self.number();
        self.call.start(number, move |t| t.put(&remote, put), Box::new(side));
        Ok(number)
    }

    fn copy(&mut self, from: Vec<u8>, to: Vec<u8>, options: transfer::PutOptions) -> usize {
        let number = self.number();
        self.call.start(number, move |t| t.copy(&from, &to, options), Box::new(NoFile));
        number
    }

    /// Waits for the end of one of them.
    pub(crate) fn next(&mut self) -> Result<(usize, Result<Summary, Error>), Error> {
        loop {
            if self.cancel.as_ref().is_some_and(Cancel::is_cancelled) && !self.cancelling {
                self.cancelling = true;
                let id = self.call.id();
                self.call.order(move |machine| machine.cancel(id));
            }
            // The engine finds out by itself when the server stalls.
            match self.call.next(Patience::Progress(None))? {
                Answer::Job(number, result) => {
                    self.left -= 1;
                    return Ok((number, result));
                }
                Answer::Failed(error) => return Err(error),
                _ => {}
            }
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.as_ref().is_some_and(Cancel::is_cancelled)
    }

    pub(crate) fn sftp(&self) -> &'a Sftp {
        self.sftp
    }
}

/// Permissions and times of a local file.
pub(crate) fn preserved(meta: &fs::Metadata) -> Attrs {
    let time = |seconds: i64| u32::try_from(seconds.max(0)).unwrap_or(u32::MAX);
    Attrs::new()
        .with_permissions(meta.permissions().mode() & 0o777)
        .with_times(time(meta.atime()), time(meta.mtime()))
}

/// A name next to `path` that nobody else uses.
fn temporary(path: &[u8]) -> Result<Vec<u8>, Error> {
    let mut random = [0; 6];
    getrandom::fill(&mut random).map_err(|e| Error::invalid(format!("no random numbers: {e}")))?;
    let (dir, name) = split(path);
    let mut temporary = b".".to_vec();
    // Names have 255 bytes at most nearly everywhere.
    temporary.extend_from_slice(&name[..name.len().min(200)]);
    temporary.push(b'.');
    random.iter().for_each(|b| temporary.extend_from_slice(format!("{b:02x}").as_bytes()));
    temporary.extend_from_slice(b".part");
    Ok(join(dir, &temporary))
}

impl Sftp {
    /// Fetches a remote file to a local path, and checks its size.
    pub fn get(&self, remote: impl RemotePath, local: impl AsRef<Path>) -> Result<Summary, Error> {
        self.get_with(remote, local, &GetOptions::default())
    }

    /// Fetches a remote file, with options. What has come of a file that fails stays, so that it can be resumed.
    pub fn get_with(
        &self,
        remote: impl RemotePath,
        local: impl AsRef<Path>,
        options: &GetOptions,
    ) -> Result<Summary, Error> {
        let path = self.path(&remote);
        let named = |e: Error| e.of("get", &[&path]);
        let meta = self.source(&path).map_err(|e| e.again("get"))?;
        if meta.is_dir() {
            return Err(named(Error::invalid("it is a directory; get_tree fetches those")));
        }
        let mut queue = Queue::new(self, options.cancel.as_ref());
        queue.get(path.clone(), local.as_ref().to_owned(), &meta, options).map_err(named)?;
        queue.next().and_then(|(_, result)| result).map_err(named)
    }

    /// Sends a local file to a remote path, and checks its size.
    pub fn put(&self, local: impl AsRef<Path>, remote: impl RemotePath) -> Result<Summary, Error> {
        self.put_with(local, remote, &PutOptions::default())
    }

    /// Sends a local file, with options.
    pub fn put_with(
        &self,
        local: impl AsRef<Path>,
        remote: impl RemotePath,
        options: &PutOptions,
    ) -> Result<Summary, Error> {
        let (path, local) = (self.path(&remote), local.as_ref());
        let named = |e: Error| e.of("put", &[&path]);
        let meta = fs::metadata(local).map_err(|e| named(Error::local(local, e)))?;
        let mut queue = Queue::new(self, options.cancel.as_ref());
        queue.put(local.to_owned(), &meta, path.clone(), options, false).map_err(named)?;
        queue.next().and_then(|(_, result)| result).map_err(named)
    }

    /// Copies a remote file to another path of the same server: there, if the server has copy-data, else through
    /// here. What is at `to` is not touched before `from` is open, and known to be a file; onto itself it stays as it is.
    pub fn copy(&self, from: impl RemotePath, to: impl RemotePath) -> Result<Summary, Error> {
        let (from, to) = (self.path(&from), self.path(&to));
        let mut queue = Queue::new(self, None);
        let meta = self.source(&from).map_err(|e| e.again("copy"))?;
        is_regular(&meta).map_err(|e| e.of("copy", &[&from, &to]))?;
        let mode = meta.permissions().map(|mode| mode & 0o777);
        let create = Attrs { permissions: mode, ..Attrs::new() };
        queue.copy(from.clone(), to.clone(), transfer::PutOptions { create, ..Default::default() });
        queue.next().and_then(|(_, result)| result).map_err(|e| e.of("copy", &[&from, &to]))
    }

    /// What is known of a file that is to be read.
    pub(super) fn source(&self, path: &[u8]) -> Result<Metadata, Error> {
        match self.metadata(path) {
            Err(e) if e.is_not_found() || e.is_fatal() => Err(e),
            // Not every server tells.
            other => Ok(other.unwrap_or_default()),
        }
    }
}

/// A pipe would make one wait for ever, a device has no end.
pub(super) fn is_regular(meta: &Metadata) -> Result<(), Error> {
    match meta.file_type() {
        Some(FileType::File) | None => Ok(()),
        Some(_) => Err(Error::new(ErrorKind::Transfer(TransferError::NotRegular))),
    }
}

impl Error {
    /// Under the name of the operation that it was part of.
    pub(crate) fn again(self, op: &'static str) -> Self {
        let paths: Vec<Vec<u8>> = vec![self.path().to_vec()];
        let kind: ErrorKind = self.kind().clone();
        let paths: Vec<&[u8]> = paths.iter().map(Vec::as_slice).collect();
        Error::new(kind).of(op, &paths)
    }
}
