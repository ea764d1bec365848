use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use rustix::event::{PollFd, PollFlags};

use super::process::{Account, Launch, Output, Running};
use super::session::{Control, Program, Session};
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
}

impl Default for System {
    fn default() -> Self {
        Self::new()
    }
}

impl System {
    /// Programs run under the account of this process and start in its home.
    pub fn new() -> Self {
        System { account: Account::current(), dir: None }
    }

    /// Programs start in this folder. It is no jail: they can go anywhere.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Runs a shell or a command; refuses subsystems. The program ends with its channel.
    ///
    /// # Errors
    /// `Local` if no thread could be started; the session is refused then, as it is when the program
    /// cannot be started.
    pub fn start(&self, session: Session) -> Result<(), Error> {
        let launch = match session.program() {
            Program::Shell => Launch::shell(&self.account),
            Program::Exec(command) => Launch::command(&self.account, command),
            Program::Subsystem(_) => {
                session.refuse();
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
        match session.pty() {
            Some(pty) => launch.pty(pty),
            None => launch,
        }
    }
}

/// Runs a program from its start to its exit.
fn run(launch: &Launch, session: Session) -> io::Result<()> {
    let running = launch.start()?;
    let handle = running.handle();
    // The server forgets the listener when the channel closes, and with it the other end of the pipe.
    let (closed, open) = io::pipe()?;
    session.on_control(move |control| {
        let _open = &open;
        // A size or a signal that comes too late has nobody to tell.
        let _ = match control {
            Control::WindowChange { columns, rows, width, height } => {
                handle.resize(columns, rows, width, height)
            }
            Control::Signal(name) => handle.signal(&name),
            // On a pseudo-terminal a break does nothing, as in sshd.
            _ => Ok(()),
        };
    });
    let channel = session.accept();
    relay(&channel, running, &closed);
    Ok(())
}

fn relay(channel: &Channel, mut running: Running, closed: &PipeReader) {
    let input = running.stdin.take();
    thread::scope(|scope| {
        if let Some(input) = input {
            // A program need not read its input; then this ends with the program.
            let copy = move || drop(channel.copy_to_fd(&input).map(|_| drop(input)));
            let _ = thread::Builder::new().name("konko input".into()).spawn_scoped(scope, copy);
        }
        let outputs = [running.stdout.take(), running.stderr.take()];
        let exit = match copy_outputs(channel, outputs, closed) {
            Ok(true) => running.wait_or(closed).ok().flatten(),
            _ => None,
        };
        if let Some(exit) = exit {
            let _ = channel.exit(&exit);
        }
        channel.close();
        running.end();
    });
}

/// Copies both outputs until their end: `true`, or until the channel has closed.
fn copy_outputs(
    channel: &Channel,
    mut outputs: [Option<Output>; 2],
    closed: &PipeReader,
) -> io::Result<bool> {
    let mut buffer = vec![0; CHUNK];
    while outputs.iter().any(Option::is_some) {
        let ready = wait(&outputs, closed)?;
        if ready[2] {
            return Ok(false);
        }
        for (i, output) in outputs.iter_mut().enumerate() {
            let Some(from) = output.as_mut().filter(|_| ready[i]) else { continue };
            match from.read(&mut buffer) {
                Ok(0) => *output = None,
                Ok(n) if i == 0 => (&mut &*channel).write_all(&buffer[..n])?,
                Ok(n) => channel.stderr().write_all(&buffer[..n])?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
    Ok(true)
}

/// Which of the outputs have something, and whether the channel has closed.
fn wait(outputs: &[Option<Output>; 2], closed: &PipeReader) -> io::Result<[bool; 3]> {
    let fds: [Option<BorrowedFd<'_>>; 3] =
        [outputs[0].as_ref().map(AsFd::as_fd), outputs[1].as_ref().map(AsFd::as_fd), Some(closed.as_fd())];
    let mut polled: Vec<PollFd<'_>> =
        fds.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    poll(&mut polled, None)?;
    let mut events = polled.iter().map(|fd| !fd.revents().is_empty());
    Ok(fds.map(|fd| fd.is_some() && events.next().unwrap_or(false)))
}

impl super::programs::Programs {
    /// Everything that no command or subsystem of the table is for is run in the system's shell.
    #[must_use]
    pub fn system(self, system: System) -> Self {
        self.otherwise(move |session| system.start(session))
    }
}
