//! Certificates and security keys in use: hosts that show them, users who come in with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use konko_core::hosts::{
    Accepted, Checked, Checking, HostAuthorities, HostKeyCheck, HostKeyStatus, KnownHosts, Settled, Trust,
};
use konko_core::keys::{
    CertificateKind, CertificateProblem, CertificateRequest, KeyPair, KeyType, SignatureAlgorithm,
    TouchPolicy, signature,
};
use konko_core::provider::rustcrypto;
use konko_core::wire::Reader;
use konko_core::{Rng, Seed};
use konko_test::tokens::{authority, certified, security_key};
use konko_test::{key_of, rsa_key};

const NOW: u64 = 1_800_000_000;

fn host() -> Arc<KeyPair> {
    key_of(KeyType::ED25519, 7)
}

/// What known hosts make of a certificate of the host's.
fn decide(
    lines: &str,
    name: &str,
    port: u16,
    kind: CertificateKind,
    request: impl FnOnce(CertificateRequest) -> CertificateRequest,
) -> Settled {
    let shown = certified(&host(), kind, request);
    let known = Arc::new(KnownHosts::parse("kh", lines.as_bytes()).unwrap());
    let mut authorities = HostAuthorities::default();
    authorities.now = Some(NOW);
    let check = HostKeyCheck::new(name, port, Trust::KnownHosts(Checking::default()), known);
    match check.authorities(authorities).decide(shown.public()) {
        Checked::Settled(settled) => settled,
        Checked::Ask(_) => panic!("nobody is asked"),
    }
}

fn is_certified(settled: &Settled) -> bool {
    matches!(settled, Settled::Accept { why: Accepted::Certified { .. }, .. })
}

fn problem(settled: Settled) -> (Option<HostKeyStatus>, Option<CertificateProblem>) {
    match settled {
        Settled::Reject(problem) => (problem.status, problem.certificate),
        other => panic!("{other:?}"),
    }
}

fn line(marker: &str, names: &str, pair: &KeyPair) -> String {
    format!("{marker} {names} {}\n", pair.public().to_openssh_line("")).trim_start().to_owned()
}

#[test]
fn s14_h07_a_hosts_certificate_is_believed_by_its_authority_name_time_and_type() {
    use CertificateKind::{Host, User};
    use CertificateProblem as P;
    let ca = line("@cert-authority", "*.example.org", &authority());
    let believed = |request: fn(CertificateRequest) -> CertificateRequest| {
        is_certified(&decide(&ca, "a.example.org", 22, Host, request))
    };
    assert!(believed(|r| r.principals(["a.example.org"])));
    assert!(believed(|r| r.principals(["x", "*.example.org"])));
    assert!(believed(|r| r.principals(["a.example.org"]).valid(NOW, NOW + 1)));
    // On another port the name's own authority does.
    assert!(is_certified(&decide(&ca, "A.Example.org.", 2222, Host, |r| r.principals(["a.example.org"]))));
    type Change = fn(CertificateRequest) -> CertificateRequest;
    let table: [(CertificateKind, Change, P); 6] = [
        (Host, |r| r.principals(["b.example.org"]), P::Principal),
        (Host, |r| r, P::NoPrincipals),
        (Host, |r| r.principals(["a.example.org"]).valid(0, NOW), P::Expired),
        (Host, |r| r.principals(["a.example.org"]).valid(NOW + 1, u64::MAX), P::NotYetValid),
        (User, |r| r.principals(["a.example.org"]), P::Kind(Host)),
        (Host, |r| r.principals(["a.example.org"]).critical_option("x", b""), P::CriticalOption("x".into())),
    ];
    for (kind, request, expected) in table {
        let (status, why) = problem(decide(&ca, "a.example.org", 22, kind, request));
        assert!(matches!(status, Some(HostKeyStatus::Unknown(_))), "{expected:?}: {status:?}");
        assert_eq!(why, Some(expected));
    }
    let other = line("@cert-authority", "*.example.org", &key_of(KeyType::ED25519, 98));
    let (_, why) = problem(decide(&other, "a.example.org", 22, Host, |r| r.principals(["a.example.org"])));
    assert_eq!(why, Some(P::Authority));
    let (_, why) = problem(decide(&ca, "a.example.com", 22, Host, |r| r.principals(["a.example.com"])));
    assert_eq!(why, Some(P::Authority));
}

#[test]
fn h03_what_an_expired_certificate_is_for_is_looked_up_like_any_key() {
    let expired =
        |lines: &str| decide(lines, "h", 22, CertificateKind::Host, |r| r.principals(["h"]).valid(0, NOW));
    let ca = line("@cert-authority", "h", &authority());
    let known = ca.clone() + &line("", "h", &host());
    assert!(matches!(expired(&known), Settled::Accept { why: Accepted::Known(_), .. }));
    let changed = ca.clone() + &line("", "h", &key_of(KeyType::ED25519, 8));
    assert!(matches!(problem(expired(&changed)).0, Some(HostKeyStatus::Changed { .. })));
    assert!(matches!(problem(expired(&ca)).0, Some(HostKeyStatus::Unknown(_))));
}

