//! Whole sessions between our client and our server, on a virtual clock.

use konko_test::apps::{Host, Proof, Shell, all_methods, source_byte};
use konko_test::{Pair, host_key, key_of, transport_config};

use konko_core::keys::KeyType;
use konko_core::*;

fn configs() -> (ClientConfig, ServerConfig) {
    let mut server = ServerConfig::new(transport_config(), vec![host_key()]);
    server.methods = all_methods();
    (ClientConfig::new(transport_config()), server)
}

fn run(client: Shell, server: Host) -> Pair<Shell, Host> {
    let (c, s) = configs();
    let mut pair = Pair::new(c, s, (client, server));
    pair.drive_until("the channel closes", |p| p.client.app.seen.closed);
    pair
}

#[test]
fn a_client_logs_in_and_runs_a_command() {
    let pair = run(Shell::new("exit 42"), Host::default());
    let seen = &pair.client.app.seen;
    assert_eq!((seen.exit.as_deref(), seen.eof), (Some("42"), true));
    assert_eq!(seen.granted, [true]);
    assert!(pair.client.conn.strict_kex() && pair.server.conn.strict_kex());
    assert!(pair.client.conn.negotiated().unwrap().kex.post_quantum());
}

#[test]
fn data_goes_both_ways() {
    let input: Vec<u8> = (0..8_000_000u64).map(source_byte).collect();
    let pair = run(Shell::new("echo").with_input(input.clone()), Host::default());
    assert_eq!(pair.client.app.seen.exit.as_deref(), Some("0"));
    assert!(pair.client.app.seen.out == input);
}

#[test]
fn every_way_to_authenticate() {
    let key = key_of(KeyType::ED25519, 9);
    let algorithm = keys::SignatureAlgorithm::ED25519;
    for proof in [
        Proof::Password("wonderland"),
        Proof::Key(key.clone(), algorithm),
        Proof::External(key.clone(), algorithm),
        Proof::Interactive(vec!["blue", "42"]),
    ] {
        let host = Host { keys: vec![key.public().clone()], ..Host::default() };
        let pair = run(Shell::new("exit 0").with_proofs([Proof::None, proof]), host);
        assert_eq!(pair.client.app.seen.exit.as_deref(), Some("0"));
        assert_eq!(pair.client.app.methods, ["password,publickey,keyboard-interactive"]);
    }
}

#[test]
fn rsa_keys_sign_as_the_servers_ext_info_says() {
    let file = include_bytes!("data/keys/rsa");
    let rsa = keys::PrivateKey::load(file, None).unwrap().key_pair(provider::rustcrypto()).unwrap();
    for (taken, expected) in [
        (vec![keys::SignatureAlgorithm::RSA_SHA256], vec![keys::SignatureAlgorithm::RSA_SHA256]),
        (
            vec![
                keys::SignatureAlgorithm::ED25519,
                keys::SignatureAlgorithm::RSA_SHA256,
                keys::SignatureAlgorithm::RSA_SHA512,
            ],
            vec![keys::SignatureAlgorithm::RSA_SHA512, keys::SignatureAlgorithm::RSA_SHA256],
        ),
        (vec![keys::SignatureAlgorithm::ED25519], vec![]),
    ] {
        let mut transport = transport_config();
        transport.algorithms.user_key = taken;
        let server = ServerConfig::new(transport, vec![host_key()]);
        let client = ClientConfig::new(transport_config());
        let shell = Shell::login([Proof::Password("wonderland")]);
        let mut pair = Pair::new(client, server, (shell, Host::default()));
        pair.drive_until("the login", |p| p.client.conn.is_authenticated());
        assert_eq!(pair.client.conn.signature_algorithms(rsa.public()), expected);
    }
}

#[test]
fn a_banner_of_any_length_fits() {
    let (c, mut s) = configs();
    s.banner = Some("é".repeat(100_000));
    let mut pair = Pair::new(c, s, (Shell::new("exit 0"), Host::default()));
    pair.drive_until("the channel closes", |p| p.client.app.seen.closed);
    let shown = pair.client.app.log.iter().find(|l| l.starts_with("Auth(Banner")).unwrap();
    assert_eq!(shown.matches('é').count(), 32 * 1024);
}
