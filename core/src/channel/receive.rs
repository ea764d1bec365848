//! What the peer sends.

use core::time::Duration;

use super::calls::STDERR;
use super::global::Asked;
use super::screen::{Screen, refusal};
use super::table::{Asks, Channels, Phase, Reply, Undecided, bad_channel};
use super::{ChannelId, ChannelRequest, OpenFailure, OpenKind, Stream};
use crate::error::{Failure, Fault};
use crate::msg::{
    self, ChannelClose, ChannelData, ChannelEof, ChannelExtendedData, ChannelFailure, ChannelOpen,
    ChannelOpenConfirmation, ChannelOpenFailure, ChannelSuccess, ChannelWindowAdjust, GlobalRequest, Message,
    RequestFailure, RequestSuccess,
};
use crate::time::Time;
use crate::transport::Transport;
use crate::transport::negotiate::Role;
use crate::wire::SshStr;

/// What a message of the connection layer means for the application. The payload is parsed again
/// when the event is made, after all state has changed.
#[derive(Debug)]
pub(crate) enum RawChannel {
    Data(ChannelId, Stream),
    Eof(ChannelId),
    Request(ChannelId, Option<u64>),
    RequestDone(ChannelId, bool),
    Exit(ChannelId),
    Opened(ChannelId),
    OpenFailed(ChannelId),
    Closed(ChannelId),
    Writable(ChannelId),
    Open(ChannelId),
    Global(Option<u64>),
    GlobalReply(bool),
}

