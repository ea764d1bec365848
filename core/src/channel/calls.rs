//! What the application asks for.

use alloc::vec::Vec;

use super::table::{Asks, Channels, Phase};
use super::window::ReceiveWindow;
use super::{
    ChannelId, ChannelRequest, DataStream, OpenFailure, OpenKind, OpenTicket, RequestTicket, WindowConfig,
};
use crate::crypto::Scrubbed;
use crate::error::UsageError;
use crate::msg::{
    self, ChannelData, ChannelExtendedData, ChannelOpen, ChannelOpenConfirmation, ChannelOpenFailure, Message,
};
use crate::transport::Transport;
use crate::wire::{Sink, SshStr};

/// Most data we put into one packet, whatever the peer allows.
const MAX_DATA: usize = 32 * 1024;
/// SSH_EXTENDED_DATA_STDERR (RFC 4254 §5.2).
pub(super) const STDERR: u32 = 1;
/// Our own requests of a channel that may wait for an answer.
const MAX_ASKED: usize = 64;

impl Channels {
    /// Opens a channel.
    pub(crate) fn open(
        &mut self,
        transport: &mut Transport,
        kind: &OpenKind<'_>,
        window: WindowConfig,
    ) -> Result<ChannelId, UsageError> {
        if self.len() >= transport.config().limits.channels {
            return Err(UsageError::Full);
        }
        super::text(kind.kind().as_bytes())?;
        let window = window.bounded();
        let local = self.table.next_key().index();
        let mut fields = Vec::new();
        kind.encode(&mut fields);
        super::bounded(&fields)?;
        let open = ChannelOpen::new(kind.kind(), local, window.initial, window.packet, &fields);
        transport.post(&open)?;
        Ok(self.insert(Phase::Opening, matches!(kind, OpenKind::Session), window))
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
    pub(crate) fn reject(
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
        if matches!(request, ChannelRequest::Eow) && !transport.handshake().peer_takes_eow() {
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
    /// the channel is remembered for `Writable`. `takes` says whether the transport takes data now.
    pub(crate) fn room(&mut self, takes: bool, id: ChannelId, want: usize) -> Result<usize, UsageError> {
        let channel = self.find(id).ok_or(UsageError::NoSuchChannel)?;
        if channel.eof_wanted || channel.close_wanted {
            return Err(UsageError::ChannelState);
        }
        if channel.phase != Phase::Open {
            return if channel.phase == Phase::Opening { Ok(0) } else { Err(UsageError::ChannelState) };
        }
        let window = usize::try_from(channel.send_window).unwrap_or(usize::MAX);
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
    pub(crate) fn data_prefix(&mut self, id: ChannelId, stream: DataStream, len: usize) -> ([u8; 13], usize) {
        let remote = self.find(id).map_or(0, |c| c.remote);
        let mut prefix = [0; 13];
        let mut out = Fixed { bytes: &mut prefix, len: 0 };
        match stream {
            DataStream::Data => {
                out.put_u8(ChannelData::NUMBER);
                out.put_u32(remote);
            }
            DataStream::Stderr => {
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
    pub(crate) fn send_eof(&mut self, id: ChannelId) -> Result<(), UsageError> {
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
