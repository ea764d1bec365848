//! One SFTP session, shared by handles, files and directories. There is no thread: a caller that waits for its
//! answer takes the machine and drives it for everybody; the others wait until they are told, or until it is
//! their turn to drive.

use std::fs;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

use konko_core::sftp::ClientConfig;
use konko_core::sftp::session::{self, Remote};
use konko_core::sftp::transfer::TransferConfig;
use konko_core::{Time, TxBuf};

use super::client_link::{Batch, Link};
use super::local;
use crate::channel::{Await, Exchange};
use crate::shared::Deadline;

/// The session with its bytes. Whoever drives it owns it meanwhile, so no lock is held across a system call.
struct Machine {
    session: session::Session<fs::File>,
    batch: Batch,
    out: TxBuf,
}

struct State {
    /// Absent while a thread drives it.
    machine: Option<Box<Machine>>,
    sleepers: Vec<Arc<Waiter>>,
    ended: bool,
}

pub(crate) struct Session {
    link: Box<dyn Link>,
    start: Instant,
    state: Mutex<State>,
}

/// A thread that waits for an answer.
struct Waiter {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Waiter {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// Tells whoever drives that there is more to do.
struct Poke(Weak<Session>);

impl Wake for Poke {
    fn wake(self: Arc<Self>) {
        if let Some(session) = self.0.upgrade()
            && session.lock().machine.is_none()
        {
            session.link.wake();
        }
    }
}

/// Runs a procedure on this thread, and drives the session that it waits for, or waits until another thread has.
/// `between` is called after each turn.
pub(crate) fn block_on<T>(
    sessions: &[(&Session, &Remote)],
    mut between: impl FnMut(&Waker),
    procedure: impl Future<Output = T>,
) -> T {
    let waiter = Arc::new(Waiter { thread: std::thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&waiter));
    let mut procedure = pin!(procedure);
    let result = loop {
        between(&waker);
        if let Poll::Ready(result) = procedure.as_mut().poll(&mut Context::from_waker(&waker)) {
            break result;
        }
        let waits = sessions.iter().find(|(_, remote)| remote.is_waiting()).or(sessions.first());
        if let Some((session, _)) = waits {
            session.wait(&waiter);
        }
    };
    sessions.iter().for_each(|(session, _)| session.leave());
    between(&waker);
    result
}

impl Session {
    pub(crate) fn new(
        link: Box<dyn Link>,
        config: ClientConfig,
        transfers: TransferConfig,
    ) -> (Arc<Self>, Remote) {
        let mut session = session::Session::new(config, transfers);
        let remote = session.remote();
        let shared = Arc::new_cyclic(|this| {
            session.set_waker(Waker::from(Arc::new(Poke(Weak::clone(this)))));
            let machine = Some(Box::new(Machine { session, batch: Batch::default(), out: TxBuf::new() }));
            let state = State { machine, sleepers: Vec::new(), ended: false };
            Session { link, start: Instant::now(), state: Mutex::new(state) }
        });
        (shared, remote)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.lock().ended
    }

    /// Ends the session for everybody.
    pub(crate) fn close(&self) {
        self.link.close();
        self.link.wake();
    }

    /// Ends the wait of whoever drives.
    pub(crate) fn nudge(&self) {
        self.link.wake();
    }

    /// Waits for something to happen, and drives meanwhile if nobody else does.
    fn wait(&self, waiter: &Arc<Waiter>) {
        let mut state = self.lock();
        if waiter.woken.swap(false, Ordering::SeqCst) {
            return;
        }
        if let Some(machine) = state.machine.take() {
            drop(state);
            return self.drive(machine, Some(waiter));
        }
        state.sleepers.push(Arc::clone(waiter));
        drop(state);
        std::thread::park();
        self.lock().sleepers.retain(|sleeper| !Arc::ptr_eq(sleeper, waiter));
        waiter.woken.store(false, Ordering::SeqCst);
    }

    /// The caller goes: what it leaves behind is sent, and somebody else drives.
    pub(crate) fn leave(&self) {
        let mut state = self.lock();
        if let Some(mut machine) = state.machine.take() {
            if machine.session.is_busy() || !machine.out.is_empty() {
                drop(state);
                self.drive(machine, None);
                state = self.lock();
            } else {
                state.machine = Some(machine);
            }
            if let Some(sleeper) = state.sleepers.pop() {
                sleeper.thread.unpark();
            }
        }
    }

    /// One turn. With a `waiter`: waits until something comes, unless it is woken; else only sends.
    fn drive(&self, mut machine: Box<Machine>, waiter: Option<&Arc<Waiter>>) {
        if machine.session.deadline().is_some_and(|at| at <= self.now()) {
            // Nobody looked for a while: what came meanwhile shows that the server did not stall.
            machine.exchange(&*self.link, Await::Nothing, || self.now());
        }
        let more = machine.pump(self.now());
        let wait = match waiter {
            Some(waiter) if !waiter.woken.load(Ordering::SeqCst) => {
                let left = machine.session.deadline().map(|at| at.since(self.now()));
                let deadline = Deadline::after(left);
                if more { Await::Output(deadline) } else { Await::Input(deadline) }
            }
            _ => Await::Nothing,
        };
        if machine.session.ended().is_none() {
            machine.exchange(&*self.link, wait, || self.now());
        }
        local::settle(&mut machine.session, self.now());
        let mut state = self.lock();
        state.ended = machine.session.ended().is_some();
        state.machine = Some(machine);
    }
}

impl Machine {
    /// Fills the output. True: there is more to do as soon as it is taken.
    fn pump(&mut self, now: Time) -> bool {
        loop {
            local::settle(&mut self.session, now);
            let full = self.session.is_full();
            if !self.out.is_empty() || self.session.tx().is_empty() {
                return full;
            }
            self.session.tx().swap(&mut self.out);
            if full {
                return true;
            }
            // What did not fit before may fit now.
        }
    }

    /// Sends what can be sent, and deals with what came. The clock is read when that is here: how long an answer took,
    /// the wait for it included, is what the window opens by.
    fn exchange(&mut self, link: &dyn Link, wait: Await, now: impl FnOnce() -> Time) {
        let result = link.exchange(&mut self.out, &mut self.batch, wait);
        let now = now();
        self.session.stderr(&self.batch.stderr);
        self.batch.stderr.clear();
        local::receive(&mut self.session, self.batch.bytes(), now);
        self.batch.clear();
        match result {
            Ok(Exchange::Went) => {}
            Ok(Exchange::Over) => self.session.eof(),
            Err(error) => self.session.lost(error),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.link.close();
    }
}
