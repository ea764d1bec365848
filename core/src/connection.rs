//! What both roles share: the run loop, channels, requests, ending.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use crate::channel::{
    ChannelEvent, ChannelId, ChannelRequest, Channels, Exit, GlobalRequestRef, GlobalTicket, OpenFailure,
    OpenKind, OpenTicket, RawChannel, RequestTicket, Stream, WindowConfig,
};
use crate::crypto::Digest;
use crate::error::{Denied, Disconnected, EndedBy, Error, Failure, Fault, Phase, TimerKind, UsageError};
use crate::keys::PublicKey;
use crate::msg::{self, DisconnectCode, Message};
use crate::replay::{Call, ChannelCall, ConnectionCall, Recorder, SecretTranscript};
use crate::rng::Seed;
use crate::time::Time;
use crate::transport::negotiate::{Negotiated, Role};
use crate::transport::recv::Payload;
use crate::transport::{Incoming, Job, RxBuf, Transport, TransportConfig, TxBuf};
use crate::wire::SshStr;

/// What `poll` found.
#[derive(Debug)]
#[must_use = "an event wants an answer, a block wants the output flushed"]
pub enum Step<E> {
    /// Something happened. Handle it and poll again.
    Event(E),
    /// Nothing goes on until something outside happens. Send what is in `tx` first.
    Blocked(Blocked),
}

/// Why nothing goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// More input is needed: read into the `RxBuf` and poll again, or poll at the deadline.
    Input,
    /// A ticket is to be answered, or a timer is to run out. Input is not looked at meanwhile.
    Decision,
    /// Too much output is pending: send it, then poll again. Input is not looked at meanwhile.
    Output,
    /// The connection has ended and everything was sent. Close the socket.
    Closed,
}

