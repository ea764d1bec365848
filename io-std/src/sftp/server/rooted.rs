use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use konko_core::provider;
use konko_core::sftp::{
    Attrs, CheckFile, CopyRange, FileHash, FileSystem, OpenFlags, StatVfs, Status, StatusCode, Target,
};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::attrs::{attrs_of, figures};
use super::bulk::{self, Budget};
use super::errno::{No, Result, no, told};
use super::listing::Listing;
use super::names::{self, Names};
use super::object::{self, Object};
use super::resolve::{Place, Tree, id, kind};
use super::root::{Root, Rules};
use crate::lock;

type Told<T> = std::result::Result<T, Status>;

/// A [`Root`] for one session, which [`Root::session`] makes.
///
/// READ reads straight into the reply, WRITE writes straight from what was received.
pub struct RootedFs {
    tree: Tree,
    rules: Rules,
    names: Arc<Mutex<Names>>,
    budget: Mutex<Budget>,
}

/// A file that a client has opened on a [`RootedFs`].
#[derive(Debug)]
pub struct RootedFile {
    fd: OwnedFd,
    append: bool,
}

impl RootedFs {
    pub(super) fn new(root: &Root) -> Self {
        let rules = root.rules.clone();
        let budget = Mutex::new(Budget::new(&rules));
        RootedFs { tree: root.tree.clone(), budget, rules, names: Arc::default() }
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        lock(&self.budget).written()
    }

    fn fits(&self, size: u64) -> Result<()> {
        lock(&self.budget).fits(size)
    }

