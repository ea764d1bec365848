//! One connection, whichever role it has: what anybody can write who serves both.

use std::sync::Arc;

use konko_core::auth::Method;
use konko_core::channel::{
    ChannelEvent, ChannelId, ChannelRequest, DataStream, Exit, GlobalRequestRef, OpenFailure, OpenKind,
    PtyModes, PtyRequest,
};
use konko_core::client::{AuthRequest, Password};
use konko_core::keys::{KeyPair, KeyType, PrivateKey};
use konko_core::server::{AuthDecision, Credential};
use konko_core::transport::negotiate::Role;
use konko_core::wire::SshStr;
use konko_core::*;

/// A connection with its input, whichever role it has.
struct End<S: Side> {
    conn: Connection<S>,
    rx: RxBuf,
}

impl<S: Side> End<S> {
    fn new(conn: Connection<S>) -> Self {
        End { conn, rx: RxBuf::new() }
    }

    /// Tells everything that can happen now.
    fn drain(&mut self, mut app: impl for<'b> FnMut(&mut Connection<S>, EventOf<'b, S>)) {
        while let Step::Event(event) = self.conn.poll(Time::ZERO, &mut self.rx).unwrap() {
            app(&mut self.conn, event);
        }
    }
}

/// Moves what is to be sent; the types may differ, and need not be known.
fn carry(from: &mut Connection<dyn Side>, to: &mut RxBuf) {
    let tx = from.tx();
    to.push(tx.pending());
    let all = tx.len();
    tx.consume(all);
}

/// Says the same on a channel of either role.
fn say(conn: &mut Connection<dyn Side>, channel: ChannelId) {
    let text: &[u8] = if conn.role() == Role::Client { b"from the client" } else { b"from the server" };
    assert_eq!(conn.write(channel, DataStream::Data, text), Ok(text.len()));
}

fn key() -> Arc<KeyPair> {
    let key = PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&Seed::new([3; 32]))).unwrap();
    Arc::new(key.key_pair(provider::rustcrypto()).unwrap())
}

fn ends() -> (End<client::ClientSide>, End<server::ServerSide>) {
    let transport = || TransportConfig::new(provider::rustcrypto());
    let client =
        ClientConnection::new(Arc::new(ClientConfig::new(transport())), Seed::new([1; 32]), Time::ZERO);
    let server = ServerConnection::new(
        Arc::new(ServerConfig::new(transport(), vec![key()])),
        Seed::new([2; 32]),
        Time::ZERO,
    );
    (End::new(client), End::new(server))
}

/// Lets both talk until nothing moves any more.
fn talk(
    client: &mut End<client::ClientSide>,
    server: &mut End<server::ServerSide>,
    mut on_client: impl for<'b> FnMut(&mut ClientConnection, ClientEvent<'b>),
    mut on_server: impl for<'b> FnMut(&mut ServerConnection, ServerEvent<'b>),
) {
    for _ in 0..20 {
        client.drain(&mut on_client);
        server.drain(&mut on_server);
        carry(&mut client.conn, &mut server.rx);
        carry(&mut server.conn, &mut client.rx);
    }
}

fn log_in(conn: &mut ClientConnection, event: ClientEvent<'_>, method: AuthRequest<'_>) {
    match event {
        Event::Auth(ClientAuth::HostKey(ticket)) => conn.decide_host_key(ticket, Decision::Accept).unwrap(),
        Event::Auth(ClientAuth::Needed { .. }) => conn.authenticate("alice", method).unwrap(),
        _ => {}
    }
}

#[test]
fn what_serves_both_roles_is_written_once() {
    let (mut client, mut server) = ends();
    let (mut heard, mut channels) = (Vec::new(), Vec::new());
    let password = Password::new("wonderland");
    talk(
        &mut client,
        &mut server,
        |conn, event| match event {
            Event::Authenticated { .. } => drop(conn.open(OpenKind::Session).unwrap()),
            Event::Opened(channel) => say(conn, channel),
            Event::Channel(_, ChannelEvent::Data { data, .. }) => heard.push(data.to_vec()),
            event => log_in(conn, event, AuthRequest::Password(&password)),
        },
        |conn, event| match event {
            Event::Auth(ServerAuth::Attempt { ticket, credential, .. }) => {
                assert_eq!(credential, Credential::Password(b"wonderland"));
                assert_ne!(credential, Credential::Password(b"wonderlanD"));
                conn.decide_auth(ticket, AuthDecision::Accept).unwrap();
            }
            Event::Open { ticket, kind: OpenKind::Session } => {
                channels.push(conn.accept_channel(ticket).unwrap())
            }
            Event::Channel(id, ChannelEvent::Data { data, .. }) => {
                assert_eq!(data, b"from the client");
                say(conn, id);
            }
            _ => {}
        },
    );
    assert_eq!(heard, [b"from the server"]);
    assert_eq!(channels.len(), 1);

    // Kept side by side, with nothing but what both have in common.
    let both: [Box<Connection<dyn Side>>; 2] = [Box::new(client.conn), Box::new(server.conn)];
    for conn in both {
        assert!(conn.is_authenticated());
        assert_eq!((conn.open_channels(), conn.key_exchanges()), (1, 1));
        assert_eq!(conn.host_key(), Some(key().public()));
    }
}

