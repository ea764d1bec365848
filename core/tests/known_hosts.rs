//! Known hosts: each rule of the format, the injection rows, and a differential with `ssh-keygen -F`.

mod property;

#[path = "known_hosts/damaged.rs"]
mod damaged;

use konko_core::hosts::{Hints, HostKeyStatus, KnownHosts, Problem, canonical, learn_line};
use konko_core::keys::{KeyType, PublicKey, SignatureAlgorithm};
use konko_core::text::BadLine;
use proptest::prelude::*;

fn data(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn key(name: &str) -> PublicKey {
    PublicKey::from_openssh_line(&data(&format!("keys/{name}.pub"))).unwrap().0
}

fn text(name: &str) -> String {
    key(name).to_openssh_line("")
}

fn hosts(file: &str) -> KnownHosts {
    KnownHosts::parse("kh", file.as_bytes()).unwrap()
}

/// The verdict in one word and the line it names.
fn short(verdict: &HostKeyStatus) -> String {
    match verdict {
        HostKeyStatus::Match { at } => format!("match {at}"),
        HostKeyStatus::Revoked { at } => format!("revoked {at}"),
        HostKeyStatus::Unreadable { what } => {
            format!("unreadable {}", what.to_string().split(": ").next().unwrap())
        }
        HostKeyStatus::Changed { known } => format!("changed {}", known[0].at),
        HostKeyStatus::OtherTypeKnown { known } => format!("other {}", known[0].at),
        HostKeyStatus::Unknown(_) => "unknown".into(),
    }
}

fn verdict(file: &str, host: &str, port: u16, key_name: &str) -> String {
    short(&hosts(file).lookup(host, port, None, &key(key_name)))
}

#[test]
fn u35_finds_the_lines_that_ssh_keygen_finds() {
    let names = ["ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa"];
    let mut found = 0;
    for line in String::from_utf8(data("hosts/expected.txt")).unwrap().lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (file, query) = (fields[0], fields[1]);
        if file.ends_with("hashed") && query.contains(char::is_uppercase) {
            // ssh makes names lower-case before it asks; ssh-keygen hashes them as they are.
            continue;
        }
        // ssh-keygen prints damaged lines as found; nothing can be learnt from them.
        let damaged = matches!(query, "broken.example" | "mismatch.example");
        let expected: Vec<u32> =
            if damaged { vec![] } else { fields[2..].iter().map(|n| n.parse().unwrap()).collect() };
        let known = KnownHosts::parse(file, &data(&format!("hosts/{file}"))).unwrap();
        let (host, port) = match query.strip_prefix('[').and_then(|q| q.split_once("]:")) {
            Some((host, port)) => (host, port.parse().unwrap()),
            None => (query, 22),
        };
        // Each line holds one key; ask with each key and gather the lines that any verdict names.
        let mut lines: Vec<u32> = names
            .iter()
            .flat_map(|name| match known.lookup(host, port, None, &key(name)) {
                HostKeyStatus::Match { at } | HostKeyStatus::Revoked { at } => vec![at.line],
                HostKeyStatus::Changed { known } | HostKeyStatus::OtherTypeKnown { known } => {
                    known.iter().map(|k| k.at.line).collect()
                }
                HostKeyStatus::Unreadable { what } => {
                    Some(what.at.line).filter(|line| *line > 0).into_iter().collect()
                }
                HostKeyStatus::Unknown(hints) => hints.authorities.iter().map(|at| at.line).collect(),
            })
            .collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines, expected, "{line}");
        found += lines.len();
    }
    assert!(found > 30, "the corpus is there");
}

