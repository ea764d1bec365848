//! Ending what runs, from another thread.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Ends what was given it, from another thread or from a progress callback: transfers
/// ([`Sftp::cancelled_by`](crate::Sftp::cancelled_by)), channels
/// ([`Channel::cancelled_by`](crate::Channel::cancelled_by)), commands ([`Exec::cancelled_by`](crate::Exec::cancelled_by)).
#[derive(Clone, Default)]
pub struct Cancel(Arc<Cancelling>);

#[derive(Default)]
struct Cancelling {
    set: AtomicBool,
    running: Mutex<Vec<Box<dyn Running>>>,
}

/// What can be cancelled. It keeps nothing alive.
pub(crate) trait Running: Send {
    fn cancel(&self);

    fn is_gone(&self) -> bool;
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

    /// Ends all that was given this, now and later. It fails with `Cancelled`.
    pub fn cancel(&self) {
        self.0.set.store(true, Ordering::SeqCst);
        let running = std::mem::take(&mut *self.0.running.lock().unwrap_or_else(PoisonError::into_inner));
        running.iter().for_each(|running| running.cancel());
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.set.load(Ordering::SeqCst)
    }

    pub(crate) fn watch(&self, what: impl Running + 'static) {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|running| !running.is_gone());
        if self.is_cancelled() {
            drop(running);
            what.cancel();
        } else {
            running.push(Box::new(what));
        }
    }
}
