//! What both roles share: the run loop, channels, requests, ending.

mod decision;
mod event;
mod kept;
mod machine;
mod run;
mod side;
mod slot;

use alloc::sync::Arc;
use core::fmt;

use crate::channel::{
    ChannelId, ChannelRequest, DataStream, GlobalTicket, OpenFailure, OpenKind, OpenTicket, RequestTicket,
    WindowConfig,
};
use crate::crypto::Digest;
use crate::error::{Error, Failure, Phase, TimerKind, UsageError};
use crate::keys::PublicKey;
use crate::msg::DisconnectCode;
use crate::record::{Call, Rest, SecretTranscript};
use crate::time::Time;
use crate::transport::negotiate::{Negotiated, Role};
use crate::transport::{DoneJob, Open, RxBuf, TransportConfig, TxBuf};
use crate::wire::{DecodeError, SshStr};

pub use self::decision::{Decision, WantReply};
pub use self::event::{Blocked, Event, Step};
pub(crate) use self::machine::Machine;
use self::run::Next;
pub(crate) use self::side::Logic;
pub use self::side::{EventOf, Side};
pub use self::slot::DataSlot;

/// One SSH connection, client or server: [`ClientConnection`](crate::ClientConnection),
/// [`ServerConnection`](crate::ServerConnection).
///
/// See the [crate documentation](crate) for the loop it is driven by. Any method may be called at
/// any time; one that makes no sense now returns a [`UsageError`] and changes nothing.
pub struct Connection<S: Side + ?Sized> {
    pub(crate) core: Machine,
    pub(crate) side: S,
}

impl<S: Side + ?Sized> fmt::Debug for Connection<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("role", &self.core.transport.role())
            .field("phase", &self.core.transport.handshake().phase())
            .field("channels", &self.core.channels.len())
            .field("ended", &self.core.ended)
            .finish_non_exhaustive()
    }
}

impl<S: Side> Connection<S> {
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
    pub fn poll<'b>(&mut self, now: Time, rx: &'b mut RxBuf) -> Result<Step<EventOf<'b, S>>, Error> {
        self.core.note_poll(now, rx);
        let next = self.advance(now, rx);
        self.core.note_found(&next, rx);
        match next? {
            Next::Blocked(why) => Ok(Step::Blocked(why)),
            Next::Event(kept) => match kept.event(rx) {
                Some(event) => Ok(Step::Event(event)),
                // Of no buffer but the one that it was read from; so this never happens.
                None => Err(self.core.fail(Failure::malformed(0, DecodeError::Invalid))),
            },
        }
    }
}

/// What both roles can do, also behind `dyn Side`.
impl<S: Side + ?Sized> Connection<S> {
    /// When to poll again at the latest, and why. Earlier polls do no harm.
    pub fn deadline(&self) -> Option<(Time, TimerKind)> {
        self.core.transport.deadline()
    }

    /// Bytes to be sent to the peer.
    pub fn tx(&mut self) -> &mut TxBuf {
        let Machine { transport, recorder, .. } = &mut self.core;
        if let Some(recorder) = recorder {
            recorder.sync(transport.tx());
        }
        transport.tx_mut()
    }

    /// Ends a recording that [`recorded`](crate::ClientConnection::recorded) started, and hands it
    /// over. `None` when none is running. The connection goes on.
    pub fn take_transcript(&mut self) -> Option<SecretTranscript> {
        let recorder = self.core.recorder.take()?;
        Some(recorder.finish(self.core.transport.tx()))
    }

    // ---- channels ----

    /// Opens a channel with the configured window. `Opened` or `OpenFailed` follows.
    ///
    /// # Errors
    ///
    /// `Full` with as many channels as the limits allow, or too much output waiting; `InvalidText` for fields that do
    /// not fit into a packet; `NotAuthenticated` before the user is in; `Closed` when the connection has ended.
    pub fn open(&mut self, kind: OpenKind<'_>) -> Result<ChannelId, UsageError> {
        let window = self.core.channels.window;
        self.open_with(kind, window)
    }

