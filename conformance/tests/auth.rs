//! Logging in: keys of all kinds with OpenSSH's server, passwords and prompts with AsyncSSH's.

use konko_conformance::keys::{KINDS, PASSPHRASE};
use konko_conformance::{AsyncSshServer, Feed, Invocation, OpenSsh, Program, Sshd, not_run};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn openssh(extra: &[&str]) -> Option<(Program, Sshd)> {
    let program = Program::under_test()?;
    let Some(openssh) = OpenSsh::system() else {
        not_run("logging in to OpenSSH's server", "sshd or ssh is not installed");
        return None;
    };
    Some((program, Sshd::start(&openssh, extra)))
}

fn asyncssh() -> Option<(Program, AsyncSshServer)> {
    Some((Program::under_test()?, AsyncSshServer::start()?))
}

fn call(program: &Program, server: &AsyncSshServer, user: &str) -> Invocation {
    program
        .call(&server.folder(), server.port)
        .option("StrictHostKeyChecking", "yes")
        .option("BatchMode", "yes")
        .user(user)
}

/// A program that answers prompts: the answer of the first pair whose text stands in the prompt. Prompts are appended
/// to the file `prompts` beside it.
fn askpass(folder: &Path, answers: &[(&str, &str)]) -> PathBuf {
    let path = folder.join("askpass");
    let mut script =
        format!("#!/bin/sh\nprintf '%s\\n' \"$1\" >>'{}'\ncase $1 in\n", prompts(folder).display());
    for (prompt, answer) in answers {
        script += &format!("*\"{prompt}\"*) echo \"{answer}\";;\n");
    }
    script += "*) exit 1;;\nesac\n";
    fs::write(&path, script).expect("the folder is writable");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("the file is ours");
    path
}

fn prompts(folder: &Path) -> PathBuf {
    folder.join("prompts")
}

fn asked(folder: &Path) -> String {
    fs::read_to_string(prompts(folder)).unwrap_or_default()
}

#[test]
fn keys_of_every_kind() {
    let Some((program, sshd)) = openssh(&[]) else { return };
    for (kind, _) in KINDS {
        let call = program.call(&sshd.file(""), sshd.port).option("BatchMode", "yes");
        let call = call.option("PreferredAuthentications", "publickey");
        call.identity(&sshd.keys, &format!("user_{kind}")).run("exit 8").expect_code(8);
    }
}

/// Of the other direction: `each_algorithm_of_each_client`.
#[test]
fn key_exchanges_that_openssh_lacks_with_asyncssh() {
    let Some((program, server)) = asyncssh() else { return };
    if program.is_openssh() {
        return;
    }
    for kex in [
        "mlkem768nistp256-sha256",
        "mlkem1024nistp384-sha384",
        "diffie-hellman-group15-sha512",
        "diffie-hellman-group17-sha512",
    ] {
        let call = call(&program, &server, "key").identity(&server.keys, "user_ed25519");
        call.option("KexAlgorithms", kex).option("RekeyLimit", "64K").run("exit 5").expect_code(5);
    }
}

#[test]
fn rsa_with_each_hash() {
    for algorithm in ["rsa-sha2-256", "rsa-sha2-512"] {
        let Some((program, sshd)) = openssh(&[&format!("PubkeyAcceptedAlgorithms {algorithm}")]) else {
            return;
        };
        let call = program.call(&sshd.file(""), sshd.port).option("BatchMode", "yes");
        let call = call.option("PubkeyAcceptedAlgorithms", algorithm).identity(&sshd.keys, "user_rsa");
        call.run("true").expect_code(0);
    }
}

#[test]
fn certificates() {
    let Some((program, sshd)) = openssh(&["AuthorizedKeysFile none"]) else { return };
    for (kind, _) in KINDS {
        // The certificate stands beside its key, where it is found.
        let call = program.call(&sshd.file(""), sshd.port).option("BatchMode", "yes");
        call.identity(&sshd.keys, &format!("user_{kind}")).run("true").expect_code(0);
    }
    let call = program.call(&sshd.file(""), sshd.port).option("BatchMode", "yes");
    call.identity(&sshd.keys, "other").run("true").expect_code(255);
}

