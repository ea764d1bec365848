//! The machine with all that it needs to take a turn. Whoever drives the session owns it meanwhile, so no lock
//! is held across a system call.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use konko_core::sftp::transfer::{
    Handled, JobId, Local, Notice, Summary, TransferConfig, TransferError, Transfers,
};
use konko_core::sftp::{self, Client, ClientConfig, Event, MsgBuf, Reply, RequestId, Status, UsageError};
use konko_core::{Time, TxBuf};

use super::client_dir::DirEntry;
use super::client_error::{Error, ErrorKind};
use super::client_link::{Batch, Link};
use crate::channel::{Await, Exchange};
use crate::shared::Deadline;

/// Output that is made at a time: it is still in the processor's cache when it is sealed.
const OUTPUT: usize = 128 * 1024;
/// What is kept of the server's standard error.
const STDERR: usize = 2048;

/// Whose answer it is.
pub(crate) type CallId = u64;

/// What a call gets.
#[derive(Debug)]
pub(crate) enum Answer {
    Status(Status),
    Handle(sftp::Handle),
    /// `false`: no more of them.
    Names(Vec<DirEntry>),
    Path(Vec<u8>),
    Attrs(sftp::Attrs),
    StatVfs(sftp::StatVfs),
    UsersGroups(sftp::UsersGroups),
    FileHash(sftp::FileHash),
    Extended(Vec<u8>),
    /// All the data of one READ.
    Data(Vec<u8>),
    /// A transfer of this number has ended.
    Job(usize, Result<Summary, Error>),
    /// Something that the call looks at has changed.
    Touched,
    Failed(Error),
}

/// The local side of a transfer.
pub(crate) trait Side: Send {
    /// The local file is wanted, before anything happens to the remote one; what is known of it.
    fn source(&mut self) -> io::Result<sftp::Attrs> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The remote file is open; the transfer starts at `offset`.
    fn opened(&mut self, offset: u64) -> io::Result<()> {
        let _ = offset;
        Ok(())
    }

