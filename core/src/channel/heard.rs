//! What the connection layer has for the application.

use core::fmt;

use super::{ChannelEvent, ChannelId, GlobalRequestRef, GlobalTicket, OpenFailure, OpenKind, OpenTicket};
use crate::wire::{Part, SshStr};

/// What a message, or room for data, means for the application.
pub(crate) enum Heard<'p> {
    Opened(ChannelId),
    OpenFailed { channel: ChannelId, why: OpenFailure, text: SshStr<'p> },
    Open { ticket: OpenTicket, kind: OpenKind<'p> },
    Channel(ChannelId, ChannelEvent<'p>),
    Global { ticket: Option<GlobalTicket>, request: GlobalRequestRef<'p> },
    GlobalReply { ok: bool, fields: &'p [u8] },
}

impl<'a> Heard<'a> {
    /// The same in other bytes.
    pub(crate) fn over<'b>(self, part: &mut impl Part<'a, 'b>) -> Option<Heard<'b>> {
        Some(match self {
            Self::Channel(channel, event) => Heard::Channel(channel, event.over(part)?),
            Self::Opened(channel) => Heard::Opened(channel),
            Self::OpenFailed { channel, why, text } => {
                Heard::OpenFailed { channel, why, text: text.over(part)? }
            }
            Self::Open { ticket, kind } => Heard::Open { ticket, kind: kind.over(part)? },
            Self::Global { ticket, request } => Heard::Global { ticket, request: request.over(part)? },
            Self::GlobalReply { ok, fields } => Heard::GlobalReply { ok, fields: part(fields)? },
        })
    }
}

/// Goes into recordings: kinds and numbers, never what a peer wrote.
impl fmt::Debug for Heard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened(id) => write!(f, "Opened({id:?})"),
            Self::OpenFailed { channel: id, .. } => write!(f, "OpenFailed({id:?})"),
            Self::Open { ticket, .. } => write!(f, "Open({:?})", ticket.channel),
            Self::Channel(id, ChannelEvent::Data { stream, .. }) => write!(f, "Data({id:?}, {stream:?})"),
            Self::Channel(id, ChannelEvent::Eof) => write!(f, "Eof({id:?})"),
            Self::Channel(id, ChannelEvent::Request { ticket, .. }) => {
                write!(f, "Request({id:?}, {:?})", ticket.as_ref().map(|ticket| ticket.number))
            }
            Self::Channel(id, ChannelEvent::RequestDone { ok }) => write!(f, "RequestDone({id:?}, {ok})"),
            Self::Channel(id, ChannelEvent::Exit(_)) => write!(f, "Exit({id:?})"),
            Self::Channel(id, ChannelEvent::Writable) => write!(f, "Writable({id:?})"),
            Self::Channel(id, ChannelEvent::Closed) => write!(f, "Closed({id:?})"),
            Self::Global { ticket, .. } => {
                write!(f, "Global({:?})", ticket.as_ref().map(|ticket| ticket.number))
            }
            Self::GlobalReply { ok, .. } => write!(f, "GlobalReply({ok})"),
        }
    }
}
