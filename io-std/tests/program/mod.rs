//! The program `konko` as people and other programs start it: `konko serve` on loopback with the shell of the system,
//! and calls of the other commands, each with a home folder of its own and nothing of this machine's configuration.
#![allow(dead_code)]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use konko::core::keys::{KeyType, PrivateKey};
use konko::core::{Rng, Seed};

/// How long one call may take on a machine that is busy.
pub const LONG: Duration = Duration::from_secs(60);

/// Ended when dropped.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A home folder with a key and a known_hosts file, and a server that lets the key in.
pub struct Home {
    pub dir: tempfile::TempDir,
    pub server: Option<Running>,
    pub port: u16,
}

impl Home {
    /// Without a server.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, seed) in [("user", 1), ("host", 2)] {
            let mut rng = Rng::from_seed(&Seed::new([seed; 32]));
            let key = PrivateKey::generate(KeyType::ED25519, &mut rng).unwrap();
            private(&dir.path().join(name), key.to_openssh(None, &mut rng).unwrap().as_bytes());
            private(&dir.path().join(format!("{name}.pub")), key.public().to_openssh_line("").as_bytes());
        }
        Home { dir, server: None, port: 0 }
    }

    /// With `konko serve` and these arguments more.
    pub fn serve(arguments: &[&str]) -> Self {
        let mut home = Home::new();
        let mut command = konko(["serve", "--listen", "127.0.0.1:0"]);
        command.args(home.server_arguments()).args(arguments).env("HOME", home.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(home.file("log")).unwrap());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        home.server = Some(Running(child));
        let port = line.trim_end().strip_prefix("listening on 127.0.0.1:");
        home.port = port.unwrap_or_else(|| panic!("{line}{}", home.log())).parse().unwrap();
        home.know(home.port);
        home
    }

    /// Writes the host key of the server into known_hosts, for 127.0.0.1 at this port.
    pub fn know(&self, port: u16) {
        let key = fs::read_to_string(self.file("host.pub")).unwrap();
        fs::write(self.file("known_hosts"), format!("[127.0.0.1]:{port} {key}\n")).unwrap();
    }

    /// What a server of this home's keys is started with.
    pub fn server_arguments(&self) -> Vec<String> {
        let file = |name| self.file(name).display().to_string();
        vec!["--host-key".into(), file("host"), "--authorized-keys".into(), file("user.pub")]
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn file(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.dir.path().join(name.as_ref())
    }

    /// What the server has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    /// `konko COMMAND` with what it takes to log in; the destination is [`at`](Self::at).
    pub fn call(&self, command: &str) -> Command {
        let mut call = konko([command]);
        let port = self.port.to_string();
        call.args([if command == "ssh" { "-p" } else { "-P" }, &port]).arg("-i").arg(self.file("user"));
        let known = format!("UserKnownHostsFile={}", self.file("known_hosts").display());
        for option in [&known, "GlobalKnownHostsFile=/dev/null", "BatchMode=yes"] {
            call.args(["-o", option]);
        }
        call.env("HOME", self.path()).env("SHELL", "/bin/sh").env_remove("SSH_AUTH_SOCK");
        call.env_remove("SSH_ASKPASS").env_remove("DISPLAY");
        call.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        call
    }

    /// Ends the server at once, and its connections with it.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// The destination of a call.
    pub fn at() -> &'static str {
        "someone@127.0.0.1"
    }
}

/// `konko` with these arguments.
pub fn konko<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_konko"));
    command.args(arguments);
    command
}

/// Runs a call to its end.
pub fn run(mut call: Command) -> Output {
    let mut child = call.spawn().unwrap();
    let both = [child.stdout.take().map(collect), child.stderr.take().map(collect)];
    let status = wait(&mut child, &call);
    let [stdout, stderr] = both.map(|out| out.map(|thread| thread.join().unwrap()).unwrap_or_default());
    Output { status, stdout, stderr }
}

/// Reads to the end, in a thread.
pub fn collect(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        // A terminal whose other side is gone gives an error, not an end.
        let _ = from.read_to_end(&mut all);
        all
    })
}

/// Waits for the end of a call; what takes too long is killed.
#[track_caller]
pub fn wait(child: &mut Child, call: &Command) -> std::process::ExitStatus {
    let until = Instant::now() + LONG;
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return status,
            None if Instant::now() < until => std::thread::sleep(Duration::from_millis(2)),
            None => {
                child.kill().unwrap();
                panic!("{call:?} takes for ever");
            }
        }
    }
}

fn private(path: &Path, text: &[u8]) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
