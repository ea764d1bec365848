//! Keys and signatures that must be refused, and how quickly.

mod crypto_support;

use std::time::{Duration, Instant};

use crypto_support::*;
use konko_core::crypto::{Curve, HashAlgorithm};
use konko_core::keys::{KeyType, SignatureAlgorithm};

/// A debug build on a busy machine; the arithmetic these keys ask for would take seconds or hours.
const AT_ONCE: Duration = Duration::from_millis(50);

#[test]
fn as10_pathological_rsa_keys_are_refused_before_any_arithmetic() {
    let odd = |bits: usize| {
        let mut n = vec![0xff; bits.div_ceil(8)];
        n[0] >>= n.len() * 8 - bits;
        n
    };
    let even = [&vec![0xff; 255][..], &[0xfe]].concat();
    let cases: Vec<(Vec<u8>, Vec<u8>)> = vec![
        (vec![1, 0, 1], odd(16385)),
        (vec![1, 0, 1], odd(1_000_000)),
        (vec![1, 0, 1], odd(1023)),
        (vec![1, 0, 1], vec![]),
        (vec![1, 0, 1], vec![0; 256]),
        (vec![1, 0, 1], even),
        (vec![], odd(2048)),
        (vec![0], odd(2048)),
        (vec![1], odd(2048)),
        (vec![2], odd(2048)),
        (vec![4], odd(2048)),
        (vec![2, 0, 0, 0, 1], odd(2048)),
        (vec![1, 0, 0, 0, 1], odd(2048)),
        (vec![0xff; 2048], odd(16384)),
    ];
    for p in providers() {
        for (e, n) in &cases {
            for algorithm in
                [SignatureAlgorithm::RSA_SHA512, SignatureAlgorithm::RSA_SHA256, SignatureAlgorithm::RSA_SHA1]
            {
                let signature = vec![1; n.len()];
                let start = Instant::now();
                assert!(verify(p, algorithm, &rsa(e, n), b"m", &signature).is_err());
                assert!(start.elapsed() < AT_ONCE, "{} bytes of n: {:?}", n.len(), start.elapsed());
            }
            let key = rsa_private([n, e, &[3], &[3], &[5], &[7]]);
            assert!(p.signer(key.kind, &key.fields).is_err());
        }
        // At the limits, so that it is known where they are: refused by the signature only.
        for n in [odd(16384), odd(1024)] {
            let key = rsa(&[0xff, 0xff, 0xff, 0xff], &n);
            assert!(verify(p, SignatureAlgorithm::RSA_SHA256, &key, b"m", &vec![1; n.len()]).is_err());
        }
    }
}

#[test]
fn as11_rsa_signatures_may_be_shorter_than_the_modulus_but_not_longer() {
    let key = &RsaFixture::all()[0];
    for p in providers() {
        let signer = p.signer("ssh-rsa", &key.private().fields).unwrap();
        // One message in 256 has a signature with a leading zero byte.
        let (message, signature) = (0u32..)
            .map(|i| i.to_be_bytes())
            .map(|m| (m, signer.sign(Some(HashAlgorithm::Sha256), &m, &mut rng(1)).unwrap()))
            .find(|(_, signature)| signature[0] == 0)
            .unwrap();
        let check = |s: &[u8]| verify(p, SignatureAlgorithm::RSA_SHA256, &key.public(), &message, s).is_ok();
        assert!(check(&signature));
        assert!(check(konko_core::wire::minimal(&signature)), "zeros stripped");
        assert!(!check(&[&[0], &signature[..]].concat()), "a zero more");
        assert!(!check(&signature[..signature.len() - 1]));
        assert!(!check(&[&signature[1..], &[0]].concat()));
    }
}

