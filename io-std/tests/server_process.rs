//! Programs on pipes and on pseudo-terminals: what they get, how they end, and that nothing is left.
#![cfg(feature = "server")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use konko::server::process::{Account, Launch, Running};
use konko::{Exit, Pty};
use rustix::process::{Pid, test_kill_process};

const PATIENCE: Duration = Duration::from_secs(20);

fn account() -> Account {
    Account { name: "somebody".into(), home: "/".into(), shell: "/bin/sh".into() }
}

fn sh(command: &str) -> Launch {
    Launch::command(&account(), command.as_bytes())
}

fn pty() -> Pty {
    Pty { term: "vt100".into(), columns: 91, rows: 33, ..Pty::default() }
}

/// Everything it writes, until it ends.
fn output(launch: &Launch) -> (String, Exit) {
    let mut running = launch.start().unwrap();
    drop(running.stdin.take());
    (read(&mut running), running.wait().unwrap())
}

fn read(running: &mut Running) -> String {
    let mut text = String::new();
    running.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

/// A line, without its end.
fn line(from: &mut impl BufRead) -> String {
    let mut text = String::new();
    from.read_line(&mut text).unwrap();
    text.trim_end().to_owned()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn is_gone(pid: &str) -> bool {
    let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
    // A zombie that init has not got to is gone as well.
    let zombie = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
    };
    test_kill_process(pid).is_err() || zombie()
}

#[test]
fn what_goes_in_comes_out_and_ends() {
    let mut running = sh("cat").start().unwrap();
    let mut stdin = File::from(running.stdin.take().unwrap());
    let writer = thread::spawn(move || stdin.write_all(&vec![b'x'; 1 << 20]).unwrap());
    assert_eq!(read(&mut running).len(), 1 << 20, "cat saw the end of its input");
    writer.join().unwrap();
    assert_eq!(running.wait().unwrap(), Exit::Status(0));
    assert_eq!(running.wait().unwrap(), Exit::Status(0), "and says so again");
    assert_eq!(running.try_wait().unwrap(), Some(Exit::Status(0)));
}

#[test]
fn how_it_ended() {
    assert_eq!(output(&sh("exit 7")).1, Exit::Status(7));
    assert_eq!(output(&sh("exit 255")).1, Exit::Status(255));
    let signal =
        |name: &str| Exit::Signal { signal: name.into(), core_dumped: false, message: String::new() };
    assert_eq!(output(&sh("kill -TERM $$")).1, signal("TERM"));
    assert_eq!(output(&sh("ulimit -c 0; kill -SEGV $$")).1, signal("SEGV"));
    let Exit::Signal { signal, message, .. } = output(&sh("ulimit -c 0; kill -XCPU $$")).1 else { panic!() };
    assert_eq!((&signal[..], &message[..]), ("SIG@openssh.com", "signal 24"));
}

#[test]
fn standard_error_is_a_stream_of_its_own() {
    let mut running = sh("echo out; echo err >&2").start().unwrap();
    let mut err = String::new();
    running.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((read(&mut running), err), ("out\n".into(), "err\n".into()));
}

#[test]
fn what_cannot_be_started_is_an_error() {
    let start = |launch: Launch| launch.start().unwrap_err().kind();
    assert_eq!(start(Launch::program(&account(), "/nonexistent")), std::io::ErrorKind::NotFound);
    assert_eq!(start(Launch::program(&account(), "/nonexistent").pty(&pty())), std::io::ErrorKind::NotFound);
    assert_eq!(start(sh("true").dir("/nonexistent")), std::io::ErrorKind::NotFound);
    for launch in [sh("a\0b"), sh("true").env("A=B", ""), sh("true").env("", ""), sh("true").env("A", "\0")] {
        assert_eq!(start(launch), std::io::ErrorKind::InvalidInput);
    }
    let term = Pty { term: "a\0b".into(), ..pty() };
    assert_eq!(start(sh("true").pty(&term)), std::io::ErrorKind::InvalidInput);
}

#[test]
fn the_environment_is_what_was_named_and_nothing_else() {
    let launch = Launch::program(&account(), "/usr/bin/env")
        .env("LANG", "C.UTF-8")
        .env("LANG", "eo")
        .connection("[::ffff:192.0.2.1]:2222".parse().unwrap(), "198.51.100.1:22".parse().unwrap());
    let (text, exit) = output(&launch);
    assert_eq!(exit, Exit::Status(0));
    let names: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    let known = ["USER", "LOGNAME", "HOME", "PATH", "SHELL", "TZ", "LANG", "SSH_CLIENT", "SSH_CONNECTION"];
    assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
    for line in [
        "USER=somebody",
        "LOGNAME=somebody",
        "HOME=/",
        "SHELL=/bin/sh",
        "LANG=eo",
        "SSH_CLIENT=192.0.2.1 2222 22",
        "SSH_CONNECTION=192.0.2.1 2222 198.51.100.1 22",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert_eq!(output(&sh("pwd")).0, "/\n");
    assert_eq!(output(&sh("pwd").dir("/usr")).0, "/usr\n");
    let account = Account::current();
    assert!(account.shell.is_absolute() && account.home.is_absolute() && !account.name.is_empty());
}

#[test]
fn a_login_shell_is_told_so() {
    let mut running = Launch::shell(&account()).start().unwrap();
    File::from(running.stdin.take().unwrap()).write_all(b"echo \"$0\"; exit 3\n").unwrap();
    assert_eq!((read(&mut running), running.wait().unwrap()), ("-sh\n".into(), Exit::Status(3)));
}

#[test]
fn it_leads_a_session_without_the_terminal_of_the_server() {
    let (text, _) = output(&sh("echo $$; cut -d' ' -f5,6,7 /proc/self/stat; : </dev/tty"));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1], format!("{0} {0} 0", lines[0]), "group, session, no terminal");
}

