//! `konko sftp-server`: SFTP on standard input and output, as sshd starts it.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::ExitCode;

use konko::core::wire::SshStr;
use konko::sftp::{Done, OpenFlags, Operation, OperationSet, Root, StatusCode, serve_streams};

use crate::streams;

/// Where syslogd listens.
const SYSLOG: &str = "/dev/log";

/// Options of `konko sftp-server`, which are those of sftp-server(8).
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Refuse everything that changes anything
    #[arg(short = 'R')]
    read_only: bool,
    /// Start in this directory; %d is the user's home, %u the user's name
    #[arg(short = 'd', value_name = "DIR")]
    start: Option<OsString>,
    /// Write messages to standard error instead of the system log
    #[arg(short = 'e')]
    stderr: bool,
    /// What to log: QUIET, FATAL, ERROR, INFO (what is opened, closed and changed), VERBOSE (and what
    /// fails), DEBUG (everything)
    #[arg(short = 'l', value_name = "LEVEL", default_value = "ERROR", value_parser = level)]
    level: Level,
    /// Facility of the system log: AUTH, DAEMON, USER, LOCAL0 to LOCAL7
    #[arg(short = 'f', value_name = "FACILITY", default_value = "AUTH", value_parser = facility)]
    facility: u8,
    /// Mode bits that new files and directories do not get, in octal; default: as inherited
    #[arg(short = 'u', value_name = "UMASK", value_parser = umask)]
    umask: Option<u32>,
    /// Requests to refuse, separated by commas
    #[arg(short = 'P', value_name = "REQUESTS", value_parser = requests)]
    deny: Option<OperationSet>,
    /// Requests to allow; all others are refused
    #[arg(short = 'p', value_name = "REQUESTS", value_parser = requests)]
    allow: Option<OperationSet>,
    /// List what -P and -p know: "requests"
    #[arg(short = 'Q', value_name = "FEATURE", value_parser = ["requests"])]
    query: Option<String>,
    /// As a user's shell it would be called with `-c` and a command; that says nothing either
    #[arg(short = 'c', hide = true, num_args = 0.., allow_hyphen_values = true)]
    shell: Vec<OsString>,
    /// What follows is ignored, as by OpenSSH's: `scp -D` passes the name of the host
    #[arg(hide = true, trailing_var_arg = true)]
    ignored: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Quiet,
    Error,
    Info,
    Verbose,
    Debug,
}

fn level(text: &str) -> Result<Level, String> {
    Ok(match &text.to_ascii_uppercase()[..] {
        "QUIET" => Level::Quiet,
        "FATAL" | "ERROR" => Level::Error,
        "INFO" => Level::Info,
        "VERBOSE" => Level::Verbose,
        "DEBUG" | "DEBUG1" | "DEBUG2" | "DEBUG3" => Level::Debug,
        _ => return Err("levels are QUIET, FATAL, ERROR, INFO, VERBOSE, DEBUG".into()),
    })
}

/// The numbers of syslog(3).
fn facility(text: &str) -> Result<u8, String> {
    let text = text.to_ascii_uppercase();
    let local = text.strip_prefix("LOCAL").and_then(|n| n.parse::<u8>().ok()).filter(|n| *n < 8);
    match (&text[..], local) {
        ("USER", _) => Ok(1),
        ("DAEMON", _) => Ok(3),
        ("AUTH", _) => Ok(4),
        (_, Some(n)) => Ok(16 + n),
        _ => Err("facilities are AUTH, DAEMON, USER, LOCAL0 to LOCAL7".into()),
    }
}

fn umask(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8).ok().filter(|mask| *mask <= 0o777).ok_or("an octal number up to 777".into())
}

fn requests(list: &str) -> Result<OperationSet, String> {
    OperationSet::parse(list).map_err(|name| format!("\"{name}\" is no request; -Q requests lists them"))
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    if args.query.is_some() {
        let names = Operation::all().map(|op| format!("{op}\n")).collect::<String>();
        return match streams::try_line(names.trim_end()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let log = Log::new(&args);
    let served = root(&args, log.clone()).and_then(|root| {
        let both = streams::stdin().and_then(|input| Ok((input, streams::stdout()?)));
        let (input, output) = both.map_err(|e| format!("standard input and output: {e}"))?;
        match serve_streams(input, output, root.config(), &mut root.session()) {
            // The client is gone, as clients go.
            Err(e) if matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                Ok(())
            }
            served => served.map_err(|e| e.to_string()),
        }
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            log.write(Level::Error, &text);
            ExitCode::FAILURE
        }
    }
}

fn root(args: &Args, log: Log) -> Result<Root, String> {
    if let Some(mask) = args.umask {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask as rustix::fs::RawMode));
    }
    let start = match &args.start {
        Some(start) => PathBuf::from(OsString::from_vec(expand(start.as_bytes())?)),
        None => ".".into(),
    };
    let root = Root::host(&start).map_err(|e| format!("the directory {}: {e}", start.display()))?;
    let root = root.configure(|config| {
        config.read_only = args.read_only;
        // As many as the process may have, as OpenSSH's.
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        config.max_handles = limit.unwrap_or(1024).saturating_sub(16).clamp(16, 1 << 16) as usize;
        config.deny = args.deny.unwrap_or(OperationSet::EMPTY);
        config.allow = args.allow.unwrap_or(OperationSet::ALL);
    });
    Ok(if log.level >= Level::Info { root.on_done(move |done| log.done(done)) } else { root })
}

