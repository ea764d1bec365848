//! A key is the same key however its blob is spelt (A1): a second spelling is the key itself or no
//! key at all, wherever keys are looked up, stored or compared.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use base64ct::{Base64, Encoding};
use konko_core::Decision;
use konko_core::auth::{Method, MethodSet};
use konko_core::authorized_keys::AuthorizedKeys;
use konko_core::crypto::HashAlgorithm;
use konko_core::hosts::{HostKeyStatus, KnownHosts};
use konko_core::keys::{KeyPair, KeyType, PublicKey, SignatureAlgorithm};
use konko_core::transport::negotiate::Role;
use konko_core::wire::{Reader, Sink};

use konko_test::raw::*;
use konko_test::{key_of, rsa_key};

/// A key of each kind.
fn keys() -> Vec<Arc<KeyPair>> {
    let curves = [KeyType::ECDSA_NISTP256, KeyType::ECDSA_NISTP384, KeyType::ECDSA_NISTP521]
        .map(|kind| key_of(kind, 9));
    [key_of(KeyType::ED25519, 9), rsa_key()].into_iter().chain(curves).collect()
}

/// Another way to write a key down.
struct Spelling {
    what: String,
    blob: Vec<u8>,
    /// It is read as the key; otherwise it is no key.
    read: bool,
}

fn blob(fields: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    fields.iter().for_each(|field| out.put_string(field));
    out
}

fn zeros(n: usize, number: &[u8]) -> Vec<u8> {
    [&vec![0; n][..], number].concat()
}

/// Other spellings of the key's blob. OpenSSH reads the zeros of `mpint` and refuses the rest, but for
/// names of signature algorithms as a key's type, which are no types (RFC 8332 §3).
fn spellings(key: &PublicKey) -> Vec<Spelling> {
    let own = key.to_blob();
    let name = key.key_type().name().as_bytes();
    let mut all = Vec::new();
    let mut add = |what: String, blob: Vec<u8>, read| all.push(Spelling { what, blob, read });
    let mut fields = Reader::new(key.fields());
    let mut field = || fields.string().unwrap();
    match key.key_type().name() {
        "ssh-ed25519" => {
            let point = field();
            add("a zero before".into(), blob(&[name, &zeros(1, point)]), false);
            add("a zero behind".into(), blob(&[name, &[point, &[0][..]].concat()]), false);
            add("as it is said elsewhere".into(), blob(&[b"ssh-ed25519@openssh.com", point]), false);
        }
        "ssh-rsa" => rsa_spellings(name, field(), field(), &mut add),
        _ => {
            let (curve, point) = (field(), field());
            let (x, y) = point[1..].split_at(point.len() / 2);
            let odd = y.last().unwrap() & 1;
            add("compressed".into(), blob(&[name, curve, &[&[2 + odd], x].concat()]), false);
            add("hybrid".into(), blob(&[name, curve, &[&[6 + odd], x, y].concat()]), false);
            add("without its form".into(), blob(&[name, curve, &point[1..]]), false);
            add("a zero before".into(), blob(&[name, curve, &zeros(1, point)]), false);
            let wide = [&[4, 0][..], x, &[0], y].concat();
            add("wider coordinates".into(), blob(&[name, curve, &wide]), false);
            let upper = curve.to_ascii_uppercase();
            add("the curve in capitals".into(), blob(&[name, &upper, point]), false);
        }
    }
    add("a zero after all".into(), [&own[..], &[0]].concat(), false);
    add("a field after all".into(), [&own[..], &[0, 0, 0, 0]].concat(), false);
    let shift = [&[0, 0, 0, name.len() as u8 + 1][..], name, &[0], &own[4 + name.len()..]].concat();
    add("a NUL in the type".into(), shift, false);
    for spelling in &all {
        assert_ne!(spelling.blob, own, "{}", spelling.what);
    }
    all
}

