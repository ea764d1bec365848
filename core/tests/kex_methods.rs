//! Key exchange methods, both roles, and the public values that must be refused.

mod crypto_support;

use crypto_support::*;
use konko_core::crypto::groups::{GROUP1, GROUP14, GROUP15, GROUP16, GROUP18};
use konko_core::crypto::kex::{Ephemeral, PublicValue, respond};
use konko_core::crypto::{Curve, Kem, Kex, Policy, Provider, Secret};

fn hybrids(p: &dyn Provider) -> Vec<(Kex, Kem)> {
    methods(p).into_iter().filter_map(|method| Some((method, method.kem()?))).collect()
}

/// Bytes of the classic half of a hybrid's public value.
fn point_len(method: Kex) -> usize {
    method.curve().map_or(32, |curve| 1 + 2 * curve.width())
}

/// Points of small order and their non-canonical encodings (<https://cr.yp.to/ecdh.html#validate>):
/// 0, 1, two of order 8, p-1, p, p+1, and those below 2^255 plus p that still fit, with and
/// without the ignored top bit.
fn low_order_points() -> Vec<[u8; 32]> {
    let mut points: Vec<[u8; 32]> = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ]
    .map(hex32)
    .to_vec();
    for i in 0..points.len() {
        let mut high = points[i];
        high[31] |= 0x80;
        points.push(high);
    }
    points
}

fn strings(value: &PublicValue) -> Vec<u8> {
    match value {
        PublicValue::String(bytes) | PublicValue::Mpint(bytes) => bytes.clone(),
    }
}

fn client(method: Kex, p: &dyn Provider) -> (Ephemeral, Vec<u8>) {
    let (own, init) = Ephemeral::client(method, &mut rng(1), p).unwrap();
    (own, strings(&init))
}

/// Whether a server refuses `init`, and a client `reply`.
fn refused_by_both(method: Kex, init: PublicValue, reply: PublicValue, p: &dyn Provider) {
    assert!(respond(method, &init, &mut rng(2), p).is_err(), "{method} server");
    assert!(client(method, p).0.finish(&reply, p).is_err(), "{method} client");
}

#[test]
fn every_method_agrees_between_both_roles() {
    for p in providers() {
        for method in methods(p) {
            let (own, init) = match method.group_exchange() {
                true => Ephemeral::dh(GROUP15.p, GROUP15.g, &mut rng(1), p).unwrap(),
                false => Ephemeral::client(method, &mut rng(1), p).unwrap(),
            };
            let (reply, theirs) = match method.group_exchange() {
                true => {
                    let (theirs, reply) = Ephemeral::dh(GROUP15.p, GROUP15.g, &mut rng(2), p).unwrap();
                    (reply, theirs.finish(&init, p).unwrap())
                }
                false => respond(method, &init, &mut rng(2), p).unwrap(),
            };
            let ours = own.finish(&reply, p).unwrap();
            assert_eq!(ours.encoded(), theirs.encoded(), "{method} on {}", p.name());
            assert!(ours.encoded().len() > 20);
            let dh = method.name().starts_with("diffie");
            assert_eq!(matches!(reply, PublicValue::Mpint(_)), dh, "{method}");
        }
    }
}

#[test]
fn k19_the_hybrid_secret_is_a_string_and_both_halves_influence_it() {
    for p in providers() {
        for (method, kem) in hybrids(p) {
            let (_, init) = client(method, p);
            assert_eq!(init.len(), kem.public_len() + point_len(method), "{method}");
            let init = PublicValue::String(init);
            let (reply, secret) = respond(method, &init, &mut rng(2), p).unwrap();
            let hash = method.hash().len();
            assert_eq!(secret.encoded()[..4], (hash as u32).to_be_bytes(), "{method}");
            assert_eq!(secret.encoded().len(), 4 + hash);
            let reply = strings(&reply);
            let ciphertext = kem.ciphertext_len();
            assert_eq!(reply.len(), ciphertext + point_len(method));
            // A flipped bit in the ciphertext: another secret, no error (K-17, implicit rejection).
            for at in [0, ciphertext / 2, ciphertext - 1] {
                let mut other = reply.clone();
                other[at] ^= 1;
                let ours = client(method, p).0.finish(&PublicValue::String(other), p).unwrap();
                assert_ne!(ours.encoded(), secret.encoded(), "{method}: byte {at}");
            }
            // In the point: Curve25519 takes nearly anything, NIST's curves take points on them only.
            for at in [ciphertext, ciphertext + 1, ciphertext + 30] {
                let mut other = reply.clone();
                other[at] ^= 1;
                let ours = client(method, p).0.finish(&PublicValue::String(other), p);
                match method.curve() {
                    None => assert_ne!(ours.unwrap().encoded(), secret.encoded(), "{method}: byte {at}"),
                    Some(_) => assert!(ours.is_err(), "{method}: byte {at}"),
                }
            }
        }
    }
}

