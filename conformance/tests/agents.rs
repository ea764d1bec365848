//! Agents: OpenSSH's and GnuPG's with our programs, and ours with OpenSSH's.

use konko_conformance::keys::{KINDS, KeyRing};
use konko_conformance::peers::{full, installed, konko};
use konko_conformance::process::{Server, wait_until};
use konko_conformance::sshd::login as user;
use konko_conformance::{Finished, OpenSsh, Process, Sshd, not_run};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long a program may take to do what it was told.
const SOON: Duration = Duration::from_secs(20);

/// Both OpenSSHs, the system's and version 10.
fn versions() -> Vec<OpenSsh> {
    let mut all: Vec<OpenSsh> = OpenSsh::system().into_iter().chain(OpenSsh::ten()).collect();
    all.dedup();
    if all.len() < 2 {
        not_run("agents of OpenSSH", "one of its versions is not installed");
    }
    all
}

/// An agent that runs, its socket, and the folder of whoever uses it.
struct Agent {
    // The order matters: the agent ends before its folder goes.
    _server: Server,
    folder: TempDir,
}

impl Agent {
    /// Starts `program`, which listens on the socket that its last argument names.
    fn start(program: &Path, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let askpass = folder.path().join("askpass");
        let script =
            "#!/bin/sh\necho \"$1\" >>\"${0%/*}/asked\"\ncat \"${0%/*}/answer\" 2>/dev/null || exit 1\n";
        fs::write(&askpass, script).unwrap();
        fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).arg("-a").arg(folder.path().join("socket")).env("SSH_ASKPASS", &askpass);
        command.env("DISPLAY", "none:0").stdin(Stdio::null()).stdout(Stdio::null());
        let agent = Agent { _server: Server(command.spawn().unwrap()), folder };
        let there = wait_until(SOON, || agent.file("socket").exists().then_some(()));
        assert!(there.is_some(), "{} does not listen", program.display());
        agent
    }

    fn of(openssh: &OpenSsh) -> Self {
        Self::start(&openssh.ssh().with_file_name("ssh-agent"), &["-D"])
    }

    fn ours(konko: &Path) -> Self {
        Self::start(konko, &["agent", "-D"])
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What whoever is asked says from now on; `None` is no.
    fn answer(&self, text: Option<&str>) {
        match text {
            Some(text) => fs::write(self.file("answer"), format!("{text}\n")).unwrap(),
            None => drop(fs::remove_file(self.file("answer"))),
        }
    }

    /// Runs a program that has this agent, and a home of its own.
    fn run(&self, words: &[&str]) -> Finished {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env("SSH_AUTH_SOCK", self.file("socket")).env("HOME", self.folder.path());
        command.env("SSH_ASKPASS", self.file("askpass")).env("SSH_ASKPASS_REQUIRE", "force");
        Process::new(command).run().unwrap()
    }
}

/// A program that gives keys to agents.
struct Add(Vec<String>);

impl Add {
    fn ours(konko: &Path) -> Self {
        Add(vec![konko.display().to_string(), "add".into()])
    }

    fn of(openssh: &OpenSsh) -> Self {
        Add(vec![openssh.ssh().with_file_name("ssh-add").display().to_string()])
    }

    fn run(&self, agent: &Agent, words: &[&str]) -> Finished {
        let all: Vec<&str> = self.0.iter().map(String::as_str).chain(words.iter().copied()).collect();
        agent.run(&all)
    }
}

/// A program that logs in, with the keys of the agent alone. `extra` are more arguments.
fn log_in(agent: &Agent, ssh: &[&str], sshd: &Sshd, extra: &[&str]) -> Finished {
    let (port, known) =
        (sshd.port.to_string(), format!("UserKnownHostsFile={}", sshd.known_hosts().display()));
    let login = user();
    let plain = "HostKeyAlgorithms=ssh-ed25519,ecdsa-sha2-nistp256";
    let mut words = ssh.to_vec();
    words.extend(["-F", "none", "-p", &port, "-o", &known, "-o", "BatchMode=yes", "-o", plain]);
    words.extend(extra);
    words.extend(["-l", &login, "127.0.0.1", "exit 7"]);
    agent.run(&words)
}

