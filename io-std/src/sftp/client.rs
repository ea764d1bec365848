use std::fmt;
use std::future::Future;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use konko_core::channel::ChannelRequest;
use konko_core::crypto::HashAlgorithm;
use konko_core::sftp::session::{
    DirEntry, Error, ErrorKind, GetOptions, Links, Metadata, Progress, PutOptions, Remote, RemotePath,
    TreeReport,
};
use konko_core::sftp::transfer::{Summary, TransferConfig};
use konko_core::sftp::{
    Attrs, ClientConfig, Extension, FileHash, Limits, StatVfs, Times, UsersGroups, session,
};
use konko_core::wire::SshStr;

use super::client_link::{Link, StreamLink};
use super::client_session::{Session, block_on};
use super::observe::{OnProgress, Transfers};
use crate::cancel::Cancel;
use crate::client::Client;
use crate::stream::{FdStream, Stream};

/// How a session begins and transfers run. The defaults suit every server that is known.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SftpOptions {
    /// The protocol: quirks of servers.
    pub config: ClientConfig,
    /// The transfers: bytes and requests in flight, sizes.
    pub transfers: TransferConfig,
    /// The name of the subsystem; `sftp`.
    pub subsystem: Vec<u8>,
    /// A command that speaks SFTP on its standard streams, instead of the subsystem.
    pub command: Option<Vec<u8>>,
}

impl Default for SftpOptions {
    fn default() -> Self {
        let provider = Some(konko_core::provider::best());
        SftpOptions {
            config: ClientConfig::default(),
            transfers: TransferConfig::new().provider(provider),
            subsystem: "sftp".into(),
            command: None,
        }
    }
}

/// An SFTP session. Clones are handles to the same session, and can be used from several threads at once:
/// their requests share the connection, and none waits for another's answer.
///
/// Names are those of [`std::fs`]. Paths are bytes; text, [`std::path::Path`] and byte strings will do. Errors
/// name the operation, the path, and what the server said.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let client = konko::Client::connect("example.org", konko::ClientOptions::default())?;
/// let sftp = client.sftp()?;
/// sftp.put("report.pdf", "/srv/reports/today.pdf")?;
/// for entry in sftp.read_dir("/srv/reports")? {
///     println!("{}", String::from_utf8_lossy(entry?.file_name()));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Sftp {
    session: Arc<Session>,
    remote: Remote,
    progress: Option<OnProgress>,
    cancel: Option<Cancel>,
}

impl Client {
    /// Starts an SFTP session in a channel of its own.
    pub fn sftp(&self) -> Result<Sftp, Error> {
        self.sftp_with(SftpOptions::default())
    }

    /// Starts an SFTP session of one's own making.
    pub fn sftp_with(&self, mut options: SftpOptions) -> Result<Sftp, Error> {
        options.config = options.config.for_server(self.peer_ident().unwrap_or_default().as_bytes());
        let channel = self.session()?;
        // Our first message follows at once: some devices never answer the request.
        let asked = match &options.command {
            Some(command) => channel.send(&ChannelRequest::Exec(SshStr::new(command)))?,
            None => channel.send(&ChannelRequest::Subsystem(SshStr::new(&options.subsystem)))?,
        };
        channel.set_timeout(None);
        let timeout = channel.reply_timeout();
        Sftp::start(Box::new(channel), options, timeout).map_err(|error| match asked.answer() {
            Some(false) => asked.refusal().into(),
            _ => error,
        })
    }
}

impl Sftp {
    fn start(link: Box<dyn Link>, options: SftpOptions, timeout: Option<Duration>) -> Result<Self, Error> {
        let (session, mut remote) = Session::new(link, options.config, options.transfers);
        remote.set_timeout(timeout);
        let sftp = Sftp { session, remote, progress: None, cancel: None };
        sftp.run(sftp.remote.ready())?;
        Ok(sftp)
    }

    /// Speaks SFTP over a stream that carries nothing else: a socket, or a pair of pipes
    /// ([`FdStream::pair`]).
    pub fn over(stream: impl Stream, options: SftpOptions) -> Result<Self, Error> {
        Self::start(Box::new(StreamLink::new(stream, None)), options, Some(Duration::from_secs(60)))
    }

