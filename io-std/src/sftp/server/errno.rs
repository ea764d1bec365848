//! What the system says, in the protocol's words.

use konko_core::sftp::{Status, StatusCode};
use rustix::io::Errno;

/// Why a request fails.
#[derive(Debug)]
pub(super) enum No {
    System(Errno),
    Said(Status),
}

impl From<Errno> for No {
    fn from(errno: Errno) -> Self {
        No::System(errno)
    }
}

impl From<StatusCode> for No {
    fn from(code: StatusCode) -> Self {
        No::Said(code.into())
    }
}

pub(super) type Result<T> = std::result::Result<T, No>;

pub(super) fn no<T>(text: &'static str) -> Result<T> {
    Err(No::Said(Status::with_message(StatusCode::FAILURE, text)))
}

impl No {
    /// What the client hears: nothing about this machine (S-11).
    pub(super) fn status(self) -> Status {
        let errno = match self {
            No::Said(status) => return status,
            No::System(errno) => errno,
        };
        let (code, text) = match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => (StatusCode::NO_SUCH_FILE, ""),
            Errno::PERM | Errno::ACCESS => (StatusCode::PERMISSION_DENIED, ""),
            Errno::ROFS => (StatusCode::PERMISSION_DENIED, "the file system is read-only"),
            Errno::NOSYS | Errno::OPNOTSUPP => (StatusCode::OP_UNSUPPORTED, ""),
            Errno::EXIST => (StatusCode::FAILURE, "file exists"),
            Errno::NOTEMPTY => (StatusCode::FAILURE, "directory not empty"),
            Errno::ISDIR => (StatusCode::FAILURE, "is a directory"),
            Errno::NAMETOOLONG => (StatusCode::FAILURE, "the name is too long"),
            Errno::NOSPC => (StatusCode::FAILURE, "no space left on device"),
            Errno::DQUOT => (StatusCode::FAILURE, "disk quota exceeded"),
            Errno::FBIG => (StatusCode::FAILURE, "the file would be too large"),
            Errno::XDEV => (StatusCode::FAILURE, "on another file system"),
            Errno::BUSY | Errno::TXTBSY => (StatusCode::FAILURE, "in use"),
            Errno::MFILE | Errno::NFILE => (StatusCode::FAILURE, "too many files are open"),
            Errno::IO => (StatusCode::FAILURE, "input/output error"),
            _ => (StatusCode::FAILURE, ""),
        };
        Status::with_message(code, text)
    }
}

/// Does something, and says in the protocol's words why not.
pub(super) fn told<T>(act: impl FnOnce() -> Result<T>) -> std::result::Result<T, Status> {
    act().map_err(No::status)
}