fn path(path: PathBuf) -> String {
    path.display().to_string()
}

/// A server that bears failed logins, with host keys of these kinds.
fn patient(openssh: &OpenSsh, kinds: &[&str], extra: &[&str]) -> Sshd {
    let calm = ["PerSourcePenalties no"];
    let calm = if openssh.version() >= (9, 8) { &calm[..] } else { &[] };
    Sshd::with_host_keys(openssh, kinds, &[calm, extra].concat())
}

/// What both kinds of agents do for both kinds of programs.
fn everything(agent: &Agent, add: &Add, other: &Add, keys: &KeyRing) {
    add.run(agent, &["-l"]).expect_code(1);
    for (kind, _) in KINDS {
        add.run(agent, &["-k", &path(keys.private(&format!("user_{kind}")))]).expect_code(0);
    }
    // Both see the same, and say it in the same words.
    for show in [&["-l"][..], &["-L"], &["-l", "-E", "md5"]] {
        let (one, two) = (add.run(agent, show), other.run(agent, show));
        one.expect_code(0);
        assert_eq!(one.stdout.text(), two.stdout.text(), "{show:?}");
        assert_eq!(one.stdout.text().lines().count(), KINDS.len());
    }
    for (kind, _) in KINDS {
        add.run(agent, &["-T", &path(keys.public(&format!("user_{kind}")))]).expect_code(0);
    }
    add.run(agent, &["-T", &path(keys.public("other"))]).expect_code(1);
    // Locked, it has none.
    agent.answer(Some("open sesame"));
    add.run(agent, &["-x"]).expect_code(0);
    other.run(agent, &["-l"]).expect_code(1);
    agent.answer(Some("wrong"));
    add.run(agent, &["-X"]).expect_code(1);
    agent.answer(Some("open sesame"));
    add.run(agent, &["-X"]).expect_code(0);
    assert_eq!(other.run(agent, &["-l"]).stdout.text().lines().count(), KINDS.len());
    add.run(agent, &["-d", "-k", &path(keys.public("user_rsa"))]).expect_code(0);
    assert!(!other.run(agent, &["-l"]).stdout.text().contains("RSA"));
    add.run(agent, &["-D"]).expect_code(0);
    other.run(agent, &["-l"]).expect_code(1);
    // A key under a passphrase, which goes when its time is over.
    agent.answer(Some(konko_conformance::keys::PASSPHRASE));
    add.run(agent, &["-t", "2", &path(keys.private("user_encrypted"))]).expect_code(0);
    let gone = wait_until(SOON, || (other.run(agent, &["-l"]).code() == 1).then_some(()));
    assert!(gone.is_some(), "the key stays");
    // One that somebody is asked about at each use.
    add.run(agent, &["-k", "-c", &path(keys.private("user_ed25519"))]).expect_code(0);
    for (answer, code) in [(Some("yes"), 0), (None, 1)] {
        agent.answer(answer);
        other.run(agent, &["-T", &path(keys.public("user_ed25519"))]).expect_code(code);
    }
    let asked = fs::read_to_string(agent.file("asked")).unwrap();
    assert!(asked.contains("Allow use of key") && asked.contains("SHA256:"), "{asked}");
    agent.answer(None);
    add.run(agent, &["-D"]).expect_code(0);
    certificates(agent, add, other, keys);
}

