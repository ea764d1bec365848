//! `konko keygen` beside ssh-keygen on the files that are neither keys nor certificates: known hosts, revocation lists,
//! signatures. What one prints and writes the other prints, writes and reads.

use konko_conformance::keys::{KINDS, KeyRing};
use konko_conformance::not_run;
use konko_conformance::peers::{full, installed, konko};
use konko_conformance::process::wait_until;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Both programs, and a folder to work in.
struct Rig {
    konko: PathBuf,
    openssh: PathBuf,
    keys: KeyRing,
    dir: tempfile::TempDir,
}

impl Rig {
    fn new() -> Option<Self> {
        let konko = konko()?;
        let Some(openssh) = installed("ssh-keygen") else {
            not_run("keygen beside ssh-keygen", "ssh-keygen is not installed");
            return None;
        };
        let dir = tempfile::tempdir().expect("a folder");
        Some(Rig { konko, openssh, keys: KeyRing::shared(), dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("the folder is writable");
        path
    }

    /// Words for konko, or for ssh-keygen.
    fn command(&self, ours: bool, words: &[&str]) -> Command {
        let mut command = Command::new(if ours { &self.konko } else { &self.openssh });
        if ours {
            command.arg("keygen");
        }
        command.args(words).current_dir(self.dir.path()).env("HOME", self.dir.path()).env("TZ", "UTC");
        command.env_remove("SSH_AUTH_SOCK").stdin(Stdio::null());
        command
    }

    fn run(&self, ours: bool, words: &[&str]) -> Output {
        self.command(ours, words).output().expect("it starts")
    }

    fn run_with(&self, ours: bool, words: &[&str], stdin: &Path) -> Output {
        let stdin = fs::File::open(stdin).expect("the file is there");
        self.command(ours, words).stdin(stdin).output().expect("it starts")
    }
}

fn shown(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
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

/// Names of hosts as ssh-keygen is asked for them.
const ASKED: &[&str] = &[
    "a.example",
    "b.example",
    "a.example.org",
    "[a.example]:2222",
    "[b.example]:2222",
    "192.0.2.1",
    "[192.0.2.1]:2222",
    "2001:db8::1",
    "none.invalid",
];

/// A file of known hosts, with lines of every kind, all of which OpenSSH takes for lines.
fn file(rig: &Rig, dice: &mut Dice) -> String {
    let keys: Vec<String> = ["host_ed25519", "host_rsa", "host_ecdsa256", "other"]
        .iter()
        .map(|name| rig.keys.public_line(name))
        .collect();
    let mut text = String::new();
    for _ in 0..dice.roll(12) {
        let key = &keys[dice.roll(keys.len())];
        let mut names = Vec::new();
        for _ in 0..1 + dice.roll(3) {
            names.push(dice.pick(&[
                "a.example",
                "b.example",
                "A.Example",
                "*.example",
                "?.example",
                "!a.example",
                "a.example.*",
                "[a.example]:2222",
                "[*.example]:2222",
                "192.0.2.1",
                "192.0.2.*",
                "2001:db8::1",
                "other",
            ]));
        }
        let line = match dice.roll(9) {
            0 => "# a comment".to_owned(),
            1 => String::new(),
            2 => format!("@revoked {} {key}", names.join(",")),
            3 => format!("@cert-authority {} {key} of a CA", names.join(",")),
            4 => hashed(rig, dice.pick(ASKED), key),
            5 => format!("  {}\t{key}\tsaid", names.join(",")),
            6 => format!("{} {key}\r", names.join(",")),
            _ => format!("{} {key}", names.join(",")),
        };
        text += &line;
        text += "\n";
    }
    text
}

/// A line as ssh-keygen hashes it.
fn hashed(rig: &Rig, name: &str, key: &str) -> String {
    let path = rig.write("to_hash", format!("{name} {key}\n"));
    let done = rig.run(false, &["-H", "-F", name, "-f", path.to_str().expect("text"), "-q"]);
    let text = String::from_utf8(done.stdout).expect("text");
    text.lines().last().expect("it is found").to_owned()
}

#[test]
fn u35_hosts_are_found_and_removed_as_ssh_keygen_does() {
    let Some(rig) = Rig::new() else { return };
    let (files, mut found, mut removed) = (if full() { 300 } else { 25 }, 0, 0);
    for n in 0..files {
        let text = file(&rig, &mut Dice(n + 1));
        rig.write("known_hosts", &text);
        for name in ASKED {
            let [ours, theirs] =
                [true, false].map(|o| shown(&rig.run(o, &["-F", name, "-f", "known_hosts"])));
            assert_eq!(ours, theirs, "{name} in\n{text}");
            found += usize::from(theirs.0 == Some(0));
            if n % 5 > 0 {
                continue;
            }
            let [ours, theirs] = [true, false].map(|ours| {
                rig.write("known_hosts", &text);
                let _ = fs::remove_file(rig.path("known_hosts.old"));
                let done = shown(&rig.run(ours, &["-R", name, "-f", "known_hosts"]));
                (done, fs::read(rig.path("known_hosts")).ok(), fs::read(rig.path("known_hosts.old")).ok())
            });
            assert_eq!(ours, theirs, "{name} from\n{text}");
            removed += usize::from(theirs.2.is_some());
            rig.write("known_hosts", &text);
        }
    }
    assert!(found > files as usize && removed > 5, "{found} found, {removed} removed");
}

#[test]
fn u35_names_are_hashed_so_that_ssh_keygen_finds_them() {
    let Some(rig) = Rig::new() else { return };
    for n in 0..10 {
        let text = file(&rig, &mut Dice(100 + n)).replace("A.Example", "a.example");
        let all = |name: &str| {
            let found =
                String::from_utf8(rig.run(false, &["-F", name, "-f", "known_hosts"]).stdout).expect("text");
            // The keys, since names are other ones then.
            let mut keys: Vec<String> =
                found.lines().filter_map(|line| Some(line.split_once("AAAA")?.1.into())).collect();
            keys.sort();
            keys
        };
        rig.write("known_hosts", &text);
        let before = ASKED.map_all(all);
        let [ours, theirs] = [true, false].map(|ours| {
            rig.write("known_hosts", &text);
            let _ = fs::remove_file(rig.path("known_hosts.old"));
            let done = shown(&rig.run(ours, &["-H", "-f", "known_hosts"]));
            let changed = fs::read_to_string(rig.path("known_hosts")).expect("it is there") != text;
            (done, changed, fs::read(rig.path("known_hosts.old")).ok())
        });
        // A file that stays as it is is not written anew.
        assert_eq!(ours.1, theirs.1);
        if theirs.1 {
            assert_eq!(ours, theirs, "{text}");
        }
        rig.write("known_hosts", &text);
        rig.run(true, &["-H", "-f", "known_hosts"]);
        let now = fs::read_to_string(rig.path("known_hosts")).expect("it is there");
        // Several names of one line are several lines then.
        let distinct = |lists: Vec<Vec<String>>| -> Vec<Vec<String>> {
            lists
                .into_iter()
                .map(|mut keys| {
                    keys.dedup();
                    keys
                })
                .collect()
        };
        assert_eq!(distinct(ASKED.map_all(all)), distinct(before), "{text}\n{now}");
    }
}

trait MapAll<T> {
    fn map_all<R>(&self, each: impl Fn(T) -> R) -> Vec<R>;
}

impl<'a> MapAll<&'a str> for [&'a str] {
    fn map_all<R>(&self, each: impl Fn(&'a str) -> R) -> Vec<R> {
        self.iter().map(|name| each(name)).collect()
    }
}

#[test]
fn a_file_that_makes_no_sense_is_left_alone_as_ssh_keygen_does() {
    let Some(rig) = Rig::new() else { return };
    let key = rig.keys.public_line("host_ed25519");
    for line in [
        "@nobody a.example ssh-ed25519 AAAA",
        "a.example",
        "a.example ssh-ed25519",
        "|1|x|y ssh-ed25519 AAAA",
    ] {
        let text = format!("a.example {key}\n{line}\nb.example {key}\n");
        for words in
            [&["-R", "a.example", "-f", "known_hosts"][..], &["-F", "b.example", "-f", "known_hosts"]]
        {
            let [ours, theirs] = [true, false].map(|ours| {
                rig.write("known_hosts", &text);
                let done = shown(&rig.run(ours, words));
                (done, fs::read_to_string(rig.path("known_hosts")).ok(), rig.path("known_hosts.old").exists())
            });
            assert_eq!(ours, theirs, "{line}");
        }
    }
    for words in [&["-F", "a", "-f", "missing"][..], &["-R", "a", "-f", "missing"], &["-H", "-f", "missing"]]
    {
        let [ours, theirs] = [true, false].map(|ours| shown(&rig.run(ours, words)));
        assert_eq!(ours, theirs, "{words:?}");
    }
}

#[test]
fn revocation_lists_of_either_are_read_by_both() {
    let Some(rig) = Rig::new() else { return };
    let public = |name: &str| rig.keys.public(name).display().to_string();
    let ca = public("ca");
    let spec = format!(
        "# revoked\nserial: 1\nserial: 3-900\nserial: 0x1000\nserial: 2000-100000\nid: alice\nid: bob of the office\n\
         {}\nkey: {}\nsha1: {}\nsha256: {} a comment\nhash: {}\n{}",
        rig.keys.public_line("user_ed25519"),
        rig.keys.public_line("user_rsa"),
        rig.keys.public_line("user_ecdsa256"),
        rig.keys.public_line("user_ecdsa384"),
        rig.keys.fingerprint("user_ecdsa521"),
        // Every third number, for a bitmap.
        (0..400).map(|n| format!("serial: {}\n", 200_000 + 3 * n)).collect::<String>(),
    );
    rig.write("spec", &spec);
    let mut more = vec!["other", "host_rsa"];
    more.extend([
        "user_ed25519",
        "user_rsa",
        "user_ecdsa256",
        "user_ecdsa384",
        "user_ecdsa521",
        "host_ed25519",
    ]);
    let files: Vec<String> = more.iter().map(|name| public(name)).collect();
    for (n, maker) in [true, false].into_iter().enumerate() {
        let krl = format!("krl{n}");
        let made = rig.run(maker, &["-k", "-f", &krl, "-s", &ca, "-z", "7", "-C", "a comment", "spec"]);
        assert_eq!(shown(&made), (Some(0), "Revoking from spec\n".into()), "{made:?}");
        rig.write("spec2", rig.keys.public_line("host_ed25519"));
        let updated = rig.run(!maker, &["-k", "-u", "-q", "-f", &krl, "spec2"]);
        assert_eq!(shown(&updated), (Some(0), String::new()), "{updated:?}");
        let mut words = vec!["-Q", "-f", &krl];
        words.extend(files.iter().map(String::as_str));
        let [ours, theirs] = [true, false].map(|ours| shown(&rig.run(ours, &words)));
        assert_eq!(ours, theirs);
        assert_eq!(
            (theirs.0, theirs.1.matches("REVOKED").count(), theirs.1.matches("ok").count()),
            (Some(1), 6, 2)
        );
        let [ours, theirs] = [true, false].map(|ours| {
            let (code, text) = shown(&rig.run(ours, &["-Q", "-l", "-f", &krl]));
            // Theirs is the time of the machine's zone, without a word about which.
            (
                code,
                text.lines()
                    .filter(|line| !line.starts_with("# Generated"))
                    .map(String::from)
                    .collect::<Vec<_>>(),
            )
        });
        assert_eq!(ours, theirs);
        assert!(theirs.1.iter().any(|line| line == "serial: 2000-100000"), "{theirs:?}");
    }
    // Without an authority, and for all.
    for (words, code) in [
        (&["-k", "-q", "-f", "krl2", "spec"][..], 255),
        (&["-k", "-q", "-f", "krl2", "-s", "none", "spec"], 0),
        (&["-k", "-q", "-u", "-f", "krl3", "spec2"], 255),
        (&["-Q", "-f", "spec", "spec2"], 255),
        (&["-Q", "-f", "missing", "spec2"], 255),
    ] {
        let [ours, theirs] = [true, false].map(|ours| shown(&rig.run(ours, words)));
        assert_eq!(ours, theirs, "{words:?}");
        assert_eq!(ours.0, Some(code), "{words:?}");
    }
}

/// A signature of `message` by a key for a namespace, made by one of the programs.
fn sign(rig: &Rig, ours: bool, kind: &str, namespace: &str, hash: &str) -> PathBuf {
    let key = rig.keys.private(&format!("user_{kind}")).display().to_string();
    let option = format!("hashalg={hash}");
    let done = rig.run_with(
        ours,
        &["-Y", "sign", "-q", "-f", &key, "-n", namespace, "-O", &option],
        &rig.path("message"),
    );
    assert!(done.status.success(), "{done:?}");
    rig.write(&format!("message.{kind}"), done.stdout)
}

#[test]
fn signatures_of_either_are_believed_by_both() {
    let Some(rig) = Rig::new() else { return };
    let message = rig.write("message", "a message\n");
    let other = rig.write("other", "another message\n");
    for (kind, _) in KINDS {
        let line = rig.keys.public_line(&format!("user_{kind}"));
        rig.write("signers", format!("# who\nalice,*@example.org namespaces=\"file*\" {line}\n"));
        for (signer, hash) in [(true, "sha512"), (false, "sha512"), (true, "sha256"), (false, "sha256")] {
            let signature = sign(&rig, signer, kind, "file", hash);
            let signature = signature.to_str().expect("text");
            for (principal, namespace, stdin, code) in [
                ("alice", "file", &message, 0),
                ("bob@example.org", "file", &message, 0),
                ("bob", "file", &message, 255),
                ("alice", "git", &message, 255),
                ("alice", "file", &other, 255),
            ] {
                let words =
                    ["-Y", "verify", "-f", "signers", "-I", principal, "-n", namespace, "-s", signature];
                let [ours, theirs] = [true, false].map(|ours| shown(&rig.run_with(ours, &words, stdin)));
                assert_eq!(ours, theirs, "{kind} {hash} {principal} {namespace}");
                assert_eq!(theirs.0, Some(code), "{principal} {namespace}");
            }
            for words in [
                &["-Y", "check-novalidate", "-n", "file", "-s", signature][..],
                &["-Y", "check-novalidate", "-n", "git", "-s", signature],
                &["-Y", "find-principals", "-f", "signers", "-s", signature],
                &["-Y", "match-principals", "-f", "signers", "-I", "x@example.org"],
                &["-Y", "match-principals", "-f", "signers", "-I", "x"],
            ] {
                let [ours, theirs] = [true, false].map(|ours| shown(&rig.run_with(ours, words, &message)));
                assert_eq!(ours, theirs, "{words:?}");
            }
        }
    }
}

#[test]
fn an_agent_signs_as_a_file_does() {
    let Some(rig) = Rig::new() else { return };
    let (Some(agent), Some(add)) = (installed("ssh-agent"), installed("ssh-add")) else { return };
    let message = rig.write("message", "a message\n");
    let socket = rig.path("agent");
    let mut agent =
        Command::new(agent).args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn().expect("it starts");
    let there = wait_until(Duration::from_secs(20), || socket.exists().then_some(()));
    let run = |words: &[&str]| {
        let stdin = fs::File::open(&message).expect("the file is there");
        rig.command(true, words).env("SSH_AUTH_SOCK", &socket).stdin(stdin).output().expect("it starts")
    };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        there.expect("the agent listens");
        for kind in ["ed25519", "rsa"] {
            // The public half alone is there: only the agent has the key.
            let public = rig.write("key.pub", rig.keys.public_line(&format!("user_{kind}")));
            let words = ["-Y", "sign", "-q", "-U", "-n", "file", "-f", public.to_str().expect("text")];
            assert_eq!(run(&words).status.code(), Some(255), "it does not have it yet");
            let key = rig.keys.private(&format!("user_{kind}"));
            let added =
                Command::new(&add).arg(key).env("SSH_AUTH_SOCK", &socket).output().expect("it starts");
            assert!(added.status.success(), "{added:?}");
            let signed = run(&words);
            assert!(signed.status.success(), "{signed:?}");
            rig.write("signature", &signed.stdout);
            let words = ["-Y", "check-novalidate", "-n", "file", "-s", "signature"];
            assert_eq!(rig.run_with(false, &words, &message).status.code(), Some(0));
        }
    }));
    let _ = agent.kill();
    let _ = agent.wait();
    if let Err(problem) = outcome {
        std::panic::resume_unwind(problem);
    }
}

#[test]
fn f33_allowed_signers_allow_what_they_allow_in_ssh_keygen() {
    let Some(rig) = Rig::new() else { return };
    let message = rig.write("message", "a message\n");
    let signature = sign(&rig, false, "ed25519", "file", "sha512");
    let signature = signature.to_str().expect("text");
    let (key, other) = (rig.keys.public_line("user_ed25519"), rig.keys.public_line("other"));
    let revoked = rig.write("revoked", format!("{other}\n{key}\n"));
    rig.run(false, &["-k", "-q", "-f", "krl", revoked.to_str().expect("text")]);
    let mut seen = [0, 0];
    for line in [
        format!("alice {key}"),
        format!("alice {key} a comment"),
        format!("\"alice\" {key}"),
        format!("alice {other}\nalice {key}"),
        format!("bob {key}"),
        format!("*,!alice {key}"),
        format!("al?ce {key}"),
        format!("ALICE {key}"),
        format!("alice cert-authority {key}"),
        format!("alice namespaces=\"file\" {key}"),
        format!("alice namespaces=\"git,f*\" {key}"),
        format!("alice namespaces=\"*,!file\" {key}"),
        format!("alice NAMESPACES=\"file\" {key}"),
        format!("alice valid-after=\"20200101Z\" {key}"),
        format!("alice valid-after=\"20300101Z\" {key}"),
        format!("alice valid-before=\"20200101Z\" {key}"),
        format!("alice valid-before=\"203001011200Z\" {key}"),
        format!("alice valid-after=\"20200101Z\",valid-before=\"20300101000000Z\" {key}"),
        format!("alice valid-after=\"20300101Z\",valid-before=\"20200101Z\" {key}"),
        format!("alice valid-after=\"soon\" {key}"),
        format!("alice unknown {key}"),
        format!("alice namespaces=file {key}"),
        format!("alice namespaces=\"file\",namespaces=\"git\" {key}"),
        format!("alice nonsense\nalice {key}"),
        format!("alice\nalice {key}"),
    ] {
        rig.write("signers", format!("{line}\n"));
        for extra in [
            &[][..],
            &["-r", "revoked"],
            &["-r", "krl"],
            &["-O", "verify-time=20310101Z"],
            &["-O", "print-pubkey"],
            &["-O", "hashalg=sha512"],
        ] {
            let mut words =
                vec!["-Y", "verify", "-f", "signers", "-I", "alice", "-n", "file", "-s", signature];
            words.extend(extra);
            let [ours, theirs] = [true, false].map(|ours| shown(&rig.run_with(ours, &words, &message)));
            // 9.2 does not print the key.
            if !(extra.contains(&"print-pubkey") && theirs.1.contains("Could not")) {
                assert_eq!(ours, theirs, "{line} {extra:?}");
            }
            seen[usize::from(theirs.0 == Some(0))] += 1;
        }
        for words in [
            &["-Y", "find-principals", "-f", "signers", "-s", signature][..],
            &["-Y", "match-principals", "-f", "signers", "-I", "alice"],
        ] {
            let [ours, theirs] = [true, false].map(|ours| shown(&rig.run_with(ours, words, &message)));
            if line.contains("nonsense") || line.starts_with("alice\n") {
                continue; // match-principals of OpenSSH ends at a line that it does not understand.
            }
            assert_eq!(ours.1, theirs.1, "{line} {words:?}");
            assert_eq!(ours.0 == Some(0), theirs.0 == Some(0), "{line} {words:?}");
        }
    }
    assert!(seen[0] > 40 && seen[1] > 20, "{seen:?}");
}

#[test]
fn git_signs_commits_with_it_and_believes_them() {
    let Some(rig) = Rig::new() else { return };
    let Some(git) = installed("git") else { return };
    let program = rig.write("sign", format!("#!/bin/sh\nexec '{}' keygen \"$@\"\n", rig.konko.display()));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&program, mode).expect("it is ours");
    let key = rig.keys.private("user_ed25519").display().to_string();
    rig.write(
        "signers",
        format!("me@example.org namespaces=\"git\" {}\n", rig.keys.public_line("user_ed25519")),
    );
    rig.write("strangers", format!("me@example.org {}\n", rig.keys.public_line("other")));
    let run = |signers: &str, words: &[&str]| {
        let mut command = Command::new(&git);
        let option = |name: &str, value: &str| format!("{name}={value}");
        for option in [
            option("gpg.format", "ssh"),
            option("gpg.ssh.program", program.to_str().expect("text")),
            option("gpg.ssh.allowedSignersFile", rig.path(signers).to_str().expect("text")),
            option("user.signingKey", &key),
            option("user.name", "Me"),
            option("user.email", "me@example.org"),
        ] {
            command.args(["-c", &option]);
        }
        command
            .args(words)
            .current_dir(rig.dir.path())
            .env("HOME", rig.dir.path())
            .env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("TZ", "UTC").output().expect("it starts")
    };
    assert!(run("signers", &["init", "-q"]).status.success());
    let made = run("signers", &["commit", "-q", "--allow-empty", "-S", "-m", "signed"]);
    assert!(made.status.success(), "{made:?}");
    let good = run("signers", &["verify-commit", "HEAD"]);
    let text = String::from_utf8_lossy(&good.stderr).into_owned();
    assert!(good.status.success() && text.contains("Good \"git\" signature for me@example.org"), "{text}");
    let bad = run("strangers", &["verify-commit", "HEAD"]);
    assert!(!bad.status.success(), "{bad:?}");
}

