//! The channel table: one for both roles.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::global::{Asked, Globals};
use super::screen::{refusal, sane_env};
use super::window::ReceiveWindow;
use super::{
    ChannelId, ChannelRequest, OpenFailure, OpenKind, OpenTicket, RequestTicket, Stream, WindowConfig,
};
use crate::crypto::Scrubbed;
use crate::error::{Failure, Fault, TimerKind, UsageError};
use crate::msg::{
    self, ChannelClose, ChannelData, ChannelEof, ChannelExtendedData, ChannelFailure, ChannelOpen,
    ChannelOpenConfirmation, ChannelOpenFailure, ChannelSuccess, ChannelWindowAdjust, GlobalRequest, Message,
    RequestFailure, RequestSuccess,
};
use crate::time::Time;
use crate::transport::Transport;
use crate::transport::negotiate::Role;
use crate::wire::{Sink, SshStr};

/// Most data we put into one packet, whatever the peer allows.
const MAX_DATA: usize = 32 * 1024;
/// SSH_EXTENDED_DATA_STDERR (RFC 4254 §5.2).
const STDERR: u32 = 1;
/// Our own requests of a channel that may wait for an answer.
const MAX_ASKED: usize = 64;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Our CHANNEL_OPEN is out.
    Opening,
    /// The peer's CHANNEL_OPEN waits for the application.
    Undecided,
    Open,
}

/// A reply that is due, in order.
#[derive(Clone, Copy, Debug)]
struct Reply {
    what: Asks,
    /// Undecided at first.
    ok: Option<bool>,
}

/// What of a channel there is only one of. A request for it that was not granted may be followed by
/// another: some clients try `exec` when a server lacks a subsystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    Program,
    Terminal,
    Other,
}

#[derive(Debug)]
struct Channel {
    generation: u32,
    phase: Phase,
    session: bool,
    /// The peer's number.
    remote: u32,
    receive: ReceiveWindow,
    send_window: u32,
    send_packet: usize,
    eof_sent: bool,
    eof_wanted: bool,
    close_sent: bool,
    close_wanted: bool,
    eof_received: bool,
    /// The writer was told to wait.
    blocked: bool,
    /// In the list of stalled channels.
    stalled: bool,
    /// In the list of channels with control output.
    ready: bool,
    program: bool,
    terminal: bool,
    env: u32,
    exit_seen: bool,
    /// Requests of the peer that want a reply, oldest first.
    replies: VecDeque<Reply>,
    first_reply: u64,
    /// Our own requests that wait for an answer.
    asked: usize,
}

/// All channels of a connection.
#[derive(Debug)]
pub(crate) struct Channels {
    slots: Vec<Option<Box<Channel>>>,
    generation: u32,
    live: usize,
    undecided: usize,
    /// The client has promised to open no more sessions.
    no_more_sessions: bool,
    /// Channels with control output (replies, adjusts, EOF, CLOSE).
    ready: VecDeque<u32>,
    /// Channels whose writer waits for room, not for the window.
    stalled: VecDeque<u32>,
    /// What the application has not decided, with deadlines; oldest first.
    decisions: VecDeque<(Time, Undecided)>,
    pub(crate) globals: Globals,
    pub(crate) window: WindowConfig,
}

#[derive(Debug)]
enum Undecided {
    Open(ChannelId),
    Request(ChannelId, u64),
    Global(u64),
}

impl Channels {
    pub(crate) fn new(window: WindowConfig) -> Self {
        Channels {
            slots: Vec::new(),
            generation: 0,
            live: 0,
            undecided: 0,
            no_more_sessions: false,
            ready: VecDeque::new(),
            stalled: VecDeque::new(),
            decisions: VecDeque::new(),
            globals: Globals::default(),
            window,
        }
    }

    /// Channels that exist.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    // ---- what the application asks for ----

