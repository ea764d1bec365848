//! The program under test.

use crate::keys::KeyRing;
use crate::peers::{konko, workspace};
use crate::process::{Feed, Finished, Process};
use crate::sshd::{Sshd, login};
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What acts as `ssh`: a program and its first arguments.
#[derive(Clone, Debug)]
pub struct Program {
    words: Vec<OsString>,
    openssh: bool,
}

impl Program {
    /// The program that `KONKO_PROGRAM` names (words separated by spaces, as `target/release/konko ssh` or `ssh`),
    /// else the `konko ssh` that was built last. `None`, and recorded as not run, when there is none.
    ///
    /// # Panics
    /// With `CI=true`, when there is none; when `KONKO_PROGRAM` is empty.
    pub fn under_test() -> Option<Self> {
        if let Some(words) = std::env::var_os("KONKO_PROGRAM") {
            let words = words.into_string().expect("KONKO_PROGRAM is text");
            let mut words: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
            if words[0].to_string_lossy().contains('/') {
                // Cargo runs tests in the folder of their package.
                words[0] = workspace().join(&words[0]).into();
            }
            return Some(Self::new(words));
        }
        Self::konko()
    }

    /// The `konko ssh` that was built last; `None`, and recorded as not run, when there is none.
    ///
    /// # Panics
    /// With `CI=true`, when there is none.
    pub fn konko() -> Option<Self> {
        Some(Self::new(vec![konko()?.into(), "ssh".into()]))
    }

    /// The program of these words.
    pub fn new(words: Vec<OsString>) -> Self {
        let name = words.first().map(Path::new).and_then(Path::file_name);
        let openssh = name.is_some_and(|n| n == "ssh");
        Self { words, openssh }
    }

    /// Whether it is OpenSSH's own, run to check the tests; it words its messages its own way.
    pub fn is_openssh(&self) -> bool {
        self.openssh
    }

    /// Starts a call that connects to 127.0.0.1 at `port`: unattended, reading no configuration of this machine, with
    /// an own home folder and nothing from the environment that would change what it does.
    pub fn call(&self, home: &Path, port: u16) -> Invocation {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        if self.openssh {
            command.args(["-F", "/dev/null"]);
        }
        command.env("HOME", home).env_remove("SSH_AUTH_SOCK").env_remove("SSH_ASKPASS").env_remove("DISPLAY");
        command.arg("-p").arg(port.to_string());
        Invocation {
            command,
            options: Vec::new(),
            user: login(),
            feed: Feed::Empty,
            deadline: Duration::from_secs(60),
        }
        .option("GlobalKnownHostsFile", "/dev/null")
        .option("UserKnownHostsFile", home.join("known_hosts").display())
    }

    /// Starts a call to `sshd` that logs in with the Ed25519 key and trusts the server's keys.
    pub fn to(&self, sshd: &Sshd) -> Invocation {
        self.call(&sshd.file(""), sshd.port)
            .option("StrictHostKeyChecking", "yes")
            .option("BatchMode", "yes")
            .identity(&sshd.keys, "user_ed25519")
    }
}

/// One call of the program under test.
#[derive(Debug)]
pub struct Invocation {
    command: Command,
    options: Vec<(String, String)>,
    user: String,
    feed: Feed,
    deadline: Duration,
}

impl Invocation {
    /// Adds `-o key=value`; a later value of the same key replaces an earlier one.
    pub fn option(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.options.retain(|(k, _)| k != key);
        self.options.push((key.to_owned(), value.to_string()));
        self
    }

    /// Adds arguments before the destination.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    /// Logs in with that key of the ring, and no other.
    pub fn identity(self, keys: &KeyRing, name: &str) -> Self {
        self.identity_file(&keys.private(name))
    }

    /// Logs in with that key file, and no other.
    pub fn identity_file(mut self, path: &Path) -> Self {
        self.command.arg("-i").arg(path);
        self.option("IdentitiesOnly", "yes")
    }

    /// Logs in under that name.
    pub fn user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, key: &str, value: impl Into<OsString>) -> Self {
        self.command.env(key, value.into());
        self
    }

    /// Answers prompts by running this program, which is what OpenSSH does without a terminal.
    pub fn askpass(self, program: &Path) -> Self {
        self.option("BatchMode", "no").env("SSH_ASKPASS", program).env("SSH_ASKPASS_REQUIRE", "force")
    }

    /// Sets what goes into standard input; nothing by default.
    pub fn feed(mut self, feed: Feed) -> Self {
        self.feed = feed;
        self
    }

    /// Sets how long it may take, 60 s by default.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs a remote command.
    ///
    /// # Panics
    /// When the program does not end within the deadline.
    #[track_caller]
    pub fn run(self, remote: &str) -> Finished {
        self.try_run(remote).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Runs a remote command; the error is that the deadline passed.
    pub fn try_run(self, remote: &str) -> Result<Finished, String> {
        let (feed, deadline) = (self.feed.clone(), self.deadline);
        Process::new(self.into_command(remote)).feed(feed).deadline(deadline).run()
    }

    /// The whole command, for a caller that runs it in a way of its own.
    pub fn into_command(mut self, remote: &str) -> Command {
        for (key, value) in &self.options {
            self.command.arg("-o").arg(format!("{key}={value}"));
        }
        self.command.arg(format!("{}@127.0.0.1", self.user));
        if !remote.is_empty() {
            self.command.arg(remote);
        }
        self.command
    }
}
