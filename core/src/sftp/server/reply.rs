//! Replies: one method a kind, each consumes the ticket.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::sftp::attrs::Attrs;
use crate::sftp::error::UsageError;
use crate::sftp::extension::{FileHash, StatVfs, UsersGroups};
use crate::sftp::message::{MAX_DATA, number, patch, publish, send};
use crate::sftp::operation::{Answer as Kind, Operation};
use crate::sftp::status::{Status, StatusCode};
use crate::slab::Key;
use crate::wire::Sink;

use super::{SftpServer, Ticket};

/// Most bytes of a NAME: every client takes packets of 34000 bytes (draft §3).
const MAX_NAMES: usize = 33_000;

/// A reply as a value, so that it can come from another thread: [`SftpServer::reply`] gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Any error, and the success of what answers with a status.
    Status(Status),
    /// OPEN, OPENDIR: it is open under the handle of the request.
    Opened,
    /// READ: what was read; nothing is the end of the file.
    Data(Vec<u8>),
    /// REALPATH, READLINK, expand-path, home-directory: one path.
    Path(Vec<u8>),
    /// STAT, LSTAT, FSTAT.
    Attrs(Attrs),
    /// statvfs and fstatvfs.
    StatVfs(StatVfs),
    /// users-groups-by-id.
    UsersGroups(UsersGroups),
    /// check-file.
    FileHash(FileHash),
    /// An extension that konko does not know: what stands behind the request's number.
    Extended(Vec<u8>),
}

impl<S: Into<Status>> From<S> for Answer {
    fn from(status: S) -> Self {
        Answer::Status(status.into())
    }
}

/// Entries being put into a reply to READDIR.
pub struct NameList<'s> {
    out: &'s mut dyn Sink,
    len: usize,
    count: u32,
}

impl NameList<'_> {
    /// Adds an entry. False: it does not fit any more, and is to come with the next READDIR. The
    /// `long_name` is a line as [`LongName`](crate::sftp::LongName) makes it.
    pub fn push(&mut self, name: &[u8], long_name: &[u8], attrs: &Attrs) -> bool {
        let mut size = Count(0);
        attrs.put(&mut size);
        let need = size.0.saturating_add(name.len()).saturating_add(long_name.len()).saturating_add(8);
        let len = self.len.saturating_add(need);
        if len > MAX_NAMES && self.count > 0 {
            return false;
        }
        (self.len, self.count) = (len, self.count.saturating_add(1));
        self.out.put_string(name);
        self.out.put_string(long_name);
        attrs.put(self.out);
        true
    }

    /// Entries so far.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is none so far.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Counts bytes.
struct Count(usize);

impl Sink for Count {
    fn put(&mut self, bytes: &[u8]) {
        self.0 = self.0.saturating_add(bytes.len());
    }
}

/// Replies.
impl SftpServer {
    /// Any reply but that to READDIR, which is [`reply_names`](Self::reply_names).
    ///
    /// # Errors
    /// [`UsageError::StaleTicket`]: the session has ended, or the ticket is of another one.
    /// [`UsageError::ReplyMismatch`]: this is no answer to that request; the client was told FAILURE.
    pub fn reply(&mut self, mut ticket: Ticket, answer: impl Into<Answer>) -> Result<(), UsageError> {
        match answer.into() {
            Answer::Status(status) => self.reply_status(ticket, status),
            Answer::Opened => self.reply_opened(ticket),
            Answer::Data(data) => self.reply_data(ticket, |room| {
                let n = room.len().min(data.len());
                if let (Some(to), Some(from)) = (room.get_mut(..n), data.get(..n)) {
                    to.copy_from_slice(from);
                }
                Ok(n)
            }),
            Answer::Path(path) => {
                let request = self.expect(&mut ticket, Kind::Path)?;
                if path.len() > MAX_NAMES / 2 {
                    self.conclude(request, &StatusCode::FAILURE.into());
                    return Ok(());
                }
                self.answer(request, number::NAME, |out| {
                    out.put_u32(1);
                    out.put_string(&path);
                    out.put_string(&path);
                    Attrs::new().put(out);
                })
            }
            Answer::Attrs(attrs) => {
                let request = self.expect(&mut ticket, Kind::Attrs)?;
                self.answer(request, number::ATTRS, |out| attrs.put(out))
            }
            Answer::StatVfs(figures) => {
                self.reply_ext(ticket, &[Operation::Statvfs, Operation::Fstatvfs], |out| figures.put(out))
            }
            Answer::UsersGroups(names) => {
                self.reply_ext(ticket, &[Operation::UsersGroupsById], |out| names.put(out))
            }
            Answer::FileHash(hash) if hash.digests.len() > MAX_DATA => {
                self.settle(ticket, &StatusCode::FAILURE.into())
            }
            Answer::FileHash(hash) => {
                let ops = [Operation::CheckFileHandle, Operation::CheckFileName];
                self.reply_ext(ticket, &ops, |out| hash.put(out))
            }
            Answer::Extended(fields) => {
                self.reply_ext(ticket, &[Operation::Extended], |out| out.put(&fields))
            }
        }
    }