#[test]
fn events_are_compared_as_values() {
    let (mut client, mut server) = ends();
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let password = Password::new("wonderland");
    talk(
        &mut client,
        &mut server,
        |conn, event| {
            up.push(event == Event::Negotiated);
            log_in(conn, event, AuthRequest::Password(&password));
        },
        |_, event| down.push(event == Event::Negotiated),
    );
    assert_eq!((&up[..], &down[..]), (&[true, false, false][..], &[true, false][..]));

    let exit = |n| ClientEvent::Channel(client_channel(), ChannelEvent::Exit(Exit::Status(n)));
    assert_eq!(exit(3), exit(3));
    assert_ne!(exit(3), exit(4));
    let exec =
        |command| ChannelEvent::Request { ticket: None, request: ChannelRequest::Exec(SshStr::new(command)) };
    assert_eq!(exec(b"ls"), exec(b"ls"));
    assert_ne!(exec(b"ls"), ChannelEvent::Closed);
}

/// Some channel.
fn client_channel() -> ChannelId {
    let (mut client, mut server) = ends();
    let (mut channel, password) = (None, Password::new("x"));
    talk(
        &mut client,
        &mut server,
        |conn, event| match event {
            Event::Authenticated { .. } => channel = conn.open(OpenKind::Session).ok(),
            event => log_in(conn, event, AuthRequest::Password(&password)),
        },
        |conn, event| {
            if let Event::Auth(ServerAuth::Attempt { ticket, .. }) = event {
                conn.decide_auth(ticket, AuthDecision::Accept).unwrap();
            }
        },
    );
    channel.unwrap()
}

/// Both sides say how the user came in, and both know when that took no proof.
#[test]
fn both_sides_tell_whether_any_proof_was_asked_for() {
    let password = Password::new("wonderland");
    for (proof, method, trivial) in
        [(AuthRequest::None, Method::None, true), (AuthRequest::Password(&password), Method::Password, false)]
    {
        let (mut client, mut server) = ends();
        let (mut up, mut down) = (None, None);
        talk(
            &mut client,
            &mut server,
            |conn, event| match event {
                Event::Authenticated { method, trivial } => up = Some((method, trivial)),
                event => log_in(conn, event, proof.clone()),
            },
            |conn, event| match event {
                Event::Authenticated { method, trivial } => down = Some((method, trivial)),
                Event::Auth(ServerAuth::Attempt { ticket, .. }) => {
                    conn.decide_auth(ticket, AuthDecision::Accept).unwrap();
                }
                _ => {}
            },
        );
        assert_eq!((up, down), (Some((method, trivial)), Some((method, trivial))));
    }
}

/// Two ends whose user is in.
fn logged_in() -> (End<client::ClientSide>, End<server::ServerSide>) {
    let (mut client, mut server) = ends();
    let password = Password::new("wonderland");
    talk(
        &mut client,
        &mut server,
        |conn, event| log_in(conn, event, AuthRequest::Password(&password)),
        |conn, event| {
            if let Event::Auth(ServerAuth::Attempt { ticket, .. }) = event {
                conn.decide_auth(ticket, AuthDecision::Accept).unwrap();
            }
        },
    );
    (client, server)
}

/// A message is read once: what the application is told stands where the reader found it.
#[test]
fn what_one_side_asks_is_what_the_other_is_told() {
    let text = SshStr::new;
    let pty = PtyRequest {
        term: text(b"xterm"),
        columns: 80,
        rows: 24,
        width: 1,
        height: 2,
        modes: PtyModes::new(b"\x35\0\0\0\x09\0"),
    };
    let requests = [
        ChannelRequest::Pty(pty),
        ChannelRequest::Env { name: text(b"LANG"), value: text(b"eo") },
        ChannelRequest::Env { name: text(b"EMPTY"), value: text(b"") },
        ChannelRequest::Shell,
        ChannelRequest::Exec(text(b"ls -l \xff")),
        ChannelRequest::Subsystem(text(b"sftp")),
        ChannelRequest::WindowChange { columns: 1, rows: 2, width: 3, height: 4 },
        ChannelRequest::Signal(text(b"TERM")),
        ChannelRequest::Break(500),
        ChannelRequest::Eow,
        ChannelRequest::AuthAgent,
        ChannelRequest::Other { kind: text(b"a@b"), fields: b"\0\x01" },
    ];
    let (mut client, mut server) = logged_in();
    for request in requests {
        let channel = client.conn.open(OpenKind::Session).unwrap();
        client.conn.request(channel, request, WantReply::No).unwrap_err();
        let mut there = None;
        let mut told = 0;
        for _ in 0..3 {
            carry(&mut client.conn, &mut server.rx);
            server.drain(|conn, event| match event {
                Event::Open { ticket, kind } => {
                    assert_eq!(kind, OpenKind::Session);
                    there = conn.accept_channel(ticket).ok();
                }
                event => {
                    let expected = ChannelEvent::Request { ticket: None, request };
                    assert_eq!(event, Event::Channel(there.unwrap(), expected));
                    told += 1;
                }
            });
            carry(&mut server.conn, &mut client.rx);
            client.drain(|conn, event| {
                assert_eq!(event, Event::Opened(channel));
                conn.request(channel, request, WantReply::No).unwrap();
            });
        }
        assert_eq!(told, 1, "{request:?}");
    }
}

