//! An agent on a socket of this machine.

use std::fmt;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use konko_core::agent::{Confirm, Keyring, Server};
use konko_core::{Decision, Rng, Time};
use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;

/// Read at once from a client.
const READ: usize = 16 * 1024;
/// Connections at once, of the one user who may connect. More wait to be accepted.
const MAX_CONNECTIONS: usize = 500;

type Ask = dyn Fn(&Confirm) -> bool + Send + Sync;

/// An agent that listens on a socket, with the keys of a [`Keyring`].
///
/// Only the user whom this process runs as, and root, can use it: the socket has mode 0600 from its first moment, and
/// the system says of each connection whose it is.
///
/// ```no_run
/// use konko::core::agent::Keyring;
/// use konko::core::{Rng, provider};
/// use konko::{AgentServer, seed_from_os};
///
/// let keyring = Keyring::new(provider::best(), Rng::from_seed(&seed_from_os()?));
/// let agent = AgentServer::bind_private(keyring)?;
/// println!("SSH_AUTH_SOCK={}", agent.path().display());
/// agent.serve()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct AgentServer {
    listener: UnixListener,
    path: PathBuf,
    /// A folder of its own, which goes with it.
    folder: Option<PathBuf>,
    shared: Arc<Shared>,
}

struct Shared {
    keyring: Mutex<Keyring>,
    /// Something was done to the keys; who forgets them looks again.
    changed: Condvar,
    start: Instant,
    ask: Option<Box<Ask>>,
    closed: AtomicBool,
    connections: AtomicUsize,
}

impl Shared {
    fn now(&self) -> Time {
        Time::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn until(&self, at: Time) -> Duration {
        at.since(self.now())
    }
}

impl AgentServer {
    /// Listens on a socket in a new folder that only this user can enter, below the folder for temporary files.
    ///
    /// # Errors
    /// The system's.
    pub fn bind_private(keyring: Keyring) -> io::Result<Self> {
        let folder = private_folder(&std::env::temp_dir(), "konko-")?;
        let path = folder.join(format!("agent.{}", std::process::id()));
        match Self::listen(&path) {
            Ok(listener) => Ok(Self::new(listener, path, Some(folder), keyring)),
            Err(error) => {
                let _ = fs::remove_dir_all(&folder);
                Err(error)
            }
        }
    }

