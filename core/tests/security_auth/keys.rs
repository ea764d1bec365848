//! Our server: keys.

use konko_test::rsa_key;

use super::*;

#[test]
fn as05_a_probe_proves_nothing() {
    let (a, b) = (user_key(), key_of(KeyType::ED25519, 10));
    let mut rig = server_for(&a);
    // Probe A, probe B, sign A: the event has A.
    rig.send(&publickey("alice", false, "ssh-ed25519", &a.public().to_blob()));
    assert_eq!(rig.expect(60), strings(60, &[b"ssh-ed25519", &a.public().to_blob()]));
    rig.refused(&publickey("alice", false, "ssh-ed25519", &b.public().to_blob()));
    let id = rig.peer.session_id.clone();
    let signed = rig.peer.key_request("alice", &a, SignatureAlgorithm::ED25519, &id);
    rig.send(&signed);
    rig.expect(52);
    let shown = format!("{:?}", a.public());
    assert!(rig.events.iter().any(|e| e.starts_with("Auth(Signed {") && e.contains(&shown)));
    // PK_OK for A, then B signs; then A with a broken signature.
    let mut rig = server_for(&a);
    rig.send(&publickey("alice", false, "ssh-ed25519", &a.public().to_blob()));
    rig.expect(60);
    let signed = rig.peer.key_request("alice", &b, SignatureAlgorithm::ED25519, &id);
    rig.refused(&signed);
    let id = rig.peer.session_id.clone();
    let mut signed = rig.peer.key_request("alice", &a, SignatureAlgorithm::ED25519, &id);
    *signed.last_mut().unwrap() ^= 1;
    rig.refused(&signed);
    assert_eq!(rig.events_with("Authenticated"), 0);
}

#[test]
fn as06_as31_a_signature_is_bound_to_the_session_and_to_every_byte_of_the_request() {
    let key = user_key();
    let mut rig = server_for(&key);
    let id = rig.peer.session_id.clone();
    let good = rig.peer.key_request("alice", &key, SignatureAlgorithm::ED25519, &id);
    let other_session = rig.peer.key_request("alice", &key, SignatureAlgorithm::ED25519, &[7; 32]);
    let mut other_flag = good.clone();
    let flag = strings(50, &[b"alice", b"ssh-connection", b"publickey"]).len();
    assert_eq!(other_flag[flag], 1);
    other_flag[flag] = 2;
    // Signed for alicf, sent as alice.
    let mut other_user = rig.peer.key_request("alicf", &key, SignatureAlgorithm::ED25519, &id);
    other_user[9] = b'e';
    for m in [&other_session, &other_flag, &other_user] {
        rig.refused(m);
    }
    assert_eq!(rig.events_with("Auth(Signed {"), 0, "the application hears only of what was verified");
    rig.send(&good);
    rig.expect(52);
}

#[test]
fn as07_algorithm_key_and_signature_agree() {
    let keys =
        [user_key(), key_of(KeyType::ECDSA_NISTP256, 1), key_of(KeyType::ECDSA_NISTP384, 2), rsa_key()];
    let algs = [
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "rsa-sha2-256",
        "rsa-sha2-512",
        "ssh-rsa",
        "ssh-dss",
    ];
    let mut config = transport(Policy::Modern);
    config.limits.auth_tries = 10_000;
    config.limits.auth_requests = 10_000;
    let config = server_config(config);
    for key in &keys {
        let mut accepted = Vec::new();
        let mut rig = Rig::server(config.clone());
        rig.service();
        rig.app.keys.push(key.public().clone());
        rig.app.hold_auth = true;
        for said in algs {
            for made in key.public().signature_algorithms() {
                // `said` in the request, a signature of `made` inside.
                let mut m = userauth("alice", "ssh-connection", "publickey");
                m.put_bool(true);
                m.put_string(said.as_bytes());
                m.put_string(&key.public().to_blob());
                let mut signed = Vec::new();
                signed.put_string(&rig.peer.session_id);
                signed.put(&m);
                m.put_string(&key.sign(*made, &signed, &mut rig.peer.rng).unwrap());
                rig.send(&m);
                rig.wait(Duration::from_millis(20));
                if let Some(ticket) = rig.app.auth_tickets.pop() {
                    accepted.push((said, made.name()));
                    rig.conn_server().decide_auth(ticket, AuthDecision::Reject).unwrap();
                    rig.wait(Duration::from_millis(20));
                }
                rig.expect(51);
            }
        }
        // The same on both sides, and ssh-rsa not at all under this policy.
        assert!(accepted.iter().all(|(a, b)| a == b && *a != "ssh-rsa"), "{accepted:?}");
        let usable = key
            .public()
            .signature_algorithms()
            .iter()
            .filter(|a| **a != SignatureAlgorithm::RSA_SHA1)
            .count();
        assert_eq!(accepted.len(), usable);
    }
}

