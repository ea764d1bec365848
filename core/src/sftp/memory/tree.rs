//! Nodes and names.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::sftp::attrs::{Owner, Times};
use crate::sftp::file_system::CopyRange;
use crate::sftp::status::{Status, StatusCode};

type Result<T> = core::result::Result<T, Status>;

const ROOT: u64 = 1;
/// Links that a path may go through, as Linux has it.
const MAX_LINKS: u32 = 40;
const NAME_MAX: usize = 255;

/// A directory that a path goes through: its name, and what it is.
type Step = (Vec<u8>, u64);

#[derive(Debug)]
pub(super) enum Kind {
    File(Vec<u8>),
    Dir(BTreeMap<Vec<u8>, u64>),
    Link(Vec<u8>),
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) owner: Owner,
    pub(super) times: Times,
    /// Names.
    pub(super) links: u32,
    /// Open handles.
    held: u32,
}

#[derive(Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    used: usize,
    capacity: usize,
}

fn missing() -> Status {
    StatusCode::NO_SUCH_FILE.into()
}

fn failure(text: &'static str) -> Status {
    Status::with_message(StatusCode::FAILURE, text)
}

impl Tree {
    pub(super) fn new(capacity: usize) -> Self {
        let mut tree = Tree { nodes: BTreeMap::new(), next: ROOT, used: 0, capacity };
        tree.add(Kind::Dir(BTreeMap::new()), 0o755, 0);
        tree
    }

    /// Bytes in use, and how many may be.
    pub(super) fn usage(&self) -> (usize, usize) {
        (self.used, self.capacity)
    }

    fn add(&mut self, kind: Kind, mode: u32, now: u32) -> u64 {
        let id = self.next;
        self.next = id.wrapping_add(1);
        let times = Times { accessed: now, modified: now };
        let owner = Owner { uid: 1000, gid: 1000 };
        self.nodes.insert(id, Node { kind, mode: mode & 0o7777, owner, times, links: 1, held: 0 });
        id
    }

    pub(super) fn node(&self, id: u64) -> Option<&Node> {
        self.nodes.get(&id)
    }

    pub(super) fn node_mut(&mut self, id: u64) -> Option<&mut Node> {
        self.nodes.get_mut(&id)
    }

    fn dir(&self, id: u64) -> Result<&BTreeMap<Vec<u8>, u64>> {
        match self.node(id).map(|n| &n.kind) {
            Some(Kind::Dir(entries)) => Ok(entries),
            _ => Err(missing()),
        }
    }

    fn dir_mut(&mut self, id: u64) -> Result<&mut BTreeMap<Vec<u8>, u64>> {
        match self.node_mut(id).map(|n| &mut n.kind) {
            Some(Kind::Dir(entries)) => Ok(entries),
            _ => Err(missing()),
        }
    }

    /// What a file holds.
    pub(super) fn file(&self, id: u64) -> Result<&[u8]> {
        match self.node(id).map(|n| &n.kind) {
            Some(Kind::File(data)) => Ok(data),
            _ => Err(failure("not a regular file")),
        }
    }

    /// Goes along a path. Returns the directories that were entered, with their names, and what stands at
    /// the end.
    fn walk(&self, path: &[u8], follow: bool) -> Result<(Vec<Step>, u64)> {
        let mut left: Vec<Vec<u8>> = split(path);
        let (mut stack, mut at, mut links) = (Vec::<Step>::new(), ROOT, 0u32);
        while let Some(name) = left.pop() {
            let entries = self.dir(at)?;
            if name == b"." {
                continue;
            }
            if name == b".." {
                stack.pop();
                at = stack.last().map_or(ROOT, |(_, id)| *id);
                continue;
            }
            let id = *entries.get(&name).ok_or_else(missing)?;
            match self.node(id).map(|n| &n.kind) {
                Some(Kind::Link(target)) if follow || !left.is_empty() => {
                    links = links.saturating_add(1);
                    if links > MAX_LINKS {
                        return Err(failure("too many symbolic links"));
                    }
                    if target.first() == Some(&b'/') {
                        stack.clear();
                        at = ROOT;
                    }
                    left.extend(split(target));
                }
                _ => {
                    stack.push((name, id));
                    at = id;
                }
            }
        }
        Ok((stack, at))
    }

