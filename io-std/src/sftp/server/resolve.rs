//! Paths to descriptors, so that none leads out of the root.

use std::borrow::Cow;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use rustix::io::Errno;

use konko_core::sftp::Target;

use super::object::Object;

pub(super) type Result<T> = std::result::Result<T, Errno>;

/// Symbolic links on one path, as Linux has it.
const MAX_LINKS: usize = 40;
/// How often a path is tried that changes while it is walked.
const TRIES: usize = 64;

/// A descriptor to look things up with. Where the system has it, it needs no permission on what it is of.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) const LOOK: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);
const LOOK_DIR: OFlags = LOOK.union(OFlags::DIRECTORY);

/// Who keeps paths below the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Nobody: the root is the system's.
    Host,
    /// The kernel, with openat2(2) and `RESOLVE_IN_ROOT`.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    Kernel,
    /// A walk from one directory's descriptor to the next.
    Walk,
}

/// A directory that all paths start from, with what is below it.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    root: Arc<OwnedFd>,
    id: Id,
    how: How,
    /// For paths that were judged, which the system's own resolution cannot keep free of links.
    strict: How,
    /// Where relative paths start: absolute, as clients see it.
    start: Vec<u8>,
    /// The same; only for [`How::Host`].
    start_dir: Arc<OwnedFd>,
}

/// Device and inode.
pub(super) type Id = (u64, u64);

#[allow(clippy::unnecessary_cast, reason = "their types differ from system to system")]
pub(super) fn id(stat: &Stat) -> Id {
    (stat.st_dev as u64, stat.st_ino as u64)
}

pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// A name in a directory, to be used without following it.
#[derive(Debug)]
pub(super) struct Place<'t> {
    dir: Dir<'t>,
    pub(super) name: CString,
    /// The path had a slash behind the name.
    pub(super) folder: bool,
}

#[derive(Debug)]
enum Dir<'t> {
    Own(OwnedFd),
    Lent(BorrowedFd<'t>),
}

impl Place<'_> {
    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        match &self.dir {
            Dir::Own(fd) => fd.as_fd(),
            Dir::Lent(fd) => *fd,
        }
    }

    /// Attributes of what stands there.
    pub(super) fn stat(&self) -> Result<Stat> {
        statat(self.dir(), &self.name, AtFlags::SYMLINK_NOFOLLOW)
    }
}

impl Tree {
    /// The whole system; relative paths start in `start`, which is absolute.
    pub(super) fn host(start: Vec<u8>) -> Result<Self> {
        let root = Arc::new(rustix::fs::open("/", LOOK_DIR, Mode::empty())?);
        let start_dir = Arc::new(rustix::fs::open(c_string(&start)?, LOOK_DIR, Mode::empty())?);
        let id = id(&rustix::fs::fstat(&root)?);
        Ok(Tree { strict: best(&root), root, id, how: How::Host, start, start_dir })
    }

