use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use zeroize::Zeroize;

use crate::crypto::grow;

/// Free room that [`RxBuf::spare`] offers at least.
const MIN_SPARE: usize = 16 * 1024;
/// Free room it grows to when reads fill it again and again.
const MAX_SPARE: usize = 256 * 1024;
/// Where it stops growing for larger reads: the largest packet, and some room behind it.
const MAX_BUFFER: usize = MAX_SPARE + 2 * MIN_SPARE;

/// Received bytes. Owned by the caller, so that events can borrow from it while the connection
/// stays free to be called.
///
/// Read into [`spare`](Self::spare), say how much with [`filled`](Self::filled), tell the end of
/// input with [`eof`](Self::eof). Packets are decrypted in place; the content is nobody else's
/// business. An empty buffer owns no memory until it is read into, and [`release`](Self::release)
/// gives it back. What was in it is wiped before the memory is given back, not packet by packet.
#[derive(Default)]
pub struct RxBuf {
    /// All of it initialised; `head..tail` is unread input.
    buf: Vec<u8>,
    head: usize,
    tail: usize,
    /// Free room to offer next time.
    want: usize,
    /// Bytes that came since the last poll.
    fresh: usize,
    eof: bool,
    /// Where a compressed payload was inflated to.
    pub(super) inflated: Vec<u8>,
}

impl RxBuf {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Room to read into: at least 16 KiB, more when there is much to read. It grows with what has
    /// come, never with what a peer says will come (V-08).
    pub fn spare(&mut self) -> &mut [u8] {
        let empty = self.head == self.tail;
        if empty {
            self.head = 0;
            self.tail = 0;
        }
        let want = self.want.clamp(MIN_SPARE, MAX_SPARE);
        // Behind part of a packet, less will do: what is there is not moved for every byte.
        let enough = if empty { want } else { MIN_SPARE };
        if self.buf.len().saturating_sub(self.tail) < enough {
            if self.head > 0 {
                self.buf.copy_within(self.head..self.tail, 0);
                self.tail = self.tail.saturating_sub(self.head);
                self.head = 0;
            }
            if self.buf.len().saturating_sub(self.tail) < enough {
                let room = want.min(MAX_BUFFER.saturating_sub(self.tail)).max(MIN_SPARE);
                let need = self.tail.saturating_add(room);
                // Exactly: what a peer makes us hold is a number. Only a caller that reads on and on
                // without polling comes beyond, and is not to move it all each time.
                let twice = if need > MAX_BUFFER { self.buf.len().saturating_mul(2) } else { 0 };
                let need = need.max(twice);
                grow(&mut self.buf, need);
                self.buf.resize(need, 0);
            }
        }
        self.buf.get_mut(self.tail..).unwrap_or_default()
    }

    /// Says that the first `n` bytes of the last [`spare`](Self::spare) now hold input. Bytes beyond
    /// the spare room do not count.
    pub fn filled(&mut self, n: usize) {
        let room = self.buf.len().saturating_sub(self.tail);
        let n = n.min(room);
        if n == room {
            self.want = self.want.clamp(MIN_SPARE, MAX_SPARE).saturating_mul(2).min(MAX_SPARE);
        }
        self.tail = self.tail.saturating_add(n);
        self.fresh = self.fresh.saturating_add(n);
    }

    /// Says that no more input will come.
    pub fn eof(&mut self) {
        self.eof = true;
    }

    /// Copies `bytes` in; the same as [`spare`](Self::spare) and [`filled`](Self::filled).
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let spare = self.spare();
            let n = spare.len().min(bytes.len());
            if let (Some(to), Some(from)) = (spare.get_mut(..n), bytes.get(..n)) {
                to.copy_from_slice(from);
            }
            self.filled(n);
            bytes = bytes.get(n..).unwrap_or_default();
        }
    }

    /// True when every byte was taken.
    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// Bytes not taken yet: the part of a packet that is still incomplete, or packets that the
    /// connection is not ready for.
    pub fn len(&self) -> usize {
        self.tail.saturating_sub(self.head)
    }

    /// Gives the memory back if nothing is in it (for fleets of idle connections).
    pub fn release(&mut self) {
        if self.is_empty() {
            let eof = self.eof;
            *self = Self::default();
            self.eof = eof;
        }
    }

    /// Moves what was not taken yet into a buffer of its own, no larger than that, and leaves this one
    /// empty with its memory: so one large buffer serves a whole loop of connections, and only those
    /// in the middle of a packet hold one.
    pub fn split_off(&mut self) -> RxBuf {
        let rest = self.unread();
        let fresh = self.fresh.min(rest.len());
        let mut buf = Vec::with_capacity(rest.len());
        buf.extend_from_slice(rest);
        let tail = buf.len();
        let eof = core::mem::take(&mut self.eof);
        (self.head, self.tail, self.fresh) = (0, 0, 0);
        RxBuf { buf, head: 0, tail, want: 0, fresh, eof, inflated: Vec::new() }
    }

    pub(crate) fn at_eof(&self) -> bool {
        self.eof
    }

    pub(in crate::transport) fn unread(&self) -> &[u8] {
        self.buf.get(self.head..self.tail).unwrap_or_default()
    }

    pub(super) fn unread_mut(&mut self) -> &mut [u8] {
        self.buf.get_mut(self.head..self.tail).unwrap_or_default()
    }

    /// Takes `n` bytes and says where they stand until the next change of the buffer.
    pub(in crate::transport) fn take(&mut self, n: usize) -> Range<usize> {
        let start = self.head;
        self.head = self.head.saturating_add(n).min(self.tail);
        start..self.head
    }

    pub(super) fn at(&self, range: Range<usize>) -> &[u8] {
        self.buf.get(range).unwrap_or_default()
    }

    /// A packet of which `missing` bytes are not here yet: the next spare is larger, up to as much
    /// again as has come of it.
    pub(super) fn expect(&mut self, missing: usize) {
        self.want = self.want.max(missing.min(self.len()).min(MAX_SPARE));
    }

    /// Nobody wants to know what came since the last poll.
    pub(crate) fn forget_fresh(&mut self) {
        self.fresh = 0;
    }

    /// The bytes that came since the last call, for a recorder.
    pub(crate) fn take_fresh(&mut self) -> &[u8] {
        let n = core::mem::take(&mut self.fresh);
        self.buf.get(self.tail.saturating_sub(n)..self.tail).unwrap_or_default()
    }
}

impl Drop for RxBuf {
    fn drop(&mut self) {
        self.buf.zeroize();
        self.inflated.zeroize();
    }
}

impl fmt::Debug for RxBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RxBuf({} bytes{})", self.len(), if self.eof { ", end of input" } else { "" })
    }
}
