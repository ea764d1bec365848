//! Commands on OpenSSH's server: exit status and signal, the three streams, terminals, environment.

use konko_conformance::{Feed, OpenSsh, Pattern, Program, Sshd, not_run};
use std::time::Duration;

fn server() -> Option<(Program, Sshd)> {
    let program = Program::under_test()?;
    let Some(openssh) = OpenSsh::system() else {
        not_run("commands on OpenSSH's server", "sshd or ssh is not installed");
        return None;
    };
    let sshd = Sshd::start(&openssh, &[]);
    Some((program, sshd))
}

#[test]
fn exit_status_is_that_of_the_command() {
    let Some((program, sshd)) = server() else { return };
    for code in [0, 1, 42, 127, 255] {
        program.to(&sshd).run(&format!("exit {code}")).expect_code(code);
    }
}

#[test]
fn exit_by_signal_is_a_failure_that_names_it() {
    let Some((program, sshd)) = server() else { return };
    let done = program.to(&sshd).run("kill -TERM $$");
    assert_ne!(done.code(), 0, "{done}");
    // OpenSSH's client exits 255 and says nothing.
    if !program.is_openssh() {
        done.expect_stderr(&["TERM"]);
    }
}

#[test]
fn output_and_error_stay_apart_and_whole() {
    let Some((program, sshd)) = server() else { return };
    let script =
        "head -c 1048576 /dev/zero | tr '\\0' o & head -c 1048576 /dev/zero | tr '\\0' e >&2; wait; exit 5";
    let done = program.to(&sshd).run(script);
    done.expect_code(5);
    assert_eq!(done.stdout.bytes, vec![b'o'; 1 << 20]);
    assert_eq!(done.stderr.bytes, vec![b'e'; 1 << 20], "{done}");
}

#[test]
fn output_is_bytes() {
    let Some((program, sshd)) = server() else { return };
    let all: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let done = program.to(&sshd).feed(Feed::Bytes(all.clone())).run("cat");
    done.expect_code(0);
    assert_eq!(done.stdout.bytes, all);
}

#[test]
fn end_of_input_reaches_the_command() {
    let Some((program, sshd)) = server() else { return };
    let done = program.to(&sshd).feed(Feed::Bytes(b"three\nlines\nhere\n".to_vec())).run("wc -l; echo after");
    done.expect_code(0);
    assert_eq!(done.stdout.text().split_whitespace().collect::<Vec<_>>(), ["3", "after"]);
    program.to(&sshd).run("cat; exit 9").expect_code(9);
}

#[test]
fn a_command_may_end_while_input_is_open() {
    let Some((program, sshd)) = server() else { return };
    let call = program.to(&sshd).feed(Feed::Open).deadline(Duration::from_secs(20));
    let done = call.run("echo done; exit 4");
    assert_eq!(done.stdout.text(), "done\n");
    done.expect_code(4);
}

#[test]
fn a_command_may_leave_much_input_unread() {
    let Some((program, sshd)) = server() else { return };
    let done = program.to(&sshd).feed(Feed::Zeros(64 << 20)).run("head -c 3 >/dev/null; echo enough; exit 6");
    assert_eq!(done.stdout.text(), "enough\n");
    done.expect_code(6);
}

#[test]
fn output_after_end_of_input_is_whole() {
    let Some((program, sshd)) = server() else { return };
    let pattern = Pattern { seed: 3, len: 3 << 20 };
    let done = program.to(&sshd).feed(Feed::Pattern(pattern)).run("f=$(mktemp); cat >$f; cat $f; rm $f");
    done.expect_code(0);
    assert_eq!(done.stdout.checksum, pattern.checksum());
}

#[test]
fn a_background_process_that_keeps_no_stream_does_not_hold_the_session() {
    let Some((program, sshd)) = server() else { return };
    let call = program.to(&sshd).deadline(Duration::from_secs(20));
    call.run("sleep 100 </dev/null >/dev/null 2>&1 & echo started").expect_code(0);
}

#[test]
fn a_terminal_comes_only_when_asked_for() {
    let Some((program, sshd)) = server() else { return };
    let done = program.to(&sshd).run("tty");
    assert_eq!(done.stdout.text(), "not a tty\n");
    done.expect_code(1);
    let done = program.to(&sshd).args(&["-tt"]).env("TERM", "xterm-konko").run("tty; echo $TERM; exit 3");
    done.expect_code(3);
    let text = done.stdout.text();
    assert!(text.starts_with("/dev/pts/") && text.contains("xterm-konko"), "{done}");
    let done = program.to(&sshd).args(&["-T"]).run("tty");
    assert_eq!(done.stdout.text(), "not a tty\n");
}

#[test]
fn without_a_command_the_shell_reads_the_input() {
    let Some((program, sshd)) = server() else { return };
    let done =
        program.to(&sshd).args(&["-T"]).feed(Feed::Bytes(b"echo from the shell; exit 11\n".to_vec())).run("");
    done.expect_code(11);
    assert!(done.stdout.text().contains("from the shell"), "{done}");
}

#[test]
fn environment_is_passed() {
    let Some((program, sshd)) = server() else { return };
    let done =
        program.to(&sshd).option("SetEnv", "KONKO_TEST=shell").run("echo $KONKO_TEST; echo $SSH_CONNECTION");
    done.expect_code(0);
    let text = done.stdout.text();
    assert!(text.starts_with("shell\n127.0.0.1 "), "{done}");
}

#[test]
fn quiet_says_nothing_and_verbose_says_more() {
    let Some((program, sshd)) = server() else { return };
    let done = program.to(&sshd).args(&["-q"]).run("true");
    done.expect_code(0);
    assert_eq!(done.stderr.text(), "");
    let done = program.to(&sshd).args(&["-v"]).run("true");
    done.expect_code(0);
    done.expect_stderr(&["OpenSSH_"]);
}

#[test]
fn a_server_that_ends_in_the_middle_is_an_error() {
    let Some((program, sshd)) = server() else { return };
    // The parent of the shell is the server's process of this session.
    let done = program.to(&sshd).deadline(Duration::from_secs(20)).run("kill -KILL $PPID; sleep 100");
    done.expect_code(255);
    done.expect_stderr(&["closed", "reset", "disconnect", "lost"]);
}

#[test]
fn many_sessions_one_after_the_other() {
    let Some((program, sshd)) = server() else { return };
    for i in 0..30 {
        let done = program.to(&sshd).run(&format!("echo {i}; exit {i}"));
        done.expect_code(i);
        assert_eq!(done.stdout.text(), format!("{i}\n"));
    }
}