/// The events that both roles have; [`ClientEvent`](crate::ClientEvent) and
/// [`ServerEvent`](crate::ServerEvent) contain them.
pub(crate) enum Shared<'b> {
    Negotiated,
    Rekeyed,
    Opened(ChannelId),
    OpenFailed { channel: ChannelId, why: OpenFailure, text: SshStr<'b> },
    Open { ticket: OpenTicket, kind: OpenKind<'b> },
    Channel(ChannelId, ChannelEvent<'b>),
    Global { ticket: Option<GlobalTicket>, request: GlobalRequestRef<'b> },
    GlobalReply { ok: bool, fields: &'b [u8] },
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::client::Client {}
    impl Sealed for crate::server::Server {}
}

/// The two roles of a [`Connection`]. Sealed.
pub trait Side: sealed::Sealed + Sized {
    /// The events of the role.
    type Event<'b>;

    #[doc(hidden)]
    type Raw: fmt::Debug;
}

/// What a role adds to the shared machine.
pub(crate) trait Logic: Side {
    /// The first NEWKEYS are through.
    fn keyed(&mut self, core: &mut Machine);
    /// The transport asks something.
    fn ask(&mut self, core: &mut Machine, question: Question) -> Option<Self::Raw>;
    /// A message below the connection layer.
    fn message(
        &mut self,
        core: &mut Machine,
        number: u8,
        payload: &[u8],
    ) -> Result<Option<Self::Raw>, Failure>;
    /// Something that waits to be told, without new input.
    fn pending(&mut self, core: &mut Machine) -> Result<Option<Self::Raw>, Failure>;
    /// The application has to answer before input is looked at.
    fn awaits_decision(&self) -> bool;
    /// A timer of the role ran out.
    fn timer(&mut self, core: &mut Machine, kind: TimerKind);
    /// Makes the application's view of an event of the role.
    fn event<'b>(&self, core: &Machine, raw: Self::Raw, payload: &'b [u8]) -> Self::Event<'b>;
    /// Makes the application's view of a shared event.
    fn shared(event: Shared<'_>) -> Self::Event<'_>;
}

/// Questions of the transport.
pub(crate) enum Question {
    HostKey,
    Job(Box<Job>),
}

/// An event before it borrows from the receive buffer.
enum Raw<R> {
    Own(R),
    Channel(RawChannel),
    Negotiated,
    Rekeyed,
}

/// Kinds and numbers only, never what a peer or a user wrote.
impl<R: fmt::Debug> fmt::Debug for Raw<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raw::Own(raw) => raw.fmt(f),
            Raw::Channel(raw) => raw.fmt(f),
            Raw::Negotiated => f.write_str("Negotiated"),
            Raw::Rekeyed => f.write_str("Rekeyed"),
        }
    }
}

enum Next<R> {
    Event(Raw<R>, Option<Payload>),
    Blocked(Blocked),
}

/// State that both roles have.
pub(crate) struct Machine {
    pub(crate) transport: Transport,
    pub(crate) channels: Channels,
    pub(crate) now: Time,
    ended: Option<Error>,
    closing: bool,
    missed_probes: u32,
    /// When the last probe was due.
    probed: Time,
    pub(crate) recorder: Option<Box<Recorder>>,
}

impl Machine {
    pub(crate) fn new(transport: Transport, window: WindowConfig, now: Time) -> Self {
        Machine {
            transport,
            channels: Channels::new(window),
            now,
            ended: None,
            closing: false,
            missed_probes: 0,
            probed: now,
            recorder: None,
        }
    }

    /// Writes down everything from now on, if nothing has happened yet.
    pub(crate) fn record(&mut self, seed: &Seed, now: Time) {
        let recorder = Recorder::new(self.transport.role, seed, now, &self.transport.sender.tx);
        self.recorder = Some(Box::new(recorder));
    }

    /// Notes a call for the recorder, if there is one.
    pub(crate) fn note(&mut self, call: &Call<'_>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.call(&self.transport.sender.tx, call);
        }
    }

    fn note_on(&mut self, channel: ChannelId, call: ChannelCall<'_>) {
        self.note(&Call::Channel(channel, call));
    }

    fn note_this(&mut self, call: ConnectionCall<'_>) {
        self.note(&Call::Connection(call));
    }

    fn note_poll(&mut self, now: Time, rx: &mut RxBuf) {
        match &mut self.recorder {
            Some(recorder) => recorder.poll(&self.transport.sender.tx, now, rx),
            // The buffer may serve a recorded connection next.
            None => rx.forget_fresh(),
        }
    }

    fn note_found<R: fmt::Debug>(&mut self, found: &Result<Next<R>, Error>, rx: &RxBuf) {
        let Some(recorder) = &mut self.recorder else { return };
        let deadline = self.transport.timers.next();
        match found {
            Ok(Next::Event(raw, payload)) => {
                let payload = payload.as_ref().map_or(&[][..], |p| p.of(rx));
                recorder.found(format_args!("{raw:?}"), &[payload], deadline);
            }
            Ok(Next::Blocked(why)) => recorder.found(format_args!("Blocked({why:?})"), &[], deadline),
            Err(error) => {
                let details = alloc::format!("{error:?}");
                recorder.found(format_args!("{}", error.kind()), &[details.as_bytes()], deadline);
            }
        }
    }

    /// Ends the connection on our side with a denial.
    pub(crate) fn deny(&mut self, denied: Denied, code: DisconnectCode) {
        self.transport.send_disconnect(code, &alloc::format!("{denied}"));
        self.end(Error::Denied(denied));
    }

    fn end(&mut self, error: Error) {
        self.transport.timers.clear();
        self.ended.get_or_insert(error);
    }

    /// Ends the connection for a fault of the peer; the DISCONNECT that fits goes out.
    pub(crate) fn fail(&mut self, failure: Failure) -> Error {
        let fault = failure.fault;
        if self.transport.role == Role::Server && fault == Fault::NotSsh {
            self.transport.sender.tx.push_raw(b"Invalid SSH identification string.\r\n");
        }
        self.transport.send_disconnect(fault.disconnect_code(), &alloc::format!("{fault}"));
        let error = failure.at(self.transport.phase());
        self.end(error.clone());
        error
    }

    fn live(&self) -> Result<(), UsageError> {
        if self.ended.is_some() || self.closing { Err(UsageError::Closed) } else { Ok(()) }
    }

    /// For calls that need an authenticated connection.
    fn connected(&self) -> Result<(), UsageError> {
        self.live()?;
        if self.transport.phase() == Phase::Connected { Ok(()) } else { Err(UsageError::NotAuthenticated) }
    }

    /// Why it has ended, if it has.
    pub(crate) fn ended(&self) -> Option<&Error> {
        self.ended.as_ref()
    }

    /// This side has said goodbye.
    pub(crate) fn closing(&self) -> bool {
        self.closing
    }

    pub(crate) fn usable(&self) -> Result<(), UsageError> {
        self.live()
    }

    /// Starts what begins with authentication: keepalive.
    pub(crate) fn authenticated(&mut self) {
        let keepalive = self.transport.config.keepalive;
        self.transport.timers.set(TimerKind::KeepAlive, keepalive.map(|k| self.now + k.interval));
    }

    fn on_keepalive(&mut self) -> Result<(), Error> {
        let Some(keepalive) = self.transport.config.keepalive else { return Ok(()) };
        let due = self.transport.heard + keepalive.interval;
        if self.transport.heard >= self.probed {
            self.missed_probes = 0;
        }
        if due > self.now {
            self.transport.timers.set(TimerKind::KeepAlive, Some(due));
            return Ok(());
        }
        if self.missed_probes >= keepalive.count {
            return Err(Error::Timeout(TimerKind::KeepAlive, self.transport.phase()));
        }
        if self.transport.gate_open() {
            // The same every time: OpenSSH before 9.5 and Paramiko end the connection for a PING,
            // whether they could answer it or not, so it goes to nobody unasked.
            self.channels.globals.probe(&mut self.transport);
        }
        self.probed = self.now;
        self.missed_probes = self.missed_probes.saturating_add(1);
        self.transport.timers.set(TimerKind::KeepAlive, Some(self.now + keepalive.interval));
        Ok(())
    }
}

