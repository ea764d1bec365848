//! The machine under the procedures: what was asked and not answered, and the transfers that run.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Waker;
use core::time::Duration;

use super::ask::{Facts, Got, Order, Patience, Port, Send1, Slot, Start};
use super::entry::DirEntry;
use super::error::{Error, ErrorKind};
use super::local::{Asked, Event, Filled, Place, here};
use super::remote::Remote;
use crate::Time;
use crate::sftp::transfer::{
    DownloadOptions, Handled, JobId, Local, Notice, Summary, TransferConfig, TransferError, Transfers,
};
use crate::sftp::{
    self, Attrs, ClientConfig, MsgBuf, Reply, RequestId, SftpClient, Status, StatusCode, UsageError,
};
use crate::transport::TxBuf;
use crate::wire::SshStr;

/// Output that is made at a time: it is still in the processor's cache when it is sealed.
const OUTPUT: usize = 128 * 1024;
/// What is kept of the server's standard error.
const STDERR: usize = 2048;

/// A transfer between an open file and memory.
pub(super) enum Bulk {
    /// Reads ahead.
    Read(DownloadOptions),
    /// Writes behind, from this offset on.
    Write(u64),
}

/// What a request waits for.
struct Pending {
    slot: Arc<Slot>,
    data: Vec<u8>,
}

struct Job<F> {
    slot: Arc<Slot>,
    number: usize,
    side: Side,
    file: Option<F>,
    failed: Option<Error>,
    /// It has ended but for the local file.
    summary: Option<Summary>,
}

enum Side {
    Local(Place),
    /// Data goes to a reader.
    Ahead,
    /// Data of a writer, as far as the window did not take it.
    Behind {
        parts: VecDeque<Vec<u8>>,
        at: usize,
        closed: bool,
    },
    /// A copy has no local side.
    None,
}

/// A procedure waits for its next answer.
struct Waiting {
    slot: Arc<Slot>,
    patience: Patience,
    since: Time,
}

/// One SFTP client session, over bytes: see the [module](super). `F` is what a binding keeps of an open local file.
pub struct Session<F> {
    port: Arc<Port>,
    client: SftpClient,
    transfers: Transfers,
    rx: MsgBuf,
    stderr: Vec<u8>,
    requests: VecDeque<(Option<Arc<Slot>>, Send1)>,
    asked: BTreeMap<RequestId, Pending>,
    jobs: BTreeMap<JobId, Job<F>>,
    /// Jobs that have data that the window did not take yet.
    writers: Vec<JobId>,
    starting: Vec<Arc<Slot>>,
    waiting: BTreeMap<usize, Waiting>,
    /// What the input was; the session ends with the next poll.
    fault: Option<sftp::Error>,
    ended: Option<Error>,
}

impl<F> Session<F> {
    /// Starts a session: its first message is in [`tx`](Self::tx) at once.
    pub fn new(config: ClientConfig, transfers: TransferConfig) -> Self {
        Session {
            port: Arc::default(),
            client: SftpClient::new(config),
            transfers: Transfers::new(transfers),
            rx: MsgBuf::new(),
            stderr: Vec::new(),
            requests: VecDeque::new(),
            asked: BTreeMap::new(),
            jobs: BTreeMap::new(),
            writers: Vec::new(),
            starting: Vec::new(),
            waiting: BTreeMap::new(),
            fault: None,
            ended: None,
        }
    }

    /// A handle for procedures on the server.
    pub fn remote(&self) -> Remote {
        Remote::new(Arc::clone(&self.port))
    }

    /// Is woken whenever a procedure asks for something: [`poll`](Self::poll) then.
    pub fn set_waker(&mut self, waker: Waker) {
        self.port.set_driver(waker);
    }

    /// What is to be sent.
    pub fn tx(&mut self) -> &mut TxBuf {
        self.client.tx()
    }

    /// Whether as much is to be sent as is made at a time.
    pub fn is_full(&mut self) -> bool {
        self.client.tx().len() >= OUTPUT
    }

