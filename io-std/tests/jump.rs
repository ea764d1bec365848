//! A connection inside a channel of another one, without a socket of its own: the jump host in memory.
#![cfg(feature = "server")]

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use konko::core::channel::OpenFailure;
use konko::server::{
    AuthAttempt, ChannelKind, ChannelOpen, Connection, Credential, Handler, KeyProbe, Server, ServerOptions,
    Session, serve,
};
use konko::{Auth, Channel, Client, ClientOptions, Error, ErrorKind, HostKeys};

/// The host behind the jump host: a password of its own, and programs that say back what they read.
struct Inner;

impl Handler for Inner {
    fn authenticate(&mut self, attempt: AuthAttempt) {
        match attempt.credential() {
            Credential::Password(password) if password.expose() == b"inner" => attempt.accept(),
            _ => attempt.reject(),
        }
    }

    fn key_probe(&mut self, probe: KeyProbe) {
        probe.reject();
    }

    fn session(&mut self, session: Session) {
        let _ = session.run(|mut channel| {
            let mut bytes = [0; 10_000];
            loop {
                match channel.read(&mut bytes) {
                    Ok(0) => return 0u32,
                    Ok(n) if channel.write_all(&bytes[..n]).is_ok() => {}
                    _ => return 1,
                }
            }
        });
    }
}

/// The jump host: `inner` is behind it in memory, `silent` never says a word, `here` is served, and `asked` is logged in to, where that
/// cannot be waited for.
struct Jump {
    inner: ServerOptions,
    ended: Sender<Error>,
    silent: Vec<Channel>,
}

impl Handler for Jump {
    fn authenticate(&mut self, attempt: AuthAttempt) {
        attempt.accept();
    }

    fn key_probe(&mut self, probe: KeyProbe) {
        probe.reject();
    }

    fn open(&mut self, open: ChannelOpen) {
        let ChannelKind::DirectTcpip { host, .. } = open.kind() else { return };
        let (host, ended, inner) = (host.to_string(), self.ended.clone(), self.inner.clone());
        match &host[..] {
            "inner" => {
                let channel = open.accept().unwrap();
                std::thread::spawn(move || {
                    ended.send(serve(channel, inner, |_: &Connection| Inner).unwrap_err())
                });
            }
            "here" => {
                let channel = open.accept().unwrap();
                let _ = ended.send(serve(channel, inner, |_: &Connection| Inner).unwrap_err());
            }
            "asked" => {
                let channel = open.accept().unwrap();
                let _ = ended.send(Client::over(channel, "asked", 22, options()).unwrap_err());
            }
            "silent" => self.silent.push(open.accept().unwrap()),
            _ => open.reject(OpenFailure::CONNECT_FAILED, "no such host"),
        }
    }
}

/// A client of the jump host, and what becomes of the connections behind it.
fn jump() -> (Server, Client, Receiver<Error>) {
    let (ended, ends) = channel();
    let inner = ServerOptions::with_new_key().unwrap();
    let outer = ServerOptions::with_new_key().unwrap();
    let handler =
        move |_: &Connection| Jump { inner: inner.clone(), ended: ended.clone(), silent: Vec::new() };
    let server = Server::listen("127.0.0.1:0", outer, handler).unwrap();
    let client = Client::connect(server.local_addr(), options()).unwrap();
    client.login("jump", Auth::new().none()).unwrap();
    (server, client, ends)
}

fn options() -> ClientOptions {
    ClientOptions::new().host_keys(HostKeys::insecure_accept_any())
}

fn over(client: &Client, host: &str, options: ClientOptions) -> Result<Client, Error> {
    Client::over(client.direct_tcpip(host, 22)?, host, 22, options)
}

/// Sends `len` bytes to the host's program and reads them back at the same time.
fn echoes(client: &Client, len: usize) {
    let sent: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
    let session = client.session().unwrap();
    session.set_timeout(Some(Duration::from_secs(60)));
    session.shell().unwrap();
    let (mut writer, data) = (session.clone(), sent.clone());
    let writing = std::thread::spawn(move || {
        writer.write_all(&data).unwrap();
        writer.send_eof().unwrap();
    });
    let mut got = Vec::new();
    (&session).read_to_end(&mut got).unwrap();
    writing.join().unwrap();
    assert!(got == sent, "{} of {len} bytes came back", got.len());
    assert!(session.wait().unwrap().success());
}

