use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use konko_core::sftp::{
    Attrs, FileHash, FileSystem, HandleId, Ids, Op, OpenFlags, Operation, Request, Server, StatVfs, Status,
    StatusCode, Ticket, UsageError, UsersGroups,
};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::attrs::{attrs_of, figures};
use super::bulk::{self, Budget};
use super::listing::Listing;
use super::names::{self, Names};
use super::object::{self, Object};
use super::resolve::{Place, Target, Tree, id, kind};
use super::root::{Access, Done, Root, Rules};

/// Why a request fails.
#[derive(Debug)]
pub(super) enum No {
    System(Errno),
    Said(Status),
}

impl From<Errno> for No {
    fn from(errno: Errno) -> Self {
        No::System(errno)
    }
}

impl From<StatusCode> for No {
    fn from(code: StatusCode) -> Self {
        No::Said(code.into())
    }
}

pub(super) type Result<T> = std::result::Result<T, No>;

pub(super) fn no<T>(text: &'static str) -> Result<T> {
    Err(No::Said(Status::with_message(StatusCode::FAILURE, text)))
}

impl No {
    /// What the client hears: nothing about this machine (S-11).
    pub(super) fn status(self) -> Status {
        let errno = match self {
            No::Said(status) => return status,
            No::System(errno) => errno,
        };
        let (code, text) = match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => (StatusCode::NO_SUCH_FILE, ""),
            Errno::PERM | Errno::ACCESS => (StatusCode::PERMISSION_DENIED, ""),
            Errno::ROFS => (StatusCode::PERMISSION_DENIED, "the file system is read-only"),
            Errno::NOSYS | Errno::OPNOTSUPP => (StatusCode::OP_UNSUPPORTED, ""),
            Errno::EXIST => (StatusCode::FAILURE, "file exists"),
            Errno::NOTEMPTY => (StatusCode::FAILURE, "directory not empty"),
            Errno::ISDIR => (StatusCode::FAILURE, "is a directory"),
            Errno::NAMETOOLONG => (StatusCode::FAILURE, "the name is too long"),
            Errno::NOSPC => (StatusCode::FAILURE, "no space left on device"),
            Errno::DQUOT => (StatusCode::FAILURE, "disk quota exceeded"),
            Errno::FBIG => (StatusCode::FAILURE, "the file would be too large"),
            Errno::XDEV => (StatusCode::FAILURE, "on another file system"),
            Errno::BUSY | Errno::TXTBSY => (StatusCode::FAILURE, "in use"),
            Errno::MFILE | Errno::NFILE => (StatusCode::FAILURE, "too many files are open"),
            Errno::IO => (StatusCode::FAILURE, "input/output error"),
            _ => (StatusCode::FAILURE, ""),
        };
        Status::with_message(code, text)
    }
}

/// What a request is answered with.
enum Answer {
    Done,
    Opened,
    Path(Vec<u8>),
    Attrs(Attrs),
    StatVfs(StatVfs),
    UsersGroups(UsersGroups),
    FileHash(FileHash),
}

/// A file that a client has opened.
pub(super) struct OpenFile {
    pub(super) fd: OwnedFd,
    pub(super) append: bool,
    /// What was opened, if somebody wants to know.
    path: Vec<u8>,
    read: u64,
    written: u64,
}

enum Opened {
    File(OpenFile),
    Dir(Listing),
}

/// A [`Root`] with the open files of one session: a [`FileSystem`] for [`serve`](super::serve()).
///
/// Requests are answered at once. READ reads straight into the reply, WRITE writes straight from what was
/// received.
pub struct RootedFs {
    tree: Tree,
    rules: Rules,
    open: Vec<Option<(HandleId, Opened)>>,
    names: Names,
    budget: Budget,
    over: Option<Box<dyn Fn() -> bool + Send>>,
}

impl RootedFs {
    pub(super) fn new(root: &Root) -> Self {
        let rules = root.rules.clone();
        RootedFs {
            tree: root.tree.clone(),
            budget: Budget::new(&rules),
            rules,
            open: Vec::new(),
            names: Names::default(),
            over: None,
        }
    }

