//! Replies: each is checked against the request that it answers.

use alloc::string::String;

use crate::sftp::attrs::Attrs;
use crate::sftp::error::{Error, Fault, quote};
use crate::sftp::extension::{FileHash, Limits, StatVfs, UsersGroups};
use crate::sftp::message::{MAX_HANDLE, number};
use crate::sftp::operation::{Answer, Operation};
use crate::sftp::status::{Status, StatusCode};
use crate::wire::{DecodeError, Reader, SshStr};

use super::{Handle, Pending, RequestId, SftpClient, State};

/// What a server said.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'b> {
    /// VERSION came: requests can be sent.
    Ready,
    /// The reply to a request, which is no longer outstanding.
    Reply {
        /// The request.
        id: RequestId,
        /// What came.
        reply: Reply<'b>,
    },
    /// Part of the data that answers a READ, straight from the input.
    Data {
        /// The READ. Outstanding until `left` is 0.
        id: RequestId,
        /// Where the part stands in the reply: it belongs at the READ's offset plus this.
        at: u32,
        /// The part.
        data: &'b [u8],
        /// Bytes of this reply that are still to come. A reply may be shorter than what was asked for:
        /// then this gets to 0 early, and the rest has to be asked for again.
        left: u32,
    },
}

/// The reply to a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reply<'b> {
    /// Done, or the reason why not. Answers any request; READ and READDIR end with
    /// [`StatusCode::EOF`].
    Status(Status),
    /// To OPEN and OPENDIR.
    Handle(Handle),
    /// To READDIR. None at all means no more than EOF.
    Names(Names<'b>),
    /// To REALPATH, READLINK, expand-path, home-directory: one path.
    Path(&'b [u8]),
    /// To STAT, LSTAT, FSTAT.
    Attrs(Attrs),
    /// To statvfs and fstatvfs.
    StatVfs(StatVfs),
    /// To limits@openssh.com.
    Limits(Limits),
    /// To users-groups-by-id@openssh.com.
    UsersGroups(UsersGroups),
    /// To check-file.
    FileHash(FileHash),
    /// To an extension that konko does not know: what stands behind the request's number.
    Extended(&'b [u8]),
}

/// The entries of a NAME, checked.
#[derive(Clone, Copy)]
pub struct Names<'b> {
    count: usize,
    fields: &'b [u8],
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry<'b> {
    /// The name, as bytes: not always UTF-8. It comes from the server: never use it as a local path
    /// before [`is_safe_name`](super::super::is_safe_name) has said yes.
    pub name: &'b [u8],
    /// A line as `ls -l` shows it. For people; never to be parsed (S-06).
    pub long_name: SshStr<'b>,
    /// Attributes.
    pub attrs: Attrs,
}

impl<'b> Names<'b> {
    fn parse(bytes: &'b [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let count = usize::try_from(r.u32()?).map_err(|_| DecodeError::Invalid)?;
        let names = Names { count, fields: r.rest() };
        // Each entry takes 12 bytes at least.
        if count > names.fields.len() / 12 {
            return Err(DecodeError::Invalid);
        }
        for _ in 0..count {
            entry(&mut r)?;
        }
        r.end().map(|()| names)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The entries, in the server's order.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'b>> + use<'b> {
        let mut r = Reader::new(self.fields);
        core::iter::from_fn(move || if r.is_empty() { None } else { entry(&mut r).ok() })
    }
}

impl core::fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter().map(|e| e.long_name)).finish()
    }
}

fn entry<'b>(r: &mut Reader<'b>) -> Result<Entry<'b>, DecodeError> {
    Ok(Entry { name: r.string()?, long_name: r.text()?, attrs: Attrs::read(r, false)? })
}

/// The number, the request, and what follows.
fn head(message: &[u8]) -> Result<(u8, RequestId, &[u8]), DecodeError> {
    let mut r = Reader::new(message);
    Ok((r.u8()?, RequestId(r.u32()?), r.rest()))
}

