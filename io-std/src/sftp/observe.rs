//! Watching transfers, and ending them.

use std::io;
use std::sync::{Arc, Weak};
use std::task::Waker;

use konko_core::sftp::StatusCode;
use konko_core::sftp::session::{Error, ErrorKind, Progress, Remote};
use konko_core::sftp::transfer::TransferError;

use super::client_session::Session;
use crate::cancel::Running;

/// Gets told how far files have come.
pub type OnProgress = Arc<dyn Fn(&Progress) + Send + Sync>;

/// Transfers of a session that a [`Cancel`](crate::Cancel) ends.
pub(super) struct Transfers {
    pub(super) remote: Remote,
    pub(super) waker: Waker,
    pub(super) session: Weak<Session>,
}

impl Running for Transfers {
    fn cancel(&self) {
        self.remote.cancel();
        self.waker.wake_by_ref();
        self.session.upgrade().iter().for_each(|session| session.nudge());
    }

    fn is_gone(&self) -> bool {
        self.session.strong_count() == 0
    }
}

/// An error as the standard library has it; it holds the whole.
pub(super) fn io_error(error: Error) -> io::Error {
    io::Error::new(io_kind(&error), error)
}

/// The kind that comes nearest.
pub(crate) fn io_kind(error: &Error) -> io::ErrorKind {
    match error.code() {
        Some(StatusCode::NO_SUCH_FILE) => return io::ErrorKind::NotFound,
        Some(StatusCode::PERMISSION_DENIED) => return io::ErrorKind::PermissionDenied,
        Some(StatusCode::OP_UNSUPPORTED) => return io::ErrorKind::Unsupported,
        Some(StatusCode::EOF) => return io::ErrorKind::UnexpectedEof,
        Some(_) => return io::ErrorKind::Other,
        None => {}
    }
    match error.kind() {
        ErrorKind::Unsupported(_) => io::ErrorKind::Unsupported,
        ErrorKind::Invalid(_) => io::ErrorKind::InvalidInput,
        ErrorKind::Transfer(TransferError::Truncated { .. }) => io::ErrorKind::UnexpectedEof,
        ErrorKind::Transfer(TransferError::Stalled) | ErrorKind::Timeout(_) => io::ErrorKind::TimedOut,
        ErrorKind::Transfer(TransferError::Lost { .. }) | ErrorKind::Session(..) => {
            io::ErrorKind::ConnectionAborted
        }
        ErrorKind::Link(cause) | ErrorKind::Local(_, cause) => {
            if let Some(error) = cause.downcast_ref::<io::Error>() {
                error.kind()
            } else if let Some(error) = cause.downcast_ref::<crate::Error>() {
                io::Error::from(error.clone()).kind()
            } else {
                io::ErrorKind::Other
            }
        }
        ErrorKind::Cancelled => io::ErrorKind::Interrupted,
        ErrorKind::Unsafe(_) => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    }
}
