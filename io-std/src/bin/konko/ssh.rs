//! `konko ssh`: a command or a shell on another machine.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use konko::core::channel::ChannelRequest;
use konko::core::wire::SshStr;
use konko::{Asked, Channel, Client, Error, ErrorKind, Exit, Pty};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::connect::Login;
use crate::destination::Destination;
use crate::escape::{Action, Escapes};
use crate::flags::Flags;
use crate::settings::{self, SessionType, Settings, Tty};
use crate::streams::{self, say};
use crate::terminal;

/// Whatever goes wrong on this side.
const FAILED: u8 = 255;
/// How much is read from standard input at a time: a packet. More, or larger pipes, make the system's copies
/// dearer than the calls they save, since what is copied has left the processor's cache by then.
const CHUNK: usize = 32 * 1024;

/// The user typed `~.`; errors that come of it are none.
static LEAVING: AtomicBool = AtomicBool::new(false);

/// Options of `konko ssh`.
#[derive(clap::Args, Debug)]
#[command(disable_help_flag = true)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    // Where these two stand among the options is for the flags to see.
    /// Port of the server
    #[arg(short, value_name = "PORT")]
    port: Vec<u16>,
    /// User name on the server
    #[arg(short, value_name = "USER")]
    login: Vec<OsString>,
    /// MACs in order of preference
    #[arg(short, value_name = "MACS")]
    macs: Vec<String>,
    /// No terminal on the server
    #[arg(short = 'T', overrides_with = "tty")]
    no_tty: bool,
    /// A terminal on the server; twice: even if there is none here
    #[arg(short = 't', action = clap::ArgAction::Count, overrides_with = "no_tty")]
    tty: u8,
    /// Read nothing from standard input
    #[arg(short = 'n')]
    null_input: bool,
    /// Run no command
    #[arg(short = 'N')]
    no_command: bool,
    /// The command is the name of a subsystem
    #[arg(short)]
    subsystem: bool,
    /// The escape character, or none
    #[arg(short, value_name = "CHAR")]
    escape: Vec<String>,
    /// Print the settings that would be used, and connect to nobody
    #[arg(short = 'G')]
    print: bool,
    /// [user@]host, or ssh://[user@]host[:port]
    #[arg(value_name = "DESTINATION")]
    destination: OsString,
    /// What to run; a shell if nothing is given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Args {
    /// What all flags and options say.
    pub fn settings(&self) -> Result<Settings, String> {
        let Destination { user, port, .. } = Destination::ssh(self.destination.as_bytes())?;
        let mut settings = self.flags.settings(user, port)?;
        if let Some(list) = self.macs.last() {
            settings.lists.macs = Some(list.clone());
        }
        if let Some(text) = self.escape.last() {
            settings.escape = Some(settings::escape(text)?);
        }
        settings.tty = match (self.no_tty, self.tty) {
            (true, _) => Some(Tty::No),
            (_, 0) => settings.tty,
            (_, 1) => Some(Tty::Yes),
            _ => Some(Tty::Force),
        };
        Ok(settings)
    }
}

/// Where to, and how.
struct Plan {
    login: Login,
    null_input: bool,
    no_command: bool,
    print: bool,
    subsystem: bool,
    command: Vec<u8>,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let quiet = args.flags.quiet;
    let code = match Plan::new(args) {
        Ok(plan) => {
            let verbosity = plan.login.verbosity;
            plan.run().unwrap_or_else(|text| {
                if verbosity > -3 && !LEAVING.load(Ordering::Relaxed) {
                    say(&format!("konko: {text}"));
                }
                FAILED
            })
        }
        Err(text) => {
            if !quiet {
                say(&format!("konko: {text}"));
            }
            FAILED
        }
    };
    terminal::restore();
    // A thread may still be reading standard input; it is not waited for.
    std::process::exit(code.into())
}