/// The name of a message that a server sends, for error texts.
fn name(n: u8) -> String {
    match n {
        number::VERSION => "VERSION".into(),
        number::STATUS => "STATUS".into(),
        number::HANDLE => "HANDLE".into(),
        number::DATA => "DATA".into(),
        number::NAME => "NAME".into(),
        number::ATTRS => "ATTRS".into(),
        number::EXTENDED_REPLY => "EXTENDED_REPLY".into(),
        n => alloc::format!("message {n}"),
    }
}

impl SftpClient {
    /// Whether a message is no event: VERSION, the reply to a request of the machine's own, or to one
    /// that was cancelled.
    pub(super) fn is_for_machine(&self, message: &[u8]) -> bool {
        if self.state == State::Starting {
            return true;
        }
        let Ok((_, id, _)) = head(message) else { return false };
        self.pending(id).is_some_and(|p| p.own || p.cancelled)
    }

    pub(super) fn on_own<'b>(&mut self, message: &[u8]) -> Result<Option<Event<'b>>, Error> {
        if self.state == State::Starting {
            let (n, fields) = message.split_first().unwrap_or((&0, &[]));
            if *n != number::VERSION {
                let what = alloc::format!("{} before VERSION", name(*n));
                return Err(Error::new(Fault::UnexpectedMessage, what));
            }
            self.on_version(fields)?;
            return Ok(Some(Event::Ready));
        }
        match self.on_reply(message)? {
            Event::Reply { reply: Reply::Limits(limits), .. } => self.limits = Some(limits),
            Event::Reply { reply: Reply::Handle(handle), .. } => {
                self.open.remove(&handle);
                let pending = Pending { own: true, ..Pending::of(Operation::Close) };
                let _ = self.request_anyway(pending, |out| out.put_string(handle.as_bytes()));
            }
            _ => {}
        }
        Ok(None)
    }

