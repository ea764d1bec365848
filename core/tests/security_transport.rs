//! Identification, packets and their protection against hostile peers. Each test carries its row of
//! the security facts.

#[path = "security_transport/packets.rs"]
mod packets;

use std::time::Duration;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng as _, SeedableRng};
use hmac::{Hmac, KeyInit, Mac as _};
use konko_core::Blocked;
use konko_core::channel::DataStream;
use konko_core::crypto::{Cipher, Kex, Mac};
use konko_core::error::{EndedBy, Error, Fault, Phase, TimerKind};
use konko_core::keys::SignatureAlgorithm;
use konko_core::msg;
use konko_core::transport::negotiate::{Policy, Role};
use konko_core::wire::{Sink, SshStr};
use konko_test::raw::rig::transport;
use konko_test::raw::*;
use sha2::Sha256;

const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// One suite of each kind.
const SUITES: [(Cipher, Option<Mac>); 6] = [
    (Cipher::Aes128Gcm, None),
    (Cipher::ChaCha20Poly1305, None),
    (Cipher::Aes128Ctr, Some(Mac::HmacSha256)),
    (Cipher::Aes256Ctr, Some(Mac::HmacSha512Etm)),
    (Cipher::Aes128Cbc, Some(Mac::HmacSha1Etm)),
    (Cipher::TripleDesCbc, Some(Mac::HmacMd5)),
];

/// Connected, with this suite; `None` is before any keys.
fn with_suite(role: Role, suite: Option<(Cipher, Option<Mac>)>) -> Rig {
    let mut rig = Rig::with(role, transport(Policy::LegacyDevice));
    if let Some((cipher, mac)) = suite {
        rig.peer.offer = rig.peer.offer.clone().cipher(cipher, mac);
        rig.login();
    } else {
        rig.peer.send_ident();
        rig.run();
    }
    rig
}

fn suites() -> impl Iterator<Item = Option<(Cipher, Option<Mac>)>> {
    SUITES.into_iter().map(Some).chain([None])
}

fn ident(role: Role, bytes: &[u8]) -> Rig {
    let mut rig = Rig::new(role);
    rig.feed(bytes);
    rig
}

// ---- identification ----

#[test]
fn v01_an_identification_line_has_at_most_255_bytes() {
    for role in ROLES {
        let line = |n: usize| [&b"SSH-2.0-"[..], &vec![b'A'; n - 10], b"\r\n"].concat();
        let rig = ident(role, &line(255));
        rig.assert_alive();
        let mut rig = ident(role, &line(256));
        rig.assert_fault(Fault::IdentTooLong);
        // Endless: seen as soon as byte 255 is there without its end.
        let mut rig = Rig::new(role);
        rig.feed(&[&b"SSH-2.0-"[..], &[b'A'; 246]].concat());
        rig.assert_alive();
        rig.feed(b"A");
        rig.assert_fault(Fault::IdentTooLong);
    }
}

#[test]
fn v02_a_client_speaks_ssh_at_once() {
    // Seen with the line, or with 64 bytes of it: what the error shows does not depend on the pieces.
    let tls = [&b"\x16\x03\x01"[..], &[0; 64]].concat();
    for junk in [&b"hello\r\nSSH-2.0-x\r\n"[..], b"GET / HTTP/1.1\r\n", &tls, b"\nSSH-2.0-x\r\n", &[b'x'; 64]]
    {
        let mut rig = ident(Role::Server, junk);
        assert!(rig.peer.rx.ends_with(b"\r\nInvalid SSH identification string.\r\n"), "{junk:?}");
        rig.peer.rx.clear();
        assert_eq!(rig.events.len(), 0);
        rig.assert_fault(Fault::NotSsh);
    }
}

