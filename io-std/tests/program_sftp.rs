//! `konko sftp`: what is typed, pasted and read from a batch, and what it says. With the SFTP server of the program
//! itself, mostly without a connection between.

mod program;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use konko::Pty;
use konko::server::process::{Account, Launch, Running};
use program::{Home, LONG, konko, run};

/// The program on a terminal.
struct Terminal {
    running: Running,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
}

const PROMPT: &str = "sftp> ";

impl Terminal {
    /// `konko sftp` in this directory, with its own server and these arguments more.
    fn start(dir: &Path, arguments: &[&str], columns: u32) -> Self {
        let program = env!("CARGO_BIN_EXE_konko");
        let account = Account { name: "somebody".into(), home: dir.into(), shell: "/bin/sh".into() };
        let mut launch = Launch::program(&account, program).arg("sftp").dir(dir);
        launch = launch.arg("-D").arg(format!("{program} sftp-server"));
        launch = arguments.iter().fold(launch, |launch, argument| launch.arg(argument));
        let pty = Pty { term: "xterm".into(), columns, rows: 40, ..Pty::default() };
        let mut running = launch.pty(&pty).start().unwrap();
        let keyboard = File::from(running.stdin.take().unwrap());
        let screen = Arc::<Mutex<Vec<u8>>>::default();
        let (mut out, seen) = (running.stdout.take().unwrap(), Arc::clone(&screen));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n) = out.read(&mut buffer)
                && n > 0
            {
                seen.lock().unwrap().extend(&buffer[..n]);
            }
        });
        Terminal { running, keyboard, screen }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let start = Instant::now();
        while !holds(&self.text()) {
            assert!(start.elapsed() < LONG, "{what}: {:?}", self.text());
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Ends it; what it showed.
    fn end(mut self) -> String {
        self.type_in("bye\r");
        assert!(self.running.wait().unwrap().success(), "{}", self.text());
        self.text()
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn b3_all_lines_that_come_together_run_in_order() {
    let lines = "mkdir a\rmkdir a/b\rrename a c\rmkdir c/d\rrmdir c/b\rmkdir end\r";
    for (paste, more) in [
        (lines.to_owned(), ""),
        (lines.replace('\r', "\n"), ""),
        // As terminals mark it.
        (format!("\x1b[200~{lines}\x1b[201~"), "\r"),
        (format!("\x1b[200~{}\x1b[201~", lines.trim_end()), "\r"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut terminal = Terminal::start(dir.path(), &[], 80);
        terminal.until("a prompt", |text| text.contains(PROMPT));
        terminal.type_in(&(paste + more));
        terminal.until("all lines", |_| dir.path().join("end").exists());
        assert_eq!(
            (names(dir.path()), names(&dir.path().join("c"))),
            (vec!["c".into(), "end".into()], vec!["d".to_owned()])
        );
        terminal.end();
    }
}

#[test]
fn b3_what_is_typed_ahead_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("big"), vec![b'x'; 400_000]).unwrap();
    // Before there is a prompt.
    let mut terminal = Terminal::start(dir.path(), &["-l", "2000"], 80);
    terminal.type_in("mkdir early\rmkdir earlier\r");
    terminal.until("what was typed before the prompt", |_| dir.path().join("earlier").exists());
    // A second or more, in which somebody types on.
    terminal.type_in("get big copy\r");
    terminal.until("a transfer", |text| text.contains("Fetching"));
    terminal.type_in("mkdir during\rmkdir a\\ b\rrmdir ear");
    terminal.until("what was typed in between", |_| dir.path().join("a b").exists());
    terminal.type_in("ly\r");
    terminal.until("a line in two parts", |_| !dir.path().join("early").exists());
    assert_eq!(names(dir.path()), ["a b", "big", "copy", "during", "earlier"]);
    assert_eq!(fs::read(dir.path().join("copy")).unwrap().len(), 400_000, "it came first, and whole");
    terminal.end();
}

#[test]
fn b2_a_name_that_was_completed_is_the_one_that_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let odd = ["z*1", "y [12]", "x\"'\\", "-w", "~v", "#u", "t\x1b[2J"];
    let others = ["zz1", "y 1", "y 2", "x", "w", "v", "u", "t"];
    for name in odd.iter().chain(&others) {
        fs::write(dir.path().join(name), "").unwrap();
    }
    let mut terminal = Terminal::start(dir.path(), &[], 80);
    terminal.until("a prompt", |text| text.contains(PROMPT));
    for (typed, name) in ["rm z\\*", "rm 'y [", "rm x\\\"", "rm -", "rm ~", "rm \\#", "rm t"].iter().zip(odd)
    {
        if name.starts_with('t') {
            fs::remove_file(dir.path().join("t")).unwrap();
        }
        terminal.type_in(&format!("{typed}\t"));
        terminal.type_in("\r");
        terminal.until(name, |_| !dir.path().join(name).exists());
    }
    assert_eq!(names(dir.path()), ["u", "v", "w", "x", "y 1", "y 2", "zz1"]);
    // Several are listed, and as much as they have in common is typed.
    terminal.type_in("rm y\t\t");
    terminal.until("a list", |text| text.contains("y 1") && text.contains("y 2"));
    terminal.type_in("2\r");
    terminal.until("y 2", |_| !dir.path().join("y 2").exists());
    assert!(!terminal.end().contains("\x1b[2J"), "a name does not steer the terminal");
}

