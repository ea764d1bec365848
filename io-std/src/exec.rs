use std::io::Write;
use std::time::Duration;

use konko_core::channel::{ChannelRequest, OpenKind};
use konko_core::wire::SshStr;

use crate::cancel::Cancel;
use crate::channel::{Channel, Exit, Traffic};
use crate::client::Client;
use crate::error::Error;
use crate::shared::Deadline;
use crate::state::Sink;
use konko_core::session::Pty;

/// Bytes of each stream that are kept unless told otherwise.
const CAP: usize = 64 << 20;

/// A command to run, with all that goes with it; see [`Client::exec_with`].
#[derive(Clone, Debug)]
pub struct Exec<'a> {
    command: &'a [u8],
    stdin: &'a [u8],
    env: Vec<(&'a [u8], &'a [u8])>,
    pty: Option<Pty>,
    caps: [usize; 2],
    timeout: Option<Duration>,
    traffic: Traffic,
    cancel: Option<Cancel>,
}

impl<'a> Exec<'a> {
    /// A command without input, time limit or terminal; the remote shell parses it.
    pub fn new(command: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Exec {
            command: command.as_ref(),
            stdin: &[],
            env: Vec::new(),
            pty: None,
            caps: [CAP; 2],
            timeout: None,
            traffic: Traffic::new(),
            cancel: None,
        }
    }

    /// Standard input; it ends after this.
    #[must_use]
    pub fn stdin(mut self, input: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.stdin = input.as_ref();
        self
    }

    /// An environment variable, one more. Servers take few names and do not say which.
    #[must_use]
    pub fn env(
        mut self,
        name: &'a (impl AsRef<[u8]> + ?Sized),
        value: &'a (impl AsRef<[u8]> + ?Sized),
    ) -> Self {
        self.env.push((name.as_ref(), value.as_ref()));
        self
    }

    /// Runs it on a pseudo-terminal. Standard error then comes on standard output.
    #[must_use]
    pub fn pty(mut self, pty: Pty) -> Self {
        self.pty = Some(pty);
        self
    }

    /// Bytes of standard output and of standard error that are kept: 64 MiB each. What comes beyond is read and
    /// dropped, so the command still ends.
    #[must_use]
    pub fn caps(mut self, stdout: usize, stderr: usize) -> Self {
        self.caps = [stdout, stderr];
        self
    }

    /// How long it may take altogether: for ever.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Counts what comes and goes in `traffic`, for another thread to look at.
    #[must_use]
    pub fn counted_in(mut self, traffic: &Traffic) -> Self {
        self.traffic = traffic.clone();
        self
    }

    /// Is ended by `cancel`: the channel is closed then, which most servers take as a reason to end the command.
    #[must_use]
    pub fn cancelled_by(mut self, cancel: &Cancel) -> Self {
        self.cancel = Some(cancel.clone());
        self
    }
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// More came than the caps allow, and was dropped.
    pub truncated: bool,
}

impl Client {
    /// Runs a command and waits for its end. Both outputs are read as they come, in whatever order,
    /// so nothing can wait for anything else.
    ///
    /// # Errors
    /// As [`exec_with`](Self::exec_with).
    pub fn exec(&self, command: impl AsRef<[u8]>) -> Result<Output, Error> {
        self.exec_with(&Exec::new(command.as_ref()))
    }

    /// Runs a command with input, environment, terminal, caps, a time limit, or watched.
    ///
    /// # Errors
    /// `Timeout` when the time is up: the channel is closed then, which most servers take as a
    /// reason to end the command. `RequestRefused` when the server would not run it, or has no terminal for it; as
    /// nothing waits for anything else, a command may have begun without the terminal then. `Cancelled`, if it was.
    pub fn exec_with(&self, exec: &Exec<'_>) -> Result<Output, Error> {
        let deadline = Deadline::after(exec.timeout);
        let sink = Sink::Collect { bytes: Default::default(), caps: exec.caps, truncated: false };
        let channel = Channel::open(self.handle(), OpenKind::Session, sink)?;
        channel.count_in(&exec.traffic);
        exec.cancel.iter().for_each(|cancel| channel.cancelled_by(cancel));
        for (name, value) in &exec.env {
            channel.env(name, value)?;
        }
        // All at once: an answer may never come, and what comes all the same is the command's.
        let pty = exec.pty.as_ref().map(|pty| channel.send_pty(pty)).transpose()?;
        let started = channel.send(&ChannelRequest::Exec(SshStr::new(exec.command)))?;
        channel.set_timeout(deadline.left());
        // A command that does not read its input ends all the same; its exit says how.
        if (&channel).write_all(exec.stdin).is_ok() {
            channel.send_eof().ok();
        }
        let exit = channel.wait_until(deadline)?;
        if let Some(pty) = pty.filter(|pty| pty.answer() == Some(false)) {
            return Err(pty.refusal());
        }
        if exit == Exit::Missing {
            // A channel that is closed before there was anything of a command.
            started.wait()?;
        }
        let ([stdout, stderr], truncated) = channel.collected();
        Ok(Output { exit, stdout, stderr, truncated })
    }
}
