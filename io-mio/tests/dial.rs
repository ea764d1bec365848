//! Hosts with several addresses, some of which are dead.

mod support;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use konko_mio::core::{ClientAuth, ClientConnection, ClientEvent, Decision};
use konko_mio::{App, Closed, ConnId, Hub, Loop, Settings};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use support::{Counts, Server, alone, client_config, descriptors, server_config, wait};

/// What came of one connection.
#[derive(Default)]
struct Guest {
    /// Descriptors of this process when a server's key came.
    descriptors: Option<usize>,
    closed: Option<Closed>,
}

impl App for Guest {
    type Message = ();

    fn on_client_event(
        &mut self,
        _: ConnId,
        conn: &mut ClientConnection,
        event: ClientEvent<'_>,
        _: &mut Hub<()>,
    ) {
        if let ClientEvent::Auth(ClientAuth::HostKey(ticket)) = event {
            self.descriptors = Some(descriptors());
            conn.decide_host_key(ticket, Decision::Reject).unwrap();
        }
    }

    fn on_closed(&mut self, _: ConnId, why: Closed, hub: &mut Hub<()>) {
        self.closed = Some(why);
        hub.drain(Duration::ZERO);
    }
}

/// Connects to whichever answers, each with this many milliseconds.
fn dial(addresses: &[SocketAddr], timeout: u64) -> (Guest, Duration) {
    let connect_timeout = Duration::from_millis(timeout);
    let mut clients = Loop::new(Settings::new().connect_timeout(connect_timeout)).unwrap();
    clients.hub().connect_any(addresses.to_vec(), Arc::new(client_config())).unwrap();
    let (mut guest, start) = (Guest::default(), Instant::now());
    clients.run(&mut guest).unwrap();
    (guest, start.elapsed())
}

/// An address that answers nothing: its queue of connections is full. What fills it stays open.
fn silent() -> (SocketAddr, Vec<std::os::fd::OwnedFd>) {
    let socket = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap()
    };
    let listener = socket();
    rustix::net::bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = SocketAddr::try_from(rustix::net::getsockname(&listener).unwrap()).unwrap();
    let mut held = vec![listener];
    for _ in 0..8 {
        held.push(socket());
        let begun = rustix::net::connect(held.last().unwrap(), &address);
        assert!(matches!(begun, Ok(()) | Err(Errno::INPROGRESS)), "{begun:?}");
    }
    (address, held)
}

fn refusing() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn c19_a_dead_first_address_costs_a_loop_little() {
    let _alone = alone();
    let server = Server::start(server_config());
    let (dead, _held) = silent();
    let (straight, _) = dial(&[server.addr], 30_000);
    let (guest, took) = dial(&[dead, server.addr], 30_000);
    assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(10), "{took:?}");
    assert!(guest.descriptors.is_some(), "{:?}", guest.closed);
    assert_eq!(guest.descriptors, straight.descriptors, "the one that lost is closed");
    wait("both", || Counts::of(&server.counts.accepted) == 2);
    // One that is refused costs nothing, also after one that is silent.
    let (guest, took) = dial(&[refusing(), server.addr], 30_000);
    assert!(guest.descriptors.is_some() && took < Duration::from_secs(5), "{:?} {took:?}", guest.closed);
    let (guest, _) = dial(&[dead, refusing(), server.addr], 30_000);
    assert!(guest.descriptors.is_some(), "{:?}", guest.closed);
}

#[test]
fn c19_a_server_that_leaves_at_once_is_noticed_beside_a_refusal() {
    let _alone = alone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let leaving = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let (guest, took) = dial(&[refusing(), address], 30_000);
    leaving.join().unwrap();
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(matches!(guest.closed, Some(Closed::Error(_) | Closed::Io(_))), "{:?}", guest.closed);
}

#[test]
fn c19_a_loop_names_every_address_that_failed() {
    let _alone = alone();
    let (dead, _held) = silent();
    let (one, two) = (refusing(), refusing());
    let (guest, took) = dial(&[dead, one, two], 400);
    let Some(Closed::Io(error)) = guest.closed else { panic!("{:?}", guest.closed) };
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let text = error.to_string();
    for (address, why) in [(dead, "no answer"), (one, "refused"), (two, "refused")] {
        assert!(
            text.split("; ").any(|part| part.contains(&format!("{address}: ")) && part.contains(why)),
            "{text}"
        );
    }
    assert!(took < Duration::from_secs(10), "{took:?}");
    let (guest, _) = dial(&[dead], 300);
    assert!(matches!(&guest.closed, Some(Closed::Io(e)) if e.kind() == ErrorKind::TimedOut));
    let (guest, _) = dial(&[], 300);
    assert!(guest.closed.is_some_and(|why| why.to_string().contains("no address")));
}
