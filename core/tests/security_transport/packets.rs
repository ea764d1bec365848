//! The binary packet.

use super::*;

#[test]
fn v08_v12_lengths_out_of_bounds_or_off_the_block_are_refused_before_anything_is_allocated() {
    for suite in suites() {
        for length in [0u32, 1, 2, 3, 4, 262_145, 262_152, 0x7fff_ffff, 0x8000_0000, 0xffff_fffb, u32::MAX] {
            let mut rig = with_suite(Role::Server, suite);
            let cbc = suite.is_some_and(|(c, m)| c.cbc() && !m.unwrap().etm());
            let packet = rig.peer.shaped(length, 4, &[2], 300);
            rig.feed(&packet);
            if cbc {
                // What is wrong is not told before as much was read as a packet may hold.
                rig.assert_alive();
                rig.feed(&vec![0; 300 * 1024]);
            }
            rig.assert_fault(if cbc { Fault::BadTag } else { Fault::PacketLength });
        }
    }
    // Every small length: legal ones have whole blocks.
    for suite in suites() {
        let block = with_suite(Role::Server, suite).peer.block();
        for length in 5u32..40 {
            let mut rig = with_suite(Role::Server, suite);
            let pad = 4 + (length as usize - 5).min(3);
            let body = vec![2; (length as usize) - 1 - pad];
            let legal = if block.2 {
                (length as usize + 4).is_multiple_of(block.0)
            } else {
                (length as usize).is_multiple_of(block.0)
            };
            if !legal && suite.is_some() {
                continue;
            }
            let packet = rig.peer.shaped(length, pad as u8, &body, pad);
            rig.feed(&packet);
            match (legal, body.is_empty()) {
                (true, false) => rig.assert_alive(),
                (true, true) => rig.assert_fault(Fault::EmptyPayload),
                (false, _) => rig.assert_fault(Fault::PacketLength),
            }
        }
    }
}

#[test]
fn v08_the_largest_packet_is_fine() {
    for suite in suites() {
        for role in ROLES {
            let mut rig = with_suite(role, suite);
            let (block, _, whole) = rig.peer.block();
            let length = if whole { 262_144 - 4 - (262_144 % block) } else { 262_144 };
            let length = if whole { length - (length + 4) % block } else { length };
            let mut body = vec![0; length - 1 - 4];
            body[0] = 2;
            let packet = rig.peer.shaped(length as u32, 4, &body, 4);
            rig.feed(&packet);
            rig.assert_alive();
            if suite.is_some() {
                rig.send(&strings(192, &[b"in step"]));
                let all = rig.messages();
                assert_eq!(all.last().unwrap()[0], 193);
            }
        }
    }
}

#[test]
fn v10_v11_padding_is_at_least_4_and_leaves_a_message() {
    for suite in suites() {
        for (pad, payload, padding, fault) in [
            (0, 20, 3, Fault::Padding),
            (3, 20, 3, Fault::Padding),
            (23, 0, 23, Fault::EmptyPayload),
            (24, 1, 22, Fault::Padding),
            (255, 1, 22, Fault::Padding),
        ] {
            let mut rig = with_suite(Role::Server, suite);
            let (block, _, whole) = rig.peer.block();
            // 24 bytes behind the length, or what the block asks for.
            let length = match (whole, block) {
                (true, _) => 28,
                (false, 16) => 32,
                (false, _) => 24,
            };
            let extra = length - 24;
            let pad = if fault == Fault::EmptyPayload { pad + extra } else { pad };
            let (body, padding) = (vec![2; payload], padding + extra);
            let packet = rig.peer.shaped(length as u32, pad as u8, &body, padding);
            rig.feed(&packet);
            if fault == Fault::Padding && pad == 24 && extra > 0 {
                rig.assert_alive();
            } else {
                rig.assert_fault(fault);
            }
        }
    }
}

#[test]
fn v13_v14_a_packet_that_is_not_genuine_is_nobodys_business() {
    for suite in SUITES {
        for role in ROLES {
            for what in 0..5 {
                let mut rig = with_suite(role, Some(suite));
                let tag = rig.peer.block().1;
                let earlier = rig.peer.packet(&strings(192, &[b"earlier"]));
                rig.feed(&earlier);
                rig.messages();
                let heard = rig.events.len();
                let mut packet = rig.peer.packet(&strings(192, &[b"genuine"]));
                let end = packet.len();
                match what {
                    0 => packet[end - tag..].fill(0),
                    1 => packet[end - tag..].copy_from_slice(&earlier[earlier.len() - tag..]),
                    2 => packet.truncate(end - 1),
                    3 => packet.drain(end - tag..).for_each(drop),
                    _ => packet[end - tag..].rotate_left(1),
                }
                rig.feed(&packet);
                rig.feed(&vec![0x5a; 300 * 1024]);
                rig.assert_fault(Fault::BadTag);
                assert_eq!(rig.events.len(), heard);
            }
        }
    }
}

#[test]
fn v15_nothing_is_called_none() {
    for policy in Policy::ALL {
        for fast in [false, true] {
            let all = format!("{:?}", policy.algorithms(fast));
            assert!(!all.contains("null") && !all.contains("Null"));
        }
    }
    for role in ROLES {
        for what in 0..2 {
            let mut rig = Rig::with(role, transport(Policy::LegacyDevice));
            let none = ["none".to_string(), "none".to_string()];
            if what == 0 {
                rig.peer.offer.cipher = none;
            } else {
                rig.peer.offer.cipher = ["aes128-ctr".into(), "aes128-ctr".into()];
                rig.peer.offer.mac = none;
            }
            rig.peer.send_ident();
            rig.peer.send_kexinit();
            rig.run();
            rig.assert_fault(Fault::NoCommonAlgorithm);
        }
    }
}

