//! Data that is written straight into the next packet.

use core::fmt;

use crate::channel::{ChannelId, Channels, DataStream};
use crate::record::{Call, Recorder, Rest};
use crate::transport::Open;

/// Room for data in the next packet of a channel; see [`Connection::slot`](crate::Connection::slot). Dropped without
/// [`commit`](Self::commit), nothing is sent.
#[must_use = "nothing is sent before commit"]
pub struct DataSlot<'c> {
    pub(super) open: Open<'c>,
    pub(super) channels: &'c mut Channels,
    pub(super) channel: ChannelId,
    pub(super) stream: DataStream,
    pub(super) prefix: usize,
    pub(super) room: usize,
    pub(super) recorder: Option<&'c mut Recorder>,
}

impl DataSlot<'_> {
    /// The room, to be filled from the front. Holds old bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        self.open.slot(self.prefix, self.room)
    }

    /// Sends the first `n` bytes of the room; none if `n` is 0.
    pub fn commit(mut self, n: usize) {
        let n = n.min(self.room);
        if n == 0 {
            return;
        }
        // In case the room was never looked at.
        let room = self.open.slot(self.prefix, self.room);
        if let Some(recorder) = self.recorder {
            let data = room.get(..n).unwrap_or_default();
            recorder.commit(&Call::Commit { data: Rest(data) });
        }
        let (prefix, len) = self.channels.data_prefix(self.channel, self.stream, n);
        self.open.commit(prefix.get(..len).unwrap_or_default(), n);
        self.channels.sent(self.channel, n);
    }
}

impl fmt::Debug for DataSlot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataSlot({} bytes for {:?})", self.room, self.channel)
    }
}
