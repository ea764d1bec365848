//! `konko ssh` with servers and environments that are not as one would like them.

mod device;
mod odd_server;
mod program;

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output};

use device::{Answers, device};
use odd_server::{failure, strings};
use program::{Home, Running, konko, run, wait};

/// A call of `konko ssh` at a port where a server is that nobody knows.
fn ssh(home: &Home, port: u16, arguments: &[&str]) -> Command {
    let mut call = home.call("ssh");
    call.args(["-p", &port.to_string(), "-o", "StrictHostKeyChecking=no"]);
    call.args(arguments);
    call
}

fn text(out: &Output) -> (String, String, Option<i32>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&out.stdout), text(&out.stderr), out.status.code())
}

/// Runs a call whose standard streams are a terminal; what is seen there, and the status.
fn on_terminal(mut call: Command) -> (String, Option<i32>) {
    let (pty, pts) = pty_process::blocking::open().unwrap();
    let side = || -> OwnedFd { pts.as_fd().try_clone_to_owned().unwrap() };
    call.stdin(side()).stdout(side()).stderr(side());
    let mut child = Running(call.spawn().unwrap());
    call.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    call.stderr(std::process::Stdio::null());
    drop(pts);
    let seen = program::collect(pty);
    let status = wait(&mut child.0, &call);
    (String::from_utf8_lossy(&seen.join().unwrap()).into_owned(), status.code())
}

/// A home whose calls go to `port`.
fn home(port: u16) -> Home {
    Home { port, ..Home::new() }
}

#[test]
fn c4_output_of_a_device_that_answers_nothing_is_shown() {
    let home = home(device(Answers::Never, Answers::Never, true).port());
    for flags in [&[][..], &["-tt"]] {
        let mut call = ssh(&home, home.port, flags);
        call.args([Home::at(), "x"]);
        let (out, err, code) = text(&run(call));
        assert_eq!((&out[..], code), ("hello\n", Some(3)), "{flags:?} {err}");
    }
}

#[test]
fn c4_a_refused_command_is_said() {
    let home = home(device(Answers::Yes, Answers::No, false).port());
    let mut call = ssh(&home, home.port, &[]);
    call.args([Home::at(), "x"]);
    let (_, err, code) = text(&run(call));
    assert!(code == Some(255) && err.contains("refused the request: exec"), "{err}");
}

/// As OpenSSH 9.2: without a terminal the session goes on, unless one was asked for.
#[test]
fn c3_a_server_without_terminals_is_no_error_unless_one_was_asked_for() {
    let home = home(device(Answers::No, Answers::Yes, true).port());
    for (flags, status) in [(&[][..], 3), (&["-t"], 255), (&["-tt"], 255)] {
        let mut call = ssh(&home, home.port, flags);
        call.arg(Home::at());
        let (seen, code) = on_terminal(call);
        assert_eq!(code, Some(status), "{flags:?} {seen}");
        assert!(seen.contains("the server gives no terminal"), "{seen}");
        assert!(status != 3 || seen.contains("hello"), "{seen}");
    }
}

#[test]
fn c22_the_end_of_a_session_on_a_terminal_is_said() {
    let home = home(device(Answers::Yes, Answers::Yes, true).port());
    let call = |flags: &[&str]| {
        let mut call = ssh(&home, home.port, flags);
        call.arg(Home::at());
        on_terminal(call)
    };
    let (seen, code) = call(&[]);
    assert!(seen.contains("Connection to 127.0.0.1 closed.\r\n") && code == Some(3), "{seen}");
    let (seen, _) = call(&["-q"]);
    assert!(!seen.contains("closed"), "{seen}");
}

/// RFC 4251 §9.2 leaves tab, carriage return and line feed alone, RFC 4252 §5.4 ends lines with CR LF.
#[test]
fn c8_lines_that_end_in_cr_lf_are_lines() {
    let server = odd_server::serve(|server| {
        server.request();
        server.send(&[strings(53, &[b"Authorized\tusers\r\n\\o/ \x1b[2J\r\n", b"en"])]);
        server.send(&[failure("keyboard-interactive")]);
        server.request();
        let mut m = strings(60, &[b"Token", b"Push sent\r\nApprove it", b""]);
        m.extend([0, 0, 0, 0]);
        server.send(&[m]);
        while server.next()[0] != 61 {}
        server.let_in();
        let channel = device::open(server);
        while device::request(server).0 != "exec" {}
        device::hello(server, channel);
    });
    let home = home(server.port());
    let mut call = konko(["ssh", "-p", &server.port().to_string(), "-o", "StrictHostKeyChecking=no"]);
    call.args(["-o", "UserKnownHostsFile=/dev/null", Home::at(), "x"]).env("HOME", home.path());
    call.stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let (_, err, code) = text(&run(call));
    assert_eq!(code, Some(3), "{err}");
    assert!(
        err.contains("Authorized\tusers\r\n\\o/ \\x1b[2J") && err.contains("Push sent\r\nApprove it"),
        "{err:?}"
    );
}