#[test]
fn h08_spellings_of_a_host() {
    let table = [
        ("host.example", 22, "host.example"),
        ("HOST.example", 22, "host.example"),
        ("host.example.", 22, "host.example"),
        ("host.example..", 22, "host.example."),
        ("host.example", 0, "host.example"),
        ("host.example", 2222, "[host.example]:2222"),
        ("Host.Example.", 2222, "[host.example]:2222"),
        ("[host.example]", 2222, "[host.example]:2222"),
        ("192.0.2.1", 22, "192.0.2.1"),
        ("192.0.2.1", 2022, "[192.0.2.1]:2022"),
        ("::1", 22, "::1"),
        ("[::1]", 22, "::1"),
        ("::1", 2222, "[::1]:2222"),
        ("[::1]", 2222, "[::1]:2222"),
        ("2001:DB8::A", 22, "2001:db8::a"),
        ("fe80::1%eth0", 22, "fe80::1%eth0"),
        ("[fe80::1%eth0]", 22, "fe80::1%eth0"),
        ("fe80::1%eth0", 2222, "[fe80::1%eth0]:2222"),
        (".", 22, "."),
        ("", 22, ""),
        ("a", 65535, "[a]:65535"),
        ("xn--bcher-kva.example", 22, "xn--bcher-kva.example"),
        ("[", 22, "["),
        ("under_score", 22, "under_score"),
    ];
    for (host, port, expected) in table {
        assert_eq!(canonical(host, port), expected, "{host} {port}");
    }
    let k = text("ed25519");
    for entry in
        ["host.example", "HOST.Example.", "[host.example]:22", "[Host.Example.]:22", "[host.example]"]
    {
        assert_eq!(verdict(&format!("{entry} {k}"), "Host.example.", 22, "ed25519"), "match kh:1", "{entry}");
    }
    assert_eq!(verdict(&format!("[::1]:22 {k}"), "[::1]", 22, "ed25519"), "match kh:1");
}

#[test]
fn a_port_other_than_22_has_its_own_entries() {
    let file = format!("h {}\n[p]:2222 {}\n", text("ed25519"), text("ed25519"));
    let lookup = |host, port| hosts(&file).lookup(host, port, None, &key("ed25519"));
    let HostKeyStatus::Unknown(Hints { without_port: Some(at), .. }) = lookup("h", 2222) else { panic!() };
    assert_eq!(at.line, 1);
    for revokes in ["@revoked h", "@revoked *"] {
        let file = format!("{file}{revokes} {}\n", text("ed25519"));
        let verdict = hosts(&file).lookup("h", 2222, None, &key("ed25519"));
        let hint = matches!(verdict, HostKeyStatus::Unknown(Hints { without_port: Some(_), .. }));
        assert!(!hint, "{revokes}: what is revoked there is no hint");
    }
    assert_eq!(lookup("p", 22), HostKeyStatus::Unknown(Hints::default()));
    assert_eq!(short(&lookup("p", 2222)), "match kh:2");
}

#[test]
fn u08_h04_the_verdict_is_about_types() {
    let file = format!("h {}\nh {}\nr {}\n", text("ed25519"), text("ecdsa256"), text("rsa"));
    assert_eq!(verdict(&file, "h", 22, "ed25519"), "match kh:1");
    assert_eq!(verdict(&file, "h", 22, "ecdsa256"), "match kh:2");
    assert_eq!(verdict(&file, "h", 22, "enc-aes256-ctr"), "changed kh:1", "another Ed25519 key");
    assert_eq!(verdict(&file, "h", 22, "rsa"), "other kh:1", "never changed for another type");
    assert_eq!(verdict(&file, "h", 22, "ecdsa384"), "other kh:1", "a curve is a type");
    assert_eq!(verdict(&file, "r", 22, "rsa1024"), "changed kh:3");
    assert_eq!(verdict(&file, "n", 22, "rsa"), "unknown");
    let HostKeyStatus::Changed { known } = hosts(&file).lookup("h", 22, None, &key("enc-aes256-ctr")) else {
        panic!()
    };
    let expected = key("ed25519").fingerprint(konko_core::crypto::HashAlgorithm::Sha256);
    assert_eq!((known.len(), known[0].fingerprint), (1, Some(expected)));
    let two = format!("{file}h {}\n", text("enc-aes256-ctr"));
    assert_eq!(
        verdict(&two, "h", 22, "enc-aes256-ctr"),
        "match kh:4",
        "a host may have several keys of a type"
    );
}

