//! A file that is read: what is asked for, and what becomes of the data.

use crate::sftp::attrs::Attrs;
use crate::sftp::client::{Handle, Reply};
use crate::sftp::status::StatusCode;

use super::check::{Running, is_special, is_unchanged};
use super::lane::{Drive, Halt, Lane, Task, Turn};
use super::ranges::{Ranges, Reorder};
use super::requests::{Ask, Sent};
use super::{JobId, Notice, TransferError};

/// Replies shorter than this teach nothing about a server.
const LEAST_READ: u32 = 4096;

#[derive(Debug)]
pub(super) struct Intake {
    pub(super) ranges: Ranges,
    /// Puts data in order, where that is wanted.
    pub(super) order: Option<Reorder>,
}

impl Intake {
    /// Sends READs until everything was asked for and has come.
    pub(super) fn pump(&mut self, go: &mut Drive<'_>, handle: &Handle) -> Result<(), Halt> {
        let len = go.lane.read_len(go.client);
        go.lane.known_len(len as usize);
        while !(go.task.data == 0 && self.ranges.is_exhausted()) {
            self.send(go, handle, len)?;
            if go.task.data.is_multiple_of(8) {
                return Err(Halt::Turn(Turn::Rotate));
            }
        }
        Ok(())
    }

    /// Sends one READ.
    pub(super) fn send(&mut self, go: &mut Drive<'_>, handle: &Handle, len: u32) -> Result<(), Halt> {
        if !go.lane.has_turn(go.task) {
            return Err(Halt::Turn(Turn::Idle));
        }
        if !go.lane.window.has_room() {
            return Err(Halt::Turn(Turn::Blocked));
        }
        if !self.may_wait(go.lane, len) {
            return Err(Halt::Turn(Turn::Idle));
        }
        let Some((offset, n)) = self.ranges.next(len, go.task.data) else {
            return Err(Halt::Turn(Turn::Idle));
        };
        match go.client.read(handle, offset, n) {
            Ok(id) => go.note(Ask::Read, (offset, n), id),
            Err(_) => {
                self.ranges.again(offset, n);
                return Err(Halt::Turn(Turn::Blocked));
            }
        }
        Ok(())
    }

    /// Whether what is read next can be kept until its turn: what comes out of turn is never more than the
    /// largest window, all jobs together. What is next can always come.
    fn may_wait(&self, lane: &Lane, len: u32) -> bool {
        let in_turn = self.order.as_ref().is_none_or(|order| self.ranges.upcoming() <= order.next());
        in_turn || lane.window.room_beside(lane.held) >= len as usize
    }

    /// Data came, `left` bytes of its reply will follow.
    pub(super) fn arrived(&mut self, lane: &mut Lane, sent: &Sent, offset: u64, len: usize, left: u32) {
        self.ranges.got(offset, len);
        if left > 0 {
            return;
        }
        let hole = self.ranges.replied(sent.offset, sent.len, sent.got);
        let end = sent.offset.saturating_add(u64::from(sent.got));
        // Short in the middle of the file: this is what the server gives at most.
        if hole && self.ranges.size.is_some_and(|size| end < size) {
            lane.longest = lane.longest.min(sent.got.max(LEAST_READ));
        }
    }

    /// Hashes what is in its turn, and hands it to the job's application, if that is whose it is. True: `data`
    /// is in its turn; else it comes later, as [`Notice::Data`].
    pub(super) fn take(
        &mut self,
        lane: &mut Lane,
        job: Option<JobId>,
        mut hash: Option<&mut Running>,
        offset: u64,
        data: &[u8],
    ) -> bool {
        let mut in_turn = self.order.as_mut().is_none_or(|order| order.take(offset, data));
        if in_turn && let Some(hash) = &mut hash {
            hash.update(data);
        }
        // What came before may still wait to be fetched: nothing overtakes it.
        if in_turn
            && self.order.is_some()
            && let Some(job) = job.filter(|job| lane.owes(*job))
        {
            lane.notices.push_back(Notice::Data { job, offset, data: data.to_vec() });
            in_turn = false;
        }
        while let Some((offset, data)) = self.order.as_mut().and_then(Reorder::ready) {
            if let Some(hash) = &mut hash {
                hash.update(&data);
            }
            if let Some(job) = job {
                lane.notices.push_back(Notice::Data { job, offset, data });
            }
        }
        in_turn
    }

    /// What the server says of the file that is read; a refusal of what is needed is an error.
    pub(super) fn on_reply(
        &mut self,
        task: &mut Task,
        sent: &Sent,
        reply: Reply<'_>,
    ) -> Result<(), TransferError> {
        match (sent.ask, reply) {
            (Ask::Stat, Reply::Attrs(attrs)) => return self.on_attrs(task, attrs),
            (Ask::Restat, Reply::Attrs(attrs)) => self.on_attrs_at_end(task, &attrs),
            (Ask::Read, Reply::Status(status)) if status.code == StatusCode::EOF => {
                self.ranges.eof(sent.offset);
            }
            // Not every server tells; what cannot be told cannot be compared.
            (Ask::Stat, Reply::Status(_)) => self.ranges.size_pending = false,
            (Ask::Restat, Reply::Status(_)) => {}
            (ask, Reply::Status(status)) if !status.is_ok() => return Err(ask.refused(status)),
            // The client checks that replies fit.
            _ => {}
        }
        Ok(())
    }

    /// What the server told of the file before it was read.
    fn on_attrs(&mut self, task: &mut Task, attrs: Attrs) -> Result<(), TransferError> {
        self.ranges.size_pending = false;
        self.ranges.size = attrs.size;
        let special = is_special(&attrs);
        task.summary.attrs = Some(attrs);
        // A pipe makes one wait for ever, a device has no end.
        if special { Err(TransferError::NotRegular) } else { Ok(()) }
    }

    /// What it tells now that the file has ended before its size: if it was not cut meanwhile, that is all there
    /// is. Files of /sys have a size of 4096.
    fn on_attrs_at_end(&mut self, task: &Task, attrs: &Attrs) {
        if is_unchanged(task.summary.attrs.as_ref(), self.ranges.size, attrs) {
            self.ranges.size = None;
        }
    }

    /// Whether the file has ended before the size that was told, with the times to judge that by.
    pub(super) fn is_short(&self, attrs: Option<&Attrs>) -> bool {
        self.ranges.is_short() && attrs.is_some_and(|a| a.times.is_some())
    }

    /// Bytes that wait for their turn.
    pub(super) fn held(&self) -> usize {
        self.order.as_ref().map_or(0, Reorder::held)
    }

    /// Everything that came well: bytes, and where they end.
    pub(super) fn finish(&self, task: &mut Task) -> Result<(), TransferError> {
        task.summary.bytes = self.ranges.verdict()?;
        task.summary.size = self.ranges.done();
        task.summary.size_verified = self.ranges.size.is_some();
        Ok(())
    }
}
