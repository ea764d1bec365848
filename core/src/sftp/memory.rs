//! A file system in memory: for tests, demonstrations, and as an example of a [`FileSystem`].

mod tree;

use alloc::collections::BTreeMap;
use alloc::vec::{IntoIter, Vec};
use core::cell::{Cell, RefCell};

use crate::crypto::Provider;

use super::attrs::{Attrs, FileType, Times};
use super::client::OpenFlags;
use super::extension::{CheckFile, FileHash, StatVfs};
use super::file_system::{CopyRange, DirItem, FileSystem, Target};
use super::status::{Status, StatusCode};

use tree::{Kind, Node, Tree};

type Result<T> = core::result::Result<T, Status>;

/// Files, directories and links in memory. Sessions can share one on a thread.
#[derive(Debug)]
pub struct MemoryFs {
    tree: RefCell<Tree>,
    provider: &'static dyn Provider,
    now: Cell<u32>,
    names: RefCell<BTreeMap<u32, Vec<u8>>>,
}

/// An open file of a [`MemoryFs`].
#[derive(Debug)]
pub struct MemoryFile {
    node: u64,
    append: bool,
}

impl MemoryFs {
    /// An empty root directory. Files together may have `capacity` bytes.
    pub fn new(provider: &'static dyn Provider, capacity: usize) -> Self {
        let tree = RefCell::new(Tree::new(capacity));
        MemoryFs { tree, provider, now: Cell::new(0), names: RefCell::default() }
    }

    /// Sets the time, in seconds since 1970 UTC; it stamps what is written.
    pub fn set_now(&self, now: u32) {
        self.now.set(now);
    }

    /// Names a user and its group, for users-groups-by-id.
    pub fn set_name(&self, id: u32, name: impl Into<Vec<u8>>) {
        self.names.borrow_mut().insert(id, name.into());
    }

    /// Puts a file there, with the directories that lead to it.
    ///
    /// # Errors
    /// What a client would be told.
    pub fn insert(&self, path: &[u8], content: Vec<u8>) -> Result<()> {
        let (mut tree, now) = (self.tree.borrow_mut(), self.now.get());
        let mut at = 0usize;
        while let Some(next) = path.get(at..).and_then(|p| p.iter().position(|b| *b == b'/')) {
            let end = at.saturating_add(next);
            let dir = path.get(..end).unwrap_or_default();
            if !dir.is_empty() && tree.find(dir, true).is_err() {
                tree.make(dir, Kind::Dir(BTreeMap::new()), 0o755, now)?;
            }
            at = end.saturating_add(1);
        }
        let node = match tree.find(path, true) {
            Ok(node) => node,
            Err(_) => tree.make(path, Kind::File(Vec::new()), 0o644, now)?,
        };
        tree.resize(node, 0)?;
        tree.write(node, 0, &content, now)
    }

    /// What a file holds.
    pub fn content(&self, path: &[u8]) -> Option<Vec<u8>> {
        let tree = self.tree.borrow();
        match &tree.node(tree.find(path, true).ok()?)?.kind {
            Kind::File(data) => Some(data.clone()),
            _ => None,
        }
    }

    /// Attributes of a path, not following a link.
    pub fn attrs(&self, path: &[u8]) -> Option<Attrs> {
        let tree = self.tree.borrow();
        tree.find(path, false).ok().and_then(|n| tree.node(n)).map(Node::attrs)
    }

