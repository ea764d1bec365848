use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroize;

use crate::crypto::grow;
use crate::wire::Sink;

/// Bytes to be sent, contiguous. Lives in the connection; packets are built and sealed in it.
///
/// Write [`pending`](Self::pending) to the peer and [`consume`](Self::consume) what was taken, or
/// [`swap`](Self::swap) everything into a buffer of your own, so that no lock on the connection is
/// held while you write.
#[derive(Default)]
pub struct TxBuf {
    /// All of it initialised; `head..tail` is sealed output, what lies behind is being built.
    buf: Vec<u8>,
    head: usize,
    tail: usize,
    /// Bytes consumed since the start.
    consumed: u64,
}

impl TxBuf {
    /// An empty buffer, to swap with.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is to be sent.
    pub fn pending(&self) -> &[u8] {
        self.buf.get(self.head..self.tail).unwrap_or_default()
    }

    /// Says that the first `n` bytes of [`pending`](Self::pending) were sent.
    pub fn consume(&mut self, n: usize) {
        let n = n.min(self.len());
        self.head = self.head.saturating_add(n);
        self.consumed = self.consumed.saturating_add(n as u64);
        if self.head == self.tail {
            self.head = 0;
            self.tail = 0;
        }
    }

    /// Moves everything pending into `other`, if that is empty, and takes its memory in exchange.
    /// Counts as consumed here. Returns false, and does nothing, if `other` still has bytes.
    pub fn swap(&mut self, other: &mut TxBuf) -> bool {
        if !other.is_empty() {
            return false;
        }
        core::mem::swap(&mut self.buf, &mut other.buf);
        (other.head, other.tail) = (self.head, self.tail);
        self.consumed = self.consumed.saturating_add(other.len() as u64);
        (self.head, self.tail) = (0, 0);
        true
    }

    /// True when nothing is to be sent.
    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// Bytes to be sent.
    pub fn len(&self) -> usize {
        self.tail.saturating_sub(self.head)
    }

    /// Gives the memory back if nothing is pending, wiped.
    pub fn release(&mut self) {
        if self.is_empty() {
            core::mem::take(&mut self.buf).zeroize();
            (self.head, self.tail) = (0, 0);
        }
    }

    /// Bytes consumed since the start.
    pub(crate) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Appends bytes that are no packet: the identification line.
    pub(super) fn push_raw(&mut self, bytes: &[u8]) {
        let mut draft = self.draft();
        draft.put(bytes);
        let len = draft.len;
        self.publish(len);
    }

    /// Starts building behind the pending bytes. What was built and not published is forgotten.
    pub(crate) fn draft(&mut self) -> Draft<'_> {
        Draft { len: 0, tx: self }
    }

    /// Goes on with a draft of which `len` bytes stand.
    pub(super) fn redraft(&mut self, len: usize) -> Draft<'_> {
        Draft { len, tx: self }
    }

    /// The first `len` bytes of the draft.
    pub(crate) fn drafted(&mut self, len: usize) -> &mut [u8] {
        self.buf.get_mut(self.tail..self.tail.saturating_add(len)).unwrap_or_default()
    }

    /// Makes `len` bytes of the draft pending.
    pub(crate) fn publish(&mut self, len: usize) {
        self.tail = self.tail.saturating_add(len).min(self.buf.len());
    }

    /// Makes room for a draft of `len` bytes, of which `built` stand already.
    #[cold]
    fn reserve(&mut self, built: usize, len: usize) {
        if self.head > 0 {
            let end = self.tail.saturating_add(built).min(self.buf.len());
            self.buf.copy_within(self.head..end, 0);
            self.tail = self.tail.saturating_sub(self.head);
            self.head = 0;
        }
        let need = self.tail.saturating_add(len);
        if need > self.buf.len() {
            // A draft is not sealed yet.
            let room = need.next_power_of_two().max(1024);
            grow(&mut self.buf, room);
            self.buf.resize(room, 0);
        }
    }
}

impl Drop for TxBuf {
    fn drop(&mut self) {
        self.buf.zeroize();
    }
}

impl fmt::Debug for TxBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TxBuf({} bytes)", self.len())
    }
}

/// Bytes being built behind the pending ones.
pub(crate) struct Draft<'t> {
    tx: &'t mut TxBuf,
    len: usize,
}

impl<'t> Draft<'t> {
    /// Bytes built so far.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Takes back all but the first `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Room for `n` more bytes, to be filled by the caller. Holds bytes of earlier packets.
    #[inline]
    pub(crate) fn extend(&mut self, n: usize) -> &mut [u8] {
        let start = self.len;
        self.len = start.saturating_add(n);
        if self.tx.tail.saturating_add(self.len) > self.tx.buf.len() {
            self.tx.reserve(start, self.len);
        }
        let tail = self.tx.tail;
        self.tx.buf.get_mut(tail.saturating_add(start)..tail.saturating_add(self.len)).unwrap_or_default()
    }
}

impl Sink for Draft<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let room = self.extend(bytes.len());
        if room.len() == bytes.len() {
            room.copy_from_slice(bytes);
        }
    }

    // Most of a message is numbers: without a call for four bytes.
    fn put_u8(&mut self, v: u8) {
        if let Some(room) = self.extend(1).first_chunk_mut() {
            *room = [v];
        }
    }

    fn put_u32(&mut self, v: u32) {
        if let Some(room) = self.extend(4).first_chunk_mut() {
            *room = v.to_be_bytes();
        }
    }
}
