//! `konko keygen`: ssh-keygen(1). One file a task; a task's own flags stand with it, are flattened into [`Args`], and
//! their letters leave `unsupported` of [`KEYGEN`](crate::flags::KEYGEN).

mod ask;
mod certificate;
mod change;
mod convert;
mod generate;
mod hosts;
mod revocation;
mod show;
mod signature;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use konko::core::crypto::HashAlgorithm;

pub use ask::line;

use crate::streams;

/// Options of `konko keygen`. Those that several tasks have stand here, the others with their tasks.
#[derive(clap::Args, Debug)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub struct Args {
    /// Print this help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// The key file
    #[arg(short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The passphrase of what is written; empty for none
    #[arg(short = 'N', value_name = "PASSPHRASE")]
    new_passphrase: Option<OsString>,
    /// The comment
    #[arg(short = 'C', value_name = "COMMENT")]
    comment: Option<OsString>,
    /// The hash of fingerprints: sha256, or md5 to compare with what old devices show
    #[arg(short = 'E', value_name = "HASH", value_parser = hash, default_value = "sha256", hide_default_value = true)]
    hash: HashAlgorithm,
    /// The key of a certificate authority, or none for all of them; with -Y, the signature file
    #[arg(short = 's', value_name = "FILE")]
    with: Option<PathBuf>,
    /// What a signature is for, its namespace; the principals of a certificate
    #[arg(short = 'n', value_name = "NAMES")]
    names: Option<OsString>,
    /// The principal, or key id
    #[arg(short = 'I', value_name = "IDENTITY")]
    identity: Option<OsString>,
    /// A serial number, or the version of a key revocation list
    #[arg(short = 'z', value_name = "NUMBER")]
    number: Option<String>,
    /// Options of the task; for signatures hashalg=, verify-time= and print-pubkey; for certificates clear, permit-pty and
    /// so on, force-command=, source-address=, extension: and critical:
    #[arg(short = 'O', value_name = "OPTION")]
    options: Vec<String>,
    /// Sign with a key that the agent has, and with no other
    #[arg(short = 'U')]
    agent: bool,
    /// Say nothing
    #[arg(short)]
    quiet: bool,
    /// Say more; with -l, draw the key
    #[arg(short, action = clap::ArgAction::Count)]
    verbose: u8,
    /// A module with keys of a token; there is none but `none`
    #[arg(short = 'D', value_name = "MODULE")]
    module: Option<OsString>,
    #[command(flatten)]
    change: change::Flags,
    #[command(flatten)]
    convert: convert::Flags,
    #[command(flatten)]
    generate: generate::Flags,
    #[command(flatten)]
    show: show::Flags,
    #[command(flatten)]
    hosts: hosts::Flags,
    #[command(flatten)]
    revocation: revocation::Flags,
    #[command(flatten)]
    signature: signature::Flags,
    #[command(flatten)]
    certificate: certificate::Flags,
    /// What a task takes beside its flags
    #[arg(value_name = "WORD")]
    words: Vec<OsString>,
}

/// How a task ended, if not well.
#[derive(Debug)]
pub struct Failure {
    /// What a person is told, without the name of the program; empty where all has been said.
    text: String,
    code: u8,
}

impl Failure {
    /// What OpenSSH ends with 1 for.
    fn one(text: impl fmt::Display) -> Self {
        Failure { text: text.to_string(), code: 1 }
    }
}

/// What OpenSSH calls fatal, and ends with 255 for.
impl<T: fmt::Display> From<T> for Failure {
    fn from(text: T) -> Self {
        Failure { text: text.to_string(), code: 255 }
    }
}

/// Runs the command.
pub fn run(args: &Args) -> ExitCode {
    let module = args.module.as_deref().filter(|module| *module != "none");
    let done = match module {
        Some(module) => Err(Failure::from(format!(
            "-D {}: modules of tokens are not loaded; ssh-agent and gpg-agent offer a token's keys",
            module.display()
        ))),
        None => task(args)(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { text, code }) => {
            if !text.is_empty() {
                streams::say(&text);
            }
            ExitCode::from(code)
        }
    }
}

/// What the flags ask for; where they ask for several things, the first one here counts.
fn task(args: &Args) -> fn(&Args) -> Result<(), Failure> {
    match () {
        () if args.signature.task.is_some() => signature::run,
        () if args.revocation.make => revocation::make,
        () if args.revocation.query => revocation::query,
        () if args.hosts.find.is_some() => hosts::find,
        () if args.hosts.remove.is_some() => hosts::remove,
        () if args.hosts.hash_names => hosts::hash,
        () if args.signature.revoked.is_some() => unsupported,
        () if args.show.fingerprint => show::fingerprints,
        () if args.show.public => show::public,
        () if args.certificate.show => certificate::show,
        () if args.with.is_some() => certificate::sign,
        () if args.change.new_passphrase => change::passphrase,
        () if args.change.new_comment => change::comment,
        () if args.convert.export => convert::export,
        () if args.convert.import => convert::import,
        () => generate::run,
    }
}

/// Flags that mean something to another task only.
fn unsupported(_: &Args) -> Result<(), Failure> {
    Err(Failure::one("not supported yet: -r without -Y verify (names in DNS)"))
}

impl Args {
    /// Refuses words that the task does not take.
    fn no_words(&self) -> Result<(), Failure> {
        match &self.words[..] {
            [] => Ok(()),
            _ => Err(Failure::one("Too many arguments. (--help lists all options)")),
        }
    }

    /// Says something, unless it was asked not to.
    fn tell(&self, text: impl fmt::Display) {
        if !self.quiet {
            streams::line(format_args!("{text}"));
        }
    }
}

pub fn hash(name: &str) -> Result<HashAlgorithm, String> {
    match &name.to_ascii_lowercase()[..] {
        "md5" => Ok(HashAlgorithm::Md5),
        "sha1" => Ok(HashAlgorithm::Sha1),
        "sha256" => Ok(HashAlgorithm::Sha256),
        "sha384" => Ok(HashAlgorithm::Sha384),
        "sha512" => Ok(HashAlgorithm::Sha512),
        _ => Err("Invalid hash algorithm; there are md5, sha1, sha256, sha384 and sha512".into()),
    }
}
