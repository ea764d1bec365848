//! `konko keyscan`: ssh-keyscan(1). Asks hosts for their keys, many at once, and prints lines for known_hosts. Whether
//! a key is really the host's, nobody has checked: compare before you believe.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use konko::core::Error as PeerFault;
use konko::core::hosts::{KnownHostsFile, canonical};
use konko::core::keys::SignatureAlgorithm;
use konko::{
    AddressFamily, Answer, Client, ClientOptions, Error, ErrorKind, HostKeys, Notice, Policy, PublicKey, Rng,
};

use crate::streams;

/// Connections at once.
const AT_ONCE: usize = 64;
/// The longest list of hosts, in bytes.
const MAX_LIST: u64 = 64 * 1024 * 1024;

/// Options of `konko keyscan`, which are those of ssh-keyscan(1).
#[derive(clap::Args, Debug)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub struct Args {
    /// Print this help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// IPv4 only
    #[arg(short = '4')]
    v4: bool,
    /// IPv6 only
    #[arg(short = '6')]
    v6: bool,
    /// Ask for certificates instead of plain keys
    #[arg(short)]
    certificates: bool,
    /// Read hosts from a file, one a line, each with the names to print behind it; - is standard input
    #[arg(short = 'f', value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Hash the names
    #[arg(short = 'H')]
    hash: bool,
    /// The port
    #[arg(short, value_name = "PORT", default_value_t = 22)]
    port: u16,
    /// Say nothing about the hosts' software
    #[arg(short)]
    quiet: bool,
    /// How long a host may take, in seconds
    #[arg(short = 'T', value_name = "SECONDS", default_value_t = 5)]
    timeout: u64,
    /// Types of keys, with commas between them: rsa, ecdsa, ed25519
    #[arg(short = 't', value_name = "TYPES", value_parser = types, default_value = "rsa,ecdsa,ed25519")]
    types: Types,
    /// Say more
    #[arg(short, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Hosts
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
}

/// Algorithms, type by type.
#[derive(Clone, Debug)]
struct Types(Vec<&'static [&'static str]>);

const RSA: &[&str] = &["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"];
const ECDSA: &[&str] = &["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"];
const ED25519: &[&str] = &["ssh-ed25519"];

fn types(text: &str) -> Result<Types, String> {
    let one = |name: &str| match name {
        "rsa" => Ok(RSA),
        "ecdsa" => Ok(ECDSA),
        "ed25519" => Ok(ED25519),
        _ => Err(format!("Unknown key type \"{name}\"; there are rsa, ecdsa and ed25519")),
    };
    let all: Vec<_> = text.split(',').map(one).collect::<Result<_, _>>()?;
    // As often as they are named, each is asked for once, in OpenSSH's order.
    Ok(Types([RSA, ECDSA, ED25519].into_iter().filter(|kind| all.contains(kind)).collect()))
}

/// One host to ask.
#[derive(Clone, Debug)]
struct Host {
    /// Where it is: the first of these names that answers.
    names: String,
    /// Under which names its keys are printed.
    shown: String,
}

