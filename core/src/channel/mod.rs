//! The connection layer (RFC 4254): channels, windows, requests.
//!
//! No channel data is stored here in either direction. What is waiting to be sent is flags,
//! counters and a list of channels that have some, so a key exchange or a slow peer costs constant
//! memory.

mod calls;
mod due;
mod global;
mod heard;
pub(crate) mod host_keys;
mod open;
mod receive;
mod request;
mod screen;
mod table;
mod window;

pub use global::{GlobalRequestRef, GlobalTicket};
pub(crate) use heard::Heard;
pub use open::{OpenFailure, OpenKind, OpenTicket};
pub use request::{ChannelRequest, Exit, PtyModes, PtyRequest, RequestTicket};
pub(crate) use table::Channels;

use core::fmt;

use crate::options::options;
use crate::slab::Key;
use crate::wire::{Part, SshStr};

/// A channel of one connection. The numbers of closed channels are used again, the identifiers are
/// not: one that was closed stays invalid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId {
    pub(crate) local: u32,
    pub(crate) generation: u32,
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.local)
    }
}

impl ChannelId {
    fn of(key: Key) -> Self {
        ChannelId { local: key.index(), generation: key.generation() }
    }

    fn key(self) -> Key {
        Key::new(self.local, self.generation)
    }
}

impl fmt::Debug for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelId({}.{})", self.local, self.generation)
    }
}

/// The streams of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataStream {
    /// CHANNEL_DATA: standard input one way, standard output the other.
    Data,
    /// CHANNEL_EXTENDED_DATA of type 1: standard error.
    Stderr,
}

options! {
    /// How much a peer may send on a channel before the application has consumed it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct WindowConfig {
        /// Bytes at first (OpenSSH `CHAN_SES_WINDOW_DEFAULT`: 2 MiB).
        initial: u32 = 2 << 20,
        /// Bytes it may grow to on a link with a long round trip; equal to `initial`: never grows.
        max: u32 = 32 << 20,
        /// Largest packet of data (OpenSSH `CHAN_SES_PACKET_DEFAULT`: 32 KiB); at most 128 KiB, so that
        /// it fits into a packet of the transport.
        packet: u32 = 32 * 1024,
    }
}

impl WindowConfig {
    /// With a packet size that the transport can receive, and never zero.
    pub(crate) fn bounded(self) -> Self {
        WindowConfig { packet: self.packet.clamp(1, 128 * 1024), ..self }
    }
}

/// What happened on a channel. `Debug` shows how much data came, not what: it may have been typed.
#[derive(PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelEvent<'b> {
    /// Data arrived. Say `consume` when you are done with it: until then the peer's window is
    /// smaller by that much.
    Data {
        /// Which stream.
        stream: DataStream,
        /// The bytes, in the receive buffer.
        data: &'b [u8],
    },
    /// The peer will send no more data.
    Eof,
    /// The peer wants something. With a ticket, answer it with `reply`.
    Request {
        /// Absent when the peer does not want an answer.
        ticket: Option<RequestTicket>,
        /// What it wants.
        request: ChannelRequest<'b>,
    },
    /// Our oldest unanswered request was granted or not.
    RequestDone {
        /// Whether it was granted.
        ok: bool,
    },
    /// The remote program ended. `Closed` follows.
    Exit(Exit<'b>),
    /// Data can be written again; comes once after a `write` or `slot` that took less than asked.
    Writable,
    /// The channel is gone, and its identifier with it.
    Closed,
}

impl<'a> ChannelEvent<'a> {
    /// The same event in other bytes.
    pub(crate) fn over<'b>(self, part: &mut impl Part<'a, 'b>) -> Option<ChannelEvent<'b>> {
        Some(match self {
            Self::Data { stream, data } => ChannelEvent::Data { stream, data: part(data)? },
            Self::Eof => ChannelEvent::Eof,
            Self::Request { ticket, request } => {
                ChannelEvent::Request { ticket, request: request.over(part)? }
            }
            Self::RequestDone { ok } => ChannelEvent::RequestDone { ok },
            Self::Exit(exit) => ChannelEvent::Exit(exit.over(part)?),
            Self::Writable => ChannelEvent::Writable,
            Self::Closed => ChannelEvent::Closed,
        })
    }
}

impl fmt::Debug for ChannelEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data { stream, data } => {
                let data = &format_args!("{} bytes", data.len());
                f.debug_struct("Data").field("stream", stream).field("data", data).finish()
            }
            Self::Eof => f.write_str("Eof"),
            Self::Request { ticket, request } => {
                f.debug_struct("Request").field("ticket", ticket).field("request", request).finish()
            }
            Self::RequestDone { ok } => f.debug_struct("RequestDone").field("ok", ok).finish(),
            Self::Exit(exit) => f.debug_tuple("Exit").field(exit).finish(),
            Self::Writable => f.write_str("Writable"),
            Self::Closed => f.write_str("Closed"),
        }
    }
}

/// Most bytes of fields in a message of ours: the rest of the packet limit is for what stands
/// around them.
const MAX_FIELDS: usize = 192 * 1024;

/// Checks fields that go to the peer: they fit into a packet.
pub(crate) fn bounded(fields: &[u8]) -> Result<(), crate::error::UsageError> {
    if fields.len() > MAX_FIELDS { Err(crate::error::UsageError::InvalidText) } else { Ok(()) }
}

/// Checks a text that goes to the peer: no NUL.
pub(crate) fn text(bytes: &[u8]) -> Result<SshStr<'_>, crate::error::UsageError> {
    if bytes.contains(&0) || bytes.len() > 64 * 1024 {
        return Err(crate::error::UsageError::InvalidText);
    }
    Ok(SshStr::new(bytes))
}
