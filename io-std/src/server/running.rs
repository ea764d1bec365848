use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use konko_core::wire::SshStr;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, kill_process_group, waitid,
};
use rustix::termios::{tcgetwinsize, tcsetwinsize};

use crate::channel::Exit;
use crate::lock;
use crate::stream::poll;

/// How long programs have to end after they were told that the line hung up.
const GRACE: Duration = Duration::from_millis(500);

/// The stack of a thread that waits for a program that was left: there may be many.
const REAPER_STACK: usize = 64 * 1024;

/// How often a process is looked at where it cannot be waited for together with something else.
const LOOK: Duration = Duration::from_millis(20);

/// Signals that have a name on the wire (RFC 4254 §6.10).
const SIGNALS: [(&str, Signal); 13] = [
    ("ABRT", Signal::ABORT),
    ("ALRM", Signal::ALARM),
    ("FPE", Signal::FPE),
    ("HUP", Signal::HUP),
    ("ILL", Signal::ILL),
    ("INT", Signal::INT),
    ("KILL", Signal::KILL),
    ("PIPE", Signal::PIPE),
    ("QUIT", Signal::QUIT),
    ("SEGV", Signal::SEGV),
    ("TERM", Signal::TERM),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
];

/// A program that was started.
///
/// Dropped, its streams are closed, and what it started lives on, as under sshd. If the program itself
/// has not ended, it is told that the line hung up (SIGHUP), on a pseudo-terminal by the system, which
/// tells the foreground job too; nothing more is done to it, so nohup(1) is for what it is for.
/// [`Launch::kill_user_processes`](super::process::Launch::kill_user_processes) has it otherwise. All
/// of that happens in the background; dropping does not wait.
pub struct Running {
    /// Its standard input. Dropped, a pipe says end of file; a pseudo-terminal says nothing, the
    /// client types what ends the input.
    pub stdin: Option<OwnedFd>,
    /// Its standard output; on a pseudo-terminal everything that it shows.
    pub stdout: Option<Output>,
    /// Its standard error; `None` on a pseudo-terminal.
    pub stderr: Option<Output>,
    process: Arc<Process>,
    /// What is to be done when this is dropped.
    at_end: AtEnd,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AtEnd {
    /// The program hears that the line hung up, and is waited for.
    Leave,
    /// The group is told to hang up, and soon killed.
    Kill,
    /// That has been done.
    Nothing,
}

/// What a program writes. Reading ends when nobody has the other end any more, which may be later than
/// the end of the program if others write there too.
#[derive(Debug)]
pub struct Output(File);

/// Tells a program what its client says, from anywhere; nothing when it is gone. Holds nothing open.
#[derive(Clone, Debug)]
pub struct Handle(Weak<Process>);

#[derive(Debug)]
struct Process {
    /// The leader of its session and of its process group.
    leader: Pid,
    /// The master side, for sizes. Closed as soon as nobody runs the program any more: then the kernel
    /// tells the jobs of an interactive shell, which have groups of their own.
    pty: Mutex<Option<OwnedFd>>,
    /// Until the leader is reaped its number cannot mean anybody else.
    reaped: Mutex<bool>,
}

type Streams = (Option<OwnedFd>, Option<Output>, Option<Output>);

impl Running {
    /// Takes over a child that leads its own group.
    pub(super) fn new(id: u32, pty: Option<OwnedFd>, (stdin, stdout, stderr): Streams) -> io::Result<Self> {
        let leader = i32::try_from(id).ok().and_then(Pid::from_raw);
        let leader = leader.ok_or_else(|| io::Error::other("the system gave a process no number"))?;
        Ok(Running {
            stdin,
            stdout,
            stderr,
            process: Arc::new(Process { leader, pty: Mutex::new(pty), reaped: Mutex::new(false) }),
            at_end: AtEnd::Leave,
        })
    }

    pub(super) fn killed_at_end(mut self) -> Self {
        self.at_end = AtEnd::Kill;
        self
    }

    pub(super) fn with_streams(mut self, stdin: OwnedFd, stdout: OwnedFd) -> Self {
        self.stdin = Some(stdin);
        self.stdout = Some(Output::new(stdout));
        self
    }

    /// The number of the process, and of its group.
    pub fn id(&self) -> u32 {
        self.process.leader.as_raw_pid().unsigned_abs()
    }

    /// For what the client tells the program while it runs.
    pub fn handle(&self) -> Handle {
        Handle(Arc::downgrade(&self.process))
    }

    /// Waits until the program has ended; from several threads if need be, and again.
    ///
    /// What it has written may not all have been read then: read until the end, or for as long as
    /// others may keep that open. `Missing` if somebody else has asked the system for the child's end.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait(&self) -> io::Result<Exit> {
        self.process.ended(WaitIdOptions::empty()).map(|end| end.unwrap_or(Exit::Missing))
    }