    /// Listens on a socket of that name.
    ///
    /// # Errors
    /// `AlreadyExists`, for whatever is there already; the system's, for a name that is longer than those of sockets
    /// can be among others.
    pub fn bind(path: impl Into<PathBuf>, keyring: Keyring) -> io::Result<Self> {
        let path = path.into();
        // Nobody could connect to a name that is too long, which a file may have.
        SocketAddr::from_pathname(&path)?;
        if fs::symlink_metadata(&path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let beside = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // In a folder that nobody else can enter until its mode is right.
        let folder = private_folder(beside, ".k")?;
        let made = Self::listen(&folder.join("s")).and_then(|listener| {
            fs::rename(folder.join("s"), &path)?;
            Ok(listener)
        });
        let _ = fs::remove_dir_all(&folder);
        Ok(Self::new(made?, path, None, keyring))
    }

    fn listen(path: &Path) -> io::Result<UnixListener> {
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(listener)
    }

    fn new(listener: UnixListener, path: PathBuf, folder: Option<PathBuf>, keyring: Keyring) -> Self {
        let shared = Arc::new(Shared {
            keyring: Mutex::new(keyring),
            changed: Condvar::new(),
            start: Instant::now(),
            ask: None,
            closed: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
        });
        AgentServer { listener, path, folder, shared }
    }

    /// Asks before a key is used that wants it; yes is true. Called from the connection's own thread, which waits.
    /// The keyring must say [`can_confirm`](Keyring::can_confirm).
    ///
    /// # Panics
    /// When it serves already.
    #[must_use]
    pub fn on_confirm(mut self, ask: impl Fn(&Confirm) -> bool + Send + Sync + 'static) -> Self {
        let shared = Arc::get_mut(&mut self.shared).expect("before it serves");
        shared.ask = Some(Box::new(ask));
        self
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Does something with the keys.
    pub fn with_keys<T>(&self, edit: impl FnOnce(&mut Keyring, Time) -> T) -> T {
        let result = edit(&mut self.shared.keyring.lock(), self.shared.now());
        self.shared.changed.notify_all();
        result
    }

    /// Serves until it is [closed](Self::close).
    ///
    /// # Errors
    /// The system's, when no more connections can be accepted.
    pub fn serve(&self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        thread::Builder::new().name("agent: lifetimes".into()).spawn(move || forget(&shared))?;
        while !self.shared.closed.load(Ordering::SeqCst) {
            match self.listener.accept() {
                Ok((stream, _)) if self.shared.closed.load(Ordering::SeqCst) => drop(stream),
                Ok((stream, _)) => self.begin(stream),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => match Errno::from_io_error(&e) {
                    Some(Errno::CONNABORTED) => {}
                    // Others will go.
                    Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                        thread::sleep(Duration::from_millis(50));
                    }
                    _ => return Err(e),
                },
            }
        }
        // Whoever closed it may be at it still.
        self.close();
        Ok(())
    }

    fn begin(&self, stream: UnixStream) {
        if !is_ours(&stream) || self.shared.connections.load(Ordering::SeqCst) >= MAX_CONNECTIONS {
            return;
        }
        let shared = Arc::clone(&self.shared);
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let begun = thread::Builder::new().name("agent: connection".into()).spawn(move || {
            let _ = connection(&shared, stream);
            shared.connections.fetch_sub(1, Ordering::SeqCst);
        });
        if begun.is_err() {
            self.shared.connections.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Removes the socket, and forgets all keys; [`serve`](Self::serve) ends.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.keyring.lock().remove_all();
        self.shared.changed.notify_all();
        // Wakes whoever accepts.
        let _ = UnixStream::connect(&self.path);
        let _ = fs::remove_file(&self.path);
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Drop for AgentServer {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for AgentServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentServer").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A new folder with mode 0700, whose name begins like this.
fn private_folder(within: &Path, start: &str) -> io::Result<PathBuf> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut tries = 0;
    loop {
        let letters: [u8; 10] = Rng::from_seed(&crate::seed_from_os()?).array();
        let name: String = letters.iter().map(|b| char::from(LETTERS[usize::from(b % 32)])).collect();
        let path = within.join(format!("{start}{name}"));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && tries < 10 => tries += 1,
            made => return made.map(|()| path),
        }
    }
}

/// Whether the other end belongs to this user, or to root (OpenSSH ssh-agent.c `handle_socket_read`).
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_ours(stream: &UnixStream) -> bool {
    rustix::net::sockopt::socket_peercred(stream)
        .is_ok_and(|peer| peer.uid.is_root() || peer.uid == rustix::process::getuid())
}

/// The mode of the socket, and of the folder it is in, is what there is.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn is_ours(_stream: &UnixStream) -> bool {
    true
}

/// Forgets keys when their time is over, also when nobody asks for them.
fn forget(shared: &Shared) {
    let mut keyring = shared.keyring.lock();
    while !shared.closed.load(Ordering::SeqCst) {
        keyring.expire(shared.now());
        match keyring.next_expiry() {
            Some(at) => {
                let wait = shared.until(at);
                shared.changed.wait_for(&mut keyring, wait);
            }
            None => shared.changed.wait(&mut keyring),
        }
    }
}

fn connection(shared: &Shared, mut stream: UnixStream) -> io::Result<()> {
    let mut server = Server::new();
    let mut bytes = zeroize::Zeroizing::new(vec![0; READ]);
    while !shared.closed.load(Ordering::SeqCst) {
        let n = match stream.read(&mut bytes) {
            Ok(0) => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        server.receive(&bytes[..n]);
        answer(shared, &mut server, &mut stream)?;
    }
    Ok(())
}

/// Answers all requests that are here.
fn answer(shared: &Shared, server: &mut Server, stream: &mut UnixStream) -> io::Result<()> {
    loop {
        let mut keyring = shared.keyring.lock();
        let polled = server.poll(&mut keyring, shared.now());
        let deadline = server.deadline(&keyring);
        drop(keyring);
        shared.changed.notify_all();
        let said = server.take_tx();
        stream.write_all(&said)?;
        match polled.map_err(io::Error::other)? {
            Some(confirm) => {
                let yes = shared.ask.as_ref().is_some_and(|ask| ask(&confirm));
                server.answer(&mut shared.keyring.lock(), Decision::accept_if(yes));
            }
            None => match deadline {
                Some(at) => thread::sleep(shared.until(at)),
                // Nothing more was said because there was too much to say.
                None if said.is_empty() => return Ok(()),
                None => {}
            },
        }
    }
}
