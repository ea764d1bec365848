//! One SFTP session, shared by handles, files and directories. There is no thread: a caller that waits for its
//! answer takes the machine and drives it for everybody; the others wait until they are told, or until it is
//! their turn to drive.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use konko_core::Time;
use konko_core::sftp::transfer::TransferConfig;
use konko_core::sftp::{Client, ClientConfig, ExtensionSet, Limits, RequestId, UsageError};

use super::client_error::{Error, ErrorKind};
use super::client_link::Link;
use super::client_machine::{Answer, CallId, Machine, Side};
use crate::shared::Deadline;

type Order = Box<dyn FnOnce(&mut Machine) + Send>;
type Guard<'a> = MutexGuard<'a, State>;

/// What the server said when the session began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) extensions: ExtensionSet,
    pub(crate) announced: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) limits: Limits,
}

#[derive(Default)]
struct Pending {
    answers: VecDeque<Answer>,
    /// Requests and transfers that were not answered.
    outstanding: usize,
    wakes: Arc<Condvar>,
    /// A thread sleeps for it.
    sleeping: bool,
}

struct State {
    /// Absent while a thread drives it.
    machine: Option<Box<Machine>>,
    orders: Vec<Order>,
    calls: BTreeMap<CallId, Pending>,
    next: CallId,
    facts: Option<Facts>,
    ended: Option<Error>,
}

pub(crate) struct Session {
    link: Box<dyn Link>,
    start: Instant,
    state: Mutex<State>,
}

impl Session {
    pub(crate) fn new(link: Box<dyn Link>, config: ClientConfig, transfers: TransferConfig) -> Arc<Self> {
        let machine = Some(Box::new(Machine::new(config, transfers)));
        Arc::new(Session {
            link,
            start: Instant::now(),
            state: Mutex::new(State {
                machine,
                orders: Vec::new(),
                calls: BTreeMap::new(),
                next: 0,
                facts: None,
                ended: None,
            }),
        })
    }

    fn lock(&self) -> Guard<'_> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    /// Waits until the server has said what it is.
    pub(crate) fn ready(self: &Arc<Self>, timeout: Option<Duration>) -> Result<(), Error> {
        let call = self.call();
        call.wait_for(Patience::Total(Deadline::after(timeout)), |_, facts| facts.map(|_| ()))
    }

    /// A place for answers.
    pub(crate) fn call(self: &Arc<Self>) -> Call {
        let mut state = self.lock();
        state.next += 1;
        let id = state.next;
        state.calls.insert(id, Pending::default());
        Call { session: Arc::clone(self), id }
    }

    /// Has something done by whoever drives next, and the output of it sent without waiting.
    pub(crate) fn poke(&self, order: impl FnOnce(&mut Machine) + Send + 'static) {
        let mut state = self.lock();
        state.orders.push(Box::new(order));
        match state.machine.take() {
            Some(machine) => {
                let mut state = self.drive(state, machine, None);
                self.hand_over(&mut state);
            }
            None => {
                drop(state);
                self.link.wake();
            }
        }
    }

    pub(crate) fn facts(&self) -> Facts {
        self.lock().facts.clone().unwrap_or_default()
    }

    pub(crate) fn ended(&self) -> Option<Error> {
        self.lock().ended.clone()
    }

    /// Ends the session for everybody.
    pub(crate) fn close(&self) {
        self.link.close();
        self.link.wake();
    }

    /// One turn. `block`: wait until something comes, but not longer; else only send.
    fn drive<'a>(
        &'a self,
        mut state: Guard<'a>,
        mut machine: Box<Machine>,
        block: Option<Deadline>,
    ) -> Guard<'a> {
        let orders = std::mem::take(&mut state.orders);
        drop(state);
        for order in orders {
            order(&mut machine);
        }
        match block {
            None => machine.push(&*self.link, self.now()),
            Some(deadline) => {
                let stall = machine.deadline().map(|at| at.since(self.now()));
                let deadline = deadline.at_most(stall);
                machine.turn(&*self.link, &|| self.now(), Some(deadline));
            }
        }
        let mut state = self.lock();
        if state.facts.is_none() && machine.client.is_ready() {
            state.facts = Some(Facts::default());
        }
        if let Some(facts) = &mut state.facts
            && (facts.announced.is_empty() || facts.limits != machine.client.limits())
        {
            facts.extensions = machine.client.extensions();
            facts.limits = machine.client.limits();
            facts.announced =
                machine.client.announced().map(|(name, data)| (name.to_vec(), data.to_vec())).collect();
        }
        for (call, answer) in machine.done.drain(..) {
            if let Some(pending) = state.calls.get_mut(&call) {
                if matches!(answer, Answer::Touched)
                    && matches!(pending.answers.back(), Some(Answer::Touched))
                {
                    continue;
                }
                if !matches!(answer, Answer::Touched) {
                    pending.outstanding = pending.outstanding.saturating_sub(1);
                }
                pending.answers.push_back(answer);
                if std::mem::take(&mut pending.sleeping) {
                    pending.wakes.notify_all();
                }
            }
        }
        if state.ended.is_none() && machine.ended.is_some() {
            state.ended.clone_from(&machine.ended);
            self.wake_all(&mut state);
        }
        state.machine = Some(machine);
        state
    }

    /// Wakes a sleeping thread, so that it drives.
    fn hand_over(&self, state: &mut State) {
        if let Some(pending) = state.calls.values_mut().find(|pending| pending.sleeping) {
            pending.sleeping = false;
            pending.wakes.notify_all();
        }
    }

    fn wake_all(&self, state: &mut State) {
        for pending in state.calls.values_mut() {
            pending.sleeping = false;
            pending.wakes.notify_all();
        }
    }

    /// Wakes the threads that wait for a call, to look again at what they wait for.
    pub(crate) fn nudge(&self, call: CallId) {
        let mut state = self.lock();
        if let Some(pending) = state.calls.get_mut(&call) {
            pending.answers.push_back(Answer::Touched);
            pending.sleeping = false;
            pending.wakes.notify_all();
        }
        drop(state);
        self.link.wake();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.link.close();
    }
}

