//! Sources that misbehaved, and for how long they stay outside (OpenSSH srclimit.c,
//! sshd_config(5) `PerSourcePenalties`).

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use crate::auth::Penalty;
use crate::options::options;
use crate::time::Time;

/// What happens when as many sources are penalised as are remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Those whose penalty ends first are forgotten (`permissive`).
    #[default]
    Permissive,
    /// Nobody of the address family is let in until a penalty ends (`deny-all`).
    DenyAll,
}

options! {
    /// How long each misbehaviour keeps its source outside. Defaults are those of OpenSSH 10.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Penalties {
        /// For [`Penalty::Crash`]: 90 s.
        crash: Duration = Duration::from_secs(90),
        /// For [`Penalty::AuthFail`]: 5 s.
        auth_fail: Duration = Duration::from_secs(5),
        /// For [`Penalty::InvalidUser`]: 5 s.
        invalid_user: Duration = Duration::from_secs(5),
        /// For [`Penalty::NoAuth`]: 1 s.
        no_auth: Duration = Duration::from_secs(1),
        /// For [`Penalty::GraceExceeded`]: 10 s.
        grace_exceeded: Duration = Duration::from_secs(10),
        /// For [`Penalty::RefuseConnection`]: 10 s.
        refuse_connection: Duration = Duration::from_secs(10),
        /// Penalties add up, and count only when more than this has added up: 15 s.
        min: Duration = Duration::from_secs(15),
        /// More than this does not add up: 600 s.
        max: Duration = Duration::from_secs(600),
        /// Sources that are remembered, IPv4 and IPv6: 65,536 each.
        sources: [usize; 2] = [65_536; 2],
        /// What happens with one more, IPv4 and IPv6.
        overflow: [Overflow; 2] = [Overflow::Permissive; 2],
    }
}

impl Penalties {
    /// How long one misbehaviour adds.
    pub const fn time(&self, penalty: Penalty) -> Duration {
        match penalty {
            Penalty::Crash => self.crash,
            Penalty::AuthFail => self.auth_fail,
            Penalty::InvalidUser => self.invalid_user,
            Penalty::NoAuth => self.no_auth,
            Penalty::GraceExceeded => self.grace_exceeded,
            Penalty::RefuseConnection => self.refuse_connection,
        }
    }
}

#[derive(Debug)]
struct Entry {
    ends: Time,
    /// More than the minimum has added up once; it holds until the end.
    active: bool,
    last: Penalty,
}

/// The penalised sources of one address family.
#[derive(Debug, Default)]
pub(super) struct Table {
    by_source: BTreeMap<u128, Entry>,
    by_end: BTreeSet<(Time, u128)>,
}

/// Why nobody of a source is let in.
pub(super) enum Outside {
    For(Penalty),
    Full,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.by_source.len()
    }

    fn forget_first(&mut self) {
        if let Some((_, source)) = self.by_end.pop_first() {
            self.by_source.remove(&source);
        }
    }

    fn expire(&mut self, now: Time) {
        while self.by_end.first().is_some_and(|(ends, _)| *ends < now) {
            self.forget_first();
        }
    }

    /// Whether somebody of `source` stays outside.
    pub(super) fn check(
        &mut self,
        source: u128,
        now: Time,
        most: usize,
        overflow: Overflow,
    ) -> Option<Outside> {
        self.expire(now);
        if overflow == Overflow::DenyAll && self.len() >= most {
            return Some(Outside::Full);
        }
        self.by_source.get(&source).filter(|entry| entry.active).map(|entry| Outside::For(entry.last))
    }

    /// Adds a penalty to what the source has.
    pub(super) fn add(
        &mut self,
        source: u128,
        penalty: Penalty,
        now: Time,
        rules: &Penalties,
        most: usize,
        overflow: Overflow,
    ) {
        let time = rules.time(penalty);
        self.expire(now);
        if time.is_zero() || (overflow == Overflow::DenyAll && self.len() >= most) {
            return;
        }
        let old = self.by_source.remove(&source);
        if let Some(old) = &old {
            self.by_end.remove(&(old.ends, source));
        }
        let (from, active) = old.map_or((now, false), |old| (old.ends, old.active));
        let left = (from + time).since(now);
        // As OpenSSH: a first penalty is not cut, what it adds up to is.
        let left = if from == now { left } else { left.min(rules.max) };
        let entry = Entry { ends: now + left, active: active || left > rules.min, last: penalty };
        self.by_end.insert((entry.ends, source));
        self.by_source.insert(source, entry);
        while self.len() > most {
            self.forget_first();
        }
    }
}
