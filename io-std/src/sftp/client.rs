use std::fmt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use konko_core::channel::ChannelRequest;
use konko_core::crypto::HashAlg;
use konko_core::sftp::transfer::TransferConfig;
use konko_core::sftp::{
    Attrs, Client as Machine, ClientConfig, Extension, FileHash, Limits, RequestId, StatVfs, Status,
    StatusCode, Times, UsageError, UsersGroups,
};

use konko_core::wire::SshStr;

use super::client_dir::{Metadata, seconds};
use super::client_error::{Error, ErrorKind};
use super::client_link::{Link, StreamLink};
use super::client_machine::Answer;
use super::client_session::{Call, Facts, Patience, Session};
use super::path::{RemotePath, join};
use crate::client::Client;
use crate::shared::Deadline;
use crate::stream::{FdStream, Stream};

/// How a session begins and transfers run. The defaults suit every server that is known.
#[derive(Clone, Debug)]
pub struct SftpOptions {
    /// The protocol: quirks of servers.
    pub config: ClientConfig,
    /// The transfers: bytes and requests in flight, sizes.
    pub transfers: TransferConfig,
    /// The name of the subsystem; `sftp`.
    pub subsystem: String,
    /// A command that speaks SFTP on its standard streams, instead of the subsystem.
    pub command: Option<Vec<u8>>,
}

impl Default for SftpOptions {
    fn default() -> Self {
        let provider = Some(konko_core::provider::best());
        SftpOptions {
            config: ClientConfig::default(),
            transfers: TransferConfig { provider, ..TransferConfig::default() },
            subsystem: "sftp".into(),
            command: None,
        }
    }
}

/// A request with two paths.
type OfTwoPaths = fn(&mut Machine, &[u8], &[u8]) -> Result<RequestId, UsageError>;

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
    timeout: Option<Duration>,
    /// Where relative paths start; empty: where the server starts.
    dir: Arc<[u8]>,
}

impl Client {
    /// Starts an SFTP session in a channel of its own.
    pub fn sftp(&self) -> Result<Sftp, super::Error> {
        self.sftp_with(SftpOptions::default())
    }

