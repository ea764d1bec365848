//! What `poll` finds.

use alloc::boxed::Box;

use crate::auth::Method;
use crate::channel::{
    ChannelEvent, ChannelId, GlobalRequestRef, GlobalTicket, OpenFailure, OpenKind, OpenTicket,
};
use crate::transport::Job;
use crate::wire::SshStr;

/// What `poll` found.
#[derive(Debug, PartialEq, Eq)]
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

/// What happens on a connection, whichever role it has. `A` is what only that role is asked:
/// [`ClientAuth`](crate::ClientAuth) or [`ServerAuth`](crate::ServerAuth).
///
/// Data and texts are borrowed from the receive buffer. They are the peer's: escape them before they
/// reach a terminal.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'b, A> {
    /// The algorithms are agreed on; see [`negotiated`](crate::Connection::negotiated).
    Negotiated,
    /// Keys were renewed.
    Rekeyed,
    /// Costly work of a key exchange; run it anywhere and give the result to
    /// [`finish_job`](crate::Connection::finish_job). Only of a server that says `offload`, and of a client that says
    /// `screen_groups`.
    Job(Box<Job>),
    /// Who is who: the host key on a client, the user on both sides.
    Auth(A),
    /// The user is in. Channels can be opened.
    Authenticated {
        /// The method that did it.
        method: Method,
        /// No proof was asked for at all. A server that lets everybody in may be one that wants to see
        /// what it is told next (CVE-2021-36367).
        trivial: bool,
    },
    /// A channel of ours is open.
    Opened(ChannelId),
    /// A channel of ours was refused; its identifier is gone.
    OpenFailed {
        /// Which one.
        channel: ChannelId,
        /// Why.
        why: OpenFailure,
        /// Text of the peer.
        text: SshStr<'b>,
    },
    /// The peer opens a channel.
    Open {
        /// For `accept_channel` or `reject_channel`.
        ticket: OpenTicket,
        /// What kind.
        kind: OpenKind<'b>,
    },
    /// Something happened on a channel.
    Channel(ChannelId, ChannelEvent<'b>),
    /// The peer asks something that concerns no channel.
    GlobalRequest {
        /// For `reply_global`; absent when no answer is wanted.
        ticket: Option<GlobalTicket>,
        /// What it asks.
        request: GlobalRequestRef<'b>,
    },
    /// Our oldest unanswered global request was granted or not.
    GlobalReply {
        /// Whether it was granted.
        ok: bool,
        /// What the request's definition says.
        fields: &'b [u8],
    },
}

impl<'b, A> Event<'b, A> {
    /// The same event, with another type for what only the role is asked: so that code which drives
    /// both roles has one type of event.
    pub fn map_auth<B>(self, f: impl FnOnce(A) -> B) -> Event<'b, B> {
        match self {
            Event::Auth(auth) => Event::Auth(f(auth)),
            Event::Negotiated => Event::Negotiated,
            Event::Rekeyed => Event::Rekeyed,
            Event::Job(job) => Event::Job(job),
            Event::Authenticated { method, trivial } => Event::Authenticated { method, trivial },
            Event::Opened(channel) => Event::Opened(channel),
            Event::OpenFailed { channel, why, text } => Event::OpenFailed { channel, why, text },
            Event::Open { ticket, kind } => Event::Open { ticket, kind },
            Event::Channel(channel, event) => Event::Channel(channel, event),
            Event::GlobalRequest { ticket, request } => Event::GlobalRequest { ticket, request },
            Event::GlobalReply { ok, fields } => Event::GlobalReply { ok, fields },
        }
    }
}
