use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use konko_core::sftp::{Attrs, LongName, NameList, Status};
use rustix::fs::{AtFlags, Dir, statat};
use rustix::io::Errno;

use super::attrs::attrs_of;
use super::names::Names;
use super::rooted::No;

/// A directory that is being read.
pub(super) struct Listing {
    dir: Dir,
    /// It is the root of a jail, whose `..` is nobody's business.
    top: bool,
    /// With names of users and groups.
    named: bool,
    path: Vec<u8>,
    /// What did not fit into the last reply.
    held: Option<Entry>,
}

struct Entry {
    name: Vec<u8>,
    attrs: Attrs,
    links: u64,
}

impl Listing {
    pub(super) fn new(fd: OwnedFd, top: bool, named: bool, path: Vec<u8>) -> Result<Self, Errno> {
        Ok(Listing { dir: Dir::new(fd)?, top, named, path, held: None })
    }

    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Adds entries until the reply is full.
    pub(super) fn fill(&mut self, out: &mut NameList<'_>, names: &mut Names) -> Result<(), Status> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
        loop {
            let entry = match self.held.take().map_or_else(|| self.next(), |held| Ok(Some(held))) {
                Ok(Some(entry)) => entry,
                Ok(None) => return Ok(()),
                // What there is so far is worth more than the error, which will come again.
                Err(_) if !out.is_empty() => return Ok(()),
                Err(errno) => return Err(No::System(errno).status()),
            };
            let Entry { name, attrs, links } = &entry;
            let (mut owner, mut group) = ("", "");
            let ids = attrs.owner.filter(|_| self.named);
            let owned;
            if let Some(ids) = ids {
                owned = names.user(ids.uid).to_owned();
                (owner, group) = (&owned, names.group(ids.gid));
            }
            let line = LongName { name, attrs, links: *links, owner, group, now }.to_bytes();
            if !out.push(name, &line, attrs) {
                self.held = Some(entry);
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> Result<Option<Entry>, Errno> {
        while let Some(entry) = self.dir.read() {
            let entry = entry?;
            let name = entry.file_name();
            let looked = if self.top && name.to_bytes() == b".." { c"." } else { name };
            #[allow(clippy::unnecessary_cast, reason = "its type differs from system to system")]
            let (attrs, links) = match statat(self.dir.fd()?, looked, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => (attrs_of(&stat), stat.st_nlink as u64),
                // It was removed in between.
                Err(Errno::NOENT) => continue,
                Err(_) => (Attrs::new(), 0),
            };
            return Ok(Some(Entry { name: name.to_bytes().to_vec(), attrs, links }));
        }
        Ok(None)
    }
}
