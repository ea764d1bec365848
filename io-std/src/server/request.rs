//! Answers to channel opens and requests: tickets that say no when they are dropped.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use konko_core::Decision;
use konko_core::channel::{ChannelId, GlobalTicket, OpenFailure, OpenTicket, RequestTicket};
use konko_core::session::{ChannelKind, Control, Program, Pty, SessionRequest};
use konko_core::wire::SshStr;

use super::connection::Connection;
use crate::channel::Channel;
use crate::error::{Error, ErrorKind};
use crate::notice::Notice;
use crate::state::{Chan, Sink};

/// A client opens a channel. Dropped, it is refused.
pub struct ChannelOpen {
    connection: Connection,
    ticket: Option<OpenTicket>,
    kind: ChannelKind,
}

impl ChannelOpen {
    pub(super) fn new(connection: &Connection, ticket: OpenTicket, kind: ChannelKind) -> Self {
        ChannelOpen { connection: connection.clone(), ticket: Some(ticket), kind }
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What kind of channel.
    pub fn kind(&self) -> &ChannelKind {
        &self.kind
    }

    /// Accepts the channel. What the client asks on it comes to
    /// [`Handler::request`](super::Handler::request).
    ///
    /// # Errors
    /// Why the connection ended.
    pub fn accept(self) -> Result<Channel, Error> {
        self.accept_as(|_, channel| channel)
    }

    /// Accepts the channel and makes something of it before the client can ask anything on it.
    fn accept_as<T>(mut self, make: impl FnOnce(&Connection, Channel) -> T) -> Result<T, Error> {
        let (connection, shared) = (&self.connection, self.connection.shared());
        let Some(ticket) = self.ticket.take() else { return Err(shared.error(ErrorKind::ChannelClosed)) };
        shared.with(|state| {
            if let Some(error) = &state.ended {
                return Err(error.clone());
            }
            let id = state.end.accept_channel(ticket).map_err(|e| state.error(ErrorKind::Usage(e)))?;
            state.channels.insert(id, Chan::new(Sink::Inbox(Default::default())));
            state.note_at_will(|_| Notice::Opened(id.to_string()));
            Ok(make(connection, Channel::accepted(connection.handle(), id)))
        })
    }

    /// Accepts a session; what the client asks to prepare its program is collected, and
    /// [`Handler::session`](super::Handler::session) is called. Any other kind is refused.
    pub fn accept_session(self) {
        if self.kind != ChannelKind::Session {
            return;
        }
        if self.connection.sessions().sessions.full() {
            return self.reject_session();
        }
        // If the connection has ended there is nobody to tell.
        let _ = self.accept_as(|connection, channel| {
            connection.sessions().opened(channel);
        });
    }

    pub(super) fn reject_session(self) {
        self.reject(OpenFailure::RESOURCE_SHORTAGE, "too many sessions (MaxSessions)");
    }

    /// Refuses the channel, with a reason and a text for the user.
    pub fn reject(mut self, why: OpenFailure, text: &str) {
        self.answer(why, text);
    }

    fn answer(&mut self, why: OpenFailure, text: &str) {
        let Some(ticket) = self.ticket.take() else { return };
        let kind = SshStr::new(self.kind.name().as_bytes()).excerpt(100);
        self.connection.shared().with(|state| {
            state.note_at_will(|_| Notice::Refused(format!("a channel of type \"{kind}\": {text}")));
            let _ = state.end.reject_channel(ticket, why, text);
        });
    }
}

impl Drop for ChannelOpen {
    fn drop(&mut self) {
        let (why, text) = match self.kind {
            ChannelKind::Session | ChannelKind::DirectTcpip { .. } => {
                (OpenFailure::ADMINISTRATIVELY_PROHIBITED, "not allowed here")
            }
            _ => (OpenFailure::UNKNOWN_CHANNEL_TYPE, "no such channel type here"),
        };
        self.answer(why, text);
    }
}

impl fmt::Debug for ChannelOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelOpen({:?})", self.kind)
    }
}

/// The answer to a channel request: no, unless said otherwise.
pub(super) struct Reply {
    connection: Connection,
    ticket: Option<RequestTicket>,
}

