use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use konko_core::Time;
use konko_core::admission::{Admission, Admitted, Penalty};
use konko_core::error::Phase;
use rustix::event::{PollFd, PollFlags};

use super::connection::Connection;
use super::handler::Handler;
use super::options::{ServerNotice, ServerOptions};
use super::serve::{APPLICATION_FAILED, Serving, Setup};
use super::threads::Threads;
use crate::error::{Error, ErrorKind};
use crate::lock;
use crate::notice::Notice;
use crate::sparing::{Say, Sparing};
use crate::stream::{FdStream, Stream, poll};

/// How long nothing is accepted when the system has no descriptor or thread left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(200);

/// How long threads get to end after their connections were cut.
const CUT_GRACE: Duration = Duration::from_secs(5);

const STOPPING: &str = "the server is shutting down";

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A server that listens, with a thread for each connection. Dropped, it stops: see
/// [`shutdown`](Self::shutdown).
pub struct Server {
    inner: Arc<Inner>,
    local: SocketAddr,
}

struct Inner {
    setup: Setup,
    listener: TcpListener,
    waker: OwnedFd,
    stopping: AtomicBool,
    admission: Mutex<Admission>,
    connections: Mutex<BTreeMap<u64, Connection>>,
    threads: Threads,
    start: Instant,
    /// Notices of connections that were not let in.
    refusals: Mutex<Sparing>,
}

impl Server {
    /// Listens on `addr` (port 0: any free one, see [`local_addr`](Self::local_addr)) and serves
    /// from threads of its own. `handler` makes the handler of each connection.
    ///
    /// # Errors
    /// `Local` if the options lack a host key, or if nobody can listen on `addr`.
    pub fn listen<H: Handler>(
        addr: impl ToSocketAddrs,
        options: ServerOptions,
        handler: impl Fn(&Connection) -> H + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let listener = TcpListener::bind(addr)
            .map_err(|e| Error::new(ErrorKind::Local(format!("listening failed: {e}")), &Arc::from("")))?;
        Self::listen_on(listener, options, handler)
    }

