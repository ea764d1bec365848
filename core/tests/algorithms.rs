//! Whole sessions with every algorithm, and what is said when there is none in common.

use std::sync::Arc;

use konko_core::crypto::{Cipher, Compression, Kex, Mac};
use konko_core::error::{Error, Fault};
use konko_core::keys::{KeyPair, KeyType, PrivateKey, SignatureAlgorithm};
use konko_core::transport::negotiate::{AlgorithmCategory, Algorithms, Policy};
use konko_core::*;
use konko_test::apps::{Host, Proof, Shell, all_methods, source_byte};
use konko_test::{Pair, host_key, key_of, transport_config};

fn rsa() -> Arc<KeyPair> {
    let path = format!("{}/tests/data/keys/rsa", env!("CARGO_MANIFEST_DIR"));
    let key = PrivateKey::load(&std::fs::read(path).unwrap(), None).unwrap();
    Arc::new(key.key_pair(provider::rustcrypto()).unwrap())
}

fn host_keys() -> Vec<Arc<KeyPair>> {
    let ecdsa = |kind| key_of(kind, 20);
    let [p256, p384, p521] =
        [KeyType::ECDSA_NISTP256, KeyType::ECDSA_NISTP384, KeyType::ECDSA_NISTP521].map(ecdsa);
    let others = [KeyType::SK_ED25519, KeyType::SK_ECDSA_NISTP256].into_iter().chain(KeyType::certificates());
    [host_key(), p256, p384, p521, rsa()].into_iter().chain(others.map(|kind| key_of(kind, 20))).collect()
}

/// Every key exchange method that the provider has.
fn computable() -> Vec<Kex> {
    let mut config = transport_config();
    config.algorithms.kex = Kex::ALL.to_vec();
    config.algorithms.for_provider(config.provider).kex.clone()
}

fn config(policy: Policy, change: impl Fn(&mut Algorithms)) -> TransportConfig {
    let mut config = transport_config();
    config.algorithms = policy.algorithms(true);
    change(&mut config.algorithms);
    config
}

fn pair_of(client: TransportConfig, server: TransportConfig, shell: Shell, host: Host) -> Pair<Shell, Host> {
    let mut server = ServerConfig::with_transport(server, host_keys());
    server.methods = all_methods();
    Pair::new(ClientConfig::new(client), server, (shell, host))
}

/// A session in which 100 kB go there and back.
fn echo(client: TransportConfig, server: TransportConfig) -> Pair<Shell, Host> {
    let input: Vec<u8> = (0..100_000).map(source_byte).collect();
    let shell = Shell::new("echo").with_input(input.clone());
    let mut pair = pair_of(client, server, shell, Host::default());
    pair.drive_until("the echo", |p| p.client.app.seen.closed);
    assert!(pair.client.app.seen.out == input);
    assert_eq!(pair.client.conn.negotiated(), pair.server.conn.negotiated());
    pair
}

#[test]
fn every_key_exchange_method_with_every_host_key_algorithm() {
    // Large groups are slow; they meet one host key each.
    let slow = [
        Kex::Group15Sha512,
        Kex::Group16Sha512,
        Kex::Group17Sha512,
        Kex::Group18Sha512,
        Kex::GroupExchangeSha256,
        Kex::GroupExchangeSha1,
    ];
    for kex in &computable() {
        for algorithm in SignatureAlgorithm::all() {
            if slow.contains(kex) && algorithm != SignatureAlgorithm::ED25519 {
                continue;
            }
            let ours = config(Policy::LegacyDevice, |a| {
                a.kex = vec![*kex];
                a.host_key = vec![algorithm];
            });
            let shell = Shell::new("exit 3");
            let mut pair = pair_of(ours, config(Policy::LegacyDevice, |_| {}), shell, Host::default());
            pair.drive_until("the exit", |p| p.client.app.seen.closed);
            assert_eq!(pair.client.app.seen.exit.as_deref(), Some("3"));
            let n = pair.client.conn.negotiated().unwrap();
            assert_eq!((n.kex, n.host_key), (*kex, algorithm));
            assert!(pair.client.conn.strict_kex());
            assert_eq!(pair.client.conn.session_id(), pair.server.conn.session_id());
        }
    }
}

