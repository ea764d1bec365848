//! Connecting to whichever address of a host answers first; the core says which to try when.

use std::io;
use std::net::SocketAddr;

use konko_core::Time;
use konko_core::dial::{ConnectFailures, Dial, Step};
use mio::{Registry, Token};

use crate::socket::Socket;

/// The sockets that are on their way, all under the token of the connection that one of them is to
/// carry.
pub(crate) struct Dialing {
    dial: Dial,
    open: Vec<(SocketAddr, Socket)>,
    failed: ConnectFailures<io::Error>,
}

impl Dialing {
    pub(crate) fn new(dial: Dial) -> Self {
        Dialing { dial, open: Vec::new(), failed: ConnectFailures::default() }
    }

    /// Goes on. The socket that has connected, or when to come again at the latest; an error when
    /// every address has failed, which names each.
    pub(crate) fn advance(
        &mut self,
        now: Time,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Result<Socket, Option<Time>>> {
        for (address, mut socket) in std::mem::take(&mut self.open) {
            match socket.connected() {
                Ok(true) => return socket.register_again(registry, token).map(|()| Ok(socket)),
                Ok(false) => self.open.push((address, socket)),
                Err(e) => self.fail(address, e, now),
            }
        }
        loop {
            match self.dial.next(now) {
                Step::Start(address) => match Socket::connect(address, registry, token) {
                    Ok(socket) => self.open.push((address, socket)),
                    Err(e) => self.fail(address, e, now),
                },
                Step::Expired(address) => {
                    self.fail(address, io::Error::new(io::ErrorKind::TimedOut, "no answer"), now);
                }
                Step::Wait(until) => return Ok(Err(until)),
                Step::Over => return Err(self.error()),
            }
        }
    }

    fn fail(&mut self, address: SocketAddr, error: io::Error, now: Time) {
        self.dial.failed(address, now);
        self.open.retain(|(open, _)| *open != address);
        self.failed.attempts.push((address, error));
    }

    /// Its kind is the one that says most: a refusal is an answer.
    fn error(&mut self) -> io::Error {
        let failed = std::mem::take(&mut self.failed);
        let kinds = failed.attempts.iter().map(|(_, e)| e.kind());
        let kind = kinds.min_by_key(|kind| *kind != io::ErrorKind::ConnectionRefused);
        io::Error::new(kind.unwrap_or(io::ErrorKind::NotFound), failed)
    }
}