#[test]
fn a_key_that_nobody_knows_is_refused() {
    let Some((program, sshd)) = openssh(&[]) else { return };
    let call =
        program.call(&sshd.file(""), sshd.port).option("BatchMode", "yes").identity(&sshd.keys, "other");
    let done = call.run("echo no");
    done.expect_code(255).expect_stderr(&["denied"]).expect_stderr(&["publickey"]);
    assert_eq!(done.stdout.text(), "");
}

#[test]
fn a_user_that_does_not_exist_is_refused() {
    let Some((program, sshd)) = openssh(&[]) else { return };
    program.to(&sshd).user("nobody-of-this-name").run("true").expect_code(255).expect_stderr(&["denied"]);
}

#[test]
fn a_key_file_that_is_missing_broken_or_open_to_all() {
    let Some((program, sshd)) = openssh(&[]) else { return };
    let call = |path: &Path| {
        let call = program.call(&sshd.file(""), sshd.port).option("BatchMode", "yes");
        call.identity_file(path).deadline(Duration::from_secs(20)).run("echo no")
    };
    let missing = sshd.file("no-such-key");
    call(&missing).expect_code(255).expect_stderr(&["no-such-key"]);
    let broken = sshd.file("broken");
    fs::write(
        &broken,
        "-----BEGIN OPENSSH PRIVATE KEY-----\nbm90IGEga2V5\n-----END OPENSSH PRIVATE KEY-----\n",
    )
    .expect("the folder is writable");
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o600)).expect("the file is ours");
    call(&broken).expect_code(255).expect_stderr(&["broken"]);
    let open = sshd.file("open");
    fs::copy(sshd.keys.private("user_ed25519"), &open).expect("the folder is writable");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).expect("the file is ours");
    call(&open).expect_code(255).expect_stderr(&["permission"]);
}

#[test]
fn an_encrypted_key_asks_for_its_passphrase() {
    let Some((program, sshd)) = openssh(&[]) else { return };
    let call = || program.call(&sshd.file(""), sshd.port).identity(&sshd.keys, "user_encrypted");
    // In batch mode nobody can be asked: an error, not a wait.
    let batch = call().option("BatchMode", "yes").deadline(Duration::from_secs(20));
    batch.run("true").expect_code(255);
    let folder = sshd.file("");
    call().askpass(&askpass(&folder, &[("passphrase", PASSPHRASE)])).run("exit 3").expect_code(3);
    assert!(asked(&folder).contains("user_encrypted"), "the prompt names the key: {}", asked(&folder));
    let wrong = call().askpass(&askpass(&folder, &[("passphrase", "wrong")]));
    wrong.run("true").expect_code(255);
}

#[test]
fn two_keys_where_the_server_wants_two() {
    let Some((program, sshd)) = openssh(&["AuthenticationMethods publickey,publickey"]) else { return };
    let one = program.to(&sshd).run("true");
    one.expect_code(255).expect_stderr(&["denied"]);
    let both = program.to(&sshd).identity(&sshd.keys, "user_rsa");
    both.run("true").expect_code(0);
}

#[test]
fn the_right_key_after_wrong_ones() {
    let Some((program, sshd)) = openssh(&["MaxAuthTries 4"]) else { return };
    let call = program.call(&sshd.file(""), sshd.port).option("BatchMode", "yes");
    let call = call.identity(&sshd.keys, "other").identity(&sshd.keys, "user_ecdsa256");
    call.run("true").expect_code(0);
}

#[test]
fn a_method_that_is_not_preferred_is_not_tried() {
    let Some((program, sshd)) = openssh(&[]) else { return };
    let done = program.to(&sshd).option("PreferredAuthentications", "password").run("true");
    done.expect_code(255).expect_stderr(&["denied"]);
}

