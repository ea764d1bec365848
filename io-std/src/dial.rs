//! Connecting to whichever address of a host answers first; the core says which to try when.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use konko_core::dial::{Dial, Step};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};

use crate::notice::Notice;
use crate::shared::Deadline;

/// What became of each address that was tried. It is what the [`io::Error`] of
/// [`ErrorKind::Connect`](crate::ErrorKind::Connect) holds.
pub type ConnectFailures = konko_core::dial::ConnectFailures<io::Error>;

/// A connection to the first of the addresses that answers, from `bind` if that is said. `timeout` is for each of
/// them.
pub(crate) fn connect(
    addresses: Vec<SocketAddr>,
    bind: Option<IpAddr>,
    timeout: Option<Duration>,
    deadline: Deadline,
    notice: &dyn Fn(Notice),
) -> io::Result<TcpStream> {
    let now = crate::clock();
    let mut dial = Dial::new(addresses, timeout);
    let mut attempts = Attempts { open: Vec::new(), failed: Vec::new(), notice };
    loop {
        match dial.next(now()) {
            Step::Start(address) => {
                notice(Notice::Connecting(address));
                match begin(address, bind) {
                    Ok(socket) => attempts.open.push((address, socket)),
                    Err(e) => {
                        attempts.fail(address, e);
                        dial.failed(address, now());
                    }
                }
            }
            Step::Expired(address) => attempts.fail(address, no_answer()),
            Step::Wait(_) if deadline.passed() => {
                for (address, _) in std::mem::take(&mut attempts.open) {
                    attempts.fail(address, no_answer());
                }
                return Err(attempts.error());
            }
            Step::Wait(until) => {
                let left = until.map(|until| until.since(now()));
                let left = left.into_iter().chain(deadline.left()).min();
                match attempts.wait(left)? {
                    Some((address, Ok(socket))) => {
                        notice(Notice::Connected(address));
                        return Ok(socket);
                    }
                    Some((address, Err(e))) => {
                        attempts.fail(address, e);
                        dial.failed(address, now());
                    }
                    None => {}
                }
            }
            Step::Over => return Err(attempts.error()),
        }
    }
}

fn no_answer() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer")
}

struct Attempts<'a> {
    open: Vec<(SocketAddr, OwnedFd)>,
    failed: Vec<(SocketAddr, io::Error)>,
    notice: &'a dyn Fn(Notice),
}

impl Attempts<'_> {
    fn fail(&mut self, address: SocketAddr, error: io::Error) {
        (self.notice)(Notice::NotConnected(address, error.to_string()));
        self.open.retain(|(open, _)| *open != address);
        self.failed.push((address, error));
    }

    /// Its kind is the one that says most: somebody answered, something else is wrong, nobody answered.
    fn error(self) -> io::Error {
        let rank = |kind: &io::ErrorKind| match kind {
            io::ErrorKind::ConnectionRefused => 0,
            io::ErrorKind::TimedOut => 2,
            _ => 1,
        };
        let kind = self.failed.iter().map(|(_, e)| e.kind()).min_by_key(rank);
        io::Error::new(kind.unwrap_or(io::ErrorKind::NotFound), ConnectFailures { attempts: self.failed })
    }

    /// Waits until one of the attempts is over, or for `left`.
    fn wait(&mut self, left: Option<Duration>) -> io::Result<Option<(SocketAddr, io::Result<TcpStream>)>> {
        // What is left is rounded up, so that no time is spent in a circle.
        let left = left.map(|left| left + Duration::from_millis(1));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds: Vec<_> =
            self.open.iter().map(|(_, socket)| PollFd::new(socket, PollFlags::OUT)).collect();
        match rustix::event::poll(&mut fds, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let Some(at) = fds.iter().position(|fd| !fd.revents().is_empty()) else { return Ok(None) };
        let (address, socket) = self.open.swap_remove(at);
        let result = match rustix::net::sockopt::socket_error(&socket) {
            Ok(Ok(())) => Ok(TcpStream::from(socket)),
            Ok(Err(e)) | Err(e) => Err(e.into()),
        };
        Ok(Some((address, result)))
    }
}

/// Begins to connect, without waiting.
fn begin(address: SocketAddr, bind: Option<IpAddr>) -> io::Result<OwnedFd> {
    let socket = socket(if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 })?;
    if let Some(own) = bind {
        rustix::net::bind(&socket, &SocketAddr::new(own, 0))?;
    }
    match rustix::net::connect(&socket, &address) {
        // Interrupted, it goes on all the same.
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        Err(e) => Err(e.into()),
    }
}

#[cfg(not(target_vendor = "apple"))]
fn socket(family: AddressFamily) -> io::Result<OwnedFd> {
    use rustix::net::{SocketFlags, socket_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(family, SocketType::STREAM, flags, None)?)
}

#[cfg(target_vendor = "apple")]
fn socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::sync::Mutex;

    /// An address that answers nothing: its queue of connections is full. What fills it stays open.
    fn silent() -> (SocketAddr, OwnedFd, Vec<OwnedFd>) {
        let listener = socket(AddressFamily::INET).unwrap();
        rustix::net::bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let address = SocketAddr::try_from(rustix::net::getsockname(&listener).unwrap()).unwrap();
        let held = (0..8).map(|_| begin(address, None).unwrap()).collect();
        (address, listener, held)
    }

    fn refusing() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    fn dial(
        addresses: &[SocketAddr],
        timeout: u64,
        deadline: u64,
    ) -> (io::Result<SocketAddr>, Vec<String>, Duration) {
        let start = std::time::Instant::now();
        let said = Mutex::new(Vec::new());
        let notice = |notice: Notice| said.lock().unwrap().push(notice.to_string());
        let deadline = Deadline::after(Some(Duration::from_millis(deadline)));
        let result =
            connect(addresses.to_vec(), None, Some(Duration::from_millis(timeout)), deadline, &notice);
        let result = result.map(|socket| socket.peer_addr().unwrap());
        (result, said.into_inner().unwrap(), start.elapsed())
    }

    #[test]
    fn c19_a_dead_first_address_costs_little() {
        let (dead, _listener, _held) = silent();
        let alive = TcpListener::bind("127.0.0.1:0").unwrap();
        let (result, said, took) = dial(&[dead, alive.local_addr().unwrap()], 30_000, 60_000);
        assert_eq!(result.unwrap(), alive.local_addr().unwrap(), "{said:?}");
        assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(10), "{took:?}");
        let (result, said, _) = dial(&[refusing(), dead, alive.local_addr().unwrap()], 30_000, 60_000);
        assert!(result.is_ok() && said[1].contains("no connection"), "{said:?}");
    }

    #[test]
    fn c19_the_error_names_every_address() {
        let (dead, _listener, _held) = silent();
        let (one, two) = (refusing(), refusing());
        for (timeout, deadline) in [(400, 60_000), (30_000, 900)] {
            let (result, said, took) = dial(&[dead, one, two], timeout, deadline);
            let error = result.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            let text = error.to_string();
            for address in [dead, one, two] {
                assert!(text.contains(&address.to_string()), "{text}");
            }
            assert!(text.contains("no answer") && text.contains("refused"), "{text}");
            assert_eq!(said.len(), 6, "{said:?}");
            assert!(took < Duration::from_secs(20), "{took:?}");
        }
        let (result, ..) = dial(&[dead], 300, 60_000);
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
