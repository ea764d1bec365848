use alloc::boxed::Box;

use super::Count;
use super::compress::Deflate;
use super::tx::TxBuf;
use crate::crypto::{PacketSealer, Scrubbed, Shape};
use crate::msg::Message;
use crate::rng::Rng;
use crate::wire::Sink;

/// Packet length and padding length.
const HEADER: usize = 5;

/// Builds, pads, seals and counts outgoing packets, in place in the output buffer.
pub(in crate::transport) struct Sender {
    tx: TxBuf,
    sealer: Option<Box<dyn PacketSealer>>,
    shape: Shape,
    deflate: Option<Deflate>,
    /// How hard zlib tries.
    level: u8,
    /// Uncompressed payload, when compression is on.
    scratch: Scrubbed,
    padding: Rng,
    /// Sequence number of the next packet.
    seq: u32,
    /// Since the last NEWKEYS of this direction.
    used: Count,
}

impl Sender {
    pub(in crate::transport) fn new(padding: Rng, level: u8) -> Self {
        Sender {
            tx: TxBuf::new(),
            sealer: None,
            shape: Shape::PLAIN,
            deflate: None,
            level,
            scratch: Scrubbed::default(),
            padding,
            seq: 0,
            used: Count::default(),
        }
    }

    /// Puts new keys in force, from the next packet on.
    pub(in crate::transport) fn rekey(&mut self, sealer: Box<dyn PacketSealer>, reset_seq: bool) {
        self.shape = sealer.shape();
        self.sealer = Some(sealer);
        self.used = Count::default();
        if reset_seq {
            self.seq = 0;
        }
    }

    /// Starts a fresh compression stream from the next packet on, or ends compression.
    pub(in crate::transport) fn compress(&mut self, on: bool) {
        self.deflate = on.then(|| Deflate::new(self.level));
    }

    /// What the keys in force have seen.
    pub(in crate::transport) fn used(&self) -> Count {
        self.used
    }

    /// What is to be written to the peer.
    pub(in crate::transport) fn tx(&self) -> &TxBuf {
        &self.tx
    }

    /// The same, to take from.
    pub(in crate::transport) fn tx_mut(&mut self) -> &mut TxBuf {
        &mut self.tx
    }

    /// Sends bytes that are no packet.
    pub(in crate::transport) fn line(&mut self, line: &[u8]) {
        self.tx.push_raw(line);
    }

    /// Sends one message.
    pub(in crate::transport) fn send<'m>(&mut self, message: &impl Message<'m>) {
        self.send_padded(message, 0);
    }

    /// Sends one message in a packet padded to at least `min` bytes of payload, so that its length
    /// tells nothing (AC-11).
    pub(in crate::transport) fn send_padded<'m>(&mut self, message: &impl Message<'m>, min: usize) {
        self.send_with(min, |out| message.put(out));
    }

    /// Sends a payload that is already encoded.
    pub(in crate::transport) fn send_payload(&mut self, payload: &[u8]) {
        self.send_with(0, |out| out.put(payload));
    }

    fn send_with(&mut self, min: usize, write: impl FnOnce(&mut dyn Sink)) {
        if self.deflate.is_some() {
            self.scratch.truncate(0);
            write(&mut self.scratch);
            self.finish_scratch(min);
        } else {
            let mut draft = self.tx.draft();
            draft.extend(HEADER);
            write(&mut draft);
            let len = draft.len();
            self.finish(len, min);
        }
    }

    /// Lends room for `data` bytes behind a payload prefix of `prefix` bytes. Nothing is sent
    /// before [`commit`](Self::commit).
    pub(in crate::transport) fn slot(&mut self, prefix: usize, data: usize) -> &mut [u8] {
        if self.deflate.is_some() {
            self.scratch.resize(prefix.saturating_add(data));
            return self.scratch.get_mut(prefix..).unwrap_or_default();
        }
        let start = HEADER.saturating_add(prefix);
        let len = start.saturating_add(data);
        self.tx.draft().extend(len);
        self.tx.drafted(len).get_mut(start..).unwrap_or_default()
    }

    /// Sends what [`slot`](Self::slot) lent: `prefix` goes before the first `data` bytes of it.
    pub(in crate::transport) fn commit(&mut self, prefix: &[u8], data: usize) {
        let payload = prefix.len().saturating_add(data);
        if self.deflate.is_some() {
            self.scratch.truncate(payload);
            if let Some(front) = self.scratch.get_mut(..prefix.len()) {
                front.copy_from_slice(prefix);
            }
            self.finish_scratch(0);
        } else {
            let len = HEADER.saturating_add(payload);
            if let Some(front) = self.tx.drafted(len).get_mut(HEADER..HEADER.saturating_add(prefix.len())) {
                front.copy_from_slice(prefix);
            }
            self.finish(len, 0);
        }
    }

    fn finish_scratch(&mut self, min: usize) {
        let Some(deflate) = &mut self.deflate else { return };
        let mut draft = self.tx.draft();
        draft.extend(HEADER);
        deflate.compress(&self.scratch, &mut draft);
        let len = draft.len();
        self.finish(len, min);
    }

    /// Pads and seals the draft, of which `len` bytes (header included) stand.
    fn finish(&mut self, len: usize, min: usize) {
        let shape = self.shape;
        let counted = if shape.length_in_block { len } else { len.saturating_sub(4) };
        let block = shape.block.max(8);
        let mut pad = block.saturating_sub(counted % block);
        if pad < 4 {
            pad = pad.saturating_add(block);
        }
        // Padding is a byte; whole blocks on top up to what it can say.
        let short = min.saturating_add(HEADER).saturating_sub(len);
        while short > pad && pad.saturating_add(block) <= 255 {
            pad = pad.saturating_add(block);
        }
        let body = len.saturating_add(pad);
        let total = body.saturating_add(shape.tag);
        self.tx.redraft(len).extend(pad.saturating_add(shape.tag));
        let packet = self.tx.drafted(total);
        let length = u32::try_from(body.saturating_sub(4)).unwrap_or(0);
        if let Some((head, rest)) = packet.split_first_chunk_mut::<4>() {
            *head = length.to_be_bytes();
            if let Some(first) = rest.first_mut() {
                *first = u8::try_from(pad).unwrap_or(0);
            }
        }
        if let Some(padding) = packet.get_mut(len..body) {
            self.padding.fill(padding);
        }
        if let Some(sealer) = &mut self.sealer {
            sealer.seal(self.seq, packet);
        }
        self.tx.publish(total);
        self.seq = self.seq.wrapping_add(1);
        self.used.add(total);
    }
}

impl core::fmt::Debug for Sender {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Sender(seq {}, {:?})", self.seq, self.tx)
    }
}