    /// The same, but not longer than until `other` has something to read or has ended: `None` then.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait_or(&self, other: impl AsFd) -> io::Result<Option<Exit>> {
        loop {
            if let Some(exit) = self.try_wait()? {
                return Ok(Some(exit));
            }
            if self.process.await_leader(None, &[other.as_fd()])[0] {
                return Ok(None);
            }
        }
    }

    /// Which of `others` have something to read or have ended, once one of them has, or the program has
    /// ended. May return early.
    pub(super) fn await_any(&self, others: &[BorrowedFd<'_>]) -> Vec<bool> {
        self.process.await_leader(None, others)
    }

    /// Ends the program and its group: told that the line hung up, and killed half a second later.
    /// Returns when it is done.
    pub fn end(mut self) {
        self.close();
        self.process.hang_up();
        self.process.end(Instant::now() + GRACE);
        self.at_end = AtEnd::Nothing;
    }

    /// Closes the streams; whether that hangs up a pseudo-terminal.
    fn close(&mut self) -> bool {
        self.stdin = None;
        self.stdout = None;
        self.stderr = None;
        lock(&self.process.pty).take().is_some()
    }

    /// How the program ended; `None` while it runs.
    ///
    /// # Errors
    /// What the system says.
    pub fn try_wait(&self) -> io::Result<Option<Exit>> {
        self.process.ended(WaitIdOptions::NOHANG)
    }
}

impl Handle {
    /// Gives the terminal another size; the program hears of it (SIGWINCH). What is zero stays as it
    /// is (RFC 4254 §6.2), and without a pseudo-terminal nothing happens.
    ///
    /// # Errors
    /// What the system says.
    pub fn resize(&self, columns: u32, rows: u32, width: u32, height: u32) -> io::Result<()> {
        let Some(process) = self.0.upgrade() else { return Ok(()) };
        let pty = lock(&process.pty);
        let Some(pty) = pty.as_ref() else { return Ok(()) };
        resize(pty, columns, rows, width, height)
    }

    /// Sends a signal to the program and its group: a name without `SIG`, one of those that RFC 4254
    /// §6.10 lists.
    ///
    /// # Errors
    /// `InvalidInput` for any other; what the system says.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        let Some((_, signal)) = SIGNALS.iter().find(|(known, _)| *known == name) else {
            let text = format!("there is no signal \"{}\"", SshStr::new(name.as_bytes()).excerpt(40));
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        self.0.upgrade().map_or(Ok(()), |process| process.kill(*signal))
    }
}

impl Output {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Output(fd.into())
    }
}

impl Read for &Output {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match (&self.0).read(to) {
            // How Linux says that nobody has the terminal open any more.
            Err(e) if e.raw_os_error() == Some(Errno::IO.raw_os_error()) => Ok(0),
            other => other,
        }
    }
}

impl Read for Output {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        (&*self).read(to)
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pty = if lock(&self.process.pty).is_some() { " on a pseudo-terminal" } else { "" };
        write!(f, "Running(process {}{pty})", self.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.at_end == AtEnd::Nothing {
            return;
        }
        let on_pty = self.close();
        let kills = self.at_end == AtEnd::Kill;
        if kills {
            self.process.hang_up();
        }
        // Mostly the program has ended and has left nobody behind.
        if self.process.ended(WaitIdOptions::NOHANG).is_ok_and(|end| end.is_some()) {
            self.process.reap();
            if !kills || self.process.is_alone() {
                return;
            }
        }
        if !kills && !on_pty {
            self.process.hang_up_leader();
        }
        let process = Arc::clone(&self.process);
        let end = move || match (kills, on_pty) {
            (true, _) => process.end(Instant::now() + GRACE),
            (false, true) => process.leave(Instant::now() + GRACE),
            (false, false) => process.leave_alone(),
        };
        let waits = thread::Builder::new().name("konko reaper".into()).stack_size(REAPER_STACK).spawn(end);
        if waits.is_err() && kills {
            // Without a thread nobody can be given time.
            self.process.end(Instant::now());
        }
    }
}

