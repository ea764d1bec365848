//! What all jobs share: the window, the requests in flight, the files that may be open.

use alloc::collections::VecDeque;

use crate::sftp::client::{Handle, RequestId, SftpClient};
use crate::sftp::error::UsageError;
use crate::sftp::status::{Status, StatusCode};
use crate::time::Time;

use super::requests::{Ask, Requests, Sent};
use super::window::Window;
use super::{JobId, Notice, Summary, TransferConfig, TransferError};

/// Times that a file is opened again when a server has too many open.
const MAX_TRIES: u32 = 8;

/// How a job's turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It could go on; others first.
    Rotate,
    /// Nobody can go on: the window or the client is full.
    Blocked,
    /// It waits for something.
    Idle,
    /// It has ended.
    Finished,
}

/// Why a job does not go on.
#[derive(Debug)]
pub(super) enum Halt {
    Turn(Turn),
    /// Everything was sent and answered.
    Done,
    Fail(TransferError),
}

impl From<TransferError> for Halt {
    fn from(error: TransferError) -> Self {
        Halt::Fail(error)
    }
}

/// What every job has.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) id: JobId,
    /// Requests that were not answered, and READs and WRITEs among them.
    pub(super) outstanding: usize,
    pub(super) data: usize,
    /// Among those that may have something to send.
    pub(super) queued: bool,
    pub(super) started: bool,
    /// Files that count as open for it.
    pub(super) opens: usize,
    /// Stalls of its own in a row, without anything becoming safe: how much was then.
    pub(super) starved: (u32, u64),
    pub(super) summary: Summary,
}

impl Task {
    pub(super) fn new(id: JobId) -> Self {
        let summary = Summary::default();
        Task {
            id,
            outstanding: 0,
            data: 0,
            queued: false,
            started: false,
            opens: 0,
            starved: (0, 0),
            summary,
        }
    }

    /// Goes on when everything that was sent is answered.
    pub(super) fn quiet(&self) -> Result<(), Halt> {
        if self.outstanding > 0 { Err(Halt::Turn(Turn::Idle)) } else { Ok(()) }
    }

    /// The same at the end.
    pub(super) fn end(&self) -> Result<(), Halt> {
        self.quiet()?;
        Err(Halt::Done)
    }
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) config: TransferConfig,
    pub(super) window: Window,
    pub(super) requests: Requests,
    pub(super) notices: VecDeque<Notice>,
    /// Jobs that were not started.
    pub(super) queue: VecDeque<JobId>,
    /// Files that are open, or being opened.
    pub(super) files: usize,
    /// As many as the server bears; learned.
    pub(super) most_files: usize,
    /// The longest reply that a server gives, where it is less than what limits say.
    pub(super) longest: u32,
    /// Bytes of all jobs that came out of turn, and wait for it.
    pub(super) held: usize,
}

impl Lane {
    /// Whether data of a job waits to be fetched.
    pub(super) fn owes(&self, job: JobId) -> bool {
        self.notices.iter().any(|notice| matches!(notice, Notice::Data { job: of, .. } if *of == job))
    }

    pub(super) fn new(config: TransferConfig) -> Self {
        Lane {
            window: Window::new(&config),
            most_files: config.max_files.max(1),
            config,
            requests: Requests::default(),
            notices: VecDeque::new(),
            queue: VecDeque::new(),
            files: 0,
            longest: u32::MAX,
            held: 0,
        }
    }

    /// A request was answered in full.
    pub(super) fn answered(&mut self, task: &mut Task, sent: &Sent, now: Time) {
        task.outstanding = task.outstanding.saturating_sub(1);
        if sent.ask.is_data() {
            task.data = task.data.saturating_sub(1);
            self.window.acked(sent.len as usize, sent.at, now);
        }
    }

    /// The answer to a request is not waited for any more.
    pub(super) fn forgotten(&mut self, task: &mut Task, sent: &Sent) {
        task.outstanding = task.outstanding.saturating_sub(1);
        if sent.ask.is_data() {
            task.data = task.data.saturating_sub(1);
            self.window.forget(sent.len as usize);
        }
    }

    /// A file of the job is no longer open.
    pub(super) fn closed(&mut self, task: &mut Task) {
        if task.opens > 0 {
            task.opens = task.opens.saturating_sub(1);
            self.files = self.files.saturating_sub(1);
        }
    }

