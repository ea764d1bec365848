//! Events between the reading of a message and the application.

use alloc::boxed::Box;
use core::fmt;

use super::event::Event;
use super::side::{EventOf, Side};
use crate::auth::Told;
use crate::channel::{ChannelEvent, Heard};
use crate::transport::{Job, Payload, RxBuf};
use crate::wire::{Part, Parts};

/// What there is to tell, by the machine that says so.
pub(super) enum News<'p, S: Side> {
    Told(Told<S::Auth<'p>>),
    Heard(Heard<'p>),
    Job(Box<Job>),
    Negotiated,
    Rekeyed,
}

/// News that borrow nothing: their texts are places in the message.
pub(super) struct Kept<S: Side> {
    news: News<'static, S>,
    message: Option<(Payload, Parts)>,
}

impl<'a, S: Side> News<'a, S> {
    /// The same in other bytes.
    fn over<'b>(self, part: &mut impl Part<'a, 'b>) -> Option<News<'b, S>> {
        Some(match self {
            News::Told(Told::Auth(auth)) => News::Told(Told::Auth(S::over(auth, part)?)),
            News::Told(Told::Authenticated { method, trivial }) => {
                News::Told(Told::Authenticated { method, trivial })
            }
            News::Heard(heard) => News::Heard(heard.over(part)?),
            News::Job(job) => News::Job(job),
            News::Negotiated => News::Negotiated,
            News::Rekeyed => News::Rekeyed,
        })
    }

    fn event(self) -> EventOf<'a, S> {
        match self {
            News::Told(Told::Auth(auth)) => Event::Auth(auth),
            News::Told(Told::Authenticated { method, trivial }) => Event::Authenticated { method, trivial },
            News::Heard(Heard::Opened(channel)) => Event::Opened(channel),
            News::Heard(Heard::OpenFailed { channel, why, text }) => Event::OpenFailed { channel, why, text },
            News::Heard(Heard::Open { ticket, kind }) => Event::Open { ticket, kind },
            News::Heard(Heard::Channel(channel, event)) => Event::Channel(channel, event),
            News::Heard(Heard::Global { ticket, request }) => Event::GlobalRequest { ticket, request },
            News::Heard(Heard::GlobalReply { ok, fields }) => Event::GlobalReply { ok, fields },
            News::Job(job) => Event::Job(job),
            News::Negotiated => Event::Negotiated,
            News::Rekeyed => Event::Rekeyed,
        }
    }
}

impl<S: Side> Kept<S> {
    /// News without a message.
    pub(super) fn new(news: News<'static, S>) -> Self {
        Kept { news, message: None }
    }

    /// News of a message. `None` if they are not made of its bytes.
    pub(super) fn of(news: News<'_, S>, payload: Payload, message: &[u8]) -> Option<Self> {
        let mut parts = Parts::default();
        // Most of what is told is data: without the walk.
        if let News::Heard(Heard::Channel(channel, ChannelEvent::Data { stream, data })) = news {
            parts.note(message, data)?;
            let news = News::Heard(Heard::Channel(channel, ChannelEvent::Data { stream, data: &[] }));
            return Some(Kept { news, message: Some((payload, parts)) });
        }
        let news = news.over(&mut |part: &[u8]| parts.note(message, part).map(|()| &[][..]))?;
        Some(Kept { news, message: Some((payload, parts)) })
    }

    /// The message, if it is news of one.
    pub(super) fn message<'b>(&self, rx: &'b RxBuf) -> &'b [u8] {
        self.message.as_ref().map_or(&[], |(payload, _)| payload.of(rx))
    }

    /// The event, with its texts where they stand in the buffer. `None` if they do not stand there any
    /// more: the buffer is another one.
    pub(super) fn event<'b>(self, rx: &'b RxBuf) -> Option<EventOf<'b, S>> {
        let message = self.message(rx);
        let parts = self.message.map(|(_, parts)| parts).unwrap_or_default();
        let mut parts = parts.of(message);
        if let News::Heard(Heard::Channel(channel, ChannelEvent::Data { stream, .. })) = self.news {
            return Some(Event::Channel(channel, ChannelEvent::Data { stream, data: parts.next()? }));
        }
        Some(self.news.over(&mut |_: &[u8]| parts.next())?.event())
    }
}

/// An event in a recording: kinds and numbers, never what a peer or a user wrote.
pub(super) struct Shown<'k, S: Side>(pub(super) &'k Kept<S>, pub(super) &'k RxBuf);

impl<S: Side> fmt::Display for Shown<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.news {
            News::Told(Told::Auth(auth)) => S::show(auth, self.0.message(self.1).first().copied(), f),
            News::Told(Told::Authenticated { .. }) => f.write_str("Authenticated"),
            News::Heard(heard) => write!(f, "{heard:?}"),
            News::Job(job) => write!(f, "{job:?}"),
            News::Negotiated => f.write_str("Negotiated"),
            News::Rekeyed => f.write_str("Rekeyed"),
        }
    }
}
