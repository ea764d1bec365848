//! A file system in memory: for tests, demonstrations, and as an example of a [`FileSystem`].

mod tree;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::crypto::{Digest, HashAlg, Provider};

use super::attrs::{Attrs, FileType, Times};
use super::client::OpenFlags;
use super::error::UsageError;
use super::extension::{FileHash, StatVfs, UsersGroups};
use super::longname::LongName;
use super::server::{CheckFile, FileSystem, HandleId, Op, Request, Server, Ticket};
use super::status::{Status, StatusCode};

use tree::{Kind, Node, Tree};

type Result<T> = core::result::Result<T, Status>;

/// Digests of one check-file reply, in bytes.
const MAX_DIGESTS: usize = 128 * 1024;

/// Files, directories and links in memory. Share one among sessions; each has its own
/// [`MemoryHandles`].
#[derive(Debug)]
pub struct MemoryFs {
    tree: Tree,
    provider: &'static dyn Provider,
    /// Seconds since 1970 UTC, as the application tells; stamps what is written.
    pub now: u32,
    /// What users-groups-by-id says: number and name of a user and of its group.
    pub names: BTreeMap<u32, Vec<u8>>,
}

/// The open files of one session on a [`MemoryFs`].
#[derive(Debug, Default)]
pub struct MemoryHandles(BTreeMap<HandleId, Opened>);

#[derive(Debug)]
enum Opened {
    File {
        node: u64,
        append: bool,
    },
    /// What was not listed yet.
    Dir(VecDeque<(Vec<u8>, u64)>),
}

/// A [`MemoryFs`] and the handles of a session: what [`Server::run`] takes.
#[derive(Debug)]
pub struct MemorySession<'a> {
    fs: &'a mut MemoryFs,
    handles: &'a mut MemoryHandles,
}

impl MemoryFs {
    /// An empty root directory. Files together may have `capacity` bytes.
    pub fn new(provider: &'static dyn Provider, capacity: usize) -> Self {
        MemoryFs { tree: Tree::new(capacity), provider, now: 0, names: BTreeMap::new() }
    }

    /// With the handles of a session.
    pub fn with<'a>(&'a mut self, handles: &'a mut MemoryHandles) -> MemorySession<'a> {
        MemorySession { fs: self, handles }
    }

    /// Puts a file there, with the directories that lead to it.
    pub fn insert(&mut self, path: &[u8], content: Vec<u8>) -> Result<()> {
        let mut at = 0usize;
        while let Some(next) = path.get(at..).and_then(|p| p.iter().position(|b| *b == b'/')) {
            let end = at.saturating_add(next);
            let dir = path.get(..end).unwrap_or_default();
            if !dir.is_empty() && self.tree.find(dir, true).is_err() {
                self.tree.make(dir, Kind::Dir(BTreeMap::new()), 0o755, self.now)?;
            }
            at = end.saturating_add(1);
        }
        let node = match self.tree.find(path, true) {
            Ok(node) => node,
            Err(_) => self.tree.make(path, Kind::File(Vec::new()), 0o644, self.now)?,
        };
        self.tree.resize(node, 0)?;
        self.tree.write(node, 0, &content, self.now)
    }

    /// What a file holds.
    pub fn content(&self, path: &[u8]) -> Option<&[u8]> {
        match &self.tree.node(self.tree.find(path, true).ok()?)?.kind {
            Kind::File(data) => Some(data),
            _ => None,
        }
    }

    /// Attributes of a path, not following a link.
    pub fn attrs(&self, path: &[u8]) -> Option<Attrs> {
        self.tree.find(path, false).ok().and_then(|n| self.tree.node(n)).map(Node::attrs)
    }

