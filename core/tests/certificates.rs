//! Certificates: what is read, believed, refused and issued (OpenSSH PROTOCOL.certkeys, sshkey.c, auth-options.c).

use std::net::IpAddr;

use konko_core::authorized_keys::{AuthorizedKeys, AuthorizedPrincipals, KeyOptions};
use konko_core::crypto::HashAlgorithm;
use konko_core::keys::{
    Certificate, CertificateCheck, CertificateKind, CertificateProblem, CertificateRequest, KeyError,
    KeyPair, KeyType, Principals, PublicKey, RequestProblem, SignatureAlgorithm,
};
use konko_core::provider::rustcrypto;
use konko_core::wire::{Reader, Sink};
use konko_core::{Rng, Seed};
use konko_test::{key_of, rsa_key};
use proptest::prelude::*;

mod property;

const NOW: u64 = 1_800_000_000;
const USER: &[u8] = b"alice";

fn rng(seed: u8) -> Rng {
    Rng::from_seed(&Seed::new([seed; 32]))
}

fn authority() -> std::sync::Arc<KeyPair> {
    key_of(KeyType::ED25519, 1)
}

/// A user's certificate that is right, and that `change` spoils.
fn issue(change: impl FnOnce(CertificateRequest) -> CertificateRequest) -> Certificate {
    let key = key_of(KeyType::ED25519, 9);
    let request = CertificateRequest::new(CertificateKind::User, key.public())
        .key_id("a key")
        .serial(7)
        .principals(["alice", "bob"])
        .valid(NOW - 100, NOW + 100);
    change(request).sign(&authority(), None, &mut rng(3)).unwrap()
}

