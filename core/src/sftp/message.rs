//! Cutting a byte stream into messages (draft-ietf-secsh-filexfer-02 §3), without copying file data.

use alloc::vec::Vec;
use core::fmt;

use crate::transport::TxBuf;
use crate::wire::Sink;

use super::error::{Error, Fault};

/// Largest message, its length field not counted: OpenSSH `SFTP_MAX_MSG_LENGTH`.
pub const MAX_MESSAGE: usize = 256 * 1024;
/// Most bytes of one READ or WRITE: 255 KiB, OpenSSH's `max-read-length`.
pub const MAX_DATA: usize = MAX_MESSAGE - 1024;
/// Longest handle (draft §4).
pub const MAX_HANDLE: usize = 256;

/// Message numbers (draft §3).
pub(crate) mod number {
    pub(crate) const INIT: u8 = 1;
    pub(crate) const VERSION: u8 = 2;
    pub(crate) const WRITE: u8 = 6;
    pub(crate) const STATUS: u8 = 101;
    pub(crate) const HANDLE: u8 = 102;
    pub(crate) const DATA: u8 = 103;
    pub(crate) const NAME: u8 = 104;
    pub(crate) const ATTRS: u8 = 105;
    pub(crate) const EXTENDED: u8 = 200;
    pub(crate) const EXTENDED_REPLY: u8 = 201;
}

/// The bytes of a message that came in pieces. Owned by the caller, so that events can borrow from it
/// while the machine stays free to be called. It grows with what has come, to 256 KiB at most; file
/// data never goes through it.
#[derive(Default)]
pub struct MsgBuf {
    buf: Vec<u8>,
    /// What is in it was handed out: the next message starts afresh.
    done: bool,
}

impl MsgBuf {
    /// An empty buffer. It owns no memory until a message comes in pieces.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the memory back if nothing is in it.
    pub fn release(&mut self) {
        if self.done || self.buf.is_empty() {
            *self = Self::default();
        }
    }

    /// The first `max` bytes of a message, of which the front may be here already.
    pub(crate) fn start(&self, input: &[u8], max: usize) -> Vec<u8> {
        let here = if self.done { &[][..] } else { &self.buf };
        here.iter().chain(input).take(max).copied().collect()
    }

    /// Passes over the first of them.
    pub(crate) fn skip_first(&mut self, input: &mut &[u8]) {
        if self.done || self.buf.is_empty() {
            *input = input.get(1..).unwrap_or_default();
        } else {
            self.buf.remove(0);
        }
    }

    /// Copies from the front of `input` until `need` bytes are here. False when they are not.
    fn gather(&mut self, need: usize, input: &mut &[u8]) -> bool {
        let missing = need.saturating_sub(self.buf.len());
        let (taken, rest) = input.split_at_checked(missing).unwrap_or((input, &[]));
        // Exactly what came, or twice as much as before: a claimed length costs nothing (S-01).
        let want = self.buf.len().saturating_add(taken.len());
        if want > self.buf.capacity() {
            let room = want.max(self.buf.capacity().saturating_mul(2)).min(need.max(want));
            self.buf.reserve_exact(room.saturating_sub(self.buf.len()));
        }
        self.buf.extend_from_slice(taken);
        *input = rest;
        taken.len() == missing
    }
}

impl fmt::Debug for MsgBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MsgBuf({} bytes)", if self.done { 0 } else { self.buf.len() })
    }
}

/// What the first bytes of a message say about how it is to be taken.
pub(crate) enum Plan {
    /// As a whole.
    Whole,
    /// So many bytes are needed to tell.
    Need(usize),
    /// The first so many bytes, then the rest as it comes: file data.
    Bulk(usize),
}

/// A piece of the stream.
pub(crate) struct Frame<'b> {
    pub(crate) kind: FrameKind,
    source: Source<'b>,
}

