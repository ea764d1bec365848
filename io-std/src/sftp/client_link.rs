//! What a session runs over: a channel, or any stream.

use std::io;
use std::process::Child;
use std::sync::Mutex;

use konko_core::TxBuf;
use zeroize::Zeroizing;

use super::Error;
use crate::channel::{Await, Channel, Exchange};
use crate::stream::Stream;

/// Bytes that are read from a stream at a time.
const READ: usize = 256 * 1024;

/// What came.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Zeroizing<Vec<u8>>,
    len: usize,
    /// Bytes for which credit is owed.
    credit: usize,
    pub(crate) stderr: Zeroizing<Vec<u8>>,
}

impl Batch {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Everything was used.
    pub(crate) fn clear(&mut self) {
        self.credit += self.len;
        self.len = 0;
    }
}

pub(crate) trait Link: Send + Sync {
    /// Sends what can be sent of `out` and receives into `batch`, which was cleared.
    fn exchange(&self, out: &mut TxBuf, batch: &mut Batch, wait: Await) -> Result<Exchange, Error>;

    /// Ends the wait of the current or the next exchange.
    fn wake(&self);

    /// Ends both directions.
    fn close(&self);
}

impl Link for Channel {
    fn exchange(&self, out: &mut TxBuf, batch: &mut Batch, wait: Await) -> Result<Exchange, Error> {
        let credit = std::mem::take(&mut batch.credit);
        batch.bytes.clear();
        let went = self.exchange(credit, out, &mut batch.bytes, &mut batch.stderr, wait);
        batch.len = batch.bytes.len();
        went.map_err(Error::link)
    }

    fn wake(&self) {
        self.nudge();
    }

    fn close(&self) {
        Channel::close(self);
    }
}

/// A stream that carries nothing but SFTP: a socket, or the pipes of a program.
pub(crate) struct StreamLink<S> {
    stream: S,
    /// Waited for when all is over.
    child: Mutex<Option<Child>>,
}

impl<S: Stream> StreamLink<S> {
    pub(crate) fn new(stream: S, child: Option<Child>) -> Self {
        StreamLink { stream, child: Mutex::new(child) }
    }
}

impl<S: Stream> Link for StreamLink<S> {
    fn exchange(&self, out: &mut TxBuf, batch: &mut Batch, wait: Await) -> Result<Exchange, Error> {
        let failed = |e: io::Error| {
            Error::link(io::Error::new(e.kind(), format!("the connection to the server: {e}")))
        };
        batch.credit = 0;
        if batch.bytes.len() < READ {
            batch.bytes.resize(READ, 0);
        }
        let mut waited = false;
        loop {
            let before = out.len();
            while !out.is_empty() {
                match self.stream.try_write(out.pending()) {
                    Ok(n) => out.consume(n),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    // What it said before it ended is still to be read.
                    Err(_) => out.consume(out.len()),
                }
            }
            match self.stream.try_read(&mut batch.bytes) {
                Ok(0) => return Ok(Exchange::Over),
                Ok(n) => {
                    batch.len = n;
                    return Ok(Exchange::Went);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(failed(e)),
            }
            let deadline = match wait {
                _ if waited => return Ok(Exchange::Went),
                Await::Input(deadline) => deadline,
                Await::Output(deadline) if !out.is_empty() && out.len() == before => deadline,
                _ => return Ok(Exchange::Went),
            };
            waited = true;
            self.stream.wait(true, !out.is_empty(), deadline.left()).map_err(failed)?;
        }
    }

    fn wake(&self) {
        self.stream.wake();
    }

    fn close(&self) {
        self.stream.shutdown();
    }
}

impl<S> Drop for StreamLink<S> {
    fn drop(&mut self) {
        let child = self.child.get_mut().ok().and_then(Option::take);
        // Its input ends with the stream, and so does it. Nothing waits for it but this thread.
        if let Some(mut child) = child {
            let reap = move || drop(child.wait());
            let _ = std::thread::Builder::new().name("konko sftp child".into()).spawn(reap);
        }
    }
}
