//! Whether to believe a host: every verdict of the files, under every rule, and what a person says.

use std::sync::Arc;

use konko_core::hosts::*;
use konko_core::keys::{KeyType, PrivateKey, PublicKey, SignatureAlgorithm};
use konko_core::{Rng, Seed};

fn key(kind: KeyType, n: u8) -> PublicKey {
    PrivateKey::generate(kind, &mut Rng::from_seed(&Seed::new([n; 32]))).unwrap().public().clone()
}

/// Files in which the host is in each of the states that a verdict has, by name.
fn files(key: &PublicKey) -> KnownHosts {
    let other = self::key(KeyType::ED25519, 200);
    let ecdsa = self::key(KeyType::ECDSA_NISTP256, 201);
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
    checking.user_files = vec![b"/home/alice/.ssh/known_hosts".into()];
    HostKeyCheck::new(host, 22, Trust::KnownHosts(checking), Arc::new(known))
}

/// A decision in a word.
fn word(decision: &Checked) -> &'static str {
    match decision {
        Checked::Settled(Settled::Accept { remember: Some(_), .. }) => "remember",
        Checked::Settled(Settled::Accept { .. }) => "accept",
        Checked::Settled(Settled::Tolerate(_)) => "tolerate",
        Checked::Settled(Settled::Reject(_)) => "refuse",
        Checked::Ask(_) => "ask",
    }
}