/// Other spellings of an RSA key, whose numbers stand as they are, with a zero where the first bit is set.
fn rsa_spellings(name: &[u8], e: &[u8], n: &[u8], mut add: impl FnMut(String, Vec<u8>, bool)) {
    for (k, read) in [(1, true), (2, true), (100, true), (1500, true), (2049, false), (4000, false)] {
        add(format!("{k} zeros before e"), blob(&[name, &zeros(k, e), n]), read);
    }
    for (k, read) in [(1, true), (2, true), (100, true), (1500, true), (2049, false), (4000, false)] {
        add(format!("{k} zeros before n"), blob(&[name, e, &zeros(k, n)]), read);
    }
    add("zeros before both".into(), blob(&[name, &zeros(3, e), &zeros(5, n)]), true);
    add("n without its sign".into(), blob(&[name, e, n.strip_prefix(&[0]).unwrap()]), false);
    for other in ["rsa-sha2-256", "rsa-sha2-512", "RSA", "SSH-RSA"] {
        add(format!("as {other}"), blob(&[other.as_bytes(), e, n]), false);
    }
}

/// Each key with each of its other spellings.
fn every(mut run: impl FnMut(&Arc<KeyPair>, &Spelling)) {
    for key in keys() {
        for spelling in spellings(key.public()) {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&key, &spelling)));
            if let Err(panic) = result {
                eprintln!("{} {}", key.public().key_type(), spelling.what);
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// The fields `type key` of a line.
fn fields(key: &PublicKey, blob: &[u8]) -> String {
    format!("{} {}", key.key_type(), Base64::encode_string(blob))
}

#[test]
fn a1_a_blob_spelt_otherwise_is_the_same_key_or_none() {
    every(|pair, spelling| {
        let key = pair.public();
        let read = PublicKey::from_blob(&spelling.blob);
        assert_eq!(read.is_ok(), spelling.read, "{read:?}");
        let Ok(read) = read else { return };
        assert_eq!(read, *key);
        assert_eq!(read.cmp(key), std::cmp::Ordering::Equal);
        assert_eq!(read.to_blob(), key.to_blob());
        assert_eq!(read.to_openssh_line(""), key.to_openssh_line(""));
        assert_eq!((read.bits(), read.fields()), (key.bits(), key.fields()));
        for algorithm in
            [HashAlgorithm::Md5, HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha512]
        {
            assert_eq!(read.fingerprint(algorithm), key.fingerprint(algorithm));
        }
        assert_eq!(HashSet::from([read.clone(), key.clone()]).len(), 1);
        assert_eq!(BTreeSet::from([read, key.clone()]).len(), 1);
    });
}

#[test]
fn a1_files_of_keys_go_by_the_key() {
    every(|pair, spelling| {
        let key = pair.public();
        let text = fields(key, &spelling.blob);
        let read = PublicKey::from_openssh_line(text.as_bytes()).ok().map(|(key, _)| key);
        assert_eq!(read.as_ref(), spelling.read.then_some(key));

        let lines = AuthorizedKeys::parse("keys", format!("{text}\nrestrict {text}").as_bytes()).unwrap();
        assert_eq!(lines.find(key, None, None).is_some(), spelling.read);
        assert!(lines.entries().iter().all(|entry| entry.key() == key));
        assert_eq!(lines.warnings().len(), if spelling.read { 0 } else { 2 });

        let known = |line: String| KnownHosts::parse("hosts", line.as_bytes()).unwrap();
        let lookup = |hosts: &KnownHosts| hosts.lookup("host", 22, None, key);
        let plain = known(format!("host {text}"));
        // A line that holds no key knows no other key either.
        match lookup(&plain) {
            HostKeyStatus::Match { .. } => assert!(spelling.read),
            HostKeyStatus::Unknown(_) => assert!(!spelling.read),
            other => panic!("{other:?}"),
        }
        assert_eq!(plain.locations_of(key).len(), usize::from(spelling.read));
        let own = fields(key, &key.to_blob());
        let revoked = lookup(&known(format!("host {own}\n@revoked * {text}")));
        assert_eq!(matches!(revoked, HostKeyStatus::Revoked { .. }), spelling.read, "{revoked:?}");
    });
}

/// A server whose application knows `key`, and wants two of them.
fn server_for(key: &KeyPair) -> Rig {
    let mut rig = Rig::new(Role::Server);
    rig.service();
    rig.app.keys.push(key.public().clone());
    rig.app.partial = Some(MethodSet::EMPTY.with(Method::PublicKey));
    rig
}

/// Sends a request and waits for its delayed FAILURE, which says no.
#[track_caller]
/// RFC 4252 §7: PK_OK has the blob from the request, which is what a client may compare.
#[test]
fn a1_pk_ok_repeats_the_blob_as_it_came() {
    every(|key, spelling| {
        for blob in [&key.public().to_blob(), &spelling.blob].into_iter().take(1 + usize::from(spelling.read))
        {
            for algorithm in key
                .public()
                .signature_algorithms()
                .iter()
                .filter(|algorithm| **algorithm != SignatureAlgorithm::RSA_SHA1)
            {
                let mut rig = server_for(key);
                rig.send(&publickey("alice", false, algorithm.name(), blob));
                assert_eq!(rig.expect(60), strings(60, &[algorithm.name().as_bytes(), blob]));
            }
        }
    });
}

/// OpenSSH `auth2_key_already_used`.
#[test]
fn as27_a_key_is_one_factor_once() {
    every(|key, spelling| {
        let own = key.public().to_blob();
        let mut orders = vec![(&own, &own), (&own, &spelling.blob)];
        if spelling.read {
            orders.push((&spelling.blob, &own));
            orders.push((&spelling.blob, &spelling.blob));
        }
        let algs = key
            .public()
            .signature_algorithms()
            .iter()
            .filter(|algorithm| **algorithm != SignatureAlgorithm::RSA_SHA1);
        for (first, second) in orders {
            let mut rig = server_for(key);
            let id = rig.peer.session_id.clone();
            let algorithm = key.public().signature_algorithms()[0];
            let signed = rig.peer.key_request_as("alice", key, first, algorithm, &id);
            rig.send(&signed);
            assert_eq!(rig.expect(51).last(), Some(&1), "the first time it is a factor");
            let asked = rig.events.len();
            for algorithm in algs.clone() {
                assert_eq!(
                    rig.refused(&publickey("alice", false, algorithm.name(), second)).last(),
                    Some(&0),
                    "not even partly right"
                );
                let signed = rig.peer.key_request_as("alice", key, second, *algorithm, &id);
                assert_eq!(rig.refused(&signed).last(), Some(&0), "not even partly right");
            }
            let rejected = rig.events[asked..].iter().all(|event| event.contains("Auth(Outcome"));
            assert!(rejected, "nobody is asked: {:?}", &rig.events[asked..]);
        }
    });
}

/// A key that another one stands beside is a factor of its own still.
#[test]
fn as27_another_key_is_another_factor() {
    let (one, two) = (key_of(KeyType::ED25519, 9), key_of(KeyType::ED25519, 10));
    let mut rig = server_for(&one);
    rig.app.keys.push(two.public().clone());
    let id = rig.peer.session_id.clone();
    let signed = [one, two].map(|key| rig.peer.key_request("alice", &key, SignatureAlgorithm::ED25519, &id));
    rig.send(&signed[0]);
    rig.expect(51);
    rig.send(&signed[1]);
    rig.expect(52);
}

#[test]
fn a1_a_host_key_spelt_otherwise_is_the_same_key_or_none() {
    every(|key, spelling| {
        let mut rig = Rig::new(Role::Client);
        rig.peer.host_key = key.clone();
        rig.peer.host_blob = Some(spelling.blob.clone());
        rig.peer.offer.host_key = key.public().signature_algorithms()[0].name().into();
        rig.app.accept_host = None;
        rig.kexinit().method();
        let offered = rig.conn_client().offered_host_key().cloned();
        assert_eq!(offered.as_ref(), spelling.read.then_some(key.public()));
        assert_eq!(rig.error.is_some(), !spelling.read);
        if !spelling.read {
            return;
        }
        let ticket = rig.app.host_tickets.remove(0);
        rig.conn_client().decide_host_key(ticket, Decision::Accept).unwrap();
        rig.app.accept_host = Some(true);
        rig.run();
        rig.expect(21);
        rig.peer.send_newkeys();
        rig.run();
        rig.expect(5);
        rig.send(&strings(6, &[b"ssh-userauth"]));
        rig.expect(50);
        rig.send(&[52]);
        rig.peer.login_done();
        // The key may be spelt in another way when keys are renewed; it is still the host's.
        rig.peer.host_blob = None;
        rig.rekey();
        rig.assert_alive();
        assert_eq!(rig.events_with("Rekeyed"), 1);
    });
}