impl Plan {
    fn new(args: Args) -> Result<Self, String> {
        let Destination { host, .. } = Destination::ssh(args.destination.as_bytes())?;
        let settings = args.settings()?;
        let kind = settings.session_type.unwrap_or(SessionType::Default);
        let login = args.flags.login(settings, host)?;
        let words: Vec<&[u8]> = args.command.iter().map(|w| w.as_bytes()).collect();
        let mut command = words.join(&b' ');
        if let Some(Some(remote)) = &login.settings.remote_command {
            if !command.is_empty() {
                return Err("Cannot execute command-line and remote command.".into());
            }
            command.clone_from(remote);
        }
        let subsystem = args.subsystem || kind == SessionType::Subsystem;
        if subsystem && command.is_empty() {
            return Err("You must specify a subsystem to invoke.".into());
        }
        Ok(Plan {
            null_input: args.null_input || login.settings.null_input == Some(true),
            no_command: args.no_command || kind == SessionType::None,
            print: args.print,
            subsystem,
            command,
            login,
        })
    }

    fn run(&self) -> Result<u8, String> {
        let text = |e: Error| e.to_string();
        if self.print {
            streams::line(format_args!("{}", self.login.summary()));
            return Ok(0);
        }
        let client = self.login.connect()?;
        if self.no_command {
            return Err(client.wait_closed().to_string());
        }
        let channel = client.session().map_err(text)?;
        let exit = self.session(&client, &channel).map_err(text)?;
        client.finish_host_keys(Duration::from_secs(2));
        client.disconnect();
        terminal::restore();
        Ok(match exit {
            Exit::Status(status) => u8::try_from(status & 0xff).unwrap_or(FAILED),
            signal @ Exit::Signal { .. } => {
                if self.login.verbosity > -3 {
                    say(&format!("konko: the remote command was {signal}"));
                }
                FAILED
            }
            _ => FAILED,
        })
    }

    // ---- the session ----

    fn session(&self, client: &Client, channel: &Channel) -> Result<Exit, Error> {
        let s = &self.login.settings;
        let here = io::stdin().is_terminal() && !self.null_input;
        let wish = s.tty.unwrap_or(Tty::Auto);
        let tty = match wish {
            Tty::No => false,
            Tty::Auto => here && self.command.is_empty(),
            Tty::Yes => here,
            Tty::Force => true,
        };
        // All requests at once: a server may never answer one, and what comes is shown all the same.
        let terminal = if tty { Some(self.terminal(channel)?) } else { None };
        self.environment(channel)?;
        let name = SshStr::new(&self.command);
        let started = channel.send(&match (&self.command[..], self.subsystem) {
            ([], _) => ChannelRequest::Shell,
            (_, true) => ChannelRequest::Subsystem(name),
            (_, false) => ChannelRequest::Exec(name),
        })?;
        let raw = tty && here;
        if raw {
            enter_raw_mode();
        }
        if let Some(terminal) = terminal {
            let asked_for = wish != Tty::Auto;
            let closes = channel.clone();
            let quiet = self.login.verbosity < -1;
            spawn("terminal", move || await_terminal(&terminal, asked_for, quiet, &closes));
        }
        watch_signals(channel.clone(), tty);
        let escapes = s.escape.unwrap_or(Some(b'~')).filter(|_| raw).map(Escapes::new);
        let (input, end) = (channel.clone(), client.clone());
        let null = self.null_input;
        spawn("stdin", move || pump_input(&end, &input, null, escapes));
        let errors = channel.stderr();
        let errors = spawn("stderr", move || errors.copy_to_fd(rustix::stdio::stderr()));
        let copied = channel.copy_to_fd(rustix::stdio::stdout());
        let unread = copied.is_err();
        if unread {
            // Nobody reads our output any more: the remote program is to learn that as soon as it
            // writes, and its end is still awaited.
            channel.request(&ChannelRequest::Eow).ok();
            channel.copy_to(&mut io::sink()).ok();
        }
        if let Some(errors) = errors {
            errors.join().ok();
        }
        let exit = channel.wait()?;
        drop(started);
        if tty && self.login.verbosity > -1 {
            terminal::restore();
            say(&format!("Connection to {} closed.", self.login.host));
        }
        match exit {
            // That is how programs end whose output nobody reads; no need to tell.
            Exit::Signal { signal, .. } if unread && signal == "PIPE" => Ok(Exit::Missing),
            exit => Ok(exit),
        }
    }

    /// Asks for a terminal like the one here.
    fn terminal(&self, channel: &Channel) -> Result<Asked, Error> {
        let (columns, rows) = terminal::size();
        let term = std::env::var_os("TERM").unwrap_or_else(|| "dumb".into()).into_vec();
        let modes = konko::modes::read(rustix::stdio::stdin()).unwrap_or_default();
        channel.send_pty(&Pty { term, columns, rows, modes, ..Pty::default() })
    }

