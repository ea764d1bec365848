//! Silence and broken links end in the named error, at the right time, in every state.

use std::time::Duration;

use konko_core::channel::ChannelRequest;
use konko_core::error::{EndedBy, Error, Fault, Phase, TimerKind};
use konko_core::msg;
use konko_core::transport::Keepalive;
use konko_core::transport::negotiate::{Policy, Role};
use konko_core::wire::SshStr;
use konko_core::{Blocked, Connection, Decision, RxBuf, ServerConfig, Side, Step, Time, WantReply};
use konko_test::apps::{Host, Shell, all_methods};
use konko_test::raw::rig::{Proof, server_config, transport};
use konko_test::raw::{Rig, strings};
use konko_test::{Pair, host_key, transport_config};

const ROLES: [Role; 2] = [Role::Client, Role::Server];

type Make = fn(&mut Rig);

/// Seconds of silence, and how they end.
type End = Option<(u64, TimerKind, Phase)>;

/// States of a connection, and the timer that ends silence in each: for a client and a server.
const STATES: [(&str, Make, End, End); 8] = [
    (
        "nothing",
        |_| (),
        Some((30, TimerKind::Ident, Phase::Ident)),
        Some((30, TimerKind::Ident, Phase::Ident)),
    ),
    (
        "ident",
        |r| r.peer.send_ident(),
        Some((30, TimerKind::KeyExchange, Phase::KeyExchange)),
        Some((30, TimerKind::KeyExchange, Phase::KeyExchange)),
    ),
    (
        "kexinit",
        |r| {
            r.kexinit();
        },
        Some((30, TimerKind::KeyExchange, Phase::KeyExchange)),
        Some((30, TimerKind::KeyExchange, Phase::KeyExchange)),
    ),
    (
        "newkeys",
        |r| {
            r.kexinit().method();
        },
        Some((30, TimerKind::KeyExchange, Phase::KeyExchange)),
        Some((30, TimerKind::KeyExchange, Phase::KeyExchange)),
    ),
    (
        "service",
        |r| {
            r.handshake();
        },
        Some((120, TimerKind::AuthReply, Phase::Authentication)),
        Some((120, TimerKind::LoginGrace, Phase::Authentication)),
    ),
    (
        "auth",
        |r| {
            r.service();
        },
        Some((120, TimerKind::AuthReply, Phase::Authentication)),
        Some((120, TimerKind::LoginGrace, Phase::Authentication)),
    ),
    (
        "connected",
        |r| {
            r.login();
        },
        Some((120, TimerKind::KeepAlive, Phase::Connected)),
        Some((120, TimerKind::KeepAlive, Phase::Connected)),
    ),
    (
        "rekey",
        |r| {
            r.login();
            r.peer.send_kexinit();
        },
        Some((30, TimerKind::KeyExchange, Phase::Connected)),
        Some((30, TimerKind::KeyExchange, Phase::Connected)),
    ),
];

#[test]
fn u04_silence_in_any_state_ends_in_the_named_timeout_at_its_time() {
    for (name, make, client, server) in STATES {
        for (role, expected) in [(Role::Client, client), (Role::Server, server)] {
            let (seconds, kind, phase) = expected.unwrap();
            let mut rig = Rig::new(role);
            make(&mut rig);
            rig.run();
            rig.wait(Duration::from_secs(seconds) - Duration::from_micros(1));
            assert_eq!(rig.error, None, "{name} {role:?}");
            rig.wait(Duration::from_micros(1));
            assert_eq!(rig.error, Some(Error::Timeout(kind, phase)), "{name} {role:?}");
            if phase != Phase::Ident {
                let last = rig.messages_so_far();
                assert_eq!(last.map(|n| n == 1), Some(true), "{name}: it says so");
            }
            rig.assert_dead();
            let text = Error::Timeout(kind, phase).to_string();
            assert!(text.contains("timed out") && text.contains(&phase.to_string()));
        }
    }
}

#[test]
fn u04_what_came_instead_of_an_identification_is_told_when_the_rest_stays_away() {
    for role in [Role::Client, Role::Server] {
        let mut rig = Rig::new(role);
        rig.feed(b"SSH-2.0");
        rig.wait(Duration::from_millis(29_999));
        rig.assert_alive();
        rig.wait(Duration::from_millis(1));
        let error = rig.error.clone().unwrap();
        assert!(error.to_string().contains("SSH-2.0") && named(&error, 7) == Phase::Ident, "{error}");
        rig.peer.rx.clear();
        rig.assert_dead();
    }
}

