//! The run loop: timers, what waits, input, events.

use alloc::boxed::Box;
use core::fmt;

use super::Connection;
use super::event::{Blocked, Event};
use super::machine::Machine;
use super::side::{EventOf, Side};
use crate::auth::Method;
use crate::channel::{
    ChannelEvent, ChannelRequest, Exit, GlobalRequestRef, GlobalTicket, OpenFailure, OpenKind, OpenTicket,
    RawChannel, RequestTicket, Stream,
};
use crate::error::{Disconnected, EndedBy, Error, Fault, Phase, TimerKind};
use crate::msg::{self, DisconnectCode, Message};
use crate::time::Time;
use crate::transport::recv::Payload;
use crate::transport::{Incoming, Job, RxBuf, Transport};
use crate::wire::SshStr;

/// An event before it borrows from the receive buffer.
pub(crate) enum Raw<R> {
    /// Of the role.
    Auth(R),
    Authenticated {
        method: Method,
        trivial: bool,
    },
    Job(Box<Job>),
    Channel(RawChannel),
    Negotiated,
    Rekeyed,
}

/// Goes into recordings: kinds and numbers, never what a peer or a user wrote.
impl<R: fmt::Debug> fmt::Debug for Raw<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raw::Auth(raw) => raw.fmt(f),
            Raw::Authenticated { .. } => f.write_str("Authenticated"),
            Raw::Job(job) => job.fmt(f),
            Raw::Channel(raw) => raw.fmt(f),
            Raw::Negotiated => f.write_str("Negotiated"),
            Raw::Rekeyed => f.write_str("Rekeyed"),
        }
    }
}

pub(super) enum Next<R> {
    Event(Raw<R>, Option<Payload>),
    Blocked(Blocked),
}

