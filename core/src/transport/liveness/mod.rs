//! Whether the peer is there, and what happens when: every timer of a connection, keepalive, and the
//! round-trip time.
//!
//! Timers are set here and nowhere else, each by the name of what starts or ends it.

mod round_trip;
mod timers;

pub(crate) use self::round_trip::RoundTrip;

use alloc::sync::Arc;

use self::timers::Timers;
use super::config::TransportConfig;
use crate::error::TimerKind;
use crate::time::Time;

/// What is due when the peer has been silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Nothing: it has been heard of.
    Short,
    /// A probe.
    Probe,
    /// The end: it has answered none of the probes.
    Dead,
}

/// Timers, keepalive and round-trip time of one connection.
pub(crate) struct Liveness {
    config: Arc<TransportConfig>,
    timers: Timers,
    /// When the last packet came.
    heard: Time,
    /// When the last probe was due.
    probed: Time,
    missed_probes: u32,
    round_trip: RoundTrip,
    /// Since when an answer is waited for that tells the round trip.
    asked: Option<Time>,
}

impl Liveness {
    /// Of a connection that begins now: the peer's identification is the first thing to come.
    pub(super) fn new(config: Arc<TransportConfig>, now: Time) -> Self {
        let mut timers = Timers::default();
        timers.set(TimerKind::Ident, Some(now + config.limits.ident_timeout));
        Liveness {
            config,
            timers,
            heard: now,
            probed: now,
            missed_probes: 0,
            round_trip: RoundTrip::default(),
            asked: None,
        }
    }

    // ---- the table ----

    /// The earliest deadline, and what it is for.
    pub(crate) fn deadline(&self) -> Option<(Time, TimerKind)> {
        self.timers.next()
    }

    /// Takes the first timer that is due.
    #[inline]
    pub(crate) fn expired(&mut self, now: Time) -> Option<TimerKind> {
        self.timers.expired(now)
    }

    /// The connection has ended: nothing is due any more.
    pub(crate) fn stop(&mut self) {
        self.timers.clear();
    }

    // ---- the handshake ----

    /// The peer's identification line is here.
    pub(super) fn identified(&mut self, now: Time) {
        self.timers.set(TimerKind::Ident, None);
        self.exchange_goes_on(now);
    }

    /// A key exchange has begun or made a step; the peer makes the next one.
    pub(super) fn exchange_goes_on(&mut self, now: Time) {
        self.timers.set(TimerKind::KeyExchange, Some(now + self.config.limits.kex_timeout));
    }

    /// A person may have to look at a host key; only the login as a whole has a time.
    pub(crate) fn host_key_asked(&mut self) {
        self.timers.set(TimerKind::KeyExchange, None);
    }

    /// The keys are new.
    pub(super) fn keyed(&mut self, now: Time) {
        self.timers.set(TimerKind::KeyExchange, None);
        self.timers.set(TimerKind::Rekey, Some(now + self.config.rekey.time));
    }

    // ---- authentication ----

    /// Server: from now on the client has the grace time to get in.
    pub(crate) fn login_begins(&mut self, now: Time) {
        self.timers.set(TimerKind::LoginGrace, Some(now + self.config.limits.login_grace));
    }

    /// Client: something was asked that the server is to answer.
    pub(crate) fn auth_asked(&mut self, now: Time) {
        self.timers.set(TimerKind::AuthReply, Some(now + self.config.limits.auth_reply_timeout));
    }

    /// Client: the server has answered it.
    pub(crate) fn auth_answered(&mut self) {
        self.timers.set(TimerKind::AuthReply, None);
    }

    /// Server: the answer to a rejected attempt goes out at `at`, not earlier.
    pub(crate) fn delay_rejection(&mut self, at: Time) {
        self.timers.set(TimerKind::AuthDelay, Some(at));
    }

    /// Server: the delay of a rejected attempt goes on beyond `now`.
    pub(crate) fn rejection_waits(&self, now: Time) -> bool {
        self.timers.get(TimerKind::AuthDelay).is_some_and(|at| at > now)
    }

    /// Server: the rejected attempt is answered.
    pub(crate) fn rejection_answered(&mut self) {
        self.timers.set(TimerKind::AuthDelay, None);
    }

    /// The user is in. Keepalive begins.
    pub(super) fn authenticated(&mut self, now: Time) {
        self.timers.set(TimerKind::AuthReply, None);
        self.timers.set(TimerKind::LoginGrace, None);
        self.timers.set(TimerKind::KeepAlive, self.config.keepalive.map(|k| now + k.interval));
    }

    // ---- questions to the application ----

    /// When a question that comes up now is denied at the latest.
    pub(crate) fn decision_due(&self, now: Time) -> Time {
        now + self.config.limits.decision_timeout
    }

    /// A question was asked that is denied at `at`; earlier ones are denied earlier.
    pub(crate) fn decision_asked(&mut self, at: Time) {
        if self.timers.get(TimerKind::Decision).is_none() {
            self.timers.set(TimerKind::Decision, Some(at));
        }
    }

    /// What was due is denied; the next question has time until `next`.
    pub(crate) fn decisions_denied(&mut self, next: Option<Time>) {
        self.timers.set(TimerKind::Decision, next);
    }

    // ---- silence ----

    /// A genuine packet of the peer has come.
    pub(super) fn heard(&mut self, now: Time) {
        self.heard = now;
    }

    /// The keepalive timer is due: what is to be done.
    pub(crate) fn keepalive(&mut self, now: Time) -> Silence {
        let Some(keepalive) = self.config.keepalive else { return Silence::Short };
        if self.heard >= self.probed {
            self.missed_probes = 0;
        }
        let due = self.heard + keepalive.interval;
        if due > now {
            self.timers.set(TimerKind::KeepAlive, Some(due));
            return Silence::Short;
        }
        if self.missed_probes >= keepalive.count {
            return Silence::Dead;
        }
        self.probed = now;
        self.missed_probes = self.missed_probes.saturating_add(1);
        self.timers.set(TimerKind::KeepAlive, Some(now + keepalive.interval));
        Silence::Probe
    }

    // ---- round trips ----

    /// Starts a round trip measurement, unless one is running: [`measure_rtt`](Self::measure_rtt) ends it when
    /// a message comes that answers what is being sent now. Others may come before it, and say nothing
    /// about the way there and back.
    pub(crate) fn expect_reply(&mut self, now: Time) {
        self.asked.get_or_insert(now);
    }

    /// Ends the measurement.
    pub(crate) fn measure_rtt(&mut self, now: Time) {
        if let Some(from) = self.asked.take() {
            self.round_trip.sample(now.since(from));
        }
    }

    /// The shortest round trip, for window sizing, which measures more of them.
    pub(crate) fn round_trip(&mut self) -> &mut RoundTrip {
        &mut self.round_trip
    }
}
