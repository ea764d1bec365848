//! A connection of either role, as what both have in common.

use konko_core::channel::{
    ChannelEvent, ChannelId, ChannelRequest, GlobalTicket, OpenFailure, OpenKind, OpenTicket, RequestTicket,
    Stream,
};
use konko_core::error::{Error, Phase, TimerKind, UsageError};
use konko_core::msg::DisconnectCode;
use konko_core::transport::negotiate::Negotiated;
use konko_core::wire::SshStr;
use konko_core::{
    ClientConnection, ClientEvent, RxBuf, ServerConnection, ServerEvent, Step, Time, TransportConfig, TxBuf,
};
use std::sync::Arc;

/// The machine of a connection. There is one in each allocation, so the larger one wastes little.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Conn {
    Client(ClientConnection),
    Server(ServerConnection),
}

/// What happened: on a channel, or something that only one role has to answer.
pub(crate) enum Event<'b> {
    Channel(ChannelId, ChannelEvent<'b>),
    Client(ClientEvent<'b>),
    Server(ServerEvent<'b>),
}

macro_rules! either {
    ($conn:expr, $c:ident => $call:expr) => {
        match $conn {
            Conn::Client($c) => $call,
            Conn::Server($c) => $call,
        }
    };
}

impl Conn {
    pub(crate) fn poll<'b>(&mut self, now: Time, rx: &'b mut RxBuf) -> Result<Step<Event<'b>>, Error> {
        Ok(match self {
            Conn::Client(c) => match c.poll(now, rx)? {
                Step::Event(ClientEvent::Channel(id, event)) => Step::Event(Event::Channel(id, event)),
                Step::Event(event) => Step::Event(Event::Client(event)),
                Step::Blocked(why) => Step::Blocked(why),
            },
            Conn::Server(c) => match c.poll(now, rx)? {
                Step::Event(ServerEvent::Channel(id, event)) => Step::Event(Event::Channel(id, event)),
                Step::Event(event) => Step::Event(Event::Server(event)),
                Step::Blocked(why) => Step::Blocked(why),
            },
        })
    }

    /// The client's machine.
    ///
    /// # Panics
    /// On a server's connection, which no `Client` ever holds.
    pub(crate) fn client(&mut self) -> &mut ClientConnection {
        match self {
            Conn::Client(c) => c,
            Conn::Server(_) => unreachable!("a client's connection is a client's"),
        }
    }

    /// The server's machine.
    ///
    /// # Panics
    /// On a client's connection, which nothing of the server ever holds.
    pub(crate) fn server(&mut self) -> &mut ServerConnection {
        match self {
            Conn::Server(c) => c,
            Conn::Client(_) => unreachable!("a server's connection is a server's"),
        }
    }

    pub(crate) fn is_authenticated(&self) -> bool {
        either!(self, c => c.is_authenticated())
    }

    pub(crate) fn deadline(&self) -> Option<(Time, TimerKind)> {
        either!(self, c => c.deadline())
    }

    pub(crate) fn tx(&mut self) -> &mut TxBuf {
        either!(self, c => c.tx())
    }

    pub(crate) fn open(&mut self, kind: OpenKind<'_>) -> Result<ChannelId, UsageError> {
        either!(self, c => c.open(kind))
    }

    pub(crate) fn accept_channel(&mut self, ticket: OpenTicket) -> Result<ChannelId, UsageError> {
        either!(self, c => c.accept_channel(ticket))
    }

    pub(crate) fn refuse_channel(
        &mut self,
        ticket: OpenTicket,
        why: OpenFailure,
        text: &str,
    ) -> Result<(), UsageError> {
        either!(self, c => c.refuse_channel(ticket, why, text))
    }

    pub(crate) fn request(
        &mut self,
        channel: ChannelId,
        request: ChannelRequest<'_>,
        want_reply: bool,
    ) -> Result<(), UsageError> {
        either!(self, c => c.request(channel, request, want_reply))
    }

    pub(crate) fn reply(&mut self, ticket: RequestTicket, ok: bool) -> Result<(), UsageError> {
        either!(self, c => c.reply(ticket, ok))
    }

    pub(crate) fn write(&mut self, id: ChannelId, stream: Stream, data: &[u8]) -> Result<usize, UsageError> {
        either!(self, c => c.write(id, stream, data))
    }

    pub(crate) fn consume(&mut self, id: ChannelId, n: usize) -> Result<(), UsageError> {
        either!(self, c => c.consume(id, n))
    }

    pub(crate) fn finish(&mut self, id: ChannelId) -> Result<(), UsageError> {
        either!(self, c => c.finish(id))
    }

    pub(crate) fn close_channel(&mut self, id: ChannelId) -> Result<(), UsageError> {
        either!(self, c => c.close_channel(id))
    }

    pub(crate) fn reply_global(
        &mut self,
        ticket: GlobalTicket,
        ok: bool,
        port: Option<u32>,
    ) -> Result<(), UsageError> {
        either!(self, c => c.reply_global(ticket, ok, port))
    }

    pub(crate) fn rekey(&mut self) -> Result<(), UsageError> {
        either!(self, c => c.rekey())
    }

    pub(crate) fn disconnect(&mut self, code: DisconnectCode, text: &str) {
        either!(self, c => c.disconnect(code, text));
    }

    pub(crate) fn peer_ident(&self) -> Option<SshStr<'_>> {
        either!(self, c => c.peer_ident())
    }

    pub(crate) fn negotiated(&self) -> Option<&Negotiated> {
        either!(self, c => c.negotiated())
    }

    pub(crate) fn strict_kex(&self) -> bool {
        either!(self, c => c.strict_kex())
    }

    pub(crate) fn key_exchanges(&self) -> u64 {
        either!(self, c => c.key_exchanges())
    }

    pub(crate) fn phase(&self) -> Phase {
        either!(self, c => c.phase())
    }

    pub(crate) fn config(&self) -> &Arc<TransportConfig> {
        either!(self, c => c.config())
    }
}
