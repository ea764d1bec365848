//! A fixed table of deadlines, one a kind.

use crate::error::TimerKind;
use crate::time::Time;

/// In firing order.
const KINDS: [TimerKind; 8] = [
    TimerKind::Ident,
    TimerKind::KeyExchange,
    TimerKind::AuthReply,
    TimerKind::LoginGrace,
    TimerKind::AuthDelay,
    TimerKind::KeepAlive,
    TimerKind::Rekey,
    TimerKind::Decision,
];

/// A fixed table of deadlines.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    at: [Option<Time>; KINDS.len()],
    /// The earliest of them: what is asked with every poll.
    earliest: Option<Time>,
}

impl Timers {
    pub(super) fn set(&mut self, kind: TimerKind, at: Option<Time>) {
        if let Some(slot) = self.at.get_mut(kind as usize) {
            *slot = at;
        }
        self.earliest = self.at.iter().flatten().min().copied();
    }

    pub(super) fn get(&self, kind: TimerKind) -> Option<Time> {
        self.at.get(kind as usize).copied().flatten()
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<(Time, TimerKind)> {
        self.at.iter().zip(KINDS).filter_map(|(t, k)| t.map(|t| (t, k))).min_by_key(|(t, _)| *t)
    }

    /// Takes the first timer that is due.
    #[inline]
    pub(super) fn expired(&mut self, now: Time) -> Option<TimerKind> {
        if self.earliest.is_none_or(|at| at > now) {
            return None;
        }
        let (_, kind) = self.at.iter().zip(KINDS).find(|(t, _)| t.is_some_and(|t| t <= now))?;
        self.set(kind, None);
        Some(kind)
    }

    pub(super) fn clear(&mut self) {
        *self = Timers::default();
    }
}
