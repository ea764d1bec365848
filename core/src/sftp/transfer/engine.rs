//! The jobs, and whose turn it is.

use alloc::collections::VecDeque;

use crate::sftp::attrs::Attrs;
use crate::sftp::client::{Event, Handle, SftpClient};
use crate::sftp::error::Error;
use crate::slab::Slab;
use crate::time::Time;

use super::copy::Copy;
use super::download::Download;
use super::job::{Failed, Job, Work};
use super::lane::{Halt, Lane, Task, Turn};
use super::object::{ReadAhead, WriteBehind};
use super::upload::Upload;
use super::{DownloadOptions, Handled, JobId, Local, Notice, TransferConfig, TransferError, UploadOptions};

/// Any number of transfers over one [`SftpClient`].
#[derive(Debug)]
pub struct Transfers {
    pub(super) jobs: Slab<Job>,
    /// Perhaps with something to send.
    ready: VecDeque<JobId>,
    pub(super) lane: Lane,
}

impl Transfers {
    /// Without jobs.
    pub fn new(config: TransferConfig) -> Self {
        Transfers { jobs: Slab::new(), ready: VecDeque::new(), lane: Lane::new(config) }
    }

    /// Fetches a remote file.
    pub fn download(&mut self, path: &[u8], options: DownloadOptions) -> JobId {
        let work = Download::new(path, options, &self.lane.config).map(|w| Work::Download(w.into()));
        self.enqueue(work)
    }

    /// Sends a local file.
    pub fn upload(&mut self, path: &[u8], options: UploadOptions) -> JobId {
        let work = Upload::new(path, options, &self.lane.config).map(|w| Work::Upload(w.into()));
        self.enqueue(work)
    }

    /// Copies a remote file to another path of the same server: by copy-data if the server has it, else
    /// through this side. Only `flags` and `create` of the options count.
    pub fn copy(&mut self, from: &[u8], to: &[u8], options: UploadOptions) -> JobId {
        self.enqueue(Ok(Work::Copy(Copy::new(from, to, options).into())))
    }

    /// Reads ahead from an open file, which stays open. Of the options, `offset`, `end`, `size`, `ordered`
    /// and `limit` count.
    pub fn read(&mut self, handle: &Handle, options: DownloadOptions) -> JobId {
        self.begin(Work::ReadAhead(ReadAhead::new(handle, &options).into()))
    }

    /// Writes to an open file, which stays open, what [`fill`](Self::fill) is given, from `offset` on. The
    /// first error ends the job; [`finish`](Self::finish) ends it well when all is acknowledged.
    pub fn write(&mut self, handle: &Handle, offset: u64) -> JobId {
        self.begin(Work::WriteBehind(WriteBehind::new(handle, offset).into()))
    }

    fn add(&mut self, work: Work) -> JobId {
        let id = JobId(self.jobs.next_key());
        self.jobs.insert(Job { task: Task::new(id), work });
        id
    }

    /// It is started when the server bears one more open file.
    fn enqueue(&mut self, work: Result<Work, TransferError>) -> JobId {
        let id = self.add(work.unwrap_or_else(|error| Work::Failed(Failed::new(error, 0).into())));
        self.lane.queue.push_back(id);
        id
    }

    /// What has a handle already need not wait for others to be closed.
    fn begin(&mut self, work: Work) -> JobId {
        let id = self.add(work);
        if let Some(job) = self.job_mut(id) {
            job.task.started = true;
        }
        self.wake(id);
        id
    }

    /// What there is to be said or asked for; sends requests on the way. Call until `None`, after each
    /// event and whenever `tx` got room.
    pub fn poll(&mut self, client: &mut SftpClient, now: Time) -> Option<Notice> {
        loop {
            if let Some(notice) = self.lane.notices.pop_front() {
                return Some(notice);
            }
            self.check_stall(client, now);
            self.start(client);
            let id = *self.ready.front()?;
            match self.with(id, |lane, job| run(lane, job, client, now)).unwrap_or(Turn::Finished) {
                Turn::Rotate => self.ready.rotate_left(1),
                Turn::Blocked => return self.lane.notices.pop_front(),
                turn @ (Turn::Idle | Turn::Finished) => {
                    self.ready.pop_front();
                    if let Some(job) = self.job_mut(id) {
                        job.task.queued = false;
                    }
                    if turn == Turn::Finished {
                        self.end(id);
                    }
                }
            }
        }
    }