/// One SSH connection, client or server: [`ClientConnection`](crate::ClientConnection),
/// [`ServerConnection`](crate::ServerConnection).
///
/// See the [crate documentation](crate) for the loop it is driven by. Any method may be called at
/// any time; one that makes no sense now returns a [`UsageError`] and changes nothing.
pub struct Connection<S: Side> {
    pub(crate) core: Machine,
    pub(crate) side: S,
}

impl<S: Side> fmt::Debug for Connection<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("role", &self.core.transport.role)
            .field("phase", &self.core.transport.phase())
            .field("channels", &self.core.channels.len())
            .field("ended", &self.core.ended)
            .finish_non_exhaustive()
    }
}

#[allow(private_bounds)]
impl<S: Logic> Connection<S> {
    /// Takes input from `rx` and fires timers that are due at `now`, until there is an event or a
    /// reason to wait.
    ///
    /// Call it when input has arrived, when the [deadline](Self::deadline) has passed, and after
    /// every event and every call. Time that runs backwards stands still. Without new input it may be
    /// called with an empty `RxBuf`: timers, credit and `Writable` do not need the other one.
    ///
    /// # Errors
    ///
    /// The reason why the connection ended, from then on every time. Send what is in `tx`, it holds
    /// the DISCONNECT, and close the socket.
    pub fn poll<'b>(&mut self, now: Time, rx: &'b mut RxBuf) -> Result<Step<S::Event<'b>>, Error> {
        self.core.note_poll(now, rx);
        let next = self.advance(now, rx);
        self.core.note_found(&next, rx);
        match next? {
            Next::Blocked(why) => Ok(Step::Blocked(why)),
            Next::Event(raw, payload) => {
                let payload = payload.map_or(&[][..], |p| p.of(rx));
                Ok(Step::Event(self.present(raw, payload)))
            }
        }
    }

    /// When to poll again at the latest, and why. Earlier polls do no harm.
    pub fn deadline(&self) -> Option<(Time, TimerKind)> {
        self.core.transport.timers.next()
    }

    /// Bytes to be sent to the peer.
    pub fn tx(&mut self) -> &mut TxBuf {
        let Machine { transport, recorder, .. } = &mut self.core;
        if let Some(recorder) = recorder {
            recorder.sync(&transport.sender.tx);
        }
        &mut transport.sender.tx
    }

    /// Ends a recording that [`recorded`](crate::ClientConnection::recorded) started, and hands it
    /// over. `None` when none is running. The connection goes on.
    pub fn take_transcript(&mut self) -> Option<SecretTranscript> {
        let recorder = self.core.recorder.take()?;
        Some(recorder.finish(&self.core.transport.sender.tx))
    }

    // ---- channels ----

    /// Opens a channel with the configured window. `Opened` or `OpenFailed` follows.
    pub fn open(&mut self, kind: OpenKind<'_>) -> Result<ChannelId, UsageError> {
        let window = self.core.channels.window;
        self.open_with(kind, window)
    }

    /// Opens a channel with a window of its own.
    pub fn open_with(&mut self, kind: OpenKind<'_>, window: WindowConfig) -> Result<ChannelId, UsageError> {
        self.core.note_this(ConnectionCall::Open { kind, window });
        self.core.connected()?;
        let id = self.core.channels.open(&mut self.core.transport, &kind, window)?;
        self.core.transport.expect_reply(self.core.now);
        Ok(id)
    }

    /// Accepts a channel that the peer opens, with the configured window.
    pub fn accept_channel(&mut self, ticket: OpenTicket) -> Result<ChannelId, UsageError> {
        self.core.note_on(ticket.channel, ChannelCall::Accept);
        self.core.connected()?;
        let window = self.core.channels.window;
        self.core.channels.accept(&mut self.core.transport, ticket, window)
    }

    /// Refuses a channel that the peer opens.
    pub fn refuse_channel(
        &mut self,
        ticket: OpenTicket,
        why: OpenFailure,
        text: &str,
    ) -> Result<(), UsageError> {
        self.core.note_on(ticket.channel, ChannelCall::Refuse { why: why.0, text });
        self.core.connected()?;
        self.core.channels.refuse(&mut self.core.transport, ticket, why, text)
    }

    /// Sends a request on an open channel. With `want_reply`, `RequestDone` follows, in the order
    /// of the requests. [`ChannelRequest::Eow`] goes only to peers whose identification says that they
    /// know it, OpenSSH's and konko's; to others nothing is sent (OpenSSH PROTOCOL §2.1).
    pub fn request(
        &mut self,
        channel: ChannelId,
        request: ChannelRequest<'_>,
        want_reply: bool,
    ) -> Result<(), UsageError> {
        self.core.note_on(channel, ChannelCall::Request { request, want_reply });
        self.core.connected()?;
        self.core.channels.request(&mut self.core.transport, channel, &request, want_reply)
    }

    /// Answers a request of the peer. Replies go out in the order of the requests, whatever the
    /// order of the calls.
    pub fn reply(&mut self, ticket: RequestTicket, ok: bool) -> Result<(), UsageError> {
        self.core.note_on(ticket.channel, ChannelCall::Reply { number: ticket.number, ok });
        self.core.connected()?;
        self.core.channels.reply(&ticket, ok)?;
        self.flush();
        Ok(())
    }

    /// Writes data and says how many bytes were taken: less than given when the peer's window, the
    /// output or a key exchange does not allow more now. `Writable` follows then, once.
    pub fn write(&mut self, channel: ChannelId, stream: Stream, data: &[u8]) -> Result<usize, UsageError> {
        self.core.note_on(channel, ChannelCall::Write { stream, data });
        let mut written = 0usize;
        while let Some(rest) = data.get(written..).filter(|r| !r.is_empty()) {
            let Some(mut slot) = self.lend(channel, stream, rest.len(), false)? else { break };
            let room = slot.bytes();
            let n = room.len().min(rest.len());
            if let (Some(to), Some(from)) = (room.get_mut(..n), rest.get(..n)) {
                to.copy_from_slice(from);
            }
            slot.commit(n);
            written = written.saturating_add(n);
        }
        Ok(written)
    }

    /// Lends room for up to `want` bytes of data in the next packet, so that a file or a pipe can be
    /// read straight into it. `None`: not now, `Writable` follows. What is not committed is not sent.
    pub fn slot(
        &mut self,
        channel: ChannelId,
        stream: Stream,
        want: usize,
    ) -> Result<Option<DataSlot<'_>>, UsageError> {
        self.core.note_on(channel, ChannelCall::Slot { stream, want: want as u64 });
        self.lend(channel, stream, want, true)
    }

    fn lend(
        &mut self,
        channel: ChannelId,
        stream: Stream,
        want: usize,
        record: bool,
    ) -> Result<Option<DataSlot<'_>>, UsageError> {
        self.core.connected()?;
        self.core.transport.flush_posted();
        let room = self.core.channels.room(&self.core.transport, channel, want)?;
        if room == 0 {
            return Ok(None);
        }
        let (_, prefix) = self.core.channels.data_prefix(channel, stream, 0);
        let Machine { transport, channels, recorder, .. } = &mut self.core;
        let recorder = recorder.as_deref_mut().filter(|_| record);
        Ok(Some(DataSlot { transport, channels, channel, stream, prefix, room, recorder }))
    }

    /// Says that the application is done with `n` bytes of received data. The peer may send as
    /// many more; the next `poll` tells it so.
    pub fn consume(&mut self, channel: ChannelId, n: usize) -> Result<(), UsageError> {
        self.core.note_on(channel, ChannelCall::Consume(n as u64));
        self.core.connected()?;
        self.core.channels.consume(channel, n)
    }

    /// Sends EOF: no more data will be written. Reading goes on.
    pub fn finish(&mut self, channel: ChannelId) -> Result<(), UsageError> {
        self.core.note_on(channel, ChannelCall::Finish);
        self.core.connected()?;
        self.core.channels.finish(channel)?;
        self.flush();
        Ok(())
    }

    /// Closes a channel. Data that still comes is dropped; `Closed` follows when the peer agrees.
    pub fn close_channel(&mut self, channel: ChannelId) -> Result<(), UsageError> {
        self.core.note_on(channel, ChannelCall::Close);
        self.core.connected()?;
        self.core.channels.close(channel)?;
        self.flush();
        Ok(())
    }

    // ---- global requests ----

    /// Sends a global request. With `want_reply`, `GlobalReply` follows, in order.
    pub fn request_global(&mut self, name: &str, fields: &[u8], want_reply: bool) -> Result<(), UsageError> {
        self.core.note_this(ConnectionCall::RequestGlobal { name, fields, want_reply });
        self.core.connected()?;
        self.core.channels.globals.ask(&mut self.core.transport, name, fields, want_reply)
    }

    /// Answers a global request of the peer; `port` is for a granted `tcpip-forward` of port 0.
    pub fn reply_global(
        &mut self,
        ticket: GlobalTicket,
        ok: bool,
        port: Option<u32>,
    ) -> Result<(), UsageError> {
        self.core.note_this(ConnectionCall::ReplyGlobal { number: ticket.number, ok, port });
        self.core.connected()?;
        self.core.channels.globals.decide(ticket.number, ok, port)?;
        self.flush();
        Ok(())
    }

    // ---- the connection ----

    /// Renews the keys as soon as no key exchange is running. `Rekeyed` follows.
    pub fn rekey(&mut self) -> Result<(), UsageError> {
        self.core.note_this(ConnectionCall::Rekey);
        self.core.connected()?;
        self.core.transport.rekey_wanted = true;
        Ok(())
    }

    /// Says goodbye. `poll` returns `Blocked(Output)` until everything is sent, then
    /// `Blocked(Closed)`.
    pub fn disconnect(&mut self, code: DisconnectCode, text: &str) {
        self.core.note_this(ConnectionCall::Disconnect { code: code.0, text });
        if self.core.live().is_ok() {
            self.core.transport.send_disconnect(code, text);
            self.core.transport.timers.clear();
            self.core.closing = true;
        }
    }

    /// The peer's identification line, once known.
    pub fn peer_ident(&self) -> Option<SshStr<'_>> {
        let line = &self.core.transport.peer_ident;
        (!line.is_empty()).then(|| SshStr::new(line))
    }

    /// The algorithms in use, once negotiated.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.core.transport.negotiated.as_ref()
    }

    /// Whether strict key exchange (OpenSSH PROTOCOL §1.9) is in force.
    pub fn strict_kex(&self) -> bool {
        self.core.transport.strict()
    }

    /// The session identifier, once the first key exchange is complete.
    pub fn session_id(&self) -> Option<&Digest> {
        self.core.transport.session_id.as_ref()
    }

    /// The server's host key: on a client the accepted one, on a server the one in use.
    pub fn host_key(&self) -> Option<&PublicKey> {
        self.core.transport.host_key.as_ref()
    }

    /// Key exchanges completed so far.
    pub fn key_exchanges(&self) -> u64 {
        self.core.transport.exchanges
    }

    /// Where the connection is in its life.
    pub fn phase(&self) -> Phase {
        self.core.transport.phase()
    }

    /// Channels that are open, being opened or being closed.
    pub fn open_channels(&self) -> usize {
        self.core.channels.len()
    }

    /// The configuration of the transport.
    pub fn config(&self) -> &Arc<TransportConfig> {
        &self.core.transport.config
    }

    // ---- the loop ----

    pub(crate) fn flush(&mut self) {
        let Machine { transport, channels, now, .. } = &mut self.core;
        transport.flush_posted();
        channels.flush(transport, *now);
    }

    fn advance(&mut self, now: Time, rx: &mut RxBuf) -> Result<Next<S::Raw>, Error> {
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
                Ok(Some(raw)) => return Ok(Next::Event(Raw::Own(raw), None)),
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
                Ok(self.side.ask(&mut self.core, Question::HostKey).and_then(|r| event(Raw::Own(r), None)))
            }
            Incoming::Job(job) => {
                Ok(self.side.ask(&mut self.core, Question::Job(job)).and_then(|r| event(Raw::Own(r), None)))
            }
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
                    self.side.message(&mut self.core, number, bytes).map(|raw| raw.map(Raw::Own))
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
                TimerKind::AuthDelay => self.side.timer(&mut self.core, kind),
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

    // ---- events ----

    fn present<'b>(&self, raw: Raw<S::Raw>, payload: &'b [u8]) -> S::Event<'b> {
        match raw {
            Raw::Own(raw) => self.side.event(&self.core, raw, payload),
            Raw::Negotiated => S::shared(Shared::Negotiated),
            Raw::Rekeyed => S::shared(Shared::Rekeyed),
            Raw::Channel(raw) => S::shared(channel_event(raw, payload)),
        }
    }
}

