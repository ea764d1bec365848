//! Threads for work that would hold up the loop.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

type Task = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    ended: bool,
}

#[derive(Default)]
struct Pool {
    queue: Mutex<Queue>,
    bell: Condvar,
}

/// A few threads that do costly work: the server's share of key exchanges, signatures, the hashing
/// of passwords. Several loops can share one. The threads end with the last handle, after what they
/// are at.
///
/// On Linux they are nicer than the thread that starts them, by 5: where processors are few, loops
/// come first, so strangers wait rather than those who are logged in.
#[derive(Clone)]
pub struct Workers(Arc<Handle>);

struct Handle {
    pool: Arc<Pool>,
    threads: usize,
}

impl Workers {
    /// Starts so many threads, at least one.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn new(threads: usize) -> io::Result<Self> {
        let handle = Handle { pool: Arc::default(), threads: threads.max(1) };
        for _ in 0..handle.threads {
            let pool = Arc::clone(&handle.pool);
            std::thread::Builder::new().name("konko worker".into()).spawn(move || pool.work())?;
        }
        Ok(Workers(Arc::new(handle)))
    }

    /// Does `task` on some thread, in order of arrival; `urgent` ones go before all others.
    pub(crate) fn run(&self, urgent: bool, task: impl FnOnce() + Send + 'static) {
        let mut queue = self.0.pool.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if urgent {
            queue.tasks.push_front(Box::new(task));
        } else {
            queue.tasks.push_back(Box::new(task));
        }
        drop(queue);
        self.0.pool.bell.notify_one();
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Workers({} threads)", self.0.threads)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.pool.queue.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.pool.bell.notify_all();
    }
}

impl Pool {
    fn work(&self) {
        make_room();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(task) = queue.tasks.pop_front() {
                drop(queue);
                // A task that panics answers nothing, and what is not answered is denied.
                let _ = catch_unwind(AssertUnwindSafe(task));
                queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            } else if queue.ended {
                return;
            } else {
                queue = self.bell.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// Lowers the priority of this thread.
fn make_room() {
    #[cfg(target_os = "linux")]
    {
        // Zero stands for the calling thread here, not for its process.
        use rustix::process::{getpriority_process, setpriority_process};
        let _ = getpriority_process(None).and_then(|nice| setpriority_process(None, (nice + 5).min(19)));
    }
}