    /// Starts an SFTP session of one's own making.
    pub fn sftp_with(&self, mut options: SftpOptions) -> Result<Sftp, super::Error> {
        options.config = options.config.for_server(self.peer_ident().unwrap_or_default().as_bytes());
        let channel = self.session()?;
        // Our first message follows at once: some devices never answer the request.
        let asked = match &options.command {
            Some(command) => channel.send(&ChannelRequest::Exec(SshStr::new(command)))?,
            None => channel.send(&ChannelRequest::Subsystem(SshStr::new(options.subsystem.as_bytes())))?,
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
        let session = Session::new(link, options.config, options.transfers);
        session.ready(timeout).map_err(|e| e.of("start of SFTP", &[]))?;
        Ok(Sftp { session, timeout, dir: Arc::from(&b""[..]) })
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
        let local = |e| Error::local(&program, e);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(local)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::invalid("the program has no standard streams"));
        };
        let stream = FdStream::pair(std::os::fd::OwnedFd::from(output), std::os::fd::OwnedFd::from(input))
            .map_err(local)?;
        let link = Box::new(StreamLink::new(stream, Some(child)));
        Self::start(link, options, Some(Duration::from_secs(60)))
    }

    /// How long an answer may take from now on, on this handle: the client's reply timeout, 60 seconds, unless
    /// set. For transfers, how long nothing may come. `None`: for ever.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// How long an answer may take.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Ends the session for all handles and files.
    pub fn close(&self) {
        self.session.close();
    }

    /// Whether the session goes on, as far as is known.
    pub fn is_open(&self) -> bool {
        self.session.ended().is_none()
    }

    /// Whether the server announced an extension.
    pub fn supports(&self, extension: Extension) -> bool {
        self.session.facts().extensions.contains(extension)
    }

    /// Names and data of all that the server announced.
    pub fn announced(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.session.facts().announced
    }

    /// What the server said of its limits, or is known of them; zeros where that is nothing.
    pub fn limits(&self) -> Limits {
        if !self.supports(Extension::Limits) {
            return self.session.facts().limits;
        }
        // The machine asks by itself; its answer comes before that to any later request.
        let Facts { limits, .. } = self.session.facts();
        if limits == Limits::default() {
            let _ = self.symlink_metadata("/");
            return self.session.facts().limits;
        }
        limits
    }

    // ---- the working directory ----

    /// Relative paths of this handle start here from now on. The protocol has no working directory: it is put
    /// before each path on this side.
    ///
    /// # Errors
    /// If it is no directory.
    pub fn set_current_dir(&mut self, path: impl RemotePath) -> Result<(), Error> {
        let dir = self.canonicalize(&path)?;
        if !self.is_dir(&dir)? {
            return Err(Error::invalid("it is not a directory").of("set_current_dir", &[path.as_remote()]));
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
    pub(crate) fn path(&self, path: &(impl RemotePath + ?Sized)) -> Vec<u8> {
        join(&self.dir, path.as_remote())
    }

    // ---- requests ----

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    pub(crate) fn call(&self) -> Call {
        self.session.call()
    }

    /// Patience for an answer that should come at once.
    pub(crate) fn patience(&self) -> Patience {
        Patience::Total(Deadline::after(self.timeout))
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn ask(
        &self,
        send: impl FnMut(&mut Machine) -> Result<RequestId, UsageError> + Send + 'static,
    ) -> Result<Answer, Error> {
        let call = self.call();
        call.request(send);
        call.next(self.patience())
    }

    fn ask_path(
        &self,
        op: &'static str,
        path: &[u8],
        send: fn(&mut Machine, &[u8]) -> Result<RequestId, UsageError>,
    ) -> Result<Answer, Error> {
        let own = path.to_vec();
        self.ask(move |client| send(client, &own)).map_err(|e| e.of(op, &[path]))
    }

    fn ask_paths(&self, op: &'static str, (a, b): (Vec<u8>, Vec<u8>), send: OfTwoPaths) -> Result<(), Error> {
        let (own_a, own_b) = (a.clone(), b.clone());
        let answer = self.ask(move |client| send(client, &own_a, &own_b));
        answer.and_then(done).map_err(|e| e.of(op, &[&a, &b]))
    }

    /// Attributes of a file; symbolic links are followed. As `stat`.
    pub fn metadata(&self, path: impl RemotePath) -> Result<Metadata, Error> {
        let path = self.path(&path);
        let answer = self.ask_path("metadata", &path, Machine::stat);
        answer.and_then(attrs).map_err(|e| e.of("metadata", &[&path]))
    }

    /// Attributes of a file, or of a symbolic link itself. As `lstat`.
    pub fn symlink_metadata(&self, path: impl RemotePath) -> Result<Metadata, Error> {
        let path = self.path(&path);
        let answer = self.ask_path("symlink_metadata", &path, Machine::lstat).and_then(attrs);
        match answer {
            // Some servers have no links, and no LSTAT.
            Err(e) if e.code() == Some(StatusCode::OP_UNSUPPORTED) => self.metadata(&path),
            other => other.map_err(|e| e.of("symlink_metadata", &[&path])),
        }
    }

    /// Whether there is something at this path. A dangling link is nothing.
    pub fn exists(&self, path: impl RemotePath) -> Result<bool, Error> {
        match self.metadata(path) {
            Ok(_) => Ok(true),
            Err(e) if e.is_not_found() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Makes a directory.
    pub fn create_dir(&self, path: impl RemotePath) -> Result<(), Error> {
        self.make_dir(path, &Attrs::new())
    }

    /// Makes a directory with these permission bits, less those that the server masks.
    pub fn create_dir_with(&self, path: impl RemotePath, mode: u32) -> Result<(), Error> {
        self.make_dir(path, &Attrs::new().with_permissions(mode))
    }

    fn make_dir(&self, path: impl RemotePath, with: &Attrs) -> Result<(), Error> {
        let path = self.path(&path);
        let (own, with) = (path.clone(), with.clone());
        let answer = self.ask(move |client| client.mkdir(&own, &with));
        answer.and_then(done).map_err(|e| e.of("create_dir", &[&path]))
    }

    /// Makes a directory, and those that lead to it, as far as they are missing.
    pub fn create_dir_all(&self, path: impl RemotePath) -> Result<(), Error> {
        let path = self.path(&path);
        let error = match self.create_dir(&path) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if error.is_fatal() {
            return Err(error);
        }
        if self.is_dir(&path).is_ok_and(|dir| dir) {
            return Ok(());
        }
        let (parent, name) = super::path::split(&path);
        if parent.is_empty() || name.is_empty() || parent == b"/" || !error.is_not_found() {
            return Err(error);
        }
        self.create_dir_all(parent)?;
        match self.create_dir(&path) {
            // Somebody else may have been quicker.
            Err(_) if self.is_dir(&path).is_ok_and(|dir| dir) => Ok(()),
            other => other,
        }
    }

    /// Removes a file or a symbolic link.
    pub fn remove_file(&self, path: impl RemotePath) -> Result<(), Error> {
        let path = self.path(&path);
        let answer = self.ask_path("remove_file", &path, Machine::remove);
        answer.and_then(done).map_err(|e| e.of("remove_file", &[&path]))
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, path: impl RemotePath) -> Result<(), Error> {
        let path = self.path(&path);
        let answer = self.ask_path("remove_dir", &path, Machine::rmdir);
        answer.and_then(done).map_err(|e| e.of("remove_dir", &[&path]))
    }

    /// Renames a file or a directory. With posix-rename@openssh.com what stood at the new name is replaced at
    /// once; servers without it fail then.
    pub fn rename(&self, from: impl RemotePath, to: impl RemotePath) -> Result<(), Error> {
        let paths = (self.path(&from), self.path(&to));
        if self.supports(Extension::PosixRename) {
            return self.ask_paths("rename", paths, Machine::posix_rename);
        }
        self.ask_paths("rename", paths, Machine::rename)
    }

    /// Renames a file or a directory unless the new name exists.
    pub fn rename_new(&self, from: impl RemotePath, to: impl RemotePath) -> Result<(), Error> {
        self.ask_paths("rename", (self.path(&from), self.path(&to)), Machine::rename)
    }

    /// Makes a symbolic link at `link` that points to `target`, which is not looked at.
    pub fn symlink(&self, target: impl RemotePath, link: impl RemotePath) -> Result<(), Error> {
        let paths = (target.as_remote().to_vec(), self.path(&link));
        self.ask_paths("symlink", paths, Machine::symlink)
    }

    /// Gives a file another name: hardlink@openssh.com.
    pub fn hard_link(&self, existing: impl RemotePath, link: impl RemotePath) -> Result<(), Error> {
        self.ask_paths("hard_link", (self.path(&existing), self.path(&link)), Machine::hardlink)
    }

    /// Where a symbolic link points.
    pub fn read_link(&self, path: impl RemotePath) -> Result<Vec<u8>, Error> {
        let path = self.path(&path);
        let answer = self.ask_path("read_link", &path, Machine::readlink);
        answer.and_then(text).map_err(|e| e.of("read_link", &[&path]))
    }

    /// The absolute form of a path, as the server makes it.
    pub fn canonicalize(&self, path: impl RemotePath) -> Result<Vec<u8>, Error> {
        let path = self.path(&path);
        let sent: &[u8] = if path.is_empty() { b"." } else { &path };
        let answer = self.ask_path("canonicalize", sent, Machine::realpath);
        answer.and_then(text).map_err(|e| e.of("canonicalize", &[&path]))
    }

    /// The absolute form of a path that may start with `~` or `~user`: expand-path@openssh.com.
    pub fn expand_path(&self, path: impl RemotePath) -> Result<Vec<u8>, Error> {
        let path = path.as_remote();
        let answer = self.ask_path("expand_path", path, Machine::expand_path);
        answer.and_then(text).map_err(|e| e.of("expand_path", &[path]))
    }

    /// The home directory of a user; one's own for an empty name: home-directory.
    pub fn home_dir(&self, user: &str) -> Result<Vec<u8>, Error> {
        let answer = self.ask_path("home_dir", user.as_bytes(), Machine::home_directory);
        answer.and_then(text).map_err(|e| e.of("home_dir", &[user.as_bytes()]))
    }

    /// Changes what is set in `set`; symbolic links are followed.
    pub fn set_metadata(&self, path: impl RemotePath, set: &Attrs) -> Result<(), Error> {
        self.change("set_metadata", &path, set.clone(), Machine::setstat)
    }

    /// Changes what is set in `set`, of a symbolic link itself: lsetstat@openssh.com.
    pub fn set_symlink_metadata(&self, path: impl RemotePath, set: &Attrs) -> Result<(), Error> {
        self.change("set_symlink_metadata", &path, set.clone(), Machine::lsetstat)
    }

    fn change(
        &self,
        op: &'static str,
        path: &impl RemotePath,
        set: Attrs,
        send: fn(&mut Machine, &[u8], &Attrs) -> Result<RequestId, UsageError>,
    ) -> Result<(), Error> {
        let path = self.path(path);
        let own = path.clone();
        let answer = self.ask(move |client| send(client, &own, &set));
        answer.and_then(done).map_err(|e| e.of(op, &[&path]))
    }

    /// Changes the permission bits.
    pub fn set_permissions(&self, path: impl RemotePath, mode: u32) -> Result<(), Error> {
        let set = Attrs::new().with_permissions(mode & 0o7777);
        self.change("set_permissions", &path, set, Machine::setstat)
    }

    /// Changes user and group. The protocol can only change both, so one that is `None` is asked for first.
    pub fn chown(&self, path: impl RemotePath, uid: Option<u32>, gid: Option<u32>) -> Result<(), Error> {
        let (uid, gid) = match (uid, gid) {
            (Some(uid), Some(gid)) => (uid, gid),
            (uid, gid) => {
                let now = self.metadata(&path)?;
                let unknown = || {
                    let why = "the server does not tell user and group, so one alone cannot be changed";
                    Error::invalid(why).of("chown", &[path.as_remote()])
                };
                let owner = now.0.owner.ok_or_else(unknown)?;
                (uid.unwrap_or(owner.uid), gid.unwrap_or(owner.gid))
            }
        };
        self.change("chown", &path, Attrs::new().with_owner(uid, gid), Machine::setstat)
    }

    /// Sets the times of last access and modification; whole seconds.
    pub fn set_times(
        &self,
        path: impl RemotePath,
        accessed: SystemTime,
        modified: SystemTime,
    ) -> Result<(), Error> {
        let times = Times { accessed: seconds(accessed), modified: seconds(modified) };
        let set = Attrs { times: Some(times), ..Attrs::default() };
        self.change("set_times", &path, set, Machine::setstat)
    }

    /// Cuts a file, or lengthens it with zeros.
    pub fn truncate(&self, path: impl RemotePath, len: u64) -> Result<(), Error> {
        self.change("truncate", &path, Attrs::new().with_size(len), Machine::setstat)
    }

    /// Figures of the file system that a path is on: statvfs@openssh.com.
    pub fn statvfs(&self, path: impl RemotePath) -> Result<StatVfs, Error> {
        let path = self.path(&path);
        let sent: &[u8] = if path.is_empty() { b"." } else { &path };
        let answer = self.ask_path("statvfs", sent, Machine::statvfs);
        answer.and_then(statvfs).map_err(|e| e.of("statvfs", &[&path]))
    }

    /// Names of users and groups: users-groups-by-id@openssh.com.
    pub fn users_groups(&self, uids: &[u32], gids: &[u32]) -> Result<UsersGroups, Error> {
        let (uids, gids) = (uids.to_vec(), gids.to_vec());
        match self.ask(move |client| client.users_groups_by_id(&uids, &gids)) {
            Ok(Answer::UsersGroups(names)) => Ok(names),
            other => Err(unexpected(other).of("users_groups", &[])),
        }
    }

    /// Hashes that the server makes of a file: one for each `block` bytes of the `len` bytes from `offset`, or
    /// one in all for a `block` of 0; a `len` of 0 goes to the end. check-file.
    ///
    /// Waits as long as it takes.
    pub fn check_file(
        &self,
        path: impl RemotePath,
        algs: &[HashAlg],
        (offset, len): (u64, u64),
        block: u32,
    ) -> Result<FileHash, Error> {
        let path = self.path(&path);
        let (own, names, call) = (path.clone(), algs.to_vec(), self.call());
        call.request(move |client| client.check_file_name(&own, &names, offset, len, block));
        match call.next(Patience::Progress(None)) {
            Ok(Answer::FileHash(hash)) => Ok(hash),
            // Paramiko's servers have it for open files alone.
            Ok(Answer::Status(status)) if status.code == StatusCode::OP_UNSUPPORTED => {
                self.open(&path)?.check(algs, (offset, len), block)
            }
            other => Err(unexpected(other).of("check_file", &[&path])),
        }
    }

    /// Sends an extension that konko does not know; `fields` are what follows its name. What follows the number
    /// in the reply; nothing if the reply is the status OK.
    pub fn extended(&self, name: &str, fields: &[u8]) -> Result<Vec<u8>, Error> {
        let (own, fields) = (name.to_owned(), fields.to_vec());
        match self.ask(move |client| client.extended(own.as_bytes(), &fields)) {
            Ok(Answer::Extended(bytes)) => Ok(bytes),
            Ok(Answer::Status(status)) if status.is_ok() => Ok(Vec::new()),
            other => Err(unexpected(other).of("extended", &[name.as_bytes()])),
        }
    }
}

/// An answer that is only a status.
pub(crate) fn done(answer: Answer) -> Result<(), Error> {
    match answer {
        Answer::Status(status) if status.is_ok() => Ok(()),
        other => Err(unexpected(Ok(other))),
    }
}

pub(crate) fn attrs(answer: Answer) -> Result<Metadata, Error> {
    match answer {
        Answer::Attrs(attrs) => Ok(Metadata(attrs)),
        other => Err(unexpected(Ok(other))),
    }
}

pub(crate) fn statvfs(answer: Answer) -> Result<StatVfs, Error> {
    match answer {
        Answer::StatVfs(figures) => Ok(figures),
        other => Err(unexpected(Ok(other))),
    }
}

fn text(answer: Answer) -> Result<Vec<u8>, Error> {
    match answer {
        Answer::Path(path) => Ok(path),
        other => Err(unexpected(Ok(other))),
    }
}

/// The error that an answer is.
pub(crate) fn unexpected(answer: Result<Answer, Error>) -> Error {
    match answer {
        Err(error) | Ok(Answer::Failed(error)) => error,
        Ok(Answer::Status(status)) if !status.is_ok() => Error::refused(status),
        Ok(_) => Error::refused(Status::new(StatusCode::BAD_MESSAGE)),
    }
}

impl fmt::Debug for Sftp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = self.session.ended();
        write!(f, "Sftp({})", if ended.is_some() { "ended" } else { "open" })
    }
}

impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        if let ErrorKind::Ssh(error) = error.kind() {
            return error.clone();
        }
        crate::Error::new(crate::ErrorKind::Sftp(Box::new(error)), &Arc::from(""))
    }
}
