use super::auth::{AuthAttempt, KeyProbe};
use super::connection::Connection;
use super::request::{ChannelOpen, GlobalRequest, Request};
use super::session::Session;
use crate::channel::Pty;
use crate::error::Error;

/// What a server's application decides. One connection is one value.
///
/// The methods are called one after the other on the connection's own thread, and nothing else of
/// that connection moves meanwhile: be quick, or keep the ticket and answer it later, on this thread
/// or another. Calls that wait for the client, such as reading a channel or writing more than fits, fail
/// here with [`ErrorKind::WouldDeadlock`](crate::ErrorKind::WouldDeadlock). A ticket that is dropped says no, so a method that does nothing denies everything.
pub trait Handler: Send + 'static {
    /// A client offers proof of who it is. This is the one place that lets users in.
    fn authenticate(&mut self, attempt: AuthAttempt);

    /// A client asks whether it would help to sign with a key. Saying no spares it the signature;
    /// saying yes lets nobody in.
    fn key_probe(&mut self, probe: KeyProbe);

    /// The user is in; [`Connection::user`] says who. Ask for a session after this.
    fn authenticated(&mut self, connection: &Connection) {
        let _ = connection;
    }

    /// The client wants to run a program, a shell or a subsystem in a session. Environment and
    /// terminal were collected before.
    fn session(&mut self, session: Session) {
        session.refuse();
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
        request.refuse();
    }

    /// The client asks something that concerns no channel, such as `tcpip-forward`.
    fn global_request(&mut self, request: GlobalRequest) {
        request.refuse();
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
