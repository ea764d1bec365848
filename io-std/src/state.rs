//! What the threads of a connection share, and what events do to it. No system calls here.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use konko_core::channel::{ChannelEvent, ChannelId, ChannelRequest, OpenFailure};
use konko_core::error::Phase;
use konko_core::msg::DisconnectCode;
use konko_core::transport::{DoneJob, Job};
use konko_core::{Blocked, Decision, Event, RxBuf, Step, Time, TxBuf};
use parking_lot::Condvar;
use zeroize::Zeroizing;

use crate::channel::{Exit, Traffic};
use crate::end::{Ask, End};
use crate::error::{Error, ErrorKind};
use crate::notice::Notice;
use crate::sparing::{Say, Sparing};
use crate::watch::Watch;

/// What a thread can wait for on a channel; each has a condition variable of its own, so that data
/// does not wake the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Data,
    Stderr,
    Write,
    Control,
    /// Data, standard error, or room to write: whatever comes first.
    Any,
}

/// The condition variables of a channel.
#[derive(Debug, Default)]
pub(crate) struct Waits([Condvar; 5]);

impl Waits {
    pub(crate) fn of(&self, wait: Wait) -> &Condvar {
        &self.0[wait as usize]
    }
}

/// Received bytes of one stream that nobody has read yet. The window bounds it. Wiped when it is dropped, as all
/// memory that such bytes were in: they may be secrets.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Zeroizing<Vec<u8>>,
    head: usize,
}

/// Appends, and wipes what became too small.
fn append(bytes: &mut Zeroizing<Vec<u8>>, data: &[u8]) {
    let wanted = bytes.len() + data.len();
    if wanted > bytes.capacity() {
        let mut wider = Zeroizing::new(Vec::with_capacity(wanted.max(2 * bytes.capacity())));
        wider.extend_from_slice(bytes);
        *bytes = wider;
    }
    bytes.extend_from_slice(data);
}

impl Inbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.head == self.bytes.len()
    }

    fn push(&mut self, data: &[u8]) {
        if self.head > 0 && self.bytes.len() + data.len() > self.bytes.capacity() {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
        append(&mut self.bytes, data);
    }

    /// Moves bytes out into `to`.
    pub(crate) fn read(&mut self, to: &mut [u8]) -> usize {
        let rest = &self.bytes[self.head..];
        let n = rest.len().min(to.len());
        to[..n].copy_from_slice(&rest[..n]);
        self.head += n;
        if self.is_empty() {
            self.bytes.clear();
            self.head = 0;
        }
        n
    }

    /// Gives everything out without copying and takes the memory of `other`.
    pub(crate) fn swap(&mut self, other: &mut Zeroizing<Vec<u8>>) {
        self.bytes.drain(..self.head);
        self.head = 0;
        other.clear();
        std::mem::swap(&mut self.bytes, other);
    }
}

/// Where the data of a channel goes.
#[derive(Debug)]
pub(crate) enum Sink {
    /// It waits for a reader, who gives the credit back.
    Inbox([Inbox; 2]),
    /// It is kept up to so many bytes and dropped from there on; the credit goes back at once, so
    /// the peer never waits.
    Collect { bytes: [Zeroizing<Vec<u8>>; 2], caps: [usize; 2], truncated: bool },
}

/// Writes without waiting: what was taken, or `WouldBlock`.
pub(crate) type TryWrite = Arc<dyn Fn(&[u8]) -> io::Result<usize> + Send + Sync>;

/// A stream that goes on into a file descriptor. The reader thread writes it straight from the
/// receive buffer, as long as that does not block; what is left goes to the inbox, from where a
/// thread that may block takes it. At any time only one of them writes.
pub(crate) struct Direct {
    /// `None` once it has turned out not to work.
    pub(crate) write: Option<TryWrite>,
    /// The reader thread is writing.
    pub(crate) reader_writes: bool,
    /// The other thread is writing.
    pub(crate) copier_writes: bool,
    /// Bytes that the reader thread has written.
    pub(crate) written: u64,
}