    /// Opens a channel.
    pub(crate) fn open(
        &mut self,
        transport: &mut Transport,
        kind: &OpenKind<'_>,
        window: WindowConfig,
    ) -> Result<ChannelId, UsageError> {
        if self.live >= transport.config.limits.channels {
            return Err(UsageError::Full);
        }
        super::text(kind.kind().as_bytes())?;
        let window = window.bounded();
        let local = self.free_slot();
        let mut fields = Vec::new();
        kind.encode(&mut fields);
        super::bounded(&fields)?;
        let open = ChannelOpen::new(kind.kind(), local, window.initial, window.packet, &fields);
        transport.post(&open)?;
        Ok(self.insert(local, Phase::Opening, matches!(kind, OpenKind::Session), window))
    }

    /// Accepts a channel that the peer opens.
    pub(crate) fn accept(
        &mut self,
        transport: &mut Transport,
        ticket: OpenTicket,
        window: WindowConfig,
    ) -> Result<ChannelId, UsageError> {
        let (id, window) = (ticket.channel, window.bounded());
        let channel = self.find(id).filter(|c| c.phase == Phase::Undecided).ok_or(UsageError::StaleTicket)?;
        let confirm =
            ChannelOpenConfirmation::new(channel.remote, id.local, window.initial, window.packet, &[]);
        transport.post(&confirm)?;
        channel.phase = Phase::Open;
        channel.receive = ReceiveWindow::new(window);
        self.undecided = self.undecided.saturating_sub(1);
        Ok(id)
    }

    /// Refuses a channel that the peer opens.
    pub(crate) fn refuse(
        &mut self,
        transport: &mut Transport,
        ticket: OpenTicket,
        why: OpenFailure,
        text: &str,
    ) -> Result<(), UsageError> {
        let id = ticket.channel;
        let channel = self.find(id).filter(|c| c.phase == Phase::Undecided).ok_or(UsageError::StaleTicket)?;
        let description = SshStr::new(text.as_bytes());
        transport.post(&ChannelOpenFailure { recipient: channel.remote, reason: why.0, description })?;
        self.undecided = self.undecided.saturating_sub(1);
        self.remove(id.local);
        Ok(())
    }

    /// Sends a request.
    pub(crate) fn request(
        &mut self,
        transport: &mut Transport,
        id: ChannelId,
        request: &ChannelRequest<'_>,
        want_reply: bool,
    ) -> Result<(), UsageError> {
        super::text(request.kind().as_bytes())?;
        let channel = self.find(id).ok_or(UsageError::NoSuchChannel)?;
        if channel.phase != Phase::Open || channel.close_wanted {
            return Err(UsageError::ChannelState);
        }
        if matches!(request, ChannelRequest::Eow) && !transport.peer_takes_eow() {
            return Ok(());
        }
        let want_reply = want_reply && request.may_want_reply();
        if want_reply && channel.asked >= MAX_ASKED {
            return Err(UsageError::Full);
        }
        // Variables of the environment may be secrets.
        let mut fields = Scrubbed::default();
        request.encode(&mut fields);
        super::bounded(&fields)?;
        transport.post(&msg::ChannelRequest::new(channel.remote, request.kind(), want_reply, &fields))?;
        if want_reply {
            channel.asked = channel.asked.saturating_add(1);
        }
        Ok(())
    }

    /// Answers a request of the peer.
    pub(crate) fn reply(&mut self, ticket: &RequestTicket, ok: bool) -> Result<(), UsageError> {
        let RequestTicket { channel: id, number } = *ticket;
        let channel = self.find(id).ok_or(UsageError::StaleTicket)?;
        let index = number.checked_sub(channel.first_reply).and_then(|i| usize::try_from(i).ok());
        match index.and_then(|i| channel.replies.get_mut(i)) {
            Some(reply) if reply.ok.is_none() => {
                reply.ok = Some(ok);
                match reply.what {
                    Asks::Program if !ok => channel.program = false,
                    Asks::Terminal if !ok => channel.terminal = false,
                    _ => {}
                }
            }
            _ => return Err(UsageError::StaleTicket),
        }
        self.make_ready(id.local);
        Ok(())
    }

