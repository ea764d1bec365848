//! Keys are renewed in the middle of everything, and nobody notices.

use std::time::Duration;

use konko_core::channel::{ChannelRequest, DataStream, OpenKind};
use konko_core::client::{AuthRequest, Password};
use konko_core::crypto::Compression;
use konko_core::error::{Error, Phase, TimerKind};
use konko_core::msg;
use konko_core::transport::limits::RekeyLimit;
use konko_core::transport::negotiate::Role;
use konko_core::wire::SshStr;
use konko_core::*;
use konko_test::apps::{Host, Shell, all_methods, source_byte};
use konko_test::raw::{PASSWORD, Rig, strings};
use konko_test::{Pair, host_key, transport_config};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Client,
    Server,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Load {
    Idle,
    Up,
    Down,
    BothWays,
}

fn session(load: Load, size: usize, adjust: impl Fn(&mut TransportConfig)) -> Pair<Shell, Host> {
    let mut config = transport_config();
    adjust(&mut config);
    let mut server = ServerConfig::with_transport(config.clone(), vec![host_key()]);
    server.methods = all_methods();
    let input = || (0..size as u64).map(source_byte).collect();
    let shell = match load {
        Load::Idle => Shell::login([konko_test::apps::Proof::Password("wonderland")]),
        Load::Up => Shell::new("count").with_input(input()),
        Load::Down => Shell::new(&format!("source {size}")),
        Load::BothWays => Shell::new("echo").with_input(input()),
    };
    Pair::new(ClientConfig::new(config), server, (shell, Host::default()))
}

/// The same with windows so small that not much fits between two exchanges.
fn narrow(load: Load, size: usize, adjust: impl Fn(&mut TransportConfig)) -> Pair<Shell, Host> {
    let mut config = transport_config();
    adjust(&mut config);
    let window = channel::WindowConfig::new().initial(32 << 10).max(32 << 10).packet(4096);
    let mut server = ServerConfig::with_transport(config.clone(), vec![host_key()]);
    server.methods = all_methods();
    server.window = window;
    let mut client = ClientConfig::new(config);
    client.window = window;
    let wide = session(load, size, |_| {});
    Pair::new(client, server, (wide.client.app, Host::default()))
}

/// What the client must have read.
fn check(pair: &Pair<Shell, Host>, load: Load, size: usize) {
    let seen = &pair.client.app.seen;
    match load {
        Load::Idle => {}
        Load::Up => assert_eq!(seen.out, size.to_string().as_bytes()),
        _ => assert!(seen.out.iter().copied().eq((0..size as u64).map(source_byte))),
    }
    assert_eq!((&pair.client.result, &pair.server.result), (&None, &None));
}

fn zlib(config: &mut TransportConfig) {
    config.algorithms.set_compression(&[Compression::ZlibOpenssh]);
}

#[test]
fn u05_by_anybody_at_any_time_with_any_load() {
    for who in [Who::Client, Who::Server, Who::Both] {
        for load in [Load::Idle, Load::Up, Load::Down, Load::BothWays] {
            for compressed in [false, true] {
                for (chunk, size) in [(usize::MAX, 3_000_000), (1000, 300_000), (1, 3000)] {
                    let mut pair = session(load, size, |c| {
                        if compressed {
                            zlib(c);
                        }
                    });
                    pair.link.chunk = chunk;
                    pair.drive_until("login", |p| p.client.conn.is_authenticated());
                    let id = pair.client.conn.session_id().copied();
                    let mut asked = 0;
                    pair.drive_until("the channel", |p| load == Load::Idle || p.client.app.seen.opened);
                    while asked < 4 {
                        // Some steps between, so that it falls into the transfer at odd places.
                        for _ in 0..(1 + asked * 3) {
                            pair.step();
                        }
                        let over = pair.client.app.seen.closed;
                        if who != Who::Server {
                            pair.client.conn.rekey().unwrap();
                        }
                        if who != Who::Client {
                            pair.server.conn.rekey().unwrap();
                        }
                        asked += 1;
                        let (c, s) = (pair.client.conn.key_exchanges(), pair.server.conn.key_exchanges());
                        pair.drive_until("new keys", |p| {
                            p.client.conn.key_exchanges() > c && p.server.conn.key_exchanges() > s
                        });
                        if over || load == Load::Idle {
                            break;
                        }
                    }
                    if load != Load::Idle {
                        pair.drive_until("the end", |p| p.client.app.seen.closed);
                    }
                    check(&pair, load, size);
                    assert_eq!(pair.client.conn.session_id().copied(), id);
                    assert!(pair.client.app.rekeyed > 0 && pair.server.app.rekeyed > 0);
                }
            }
        }
    }
}

#[test]
fn u05_hundreds_of_exchanges_in_one_transfer() {
    for (load, compressed) in [(Load::Up, false), (Load::Down, false), (Load::BothWays, true)] {
        let size = 8 << 20;
        let mut pair = narrow(load, size, |c| {
            c.rekey.bytes = 16 * 1024;
            if compressed {
                zlib(c);
            }
        });
        pair.drive_until("the end", |p| p.client.app.seen.closed);
        check(&pair, load, size);
        // Each lets a window through at least; compressed, the same bytes are fewer.
        let most = if compressed { 10 } else { 100 };
        assert!(pair.client.app.rekeyed > most, "{} {load:?}", pair.client.app.rekeyed);
    }
}

#[test]
fn u05_after_so_many_packets_on_either_side() {
    for load in [Load::Up, Load::Down] {
        let mut pair = narrow(load, 4 << 20, |c| c.rekey.packets = 20);
        pair.drive_until("the end", |p| p.client.app.seen.closed);
        check(&pair, load, 4 << 20);
        assert!(pair.client.app.rekeyed > 30);
    }
}

