//! An open file of the application's, which stays open: read ahead from, written behind to.

use crate::sftp::client::{Handle, Reply};

use super::intake::Intake;
use super::lane::{Drive, Halt, Task, Turn};
use super::outgoing::Outgoing;
use super::ranges::{Ranges, Reorder};
use super::requests::{Ask, Sent};
use super::{DownloadOptions, TransferError};

pub(super) struct ReadAhead {
    handle: Handle,
    pub(super) intake: Intake,
}

impl ReadAhead {
    pub(super) fn new(handle: &Handle, options: &DownloadOptions) -> Self {
        let ranges = Ranges::new(options.offset, options.end, options.size, options.limit);
        let order = options.ordered.then(|| Reorder::new(options.offset));
        ReadAhead { handle: handle.clone(), intake: Intake { ranges, order } }
    }

    pub(super) fn step(&mut self, go: &mut Drive<'_>) -> Result<(), Halt> {
        self.intake.pump(go, &self.handle)?;
        go.task.end()
    }
}

pub(super) struct WriteBehind {
    pub(super) handle: Handle,
    pub(super) out: Outgoing,
}

impl WriteBehind {
    pub(super) fn new(handle: &Handle, offset: u64) -> Self {
        WriteBehind { handle: handle.clone(), out: Outgoing::new(offset) }
    }

    /// The application writes when it likes.
    pub(super) fn step(&self, task: &Task) -> Result<(), Halt> {
        if self.out.is_sent() { task.end() } else { Err(Halt::Turn(Turn::Idle)) }
    }

    pub(super) fn on_reply(&mut self, sent: &Sent, reply: Reply<'_>) -> Result<(), TransferError> {
        match (sent.ask, reply) {
            (Ask::Write, Reply::Status(status)) if status.is_ok() => {
                self.out.taken(sent);
            }
            (ask, Reply::Status(status)) if !status.is_ok() => return Err(ask.refused(status)),
            _ => {}
        }
        Ok(())
    }
}
