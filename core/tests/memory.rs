//! What a connection allocates: nothing for a packet in flight, little for a stranger, and nothing
//! is left behind.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use konko_core::RxBuf;
use konko_core::channel::{DataStream, OpenFailure};
use konko_core::crypto::Kex;
use konko_core::msg;
use konko_core::transport::negotiate::Role;
use konko_core::wire::{Sink, SshStr};
use konko_test::raw::{Machine, PASSWORD, Rig, strings};

struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let held = HELD.get() + bytes;
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        count(layout.size() as isize);
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What a server may hold for somebody who has not authenticated: at rest, and at most.
const IDLE: isize = 64 * 1024;
const PEAK_MAX: isize = 600 * 1024;

/// The machine's own allocations while `act` runs on it: the raw peer's are not in it.
fn during<R>(act: impl FnOnce() -> R) -> (R, usize, isize, isize) {
    let (calls, held) = (CALLS.get(), HELD.get());
    PEAK.set(held);
    let result = act();
    (result, CALLS.get() - calls, PEAK.get() - held, HELD.get() - held)
}

/// Polls until blocked; events are dropped without being looked at.
fn poll(machine: &mut Machine, rx: &mut RxBuf, now: konko_core::Time) -> usize {
    let mut events = 0;
    loop {
        if !matches!(machine.poll(now, rx), Ok(true)) {
            return events;
        }
        events += 1;
    }
}

#[test]
fn a_packet_of_data_allocates_nothing_in_either_direction() {
    // Copies: `slot` is filled in place in the output, sealed in place and lent to the socket; input
    // is opened in place and lent to the application. `write` and `push` are one copy each.
    for role in [Role::Client, Role::Server] {
        let mut rig = Rig::new(role);
        rig.login();
        let (id, number) = rig.opened(5, u32::MAX, 32 << 10);
        let data = vec![7; 32 << 10];
        let packets: Vec<Vec<u8>> = (0..60)
            .map(|_| rig.peer.packet(&konko_test::raw::payload(&msg::ChannelData::new(number, &data))))
            .collect();
        let Rig { machine, rx, now, .. } = &mut rig;
        let mut exchange = |packet: &[u8]| {
            rx.push(packet);
            let events = poll(machine, rx, *now);
            let conn = machine.conn();
            conn.consume(id, data.len()).unwrap();
            let sent = conn.write(id, DataStream::Data, &data).unwrap();
            let mut slot = conn.slot(id, DataStream::Stderr, 1000).unwrap().unwrap();
            slot.bytes().fill(1);
            slot.commit(1000);
            poll(machine, rx, *now);
            let tx = machine.conn().tx();
            let n = tx.len();
            tx.consume(n);
            assert_eq!((events, sent), (1, data.len()));
        };
        let (warm, rest) = packets.split_at(4);
        warm.iter().for_each(|p| exchange(p));
        let ((), calls, ..) = during(|| rest.iter().for_each(|p| exchange(p)));
        assert_eq!(calls, 0, "{role:?}");
    }
}

/// Feeds the machine with `bytes` and drops what it says; only the machine allocates here. A dead
/// one is not read for any more.
fn feed(rig: &mut Rig, bytes: &[u8]) -> bool {
    rig.rx.push(bytes);
    poll(&mut rig.machine, &mut rig.rx, rig.now);
    let tx = rig.tx();
    let n = tx.len();
    tx.consume(n);
    rig.machine.poll(rig.now, &mut rig.rx).is_ok()
}

