use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use konko_core::channel::OpenFailure;
use konko_core::error::{EndedBy, Phase, UsageError};
use konko_core::login::AuthFailure;

use konko_core::hosts::HostKeyProblem;

/// Why something failed: what, with whom, in which phase, and what to do about it.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    peer: Arc<str>,
}

/// The kinds of [`Error`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The host name has no address.
    Resolve(Arc<io::Error>),
    /// No TCP connection came about. Where addresses were tried, it holds
    /// [`ConnectFailures`](crate::ConnectFailures): what became of each.
    Connect(Arc<io::Error>),
    /// Reading from or writing to the peer failed.
    Io(Arc<io::Error>, Phase),
    /// The protocol ended the connection.
    Ssh(konko_core::Error),
    /// The host key is not one to trust.
    HostKey(Box<HostKeyProblem>),
    /// The server let nobody in.
    Auth(Box<AuthFailure>),
    /// A call took longer than it may.
    Timeout {
        /// What was awaited.
        awaited: &'static str,
        /// How long.
        after: Duration,
        /// Where the connection was.
        phase: Phase,
    },
    /// The server refused to open a channel: why, and its text, escaped.
    OpenRefused(OpenFailure, String),
    /// The server refused a request of a channel: which one.
    RequestRefused(&'static str),
    /// The channel was closed.
    ChannelClosed,
    /// A [`Cancel`](crate::Cancel) has ended it.
    Cancelled,
    /// The session has its program already: RFC 4254 §6.5 lets it run one.
    ProgramStarted,
    /// The call would wait for ever: it was made on the connection's own thread, by a handler of the
    /// server or from a notice, and what it waits for comes by that thread. Make it on another one.
    WouldDeadlock(&'static str),
    /// The call made no sense.
    Usage(UsageError),
    /// An SFTP operation.
    Sftp(Box<crate::sftp::Error>),
    /// Something on this machine: a file, a key, an option. The text says what.
    Local(String),
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, peer: &Arc<str>) -> Self {
        Error(Box::new(Inner { kind, peer: Arc::clone(peer) }))
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The peer, `host:port`.
    pub fn peer(&self) -> &str {
        &self.0.peer
    }

    /// Where the connection was; `None` when there was none yet.
    pub fn phase(&self) -> Option<Phase> {
        match self.kind() {
            ErrorKind::Io(_, phase) | ErrorKind::Timeout { phase, .. } => Some(*phase),
            ErrorKind::Ssh(konko_core::Error::Peer(e)) => Some(e.phase()),
            ErrorKind::Ssh(konko_core::Error::Timeout(_, phase)) => Some(*phase),
            ErrorKind::Ssh(konko_core::Error::Disconnected(d)) => Some(d.phase),
            ErrorKind::HostKey(_) => Some(Phase::KeyExchange),
            ErrorKind::Auth(_) => Some(Phase::Authentication),
            _ => None,
        }
    }

    /// Whether a deadline ran out.
    pub fn is_timeout(&self) -> bool {
        match self.kind() {
            ErrorKind::Timeout { .. } | ErrorKind::Ssh(konko_core::Error::Timeout(..)) => true,
            ErrorKind::Connect(e) | ErrorKind::Io(e, _) => e.kind() == io::ErrorKind::TimedOut,
            _ => false,
        }
    }

    fn io_kind(&self) -> io::ErrorKind {
        match self.kind() {
            _ if self.is_timeout() => io::ErrorKind::TimedOut,
            ErrorKind::Resolve(e) | ErrorKind::Connect(e) | ErrorKind::Io(e, _) => e.kind(),
            ErrorKind::HostKey(_) | ErrorKind::Auth(_) => io::ErrorKind::PermissionDenied,
            ErrorKind::Sftp(error) => crate::sftp::io_kind(error),
            ErrorKind::ChannelClosed => io::ErrorKind::BrokenPipe,
            // Not `Interrupted`: the standard library's copies would try again, for ever.
            ErrorKind::Cancelled => io::ErrorKind::ConnectionAborted,
            ErrorKind::WouldDeadlock(_) => io::ErrorKind::Deadlock,
            ErrorKind::Ssh(konko_core::Error::Disconnected(d)) if d.by != EndedBy::Us => {
                io::ErrorKind::ConnectionReset
            }
            ErrorKind::Ssh(_) => io::ErrorKind::ConnectionAborted,
            _ => io::ErrorKind::Other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !matches!(self.kind(), ErrorKind::Local(_) | ErrorKind::Sftp(_)) {
            write!(f, "{}: ", konko_core::wire::SshStr::new(self.0.peer.as_bytes()))?;
        }
        self.kind().fmt(f)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::Resolve(e) => write!(f, "the host name has no address: {e}"),
            ErrorKind::Connect(e) => {
                write!(f, "connecting failed: {e}")?;
                match e.kind() {
                    io::ErrorKind::ConnectionRefused => {
                        f.write_str(" (nothing listens there; is it the right port?)")
                    }
                    io::ErrorKind::TimedOut => f.write_str(" (no answer; a firewall, or the host is down)"),
                    _ => Ok(()),
                }
            }
            ErrorKind::Io(e, phase) => write!(f, "{phase}: {e}"),
            ErrorKind::Ssh(e) => write!(f, "{e}"),
            ErrorKind::HostKey(problem) => write!(f, "{problem}"),
            ErrorKind::Auth(failure) => write!(f, "{failure}"),
            ErrorKind::Timeout { awaited, after, phase } => {
                write!(f, "{phase}: timed out after {after:?}; {awaited} did not come")
            }
            ErrorKind::OpenRefused(why, text) => {
                write!(f, "the peer refused to open a channel: {} ({text})", why.name())
            }
            ErrorKind::RequestRefused(what) => write!(f, "the peer refused the request: {what}"),
            ErrorKind::ProgramStarted => {
                f.write_str("this session has run a program already: open another session for the next one")
            }
            ErrorKind::ChannelClosed => write!(f, "the channel is closed"),
            ErrorKind::Cancelled => f.write_str("cancelled"),
            ErrorKind::WouldDeadlock(awaited) => {
                write!(f, "this thread drives the connection and cannot wait for {awaited}; use another")
            }
            ErrorKind::Usage(UsageError::NotAuthenticated) => {
                f.write_str("nobody is logged in yet: call login first")
            }
            ErrorKind::Usage(e) => write!(f, "{e}"),
            ErrorKind::Sftp(e) => write!(f, "{e}"),
            ErrorKind::Local(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self})")
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.kind() {
            ErrorKind::Resolve(e) | ErrorKind::Connect(e) | ErrorKind::Io(e, _) => Some(&**e),
            ErrorKind::Ssh(e) => Some(e),
            ErrorKind::Usage(e) => Some(e),
            ErrorKind::Sftp(e) => Some(&**e),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::new(error.io_kind(), error)
    }
}
