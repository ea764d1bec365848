//! Key exchange against hostile peers. Each test carries its row of the security facts.

#[path = "security_kex/host_key.rs"]
mod host_key;

use konko_core::Blocked;
use konko_core::crypto::{Cipher, Kex, Mac};
use konko_core::error::{Error, Fault, Rejected};
use konko_core::keys::{KeyType, SignatureAlgorithm};
use konko_core::msg;
use konko_core::transport::negotiate::{Policy, Role};
use konko_core::wire::SshStr;
use konko_core::{Decision, WantReply};
use konko_test::key_of;
use konko_test::raw::rig::{Proof, transport};
use konko_test::raw::*;

const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// IGNORE as it looks before any keys: Terrapin's filler.
const IGNORE: &[u8] = &[0, 0, 0, 12, 6, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The messages that no state of a key exchange may take.
fn early() -> Vec<(&'static str, Vec<u8>)> {
    let open = msg::ChannelOpen::new(SshStr::new(b"session"), 0, 1 << 20, 1 << 15, &[]);
    vec![
        ("SERVICE_REQUEST", strings(5, &[b"ssh-userauth"])),
        ("SERVICE_ACCEPT", strings(6, &[b"ssh-userauth"])),
        ("EXT_INFO", vec![7, 0, 0, 0, 0]),
        ("USERAUTH_REQUEST", strings(50, &[b"alice", b"ssh-connection", b"none"])),
        ("USERAUTH_FAILURE", {
            let mut m = strings(51, &[b"password"]);
            m.push(0);
            m
        }),
        ("USERAUTH_SUCCESS", vec![52]),
        ("USERAUTH_BANNER", strings(53, &[b"hi", b""])),
        ("CHANNEL_OPEN", payload(&open)),
        ("PING", strings(192, &[b"x"])),
    ]
}

fn legacy(role: Role) -> Rig {
    Rig::with(role, transport(Policy::LegacyDevice))
}

// ---- Terrapin and strict key exchange ----

#[test]
fn k01_k02_a_packet_injected_anywhere_before_newkeys_is_fatal() {
    for role in ROLES {
        for place in 0..4 {
            let mut rig = Rig::new(role);
            rig.peer.send_ident();
            let inject = |rig: &mut Rig, at: usize| {
                if at == place {
                    // A man in the middle does not move the peer's own counter.
                    rig.peer.tx.extend_from_slice(IGNORE);
                }
            };
            inject(&mut rig, 0);
            rig.peer.send_kexinit();
            inject(&mut rig, 1);
            rig.run();
            if rig.error.is_none() {
                rig.expect(20);
                rig.peer.agree();
                rig.method();
                inject(&mut rig, 2);
                rig.run();
            }
            if rig.error.is_none() {
                rig.peer.send(&[21]);
                inject(&mut rig, 3);
                rig.run();
            }
            let fault = match &rig.error {
                Some(Error::Peer(e)) => e.fault(),
                other => panic!("{role:?} at {place}: {other:?}"),
            };
            // Behind NEWKEYS it is no longer a packet: 12 bytes of AES-GCM that are not genuine.
            let expected = [Fault::UnexpectedMessage, Fault::UnexpectedMessage, Fault::UnexpectedMessage];
            assert!(
                expected.get(place) == Some(&fault) || (place == 3 && fault == Fault::PacketLength),
                "{role:?} at {place}: {fault:?}"
            );
            rig.assert_dead();
        }
    }
}

#[test]
fn k01_deleting_ext_info_behind_an_injected_packet_fails_under_strict_key_exchange() {
    // The counter trick needs sequence numbers that survive NEWKEYS.
    for cipher in [(Cipher::ChaCha20Poly1305, None), (Cipher::Aes128Cbc, Some(Mac::HmacSha256Etm))] {
        let mut rig = Rig::with(Role::Client, transport(Policy::Compat));
        let config = rig.peer.offer.clone().cipher(cipher.0, cipher.1);
        rig.peer.offer = config;
        rig.kexinit().method();
        rig.peer.send_newkeys();
        rig.peer.packet(&[7, 0, 0, 0, 0]);
        rig.run();
        assert_eq!(rig.error, None);
        rig.send(&strings(6, &[b"ssh-userauth"]));
        // One counter off: the length of ChaCha20-Poly1305 decrypts to noise.
        rig.assert_fault(if cipher.1.is_none() { Fault::PacketLength } else { Fault::BadTag });
    }
}

#[test]
fn k01_strict_key_exchange_resets_the_counters_at_every_newkeys_and_only_then() {
    for role in ROLES {
        for cipher in [Cipher::ChaCha20Poly1305, Cipher::Aes128Ctr] {
            let mut rig = Rig::new(role);
            rig.peer.offer = rig.peer.offer.clone().cipher(cipher, Some(Mac::HmacSha256));
            rig.login();
            for _ in 0..3 {
                rig.rekey();
                assert!(rig.peer.out_seq == 0 && rig.peer.in_seq == 0);
                rig.send(&strings(192, &[b"still in step"]));
                rig.expect(193);
            }
        }
    }
}

#[test]
fn k04_the_markers_are_never_an_algorithm_and_say_nothing_in_later_exchanges() {
    for role in ROLES {
        let side = if role == Role::Client { 's' } else { 'c' };
        let mut rig = Rig::new(role);
        rig.peer.offer.kex = format!("ext-info-{side},kex-strict-{side}-v00@openssh.com");
        rig.peer.send_ident();
        rig.peer.send_kexinit();
        rig.run();
        rig.assert_fault(Fault::NoCommonAlgorithm);
        // Without the marker later: still strict. With it only later: still not.
        for strict in [true, false] {
            let mut rig = Rig::new(role);
            let (with, without) = (rig.peer.offer.clone(), rig.peer.offer.clone().lax());
            rig.peer.offer = if strict { with.clone() } else { without.clone() };
            rig.login();
            rig.peer.offer = if strict { without } else { with };
            rig.rekey().rekey();
            rig.send(&strings(192, &[b"in step"]));
            rig.expect(193);
        }
    }
}

#[test]
fn k05_a_peer_without_strict_key_exchange_gets_no_terrapin_cipher() {
    for role in ROLES {
        let vulnerable = [(Cipher::ChaCha20Poly1305, None), (Cipher::Aes256Cbc, Some(Mac::HmacSha1Etm))];
        for (cipher, mac) in vulnerable {
            let mut rig = Rig::with(role, transport(Policy::Compat));
            rig.peer.offer = rig.peer.offer.clone().lax().cipher(cipher, mac);
            rig.peer.send_ident();
            rig.peer.send_kexinit();
            rig.run();
            rig.assert_fault(Fault::PrefixTruncation);
            let mut config = transport(Policy::Compat);
            config.allow_terrapin = true;
            let mut rig = Rig::with(role, config);
            rig.peer.offer = rig.peer.offer.clone().lax().cipher(cipher, mac);
            rig.login();
        }
        for (cipher, mac) in [(Cipher::Aes128Gcm, None), (Cipher::Aes128Ctr, Some(Mac::HmacSha256Etm))] {
            let mut rig = Rig::new(role);
            rig.peer.offer = rig.peer.offer.clone().lax().cipher(cipher, mac);
            rig.login();
        }
    }
}

// ---- order ----

#[test]
fn k06_k08_nothing_but_the_exchange_is_taken_before_newkeys() {
    for role in ROLES {
        for (name, message) in early() {
            for place in 0..3 {
                let mut rig = Rig::new(role);
                match place {
                    0 => rig.peer.send_ident(),
                    1 => {
                        rig.kexinit();
                    }
                    _ => {
                        rig.kexinit().method();
                    }
                }
                rig.send(&message);
                rig.assert_fault(Fault::UnexpectedMessage);
                assert_eq!(rig.login_events(), 0, "{name}");
                assert!(!rig.numbers().contains(&50), "{name}: nothing of a login left");
            }
        }
    }
}

#[test]
fn k07_ext_info_comes_right_after_the_first_newkeys_and_not_too_often() {
    let ext = [7, 0, 0, 0, 0];
    // A server may send two, a client one.
    let mut client = Rig::new(Role::Client);
    client.handshake();
    client.send(&ext);
    client.send(&ext);
    client.assert_alive();
    client.send(&ext);
    client.assert_fault(Fault::UnexpectedMessage);
    let mut server = Rig::new(Role::Server);
    server.handshake();
    server.send(&ext);
    server.assert_alive();
    server.send(&ext);
    server.assert_fault(Fault::UnexpectedMessage);
    for role in ROLES {
        let mut rig = Rig::new(role);
        rig.login();
        rig.send(&ext);
        rig.assert_fault(Fault::UnexpectedMessage);
    }
    let mut server = Rig::new(Role::Server);
    server.service();
    server.send(&ext);
    server.assert_fault(Fault::UnexpectedMessage);
}

#[test]
fn k08_nothing_of_a_login_leaves_before_the_host_key_is_accepted() {
    let mut rig = Rig::new(Role::Client);
    rig.app.accept_host = None;
    rig.app.proofs.clear();
    rig.kexinit().method();
    assert_eq!(rig.blocked, Some(Blocked::Decision));
    rig.peer.send_newkeys();
    rig.peer.send(&strings(6, &[b"ssh-userauth"]));
    rig.peer.send(&[52]);
    rig.run();
    assert_eq!(rig.numbers(), []);
    assert_eq!(rig.login_events(), 0);
    let ticket = rig.app.host_tickets.pop().unwrap();
    rig.conn_client().decide_host_key(ticket, Decision::Accept).unwrap();
    rig.run();
    // The pushed SERVICE_ACCEPT is legal by then, the SUCCESS is not: nothing was asked.
    rig.assert_fault(Fault::UnexpectedMessage);
}

#[test]
fn h01_h02_a_host_key_that_is_not_accepted_ends_everything() {
    let mut rig = Rig::new(Role::Client);
    rig.app.accept_host = Some(false);
    rig.kexinit().method();
    assert_eq!(rig.error, Some(Error::Rejected(Rejected::HostKey)));
    let last = rig.messages();
    assert_eq!(last.iter().map(|m| m[0]).collect::<Vec<_>>(), [1], "no NEWKEYS");
    assert_eq!(last[0][1..5], [0, 0, 0, 9]);
    rig.assert_dead();
}

#[test]
fn k09_methods_messages_of_the_other_role_and_other_methods() {
    for kex in [Kex::Curve25519Sha256, Kex::Group14Sha256, Kex::GroupExchangeSha256] {
        for role in ROLES {
            for number in [21, 30, 31, 32, 33, 34, 35, 49] {
                let mut rig = Rig::new(role);
                rig.peer.offer = rig.peer.offer.clone().kex(kex);
                rig.kexinit();
                let legal = match (role, kex) {
                    (Role::Client, _) => number == 31,
                    (Role::Server, Kex::GroupExchangeSha256) => number == 34,
                    (Role::Server, _) => number == 30,
                };
                rig.send(&[number]);
                let fault = if legal || (30..=34).contains(&number) && role_of(number) != role {
                    Fault::Malformed
                } else {
                    Fault::UnexpectedMessage
                };
                rig.assert_fault(fault);
            }
        }
    }
}

/// Who sends this message of a method.
fn role_of(number: u8) -> Role {
    if [31, 33].contains(&number) { Role::Server } else { Role::Client }
}

#[test]
fn k10_each_step_happens_once() {
    for role in ROLES {
        let mut rig = Rig::new(role);
        rig.kexinit();
        rig.peer.send_kexinit();
        rig.run();
        rig.assert_fault(Fault::UnexpectedMessage);
        let mut rig = Rig::new(role);
        rig.kexinit().method();
        rig.send(&[if role == Role::Server { 30 } else { 31 }]);
        rig.assert_fault(Fault::UnexpectedMessage);
        let mut rig = Rig::new(role);
        rig.handshake();
        rig.send(&[21]);
        rig.assert_fault(Fault::UnexpectedMessage);
    }
    let mut rig = Rig::new(Role::Server);
    rig.peer.offer = rig.peer.offer.clone().kex(Kex::GroupExchangeSha256);
    rig.kexinit();
    let request = payload(&msg::GexRequest::new(2048, 2048, 8192));
    rig.send(&request);
    rig.expect(31);
    rig.send(&request);
    rig.assert_fault(Fault::Malformed);
}

#[test]
fn k11_a_wrong_guess_costs_exactly_one_packet() {
    // The machine's first choices are mlkem768x25519-sha256 and ssh-ed25519.
    let right = ("mlkem768x25519-sha256,curve25519-sha256", "ssh-ed25519");
    let wrong_kex = ("curve25519-sha256,mlkem768x25519-sha256", "ssh-ed25519");
    let wrong_key = (right.0, "rsa-sha2-512,ssh-ed25519");
    let wrong_both = (wrong_kex.0, wrong_key.1);
    for (kex, key) in [right, wrong_kex, wrong_key, wrong_both] {
        let mut rig = Rig::new(Role::Server);
        rig.peer.offer.kex = format!("{kex},kex-strict-c-v00@openssh.com");
        rig.peer.offer.host_key = key.into();
        rig.peer.offer.guess = true;
        rig.kexinit();
        if (kex, key) != right {
            rig.send(&payload(&msg::EcdhInit::new(b"a guess")));
            rig.assert_alive();
            assert_eq!(rig.numbers(), []);
        }
        rig.method();
        rig.peer.send_newkeys();
        rig.run();
        rig.assert_alive();
    }
    // Exactly one.
    let mut rig = Rig::new(Role::Server);
    rig.peer.offer.guess = true;
    rig.kexinit();
    rig.send(&payload(&msg::EcdhInit::new(b"a guess")));
    rig.send(&payload(&msg::EcdhInit::new(b"a guess")));
    rig.assert_fault(Fault::BadPublicValue);
    // A guess of another method, and a server that guesses.
    let mut rig = Rig::new(Role::Server);
    rig.peer.offer.guess = true;
    rig.kexinit();
    rig.send(&payload(&msg::GexRequest::new(1, 2, 3)));
    rig.method();
    rig.assert_alive();
    let mut rig = Rig::new(Role::Client);
    rig.peer.offer.guess = true;
    rig.kexinit();
    rig.send(&payload(&msg::EcdhReply::new(b"a", b"b", b"c")));
    rig.assert_alive();
    rig.method();
    rig.assert_alive();
    // A guess is no licence for anything else.
    let mut rig = Rig::new(Role::Server);
    rig.peer.offer.guess = true;
    rig.kexinit();
    rig.send(&[21]);
    rig.assert_fault(Fault::UnexpectedMessage);
}

#[test]
fn k12_mac_lists_do_not_matter_beside_an_aead() {
    for role in ROLES {
        let mut rig = Rig::new(role);
        rig.peer.offer.mac = ["umac-64@openssh.com".into(), "umac-128@openssh.com".into()];
        rig.login();
    }
}

// ---- later exchanges ----

#[test]
fn k23_k24_keys_of_every_length_and_a_session_id_that_never_changes() {
    for role in ROLES {
        let mut rig = legacy(role);
        rig.login();
        let id = rig.peer.session_id.clone();
        let ciphers = [
            (Kex::Curve25519Sha256, Cipher::ChaCha20Poly1305, Mac::HmacSha256),
            (Kex::Group16Sha512, Cipher::Aes256Ctr, Mac::HmacSha512),
            (Kex::Group1Sha1, Cipher::ChaCha20Poly1305, Mac::HmacSha512Etm),
            (Kex::EcdhNistp384, Cipher::TripleDesCbc, Mac::HmacSha1_96),
            (Kex::Group14Sha1, Cipher::Aes256Cbc, Mac::HmacSha512),
            (Kex::MlKem768X25519Sha256, Cipher::Aes192Ctr, Mac::HmacMd5),
        ];
        for (kex, cipher, mac) in ciphers {
            rig.peer.offer = rig.peer.offer.clone().kex(kex).cipher(cipher, Some(mac));
            rig.rekey();
            rig.put(&msg::GlobalRequest::new(SshStr::new(b"hello"), true, &[]));
            rig.expect(82);
            let own = rig.conn().session_id().unwrap().as_bytes().to_vec();
            assert_eq!((&own, &rig.peer.session_id), (&id, &id));
        }
    }
}

#[test]
fn k26_data_stops_with_the_peers_kexinit_not_with_ours() {
    for role in ROLES {
        let mut rig = Rig::new(role);
        rig.login();
        let (id, number) = rig.opened(0, 1 << 20, 1 << 15);
        rig.conn().rekey().unwrap();
        rig.run();
        // Ours is out: the peer's data is still legal, and nothing of ours leaves.
        for _ in 0..100 {
            rig.put(&msg::ChannelData::new(number, b"more"));
        }
        assert_eq!(rig.app.data.len(), 400);
        let write = rig.conn().write(id, konko_core::channel::DataStream::Data, b"x");
        assert_eq!(write, Ok(0));
        assert_eq!(rig.numbers(), [20]);
        rig.peer.send_kexinit();
        rig.run();
        rig.put(&msg::ChannelData::new(number, b"too late"));
        rig.assert_fault(Fault::UnexpectedMessage);
        assert_eq!(rig.app.data.len(), 400);
    }
}

#[test]
fn k27_writes_while_the_peer_sits_in_a_key_exchange_cost_nothing() {
    let mut rig = Rig::new(Role::Server);
    rig.login();
    let (id, _) = rig.opened(0, u32::MAX, 1 << 15);
    rig.peer.send_kexinit();
    rig.run();
    let mut taken = 0;
    for _ in 0..100 {
        let chunk = vec![0; 1 << 20];
        taken += rig.conn_server().write(id, konko_core::channel::DataStream::Data, &chunk).unwrap();
    }
    assert_eq!(taken, 0);
    // What the application posts is bounded too.
    let command = vec![b'x'; 1000];
    let mut posted = 0;
    let exec = |text| konko_core::channel::ChannelRequest::Exec(SshStr::new(text));
    while rig.conn_server().request(id, exec(&command), WantReply::No).is_ok() {
        posted += 1;
        assert!(posted < 1000);
    }
    rig.wait(std::time::Duration::from_secs(31));
    let timeout =
        Error::Timeout(konko_core::error::TimerKind::KeyExchange, konko_core::error::Phase::Connected);
    assert_eq!(rig.error, Some(timeout));
}

/// Key renewals by the peer, one after the other with nothing but this pause between them, that a
/// machine serves; at most `most`.
fn renewals(role: Role, pause: std::time::Duration, most: usize) -> usize {
    let mut config = transport(Policy::Modern);
    config.keepalive = None;
    let mut rig = Rig::with(role, config);
    rig.login();
    for done in 0..most {
        rig.now = rig.now + pause;
        rig.peer.send_kexinit();
        rig.run();
        if rig.error.is_some() {
            rig.assert_fault(Fault::TooManyKeyExchanges);
            return done;
        }
        while rig.peer.next().unwrap()[0] != 20 {}
        rig.peer.agree();
        rig.method();
        rig.peer.send_newkeys();
        rig.run();
        rig.events.clear();
    }
    rig.assert_alive();
    most
}

#[test]
fn e1_key_renewals_are_limited_by_their_rate_and_not_by_a_small_number() {
    let millis = std::time::Duration::from_millis;
    for role in ROLES {
        // A client that renews its keys again and again, and nothing else.
        assert_eq!(renewals(role, millis(0), 100), 100, "{role:?}");
        // At a pace that costs nobody anything, for ever; ten times as fast, not.
        assert_eq!(renewals(role, millis(100), 600), 600, "{role:?}");
        assert!(renewals(role, millis(10), 600) < 600, "{role:?}");
    }
}

#[test]
fn k28_no_rekey_before_authentication_and_no_storm_after_it() {
    for service in [false, true] {
        let mut rig = Rig::new(Role::Server);
        if service {
            rig.service()
        } else {
            rig.handshake()
        };
        rig.peer.send_kexinit();
        rig.run();
        rig.assert_fault(Fault::UnexpectedMessage);
    }
    for role in ROLES {
        let done = renewals(role, std::time::Duration::ZERO, 1000);
        assert!((200..500).contains(&done), "{done}");
        // With anything between them, or at a human pace, as many as the peer likes.
        let mut rig = Rig::new(role);
        rig.login();
        for _ in 0..20 {
            rig.rekey();
            rig.put(&msg::GlobalRequest::new(SshStr::new(b"hello"), true, &[]));
            rig.expect(82);
        }
    }
}

#[test]
fn k28_an_idle_connection_may_renew_its_keys_for_days() {
    for (role, ours) in
        [(Role::Client, true), (Role::Server, true), (Role::Client, false), (Role::Server, false)]
    {
        let mut config = transport(Policy::Modern);
        config.keepalive = None;
        let mut rig = Rig::with(role, config);
        rig.login();
        for hour in 0..50 {
            if ours {
                rig.wait(std::time::Duration::from_secs(3600));
                rig.rekey();
            } else {
                rig.wait(std::time::Duration::from_secs(60));
                rig.rekey();
            }
            assert_eq!(rig.error, None, "exchange {hour}, {role:?}, ours: {ours}");
        }
    }
}

#[test]
fn k29_kexinit_is_hashed_as_it_came() {
    for role in ROLES {
        let mut rig = Rig::new(role);
        rig.peer.offer.reserved = 1;
        rig.peer.offer.languages = "en,eo".into();
        rig.peer.offer.compression = ["none,lzma".into(), "bogus,none".into()];
        rig.login();
        let mut rig = Rig::new(role);
        rig.peer.send_ident();
        let whole = rig.peer.offer.payload([0; 16]);
        rig.send(&whole[..whole.len() - 1]);
        rig.assert_fault(Fault::Malformed);
    }
}

#[test]
fn k30_cookies_and_ephemeral_keys_are_fresh_and_padding_is_random() {
    let mut rig = Rig::new(Role::Client);
    rig.login();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..10 {
        rig.peer.send_kexinit();
        rig.run();
        let init = rig.expect(20);
        assert!(seen.insert(init[1..17].to_vec()), "cookie");
        rig.peer.agree();
        let public = rig.expect(30);
        assert!(seen.insert(public.clone()), "ephemeral key");
        let reply = rig.peer.on_kex_init(&public);
        rig.send(&reply);
        rig.expect(21);
        rig.peer.send_newkeys();
        rig.run();
        rig.put(&msg::GlobalRequest::new(SshStr::new(b"hello"), true, &[]));
        rig.expect(82);
    }
}

#[test]
fn k31_rsa_key_exchange_does_not_exist() {
    for role in ROLES {
        let mut rig = legacy(role);
        rig.peer.offer.kex = "rsa2048-sha256,rsa1024-sha1".into();
        rig.peer.send_ident();
        rig.peer.send_kexinit();
        rig.run();
        rig.assert_fault(Fault::NoCommonAlgorithm);
    }
}

#[test]
fn a_client_offers_the_key_it_was_given() {
    let key = key_of(KeyType::ED25519, 9);
    let mut rig = Rig::new(Role::Client);
    rig.app.proofs = vec![Proof::Key(key)];
    rig.service();
    let request = rig.expect(50);
    assert!(request.windows(11).any(|w| w == b"ssh-ed25519"));
}