    /// Takes an event of the client. What is not for a job is handed back.
    pub fn on_event<'b>(&mut self, client: &mut SftpClient, event: Event<'b>, now: Time) -> Handled<'b> {
        match event {
            Event::Data { id, at, data, left } => {
                let Some(sent) = self.lane.requests.on_data(id, data.len(), left) else {
                    return Handled::Other(Event::Data { id, at, data, left });
                };
                let (job, offset) = (sent.job, sent.offset.saturating_add(u64::from(at)));
                self.lane.window.alive(now);
                let mine = self.with(job, |lane, job| {
                    if left == 0 {
                        lane.answered(&mut job.task, &sent, now);
                    }
                    job.on_data((lane, client, now), (&sent, left), offset, data)
                });
                self.wake(job);
                if mine == Some(true) { Handled::Data { job, offset, data } } else { Handled::Done }
            }
            Event::Reply { id, reply } => {
                let Some(sent) = self.lane.requests.on_reply(id) else {
                    return Handled::Other(Event::Reply { id, reply });
                };
                self.lane.window.alive(now);
                let failed = self.with(sent.job, |lane, job| {
                    lane.answered(&mut job.task, &sent, now);
                    job.on_reply((lane, client, now), &sent, reply).map_err(|error| job.fail(error)).is_err()
                });
                if failed == Some(true) {
                    self.drop_data(client, sent.job, u64::MAX);
                }
                self.wake(sent.job);
                Handled::Done
            }
            other => Handled::Other(other),
        }
    }

    /// Lends room for local data of a job: `read` fills it from the front. The data starts where the last
    /// one ended, or where [`Notice::Fill`] said. Returns how many bytes were taken; 0 is also "not now".
    pub fn fill(
        &mut self,
        client: &mut SftpClient,
        id: JobId,
        now: Time,
        read: impl FnOnce(&mut [u8]) -> Local,
    ) -> usize {
        let filled = self.with(id, |lane, job| {
            job.fill((lane, client, now), read).unwrap_or_else(|error| {
                job.fail(error);
                Some(0)
            })
        });
        let Some(n) = filled.flatten() else { return 0 };
        self.wake(id);
        n
    }

    /// The local file of a [`careful`](UploadOptions::careful) put is open, and is this one: what [`Notice::Source`] asks
    /// for. Size, type and the time of the last change count.
    pub fn source(&mut self, id: JobId, local: &Attrs) {
        if let Some(Job { work: Work::Upload(upload), .. }) = self.job_mut(id) {
            upload.source(local);
        }
        self.wake(id);
    }

    /// No more local data for a job that [`write`](Self::write) made.
    pub fn finish(&mut self, id: JobId) {
        if let Some(out) = self.job_mut(id).and_then(Job::out) {
            out.ended = true;
        }
        self.wake(id);
    }

    /// There is local data again, after [`Local::Later`].
    pub fn resume(&mut self, id: JobId) {
        if let Some(out) = self.job_mut(id).and_then(Job::out) {
            out.asked = false;
        }
        self.wake(id);
    }

    /// Lets a job read up to `offset`.
    pub fn allow(&mut self, id: JobId, offset: u64) {
        if let Some(intake) = self.job_mut(id).and_then(Job::intake) {
            intake.ranges.limit = Some(intake.ranges.limit.map_or(offset, |l| l.max(offset)));
        }
        self.wake(id);
    }

    /// Ends a job as soon as possible: nothing more is asked for, what is open is closed, what is temporary
    /// removed. `Finished` follows.
    pub fn cancel(&mut self, client: &mut SftpClient, id: JobId) {
        self.fail(client, id, TransferError::Cancelled);
    }

    /// Ends a job because of the local side, as [`cancel`](Self::cancel) does.
    pub fn local_failure(&mut self, client: &mut SftpClient, id: JobId) {
        self.fail(client, id, TransferError::Local);
    }

    /// The session has ended: so have all jobs, and `Finished` says how far each of them came.
    pub fn lost(&mut self, error: &Error) {
        self.lane.requests.clear();
        let in_flight = self.lane.window.peak;
        for (key, job) in self.jobs.drain() {
            let lost = TransferError::Lost { done: job.done(), in_flight, error: error.clone() };
            let result = Err(job.error().cloned().unwrap_or(lost));
            self.lane.notices.push_back(Notice::Finished { job: JobId(key), result });
        }
        (self.lane.files, self.lane.held) = (0, 0);
        self.lane.queue.clear();
        self.ready.clear();
    }

    /// When to poll at the latest.
    pub fn deadline(&self) -> Option<Time> {
        let all = self.lane.window.deadline(!self.lane.requests.is_empty())?;
        Some(all.min(self.lane.requests.marked() + self.lane.config.stall))
    }

    /// Jobs that have not ended.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether all jobs have ended.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Contiguous bytes of a job that are safe, and the size of the file if it is known.
    pub fn progress(&self, id: JobId) -> Option<(u64, Option<u64>)> {
        self.jobs.get(id.0).map(|job| (job.done(), job.size()))
    }

    /// READs and WRITEs in flight now, and at most so far.
    pub fn in_flight(&self) -> (usize, usize) {
        (self.lane.window.in_flight(), self.lane.window.peak)
    }

    /// Bytes that came out of turn and wait for it, of jobs whose data comes in order or is hashed. Never more
    /// than [`TransferConfig::max_bytes`].
    pub fn held(&self) -> usize {
        self.lane.held
    }

    // ---- below ----

    pub(super) fn job_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.jobs.get_mut(id.0)
    }

    /// Works on a job, and keeps account of what it holds.
    pub(super) fn with<T>(&mut self, id: JobId, work: impl FnOnce(&mut Lane, &mut Job) -> T) -> Option<T> {
        let job = self.jobs.get_mut(id.0)?;
        let before = job.held();
        let result = work(&mut self.lane, job);
        self.lane.held = self.lane.held.saturating_add(job.held()).saturating_sub(before);
        Some(result)
    }

    /// Puts a job among those that may have something to send.
    pub(super) fn wake(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(id.0)
            && !job.task.queued
            && job.task.started
        {
            job.task.queued = true;
            self.ready.push_back(id);
        }
    }

    /// Starts jobs while the server bears more open files.
    fn start(&mut self, client: &SftpClient) {
        let said = usize::try_from(client.limits().handles).unwrap_or(usize::MAX);
        let borne = match said {
            0 => 64,
            // Some are left for what else is going on.
            n => n.saturating_sub(n / 16).saturating_sub(1).max(1),
        };
        let most = self.lane.most_files.min(borne);
        while self.lane.files < most
            && client.has_room()
            && let Some(id) = self.lane.queue.pop_front()
        {
            let Some(job) = self.jobs.get_mut(id.0) else { continue };
            job.task.started = true;
            job.task.opens = job.files();
            self.lane.files = self.lane.files.saturating_add(job.task.opens);
            self.wake(id);
        }
    }

    fn fail(&mut self, client: &mut SftpClient, id: JobId, error: TransferError) {
        self.drop_data(client, id, u64::MAX);
        self.with(id, |_, job| {
            job.task.started = true;
            job.fail(error);
        });
        self.lane.queue.retain(|q| *q != id);
        self.wake(id);
    }

    /// Everything that a job sent is answered.
    fn end(&mut self, id: JobId) {
        let Some(mut job) = self.jobs.remove(id.0) else { return };
        self.lane.held = self.lane.held.saturating_sub(job.held());
        for _ in 0..job.task.opens {
            self.lane.closed(&mut job.task);
        }
        let result = match job.error() {
            Some(error) => Err(error.clone()),
            None => Ok(core::mem::take(&mut job.task.summary)),
        };
        self.lane.notices.push_back(Notice::Finished { job: id, result });
    }
}

/// Lets a job send what it can.
fn run(lane: &mut Lane, job: &mut Job, client: &mut SftpClient, now: Time) -> Turn {
    if !job.task.started {
        return Turn::Idle;
    }
    loop {
        match job.step(lane, client, now) {
            Ok(()) => {}
            Err(Halt::Turn(turn)) => return turn,
            Err(Halt::Fail(error)) => job.fail(error),
            Err(Halt::Done) => match job.finish() {
                Ok(()) => return Turn::Finished,
                Err(error) => job.fail(error),
            },
        }
    }
}