#[test]
fn u08_known_types_come_first() {
    let file = format!(
        "h {}\nh {}\n@revoked h {}\n@cert-authority h {}\nh ssh-ed25519 AAAA\n*.w,!x.w {}\n",
        text("rsa"),
        text("ecdsa384"),
        text("ecdsa256"),
        text("ed25519"),
        text("rsa")
    );
    let known = hosts(&file);
    let rsa = KeyType::RSA.signature_algorithms();
    let rsa_cert = KeyType::RSA_CERT.signature_algorithms();
    // OpenSSH `order_hostkeyalgs`: certificates of all kinds where there is an authority, else those for known keys.
    let certificates: Vec<_> = SignatureAlgorithm::all().filter(|a| a.key_type().is_certificate()).collect();
    let plain = [&[SignatureAlgorithm::ECDSA_NISTP384][..], rsa].concat();
    assert_eq!(known.known_algorithms("H", 22), [&certificates[..], &plain].concat());
    assert_eq!(known.known_algorithms("a.w", 22), [rsa_cert, rsa].concat());
    assert_eq!(known.known_algorithms("x.w", 22), []);
    assert_eq!(known.known_algorithms("h", 2222), certificates, "the authority is one for the name");
}

#[test]
fn h06_a_revoked_key_is_revoked_wherever_it_also_stands() {
    let k = text("ed25519");
    for file in [format!("h {k}\n@revoked h {k}\n"), format!("@revoked * {k}\nh {k}\n")] {
        assert!(verdict(&file, "h", 22, "ed25519").starts_with("revoked"), "{file}");
    }
    let mut two = hosts(&format!("h {k}\n"));
    two.add_file("global", format!("\n@revoked h {k}").as_bytes()).unwrap();
    assert_eq!(short(&two.lookup("h", 22, None, &key("ed25519"))), "revoked global:2");
    assert_eq!(
        verdict(&format!("@revoked h {k}\n"), "h", 22, "rsa"),
        "unknown",
        "other keys are not touched"
    );
}

#[test]
fn an_authority_accepts_no_plain_key_and_is_reported() {
    let file = format!("@cert-authority *.ca {}\n", text("ed25519"));
    let HostKeyStatus::Unknown(hints) = hosts(&file).lookup("a.ca", 22, None, &key("ed25519")) else {
        panic!()
    };
    assert_eq!(hints.authorities.len(), 1);
}

#[test]
fn h10_exactly_one_marker() {
    let k = text("ed25519");
    for marker in
        ["@revoked @cert-authority", "@cert-authority @revoked", "@x", "@", "@Revoked", "@revoked @revoked"]
    {
        let known = hosts(&format!("{marker} h {k}\n"));
        // What may have been meant to revoke refuses (A4); everything else is passed over.
        let expected = if marker.to_lowercase().contains("@revoked") { "unreadable kh:1" } else { "unknown" };
        assert_eq!(short(&known.lookup("h", 22, None, &key("ed25519"))), expected, "{marker}");
        assert_eq!(known.warnings()[0].problem.what, Problem::Marker);
    }
}

#[test]
fn h11_declared_type_must_be_the_blobs() {
    let blob = text("ed25519").split(' ').nth(1).unwrap().to_owned();
    for declared in ["ssh-rsa", "ssh-ed25519x", "ssh-ed2551", "ecdsa-sha2-nistp256", "SSH-ED25519"] {
        let known = hosts(&format!("h {declared} {blob}\n"));
        // Unknown, and not as new as a host without any line.
        assert_eq!(verdict(&format!("h {declared} {blob}\n"), "h", 22, "ed25519"), "unknown");
        let HostKeyStatus::Unknown(hints) = known.lookup("h", 22, None, &key("ed25519")) else { panic!() };
        assert_eq!(hints.unreadable.len(), 1);
        assert_eq!(known.warnings()[0].problem.what, Problem::TypeMismatch, "{declared}");
    }
}

