//! Sockets that a connection can run over, and listeners.

use std::io::{self, Read, Write};
use std::net::{self, SocketAddr};

use mio::event::Source;
use mio::{Interest, Registry, Token};
use rustix::net::{AddressFamily, SocketType, sockopt};

/// A non-blocking stream: TCP, or a Unix socket (one end of a pair, for a proxy).
#[derive(Debug)]
#[non_exhaustive]
pub enum Socket {
    /// TCP.
    Tcp(mio::net::TcpStream),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(mio::net::UnixStream),
}

impl Socket {
    /// Starts to connect. Nagle's algorithm is off and TCP keepalives are on: small packets leave
    /// at once, and a dead peer is noticed some day even when SSH's own keepalives are off.
    pub(crate) fn connect(addr: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut stream = Self::try_from(mio::net::TcpStream::connect(addr)?)?;
        stream.register(registry, token)?;
        Ok(stream)
    }

    /// Whether a started connect has come to an end; how.
    pub(crate) fn connected(&self) -> io::Result<bool> {
        let Socket::Tcp(socket) = self else { return Ok(true) };
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        match socket.peer_addr() {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(e) => Err(e),
        }
    }

    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Socket::Tcp(socket) => socket.peer_addr().ok(),
            #[cfg(unix)]
            Socket::Unix(_) => None,
        }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        // Once, for both: readiness is edge-triggered and remembered, so a change of mind costs no
        // system call.
        registry.register(self.source(), token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Has the system say again what it said before.
    pub(crate) fn register_again(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.reregister(self.source(), token, Interest::READABLE | Interest::WRITABLE)
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Socket::Tcp(socket) => socket,
            #[cfg(unix)]
            Socket::Unix(socket) => socket,
        }
    }

    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.read(into),
            #[cfg(unix)]
            Socket::Unix(socket) => socket.read(into),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => socket.write(bytes),
            #[cfg(unix)]
            Socket::Unix(socket) => socket.write(bytes),
        }
    }

    /// Says that nothing more will be written.
    pub(crate) fn finish(&self) {
        let _ = match self {
            Socket::Tcp(socket) => socket.shutdown(net::Shutdown::Write),
            #[cfg(unix)]
            Socket::Unix(socket) => socket.shutdown(net::Shutdown::Write),
        };
    }
}

fn prepare(socket: mio::net::TcpStream) -> io::Result<mio::net::TcpStream> {
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    Ok(socket)
}

impl TryFrom<mio::net::TcpStream> for Socket {
    type Error = io::Error;

    fn try_from(socket: mio::net::TcpStream) -> io::Result<Self> {
        Ok(Socket::Tcp(prepare(socket)?))
    }
}

impl TryFrom<net::TcpStream> for Socket {
    type Error = io::Error;

    fn try_from(socket: net::TcpStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Self::try_from(mio::net::TcpStream::from_std(socket))
    }
}

#[cfg(unix)]
impl TryFrom<std::os::unix::net::UnixStream> for Socket {
    type Error = io::Error;

    fn try_from(socket: std::os::unix::net::UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Socket::Unix(mio::net::UnixStream::from_std(socket)))
    }
}

/// Who listens on an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// One socket alone.
    Alone,
    /// Several sockets, one a loop, and the system spreads connections over them (SO_REUSEPORT).
    Shared,
}

/// Listens on `addr`.
///
/// # Errors
/// Nobody can listen there; what the system says.
pub fn bind(addr: SocketAddr, sharing: Sharing) -> io::Result<net::TcpListener> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if sharing == Sharing::Shared {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    rustix::net::bind(&socket, &addr)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(net::TcpListener::from(socket))
}

/// Connections that wait to be accepted; the system cuts it to what it allows.
const BACKLOG: i32 = 4096;

/// Raises the limit of open descriptors to `wanted`, as far as the hard limit lets it; how many
/// there may be now. Call it first thing in a program with many connections.
///
/// It also makes room for that many in the process's table. Linux doubles the table when it is full,
/// and in a process with threads waits for all processors then: 10 to 30 ms in which a loop stands still.
pub fn raise_descriptor_limit(wanted: u64) -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let reachable = limit.maximum.unwrap_or(u64::MAX).min(wanted);
    if limit.current.is_some_and(|current| current < reachable) {
        limit.current = Some(reachable);
        let _ = setrlimit(Resource::Nofile, limit);
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if let (Ok(any), Ok(last)) = (io::pipe(), i32::try_from(now.min(wanted).saturating_sub(1))) {
        let _ = rustix::io::fcntl_dupfd_cloexec(&any.0, last);
    }
    now
}

/// Whether an error means that the process or the system has no descriptors or memory left. It
/// passes when connections end.
pub(crate) fn is_exhaustion(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let codes = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| codes.iter().any(|e| e.raw_os_error() == code))
}
