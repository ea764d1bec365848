//! ssh_config(5): what holds for a host, and where it comes from. Who is asked is a table of answers here; the same
//! language beside `ssh -G` is in `conformance/tests/ssh_config.rs`.

mod property;

use konko_core::ssh_config::{
    Answer, Config, ConfigError, Family, Found, Keyword, Kind, Local, Lookup, Question, Request, Tokens,
    Wrong, host_patterns,
};
use proptest::prelude::*;
use std::net::IpAddr;

/// A machine: its files, and what else it knows.
#[derive(Default)]
struct Machine {
    files: Vec<(&'static str, String)>,
    unsafe_files: Vec<&'static str>,
    names: Vec<(&'static str, &'static str)>,
    succeeding: Vec<&'static str>,
    interfaces: Vec<IpAddr>,
    variables: Vec<(&'static str, &'static str)>,
    asked: Vec<Question>,
}

const USER: &str = "/home/alice/.ssh/config";
const SYSTEM: &str = "/etc/ssh/ssh_config";

impl Machine {
    fn with(files: &[(&'static str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| (*path, (*text).to_owned())).collect();
        Machine { files, ..Machine::default() }
    }

    fn found(&self, path: &str) -> Found {
        if self.unsafe_files.contains(&path) {
            return Found::Unsafe;
        }
        let file = self.files.iter().find(|(name, _)| *name == path);
        file.map_or(Found::Missing, |(_, text)| Found::Bytes(text.clone().into_bytes()))
    }

    fn answer(&mut self, question: &Question) -> Answer {
        self.asked.push(question.clone());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match question {
            Question::File { path, .. } => Answer::File(self.found(&text(path))),
            Question::Files(pattern) => {
                let prefix = text(pattern);
                let prefix = prefix.trim_end_matches('*');
                let wild = prefix.len() < pattern.len();
                let fits = self.files.iter().filter(|(p, _)| *p == prefix || (wild && p.starts_with(prefix)));
                Answer::Files(fits.map(|(p, _)| (p.as_bytes().to_vec(), self.found(p))).collect())
            }
            Question::Run(command) => Answer::Succeeded(self.succeeding.contains(&text(command).as_str())),
            Question::Interfaces => Answer::Addresses(self.interfaces.clone()),
            Question::Resolve { name, .. } => {
                let found = self.names.iter().find(|(n, _)| n.as_bytes() == name.as_slice());
                found.map_or(Answer::No, |(_, c)| Answer::Resolved { canonical: c.as_bytes().to_vec() })
            }
            Question::Variable(name) => {
                let found = self.variables.iter().find(|(n, _)| n.as_bytes() == name.as_slice());
                found.map_or(Answer::No, |(_, value)| Answer::Bytes(value.as_bytes().to_vec()))
            }
            Question::Home(user) if user == b"bob" => Answer::Bytes(b"/home/bob".to_vec()),
            Question::Service(name) if name == b"ssh" => Answer::Bytes(b"22".to_vec()),
            _ => Answer::No,
        }
    }

    fn look(&mut self, request: Request) -> Result<Config, ConfigError> {
        let mut lookup = Lookup::new(request);
        while let Some(question) = lookup.question() {
            let answer = self.answer(&question);
            lookup.answer(answer);
        }
        lookup.finish()
    }
}

fn request(host: &str) -> Request {
    Request::new(Local::new("alice", "/home/alice", 1000, "desk.example.org"), host)
}

/// With this file of the user's alone.
fn of(text: &str, host: &str) -> Result<Config, ConfigError> {
    Machine::with(&[(USER, text)]).look(request(host))
}

fn text(config: &Config, keyword: &str) -> String {
    config.text(keyword).map_or_else(|| "-".into(), |text| String::from_utf8_lossy(&text).into_owned())
}

fn problem(result: Result<Config, ConfigError>) -> String {
    result.expect_err("an error").to_string()
}

#[test]
fn the_first_value_counts_and_some_accumulate() {
    let files = [
        (
            USER,
            "Host web\n Port 1\n IdentityFile ~/a\nHost *\n Port 2\n IdentityFile ~/b\n SendEnv A B\n SendEnv -A C\n",
        ),
        (SYSTEM, "Port 3\nUser system\nIdentityFile ~/a\nIdentityFile ~/c\n"),
    ];
    let config = Machine::with(&files).look(request("web")).unwrap();
    assert_eq!((config.port(), config.user()), (1, &b"system"[..]));
    let identities: Vec<String> = config
        .settings("identityfile")
        .iter()
        .map(|s| String::from_utf8_lossy(&s.words()[0]).into())
        .collect();
    assert_eq!(
        identities,
        ["~/a", "~/b", "~/a", "~/c"],
        "the system's are others than the user's, as in OpenSSH"
    );
    assert_eq!(text(&config, "SendEnv"), "B C");
    let other = Machine::with(&files).look(request("other").option("Port=9").user("typed%h")).unwrap();
    assert_eq!(
        (other.port(), other.user()),
        (9, &b"typed%h"[..]),
        "what is typed counts first, and is no pattern"
    );
}

#[test]
fn each_value_says_its_line_and_the_blocks_around_it() {
    let files = [
        (USER, "# mine\nHost *.corp !x.corp\n  Include work\nPort 7\n"),
        ("/home/alice/.ssh/work", "User w\nMatch host a.corp\n  ProxyCommand nc %h\n"),
    ];
    let config = Machine::with(&files).look(request("a.corp")).unwrap();
    let setting = &config.settings("ProxyCommand")[0];
    assert_eq!(setting.at().unwrap().to_string(), "/home/alice/.ssh/work:3");
    let blocks: Vec<String> =
        setting.blocks().map(|b| format!("{} {}", b.at(), String::from_utf8_lossy(b.text()))).collect();
    assert_eq!(
        blocks,
        [
            "/home/alice/.ssh/config:2 Host *.corp !x.corp",
            "/home/alice/.ssh/config:3 Include work",
            "/home/alice/.ssh/work:2 Match host a.corp",
        ]
    );
    assert_eq!(config.settings("Compression")[0].at(), None, "a default is of no line");
    let typed = Machine::with(&files).look(request("a.corp").option("User=me")).unwrap();
    assert_eq!(typed.settings("User")[0].at().unwrap().to_string(), "command-line");
    assert!(typed.is_said("User") && !typed.is_said("LogLevel"));
    let other = Machine::with(&files).look(request("x.corp")).unwrap();
    assert_eq!((text(&other, "ProxyCommand"), other.port()), ("-".into(), 22));
}

#[test]
fn s46_match_conditions_hold_or_not_and_commands_are_asked_for() {
    let mut machine = Machine {
        succeeding: vec!["test desk build.x 22 alice"],
        interfaces: vec!["192.0.2.7".parse().unwrap(), "fe80::1".parse().unwrap()],
        ..Machine::default()
    };
    for (conditions, holds) in [
        ("all", true),
        ("!all", false),
        ("host build.x", true),
        ("host BUILD.*,!build.y", true),
        ("host=build.x", true),
        ("originalhost build", true),
        ("originalhost build.x", false),
        ("user alice,bob", true),
        ("user Alice", false),
        ("!user bob localuser a*", true),
        ("localnetwork 192.0.2.0/24", true),
        ("localnetwork 198.51.100.0/24,::/96", false),
        ("version OpenSSH_10*", true),
        ("tagged green", true),
        ("tagged \"\"", false),
        ("command \"ls -*\"", true),
        ("command \"\"", false),
        ("sessiontype exec", true),
        ("sessiontype shell", false),
        ("exec \"test %L %h %p %r\"", true),
        ("!exec \"test %L %h %p %r\"", false),
        ("exec \"test other\"", false),
        ("user bob exec \"never run\"", false),
        ("canonical", false),
        ("final", true),
    ] {
        let text = format!("Tag green\nHostName %h.x\nMatch {conditions}\nUser found\n");
        machine.files = vec![(USER, text)];
        let config = machine.look(request("build").command("ls -l")).unwrap();
        let expected: &[u8] = if holds { b"found" } else { b"alice" };
        assert_eq!(config.user(), expected, "{conditions}");
    }
    assert!(!machine.asked.contains(&Question::Run(b"never run".to_vec())), "what cannot matter is not run");
}

#[test]
fn an_unknown_condition_is_an_error_with_its_line_and_so_is_what_else_is_wrong() {
    for (text, expected) in [
        ("Port 1\nMatch weather sunny\n Port 2\n", "config:2: match: Unsupported Match attribute weather"),
        ("Match\n", "match"),
        ("Match user\n", "missing argument"),
        ("Match all host x\n", "cannot be combined"),
        ("Match host x all user y\n", "cannot be combined"),
        ("Match localnetwork 1.2.3.4/99\n", "no list of networks"),
        ("\n\nNonsense 1\n", "config:3: nonsense: Bad configuration option"),
        ("Host other\n Port 0\n", "config:2: port: \"0\" is not a port"),
        ("Host other\n Match weather x\n", "Unsupported Match attribute"),
        ("User a b\n", "more arguments"),
        ("User \"a\n", "a quote is not closed"),
        ("UserKnownHostsFile none /a\n", "must stand alone"),
        ("Ciphers rot13\n", "\"rot13\" is no algorithm"),
        ("Host \"\"\n", "is empty"),
        ("IdentityAgent ${NOTHING}\n", "NOTHING is not set"),
        ("ControlPath /%z\n", "ControlPath: \"/%z\": unknown token %z"),
        ("RefuseConnection \"not today\"\n", "RefuseConnection: not today"),
        ("ConnectionAttempts 0\n", "ConnectionAttempts"),
    ] {
        let error = problem(of(text, "web"));
        assert!(error.contains(expected), "{text:?}: {error}");
    }
    let all = of("Port x\nPort 1\nBatchMode perhaps\n", "web").unwrap_err();
    let lines: Vec<u32> = all.problems().iter().map(|p| p.at().unwrap().line).collect();
    assert_eq!(lines, [1, 3], "each mistake is said");
    assert_eq!(problem(Machine::default().look(request("web").file("/nowhere"))).lines().count(), 1);
    for name in ["a;b", "-x", "a b", "$(x)", ""] {
        assert!(Machine::default().look(request(name)).is_err(), "{name}");
    }
    assert!(Machine::default().look(request("web").user("a;b")).is_err());
    let ignored = of("IgnoreUnknown Use*,!UseX\nUseKeychain yes\nPort 5\n", "web").unwrap();
    assert_eq!(ignored.port(), 5);
    assert!(of("IgnoreUnknown Use*,!UseX\nUseX yes\n", "web").is_err());
}

#[test]
fn f25_included_files_are_found_and_never_include_themselves() {
    let files = [
        (USER, "Include ~/.ssh/conf.d/* /abs ~bob/c missing\nHost none\n Include broken\nPort 9\n"),
        ("/home/alice/.ssh/conf.d/10", "Host web\nUser ten\n"),
        ("/home/alice/.ssh/conf.d/20", "Compression yes\n"),
        ("/abs", "BatchMode yes\n"),
        ("/home/bob/c", "Tag bob\n"),
        ("/home/alice/.ssh/broken", "Port 1\nMatch all\nPort 2\n"),
    ];
    let config = Machine::with(&files).look(request("web")).unwrap();
    let all = ["User", "Compression", "BatchMode", "Tag"].map(|keyword| text(&config, keyword));
    assert_eq!(all, ["ten", "yes", "yes", "bob"], "a block of an included file ends with it");
    assert_eq!(config.port(), 22, "no line counts that is included where nothing counts");
    let cycle = [(USER, "Include b\n"), ("/home/alice/.ssh/b", "Include config\n")];
    let error = problem(Machine::with(&cycle).look(request("web")));
    assert!(error.contains("it includes itself") && error.contains(".ssh/b:1"), "{error}");
    let deep: Vec<(&str, String)> = (0..20)
        .map(|n| {
            let name: &'static str = Box::leak(format!("/d{n}").into_boxed_str());
            (name, format!("Include /d{}\n", n + 1))
        })
        .collect();
    let mut machine = Machine { files: deep, ..Machine::default() };
    assert!(problem(machine.look(request("web").file("/d0"))).contains("Too many recursive"));
    let home = [(SYSTEM, "Include ~/x\n")];
    assert!(problem(Machine::with(&home).look(request("web"))).contains("bad include path"));
    // Who can write what is included can have anything run.
    let mut open = Machine::with(&files);
    open.unsafe_files = vec!["/abs"];
    assert!(problem(open.look(request("web"))).contains("Bad owner or permissions on /abs"));
    open.unsafe_files = vec![USER];
    assert!(problem(open.look(request("web"))).contains("Bad owner or permissions"));
}

#[test]
fn names_become_canonical_by_domains_and_aliases() {
    let rules = "CanonicalizeHostname yes\nCanonicalDomains first.org second.org\n\
                 CanonicalizePermittedCNAMEs *.second.org:*.cdn.net\n";
    let names = vec![
        ("web.second.org.", "node7.cdn.net"),
        ("db.first.org.", "elsewhere.com"),
        ("a.b.c.first.org.", ""),
        ("a.b.c", ""),
    ];
    let look = |more: &str, host: &str| {
        let files = vec![(USER, format!("{rules}{more}"))];
        Machine { files, names: names.clone(), ..Machine::default() }.look(request(host))
    };
    let name = |config: &Config| String::from_utf8_lossy(config.host_name()).into_owned();
    // Host, more lines, name.
    for (host, more, expected) in [
        ("Web", "", "node7.cdn.net"),
        ("db", "", "db.first.org"),
        ("web.second.org.", "", "node7.cdn.net"),
        ("a.b.c", "", "a.b.c"),
        ("a.b.c", "CanonicalizeMaxDots 2\n", "a.b.c.first.org"),
        ("db", "ProxyCommand nc\n", "db"),
        ("010.1", "", "8.0.0.1"),
        ("0:0::1", "", "::1"),
    ] {
        assert_eq!(name(&look(more, host).unwrap()), expected, "{host} {more}");
    }
    let proxied = rules.replace("yes", "always") + "ProxyCommand nc\n";
    let mut machine = Machine { files: vec![(USER, proxied)], names: names.clone(), ..Machine::default() };
    assert_eq!(name(&machine.look(request("db")).unwrap()), "db.first.org");
    // What is in no domain must be found as it is where it may be an alias, and where nothing else may be.
    for more in ["", "CanonicalizeFallbackLocal no\n"] {
        assert!(problem(look(more, "unknown")).contains("Could not resolve"), "{more}");
    }
    // The second reading is about the canonical name, and adds what was not said.
    let more = "Host *.first.org\n User second\nMatch canonical host *.cdn.net\n Port 7\nMatch final user second\n Tag last\n";
    let config = look(more, "db").unwrap();
    assert_eq!((config.user(), text(&config, "Tag")), (&b"second"[..], "last".into()));
    assert_eq!(look(more, "web").unwrap().port(), 7);
    // The family is said to whoever asks.
    let mut machine = Machine {
        files: vec![(USER, format!("{rules}AddressFamily inet6\n"))],
        names: names.clone(),
        ..Machine::default()
    };
    machine.look(request("db")).unwrap();
    let family =
        machine.asked.iter().any(|q| matches!(q, Question::Resolve { family: Some(Family::Inet6), .. }));
    assert!(family);
}

#[test]
fn s10_each_keyword_has_its_tokens_and_no_others() {
    let base = "HostName real\nPort 2022\nUser u\nHostKeyAlias Al\n";
    let values = |token: u8| match token {
        b'%' => "%",
        b'd' => "/home/alice",
        b'h' => "real",
        b'i' => "1000",
        b'j' => "",
        b'k' => "al",
        b'L' => "desk",
        b'l' => "desk.example.org",
        b'n' => "web",
        b'p' => "2022",
        b'r' => "u",
        b'u' => "alice",
        b'T' => "NONE",
        _ => "?",
    };
    for row in Keyword::all() {
        let kind =
            matches!(row.kind(), Kind::Text | Kind::Command | Kind::Paths | Kind::Identity | Kind::Socket);
        if !kind || ["HostName", "User", "HostKeyAlias"].contains(&row.name()) {
            continue;
        }
        for token in (b'A'..=b'z').filter(u8::is_ascii_alphabetic).chain([b'%']) {
            let line = format!("{base}{} /x/%{}\n", row.name(), char::from(token));
            let config = of(&line, "web");
            let allowed = row.tokens().letters().contains(&token);
            let used = config.and_then(|config| {
                let late = row.kind() == Kind::Identity;
                let wrong = |wrong| problem_of(row.name(), wrong);
                if late {
                    let path = config.words(row.name())[0].clone();
                    return config.path(&path, |_| None, |_| None).map_err(wrong);
                }
                if row.kind() == Kind::Command && row.name() != "RemoteCommand" {
                    return config.command(row.name()).map(Option::unwrap).map_err(wrong);
                }
                Ok(config.text(row.name()).unwrap())
            });
            match used {
                Ok(value) if row.tokens() == Tokens::None => {
                    assert_eq!(value, format!("/x/%{}", char::from(token)).as_bytes(), "{line}");
                }
                Ok(value) => {
                    assert!(allowed, "{line}");
                    if !b"CfHIKt".contains(&token) && (token != b'%' || row.tokens() != Tokens::KnownHosts) {
                        assert_eq!(
                            String::from_utf8_lossy(&value),
                            format!("/x/{}", values(token)),
                            "{line}"
                        );
                    }
                }
                Err(error) => {
                    assert!(!allowed && error.to_string().contains("unknown token"), "{line}: {error}")
                }
            }
        }
    }
    let jump = of("ProxyJump j@gate:7,inner\nControlPath /%j\n", "web").unwrap();
    assert_eq!(
        (text(&jump, "ControlPath"), text(&jump, "ProxyJump")),
        ("/inner".into(), "j@gate:7  inner ".into())
    );
}

fn problem_of(keyword: &str, wrong: Wrong) -> ConfigError {
    let line = format!("ControlPath /%Z # {keyword}\n");
    let error = of(&line, "web").unwrap_err();
    assert!(matches!(wrong, Wrong::Token(..)), "{keyword}: {wrong}");
    error
}

/// Golden values of `ssh -G` (OpenSSH 10.0) on a machine of that name.
#[test]
fn s20_the_hash_of_a_connection_is_opensshs() {
    let base = "HostName real\nPort 2022\nUser u\nControlPath %C\n";
    // printf desk.example.orgreal2022u | sha1sum
    assert_eq!(text(&of(base, "web").unwrap(), "ControlPath"), "15f86bdb82761fbaaadd60209beeedd0fa877f79");
    let jumped = format!("{base}ProxyJump gate\n");
    // printf desk.example.orgreal2022ugate | sha1sum
    assert_eq!(text(&of(&jumped, "web").unwrap(), "ControlPath"), "c27b05c1c4b3dcbd9d78c3d3dfb0c095d87b380b");
}

#[test]
fn variables_and_homes_are_replaced_where_they_may_be() {
    let file = "ControlPath ${DIR}/c\nIdentityAgent ~/agent\nUserKnownHostsFile ~bob/k ${DIR}/k\nIdentityFile ${DIR}/id\n\
                LocalCommand ${DIR}\nSetEnv A=${DIR}-%h\n";
    let mut machine = Machine { variables: vec![("DIR", "/dir")], ..Machine::with(&[(USER, file)]) };
    let config = machine.look(request("web")).unwrap();
    let all = ["ControlPath", "IdentityAgent", "UserKnownHostsFile", "LocalCommand", "SetEnv"];
    let all = all.map(|keyword| text(&config, keyword));
    assert_eq!(all, ["/dir/c", "/home/alice/agent", "/home/bob/k /dir/k", "${DIR}", "A=/dir-web"]);
    let path = config.path(b"${DIR}/id-%n", |name| Some([b"<", name, b">"].concat()), |_| None);
    assert_eq!(path, Ok(b"<DIR>/id-web".to_vec()));
    let command = of("KnownHostsCommand /bin/known \"%n a\" %H:%% %t # %K\n", "web").unwrap();
    let words = command.known_hosts_command(|_| None).unwrap().unwrap();
    assert_eq!(words, [&b"/bin/known"[..], b"web a", b"%H:%%", b"%t"], "the key's own tokens stay");
    assert_eq!(config.path(b"~nobody/x", |_| None, |_| None), Err(Wrong::User(b"nobody".to_vec())));
}

#[test]
fn every_keyword_is_text_and_has_its_type() {
    let config = of("", "web").unwrap();
    assert_eq!(text(&config, "stricthostkeychecking"), "ask");
    assert!(config.flag("TCPKeepAlive") && !config.flag("BatchMode"));
    assert_eq!(config.number("NumberOfPasswordPrompts"), Some(3));
    assert_eq!((config.text("NoSuchKeyword"), config.escape_char()), (None, Some(b'~')));
    let config =
        of("EscapeChar ^]\nRekeyLimit 1G 1h\nProxyCommand none\nConnectTimeout 1m\n", "web").unwrap();
    assert_eq!(config.escape_char(), Some(0x1d));
    assert_eq!((config.number("RekeyLimit"), config.rekey_time()), (Some(1 << 30), Some(3600)));
    assert_eq!((config.number("ConnectTimeout"), config.text("ProxyCommand")), (Some(60), None));
    assert!(Keyword::find("keepalive").is_some_and(|row| row.name() == "TCPKeepAlive"));
    let names: Vec<String> = Keyword::all().iter().map(|row| row.name().to_ascii_lowercase()).collect();
    let mut unique = names.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), names.len(), "no keyword twice");
}

#[test]
fn patterns_of_hosts_can_be_listed() {
    let file = b"Host web db !x\nMatch all\nHost *.corp web\nHost \"a b\"\nbroken \"\nhost=last\n";
    let all = host_patterns(file).unwrap();
    assert_eq!(all, [&b"web"[..], b"db", b"!x", b"*.corp", b"a b", b"last"]);
}

proptest! {
    #![proptest_config(property::config(256))]

    /// Whatever a file says, there is an answer, and the same one twice.
    #[test]
    fn no_file_makes_it_fall_over(
        lines in prop::collection::vec(
            prop_oneof![
                "[a-zA-Z]{1,12}[ =]{1,2}[ -~]{0,24}",
                "(Host|Match|Include|Port|ProxyJump|LocalForward|SetEnv|IPQoS|RekeyLimit|EscapeChar) [ -~]{0,24}",
                "[ -~\\t\u{80}-\u{ff}]{0,30}",
            ],
            0..12,
        ),
        host in "[a-z0-9.:%-]{0,12}",
    ) {
        let file = lines.join("\n");
        let (one, two) = (of(&file, &host), of(&file, &host));
        prop_assert_eq!(one.as_ref().map(Config::dump).ok(), two.as_ref().map(Config::dump).ok());
        if let Err(error) = one {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
