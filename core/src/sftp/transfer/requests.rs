//! The requests in flight, of all jobs.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::sftp::client::RequestId;
use crate::sftp::operation::Operation;
use crate::sftp::status::Status;
use crate::time::Time;

use super::{JobId, TransferError};

/// What a job asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// STAT of what is there before it is written.
    Look,
    Open,
    OpenTarget,
    /// OPEN of what was written, to read it again.
    Reopen,
    /// FSTAT of the open file.
    Stat,
    /// The same of a file that ended before its size.
    Restat,
    /// READ of one byte where a copy that the server made ends.
    Probe,
    /// READ of the first byte of what the server is to copy: some files can be opened and not read.
    Taste,
    Read,
    Write,
    SetAttrs,
    Fsync,
    Close,
    /// Size of the file that was written, by its path.
    StatPath,
    /// The hash of it, from the server.
    HashPath,
    /// The hash of the file that is read.
    HashHandle,
    Rename,
    Remove,
    CopyData,
}

impl Ask {
    pub(super) fn is_data(self) -> bool {
        matches!(self, Ask::Read | Ask::Write)
    }

    /// The server has much to do for it, and others may overtake it meanwhile.
    fn is_long(self) -> bool {
        matches!(self, Ask::CopyData | Ask::HashPath | Ask::HashHandle | Ask::Fsync)
    }

    /// The error of a job for which it was refused.
    pub(super) fn refused(self, status: Status) -> TransferError {
        let op = match self {
            Ask::Look | Ask::StatPath => Operation::Stat,
            Ask::Open | Ask::OpenTarget | Ask::Reopen => Operation::Open,
            Ask::Stat | Ask::Restat => Operation::Fstat,
            Ask::Probe | Ask::Taste | Ask::Read => Operation::Read,
            Ask::Write => Operation::Write,
            Ask::SetAttrs => Operation::Fsetstat,
            Ask::Fsync => Operation::Fsync,
            Ask::Close => Operation::Close,
            Ask::HashPath => Operation::CheckFileName,
            Ask::HashHandle => Operation::CheckFileHandle,
            Ask::Rename => Operation::PosixRename,
            Ask::Remove => Operation::Remove,
            Ask::CopyData => Operation::CopyData,
        };
        TransferError::Remote { op, status }
    }
}

/// A request that was not answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) job: JobId,
    pub(super) ask: Ask,
    /// Where the data of a READ or WRITE belongs; of others, how many files were open.
    pub(super) offset: u64,
    pub(super) len: u32,
    /// Bytes of a READ that came.
    pub(super) got: u32,
    pub(super) at: Time,
    /// Its place among all that were sent.
    pub(super) turn: u64,
}

#[derive(Debug)]
pub(super) struct Requests {
    sent: BTreeMap<RequestId, Sent>,
    /// Requests so far, and the last of them that was answered.
    turns: u64,
    answered: u64,
    /// What was answered at this time: what was sent before that and is not answered a stall later is starved.
    mark: (Time, u64),
}

impl Default for Requests {
    fn default() -> Self {
        Requests { sent: BTreeMap::new(), turns: 0, answered: 0, mark: (Time::ZERO, 0) }
    }
}

impl Requests {
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.sent.clear();
    }

    pub(super) fn insert(&mut self, id: RequestId, sent: Sent) {
        if self.sent.is_empty() {
            self.set_mark(sent.at);
        }
        self.turns = self.turns.saturating_add(1);
        self.sent.insert(id, Sent { turn: self.turns, ..sent });
    }

    /// Data of a READ came, `left` bytes will follow.
    pub(super) fn on_data(&mut self, id: RequestId, len: usize, left: u32) -> Option<Sent> {
        let sent = self.sent.get_mut(&id)?;
        sent.got = sent.got.saturating_add(len as u32);
        let sent = *sent;
        if left == 0 {
            self.on_reply(id);
        }
        Some(sent)
    }

    /// A request was answered.
    pub(super) fn on_reply(&mut self, id: RequestId) -> Option<Sent> {
        let sent = self.sent.remove(&id)?;
        self.answered = self.answered.max(sent.turn);
        Some(sent)
    }

    /// Whether a job waits for something that was sent before `turn`, and that no server takes long for.
    pub(super) fn waits(&self, job: JobId, turn: u64) -> bool {
        self.sent.values().any(|s| s.job == job && s.turn < turn && !s.ask.is_long())
    }

    /// Forgets what a job sent before `turn`.
    pub(super) fn take(
        &mut self,
        job: JobId,
        turn: u64,
        which: impl Fn(Ask) -> bool,
    ) -> Vec<(RequestId, Sent)> {
        let mine = |s: &Sent| s.job == job && s.turn < turn && which(s.ask);
        let gone: Vec<_> = self.sent.iter().filter(|(_, s)| mine(s)).map(|(id, s)| (*id, *s)).collect();
        for (id, _) in &gone {
            self.sent.remove(id);
        }
        gone
    }

    /// When the oldest request may count as starved.
    pub(super) fn marked(&self) -> Time {
        self.mark.0
    }

    pub(super) fn set_mark(&mut self, now: Time) -> u64 {
        core::mem::replace(&mut self.mark, (now, self.answered)).1
    }

    /// Jobs with requests that are not answered while those from `overtaken` on are.
    pub(super) fn starved(&self, overtaken: u64) -> BTreeSet<JobId> {
        let starved = |s: &&Sent| s.turn < overtaken && !s.ask.is_long();
        self.sent.values().filter(starved).map(|s| s.job).collect()
    }
}
