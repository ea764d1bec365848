use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use konko_core::session::Program;

use super::session::Session;
use crate::channel::{Channel, Exit};
use crate::error::Error;
use crate::sftp::Root;

/// The name that sshd_config(5) has for a built-in SFTP server.
const INTERNAL_SFTP: &str = "internal-sftp";

/// What clients may run: a table of commands of your own, subsystems, and something for everything
/// else. What is not in it is refused.
///
/// ```
/// use konko::server::Programs;
/// use std::io::Write;
///
/// let programs = Programs::new()
///     .command("greet", |call| call.channel().write_all(call.argument()).map_or(1u32, |()| 0))
///     .subsystem("count", |call| std::io::copy(&mut call.channel(), &mut std::io::sink()).map_or(1u32, |_| 0));
/// ```
#[derive(Clone, Default)]
pub struct Programs {
    commands: BTreeMap<String, Run>,
    subsystems: BTreeMap<String, Run>,
    /// Gets the sessions that nothing of the above is for.
    other: Option<Start>,
}

type Run = Arc<dyn Fn(&Call) -> Exit + Send + Sync>;
type Start = Arc<dyn Fn(Session) -> Result<(), Error> + Send + Sync>;

/// A command or a subsystem that was called, on a thread of its own.
#[derive(Debug)]
pub struct Call {
    channel: Channel,
    user: String,
    argument: Vec<u8>,
    env: Vec<(OsString, OsString)>,
}

impl Call {
    /// Standard input is read from it, standard output is written to it; see
    /// [`Channel::stderr`].
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The user who is in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// What stands behind the command's name, as the client sent it but for white space around it.
    pub fn argument(&self) -> &[u8] {
        &self.argument
    }

    /// The environment variables that the client sent and that were let through.
    pub fn env(&self) -> &[(OsString, OsString)] {
        &self.env
    }
}

impl Programs {
    /// Nothing can be run.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `run` for commands whose first word is `name`. It runs on a thread of its own; when it
    /// returns, what it returns is sent as the exit.
    #[must_use]
    pub fn command<E: Into<Exit>>(
        mut self,
        name: impl Into<String>,
        run: impl Fn(&Call) -> E + Send + Sync + 'static,
    ) -> Self {
        self.commands.insert(name.into(), Arc::new(move |call| run(call).into()));
        self
    }

    /// Runs `run` for the subsystem `name`, as [`command`](Self::command).
    #[must_use]
    pub fn subsystem<E: Into<Exit>>(
        mut self,
        name: impl Into<String>,
        run: impl Fn(&Call) -> E + Send + Sync + 'static,
    ) -> Self {
        self.subsystems.insert(name.into(), Arc::new(move |call| run(call).into()));
        self
    }

    /// Offers SFTP in a directory, or in the whole system: the subsystem `sftp`, and the command
    /// `internal-sftp` that keys and configurations force on users, with the options of sftp-server(8)
    /// that restrict: `-R`, `-u`, `-d`, `-P`, `-p`. Each session gets the directory that has the path then:
    /// see [`Root::reopen`].
    #[must_use]
    pub fn sftp(self, root: Root) -> Self {
        self.sftp_with(move |_| root.reopen())
    }

    /// The same, where `choose` says in which directory, such as one for each
    /// [`user`](Call::user): a name that comes from the client, so check it.
    #[must_use]
    pub fn sftp_with(self, choose: impl Fn(&Call) -> io::Result<Root> + Send + Sync + 'static) -> Self {
        let choose = Arc::new(choose);
        let forced = Arc::clone(&choose);
        self.subsystem("sftp", move |call| crate::sftp::run(call, &*choose))
            .command(INTERNAL_SFTP, move |call| crate::sftp::run(call, &*forced))
    }

    /// Gives every session that nothing else is for to `start`, which runs it or refuses it.
    #[must_use]
    pub fn otherwise(mut self, start: impl Fn(Session) -> Result<(), Error> + Send + Sync + 'static) -> Self {
        self.other = Some(Arc::new(start));
        self
    }

    /// The names of the commands, without `internal-sftp`, which nobody types.
    pub fn commands(&self) -> impl Iterator<Item = &str> {
        self.commands.keys().map(String::as_str).filter(|name| *name != INTERNAL_SFTP)
    }

    /// Runs a session, or refuses it.
    ///
    /// # Errors
    /// What kept it from starting; it is refused then.
    pub fn start(&self, session: Session) -> Result<(), Error> {
        let (table, name, argument) = match session.program() {
            Program::Exec(command) => {
                let command = command.trim_ascii();
                let end = command.iter().position(u8::is_ascii_whitespace).unwrap_or(command.len());
                (&self.commands, &command[..end], command[end..].trim_ascii())
            }
            Program::Subsystem(name) => (&self.subsystems, &name[..], &b""[..]),
            Program::Shell => (&self.commands, &b""[..], &b""[..]),
        };
        // What is not UTF-8 is the name of none of them.
        let run = std::str::from_utf8(name).ok().and_then(|name| table.get(name));
        if let Some(run) = run.cloned() {
            let user = session.connection().user().unwrap_or_default();
            let (argument, env) = (argument.to_vec(), session.env().to_vec());
            return session.run(move |channel| run(&Call { channel, user, argument, env }));
        }
        let name = name.to_vec();
        match &self.other {
            Some(start) => start(session),
            None if self.commands().next().is_none()
                || matches!(session.program(), Program::Subsystem(_)) =>
            {
                session.reject();
                Ok(())
            }
            // A person should learn what there is instead.
            None => {
                let commands: Vec<&str> = self.commands().collect();
                let commands = commands.join(" ");
                session.run(move |channel| {
                    let what = if name.is_empty() { "there is no shell here".into() } else { unknown(&name) };
                    let _ = write!(channel.stderr(), "{what}; commands: {commands}\r\n");
                    127u32
                })
            }
        }
    }
}

fn unknown(name: &[u8]) -> String {
    format!("\"{}\" is no command here", konko_core::wire::SshStr::new(name).excerpt(60))
}

impl fmt::Debug for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Programs")
            .field("commands", &self.commands.keys())
            .field("subsystems", &self.subsystems.keys())
            .field("otherwise", &self.other.is_some())
            .finish()
    }
}
