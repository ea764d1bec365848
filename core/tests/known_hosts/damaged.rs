//! Lines and files that cannot be read, and may revoke any key.

use super::*;

/// A damaged line marked `@revoked`, and which lookups (host, key) it refuses.
#[test]
fn a4_a_damaged_line_refuses_what_it_may_revoke_and_nothing_else() {
    let (k, rsa) = (text("ed25519"), text("rsa"));
    let blob = k.split(' ').nth(1).unwrap();
    let nul = |at: usize, line: &str| format!("{}\0{}", &line[..at], &line[at..]);
    let whole = format!("@revoked h {k}");
    let utf16 = |line: &str| line.chars().flat_map(|c| [c, '\0']).collect::<String>();
    // Who is refused: h with Ed25519, h with RSA, another host with Ed25519.
    let table = [
        (format!("@revoked h {}", &k[..k.len() - 4]), [true, false, false], "the key's type is sure"),
        (format!("@revoked h {}!", &k[..k.len() - 1]), [true, false, false], "not base64"),
        (format!("@revoked h,*.x {}", &k[..k.len() - 4]), [true, false, false], "a list"),
        (format!("@revoked !h,* {}", &k[..k.len() - 4]), [false, false, true], "a negation"),
        (format!("@revoked h ssh-rsa {blob}"), [true, true, false], "one of the types is wrong"),
        ("@revoked h ssh-ed25519 AAAA".into(), [true, true, false], "hardly a key"),
        ("@revoked h ssh-ed25519".into(), [true, true, false], "no key"),
        ("@revoked h".into(), [true; 3], "the name may go on"),
        ("@revoked".into(), [true; 3], "no name"),
        ("@revo".into(), [true; 3], "cut"),
        ("@revok h".into(), [false; 3], "another word"),
        ("@cert-authority".into(), [false; 3], "an authority alone vouches for nobody"),
        (format!("@Revoked h {k}"), [true, false, false], "another case"),
        (format!("@revoked @cert-authority h {k}"), [true, false, false], "two markers"),
        (format!("@cert-authority @revoked h {k}"), [true, false, false], "two markers"),
        (format!("@revoked |1|AAAA|AAAA {k}"), [true, false, true], "any name may be hashed there"),
        (
            format!("@revoked |1|{0}|{0} {k}", "!".repeat(28)),
            [true, false, true],
            "the same, of the right length",
        ),
        (nul(3, &whole), [true, false, false], "NUL in the marker"),
        (nul(10, &whole), [true, false, true], "NUL in the name"),
        (nul(20, &whole), [true, true, false], "NUL in the type"),
        (nul(40, &whole), [true, true, false], "NUL in the key"),
        (format!("{whole} c\0"), [true, false, false], "NUL in the comment"),
        (utf16(&whole), [true; 3], "UTF-16"),
        (format!("\u{feff}{whole}"), [true, false, false], "a byte order mark"),
        (format!("{whole} {}", "c".repeat(70_000)), [true, false, false], "too long"),
        (format!("@revoked h ssh-dss {}", &rsa[8..]), [true, true, false], "the key says another type"),
        ("@revoked h ssh-dss AAAAB3NzaC1kc3MAAACB".into(), [false; 3], "a type that no host shows"),
        (format!("#@revoked h {}", &k[..k.len() - 4]), [false; 3], "a comment"),
        (format!("h {}", &k[..k.len() - 4]), [false; 3], "no marker"),
    ];
    for (line, refused, why) in table {
        for file in [format!("first line\n{line}"), format!("\n\u{a0}\n{line}\r\n").replace('\u{a0}', "#")] {
            let known = hosts(&file);
            let asked = [("h", "ed25519"), ("h", "rsa"), ("other", "ed25519")];
            let got = asked.map(|(host, name)| {
                let verdict = known.lookup(host, 22, None, &key(name));
                matches!(verdict, HostKeyStatus::Unreadable { what } if what.at.line > 1)
            });
            assert_eq!(got, refused, "{why}: {line:.80}");
            let said = known.warnings().iter().any(|w| w.problem.revokes);
            assert_eq!(said, refused.contains(&true), "{why}: {line:.80}");
        }
    }
    // Wherever a line is cut that revokes, the key is refused.
    for cut in 2..whole.len() {
        let verdict = verdict(&format!("h {k}\n{}", &whole[..cut]), "h", 22, "ed25519");
        assert!(verdict.starts_with("unreadable") || cut == whole.trim_end().len(), "{cut}: {verdict}");
    }
}

#[test]
fn a4_a_file_that_cannot_be_read_may_revoke_any_key() {
    let k = text("ed25519");
    let mut known = hosts(&format!("h {k}\n@revoked r {k}\n"));
    known.add_unreadable("global", "permission denied\n\x1b[2J");
    let HostKeyStatus::Unreadable { what } = known.lookup("h", 22, None, &key("ed25519")) else { panic!() };
    assert_eq!(what.at.line, 0, "the whole file");
    assert!(what.to_string().starts_with("global: permission denied") && !what.to_string().contains('\x1b'));
    assert_eq!(short(&known.lookup("r", 22, None, &key("ed25519"))), "revoked kh:2", "this is sure");
    let mut known = hosts("");
    assert!(known.add_file("big", &vec![b'\n'; 16 * 1024 * 1024 + 1]).is_err());
    assert_eq!(short(&known.lookup("h", 22, None, &key("ed25519"))), "unreadable big");
}

/// Damaged lines are not kept without end, but for those that may revoke: each refuses what it may, however
/// many there are, and nothing else.
#[test]
fn a4_however_many_damaged_lines_there_are() {
    let k = text("ed25519");
    let start = std::time::Instant::now();
    for lines in [1000, 1001, 500_000] {
        let damaged = |host: &str| format!("@revoked {host} ssh-ed25519 AAAA\n");
        let many = format!("h {k}\n{}{}", damaged("x").repeat(lines), damaged("z"));
        let known = hosts(&many);
        let got = ["h", "x", "z"].map(|host| short(&known.lookup(host, 22, None, &key("ed25519"))));
        let last = format!("unreadable kh:{}", lines + 2);
        assert_eq!(got, ["match kh:1", "unreadable kh:2", &last]);
    }
    let rubbish = format!("{}@revoked h {}", "x\n".repeat(1_000_000), &k[..k.len() - 4]);
    assert_eq!(verdict(&rubbish, "h", 22, "ed25519"), "unreadable kh:1000001");
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
