use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use konko_core::sftp::{Attrs, DirItem, Status};
use rustix::fs::{AtFlags, Dir, statat};
use rustix::io::Errno;

use super::attrs::attrs_of;
use super::errno::No;
use super::names::Names;

/// A directory that is being read.
#[derive(Debug)]
pub struct Listing {
    dir: Dir,
    /// It is the root of a jail, whose `..` is nobody's business.
    top: bool,
    /// Names of users and groups, if they are to be shown.
    names: Option<Arc<Mutex<Names>>>,
}

impl Listing {
    pub(super) fn new(fd: OwnedFd, top: bool, names: Option<Arc<Mutex<Names>>>) -> Result<Self, Errno> {
        Ok(Listing { dir: Dir::new(fd)?, top, names })
    }

    fn look_up(&mut self) -> Result<Option<DirItem>, Errno> {
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
            let owner = attrs.owner();
            let entry = DirItem::new(name.to_bytes(), attrs).with_links(links);
            return Ok(Some(match (&self.names, owner) {
                (Some(names), Some(ids)) => {
                    let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
                    let user = names.user(ids.uid).to_owned();
                    entry.with_owner(user, names.group(ids.gid))
                }
                _ => entry,
            }));
        }
        Ok(None)
    }
}

impl Iterator for Listing {
    type Item = Result<DirItem, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        self.look_up().map_err(|errno| No::System(errno).status()).transpose()
    }
}
