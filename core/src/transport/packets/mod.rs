//! Packets (RFC 4253 §6): the receive path, the send path, compression, and what went through them.

mod compress;
mod recv;
mod rx;
mod send;
mod tx;

pub(crate) use self::recv::Payload;
pub use self::rx::RxBuf;
pub use self::tx::TxBuf;

use alloc::boxed::Box;

use self::recv::Receiver;
use self::send::Sender;
use crate::crypto::{PacketOpener, PacketSealer};
use crate::error::Failure;
use crate::msg::Message;
use crate::rng::Rng;

/// Both directions of one connection.
pub(super) struct Packets {
    sender: Sender,
    receiver: Receiver,
    /// Messages received since the start, and their bytes.
    received: (u64, u64),
}

impl Packets {
    /// Nothing is sealed or compressed yet.
    pub(super) fn new(padding: Rng) -> Self {
        Packets { sender: Sender::new(padding), receiver: Receiver::new(), received: (0, 0) }
    }

    // ---- receiving ----

    /// The next packet, if it has arrived whole: its sequence number and its payload, never empty.
    pub(super) fn next(&mut self, rx: &mut RxBuf) -> Result<Option<(u32, Payload)>, Failure> {
        let next = self.receiver.next(rx)?;
        if let Some((_, payload)) = &next {
            let (messages, bytes) = self.received;
            let len = payload.of(rx).len() as u64;
            self.received = (messages.saturating_add(1), bytes.saturating_add(len));
        }
        Ok(next)
    }

    /// Messages received since the start, and the bytes that they had after decompression.
    pub(super) fn received(&self) -> (u64, u64) {
        self.received
    }

    /// Packets received with the keys in force.
    pub(super) fn received_with_keys(&self) -> u64 {
        self.receiver.used().packets
    }

    /// True when part of a packet has arrived.
    pub(super) fn in_packet(&self, rx: &RxBuf) -> bool {
        self.receiver.in_packet(rx)
    }

    /// Opens packets with new keys, from the next one on.
    pub(super) fn open_with(&mut self, opener: Box<dyn PacketOpener>, reset_seq: bool) {
        self.receiver.rekey(opener, reset_seq);
    }

    /// Starts a fresh stream of compression for what is received, from the next packet on, or ends it.
    pub(super) fn inflate(&mut self, on: bool) {
        self.receiver.compress(on);
    }

    // ---- sending ----

    /// Sends bytes that are no packet: a line of text.
    pub(super) fn send_line(&mut self, line: &[u8]) {
        self.sender.line(line);
    }

    /// Sends one message.
    pub(super) fn send<'m>(&mut self, message: &impl Message<'m>) {
        self.sender.send(message, 0);
    }

    /// Sends one message in a packet padded to at least `min` bytes of payload, so that its length
    /// tells nothing (AC-11).
    pub(super) fn send_padded<'m>(&mut self, message: &impl Message<'m>, min: usize) {
        self.sender.send(message, min);
    }

    /// Sends a payload that is already encoded.
    pub(super) fn send_payload(&mut self, payload: &[u8]) {
        self.sender.send_payload(payload);
    }

    /// Lends room for `data` bytes behind a payload prefix of `prefix` bytes. Nothing is sent
    /// before [`commit`](Self::commit).
    pub(super) fn slot(&mut self, prefix: usize, data: usize) -> &mut [u8] {
        self.sender.slot(prefix, data)
    }

    /// Sends what [`slot`](Self::slot) lent: `prefix` goes before the first `data` bytes of it.
    pub(super) fn commit(&mut self, prefix: &[u8], data: usize) {
        self.sender.commit(prefix, data);
    }

    /// Seals packets with new keys, from the next one on.
    pub(super) fn seal_with(&mut self, sealer: Box<dyn PacketSealer>, reset_seq: bool) {
        self.sender.rekey(sealer, reset_seq);
    }

    /// Starts a fresh stream of compression for what is sent, from the next packet on, or ends it.
    pub(super) fn deflate(&mut self, on: bool) {
        self.sender.compress(on);
    }

    /// What is to be written to the peer.
    pub(super) fn tx(&self) -> &TxBuf {
        self.sender.tx()
    }

    /// The same, to take from.
    pub(super) fn tx_mut(&mut self) -> &mut TxBuf {
        self.sender.tx_mut()
    }

    // ---- the keys in force ----

    /// Whether the keys of either direction have seen so many bytes or packets.
    pub(super) fn worn(&self, bytes: u64, packets: u64) -> bool {
        let worn = |used: Used| used.bytes >= bytes || used.packets >= packets;
        worn(self.sender.used()) || worn(self.receiver.used())
    }
}

/// Parses a message of the peer, naming it in the error.
pub(crate) fn parse<'m, M: Message<'m>>(payload: &'m [u8]) -> Result<M, Failure> {
    M::parse(payload).map_err(|e| Failure::malformed(M::NUMBER, e))
}

/// What the keys of a direction have seen.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    packets: u64,
    bytes: u64,
}

impl Used {
    fn count(&mut self, packet: usize) {
        self.packets = self.packets.saturating_add(1);
        self.bytes = self.bytes.saturating_add(packet as u64);
    }
}