    /// One more file of the job is open, or will be.
    pub(super) fn opens(&mut self, task: &mut Task) {
        task.opens = task.opens.saturating_add(1);
        self.files = self.files.saturating_add(1);
    }

    /// An OPEN succeeded.
    pub(super) fn opened(&mut self) {
        self.most_files = self.most_files.saturating_add(1).min(self.config.max_files);
    }

    /// An OPEN was refused that was sent when `others` files were open. No error: perhaps there are too many, and it
    /// is tried again when there are fewer.
    pub(super) fn refused(
        &mut self,
        task: &mut Task,
        tries: &mut u32,
        others: u64,
        status: Status,
    ) -> Result<(), TransferError> {
        self.closed(task);
        if status.code != StatusCode::FAILURE || others <= 1 || *tries >= MAX_TRIES {
            return Err(Ask::Open.refused(status));
        }
        *tries = tries.saturating_add(1);
        self.most_files = self.files.max(1);
        task.started = false;
        self.queue.push_back(task.id);
        Ok(())
    }

    /// Whether a further READ or WRITE of the job may be sent.
    pub(super) fn has_turn(&self, task: &Task) -> bool {
        !(self.config.sequential && task.data > 0)
    }

    /// Bytes of one READ.
    pub(super) fn read_len(&self, client: &SftpClient) -> u32 {
        self.config.request_len.unwrap_or(u32::MAX).min(client.limits().read_len()).min(self.longest)
    }

    /// Bytes of one WRITE.
    pub(super) fn write_len(&self, client: &SftpClient) -> usize {
        self.config.request_len.unwrap_or(u32::MAX).min(client.limits().write_len()) as usize
    }

    /// Requests of any size: at least a few are in flight.
    pub(super) fn known_len(&mut self, len: usize) {
        self.window.at_least(self.config.start_requests.saturating_mul(len));
    }
}

/// One job at work.
pub(super) struct Drive<'a> {
    pub(super) lane: &'a mut Lane,
    pub(super) task: &'a mut Task,
    pub(super) client: &'a mut SftpClient,
    pub(super) now: Time,
}

impl Drive<'_> {
    /// Sends a request that is not about data, and goes on without the reply.
    pub(super) fn ask(
        &mut self,
        ask: Ask,
        request: impl FnOnce(&mut SftpClient) -> Result<RequestId, UsageError>,
    ) -> Result<(), Halt> {
        // A server that stalled before gets one thing at a time.
        if self.lane.window.has_stalled() {
            self.task.quiet()?;
        }
        let text = match request(self.client) {
            Ok(id) => {
                self.note(ask, (self.lane.files as u64, 0), id);
                return Ok(());
            }
            Err(UsageError::Full | UsageError::NotReady | UsageError::Ended) => {
                return Err(Halt::Turn(Turn::Blocked));
            }
            Err(UsageError::InvalidPath) => "the path holds a NUL byte",
            Err(UsageError::TooLong) => "the path is too long",
            Err(_) => "the server does not offer it",
        };
        Err(Halt::Fail(ask.refused(Status::with_message(StatusCode::OP_UNSUPPORTED, text))))
    }

    /// Sends a request if it was not `sent`, and goes on when everything is answered.
    pub(super) fn answered(
        &mut self,
        sent: &mut bool,
        ask: Ask,
        request: impl FnOnce(&mut SftpClient) -> Result<RequestId, UsageError>,
    ) -> Result<(), Halt> {
        if !*sent {
            self.ask(ask, request)?;
            *sent = true;
        }
        self.task.quiet()
    }

    /// CLOSE. What was open does not count any more.
    pub(super) fn close(&mut self, handle: &Handle) -> Result<(), Halt> {
        self.ask(Ask::Close, |client| client.close(handle))?;
        self.lane.closed(self.task);
        Ok(())
    }

    /// A request was sent.
    pub(super) fn note(&mut self, ask: Ask, (offset, len): (u64, u32), id: RequestId) {
        let (lane, task, now) = (&mut *self.lane, &mut *self.task, self.now);
        if lane.requests.is_empty() {
            lane.window.start_clock(now);
        }
        task.outstanding = task.outstanding.saturating_add(1);
        if ask.is_data() {
            task.data = task.data.saturating_add(1);
            lane.window.sent(len as usize, now);
        }
        lane.requests.insert(id, Sent { job: task.id, ask, offset, len, got: 0, at: now, turn: 0 });
    }
}