    /// The names in a directory.
    pub fn list(&self, path: &[u8]) -> Vec<Vec<u8>> {
        let node = self.tree.find(path, true).ok().and_then(|n| self.tree.node(n));
        match node.map(|n| &n.kind) {
            Some(Kind::Dir(entries)) => entries.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// Removes a file.
    pub fn remove(&mut self, path: &[u8]) -> Result<()> {
        self.tree.unlink(path, false)
    }

    fn set(&mut self, node: u64, set: &Attrs) -> Result<()> {
        if let Some(size) = set.size {
            self.tree.resize(node, size)?;
        }
        let now = self.now;
        let node = self.tree.node_mut(node).ok_or(Status::new(StatusCode::NO_SUCH_FILE))?;
        if set.size.is_some() {
            node.times.modified = now;
        }
        if let Some(mode) = set.permissions {
            node.mode = mode & 0o7777;
        }
        if let Some(owner) = set.owner {
            node.owner = owner;
        }
        if let Some(times) = set.times {
            node.times = times;
        }
        Ok(())
    }

    fn open(&mut self, path: &[u8], flags: OpenFlags, attrs: &Attrs) -> Result<u64> {
        let found = self.tree.find(path, true);
        let node = match found {
            Ok(_) if flags.contains(OpenFlags::EXCLUSIVE) => {
                return Err(Status::with_message(StatusCode::FAILURE, "file exists"));
            }
            Ok(node) => node,
            Err(_) if flags.contains(OpenFlags::CREATE) => {
                let mode = attrs.permissions.unwrap_or(0o666);
                self.tree.make(path, Kind::File(Vec::new()), mode, self.now)?
            }
            Err(status) => return Err(status),
        };
        if !matches!(self.tree.node(node).map(|n| &n.kind), Some(Kind::File(_))) {
            return Err(StatusCode::FAILURE.into());
        }
        if flags.contains(OpenFlags::TRUNCATE) {
            self.tree.resize(node, 0)?;
        }
        Ok(node)
    }

    fn statvfs(&self) -> StatVfs {
        let (used, all) = self.tree.usage();
        let blocks = |bytes: usize| (bytes / 4096) as u64;
        let free = blocks(all.saturating_sub(used));
        StatVfs {
            block_size: 4096,
            fragment_size: 4096,
            blocks: blocks(all),
            blocks_free: free,
            blocks_available: free,
            files: u64::from(u32::MAX),
            files_free: u64::from(u32::MAX),
            files_available: u64::from(u32::MAX),
            id: 1,
            flags: StatVfs::NO_SETUID,
            name_max: 255,
        }
    }

    fn hash(&self, node: u64, check: &CheckFile<'_>) -> Result<FileHash> {
        let data = self.tree.file(node)?;
        let start = usize::try_from(check.offset).unwrap_or(usize::MAX).min(data.len());
        let data = data.get(start..).unwrap_or_default();
        let len = if check.len == 0 { usize::MAX } else { usize::try_from(check.len).unwrap_or(usize::MAX) };
        let data = data.get(..len).unwrap_or(data);
        let alg = check.algs.iter().next().unwrap_or(HashAlg::Sha256);
        let block = if check.block == 0 { data.len() } else { check.block as usize }.max(1);
        let mut digests = Vec::new();
        let whole = data.is_empty().then_some(data);
        for piece in data.chunks(block).chain(whole) {
            if digests.len() >= MAX_DIGESTS {
                return Err(Status::with_message(StatusCode::FAILURE, "too many blocks"));
            }
            digests.extend_from_slice(Digest::of(self.provider, alg, &[piece]).as_bytes());
        }
        Ok(FileHash { alg, digests })
    }
}

impl MemorySession<'_> {
    fn node(&self, handle: HandleId) -> Result<u64> {
        match self.handles.0.get(&handle) {
            Some(Opened::File { node, .. }) => Ok(*node),
            _ => Err(StatusCode::FAILURE.into()),
        }
    }

    /// What is answered with a status.
    fn change(&mut self, op: &Op<'_>) -> Result<()> {
        let now = self.fs.now;
        let tree = &mut self.fs.tree;
        match op {
            Op::Close { handle } => {
                if let Some(Opened::File { node, .. }) = self.handles.0.remove(handle) {
                    tree.release(node);
                }
                Ok(())
            }
            Op::Write { handle, offset, data } => {
                let Some(Opened::File { node, append }) = self.handles.0.get(handle) else {
                    return Err(StatusCode::FAILURE.into());
                };
                let offset = if *append { tree.file(*node)?.len() as u64 } else { *offset };
                tree.write(*node, offset, data, now)
            }
            Op::Setstat { path, attrs } => tree.find(path, true).and_then(|n| self.fs.set(n, attrs)),
            Op::Lsetstat { path, attrs } => tree.find(path, false).and_then(|n| self.fs.set(n, attrs)),
            Op::Fsetstat { handle, attrs } => {
                let node = self.node(*handle)?;
                self.fs.set(node, attrs)
            }
            Op::Remove { path } => tree.unlink(path, false),
            Op::Rmdir { path } => tree.unlink(path, true),
            Op::Mkdir { path, attrs } => {
                let mode = attrs.permissions.unwrap_or(0o777);
                tree.make(path, Kind::Dir(BTreeMap::new()), mode, now).map(drop)
            }
            Op::Rename { from, to } => tree.rename(from, to, false),
            Op::PosixRename { from, to } => tree.rename(from, to, true),
            Op::Symlink { target, link } => {
                tree.make(link, Kind::Link(target.to_vec()), 0o777, now).map(drop)
            }
            Op::Hardlink { existing, link } => tree.link(existing, link),
            Op::Fsync { .. } => Ok(()),
            Op::CopyData { from, from_offset, len, to, to_offset } => {
                let (from, to) = (self.node(*from)?, self.node(*to)?);
                self.fs.tree.copy(from, *from_offset, *len, to, *to_offset, now)
            }
            _ => Err(StatusCode::OP_UNSUPPORTED.into()),
        }
    }

    fn open(&mut self, handle: HandleId, opened: Result<Opened>) -> Result<()> {
        let opened = opened?;
        if let Opened::File { node, .. } = opened {
            self.fs.tree.hold(node);
        }
        self.handles.0.insert(handle, opened);
        Ok(())
    }

    fn list(&self, path: &[u8]) -> Result<Opened> {
        let node = self.fs.tree.find(path, true)?;
        match self.fs.tree.node(node).map(|n| &n.kind) {
            Some(Kind::Dir(entries)) => {
                let own = [(b".".to_vec(), node), (b"..".to_vec(), node)];
                let all = own.into_iter().chain(entries.iter().map(|(n, id)| (n.clone(), *id)));
                Ok(Opened::Dir(all.collect()))
            }
            _ => Err(Status::with_message(StatusCode::FAILURE, "not a directory")),
        }
    }

    fn names(
        &mut self,
        server: &mut Server,
        ticket: Ticket,
        handle: HandleId,
    ) -> core::result::Result<(), UsageError> {
        let (fs, handles) = (&*self.fs, &mut *self.handles);
        server.reply_names(ticket, |out| {
            let Some(Opened::Dir(left)) = handles.0.get_mut(&handle) else {
                return Err(StatusCode::FAILURE.into());
            };
            while let Some((name, id)) = left.front() {
                let Some(node) = fs.tree.node(*id) else {
                    left.pop_front();
                    continue;
                };
                let (attrs, links, now) = (node.attrs(), u64::from(node.links), u64::from(fs.now));
                let long = LongName { name, attrs: &attrs, links, owner: "user", group: "user", now };
                if !out.push(name, &long.to_bytes(), &attrs) {
                    break;
                }
                left.pop_front();
            }
            Ok(())
        })
    }

    fn attrs(&self, node: Result<u64>) -> Result<Attrs> {
        node.and_then(|n| self.fs.tree.node(n).map(Node::attrs).ok_or(StatusCode::NO_SUCH_FILE.into()))
    }

    fn users(&self, ids: impl Iterator<Item = u32>) -> Vec<Option<Vec<u8>>> {
        ids.map(|id| self.fs.names.get(&id).cloned()).collect()
    }

    fn answer(&mut self, server: &mut Server, request: Request<'_>) -> core::result::Result<(), UsageError> {
        let Request { ticket, op } = request;
        let tree = &self.fs.tree;
        match op {
            Op::Open { handle, path, flags, attrs } => {
                let append = flags.contains(OpenFlags::APPEND);
                let node = self.fs.open(path, flags, &attrs);
                let opened = node.map(|node| Opened::File { node, append });
                match self.open(handle, opened) {
                    Ok(()) => server.reply_opened(ticket),
                    Err(status) => server.reply_status(ticket, status),
                }
            }
            Op::Opendir { handle, path } => match self.open(handle, self.list(path)) {
                Ok(()) => server.reply_opened(ticket),
                Err(status) => server.reply_status(ticket, status),
            },
            Op::Readdir { handle } => self.names(server, ticket, handle),
            Op::Read { handle, offset, .. } => {
                let data = self.node(handle).and_then(|n| tree.file(n));
                server.reply_data(ticket, |room| {
                    let data = data?;
                    let start = usize::try_from(offset).unwrap_or(usize::MAX);
                    let data = data.get(start..).unwrap_or_default();
                    let n = room.len().min(data.len());
                    if let (Some(to), Some(from)) = (room.get_mut(..n), data.get(..n)) {
                        to.copy_from_slice(from);
                    }
                    Ok(n)
                })
            }
            Op::Stat { path } => {
                reply(server, ticket, self.attrs(tree.find(path, true)), Server::reply_attrs)
            }
            Op::Lstat { path } => {
                reply(server, ticket, self.attrs(tree.find(path, false)), Server::reply_attrs)
            }
            Op::Fstat { handle } => reply(server, ticket, self.attrs(self.node(handle)), Server::reply_attrs),
            Op::Realpath { path } => {
                reply(server, ticket, tree.canonical(path), |s, t, p| s.reply_path(t, p))
            }
            Op::ExpandPath { path } => {
                let path = path.strip_prefix(b"~").map_or(path, |p| p.strip_prefix(b"/").unwrap_or(p));
                let path = if path.is_empty() { b"/" } else { path };
                reply(server, ticket, tree.canonical(path), |s, t, p| s.reply_path(t, p))
            }
            Op::HomeDirectory { .. } => server.reply_path(ticket, b"/"),
            Op::Readlink { path } => reply(server, ticket, tree.readlink(path), |s, t, p| s.reply_path(t, p)),
            Op::Statvfs { path } => match tree.find(path, true) {
                Ok(_) => server.reply_statvfs(ticket, &self.fs.statvfs()),
                Err(status) => server.reply_status(ticket, status),
            },
            Op::Fstatvfs { .. } => server.reply_statvfs(ticket, &self.fs.statvfs()),
            Op::UsersGroupsById { uids, gids } => {
                let names = UsersGroups { users: self.users(uids.iter()), groups: self.users(gids.iter()) };
                server.reply_users_groups(ticket, &names)
            }
            Op::CheckFileHandle { handle, check } => {
                let hash = self.node(handle).and_then(|n| self.fs.hash(n, &check));
                reply(server, ticket, hash, Server::reply_file_hash)
            }
            Op::CheckFileName { path, check } => {
                let hash = tree.find(path, true).and_then(|n| self.fs.hash(n, &check));
                reply(server, ticket, hash, Server::reply_file_hash)
            }
            op => {
                let status = self.change(&op).err().unwrap_or(Status::new(StatusCode::OK));
                server.reply_status(ticket, status)
            }
        }
    }
}

/// Answers with what there is, or with why there is nothing.
fn reply<T>(
    server: &mut Server,
    ticket: Ticket,
    result: Result<T>,
    with: impl FnOnce(&mut Server, Ticket, &T) -> core::result::Result<(), UsageError>,
) -> core::result::Result<(), UsageError> {
    match result {
        Ok(value) => with(server, ticket, &value),
        Err(status) => server.reply_status(ticket, status),
    }
}

impl FileSystem for MemorySession<'_> {
    fn request(&mut self, server: &mut Server, request: Request<'_>) {
        // A ticket that was handed out a moment ago is not stale, and the replies fit.
        let answered = self.answer(server, request);
        debug_assert_eq!(answered, Ok(()));
    }

    fn abandoned(&mut self, handle: HandleId) {
        if let Some(Opened::File { node, .. }) = self.handles.0.remove(&handle) {
            self.fs.tree.release(node);
        }
    }
}

impl Node {
    fn attrs(&self) -> Attrs {
        let (kind, size) = match &self.kind {
            Kind::File(data) => (FileType::File, data.len()),
            Kind::Dir(entries) => (FileType::Directory, entries.len()),
            Kind::Link(target) => (FileType::Symlink, target.len()),
        };
        let Times { accessed, modified } = self.times;
        Attrs::new()
            .with_size(size as u64)
            .with_owner(self.owner.uid, self.owner.gid)
            .with_permissions(kind.bits() | self.mode)
            .with_times(accessed, modified)
    }
}