#[test]
fn h12_only_spaces_and_tabs_separate() {
    let k = text("ed25519");
    for blank in ["\u{a0}", "\u{2003}", "\x0b", "\x0c"] {
        assert_eq!(verdict(&format!("h{blank}{k}\n"), "h", 22, "ed25519"), "unknown", "{blank:?}");
        assert_eq!(verdict(&format!("h{blank}x {k}\n"), "h", 22, "ed25519"), "unknown", "{blank:?}");
    }
    assert_eq!(verdict(&format!(" \t h \t {k} \t comment\r\n"), "h", 22, "ed25519"), "match kh:1");
}

#[test]
fn h13_damaged_lines_are_skipped_and_reported() {
    let k = text("ed25519");
    let hash = "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg=";
    let bad = [
        ("h", Problem::Fields),
        ("h ssh-ed25519", Problem::Fields),
        ("h ssh-ed25519 AAAA", Problem::Key),
        ("h ssh-ed25519 !!!!", Problem::Key),
        (&format!("h\0 {k}"), Problem::Line(BadLine::Nul)),
        (&format!("{} {k}", "h,".repeat(40_000)), Problem::Line(BadLine::TooLong(64 * 1024))),
        (&format!("|1|AAAA|{} {k}", &hash[32..]), Problem::HashedName),
        (&format!("{}| {k}", hash), Problem::HashedName),
        (&format!("{},h {k}", hash), Problem::HashedName),
        (&format!("|2|{} {k}", &hash[3..]), Problem::HashedName),
        (&format!("h {}", &k[..k.len() - 4]), Problem::Key),
        ("h ssh-dss AAAAB3NzaC1kc3MAAACB", Problem::UnknownType),
        ("1024 35 123456789 user@host", Problem::TypeMismatch),
    ];
    for (line, problem) in bad {
        let file = format!("# first\n{line}\ngood {k}");
        let known = hosts(&file);
        let warnings = known.warnings();
        assert_eq!(warnings.len(), 1, "{line:.60}");
        assert_eq!((warnings[0].at.line, warnings[0].problem.what), (2, problem), "{line:.60}");
        assert!(warnings[0].to_string().starts_with("kh:2: "));
        assert_eq!(short(&known.lookup("good", 22, None, &key("ed25519"))), "match kh:3", "{line:.60}");
    }
    let whole = format!("{hash} {k}");
    for cut in 0..whole.len() {
        let known = hosts(&whole[..cut]);
        let _ = known.lookup("h", 22, None, &key("ed25519"));
        let _ = known.warnings();
    }
    // An unreadable or unknown key for the host is no reason to take it for a new one.
    let file = format!("h {}\ni ssh-dss AAAAB3NzaC1kc3MAAACB\n", &k[..k.len() - 4]);
    let HostKeyStatus::Unknown(hints) = hosts(&file).lookup("h", 22, None, &key("ed25519")) else { panic!() };
    assert_eq!(hints.unreadable.len(), 1);
    assert_eq!(verdict(&file, "i", 22, "ed25519"), "other kh:2");
}

#[test]
fn h14_negation_and_wildcards() {
    let k = text("ed25519");
    for names in ["!a.ex,*.ex", "*.ex,!a.ex"] {
        let file = format!("{names} {k}\n");
        assert_eq!(verdict(&file, "a.ex", 22, "ed25519"), "unknown");
        assert_eq!(verdict(&file, "B.EX", 22, "ed25519"), "match kh:1");
    }
    assert_eq!(verdict(&format!("!a.ex,a.ex {k}\n"), "a.ex", 22, "ed25519"), "unknown");
}

#[test]
fn h15_a_huge_file_is_refused() {
    assert!(KnownHosts::parse("kh", &vec![b'\n'; 16 * 1024 * 1024 + 1]).is_err());
}

