//! Public values and groups of a key exchange from hostile peers. Each test carries its row of the
//! security facts.

use konko_core::crypto::{Curve, Kem, Kex, groups};
use konko_core::error::Fault;
use konko_core::msg::{self, Message};
use konko_core::transport::negotiate::Role;
use konko_core::wire::Sink;
use konko_core::{Rng, Seed};
use konko_test::host_key;
use konko_test::raw::*;

// ---- public values ----

/// `p`, changed by `n`.
fn near(p: &[u8], n: i8) -> Vec<u8> {
    let mut out = p.to_vec();
    let last = out.len() - 1;
    out[last] = out[last].wrapping_add_signed(n);
    out
}

fn mpint_body(number: u8, magnitude: &[u8]) -> Vec<u8> {
    let mut out = vec![number];
    out.put_mpint(magnitude);
    out
}

#[test]
fn k15_values_of_diffie_hellman_are_in_range_and_not_trivial() {
    let p = groups::GROUP14.p;
    let mut doubled: Vec<u8> = p.to_vec();
    doubled.push(0);
    let bad = [
        vec![],
        vec![1],
        vec![2],
        vec![4],
        vec![7],
        vec![0x80, 0, 0x81],
        near(p, -1),
        p.to_vec(),
        [&[1][..], p].concat(),
        doubled,
    ];
    for value in &bad {
        let mut rig = Rig::new(Role::Server);
        rig.peer.offer = rig.peer.offer.clone().kex(Kex::Group14Sha256);
        rig.kexinit();
        rig.send(&mpint_body(30, value));
        rig.assert_fault(Fault::BadPublicValue);
        let mut rig = Rig::new(Role::Client);
        rig.peer.offer = rig.peer.offer.clone().kex(Kex::Group14Sha256);
        rig.kexinit();
        let mut reply = strings(31, &[&host_key().public().to_blob()]);
        reply.put_mpint(value);
        reply.put_string(b"signature");
        rig.send(&reply);
        rig.assert_fault(Fault::BadPublicValue);
    }
    // Negative, and wider than any group.
    for raw in [&[0x80][..], &[0xff; 256], &[1; 2050]] {
        let mut rig = Rig::new(Role::Server);
        rig.peer.offer = rig.peer.offer.clone().kex(Kex::Group14Sha256);
        rig.kexinit();
        rig.send(&strings(30, &[raw]));
        rig.assert_fault(Fault::Malformed);
    }
    let mut rig = Rig::new(Role::Server);
    rig.peer.offer = rig.peer.offer.clone().kex(Kex::GroupExchangeSha256);
    rig.kexinit();
    rig.send(&payload(&msg::GexRequest::new(2048, 2048, 8192)));
    rig.expect(31);
    rig.send(&mpint_body(32, &near(p, -1)));
    rig.assert_fault(Fault::BadPublicValue);
}

/// Encodings of points of low order on Curve25519.
fn low_order() -> Vec<[u8; 32]> {
    let hex = |s: &str| -> [u8; 32] {
        std::array::from_fn(|i| u8::from_str_radix(&s[2 * i..2 * i + 2], 16).unwrap())
    };
    vec![
        [0; 32],
        hex("0100000000000000000000000000000000000000000000000000000000000000"),
        hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        hex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
        hex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        hex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        hex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        hex("0000000000000000000000000000000000000000000000000000000000000080"),
        hex("0100000000000000000000000000000000000000000000000000000000000080"),
        hex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
        hex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
        hex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
    ]
}

#[test]
fn k16_k17_x25519_takes_32_bytes_and_no_point_of_low_order_alone_or_in_the_hybrid() {
    let mut points: Vec<Vec<u8>> = low_order().iter().map(|p| p.to_vec()).collect();
    points.extend([0, 1, 31, 33, 64].map(|n| vec![9; n]));
    for kex in [Kex::Curve25519Sha256, Kex::Curve25519Sha256Libssh, Kex::MlKem768X25519Sha256] {
        let (quantum, cipher) = if kex.post_quantum() {
            let public = provider().kem_generate(Kem::MlKem768, &[3; 64]).unwrap().1;
            let (cipher, _) = provider().kem_encapsulate(Kem::MlKem768, &public, &[4; 32]).unwrap();
            (public, cipher)
        } else {
            (vec![], vec![])
        };
        for point in &points {
            let mut rig = Rig::new(Role::Server);
            rig.peer.offer = rig.peer.offer.clone().kex(kex);
            rig.kexinit();
            rig.send(&strings(30, &[&[&quantum[..], point].concat()]));
            rig.assert_fault(Fault::BadPublicValue);
            let mut rig = Rig::new(Role::Client);
            rig.peer.offer = rig.peer.offer.clone().kex(kex);
            rig.kexinit();
            let blob = host_key().public().to_blob();
            rig.send(&strings(31, &[&blob, &[&cipher[..], point].concat(), b"sig"]));
            rig.assert_fault(Fault::BadPublicValue);
        }
    }
}

