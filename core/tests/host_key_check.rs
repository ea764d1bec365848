//! Whether to believe a host: every verdict of the files, under every rule, and what a person says.

use std::sync::Arc;

use konko_core::hosts::*;
use konko_core::keys::{KeyKind, PrivateKey, PublicKey};
use konko_core::{Rng, Seed};

fn key(kind: KeyKind, n: u8) -> PublicKey {
    PrivateKey::generate(kind, &mut Rng::from_seed(&Seed::new([n; 32]))).unwrap().public().clone()
}

/// Files in which the host is in each of the states that a verdict has, by name.
fn files(key: &PublicKey) -> KnownHosts {
    let other = self::key(KeyKind::Ed25519, 200);
    let ecdsa = self::key(KeyKind::Ecdsa(konko_core::crypto::Curve::P256), 201);
    let line = |host: &str, key: &PublicKey| learn_line(host, 22, key, None).unwrap() + "\n";
    let text = [
        line("known", key),
        line("changed", &other),
        line("othertype", &ecdsa),
        format!("@revoked {}", line("revoked", key)),
        line("torn", key).replace("AAAA", "BBBB"),
    ];
    KnownHosts::parse("known_hosts", text.concat().as_bytes()).unwrap()
}

fn check(host: &str, unknown: Unknown, tolerate_changed: bool, known: KnownHosts) -> HostKeyCheck {
    let mut checking = Checking::default();
    (checking.unknown, checking.tolerate_changed) = (unknown, tolerate_changed);
    checking.file = Some("/home/alice/.ssh/known_hosts".into());
    HostKeyCheck::new(host, 22, Trust::KnownHosts(checking), Arc::new(known))
}

/// A decision in a word.
fn word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Settled(Settled::Accept { remember: true, .. }) => "remember",
        Decision::Settled(Settled::Accept { .. }) => "accept",
        Decision::Settled(Settled::Tolerate(_)) => "tolerate",
        Decision::Settled(Settled::Refuse(_)) => "refuse",
        Decision::Ask(_) => "ask",
    }
}

#[test]
fn every_verdict_under_every_rule() {
    let shown = key(KeyKind::Ed25519, 1);
    let rules = [
        (Unknown::Refuse, false),
        (Unknown::AcceptNew, false),
        (Unknown::Ask, false),
        // StrictHostKeyChecking no.
        (Unknown::AcceptNew, true),
    ];
    for (host, expected) in [
        ("known", ["accept", "accept", "accept", "accept"]),
        ("new", ["refuse", "remember", "ask", "remember"]),
        ("changed", ["refuse", "refuse", "refuse", "tolerate"]),
        ("othertype", ["refuse", "refuse", "ask", "accept"]),
        ("torn", ["refuse", "refuse", "ask", "accept"]),
        ("revoked", ["refuse", "refuse", "refuse", "refuse"]),
    ] {
        let words = rules
            .map(|(unknown, tolerate)| word(&check(host, unknown, tolerate, files(&shown)).decide(&shown)));
        assert_eq!(words, expected, "{host}");
    }
    // A file that cannot be read may revoke any key, whatever is to be tolerated.
    for (unknown, tolerate) in rules {
        let mut known = files(&shown);
        known.add_unreadable("/etc/ssh/ssh_known_hosts", "it is not a regular file");
        assert_eq!(word(&check("known", unknown, tolerate, known).decide(&shown)), "refuse");
    }
}

#[test]
fn a_person_answers_and_is_told_what_is_known() {
    let shown = key(KeyKind::Ed25519, 1);
    let check = check("othertype", Unknown::Ask, false, files(&shown));
    let Decision::Ask(question) = check.decide(&shown) else { panic!() };
    assert_eq!((question.other.len(), &question.elsewhere[0].line), (1, &1));
    for (answer, expected) in
        [(Answer::Once, "accept"), (Answer::Remember, "remember"), (Answer::Refuse, "refuse")]
    {
        let settled = check.answered((*question).clone(), answer);
        assert_eq!(word(&Decision::Settled(settled)), expected);
    }
    let Settled::Refuse(problem) = check.answered(*question, Answer::Refuse) else { panic!() };
    assert!(problem.asked && problem.to_string().contains("a type that is not known for it"), "{problem}");
}

#[test]
fn what_is_remembered_is_known_the_next_time() {
    let shown = key(KeyKind::Ed25519, 1);
    for hashed in [false, true] {
        let mut checking = Checking::default();
        (checking.unknown, checking.hash_names) = (Unknown::AcceptNew, hashed);
        let trust = Trust::KnownHosts(checking);
        let first = HostKeyCheck::new("Example.ORG", 2222, trust.clone(), Arc::default());
        assert_eq!(word(&first.decide(&shown)), "remember");
        let line = first.line(&shown, [7; 20]).unwrap();
        assert_eq!(line.starts_with("|1|"), hashed, "{line}");
        let known = Arc::new(KnownHosts::parse("known_hosts", line.as_bytes()).unwrap());
        let second = HostKeyCheck::new("example.org", 2222, trust, known);
        assert_eq!(word(&second.decide(&shown)), "accept");
        assert_eq!(second.algorithms(), shown.sig_algs());
    }
}

#[test]
fn a_pinned_key_is_the_only_one() {
    let (right, wrong) = (key(KeyKind::Ed25519, 1), key(KeyKind::Ed25519, 2));
    let fingerprint = right.fingerprint(konko_core::crypto::HashAlg::Sha256).to_string();
    for pin in [Pin::Key(right.clone()), Pin::Fingerprint(fingerprint)] {
        let check = HostKeyCheck::new("any", 22, Trust::Pinned(vec![pin]), Arc::default());
        assert_eq!(word(&check.decide(&right)), "accept");
        let Decision::Settled(Settled::Refuse(problem)) = check.decide(&wrong) else { panic!() };
        assert!(problem.to_string().contains("not the pinned one"), "{problem}");
    }
}

#[test]
fn damaged_lines_are_a_few_words() {
    let text = "nonsense\n".repeat(9);
    let known = KnownHosts::parse("known_hosts", text.as_bytes()).unwrap();
    let warnings = check("host", Unknown::Refuse, false, known).warnings();
    assert_eq!(warnings.len(), 4);
    assert!(warnings[3].starts_with("6 more lines"), "{warnings:?}");
}
