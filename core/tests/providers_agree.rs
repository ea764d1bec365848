//! Providers are interchangeable: the same inputs give the same bytes, and the same refusals.
#![cfg(feature = "aws-lc")]

mod crypto_support;

use crypto_support::*;
use konko_core::crypto::{Curve, Kex, Provider, kex};
use konko_core::keys::SignatureAlgorithm;
use konko_core::provider::{aws_lc, best, rustcrypto};

#[test]
fn the_best_provider_is_the_native_one() {
    assert_eq!(best().name(), "aws-lc");
    assert_eq!(rustcrypto().name(), "rustcrypto");
    assert_eq!(best().fast_aes(), rustcrypto().fast_aes());
}

/// One key epoch each, crosswise: what one provider sealed the other opens.
#[test]
fn packets_of_every_length_are_the_same_bytes() {
    for protection in protections() {
        let keys = pattern_keys(protection);
        let [mut a, mut b] = [rustcrypto(), aws_lc()].map(|p| p.sealer(protection, &keys).unwrap());
        let [mut x, mut y] = [rustcrypto(), aws_lc()].map(|p| p.opener(protection, &keys).unwrap());
        let shape = a.shape();
        assert_eq!(shape, b.shape());
        assert_eq!(shape, x.shape());
        let stream = protection.cipher.aead();
        let step = if stream { 1 } else { shape.block };
        let first = if stream || !shape.length_in_block { step } else { shape.block - 4 };
        let small = (first..=700).step_by(step);
        let large =
            [2048usize, 16384, 32768, 33024].map(|n| n - n % step + if first < step { first } else { 0 });
        for (seq, body) in small.chain(large).enumerate() {
            let seq = seq as u32;
            let mut plain = (body as u32).to_be_bytes().to_vec();
            plain.extend(pattern(body, seq as u8));
            plain.resize(4 + body + shape.tag, 0);
            let (mut from_a, mut from_b) = (plain.clone(), plain.clone());
            a.seal(seq, &mut from_a);
            b.seal(seq, &mut from_b);
            assert_eq!(from_a, from_b, "{protection:?} {body}");
            let [mut head_a, mut head_b] = [from_a[..shape.head].to_vec(), from_b[..shape.head].to_vec()];
            assert_eq!(y.length(seq, &mut head_a), body as u32);
            assert_eq!(x.length(seq, &mut head_b), body as u32);
            from_a[..shape.head].copy_from_slice(&head_a);
            from_b[..shape.head].copy_from_slice(&head_b);
            assert_eq!(y.open(seq, &mut from_a), Ok(()), "{protection:?} {body}");
            assert_eq!(x.open(seq, &mut from_b), Ok(()), "{protection:?} {body}");
            assert_eq!(from_a, from_b, "{protection:?} {body}");
            assert_eq!(from_a[..4 + body], plain[..4 + body]);
        }
    }
}

#[test]
fn curves_draw_and_agree_the_same() {
    for curve in [Curve::P256, Curve::P384, Curve::P521] {
        let (mut left, mut right) = (rng(1), rng(1));
        for _ in 0..8 {
            let (secret_a, public_a) = rustcrypto().ecdh_generate(curve, &mut left);
            let (secret_b, public_b) = aws_lc().ecdh_generate(curve, &mut right);
            assert_eq!(secret_a.expose(), secret_b.expose());
            assert_eq!(public_a, public_b);
            let (_, other) = rustcrypto().ecdh_generate(curve, &mut left);
            aws_lc().ecdh_generate(curve, &mut right);
            let shared = rustcrypto().ecdh(curve, &secret_a, &other).unwrap();
            assert_eq!(shared.expose(), aws_lc().ecdh(curve, &secret_b, &other).unwrap().expose());
        }
        assert_eq!(left.array::<8>(), right.array::<8>(), "as many draws");
    }
    let mut rng = rng(2);
    for _ in 0..32 {
        let (secret, peer) = (rng.array(), rng.array());
        assert_eq!(rustcrypto().x25519_public(&secret), aws_lc().x25519_public(&secret));
        let [a, b] = [rustcrypto(), aws_lc()].map(|p| p.x25519(&secret, &peer).unwrap());
        assert_eq!(a.expose(), b.expose());
    }
}