    fn environment(&self, channel: &Channel) -> Result<(), Error> {
        let s = &self.login.settings;
        for (name, value) in std::env::vars_os() {
            if s.sends(name.as_bytes()) {
                channel.env(name.as_bytes(), value.as_bytes())?;
            }
        }
        s.set_env.iter().flatten().try_for_each(|(name, value)| channel.env(name, value))
    }
}

fn enter_raw_mode() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        terminal::restore();
        hook(info);
    }));
    terminal::raw().ok();
}

/// Where the server has no terminal, goes on without one; but not if one was asked for (OpenSSH
/// `client_status_confirm`, `CONFIRM_TTY`).
fn await_terminal(terminal: &Asked, asked_for: bool, quiet: bool, channel: &Channel) {
    let refused = terminal.wait_for(None).is_err_and(|e| matches!(e.kind(), ErrorKind::RequestRefused(_)));
    if !refused {
        return;
    }
    terminal::restore();
    if !quiet {
        say("konko: the server gives no terminal (PTY allocation request failed)");
    }
    if asked_for {
        std::process::exit(FAILED.into());
    }
    drop(channel.clone());
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<std::thread::JoinHandle<T>> {
    std::thread::Builder::new().name(name.into()).spawn(work).ok()
}

/// Sends standard input, until it ends or nobody wants it any more.
fn pump_input(client: &Client, channel: &Channel, null: bool, mut escapes: Option<Escapes>) {
    let input = if null { None } else { streams::stdin().ok() };
    let Some(mut input) = input else {
        channel.send_eof().ok();
        return;
    };
    let mut buffer = vec![0; CHUNK];
    let mut typed = Vec::new();
    while channel.takes_input() {
        let n = match input.read(&mut buffer) {
            Ok(0) => {
                channel.send_eof().ok();
                return;
            }
            Ok(n) => n,
            Err(_) => {
                channel.send_eof().ok();
                return;
            }
        };
        let Some(escapes) = &mut escapes else {
            if (&*channel).write_all(&buffer[..n]).is_err() {
                return;
            }
            continue;
        };
        let mut rest = &buffer[..n];
        while !rest.is_empty() {
            typed.clear();
            let (used, action) = escapes.feed(rest, &mut typed);
            rest = &rest[used..];
            if (&*channel).write_all(&typed).is_err() {
                return;
            }
            act(client, channel, action);
        }
    }
}

fn act(client: &Client, channel: &Channel, action: Action) {
    match action {
        Action::Send => {}
        Action::Disconnect => {
            LEAVING.store(true, Ordering::Relaxed);
            client.disconnect();
            terminal::restore();
            say("Connection closed.");
            // The library sends the goodbye in its own thread.
            std::thread::sleep(Duration::from_millis(20));
            std::process::exit(FAILED.into());
        }
        Action::Suspend => {
            terminal::restore();
            let _ = signal_hook::low_level::raise(SIGTSTP);
            terminal::raw().ok();
        }
        Action::Rekey => {
            client.rekey().ok();
        }
        Action::Break => {
            // How long is the server's to say (RFC 4335 §3); OpenSSH asks for a second too.
            channel.send(&ChannelRequest::Break(1000)).ok();
        }
        Action::Missing(letter) => say(&format!("\n~{}: not supported yet", char::from(letter))),
        Action::Help => say(
            "\nSupported escape sequences:\n ~.   - terminate connection\n ~B   - send a BREAK to the remote system\n ~R   - request rekey\n \
             ~^Z  - suspend konko\n ~?   - this message\n ~~   - send the escape character",
        ),
    }
}

/// Follows the terminal's size, and puts the terminal back when a signal ends the program.
fn watch_signals(channel: Channel, tty: bool) {
    let Ok(mut signals) = Signals::new([SIGWINCH, SIGHUP, SIGINT, SIGQUIT, SIGTERM]) else { return };
    spawn("signals", move || {
        for signal in signals.forever() {
            if signal == SIGWINCH {
                if tty {
                    let (columns, rows) = terminal::size();
                    channel.window_change(columns, rows).ok();
                }
                continue;
            }
            terminal::restore();
            say(&format!("Killed by signal {signal}."));
            std::process::exit(FAILED.into());
        }
    });
}