#[test]
fn h09_names_that_would_mean_something_else_are_not_written() {
    let k = key("ed25519");
    let injection = format!("a\nb {}", text("rsa"));
    for name in [
        &injection,
        "a b",
        "a\tb",
        "*",
        "a?",
        "!a",
        "@revoked a",
        "@revoked",
        "|1|x",
        "#a",
        "a,b",
        "",
        "[]",
        "a\r",
        "a\0",
        "a]:1",
        "[a",
        "a\u{a0}b",
        "b\u{fc}cher",
        "\u{202e}a",
        "\x1b[2J",
    ] {
        for hashed in [None, Some([7; 20])] {
            let error = learn_line(name, 22, &k, hashed).unwrap_err();
            assert!(!error.to_string().contains(['\n', '\x1b', '\0']));
        }
    }
    for (host, port) in
        [("a.example", 22), ("A.example.", 2222), ("::1", 22), ("[fe80::1%eth0]", 2222), ("alias_1", 22)]
    {
        for hashed in [None, Some([7; 20])] {
            let line = learn_line(host, port, &k, hashed).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(line.starts_with("|1|"), hashed.is_some());
            assert_eq!(verdict(&line, host, port, "ed25519"), "match kh:1", "{line}");
        }
    }
}

#[test]
fn the_address_can_only_take_a_match_away() {
    let file = format!(
        "h {k}\n192.0.2.1 {k}\n192.0.2.2 {other}\n192.0.2.3 {rsa}\n@revoked 192.0.2.4 {k}\n",
        k = text("ed25519"),
        other = text("enc-aes256-ctr"),
        rsa = text("rsa")
    );
    let lookup = |host: &str, ip: &str| short(&hosts(&file).lookup(host, 22, Some(ip), &key("ed25519")));
    assert_eq!(lookup("h", "192.0.2.1"), "match kh:1");
    assert_eq!(lookup("h", "192.0.2.2"), "changed kh:3");
    assert_eq!(lookup("h", "192.0.2.3"), "match kh:1");
    assert_eq!(lookup("h", "192.0.2.4"), "revoked kh:5");
    assert_eq!(lookup("h", "192.0.2.5"), "match kh:1");
    assert_eq!(lookup("new", "192.0.2.1"), "unknown");
    assert_eq!(lookup("new", "192.0.2.2"), "unknown");
}

#[test]
fn u09_where_else_a_key_is_known() {
    let file = format!("a {k}\nb {}\nc,d {k} comment\n@revoked e {k}\n", text("rsa"), k = text("ed25519"));
    let lines: Vec<u32> = hosts(&file).locations_of(&key("ed25519")).iter().map(|at| at.line).collect();
    assert_eq!(lines, [1, 3]);
}

/// Spellings of an address and what OpenSSH 9.2 makes of them (`ssh -G`), but for its letters' case.
const ADDRESSES: [(&str, &str); 56] = [
    ("::1", "::1"),
    ("0::1", "::1"),
    ("0:0:0:0:0:0:0:1", "::1"),
    ("0000::0001", "::1"),
    ("::0.0.0.1", "::1"),
    ("::", "::"),
    ("00000::1", "00000::1"),
    ("127.1", "127.0.0.1"),
    ("127.0.1", "127.0.0.1"),
    ("2130706433", "127.0.0.1"),
    ("0x7f.1", "127.0.0.1"),
    ("0X7F.1", "127.0.0.1"),
    ("0x7f000001", "127.0.0.1"),
    ("0177.0.0.01", "127.0.0.1"),
    ("017700000001", "127.0.0.1"),
    ("127.000.000.001", "127.0.0.1"),
    ("0x7f.0x0.0x0.0x1", "127.0.0.1"),
    ("010.0.0.1", "8.0.0.1"),
    ("1", "0.0.0.1"),
    ("0", "0.0.0.0"),
    ("0x", "0x"),
    ("08", "08"),
    ("256", "0.0.1.0"),
    ("1.256", "1.0.1.0"),
    ("1.16777215", "1.255.255.255"),
    ("1.16777216", "1.16777216"),
    ("1.2.65536", "1.2.65536"),
    ("1.2.3.256", "1.2.3.256"),
    ("256.1", "256.1"),
    ("4294967295", "255.255.255.255"),
    ("4294967296", "4294967296"),
    ("1.2.3.4.5", "1.2.3.4.5"),
    ("1..2", "1..2"),
    (".1", ".1"),
    ("+1", "+1"),
    ("1e3", "1e3"),
    ("0x-1", "0x-1"),
    ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
    ("::FFFF:7f00:1", "::ffff:127.0.0.1"),
    ("::ffff:0:1", "::ffff:0.0.0.1"),
    ("::ffff:127.1", "::ffff:127.1"),
    ("::102:304", "::1.2.3.4"),
    ("::1:0", "::0.1.0.0"),
    ("64:ff9b::1.2.3.4", "64:ff9b::102:304"),
    ("2001:DB8::A", "2001:db8::a"),
    ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
    ("1:0:2:0:0:3:0:0", "1:0:2::3:0:0"),
    ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
    ("FE80:0::1%lo", "fe80::1%lo"),
    ("fe80::1%0", "fe80::1"),
    ("::1%1", "::1%1"),
    ("::1%001", "::1%1"),
    ("fe80::1%", "fe80::1%"),
    ("127.0.0.1%1", "127.0.0.1%1"),
    ("1.example", "1.example"),
    ("10.0.0.0.example", "10.0.0.0.example"),
];

