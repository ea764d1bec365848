//! Packets (RFC 4253 §6): the receive path, the send path, compression, and how much went through.

mod compress;
mod recv;
mod rx;
mod send;
mod tx;

pub(crate) use self::recv::Payload;
pub(super) use self::recv::Receiver;
pub use self::rx::RxBuf;
pub(super) use self::send::Sender;
pub use self::tx::TxBuf;

use crate::error::Failure;
use crate::msg::Message;

/// Parses a message of the peer, naming it in the error.
pub(crate) fn parse<'m, M: Message<'m>>(payload: &'m [u8]) -> Result<M, Failure> {
    M::parse(payload).map_err(|e| Failure::malformed(M::NUMBER, e))
}

/// Packets and their bytes, counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    packets: u64,
    bytes: u64,
}

impl Count {
    fn add(&mut self, bytes: usize) {
        self.packets = self.packets.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    /// Whether there were so many of either.
    pub(super) fn reaches(&self, packets: u64, bytes: u64) -> bool {
        self.packets >= packets || self.bytes >= bytes
    }

    /// Whether there were more of either.
    pub(super) fn exceeds(&self, packets: u64, bytes: u64) -> bool {
        self.packets > packets || self.bytes > bytes
    }
}