#[test]
fn r06_a_stranger_costs_a_server_little_in_every_state() {
    type Make = fn(&mut Rig);
    let states: [(&str, Make); 6] = [
        ("new", |_| ()),
        ("ident", |r| {
            r.peer.send_ident();
            r.run();
        }),
        ("kexinit", |r| {
            r.kexinit();
        }),
        ("reply", |r| {
            r.kexinit().method();
        }),
        ("keyed", |r| {
            r.handshake();
        }),
        ("auth", |r| {
            r.service();
        }),
    ];
    for kex in [Kex::Curve25519Sha256, Kex::MlKem768X25519Sha256, Kex::Group14Sha256] {
        for (name, make) in states {
            // The peer's share is what it holds when the machine is gone.
            let before = HELD.get();
            let mut rig = Rig::new(Role::Server);
            rig.peer.offer = rig.peer.offer.clone().kex(kex);
            make(&mut rig);
            rig.collect();
            rig.peer.rx = Vec::new();
            rig.events = Vec::new();
            rig.rx.release();
            rig.tx().release();
            let with = HELD.get() - before;
            let bigs: Vec<Vec<u8>> = (0..40).map(|_| rig.peer.packet(&[2; 255_000])).collect();
            let big = &bigs[0];
            rig.peer.out_seq = 0;
            let claim = [&262_144u32.to_be_bytes()[..], &[2; 64]].concat();
            let attacks: [&dyn Fn(&mut Rig) -> bool; 4] = [
                // A packet that never ends; one that does, many times; a claim; single bytes.
                &|r| feed(r, &big[..big.len() - 1]),
                &|r| bigs.iter().all(|big| feed(r, big)),
                &|r| feed(r, &claim),
                &|r| big[..big.len() - 1].iter().take(100_000).all(|b| feed(r, &[*b])),
            ];
            for (n, attack) in attacks.iter().enumerate() {
                let mut rig = Rig::new(Role::Server);
                rig.peer.offer = rig.peer.offer.clone().kex(kex);
                make(&mut rig);
                rig.collect();
                let (_, _, peak, _) = during(|| attack(&mut rig));
                assert!(peak < PEAK_MAX, "{kex} {name} attack {n}: {peak}");
                if n == 2 {
                    assert!(peak <= IDLE, "{kex} {name}: a claim costs {peak}");
                }
            }
            // What the machine alone holds at rest: all of it minus the peer.
            let all = HELD.get();
            drop(rig.machine);
            let machine = all - HELD.get();
            assert!(machine <= IDLE, "{kex} {name}: {machine} at rest, {with} with the peer");
        }
    }
}