/// What one poll came to.
pub(crate) enum Stepped<'b> {
    /// An event was dealt with; there may be more.
    Event,
    /// Nothing goes on.
    Blocked,
    /// Work to be done without the lock; hand [`State::finish_job`] the result.
    Job(Box<Job>),
    /// Data to be written without the lock; tell [`State::written`] how much that was.
    Write { to: TryWrite, id: ChannelId, stream: usize, data: &'b [u8] },
}

/// A channel as the threads see it.
pub(crate) struct Chan {
    pub(crate) waits: Arc<Waits>,
    /// Who waits, a bit for each [`Wait`].
    waiting: u8,
    pub(crate) sink: Sink,
    pub(crate) direct: [Option<Direct>; 2],
    /// The answer to the open.
    pub(crate) opened: Option<Result<(), ErrorKind>>,
    pub(crate) eof: bool,
    pub(crate) closed: bool,
    /// It was closed here; the peer may not have agreed yet.
    pub(crate) shut: bool,
    /// The peer reads no more.
    pub(crate) eow: bool,
    pub(crate) exit: Option<Exit>,
    /// Whoever waits for [`Wait::Any`] is to come back.
    pub(crate) nudged: bool,
    /// How often data could be written again: each writer has to notice by itself.
    pub(crate) writable: u64,
    /// How often that was when a writer that does not wait was told that there is no room.
    pub(crate) full: Option<u64>,
    /// Requests that were sent and want an answer, and answers nobody has taken yet.
    pub(crate) asked: u64,
    answered: u64,
    pub(crate) answers: Vec<(u64, bool)>,
    /// The request that is to start the program, and its name.
    pub(crate) starter: Option<(u64, &'static str)>,
    /// The program has been started: the server said so, or something of it came. Some devices do not answer.
    pub(crate) started: bool,
    /// The server refused to start it.
    pub(crate) refused: Option<&'static str>,
    /// A [`Cancel`](crate::Cancel) has closed it.
    pub(crate) cancelled: bool,
    pub(crate) traffic: Traffic,
    /// No handle is left: close it as soon as that can be done, and forget it.
    pub(crate) abandoned: bool,
}

impl Chan {
    pub(crate) fn new(sink: Sink) -> Self {
        Chan {
            waits: Arc::default(),
            waiting: 0,
            sink,
            direct: [None, None],
            opened: None,
            eof: false,
            closed: false,
            shut: false,
            eow: false,
            exit: None,
            nudged: false,
            writable: 0,
            full: None,
            asked: 0,
            answered: 0,
            answers: Vec::new(),
            starter: None,
            started: false,
            refused: None,
            cancelled: false,
            traffic: Traffic::default(),
            abandoned: false,
        }
    }

    /// Whether there is any point in writing.
    pub(crate) fn takes_input(&self) -> bool {
        !self.closed && !self.shut && !self.eow && self.refused.is_none()
    }

    /// Whether writing has a chance: there may be room, or it fails.
    pub(crate) fn may_write(&self) -> bool {
        !self.takes_input() || self.full != Some(self.writable)
    }

    /// A program is about to be asked for, by request `number`.
    pub(crate) fn starts(&mut self, number: u64, what: &'static str) {
        self.starter = Some((number, what));
        self.started = false;
        self.refused = None;
    }

    /// The answer to request `number` came.
    fn answer(&mut self, number: u64, ok: bool) {
        self.answers.push((number, ok));
        match self.starter {
            Some((starter, _)) if starter == number && ok => self.started = true,
            // What has begun to speak was started, whatever is said afterwards.
            Some((starter, what)) if starter == number && !self.started => self.refused = Some(what),
            _ => {}
        }
    }

    /// Something of the program came.
    fn speaks(&mut self, wakes: &mut Wakes) {
        // Before a program was asked for, it is none that speaks.
        if self.starter.is_some() && !std::mem::replace(&mut self.started, true) {
            wake(wakes, self, Wait::Control);
        }
    }

    /// Says that the caller is about to wait.
    pub(crate) fn will_wait(&mut self, wait: Wait) {
        self.waiting |= 1 << wait as u8;
    }