    pub(super) fn on_reply<'b>(&mut self, message: &'b [u8]) -> Result<Event<'b>, Error> {
        let (n, id, fields) = head(message).map_err(|e| Error::malformed("a reply", e))?;
        let pending = self.answered(n, id)?;
        let malformed = |e| Error::malformed(&alloc::format!("{} to {}", name(n), pending.op), e);
        let reply = match (n, pending.op.answer()) {
            (number::STATUS, _) => Reply::Status(status(fields).map_err(malformed)?),
            (number::HANDLE, Answer::Handle) => Reply::Handle(handle(fields).map_err(malformed)?),
            (number::NAME, Answer::Names) => Reply::Names(Names::parse(fields).map_err(malformed)?),
            (number::NAME, Answer::Path) => {
                let names = Names::parse(fields).map_err(malformed)?;
                let path = names.iter().next().map(|e| e.name).filter(|_| names.len() == 1);
                Reply::Path(path.ok_or(DecodeError::Invalid).map_err(malformed)?)
            }
            (number::ATTRS, Answer::Attrs) => {
                let mut r = Reader::new(fields);
                let attrs = Attrs::read(&mut r, false).and_then(|a| r.end().map(|()| a));
                Reply::Attrs(attrs.map_err(malformed)?)
            }
            (number::EXTENDED_REPLY, Answer::Extended) => extended(pending.op, fields).map_err(malformed)?,
            _ => return Err(wrong(n, &pending)),
        };
        if let Reply::Status(Status { code: StatusCode::OK, .. }) = reply
            && pending.op.answer() != Answer::Status
            && pending.op != Operation::Extended
        {
            // Success without what was asked for.
            return Err(wrong(n, &pending));
        }
        if pending.op.answer() == Answer::Handle {
            self.opened(id, &reply)?;
        }
        self.settle(id);
        Ok(Event::Reply { id, reply })
    }

    /// Two files under one handle would be read and written for each other.
    fn opened(&mut self, id: RequestId, reply: &Reply<'_>) -> Result<(), Error> {
        let Some(path) = self.opening.remove(&id) else { return Ok(()) };
        let Reply::Handle(handle) = reply else { return Ok(()) };
        match self.open.get(handle) {
            Some(other) if *other != path => {
                let what = alloc::format!("{handle:?} is that of {} and of {}", quote(other), quote(&path));
                Err(Error::new(Fault::HandleInUse, what))
            }
            _ => {
                self.open.insert(handle.clone(), path);
                Ok(())
            }
        }
    }

    /// The request that a reply answers.
    fn answered(&mut self, n: u8, id: RequestId) -> Result<Pending, Error> {
        if !matches!(n, number::STATUS..=number::ATTRS | number::EXTENDED_REPLY) {
            return Err(Error::new(Fault::UnexpectedMessage, name(n)));
        }
        let pending = self.pending_mut(id).map(|p| *p);
        pending.ok_or_else(|| Error::new(Fault::UnknownRequest, alloc::format!("{} to {}", name(n), id.0)))
    }

    /// The start of DATA; its parts follow.
    pub(super) fn on_data_head(&mut self, fields: &[u8], data: usize) -> Result<(), Error> {
        let malformed = |e| Error::malformed("DATA", e);
        if self.state == State::Starting {
            return Err(Error::new(Fault::UnexpectedMessage, "DATA before VERSION"));
        }
        let (n, id, rest) = head(fields).map_err(malformed)?;
        let said = Reader::new(rest).u32().map_err(malformed)?;
        let pending = self.answered(n, id)?;
        if pending.op != Operation::Read {
            return Err(wrong(n, &pending));
        }
        if said as usize != data {
            return Err(malformed(DecodeError::Invalid));
        }
        if said == 0 || said > pending.asked {
            let what = alloc::format!("{said} bytes to a READ of {}", pending.asked);
            return Err(Error::new(Fault::DataLength, what));
        }
        self.reading = Some(id);
        Ok(())
    }

    pub(super) fn on_data<'b>(&mut self, data: &'b [u8], left: usize) -> Option<Event<'b>> {
        let id = self.reading?;
        let pending = self.pending_mut(id)?;
        let at = pending.got;
        pending.got = at.saturating_add(data.len() as u32);
        let wanted = !pending.cancelled;
        if left == 0 {
            self.reading = None;
            self.settle(id);
        }
        wanted.then_some(Event::Data { id, at, data, left: left as u32 })
    }
}

fn wrong(n: u8, pending: &Pending) -> Error {
    Error::new(Fault::WrongReply, alloc::format!("{} to {}", name(n), pending.op))
}

/// STATUS; many servers leave out the language tag, some the text too.
fn status(fields: &[u8]) -> Result<Status, DecodeError> {
    let mut r = Reader::new(fields);
    let code = r.u32()?;
    let text = if r.is_empty() { &[][..] } else { r.string()? };
    if !r.is_empty() {
        r.string()?;
    }
    r.end().map(|()| Status::from_peer(code, text))
}

fn handle(fields: &[u8]) -> Result<Handle, DecodeError> {
    let mut r = Reader::new(fields);
    let bytes = r.string()?;
    r.end()?;
    if bytes.len() > MAX_HANDLE { Err(DecodeError::Invalid) } else { Ok(Handle(bytes.into())) }
}

fn extended(op: Operation, fields: &[u8]) -> Result<Reply<'_>, DecodeError> {
    Ok(match op {
        Operation::Statvfs | Operation::Fstatvfs => Reply::StatVfs(StatVfs::parse(fields)?),
        Operation::Limits => Reply::Limits(Limits::parse(fields)?),
        Operation::UsersGroupsById => Reply::UsersGroups(UsersGroups::parse(fields)?),
        Operation::CheckFileHandle | Operation::CheckFileName => Reply::FileHash(FileHash::parse(fields)?),
        _ => Reply::Extended(fields),
    })
}
