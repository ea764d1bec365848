//! `konko sftp`: files on another machine, line by line or from a batch; as sftp(1).

pub mod commands;
mod complete;
mod edit;
mod line;
mod list;
pub mod words;

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use konko::sftp::SftpOptions;
use konko::{BlockingFd, Sftp};

use crate::connect::Login;
use crate::destination::Destination;
use crate::flags::{Flags, Target};
use crate::progress::Meter;
use crate::streams::{self, say};
use crate::terminal;

use self::commands::{Flow, Shell};
use self::edit::Editor;
use self::line::{Command, Line};

/// No session came about, or it was lost.
const FAILED: u8 = 255;

/// Options of `konko sftp`.
#[derive(clap::Args, Debug)]
#[command(disable_help_flag = true)]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    /// Commands from a file, `-` for standard input; the first error ends it
    #[arg(short, value_name = "FILE")]
    batch: Option<OsString>,
    /// Bytes of one request
    #[arg(short = 'B', value_name = "BYTES")]
    buffer: Option<u32>,
    /// Requests in flight at most
    #[arg(short = 'R', value_name = "NUMBER")]
    requests: Option<usize>,
    /// Run this server program here and speak with it
    #[arg(short = 'D', value_name = "COMMAND")]
    direct: Option<OsString>,
    /// The name of the subsystem, or the path of the server program there
    #[arg(short, value_name = "SUBSYSTEM")]
    subsystem: Option<OsString>,
    /// Go on with files that came over in part
    #[arg(short = 'a')]
    resume: bool,
    /// Wait until each file is on the disk
    #[arg(short = 'f')]
    fsync: bool,
    /// Say also in a batch what quiet mode leaves out
    #[arg(short = 'N')]
    no_quiet: bool,
    /// Directories with all that is in them
    #[arg(short)]
    recursive: bool,
    /// [user@]host[:path] or sftp://[user@]host[:port][/path]; nothing with -D
    #[arg(value_name = "DESTINATION")]
    destination: Option<OsString>,
    /// Where a file that the destination names goes
    #[arg(value_name = "LOCAL")]
    local: Option<OsString>,
}

/// What sftp and scp have in common.
#[derive(clap::Args, Debug)]
pub struct Common {
    #[command(flatten)]
    pub flags: Flags,
    /// Port of the server, if neither an option nor the destination says it
    #[arg(short = 'P', id = "other_port", value_name = "PORT")]
    pub port: Vec<u16>,
    /// At most so many Kbit/s
    #[arg(short, value_name = "KBITS")]
    pub limit: Option<u64>,
    /// Keep permissions and times
    #[arg(short)]
    pub preserve: bool,
}

/// What holds whatever a configuration says.
const OPTIONS: [&str; 4] =
    ["ForwardX11=no", "PermitLocalCommand=no", "ClearAllForwardings=yes", "RemoteCommand=none"];

impl Common {
    /// A login at `host`.
    pub fn login(&self, user: Option<Vec<u8>>, host: String, port: Option<u16>) -> Result<Login, String> {
        let port = port.or(self.port.last().copied());
        // As sftp(1) and scp(1) call ssh(1).
        let options = OPTIONS.map(str::to_owned).to_vec();
        self.flags.login(Target { user, host, port, options, ..Target::default() })
    }
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    // Errors are never quiet.
    let code = session(args).unwrap_or_else(|text| {
        say(&format!("konko: {text}"));
        FAILED
    });
    terminal::restore();
    // A thread may still wait for signals.
    std::process::exit(code.into())
}

fn session(args: Args) -> Result<u8, String> {
    let mut options = SftpOptions::default();
    options.transfers.request_len = args.buffer;
    options.transfers.max_requests = args.requests.unwrap_or(options.transfers.max_requests);
    if let Some(kbits) = args.common.limit {
        // A quarter of a second of it.
        let most = usize::try_from(kbits.saturating_mul(1000 / 8 / 4)).unwrap_or(usize::MAX);
        options.transfers.max_bytes = options.transfers.max_bytes.min(most.max(32 * 1024));
    }
    match args.subsystem.as_ref().map(|name| name.as_bytes()) {
        Some(path) if path.contains(&b'/') => options.command = Some(path.to_vec()),
        Some(name) => options.subsystem = name.to_vec(),
        None => {}
    }
    let lines = match args.batch.as_deref() {
        Some(file) => Some(batch(file)?),
        None => None,
    };
    let (sftp, path, name) = match (&args.direct, &args.destination) {
        (Some(command), path) => {
            let path = path.as_ref().map(|path| path.as_bytes().to_vec());
            (direct(command, options)?, path, "the server program".to_owned())
        }
        (None, Some(destination)) => connect(&args, destination, options)?,
        (None, None) => return Err("where to? [user@]host[:path]".into()),
    };
    if !args.common.flags.quiet {
        say(&format!("Connected to {name}."));
    }
    let meter =
        Meter::new(!args.common.flags.quiet && (args.batch.is_none() || args.no_quiet), args.common.limit);
    let mut shell = Shell::new(sftp, meter);
    shell.preserve = args.common.preserve;
    shell.resume = args.resume;
    shell.recursive = args.recursive;
    shell.fsync = args.fsync;
    shell.quiet = args.common.flags.quiet;
    if let Some(path) = path.filter(|path| !path.is_empty()) {
        if !shell.is_remote_dir(&path) {
            let local = args.local.as_deref().map(OsStr::as_bytes);
            let fetched = shell.fetch(&path, local);
            return Ok(outcome(&shell, fetched));
        }
        shell.change_dir(&path)?;
    }
    shell.watch_interrupts(args.batch.is_none() && io::stdin().is_terminal());
    match lines {
        Some(lines) => Ok(run_batch(&mut shell, lines)),
        None if io::stdin().is_terminal() => interactive(&mut shell),
        None => Ok(piped(&mut shell)),
    }
}

