//! `konko ssh`: a command or a shell on another machine.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use konko::core::channel::ChannelRequest;
use konko::core::text::pattern;
use konko::core::wire::SshStr;
use konko::ssh_config::{Request, Setting};
use konko::{Asked, Channel, Client, Error, ErrorKind, Exit, Pty};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::algorithms;
use crate::connect::Login;
use crate::destination::Destination;
use crate::escape::{Action, Escapes};
use crate::flags::{Flags, Target, option};
use crate::obeyed;
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
    /// Print the names of what there is of a kind: cipher, mac, kex, key, sig, …; help lists them
    #[arg(short = 'Q', value_name = "QUERY")]
    query: Option<String>,
    /// [user@]host, or ssh://[user@]host[:port]
    #[arg(value_name = "DESTINATION", required_unless_present = "query")]
    destination: Option<OsString>,
    /// What to run; a shell if nothing is given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Args {
    /// What is asked of the configuration.
    pub fn request(&self) -> Result<Request, String> {
        self.flags.request(self.target()?)
    }

    fn target(&self) -> Result<Target, String> {
        let Destination { user, host, port, .. } =
            Destination::ssh(self.destination.as_deref().unwrap_or_default().as_bytes())?;
        let mut options = Vec::new();
        let mut add = |keyword: &str, value: &str| options.push(format!("{keyword}={value}"));
        if let Some(list) = self.macs.last() {
            add("MACs", list);
        }
        match (self.no_tty, self.tty) {
            (true, _) => add("RequestTTY", "no"),
            (_, 0) => {}
            (_, 1) => add("RequestTTY", "yes"),
            _ => add("RequestTTY", "force"),
        }
        if self.no_command {
            add("SessionType", "none");
            add("RequestTTY", "no");
        }
        if self.subsystem {
            add("SessionType", "subsystem");
        }
        if self.null_input {
            add("StdinNull", "yes");
        }
        if let Some(text) = self.escape.last() {
            let line = option(b"EscapeChar", text.as_bytes());
            options.push(String::from_utf8_lossy(&line).into_owned());
        }
        let words: Vec<&[u8]> = self.command.iter().map(|w| w.as_bytes()).collect();
        Ok(Target { user, host, port, command: words.join(&b' '), options })
    }
}

/// Where to, and how.
struct Plan {
    login: Login,
    null_input: bool,
    no_command: bool,
    subsystem: bool,
    command: Vec<u8>,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let quiet = args.flags.quiet;
    if let Some(query) = &args.query {
        return match algorithms::query(query) {
            Some(names) => {
                names.iter().for_each(|name| streams::line(format_args!("{name}")));
                ExitCode::SUCCESS
            }
            None => {
                say(&format!("konko: Unsupported query \"{}\" (-Q help lists all)", query.escape_default()));
                ExitCode::from(FAILED)
            }
        };
    }
    if args.print {
        return print(&args);
    }
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

/// `-G`; with `-v`, where each value comes from too, on standard error.
fn print(args: &Args) -> ExitCode {
    let config =
        args.request().and_then(|request| konko::ssh_config::lookup(request).map_err(|e| e.to_string()));
    match config {
        Ok(config) => {
            if args.flags.is_verbose() {
                obeyed::origins(&config).iter().for_each(|line| say(line));
            }
            let text = config.dump();
            match io::stdout().write_all(&text).and_then(|()| io::stdout().flush()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::from(FAILED),
            }
        }
        Err(text) => {
            say(&format!("konko: {text}"));
            ExitCode::from(FAILED)
        }
    }
}

impl Plan {
    fn new(args: Args) -> Result<Self, String> {
        let target = args.target()?;
        let mut command = target.command.clone();
        let login = args.flags.login(target)?;
        if let Some(remote) = login.config.words("RemoteCommand").first() {
            command.clone_from(remote);
        }
        let is = |kind: &[u8]| login.config.words("SessionType").first().is_some_and(|word| word == kind);
        let (subsystem, no_command) = (is(b"subsystem"), is(b"none"));
        if subsystem && command.is_empty() {
            return Err("You must specify a subsystem to invoke.".into());
        }
        let null_input = login.config.flag("StdinNull");
        Ok(Plan { null_input, no_command, subsystem, command, login })
    }

    fn run(&self) -> Result<u8, String> {
        let text = |e: Error| e.to_string();
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
        let config = &self.login.config;
        let here = io::stdin().is_terminal() && !self.null_input;
        let wish = config.words("RequestTTY").first().map_or(&b"auto"[..], Vec::as_slice);
        let tty = match wish {
            b"false" => false,
            b"true" => here,
            b"force" => true,
            _ => here && self.command.is_empty(),
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
            let asked_for = wish != b"auto";
            let closes = channel.clone();
            let quiet = self.login.verbosity < -1;
            spawn("terminal", move || await_terminal(&terminal, asked_for, quiet, &closes));
        }
        watch_signals(channel.clone(), tty);
        let escapes = config.escape_char().filter(|_| raw).map(Escapes::new);
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
        let config = &self.login.config;
        let sends = |name: &[u8]| {
            let mut patterns = config.settings("SendEnv").iter().flat_map(Setting::words);
            patterns.any(|p| pattern::matches(p, name))
        };
        for (name, value) in std::env::vars_os() {
            if sends(name.as_bytes()) {
                channel.env(name.as_bytes(), value.as_bytes())?;
            }
        }
        config.words("SetEnv").iter().try_for_each(|pair| {
            let at = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
            channel.env(&pair[..at], pair.get(at + 1..).unwrap_or_default())
        })
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
