//! How a procedure asks the session, and is answered.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use crossbeam_queue::SegQueue;

use super::entry::DirEntry;
use super::error::Error;
use super::local::{Place, Progress, Question};
use super::machine::Bulk;
use crate::sftp::transfer::{self, Summary};
use crate::sftp::{self, ExtensionSet, Limits, RequestId, SftpClient, Status, UsageError};

/// Sends a request, once the client has room.
pub(super) type Send1 = Box<dyn FnMut(&mut SftpClient) -> Result<RequestId, UsageError> + Send>;

/// What the server said when the session began.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Facts {
    /// The extensions that it announced, and those that were assumed.
    pub extensions: ExtensionSet,
    /// Names and data of all that it announced.
    pub announced: Vec<(Vec<u8>, Vec<u8>)>,
    /// What it said of its limits, or is known of them; zeros where that is nothing.
    pub limits: Limits,
}

/// What a procedure gets.
#[derive(Debug)]
pub(super) enum Got {
    Status(Status),
    Handle(sftp::Handle),
    /// None: no more of them.
    Names(Vec<DirEntry>),
    Path(Vec<u8>),
    Attrs(sftp::Attrs),
    StatVfs(sftp::StatVfs),
    UsersGroups(sftp::UsersGroups),
    FileHash(sftp::FileHash),
    Extended(Vec<u8>),
    /// All the data of one READ.
    Data(Vec<u8>),
    /// What was read ahead. More of it or the end follow.
    Ahead(Vec<u8>),
    Facts(Box<Facts>),
    /// So many bytes of what was written behind are on their way.
    Taken(usize),
    /// A transfer of this number has ended.
    Job(usize, Result<Summary, Error>),
    /// What a local question is answered.
    Here(super::local::Answer),
    Failed(Error),
    /// No answer came in this time; it may still come.
    Late(Duration),
}

/// Something that the session is to do.
pub(super) enum Order {
    Request(Arc<Slot>, Send1),
    /// A request whose answer nobody waits for, such as the CLOSE of a dropped file.
    Detached(Send1),
    /// A transfer of this number.
    Start(Arc<Slot>, usize, Box<Start>),
    /// The reader may go on up to here.
    Allow(Arc<Slot>, u64),
    /// More for the writer.
    Supply(Arc<Slot>, Vec<u8>),
    /// There is no more for the writer.
    Close(Arc<Slot>),
    Question(Arc<Slot>, Question),
    Facts(Arc<Slot>),
    /// The session is to have begun.
    Ready(Arc<Slot>),
    /// Somebody waits for the next answer, and how long.
    Wait(Arc<Slot>, Patience),
    /// Transfers of it are to end; it still learns how they ended.
    Cancel(Arc<Slot>),
    /// Nobody wants its answers any more.
    Forget(Arc<Slot>),
}

pub(super) enum Start {
    Get { remote: Vec<u8>, get: transfer::DownloadOptions, place: Place },
    Put { remote: Vec<u8>, put: transfer::UploadOptions, place: Place },
    Copy { from: Vec<u8>, to: Vec<u8>, put: transfer::UploadOptions },
    Bulk(sftp::Handle, Bulk),
}

/// How long a procedure waits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// So long from now on.
    Total(Option<Duration>),
    /// As long as something comes at least so often.
    Progress(Option<Duration>),
}

/// Where the orders of all procedures of a session stand.
#[derive(Default)]
pub(super) struct Port {
    orders: SegQueue<Order>,
    driver: SegQueue<Waker>,
    slots: AtomicUsize,
}

impl Port {
    pub(super) fn push(&self, order: Order) {
        self.orders.push(order);
        if let Some(waker) = self.driver.pop() {
            waker.wake_by_ref();
            self.driver.push(waker);
        }
    }

