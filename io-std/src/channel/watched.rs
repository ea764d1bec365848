//! Watching a channel from other threads, and ending what waits on it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use konko_core::channel::ChannelId;

use super::Channel;
use crate::cancel::{Cancel, Running};
use crate::client::Handle;

/// How many bytes a channel has carried: for a progress bar on another thread, while one copies.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Arc<[AtomicU64; 3]>);

const SENT: usize = 2;

impl Traffic {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of standard output that have come, read or not.
    pub fn received(&self) -> u64 {
        self.get(0)
    }

    /// Bytes of standard error that have come, read or not.
    pub fn received_stderr(&self) -> u64 {
        self.get(1)
    }

    /// Bytes that the channel has taken to send.
    pub fn sent(&self) -> u64 {
        self.get(SENT)
    }

    fn get(&self, which: usize) -> u64 {
        self.0[which].load(Ordering::Relaxed)
    }

    pub(crate) fn count_received(&self, stream: usize, n: usize) {
        self.0[stream].fetch_add(n as u64, Ordering::Relaxed);
    }

    pub(super) fn count_sent(&self, n: usize) {
        self.0[SENT].fetch_add(n as u64, Ordering::Relaxed);
    }
}

/// A channel that a [`Cancel`] closes.
struct Watched(Weak<Handle>, ChannelId);

impl Running for Watched {
    fn cancel(&self) {
        if let Some(handle) = self.0.upgrade() {
            handle.shared.with(|state| state.cancel_channel(self.1));
        }
    }

    fn is_gone(&self) -> bool {
        self.0.upgrade().is_none_or(|handle| !handle.shared.lock().channels.contains_key(&self.1))
    }
}

impl Channel {
    /// What it carries, counted from its beginning.
    pub fn traffic(&self) -> Traffic {
        self.shared().lock().channels.get(&self.0.id).map(|chan| chan.traffic.clone()).unwrap_or_default()
    }

    /// Counts on in `traffic`, before anything was carried.
    pub(crate) fn count_in(&self, traffic: &Traffic) {
        if let Some(chan) = self.shared().lock().channels.get_mut(&self.0.id) {
            chan.traffic = traffic.clone();
        }
    }

    /// Closes the channel when `cancel` says so. Whatever waits on it then, and all that comes later, fails with
    /// [`Cancelled`](crate::ErrorKind::Cancelled): a copy that was cut short does not look like one that ended.
    pub fn cancelled_by(&self, cancel: &Cancel) {
        cancel.watch(Watched(Arc::downgrade(&self.0.handle), self.0.id));
    }
}