#[test]
fn what_is_opened_refused_and_said_at_the_end_arrives_as_it_was() {
    let text = SshStr::new;
    let (mut client, mut server) = logged_in();
    for (kind, from_client) in [
        (
            OpenKind::DirectTcpip {
                host: text(b"inner"),
                port: 22,
                originator: text(b"::1"),
                originator_port: 9,
            },
            true,
        ),
        (
            OpenKind::ForwardedTcpip {
                host: text(b""),
                port: 80,
                originator: text(b"10.0.0.1"),
                originator_port: 7,
            },
            false,
        ),
        (OpenKind::Other { kind: text(b"x@y"), fields: b"fields" }, true),
        (OpenKind::Other { kind: text(b"x@y"), fields: b"" }, false),
    ] {
        let here: &mut Connection<dyn Side> = if from_client { &mut client.conn } else { &mut server.conn };
        let id = here.open(kind).unwrap();
        let (mut asked, mut answered) = (0, 0);
        for _ in 0..3 {
            carry(&mut client.conn, &mut server.rx);
            carry(&mut server.conn, &mut client.rx);
            client.drain(|conn, event| refuse(conn, event, kind, id, &mut asked, &mut answered));
            server.drain(|conn, event| refuse(conn, event, kind, id, &mut asked, &mut answered));
        }
        assert_eq!((asked, answered), (1, 1), "{kind:?}");
    }

    client.conn.request_global("ask@us", b"of this", WantReply::Yes).unwrap();
    let (signal, message) = (text(b"KILL"), text(b"no memory"));
    let exits =
        [ChannelRequest::ExitStatus(7), ChannelRequest::ExitSignal { signal, core_dumped: true, message }];
    let (mut exits, mut said) = (exits.into_iter(), 0);
    let expected = [Exit::Status(7), Exit::Signal { signal, core_dumped: true, message }];
    client.conn.open(OpenKind::Session).unwrap();
    client.conn.open(OpenKind::Session).unwrap();
    talk(
        &mut client,
        &mut server,
        |_, event| match event {
            Event::Channel(_, ChannelEvent::Exit(exit)) => {
                assert_eq!(exit, expected[said]);
                said += 1;
            }
            Event::GlobalReply { ok: true, fields } => assert_eq!(fields, 4000u32.to_be_bytes()),
            event => assert!(matches!(event, Event::Opened(_)), "{event:?}"),
        },
        |conn, event| match event {
            Event::Open { ticket, .. } => {
                let id = conn.accept_channel(ticket).unwrap();
                conn.request(id, exits.next().unwrap(), WantReply::No).unwrap();
            }
            Event::GlobalRequest { ticket: Some(ticket), request } => {
                assert_eq!(request, GlobalRequestRef { name: text(b"ask@us"), fields: b"of this" });
                conn.reply_global(ticket, Decision::Accept, Some(4000)).unwrap();
            }
            event => panic!("{event:?}"),
        },
    );
    assert_eq!(said, 2);
}

/// Refuses what the other opens, and looks at the answer to what it opened itself.
fn refuse<A: std::fmt::Debug>(
    conn: &mut Connection<dyn Side>,
    event: Event<'_, A>,
    expected: OpenKind<'_>,
    opened: ChannelId,
    asked: &mut u32,
    answered: &mut u32,
) {
    match event {
        Event::Open { ticket, kind } => {
            assert_eq!(kind, expected);
            conn.reject_channel(ticket, OpenFailure::CONNECT_FAILED, "no such way").unwrap();
            *asked += 1;
        }
        Event::OpenFailed { channel, why, text } => {
            assert_eq!((channel, why), (opened, OpenFailure::CONNECT_FAILED));
            assert_eq!(text.to_str(), Some("no such way"));
            *answered += 1;
        }
        event => panic!("{event:?}"),
    }
}
