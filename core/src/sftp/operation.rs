//! Every request in one table: its number or extension, its name, what it may change, what answers it.

use core::fmt;

/// What a client can ask for. Names are those of OpenSSH's `sftp-server -Q requests`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// SSH_FXP_OPEN
    Open,
    /// SSH_FXP_CLOSE
    Close,
    /// SSH_FXP_READ
    Read,
    /// SSH_FXP_WRITE
    Write,
    /// SSH_FXP_LSTAT
    Lstat,
    /// SSH_FXP_FSTAT
    Fstat,
    /// SSH_FXP_SETSTAT
    Setstat,
    /// SSH_FXP_FSETSTAT
    Fsetstat,
    /// SSH_FXP_OPENDIR
    Opendir,
    /// SSH_FXP_READDIR
    Readdir,
    /// SSH_FXP_REMOVE
    Remove,
    /// SSH_FXP_MKDIR
    Mkdir,
    /// SSH_FXP_RMDIR
    Rmdir,
    /// SSH_FXP_REALPATH
    Realpath,
    /// SSH_FXP_STAT
    Stat,
    /// SSH_FXP_RENAME
    Rename,
    /// SSH_FXP_READLINK
    Readlink,
    /// SSH_FXP_SYMLINK
    Symlink,
    /// posix-rename@openssh.com
    PosixRename,
    /// statvfs@openssh.com
    Statvfs,
    /// fstatvfs@openssh.com
    Fstatvfs,
    /// hardlink@openssh.com
    Hardlink,
    /// fsync@openssh.com
    Fsync,
    /// lsetstat@openssh.com
    Lsetstat,
    /// limits@openssh.com
    Limits,
    /// expand-path@openssh.com
    ExpandPath,
    /// copy-data
    CopyData,
    /// home-directory
    HomeDirectory,
    /// users-groups-by-id@openssh.com
    UsersGroupsById,
    /// check-file-handle
    CheckFileHandle,
    /// check-file-name
    CheckFileName,
    /// An extension that this table does not have.
    Extended,
}

/// The extensions of the table: those operations that travel as SSH_FXP_EXTENDED.
///
/// OpenSSH PROTOCOL §4; check-file is draft-ietf-secsh-filexfer-extensions-00 §3, copy-data §7,
/// home-directory §5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Extension {
    /// posix-rename@openssh.com: rename that replaces its target.
    PosixRename,
    /// statvfs@openssh.com: figures of a file system, by path.
    Statvfs,
    /// fstatvfs@openssh.com: the same by handle.
    Fstatvfs,
    /// hardlink@openssh.com
    Hardlink,
    /// fsync@openssh.com
    Fsync,
    /// lsetstat@openssh.com: SETSTAT that does not follow symbolic links.
    Lsetstat,
    /// limits@openssh.com
    Limits,
    /// expand-path@openssh.com: REALPATH that knows `~` and `~user`.
    ExpandPath,
    /// copy-data: copies between two open files, on the server.
    CopyData,
    /// home-directory
    HomeDirectory,
    /// users-groups-by-id@openssh.com
    UsersGroupsById,
    /// check-file: hashes of a file, by handle or name.
    CheckFile,
}

/// How a request travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Number(u8),
    Extended(&'static str),
}

/// What may answer a request; STATUS always may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Status,
    Handle,
    Data,
    Names,
    /// A NAME with exactly one entry.
    Path,
    Attrs,
    Extended,
}

pub(crate) struct Row {
    pub(crate) op: Operation,
    pub(crate) name: &'static str,
    pub(crate) wire: Wire,
    /// Refused in read-only mode. OPEN is judged by its flags.
    pub(crate) writes: bool,
    pub(crate) answer: Answer,
}

const fn row(op: Operation, name: &'static str, number: u8, writes: bool, answer: Answer) -> Row {
    Row { op, name, wire: Wire::Number(number), writes, answer }
}

const fn ext(op: Operation, name: &'static str, wire: &'static str, writes: bool, answer: Answer) -> Row {
    Row { op, name, wire: Wire::Extended(wire), writes, answer }
}

