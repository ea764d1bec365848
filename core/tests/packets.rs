//! Packet protection: what must be refused is, nothing leaks from it, and no nonce is used twice.

mod crypto_support;

use crypto_support::*;
use konko_core::crypto::{BadTag, Cipher, Mac, PacketOpener, Protection, Provider, Shape};

/// Length, then open, as a connection does.
fn receive(opener: &mut dyn PacketOpener, seq: u32, packet: &mut [u8]) -> Result<u32, BadTag> {
    let head = opener.shape().head;
    let length = opener.length(seq, &mut packet[..head]);
    opener.open(seq, packet).map(|()| length)
}

fn seal(p: &dyn Provider, protection: Protection, seq: u32, blocks: usize) -> (Vec<u8>, Vec<u8>) {
    let mut sealer = p.sealer(protection, &pattern_keys(protection)).unwrap();
    let plain = packet(sealer.shape(), blocks);
    let mut sealed = plain.clone();
    sealer.seal(seq, &mut sealed);
    (plain, sealed)
}

/// Whether any 8 bytes in a row of the plaintext's content can be found in `buffer`.
fn leaks(buffer: &[u8], plain: &[u8], shape: Shape) -> bool {
    let content = &plain[4..plain.len() - shape.tag];
    content.windows(8).any(|w| buffer.windows(8).any(|b| b == w))
}

#[test]
fn every_protection_round_trips_packet_after_packet() {
    for p in providers() {
        for protection in protections() {
            let keys = pattern_keys(protection);
            let mut sealer = p.sealer(protection, &keys).unwrap();
            let mut opener = p.opener(protection, &keys).unwrap();
            let shape = sealer.shape();
            assert_eq!(shape, opener.shape());
            for (i, blocks) in [1, 2, 5, 1, 64, 2048, 3].into_iter().enumerate() {
                let seq = 0xffff_fffcu32.wrapping_add(i as u32);
                let plain = packet(shape, blocks);
                let mut wire = plain.clone();
                sealer.seal(seq, &mut wire);
                assert!(blocks > 5 || !leaks(&wire, &plain, shape), "{protection:?}");
                let length = receive(&mut *opener, seq, &mut wire).unwrap();
                assert_eq!(length as usize, plain.len() - 4 - shape.tag, "{protection:?}");
                let end = plain.len() - shape.tag;
                assert_eq!(wire[..end], plain[..end], "{protection:?}");
            }
        }
    }
}

#[test]
fn shapes_say_how_packets_are_laid_out() {
    let shape = |cipher, mac| {
        let protection = Protection { cipher, mac };
        let sealer = providers()[0].sealer(protection, &pattern_keys(protection)).unwrap();
        sealer.shape()
    };
    let plain = Shape { block: 8, tag: 0, length_in_block: false, head: 4, conceal: false };
    assert_eq!(shape(Cipher::Aes256Gcm, None), Shape { block: 16, tag: 16, ..plain });
    assert_eq!(shape(Cipher::ChaCha20Poly1305, None), Shape { tag: 16, ..plain });
    let ctr_etm = shape(Cipher::Aes128Ctr, Some(Mac::HmacSha256Etm));
    assert_eq!(ctr_etm, Shape { block: 16, tag: 32, ..plain });
    let ctr = shape(Cipher::Aes128Ctr, Some(Mac::HmacSha1_96));
    assert_eq!(ctr, Shape { block: 16, tag: 12, length_in_block: true, head: 16, conceal: false });
    let cbc = shape(Cipher::Aes256Cbc, Some(Mac::HmacSha512));
    assert_eq!(cbc, Shape { block: 16, tag: 64, length_in_block: true, head: 16, conceal: true });
    let des = shape(Cipher::TripleDesCbc, Some(Mac::HmacMd5));
    assert_eq!(des, Shape { block: 8, tag: 16, length_in_block: true, head: 8, conceal: true });
    let cbc_etm = shape(Cipher::Aes256Cbc, Some(Mac::HmacSha1Etm));
    assert_eq!(cbc_etm, Shape { block: 16, tag: 20, ..plain });
}

#[test]
fn v13_v14_every_flipped_bit_of_a_packet_is_refused_for_every_protection() {
    for p in providers() {
        for protection in protections() {
            let keys = pattern_keys(protection);
            let (plain, sealed) = seal(p, protection, 5, 3);
            for bit in 0..sealed.len() * 8 {
                let mut wire = sealed.clone();
                wire[bit / 8] ^= 1 << (bit % 8);
                let mut opener = p.opener(protection, &keys).unwrap();
                assert_eq!(receive(&mut *opener, 5, &mut wire), Err(BadTag), "{protection:?} bit {bit}");
                assert!(wire.iter().all(|b| *b == 0), "{protection:?}: something is left in the buffer");
                assert!(!leaks(&wire, &plain, opener.shape()));
            }
        }
    }
}