    /// The names in a directory.
    pub fn list(&self, path: &[u8]) -> Vec<Vec<u8>> {
        let tree = self.tree.borrow();
        let node = tree.find(path, true).ok().and_then(|n| tree.node(n));
        match node.map(|n| &n.kind) {
            Some(Kind::Dir(entries)) => entries.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    fn attrs_of(&self, path: &[u8], follow: bool) -> Result<Attrs> {
        let tree = self.tree.borrow();
        tree.find(path, follow).and_then(|n| attrs(&tree, n))
    }

    fn set(&self, node: u64, set: &Attrs) -> Result<()> {
        let mut tree = self.tree.borrow_mut();
        if let Some(size) = set.size {
            tree.resize(node, size)?;
        }
        let node = tree.node_mut(node).ok_or(Status::new(StatusCode::NO_SUCH_FILE))?;
        if set.size.is_some() {
            node.times.modified = self.now.get();
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

    fn set_at(&self, path: &[u8], set: &Attrs, follow: bool) -> Result<()> {
        let node = self.tree.borrow().find(path, follow)?;
        self.set(node, set)
    }

    fn figures(&self) -> StatVfs {
        let (used, all) = self.tree.borrow().usage();
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
}

fn attrs(tree: &Tree, node: u64) -> Result<Attrs> {
    tree.node(node).map(Node::attrs).ok_or(StatusCode::NO_SUCH_FILE.into())
}

/// Copies what a file has from `offset` on.
fn read(data: &[u8], offset: u64, room: &mut [u8]) -> usize {
    let data = data.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
    let n = room.len().min(data.len());
    if let (Some(to), Some(from)) = (room.get_mut(..n), data.get(..n)) {
        to.copy_from_slice(from);
    }
    n
}

impl FileSystem for MemoryFs {
    type File = MemoryFile;
    type Dir = IntoIter<Result<DirItem>>;

    const RESOLVES: bool = true;

    fn canonical(&self, path: &[u8], _: bool) -> Result<Vec<u8>> {
        self.tree.borrow().canonical(path)
    }

    fn now(&self) -> u64 {
        self.now.get().into()
    }

    fn open(&self, path: &Target<'_>, flags: OpenFlags, attrs: &Attrs) -> Result<MemoryFile> {
        let mut tree = self.tree.borrow_mut();
        let node = match tree.find(path, true) {
            Ok(_) if flags.contains(OpenFlags::EXCLUSIVE) => {
                return Err(Status::with_message(StatusCode::FAILURE, "file exists"));
            }
            Ok(node) => node,
            Err(_) if flags.contains(OpenFlags::CREATE) => {
                let mode = attrs.permissions.unwrap_or(0o666);
                tree.make(path, Kind::File(Vec::new()), mode, self.now.get())?
            }
            Err(status) => return Err(status),
        };
        if !matches!(tree.node(node).map(|n| &n.kind), Some(Kind::File(_))) {
            return Err(StatusCode::FAILURE.into());
        }
        if flags.contains(OpenFlags::TRUNCATE) {
            tree.resize(node, 0)?;
        }
        tree.hold(node);
        Ok(MemoryFile { node, append: flags.contains(OpenFlags::APPEND) })
    }

    fn read(&self, file: &MemoryFile, offset: u64, room: &mut [u8]) -> Result<usize> {
        self.tree.borrow().file(file.node).map(|data| read(data, offset, room))
    }

    fn write(&self, file: &MemoryFile, offset: u64, data: &[u8]) -> Result<()> {
        let mut tree = self.tree.borrow_mut();
        let offset = if file.append { tree.file(file.node)?.len() as u64 } else { offset };
        tree.write(file.node, offset, data, self.now.get())
    }

    fn close(&self, file: MemoryFile) -> Result<()> {
        self.tree.borrow_mut().release(file.node);
        Ok(())
    }

    fn stat(&self, path: &Target<'_>) -> Result<Attrs> {
        self.attrs_of(path, true)
    }

    fn lstat(&self, path: &Target<'_>) -> Result<Attrs> {
        self.attrs_of(path, false)
    }

    fn fstat(&self, file: &MemoryFile) -> Result<Attrs> {
        attrs(&self.tree.borrow(), file.node)
    }

    fn setstat(&self, path: &Target<'_>, attrs: &Attrs) -> Result<()> {
        self.set_at(path, attrs, true)
    }

    fn lsetstat(&self, path: &Target<'_>, attrs: &Attrs) -> Result<()> {
        self.set_at(path, attrs, false)
    }

    fn fsetstat(&self, file: &MemoryFile, attrs: &Attrs) -> Result<()> {
        self.set(file.node, attrs)
    }

    fn opendir(&self, path: &Target<'_>) -> Result<Self::Dir> {
        let tree = self.tree.borrow();
        let node = tree.find(path, true)?;
        let Some(Kind::Dir(entries)) = tree.node(node).map(|n| &n.kind) else {
            return Err(Status::with_message(StatusCode::FAILURE, "not a directory"));
        };
        let own = [(&b"."[..], node), (b"..", node)].into_iter();
        let all = own.chain(entries.iter().map(|(name, id)| (&name[..], *id)));
        let entry = |(name, id)| {
            let node = tree.node(id)?;
            let links = u64::from(node.links);
            Some(Ok(DirItem::new(name, node.attrs()).with_links(links).with_owner("user", "group")))
        };
        Ok(all.filter_map(entry).collect::<Vec<_>>().into_iter())
    }

    fn remove(&self, path: &Target<'_>) -> Result<()> {
        self.tree.borrow_mut().unlink(path, false)
    }

    fn mkdir(&self, path: &Target<'_>, attrs: &Attrs) -> Result<()> {
        let mode = attrs.permissions.unwrap_or(0o777);
        let dir = Kind::Dir(BTreeMap::new());
        self.tree.borrow_mut().make(path, dir, mode, self.now.get()).map(drop)
    }

    fn rmdir(&self, path: &Target<'_>) -> Result<()> {
        self.tree.borrow_mut().unlink(path, true)
    }

    fn rename(&self, from: &Target<'_>, to: &Target<'_>) -> Result<()> {
        self.tree.borrow_mut().rename(from, to, false)
    }

    fn posix_rename(&self, from: &Target<'_>, to: &Target<'_>) -> Result<()> {
        self.tree.borrow_mut().rename(from, to, true)
    }

    fn readlink(&self, path: &Target<'_>) -> Result<Vec<u8>> {
        self.tree.borrow().readlink(path)
    }

    fn symlink(&self, text: &[u8], link: &Target<'_>) -> Result<()> {
        let kind = Kind::Link(text.to_vec());
        self.tree.borrow_mut().make(link, kind, 0o777, self.now.get()).map(drop)
    }

    fn hardlink(&self, existing: &Target<'_>, link: &Target<'_>) -> Result<()> {
        self.tree.borrow_mut().link(existing, link)
    }

    fn statvfs(&self, path: &Target<'_>) -> Result<StatVfs> {
        self.tree.borrow().find(path, true).map(|_| self.figures())
    }

    fn fstatvfs(&self, _: &MemoryFile) -> Result<StatVfs> {
        Ok(self.figures())
    }

    fn fsync(&self, _: &MemoryFile) -> Result<()> {
        Ok(())
    }

    fn copy_data(&self, from: &MemoryFile, to: &MemoryFile, range: CopyRange) -> Result<u64> {
        self.tree.borrow_mut().copy(from.node, to.node, range, self.now.get())
    }

    fn check_file(&self, file: &MemoryFile, check: &CheckFile<'_>) -> Result<FileHash> {
        let tree = self.tree.borrow();
        let data = tree.file(file.node)?;
        check.hash(self.provider, data.len() as u64, |offset, room| Ok(read(data, offset, room)))
    }

    fn user_name(&self, uid: u32) -> Option<Vec<u8>> {
        self.names.borrow().get(&uid).cloned()
    }

    fn group_name(&self, gid: u32) -> Option<Vec<u8>> {
        self.user_name(gid)
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