#[test]
fn u04_noise_does_not_put_the_end_off() {
    for (name, make, client, server) in STATES {
        for (role, expected) in [(Role::Client, client), (Role::Server, server)] {
            let (seconds, kind, phase) = expected.unwrap();
            if name == "nothing" || kind == TimerKind::KeepAlive {
                continue;
            }
            let mut rig = Rig::new(role);
            rig.peer.offer = rig.peer.offer.clone().lax();
            make(&mut rig);
            rig.run();
            let start = rig.now;
            while rig.error.is_none() {
                rig.wait(Duration::from_millis(700));
                if rig.error.is_none() {
                    rig.send(&[2, 0, 0, 0, 0]);
                }
                assert!(rig.now.since(start) < Duration::from_secs(seconds + 2), "{name} {role:?}");
            }
            assert_eq!(rig.error, Some(Error::Timeout(kind, phase)), "{name} {role:?}");
        }
    }
}

#[test]
fn u04_a_person_may_look_at_a_host_key_and_at_prompts_as_long_as_it_takes() {
    let mut rig = Rig::new(Role::Client);
    rig.app.accept_host = None;
    rig.app.proofs = vec![Proof::Interactive];
    rig.kexinit().method();
    rig.wait(Duration::from_secs(3600));
    assert_eq!((rig.blocked, &rig.error), (Some(Blocked::Decision), &None));
    let ticket = rig.app.host_tickets.pop().unwrap();
    rig.conn_client().decide_host_key(ticket, Decision::Accept).unwrap();
    rig.run();
    rig.expect(21);
    rig.peer.send_newkeys();
    rig.run();
    rig.send(&strings(6, &[b"ssh-userauth"]));
    rig.send(&[&strings(60, &[b"", b"", b""])[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0]].concat());
    rig.wait(Duration::from_secs(3600));
    let ticket = rig.app.prompt_tickets.pop().unwrap();
    rig.conn_client().answer_prompts(ticket, &["x"]).unwrap();
    rig.run();
    rig.wait(Duration::from_secs(119));
    rig.assert_alive();
    rig.wait(Duration::from_secs(1));
    assert_eq!(rig.error, Some(Error::Timeout(TimerKind::AuthReply, Phase::Authentication)));
}

#[test]
fn u04_a_job_that_never_comes_back_is_a_timeout_too() {
    let mut config = server_config(transport(Policy::Modern));
    config.offload = true;
    let mut rig = Rig::server(config);
    rig.kexinit();
    rig.peer.send_kex_init();
    rig.run();
    assert_eq!(rig.blocked, Some(Blocked::Decision));
    rig.wait(Duration::from_secs(30));
    assert_eq!(rig.error, Some(Error::Timeout(TimerKind::KeyExchange, Phase::KeyExchange)));
}

// ---- keepalive ----

#[test]
fn u14_r09_any_sign_of_life_counts() {
    // FAILURE, UNIMPLEMENTED, other traffic; once every 110 seconds is enough.
    let signs: [&dyn Fn(&mut Rig); 3] = [
        &|r| {
            r.put(&msg::RequestFailure::new());
        },
        &|r| {
            r.put(&msg::Unimplemented::new(7));
        },
        &|r| {
            r.send(&[2, 0, 0, 0, 0]);
        },
    ];
    for role in [Role::Client, Role::Server] {
        for sign in signs {
            let mut rig = Rig::new(role);
            rig.login();
            for _ in 0..20 {
                rig.wait(Duration::from_secs(110));
                rig.assert_alive();
                rig.messages();
                sign(&mut rig);
            }
            rig.wait(Duration::from_secs(121));
            assert_eq!(rig.error, Some(Error::Timeout(TimerKind::KeepAlive, Phase::Connected)));
        }
    }
}

#[test]
fn u14_probes_come_in_silence_only() {
    let mut config = transport(Policy::Modern);
    config.rekey.time = Duration::from_secs(1 << 30);
    let mut rig = Rig::with(Role::Client, config);
    rig.login();
    for _ in 0..20 {
        rig.wait(Duration::from_secs(29));
        rig.send(&[2, 0, 0, 0, 0]);
    }
    assert_eq!(rig.numbers(), []);
    rig.wait(Duration::from_secs(30));
    assert_eq!(rig.numbers(), [80]);
    // A peer that answers no global request, but lives, stays connected, and the application's
    // questions still have room.
    for _ in 0..80 {
        rig.put(&msg::Unimplemented::new(1));
        rig.wait(Duration::from_secs(30));
        rig.assert_alive();
        assert_eq!(rig.numbers(), [80]);
    }
    rig.conn_client().request_global("x", b"", WantReply::Yes).unwrap();
}