#[test]
fn a5_an_address_has_one_spelling() {
    for (spelt, expected) in ADDRESSES {
        assert_eq!(canonical(spelt, 22), expected, "{spelt}");
        assert_eq!(canonical(&format!("[{spelt}]"), 22), expected, "[{spelt}]");
        assert_eq!(canonical(spelt, 2222), format!("[{expected}]:2222"), "{spelt}");
        assert_eq!(canonical(expected, 22), expected, "what is canonical stays");
    }
}

/// Every spelling in the file against every spelling that is looked up, in each form of a line.
#[test]
fn a5_however_it_is_spelt_the_right_key_is_found_and_another_is_changed() {
    let (k, other) = (text("ed25519"), key("enc-aes256-ctr"));
    for (stored, _) in ADDRESSES {
        for (asked, address) in ADDRESSES {
            for port in [22, 2222] {
                let same = canonical(stored, port) == canonical(asked, port);
                let entry = if port == 22 { stored.to_owned() } else { format!("[{stored}]:{port}") };
                let hashed = learn_line(stored, port, &key("ed25519"), Some([3; 20])).unwrap_or_default();
                let mut files = vec![
                    format!("{entry} {k}"),
                    format!("one,{entry},two {k}"),
                    format!("*.example.org,{entry} {k}"),
                ];
                if !hashed.is_empty() {
                    files.push(hashed);
                }
                if port != 22 {
                    files.push(format!("[{stored}]:* {k}"));
                }
                for file in files {
                    let known = hosts(&file);
                    let right = known.lookup(asked, port, None, &key("ed25519"));
                    let wrong = known.lookup(asked, port, None, &other);
                    if same {
                        assert_eq!(short(&right), "match kh:1", "{asked} in {file:.60}");
                        assert_eq!(short(&wrong), "changed kh:1", "{asked} in {file:.60}");
                    } else {
                        assert_eq!(short(&right), "unknown", "{asked} ({address}) in {file:.60}");
                    }
                }
                let denied = hosts(&format!("*,!{entry} {k}")).lookup(asked, port, None, &key("ed25519"));
                assert_eq!(short(&denied), if same { "unknown" } else { "match kh:1" }, "{asked} !{entry}");
                let revoked =
                    hosts(&format!("@revoked {entry} {k}")).lookup(asked, port, None, &key("ed25519"));
                assert_eq!(short(&revoked), if same { "revoked kh:1" } else { "unknown" }, "{asked} {entry}");
            }
        }
    }
}

#[test]
fn a5_what_is_written_is_canonical() {
    let line = |host: &str, port| learn_line(host, port, &key("ed25519"), None).unwrap();
    assert!(line("0::1", 22).starts_with("::1 "));
    assert!(line("2130706433", 2222).starts_with("[127.0.0.1]:2222 "));
    assert!(line("[FE80:0::1%Eth0]", 2222).starts_with("[fe80::1%eth0]:2222 "));
}

/// The best of three, since tests share the machine.
fn best<T>(work: impl Fn() -> T) -> (std::time::Duration, T) {
    let run = || {
        let start = std::time::Instant::now();
        let value = work();
        (start.elapsed(), value)
    };
    let mut runs = [run(), run(), run()];
    runs.sort_by_key(|(time, _)| *time);
    let [first, ..] = runs;
    first
}