impl Process {
    /// How the leader ended. It stays there as a zombie, so that its number stays its own.
    fn ended(&self, options: WaitIdOptions) -> io::Result<Option<Exit>> {
        let options = options | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        loop {
            match waitid(WaitId::Pid(self.leader), options) {
                Ok(end) => return Ok(end.map(|end| exit(&end))),
                Err(Errno::INTR) => {}
                // Somebody else has asked, or nobody wants to know (SIGCHLD is ignored).
                Err(Errno::CHILD) => return Ok(Some(Exit::Missing)),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Sends a signal to the group; none when its number may mean another by now.
    fn kill(&self, signal: Signal) -> io::Result<()> {
        let reaped = lock(&self.reaped);
        if *reaped {
            return Ok(());
        }
        match kill_process_group(self.leader, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// As when the line of a terminal hangs up; a program that is stopped has to go on to hear it.
    fn hang_up(&self) {
        let _ = self.kill(Signal::HUP);
        let _ = self.kill(Signal::CONT);
    }

    /// The same for the leader alone: whatever it put into the background is none of ours.
    fn hang_up_leader(&self) {
        let reaped = lock(&self.reaped);
        if !*reaped {
            let _ = kill_process(self.leader, Signal::HUP);
            let _ = kill_process(self.leader, Signal::CONT);
        }
    }

    /// Waits for a leader that has been told, and takes the zombie away.
    fn leave_alone(&self) {
        let _ = self.ended(WaitIdOptions::empty());
        self.reap();
    }

    /// The same for one that the system tells because its terminal is gone; but somebody may still hold
    /// a stream that was taken, and then it is told at `deadline`.
    fn leave(&self, deadline: Instant) {
        while Instant::now() < deadline {
            if self.ended(WaitIdOptions::NOHANG).is_ok_and(|end| end.is_some()) {
                return self.reap();
            }
            self.await_leader(Some(deadline), &[]);
        }
        self.hang_up_leader();
        self.leave_alone();
    }

    /// Takes the zombie away; it has ended.
    fn reap(&self) {
        let mut reaped = lock(&self.reaped);
        if !*reaped {
            let _ = waitid(WaitId::Pid(self.leader), WaitIdOptions::EXITED);
            *reaped = true;
        }
    }

    /// Whether nobody is left in the group of a leader that was reaped. As long as somebody is, no
    /// process gets the number.
    fn is_alone(&self) -> bool {
        rustix::process::test_kill_process_group(self.leader) == Err(Errno::SRCH)
    }

    /// Gives the group until `deadline` to end, and then kills it.
    fn end(&self, deadline: Instant) {
        self.await_leader(Some(deadline), &[]);
        if self.ended(WaitIdOptions::NOHANG).is_ok_and(|end| end.is_some()) {
            self.reap();
            if self.is_alone() {
                return;
            }
            thread::sleep(deadline.saturating_duration_since(Instant::now()));
            if self.is_alone() {
                return;
            }
        }
        let _ = kill_process_group(self.leader, Signal::KILL);
        self.reap();
    }

    /// Waits until the leader has ended, but not longer than until `deadline`, nor than until one of
    /// `others` has something to read or has ended; which of them that were. May return early.
    fn await_leader(&self, deadline: Option<Instant>, others: &[BorrowedFd<'_>]) -> Vec<bool> {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        // Where a process has no descriptor, it is looked at now and then.
        #[cfg(target_os = "linux")]
        let process = rustix::process::pidfd_open(self.leader, rustix::process::PidfdFlags::empty()).ok();
        #[cfg(not(target_os = "linux"))]
        let process: Option<OwnedFd> = None;
        let most = if process.is_some() { left } else { Some(left.unwrap_or(LOOK).min(LOOK)) };
        let fds = others.iter().copied().chain(process.as_ref().map(AsFd::as_fd));
        let mut fds: Vec<PollFd<'_>> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        // An error here would only be one of memory; the caller looks again.
        let _ = poll(&mut fds, most);
        fds.iter().take(others.len()).map(|fd| !fd.revents().is_empty()).collect()
    }
}

/// Sets what is not zero.
pub(super) fn resize(
    terminal: impl AsFd,
    columns: u32,
    rows: u32,
    width: u32,
    height: u32,
) -> io::Result<()> {
    let mut size = tcgetwinsize(&terminal)?;
    let parts = [&mut size.ws_col, &mut size.ws_row, &mut size.ws_xpixel, &mut size.ws_ypixel];
    for (part, n) in parts.into_iter().zip([columns, rows, width, height]) {
        if n != 0 {
            *part = u16::try_from(n).unwrap_or(u16::MAX);
        }
    }
    Ok(tcsetwinsize(terminal, size)?)
}

fn exit(end: &WaitIdStatus) -> Exit {
    if let Some(status) = end.exit_status() {
        return Exit::Status(status.unsigned_abs());
    }
    let Some(number) = end.terminating_signal() else { return Exit::Missing };
    let known = SIGNALS.iter().find(|(_, signal)| signal.as_raw() == number);
    // What the RFC has no name for gets the one that OpenSSH uses, and a text.
    let (signal, message) = match known {
        Some((name, _)) => ((*name).to_owned(), String::new()),
        None => ("SIG@openssh.com".to_owned(), format!("signal {number}")),
    };
    Exit::Signal { signal, core_dumped: end.dumped(), message }
}
