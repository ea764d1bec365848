//! A file of known hosts that is changed: what is meant changes, and nothing else does.

mod property;

use konko_core::hosts::{HostKeyStatus, KnownHosts, KnownHostsFile, Means, learn_line};
use konko_core::keys::PublicKey;
use konko_core::{Rng, Seed};
use proptest::prelude::*;

fn key(name: &str) -> PublicKey {
    let path = format!("{}/tests/data/keys/{name}.pub", env!("CARGO_MANIFEST_DIR"));
    PublicKey::from_openssh_line(&std::fs::read(path).unwrap()).unwrap().0
}

fn text(name: &str) -> String {
    key(name).to_openssh_line("")
}

fn file(text: &str) -> KnownHostsFile {
    KnownHostsFile::parse(text.as_bytes()).unwrap()
}

fn after(file: &KnownHostsFile) -> String {
    String::from_utf8(file.to_bytes()).unwrap()
}

fn rng() -> Rng {
    Rng::from_seed(&Seed::new([7; 32]))
}

#[test]
fn s40_a_host_is_removed_however_it_is_written_and_the_count_is_told() {
    let (ed, rsa) = (text("ed25519"), text("rsa"));
    let hashed = learn_line("host.example", 22, &key("ed25519"), Some([9; 20])).unwrap();
    let on_port = learn_line("host.example", 2222, &key("ed25519"), Some([8; 20])).unwrap();
    let all = [
        "# my hosts".into(),
        format!("host.example {ed}"),
        format!("other.example,HOST.example {rsa} a comment"),
        hashed,
        format!("[host.example]:2222 {ed}"),
        on_port,
        format!("*.example,!host.example {ed}"),
        format!("host.* {rsa}"),
        format!("@revoked host.example {rsa}"),
        format!("@cert-authority host.example {ed}"),
        "host.example nonsense".into(),
        "host.example ssh-future AAAACnNzaC1mdXR1cmU=".into(),
        String::new(),
        format!("last.example {ed}"),
    ];
    let whole = all.join("\n");
    let kept = |gone: &[usize]| {
        (0..all.len()).filter(|i| !gone.contains(i)).map(|i| all[i].clone()).collect::<Vec<_>>()
    };

    let mut f = file(&whole);
    assert_eq!(
        f.remove("Host.Example.", 22),
        5,
        "plain, several names, hashed, a pattern, a type of tomorrow"
    );
    assert_eq!(after(&f), kept(&[1, 2, 3, 7, 11]).join("\n") + "\n");
    let known = KnownHosts::parse("f", &f.to_bytes()).unwrap();
    assert!(matches!(known.lookup("host.example", 22, None, &key("rsa")), HostKeyStatus::Revoked { .. }));
    assert!(matches!(known.lookup("host.example", 22, None, &key("ed25519")), HostKeyStatus::Unknown(_)));

    let mut f = file(&whole);
    assert_eq!(f.remove("host.example", 2222), 2);
    assert_eq!(after(&f), kept(&[4, 5]).join("\n") + "\n");

    let mut f = file(&whole);
    assert_eq!(f.remove_key("host.example", 22, &key("rsa")), 2);
    assert_eq!(after(&f), kept(&[2, 7]).join("\n") + "\n");

    let mut f = file(&whole);
    assert_eq!((f.remove("nobody.invalid", 22), f.is_changed()), (0, false));
    assert_eq!(after(&f), whole, "and what is not changed does not even get a last line feed");
}

#[test]
fn lines_are_found_with_their_numbers_and_what_they_mean() {
    let (ed, rsa) = (text("ed25519"), text("rsa"));
    let f = file(&format!(
        "\u{feff}# c\n\n a,b\t{ed}\tof a  \r\n@revoked b {rsa}\n@cert-authority b {ed}\nb ssh-rsa damaged\nc {ed}\n"
    ));
    let found = f.find("b", 22);
    let of = |e: &konko_core::hosts::Entry<'_>| (e.number, e.means, e.key().is_ok());
    assert_eq!(
        found.iter().map(of).collect::<Vec<_>>(),
        [
            (3, Means::Known, true),
            (4, Means::Revoked, true),
            (5, Means::Authority, true),
            (6, Means::Known, false)
        ]
    );
    assert_eq!(found[0].comment(), b"of a");
    assert_eq!(found[0].text, format!(" a,b\t{ed}\tof a  \r").as_bytes());
    assert_eq!(found[0].key(), Ok(key("ed25519")));
}

