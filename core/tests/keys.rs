//! Keys against the corpus of `tests/data/keys` (made by ssh-keygen and openssl), and against
//! damage. Test names carry the rows of the security facts that they prove.

mod key_fields;
mod property;

use key_fields::*;
use konko_core::crypto::{BadSignature, Curve, HashAlgorithm};
use konko_core::keys::{KdfLimits, KeyError, KeyType, PrivateKey, PublicKey, SignatureAlgorithm, signature};
use konko_core::provider::rustcrypto;
use konko_core::wire::{Reader, Sink};
use konko_core::{Rng, Seed};
use konko_test::tokens::is_made_here;
use num_bigint_dig::BigUint;
use proptest::prelude::*;

const PASS: &[u8] = b"konko test";

fn data(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/keys/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every private key of the corpus that must load.
fn good() -> Vec<String> {
    let dir = format!("{}/tests/data/keys", env!("CARGO_MANIFEST_DIR"));
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .filter_map(|entry| {
            entry.unwrap().file_name().into_string().unwrap().strip_suffix(".pub").map(str::to_owned)
        })
        .filter(|name| !name.starts_with("bad-"))
        .collect();
    names.sort();
    assert!(names.len() > 20, "the corpus is there");
    names
}

fn public(name: &str) -> (PublicKey, String) {
    let text = data(&format!("{name}.pub"));
    let (key, comment) = PublicKey::from_openssh_line(&text).unwrap();
    (key, comment.to_string())
}

fn rng(n: u8) -> Rng {
    Rng::from_seed(&Seed::new([n; 32]))
}

fn cost(asked: u32) -> KeyError {
    KeyError::KdfCost { what: "bcrypt rounds", asked }
}

fn base64(bytes: &[u8]) -> String {
    use base64ct::Encoding;
    base64ct::Base64::encode_string(bytes)
}

fn pem(container: &[u8]) -> Vec<u8> {
    format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n", base64(container))
        .into()
}

#[test]
fn u24_every_key_of_the_corpus_loads_however_the_text_was_mangled() {
    for name in good() {
        let text = data(&name);
        let crlf = String::from_utf8(text.clone()).unwrap().replace('\n', "\r\n").into_bytes();
        let indented = String::from_utf8(text.clone()).unwrap().replace('\n', "\n    ").into_bytes();
        let variants = [
            ("as it is", text.clone()),
            ("BOM", [b"\xef\xbb\xbf", &text[..]].concat()),
            ("junk", [b"Bag Attributes\n  localKeyID: 01\nkey: value\n\n", &text[..]].concat()),
            ("text behind", [&text[..], b"\nsomething else\n"].concat()),
            ("no last line feed", text.trim_ascii_end().to_vec()),
            ("CRLF", crlf),
            ("indented", indented),
        ];
        let (expected, comment) = public(&name);
        let slow = name.starts_with("enc-");
        for (what, variant) in variants.iter().take(if slow { 2 } else { 7 }) {
            let key = PrivateKey::load(variant, slow.then_some(PASS))
                .unwrap_or_else(|e| panic!("{name}, {what}: {e}"));
            assert_eq!(*key.public(), expected, "{name}, {what}");
            if !name.contains("-p") && !name.starts_with("openssl-") {
                assert_eq!(key.comment().to_string(), comment, "{name}");
            }
            assert_eq!(PrivateKey::public_of(variant), Ok(expected.clone()), "{name}, {what}");
        }
    }
}

#[test]
fn u24_what_is_no_usable_private_key_is_named() {
    let load = |bytes: &[u8]| PrivateKey::load(bytes, None).unwrap_err();
    let unsupported = |error| matches!(error, KeyError::UnsupportedFormat(_));
    assert_eq!(load(&data("ed25519.pub")), KeyError::PublicKeyGiven);
    assert_eq!(load(&data("bad-spki-public")), KeyError::PublicKeyGiven);
    assert_eq!(load(&data("bad-rfc4716-public")), KeyError::PublicKeyGiven);
    assert_eq!(load(&data("bad-cert.pub")), KeyError::CertificateGiven);
    assert_eq!(
        load(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        KeyError::CertificateGiven
    );
    assert!(unsupported(load(b"\xff\xfe-\0-\0")));
    for name in ["bad-x25519", "bad-secp256k1", "bad-dsa"] {
        assert!(matches!(load(&data(name)), KeyError::UnsupportedKeyType(_)), "{name}");
    }
    assert_eq!(load(b""), KeyError::Empty);
    assert_eq!(load(b"hello"), KeyError::NotAKey);
    assert_eq!(load(&data("enc-aes256-ctr")), KeyError::Encrypted);
    for name in good().iter().filter(|name| name.starts_with("enc-")) {
        assert_eq!(
            PrivateKey::load(&data(name), Some(b"wrong")).unwrap_err(),
            KeyError::WrongPassphrase,
            "{name}"
        );
    }
}

#[test]
fn u24_each_message_says_what_to_do() {
    let all = [
        KeyError::Empty,
        KeyError::NotAKey,
        KeyError::PublicKeyGiven,
        KeyError::CertificateGiven,
        KeyError::Encrypted,
        KeyError::WrongPassphrase,
        KeyError::UnsupportedCipher("x\x1b[2J".into()),
        KeyError::UnsupportedKdf("x".into()),
        KeyError::UnsupportedFormat("x"),
        KeyError::UnsupportedKeyType("x".into()),
        KeyError::TooLarge,
        KeyError::KdfCost { what: "x", asked: 0 },
        KeyError::RsaSize { bits: 1 },
        KeyError::TypeMismatch { declared: "a".into(), found: "b".into() },
        KeyError::Malformed("x"),
        KeyError::Inconsistent("x"),
    ];
    let hints = ["give", "try", "ssh-keygen", "is it the right file", "use ", "make", "take a fresh"];
    for error in all {
        let text = error.to_string();
        assert!(hints.iter().any(|hint| text.contains(hint)), "{text}");
        assert!(!text.contains('\x1b'), "F-37: {text:?}");
    }
}

#[test]
fn h20_fingerprints_are_those_of_ssh_keygen() {
    for line in String::from_utf8(data("fingerprints.txt")).unwrap().lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [file, bits, expected] = fields[..] else { panic!("{line}") };
        let (key, _) = public(file.trim_end_matches(".pub"));
        let algorithm = match expected.split(':').next().unwrap() {
            "SHA256" => HashAlgorithm::Sha256,
            "SHA512" => HashAlgorithm::Sha512,
            _ => HashAlgorithm::Md5,
        };
        assert_eq!(key.fingerprint(algorithm).to_string(), expected);
        assert_eq!(key.bits().to_string(), bits, "{file}");
    }
}

#[test]
fn public_lines_and_blobs_round_trip() {
    for name in good() {
        let text = String::from_utf8(data(&format!("{name}.pub"))).unwrap();
        let (key, comment) = public(&name);
        assert_eq!(key.to_openssh_line(&comment), text.trim_end());
        let blob = key.to_blob();
        assert_eq!(PublicKey::from_blob(&blob), Ok(key.clone()));
        for cut in 0..blob.len() {
            assert!(PublicKey::from_blob(&blob[..cut]).is_err(), "{name} cut at {cut}");
        }
        assert!(PublicKey::from_blob(&[&blob[..], &[0]].concat()).is_err(), "trailing byte");
    }
    let (key, _) = public("ed25519");
    assert_eq!(key.to_openssh_line("a\nssh-rsa AAAA").lines().count(), 1, "a comment stays in its line");
}

#[test]
fn h11_a_declared_type_that_is_not_the_blobs_is_refused() {
    let text = String::from_utf8(data("ed25519.pub")).unwrap().replace("ssh-ed25519", "ssh-rsa");
    assert!(matches!(PublicKey::from_openssh_line(text.as_bytes()), Err(KeyError::TypeMismatch { .. })));
    let cert = data("bad-cert.pub");
    assert_eq!(PublicKey::from_openssh_line(&cert).unwrap_err(), KeyError::CertificateGiven);
}

fn from_fields(key: &Key) -> Result<(), KeyError> {
    PrivateKey::from_fields(KeyType::from_name(key.kind).unwrap(), &key.fields).map(|_| ())
}

fn rsa_of(bits: usize) -> Result<PublicKey, KeyError> {
    let mut n = vec![0xff; bits.div_ceil(8)];
    n[0] = 0xff >> (n.len() * 8 - bits);
    PublicKey::from_blob(&rsa(&[1, 0, 1], &n).blob())
}

#[test]
fn h18_rsa_sizes() {
    assert_eq!(rsa_of(1023), Err(KeyError::RsaSize { bits: 1023 }));
    assert!(rsa_of(16_385).is_err(), "no longer a number that is read");
    assert_eq!(rsa_of(1024).map(|key| key.strength_ok(2048)), Ok(false));
    assert_eq!(rsa_of(2047).map(|key| key.strength_ok(2048)), Ok(false));
    assert_eq!(rsa_of(2048).map(|key| key.strength_ok(2048)), Ok(true));
    assert_eq!(rsa_of(16_384).map(|key| key.strength_ok(2048)), Ok(true));
    assert!(public("ed25519").0.strength_ok(usize::MAX));
    for e in [&[][..], &[1], &[2], &[1, 0, 0, 0, 1]] {
        assert!(PublicKey::from_blob(&rsa(e, &[0xff; 256]).blob()).is_err(), "e = {e:?}");
    }
    assert!(PublicKey::from_blob(&rsa(&[3], &[0xfe; 256]).blob()).is_err(), "even n");
}

#[test]
fn f11_ed25519_keys_have_one_length() {
    for length in (0..=65).filter(|length| *length != 32) {
        let mut blob = Vec::new();
        blob.put_string(b"ssh-ed25519");
        blob.put_string(&vec![9; length]);
        assert!(PublicKey::from_blob(&blob).is_err(), "{length}");
    }
}

#[test]
fn ec_points_are_uncompressed_and_of_their_curve() {
    let (key, _) = public("ecdsa256");
    let mut fields = Reader::new(key.fields());
    let (_, point) = (fields.string().unwrap(), fields.string().unwrap());
    let bad: [(&str, &[u8]); 4] =
        [("nistp256", &point[..64]), ("nistp256", &[3; 65]), ("nistp384", point), ("nistp256", &[])];
    for (curve, point) in bad {
        let mut blob = Vec::new();
        blob.put_string(b"ecdsa-sha2-nistp256");
        blob.put_string(curve.as_bytes());
        blob.put_string(point);
        assert!(PublicKey::from_blob(&blob).is_err());
    }
}

/// The fields of an unencrypted container, to damage one at a time.
#[derive(Clone)]
struct Parts {
    cipher: Vec<u8>,
    kdf: Vec<u8>,
    options: Vec<u8>,
    keys: u32,
    public: Vec<u8>,
    private: Vec<u8>,
    trailing: Vec<u8>,
}

impl Parts {
    fn of(name: &str) -> Self {
        let text = String::from_utf8(data(name)).unwrap();
        let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        let bytes = <base64ct::Base64 as base64ct::Encoding>::decode_vec(&body).unwrap();
        let mut r = Reader::new(&bytes);
        assert_eq!(r.bytes(15).unwrap(), b"openssh-key-v1\0");
        let mut string = || r.string().unwrap().to_vec();
        let (cipher, kdf, options) = (string(), string(), string());
        let keys = r.u32().unwrap();
        let (public, private) = (r.string().unwrap().to_vec(), r.string().unwrap().to_vec());
        Parts { cipher, kdf, options, keys, public, private, trailing: r.rest().to_vec() }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = b"openssh-key-v1\0".to_vec();
        out.put_string(&self.cipher);
        out.put_string(&self.kdf);
        out.put_string(&self.options);
        out.put_u32(self.keys);
        out.put_string(&self.public);
        out.put_string(&self.private);
        out.put(&self.trailing);
        out
    }

    fn load(&self) -> Result<PrivateKey, KeyError> {
        PrivateKey::load(&pem(&self.bytes()), Some(PASS))
    }

    fn refused(name: &str, what: &str, damage: impl Fn(&mut Parts)) {
        let mut parts = Parts::of(name);
        parts.load().unwrap();
        damage(&mut parts);
        assert!(parts.load().is_err(), "{name}: {what}");
    }
}

#[test]
fn f08_one_defect_each_is_refused() {
    for name in ["ed25519", "rsa", "ecdsa256"] {
        Parts::refused(name, "check numbers", |p| p.private[0] ^= 1);
        Parts::refused(name, "padding", |p| *p.private.last_mut().unwrap() ^= 1);
        Parts::refused(name, "no key", |p| p.keys = 0);
        Parts::refused(name, "two keys", |p| p.keys = 2);
        Parts::refused(name, "trailing bytes", |p| p.trailing.push(0));
        Parts::refused(name, "section not whole blocks", |p| p.private.truncate(p.private.len() - 1));
        Parts::refused(name, "cipher without kdf", |p| p.cipher = b"aes256-ctr".to_vec());
        Parts::refused(name, "kdf without cipher", |p| p.kdf = b"bcrypt".to_vec());
        Parts::refused(name, "kdf options without kdf", |p| p.options.push(0));
        Parts::refused(name, "another public key outside", |p| {
            p.public = PrivateKey::generate(KeyType::ED25519, &mut rng(1)).unwrap().public().to_blob();
        });
    }
    let swapped = |name: &str| PublicKey::from_openssh_line(&data(name)).unwrap().0.to_blob();
    Parts::refused("ecdsa256", "curve", |p| p.public = swapped("ecdsa384.pub"));
}

/// RUSTSEC-2022-0093: signing with a public half that is not the seed's leaks the key.
#[test]
fn f08_an_ed25519_key_with_a_foreign_public_half_is_refused() {
    let other = *public("enc-aes256-ctr").0.to_blob().last_chunk::<32>().unwrap();
    // check, check, "ssh-ed25519", public, seed || public
    let (first, second) = (8 + 4 + 11 + 4, 8 + 4 + 11 + 4 + 32 + 4 + 32);
    Parts::refused("ed25519", "first", |p| p.private[first..first + 32].copy_from_slice(&other));
    Parts::refused("ed25519", "second", |p| p.private[second..second + 32].copy_from_slice(&other));
    Parts::refused("ed25519", "all three", |p| {
        p.private[first..first + 32].copy_from_slice(&other);
        p.private[second..second + 32].copy_from_slice(&other);
        let at = p.public.len() - 32;
        p.public[at..].copy_from_slice(&other);
    });
}

#[test]
fn f07_bcrypt_rounds_and_salt_are_bounded() {
    let with = |salt: &[u8], rounds: u32| {
        let mut parts = Parts::of("enc-aes256-ctr");
        parts.options.clear();
        parts.options.put_string(salt);
        parts.options.put_u32(rounds);
        parts.load().unwrap_err()
    };
    let start = std::time::Instant::now();
    for rounds in [0, 2049, u32::MAX] {
        assert_eq!(with(&[1; 16], rounds), cost(rounds));
    }
    assert!(matches!(with(&[], 1), KeyError::Malformed(_)));
    assert!(matches!(with(&[1; 65], 1), KeyError::Malformed(_)));
    assert!(start.elapsed().as_millis() < 500, "refused before any work");
    assert_eq!(with(&[1; 64], 1), KeyError::WrongPassphrase);
    let text = data("enc-aes256-ctr");
    let few = KdfLimits::default().bcrypt_rounds(1);
    assert_eq!(PrivateKey::load_limited(&text, Some(PASS), &few).unwrap_err(), cost(2));
}

#[test]
fn f08_a_changed_bit_of_an_authenticated_file_is_a_wrong_passphrase() {
    for name in ["enc-aes128-gcm", "enc-aes256-gcm", "enc-chacha20-poly1305"] {
        let mut parts = Parts::of(name);
        parts.private[20] ^= 1;
        assert_eq!(parts.load().unwrap_err(), KeyError::WrongPassphrase);
        let mut parts = Parts::of(name);
        parts.trailing[3] ^= 1;
        assert_eq!(parts.load().unwrap_err(), KeyError::WrongPassphrase);
    }
}

#[test]
fn f09_rsa_numbers_must_fit_together() {
    let key = PrivateKey::load(&data("rsa"), None).unwrap();
    let mut fields = Reader::new(key.expose_fields());
    let [n, e, d, iqmp, p, q] = [(); 6].map(|()| fields.mpint().unwrap());
    let swapped = {
        let [p, q] = [p, q].map(BigUint::from_bytes_be);
        p.modpow(&(&q - BigUint::from(2u8)), &q).to_bytes_be()
    };
    let second = q;
    let make = |n: &[u8], e: &[u8], d: &[u8], p: &[u8], q: &[u8]| {
        let iqmp = if p == second { &swapped } else { iqmp };
        from_fields(&rsa_private([n, e, d, iqmp, p, q]))
    };
    assert_eq!(make(n, e, d, p, q), Ok(()));
    assert_eq!(make(n, e, d, q, p), Ok(()), "the primes in the other order");
    let bump = |number: &[u8]| {
        let mut number = number.to_vec();
        *number.last_mut().unwrap() ^= 2;
        number
    };
    assert!(make(&bump(n), e, d, p, q).is_err());
    assert!(make(n, &[3], d, p, q).is_err());
    assert!(make(n, &[2], d, p, q).is_err());
    assert!(make(n, e, &bump(d), p, q).is_err());
    assert!(make(n, e, &[], p, q).is_err());
    assert!(make(n, e, d, &bump(p), q).is_err());
    assert!(make(n, e, d, p, p).is_err());
    assert!(make(n, e, d, &[1], n).is_err());
    assert!(make(n, e, d, &[], q).is_err());
    assert!(make(n, e, d, p, &[0]).is_err());
    let start = std::time::Instant::now();
    assert!(make(n, e, d, &[0xff; 1025], q).is_err());
    assert!(make(&[0xff; 2049], e, d, p, q).is_err());
    assert!(start.elapsed().as_millis() < 50, "refused before any arithmetic");
    Parts::refused("rsa", "iqmp", |parts| {
        let mut r = Reader::new(&parts.private[8..]);
        for _ in 0..4 {
            r.string().unwrap();
        }
        let at = parts.private.len() - r.rest().len() + 40;
        parts.private[at] ^= 1;
    });
}

#[test]
fn f10_ec_scalars_are_in_range() {
    let order_p256: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
        0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let make = |curve, d: &[u8]| from_fields(&ecdsa_private(curve, d));
    for curve in [Curve::P256, Curve::P384, Curve::P521] {
        assert!(make(curve, &[]).is_err());
        assert!(make(curve, &[0; 32]).is_err());
        assert!(make(curve, &vec![0xff; curve.width()]).is_err());
        assert!(make(curve, &[1; 80]).is_err());
        assert_eq!(make(curve, &[1]), Ok(()));
        assert_eq!(make(curve, &[&[0; 40][..], &[7; 32]].concat()), Ok(()));
    }
    assert!(make(Curve::P256, &order_p256).is_err());
}

#[test]
fn f12_each_byte_of_der_changed_never_panics() {
    for name in ["ecdsa256-pem", "ecdsa256-pkcs8", "openssl-ed25519", "rsa-pkcs8"] {
        let text = String::from_utf8(data(name)).unwrap();
        let mut lines = text.lines();
        let (begin, end) = (lines.next().unwrap(), lines.next_back().unwrap());
        let der = <base64ct::Base64 as base64ct::Encoding>::decode_vec(&lines.collect::<String>()).unwrap();
        let head = if name.starts_with("rsa") { 40 } else { der.len() };
        for at in 0..head {
            for value in [0x00, 0x7f, 0x80, 0x84, 0xff] {
                let mut der = der.clone();
                der[at] = value;
                let text = format!("{begin}\n{}\n{end}\n", base64(&der));
                if let Ok(key) = PrivateKey::load(text.as_bytes(), None) {
                    assert_eq!(key.public().key_type(), public(name).0.key_type());
                }
            }
        }
    }
    let mut large = data("ed25519");
    large.resize(1024 * 1024 + 1, b'\n');
    assert_eq!(PrivateKey::load(&large, None).unwrap_err(), KeyError::TooLarge);
    large.truncate(1024 * 1024);
    assert!(PrivateKey::load(&large, None).is_ok());
}

#[test]
fn f34_debug_shows_no_secret() {
    let key = PrivateKey::load(&data("ed25519"), None).unwrap();
    let expected = format!("PublicKey(ssh-ed25519 {})", key.public().fingerprint(HashAlgorithm::Sha256));
    assert_eq!(format!("{key:?}"), format!("PrivateKey({expected})"));
    let pair = key.key_pair(rustcrypto()).unwrap();
    assert_eq!(format!("{pair:?}"), format!("KeyPair({expected})"));
}

#[test]
fn f37_a_comment_cannot_steer_a_terminal() {
    let mut key = PrivateKey::generate(KeyType::ED25519, &mut rng(1)).unwrap();
    key.set_comment(b"\x1b]0;owned\x07");
    let text = key.to_openssh(None, &mut rng(2)).unwrap();
    let shown = PrivateKey::load(text.as_bytes(), None).unwrap().comment().to_string();
    assert!(!shown.contains('\x1b'), "{shown}");
}

#[test]
fn keys_are_written_as_they_are_read() {
    for name in ["ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa"] {
        let key = PrivateKey::load(&data(name), None).unwrap();
        let plain = key.to_openssh(None, &mut rng(3)).unwrap();
        let encrypted = key.to_openssh(Some((b"secret", 1)), &mut rng(3)).unwrap();
        assert_eq!(plain.lines().count(), data(name).lines_count(), "{name}: the same layout");
        for (text, passphrase) in [(plain, None), (encrypted, Some(&b"secret"[..]))] {
            let again = PrivateKey::load(text.as_bytes(), passphrase).unwrap();
            assert_eq!(again.public(), key.public());
            assert_eq!(again.comment(), key.comment());
            let again = again.to_openssh(None, &mut rng(3)).unwrap();
            assert_eq!(*again, *key.to_openssh(None, &mut rng(3)).unwrap(), "{name}: the same numbers");
        }
        assert_eq!(key.to_openssh(Some((b"", 16)), &mut rng(3)).unwrap_err(), KeyError::Encrypted);
        assert_eq!(key.to_openssh(Some((b"x", 0)), &mut rng(3)).unwrap_err(), cost(0));
    }
}

trait Lines {
    fn lines_count(&self) -> usize;
}

impl Lines for Vec<u8> {
    fn lines_count(&self) -> usize {
        self.iter().filter(|b| **b == b'\n').count()
    }
}

#[test]
fn keys_are_generated_from_the_seed_and_sign() {
    for kind in [
        KeyType::ED25519,
        KeyType::ECDSA_NISTP256,
        KeyType::ECDSA_NISTP384,
        KeyType::ECDSA_NISTP521,
        KeyType::RSA,
    ] {
        let make = || PrivateKey::generate_of_size(kind, 2048, &mut rng(5)).unwrap();
        let (key, again) = (make(), make());
        assert_eq!(key.public(), again.public(), "{kind:?}: the same seed, the same key");
        let pair = key.key_pair(rustcrypto()).unwrap();
        for algorithm in key.public().signature_algorithms() {
            let blob = pair.sign(*algorithm, b"message", &mut rng(6)).unwrap();
            assert_eq!(signature::verify(rustcrypto(), pair.public(), *algorithm, b"message", &blob), Ok(()));
            assert_eq!(signature::algorithm(&blob), Some(*algorithm));
        }
    }
    assert_eq!(
        PrivateKey::generate_of_size(KeyType::RSA, 1024, &mut rng(5)).unwrap_err(),
        KeyError::RsaSize { bits: 1024 }
    );
}

#[test]
fn as07_k13_key_algorithm_and_signature_must_agree() {
    let pairs: Vec<_> = ["ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa"]
        .iter()
        .map(|name| PrivateKey::load(&data(name), None).unwrap().key_pair(rustcrypto()).unwrap())
        .collect();
    for pair in &pairs {
        for made in SignatureAlgorithm::all().filter(is_made_here) {
            let Ok(blob) = pair.sign(made, b"m", &mut rng(1)) else {
                assert!(!pair.public().fits(made));
                continue;
            };
            for other in &pairs {
                for asked in SignatureAlgorithm::all() {
                    let legal = made == asked && pair.public() == other.public();
                    let verdict = signature::verify(rustcrypto(), other.public(), asked, b"m", &blob);
                    assert_eq!(verdict.is_ok(), legal, "{made} asked as {asked} for {:?}", other.public());
                }
            }
            assert!(signature::verify(rustcrypto(), pair.public(), made, b"n", &blob).is_err());
        }
    }
}

/// A signature blob whose inner string is `inner`.
fn blob(algorithm: SignatureAlgorithm, inner: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_string(algorithm.name().as_bytes());
    out.put_string(inner);
    out
}

#[test]
fn as11_signature_blobs_have_one_form() {
    let algorithm = SignatureAlgorithm::ECDSA_NISTP256;
    let ecdsa = |r: &[u8], s: &[u8], trailing: &[u8]| {
        let mut inner = Vec::new();
        inner.put_string(r);
        inner.put_string(s);
        inner.put(trailing);
        signature::decode(&blob(algorithm, &inner), algorithm)
    };
    let wide = [&[0][..], &[0xff; 32]].concat();
    assert!(ecdsa(&[1], &wide, &[]).is_ok());
    for bad in [&[][..], &[0], &[0; 40], &[0x80], &[0xff, 1], &[1; 33], &[&[0][..], &[1; 33]].concat()] {
        assert_eq!(ecdsa(bad, &[1], &[]), Err(BadSignature), "r = {bad:02x?}");
        assert_eq!(ecdsa(&[1], bad, &[]), Err(BadSignature), "s = {bad:02x?}");
    }
    assert_eq!(ecdsa(&[1], &[1], &[0]), Err(BadSignature), "a byte behind s");
    // Zeros in front are read, up to the longest number (C6).
    let exact = ecdsa(&[1], &[0, 0x80], &[]).unwrap();
    for (zeros, read) in [(1, true), (2, true), (31, true), (2000, true), (2048, true), (2049, false)] {
        let padded = |number: &[u8]| [&vec![0; zeros][..], number].concat();
        let expected = if read { Ok(exact.clone()) } else { Err(BadSignature) };
        assert_eq!(ecdsa(&padded(&[1]), &[0, 0x80], &[]), expected, "{zeros} before r");
        assert_eq!(ecdsa(&[1], &padded(&[0x80]), &[]), expected, "{zeros} before s");
    }

    for algorithm in SignatureAlgorithm::all().filter(is_made_here) {
        let key = ["ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa"]
            .iter()
            .map(|name| PrivateKey::load(&data(name), None).unwrap())
            .find(|key| key.public().fits(algorithm))
            .unwrap();
        let good = key.key_pair(rustcrypto()).unwrap().sign(algorithm, b"m", &mut rng(1)).unwrap();
        let raw = signature::decode(&good, algorithm).unwrap();
        assert_eq!(signature::encode(algorithm, &raw), good);
        assert_eq!(
            signature::decode(&[&good[..], &[0]].concat(), algorithm),
            Err(BadSignature),
            "trailing byte"
        );
        for cut in 0..good.len() {
            assert_eq!(signature::decode(&good[..cut], algorithm), Err(BadSignature));
        }
    }
    for length in [0, 63, 65] {
        assert!(
            signature::decode(
                &blob(SignatureAlgorithm::ED25519, &vec![1; length]),
                SignatureAlgorithm::ED25519
            )
            .is_err()
        );
    }
}

#[test]
fn as11_rsa_signatures_may_be_short_but_not_long() {
    let pair = PrivateKey::load(&data("rsa"), None).unwrap().key_pair(rustcrypto()).unwrap();
    let algorithm = SignatureAlgorithm::RSA_SHA256;
    let verify = |message: &[u8], raw: &[u8]| {
        signature::verify(rustcrypto(), pair.public(), algorithm, message, &blob(algorithm, raw))
    };
    // Find a message whose signature begins with a zero byte; one in 256 does.
    let (message, raw) = (0u16..)
        .map(|i| i.to_be_bytes())
        .find_map(|m| {
            let raw = signature::decode(&pair.sign(algorithm, &m, &mut rng(1)).unwrap(), algorithm).unwrap();
            (raw[0] == 0).then_some((m, raw))
        })
        .unwrap();
    assert_eq!(verify(&message, &raw), Ok(()));
    assert_eq!(verify(&message, &raw[1..]), Ok(()), "padded in front, as OpenSSH does");
    assert_eq!(verify(&message, &[&[0], &raw[..]].concat()), Err(BadSignature), "longer than the modulus");
}

/// DER `SEQUENCE { r, s }` of short numbers, as openssl writes ECDSA signatures.
fn der_numbers(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let body = if der[1] & 0x80 == 0 { &der[2..] } else { &der[3..] };
    let (first, rest) = body[2..].split_at(usize::from(body[1]));
    (first.to_vec(), rest[2..].to_vec())
}

#[test]
fn signatures_made_by_openssl_verify() {
    let message = data("message");
    for (key, file, algorithm) in [
        ("ecdsa256", "ecdsa256.sig", SignatureAlgorithm::ECDSA_NISTP256),
        ("ecdsa384", "ecdsa384.sig", SignatureAlgorithm::ECDSA_NISTP384),
        ("ecdsa521", "ecdsa521.sig", SignatureAlgorithm::ECDSA_NISTP521),
        ("rsa", "rsa-512.sig", SignatureAlgorithm::RSA_SHA512),
        ("rsa", "rsa-256.sig", SignatureAlgorithm::RSA_SHA256),
        ("rsa", "rsa-1.sig", SignatureAlgorithm::RSA_SHA1),
        ("openssl-ed25519", "openssl-ed25519.sig", SignatureAlgorithm::ED25519),
    ] {
        let raw = data(file);
        let inner = if key.starts_with("ecdsa") {
            let (r, s) = der_numbers(&raw);
            let mut inner = Vec::new();
            inner.put_mpint(&r);
            inner.put_mpint(&s);
            inner
        } else {
            raw
        };
        let verdict =
            signature::verify(rustcrypto(), &public(key).0, algorithm, &message, &blob(algorithm, &inner));
        assert_eq!(verdict, Ok(()), "{file}");
    }
}

proptest! {
    #![proptest_config(property::config(512))]

    #[test]
    fn f12_no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = PublicKey::from_blob(&bytes);
        let _ = PublicKey::from_openssh_line(&bytes);
        let _ = PrivateKey::load(&bytes, Some(PASS));
        let _ = PrivateKey::load(&pem(&bytes), None);
        let _ = PrivateKey::load(&pem(&[b"openssh-key-v1\0", &bytes[..]].concat()), None);
        SignatureAlgorithm::all().for_each(|algorithm| drop(signature::decode(&bytes, algorithm)));
        let _ = signature::algorithm(&bytes);
    }

    #[test]
    fn f12_no_changed_byte_panics(at in 0usize..2000, value: u8, which in 0usize..4) {
        let name = ["ed25519", "ecdsa384", "openssl-ecparam", "openssl-ed25519"][which];
        let mut text = data(name);
        let at = at % text.len();
        text[at] = value;
        let _ = PrivateKey::load(&text, None);
        let mut parts = Parts::of("ecdsa256");
        let at = at % parts.private.len();
        parts.private[at] = value;
        let _ = parts.load();
    }

    #[test]
    fn written_keys_load(seed: u8, curve in 0usize..4, comment in ".{0,40}") {
        let kind = [KeyType::ED25519, KeyType::ECDSA_NISTP256, KeyType::ECDSA_NISTP384, KeyType::ECDSA_NISTP521][curve];
        let mut key = PrivateKey::generate(kind, &mut rng(seed)).unwrap();
        key.set_comment(comment.as_bytes());
        let text = key.to_openssh(None, &mut rng(seed)).unwrap();
        let again = PrivateKey::load(text.as_bytes(), None).unwrap();
        prop_assert_eq!(again.public(), key.public());
        prop_assert_eq!(again.comment().as_bytes(), comment.as_bytes());
    }
}
