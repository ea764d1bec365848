//! What the peer sends.

use super::calls::STDERR;
use super::global::Asked;
use super::host_keys::PROOF;
use super::screen::{Screen, refusal};
use super::table::{Asks, Channels, Phase, Reply, Undecided, bad_channel};
use super::{
    ChannelEvent, ChannelId, ChannelRequest, DataStream, GlobalRequestRef, GlobalTicket, Heard, OpenFailure,
    OpenKind, OpenTicket, RequestTicket,
};
use crate::error::{Failure, Fault};
use crate::msg::{
    self, ChannelClose, ChannelData, ChannelEof, ChannelExtendedData, ChannelFailure, ChannelOpen,
    ChannelOpenConfirmation, ChannelOpenFailure, ChannelSuccess, ChannelWindowAdjust, GlobalRequest, Message,
    RequestFailure, RequestSuccess,
};
use crate::time::Time;
use crate::transport::negotiate::Role;
use crate::transport::{RoundTrip, Transport, parse};
use crate::wire::SshStr;

impl Channels {
    /// Handles one message of the connection layer.
    pub(crate) fn receive<'p>(
        &mut self,
        transport: &mut Transport,
        now: Time,
        number: u8,
        payload: &'p [u8],
    ) -> Result<Option<Heard<'p>>, Failure> {
        match number {
            ChannelData::NUMBER => {
                let m = parse::<ChannelData<'_>>(payload)?;
                let id = self.on_data(now, transport.liveness().round_trip(), m.recipient, m.data.len())?;
                let event = ChannelEvent::Data { stream: DataStream::Data, data: m.data };
                Ok(id.map(|id| Heard::Channel(id, event)))
            }
            ChannelExtendedData::NUMBER => {
                let m = parse::<ChannelExtendedData<'_>>(payload)?;
                let Some(id) =
                    self.on_data(now, transport.liveness().round_trip(), m.recipient, m.data.len())?
                else {
                    return Ok(None);
                };
                if m.code != STDERR {
                    // Nobody reads other codes; drop the data and give the credit back (C-10).
                    let _ = self.consume(id, m.data.len());
                    return Ok(None);
                }
                Ok(Some(Heard::Channel(id, ChannelEvent::Data { stream: DataStream::Stderr, data: m.data })))
            }
            ChannelWindowAdjust::NUMBER => self.on_adjust(payload).map(|()| None),
            ChannelOpen::NUMBER => self.on_open(transport, now, payload),
            ChannelOpenConfirmation::NUMBER => {
                transport.liveness().measure_rtt(now);
                self.on_confirmation(payload)
            }
            ChannelOpenFailure::NUMBER => {
                transport.liveness().measure_rtt(now);
                self.on_open_failure(payload)
            }
            ChannelEof::NUMBER => {
                let m = parse::<ChannelEof<'_>>(payload)?;
                let channel = self.established(m.recipient)?;
                // A second one is harmless, and OpenSSH takes it too.
                let quiet = channel.close_wanted || channel.eof_received;
                channel.eof_received = true;
                Ok((!quiet).then(|| Heard::Channel(self.id(m.recipient), ChannelEvent::Eof)))
            }
            ChannelClose::NUMBER => self.on_close(transport, now, payload),
            msg::ChannelRequest::NUMBER => self.on_request(transport, now, payload),
            ChannelSuccess::NUMBER => self.on_reply(parse::<ChannelSuccess<'_>>(payload)?.recipient, true),
            ChannelFailure::NUMBER => self.on_reply(parse::<ChannelFailure<'_>>(payload)?.recipient, false),
            GlobalRequest::NUMBER => self.on_global(transport, now, payload),
            RequestSuccess::NUMBER => {
                let m = parse::<RequestSuccess<'_>>(payload)?;
                Ok(self.on_global_reply(true, m.fields))
            }
            RequestFailure::NUMBER => {
                parse::<RequestFailure<'_>>(payload)?;
                Ok(self.on_global_reply(false, &[]))
            }
            other => Err(Failure::unexpected(other)),
        }
    }

    fn on_data(
        &mut self,
        now: Time,
        rtt: &mut RoundTrip,
        local: u32,
        len: usize,
    ) -> Result<Option<ChannelId>, Failure> {
        let channel = self.established(local)?;
        if channel.eof_received {
            return Err(Failure::text(
                Fault::BadChannel,
                alloc::format!("data after EOF on channel {local}"),
            ));
        }
        channel.receive.receive(len, now, rtt)?;
        let closing = channel.close_wanted;
        // Empty data costs no window; it is no event either.
        if closing || len == 0 {
            return Ok(None);
        }
        Ok(Some(self.id(local)))
    }

    fn on_adjust(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let m = parse::<ChannelWindowAdjust<'_>>(payload)?;
        // May come late, for a channel that is gone.
        let Some(channel) = self.slot(m.recipient) else { return Ok(()) };
        if channel.phase != Phase::Open {
            return Err(bad_channel(m.recipient));
        }
        channel.send_window = channel.send_window.checked_add(m.bytes).ok_or(Fault::WindowOverflow)?;
        if channel.blocked && m.bytes > 0 {
            self.stall(m.recipient);
        }
        Ok(())
    }

    fn on_open<'p>(
        &mut self,
        transport: &mut Transport,
        now: Time,
        payload: &'p [u8],
    ) -> Result<Option<Heard<'p>>, Failure> {
        let m = parse::<ChannelOpen<'_>>(payload)?;
        let kind =
            OpenKind::decode(m.kind, m.fields).map_err(|e| Failure::malformed(ChannelOpen::NUMBER, e))?;
        if self.no_more_sessions && matches!(kind, OpenKind::Session) {
            return Err(Fault::NoMoreSessions.into());
        }
        let limits = &transport.config().limits;
        let refuse = if let Some(text) = refusal(transport.role(), &kind) {
            Some((OpenFailure::ADMINISTRATIVELY_PROHIBITED, text))
        } else if m.max_packet == 0 {
            Some((OpenFailure::ADMINISTRATIVELY_PROHIBITED, "a maximum packet size of zero"))
        } else if self.len() >= limits.channels || self.undecided >= limits.undecided_opens {
            Some((OpenFailure::RESOURCE_SHORTAGE, "too many channels"))
        } else {
            None
        };
        if let Some((why, text)) = refuse {
            let description = SshStr::new(text.as_bytes());
            let failure = ChannelOpenFailure { recipient: m.sender, reason: why.0, description };
            transport.post(&failure).map_err(|_| Fault::TooManyRequests)?;
            return Ok(None);
        }
        let window = self.window;
        let id = self.insert(Phase::Undecided, m.kind.as_bytes() == b"session", window);
        if let Some(channel) = self.find(id) {
            channel.remote = m.sender;
            channel.send_window = m.window;
            channel.send_packet = usize::try_from(m.max_packet).unwrap_or(usize::MAX);
        }
        self.undecided = self.undecided.saturating_add(1);
        self.must_decide(transport, now, Undecided::Open(id));
        Ok(Some(Heard::Open { ticket: OpenTicket { channel: id }, kind }))
    }

    fn on_confirmation(&mut self, payload: &[u8]) -> Result<Option<Heard<'static>>, Failure> {
        let m = parse::<ChannelOpenConfirmation<'_>>(payload)?;
        let channel = self.opening(m.recipient)?;
        if m.max_packet == 0 {
            return Err(Failure::text(Fault::BadChannel, "a maximum packet size of zero".into()));
        }
        channel.phase = Phase::Open;
        channel.remote = m.sender;
        channel.send_window = m.window;
        channel.send_packet = usize::try_from(m.max_packet).unwrap_or(usize::MAX);
        self.make_ready(m.recipient);
        Ok(Some(Heard::Opened(self.id(m.recipient))))
    }

    fn on_open_failure<'p>(&mut self, payload: &'p [u8]) -> Result<Option<Heard<'p>>, Failure> {
        let m = parse::<ChannelOpenFailure<'_>>(payload)?;
        self.opening(m.recipient)?;
        let id = self.id(m.recipient);
        self.remove(m.recipient);
        Ok(Some(Heard::OpenFailed { channel: id, why: OpenFailure(m.reason), text: m.description }))
    }

    fn on_close<'p>(
        &mut self,
        transport: &mut Transport,
        now: Time,
        payload: &'p [u8],
    ) -> Result<Option<Heard<'p>>, Failure> {
        let m = parse::<ChannelClose<'_>>(payload)?;
        self.established(m.recipient)?.close_wanted = true;
        let id = self.id(m.recipient);
        if let Some(mut open) = transport.open() {
            self.flush_channel(&mut open, m.recipient, now);
        } else if !self.slot(m.recipient).is_some_and(|c| c.close_sent) {
            // The slot goes away now, so the answer waits with the other messages.
            let remote = self.slot(m.recipient).map_or(0, |c| c.remote);
            transport.post(&ChannelClose::new(remote)).map_err(|_| Fault::TooManyRequests)?;
        }
        self.remove(m.recipient);
        Ok(Some(Heard::Channel(id, ChannelEvent::Closed)))
    }

    fn on_request<'p>(
        &mut self,
        transport: &mut Transport,
        now: Time,
        payload: &'p [u8],
    ) -> Result<Option<Heard<'p>>, Failure> {
        let m = parse::<msg::ChannelRequest<'_>>(payload)?;
        let request = ChannelRequest::decode(m.kind, m.fields)
            .map_err(|e| Failure::malformed(msg::ChannelRequest::NUMBER, e))?;
        let (max_requests, max_env) =
            (transport.config().limits.channel_requests, transport.config().limits.env);
        let channel = self.established(m.recipient)?;
        if channel.close_wanted {
            return Ok(None);
        }
        let what = match &request {
            r if r.starts_program() => Asks::Program,
            ChannelRequest::Pty(_) => Asks::Terminal,
            _ => Asks::Other,
        };
        let verdict = channel.screen(&request, max_env);
        let number = channel.first_reply.saturating_add(channel.replies.len() as u64);
        if m.want_reply {
            if channel.replies.len() >= max_requests {
                return Err(Fault::TooManyRequests.into());
            }
            let ok = if verdict == Screen::Ask { None } else { Some(false) };
            channel.replies.push_back(Reply { what, ok });
        }
        let id = self.id(m.recipient);
        if verdict != Screen::Ask {
            // A reply that is already decided goes out with the next flush.
            self.make_ready(m.recipient);
        }
        match verdict {
            Screen::Reject | Screen::Drop => Ok(None),
            Screen::Exit(exit) => Ok(Some(Heard::Channel(id, ChannelEvent::Exit(exit)))),
            Screen::Ask => {
                if m.want_reply {
                    self.must_decide(transport, now, Undecided::Request(id, number));
                }
                let ticket = m.want_reply.then_some(RequestTicket { channel: id, number });
                Ok(Some(Heard::Channel(id, ChannelEvent::Request { ticket, request })))
            }
        }
    }

    fn on_reply(&mut self, local: u32, ok: bool) -> Result<Option<Heard<'static>>, Failure> {
        // Replies to nothing, or for channels that are gone, are dropped (C-15).
        let Some(channel) = self.slot(local) else { return Ok(None) };
        let Some(left) = channel.asked.checked_sub(1) else { return Ok(None) };
        channel.asked = left;
        Ok(Some(Heard::Channel(self.id(local), ChannelEvent::RequestDone { ok })))
    }

    fn on_global<'p>(
        &mut self,
        transport: &mut Transport,
        now: Time,
        payload: &'p [u8],
    ) -> Result<Option<Heard<'p>>, Failure> {
        let m = parse::<GlobalRequest<'_>>(payload)?;
        if m.name.as_bytes() == b"no-more-sessions@openssh.com" && transport.role() == Role::Server {
            // What takes the client over later gets no shell by this connection (OpenSSH PROTOCOL 2.2).
            self.no_more_sessions = true;
            if m.want_reply {
                let number = self.globals.incoming(transport.config().limits.global_requests)?;
                let _ = self.globals.decide(number, true, None);
            }
            return Ok(None);
        }
        let request = GlobalRequestRef { name: m.name, fields: m.fields };
        if !m.want_reply {
            return Ok(Some(Heard::Global { ticket: None, request }));
        }
        let number = self.globals.incoming(transport.config().limits.global_requests)?;
        if m.name.as_bytes() == b"keepalive@openssh.com" {
            let _ = self.globals.decide(number, false, None);
            return Ok(None);
        }
        if m.name.as_bytes() == PROOF.as_bytes()
            && let Some(keys) = &mut self.globals.host_keys
        {
            let proofs = keys.prove(transport, m.fields);
            let _ = self.globals.answer(number, proofs);
            return Ok(None);
        }
        self.must_decide(transport, now, Undecided::Global(number));
        Ok(Some(Heard::Global { ticket: Some(GlobalTicket { number }), request }))
    }

    fn on_global_reply<'p>(&mut self, ok: bool, fields: &'p [u8]) -> Option<Heard<'p>> {
        match self.globals.answered()? {
            Asked::Keepalives(_) => None,
            Asked::Application => Some(Heard::GlobalReply { ok, fields }),
        }
    }
}