/// In the order of [`Operation`].
#[rustfmt::skip]
pub(crate) const TABLE: [Row; 31] = [
    row(Operation::Open,     "open",     3,  false, Answer::Handle),
    row(Operation::Close,    "close",    4,  false, Answer::Status),
    row(Operation::Read,     "read",     5,  false, Answer::Data),
    row(Operation::Write,    "write",    6,  true,  Answer::Status),
    row(Operation::Lstat,    "lstat",    7,  false, Answer::Attrs),
    row(Operation::Fstat,    "fstat",    8,  false, Answer::Attrs),
    row(Operation::Setstat,  "setstat",  9,  true,  Answer::Status),
    row(Operation::Fsetstat, "fsetstat", 10, true,  Answer::Status),
    row(Operation::Opendir,  "opendir",  11, false, Answer::Handle),
    row(Operation::Readdir,  "readdir",  12, false, Answer::Names),
    row(Operation::Remove,   "remove",   13, true,  Answer::Status),
    row(Operation::Mkdir,    "mkdir",    14, true,  Answer::Status),
    row(Operation::Rmdir,    "rmdir",    15, true,  Answer::Status),
    row(Operation::Realpath, "realpath", 16, false, Answer::Path),
    row(Operation::Stat,     "stat",     17, false, Answer::Attrs),
    row(Operation::Rename,   "rename",   18, true,  Answer::Status),
    row(Operation::Readlink, "readlink", 19, false, Answer::Path),
    row(Operation::Symlink,  "symlink",  20, true,  Answer::Status),
    ext(Operation::PosixRename, "posix-rename", "posix-rename@openssh.com", true,  Answer::Status),
    ext(Operation::Statvfs,     "statvfs",      "statvfs@openssh.com",      false, Answer::Extended),
    ext(Operation::Fstatvfs,    "fstatvfs",     "fstatvfs@openssh.com",     false, Answer::Extended),
    ext(Operation::Hardlink,    "hardlink",     "hardlink@openssh.com",     true,  Answer::Status),
    ext(Operation::Fsync,       "fsync",        "fsync@openssh.com",        true,  Answer::Status),
    ext(Operation::Lsetstat,    "lsetstat",     "lsetstat@openssh.com",     true,  Answer::Status),
    ext(Operation::Limits,      "limits",       "limits@openssh.com",       false, Answer::Extended),
    ext(Operation::ExpandPath,  "expand-path",  "expand-path@openssh.com",  false, Answer::Path),
    ext(Operation::CopyData,    "copy-data",    "copy-data",                true,  Answer::Status),
    ext(Operation::HomeDirectory, "home-directory", "home-directory",       false, Answer::Path),
    ext(Operation::UsersGroupsById, "users-groups-by-id", "users-groups-by-id@openssh.com", false, Answer::Extended),
    ext(Operation::CheckFileHandle, "check-file-handle", "check-file-handle", false, Answer::Extended),
    ext(Operation::CheckFileName,   "check-file-name",   "check-file-name",   false, Answer::Extended),
];

impl Operation {
    /// Every operation of the table.
    pub fn all() -> impl Iterator<Item = Operation> {
        TABLE.iter().map(|r| r.op)
    }

    fn row(self) -> Option<&'static Row> {
        TABLE.get(self as usize)
    }

    /// Its name in the request lists of `sftp-server -P` and `-p`.
    pub fn name(self) -> &'static str {
        self.row().map_or("extended", |r| r.name)
    }

    /// The operation of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|r| r.name == name).map(|r| r.op)
    }

    /// Whether it changes anything, and so is refused in read-only mode. OPEN depends on its flags.
    pub fn writes(self) -> bool {
        self.row().is_none_or(|r| r.writes)
    }

    pub(crate) fn wire(self) -> Option<Wire> {
        self.row().map(|r| r.wire)
    }

    pub(crate) fn answer(self) -> Answer {
        self.row().map_or(Answer::Extended, |r| r.answer)
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        TABLE.iter().find(|r| r.wire == Wire::Number(number)).map(|r| r.op)
    }

    pub(crate) fn from_extension(name: &[u8]) -> Option<Self> {
        // Paramiko's server and client call it by its bare name.
        if name == b"check-file" {
            return Some(Self::CheckFileHandle);
        }
        let of = |r: &&Row| matches!(r.wire, Wire::Extended(n) if n.as_bytes() == name);
        TABLE.iter().find(of).map(|r| r.op)
    }

    /// The extension that has to be announced for it.
    pub fn extension(self) -> Option<Extension> {
        Extension::ALL.iter().map(|(e, _, _)| *e).find(|e| e.operations().contains(&self))
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Extension {
    /// With the name and the version that are announced (OpenSSH `sftp-server.c`).
    pub(crate) const ALL: [(Extension, &'static str, &'static str); 12] = [
        (Self::PosixRename, "posix-rename@openssh.com", "1"),
        (Self::Statvfs, "statvfs@openssh.com", "2"),
        (Self::Fstatvfs, "fstatvfs@openssh.com", "2"),
        (Self::Hardlink, "hardlink@openssh.com", "1"),
        (Self::Fsync, "fsync@openssh.com", "1"),
        (Self::Lsetstat, "lsetstat@openssh.com", "1"),
        (Self::Limits, "limits@openssh.com", "1"),
        (Self::ExpandPath, "expand-path@openssh.com", "1"),
        (Self::CopyData, "copy-data", "1"),
        (Self::HomeDirectory, "home-directory", "1"),
        (Self::UsersGroupsById, "users-groups-by-id@openssh.com", "1"),
        (Self::CheckFile, "check-file", "1"),
    ];

    /// Every extension.
    pub fn all() -> impl Iterator<Item = Extension> {
        Self::ALL.iter().map(|(e, _, _)| *e)
    }

    /// Its name in VERSION.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(e, _, _)| *e == self).map_or("", |(_, n, _)| n)
    }

    /// The requests it stands for.
    pub(crate) fn operations(self) -> &'static [Operation] {
        match self {
            Self::PosixRename => &[Operation::PosixRename],
            Self::Statvfs => &[Operation::Statvfs],
            Self::Fstatvfs => &[Operation::Fstatvfs],
            Self::Hardlink => &[Operation::Hardlink],
            Self::Fsync => &[Operation::Fsync],
            Self::Lsetstat => &[Operation::Lsetstat],
            Self::Limits => &[Operation::Limits],
            Self::ExpandPath => &[Operation::ExpandPath],
            Self::CopyData => &[Operation::CopyData],
            Self::HomeDirectory => &[Operation::HomeDirectory],
            Self::UsersGroupsById => &[Operation::UsersGroupsById],
            Self::CheckFile => &[Operation::CheckFileHandle, Operation::CheckFileName],
        }
    }

    fn from_name(name: &[u8]) -> Option<Self> {
        // Announced by those that follow the draft to the letter.
        if name == b"check-file-handle" || name == b"check-file-name" {
            return Some(Self::CheckFile);
        }
        Self::ALL.iter().find(|(_, n, _)| n.as_bytes() == name).map(|(e, _, _)| *e)
    }
}