/// A certificate beside a key file goes along, is shown by both alike, and goes with `-d` or alone.
fn certificates(agent: &Agent, add: &Add, other: &Add, keys: &KeyRing) {
    let lines = |program: &Add| program.run(agent, &["-L"]).stdout.text().lines().count();
    for (kind, _) in KINDS {
        let key = path(keys.private(&format!("user_{kind}")));
        add.run(agent, &[&key]).expect_code(0);
        assert_eq!((lines(add), lines(other)), (2, 2), "{kind}");
        for show in [&["-l"][..], &["-L"]] {
            assert_eq!(add.run(agent, show).stdout.text(), other.run(agent, show).stdout.text());
        }
        add.run(agent, &["-T", &path(keys.certificate(&format!("user_{kind}")))]).expect_code(0);
        other.run(agent, &["-d", &key]).expect_code(0);
        add.run(agent, &["-l"]).expect_code(1);
    }
}

#[test]
fn openssh_s_agents_with_our_programs() {
    let Some(konko) = konko() else { return };
    let (add, keys) = (Add::ours(&konko), KeyRing::shared());
    for openssh in versions() {
        let agent = Agent::of(&openssh);
        everything(&agent, &add, &Add::of(&openssh), &keys);
    }
}

#[test]
fn our_agent_with_openssh_s_programs() {
    let Some(konko) = konko() else { return };
    for openssh in versions() {
        let agent = Agent::ours(&konko);
        everything(&agent, &Add::of(&openssh), &Add::ours(&konko), &KeyRing::shared());
    }
}

#[test]
fn logging_in_with_agents_of_both() {
    let Some(konko) = konko() else { return };
    let (konko_ssh, keys) = ([konko.to_str().unwrap(), "ssh"], KeyRing::shared());
    for openssh in versions() {
        let sshd = patient(&openssh, &["ed25519"], &[]);
        let ssh = path(openssh.ssh());
        for agent in [Agent::of(&openssh), Agent::ours(&konko)] {
            for (kind, _) in KINDS.iter().filter(|(kind, _)| full() || matches!(*kind, "ed25519" | "rsa")) {
                Add::of(&openssh)
                    .run(&agent, &["-q", "-k", &path(keys.private(&format!("user_{kind}")))])
                    .expect_code(0);
                for program in [&konko_ssh[..], &[&ssh]] {
                    log_in(&agent, program, &sshd, &[]).expect_code(7);
                    // A public key alone names the agent's.
                    let public = path(keys.public(&format!("user_{kind}")));
                    fs::copy(&public, agent.file("named.pub")).unwrap();
                    let named = path(agent.file("named.pub"));
                    log_in(&agent, program, &sshd, &["-i", &named, "-o", "IdentitiesOnly=yes"])
                        .expect_code(7);
                    log_in(&agent, program, &sshd, &["-o", "IdentitiesOnly=yes"]).expect_code(255);
                    log_in(&agent, program, &sshd, &["-o", "IdentityAgent=none"]).expect_code(255);
                }
                Add::ours(&konko).run(&agent, &["-q", "-D"]).expect_code(0);
            }
        }
        // All of these requests were bound to the host's key, as far as sshd knows how.
        assert!(sshd.log().contains("Accepted publickey"), "{}", sshd.log());
    }
}

#[test]
fn destinations_are_held_to_by_agents_of_both() {
    let Some(konko) = konko() else { return };
    let konko_ssh = [konko.to_str().unwrap(), "ssh"];
    let key = path(KeyRing::shared().private("user_ed25519"));
    for openssh in versions() {
        let ssh = path(openssh.ssh());
        let (there, elsewhere) =
            (patient(&openssh, &["ed25519"], &[]), patient(&openssh, &["ecdsa256"], &[]));
        let known = path(there.known_hosts());
        let (host, login) = (there.host_pattern(), user());
        for agent in [Agent::of(&openssh), Agent::ours(&konko)] {
            for add in [Add::of(&openssh), Add::ours(&konko)] {
                for (way, reached) in
                    [(host.clone(), true), (format!("{login}@{host}"), true), (format!("x@{host}"), false)]
                {
                    add.run(&agent, &["-k", "-H", &known, "-h", &way, &key]).expect_code(0);
                    // Here, it signs for nobody.
                    add.run(&agent, &["-T", &format!("{key}.pub")]).expect_code(1);
                    for program in [&konko_ssh[..], &[&ssh]] {
                        log_in(&agent, program, &there, &[]).expect_code(if reached { 7 } else { 255 });
                        log_in(&agent, program, &elsewhere, &[]).expect_code(255);
                    }
                    add.run(&agent, &["-q", "-D"]).expect_code(0);
                }
                add.run(&agent, &["-k", "-H", &known, "-h", "nobody.example", &key]);
                assert_eq!(add.run(&agent, &["-l"]).code(), 1, "a host without keys");
            }
        }
    }
}