    pub(super) fn pop(&self) -> Option<Order> {
        self.orders.pop()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    pub(super) fn set_driver(&self, waker: Waker) {
        while self.driver.pop().is_some() {}
        self.driver.push(waker);
    }
}

/// What whoever runs a procedure and the procedure share.
#[derive(Default)]
pub(super) struct Caller {
    /// Answers that are awaited.
    pub(super) waits: AtomicUsize,
    pub(super) cancelled: AtomicBool,
    pub(super) watched: AtomicBool,
    pub(super) told: SegQueue<Progress>,
}

/// Where the answers of one procedure go.
pub(super) struct Slot {
    pub(super) id: usize,
    pub(super) caller: Arc<Caller>,
    answers: SegQueue<Got>,
    waker: SegQueue<Waker>,
}

impl Slot {
    pub(super) fn answer(&self, answer: Got) {
        self.answers.push(answer);
        self.wake();
    }

    pub(super) fn tell(&self, progress: Progress) {
        if self.caller.watched.load(Ordering::Relaxed) {
            self.caller.told.push(progress);
            self.wake();
        }
    }

    fn wake(&self) {
        while let Some(waker) = self.waker.pop() {
            waker.wake();
        }
    }
}

/// Requests and transfers of a procedure. Dropped, nobody wants their answers any more.
pub(super) struct Ask {
    pub(super) port: Arc<Port>,
    slot: Arc<Slot>,
    /// Requests and transfers that were not answered.
    outstanding: usize,
    cancelling: bool,
}

impl Ask {
    pub(super) fn new(port: &Arc<Port>, caller: &Arc<Caller>) -> Self {
        let id = port.slots.fetch_add(1, Ordering::Relaxed);
        let (answers, waker) = (SegQueue::new(), SegQueue::new());
        let slot = Arc::new(Slot { id, caller: Arc::clone(caller), answers, waker });
        Ask { port: Arc::clone(port), slot, outstanding: 0, cancelling: false }
    }

    /// Something that has an answer.
    pub(super) fn order(&mut self, order: impl FnOnce(Arc<Slot>) -> Order) {
        self.outstanding = self.outstanding.saturating_add(1);
        self.tell(order);
    }

    /// Something that has none.
    pub(super) fn tell(&self, order: impl FnOnce(Arc<Slot>) -> Order) {
        self.port.push(order(Arc::clone(&self.slot)));
    }

    pub(super) fn request(
        &mut self,
        send: impl FnMut(&mut SftpClient) -> Result<RequestId, UsageError> + Send + 'static,
    ) {
        self.order(|slot| Order::Request(slot, Box::new(send)));
    }

    /// An answer that is here already.
    pub(super) fn ready(&mut self) -> Option<Got> {
        let answer = self.slot.answers.pop()?;
        if !matches!(answer, Got::Ahead(_) | Got::Taken(_) | Got::Late(_)) {
            self.outstanding = self.outstanding.saturating_sub(1);
        }
        Some(answer)
    }

    /// Takes the next answer.
    pub(super) async fn next(&mut self, patience: Patience) -> Result<Got, Error> {
        let answer = match self.ready() {
            Some(answer) => answer,
            None => {
                self.slot.caller.waits.fetch_add(1, Ordering::Relaxed);
                let waits = Waits(Arc::clone(&self.slot.caller));
                self.tell(|slot| Order::Wait(slot, patience));
                let answer = poll_fn(|cx| self.poll(cx)).await;
                drop(waits);
                answer
            }
        };
        match answer {
            Got::Failed(error) => Err(error),
            Got::Late(after) => Err(Error::timeout(after)),
            answer => Ok(answer),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Got> {
        while self.slot.waker.pop().is_some() {}
        self.slot.waker.push(cx.waker().clone());
        if self.slot.caller.cancelled.load(Ordering::SeqCst) && !self.cancelling {
            self.cancelling = true;
            self.tell(Order::Cancel);
        }
        self.ready().map_or(Poll::Pending, Poll::Ready)
    }
}

struct Waits(Arc<Caller>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.waits.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        if self.outstanding > 0 {
            self.tell(Order::Forget);
        }
    }
}