#[test]
fn as11_ed25519_lengths_the_order_and_weak_keys() {
    let seed = [4; 32];
    // The group order, little-endian.
    let order = hex32("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    for p in providers() {
        let signer = p.signer("ssh-ed25519", &ed25519_private(&seed).fields).unwrap();
        let good = signer.sign(None, b"m", &mut rng(0)).unwrap();
        let public = ed25519_public(&seed);
        let check = |s: &[u8]| verify(p, SignatureAlgorithm::ED25519, &ed25519(&public), b"m", s).is_ok();
        assert!(check(&good));
        assert!(!check(&good[..63]));
        assert!(!check(&[&good[..], &[0]].concat()));
        let mut shifted = good.clone();
        let mut carry = 0u16;
        for (byte, add) in shifted[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        assert!(!check(&shifted), "S + L");
        // The identity as key signs everything with R = identity, S = 0.
        let mut identity = [0; 32];
        identity[0] = 1;
        let forged = [&identity[..], &[0; 32]].concat();
        assert!(verify(p, SignatureAlgorithm::ED25519, &ed25519(&identity), b"any", &forged).is_err());
    }
}

/// From the seed, through a signature that only the right key verifies.
fn ed25519_public(seed: &[u8; 32]) -> [u8; 32] {
    ed25519_dalek::SigningKey::from_bytes(seed).verifying_key().to_bytes()
}

#[test]
fn an_algorithm_verifies_only_with_a_key_of_its_kind() {
    let fixture = &RsaFixture::all()[1];
    for p in providers() {
        let (_, p256) = p.ecdh_generate(Curve::P256, &mut rng(1));
        let (_, p384) = p.ecdh_generate(Curve::P384, &mut rng(1));
        let keys =
            [ed25519(&[1; 32]), ecdsa(Curve::P256, &p256), ecdsa(Curve::P384, &p384), fixture.public()];
        for algorithm in SignatureAlgorithm::all() {
            for key in &keys {
                if algorithm.key_type().name() != key.kind {
                    for len in [64, 96, 256] {
                        assert!(
                            verify(p, algorithm, key, b"m", &vec![1; len]).is_err(),
                            "{algorithm} {}",
                            key.kind
                        );
                    }
                }
            }
        }
        assert!(
            verify(p, SignatureAlgorithm::RSA_SHA256, &fixture.public(), b"konko", &fixture.sha512).is_err()
        );
        assert!(
            verify(p, SignatureAlgorithm::RSA_SHA1, &fixture.public(), b"konko", &fixture.sha256).is_err()
        );
    }
}

#[test]
fn ac10_private_numbers_that_do_not_fit_together_are_refused() {
    let fixtures = RsaFixture::all();
    let (key, other) = (&fixtures[1], &fixtures[2]);
    for p in providers() {
        assert!(p.signer("ssh-rsa", &key.private().fields).is_ok());
        let RsaFixture { n, e, d, p: first, q, .. } = key;
        let flip = |number: &[u8]| {
            let mut number = number.to_vec();
            number[20] ^= 4;
            number
        };
        let (bad_d, bad_p, bad_n) = (flip(d), flip(first), flip(n));
        let zero = [0; 128];
        let mut long = vec![1];
        long.extend_from_slice(d);
        let wrong: Vec<[&[u8]; 5]> = vec![
            [n, e, &bad_d, first, q],
            [n, e, d, &bad_p, q],
            [&bad_n, e, d, first, q],
            [n, e, d, first, first],
            [n, e, d, n, &[1]],
            [n, e, d, &zero, q],
            [n, e, d, &[], &[]],
            [n, e, &[], first, q],
            [n, e, &long, first, q],
            [n, &[3], d, first, q],
            [&other.n, e, d, first, q],
            [&other.n, &other.e, &other.d, first, q],
            [n, e, d, &[2], &[2]],
            [n, e, d, &[1], n],
        ];
        for [n, e, d, first, q] in wrong {
            assert!(p.signer("ssh-rsa", &rsa_private([n, e, d, &[], first, q]).fields).is_err());
        }
        // Swapped primes and leading zeros are the same key.
        let padded = |number: &[u8]| [&[0], number].concat();
        let (n0, e0, d0, p0, q0) = (padded(n), padded(e), padded(d), padded(first), padded(q));
        let same = rsa_private([&n0, &e0, &d0, &[], &q0, &p0]);
        let signer = p.signer(same.kind, &same.fields).unwrap();
        let signature = signer.sign(Some(HashAlgorithm::Sha512), b"konko", &mut rng(0)).unwrap();
        assert_eq!(signature, key.sha512);

        for curve in [Curve::P256, Curve::P384, Curve::P521] {
            let width = curve.width();
            let too_long = [&[1], &vec![0; width][..]].concat();
            for scalar in [vec![], vec![0; width], vec![0xff; width], too_long] {
                assert!(
                    p.signer(curve.key_type(), &ecdsa_private(curve, &scalar).fields).is_err(),
                    "{curve:?}"
                );
            }
            assert!(p.signer(curve.key_type(), &ecdsa_private(curve, &[1]).fields).is_ok());
        }
    }
}

/// The blinding is drawn for each signature, and does not show in it.
#[test]
fn t02_rsa_blinding_draws_from_the_given_generator() {
    let key = &RsaFixture::all()[1];
    for p in providers() {
        let signer = p.signer("ssh-rsa", &key.private().fields).unwrap();
        let (mut used, mut fresh) = (rng(3), rng(3));
        let signature = signer.sign(Some(HashAlgorithm::Sha256), b"konko", &mut used).unwrap();
        assert_eq!(signature, key.sha256);
        let (after, before) = (used.array::<16>(), fresh.array::<16>());
        assert_ne!(after, before, "something was drawn");
        assert_eq!(signer.sign(Some(HashAlgorithm::Sha256), b"konko", &mut rng(99)).unwrap(), signature);
    }
}

/// RFC 6979, pinned by its vectors; the distribution is tested in `crypto_properties.rs`.
#[test]
fn t03_ecdsa_nonces_depend_on_the_message() {
    for p in providers() {
        for curve in [Curve::P256, Curve::P384, Curve::P521] {
            let (secret, _) = p.ecdh_generate(curve, &mut rng(1));
            let signer = p.signer(curve.key_type(), &ecdsa_private(curve, secret.expose()).fields).unwrap();
            let r = |message: &[u8], seed| {
                let signature = signer.sign(Some(curve.hash()), message, &mut rng(seed)).unwrap();
                signature[..curve.width()].to_vec()
            };
            assert_eq!(r(b"a", 1), r(b"a", 2));
            assert_ne!(r(b"a", 1), r(b"b", 1));
        }
    }
}

#[test]
fn every_signature_algorithm_is_one_key_types() {
    for algorithm in SignatureAlgorithm::all() {
        let kinds: Vec<_> = KeyType::certificates()
            .chain(KeyType::all())
            .filter(|k| k.signature_algorithms().contains(&algorithm))
            .collect();
        assert_eq!(kinds, [algorithm.key_type()], "{algorithm}");
        assert_eq!(SignatureAlgorithm::from_name(algorithm.name()), Some(algorithm));
    }
    assert_eq!(KeyType::from_name("ssh-dss"), None);
}