#[test]
fn c1_a_peer_that_was_slow_for_two_probes_goes_on_and_its_answers_fit() {
    for role in ROLES {
        let mut rig = Rig::new(role);
        rig.login();
        rig.wait(Duration::from_secs(61));
        let probes = rig.messages();
        let probe = strings(80, &[b"keepalive@openssh.com"]);
        assert_eq!(probes, [[&probe[..], &[1]].concat(), [&probe[..], &[1]].concat()], "{role:?}");
        rig.conn().request_global("x", b"", WantReply::Yes).unwrap();
        rig.run();
        // It says no to both, then yes to the application.
        rig.put(&msg::RequestFailure::new());
        rig.put(&msg::RequestFailure::new());
        assert_eq!(rig.events_with("GlobalReply"), 0);
        rig.put(&msg::RequestSuccess::new(&[]));
        assert_eq!(rig.events_with("GlobalReply { ok: true"), 1);
        rig.wait(Duration::from_secs(29));
        rig.assert_alive();
    }
}

#[test]
fn c1_what_a_peer_did_not_announce_is_not_sent_to_it() {
    // Whole sessions with stalls, probes, key exchanges and requests; with a peer that announces
    // nothing there is no EXT_INFO, no number from 192 up, and no extension of a channel.
    for role in ROLES {
        for openssh in [false, true] {
            let mut config = transport(Policy::Modern);
            config.allow_terrapin = true;
            let mut rig = Rig::with(role, config);
            rig.peer.offer = rig.peer.offer.clone().lax();
            if openssh {
                rig.peer.ident = b"SSH-2.0-OpenSSH_9.2p1 Debian-2".to_vec();
            }
            rig.login();
            let (id, number) = rig.opened(5, 1 << 20, 1 << 15);
            let mut sent = Vec::new();
            for n in 0..10u32 {
                rig.wait(Duration::from_secs(20 * u64::from(n % 5)));
                rig.conn().request(id, ChannelRequest::Eow, WantReply::No).unwrap();
                rig.put(&msg::ChannelData::new(number, b"x"));
                sent.extend(rig.messages());
                rig.rekey();
                sent.extend(rig.messages());
            }
            rig.assert_alive();
            assert!(sent.iter().any(|m| m[0] == 80), "{role:?}: it was probed");
            assert!(sent.iter().all(|m| m[0] < 192 && m[0] != 7), "{role:?}");
            let eow = |m: &&Vec<u8>| m.windows(15).any(|w| w == b"eow@openssh.com");
            assert_eq!(sent.iter().filter(eow).count(), if openssh { 10 } else { 0 }, "{role:?}");
        }
    }
}

#[test]
fn u14_no_keepalive_no_timer() {
    let mut config = transport(Policy::Modern);
    config.keepalive = None;
    config.rekey.time = Duration::from_secs(1 << 30);
    let mut rig = Rig::with(Role::Server, config);
    rig.login();
    rig.wait(Duration::from_secs(1_000_000));
    rig.assert_alive();
    assert_eq!(Keepalive::default(), Keepalive::new().interval(Duration::from_secs(30)).count(3));
}

#[test]
fn u14_a_black_hole_is_noticed_by_both_ends() {
    let mut server = ServerConfig::new(transport_config(), vec![host_key()]);
    server.methods = all_methods();
    let client = konko_core::ClientConfig::new(transport_config());
    let mut pair = Pair::new(client, server, (Shell::new("echo"), Host::default()));
    pair.client.app.finish = false;
    pair.drive_until("the channel", |p| p.client.app.seen.opened);
    pair.silence_client();
    pair.silence_server();
    let start = pair.now;
    pair.drive_until("both gave up", |p| p.client.over() && p.server.over());
    assert!(pair.now.since(start) < Duration::from_secs(125));
}

