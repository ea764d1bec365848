//! Which address of a host to try, and when: RFC 8305 ("Happy Eyeballs"), sections 4 and 5.
//!
//! A host has several addresses and some of them may be dead. Rather than one after the other, they
//! are tried a quarter of a second apart, families in turn; what connects first wins.
//!
//! ```
//! # use konko_core::dial::{Dial, Step};
//! # use konko_core::Time;
//! # use core::time::Duration;
//! let (dead, alive) = ("[2001:db8::1]:22".parse().unwrap(), "192.0.2.1:22".parse().unwrap());
//! let mut dial = Dial::new([dead, alive], Some(Duration::from_secs(30)));
//! let now = Time::ZERO;
//! assert_eq!(dial.next(now), Step::Start(dead));
//! let Step::Wait(Some(until)) = dial.next(now) else { panic!() };
//! assert_eq!(dial.next(until), Step::Start(alive));
//! ```

use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use crate::Time;

/// How long an address has before the next one is tried beside it (RFC 8305 §5: recommended).
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Addresses that are tried at most; whoever answers for the name says how many there are.
pub const MAX_ADDRESSES: usize = 64;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Begin to connect to this address, and go on with those that were begun.
    Start(SocketAddr),
    /// This address has had its time: give it up. It needs no [`Dial::failed`].
    Expired(SocketAddr),
    /// Wait until an attempt succeeds, which ends it all, or fails ([`Dial::failed`]), or until this
    /// time.
    Wait(Option<Time>),
    /// Every address failed.
    Over,
}

/// The attempts to reach one host.
#[derive(Clone, Debug)]
pub struct Dial {
    /// Not tried yet, the next one last.
    waiting: Vec<SocketAddr>,
    /// Tried now, and since when.
    running: Vec<(SocketAddr, Time)>,
    timeout: Option<Duration>,
    /// When the next one begins; at once while nothing runs.
    next: Time,
}

impl Dial {
    /// For the addresses in the order of preference of getaddrinfo(3) (RFC 6724). Each has `timeout`
    /// to answer.
    ///
    /// Families take turns, beginning with that of the first address (RFC 8305 §4). Of more than
    /// [`MAX_ADDRESSES`] the rest is left out.
    pub fn new(addresses: impl IntoIterator<Item = SocketAddr>, timeout: Option<Duration>) -> Self {
        let mut unique: Vec<SocketAddr> = Vec::new();
        for address in addresses {
            if !unique.contains(&address) {
                unique.push(address);
            }
            // The last ones of a family may be those that work, so all are seen before any is left out.
            if unique.len() >= MAX_ADDRESSES.saturating_mul(4) {
                break;
            }
        }
        let first = unique.first().is_some_and(SocketAddr::is_ipv4);
        let (one, other): (Vec<_>, Vec<_>) = unique.into_iter().partition(|a| a.is_ipv4() == first);
        let (mut one, mut other) = (one.into_iter(), other.into_iter());
        let mut waiting = Vec::new();
        loop {
            let pair = [one.next(), other.next()];
            if pair == [None, None] || waiting.len() >= MAX_ADDRESSES {
                break;
            }
            waiting.extend(pair.into_iter().flatten());
        }
        waiting.truncate(MAX_ADDRESSES);
        waiting.reverse();
        Dial { waiting, running: Vec::new(), timeout, next: Time::ZERO }
    }

    /// What to do at `now`. Call it again after everything but [`Step::Wait`].
    pub fn next(&mut self, now: Time) -> Step {
        if let Some(at) = self.running.iter().position(|(_, since)| self.expired(*since, now)) {
            let (address, _) = self.running.remove(at);
            return Step::Expired(address);
        }
        if self.running.is_empty() || now >= self.next {
            if let Some(address) = self.waiting.pop() {
                self.running.push((address, now));
                self.next = now + ATTEMPT_DELAY;
                return Step::Start(address);
            }
            if self.running.is_empty() {
                return Step::Over;
            }
        }
        let starts = (!self.waiting.is_empty()).then_some(self.next);
        let expires = self.running.iter().filter_map(|(_, since)| self.timeout.map(|t| *since + t));
        Step::Wait(starts.into_iter().chain(expires).min())
    }

    /// The attempt failed; the next one begins at once (RFC 8305 §5).
    pub fn failed(&mut self, address: SocketAddr, now: Time) {
        let before = self.running.len();
        self.running.retain(|(running, _)| *running != address);
        if self.running.len() < before {
            self.next = now;
        }
    }

    fn expired(&self, since: Time, now: Time) -> bool {
        self.timeout.is_some_and(|timeout| now.since(since) >= timeout)
    }
}

/// What became of each address that was tried, when none of them connected. `Display` names them all.
#[derive(Clone, Debug)]
pub struct ConnectFailures<E> {
    /// The addresses and their errors, in the order in which they failed.
    pub attempts: Vec<(SocketAddr, E)>,
}

impl<E> Default for ConnectFailures<E> {
    fn default() -> Self {
        ConnectFailures { attempts: Vec::new() }
    }
}

impl<E: fmt::Display> fmt::Display for ConnectFailures<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.attempts.is_empty() {
            return f.write_str("there is no address to try");
        }
        for (n, (address, error)) in self.attempts.iter().enumerate() {
            let comma = if n > 0 { "; " } else { "" };
            write!(f, "{comma}{address}: {error}")?;
        }
        Ok(())
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for ConnectFailures<E> {}
