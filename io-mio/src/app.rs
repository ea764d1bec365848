//! What an application is told.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use konko_core::admission::Refused;
use konko_core::msg::DisconnectCode;
use konko_core::{ClientConnection, ClientEvent, Error, ServerConnection, ServerEvent};

use crate::hub::Hub;
use crate::links::ConnId;

/// An application: it gets the events of all connections of a loop, and its own messages.
///
/// All methods run on the loop's thread and should be short: what takes long goes to
/// [`Hub::spawn`], and its answer comes back as a message. A ticket that an event carries can be
/// answered on the connection at hand, or kept and answered later, on the connection that
/// [`Hub::server`] or [`Hub::client`] gives. What is not answered is denied when its timer ends.
///
/// A panic in a method that is about one connection ends that connection only.
pub trait App {
    /// What comes from other threads, from [`Hub::spawn`] and [`Hub::after`]. `()` if nothing does.
    type Message: Send + 'static;

    /// A client has connected to one of the loop's listeners and was admitted.
    fn on_accepted(
        &mut self,
        id: ConnId,
        conn: &mut ServerConnection,
        peer: SocketAddr,
        hub: &mut Hub<Self::Message>,
    ) {
        let _ = (id, conn, peer, hub);
    }

    /// Something happened on a connection that we serve. Key exchange jobs do not come here, the loop
    /// hands them to its workers. Without an implementation the connection ends.
    fn on_server_event(
        &mut self,
        id: ConnId,
        conn: &mut ServerConnection,
        event: ServerEvent<'_>,
        hub: &mut Hub<Self::Message>,
    ) {
        let _ = (id, event, hub);
        conn.disconnect(DisconnectCode::BY_APPLICATION, "nothing is served here");
    }

    /// Something happened on a connection that we made. Without an implementation it ends.
    fn on_client_event(
        &mut self,
        id: ConnId,
        conn: &mut ClientConnection,
        event: ClientEvent<'_>,
        hub: &mut Hub<Self::Message>,
    ) {
        let _ = (id, event, hub);
        conn.disconnect(DisconnectCode::BY_APPLICATION, "nothing is wanted here");
    }

    /// A connection is over: the last thing that is said about `id`, once for each connection.
    fn on_closed(&mut self, id: ConnId, why: Closed, hub: &mut Hub<Self::Message>) {
        let _ = (id, why, hub);
    }

    /// A message came in.
    fn on_message(&mut self, message: Self::Message, hub: &mut Hub<Self::Message>) {
        let _ = (message, hub);
    }

    /// A client was turned away before a byte was read from it.
    fn on_refused(&mut self, peer: SocketAddr, why: Refused) {
        let _ = (peer, why);
    }

    /// No connection can be accepted for now: the process or the system has no descriptors left. The
    /// loop tries again when a connection ends, or after a tenth of a second. Told once, until all who
    /// waited were accepted.
    fn on_accept_error(&mut self, error: &io::Error) {
        let _ = error;
    }
}

/// Why a connection is over.
#[derive(Debug)]
#[non_exhaustive]
pub enum Closed {
    /// What the core says: the peer left, broke the protocol, or a timer ran out.
    Error(Error),
    /// The application called `disconnect`, or the loop is drained.
    Local,
    /// The connection could not be made, or the socket failed.
    Io(io::Error),
    /// The peer took no output for the time that [`Settings::write_timeout`](crate::Settings) says.
    Stalled,
    /// A method of the application panicked.
    Panicked,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Closed::Error(error) => error.fmt(f),
            Closed::Local => f.write_str("closed by this side"),
            Closed::Io(error) => error.fmt(f),
            Closed::Stalled => f.write_str("the peer takes no data any more"),
            Closed::Panicked => f.write_str("the application panicked"),
        }
    }
}

impl std::error::Error for Closed {}
