//! sshd_config(5): lines and blocks, and which count for whom.

use konko_core::ssh_config::{Answer, ConfigError, Found, Question};
use konko_core::sshd_config::{Connection, Reading, ServerConfig};

fn read(files: &[(&str, &str)]) -> Result<ServerConfig, ConfigError> {
    let mut reading = Reading::new("/etc/ssh/sshd_config");
    while let Some(question) = reading.question() {
        let file = |path: &[u8]| files.iter().find(|(name, _)| name.as_bytes() == path);
        let bytes = |text: &str| Found::Bytes(text.as_bytes().to_vec());
        reading.answer(match &question {
            Question::File { path, .. } => {
                file(path).map_or(Answer::No, |(_, text)| Answer::File(bytes(text)))
            }
            Question::Files(path) => {
                let found = file(path).map(|(name, text)| (name.as_bytes().to_vec(), bytes(text)));
                Answer::Files(found.into_iter().collect())
            }
            _ => Answer::No,
        });
    }
    reading.finish()
}

fn of(text: &str) -> Result<ServerConfig, ConfigError> {
    read(&[("/etc/ssh/sshd_config", text)])
}

fn connection<'c>(user: &'c str, address: &str, groups: &'c [Vec<u8>]) -> Connection<'c> {
    let mut connection = Connection::default();
    connection.user = Some(user.as_bytes());
    connection.groups = groups;
    connection.address = address.parse().ok();
    connection.host = Some(b"client.example");
    connection.local_address = "192.0.2.1".parse().ok();
    connection.local_port = Some(2222);
    connection
}

#[test]
fn blocks_count_for_whom_they_are_about() {
    let staff = [b"staff".to_vec(), b"www".to_vec()];
    for (conditions, holds) in [
        ("all", true),
        ("!all", false),
        ("User alice", true),
        ("user bob,al*", true),
        ("User !alice,*", false),
        ("!User bob", true),
        ("Group staff", true),
        ("Group wheel", false),
        ("Host *.example", true),
        ("Host=CLIENT.*", true),
        ("Address 198.51.100.0/24", true),
        ("Address 198.51.100.7,203.0.113.0/24", true),
        ("Address !198.51.100.7,198.51.100.0/24", false),
        ("LocalAddress 192.0.2.1", true),
        ("LocalPort 2222", true),
        ("LocalPort 22", false),
        ("RDomain vrf0", false),
        ("Invalid-User", false),
        ("!Invalid-User User alice", true),
        ("Version OpenSSH_10*", true),
        ("User alice Address 203.0.113.0/24", false),
    ] {
        let config = of(&format!("MaxAuthTries 6\nMatch {conditions}\n  MaxAuthTries 1\n")).unwrap();
        let connection = connection("alice", "198.51.100.7", &staff);
        let first = config.first("maxauthtries", &connection).unwrap();
        assert_eq!(first.line().arguments[0], if holds { b"1" } else { b"6" }, "{conditions}");
        assert_eq!(first.at().line, if holds { 3 } else { 1 });
        assert_eq!(config.of(&connection).count(), if holds { 2 } else { 1 });
    }
    let unknown = Connection::default();
    let config = of("Match User *\nBanner x\nMatch Address *\nBanner y\n").unwrap();
    assert!(config.first("banner", &unknown).is_none(), "what is not known matches nothing");
}

#[test]
fn included_lines_stand_in_the_block_around_them() {
    let files = [
        (
            "/etc/ssh/sshd_config",
            "Include a\nMatch User bob\nInclude /b\nPermitTTY no\nMatch all\nBanner last\n",
        ),
        ("/etc/ssh/a", "Port 22\nMatch User alice\nX11Forwarding yes\n"),
        ("/b", "Banner b\nMatch Address 192.0.2.0/24\nMaxSessions 1\n"),
    ];
    let config = read(&files).unwrap();
    let words = |user: &str, address: &str| -> Vec<String> {
        let connection = connection(user, address, &[]);
        config.of(&connection).map(|entry| entry.line().keyword.clone()).collect()
    };
    assert_eq!(words("alice", "192.0.2.9"), ["x11forwarding", "banner", "port"]);
    assert_eq!(words("bob", "198.51.100.1"), ["banner", "permittty", "banner", "port"]);
    assert_eq!(words("bob", "192.0.2.9"), ["banner", "maxsessions", "permittty", "banner", "port"]);
    assert_eq!((config.global().count(), config.conditional().count()), (1, 5));
    let cycle = [("/etc/ssh/sshd_config", "Include a\n"), ("/etc/ssh/a", "Include sshd_config\n")];
    assert!(read(&cycle).unwrap_err().to_string().contains("recursive"));
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (text, expected) in [
        ("Port 22\nNonsense yes\n", "sshd_config:2: nonsense: Bad configuration option"),
        ("Match weather sunny\n", "sshd_config:1: match: Unsupported Match attribute weather"),
        ("Match User\n", "missing argument"),
        ("Match\n", "match"),
        ("Match Address 192.0.2.0/99\n", "no list of networks"),
        ("Match LocalPort x\n", "is not a port"),
        ("Match User x\nPort 22\n", "sshd_config:2: port: it is not allowed within a Match block"),
        ("Banner \"x\n", "a quote is not closed"),
    ] {
        let error = of(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
    assert!(read(&[]).unwrap_err().to_string().contains("No such file"));
    assert_eq!(of("Port x\nA 1\nB 2\n").unwrap_err().problems().len(), 2);
}