    /// Any error, and the success of what answers with a status.
    ///
    /// # Errors
    /// As [`reply`](Self::reply).
    pub fn reply_status(&mut self, ticket: Ticket, status: impl Into<Status>) -> Result<(), UsageError> {
        let status = status.into();
        let plain = ticket.op.answer() == Kind::Status || ticket.op == Operation::Extended;
        if status.is_ok() && !plain {
            self.settle(ticket, &StatusCode::FAILURE.into())?;
            return Err(UsageError::ReplyMismatch);
        }
        self.settle(ticket, &status)
    }

    /// OPEN, OPENDIR: it is open under the handle of the request.
    ///
    /// # Errors
    /// As [`reply`](Self::reply).
    pub fn reply_opened(&mut self, mut ticket: Ticket) -> Result<(), UsageError> {
        let request = self.expect(&mut ticket, Kind::Handle)?;
        let handle = self.requests.get_mut(request).and_then(|o| o.handles[0]);
        let wire = handle.and_then(|h| self.handles.publish(h)).ok_or(UsageError::StaleTicket)?;
        self.answer(request, number::HANDLE, |out| out.put_string(&wire))
    }

    /// READ: `fill` reads into the room it gets, which is as long as was asked for, straight in `tx`, and
    /// returns how many bytes it read; 0 is the end of the file.
    ///
    /// # Errors
    /// As [`reply`](Self::reply).
    pub fn reply_data(
        &mut self,
        mut ticket: Ticket,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, Status>,
    ) -> Result<(), UsageError> {
        let request = self.expect(&mut ticket, Kind::Data)?;
        let (id, len) = self.requests.get_mut(request).map_or((0, 0), |o| (o.id, o.len as usize));
        let mut draft = self.tx.draft();
        draft.put_u32(0);
        draft.put_u8(number::DATA);
        draft.put_u32(id);
        let at = draft.len();
        draft.put_u32(0);
        let filled = fill(draft.extend(len));
        let status = match filled {
            Ok(0) => Status::new(StatusCode::EOF),
            Ok(n) => {
                let n = n.min(len);
                let end = at.saturating_add(4).saturating_add(n);
                patch(&mut self.tx, end, at, n);
                publish(&mut self.tx, end);
                self.leave(request);
                return Ok(());
            }
            Err(status) if status.is_ok() => Status::new(StatusCode::FAILURE),
            Err(status) => status,
        };
        self.conclude(request, &status);
        Ok(())
    }