/// Makes the application's view of a message that was checked before.
fn channel_event(raw: RawChannel, payload: &[u8]) -> Shared<'_> {
    let on = Shared::Channel;
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
        RawChannel::Opened(id) => Shared::Opened(id),
        RawChannel::OpenFailed(channel) => {
            let m = msg::ChannelOpenFailure::parse(payload);
            let (why, text) = m.map_or((0, SshStr::new(b"")), |m| (m.reason, m.description));
            Shared::OpenFailed { channel, why: OpenFailure(why), text }
        }
        RawChannel::Open(channel) => {
            let kind = msg::ChannelOpen::parse(payload).and_then(|m| OpenKind::decode(m.kind, m.fields));
            Shared::Open { ticket: OpenTicket { channel }, kind: kind.unwrap_or(OpenKind::Session) }
        }
        RawChannel::Global(number) => {
            let m = msg::GlobalRequest::parse(payload);
            let (name, fields) = m.map_or((SshStr::new(b""), &[][..]), |m| (m.name, m.fields));
            let ticket = number.map(|number| GlobalTicket { number });
            Shared::Global { ticket, request: GlobalRequestRef { name, fields } }
        }
        RawChannel::GlobalReply(ok) => {
            Shared::GlobalReply { ok, fields: payload.get(1..).unwrap_or_default() }
        }
    }
}

