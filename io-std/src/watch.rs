//! Time limits that are not the protocol's: nobody uses the connection, or it takes no output.

use std::time::Duration;

use konko_core::Time;

/// What is measured, and since when.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// An authenticated connection without a channel ends after this time.
    pub(crate) unused_limit: Option<Duration>,
    /// A connection that takes no output ends after this time.
    pub(crate) stall_limit: Option<Duration>,
    unused_since: Option<Time>,
    stalled_since: Option<Time>,
}

impl Watch {
    /// Output was written: whether any of it went out, and whether some is left.
    pub(crate) fn wrote(&mut self, now: Time, moved: bool, left: bool) {
        if !left {
            self.stalled_since = None;
        } else if moved || self.stalled_since.is_none() {
            self.stalled_since = Some(now);
        }
    }

    /// What did not come in time, and in what time.
    pub(crate) fn expired(&mut self, now: Time, unused: bool) -> Option<(&'static str, Duration)> {
        self.unused_since = unused.then(|| self.unused_since.unwrap_or(now));
        let over = |since: Option<Time>, limit: Option<Duration>| {
            let (since, limit) = since.zip(limit)?;
            (now >= since + limit).then_some(limit)
        };
        let stalled = over(self.stalled_since, self.stall_limit).map(|limit| ("room for output", limit));
        stalled.or_else(|| over(self.unused_since, self.unused_limit).map(|limit| ("a channel", limit)))
    }

    /// When to look again.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let at = |since: Option<Time>, limit: Option<Duration>| Some(since? + limit?);
        let ends = [at(self.stalled_since, self.stall_limit), at(self.unused_since, self.unused_limit)];
        ends.into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn output_that_moves_is_not_stalled() {
        let mut watch = Watch { stall_limit: Some(10 * SECOND), ..Watch::default() };
        let at = |s: u32| Time::ZERO + s * SECOND;
        watch.wrote(at(0), true, true);
        watch.wrote(at(9), true, true);
        assert_eq!((watch.expired(at(18), false), watch.deadline()), (None, Some(at(19))));
        watch.wrote(at(18), false, true);
        assert_eq!(watch.expired(at(19), false), Some(("room for output", 10 * SECOND)));
        watch.wrote(at(19), true, false);
        assert_eq!((watch.expired(at(99), false), watch.deadline()), (None, None));
    }

    #[test]
    fn r_10_a_connection_without_channels_ends() {
        let mut watch = Watch { unused_limit: Some(10 * SECOND), ..Watch::default() };
        let at = |s: u32| Time::ZERO + s * SECOND;
        assert_eq!((watch.expired(at(5), true), watch.deadline()), (None, Some(at(15))));
        // A channel was there in between.
        assert_eq!((watch.expired(at(14), false), watch.deadline()), (None, None));
        assert_eq!(watch.expired(at(16), true), None);
        assert_eq!(watch.expired(at(26), true), Some(("a channel", 10 * SECOND)));
    }
}
