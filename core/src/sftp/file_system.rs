//! File systems with one method an operation: what a [`Backend`](super::Backend) needs besides is made here.
//!
//! A [`Session`] keeps the handles and directories of one client, asks its [`Layer`]s, calls a [`FileSystem`] and
//! answers. Bindings that call it on several threads take the requests apart into [`Task`]s, which a [`Queue`]
//! keeps in the order that the protocol wants.

mod layer;
mod layers;
mod order;
mod session;
mod task;

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::ops::Deref;

use super::attrs::Attrs;
use super::client::OpenFlags;
use super::extension::{CheckFile, FileHash, StatVfs};
use super::status::{Status, StatusCode};

pub use layer::{Access, Done, Layer, Rules};
pub use layers::{Audit, AuditLine, Judge, Quota, Witness};
pub use order::Queue;
pub use session::{OpenFiles, Session};
pub use task::{Finished, Task};

type Result<T> = core::result::Result<T, Status>;

/// A path of a client, as a [`FileSystem`] gets it: bytes without NUL.
///
/// Unless the file system [resolves](FileSystem::RESOLVES) paths itself it is [normal](normalize): absolute, with no
/// `.`, `..`, empty name or slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'p> {
    bytes: Cow<'p, [u8]>,
    judged: bool,
}

impl<'p> Target<'p> {
    /// A path as it is.
    pub fn new(bytes: impl Into<Cow<'p, [u8]>>) -> Self {
        Target { bytes: bytes.into(), judged: false }
    }

    /// One that [`FileSystem::canonical`] made, and that a [`Layer`] has admitted.
    pub fn judged(bytes: impl Into<Cow<'p, [u8]>>) -> Self {
        Target { bytes: bytes.into(), judged: true }
    }

