//! Ending what runs, from another thread.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
        let running = std::mem::take(&mut *self.lock());
        running.iter().for_each(|running| running.cancel());
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.set.load(Ordering::SeqCst)
    }

    pub(crate) fn watch(&self, what: impl Running + 'static) {
        let mut all = std::mem::take(&mut *self.lock());
        // Without the lock: whose last handle is let go meanwhile by its owner ends here, and tells observers so.
        all.retain(|running| !running.is_gone());
        all.push(Box::new(what));
        let mut running = self.lock();
        if self.is_cancelled() {
            drop(running);
            all.iter().for_each(|running| running.cancel());
        } else {
            running.append(&mut all);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Box<dyn Running>>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    /// Whoever looks whether it is gone cancels by that: an observer of a connection whose last handle that was.
    struct Last(Cancel, Arc<AtomicUsize>);

    impl Running for Last {
        fn cancel(&self) {
            self.1.fetch_add(1, Ordering::SeqCst);
        }

        fn is_gone(&self) -> bool {
            self.0.cancel();
            false
        }
    }

    #[test]
    fn who_cancels_while_something_else_is_given_waits_for_nobody_and_all_is_cancelled() {
        let (told, done) = channel();
        std::thread::spawn(move || {
            let (cancel, count) = (Cancel::new(), Arc::default());
            cancel.watch(Last(cancel.clone(), Arc::clone(&count)));
            cancel.watch(Last(cancel.clone(), Arc::clone(&count)));
            let _ = told.send(count.load(Ordering::SeqCst));
        });
        assert_eq!(done.recv_timeout(Duration::from_secs(60)), Ok(2));
    }
}