/// A certificate for a user's key with this serial number and key id, by the ring's authority.
fn certificate(rig: &Rig, kind: &str, serial: &str, id: &str, more: &[&str]) -> PathBuf {
    let name = format!("{kind}-{serial}-{id}");
    for (from, to) in [
        (rig.keys.private(&format!("user_{kind}")), name.clone()),
        (rig.keys.public(&format!("user_{kind}")), name.clone() + ".pub"),
    ] {
        fs::copy(from, rig.path(&to)).expect("the folder is writable");
    }
    let ca = rig.keys.private("ca").display().to_string();
    let public = name.clone() + ".pub";
    let mut words = vec!["-q", "-s", &ca, "-I", id, "-z", serial, "-n", "alice,bob"];
    words.extend(more);
    words.push(&public);
    let done = rig.run(false, &words);
    assert!(done.status.success(), "{done:?}");
    rig.path(&(name + "-cert.pub"))
}

#[test]
fn f06_certificates_are_revoked_alike() {
    let Some(rig) = Rig::new() else { return };
    let ca = rig.keys.public("ca").display().to_string();
    let certificates: Vec<PathBuf> = [
        ("ed25519", "1", "one"),
        ("ed25519", "7", "seven"),
        ("rsa", "0", "none"),
        ("ecdsa256", "12", "alice"),
        ("ecdsa256", "0", "bob"),
    ]
    .iter()
    .map(|(kind, serial, id)| certificate(&rig, kind, serial, id, &[]))
    .collect();
    let line = |n: usize| fs::read_to_string(&certificates[n]).expect("it is there");
    let mut seen = [0, 0];
    for spec in [
        "serial: 1\n".to_owned(),
        "serial: 5-20\n".into(),
        "id: alice\nid: none\n".into(),
        line(1),
        line(2),
        format!("key: {}", line(0)),
        format!("sha256: {}", line(3)),
        format!("sha1: {}", line(2)),
        rig.keys.public_line("user_rsa"),
        rig.keys.public_line("ca"),
    ] {
        rig.write("spec", &spec);
        for authority in [&ca, "none"] {
            for maker in [true, false] {
                let made = rig.run(maker, &["-k", "-q", "-f", "krl", "-s", authority, "spec"]);
                assert!(made.status.success(), "{made:?}");
                let mut words = vec!["-Q", "-f", "krl"];
                let files: Vec<String> = certificates.iter().map(|path| path.display().to_string()).collect();
                words.extend(files.iter().map(String::as_str));
                let [ours, theirs] = [true, false].map(|ours| shown(&rig.run(ours, &words)));
                assert_eq!(ours, theirs, "{spec}");
                seen[0] += theirs.1.matches(": ok").count();
                seen[1] += theirs.1.matches("REVOKED").count();
            }
        }
    }
    assert!(seen[0] > 50 && seen[1] > 50, "{seen:?}");
}

