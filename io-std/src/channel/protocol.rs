//! A channel for a protocol on top: SFTP.

use std::io;
use std::time::Duration;

use konko_core::TxBuf;
use konko_core::channel::DataStream;
use zeroize::Zeroizing;

use super::{Channel, SLICE, inbox};
use crate::error::{Error, ErrorKind};
use crate::shared::{Deadline, Guard, Patience};
use crate::state::Wait;

/// What a turn of [`Channel::exchange`] waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Await {
    /// Nothing.
    Nothing,
    /// Until some of the output is taken; there is more to do then.
    Output(Deadline),
    /// Until something comes, or output that had to wait is taken.
    Input(Deadline),
}

/// How a turn of [`Channel::exchange`] went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// Something moved, or there was nothing to move yet.
    Went,
    /// Nothing more will come.
    Over,
}

impl Channel {
    /// One turn of a protocol that runs over the channel: gives credit back for `credit` bytes, writes what
    /// the channel takes of `out`, moves what came into `batch` and `stderr`, which are empty, and waits as
    /// `wait` says; [`nudge`](Self::nudge) ends that early.
    pub(crate) fn exchange(
        &self,
        credit: usize,
        out: &mut TxBuf,
        batch: &mut Zeroizing<Vec<u8>>,
        stderr: &mut Zeroizing<Vec<u8>>,
        wait: Await,
    ) -> Result<Exchange, Error> {
        let shared = self.shared();
        let mut state = shared.lock();
        // A channel that is gone needs none.
        if credit > 0 && state.end.conn_mut().consume(self.0.id, credit).is_ok() {
            state.settle(shared.now());
        }
        let mut waited = false;
        loop {
            let before = out.len();
            let seen = state.channels.get(&self.0.id).map(|chan| chan.writable);
            state = self.put(state, out, wait);
            let wrote = out.len() < before;
            state = shared.flush(state, Patience::None);
            let received = self.take(&mut state, batch, stderr);
            let ended = state.ended.clone();
            let chan = state.channels.get_mut(&self.0.id);
            if chan.as_ref().is_some_and(|chan| chan.cancelled) {
                shared.release(state);
                return Err(shared.error(ErrorKind::Cancelled));
            }
            let over = chan
                .as_ref()
                .is_none_or(|chan| chan.eof || chan.closed || chan.shut || chan.refused.is_some());
            let room = !out.is_empty() && chan.as_ref().map(|chan| chan.writable) != seen;
            let nudged = chan.is_some_and(|chan| std::mem::take(&mut chan.nudged));
            let (done, deadline) = match wait {
                Await::Nothing => (true, Deadline::after(None)),
                Await::Output(deadline) => (out.is_empty() || (waited && wrote), deadline),
                Await::Input(deadline) => (waited && wrote, deadline),
            };
            if done || received || nudged || over || ended.is_some() {
                shared.release(state);
                return match ended {
                    _ if received => Ok(Exchange::Went),
                    Some(error) => Err(error),
                    None if over => Ok(Exchange::Over),
                    None => Ok(Exchange::Went),
                };
            }
            waited = true;
            if room {
                continue;
            }
            state = match shared.wait_channel(state, self.0.id, Wait::Any, deadline) {
                Ok(state) => state,
                Err(state) => {
                    shared.release(state);
                    return Ok(Exchange::Went);
                }
            };
        }
    }

    /// Writes as much of `out` as the channel takes.
    fn put<'a>(&'a self, mut state: Guard<'a>, out: &mut TxBuf, wait: Await) -> Guard<'a> {
        let patience = match wait {
            Await::Nothing => Patience::None,
            Await::Output(deadline) | Await::Input(deadline) => Patience::Until(deadline),
        };
        while !out.is_empty() {
            match state.channels.get_mut(&self.0.id) {
                Some(chan) if chan.takes_input() => {}
                _ => break,
            }
            let slice = &out.pending()[..out.len().min(SLICE)];
            let written = state.end.conn_mut().write(self.0.id, DataStream::Data, slice);
            let n = written.unwrap_or(0);
            out.consume(n);
            state = self.shared().flush(state, patience);
            if n == 0 {
                break;
            }
        }
        state
    }

    /// Takes what came; whether that was anything.
    fn take(
        &self,
        state: &mut Guard<'_>,
        batch: &mut Zeroizing<Vec<u8>>,
        stderr: &mut Zeroizing<Vec<u8>>,
    ) -> bool {
        let errors = inbox(state, self.0.id, Wait::Stderr);
        if let Some(errors) = errors.filter(|errors| !errors.is_empty()) {
            errors.swap(stderr);
            let _ = state.end.conn_mut().consume(self.0.id, stderr.len());
            state.settle(self.shared().now());
        }
        if let Some(data) = inbox(state, self.0.id, Wait::Data).filter(|data| !data.is_empty()) {
            data.swap(batch);
        }
        !batch.is_empty() || !stderr.is_empty()
    }

    /// Waits until `ready`, or until the deadline has passed.
    pub(super) fn wait_for(
        &self,
        wait: Wait,
        deadline: Deadline,
        ready: impl Fn(&Self, &mut Guard<'_>) -> bool,
    ) -> io::Result<()> {
        let shared = self.shared();
        shared.may_wait("data")?;
        let mut state = shared.lock();
        while !ready(self, &mut state) {
            state = match shared.wait_channel(state, self.0.id, wait, deadline) {
                Ok(state) => state,
                Err(state) => {
                    shared.release(state);
                    return Ok(());
                }
            };
        }
        shared.release(state);
        Ok(())
    }

    /// Ends the wait of [`exchange`](Self::exchange), now or when it is next begun.
    pub(crate) fn nudge(&self) {
        self.shared().with(|state| state.nudge(self.0.id));
    }

    pub(crate) fn reply_timeout(&self) -> Option<Duration> {
        self.0.handle.reply_timeout
    }
}