#[test]
fn as08_as09_as24_as25_what_cannot_be_used_is_a_failure_not_an_end() {
    let key = user_key();
    let mut config = transport(Policy::Modern);
    config.limits.auth_tries = 100;
    let mut rig = Rig::server(server_config(config));
    rig.service();
    rig.app.keys.push(key.public().clone());
    for (algorithm, blob) in [
        ("ssh-dss", &b"garbage"[..]),
        ("ssh-ed25519", b"garbage"),
        ("ssh-ed25519", b""),
        ("ssh-ed25519", b"/etc/passwd"),
        ("ssh-ed25519", b"\\\\host\\share\\key"),
        ("rsa-sha2-256\0", b""),
        ("", b""),
    ] {
        rig.refused(&publickey("alice", false, algorithm, blob));
    }
    for method in ["gssapi-with-mic", "gssapi-keyex", "hostbased", "password\0x", "", "none,password"] {
        let mut m = userauth("alice", "ssh-connection", method);
        m.put_u32(u32::MAX);
        rig.refused(&m);
    }
    assert_eq!(rig.events_with("Auth(Attempt {") + rig.events_with("Auth(Probe {"), 0);
    let id = rig.peer.session_id.clone();
    let signed = rig.peer.key_request("alice", &key, SignatureAlgorithm::ED25519, &id);
    rig.send(&signed);
    rig.expect(52);
}

#[test]
fn as10_pathological_rsa_keys_are_refused_at_once() {
    let blob = |e: &[u8], n: &[u8]| {
        let mut b = strings(0, &[b"ssh-rsa"])[1..].to_vec();
        b.put_mpint(e);
        b.put_mpint(n);
        b
    };
    let mut odd = vec![0xff; 256];
    let mut even = odd.clone();
    even[255] = 0xfe;
    let wide = |bits: usize| vec![0xff; bits / 8];
    let bad = [
        blob(&[1], &odd),
        blob(&[2], &odd),
        blob(&[4], &odd),
        blob(&[], &odd),
        blob(&[2, 0, 0, 0, 1], &odd),
        blob(&[1, 0, 1], &even),
        blob(&[1, 0, 1], &wide(1024)),
        blob(&[1, 0, 1], &[&[1][..], &wide(16384)].concat()),
        blob(&[1, 0, 1], &wide(1_000_000)),
    ];
    let mut config = transport(Policy::Modern);
    config.limits.auth_tries = 100;
    let mut rig = Rig::server(server_config(config));
    rig.service();
    let start = std::time::Instant::now();
    for blob in &bad {
        rig.refused(&publickey("alice", false, "rsa-sha2-256", blob));
    }
    assert!(start.elapsed() < Duration::from_millis(500));
    assert_eq!(rig.events_with("Auth(Attempt {") + rig.events_with("Auth(Probe {"), 0);
    odd.clear();
}

#[test]
fn as11_nothing_follows_a_signature() {
    let key = user_key();
    let mut rig = server_for(&key);
    let id = rig.peer.session_id.clone();
    let good = rig.peer.key_request("alice", &key, SignatureAlgorithm::ED25519, &id);
    let outer = good.len() - 83 - 4;
    // One byte more in the inner string, one behind it.
    let mut inner = good.clone();
    inner.push(0);
    inner[outer + 3] += 1;
    rig.refused(&inner);
    let mut longer = inner.clone();
    let at = outer + 4 + 4 + 11 + 3;
    longer[at] += 1;
    rig.refused(&longer);
    let mut trailing = good.clone();
    trailing.push(0);
    rig.send(&trailing);
    rig.assert_fault(Fault::Malformed);
}
