//! `konko add`: ssh-add(1).

mod destination;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use konko::core::agent::Constraints;
use konko::core::client::Password;
use konko::core::crypto::HashAlgorithm;
use konko::core::keys::{Certificate, KeyError, MAX_FILE, PrivateKey, PublicKey, signature};
use konko::core::provider;
use konko::core::wire::{Reader, SshStr};
use konko::{Agent, AgentFailure, AgentSocket, key_file};
use zeroize::Zeroizing;

use crate::streams::{self, line, say};
use crate::terminal;

/// Options of `konko add`.
#[derive(clap::Args, Debug)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub struct Args {
    /// Print this help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Show the fingerprints of the agent's keys
    #[arg(short = 'l')]
    list: bool,
    /// Show the agent's keys
    #[arg(short = 'L')]
    list_keys: bool,
    /// Remove keys from the agent
    #[arg(short = 'd')]
    delete: bool,
    /// Remove all keys
    #[arg(short = 'D')]
    delete_all: bool,
    /// Lock the agent
    #[arg(short = 'x')]
    lock: bool,
    /// Unlock the agent
    #[arg(short = 'X')]
    unlock: bool,
    /// Show what the agent can
    #[arg(short = 'Q')]
    query: bool,
    /// See whether the agent has the private keys of these public ones
    #[arg(short = 'T')]
    test: bool,
    /// How long the agent keeps the keys, such as 1h30m
    #[arg(short = 't', value_name = "LIFE", value_parser = crate::agent::lifetime)]
    lifetime: Option<u32>,
    /// The agent asks before each use
    #[arg(short = 'c')]
    confirm: bool,
    /// Where the keys may be used: [USER@]HOST, or HOST>[USER@]HOST; any number of times
    #[arg(short = 'h', value_name = "DESTINATION")]
    destinations: Vec<OsString>,
    /// Known hosts, for -h; any number of times
    #[arg(short = 'H', value_name = "FILE")]
    host_files: Vec<PathBuf>,
    /// Keys alone, without their certificates
    #[arg(short = 'k')]
    keys_only: bool,
    /// Certificates alone
    #[arg(short = 'C')]
    certificates_only: bool,
    /// Leave the lifetime of certificates be
    #[arg(short = 'N')]
    no_certificate_lifetime: bool,
    /// The module of a token, whose keys are added
    #[arg(short = 's', value_name = "MODULE")]
    token: Option<OsString>,
    /// The module of a token, whose keys are removed
    #[arg(short = 'e', value_name = "MODULE")]
    remove_token: Option<OsString>,
    /// The hash of fingerprints: sha256 or md5
    #[arg(short = 'E', value_name = "HASH", value_parser = crate::keygen::hash, default_value = "sha256")]
    hash: HashAlgorithm,
    /// Say nothing when all is well
    #[arg(short)]
    quiet: bool,
    /// Say more
    #[arg(short, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Key files; the usual ones if there are none, standard input for -
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// What goes wrong, for a person; empty where all has been said.
type Done<T = ()> = Result<T, String>;

/// Runs the command.
pub fn run(args: &Args) -> ExitCode {
    let tasks = [args.list, args.list_keys, args.lock, args.unlock, args.delete_all, args.query];
    if tasks.iter().filter(|task| **task).count() > 1 {
        say("Invalid combination of actions");
        return ExitCode::from(255);
    }
    let agent = AgentSocket::from_env().map(|socket| Agent::connect(&socket));
    let mut agent = match agent {
        Some(Ok(agent)) => agent,
        Some(Err(e)) => {
            say(&format!("Error connecting to agent: {}", reason(&e)));
            return ExitCode::from(2);
        }
        None => {
            say("Could not open a connection to your authentication agent.");
            return ExitCode::from(2);
        }
    };
    match args.task(&mut agent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            if !why.is_empty() {
                say(&why);
            }
            ExitCode::FAILURE
        }
    }
}

