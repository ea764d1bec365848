//! `konko ssh` with servers that have their own ideas of authentication: what a person is asked, and that the command
//! runs in the end.

mod odd_server;
mod program;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use konko::core::keys::PrivateKey;
use konko::core::wire::Reader;
use konko::core::{Rng, Seed};
use odd_server::{OddServer, failure, serve, strings};
use program::{Home, konko, run};

/// A call that runs a command on a server with this story. `answers` are what the person types, one after the other.
fn call(home: &mut Home, story: impl Fn(&mut OddServer) + Send + 'static, answers: &[&str]) -> Command {
    home.port = serve(story).port();
    let batch = if answers.is_empty() { "BatchMode=yes" } else { "BatchMode=no" };
    let mut call = konko(["ssh", "-p", &home.port.to_string(), "-o", batch]);
    // The first word counts.
    call.args(home.call("ssh").get_args().skip(1)).args(["-o", "StrictHostKeyChecking=accept-new"]);
    call.env("HOME", home.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if !answers.is_empty() {
        let (ask, log) = (home.file("ask"), home.file("asked"));
        let cases: String =
            answers.iter().zip(1..).map(|(answer, n)| format!("{n}) echo '{answer}';;\n")).collect();
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n--\\n' \"$1\" >>'{0}'\ncase $(grep -c -- ^--$ '{0}') in\n{cases}*) exit 1;;\nesac\n",
            log.display()
        );
        fs::write(&ask, script).unwrap();
        fs::set_permissions(&ask, fs::Permissions::from_mode(0o700)).unwrap();
        call.env("SSH_ASKPASS", ask).env("SSH_ASKPASS_REQUIRE", "force");
    }
    call.args([Home::at(), "true"]);
    call
}

/// What the person was asked.
fn asked(home: &Home) -> Vec<String> {
    let text = fs::read_to_string(home.file("asked")).unwrap_or_default();
    text.split("\n--\n").filter(|prompt| !prompt.is_empty()).map(str::to_owned).collect()
}

#[track_caller]
fn expect_hello(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(3), &b"hello\n"[..]), "{said}");
}

/// Answers FAILURE without a list to all but one method, which is enough.
fn silent_but_for(method: &'static str) -> impl Fn(&mut OddServer) {
    move |server| {
        loop {
            let (asked, fields) = server.request();
            match &*asked {
                _ if asked != method => server.send(&[failure("")]),
                "publickey" if fields[0] == 0 => {
                    let mut r = Reader::new(&fields[fields.len().min(1)..]);
                    server.send(&[strings(60, &[r.string().unwrap(), r.string().unwrap()])]);
                }
                _ => break,
            }
        }
        server.let_in();
        server.hello();
    }
}

#[test]
fn c2_a_key_and_a_password_are_tried_though_the_server_names_no_method() {
    let mut home = Home::new();
    expect_hello(&run(call(&mut home, silent_but_for("publickey"), &[])));
    expect_hello(&run(call(&mut home, silent_but_for("password"), &["wonderland"])));
    assert_eq!(asked(&home), [format!("{}'s password: ", Home::at())]);
}

#[test]
fn c5_an_encrypted_key_signs_though_pk_ok_names_another_algorithm_of_rsa() {
    let mut home = Home::new();
    let mut rng = Rng::from_seed(&Seed::new([3; 32]));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/tests/data/keys/rsa");
    let key = PrivateKey::load(&fs::read(path).unwrap(), None).unwrap();
    fs::write(home.file("user"), key.to_openssh(Some((b"secret", 1)), &mut rng).unwrap().as_bytes()).unwrap();
    let story = |server: &mut OddServer| {
        loop {
            let (asked, fields) = server.request();
            let mut r = Reader::new(&fields[fields.len().min(1)..]);
            match &*asked {
                "publickey" if fields[0] == 0 => {
                    assert_eq!(r.string().unwrap(), b"rsa-sha2-512");
                    server.send(&[strings(60, &[b"ssh-rsa", r.string().unwrap()])]);
                }
                "publickey" => break assert_eq!(r.string().unwrap(), b"rsa-sha2-512"),
                _ => server.send(&[failure("publickey")]),
            }
        }
        server.let_in();
        server.hello();
    };
    expect_hello(&run(call(&mut home, story, &["secret"])));
    assert_eq!(asked(&home).len(), 1, "{:?}", asked(&home));
}

#[test]
fn c7_late_answers_about_authentication_do_not_end_a_session() {
    let mut home = Home::new();
    let story = |server: &mut OddServer| {
        server.request();
        server.send(&[vec![52, 0], failure("password"), strings(53, &[b"late", b""])]);
        server.login_done();
        server.send(&[failure("")]);
        server.hello();
    };
    let output = run(call(&mut home, story, &[]));
    expect_hello(&output);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("late"), "a banner comes before the end");
}

/// A server where every new password of less than 12 letters is refused with a reason.
fn wants_long_ones(server: &mut OddServer) {
    let mut why = b"it has expired".to_vec();
    loop {
        let (asked, fields) = server.request();
        let mut r = Reader::new(&fields[fields.len().min(1)..]);
        match &*asked {
            "password" if fields[0] == 0 => assert_eq!(r.string().unwrap(), b"old"),
            "password" => {
                assert_eq!(r.string().unwrap(), b"old");
                match r.string().unwrap().len() {
                    12.. => break,
                    n => why = format!("{n} are too few: at least 12").into_bytes(),
                }
            }
            _ => {
                server.send(&[failure("password")]);
                continue;
            }
        }
        server.send(&[strings(60, &[&why, b""])]);
    }
    server.let_in();
    server.hello();
}

#[test]
fn c9_a_person_sees_why_a_new_password_is_refused_and_types_another() {
    let mut home = Home::new();
    let answers =
        ["old", "short", "short", "long enough", "a typing error", "long enough now", "long enough now"];
    expect_hello(&run(call(&mut home, wants_long_ones, &answers)));
    let at = Home::at();
    let new = |why: &str| format!("{why}\nEnter {at}'s new password: ");
    let retype = format!("Retype {at}'s new password: ");
    let expected = [
        format!("{at}'s password: "),
        new("it has expired"),
        retype.clone(),
        new("5 are too few: at least 12"),
        retype.clone(),
        // Mismatch: once more, about the same refusal.
        new("5 are too few: at least 12"),
        retype,
    ];
    assert_eq!(asked(&home), expected);
}

#[test]
fn c9_whoever_gives_up_reads_why() {
    let mut home = Home::new();
    let output = run(call(&mut home, wants_long_ones, &["old", "short", "short"]));
    assert_eq!(output.status.code(), Some(255));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the new password was refused: 5 are too few: at least 12"), "{said}");
}
