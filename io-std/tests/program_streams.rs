//! Standard streams that do not block. The flag (`O_NONBLOCK`) belongs to the open file, which others share: rsync gives
//! its remote shell sockets that do not block, and any program on the same terminal can set it at any time. Whatever the
//! flag says, every byte comes over.

mod program;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use konko::{Auth, Client, ClientOptions, FdStream, HostKeys};
use program::{Home, Running, konko, wait};

/// More than any pipe, socket or terminal holds.
const MUCH: usize = 700_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Pipe,
    Socket,
    Terminal,
}

const KINDS: [Kind; 3] = [Kind::Pipe, Kind::Socket, Kind::Terminal];

/// When the flag is set.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Never,
    Before,
    Amid,
}

/// A stream: what the program gets, and the other side.
struct Plug {
    theirs: OwnedFd,
    ours: File,
}

impl Plug {
    fn new(kind: Kind, input: bool) -> Self {
        let (theirs, ours): (OwnedFd, OwnedFd) = match kind {
            Kind::Pipe => {
                let (read, write) = std::io::pipe().unwrap();
                if input { (read.into(), write.into()) } else { (write.into(), read.into()) }
            }
            Kind::Socket => {
                let (a, b) = UnixStream::pair().unwrap();
                (a.into(), b.into())
            }
            Kind::Terminal => {
                let (pty, pts) = pty_process::blocking::open().unwrap();
                let mut modes = rustix::termios::tcgetattr(&pts).unwrap();
                modes.make_raw();
                rustix::termios::tcsetattr(&pts, rustix::termios::OptionalActions::Now, &modes).unwrap();
                (pts.as_fd().try_clone_to_owned().unwrap(), OwnedFd::from(pty))
            }
        };
        Plug { theirs, ours: ours.into() }
    }

    /// For the program.
    fn stdio(&self) -> Stdio {
        self.theirs.try_clone().unwrap().into()
    }

    fn unblock(&self) {
        rustix::io::ioctl_fionbio(&self.theirs, true).unwrap();
    }

    /// Reads to the end of the program, but only once it can write no more without waiting.
    fn read_late(self) -> JoinHandle<Vec<u8>> {
        until(|| self.is_full());
        let mut ours = self.ours;
        std::thread::spawn(move || {
            let mut all = Vec::new();
            let _ = ours.read_to_end(&mut all);
            all
        })
    }

    /// Something waits here, and for a while nothing more has come.
    fn is_full(&self) -> bool {
        let waiting = || rustix::io::ioctl_fionread(&self.ours).unwrap();
        let before = waiting();
        std::thread::sleep(Duration::from_millis(30));
        before > 0 && before == waiting()
    }
}