impl Args {
    fn task(&self, agent: &mut Agent) -> Done {
        if self.lock || self.unlock {
            return self.lock(agent);
        }
        if self.list || self.list_keys {
            return self.list(agent);
        }
        if self.delete_all {
            agent.remove_all().map_err(|_| "Failed to remove all identities.".to_owned())?;
            self.tell("All identities removed.");
            return Ok(());
        }
        if self.query {
            let names =
                agent.extensions().map_err(|e| format!("unable to query supported extensions: {e}"))?;
            names.iter().for_each(|name| line(format_args!("{}", SshStr::new(name))));
            return Ok(());
        }
        if self.test {
            return self.each(&self.files, |path| test(agent, path));
        }
        let constraints = self.constraints()?;
        if let Some(module) = self.token.as_ref().or(self.remove_token.as_ref()) {
            return self.token(agent, module, &constraints);
        }
        if !self.files.is_empty() {
            return self.each(&self.files, |path| self.one(agent, path, &constraints));
        }
        let home = std::env::home_dir().ok_or("there is no home directory")?;
        let usual = ["id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"];
        let mut files: Vec<PathBuf> = usual.iter().map(|name| home.join(".ssh").join(name)).collect();
        files.retain(|path| path.exists());
        if files.is_empty() {
            return Err(String::new());
        }
        self.each(&files, |path| self.one(agent, path, &constraints))
    }

    fn tell(&self, text: impl Display) {
        if !self.quiet {
            say(&text.to_string());
        }
    }

    /// All of them, also after one that failed.
    fn each(&self, files: &[PathBuf], mut one: impl FnMut(&Path) -> Done) -> Done {
        let mut done = Ok(());
        for path in files {
            if let Err(why) = one(path) {
                if !why.is_empty() {
                    say(&why);
                }
                done = Err(String::new());
            }
        }
        done
    }

    fn one(&self, agent: &mut Agent, path: &Path, constraints: &Constraints) -> Done {
        if self.delete { self.remove(agent, path) } else { self.add(agent, path, constraints) }
    }

    fn constraints(&self) -> Done<Constraints> {
        let mut constraints = Constraints::new();
        if let Some(seconds) = self.lifetime.filter(|seconds| *seconds > 0) {
            constraints = constraints.lifetime(seconds);
        }
        if self.confirm {
            constraints = constraints.confirm();
        }
        let known = destination::Known::read(&self.host_files);
        let way = |text: &OsString| known.destination(text.as_bytes());
        let ways = self.destinations.iter().map(way).collect::<Done<Vec<_>>>()?;
        Ok(constraints.destinations(ways))
    }

    fn lock(&self, agent: &mut Agent) -> Done {
        let ask = |prompt| terminal::ask(prompt, false).unwrap_or_else(|| Password::new(""));
        let words = ask("Enter lock password: ");
        if self.lock && ask("Again: ").expose() != words.expose() {
            return Err("Passwords do not match.".into());
        }
        let (done, what) = match self.lock {
            true => (agent.lock(words.expose()), "lock"),
            false => (agent.unlock(words.expose()), "unlock"),
        };
        done.map_err(|e| format!("Failed to {what} agent: {e}"))?;
        say(&format!("Agent {what}ed."));
        Ok(())
    }

    fn list(&self, agent: &mut Agent) -> Done {
        let list = agent.identities().map_err(|e| format!("error fetching identities: {e}"))?;
        if list.is_empty() {
            line(format_args!("The agent has no identities."));
            return Err(String::new());
        }
        for identity in list {
            let comment = SshStr::new(&identity.comment);
            match identity.key {
                Some(key) if self.list_keys => {
                    line(format_args!("{} {comment}", key.to_openssh_line("")));
                }
                Some(key) => {
                    let kind = key.key_type().short_name();
                    let fingerprint = key.fingerprint(self.hash);
                    line(format_args!("{} {fingerprint} {comment} ({kind})", key.bits()));
                }
                None => {
                    let kind = Reader::new(&identity.blob).string().unwrap_or_default();
                    let kind = SshStr::new(kind).excerpt(64);
                    say(&format!("a key of type {kind}, which is not known here ({comment})"));
                }
            }
        }
        Ok(())
    }

