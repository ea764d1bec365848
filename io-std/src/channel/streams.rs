//! A channel as the standard library's streams.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use konko_core::channel::DataStream;

use super::Channel;
use crate::state::Wait;

impl Read for &Channel {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.read_from(Wait::Data, to)
    }
}

impl Read for Channel {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.read_from(Wait::Data, to)
    }
}

impl Write for &Channel {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_some(DataStream::Data, data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Channel {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_some(DataStream::Data, data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard error of a [`Channel`]: a client reads it, a server writes it.
#[derive(Clone, Debug)]
pub struct Stderr(pub(super) Channel);

impl Stderr {
    /// Writes it into `to` until it ends; see [`Channel::copy_to`].
    ///
    /// # Errors
    /// As there.
    pub fn copy_to(&self, to: &mut (impl Write + ?Sized)) -> io::Result<u64> {
        self.0.copy(Wait::Stderr, to)
    }

    /// Writes it into a file descriptor until it ends; see [`Channel::copy_to_fd`].
    ///
    /// # Errors
    /// As there.
    pub fn copy_to_fd(&self, to: impl AsFd) -> io::Result<u64> {
        self.0.copy_fd(Wait::Stderr, to.as_fd())
    }
}

impl Stderr {
    /// Reads what is there of it, without waiting; 0 at its end.
    ///
    /// # Errors
    /// As [`Channel::try_read`].
    pub fn try_read(&self, to: &mut [u8]) -> io::Result<usize> {
        self.0.try_read_from(Wait::Stderr, to)
    }
}

impl Write for &Stderr {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write_some(DataStream::Stderr, data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Stderr {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write_some(DataStream::Stderr, data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for &Stderr {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.0.read_from(Wait::Stderr, to)
    }
}

impl Read for Stderr {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.0.read_from(Wait::Stderr, to)
    }
}