    /// The same tree, of the directory that has this path now.
    pub(super) fn anew(&self, path: &std::path::Path) -> Result<Self> {
        use std::os::unix::ffi::OsStrExt;
        if self.how == How::Host {
            return Self::host(path.as_os_str().as_bytes().to_vec());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut tree = Self::below(rustix::fs::open(path, flags, Mode::empty())?)?;
        (tree.how, tree.strict) = (self.how, self.strict);
        if self.start != b"/" {
            tree.set_start(&self.start)?;
        }
        Ok(tree)
    }

    /// What is below `root`.
    pub(super) fn below(root: OwnedFd) -> Result<Self> {
        let id = id(&rustix::fs::fstat(&root)?);
        let how = best(&root);
        let root = Arc::new(root);
        let start_dir = Arc::clone(&root);
        Ok(Tree { root, id, how, strict: how, start: b"/".to_vec(), start_dir })
    }

    pub(super) fn set_how(&mut self, how: How) {
        (self.how, self.strict) = (how, how);
    }

    pub(super) fn set_start(&mut self, start: &[u8]) -> Result<()> {
        let at = self.canonical(start, true)?;
        let dir = self.open(&Target::new(&at[..]), LOOK_DIR, Mode::empty())?;
        (self.start, self.start_dir) = (at, Arc::new(dir));
        Ok(())
    }

    pub(super) fn start(&self) -> &[u8] {
        &self.start
    }

    fn way(&self, target: &Target<'_>) -> How {
        if target.is_judged() { self.strict } else { self.how }
    }

    pub(super) fn is_host(&self) -> bool {
        self.how == How::Host
    }

    pub(super) fn is_root(&self, stat: &Stat) -> bool {
        id(stat) == self.id
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens what a path leads to, links followed unless the flags say no.
    pub(super) fn open(&self, target: &Target<'_>, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        match self.way(target) {
            How::Host => openat(&self.start_dir, here(target), flags, mode),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            How::Kernel => self.openat2(&self.absolute(target), target.is_judged(), flags, mode),
            How::Walk => self.open_walking(target, flags, mode),
        }
    }

    /// What a path leads to, to look at it and to change its attributes.
    pub(super) fn object(&self, target: &Target<'_>, follow: bool) -> Result<Object> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            let nofollow = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
            Ok(Object::new(self.open(target, LOOK | nofollow, Mode::empty())?))
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        {
            let spot = self.walk(target, follow)?;
            Ok(Object::new(spot.dir, c_string(if spot.name.is_empty() { b"." } else { &spot.name })?))
        }
    }

    /// Attributes of what a path leads to.
    pub(super) fn stat(&self, target: &Target<'_>, follow: bool) -> Result<Stat> {
        if self.way(target) == How::Host {
            let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
            return statat(&self.start_dir, here(target), flags);
        }
        self.object(target, follow)?.stat()
    }

    /// The place that a path names. `folder`: a path with a slash at its end may be meant.
    pub(super) fn place(&self, target: &Target<'_>, folder: bool) -> Result<Place<'_>> {
        let path = here(target);
        if self.way(target) == How::Host {
            // The system sees to a slash itself.
            return Ok(Place {
                dir: Dir::Lent(self.start_dir.as_fd()),
                name: c_string(path)?,
                folder: false,
            });
        }
        // With the slash, the system would follow a link.
        let end = path.iter().rposition(|b| *b != b'/').map_or(0, |i| i + 1);
        if end < path.len() && end > 0 && !folder {
            return Err(Errno::NOTDIR);
        }
        let split = path[..end].iter().rposition(|b| *b == b'/').map_or(0, |i| i + 1);
        let (dir, name) = (&path[..split], &path[split..end]);
        if name.is_empty() || name == b"." || name == b".." {
            return Err(Errno::INVAL);
        }
        let dir = here(dir);
        let dir = if target.is_judged() { Target::judged(dir) } else { Target::new(dir) };
        let dir = Dir::Own(self.open(&dir, LOOK_DIR, Mode::empty())?);
        Ok(Place { dir, name: c_string(name)?, folder: end < path.len() })
    }

    /// The absolute path, without links, of what a path leads to or would lead to: the last name need not
    /// exist.
    pub(super) fn canonical(&self, path: &[u8], follow: bool) -> Result<Vec<u8>> {
        let spot = self.walk(&Target::new(path), follow)?;
        let mut out = Vec::new();
        let last = Some(&spot.name).filter(|n| !n.is_empty());
        for name in spot.trail.iter().map(|(name, _)| name).chain(last) {
            out.push(b'/');
            out.extend_from_slice(name);
        }
        Ok(if out.is_empty() { b"/".to_vec() } else { out })
    }

    fn absolute<'p>(&self, path: &'p [u8]) -> Cow<'p, [u8]> {
        let path = here(path);
        if path.first() == Some(&b'/') || self.start == b"/" {
            return Cow::Borrowed(path);
        }
        Cow::Owned([&self.start, &b"/"[..], path].concat())
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn openat2(&self, path: &[u8], judged: bool, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        use rustix::fs::ResolveFlags;
        let mut resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        if judged {
            resolve |= ResolveFlags::NO_SYMLINKS;
        }
        // The kernel refuses a mode where nothing can be made.
        let mode = if flags.contains(OFlags::CREATE) { mode } else { Mode::empty() };
        let path = c_string(path)?;
        // Something was renamed while the kernel went up a directory: it cannot say where it is.
        again(|| rustix::fs::openat2(&self.root, &path, flags, mode, resolve))
    }

    fn open_walking(&self, target: &Target<'_>, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let follow = !flags.contains(OFlags::NOFOLLOW);
        // An exclusive creation does not follow (open(2)).
        let exclusive = flags.contains(OFlags::CREATE | OFlags::EXCL);
        again(|| {
            let spot = self.walk(target, follow && !exclusive)?;
            let mut flags = flags | OFlags::NOFOLLOW;
            if spot.folder {
                flags |= OFlags::DIRECTORY;
            }
            if spot.name.is_empty() {
                return openat(&spot.dir, ".", flags, mode);
            }
            let fd = openat(&spot.dir, &spot.name[..], flags, mode);
            if !follow {
                return fd;
            }
            match fd {
                // It became a link behind our back.
                Err(Errno::LOOP) => Err(Errno::AGAIN),
                Ok(fd) if kind(&rustix::fs::fstat(&fd)?) == FileType::Symlink => Err(Errno::AGAIN),
                fd => fd,
            }
        })
    }

    fn walk(&self, target: &Target<'_>, follow: bool) -> Result<Spot> {
        let mut walk = Walk { tree: self, spot: self.spot()?, todo: Vec::new(), links: 0 };
        let path = here(target);
        walk.enqueue(path);
        if path.first() != Some(&b'/') {
            walk.enqueue(&self.start);
        }
        walk.run(follow, !target.is_judged())
    }

    fn spot(&self) -> Result<Spot> {
        let dir = openat(&self.root, ".", LOOK_DIR, Mode::empty())?;
        Ok(Spot { dir, name: Vec::new(), trail: Vec::new(), folder: false })
    }
}

/// Where a walk has come to.
struct Spot {
    dir: OwnedFd,
    /// The last name, which is not followed further; empty for the directory itself.
    name: Vec<u8>,
    /// The directories from the root to `dir`.
    trail: Vec<(Vec<u8>, Id)>,
    /// The path says that it is a directory.
    folder: bool,
}

struct Walk<'t> {
    tree: &'t Tree,
    spot: Spot,
    /// Names that are still to be walked, the next one last.
    todo: Vec<Vec<u8>>,
    links: usize,
}

