//! Programs for sessions, on pipes or on a pseudo-terminal.

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use nix::unistd::{User, geteuid};
use process_wrap::std::{CommandWrap, ProcessSession};

use super::child::inherits_nothing;
use super::running::resize;
pub use super::running::{Handle, Output, Running};
use crate::modes;
use konko_core::session::Pty;

/// The account that programs run under: the one of this very program. Changing to another user is
/// left to the system's own sshd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// `USER` and `LOGNAME`.
    pub name: OsString,
    /// `HOME`, and where programs start.
    pub home: PathBuf,
    /// `SHELL`, and what runs commands.
    pub shell: PathBuf,
}

impl Account {
    /// As the system's table of users says, or else the variables `USER`, `HOME` and `SHELL`.
    pub fn current() -> Self {
        let known = User::from_uid(geteuid()).ok().flatten();
        let var = |name| std::env::var_os(name).unwrap_or_default();
        let (name, home, shell) = match known {
            Some(user) => (user.name.into(), user.dir, user.shell),
            None => (var("USER"), var("HOME").into(), var("SHELL").into()),
        };
        let or = |path: PathBuf, other: &str| if path.as_os_str().is_empty() { other.into() } else { path };
        Account { name, home: or(home, "/"), shell: or(shell, "/bin/sh") }
    }
}

/// A program to start.
///
/// It gets a session and a process group of its own (setsid(2)), its three streams and no other
/// descriptor, every signal at its default and none blocked, and nothing of this program's environment
/// but what is named here and `TZ`: whatever this program was itself started with, as with sshd.
///
/// ```no_run
/// use konko::server::process::{Account, Launch};
///
/// let running = Launch::command(&Account::current(), b"echo hello").start()?;
/// std::io::copy(&mut running.stdout.as_ref().unwrap(), &mut std::io::stdout())?;
/// println!("{}", running.wait()?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Launch {
    program: PathBuf,
    /// What it is told to be called.
    arg0: Option<OsString>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: PathBuf,
    pty: Option<Pty>,
    kill_user_processes: bool,
}

/// Where programs are looked for, as OpenSSH has it; root gets the system's own, too.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
const ROOT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Pseudo-terminals are marked close-on-exec only after they were opened, so no other program may be
/// started in between: it would hold the descriptor.
static STARTING: Mutex<()> = Mutex::new(());

impl Launch {
    /// The account's shell, as at a login.
    pub fn shell(account: &Account) -> Self {
        let mut name = OsString::from("-");
        name.push(account.shell.file_name().unwrap_or(account.shell.as_os_str()));
        let mut launch = Self::program(account, &account.shell);
        launch.arg0 = Some(name);
        launch
    }

    /// A command line, run by the account's shell with `-c`.
    pub fn command(account: &Account, command: &[u8]) -> Self {
        Self::program(account, &account.shell).arg("-c").arg(OsStr::from_bytes(command))
    }

    /// A program, without a shell between.
    pub fn program(account: &Account, program: impl AsRef<Path>) -> Self {
        let path = if geteuid().is_root() { ROOT_PATH } else { PATH };
        let dir = if account.home.is_dir() { account.home.clone() } else { "/".into() };
        let mut launch = Launch {
            program: program.as_ref().into(),
            arg0: None,
            args: Vec::new(),
            env: Vec::new(),
            dir,
            pty: None,
            kill_user_processes: false,
        };
        for (name, value) in [
            ("USER", account.name.as_os_str()),
            ("LOGNAME", &account.name),
            ("HOME", account.home.as_os_str()),
            ("PATH", OsStr::new(path)),
            ("SHELL", account.shell.as_os_str()),
        ] {
            launch = launch.env(name, value);
        }
        match std::env::var_os("TZ") {
            Some(zone) => launch.env("TZ", zone),
            None => launch,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().into());
        self
    }

    /// Sets the environment variables that a client sent, below all others: none of those that are
    /// set here is theirs to change.
    #[must_use]
    pub fn client_env(mut self, env: &[(OsString, OsString)]) -> Self {
        self.env.splice(0..0, env.iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Sets an environment variable. Of two with one name, the last counts.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().into(), value.as_ref().into()));
        self
    }

    /// Sets `SSH_CONNECTION` and `SSH_CLIENT`: who is connected, and to which address of ours.
    #[must_use]
    pub fn connection(self, client: SocketAddr, server: SocketAddr) -> Self {
        let (from, to) = (client.ip().to_canonical(), server.ip().to_canonical());
        self.env("SSH_CLIENT", format!("{from} {} {}", client.port(), server.port()))
            .env("SSH_CONNECTION", format!("{from} {} {to} {}", client.port(), server.port()))
    }

    /// Starts in this folder rather than in the account's home.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = dir.into();
        self
    }

    /// Runs it on a pseudo-terminal of this size, with these modes; `TERM` and `SSH_TTY` say which.
    #[must_use]
    pub fn pty(mut self, pty: &Pty) -> Self {
        self.pty = Some(pty.clone());
        self
    }

    /// Ends the program with its [`Running`], and whatever it started in its process group: told that
    /// the line hung up, and killed half a second later, also when the program itself has ended. What
    /// made a group of its own lives on, as daemons do and as interactive shells let their jobs do.
    ///
    /// Not unless this is called: see [`Running`]. The name is logind.conf(5)'s.
    #[must_use]
    pub fn kill_user_processes(mut self) -> Self {
        self.kill_user_processes = true;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// What the system says: that there is no such program, or no more pseudo-terminals. `InvalidInput`
    /// for a NUL, or a name of a variable that cannot be one.
    pub fn start(&self) -> io::Result<Running> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().current_dir(&self.dir);
        if let Some(arg0) = &self.arg0 {
            command.arg0(arg0);
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.as_bytes().contains(&b'=') {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "no name of an environment variable",
                ));
            }
            command.env(name, value);
        }
        inherits_nothing(&mut command);
        let running = match &self.pty {
            Some(pty) => on_pty(command, pty),
            None => on_pipes(command),
        };
        Ok(if self.kill_user_processes { running?.killed_at_end() } else { running? })
    }
}

fn on_pipes(mut command: Command) -> io::Result<Running> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut child = CommandWrap::from(command).wrap(ProcessSession).spawn()?;
    drop(starting);
    let streams = (
        child.stdin().take().map(OwnedFd::from),
        child.stdout().take().map(|out| Output::new(out.into())),
        child.stderr().take().map(|out| Output::new(out.into())),
    );
    Running::new(child.id(), None, streams)
}

fn on_pty(mut command: Command, wanted: &Pty) -> io::Result<Running> {
    let starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    let (pty, pts) = pty_process::blocking::open().map_err(io_error)?;
    resize(&pty, wanted.columns, wanted.rows, wanted.width, wanted.height)?;
    modes::apply(&pts, &wanted.modes)?;
    let name = rustix::termios::ttyname(&pts, Vec::new())?;
    command
        .env("TERM", OsStr::from_bytes(&wanted.term))
        .env("SSH_TTY", OsString::from_vec(name.into_bytes()));
    let child = pty_process::blocking::Command::from(command).spawn(pts).map_err(io_error)?;
    drop(starting);
    let pty = OwnedFd::from(pty);
    // One for each way, so that either can be closed without the other.
    let streams = (pty.try_clone(), pty.try_clone());
    let running = Running::new(child.id(), Some(pty), (None, None, None))?;
    Ok(running.with_streams(streams.0?, streams.1?))
}

fn io_error(error: pty_process::Error) -> io::Error {
    match error {
        pty_process::Error::Io(e) => e,
        other => io::Error::other(other.to_string()),
    }
}
