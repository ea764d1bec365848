use alloc::boxed::Box;
use core::ops::Range;

use super::Count;
use super::compress::Inflate;
use super::rx::RxBuf;
use crate::crypto::{PacketOpener, Shape};
use crate::error::{Failure, Fault};

/// Largest packet_length we take, and largest payload after decompression (OpenSSH
/// `PACKET_MAX_SIZE`; RFC 4253 §6.1 asks for at least 35,000).
pub(super) const MAX_PAYLOAD: usize = 256 * 1024;

/// Where the payload of a packet stands in the receive buffer.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    Buffer(Range<usize>),
    Inflated,
}

impl Payload {
    pub(crate) fn of<'b>(&self, rx: &'b RxBuf) -> &'b [u8] {
        match self {
            Payload::Buffer(range) => rx.at(range.clone()),
            Payload::Inflated => &rx.inflated,
        }
    }
}

/// Finds, opens and counts incoming packets, in place in the receive buffer.
pub(in crate::transport) struct Receiver {
    opener: Option<Box<dyn PacketOpener>>,
    shape: Shape,
    inflate: Option<Inflate>,
    /// Length and tag of the packet whose head has been read.
    total: Option<usize>,
    /// CBC: something was wrong; how many bytes to swallow before saying so.
    conceal: Option<usize>,
    /// Sequence number of the next packet.
    seq: u32,
    /// Since the last NEWKEYS of this direction.
    used: Count,
    /// Since the start, without what the packets are wrapped in.
    received: Count,
}

impl Receiver {
    pub(in crate::transport) fn new() -> Self {
        Receiver {
            opener: None,
            shape: Shape::PLAIN,
            inflate: None,
            total: None,
            conceal: None,
            seq: 0,
            used: Count::default(),
            received: Count::default(),
        }
    }

    /// Puts new keys in force, from the next packet on.
    pub(in crate::transport) fn rekey(&mut self, opener: Box<dyn PacketOpener>, reset_seq: bool) {
        self.shape = opener.shape();
        self.opener = Some(opener);
        self.used = Count::default();
        if reset_seq {
            self.seq = 0;
        }
    }

    /// Starts a fresh compression stream from the next packet on, or ends compression.
    pub(in crate::transport) fn compress(&mut self, on: bool) {
        self.inflate = on.then(Inflate::new);
    }

    /// Messages received since the start, and the bytes that they had after decompression.
    pub(in crate::transport) fn received(&self) -> Count {
        self.received
    }

    /// What the keys in force have seen.
    pub(in crate::transport) fn used(&self) -> Count {
        self.used
    }

    /// True when part of a packet has arrived.
    pub(in crate::transport) fn in_packet(&self, rx: &RxBuf) -> bool {
        self.total.is_some() || self.conceal.is_some() || !rx.is_empty()
    }

    /// The next packet, if it has arrived whole: its sequence number and its payload, never empty.
    pub(in crate::transport) fn next(&mut self, rx: &mut RxBuf) -> Result<Option<(u32, Payload)>, Failure> {
        if self.conceal.is_some() {
            return self.swallow(rx);
        }
        if rx.is_empty() {
            return Ok(None);
        }
        let Some(total) = self.total_length(rx)? else {
            return if self.conceal.is_some() { self.swallow(rx) } else { Ok(None) };
        };
        let arrived = rx.len();
        if arrived < total {
            rx.expect(total.saturating_sub(arrived));
            return Ok(None);
        }
        let packet = rx.unread_mut().get_mut(..total).unwrap_or_default();
        if let Some(opener) = &mut self.opener
            && opener.open(self.seq, packet).is_err()
        {
            // Nothing of the packet stays readable (V-14).
            packet.fill(0);
            return self.bad(rx, MAX_PAYLOAD);
        }
        let pad = usize::from(packet.get(4).copied().unwrap_or(0));
        self.total = None;
        let seq = self.seq;
        self.seq = self.seq.wrapping_add(1);
        self.used.add(total);
        let range = rx.take(total);
        let start = range.start.saturating_add(5);
        let end = range.end.saturating_sub(self.shape.tag).saturating_sub(pad);
        if pad < 4 || end < start {
            return Err(Fault::Padding.into());
        }
        if end == start {
            return Err(Fault::EmptyPayload.into());
        }
        let payload = match &mut self.inflate {
            None => Payload::Buffer(start..end),
            Some(inflate) => {
                let mut out = core::mem::take(&mut rx.inflated);
                let result = inflate.decompress(rx.at(start..end), &mut out);
                rx.inflated = out;
                result?;
                if rx.inflated.is_empty() {
                    return Err(Fault::EmptyPayload.into());
                }
                Payload::Inflated
            }
        };
        self.received.add(payload.of(rx).len());
        Ok(Some((seq, payload)))
    }

    /// Reads the length of the packet at the front, once, and bounds it.
    fn total_length(&mut self, rx: &mut RxBuf) -> Result<Option<usize>, Failure> {
        if self.total.is_some() {
            return Ok(self.total);
        }
        let Some(head) = rx.unread_mut().get_mut(..self.shape.head) else { return Ok(None) };
        let length = match &mut self.opener {
            Some(opener) => opener.length(self.seq, head),
            None => head.first_chunk::<4>().map_or(0, |h| u32::from_be_bytes(*h)),
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let block = self.shape.block.max(8);
        let aligned = if self.shape.length_in_block {
            length.wrapping_add(4) % block == 0
        } else {
            length % block == 0
        };
        // 5 is padding length and 4 bytes of padding; RFC 4253 says 16 in all, but OpenSSH sends
        // packets of 12 with 8-byte blocks.
        if !(5..=MAX_PAYLOAD).contains(&length) || !aligned || length.saturating_add(4) < self.shape.head {
            if self.shape.conceal {
                self.conceal = Some(MAX_PAYLOAD);
                return Ok(None);
            }
            let (seen, max) = (length, MAX_PAYLOAD);
            return Err(Failure::text(
                Fault::PacketLength,
                alloc::format!("{seen} (at most {max}, in whole blocks of {block})"),
            ));
        }
        self.total = Some(length.saturating_add(4).saturating_add(self.shape.tag));
        Ok(self.total)
    }

    /// A packet that is not genuine. CBC goes on reading up to the largest packet first, so that
    /// the moment of the error tells nothing about the plaintext (CVE-2008-5161).
    fn bad(&mut self, rx: &mut RxBuf, swallow: usize) -> Result<Option<(u32, Payload)>, Failure> {
        if !self.shape.conceal {
            return Err(Fault::BadTag.into());
        }
        self.conceal = Some(swallow);
        self.swallow(rx)
    }

    fn swallow(&mut self, rx: &mut RxBuf) -> Result<Option<(u32, Payload)>, Failure> {
        let left = self.conceal.unwrap_or(0);
        let left = left.saturating_sub(rx.take(left).len());
        self.conceal = Some(left);
        if left == 0 || rx.at_eof() { Err(Fault::BadTag.into()) } else { Ok(None) }
    }
}

impl core::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Receiver(seq {})", self.seq)
    }
}
