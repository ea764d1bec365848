use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use alloc::vec::Vec;

/// A path on the server: bytes, whatever they are given as. Relative ones start at
/// [`Remote::current_dir`](super::Remote::current_dir), or where the server starts.
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
}

#[cfg(feature = "std")]
remote_path! {
    std::ffi::OsStr => self self.as_encoded_bytes(),
    std::ffi::OsString => self self.as_encoded_bytes(),
    std::path::Path => self self.as_os_str().as_encoded_bytes(),
    std::path::PathBuf => self self.as_os_str().as_encoded_bytes(),
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
    let slash: &[u8] = if name.is_empty() || dir.ends_with(b"/") { b"" } else { b"/" };
    [dir, slash, name].concat()
}

/// The directory that a path is in, empty if it names none, and its last component.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |i| i.saturating_add(1));
    let path = path.get(..end).unwrap_or_default();
    let parts = path.iter().rposition(|b| *b == b'/').and_then(|at| path.split_at_checked(at));
    match parts {
        Some((dir, name)) => (if dir.is_empty() { b"/" } else { dir }, name.get(1..).unwrap_or_default()),
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