/// A method that a provider lacks is not offered, and the others are.
#[test]
fn what_a_provider_cannot_compute_is_never_the_only_post_quantum_offer() {
    for policy in Policy::ALL {
        let kex = policy.algorithms(true).kex;
        let first = kex.iter().position(|kex| kex.kem() == Some(Kem::MlKem768)).unwrap();
        let second = kex.iter().position(|kex| kex.kem() == Some(Kem::Sntrup761)).unwrap();
        assert!(first < second, "{}", policy.name());
    }
    for p in providers() {
        let sntrup = p.kems().contains(&Kem::Sntrup761);
        assert_eq!(sntrup, cfg!(feature = "sntrup761"), "{}", p.name());
        let offered = konko_core::TransportConfig::new(p).algorithms.for_provider(p).kex.clone();
        assert_eq!(offered.contains(&Kex::Sntrup761X25519Sha512), sntrup);
        assert_eq!(offered.contains(&Kex::Sntrup761X25519Sha512Openssh), sntrup);
        assert!(offered.contains(&Kex::MlKem768X25519Sha256));
    }
}

#[test]
fn k16_curve25519_refuses_low_order_points_and_other_lengths() {
    for p in providers() {
        for method in [Kex::Curve25519Sha256, Kex::Curve25519Sha256Libssh] {
            for point in low_order_points() {
                let value = PublicValue::String(point.to_vec());
                refused_by_both(method, value.clone(), value, p);
            }
            for len in (0..32).chain([33, 64]) {
                let value = PublicValue::String(vec![9; len]);
                refused_by_both(method, value.clone(), value, p);
            }
            let value = PublicValue::Mpint(vec![9; 32]);
            refused_by_both(method, value.clone(), value, p);
        }
    }
}

#[test]
fn k17_the_hybrid_refuses_low_order_points_and_other_lengths() {
    for p in providers() {
        for (method, kem) in hybrids(p) {
            let (_, init) = client(method, p);
            let (reply, _) = respond(method, &PublicValue::String(init.clone()), &mut rng(2), p).unwrap();
            let reply = strings(&reply);
            let bad_points: Vec<Vec<u8>> = match method.curve() {
                None => low_order_points().iter().map(|point| point.to_vec()).collect(),
                // Infinity, off the curve, compressed, of the other curve.
                Some(curve) => {
                    let good = p.ecdh_generate(curve, &mut rng(9)).1;
                    let mut off = good.clone();
                    off[7] ^= 1;
                    let compressed = [&[2 + (good[good.len() - 1] & 1)], &good[1..=curve.width()]].concat();
                    let other = if curve == Curve::P256 { Curve::P384 } else { Curve::P256 };
                    let other = p.ecdh_generate(other, &mut rng(9)).1;
                    vec![vec![0], [&[4][..], &vec![0; 2 * curve.width()]].concat(), off, compressed, other]
                }
            };
            for point in bad_points {
                let init = [&init[..kem.public_len()], &point].concat();
                let reply = [&reply[..kem.ciphertext_len()], &point].concat();
                refused_by_both(method, PublicValue::String(init), PublicValue::String(reply), p);
            }
            let longer = |v: &[u8]| PublicValue::String([v, &[1]].concat());
            refused_by_both(method, longer(&init), longer(&reply), p);
            for cut in [1, 31, 32, 33, 1000, reply.len()] {
                let cut = |v: &[u8]| PublicValue::String(v[..v.len().saturating_sub(cut)].to_vec());
                refused_by_both(method, cut(&init), cut(&reply), p);
            }
        }
    }
}

#[test]
fn k19_an_encapsulation_key_with_a_coefficient_of_q_is_refused() {
    for p in providers() {
        for (kem, polynomials) in [(Kem::MlKem768, 1152), (Kem::MlKem1024, 1536)] {
            let (private, good) = p.kem_generate(kem, &[3; 64]).unwrap();
            assert!(p.kem_encapsulate(kem, &good, &[4; 32]).is_ok());
            for at in (0..polynomials).step_by(3) {
                // The first of the two 12-bit coefficients in these three bytes becomes q = 3329.
                let mut bad = good.clone();
                bad[at] = 0x01;
                bad[at + 1] = (bad[at + 1] & 0xf0) | 0x0d;
                assert!(p.kem_encapsulate(kem, &bad, &[4; 32]).is_err(), "byte {at}");
            }
            for len in [0, 1, kem.public_len() - 1, kem.public_len() + 1] {
                assert!(p.kem_encapsulate(kem, &vec![0; len], &[4; 32]).is_err());
            }
            for len in [0, 1, kem.ciphertext_len() - 1, kem.ciphertext_len() + 1] {
                assert!(p.kem_decapsulate(kem, &private, &vec![0; len]).is_err());
            }
        }
    }
}

