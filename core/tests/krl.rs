//! Key revocation lists: what is revoked is, whatever it is written as, and what cannot be read whole is an error.

mod property;

use konko_core::crypto::HashAlgorithm;
use konko_core::keys::PublicKey;
use konko_core::krl::{
    Authority, CertificateFields, Item, Krl, KrlError, NotReadable, RevokedBy, RevokedKeys, SpecProblem,
};
use konko_core::wire::Sink;
use proptest::prelude::*;

fn key(name: &str) -> PublicKey {
    let path = format!("{}/tests/data/keys/{name}.pub", env!("CARGO_MANIFEST_DIR"));
    PublicKey::from_openssh_line(&std::fs::read(path).unwrap()).unwrap().0
}

fn text(name: &str) -> String {
    key(name).to_openssh_line("of somebody")
}

fn fields<'a>(key: &'a PublicKey, authority: &'a [u8], serial: u64, id: &'a str) -> CertificateFields<'a> {
    CertificateFields { key, authority, serial, key_id: id.as_bytes() }
}

fn header() -> Vec<u8> {
    let mut list = b"SSHKRL\n\0".to_vec();
    list.put_u32(1);
    [5, 6, 0].into_iter().for_each(|n| list.put_u64(n));
    list.put_string(b"");
    list.put_string(b"a comment");
    list
}

/// A list with one section.
fn with(kind: u8, data: &[u8]) -> Vec<u8> {
    let mut list = header();
    list.put_u8(kind);
    list.put_string(data);
    list
}

/// A list with one section about any authority's certificates.
fn with_certificates(kind: u8, data: &[u8]) -> Vec<u8> {
    let mut section = Vec::new();
    section.put_string(b"");
    section.put_string(b"");
    section.put_u8(kind);
    section.put_string(data);
    with(1, &section)
}

#[test]
fn a_specification_revokes_what_it_names_and_nothing_else() {
    let (ed, rsa, ca) = (key("ed25519"), key("rsa"), key("ecdsa256").to_blob());
    let mut krl = Krl::new();
    let spec = format!(
        "# a comment\n\n  serial: 1 # one\nSerial:0x10-0x20\nserial: 010\nid:  Alice A. \nkey: {}\n sha1: {}\nsha256: {}\n{}\nhash: {}=\n",
        text("ed25519"),
        text("ecdsa384"),
        text("ecdsa521"),
        text("rsa1024"),
        key("ecdsa256").fingerprint(HashAlgorithm::Sha256),
    );
    krl.revoke_from(spec.as_bytes(), &Authority::Key(ca.clone().into())).unwrap();
    for krl in [&krl, &Krl::parse(&krl.to_bytes()).unwrap()] {
        let by = |name: &str| krl.check_key(&key(name));
        assert_eq!(by("ed25519"), Some(RevokedBy::Key));
        assert_eq!(by("rsa1024"), Some(RevokedBy::Key));
        assert_eq!(by("ecdsa384"), Some(RevokedBy::Hash(HashAlgorithm::Sha1)));
        assert_eq!(by("ecdsa521"), Some(RevokedBy::Hash(HashAlgorithm::Sha256)));
        assert_eq!(by("ecdsa256"), Some(RevokedBy::Hash(HashAlgorithm::Sha256)));
        assert_eq!(by("rsa"), None);
        let other = ed.to_blob();
        let certificate = |authority, serial, id| krl.check_certificate(&fields(&rsa, authority, serial, id));
        assert_eq!(certificate(&ca, 1, "x"), Some(RevokedBy::Serial));
        for (serial, expected) in
            [(8, true), (9, false), (15, false), (16, true), (32, true), (33, false), (0, false)]
        {
            // The authority's own key is revoked by its hash, whatever the certificate says.
            let expected = if expected { RevokedBy::Serial } else { RevokedBy::Authority };
            assert_eq!(certificate(&ca, serial, "x"), Some(expected), "{serial}");
        }
        assert_eq!(certificate(&ca, 0, "Alice A."), Some(RevokedBy::KeyId));
        assert_eq!(certificate(&rsa.to_blob(), 1, "Alice A."), None, "another authority's");
        assert_eq!(krl.check_certificate(&fields(&ed, b"ca", 7, "x")), Some(RevokedBy::Key));
        assert_eq!(krl.check_certificate(&fields(&rsa, &other, 7, "x")), Some(RevokedBy::Authority));
    }
}