    /// How much of `want` bytes may be written now, at most one packet's worth. Zero: later, and
    /// the channel is remembered for `Writable`.
    pub(crate) fn room(
        &mut self,
        transport: &Transport,
        id: ChannelId,
        want: usize,
    ) -> Result<usize, UsageError> {
        let channel = self.find(id).ok_or(UsageError::NoSuchChannel)?;
        if channel.eof_wanted || channel.close_wanted {
            return Err(UsageError::ChannelState);
        }
        if channel.phase != Phase::Open {
            return if channel.phase == Phase::Opening { Ok(0) } else { Err(UsageError::ChannelState) };
        }
        let window = usize::try_from(channel.send_window).unwrap_or(usize::MAX);
        let takes = transport.takes_data();
        let room = if takes { window.min(channel.send_packet).min(MAX_DATA) } else { 0 };
        if room < want && !channel.blocked && (window == 0 || !takes) {
            channel.blocked = true;
            if window > 0 {
                self.stall(id.local);
            }
        }
        Ok(room.min(want))
    }

    /// The bytes before the data of a packet on `stream`.
    pub(crate) fn data_prefix(&mut self, id: ChannelId, stream: Stream, len: usize) -> ([u8; 13], usize) {
        let remote = self.find(id).map_or(0, |c| c.remote);
        let mut prefix = [0; 13];
        let mut out = Fixed { bytes: &mut prefix, len: 0 };
        match stream {
            Stream::Data => {
                out.put_u8(ChannelData::NUMBER);
                out.put_u32(remote);
            }
            Stream::Stderr => {
                out.put_u8(ChannelExtendedData::NUMBER);
                out.put_u32(remote);
                out.put_u32(STDERR);
            }
        }
        out.put_len(len);
        let n = out.len;
        (prefix, n)
    }

    /// Counts data that was sent.
    pub(crate) fn sent(&mut self, id: ChannelId, len: usize) {
        if let Some(channel) = self.find(id) {
            channel.send_window = channel.send_window.saturating_sub(u32::try_from(len).unwrap_or(u32::MAX));
        }
    }

    /// Gives receive credit back.
    pub(crate) fn consume(&mut self, id: ChannelId, n: usize) -> Result<(), UsageError> {
        let channel = self.find(id).ok_or(UsageError::NoSuchChannel)?;
        if channel.receive.consume(n) {
            self.make_ready(id.local);
        }
        Ok(())
    }

    /// No more data will be written.
    pub(crate) fn finish(&mut self, id: ChannelId) -> Result<(), UsageError> {
        let channel = self.find(id).ok_or(UsageError::NoSuchChannel)?;
        if channel.phase == Phase::Undecided {
            return Err(UsageError::ChannelState);
        }
        channel.eof_wanted = true;
        self.make_ready(id.local);
        Ok(())
    }

    /// Closes a channel; its identifier stays valid until `Closed`.
    pub(crate) fn close(&mut self, id: ChannelId) -> Result<(), UsageError> {
        let channel = self.find(id).ok_or(UsageError::NoSuchChannel)?;
        if channel.phase == Phase::Undecided {
            return Err(UsageError::ChannelState);
        }
        channel.close_wanted = true;
        self.make_ready(id.local);
        Ok(())
    }

    // ---- what is due ----

    /// Sends control output that is due, as far as the gate and the output allow.
    pub(crate) fn flush(&mut self, transport: &mut Transport, now: Time) {
        if !transport.gate_open() {
            return;
        }
        self.globals.flush(transport);
        while !transport.clogged()
            && let Some(local) = self.ready.pop_front()
        {
            self.flush_channel(transport, local, now);
        }
    }

    fn flush_channel(&mut self, transport: &mut Transport, local: u32, now: Time) {
        let Some(channel) = self.slot(local) else { return };
        channel.ready = false;
        if channel.phase != Phase::Open {
            // Comes back when the open is confirmed.
            return;
        }
        let remote = channel.remote;
        while let Some(Reply { ok: Some(ok), .. }) = channel.replies.front().copied() {
            channel.replies.pop_front();
            channel.first_reply = channel.first_reply.saturating_add(1);
            if channel.close_sent {
                continue;
            }
            if ok {
                transport.sender.send(&ChannelSuccess::new(remote));
            } else {
                transport.sender.send(&ChannelFailure::new(remote));
            }
        }
        if channel.receive.due() && !channel.eof_received && !channel.close_wanted {
            let bytes = channel.receive.adjust(now);
            transport.sender.send(&ChannelWindowAdjust::new(remote, bytes));
        }
        if channel.eof_wanted && !channel.eof_sent && !channel.close_sent {
            channel.eof_sent = true;
            transport.sender.send(&ChannelEof::new(remote));
        }
        if channel.close_wanted && !channel.close_sent {
            channel.close_sent = true;
            transport.sender.send(&ChannelClose::new(remote));
        }
    }

