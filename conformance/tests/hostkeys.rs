//! Whom the program trusts: known_hosts in all its forms, against OpenSSH's server.

use konko_conformance::{Invocation, OpenSsh, Program, Sshd, not_run};
use std::fs;
use std::process::Command;

fn server() -> Option<(Program, Sshd)> {
    let program = Program::under_test()?;
    let Some(openssh) = OpenSsh::system() else {
        not_run("host keys of OpenSSH's server", "sshd or ssh is not installed");
        return None;
    };
    let sshd = Sshd::with_host_keys(&openssh, &["ed25519"], &[]);
    Some((program, sshd))
}

/// A call with these lines as its known_hosts; `HOST` stands for the server.
fn knowing(program: &Program, sshd: &Sshd, lines: &str) -> Invocation {
    let lines = lines.replace("HOST", &sshd.host_pattern());
    fs::write(sshd.known_hosts(), lines).expect("the folder is writable");
    // A host key, not a certificate: this is about keys unless a test says otherwise.
    program.to(sshd).option("HostKeyAlgorithms", "ssh-ed25519")
}

fn key(sshd: &Sshd) -> String {
    sshd.keys.public_line("host_ed25519")
}

#[test]
fn a_known_host_is_trusted() {
    let Some((program, sshd)) = server() else { return };
    let line =
        format!("# a comment\n\nelsewhere ssh-ed25519 AAAA\nHOST,other {} with a comment\n", key(&sshd));
    knowing(&program, &sshd, &line).run("true").expect_code(0);
}

#[test]
fn an_unknown_host_is_refused_in_batch_mode() {
    let Some((program, sshd)) = server() else { return };
    for strict in ["yes", "ask"] {
        let done = knowing(&program, &sshd, "").option("StrictHostKeyChecking", strict).run("echo no");
        done.expect_code(255);
        assert_eq!(done.stdout.text(), "");
        done.expect_stderr(&["host key"]);
        if !program.is_openssh() {
            done.expect_stderr(&[&sshd.keys.fingerprint("host_ed25519")]);
        }
        assert_eq!(fs::read_to_string(sshd.known_hosts()).expect("still there"), "");
    }
}

#[test]
fn a_changed_key_is_refused_loudly() {
    let Some((program, sshd)) = server() else { return };
    let other = sshd.keys.public_line("other");
    for strict in ["yes", "ask", "accept-new"] {
        let lines = format!("# first line\nHOST {other}\n");
        let done = knowing(&program, &sshd, &lines).option("StrictHostKeyChecking", strict).run("echo no");
        done.expect_code(255);
        assert_eq!(done.stdout.text(), "");
        done.expect_stderr(&["changed"]);
        done.expect_stderr(&[&sshd.keys.fingerprint("host_ed25519")]);
        let place = format!("{}:2", sshd.known_hosts().display());
        done.expect_stderr(&[&place]);
        let kept = fs::read_to_string(sshd.known_hosts()).expect("still there");
        assert_eq!(kept, lines.replace("HOST", &sshd.host_pattern()));
    }
}

#[test]
fn accept_new_adds_the_host_once() {
    let Some((program, sshd)) = server() else { return };
    let call = |lines: &str| knowing(&program, &sshd, lines).option("StrictHostKeyChecking", "accept-new");
    // Where the last line of the file has no end, what is added must not join it; with OpenSSH 9.2 it does.
    let end = if program.is_openssh() { "\n" } else { "" };
    call(&format!("elsewhere ssh-ed25519 AAAA{end}")).run("true").expect_code(0);
    let first = fs::read_to_string(sshd.known_hosts()).expect("still there");
    let added: Vec<&str> = first.lines().skip(1).collect();
    assert_eq!(first.lines().next(), Some("elsewhere ssh-ed25519 AAAA"));
    assert_eq!(added.len(), 1, "{first}");
    assert!(added[0].ends_with(&key(&sshd)), "{first}");
    call(&first).run("true").expect_code(0);
    assert_eq!(fs::read_to_string(sshd.known_hosts()).expect("still there"), first);
}

#[test]
fn accept_new_makes_the_file() {
    let Some((program, sshd)) = server() else { return };
    let path = sshd.file("new/known_hosts");
    fs::create_dir(sshd.file("new")).expect("the folder is writable");
    let call = program.to(&sshd).option("StrictHostKeyChecking", "accept-new");
    // Debian's configuration says yes.
    let call = call.option("HashKnownHosts", "no");
    call.option("UserKnownHostsFile", path.display()).run("true").expect_code(0);
    assert!(fs::read_to_string(path).expect("made").contains(&sshd.host_pattern()));
}

#[test]
fn no_checking_connects() {
    let Some((program, sshd)) = server() else { return };
    knowing(&program, &sshd, "").option("StrictHostKeyChecking", "no").run("true").expect_code(0);
}

#[test]
fn a_revoked_key_is_refused_even_when_known() {
    let Some((program, sshd)) = server() else { return };
    let lines = format!("HOST {0}\n@revoked * {0}\n", key(&sshd));
    for strict in ["yes", "ask", "accept-new"] {
        let done = knowing(&program, &sshd, &lines).option("StrictHostKeyChecking", strict).run("echo no");
        done.expect_code(255).expect_stderr(&["revoked"]);
        assert_eq!(done.stdout.text(), "");
    }
}

