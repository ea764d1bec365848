use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::process::{Account, Launch, Output, Running};
use konko_core::session::{Control, Program};

use super::session::Session;
use crate::channel::Channel;
use crate::error::{Error, ErrorKind};
use crate::notice::Notice;
use crate::stream::poll;

/// How much of a program's output is read at a time: a packet.
const CHUNK: usize = 32 * 1024;

/// Runs sessions as programs of this system: commands and shells of one account, the one that the
/// server itself runs under, whoever logs in. See [`Programs::system`](super::Programs::system).
#[derive(Clone, Debug)]
pub struct System {
    account: Account,
    dir: Option<PathBuf>,
    kill_user_processes: bool,
}

impl Default for System {
    fn default() -> Self {
        Self::new()
    }
}

impl System {
    /// Programs run under the account of this process and start in its home.
    pub fn new() -> Self {
        System { account: Account::current(), dir: None, kill_user_processes: false }
    }

    /// Programs start in this folder. It is no jail: they can go anywhere.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Ends what a session leaves behind: see
    /// [`Launch::kill_user_processes`](super::process::Launch::kill_user_processes).
    #[must_use]
    pub fn kill_user_processes(mut self) -> Self {
        self.kill_user_processes = true;
        self
    }

    /// Runs a shell or a command; refuses subsystems.
    ///
    /// As in sshd, with a terminal the program's end ends the session, and without one the session
    /// stays for as long as somebody has its output open. When the client goes away first, the program
    /// is told so ([`Running`]).
    ///
    /// # Errors
    /// `Local` if no thread could be started; the session is refused then, as it is when the program
    /// cannot be started.
    pub fn start(&self, session: Session) -> Result<(), Error> {
        let launch = match session.program() {
            Program::Shell => Launch::shell(&self.account),
            Program::Exec(command) => Launch::command(&self.account, command),
            Program::Subsystem(_) => {
                session.reject();
                return Ok(());
            }
        };
        let launch = self.prepare(launch, &session);
        let connection = session.connection().clone();
        let peer = Arc::clone(&connection.shared().peer);
        let started = connection.threads().spawn("konko session", move || {
            let connection = session.connection().clone();
            if let Err(e) = run(&launch, session) {
                connection.note_at_will(Notice::Refused(format!("a program: {e}")));
            }
        });
        started.map_err(|e| Error::new(ErrorKind::Local(format!("no thread could be started: {e}")), &peer))
    }

    fn prepare(&self, mut launch: Launch, session: &Session) -> Launch {
        launch = launch.client_env(session.env());
        if let (Some(client), Some(server)) =
            (session.connection().peer_addr(), session.connection().local_addr())
        {
            launch = launch.connection(client, server);
        }
        if let Some(dir) = &self.dir {
            launch = launch.dir(dir);
        }
        if self.kill_user_processes {
            launch = launch.kill_user_processes();
        }
        match session.pty() {
            Some(pty) => launch.pty(pty),
            None => launch,
        }
    }
}

/// What comes out of the pipe by which the connection's thread speaks to the one that relays output.
/// Its end means that the channel has closed: the server has forgotten the listener then.
const UNREAD: u8 = b'u';

/// Runs a program from its start to its exit.
fn run(launch: &Launch, session: Session) -> io::Result<()> {
    let running = launch.start()?;
    let handle = running.handle();
    let (told, tell) = io::pipe()?;
    let mut unread = false;
    session.on_control(move |control| {
        // A size or a signal that comes too late has nobody to tell.
        let _ = match control {
            Control::WindowChange { columns, rows, width, height } => {
                handle.resize(columns, rows, width, height)
            }
            Control::Signal(name) => handle.signal(&name),
            // Once: the pipe never fills.
            Control::Eow if !std::mem::replace(&mut unread, true) => (&tell).write_all(&[UNREAD]),
            // On a pseudo-terminal a break does nothing, as in sshd.
            _ => Ok(()),
        };
    });
    let terminal = session.pty().is_some();
    let channel = session.accept();
    relay(&channel, running, &told, terminal);
    Ok(())
}

