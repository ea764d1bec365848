//! The run loop: timers, what waits, input, events.

use alloc::boxed::Box;

use super::Connection;
use super::event::Blocked;
use super::kept::{Kept, News};
use super::machine::Machine;
use super::side::Side;
use crate::auth::Told;
use crate::error::{Disconnected, EndedBy, Error, Failure, Fault, Phase, TimerKind};
use crate::msg::{self, DisconnectCode};
use crate::time::Time;
use crate::transport::{Incoming, Milestone, Payload, RxBuf, parse};
use crate::wire::DecodeError;

/// What the loop stops at.
pub(super) enum Next<S: Side> {
    Event(Kept<S>),
    Blocked(Blocked),
}

impl<S: Side> Connection<S> {
    pub(super) fn advance(&mut self, now: Time, rx: &mut RxBuf) -> Result<Next<S>, Error> {
        if let Some(error) = &self.core.ended {
            return Err(error.clone());
        }
        if self.core.closing {
            let drained = self.core.transport.tx().is_empty();
            return Ok(Next::Blocked(if drained { Blocked::Closed } else { Blocked::Output }));
        }
        self.core.now = self.core.now.max(now);
        self.fire_timers(rx)?;
        loop {
            self.core.transport.renew_keys_if_due(self.core.now);
            self.flush();
            match self.side.pending(&mut self.core) {
                Ok(Some(told)) => return Ok(Next::Event(Kept::new(News::Told(told)))),
                Ok(None) => {}
                Err(failure) => return Err(self.core.fail(failure)),
            }
            if let Some(heard) = self.core.channels.next_writable(&self.core.transport) {
                return Ok(Next::Event(Kept::new(News::Heard(heard))));
            }
            if self.core.transport.handshake().awaits_decision() || self.side.awaits_decision() {
                return Ok(Next::Blocked(Blocked::Decision));
            }
            if self.core.transport.clogged() {
                return Ok(Next::Blocked(Blocked::Output));
            }
            let shut = !self.core.transport.gate_open();
            let incoming = match self.core.transport.receive(self.core.now, rx) {
                Ok(incoming) => incoming,
                Err(failure) => return Err(self.core.fail(failure)),
            };
            let Some(incoming) = incoming else {
                // Our NEWKEYS went out: what waited for it goes now, not with the peer's.
                let opened = shut && self.core.transport.gate_open();
                if opened || self.core.transport.clogged() {
                    continue;
                }
                if rx.at_eof() {
                    return Err(self.ended_by_eof(rx));
                }
                return Ok(Next::Blocked(Blocked::Input));
            };
            match self.incoming(incoming, rx) {
                Ok(Some(next)) => return Ok(next),
                Ok(None) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn incoming(&mut self, incoming: Incoming, rx: &RxBuf) -> Result<Option<Next<S>>, Error> {
        match incoming {
            Incoming::Reached(milestone) => {
                Ok(self.reached(milestone).map(|news| Next::Event(Kept::new(news))))
            }
            Incoming::Disconnect(payload) => Err(self.disconnected(payload.of(rx))),
            Incoming::Message(number, payload) => match self.message(number, payload, rx) {
                Ok(kept) => Ok(kept.map(Next::Event)),
                Err(failure) => Err(self.core.fail(failure)),
            },
        }
    }

    /// What the application is told of the handshake.
    fn reached(&mut self, milestone: Milestone) -> Option<News<'static, S>> {
        match milestone {
            Milestone::Identified => None,
            Milestone::Negotiated => Some(News::Negotiated),
            Milestone::HostKey => self.side.host_key(&mut self.core).map(|auth| News::Told(Told::Auth(auth))),
            Milestone::Job(job) => Some(News::Job(job)),
            Milestone::Keyed => {
                self.side.keyed(&mut self.core);
                None
            }
            Milestone::Rekeyed => Some(News::Rekeyed),
        }
    }

    /// Reads a message, once, and keeps what it means for the application.
    fn message(&mut self, number: u8, payload: Payload, rx: &RxBuf) -> Result<Option<Kept<S>>, Failure> {
        let bytes = payload.of(rx);
        let news = if (80..=127).contains(&number) {
            let Machine { transport, channels, now, .. } = &mut self.core;
            channels.receive(transport, *now, number, bytes)?.map(News::Heard)
        } else {
            self.side.message(&mut self.core, number, bytes)?.map(News::Told)
        };
        news.map(|news| {
            Kept::of(news, payload, bytes).ok_or_else(|| Failure::malformed(number, DecodeError::Invalid))
        })
        .transpose()
    }

    fn fire_timers(&mut self, rx: &RxBuf) -> Result<(), Error> {
        while let Some(kind) = self.core.transport.liveness().expired(self.core.now) {
            match kind {
                TimerKind::Rekey => {}
                TimerKind::KeepAlive => {
                    if let Err(error) = self.core.on_keepalive() {
                        return Err(self.timed_out(error));
                    }
                }
                TimerKind::Decision => {
                    let Machine { transport, channels, now, .. } = &mut self.core;
                    channels.deny_expired(transport, *now);
                    let next = channels.decision_deadline();
                    transport.liveness().decisions_denied(next);
                }
                TimerKind::Ident if let Some(failure) = self.core.transport.handshake().ident_failure(rx) => {
                    return Err(self.core.fail(failure));
                }
                TimerKind::AuthDelay => self.side.delayed(&mut self.core),
                _ => {
                    let error = Error::Timeout(kind, self.core.transport.handshake().phase());
                    return Err(self.timed_out(error));
                }
            }
        }
        Ok(())
    }

    fn timed_out(&mut self, error: Error) -> Error {
        let text = alloc::format!("{error}");
        self.core.transport.send_disconnect(DisconnectCode::BY_APPLICATION, &text);
        self.core.end(error.clone());
        error
    }

    fn ended_by_eof(&mut self, rx: &RxBuf) -> Error {
        let phase = self.core.transport.handshake().phase();
        if phase == Phase::Ident
            && let Some(failure) = self.core.transport.handshake().ident_failure(rx)
        {
            return self.core.fail(failure);
        }
        if self.core.transport.in_packet(rx) {
            return self.core.fail(Fault::Truncated.into());
        }
        let error = Error::Disconnected(Box::new(Disconnected {
            by: EndedBy::EndOfInput,
            code: DisconnectCode::CONNECTION_LOST,
            text: alloc::string::String::new(),
            phase,
        }));
        self.core.end(error.clone());
        error
    }

    fn disconnected(&mut self, payload: &[u8]) -> Error {
        let phase = self.core.transport.handshake().phase();
        let message = match parse::<msg::Disconnect<'_>>(payload) {
            Ok(message) => message,
            Err(failure) => {
                // It is gone all the same; no answer (V-24).
                let error = failure.at(phase);
                self.core.end(error.clone());
                return error;
            }
        };
        let error = Error::Disconnected(Box::new(Disconnected {
            by: EndedBy::Peer,
            code: DisconnectCode(message.code),
            text: message.description.excerpt(1024),
            phase,
        }));
        self.core.end(error.clone());
        error
    }
}