fn check(
    certificate: &Certificate,
    change: impl FnOnce(CertificateCheck<'_>) -> CertificateCheck<'_>,
) -> Result<(), CertificateProblem> {
    let authorities = [authority().public().clone()];
    let check = CertificateCheck::user(Principals::Name(USER)).authorities(&authorities).now(Some(NOW));
    certificate.validate(rustcrypto(), &change(check)).map(|_| ())
}

fn as_is(check: CertificateCheck<'_>) -> CertificateCheck<'_> {
    check
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

fn data(text: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    data.put_string(text);
    data
}

#[test]
fn a_certificate_of_every_type_by_an_authority_of_every_type() {
    let authorities = KeyType::all().map(|k| if k == KeyType::RSA { rsa_key() } else { key_of(k, 2) });
    for authority in authorities.collect::<Vec<_>>() {
        for kind in KeyType::certificates() {
            let key = key_of(kind, 5);
            let plain = key.public().plain();
            assert_eq!((plain.key_type(), kind.plain()), (kind.plain(), plain.key_type()));
            let request = CertificateRequest::new(CertificateKind::User, &plain).principals(["alice"]);
            for algorithm in authority.public().signature_algorithms() {
                let certificate = request.sign(&authority, Some(*algorithm), &mut rng(1)).unwrap();
                assert_eq!(certificate.signature_algorithm().as_bytes(), algorithm.name().as_bytes());
                assert!(certificate.signature_is_right(rustcrypto()));
                let line = certificate.to_openssh_line("a comment");
                let (again, comment) = Certificate::from_openssh_line(line.as_bytes()).unwrap();
                assert_eq!((&again, comment.as_bytes()), (&certificate, &b"a comment"[..]));
                let blob = certificate.public().to_blob();
                assert_eq!(Certificate::from_blob(&blob).as_ref(), Ok(&certificate));
                let authorities = [authority.public().clone()];
                let check =
                    CertificateCheck::user(Principals::Name(USER)).authorities(&authorities).now(Some(NOW));
                let believed = certificate.validate(rustcrypto(), &check).is_ok();
                // F-05: no SHA-1, and whoever wants it says so.
                let old = *algorithm == SignatureAlgorithm::RSA_SHA1;
                assert_eq!(believed, !old, "{algorithm}");
                let check = check.algorithms(std::slice::from_ref(algorithm));
                assert!(certificate.validate(rustcrypto(), &check).is_ok());
            }
        }
    }
}

#[test]
fn s13_a_certificate_is_no_key_and_shows_its_keys_fingerprint() {
    let certificate = issue(as_request);
    let (public, key) = (certificate.public(), certificate.key());
    assert_ne!(public, key);
    assert_eq!(public.plain(), *key);
    assert_eq!(key.plain(), *key);
    assert_eq!(public.fingerprint(HashAlgorithm::Sha256), key.fingerprint(HashAlgorithm::Sha256));
    // Where a key belongs, a certificate is an error.
    let blob = public.to_blob();
    assert_eq!(PublicKey::from_blob(&blob).unwrap_err(), KeyError::CertificateGiven);
    let line = certificate.to_openssh_line("");
    assert_eq!(PublicKey::from_openssh_line(line.as_bytes()).unwrap_err(), KeyError::CertificateGiven);
    let keys = AuthorizedKeys::parse("ak", line.as_bytes()).unwrap();
    assert!(keys.entries().is_empty());
    // And the other way round.
    assert_eq!(Certificate::from_blob(&key.to_blob()).unwrap_err(), KeyError::NotACertificate);
    assert!(Certificate::of(key).is_none());
    let pair = key_of(KeyType::ED25519, 9);
    assert_eq!(pair.certified(key).unwrap_err(), KeyError::NotACertificate);
    assert_eq!(key_of(KeyType::ED25519, 8).certified(public).unwrap_err(), KeyError::OtherKey);
}

fn as_request(request: CertificateRequest) -> CertificateRequest {
    request
}

#[test]
fn f04_validity_and_type() {
    use CertificateProblem as P;
    type Outcome = Result<(), P>;
    let table: [(u64, u64, Option<u64>, Outcome); 9] = [
        (NOW, NOW + 1, Some(NOW), Ok(())),
        (NOW + 1, NOW + 2, Some(NOW), Err(P::NotYetValid)),
        (NOW - 1, NOW, Some(NOW), Err(P::Expired)),
        (NOW - 2, NOW - 1, Some(NOW), Err(P::Expired)),
        (0, u64::MAX, Some(NOW), Ok(())),
        (0, u64::MAX, Some(0), Ok(())),
        (0, u64::MAX, Some(u64::MAX), Err(P::Expired)),
        (1 << 63, u64::MAX, Some(NOW), Err(P::NotYetValid)),
        // A clock that says nothing, such as one before 1970.
        (0, u64::MAX, None, Err(P::NoTime)),
    ];
    for (after, before, now, expected) in table {
        let certificate = issue(|r| r.valid(after, before));
        assert_eq!(check(&certificate, |c| c.now(now)), expected, "{after} {before} {now:?}");
    }
    let request = CertificateRequest::new(CertificateKind::User, authority().public());
    let inverted = request.clone().valid(NOW, NOW).sign(&authority(), None, &mut rng(1));
    assert_eq!(inverted.unwrap_err(), RequestProblem::Validity);
    let host = CertificateRequest::new(CertificateKind::Host, key_of(KeyType::ED25519, 9).public());
    let host = host.principals(["alice"]).sign(&authority(), None, &mut rng(1)).unwrap();
    assert_eq!(check(&host, as_is), Err(P::Kind(CertificateKind::User)));
    let authorities = [authority().public().clone()];
    let as_host = CertificateCheck::host(USER).authorities(&authorities).now(Some(NOW));
    assert!(host.validate(rustcrypto(), &as_host).is_ok());
    let user = issue(as_request);
    assert_eq!(user.validate(rustcrypto(), &as_host).unwrap_err(), P::Kind(CertificateKind::Host));
}

#[test]
fn f02_principals_are_compared_to_the_byte() {
    use CertificateProblem as P;
    let named = |names: &[&str]| issue(|r| r.principals(names.iter().copied()));
    let table: [(&[&str], Result<(), P>); 9] = [
        (&["alice"], Ok(())),
        (&["bob", "alice"], Ok(())),
        (&["bob"], Err(P::Principal)),
        (&[], Err(P::NoPrincipals)),
        (&["*"], Err(P::Principal)),
        (&["alic?"], Err(P::Principal)),
        (&["alice,root"], Err(P::Principal)),
        (&["Alice"], Err(P::Principal)),
        (&["alice "], Err(P::Principal)),
    ];
    for (names, expected) in table {
        assert_eq!(check(&named(names), as_is), expected, "{names:?}");
    }
    let many: Vec<String> = (0..257).map(|n| format!("user{n}")).collect();
    let request = CertificateRequest::new(CertificateKind::User, authority().public());
    let sign = |request: CertificateRequest| request.sign(&authority(), None, &mut rng(1));
    assert!(sign(request.clone().principals(&many[..256])).is_ok());
    for names in [&many[..], &["".to_owned()], &["a\0b".to_owned()]] {
        assert_eq!(sign(request.clone().principals(names)).unwrap_err(), RequestProblem::Principals);
    }
    // Who does not ask gets no more in: a list that is too long, or a NUL, is no certificate.
    let mut principals = Vec::new();
    many.iter().for_each(|name| principals.put_string(name.as_bytes()));
    assert!(Certificate::from_blob(&with_field(&issue(as_request), 3, &principals)).is_err());
    assert!(Certificate::from_blob(&with_field(&issue(as_request), 3, &data(b"alice\0"))).is_err());
}

/// The blob of an Ed25519 certificate with another value in one of its strings: the key id is 2, principals are 3, critical
/// options 4, extensions 5, reserved 6, the authority 7, the signature 8.
fn with_field(certificate: &Certificate, field: usize, value: &[u8]) -> Vec<u8> {
    let blob = certificate.public().to_blob();
    let mut r = Reader::new(&blob);
    let mut out = Vec::new();
    out.put_string(r.string().unwrap());
    let mut number = 0;
    while !r.is_empty() {
        match number {
            2 => out.put(r.bytes(12).unwrap()),
            4 => out.put(r.bytes(16).unwrap()),
            _ => {}
        }
        let own = r.string().unwrap();
        out.put_string(if number == field { value } else { own });
        number += 1;
    }
    out
}

#[test]
fn with_field_knows_the_fields() {
    let certificate = issue(as_request);
    let mut names = Vec::new();
    ["alice", "bob"].iter().for_each(|name| names.put_string(name.as_bytes()));
    for (field, value) in [(2, b"a key".to_vec()), (3, names), (4, Vec::new()), (6, Vec::new())] {
        assert_eq!(with_field(&certificate, field, &value), certificate.public().to_blob(), "{field}");
    }
}

#[test]
fn f03_critical_options_and_extensions() {
    use CertificateProblem as P;
    let critical = |name: &str, value: &[u8]| check(&issue(|r| r.critical_option(name, value)), as_is);
    let damaged = |name: &str| Err(P::OptionData(name.into()));
    assert_eq!(critical("force-command", &data(b"uptime")), Ok(()));
    assert_eq!(critical("force-command", b"uptime"), damaged("force-command"));
    assert_eq!(critical("force-command", &data(b"a\0b")), damaged("force-command"));
    assert_eq!(critical("force-command", &[&data(b"a")[..], b"x"].concat()), damaged("force-command"));
    assert_eq!(critical("verify-required", b""), Ok(()));
    assert_eq!(critical("verify-required", b"x"), damaged("verify-required"));
    assert_eq!(critical("no-such@example.org", b""), Err(P::CriticalOption("no-such@example.org".into())));
    assert_eq!(critical("permit-pty", b""), Err(P::CriticalOption("permit-pty".into())));
    assert_eq!(critical("\u{1b}[2J", b""), Err(P::CriticalOption("\\x1b[2J".into())));
    for list in ["", "192.0.2.1/24", "*", "!192.0.2.0/24", "192.0.2.0/24,host", "192.0.2.*", "192.0.2.1,"] {
        assert_eq!(critical("source-address", &data(list.as_bytes())), damaged("source-address"), "{list}");
    }
    // An extension that is not known says nothing; a permission has no data.
    let extension = |name: &str, value: &[u8]| check(&issue(|r| r.extension(name, value)), as_is);
    assert_eq!(extension("login@example.org", b"anything"), Ok(()));
    assert_eq!(extension("permit-pty", b""), Ok(()));
    assert_eq!(extension("permit-pty", b"x"), damaged("permit-pty"));
    // Twice: what stands there the second time must not be overlooked.
    let twice = |list: &[(&str, Vec<u8>)]| {
        let mut options = Vec::new();
        for (name, value) in list {
            options.put_string(name.as_bytes());
            options.put_string(value);
        }
        let critical = with_field(&issue(as_request), 4, &options);
        let extensions = with_field(&issue(as_request), 5, &options);
        [critical, extensions].map(|blob| check(&Certificate::from_blob(&blob).unwrap(), as_is))
    };
    let forced = ("force-command", data(b"uptime"));
    assert_eq!(twice(&[forced.clone(), forced])[0], damaged("force-command"));
    let pty = ("permit-pty", Vec::new());
    assert_eq!(twice(&[pty.clone(), pty])[1], damaged("permit-pty"));
    let request = CertificateRequest::new(CertificateKind::User, authority().public());
    let request = request.extension("permit-pty", b"").extension("permit-pty", b"");
    assert_eq!(request.sign(&authority(), None, &mut rng(1)).unwrap_err(), RequestProblem::OptionTwice);
    // A host's has no critical option at all.
    let host = CertificateRequest::new(CertificateKind::Host, key_of(KeyType::ED25519, 9).public());
    let host = host.principals(["h"]).source_address("127.0.0.0/8").sign(&authority(), None, &mut rng(1));
    let authorities = [authority().public().clone()];
    let check = CertificateCheck::host(b"h").authorities(&authorities).now(Some(NOW));
    let problem = host.unwrap().validate(rustcrypto(), &check).unwrap_err();
    assert_eq!(problem, P::CriticalOption("source-address".into()));
}

#[test]
fn as13_a_certificate_is_for_its_addresses_alone() {
    let certificate = issue(|r| r.source_address("192.0.2.0/24,2001:db8::1"));
    for (from, ok) in [
        (address("192.0.2.9"), true),
        (address("2001:db8::1"), true),
        (address("::ffff:192.0.2.9"), true),
        (address("192.0.3.9"), false),
        (address("::1"), false),
        // A pipe, a Unix socket.
        (None, false),
    ] {
        let expected = if ok { Ok(()) } else { Err(CertificateProblem::SourceAddress) };
        assert_eq!(check(&certificate, |c| c.source(from)), expected, "{from:?}");
    }
}

#[test]
fn f05_authorities_and_their_algorithms() {
    use CertificateProblem as P;
    let certificate = issue(as_request);
    assert_eq!(check(&certificate, as_is), Ok(()));
    assert_eq!(check(&certificate, |c| c.revoked(true)), Err(P::Revoked));
    assert_eq!(check(&certificate, |c| c.authorities(&[])), Err(P::Authority));
    let other = [key_of(KeyType::ED25519, 2).public().clone()];
    assert_eq!(
        certificate
            .validate(
                rustcrypto(),
                &CertificateCheck::user(Principals::Name(USER)).authorities(&other).now(Some(NOW))
            )
            .unwrap_err(),
        P::Authority
    );
    let refused = P::Algorithm("ssh-ed25519".into());
    assert_eq!(check(&certificate, |c| c.algorithms(&[SignatureAlgorithm::RSA_SHA512])), Err(refused));
    // Who is no authority cannot say that it is one: the signature decides.
    let forged = CertificateRequest::new(CertificateKind::User, key_of(KeyType::ED25519, 9).public())
        .principals(["alice"])
        .sign(&key_of(KeyType::ED25519, 2), None, &mut rng(1))
        .unwrap();
    let forged = with_field(&forged, 7, &authority().public().to_blob());
    let forged = Certificate::from_blob(&forged).unwrap();
    assert_eq!(check(&forged, as_is), Err(P::Signature));
    assert!(!forged.signature_is_right(rustcrypto()));
    // Of a short RSA key somebody with means is the authority.
    let rsa = [rsa_key().public().clone()];
    let certificate = CertificateRequest::new(CertificateKind::User, key_of(KeyType::ED25519, 9).public())
        .principals(["alice"])
        .sign(&rsa_key(), None, &mut rng(1))
        .unwrap();
    let check = CertificateCheck::user(Principals::Name(USER)).authorities(&rsa).now(Some(NOW));
    assert!(certificate.validate(rustcrypto(), &check).is_ok());
    let check = check.min_rsa_bits(4096);
    assert_eq!(certificate.validate(rustcrypto(), &check).unwrap_err(), P::WeakAuthority(2048));
}

#[test]
fn f01_a_certificate_is_no_authority() {
    let certificate = issue(as_request);
    let nested = with_field(&certificate, 7, &certificate.public().to_blob());
    let says = Certificate::from_blob(&nested).unwrap_err().to_string();
    assert!(says.contains("its authority is a certificate itself"), "{says}");
    // However deep: no deeper than the first name is looked at.
    let mut blob = certificate.public().to_blob();
    for _ in 0..300 {
        blob = with_field(&certificate, 7, &blob);
    }
    assert!(Certificate::from_blob(&blob).is_err());
    let pair = key_of(KeyType::ED25519, 9).certified(certificate.public()).unwrap();
    let request = CertificateRequest::new(CertificateKind::User, authority().public());
    assert_eq!(request.sign(&pair, None, &mut rng(1)).unwrap_err(), RequestProblem::Authority);
}

#[test]
fn every_changed_byte_is_noticed() {
    let certificate = issue(|r| r.force_command("uptime").extension("permit-pty", b""));
    let blob = certificate.public().to_blob();
    for at in 0..blob.len() {
        let mut changed = blob.clone();
        changed[at] ^= 1;
        if let Ok(certificate) = Certificate::from_blob(&changed) {
            assert!(!certificate.signature_is_right(rustcrypto()), "{at}");
            assert!(check(&certificate, as_is).is_err(), "{at}");
        }
        assert!(Certificate::from_blob(&blob[..at]).is_err(), "cut at {at}");
    }
    assert!(Certificate::from_blob(&[&blob[..], &[0]].concat()).is_err());
}

#[test]
fn a_signature_that_was_made_elsewhere_is_verified() {
    let request = CertificateRequest::new(CertificateKind::User, key_of(KeyType::ED25519, 9).public());
    let request = request.principals(["alice"]);
    let authority = authority();
    let prepare = || request.prepare(authority.public(), None, &mut rng(1)).unwrap();
    let signature = authority.sign(prepare().algorithm(), prepare().message(), &mut rng(1)).unwrap();
    let certificate = prepare().signed(rustcrypto(), &signature).unwrap();
    assert_eq!(check(&certificate, as_is), Ok(()));
    let other = key_of(KeyType::ED25519, 2).sign(prepare().algorithm(), prepare().message(), &mut rng(1));
    for wrong in [other.unwrap(), Vec::new()] {
        let refused = prepare().signed(rustcrypto(), &wrong).unwrap_err();
        assert_eq!(refused, RequestProblem::Signature);
    }
    assert_eq!(
        request.sign(&authority, Some(SignatureAlgorithm::RSA_SHA512), &mut rng(1)).unwrap_err(),
        RequestProblem::Algorithm(SignatureAlgorithm::RSA_SHA512)
    );
}

fn line(options: &str) -> String {
    format!("{options} {}", authority().public().to_openssh_line("ca"))
}

fn find(
    file: &str,
    certificate: &Certificate,
    user: &str,
    from: &str,
) -> Result<KeyOptions, CertificateProblem> {
    let keys = AuthorizedKeys::parse("ak", file.as_bytes()).unwrap();
    assert_eq!(keys.warnings(), []);
    let check =
        CertificateCheck::user(Principals::Name(user.as_bytes())).now(Some(NOW)).source(address(from));
    keys.find_certified(rustcrypto(), certificate, &check).map(|entry| {
        assert_eq!(entry.key(), certificate.public());
        entry.options
    })
}

#[test]
fn a_line_of_authorized_keys_lets_certificates_in() {
    use CertificateProblem as P;
    let certificate = issue(|r| r.extension("permit-pty", b"").extension("permit-port-forwarding", b""));
    let any = "192.0.2.1";
    let found = find(&line("cert-authority"), &certificate, "alice", any).unwrap();
    // What the certificate does not permit is forbidden; what it permits, the line may forbid.
    assert!(found.pty && found.port_forwarding && !found.agent_forwarding && !found.x11_forwarding);
    let found = find(&line("cert-authority,restrict"), &certificate, "alice", any).unwrap();
    assert!(!found.pty && !found.port_forwarding);
    assert_eq!(find(&line("cert-authority"), &certificate, "carol", any), Err(P::Principal));
    // The key of an authority lets nobody in itself, and a key that is none no certificate.
    let keys = AuthorizedKeys::parse("ak", line("cert-authority").as_bytes()).unwrap();
    assert!(keys.find(authority().public(), None, Some(NOW)).is_none());
    assert!(keys.entries()[0].is_authority());
    assert_eq!(find(&line(""), &certificate, "alice", any), Err(P::Authority));
    assert_eq!(find(&line("restrict"), &certificate, "alice", any), Err(P::Authority));
    // Principals of the line count in the place of the user.
    let named = |names: &str| line(&format!("cert-authority,principals=\"{names}\""));
    assert!(find(&named("carol,bob"), &certificate, "root", any).is_ok());
    assert_eq!(find(&named("carol"), &certificate, "alice", any), Err(P::Principal));
    assert_eq!(find(&named("*"), &certificate, "alice", any), Err(P::Principal));
    let comma = issue(|r| r.principals(["bob,root"]));
    assert_eq!(find(&named("bob"), &comma, "root", any), Err(P::Principal));
    assert_eq!(find(&named("bob,root"), &comma, "root", any), Err(P::Principal));
    // Where it may come from is what both say.
    let here = line("cert-authority,from=\"192.0.2.0/24\"");
    assert!(find(&here, &certificate, "alice", any).is_ok());
    assert_eq!(find(&here, &certificate, "alice", "198.51.100.1"), Err(P::Authority));
    let elsewhere = issue(|r| r.source_address("198.51.100.0/24"));
    assert_eq!(find(&here, &elsewhere, "alice", any), Err(P::SourceAddress));
    // A later line may let in what an earlier one does not.
    let two = format!("{}\n{}", named("carol"), line("cert-authority"));
    assert!(find(&two, &certificate, "alice", any).is_ok());
}

#[test]
fn as14_forced_commands_of_a_line_and_a_certificate_have_to_agree() {
    let certificate = issue(|r| r.force_command("uptime"));
    let forced = |options: &str| find(&line(options), &certificate, "alice", "192.0.2.1").map(|o| o.command);
    assert_eq!(forced("cert-authority").unwrap().as_deref(), Some(&b"uptime"[..]));
    assert_eq!(forced("cert-authority,command=\"uptime\"").unwrap().as_deref(), Some(&b"uptime"[..]));
    assert_eq!(forced("cert-authority,command=\"date\""), Err(CertificateProblem::Command));
}

#[test]
fn trusted_authorities_and_authorized_principals() {
    use CertificateProblem as P;
    let certificate = issue(|r| r.extension("permit-pty", b"").extension("no-touch-required", b""));
    let find = |file: &str, user: &str, principals: Option<&str>| {
        let keys = AuthorizedKeys::parse("ca", file.as_bytes()).unwrap();
        let principals = principals.map(|text| AuthorizedPrincipals::parse("p", text.as_bytes()).unwrap());
        let check = CertificateCheck::user(Principals::Name(user.as_bytes()))
            .now(Some(NOW))
            .source(address("192.0.2.1"));
        let found = keys.find_trusted(rustcrypto(), &certificate, &check, principals.as_ref());
        found.map(|entry| entry.options)
    };
    let plain = authority().public().to_openssh_line("");
    let alone = find(&plain, "alice", None).unwrap();
    assert!(alone.pty && !alone.user_rc && alone.no_touch_required);
    assert_eq!(find(&plain, "carol", None), Err(P::Principal));
    // Lines with options are for something else.
    for options in ["restrict", "cert-authority", "from=\"*\""] {
        assert_eq!(find(&line(options), "alice", None), Err(P::Authority), "{options}");
    }
    // With a file of principals the user's own name is none.
    assert_eq!(find(&plain, "alice", Some("")), Err(P::Principal));
    assert_eq!(find(&plain, "alice", Some("carol\n# bob\n")), Err(P::Principal));
    assert_eq!(find(&plain, "alice", Some("bob,carol")), Err(P::Principal));
    let both = find(&plain, "root", Some("carol\nno-pty,command=\"a b\" bob # of operations\n")).unwrap();
    assert!(!both.pty && both.command.as_deref() == Some(b"a b"));
    // A touch is not needed only where both say so.
    assert!(!both.no_touch_required);
    assert!(find(&plain, "root", Some("no-touch-required bob")).unwrap().no_touch_required);
    assert_eq!(find(&plain, "root", Some("from=\"198.51.100.0/24\" bob")), Err(P::Principal));
    let damaged = AuthorizedPrincipals::parse("p", b"nonsense bob\ncert-authority bob\n").unwrap();
    assert_eq!(damaged.warnings().len(), 2);
}

proptest! {
    #![proptest_config(property::config(256))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), which in 0usize..7) {
        let name = KeyType::certificates().nth(which).unwrap().name();
        let mut blob = data(name.as_bytes());
        blob.extend_from_slice(&bytes);
        let _ = Certificate::from_blob(&blob);
        let _ = Certificate::from_openssh_line(&bytes);
        let _ = AuthorizedPrincipals::parse("p", &bytes);
    }

    #[test]
    fn what_is_issued_is_read(
        serial: u64,
        id in "[^\0]{0,30}",
        names in proptest::collection::vec("[^\0]{1,20}", 0..5),
        after in 0u64..1 << 40,
        length in 1u64..1 << 40,
    ) {
        let certificate = issue(|r| r.serial(serial).key_id(&*id).principals(names.clone()).valid(after, after + length));
        prop_assert_eq!(certificate.serial(), serial);
        prop_assert_eq!(certificate.key_id().as_bytes(), id.as_bytes());
        let read: Vec<&[u8]> = certificate.principals().collect();
        prop_assert_eq!(read, names.iter().map(String::as_bytes).collect::<Vec<_>>());
        prop_assert_eq!((certificate.valid_after(), certificate.valid_before()), (after, after + length));
    }
}