    /// The next channel whose writer may go on.
    pub(crate) fn next_writable(&mut self, transport: &Transport) -> Option<RawChannel> {
        while transport.takes_data() {
            let local = self.stalled.pop_front()?;
            let Some(channel) = self.slot(local) else { continue };
            channel.stalled = false;
            if channel.blocked && channel.send_window > 0 {
                channel.blocked = false;
                let generation = channel.generation;
                return Some(RawChannel::Writable(ChannelId { local, generation }));
            }
        }
        None
    }

    /// When the oldest undecided question is denied.
    pub(crate) fn decision_deadline(&mut self) -> Option<Time> {
        while let Some((at, question)) = self.decisions.front() {
            if self.is_undecided(question) {
                return Some(*at);
            }
            self.decisions.pop_front();
        }
        None
    }

    /// Denies what has waited too long.
    pub(crate) fn deny_expired(&mut self, transport: &mut Transport, now: Time) {
        while self.decision_deadline().is_some_and(|at| at <= now) {
            match self.decisions.pop_front() {
                Some((_, Undecided::Open(channel))) => {
                    let why = OpenFailure::ADMINISTRATIVELY_PROHIBITED;
                    let ticket = OpenTicket { channel };
                    if self.refuse(transport, ticket, why, "not answered in time").is_err() {
                        // The output is full; there will be another time.
                        let again = now + transport.config.limits.decision_timeout;
                        self.decisions.push_back((again, Undecided::Open(channel)));
                    }
                }
                Some((_, Undecided::Request(channel, number))) => {
                    let _ = self.reply(&RequestTicket { channel, number }, false);
                }
                Some((_, Undecided::Global(number))) => {
                    let _ = self.globals.decide(number, false, None);
                }
                None => return,
            }
        }
    }

    fn is_undecided(&self, question: &Undecided) -> bool {
        let live = |id: &ChannelId| {
            let slot = self.slots.get(usize::try_from(id.local).unwrap_or(usize::MAX));
            slot.and_then(|s| s.as_deref()).filter(|c| c.generation == id.generation)
        };
        match question {
            Undecided::Open(id) => live(id).is_some_and(|c| c.phase == Phase::Undecided),
            Undecided::Request(id, number) => live(id).is_some_and(|c| {
                let index = number.checked_sub(c.first_reply).and_then(|i| usize::try_from(i).ok());
                matches!(index.and_then(|i| c.replies.get(i)), Some(Reply { ok: None, .. }))
            }),
            Undecided::Global(number) => self.globals.undecided(*number),
        }
    }

    fn must_decide(&mut self, transport: &mut Transport, now: Time, question: Undecided) {
        let at = now + transport.config.limits.decision_timeout;
        if self.decisions.len() >= 1024 {
            let mut decisions = core::mem::take(&mut self.decisions);
            decisions.retain(|(_, q)| self.is_undecided(q));
            self.decisions = decisions;
        }
        self.decisions.push_back((at, question));
        if transport.timers.get(TimerKind::Decision).is_none() {
            transport.timers.set(TimerKind::Decision, Some(at));
        }
    }

    // ---- what the peer sends ----

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

    // ---- the table ----

