//! One request, taken apart and carried out.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::task::Waker;

use crate::sftp::attrs::Attrs;
use crate::sftp::client::OpenFlags;
use crate::sftp::extension::{CheckFile, HashList, Ids, UsersGroups};
use crate::sftp::operation::Operation;
use crate::sftp::server::{Answer, HandleId, Op, Ticket};
use crate::sftp::status::{Status, StatusCode};
use crate::time::Time;
use crate::wire::SshStr;

use super::layer::{Access, Layer};
use super::order::Concern;
use super::{CopyRange, DirItem, FileSystem, Result, Target, normalize, unsupported};

/// Entries of a directory that are looked up for one READDIR: more than fit into its reply, mostly.
const ENTRIES: usize = 512;

pub(super) type Layers = Arc<[Arc<dyn Layer>]>;

/// An open file, and under which path that is so.
pub(super) struct OpenFile<T> {
    pub(super) file: T,
    pub(super) path: Vec<u8>,
    flags: OpenFlags,
}

/// An open directory.
pub(super) struct Listing<T> {
    entries: T,
    pub(super) path: Vec<u8>,
    /// Entries that were looked up and not told yet.
    pub(super) ready: VecDeque<DirItem>,
}

impl<T: Iterator<Item = Result<DirItem>>> Listing<T> {
    /// Looks up some more. What there is is worth more than an error, which will come again.
    fn look_up(&mut self) -> Result<()> {
        while self.ready.len() < ENTRIES {
            match self.entries.next() {
                Some(Ok(entry)) => self.ready.push_back(entry),
                Some(Err(status)) if self.ready.is_empty() => return Err(status),
                _ => break,
            }
        }
        Ok(())
    }
}

/// What an [`Op`] says, whatever it is.
#[derive(Default)]
pub(super) struct Parts<'b> {
    /// The path; numbers of users; the name of an extension.
    pub(super) path: Cow<'b, [u8]>,
    /// The second path; what a link says; data; numbers of groups; names of hashes; the fields of an extension.
    pub(super) other: Cow<'b, [u8]>,
    pub(super) handle: Option<HandleId>,
    pub(super) second: Option<HandleId>,
    pub(super) flags: Option<OpenFlags>,
    attrs: Attrs,
    pub(super) offset: u64,
    pub(super) len: u64,
    /// Where copy-data writes.
    to: u64,
    block: u32,
}

impl<'b> Parts<'b> {
    fn path(path: &'b [u8]) -> Self {
        Parts { path: path.into(), ..Self::default() }
    }

    fn two(path: &'b [u8], other: &'b [u8]) -> Self {
        Parts { other: other.into(), ..Self::path(path) }
    }

    fn handle(handle: HandleId) -> Self {
        Parts { handle: Some(handle), ..Self::default() }
    }

    fn check(self, check: &CheckFile<'b>) -> Self {
        let CheckFile { algs, offset, len, block } = *check;
        Parts { other: algs.0.as_bytes().into(), offset, len, block, ..self }
    }

    pub(super) fn new(op: Op<'b>) -> Self {
        match op {
            Op::Open { handle, path, flags, attrs } => {
                Parts { handle: Some(handle), flags: Some(flags), attrs, ..Self::path(path) }
            }
            Op::Opendir { handle, path } => Parts { handle: Some(handle), ..Self::path(path) },
            Op::Close { handle }
            | Op::Fstat { handle }
            | Op::Readdir { handle }
            | Op::Fstatvfs { handle }
            | Op::Fsync { handle } => Self::handle(handle),
            Op::Read { handle, offset, len } => Parts { offset, len: len.into(), ..Self::handle(handle) },
            Op::Write { handle, offset, data } => {
                Parts { offset, len: data.len() as u64, other: data.into(), ..Self::handle(handle) }
            }
            Op::Fsetstat { handle, attrs } => Parts { attrs, ..Self::handle(handle) },
            Op::Lstat { path }
            | Op::Stat { path }
            | Op::Remove { path }
            | Op::Rmdir { path }
            | Op::Realpath { path }
            | Op::Readlink { path }
            | Op::Statvfs { path }
            | Op::ExpandPath { path }
            | Op::HomeDirectory { user: path } => Self::path(path),
            Op::Setstat { path, attrs } | Op::Lsetstat { path, attrs } | Op::Mkdir { path, attrs } => {
                Parts { attrs, ..Self::path(path) }
            }
            Op::Rename { from, to } | Op::PosixRename { from, to } => Self::two(from, to),
            Op::Symlink { target, link } => Self::two(link, target),
            Op::Hardlink { existing, link } => Self::two(existing, link),
            Op::CopyData { from, from_offset, len, to, to_offset } => {
                Parts { second: Some(to), offset: from_offset, len, to: to_offset, ..Self::handle(from) }
            }
            Op::UsersGroupsById { uids, gids } => Self::two(uids.0, gids.0),
            Op::CheckFileHandle { handle, check } => Self::handle(handle).check(&check),
            Op::CheckFileName { path, check } => Self::path(path).check(&check),
            Op::Extended { name, fields } => Self::two(name, fields),
        }
    }