#[test]
fn every_cipher_with_every_mac() {
    for cipher in Cipher::ALL {
        for mac in Mac::ALL {
            let one = config(Policy::LegacyDevice, |a| {
                a.set_ciphers(&[*cipher]).set_macs(&[*mac]);
            });
            let pair = echo(one.clone(), one);
            let n = pair.client.conn.negotiated().unwrap();
            assert_eq!(n.protection[0].cipher, *cipher);
            assert_eq!(n.protection[0].mac, (!cipher.aead()).then_some(*mac));
            if cipher.aead() {
                break;
            }
        }
    }
}

#[test]
fn every_compression_under_every_policy() {
    for policy in Policy::ALL {
        for method in policy.algorithms(true).compression[0].clone() {
            let one = config(policy, |a| {
                a.set_compression(&[method]);
            });
            let pair = echo(one.clone(), one);
            assert_eq!(pair.client.conn.negotiated().unwrap().compression, [method, method]);
        }
    }
}

#[test]
fn k32_each_direction_has_its_own() {
    let ciphers = [Cipher::Aes128Gcm, Cipher::ChaCha20Poly1305, Cipher::Aes256Ctr, Cipher::TripleDesCbc];
    let macs = [Mac::HmacSha256Etm, Mac::HmacMd5];
    let zips = [Compression::None, Compression::ZlibOpenssh, Compression::Zlib];
    for up in ciphers {
        for down in ciphers {
            for (i, zip) in zips.iter().enumerate() {
                let one = config(Policy::LegacyDevice, |a| {
                    a.cipher = [vec![up], vec![down]];
                    a.mac = [vec![macs[i % 2]], vec![macs[(i + 1) % 2]]];
                    a.compression = [vec![*zip], vec![zips[(i + 1) % 3]]];
                });
                let pair = echo(one.clone(), one);
                let n = pair.server.conn.negotiated().unwrap();
                assert_eq!([n.protection[0].cipher, n.protection[1].cipher], [up, down]);
            }
        }
    }
}

#[test]
fn the_clients_preference_decides_and_policies_understand_each_other() {
    for ours in Policy::ALL {
        for theirs in Policy::ALL {
            let pair = echo(config(ours, |_| {}), config(theirs, |_| {}));
            let n = pair.client.conn.negotiated().unwrap();
            assert_eq!((n.kex, n.host_key), (Kex::MlKem768X25519Sha256, SignatureAlgorithm::ED25519_CERT));
        }
    }
    let ours = config(Policy::Modern, |a| {
        a.set_ciphers(&[Cipher::Aes256Ctr, Cipher::Aes128Gcm]);
    });
    let theirs = config(Policy::Modern, |a| {
        a.set_ciphers(&[Cipher::Aes128Gcm, Cipher::Aes256Ctr]);
    });
    assert_eq!(echo(ours, theirs).client.conn.negotiated().unwrap().protection[0].cipher, Cipher::Aes256Ctr);
}

#[test]
fn h05_known_host_keys_come_first_without_narrowing_the_list() {
    let ours = config(Policy::Modern, |a| {
        a.prefer_host_keys(&[SignatureAlgorithm::RSA_SHA256, SignatureAlgorithm::RSA_SHA512]);
    });
    assert_eq!(ours.algorithms.host_key.len(), Policy::Modern.algorithms(true).host_key.len());
    let pair = echo(ours, config(Policy::Modern, |_| {}));
    assert_eq!(pair.client.conn.negotiated().unwrap().host_key, SignatureAlgorithm::RSA_SHA512);
    assert_eq!(pair.client.conn.host_key(), Some(rsa().public()));
}

