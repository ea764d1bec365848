//! What can be asked of a server, one method a request.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use core::time::Duration;

use super::ask::{Ask, Caller, Facts, Got, Order, Patience, Port};
use super::entry::Metadata;
use super::error::Error;
use super::local::{self, Progress, Question};
use super::path::{join, split};
use crate::crypto::HashAlgorithm;
use crate::sftp::{
    Attrs, Extension, FileHash, Limits, RequestId, SftpClient, StatVfs, Status, StatusCode, Times,
    UsageError, UsersGroups,
};

/// The files of a server, over a [`Session`](super::Session). Clones are handles to the same session, and any number
/// of procedures can run at a time: none waits for another's answer.
///
/// Names are those of `std::fs`. Errors name the operation, the path, and what the server said. A future that is
/// dropped takes back what it asked for.
#[derive(Clone)]
pub struct Remote {
    port: Arc<Port>,
    caller: Arc<Caller>,
    timeout: Option<Duration>,
    /// Where relative paths start; empty: where the server starts.
    dir: Arc<[u8]>,
}

/// A request with a path.
type OfPath = fn(&mut SftpClient, &[u8]) -> Result<RequestId, UsageError>;
/// A request with two paths.
type OfTwoPaths = fn(&mut SftpClient, &[u8], &[u8]) -> Result<RequestId, UsageError>;
/// A request with a path and attributes.
type OfAttrs = fn(&mut SftpClient, &[u8], &Attrs) -> Result<RequestId, UsageError>;

impl Remote {
    pub(super) fn new(port: Arc<Port>) -> Self {
        Remote { port, caller: Arc::default(), timeout: None, dir: Arc::from(&b""[..]) }
    }

    /// The same for one procedure, which can be watched and cancelled by it.
    #[must_use]
    pub fn for_one(&self) -> Self {
        Remote { caller: Arc::default(), ..self.clone() }
    }

    /// Transfers of this handle and its clones end as soon as they can.
    pub fn cancel(&self) {
        self.caller.cancelled.store(true, Ordering::SeqCst);
    }