impl Walk<'_> {
    /// The names of `path` come before everything else.
    fn enqueue(&mut self, path: &[u8]) {
        if path.last() == Some(&b'/') && self.todo.is_empty() {
            self.spot.folder = true;
        }
        let names = path.split(|b| *b == b'/').filter(|n| !n.is_empty());
        self.todo.extend(names.rev().map(<[u8]>::to_vec));
    }

    fn run(mut self, follow: bool, links: bool) -> Result<Spot> {
        while let Some(name) = self.todo.pop() {
            match &name[..] {
                b"." => {}
                b".." => self.up()?,
                _ if self.todo.is_empty() => {
                    // With a slash behind it, a link is followed whatever was asked for.
                    let link = if follow || self.spot.folder { self.link(&name)? } else { None };
                    match link {
                        Some(link) => self.follow(&link, links)?,
                        None => {
                            self.spot.name = name;
                            break;
                        }
                    }
                }
                _ => match openat(&self.spot.dir, &name[..], LOOK_DIR | OFlags::NOFOLLOW, Mode::empty()) {
                    Ok(dir) => self.down(name, dir)?,
                    Err(e @ (Errno::NOTDIR | Errno::LOOP | Errno::MLINK)) => {
                        let link = self.link(&name)?.ok_or(e)?;
                        self.follow(&link, links)?;
                    }
                    Err(e) => return Err(e),
                },
            }
        }
        Ok(self.spot)
    }

    fn down(&mut self, name: Vec<u8>, dir: OwnedFd) -> Result<()> {
        let id = id(&rustix::fs::fstat(&dir)?);
        self.spot.dir = dir;
        self.spot.trail.push((name, id));
        Ok(())
    }

    /// To the parent: the one that we came from, or nowhere.
    fn up(&mut self) -> Result<()> {
        if self.spot.trail.pop().is_none() {
            return Ok(());
        }
        let dir = openat(&self.spot.dir, "..", LOOK_DIR, Mode::empty())?;
        let expected = self.spot.trail.last().map_or(self.tree.id, |(_, id)| *id);
        // The directory was moved elsewhere in between.
        if id(&rustix::fs::fstat(&dir)?) != expected {
            return Err(Errno::AGAIN);
        }
        self.spot.dir = dir;
        Ok(())
    }

    /// What a link says; `None`: it is no link, or nothing.
    fn link(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        match readlinkat(&self.spot.dir, name, Vec::new()) {
            Ok(text) => Ok(Some(text.into_bytes())),
            Err(Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn follow(&mut self, link: &[u8], allowed: bool) -> Result<()> {
        self.links += 1;
        if !allowed || self.links > MAX_LINKS {
            return Err(Errno::LOOP);
        }
        if link.is_empty() {
            return Err(Errno::NOENT);
        }
        if link.first() == Some(&b'/') {
            let folder = self.spot.folder;
            self.spot = self.tree.spot()?;
            self.spot.folder = folder;
        }
        self.enqueue(link);
        Ok(())
    }
}

/// The empty path is where one is (draft-ietf-secsh-filexfer-02 §6.2).
fn here(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"." } else { path }
}

pub(super) fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| Errno::NOENT)
}

fn again<T>(mut act: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 1..TRIES {
        match act() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            done => return done,
        }
    }
    act()
}

/// openat2 came with Linux 5.6, and sandboxes may refuse it.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn best(root: &OwnedFd) -> How {
    let resolve = rustix::fs::ResolveFlags::IN_ROOT;
    match rustix::fs::openat2(root, ".", LOOK_DIR, Mode::empty(), resolve) {
        Ok(_) => How::Kernel,
        Err(_) => How::Walk,
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn best(_: &OwnedFd) -> How {
    How::Walk
}