/// Every message that a server may get in each state before authentication, as large as it may be.
fn largest(state: &str) -> Vec<(&'static str, Vec<u8>)> {
    const ROOM: usize = 262_000;
    let long = vec![b'a'; ROOM - 200];
    let half = vec![b'a'; ROOM / 2 - 200];
    let list = |names: usize| (0..names).map(|n| format!("{n:015}")).collect::<Vec<_>>().join(",");
    let kexinit = |kex: &str, list: &str, languages: &[u8]| {
        let mut m = vec![20; 17];
        m.put_string(format!("curve25519-sha256,{kex}").as_bytes());
        let ciphers = ["aes128-gcm@openssh.com"; 2];
        let others = ["hmac-sha2-256", "hmac-sha2-256", "none", "none"];
        for name in ["ssh-ed25519"].into_iter().chain(ciphers).chain(others) {
            m.put_string(format!("{name},{list}").as_bytes());
        }
        m.put_string(languages);
        m.put_string(languages);
        m.extend_from_slice(&[0; 5]);
        m
    };
    let request = |user: &[u8], method: &[u8], rest: &[&[u8]]| {
        let mut m = strings(50, &[user, b"ssh-connection", method]);
        if !rest.is_empty() && method != b"keyboard-interactive" {
            m.push(0);
        }
        rest.iter().for_each(|s| m.put_string(s));
        m
    };
    let mut messages = vec![
        ("IGNORE", strings(2, &[&long])),
        ("DEBUG", [&[4, 1][..], &strings(0, &[&half, &half])[1..]].concat()),
        ("DISCONNECT", [&[1, 0, 0, 0, 11][..], &strings(0, &[&half, &half])[1..]].concat()),
        ("UNIMPLEMENTED", [&[3, 0, 0, 0, 1][..], &long].concat()),
        ("unknown", [&[199][..], &long].concat()),
    ];
    match state {
        "ident" => messages.extend([
            ("KEXINIT with full lists", kexinit(&list(1000), &list(1000), list(1000).as_bytes())),
            ("KEXINIT with long languages", kexinit("x", "x", &vec![b'e'; 125_000])),
            ("KEXINIT with a long list", kexinit(&list(15_000), "x", b"")),
        ]),
        "kexinit" => messages.extend([
            ("KEX_ECDH_INIT", strings(30, &[&long])),
            ("KEX_DH_GEX_REQUEST", [&[34][..], &long].concat()),
            ("NEWKEYS", [&[21][..], &long].concat()),
        ]),
        "keyed" => messages.extend([
            ("SERVICE_REQUEST", strings(5, &[&long])),
            ("EXT_INFO", [&[7, 0, 0, 0, 1][..], &strings(0, &[&half, &half])[1..]].concat()),
        ]),
        "auth" => messages.extend([
            ("user", request(&long, b"none", &[])),
            ("method", request(b"alice", &long, &[])),
            ("password", request(b"alice", b"password", &[&long])),
            ("probe", request(b"alice", b"publickey", &[b"ssh-rsa", &long])),
            (
                "probe of RSA",
                request(
                    b"alice",
                    b"publickey",
                    &[b"rsa-sha2-256", &strings(0, &[b"ssh-rsa", b"\x01\x00\x01", &vec![0x7f; 2048]])[1..]],
                ),
            ),
            ("keyboard-interactive", request(b"alice", b"keyboard-interactive", &[&half, &half])),
            ("hostbased", request(b"alice", b"hostbased", &[&half, &half])),
            ("INFO_RESPONSE", [&[61, 0, 0, 0, 1][..], &strings(0, &[&long])[1..]].concat()),
            ("SERVICE_REQUEST", strings(5, &[&long])),
        ]),
        _ => {}
    }
    messages
}

#[test]
fn a9_every_message_before_authentication_at_its_largest() {
    type Make = fn(&mut Rig);
    let states: [(&str, Make); 5] = [
        ("ident", |r| {
            r.peer.send_ident();
            r.run();
        }),
        ("kexinit", |r| {
            r.kexinit();
        }),
        ("reply", |r| {
            r.kexinit().method();
        }),
        ("keyed", |r| {
            r.handshake();
        }),
        ("auth", |r| {
            r.service();
        }),
    ];
    for (state, make) in states {
        for (what, message) in largest(state) {
            let mut rig = Rig::new(Role::Server);
            make(&mut rig);
            rig.collect();
            rig.events = Vec::new();
            let packets: Vec<Vec<u8>> = (0..3).map(|_| rig.peer.packet(&message)).collect();
            let (_, _, peak, _) = during(|| {
                packets.iter().all(|packet| {
                    // While a decision or a refusal is waited for, nobody reads.
                    rig.rx.is_empty() && feed(&mut rig, packet) && {
                        rig.now = rig.now + Duration::from_secs(2);
                        feed(&mut rig, &[])
                    }
                })
            });
            assert!(peak < PEAK_MAX, "{state}, {what}: {peak} at most");
            rig.rx.release();
            rig.tx().release();
            let all = HELD.get();
            drop(rig.machine);
            let held = all - HELD.get();
            assert!(held <= IDLE, "{state}, {what}: {held} held");
        }
    }
}

#[test]
fn r06_hostile_requests_before_authentication_do_not_add_up() {
    let mut rig = Rig::new(Role::Server);
    rig.service();
    let mut request = strings(50, &[b"alice", b"ssh-connection", b"publickey"]);
    request.put_bool(false);
    request.put_string(b"ssh-ed25519");
    request.put_string(&vec![0; 200_000]);
    let packets: Vec<Vec<u8>> = (0..5).map(|_| rig.peer.packet(&request)).collect();
    let ((), _, peak, _) = during(|| {
        for packet in &packets {
            feed(&mut rig, packet);
            rig.now = rig.now + Duration::from_millis(20);
            feed(&mut rig, &[]);
        }
    });
    assert!(peak < PEAK_MAX, "{peak}");
}

