//! How other threads speak to a loop.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use konko_core::transport::DoneJob;

use crate::links::ConnId;

pub(crate) enum Mail<M> {
    Message(M),
    Job(ConnId, Box<DoneJob>),
    Drain(Duration),
}

struct Inner<M> {
    /// `None` once the loop is gone.
    mail: Mutex<Option<Vec<Mail<M>>>>,
    waker: mio::Waker,
}

/// Sends messages to a loop from any thread and wakes it: answers to tickets, results of work,
/// the wish to end. Cheap to clone.
pub struct Mailbox<M>(Arc<Inner<M>>);

impl<M> Mailbox<M> {
    pub(crate) fn new(waker: mio::Waker) -> Self {
        Mailbox(Arc::new(Inner { mail: Mutex::new(Some(Vec::new())), waker }))
    }

    /// Brings `message` to the application's `on_message`.
    ///
    /// # Errors
    /// Gives the message back when the loop is gone.
    pub fn send(&self, message: M) -> Result<(), M> {
        self.post(Mail::Message(message)).map_err(|mail| match mail {
            Mail::Message(message) => message,
            _ => unreachable!("it is the one that was posted"),
        })
    }

    /// Ends the loop in good order; see [`Hub::drain`](crate::Hub::drain).
    pub fn drain(&self, patience: Duration) {
        let _ = self.post(Mail::Drain(patience));
    }

    pub(crate) fn post(&self, item: Mail<M>) -> Result<(), Mail<M>> {
        let mut mail = self.0.mail.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiting) = mail.as_mut() else { return Err(item) };
        waiting.push(item);
        let first = waiting.len() == 1;
        drop(mail);
        // A loop that was woken takes everything there is.
        if first {
            let _ = self.0.waker.wake();
        }
        Ok(())
    }

    /// Swaps everything there is into `empty`.
    pub(crate) fn take(&self, empty: &mut Vec<Mail<M>>) {
        if let Some(mail) = self.0.mail.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            std::mem::swap(mail, empty);
        }
    }

    /// The loop is gone.
    pub(crate) fn close(&self) {
        *self.0.mail.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Mailbox(Arc::clone(&self.0))
    }
}

impl<M> fmt::Debug for Mailbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailbox(..)")
    }
}