    /// The writer of a stream, if it is the reader thread's turn to write. Then it is until
    /// [`State::written`].
    fn writer(&mut self, stream: usize) -> Option<TryWrite> {
        let Sink::Inbox(inboxes) = &self.sink else { return None };
        let direct = self.direct[stream].as_mut()?;
        if direct.copier_writes || !inboxes[stream].is_empty() {
            return None;
        }
        let writer = direct.write.clone()?;
        direct.reader_writes = true;
        Some(writer)
    }

    /// Takes data and says how much of it is dealt with already.
    fn receive(&mut self, i: usize, data: &[u8]) -> usize {
        match &mut self.sink {
            Sink::Inbox(inboxes) => {
                inboxes[i].push(data);
                0
            }
            Sink::Collect { bytes, caps, truncated } => {
                let room = caps[i].saturating_sub(bytes[i].len());
                *truncated |= room < data.len();
                append(&mut bytes[i], &data[..room.min(data.len())]);
                data.len()
            }
        }
    }
}

/// What the reader thread is doing while it does not hold the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) until: Option<Time>,
}

impl Plan {
    /// Whether a thread that waits for `self` sleeps through what is wanted now.
    fn misses(&self, now: &Plan) -> bool {
        let late = match (now.until, self.until) {
            (Some(wanted), Some(until)) => wanted < until,
            (Some(_), None) => true,
            (None, _) => false,
        };
        late || (now.read && !self.read) || (now.write && !self.write)
    }
}

/// Who is to be woken once the lock is released.
pub(crate) type Wakes = Vec<(Arc<Waits>, Wait)>;

pub(crate) struct State<E: End + ?Sized = dyn End> {
    pub(crate) channels: BTreeMap<ChannelId, Chan>,
    /// Answers to global requests: whether granted, and their fields.
    pub(crate) globals: VecDeque<(bool, Vec<u8>)>,
    /// What a server's application has to decide.
    pub(crate) asks: VecDeque<Ask>,
    pub(crate) ended: Option<Error>,
    pub(crate) peer: Arc<str>,
    /// Time limits that are the adapter's.
    pub(crate) watch: Watch,
    /// A thread is writing to the stream, and looks for more before it stops.
    pub(crate) flushing: bool,
    /// Taken out of the connection and not written yet.
    pub(crate) unsent: TxBuf,
    /// The stream takes nothing any more.
    pub(crate) broken: bool,
    pub(crate) parked: Option<Plan>,
    blocked: Blocked,
    /// A thread without input has lifted what kept the reader thread's input from being looked at.
    pub(crate) unblocked: bool,
    /// Always empty: what the connection is polled with by threads that have no input for it.
    no_input: RxBuf,
    pub(crate) wakes: Wakes,
    pub(crate) wake_all: bool,
    /// Threads that wait for what concerns no single channel.
    pub(crate) waiters: usize,
    pub(crate) notices: Vec<(Phase, Notice)>,
    pub(crate) noticing: bool,
    /// Notices that a peer can cause at will.
    at_will: Sparing,
    /// When it was polled last.
    now: Time,
    pub(crate) end: E,
}

impl<E: End> State<E> {
    pub(crate) fn new(end: E, peer: Arc<str>, noticing: bool) -> Self {
        State {
            channels: BTreeMap::new(),
            globals: VecDeque::new(),
            asks: VecDeque::new(),
            ended: None,
            peer,
            watch: Watch::default(),
            flushing: false,
            unsent: TxBuf::new(),
            broken: false,
            parked: None,
            blocked: Blocked::Input,
            unblocked: false,
            no_input: RxBuf::new(),
            wakes: Vec::new(),
            wake_all: false,
            waiters: 0,
            notices: Vec::new(),
            noticing,
            at_will: Sparing::default(),
            now: Time::ZERO,
            end,
        }
    }
}

impl<E: End + ?Sized> State<E> {
    pub(crate) fn error(&self, kind: ErrorKind) -> Error {
        Error::new(kind, &self.peer)
    }