#[track_caller]
fn until(mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + program::LONG;
    while !condition() {
        assert!(Instant::now() < until, "it does not come to that");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn pattern() -> Vec<u8> {
    (0..MUCH).map(|i| b'a' + (i % 23) as u8).collect()
}

/// What comes out of one of the outputs, `stream` 1 or 2, of a command that writes much.
fn output(mut call: Command, stream: usize, kind: Kind, when: When) -> (Vec<u8>, Option<i32>) {
    let plug = Plug::new(kind, false);
    if when == When::Before {
        plug.unblock();
    }
    call.stdin(Stdio::null());
    if stream == 1 {
        call.stdout(plug.stdio()).stderr(Stdio::null())
    } else {
        call.stderr(plug.stdio()).stdout(Stdio::null())
    };
    let mut child = Running(call.spawn().unwrap());
    // The command holds a copy of the stream: without that its end would never come.
    call.stdout(Stdio::null()).stderr(Stdio::null());
    if when == When::Amid {
        until(|| plug.is_full());
        plug.unblock();
    }
    let reader = plug.read_late();
    let status = wait(&mut child.0, &call);
    (reader.join().unwrap(), status.code())
}

#[test]
fn b1_outputs_that_do_not_block_lose_nothing() {
    let home = Home::serve(&[]);
    std::fs::write(home.file("much"), pattern()).unwrap();
    for stream in [1, 2] {
        let remote = format!("cat {}/much >&{stream}; exit 3", home.path().display());
        let ssh = || {
            let mut call = home.call("ssh");
            call.args([Home::at(), &remote]);
            call
        };
        for kind in KINDS {
            for when in [When::Before, When::Amid] {
                let (bytes, code) = output(ssh(), stream, kind, when);
                assert_eq!(code, Some(3), "{stream} {kind:?} {when:?}");
                assert!(bytes == pattern(), "{stream} {kind:?} {when:?}: {} bytes", bytes.len());
            }
        }
    }
}

#[test]
fn b1_input_that_does_not_block_is_read_to_its_end() {
    let home = Home::serve(&[]);
    for kind in KINDS {
        for when in [When::Before, When::Amid] {
            let plug = Plug::new(kind, true);
            if when == When::Before {
                plug.unblock();
            }
            let mut call = home.call("ssh");
            call.args([Home::at(), &format!("echo ready; head -c {MUCH}")]).stdin(plug.stdio());
            call.stderr(Stdio::null());
            let mut child = Running(call.spawn().unwrap());
            let mut stdout = child.0.stdout.take().unwrap();
            let mut ready = [0; 6];
            stdout.read_exact(&mut ready).unwrap();
            if when == When::Amid {
                plug.unblock();
            }
            let mut ours = plug.ours;
            let feed = std::thread::spawn(move || {
                for chunk in pattern().chunks(1000) {
                    ours.write_all(chunk).unwrap();
                }
                ours
            });
            let mut all = Vec::new();
            stdout.read_to_end(&mut all).unwrap();
            drop(feed.join());
            assert!(all == pattern(), "{kind:?} {when:?}: {} bytes", all.len());
            assert!(wait(&mut child.0, &call).success());
        }
    }
}

/// Lists a directory of many names, or says of many that they are not there.
fn sftp(home: &Home, lines: &str) -> Command {
    std::fs::write(home.file("batch"), lines).unwrap();
    let mut call = home.call("sftp");
    call.arg("-b").arg(home.file("batch")).arg(Home::at());
    call
}

#[test]
fn b1_sftp_and_scp_say_everything_to_streams_that_do_not_block() {
    let home = Home::serve(&[]);
    let dir = home.file("dir");
    std::fs::create_dir(&dir).unwrap();
    for i in 0..1000 {
        File::create(dir.join(format!("{i:0150}"))).unwrap();
    }
    let listing = format!("ls -1 {}\n", dir.display()).repeat(2);
    let errors = format!("-rm dir/{}\n", "x".repeat(200)).repeat(500);
    let missing: Vec<String> = (0..500).map(|i| format!("{}:{i:0200}", Home::at())).collect();
    let scp = || {
        let mut call = home.call("scp");
        call.args(&missing).arg(home.path());
        call
    };
    for (stream, call) in
        [(1, &(|| sftp(&home, &listing)) as &dyn Fn() -> Command), (2, &|| sftp(&home, &errors)), (2, &scp)]
    {
        let whole = output(call(), stream, Kind::Pipe, When::Never);
        assert!(whole.0.len() > 100_000, "{}", whole.0.len());
        for kind in KINDS {
            // scp and sftp say more on a terminal: progress, which is no part of this.
            let mut call = call();
            call.args((kind == Kind::Terminal && stream == 1).then_some("-q"));
            let found = output(call, stream, kind, When::Before);
            assert!(found == whole, "{stream} {kind:?}: {} of {} bytes", found.0.len(), whole.0.len());
        }
    }
}

#[test]
fn b1_sftp_reads_commands_from_what_does_not_block() {
    let home = Home::serve(&[]);
    std::fs::write(home.file("one"), "").unwrap();
    for (kind, batch) in
        [(Kind::Pipe, false), (Kind::Socket, false), (Kind::Pipe, true), (Kind::Terminal, false)]
    {
        let plug = Plug::new(kind, true);
        plug.unblock();
        let mut call = home.call("sftp");
        call.args(if batch { &["-b", "-"][..] } else { &[] }).arg(Home::at()).stdin(plug.stdio());
        let mut child = Running(call.spawn().unwrap());
        let out = program::collect(child.0.stdout.take().unwrap());
        let mut said = std::io::BufReader::new(child.0.stderr.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut said, &mut line).unwrap();
        assert!(line.starts_with("Connected"), "{line}");
        let to = home.path().display();
        (&plug.ours).write_all(format!("rename {to}/one {to}/two\n").as_bytes()).unwrap();
        until(|| home.file("two").exists());
        (&plug.ours).write_all(b"exit\n").unwrap();
        assert!(wait(&mut child.0, &call).success(), "{kind:?}");
        drop(out.join());
        std::fs::rename(home.file("two"), home.file("one")).unwrap();
    }
}

/// INIT, and as many STATs of a file that is not there.
fn requests(n: u32) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 5, 1, 0, 0, 0, 3];
    for id in 0..n {
        bytes.extend([0, 0, 0, 16, 17]);
        bytes.extend(id.to_be_bytes());
        bytes.extend(*b"\0\0\0\x07missing");
    }
    bytes
}

