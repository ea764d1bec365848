//! A connection over a channel of another one.

use std::io;
use std::time::Duration;

use konko_core::channel::DataStream;

use super::Channel;
use crate::shared::{Deadline, Patience};
use crate::state::{Chan, Wait};
use crate::stream::Stream;

/// A channel carries another connection, in memory: a jump host (`Client::over`), or a server that is reached through
/// one. The time of [`set_timeout`](Channel::set_timeout) is of no meaning then; that connection has its own. What comes
/// on standard error is for [`stderr`](Channel::stderr) as ever.
///
/// It moves by the thread of the connection around it, so nothing can wait for it there: not in a server's handler, and
/// not in a notice.
impl Stream for Channel {
    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        self.try_read_from(Wait::Data, into)
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let (mut state, written) =
            self.offer(self.shared().lock(), DataStream::Data, bytes, Patience::None)?;
        if let (Err(told), Some(chan)) = (written, state.channels.get_mut(&self.0.id)) {
            chan.full = Some(told);
        }
        self.shared().release(state);
        written.map_err(|_| io::ErrorKind::WouldBlock.into())
    }

    fn wait(&self, read: bool, write: bool, timeout: Option<Duration>) -> io::Result<()> {
        let deadline = Deadline::after(timeout);
        self.wait_for(Wait::Any, deadline, |channel, state| {
            // A failed read is one that does not block.
            (read && channel.readable(state, Wait::Data).unwrap_or(true))
                || state
                    .channels
                    .get_mut(&channel.0.id)
                    .is_none_or(|chan| std::mem::take(&mut chan.nudged) || (write && chan.may_write()))
                || (write && state.ended.is_some())
        })
    }

    fn wait_writable(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.wait_for(Wait::Write, Deadline::after(timeout), |channel, state| {
            state.ended.is_some() || state.channels.get(&channel.0.id).is_none_or(Chan::may_write)
        })
    }

    fn wake(&self) {
        let mut state = self.shared().lock();
        state.nudge(self.0.id);
        self.shared().release(state);
    }

    fn shutdown(&self) {
        self.close();
    }

    fn may_wait(&self) -> bool {
        !self.shared().is_driver()
    }
}