#[test]
fn f33_certificates_sign_as_ssh_keygen_lets_them() {
    let Some(rig) = Rig::new() else { return };
    let message = rig.write("message", "a message\n");
    let good = certificate(&rig, "ed25519", "1", "good", &["-V", "20200101:20400101"]);
    let old = certificate(&rig, "rsa", "2", "old", &["-V", "20200101:20210101"]);
    let host = certificate(&rig, "ecdsa256", "3", "host", &["-h"]);
    let (ca, other) = (rig.keys.public_line("ca"), rig.keys.public_line("other"));
    let mut seen = [0, 0];
    for certificate in [&good, &old, &host] {
        for signer in [true, false] {
            let path = certificate.display().to_string();
            let done = rig.run_with(signer, &["-Y", "sign", "-q", "-f", &path, "-n", "file"], &message);
            assert!(done.status.success(), "{done:?}");
            rig.write("signature", &done.stdout);
            for signers in [
                format!("* cert-authority {ca}\n"),
                format!("alice cert-authority {ca}\n"),
                format!("eve,alice cert-authority,namespaces=\"file\" {ca}\n"),
                format!("alice cert-authority,namespaces=\"git\" {ca}\n"),
                format!("alice cert-authority {other}\n"),
                format!("alice {ca}\n"),
            ] {
                rig.write("signers", &signers);
                for words in [
                    &["-Y", "verify", "-f", "signers", "-I", "alice", "-n", "file", "-s", "signature"][..],
                    &["-Y", "verify", "-f", "signers", "-I", "eve", "-n", "file", "-s", "signature"],
                    &["-Y", "find-principals", "-f", "signers", "-s", "signature"],
                ] {
                    let [ours, theirs] =
                        [true, false].map(|ours| shown(&rig.run_with(ours, words, &message)));
                    assert_eq!(ours, theirs, "{certificate:?} {signers} {words:?}");
                    seen[usize::from(theirs.0 == Some(0))] += 1;
                }
            }
        }
    }
    assert!(seen[0] > 20 && seen[1] > 8, "{seen:?}");
}