    fn free_slot(&mut self) -> u32 {
        let index = self.slots.iter().position(|s| s.is_none()).unwrap_or(self.slots.len());
        if index == self.slots.len() {
            self.slots.push(None);
        }
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    fn insert(&mut self, local: u32, phase: Phase, session: bool, window: WindowConfig) -> ChannelId {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        if let Some(slot) = self.slots.get_mut(usize::try_from(local).unwrap_or(usize::MAX)) {
            *slot = Some(Box::new(Channel {
                generation,
                phase,
                session,
                remote: 0,
                receive: ReceiveWindow::new(window),
                send_window: 0,
                send_packet: 0,
                eof_sent: false,
                eof_wanted: false,
                close_sent: false,
                close_wanted: false,
                eof_received: false,
                blocked: false,
                stalled: false,
                ready: false,
                program: false,
                terminal: false,
                env: 0,
                exit_seen: false,
                replies: VecDeque::new(),
                first_reply: 0,
                asked: 0,
            }));
            self.live = self.live.saturating_add(1);
        }
        ChannelId { local, generation }
    }

    fn remove(&mut self, local: u32) {
        if let Some(slot) = self.slots.get_mut(usize::try_from(local).unwrap_or(usize::MAX))
            && slot.take().is_some()
        {
            self.live = self.live.saturating_sub(1);
        }
    }

    fn slot(&mut self, local: u32) -> Option<&mut Channel> {
        self.slots.get_mut(usize::try_from(local).unwrap_or(usize::MAX))?.as_deref_mut()
    }

    fn find(&mut self, id: ChannelId) -> Option<&mut Channel> {
        self.slot(id.local).filter(|c| c.generation == id.generation)
    }

    fn id(&mut self, local: u32) -> ChannelId {
        ChannelId { local, generation: self.slot(local).map_or(0, |c| c.generation) }
    }

    /// A channel that both sides have agreed on.
    fn established(&mut self, local: u32) -> Result<&mut Channel, Failure> {
        self.slot(local).filter(|c| c.phase == Phase::Open).ok_or_else(|| bad_channel(local))
    }

    /// A channel that we are opening.
    fn opening(&mut self, local: u32) -> Result<&mut Channel, Failure> {
        self.slot(local).filter(|c| c.phase == Phase::Opening).ok_or_else(|| bad_channel(local))
    }

    fn stall(&mut self, local: u32) {
        if let Some(channel) = self.slot(local)
            && !channel.stalled
        {
            channel.stalled = true;
            self.stalled.push_back(local);
        }
    }

    fn make_ready(&mut self, local: u32) {
        if let Some(channel) = self.slot(local)
            && !channel.ready
        {
            channel.ready = true;
            self.ready.push_back(local);
        }
    }
}

fn bad_channel(local: u32) -> Failure {
    Failure::text(Fault::BadChannel, alloc::format!("channel {local}"))
}

/// What to do with a request before the application sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Screen {
    Ask,
    Refuse,
    Drop,
    Exit,
}

impl Channel {
    /// Requests that no application should have to think about.
    fn screen(&mut self, request: &ChannelRequest<'_>, max_env: u32) -> Screen {
        match request {
            ChannelRequest::ExitStatus(_) | ChannelRequest::ExitSignal { .. } => {
                // The first one counts.
                if core::mem::replace(&mut self.exit_seen, true) { Screen::Drop } else { Screen::Exit }
            }
            r if r.starts_program() => {
                // One program a channel (RFC 4254 §6.5), and only on sessions.
                if !self.session || core::mem::replace(&mut self.program, true) {
                    Screen::Refuse
                } else {
                    Screen::Ask
                }
            }
            ChannelRequest::Pty(_) => {
                if !self.session || self.program || core::mem::replace(&mut self.terminal, true) {
                    Screen::Refuse
                } else {
                    Screen::Ask
                }
            }
            ChannelRequest::Env { name, value } => {
                self.env = self.env.saturating_add(1);
                let fine = sane_env(name.as_bytes(), value.as_bytes());
                if fine && self.env <= max_env { Screen::Ask } else { Screen::Refuse }
            }
            ChannelRequest::Other { kind, .. } if kind.as_bytes() == b"keepalive@openssh.com" => {
                Screen::Refuse
            }
            _ => Screen::Ask,
        }
    }
}

/// A sink over a fixed array.
struct Fixed<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl Sink for Fixed<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let end = self.len.saturating_add(bytes.len());
        if let Some(to) = self.bytes.get_mut(self.len..end) {
            to.copy_from_slice(bytes);
            self.len = end;
        }
    }
}
