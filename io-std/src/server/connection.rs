use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use konko_core::ServerConnection;
use konko_core::admission::Penalty;
use konko_core::channel::OpenKind;
use konko_core::error::Phase;
use konko_core::session::SessionRules;
use konko_core::transport::negotiate::Negotiated;
use konko_core::wire::SshStr;

use super::session::Table;
use super::threads::Threads;
use crate::channel::Channel;
use crate::client::Handle;
use crate::error::{Error, ErrorKind};
use crate::notice::Notice;
use crate::shared::Shared;
use crate::state::Sink;

/// A client's connection to a server: a cheap handle, `Send` and `Sync`. The connection lives as
/// long as the client wants it, whether or not handles are left.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    id: u64,
    handle: Arc<Handle>,
    shared: Arc<Shared<ServerConnection>>,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    sessions: Mutex<Table>,
    threads: Threads,
}

impl Connection {
    pub(super) fn new(
        id: u64,
        shared: Arc<Shared<ServerConnection>>,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
        rules: SessionRules,
        threads: Threads,
    ) -> Self {
        let handle = Handle {
            shared: shared.clone(),
            reply_timeout: None,
            io_timeout: None,
            ends_when_dropped: false,
        };
        Connection(Arc::new(Inner {
            id,
            handle: Arc::new(handle),
            shared,
            peer,
            local,
            sessions: Mutex::new(Table::new(rules)),
            threads,
        }))
    }

    pub(super) fn shared(&self) -> &Arc<Shared<ServerConnection>> {
        &self.0.shared
    }

    pub(super) fn handle(&self) -> &Arc<Handle> {
        &self.0.handle
    }

    pub(super) fn sessions(&self) -> MutexGuard<'_, Table> {
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn threads(&self) -> &Threads {
        &self.0.threads
    }

    pub(super) fn note_at_will(&self, notice: Notice) {
        self.shared().with(|state| state.note_at_will(|_| notice));
    }

    /// A number that no other connection of this process has.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The client's address; `None` over a pipe or a stream of your own.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.0.peer
    }

    /// The address that the client connected to; `None` over a pipe or a stream of your own.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.local
    }

    /// The user who is in, or is trying to get in. From the client: escape it before it reaches a
    /// terminal.
    pub fn user(&self) -> Option<String> {
        let state = self.shared().lock();
        state.end.user().map(|user| user.to_text())
    }

    /// The algorithms in use, once negotiated.
    pub fn negotiated(&self) -> Option<Negotiated> {
        self.shared().lock().end.negotiated().cloned()
    }

    /// The client's identification line, escaped.
    pub fn peer_ident(&self) -> Option<String> {
        self.shared().lock().end.peer_ident().map(|ident| ident.to_string())
    }

    /// Key exchanges completed so far.
    pub fn key_exchanges(&self) -> u64 {
        self.shared().lock().end.key_exchanges()
    }

    /// Where the connection is in its life.
    pub fn phase(&self) -> Phase {
        self.shared().lock().end.phase()
    }

    /// Whether the user is in and the connection lives.
    pub fn is_connected(&self) -> bool {
        let state = self.shared().lock();
        state.ended.is_none() && state.end.is_authenticated()
    }

    /// Opens a channel to the client that tells of a connection to a port the client asked us to
    /// listen on (RFC 4254 §7.2). Waits for the client's answer, so call it on a thread of your own,
    /// not from a [`Handler`](super::Handler).
    ///
    /// # Errors
    /// `OpenRefused` if the client does not want it.
    pub fn forwarded_tcpip(&self, host: &str, port: u16, originator: SocketAddr) -> Result<Channel, Error> {
        let from = originator.ip().to_string();
        let kind = OpenKind::ForwardedTcpip {
            host: SshStr::new(host.as_bytes()),
            port: port.into(),
            originator: SshStr::new(from.as_bytes()),
            originator_port: originator.port().into(),
        };
        Channel::open(&self.0.handle, kind, Sink::Inbox(Default::default()))
    }

    /// Renews the keys.
    ///
    /// # Errors
    /// `Usage` before authentication, and after the end.
    pub fn rekey(&self) -> Result<(), Error> {
        let shared = self.shared();
        shared.with(|state| state.end.rekey()).map_err(|e| shared.error(ErrorKind::Usage(e)))
    }

    /// What the client's address deserves if this connection ends before its user is in, other than what
    /// is plain from the connection: [`Penalty::InvalidUser`] for a name that nobody has,
    /// [`Penalty::RefuseConnection`] for somebody who is not wanted. See
    /// [`ServerOptions::admission`](super::ServerOptions::admission).
    pub fn penalize(&self, penalty: Penalty) {
        self.shared().lock().end.penalize(penalty);
    }

    /// What its source deserves if it is over now.
    pub(super) fn penalty(&self) -> Option<Penalty> {
        self.shared().lock().end.penalty()
    }

    /// Says goodbye to the client with a text for its user, without waiting. Channels end.
    pub fn disconnect(&self, why: &str) {
        self.shared().disconnect(why);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({} from {})", self.0.id, self.shared().peer)
    }
}
