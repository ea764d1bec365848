//! Signatures of files: those of ssh-keygen are believed, ours are made alike, and nothing else is.

mod property;

use konko_core::keys::{KeyPair, PrivateKey, PublicKey};
use konko_core::sshsig::{
    AllowedSigners, HashKind, MessageHash, Namespace, NotAllowed, SignerProblem, SshSig, SshSigError, ToSign,
};
use konko_core::wire::Sink;
use konko_core::{Rng, Seed, provider};
use proptest::prelude::*;

const KEYS: [&str; 5] = ["ed25519", "rsa", "ecdsa256", "ecdsa384", "ecdsa521"];

fn data(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn key(name: &str) -> PublicKey {
    PublicKey::from_openssh_line(&data(&format!("keys/{name}.pub"))).unwrap().0
}

fn pair(name: &str) -> KeyPair {
    PrivateKey::load(&data(&format!("keys/{name}")), None).unwrap().key_pair(provider::rustcrypto()).unwrap()
}

fn rng() -> Rng {
    Rng::from_seed(&Seed::new([3; 32]))
}

fn file() -> Namespace {
    Namespace::new("file").unwrap()
}

fn verify(signature: &SshSig, namespace: &str, message: &[u8]) -> Result<PublicKey, SshSigError> {
    let hash = MessageHash::of(signature.hash(), message);
    signature.verify(provider::rustcrypto(), &Namespace::new(namespace).unwrap(), &hash).cloned()
}

#[test]
fn signatures_of_ssh_keygen_are_believed_and_written_alike() {
    let message = data("sshsig/message");
    for name in KEYS {
        for kind in [HashKind::Sha256, HashKind::Sha512] {
            let text = data(&format!("sshsig/{name}-{}.sig", kind.name()));
            let signature = SshSig::from_armored(&text).unwrap();
            assert_eq!((signature.hash(), signature.key()), (kind, &key(name)));
            assert_eq!(verify(&signature, "file", &message), Ok(key(name)));
            assert_eq!(signature.to_armored().as_bytes(), text, "{name}");
            assert_eq!(verify(&signature, "file", b"another message"), Err(SshSigError::Bad));
        }
    }
}

#[test]
fn what_we_sign_we_believe() {
    let message = data("sshsig/message");
    for name in KEYS {
        for kind in [HashKind::Sha256, HashKind::Sha512] {
            let hash = MessageHash::of(kind, &message);
            let made =
                ToSign::new(&key(name), &file(), &hash).unwrap().sign(&pair(name), &mut rng()).unwrap();
            let read = SshSig::from_armored(made.to_armored().replace('\n', "\r\n").as_bytes()).unwrap();
            assert_eq!(read, made);
            assert_eq!(verify(&read, "file", &message), Ok(key(name)));
            if !name.starts_with("ecdsa") {
                let theirs = data(&format!("sshsig/{name}-{}.sig", kind.name()));
                assert_eq!(made.to_armored().as_bytes(), theirs, "deterministic, so the same to the byte");
            }
        }
    }
}

#[test]
fn f32_a_signature_is_for_one_purpose() {
    let message = data("sshsig/message");
    let signature = SshSig::from_armored(&data("sshsig/ed25519-sha512.sig")).unwrap();
    let wrong = verify(&signature, "git", &message);
    assert!(
        matches!(&wrong, Err(SshSigError::Namespace { expected, found }) if expected == "git" && found == "file")
    );
    assert!(Namespace::new("").is_none());
    let other = MessageHash::of(HashKind::Sha256, &message);
    let result = signature.verify(provider::rustcrypto(), &file(), &other);
    assert_eq!(result, Err(SshSigError::Hash("sha512".into())));
    // What somebody signed to log in is no signature of a file, and the other way round: what is signed begins
    // otherwise. A session identifier is a string, whose length would have to be "SSHS".
    let to_sign =
        ToSign::new(&key("ed25519"), &file(), &MessageHash::of(HashKind::Sha512, &message)).unwrap();
    assert!(to_sign.data().starts_with(b"SSHSIG\0\0\0\x04file\0\0\0\0\0\0\0\x06sha512\0\0\0\x40"));
}

/// A signature's blob, field by field.
struct Fields {
    magic: &'static [u8],
    version: u32,
    namespace: &'static [u8],
    reserved: &'static [u8],
    hash: &'static [u8],
    algorithm: &'static [u8],
    more: &'static [u8],
}

impl Default for Fields {
    fn default() -> Self {
        Fields {
            magic: b"SSHSIG",
            version: 1,
            namespace: b"file",
            reserved: b"",
            hash: b"sha512",
            algorithm: b"rsa-sha2-512",
            more: b"",
        }
    }
}

impl Fields {
    fn read(self) -> Result<SshSig, SshSigError> {
        let mut signature = Vec::new();
        signature.put_string(self.algorithm);
        signature.put_string(&[1; 256]);
        let mut blob = self.magic.to_vec();
        blob.put_u32(self.version);
        for field in [&key("rsa").to_blob()[..], self.namespace, self.reserved, self.hash, &signature] {
            blob.put_string(field);
        }
        blob.put(self.more);
        SshSig::from_blob(&blob)
    }
}

#[test]
fn f32_what_is_not_exact_is_refused() {
    assert!(Fields::default().read().is_ok());
    let cases = [
        (Fields { magic: b"SSHSIX", ..Fields::default() }, SshSigError::NotASignature),
        (Fields { version: 2, ..Fields::default() }, SshSigError::Version(2)),
        (Fields { namespace: b"", ..Fields::default() }, SshSigError::NoNamespace),
        (Fields { reserved: b"x", ..Fields::default() }, SshSigError::Reserved),
        (Fields { hash: b"sha1", ..Fields::default() }, SshSigError::Hash("sha1".into())),
        (Fields { hash: b"", ..Fields::default() }, SshSigError::Hash("".into())),
        (Fields { algorithm: b"ssh-rsa", ..Fields::default() }, SshSigError::Algorithm("ssh-rsa".into())),
        (
            Fields { algorithm: b"ssh-ed25519", ..Fields::default() },
            SshSigError::Algorithm("ssh-ed25519".into()),
        ),
        (Fields { more: b"x", ..Fields::default() }, SshSigError::Malformed),
    ];
    for (fields, problem) in cases {
        assert_eq!(fields.read(), Err(problem));
    }
    let text = String::from_utf8(data("sshsig/ed25519-sha512.sig")).unwrap();
    assert_eq!(SshSig::from_armored(b""), Err(SshSigError::NotASignature));
    assert_eq!(SshSig::from_armored(format!("\n{text}").as_bytes()), Err(SshSigError::NotASignature));
    assert_eq!(
        SshSig::from_armored(text.split("-----END").next().unwrap().as_bytes()),
        Err(SshSigError::Malformed)
    );
    assert!(SshSig::from_armored(format!("{text}and more\n").as_bytes()).is_ok());
}

const DAY: u64 = 86_400;
/// 2026-01-01 00:00 UTC.
const NEW_YEAR: u64 = 1_767_225_600;

fn signers(text: &str) -> AllowedSigners {
    AllowedSigners::parse("signers", text.as_bytes()).unwrap()
}

#[test]
fn f33_a_line_allows_what_it_says_and_no_more() {
    let (ed, rsa, ec) = (key("ed25519"), key("rsa"), key("ecdsa256"));
    let [ed_text, rsa_text, ec_text] = [&ed, &rsa, &ec].map(|key| key.to_openssh_line("of somebody"));
    let allowed = signers(&format!(
        "# who\n\nalice@example.org,*@staff.example,!eve@staff.example {ed_text}\n\
         alice@example.org namespaces=\"git,file-*\" {rsa_text}\n\
         \"bob\" valid-after=\"20260101Z\",valid-before=\"20260201Z\" {ec_text}\n\
         carol cert-authority {ec_text}\n"
    ));
    assert_eq!(allowed.warnings(), []);
    let check = |key: &PublicKey, principal: &str, namespace: &str, time: u64| {
        allowed
            .check(provider::rustcrypto(), key, principal.as_bytes(), namespace.as_bytes(), time)
            .map(|at| at.line)
    };
    for (principal, line) in [
        ("alice@example.org", Some(3)),
        ("mallory@staff.example", Some(3)),
        ("eve@staff.example", None),
        ("Alice@example.org", None),
        ("bob", None),
        ("", None),
    ] {
        assert_eq!(check(&ed, principal, "any", 0).ok(), line, "{principal}");
    }
    assert_eq!(check(&rsa, "alice@example.org", "git", 0), Ok(4));
    assert_eq!(check(&rsa, "alice@example.org", "file-a", 0), Ok(4));
    assert!(
        matches!(check(&rsa, "alice@example.org", "file", 0), Err(NotAllowed::Namespace(at)) if at.line == 4)
    );
    assert!(matches!(check(&ec, "bob", "x", NEW_YEAR - 1), Err(NotAllowed::NotYet(_))));
    assert_eq!(check(&ec, "bob", "x", NEW_YEAR), Ok(5));
    assert_eq!(check(&ec, "bob", "x", NEW_YEAR + 31 * DAY), Ok(5));
    assert!(matches!(check(&ec, "bob", "x", NEW_YEAR + 31 * DAY + 1), Err(NotAllowed::Expired(_))));
    // An authority's key signs certificates.
    assert_eq!(check(&ec, "carol", "x", NEW_YEAR), Err(NotAllowed::NoLine));

    let names = |key: &PublicKey, time: u64| {
        let found = allowed.principals_of(provider::rustcrypto(), key, time);
        found.map(|names| {
            names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect::<Vec<_>>()
        })
    };
    assert_eq!(names(&ed, 0).unwrap(), ["alice@example.org", "*@staff.example", "!eve@staff.example"]);
    assert_eq!((names(&ec, NEW_YEAR).unwrap(), names(&ec, 0)), (vec!["bob".to_owned()], None));
    let matching =
        |name: &str| allowed.matching(name.as_bytes()).map(|list| list.to_text()).collect::<Vec<_>>();
    assert_eq!(matching("alice@example.org").len(), 2);
    assert_eq!(matching("eve@staff.example"), Vec::<String>::new());
}

#[test]
fn f33_a_time_without_a_zone_is_taken_as_strictly_as_any_zone_could_mean_it() {
    let key = key("ed25519");
    let line = |option: &str| signers(&format!("a {option}=\"20260101\" {}\n", key.to_openssh_line("")));
    let ok = |signers: &AllowedSigners, time: u64| {
        signers.check(provider::rustcrypto(), &key, b"a", b"x", time).is_ok()
    };
    let after = line("valid-after");
    assert!(ok(&after, NEW_YEAR + 12 * 3600) && !ok(&after, NEW_YEAR + 12 * 3600 - 1));
    let before = line("valid-before");
    assert!(ok(&before, NEW_YEAR - 14 * 3600) && !ok(&before, NEW_YEAR - 14 * 3600 + 1));
}

#[test]
fn f33_a_line_that_is_not_understood_allows_nothing() {
    let text = key("ed25519").to_openssh_line("");
    for (line, problem) in [
        (format!("a unknown {text}"), SignerProblem::Option),
        (format!("a unknown=\"x\" {text}"), SignerProblem::Option),
        (format!("a namespaces {text}"), SignerProblem::Option),
        (format!("a cert-authority=\"x\" {text}"), SignerProblem::Option),
        (format!("a cert-authority, {text}"), SignerProblem::Option),
        (format!("a namespaces=git {text}"), SignerProblem::Quotes),
        (format!("a namespaces=\"git {text}"), SignerProblem::Quotes),
        (format!("a namespaces=\"a\",namespaces=\"b\" {text}"), SignerProblem::Twice("namespaces")),
        (format!("a valid-after=\"x\" {text}"), SignerProblem::Time("valid-after")),
        (format!("a valid-before=\"19700101Z\" {text}"), SignerProblem::Time("valid-before")),
        (format!("a valid-after=\"20260201Z\",valid-before=\"20260101Z\" {text}"), SignerProblem::Times),
        ("a".into(), SignerProblem::Fields),
    ] {
        let signers = signers(&format!("{line}\n"));
        assert_eq!(
            signers.warnings().iter().map(|w| w.problem.clone()).collect::<Vec<_>>(),
            [problem],
            "{line}"
        );
        assert!(signers.check(provider::rustcrypto(), &key("ed25519"), b"a", b"x", NEW_YEAR).is_err());
    }
    let signers = signers(&format!("a ssh-ed25519 AAAA\nb {text}\n"));
    assert!(matches!(&signers.warnings()[0].problem, SignerProblem::Key(_)));
    assert!(
        signers.check(provider::rustcrypto(), &key("ed25519"), b"b", b"x", 0).is_ok(),
        "the other lines count"
    );
}

proptest! {
    #![proptest_config(property::config(300))]

    #[test]
    fn f32_no_changed_byte_is_another_signature(at in 0..1000usize, bits in 1..=255u8) {
        let whole = SshSig::from_armored(&data("sshsig/ed25519-sha512.sig")).unwrap();
        let mut blob = whole.to_blob();
        let at = at % blob.len();
        blob[at] ^= bits;
        if let Ok(changed) = SshSig::from_blob(&blob) {
            prop_assert!(verify(&changed, "file", &data("sshsig/message")).is_err());
        }
        blob.truncate(at);
        prop_assert!(SshSig::from_blob(&blob).is_err());
    }

    #[test]
    fn f33_no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), line in "[ -~]{0,80}") {
        let _ = SshSig::from_armored(&bytes);
        let _ = SshSig::from_blob(&bytes);
        let _ = AllowedSigners::parse("x", &bytes);
        let _ = AllowedSigners::parse("x", format!("a {line} {}", key("ed25519").to_openssh_line("")).as_bytes());
    }
}
