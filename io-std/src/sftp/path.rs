use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A path on the server: bytes, whatever they are given as. Relative ones start at
/// [`Sftp::current_dir`](super::Sftp::current_dir), or where the server starts.
pub trait RemotePath {
    /// The bytes.
    fn as_remote(&self) -> &[u8];
}

macro_rules! remote_path {
    ($($type:ty => $self:ident $bytes:expr),* $(,)?) => {
        $(impl RemotePath for $type {
            fn as_remote(&$self) -> &[u8] {
                $bytes
            }
        })*
    };
}

remote_path! {
    str => self self.as_bytes(),
    String => self self.as_bytes(),
    [u8] => self self,
    Vec<u8> => self self,
    OsStr => self self.as_bytes(),
    OsString => self self.as_os_str().as_bytes(),
    Path => self self.as_os_str().as_bytes(),
    PathBuf => self self.as_os_str().as_bytes(),
}

impl<const N: usize> RemotePath for [u8; N] {
    fn as_remote(&self) -> &[u8] {
        self
    }
}

impl<T: RemotePath + ToOwned + ?Sized> RemotePath for Cow<'_, T> {
    fn as_remote(&self) -> &[u8] {
        (**self).as_remote()
    }
}

impl<T: RemotePath + ?Sized> RemotePath for &T {
    fn as_remote(&self) -> &[u8] {
        (**self).as_remote()
    }
}

/// `name` in the directory `dir`; `name` alone if it is absolute or `dir` is empty.
pub(crate) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() || name.first() == Some(&b'/') {
        return name.to_vec();
    }
    if name.is_empty() {
        return dir.to_vec();
    }
    let mut path = Vec::with_capacity(dir.len() + 1 + name.len());
    path.extend_from_slice(dir);
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// The directory that a path is in, empty if it names none, and its last component.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |i| i + 1);
    let path = &path[..end];
    match path.iter().rposition(|b| *b == b'/') {
        Some(0) => (b"/", &path[1..]),
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_and_split() {
        assert_eq!(join(b"/a", b"b"), b"/a/b");
        assert_eq!(join(b"/", b"b"), b"/b");
        assert_eq!(join(b"a", b"/b"), b"/b");
        assert_eq!(join(b"", b"b"), b"b");
        assert_eq!(join(b"a", b""), b"a");
        assert_eq!(split(b"/a/b//"), (&b"/a"[..], &b"b"[..]));
        assert_eq!(split(b"/a"), (&b"/"[..], &b"a"[..]));
        assert_eq!(split(b"a"), (&b""[..], &b"a"[..]));
        assert_eq!(split(b"/"), (&b""[..], &b""[..]));
    }
}
