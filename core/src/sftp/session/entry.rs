//! Files as a listing shows them.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::sftp::{self, Attrs, FileType};
use crate::wire::SshStr;

/// Attributes of a remote file, in the words of the standard library. What the server did not send is
/// `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(pub(crate) Attrs);

impl Metadata {
    /// Bytes; 0 if the server did not say.
    pub fn len(&self) -> u64 {
        self.0.size.unwrap_or(0)
    }

    /// Whether the size is known and 0.
    pub fn is_empty(&self) -> bool {
        self.0.size == Some(0)
    }

    /// Bytes, if the server said.
    pub fn size(&self) -> Option<u64> {
        self.0.size
    }

    /// What kind of file it is, if the server said.
    pub fn file_type(&self) -> Option<FileType> {
        self.0.file_type()
    }

    /// Whether it is known to be a directory.
    pub fn is_dir(&self) -> bool {
        self.0.is_dir()
    }

    /// Whether it is known to be a regular file.
    pub fn is_file(&self) -> bool {
        self.0.is_file()
    }

    /// Whether it is known to be a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.0.is_symlink()
    }

    /// As the protocol has them.
    pub fn attrs(&self) -> &Attrs {
        &self.0
    }

    /// Permission bits, without the type.
    pub fn permissions(&self) -> Option<u32> {
        self.0.permissions.map(|mode| mode & 0o7777)
    }

    /// Numeric user.
    pub fn uid(&self) -> Option<u32> {
        self.0.owner.map(|owner| owner.uid)
    }

    /// Numeric group.
    pub fn gid(&self) -> Option<u32> {
        self.0.owner.map(|owner| owner.gid)
    }

    /// Last modification, since 1970 UTC.
    pub fn modified(&self) -> Option<Duration> {
        self.0.times.map(|times| Duration::from_secs(times.modified.into()))
    }

    /// Last access, since 1970 UTC.
    pub fn accessed(&self) -> Option<Duration> {
        self.0.times.map(|times| Duration::from_secs(times.accessed.into()))
    }
}

/// An entry of a remote directory.
#[derive(Clone, PartialEq, Eq)]
pub struct DirEntry {
    name: Vec<u8>,
    long_name: Vec<u8>,
    metadata: Metadata,
}

impl From<&sftp::Entry<'_>> for DirEntry {
    fn from(entry: &sftp::Entry<'_>) -> Self {
        DirEntry {
            name: entry.name.to_vec(),
            long_name: entry.long_name.as_bytes().to_vec(),
            metadata: Metadata(entry.attrs.clone()),
        }
    }
}

impl DirEntry {
    /// The name: bytes that the server chose. Never use it as a local name before
    /// [`is_safe_name`](crate::sftp::is_safe_name) has said yes.
    pub fn file_name(&self) -> &[u8] {
        &self.name
    }

    /// The line that the server would print for it. For people; escape it before it reaches a terminal.
    pub fn long_name(&self) -> &[u8] {
        &self.long_name
    }

    /// Attributes, of a symbolic link itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Whether it is known to be a directory.
    pub fn is_dir(&self) -> bool {
        self.metadata.is_dir()
    }

    pub(crate) fn is_own(&self) -> bool {
        self.name == b"." || self.name == b".."
    }
}

impl fmt::Debug for DirEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DirEntry({})", SshStr::new(&self.name))
    }
}
