//! Local data on its way into an open file.

use alloc::collections::VecDeque;

use crate::sftp::client::Handle;

use super::check::Running;
use super::lane::{Drive, Halt, Task, Turn};
use super::ranges::Ranges;
use super::requests::{Ask, Sent};
use super::{Local, Notice, TransferError};

#[derive(Debug)]
pub(super) struct Outgoing {
    /// Where the first byte goes, and the next local data.
    pub(super) first: u64,
    pub(super) next: u64,
    /// What was written, as far as the server says.
    written: Ranges,
    acked: u64,
    /// Local data to be sent again.
    refill: VecDeque<(u64, u32)>,
    /// No more local data.
    pub(super) ended: bool,
    /// Local data was asked for, or there is none now.
    pub(super) asked: bool,
}

impl Outgoing {
    pub(super) fn new(offset: u64) -> Self {
        let written = Ranges::new(offset, None, None, None);
        let refill = VecDeque::new();
        Outgoing { first: offset, next: offset, written, acked: 0, refill, ended: false, asked: false }
    }

    /// Contiguous bytes that are safe end here.
    pub(super) fn done(&self) -> u64 {
        self.written.done()
    }

    /// Whether all local data was sent, as far as it is known.
    pub(super) fn is_sent(&self) -> bool {
        self.ended && self.refill.is_empty()
    }

    /// Asks for local data until all of it was sent.
    pub(super) fn pump(&mut self, go: &mut Drive<'_>) -> Result<(), Halt> {
        if self.is_sent() {
            // So that what stalls can still be sent again.
            return if go.lane.window.has_stalled() { go.task.quiet() } else { Ok(()) };
        }
        if self.asked {
            return Err(Halt::Turn(Turn::Idle));
        }
        let len = go.lane.write_len(go.client);
        go.lane.known_len(len);
        if !go.lane.has_turn(go.task) {
            return Err(Halt::Turn(Turn::Idle));
        }
        if !go.lane.window.has_room() || !go.client.has_room() {
            return Err(Halt::Turn(Turn::Blocked));
        }
        let (offset, len) = match self.refill.front() {
            Some((offset, n)) => (*offset, *n as usize),
            None => (self.next, len),
        };
        self.asked = true;
        go.lane.notices.push_back(Notice::Fill { job: go.task.id, offset, len });
        Err(Halt::Turn(Turn::Idle))
    }

    /// Lends room for local data; `None`: there is none now.
    pub(super) fn fill(
        &mut self,
        go: &mut Drive<'_>,
        (handle, mut hash): (&Handle, Option<&mut Running>),
        read: impl FnOnce(&mut [u8]) -> Local,
    ) -> Result<Option<usize>, TransferError> {
        if !go.lane.window.has_room() || !go.client.has_room() || !go.lane.has_turn(go.task) {
            return Ok(None);
        }
        let again = self.refill.front().copied();
        let most = go.lane.write_len(go.client);
        let (offset, len) = again.map_or((self.next, most), |(offset, n)| (offset, (n as usize).min(most)));
        let mut said = Local::Data(0);
        let sent = go.client.write_with(handle, offset, len, |room| {
            said = read(room);
            let Local::Data(n) = said else { return 0 };
            let n = n.min(room.len());
            said = Local::Data(n);
            if again.is_none()
                && let Some(hash) = &mut hash
            {
                hash.update(room.get(..n).unwrap_or_default());
            }
            n
        });
        let n = match (said, sent) {
            (Local::Later, _) => {
                self.asked = true;
                return Ok(None);
            }
            (Local::Failed, _) => return Err(TransferError::Local),
            (Local::Data(n), Ok(Some(id))) => {
                go.note(Ask::Write, (offset, n as u32), id);
                n
            }
            // The local file has become shorter than what was sent of it once.
            (Local::Data(_), Ok(None)) if again.is_some() => return Err(TransferError::Local),
            (Local::Data(_), Ok(None)) => {
                self.ended = true;
                0
            }
            (Local::Data(_), Err(_)) => 0,
        };
        match again {
            Some((_, left)) if n > 0 => {
                self.refill.pop_front();
                let rest = left.saturating_sub(n as u32);
                if rest > 0 {
                    self.refill.push_front((offset.saturating_add(n as u64), rest));
                }
            }
            _ => self.next = self.next.saturating_add(n as u64),
        }
        self.asked = false;
        Ok(Some(n))
    }

    /// A WRITE was taken. All bytes so far.
    pub(super) fn taken(&mut self, sent: &Sent) -> u64 {
        self.acked = self.acked.saturating_add(u64::from(sent.len));
        self.written.got(sent.offset, sent.len as usize);
        self.acked
    }

    /// A WRITE was not answered.
    pub(super) fn again(&mut self, offset: u64, len: u32) {
        self.refill.push_back((offset, len));
    }

    /// Everything was answered well.
    pub(super) fn finish(&self, task: &mut Task) -> Result<(), TransferError> {
        if self.done() != self.next {
            return Err(TransferError::Changed);
        }
        (task.summary.bytes, task.summary.size) = (self.acked, self.next);
        Ok(())
    }
}