/// Seen in release: 35 ms plain, 31 ms hashed (the goal is 50). The limit is far above that, since a busy
/// machine must not fail the test, and far below what anything quadratic takes.
#[test]
fn u35_a_hundred_thousand_lines_load_quickly() {
    let (k, rsa) = (text("ed25519"), text("rsa"));
    let (wanted, wanted_rsa) = (key("ed25519"), key("rsa"));
    let file: String = (0..100_000).map(|i| format!("host{i}.example.org,192.0.2.{i} {k}\n")).collect();
    let (load, known) = best(|| KnownHosts::parse("kh", file.as_bytes()).unwrap());
    let (lookup, verdict) = best(|| known.lookup("host77777.example.org", 22, None, &wanted));
    assert_eq!(short(&verdict), "match kh:77778");
    let line = |i: u32| {
        let mut salt = [0; 20];
        salt[..4].copy_from_slice(&i.to_be_bytes());
        learn_line("somewhere.else", 22, &wanted, Some(salt)).unwrap() + "\n"
    };
    let hashed: String = (0..100_000).map(line).chain([format!("last.example {rsa}\n")]).collect();
    let (load_hashed, known) = best(|| KnownHosts::parse("kh", hashed.as_bytes()).unwrap());
    let (lookup_hashed, verdict) = best(|| known.lookup("last.example", 22, None, &wanted_rsa));
    assert_eq!(short(&verdict), "match kh:100001");
    println!(
        "plain: load {load:?}, lookup {lookup:?}; hashed: load {load_hashed:?}, lookup {lookup_hashed:?}"
    );
    // What each connection says of its files.
    let (warn, warnings) = best(|| known.warnings());
    println!("warnings of {} hashed lines: {warn:?}", known.len());
    assert!(warnings.is_empty() && warn.as_secs() < 5, "{warn:?}");
    let limit = if cfg!(debug_assertions) { 1500 } else { 300 };
    assert!(load.as_millis() < limit && load_hashed.as_millis() < limit, "{load:?} {load_hashed:?}");
}

/// Names of hosts have no case, in whatever way a line writes them (OpenSSH `match_hostname`).
#[test]
fn a13_the_case_of_a_host_does_not_count() {
    for names in ["host.example", "HOST.Example", "*.EXAMPLE", "HoSt.e?AMPLE", "HOST*,!Other.Example"] {
        let file = format!("{names} {}", text("ed25519"));
        for host in ["host.example", "Host.EXAMPLE", "HOST.EXAMPLE"] {
            assert_eq!(verdict(&file, host, 22, "ed25519"), "match kh:1", "{names} {host}");
        }
        let file = format!("@revoked {names} {}", text("ed25519"));
        assert_eq!(verdict(&file, "hOST.exampLE", 22, "ed25519"), "revoked kh:1", "{names}");
    }
    let file = format!("*,!HOST.example {}", text("ed25519"));
    assert_eq!(verdict(&file, "host.EXAMPLE", 22, "ed25519"), "unknown");
    let file = format!("[*.EXAMPLE]:2222 {}", text("ed25519"));
    assert_eq!(verdict(&file, "host.example", 2222, "ed25519"), "match kh:1");
}

