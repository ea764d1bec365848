//! Requests: read, checked and either handed out or answered at once.

use crate::sftp::VERSION;
use crate::sftp::attrs::Attrs;
use crate::sftp::client::OpenFlags;
use crate::sftp::error::{Error, Fault};
use crate::sftp::extension::{CheckFile, HASH_NAMES, HashList, Ids};
use crate::sftp::message::{MAX_DATA, MAX_HANDLE, Plan, number, send};
use crate::sftp::operation::{Extension, Operation};
use crate::sftp::status::{Status, StatusCode};
use crate::wire::{DecodeError, Reader};

use super::handles::Kind;
use super::{HandleId, Op, Open, Request, SftpServer, State, Writing};

/// Number, request id, length of the handle.
const WRITE_START: usize = 9;
/// Offset, length of the data.
const WRITE_END: usize = 12;
/// Files end here: offsets are signed in every system's calls (S-25).
const MAX_OFFSET: u64 = i64::MAX as u64;
/// Of a mode, what can be set; the rest says what kind of file it is.
const MODE_BITS: u32 = 0o7777;
/// Bytes kept free for a reply that is small, and for one with names, paths or figures.
const SMALL: usize = 512;
const LARGE: usize = 34_000;
/// Smallest block of check-file, from its draft.
const MIN_BLOCK: u32 = 256;

/// The data of WRITE comes piece by piece, everything else as a whole.
pub(super) fn plan(body: &[u8]) -> Plan {
    match body {
        [] => Plan::Need(1),
        [number::WRITE, ..] => match body.get(5..).and_then(|b| b.first_chunk::<4>()) {
            None => Plan::Need(WRITE_START),
            Some(n) => {
                let handle = usize::try_from(u32::from_be_bytes(*n)).unwrap_or(usize::MAX);
                let head = WRITE_START.saturating_add(handle).saturating_add(WRITE_END);
                match body.len() {
                    _ if handle > MAX_HANDLE => Plan::Whole,
                    n if n >= head => Plan::Bulk(head),
                    _ => Plan::Need(head),
                }
            }
        },
        _ => Plan::Whole,
    }
}

/// The number of a request, what it asks for, and its fields. An operation that is not in the table is
/// told by its extension's name; by an empty one if it is no extension.
#[allow(clippy::type_complexity)]
fn head(message: &[u8]) -> Option<(u32, Result<Operation, &[u8]>, Reader<'_>)> {
    let mut r = Reader::new(message);
    let (n, id) = (r.u8().ok()?, r.u32().ok()?);
    let op = if n == number::EXTENDED {
        let name = r.string().unwrap_or_default();
        Operation::from_extension(name).ok_or(name)
    } else {
        Operation::from_number(n).ok_or(&[][..])
    };
    Some((id, op, r))
}

impl Open {
    /// A request that came as a whole.
    fn whole(id: u32, op: Operation, handles: [Option<HandleId>; 2]) -> Self {
        Open { id, op, handles, parts: 0, complete: true, failed: None, len: 0, promised: SMALL }
    }
}

/// Why a request is not handed out.
enum No {
    /// It does not parse.
    Malformed,
    Status(Status),
}

impl From<DecodeError> for No {
    fn from(_: DecodeError) -> Self {
        No::Malformed
    }
}

impl From<StatusCode> for No {
    fn from(code: StatusCode) -> Self {
        No::Status(code.into())
    }
}

fn no(code: StatusCode, text: &'static str) -> No {
    No::Status(Status::with_message(code, text))
}

impl No {
    fn status(self) -> Status {
        match self {
            No::Malformed => StatusCode::BAD_MESSAGE.into(),
            No::Status(status) => status,
        }
    }
}

/// What was read of a request, before it is noted.
struct Parsed<'b> {
    op: Op<'b>,
    handles: [Option<HandleId>; 2],
    len: u32,
    promised: usize,
}

impl<'b> Parsed<'b> {
    fn new(op: Op<'b>) -> Self {
        let large = matches!(
            op,
            Op::Readdir { .. }
                | Op::Realpath { .. }
                | Op::ExpandPath { .. }
                | Op::Readlink { .. }
                | Op::UsersGroupsById { .. }
                | Op::CheckFileHandle { .. }
                | Op::CheckFileName { .. }
                | Op::Extended { .. }
        );
        Parsed { op, handles: [None; 2], len: 0, promised: if large { LARGE } else { SMALL } }
    }