#[test]
fn a_login_that_is_bound_to_the_host_key() {
    let (Some(konko), Some(openssh)) = (konko(), OpenSsh::ten()) else { return };
    let agent = Agent::ours(&konko);
    let key = path(KeyRing::shared().private("user_ed25519"));
    Add::ours(&konko).run(&agent, &["-k", &key]).expect_code(0);
    let sshd = patient(&openssh, &["ed25519"], &["LogLevel DEBUG3"]);
    log_in(&agent, &[konko.to_str().unwrap(), "ssh"], &sshd, &[]).expect_code(7);
    assert!(sshd.log().contains("publickey-hostbound-v00@openssh.com"), "{}", sshd.log());
}

#[test]
fn gnupg_s_agent_with_our_programs() {
    let (Some(konko), Some(openssh)) = (konko(), OpenSsh::system()) else { return };
    let (Some(gpg), Some(gpg_agent)) = (installed("gpg"), installed("gpg-agent")) else { return };
    let folder = tempfile::Builder::new().prefix("g").tempdir_in("/tmp").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let home = folder.path().to_str().unwrap();
    let mut command = Command::new(gpg_agent);
    // In the foreground, with its sockets in the folder.
    command.args(["--homedir", home, "--enable-ssh-support", "--daemon", "--no-detach"]);
    let mut server =
        Server(command.arg("sleep").arg("600").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let socket = PathBuf::from(
        gpg_text(&gpg.with_file_name("gpgconf"), home, &["--list-dirs", "agent-ssh-socket"]).trim(),
    );
    let there = wait_until(SOON, || socket.exists().then_some(()));
    assert!(there.is_some(), "{} {:?}", socket.display(), server.0.try_wait());
    let make = [
        "--batch",
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        "",
        "--quick-generate-key",
        "k",
        "ed25519",
    ];
    gpg_text(&gpg, home, &[&make[..], &["auth", "never"]].concat());
    let listed = gpg_text(&gpg, home, &["--list-secret-keys", "--with-keygrip", "--with-colons"]);
    let grip =
        listed.lines().find_map(|line| line.strip_prefix("grp:::::::::")).unwrap().trim_end_matches(':');
    fs::write(folder.path().join("sshcontrol"), format!("{grip}\n")).unwrap();
    let sshd = patient(&openssh, &["ed25519"], &[]);
    let run = |words: &[&str]| {
        let mut command = Command::new(&konko);
        command.args(words).env("SSH_AUTH_SOCK", &socket).env("HOME", home);
        Process::new(command).run().unwrap()
    };
    let keys = run(&["add", "-L"]);
    keys.expect_code(0);
    let authorized = sshd.file("authorized_keys");
    fs::write(&authorized, [&fs::read(&authorized).unwrap()[..], &keys.stdout.bytes].concat()).unwrap();
    let (port, known) =
        (sshd.port.to_string(), format!("UserKnownHostsFile={}", sshd.known_hosts().display()));
    let login = user();
    let words =
        ["ssh", "-p", &port, "-o", &known, "-o", "BatchMode=yes", "-l", &login, "127.0.0.1", "exit 9"];
    run(&words).expect_code(9);
}

fn gpg_text(program: &Path, home: &str, words: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(["--homedir", home]).args(words);
    let done = Process::new(command).run().unwrap();
    done.expect_code(0);
    done.stdout.text()
}