    /// Whether they were cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.caller.cancelled.load(Ordering::SeqCst)
    }

    /// Keeps the progress of transfers of this handle and its clones, for [`progress`](Self::progress).
    pub fn watch(&self) {
        self.caller.watched.store(true, Ordering::SeqCst);
    }

    /// How far a file has come; call until `None` whenever a procedure was woken, if it is watched.
    pub fn progress(&self) -> Option<Progress> {
        self.caller.told.pop()
    }

    pub(super) fn tell(&self, progress: Option<Progress>) {
        if let Some(progress) = progress.filter(|_| self.caller.watched.load(Ordering::Relaxed)) {
            self.caller.told.push(progress);
        }
    }

    /// Whether a procedure of this handle or its clones waits for its session.
    pub fn is_waiting(&self) -> bool {
        self.caller.waits.load(Ordering::Relaxed) > 0
    }

    /// How long an answer may take from now on, on this handle: for ever unless set. For files, how long nothing may
    /// come.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// How long an answer may take.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Waits until the server has said what it is.
    ///
    /// # Errors
    /// If it does not in time, or the session ends.
    pub async fn ready(&self) -> Result<(), Error> {
        let mut ask = self.begin();
        ask.order(Order::Ready);
        ask.next(self.patience()).await.map(drop).map_err(|e| e.of("start of SFTP", &[]))
    }

    /// What the server said when the session began.
    pub async fn facts(&self) -> Facts {
        let mut ask = self.begin();
        ask.order(Order::Facts);
        match ask.next(Patience::Total(None)).await {
            Ok(Got::Facts(facts)) => *facts,
            _ => Facts::default(),
        }
    }

    /// Whether the server announced an extension.
    pub async fn supports(&self, extension: Extension) -> bool {
        self.facts().await.extensions.contains(extension)
    }

    /// What the server said of its limits, or is known of them; zeros where that is nothing.
    pub async fn limits(&self) -> Limits {
        let Facts { extensions, limits, .. } = self.facts().await;
        if extensions.contains(Extension::Limits) && limits == Limits::default() {
            // The machine asks by itself; its answer comes before that to any later request.
            let _ = self.symlink_metadata(b"/").await;
            return self.facts().await.limits;
        }
        limits
    }

    // ---- the working directory ----

    /// Relative paths of this handle start here from now on. The protocol has no working directory: it is put
    /// before each path on this side.
    ///
    /// # Errors
    /// If it is no directory.
    pub async fn set_current_dir(&mut self, path: &[u8]) -> Result<(), Error> {
        let dir = self.canonicalize(path).await?;
        if !self.is_dir(&dir).await? {
            return Err(Error::invalid("it is not a directory").of("set_current_dir", &[path]));
        }
        self.dir = dir.into();
        Ok(())
    }

    /// Relative paths of this handle start where the server starts again.
    pub fn reset_current_dir(&mut self) {
        self.dir = Arc::from(&b""[..]);
    }

    /// Where relative paths of this handle start; `None`: where the server starts.
    pub fn current_dir(&self) -> Option<&[u8]> {
        (!self.dir.is_empty()).then_some(&*self.dir)
    }

    /// A path as it is sent.
    pub(super) fn path(&self, path: &[u8]) -> Vec<u8> {
        join(&self.dir, path)
    }

    /// Where the server starts has no name but `.`.
    pub(super) fn or_start<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        if path.is_empty() && self.dir.is_empty() { b"." } else { path }
    }

    // ---- asking ----

    pub(super) fn begin(&self) -> Ask {
        Ask::new(&self.port, &self.caller)
    }

    /// Patience for an answer that should come at once.
    pub(super) fn patience(&self) -> Patience {
        Patience::Total(self.timeout)
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn ask(
        &self,
        patience: Patience,
        send: impl FnMut(&mut SftpClient) -> Result<RequestId, UsageError> + Send + 'static,
    ) -> Result<Got, Error> {
        let mut ask = self.begin();
        ask.request(send);
        ask.next(patience).await
    }

    /// Asks about something local.
    pub(super) async fn ask_here(&self, question: Question) -> Result<local::Answer, Error> {
        let mut ask = self.begin();
        ask.order(|slot| Order::Question(slot, question));
        match ask.next(Patience::Total(None)).await? {
            Got::Here(answer) => Ok(answer),
            other => Err(unexpected(other)),
        }
    }

    /// Sends a request that nobody waits for.
    pub(super) fn detached(
        &self,
        send: impl FnMut(&mut SftpClient) -> Result<RequestId, UsageError> + Send + 'static,
    ) {
        self.port.push(Order::Detached(Box::new(send)));
    }

    async fn ask_path<T>(
        &self,
        op: &'static str,
        path: &[u8],
        send: OfPath,
        take: fn(Got) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let path = self.path(path);
        let own = path.clone();
        let got = self.ask(self.patience(), move |client| send(client, &own)).await;
        got.and_then(take).map_err(|e| e.of(op, &[&path]))
    }

    async fn ask_paths(&self, op: &'static str, a: &[u8], b: &[u8], send: OfTwoPaths) -> Result<(), Error> {
        let (own_a, own_b) = (a.to_vec(), b.to_vec());
        let got = self.ask(self.patience(), move |client| send(client, &own_a, &own_b)).await;
        got.and_then(done).map_err(|e| e.of(op, &[a, b]))
    }

    async fn change(&self, op: &'static str, path: &[u8], set: Attrs, send: OfAttrs) -> Result<(), Error> {
        let path = self.path(path);
        let own = path.clone();
        let got = self.ask(self.patience(), move |client| send(client, &own, &set)).await;
        got.and_then(done).map_err(|e| e.of(op, &[&path]))
    }

    // ---- requests ----

    /// Attributes of a file; symbolic links are followed. As `stat`.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session; so for every request.
    pub async fn metadata(&self, path: &[u8]) -> Result<Metadata, Error> {
        self.ask_path("metadata", path, SftpClient::stat, attrs).await
    }

    /// Attributes of a file, or of a symbolic link itself. As `lstat`.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub async fn symlink_metadata(&self, path: &[u8]) -> Result<Metadata, Error> {
        match self.ask_path("symlink_metadata", path, SftpClient::lstat, attrs).await {
            // Some servers have no links, and no LSTAT.
            Err(e) if e.code() == Some(StatusCode::OP_UNSUPPORTED) => self.metadata(path).await,
            other => other,
        }
    }

    /// Whether there is something at this path. A dangling link is nothing.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata), but for what is not found.
    pub async fn exists(&self, path: &[u8]) -> Result<bool, Error> {
        match self.metadata(path).await {
            Ok(_) => Ok(true),
            Err(e) if e.is_not_found() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Makes a directory, with these permission bits less those that the server masks.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub async fn create_dir(&self, path: &[u8], mode: Option<u32>) -> Result<(), Error> {
        let with = Attrs { permissions: mode, ..Attrs::new() };
        self.change("create_dir", path, with, SftpClient::mkdir).await
    }

    /// Makes a directory, and those that lead to it, as far as they are missing.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub async fn create_dir_all(&self, path: &[u8]) -> Result<(), Error> {
        let mut missing = alloc::vec![self.path(path)];
        while let Some(path) = missing.last().cloned() {
            let error = match self.create_dir(&path, None).await {
                Ok(()) => {
                    missing.pop();
                    continue;
                }
                Err(error) => error,
            };
            if error.is_fatal() {
                return Err(error);
            }
            // Somebody else may have been quicker.
            if self.is_dir(&path).await.is_ok_and(|dir| dir) {
                missing.pop();
                continue;
            }
            let (parent, name) = split(&path);
            let more = missing.iter().all(|below| below.len() > parent.len());
            if parent.is_empty() || name.is_empty() || parent == b"/" || !error.is_not_found() || !more {
                return Err(error);
            }
            missing.push(parent.to_vec());
        }
        Ok(())
    }

    /// Removes a file or a symbolic link.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub async fn remove_file(&self, path: &[u8]) -> Result<(), Error> {
        self.ask_path("remove_file", path, SftpClient::remove, done).await
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub async fn remove_dir(&self, path: &[u8]) -> Result<(), Error> {
        self.ask_path("remove_dir", path, SftpClient::rmdir, done).await
    }

    /// Renames a file or a directory. With posix-rename@openssh.com what stood at the new name is replaced at
    /// once; servers without it fail then.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub async fn rename(&self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        let posix = self.supports(Extension::PosixRename).await;
        let send: OfTwoPaths = if posix { SftpClient::posix_rename } else { SftpClient::rename };
        self.ask_paths("rename", &self.path(from), &self.path(to), send).await
    }

    /// Renames a file or a directory unless the new name exists.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub async fn rename_new(&self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        self.ask_paths("rename", &self.path(from), &self.path(to), SftpClient::rename).await
    }

    /// Makes a symbolic link at `link` that points to `target`, which is not looked at.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub async fn symlink(&self, target: &[u8], link: &[u8]) -> Result<(), Error> {
        self.ask_paths("symlink", target, &self.path(link), SftpClient::symlink).await
    }

    /// Gives a file another name: hardlink@openssh.com.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata), and if the server does not have it.
    pub async fn hard_link(&self, existing: &[u8], link: &[u8]) -> Result<(), Error> {
        self.ask_paths("hard_link", &self.path(existing), &self.path(link), SftpClient::hardlink).await
    }

    /// Where a symbolic link points.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub async fn read_link(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        self.ask_path("read_link", path, SftpClient::readlink, text).await
    }

    /// The absolute form of a path, as the server makes it.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub async fn canonicalize(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        self.ask_path("canonicalize", self.or_start(path), SftpClient::realpath, text).await
    }

    /// The absolute form of a path that may start with `~` or `~user`: expand-path@openssh.com.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata), and if the server does not have it.
    pub async fn expand_path(&self, path: &[u8]) -> Result<Vec<u8>, Error> {
        self.verbatim("expand_path", path, SftpClient::expand_path).await
    }

    /// The home directory of a user; one's own for an empty name: home-directory.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata), and if the server does not have it.
    pub async fn home_dir(&self, user: &[u8]) -> Result<Vec<u8>, Error> {
        self.verbatim("home_dir", user, SftpClient::home_directory).await
    }

    async fn verbatim(&self, op: &'static str, text_: &[u8], send: OfPath) -> Result<Vec<u8>, Error> {
        let own = text_.to_vec();
        let got = self.ask(self.patience(), move |client| send(client, &own)).await;
        got.and_then(text).map_err(|e| e.of(op, &[text_]))
    }

    /// Changes what is set in `set`; symbolic links are followed.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub async fn set_metadata(&self, path: &[u8], set: &Attrs) -> Result<(), Error> {
        self.change("set_metadata", path, set.clone(), SftpClient::setstat).await
    }

    /// Changes what is set in `set`, of a symbolic link itself: lsetstat@openssh.com.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata), and if the server does not have it.
    pub async fn set_symlink_metadata(&self, path: &[u8], set: &Attrs) -> Result<(), Error> {
        self.change("set_symlink_metadata", path, set.clone(), SftpClient::lsetstat).await
    }

    /// Changes the permission bits.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub async fn set_permissions(&self, path: &[u8], mode: u32) -> Result<(), Error> {
        let set = Attrs::new().with_permissions(mode & 0o7777);
        self.change("set_permissions", path, set, SftpClient::setstat).await
    }

    /// Changes user and group. The protocol can only change both, so one that is `None` is asked for first.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata), and if the server does not tell the one that is to stay.
    pub async fn chown(&self, path: &[u8], uid: Option<u32>, gid: Option<u32>) -> Result<(), Error> {
        let (uid, gid) = match (uid, gid) {
            (Some(uid), Some(gid)) => (uid, gid),
            (uid, gid) => {
                let unknown = || {
                    let why = "the server does not tell user and group, so one alone cannot be changed";
                    Error::invalid(why).of("chown", &[path])
                };
                let owner = self.metadata(path).await?.0.owner.ok_or_else(unknown)?;
                (uid.unwrap_or(owner.uid), gid.unwrap_or(owner.gid))
            }
        };
        self.change("chown", path, Attrs::new().with_owner(uid, gid), SftpClient::setstat).await
    }

    /// Sets the times of last access and modification.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub async fn set_times(&self, path: &[u8], times: Times) -> Result<(), Error> {
        let set = Attrs { times: Some(times), ..Attrs::new() };
        self.change("set_times", path, set, SftpClient::setstat).await
    }

    /// Cuts a file, or lengthens it with zeros.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub async fn truncate(&self, path: &[u8], len: u64) -> Result<(), Error> {
        self.change("truncate", path, Attrs::new().with_size(len), SftpClient::setstat).await
    }

    /// Figures of the file system that a path is on: statvfs@openssh.com.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata), and if the server does not have it.
    pub async fn statvfs(&self, path: &[u8]) -> Result<StatVfs, Error> {
        self.ask_path("statvfs", self.or_start(path), SftpClient::statvfs, statvfs).await
    }

    /// Names of users and groups: users-groups-by-id@openssh.com.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata), and if the server does not have it.
    pub async fn users_groups(&self, uids: &[u32], gids: &[u32]) -> Result<UsersGroups, Error> {
        let (uids, gids) = (uids.to_vec(), gids.to_vec());
        let got = self.ask(self.patience(), move |client| client.users_groups_by_id(&uids, &gids)).await;
        let names = got.and_then(|got| match got {
            Got::UsersGroups(names) => Ok(names),
            other => Err(unexpected(other)),
        });
        names.map_err(|e| e.of("users_groups", &[]))
    }

    /// Hashes that the server makes of a file: one for each `block` bytes of the `len` bytes from `offset`, or
    /// one in all for a `block` of 0; a `len` of 0 goes to the end. check-file. Waits as long as it takes.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata), and if the server does not have it.
    pub async fn check_file(
        &self,
        path: &[u8],
        algs: &[HashAlgorithm],
        (offset, len): (u64, u64),
        block: u32,
    ) -> Result<FileHash, Error> {
        let path = self.path(path);
        let (own, names) = (path.clone(), algs.to_vec());
        let send = move |client: &mut SftpClient| client.check_file_name(&own, &names, offset, len, block);
        match self.ask(Patience::Progress(None), send).await.and_then(hash) {
            // Paramiko's servers have it for open files alone.
            Err(e) if e.code() == Some(StatusCode::OP_UNSUPPORTED) => {
                self.open(&path).await?.check(algs, (offset, len), block).await
            }
            other => other.map_err(|e| e.of("check_file", &[&path])),
        }
    }

    /// Sends an extension that konko does not know; `fields` are what follows its name. What follows the number
    /// in the reply; nothing if the reply is the status OK.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub async fn extended(&self, name: &[u8], fields: &[u8]) -> Result<Vec<u8>, Error> {
        let (own, fields) = (name.to_vec(), fields.to_vec());
        let got = self.ask(self.patience(), move |client| client.extended(&own, &fields)).await;
        let bytes = got.and_then(|got| match got {
            Got::Extended(bytes) => Ok(bytes),
            Got::Status(status) if status.is_ok() => Ok(Vec::new()),
            other => Err(unexpected(other)),
        });
        bytes.map_err(|e| e.of("extended", &[name]))
    }

    /// What is known of a file that is to be read.
    pub(super) async fn source(&self, path: &[u8]) -> Result<Metadata, Error> {
        match self.metadata(path).await {
            Err(e) if e.is_not_found() || e.is_fatal() => Err(e),
            // Not every server tells.
            other => Ok(other.unwrap_or_default()),
        }
    }
}