    /// Whether [`poll`](Self::poll) may have something to do or to send.
    pub fn is_busy(&mut self) -> bool {
        let open = !self.requests.is_empty() || !self.jobs.is_empty() || !self.client.tx().is_empty();
        !self.port.is_empty() || self.ended.is_none() && open
    }

    /// Why the session has ended, if it has.
    pub fn ended(&self) -> Option<&Error> {
        self.ended.as_ref()
    }

    /// When to [`poll`](Self::poll) again at the latest.
    pub fn deadline(&self) -> Option<Time> {
        let waits = self.waiting.values().filter_map(Waiting::deadline).min();
        self.transfers.deadline().into_iter().chain(waits).min()
    }

    /// Takes bytes from the front of `input`; call until `None`, when all of it is used up.
    pub fn receive<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8], now: Time) -> Option<Event<'s, F>> {
        if self.ended.is_some() || self.fault.is_some() {
            *input = &[];
            return None;
        }
        for waiting in self.waiting.values_mut().filter(|w| matches!(w.patience, Patience::Progress(_))) {
            waiting.since = now;
        }
        let event = match self.client.poll(&mut self.rx, input) {
            Ok(event) => event?,
            Err(error) => {
                self.fault = Some(error);
                return None;
            }
        };
        match self.transfers.on_event(&mut self.client, event, now) {
            Handled::Data { job, offset, data } => {
                return Some(on_data(&mut self.jobs, job, offset, Cow::Borrowed(data)));
            }
            Handled::Other(sftp::Event::Ready) => {
                for slot in core::mem::take(&mut self.starting) {
                    answered(&mut self.waiting, &slot, Got::Status(Status::new(StatusCode::OK)));
                }
            }
            Handled::Other(sftp::Event::Reply { id, reply }) => {
                if let Some(asked) = self.asked.remove(&id) {
                    answered(&mut self.waiting, &asked.slot, got(reply));
                }
            }
            Handled::Other(sftp::Event::Data { id, data, left, .. }) => {
                if let Some(asked) = self.asked.get_mut(&id) {
                    asked.data.extend_from_slice(data);
                }
                if left == 0
                    && let Some(asked) = self.asked.remove(&id)
                {
                    answered(&mut self.waiting, &asked.slot, Got::Data(asked.data));
                }
            }
            _ => {}
        }
        Some(Event::Went)
    }

    /// Does what procedures asked for, and makes output; call until `None`, after input, whenever output was sent,
    /// when [`deadline`](Self::deadline) has come, and when the waker woke.
    pub fn poll(&mut self, now: Time) -> Option<Event<'_, F>> {
        if let Some(fault) = self.fault.take() {
            self.end(&fault, None);
        }
        while let Some(order) = self.port.pop() {
            if let Some(asked) = self.order(order, now) {
                return Some(Event::Asked(asked));
            }
        }
        self.expire(now);
        if self.ended.is_some() {
            return None;
        }
        self.send_requests();
        self.write_behind(now);
        if self.is_full() {
            return None;
        }
        let notice = self.transfers.poll(&mut self.client, now)?;
        Some(self.on_notice(notice))
    }

    /// The server's standard error: of what it prints, the end is in the error if the session ends.
    pub fn stderr(&mut self, text: &[u8]) {
        self.stderr.extend_from_slice(text);
        let surplus = self.stderr.len().saturating_sub(STDERR);
        self.stderr.drain(..surplus);
    }

    /// Nothing more will come: the session has ended.
    pub fn eof(&mut self) {
        if self.ended.is_none() {
            let error = self.client.eof(&self.rx);
            self.end(&error, None);
        }
    }

    /// What the session runs over has failed: it has ended.
    pub fn lost(&mut self, cause: Error) {
        if self.ended.is_none() {
            let error = self.client.eof(&self.rx);
            self.end(&error, Some(cause));
        }
    }

    // ---- what the driver answers ----

    /// A local file is open for reading, and this is what is known of it; or it could not be opened, or not read.
    pub fn source(&mut self, job: JobId, local: Result<Attrs, Error>) {
        let path = match self.jobs.get(&job).map(|job| &job.side) {
            Some(Side::Local(Place::Source(source, _))) => &source.path,
            _ => return,
        };
        match local {
            Ok(attrs) if attrs.is_file() => self.transfers.source(job, &here(&attrs)),
            Ok(_) => {
                let error = Error::unsuitable(path, super::transfer::NOT_REGULAR);
                self.failed(job, error);
            }
            Err(error) => self.failed(job, error),
        }
    }

    /// Reads local data of a job straight into the output: `read` gets the file and room for what is at `offset`.
    pub fn fill<E>(
        &mut self,
        job: JobId,
        offset: u64,
        now: Time,
        read: impl FnOnce(&mut F, &mut [u8]) -> Result<Filled, E>,
    ) where
        E: core::error::Error + Send + Sync + 'static,
    {
        let Some(Job { side, file, failed, .. }) = self.jobs.get_mut(&job) else { return };
        let (Side::Local(Place::Source(source, _)), Some(file)) = (side, file) else { return };
        self.transfers.fill(&mut self.client, job, now, |room| {
            let error = match read(file, room) {
                Ok(filled) => match source.check_end(offset, room.len(), &filled) {
                    Ok(()) => return Local::Data(filled.len),
                    Err(error) => error,
                },
                Err(error) => Error::local(&source.path, error),
            };
            *failed = Some(error);
            Local::Failed
        });
    }

    /// A local file could not be written.
    pub fn failed(&mut self, job: JobId, error: Error) {
        if let Some(found) = self.jobs.get_mut(&job)
            && found.failed.is_none()
        {
            found.failed = Some(error);
            self.transfers.local_failure(&mut self.client, job);
        }
    }

    /// A local file is complete, or could not be completed.
    pub fn finished(&mut self, job: JobId, result: Result<(), Error>) {
        let Some(found) = self.jobs.remove(&job) else { return };
        let summary = found.summary.unwrap_or_default();
        answered(&mut self.waiting, &found.slot, Got::Job(found.number, result.map(|()| summary)));
    }

    // ---- orders ----

    fn order(&mut self, order: Order, now: Time) -> Option<Asked> {
        match order {
            Order::Question(slot, question) => return Some(Asked::new(question, slot)),
            Order::Facts(slot) => {
                let facts = Got::Facts(Box::new(self.facts()));
                answered(&mut self.waiting, &slot, facts);
            }
            Order::Wait(slot, patience) => {
                self.waiting.insert(slot.id, Waiting { slot, patience, since: now });
            }
            Order::Cancel(slot) => self.cancel(&slot),
            Order::Forget(slot) => {
                self.waiting.remove(&slot.id);
                self.forget(&slot);
            }
            Order::Request(slot, _) | Order::Ready(slot) if self.ended.is_some() => self.fail(&slot, None),
            Order::Start(slot, number, _) if self.ended.is_some() => self.fail(&slot, Some(number)),
            _ if self.ended.is_some() => {}
            Order::Request(slot, send) => self.requests.push_back((Some(slot), send)),
            Order::Detached(send) => self.requests.push_back((None, send)),
            Order::Ready(slot) if self.client.is_ready() => {
                answered(&mut self.waiting, &slot, Got::Status(Status::new(StatusCode::OK)));
            }
            Order::Ready(slot) => self.starting.push(slot),
            Order::Start(slot, number, start) => self.start(slot, number, *start),
            Order::Allow(slot, offset) => {
                if let Some(id) = self.job_of(&slot) {
                    self.transfers.allow(id, offset);
                }
            }
            Order::Supply(slot, data) => self.supply(&slot, Some(data)),
            Order::Close(slot) => self.supply(&slot, None),
        }
        None
    }

    fn fail(&mut self, slot: &Slot, job: Option<usize>) {
        let Some(error) = self.ended.clone() else { return };
        let got = match job {
            Some(number) => Got::Job(number, Err(error)),
            None => Got::Failed(error),
        };
        answered(&mut self.waiting, slot, got);
    }

    fn facts(&self) -> Facts {
        Facts {
            extensions: self.client.extensions(),
            announced: self.client.announced().map(|(name, data)| (name.to_vec(), data.to_vec())).collect(),
            limits: self.client.limits(),
        }
    }

    fn start(&mut self, slot: Arc<Slot>, number: usize, start: Start) {
        let (id, side) = match start {
            Start::Get { remote, get, place } => (self.transfers.download(&remote, get), Side::Local(place)),
            Start::Put { remote, put, place } => (self.transfers.upload(&remote, put), Side::Local(place)),
            Start::Copy { from, to, put } => (self.transfers.copy(&from, &to, put), Side::None),
            Start::Bulk(handle, Bulk::Read(options)) => (self.transfers.read(&handle, options), Side::Ahead),
            Start::Bulk(handle, Bulk::Write(offset)) => {
                let behind = Side::Behind { parts: VecDeque::new(), at: 0, closed: false };
                (self.transfers.write(&handle, offset), behind)
            }
        };
        self.jobs.insert(id, Job { slot, number, side, file: None, failed: None, summary: None });
    }

    /// The job of a procedure's ask, for those that have one.
    fn job_of(&self, slot: &Slot) -> Option<JobId> {
        self.jobs.iter().find(|(_, job)| job.slot.id == slot.id).map(|(id, _)| *id)
    }

    fn supply(&mut self, slot: &Slot, data: Option<Vec<u8>>) {
        let Some(id) = self.job_of(slot) else { return };
        let Some(Job { side: Side::Behind { parts, closed, .. }, .. }) = self.jobs.get_mut(&id) else {
            return;
        };
        match data {
            Some(data) => parts.push_back(data),
            None => *closed = true,
        }
        if !self.writers.contains(&id) {
            self.writers.push(id);
        }
    }

    /// Nobody wants the answers any more.
    fn forget(&mut self, slot: &Slot) {
        self.requests.retain(|(own, _)| own.as_ref().is_none_or(|own| own.id != slot.id));
        self.starting.retain(|own| own.id != slot.id);
        let of_it = |(id, asked): (&RequestId, &Pending)| (asked.slot.id == slot.id).then_some(*id);
        let requests: Vec<RequestId> = self.asked.iter().filter_map(of_it).collect();
        for id in requests {
            self.asked.remove(&id);
            self.client.cancel(id);
        }
        self.cancel(slot);
    }

    fn cancel(&mut self, slot: &Slot) {
        let of_it = |(id, job): (&JobId, &Job<F>)| (job.slot.id == slot.id).then_some(*id);
        let jobs: Vec<JobId> = self.jobs.iter().filter_map(of_it).collect();
        jobs.into_iter().for_each(|id| self.transfers.cancel(&mut self.client, id));
    }

    fn expire(&mut self, now: Time) {
        let late = |w: &&Waiting| w.deadline().is_some_and(|at| at <= now);
        let late: Vec<usize> = self.waiting.values().filter(late).map(|w| w.slot.id).collect();
        for Waiting { slot, patience, .. } in late.into_iter().filter_map(|id| self.waiting.remove(&id)) {
            slot.answer(Got::Late(patience.limit().unwrap_or_default()));
        }
    }

    // ---- output ----

    fn send_requests(&mut self) {
        while let Some((slot, mut send)) = self.requests.pop_front() {
            match (send(&mut self.client), slot) {
                (Ok(id), Some(slot)) => drop(self.asked.insert(id, Pending { slot, data: Vec::new() })),
                (Ok(id), None) => self.client.cancel(id),
                (Err(UsageError::Full | UsageError::NotReady), slot) => {
                    return self.requests.push_front((slot, send));
                }
                (Err(error), Some(slot)) => {
                    answered(&mut self.waiting, &slot, Got::Failed(Error::usage(error)));
                }
                (Err(_), None) => {}
            }
        }
    }

    /// Sends what was written behind, as far as the window allows.
    fn write_behind(&mut self, now: Time) {
        let mut writers = core::mem::take(&mut self.writers);
        writers.retain(|id| {
            loop {
                let Some(job) = self.jobs.get_mut(id) else { return false };
                let Side::Behind { parts, at, closed } = &mut job.side else { return false };
                if parts.is_empty() {
                    if *closed {
                        self.transfers.finish(*id);
                    }
                    return false;
                }
                let room = self.client.tx().len() < OUTPUT;
                let take = |room: &mut [u8]| Local::Data(take(parts, at, room));
                let n = if room { self.transfers.fill(&mut self.client, *id, now, take) } else { 0 };
                if n == 0 {
                    return true;
                }
                answered(&mut self.waiting, &job.slot, Got::Taken(n));
            }
        });
        self.writers = writers;
    }

    fn on_notice(&mut self, notice: Notice) -> Event<'_, F> {
        match notice {
            Notice::Source { job } => {
                if let Some(Job { side: Side::Local(Place::Source(source, _)), file, .. }) =
                    self.jobs.get_mut(&job)
                {
                    return Event::Open { job, source, file };
                }
            }
            Notice::Opened { job, offset } => self.on_opened(job, offset),
            Notice::Data { job, offset, data } => {
                return on_data(&mut self.jobs, job, offset, Cow::Owned(data));
            }
            Notice::Fill { job, offset, .. } => return Event::Fill { job, offset },
            Notice::Progress { job, done } => {
                if let Some(Job { side: Side::Local(Place::Source(_, teller)), slot, .. }) =
                    self.jobs.get_mut(&job)
                    && let Some(progress) = teller.at(done)
                {
                    slot.tell(progress);
                }
            }
            Notice::Finished { job, result } => return self.on_finished(job, result),
        }
        Event::Went
    }

    fn on_opened(&mut self, id: JobId, offset: u64) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match &mut job.side {
            Side::Local(Place::Target(target, teller)) if job.file.is_none() => {
                (target.offset, target.high) = (offset, offset);
                teller.start(offset);
            }
            Side::Local(Place::Source(source, _)) if source.resumes && offset > source.total => {
                let why = "the remote file is longer than the local one; it cannot be resumed";
                let error = Error::unsuitable(&source.path, why);
                self.failed(id, error);
            }
            Side::Local(Place::Source(_, teller)) => teller.start(offset),
            _ => {}
        }
    }

    fn on_finished(&mut self, id: JobId, result: Result<Summary, TransferError>) -> Event<'_, F> {
        let Some(job) = self.jobs.get_mut(&id) else { return Event::Went };
        let result = match (result, job.failed.take()) {
            (_, Some(error)) => Err(error),
            (Ok(summary), None) => Ok(summary),
            (Err(TransferError::Cancelled), None) => Err(Error::new(ErrorKind::Cancelled)),
            (Err(error @ TransferError::Lost { .. }), None) => Err(Error::lost(error, self.ended.clone())),
            (Err(error), None) => Err(Error::new(ErrorKind::Transfer(error))),
        };
        let (teller, size) = match &mut job.side {
            Side::Local(Place::Target(_, teller)) => (Some(teller), None),
            Side::Local(Place::Source(_, teller)) => (Some(teller), result.as_ref().ok().map(|s| s.size)),
            _ => (None, None),
        };
        if let Some(teller) = teller {
            teller.progress.done = size.unwrap_or(teller.progress.done);
            job.slot.tell(teller.end());
        }
        let result = match (result, &job.side) {
            (Ok(summary), Side::Local(Place::Target(..))) => {
                job.summary = Some(summary);
                return self.finish(id);
            }
            (result, _) => result,
        };
        if let Some(job) = self.jobs.remove(&id) {
            answered(&mut self.waiting, &job.slot, Got::Job(job.number, result));
        }
        Event::Went
    }

    /// All of a local file has come.
    fn finish(&mut self, id: JobId) -> Event<'_, F> {
        let Some(Job { side: Side::Local(Place::Target(target, _)), file, summary, .. }) =
            self.jobs.get_mut(&id)
        else {
            return Event::Went;
        };
        if let Some(attrs) = summary.as_ref().and_then(|summary| summary.attrs.as_ref()) {
            target.attrs.clone_from(attrs);
        }
        Event::Finish { job: id, target, file }
    }

    /// Everybody learns that it is over.
    fn end(&mut self, error: &sftp::Error, link: Option<Error>) {
        let stderr = SshStr::new(self.stderr.trim_ascii()).excerpt(500);
        let fatal = link.unwrap_or_else(|| Error::new(ErrorKind::Session(error.clone(), stderr)));
        self.ended = Some(fatal);
        self.transfers.lost(error);
        while let Some(notice) = self.transfers.poll(&mut self.client, Time::ZERO) {
            if let Event::Finish { job, .. } = self.on_notice(notice) {
                let result = self.ended.clone().map_or(Ok(()), Err);
                self.finished(job, result);
            }
        }
        let requests = core::mem::take(&mut self.requests).into_iter().filter_map(|(slot, _)| slot);
        let asked = core::mem::take(&mut self.asked).into_values().map(|asked| asked.slot);
        let starting = core::mem::take(&mut self.starting);
        let slots: Vec<Arc<Slot>> = requests.chain(asked).chain(starting).collect();
        slots.iter().for_each(|slot| self.fail(slot, None));
    }
}

