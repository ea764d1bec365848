use konko_core::server::AuthOutcome;

use super::auth::{AuthAttempt, HostProbe, KeyProbe};
use super::connection::Connection;
use super::request::{ChannelOpen, GlobalRequest, Request};
use super::session::Session;
use crate::error::Error;
use konko_core::session::Pty;

/// What a server's application decides. One connection is one value.
///
/// The methods are called one after the other on the connection's own thread, and nothing else of
/// that connection moves meanwhile: be quick, or keep the ticket and answer it later, on this thread
/// or another. Calls that wait for the client, such as reading a channel or writing more than fits, fail
/// here with [`ErrorKind::WouldDeadlock`](crate::ErrorKind::WouldDeadlock). A ticket that is dropped says no, so a method that does nothing denies everything.
pub trait Handler: Send + 'static {
    /// A client offers proof of who it is. This is the one place that lets users in. It is not called
    /// for everything a client tries, see [`attempted`](Self::attempted); and it is called for the method
    /// `none`, with which most clients begin to learn what there is.
    fn authenticate(&mut self, attempt: AuthAttempt);

    /// May a user come in with a key? Asked first, whether the client has signed or only asks whether it
    /// should: saying no spares both sides the arithmetic, and `authenticate` does not hear of a key
    /// that was refused here. Saying yes lets nobody in.
    fn key_probe(&mut self, probe: KeyProbe);

    /// May a user come in because another host vouches for it (`hostbased`)? No, unless said otherwise. Saying yes lets
    /// nobody in: the host's signature is verified, and `authenticate` has a
    /// [`Credential::HostBased`](super::Credential::HostBased).
    fn host_probe(&mut self, probe: HostProbe) {
        drop(probe);
    }

    /// An attempt is over, and this came of it, whoever decided: the one place that sees them all.
    /// Called before [`authenticated`](Self::authenticated), once for each request that the client
    /// got a yes or a no to. [`AuthOutcome::counted`] says which of them are failed logins.
    fn attempted(&mut self, connection: &Connection, outcome: &AuthOutcome) {
        let _ = (connection, outcome);
    }

    /// The user is in; [`Connection::user`] says who. Ask for a session after this.
    fn authenticated(&mut self, connection: &Connection) {
        let _ = connection;
    }

    /// The client wants to run a program, a shell or a subsystem in a session. Environment and
    /// terminal were collected before.
    fn session(&mut self, session: Session) {
        session.reject();
    }

    /// The client asks for a pseudo-terminal for a session's program. Yes, unless said otherwise;
    /// [`Session::pty`] has it then.
    fn pty(&mut self, pty: &Pty) -> bool {
        let _ = pty;
        true
    }

    /// The client opens a channel. Sessions are accepted, their requests are collected, and
    /// [`session`](Self::session) is called; everything else is refused.
    fn open(&mut self, open: ChannelOpen) {
        open.accept_session();
    }

    /// The client asks something on a channel that is not part of starting a session's program,
    /// such as agent forwarding; or anything on a channel that was accepted with
    /// [`ChannelOpen::accept`].
    fn request(&mut self, request: Request) {
        request.reject();
    }

    /// The client asks something that concerns no channel, such as `tcpip-forward`.
    fn global_request(&mut self, request: GlobalRequest) {
        request.reject();
    }

    /// The connection is over.
    fn ended(&mut self, why: &Error) {
        let _ = why;
    }
}

impl Handler for Box<dyn Handler> {
    fn authenticate(&mut self, attempt: AuthAttempt) {
        (**self).authenticate(attempt);
    }

    fn key_probe(&mut self, probe: KeyProbe) {
        (**self).key_probe(probe);
    }

    fn host_probe(&mut self, probe: HostProbe) {
        (**self).host_probe(probe);
    }

    fn attempted(&mut self, connection: &Connection, outcome: &AuthOutcome) {
        (**self).attempted(connection, outcome);
    }

    fn authenticated(&mut self, connection: &Connection) {
        (**self).authenticated(connection);
    }

    fn session(&mut self, session: Session) {
        (**self).session(session);
    }

    fn pty(&mut self, pty: &Pty) -> bool {
        (**self).pty(pty)
    }

    fn open(&mut self, open: ChannelOpen) {
        (**self).open(open);
    }

    fn request(&mut self, request: Request) {
        (**self).request(request);
    }

    fn global_request(&mut self, request: GlobalRequest) {
        (**self).global_request(request);
    }

    fn ended(&mut self, why: &Error) {
        (**self).ended(why);
    }
}
