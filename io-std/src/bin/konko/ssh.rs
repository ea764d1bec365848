//! `konko ssh`: a command or a shell on another machine.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use konko::core::channel::ChannelRequest;
use konko::core::crypto::Compression;
use konko::core::hosts::pattern;
use konko::core::transport::Keepalive;
use konko::core::transport::limits::Limits;
use konko::core::wire::SshStr;
use konko::{
    Answer, Auth, Channel, Client, ClientOptions, Error, Exit, HostKeys, KnownHostsFiles, Notice,
    PasswordPrompt, Pty, Questions, UnknownHost,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::algorithms::Lists;
use crate::escape::{Action, Escapes};
use crate::settings::{self, Settings, Strict, Tty};
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
    destination: String,
    /// What to run; a shell if nothing is given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<std::ffi::OsString>,
}

/// Where to, and how.
struct Plan {
    user: String,
    host: String,
    port: u16,
    settings: Settings,
    verbosity: i8,
    batch: bool,
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
            let verbosity = plan.verbosity;
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
        let (user, host, port) = destination(&args.destination)?;
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
        let loud = settings.log_level.unwrap_or(0).saturating_add(args.verbose.min(3) as i8);
        Ok(Plan {
            user: settings.user.clone().map_or_else(local_user, Ok)?,
            host: settings.hostname.clone().unwrap_or(host),
            port: settings.port.unwrap_or(22),
            verbosity: if args.quiet { -3 } else { loud },
            batch: settings.batch == Some(true),
            null_input: args.null_input,
            no_command: args.no_command,
            subsystem: args.subsystem,
            command: words.join(&b' '),
            settings,
        })
    }

    fn run(&self) -> Result<u8, String> {
        let changed = Arc::new(AtomicBool::new(false));
        let options = self.options(Arc::clone(&changed))?;
        let text = |e: Error| e.to_string();
        let client = Client::connect((&self.host, self.port), options).map_err(text)?;
        // Nobody should give a password to a host that may be another one.
        let auth = self.auth(changed.load(Ordering::Relaxed));
        client.login(&self.user, auth).map_err(text)?;
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
                if self.verbosity > -3 {
                    say(&format!("konko: the remote command was {signal}"));
                }
                FAILED
            }
        })
    }

    // ---- options ----

    fn options(&self, changed: Arc<AtomicBool>) -> Result<ClientOptions, String> {
        let s = &self.settings;
        let provider = konko::core::provider::best();
        let mut algorithms = s.lists.algorithms(provider.fast_aes())?;
        if s.compression == Some(true) {
            algorithms.set_compression(&[Compression::ZlibOpenssh, Compression::None]);
        }
        let verbosity = self.verbosity;
        let mut options = ClientOptions::new()
            .algorithms(algorithms)
            .host_keys(self.host_keys())
            .on_notice(move |notice| {
                changed.fetch_or(matches!(notice, Notice::HostKeyTolerated(_)), Ordering::Relaxed);
                let always = matches!(notice, Notice::Warning(_) | Notice::HostKeyTolerated(_));
                if verbosity > if always { -1 } else { 0 } {
                    say(&format!("konko: {notice}"));
                }
            })
            .on_banner(move |text| {
                if verbosity > -1 {
                    say(text.escaped(true).to_string().trim_end());
                }
            });
        if s.lists.host_keys.is_some() {
            options = options.keep_host_key_order();
        }
        if let Some(alias) = &s.alias {
            options = options.host_key_alias(alias);
        }
        if let Some(limit) = s.rekey {
            options = options.rekey(limit);
        }
        if let Some(timeout) = s.connect_timeout {
            options = options.connect_timeout(timeout).handshake_timeout(timeout);
            if let Some(t) = timeout {
                let limits = Limits { ident_timeout: t, kex_timeout: t, ..Limits::default() };
                options = options.limits(limits);
            }
        }
        if s.alive_interval.is_some() || s.alive_count.is_some() {
            let default = Keepalive::default();
            let interval = s.alive_interval.unwrap_or(Some(default.interval));
            let count = s.alive_count.unwrap_or(default.count);
            options = options.keepalive(interval.map(|interval| Keepalive { interval, count }));
        }
        Ok(options)
    }

    fn host_keys(&self) -> HostKeys {
        let s = &self.settings;
        let mut files: KnownHostsFiles = HostKeys::known_hosts().hash_names(s.hash == Some(true));
        if let Some(user) = &s.user_files {
            files = files.user_files(user);
        }
        if let Some(global) = &s.global_files {
            files = files.global_files(global);
        }
        match s.strict.unwrap_or(Strict::Ask) {
            Strict::Yes => files,
            Strict::AcceptNew => files.accept_new(),
            Strict::Off => files.accept_new().insecure_accept_changed(),
            Strict::Ask if self.batch => files,
            Strict::Ask => files.prompt(confirm),
        }
        .into()
    }

    fn auth(&self, host_key_changed: bool) -> Auth<'_> {
        let s = &self.settings;
        let default = ["publickey", "keyboard-interactive", "password"].map(str::to_owned).to_vec();
        let prompts = s.prompts.unwrap_or(3);
        // First nothing at all, as OpenSSH does: the answer tells what the server wants.
        let mut auth = Auth::new().none();
        for method in s.methods.as_ref().unwrap_or(&default) {
            let person = !self.batch && !host_key_changed && prompts > 0;
            auth = match method.as_str() {
                "publickey" => self
                    .identities()
                    .into_iter()
                    .fold(auth, |auth, path| auth.key_file_with(path, |prompt| self.ask(prompt))),
                "keyboard-interactive" if person => auth.interactive(prompts, |q| self.answer(q)),
                "password" if person => auth.passwords(prompts, |prompt| self.ask(prompt)),
                _ => auth,
            };
        }
        auth
    }

    fn identities(&self) -> Vec<PathBuf> {
        let mut files = self.settings.identities.clone();
        if files.is_empty() {
            let default = ["~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"];
            files.extend(default.iter().map(|file| expand(file)).filter(|path| path.exists()));
        }
        files.retain(|path| self.is_private(path));
        files
    }

    /// A key of ours that others can read is not used, as with OpenSSH.
    fn is_private(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        let Ok(meta) = path.metadata() else { return true };
        let open = meta.uid() == rustix::process::getuid().as_raw() && meta.mode() & 0o077 != 0;
        if open && self.verbosity > -3 {
            let mode = meta.mode() & 0o777;
            say(&format!(
                "konko: {}: the permissions {mode:04o} are too open for a private key, so it is not used \
                 (chmod 600)",
                path.display()
            ));
        }
        !open
    }

    // ---- questions ----

    fn ask(&self, prompt: PasswordPrompt<'_>) -> Option<konko::core::client::Password> {
        if self.batch {
            return None;
        }
        let Plan { user, host, .. } = self;
        let again = |attempt| if attempt > 1 { "Permission denied, please try again.\n" } else { "" };
        match prompt {
            PasswordPrompt::Password { attempt, .. } => {
                terminal::ask(&format!("{}{user}@{host}'s password: ", again(attempt)), false)
            }
            PasswordPrompt::Passphrase { file, attempt } => {
                let again = if attempt > 1 { "That passphrase does not open the key.\n" } else { "" };
                let text = format!("{again}Enter passphrase for key '{}': ", file.display());
                terminal::ask(&text, false).filter(|p| !p.expose().is_empty())
            }
            PasswordPrompt::NewPassword { text } => loop {
                let new = terminal::ask(&format!("{text}\nEnter {user}@{host}'s new password: "), false)?;
                let same = terminal::ask(&format!("Retype {user}@{host}'s new password: "), false)?;
                if new.expose() == same.expose() {
                    break Some(new);
                }
                say("Mismatch; try again.");
            },
            _ => None,
        }
    }

    fn answer(&self, questions: &Questions) -> Option<Vec<String>> {
        for text in [&questions.name, &questions.instruction] {
            if !text.is_empty() {
                say(SshStr::new(text.as_bytes()).escaped(true).to_string().trim_end());
            }
        }
        let Plan { user, host, .. } = self;
        let ask = |q: &konko::Question| {
            let prompt = SshStr::new(q.prompt.as_bytes()).escaped(true);
            let answer = terminal::ask(&format!("({user}@{host}) {prompt}"), q.echo)?;
            String::from_utf8(answer.expose().to_vec()).ok()
        };
        questions.questions.iter().map(ask).collect()
    }

    // ---- the session ----

    fn session(&self, client: &Client, channel: &Channel) -> Result<Exit, Error> {
        let s = &self.settings;
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
        let errors = spawn("stderr", move || copy(rustix::stdio::stderr(), |to| errors.copy_to_fd(to)));
        let copied = copy(rustix::stdio::stdout(), |to| channel.copy_to_fd(to));
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
        let s = &self.settings;
        for (name, value) in std::env::vars() {
            if s.send_env.iter().any(|p| pattern::matches(p.as_bytes(), name.as_bytes())) {
                channel.env(&name, &value)?;
            }
        }
        s.set_env.iter().try_for_each(|(name, value)| channel.env(name, value))
    }
}

