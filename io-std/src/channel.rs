mod exit;
mod protocol;
mod requests;
#[cfg(feature = "server")]
mod serving;
mod stream;
mod streams;
mod watched;

use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use konko_core::UsageError;
use konko_core::WantReply;
use konko_core::channel::{self as core_channel, ChannelId, ChannelRequest, OpenKind};
use konko_core::wire::SshStr;
use zeroize::Zeroizing;

use crate::blocking::BlockingFd;
use crate::client::Handle;
use crate::error::{Error, ErrorKind};
use crate::shared::{Deadline, Guard, Patience, Shared};
use crate::state::{Chan, Direct, Inbox, Sink, Wait};

/// How much is sealed and written to the stream at a time: about a packet, so that it is still in the processor's
/// cache when the system copies it.
const SLICE: usize = 32 * 1024;

pub use exit::Exit;
pub(crate) use protocol::{Await, Exchange};
pub use requests::Asked;
pub use streams::Stderr;
pub use watched::Traffic;

/// A channel: standard input and output of a program, or a forwarded connection.
///
/// Reading gives standard output, [`stderr`](Self::stderr) the other stream; a stream that is not
/// read stops the peer once its window is full, so read both (from two threads) or use
/// [`Client::exec`](crate::Client::exec). Clones are handles to the same channel and can be used from
/// several threads. When the last one is dropped the channel is closed, without waiting.
#[derive(Clone)]
pub struct Channel(Arc<Inner>);

struct Inner {
    handle: Arc<Handle>,
    id: ChannelId,
    /// In microseconds; `u64::MAX`: none.
    timeout: AtomicU64,
}

impl Channel {
    pub(crate) fn open(handle: &Arc<Handle>, kind: OpenKind<'_>, sink: Sink) -> Result<Self, Error> {
        let shared = &handle.shared;
        shared.may_wait("the answer to the channel open")?;
        let deadline = Deadline::after(handle.reply_timeout);
        let id = shared.with(|state| {
            if let Some(error) = &state.ended {
                return Err(error.clone());
            }
            let id = state.end.conn_mut().open(kind).map_err(|e| state.error(ErrorKind::Usage(e)))?;
            state.channels.insert(id, Chan::new(sink));
            Ok(id)
        })?;
        let channel =
            Channel(Arc::new(Inner { handle: Arc::clone(handle), id, timeout: AtomicU64::new(u64::MAX) }));
        channel.set_timeout(handle.io_timeout);
        channel
            .await_control(deadline, "the answer to the channel open", |chan| chan.opened.take())?
            .map_err(|kind| shared.error(kind))?;
        Ok(channel)
    }

    /// The channel's identifier.
    pub fn id(&self) -> ChannelId {
        self.0.id
    }

    fn shared(&self) -> &Shared {
        &self.0.handle.shared
    }