#[test]
fn u05_after_an_hour_idle_or_not() {
    for keepalive in [None, Some(transport::Keepalive::default())] {
        let mut pair = session(Load::Idle, 0, |c| c.keepalive = keepalive);
        pair.drive_until("login", |p| p.client.conn.is_authenticated() && p.server.conn.is_authenticated());
        let start = pair.now;
        pair.drive_until("three", |p| p.client.app.rekeyed == 2 && p.server.app.rekeyed == 2);
        let hours = pair.now.since(start).as_secs_f64() / 3600.0;
        assert!((1.98..2.01).contains(&hours), "{hours}");
    }
}

#[test]
fn u05_the_last_words_of_a_channel_survive() {
    // Both sides want new keys at every place around EOF, exit status and CLOSE.
    for at in 0..12 {
        for who in [Who::Client, Who::Server, Who::Both] {
            let mut pair = session(Load::BothWays, 10, |_| {});
            pair.drive_until("login", |p| {
                p.client.conn.is_authenticated() && p.server.conn.is_authenticated()
            });
            for _ in 0..at {
                pair.step();
            }
            if who != Who::Server {
                pair.client.conn.rekey().unwrap();
            }
            if who != Who::Client {
                pair.server.conn.rekey().unwrap();
            }
            pair.drive_until("the end", |p| p.client.app.seen.closed);
            check(&pair, Load::BothWays, 10);
            assert_eq!((pair.client.app.seen.exit.as_deref(), pair.client.app.seen.eof), (Some("0"), true));
        }
    }
}

#[test]
fn u05_a_server_may_renew_keys_during_authentication() {
    // While our request is on its way, and while we have not asked yet.
    for asked in [false, true] {
        for zip in ["none", "zlib@openssh.com"] {
            let mut rig = Rig::new(Role::Client);
            rig.peer.offer.compression = [zip.into(), zip.into()];
            if !asked {
                rig.app.proofs.clear();
            }
            rig.service();
            if asked {
                rig.expect(50);
            }
            rig.peer.send_kexinit();
            rig.run();
            if !asked {
                // The gate is shut: the request waits, and not in clear.
                let password = Password::new(PASSWORD);
                rig.conn_client().authenticate("alice", AuthRequest::Password(&password)).unwrap();
            }
            rig.run();
            rig.expect(20);
            rig.peer.agree();
            rig.method();
            if !asked {
                rig.expect(50);
            }
            rig.peer.send_newkeys();
            rig.run();
            rig.send(&[52]);
            rig.peer.login_done();
            assert_eq!(rig.events_with("Authenticated"), 1);
            rig.send(&strings(192, &[b"in step"]));
            rig.expect(193);
        }
    }
}

#[test]
fn u38_between_our_kexinit_and_our_newkeys_only_the_exchange_leaves() {
    for role in [Role::Client, Role::Server] {
        let mut rig = Rig::new(role);
        rig.login();
        let (id, number) = rig.opened(1, 1 << 20, 1 << 15);
        let _ = rig.conn().rekey();
        rig.run();
        rig.expect(20);
        // Everything that would make it speak: data to credit, requests, globals, pings, calls.
        for _ in 0..50 {
            rig.peer.put(&msg::ChannelData::new(number, &[0; 30_000]));
            rig.peer.put(&msg::GlobalRequest::new(SshStr::new(b"x"), true, b""));
            rig.peer.put(&msg::ChannelRequest::new(number, SshStr::new(b"x"), true, b""));
            rig.peer.send(&strings(192, &[b"x"]));
        }
        rig.run();
        let _ = rig.conn().write(id, DataStream::Data, b"x");
        let _ = rig.conn().request(id, ChannelRequest::Break(1), WantReply::Yes);
        let _ = rig.conn().request_global("x", b"", WantReply::Yes);
        let _ = rig.conn().open(OpenKind::Session);
        let _ = rig.conn().send_eof(id);
        let _ = rig.conn().close_channel(id);
        rig.run();
        assert_eq!(rig.numbers(), [], "{role:?}");
        rig.peer.send_kexinit();
        rig.run();
        if role == Role::Server {
            assert_eq!(rig.numbers(), []);
        }
        rig.peer.agree();
        rig.method();
        rig.peer.send_newkeys();
        rig.run();
        let after = rig.numbers();
        assert!(after.contains(&98) && after.contains(&90) && after.ends_with(&[97]), "{after:?}");
        assert_eq!(after.iter().filter(|n| **n == 82).count(), 50);
    }
}

#[test]
fn u05_a_peer_that_stalls_in_an_exchange_is_named() {
    for role in [Role::Client, Role::Server] {
        for ours in [false, true] {
            let mut rig = Rig::new(role);
            rig.login();
            if ours {
                rig.conn().rekey().unwrap()
            } else {
                rig.peer.send_kexinit();
            }
            rig.run();
            rig.wait(Duration::from_millis(29_999));
            rig.assert_alive();
            rig.wait(Duration::from_millis(1));
            assert_eq!(rig.error, Some(Error::Timeout(TimerKind::KeyExchange, Phase::Connected)));
            assert!(rig.error.as_ref().unwrap().to_string().contains("key exchange"));
        }
    }
}

#[test]
fn the_default_limits_are_those_of_the_rfcs() {
    let limit = RekeyLimit::default();
    assert_eq!((limit.bytes, limit.packets, limit.time), (1 << 30, 1 << 31, Duration::from_secs(3600)));
}