/// `[user@]host` or a URI.
fn destination(text: &str) -> Result<(Option<String>, String, Option<u16>), String> {
    let wrong = || format!("\"{text}\" is not [user@]host");
    let (text, uri) = match text.strip_prefix("ssh://") {
        Some(rest) => (rest.trim_end_matches('/'), true),
        None => (text, false),
    };
    let (user, host) = match text.rsplit_once('@') {
        Some((user, host)) => (Some(user.to_owned()), host),
        None => (None, text),
    };
    if host.is_empty() || host.starts_with('-') || user.as_deref().is_some_and(str::is_empty) {
        return Err(wrong());
    }
    if uri {
        let (host, port) = konko::Target::host_and_port(host).map_err(|_| wrong())?;
        return Ok((user, host, Some(port)));
    }
    Ok((user, host.to_owned(), None))
}

fn local_user() -> Result<String, String> {
    let name = ["USER", "LOGNAME"].iter().find_map(|v| std::env::var(v).ok()).filter(|n| !n.is_empty());
    if name.is_none() && rustix::process::geteuid().is_root() {
        return Ok("root".into());
    }
    name.ok_or_else(|| "the user name is not known; give it with -l".into())
}

/// Asks about a host that is not known.
fn confirm(host: &UnknownHost<'_>) -> Answer {
    let name = konko::core::hosts::canonical(host.host, host.port);
    let name = SshStr::new(name.as_bytes());
    let fingerprint = host.key.fingerprint(konko::core::crypto::HashAlg::Sha256);
    let mut text = format!(
        "The authenticity of host '{name}' can't be established.\n{} key fingerprint is {fingerprint}.\n",
        host.key.key_type()
    );
    for known in host.other {
        text += &format!(
            "WARNING: another key is known for this host: {} at {}\n",
            SshStr::new(known.key_type.as_bytes()),
            known.at
        );
    }
    for at in &host.elsewhere {
        text += &format!("This key is known for another name at {at}\n");
    }
    text += "Are you sure you want to continue connecting (yes/no/[fingerprint])? ";
    loop {
        let Some(answer) = terminal::ask(&text, true) else { return Answer::Refuse };
        match answer.expose().trim_ascii() {
            b"yes" => return Answer::Remember,
            b"no" => return Answer::Refuse,
            answer if answer == fingerprint.to_string().as_bytes() => return Answer::Remember,
            _ => text = "Please type 'yes', 'no' or the fingerprint: ".into(),
        }
    }
}

/// A line on standard error, also while the terminal is in raw mode.
fn say(text: &str) {
    let raw = terminal::is_raw();
    let text = if raw { text.replace('\n', "\r\n") + "\r\n" } else { format!("{text}\n") };
    let _ = io::stderr().write_all(text.as_bytes());
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<std::thread::JoinHandle<T>> {
    std::thread::Builder::new().name(name.into()).spawn(work).ok()
}

/// A standard stream without a buffer of ours in between.
fn unbuffered(fd: BorrowedFd<'_>) -> io::Result<File> {
    Ok(File::from(rustix::io::dup(fd)?))
}

fn copy(to: BorrowedFd<'_>, from: impl FnOnce(&File) -> io::Result<u64>) -> io::Result<u64> {
    from(&unbuffered(to)?)
}

/// Sends standard input, until it ends or nobody wants it any more.
fn pump_input(client: &Client, channel: &Channel, null: bool, mut escapes: Option<Escapes>) {
    let input = if null { None } else { unbuffered(rustix::stdio::stdin()).ok() };
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
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
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