#[test]
fn u07_user_keys_of_every_algorithm() {
    for key in host_keys() {
        for algorithm in key.public().signature_algorithms() {
            for external in [false, true] {
                let proof = if external {
                    Proof::External(key.clone(), *algorithm)
                } else {
                    Proof::Key(key.clone(), *algorithm)
                };
                let shell =
                    Shell::new("exit 0").with_proofs([Proof::Probe(key.public().clone(), *algorithm), proof]);
                let host = Host { keys: vec![key.public().clone()], ..Host::default() };
                let compat = config(Policy::Compat, |_| {});
                let mut pair = pair_of(compat.clone(), compat, shell, host);
                pair.drive_until("the exit", |p| p.client.app.seen.closed);
                assert_eq!(pair.server.app.attempts[0], "probe");
            }
        }
    }
}

#[test]
fn u06_a_failure_names_every_category_both_lists_and_the_policy_that_would_do() {
    let ours = config(Policy::Modern, |_| {});
    let theirs = config(Policy::LegacyDevice, |a| {
        a.kex = vec![Kex::Group14Sha1, Kex::Group1Sha1];
        a.host_key = vec![SignatureAlgorithm::RSA_SHA1];
        a.set_ciphers(&[Cipher::TripleDesCbc]);
        a.set_macs(&[Mac::HmacMd5]);
        a.set_compression(&[Compression::Zlib]);
    });
    let mut pair = pair_of(ours, theirs, Shell::new("x"), Host::default());
    pair.drive_until("both give up", |p| p.client.over() && p.server.over());
    let Some(Error::Peer(error)) = &pair.client.result else { panic!("{:?}", pair.client.result) };
    assert_eq!(error.fault(), Fault::NoCommonAlgorithm);
    let failure = error.negotiation_failure().unwrap();
    use AlgorithmCategory as C;
    let found: Vec<_> = failure.mismatches.iter().map(|m| (m.category, m.policy_that_would_match)).collect();
    assert_eq!(
        found,
        [
            (C::Kex, Some(Policy::Compat)),
            (C::HostKey, Some(Policy::Compat)),
            (C::CipherClientToServer, Some(Policy::LegacyDevice)),
            (C::MacClientToServer, Some(Policy::LegacyDevice)),
            (C::CipherServerToClient, Some(Policy::LegacyDevice)),
            (C::MacServerToClient, Some(Policy::LegacyDevice)),
            (C::CompressionClientToServer, Some(Policy::LegacyDevice)),
            (C::CompressionServerToClient, Some(Policy::LegacyDevice)),
        ]
    );
    assert!(failure.mismatches[0].theirs.starts_with("diffie-hellman-group14-sha1,"));
    assert!(failure.mismatches[0].ours.contains("mlkem768x25519-sha256"));
    let text = error.to_string();
    for word in
        ["3des-cbc", "hmac-md5", "LegacyDevice", "Compat", "KexAlgorithms", "HostKeyAlgorithms", "Ciphers"]
    {
        assert!(text.contains(word), "{word} in {text}");
    }
    // The server says the same from its side, whoever's DISCONNECT comes first.
    assert!(matches!(&pair.server.result, Some(Error::Peer(e)) if e.negotiation_failure().is_some()));
}

#[test]
fn u06_the_same_input_gives_the_same_choice() {
    let run = || {
        let pair = echo(config(Policy::Compat, |_| {}), config(Policy::Modern, |_| {}));
        (pair.client.conn.negotiated().cloned(), pair.now, pair.client.app.log)
    };
    assert_eq!(run(), run());
}

#[test]
fn m07_legacy_algorithms_are_in_no_default() {
    let default = format!("{:?}", transport_config().algorithms);
    for weak in ["Sha1", "Md5", "Cbc", "Des", "Zlib)", "Group1S"] {
        assert!(!default.contains(weak), "{weak}");
    }
}