#[test]
fn a_terminal_of_the_size_and_modes_that_were_asked_for() {
    let (text, exit) = output(&sh("stty size; tty; echo $SSH_TTY $TERM; stty -a").pty(&pty()));
    assert_eq!(exit, Exit::Status(0));
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert_eq!(lines[0], "33 91");
    assert_eq!(lines[2], format!("{} vt100", lines[1]));
    assert!(text.contains(" echo ") && text.contains("intr = ^C"), "{text}");
    // ECHO off, VINTR ^B, ONLCR off.
    let modes = vec![(53, 0), (1, 2), (72, 0)];
    let (text, _) = output(&sh("stty -a").pty(&Pty { modes, columns: u32::MAX, ..pty() }));
    assert!(text.contains(" -echo ") && text.contains("intr = ^B") && text.contains("-onlcr"), "{text}");
    assert!(text.contains("columns 65535"), "{text}");
    assert!(!text.contains('\r'));
}

#[test]
fn a_new_size_is_heard_and_zero_is_none() {
    let command = "trap 'stty size' WINCH; echo ready; while :; do read x && exit; done";
    let running = sh(command).pty(&Pty { modes: vec![(53, 0)], ..pty() }).start().unwrap();
    let handle = running.handle();
    let mut out = BufReader::new(running.stdout.as_ref().unwrap());
    assert_eq!(line(&mut out), "ready");
    for (columns, rows, expected) in [(100, 50, "50 100"), (0, 51, "51 100"), (u32::MAX, 0, "51 65535")] {
        handle.resize(columns, rows, 0, 0).unwrap();
        assert_eq!(line(&mut out), expected);
    }
    File::from(running.stdin.as_ref().unwrap().try_clone().unwrap()).write_all(b"\n").unwrap();
    assert_eq!(running.wait().unwrap(), Exit::Status(0));
    drop(running);
    handle.resize(1, 1, 0, 0).unwrap();
}