#[test]
fn c10_an_environment_that_is_not_text_is_none_of_our_business() {
    let home = Home::serve(&["-o", "AcceptEnv=SOME*"]);
    let latin = OsStr::from_bytes(b"caf\xe9");
    let mut call = home.call("ssh");
    call.env("SOME", latin).env(OsStr::from_bytes(b"SOME\xff"), "x").env("TERM", latin);
    call.args(["-o", "SendEnv=SOME*", Home::at()]);
    call.arg(OsStr::from_bytes(b"printf %s \"$SOME\" 'a\xff'"));
    let out = run(call);
    assert_eq!(out.stdout, b"caf\xe9a\xff", "{}", String::from_utf8_lossy(&out.stderr));
    // Who the user is, is the server's to say.
    let mut call = home.call("ssh");
    call.arg(OsStr::from_bytes(b"some\xe9@127.0.0.1"));
    let (_, err, _) = text(&run(call));
    assert!(err.contains(r#"permission denied for user "some\xe9""#), "{err}");
}

#[test]
fn c10_names_of_files_are_bytes_in_every_program() {
    let home = Home::serve(&[]);
    let name = OsStr::from_bytes(b"na\xffme");
    std::fs::write(home.file(name), "content").unwrap();
    let there = |name: &[u8]| {
        let path = home.file(OsStr::from_bytes(name));
        OsStr::from_bytes(&[Home::at().as_bytes(), b":", path.as_os_str().as_bytes()].concat()).to_owned()
    };
    let check = |call: Command, name: &[u8]| {
        let (_, err, code) = text(&run(call));
        assert_eq!(code, Some(0), "{err}");
        assert_eq!(std::fs::read(home.file(OsStr::from_bytes(name))).unwrap(), b"content");
    };
    let mut call = home.call("scp");
    call.arg(there(b"na\xffme")).arg(home.file(OsStr::from_bytes(b"down\xfe")));
    check(call, b"down\xfe");
    let mut call = home.call("scp");
    call.arg(home.file(name)).arg(there(b"up\xfe"));
    check(call, b"up\xfe");
    let mut call = home.call("sftp");
    call.arg(there(b"na\xffme")).arg(home.file(OsStr::from_bytes(b"got\xfe")));
    check(call, b"got\xfe");
    // A key, a file of known hosts and a batch of such names.
    for (old, new) in [("user", &b"key\xff"[..]), ("known_hosts", b"known\xff")] {
        std::fs::copy(home.file(old), home.file(OsStr::from_bytes(new))).unwrap();
    }
    let to = home.file(OsStr::from_bytes(b"put\xfe"));
    let batch =
        [b"put ", home.file(name).as_os_str().as_bytes(), b" ", to.as_os_str().as_bytes(), b"\n"].concat();
    std::fs::write(home.file(OsStr::from_bytes(b"batch\xff")), batch).unwrap();
    let mut call = konko(["sftp", "-P", &home.port.to_string(), "-i"]);
    let known =
        [b"UserKnownHostsFile=", home.file(OsStr::from_bytes(b"known\xff")).as_os_str().as_bytes()].concat();
    call.arg(home.file(OsStr::from_bytes(b"key\xff"))).arg("-o").arg(OsStr::from_bytes(&known));
    call.arg("-b").arg(home.file(OsStr::from_bytes(b"batch\xff"))).arg(Home::at()).env("HOME", home.path());
    call.stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    check(call, b"put\xfe");
}

#[test]
fn c11_values_in_quotes_reach_the_command() {
    let home = Home::serve(&["-o", "AcceptEnv=*"]);
    std::fs::create_dir(home.file("a b")).unwrap();
    std::fs::rename(home.file("known_hosts"), home.file("a b/kh")).unwrap();
    let mut call = konko(["ssh", "-p", &home.port.to_string(), "-o", "BatchMode=yes", "-i"]);
    call.arg(home.file("user")).args(["-o", "SetEnv=FOO=\"x y\" BAR=z", "-o"]);
    call.arg(format!("UserKnownHostsFile=/nonexistent \"{}/a b/kh\"", home.path().display()));
    call.args([Home::at(), "echo \"[$FOO][$BAR]\""]).env("HOME", home.path());
    call.stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let (out, err, _) = text(&run(call));
    assert_eq!(out, "[x y][z]\n", "{err}");
}

/// The words with which other programs start their ssh.
#[test]
fn c17_other_programs_can_use_konko_as_their_ssh() {
    let home = Home::serve(&[]);
    let version = [0, 0, 0, 5, 1, 0, 0, 0, 3];
    std::fs::write(home.file("init"), version).unwrap();
    let sftp = |words: &str| {
        let mut call = home.call("ssh");
        call.args(words.split('|')).stdin(std::fs::File::open(home.file("init")).unwrap());
        let out = run(call);
        let err = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.stdout.get(4) == Some(&2), "{words}: {:?} {err}", out.stdout);
    };
    // scp -S, sftp -S, sshfs, restic.
    sftp(
        "-x|-oPermitLocalCommand=no|-oClearAllForwardings=yes|-oRemoteCommand=none|-oRequestTTY=no|-l|me|-s|--|127.0.0.1|sftp",
    );
    sftp(
        "-oForwardX11 no|-oPermitLocalCommand no|-oClearAllForwardings yes|-oForwardAgent no|-x|-a|-s|--|127.0.0.1|sftp",
    );
    sftp("-x|-a|-oClearAllForwardings=yes|-2|me@127.0.0.1|-s|sftp");
    sftp("127.0.0.1|-l|me|-s|sftp");
    // ansible.
    let mut call = home.call("ssh");
    call.args(["-C", "-o", "ControlMaster=auto", "-o", "ControlPersist=60s", "-o", "ControlPath=\"/x/%C\""]);
    call.args([
        "-o",
        "KbdInteractiveAuthentication=no",
        "-o",
        "PasswordAuthentication=no",
        "-o",
        "User=\"me\"",
    ]);
    call.args(["-o", "PreferredAuthentications=gssapi-with-mic,gssapi-keyex,hostbased,publickey"]);
    call.args(["-o", "ConnectTimeout=10", "127.0.0.1", "/bin/sh -c 'echo ~ && sleep 0'"]);
    assert_eq!(run(call).status.code(), Some(0));
    // git asks what kind of ssh this is.
    let mut call = home.call("ssh");
    call.args(["-G", "-o", "SendEnv=GIT_PROTOCOL", "git@host.invalid"]);
    let (out, _, code) = text(&run(call));
    assert!(
        code == Some(0) && out.contains("user git\n") && out.contains("hostname host.invalid\n"),
        "{out}"
    );
}

#[test]
fn c21_the_flags_of_a_connection_are_those_of_all_programs() {
    let home = Home::serve(&[]);
    std::fs::write(home.file("one"), "").unwrap();
    for program in ["ssh", "sftp", "scp"] {
        let mut call = home.call(program);
        call.args(["-J", "x", "h:y", "z"]);
        let (_, err, code) = text(&run(call));
        assert_eq!(code, Some(255), "{program} -J");
        assert!(err.contains("not supported yet: ProxyJump x"), "{err}");
        for (flag, code) in [("-h", 0), ("-V", 0), ("-z", 255)] {
            let mut call = home.call(program);
            call.args([flag, "x", "y"]);
            let (out, err, got) = text(&run(call));
            assert_eq!(got, Some(code), "{program} {flag} {out}{err}");
            assert!(!err.contains("tip:"), "{err}");
        }
        for flags in [&["-4"][..], &["-F", "none"], &["-C"], &["-c", "aes128-ctr"], &["-q"], &["-v"]] {
            let mut call = home.call(program);
            call.args(flags);
            match program {
                "ssh" => call.args([Home::at(), "true"]),
                "sftp" => call.args(["-b", "/dev/null", Home::at()]),
                _ => call.arg(format!("{}:{}", Home::at(), home.file("one").display())).arg(home.file("two")),
            };
            let (_, err, code) = text(&run(call));
            assert_eq!(code, Some(0), "{program} {flags:?} {err}");
        }
        let mut call = home.call(program);
        call.args(["-6", "127.0.0.1:x", "y"]);
        assert_ne!(run(call).status.code(), Some(0), "{program} -6");
    }
}

#[test]
fn c22_a_public_key_stands_for_the_private_one_beside_it() {
    let home = Home::serve(&[]);
    let call = |key: &str| {
        let mut call = konko(["ssh", "-p", &home.port.to_string(), "-o", "BatchMode=yes", "-i"]);
        call.arg(home.file(key))
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", home.file("known_hosts").display()));
        call.args([Home::at(), "true"]).env("HOME", home.path());
        call.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
        call.stderr(std::process::Stdio::piped());
        text(&run(call))
    };
    let (_, err, code) = call("user.pub");
    assert_eq!(code, Some(0), "{err}");
    std::fs::copy(home.file("user.pub"), home.file("alone.pub")).unwrap();
    let (_, err, code) = call("alone.pub");
    assert!(code == Some(255) && err.contains("this is a public key") && !err.contains("too open"), "{err}");
}

#[test]
fn c22_without_anybody_to_ask_an_unknown_host_is_explained() {
    let home = Home::serve(&[]);
    std::fs::write(home.file("known_hosts"), "").unwrap();
    let said = |batch: &str| {
        let mut call = Command::new("setsid");
        call.arg("-w").arg(env!("CARGO_BIN_EXE_konko"));
        call.args(["ssh", "-p", &home.port.to_string(), "-o", batch, "-i"]).arg(home.file("user")).arg("-o");
        call.arg(format!("UserKnownHostsFile={}", home.file("known_hosts").display()))
            .args([Home::at(), "true"]);
        call.env("HOME", home.path()).env_remove("SSH_ASKPASS").stdin(std::process::Stdio::null());
        call.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let (_, err, code) = text(&run(call));
        assert_eq!(code, Some(255));
        err
    };
    assert_eq!(said("BatchMode=no"), said("BatchMode=yes"));
}

/// What a `Match` block says holds for those whom it is about, and for nobody else.
#[test]
fn a_server_lets_in_whom_its_configuration_lets_in() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("sshd_config");
    let lines = "MaxAuthTries 4\nDenyUsers denied\nMatch User keyless\n PubkeyAuthentication no\n\
                Match LocalAddress 127.0.0.1 User away\n RefuseConnection yes\n";
    std::fs::write(&config, lines).unwrap();
    let home = Home::serve(&["-f", &config.display().to_string()]);
    for (user, code) in [("someone", 0), ("denied", 255), ("keyless", 255), ("away", 255)] {
        let mut call = home.call("ssh");
        call.args(["-F", "none", "-l", user, "127.0.0.1", "true"]);
        let (_, err, got) = text(&run(call));
        assert_eq!(got, Some(code), "{user}: {err}{}", home.log());
    }
}

