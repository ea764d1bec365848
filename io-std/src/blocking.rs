use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

/// A file descriptor that is read and written as if it blocked, whatever its flag `O_NONBLOCK` says.
///
/// The flag belongs to the open file, which other processes may share: a shell and all its jobs share a terminal,
/// rsync(1) gives its remote shell sockets that do not block. Any of them can set the flag at any time, and to clear
/// it would break them. So a program takes `EAGAIN` on a stream that it was given for "not now", and waits.
#[derive(Debug)]
pub struct BlockingFd(OwnedFd);

impl BlockingFd {
    /// Over `fd`, whose flags stay as they are.
    pub fn new(fd: impl Into<OwnedFd>) -> Self {
        BlockingFd(fd.into())
    }

    /// Over another descriptor of the same open file.
    ///
    /// # Errors
    /// There are too many, or `fd` is closed.
    pub fn share(fd: impl AsFd) -> io::Result<Self> {
        Ok(BlockingFd(fd.as_fd().try_clone_to_owned()?))
    }

    /// Does it until it does not say that it would block.
    fn wait<T>(&self, flags: PollFlags, mut call: impl FnMut(&OwnedFd) -> Result<T, Errno>) -> io::Result<T> {
        loop {
            match call(&self.0) {
                Err(Errno::AGAIN) => crate::stream::poll(&mut [PollFd::new(&self.0, flags)], None)?,
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }
}

impl AsFd for BlockingFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Read for &BlockingFd {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.wait(PollFlags::IN, |fd| rustix::io::read(fd, &mut *to))
    }
}

impl Read for BlockingFd {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        (&*self).read(to)
    }
}

impl Write for &BlockingFd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(PollFlags::OUT, |fd| rustix::io::write(fd, bytes))
    }

    /// There is no buffer.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for BlockingFd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