/// Runs the command.
pub fn run(args: &Args) -> ExitCode {
    let hosts = match hosts(args) {
        Ok(hosts) => hosts,
        Err(why) => {
            streams::say(&why);
            return ExitCode::from(255);
        }
    };
    let (sender, receiver) = mpsc::channel::<Vec<u8>>();
    let queue = Mutex::new(hosts.into_iter());
    let found = thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(queue.lock().unwrap_or_else(PoisonError::into_inner).len()) {
            let (sender, queue) = (sender.clone(), &queue);
            scope.spawn(move || {
                loop {
                    // The lock is not held while a host is asked.
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(host) = next else { break };
                    ask(args, &host, &sender);
                }
            });
        }
        drop(sender);
        let mut found = false;
        for lines in receiver {
            found = true;
            let written =
                streams::stdout().and_then(|mut stdout| std::io::Write::write_all(&mut stdout, &lines));
            if written.is_err() {
                std::process::exit(1);
            }
        }
        found
    });
    if found { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn hosts(args: &Args) -> Result<Vec<Host>, String> {
    let mut hosts = Vec::new();
    for file in &args.files {
        let mut text = Vec::new();
        let read = if file == Path::new("-") {
            streams::stdin().and_then(|stdin| stdin.take(MAX_LIST).read_to_end(&mut text))
        } else {
            std::fs::File::open(file).and_then(|file| file.take(MAX_LIST).read_to_end(&mut text))
        };
        read.map_err(|e| format!("{}: {e}", file.display()))?;
        let text = String::from_utf8_lossy(&text);
        for line in text.lines().map(|line| line.split('#').next().unwrap_or_default()) {
            let mut words = line.split_whitespace();
            let Some(names) = words.next() else { continue };
            let shown = words.next().unwrap_or(names);
            hosts.push(Host { names: names.into(), shown: shown.into() });
        }
    }
    hosts.extend(args.hosts.iter().map(|host| Host { names: host.clone(), shown: host.clone() }));
    if hosts.is_empty() {
        return Err("konko keyscan: name a host, or a file of them (-f); --help lists all options".into());
    }
    Ok(hosts)
}

/// Asks a host for a key of each type, one connection each, as a connection shows one key.
fn ask(args: &Args, host: &Host, found: &mpsc::Sender<Vec<u8>>) {
    for kind in &args.types.0 {
        let mut errors = Vec::new();
        for name in host.names.split(',').filter(|name| !name.is_empty()) {
            match key_of(args, name, kind) {
                Ok(Some(key)) => {
                    let lines = lines(args, host, &key);
                    // Without the receiver nobody wants to know.
                    let _ = found.send(lines);
                    errors.clear();
                    break;
                }
                Ok(None) => break,
                Err(why) => errors.push(why),
            }
        }
        errors.iter().for_each(|why| streams::say(why));
        if !errors.is_empty() {
            // It is not there, whatever it would be asked for.
            break;
        }
    }
}

/// The host's key of one type; `None` if it has none.
fn key_of(args: &Args, host: &str, kind: &[&'static str]) -> Result<Option<PublicKey>, String> {
    let names: Vec<String> = match args.certificates {
        true => kind.iter().map(|name| format!("{name}-cert-v01@openssh.com")).collect(),
        false => kind.iter().map(|name| (*name).to_owned()).collect(),
    };
    let wanted: Vec<SignatureAlgorithm> =
        names.iter().filter_map(|name| SignatureAlgorithm::from_name(name)).collect();
    if wanted.is_empty() {
        return Ok(None);
    }
    // Old devices too: nothing is sent to the host that would have to be kept secret.
    let mut algorithms = Policy::LegacyDevice.algorithms(true);
    algorithms.host_key = wanted;
    let key = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&key);
    let keys = HostKeys::known_hosts().user_files(NOTHING).global_files(NOTHING).prompt(move |unknown| {
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(unknown.key().clone());
        Answer::Reject
    });
    let timeout = Some(Duration::from_secs(args.timeout));
    let (name, port, quiet) = (host.to_owned(), args.port, args.quiet);
    let mut options = ClientOptions::new()
        .algorithms(algorithms)
        .keep_host_key_order()
        .required_rsa_size(1024)
        .insecure_allow_terrapin()
        .connect_timeout(timeout)
        .handshake_timeout(timeout)
        .on_notice(move |notice| {
            if let (Notice::Negotiated { ident, .. }, false) = (notice, quiet) {
                streams::say(&format!("# {name}:{port} {ident}"));
            }
        })
        .host_keys(keys);
    if args.v4 {
        options = options.address_family(AddressFamily::Inet);
    } else if args.v6 {
        options = options.address_family(AddressFamily::Inet6);
    }
    let result = Client::connect((host, args.port), options);
    let key = key.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (key, result) {
        (Some(key), _) => Ok(Some(key)),
        (None, Err(e)) if has_none(&e) => Ok(None),
        (None, Err(e)) => Err(format!("{host}: {e}")),
        (None, Ok(_)) => Ok(None),
    }
}

/// Whether the host has no key of the types that it was asked for.
fn has_none(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Ssh(PeerFault::Peer(e)) if e.negotiation_failure().is_some())
}

const NOTHING: [&str; 0] = [];

fn lines(args: &Args, host: &Host, key: &PublicKey) -> Vec<u8> {
    let line = key.to_openssh_line("");
    let mut text = Vec::new();
    for name in host.shown.split(',').filter(|name| !name.is_empty()) {
        let name = canonical(name, args.port);
        let one = match args.certificates {
            true => format!("{line}\n"),
            false => format!("{name} {line}\n"),
        };
        text.extend(if args.hash && !args.certificates { hashed(&one) } else { one.into_bytes() });
    }
    text
}

fn hashed(line: &str) -> Vec<u8> {
    let (Ok(mut file), Ok(seed)) = (KnownHostsFile::parse(line.as_bytes()), konko::seed_from_os()) else {
        return line.into();
    };
    file.hash_names(&mut Rng::from_seed(&seed));
    file.to_bytes()
}
