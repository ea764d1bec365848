//! Who may start a connection: the limits of a server that has not seen a single byte yet.
//!
//! Connections that have not authenticated are what an attacker gets for nothing, so these are
//! counted, in all and by source, and dropped at random before there are too many (OpenSSH
//! `MaxStartups`, `PerSourceMaxStartups`). Pure: the adapter asks with an address, and says when a
//! connection authenticates and when it ends.

use alloc::collections::BTreeMap;
use core::fmt;
use core::net::IpAddr;

use crate::rng::{Rng, Seed};

/// How many connections may be there. Defaults are those of OpenSSH where it has the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// With so many unauthenticated connections, some new ones are dropped (`MaxStartups`: 10).
    pub startups_begin: usize,
    /// Percentage dropped at `startups_begin`; it grows in a straight line to all of them at
    /// `startups_full` (`MaxStartups`: 30).
    pub startups_rate: u8,
    /// With so many unauthenticated connections, every new one is dropped (`MaxStartups`: 100).
    pub startups_full: usize,
    /// Unauthenticated connections of one source (`PerSourceMaxStartups`, there unlimited; ours).
    pub per_source: usize,
    /// Bits of an IPv4 address that are one source (`PerSourceNetBlockSize`: 32).
    pub ipv4_bits: u8,
    /// Bits of an IPv6 address that are one source. A home gets 64 (OpenSSH says 128).
    pub ipv6_bits: u8,
    /// All connections, authenticated ones included; ours.
    pub connections: usize,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        AdmissionLimits {
            startups_begin: 10,
            startups_rate: 30,
            startups_full: 100,
            per_source: 10,
            ipv4_bits: 32,
            ipv6_bits: 64,
            connections: 10_000,
        }
    }
}

impl AdmissionLimits {
    /// None but `connections`: for tests, and for servers that something else protects.
    pub const fn unlimited(connections: usize) -> Self {
        AdmissionLimits {
            startups_begin: usize::MAX,
            startups_rate: 0,
            startups_full: usize::MAX,
            per_source: usize::MAX,
            ipv4_bits: 32,
            ipv6_bits: 64,
            connections,
        }
    }
}

/// Why a connection is not admitted. Close it without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// Too many unauthenticated connections; some are dropped at random, or all.
    Startups,
    /// Too many unauthenticated connections of this source.
    Source,
    /// Too many connections.
    Connections,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Startups => "too many connections that have not authenticated (MaxStartups)",
            Refused::Source => {
                "too many connections of this source that have not authenticated (PerSourceMaxStartups)"
            }
            Refused::Connections => "too many connections",
        })
    }
}

/// An admitted connection. Give it back to [`Admission::ended`] when the connection is over.
#[derive(Debug)]
#[must_use = "a connection that is never given back counts for ever"]
pub struct Admitted {
    /// As long as it has not authenticated: its source.
    pending: Option<Option<u128>>,
}

/// Counts connections.
#[derive(Debug)]
pub struct Admission {
    limits: AdmissionLimits,
    rng: Rng,
    connections: usize,
    pending: usize,
    /// Unauthenticated connections by source; only sources that have some.
    sources: BTreeMap<u128, usize>,
}

impl Admission {
    /// Nobody is there yet. The seed decides who is dropped at random.
    pub fn new(limits: AdmissionLimits, seed: &Seed) -> Self {
        let rng = seed.fork(b"admission");
        Admission { limits, rng, connections: 0, pending: 0, sources: BTreeMap::new() }
    }

    /// A connection has come. Without an address (a pipe, a Unix socket) it has no source.
    pub fn admit(&mut self, source: Option<IpAddr>) -> Result<Admitted, Refused> {
        let source = source.map(|address| self.block(address));
        if self.connections >= self.limits.connections {
            return Err(Refused::Connections);
        }
        let of_source = source.and_then(|s| self.sources.get(&s)).copied().unwrap_or(0);
        if of_source >= self.limits.per_source {
            return Err(Refused::Source);
        }
        if self.drops() {
            return Err(Refused::Startups);
        }
        self.connections = self.connections.saturating_add(1);
        self.pending = self.pending.saturating_add(1);
        if let Some(source) = source {
            self.sources.insert(source, of_source.saturating_add(1));
        }
        Ok(Admitted { pending: Some(source) })
    }

    /// The connection has authenticated: it no longer counts as a start.
    pub fn authenticated(&mut self, admitted: &mut Admitted) {
        let Some(source) = admitted.pending.take() else { return };
        self.pending = self.pending.saturating_sub(1);
        if let Some(source) = source
            && let Some(count) = self.sources.get_mut(&source)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
    }

    /// The connection is over.
    pub fn ended(&mut self, mut admitted: Admitted) {
        self.authenticated(&mut admitted);
        self.connections = self.connections.saturating_sub(1);
    }

    /// Connections that are there.
    pub fn connections(&self) -> usize {
        self.connections
    }

    /// Those of them that have not authenticated.
    pub fn unauthenticated(&self) -> usize {
        self.pending
    }

    /// Whether this one is dropped for the number of those that have not authenticated.
    fn drops(&mut self) -> bool {
        let AdmissionLimits { startups_begin: begin, startups_full: full, startups_rate, .. } = self.limits;
        if self.pending < begin {
            return false;
        }
        if self.pending >= full {
            return true;
        }
        // Straight from the rate at `begin` to 100 at `full`; `begin` < `full` here.
        let rate = u64::from(startups_rate.min(100));
        let beyond = self.pending.saturating_sub(begin) as u64;
        let span = (full.saturating_sub(begin) as u64).max(1);
        let percent =
            rate.saturating_add((100 - rate).saturating_mul(beyond).checked_div(span).unwrap_or(100));
        // The remainder of 64 bits is even enough.
        u64::from_be_bytes(self.rng.array()) % 100 < percent
    }

    /// The block of addresses that counts as one source. Mapped IPv4 addresses are IPv4.
    fn block(&self, address: IpAddr) -> u128 {
        let (bits, keep) = match address.to_canonical() {
            IpAddr::V4(v4) => {
                let mapped = v4.to_ipv6_mapped().to_bits();
                (mapped, u32::from(self.limits.ipv4_bits.min(32)).saturating_add(96))
            }
            IpAddr::V6(v6) => (v6.to_bits(), u32::from(self.limits.ipv6_bits.min(128))),
        };
        let drop = 128u32.saturating_sub(keep);
        u128::MAX.checked_shl(drop).unwrap_or(0) & bits
    }
}