    fn on(op: Op<'b>, handle: HandleId) -> Self {
        Parsed { handles: [Some(handle), None], ..Self::new(op) }
    }
}

impl SftpServer {
    /// Handles INIT, and says whether the message is a request.
    pub(super) fn is_request(&mut self, message: &[u8]) -> Result<bool, Error> {
        let (n, fields) = message.split_first().unwrap_or((&0, &[]));
        match (&self.state, *n) {
            (State::Starting, number::INIT) => {
                let version = Reader::new(fields).u32().map_err(|e| Error::malformed("INIT", e))?;
                if version < VERSION {
                    let what = alloc::format!("the client asks for {version}");
                    return Err(Error::new(Fault::Version, what));
                }
                self.send_version();
                self.state = State::Ready;
                Ok(false)
            }
            (State::Starting, n) => {
                Err(Error::new(Fault::UnexpectedMessage, alloc::format!("message {n} before INIT")))
            }
            (_, number::INIT) => Err(Error::new(Fault::UnexpectedMessage, "a second INIT")),
            // Without a number there is nothing to answer.
            (_, _) if fields.len() < 4 => {
                Err(Error::malformed(&alloc::format!("message {n}"), DecodeError::Truncated))
            }
            _ => Ok(true),
        }
    }

    fn send_version(&mut self) {
        let config = &self.config;
        send(&mut self.tx, |out| {
            out.put_u8(number::VERSION);
            out.put_u32(VERSION);
            for extension in config.announced() {
                let version = Extension::ALL.iter().find(|(e, _, _)| *e == extension);
                let data = version.map_or("", |(_, _, v)| v);
                out.put_string(extension.name().as_bytes());
                let hashes = extension == Extension::CheckFile;
                out.put_string(if hashes { HASH_NAMES.as_bytes() } else { data.as_bytes() });
            }
        });
    }

    /// Answers a request that is not for the file system, or not yet. False: it is.
    pub(super) fn answers(&mut self, message: &[u8]) -> bool {
        let Some((id, op, mut r)) = head(message) else { return true };
        let status = match op {
            Err([]) => StatusCode::OP_UNSUPPORTED.into(),
            op => match self.judge(id, op, &mut r, false) {
                Ok(None) => return true,
                Ok(Some(Parsed { op: Op::Close { handle }, handles, .. })) => {
                    if !self.handles.is_held(handle) {
                        return false;
                    }
                    let request = self.enter(Open::whole(id, Operation::Close, handles));
                    self.handles.close(handle, request);
                    return true;
                }
                Ok(Some(_)) => return false,
                Err(no) => no.status(),
            },
        };
        self.send_status(id, &status);
        true
    }