#[test]
fn a_login_and_more_data_than_any_window_pass_through_a_channel() {
    let (_server, jump, _ends) = jump();
    let inner = over(&jump, "inner", options()).unwrap();
    assert_ne!(inner.host_key(), jump.host_key());
    assert!(inner.login("bob", Auth::new().password("jump")).is_err());
    inner.login("bob", Auth::new().password("inner")).unwrap();
    echoes(&inner, 100);
    // Both windows and all buffers are full many times over, in both directions at once.
    let [one, two] =
        [inner.clone(), inner.clone()].map(|inner| std::thread::spawn(move || echoes(&inner, 12 << 20)));
    one.join().unwrap();
    two.join().unwrap();
    // Keys are renewed inside and outside while data flows.
    jump.rekey().unwrap();
    inner.rekey().unwrap();
    echoes(&inner, 1 << 20);
}

#[test]
fn either_end_ends_the_inner_connection_and_only_that() {
    let (_server, jump, ends) = jump();
    let inner = over(&jump, "inner", options()).unwrap();
    inner.login("bob", Auth::new().password("inner")).unwrap();
    inner.disconnect();
    assert!(matches!(inner.wait_closed().kind(), ErrorKind::Usage(_) | ErrorKind::Ssh(_)));
    // The far side hears of it by the inner protocol, not because its channel was cut.
    let why = ends.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(matches!(why.kind(), ErrorKind::Ssh(konko::core::Error::Disconnected(_))), "{why}");
    drop(inner);

    let inner = over(&jump, "inner", options()).unwrap();
    inner.login("bob", Auth::new().password("inner")).unwrap();
    let blocked = inner.session().unwrap();
    blocked.shell().unwrap();
    let reader = std::thread::spawn(move || (&blocked).read(&mut [0; 10]));
    // The connection around it goes, and with it everything inside.
    jump.disconnect();
    assert!(reader.join().unwrap().is_err());
    assert!(!inner.wait_closed().is_timeout());
    ends.recv_timeout(Duration::from_secs(20)).unwrap();
}

#[test]
fn dropping_every_handle_of_the_inner_connection_closes_its_channel() {
    let (server, jump, ends) = jump();
    let inner = over(&jump, "inner", options()).unwrap();
    drop(inner);
    ends.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(jump.is_connected());
    // Its handle of the outer connection goes with it, so that this ends too.
    drop(jump);
    let until = Instant::now() + Duration::from_secs(20);
    while !server.connections().is_empty() {
        assert!(Instant::now() < until, "the outer connection is still there");
        std::thread::yield_now();
    }
}

#[test]
fn times_of_the_inner_connection_are_its_own() {
    let (_server, jump, _ends) = jump();
    let started = Instant::now();
    let error =
        over(&jump, "silent", options().handshake_timeout(Some(Duration::from_millis(300)))).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert!(started.elapsed() >= Duration::from_millis(150));
    assert!(jump.is_connected());
    let refused = over(&jump, "nowhere", options()).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::OpenRefused(OpenFailure::CONNECT_FAILED, _)), "{refused}");
}

#[test]
fn the_thread_that_moves_the_channel_cannot_wait_for_it() {
    let (_server, jump, ends) = jump();
    // An error at once rather than a wait for ever.
    assert!(over(&jump, "here", options()).is_err());
    let why = ends.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(std::io::Error::from(why).kind(), std::io::ErrorKind::Deadlock);
    // Nor for what another thread does with it: here it is the inner reader that would wait for this one.
    assert!(over(&jump, "asked", options()).is_err());
    let why = ends.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(matches!(why.kind(), ErrorKind::WouldDeadlock(_)), "{why}");
    // That thread goes on as before.
    let inner = over(&jump, "inner", options()).unwrap();
    inner.login("bob", Auth::new().password("inner")).unwrap();
    echoes(&inner, 100);
}

#[test]
fn reading_without_waiting_tells_nothing_yet_from_the_end() {
    let (_server, jump, _ends) = jump();
    let inner = over(&jump, "inner", options()).unwrap();
    inner.login("bob", Auth::new().password("inner")).unwrap();
    let mut session = inner.session().unwrap();
    session.shell().unwrap();
    let mut bytes = [0; 16];
    let nothing = |e: &std::io::Error| e.kind() == std::io::ErrorKind::WouldBlock;
    assert!(nothing(&session.try_read(&mut bytes).unwrap_err()));
    assert!(nothing(&session.stderr().try_read(&mut bytes).unwrap_err()));
    session.write_all(b"here").unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let mut read = |session: &Channel| loop {
        match session.try_read(&mut bytes) {
            Ok(n) => return bytes[..n].to_vec(),
            Err(e) if nothing(&e) => assert!(Instant::now() < until, "nothing came"),
            Err(e) => panic!("{e}"),
        }
        std::thread::yield_now();
    };
    assert_eq!(read(&session), b"here");
    session.send_eof().unwrap();
    assert_eq!(read(&session), b"");
    assert_eq!(read(&session), b"");
}
