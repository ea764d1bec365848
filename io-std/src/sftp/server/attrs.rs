//! What the system says about files, in the protocol's words.

use konko_core::sftp::{Attrs, StatVfs};
use rustix::fs::{Stat, StatVfsMountFlags};

/// Times of version 3 are unsigned and 32 bits wide: what they cannot say is cut to what they can.
fn seconds(time: i64) -> u32 {
    u32::try_from(time.max(0)).unwrap_or(u32::MAX)
}

#[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "types differ from system to system")]
pub(super) fn attrs_of(stat: &Stat) -> Attrs {
    Attrs::new()
        .with_size(stat.st_size as u64)
        .with_owner(stat.st_uid, stat.st_gid)
        .with_permissions(u32::from(stat.st_mode))
        .with_times(seconds(stat.st_atime as i64), seconds(stat.st_mtime as i64))
}

pub(super) fn figures(stat: &rustix::fs::StatVfs) -> StatVfs {
    let flag = |set, flag| if stat.f_flag.contains(set) { flag } else { 0 };
    StatVfs {
        block_size: stat.f_bsize,
        fragment_size: stat.f_frsize,
        blocks: stat.f_blocks,
        blocks_free: stat.f_bfree,
        blocks_available: stat.f_bavail,
        files: stat.f_files,
        files_free: stat.f_ffree,
        files_available: stat.f_favail,
        id: stat.f_fsid,
        flags: flag(StatVfsMountFlags::RDONLY, StatVfs::READ_ONLY)
            | flag(StatVfsMountFlags::NOSUID, StatVfs::NO_SETUID),
        name_max: stat.f_namemax,
    }
}