#[test]
fn control_c_reaches_the_program_on_a_terminal() {
    let running = sh("echo ready; exec sleep 1000").pty(&pty()).start().unwrap();
    assert_eq!(line(&mut BufReader::new(running.stdout.as_ref().unwrap())), "ready");
    let mut stdin = File::from(running.stdin.as_ref().unwrap().try_clone().unwrap());
    stdin.write_all(b"\x03").unwrap();
    assert!(matches!(running.wait().unwrap(), Exit::Signal { signal, .. } if signal == "INT"));
}

#[test]
fn signals_by_their_names_on_the_wire() {
    for launch in [sh("echo ready; exec sleep 1000"), sh("echo ready; exec sleep 1000").pty(&pty())] {
        for name in ["TERM", "INT", "USR1", "HUP", "KILL"] {
            let running = launch.start().unwrap();
            assert_eq!(line(&mut BufReader::new(running.stdout.as_ref().unwrap())), "ready");
            running.handle().signal(name).unwrap();
            let end = running.wait().unwrap();
            assert!(matches!(&end, Exit::Signal { signal, .. } if signal == name), "{name}: {end}");
        }
    }
    let running = sh("cat").start().unwrap();
    for name in ["", "term", "SIGTERM", "STOP", "CHLD", "9", "TERM\0", "\u{1b}[2J"] {
        let error = running.handle().signal(name).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{name}");
        assert!(!error.to_string().contains('\u{1b}'));
    }
    assert_eq!(running.try_wait().unwrap(), None);
}

/// Two ids: of the program, and of what it started.
fn started(launch: &Launch) -> (Running, Vec<String>) {
    let running = launch.start().unwrap();
    let ids = line(&mut BufReader::new(running.stdout.as_ref().unwrap()));
    (running, ids.split(' ').map(str::to_owned).collect())
}

