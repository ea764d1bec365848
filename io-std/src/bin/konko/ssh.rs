//! `konko ssh`: a command or a shell on another machine.

use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use konko::core::channel::ChannelRequest;
use konko::{Channel, Client, Error, Exit, Pty};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::algorithms::Lists;
use crate::connect::Login;
use crate::destination::Destination;
use crate::escape::{Action, Escapes};
use crate::settings::{self, Settings, Tty};
use crate::streams::{self, say};
use crate::terminal;
use crate::values::expand;

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
    /// Print this help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Port of the server
    #[arg(short, value_name = "PORT")]
    port: Vec<u16>,
    /// User name on the server
    #[arg(short, value_name = "USER")]
    login: Vec<String>,
    /// Private key file; any number of times
    #[arg(short = 'i', value_name = "KEY")]
    identity: Vec<String>,
    /// Ciphers in order of preference
    #[arg(short, value_name = "CIPHERS")]
    ciphers: Vec<String>,
    /// MACs in order of preference
    #[arg(short, value_name = "MACS")]
    macs: Vec<String>,
    /// An option as in ssh_config; any number of times
    #[arg(short, value_name = "KEY=VALUE")]
    option: Vec<String>,
    /// Say on standard error what happens
    #[arg(short, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Say nothing about what goes wrong
    #[arg(short)]
    quiet: bool,
    /// No terminal on the server
    #[arg(short = 'T')]
    no_tty: bool,
    /// A terminal on the server; twice: even if there is none here
    #[arg(short = 't', action = clap::ArgAction::Count)]
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
    /// Compress
    #[arg(short = 'C')]
    compress: bool,
    /// The escape character, or none
    #[arg(short, value_name = "CHAR")]
    escape: Vec<String>,
    /// No agent forwarding (there is none)
    #[arg(short = 'a')]
    no_agent: bool,
    /// No X11 forwarding (there is none)
    #[arg(short = 'x')]
    no_x11: bool,
    /// [user@]host, or ssh://[user@]host[:port]
    #[arg(value_name = "DESTINATION")]
    destination: std::ffi::OsString,
    /// What to run; a shell if nothing is given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<std::ffi::OsString>,
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
    let quiet = args.quiet;
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
        use std::os::unix::ffi::OsStrExt;
        let Destination { user, host, port, .. } = Destination::ssh(args.destination.as_bytes())?;
        let mut settings = Settings {
            user: args.login.into_iter().next().or(user),
            port: args.port.first().copied().or(port),
            lists: Lists {
                ciphers: args.ciphers.into_iter().next(),
                macs: args.macs.into_iter().next(),
                ..Lists::default()
            },
            identities: args.identity.iter().map(|path| expand(path)).collect(),
            compression: args.compress.then_some(true),
            ..Settings::default()
        };
        if let Some(text) = args.escape.first() {
            settings.escape = Some(settings::escape(text)?);
        }
        settings.tty = match (args.no_tty, args.tty) {
            (true, _) => Some(Tty::No),
            (_, 0) => None,
            (_, 1) => Some(Tty::Yes),
            _ => Some(Tty::Force),
        };
        for option in &args.option {
            settings.set(option)?;
        }
        let words: Vec<&[u8]> = args.command.iter().map(|w| w.as_bytes()).collect();
        Ok(Plan {
            login: Login::new(settings, host, args.quiet, args.verbose)?,
            null_input: args.null_input,
            no_command: args.no_command,
            subsystem: args.subsystem,
            command: words.join(&b' '),
        })
    }

    fn run(&self) -> Result<u8, String> {
        let text = |e: Error| e.to_string();
        let client = self.login.connect()?;
        if self.no_command {
            return Err(client.wait_closed().to_string());
        }
        let channel = client.session().map_err(text)?;
        let exit = self.session(&client, &channel).map_err(text)?;
        client.disconnect();
        terminal::restore();
        Ok(match exit {
            Exit::Status(status) => u8::try_from(status & 0xff).unwrap_or(FAILED),
            Exit::Missing => FAILED,
            signal @ Exit::Signal { .. } => {
                if self.login.verbosity > -3 {
                    say(&format!("konko: the remote command was {signal}"));
                }
                FAILED
            }
        })
    }

    // ---- the session ----

    fn session(&self, client: &Client, channel: &Channel) -> Result<Exit, Error> {
        let s = &self.login.settings;
        let here = io::stdin().is_terminal() && !self.null_input;
        let tty = match s.tty.unwrap_or(Tty::Auto) {
            Tty::No => false,
            Tty::Auto => here && self.command.is_empty(),
            Tty::Yes => here,
            Tty::Force => true,
        };
        self.environment(channel)?;
        if tty {
            let (columns, rows) = terminal::size();
            let term = std::env::var("TERM").unwrap_or_else(|_| "dumb".into());
            let modes = konko::modes::read(rustix::stdio::stdin()).unwrap_or_default();
            channel.request_pty(&Pty { term, columns, rows, modes, ..Pty::default() })?;
        }
        match (&self.command[..], self.subsystem) {
            ([], _) => channel.shell()?,
            (name, true) => channel.subsystem(&String::from_utf8_lossy(name))?,
            (command, false) => channel.exec(command)?,
        }
        let raw = tty && here;
        if raw {
            let hook = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                terminal::restore();
                hook(info);
            }));
            terminal::raw().ok();
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
        match channel.wait()? {
            // That is how programs end whose output nobody reads; no need to tell.
            Exit::Signal { signal, .. } if unread && signal == "PIPE" => Ok(Exit::Missing),
            exit => Ok(exit),
        }
    }

    fn environment(&self, channel: &Channel) -> Result<(), Error> {
        let s = &self.login.settings;
        for (name, value) in std::env::vars() {
            if s.sends(name.as_bytes()) {
                channel.env(&name, &value)?;
            }
        }
        s.set_env.iter().try_for_each(|(name, value)| channel.env(name, value))
    }
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
            act(client, action);
        }
    }
}

fn act(client: &Client, action: Action) {
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
        Action::Help => {
            say("\nSupported escape sequences:\n ~.   - terminate connection\n ~R   - request rekey\n \
             ~^Z  - suspend konko\n ~?   - this message\n ~~   - send the escape character")
        }
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
