//! Properties, with num-bigint-dig as the independent oracle for numbers.

mod crypto_support;
mod property;

use std::str::FromStr;

use crypto_support::*;
use konko_core::crypto::groups::{GROUP1, GROUP14, GROUP15, GROUP16, GROUP17, GROUP18};
use konko_core::crypto::{DhGroup, Secret};
use konko_core::keys::SignatureAlgorithm;
use num_bigint_dig::BigUint;
use num_bigint_dig::prime::{probably_prime_lucas, probably_prime_miller_rabin};
use proptest::prelude::*;

const GROUPS: [(&str, DhGroup<'static>); 6] =
    [("1", GROUP1), ("14", GROUP14), ("15", GROUP15), ("16", GROUP16), ("17", GROUP17), ("18", GROUP18)];

fn int(bytes: &[u8]) -> BigUint {
    BigUint::from_bytes_be(bytes)
}

/// floor(pi * 2^bits), by Machin's formula.
fn pi(bits: usize) -> BigUint {
    let guard = 64;
    let arctan_inverse = |x: u64| {
        let one = BigUint::from(1u8) << (bits + guard);
        let (x, x2) = (BigUint::from(x), BigUint::from(x * x));
        let mut power = one / x;
        let (mut plus, mut minus) = (BigUint::from(0u8), BigUint::from(0u8));
        let mut k = 1u64;
        while power > BigUint::from(0u8) {
            let term = &power / BigUint::from(k);
            if k % 4 == 1 {
                plus += term
            } else {
                minus += term
            }
            power /= &x2;
            k += 2;
        }
        plus - minus
    };
    let sixteenth = arctan_inverse(5) * BigUint::from(16u8) - arctan_inverse(239) * BigUint::from(4u8);
    sixteenth >> guard
}

/// `p = 2^n - 2^(n-64) - 1 + 2^64 * (floor(2^(n-130) * pi) + k)` (RFC 2409 §6.2, RFC 3526 §3-7).
#[test]
fn the_fixed_groups_are_those_of_the_formula() {
    let rows = [
        (GROUP1, 1024usize, "129093"),
        (GROUP14, 2048, "124476"),
        (GROUP15, 3072, "1690314"),
        (GROUP16, 4096, "240904"),
        (GROUP17, 6144, "929484"),
        (GROUP18, 8192, "4743158"),
    ];
    let one = BigUint::from(1u8);
    for (group, n, k) in rows {
        let inner = pi(n - 130) + BigUint::from_str(k).unwrap();
        let p = (&one << n) - (&one << (n - 64)) - &one + (inner << 64usize);
        assert_eq!(int(group.p), p, "{n} bits");
        assert_eq!(group.g, [2]);
    }
}

/// Safe primes: p and (p-1)/2 pass Miller-Rabin to base 2 and to another base, the smaller ones a
/// Lucas test as well (Baillie-PSW, without a known counterexample; the large ones take too long).
#[test]
fn the_fixed_groups_are_safe_primes() {
    for (name, group) in GROUPS {
        let p = int(group.p);
        let q: BigUint = &p >> 1usize;
        for n in [&p, &q] {
            assert!(probably_prime_miller_rabin(n, 2, true), "group {name}");
            assert!(n.bits() > 2048 || probably_prime_lucas(n), "group {name}");
        }
    }
    assert!(!probably_prime_miller_rabin(&(int(GROUP1.p) - BigUint::from(2u8)), 2, true));
}

/// With the key at hand the nonce can be computed from a signature: k = (h + r d) / s. A generator
/// that leaves the top bits of P-521 nonces zero (CVE-2024-31497) gives the key away.
#[test]
fn t03_p521_nonces_use_all_their_bits() {
    use konko_core::crypto::{Curve, Digest, HashAlgorithm};
    let order = "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa
        51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409";
    let n = int(&hex(order));
    let p = konko_core::provider::best();
    let (secret, _) = p.ecdh_generate(Curve::P521, &mut rng(1));
    let key = ecdsa_private(Curve::P521, secret.expose());
    let signer = p.signer(key.kind, &key.fields).unwrap();
    let signatures = 256u32;
    let mut ones = [0u32; 16];
    for i in 0..signatures {
        let message = i.to_be_bytes();
        let signature = signer.sign(Some(HashAlgorithm::Sha512), &message, &mut rng(2)).unwrap();
        let (r, s) = (int(&signature[..66]), int(&signature[66..]));
        let h = int(Digest::of(p, HashAlgorithm::Sha512, &[&message]).as_bytes());
        let inverse = s.modpow(&(&n - BigUint::from(2u8)), &n);
        let k = (h + r * int(secret.expose())) * inverse % &n;
        for (bit, count) in ones.iter_mut().enumerate() {
            *count += u32::from((&k >> (520 - bit)).to_bytes_le()[0] & 1);
        }
    }
    // 128 +- 6 standard deviations.
    assert!(ones.iter().all(|count| (80..=176).contains(count)), "{ones:?}");
}

fn modexp_is_modpow(group: DhGroup<'_>, base: &[u8], exponent: &[u8]) {
    let p = int(group.p);
    let base = int(base) % &p;
    let expected = base.modpow(&int(exponent), &p).to_bytes_be();
    for provider in providers() {
        let ours = provider.modexp(group.p, &base.to_bytes_be(), &Secret::copy_of(exponent)).unwrap();
        assert_eq!(ours.expose(), konko_core::wire::minimal(&expected));
    }
}

#[test]
fn modexp_of_the_largest_group_is_modpow() {
    modexp_is_modpow(GROUP18, &pattern(1024, 9), &pattern(16, 5));
}

proptest! {
    #![proptest_config(property::config(12))]

    #[test]
    fn modexp_is_num_bigint_digs_modpow_in_every_group(
        which in 0usize..4,
        base in prop::collection::vec(any::<u8>(), 0..520),
        exponent in prop::collection::vec(any::<u8>(), 1..24),
    ) {
        modexp_is_modpow(GROUPS[which].1, &base, &exponent);
    }

    #[test]
    fn modexp_is_modpow_for_any_odd_modulus(
        mut p in prop::collection::vec(any::<u8>(), 2..80),
        base in prop::collection::vec(any::<u8>(), 0..80),
        exponent in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        p[0] |= 1;
        *p.last_mut().unwrap() |= 1;
        modexp_is_modpow(DhGroup { p: &p, g: &[2] }, &base, &exponent);
    }

    /// Nothing a peer can put into a key or signature makes verification panic.
    #[test]
    fn verification_of_arbitrary_numbers_refuses(
        algorithm in prop::sample::select(SignatureAlgorithm::all().collect::<Vec<_>>()),
        e in prop::collection::vec(any::<u8>(), 0..6),
        n in prop::collection::vec(any::<u8>(), 0..300),
        point in prop::collection::vec(any::<u8>(), 0..140),
        signature in prop::collection::vec(any::<u8>(), 0..300),
        key in any::<[u8; 32]>(),
    ) {
        use konko_core::crypto::Curve;
        for p in providers() {
            for key in [
                rsa(&e, &n),
                ecdsa(Curve::P256, &point),
                ecdsa(Curve::P384, &point),
                ecdsa(Curve::P521, &point),
                ed25519(&key),
            ] {
                prop_assert!(verify(p, algorithm, &key, b"message", &signature).is_err());
            }
        }
    }
}