fn kill(pid: &str) {
    let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn d8_what_a_program_leaves_behind_lives_on() {
    let quiet = ">/dev/null 2>&1 </dev/null";
    for job in
        ["nohup sleep 1000", "setsid sleep 1000", "sh -c 'trap \"\" HUP; exec sleep 1000'", "sleep 1000"]
    {
        for (end, on_pty) in
            [("exit 3", false), ("exit 3", true), ("sleep 1000", false), ("sleep 1000", true)]
        {
            // The kernel tells the foreground group of a terminal, and that is all of a plain command.
            if on_pty && job == "sleep 1000" {
                continue;
            }
            let launch = sh(&format!("{job} {quiet} & sleep 0.2; echo $$ $!; {end}"));
            let (running, ids) = started(&if on_pty { launch.pty(&pty()) } else { launch });
            if end == "exit 3" {
                assert_eq!(running.wait().unwrap(), Exit::Status(3));
            }
            drop(running);
            until("the program is gone", || is_gone(&ids[0]));
            // As long as others were given to end.
            thread::sleep(Duration::from_millis(700));
            assert!(!is_gone(&ids[1]), "{job}, {end}, on a terminal: {on_pty}");
            kill(&ids[1]);
        }
    }
}

#[test]
fn d8_a_program_itself_is_told_that_the_line_hung_up_and_may_stay() {
    for on_pty in [false, true] {
        for (command, stays) in [
            ("echo $$; exec sleep 1000", false),
            ("echo $$; kill -STOP $$; exec sleep 1000", false),
            ("trap '' HUP; echo $$; exec sleep 1000", true),
        ] {
            let launch = sh(command);
            let (running, ids) = started(&if on_pty { launch.pty(&pty()) } else { launch });
            let start = Instant::now();
            drop(running);
            assert!(start.elapsed() < Duration::from_millis(400), "dropping does not wait");
            if stays {
                thread::sleep(Duration::from_millis(1200));
                assert!(!is_gone(&ids[0]), "{command}");
                kill(&ids[0]);
            }
            until("it is gone", || is_gone(&ids[0]));
        }
    }
    // Whoever took the stream of a terminal keeps it from hanging up.
    let mut running = sh("echo $$; exec sleep 1000").pty(&pty()).start().unwrap();
    let mut out = BufReader::new(running.stdout.take().unwrap());
    let id = line(&mut out);
    drop(running);
    until("it is told all the same", || is_gone(&id));
}

#[test]
fn d8_asked_to_kill_the_group_is_ended_with_all_that_it_started() {
    let mut quickest = Duration::MAX;
    // The first ends by HUP, the second would not, and the third has ended and left one behind.
    for command in [
        "sleep 1000 & echo $$ $!; wait",
        "trap '' HUP; (trap '' HUP; sleep 1000) & echo $$ $!; while :; do sleep 1000; done",
        "(trap '' HUP; exec sleep 1000) >/dev/null 2>&1 & echo $$ $!",
        "sleep 1000 & kill -STOP $!; echo $$ $!; kill -STOP $$",
    ] {
        for launch in [sh(command), sh(command).pty(&pty())] {
            let running = launch.kill_user_processes().start().unwrap();
            let handle = running.handle();
            let ids = line(&mut BufReader::new(running.stdout.as_ref().unwrap()));
            if command.ends_with("$!") {
                running.wait().unwrap();
            }
            let start = Instant::now();
            drop(running);
            if command.contains("while") {
                quickest = quickest.min(start.elapsed());
            }
            for id in ids.split(' ') {
                until(&format!("{id} of {command} is gone"), || is_gone(id));
            }
            handle.signal("TERM").unwrap();
        }
    }
    assert!(quickest < Duration::from_millis(400), "dropping does not wait: {quickest:?}");
}

#[test]
fn dropped_the_jobs_of_an_interactive_shell_hear_that_the_line_hung_up() {
    let shell = Account { shell: "/bin/bash".into(), ..account() };
    let mut running =
        Launch::program(&shell, "/bin/bash").arg("--norc").arg("-i").pty(&pty()).start().unwrap();
    let mut stdin = File::from(running.stdin.take().unwrap());
    let mut out = BufReader::new(running.stdout.take().unwrap());
    stdin.write_all(b"sh -c 'echo id=$$; exec sleep 1000'\n").unwrap();
    let id = loop {
        let text = line(&mut out);
        assert!(!text.is_empty() || !out.fill_buf().unwrap().is_empty());
        // The command itself is seen as well, and what steers the terminal.
        if let Some((_, id)) = text.rsplit_once("id=").filter(|(_, id)| id.parse::<u32>().is_ok()) {
            break id.to_owned();
        }
    };
    drop((stdin, out, running));
    until("the job is gone", || is_gone(&id));
}

#[test]
fn the_end_of_a_terminal_is_the_end_of_its_output() {
    let running = sh("printf hello").pty(&pty()).start().unwrap();
    assert_eq!(running.wait().unwrap(), Exit::Status(0));
    let mut text = String::new();
    running.stdout.as_ref().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello", "what it wrote before is not lost");
}

/// What the descriptors of a shell are, but for its three streams.
const DESCRIPTORS: &str =
    "for fd in /proc/$$/fd/*; do case ${fd##*/} in 0|1|2) ;; *) readlink $fd;; esac; done";

#[test]
fn no_descriptor_leaks_into_a_program() {
    // What this program was itself given by whoever started it.
    let inherited = std::process::Command::new("/bin/sh").args(["-c", DESCRIPTORS]).output().unwrap();
    let inherited = String::from_utf8(inherited.stdout).unwrap();
    thread::scope(|scope| {
        // Several at a time: what one opens must not be seen in another.
        for i in 0..4 {
            let inherited = &inherited;
            scope.spawn(move || {
                for _ in 0..50 {
                    let launch = if i % 2 == 0 { sh(DESCRIPTORS).pty(&pty()) } else { sh(DESCRIPTORS) };
                    let (text, _) = output(&launch);
                    let own = |line: &&str| !inherited.lines().any(|known| known == *line);
                    let leaked: Vec<&str> = text.lines().map(str::trim_end).filter(own).collect();
                    assert!(leaked.is_empty(), "{leaked:?}");
                }
            });
        }
    });
}
