//! Something in the file system, held so that no name is looked up a second time.

use rustix::fs::{AtFlags, Gid, Mode, RawMode, Stat, StatVfs, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use konko_core::sftp::{Owner, Times};

use super::resolve::Result;

pub(super) fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode((bits & 0o7777) as RawMode)
}

/// Whether this process is in the group of something, or need not be.
pub(super) fn is_of_our_group(stat: &Stat) -> bool {
    let group = Gid::from_raw(stat.st_gid);
    rustix::process::geteuid().is_root()
        || rustix::process::getegid() == group
        || rustix::process::getgroups().is_ok_and(|groups| groups.contains(&group))
}

pub(super) fn timestamps(times: Times) -> Timestamps {
    let at = |seconds: u32| Timespec { tv_sec: seconds.into(), tv_nsec: 0 };
    Timestamps { last_access: at(times.accessed), last_modification: at(times.modified) }
}

/// -1 would mean "as it was".
pub(super) fn owner(owner: Owner) -> Result<(Option<Uid>, Option<Gid>)> {
    if owner.uid == u32::MAX || owner.gid == u32::MAX {
        return Err(Errno::INVAL);
    }
    Ok((Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid))))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) use by_path::Object;

/// Through a descriptor opened with `O_PATH`.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod by_path {
    use std::os::fd::{AsRawFd, OwnedFd};

    use super::*;

    #[derive(Debug)]
    pub(in super::super) struct Object(OwnedFd);

    impl Object {
        pub(in super::super) fn new(fd: OwnedFd) -> Self {
            Object(fd)
        }

        pub(in super::super) fn stat(&self) -> Result<Stat> {
            rustix::fs::fstat(&self.0)
        }

        pub(in super::super) fn statvfs(&self) -> Result<StatVfs> {
            rustix::fs::fstatvfs(&self.0)
        }

        pub(in super::super) fn chown(&self, to: Owner) -> Result<()> {
            let (uid, gid) = owner(to)?;
            rustix::fs::chownat(&self.0, "", uid, gid, AtFlags::EMPTY_PATH)
        }

        pub(in super::super) fn set_times(&self, times: Times) -> Result<()> {
            let times = timestamps(times);
            match rustix::fs::utimensat(&self.0, "", &times, AtFlags::EMPTY_PATH) {
                // Before Linux 5.8.
                Err(Errno::INVAL) => {
                    rustix::fs::utimensat(rustix::fs::CWD, self.proc(), &times, AtFlags::empty())
                }
                done => done,
            }
        }

        /// fchmod(2) takes no such descriptor, and fchmodat2(2) is as new as Linux 6.6.
        pub(in super::super) fn chmod(&self, bits: u32) -> Result<()> {
            if super::super::resolve::kind(&self.stat()?) == rustix::fs::FileType::Symlink {
                return Err(Errno::OPNOTSUPP);
            }
            rustix::fs::chmodat(rustix::fs::CWD, self.proc(), mode(bits), AtFlags::empty())
        }

        /// A link that the kernel follows to this very object.
        fn proc(&self) -> String {
            format!("/proc/self/fd/{}", self.0.as_raw_fd())
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) use by_name::Object;

/// Through its directory and its name, which is never followed.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod by_name {
    use std::ffi::CString;
    use std::os::fd::OwnedFd;

    use rustix::fs::OFlags;

    use super::*;

    #[derive(Debug)]
    pub(in super::super) struct Object {
        dir: OwnedFd,
        name: CString,
    }

    impl Object {
        pub(in super::super) fn new(dir: OwnedFd, name: CString) -> Self {
            Object { dir, name }
        }

        pub(in super::super) fn stat(&self) -> Result<Stat> {
            rustix::fs::statat(&self.dir, &self.name, AtFlags::SYMLINK_NOFOLLOW)
        }

        pub(in super::super) fn statvfs(&self) -> Result<StatVfs> {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
            rustix::fs::fstatvfs(rustix::fs::openat(&self.dir, &self.name, flags, Mode::empty())?)
        }

        pub(in super::super) fn chown(&self, to: Owner) -> Result<()> {
            let (uid, gid) = owner(to)?;
            rustix::fs::chownat(&self.dir, &self.name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
        }

        pub(in super::super) fn set_times(&self, times: Times) -> Result<()> {
            rustix::fs::utimensat(&self.dir, &self.name, &timestamps(times), AtFlags::SYMLINK_NOFOLLOW)
        }

        pub(in super::super) fn chmod(&self, bits: u32) -> Result<()> {
            rustix::fs::chmodat(&self.dir, &self.name, mode(bits), AtFlags::SYMLINK_NOFOLLOW)
        }
    }
}