fn expand(text: &[u8]) -> Result<Vec<u8>, String> {
    let user = || nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    let user = || user().ok_or("this user has no account");
    let mut out = Vec::new();
    let mut bytes = text.iter();
    while let Some(&b) = bytes.next() {
        match (b, if b == b'%' { bytes.next() } else { None }) {
            (b'%', Some(b'%')) => out.push(b'%'),
            (b'%', Some(b'u')) => out.extend(user()?.name.as_bytes()),
            (b'%', Some(b'd')) => out.extend(user()?.dir.as_os_str().as_bytes()),
            (b'%', _) => return Err("-d knows %d, %u and %%".into()),
            (b, _) => out.push(b),
        }
    }
    Ok(out)
}

/// Where messages go.
#[derive(Clone, Debug)]
struct Log {
    level: Level,
    facility: u8,
    stderr: bool,
}

impl Log {
    fn new(args: &Args) -> Self {
        Log { level: args.level, facility: args.facility, stderr: args.stderr }
    }

    fn write(&self, level: Level, text: &str) {
        if level > self.level {
            return;
        }
        if self.stderr {
            streams::say(&format!("konko sftp-server: {text}"));
            return;
        }
        let severity = match level {
            Level::Quiet | Level::Error => 3,
            Level::Info | Level::Verbose => 6,
            Level::Debug => 7,
        };
        let priority = self.facility * 8 + severity;
        let line = format!("<{priority}>sftp-server[{}]: {text}", std::process::id());
        let _ = UnixDatagram::unbound().and_then(|socket| socket.send_to(line.as_bytes(), SYSLOG));
    }

    fn done(&self, done: &Done<'_>) {
        use Operation as O;
        let level = match done.operation {
            _ if done.status != StatusCode::OK => Level::Verbose,
            O::Open | O::Opendir | O::Close => Level::Info,
            op if op.writes() => Level::Info,
            _ => Level::Debug,
        };
        if level > self.level {
            return;
        }
        let quoted = |path: &[u8]| format!("\"{}\"", SshStr::new(path).excerpt(1024));
        let mut line = format!("{} {}", done.operation, quoted(done.path));
        if let Some(other) = done.other {
            line += &format!(" {}", quoted(other));
        }
        if let Some(flags) = done.flags {
            line += &format!(" flags {}", names(flags));
        }
        if done.operation == O::Close {
            line += &format!(" bytes read {} written {}", done.read, done.written);
        }
        if done.status != StatusCode::OK {
            line += &format!(": {}", done.status);
        }
        self.write(level, &line);
    }
}

fn names(flags: OpenFlags) -> String {
    let all = [
        (OpenFlags::READ, "READ"),
        (OpenFlags::WRITE, "WRITE"),
        (OpenFlags::APPEND, "APPEND"),
        (OpenFlags::CREATE, "CREATE"),
        (OpenFlags::TRUNCATE, "TRUNCATE"),
        (OpenFlags::EXCLUSIVE, "EXCL"),
    ];
    let names: Vec<&str> = all.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, n)| *n).collect();
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn c16_what_follows_the_options_is_ignored() {
        let parsed =
            |words: &[&str]| Line::try_parse_from([&["sftp-server"], words].concat()).map(|line| line.args);
        for words in [
            &["-R", "host"][..],
            &["-R", "host", "-u", "nonsense", "--nothing", "more"],
            &["-R", "--", "-Z"],
            &["-R", "-c", "-l", "nonsense"],
            &["-R", "-c"],
        ] {
            let args = parsed(words).unwrap_or_else(|e| panic!("{words:?}: {e}"));
            assert!(args.read_only && args.umask.is_none(), "{words:?}");
        }
        // What is not known before them is an error, as it is there.
        for words in [&["-Z", "host"][..], &["-u", "9", "host"], &["--nothing"]] {
            assert!(parsed(words).is_err(), "{words:?}");
        }
    }
}