#[test]
fn v13_wrong_tags_of_every_kind_are_refused_for_every_protection() {
    for p in providers() {
        for protection in protections() {
            let keys = pattern_keys(protection);
            let mut sealer = p.sealer(protection, &keys).unwrap();
            let shape = sealer.shape();
            let [mut first, mut second] = [packet(shape, 2), packet(shape, 2)];
            sealer.seal(0, &mut first);
            sealer.seal(1, &mut second);
            let body = first.len() - shape.tag;
            let previous = [&second[..body], &first[body..]].concat();
            let zero = [&first[..body], &vec![0; shape.tag]].concat();
            let ones = [&first[..body], &vec![0xff; shape.tag]].concat();
            let truncated = first[..first.len() - 1].to_vec();
            let bare = first[..body].to_vec();
            for (seq, mut wire) in
                [(0, zero), (0, ones), (0, truncated), (0, bare), (0, previous.clone()), (1, previous)]
            {
                let mut opener = p.opener(protection, &keys).unwrap();
                assert_eq!(receive(&mut *opener, seq, &mut wire), Err(BadTag), "{protection:?}");
                assert!(wire.iter().all(|b| *b == 0));
            }
            // A packet twice, or under another number.
            let mut opener = p.opener(protection, &keys).unwrap();
            assert!(receive(&mut *opener, 0, &mut first.clone()).is_ok());
            assert_eq!(receive(&mut *opener, 1, &mut first), Err(BadTag), "{protection:?} replayed");
            let mut opener = p.opener(protection, &keys).unwrap();
            if protection.mac.is_some() || protection.cipher == Cipher::ChaCha20Poly1305 {
                assert_eq!(receive(&mut *opener, 7, &mut second), Err(BadTag), "{protection:?} renumbered");
            }
        }
    }
}

#[test]
fn buffers_of_any_length_are_refused_without_a_panic() {
    for p in providers() {
        for protection in protections() {
            let keys = pattern_keys(protection);
            for len in 0..120 {
                let mut opener = p.opener(protection, &keys).unwrap();
                let mut buffer = pattern(len, 9);
                let head = opener.shape().head.min(len);
                opener.length(0, &mut buffer[..head]);
                assert_eq!(opener.open(0, &mut buffer), Err(BadTag));
                assert!(buffer.iter().all(|b| *b == 0));
                // Nothing in clear comes out of a sealer that was given something else than packets.
                let mut sealer = p.sealer(protection, &keys).unwrap();
                let mut buffer = vec![0x55; len];
                sealer.seal(0, &mut buffer);
                assert!(!buffer.windows(8).any(|w| w == [0x55; 8]) || len < 24, "{protection:?} {len}");
            }
        }
    }
}

#[test]
fn keys_of_wrong_length_and_odd_pairs_are_refused() {
    for p in providers() {
        for protection in protections() {
            for (what, n) in [(0, 1), (1, 1), (2, 1), (0, 0), (1, 0), (2, 0)] {
                let mut keys = pattern_keys(protection);
                let field = [&mut keys.key, &mut keys.iv, &mut keys.mac].into_iter().nth(what).unwrap();
                let len = field.expose().len();
                if n == 0 && len == 0 {
                    continue;
                }
                *field = konko_core::crypto::Secret::new(vec![1; if n == 0 { len - 1 } else { len + n }]);
                assert!(p.sealer(protection, &keys).is_err());
                assert!(p.opener(protection, &keys).is_err());
            }
            let odd = match protection.mac {
                Some(_) => Protection { mac: None, ..protection },
                None => Protection { mac: Some(Mac::HmacSha256), ..protection },
            };
            assert!(p.sealer(odd, &pattern_keys(odd)).is_err());
            assert!(p.opener(odd, &pattern_keys(odd)).is_err());
        }
    }
}

/// The stream for a nonce shows when zeros are sealed: equal nonces would give equal streams.
#[test]
fn v18_v19_no_two_packets_share_a_nonce() {
    for p in providers() {
        for cipher in [Cipher::Aes128Gcm, Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305, Cipher::Aes256Ctr] {
            let mac = (!cipher.aead()).then_some(Mac::HmacSha256Etm);
            let protection = Protection { cipher, mac };
            let mut keys = pattern_keys(protection);
            if cipher.iv_len() == 12 {
                // The invocation counter goes over its top.
                let iv = [&[1, 2, 3, 4], &[0xff; 8][..]].concat();
                keys.iv = konko_core::crypto::Secret::new(iv);
            }
            let mut sealer = p.sealer(protection, &keys).unwrap();
            let mut opener = p.opener(protection, &keys).unwrap();
            let mut streams = std::collections::BTreeSet::new();
            for seq in 0..300u32 {
                let mut packet = vec![0; 4 + 32 + sealer.shape().tag];
                packet[3] = 32;
                sealer.seal(seq, &mut packet);
                assert!(streams.insert(packet[4..20].to_vec()), "{cipher} {seq}");
                assert!(streams.insert(packet[20..36].to_vec()), "{cipher} {seq}");
                assert_eq!(receive(&mut *opener, seq, &mut packet), Ok(32));
            }
        }
    }
}

#[test]
fn v19_chacha_never_seals_twice_under_one_sequence_number() {
    let protection = Protection { cipher: Cipher::ChaCha20Poly1305, mac: None };
    for p in providers() {
        let mut sealer = p.sealer(protection, &pattern_keys(protection)).unwrap();
        let mut sealed = |seq| {
            let mut packet = packet(sealer.shape(), 4);
            sealer.seal(seq, &mut packet);
            packet.iter().any(|b| *b != 0)
        };
        assert!(sealed(u32::MAX - 1));
        assert!(sealed(u32::MAX));
        assert!(sealed(0), "the number wraps");
        assert!(!sealed(0));
        assert!(!sealed(u32::MAX));
        assert!(sealed(1));
    }
}
