//! Authorized keys: each option, and what must not let anybody in.

mod property;

use std::net::IpAddr;

use konko_core::authorized_keys::{AuthorizedKeys, CommandConflict, KeyOptions, OptionProblem, Problem};
use konko_core::keys::PublicKey;
use konko_core::text::{BadLine, OpenQuote, TooLarge};
use proptest::prelude::*;

fn key(name: &str) -> PublicKey {
    let path = format!("{}/tests/data/keys/{name}.pub", env!("CARGO_MANIFEST_DIR"));
    PublicKey::from_openssh_line(&std::fs::read(path).unwrap()).unwrap().0
}

fn text(name: &str) -> String {
    key(name).to_openssh_line("")
}

fn keys(file: &str) -> AuthorizedKeys {
    AuthorizedKeys::parse("ak", file.as_bytes()).unwrap()
}

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

/// The options of a line with the Ed25519 key.
fn options(options: &str) -> KeyOptions {
    let keys = keys(&format!("{options} {}", text("ed25519")));
    let found = keys.find(&key("ed25519"), address("192.0.2.1"), Some(0));
    found.unwrap_or_else(|| panic!("{options}: {:?}", keys.warnings())).options.clone()
}

/// Why a line lets nobody in.
fn problem(line: &str) -> Problem {
    let keys = keys(line);
    assert!(keys.entries().is_empty(), "{line}");
    keys.warnings()[0].problem.clone()
}

#[test]
fn a_file_of_several_keys() {
    let file = format!(
        "# the keys\n\n \t{} alice@example.org \u{1b}[2J\r\nrestrict\t {}\t# no comment sign here\n   # a comment\n{}",
        text("ed25519"),
        text("rsa"),
        text("ecdsa384"),
    );
    let keys = keys(&file);
    assert_eq!((keys.entries().len(), keys.warnings().len()), (3, 0));
    let entry = keys.find(&key("ed25519"), None, None).unwrap();
    assert_eq!((entry.options.clone(), entry.at.to_string()), (KeyOptions::default(), "ak:3".into()));
    assert_eq!(entry.comment().to_string(), "alice@example.org \\x1b[2J", "F-37");
    let entry = keys.find(&key("rsa"), None, None).unwrap();
    assert_eq!((&entry.options, entry.key()), (&KeyOptions::restricted(), &key("rsa")));
    assert_eq!(entry.comment().as_bytes(), b"# no comment sign here");
    assert!(keys.find(&key("ecdsa384"), None, None).is_some(), "a last line without its end");
    assert!(keys.find(&key("ecdsa256"), None, None).is_none());
    assert!(AuthorizedKeys::new().find(&key("rsa"), None, None).is_none());
}

#[test]
fn permissions_are_read_from_left_to_right() {
    let all = |o: &KeyOptions| [o.pty, o.port_forwarding, o.agent_forwarding, o.x11_forwarding, o.user_rc];
    let table = [
        ("restrict", [false; 5]),
        ("RESTRICT,Pty", [true, false, false, false, false]),
        ("pty,restrict", [false; 5]),
        ("restrict,pty,no-pty", [false; 5]),
        ("no-pty,no-port-forwarding,no-agent-forwarding,no-X11-forwarding,no-user-rc", [false; 5]),
        ("restrict,pty,port-forwarding,agent-forwarding,X11-forwarding,user-rc", [true; 5]),
        ("no-touch-required", [true; 5]),
        ("no-pty", [false, true, true, true, true]),
    ];
    for (text, expected) in table {
        assert_eq!(all(&options(text)), expected, "{text}");
    }
}

