//! One transfer, whatever it is, and what is left to do when it has failed.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::sftp::client::{Handle, Reply, SftpClient};
use crate::time::Time;

use super::copy::Copy;
use super::download::Download;
use super::intake::Intake;
use super::lane::{Drive, Halt, Lane, Task};
use super::object::{ReadAhead, WriteBehind};
use super::outgoing::Outgoing;
use super::requests::{Ask, Sent};
use super::upload::Upload;
use super::{Local, TransferError};

pub(super) struct Job {
    pub(super) task: Task,
    pub(super) work: Work,
}

pub(super) enum Work {
    Download(Box<Download>),
    Upload(Box<Upload>),
    Copy(Box<Copy>),
    ReadAhead(Box<ReadAhead>),
    WriteBehind(Box<WriteBehind>),
    Failed(Box<Failed>),
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match &self.work {
            Work::Download(_) => "download",
            Work::Upload(_) => "upload",
            Work::Copy(_) => "copy",
            Work::ReadAhead(_) => "read-ahead",
            Work::WriteBehind(_) => "write-behind",
            Work::Failed(_) => "failed",
        };
        write!(f, "Job({:?}, {what}, {} outstanding)", self.task.id, self.task.outstanding)
    }
}

impl Job {
    /// What it is, and what it works with.
    fn at<'a>(
        &'a mut self,
        lane: &'a mut Lane,
        client: &'a mut SftpClient,
        now: Time,
    ) -> (&'a mut Work, Drive<'a>) {
        (&mut self.work, Drive { lane, task: &mut self.task, client, now })
    }

    /// Goes on; the end and failures are halts.
    pub(super) fn step(&mut self, lane: &mut Lane, client: &mut SftpClient, now: Time) -> Result<(), Halt> {
        let (work, mut go) = self.at(lane, client, now);
        match work {
            Work::Download(w) => w.step(&mut go),
            Work::Upload(w) => w.step(&mut go),
            Work::Copy(w) => w.step(&mut go),
            Work::ReadAhead(w) => w.step(&mut go),
            Work::WriteBehind(w) => w.step(go.task),
            Work::Failed(w) => w.step(&mut go),
        }
    }

    /// Data came, `left` bytes of its reply will follow. True: it goes to the application now.
    pub(super) fn on_data(
        &mut self,
        (lane, client, now): (&mut Lane, &mut SftpClient, Time),
        (sent, left): (&Sent, u32),
        offset: u64,
        data: &[u8],
    ) -> bool {
        let (work, mut go) = self.at(lane, client, now);
        match work {
            Work::Download(w) => return w.on_data(&mut go, (sent, left), offset, data),
            Work::ReadAhead(w) => {
                w.intake.arrived(go.lane, sent, offset, data.len(), left);
                return w.intake.take(go.lane, Some(go.task.id), None, offset, data);
            }
            Work::Upload(w) => w.on_data(&mut go, (sent, left), offset, data),
            Work::Copy(w) => {
                if let Err(error) = w.on_data(&mut go, (sent, left), offset, data) {
                    self.fail(error);
                }
            }
            Work::WriteBehind(_) | Work::Failed(_) => {}
        }
        false
    }

    pub(super) fn on_reply(
        &mut self,
        (lane, client, now): (&mut Lane, &mut SftpClient, Time),
        sent: &Sent,
        reply: Reply<'_>,
    ) -> Result<(), TransferError> {
        let (work, mut go) = self.at(lane, client, now);
        match work {
            Work::Download(w) => w.on_reply(&mut go, sent, reply),
            Work::Upload(w) => w.on_reply(&mut go, sent, reply),
            Work::Copy(w) => w.on_reply(&mut go, sent, reply),
            Work::ReadAhead(w) => w.intake.on_reply(go.task, sent, reply),
            Work::WriteBehind(w) => w.on_reply(sent, reply),
            Work::Failed(w) => {
                w.on_reply(&mut go, sent, reply);
                Ok(())
            }
        }
    }

    /// Lends room for local data; `None`: it cannot be taken now, or there is none.
    pub(super) fn fill(
        &mut self,
        (lane, client, now): (&mut Lane, &mut SftpClient, Time),
        read: impl FnOnce(&mut [u8]) -> Local,
    ) -> Result<Option<usize>, TransferError> {
        let (work, mut go) = self.at(lane, client, now);
        match work {
            Work::Upload(w) => w.fill(&mut go, read),
            Work::WriteBehind(w) => w.out.fill(&mut go, (&w.handle, None), read),
            _ => Ok(None),
        }
    }

    /// Everything was sent and answered: how it ended, if it did not fail earlier.
    pub(super) fn finish(&mut self) -> Result<(), TransferError> {
        let task = &mut self.task;
        match &mut self.work {
            Work::Download(w) => w.finish(task),
            Work::Upload(w) => w.finish(task),
            Work::Copy(w) => w.finish(task),
            Work::ReadAhead(w) => w.intake.finish(task),
            Work::WriteBehind(w) => w.out.finish(task),
            Work::Failed(_) => Ok(()),
        }
    }

    /// The job has failed: what is open is closed, what is temporary removed, then it ends. The first
    /// error counts.
    pub(super) fn fail(&mut self, error: TransferError) {
        if matches!(self.work, Work::Failed(_)) {
            return;
        }
        let failed = Work::Failed(Box::new(Failed::new(error, self.done())));
        let work = core::mem::replace(&mut self.work, failed);
        let Work::Failed(failed) = &mut self.work else { return };
        match work {
            Work::Download(w) => failed.handles = [w.into_handle(), None],
            Work::Upload(w) => {
                let (handle, temporary) = w.into_rest();
                (failed.handles, failed.temporary) = ([handle, None], temporary);
            }
            Work::Copy(w) => failed.handles = w.into_handles(),
            // What is the application's stays open.
            Work::ReadAhead(_) | Work::WriteBehind(_) | Work::Failed(_) => {}
        }
    }

    pub(super) fn error(&self) -> Option<&TransferError> {
        match &self.work {
            Work::Failed(w) => Some(&w.error),
            _ => None,
        }
    }

    /// Files that it opens at first.
    pub(super) fn files(&self) -> usize {
        match &self.work {
            Work::Download(_) | Work::Upload(_) => 1,
            Work::Copy(_) => 2,
            Work::ReadAhead(_) | Work::WriteBehind(_) | Work::Failed(_) => 0,
        }
    }

    /// A request about data was not answered and is asked for again.
    pub(super) fn again(&mut self, offset: u64, len: u32) {
        match &mut self.work {
            Work::Download(w) => w.reading().ranges.again(offset, len),
            Work::Upload(w) => w.again(offset, len),
            Work::Copy(w) => w.again(offset, len),
            Work::ReadAhead(w) => w.intake.ranges.again(offset, len),
            Work::WriteBehind(_) | Work::Failed(_) => {}
        }
    }

    /// Whether what was not answered is waited for all the same: what was written from a pipe cannot be asked
    /// for again, and perhaps it is only slow.
    pub(super) fn is_lasting(&self) -> bool {
        match &self.work {
            Work::Upload(w) => !w.is_seekable(),
            Work::WriteBehind(_) | Work::Failed(_) => true,
            _ => false,
        }
    }

    /// What is read from the server for the application.
    pub(super) fn intake(&mut self) -> Option<&mut Intake> {
        match &mut self.work {
            Work::Download(w) => Some(w.reading()),
            Work::Copy(w) => Some(&mut w.intake),
            Work::ReadAhead(w) => Some(&mut w.intake),
            _ => None,
        }
    }

    /// What is written for the application.
    pub(super) fn out(&mut self) -> Option<&mut Outgoing> {
        match &mut self.work {
            Work::Upload(w) => Some(w.out()),
            Work::WriteBehind(w) => Some(&mut w.out),
            _ => None,
        }
    }

    /// Bytes that wait for their turn.
    pub(super) fn held(&self) -> usize {
        match &self.work {
            Work::Download(w) => w.intake().held(),
            Work::Upload(w) => w.held(),
            Work::ReadAhead(w) => w.intake.held(),
            _ => 0,
        }
    }

    /// Contiguous bytes that are safe end here.
    pub(super) fn done(&self) -> u64 {
        match &self.work {
            Work::Download(w) => w.intake().ranges.done(),
            Work::Upload(w) => w.done(),
            Work::Copy(w) => w.intake.ranges.done(),
            Work::ReadAhead(w) => w.intake.ranges.done(),
            Work::WriteBehind(w) => w.out.done(),
            Work::Failed(w) => w.done,
        }
    }

    /// The size of the file that is read, if it is known.
    pub(super) fn size(&self) -> Option<u64> {
        match &self.work {
            Work::Download(w) => w.intake().ranges.size,
            Work::Copy(w) => w.intake.ranges.size,
            Work::ReadAhead(w) => w.intake.ranges.size,
            _ => None,
        }
    }
}

