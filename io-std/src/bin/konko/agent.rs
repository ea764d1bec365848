//! `konko agent`: ssh-agent(1).

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use konko::core::agent::{Confirm, Keyring};
use konko::core::crypto::HashAlgorithm;
use konko::core::provider;
use konko::core::wire::SshStr;
use konko::{AgentServer, Rng, seed_from_os};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::streams::{self, line, say};
use crate::{terminal, values};

/// Options of `konko agent`.
#[derive(clap::Args, Debug)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub struct Args {
    /// Print this help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// The socket; else one in a new folder that nobody else can enter
    #[arg(short, value_name = "SOCKET")]
    address: Option<PathBuf>,
    /// Print lines for csh
    #[arg(short = 'c', overrides_with = "sh")]
    csh: bool,
    /// Print lines for sh
    #[arg(short = 's')]
    sh: bool,
    /// Stay in the foreground
    #[arg(short = 'D')]
    foreground: bool,
    /// Stay in the foreground, and say on standard error what happens
    #[arg(short = 'd')]
    debug: bool,
    /// End the agent that SSH_AGENT_PID names
    #[arg(short = 'k')]
    kill: bool,
    /// How long keys stay that are added without a lifetime, such as 1h30m
    #[arg(short = 't', value_name = "LIFE", value_parser = lifetime)]
    lifetime: Option<u32>,
    /// The hash of fingerprints, in questions: sha256 or md5
    #[arg(short = 'E', value_name = "HASH", value_parser = crate::keygen::hash, default_value = "sha256")]
    hash: HashAlgorithm,
    /// What the agent in the background is started with
    #[arg(long, hide = true)]
    detached: bool,
    /// A program to run; the agent ends with it
    #[arg(value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// A lifetime in seconds, as in sshd_config(5).
pub fn lifetime(value: &str) -> Result<u32, String> {
    let time = values::time(value).map_err(|_| "Invalid lifetime".to_owned())?;
    u32::try_from(time.as_secs()).map_err(|_| "Invalid lifetime".to_owned())
}

/// Runs the command.
pub fn run(args: &Args) -> ExitCode {
    let alone = args.kill || args.foreground || args.debug || args.csh || args.sh;
    if !args.command.is_empty() && alone {
        say("konko agent: a command goes with -a, -t and -E alone (--help lists all options)");
        return ExitCode::FAILURE;
    }
    let done = match () {
        () if args.kill => kill(args),
        () if !args.command.is_empty() || args.foreground || args.debug || args.detached => serve(args),
        () => detach(args),
    };
    done.unwrap_or_else(|why| {
        say(&format!("konko agent: {why}"));
        ExitCode::FAILURE
    })
}

impl Args {
    /// Lines for csh: if asked for, or if that is the user's shell.
    fn for_csh(&self) -> bool {
        let shell = || std::env::var_os("SHELL").is_some_and(|shell| shell.as_bytes().ends_with(b"csh"));
        self.csh || (!self.sh && shell())
    }

    fn set(&self, name: &str, value: &OsStr) -> Vec<u8> {
        let value = quoted(value.as_bytes());
        let (name, end) = (name.as_bytes(), &b";\n"[..]);
        if self.for_csh() {
            [b"setenv ", name, b" ", &value, end].concat()
        } else {
            [name, b"=", &value, b"; export ", name, end].concat()
        }
    }
}

/// A word for a shell.
fn quoted(word: &[u8]) -> Vec<u8> {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/._-+:@%,=".contains(b);
    if !word.is_empty() && word.iter().all(plain) {
        return word.to_vec();
    }
    let mut out = vec![b'\''];
    for b in word {
        match b {
            b'\'' => out.extend(b"'\\''"),
            b => out.push(*b),
        }
    }
    out.push(b'\'');
    out
}

fn kill(args: &Args) -> Result<ExitCode, String> {
    let pid = std::env::var("SSH_AGENT_PID").map_err(|_| "SSH_AGENT_PID not set, cannot kill agent")?;
    let wrong = || format!("SSH_AGENT_PID=\"{}\", which is not a good PID", SshStr::new(pid.as_bytes()));
    let number = pid.parse().ok().filter(|pid: &i32| *pid > 1).ok_or_else(wrong)?;
    let pid = Pid::from_raw(number).ok_or_else(wrong)?;
    rustix::process::kill_process(pid, Signal::TERM).map_err(|e| format!("kill: {e}"))?;
    let unset = if args.for_csh() { "unsetenv" } else { "unset" };
    for name in ["SSH_AUTH_SOCK", "SSH_AGENT_PID"] {
        line(format_args!("{unset} {name};"));
    }
    line(format_args!("echo Agent pid {number} killed;"));
    Ok(ExitCode::SUCCESS)
}