    fn add(&self, agent: &mut Agent, path: &Path, constraints: &Constraints) -> Done {
        let (name, bytes) = read(path)?;
        let failed = |e: KeyError| format!("Error loading key \"{name}\": {e}");
        let key = match PrivateKey::load(&bytes, None) {
            Err(KeyError::Encrypted) => self.unlock_key(&name, &bytes)?,
            loaded => loaded.map_err(failed)?,
        };
        let comment = match key.comment().as_bytes() {
            b"" => name.clone().into_bytes(),
            comment => comment.to_vec(),
        };
        let could_not = |e: AgentFailure| format!("Could not add identity \"{name}\": {e}");
        if !self.certificates_only {
            agent.add(&key, &comment, constraints).map_err(could_not)?;
            self.tell(format_args!("Identity added: {name} ({})", SshStr::new(&comment)));
            self.tell_constraints();
        }
        if !self.keys_only {
            self.add_certificate(agent, path, &key, &comment, constraints)?;
        }
        Ok(())
    }

    /// Adds the certificate beside a key file, where there is one.
    fn add_certificate(
        &self,
        agent: &mut Agent,
        path: &Path,
        key: &PrivateKey,
        comment: &[u8],
        constraints: &Constraints,
    ) -> Done {
        let Some((name, certificate)) = certificate(path)? else { return Ok(()) };
        if certificate.key() != key.public() {
            return Err(format!("Certificate {name} does not match private key {}", path.display()));
        }
        let added = agent.add_certified(key, &certificate, comment, constraints);
        added.map_err(|e| format!("Certificate {name} ({}) add failed: {e}", certificate.key_id()))?;
        self.tell(format_args!("Certificate added: {name} ({})", certificate.key_id()));
        self.tell_constraints();
        Ok(())
    }

    fn tell_constraints(&self) {
        if let Some(seconds) = self.lifetime.filter(|seconds| *seconds > 0) {
            self.tell(format_args!("Lifetime set to {seconds} seconds"));
        }
        if self.confirm {
            self.tell("The user must confirm each use of the key");
        }
    }

    /// Asks for the passphrase until it is right; nothing gives up.
    fn unlock_key(&self, name: &str, bytes: &[u8]) -> Done<PrivateKey> {
        let confirm = if self.confirm { " (will confirm each use)" } else { "" };
        let mut question = format!("Enter passphrase for {name}{confirm}: ");
        loop {
            let typed = terminal::ask(&question, false).filter(|typed| !typed.expose().is_empty());
            let Some(passphrase) = typed else { return Err(String::new()) };
            match PrivateKey::load(bytes, Some(passphrase.expose())) {
                Err(KeyError::WrongPassphrase) => {
                    question = format!("Bad passphrase, try again for {name}{confirm}: ");
                }
                loaded => return loaded.map_err(|e| format!("Error loading key \"{name}\": {e}")),
            }
        }
    }

    fn remove(&self, agent: &mut Agent, path: &Path) -> Done {
        if path == Path::new("-") {
            return self.remove_listed(agent);
        }
        let (key, comment) = public(path)?;
        if !self.certificates_only {
            self.remove_one(agent, &key, &comment, &path.display().to_string())?;
        }
        match certificate(path)? {
            Some((name, certificate)) if !self.keys_only => {
                self.remove_one(agent, certificate.public(), &comment, &name)
            }
            _ => Ok(()),
        }
    }

    fn remove_one(&self, agent: &mut Agent, key: &PublicKey, comment: &[u8], name: &str) -> Done {
        agent.remove(&key.to_blob()).map_err(|e| format!("Could not remove identity \"{name}\": {e}"))?;
        let comment = if comment.is_empty() { b"no comment" } else { comment };
        let kind = key.key_type().short_name();
        self.tell(format_args!("Identity removed: {name} {kind} ({})", SshStr::new(comment)));
        Ok(())
    }

    /// The public keys on standard input.
    fn remove_listed(&self, agent: &mut Agent) -> Done {
        let (_, bytes) = read(Path::new("-"))?;
        let mut done = Err(String::new());
        for (text, number) in bytes.split(|b| *b == b'\n').zip(1..) {
            let text = text.trim_ascii();
            if text.is_empty() || text.starts_with(b"#") {
                continue;
            }
            let removed = match public_line(text) {
                Ok((key, comment)) => self.remove_one(agent, &key, &comment, "(stdin)"),
                Err(e) => Err(format!("(stdin):{number}: invalid key: {e}")),
            };
            match removed {
                Ok(()) => done = Ok(()),
                Err(why) => say(&why),
            }
        }
        done
    }