impl<S: Side> Connection<S> {
    pub(super) fn advance(&mut self, now: Time, rx: &mut RxBuf) -> Result<Next<S::Raw>, Error> {
        if let Some(error) = &self.core.ended {
            return Err(error.clone());
        }
        if self.core.closing {
            let drained = self.core.transport.sender.tx.is_empty();
            return Ok(Next::Blocked(if drained { Blocked::Closed } else { Blocked::Output }));
        }
        self.core.now = self.core.now.max(now);
        self.fire_timers(rx)?;
        loop {
            if self.core.transport.rekey_due(self.core.now) {
                self.core.transport.start_rekey(self.core.now);
            }
            self.flush();
            match self.side.pending(&mut self.core) {
                Ok(Some(raw)) => return Ok(Next::Event(raw, None)),
                Ok(None) => {}
                Err(failure) => return Err(self.core.fail(failure)),
            }
            if let Some(raw) = self.core.channels.next_writable(&self.core.transport) {
                return Ok(Next::Event(Raw::Channel(raw), None));
            }
            if self.core.transport.awaits_decision() || self.side.awaits_decision() {
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

    fn incoming(&mut self, incoming: Incoming, rx: &RxBuf) -> Result<Option<Next<S::Raw>>, Error> {
        let event = |raw, payload| Some(Next::Event(raw, payload));
        match incoming {
            Incoming::Ident => Ok(None),
            Incoming::Negotiated => Ok(event(Raw::Negotiated, None)),
            Incoming::HostKey => {
                Ok(self.side.host_key(&mut self.core).and_then(|raw| event(Raw::Auth(raw), None)))
            }
            Incoming::Job(job) => Ok(event(Raw::Job(job), None)),
            Incoming::Keyed(true) => {
                self.schedule_rekey();
                self.side.keyed(&mut self.core);
                Ok(None)
            }
            Incoming::Keyed(false) => {
                self.schedule_rekey();
                Ok(event(Raw::Rekeyed, None))
            }
            Incoming::Disconnect(payload) => Err(self.disconnected(payload.of(rx))),
            Incoming::Message(number, payload) => {
                let bytes = payload.of(rx);
                let connection = (80..=127).contains(&number);
                let result = if connection {
                    let Machine { transport, channels, now, .. } = &mut self.core;
                    channels.receive(transport, *now, number, bytes).map(|raw| raw.map(Raw::Channel))
                } else {
                    self.side.message(&mut self.core, number, bytes)
                };
                match result {
                    Ok(raw) => Ok(raw.and_then(|raw| event(raw, Some(payload)))),
                    Err(failure) => Err(self.core.fail(failure)),
                }
            }
        }
    }

    fn schedule_rekey(&mut self) {
        let at = self.core.now + self.core.transport.config.rekey.time;
        self.core.transport.timers.set(TimerKind::Rekey, Some(at));
    }

    fn fire_timers(&mut self, rx: &RxBuf) -> Result<(), Error> {
        while let Some(kind) = self.core.transport.timers.expired(self.core.now) {
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
                    transport.timers.set(TimerKind::Decision, next);
                }
                TimerKind::Ident if let Some(failure) = self.core.transport.ident_failure(rx) => {
                    return Err(self.core.fail(failure));
                }
                TimerKind::AuthDelay => self.side.delayed(&mut self.core),
                _ => {
                    let error = Error::Timeout(kind, self.core.transport.phase());
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
        let phase = self.core.transport.phase();
        if phase == Phase::Ident
            && let Some(failure) = self.core.transport.ident_failure(rx)
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
        let phase = self.core.transport.phase();
        let message = match Transport::parse::<msg::Disconnect<'_>>(payload) {
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

    pub(super) fn present<'b>(&self, raw: Raw<S::Raw>, payload: &'b [u8]) -> EventOf<'b, S> {
        match raw {
            Raw::Auth(raw) => Event::Auth(self.side.present(raw, payload)),
            Raw::Authenticated { method, trivial } => Event::Authenticated { method, trivial },
            Raw::Job(job) => Event::Job(job),
            Raw::Negotiated => Event::Negotiated,
            Raw::Rekeyed => Event::Rekeyed,
            Raw::Channel(raw) => channel_event(raw, payload),
        }
    }
}

/// Makes the application's view of a message that was checked before.
fn channel_event<A>(raw: RawChannel, payload: &[u8]) -> Event<'_, A> {
    let on = Event::Channel;
    match raw {
        RawChannel::Data(id, stream) => {
            let data = match stream {
                Stream::Data => msg::ChannelData::parse(payload).map(|m| m.data),
                Stream::Stderr => msg::ChannelExtendedData::parse(payload).map(|m| m.data),
            };
            on(id, ChannelEvent::Data { stream, data: data.unwrap_or_default() })
        }
        RawChannel::Eof(id) => on(id, ChannelEvent::Eof),
        RawChannel::Closed(id) => on(id, ChannelEvent::Closed),
        RawChannel::Writable(id) => on(id, ChannelEvent::Writable),
        RawChannel::RequestDone(id, ok) => on(id, ChannelEvent::RequestDone { ok }),
        RawChannel::Request(id, number) => {
            let ticket = number.map(|number| RequestTicket { channel: id, number });
            on(id, ChannelEvent::Request { ticket, request: request_of(payload) })
        }
        RawChannel::Exit(id) => {
            let exit = match request_of(payload) {
                ChannelRequest::ExitSignal { signal, core_dumped, message } => {
                    Exit::Signal { signal, core_dumped, message }
                }
                ChannelRequest::ExitStatus(status) => Exit::Status(status),
                _ => Exit::Status(0),
            };
            on(id, ChannelEvent::Exit(exit))
        }
        RawChannel::Opened(id) => Event::Opened(id),
        RawChannel::OpenFailed(channel) => {
            let m = msg::ChannelOpenFailure::parse(payload);
            let (why, text) = m.map_or((0, SshStr::new(b"")), |m| (m.reason, m.description));
            Event::OpenFailed { channel, why: OpenFailure(why), text }
        }
        RawChannel::Open(channel) => {
            let kind = msg::ChannelOpen::parse(payload).and_then(|m| OpenKind::decode(m.kind, m.fields));
            Event::Open { ticket: OpenTicket { channel }, kind: kind.unwrap_or(OpenKind::Session) }
        }
        RawChannel::Global(number) => {
            let m = msg::GlobalRequest::parse(payload);
            let (name, fields) = m.map_or((SshStr::new(b""), &[][..]), |m| (m.name, m.fields));
            let ticket = number.map(|number| GlobalTicket { number });
            Event::GlobalRequest { ticket, request: GlobalRequestRef { name, fields } }
        }
        RawChannel::GlobalReply(ok) => {
            Event::GlobalReply { ok, fields: payload.get(1..).unwrap_or_default() }
        }
    }
}

fn request_of(payload: &[u8]) -> ChannelRequest<'_> {
    let other = |fields| ChannelRequest::Other { kind: SshStr::new(b""), fields };
    msg::ChannelRequest::parse(payload)
        .and_then(|m| ChannelRequest::decode(m.kind, m.fields))
        .unwrap_or_else(|_| other(&[]))
}