#[test]
fn asyncssh_runs_commands() {
    let Some((program, server)) = asyncssh() else { return };
    let key =
        |command: &str| call(&program, &server, "key").identity(&server.keys, "user_ed25519").run(command);
    key("exit 7").expect_code(7);
    let signal = key("signal SEGV");
    assert_ne!(signal.code(), 0);
    if !program.is_openssh() {
        signal.expect_stderr(&["SEGV"]);
    }
    let both = key("both");
    assert_eq!((both.stdout.text().as_str(), both.stderr.text().as_str()), ("to output\n", "to error\n"));
    let echo = call(&program, &server, "key").identity(&server.keys, "user_ed25519");
    let done = echo.feed(Feed::Bytes(b"back and forth".to_vec())).run("echo");
    assert_eq!(done.stdout.text(), "back and forth");
    let pty = call(&program, &server, "key").identity(&server.keys, "user_ed25519");
    let done = pty.args(&["-tt"]).env("TERM", "vt220").run("pty");
    assert!(done.stdout.text().contains("term vt220"), "{done}");
}

#[test]
fn nothing_is_enough_where_nothing_is_asked() {
    let Some((program, server)) = asyncssh() else { return };
    call(&program, &server, "none").run("exit 2").expect_code(2);
}

#[test]
fn a_password() {
    let Some((program, server)) = asyncssh() else { return };
    let folder = server.folder();
    let right = askpass(&folder, &[("password", "secret")]);
    call(&program, &server, "password").askpass(&right).run("exit 6").expect_code(6);
    assert!(
        asked(&folder).contains("password@127.0.0.1"),
        "the prompt names the account: {}",
        asked(&folder)
    );
    let wrong = askpass(&folder, &[("password", "guess")]);
    let done = call(&program, &server, "password").askpass(&wrong).run("true");
    done.expect_code(255).expect_stderr(&["denied"]);
    // Nobody can be asked in batch mode.
    call(&program, &server, "password").run("true").expect_code(255).expect_stderr(&["denied"]);
}

#[test]
fn a_password_that_must_be_changed() {
    let Some((program, server)) = asyncssh() else { return };
    let answers = [("new password", "new"), ("password", "old")];
    let program_of_answers = askpass(&server.folder(), &answers);
    let done = call(&program, &server, "expired").askpass(&program_of_answers).run("exit 4");
    done.expect_code(4);
}

#[test]
fn prompts_in_two_rounds() {
    let Some((program, server)) = asyncssh() else { return };
    let right = askpass(&server.folder(), &[("Colour?", "blue"), ("Code:", "123456")]);
    call(&program, &server, "prompts").askpass(&right).run("exit 5").expect_code(5);
    let wrong = askpass(&server.folder(), &[("Colour?", "blue"), ("Code:", "654321")]);
    call(&program, &server, "prompts")
        .askpass(&wrong)
        .run("true")
        .expect_code(255)
        .expect_stderr(&["denied"]);
}

#[test]
fn a_round_without_prompts() {
    let Some((program, server)) = asyncssh() else { return };
    let answers = askpass(&server.folder(), &[]);
    call(&program, &server, "empty").askpass(&answers).run("exit 5").expect_code(5);
    assert_eq!(asked(&server.folder()), "");
}

#[test]
fn a_key_and_then_a_password() {
    let Some((program, server)) = asyncssh() else { return };
    let key = || call(&program, &server, "two").identity(&server.keys, "user_ed25519");
    let right = askpass(&server.folder(), &[("password", "secret")]);
    key().askpass(&right).run("exit 9").expect_code(9);
    let done = key().run("true");
    done.expect_code(255).expect_stderr(&["denied"]);
    let without =
        call(&program, &server, "two").askpass(&right).option("PreferredAuthentications", "password");
    without.run("true").expect_code(255);
}

#[test]
fn a_banner_is_shown_and_escaped() {
    let Some((program, server)) = asyncssh() else { return };
    let done = call(&program, &server, "banner").identity(&server.keys, "user_ed25519").run("true");
    done.expect_code(0).expect_stderr(&["second line"]);
    assert!(!done.stderr.bytes.contains(&0x1b), "{done}");
    let quiet = call(&program, &server, "banner").identity(&server.keys, "user_ed25519");
    let done = quiet.args(&["-q"]).run("true");
    assert_eq!(done.stderr.text(), "");
}