/// The exit status: whatever else has failed, a session that was lost is 255.
fn outcome(shell: &Shell, result: Result<(), String>) -> u8 {
    let code = if result.is_ok() { 0 } else { 1 };
    result.unwrap_or_else(|text| say(&text));
    if shell.is_open() { code } else { FAILED }
}

fn stdin() -> Result<BufReader<BlockingFd>, String> {
    streams::stdin().map(BufReader::new).map_err(|e| format!("standard input: {e}"))
}

type Lines = Box<dyn Iterator<Item = io::Result<Vec<u8>>>>;

fn batch(file: &OsStr) -> Result<Lines, String> {
    if file == "-" {
        return Ok(Box::new(stdin()?.split(b'\n')));
    }
    let open = std::fs::File::open(file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(Box::new(BufReader::new(open).split(b'\n')))
}

pub fn direct(command: &OsStr, options: SftpOptions) -> Result<Sftp, String> {
    use std::os::unix::ffi::OsStringExt;
    let words = line::words(command.as_bytes())?;
    let mut words = words.iter().map(|word| std::ffi::OsString::from_vec(word.plain()));
    let program = words.next().ok_or("-D needs the path of a server program")?;
    let mut command = std::process::Command::new(program);
    command.args(words);
    Sftp::spawn(command, options).map_err(|e| e.to_string())
}

/// Connects; the session, the path of the destination, and the host.
fn connect(
    args: &Args,
    text: &OsStr,
    options: SftpOptions,
) -> Result<(Sftp, Option<Vec<u8>>, String), String> {
    let Destination { user, host, port, path } = Destination::sftp(text.as_bytes())?;
    let mut login = args.common.login(user, host, port)?;
    login.batch |= args.batch.is_some();
    let client = login.connect()?;
    let sftp = client.sftp_with(options).map_err(|e| e.to_string())?;
    // The program may end at any time from now on.
    client.finish_host_keys(std::time::Duration::from_secs(2));
    Ok((sftp, path, login.host))
}

/// A batch: each line is shown, and the first error ends it, as sftp(1) has it under `-b`: of all commands
/// but local ones (`!`, `lls`), unless there is a `-` before it.
fn run_batch(shell: &mut Shell, lines: Lines) -> u8 {
    for line in lines {
        let line = match line {
            Ok(line) => line,
            Err(e) => return outcome(shell, Err(format!("the batch: {e}"))),
        };
        match step(shell, &line, true) {
            Ok(Flow::On) => {}
            Ok(Flow::End) => break,
            Err(text) => return outcome(shell, Err(text)),
        }
    }
    outcome(shell, Ok(()))
}

/// Commands that come without a person behind them: errors end nothing.
fn piped(shell: &mut Shell) -> u8 {
    let input = match stdin() {
        Ok(input) => input,
        Err(text) => return outcome(shell, Err(text)),
    };
    for line in input.split(b'\n') {
        let Ok(line) = line else { return 1 };
        match step(shell, &line, true) {
            Ok(Flow::On) => {}
            Ok(Flow::End) => break,
            Err(text) => {
                say(&text);
                if !shell.is_open() {
                    return FAILED;
                }
            }
        }
    }
    outcome(shell, Ok(()))
}

fn interactive(shell: &mut Shell) -> Result<u8, String> {
    streams::own_terminal();
    let mut editor = Editor::new(shell)?;
    loop {
        let Some(line) = editor.line()? else { return Ok(0) };
        match step(shell, &line, false) {
            Ok(Flow::On) => {}
            Ok(Flow::End) => return Ok(0),
            Err(text) => {
                say(&text);
                if !shell.is_open() {
                    return Ok(FAILED);
                }
            }
        }
        editor.follow(shell);
    }
}

/// Runs one line; an error that does not end a batch is said and forgotten.
fn step(shell: &mut Shell, line: &[u8], echo: bool) -> Result<Flow, String> {
    let parsed = Line::parse(line);
    if echo && !parsed.quiet && parsed.command != Command::Nothing {
        let shown = konko::core::wire::SshStr::new(line.trim_ascii()).to_string();
        streams::line(format_args!("sftp> {shown}"));
    }
    match shell.run(&parsed.command) {
        Err(text) if parsed.ignore_errors && shell.is_open() => {
            say(&text);
            Ok(Flow::On)
        }
        other => other,
    }
}
