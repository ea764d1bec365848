//! The threads of a server, counted, so that a shutdown can wait for them.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

#[derive(Clone, Debug, Default)]
pub(super) struct Threads(Arc<(Mutex<usize>, Condvar)>);

struct Counted(Threads);

impl Drop for Counted {
    fn drop(&mut self) {
        *self.0.count() -= 1;
        self.0.0.1.notify_all();
    }
}

impl Threads {
    fn count(&self) -> std::sync::MutexGuard<'_, usize> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        *self.count() += 1;
        // Dropped with the closure if the thread does not start.
        let counted = Counted(self.clone());
        thread::Builder::new().name(name.into()).spawn(move || {
            let _counted = counted;
            run();
        })?;
        Ok(())
    }

    /// Waits until all threads have ended; whether they have.
    pub(super) fn wait(&self, limit: Option<Duration>) -> bool {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut count = self.count();
        while *count > 0 {
            count = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                None => self.0.1.wait(count).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return false,
                Some(left) => self.0.1.wait_timeout(count, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        true
    }
}