#[test]
fn every_verdict_under_every_rule() {
    let shown = key(KeyType::ED25519, 1);
    let rules = [
        (Unknown::Reject, false),
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
fn h04_a_known_host_with_a_key_of_another_type_is_not_new() {
    let shown = key(KeyType::ED25519, 1);
    let check = check("othertype", Unknown::AcceptNew, false, files(&shown));
    let Checked::Settled(Settled::Reject(problem)) = check.decide(&shown) else {
        panic!("it is no new host")
    };
    let Some(HostKeyStatus::OtherTypeKnown { known }) = &problem.status else { panic!("{problem:?}") };
    assert_eq!(known[0].key_type, "ecdsa-sha2-nistp256");
    // And for a person who says yes it is another key of a host that is known.
    let check = self::check("othertype", Unknown::Ask, false, files(&shown));
    let Checked::Ask(unknown) = check.decide(&shown) else { panic!("somebody is asked") };
    assert_eq!(unknown.other().len(), 1);
}

#[test]
fn a_person_answers_and_is_told_what_is_known() {
    let shown = key(KeyType::ED25519, 1);
    let check = check("othertype", Unknown::Ask, false, files(&shown));
    let ask = || match check.decide(&shown) {
        Checked::Ask(question) => question,
        Checked::Settled(settled) => panic!("{settled:?}"),
    };
    assert_eq!((ask().other().len(), ask().elsewhere()[0].line, ask().name()), (1, 1, "othertype"));
    for (answer, expected) in
        [(Answer::Once, "accept"), (Answer::Remember, "remember"), (Answer::Reject, "refuse")]
    {
        let settled = ask().answer(answer);
        assert_eq!(word(&Checked::Settled(settled)), expected);
    }
    let Settled::Reject(problem) = ask().answer(Answer::Reject) else { panic!() };
    assert!(problem.asked && problem.to_string().contains("a type that is not known for it"), "{problem}");
}

#[test]
fn what_is_remembered_is_known_the_next_time() {
    let shown = key(KeyType::ED25519, 1);
    for hashed in [false, true] {
        let mut checking = Checking::default();
        (checking.unknown, checking.hash_names) = (Unknown::AcceptNew, hashed);
        checking.user_files = [&b"first\xff"[..], b"second"].map(Vec::from).into();
        let trust = Trust::KnownHosts(checking);
        let first = HostKeyCheck::new("Example.ORG", 2222, trust.clone(), Arc::default());
        let Checked::Settled(Settled::Accept { remember: Some(new), .. }) = first.decide(&shown) else {
            panic!()
        };
        assert_eq!(
            (new.file(), new.to_string()),
            (&b"first\xff"[..], "[example.org]:2222 (ssh-ed25519)".into())
        );
        let line = new.text(0, None, [7; 20]).unwrap();
        assert_eq!(line.starts_with(b"|1|"), hashed);
        let known = Arc::new(KnownHosts::parse("known_hosts", &line).unwrap());
        let second = HostKeyCheck::new("example.org", 2222, trust, known);
        assert_eq!(word(&second.decide(&shown)), "accept");
        // A certificate for the key will do as well.
        assert_eq!(second.algorithms(), [SignatureAlgorithm::ED25519_CERT, SignatureAlgorithm::ED25519]);
    }
}

#[test]
fn a_pinned_key_is_the_only_one() {
    let (right, wrong) = (key(KeyType::ED25519, 1), key(KeyType::ED25519, 2));
    let fingerprint = right.fingerprint(konko_core::crypto::HashAlgorithm::Sha256).to_string();
    for pin in [Pin::Key(right.clone()), Pin::Fingerprint(fingerprint)] {
        let check = HostKeyCheck::new("any", 22, Trust::Pinned(vec![pin]), Arc::default());
        assert_eq!(word(&check.decide(&right)), "accept");
        let Checked::Settled(Settled::Reject(problem)) = check.decide(&wrong) else { panic!() };
        assert!(problem.to_string().contains("not the pinned one"), "{problem}");
    }
}

#[test]
fn damaged_lines_are_a_few_words() {
    let text = "nonsense\n".repeat(9);
    let known = KnownHosts::parse("known_hosts", text.as_bytes()).unwrap();
    let warnings = check("host", Unknown::Reject, false, known).warnings();
    assert_eq!(warnings.len(), 4);
    assert!(warnings[3].starts_with("6 more lines"), "{warnings:?}");
}

/// A rule under which new hosts are remembered, in `file`.
fn accept_new(file: &[u8]) -> Checking {
    let mut checking = Checking::default();
    (checking.unknown, checking.user_files) = (Unknown::AcceptNew, vec![file.into()]);
    checking
}

#[test]
fn what_is_appended_is_a_line_of_its_own_in_a_file_that_can_be_read_again() {
    let shown = key(KeyType::ED25519, 1);
    let new = |host: &str| {
        let trust = Trust::KnownHosts(accept_new(b"file"));
        match HostKeyCheck::new(host, 22, trust, Arc::default()).decide(&shown) {
            Checked::Settled(Settled::Accept { remember: Some(new), .. }) => new,
            other => panic!("{other:?}"),
        }
    };
    let line = learn_line("host", 22, &shown, None).unwrap() + "\n";
    for (length, last, before) in
        [(0, None, ""), (7, Some(b'\n'), ""), (7, Some(b'x'), "\n"), (7, Some(b'\r'), "\n")]
    {
        assert_eq!(new("host").text(length, last, [0; 20]).unwrap(), format!("{before}{line}").as_bytes());
    }
    let room = LIMITS.file as u64 - line.len() as u64;
    assert!(new("host").text(room, Some(b'\n'), [0; 20]).is_ok());
    for (length, last) in [(room + 1, b'\n'), (room, b'x'), (u64::MAX, b'\n')] {
        assert!(matches!(new("host").text(length, Some(last), [0; 20]), Err(CannotRemember::File(_))));
    }
    let error = new("a*").text(0, None, [0; 20]).unwrap_err();
    assert!(matches!(&error, CannotRemember::Name(_)) && error.to_string().contains("\"a*\""), "{error}");
    // Without a file there is nothing to remember by.
    let mut checking = accept_new(b"");
    checking.user_files.clear();
    let check = HostKeyCheck::new("host", 22, Trust::KnownHosts(checking), Arc::default());
    assert_eq!(word(&check.decide(&shown)), "accept");
}

#[test]
fn a4_files_are_asked_for_and_one_without_an_answer_refuses() {
    let shown = key(KeyType::ED25519, 1);
    let mut checking = Checking::of_home(b"/home/\xff");
    checking.unknown = Unknown::AcceptNew;
    let trust = Trust::KnownHosts(checking);
    let names = [
        "/home/\\xff/.ssh/known_hosts",
        "/home/\\xff/.ssh/known_hosts2",
        "/etc/ssh/ssh_known_hosts",
        "/etc/ssh/ssh_known_hosts2",
    ];
    let line = |host: &str| (learn_line(host, 22, &shown, None).unwrap() + "\n").into_bytes();
    // What each of the four files holds, as far as it is asked for, and what comes of it.
    let missing = || Contents::Missing;
    let revoked = || Contents::Bytes([b"@revoked ", &line("host")[..]].concat());
    let cases: [(Vec<Contents>, &str); 7] = [
        (vec![missing(), missing(), missing(), missing()], "remember"),
        (vec![missing(), missing(), missing(), Contents::Bytes(line("host"))], "accept"),
        (
            vec![
                Contents::Bytes(line("host")),
                missing(),
                Contents::Unreadable("it is\x1b".into()),
                missing(),
            ],
            "refuse",
        ),
        (vec![Contents::Bytes(line("host")), missing(), revoked(), missing()], "refuse"),
        (
            vec![
                Contents::Bytes(line("host")),
                missing(),
                missing(),
                Contents::Bytes(vec![b'\n'; LIMITS.file + 1]),
            ],
            "refuse",
        ),
        (vec![Contents::Bytes(line("host")), missing(), missing()], "refuse"),
        (vec![], "refuse"),
    ];
    for (contents, expected) in cases {
        let mut reading = Reading::new(&trust);
        let case = format!("{contents:.60?}");
        for (contents, name) in contents.into_iter().zip(names) {
            let Some(Question::Read { path, .. }) = reading.question() else { panic!() };
            assert_eq!(konko_core::wire::SshStr::new(path).to_string(), name);
            reading.answer(contents);
        }
        let check = HostKeyCheck::new("host", 22, trust.clone(), Arc::new(reading.finish()));
        let decision = check.decide(&shown);
        assert_eq!(word(&decision), expected, "{case}");
        if let Checked::Settled(Settled::Reject(problem)) = decision {
            let text = problem.to_string();
            assert!(names.iter().any(|name| text.contains(name)) && !text.contains('\x1b'), "{text}");
            assert_eq!(problem.file.as_deref(), Some(&b"/home/\xff/.ssh/known_hosts"[..]));
        }
    }
    // Nobody is asked for files that do not count.
    assert!(
        Reading::new(&Trust::Any).question().is_none()
            && Reading::new(&Trust::Pinned(vec![])).question().is_none()
    );
    let mut reading = Reading::new(&Trust::Any);
    reading.answer(Contents::Unreadable("nobody asked".into()));
    assert_eq!(word(&check("new", Unknown::AcceptNew, false, reading.finish()).decide(&shown)), "remember");
}

/// What comes of a file of revoked keys, in a word.
fn with_revoked(contents: Contents) -> &'static str {
    let shown = key(KeyType::ED25519, 1);
    let mut checking = Checking::default();
    checking.user_files = vec![b"user".to_vec()];
    checking.revoked_host_keys = vec![b"revoked".to_vec()];
    let trust = Trust::KnownHosts(checking);
    let mut reading = Reading::new(&trust);
    while let Some(Question::Read { path, .. }) = reading.question() {
        let contents = match path {
            b"revoked" => contents.clone(),
            _ => Contents::Bytes((learn_line("host", 22, &shown, None).unwrap() + "\n").into()),
        };
        reading.answer(contents);
    }
    word(&HostKeyCheck::new("host", 22, trust, Arc::new(reading.finish())).decide(&shown))
}

#[test]
fn f06_revoked_host_keys_are_refused_and_so_is_everything_where_nobody_can_tell() {
    let (shown, other) = (key(KeyType::ED25519, 1), key(KeyType::ED25519, 2));
    let list = |key: &PublicKey| Contents::Bytes((key.to_openssh_line("") + "\n").into());
    assert_eq!(with_revoked(list(&other)), "accept");
    assert_eq!(with_revoked(list(&shown)), "refuse");
    let mut krl = konko_core::krl::Krl::new();
    krl.revoke_sha256(
        shown.fingerprint(konko_core::crypto::HashAlgorithm::Sha256).as_bytes().try_into().unwrap(),
    );
    let bytes = krl.to_bytes();
    assert_eq!(with_revoked(Contents::Bytes(bytes[..bytes.len() - 1].into())), "refuse", "damaged");
    assert_eq!(with_revoked(Contents::Bytes(bytes)), "refuse");
    assert_eq!(with_revoked(Contents::Missing), "refuse");
    assert_eq!(with_revoked(Contents::Unreadable("no".into())), "refuse");
}

#[test]
fn a_program_that_prints_known_hosts_is_asked_about_the_host_and_about_its_key() {
    let shown = key(KeyType::ED25519, 1);
    let mut checking = Checking::default();
    let words = ["/bin/ask", "%I", "%H", "%t", "%f", "%K", "100%%"];
    checking.known_hosts_command = Some(words.iter().map(|word| word.as_bytes().to_vec()).collect());
    let asked = |reading: &Reading| match reading.question() {
        Some(Question::Run(words)) => {
            words.iter().map(|w| String::from_utf8(w.clone()).unwrap()).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    let trust = Trust::KnownHosts(checking.clone());
    let reading = Reading::new(&trust).host("Host.", 2222);
    assert_eq!(asked(&reading), ["/bin/ask", "ORDER", "[host]:2222", "NONE", "NONE", "NONE", "100%"]);
    let mut reading = Reading::new(&trust).host_with("host", 22, &shown);
    let (line, print) =
        (shown.to_openssh_line(""), shown.fingerprint(konko_core::crypto::HashAlgorithm::Sha256));
    let expected = ["/bin/ask", "HOSTNAME", "host", "ssh-ed25519", &print.to_string(), &line[12..], "100%"];
    assert_eq!(asked(&reading), expected);
    reading.answer(Contents::Bytes(format!("host {line}\n").into()));
    let check = |known: KnownHosts| {
        word(&HostKeyCheck::new("host", 22, trust.clone(), Arc::new(known)).decide(&shown))
    };
    assert_eq!(check(reading.finish()), "accept");

    // A program that fails, was not run, or has a token that nobody knows, refuses.
    let mut reading = Reading::new(&trust).host_with("host", 22, &shown);
    reading.answer(Contents::Unreadable("it failed: exit status: 1".into()));
    assert_eq!(check(reading.finish()), "refuse");
    assert_eq!(check(Reading::new(&trust).finish()), "refuse");
    checking.known_hosts_command = Some(vec![b"/bin/ask".to_vec(), b"%x".to_vec()]);
    let reading = Reading::new(&Trust::KnownHosts(checking)).host_with("host", 22, &shown);
    assert_eq!(check(reading.finish()), "refuse");
}

#[test]
fn an_address_is_checked_and_remembered_where_that_is_wanted() {
    let (shown, other) = (key(KeyType::ED25519, 1), key(KeyType::ED25519, 2));
    let line = |host: &str, key: &PublicKey| learn_line(host, 22, key, None).unwrap() + "\n";
    let decide = |host: &str, text: &str, address: &str, wanted: bool| {
        let mut checking = Checking::default();
        checking.unknown = Unknown::AcceptNew;
        checking.user_files = vec![b"user".to_vec()];
        checking.check_host_ip = wanted;
        let known = Arc::new(KnownHosts::parse("user", text.as_bytes()).unwrap());
        let check =
            HostKeyCheck::new(host, 22, Trust::KnownHosts(checking), known).address(address.parse().unwrap());
        match check.decide(&shown) {
            Checked::Settled(Settled::Accept { remember: Some(new), .. }) => {
                String::from_utf8(new.text(0, None, [0; 20]).unwrap()).unwrap()
            }
            decision => word(&decision).to_owned(),
        }
    };
    let ip = "192.0.2.1";
    let both = line("host", &shown) + &line(ip, &shown);
    assert_eq!(decide("host", "", ip, true), both);
    assert_eq!(decide("host", "", ip, false), line("host", &shown));
    assert_eq!(decide("host", &line("host", &shown), ip, true), line(ip, &shown));
    assert_eq!(decide("host", &line("host", &shown), ip, false), "accept");
    assert_eq!(decide("host", &both, ip, true), "accept");
    let moved = line("host", &shown) + &line(ip, &other);
    assert_eq!(
        (decide("host", &moved, ip, true), decide("host", &moved, ip, false)),
        ("refuse".into(), "accept".into())
    );
    assert_eq!(decide("host", &line(ip, &other), ip, true), "refuse", "a new host at an address of another");
    // This machine's own addresses, and what was typed, say nothing more.
    for (host, address) in [("host", "127.0.0.1"), ("host", "::1"), (ip, ip), (ip, "::ffff:192.0.2.1")] {
        assert_eq!(decide(host, "", address, true), line(host, &shown), "{host} {address}");
    }
}

#[test]
fn f06_h06_a_certificate_is_revoked_by_a_list_whatever_vouches_for_it() {
    use konko_core::keys::{CertificateKind, CertificateRequest};
    let provider = konko_core::provider::rustcrypto();
    let mut rng = Rng::from_seed(&Seed::new([4; 32]));
    let authority = PrivateKey::generate(KeyType::ED25519, &mut rng).unwrap();
    let host = key(KeyType::ED25519, 1);
    let certificate = CertificateRequest::new(CertificateKind::Host, &host)
        .serial(7)
        .key_id("the host")
        .principals(["host"])
        .valid(0, u64::MAX)
        .sign(&authority.key_pair(provider).unwrap(), None, &mut rng)
        .unwrap();
    let decide = |revoke: &dyn Fn(&mut konko_core::krl::Krl)| {
        let mut krl = konko_core::krl::Krl::new();
        revoke(&mut krl);
        let line = format!("@cert-authority host {}\n", authority.public().to_openssh_line(""));
        let mut known = KnownHosts::parse("user", line.as_bytes()).unwrap();
        known.add_revoked("revoked", &krl.to_bytes()).unwrap();
        let mut authorities = HostAuthorities::default();
        (authorities.provider, authorities.now) = (provider, Some(1_700_000_000));
        let trust = Trust::KnownHosts(Checking::default());
        let check = HostKeyCheck::new("host", 22, trust, Arc::new(known)).authorities(authorities);
        word(&check.decide(certificate.public()))
    };
    let blob = authority.public().to_blob();
    assert_eq!(decide(&|_| {}), "accept");
    assert_eq!(decide(&|krl| krl.revoke_serials(Some(&blob), 6, 6).unwrap()), "accept");
    assert_eq!(decide(&|krl| krl.revoke_serials(Some(&blob), 7, 7).unwrap()), "refuse");
    assert_eq!(decide(&|krl| krl.revoke_key_id(None, b"the host")), "refuse");
    assert_eq!(decide(&|krl| krl.revoke_key(&host.to_blob())), "refuse");
    assert_eq!(decide(&|krl| krl.revoke_key(&blob)), "refuse", "the authority");
}
