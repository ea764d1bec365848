//! One connection and its reader thread.
//!
//! The state is behind one lock, which is never held across a system call. The reader thread reads
//! without it, then takes it to poll. Whoever puts output into the connection also writes it, unless
//! another thread is at it already: that one looks for more before it stops. The reader thread
//! itself never blocks in a write; what the stream does not take at once it sends when the stream
//! is ready again.

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use konko_core::error::Phase;
use konko_core::msg::DisconnectCode;
use konko_core::{RxBuf, Time, TxBuf};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::end::{Ask, End};
use crate::error::{Error, ErrorKind};
use crate::notice::Notice;
use crate::state::{Plan, State, Stepped, Wait, Waits};
use crate::stream::Stream;

/// How long the last bytes may take when the connection has ended.
const LINGER: Duration = Duration::from_secs(2);

/// How often a writer that waits for the stream says so.
const STALL_STEP: Duration = Duration::from_secs(1);

pub(crate) type Observer = Arc<dyn Fn(Phase, &Notice) + Send + Sync>;
pub(crate) type Guard<'a, E = dyn End> = MutexGuard<'a, State<E>>;

/// One that holds a connection of one role is also one of any role, [`Shared<dyn End>`](End).
pub(crate) struct Shared<E: End + ?Sized = dyn End> {
    start: Instant,
    stream: Box<dyn Stream>,
    /// For what concerns no single channel.
    general: Condvar,
    /// The thread that drives the connection.
    driver: OnceLock<ThreadId>,
    observer: Option<Observer>,
    pub(crate) peer: Arc<str>,
    state: Mutex<State<E>>,
}

/// Until when a call may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Option<Instant>,
    after: Duration,
}

impl Deadline {
    pub(crate) fn after(timeout: Option<Duration>) -> Self {
        Deadline {
            at: timeout.and_then(|t| Instant::now().checked_add(t)),
            after: timeout.unwrap_or(Duration::MAX),
        }
    }

    /// Time a person took does not count.
    pub(crate) fn extend(&mut self, by: Duration) {
        self.at = self.at.and_then(|at| at.checked_add(by));
    }

    /// What is left; `None` without a limit.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.at.map(|at| at.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn passed(&self) -> bool {
        self.left() == Some(Duration::ZERO)
    }
}

/// How long a flush may wait for the stream.
#[derive(Clone, Copy)]
pub(crate) enum Patience {
    /// Not at all; the reader thread goes on with the rest.
    None,
    Until(Deadline),
}

impl<E: End + 'static> Shared<E> {
    /// A connection that nobody drives yet: a thread has to [`run`](Self::run) it.
    pub(crate) fn new(
        end: impl FnOnce(Time) -> E,
        stream: Box<dyn Stream>,
        peer: Arc<str>,
        observer: Option<Observer>,
    ) -> Arc<Self> {
        let state = State::new(end(Time::ZERO), Arc::clone(&peer), observer.is_some());
        Arc::new(Shared {
            start: Instant::now(),
            stream,
            general: Condvar::new(),
            driver: OnceLock::new(),
            observer,
            peer,
            state: Mutex::new(state),
        })
    }

    /// Starts a reader thread for a connection that asks nothing.
    pub(crate) fn start(self: &Arc<Self>) -> Result<(), Error> {
        let reader = Arc::clone(self);
        std::thread::Builder::new()
            .name("konko reader".into())
            .spawn(move || reader.run(&mut |_| {}))
            .map_err(|e| self.error(ErrorKind::Local(format!("no thread could be started: {e}"))))?;
        Ok(())
    }
}

impl<E: End + ?Sized> Shared<E> {
    pub(crate) fn error(&self, kind: ErrorKind) -> Error {
        Error::new(kind, &self.peer)
    }

