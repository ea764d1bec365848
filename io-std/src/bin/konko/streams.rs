//! Standard input, output and error, whether or not they block: the flag belongs to the open file, which the shell and
//! its other jobs share. The standard library's handles give up at `EAGAIN`, and its macros panic.

use std::fmt::{Arguments, Display};
use std::io::{self, IsTerminal, Write};
use std::os::fd::BorrowedFd;

use konko::BlockingFd;
use rustix::fs::{Mode, OFlags};

use crate::terminal;

/// Standard input, without a buffer.
pub fn stdin() -> io::Result<BlockingFd> {
    BlockingFd::share(rustix::stdio::stdin())
}

/// Standard output, without a buffer.
pub fn stdout() -> io::Result<BlockingFd> {
    BlockingFd::share(rustix::stdio::stdout())
}

/// A line on standard output. That nobody reads it is learnt from [`try_line`] alone.
pub fn line(text: Arguments<'_>) {
    let _ = try_line(text);
}

/// A line on standard output.
///
/// # Errors
/// What the system says.
pub fn try_line(text: impl Display) -> io::Result<()> {
    stdout()?.write_all(format!("{text}\n").as_bytes())
}

/// A line on standard error, also while the terminal is in raw mode. Without standard error there is nobody to tell.
pub fn say(text: &str) {
    let text = if terminal::is_raw() { text.replace('\n', "\r\n") + "\r\n" } else { format!("{text}\n") };
    if let Ok(mut stderr) = BlockingFd::share(rustix::stdio::stderr()) {
        let _ = stderr.write_all(text.as_bytes());
    }
}

/// Opens the terminals on standard input and output anew, so that what other processes do to the flags of the old open
/// files does not reach this one: for a line editor that reads and writes by itself. Where that cannot be done they
/// stay as they are.
pub fn own_terminal() {
    let own = |fd: BorrowedFd<'_>| {
        let name = rustix::termios::ttyname(fd, Vec::new()).ok()?;
        rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).ok()
    };
    if io::stdin().is_terminal()
        && let Some(terminal) = own(rustix::stdio::stdin())
    {
        let _ = rustix::stdio::dup2_stdin(terminal);
    }
    if io::stdout().is_terminal()
        && let Some(terminal) = own(rustix::stdio::stdout())
    {
        let _ = rustix::stdio::dup2_stdout(terminal);
    }
}

/// Shows what the parser of the arguments has to say: help, or what is wrong with them.
pub fn show(error: &clap::Error) {
    let text = error.render();
    let (shown, to) = if error.use_stderr() {
        (io::stderr().is_terminal(), rustix::stdio::stderr())
    } else {
        (io::stdout().is_terminal(), rustix::stdio::stdout())
    };
    let text = if shown { text.ansi().to_string() } else { text.to_string() };
    if let Ok(mut to) = BlockingFd::share(to) {
        let _ = to.write_all(text.as_bytes());
    }
}