    /// What a path leads to.
    pub(super) fn find(&self, path: &[u8], follow: bool) -> Result<u64> {
        self.walk(path, follow).map(|(_, id)| id)
    }

    /// The absolute form. The last component need not exist.
    pub(super) fn canonical(&self, path: &[u8]) -> Result<Vec<u8>> {
        let (mut stack, last) = match self.walk(path, true) {
            Ok((stack, _)) => (stack, None),
            Err(_) => {
                let (parent, name) = cut(path).ok_or_else(missing)?;
                (self.walk(parent, true)?.0, Some(name.to_vec()))
            }
        };
        stack.extend(last.map(|name| (name, 0)));
        let mut out = Vec::new();
        for (name, _) in &stack {
            out.push(b'/');
            out.extend_from_slice(name);
        }
        if out.is_empty() {
            out.push(b'/');
        }
        Ok(out)
    }

    pub(super) fn readlink(&self, path: &[u8]) -> Result<Vec<u8>> {
        match self.node(self.find(path, false)?).map(|n| &n.kind) {
            Some(Kind::Link(target)) => Ok(target.clone()),
            _ => Err(failure("not a symbolic link")),
        }
    }

    /// The directory in which a name stands or is to stand.
    fn parent<'p>(&self, path: &'p [u8]) -> Result<(u64, &'p [u8])> {
        let (parent, name) = cut(path).ok_or_else(|| failure("not a name"))?;
        if name.len() > NAME_MAX {
            return Err(failure("the name is too long"));
        }
        let dir = self.find(parent, true)?;
        self.dir(dir).map(|_| (dir, name))
    }

    pub(super) fn make(&mut self, path: &[u8], kind: Kind, mode: u32, now: u32) -> Result<u64> {
        let (dir, name) = self.parent(path)?;
        if self.dir(dir)?.contains_key(name) {
            return Err(failure("it exists"));
        }
        let id = self.add(kind, mode, now);
        self.dir_mut(dir)?.insert(name.to_vec(), id);
        Ok(id)
    }

    pub(super) fn link(&mut self, existing: &[u8], link: &[u8]) -> Result<()> {
        let id = self.find(existing, false)?;
        let (dir, name) = self.parent(link)?;
        if self.dir(id).is_ok() || self.dir(dir)?.contains_key(name) {
            return Err(failure("it exists, or is a directory"));
        }
        self.dir_mut(dir)?.insert(name.to_vec(), id);
        if let Some(node) = self.node_mut(id) {
            node.links = node.links.saturating_add(1);
        }
        Ok(())
    }

    pub(super) fn unlink(&mut self, path: &[u8], directory: bool) -> Result<()> {
        let (dir, name) = self.parent(path)?;
        let id = *self.dir(dir)?.get(name).ok_or_else(missing)?;
        match self.dir(id) {
            Ok(entries) if directory && entries.is_empty() => {}
            Err(_) if !directory => {}
            Ok(_) if directory => return Err(failure("the directory is not empty")),
            _ => return Err(failure("it is of another kind")),
        }
        self.dir_mut(dir)?.remove(name);
        self.drop_name(id);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &[u8], to: &[u8], replace: bool) -> Result<()> {
        let (from_dir, from_name) = self.parent(from)?;
        let (to_dir, to_name) = self.parent(to)?;
        let id = *self.dir(from_dir)?.get(from_name).ok_or_else(missing)?;
        let inside = self.walk(to, false).map(|(stack, _)| stack).unwrap_or_default();
        let parents = cut(to).and_then(|(p, _)| self.walk(p, true).ok()).map(|(s, _)| s);
        if parents.unwrap_or_default().iter().any(|(_, at)| *at == id) {
            return Err(failure("a directory cannot go into itself"));
        }
        if let Some(old) = self.dir(to_dir)?.get(to_name).copied() {
            if old == id && !inside.is_empty() {
                return if replace { Ok(()) } else { Err(failure("it exists")) };
            }
            if !replace {
                return Err(failure("it exists"));
            }
            match (self.dir(id).is_ok(), self.dir(old).map(BTreeMap::is_empty)) {
                (false, Err(_)) | (true, Ok(true)) => self.drop_name(old),
                _ => return Err(failure("the target is of another kind, or not empty")),
            }
        }
        self.dir_mut(from_dir)?.remove(from_name);
        self.dir_mut(to_dir)?.insert(to_name.to_vec(), id);
        Ok(())
    }

    fn drop_name(&mut self, id: u64) {
        if let Some(node) = self.node_mut(id) {
            node.links = node.links.saturating_sub(1);
        }
        self.reap(id);
    }

    /// An open handle keeps a file that has no name any more.
    pub(super) fn hold(&mut self, id: u64) {
        if let Some(node) = self.node_mut(id) {
            node.held = node.held.saturating_add(1);
        }
    }

    pub(super) fn release(&mut self, id: u64) {
        if let Some(node) = self.node_mut(id) {
            node.held = node.held.saturating_sub(1);
        }
        self.reap(id);
    }

    fn reap(&mut self, id: u64) {
        if self.node(id).is_some_and(|n| n.links == 0 && n.held == 0)
            && let Some(Node { kind: Kind::File(data), .. }) = self.nodes.remove(&id)
        {
            self.used = self.used.saturating_sub(data.len());
        }
    }

    pub(super) fn resize(&mut self, id: u64, size: u64) -> Result<()> {
        let (used, capacity) = (self.used, self.capacity);
        let Some(Kind::File(data)) = self.nodes.get_mut(&id).map(|n| &mut n.kind) else {
            return Err(failure("not a regular file"));
        };
        let rest = used.saturating_sub(data.len());
        let size = usize::try_from(size).ok().filter(|n| rest.saturating_add(*n) <= capacity);
        let size = size.ok_or_else(|| failure("no space left"))?;
        data.resize(size, 0);
        self.used = rest.saturating_add(size);
        Ok(())
    }

    pub(super) fn write(&mut self, id: u64, offset: u64, bytes: &[u8], now: u32) -> Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        if end > self.file(id)?.len() as u64 && !bytes.is_empty() {
            self.resize(id, end)?;
        }
        let Some(node) = self.node_mut(id) else { return Err(missing()) };
        node.times.modified = now;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        if let Kind::File(data) = &mut node.kind
            && let Some(room) = data.get_mut(start..).and_then(|d| d.get_mut(..bytes.len()))
        {
            room.copy_from_slice(bytes);
        }
        Ok(())
    }

    /// How many bytes were copied.
    pub(super) fn copy(&mut self, from: u64, to: u64, range: CopyRange, now: u32) -> Result<u64> {
        let data = self.file(from)?;
        let start = usize::try_from(range.from).unwrap_or(usize::MAX).min(data.len());
        let left = data.len().saturating_sub(start);
        let len =
            if range.len == 0 { left } else { usize::try_from(range.len).unwrap_or(usize::MAX).min(left) };
        if from == to && range.from.abs_diff(range.to) < len as u64 {
            return Err(failure("the ranges overlap"));
        }
        let bytes = data.get(start..).and_then(|d| d.get(..len)).unwrap_or_default().to_vec();
        self.write(to, range.to, &bytes, now)?;
        Ok(len as u64)
    }
}

/// The components of a path, the last one first.
fn split(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|b| *b == b'/').filter(|c| !c.is_empty()).rev().map(<[u8]>::to_vec).collect()
}

/// A path without its last component, and that one; none for the root, `.` and `..`.
fn cut(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = path.iter().rposition(|b| *b != b'/')?.saturating_add(1);
    let path = path.get(..end)?;
    let start = path.iter().rposition(|b| *b == b'/').map_or(0, |at| at.saturating_add(1));
    let (parent, name) = path.split_at_checked(start)?;
    (name != b"." && name != b"..").then_some((parent, name))
}
