//! How far away the peer is.

use core::time::Duration;

/// The shortest round trip seen: the peer's own delays are in all of them, and in that one the least.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoundTrip(Option<Duration>);

impl RoundTrip {
    /// One round trip took this long.
    pub(crate) fn sample(&mut self, took: Duration) {
        self.0 = Some(self.0.map_or(took, |best| best.min(took)));
    }

    /// The shortest so far.
    pub(crate) fn best(&self) -> Option<Duration> {
        self.0
    }
}