    /// Opens a channel with a window of its own.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn open_with(&mut self, kind: OpenKind<'_>, window: WindowConfig) -> Result<ChannelId, UsageError> {
        self.core.note(&Call::OpenWith { window, kind });
        self.core.connected()?;
        let id = self.core.channels.open(&mut self.core.transport, &kind, window)?;
        self.core.transport.liveness().expect_reply(self.core.now);
        Ok(id)
    }

    /// Accepts a channel that the peer opens, with the configured window.
    ///
    /// # Errors
    ///
    /// `StaleTicket`; `Full` while too much output is waiting, and the question stays open; `Closed` when the connection
    /// has ended.
    pub fn accept_channel(&mut self, ticket: OpenTicket) -> Result<ChannelId, UsageError> {
        self.core.note(&Call::AcceptChannel { channel: ticket.channel });
        self.core.connected()?;
        let window = self.core.channels.window;
        self.core.channels.accept(&mut self.core.transport, ticket, window)
    }

    /// Refuses a channel that the peer opens.
    ///
    /// # Errors
    ///
    /// Those of [`accept_channel`](Self::accept_channel).
    pub fn reject_channel(
        &mut self,
        ticket: OpenTicket,
        why: OpenFailure,
        text: &str,
    ) -> Result<(), UsageError> {
        self.core.note(&Call::RejectChannel { channel: ticket.channel, why: why.0, text });
        self.core.connected()?;
        self.core.channels.reject(&mut self.core.transport, ticket, why, text)
    }

    /// Sends a request on an open channel. With [`WantReply::Yes`], `RequestDone` follows, in the order
    /// of the requests. [`ChannelRequest::Eow`] goes only to peers whose identification says that they
    /// know it, OpenSSH's and konko's; to others nothing is sent (OpenSSH PROTOCOL §2.1).
    ///
    /// # Errors
    ///
    /// `NoSuchChannel`; `ChannelState` before the channel is open and after it was closed; `Full` with 64 requests
    /// unanswered, or too much output waiting; `InvalidText` for a NUL in a name, or fields that do not fit into a packet;
    /// `Closed` when the connection has ended.
    pub fn request(
        &mut self,
        channel: ChannelId,
        request: ChannelRequest<'_>,
        want_reply: WantReply,
    ) -> Result<(), UsageError> {
        let want_reply = want_reply.is_yes();
        self.core.note(&Call::Request { channel, want_reply, request });
        self.core.connected()?;
        self.core.channels.request(&mut self.core.transport, channel, &request, want_reply)
    }

    /// Answers a request of the peer. Replies go out in the order of the requests, whatever the
    /// order of the calls.
    ///
    /// # Errors
    ///
    /// `StaleTicket`; `Closed` when the connection has ended.
    pub fn reply(&mut self, ticket: RequestTicket, decision: Decision) -> Result<(), UsageError> {
        let ok = decision.is_accept();
        let RequestTicket { channel, number } = ticket;
        self.core.note(&Call::Reply { channel, number, ok });
        self.core.connected()?;
        self.core.channels.reply(&ticket, ok)?;
        self.flush();
        Ok(())
    }

    /// Writes data and says how many bytes were taken: less than given when the peer's window, the
    /// output or a key exchange does not allow more now. `Writable` follows then, once.
    ///
    /// # Errors
    ///
    /// `NoSuchChannel`; `ChannelState` after EOF or CLOSE of this side; `Closed` when the connection has ended.
    pub fn write(
        &mut self,
        channel: ChannelId,
        stream: DataStream,
        data: &[u8],
    ) -> Result<usize, UsageError> {
        self.core.note(&Call::Write { channel, stream, data: Rest(data) });
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
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write).
    pub fn slot(
        &mut self,
        channel: ChannelId,
        stream: DataStream,
        want: usize,
    ) -> Result<Option<DataSlot<'_>>, UsageError> {
        self.core.note(&Call::Slot { channel, stream, want: want as u64 });
        self.lend(channel, stream, want, true)
    }

    fn lend(
        &mut self,
        channel: ChannelId,
        stream: DataStream,
        want: usize,
        record: bool,
    ) -> Result<Option<DataSlot<'_>>, UsageError> {
        self.core.connected()?;
        let Machine { transport, channels, recorder, .. } = &mut self.core;
        let open = transport.open();
        let takes = open.as_ref().is_some_and(Open::takes_data);
        let room = channels.room(takes, channel, want)?;
        let Some(open) = open.filter(|_| room > 0) else { return Ok(None) };
        let (_, prefix) = channels.data_prefix(channel, stream, 0);
        let recorder = recorder.as_deref_mut().filter(|_| record);
        Ok(Some(DataSlot { open, channels, channel, stream, prefix, room, recorder }))
    }

    /// Says that the application is done with `n` bytes of received data. The peer may send as
    /// many more; the next `poll` tells it so.
    ///
    /// # Errors
    ///
    /// `NoSuchChannel`; `Closed` when the connection has ended.
    pub fn consume(&mut self, channel: ChannelId, n: usize) -> Result<(), UsageError> {
        self.core.note(&Call::Consume { channel, n: n as u64 });
        self.core.connected()?;
        self.core.channels.consume(channel, n)
    }

    /// Sends EOF: no more data will be written. Reading goes on.
    ///
    /// # Errors
    ///
    /// `NoSuchChannel`; `ChannelState` for a channel of the peer that was not accepted yet; `Closed` when the connection
    /// has ended.
    pub fn send_eof(&mut self, channel: ChannelId) -> Result<(), UsageError> {
        self.core.note(&Call::SendEof { channel });
        self.core.connected()?;
        self.core.channels.send_eof(channel)?;
        self.flush();
        Ok(())
    }

    /// Closes a channel. Data that still comes is dropped; `Closed` follows when the peer agrees.
    ///
    /// # Errors
    ///
    /// Those of [`send_eof`](Self::send_eof).
    pub fn close_channel(&mut self, channel: ChannelId) -> Result<(), UsageError> {
        self.core.note(&Call::CloseChannel { channel });
        self.core.connected()?;
        self.core.channels.close(channel)?;
        self.flush();
        Ok(())
    }

    // ---- global requests ----

    /// Sends a global request. With [`WantReply::Yes`], `GlobalReply` follows, in order.
    ///
    /// # Errors
    ///
    /// `Full` with 64 requests unanswered, or too much output waiting; `InvalidText` for a NUL in the name, or fields that
    /// do not fit into a packet; `NotAuthenticated` before the user is in; `Closed` when the connection has ended.
    pub fn request_global(
        &mut self,
        name: &str,
        fields: &[u8],
        want_reply: WantReply,
    ) -> Result<(), UsageError> {
        let want_reply = want_reply.is_yes();
        self.core.note(&Call::RequestGlobal { want_reply, name, fields: Rest(fields) });
        self.core.connected()?;
        self.core.channels.globals.ask(&mut self.core.transport, name, fields, want_reply)
    }

    /// Answers a global request of the peer; `port` is for a granted `tcpip-forward` of port 0.
    ///
    /// # Errors
    ///
    /// `StaleTicket`; `Closed` when the connection has ended.
    pub fn reply_global(
        &mut self,
        ticket: GlobalTicket,
        decision: Decision,
        port: Option<u32>,
    ) -> Result<(), UsageError> {
        let ok = decision.is_accept();
        self.core.note(&Call::ReplyGlobal { number: ticket.number, ok, port });
        self.core.connected()?;
        self.core.channels.globals.decide(ticket.number, ok, port)?;
        self.flush();
        Ok(())
    }

    // ---- the connection ----

    /// Renews the keys as soon as no key exchange is running. `Rekeyed` follows.
    ///
    /// # Errors
    ///
    /// `NotAuthenticated` before the user is in; `Closed` when the connection has ended.
    pub fn rekey(&mut self) -> Result<(), UsageError> {
        self.core.note(&Call::Rekey {});
        self.core.connected()?;
        self.core.transport.want_keys();
        Ok(())
    }

    /// Says goodbye. `poll` returns `Blocked(Output)` until everything is sent, then
    /// `Blocked(Closed)`.
    pub fn disconnect(&mut self, code: DisconnectCode, text: &str) {
        self.core.note(&Call::Disconnect { code: code.0, text });
        if self.core.usable().is_ok() {
            self.core.transport.send_disconnect(code, text);
            self.core.transport.liveness().stop();
            self.core.closing = true;
        }
    }

    /// The peer's identification line, once known.
    pub fn peer_ident(&self) -> Option<SshStr<'_>> {
        let line = self.core.transport.handshake().peer_ident();
        (!line.is_empty()).then(|| SshStr::new(line))
    }

    /// The algorithms in use, once negotiated.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.core.transport.handshake().negotiated()
    }

    /// Whether strict key exchange (OpenSSH PROTOCOL §1.9) is in force.
    pub fn strict_kex(&self) -> bool {
        self.core.transport.handshake().strict()
    }

    /// The session identifier, once the first key exchange is complete.
    pub fn session_id(&self) -> Option<&Digest> {
        self.core.transport.handshake().session_id()
    }

    /// The server's host key: on a client the accepted one, on a server the one in use.
    pub fn host_key(&self) -> Option<&PublicKey> {
        self.core.transport.handshake().host_key()
    }

    /// Key exchanges completed so far.
    pub fn key_exchanges(&self) -> u64 {
        self.core.transport.handshake().completed()
    }

    /// Where the connection is in its life.
    pub fn phase(&self) -> Phase {
        self.core.transport.handshake().phase()
    }

    /// Channels that are open, being opened or being closed.
    pub fn open_channels(&self) -> usize {
        self.core.channels.len()
    }

    /// The configuration of the transport.
    pub fn config(&self) -> &Arc<TransportConfig> {
        self.core.transport.config()
    }

    /// Which side of the connection this is.
    pub fn role(&self) -> Role {
        self.core.transport.role()
    }

    /// Whether the user is in.
    pub fn is_authenticated(&self) -> bool {
        self.phase() == Phase::Connected
    }

    /// Takes the result of a [`Job`](Event::Job).
    ///
    /// # Errors
    ///
    /// `StaleTicket` for the result of a job that is not waited for, `Closed` after the end.
    pub fn finish_job(&mut self, job: DoneJob) -> Result<(), UsageError> {
        self.core.note(&Call::FinishJob { generation: job.number() });
        self.core.usable()?;
        let now = self.core.now;
        match self.core.transport.finish_job(now, job) {
            Ok(true) => Ok(()),
            Ok(false) => Err(UsageError::StaleTicket),
            Err(failure) => {
                self.core.fail(failure);
                Ok(())
            }
        }
    }

    pub(crate) fn flush(&mut self) {
        let Machine { transport, channels, now, .. } = &mut self.core;
        if let Some(mut open) = transport.open() {
            channels.flush(&mut open, *now);
        }
    }
}
