//! Who may start a connection: the limits of a server that has not seen a single byte yet.
//!
//! Connections that have not authenticated are what an attacker gets for nothing, so these are
//! counted, in all and by source, and dropped at random before there are too many (OpenSSH
//! `MaxStartups`, `PerSourceMaxStartups`). A source that misbehaves stays outside for a while
//! (`PerSourcePenalties`). Pure: the adapter asks with an address and its time, and says when a
//! connection authenticates, when it ends, and what its source deserves for it.

mod penalties;

use alloc::collections::BTreeMap;
use core::fmt;
use core::net::IpAddr;

use self::penalties::{Outside, Table};
pub use self::penalties::{Overflow, Penalties};
pub use crate::auth::Penalty;
use crate::options::options;
use crate::rng::{Rng, Seed};
use crate::text::Sources;
use crate::time::Time;

/// Addresses, by patterns as in the option `from` of authorized_keys(5): separated by commas, with
/// `*` and `?`, networks as `address/bits`, and `!` for those that are not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(Sources);

impl Addresses {
    /// Reads a list; `None` if a pattern cannot mean addresses.
    pub fn parse(list: &[u8]) -> Option<Self> {
        Sources::parse(list).map(Addresses)
    }

    /// Whether `address` is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.admit(address)
    }
}

options! {
    /// How many connections may be there. Defaults are those of OpenSSH where it has the limit.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct AdmissionLimits {
        /// With so many unauthenticated connections, some new ones are dropped (`MaxStartups`: 10).
        startups_begin: usize = 10,
        /// Percentage dropped at `startups_begin`; it grows in a straight line to all of them at
        /// `startups_full` (`MaxStartups`: 30).
        startups_rate: u8 = 30,
        /// With so many unauthenticated connections, every new one is dropped (`MaxStartups`: 100).
        startups_full: usize = 100,
        /// Unauthenticated connections of one source (`PerSourceMaxStartups`, there unlimited). Ours is
        /// less than `startups_begin`, so that one source cannot make others be dropped.
        per_source: usize = 8,
        /// Bits of an IPv4 address that are one source (`PerSourceNetBlockSize`: 32).
        ipv4_bits: u8 = 32,
        /// Bits of an IPv6 address that are one source. A home gets 64 (OpenSSH says 128).
        ipv6_bits: u8 = 64,
        /// All connections, authenticated ones included; ours.
        connections: usize = 10_000,
        /// How long misbehaviour keeps a source outside (`PerSourcePenalties`); `None`: not at all.
        penalties: Option<Penalties> = Some(Penalties::default()),
        /// Whom penalties do not concern (`PerSourcePenaltyExemptList`).
        exempt: Option<Addresses> = None,
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
            penalties: None,
            exempt: None,
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
    /// The source did this, or more, not long ago.
    Penalty(Penalty),
    /// So many sources are penalised that nobody is let in ([`Overflow::DenyAll`]).
    PenalisedSources,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Refused::Startups => "too many connections that have not authenticated (MaxStartups)",
            Refused::Source => {
                "too many connections of this source that have not authenticated (PerSourceMaxStartups)"
            }
            Refused::Connections => "too many connections",
            Refused::Penalty(penalty) => return write!(f, "penalty: {penalty} (PerSourcePenalties)"),
            Refused::PenalisedSources => "too many penalised addresses (PerSourcePenalties)",
        };
        f.write_str(text)
    }
}

/// An admitted connection. Give it back to [`Admission::ended`] when the connection is over.
#[derive(Debug)]
#[must_use = "a connection that is never given back counts for ever"]
pub struct Admitted {
    /// As long as it has not authenticated: its address.
    pending: Option<Option<IpAddr>>,
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
    /// IPv4 and IPv6.
    penalised: [Table; 2],
}

impl Admission {
    /// Nobody is there yet. The seed decides who is dropped at random.
    pub fn new(limits: AdmissionLimits, seed: &Seed) -> Self {
        let rng = seed.fork(b"admission");
        let (sources, penalised) = (BTreeMap::new(), Default::default());
        Admission { limits, rng, connections: 0, pending: 0, sources, penalised }
    }

    /// A connection has come. Without an address (a pipe, a Unix socket) it has no source. Time may
    /// start anywhere, and must be that of one clock in all calls.
    ///
    /// # Errors
    ///
    /// Why it may not come in: close its socket, and tell nobody more than that.
    pub fn admit(&mut self, address: Option<IpAddr>, now: Time) -> Result<Admitted, Refused> {
        let source = address.map(|address| self.block(address));
        if self.connections >= self.limits.connections {
            return Err(Refused::Connections);
        }
        if let Some(refused) = address.and_then(|address| self.penalised(address, now)) {
            return Err(refused);
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
        Ok(Admitted { pending: Some(address) })
    }

    /// The connection has authenticated: it no longer counts as a start.
    pub fn authenticated(&mut self, admitted: &mut Admitted) {
        let Some(address) = admitted.pending.take() else { return };
        self.pending = self.pending.saturating_sub(1);
        if let Some(source) = address.map(|address| self.block(address))
            && let Some(count) = self.sources.get_mut(&source)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
    }

    /// The connection is over, and this is what its source deserves for it; see
    /// [`ServerConnection::penalty`](crate::Connection::penalty). One that has authenticated deserves
    /// none (OpenSSH penalises what ends before).
    pub fn ended(&mut self, mut admitted: Admitted, penalty: Option<Penalty>, now: Time) {
        if let (Some(Some(address)), Some(penalty)) = (admitted.pending, penalty) {
            self.penalise(address, penalty, now);
        }
        self.authenticated(&mut admitted);
        self.connections = self.connections.saturating_sub(1);
    }

    /// Keeps the source of `address` outside for a while, or brings it nearer to that.
    fn penalise(&mut self, address: IpAddr, penalty: Penalty, now: Time) {
        let source = self.block(address);
        let family = family(address);
        let Some((rules, (most, overflow))) = self.rules(address) else { return };
        if let Some(table) = self.penalised.get_mut(family) {
            table.add(source, penalty, now, &rules, most, overflow);
        }
    }

    fn penalised(&mut self, address: IpAddr, now: Time) -> Option<Refused> {
        let source = self.block(address);
        let (_, (most, overflow)) = self.rules(address)?;
        let outside = self.penalised.get_mut(family(address))?.check(source, now, most, overflow)?;
        Some(match outside {
            Outside::For(penalty) => Refused::Penalty(penalty),
            Outside::Full => Refused::PenalisedSources,
        })
    }

    /// The rules for an address, if there are any, and the bounds of its family's table.
    fn rules(&self, address: IpAddr) -> Option<(Penalties, (usize, Overflow))> {
        let rules = self.limits.penalties?;
        let exempt = self.limits.exempt.as_ref().is_some_and(|exempt| exempt.contains(address));
        let family = family(address);
        let bounds = (*rules.sources.get(family)?, *rules.overflow.get(family)?);
        (!exempt).then_some((rules, bounds))
    }

    /// Sources with a penalty, whether it keeps them outside yet or not.
    pub fn penalised_sources(&self) -> usize {
        self.penalised.iter().fold(0, |sum, table| sum.saturating_add(table.len()))
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

/// Which table: 0 is IPv4.
fn family(address: IpAddr) -> usize {
    usize::from(address.to_canonical().is_ipv6())
}