    pub(crate) fn lock(&self) -> Guard<'_, E> {
        // A thread that panics holding the lock leaves the state as consistent as any other.
        self.state.lock()
    }

    pub(crate) fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    pub(crate) fn notice(&self, notice: Notice) {
        if let Some(observer) = &self.observer {
            let phase = self.lock().end.conn().phase();
            observer(phase, &notice);
        }
    }

    /// Does something to the state, lets the connection act on it and sends what comes of it.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut State<E>) -> T) -> T {
        self.with_patience(Patience::None, act)
    }

    pub(crate) fn with_patience<T>(&self, patience: Patience, act: impl FnOnce(&mut State<E>) -> T) -> T {
        let mut state = self.lock();
        let result = act(&mut state);
        state.settle(self.now());
        self.release(self.flush(state, patience));
        result
    }

    /// Says goodbye, without waiting.
    pub(crate) fn disconnect(&self, why: &str) {
        self.with(|state| state.end.conn_mut().disconnect(DisconnectCode::BY_APPLICATION, why));
    }

    /// Ends the connection at once, whatever it was doing.
    #[cfg(feature = "server")]
    pub(crate) fn abandon(&self, why: &str) {
        self.disconnect(why);
        self.with(|state| {
            let error = self.error(ErrorKind::Local(why.to_owned()));
            state.over(error);
        });
        self.linger();
        self.stream.shutdown();
    }

    /// Ends the stream under the connection.
    #[cfg(feature = "server")]
    pub(crate) fn cut(&self) {
        self.stream.shutdown();
    }

    /// Whether this is the thread that drives the connection, or one that this runs inside: it must not wait for
    /// what it brings itself.
    pub(crate) fn is_driver(&self) -> bool {
        self.driver.get() == Some(&std::thread::current().id()) || !self.stream.may_wait()
    }

    /// Before something is sent whose answer is waited for.
    ///
    /// # Errors
    /// `WouldDeadlock` on the thread that drives the connection.
    pub(crate) fn may_wait(&self, awaited: &'static str) -> Result<(), Error> {
        if self.is_driver() { Err(self.error(ErrorKind::WouldDeadlock(awaited))) } else { Ok(()) }
    }

    /// Waits until `ready` finds something. For what concerns no single channel.
    pub(crate) fn wait<T>(
        &self,
        deadline: Deadline,
        awaited: &'static str,
        mut ready: impl FnMut(&mut State<E>) -> Option<T>,
    ) -> Result<T, Error> {
        let mut state = self.lock();
        loop {
            if let Some(found) = ready(&mut state) {
                self.release(state);
                return Ok(found);
            }
            if let Some(error) = &state.ended {
                return Err(error.clone());
            }
            if deadline.passed() || self.is_driver() {
                return Err(self.timed_out(&state, deadline, awaited));
            }
            state.waiters += 1;
            state = wait_on(&self.general, state, deadline);
            state.waiters -= 1;
        }
    }

    /// Why there is no waiting (any more).
    pub(crate) fn timed_out(&self, state: &State<E>, deadline: Deadline, awaited: &'static str) -> Error {
        if let Err(error) = self.may_wait(awaited) {
            return error;
        }
        let phase = state.end.conn().phase();
        self.error(ErrorKind::Timeout { awaited, after: deadline.after, phase })
    }

    /// Waits for something on a channel. `Err` when the deadline has passed, and on the thread that
    /// drives the connection: see [`timed_out`](Self::timed_out).
    pub(crate) fn wait_channel<'a>(
        &'a self,
        mut state: Guard<'a, E>,
        id: konko_core::channel::ChannelId,
        wait: Wait,
        deadline: Deadline,
    ) -> Result<Guard<'a, E>, Guard<'a, E>> {
        if deadline.passed() || self.is_driver() {
            return Err(state);
        }
        let Some(chan) = state.channels.get_mut(&id) else { return Ok(state) };
        chan.will_wait(wait);
        let waits: Arc<Waits> = Arc::clone(&chan.waits);
        Ok(wait_on(waits.of(wait), state, deadline))
    }

    /// Writes what is to be sent, unless another thread is doing so.
    pub(crate) fn flush<'a>(&'a self, mut state: Guard<'a, E>, patience: Patience) -> Guard<'a, E> {
        if state.flushing {
            return state;
        }
        loop {
            if state.unsent.is_empty() {
                let State { end, unsent, .. } = &mut *state;
                end.conn_mut().tx().swap(unsent);
                if unsent.is_empty() {
                    return state;
                }
                // There is room again: writers that were told to wait may go on.
                state.settle(self.now());
            }
            let mut out = std::mem::take(&mut state.unsent);
            state.flushing = true;
            self.release(state);
            let mut moved = false;
            let result = self.push(&mut out, patience, &mut moved);
            state = self.lock();
            state.flushing = false;
            // The reader thread waits for the last words before it closes the stream.
            state.wake_all |= state.ended.is_some();
            if state.broken || result.is_err() {
                // What the peer said before it went away is still to be read; that ends the
                // connection with the better error.
                state.broken = true;
                let all = out.len();
                out.consume(all);
            }
            state.unsent = out;
            let left = !state.unsent.is_empty();
            state.watch.wrote(self.now(), moved, left);
            if !state.unsent.is_empty() {
                return state;
            }
        }
    }

    /// How long a writer may wait for the stream.
    pub(crate) fn patience(&self, deadline: Deadline) -> Patience {
        if self.is_driver() { Patience::None } else { Patience::Until(deadline) }
    }

    fn push(&self, out: &mut TxBuf, patience: Patience, moved: &mut bool) -> io::Result<()> {
        let mut blocked: Option<Instant> = None;
        while !out.is_empty() {
            match self.stream.try_write(out.pending()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    out.consume(n);
                    *moved = true;
                    blocked = None;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => match patience {
                    Patience::Until(deadline) if !deadline.passed() => {
                        let since = *blocked.get_or_insert_with(Instant::now);
                        if since.elapsed() >= STALL_STEP {
                            let mut state = self.lock();
                            state.watch.wrote(self.now(), std::mem::take(moved), true);
                            self.release(state);
                        }
                        let most = deadline.left().map_or(STALL_STEP, |left| left.min(STALL_STEP));
                        self.stream.wait_writable(Some(most))?;
                    }
                    _ => return Ok(()),
                },
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Releases the lock and tells everybody what they wait for.
    pub(crate) fn release(&self, mut state: Guard<'_, E>) {
        let wakes = std::mem::take(&mut state.wakes);
        let notices = std::mem::take(&mut state.notices);
        // A condition variable makes a system call even if nobody waits.
        let all = std::mem::take(&mut state.wake_all) && state.waiters > 0;
        let nudge = state.takes_nudge();
        drop(state);
        if nudge {
            self.stream.wake();
        }
        if all {
            self.general.notify_all();
        }
        for (waits, wait) in wakes {
            waits.of(wait).notify_all();
        }
        if let Some(observer) = &self.observer {
            notices.iter().for_each(|(phase, notice)| observer(*phase, notice));
        }
    }

    // ---- the reader thread ----

    /// Drives the connection until it has ended. What only the application can decide goes to
    /// `ask`, without the lock.
    pub(crate) fn run(&self, ask: &mut dyn FnMut(Ask)) {
        let _ = self.driver.set(std::thread::current().id());
        let mut rx = RxBuf::new();
        let mut busy = false;
        loop {
            let mut state = self.lock();
            state.parked = None;
            state.unblocked = false;
            state = self.pump(state, &mut rx, ask);
            state = self.flush(state, Patience::None);
            state.patrol(self.now());
            if state.ended.is_some() {
                self.release(state);
                break;
            }
            if state.unblocked || !state.asks.is_empty() {
                // What waits in the buffer can go on.
                self.release(state);
                continue;
            }
            let plan = state.plan();
            state.parked = Some(plan);
            self.release(state);
            match self.receive(&mut rx, plan, busy) {
                Ok(full) => busy = full,
                // What is no SSH server often resets the connection, since it has not read what we
                // said: what it said itself is worth more than that.
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset && !rx.is_empty() => {
                    rx.eof();
                    busy = false;
                }
                Err(e) => {
                    let mut state = self.lock();
                    let error = self.error(ErrorKind::Io(Arc::new(e), state.end.conn().phase()));
                    state.over(error);
                    self.release(state);
                    break;
                }
            }
        }
        self.linger();
        self.stream.shutdown();
    }

    /// Polls until nothing is left to do; data that goes to a file descriptor is written without the lock.
    fn pump<'a>(&'a self, mut state: Guard<'a, E>, rx: &mut RxBuf, ask: &mut dyn FnMut(Ask)) -> Guard<'a, E> {
        loop {
            while let Some(question) = state.asks.pop_front() {
                self.release(state);
                ask(question);
                state = self.lock();
            }
            match state.step(self.now(), rx) {
                Stepped::Event => {}
                Stepped::Blocked => return state,
                Stepped::Job(job) => {
                    self.release(state);
                    let done = crate::screening::run(*job);
                    state = self.lock();
                    state.finish_job(done);
                }
                Stepped::Write { to, id, stream, data } => {
                    self.release(state);
                    let result = to(data);
                    state = self.lock();
                    state.written(id, stream, data, result);
                }
            }
        }
    }

    /// Waits, unless there is much to read anyway, then reads. Whether all the room was filled.
    fn receive(&self, rx: &mut RxBuf, plan: Plan, busy: bool) -> io::Result<bool> {
        if !busy || !plan.read || plan.write {
            let timeout = plan.until.map(|at| at.since(self.now()));
            self.stream.wait(plan.read, plan.write, timeout)?;
        }
        if !plan.read {
            return Ok(false);
        }
        let spare = rx.spare();
        let room = spare.len();
        match self.stream.try_read(spare) {
            Ok(0) => {
                rx.eof();
                Ok(false)
            }
            Ok(n) => {
                rx.filled(n);
                Ok(n == room)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Sends the last words.
    fn linger(&self) {
        let deadline = Deadline::after(Some(LINGER));
        let mut state = self.lock();
        // Who is writing may have them in hand.
        while state.flushing && !deadline.passed() {
            state = wait_on(&self.general, state, deadline);
        }
        self.release(self.flush(state, Patience::Until(deadline)));
    }
}

fn wait_on<'a, E: End + ?Sized>(
    condvar: &Condvar,
    mut state: Guard<'a, E>,
    deadline: Deadline,
) -> Guard<'a, E> {
    match deadline.left() {
        None => condvar.wait(&mut state),
        Some(left) => {
            condvar.wait_for(&mut state, left);
        }
    }
    state
}