    /// Reads and writes that take longer than this fail with `TimedOut`; `None`: they wait.
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        let micros = timeout.map_or(u64::MAX, |t| u64::try_from(t.as_micros()).unwrap_or(u64::MAX));
        self.0.timeout.store(micros, Ordering::Relaxed);
    }

    pub(crate) fn deadline(&self) -> Deadline {
        let micros = self.0.timeout.load(Ordering::Relaxed);
        Deadline::after((micros != u64::MAX).then(|| Duration::from_micros(micros)))
    }

    fn await_control<T>(
        &self,
        deadline: Deadline,
        awaited: &'static str,
        mut ready: impl FnMut(&mut Chan) -> Option<T>,
    ) -> Result<T, Error> {
        let shared = self.shared();
        let mut state = shared.lock();
        loop {
            let ended = state.ended.clone();
            if let Some(chan) = state.channels.get_mut(&self.0.id) {
                if let Some(found) = ready(chan) {
                    return Ok(found);
                }
                if chan.cancelled {
                    return Err(shared.error(ErrorKind::Cancelled));
                }
                if chan.closed {
                    return Err(shared.error(ErrorKind::ChannelClosed));
                }
            }
            if let Some(error) = ended {
                return Err(error);
            }
            state = match shared.wait_channel(state, self.0.id, Wait::Control, deadline) {
                Ok(state) => state,
                Err(state) => return Err(shared.timed_out(&state, deadline, awaited)),
            };
        }
    }

    // ---- the streams ----

    /// Standard error.
    pub fn stderr(&self) -> Stderr {
        Stderr(self.clone())
    }

    /// Reads what is there of standard output, without waiting; 0 at its end.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there now and more may come; otherwise why the connection ended.
    pub fn try_read(&self, to: &mut [u8]) -> io::Result<usize> {
        self.try_read_from(Wait::Data, to)
    }

    /// Says that nothing more will be written: the program's standard input ends. Reading goes on.
    ///
    /// # Errors
    /// Why the connection ended.
    pub fn send_eof(&self) -> Result<(), Error> {
        self.shared().with(|state| match state.end.conn_mut().send_eof(self.0.id) {
            Ok(()) | Err(UsageError::NoSuchChannel) => Ok(()),
            Err(e) => Err(state.error(usage(e))),
        })
    }

    /// Whether the peer still reads what is written here. When it does not, there is no point in
    /// reading more from wherever the input comes from.
    pub fn takes_input(&self) -> bool {
        let state = self.shared().lock();
        state.ended.is_none() && state.channels.get(&self.0.id).is_some_and(Chan::takes_input)
    }

    /// Writes standard output into `to` until it ends; how many bytes that were. Cheaper than
    /// reading, since whole batches change hands. The peer may send more only as `to` takes it.
    ///
    /// # Errors
    /// What `to` says, or why the connection ended.
    pub fn copy_to(&self, to: &mut (impl Write + ?Sized)) -> io::Result<u64> {
        self.copy(Wait::Data, to)
    }

    /// Writes standard output into a file descriptor until it ends; how many bytes that were. As
    /// [`copy_to`](Self::copy_to), but into pipes and sockets the bytes go straight from the buffer
    /// they were received in, where the system has a write that does not block. It may be one that
    /// does not block itself: then it is waited for, as with [`BlockingFd`].
    ///
    /// # Errors
    /// What the descriptor says, or why the connection ended.
    pub fn copy_to_fd(&self, to: impl AsFd) -> io::Result<u64> {
        self.copy_fd(Wait::Data, to.as_fd())
    }

    fn copy_fd(&self, wait: Wait, to: BorrowedFd<'_>) -> io::Result<u64> {
        let fd = to.try_clone_to_owned()?;
        let mut file = BlockingFd::new(fd.try_clone()?);
        if let Some(write) = crate::stream::write_nowait(fd) {
            let direct =
                Direct { write: Some(write), reader_writes: false, copier_writes: false, written: 0 };
            if let Some(chan) = self.shared().lock().channels.get_mut(&self.0.id) {
                chan.direct[wait as usize] = Some(direct);
            }
        }
        let copied = self.copy(wait, &mut file);
        let mut state = self.shared().lock();
        let direct = state.channels.get_mut(&self.0.id).and_then(|chan| chan.direct[wait as usize].take());
        Ok(copied? + direct.map_or(0, |direct| direct.written))
    }

    fn copy(&self, wait: Wait, to: &mut (impl Write + ?Sized)) -> io::Result<u64> {
        let mut batch = Zeroizing::default();
        let mut total = 0u64;
        loop {
            let mut state = self.await_data(wait)?;
            match inbox(&mut state, self.0.id, wait) {
                Some(inbox) if !inbox.is_empty() => inbox.swap(&mut batch),
                _ => return Ok(total),
            }
            self.copier_writes(&mut state, wait, true);
            drop(state);
            let written = to.write_all(&batch).and_then(|()| to.flush());
            let mut state = self.shared().lock();
            self.copier_writes(&mut state, wait, false);
            written?;
            total += batch.len() as u64;
            self.consumed(state, batch.len());
        }
    }

    fn copier_writes(&self, state: &mut Guard<'_>, wait: Wait, writes: bool) {
        let chan = state.channels.get_mut(&self.0.id);
        if let Some(direct) = chan.and_then(|chan| chan.direct[wait as usize].as_mut()) {
            direct.copier_writes = writes;
        }
    }

    fn read_from(&self, wait: Wait, to: &mut [u8]) -> io::Result<usize> {
        if to.is_empty() {
            return Ok(0);
        }
        let state = self.await_data(wait)?;
        Ok(self.read_now(state, wait, to))
    }

    /// Reads what is there, without waiting; 0 at the end.
    fn try_read_from(&self, wait: Wait, to: &mut [u8]) -> io::Result<usize> {
        let state = self.shared().lock();
        match self.readable(&state, wait)? {
            true => Ok(self.read_now(state, wait, to)),
            false => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn read_now<'a>(&'a self, mut state: Guard<'a>, wait: Wait, to: &mut [u8]) -> usize {
        let n = inbox(&mut state, self.0.id, wait).map_or(0, |inbox| inbox.read(to));
        if n > 0 {
            self.consumed(state, n);
        }
        n
    }

    /// Gives credit back.
    fn consumed<'a>(&'a self, mut state: Guard<'a>, n: usize) {
        let shared = self.shared();
        // A channel that is gone needs none.
        if state.end.conn_mut().consume(self.0.id, n).is_ok() {
            state.settle(shared.now());
            state = shared.flush(state, Patience::None);
        }
        shared.release(state);
    }

    /// Waits until a stream has data or has ended.
    fn await_data(&self, wait: Wait) -> io::Result<Guard<'_>> {
        let (shared, deadline) = (self.shared(), self.deadline());
        let mut state = shared.lock();
        while !self.readable(&state, wait)? {
            state = match shared.wait_channel(state, self.0.id, wait, deadline) {
                Ok(state) => state,
                Err(state) => return Err(shared.timed_out(&state, deadline, "data").into()),
            };
        }
        Ok(state)
    }

    /// Whether a stream has data or has ended.
    fn readable(&self, state: &Guard<'_>, wait: Wait) -> io::Result<bool> {
        let Some(chan) = state.channels.get(&self.0.id) else { return Ok(true) };
        let holds = match &chan.sink {
            Sink::Inbox(inboxes) => !inboxes[wait as usize].is_empty(),
            Sink::Collect { .. } => false,
        };
        let reader_writes =
            chan.direct.get(wait as usize).and_then(Option::as_ref).is_some_and(|d| d.reader_writes);
        if chan.cancelled && !reader_writes {
            return Err(self.shared().error(ErrorKind::Cancelled).into());
        }
        if holds || (!reader_writes && (chan.eof || chan.closed || chan.refused.is_some())) {
            return Ok(true);
        }
        match state.ended.as_ref().filter(|_| !reader_writes) {
            // Devices that hang up when the program has ended.
            Some(_) if chan.exit.is_some() => Ok(true),
            Some(error) => Err(error.clone().into()),
            None => Ok(false),
        }
    }

    fn write_some(&self, stream: core_channel::DataStream, data: &[u8]) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        let (shared, deadline) = (self.shared(), self.deadline());
        let mut state = shared.lock();
        loop {
            let told;
            (state, told) = match self.offer(state, stream, data, shared.patience(deadline))? {
                (state, Ok(n)) => {
                    shared.release(state);
                    return Ok(n);
                }
                (state, Err(told)) => (state, told),
            };
            // The lock may have been released, and another writer may have taken the room meanwhile.
            let unread = |eow| eow && stream == core_channel::DataStream::Data;
            let chan = state.channels.get(&self.0.id);
            let over = |c: &Chan| c.closed || c.shut || c.refused.is_some() || unread(c.eow);
            if chan.is_some_and(|c| c.writable != told || over(c)) || state.ended.is_some() {
                continue;
            }
            state = match shared.wait_channel(state, self.0.id, Wait::Write, deadline) {
                Ok(state) => state,
                Err(state) => return Err(shared.timed_out(&state, deadline, "room to write").into()),
            };
        }
    }

    /// Writes what the channel takes of `data`; if that is nothing, how often there had been room before.
    fn offer<'a>(
        &'a self,
        mut state: Guard<'a>,
        stream: core_channel::DataStream,
        data: &[u8],
        patience: Patience,
    ) -> io::Result<(Guard<'a>, Result<usize, u64>)> {
        let shared = self.shared();
        let data = &data[..data.len().min(SLICE)];
        if let Some(error) = &state.ended {
            return Err(error.clone().into());
        }
        let told = match state.channels.get(&self.0.id) {
            Some(chan) if chan.cancelled => return Err(shared.error(ErrorKind::Cancelled).into()),
            // Nobody reads the data any more; that says nothing of standard error.
            Some(chan) if chan.eow && stream == core_channel::DataStream::Data => {
                return Err(shared.error(ErrorKind::ChannelClosed).into());
            }
            Some(chan) if !chan.closed && !chan.shut && chan.refused.is_none() => chan.writable,
            _ => return Err(shared.error(ErrorKind::ChannelClosed).into()),
        };
        let written = state.end.conn_mut().write(self.0.id, stream, data);
        let n = written.map_err(|e| shared.error(usage(e)))?;
        if let Some(chan) = state.channels.get(&self.0.id) {
            chan.traffic.count_sent(n);
        }
        state = shared.flush(state, patience);
        Ok((state, if n > 0 { Ok(n) } else { Err(told) }))
    }

    // ---- the end ----

    /// How the program ended, once the channel is closed. Data that nobody reads can keep that
    /// from happening.
    ///
    /// # Errors
    /// `RequestRefused` if the server would not start it; why the connection ended, unless the program had ended
    /// before; `Timeout` after the time set
    /// with [`set_timeout`](Self::set_timeout).
    pub fn wait(&self) -> Result<Exit, Error> {
        self.wait_until(self.deadline())
    }

    pub(crate) fn wait_until(&self, deadline: Deadline) -> Result<Exit, Error> {
        let shared = self.shared();
        let mut state = shared.lock();
        loop {
            let Some(chan) = state.channels.get(&self.0.id) else { return Ok(Exit::Missing) };
            if chan.cancelled {
                return Err(shared.error(ErrorKind::Cancelled));
            }
            if let Some(what) = chan.refused {
                return Err(shared.error(ErrorKind::RequestRefused(what)));
            }
            let over = chan.closed || (state.ended.is_some() && chan.exit.is_some());
            if over {
                return Ok(chan.exit.clone().unwrap_or(Exit::Missing));
            }
            if let Some(error) = &state.ended {
                return Err(error.clone());
            }
            state = match shared.wait_channel(state, self.0.id, Wait::Control, deadline) {
                Ok(state) => state,
                Err(state) => return Err(shared.timed_out(&state, deadline, "the end of the program")),
            };
        }
    }

    /// Ends the channel as the program behind it ended, on the side of the server: sends the exit
    /// (RFC 4254 §6.10), says that no more data follows, and closes. Nothing is waited for, and what
    /// was written before goes out first.
    ///
    /// # Errors
    /// Why the connection ended; `ChannelClosed` if the peer has closed the channel.
    pub fn exit(&self, exit: &Exit) -> Result<(), Error> {
        let signal;
        let request = match exit {
            Exit::Status(status) => Some(ChannelRequest::ExitStatus(*status)),
            Exit::Signal { signal: name, core_dumped, message } => {
                signal = (SshStr::new(name.as_bytes()), SshStr::new(message.as_bytes()));
                let (signal, message) = signal;
                Some(ChannelRequest::ExitSignal { signal, core_dumped: *core_dumped, message })
            }
            Exit::Missing => None,
        };
        // All at once: one write, and the client wakes up once.
        self.shared().with(|state| {
            if let Some(error) = &state.ended {
                return Err(error.clone());
            }
            let sent = request
                .map_or(Ok(()), |request| state.end.conn_mut().request(self.0.id, request, WantReply::No));
            let _ = state.end.conn_mut().send_eof(self.0.id);
            state.close_channel(self.0.id);
            sent.map_err(|e| state.error(usage(e)))
        })
    }

    /// Closes the channel without waiting. Dropping the last handle does the same.
    pub fn close(&self) {
        self.shared().with(|state| state.close_channel(self.0.id));
    }

    /// Takes what a collecting channel has collected.
    pub(crate) fn collected(&self) -> ([Vec<u8>; 2], bool) {
        let mut state = self.shared().lock();
        match state.channels.get_mut(&self.0.id).map(|chan| &mut chan.sink) {
            Some(Sink::Collect { bytes, truncated, .. }) => {
                (bytes.each_mut().map(|bytes| std::mem::take(&mut **bytes)), *truncated)
            }
            _ => Default::default(),
        }
    }
}

fn usage(error: UsageError) -> ErrorKind {
    match error {
        UsageError::NoSuchChannel | UsageError::ChannelState => ErrorKind::ChannelClosed,
        other => ErrorKind::Usage(other),
    }
}

fn inbox<'s>(state: &'s mut Guard<'_>, id: ChannelId, wait: Wait) -> Option<&'s mut Inbox> {
    match &mut state.channels.get_mut(&id)?.sink {
        Sink::Inbox(inboxes) => Some(&mut inboxes[wait as usize]),
        Sink::Collect { .. } => None,
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let shared = &self.handle.shared;
        shared.with(|state| {
            let Some(chan) = state.channels.get_mut(&self.id) else { return };
            let opening = chan.opened.is_none() && !chan.closed && state.ended.is_none();
            chan.abandoned = true;
            // One that is still being opened is closed when the answer comes.
            let gone = state.end.conn_mut().close_channel(self.id).is_err();
            if gone && !opening {
                state.channels.remove(&self.id);
            }
            // It may have been the last in use.
            state.patrol(shared.now());
        });
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({} on {})", self.0.id, self.shared().peer)
    }
}