    /// The same with a socket that listens already.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    pub fn listen_on<H: Handler>(
        listener: TcpListener,
        options: ServerOptions,
        handler: impl Fn(&Connection) -> H + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let failed =
            |e: io::Error| Error::new(ErrorKind::Local(format!("listening failed: {e}")), &Arc::from(""));
        let setup = Setup::new(options)?;
        let local = listener.local_addr().map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let (woken, waker) = io::pipe().map_err(failed)?;
        let limits = setup.options.admission.clone();
        let admission = Admission::new(limits, &crate::seed_from_os().map_err(failed)?);
        let inner = Arc::new(Inner {
            setup,
            listener,
            waker: waker.into(),
            stopping: AtomicBool::new(false),
            admission: Mutex::new(admission),
            connections: Mutex::default(),
            threads: Threads::default(),
            start: Instant::now(),
            refusals: Mutex::default(),
        });
        let server = Arc::clone(&inner);
        let threads = inner.threads.clone();
        threads
            .spawn("konko listener", move || server.accept_all(&woken.into(), &Arc::new(handler)))
            .map_err(failed)?;
        Ok(Server { inner, local })
    }

    /// The address it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The connections there are now.
    pub fn connections(&self) -> Vec<Connection> {
        lock(&self.inner.connections).values().cloned().collect()
    }

    /// Accepts no more connections, ends those without a channel, and lets the others finish. What is
    /// not over after `grace` is cut. Returns when no thread, socket or child process of the server
    /// is left; `false` if one did not end even then, such as a program of the application that
    /// does not look at its channel.
    pub fn shutdown(self, grace: Duration) -> bool {
        self.stop(grace)
    }

    fn stop(&self, grace: Duration) -> bool {
        self.inner.stopping.store(true, Ordering::Release);
        let _ = rustix::io::write(&self.inner.waker, &[1]);
        let deadline = Instant::now() + grace;
        // A connection may be on its way from the listener: look again until all are over.
        loop {
            for connection in self.connections() {
                if connection.shared().lock().channels.is_empty() {
                    connection.disconnect(STOPPING);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if self.inner.threads.wait(Some(left.min(Duration::from_millis(50)))) {
                return true;
            }
            if left.is_zero() {
                break;
            }
        }
        for connection in self.connections() {
            connection.disconnect(STOPPING);
            connection.shared().cut();
        }
        self.inner.threads.wait(Some(CUT_GRACE))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.inner.stopping.load(Ordering::Acquire) {
            self.stop(Duration::ZERO);
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.local)
    }
}

impl Inner {
    /// The clock of admission.
    fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    /// Tells that somebody was not let in. Anybody can cause that as often as they like.
    fn refused(&self, peer: &str, why: impl fmt::Display) {
        let Some(observer) = &self.setup.options.on_notice else { return };
        let say = lock(&self.refusals).next(self.start.elapsed());
        let notice = match say {
            Say::It => Notice::Refused(why.to_string()),
            Say::Enough => Notice::Quiet,
            Say::Nothing => return,
        };
        observer(&ServerNotice { connection: None, peer, phase: Phase::Ident, notice: &notice });
    }

    fn accept_all<H, F>(self: &Arc<Self>, woken: &OwnedFd, handler: &Arc<F>)
    where
        H: Handler,
        F: Fn(&Connection) -> H + Send + Sync + 'static,
    {
        while !self.stopping.load(Ordering::Acquire) {
            match self.listener.accept() {
                Ok((socket, peer)) => self.welcome(socket, peer, handler),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let fds =
                        &mut [PollFd::new(&self.listener, PollFlags::IN), PollFd::new(woken, PollFlags::IN)];
                    let _ = poll(fds, None);
                }
                // The peer has gone again, or a signal came.
                Err(e)
                    if matches!(e.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
                Err(e) => {
                    // No descriptors, no memory: others have to go before anybody can come.
                    self.refused("listener", format_args!("connections wait: {e}"));
                    let _ = poll(&mut [PollFd::new(woken, PollFlags::IN)], Some(EXHAUSTED_PAUSE));
                }
            }
        }
    }

    fn welcome<H, F>(self: &Arc<Self>, socket: TcpStream, peer: SocketAddr, handler: &Arc<F>)
    where
        H: Handler,
        F: Fn(&Connection) -> H + Send + Sync + 'static,
    {
        let name = peer.to_string();
        let admitted = lock(&self.admission).admit(Some(peer.ip()), self.now());
        let admitted = match admitted {
            Ok(admitted) => Entry { inner: Arc::clone(self), admitted: Some(admitted), connection: None },
            Err(refused) => return self.refused(&name, refused),
        };
        let (server, handler) = (Arc::clone(self), Arc::clone(handler));
        let started = self.threads.spawn("konko server", move || {
            if let Err(e) = server.serve(socket, peer, admitted, &*handler) {
                server.refused(&peer.to_string(), e);
            }
        });
        if let Err(e) = started {
            self.refused(&name, format_args!("no thread could be started: {e}"));
        }
    }

    fn serve<H, F>(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        mut entry: Entry,
        handler: &F,
    ) -> io::Result<()>
    where
        H: Handler,
        F: Fn(&Connection) -> H,
    {
        let addresses = [Some(peer), socket.local_addr().ok()];
        let stream = FdStream::try_from(socket)?;
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let connection = self.setup.connection(id, Box::new(stream), addresses, self.threads.clone())?;
        entry.connection = Some(connection.clone());
        lock(&self.connections).insert(id, connection.clone());
        if self.stopping.load(Ordering::Acquire) {
            // It may have come too late for `stop` to see it.
            connection.disconnect(STOPPING);
        }
        connection.shared().notice(Notice::Accepted);
        let Ok(handler) = catch_unwind(AssertUnwindSafe(|| handler(&connection))) else {
            connection.penalize(Penalty::Crash);
            // The connection's handles may live on.
            connection.shared().abandon(APPLICATION_FAILED);
            return Ok(());
        };
        let serving = Serving { connection, handler };
        serving.run(|| entry.authenticated());
        Ok(())
    }
}

/// The place of a connection, given back when it is over.
struct Entry {
    inner: Arc<Inner>,
    admitted: Option<Admitted>,
    connection: Option<Connection>,
}

impl Entry {
    fn authenticated(&mut self) {
        if let Some(admitted) = &mut self.admitted {
            lock(&self.inner.admission).authenticated(admitted);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // Dropped without the lock.
        let id = self.connection.as_ref().map(Connection::id);
        let _connection = id.and_then(|id| lock(&self.inner.connections).remove(&id));
        if let Some(admitted) = self.admitted.take() {
            let penalty = self.connection.as_ref().and_then(Connection::penalty);
            lock(&self.inner.admission).ended(admitted, penalty, self.inner.now());
        }
    }
}

/// Serves one connection over a stream, on this thread, until it is over: a socket of your own, or
/// standard input and output. `handler` makes its handler. There is no admission: the connection is
/// there already.
///
/// # Errors
/// Why the connection ended; clients mostly end it by hanging up, which is
/// [`Disconnected`](konko_core::Error::Disconnected). `Local` if the options lack a host key.
pub fn serve<H: Handler>(
    stream: impl Stream,
    options: ServerOptions,
    handler: impl FnOnce(&Connection) -> H,
) -> Result<(), Error> {
    let setup = Setup::new(options)?;
    let threads = Threads::default();
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    let connection = setup.connection(id, Box::new(stream), [None, None], threads.clone())?;
    connection.shared().notice(Notice::Accepted);
    let handler = handler(&connection);
    let why = Serving { connection, handler }.run(|| {});
    // Programs notice that their channels have ended.
    threads.wait(Some(CUT_GRACE));
    Err(why)
}
