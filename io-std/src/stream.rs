use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::state::TryWrite;

/// What a connection runs over: two directions that never block by themselves, a way to wait for
/// them, and a way to end the wait from another thread.
///
/// [`FdStream`] is this for sockets and pipes, and a [`Channel`](crate::Channel) for a connection inside another. All
/// methods take `&self`: one thread reads while others write.
pub trait Stream: Send + Sync + 'static {
    /// Reads what is there; 0 at the end.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; otherwise the stream has failed.
    fn try_read(&self, into: &mut [u8]) -> io::Result<usize>;

    /// Writes what fits.
    ///
    /// # Errors
    /// `WouldBlock` when nothing does; otherwise the stream has failed.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Waits until a read or a write (of those that are asked for) would not block, until
    /// [`wake`](Self::wake), or for `timeout`. May return early. Only one thread calls it.
    ///
    /// # Errors
    /// There is no waiting for it.
    fn wait(&self, read: bool, write: bool, timeout: Option<Duration>) -> io::Result<()>;

    /// Waits until a write would not block, or for `timeout`. May return early. Any thread calls it.
    ///
    /// # Errors
    /// There is no waiting for it.
    fn wait_writable(&self, timeout: Option<Duration>) -> io::Result<()>;

    /// Ends the current or next [`wait`](Self::wait).
    fn wake(&self);

    /// Ends both directions. Reads return 0, writes fail, waits return.
    fn shutdown(&self);

    /// Whether this thread may wait for the stream: not if the stream moves by this very thread. Yes, unless said
    /// otherwise.
    fn may_wait(&self) -> bool {
        true
    }
}

/// A [`Stream`] over file descriptors: a socket, or a pair of pipes to a child process.
#[derive(Debug)]
pub struct FdStream {
    read: OwnedFd,
    /// Absent for a socket, which is both.
    write: Option<OwnedFd>,
    waker: Waker,
}

/// Ends a wait from another thread.
#[derive(Debug)]
struct Waker {
    /// Readable once woken.
    woken: OwnedFd,
    /// What is written to; absent where one descriptor does both.
    wake: Option<OwnedFd>,
}

impl Waker {
    /// One descriptor and one system call where there is such a thing: it is made for each connection.
    #[cfg(target_os = "linux")]
    fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        let woken = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Waker { woken, wake: None })
    }

    #[cfg(not(target_os = "linux"))]
    fn new() -> io::Result<Self> {
        let (woken, wake) = io::pipe()?;
        rustix::io::ioctl_fionbio(&woken, true)?;
        rustix::io::ioctl_fionbio(&wake, true)?;
        Ok(Waker { woken: woken.into(), wake: Some(wake.into()) })
    }

    fn wake(&self) {
        // Eight bytes are what an eventfd takes. One that is full wakes just as well.
        let _ = rustix::io::write(self.wake.as_ref().unwrap_or(&self.woken), &1u64.to_ne_bytes());
    }

    fn clear(&self) {
        let _ = rustix::io::read(&self.woken, &mut [0u8; 64]);
    }
}

impl FdStream {
    /// Over one descriptor that is read and written, a socket. It becomes non-blocking.
    ///
    /// # Errors
    /// What the system says: there are too many descriptors, or this one is closed.
    pub fn socket(socket: impl Into<OwnedFd>) -> io::Result<Self> {
        Self::new(socket.into(), None)
    }

    /// Over two: what the peer writes is read from `read`. Both become non-blocking.
    ///
    /// # Errors
    /// What the system says: there are too many descriptors, or one of these is closed.
    pub fn pair(read: impl Into<OwnedFd>, write: impl Into<OwnedFd>) -> io::Result<Self> {
        Self::new(read.into(), Some(write.into()))
    }