/// A set of extensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionSet(u32);

impl ExtensionSet {
    /// None.
    pub const EMPTY: Self = Self(0);

    /// All that konko knows.
    pub fn all() -> Self {
        Extension::all().fold(Self::EMPTY, Self::with)
    }

    /// With one more.
    pub fn with(self, extension: Extension) -> Self {
        Self(self.0 | 1 << extension as u32)
    }

    /// With one less.
    pub fn without(self, extension: Extension) -> Self {
        Self(self.0 & !(1 << extension as u32))
    }

    /// With everything of another set.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it is in the set.
    pub fn contains(self, extension: Extension) -> bool {
        self.0 & 1 << extension as u32 != 0
    }

    /// Adds the extension that a server announced by this name and version. A version that konko does
    /// not know is another extension.
    pub(crate) fn announced(&mut self, name: &[u8], data: &[u8]) {
        let Some(extension) = Extension::from_name(name) else { return };
        let known = Extension::ALL.iter().any(|(e, _, v)| *e == extension && v.as_bytes() == data);
        // check-file is announced with its list of hashes, or with nothing.
        if known || extension == Extension::CheckFile {
            *self = self.with(extension);
        }
    }
}

/// A set of operations, for a server's lists of what is allowed and denied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationSet(u64);

impl OperationSet {
    /// None.
    pub const EMPTY: Self = Self(0);
    /// All, also those that are not in the table.
    pub const ALL: Self = Self(u64::MAX);

    /// Those of the table that change nothing; OPEN is one of them, which depends on its flags.
    pub fn reading() -> Self {
        Operation::all().filter(|op| !op.writes()).fold(Self::EMPTY, Self::with)
    }

    /// With one more.
    pub fn with(self, op: Operation) -> Self {
        Self(self.0 | 1 << op as u64)
    }

    /// With one less.
    pub fn without(self, op: Operation) -> Self {
        Self(self.0 & !(1 << op as u64))
    }

    /// With everything of another set.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it is in the set.
    pub fn contains(self, op: Operation) -> bool {
        self.0 & 1 << op as u64 != 0
    }

    /// A comma-separated list of names, as `sftp-server -P` and `-p` take it; `Err` is the name that
    /// is not one.
    ///
    /// # Errors
    /// The first name that is no operation.
    pub fn parse(list: &str) -> Result<Self, &str> {
        list.split(',')
            .map(str::trim)
            .filter(|n| !n.is_empty())
            .try_fold(Self::EMPTY, |set, name| Operation::from_name(name).map(|op| set.with(op)).ok_or(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stands_in_the_order_of_the_operations() {
        for (i, row) in TABLE.iter().enumerate() {
            assert_eq!(row.op as usize, i);
            assert_eq!(Operation::from_name(row.name), Some(row.op));
            match row.wire {
                Wire::Number(n) => assert_eq!(Operation::from_number(n), Some(row.op)),
                Wire::Extended(name) => {
                    assert_eq!(Operation::from_extension(name.as_bytes()), Some(row.op));
                    assert!(row.op.extension().is_some(), "{name} belongs to an extension");
                }
            }
        }
        assert_eq!(TABLE.len(), Operation::Extended as usize);
        for (i, (e, _, _)) in Extension::ALL.iter().enumerate() {
            assert_eq!(*e as usize, i);
        }
    }

    #[test]
    fn request_lists_as_sftp_server_takes_them() {
        let set = OperationSet::parse("read, write,posix-rename").unwrap();
        assert!(set.contains(Operation::Read) && set.contains(Operation::PosixRename));
        assert!(!set.contains(Operation::Open));
        assert_eq!(OperationSet::parse("read,frobnicate"), Err("frobnicate"));
    }
}
