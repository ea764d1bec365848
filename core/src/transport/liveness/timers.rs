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
pub(super) struct Timers([Option<Time>; KINDS.len()]);

impl Timers {
    pub(super) fn set(&mut self, kind: TimerKind, at: Option<Time>) {
        if let Some(slot) = self.0.get_mut(kind as usize) {
            *slot = at;
        }
    }

    pub(super) fn get(&self, kind: TimerKind) -> Option<Time> {
        self.0.get(kind as usize).copied().flatten()
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<(Time, TimerKind)> {
        self.0.iter().zip(KINDS).filter_map(|(t, k)| t.map(|t| (t, k))).min_by_key(|(t, _)| *t)
    }

    /// Takes the first timer that is due.
    pub(super) fn expired(&mut self, now: Time) -> Option<TimerKind> {
        let (slot, kind) = self.0.iter_mut().zip(KINDS).find(|(t, _)| t.is_some_and(|t| t <= now))?;
        *slot = None;
        Some(kind)
    }

    pub(super) fn clear(&mut self) {
        self.0 = Default::default();
    }
}