#[test]
fn names_are_hashed_one_a_line_and_patterns_stay() {
    let (ed, rsa) = (text("ed25519"), text("rsa"));
    let hash = learn_line("h", 22, &key("rsa"), Some([1; 20])).unwrap();
    let whole = format!(
        "# c\nA.example,[b]:2222 {ed} of both\r\n{hash}\n*.example {rsa}\n@revoked d {rsa}\nbroken\nlast {rsa}"
    );
    let mut f = file(&whole);
    let report = f.hash_names(&mut rng());
    assert_eq!((report.hashed, &report.patterns[..]), (3, &[4][..]));
    let now = after(&f);
    let lines: Vec<&str> = now.split_inclusive('\n').collect();
    assert_eq!(lines.len(), 8);
    assert_eq!(lines[0], "# c\n");
    for line in [lines[1], lines[2]] {
        assert!(line.starts_with("|1|") && line.ends_with(&format!(" {ed} of both\r\n")), "{line}");
    }
    assert_eq!(lines[3..7].concat(), format!("{hash}\n*.example {rsa}\n@revoked d {rsa}\nbroken\n"));
    assert!(lines[7].starts_with("|1|") && lines[7].ends_with(&format!(" {rsa}\n")));
    assert!(!now.contains("A.example") && !now.contains("last"));

    // What was known is known, and by the same lines but for their numbers.
    let known = KnownHosts::parse("f", now.as_bytes()).unwrap();
    for (host, port, name, match_at) in
        [("a.example", 22, "ed25519", 2), ("b", 2222, "ed25519", 3), ("last", 22, "rsa", 8)]
    {
        let status = known.lookup(host, port, None, &key(name));
        assert!(matches!(&status, HostKeyStatus::Match { at } if at.line == match_at), "{host} {status:?}");
    }
    // Salts differ, so that two names cannot be told to be the same.
    let salts: std::collections::BTreeSet<&str> = now.lines().filter_map(|l| l.get(3..31)).collect();
    assert_eq!(salts.len(), now.lines().filter(|l| l.len() > 31).count(), "{salts:?}");
}

#[test]
fn a_key_is_added_on_a_line_of_its_own_and_bad_names_are_not() {
    let ed = text("ed25519");
    let mut f = file(&format!("a {ed}"));
    f.add("b", 2222, &key("rsa"), None).unwrap();
    assert_eq!(after(&f), format!("a {ed}\n[b]:2222 {}\n", text("rsa")));
    f.add("c", 22, &key("rsa"), Some([3; 20])).unwrap();
    assert_eq!(f.find("c", 22).len(), 1);
    let before = after(&f);
    for name in ["a\nb", "a b", "*", "!a", "@revoked", "|1|x", ""] {
        assert!(f.add(name, 22, &key("rsa"), None).is_err(), "{name:?}");
    }
    assert_eq!(after(&f), before);
}

#[test]
fn what_openssh_calls_invalid_is_told_and_kept() {
    let ed = text("ed25519");
    let whole = format!("@other a {ed}\na\na ssh-ed25519\n|1|x|y {ed}\na ssh-ed25519 damaged\na {ed}\n");
    let mut f = file(&whole);
    assert_eq!(f.damaged().iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(f.remove("a", 22), 2);
    assert_eq!(after(&f), whole.split_inclusive('\n').take(4).collect::<String>());
}

proptest! {
    #![proptest_config(property::config(300))]

    #[test]
    fn a_file_that_is_not_changed_is_the_file(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let f = KnownHostsFile::parse(&bytes).unwrap();
        prop_assert_eq!(f.to_bytes(), bytes);
    }

    /// Lines of every kind, in any order: removing takes the lines that lookups used, and no others.
    #[test]
    fn what_is_removed_is_unknown_and_all_else_as_before(picks in proptest::collection::vec((0..9usize, 0..3usize), 0..12)) {
        let ends = ["\n", "\r\n", " \n"];
        let lines: Vec<String> = picks.iter().map(|(kind, end)| {
            let hash = |name: &str| learn_line(name, 22, &key("ed25519"), Some([*kind as u8; 20])).unwrap();
            let line = match kind {
                0 => format!("a {}", text("ed25519")),
                1 => format!("b,a {}", text("rsa")),
                2 => hash("a"),
                3 => hash("b"),
                4 => format!("b {}", text("ed25519")),
                5 => "# a".into(),
                6 => "a".into(),
                7 => format!("@revoked c {}", text("ed25519")),
                _ => String::new(),
            };
            line + ends[*end]
        }).collect();
        let mut f = file(&lines.concat());
        let gone = |(kind, _): &&(usize, usize)| *kind < 3;
        prop_assert_eq!(f.remove("a", 22), picks.iter().filter(gone).count());
        let rest: String =
            picks.iter().zip(&lines).filter(|(p, _)| !gone(p)).map(|(_, line)| line.as_str()).collect();
        prop_assert_eq!(after(&f), rest);
        prop_assert!(f.find("a", 22).is_empty());
    }
}
