//! The host key.

use std::sync::Arc;

use konko_core::keys::{KeyPair, PrivateKey};
use konko_core::provider;
use konko_test::rsa_key;

use super::*;

/// An RSA key of 1024 bits.
fn weak_key() -> Arc<KeyPair> {
    let key = PrivateKey::load(include_bytes!("../data/keys/rsa1024"), None).unwrap();
    Arc::new(key.key_pair(provider::rustcrypto()).unwrap())
}

#[test]
fn k13_the_host_key_and_its_signature_are_of_the_agreed_algorithm() {
    // Agreed on; shown.
    let p384 = key_of(KeyType::ECDSA_NISTP384, 3);
    let cases = [
        (SignatureAlgorithm::ED25519, p384.clone(), Fault::BadHostKey),
        (SignatureAlgorithm::ECDSA_NISTP256, p384, Fault::BadHostKey),
        (SignatureAlgorithm::ED25519, rsa_key(), Fault::BadHostKey),
        // An RSA key that signs with another algorithm than agreed: signature_algorithms()[0] is not it.
        (SignatureAlgorithm::RSA_SHA1, rsa_key(), Fault::NoCommonAlgorithm),
    ];
    for (algorithm, key, fault) in cases {
        let mut rig = Rig::new(Role::Client);
        rig.peer.offer.host_key = algorithm.name().into();
        rig.peer.host_key = key;
        rig.peer.send_ident();
        rig.peer.send_kexinit();
        rig.run();
        if rig.error.is_none() {
            rig.app.accept_host = None;
            while rig.peer.next().unwrap()[0] != 20 {}
            rig.peer.agree();
            rig.method();
        }
        rig.assert_fault(fault);
        assert_eq!(rig.events_with("HostKey"), 0);
    }
    // The signature names ssh-rsa where rsa-sha2-512 was agreed on.
    let mut rig = Rig::new(Role::Client);
    rig.peer.offer.host_key = "rsa-sha2-512".into();
    rig.peer.host_key = rsa_key();
    rig.app.accept_host = None;
    rig.kexinit();
    let init = rig.expect(30);
    rig.peer.chosen.as_mut().unwrap().host_key = SignatureAlgorithm::RSA_SHA1;
    let reply = rig.peer.on_kex_init(&init);
    rig.send(&reply);
    rig.assert_fault(Fault::BadHostSignature);
}

#[test]
fn k14_the_signature_covers_every_input_of_the_hash() {
    // Each of the server's inputs is changed after it was signed over, or before.
    for what in ["V_C", "V_S", "I_C", "I_S", "reply"] {
        let mut rig = Rig::new(Role::Client);
        rig.app.accept_host = None;
        rig.kexinit();
        let flip = |bytes: &mut Vec<u8>| {
            let last = bytes.len() - 5;
            bytes[last] ^= 1;
        };
        match what {
            "V_C" => flip(&mut rig.peer.their_ident),
            "V_S" => flip(&mut rig.peer.ident),
            "I_C" => flip(&mut rig.peer.their_init),
            "I_S" => flip(&mut rig.peer.my_init),
            _ => {}
        }
        let init = rig.expect(30);
        let mut reply = rig.peer.on_kex_init(&init);
        if what == "reply" {
            // Every byte of the reply.
            for at in 1..reply.len() {
                let mut rig = Rig::new(Role::Client);
                rig.app.accept_host = None;
                rig.kexinit();
                let init = rig.expect(30);
                reply = rig.peer.on_kex_init(&init);
                reply[at] ^= 1;
                rig.send(&reply);
                assert!(rig.error.is_some(), "byte {at}");
                assert!(!rig.numbers().contains(&21));
            }
            continue;
        }
        rig.send(&reply);
        rig.assert_fault(Fault::BadHostSignature);
        assert_eq!(rig.events_with("HostKey"), 0, "{what}");
    }
}

#[test]
fn k25_the_host_key_stays_the_same_in_later_exchanges() {
    for other in [key_of(KeyType::ED25519, 8), key_of(KeyType::ECDSA_NISTP256, 8)] {
        let mut rig = Rig::new(Role::Client);
        rig.login();
        rig.peer.offer.host_key = other.public().signature_algorithms()[0].name().into();
        rig.peer.host_key = other;
        rig.app.accept_host = None;
        rig.rekey_init().method();
        rig.assert_fault(Fault::HostKeyChanged);
        assert_eq!(rig.events_with("HostKey("), 1, "nobody is asked again");
    }
}

#[test]
fn h18_weak_rsa_host_keys_are_refused() {
    let mut rig = Rig::new(Role::Client);
    rig.peer.offer.host_key = "rsa-sha2-256".into();
    rig.peer.host_key = weak_key();
    rig.app.accept_host = None;
    rig.kexinit().method();
    rig.assert_fault(Fault::WeakHostKey);
}

/// What is refused is allowed by one switch, each, and by no other.
#[test]
fn c18_weak_host_keys_are_taken_when_asked_for() {
    for (bits, taken) in [(2048, false), (1025, false), (1024, true), (0, true)] {
        let mut config = transport(Policy::Modern);
        config.limits.rsa_bits = bits;
        config.allow_terrapin = !taken;
        let mut rig = Rig::with(Role::Client, config);
        rig.peer.offer.host_key = "rsa-sha2-256".into();
        rig.peer.host_key = weak_key();
        if taken {
            rig.login();
        } else {
            rig.app.accept_host = None;
            rig.kexinit().method();
            rig.assert_fault(Fault::WeakHostKey);
        }
    }
}