    /// Lets the connection act on what was asked of it.
    pub(crate) fn settle(&mut self, now: Time) {
        let before = self.blocked;
        let mut none = std::mem::take(&mut self.no_input);
        self.pump(now, &mut none);
        self.no_input = none;
        self.unblocked |= before != Blocked::Input && self.blocked == Blocked::Input;
    }

    /// Polls until nothing is left to do. Without data, or with all of it going to inboxes.
    fn pump(&mut self, now: Time, rx: &mut RxBuf) {
        loop {
            match self.step(now, rx) {
                Stepped::Event => {}
                Stepped::Blocked => return,
                Stepped::Job(job) => self.finish_job(crate::screening::run(*job)),
                Stepped::Write { id, stream, data, .. } => self.written(id, stream, data, Ok(0)),
            }
        }
    }

    /// Polls once.
    pub(crate) fn step<'b>(&mut self, now: Time, rx: &'b mut RxBuf) -> Stepped<'b> {
        if self.ended.is_some() {
            return Stepped::Blocked;
        }
        self.now = now;
        match self.end.poll(now, rx) {
            Ok(Step::Event(Event::Channel(id, ChannelEvent::Data { stream, data }))) => {
                let stream = stream as usize;
                if let Some(chan) = self.channels.get_mut(&id) {
                    chan.speaks(&mut self.wakes);
                    chan.traffic.count_received(stream, data.len());
                }
                let writer = self.channels.get_mut(&id).and_then(|chan| chan.writer(stream));
                if let Some(to) = writer {
                    return Stepped::Write { to, id, stream, data };
                }
                self.on_data(id, stream, data);
                Stepped::Event
            }
            Ok(Step::Event(Event::Job(job))) => Stepped::Job(job),
            Ok(Step::Event(event)) => {
                match event {
                    Event::Channel(id, event) => self.on_channel(id, event),
                    event => {
                        self.on_event(event);
                        self.wake_all = true;
                    }
                }
                Stepped::Event
            }
            Ok(Step::Blocked(Blocked::Closed)) => {
                let kind = ErrorKind::Usage(konko_core::UsageError::Closed);
                self.over(self.error(kind));
                Stepped::Blocked
            }
            Ok(Step::Blocked(why)) => {
                self.blocked = why;
                Stepped::Blocked
            }
            Err(error) => {
                self.over(self.error(ErrorKind::Ssh(error)));
                Stepped::Blocked
            }
        }
    }

    /// Costly work of a key exchange is done.
    pub(crate) fn finish_job(&mut self, done: DoneJob) {
        let _ = self.end.conn_mut().finish_job(done);
    }

    /// The reader thread has written `result` bytes of `data`; the rest goes to the inbox.
    pub(crate) fn written(&mut self, id: ChannelId, stream: usize, data: &[u8], result: io::Result<usize>) {
        let Some(chan) = self.channels.get_mut(&id) else { return };
        let failed = matches!(&result, Err(e) if e.kind() != io::ErrorKind::WouldBlock);
        let n = result.unwrap_or(0).min(data.len());
        if let Some(direct) = &mut chan.direct[stream] {
            direct.reader_writes = false;
            direct.written += n as u64;
            if failed {
                // The other thread tries again and finds out what to say.
                direct.write = None;
            }
        }
        let _ = self.end.conn_mut().consume(id, n);
        if n < data.len() {
            return self.on_data(id, stream, &data[n..]);
        }
        if chan.eof || chan.closed || self.ended.is_some() {
            wake(&mut self.wakes, chan, wait_of(stream));
        }
    }

    fn on_data(&mut self, id: ChannelId, stream: usize, data: &[u8]) {
        let Some(chan) = self.channels.get_mut(&id) else { return };
        let done = chan.receive(stream, data);
        wake(&mut self.wakes, chan, wait_of(stream));
        if done > 0 {
            let _ = self.end.conn_mut().consume(id, done);
        }
    }

    /// Ends the wait for [`Wait::Any`] on a channel, now or when it is next begun.
    pub(crate) fn nudge(&mut self, id: ChannelId) {
        if let Some(chan) = self.channels.get_mut(&id) {
            chan.nudged = true;
            wake(&mut self.wakes, chan, Wait::Any);
        }
    }

    /// The connection is over; everybody learns of it.
    pub(crate) fn over(&mut self, error: Error) {
        if self.ended.is_none() {
            self.note(|_| Notice::Ended(error.kind().to_string()));
            self.ended = Some(error);
            self.wake_all = true;
            for chan in self.channels.values_mut() {
                wake_all(&mut self.wakes, chan);
            }
        }
    }

    /// Closes a channel from here; nobody has to wait for the peer to agree.
    pub(crate) fn close_channel(&mut self, id: ChannelId) {
        let _ = self.end.conn_mut().close_channel(id);
        if let Some(chan) = self.channels.get_mut(&id) {
            chan.eof = true;
            chan.shut = true;
            wake_all(&mut self.wakes, chan);
        }
    }

    /// As [`close_channel`](Self::close_channel); whatever waits there fails.
    pub(crate) fn cancel_channel(&mut self, id: ChannelId) {
        if let Some(chan) = self.channels.get_mut(&id) {
            chan.cancelled = true;
        }
        self.close_channel(id);
    }

    /// What the reader thread has to wait for.
    pub(crate) fn plan(&self) -> Plan {
        Plan {
            read: self.blocked == Blocked::Input && self.ended.is_none(),
            write: !self.flushing && !self.unsent.is_empty() && !self.broken,
            until: self
                .end
                .conn()
                .deadline()
                .map(|(at, _)| at)
                .into_iter()
                .chain(self.watch.deadline())
                .min(),
        }
    }

    /// Whether the reader thread has to be woken for what has changed.
    pub(crate) fn takes_nudge(&mut self) -> bool {
        let Some(parked) = self.parked else { return false };
        let nudge = self.ended.is_some() || !self.asks.is_empty() || parked.misses(&self.plan());
        if nudge {
            self.parked = None;
        }
        nudge
    }

    /// Ends the connection when a time limit of the adapter has run out.
    pub(crate) fn patrol(&mut self, now: Time) {
        if self.ended.is_some() {
            return;
        }
        // A channel that nobody here has a handle of is only waited for to be closed by the peer.
        let unused = self.end.conn().is_authenticated() && self.channels.values().all(|chan| chan.abandoned);
        let Some((awaited, after)) = self.watch.expired(now, unused) else { return };
        let error = self.error(ErrorKind::Timeout { awaited, after, phase: self.end.conn().phase() });
        self.end
            .conn_mut()
            .disconnect(DisconnectCode::BY_APPLICATION, &format!("{awaited} did not come in time"));
        self.over(error);
    }

    pub(crate) fn note(&mut self, notice: impl FnOnce(&Self) -> Notice) {
        if self.noticing {
            let notice = notice(self);
            self.notices.push((self.end.conn().phase(), notice));
        }
    }

    /// For what a peer can cause as often as it likes: no flood of lines comes of it.
    pub(crate) fn note_at_will(&mut self, notice: impl FnOnce(&Self) -> Notice) {
        if !self.noticing {
            return;
        }
        match self.at_will.next(self.now.since(Time::ZERO)) {
            Say::It => self.note(notice),
            Say::Enough => self.note(|_| Notice::Quiet),
            Say::Nothing => {}
        }
    }

    fn on_event(&mut self, event: Event<'_, Option<Ask>>) {
        match event {
            Event::Opened(id) => self.on_opened(id, Ok(())),
            Event::OpenFailed { channel, why, text } => {
                self.on_opened(channel, Err(ErrorKind::OpenRefused(why, text.excerpt(1000))));
            }
            Event::GlobalReply { ok, fields } => self.globals.push_back((ok, fields.to_vec())),
            Event::Negotiated => self.on_negotiated(),
            Event::Rekeyed => self.note_at_will(|s| Notice::Rekeyed(s.end.conn().key_exchanges())),
            Event::Auth(ask) => {
                if let Some(notice) = ask.as_ref().and_then(Ask::notice) {
                    self.note(|_| notice);
                }
                self.asks.extend(ask);
            }
            Event::Authenticated { method, trivial } => {
                self.note(|_| Notice::Authenticated { method: method.name(), trivial });
            }
            // A server's end asks its application instead; a client's peer gets nothing.
            Event::Open { ticket, kind } => {
                let kind = kind.kind().excerpt(100);
                self.note_at_will(|_| Notice::OpenRefused(kind));
                let why = OpenFailure::ADMINISTRATIVELY_PROHIBITED;
                let _ = self.end.conn_mut().reject_channel(ticket, why, "not asked for");
            }
            Event::GlobalRequest { ticket, request } => {
                let name = request.name.excerpt(100);
                self.note_at_will(|_| Notice::GlobalRequest(name));
                if let Some(ticket) = ticket {
                    let _ = self.end.conn_mut().reply_global(ticket, Decision::Reject, None);
                }
            }
            _ => {}
        }
    }

    fn on_negotiated(&mut self) {
        let Some(algorithms) = self.end.conn().negotiated().cloned().map(Box::new) else { return };
        self.note_at_will(|s| Notice::Negotiated {
            ident: s.end.conn().peer_ident().map(|i| i.to_string()).unwrap_or_default(),
            algorithms,
            strict: s.end.conn().strict_kex(),
        });
    }

    fn on_opened(&mut self, id: ChannelId, result: Result<(), ErrorKind>) {
        if result.is_ok() {
            self.note_at_will(|_| Notice::Opened(id.to_string()));
        }
        let Some(chan) = self.channels.get_mut(&id) else { return };
        if chan.abandoned {
            if result.is_ok() {
                let _ = self.end.conn_mut().close_channel(id);
            } else {
                self.channels.remove(&id);
            }
            return;
        }
        chan.closed = result.is_err();
        chan.opened = Some(result);
        wake(&mut self.wakes, chan, Wait::Control);
    }

    fn on_channel(&mut self, id: ChannelId, event: ChannelEvent<'_>) {
        let Some(chan) = self.channels.get_mut(&id) else { return };
        let wakes = &mut self.wakes;
        match event {
            ChannelEvent::Writable => {
                chan.writable += 1;
                wake(wakes, chan, Wait::Write);
            }
            ChannelEvent::Eof => {
                chan.eof = true;
                chan.speaks(wakes);
                wake(wakes, chan, Wait::Data);
                wake(wakes, chan, Wait::Stderr);
            }
            ChannelEvent::RequestDone { ok } => {
                chan.answer(chan.answered, ok);
                chan.answered += 1;
                if chan.refused.is_some() {
                    wake_all(wakes, chan);
                }
                wake(wakes, chan, Wait::Control);
            }
            ChannelEvent::Exit(exit) => {
                chan.exit = Some(exit.into());
                chan.started = true;
                wake(wakes, chan, Wait::Control);
            }
            ChannelEvent::Request { ticket, request } => {
                if matches!(request, ChannelRequest::Eow) {
                    chan.eow = true;
                    wake(wakes, chan, Wait::Write);
                }
                self.asks.extend(self.end.requested(id, ticket, &request));
            }
            ChannelEvent::Closed => {
                chan.closed = true;
                wake_all(wakes, chan);
                if chan.abandoned {
                    self.channels.remove(&id);
                }
                self.asks.extend(self.end.closed(id));
                self.note_at_will(|_| Notice::Closed(id.to_string()));
            }
            _ => {}
        }
    }
}

fn wait_of(stream: usize) -> Wait {
    if stream == 0 { Wait::Data } else { Wait::Stderr }
}

fn wake_all(wakes: &mut Wakes, chan: &mut Chan) {
    for wait in [Wait::Data, Wait::Stderr, Wait::Write, Wait::Control] {
        wake(wakes, chan, wait);
    }
}

/// Remembers to wake whoever waits for that, once.
fn wake(wakes: &mut Wakes, chan: &mut Chan, wait: Wait) {
    let any = (wait != Wait::Control).then_some(Wait::Any);
    for wait in [Some(wait), any].into_iter().flatten() {
        let bit = 1 << wait as u8;
        if chan.waiting & bit != 0 {
            chan.waiting &= !bit;
            wakes.push((Arc::clone(&chan.waits), wait));
        }
    }
}