impl Channels {
    /// Handles one message of the connection layer.
    pub(crate) fn receive(
        &mut self,
        transport: &mut Transport,
        now: Time,
        number: u8,
        payload: &[u8],
    ) -> Result<Option<RawChannel>, Failure> {
        match number {
            ChannelData::NUMBER => {
                let m = Transport::parse::<ChannelData<'_>>(payload)?;
                self.on_data(now, &mut transport.rtt, m.recipient, Stream::Data, m.data.len())
            }
            ChannelExtendedData::NUMBER => {
                let m = Transport::parse::<ChannelExtendedData<'_>>(payload)?;
                if m.code == STDERR {
                    return self.on_data(now, &mut transport.rtt, m.recipient, Stream::Stderr, m.data.len());
                }
                // Nobody reads other codes; drop the data and give the credit back (C-10).
                if let Some(RawChannel::Data(id, _)) =
                    self.on_data(now, &mut transport.rtt, m.recipient, Stream::Stderr, m.data.len())?
                {
                    let _ = self.consume(id, m.data.len());
                }
                Ok(None)
            }
            ChannelWindowAdjust::NUMBER => self.on_adjust(payload),
            ChannelOpen::NUMBER => self.on_open(transport, now, payload),
            ChannelOpenConfirmation::NUMBER => {
                transport.measure_rtt(now);
                self.on_confirmation(payload)
            }
            ChannelOpenFailure::NUMBER => {
                transport.measure_rtt(now);
                self.on_open_failure(payload)
            }
            ChannelEof::NUMBER => {
                let m = Transport::parse::<ChannelEof<'_>>(payload)?;
                let channel = self.established(m.recipient)?;
                // A second one is harmless, and OpenSSH takes it too.
                let quiet = channel.close_wanted || channel.eof_received;
                channel.eof_received = true;
                Ok((!quiet).then(|| RawChannel::Eof(self.id(m.recipient))))
            }
            ChannelClose::NUMBER => self.on_close(transport, now, payload),
            msg::ChannelRequest::NUMBER => self.on_request(transport, now, payload),
            ChannelSuccess::NUMBER => {
                self.on_reply(Transport::parse::<ChannelSuccess<'_>>(payload)?.recipient, true)
            }
            ChannelFailure::NUMBER => {
                self.on_reply(Transport::parse::<ChannelFailure<'_>>(payload)?.recipient, false)
            }
            GlobalRequest::NUMBER => self.on_global(transport, now, payload),
            RequestSuccess::NUMBER => Ok(self.on_global_reply(true)),
            RequestFailure::NUMBER => {
                Transport::parse::<RequestFailure<'_>>(payload)?;
                Ok(self.on_global_reply(false))
            }
            other => Err(Failure::unexpected(other)),
        }
    }

    fn on_data(
        &mut self,
        now: Time,
        rtt: &mut Option<Duration>,
        local: u32,
        stream: Stream,
        len: usize,
    ) -> Result<Option<RawChannel>, Failure> {
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
        Ok(Some(RawChannel::Data(self.id(local), stream)))
    }

    fn on_adjust(&mut self, payload: &[u8]) -> Result<Option<RawChannel>, Failure> {
        let m = Transport::parse::<ChannelWindowAdjust<'_>>(payload)?;
        // May come late, for a channel that is gone.
        let Some(channel) = self.slot(m.recipient) else { return Ok(None) };
        if channel.phase != Phase::Open {
            return Err(bad_channel(m.recipient));
        }
        channel.send_window = channel.send_window.checked_add(m.bytes).ok_or(Fault::WindowOverflow)?;
        if channel.blocked && m.bytes > 0 {
            self.stall(m.recipient);
        }
        Ok(None)
    }

    fn on_open(
        &mut self,
        transport: &mut Transport,
        now: Time,
        payload: &[u8],
    ) -> Result<Option<RawChannel>, Failure> {
        let m = Transport::parse::<ChannelOpen<'_>>(payload)?;
        let kind =
            OpenKind::decode(m.kind, m.fields).map_err(|e| Failure::malformed(ChannelOpen::NUMBER, e))?;
        if self.no_more_sessions && matches!(kind, OpenKind::Session) {
            return Err(Fault::NoMoreSessions.into());
        }
        let limits = &transport.config.limits;
        let refuse = if let Some(text) = refusal(transport.role, &kind) {
            Some((OpenFailure::ADMINISTRATIVELY_PROHIBITED, text))
        } else if m.max_packet == 0 {
            Some((OpenFailure::ADMINISTRATIVELY_PROHIBITED, "a maximum packet size of zero"))
        } else if self.live >= limits.channels || self.undecided >= limits.undecided_opens {
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
        let local = self.free_slot();
        let window = self.window;
        let id = self.insert(local, Phase::Undecided, m.kind.as_bytes() == b"session", window);
        if let Some(channel) = self.slot(local) {
            channel.remote = m.sender;
            channel.send_window = m.window;
            channel.send_packet = usize::try_from(m.max_packet).unwrap_or(usize::MAX);
        }
        self.undecided = self.undecided.saturating_add(1);
        self.must_decide(transport, now, Undecided::Open(id));
        Ok(Some(RawChannel::Open(id)))
    }

    fn on_confirmation(&mut self, payload: &[u8]) -> Result<Option<RawChannel>, Failure> {
        let m = Transport::parse::<ChannelOpenConfirmation<'_>>(payload)?;
        let channel = self.opening(m.recipient)?;
        if m.max_packet == 0 {
            return Err(Failure::text(Fault::BadChannel, "a maximum packet size of zero".into()));
        }
        channel.phase = Phase::Open;
        channel.remote = m.sender;
        channel.send_window = m.window;
        channel.send_packet = usize::try_from(m.max_packet).unwrap_or(usize::MAX);
        self.make_ready(m.recipient);
        Ok(Some(RawChannel::Opened(self.id(m.recipient))))
    }

    fn on_open_failure(&mut self, payload: &[u8]) -> Result<Option<RawChannel>, Failure> {
        let m = Transport::parse::<ChannelOpenFailure<'_>>(payload)?;
        self.opening(m.recipient)?;
        let id = self.id(m.recipient);
        self.remove(m.recipient);
        Ok(Some(RawChannel::OpenFailed(id)))
    }

    fn on_close(
        &mut self,
        transport: &mut Transport,
        now: Time,
        payload: &[u8],
    ) -> Result<Option<RawChannel>, Failure> {
        let m = Transport::parse::<ChannelClose<'_>>(payload)?;
        self.established(m.recipient)?.close_wanted = true;
        let id = self.id(m.recipient);
        if transport.gate_open() {
            self.flush_channel(transport, m.recipient, now);
        } else if !self.slot(m.recipient).is_some_and(|c| c.close_sent) {
            // The slot goes away now, so the answer waits with the other messages.
            let remote = self.slot(m.recipient).map_or(0, |c| c.remote);
            transport.post(&ChannelClose::new(remote)).map_err(|_| Fault::TooManyRequests)?;
        }
        self.remove(m.recipient);
        Ok(Some(RawChannel::Closed(id)))
    }

    fn on_request(
        &mut self,
        transport: &mut Transport,
        now: Time,
        payload: &[u8],
    ) -> Result<Option<RawChannel>, Failure> {
        let m = Transport::parse::<msg::ChannelRequest<'_>>(payload)?;
        let request = ChannelRequest::decode(m.kind, m.fields)
            .map_err(|e| Failure::malformed(msg::ChannelRequest::NUMBER, e))?;
        let (max_requests, max_env) = (transport.config.limits.channel_requests, transport.config.limits.env);
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
            Screen::Refuse | Screen::Drop => Ok(None),
            Screen::Exit => Ok(Some(RawChannel::Exit(id))),
            Screen::Ask => {
                if m.want_reply {
                    self.must_decide(transport, now, Undecided::Request(id, number));
                }
                Ok(Some(RawChannel::Request(id, m.want_reply.then_some(number))))
            }
        }
    }

    fn on_reply(&mut self, local: u32, ok: bool) -> Result<Option<RawChannel>, Failure> {
        // Replies to nothing, or for channels that are gone, are dropped (C-15).
        let Some(channel) = self.slot(local) else { return Ok(None) };
        let Some(left) = channel.asked.checked_sub(1) else { return Ok(None) };
        channel.asked = left;
        Ok(Some(RawChannel::RequestDone(self.id(local), ok)))
    }

    fn on_global(
        &mut self,
        transport: &mut Transport,
        now: Time,
        payload: &[u8],
    ) -> Result<Option<RawChannel>, Failure> {
        let m = Transport::parse::<GlobalRequest<'_>>(payload)?;
        if m.name.as_bytes() == b"no-more-sessions@openssh.com" && transport.role == Role::Server {
            // What takes the client over later gets no shell by this connection (OpenSSH PROTOCOL 2.2).
            self.no_more_sessions = true;
            if m.want_reply {
                let number = self.globals.incoming(transport.config.limits.global_requests)?;
                let _ = self.globals.decide(number, true, None);
            }
            return Ok(None);
        }
        if !m.want_reply {
            return Ok(Some(RawChannel::Global(None)));
        }
        let number = self.globals.incoming(transport.config.limits.global_requests)?;
        if m.name.as_bytes() == b"keepalive@openssh.com" {
            let _ = self.globals.decide(number, false, None);
            return Ok(None);
        }
        self.must_decide(transport, now, Undecided::Global(number));
        Ok(Some(RawChannel::Global(Some(number))))
    }

    fn on_global_reply(&mut self, ok: bool) -> Option<RawChannel> {
        match self.globals.answered()? {
            Asked::Keepalives(_) => None,
            Asked::Application => Some(RawChannel::GlobalReply(ok)),
        }
    }
}
