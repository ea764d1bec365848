//! One method a request.

use crate::crypto::HashAlgorithm;
use crate::sftp::attrs::Attrs;
use crate::sftp::error::UsageError;
use crate::sftp::extension::hash_name;
use crate::sftp::message::{MAX_DATA, MAX_MESSAGE, number, patch, publish};
use crate::sftp::operation::{Operation, Wire};
use crate::wire::Sink;

use super::{Handle, Pending, RequestId, SftpClient, State, TX_FULL};

/// How a file is opened (draft §6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFlags(pub u32);

impl OpenFlags {
    /// For reading.
    pub const READ: Self = Self(0x01);
    /// For writing.
    pub const WRITE: Self = Self(0x02);
    /// Writes go to the end, whatever their offset. Some servers ignore it.
    pub const APPEND: Self = Self(0x04);
    /// Make the file if it does not exist.
    pub const CREATE: Self = Self(0x08);
    /// Cut it to nothing.
    pub const TRUNCATE: Self = Self(0x10);
    /// Fail if it exists; with CREATE.
    pub const EXCLUSIVE: Self = Self(0x20);
    /// All of them.
    pub(crate) const KNOWN: u32 = 0x3f;

    /// Whether all flags of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl core::ops::BitOr for OpenFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Pending {
    pub(super) fn of(op: Operation) -> Self {
        Pending { op, asked: 0, got: 0, cancelled: false, own: false }
    }
}

/// Longest path, both paths of a request together: they fit into a message with all else.
const MAX_PATH: usize = 64 * 1024;

fn path(bytes: &[u8]) -> Result<&[u8], UsageError> {
    if bytes.len() > MAX_PATH {
        return Err(UsageError::TooLong);
    }
    if bytes.contains(&0) { Err(UsageError::InvalidPath) } else { Ok(bytes) }
}

fn attrs(attrs: &Attrs) -> Result<&Attrs, UsageError> {
    let bytes = attrs.extended.iter().map(|(n, v)| n.len().saturating_add(v.len()));
    let total = bytes.fold(0usize, usize::saturating_add);
    if total > MAX_PATH || attrs.extended.len() > 64 { Err(UsageError::TooLong) } else { Ok(attrs) }
}

/// Requests. Each returns at once with the number that its reply will carry; `Full`, `NotReady` and
/// `Ended` are the usage errors of all of them, `TooLong` and `InvalidPath` of those with a path,
/// `Unsupported` of those that are extensions.
impl SftpClient {
    pub(super) fn request(
        &mut self,
        pending: Pending,
        fields: impl FnOnce(&mut dyn Sink),
    ) -> Result<RequestId, UsageError> {
        match self.state {
            State::Starting => return Err(UsageError::NotReady),
            State::Ended(_) => return Err(UsageError::Ended),
            State::Ready => {}
        }
        if self.outstanding() >= self.most() || self.tx.len() >= TX_FULL {
            return Err(UsageError::Full);
        }
        let extension = pending.op.extension().filter(|e| !self.supports(*e));
        match extension {
            Some(extension) => Err(UsageError::Unsupported(extension)),
            None => Ok(self.request_anyway(pending, fields)),
        }
    }

    /// Without looking at limits: for what the machine owes, such as the CLOSE of a cancelled OPEN.
    pub(super) fn request_anyway(
        &mut self,
        pending: Pending,
        fields: impl FnOnce(&mut dyn Sink),
    ) -> RequestId {
        let id = self.enter(pending);
        let mut draft = self.tx.draft();
        draft.put_u32(0);
        head(&mut draft, pending.op, id);
        fields(&mut draft);
        let len = draft.len();
        publish(&mut self.tx, len);
        id
    }

    fn simple(&mut self, op: Operation, fields: impl FnOnce(&mut dyn Sink)) -> Result<RequestId, UsageError> {
        self.request(Pending::of(op), fields)
    }

    fn by_path(&mut self, op: Operation, name: &[u8]) -> Result<RequestId, UsageError> {
        let name = path(name)?;
        self.simple(op, |out| out.put_string(name))
    }

    fn by_handle(&mut self, op: Operation, handle: &Handle) -> Result<RequestId, UsageError> {
        self.simple(op, |out| out.put_string(handle.as_bytes()))
    }

