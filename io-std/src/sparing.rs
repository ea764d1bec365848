//! How often something is said that others can cause at will.

use std::cmp::Ordering;
use std::time::Duration;

/// Times within [`WINDOW`].
const MOST: u32 = 100;
const WINDOW: Duration = Duration::from_secs(60);

/// Counts times. Those beyond a hundred a minute are not worth a line in a log.
#[derive(Debug, Default)]
pub(crate) struct Sparing {
    since: Duration,
    count: u32,
}

/// What is to be said this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    /// It.
    It,
    /// That no more is said for a while.
    Enough,
    Nothing,
}

impl Sparing {
    /// It has happened. `now` counts from any moment.
    pub(crate) fn next(&mut self, now: Duration) -> Say {
        if now.saturating_sub(self.since) >= WINDOW {
            *self = Sparing { since: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        match self.count.cmp(&MOST) {
            Ordering::Less => Say::It,
            Ordering::Equal => Say::Enough,
            Ordering::Greater => Say::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_13_a_hundred_lines_a_minute() {
        let mut sparing = Sparing::default();
        let mut said = |now: u64| sparing.next(Duration::from_secs(now));
        let first: Vec<Say> = (0..1_000_000).map(|_| said(10)).collect();
        assert_eq!(first.iter().filter(|say| **say == Say::It).count(), 99);
        assert_eq!((first[99], first[100], said(59)), (Say::Enough, Say::Nothing, Say::Nothing));
        assert_eq!((said(60), said(61)), (Say::It, Say::It));
    }
}