impl Waiting {
    fn deadline(&self) -> Option<Time> {
        self.patience.limit().map(|limit| self.since + limit)
    }
}

impl Patience {
    fn limit(self) -> Option<Duration> {
        match self {
            Patience::Total(limit) | Patience::Progress(limit) => limit,
        }
    }
}

/// Answers a procedure, which no longer waits.
fn answered(waiting: &mut BTreeMap<usize, Waiting>, slot: &Slot, got: Got) {
    waiting.remove(&slot.id);
    slot.answer(got);
}

fn on_data<'a, F>(
    jobs: &'a mut BTreeMap<JobId, Job<F>>,
    id: JobId,
    offset: u64,
    data: Cow<'a, [u8]>,
) -> Event<'a, F> {
    let Some(job) = jobs.get_mut(&id).filter(|job| job.failed.is_none()) else { return Event::Went };
    match &mut job.side {
        Side::Ahead => job.slot.answer(Got::Ahead(data.into_owned())),
        Side::Local(Place::Target(target, teller)) => {
            let done = teller.progress.done.saturating_add(data.len() as u64);
            if let Some(progress) = teller.at(done) {
                job.slot.tell(progress);
            }
            return Event::Data { job: id, target, file: &mut job.file, offset, data };
        }
        _ => {}
    }
    Event::Went
}