    /// Starts a program that speaks SFTP on its standard input and output, such as OpenSSH's `sftp-server`, and
    /// speaks with it. It ends when the session does.
    pub fn spawn(mut command: Command, options: SftpOptions) -> Result<Self, Error> {
        let program = command.get_program().to_owned();
        let local = |e| Error::local(program.as_encoded_bytes(), e);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(local)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::invalid("the program has no standard streams"));
        };
        let stream = FdStream::pair(std::os::fd::OwnedFd::from(output), std::os::fd::OwnedFd::from(input))
            .map_err(local)?;
        let link = Box::new(StreamLink::new(stream, Some(child)));
        Self::start(link, options, Some(Duration::from_secs(60)))
    }

    /// Runs a procedure on this thread.
    pub(crate) fn run<T>(&self, procedure: impl Future<Output = T>) -> T {
        block_on(&[(&self.session, &self.remote)], |_| (), procedure)
    }

    /// Runs transfers, with progress and cancelling as this handle has them; `other` is a second session in them.
    fn transfer<'s, T, F: Future<Output = T>>(
        &'s self,
        other: Option<&'s Sftp>,
        procedure: impl FnOnce(Remote, Remote) -> F,
    ) -> T {
        let (here, there) = (self.remote.for_one(), other.unwrap_or(self).remote.for_one());
        if self.progress.is_some() {
            here.watch();
        }
        let mut sessions = vec![(&*self.session, &here)];
        sessions.extend(other.map(|other| (&*other.session, &there)));
        let mut watched = false;
        let between = |waker: &Waker| {
            if let Some(cancel) = self.cancel.as_ref().filter(|_| !std::mem::replace(&mut watched, true)) {
                let (remote, session) = (here.clone(), Arc::downgrade(&self.session));
                cancel.watch(Transfers { remote, waker: waker.clone(), session });
            }
            while let Some(progress) = here.progress() {
                self.progress.iter().for_each(|tell| tell(&progress));
            }
        };
        block_on(&sessions, between, procedure(here.clone(), there.clone()))
    }

    /// A handle to the same session whose transfers tell how far each file has come, on the thread that waits for them.
    #[must_use]
    pub fn on_progress(&self, progress: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        Sftp { progress: Some(Arc::new(progress)), ..self.clone() }
    }

    /// A handle to the same session whose transfers can be ended by this.
    #[must_use]
    pub fn cancelled_by(&self, cancel: &Cancel) -> Self {
        Sftp { cancel: Some(cancel.clone()), ..self.clone() }
    }

    /// How long an answer may take from now on, on this handle: the client's reply timeout, 60 seconds, unless
    /// set. For files, how long nothing may come. `None`: for ever.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.remote.set_timeout(timeout);
    }

    /// How long an answer may take.
    pub fn timeout(&self) -> Option<Duration> {
        self.remote.timeout()
    }

    /// Ends the session for all handles and files.
    pub fn close(&self) {
        self.session.close();
    }

    /// Whether the session goes on, as far as is known.
    pub fn is_open(&self) -> bool {
        self.session.is_open()
    }

    /// Whether the server announced an extension.
    pub fn supports(&self, extension: Extension) -> bool {
        self.run(self.remote.supports(extension))
    }

    /// Names and data of all that the server announced.
    pub fn announced(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.run(self.remote.facts()).announced
    }

    /// What the server said of its limits, or is known of them; zeros where that is nothing.
    pub fn limits(&self) -> Limits {
        self.run(self.remote.limits())
    }

    /// Relative paths of this handle start here from now on. The protocol has no working directory: it is put
    /// before each path on this side.
    ///
    /// # Errors
    /// If it is no directory.
    pub fn set_current_dir(&mut self, path: impl RemotePath) -> Result<(), Error> {
        let session = Arc::clone(&self.session);
        let at = self.remote.clone();
        block_on(&[(&session, &at)], |_| (), self.remote.set_current_dir(path.as_remote()))
    }

    /// Relative paths of this handle start where the server starts again.
    pub fn reset_current_dir(&mut self) {
        self.remote.reset_current_dir();
    }

    /// Where relative paths of this handle start; `None`: where the server starts.
    pub fn current_dir(&self) -> Option<&[u8]> {
        self.remote.current_dir()
    }

    pub(crate) fn remote(&self) -> &Remote {
        &self.remote
    }

    // ---- requests ----

    /// Attributes of a file; symbolic links are followed. As `stat`.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn metadata(&self, path: impl RemotePath) -> Result<Metadata, Error> {
        self.run(self.remote.metadata(path.as_remote()))
    }

    /// Attributes of a file, or of a symbolic link itself. As `lstat`.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn symlink_metadata(&self, path: impl RemotePath) -> Result<Metadata, Error> {
        self.run(self.remote.symlink_metadata(path.as_remote()))
    }

    /// Whether there is something at this path. A dangling link is nothing.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn exists(&self, path: impl RemotePath) -> Result<bool, Error> {
        self.run(self.remote.exists(path.as_remote()))
    }

    /// Whether a path is a directory, or a link to one: what its attributes say, and where the server does not tell,
    /// whether it can be opened as one.
    ///
    /// # Errors
    /// If there is nothing, or the session has ended.
    pub fn is_dir(&self, path: impl RemotePath) -> Result<bool, Error> {
        self.run(self.remote.is_dir(path.as_remote()))
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn create_dir(&self, path: impl RemotePath) -> Result<(), Error> {
        self.run(self.remote.create_dir(path.as_remote(), None))
    }

    /// Makes a directory with these permission bits, less those that the server masks.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn create_dir_with(&self, path: impl RemotePath, mode: u32) -> Result<(), Error> {
        self.run(self.remote.create_dir(path.as_remote(), Some(mode)))
    }

    /// Makes a directory, and those that lead to it, as far as they are missing.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn create_dir_all(&self, path: impl RemotePath) -> Result<(), Error> {
        self.run(self.remote.create_dir_all(path.as_remote()))
    }

    /// Removes a file or a symbolic link.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn remove_file(&self, path: impl RemotePath) -> Result<(), Error> {
        self.run(self.remote.remove_file(path.as_remote()))
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn remove_dir(&self, path: impl RemotePath) -> Result<(), Error> {
        self.run(self.remote.remove_dir(path.as_remote()))
    }

    /// Removes a directory with all that is in it. Symbolic links are removed, and not followed.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn remove_dir_all(&self, path: impl RemotePath) -> Result<(), Error> {
        self.run(self.remote.remove_dir_all(path.as_remote()))
    }

    /// Renames a file or a directory. With posix-rename@openssh.com what stood at the new name is replaced at
    /// once; servers without it fail then.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn rename(&self, from: impl RemotePath, to: impl RemotePath) -> Result<(), Error> {
        self.run(self.remote.rename(from.as_remote(), to.as_remote()))
    }

    /// Renames a file or a directory unless the new name exists.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn rename_new(&self, from: impl RemotePath, to: impl RemotePath) -> Result<(), Error> {
        self.run(self.remote.rename_new(from.as_remote(), to.as_remote()))
    }

    /// Makes a symbolic link at `link` that points to `target`, which is not looked at.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn symlink(&self, target: impl RemotePath, link: impl RemotePath) -> Result<(), Error> {
        self.run(self.remote.symlink(target.as_remote(), link.as_remote()))
    }

    /// Gives a file another name: hardlink@openssh.com.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn hard_link(&self, existing: impl RemotePath, link: impl RemotePath) -> Result<(), Error> {
        self.run(self.remote.hard_link(existing.as_remote(), link.as_remote()))
    }

    /// Where a symbolic link points.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn read_link(&self, path: impl RemotePath) -> Result<Vec<u8>, Error> {
        self.run(self.remote.read_link(path.as_remote()))
    }

    /// The absolute form of a path, as the server makes it.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn canonicalize(&self, path: impl RemotePath) -> Result<Vec<u8>, Error> {
        self.run(self.remote.canonicalize(path.as_remote()))
    }

    /// The absolute form of a path that may start with `~` or `~user`: expand-path@openssh.com.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn expand_path(&self, path: impl RemotePath) -> Result<Vec<u8>, Error> {
        self.run(self.remote.expand_path(path.as_remote()))
    }

    /// The home directory of a user; one's own for an empty name: home-directory.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn home_dir(&self, user: &str) -> Result<Vec<u8>, Error> {
        self.run(self.remote.home_dir(user.as_bytes()))
    }

    /// Changes what is set in `set`; symbolic links are followed.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn set_metadata(&self, path: impl RemotePath, set: &Attrs) -> Result<(), Error> {
        self.run(self.remote.set_metadata(path.as_remote(), set))
    }

    /// Changes what is set in `set`, of a symbolic link itself: lsetstat@openssh.com.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn set_symlink_metadata(&self, path: impl RemotePath, set: &Attrs) -> Result<(), Error> {
        self.run(self.remote.set_symlink_metadata(path.as_remote(), set))
    }

    /// Changes the permission bits.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn set_permissions(&self, path: impl RemotePath, mode: u32) -> Result<(), Error> {
        self.run(self.remote.set_permissions(path.as_remote(), mode))
    }

    /// Changes user and group. The protocol can only change both, so one that is `None` is asked for first.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn chown(&self, path: impl RemotePath, uid: Option<u32>, gid: Option<u32>) -> Result<(), Error> {
        self.run(self.remote.chown(path.as_remote(), uid, gid))
    }

    /// Sets the times of last access and modification; whole seconds.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn set_times(
        &self,
        path: impl RemotePath,
        accessed: SystemTime,
        modified: SystemTime,
    ) -> Result<(), Error> {
        self.run(self.remote.set_times(path.as_remote(), times(accessed, modified)))
    }

    /// Cuts a file, or lengthens it with zeros.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn truncate(&self, path: impl RemotePath, len: u64) -> Result<(), Error> {
        self.run(self.remote.truncate(path.as_remote(), len))
    }

    /// Figures of the file system that a path is on: statvfs@openssh.com.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn statvfs(&self, path: impl RemotePath) -> Result<StatVfs, Error> {
        self.run(self.remote.statvfs(path.as_remote()))
    }

    /// Names of users and groups: users-groups-by-id@openssh.com.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn users_groups(&self, uids: &[u32], gids: &[u32]) -> Result<UsersGroups, Error> {
        self.run(self.remote.users_groups(uids, gids))
    }

    /// Hashes that the server makes of a file: one for each `block` bytes of the `len` bytes from `offset`, or
    /// one in all for a `block` of 0; a `len` of 0 goes to the end. check-file. Waits as long as it takes.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn check_file(
        &self,
        path: impl RemotePath,
        algs: &[HashAlgorithm],
        (offset, len): (u64, u64),
        block: u32,
    ) -> Result<FileHash, Error> {
        self.run(self.remote.check_file(path.as_remote(), algs, (offset, len), block))
    }

    /// Sends an extension that konko does not know; `fields` are what follows its name. What follows the number
    /// in the reply; nothing if the reply is the status OK.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn extended(&self, name: &str, fields: &[u8]) -> Result<Vec<u8>, Error> {
        self.run(self.remote.extended(name.as_bytes(), fields))
    }

    /// The paths that fit a pattern, sorted, with their attributes: of links themselves where the last component
    /// is a pattern. None is no error. Relative patterns give relative paths.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn glob(&self, pattern: impl RemotePath) -> Result<Vec<(Vec<u8>, Metadata)>, Error> {
        self.run(self.remote.glob(pattern.as_remote()))
    }

    // ---- directories ----

    /// Lists a directory.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn read_dir(&self, path: impl RemotePath) -> Result<ReadDir, Error> {
        let list = self.run(self.remote.read_dir(path.as_remote()))?;
        Ok(ReadDir { list, sftp: self.clone(), _leave: Leave::new(self) })
    }

    /// Everything below a directory.
    pub fn walk(&self, path: impl RemotePath) -> Walk {
        Walk { sftp: self.clone(), walk: self.remote.walk(path.as_remote()) }
    }

    // ---- whole files, and trees ----

    /// Fetches a remote file to a local path, and checks its size.
    ///
    /// # Errors
    /// What the server or the local file system says, and what does not match.
    pub fn get(&self, remote: impl RemotePath, local: impl AsRef<Path>) -> Result<Summary, Error> {
        self.get_with(remote, local, &GetOptions::default())
    }

    /// Fetches a remote file, with options. What has come of a file that fails stays, so that it can be resumed.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_with(
        &self,
        remote: impl RemotePath,
        local: impl AsRef<Path>,
        options: &GetOptions,
    ) -> Result<Summary, Error> {
        self.transfer(None, async |here, _| here.get(remote.as_remote(), bytes(&local), options).await)
    }

    /// Sends a local file to a remote path, and checks its size.
    ///
    /// # Errors
    /// What the server or the local file system says, and what does not match.
    pub fn put(&self, local: impl AsRef<Path>, remote: impl RemotePath) -> Result<Summary, Error> {
        self.put_with(local, remote, &PutOptions::default())
    }

    /// Sends a local file, with options.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_with(
        &self,
        local: impl AsRef<Path>,
        remote: impl RemotePath,
        options: &PutOptions,
    ) -> Result<Summary, Error> {
        self.transfer(None, async |here, _| here.put(bytes(&local), remote.as_remote(), options).await)
    }

    /// Copies a remote file to another path of the same server: there, if the server has copy-data, else through
    /// here. What is at `to` is not touched before `from` is open, and known to be a file; onto itself it stays as it is.
    ///
    /// # Errors
    /// What the server says, and what does not match.
    pub fn copy(&self, from: impl RemotePath, to: impl RemotePath) -> Result<Summary, Error> {
        self.transfer(None, async |here, _| here.copy(from.as_remote(), to.as_remote()).await)
    }

    /// Copies a file of this server to another server, through this machine, and checks its size: see
    /// [`Remote::copy_to`].
    ///
    /// # Errors
    /// What the servers say, and what does not match.
    pub fn copy_to(
        &self,
        from: impl RemotePath,
        other: &Sftp,
        to: impl RemotePath,
        options: &PutOptions,
    ) -> Result<Summary, Error> {
        let (from, to) = (from.as_remote(), to.as_remote());
        self.transfer(Some(other), async |here, there| here.copy_to(from, &there, to, options).await)
    }

    /// Fetches a directory with all that is in it: see [`Remote::get_tree`].
    ///
    /// # Errors
    /// What ends everything. What concerns one file is in the report.
    pub fn get_tree(
        &self,
        remote: impl RemotePath,
        local: impl AsRef<Path>,
        options: &GetOptions,
        links: Links,
    ) -> Result<TreeReport, Error> {
        let (remote, local) = (remote.as_remote(), bytes(&local));
        self.transfer(None, async |here, _| here.get_tree(remote, local, options, links).await)
    }

    /// Sends a local directory with all that is in it: see [`Remote::put_tree`].
    ///
    /// # Errors
    /// What ends everything. What concerns one file is in the report.
    pub fn put_tree(
        &self,
        local: impl AsRef<Path>,
        remote: impl RemotePath,
        options: &PutOptions,
        links: Links,
    ) -> Result<TreeReport, Error> {
        let (local, remote) = (bytes(&local), remote.as_remote());
        self.transfer(None, async |here, _| here.put_tree(local, remote, options, links).await)
    }

    /// Copies a directory of this server with all that is in it to another server: see [`Remote::copy_tree_to`].
    ///
    /// # Errors
    /// What ends everything. What concerns one file is in the report.
    pub fn copy_tree_to(
        &self,
        from: impl RemotePath,
        other: &Sftp,
        to: impl RemotePath,
        options: &PutOptions,
        links: Links,
    ) -> Result<TreeReport, Error> {
        let (from, to) = (from.as_remote(), to.as_remote());
        self.transfer(Some(other), async |here, there| {
            here.copy_tree_to(from, &there, to, options, links).await
        })
    }
}