fn relay(channel: &Channel, mut running: Running, told: &PipeReader, terminal: bool) {
    if let Some(input) = running.stdin.take() {
        let channel = channel.clone();
        // On its own: it may wait for somebody whom the program left behind, and who reads no input.
        let copy = move || drop(channel.copy_to_fd(&input).map(|_| drop(input)));
        let _ = thread::Builder::new().name("konko input".into()).spawn(copy);
    }
    let outputs = [running.stdout.take(), running.stderr.take()];
    let relay = Relay { channel, running: &running, told, terminal };
    let exit = match relay.copy(outputs) {
        Ok(true) => running.wait_or(told).ok().flatten(),
        _ => None,
    };
    if let Some(exit) = exit {
        let _ = channel.exit(&exit);
    }
    channel.close();
}

/// What a terminal can hold of what a program wrote before it ended, and more: what comes beyond is from
/// others.
const TERMINAL_HOLDS: usize = 64 * 1024;

/// Copies a program's outputs to its channel.
struct Relay<'r> {
    channel: &'r Channel,
    running: &'r Running,
    told: &'r PipeReader,
    terminal: bool,
}

/// What a relay waits for.
#[derive(Default)]
struct Ready {
    outputs: [bool; 2],
    told: bool,
}

impl Relay<'_> {
    /// Until both outputs end, or on a terminal until the program does: `true`; or until the channel has
    /// closed.
    fn copy(&self, mut outputs: [Option<Output>; 2]) -> io::Result<bool> {
        let mut buffer = vec![0; CHUNK];
        let mut left = TERMINAL_HOLDS;
        // What a terminal shows cannot be closed without hanging up; it is thrown away.
        let mut unread = false;
        while outputs.iter().any(Option::is_some) {
            // Others may keep a terminal open, such as jobs in the background; what the program itself
            // wrote is there.
            let over = self.terminal && self.running.try_wait()?.is_some();
            let ready = self.wait(&outputs, over)?;
            if ready.told && !self.hear(&mut unread)? {
                return Ok(false);
            }
            if unread && !self.terminal {
                outputs[0] = None;
            }
            if over && (left == 0 || !ready.outputs.contains(&true)) {
                return Ok(true);
            }
            for (i, output) in outputs.iter_mut().enumerate() {
                let Some(from) = output.as_mut().filter(|_| ready.outputs[i]) else { continue };
                let n = match from.read(&mut buffer) {
                    Ok(n) => n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Err(e) => return Err(e),
                };
                left -= if over { n.min(left) } else { 0 };
                let gone = !(i == 0 && unread) && self.pass_on(i, &buffer[..n]).is_err();
                if n == 0 || (gone && !self.terminal) {
                    *output = None;
                }
            }
        }
        Ok(true)
    }

    fn pass_on(&self, output: usize, data: &[u8]) -> io::Result<()> {
        match output {
            0 => (&mut &*self.channel).write_all(data),
            _ => self.channel.stderr().write_all(data),
        }
    }

    /// What the connection's thread has to say; `false` that the channel has closed.
    fn hear(&self, unread: &mut bool) -> io::Result<bool> {
        let mut word = [0];
        let heard = (&mut &*self.told).read(&mut word)? > 0;
        *unread |= heard && word[0] == UNREAD;
        Ok(heard)
    }

    /// Waits until there is something to do, the end of a program on a terminal included; not if it is
    /// `over`.
    fn wait(&self, outputs: &[Option<Output>; 2], over: bool) -> io::Result<Ready> {
        let open = [outputs[0].as_ref().map(AsFd::as_fd), outputs[1].as_ref().map(AsFd::as_fd)];
        let fds: Vec<BorrowedFd<'_>> = open.iter().copied().flatten().chain([self.told.as_fd()]).collect();
        let ready = if self.terminal && !over {
            self.running.await_any(&fds)
        } else {
            let mut polled: Vec<PollFd<'_>> =
                fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
            poll(&mut polled, over.then_some(Duration::ZERO))?;
            polled.iter().map(|fd| !fd.revents().is_empty()).collect()
        };
        let mut ready = ready.into_iter();
        let outputs = open.map(|fd| fd.is_some() && ready.next().unwrap_or(false));
        Ok(Ready { outputs, told: ready.next().unwrap_or(false) })
    }
}

impl super::programs::Programs {
    /// Everything that no command or subsystem of the table is for is run in the system's shell.
    #[must_use]
    pub fn system(self, system: System) -> Self {
        self.otherwise(move |session| system.start(session))
    }
}