/// Moves bytes from the front of `parts`; how many.
fn take(parts: &mut VecDeque<Vec<u8>>, at: &mut usize, room: &mut [u8]) -> usize {
    let mut taken = 0usize;
    while let (Some(part), Some(left)) = (parts.front(), room.get_mut(taken..)) {
        let rest = part.get(*at..).unwrap_or_default();
        let n = rest.len().min(left.len());
        if let (Some(to), Some(from)) = (left.get_mut(..n), rest.get(..n)) {
            to.copy_from_slice(from);
        }
        taken = taken.saturating_add(n);
        if n < rest.len() {
            *at = at.saturating_add(n);
            break;
        }
        *at = 0;
        parts.pop_front();
    }
    taken
}

fn got(reply: Reply<'_>) -> Got {
    match reply {
        Reply::Status(status) => Got::Status(status),
        Reply::Handle(handle) => Got::Handle(handle),
        Reply::Names(names) => Got::Names(names.iter().map(|e| DirEntry::from(&e)).collect()),
        Reply::Path(path) => Got::Path(path.to_vec()),
        Reply::Attrs(attrs) => Got::Attrs(attrs),
        Reply::StatVfs(figures) => Got::StatVfs(figures),
        Reply::UsersGroups(names) => Got::UsersGroups(names),
        Reply::FileHash(hash) => Got::FileHash(hash),
        Reply::Extended(bytes) => Got::Extended(bytes.to_vec()),
        _ => Got::Status(Status::new(StatusCode::BAD_MESSAGE)),
    }
}