    /// Data of the remote file.
    fn data(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let _ = (offset, data);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The same, owned.
    fn owned(&mut self, offset: u64, data: Vec<u8>) -> io::Result<()> {
        self.data(offset, &data)
    }

    /// Local data from `offset`.
    fn fill(&mut self, offset: u64, room: &mut [u8]) -> io::Result<Local> {
        let _ = (offset, room);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether there is data for [`fill`](Self::fill), of a job that is not asked for it.
    fn has_data(&self) -> bool {
        false
    }

    /// Whether no more data will come for [`fill`](Self::fill), of a job that is not asked for it.
    fn is_closing(&self) -> bool {
        false
    }

    /// The server has taken so much.
    fn progress(&mut self, done: u64) {
        let _ = done;
    }

    /// Whether the call wants to know of each change.
    fn is_watched(&self) -> bool {
        false
    }

    /// It has ended.
    fn finished(&mut self, result: Result<Summary, Error>) -> Result<Summary, Error> {
        result
    }

    /// Names a local failure.
    fn local(&self, error: io::Error) -> Error {
        Error::local("", error)
    }
}

/// What a call is waiting for.
struct Asked {
    call: CallId,
    data: Vec<u8>,
}

struct Job {
    call: CallId,
    number: usize,
    side: Box<dyn Side>,
    failed: Option<Error>,
}

/// Sends a request, once the client has room.
pub(crate) type Send1 = Box<dyn FnMut(&mut Client) -> Result<RequestId, UsageError> + Send>;
/// Starts a transfer.
pub(crate) type Start = Box<dyn FnOnce(&mut Transfers) -> JobId + Send>;

pub(crate) struct Machine {
    pub(crate) client: Client,
    pub(crate) transfers: Transfers,
    rx: MsgBuf,
    batch: Batch,
    out: TxBuf,
    stderr: Vec<u8>,
    waiting: VecDeque<(CallId, Send1)>,
    asked: BTreeMap<RequestId, Asked>,
    jobs: BTreeMap<JobId, Job>,
    /// Jobs that have data that the window did not take yet.
    writers: Vec<JobId>,
    /// Answers that nobody got yet.
    pub(crate) done: Vec<(CallId, Answer)>,
    pub(crate) ended: Option<Error>,
    /// Something came or went, for deadlines that are about progress.
    pub(crate) moved: bool,
}

impl Machine {
    pub(crate) fn new(config: ClientConfig, transfers: TransferConfig) -> Self {
        Machine {
            client: Client::new(config),
            transfers: Transfers::new(transfers),
            rx: MsgBuf::new(),
            batch: Batch::default(),
            out: TxBuf::new(),
            stderr: Vec::new(),
            waiting: VecDeque::new(),
            asked: BTreeMap::new(),
            jobs: BTreeMap::new(),
            writers: Vec::new(),
            done: Vec::new(),
            ended: None,
            moved: false,
        }
    }

    // ---- what calls ask for ----

    pub(crate) fn request(&mut self, call: CallId, send: Send1) {
        match &self.ended {
            Some(error) => self.done.push((call, Answer::Failed(error.clone()))),
            None => self.waiting.push_back((call, send)),
        }
    }

    pub(crate) fn start(&mut self, call: CallId, number: usize, start: Start, mut side: Box<dyn Side>) {
        if let Some(error) = &self.ended {
            let result = side.finished(Err(error.clone()));
            return self.done.push((call, Answer::Job(number, result)));
        }
        let id = start(&mut self.transfers);
        self.jobs.insert(id, Job { call, number, side, failed: None });
    }

    /// The job of a call, for calls that have one.
    fn job_of(&self, call: CallId) -> Option<JobId> {
        self.jobs.iter().find(|(_, job)| job.call == call).map(|(id, _)| *id)
    }

    /// Lets the job of a call read up to `offset`.
    pub(crate) fn allow(&mut self, call: CallId, offset: u64) {
        if let Some(id) = self.job_of(call) {
            self.transfers.allow(id, offset);
        }
    }

    /// There is data to be written by the job of a call.
    pub(crate) fn supply(&mut self, call: CallId) {
        if let Some(id) = self.job_of(call)
            && !self.writers.contains(&id)
        {
            self.writers.push(id);
        }
    }

    /// Nobody wants the answers of a call any more.
    pub(crate) fn forget(&mut self, call: CallId) {
        self.waiting.retain(|(c, _)| *c != call);
        let requests: Vec<RequestId> =
            self.asked.iter().filter(|(_, a)| a.call == call).map(|(id, _)| *id).collect();
        for id in requests {
            self.asked.remove(&id);
            self.client.cancel(id);
        }
        self.cancel(call);
    }

    /// Ends the jobs of a call; it still learns how they ended.
    pub(crate) fn cancel(&mut self, call: CallId) {
        let jobs: Vec<JobId> =
            self.jobs.iter().filter(|(_, job)| job.call == call).map(|(id, _)| *id).collect();
        for id in jobs {
            self.transfers.cancel(&mut self.client, id);
        }
    }

    /// Sends a request that nobody waits for, such as the CLOSE of a dropped file.
    pub(crate) fn detached(&mut self, send: Send1) {
        if self.ended.is_none() {
            self.waiting.push_back((CallId::MAX, send));
        }
    }

    // ---- a turn ----

    /// Sends, waits as `block` says, receives, and deals with what came.
    pub(crate) fn turn(&mut self, link: &dyn Link, now: &dyn Fn() -> Time, block: Option<Deadline>) {
        if self.ended.is_some() {
            return;
        }
        if self.deadline().is_some_and(|at| at <= now()) {
            // Nobody looked for a while: what came meanwhile shows that the server did not stall.
            self.push(link, now());
        }
        let more = self.pump(now());
        let wait = match block {
            // Somebody has what it waited for.
            _ if !self.done.is_empty() => Await::Nothing,
            None => Await::Nothing,
            Some(deadline) if more => Await::Output(deadline),
            Some(deadline) => Await::Input(deadline),
        };
        let result = link.exchange(&mut self.out, &mut self.batch, wait);
        self.keep_stderr();
        self.moved = !self.batch.bytes().is_empty();
        if self.moved {
            self.receive(now());
        }
        match result {
            Ok(Exchange::Went) => {}
            Ok(Exchange::Over) => {
                let error = self.client.eof(&self.rx);
                self.end(&error, None);
            }
            Err(error) => {
                let session = self.client.eof(&self.rx);
                self.end(&session, Some(error));
            }
        }
    }

    /// Makes output, and sends what goes at once.
    pub(crate) fn push(&mut self, link: &dyn Link, now: Time) {
        if self.ended.is_some() {
            return;
        }
        let late = self.deadline().is_some_and(|at| at <= now);
        if !late {
            self.pump(now);
        }
        if late || !self.out.is_empty() {
            let result = link.exchange(&mut self.out, &mut self.batch, Await::Nothing);
            self.keep_stderr();
            if !self.batch.bytes().is_empty() {
                self.receive(now);
            }
            if let Err(error) = result {
                let session = self.client.eof(&self.rx);
                self.end(&session, Some(error));
            }
        }
    }

    /// When the transfers want to be looked at.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.transfers.deadline()
    }

    /// Whether there may be something to send.
    pub(crate) fn wants_push(&mut self) -> bool {
        let waits = !self.out.is_empty() || !self.waiting.is_empty() || !self.jobs.is_empty();
        self.ended.is_none() && (waits || !self.client.tx().is_empty())
    }

    /// Fills the output. True: there is more to do as soon as it is taken.
    fn pump(&mut self, now: Time) -> bool {
        loop {
            self.send_waiting();
            self.write_behind(now);
            let mut full = self.client.tx().len() >= OUTPUT;
            while !full {
                let Some(notice) = self.transfers.poll(&mut self.client, now) else { break };
                self.on_notice(notice, now);
                full = self.client.tx().len() >= OUTPUT;
            }
            if !self.out.is_empty() {
                return full;
            }
            let swapped = self.client.tx().swap(&mut self.out) && !self.out.is_empty();
            if full || !swapped {
                return full;
            }
            // What did not fit before may fit now.
            if self.waiting.is_empty() && self.jobs.is_empty() {
                return false;
            }
        }
    }

    fn send_waiting(&mut self) {
        while let Some((call, mut send)) = self.waiting.pop_front() {
            match send(&mut self.client) {
                Ok(id) if call == CallId::MAX => self.client.cancel(id),
                Ok(id) => drop(self.asked.insert(id, Asked { call, data: Vec::new() })),
                Err(UsageError::Full | UsageError::NotReady) => {
                    self.waiting.push_front((call, send));
                    return;
                }
                Err(error) => self.done.push((call, Answer::Failed(Error::usage(error)))),
            }
        }
    }

    fn keep_stderr(&mut self) {
        let new = std::mem::take(&mut self.batch.stderr);
        self.stderr.extend_from_slice(&new);
        if self.stderr.len() > STDERR {
            self.stderr.drain(..self.stderr.len() - STDERR);
        }
        self.batch.stderr = new;
        self.batch.stderr.clear();
    }

    fn receive(&mut self, now: Time) {
        let mut rx = std::mem::take(&mut self.rx);
        let mut batch = std::mem::take(&mut self.batch);
        let mut input = batch.bytes();
        let result = loop {
            match self.client.poll(&mut rx, &mut input) {
                Ok(Some(event)) => self.on_event(event, now),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        batch.clear();
        (self.rx, self.batch) = (rx, batch);
        if let Some(error) = result {
            self.end(&error, None);
        }
    }

    fn on_event(&mut self, event: Event<'_>, now: Time) {
        match self.transfers.on_event(&mut self.client, event, now) {
            Handled::Data { job, offset, data } => self.on_data(job, |side| side.data(offset, data)),
            Handled::Other(Event::Reply { id, reply }) => {
                let Some(asked) = self.asked.remove(&id) else { return };
                self.done.push((asked.call, answer(reply)));
            }
            Handled::Other(Event::Data { id, data, left, .. }) => {
                let Some(asked) = self.asked.get_mut(&id) else { return };
                asked.data.extend_from_slice(data);
                if left == 0
                    && let Some(asked) = self.asked.remove(&id)
                {
                    self.done.push((asked.call, Answer::Data(asked.data)));
                }
            }
            _ => {}
        }
    }

    fn on_data(&mut self, id: JobId, take: impl FnOnce(&mut dyn Side) -> io::Result<()>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.failed.is_some() {
            return;
        }
        match take(&mut *job.side) {
            Ok(()) if job.side.is_watched() => self.done.push((job.call, Answer::Touched)),
            Ok(()) => {}
            Err(error) => {
                job.failed = Some(job.side.local(error));
                self.transfers.local_failure(&mut self.client, id);
            }
        }
    }

    fn source(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match job.side.source() {
            Ok(attrs) => self.transfers.source(id, &attrs),
            Err(error) => {
                job.failed = Some(job.side.local(error));
                self.transfers.local_failure(&mut self.client, id);
            }
        }
    }

    fn on_notice(&mut self, notice: Notice, now: Time) {
        match notice {
            Notice::Source { job } => self.source(job),
            Notice::Opened { job, offset } => self.on_data(job, |side| side.opened(offset)),
            Notice::Data { job, offset, data } => self.on_data(job, |side| side.owned(offset, data)),
            Notice::Fill { job, offset, .. } => drop(self.fill(job, offset, now)),
            Notice::Progress { job, done } => {
                if let Some(job) = self.jobs.get_mut(&job) {
                    job.side.progress(done);
                    if job.side.is_watched() {
                        self.done.push((job.call, Answer::Touched));
                    }
                }
            }
            Notice::Finished { job, result } => {
                let Some(mut job) = self.jobs.remove(&job) else { return };
                let result = match (result, job.failed) {
                    (_, Some(error)) => Err(error),
                    (Ok(summary), None) => Ok(summary),
                    (Err(TransferError::Cancelled), None) => Err(Error::new(ErrorKind::Cancelled)),
                    (Err(error @ TransferError::Lost { .. }), None) => {
                        Err(Error::lost(error, self.ended.clone()))
                    }
                    (Err(error), None) => Err(Error::new(ErrorKind::Transfer(error))),
                };
                let result = job.side.finished(result);
                self.done.push((job.call, Answer::Job(job.number, result)));
            }
            _ => {}
        }
    }

    /// Reads local data straight into the output; how much.
    fn fill(&mut self, id: JobId, offset: u64, now: Time) -> usize {
        let Some(job) = self.jobs.get_mut(&id) else { return 0 };
        let Job { call, side, failed, .. } = job;
        let (call, watched) = (*call, side.is_watched());
        let n = self.transfers.fill(&mut self.client, id, now, |room| match side.fill(offset, room) {
            Ok(local) => local,
            Err(error) => {
                *failed = Some(side.local(error));
                Local::Failed
            }
        });
        if watched && n > 0 {
            self.done.push((call, Answer::Touched));
        }
        n
    }

    /// Sends what was written to file objects, as far as the window allows.
    fn write_behind(&mut self, now: Time) {
        let mut writers = std::mem::take(&mut self.writers);
        writers.retain(|id| {
            loop {
                let Some(job) = self.jobs.get(id) else { return false };
                if !job.side.has_data() {
                    if job.side.is_closing() {
                        self.transfers.finish(*id);
                    }
                    return false;
                }
                if self.client.tx().len() >= OUTPUT || self.fill(*id, 0, now) == 0 {
                    return true;
                }
            }
        });
        self.writers = writers;
    }

    /// Everybody learns that it is over.
    fn end(&mut self, error: &sftp::Error, link: Option<Error>) {
        let stderr = konko_core::wire::SshStr::new(self.stderr.trim_ascii()).excerpt(500);
        let fatal = link.unwrap_or_else(|| Error::new(ErrorKind::Session(error.clone(), stderr)));
        self.ended = Some(fatal.clone());
        self.transfers.lost(error);
        while let Some(notice) = self.transfers.poll(&mut self.client, Time::ZERO) {
            self.on_notice(notice, Time::ZERO);
        }
        let waiting = self.waiting.drain(..).map(|(call, _)| call);
        let asked = std::mem::take(&mut self.asked).into_values().map(|asked| asked.call);
        let calls: Vec<CallId> = waiting.chain(asked).collect();
        self.done.extend(calls.into_iter().map(|call| (call, Answer::Failed(fatal.clone()))));
    }
}

fn answer(reply: Reply<'_>) -> Answer {
    match reply {
        Reply::Status(status) => Answer::Status(status),
        Reply::Handle(handle) => Answer::Handle(handle),
        Reply::Names(names) => Answer::Names(names.iter().map(|e| DirEntry::from(&e)).collect()),
        Reply::Path(path) => Answer::Path(path.to_vec()),
        Reply::Attrs(attrs) => Answer::Attrs(attrs),
        Reply::StatVfs(figures) => Answer::StatVfs(figures),
        Reply::UsersGroups(names) => Answer::UsersGroups(names),
        Reply::FileHash(hash) => Answer::FileHash(hash),
        Reply::Extended(bytes) => Answer::Extended(bytes.to_vec()),
        _ => Answer::Status(Status::new(sftp::StatusCode::BAD_MESSAGE)),
    }
}

/// How a side shares what it has with the file object.
pub(crate) type Share<T> = Arc<std::sync::Mutex<T>>;