    fn is_over(&self) -> bool {
        self.rules.over.as_ref().is_some_and(|over| over())
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

    fn place(&self, target: &Target<'_>, folder: bool) -> Result<Place<'_>> {
        Ok(self.tree.place(target, folder)?)
    }

    /// Both places of a rename.
    fn places(&self, from: &Target<'_>, to: &Target<'_>) -> Result<(Place<'_>, Place<'_>)> {
        let (from, to) = (self.place(from, true)?, self.place(to, true)?);
        renames_as_said(&from, &to)?;
        Ok((from, to))
    }

    fn read_link(&self, target: &Target<'_>) -> Result<Vec<u8>> {
        let place = self.place(target, false)?;
        let text = rustix::fs::readlinkat(place.dir(), &place.name, Vec::new())?.into_bytes();
        // A link made outside may tell where the root is (S-11).
        let below = self.rules.secret.as_deref().and_then(|secret| text.strip_prefix(secret));
        Ok(match below {
            Some(b"") => b"/".to_vec(),
            Some(rest) if rest.first() == Some(&b'/') => rest.to_vec(),
            _ => text,
        })
    }

    fn write_all(&self, file: &RootedFile, offset: u64, mut data: &[u8]) -> Result<()> {
        let total = data.len() as u64;
        let start = match file.append && self.rules.max_file.is_some() {
            true => attrs_of(&rustix::fs::fstat(&file.fd)?).size().unwrap_or(0),
            false => offset,
        };
        lock(&self.budget).spend(&self.tree, start.saturating_add(total), total)?;
        let mut at = offset;
        while !data.is_empty() {
            let n = rustix::io::retry_on_intr(|| match file.append {
                true => rustix::io::write(&file.fd, data),
                false => rustix::io::pwrite(&file.fd, data, at),
            })?;
            if n == 0 {
                return Err(No::System(Errno::IO));
            }
            data = &data[n..];
            at += n as u64;
        }
        Ok(())
    }

    // ---- attributes ----

    /// Changes what is to be changed; goes on after an error, and reports the first.
    fn set(&self, target: &Target<'_>, attrs: &Attrs, follow: bool) -> Result<()> {
        let mut first = Ok(());
        if let Some(size) = attrs.size() {
            if !follow {
                return Err(StatusCode::BAD_MESSAGE.into());
            }
            self.fits(size)?;
            let fd = self.open_checked(target, OFlags::WRONLY, 0, false)?;
            first = rustix::fs::ftruncate(&fd, size);
        }
        if attrs.permissions().is_none() && attrs.times().is_none() && attrs.owner().is_none() {
            // What is not there cannot be changed, not even not at all.
            if attrs.size().is_none() {
                self.tree.stat(target, follow)?;
            }
            return Ok(first?);
        }
        let object = self.tree.object(target, follow)?;
        if let Some(bits) = attrs.permissions() {
            let change = object.stat().and_then(|stat| self.changes(&stat, bits));
            first = first.and(match change {
                Ok(true) => self.chmod(target, follow, &object, bits),
                other => other.map(drop),
            });
        }
        if let Some(times) = attrs.times() {
            first = first.and(object.set_times(times));
        }
        if let Some(owner) = attrs.owner() {
            first = first.and(object.chown(owner));
        }
        Ok(first?)
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

    fn set_open(&self, fd: &OwnedFd, attrs: &Attrs) -> Result<()> {
        let mut first = Ok(());
        if let Some(size) = attrs.size() {
            self.fits(size)?;
            first = first.and(rustix::fs::ftruncate(fd, size));
        }
        if let Some(bits) = attrs.permissions() {
            let change = rustix::fs::fstat(fd).and_then(|stat| self.changes(&stat, bits));
            first = first.and(match change {
                Ok(true) => rustix::fs::fchmod(fd, object::mode(bits)),
                other => other.map(drop),
            });
        }
        if let Some(times) = attrs.times() {
            first = first.and(rustix::fs::futimens(fd, &object::timestamps(times)));
        }
        if let Some(owner) = attrs.owner() {
            let (uid, gid) = object::owner(owner)?;
            first = first.and(rustix::fs::fchown(fd, uid, gid));
        }
        Ok(first?)
    }
}

impl FileSystem for RootedFs {
    type File = RootedFile;
    type Dir = Listing;

    const RESOLVES: bool = true;

    fn start(&self) -> &[u8] {
        self.tree.start()
    }

    fn canonical(&self, path: &[u8], follow: bool) -> Told<Vec<u8>> {
        told(|| Ok(self.tree.canonical(path, follow)?))
    }

    /// In a jail there is one home; in the system each user has one.
    fn home(&self, user: &[u8]) -> Told<Vec<u8>> {
        told(|| match self.tree.is_host() {
            true => names::home(user).ok_or(No::System(Errno::NOENT)),
            false if user.is_empty() => Ok(self.tree.start().to_vec()),
            false => Err(Errno::NOENT.into()),
        })
    }

    fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs())
    }

    fn open(&self, path: &Target<'_>, flags: OpenFlags, attrs: &Attrs) -> Told<RootedFile> {
        let has = |flag| flags.contains(flag);
        let mut how = match (has(OpenFlags::READ), has(OpenFlags::WRITE)) {
            (true, true) => OFlags::RDWR,
            (false, true) => OFlags::WRONLY,
            _ => OFlags::RDONLY,
        };
        let append = has(OpenFlags::APPEND);
        how.set(OFlags::APPEND, append);
        how.set(OFlags::CREATE, has(OpenFlags::CREATE));
        how.set(OFlags::TRUNC, has(OpenFlags::TRUNCATE));
        how.set(OFlags::EXCL, has(OpenFlags::EXCLUSIVE));
        let mode = attrs.permissions().unwrap_or(0o666) & self.rules.modes(FileType::RegularFile);
        told(|| Ok(RootedFile { fd: self.open_checked(path, how, mode, self.rules.devices)?, append }))
    }

    fn read(&self, file: &RootedFile, offset: u64, room: &mut [u8]) -> Told<usize> {
        told(|| Ok(rustix::io::retry_on_intr(|| rustix::io::pread(&file.fd, &mut *room, offset))?))
    }

    fn write(&self, file: &RootedFile, offset: u64, data: &[u8]) -> Told<()> {
        told(|| self.write_all(file, offset, data))
    }

    fn close(&self, file: RootedFile) -> Told<()> {
        told(|| Ok(close(file.fd)?))
    }

    fn stat(&self, path: &Target<'_>) -> Told<Attrs> {
        told(|| Ok(attrs_of(&self.tree.stat(path, true)?)))
    }

    fn lstat(&self, path: &Target<'_>) -> Told<Attrs> {
        told(|| Ok(attrs_of(&self.tree.stat(path, false)?)))
    }

    fn fstat(&self, file: &RootedFile) -> Told<Attrs> {
        told(|| Ok(attrs_of(&rustix::fs::fstat(&file.fd)?)))
    }

    fn setstat(&self, path: &Target<'_>, attrs: &Attrs) -> Told<()> {
        told(|| self.set(path, attrs, true))
    }

    fn lsetstat(&self, path: &Target<'_>, attrs: &Attrs) -> Told<()> {
        told(|| self.set(path, attrs, false))
    }

    fn fsetstat(&self, file: &RootedFile, attrs: &Attrs) -> Told<()> {
        told(|| self.set_open(&file.fd, attrs))
    }

    fn opendir(&self, path: &Target<'_>) -> Told<Listing> {
        told(|| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK;
            let fd = self.tree.open(path, flags, Mode::empty())?;
            let top = !self.tree.is_host() && self.tree.is_root(&rustix::fs::fstat(&fd)?);
            let names = self.rules.names.then(|| Arc::clone(&self.names));
            Ok(Listing::new(fd, top, names)?)
        })
    }