    fn into_owned(self) -> Parts<'static> {
        let own = |bytes: Cow<'b, [u8]>| Cow::Owned(bytes.into_owned());
        let Parts { path, other, handle, second, flags, attrs, offset, len, to, block } = self;
        Parts { path: own(path), other: own(other), handle, second, flags, attrs, offset, len, to, block }
    }
}

/// A request with what it needs to be carried out: on any thread, if the file system can be.
pub struct Task<'b, F: FileSystem> {
    pub(super) operation: Operation,
    /// Nothing once it is answered.
    pub(super) ticket: Option<Ticket>,
    pub(super) parts: Parts<'b>,
    pub(super) file: Option<Arc<OpenFile<F::File>>>,
    pub(super) second: Option<Arc<OpenFile<F::File>>>,
    pub(super) dir: Option<Box<Listing<F::Dir>>>,
    pub(super) layers: Layers,
    pub(super) begun: Option<Time>,
    /// What was read from and written to a file that is closed, or just now.
    pub(super) moved: (u64, u64),
}

/// A [`Task`] that was carried out: [`OpenFiles::conclude`](super::OpenFiles::conclude) answers it.
pub struct Finished<F: FileSystem> {
    pub(super) call: Task<'static, F>,
    pub(super) result: Result<Outcome<F>>,
}

/// What comes of a call.
pub(super) enum Outcome<F: FileSystem> {
    Answer(Answer),
    File(Arc<OpenFile<F::File>>),
    Dir(Box<Listing<F::Dir>>),
    /// Entries stand in the call's directory.
    Names,
}

fn done<F: FileSystem>((): ()) -> Outcome<F> {
    Outcome::Answer(StatusCode::OK.into())
}

fn invalid() -> Status {
    Status::with_message(StatusCode::FAILURE, "the handle is not valid")
}