#[test]
fn v03_a_server_may_say_some_lines_first() {
    let lines = |n: usize, line: &[u8]| [line.repeat(n), b"SSH-2.0-x\r\n".to_vec()].concat();
    for good in
        [lines(1024, b"x\r\n"), lines(100, b"hello\n"), lines(31, &[&[b'x'; 8190][..], b"\r\n"].concat())]
    {
        ident(Role::Client, &good).assert_alive();
    }
    let longest = [&b"SSH-2.0-"[..], &[b'A'; 245], b"\r\n"].concat();
    ident(Role::Client, &[b"line\n".repeat(100), longest].concat()).assert_alive();
    for bad in [
        lines(1025, b"x\r\n"),
        lines(1, &[&[b'x'; 8192][..], b"\n"].concat()),
        lines(33, &[&[b'x'; 8190][..], b"\n"].concat()),
    ] {
        let mut rig = ident(Role::Client, &bad);
        rig.assert_fault(Fault::NotSsh);
    }
}

#[test]
fn v04_an_identification_is_printable_ascii_and_hashed_as_it_came() {
    for role in ROLES {
        for bad in [
            &b"SSH-2.0-a\0b\r\n"[..],
            b"SSH-2.0-a\rb\n",
            b"SSH-2.0-\x80\r\n",
            b"SSH-2.0-\x1b[0m\r\n",
            b"SSH-2.0-a\r\r\n",
        ] {
            let mut rig = ident(role, bad);
            rig.assert_fault(Fault::IdentInvalid);
        }
        // LF alone, comments, no comment, no software name: the hash is that of the raw peer.
        for line in [&b"SSH-2.0-x"[..], b"SSH-2.0-x some comment", b"SSH-2.0-", b"SSH-2.0--x-"] {
            let mut rig = Rig::new(role);
            rig.peer.ident = line.to_vec();
            rig.peer.tx.extend_from_slice(line);
            rig.peer.tx.push(b'\n');
            rig.rekey_init().method();
            rig.assert_alive();
        }
    }
}

#[test]
fn v05_other_versions_are_refused() {
    for role in ROLES {
        for bad in [
            &b"SSH-1.5-x\r\n"[..],
            b"SSH-3.0-x\r\n",
            b"SSH-2.0\r\n",
            b"SSH-2.00-x\r\n",
            b"SSH-\r\n",
            b"SSH-2.1-x\n",
        ] {
            let mut rig = ident(role, bad);
            rig.assert_fault(Fault::Version);
        }
        let mut rig = ident(role, b"ssh-2.0-x\r\n");
        if role == Role::Server {
            rig.assert_fault(Fault::NotSsh);
        } else {
            rig.assert_alive();
        }
        let mut rig = ident(role, b"SSH-1.99-x\r\n");
        if role == Role::Server {
            rig.assert_fault(Fault::Version);
        } else {
            rig.assert_alive();
        }
    }
}

#[test]
fn v06_m14_texts_of_the_peer_cannot_steer_a_terminal() {
    let nasty = b"\x1b]0;x\x07 \xe2\x80\xae \x9b \r\n";
    let tame = |s: &str| {
        s.chars().all(|c| !c.is_control() && !('\u{202a}'..='\u{202e}').contains(&c) && c != '\u{9b}')
    };
    let open = payload(&msg::ChannelOpen::new(SshStr::new(nasty), 0, 1, 1, nasty));
    let global = payload(&msg::GlobalRequest::new(SshStr::new(nasty), true, nasty));
    for role in ROLES {
        let mut rig = Rig::new(role);
        rig.login();
        rig.send(&open);
        rig.send(&global);
        rig.messages();
        let (_, number) = rig.opened(0, 1, 1);
        rig.send(&payload(&msg::ChannelRequest::new(number, SshStr::new(nasty), true, nasty)));
        rig.send(&payload(&msg::Disconnect { code: 2, description: SshStr::new(nasty) }));
        let all = format!("{:?} {}", rig.events, rig.error.clone().unwrap());
        assert!(tame(&all), "{all:?}");
        assert!(tame(&format!("{:?}", rig.error)));
    }
    for bytes in [&b"SSH-2.0-\x1b]0;x\x07\r\n"[..], b"\x1b]0;x\x07\r\n"] {
        let rig = ident(Role::Server, bytes);
        assert!(tame(&rig.error.unwrap().to_string()));
    }
    let mut rig = Rig::new(Role::Client);
    rig.app.proofs.clear();
    rig.kexinit();
    rig.send(&strings(31, &[nasty, nasty, nasty]));
    assert!(tame(&rig.error.unwrap().to_string()));
}