/// How long a call waits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// Until then.
    Total(Deadline),
    /// As long as something comes at least so often.
    Progress(Option<Duration>),
}

/// Where the answers to requests and transfers of one caller go. Dropped, nobody wants them any more.
pub(crate) struct Call {
    session: Arc<Session>,
    id: CallId,
}

impl Call {
    pub(crate) fn id(&self) -> CallId {
        self.id
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Has something done by whoever drives next.
    pub(crate) fn order(&self, order: impl FnOnce(&mut Machine) + Send + 'static) {
        let mut state = self.session.lock();
        state.orders.push(Box::new(order));
        let driven = state.machine.is_none();
        drop(state);
        if driven {
            self.session.link.wake();
        }
    }

    /// Sends a request.
    pub(crate) fn request(
        &self,
        send: impl FnMut(&mut Client) -> Result<RequestId, UsageError> + Send + 'static,
    ) {
        let id = self.id;
        self.counted(move |machine| machine.request(id, Box::new(send)));
    }

    /// Starts a transfer; `number` comes back with its result.
    pub(crate) fn start(
        &self,
        number: usize,
        start: impl FnOnce(&mut konko_core::sftp::transfer::Transfers) -> konko_core::sftp::transfer::JobId
        + Send
        + 'static,
        side: Box<dyn Side>,
    ) {
        let id = self.id;
        self.counted(move |machine| machine.start(id, number, Box::new(start), side));
    }

    fn counted(&self, order: impl FnOnce(&mut Machine) + Send + 'static) {
        if let Some(pending) = self.session.lock().calls.get_mut(&self.id) {
            pending.outstanding += 1;
        }
        self.order(order);
    }

    /// Takes the next answer.
    pub(crate) fn next(&self, patience: Patience) -> Result<Answer, Error> {
        self.wait_for(patience, |answers, _| answers.pop_front())
    }

    /// Waits until `ready` finds something. Answers that came before an end still count.
    pub(crate) fn wait_for<T>(
        &self,
        patience: Patience,
        mut ready: impl FnMut(&mut VecDeque<Answer>, Option<&Facts>) -> Option<T>,
    ) -> Result<T, Error> {
        let session = &self.session;
        let mut deadline = match patience {
            Patience::Total(deadline) => deadline,
            Patience::Progress(timeout) => Deadline::after(timeout),
        };
        let mut state = session.lock();
        loop {
            let State { calls, facts, .. } = &mut *state;
            if let Some(pending) = calls.get_mut(&self.id)
                && let Some(found) = ready(&mut pending.answers, facts.as_ref())
            {
                self.leave(state);
                return Ok(found);
            }
            if let Some(error) = &state.ended {
                let error = error.clone();
                self.leave(state);
                return Err(error);
            }
            if deadline.passed() {
                self.leave(state);
                return Err(Error::new(ErrorKind::Timeout(deadline.length())));
            }
            match state.machine.take() {
                Some(machine) => {
                    state = session.drive(state, machine, Some(deadline));
                    let moved = state.machine.as_ref().is_some_and(|machine| machine.moved);
                    if moved && let Patience::Progress(timeout) = patience {
                        deadline = Deadline::after(timeout);
                    }
                }
                None => {
                    let Some(pending) = state.calls.get_mut(&self.id) else { continue };
                    pending.sleeping = true;
                    let wakes = Arc::clone(&pending.wakes);
                    state = match deadline.left() {
                        None => wakes.wait(state).unwrap_or_else(PoisonError::into_inner),
                        Some(left) => {
                            wakes.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                        }
                    };
                    if let Patience::Progress(timeout) = patience {
                        deadline = Deadline::after(timeout);
                    }
                }
            }
        }
    }

    /// The caller goes: what it leaves behind is sent, and somebody else drives.
    fn leave<'a>(&'a self, mut state: Guard<'a>) {
        let session = &self.session;
        let Some(mut machine) = state.machine.take() else { return };
        if machine.wants_push() || !state.orders.is_empty() {
            state = session.drive(state, machine, None);
        } else {
            state.machine = Some(machine);
        }
        session.hand_over(&mut state);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let id = self.id;
        let removed = self.session.lock().calls.remove(&id);
        if removed.is_some_and(|pending| pending.outstanding > 0) {
            self.session.poke(move |machine| machine.forget(id));
        }
    }
}
