//! A channel that a server serves.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use konko_core::channel::ChannelId;

use super::{Channel, Inner};
use crate::client::Handle;
use crate::error::Error;

impl Channel {
    /// One that the peer opened and that was accepted.
    pub(crate) fn accepted(handle: &Arc<Handle>, id: ChannelId) -> Self {
        let timeout = handle.io_timeout;
        let channel =
            Channel(Arc::new(Inner { handle: Arc::clone(handle), id, timeout: AtomicU64::new(u64::MAX) }));
        channel.set_timeout(timeout);
        channel
    }

    /// The peer's identification line.
    pub(crate) fn peer_ident(&self) -> Vec<u8> {
        let state = self.shared().lock();
        state.end.conn().peer_ident().map(|ident| ident.as_bytes().to_vec()).unwrap_or_default()
    }

    /// Says whether the peer still waits for what is written here. Does not keep the channel open.
    pub(crate) fn watcher(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        let (handle, id) = (Arc::downgrade(&self.0.handle), self.id());
        move || {
            handle.upgrade().is_some_and(|handle| {
                let state = handle.shared.lock();
                state.ended.is_none() && state.channels.get(&id).is_some_and(|c| !c.closed)
            })
        }
    }

    /// What [`nudge`](Self::nudge)s it. Does not keep the channel open.
    pub(crate) fn nudger(&self) -> impl Fn() + Send + Sync + use<> {
        let (handle, id) = (Arc::downgrade(&self.0.handle), self.id());
        move || {
            if let Some(handle) = handle.upgrade() {
                handle.shared.with(|state| state.nudge(id));
            }
        }
    }

    /// Gives credit back.
    pub(crate) fn credit(&self, n: usize) {
        if n > 0 {
            self.consumed(self.shared().lock(), n);
        }
    }

    /// Before something is waited for here.
    ///
    /// # Errors
    /// `WouldDeadlock` on the thread that drives the connection.
    pub(crate) fn may_wait(&self) -> Result<(), Error> {
        self.shared().may_wait("data")
    }

    /// That the time of [`set_timeout`](Self::set_timeout) has passed.
    pub(crate) fn timed_out(&self, awaited: &'static str) -> io::Error {
        let state = self.shared().lock();
        self.shared().timed_out(&state, self.deadline(), awaited).into()
    }
}