#[test]
fn a_specification_is_refused_where_it_makes_no_sense() {
    let ca = Authority::Any;
    for (line, authority, problem) in [
        ("serial: 1", &Authority::Unsaid, SpecProblem::NoAuthority),
        ("id: a", &Authority::Unsaid, SpecProblem::NoAuthority),
        ("serial: 0", &ca, SpecProblem::Serial),
        ("serial:", &ca, SpecProblem::Serial),
        ("serial: +1", &ca, SpecProblem::Serial),
        ("serial: 0x", &ca, SpecProblem::Serial),
        ("serial: 18446744073709551616", &ca, SpecProblem::Serial),
        ("serial: 5-5", &ca, SpecProblem::SerialRange),
        ("serial: 5-4", &ca, SpecProblem::SerialRange),
        ("hash: MD5:00", &ca, SpecProblem::Hash),
        ("hash: SHA256:AAAA", &ca, SpecProblem::Hash),
    ] {
        let spec = format!("\n{line}\n");
        assert_eq!(Krl::new().revoke_from(spec.as_bytes(), authority), Err((2, problem)), "{line}");
    }
    for line in ["nonsense", "key: ssh-rsa AAAA", "serial 5", "key:"] {
        let result = Krl::new().revoke_from(line.as_bytes(), &ca);
        assert!(matches!(result, Err((1, SpecProblem::Key(_)))), "{line} {result:?}");
    }
}

#[test]
fn f06_a_list_that_cannot_be_read_whole_is_an_error() {
    let mut krl = Krl::new();
    krl.revoke_from(
        format!("serial: 5\nserial: 9-900\nid: a\n{}\n", text("ed25519")).as_bytes(),
        &Authority::Any,
    )
    .unwrap();
    let whole = krl.to_bytes();
    let section_ends: Vec<usize> =
        (0..whole.len()).filter(|end| Krl::parse(&whole[..*end]).is_ok()).collect();
    // Nothing in the format says how many sections there are: what ends between two of them is a shorter list.
    assert_eq!(section_ends.len(), 2, "the header alone, and with the certificates");
    assert!(section_ends[1] > whole.len() - 64);
    let cases: Vec<(Vec<u8>, KrlError)> = vec![
        (b"".to_vec(), KrlError::NotAKrl),
        (b"SSHKRL\n\x01".to_vec(), KrlError::NotAKrl),
        ([&b"SSHKRL\n\0"[..], &[0, 0, 0, 2]].concat(), KrlError::Version(2)),
        (with(6, b""), KrlError::Section(6)),
        (with(4, b"\0\0\0\0"), KrlError::Signed),
        (with(3, b"\0\0\0\x13aaaaaaaaaaaaaaaaaaa"), KrlError::Malformed),
        (with(5, b"\0\0\0\x01a"), KrlError::Malformed),
        (with(2, b"\0\0\0\x05a"), KrlError::Malformed),
        (with(255, b"\0\0\0\x03a@b\x01\0\0\0\0"), KrlError::Extension("a@b".into())),
        (with(255, b"\0\0\0\x03a@b\0\0\0\0\0x"), KrlError::Malformed),
        (with_certificates(0x20, &[0; 8]), KrlError::Serials),
        (with_certificates(0x20, &[1; 9]), KrlError::Malformed),
        (with_certificates(0x21, &[[0; 8], [1; 8]].concat()), KrlError::Serials),
        (with_certificates(0x21, &[[2; 8], [1; 8]].concat()), KrlError::Serials),
        (with_certificates(0x21, &[1; 17]), KrlError::Malformed),
        (with_certificates(0x22, b"\0\0\0\0\0\0\0\0\0\0\0\x01\x01"), KrlError::Serials),
        (with_certificates(0x22, b"\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x01\x02"), KrlError::Malformed),
        (with_certificates(0x24, b""), KrlError::Section(0x24)),
        (with_certificates(0x39, b"\0\0\0\x01a\x01\0\0\0\0"), KrlError::Extension("a".into())),
    ];
    for (bytes, problem) in cases {
        assert_eq!(Krl::parse(&bytes), Err(problem.clone()), "{bytes:?}");
        if problem != KrlError::NotAKrl {
            assert_eq!(RevokedKeys::parse(&bytes), Err(NotReadable::Krl(problem)));
        }
    }
    // What says that it may be passed over is.
    assert!(Krl::parse(&with(255, b"\0\0\0\x03a@b\0\0\0\0\0")).is_ok());
    assert!(Krl::parse(&with_certificates(0x39, b"\0\0\0\x01a\0\0\0\0\0")).is_ok());
}