    /// Asks `over` now and then while something long is done, a large copy, and gives up when it says that
    /// nobody waits for it any more.
    #[must_use]
    pub fn cancel_when(mut self, over: impl Fn() -> bool + Send + 'static) -> Self {
        self.over = Some(Box::new(over));
        self
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.budget.written()
    }

    // ---- judging ----

    fn judge(
        &self,
        operation: Operation,
        path: &[u8],
        other: Option<&[u8]>,
        flags: Option<OpenFlags>,
    ) -> Result<()> {
        match &self.rules.judge {
            Some(judge) if !judge(&Access { operation, path, other, flags }) => {
                Err(StatusCode::PERMISSION_DENIED.into())
            }
            _ => Ok(()),
        }
    }

    /// A path, free of links if somebody judges it.
    fn target<'p>(&self, path: &'p [u8], follow: bool) -> Result<Target<'p>> {
        if self.rules.judge.is_none() {
            return Ok(Target::new(path));
        }
        Ok(Target { path: self.tree.canonical(path, follow)?.into(), judged: true })
    }

    fn admit<'p>(&self, operation: Operation, path: &'p [u8], follow: bool) -> Result<Target<'p>> {
        let target = self.target(path, follow)?;
        self.judge(operation, &target.path, None, None)?;
        Ok(target)
    }

    fn admit_two<'p>(
        &self,
        operation: Operation,
        from: &'p [u8],
        to: &'p [u8],
    ) -> Result<(Target<'p>, Target<'p>)> {
        let (from, to) = (self.target(from, false)?, self.target(to, false)?);
        self.judge(operation, &from.path, Some(&to.path), None)?;
        Ok((from, to))
    }

    /// An open file, if what is to be done with it is allowed.
    fn file(&self, operation: Operation, handle: HandleId) -> Result<&OpenFile> {
        let file = match self.open.get(handle.index()) {
            Some(Some((id, Opened::File(file)))) if *id == handle => file,
            _ => return no("the handle is not valid"),
        };
        match operation {
            Operation::Read | Operation::Write => {}
            _ => self.judge(operation, &file.path, None, None)?,
        }
        Ok(file)
    }

    fn file_mut(&mut self, handle: HandleId) -> Result<&mut OpenFile> {
        match self.open.get_mut(handle.index()) {
            Some(Some((id, Opened::File(file)))) if *id == handle => Ok(file),
            _ => no("the handle is not valid"),
        }
    }

    fn dir_mut(&mut self, handle: HandleId) -> Result<(&mut Listing, &mut Names)> {
        match self.open.get_mut(handle.index()) {
            Some(Some((id, Opened::Dir(dir)))) if *id == handle => Ok((dir, &mut self.names)),
            _ => no("the handle is not valid"),
        }
    }

    fn insert(&mut self, handle: HandleId, opened: Opened) {
        let index = handle.index();
        if self.open.len() <= index {
            self.open.resize_with(index + 1, || None);
        }
        self.open[index] = Some((handle, opened));
    }

    fn take(&mut self, handle: HandleId) -> Option<Opened> {
        let entry = self.open.get_mut(handle.index())?;
        if entry.as_ref().is_some_and(|(id, _)| *id == handle) {
            return entry.take().map(|(_, opened)| opened);
        }
        None
    }

    /// Whether anybody wants to know the paths of open files.
    fn kept(&self, target: &Target<'_>) -> Vec<u8> {
        let wanted = self.rules.judge.is_some() || self.rules.witness.is_some();
        if wanted { target.path.to_vec() } else { Vec::new() }
    }

    // ---- requests ----

    fn perform(&mut self, op: &Op<'_>) -> Result<Answer> {
        use Operation as O;
        match *op {
            Op::Open { handle, path, flags, ref attrs } => self.open_file(handle, path, flags, attrs),
            Op::Opendir { handle, path } => self.open_dir(handle, path),
            Op::Close { handle } => self.close(handle).map(|()| Answer::Done),
            Op::Write { handle, offset, data } => self.write(handle, offset, data).map(|()| Answer::Done),
            Op::Stat { path } => self.stat(&self.admit(O::Stat, path, true)?, true),
            Op::Lstat { path } => self.stat(&self.admit(O::Lstat, path, false)?, false),
            Op::Fstat { handle } => {
                let stat = rustix::fs::fstat(&self.file(O::Fstat, handle)?.fd)?;
                Ok(Answer::Attrs(attrs_of(&stat)))
            }
            Op::Setstat { path, ref attrs } => self.set(&self.admit(O::Setstat, path, true)?, attrs, true),
            Op::Lsetstat { path, ref attrs } => {
                self.set(&self.admit(O::Lsetstat, path, false)?, attrs, false)
            }
            Op::Fsetstat { handle, ref attrs } => self.set_open(handle, attrs),
            Op::Realpath { path } => {
                let path = self.tree.canonical(path, true)?;
                self.judge(O::Realpath, &path, None, None)?;
                Ok(Answer::Path(path))
            }
            Op::ExpandPath { path } => {
                let path = self.tree.canonical(&self.expand(path)?, true)?;
                self.judge(O::ExpandPath, &path, None, None)?;
                Ok(Answer::Path(path))
            }
            Op::HomeDirectory { user } => {
                let home = self.home(user)?;
                self.judge(O::HomeDirectory, &home, None, None)?;
                Ok(Answer::Path(home))
            }
            Op::Readlink { path } => self.read_link(&self.admit(O::Readlink, path, false)?),
            Op::Statvfs { path } => {
                let object = self.tree.object(&self.admit(O::Statvfs, path, true)?, true)?;
                Ok(Answer::StatVfs(figures(&object.statvfs()?)))
            }
            Op::Fstatvfs { handle } => {
                let stat = rustix::fs::fstatvfs(&self.file(O::Fstatvfs, handle)?.fd)?;
                Ok(Answer::StatVfs(figures(&stat)))
            }
            Op::UsersGroupsById { uids, gids } => Ok(Answer::UsersGroups(self.users_groups(uids, gids))),
            Op::CheckFileHandle { handle, ref check } => {
                let file = self.file(O::CheckFileHandle, handle)?;
                bulk::hash(&file.fd, check, &|| self.is_over()).map(Answer::FileHash)
            }
            Op::CheckFileName { path, ref check } => {
                let target = self.admit(O::CheckFileName, path, true)?;
                let fd = self.open_checked(&target, OFlags::RDONLY, 0, false)?;
                bulk::hash(&fd, check, &|| self.is_over()).map(Answer::FileHash)
            }
            Op::Fsync { handle } => {
                rustix::fs::fsync(&self.file(O::Fsync, handle)?.fd)?;
                Ok(Answer::Done)
            }
            Op::CopyData { from, from_offset, len, to, to_offset } => {
                self.copy((from, from_offset), (to, to_offset), len).map(done)
            }
            ref op => self.rearrange(op).map(done),
        }
    }

    /// What changes names, not contents.
    fn rearrange(&self, op: &Op<'_>) -> Result<()> {
        use Operation as O;
        let place = |target: &Target<'_>, folder| self.tree.place(target, folder);
        match *op {
            Op::Remove { path } => {
                let target = self.admit(O::Remove, path, false)?;
                self.unlink(&self.tree.place(&target, false)?)
            }
            Op::Mkdir { path, ref attrs } => {
                let target = self.admit(O::Mkdir, path, false)?;
                let place = self.tree.place(&target, true)?;
                let mode = attrs.permissions.unwrap_or(0o777) & self.rules.modes(FileType::Directory);
                Ok(rustix::fs::mkdirat(place.dir(), &place.name, object::mode(mode))?)
            }
            Op::Rmdir { path } => {
                let target = self.admit(O::Rmdir, path, false)?;
                let place = self.tree.place(&target, true)?;
                let flags = rustix::fs::AtFlags::REMOVEDIR;
                Ok(rustix::fs::unlinkat(place.dir(), &place.name, flags)?)
            }
            Op::Symlink { target, link } => {
                let link = self.admit(O::Symlink, link, false)?;
                let link = self.tree.place(&link, false)?;
                Ok(rustix::fs::symlinkat(target, link.dir(), &link.name)?)
            }
            Op::Hardlink { existing, link } => {
                let (existing, link) = self.admit_two(O::Hardlink, existing, link)?;
                let (existing, link) = (place(&existing, false)?, place(&link, false)?);
                let flags = rustix::fs::AtFlags::empty();
                Ok(rustix::fs::linkat(existing.dir(), &existing.name, link.dir(), &link.name, flags)?)
            }
            Op::Rename { from, to } => {
                let (from, to) = self.admit_two(O::Rename, from, to)?;
                let (from, to) = (place(&from, true)?, place(&to, true)?);
                renames_as_said(&from, &to)?;
                rename_new(&from, &to)
            }
            Op::PosixRename { from, to } => {
                let (from, to) = self.admit_two(O::PosixRename, from, to)?;
                let (from, to) = (place(&from, true)?, place(&to, true)?);
                renames_as_said(&from, &to)?;
                Ok(rustix::fs::renameat(from.dir(), &from.name, to.dir(), &to.name)?)
            }
            _ => Err(StatusCode::OP_UNSUPPORTED.into()),
        }
    }

    fn unlink(&self, place: &Place<'_>) -> Result<()> {
        Ok(rustix::fs::unlinkat(place.dir(), &place.name, rustix::fs::AtFlags::empty())?)
    }

    fn open_file(
        &mut self,
        handle: HandleId,
        path: &[u8],
        flags: OpenFlags,
        attrs: &Attrs,
    ) -> Result<Answer> {
        let has = |flag| flags.contains(flag);
        // An exclusive creation follows no link.
        let target = self.target(path, !has(OpenFlags::EXCLUSIVE))?;
        self.judge(Operation::Open, &target.path, None, Some(flags))?;
        let mut how = match (has(OpenFlags::READ), has(OpenFlags::WRITE)) {
            (true, true) => OFlags::RDWR,
            (false, true) => OFlags::WRONLY,
            _ => OFlags::RDONLY,
        };
        how.set(OFlags::APPEND, has(OpenFlags::APPEND));
        how.set(OFlags::CREATE, has(OpenFlags::CREATE));
        how.set(OFlags::TRUNC, has(OpenFlags::TRUNCATE));
        how.set(OFlags::EXCL, has(OpenFlags::EXCLUSIVE));
        let mode = attrs.permissions.unwrap_or(0o666) & self.rules.modes(FileType::RegularFile);
        let fd = self.open_checked(&target, how, mode, self.rules.devices)?;
        let append = has(OpenFlags::APPEND);
        let file = OpenFile { fd, append, path: self.kept(&target), read: 0, written: 0 };
        self.insert(handle, Opened::File(file));
        Ok(Answer::Opened)
    }

    /// Opens a file that can be read or written without waiting (S-28).
    fn open_checked(&self, target: &Target<'_>, flags: OFlags, mode: u32, devices: bool) -> Result<OwnedFd> {
        let fits = |stat: &Stat| match kind(stat) {
            FileType::RegularFile => Ok(()),
            FileType::CharacterDevice | FileType::BlockDevice if devices => Ok(()),
            FileType::Directory => Err(No::System(Errno::ISDIR)),
            _ => no("not a regular file"),
        };
        // Opening a device can do something by itself: a tape rewinds, a watchdog starts.
        if !devices && !flags.contains(OFlags::EXCL) {
            match self.tree.stat(target, true) {
                Ok(stat) => fits(&stat)?,
                Err(Errno::NOENT) if flags.contains(OFlags::CREATE) => {}
                Err(e) => return Err(e.into()),
            }
        }
        // Named pipes wait for their other end otherwise.
        let fd = self.tree.open(target, flags | OFlags::NONBLOCK | OFlags::NOCTTY, object::mode(mode))?;
        fits(&rustix::fs::fstat(&fd)?)?;
        Ok(fd)
    }

    fn open_dir(&mut self, handle: HandleId, path: &[u8]) -> Result<Answer> {
        let target = self.admit(Operation::Opendir, path, true)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK;
        let fd = self.tree.open(&target, flags, Mode::empty())?;
        let top = !self.tree.is_host() && self.tree.is_root(&rustix::fs::fstat(&fd)?);
        let listing = Listing::new(fd, top, self.rules.names, self.kept(&target))?;
        self.insert(handle, Opened::Dir(listing));
        Ok(Answer::Opened)
    }

    /// The client's last chance to learn that something was not written (S-31).
    fn close(&mut self, handle: HandleId) -> Result<()> {
        match self.take(handle) {
            Some(Opened::File(file)) => {
                let closed = close(file.fd);
                let status = closed.map_err(|e| No::System(e).status());
                let code = status.as_ref().err().map_or(StatusCode::OK, |s| s.code);
                self.tell(Operation::Close, &file.path, None, None, code, (file.read, file.written));
                status.map_err(No::Said)
            }
            Some(Opened::Dir(dir)) => {
                self.tell(Operation::Close, dir.path(), None, None, StatusCode::OK, (0, 0));
                Ok(())
            }
            None => no("the handle is not valid"),
        }
    }

    fn write(&mut self, handle: HandleId, offset: u64, mut data: &[u8]) -> Result<()> {
        let file = self.file(Operation::Write, handle)?;
        let (append, total) = (file.append, data.len() as u64);
        let start = match append && self.rules.max_file.is_some() {
            true => attrs_of(&rustix::fs::fstat(&file.fd)?).size.unwrap_or(0),
            false => offset,
        };
        self.budget.spend(&self.tree, start.saturating_add(total), total)?;
        let file = self.file_mut(handle)?;
        let mut at = offset;
        while !data.is_empty() {
            let n = rustix::io::retry_on_intr(|| match append {
                true => rustix::io::write(&file.fd, data),
                false => rustix::io::pwrite(&file.fd, data, at),
            })?;
            if n == 0 {
                return Err(No::System(Errno::IO));
            }
            data = &data[n..];
            at += n as u64;
        }
        file.written += total;
        Ok(())
    }

    fn stat(&self, target: &Target<'_>, follow: bool) -> Result<Answer> {
        Ok(Answer::Attrs(attrs_of(&self.tree.stat(target, follow)?)))
    }

    fn read_link(&self, target: &Target<'_>) -> Result<Answer> {
        let place = self.tree.place(target, false)?;
        let text = rustix::fs::readlinkat(place.dir(), &place.name, Vec::new())?.into_bytes();
        // A link made outside may tell where the root is (S-11).
        let below = self.rules.secret.as_deref().and_then(|secret| text.strip_prefix(secret));
        match below {
            Some(b"") => Ok(Answer::Path(b"/".to_vec())),
            Some(rest) if rest.first() == Some(&b'/') => Ok(Answer::Path(rest.to_vec())),
            _ => Ok(Answer::Path(text)),
        }
    }

    // ---- attributes ----

    /// Changes what is to be changed; goes on after an error, and reports the first.
    fn set(&mut self, target: &Target<'_>, attrs: &Attrs, follow: bool) -> Result<Answer> {
        let mut first = Ok(());
        if let Some(size) = attrs.size {
            if !follow {
                return Err(StatusCode::BAD_MESSAGE.into());
            }
            self.budget.fits(size)?;
            let fd = self.open_checked(target, OFlags::WRONLY, 0, false)?;
            first = rustix::fs::ftruncate(&fd, size);
        }
        if attrs.permissions.is_none() && attrs.times.is_none() && attrs.owner.is_none() {
            // What is not there cannot be changed, not even not at all.
            if attrs.size.is_none() {
                self.tree.stat(target, follow)?;
            }
            return Ok(first.map(done)?);
        }
        let object = self.tree.object(target, follow)?;
        if let Some(bits) = attrs.permissions {
            let change = object.stat().and_then(|stat| self.changes(&stat, bits));
            first = first.and(match change {
                Ok(true) => self.chmod(target, follow, &object, bits),
                other => other.map(drop),
            });
        }
        if let Some(times) = attrs.times {
            first = first.and(object.set_times(times));
        }
        if let Some(owner) = attrs.owner {
            first = first.and(object.chown(owner));
        }
        Ok(first.map(done)?)
    }

    /// Whether a mode that clients may give is another than the one that is there. In a jail, chmod(2) must
    /// do as it is told: from whoever is not in the group of something it takes setgid and says nothing.
    #[allow(clippy::unnecessary_cast, reason = "the type differs from system to system")]
    fn changes(&self, stat: &Stat, bits: u32) -> std::result::Result<bool, Errno> {
        if self.tree.is_host() {
            return Ok(true);
        }
        self.rules.may_have(stat, bits)?;
        if stat.st_mode as u32 & 0o7777 == bits & 0o7777 {
            return Ok(false);
        }
        let lost = bits & Mode::SGID.bits() as u32 != 0 && !object::is_of_our_group(stat);
        if lost { Err(Errno::PERM) } else { Ok(true) }
    }

    fn chmod(
        &self,
        target: &Target<'_>,
        follow: bool,
        object: &Object,
        bits: u32,
    ) -> std::result::Result<(), Errno> {
        match object.chmod(bits) {
            // There is no /proc.
            Err(Errno::NOENT | Errno::NOTDIR) => {
                let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
                flags.set(OFlags::NOFOLLOW, !follow);
                let fd = self.tree.open(target, flags, Mode::empty())?;
                if id(&rustix::fs::fstat(&fd)?) != id(&object.stat()?) {
                    return Err(Errno::NOENT);
                }
                rustix::fs::fchmod(&fd, object::mode(bits))
            }
            set => set,
        }
    }

    fn set_open(&mut self, handle: HandleId, attrs: &Attrs) -> Result<Answer> {
        if let Some(size) = attrs.size {
            self.budget.fits(size)?;
        }
        let fd = &self.file(Operation::Fsetstat, handle)?.fd;
        let mut first = Ok(());
        if let Some(size) = attrs.size {
            first = first.and(rustix::fs::ftruncate(fd, size));
        }
        if let Some(bits) = attrs.permissions {
            let change = rustix::fs::fstat(fd).and_then(|stat| self.changes(&stat, bits));
            first = first.and(match change {
                Ok(true) => rustix::fs::fchmod(fd, object::mode(bits)),
                other => other.map(drop),
            });
        }
        if let Some(times) = attrs.times {
            first = first.and(rustix::fs::futimens(fd, &object::timestamps(times)));
        }
        if let Some(owner) = attrs.owner {
            let (uid, gid) = object::owner(owner)?;
            first = first.and(rustix::fs::fchown(fd, uid, gid));
        }
        Ok(first.map(done)?)
    }

    // ---- the rest ----

    fn copy(&mut self, from: (HandleId, u64), to: (HandleId, u64), len: u64) -> Result<()> {
        let (source, target) =
            (self.file(Operation::CopyData, from.0)?, self.file(Operation::CopyData, to.0)?);
        self.judge(Operation::CopyData, &source.path, Some(&target.path), None)?;
        // The table stays as it is; the budget is beside it.
        let source = source.fd.as_fd().try_clone_to_owned().map_err(|_| Errno::MFILE)?;
        let (target, append) =
            (target.fd.as_fd().try_clone_to_owned().map_err(|_| Errno::MFILE)?, target.append);
        let over = self.over.take();
        let is_over = || over.as_ref().is_some_and(|over| over());
        let budget = &mut self.budget;
        let tree = &self.tree;
        let copied = bulk::copy((&source, from.1), (&target, to.1), append, len, &is_over, |end, n| {
            budget.spend(tree, end, n)
        });
        self.over = over;
        let (copied, result) = copied;
        self.file_mut(from.0)?.read += copied;
        self.file_mut(to.0)?.written += copied;
        result
    }

    fn is_over(&self) -> bool {
        self.over.as_ref().is_some_and(|over| over())
    }

    fn users_groups(&mut self, uids: Ids<'_>, gids: Ids<'_>) -> UsersGroups {
        let name = |name: &str| (!name.is_empty()).then(|| name.as_bytes().to_vec());
        UsersGroups {
            users: uids.iter().map(|uid| name(self.names.user(uid))).collect(),
            groups: gids.iter().map(|gid| name(self.names.group(gid))).collect(),
        }
    }

    /// In a jail there is one home; in the system each user has one.
    fn home(&self, user: &[u8]) -> Result<Vec<u8>> {
        if self.tree.is_host() {
            return names::home(user).ok_or(No::System(Errno::NOENT));
        }
        if user.is_empty() { Ok(self.tree.start().to_vec()) } else { Err(Errno::NOENT.into()) }
    }

    fn expand(&self, path: &[u8]) -> Result<Vec<u8>> {
        let Some(rest) = path.strip_prefix(b"~") else { return Ok(path.to_vec()) };
        let end = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
        let mut out = self.home(&rest[..end])?;
        out.extend_from_slice(&rest[end..]);
        Ok(out)
    }

    fn tell(
        &self,
        operation: Operation,
        path: &[u8],
        other: Option<&[u8]>,
        flags: Option<OpenFlags>,
        status: StatusCode,
        (read, written): (u64, u64),
    ) {
        if let Some(witness) = &self.rules.witness {
            witness(&Done { operation, path, other, flags, status, read, written });
        }
    }

    fn witness(&self, op: &Op<'_>, operation: Operation, status: StatusCode) {
        if self.rules.witness.is_none() || operation == Operation::Close {
            return;
        }
        let of = |handle: HandleId| match self.open.get(handle.index()) {
            Some(Some((id, Opened::File(file)))) if *id == handle => &file.path[..],
            Some(Some((id, Opened::Dir(dir)))) if *id == handle => dir.path(),
            _ => b"",
        };
        let mut opened = None;
        let (path, other) = match *op {
            Op::Open { path, flags, .. } => {
                opened = Some(flags);
                (path, None)
            }
            Op::Opendir { path, .. }
            | Op::Lstat { path }
            | Op::Stat { path }
            | Op::Setstat { path, .. }
            | Op::Lsetstat { path, .. }
            | Op::Remove { path }
            | Op::Mkdir { path, .. }
            | Op::Rmdir { path }
            | Op::Realpath { path }
            | Op::Readlink { path }
            | Op::Statvfs { path }
            | Op::ExpandPath { path }
            | Op::HomeDirectory { user: path }
            | Op::CheckFileName { path, .. } => (path, None),
            Op::Rename { from, to } | Op::PosixRename { from, to } => (from, Some(to)),
            Op::Symlink { target, link } => (link, Some(target)),
            Op::Hardlink { existing, link } => (existing, Some(link)),
            Op::CopyData { from, to, .. } => (of(from), Some(of(to))),
            Op::Read { handle, .. }
            | Op::Write { handle, .. }
            | Op::Fstat { handle }
            | Op::Fsetstat { handle, .. }
            | Op::Readdir { handle }
            | Op::Fstatvfs { handle }
            | Op::Fsync { handle }
            | Op::CheckFileHandle { handle, .. } => (of(handle), None),
            _ => (&b""[..], None),
        };
        self.tell(operation, path, other, opened, status, (0, 0));
    }

    fn read(
        &mut self,
        server: &mut Server,
        ticket: Ticket,
        handle: HandleId,
        offset: u64,
    ) -> std::result::Result<(), UsageError> {
        let file = match self.file_mut(handle) {
            Ok(file) => file,
            Err(no) => return server.reply_status(ticket, no.status()),
        };
        let mut failed = None;
        let replied = server.reply_data(ticket, |room| {
            let n = rustix::io::retry_on_intr(|| rustix::io::pread(&file.fd, &mut *room, offset));
            match n {
                Ok(n) => {
                    file.read += n as u64;
                    Ok(n)
                }
                Err(errno) => {
                    let status = No::System(errno).status();
                    failed = Some(status.code);
                    Err(status)
                }
            }
        });
        if let Some(code) = failed {
            self.witness(&Op::Read { handle, offset, len: 0 }, Operation::Read, code);
        }
        replied
    }

    fn list(
        &mut self,
        server: &mut Server,
        ticket: Ticket,
        handle: HandleId,
    ) -> std::result::Result<(), UsageError> {
        match self.dir_mut(handle) {
            Ok((listing, names)) => server.reply_names(ticket, |out| listing.fill(out, names)),
            Err(no) => server.reply_status(ticket, no.status()),
        }
    }

    fn answer(&mut self, server: &mut Server, request: Request<'_>) -> std::result::Result<(), UsageError> {
        let Request { ticket, op } = request;
        match op {
            Op::Read { handle, offset, .. } => return self.read(server, ticket, handle, offset),
            Op::Readdir { handle } => return self.list(server, ticket, handle),
            _ => {}
        }
        let operation = ticket.operation();
        let result = self.perform(&op).map_err(No::status);
        let code = result.as_ref().err().map_or(StatusCode::OK, |status| status.code);
        if operation != Operation::Write || code != StatusCode::OK {
            self.witness(&op, operation, code);
        }
        match result {
            Ok(Answer::Done) => server.reply_status(ticket, StatusCode::OK),
            Ok(Answer::Opened) => server.reply_opened(ticket),
            Ok(Answer::Path(path)) => server.reply_path(ticket, &path),
            Ok(Answer::Attrs(attrs)) => server.reply_attrs(ticket, &attrs),
            Ok(Answer::StatVfs(figures)) => server.reply_statvfs(ticket, &figures),
            Ok(Answer::UsersGroups(names)) => server.reply_users_groups(ticket, &names),
            Ok(Answer::FileHash(hash)) => server.reply_file_hash(ticket, &hash),
            Err(status) => server.reply_status(ticket, status),
        }
    }
}