#[test]
fn k18_points_of_nist_curves_are_uncompressed_on_the_curve_and_of_the_right_one() {
    let mut rng = Rng::from_seed(&Seed::new([5; 32]));
    let curves = [
        (Kex::EcdhNistp256, Curve::P256),
        (Kex::EcdhNistp384, Curve::P384),
        (Kex::EcdhNistp521, Curve::P521),
    ];
    for (kex, curve) in curves {
        let (_, good) = provider().ecdh_generate(curve, &mut rng);
        let mut off = good.clone();
        *off.last_mut().unwrap() ^= 1;
        let mut compressed = good[..1 + curve.width()].to_vec();
        compressed[0] = 2;
        let other = if curve == Curve::P256 { Curve::P384 } else { Curve::P256 };
        let bad = [
            vec![],
            vec![0],
            off,
            compressed,
            provider().ecdh_generate(other, &mut rng).1,
            good[..good.len() - 1].to_vec(),
            [&good[..], &[0]].concat(),
            vec![4; good.len()],
        ];
        for point in &bad {
            let mut rig = Rig::new(Role::Server);
            rig.peer.offer = rig.peer.offer.clone().kex(kex);
            rig.kexinit();
            rig.send(&strings(30, &[point]));
            rig.assert_fault(Fault::BadPublicValue);
            let mut rig = Rig::new(Role::Client);
            rig.peer.offer = rig.peer.offer.clone().kex(kex);
            rig.kexinit();
            rig.send(&strings(31, &[&host_key().public().to_blob(), point, b"sig"]));
            rig.assert_fault(Fault::BadPublicValue);
        }
    }
}

#[test]
fn k19_ml_kem_values_have_their_length_and_reduced_coefficients() {
    let public = provider().kem_generate(Kem::MlKem768, &[3; 64]).unwrap().1;
    let point = [9; 32];
    let mut unreduced = public.clone();
    unreduced[..3].copy_from_slice(&[0xff; 3]);
    for kem in [&public[1..], &[&public[..], &[0]].concat(), &unreduced, &[]] {
        let mut rig = Rig::new(Role::Server);
        rig.peer.offer = rig.peer.offer.clone().kex(Kex::MlKem768X25519Sha256);
        rig.kexinit();
        rig.send(&strings(30, &[&[kem, &point].concat()]));
        rig.assert_fault(Fault::BadPublicValue);
    }
    // A flipped ciphertext gives another secret, which the signature then does not cover.
    let mut rig = Rig::new(Role::Client);
    rig.peer.offer = rig.peer.offer.clone().kex(Kex::MlKem768X25519Sha256);
    rig.kexinit();
    let init = rig.expect(30);
    let mut reply = rig.peer.on_kex_init(&init);
    reply[100] ^= 1;
    rig.send(&reply);
    rig.assert_fault(Fault::BadHostSignature);
}

// ---- group exchange ----

#[test]
fn k20_a_client_takes_only_sane_groups_of_the_size_it_asked_for() {
    let p = groups::GROUP14.p;
    let wide = |bits: usize| {
        let mut p = vec![0xff; bits / 8];
        p[0] = if bits.is_multiple_of(8) { 0x80 } else { 1 };
        if !bits.is_multiple_of(8) {
            p.push(0xff);
        }
        p
    };
    let g = vec![2];
    let bad: Vec<(Vec<u8>, Vec<u8>)> = vec![
        (groups::GROUP1.p.to_vec(), g.clone()),
        (wide(1536), g.clone()),
        ([&[0x7f][..], &p[1..]].concat(), g.clone()),
        (wide(8193), g.clone()),
        (wide(16384), g.clone()),
        (near(p, -1), g.clone()),
        (p.to_vec(), vec![]),
        (p.to_vec(), vec![1]),
        (p.to_vec(), near(p, -1)),
        (p.to_vec(), p.to_vec()),
        (vec![], g.clone()),
    ];
    for (p, g) in bad {
        let mut rig = Rig::new(Role::Client);
        rig.peer.offer = rig.peer.offer.clone().kex(Kex::GroupExchangeSha256);
        rig.kexinit();
        let m = rig.expect(34);
        let asked = msg::GexRequest::parse(&m).unwrap();
        assert_eq!((asked.min, asked.max), (2048, 8192));
        assert!((2048..=4096).contains(&asked.n), "U-37: some devices refuse more");
        rig.send(&payload(&msg::GexGroup::new(&p, &g)));
        rig.assert_fault(Fault::BadGroup);
        assert!(!rig.numbers().contains(&32));
    }
}

#[test]
fn k20_a_server_answers_odd_group_requests_with_a_group_or_an_error_never_with_silence() {
    let ok =
        [[2048, 2048, 8192], [1024, 1024, 8192], [2048, 8192, 8192], [1, 3000, u32::MAX], [1024, 2048, 2048]];
    for [min, n, max] in ok {
        let mut rig = Rig::new(Role::Server);
        rig.peer.offer = rig.peer.offer.clone().kex(Kex::GroupExchangeSha256);
        rig.kexinit();
        rig.send(&payload(&msg::GexRequest::new(min, n, max)));
        let group = rig.expect(31);
        let group = msg::GexGroup::parse(&group).unwrap();
        let bits = group.p.len() as u32 * 8;
        assert!((min.max(2048)..=max).contains(&bits), "{bits} for {min} {n} {max}");
    }
    let bad = [
        [4096, 2048, 8192],
        [2048, 8192, 4096],
        [0, 0, 0],
        [9000, 9000, 9000],
        [1024, 1024, 1024],
        [4096, 2048, 2048],
    ];
    for [min, n, max] in bad {
        let mut rig = Rig::new(Role::Server);
        rig.peer.offer = rig.peer.offer.clone().kex(Kex::GroupExchangeSha256);
        rig.kexinit();
        rig.send(&payload(&msg::GexRequest::new(min, n, max)));
        rig.assert_fault(Fault::BadGroup);
    }
    // GEX_REQUEST_OLD is message 30.
    let mut rig = Rig::new(Role::Server);
    rig.peer.offer = rig.peer.offer.clone().kex(Kex::GroupExchangeSha256);
    rig.kexinit();
    rig.send(&[30, 0, 0, 8, 0]);
    rig.assert_fault(Fault::Malformed);
}
