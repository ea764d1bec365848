//! Watching transfers, and ending them.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Waker;

use konko_core::sftp::StatusCode;
use konko_core::sftp::session::{Error, ErrorKind, Progress, Remote};
use konko_core::sftp::transfer::TransferError;

use super::client_session::Session;

/// Gets told how far files have come.
pub type OnProgress = Arc<dyn Fn(&Progress) + Send + Sync>;

/// Ends transfers from another thread, or from a progress callback.
#[derive(Clone, Default)]
pub struct Cancel(Arc<Cancelling>);

#[derive(Default)]
struct Cancelling {
    set: AtomicBool,
    running: Mutex<Vec<(Remote, Waker, Weak<Session>)>>,
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cancel({})", self.is_cancelled())
    }
}

impl Cancel {
    /// Not cancelled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends all transfers of handles that were given this, now and later.
    pub fn cancel(&self) {
        self.0.set.store(true, Ordering::SeqCst);
        let running = std::mem::take(&mut *self.0.running.lock().unwrap_or_else(PoisonError::into_inner));
        for (remote, waker, session) in running {
            remote.cancel();
            waker.wake();
            session.upgrade().iter().for_each(|session| session.nudge());
        }
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.set.load(Ordering::SeqCst)
    }

    pub(super) fn watch(&self, remote: &Remote, waker: &Waker, session: &Arc<Session>) {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|(_, _, session)| session.strong_count() > 0);
        running.push((remote.clone(), waker.clone(), Arc::downgrade(session)));
        if self.is_cancelled() {
            remote.cancel();
        }
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