proptest! {
    #![proptest_config(property::config(512))]

    #[test]
    fn h13_no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), host in ".{0,20}", port: u16) {
        if let Ok(known) = KnownHosts::parse("kh", &bytes) {
            let _ = known.lookup(&host, port, Some(&host), &key("ed25519"));
            let _ = known.known_algorithms(&host, port);
            let _ = known.warnings();
        }
    }

    #[test]
    fn h13_no_changed_byte_panics(at in 0usize..10_000, value: u8) {
        let mut bytes = data("hosts/known_hosts");
        let at = at % bytes.len();
        bytes[at] = value;
        let known = KnownHosts::parse("kh", &bytes).unwrap();
        let _ = known.lookup("plain.example", 22, None, &key("ed25519"));
        let _ = known.warnings();
    }

    /// Whatever stands before it, and wherever the line is cut that revokes.
    #[test]
    fn a4_what_revokes_is_never_overlooked(
        before in proptest::collection::vec(any::<u8>(), 0..200),
        known in any::<bool>(),
        cut in 2usize..90,
        changed in proptest::option::of((0usize..90, any::<u8>())),
    ) {
        let k = text("ed25519");
        let mut line = format!("@revoked h {}", k.trim_end()).into_bytes();
        line.truncate(cut.min(line.len()));
        let first = if known { format!("h {k}\n") } else { String::new() };
        let file = [&before[..], b"\n", first.as_bytes(), &line].concat();
        let hosts = KnownHosts::parse("kh", &file).unwrap();
        let verdict = hosts.lookup("h", 22, None, &key("ed25519"));
        prop_assert!(matches!(verdict, HostKeyStatus::Revoked { .. } | HostKeyStatus::Unreadable { .. }), "{:?}", verdict);
        // A damaged key: what cannot be read may be this one. (A key that is another one is another one.)
        let mut line = format!("@revoked h {}", k.trim_end()).into_bytes();
        if let Some((at, byte)) = changed {
            let at = 31 + at % (line.len() - 31);
            let base64 = byte.is_ascii_alphanumeric() || b"+/ \t\r\n".contains(&byte);
            if !base64 {
                line[at] = byte;
            }
        }
        let hosts = KnownHosts::parse("kh", &line).unwrap();
        let verdict = hosts.lookup("h", 22, None, &key("ed25519"));
        prop_assert!(matches!(verdict, HostKeyStatus::Revoked { .. } | HostKeyStatus::Unreadable { .. }), "{:?}", verdict);
    }

    #[test]
    fn a5_spellings_of_any_address(bits: u128, v4: u32, keep in 0u128..=0xff, cut in 1usize..=4, radix in 0usize..3) {
        // Groups of zeros, which have many spellings.
        let group = |i: u32| if keep >> i & 1 == 1 { bits & (0xffff << (16 * i)) } else { 0 };
        let ip = std::net::Ipv6Addr::from_bits((0..8).map(group).sum());
        let long: Vec<String> = ip.segments().iter().map(|s| format!("{s:04X}")).collect();
        let short = canonical(&ip.to_string(), 22);
        prop_assert_eq!(canonical(&long.join(":"), 22), &short[..]);
        prop_assert_eq!(short.parse::<std::net::Ipv6Addr>().unwrap(), ip);
        // The last of `cut` numbers holds what is left.
        let [a, b, c, _] = v4.to_be_bytes().map(u32::from);
        let parts = [a, b, c].into_iter().take(cut - 1);
        let last = v4 & u32::MAX.checked_shr(8 * (cut as u32 - 1)).unwrap();
        let number = |n: u32| [format!("{n}"), format!("0{n:o}"), format!("{n:#x}")][radix].clone();
        let spelt: Vec<String> = parts.chain([last]).map(number).collect();
        prop_assert_eq!(canonical(&spelt.join("."), 22), std::net::Ipv4Addr::from(v4).to_string());
    }

    #[test]
    fn h09_what_is_written_is_one_line_for_one_host(host in "[ -~]{1,12}", port: u16) {
        if let Ok(line) = learn_line(&host, port, &key("ed25519"), None) {
            prop_assert_eq!(hosts(&line).len(), 1);
            prop_assert_eq!(verdict(&line, &host, port, "ed25519"), "match kh:1");
            prop_assert_eq!(verdict(&line, "another.host", port, "ed25519"), "unknown");
        }
    }
}

#[test]
fn f26_many_stars_take_no_time() {
    let text = [b'a'; 10_000];
    let start = std::time::Instant::now();
    assert!(konko_core::text::pattern::matches(&b"*a".repeat(1000), &text));
    assert!(!konko_core::text::pattern::matches(&[&b"*a".repeat(1000)[..], b"b"].concat(), &text));
    assert!(!konko_core::text::pattern::matches(&[&b"*".repeat(1000)[..], b"b"].concat(), &text));
    assert!(start.elapsed().as_millis() < 100, "{:?}", start.elapsed());
}
