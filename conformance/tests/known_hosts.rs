//! What is known about hosts, beside OpenSSH: verdicts on generated files, keys that a host tells by itself
//! (UpdateHostKeys) in both directions, and keyscan.

use konko_conformance::keys::KINDS;
use konko_conformance::peers::{full, installed, konko};
use konko_conformance::{OpenSsh, Program, Serve, Sshd, not_run};
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn openssh() -> Option<OpenSsh> {
    let found = OpenSsh::system();
    if found.is_none() {
        not_run("known hosts beside OpenSSH", "sshd or ssh is not installed");
    }
    found
}

/// A small generator, so that a run can be had again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

/// A file of known hosts with lines of every kind about a server on this port.
fn file(dice: &mut Dice, port: u16, key: &str, other: &str) -> String {
    let port = format!("[127.0.0.1]:{port}");
    let mut text = String::new();
    for _ in 0..1 + dice.roll(4) {
        let mut names = Vec::new();
        for _ in 0..1 + dice.roll(2) {
            names.push(
                dice.pick(&[
                    &port,
                    "[127.0.0.1]:*",
                    "[127.*]:*",
                    "*",
                    "other.example",
                    "[127.0.0.1]:1",
                    &format!("!{port}"),
                    "[127.0.0.?]:*",
                ])
                .to_owned(),
            );
        }
        let names = names.join(",");
        let key = if dice.roll(3) == 0 { other } else { key };
        text += &match dice.roll(10) {
            0 => format!("@revoked {names} {key}\n"),
            1 => format!("# {names} {key}\n"),
            2 => format!("@cert-authority {names} {key}\n"),
            3 => format!("{names} {key} a comment\r\n"),
            4 => format!("\t{names}  {key}\n"),
            _ => format!("{names} {key}\n"),
        };
    }
    text
}

#[test]
fn u35_verdicts_are_those_of_ssh() {
    let (Some(program), Some(openssh)) = (Program::konko(), openssh()) else { return };
    let sshd = Sshd::with_host_keys(&openssh, &["ed25519"], &[]);
    let (key, other) = (sshd.keys.public_line("host_ed25519"), sshd.keys.public_line("other"));
    let ssh = Program::new(vec![openssh.ssh().into()]);
    let mut seen = [0, 0];
    for n in 0..if full() { 400 } else { 40 } {
        let text = file(&mut Dice(n + 1), sshd.port, &key, &other);
        let verdicts = [&program, &ssh].map(|program| {
            fs::write(sshd.known_hosts(), &text).expect("the folder is writable");
            let call = program.to(&sshd).option("HostKeyAlgorithms", "ssh-ed25519");
            call.option("StrictHostKeyChecking", "yes").run("true").code()
        });
        assert_eq!(verdicts[0], verdicts[1], "konko, ssh, with\n{text}");
        seen[usize::from(verdicts[0] == 0)] += 1;
    }
    assert!(seen[0] > 8 && seen[1] > 8, "{seen:?}");
}

