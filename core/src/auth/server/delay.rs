//! When a refusal goes out, so that its time says nothing.

use alloc::sync::Arc;
use core::time::Duration;

use crate::crypto::{Digest, HashAlgorithm, Provider};
use crate::keys::{KeyPair, KeyType};
use crate::rng::{Rng, Seed};
use crate::time::Time;

/// A decision that took longer is answered at once (OpenSSH auth2.c `MAX_FAIL_DELAY_SECONDS`).
const MOST: Duration = Duration::from_secs(5);

/// What a host key signs to make the secret. It is no exchange hash, which is all that a client can
/// have signed: those are 20 to 64 bytes long.
const LABEL: &[u8] =
    b"konko: what the delay of a refusal depends on, beside the name of the user; no exchange hash";

/// A secret that all connections of a server share, and that stays over a restart. OpenSSH takes it
/// from the private halves of the host keys (sshd.c `accumulate_host_timing_secret`); a signature that
/// does not depend on chance, and that nobody else has, serves as well and works with keys in hardware.
pub(crate) fn secret_of(host_keys: &[Arc<KeyPair>]) -> Option<Seed> {
    // The best type, whose signatures are the cheapest too.
    let rank = |key: &&Arc<KeyPair>| KeyType::all().position(|kind| kind == key.public().key_type().plain());
    let key = host_keys.iter().min_by_key(|key| rank(key).unwrap_or(usize::MAX))?;
    // It only blinds.
    let mut rng = Rng::from_seed(&Seed::new([0; 32]));
    let algorithm = *key.public().signature_algorithms().first()?;
    let signature = key.sign(algorithm, LABEL, &mut rng).ok()?;
    let hash = Digest::of(crate::provider::rustcrypto(), HashAlgorithm::Sha256, &[LABEL, &signature]);
    hash.as_bytes().first_chunk::<32>().map(|bytes| Seed::new(*bytes))
}

/// 5 ms and up to 4.2 ms more that only the secret and the name decide: a lookup that takes longer or
/// shorter for a known user does not show (OpenSSH auth2.c `user_specific_delay`).
pub(super) fn of_user(provider: &dyn Provider, secret: &Seed, user: &[u8]) -> Duration {
    let hash = Digest::of(provider, HashAlgorithm::Sha512, &[secret.bytes(), user]);
    let extra = hash.as_bytes().first_chunk::<2>().map_or(0, |b| u16::from_be_bytes(*b));
    // 65,535 units of 64 ns are 4.2 ms. Whole microseconds, so that the doubled time is exact.
    Duration::from_micros(5000_u64.saturating_add(u64::from(extra).saturating_mul(64) / 1000))
}

/// A refusal that waits. It goes out when the least time has passed since the request came, or twice,
/// four, eight times as much, the first of these that is not over when the decision is there (OpenSSH
/// auth2.c `ensure_minimum_time_since`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delay {
    arrived: Time,
    least: Duration,
    /// The clock was looked at after the decision.
    settled: bool,
}

impl Delay {
    pub(super) fn new(arrived: Time, least: Duration) -> Self {
        Delay { arrived, least, settled: false }
    }

    /// At the earliest.
    pub(super) fn least(&self) -> Time {
        self.arrived + self.least
    }

    /// Once, at the first poll after the decision: when to answer. A call has no clock, so that the poll
    /// before it says nothing about how long the decision took.
    pub(super) fn settle(&mut self, now: Time) -> Option<Time> {
        if core::mem::replace(&mut self.settled, true) {
            return None;
        }
        let took = now.since(self.arrived);
        let mut wait = self.least;
        while wait < took && took <= MOST {
            wait = wait.saturating_mul(2);
        }
        Some(self.arrived + wait)
    }
}