impl Reply {
    pub(super) fn new(connection: &Connection, ticket: Option<RequestTicket>) -> Self {
        Reply { connection: connection.clone(), ticket }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Answers, once. Errors mean that the channel has gone, and with it who would listen.
    pub(super) fn send(&mut self, ok: bool) {
        if let Some(ticket) = self.ticket.take() {
            let _ = self.connection.shared().with(|state| state.end.reply(ticket, Decision::accept_if(ok)));
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.send(false);
    }
}

/// A client asks something on a channel. Dropped, it is refused.
pub struct Request {
    reply: Reply,
    channel: ChannelId,
    wish: SessionRequest,
}

impl Request {
    pub(super) fn new(reply: Reply, channel: ChannelId, wish: SessionRequest) -> Self {
        Request { reply, channel, wish }
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        self.reply.connection()
    }

    /// The channel, as [`Channel::id`] gives it.
    pub fn channel(&self) -> ChannelId {
        self.channel
    }

    /// The request name on the wire. From the client: escape it before it reaches a terminal.
    pub fn name(&self) -> &str {
        self.wish.name()
    }

    /// What is to run, of `shell`, `exec` and `subsystem` on a channel that was accepted with
    /// [`ChannelOpen::accept`].
    pub fn program(&self) -> Option<&Program> {
        match &self.wish {
            SessionRequest::Start(program) => Some(program),
            _ => None,
        }
    }

    /// The terminal that `pty-req` asks for.
    pub fn pty(&self) -> Option<&Pty> {
        match &self.wish {
            SessionRequest::Pty(pty) => Some(pty),
            _ => None,
        }
    }

    /// The name and value of `env`.
    pub fn env(&self) -> Option<(&OsStr, &OsStr)> {
        match &self.wish {
            SessionRequest::Env(name, value) => Some((OsStr::from_bytes(name), OsStr::from_bytes(value))),
            _ => None,
        }
    }

    /// What `window-change`, `signal`, `break` and `eow@openssh.com` tell.
    pub fn control(&self) -> Option<&Control> {
        match &self.wish {
            SessionRequest::Control(control) => Some(control),
            _ => None,
        }
    }

    /// The fields, as on the wire, of any other request.
    pub fn fields(&self) -> &[u8] {
        match &self.wish {
            SessionRequest::Other { fields, .. } => fields,
            _ => &[],
        }
    }

    /// Grants it.
    pub fn grant(mut self) {
        self.reply.send(true);
    }

    /// Refuses it. Dropping does the same.
    pub fn reject(self) {}
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({:?} on {})", self.name(), self.channel)
    }
}

/// A client asks something that concerns no channel. Dropped, it is refused.
pub struct GlobalRequest {
    connection: Connection,
    ticket: Option<GlobalTicket>,
    name: String,
    fields: Vec<u8>,
}

impl GlobalRequest {
    pub(super) fn new(
        connection: &Connection,
        ticket: Option<GlobalTicket>,
        name: String,
        fields: Vec<u8>,
    ) -> Self {
        GlobalRequest { connection: connection.clone(), ticket, name, fields }
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The request name. From the client: escape it before it reaches a terminal.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its fields, as on the wire.
    pub fn fields(&self) -> &[u8] {
        &self.fields
    }

    /// Grants it.
    pub fn grant(mut self) {
        self.answer(true, None);
    }

    /// Grants a `tcpip-forward` of port 0, and says which port it became (RFC 4254 §7.1).
    pub fn grant_port(mut self, port: u16) {
        self.answer(true, Some(port.into()));
    }

    /// Refuses it. Dropping does the same.
    pub fn reject(self) {}

    fn answer(&mut self, ok: bool, port: Option<u32>) {
        if let Some(ticket) = self.ticket.take() {
            let _ = self
                .connection
                .shared()
                .with(|state| state.end.reply_global(ticket, Decision::accept_if(ok), port));
        }
    }
}

impl Drop for GlobalRequest {
    fn drop(&mut self) {
        self.answer(false, None);
    }
}

impl fmt::Debug for GlobalRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GlobalRequest({:?})", self.name)
    }
}