#[test]
fn whole_key_exchanges_are_the_same_bytes() {
    for method in methods(rustcrypto()) {
        if method.group_exchange() || matches!(method, Kex::Group17Sha512 | Kex::Group18Sha512) {
            continue;
        }
        let run = |client: &dyn Provider, server: &dyn Provider| {
            let (own, init) = kex::Ephemeral::client(method, &mut rng(3), client).unwrap();
            let (reply, theirs) = kex::respond(method, &init, &mut rng(4), server).unwrap();
            let ours = own.finish(&reply, client).unwrap();
            assert_eq!(ours.encoded(), theirs.encoded(), "{method}");
            (init, reply, ours.encoded().to_vec())
        };
        let expected = run(rustcrypto(), rustcrypto());
        assert_eq!(run(aws_lc(), aws_lc()), expected, "{method}");
        assert_eq!(run(rustcrypto(), aws_lc()), expected, "{method}");
    }
}

#[test]
fn signatures_are_the_same_bytes_and_take_the_same_from_the_generator() {
    let fixtures = RsaFixture::all();
    let scalar = pattern(66, 1);
    let mut keys = vec![
        (ed25519_private(&[5; 32]), vec![SignatureAlgorithm::ED25519]),
        (ecdsa_private(Curve::P256, &scalar[..32]), vec![SignatureAlgorithm::ECDSA_NISTP256]),
        (ecdsa_private(Curve::P384, &scalar[..48]), vec![SignatureAlgorithm::ECDSA_NISTP384]),
        (ecdsa_private(Curve::P521, &scalar[..65]), vec![SignatureAlgorithm::ECDSA_NISTP521]),
    ];
    let rsa =
        vec![SignatureAlgorithm::RSA_SHA512, SignatureAlgorithm::RSA_SHA256, SignatureAlgorithm::RSA_SHA1];
    keys.extend(fixtures.iter().map(|key| (key.private(), rsa.clone())));
    for (key, algs) in keys {
        let [a, b] = [rustcrypto(), aws_lc()].map(|p| p.signer(key.kind, &key.fields).unwrap());
        for algorithm in algs {
            let (mut left, mut right) = (rng(6), rng(6));
            for message in [&b""[..], b"m", &[7; 5000]] {
                let signature = a.sign(algorithm.hash(), message, &mut left).unwrap();
                assert_eq!(signature, b.sign(algorithm.hash(), message, &mut right).unwrap(), "{algorithm}");
            }
            assert_eq!(left.array::<8>(), right.array::<8>(), "{algorithm}");
        }
    }
}

#[test]
fn flipped_and_misshapen_signatures_are_judged_the_same() {
    let key = &RsaFixture::all()[1];
    let judge = |algorithm, key: &Key, signature: &[u8]| {
        let [a, b] = [rustcrypto(), aws_lc()].map(|p| verify(p, algorithm, key, b"konko", signature));
        assert_eq!(a, b, "{algorithm} {} bytes", signature.len());
        a
    };
    for byte in (0..key.sha256.len()).step_by(17) {
        let mut signature = key.sha256.clone();
        signature[byte] ^= 1;
        assert!(judge(SignatureAlgorithm::RSA_SHA256, &key.public(), &signature).is_err());
    }
    assert!(judge(SignatureAlgorithm::RSA_SHA512, &key.public(), &key.sha256).is_err());
    let longer = [&[0], &key.sha256[..]].concat();
    assert!(judge(SignatureAlgorithm::RSA_SHA256, &key.public(), &longer).is_err());
    assert!(judge(SignatureAlgorithm::RSA_SHA256, &key.public(), &[]).is_err());

    for curve in [Curve::P256, Curve::P384, Curve::P521] {
        let (secret, point) = rustcrypto().ecdh_generate(curve, &mut rng(8));
        let signer =
            rustcrypto().signer(curve.key_type(), &ecdsa_private(curve, secret.expose()).fields).unwrap();
        let algorithm = SignatureAlgorithm::from_name(curve.key_type()).unwrap();
        let good = signer.sign(algorithm.hash(), b"konko", &mut rng(0)).unwrap();
        let key = ecdsa(curve, &point);
        assert!(judge(algorithm, &key, &good).is_ok());
        let width = curve.width();
        let zero = vec![0; width];
        let full = vec![0xff; width];
        let cases = [
            [&zero[..], &good[width..]].concat(),
            [&good[..width], &zero[..]].concat(),
            [&full[..], &good[width..]].concat(),
            [&good[..width], &full[..]].concat(),
            good[..good.len() - 1].to_vec(),
            [&good[..], &[0]].concat(),
            vec![],
        ];
        for case in cases {
            assert!(judge(algorithm, &key, &case).is_err());
        }
        let mut compressed = point[..=width].to_vec();
        compressed[0] = 2 + (point[2 * width] & 1);
        assert!(judge(algorithm, &ecdsa(curve, &compressed), &good).is_err());
        assert!(judge(algorithm, &ecdsa(curve, &[0]), &good).is_err());
    }
}