/// How implementations call themselves, old ones with known bugs among them.
const IDENTS: [&str; 30] = [
    "OpenSSH_2.3",
    "OpenSSH_3.0",
    "OpenSSH_6.6.1",
    "OpenSSH_7.4",
    "OpenSSH_9.9",
    "Sun_SSH_1.0",
    "Cisco-1.25",
    "dropbear_2012.55",
    "dropbear_2022.83",
    "libssh_0.9.6",
    "libssh2_1.4",
    "PuTTY_Release_0.60",
    "WinSCP_release_4",
    "WeOnlyDo 1.2",
    "Twisted",
    "paramiko_1.7",
    "RomSShell_4.31",
    "mod_sftp/0.9.8",
    "SSHBlackbox.10",
    "Go",
    "1.2.18",
    "2.0.11 SSH Secure Shell",
    "Serv-U_15",
    "CerberusFTPServer_11",
    "NetScreen",
    "FortiSSH_3.0",
    "IPSSH-6.2.0",
    "TTSSH/2.70",
    "JSCH-0.1.54",
    "AsyncSSH_2.13",
];

#[test]
fn v07_no_check_depends_on_the_identification() {
    for name in IDENTS {
        for role in ROLES {
            let fresh = || {
                let mut rig = Rig::new(role);
                rig.peer.ident = format!("SSH-2.0-{name}").into_bytes();
                rig
            };
            // Order, integrity, signature, limits.
            let mut rig = fresh();
            rig.kexinit();
            rig.send(&[2, 0, 0, 0, 0]);
            rig.assert_fault(Fault::UnexpectedMessage);
            let mut rig = fresh();
            rig.login();
            rig.rekey();
            let mut packet = rig.peer.packet(&[2, 0, 0, 0, 0]);
            *packet.last_mut().unwrap() ^= 1;
            rig.feed(&packet);
            rig.assert_fault(Fault::BadTag);
            let mut rig = fresh();
            rig.login();
            rig.send(&[21]);
            rig.assert_fault(Fault::UnexpectedMessage);
            if role == Role::Client {
                let mut rig = fresh();
                rig.kexinit();
                let init = rig.expect(30);
                let mut reply = rig.peer.on_kex_init(&init);
                *reply.last_mut().unwrap() ^= 1;
                rig.send(&reply);
                rig.assert_fault(Fault::BadHostSignature);
            }
        }
    }
}

// ---- messages of the transport ----

#[test]
fn v23_v24_a_disconnect_is_heard_in_every_state_and_answered_in_none() {
    for role in ROLES {
        for place in 0..6 {
            for body in [
                payload(&msg::Disconnect { code: 11, description: SshStr::new(b"bye") }),
                vec![1, 0, 0, 0, 11],
                payload(&msg::Disconnect { code: 11, description: SshStr::new(&[b'x'; 200_000]) }),
                vec![1],
                vec![1, 0, 0],
                vec![1, 0, 0, 0, 11, 0, 0, 0, 9, b'x'],
                [payload(&msg::Disconnect { code: 2, description: SshStr::new(b"") }), vec![0]].concat(),
            ] {
                let mut rig = Rig::new(role);
                match place {
                    0 => rig.peer.send_ident(),
                    1 => {
                        rig.kexinit();
                    }
                    2 => {
                        rig.kexinit().method();
                    }
                    3 => {
                        rig.handshake();
                    }
                    4 => {
                        rig.service();
                    }
                    _ => {
                        rig.login();
                    }
                }
                rig.run();
                rig.messages();
                rig.send(&body);
                assert_eq!(rig.messages(), Vec::<Vec<u8>>::new());
                match rig.error.as_ref().unwrap() {
                    Error::Disconnected(d) => {
                        assert_eq!((d.by, d.code.0), (EndedBy::Peer, 11));
                        assert!(d.text.len() <= 1024 + 8);
                    }
                    Error::Peer(e) => assert_eq!(e.fault(), Fault::Malformed),
                    other => panic!("{other:?}"),
                }
                rig.assert_dead();
            }
        }
    }
}