/// An answer that is only a status.
pub(super) fn done(got: Got) -> Result<(), Error> {
    match got {
        Got::Status(status) if status.is_ok() => Ok(()),
        other => Err(unexpected(other)),
    }
}

pub(super) fn attrs(got: Got) -> Result<Metadata, Error> {
    match got {
        Got::Attrs(attrs) => Ok(Metadata(attrs)),
        other => Err(unexpected(other)),
    }
}

pub(super) fn statvfs(got: Got) -> Result<StatVfs, Error> {
    match got {
        Got::StatVfs(figures) => Ok(figures),
        other => Err(unexpected(other)),
    }
}

pub(super) fn hash(got: Got) -> Result<FileHash, Error> {
    match got {
        Got::FileHash(hash) => Ok(hash),
        other => Err(unexpected(other)),
    }
}

pub(super) fn handle(got: Got) -> Result<crate::sftp::Handle, Error> {
    match got {
        Got::Handle(handle) => Ok(handle),
        other => Err(unexpected(other)),
    }
}

fn text(got: Got) -> Result<Vec<u8>, Error> {
    match got {
        Got::Path(path) => Ok(path),
        other => Err(unexpected(other)),
    }
}

/// The error that an answer is.
pub(super) fn unexpected(got: Got) -> Error {
    match got {
        Got::Failed(error) => error,
        Got::Late(after) => Error::timeout(after),
        Got::Status(status) if !status.is_ok() => Error::refused(status),
        _ => Error::refused(Status::new(StatusCode::BAD_MESSAGE)),
    }
}