/// Runs a batch in a directory.
fn batch(dir: &Path, arguments: &[&str], lines: &str) -> Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), lines).unwrap();
    let mut call = konko(["sftp", "-b"]);
    call.arg(file.path())
        .args(arguments)
        .arg("-D")
        .arg(format!("{} sftp-server", env!("CARGO_BIN_EXE_konko")));
    call.current_dir(dir).env("SHELL", "/bin/sh").stdin(Stdio::null());
    call.stdout(Stdio::piped()).stderr(Stdio::piped());
    run(call)
}

#[test]
fn d7_what_ends_a_batch_is_what_sftp_lists() {
    for (line, ends) in [
        ("get nothing", true),
        ("put nothing", true),
        ("reget nothing", true),
        ("reput nothing", true),
        ("rename nothing other", true),
        ("ln nothing other", true),
        ("rm nothing", true),
        ("rm nothing*", true),
        ("mkdir there", true),
        ("rmdir nothing", true),
        ("cd nothing", true),
        ("ls nothing", true),
        ("lcd nothing", true),
        ("cp nothing other", true),
        ("chmod 600 nothing", true),
        ("chown 0 nothing", true),
        ("chgrp 0 nothing", true),
        ("df nothing", true),
        ("symlink a there", true),
        ("lmkdir there", true),
        ("nonsense", true),
        ("rm 'nothing", true),
        ("rm", true),
        ("!false", false),
        ("!exit 77", false),
        ("!kill -9 $$", false),
        ("lls nothing", false),
        ("version", false),
        ("lumask 022", false),
        ("help", false),
        ("pwd", false),
        ("lpwd", false),
        ("# nothing", false),
        ("", false),
    ] {
        for (prefix, ends) in [("", ends), ("-", false), ("@", ends), ("-@", false), ("@-", false)] {
            if !prefix.is_empty() && (line.is_empty() || line.starts_with('#')) {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("there")).unwrap();
            let done = batch(dir.path(), &[], &format!("{prefix}{line}\nmkdir end\n"));
            let went_on = dir.path().join("end").exists();
            let code = done.status.code();
            assert_eq!((went_on, code), (!ends, Some(i32::from(ends))), "{prefix}{line}: {done:?}");
            assert!(!ends || !done.stderr.is_empty(), "{prefix}{line} says why");
        }
    }
}

#[test]
fn d7_errors_are_never_quiet() {
    let home = Home::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let said = |mut call: std::process::Command, code: i32| {
        call.env("HOME", home.path());
        let shown = format!("{call:?}");
        let done = run(call);
        assert_eq!(done.status.code(), Some(code), "{shown}: {done:?}");
        assert!(!done.stderr.is_empty(), "{shown}: {done:?}");
    };
    let piped = |words: &[&str]| {
        let mut call = konko(words.iter());
        call.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        call
    };
    let file = home.file("user").display().to_string();
    said(piped(&["sftp", "-q", "-P", &nobody, "-o", "BatchMode=yes", Home::at()]), 255);
    said(
        piped(&["scp", "-q", "-P", &nobody, "-o", "BatchMode=yes", &file, &format!("{}:x", Home::at())]),
        255,
    );
    said(piped(&["sftp", "-q", "-D", "/nonexistent"]), 255);
    let done = batch(home.path(), &["-q"], "get nothing\n");
    assert!(done.status.code() == Some(1) && !done.stderr.is_empty(), "{done:?}");
}

#[test]
fn d7_a_session_that_is_lost_is_255_and_says_why() {
    for program in ["sftp", "sftp -b", "scp"] {
        let mut home = Home::serve(&[]);
        fs::write(home.file("big"), vec![b'x'; 3_000_000]).unwrap();
        let mut call = home.call(program.split(' ').next().unwrap());
        call.current_dir(home.path()).args(["-l", "4000"]);
        let up = home.file("up");
        match program {
            "scp" => {
                call.arg("big").arg(format!("{}:{}", Home::at(), up.display()));
            }
            _ => {
                let lines = format!("put big {}\n-mkdir x\n", up.display());
                fs::write(home.file("lines"), lines).unwrap();
                if program == "sftp -b" {
                    call.arg("-b").arg(home.file("lines"));
                } else {
                    call.stdin(File::open(home.file("lines")).unwrap());
                }
                call.arg(Home::at());
            }
        }
        let child = thread::spawn(move || run(call));
        let start = Instant::now();
        while fs::metadata(&up).map_or(0, |meta| meta.len()) == 0 {
            assert!(start.elapsed() < LONG);
            thread::sleep(std::time::Duration::from_millis(5));
        }
        home.kill();
        let done = child.join().unwrap();
        let text = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(255), "{program}: {text}");
        let why = ["closed", "reset", "lost", "ended", "Broken pipe"].iter().any(|word| text.contains(word));
        assert!(why && !text.contains("outstanding"), "{program}: {text}");
    }
}