    fn two_paths(&mut self, op: Operation, a: &[u8], b: &[u8]) -> Result<RequestId, UsageError> {
        let (a, b) = (path(a)?, path(b)?);
        self.simple(op, |out| {
            out.put_string(a);
            out.put_string(b);
        })
    }

    /// OPEN: a handle for a file. `attrs` are for a file that is made.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn open(&mut self, name: &[u8], flags: OpenFlags, with: &Attrs) -> Result<RequestId, UsageError> {
        let (name, with) = (path(name)?, attrs(with)?);
        let id = self.simple(Operation::Open, |out| {
            out.put_string(name);
            out.put_u32(flags.0);
            with.put(out);
        })?;
        self.opening.insert(id, name.to_vec());
        Ok(id)
    }

    /// CLOSE. The handle must not be used afterwards. Errors matter: some servers write only now.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn close(&mut self, handle: &Handle) -> Result<RequestId, UsageError> {
        let id = self.by_handle(Operation::Close, handle)?;
        self.open.remove(handle);
        Ok(id)
    }

    /// READ of up to `len` bytes (255 KiB at most are asked for). Answered by `Data` events, of fewer
    /// bytes if the server likes, or by EOF.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn read(&mut self, handle: &Handle, offset: u64, len: u32) -> Result<RequestId, UsageError> {
        let len = len.clamp(1, MAX_DATA as u32);
        let pending = Pending { asked: len, ..Pending::of(Operation::Read) };
        self.request(pending, |out| {
            out.put_string(handle.as_bytes());
            out.put_u64(offset);
            out.put_u32(len);
        })
    }

    /// WRITE of `data`, 255 KiB at most. The server takes all of it or fails.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn write(&mut self, handle: &Handle, offset: u64, data: &[u8]) -> Result<RequestId, UsageError> {
        if data.len() > MAX_DATA {
            return Err(UsageError::TooLong);
        }
        let id = self.write_with(handle, offset, data.len(), |room| {
            room.copy_from_slice(data);
            room.len()
        })?;
        // Only an empty write is not sent.
        id.ok_or(UsageError::TooLong)
    }

    /// WRITE whose data `fill` reads straight into the output: it gets room for `len` bytes (255 KiB at
    /// most) and returns how many it filled. `None`: it filled none, and nothing is sent.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn write_with(
        &mut self,
        handle: &Handle,
        offset: u64,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) -> Result<Option<RequestId>, UsageError> {
        self.check_room()?;
        let len = len.min(MAX_DATA);
        let id = self.enter(Pending::of(Operation::Write));
        let mut draft = self.tx.draft();
        draft.put_u32(0);
        head(&mut draft, Operation::Write, id);
        draft.put_string(handle.as_bytes());
        draft.put_u64(offset);
        let at = draft.len();
        draft.put_u32(0);
        let room = draft.extend(len);
        let n = fill(room).min(len);
        if n == 0 {
            self.settle(id);
            return Ok(None);
        }
        let end = at.saturating_add(4).saturating_add(n);
        patch(&mut self.tx, end, at, n);
        publish(&mut self.tx, end);
        Ok(Some(id))
    }

    fn check_room(&self) -> Result<(), UsageError> {
        match self.state {
            State::Starting => Err(UsageError::NotReady),
            State::Ended(_) => Err(UsageError::Ended),
            State::Ready if self.outstanding() >= self.most() || self.tx.len() >= TX_FULL => {
                Err(UsageError::Full)
            }
            State::Ready => Ok(()),
        }
    }

    /// STAT: attributes; symbolic links are followed.
    ///
    /// # Errors
    /// [`UsageError`]: the session has not begun or has ended, too much is outstanding, the path is too long or has a NUL,
    /// or the server does not offer it. Nothing is sent then.
    pub fn stat(&mut self, name: &[u8]) -> Result<RequestId, UsageError> {
        self.by_path(Operation::Stat, name)
    }

    /// LSTAT: attributes of the link itself.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn lstat(&mut self, name: &[u8]) -> Result<RequestId, UsageError> {
        self.by_path(Operation::Lstat, name)
    }

    /// FSTAT: attributes of an open file.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn fstat(&mut self, handle: &Handle) -> Result<RequestId, UsageError> {
        self.by_handle(Operation::Fstat, handle)
    }

    /// SETSTAT: what is set in `set` is changed.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn setstat(&mut self, name: &[u8], set: &Attrs) -> Result<RequestId, UsageError> {
        self.set_by_path(Operation::Setstat, name, set)
    }

    /// lsetstat@openssh.com: SETSTAT of a symbolic link itself.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn lsetstat(&mut self, name: &[u8], set: &Attrs) -> Result<RequestId, UsageError> {
        self.set_by_path(Operation::Lsetstat, name, set)
    }

    fn set_by_path(&mut self, op: Operation, name: &[u8], set: &Attrs) -> Result<RequestId, UsageError> {
        let (name, set) = (path(name)?, attrs(set)?);
        self.simple(op, |out| {
            out.put_string(name);
            set.put(out);
        })
    }

    /// FSETSTAT of an open file.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn fsetstat(&mut self, handle: &Handle, set: &Attrs) -> Result<RequestId, UsageError> {
        let set = attrs(set)?;
        self.simple(Operation::Fsetstat, |out| {
            out.put_string(handle.as_bytes());
            set.put(out);
        })
    }

    /// OPENDIR: a handle for READDIR.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn opendir(&mut self, name: &[u8]) -> Result<RequestId, UsageError> {
        let id = self.by_path(Operation::Opendir, name)?;
        self.opening.insert(id, name.to_vec());
        Ok(id)
    }

    /// READDIR: the next names, as many as the server likes, or EOF. Several may be outstanding.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn readdir(&mut self, handle: &Handle) -> Result<RequestId, UsageError> {
        self.by_handle(Operation::Readdir, handle)
    }

    /// REMOVE of a file.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn remove(&mut self, name: &[u8]) -> Result<RequestId, UsageError> {
        self.by_path(Operation::Remove, name)
    }

    /// MKDIR.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn mkdir(&mut self, name: &[u8], with: &Attrs) -> Result<RequestId, UsageError> {
        self.set_by_path(Operation::Mkdir, name, with)
    }

    /// RMDIR of an empty directory.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn rmdir(&mut self, name: &[u8]) -> Result<RequestId, UsageError> {
        self.by_path(Operation::Rmdir, name)
    }

    /// REALPATH: the absolute form of a path.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn realpath(&mut self, name: &[u8]) -> Result<RequestId, UsageError> {
        self.by_path(Operation::Realpath, name)
    }

    /// READLINK: where a symbolic link points.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn readlink(&mut self, name: &[u8]) -> Result<RequestId, UsageError> {
        self.by_path(Operation::Readlink, name)
    }

    /// RENAME; fails if `to` exists.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<RequestId, UsageError> {
        self.two_paths(Operation::Rename, from, to)
    }

    /// SYMLINK: a link at `link` that points to `target`.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn symlink(&mut self, target: &[u8], link: &[u8]) -> Result<RequestId, UsageError> {
        if self.config.draft_symlink {
            self.two_paths(Operation::Symlink, link, target)
        } else {
            self.two_paths(Operation::Symlink, target, link)
        }
    }

    /// posix-rename@openssh.com: replaces `to` if it exists.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn posix_rename(&mut self, from: &[u8], to: &[u8]) -> Result<RequestId, UsageError> {
        self.two_paths(Operation::PosixRename, from, to)
    }

    /// hardlink@openssh.com: another name for `existing`.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn hardlink(&mut self, existing: &[u8], link: &[u8]) -> Result<RequestId, UsageError> {
        self.two_paths(Operation::Hardlink, existing, link)
    }

    /// statvfs@openssh.com
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn statvfs(&mut self, name: &[u8]) -> Result<RequestId, UsageError> {
        self.by_path(Operation::Statvfs, name)
    }

    /// fstatvfs@openssh.com
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn fstatvfs(&mut self, handle: &Handle) -> Result<RequestId, UsageError> {
        self.by_handle(Operation::Fstatvfs, handle)
    }

    /// fsync@openssh.com: what was written is on the disk when the reply comes.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn fsync(&mut self, handle: &Handle) -> Result<RequestId, UsageError> {
        self.by_handle(Operation::Fsync, handle)
    }

    /// limits@openssh.com; the machine has asked already, see [`SftpClient::limits`].
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn query_limits(&mut self) -> Result<RequestId, UsageError> {
        self.simple(Operation::Limits, |_| ())
    }

    /// expand-path@openssh.com: REALPATH that knows `~` and `~user`.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn expand_path(&mut self, name: &[u8]) -> Result<RequestId, UsageError> {
        self.by_path(Operation::ExpandPath, name)
    }

    /// home-directory: of a user; of one's own if `user` is empty.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn home_directory(&mut self, user: &[u8]) -> Result<RequestId, UsageError> {
        self.by_path(Operation::HomeDirectory, user)
    }

    /// copy-data: copies `len` bytes, 0 for all until the end, between two open files.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn copy_data(
        &mut self,
        (from, from_offset): (&Handle, u64),
        len: u64,
        (to, to_offset): (&Handle, u64),
    ) -> Result<RequestId, UsageError> {
        self.simple(Operation::CopyData, |out| {
            out.put_string(from.as_bytes());
            out.put_u64(from_offset);
            out.put_u64(len);
            out.put_string(to.as_bytes());
            out.put_u64(to_offset);
        })
    }

    /// users-groups-by-id@openssh.com
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn users_groups_by_id(&mut self, uids: &[u32], gids: &[u32]) -> Result<RequestId, UsageError> {
        if uids.len().saturating_add(gids.len()) > MAX_MESSAGE / 8 {
            return Err(UsageError::TooLong);
        }
        self.simple(Operation::UsersGroupsById, |out| {
            for ids in [uids, gids] {
                out.put_len(ids.len().saturating_mul(4));
                ids.iter().for_each(|id| out.put_u32(*id));
            }
        })
    }

    /// check-file by handle: hashes of `len` bytes from `offset` (0: to the end), one for each
    /// `block` bytes (0: one in all; 256 at least otherwise). The server takes the first of `algs` that
    /// it has.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn check_file(
        &mut self,
        handle: &Handle,
        algs: &[HashAlgorithm],
        offset: u64,
        len: u64,
        block: u32,
    ) -> Result<RequestId, UsageError> {
        self.check(Operation::CheckFileHandle, handle.as_bytes(), algs, offset, len, block)
    }

    /// check-file by name.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn check_file_name(
        &mut self,
        name: &[u8],
        algs: &[HashAlgorithm],
        offset: u64,
        len: u64,
        block: u32,
    ) -> Result<RequestId, UsageError> {
        self.check(Operation::CheckFileName, path(name)?, algs, offset, len, block)
    }

    fn check(
        &mut self,
        op: Operation,
        what: &[u8],
        algs: &[HashAlgorithm],
        offset: u64,
        len: u64,
        block: u32,
    ) -> Result<RequestId, UsageError> {
        let names: crate::wire::NameListBuilder = algs.iter().map(|a| hash_name(*a)).collect();
        let names = names.finish();
        self.simple(op, |out| {
            out.put_string(what);
            out.put_string(names.as_bytes());
            out.put_u64(offset);
            out.put_u64(len);
            out.put_u32(block);
        })
    }

    /// An extension that konko does not know, announced or not; `fields` are what follows its name. The
    /// reply is [`Reply::Extended`](super::Reply::Extended) or a status.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn extended(&mut self, name: &[u8], fields: &[u8]) -> Result<RequestId, UsageError> {
        if name.len().saturating_add(fields.len()) > MAX_DATA {
            return Err(UsageError::TooLong);
        }
        self.simple(Operation::Extended, |out| {
            out.put_string(name);
            out.put(fields);
        })
    }
}

/// Number, request id, and the name of an extension.
fn head(out: &mut dyn Sink, op: Operation, id: RequestId) {
    match op.wire() {
        Some(Wire::Number(n)) => {
            out.put_u8(n);
            out.put_u32(id.0);
        }
        wire => {
            out.put_u8(number::EXTENDED);
            out.put_u32(id.0);
            if let Some(Wire::Extended(name)) = wire {
                out.put_string(name.as_bytes());
            }
        }
    }
}
