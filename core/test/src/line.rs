//! The way of bytes from one end to the other.

use std::collections::VecDeque;
use std::time::Duration;

use konko_core::{Rng, RxBuf, Seed, Time, TxBuf};

/// What a line is like. The default delays by a millisecond and does nothing else.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Link {
    /// How long a byte is on its way.
    pub latency: Duration,
    /// Up to so much later, as chance has it, in the order in which they were sent.
    pub jitter: Duration,
    /// Bytes a second; 0 is no limit.
    pub bandwidth: u64,
    /// Bytes that the sockets hold: so much may wait to leave, and so much may have arrived and not been read, before
    /// the sender has to wait. No limit by default.
    pub buffer: usize,
    /// A read gets at most so many bytes.
    pub chunk: usize,
    /// A read gets any part of that, as chance has it.
    pub ragged: bool,
    /// The receiver does not read for a while, again and again. Not by default.
    pub stalls: Option<Stalls>,
}

/// Whiles in which a receiver does not read, as when its thread is busy with something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stalls {
    /// How long it reads in between, on average: half of it to one and a half.
    pub every: Duration,
    /// How long it does not.
    pub lasting: Duration,
}

impl Default for Link {
    fn default() -> Self {
        Link {
            latency: Duration::from_millis(1),
            jitter: Duration::ZERO,
            bandwidth: 0,
            buffer: usize::MAX,
            chunk: usize::MAX,
            ragged: false,
            stalls: None,
        }
    }
}

/// One direction between two ends: bytes on their way, and when they arrive. All its chance comes from a seed.
///
/// [`Pair`](crate::Pair) has two of them; more ends, as a server and its hundred clients, are joined by as many lines as
/// it takes. How the [`Link`] is may change at any time.
#[derive(Debug)]
pub struct Line {
    flying: VecDeque<(Time, Vec<u8>)>,
    /// When what was taken will have left.
    free: Time,
    /// What is lost of a microsecond, times the bandwidth.
    rest: u64,
    /// When the last of it arrives.
    last: Time,
    silent: bool,
    closed: Option<Time>,
    /// The sender was refused.
    wanted: bool,
    /// The receiver does not read from here to there.
    stall: Option<(Time, Time)>,
    rng: Rng,
}

impl Line {
    /// Nothing is on its way.
    pub fn new(seed: &Seed) -> Self {
        Line {
            flying: VecDeque::new(),
            free: Time::ZERO,
            rest: 0,
            last: Time::ZERO,
            silent: false,
            closed: None,
            wanted: false,
            stall: None,
            rng: Rng::from_seed(seed),
        }
    }

    /// Nothing arrives any more, and nobody says so.
    pub fn silence(&mut self) {
        self.silent = true;
    }

    /// The sender has closed: the receiver reads the end after what was sent until then.
    pub fn close(&mut self, now: Time) {
        self.closed.get_or_insert(now);
    }

    /// Takes what a sender has to say, as far as the socket has room for it; how many bytes.
    pub fn take(&mut self, now: Time, link: &Link, tx: &mut TxBuf) -> usize {
        let taken = tx.len().min(self.room(now, link));
        self.wanted = taken < tx.len();
        let mut left = tx.pending().get(..taken).unwrap_or_default();
        while !left.is_empty() {
            let mut len = left.len().min(link.chunk.max(1));
            if link.ragged {
                len = 1 + self.chance(len as u64 - 1) as usize;
            }
            let (piece, rest) = left.split_at(len);
            left = rest;
            self.leave(now, piece.len(), link.bandwidth);
            let jitter = Duration::from_micros(self.chance(micros(link.jitter)));
            self.last = self.last.max(self.free + link.latency + jitter);
            self.flying.push_back((self.last, piece.to_vec()));
        }
        tx.consume(taken);
        taken
    }

    /// Hands the receiver what has arrived, if it reads now.
    pub fn deliver(&mut self, now: Time, link: &Link, rx: &mut RxBuf) {
        if self.stalled(now, link).is_some() {
            return;
        }
        while self.flying.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, bytes)) = self.flying.pop_front() else { break };
            if !self.silent {
                rx.push(&bytes);
            }
        }
        if self.flying.is_empty() && self.closed.is_some_and(|at| at <= now) && !self.silent {
            rx.eof();
        }
    }

    /// When something will happen of itself: bytes arrive, or the socket has room again for a sender that was refused.
    pub fn next(&mut self, now: Time, link: &Link) -> Option<Time> {
        let reads = self.stalled(now, link).unwrap_or(now);
        let arrival = self.flying.front().map(|(at, _)| reads.max(*at));
        let half = (link.buffer as u64 / 2).saturating_mul(1_000_000).checked_div(link.bandwidth);
        let leaving = Time::from_micros(self.free.as_micros().saturating_sub(half.unwrap_or(0)));
        let writable = (self.wanted && leaving > now).then_some(leaving);
        arrival.into_iter().chain(writable).min()
    }

    fn leave(&mut self, now: Time, len: usize, bandwidth: u64) {
        if self.free < now {
            (self.free, self.rest) = (now, 0);
        }
        let work = (len as u64).saturating_mul(1_000_000).saturating_add(self.rest);
        if let (Some(took), Some(rest)) = (work.checked_div(bandwidth), work.checked_rem(bandwidth)) {
            self.free = self.free + Duration::from_micros(took);
            self.rest = rest;
        }
    }

    fn room(&self, now: Time, link: &Link) -> usize {
        if link.buffer == usize::MAX {
            return usize::MAX;
        }
        let waiting = self.free.since(now).as_micros() as u64;
        let waiting = (waiting.saturating_mul(link.bandwidth) / 1_000_000) as usize;
        let arrived = self.flying.iter().take_while(|(at, _)| *at <= now);
        let unread: usize = arrived.map(|(_, bytes)| bytes.len()).sum();
        // A socket that is nearly full is not writable: a sender that gets a byte at a time would never rest.
        let room = link.buffer.saturating_sub(waiting.max(unread));
        if room < link.buffer / 2 { 0 } else { room }
    }

    /// When the receiver reads again, if it does not now.
    fn stalled(&mut self, now: Time, link: &Link) -> Option<Time> {
        let stalls = link.stalls?;
        loop {
            match self.stall {
                Some((start, _)) if now < start => return None,
                Some((_, end)) if now < end => return Some(end),
                before => {
                    let from = before.map_or(now, |(_, end)| end);
                    let every = micros(stalls.every).max(1);
                    let start = from + Duration::from_micros(every / 2 + self.chance(every));
                    self.stall = Some((start, start + stalls.lasting));
                }
            }
        }
    }

    /// Up to so much.
    fn chance(&mut self, most: u64) -> u64 {
        if most == 0 { 0 } else { u64::from_be_bytes(self.rng.array()) % (most + 1) }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