/// What a piece is.
#[derive(Clone, Copy)]
pub(crate) enum FrameKind {
    /// A whole message: number and fields.
    Message,
    /// The fields before the file data of a message, and how much data follows.
    Bulk(usize),
    /// File data, in the order it stands in the message, and how much of it is still to come.
    Data(usize),
}

/// Where its bytes are.
enum Source<'b> {
    Input(&'b [u8]),
    Buffer,
}

impl<'b> Frame<'b> {
    /// Its bytes; `rx` is the buffer that it was found with.
    pub(crate) fn bytes<'x>(&self, rx: &'x MsgBuf) -> &'x [u8]
    where
        'b: 'x,
    {
        match self.source {
            Source::Input(bytes) => bytes,
            Source::Buffer => rx.buf.get(4..).unwrap_or_default(),
        }
    }

    /// File data, which is never in the buffer.
    pub(crate) fn data(&self) -> &'b [u8] {
        match self.source {
            Source::Input(bytes) => bytes,
            Source::Buffer => &[],
        }
    }
}

/// Where a message lies.
enum Place {
    Input(usize),
    Buffer,
}

/// Cuts one direction of a session into frames.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    /// File data of the current message that has not come yet.
    left: usize,
}

impl Framer {
    /// True in the middle of a message.
    pub(crate) fn is_within(&self, rx: &MsgBuf) -> bool {
        self.left > 0 || (!rx.done && !rx.buf.is_empty())
    }

    /// The next frame. `None`: the input is used up.
    pub(crate) fn next<'b>(
        &mut self,
        rx: &mut MsgBuf,
        input: &mut &'b [u8],
        plan: impl Fn(&[u8]) -> Plan,
    ) -> Result<Option<Frame<'b>>, Error> {
        if rx.done {
            rx.buf.clear();
            rx.done = false;
        }
        if self.left > 0 {
            if input.is_empty() {
                return Ok(None);
            }
            let (data, rest) = input.split_at_checked(self.left).unwrap_or((input, &[]));
            *input = rest;
            self.left = self.left.saturating_sub(data.len());
            return Ok(Some(Frame { kind: FrameKind::Data(self.left), source: Source::Input(data) }));
        }
        let Some((place, len, bulk)) = find(rx, input, plan)? else { return Ok(None) };
        let source = match place {
            Place::Input(n) => {
                let (taken, rest) = input.split_at_checked(n).unwrap_or((input, &[]));
                *input = rest;
                Source::Input(taken.get(4..).unwrap_or_default())
            }
            Place::Buffer => {
                rx.done = true;
                Source::Buffer
            }
        };
        let kind = match bulk {
            Some(head) => {
                self.left = len.saturating_sub(head);
                FrameKind::Bulk(self.left)
            }
            None => FrameKind::Message,
        };
        Ok(Some(Frame { kind, source }))
    }
}

/// Finds the next message, or the fields before its data: where, the message's length, and the length
/// of those fields.
#[allow(clippy::type_complexity)]
fn find(
    rx: &mut MsgBuf,
    input: &mut &[u8],
    plan: impl Fn(&[u8]) -> Plan,
) -> Result<Option<(Place, usize, Option<usize>)>, Error> {
    loop {
        let direct = rx.buf.is_empty();
        let here = if direct { *input } else { rx.buf.as_slice() };
        let mut need = 4;
        if let Some((head, body)) = here.split_first_chunk::<4>() {
            let len = length(*head, body)?;
            let body = body.get(..len).unwrap_or(body);
            let (want, bulk) = match plan(body) {
                Plan::Whole => (len, None),
                Plan::Need(n) if n < len => (n, None),
                Plan::Need(_) => (len, None),
                Plan::Bulk(n) => (n, Some(n)),
            };
            if body.len() >= want {
                let end = want.saturating_add(4);
                let place = if direct { Place::Input(end) } else { Place::Buffer };
                return Ok(Some((place, len, bulk)));
            }
            need = want.saturating_add(4);
        }
        // The part of a message that is here goes into the buffer; the rest comes to it.
        if !rx.gather(need, input) {
            return Ok(None);
        }
    }
}

