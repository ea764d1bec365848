use std::fmt;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use konko_core::sftp::{Access, Done, Extension, ExtensionSet, Judge, Layer, ServerConfig, Session, Witness};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::resolve::{How, Tree};
use super::rooted::RootedFs;

/// A directory to serve over SFTP, and what clients may do in it. Cheap to clone; one value serves any
/// number of sessions.
///
/// [`Root::open`] makes a jail: no path, no symbolic link and no race with other programs leads a client
/// out of the directory, which is `/` to it. Links mean what they mean after chroot(2): an absolute one
/// starts at the root, and `..` at the root stays there. On Linux the kernel sees to that
/// (`RESOLVE_IN_ROOT` of openat2(2)); elsewhere, and where openat2 is missing, paths are walked from one
/// directory's descriptor to the next. Only regular files, directories and links can be used: opening a
/// named pipe or a device fails at once. Two things are the administrator's: no process outside should
/// move directories out of the root while they are served, and programs that are not in the jail follow
/// the links that clients make ([`ServerConfig::deny`] with [`Operation::Symlink`](konko_core::sftp::Operation::Symlink) forbids making them).
///
/// [`Root::host`] is the whole system with the rights of this process, as OpenSSH's `sftp-server`.
///
/// ```no_run
/// use konko::sftp::Root;
///
/// let root = Root::open("/srv/files")?.read_only();
/// let programs = konko::server::Programs::new().sftp(root);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct Root {
    pub(super) tree: Tree,
    pub(super) rules: Rules,
    /// What was opened: absolute.
    path: PathBuf,
}

/// What holds for a session.
#[derive(Clone)]
pub(super) struct Rules {
    config: ServerConfig,
    pub(super) max_written: Option<u64>,
    pub(super) max_file: Option<u64>,
    pub(super) min_free: Option<u64>,
    pub(super) names: bool,
    pub(super) devices: bool,
    layers: Vec<Arc<dyn Layer>>,
    pub(super) over: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
    /// The path of the root on this machine; nobody needs to know.
    pub(super) secret: Option<Vec<u8>>,
}

