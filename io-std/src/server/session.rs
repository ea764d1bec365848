use std::ffi::OsString;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use konko_core::channel::ChannelId;

use super::connection::Connection;
use super::request::Reply;
use crate::channel::{Channel, Exit, Pty};
use crate::error::{Error, ErrorKind};

/// What is to run in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// The user's shell.
    Shell,
    /// A command.
    Exec(Vec<u8>),
    /// A subsystem, such as `sftp`.
    Subsystem(String),
}

impl fmt::Display for Program {
    /// One line for a log, escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = |bytes| konko_core::wire::SshStr::new(bytes).excerpt(200);
        match self {
            Program::Shell => f.write_str("a shell"),
            Program::Exec(command) => write!(f, "\"{}\"", escaped(command)),
            Program::Subsystem(name) => write!(f, "the subsystem \"{}\"", escaped(name.as_bytes())),
        }
    }
}

/// What a client tells a program that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// The terminal has another size (RFC 4254 §6.7).
    WindowChange {
        /// Width in characters.
        columns: u32,
        /// Height in characters.
        rows: u32,
        /// Width in pixels, 0 if unknown.
        width: u32,
        /// Height in pixels, 0 if unknown.
        height: u32,
    },
    /// A signal for the program, without `SIG` (RFC 4254 §6.9). From the client: check it.
    Signal(String),
    /// A break of so many milliseconds (RFC 4335).
    Break(u32),
    /// Nobody reads standard output any more (`eow@openssh.com`, OpenSSH's PROTOCOL 2.1): writing to it
    /// fails from now on, the rest goes on.
    Eow,
}

type Listener = Box<dyn FnMut(Control) + Send>;

/// Gets what the client tells a program.
#[derive(Clone, Default)]
pub(super) struct Controls(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    listener: Option<Listener>,
    /// Signals are not passed on.
    no_signals: bool,
    /// What came while the program was being started.
    early: Vec<Control>,
}

/// What is kept for a program that is being started; what comes beyond is dropped.
const MAX_EARLY: usize = 16;

impl Controls {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(&self, mut listener: Listener) {
        let mut told = self.lock();
        told.early.drain(..).for_each(&mut listener);
        let before = told.listener.replace(listener);
        // Dropped without the lock: it may hold anything.
        drop(told);
        drop(before);
    }

    /// Whether there is anybody to listen. Only the connection's thread tells anything.
    pub(super) fn tell(&self, control: Control) -> bool {
        let mut told = self.lock();
        if told.no_signals && matches!(control, Control::Signal(_)) {
            return false;
        }
        let Some(mut listener) = told.listener.take() else {
            let room = told.early.len() < MAX_EARLY;
            if room {
                told.early.push(control);
            }
            return room;
        };
        drop(told);
        // Without the lock: it may listen anew.
        listener(control);
        self.lock().listener.get_or_insert(listener);
        true
    }

    /// Nobody is told anything any more.
    fn close(&self) {
        // Dropped without the lock.
        let told = std::mem::take(&mut *self.lock());
        drop(told);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.controls.close();
    }
}

/// What the server keeps of a session.
pub(super) struct Slot {
    /// Until the program starts: then it is the program's.
    channel: Option<Channel>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) pty: Option<Pty>,
    pub(super) controls: Controls,
}

impl Slot {
    pub(super) fn new(channel: Channel) -> Self {
        Slot { channel: Some(channel), env: Vec::new(), pty: None, controls: Controls::default() }
    }

    /// Whether the program has not been started.
    pub(super) fn is_new(&self) -> bool {
        self.channel.is_some()
    }

    /// Makes the session of a program, once: for a slot that is new.
    pub(super) fn start(&mut self, reply: Reply, program: Program) -> Option<Session> {
        Some(Session {
            channel: self.channel.take()?,
            accepted: false,
            program,
            env: std::mem::take(&mut self.env),
            pty: self.pty.take(),
            controls: self.controls.clone(),
            reply,
        })
    }
}

/// A client wants to run something. Dropped, that is refused; the client may want something else on
/// the same channel then, as OpenSSH's `sftp -s` and others do.
pub struct Session {
    reply: Reply,
    channel: Channel,
    accepted: bool,
    program: Program,
    env: Vec<(OsString, OsString)>,
    pty: Option<Pty>,
    controls: Controls,
}

impl Session {
    /// The connection.
    pub fn connection(&self) -> &Connection {
        self.reply.connection()
    }

    /// The channel's identifier.
    pub fn channel(&self) -> ChannelId {
        self.channel.id()
    }

    /// What is to run. From the client.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Runs something else instead, as the option `command` of a key asks for.
    pub fn replace_program(&mut self, program: Program) {
        self.program = program;
    }

    /// The environment variables that the client sent and
    /// [`ServerOptions::accept_env`](super::ServerOptions::accept_env) let through.
    pub fn env(&self) -> &[(OsString, OsString)] {
        &self.env
    }

    /// Adds an environment variable. Of two with one name, programs get the last.
    pub fn set_env(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.env.push((name.into(), value.into()));
    }

    /// The terminal that the client asked for.
    pub fn pty(&self) -> Option<&Pty> {
        self.pty.as_ref()
    }

    /// Calls `listener` for what the client tells the program from now on: window sizes, signals. On
    /// the connection's thread: do not block in it.
    pub fn on_control(&self, listener: impl FnMut(Control) + Send + 'static) {
        self.controls.listen(Box::new(listener));
    }

    /// Passes no signals of the client on, as sshd does for a forced command.
    pub fn refuse_signals(&self) {
        self.controls.lock().no_signals = true;
    }

    /// Says no.
    pub fn refuse(self) {}

    /// Says yes and hands over the channel. What is written to it is the program's standard output;
    /// [`Channel::exit`] ends it.
    pub fn accept(mut self) -> Channel {
        self.accepted = true;
        self.reply.send(true);
        self.channel.clone()
    }

    /// Says yes, and runs `program` on a thread of its own. When it returns, its exit is sent and
    /// the channel closed. If the connection ends earlier, reads and writes of the channel fail.
    ///
    /// # Errors
    /// `Local` if the system gives no thread; the session is refused then.
    pub fn run<E: Into<Exit>>(
        self,
        program: impl FnOnce(&Channel) -> E + Send + 'static,
    ) -> Result<(), Error> {
        let connection = self.connection().clone();
        let peer = Arc::clone(&connection.shared().peer);
        let started = connection.threads().spawn("konko session", move || {
            let channel = self.accept();
            // Dropped at the end of the thread, and by a panic too: that closes it.
            let exit = program(&channel).into();
            let _ = channel.exit(&exit);
        });
        started.map_err(|e| Error::new(ErrorKind::Local(format!("no thread could be started: {e}")), &peer))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.accepted {
            return;
        }
        let (env, pty) = (std::mem::take(&mut self.env), self.pty.take());
        // The client learns of it after this, when the reply is dropped.
        if let Some(slot) = self.connection().sessions().get_mut(&self.channel.id()) {
            (slot.env, slot.pty, slot.channel) = (env, pty, Some(self.channel.clone()));
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({} on channel {})", self.program, self.channel.id())
    }
}