#[test]
fn k33_ten_thousand_aborted_handshakes_leave_nothing() {
    let run = |n: usize| {
        let mut rig = Rig::new(if n.is_multiple_of(2) { Role::Client } else { Role::Server });
        match n / 2 % 5 {
            0 => {}
            1 => rig.peer.send_ident(),
            2 => {
                rig.kexinit();
            }
            3 => {
                rig.kexinit().method();
            }
            _ => {
                rig.kexinit();
                rig.peer.send(&strings(30, &[b"bad"]));
            }
        }
        rig.run();
    };
    (0..10).for_each(run);
    let ((), _, _, balance) = during(|| (0..10_000).for_each(run));
    assert_eq!(balance, 0);
}

#[test]
fn c14_refused_and_closed_channels_leave_nothing() {
    let mut rig = Rig::new(Role::Server);
    rig.login();
    rig.app.hold_opens = true;
    let open =
        konko_test::raw::payload(&msg::ChannelOpen::new(SshStr::new(b"session"), 3, 1 << 20, 1 << 15, &[]));
    let mut refuse = |n: usize| {
        for _ in 0..n {
            rig.send(&open);
            let ticket = rig.app.open_tickets.pop().unwrap();
            rig.conn_server().reject_channel(ticket, OpenFailure::CONNECT_FAILED, "no").unwrap();
            rig.run();
            assert_eq!(rig.numbers(), [92]);
            rig.events.clear();
        }
        HELD.get()
    };
    let warm = refuse(5000);
    let after = refuse(20_000);
    assert!((after - warm).abs() < 1024, "{warm} {after}");
    let mut rig = Rig::new(Role::Server);
    rig.login();
    let mut cycle = |n: usize| {
        for _ in 0..n {
            let number = rig.open(3, 1 << 20, 1 << 15);
            rig.put(&msg::ChannelRequest::new(number, SshStr::new(b"shell"), true, &[]));
            rig.put(&msg::ChannelClose::new(number));
            assert_eq!(rig.numbers(), [99, 97]);
            rig.events.clear();
            rig.app.channels.clear();
        }
        HELD.get()
    };
    let warm = cycle(5000);
    let after = cycle(20_000);
    assert!((after - warm).abs() < 1024, "{warm} {after}");
}

#[test]
fn an_idle_poll_does_not_look_at_channels() {
    let time = |channels: usize| {
        let mut config =
            konko_test::raw::rig::server_config(konko_test::raw::rig::transport(Default::default()));
        std::sync::Arc::make_mut(&mut config.transport).limits.channels = 2000;
        let mut rig = Rig::server(config);
        rig.login();
        for n in 0..channels {
            rig.open(n as u32, 1 << 20, 1 << 15);
        }
        rig.messages();
        let Rig { machine, rx, now, .. } = &mut rig;
        // The best of many, so that a busy machine does not matter.
        (0..50)
            .map(|_| {
                let start = Instant::now();
                for _ in 0..200 {
                    assert_eq!(poll(machine, rx, *now), 0);
                }
                start.elapsed()
            })
            .min()
            .unwrap()
    };
    let (one, thousand) = (time(1), time(1000));
    assert!(thousand < one * 5 + Duration::from_micros(20), "{one:?} {thousand:?}");
}

#[test]
fn v25_a_bomb_costs_no_more_than_a_packet() {
    let mut rig = Rig::new(Role::Server);
    rig.peer.offer.compression = ["zlib@openssh.com".into(), "zlib@openssh.com".into()];
    rig.login();
    let bomb = rig.peer.packet(&vec![2; 64 << 20]);
    let (_, _, peak, _) = during(|| feed(&mut rig, &bomb));
    assert!(peak < 1 << 20, "{peak}");
    let _ = PASSWORD;
}