#[test]
fn f06_serial_numbers_in_every_form() {
    let check = |bytes: &[u8], serial: u64| {
        let krl = Krl::parse(bytes).unwrap();
        krl.check_certificate(&fields(&key("ed25519"), b"any", serial, "")).is_some()
    };
    let whole = with_certificates(0x21, &[1u64.to_be_bytes(), u64::MAX.to_be_bytes()].concat());
    assert!(check(&whole, 1) && check(&whole, 1 << 63) && check(&whole, u64::MAX) && !check(&whole, 0));
    let bitmap = with_certificates(0x22, b"\0\0\0\0\0\0\0\x10\0\0\0\x02\x41\x81");
    for serial in 0..64 {
        assert_eq!(check(&bitmap, serial), [16, 23, 24, 30].contains(&serial), "{serial}");
    }
}

#[test]
fn f06_keys_line_by_line_are_read_to_the_last_or_not_at_all() {
    let file = format!("# revoked\n\n{}\r\n ssh-future AAAACnNzaC1mdXR1cmUx\n", text("rsa"));
    let revoked = RevokedKeys::parse(file.as_bytes()).unwrap();
    assert_eq!(revoked.check_key(&key("rsa")), Some(RevokedBy::Key));
    assert_eq!(revoked.check_key(&key("ed25519")), None);
    let (ed, ca) = (key("ed25519"), key("rsa").to_blob());
    assert_eq!(revoked.check_certificate(&fields(&ed, &ca, 1, "")), Some(RevokedBy::Authority));
    for line in ["nonsense", "ssh-rsa", "ssh-rsa !!!!", "ssh-rsa AAAAC3NzaC1lZDI1NTE5"] {
        let file = format!("{}\n{line}\n", text("rsa"));
        assert_eq!(RevokedKeys::parse(file.as_bytes()), Err(NotReadable::Key(2)), "{line}");
    }
    assert!(RevokedKeys::parse(b"").is_ok(), "nothing is revoked there");
}

#[test]
fn items_are_told_in_the_order_of_ssh_keygen() {
    let mut krl = Krl::new();
    krl.revoke_serials(None, 5, 5).unwrap();
    krl.revoke_key_id(None, b"b");
    krl.revoke_key_id(None, b"a");
    krl.revoke_sha1([1; 20]);
    krl.revoke_key(b"key");
    krl.revoke_sha256([2; 32]);
    let items: Vec<Item<'_>> = krl.items().collect();
    let expected = [
        Item::Key(b"key"),
        Item::Sha256(&[2; 32]),
        Item::Sha1(&[1; 20]),
        Item::Authority(None),
        Item::Serials(5, 5),
        Item::KeyId(b"a"),
        Item::KeyId(b"b"),
    ];
    assert_eq!(items, expected);
}

/// Runs of serial numbers, some close together, some far apart.
fn runs() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let gap = prop_oneof![1..4u64, 1..300u64, 1..1u64 << 40];
    let len = prop_oneof![Just(0u64), 0..4u64, 0..1000u64];
    proptest::collection::vec((gap, len), 0..60).prop_map(|steps| {
        let mut at = 0;
        let each = |(gap, len): (u64, u64)| {
            let first = at + gap;
            at = first + len;
            (first, at)
        };
        steps.into_iter().map(each).collect()
    })
}

proptest! {
    #![proptest_config(property::config(200))]

    #[test]
    fn what_is_written_is_read(runs in runs(), ids in proptest::collection::vec("[ -~]{0,9}", 0..4), own in any::<bool>()) {
        let mut krl = Krl::new();
        krl.set_version(7);
        krl.set_generated(8);
        krl.set_comment("said");
        let authority = own.then(|| key("rsa").to_blob());
        for (first, last) in &runs {
            krl.revoke_serials(authority.as_deref(), *first, *last).unwrap();
        }
        ids.iter().for_each(|id| krl.revoke_key_id(authority.as_deref(), id.as_bytes()));
        let read = Krl::parse(&krl.to_bytes()).unwrap();
        prop_assert_eq!(&read, &krl);
        let told: u64 = read.items().map(|item| match item {
            Item::Serials(first, last) => last - first + 1,
            _ => 0,
        }).sum();
        prop_assert_eq!(told, runs.iter().map(|(first, last)| last - first + 1).sum::<u64>());
    }

    #[test]
    fn f06_no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0..200usize) {
        let _ = Krl::parse(&bytes);
        let _ = RevokedKeys::parse(&bytes);
        let mut list = with_certificates(0x22, b"\0\0\0\0\0\0\0\x10\0\0\0\x02\x41\x81");
        let at = at % list.len();
        list[at] ^= bytes.first().copied().unwrap_or(1);
        let _ = Krl::parse(&list);
        let _ = Krl::new().revoke_from(&bytes, &Authority::Any);
    }
}
