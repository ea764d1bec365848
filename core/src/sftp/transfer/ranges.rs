//! Which bytes of a file were asked for, came, and are still missing.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use super::TransferError;

/// Data that is kept is put together up to this size.
const PIECE: usize = 64 * 1024;

/// The reading of one file.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    start: u64,
    /// Asked for up to here.
    next: u64,
    /// Parts that did not come, in order: to be asked for again, before all else.
    holes: VecDeque<(u64, u32)>,
    /// What came, as far as it is not contiguous with the start: start and end.
    islands: BTreeMap<u64, u64>,
    /// Everything from the start to here came.
    done: u64,
    /// End of what came farthest.
    high: u64,
    /// The size that the server told.
    pub(super) size: Option<u64>,
    /// The size is being asked for.
    pub(super) size_pending: bool,
    /// The file ends here: a server said EOF at it.
    eof: Option<u64>,
    /// A reply ended exactly at the size that was told, and more had been asked for.
    ended: bool,
    /// Stop here.
    end: Option<u64>,
    /// Not beyond, for now.
    pub(super) limit: Option<u64>,
}

impl Ranges {
    pub(super) fn new(start: u64, end: Option<u64>, size: Option<u64>, limit: Option<u64>) -> Self {
        Ranges { start, next: start, done: start, high: start, size, end, limit, ..Ranges::default() }
    }

    /// Starts again where contiguous data ends, with nothing in flight.
    pub(super) fn restart(&mut self) {
        (self.next, self.high) = (self.done, self.done);
        self.holes.clear();
        self.islands.clear();
        (self.size, self.eof, self.ended) = (None, None, false);
    }

    /// Contiguous data ends here.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// The next range to ask for, at most `len` bytes.
    pub(super) fn next(&mut self, len: u32, in_flight: usize) -> Option<(u64, u32)> {
        while let Some((offset, n)) = self.holes.pop_front() {
            if self.eof.is_some_and(|eof| offset >= eof) {
                continue;
            }
            if n > len {
                self.holes.push_front((offset.saturating_add(u64::from(len)), n.saturating_sub(len)));
            }
            return Some((offset, n.min(len)));
        }
        if self.eof.is_some() || self.ended || self.limit.is_some_and(|l| self.next >= l) {
            return None;
        }
        if self.end.is_some_and(|end| self.next >= end) {
            return None;
        }
        let wait = match self.size {
            // One request reaches beyond the end, and shows that it is one.
            Some(size) => self.next > size.max(self.high),
            // One at a time until it is known how much there is.
            None => self.size_pending && in_flight > 0,
        };
        // Beyond the size that was told, one at a time: the file grows, or has no size.
        let beyond = self.size.is_some_and(|size| self.next > size && in_flight > 0);
        if wait || beyond {
            return None;
        }
        let offset = self.next;
        let room = self.end.map_or(u64::MAX, |end| end.saturating_sub(offset));
        let len = u32::try_from(room.min(u64::from(len))).unwrap_or(len);
        self.next = offset.saturating_add(u64::from(len));
        Some((offset, len))
    }

    /// Not asked for after all.
    pub(super) fn again(&mut self, offset: u64, len: u32) {
        if len > 0 && self.eof.is_none_or(|eof| offset < eof) {
            let at = self.holes.partition_point(|(other, _)| *other < offset);
            self.holes.insert(at, (offset, len));
        }
    }

    /// Where the next range starts, if there is one.
    pub(super) fn upcoming(&self) -> u64 {
        self.holes.front().map_or(self.next, |(offset, _)| *offset)
    }

    /// Data came.
    pub(super) fn got(&mut self, offset: u64, len: usize) {
        let mut end = offset.saturating_add(len as u64);
        self.high = self.high.max(end);
        if offset > self.done {
            // Mostly the next part of a reply.
            match self.islands.range_mut(..offset).next_back().filter(|(_, to)| **to == offset) {
                Some((_, to)) => *to = end,
                None => drop(self.islands.insert(offset, end)),
            }
            return;
        }
        self.done = self.done.max(end);
        while let Some((&from, &to)) = self.islands.first_key_value() {
            if from > self.done {
                break;
            }
            self.islands.pop_first();
            end = to;
            self.done = self.done.max(end);
        }
    }

    /// A reply to a request for `len` bytes is complete, with `n` of them. True if the rest is a hole
    /// that the server left.
    pub(super) fn replied(&mut self, offset: u64, len: u32, n: u32) -> bool {
        let at = offset.saturating_add(u64::from(n));
        let rest = len.saturating_sub(n);
        if rest == 0 || self.eof.is_some_and(|eof| at >= eof) {
            return false;
        }
        if self.size == Some(at) {
            self.ended = true;
            return false;
        }
        self.again(at, rest);
        true
    }

    /// EOF came for a request at `offset`.
    pub(super) fn eof(&mut self, offset: u64) {
        self.eof = Some(self.eof.map_or(offset, |eof| eof.min(offset)));
        let end = self.eof;
        self.holes.retain(|(at, _)| end.is_some_and(|end| *at < end));
    }