impl<F: FileSystem> Task<'_, F> {
    /// What is asked for.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// Wakes whoever waits for it: see [`Ticket::waker`].
    pub fn waker(&self) -> Option<&Waker> {
        self.ticket.as_ref()?.waker()
    }

    /// The path it is about: that which was opened, for requests with a handle.
    pub(super) fn path(&self) -> &[u8] {
        let opened = self.file.as_ref().map(|f| &f.path[..]).or(self.dir.as_ref().map(|d| &d.path[..]));
        opened.unwrap_or(&self.parts.path)
    }

    /// The second path, of an operation that has one.
    pub(super) fn other(&self) -> Option<&[u8]> {
        match self.operation() {
            Operation::CopyData => self.second.as_ref().map(|f| &f.path[..]),
            Operation::Rename | Operation::PosixRename | Operation::Symlink | Operation::Hardlink => {
                Some(&self.parts.other)
            }
            _ => None,
        }
    }

    /// With everything that it borrows.
    pub fn into_owned(self) -> Task<'static, F> {
        let Task { operation, ticket, parts, file, second, dir, layers, begun, moved } = self;
        let parts = parts.into_owned();
        Task { operation, ticket, parts, file, second, dir, layers, begun, moved }
    }

    /// What it is about, for the order of calls.
    pub(super) fn concern(&self, fs: &F) -> Concern {
        use Operation as O;
        let (operation, parts) = (self.operation(), &self.parts);
        let normal = |path: &[u8]| Some(normalize(fs.start(), path));
        let second = self.other().filter(|_| operation != O::Symlink);
        let mut concern = Concern {
            paths: [normal(self.path()), second.and_then(normal)],
            changes: operation.writes(),
            ..Concern::default()
        };
        let flags = self.file.as_ref().map(|file| file.flags).or(parts.flags).unwrap_or_default();
        match operation {
            O::Read => concern.range = Some((parts.offset, parts.offset.saturating_add(parts.len))),
            O::Write if !flags.contains(OpenFlags::APPEND) => {
                concern.range = Some((parts.offset, parts.offset.saturating_add(parts.len)));
            }
            O::Open | O::Close => concern.changes = flags.contains(OpenFlags::WRITE),
            O::Readdir => concern.listing = parts.handle,
            O::UsersGroupsById => concern.paths = [None, None],
            // Nobody knows.
            O::Extended => concern.paths = [Some(b"/".to_vec()), None],
            _ => {}
        }
        concern
    }

    // ---- layers ----

    fn judge(&self, path: &[u8], other: Option<&[u8]>) -> Result<()> {
        let access = Access { operation: self.operation(), path, other, flags: self.parts.flags };
        self.layers.iter().try_for_each(|layer| layer.judge(&access))
    }

    pub(super) fn transfer(&self) -> Result<()> {
        let (operation, len) = (self.operation(), self.parts.len);
        self.layers.iter().try_for_each(|layer| layer.transfer(operation, self.path(), len))
    }

    fn target<'p>(&self, fs: &F, path: &'p [u8], follow: bool) -> Result<Target<'p>> {
        if self.layers.iter().any(|layer| layer.judges()) {
            return Ok(Target::judged(fs.canonical(path, follow)?));
        }
        Ok(if F::RESOLVES { Target::new(path) } else { Target::new(normalize(fs.start(), path)) })
    }

    /// The path, if what is to be done with it is allowed.
    fn admit(&self, fs: &F, follow: bool) -> Result<Target<'_>> {
        let target = self.target(fs, &self.parts.path, follow)?;
        self.judge(&target, None)?;
        Ok(target)
    }

    fn admit_two(&self, fs: &F) -> Result<(Target<'_>, Target<'_>)> {
        let from = self.target(fs, &self.parts.path, false)?;
        let to = self.target(fs, &self.parts.other, false)?;
        self.judge(&from, Some(&to))?;
        Ok((from, to))
    }

    /// A path that is the answer.
    fn tell(&self, path: Vec<u8>) -> Result<Outcome<F>> {
        self.judge(&path, None)?;
        Ok(Outcome::Answer(Answer::Path(path)))
    }

    /// The open file, for READ, WRITE and CLOSE, which OPEN was judged for.
    pub(super) fn opened(&self) -> Result<&F::File> {
        self.file.as_ref().map(|f| &f.file).ok_or_else(invalid)
    }

    /// The open file, if what is to be done with it is allowed.
    fn file(&self) -> Result<&F::File> {
        let file = self.file.as_ref().ok_or_else(invalid)?;
        self.judge(&file.path, None)?;
        Ok(&file.file)
    }

    // ---- what is done ----

    /// Carries it out.
    pub(super) fn perform(&mut self, fs: &F) -> Result<Outcome<F>> {
        use Operation as O;
        let parts = &self.parts;
        match self.operation() {
            O::Open => self.open(fs),
            O::Opendir => self.open_dir(fs),
            O::Close => self.close(fs).map(done),
            O::Readdir => {
                self.dir.as_mut().ok_or_else(invalid)?.look_up()?;
                Ok(Outcome::Names)
            }
            O::Read => self.read(fs).map(Outcome::Answer),
            O::Write => {
                self.transfer()?;
                fs.write(self.opened()?, parts.offset, &parts.other)?;
                self.moved.1 = parts.len;
                Ok(done(()))
            }
            O::Stat => attrs(fs.stat(&self.admit(fs, true)?)),
            O::Lstat => attrs(fs.lstat(&self.admit(fs, false)?)),
            O::Fstat => attrs(fs.fstat(self.file()?)),
            O::Setstat => fs.setstat(&self.admit(fs, true)?, &parts.attrs).map(done),
            O::Lsetstat => fs.lsetstat(&self.admit(fs, false)?, &parts.attrs).map(done),
            O::Fsetstat => fs.fsetstat(self.file()?, &parts.attrs).map(done),
            O::Realpath => self.tell(fs.canonical(&parts.path, true)?),
            O::ExpandPath => self.tell(fs.canonical(&expand(fs, &parts.path)?, true)?),
            O::HomeDirectory => self.tell(fs.home(&parts.path)?),
            O::Readlink => Ok(Outcome::Answer(Answer::Path(fs.readlink(&self.admit(fs, false)?)?))),
            O::Statvfs => Ok(Outcome::Answer(Answer::StatVfs(fs.statvfs(&self.admit(fs, true)?)?))),
            O::Fstatvfs => Ok(Outcome::Answer(Answer::StatVfs(fs.fstatvfs(self.file()?)?))),
            O::Fsync => fs.fsync(self.file()?).map(done),
            O::Remove => fs.remove(&self.admit(fs, false)?).map(done),
            O::Mkdir => fs.mkdir(&self.admit(fs, false)?, &parts.attrs).map(done),
            O::Rmdir => fs.rmdir(&self.admit(fs, false)?).map(done),
            O::Symlink => fs.symlink(&parts.other, &self.admit(fs, false)?).map(done),
            O::Rename | O::PosixRename | O::Hardlink => self.rename(fs).map(done),
            O::CopyData => self.copy(fs).map(done),
            O::CheckFileHandle | O::CheckFileName => self.check(fs).map(Outcome::Answer),
            O::UsersGroupsById => Ok(Outcome::Answer(Answer::UsersGroups(UsersGroups {
                users: Ids(&parts.path).iter().map(|id| fs.user_name(id)).collect(),
                groups: Ids(&parts.other).iter().map(|id| fs.group_name(id)).collect(),
            }))),
            O::Extended => Ok(Outcome::Answer(Answer::Extended(fs.extended(&parts.path, &parts.other)?))),
            O::Limits => unsupported(),
        }
    }

    fn open(&self, fs: &F) -> Result<Outcome<F>> {
        let flags = self.parts.flags.unwrap_or_default();
        // An exclusive creation follows no link.
        let target = self.admit(fs, !flags.contains(OpenFlags::EXCLUSIVE))?;
        let file = fs.open(&target, flags, &self.parts.attrs)?;
        Ok(Outcome::File(Arc::new(OpenFile { file, path: target.to_vec(), flags })))
    }

    fn open_dir(&self, fs: &F) -> Result<Outcome<F>> {
        let target = self.admit(fs, true)?;
        let entries = fs.opendir(&target)?;
        Ok(Outcome::Dir(Box::new(Listing { entries, path: target.to_vec(), ready: VecDeque::new() })))
    }

    fn close(&mut self, fs: &F) -> Result<()> {
        if let Some(file) = self.file.take() {
            // All other requests for it were answered.
            let Some(OpenFile { file, path, .. }) = Arc::into_inner(file) else { return Ok(()) };
            self.parts.path = path.into();
            return fs.close(file);
        }
        self.dir.as_ref().map(drop).ok_or_else(invalid)
    }

    fn read(&mut self, fs: &F) -> Result<Answer> {
        self.transfer()?;
        let mut data = vec![0; usize::try_from(self.parts.len).unwrap_or(0)];
        let n = fs.read(self.opened()?, self.parts.offset, &mut data)?;
        data.truncate(n);
        self.moved.0 = data.len() as u64;
        Ok(Answer::Data(data))
    }

    fn rename(&self, fs: &F) -> Result<()> {
        let (from, to) = self.admit_two(fs)?;
        match self.operation() {
            Operation::Hardlink => fs.hardlink(&from, &to),
            Operation::PosixRename => fs.posix_rename(&from, &to),
            _ => fs.rename(&from, &to),
        }
    }

    fn copy(&mut self, fs: &F) -> Result<()> {
        let (from, to) = self.file.as_ref().zip(self.second.as_ref()).ok_or_else(invalid)?;
        self.judge(&from.path, Some(&to.path))?;
        self.judge(&to.path, None)?;
        self.transfer()?;
        let range = CopyRange { from: self.parts.offset, len: self.parts.len, to: self.parts.to };
        let copied = fs.copy_data(&from.file, &to.file, range)?;
        self.moved = (copied, copied);
        if copied < range.len { Err(StatusCode::EOF.into()) } else { Ok(()) }
    }

    fn check(&self, fs: &F) -> Result<Answer> {
        let Parts { offset, len, block, .. } = self.parts;
        let check = CheckFile { algs: HashList(SshStr::new(&self.parts.other)), offset, len, block };
        if self.operation() == Operation::CheckFileHandle {
            return fs.check_file(self.file()?, &check).map(Answer::FileHash);
        }
        let file = fs.open(&self.admit(fs, true)?, OpenFlags::READ, &Attrs::new())?;
        let hash = fs.check_file(&file, &check);
        fs.close(file)?;
        hash.map(Answer::FileHash)
    }
}

impl<F: FileSystem> Task<'static, F> {
    /// Carries it out; takes as long as the file system does.
    pub fn run(mut self, fs: &F) -> Finished<F> {
        let result = self.perform(fs);
        Finished { call: self, result }
    }
}

fn attrs<F: FileSystem>(attrs: Result<Attrs>) -> Result<Outcome<F>> {
    attrs.map(|attrs| Outcome::Answer(Answer::Attrs(attrs)))
}

fn expand<F: FileSystem>(fs: &F, path: &[u8]) -> Result<Vec<u8>> {
    let Some(rest) = path.strip_prefix(b"~") else { return Ok(path.to_vec()) };
    let end = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
    let (user, rest) = rest.split_at_checked(end).unwrap_or((rest, &[]));
    let mut out = fs.home(user)?;
    out.extend_from_slice(rest);
    Ok(out)
}

impl<F: FileSystem> fmt::Debug for Task<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Task({} {})", self.operation(), SshStr::new(self.path()).excerpt(200))
    }
}

impl<F: FileSystem> fmt::Debug for Finished<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Finished({:?})", self.call)
    }
}