    fn remove(&self, path: &Target<'_>) -> Told<()> {
        told(|| unlink(&self.place(path, false)?, AtFlags::empty()))
    }

    fn mkdir(&self, path: &Target<'_>, attrs: &Attrs) -> Told<()> {
        told(|| {
            let place = self.place(path, true)?;
            let mode = attrs.permissions().unwrap_or(0o777) & self.rules.modes(FileType::Directory);
            Ok(rustix::fs::mkdirat(place.dir(), &place.name, object::mode(mode))?)
        })
    }

    fn rmdir(&self, path: &Target<'_>) -> Told<()> {
        told(|| unlink(&self.place(path, true)?, AtFlags::REMOVEDIR))
    }

    fn rename(&self, from: &Target<'_>, to: &Target<'_>) -> Told<()> {
        told(|| {
            let (from, to) = self.places(from, to)?;
            rename_new(&from, &to)
        })
    }

    fn posix_rename(&self, from: &Target<'_>, to: &Target<'_>) -> Told<()> {
        told(|| {
            let (from, to) = self.places(from, to)?;
            Ok(rustix::fs::renameat(from.dir(), &from.name, to.dir(), &to.name)?)
        })
    }

    fn readlink(&self, path: &Target<'_>) -> Told<Vec<u8>> {
        told(|| self.read_link(path))
    }

    fn symlink(&self, text: &[u8], link: &Target<'_>) -> Told<()> {
        told(|| {
            let link = self.place(link, false)?;
            Ok(rustix::fs::symlinkat(text, link.dir(), &link.name)?)
        })
    }

    fn hardlink(&self, existing: &Target<'_>, link: &Target<'_>) -> Told<()> {
        told(|| {
            let (from, to) = (self.place(existing, false)?, self.place(link, false)?);
            Ok(rustix::fs::linkat(from.dir(), &from.name, to.dir(), &to.name, AtFlags::empty())?)
        })
    }

    fn statvfs(&self, path: &Target<'_>) -> Told<StatVfs> {
        told(|| Ok(figures(&self.tree.object(path, true)?.statvfs()?)))
    }

    fn fstatvfs(&self, file: &RootedFile) -> Told<StatVfs> {
        told(|| Ok(figures(&rustix::fs::fstatvfs(&file.fd)?)))
    }

    fn fsync(&self, file: &RootedFile) -> Told<()> {
        told(|| Ok(rustix::fs::fsync(&file.fd)?))
    }

    fn copy_data(&self, from: &RootedFile, to: &RootedFile, range: CopyRange) -> Told<u64> {
        let spend = |end, n| lock(&self.budget).spend(&self.tree, end, n);
        told(|| bulk::copy(&from.fd, &to.fd, to.append, range, &|| self.is_over(), spend))
    }

    fn check_file(&self, file: &RootedFile, check: &CheckFile<'_>) -> Told<FileHash> {
        let size = told(|| {
            let stat = rustix::fs::fstat(&file.fd)?;
            let regular = kind(&stat) == FileType::RegularFile;
            if regular { Ok(attrs_of(&stat).size().unwrap_or(0)) } else { no("not a regular file") }
        })?;
        check.hash(provider::best(), size, |offset, room| match self.is_over() {
            true => told(|| no("nobody waits for it")),
            false => self.read(file, offset, room),
        })
    }

    fn user_name(&self, uid: u32) -> Option<Vec<u8>> {
        Some(lock(&self.names).user(uid).as_bytes().to_vec()).filter(|name| !name.is_empty())
    }

    fn group_name(&self, gid: u32) -> Option<Vec<u8>> {
        Some(lock(&self.names).group(gid).as_bytes().to_vec()).filter(|name| !name.is_empty())
    }
}

fn unlink(place: &Place<'_>, flags: AtFlags) -> Result<()> {
    Ok(rustix::fs::unlinkat(place.dir(), &place.name, flags)?)
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

impl fmt::Debug for RootedFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootedFs({:?})", self.tree)
    }
}
