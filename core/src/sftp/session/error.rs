use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::sftp::transfer::TransferError;
use crate::sftp::{self, Extension, Operation, Status, StatusCode, UsageError};
use crate::wire::SshStr;

/// What failed outside of the session, in whatever type the binding has for it; `downcast_ref` gives it back.
pub type Cause = Arc<dyn core::error::Error + Send + Sync>;

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
    /// What the session runs over failed: the SSH connection, a socket, pipes.
    Link(Cause),
    /// A local file, by its path.
    Local(Vec<u8>, Cause),
    /// No answer in this time.
    Timeout(Duration),
    /// Whoever asked for it cancelled it.
    Cancelled,
    /// The server sent a name or a tree that is not followed: it could lead anywhere, or never ends.
    Unsafe(String),
}

impl Error {
    /// An error of this kind, of no operation yet.
    pub fn new(kind: ErrorKind) -> Self {
        Error(Box::new(Inner { kind, op: "", paths: Vec::new(), cause: None }))
    }

    /// A local file that could not be used: what a binding answers to a question about it.
    pub fn local(path: &[u8], error: impl core::error::Error + Send + Sync + 'static) -> Self {
        Self::new(ErrorKind::Local(path.to_vec(), Arc::new(error)))
    }

    /// A local file that does not suit, and why.
    pub(crate) fn unsuitable(path: &[u8], why: impl Into<String>) -> Self {
        Self::local(path, Reason(why.into()))
    }

    /// What the session runs over failed.
    pub fn link(error: impl core::error::Error + Send + Sync + 'static) -> Self {
        Self::new(ErrorKind::Link(Arc::new(error)))
    }

    /// What is to come does not come in time.
    pub(crate) fn timeout(after: Duration) -> Self {
        Self::new(ErrorKind::Timeout(after))
    }

    /// A path or an argument that no server can take.
    pub fn invalid(text: impl Into<String>) -> Self {
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
    pub fn of(mut self, op: &'static str, paths: &[&[u8]]) -> Self {
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

    /// Under the name of the operation that it was part of, with its first path.
    pub(crate) fn again(self, op: &'static str) -> Self {
        Error::new(self.0.kind.clone()).of(op, &[self.path()])
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
            ErrorKind::Session(..) | ErrorKind::Link(_) => true,
            ErrorKind::Transfer(error) => matches!(error, TransferError::Lost { .. }),
            _ => false,
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
            ErrorKind::Link(error) => write!(f, "{error}"),
            ErrorKind::Local(path, error) => write!(f, "local \"{}\": {error}", SshStr::new(path)),
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

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self.kind() {
            ErrorKind::Refused(status) => Some(status),
            ErrorKind::Transfer(error) => Some(error),
            ErrorKind::Session(error, _) => Some(error),
            ErrorKind::Link(error) | ErrorKind::Local(_, error) => Some(&**error),
            _ => None,
        }
    }
}

/// Why a local file does not suit, in words.
#[derive(Debug)]
struct Reason(String);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Reason {}
