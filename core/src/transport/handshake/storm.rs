//! How often a peer may renew the keys that has nothing else to say (K-28).

use core::time::Duration;

use crate::error::{Failure, Fault};
use crate::time::Time;

/// Key exchanges in a row, without any other traffic, that we put up with at whatever speed. OpenSSH
/// knows no limit, and clients are known that renew their keys several times in a row.
const MAX_IDLE_EXCHANGES: u32 = 256;
/// At this pace it may go on for ever: an exchange costs about a millisecond, so a peer that has
/// nothing to say gets about a hundredth of a processor.
const STORM_PACE: Duration = Duration::from_millis(100);

/// Counts the exchanges that the peer starts.
pub(super) struct Storm {
    /// Without a message of the layers above between them, less one for each pace that has passed.
    idle: u32,
    /// Up to when the time has been taken off.
    since: Time,
}

impl Storm {
    pub(super) fn new(now: Time) -> Self {
        Storm { idle: 0, since: now }
    }

    /// A message of the layers above came or went.
    pub(super) fn progressed(&mut self) {
        self.idle = 0;
    }

    /// The peer starts an exchange.
    pub(super) fn exchange(&mut self, now: Time) -> Result<(), Failure> {
        let paces = now.since(self.since).as_micros() / STORM_PACE.as_micros().max(1);
        let paces = u32::try_from(paces).unwrap_or(u32::MAX);
        self.idle = self.idle.saturating_sub(paces);
        self.since = if self.idle == 0 { now } else { self.since + STORM_PACE * paces };
        self.idle = self.idle.saturating_add(1);
        if self.idle > MAX_IDLE_EXCHANGES {
            return Err(Fault::TooManyKeyExchanges.into());
        }
        Ok(())
    }
}
