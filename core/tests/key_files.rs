//! Key files of every format against the corpus of `tests/data/key_files`, made by ssh-keygen, openssl and puttygen,
//! and against damage; and what is written against what is read. Test names carry the rows of the facts that they prove.

use std::collections::BTreeMap;

use konko_core::crypto::HashAlgorithm;
use konko_core::keys::{FileCipher, KdfLimits, KeyError, KeyType, PrivateKey, PublicKey, PuttyVersion};
use konko_core::provider::rustcrypto;
use konko_core::{Rng, Seed};

const PASS: &[u8] = b"konko test";

/// Enough for the corpus, and so little that no damage costs time.
fn limits() -> KdfLimits {
    KdfLimits::default().bcrypt_rounds(1).pbkdf2_iterations(16).memory(16).work(64)
}

fn data(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/key_files/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn text(name: &str) -> String {
    String::from_utf8(data(name)).unwrap()
}

/// Every private key file, and the name of its key.
fn private_files() -> BTreeMap<String, String> {
    let dir = format!("{}/tests/data/key_files", env!("CARGO_MANIFEST_DIR"));
    let names =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let private = names.filter_map(|name| {
        let (_, key) = name.rsplit_once('-')?;
        Some((name.clone(), key.to_owned()))
    });
    let all: BTreeMap<_, _> = private.collect();
    assert!(all.len() > 40, "the corpus is there");
    all
}

fn public(key: &str) -> (PublicKey, Vec<u8>) {
    PublicKey::load(&data(&format!("{key}.pub"))).unwrap()
}

fn encrypted(name: &str) -> bool {
    matches!(PrivateKey::load_limited(&data(name), None, &limits()), Err(KeyError::Encrypted))
}

fn rng(n: u8) -> Rng {
    Rng::from_seed(&Seed::new([n; 32]))
}

#[test]
fn u24_every_file_of_the_corpus_loads_however_its_text_was_mangled() {
    for (name, key) in private_files() {
        let (expected, comment) = public(&key);
        let file = text(&name);
        let variants = [
            file.clone(),
            file.replace('\n', "\r\n"),
            format!("\u{feff}{file}"),
            format!("Bag Attributes\n    localKeyID: 01\n\n{file}"),
            file.trim_end().to_owned(),
            format!("{file}\nsomething else\n"),
        ];
        for (n, variant) in variants.iter().enumerate() {
            let read = PrivateKey::load_limited(variant.as_bytes(), Some(PASS), &limits());
            let read = read.unwrap_or_else(|e| panic!("{name}, {n}: {e}"));
            assert_eq!(*read.public(), expected, "{name}, {n}");
            if name.starts_with("ppk") || name.starts_with("sshcom") || name.starts_with("openssh") {
                assert_eq!(read.comment().as_bytes(), comment, "{name}, {n}");
            }
        }
    }
}

#[test]
fn u24_a_passphrase_is_asked_for_and_a_wrong_one_is_named() {
    let (mut with, mut without) = (0, 0);
    for (name, _) in private_files() {
        let load = |passphrase| PrivateKey::load_limited(&data(&name), passphrase, &limits());
        if !encrypted(&name) {
            assert!(load(None).is_ok(), "{name}");
            without += 1;
            continue;
        }
        with += 1;
        assert_eq!(load(Some(b"")).unwrap_err(), KeyError::Encrypted, "{name}");
        for wrong in [&b"x"[..], b"konko tesT", &[0; 300]] {
            assert_eq!(load(Some(wrong)).unwrap_err(), KeyError::WrongPassphrase, "{name}");
        }
        let in_clear = name.starts_with("openssh") || name.starts_with("ppk");
        assert_eq!(PrivateKey::public_of(&data(&name)).is_ok(), in_clear, "{name}");
    }
    assert!(with > 20 && without > 10);
}

#[test]
fn public_keys_of_each_format_load_and_are_written_as_the_programs_do() {
    for (key, of_openssh) in [("rsa", true), ("ecdsa", true), ("ed25519", false), ("openssl", false)] {
        let (expected, _) = public(key);
        for format in ["rfc4716", "spki", "pkcs1", "explicit"] {
            let name = format!("{key}.{format}");
            let path = format!("{}/tests/data/key_files/{name}", env!("CARGO_MANIFEST_DIR"));
            let Ok(file) = std::fs::read(path) else { continue };
            let (read, _) = PublicKey::load(&file).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(read, expected, "{name}");
            let (again, _) = PublicKey::load(&[b"\xef\xbb\xbftext\n", &file[..]].concat()).unwrap();
            assert_eq!(again, expected);
            let file = String::from_utf8(file).unwrap();
            match format {
                "spki" => assert_eq!(expected.to_spki_pem().unwrap(), file),
                "pkcs1" => assert_eq!(expected.to_pkcs1_pem().unwrap(), file),
                "rfc4716" if of_openssh => {
                    let comment = file.lines().nth(1).unwrap().split('"').nth(1).unwrap();
                    assert_eq!(expected.to_rfc4716(comment), file);
                }
                _ => {}
            }
            for cut in 0..file.trim_end().len() {
                assert!(PublicKey::load(&file.as_bytes()[..cut]).is_err(), "{name} cut at {cut}");
            }
        }
    }
    let (key, _) = public("rsa");
    let long = "ü".repeat(400);
    let written = key.to_rfc4716(&long);
    assert!(written.lines().all(|line| line.len() <= 72));
    assert_eq!(PublicKey::load(written.as_bytes()).unwrap(), (key.clone(), long.into_bytes()));
    assert_eq!(key.to_rfc4716("a\nb\"c").lines().nth(1), Some("Comment: \"a b c\""));
    assert!(PublicKey::load(&data("plain-rsa")).is_err());
    assert_eq!(PublicKey::load(b"\n").unwrap_err(), KeyError::Empty);
}

#[test]
fn h20_fingerprints_and_pictures_are_those_of_ssh_keygen() {
    for key in ["rsa", "ecdsa", "ed25519", "openssl"] {
        let (public, comment) = public(key);
        let mut expected = String::new();
        for (name, hash) in [("sha256", HashAlgorithm::Sha256), ("md5", HashAlgorithm::Md5)] {
            let comment =
                if comment.is_empty() { "no comment".into() } else { String::from_utf8_lossy(&comment) };
            let (bits, print, kind) =
                (public.bits(), public.fingerprint(hash), public.key_type().short_name());
            expected += &format!("{name} {bits} {print} {comment} ({kind})\n{}\n", public.randomart(hash));
        }
        assert_eq!(expected, text(&format!("{key}.print")));
    }
}

#[test]
fn s3_what_is_empty_or_cut_off_is_named() {
    let load = |bytes: &[u8]| PrivateKey::load(bytes, None).unwrap_err();
    for nothing in [&b""[..], b"\n", b" \r\n\t\n", b"\xef\xbb\xbf"] {
        assert_eq!(load(nothing), KeyError::Empty);
    }
    let begin = "-----BEGIN RSA PRIVATE KEY-----\n";
    let end = "-----END RSA PRIVATE KEY-----\n";
    assert!(matches!(load(begin.as_bytes()), KeyError::Malformed(_)));
    assert!(matches!(load(format!("{begin}{end}").as_bytes()), KeyError::Malformed(_)));
    assert!(matches!(load(format!("{begin}AAAA\n").as_bytes()), KeyError::Malformed(_)));
    assert_eq!(load(end.as_bytes()), KeyError::NotAKey);
    assert!(matches!(load(b"PuTTY-User-Key-File-3: ssh-rsa\n"), KeyError::Malformed(_)));
    assert!(matches!(load(b"PuTTY-User-Key-File-1: ssh-rsa\n"), KeyError::UnsupportedFormat(_)));
    assert!(matches!(load(b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n"), KeyError::Malformed(_)));
    assert_eq!(load(b"PuTTY-User-Key-File-3: ssh-dss\n"), KeyError::UnsupportedKeyType("ssh-dss".into()));
}

#[test]
fn u24_what_a_file_is_encrypted_with_is_named_if_it_is_not_there() {
    let load = |file: String| PrivateKey::load(file.as_bytes(), Some(PASS)).unwrap_err();
    let dek = text("dek_aes128-rsa");
    assert_eq!(load(dek.replace("AES-128-CBC", "DES-CBC")), KeyError::UnsupportedCipher("DES-CBC".into()));
    assert!(matches!(load(dek.replace("AES-128-CBC,", "AES-128-CBC,00")), KeyError::Malformed(_)));
    let ppk = text("ppk3_encrypted-rsa");
    assert_eq!(load(ppk.replace("aes256-cbc", "rot13")), KeyError::UnsupportedCipher("rot13".into()));
    assert_eq!(load(ppk.replace("Argon2id", "scrypt")), KeyError::UnsupportedKdf("scrypt".into()));
}

#[test]
fn f12_f13_what_a_derivation_may_cost_is_bounded() {
    let load = |name: &str, limits: &KdfLimits| PrivateKey::load_limited(&data(name), Some(PASS), limits);
    let cost = |what, asked| Err(KeyError::KdfCost { what, asked });
    let public_of = |key: Result<PrivateKey, KeyError>| key.map(|_| ());
    for (name, less, error) in [
        ("pbes2_aes-128-cbc-ecdsa", limits().pbkdf2_iterations(1), cost("PBKDF2 iterations", 2)),
        ("scrypt-ecdsa", limits().memory(0), cost("KiB of memory", 1)),
        ("scrypt-ecdsa", limits().work(0), cost("KiB to be passed over", 1)),
        ("ppk3_encrypted-rsa", limits().memory(7), cost("KiB of memory", 8)),
        ("ppk3_argon2i-ed25519", limits().work(15), cost("KiB to be passed over", 16)),
    ] {
        assert!(load(name, &limits()).is_ok(), "{name}");
        assert_eq!(public_of(load(name, &less)), error, "{name}");
    }
    let ppk = |from: &str, to: &str| {
        let file = text("ppk3_encrypted-rsa").replace(from, to);
        PrivateKey::load(file.as_bytes(), Some(PASS)).unwrap_err()
    };
    let huge = u32::MAX;
    for (name, value, what) in [
        ("Argon2-Memory", 8, "KiB of memory"),
        ("Argon2-Passes", 1, "KiB to be passed over"),
        ("Argon2-Parallelism", 1, "Argon2 lanes"),
    ] {
        for asked in [huge, 0] {
            let said = ppk(&format!("{name}: {value}\n"), &format!("{name}: {asked}\n"));
            assert_eq!(said, KeyError::KdfCost { what, asked });
        }
    }
    let der = [
        0x30, 0x42, 0x30, 0x3c, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d, 0x30, 0x2f,
        0x30, 0x17, 0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x04, 0x0b, 0x30, 0x0a,
    ];
    // A file that ends there is damaged, and nothing is allocated for it.
    let body = <base64ct::Base64 as base64ct::Encoding>::encode_string(&der);
    let file =
        format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{body}\n-----END ENCRYPTED PRIVATE KEY-----\n");
    assert!(matches!(PrivateKey::load(file.as_bytes(), Some(PASS)), Err(KeyError::Malformed(_))));
}

/// A file, damaged, holds no key or the same one. An Ed25519 key in PKCS#8 is nothing but its seed: where nothing
/// stands beside it to compare with, another seed is another key, in every program.
#[test]
fn f12_s41_no_cut_and_no_changed_byte_makes_another_key_or_a_panic() {
    let full = std::env::var_os("KONKO_FULL").is_some();
    let mut loads = 0u32;
    for (name, key) in private_files() {
        // One of each kind: what the smallest key of it has, and of OpenSSH's ciphers one of each construction.
        let small = key != "rsa" || name.starts_with("sshcom") || name == "plain-rsa" || name == "ppk3-rsa";
        if !small || name.starts_with("openssh_aes128") || name.starts_with("openssh_3des") {
            continue;
        }
        let file = data(&name);
        let original = PrivateKey::load_limited(&file, Some(PASS), &limits()).unwrap();
        let only_a_seed = key == "openssl";
        let mut check = |damaged: &[u8], at: usize| {
            loads += 1;
            match PrivateKey::load_limited(damaged, Some(PASS), &limits()) {
                Ok(read) => assert!(read == original || only_a_seed, "{name}: another key, at {at}"),
                Err(e) => drop(e.to_string()),
            }
            let _ = PrivateKey::public_of(damaged);
        };
        for cut in 0..file.len() {
            check(&file[..cut], cut);
        }
        // Every byte there is with KONKO_FULL, where no round of bcrypt makes each cost milliseconds; else three.
        let all = full && !name.starts_with("openssh_");
        let step = if full || key != "rsa" { 1 } else { 3 };
        for at in (0..file.len()).step_by(step) {
            let few = [file[at] ^ (1 << (at % 8)), b'A', b'\n'];
            let mut damaged = file.clone();
            for value in if all { (0..=255).collect() } else { few.to_vec() } {
                damaged[at] = value;
                check(&damaged, at);
            }
        }
    }
    assert!(loads > 30_000, "{loads}");
}

#[test]
fn keys_are_written_in_each_format_as_they_are_read() {
    for name in ["plain-rsa", "plain-ecdsa", "openssh-ed25519"] {
        let mut key = PrivateKey::load(&data(name), None).unwrap();
        key.set_comment("a comment".as_bytes());
        let again = |file: &str, passphrase: Option<&[u8]>| {
            let read =
                PrivateKey::load(file.as_bytes(), passphrase).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(read == key, "{name}");
            if let Some(passphrase) = passphrase {
                let wrong = [passphrase, b"x"].concat();
                let wrong = PrivateKey::load(file.as_bytes(), Some(&wrong)).unwrap_err();
                assert_eq!(wrong, KeyError::WrongPassphrase, "{name}");
            }
            read.comment().to_string()
        };
        for cipher in FileCipher::all() {
            let file = key.to_openssh_with_cipher(Some((b"pass", 1)), cipher, &mut rng(1)).unwrap();
            assert_eq!(again(&file, Some(b"pass")), "a comment");
        }
        for version in [PuttyVersion::V2, PuttyVersion::V3] {
            for passphrase in [None, Some(&b"pass"[..])] {
                let file = key.to_putty(version, passphrase, &mut rng(1)).unwrap();
                assert_eq!(again(&file, passphrase), "a comment");
            }
            assert_eq!(key.to_putty(version, Some(b""), &mut rng(1)).unwrap_err(), KeyError::Encrypted);
        }
        again(&key.to_pkcs8(None, &mut rng(1)).unwrap(), None);
        again(&key.to_pkcs8(Some(b"pass"), &mut rng(1)).unwrap(), Some(b"pass"));
        assert_eq!(key.to_pkcs8(Some(b""), &mut rng(1)).unwrap_err(), KeyError::Encrypted);
        match key.to_pem() {
            Ok(file) => assert_eq!(*file, text(name), "as ssh-keygen writes it"),
            Err(e) => assert!(matches!(e, KeyError::UnsupportedKeyType(_)) && name.contains("ed25519")),
        }
    }
    let pkcs8 = PrivateKey::load(&data("plain-ecdsa"), None).unwrap().to_pkcs8(None, &mut rng(1)).unwrap();
    assert_eq!(*pkcs8, text("pkcs8-ecdsa"), "as openssl writes it");
    let pkcs8 = PrivateKey::load(&data("pkcs8-openssl"), None).unwrap().to_pkcs8(None, &mut rng(1)).unwrap();
    assert_eq!(*pkcs8, text("pkcs8-openssl"), "as openssl writes it");
    // A comment that would be more lines of the file than one.
    let mut key = PrivateKey::generate(KeyType::ED25519, &mut rng(1)).unwrap();
    key.set_comment(b"a\nPublic-Lines: 1");
    let file = key.to_putty(PuttyVersion::V3, None, &mut rng(1)).unwrap();
    assert_eq!(PrivateKey::load(file.as_bytes(), None).unwrap().comment().to_string(), "a Public-Lines: 1");
}

#[test]
fn a_curve_whose_parameters_are_written_out_is_a_known_one_in_every_number() {
    let file = text("explicit-ecdsa");
    let lines: Vec<&str> = file.lines().collect();
    let (body, ends) = (lines[1..lines.len() - 1].concat(), [lines[0], lines[lines.len() - 1]]);
    let der = <base64ct::Base64 as base64ct::Encoding>::decode_vec(&body).unwrap();
    let find = |part: &[u8]| der.windows(part.len()).position(|w| w == part).unwrap();
    // The ends of the generator and of the order (CVE-2020-0601), and the beginning of the prime.
    for at in
        [find(&[0x37, 0xbf, 0x51, 0xf5]), find(&[0xfc, 0x63, 0x25, 0x51]), find(&[0xff, 0xff, 0xff, 0xff])]
    {
        let mut other = der.clone();
        other[at + 2] ^= 1;
        let body = <base64ct::Base64 as base64ct::Encoding>::encode_string(&other);
        let file = format!("{}\n{body}\n{}\n", ends[0], ends[1]);
        let error = PrivateKey::load(file.as_bytes(), None).unwrap_err();
        assert!(matches!(error, KeyError::UnsupportedKeyType(_)), "{error}");
    }
}

#[test]
fn s42_keys_are_equal_by_their_numbers() {
    let key = |name: &str| PrivateKey::load_limited(&data(name), Some(PASS), &limits()).unwrap();
    assert!(key("plain-rsa") == key("ppk3-rsa") && key("plain-rsa") == key("sshcom_encrypted-rsa"));
    let (one, two) = (key("openssh-ed25519"), key("pkcs8-openssl"));
    assert!(one != two && one.public() != two.public());
    assert!(one != PrivateKey::generate(KeyType::ED25519, &mut rng(1)).unwrap());
    let mut renamed = key("openssh-ed25519");
    renamed.set_comment(b"another");
    assert!(renamed == one, "a comment is not the key");
    // Another key with the same start of its hash is another key: nothing is compared by hash.
    let hash = |key: &PublicKey| {
        use std::hash::{BuildHasher, RandomState};
        static STATE: std::sync::OnceLock<RandomState> = std::sync::OnceLock::new();
        STATE.get_or_init(RandomState::new).hash_one(key)
    };
    assert_eq!(hash(key("plain-rsa").public()), hash(key("ppk2-rsa").public()));
}

#[test]
fn s36_a_key_signs_with_its_own_algorithms_only() {
    for name in ["plain-rsa", "plain-ecdsa", "openssh-ed25519"] {
        let pair = PrivateKey::load(&data(name), None).unwrap().key_pair(rustcrypto()).unwrap();
        for algorithm in konko_core::keys::SignatureAlgorithm::all() {
            let signed = pair.sign(algorithm, b"data", &mut rng(1));
            assert_eq!(signed.is_ok(), pair.public().fits(algorithm), "{name} {algorithm}");
        }
    }
}
