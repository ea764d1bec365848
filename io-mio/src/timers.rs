//! Deadlines of all connections, in a heap with lazy deletion.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use konko_core::Time;

use crate::links::ConnId;

/// Entries that no longer hold are dropped when they come up, or all at once when they are most.
#[derive(Default)]
pub(crate) struct Timers(BinaryHeap<Reverse<(Time, ConnId)>>);

impl Timers {
    /// Adds an entry. `holds` says which entries still count, `live` how many that is about.
    pub(crate) fn push(&mut self, at: Time, id: ConnId, live: usize, holds: impl Fn(Time, ConnId) -> bool) {
        if self.0.len() > 4 * live + 64 {
            self.0.retain(|Reverse((at, id))| holds(*at, *id));
        }
        self.0.push(Reverse((at, id)));
    }

    /// The earliest entry; it may be one that no longer holds.
    pub(crate) fn next(&self) -> Option<Time> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes an entry that is due.
    pub(crate) fn due(&mut self, now: Time) -> Option<(Time, ConnId)> {
        self.0.peek().filter(|Reverse((at, _))| *at <= now)?;
        self.0.pop().map(|Reverse(entry)| entry)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::Links;

    #[test]
    fn entries_come_up_in_time_and_those_that_do_not_hold_do_not_pile_up() {
        let (mut links, mut timers) = (Links::default(), Timers::default());
        let (keeps, other) = (links.reserve(), links.reserve());
        let at = Time::from_micros;
        timers.push(at(5_000_000), keeps, 2, |_, _| true);
        for n in 0..10_000 {
            timers.push(at(1_000_000 + n), other, 2, |when, id| id == keeps || when == at(1_000_000 + n));
        }
        assert!(timers.len() < 100, "{}", timers.len());
        assert_eq!((timers.next(), timers.due(at(1_000_000))), (timers.next(), None));
        let mut last = Time::ZERO;
        while let Some((when, id)) = timers.due(at(5_000_000)) {
            assert!(when >= last);
            last = when;
            assert!(id == other || when == at(5_000_000));
        }
        assert_eq!((last, timers.next()), (at(5_000_000), None));
    }
}