#[test]
fn v25_v26_compression_never_runs_before_authentication_under_the_usual_policies() {
    for role in ROLES {
        for policy in [Policy::Modern, Policy::Compat] {
            let mut rig = Rig::with(role, transport(policy));
            rig.peer.offer.compression = ["zlib".into(), "zlib".into()];
            rig.peer.send_ident();
            rig.peer.send_kexinit();
            rig.run();
            rig.assert_fault(Fault::NoCommonAlgorithm);
        }
    }
}

#[test]
fn v25_a_bomb_behind_authentication_stops_at_the_packet_limit() {
    for role in ROLES {
        let mut rig = Rig::new(role);
        rig.peer.offer.compression = ["zlib@openssh.com".into(), "zlib@openssh.com".into()];
        rig.login();
        let mut fits = vec![0; 262_144];
        fits[0] = 2;
        rig.send(&fits);
        rig.assert_alive();
        rig.send(&vec![2; 32 << 20]);
        rig.assert_fault(Fault::Decompression);
    }
}

#[test]
fn v27_compressed_streams_of_any_shape() {
    let fresh = |role| {
        let mut rig = Rig::new(role);
        rig.peer.offer.compression = ["zlib@openssh.com".into(), "zlib@openssh.com".into()];
        rig.login();
        rig
    };
    for role in ROLES {
        // Nothing inside, noise inside, the end of the stream.
        for body in [&[0x78, 0x9c][..], &[0xff; 64], &[0x78, 0x9c, 3, 0, 0, 0, 0, 1], &[0; 40]] {
            let mut rig = fresh(role);
            let (block, ..) = rig.peer.block();
            let pad = 2 * block - (body.len() + 1) % block;
            let packet = rig.peer.shaped((body.len() + 1 + pad) as u32, pad as u8, body, pad);
            rig.feed(&packet);
            assert!(rig.error.is_some(), "{body:?}");
            rig.assert_dead();
        }
        // Over key exchanges, and expanding threefold.
        let mut rig = fresh(role);
        for n in 0..5 {
            rig.rekey();
            rig.put(&msg::GlobalRequest::new(SshStr::new(b"x"), true, b""));
            rig.expect(82);
            rig.send(&strings(192, &[&b"abcabcabc".repeat(1 + 1000 * n)]));
            assert_eq!(rig.expect(193).len(), 5 + 9 * (1 + 1000 * n));
        }
    }
}

#[test]
fn b0_noise_through_write_and_slot_over_key_exchanges() {
    const PACKET: usize = 32 << 10;
    for role in ROLES {
        let mut rig = Rig::new(role);
        rig.peer.offer.compression = ["zlib@openssh.com".into(), "zlib@openssh.com".into()];
        rig.login();
        let (id, number) = rig.opened(5, u32::MAX, PACKET as u32);
        for n in 0..120usize {
            if n % 40 == 39 {
                rig.rekey();
            }
            // Full packets, and every length at which a compressor might hold something back.
            let len = if n % 2 == 0 { PACKET } else { 31_700 + n };
            let noise: Vec<u8> =
                std::iter::repeat_with(|| rig.peer.rng.array::<32>()).flatten().take(len).collect();
            assert_eq!(rig.conn().write(id, DataStream::Data, &noise), Ok(len));
            let mut slot = rig.conn().slot(id, DataStream::Data, len).unwrap().unwrap();
            slot.bytes().copy_from_slice(&noise);
            slot.commit(len);
            rig.run();
            for _ in 0..2 {
                let m = rig.expect(94);
                assert!(m[9..] == noise, "{role:?}, packet {n}: {} of {len} bytes", m.len() - 9);
            }
            rig.put(&msg::ChannelData::new(number, &noise));
            assert!(rig.app.data == noise, "{role:?}, packet {n}: {} of {len} bytes", rig.app.data.len());
            rig.app.data.clear();
            // Credit.
            rig.messages();
            rig.events.clear();
        }
        rig.assert_alive();
    }
}