#[test]
fn h06_a_revoked_authority_or_key_refuses_the_certificate_and_the_key() {
    let right = |lines: &str| decide(lines, "h", 22, CertificateKind::Host, |r| r.principals(["h"]));
    let ca = line("@cert-authority", "h", &authority());
    assert!(is_certified(&right(&ca)));
    for revoked in [&authority(), &host()] {
        let lines = ca.clone() + &line("", "h", &host()) + &line("@revoked", "*", revoked);
        assert!(matches!(problem(right(&lines)).0, Some(HostKeyStatus::Revoked { .. })));
    }
}

#[test]
fn s15_a_certificate_signs_under_the_name_of_its_keys_algorithm() {
    let table = [
        (key_of(KeyType::ED25519, 1), "ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519"),
        (
            key_of(KeyType::ECDSA_NISTP256, 1),
            "ecdsa-sha2-nistp256-cert-v01@openssh.com",
            "ecdsa-sha2-nistp256",
        ),
        (
            key_of(KeyType::ECDSA_NISTP384, 1),
            "ecdsa-sha2-nistp384-cert-v01@openssh.com",
            "ecdsa-sha2-nistp384",
        ),
        (
            key_of(KeyType::ECDSA_NISTP521, 1),
            "ecdsa-sha2-nistp521-cert-v01@openssh.com",
            "ecdsa-sha2-nistp521",
        ),
        (rsa_key(), "rsa-sha2-512-cert-v01@openssh.com", "rsa-sha2-512"),
        (rsa_key(), "rsa-sha2-256-cert-v01@openssh.com", "rsa-sha2-256"),
        (rsa_key(), "ssh-rsa-cert-v01@openssh.com", "ssh-rsa"),
        (key_of(KeyType::SK_ED25519, 1), "sk-ssh-ed25519-cert-v01@openssh.com", "sk-ssh-ed25519@openssh.com"),
    ];
    for (pair, name, signed) in table {
        let pair = certified(&pair, CertificateKind::User, |r| r.principals(["alice"]));
        let algorithm = SignatureAlgorithm::from_name(name).unwrap();
        let mut rng = Rng::from_seed(&Seed::new([1; 32]));
        let blob = pair.sign(algorithm, b"m", &mut rng).unwrap();
        assert_eq!(Reader::new(&blob).string(), Ok(signed.as_bytes()));
        assert_eq!(signature::verify(rustcrypto(), pair.public(), algorithm, b"m", &blob), Ok(()));
        assert!(signature::verify(rustcrypto(), pair.public(), algorithm, b"n", &blob).is_err());
        let blob = pair.public().to_blob();
        let kind = Reader::new(&blob).string().unwrap();
        assert_eq!(kind, algorithm.key_type().name().as_bytes(), "RSA has one name for its certificates");
    }
}

#[test]
fn as12_a_security_key_says_whether_it_was_touched() {
    let flags = Arc::new(AtomicU8::new(1));
    for kind in [KeyType::SK_ED25519, KeyType::SK_ECDSA_NISTP256] {
        let pair = security_key(kind, 1, flags.clone());
        let algorithm = pair.public().signature_algorithms()[0];
        let mut rng = Rng::from_seed(&Seed::new([1; 32]));
        for (said, [touch, neither, pin, both]) in [
            (0, [false, true, false, false]),
            (1, [true, true, false, false]),
            (4, [false, true, true, false]),
            (5, [true, true, true, true]),
        ] {
            flags.store(said, Ordering::Relaxed);
            let blob = pair.sign(algorithm, b"m", &mut rng).unwrap();
            assert_eq!(signature::verify(rustcrypto(), pair.public(), algorithm, b"m", &blob), Ok(()));
            let details = signature::details(&blob, algorithm);
            let admits = |touch, verify| TouchPolicy::new(touch, verify).admits(details);
            assert_eq!(TouchPolicy::default().admits(details), touch, "{said}");
            let found = [admits(true, false), admits(false, false), admits(false, true), admits(true, true)];
            assert_eq!(found, [touch, neither, pin, both], "{said}");
            // What the device said is signed: nobody else can say it.
            for at in blob.len() - 5..blob.len() {
                let mut changed = blob.clone();
                changed[at] ^= 1;
                let verified = signature::verify(rustcrypto(), pair.public(), algorithm, b"m", &changed);
                assert!(verified.is_err(), "{at}");
            }
        }
        flags.store(1, Ordering::Relaxed);
    }
}