    /// READDIR: `fill` adds entries until one does not fit; none at all is the end of the directory.
    ///
    /// # Errors
    /// As [`reply`](Self::reply).
    pub fn reply_names(
        &mut self,
        mut ticket: Ticket,
        fill: impl FnOnce(&mut NameList<'_>) -> Result<(), Status>,
    ) -> Result<(), UsageError> {
        let request = self.expect(&mut ticket, Kind::Names)?;
        let id = self.requests.get_mut(request).map_or(0, |o| o.id);
        let mut draft = self.tx.draft();
        draft.put_u32(0);
        draft.put_u8(number::NAME);
        draft.put_u32(id);
        let at = draft.len();
        draft.put_u32(0);
        let mut names = NameList { out: &mut draft, len: 0, count: 0 };
        let filled = fill(&mut names);
        let (count, end) = (names.len(), draft.len());
        let status = match filled {
            Ok(()) if count == 0 => Status::new(StatusCode::EOF),
            Ok(()) => {
                patch(&mut self.tx, end, at, count);
                publish(&mut self.tx, end);
                self.leave(request);
                return Ok(());
            }
            Err(status) if status.is_ok() => Status::new(StatusCode::FAILURE),
            Err(status) => status,
        };
        self.conclude(request, &status);
        Ok(())
    }

    fn reply_ext(
        &mut self,
        mut ticket: Ticket,
        ops: &[Operation],
        fields: impl FnOnce(&mut dyn Sink),
    ) -> Result<(), UsageError> {
        if !ops.contains(&ticket.op) {
            self.settle(ticket, &StatusCode::FAILURE.into())?;
            return Err(UsageError::ReplyMismatch);
        }
        let request = self.live(&mut ticket)?;
        self.answer(request, number::EXTENDED_REPLY, fields)
    }

    // ---- below ----

    /// What a ticket of this session stands for, if it is still waited for; the ticket counts as answered then.
    fn live(&self, ticket: &mut Ticket) -> Result<Key, UsageError> {
        let loss = self.losses.get(ticket.request.index() as usize);
        let own = ticket.loss.as_ref().zip(loss).is_some_and(|(a, b)| Arc::ptr_eq(a, b));
        if own && self.requests.get(ticket.request).is_some() {
            ticket.loss = None;
            return Ok(ticket.request);
        }
        Err(UsageError::StaleTicket)
    }

    /// The same, if the request is answered in this way; else the client is told FAILURE.
    fn expect(&mut self, ticket: &mut Ticket, answer: Kind) -> Result<Key, UsageError> {
        let request = self.live(ticket)?;
        if ticket.op.answer() == answer {
            return Ok(request);
        }
        self.conclude(request, &StatusCode::FAILURE.into());
        Err(UsageError::ReplyMismatch)
    }

    /// Answers with a status; a WRITE when its last part is.
    fn settle(&mut self, mut ticket: Ticket, status: &Status) -> Result<(), UsageError> {
        let request = self.live(&mut ticket)?;
        self.conclude(request, status);
        Ok(())
    }

    pub(super) fn conclude(&mut self, request: Key, status: &Status) {
        let Some(open) = self.requests.get_mut(request) else { return };
        open.parts = open.parts.saturating_sub(1);
        if open.op == Operation::Write {
            if !status.is_ok() && open.failed.is_none() {
                open.failed = Some(status.clone());
            }
            return self.settle_write(request);
        }
        let Some(open) = self.leave(request) else { return };
        match open.op {
            // What was not opened, and what was closed, is gone.
            Operation::Open | Operation::Opendir | Operation::Close => {
                open.handles.iter().flatten().for_each(|h| self.handles.remove(*h));
            }
            _ => {}
        }
        self.send_status(open.id, status);
    }

    /// Answers a WRITE if all of it has come and been answered.
    pub(super) fn settle_write(&mut self, request: Key) {
        if !self.requests.get_mut(request).is_some_and(|o| o.complete && o.parts == 0) {
            return;
        }
        if let Some(open) = self.leave(request) {
            let status = open.failed.unwrap_or(Status::new(StatusCode::OK));
            self.send_status(open.id, &status);
        }
    }

    fn answer(
        &mut self,
        request: Key,
        number: u8,
        fields: impl FnOnce(&mut dyn Sink),
    ) -> Result<(), UsageError> {
        let open = self.leave(request).ok_or(UsageError::StaleTicket)?;
        self.send_reply(open.id, number, fields);
        Ok(())
    }

    pub(super) fn send_reply(&mut self, id: u32, number: u8, fields: impl FnOnce(&mut dyn Sink)) {
        send(&mut self.tx, |out| {
            out.put_u8(number);
            out.put_u32(id);
            fields(out);
        });
    }

    pub(super) fn send_status(&mut self, id: u32, status: &Status) {
        self.send_reply(id, number::STATUS, |out| {
            out.put_u32(status.code.0);
            out.put_string(status.wire_text().as_bytes());
            out.put_string(b"");
        });
    }
}