fn request_of(payload: &[u8]) -> ChannelRequest<'_> {
    let other = |fields| ChannelRequest::Other { kind: SshStr::new(b""), fields };
    msg::ChannelRequest::parse(payload)
        .and_then(|m| ChannelRequest::decode(m.kind, m.fields))
        .unwrap_or_else(|_| other(&[]))
}

/// Room for data in the next packet of a channel; see [`Connection::slot`]. Dropped without
/// [`commit`](Self::commit), nothing is sent.
#[must_use = "nothing is sent before commit"]
pub struct DataSlot<'c> {
    transport: &'c mut Transport,
    channels: &'c mut Channels,
    channel: ChannelId,
    stream: Stream,
    prefix: usize,
    room: usize,
    recorder: Option<&'c mut Recorder>,
}

impl DataSlot<'_> {
    /// The room, to be filled from the front. Holds old bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        self.transport.sender.slot(self.prefix, self.room)
    }

    /// Sends the first `n` bytes of the room; none if `n` is 0.
    pub fn commit(self, n: usize) {
        let n = n.min(self.room);
        if n == 0 {
            return;
        }
        // In case the room was never looked at.
        let room = self.transport.sender.slot(self.prefix, self.room);
        if let Some(recorder) = self.recorder {
            let data = room.get(..n).unwrap_or_default();
            recorder.commit(&Call::Connection(ConnectionCall::Commit(data)));
        }
        let (prefix, len) = self.channels.data_prefix(self.channel, self.stream, n);
        self.transport.sender.commit(prefix.get(..len).unwrap_or_default(), n);
        self.transport.progressed();
        self.channels.sent(self.channel, n);
    }
}

impl fmt::Debug for DataSlot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataSlot({} bytes for {:?})", self.room, self.channel)
    }
}
