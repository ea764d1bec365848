//! Shells and commands of the system on `konko serve --exec shell`: terminals driven by tmux, by expect and by
//! programs, and what commands do with signals, streams and the environment.

use konko_conformance::clients::python_clients;
use konko_conformance::matrix::at_once;
use konko_conformance::peers::installed;
use konko_conformance::process::{descendants, wait_until};
use konko_conformance::serve::Setup;
use konko_conformance::tmux::words;
use konko_conformance::{Call, Client, Feed, Pattern, Process, Serve, Tmux};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn server(options: &[&str]) -> Option<Serve> {
    Some(Setup::new(options)?.shell().start())
}

fn call(serve: &Serve) -> Call {
    Call::to(serve.port, serve.keys()).key("user_ed25519")
}

/// OpenSSH's and konko's.
fn ssh() -> Vec<Client> {
    let ssh = |c: &Client| matches!(c, Client::OpenSsh(_) | Client::Konko(_));
    Client::all().into_iter().filter(ssh).collect()
}

#[test]
fn b5_a_shell_in_tmux() {
    let Some(tmux) = installed("tmux") else { return };
    let Some(serve) = server(&[]) else { return };
    at_once(&ssh(), |client| {
        let home = tempfile::tempdir().unwrap();
        let command = call(&serve).command(client, "", home.path());
        let tmux = Tmux::start(&tmux, home.path(), (100, 30), &command);
        tmux.expect("a prompt", |screen| screen.trim_end().ends_with(['$', '#']));
        tmux.line("tty | cut -c1-8; stty size; echo $TERM");
        // What tmux says of its own terminal.
        tmux.expect("the terminal", |s| {
            s.contains("\n/dev/pts\n30 100\nscreen") || s.contains("\n30 100\ntmux")
        });
        tmux.resize(90, 24);
        // A shell draws its line anew, a full-screen program would be told by SIGWINCH.
        let sized = wait_until(Duration::from_secs(20), || {
            tmux.line("clear; stty size");
            tmux.expect("a size", |s| s.contains("24 90") || s.contains("30 100"));
            tmux.screen().contains("24 90").then_some(())
        });
        assert!(sized.is_some(), "{client}: {}", tmux.screen());
        let waiting =
            "sh -c 'trap \"echo told of it\" WINCH; echo waiting; while sleep 0.1; do :; done'; echo ended";
        tmux.line(&format!("clear; {waiting}"));
        tmux.expect_line("waiting");
        tmux.resize(80, 20);
        tmux.expect_line("told of it");
        tmux.key("C-c");
        tmux.line("echo after $((40 + 2))");
        tmux.expect_line("after 42");
        assert!(!tmux.screen().lines().any(|l| l == "ended"), "{client}");
        // What is typed for a program waits until that runs: before, the shell's editor has the terminal, and a
        // C-d or C-c that comes then is a character like others for whoever reads it later. (The same with a
        // shell on a terminal without any SSH.)
        tmux.line("clear; echo reading; read -s x; echo \"got $x\"");
        tmux.expect_line("reading");
        tmux.line("secret");
        tmux.expect_line("got secret");
        tmux.line("clear; echo copying; cat");
        tmux.expect_line("copying");
        tmux.line("to the end");
        tmux.key("C-d");
        tmux.line("exit 7");
        assert_eq!(tmux.wait(), 7, "{client}");
    });
}

#[test]
fn b5_a_shell_in_expect() {
    let Some(expect) = installed("expect") else { return };
    let Some(serve) = server(&[]) else { return };
    let typed = |c: &Client| !matches!(c, Client::Paramiko(_) | Client::AsyncSsh(_));
    let clients: Vec<Client> = Client::all().into_iter().filter(typed).collect();
    at_once(&clients, |client| {
        let home = tempfile::tempdir().unwrap();
        let client_command = call(&serve).command(client, "", home.path());
        let mut command = Command::new(&expect);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/terminal.exp"));
        command.args(words(&client_command)).env("TERM", "xterm");
        let done = Process::new(command).run().unwrap_or_else(|e| panic!("{client}: {e}"));
        for step in ["size", "resized", "interrupted"] {
            done.expect_stderr(&[&format!("terminal {step}")]);
        }
        // It often ends with 0 whatever the shell's status was, with OpenSSH's server (24 of 48 runs) as with
        // this one (13 of 80).
        match client {
            Client::Dbclient(_) => assert!([0, 7].contains(&done.code()), "{client}: {done}"),
            _ => {
                done.expect_code(7);
            }
        }
    });
}