    /// Whether it was free of links when it was admitted: a link on it now would lead elsewhere, and is an error.
    pub fn is_judged(&self) -> bool {
        self.judged
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Deref for Target<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A path in normal form: absolute, with no `.`, `..`, empty name or slash at the end. Relative ones start in
/// `start`; `..` at the root stays there. Links are not looked at.
pub fn normalize(start: &[u8], path: &[u8]) -> Vec<u8> {
    let from = if path.first() == Some(&b'/') { &[][..] } else { start };
    let mut out = Vec::with_capacity(from.len().saturating_add(path.len()).saturating_add(2));
    for name in from.split(|b| *b == b'/').chain(path.split(|b| *b == b'/')) {
        match name {
            b"" | b"." => {}
            b".." => out.truncate(out.iter().rposition(|b| *b == b'/').unwrap_or(0)),
            name => {
                out.push(b'/');
                out.extend_from_slice(name);
            }
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

/// An entry of a directory. Its line in a listing is made from this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirItem {
    pub(crate) name: Vec<u8>,
    pub(crate) attrs: Attrs,
    pub(crate) links: u64,
    pub(crate) owner: Vec<u8>,
    pub(crate) group: Vec<u8>,
}

impl DirItem {
    /// An entry with one hard link, whose owner and group are shown as numbers.
    pub fn new(name: impl Into<Vec<u8>>, attrs: Attrs) -> Self {
        DirItem { name: name.into(), attrs, links: 1, ..Self::default() }
    }

    /// With so many hard links.
    #[must_use]
    pub fn with_links(mut self, links: u64) -> Self {
        self.links = links;
        self
    }

    /// With the names of its owner and group; empty: numbers are shown.
    #[must_use]
    pub fn with_owner(mut self, owner: impl Into<Vec<u8>>, group: impl Into<Vec<u8>>) -> Self {
        (self.owner, self.group) = (owner.into(), group.into());
        self
    }
}

/// What copy-data copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyRange {
    /// Where to read.
    pub from: u64,
    /// How much; 0 is everything to the end.
    pub len: u64,
    /// Where to write.
    pub to: u64,
}

fn unsupported<T>() -> Result<T> {
    Err(StatusCode::OP_UNSUPPORTED.into())
}

/// A file system, with one method an operation. Each says OP_UNSUPPORTED, or something sensible, until it is written.
///
/// Flags were checked, handles are open and of the right kind, modes are without what [`ServerConfig`] masks, and
/// what it denies does not come here. Statuses go to the client: no paths of the host (S-11), no secrets.
///
/// A [`Session`] calls it on the thread that serves; where it is `Sync`, bindings can call it on many at once. Then
/// calls about one file come in the client's order, except reads and writes of parts that are apart.
///
/// [`ServerConfig`]: super::ServerConfig
#[allow(unused_variables, reason = "names are documentation")]
pub trait FileSystem {
    /// An open file. Dropped after [`close`](Self::close), or when the session ends.
    type File;
    /// An open directory: yields its entries, `.` and `..` among them if it has them. An error ends the request
    /// that meets it; the next one goes on.
    type Dir: Iterator<Item = Result<DirItem>>;

    /// Whether paths come as the client wrote them, since this resolves `..` and links itself. Otherwise they are
    /// [normal](normalize).
    const RESOLVES: bool = false;

    /// Where relative paths start: absolute.
    fn start(&self) -> &[u8] {
        b"/"
    }

    /// The absolute form of a path without `.`, `..` and links (the last name is looked up only if `follow`, and need
    /// not exist): REALPATH, and what a [`Layer`] judges. By default [`normalize`].
    ///
    /// # Errors
    /// What the client is told.
    fn canonical(&self, path: &[u8], follow: bool) -> Result<Vec<u8>> {
        Ok(normalize(self.start(), path))
    }

    /// The home directory of a user; of the one who is logged in if `user` is empty, which is
    /// [`start`](Self::start) by default. `~` in expand-path@openssh.com is this too.
    ///
    /// # Errors
    /// What the client is told.
    fn home(&self, user: &[u8]) -> Result<Vec<u8>> {
        if user.is_empty() { Ok(self.start().to_vec()) } else { Err(StatusCode::NO_SUCH_FILE.into()) }
    }

    /// Seconds since 1970 UTC, by which listings tell recent files; 0: none is recent.
    fn now(&self) -> u64 {
        0
    }

    /// Opens a file, or makes it: `attrs` are for a new one.
    ///
    /// # Errors
    /// What the client is told.
    fn open(&self, path: &Target<'_>, flags: OpenFlags, attrs: &Attrs) -> Result<Self::File> {
        unsupported()
    }

    /// Reads into `room`; how many bytes, 0 at the end of the file. Less than there is room for makes some clients
    /// believe that the file ends.
    ///
    /// # Errors
    /// What the client is told.
    fn read(&self, file: &Self::File, offset: u64, room: &mut [u8]) -> Result<usize> {
        unsupported()
    }

    /// Writes all of it; at the end if the file was opened with [`OpenFlags::APPEND`].
    ///
    /// # Errors
    /// What the client is told.
    fn write(&self, file: &Self::File, offset: u64, data: &[u8]) -> Result<()> {
        unsupported()
    }

    /// Closes a file: the last chance to say that something was not written (S-31).
    ///
    /// # Errors
    /// What the client is told.
    fn close(&self, file: Self::File) -> Result<()> {
        Ok(())
    }

    /// Attributes, following a link.
    ///
    /// # Errors
    /// What the client is told.
    fn stat(&self, path: &Target<'_>) -> Result<Attrs> {
        unsupported()
    }

    /// Attributes, of a link itself.
    ///
    /// # Errors
    /// What the client is told.
    fn lstat(&self, path: &Target<'_>) -> Result<Attrs> {
        self.stat(path)
    }

    /// Attributes of an open file.
    ///
    /// # Errors
    /// What the client is told.
    fn fstat(&self, file: &Self::File) -> Result<Attrs> {
        unsupported()
    }

    /// Changes what is set in `attrs`.
    ///
    /// # Errors
    /// What the client is told.
    fn setstat(&self, path: &Target<'_>, attrs: &Attrs) -> Result<()> {
        unsupported()
    }

    /// The same, of a link itself.
    ///
    /// # Errors
    /// What the client is told.
    fn lsetstat(&self, path: &Target<'_>, attrs: &Attrs) -> Result<()> {
        unsupported()
    }

    /// The same, of an open file.
    ///
    /// # Errors
    /// What the client is told.
    fn fsetstat(&self, file: &Self::File, attrs: &Attrs) -> Result<()> {
        unsupported()
    }

    /// Opens a directory.
    ///
    /// # Errors
    /// What the client is told.
    fn opendir(&self, path: &Target<'_>) -> Result<Self::Dir> {
        unsupported()
    }

    /// Removes a file or a link.
    ///
    /// # Errors
    /// What the client is told.
    fn remove(&self, path: &Target<'_>) -> Result<()> {
        unsupported()
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// What the client is told.
    fn mkdir(&self, path: &Target<'_>, attrs: &Attrs) -> Result<()> {
        unsupported()
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// What the client is told.
    fn rmdir(&self, path: &Target<'_>) -> Result<()> {
        unsupported()
    }

    /// Renames, not over something that exists (S-30).
    ///
    /// # Errors
    /// What the client is told.
    fn rename(&self, from: &Target<'_>, to: &Target<'_>) -> Result<()> {
        unsupported()
    }

    /// Renames, over whatever is there.
    ///
    /// # Errors
    /// What the client is told.
    fn posix_rename(&self, from: &Target<'_>, to: &Target<'_>) -> Result<()> {
        unsupported()
    }

    /// What a link says.
    ///
    /// # Errors
    /// What the client is told.
    fn readlink(&self, path: &Target<'_>) -> Result<Vec<u8>> {
        unsupported()
    }

    /// Makes a symbolic link that says `text`.
    ///
    /// # Errors
    /// What the client is told.
    fn symlink(&self, text: &[u8], link: &Target<'_>) -> Result<()> {
        unsupported()
    }

    /// Gives a file another name.
    ///
    /// # Errors
    /// What the client is told.
    fn hardlink(&self, existing: &Target<'_>, link: &Target<'_>) -> Result<()> {
        unsupported()
    }

    /// Figures of the file system that a path is on.
    ///
    /// # Errors
    /// What the client is told.
    fn statvfs(&self, path: &Target<'_>) -> Result<StatVfs> {
        unsupported()
    }

    /// The same of an open file.
    ///
    /// # Errors
    /// What the client is told.
    fn fstatvfs(&self, file: &Self::File) -> Result<StatVfs> {
        unsupported()
    }

    /// Puts what was written where it lasts.
    ///
    /// # Errors
    /// What the client is told.
    fn fsync(&self, file: &Self::File) -> Result<()> {
        unsupported()
    }

    /// Copies between two open files, up to where reading ends; how many bytes. Less than `range.len` is EOF to the
    /// client. Where both are one file, ranges must not overlap (S-16).
    ///
    /// # Errors
    /// What the client is told.
    fn copy_data(&self, from: &Self::File, to: &Self::File, range: CopyRange) -> Result<u64> {
        unsupported()
    }

    /// Hashes of an open file, by [`CheckFile::hash`].
    ///
    /// # Errors
    /// What the client is told.
    fn check_file(&self, file: &Self::File, check: &CheckFile<'_>) -> Result<FileHash> {
        unsupported()
    }

    /// The name of a user, if there is one.
    fn user_name(&self, uid: u32) -> Option<Vec<u8>> {
        None
    }

    /// The name of a group, if there is one.
    fn group_name(&self, gid: u32) -> Option<Vec<u8>> {
        None
    }

    /// An extension that konko does not know: what stands behind the request's number in the reply.
    ///
    /// # Errors
    /// What the client is told.
    fn extended(&self, name: &[u8], fields: &[u8]) -> Result<Vec<u8>> {
        unsupported()
    }
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn paths_in_normal_form() {
        for (path, normal) in [
            ("", "/home/alice"),
            (".", "/home/alice"),
            ("a//b/", "/home/alice/a/b"),
            ("../bob/./x", "/home/bob/x"),
            ("../../../../etc", "/etc"),
            ("/", "/"),
            ("/..", "/"),
            ("/a/../../b", "/b"),
            ("//a", "/a"),
            ("/...", "/..."),
        ] {
            assert_eq!(normalize(b"/home/alice", path.as_bytes()), normal.as_bytes(), "{path}");
        }
    }
}
