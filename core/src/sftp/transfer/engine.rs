//! The jobs, what is in flight, and whose turn it is.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use crate::sftp::attrs::Attrs;
use crate::sftp::client::{Client, Handle, RequestId};
use crate::sftp::error::{Error, UsageError};
use crate::time::Time;

use super::job::{Flight, Item, Job, Kind};
use super::script::Turn;
use super::window::Window;
use super::{GetOptions, JobId, Local, Notice, PutOptions, TransferConfig, TransferError, Verify};

/// Bits of a job's number that say its place.
const SLOT_BITS: u32 = 24;

/// Any number of transfers over one [`Client`].
#[derive(Debug)]
pub struct Transfers {
    pub(super) config: TransferConfig,
    pub(super) window: Window,
    jobs: Vec<Option<Box<Job>>>,
    free: Vec<u32>,
    made: u64,
    /// Not started.
    queue: VecDeque<JobId>,
    /// Perhaps with something to send.
    ready: VecDeque<JobId>,
    pub(super) flights: BTreeMap<RequestId, Flight>,
    pub(super) notices: VecDeque<Notice>,
    /// Files that are open, or being opened.
    pub(super) files: usize,
    /// As many as the server bears; learned.
    pub(super) most_files: usize,
    /// The longest reply that a server gives, where it is less than what limits say.
    pub(super) longest: u32,
    /// Bytes of all jobs that came out of turn, and wait for it.
    pub(super) held: usize,
    /// Requests so far, and the last of them that was answered.
    turns: u64,
    pub(super) answered: u64,
    /// What was answered at this time: what was sent before that and is not answered a stall later is starved.
    mark: (Time, u64),
}

impl Transfers {
    /// Without jobs.
    pub fn new(config: TransferConfig) -> Self {
        Transfers {
            window: Window::new(&config),
            most_files: config.max_files.max(1),
            config,
            jobs: Vec::new(),
            free: Vec::new(),
            made: 0,
            queue: VecDeque::new(),
            ready: VecDeque::new(),
            flights: BTreeMap::new(),
            notices: VecDeque::new(),
            files: 0,
            longest: u32::MAX,
            held: 0,
            turns: 0,
            answered: 0,
            mark: (Time::ZERO, 0),
        }
    }