#[test]
fn u14_a_writer_that_nobody_reads_is_noticed() {
    let mut rig = Rig::new(Role::Server);
    rig.login();
    let (id, _) = rig.opened(1, u32::MAX, 1 << 15);
    while rig.conn_server().write(id, konko_core::channel::DataStream::Data, &[0; 1 << 15]).unwrap() > 0 {}
    let mut passed = 0;
    while rig.error.is_none() {
        rig.now = rig.now + Duration::from_secs(1);
        rig.poll();
        passed += 1;
        assert!(passed < 200);
    }
    assert_eq!(rig.error, Some(Error::Timeout(TimerKind::KeepAlive, Phase::Connected)));
}

// ---- cut links ----

/// A recorded session, both ways.
fn recorded() -> (Vec<u8>, Vec<u8>) {
    let mut pair = story();
    pair.client.keep_sent = true;
    pair.server.keep_sent = true;
    pair.drive_until("the exit", |p| p.client.app.seen.closed);
    (pair.client.sent, pair.server.sent)
}

fn story() -> Pair<Shell, Host> {
    let mut server = ServerConfig::new(transport_config(), vec![host_key()]);
    server.methods = all_methods();
    let client = konko_core::ClientConfig::new(transport_config());
    Pair::new(client, server, (Shell::new("exit 5"), Host::default()))
}

fn named(error: &Error, cut: usize) -> Phase {
    match error {
        Error::Peer(e) => {
            assert!(matches!(e.fault(), Fault::Truncated | Fault::NotSsh), "{cut}: {e}");
            e.phase()
        }
        Error::Disconnected(d) => {
            assert_eq!(d.by, EndedBy::EndOfInput, "{cut}: {d}");
            d.phase
        }
        other => panic!("{cut}: {other}"),
    }
}

#[test]
fn u04_the_end_of_input_at_any_byte_is_an_error_with_its_phase() {
    let (up, down) = recorded();
    let mut phases = Vec::new();
    for cut in 0..down.len() {
        let mut pair = story();
        phases.push(named(&cut_off(&mut pair.client, pair.now, &down[..cut]), cut));
        assert!(pair.client.app.seen.exit.is_none() || cut > down.len() / 2);
    }
    assert!(phases.is_sorted());
    let mut phases = Vec::new();
    for cut in 0..up.len() {
        let mut pair = story();
        phases.push(named(&cut_off(&mut pair.server, pair.now, &up[..cut]), cut));
    }
    assert!(phases.is_sorted());
}

/// What an end says that gets this input and nothing more.
fn cut_off<S: Side, A: konko_test::App<S>>(
    end: &mut konko_test::End<Connection<S>, A>,
    now: Time,
    input: &[u8],
) -> Error {
    let mut rx = RxBuf::new();
    rx.push(input);
    rx.eof();
    loop {
        match end.conn.poll(now, &mut rx) {
            Ok(Step::Event(event)) => end.app.on_event(&mut end.conn, event),
            Ok(Step::Blocked(why)) => panic!("{} bytes: waits for {why:?}", input.len()),
            Err(error) => return error,
        }
    }
}

#[test]
fn an_early_goodbye_is_told_as_what_it_is() {
    let end = |role, said: &[u8]| {
        let mut rig = Rig::new(role);
        rig.feed(said);
        rig.rx.eof();
        rig.poll();
        rig.error.unwrap().to_string()
    };
    assert!(end(Role::Client, b"").contains("without a word"));
    let busy = end(Role::Client, b"Exceeded MaxStartups\r\n");
    assert!(busy.contains("Exceeded MaxStartups"), "{busy}");
    assert!(end(Role::Client, b"Not allowed at this time").contains("Not allowed"));
    assert!(end(Role::Client, b"HTTP/1.1 400 Bad Request\r\n").contains("HTTP"));
    assert!(end(Role::Client, b"-ERR wrong number\r\n").contains("Redis"));
}

#[test]
fn our_own_goodbye_waits_for_the_output_and_then_closes() {
    let mut rig = Rig::new(Role::Client);
    rig.login();
    rig.conn_client().disconnect(msg::DisconnectCode::BY_APPLICATION, "done");
    rig.poll();
    assert_eq!(rig.blocked, Some(Blocked::Output));
    rig.collect();
    rig.poll();
    assert_eq!(rig.blocked, Some(Blocked::Closed));
    let m = rig.expect(1);
    assert_eq!(msg::Message::parse(&m), Ok(msg::Disconnect { code: 11, description: SshStr::new(b"done") }));
    assert_eq!(rig.deadline(), None);
    rig.send(&[2, 0, 0, 0, 0]);
    assert_eq!(rig.numbers(), []);
}