/// What is left of a job that has failed.
pub(super) struct Failed {
    pub(super) error: TransferError,
    handles: [Option<Handle>; 2],
    /// The temporary file, and whether it exists.
    temporary: Option<(Vec<u8>, bool)>,
    phase: Tidy,
    /// Answers are waited for before tidying up.
    pub(super) patient: bool,
    /// How far it had come.
    done: u64,
}

enum Tidy {
    Answers,
    Close,
    Closed,
    Remove,
    End,
}

impl Failed {
    pub(super) fn new(error: TransferError, done: u64) -> Self {
        Failed { error, handles: [None, None], temporary: None, phase: Tidy::Answers, patient: true, done }
    }

    fn step(&mut self, go: &mut Drive<'_>) -> Result<(), Halt> {
        self.phase = match self.phase {
            Tidy::Answers | Tidy::Closed if self.patient => {
                go.task.quiet()?;
                if matches!(self.phase, Tidy::Answers) { Tidy::Close } else { Tidy::Remove }
            }
            Tidy::Answers | Tidy::Close => {
                for place in &mut self.handles {
                    if let Some(handle) = place {
                        tidied(go.close(handle))?;
                        *place = None;
                    }
                }
                Tidy::Closed
            }
            Tidy::Closed | Tidy::Remove => {
                if let Some((path, true)) = &self.temporary {
                    tidied(go.ask(Ask::Remove, |client| client.remove(path)))?;
                }
                Tidy::End
            }
            Tidy::End => return go.task.end(),
        };
        Ok(())
    }

    fn on_reply(&mut self, go: &mut Drive<'_>, sent: &Sent, reply: Reply<'_>) {
        match (sent.ask, reply) {
            (Ask::Open | Ask::OpenTarget | Ask::Reopen, Reply::Handle(handle)) => {
                if let Some(place) = self.handles.iter_mut().find(|place| place.is_none()) {
                    *place = Some(handle);
                }
                match (sent.ask, &mut self.temporary) {
                    (Ask::Reopen, _) => go.lane.opens(go.task),
                    (Ask::Open, Some((_, exists))) => *exists = true,
                    _ => {}
                }
            }
            (Ask::Open | Ask::OpenTarget, Reply::Status(_)) => go.lane.closed(go.task),
            _ => {}
        }
    }
}

/// Tidying up goes on when a part of it cannot be asked for.
fn tidied(asked: Result<(), Halt>) -> Result<(), Halt> {
    match asked {
        Err(Halt::Fail(_)) => Ok(()),
        asked => asked,
    }
}