fn bytes(path: &impl AsRef<Path>) -> &[u8] {
    path.as_ref().as_os_str().as_encoded_bytes()
}

/// Seconds since 1970 UTC as the protocol has them; what it cannot say becomes the nearest that it can.
pub(super) fn times(accessed: SystemTime, modified: SystemTime) -> Times {
    let seconds = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
    };
    Times { accessed: seconds(accessed), modified: seconds(modified) }
}

/// The entries of a directory, as the server sends them. `.` and `..` are left out. Dropped, it is closed.
pub struct ReadDir {
    list: session::ReadDir,
    sftp: Sftp,
    _leave: Leave,
}

/// Dropped last: what a dropped file or listing asked for is sent.
pub(super) struct Leave(Arc<Session>);

impl Leave {
    pub(super) fn new(sftp: &Sftp) -> Self {
        Leave(Arc::clone(&sftp.session))
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Iterator for ReadDir {
    type Item = Result<DirEntry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.sftp.run(self.list.next())
    }
}

/// Everything below a directory, each directory before what is in it. Symbolic links are not followed. What
/// cannot be listed gives an error, and the walk goes on.
pub struct Walk {
    sftp: Sftp,
    walk: session::Walk,
}

impl Iterator for Walk {
    type Item = Result<(Vec<u8>, DirEntry), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.sftp.run(self.walk.next())
    }
}

impl fmt::Debug for Sftp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sftp({})", if self.is_open() { "open" } else { "ended" })
    }
}

impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        if let ErrorKind::Link(cause) = error.kind()
            && let Some(error) = cause.downcast_ref::<crate::Error>()
        {
            return error.clone();
        }
        crate::Error::new(crate::ErrorKind::Sftp(Box::new(error)), &Arc::from(""))
    }
}

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Self {
        Error::link(error)
    }
}