#[test]
fn v29_counts_are_not_believed() {
    for role in ROLES {
        for count in [1u32, 65, 0x7fff_ffff, u32::MAX] {
            let mut rig = Rig::new(role);
            rig.handshake();
            let mut m = vec![7];
            m.put_u32(count);
            let start = std::time::Instant::now();
            rig.send(&m);
            rig.assert_fault(Fault::Malformed);
            assert!(start.elapsed() < Duration::from_millis(50));
        }
    }
}

#[test]
fn v32_abusive_name_lists_are_refused_or_cheap() {
    let broken =
        |s: &str| ["curve25519-sha256,", ",", ",,", ",curve25519-sha256", "a b", "é", "a\0"].contains(&s);
    let long = "a,".repeat(8 * 1024 - 1) + "a";
    let names: Vec<String> = (0..1024).map(|i| format!("name-{i}")).collect();
    let many = names.join(",");
    let lists = [
        "",
        "curve25519-sha256,",
        ",",
        ",,",
        ",curve25519-sha256",
        "a b",
        "é",
        "a\0",
        &long,
        &many,
        &"x".repeat(65),
    ];
    for list in lists {
        for role in ROLES {
            let mut rig = Rig::new(role);
            let mut offer = rig.peer.offer.clone();
            offer.kex = list.into();
            offer.host_key = list.into();
            offer.cipher = [list.into(), list.into()];
            offer.mac = offer.cipher.clone();
            offer.compression = offer.cipher.clone();
            rig.peer.offer = offer;
            rig.peer.send_ident();
            let start = std::time::Instant::now();
            rig.peer.send_kexinit();
            rig.run();
            assert!(start.elapsed() < Duration::from_millis(200));
            let malformed = broken(list) || list == long || list.len() == 65;
            rig.assert_fault(if malformed { Fault::Malformed } else { Fault::NoCommonAlgorithm });
        }
    }
    // Twice the same name is odd, not wrong.
    let mut rig = Rig::new(Role::Server);
    rig.peer.offer.kex = "x,curve25519-sha256,x,curve25519-sha256,kex-strict-c-v00@openssh.com".into();
    rig.login();
}

#[test]
fn v35_pings_are_answered_only_when_connected_and_never_pile_up() {
    for role in ROLES {
        let mut rig = Rig::new(role);
        rig.service();
        rig.messages();
        for _ in 0..1000 {
            rig.send(&strings(192, &[b"x"]));
        }
        assert_eq!(rig.numbers(), []);
        // Our KEXINIT is out.
        let mut rig = Rig::new(role);
        rig.login();
        rig.conn().rekey().unwrap();
        rig.run();
        for _ in 0..1000 {
            rig.send(&strings(192, &[b"x"]));
        }
        assert_eq!(rig.numbers(), [20]);
        // The peer does not read.
        let mut rig = Rig::new(role);
        rig.login();
        for _ in 0..100 {
            let packet = rig.peer.packet(&strings(192, &[&[0; 250_000]]));
            rig.rx.push(&packet);
            rig.poll();
        }
        assert_eq!(rig.blocked, Some(Blocked::Output));
        assert!(rig.tx().len() <= (1 << 20) + 260_000, "{}", rig.tx().len());
    }
}

#[test]
fn v38_after_the_end_nothing_is_looked_at() {
    // `assert_fault` checks this after every test; here with what would be valid traffic.
    let mut rig = Rig::new(Role::Server);
    rig.login();
    let next: Vec<Vec<u8>> = (0..20).map(|_| rig.peer.packet(&strings(192, &[b"x"]))).collect();
    let mut bad = next[0].clone();
    bad[6] ^= 1;
    rig.feed(&bad);
    assert!(rig.error.is_some());
    rig.messages();
    for packet in &next {
        rig.feed(packet);
    }
    assert_eq!(rig.numbers(), []);
}