impl Root {
    /// A jail in a directory. Clients may do everything there that this process may, except changing
    /// owners, and modes beyond [`ServerConfig::mode_mask`], which are those with setuid, setgid and sticky
    /// bits: directories can get the latter two all the same, what has such a bit can keep it, and anything
    /// else is refused.
    ///
    /// # Errors
    /// What the system says when the directory is opened.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let tree = Tree::below(rustix::fs::open(&path, flags, Mode::empty())?)?;
        let rules = Rules::new(ServerConfig::default(), secret(&path));
        Ok(Root { tree, rules, path })
    }

    /// The whole system, with all its devices, names of users and the right to change owners and all mode
    /// bits as far as this process has it. Relative paths start in `start`.
    ///
    /// # Errors
    /// What the system says about `start`.
    pub fn host(start: impl AsRef<Path>) -> io::Result<Self> {
        let start = std::path::absolute(start)?;
        let tree = Tree::host(start.as_os_str().as_bytes().to_vec())?;
        let config = ServerConfig::new().mode_mask(0o7777).allow_chown(true);
        let rules = Rules { names: true, devices: true, ..Rules::new(config, None) };
        Ok(Root { tree, rules, path: start })
    }

    /// The same for the directory that has this path now: it may have been replaced since, a file system
    /// mounted over it, or a link on the way set to another. [`Programs::sftp`] does this for each session,
    /// as sshd looks up its ChrootDirectory at each login; a session stays with what it began with.
    ///
    /// [`Programs::sftp`]: crate::server::Programs::sftp
    ///
    /// # Errors
    /// What the system says when it is opened.
    pub fn reopen(&self) -> io::Result<Self> {
        let mut root = Root { tree: self.tree.anew(&self.path)?, ..self.clone() };
        if !root.tree.is_host() {
            root.rules.secret = secret(&self.path);
        }
        Ok(root)
    }

    /// Relative paths start in this directory, and it is called the home directory. A path as clients see
    /// it; default: `/`.
    ///
    /// # Errors
    /// What the system says about it.
    pub fn start_in(mut self, path: impl AsRef<[u8]>) -> io::Result<Self> {
        self.tree.set_start(path.as_ref())?;
        Ok(self)
    }

    /// Paths are walked from one directory to the next though the system could do that itself: where one
    /// does not trust it, and to test that way.
    #[must_use]
    pub fn walk(mut self) -> Self {
        self.tree.set_how(How::Walk);
        self
    }

    /// Changes the protocol's side: which requests are allowed, handles, umask, extensions. Of those,
    /// check-file is off by default: it makes the server read whole files (R-19).
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut ServerConfig)) -> Self {
        change(&mut self.rules.config);
        self
    }

    /// Nothing can be changed (S-12).
    #[must_use]
    pub fn read_only(self) -> Self {
        self.configure(|config| config.read_only = true)
    }

    /// Bytes that a session may write; then writes fail. Counted as they are written, also twice to one
    /// place. Default: no limit.
    #[must_use]
    pub fn max_written(mut self, bytes: u64) -> Self {
        self.rules.max_written = Some(bytes);
        self
    }

    /// The largest file, in bytes: no write and no truncation goes beyond (S-25: sparse files too).
    /// Default: no limit.
    #[must_use]
    pub fn max_file_size(mut self, bytes: u64) -> Self {
        self.rules.max_file = Some(bytes);
        self
    }

    /// Bytes of the file system that are to stay free for others; writes fail before they are used up. A
    /// session looks every 16 MiB at most, so as many sessions as write at a time may each go that much
    /// further. Default: none.
    #[must_use]
    pub fn min_free(mut self, bytes: u64) -> Self {
        self.rules.min_free = Some(bytes);
        self
    }

    /// Whether listings show names of users and groups instead of numbers, and clients may ask for them.
    /// Default: not in a jail.
    #[must_use]
    pub fn user_names(mut self, on: bool) -> Self {
        self.rules.names = on;
        self
    }

    /// Asks `judge` about every request; one that it denies fails with PERMISSION_DENIED. It is asked
    /// about paths without links, and if a link comes in between, the request fails: what was allowed is
    /// what is done. Runs on the session's thread and may take its time.
    #[must_use]
    pub fn authorize(self, judge: impl Fn(&Access<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.layer(Arc::new(Judge(judge)))
    }

    /// Tells `witness` what clients have done, for a log; READ, WRITE and READDIR only if they fail.
    #[must_use]
    pub fn on_done(self, witness: impl Fn(&Done<'_>) + Send + Sync + 'static) -> Self {
        self.layer(Arc::new(Witness(witness)))
    }

    /// Puts a layer before the directory, in all sessions, outside of those that are there.
    #[must_use]
    pub fn layer(mut self, layer: Arc<dyn Layer>) -> Self {
        self.rules.layers.push(layer);
        self
    }

    /// Asks `over` now and then while something long is done, a large copy, and gives up when it says that
    /// nobody waits for it any more.
    #[must_use]
    pub fn cancel_when(mut self, over: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.rules.over = Some(Arc::new(over));
        self
    }

    /// The configuration of a session's machine.
    pub fn config(&self) -> ServerConfig {
        let mut config = self.rules.config.clone();
        // The file system sees what there is already.
        config.mode_mask = 0o7777;
        if !self.rules.names {
            config.extensions = config.extensions.without(Extension::UsersGroupsById);
        }
        config
    }

    /// The file system of one session, in the directory that was opened.
    pub fn session(&self) -> Session<Arc<RootedFs>> {
        let session = Session::new(Arc::new(RootedFs::new(self)));
        self.rules.layers.iter().fold(session, |session, layer| session.layer(Arc::clone(layer)))
    }

    /// The directory that relative paths start in, as clients see it.
    pub fn start(&self) -> &[u8] {
        self.tree.start()
    }
}

/// The path of a jail on this machine.
fn secret(path: &Path) -> Option<Vec<u8>> {
    let path = std::fs::canonicalize(path).ok()?.into_os_string().into_vec();
    (path != b"/").then_some(path)
}

/// Bits of a mode that mean no privilege on a directory: setgid and sticky.
const OF_DIRECTORIES: u32 = 0o3000;

impl Rules {
    /// The bits of a mode that clients may give to something new.
    pub(super) fn modes(&self, kind: FileType) -> u32 {
        self.config.mode_mask | if kind == FileType::Directory { OF_DIRECTORIES } else { 0 }
    }

    /// Whether clients may give something this mode.
    #[allow(clippy::unnecessary_cast, reason = "the type differs from system to system")]
    pub(super) fn may_have(&self, stat: &Stat, mode: u32) -> Result<(), Errno> {
        let allowed = self.modes(super::resolve::kind(stat)) | (stat.st_mode as u32);
        if mode & 0o7777 & !allowed == 0 { Ok(()) } else { Err(Errno::PERM) }
    }

    fn new(mut config: ServerConfig, secret: Option<Vec<u8>>) -> Self {
        config.extensions = ExtensionSet::all().without(Extension::CheckFile);
        Rules {
            config,
            max_written: None,
            max_file: None,
            min_free: None,
            names: false,
            devices: false,
            layers: Vec::new(),
            over: None,
            secret,
        }
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root")
            .field("tree", &self.tree)
            .field("config", &self.rules.config)
            .field("layers", &self.rules.layers.len())
            .finish()
    }
}