/// The keys that a file knows for a name, each once, in order.
fn keys_for(file: &Path, name: &str) -> Vec<String> {
    let text = fs::read_to_string(file).expect("the file is there");
    let mut keys: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .map(|key| key.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    keys.sort();
    keys
}

fn all_keys(line: impl Fn(&str) -> String) -> Vec<String> {
    let mut keys: Vec<String> = KINDS.iter().map(|(kind, _)| line(&format!("host_{kind}"))).collect();
    keys.sort();
    keys
}

#[test]
fn h16_konko_learns_the_keys_that_openssh_tells() {
    let (Some(program), Some(openssh)) = (konko(), openssh()) else { return };
    let sshd = Sshd::start(&openssh, &[]);
    let home = tempfile::tempdir().expect("a folder");
    fs::create_dir(home.path().join(".ssh")).expect("the folder is writable");
    let (known, name) = (home.path().join(".ssh/known_hosts"), sshd.host_pattern());
    let before = format!(
        "# mine\n{name} {}\nelsewhere {}\n{name} {}\n",
        sshd.keys.public_line("host_ed25519"),
        sshd.keys.public_line("ca"),
        sshd.keys.public_line("other"),
    );
    let call = |option: &str| {
        fs::write(&known, &before).expect("the folder is writable");
        let mut command = Command::new(&program);
        command.args(["ssh", "-v", "-p", &sshd.port.to_string(), "-o", "GlobalKnownHostsFile=/dev/null"]);
        // A configuration of the system may say otherwise.
        command.args(["-o", "HashKnownHosts=no"]);
        command.args(["-o", "BatchMode=yes", "-o", option, "-i"]).arg(sshd.keys.private("user_ed25519"));
        command.env("HOME", home.path()).env_remove("SSH_AUTH_SOCK").stdin(Stdio::null());
        let host = format!("{}@127.0.0.1", konko_conformance::sshd::login());
        let done = command.args([&host, "true"]).output().expect("it starts");
        assert!(done.status.success(), "{done:?}");
        (keys_for(&known, &name), done)
    };
    let (keys, done) = call("LogLevel=VERBOSE");
    assert_eq!(keys, all_keys(|name| sshd.keys.public_line(name)), "{done:?}");
    let text = fs::read_to_string(&known).expect("the file is there");
    assert!(text.starts_with("# mine\n") && text.contains("elsewhere"), "{text}");
    assert_eq!(fs::read_to_string(known.with_extension("old")).expect("it is kept"), before);
    // Files that were named are not changed unless somebody says so.
    let (keys, _) = call(&format!("UserKnownHostsFile={}", known.display()));
    assert_eq!(keys.len(), 2);
}

#[test]
fn h16_openssh_learns_the_keys_that_konko_tells() {
    let Some(openssh) = openssh() else { return };
    let Some(serve) = Serve::start(&[]) else { return };
    let name = format!("[127.0.0.1]:{}", serve.port);
    for openssh in [Some(openssh), OpenSsh::ten()].into_iter().flatten() {
        let known = serve.folder().join("known_to_ssh");
        let (ed, old) = (serve.keys().public_line("host_ed25519"), serve.keys().public_line("other"));
        fs::write(&known, format!("{name} {ed}\n{name} {old}\n")).expect("the folder is writable");
        let mut command = Command::new(openssh.ssh());
        command.args(["-F", "/dev/null", "-vv", "-p", &serve.port.to_string(), "-o", "UpdateHostKeys=yes"]);
        command.args(["-o", "GlobalKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o"]);
        command.arg(format!("UserKnownHostsFile={}", known.display()));
        command.arg("-i").arg(serve.keys().private("user_ed25519"));
        command.env_remove("SSH_AUTH_SOCK").stdin(Stdio::null());
        let done = command.args(["alice@127.0.0.1", "exit", "0"]).output().expect("it starts");
        assert!(done.status.success(), "{done:?}");
        assert_eq!(keys_for(&known, &name), all_keys(|name| serve.keys().public_line(name)), "{done:?}");
    }
}

/// The lines that a program prints, in order.
fn lines(done: &Output) -> Vec<String> {
    let mut lines: Vec<String> = String::from_utf8_lossy(&done.stdout).lines().map(String::from).collect();
    lines.sort();
    lines
}

#[test]
fn keyscan_prints_what_ssh_keyscan_prints() {
    let (Some(konko), Some(openssh)) = (konko(), openssh()) else { return };
    let Some(keyscan) = installed("ssh-keyscan") else { return };
    let sshd = Sshd::start(&openssh, &[]);
    let port = sshd.port.to_string();
    let list = sshd.file("list");
    fs::write(&list, "# hosts\n127.0.0.1 a.example,b.example\nlocalhost\n").expect("the folder is writable");
    let list = list.display().to_string();
    let run = |ours: bool, words: &[&str]| {
        let mut command = Command::new(if ours { &konko } else { &keyscan });
        if ours {
            command.arg("keyscan");
        }
        command.args(words).stdin(Stdio::null()).output().expect("it starts")
    };
    for (words, count) in [
        (&["-p", &port, "127.0.0.1"][..], 3),
        (&["-p", &port, "-t", "ed25519", "127.0.0.1"], 1),
        (&["-p", &port, "-t", "rsa,ecdsa", "-4", "localhost"], 2),
        (&["-p", &port, "-q", "-f", &list, "-t", "ed25519", "-4"], 3),
    ] {
        // 9.2 has no -q.
        let plain: Vec<&str> = words.iter().copied().filter(|word| *word != "-q").collect();
        let (ours, theirs) = (run(true, words), run(false, &plain));
        assert_eq!(lines(&ours), lines(&theirs), "{words:?} {ours:?}");
        assert_eq!((lines(&ours).len(), ours.status.code()), (count, theirs.status.code()), "{words:?}");
        // On standard error stands what the hosts run, unless nobody wants to know.
        let said = String::from_utf8_lossy(&ours.stderr).contains(&format!(":{port} SSH-2.0-OpenSSH_"));
        assert_eq!(said, !words.contains(&"-q"), "{ours:?}");
    }
    // Hashed: ssh-keygen finds them.
    let hashed = run(true, &["-p", &port, "-H", "-t", "ed25519", "127.0.0.1"]);
    let file = sshd.file("hashed");
    fs::write(&file, &hashed.stdout).expect("the folder is writable");
    let found = Command::new("ssh-keygen").args(["-F", &sshd.host_pattern(), "-f"]).arg(&file).output();
    assert!(found.expect("it starts").status.success(), "{hashed:?}");
    // A port where nobody listens.
    let nobody = konko_conformance::sshd::free_port().to_string();
    let [ours, theirs] = [true, false].map(|ours| run(ours, &["-p", &nobody, "-T", "2", "127.0.0.1"]));
    assert_eq!((ours.status.code(), lines(&ours)), (theirs.status.code(), lines(&theirs)));
    assert!(!ours.stderr.is_empty());
}