/// What a raw peer sends in a whole session up to many messages after authentication. Its bytes
/// depend on the machine's, and those are the same every time.
fn recorded(role: Role, config: &konko_core::TransportConfig, suite: (Cipher, Option<Mac>)) -> Vec<u8> {
    let mut rig = Rig::with(role, config.clone());
    rig.peer.offer = rig.peer.offer.clone().cipher(suite.0, suite.1);
    let mut stream = Vec::new();
    let mut step = |rig: &mut Rig, act: &mut dyn FnMut(&mut Rig)| {
        act(rig);
        stream.extend_from_slice(&rig.peer.tx);
        rig.run();
    };
    step(&mut rig, &mut |r| {
        r.peer.send_ident();
        r.peer.send_kexinit();
    });
    while rig.peer.next().unwrap()[0] != 20 {}
    rig.peer.agree();
    if role == Role::Server {
        step(&mut rig, &mut |r| r.peer.send_kex_init());
        let reply = rig.expect(31);
        rig.peer.on_kex_reply(&reply);
    } else {
        let init = rig.expect(30);
        let reply = rig.peer.on_kex_init(&init);
        step(&mut rig, &mut |r| r.peer.send(&reply));
    }
    rig.expect(21);
    step(&mut rig, &mut |r| {
        r.peer.send_newkeys();
        if role == Role::Server {
            r.peer.send(&strings(5, &[b"ssh-userauth"]));
            r.peer.send(&Rig::password_request("alice", PASSWORD));
        } else {
            r.peer.send(&[7, 0, 0, 0, 0]);
            r.peer.send(&strings(6, &[b"ssh-userauth"]));
        }
    });
    step(&mut rig, &mut |r| {
        if role == Role::Client {
            r.peer.send(&[52]);
        }
        for n in 0..40 {
            r.peer.send(&[2; 500]);
            r.peer.put(&msg::GlobalRequest::new(SshStr::new(b"x"), n % 2 == 0, b""));
        }
    });
    rig.assert_alive();
    stream
}

#[test]
fn v39_g3_the_result_does_not_depend_on_how_the_input_is_cut() {
    for suite in SUITES {
        for role in ROLES {
            let mut config = transport(Policy::LegacyDevice);
            config.rekey.bytes = 20_000;
            let stream = recorded(role, &config, suite);
            let run = |chunk: usize| {
                let mut rig = Rig::with(role, config.clone());
                stream.chunks(chunk).for_each(|piece| rig.feed(piece));
                (rig.events, rig.peer.rx, rig.error)
            };
            let (bytes, sevens, large) = (run(1), run(7), run(1000));
            assert!(bytes == sevens && sevens == large, "{role:?} {suite:?}");
            assert!(bytes.2.is_none());
        }
    }
}

#[test]
fn v05_v31_names_in_kexinit_do_not_alias() {
    for (kex, host) in [
        ("curve25519-sha256 ", "ssh-ed25519"),
        ("Curve25519-sha256", "ssh-ed25519"),
        ("curve25519-sha256", "ssh-ed2551"),
    ] {
        let mut rig = Rig::new(Role::Server);
        rig.peer.offer.kex = kex.into();
        rig.peer.offer.host_key = host.into();
        rig.peer.send_ident();
        rig.peer.send_kexinit();
        rig.run();
        assert!(rig.error.is_some());
    }
    assert_eq!((Kex::from_name("none"), SignatureAlgorithm::from_name("")), (None, None));
}

#[test]
fn r11_many_small_packets_cost_linear_time() {
    // Work, not time: what the buffer moves shows in the time of a ten times longer input.
    let time = |n: usize| {
        let mut rig = Rig::new(Role::Server);
        rig.login();
        for _ in 0..n {
            rig.peer.send(&[2, 0, 0, 0, 0]);
        }
        let start = std::time::Instant::now();
        rig.run();
        rig.assert_alive();
        start.elapsed()
    };
    time(1000);
    let (short, long) = (time(10_000), time(100_000));
    assert!(long < short * 40 + Duration::from_millis(50), "{short:?} {long:?}");
}

#[test]
fn r11_a_long_packet_in_single_bytes_costs_linear_time() {
    let mut rig = Rig::new(Role::Server);
    rig.login();
    let packet = rig.peer.packet(&[2; 250_000]);
    let start = std::time::Instant::now();
    for byte in packet {
        rig.feed(&[byte]);
    }
    rig.assert_alive();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}