#[test]
fn hashed_names_are_known() {
    let Some((program, sshd)) = server() else { return };
    let call = knowing(&program, &sshd, &format!("HOST {}\n", key(&sshd)));
    let hashed =
        Command::new("ssh-keygen").arg("-Hf").arg(sshd.known_hosts()).output().expect("ssh-keygen runs");
    assert!(hashed.status.success());
    assert!(fs::read_to_string(sshd.known_hosts()).expect("still there").starts_with("|1|"));
    call.run("true").expect_code(0);
}

#[test]
fn wildcards_and_negation() {
    let Some((program, sshd)) = server() else { return };
    let key = key(&sshd);
    knowing(&program, &sshd, &format!("[127.0.0.*]:* {key}\n")).run("true").expect_code(0);
    knowing(&program, &sshd, &format!("!HOST,[127.0.0.*]:* {key}\n")).run("true").expect_code(255);
}

#[test]
fn the_port_is_part_of_the_name() {
    let Some((program, sshd)) = server() else { return };
    let other = format!("[127.0.0.1]:1 {}\n", key(&sshd));
    knowing(&program, &sshd, &other).run("true").expect_code(255);
}

#[test]
fn a_certificate_authority_vouches() {
    let Some((program, sshd)) = server() else { return };
    let certificate = "ssh-ed25519-cert-v01@openssh.com";
    let ca = format!("@cert-authority HOST {}\n", sshd.keys.public_line("ca"));
    // An authority makes no plain key known, and least of all its own.
    knowing(&program, &sshd, &ca).run("true").expect_code(255).expect_stderr(&["SHA256:"]);
    knowing(&program, &sshd, &ca).option("HostKeyAlgorithms", certificate).run("true").expect_code(0);
    let wrong = format!("@cert-authority HOST {}\n", sshd.keys.public_line("other"));
    knowing(&program, &sshd, &wrong).option("HostKeyAlgorithms", certificate).run("true").expect_code(255);
}

#[test]
fn the_key_that_is_known_is_asked_for() {
    let Some((program, _)) = server() else { return };
    let openssh = OpenSsh::system().expect("seen above");
    let sshd = Sshd::with_host_keys(&openssh, &["ed25519", "rsa", "ecdsa384"], &[]);
    for kind in ["ed25519", "rsa", "ecdsa384"] {
        let line = format!("{} {}\n", sshd.host_pattern(), sshd.keys.public_line(&format!("host_{kind}")));
        fs::write(sshd.known_hosts(), line).expect("the folder is writable");
        program.to(&sshd).run("true").expect_code(0);
    }
}

/// OpenSSH takes these for empty, but for a FIFO, for which it waits.
#[test]
fn a4_files_that_cannot_be_read_refuse_the_host() {
    let Some((program, sshd)) = server() else { return };
    if program.is_openssh() {
        return;
    }
    let fifo = sshd.file("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs").success());
    let large = sshd.file("large");
    fs::File::create(&large).and_then(|file| file.set_len(17 << 20)).expect("the folder is writable");
    let known = format!("HOST {}\n", key(&sshd));
    for path in [&fifo, &large, &sshd.file(""), &"/dev/zero".into()] {
        for option in ["UserKnownHostsFile", "GlobalKnownHostsFile"] {
            for strict in ["yes", "accept-new", "no"] {
                let call = knowing(&program, &sshd, &known).option("StrictHostKeyChecking", strict);
                let done = call.option(option, path.display()).run("echo in");
                done.expect_code(255).expect_stderr(&[&path.display().to_string()]);
                assert_eq!(done.stdout.text(), "", "{option} {strict}");
            }
        }
    }
    for empty in ["none", "/dev/null", "/nonexistent/known_hosts"] {
        let call = knowing(&program, &sshd, &known).option("GlobalKnownHostsFile", empty);
        call.run("true").expect_code(0);
    }
}

/// What OpenSSH looks a host up by: `ssh -G` prints it.
#[test]
fn a5_addresses_are_spelt_as_openssh_spells_them() {
    if OpenSsh::system().is_none() {
        not_run("spellings of addresses", "ssh is not installed");
        return;
    }
    let spellings = "::1 0::1 0:0:0:0:0:0:0:1 127.1 127.0.1 2130706433 0x7f.1 0X7F.1 0x7f000001 0177.0.0.01 \
        017700000001 010.0.0.1 1 0 0x 08 256 1.256 1.16777216 1.2.65536 1.2.3.256 4294967295 4294967296 1.2.3.4.5 \
        1e3 ::ffff:127.0.0.1 ::FFFF:7f00:1 ::ffff:0:1 ::102:304 ::1:0 64:ff9b::1.2.3.4 2001:DB8::A \
        2001:db8:0:0:1:0:0:1 1:0:2:0:0:3:0:0 1:2:3:4:5:6:7:: 00000::1 ::ffff:127.1 fe80::1%lo FE80:0::1%lo fe80::1%0 \
        ::1%1 ::1%001 127.0.0.1%1 10.0.0.0.example";
    for spelt in spellings.split_whitespace() {
        let out = Command::new("ssh").args(["-F", "none", "-G", spelt]).output().expect("ssh runs");
        let text = String::from_utf8(out.stdout).expect("text");
        let name = text.lines().find_map(|line| line.strip_prefix("hostname ")).expect("a host name");
        assert_eq!(konko_core::hosts::canonical(spelt, 22), name.to_lowercase(), "{spelt}");
    }
}