#[test]
fn b1_sftp_server_answers_on_streams_that_do_not_block() {
    let dir = tempfile::tempdir().unwrap();
    let mut sums = Vec::new();
    for (kind, when) in [
        (Kind::Pipe, When::Never),
        (Kind::Pipe, When::Before),
        (Kind::Socket, When::Before),
        (Kind::Terminal, When::Before),
    ] {
        let [input, output] = [Plug::new(kind, true), Plug::new(kind, false)];
        if when == When::Before {
            input.unblock();
            output.unblock();
        }
        let mut call = konko(["sftp-server", "-e"]);
        call.current_dir(&dir).stdin(input.stdio()).stdout(output.stdio());
        let mut child = Running(call.spawn().unwrap());
        call.stdin(Stdio::null()).stdout(Stdio::null());
        let Plug { theirs, mut ours } = input;
        drop(theirs);
        let feed = std::thread::spawn(move || ours.write_all(&requests(10_000)).map(|()| ours));
        until(|| output.is_full());
        let Plug { theirs, ours: mut answers } = output;
        drop(theirs);
        let (told, came) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(n @ 1..) = answers.read(&mut buffer) {
                told.send(buffer[..n].to_vec()).unwrap();
            }
        });
        let ours = feed.join().unwrap().unwrap();
        let mut sum = Vec::new();
        // A terminal forgets what was not read when its other side is closed.
        while sum.len() < sums.first().map_or(0, Vec::len) {
            sum.extend(came.recv_timeout(program::LONG).unwrap());
        }
        // The end of the input ends the server.
        drop(ours);
        sum.extend(came.iter().flatten());
        wait(&mut child.0, &call);
        sums.push(sum);
    }
    assert!(sums[0].len() > 200_000, "{}", sums[0].len());
    for (i, sum) in sums.iter().enumerate() {
        assert!(*sum == sums[0], "{i}: {} of {} bytes", sum.len(), sums[0].len());
    }
}

#[test]
fn b1_serve_inetd_takes_streams_that_do_not_block() {
    let home = Home::new();
    let much = home.file("much");
    std::fs::write(&much, pattern()).unwrap();
    let much = much.display();
    for kind in [Kind::Pipe, Kind::Socket] {
        let plugs = [true, false, false].map(|input| Plug::new(kind, input));
        plugs.iter().for_each(Plug::unblock);
        let [input, output, log] = plugs;
        let mut call = konko(["serve", "--inetd", "-v"]);
        call.args(home.server_arguments()).current_dir(home.path()).env("HOME", home.path());
        call.stdin(input.stdio()).stdout(output.stdio()).stderr(log.stdio());
        let mut child = Running(call.spawn().unwrap());
        call.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let stream = FdStream::pair(output.ours, input.ours).unwrap();
        drop([input.theirs, output.theirs, log.theirs]);
        let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
        let client = Client::over(stream, "pipe", 22, options).unwrap();
        client.login("someone", Auth::new().key_file(home.file("user"))).unwrap();
        let out = client.exec(format!("cat {much}; cat {much} >&2")).unwrap();
        assert!(out.stdout == pattern() && out.stderr == pattern(), "{kind:?}");
        client.disconnect();
        drop(client);
        wait(&mut child.0, &call);
        let mut said = String::new();
        { log.ours }.read_to_string(&mut said).unwrap();
        assert!(said.contains("someone"), "{said}");
    }
}
