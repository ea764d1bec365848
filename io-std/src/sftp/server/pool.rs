//! Answers from other threads.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use konko_core::sftp::{
    Answer, Backend, FileSystem, Finished, HandleId, Layer, OpenFiles, Queue, Request, SftpServer, Task,
    Ticket,
};

use crate::lock;

/// A thread with nothing to do ends after this time.
const IDLE: Duration = Duration::from_secs(10);

/// Replies on their way to a session, from whatever thread: for a [`Backend`] that keeps tickets and answers later.
///
/// ```
/// use konko::core::sftp::{Backend, HandleId, Op, Request, SftpServer, StatusCode};
/// use konko::sftp::Replies;
///
/// struct Later(Replies);
///
/// impl Backend for Later {
///     fn request(&mut self, _: &mut SftpServer, request: Request<'_>) {
///         let replies = self.0.clone();
///         std::thread::spawn(move || replies.send(request.ticket, StatusCode::OP_UNSUPPORTED));
///     }
///
///     fn settle(&mut self, server: &mut SftpServer) {
///         self.0.settle(server);
///     }
///
///     fn abandoned(&mut self, _: HandleId) {}
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Replies(Arc<Mutex<Vec<(Ticket, Answer)>>>);

impl Replies {
    /// Nothing is on its way.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers a request; the session is woken, if it still waits for that.
    pub fn send(&self, ticket: Ticket, answer: impl Into<Answer>) {
        let waker = ticket.waker().cloned();
        lock(&self.0).push((ticket, answer.into()));
        waker.iter().for_each(|waker| waker.wake_by_ref());
    }

    /// Hands in what came: for [`Backend::settle`]. An answer of the wrong kind is told to the client as FAILURE.
    pub fn settle(&self, server: &mut SftpServer) {
        let came = std::mem::take(&mut *lock(&self.0));
        for (ticket, answer) in came {
            let _ = server.reply(ticket, answer);
        }
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Threads that carry out calls of any number of sessions. They start when they are needed and end when they are not.
#[derive(Clone)]
pub struct Workers(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    most: usize,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl Workers {
    /// At most `most` threads, which is how many calls go at once; 1 at least.
    pub fn new(most: usize) -> Self {
        Workers(Arc::new(Shared { state: Mutex::default(), work: Condvar::new(), most: most.max(1) }))
    }

    fn run(&self, task: Job) {
        let mut state = lock(&self.0.state);
        state.tasks.push_back(task);
        if state.idle >= state.tasks.len() || state.threads >= self.0.most {
            self.0.work.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        let shared = Arc::clone(&self.0);
        let started = std::thread::Builder::new().name("konko sftp".into()).spawn(move || shared.work());
        if started.is_err() {
            lock(&self.0.state).threads -= 1;
            // Whoever asks does it then, if nobody else can.
            self.0.last_resort();
        }
    }
}

impl Shared {
    fn work(&self) {
        let mut state = lock(&self.state);
        loop {
            if let Some(task) = state.tasks.pop_front() {
                drop(state);
                task();
                state = lock(&self.state);
                continue;
            }
            state.idle += 1;
            let (woken, timeout) =
                self.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if timeout.timed_out() && state.tasks.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }

    fn last_resort(&self) {
        let mut state = lock(&self.state);
        let task = if state.threads == 0 { state.tasks.pop_front() } else { None };
        drop(state);
        task.into_iter().for_each(|task| task());
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Workers({} of {})", lock(&self.0.state).threads, self.0.most)
    }
}

type Results<F> = Arc<Mutex<Vec<(u64, Option<Finished<F>>)>>>;

/// A client's session on a file system that takes its time: a [`Backend`] whose calls go to [`Workers`], as many at
/// once as they are and as many more that wait for them, in the order that the protocol wants.
///
/// ```no_run
/// # use konko::core::sftp::{FileSystem, ServerConfig};
/// # use konko::{Channel, sftp::{Pooled, Workers, serve}};
/// # use std::sync::Arc;
/// # struct Store;
/// # impl FileSystem for Store { type File = (); type Dir = std::vec::IntoIter<Result<konko::sftp::DirItem, konko::sftp::Status>>; }
/// # fn example(channel: &Channel, store: Arc<Store>, workers: &Workers) -> std::io::Result<()> {
/// // Room for the largest reads: for 64 at once, and 64 that wait or are on their way to the client.
/// let config = ServerConfig::new().max_backlog(128 << 18);
/// serve(channel, config, &mut Pooled::new(store, workers))
/// # }
/// ```
pub struct Pooled<F: FileSystem> {
    fs: Arc<F>,
    open: OpenFiles<F>,
    queue: Queue<Task<'static, F>>,
    workers: Workers,
    results: Results<F>,
}

impl<F> Pooled<F>
where
    F: FileSystem<File: Send + Sync, Dir: Send> + Send + Sync + 'static,
{
    /// A session with nothing open.
    pub fn new(fs: Arc<F>, workers: &Workers) -> Self {
        // While answers are on their way to the session, the workers have the next calls already.
        let queue = Queue::new(workers.0.most.saturating_mul(2));
        Pooled { fs, open: OpenFiles::new(), queue, workers: workers.clone(), results: Arc::default() }
    }

    /// Puts a layer before the file system; see [`OpenFiles::layer`].
    #[must_use]
    pub fn layer(mut self, layer: Arc<dyn Layer>) -> Self {
        self.open = self.open.layer(layer);
        self
    }

    fn start(&mut self) {
        while let Some((number, call)) = self.queue.start() {
            let (fs, results) = (Arc::clone(&self.fs), Arc::clone(&self.results));
            self.workers.run(Box::new(move || {
                let waker = call.waker().cloned();
                // A ticket that is dropped in a panic says FAILURE.
                let finished = catch_unwind(AssertUnwindSafe(|| call.run(&fs))).ok();
                lock(&results).push((number, finished));
                waker.iter().for_each(|waker| waker.wake_by_ref());
            }));
        }
    }
}

impl<F> Backend for Pooled<F>
where
    F: FileSystem<File: Send + Sync, Dir: Send> + Send + Sync + 'static,
{
    fn request(&mut self, _: &mut SftpServer, request: Request<'_>) {
        self.open.enqueue(&self.fs, &mut self.queue, request);
        self.start();
    }

    fn settle(&mut self, server: &mut SftpServer) {
        let finished = std::mem::take(&mut *lock(&self.results));
        for (number, finished) in finished {
            self.queue.finish(number);
            if let Some(finished) = finished {
                self.open.conclude(&self.fs, server, finished);
            }
        }
        self.start();
    }

    fn abandoned(&mut self, handle: HandleId) {
        self.open.abandoned(&self.fs, handle);
    }
}

impl<F: FileSystem> fmt::Debug for Pooled<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pooled({:?}, {:?})", self.open, self.queue)
    }
}