    fn add(&mut self, make: impl FnOnce(JobId) -> Job) -> JobId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.jobs.push(None);
            self.jobs.len().saturating_sub(1) as u32
        });
        self.made = self.made.wrapping_add(1);
        let id = JobId(self.made << SLOT_BITS | u64::from(slot));
        let mut job = make(id);
        let hash = match job.verify() {
            Verify::Size => None,
            Verify::Hash(alg) | Verify::Reread(alg) => Some(alg),
        };
        match (hash, self.config.provider) {
            (Some(alg), Some(provider)) => job.hash = Some((alg, provider.hash(alg))),
            (Some(_), None) => job.fail(TransferError::NoProvider),
            (None, _) => {}
        }
        // What has a handle already need not wait for others to be closed.
        let open = job.handle.is_some();
        (job.started, job.queued) = (open, open);
        if let Some(place) = self.jobs.get_mut(slot as usize) {
            *place = Some(Box::new(job));
        }
        if open {
            self.ready.push_back(id)
        } else {
            self.queue.push_back(id)
        }
        id
    }

    /// Fetches a remote file.
    pub fn get(&mut self, path: &[u8], options: GetOptions) -> JobId {
        self.add(|id| Job::new(id, Kind::Get, path, options, PutOptions::default()))
    }

    /// Sends a local file.
    pub fn put(&mut self, path: &[u8], options: PutOptions) -> JobId {
        self.add(|id| Job::new(id, Kind::Put, path, GetOptions::default(), options))
    }

    /// Copies a remote file to another path of the same server: by copy-data if the server has it, else
    /// through this side. Only `flags`, `create` and `attrs` of the options count.
    pub fn copy(&mut self, from: &[u8], to: &[u8], options: PutOptions) -> JobId {
        let get = GetOptions::default();
        self.add(|id| Job { target: to.to_vec(), ..Job::new(id, Kind::Copy, from, get, options) })
    }

    /// Reads ahead from an open file, which stays open. Of the options, `offset`, `end`, `size`, `ordered`
    /// and `limit` count.
    pub fn read(&mut self, handle: &Handle, options: GetOptions) -> JobId {
        let handle = Some(handle.clone());
        let options = GetOptions { verify: Verify::Size, ..options };
        self.add(|id| Job { handle, ..Job::new(id, Kind::Read, b"", options, PutOptions::default()) })
    }

    /// Writes to an open file, which stays open, what [`fill`](Self::fill) is given, from `offset` on. The
    /// first error ends the job; [`finish`](Self::finish) ends it well when all is acknowledged.
    pub fn write(&mut self, handle: &Handle, offset: u64) -> JobId {
        let handle = Some(handle.clone());
        let options = PutOptions { offset, seekable: false, ..PutOptions::default() };
        self.add(|id| Job { handle, ..Job::new(id, Kind::Write, b"", GetOptions::default(), options) })
    }

    /// What there is to be said or asked for; sends requests on the way. Call until `None`, after each
    /// event and whenever `tx` got room.
    pub fn poll(&mut self, client: &mut Client, now: Time) -> Option<Notice> {
        loop {
            if let Some(notice) = self.notices.pop_front() {
                return Some(notice);
            }
            self.check_stall(client, now);
            self.start(client);
            let id = *self.ready.front()?;
            let turn = self.with(id, |this, job| this.run(client, job, now)).unwrap_or(Turn::Finished);
            match turn {
                Turn::Rotate => self.ready.rotate_left(1),
                Turn::Blocked => return self.notices.pop_front(),
                Turn::Idle | Turn::Finished => {
                    self.ready.pop_front();
                    let job = self.job_mut(id);
                    if let Some(job) = job {
                        job.queued = false;
                    }
                    if turn == Turn::Finished {
                        self.remove(id);
                    }
                }
            }
        }
    }

    /// Lends room for local data of a job: `read` fills it from the front. The data starts where the last
    /// one ended, or where [`Notice::Fill`] said. Returns how many bytes were taken; 0 is also "not now".
    pub fn fill(
        &mut self,
        client: &mut Client,
        id: JobId,
        now: Time,
        read: impl FnOnce(&mut [u8]) -> Local,
    ) -> usize {
        self.with(id, |this, job| this.fill_job(client, job, now, read)).unwrap_or(0)
    }

    /// The local file of a [`careful`](PutOptions::careful) put is open, and is this one: what [`Notice::Source`] asks
    /// for. Size, type and the time of the last change count.
    pub fn source(&mut self, id: JobId, local: &Attrs) {
        if let Some(job) = self.job_mut(id)
            && job.script.front() == Some(&Item::Source)
        {
            job.compare(local);
            job.asked = false;
            job.script.pop_front();
        }
        self.wake(id);
    }

    /// No more local data for a job that [`write`](Self::write) made.
    pub fn finish(&mut self, id: JobId) {
        if let Some(job) = self.job_mut(id) {
            job.ended = true;
        }
        self.wake(id);
    }

    /// There is local data again, after [`Local::Later`].
    pub fn resume(&mut self, id: JobId) {
        if let Some(job) = self.job_mut(id) {
            job.asked = false;
        }
        self.wake(id);
    }

    /// Lets a job read up to `offset`.
    pub fn allow(&mut self, id: JobId, offset: u64) {
        if let Some(job) = self.job_mut(id) {
            job.ranges.limit = Some(job.ranges.limit.map_or(offset, |l| l.max(offset)));
        }
        self.wake(id);
    }

    /// Ends a job as soon as possible: nothing more is asked for, what is open is closed, what is temporary
    /// removed. `Finished` follows.
    pub fn cancel(&mut self, client: &mut Client, id: JobId) {
        self.fail(client, id, TransferError::Cancelled);
    }

    /// Ends a job because of the local side, as [`cancel`](Self::cancel) does.
    pub fn local_failure(&mut self, client: &mut Client, id: JobId) {
        self.fail(client, id, TransferError::Local);
    }

    /// The session has ended: so have all jobs, and `Finished` says how far each of them came.
    pub fn lost(&mut self, error: &Error) {
        self.flights.clear();
        let in_flight = self.window.peak;
        for slot in 0..self.jobs.len() {
            let Some(job) = self.jobs.get_mut(slot).and_then(Option::take) else { continue };
            let lost = TransferError::Lost { done: job.done(), in_flight, error: error.clone() };
            let result = Err(job.error.unwrap_or(lost));
            self.notices.push_back(Notice::Finished { job: job.id, result });
        }
        (self.jobs, self.free, self.files, self.held) = (Vec::new(), Vec::new(), 0, 0);
        self.queue.clear();
        self.ready.clear();
    }

    /// When to poll at the latest.
    pub fn deadline(&self) -> Option<Time> {
        let all = self.window.deadline(!self.flights.is_empty())?;
        Some(all.min(self.mark.0 + self.config.stall))
    }

    /// Jobs that have not ended.
    pub fn len(&self) -> usize {
        self.jobs.len().saturating_sub(self.free.len())
    }

    /// Whether all jobs have ended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Contiguous bytes of a job that are safe, and the size of the file if it is known.
    pub fn progress(&self, id: JobId) -> Option<(u64, Option<u64>)> {
        self.job(id).map(|j| (j.done(), j.ranges.size))
    }

    /// READs and WRITEs in flight now, and at most so far.
    pub fn in_flight(&self) -> (usize, usize) {
        (self.window.in_flight(), self.window.peak)
    }

    /// Bytes that came out of turn and wait for it, of jobs whose data comes in order or is hashed. Never more
    /// than [`TransferConfig::max_bytes`].
    pub fn held(&self) -> usize {
        self.held
    }

    // ---- below ----

    fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(slot_of(id))?.as_deref().filter(|j| j.id == id)
    }

    pub(super) fn job_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.jobs.get_mut(slot_of(id))?.as_deref_mut().filter(|j| j.id == id)
    }

    /// Works on a job that is taken out for that time.
    pub(super) fn with<T>(&mut self, id: JobId, work: impl FnOnce(&mut Self, &mut Job) -> T) -> Option<T> {
        let mut job = self.jobs.get_mut(slot_of(id))?.take_if(|j| j.id == id)?;
        let before = job.waiting();
        let result = work(self, &mut job);
        self.held = self.held.saturating_add(job.waiting()).saturating_sub(before);
        if let Some(place) = self.jobs.get_mut(slot_of(id)) {
            *place = Some(job);
        }
        Some(result)
    }

    fn remove(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(slot_of(id)).and_then(|p| p.take_if(|j| j.id == id)) {
            self.held = self.held.saturating_sub(job.waiting());
            self.free.push(slot_of(id) as u32);
        }
    }

    /// Puts a job among those that may have something to send.
    pub(super) fn wake(&mut self, id: JobId) {
        if let Some(job) = self.job_mut(id)
            && !job.queued
            && job.handle_or_started()
        {
            job.queued = true;
            self.ready.push_back(id);
        }
    }

    /// The same for a job that is taken out.
    pub(super) fn make_ready(&mut self, id: JobId) {
        self.ready.push_back(id);
    }

    /// A job waits for its start once more.
    pub(super) fn requeue(&mut self, id: JobId) {
        self.queue.push_back(id);
    }

    /// Starts jobs while the server bears more open files.
    fn start(&mut self, client: &Client) {
        let said = usize::try_from(client.limits().handles).unwrap_or(usize::MAX);
        let borne = match said {
            0 => 64,
            // Some are left for what else is going on.
            n => n.saturating_sub(n / 16).saturating_sub(1).max(1),
        };
        let most = self.most_files.min(borne);
        while self.files < most
            && client.has_room()
            && let Some(id) = self.queue.pop_front()
        {
            let Some(job) = self.job_mut(id) else { continue };
            job.started = true;
            let opens = match job.kind {
                Kind::Get | Kind::Put => 1,
                Kind::Copy => 2,
                Kind::Read | Kind::Write => 0,
            };
            if job.error.is_none() {
                job.opens = opens;
                self.files = self.files.saturating_add(opens);
            }
            self.wake(id);
        }
    }

    /// Notes a request that was sent. False: it was not.
    pub(super) fn sent(
        &mut self,
        job: &mut Job,
        item: Item,
        (offset, len): (u64, u32),
        request: Result<RequestId, UsageError>,
        now: Time,
    ) -> Result<(), UsageError> {
        let id = request?;
        self.turns = self.turns.saturating_add(1);
        if self.flights.is_empty() {
            self.window.start_clock(now);
            self.mark = (now, self.answered);
        }
        job.outstanding = job.outstanding.saturating_add(1);
        if matches!(item, Item::Read | Item::Fill) {
            job.data = job.data.saturating_add(1);
            self.window.sent(len as usize, now);
        }
        let turn = self.turns;
        self.flights.insert(id, Flight { job: job.id, item, offset, len, got: 0, sent: now, turn });
        Ok(())
    }

    pub(super) fn fail(&mut self, client: &mut Client, id: JobId, error: TransferError) {
        self.drop_data(client, id);
        self.with(id, |_, job| {
            job.started = true;
            job.fail(error);
        });
        self.queue.retain(|q| *q != id);
        self.wake(id);
    }

    /// Nobody wants the data any more that was asked for.
    pub(super) fn drop_data(&mut self, client: &mut Client, id: JobId) {
        self.drop_data_before(client, id, u64::MAX);
    }

    fn drop_data_before(&mut self, client: &mut Client, id: JobId, turn: u64) {
        let mine = |f: &Flight| f.job == id && f.turn < turn && f.is_data();
        let gone: Vec<(RequestId, Flight)> =
            self.flights.iter().filter(|(_, f)| mine(f)).map(|(r, f)| (*r, *f)).collect();
        for (request, flight) in gone {
            client.cancel(request);
            self.flights.remove(&request);
            self.window.forget(flight.len as usize);
            if let Some(job) = self.job_mut(id) {
                job.outstanding = job.outstanding.saturating_sub(1);
                job.data = job.data.saturating_sub(1);
            }
        }
    }

    /// No reply for too long: what was asked for is asked for again, less of it at a time. None to a request
    /// while later ones are answered: that one is.
    fn check_stall(&mut self, client: &mut Client, now: Time) {
        if self.deadline().is_none_or(|at| at > now) {
            return;
        }
        if self.window.deadline(true).is_some_and(|at| at <= now) {
            self.window.stalled(now);
            self.mark = (now, self.answered);
            let given_up = self.window.stalls > self.config.max_stalls;
            let jobs: Vec<JobId> = self.jobs.iter().flatten().filter(|j| j.started).map(|j| j.id).collect();
            jobs.into_iter().for_each(|id| self.stalled(client, id, u64::MAX, given_up));
            return;
        }
        let (_, overtaken) = core::mem::replace(&mut self.mark, (now, self.answered));
        let starved = |f: &&Flight| f.turn < overtaken && !f.is_long();
        let jobs: BTreeSet<JobId> = self.flights.values().filter(starved).map(|f| f.job).collect();
        jobs.into_iter().for_each(|id| self.stalled(client, id, overtaken, false));
    }

    /// What a job sent before `turn` is not answered: it is asked for again.
    fn stalled(&mut self, client: &mut Client, id: JobId, turn: u64, given_up: bool) {
        if given_up || self.is_given_up(id, turn) {
            // What does not answer will not answer a CLOSE either.
            self.drop_data(client, id);
            return self.abandon(client, id);
        }
        self.drop_questions(client, id, turn);
        let mine = self.flights.values().filter(|f| f.job == id && f.turn < turn);
        let again: Vec<Flight> = mine.filter(|f| f.is_data()).copied().collect();
        let Some(job) = self.job_mut(id) else { return };
        // What was written from a pipe cannot be asked for again: perhaps it is only slow.
        let lasting = job.is_upload() && !(job.kind == Kind::Put && job.put.seekable);
        if again.is_empty() || lasting || job.error.is_some() {
            return;
        }
        let closed = job.is_upload() && !job.is_filling();
        for f in again {
            let (offset, len) = (f.offset.saturating_add(u64::from(f.got)), f.len.saturating_sub(f.got));
            match f.item {
                Item::Fill if job.is_upload() => job.refill.push_back((offset, len)),
                // What a copy did not get written is read again, and written then.
                _ => job.ranges.again(offset, len),
            }
        }
        self.drop_data_before(client, id, turn);
        if closed {
            self.write_again(client, id);
        }
        self.wake(id);
    }

    /// Whether a job has stalled too often. What else is answered meanwhile, of it or of others, does not help.
    fn is_given_up(&mut self, id: JobId, turn: u64) -> bool {
        let waits = self.flights.values().any(|f| f.job == id && f.turn < turn && !f.is_long());
        let most = self.config.max_stalls;
        let Some(job) = self.job_mut(id).filter(|_| waits) else { return false };
        let (times, before) = job.starved;
        let done = job.done();
        job.starved = (if done > before { 1 } else { times.saturating_add(1) }, done);
        job.starved.0 > most
    }

    /// A file was closed behind writes that were never answered: it is opened once more for them.
    fn write_again(&mut self, client: &mut Client, id: JobId) {
        self.drop_flights(client, id);
        let Some(job) = self.job_mut(id) else { return };
        if job.handle.is_some() {
            return job.script.push_front(Item::Fill);
        }
        job.reopening = true;
        job.opens = job.opens.saturating_add(1);
        let mut steps = alloc::vec![Item::Open, Item::Wait, Item::Fill];
        steps.extend(job.put.attrs.as_ref().map(|_| Item::SetAttrs));
        steps.extend(job.put.fsync.then_some(Item::Fsync));
        steps.extend([Item::Close, Item::StatPath]);
        steps.into_iter().rev().for_each(|i| job.script.push_front(i));
        self.files = self.files.saturating_add(1);
    }

    /// Nothing is waited for any more.
    fn drop_flights(&mut self, client: &mut Client, id: JobId) {
        let gone: Vec<RequestId> =
            self.flights.iter().filter(|(_, f)| f.job == id).map(|(r, _)| *r).collect();
        for request in gone {
            client.cancel(request);
            self.flights.remove(&request);
        }
        if let Some(job) = self.job_mut(id) {
            job.outstanding = 0;
        }
    }

    /// Does without what would only have been good to know, and was asked before `turn`.
    fn drop_questions(&mut self, client: &mut Client, id: JobId, turn: u64) {
        let question = |f: &Flight| matches!(f.item, Item::Stat | Item::Restat | Item::StatPath | Item::Look);
        let mine = |f: &Flight| f.job == id && f.turn < turn && question(f);
        let gone: Vec<RequestId> = self.flights.iter().filter(|(_, f)| mine(f)).map(|(r, _)| *r).collect();
        for request in gone {
            client.cancel(request);
            self.flights.remove(&request);
            if let Some(job) = self.job_mut(id).filter(|j| !j.put.resume) {
                job.outstanding = job.outstanding.saturating_sub(1);
                job.ranges.size_pending = false;
            }
        }
        self.wake(id);
    }

    /// Ends a job without waiting for anything.
    fn abandon(&mut self, client: &mut Client, id: JobId) {
        let gone: Vec<RequestId> =
            self.flights.iter().filter(|(_, f)| f.job == id).map(|(r, _)| *r).collect();
        for request in gone {
            client.cancel(request);
            self.flights.remove(&request);
        }
        self.with(id, |_, job| {
            job.outstanding = 0;
            job.fail(TransferError::Stalled);
            // One last attempt to tidy up, without waiting for it.
            job.script.retain(|i| *i != Item::Wait);
        });
        self.wake(id);
    }
}

fn slot_of(id: JobId) -> usize {
    (id.0 & ((1 << SLOT_BITS) - 1)) as usize
}