/// A host key is made once, for its owner alone, and is the same the next time.
#[test]
fn a_server_keeps_its_host_key() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::serve(&[]);
    let said = || {
        let mut call = program::konko(["serve", "--inetd", "--authorized-keys"]);
        call.arg(home.file("user.pub")).env("HOME", home.path()).env_remove("XDG_STATE_HOME");
        call.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
        call.stderr(std::process::Stdio::piped());
        let (_, err, _) = text(&run(call));
        err.lines().find(|line| line.contains("the host key is kept in")).map(str::to_owned)
    };
    let first = said();
    assert!(first.is_some() && first == said());
    let key = home.file(".local/state/konko/ssh_host_ed25519_key");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

/// The user's own configuration is all that is needed, also by the name that other programs call.
#[test]
fn a_name_of_ones_own_is_enough_to_connect() {
    let home = Home::serve(&[]);
    std::fs::create_dir(home.file(".ssh")).unwrap();
    let config = format!(
        "Host box\n HostName 127.0.0.1\n Port {}\n User someone\n IdentityFile {}\n UserKnownHostsFile {}\n \
         GlobalKnownHostsFile none\n BatchMode yes\n SetEnv TERM_OF_TEST=%n\n",
        home.port,
        home.file("user").display(),
        home.file("known_hosts").display(),
    );
    std::fs::write(home.file(".ssh/config"), config).unwrap();
    let ssh = home.file("ssh");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_konko"), &ssh).unwrap();
    let mut call = std::process::Command::new(&ssh);
    call.args(["-v", "box", "echo reached"]).env("HOME", home.path()).env_remove("SSH_AUTH_SOCK");
    call.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    call.stderr(std::process::Stdio::piped());
    let (out, err, code) = text(&run(call));
    assert_eq!((code, out.as_str()), (Some(0), "reached\n"), "{err}");
    let from = format!(
        "Port {} ({}:3, in {}:1",
        home.port,
        home.file(".ssh/config").display(),
        home.file(".ssh/config").display()
    );
    assert!(err.contains(&from), "{err}");
    // What others can write is not read.
    use std::os::unix::fs::PermissionsExt;
    let open = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(home.file(".ssh/config"), open).unwrap();
    let mut call = std::process::Command::new(&ssh);
    call.args(["-G", "box"]).env("HOME", home.path());
    call.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    call.stderr(std::process::Stdio::piped());
    let (_, err, code) = text(&run(call));
    assert!(code == Some(255) && err.contains("Bad owner or permissions"), "{err}");
}