#[test]
fn values_with_everything_in_them() {
    let o = options(r#"command="echo \"a, b\" 'c=d' \n \\ ",environment="LANG=a=b",environment="A_1=""#);
    assert_eq!(o.command.as_deref(), Some(&br#"echo "a, b" 'c=d' \n \\ "#[..]));
    let environment: Vec<(&str, &[u8])> = o.environment.iter().map(|(n, v)| (&n[..], &v[..])).collect();
    assert_eq!(environment, [("LANG", &b"a=b"[..]), ("A_1", b"")]);
    assert_eq!(options(r#"environment="A=1",environment="A=2""#).environment.len(), 1, "the first stays");
    assert_eq!(options(r#"command="""#).command.as_deref(), Some(&b""[..]), "a command that does nothing");
    assert_eq!(options(r#"tunnel="0""#), KeyOptions::default(), "nobody is given a tunnel");
}

/// The lines that `conformance/tests/authorized_keys.rs` holds against sshd, for keys of every kind.
#[test]
fn a17_options_let_in_a_plain_key_when_sshd_does() {
    let path = format!("{}/tests/data/authorized_keys/options.txt", env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(path).unwrap();
    let rows = table.lines().filter(|line| !line.starts_with('#'));
    let mut count = 0;
    for (expected, options) in rows.map(|line| line.split_once(' ').unwrap()) {
        for name in ["ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa"] {
            let file = keys(&format!("{options} {} a comment", text(name)));
            // 2026.
            let found = file.find(&key(name), address("127.0.0.1"), Some(1_780_000_000));
            assert_eq!(found.is_some(), expected == "yes", "{options} {name}: {:?}", file.warnings());
            // A line that cannot be meant is said to be one; the next line may let the key in.
            let later = keys(&format!("{options} {0}\n{0}", text(name)));
            assert!(later.find(&key(name), address("127.0.0.1"), Some(1_780_000_000)).is_some());
        }
        count += 1;
    }
    assert!(count > 100);
}

#[test]
fn a17_principals_are_for_authorities() {
    let k = text("ed25519");
    let none = Problem::Option(OptionProblem::NoAuthority("principals"));
    assert_eq!(problem(&format!("principals=\"root\" {k}")), none);
    assert_eq!(
        none.to_string(),
        "the option principals is for keys that sign certificates (cert-authority); the line is ignored"
    );
}

#[test]
fn as13_from_decides_who_may_use_the_key() {
    let file =
        format!("from=\"192.0.2.0/24,!192.0.2.7\" {0}\nfrom=\"192.0.2.7\",restrict {0}\n", text("ed25519"));
    let find = |source| keys(&file).find(&key("ed25519"), source, None).map(|e| e.at.line);
    assert_eq!(find(address("192.0.2.1")), Some(1));
    assert_eq!(find(address("::ffff:192.0.2.1")), Some(1));
    assert_eq!(find(address("192.0.2.7")), Some(2), "a later line may let in");
    assert_eq!(find(address("198.51.100.1")), None);
    assert_eq!(find(address("2001:db8::1")), None);
    assert_eq!(find(None), None, "a peer without an address");
    for from in ["", "192.0.2.1/24", "*,!host.example", "*, !192.0.2.7"] {
        let problem = problem(&format!("from=\"{from}\" {}", text("ed25519")));
        assert_eq!(problem, Problem::Option(OptionProblem::Value("from")), "{from}");
    }
}

#[test]
fn a_key_expires() {
    let file = format!("expiry-time=\"20260101Z\" {}", text("ed25519"));
    let at = 1_767_225_600;
    let found = |now| keys(&file).find(&key("ed25519"), None, now).is_some();
    assert!(found(Some(0)) && found(Some(at - 1)));
    assert!(!found(Some(at)) && !found(Some(u64::MAX)));
    assert!(!found(None), "nobody knows what time it is");
    assert_eq!(options(r#"expiry-time="20990101Z",expiry-time="20260101Z""#).expires(), Some(at));
    let late = options(r#"expiry-time="20990101Z""#);
    assert_eq!(options(r#"expiry-time="20260101Z""#).and(late).unwrap().expires(), Some(at));
    assert_eq!(
        options(r#"expiry-time="20260101""#).expires(),
        Some(at - 14 * 3600),
        "in no zone is it later"
    );
}

#[test]
fn forwarding_is_bounded_by_permits() {
    let o = options(r#"permitopen="localhost:80",permitopen="[::1]:*",permitopen="*:443""#);
    for (host, port, expected) in [
        ("localhost", 80, true),
        ("localhost", 81, false),
        ("LOCALHOST", 80, false),
        ("::1", 9, true),
        ("anything", 443, true),
        ("anything", 80, false),
    ] {
        assert_eq!(o.may_connect(host.as_bytes(), port), expected, "{host}:{port}");
    }
    assert!(o.may_listen(b"anything", 1), "permitopen says nothing of the other direction");
    let o = options(r#"permitlisten="8080",permitlisten="*.Example:*",permitlisten="localhost:22""#);
    for (host, port, expected) in [
        ("anything", 8080, true),
        ("", 8080, true),
        ("a.EXAMPLE", 0, true),
        ("localhost", 22, true),
        ("localhost", 0, false),
        ("localhost", 23, false),
    ] {
        assert_eq!(o.may_listen(host.as_bytes(), port), expected, "{host}:{port}");
    }
    assert!(o.may_connect(b"anything", 1));
    let o = options(r#"restrict,permitopen="localhost:80",permitlisten="8080""#);
    assert!(
        !o.may_connect(b"localhost", 80) && !o.may_listen(b"", 8080),
        "a permit allows nothing by itself"
    );
    assert!(!options("no-port-forwarding").may_connect(b"localhost", 80));
    for (name, value) in [
        ("permitopen", "80"),
        ("permitopen", "a"),
        ("permitopen", ":80"),
        ("permitopen", "a:"),
        ("permitopen", "a:0"),
        ("permitopen", "a:65536"),
        ("permitopen", "a:+80"),
        ("permitopen", "::1:80"),
        ("permitopen", "[::1]80"),
        ("permitopen", "a b:80"),
        ("permitlisten", ""),
        ("permitlisten", "a"),
        ("permitlisten", "0"),
    ] {
        let problem = problem(&format!("{name}=\"{value}\" {}", text("ed25519")));
        assert_eq!(problem, Problem::Option(OptionProblem::Value(name)), "{name} {value}");
    }
}

#[test]
fn f14_what_is_not_understood_lets_nobody_in() {
    let k = text("ed25519");
    let blob = k.split(' ').nth(1).unwrap();
    let unknown = |text: &str| Problem::Option(OptionProblem::Unknown(text.into()));
    let quoting = |name| Problem::Option(OptionProblem::Quoting(name));
    let value = |name| Problem::Option(OptionProblem::Value(name));
    let table = [
        (format!("comand=\"x\" {k}"), unknown("comand")),
        (format!("no-restrict {k}"), unknown("no-restrict")),
        (format!("no-cert-authority {k}"), unknown("no-cert-authority")),
        (format!("restrict, pty {k}"), unknown("")),
        (format!("restrict,,pty {k}"), unknown("")),
        (format!(",restrict {k}"), unknown("")),
        (format!("pty=\"yes\" {k}"), unknown("pty")),
        (format!("\u{1b}[2J {k}"), unknown("\\x1b[2J")),
        (format!("command {k}"), quoting("command")),
        (format!("command=x {k}"), quoting("command")),
        (format!("command=\"x\"y {k}"), unknown("y")),
        (format!("command=\"x\\\" {k}"), Problem::Quotes(OpenQuote)),
        (format!("command=\"x {k}"), Problem::Quotes(OpenQuote)),
        (format!("command=\"x\",command=\"x\" {k}"), Problem::Option(OptionProblem::Twice("command"))),
        (format!("from=\"*\",from=\"*\" {k}"), Problem::Option(OptionProblem::Twice("from"))),
        (format!("environment=\"A\" {k}"), value("environment")),
        (format!("environment=\"=b\" {k}"), value("environment")),
        (format!("environment=\"A-B=c\" {k}"), value("environment")),
        (format!("expiry-time=\"tomorrow\" {k}"), value("expiry-time")),
        ("restrict".into(), Problem::Fields),
        ("restrict ssh-ed25519".into(), Problem::Fields),
        ("ssh-ed25519".into(), Problem::Fields),
        (format!("restrict\0 {k}"), Problem::Line(BadLine::Nul)),
        (format!("{k} {}", "x".repeat(16 * 1024)), Problem::Line(BadLine::TooLong(16 * 1024))),
    ];
    for (line, expected) in table {
        assert_eq!(problem(&line), expected, "{line:.80}");
    }
    // Go 7626c50: the option was taken for the type and the key came in without it.
    assert_eq!(problem(&format!("restrict {blob}")), Problem::Fields);
    for line in [
        format!("ssh-rsa {blob}"),
        format!("restrict ssh-rsa {blob}"),
        format!("ssh-ed25519 {}", &blob[..blob.len() - 4]),
        format!("ssh-ed25519 {blob}="),
        "ssh-dss AAAAB3NzaC1kc3MAAACB".into(),
        "restrict ssh-dss AAAAB3NzaC1kc3MAAACB".into(),
        "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t".into(),
    ] {
        assert!(matches!(problem(&line), Problem::Key(_)), "{line}: {:?}", problem(&line));
    }
    // Dropbear 8d8e1930: what follows a long line is a line of its own, and its end is none.
    let long = format!("command=\"{}\" {k}\n{}", "x".repeat(16 * 1024), text("rsa"));
    let keys = keys(&long);
    assert!(keys.find(&key("ed25519"), None, None).is_none());
    assert_eq!(keys.find(&key("rsa"), None, None).unwrap().at.line, 2);
    assert_eq!(keys.warnings()[0].to_string(), "ak:1: the line is longer than 16 KiB; the line is ignored");
}

#[test]
fn f14_a_file_is_bounded() {
    let line = b"comand=\"x\"\n";
    let file: Vec<u8> = line.iter().copied().cycle().take(1024 * 1024).collect();
    let keys = AuthorizedKeys::parse("ak", &file).unwrap();
    assert_eq!(keys.warnings().len(), 1000);
    assert_eq!(
        AuthorizedKeys::parse("ak", &[file, vec![b'\n']].concat()).unwrap_err(),
        TooLarge { max: 1024 * 1024 }
    );
}

#[test]
fn as14_factors_restrict_together() {
    let one = options(r#"command="a",no-pty,permitopen="x:1",permitopen="y:2",from="192.0.2.0/24""#);
    let two = options(r#"no-agent-forwarding,permitopen="y:2",permitopen="z:3",from="*.1""#);
    let both = one.clone().and(two.clone()).unwrap();
    assert_eq!(both.command, one.command);
    assert!(!both.pty && !both.agent_forwarding && both.user_rc);
    assert!(both.may_connect(b"y", 2) && !both.may_connect(b"x", 1) && !both.may_connect(b"z", 3));
    assert!(both.admits(address("192.0.2.1"), None) && !both.admits(address("192.0.2.2"), None));
    assert_eq!(one.clone().and(options(r#"command="b""#)), Err(CommandConflict));
    assert_eq!(one.clone().and(KeyOptions::default()), Ok(one));
}

/// An option as somebody would write it.
fn option() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            "restrict",
            "pty",
            "no-pty",
            "port-forwarding",
            "no-port-forwarding",
            "agent-forwarding",
            "no-agent-forwarding",
            "X11-forwarding",
            "user-rc",
            "no-touch-required",
        ])
        .prop_map(String::from),
        (1u16.., "[a-z.*]{1,9}").prop_map(|(port, host)| format!("permitopen=\"{host}:{port}\"")),
        "[A-Z_]{1,9}=[ -!#-\\[\\]-~]{0,9}".prop_map(|text| format!("environment=\"{text}\"")),
    ]
}

proptest! {
    #![proptest_config(property::config(512))]

    #[test]
    fn f14_no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(keys) = AuthorizedKeys::parse("ak", &bytes) {
            prop_assert!(keys.entries().is_empty());
            let shown: String = keys.warnings().iter().map(ToString::to_string).collect();
            prop_assert!(!shown.chars().any(char::is_control), "{}", shown);
        }
    }

    /// One changed byte in front of the key never lifts a restriction: the line means the same, or
    /// less, or nothing. (Only what is inside a value may become another value.)
    #[test]
    fn f14_no_changed_byte_lifts_a_restriction(at in 0usize..16, value: u8) {
        let line = format!("restrict,no-pty {}", text("ed25519"));
        let mut bytes = line.clone().into_bytes();
        prop_assume!(value != b'\n' && value != b'#');
        bytes[at] = value;
        let keys = AuthorizedKeys::parse("ak", &bytes).unwrap();
        if let Some(entry) = keys.find(&key("ed25519"), None, None) {
            prop_assert_eq!(&entry.options, &KeyOptions::restricted(), "{}", String::from_utf8_lossy(&bytes));
        }
    }

    /// However options are put together: the line is read, and each command comes back as it was.
    #[test]
    fn what_is_written_is_read(list in proptest::collection::vec(option(), 0..6), command in "[ -~\u{e9}]{0,30}") {
        prop_assume!(!command.ends_with('\\') && !command.contains("\\\""));
        let quoted = format!("command=\"{}\"", command.replace('"', "\\\""));
        let list = [list, vec![quoted]].concat().join(",");
        let found = options(&list);
        prop_assert_eq!(found.command.as_deref(), Some(command.as_bytes()));
        let restricted = options(&format!("{list},restrict"));
        prop_assert!(!restricted.pty && !restricted.port_forwarding && !restricted.agent_forwarding);
        prop_assert_eq!(restricted.clone().and(found.clone()).unwrap().pty, false);
        prop_assert_eq!(found.clone().and(restricted).unwrap().pty, false);
    }

    /// A line that lost its beginning lets nobody in with more than it said: all that is left of the
    /// options is either not known, or the restriction itself.
    #[test]
    fn f14_a_line_without_its_beginning_is_still_restricted(at in 1usize..60) {
        let line = format!("from=\"192.0.2.1\",command=\"a b\",restrict {}", text("ed25519"));
        let start = line.find("ssh-").unwrap();
        let rest = &line[at.min(start - 2)..];
        if let Some(entry) = keys(rest).find(&key("ed25519"), address("192.0.2.1"), None) {
            prop_assert!(!entry.options.pty && !entry.options.port_forwarding, "{}", rest);
        }
    }
}