    /// Over TCP, with or without its keepalives.
    pub(crate) fn tcp(socket: TcpStream, keepalive: bool) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        rustix::net::sockopt::set_socket_keepalive(&socket, keepalive)?;
        Self::socket(socket)
    }

    fn new(read: OwnedFd, write: Option<OwnedFd>) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&read, true)?;
        if let Some(write) = &write {
            rustix::io::ioctl_fionbio(write, true)?;
        }
        Ok(FdStream { read, write, waker: Waker::new()? })
    }

    fn output(&self) -> BorrowedFd<'_> {
        self.write.as_ref().unwrap_or(&self.read).as_fd()
    }
}

impl TryFrom<TcpStream> for FdStream {
    type Error = io::Error;

    /// Turns Nagle's algorithm off and TCP keepalives on: small packets leave at once, and a dead
    /// peer is noticed some day even when SSH's own keepalives are off.
    fn try_from(socket: TcpStream) -> io::Result<Self> {
        Self::tcp(socket, true)
    }
}

impl TryFrom<UnixStream> for FdStream {
    type Error = io::Error;

    fn try_from(socket: UnixStream) -> io::Result<Self> {
        Self::socket(socket)
    }
}

impl Stream for FdStream {
    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::read(&self.read, &mut *into))?)
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::write(self.output(), bytes))?)
    }

    fn wait(&self, read: bool, write: bool, timeout: Option<Duration>) -> io::Result<()> {
        let woken = PollFd::new(&self.waker.woken, PollFlags::IN);
        let input = PollFd::new(&self.read, PollFlags::IN);
        let output = PollFd::from_borrowed_fd(self.output(), PollFlags::OUT);
        // Without a flag poll would still report a closed peer, at once and again and again, so what
        // is not asked for is left out.
        let woken = match (read, write) {
            (false, false) => first_of([woken], timeout),
            (true, false) => first_of([woken, input], timeout),
            (false, true) => first_of([woken, output], timeout),
            (true, true) => first_of([woken, input, output], timeout),
        };
        if woken? {
            self.waker.clear();
        }
        Ok(())
    }

    fn wait_writable(&self, timeout: Option<Duration>) -> io::Result<()> {
        poll(&mut [PollFd::from_borrowed_fd(self.output(), PollFlags::OUT)], timeout)
    }

    fn wake(&self) {
        self.waker.wake();
    }

    fn shutdown(&self) {
        // Pipes have no shutdown; they end when the descriptors are dropped.
        let _ = rustix::net::shutdown(&self.read, rustix::net::Shutdown::Both);
        self.wake();
    }
}

/// Whether anything has happened to the first when the wait is over.
fn first_of<const N: usize>(mut fds: [PollFd<'_>; N], timeout: Option<Duration>) -> io::Result<bool> {
    poll(&mut fds, timeout)?;
    Ok(fds.first().is_some_and(|fd| !fd.revents().is_empty()))
}

pub(crate) fn poll(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<()> {
    let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
    match rustix::event::poll(fds, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// A writer that never waits, where the system has one: on Linux for pipes, sockets and devices
/// other than terminals. The flag of the descriptor itself (`O_NONBLOCK`) is shared with other
/// programs and stays as it is.
pub(crate) fn write_nowait(to: OwnedFd) -> Option<TryWrite> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::FileType;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&to).ok()?.st_mode);
        let fits = matches!(kind, FileType::Fifo | FileType::Socket)
            || (kind == FileType::CharacterDevice && !rustix::termios::isatty(&to));
        fits.then(|| {
            let write: TryWrite = std::sync::Arc::new(move |bytes: &[u8]| {
                let parts = [io::IoSlice::new(bytes)];
                // An offset of -1 stands for the current position.
                let flags = rustix::io::ReadWriteFlags::NOWAIT;
                Ok(rustix::io::pwritev2(&to, &parts, u64::MAX, flags)?)
            });
            write
        })
    }
    #[cfg(not(target_os = "linux"))]
    {
        drop(to);
        None
    }
}
