use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use konko_core::sftp::transfer::TransferError;
use konko_core::sftp::{self, Extension, Operation, Status, StatusCode, UsageError};
use konko_core::wire::SshStr;

/// Why an SFTP operation failed: which one, on what path, what the server said, and what to do.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    op: &'static str,
    paths: Vec<Vec<u8>>,
    /// Why the session ended under a transfer.
    cause: Option<Error>,
}

/// The kinds of [`Error`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The server refused: its status and its words.
    Refused(Status),
    /// The server does not have the extension that this needs.
    Unsupported(Extension),
    /// A path or an argument that no server can take. The text says what is wrong.
    Invalid(String),
    /// A file did not come over: see there.
    Transfer(TransferError),
    /// The SFTP session ended; with what the server said on standard error.
    Session(sftp::Error, String),
    /// The SSH connection under it failed.
    Ssh(crate::Error),
    /// Reading from or writing to the server's pipes or socket failed.
    Link(Arc<io::Error>),
    /// A local file.
    Local(PathBuf, Arc<io::Error>),
    /// No answer in this time.
    Timeout(Duration),
    /// [`Cancel`](super::Cancel) was used.
    Cancelled,
    /// The server sent a name or a tree that is not followed: it could lead anywhere, or never ends.
    Unsafe(String),
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Error(Box::new(Inner { kind, op: "", paths: Vec::new(), cause: None }))
    }

    pub(crate) fn local(path: impl Into<PathBuf>, error: io::Error) -> Self {
        Self::new(ErrorKind::Local(path.into(), Arc::new(error)))
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid(text.into()))
    }

    pub(crate) fn refused(status: Status) -> Self {
        Self::new(ErrorKind::Refused(status))
    }

    pub(crate) fn usage(error: UsageError) -> Self {
        Self::new(match error {
            UsageError::Unsupported(extension) => ErrorKind::Unsupported(extension),
            other => ErrorKind::Invalid(other.to_string()),
        })
    }

    /// With the operation and its paths, unless they are known.
    #[must_use]
    pub(crate) fn of(mut self, op: &'static str, paths: &[&[u8]]) -> Self {
        if self.0.op.is_empty() {
            self.0.op = op;
            self.0.paths = paths.iter().map(|p| p.to_vec()).collect();
        }
        self
    }

    /// A transfer that ended with its session, and why that did.
    pub(crate) fn lost(error: TransferError, cause: Option<Error>) -> Self {
        let mut lost = Self::new(ErrorKind::Transfer(error));
        lost.0.cause = cause;
        lost
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The operation, such as `open` or `rename`.
    pub fn operation(&self) -> &'static str {
        self.0.op
    }

    /// The first path of the operation, as bytes; empty if it has none.
    pub fn path(&self) -> &[u8] {
        self.0.paths.first().map_or(b"", Vec::as_slice)
    }

    /// The server's status, if it refused.
    pub fn status(&self) -> Option<&Status> {
        match self.kind() {
            ErrorKind::Refused(status) => Some(status),
            ErrorKind::Transfer(TransferError::Remote { status, .. }) => Some(status),
            _ => None,
        }
    }

    /// The server's status code, if it refused.
    pub fn code(&self) -> Option<StatusCode> {
        self.status().map(|status| status.code)
    }

    /// Whether the server said that there is no such file.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(StatusCode::NO_SUCH_FILE)
    }

    /// Whether the server did not say whether there is such a file: it does not tell, or not us.
    pub(crate) fn is_untold(&self) -> bool {
        matches!(self.code(), Some(StatusCode::PERMISSION_DENIED | StatusCode::OP_UNSUPPORTED))
    }

    /// Whether the session is over, so that nothing else will succeed on it.
    pub fn is_fatal(&self) -> bool {
        match self.kind() {
            ErrorKind::Session(..) | ErrorKind::Ssh(_) | ErrorKind::Link(_) => true,
            ErrorKind::Transfer(error) => matches!(error, TransferError::Lost { .. }),
            _ => false,
        }
    }

    fn io_kind(&self) -> io::ErrorKind {
        if let Some(code) = self.code() {
            return match code {
                StatusCode::NO_SUCH_FILE => io::ErrorKind::NotFound,
                StatusCode::PERMISSION_DENIED => io::ErrorKind::PermissionDenied,
                StatusCode::OP_UNSUPPORTED => io::ErrorKind::Unsupported,
                StatusCode::EOF => io::ErrorKind::UnexpectedEof,
                _ => io::ErrorKind::Other,
            };
        }
        match self.kind() {
            ErrorKind::Unsupported(_) => io::ErrorKind::Unsupported,
            ErrorKind::Invalid(_) => io::ErrorKind::InvalidInput,
            ErrorKind::Transfer(TransferError::Truncated { .. }) => io::ErrorKind::UnexpectedEof,
            ErrorKind::Transfer(TransferError::Stalled) | ErrorKind::Timeout(_) => io::ErrorKind::TimedOut,
            ErrorKind::Transfer(TransferError::Lost { .. }) | ErrorKind::Session(..) => {
                io::ErrorKind::ConnectionAborted
            }
            ErrorKind::Ssh(error) => io::Error::from(error.clone()).kind(),
            ErrorKind::Link(error) | ErrorKind::Local(_, error) => error.kind(),
            ErrorKind::Cancelled => io::ErrorKind::Interrupted,
            ErrorKind::Unsafe(_) => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        }
    }

    /// What a person can do about it.
    fn hint(&self) -> &'static str {
        match self.code() {
            Some(StatusCode::OP_UNSUPPORTED) => "; this server does not do that",
            Some(StatusCode::FAILURE) if self.0.op == "rename" => "; perhaps the new name exists already",
            Some(StatusCode::FAILURE) if self.0.op == "create_dir" => "; perhaps it exists already",
            Some(StatusCode::FAILURE) if self.0.op == "remove_dir" => "; perhaps it is not empty",
            _ => match self.kind() {
                ErrorKind::Timeout(_) => "; the session goes on, and a longer time can be set",
                _ => "",
            },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.op.is_empty() {
            f.write_str(self.0.op)?;
            for path in &self.0.paths {
                write!(f, " \"{}\"", SshStr::new(path))?;
            }
            f.write_str(": ")?;
        }
        match (self.kind(), &self.0.cause) {
            // The connection knows more about its end than the session on it.
            (ErrorKind::Transfer(TransferError::Lost { done, .. }), Some(cause)) => {
                write!(f, "after {done} bytes: {cause}")?;
            }
            (kind, _) => kind.fmt(f)?,
        }
        f.write_str(self.hint())
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::Refused(status) => write!(f, "{status}"),
            ErrorKind::Unsupported(extension) => write!(f, "the server does not offer {}", extension.name()),
            ErrorKind::Invalid(text) | ErrorKind::Unsafe(text) => f.write_str(text),
            ErrorKind::Transfer(TransferError::Remote { op, status }) if *op == Operation::Open => {
                write!(f, "{status}")
            }
            ErrorKind::Transfer(error) => write!(f, "{error}"),
            ErrorKind::Session(error, stderr) if stderr.is_empty() => write!(f, "{error}"),
            ErrorKind::Session(error, stderr) => write!(f, "{error}; the server printed: {stderr}"),
            ErrorKind::Ssh(error) => write!(f, "{error}"),
            ErrorKind::Link(error) => write!(f, "the connection to the server: {error}"),
            ErrorKind::Local(path, error) => {
                use std::os::unix::ffi::OsStrExt;
                write!(f, "local \"{}\": {error}", SshStr::new(path.as_os_str().as_bytes()))
            }
            ErrorKind::Timeout(after) => write!(f, "no answer in {after:?}"),
            ErrorKind::Cancelled => f.write_str("cancelled"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self})")
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.kind() {
            ErrorKind::Refused(status) => Some(status),
            ErrorKind::Transfer(error) => Some(error),
            ErrorKind::Session(error, _) => Some(error),
            ErrorKind::Ssh(error) => Some(error),
            ErrorKind::Link(error) | ErrorKind::Local(_, error) => Some(&**error),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::new(error.io_kind(), error)
    }
}

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Self {
        Error::new(ErrorKind::Ssh(error))
    }
}
