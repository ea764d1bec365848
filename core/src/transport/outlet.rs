//! What the floors above may send, and when.
//!
//! Between our KEXINIT and our NEWKEYS the gate is shut for them (RFC 4253 §7.1). [`Open`] is there only while it is
//! open; what the application asks for at any time is [posted](Transport::post), and kept while it is shut.

use super::liveness::Liveness;
use super::{Stage, Transport, TransportConfig};
use crate::crypto::{Digest, Scrubbed};
use crate::error::UsageError;
use crate::keys::PublicKey;
use crate::msg::Message;
use crate::time::Time;
use crate::wire::{Reader, Sink};

/// Bytes of messages kept while the gate is shut.
const MAX_KEPT: usize = 256 * 1024;

/// Messages kept while the gate is shut, each behind its length. They may hold a password.
#[derive(Default)]
pub(super) struct Kept(Scrubbed);

/// The open gate: what is sent here goes out next. Nothing that could be done with it shuts the gate, and nothing
/// is kept any more that came earlier.
pub(crate) struct Open<'t>(&'t mut Transport);

impl Transport {
    /// The gate, if it is open. Sends what was kept while it was shut.
    #[inline]
    pub(crate) fn open(&mut self) -> Option<Open<'_>> {
        if !self.handshake.gate_open() {
            return None;
        }
        if !self.kept.0.is_empty() {
            self.send_kept();
        }
        Some(Open(self))
    }

    #[cold]
    fn send_kept(&mut self) {
        let kept = core::mem::take(&mut self.kept.0);
        let mut r = Reader::new(&kept);
        while let Ok(payload) = r.string() {
            self.sender.send_payload(payload);
        }
    }

    /// Whether messages of the floors above may be sent now.
    pub(crate) fn gate_open(&self) -> bool {
        self.handshake.gate_open()
    }

    /// Whether application data may be sent now.
    pub(crate) fn takes_data(&self) -> bool {
        self.gate_open() && self.sender.tx().len() < self.config.limits.output_soft
    }

    /// Whether so much output is pending that no more input is to be read.
    pub(crate) fn clogged(&self) -> bool {
        self.sender.tx().len() > self.config.limits.output_hard
    }

    /// Sends a message, or keeps it until the gate opens. Only what the application asks for comes this way; what the
    /// peer causes is flags.
    pub(crate) fn post<'m>(&mut self, message: &impl Message<'m>) -> Result<(), UsageError> {
        self.post_padded(message, 0)
    }

    /// The same, in a packet of at least `min` bytes of payload if it goes out at once.
    pub(crate) fn post_padded<'m>(
        &mut self,
        message: &impl Message<'m>,
        min: usize,
    ) -> Result<(), UsageError> {
        if self.gate_open() && self.kept.0.is_empty() {
            if self.sender.tx().len() > self.config.limits.output_hard.saturating_mul(2) {
                return Err(UsageError::Full);
            }
            self.sender.send_padded(message, min);
            return Ok(());
        }
        if self.kept.0.len() > MAX_KEPT {
            return Err(UsageError::Full);
        }
        let mut payload = Scrubbed::default();
        message.put(&mut payload);
        self.kept.0.put_string(&payload);
        Ok(())
    }
}

impl Open<'_> {
    /// Sends a message.
    pub(crate) fn send<'m>(&mut self, message: &impl Message<'m>) {
        self.0.sender.send(message);
    }

    /// Lends room for `data` bytes behind a payload prefix of `prefix` bytes. Nothing is sent before
    /// [`commit`](Self::commit).
    pub(crate) fn slot(&mut self, prefix: usize, data: usize) -> &mut [u8] {
        self.0.sender.slot(prefix, data)
    }

    /// Sends what [`slot`](Self::slot) lent: `prefix` goes before the first `data` bytes of it.
    pub(crate) fn commit(&mut self, prefix: &[u8], data: usize) {
        self.0.sender.commit(prefix, data);
        self.0.handshake.progressed();
    }

    /// Whether application data may be sent now.
    pub(crate) fn takes_data(&self) -> bool {
        self.0.takes_data()
    }

    /// Whether so much output is pending that control output has to wait.
    pub(crate) fn clogged(&self) -> bool {
        self.0.clogged()
    }

    /// Goes on to the next stage, with what begins there.
    pub(crate) fn enter(&mut self, stage: Stage, now: Time) {
        self.0.enter(stage, now);
    }

    /// How far the connection has come.
    pub(crate) fn stage(&self) -> Option<Stage> {
        self.0.handshake.stage()
    }

    /// What is configured.
    pub(crate) fn config(&self) -> &TransportConfig {
        &self.0.config
    }

    /// The session identifier, to be signed.
    pub(crate) fn session_id(&self) -> Option<&Digest> {
        self.0.handshake.session_id()
    }

    /// The host key of the first exchange.
    pub(crate) fn first_host_key(&self) -> Option<&PublicKey> {
        self.0.handshake.first_host_key()
    }

    /// Timers, keepalive and round trips.
    pub(crate) fn liveness(&mut self) -> &mut Liveness {
        &mut self.0.liveness
    }
}
