//! The local terminal: raw mode and back, its size, questions on it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use konko::core::client::Password;
use rustix::termios::{self, LocalModes, OptionalActions, Termios};

/// What the terminal was like before raw mode.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Puts the terminal on standard input into raw mode.
pub fn raw() -> io::Result<()> {
    let stdin = rustix::stdio::stdin();
    let before = termios::tcgetattr(stdin)?;
    let mut raw = before.clone();
    raw.make_raw();
    termios::tcsetattr(stdin, OptionalActions::Drain, &raw)?;
    *lock() = Some(before);
    Ok(())
}

/// Puts it back. Any number of times, from anywhere.
pub fn restore() {
    if let Some(before) = lock().take() {
        let _ = termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &before);
    }
}

/// Whether the terminal is in raw mode, so that lines have to end with CR LF.
pub fn is_raw() -> bool {
    lock().is_some()
}

fn lock() -> std::sync::MutexGuard<'static, Option<Termios>> {
    BEFORE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Columns and rows; 80 by 24 if nobody knows.
pub fn size() -> (u32, u32) {
    match termios::tcgetwinsize(rustix::stdio::stdin()) {
        Ok(size) if size.ws_col > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

/// Whether anybody can be asked: at the terminal, or by `SSH_ASKPASS`.
pub fn can_ask() -> bool {
    let tty = File::options().read(true).write(true).open("/dev/tty").is_ok();
    tty || askpass(tty).is_some()
}

/// Shows `prompt` on the terminal and reads a line from it, hidden unless `echo`. `None` when there
/// is no terminal, or at its end of file. `SSH_ASKPASS` asks instead where ssh(1) says so.
pub fn ask(prompt: &str, echo: bool) -> Option<Password> {
    let tty = File::options().read(true).write(true).open("/dev/tty");
    if let Some(program) = askpass(tty.is_ok()) {
        return ask_program(&program, prompt);
    }
    let mut tty = tty.ok()?;
    let before = termios::tcgetattr(&tty).ok()?;
    if !echo {
        let mut hidden = before.clone();
        hidden.local_modes -= LocalModes::ECHO;
        hidden.local_modes |= LocalModes::ECHONL;
        *lock() = Some(before.clone());
        termios::tcsetattr(&tty, OptionalActions::Flush, &hidden).ok()?;
    }
    let line = tty.write_all(prompt.as_bytes()).ok().and_then(|()| read_line(&mut tty));
    if !echo {
        let _ = termios::tcsetattr(&tty, OptionalActions::Flush, &before);
        *lock() = None;
    }
    line.map(Password::new)
}

/// The program that asks, if not the terminal: `SSH_ASKPASS`, where there is no terminal but a
/// display, or where `SSH_ASKPASS_REQUIRE` says so.
fn askpass(tty: bool) -> Option<OsString> {
    let program = std::env::var_os("SSH_ASKPASS").filter(|p| !p.is_empty())?;
    let display = std::env::var_os("DISPLAY").is_some_and(|d| !d.is_empty());
    let wanted = match std::env::var("SSH_ASKPASS_REQUIRE").as_deref() {
        Ok("never") => false,
        Ok("force") => true,
        Ok("prefer") => display,
        _ => display && !tty,
    };
    wanted.then_some(program)
}

/// Asks `SSH_ASKPASS`, whatever terminal there is, whether something may be done. `None` is no.
pub fn permission(prompt: &str) -> Option<Password> {
    let program = std::env::var_os("SSH_ASKPASS").filter(|p| !p.is_empty())?;
    answer_of(Command::new(program).arg(prompt).env("SSH_ASKPASS_PROMPT", "confirm"))
}

/// Runs it with the prompt as its argument.
fn ask_program(program: &OsString, prompt: &str) -> Option<Password> {
    answer_of(Command::new(program).arg(prompt))
}

/// The first line of what a program says. Failure is no answer.
fn answer_of(command: &mut Command) -> Option<Password> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().ok()?;
    let line = child.stdout.take().and_then(|mut out| read_line(&mut out));
    let ended = child.wait().ok()?;
    line.filter(|_| ended.success()).map(Password::new)
}

/// Reads byte by byte into memory that does not move, so that no copy of a secret stays behind.
fn read_line(tty: &mut impl Read) -> Option<Vec<u8>> {
    let mut line = Vec::with_capacity(4096);
    let mut byte = [0];
    loop {
        match tty.read(&mut byte) {
            Ok(0) if line.is_empty() => return None,
            Ok(0) => return Some(line),
            Ok(_) if matches!(byte[0], b'\n' | b'\r') => return Some(line),
            Ok(_) if line.len() < line.capacity() => line.push(byte[0]),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}