fn done((): ()) -> Answer {
    Answer::Done
}

fn close(fd: OwnedFd) -> std::result::Result<(), Errno> {
    nix::unistd::close(fd).map_err(|e| Errno::from_raw_os_error(e as i32))
}

/// With a slash at its end a name is that of a directory, the new one too (rename(2): ENOTDIR). Places are
/// without it, so that no link is followed.
fn renames_as_said(from: &Place<'_>, to: &Place<'_>) -> Result<()> {
    let dir = from.folder || to.folder;
    if dir && kind(&from.stat()?) != FileType::Directory { Err(Errno::NOTDIR.into()) } else { Ok(()) }
}

/// Renames, if nothing stands there (S-30).
fn rename_new(from: &Place<'_>, to: &Place<'_>) -> Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(from.dir(), &from.name, to.dir(), &to.name, flags) {
            // The file system does not have it.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            renamed => return Ok(renamed?),
        }
    }
    // A link is never put over something. What has no links, as directories, is looked at before.
    let empty = rustix::fs::AtFlags::empty();
    match rustix::fs::linkat(from.dir(), &from.name, to.dir(), &to.name, empty) {
        Ok(()) => return Ok(rustix::fs::unlinkat(from.dir(), &from.name, empty)?),
        Err(Errno::EXIST) => return Err(Errno::EXIST.into()),
        Err(_) => {}
    }
    match to.stat() {
        Ok(_) => Err(Errno::EXIST.into()),
        Err(Errno::NOENT) => Ok(rustix::fs::renameat(from.dir(), &from.name, to.dir(), &to.name)?),
        Err(e) => Err(e.into()),
    }
}

impl FileSystem for RootedFs {
    fn request(&mut self, server: &mut Server, request: Request<'_>) {
        // A ticket that was handed out a moment ago is not stale, and the replies fit.
        let answered = self.answer(server, request);
        debug_assert_eq!(answered, Ok(()));
    }

    fn abandoned(&mut self, handle: HandleId) {
        // Nobody is left to hear what close says.
        let _ = self.close(handle);
    }
}

impl fmt::Debug for RootedFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootedFs({} open)", self.open.iter().flatten().count())
    }
}