/// Starts the agent in the background, and prints what it says until it is there.
fn detach(args: &Args) -> Result<ExitCode, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new(program);
    command.args(["agent", "--detached", if args.for_csh() { "-c" } else { "-s" }]);
    if let Some(address) = &args.address {
        command.arg("-a").arg(std::path::absolute(address).map_err(|e| e.to_string())?);
    }
    if let Some(lifetime) = args.lifetime {
        command.args(["-t", &lifetime.to_string()]);
    }
    if args.hash == HashAlgorithm::Md5 {
        command.args(["-E", "md5"]);
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
    let mut said = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        // Until it closes its standard output, which is when it serves, or has ended.
        std::io::Read::read_to_end(&mut stdout, &mut said).map_err(|e| e.to_string())?;
    }
    if said.is_empty() {
        let _ = child.wait();
        return Ok(ExitCode::FAILURE);
    }
    streams::stdout().and_then(|mut out| out.write_all(&said)).map_err(|e| e.to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn serve(args: &Args) -> Result<ExitCode, String> {
    // Memory holds private keys: no file is made of it, and nobody else looks at it.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(Resource::Core, none);
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let seed = seed_from_os().map_err(|e| e.to_string())?;
    let mut keyring = Keyring::new(provider::best(), Rng::from_seed(&seed));
    if let Some(seconds) = args.lifetime.filter(|seconds| *seconds > 0) {
        keyring = keyring.default_lifetime(seconds);
    }
    if std::env::var_os("SSH_ASKPASS").is_some_and(|program| !program.is_empty()) {
        keyring = keyring.can_confirm();
    }
    let bound = match &args.address {
        Some(path) => AgentServer::bind(path, keyring).map_err(|e| format!("{}: {e}", path.display())),
        None => AgentServer::bind_private(keyring).map_err(|e| e.to_string()),
    };
    let (hash, debug) = (args.hash, args.debug);
    let agent = Arc::new(bound?.on_confirm(move |confirm| {
        let yes = may_use(confirm, hash);
        if debug {
            say(&format!(
                "konko agent: {} {}",
                confirm.key.fingerprint(hash),
                if yes { "used" } else { "refused" }
            ));
        }
        yes
    }));
    on_signals(&agent, args)?;
    if args.command.is_empty() {
        announce(&agent, args).map_err(|e| e.to_string())?;
        agent.serve().map_err(|e| e.to_string())?;
        // By a signal, as OpenSSH's.
        return Ok(ExitCode::from(2));
    }
    let serving = Arc::clone(&agent);
    std::thread::spawn(move || serving.serve());
    let done = with_agent(&agent, &args.command);
    agent.close();
    done
}

/// Runs a program that has the agent.
fn with_agent(agent: &AgentServer, command: &[OsString]) -> Result<ExitCode, String> {
    let [program, arguments @ ..] = command else { return Ok(ExitCode::SUCCESS) };
    let status = Command::new(program)
        .args(arguments)
        .env("SSH_AUTH_SOCK", agent.path())
        .env("SSH_AGENT_PID", std::process::id().to_string())
        .status()
        .map_err(|e| format!("{}: {e}", program.display()))?;
    let signal = || 128 + status.signal().unwrap_or(0);
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or_else(signal)).unwrap_or(255)))
}

/// Prints where the agent is; in the background, nothing is printed afterwards.
fn announce(agent: &AgentServer, args: &Args) -> std::io::Result<()> {
    let mut text = args.set("SSH_AUTH_SOCK", agent.path().as_os_str());
    let pid = std::process::id();
    if args.detached {
        text.extend(args.set("SSH_AGENT_PID", pid.to_string().as_ref()));
    }
    text.extend(format!("echo Agent pid {pid};\n").bytes());
    streams::stdout()?.write_all(&text)?;
    if args.detached {
        let _ = rustix::process::setsid();
        std::env::set_current_dir("/")?;
        let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
    }
    Ok(())
}

/// TERM and HUP end the agent, and in the foreground INT does; USR1 makes it forget its keys.
fn on_signals(agent: &Arc<AgentServer>, args: &Args) -> Result<(), String> {
    let ends = args.foreground || args.debug;
    let mut signals = Signals::new([SIGTERM, SIGHUP, SIGINT, SIGUSR1]).map_err(|e| e.to_string())?;
    let (agent, runs) = (Arc::clone(agent), !args.command.is_empty());
    std::thread::spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGUSR1 => agent.with_keys(|keys, _| keys.remove_all()),
                // Meant for the program that has the terminal.
                SIGINT if !ends => {}
                _ => {
                    agent.close();
                    if runs {
                        std::process::exit(2);
                    }
                }
            }
        }
    });
    Ok(())
}

/// Asks whether a key may be used, by `SSH_ASKPASS` (OpenSSH readpass.c `ask_permission`): nothing or `yes` is yes.
fn may_use(confirm: &Confirm, hash: HashAlgorithm) -> bool {
    let comment = SshStr::new(&confirm.comment);
    let fingerprint = confirm.key.fingerprint(hash);
    let answer =
        terminal::permission(&format!("Allow use of key {comment}?\nKey fingerprint {fingerprint}."));
    answer.is_some_and(|answer| answer.expose().is_empty() || answer.expose().eq_ignore_ascii_case(b"yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell() {
        for (word, expected) in [
            ("/tmp/a-b_c.1", "/tmp/a-b_c.1"),
            ("/tmp/a b", "'/tmp/a b'"),
            ("it's;rm", "'it'\\''s;rm'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word.as_bytes()), expected.as_bytes());
        }
    }
}