    /// A request that [`answers`](Self::answers) left.
    pub(super) fn on_request<'b>(&mut self, message: &'b [u8]) -> Option<Request<'b>> {
        let (id, op, mut r) = head(message)?;
        let Parsed { op: what, handles, len, promised } = self.judge(id, op, &mut r, true).ok()??;
        let op = op.unwrap_or(Operation::Extended);
        let request = self.enter(Open { len, promised, ..Open::whole(id, op, handles) });
        if let Op::Close { handle } = what {
            self.handles.close(handle, request);
        }
        Some(Request { ticket: self.ticket(request), op: what })
    }

    /// Reads and checks a request; `None` if it is answered already. Nothing changes before `admit`.
    fn judge<'b>(
        &mut self,
        id: u32,
        op: Result<Operation, &'b [u8]>,
        r: &mut Reader<'b>,
        admit: bool,
    ) -> Result<Option<Parsed<'b>>, No> {
        let kind = op.unwrap_or(Operation::Extended);
        if self.config.denies(kind) {
            return Err(no(StatusCode::PERMISSION_DENIED, "this request is not allowed here"));
        }
        if kind.extension().is_some_and(|e| !self.config.announced().any(|a| a == e)) {
            return Err(StatusCode::OP_UNSUPPORTED.into());
        }
        let op = match op {
            Ok(op) => op,
            Err(name) => return Ok(Some(Parsed::new(Op::Extended { name, fields: r.rest() }))),
        };
        match op {
            Operation::Limits => {
                let limits = self.config.limits();
                self.send_reply(id, number::EXTENDED_REPLY, |out| limits.put(out));
                Ok(None)
            }
            Operation::Read => self.read(id, r),
            // One whose handle is too long to be one; others do not come as a whole.
            Operation::Write => Err(No::Malformed),
            Operation::Open | Operation::Opendir => self.opening(op, r, admit).map(Some),
            Operation::Close
            | Operation::Fstat
            | Operation::Fsetstat
            | Operation::Readdir
            | Operation::Fstatvfs
            | Operation::Fsync
            | Operation::CopyData
            | Operation::CheckFileHandle => self.on_handle(op, r).map(Some),
            _ => self.on_path(op, r).map(|op| Some(Parsed::new(op))),
        }
    }

    // ---- fields ----

    fn path<'b>(&self, r: &mut Reader<'b>) -> Result<&'b [u8], No> {
        let path = r.string()?;
        if path.contains(&0) {
            return Err(no(StatusCode::NO_SUCH_FILE, "the path holds a NUL byte"));
        }
        if path.len() > self.config.max_path {
            return Err(no(StatusCode::FAILURE, "the path is too long"));
        }
        Ok(path)
    }

    /// Attributes to be set: what the configuration does not allow is refused or masked.
    fn attrs(&self, r: &mut Reader<'_>, new: bool) -> Result<Attrs, No> {
        let mut attrs = Attrs::read(r, true)?;
        if attrs.size.is_some_and(|n| n > MAX_OFFSET) {
            return Err(no(StatusCode::FAILURE, "the size is too large"));
        }
        if attrs.owner.is_some() && !self.config.allow_chown {
            if !new {
                return Err(no(StatusCode::PERMISSION_DENIED, "owners cannot be changed"));
            }
            attrs.owner = None;
        }
        let mask = self.config.mode_mask;
        if new {
            attrs.permissions = attrs.permissions.map(|mode| mode & mask & !self.config.umask);
        } else if attrs.permissions.is_some_and(|mode| mode & MODE_BITS & !mask != 0) {
            // A mode that is not set as it was asked for is no success.
            return Err(no(StatusCode::PERMISSION_DENIED, "this mode cannot be set"));
        } else {
            attrs.permissions = attrs.permissions.map(|mode| mode & MODE_BITS);
        }
        Ok(attrs)
    }

    fn handle(&self, r: &mut Reader<'_>) -> Result<(HandleId, Kind), No> {
        self.handles.find(r.string()?).ok_or(no(StatusCode::FAILURE, "the handle is not valid"))
    }

    /// A handle of a file that was opened with `flags` at least.
    fn file(&self, r: &mut Reader<'_>, flags: OpenFlags) -> Result<HandleId, No> {
        match self.handle(r)? {
            (id, Kind::File(opened)) if opened.contains(flags) => Ok(id),
            (_, Kind::File(_)) => Err(no(StatusCode::PERMISSION_DENIED, "the file is not open for that")),
            (_, Kind::Dir) => Err(no(StatusCode::FAILURE, "the handle is not one of a file")),
        }
    }

    fn check<'b>(r: &mut Reader<'b>) -> Result<CheckFile<'b>, No> {
        let check = CheckFile { algs: HashList(r.text()?), offset: r.u64()?, len: r.u64()?, block: r.u32()? };
        if check.block != 0 && check.block < MIN_BLOCK {
            return Err(no(StatusCode::FAILURE, "the block size is smaller than 256"));
        }
        range(check.offset, check.len)?;
        if check.algs.iter().next().is_none() {
            return Err(no(StatusCode::OP_UNSUPPORTED, "none of these hashes is supported"));
        }
        Ok(check)
    }

    // ---- requests ----

    fn read<'b>(&mut self, id: u32, r: &mut Reader<'b>) -> Result<Option<Parsed<'b>>, No> {
        let handle = self.file(r, OpenFlags::READ)?;
        let (offset, len) = (r.u64()?, r.u32()?);
        let len = len.min(MAX_DATA as u32);
        range(offset, u64::from(len))?;
        if len == 0 {
            // Strange but not forbidden: no data, as OpenSSH answers.
            self.send_reply(id, number::DATA, |out| out.put_u32(0));
            return Ok(None);
        }
        let promised = len as usize;
        Ok(Some(Parsed { len, promised, ..Parsed::on(Op::Read { handle, offset, len }, handle) }))
    }

    fn opening<'b>(&mut self, op: Operation, r: &mut Reader<'b>, admit: bool) -> Result<Parsed<'b>, No> {
        let path = self.path(r)?;
        let mut kind = Kind::Dir;
        let mut attrs = Attrs::new();
        let mut flags = OpenFlags::READ;
        if op == Operation::Open {
            flags = OpenFlags(r.u32()?);
            attrs = self.attrs(r, true)?;
            check_flags(flags)?;
            if self.config.denies_open(flags) {
                return Err(no(StatusCode::PERMISSION_DENIED, "files can only be read here"));
            }
            kind = Kind::File(flags);
        }
        let full = no(StatusCode::FAILURE, "too many files are open");
        let handle = if admit { self.handles.reserve(kind) } else { self.handles.vacant() };
        let handle = handle.ok_or(full)?;
        let op = match kind {
            Kind::Dir => Op::Opendir { handle, path },
            Kind::File(_) => Op::Open { handle, path, flags, attrs },
        };
        Ok(Parsed::on(op, handle))
    }

    fn on_handle<'b>(&self, op: Operation, r: &mut Reader<'b>) -> Result<Parsed<'b>, No> {
        let any = OpenFlags::default();
        let handle = match op {
            Operation::Close => self.handle(r)?.0,
            Operation::Readdir => match self.handle(r)? {
                (id, Kind::Dir) => id,
                _ => return Err(no(StatusCode::FAILURE, "the handle is not one of a directory")),
            },
            Operation::CopyData | Operation::CheckFileHandle => self.file(r, OpenFlags::READ)?,
            _ => self.file(r, any)?,
        };
        let op = match op {
            Operation::Close => Op::Close { handle },
            Operation::Readdir => Op::Readdir { handle },
            Operation::Fstat => Op::Fstat { handle },
            Operation::Fstatvfs => Op::Fstatvfs { handle },
            Operation::Fsync => Op::Fsync { handle },
            Operation::CheckFileHandle => Op::CheckFileHandle { handle, check: Self::check(r)? },
            Operation::CopyData => return self.copy_data(handle, r),
            _ => Op::Fsetstat { handle, attrs: self.attrs(r, false)? },
        };
        Ok(Parsed::on(op, handle))
    }

    fn copy_data<'b>(&self, from: HandleId, r: &mut Reader<'b>) -> Result<Parsed<'b>, No> {
        let (from_offset, len) = (r.u64()?, r.u64()?);
        let to = self.file(r, OpenFlags::WRITE)?;
        let to_offset = r.u64()?;
        range(from_offset, len)?;
        range(to_offset, len)?;
        // A copy within one file must not run into itself, or it goes on for ever (S-16).
        let apart = len != 0 && from_offset.abs_diff(to_offset) >= len;
        if from == to && !apart {
            return Err(no(StatusCode::FAILURE, "the ranges overlap"));
        }
        let op = Op::CopyData { from, from_offset, len, to, to_offset };
        let second = Some(to).filter(|to| *to != from);
        Ok(Parsed { handles: [Some(from), second], ..Parsed::new(op) })
    }

    fn on_path<'b>(&self, op: Operation, r: &mut Reader<'b>) -> Result<Op<'b>, No> {
        if op == Operation::UsersGroupsById {
            let (uids, gids) = (r.string()?, r.string()?);
            if uids.len() % 4 != 0 || gids.len() % 4 != 0 {
                return Err(No::Malformed);
            }
            return Ok(Op::UsersGroupsById { uids: Ids(uids), gids: Ids(gids) });
        }
        let path = self.path(r)?;
        Ok(match op {
            Operation::Lstat => Op::Lstat { path },
            Operation::Stat => Op::Stat { path },
            Operation::Setstat => Op::Setstat { path, attrs: self.attrs(r, false)? },
            Operation::Lsetstat => Op::Lsetstat { path, attrs: self.attrs(r, false)? },
            Operation::Remove => Op::Remove { path },
            Operation::Mkdir => Op::Mkdir { path, attrs: self.attrs(r, true)? },
            Operation::Rmdir => Op::Rmdir { path },
            Operation::Realpath => Op::Realpath { path: here(path) },
            Operation::ExpandPath => Op::ExpandPath { path: here(path) },
            Operation::Readlink => Op::Readlink { path },
            Operation::Statvfs => Op::Statvfs { path },
            Operation::HomeDirectory => Op::HomeDirectory { user: path },
            Operation::CheckFileName => Op::CheckFileName { path, check: Self::check(r)? },
            Operation::Rename => Op::Rename { from: path, to: self.path(r)? },
            Operation::PosixRename => Op::PosixRename { from: path, to: self.path(r)? },
            Operation::Hardlink => Op::Hardlink { existing: path, link: self.path(r)? },
            // OpenSSH's order, which nearly everybody follows: first what the link says.
            Operation::Symlink if self.config.link_first => Op::Symlink { link: path, target: self.path(r)? },
            Operation::Symlink => Op::Symlink { target: path, link: self.path(r)? },
            _ => return Err(StatusCode::OP_UNSUPPORTED.into()),
        })
    }

    // ---- WRITE ----

    /// The fields before the data. True if there is no data to wait for.
    pub(super) fn on_write_head(&mut self, fields: &[u8], data: usize) -> Result<bool, Error> {
        if self.state == State::Starting {
            return Err(Error::new(Fault::UnexpectedMessage, "WRITE before INIT"));
        }
        let mut r = Reader::new(fields);
        let head = r.u8().and_then(|_| r.u32());
        let id = head.map_err(|e| Error::malformed("WRITE", e))?;
        let judged = self.judge_write(&mut r, data);
        let (handle, offset, len, failed) = match judged {
            Ok((handle, offset, len)) => (Some(handle), offset, len, None),
            Err(no) => (None, 0, 0, Some(no.status())),
        };
        let request = self.enter(Open {
            id,
            op: Operation::Write,
            handles: [handle, None],
            parts: 0,
            complete: false,
            failed,
            len: 0,
            promised: SMALL,
        });
        self.writing = Some(Writing { request, handle, offset, len });
        Ok(data == 0)
    }

    fn judge_write(&self, r: &mut Reader<'_>, data: usize) -> Result<(HandleId, u64, usize), No> {
        if self.config.denies(Operation::Write) {
            return Err(no(StatusCode::PERMISSION_DENIED, "files can only be read here"));
        }
        let handle = self.file(r, OpenFlags::WRITE)?;
        let (offset, len) = (r.u64()?, r.u32()?);
        // Go's pkg/sftp sends its whole buffer, however little of it counts.
        if len as usize > data {
            return Err(No::Malformed);
        }
        range(offset, u64::from(len))?;
        Ok((handle, offset, len as usize))
    }

    /// A part of the data; `None` if the WRITE is refused, or nothing of it is left to do.
    pub(super) fn on_write_data<'b>(&mut self, data: &'b [u8], left: usize) -> Option<Request<'b>> {
        let Writing { request, handle, offset, len } = self.writing.take()?;
        let (counts, _) = data.split_at_checked(len).unwrap_or((data, &[]));
        if left > 0 {
            let offset = offset.saturating_add(counts.len() as u64);
            let len = len.saturating_sub(counts.len());
            self.writing = Some(Writing { request, handle, offset, len });
        }
        let behind = counts.is_empty() && !data.is_empty();
        let data = counts;
        let open = self.requests.get_mut(request)?;
        open.complete = left == 0;
        match handle.filter(|_| open.failed.is_none() && !behind) {
            Some(handle) => {
                Some(Request { ticket: self.ticket(request), op: Op::Write { handle, offset, data } })
            }
            None => {
                self.settle_write(request);
                None
            }
        }
    }
}

/// OPENs that cannot be meant (S-13).
fn check_flags(flags: OpenFlags) -> Result<(), No> {
    let has = |f: OpenFlags| flags.contains(f);
    let bad = flags.0 & !OpenFlags::KNOWN != 0
        || !(has(OpenFlags::READ) || has(OpenFlags::WRITE))
        || (has(OpenFlags::TRUNCATE) && !has(OpenFlags::WRITE))
        || (has(OpenFlags::APPEND) && !has(OpenFlags::WRITE))
        || (has(OpenFlags::EXCLUSIVE) && !has(OpenFlags::CREATE));
    if bad { Err(no(StatusCode::BAD_MESSAGE, "these flags do not go together")) } else { Ok(()) }
}

/// A range that no file can have (S-25).
fn range(offset: u64, len: u64) -> Result<(), No> {
    match offset.checked_add(len) {
        Some(end) if end <= MAX_OFFSET => Ok(()),
        _ => Err(no(StatusCode::FAILURE, "the offset is too large")),
    }
}

/// The empty path is where one is.
fn here(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"." } else { path }
}