fn length(head: [u8; 4], body: &[u8]) -> Result<usize, Error> {
    let len = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if (1..=MAX_MESSAGE).contains(&len) {
        return Ok(len);
    }
    let number = body.first().map_or_else(alloc::string::String::new, |n| alloc::format!(", type {n}"));
    Err(Error::new(Fault::MessageLength, alloc::format!("length {len}{number}")))
}

/// Appends a message to `tx`; `fields` writes what follows the length.
pub(crate) fn send(tx: &mut TxBuf, fields: impl FnOnce(&mut dyn Sink)) {
    let mut draft = tx.draft();
    draft.put_u32(0);
    fields(&mut draft);
    let len = draft.len();
    publish(tx, len);
}

/// Ends a draft of which `len` bytes stand: sets its length field, makes it pending.
pub(crate) fn publish(tx: &mut TxBuf, len: usize) {
    patch(tx, len, 0, len.saturating_sub(4));
    tx.publish(len);
}

/// Sets the `uint32` at `at` of a draft of which `len` bytes stand.
pub(crate) fn patch(tx: &mut TxBuf, len: usize, at: usize, value: usize) {
    if let Some(field) = tx.drafted(len).get_mut(at..).and_then(|b| b.first_chunk_mut::<4>()) {
        *field = u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(body: &[u8]) -> Plan {
        match body {
            [b'D', n, ..] => Plan::Bulk(2 + usize::from(*n)),
            [b'D'] | [] => Plan::Need(2),
            _ => Plan::Whole,
        }
    }

    /// What comes out of `bytes` when they come in pieces of `cut`.
    fn frames(bytes: &[u8], cut: usize) -> Vec<Vec<u8>> {
        let (mut framer, mut rx, mut out) = (Framer::default(), MsgBuf::new(), Vec::<Vec<u8>>::new());
        for mut piece in bytes.chunks(cut) {
            while let Some(frame) = framer.next(&mut rx, &mut piece, plan).unwrap() {
                match frame.kind {
                    FrameKind::Message => out.push(frame.bytes(&rx).to_vec()),
                    FrameKind::Bulk(data) => out.push([frame.bytes(&rx), &[data as u8]].concat()),
                    FrameKind::Data(_) => out.last_mut().unwrap().extend_from_slice(frame.data()),
                }
            }
        }
        assert!(!framer.is_within(&rx));
        out
    }

    #[test]
    fn the_same_messages_however_the_input_is_cut() {
        let mut bytes = Vec::new();
        for body in [&b"hello"[..], b"D\x03abcdata data", b"x", b"D\x00", b"D\x00y"] {
            bytes.put_string(body);
        }
        let whole = frames(&bytes, bytes.len());
        assert_eq!(whole[1], b"D\x03abc\x09data data");
        for cut in 1..bytes.len() {
            assert_eq!(frames(&bytes, cut), whole, "cut at {cut}");
        }
    }

    #[test]
    fn s_01_lengths_out_of_bounds_are_refused_before_anything_is_kept() {
        for len in [0u32, MAX_MESSAGE as u32 + 1, u32::MAX] {
            let bytes = len.to_be_bytes();
            let (mut framer, mut rx) = (Framer::default(), MsgBuf::new());
            let error = framer.next(&mut rx, &mut &bytes[..], plan).err().unwrap();
            assert_eq!(error.fault(), Fault::MessageLength);
            assert_eq!(rx.buf.capacity(), 0);
        }
        // What is claimed is not what is kept.
        let (mut framer, mut rx) = (Framer::default(), MsgBuf::new());
        let bytes = [&(MAX_MESSAGE as u32).to_be_bytes()[..], b"xyz"].concat();
        assert!(framer.next(&mut rx, &mut &bytes[..], plan).unwrap().is_none());
        assert!(rx.buf.capacity() < 64);
    }
}
