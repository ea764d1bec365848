//! What the changelog that konko's requirements began with asks for, as far as no other test tells it; the table is
//! `spec-notes/seed.md`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use konko_core::crypto::{Cipher, HashAlgorithm, Kex, Mac, Policy};
use konko_core::keys::{KeyPair, PrivateKey, SignatureAlgorithm};
use konko_core::msg::{ExtInfo, KexInit, Message};
use konko_core::transport::negotiate::Role;
use konko_core::{ClientConfig, ClientConnection, Seed, ServerConfig, Time, provider};
use konko_test::raw::Rig;
use konko_test::raw::rig::transport;

fn rsa() -> Arc<KeyPair> {
    let path = format!("{}/tests/data/keys/rsa", env!("CARGO_MANIFEST_DIR"));
    let key = PrivateKey::load(&fs::read(path).unwrap(), None).unwrap();
    Arc::new(key.key_pair(provider::rustcrypto()).unwrap())
}

/// The names of a list that are of no certificate and no security key.
fn plain<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
    names.into_iter().filter(|name| !name.contains("-cert-") && !name.starts_with("sk-")).collect()
}

/// The machine's KEXINIT.
fn kexinit(rig: &mut Rig) -> Vec<u8> {
    rig.peer.send_ident();
    rig.run();
    rig.messages().into_iter().find(|m| m[0] == KexInit::NUMBER).unwrap()
}

#[test]
fn s1_everything_of_the_transport_is_set_before_its_first_byte() {
    let mut config = transport(Policy::Modern);
    config.software = "other_1.0".into();
    config.algorithms.kex = vec![Kex::EcdhNistp521];
    let mut client =
        ClientConnection::new(Arc::new(ClientConfig::new(config)), Seed::new([1; 32]), Time::ZERO);
    let first = client.tx().pending().to_vec();
    assert!(first.starts_with(b"SSH-2.0-other_1.0\r\n"));
    let has = |name: &str| first.windows(name.len()).any(|w| w == name.as_bytes());
    assert!(has("ecdh-sha2-nistp521,ext-info-c") && !has("curve25519"));
}

#[test]
fn s8_what_is_broken_has_no_name_here() {
    for name in
        ["blowfish-cbc", "arcfour", "arcfour256", "cast128-cbc", "none", "rijndael-cbc@lysator.liu.se"]
    {
        assert_eq!(Cipher::from_name(name), None, "{name}");
    }
    for name in ["hmac-ripemd160", "none"] {
        assert_eq!(Mac::from_name(name), None, "{name}");
    }
    assert_eq!(SignatureAlgorithm::from_name("ssh-dss"), None);
}

#[test]
fn s28_host_keys_are_preferred_by_their_kind_and_rsa_by_its_hash() {
    let names = |policy: Policy| policy.algorithms(true).host_key;
    let modern = names(Policy::Modern);
    let modern = plain(modern.iter().map(|algorithm| algorithm.name()));
    let ecdsa = ["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"];
    let sha2 = ["rsa-sha2-512", "rsa-sha2-256"];
    assert_eq!(modern, [&["ssh-ed25519"][..], &ecdsa, &sha2].concat());
    let compat = names(Policy::Compat);
    let compat = plain(compat.iter().map(|algorithm| algorithm.name()));
    assert_eq!(compat, [&modern[..], &["ssh-rsa"]].concat());
}

#[test]
fn s29_one_rsa_host_key_is_offered_under_each_of_its_algorithms() {
    for (policy, expected) in [
        (Policy::Modern, &["rsa-sha2-512", "rsa-sha2-256"][..]),
        (Policy::Compat, &["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"]),
    ] {
        let mut rig = Rig::server(ServerConfig::new(transport(policy), vec![rsa()]));
        let init = kexinit(&mut rig);
        let init = KexInit::parse(&init).unwrap();
        assert_eq!(plain(init.host_key.iter()), expected, "{}", policy.name());
    }
}

#[test]
fn s30_s35_both_sides_announce_extensions_and_a_server_says_how_users_may_sign() {
    let mut client = Rig::new(Role::Client);
    let init = kexinit(&mut client);
    assert!(KexInit::parse(&init).unwrap().kex.contains("ext-info-c"));
    for asked in [true, false] {
        let mut server = Rig::new(Role::Server);
        server.peer.offer.kex =
            if asked { "curve25519-sha256,ext-info-c" } else { "curve25519-sha256" }.into();
        server.kexinit().method();
        server.peer.send_newkeys();
        server.run();
        let sent = server.messages().into_iter().find(|m| m[0] == ExtInfo::NUMBER);
        assert_eq!(sent.is_some(), asked);
        let Some(sent) = sent else { continue };
        let info = ExtInfo::parse(&sent).unwrap();
        let (_, value) = info.iter().find(|(name, _)| *name == b"server-sig-algs").unwrap();
        let list = String::from_utf8(value.to_vec()).unwrap();
        let allowed = transport(Policy::Modern).algorithms.user_key;
        // The algorithms of signatures: certificates sign with their key's.
        let names = allowed.iter().map(|algorithm| algorithm.name());
        let allowed: Vec<&str> = names.filter(|name| !name.contains("-cert-")).collect();
        assert_eq!(list, allowed.join(","));
    }
}

/// A method's hash is a property of its name, in both roles.
#[test]
fn s44_no_method_hashes_with_another_function_than_its_name_says() {
    for kex in Kex::ALL {
        let name = kex.name().split('@').next().unwrap();
        let expected = match name.rsplit('-').next().unwrap() {
            "sha1" => HashAlgorithm::Sha1,
            "sha256" => HashAlgorithm::Sha256,
            "sha384" => HashAlgorithm::Sha384,
            "sha512" => HashAlgorithm::Sha512,
            // RFC 5656 §6.2.1: by the size of the curve.
            "nistp256" => HashAlgorithm::Sha256,
            "nistp384" => HashAlgorithm::Sha384,
            "nistp521" => HashAlgorithm::Sha512,
            other => panic!("{other}"),
        };
        assert_eq!(kex.hash(), expected, "{kex}");
    }
}

#[test]
fn s18_no_test_of_sftp_is_left_out() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = 0;
    for dir in ["core/tests", "io-std/tests", "conformance/tests"] {
        for entry in fs::read_dir(root.join(dir)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.contains("sftp") && name.ends_with(".rs") {
                files += 1;
                let text = fs::read_to_string(&path).unwrap();
                assert!(!text.contains("#[ignore"), "{}", path.display());
            }
        }
    }
    assert!(files > 20, "{files}");
}
