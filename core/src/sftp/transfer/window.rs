//! How much may be in flight.

use core::time::Duration;

use crate::time::Time;

use super::TransferConfig;

/// Latency that is never taken for a queue: what a busy local machine has.
const GRACE: Duration = Duration::from_millis(5);

/// A window in bytes and requests. It opens by what is acknowledged as long as it is used and replies are not
/// much slower than the fastest one, so it doubles each round trip until something on the way is full; it
/// closes when a server stalls, and then stays below what stalled it.
#[derive(Debug)]
pub(super) struct Window {
    /// What may be in flight now.
    bytes: usize,
    max_bytes: usize,
    requests: usize,
    in_bytes: usize,
    in_requests: usize,
    /// Most requests that ever were.
    pub(super) peak: usize,
    fastest: Option<Duration>,
    /// Most bytes in flight in this round trip and in the one before, and when this one began. Replies often
    /// come many at a time: how much is in flight while they are taken says nothing.
    crests: (usize, usize),
    round: Time,
    /// The last sign of progress.
    progress: Time,
    stall: Duration,
    /// Stalls since the last reply.
    pub(super) stalls: u32,
    stalled: bool,
}

impl Window {
    pub(super) fn new(config: &TransferConfig) -> Self {
        Window {
            bytes: config.start_requests.max(1).saturating_mul(32 * 1024).min(config.max_bytes),
            max_bytes: config.max_bytes,
            requests: config.max_requests.max(1),
            in_bytes: 0,
            in_requests: 0,
            peak: 0,
            fastest: None,
            crests: (0, 0),
            round: Time::ZERO,
            progress: Time::ZERO,
            stall: config.stall,
            stalls: 0,
            stalled: false,
        }
    }

    /// The size of requests became known: at least so many of them.
    pub(super) fn at_least(&mut self, bytes: usize) {
        if !self.stalled {
            self.bytes = self.bytes.max(bytes).min(self.max_bytes);
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.in_requests == 0 || (self.in_requests < self.requests && self.in_bytes < self.bytes)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_requests
    }

    /// Bytes that may still come, with `held` that came and wait, before it is more than the largest window.
    pub(super) fn room_beside(&self, held: usize) -> usize {
        self.max_bytes.saturating_sub(held).saturating_sub(self.in_bytes)
    }

    pub(super) fn sent(&mut self, len: usize, now: Time) {
        if self.in_requests == 0 {
            self.progress = now;
        }
        self.in_bytes = self.in_bytes.saturating_add(len);
        self.in_requests = self.in_requests.saturating_add(1);
        self.peak = self.peak.max(self.in_requests);
        self.crests.0 = self.crests.0.max(self.in_bytes);
    }

    /// A request is over without a word about how fast the server is.
    pub(super) fn forget(&mut self, len: usize) {
        self.in_bytes = self.in_bytes.saturating_sub(len);
        self.in_requests = self.in_requests.saturating_sub(1);
    }

    /// The reply to a request of `len` bytes that was sent at `sent`.
    pub(super) fn acked(&mut self, len: usize, sent: Time, now: Time) {
        self.forget(len);
        (self.progress, self.stalls) = (now, 0);
        let took = now.since(sent);
        let fastest = self.fastest.map_or(took, |f| f.min(took));
        self.fastest = Some(fastest);
        let quick = took <= fastest.saturating_mul(4).saturating_add(GRACE);
        if sent >= self.round {
            (self.crests, self.round) = ((self.in_bytes, self.crests.0), now);
        }
        let used = self.crests.0.max(self.crests.1);
        if quick && used.saturating_mul(2) > self.bytes {
            self.bytes = self.bytes.saturating_add(len).min(self.max_bytes);
        }
    }

    /// Something came that shows that the server lives.
    pub(super) fn alive(&mut self, now: Time) {
        (self.progress, self.stalls) = (now, 0);
    }

    /// The first request after a time when nothing was waited for.
    pub(super) fn start_clock(&mut self, now: Time) {
        self.progress = now;
    }

    /// When the server counts as stalled, if anything is waited for.
    pub(super) fn deadline(&self, waiting: bool) -> Option<Time> {
        waiting.then(|| self.progress + self.stall)
    }

    /// Whether it ever stalled.
    pub(super) fn has_stalled(&self) -> bool {
        self.stalled
    }

    /// No reply for too long: a quarter of what was in flight from now on.
    pub(super) fn stalled(&mut self, now: Time) {
        self.requests = (self.in_requests.min(self.requests) / 4).max(1);
        self.bytes = (self.bytes / 4).max(32 * 1024);
        self.stalls = self.stalls.saturating_add(1);
        self.stalled = true;
        self.progress = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_micros(ms * 1000)
    }

    #[test]
    fn it_doubles_each_round_trip_and_stops_at_the_limit() {
        // Replies come one by one, each making room that is used at once; or all of them before anything is sent.
        for at_once in [false, true] {
            let mut w = Window::new(&TransferConfig::default());
            for round in 0..10u64 {
                let (before, now) = (at((round * 100).saturating_sub(100)), at(round * 100));
                let mut fresh = 0;
                for _ in 0..w.in_flight() {
                    w.acked(32 << 10, before, now);
                    while !at_once && w.has_room() {
                        w.sent(32 << 10, now);
                        fresh += 1;
                    }
                }
                while w.has_room() {
                    w.sent(32 << 10, now);
                    fresh += 1;
                }
                assert_eq!((w.in_flight(), fresh), ((16 << round).min(1024), w.in_flight()), "{at_once}");
            }
            assert_eq!((w.bytes, w.peak), (32 << 20, 1024));
        }
    }

    #[test]
    fn it_does_not_grow_into_a_queue() {
        let mut w = Window::new(&TransferConfig::default());
        // One request a millisecond is all the link takes.
        w.sent(1, at(0));
        w.acked(1, at(0), at(10));
        let mut queue = alloc::collections::VecDeque::new();
        for now in 0..10_000 {
            while w.has_room() {
                w.sent(32 << 10, at(now));
                queue.push_back(now);
            }
            if let Some(sent) = queue.pop_front() {
                w.acked(32 << 10, at(sent), at(now + 10));
            }
        }
        // Four times the fastest reply, and what was on its way when that was reached.
        assert!(w.bytes < 90 * (32 << 10), "{}", w.bytes);
    }

    #[test]
    fn u_02_a_stall_closes_it_for_good() {
        let mut w = Window::new(&TransferConfig::default());
        (0..8).for_each(|_| w.sent(32 << 10, at(0)));
        assert_eq!(w.deadline(true), Some(at(10_000)));
        w.stalled(at(10_000));
        (0..8).for_each(|_| w.forget(32 << 10));
        for _ in 0..100 {
            let mut n = 0;
            while w.has_room() {
                w.sent(32 << 10, at(0));
                n += 1;
            }
            assert!(n <= 2);
            (0..n).for_each(|_| w.acked(32 << 10, at(0), at(1)));
        }
    }
}