    /// Whether nothing is left to ask for, when nothing is in flight.
    pub(super) fn is_exhausted(&self) -> bool {
        let at_end = self.end.is_some_and(|end| self.next >= end);
        self.holes.is_empty() && (self.eof.is_some() || self.ended || at_end)
    }

    /// Whether the file ended before the size that was told, and not because it was cut where it was read.
    pub(super) fn is_short(&self) -> bool {
        let wanted = self.size.map(|size| self.end.map_or(size, |end| size.min(end)));
        let whole = self.islands.is_empty() && self.eof.is_some_and(|eof| eof >= self.high);
        whole && wanted.is_some_and(|wanted| self.done < wanted)
    }

    /// When everything was answered: the bytes that came, from the start.
    pub(super) fn verdict(&self) -> Result<u64, TransferError> {
        // Data beyond an end, or a gap: the file was cut while it was read.
        if !self.islands.is_empty() || self.eof.is_some_and(|eof| eof < self.high) {
            return Err(TransferError::Changed);
        }
        let wanted = match (self.size, self.end) {
            (Some(size), Some(end)) => Some(size.min(end)),
            (size, _) => size,
        };
        match wanted {
            Some(size) if self.done < size => {
                Err(TransferError::Truncated { expected: size, got: self.done })
            }
            _ if self.is_exhausted() => Ok(self.done.saturating_sub(self.start)),
            _ => Err(TransferError::Changed),
        }
    }
}

/// Puts data in order.
#[derive(Debug, Default)]
pub(super) struct Reorder {
    next: u64,
    held: BTreeMap<u64, Vec<u8>>,
    bytes: usize,
}

impl Reorder {
    pub(super) fn new(start: u64) -> Self {
        Reorder { next: start, ..Reorder::default() }
    }

    /// What comes next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Bytes that are kept.
    pub(super) fn held(&self) -> usize {
        self.bytes
    }

    /// True if `data` is what comes next; else it is kept until its turn.
    pub(super) fn take(&mut self, offset: u64, data: &[u8]) -> bool {
        if offset == self.next && !self.held.contains_key(&offset) {
            self.next = offset.saturating_add(data.len() as u64);
            return true;
        }
        if offset >= self.next {
            self.hold(offset, data);
        }
        false
    }

    /// Small pieces that follow each other are one, so that what is kept is not mostly what stands around it.
    fn hold(&mut self, offset: u64, data: &[u8]) {
        let before = self.held.range_mut(..offset).next_back();
        let before = before.filter(|(at, b)| at.saturating_add(b.len() as u64) == offset && b.len() < PIECE);
        let replaced = match before {
            Some((_, before)) => {
                before.extend_from_slice(data);
                None
            }
            None => self.held.insert(offset, data.to_vec()),
        };
        let gone = replaced.map_or(0, |data| data.len());
        self.bytes = self.bytes.saturating_add(data.len()).saturating_sub(gone);
    }

    /// What was kept and is next now.
    pub(super) fn ready(&mut self) -> Option<(u64, Vec<u8>)> {
        let data = self.held.remove(&self.next)?;
        self.bytes = self.bytes.saturating_sub(data.len());
        let offset = self.next;
        self.next = offset.saturating_add(data.len() as u64);
        Some((offset, data))
    }

    /// Everything that was kept is thrown away.
    pub(super) fn clear(&mut self) {
        self.held.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_known_size_takes_one_request_beyond_its_whole_parts() {
        for (size, requests) in [(0u64, 1), (9, 1), (10, 2), (25, 3), (30, 4)] {
            let mut r = Ranges::new(0, None, Some(size), None);
            let mut n = 0;
            while let Some((offset, len)) = r.next(10, n) {
                let got = size.saturating_sub(offset).min(10) as u32;
                if got == 0 {
                    r.eof(offset);
                } else {
                    r.got(offset, got as usize);
                    r.replied(offset, len, got);
                }
                n += 1;
            }
            assert_eq!((n, r.verdict()), (requests, Ok(size)), "{size}");
        }
    }

    #[test]
    fn u_10_short_replies_leave_holes_that_are_asked_for_first() {
        let mut r = Ranges::new(0, None, Some(100), None);
        assert_eq!(r.next(40, 0), Some((0, 40)));
        assert_eq!(r.next(40, 1), Some((40, 40)));
        r.got(0, 10);
        assert!(r.replied(0, 40, 10));
        r.got(40, 40);
        assert!(!r.replied(40, 40, 40));
        assert_eq!(r.next(40, 0), Some((10, 30)));
        r.got(10, 30);
        r.replied(10, 30, 30);
        assert_eq!(r.done(), 80);
        assert_eq!(r.next(40, 0), Some((80, 40)));
        r.eof(80);
        assert_eq!(r.verdict(), Err(TransferError::Truncated { expected: 100, got: 80 }));
    }

    #[test]
    fn an_end_before_data_that_came_is_a_change() {
        let mut r = Ranges::new(0, None, None, None);
        r.next(10, 0);
        r.next(10, 1);
        r.got(10, 10);
        r.replied(10, 10, 10);
        r.eof(0);
        assert_eq!(r.verdict(), Err(TransferError::Changed));
    }
}
