use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use konko_core::channel::ChannelId;
use konko_core::session::{Control, Program, Pty, SessionRules, Sessions, Start};

use super::connection::Connection;
use super::request::Reply;
use crate::channel::{Channel, Exit};
use crate::error::{Error, ErrorKind};

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

/// The sessions of a connection: what the core keeps of them, and what belongs to each here. Locked after
/// the connection's state, or alone: whoever holds it neither touches the connection nor calls the application.
pub(super) struct Table {
    pub(super) sessions: Sessions,
    slots: BTreeMap<ChannelId, Slot>,
}

struct Slot {
    /// Until the program starts: then it is the program's.
    channel: Option<Channel>,
    controls: Controls,
}

impl Table {
    pub(super) fn new(rules: SessionRules) -> Self {
        Table { sessions: Sessions::new(rules), slots: BTreeMap::new() }
    }

    pub(super) fn opened(&mut self, channel: Channel) {
        let id = channel.id();
        self.sessions.opened(id);
        self.slots.insert(id, Slot { channel: Some(channel), controls: Controls::default() });
    }

    /// The session's channel is gone. Drop what comes back without the lock: a channel closes with it.
    #[must_use]
    pub(super) fn closed(&mut self, id: ChannelId) -> impl Sized + use<> {
        self.sessions.closed(id);
        self.slots.remove(&id)
    }

    /// All that there are, to be dropped without the lock.
    #[must_use]
    pub(super) fn take(&mut self) -> impl Sized + use<> {
        std::mem::take(&mut self.slots)
    }

    /// What listens to controls of a program that runs.
    pub(super) fn controls(&self, id: ChannelId) -> Controls {
        self.slots.get(&id).map(|slot| slot.controls.clone()).unwrap_or_default()
    }

    /// Makes the session of a program.
    pub(super) fn start(&mut self, id: ChannelId, reply: Reply, start: Start) -> Option<Session> {
        let slot = self.slots.get_mut(&id)?;
        Some(Session {
            channel: slot.channel.take()?,
            accepted: false,
            program: start.program,
            env: start.env.into_iter().map(|(name, value)| (os(name), os(value))).collect(),
            pty: start.pty,
            controls: slot.controls.clone(),
            reply,
        })
    }

    /// The program may not run; the client may ask for another.
    fn rejected(&mut self, session: &mut Session) {
        let env = session.env.drain(..).map(|(name, value)| (name.into_vec(), value.into_vec())).collect();
        self.sessions.rejected(session.channel.id(), env, session.pty.take());
        if let Some(slot) = self.slots.get_mut(&session.channel.id()) {
            slot.channel = Some(session.channel.clone());
        }
    }
}

fn os(bytes: Vec<u8>) -> OsString {
    OsString::from_vec(bytes)
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.controls.close();
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
    pub fn reject_signals(&self) {
        self.controls.lock().no_signals = true;
    }

    /// Says no.
    pub fn reject(self) {}

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
        program: impl FnOnce(Channel) -> E + Send + 'static,
    ) -> Result<(), Error> {
        let connection = self.connection().clone();
        let peer = Arc::clone(&connection.shared().peer);
        let started = connection.threads().spawn("konko session", move || {
            let channel = self.accept();
            // Dropped at the end of the thread, and by a panic too: that closes it.
            let exit = program(channel.clone()).into();
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
        // The client learns of it after this, when the reply is dropped.
        self.connection().clone().sessions().rejected(self);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({} on channel {})", self.program, self.channel.id())
    }
}