    fn token(&self, agent: &mut Agent, module: &OsString, constraints: &Constraints) -> Done {
        let name = module.display();
        if self.remove_token.is_some() {
            let failed = |e| format!("Could not remove card \"{name}\": {e}");
            agent.remove_token(module.as_bytes()).map_err(failed)?;
            self.tell(format_args!("Card removed: {name}"));
            return Ok(());
        }
        let pin = terminal::ask("Enter passphrase for PKCS#11: ", false).ok_or("")?;
        let failed = |e| format!("Could not add card \"{name}\": {e}");
        agent.add_token(module.as_bytes(), pin.expose(), constraints).map_err(failed)?;
        self.tell(format_args!("Card added: {name}"));
        Ok(())
    }
}

/// What the system says, without the number.
fn reason(e: &std::io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// What a file is called, and what stands in it. One that others can read is not read.
fn read(path: &Path) -> Done<(String, Zeroizing<Vec<u8>>)> {
    if path == Path::new("-") {
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE + 1));
        let read = streams::stdin().and_then(|stdin| stdin.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes));
        return read.map(|_| ("(stdin)".into(), bytes)).map_err(|e| format!("(stdin): {}", reason(&e)));
    }
    let name = path.display().to_string();
    let failed = |e: std::io::Error| format!("{name}: {}", reason(&e));
    let meta = path.metadata().map_err(failed)?;
    let mode = meta.mode() & 0o777;
    if meta.uid() == rustix::process::getuid().as_raw() && mode & 0o077 != 0 {
        return Err(format!(
            "Permissions {mode:04o} for '{name}' are too open.\nIt is required that your private key files are NOT \
             accessible by others.\nThis private key will be ignored."
        ));
    }
    let bytes = key_file::read(path).map_err(failed)?;
    Ok((name, bytes))
}

/// The certificate beside a key file, and its name; `None` where there is none.
fn certificate(path: &Path) -> Done<Option<(String, Certificate)>> {
    let path = key_file::certificate_path(path);
    let name = path.display().to_string();
    let Ok(bytes) = key_file::read(&path) else { return Ok(None) };
    let read = Certificate::from_openssh_line(&bytes).map(|(certificate, _)| certificate);
    read.map(|certificate| Some((name.clone(), certificate)))
        .map_err(|e| format!("Failed to load certificate \"{name}\": {e}"))
}

/// The line of a public key or a certificate, and its comment.
fn public_line(line: &[u8]) -> Result<(PublicKey, Vec<u8>), KeyError> {
    match PublicKey::from_openssh_line(line) {
        Err(KeyError::CertificateGiven) => {
            let (certificate, comment) = Certificate::from_openssh_line(line)?;
            Ok((certificate.public().clone(), comment.as_bytes().to_vec()))
        }
        key => key.map(|(key, comment)| (key, comment.as_bytes().to_vec())),
    }
}

/// The public half of a key file, or what stands in a `.pub` file, or in the one beside.
fn public(path: &Path) -> Done<(PublicKey, Vec<u8>)> {
    let line = |bytes: &[u8]| public_line(bytes.trim_ascii()).ok();
    let name = path.display();
    let bytes = key_file::read(path).map_err(|e| format!("Bad key file {name}: {}", reason(&e)))?;
    let beside = || key_file::read(key_file::public_path(path)).ok().and_then(|bytes| line(&bytes));
    let of_private = || PrivateKey::public_of(&bytes).ok().map(|key| (key, Vec::new()));
    line(&bytes)
        .or_else(beside)
        .or_else(of_private)
        .ok_or_else(|| format!("Bad key file {name}: invalid format"))
}

/// Whether the agent signs with a key as its public half verifies.
fn test(agent: &mut Agent, path: &Path) -> Done {
    let name = path.display();
    let (key, _) = public(path).map_err(|e| format!("Couldn't read public key {name}: {e}"))?;
    let seed = konko::seed_from_os().map_err(|e| e.to_string())?;
    let data: [u8; 1024] = konko::Rng::from_seed(&seed).array();
    let Some(algorithm) = key.signature_algorithms().first().copied() else {
        return Err(format!("Agent signature failed for {name}: no algorithm for such keys"));
    };
    let blob = agent
        .sign(&key.to_blob(), algorithm, &data)
        .map_err(|e| format!("Agent signature failed for {name}: {e}"))?;
    signature::verify(provider::best(), &key, algorithm, &data, &blob)
        .map_err(|_| format!("Signature verification failed for {name}: incorrect signature"))
}