#[test]
fn k15_dh_values_outside_their_range_are_refused() {
    for p in providers() {
        let fixed =
            [(Kex::Group14Sha256, GROUP14), (Kex::Group14Sha1, GROUP14), (Kex::Group16Sha512, GROUP16)];
        for (method, group) in fixed {
            for value in bad_dh_values(group.p) {
                // One direction: an exponentiation is made before the check on the other side.
                let (own, _) = Ephemeral::client(method, &mut rng(1), p).unwrap();
                assert!(own.finish(&PublicValue::Mpint(value.clone()), p).is_err(), "{method} {value:02x?}");
            }
            let sane = PublicValue::Mpint(vec![0x0f]);
            assert!(respond(method, &sane, &mut rng(2), p).is_ok(), "four bits set are enough");
            let one = PublicValue::Mpint(vec![1]);
            assert!(respond(method, &one, &mut rng(2), p).is_err());
            let string = PublicValue::String(vec![0x0f]);
            assert!(respond(method, &string, &mut rng(2), p).is_err());
        }
        // Group exchange.
        for value in bad_dh_values(GROUP15.p) {
            let (own, _) = Ephemeral::dh(GROUP15.p, GROUP15.g, &mut rng(1), p).unwrap();
            assert!(own.finish(&PublicValue::Mpint(value), p).is_err());
        }
    }
}

/// 0, 1, values with fewer than four bits, p-1, p, p+1, 2p, 16385 bits.
fn bad_dh_values(p: &[u8]) -> Vec<Vec<u8>> {
    let last = |add: i16| {
        let mut v = p.to_vec();
        let mut carry = add;
        for byte in v.iter_mut().rev() {
            let sum = i16::from(*byte) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        if carry > 0 { [&[carry as u8], &v[..]].concat() } else { v }
    };
    let mut doubled = vec![0; p.len() + 1];
    for (i, byte) in p.iter().enumerate() {
        doubled[i] |= byte >> 7;
        doubled[i + 1] = byte << 1;
    }
    let mut sparse = vec![0; p.len()];
    sparse[1] = 0x80;
    sparse[p.len() - 1] = 3;
    vec![
        vec![],
        vec![0],
        vec![1],
        vec![2],
        vec![7],
        sparse,
        last(-1),
        last(0),
        last(1),
        doubled,
        [&[1][..], &[0xff; 2048]].concat(),
        [&[0, 0][..], &last(-1)].concat(),
    ]
}

#[test]
fn k18_nist_points_in_other_forms_off_the_curve_or_at_infinity_are_refused() {
    let methods = [
        (Kex::EcdhNistp256, Curve::P256),
        (Kex::EcdhNistp384, Curve::P384),
        (Kex::EcdhNistp521, Curve::P521),
    ];
    for p in providers() {
        for (method, curve) in methods {
            let (_, good) = p.ecdh_generate(curve, &mut rng(9));
            let width = curve.width();
            let mut bad = vec![vec![], vec![0], vec![4], vec![0; good.len()]];
            for prefix in [0, 1, 2, 3, 5, 6, 7] {
                let mut other = good.clone();
                other[0] = prefix;
                bad.push(other.clone());
                bad.push(other[..=width].to_vec());
            }
            for at in [1, width, width + 1, 2 * width] {
                let mut off = good.clone();
                off[at] ^= 1;
                bad.push(off);
            }
            bad.push(good[..good.len() - 1].to_vec());
            bad.push([&good[..], &[0]].concat());
            bad.push([&[4][..], &vec![0; 2 * width]].concat());
            bad.push([&[4][..], &vec![0xff; 2 * width]].concat());
            for (_, other) in methods.iter().filter(|(_, other)| *other != curve) {
                bad.push(p.ecdh_generate(*other, &mut rng(9)).1);
            }
            for point in bad {
                let value = PublicValue::String(point);
                refused_by_both(method, value.clone(), value, p);
            }
            let (secret, _) = p.ecdh_generate(curve, &mut rng(1));
            assert!(p.ecdh(curve, &secret, &good).is_ok());
            for wrong in [vec![0; width], vec![0xff; width], vec![1; width - 1], vec![], vec![0; width + 1]] {
                assert!(p.ecdh(curve, &Secret::new(wrong), &good).is_err(), "our own scalar");
            }
        }
    }
}

#[test]
fn modexp_refuses_what_it_cannot_do_in_bounded_time() {
    for p in providers() {
        let e = || Secret::new(vec![5]);
        let odd = [&[0xff; 1024][..], &[0xff]].concat();
        assert!(p.modexp(&odd, &[2], &e()).is_err(), "8200 bits");
        assert!(p.modexp(GROUP18.p, &[2], &e()).is_ok(), "8192 bits");
        for modulus in [&[][..], &[0], &[1], &[2], &[0x10, 0]] {
            assert!(p.modexp(modulus, &[0], &e()).is_err(), "{modulus:?}");
        }
        assert!(p.modexp(&[23], &[23], &e()).is_err(), "the base is not reduced");
        assert!(p.modexp(&[23], &[2], &Secret::empty()).is_err());
        assert!(p.modexp(&[23], &[2], &Secret::new(vec![1; 1025])).is_err());
        assert_eq!(p.modexp(&[0, 23], &[0, 2], &e()).unwrap().expose(), [9]);
        assert_eq!(p.modexp(&[23], &[0], &e()).unwrap().expose(), []);
        assert_eq!(p.modexp(GROUP1.p, &[2], &e()).unwrap().expose(), [32]);
    }
}
