//! One connection: from its stream to its handler.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use konko_core::admission::Penalty;
use konko_core::channel::ChannelId;
use konko_core::session::{ChannelKind, SessionRequest, Step};
use konko_core::{ServerConfig, ServerConnection};

use super::ask::Ask;
use super::auth::{AuthAttempt, HostProbe, KeyProbe};
use super::connection::Connection;
use super::handler::Handler;
use super::options::ServerOptions;
use super::request::{ChannelOpen, GlobalRequest, Reply, Request};
use super::threads::Threads;
use crate::error::{Error, ErrorKind};
use crate::notice::Notice;
use crate::shared::{Observer, Shared};
use crate::stream::Stream;

/// What the client is told when a handler panics.
pub(super) const APPLICATION_FAILED: &str = "the server's application failed";

/// What all connections of a server have in common.
pub(super) struct Setup {
    pub(super) options: ServerOptions,
    pub(super) config: Arc<ServerConfig>,
}

impl Setup {
    pub(super) fn new(options: ServerOptions) -> Result<Self, Error> {
        if let Some(problem) = options.problem() {
            return Err(Error::new(ErrorKind::Local(problem), &Arc::from("")));
        }
        let config = Arc::new(options.config());
        Ok(Setup { options, config })
    }

    /// A connection over a stream; [`Serving::run`] drives it.
    pub(super) fn connection(
        &self,
        id: u64,
        stream: Box<dyn Stream>,
        addresses: [Option<SocketAddr>; 2],
        threads: Threads,
    ) -> Result<Connection, Error> {
        let [peer, local] = addresses;
        let name: Arc<str> = peer.map_or_else(|| "pipe".into(), |addr| addr.to_string().into());
        let seed = crate::seed_from_os().map_err(|e| Error::new(ErrorKind::Local(e.to_string()), &name))?;
        let observer = self.options.on_notice.clone().map(|observer| -> Observer {
            let name = Arc::clone(&name);
            Arc::new(move |phase, notice: &Notice| {
                observer(&super::ServerNotice { connection: Some(id), peer: &name, phase, notice });
            })
        });
        let config = Arc::clone(&self.config);
        let conn = |now| ServerConnection::new(config, seed, now);
        let shared = Shared::new(conn, stream, name, observer);
        {
            let mut state = shared.lock();
            state.watch.unused_limit = self.options.unused_timeout;
            state.watch.stall_limit = self.options.stall_timeout;
        }
        Ok(Connection::new(id, shared, peer, local, self.options.sessions.clone(), threads))
    }
}

/// A connection with its handler.
pub(super) struct Serving<H> {
    pub(super) connection: Connection,
    pub(super) handler: H,
}

impl<H: Handler> Serving<H> {
    /// Drives the connection until it has ended; why it did. A handler that panics ends this
    /// connection and no other.
    pub(super) fn run(mut self, mut authenticated: impl FnMut()) -> Error {
        let shared = Arc::clone(self.connection.shared());
        let ran = catch_unwind(AssertUnwindSafe(|| {
            shared.run(&mut |ask| {
                if matches!(ask, Ask::Authenticated) {
                    authenticated();
                }
                self.dispatch(ask);
            });
        }));
        if ran.is_err() {
            self.connection.penalize(Penalty::Crash);
            shared.abandon(APPLICATION_FAILED);
        }
        // What listens to controls may hold on to the connection. Dropped without the lock.
        let sessions = self.connection.sessions().take();
        drop(sessions);
        let ended = shared.lock().ended.clone();
        let why = ended.unwrap_or_else(|| shared.error(ErrorKind::ChannelClosed));
        let _ = catch_unwind(AssertUnwindSafe(|| self.handler.ended(&why)));
        why
    }

    fn dispatch(&mut self, ask: Ask) {
        let connection = &self.connection;
        match ask {
            Ask::Probe { ticket, user, key, algorithm, signed } => {
                self.handler.key_probe(KeyProbe::new(connection, ticket, user, key, algorithm, signed));
            }
            Ask::HostProbe { ticket, user, key, algorithm, host, host_user } => {
                let probe = KeyProbe::new(connection, ticket, user, key, algorithm, true);
                self.handler.host_probe(HostProbe { probe, host, host_user });
            }
            Ask::Auth { ticket, user, credential } => {
                // Answers and signatures come without the name: it is that of what they belong to.
                let user = user.or_else(|| connection.user()).unwrap_or_default();
                self.handler.authenticate(AuthAttempt::new(connection, ticket, user, credential));
            }
            Ask::Outcome(outcome) => self.handler.attempted(connection, &outcome),
            Ask::Authenticated => self.handler.authenticated(connection),
            Ask::Open { ticket, kind } => {
                let open = ChannelOpen::new(connection, ticket, kind);
                if *open.kind() == ChannelKind::Session && connection.sessions().sessions.full() {
                    open.reject_session();
                } else {
                    self.handler.open(open);
                }
            }
            Ask::Request { channel, ticket, wish } => {
                let reply = Reply::new(connection, ticket);
                self.request(channel, reply, wish);
            }
            Ask::Global { ticket, name, fields } => {
                self.handler.global_request(GlobalRequest::new(connection, ticket, name, fields));
            }
            Ask::Closed(channel) => {
                let slot = connection.sessions().closed(channel);
                // Without the lock: its channel is closed with it.
                drop(slot);
            }
        }
    }

    fn request(&mut self, channel: ChannelId, mut reply: Reply, wish: SessionRequest) {
        let connection = &self.connection;
        let step = connection.sessions().sessions.request(channel, wish);
        match step {
            Step::Reply(granted) => reply.send(granted),
            Step::Pty(pty) => {
                let granted =
                    self.handler.pty(&pty) && connection.sessions().sessions.grant_pty(channel, pty);
                reply.send(granted);
            }
            Step::Tell(control) => {
                let controls = connection.sessions().controls(channel);
                reply.send(controls.tell(control));
            }
            Step::Start(start) => {
                let session = connection.sessions().start(channel, reply, start);
                if let Some(session) = session {
                    let line = format!("channel {channel} wants {}", session.program());
                    connection.note_at_will(Notice::Session(line));
                    self.handler.session(session);
                }
            }
            Step::Other(wish) => self.handler.request(Request::new(reply, channel, wish)),
        }
    }
}