#[test]
fn a_shell_in_a_program() {
    let Some(serve) = server(&[]) else { return };
    at_once(&python_clients(), |client| {
        let done = call(&serve).more(&["--terminal"]).run(client, "");
        for step in ["size", "resized", "interrupted"] {
            done.expect_stderr(&[&format!("terminal {step}")]);
        }
        done.expect_code(7);
    });
}

#[test]
fn commands_of_the_system() {
    let Some(serve) = server(&[]) else { return };
    at_once(&Client::all(), |client| {
        let bytes = Pattern { seed: 5, len: 3 << 20 };
        let remote = "sha256sum; echo to the error >&2; exit 5";
        let done = call(&serve).feed(Feed::Pattern(bytes)).run(client, remote);
        done.expect_code(5);
        assert!(done.stdout.text().starts_with(&bytes.checksum().hex), "{client}: {done}");
        let done = call(&serve).run(client, "kill -TERM $$");
        match client {
            // It does not know of signals.
            Client::Dbclient(_) => {}
            Client::Konko(_) => {
                done.expect_stderr(&["TERM"]);
            }
            Client::AsyncSsh(_) => {
                done.expect_stderr(&["signal TERM"]);
            }
            _ => assert_ne!(done.code(), 0, "{client}: {done}"),
        }
        // The input ends before the output does.
        let done =
            call(&serve).feed(Feed::Bytes(b"in".to_vec())).run(client, "cat >/dev/null; sleep 0.2; echo out");
        assert_eq!(done.stdout.text(), "out\n", "{client}");
        // Output that nobody waits for holds nothing up.
        let done = call(&serve).run(client, "sleep 100 </dev/null >/dev/null 2>&1 & echo started");
        assert_eq!(done.stdout.text(), "started\n", "{client}");
    });
}

#[test]
fn the_environment_of_a_command() {
    let Some(serve) = server(&["AcceptEnv=KONKO_*"]) else { return };
    at_once(&Client::all(), |client| {
        let call = call(&serve).env("KONKO_TEST", "shell");
        let done = call.run(client, "echo \"$KONKO_TEST\"; echo \"$SSH_CONNECTION\"; echo \"$USER\"");
        done.expect_code(0);
        let text = done.stdout.text();
        let lines: Vec<&str> = text.lines().collect();
        // Dropbear's client sends no variables.
        let sent = if matches!(client, Client::Dbclient(_)) { "" } else { "shell" };
        assert_eq!(lines[0], sent, "{client}: {done}");
        let port = serve.port.to_string();
        assert!(
            lines[1].starts_with("127.0.0.1 ") && lines[1].ends_with(&format!(" 127.0.0.1 {port}")),
            "{done}"
        );
        assert!(!lines[2].is_empty(), "{client}: {done}");
    });
}

#[test]
fn a_terminal_for_a_command() {
    let Some(serve) = server(&[]) else { return };
    at_once(&ssh(), |client| {
        let done = call(&serve).more(&["-tt"]).run(client, "tty; exit 3");
        done.expect_code(3);
        assert!(done.stdout.text().starts_with("/dev/pts/"), "{client}: {done}");
        let done = call(&serve).run(client, "tty");
        assert_eq!(done.stdout.text(), "not a tty\n", "{client}: {done}");
    });
}

#[test]
fn a_command_ends_with_its_session() {
    let Some(serve) = server(&[]) else { return };
    for client in ssh() {
        for more in [&["-tt"][..], &["-T"]] {
            let call = call(&serve).more(more).feed(Feed::Open).deadline(Duration::from_millis(1500));
            // At the deadline the client is killed.
            call.try_run(&client, "echo started; exec sleep 1000").unwrap_err();
            let gone =
                wait_until(Duration::from_secs(10), || descendants(serve.pid()).is_empty().then_some(()));
            assert!(gone.is_some(), "{client} {more:?}: {:?} still run", descendants(serve.pid()));
        }
    }
}