#[test]
fn v16_v36_packets_and_bytes_before_authentication_are_counted() {
    for role in ROLES {
        for strict in [false, true] {
            let mut rig = Rig::new(role);
            if !strict {
                rig.peer.offer = rig.peer.offer.clone().lax();
            }
            rig.peer.send_ident();
            rig.run();
            let mut sent = 0;
            while rig.error.is_none() {
                rig.peer.send(&[2, 0, 0, 0, 0]);
                rig.run();
                sent += 1;
                assert!(sent <= 10_001);
            }
            assert_eq!(sent, 10_001);
            rig.assert_fault(Fault::TooMuchBeforeAuth);
        }
        let mut rig = Rig::new(role);
        rig.service();
        let mut sent = 0;
        while rig.error.is_none() {
            rig.send(&[2; 200_000]);
            sent += 1;
        }
        assert_eq!(sent, (8 << 20) / 200_000 + 1);
        rig.assert_fault(Fault::TooMuchBeforeAuth);
    }
}

#[test]
fn v17_packets_and_bytes_of_one_key_have_an_end() {
    for role in ROLES {
        for packets in [false, true] {
            let mut config = transport(Policy::Modern);
            if packets {
                config.rekey.packets = 50;
            } else {
                config.rekey.bytes = 4000;
            }
            let mut rig = Rig::with(role, config);
            rig.login();
            rig.messages();
            let mut n = 0;
            while !rig.numbers().contains(&20) {
                rig.send(&strings(2, &[&[0; 50]]));
                n += 1;
                assert!(n <= 50);
            }
            // A peer that never answers is not waited for.
            for _ in 0..10 {
                rig.wait(Duration::from_secs(2));
                rig.send(&strings(2, &[b""]));
                rig.assert_alive();
            }
            rig.wait(Duration::from_secs(11));
            assert_eq!(rig.error, Some(Error::Timeout(TimerKind::KeyExchange, Phase::Connected)));
        }
    }
}

#[test]
fn v20_t05_t06_what_is_wrong_with_a_cbc_packet_is_not_told() {
    for (cipher, mac) in [(Cipher::Aes128Cbc, Mac::HmacSha1), (Cipher::TripleDesCbc, Mac::HmacSha256)] {
        let mut outcomes = Vec::new();
        for what in 0..4 {
            let mut rig = with_suite(Role::Server, Some((cipher, Some(mac))));
            let mut packet = match what {
                0 => rig.peer.shaped(9, 4, &[2; 100], 4),
                1 => rig.peer.shaped(0xffff_fffc, 4, &[2; 200], 4),
                _ => rig.peer.packet(&[2; 100]),
            };
            if what > 1 {
                let at = if what == 2 { packet.len() - 1 } else { 40 };
                packet[at] ^= 1;
            }
            rig.feed(&packet);
            let mut fed = packet.len();
            while rig.error.is_none() {
                rig.feed(&[0; 1024]);
                fed += 1024;
            }
            let said = rig.messages();
            outcomes.push((fed / 2048, said, rig.error.unwrap().to_string()));
        }
        assert!(outcomes.windows(2).all(|w| w[0] == w[1]), "{outcomes:?}");
        assert!(outcomes[0].0 >= 128);
    }
    for fast in [true, false] {
        assert!(!Policy::Modern.algorithms(fast).cipher.concat().iter().any(|c| c.cbc()));
    }
}

#[test]
fn t06_the_peer_sees_one_text_a_class_of_defect() {
    for suite in SUITES {
        let said = |flip: usize| {
            let mut rig = with_suite(Role::Server, Some(suite));
            let mut packet = rig.peer.packet(&[2; 100]);
            let at = packet.len() - 1 - flip;
            packet[at] ^= 1;
            rig.feed(&packet);
            rig.feed(&vec![0; 270 * 1024]);
            rig.messages()
        };
        assert_eq!(said(0), said(30));
    }
}

#[test]
fn v21_padding_is_fresh() {
    // Every padding is the next draw of a generator that does nothing else, so nothing that was in
    // the buffer before shows in it.
    for role in ROLES {
        let seed = if role == Role::Client { [1; 32] } else { [2; 32] };
        let mut key = Hmac::<Sha256>::new_from_slice(&seed).unwrap();
        key.update(b"padding");
        let mut draws = ChaCha20Rng::from_seed(key.finalize().into_bytes().into());
        let mut rig = Rig::new(role);
        rig.peer.paddings = Some(Vec::new());
        rig.login();
        let (id, _) = rig.opened(5, 1 << 20, 1 << 15);
        for n in 0..50 {
            rig.send(&strings(192, &[b"same"]));
            rig.expect(193);
            let _ = rig.conn().write(id, DataStream::Data, &vec![b'x'; 37 * n]);
            rig.rekey();
            rig.messages();
        }
        let paddings = rig.peer.paddings.take().unwrap();
        assert!(paddings.len() > 200);
        for (n, padding) in paddings.iter().enumerate() {
            let mut fresh = vec![0; padding.len()];
            draws.fill_bytes(&mut fresh);
            assert_eq!(*padding, fresh, "{role:?}, packet {n}");
        }
    }
}