#[test]
fn c21_errors_are_in_the_words_of_sftp() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("there/in")).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    for (line, words) in [
        ("get nope", "File \"nope\" not found."),
        ("get no*", "File \"no*\" not found."),
        ("put nope", "\"nope\": No such file or directory"),
        ("put no*", "File \"no*\" not found."),
        ("rm nope", "File \"nope\" not found."),
        ("cd nope", "/nope\": No such file or directory"),
        ("lcd nope", "Couldn't change local directory to \"nope\": No such file or directory"),
        ("ls nope", "\"nope\": No such file or directory"),
        ("mkdir there", "remote mkdir \"there\": Failure"),
        ("rmdir there", "remote rmdir \"there\": Failure"),
        ("rename nope x", "remote rename \"nope\" \"x\": No such file or directory"),
        ("ln nope x", "remote link \"nope\" \"x\": No such file or directory"),
        ("lmkdir there", "Couldn't create local directory \"there\": File exists"),
        ("rm", "You must specify a path after a rm command."),
        ("rename a", "You must specify two paths after a rename command."),
        ("get", "You must specify at least one path after a get command."),
        ("chmod", "You must supply a numeric argument to the chmod command."),
        ("lumask 9", "lumask: \"9\" is no octal number"),
        ("ls -Z", "Invalid flag -Z"),
        ("rm 'x", "Unterminated quoted argument"),
        ("!exit 3", "Shell exited with status 3"),
    ] {
        let done = batch(dir.path(), &[], &format!("{line}\n"));
        let text = String::from_utf8_lossy(&done.stderr);
        assert!(text.contains(words), "{line}: {text}");
        for name in ["metadata", "create_dir", "remove_", "hard_link", "read_dir", "set_current", "os error"]
        {
            assert!(!text.contains(name), "{line}: {text}");
        }
    }
    let done = batch(dir.path(), &[], "lumask 077\nget file copy\n!umask >mask\nrm file copy\n");
    assert!(done.status.success(), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stdout).contains("Local umask: 077"));
    assert!(fs::read_to_string(dir.path().join("mask")).unwrap().contains("77"));
    assert!(!dir.path().join("file").exists() && dir.path().join("copy").exists(), "what is more is ignored");
    assert!(String::from_utf8_lossy(&done.stderr).contains("Ignored: \"copy\""));
}

#[test]
fn c21_progress_is_one_line_a_file_and_never_wider_than_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let long = "n".repeat(90);
    for name in ["short", &long] {
        fs::write(dir.path().join(name), vec![b'x'; 300_000]).unwrap();
    }
    fs::create_dir(dir.path().join("to")).unwrap();
    for columns in [80, 60, 30] {
        let mut terminal = Terminal::start(dir.path(), &["-l", "4000"], columns);
        terminal.until("a prompt", |text| text.contains(PROMPT));
        terminal.type_in("get short to\rget n* to\rmkdir end\r");
        terminal.until("the end", |_| dir.path().join("end").exists());
        let text = terminal.end();
        fs::remove_dir(dir.path().join("end")).unwrap();
        // Each state of the line, without what steers the terminal.
        let states = text.split(['\r', '\n']).map(|line| plain(line).trim_end().to_owned());
        let states: Vec<String> = states.filter(|line| line.contains('%')).collect();
        assert!(states.iter().any(|line| !line.contains("100%")), "{columns}: it moves: {states:?}");
        for line in &states {
            assert!(line.chars().count() < columns as usize, "{columns}: {line:?}");
        }
        // What stays says how long it took; the narrowest has no room for that.
        let stay = |name: &str| {
            let of = states.iter().filter(|line| line.trim_start().starts_with(name) && line.ends_with('s'));
            of.count()
        };
        if columns > 30 {
            assert_eq!((stay("short"), stay("nnnn")), (1, 1), "{columns}: {states:#?}");
        }
    }
}

/// A piece of a screen without sequences that steer the terminal.
fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => {
                let _ = chars.find(|c| c.is_ascii_alphabetic());
            }
            c => out.push(c),
        }
    }
    out
}
