//! Connecting and logging in, for all commands that do.

use std::ffi::OsString;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use konko::core::client::Password;
use konko::core::error::Fault;
use konko::core::keys::PublicKey;
use konko::core::wire::SshStr;
use konko::ssh_config::{self, Config};
use konko::{
    Answer, Auth, Client, ClientOptions, Error, ErrorKind, FdStream, Notice, PasswordPrompt, Questions,
    UnknownHost,
};

use crate::obeyed;
use crate::streams::say;
use crate::terminal;

/// Where to, as whom, and how.
pub struct Login {
    pub user: Vec<u8>,
    pub host: String,
    pub port: u16,
    pub config: Config,
    pub verbosity: i8,
    pub batch: bool,
}

impl Login {
    /// As a configuration has it. What it asks for in vain is said.
    ///
    /// # Errors
    /// A text, where to go on would be something else than what it asks for.
    pub fn new(config: Config) -> Result<Self, String> {
        let verbosity = level(config.words("LogLevel").first().map_or(&b""[..], Vec::as_slice));
        let said = obeyed::judge(&config);
        if !said.refused.is_empty() {
            return Err(said.refused.join("\n"));
        }
        if verbosity > -1 {
            said.warnings.iter().for_each(|text| say(&format!("konko: warning: {text}")));
        }
        if verbosity > 0 {
            obeyed::origins(&config).iter().for_each(|text| say(&format!("konko: configuration: {text}")));
            said.notes.iter().for_each(|text| say(&format!("konko: {text}")));
        }
        let host = String::from_utf8(config.host_name().to_vec());
        Ok(Login {
            user: config.user().to_vec(),
            host: host.map_err(|_| "the host's name is not text")?,
            port: config.port(),
            verbosity,
            batch: config.flag("BatchMode"),
            config,
        })
    }

    /// Connects, checks the host key, and logs in.
    pub fn connect(&self) -> Result<Client, String> {
        let changed = Arc::new(AtomicBool::new(false));
        let options = self.options(Arc::clone(&changed))?;
        let text = |e: Error| format!("{e}{}", way_out(&e));
        let proxy = self.config.command("ProxyCommand").map_err(|e| format!("ProxyCommand: {e}"))?;
        let mut left = self.config.number("ConnectionAttempts").unwrap_or(1);
        let client = loop {
            left = left.saturating_sub(1);
            let connected = match &proxy {
                Some(command) => {
                    let stream = through(command).map_err(|e| format!("ProxyCommand: {e}"))?;
                    Client::over(stream, &self.host, self.port, options.clone())
                }
                None => Client::connect((&self.host, self.port), options.clone()),
            };
            match connected {
                // A second between two attempts (ssh_config(5), ConnectionAttempts).
                Err(e) if left > 0 && matches!(e.kind(), ErrorKind::Connect(_)) => {
                    std::thread::sleep(std::time::Duration::from_secs(1));
                }
                connected => break connected.map_err(text)?,
            }
        };
        // Nobody should give a password to a host that may be another one.
        let auth = self.auth(changed.load(Ordering::Relaxed));
        client.login(&self.user, auth).map_err(text)?;
        Ok(client)
    }

    fn options(&self, changed: Arc<AtomicBool>) -> Result<ClientOptions, String> {
        let verbosity = self.verbosity;
        let options = ssh_config::client_options(&self.config)?
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
        let ask = self.config.words("StrictHostKeyChecking") == [b"ask"];
        // Without anybody to ask, the error says what can be done.
        if !ask || self.batch || !terminal::can_ask() {
            return Ok(options);
        }
        Ok(options.host_keys(ssh_config::known_hosts(&self.config)?.prompt(confirm)))
    }

    fn auth(&self, host_key_changed: bool) -> Auth<'_> {
        let config = &self.config;
        let preferred = config.words("PreferredAuthentications").first();
        let preferred = preferred.map_or(&b"publickey,keyboard-interactive,password"[..], Vec::as_slice);
        let prompts = config.number("NumberOfPasswordPrompts").and_then(|n| n.try_into().ok()).unwrap_or(3);
        // First nothing at all, as OpenSSH does: the answer tells what the server wants.
        let mut auth = Auth::new().none();
        for method in preferred.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            let person = !self.batch && !host_key_changed && prompts > 0;
            auth = match method {
                b"publickey" if config.words("PubkeyAuthentication") != [b"false"] => self.keys(auth),
                b"keyboard-interactive" if person && config.flag("KbdInteractiveAuthentication") => {
                    auth.interactive(prompts, |q| self.answer(q))
                }
                b"password" if person && config.flag("PasswordAuthentication") => {
                    auth.passwords(prompts, |prompt| self.ask(prompt))
                }
                _ => auth,
            };
        }
        auth
    }

    fn keys<'s>(&'s self, auth: Auth<'s>) -> Auth<'s> {
        let warn = |text: &str| {
            if self.verbosity > -3 {
                say(&format!("konko: {text}"));
            }
        };
        ssh_config::keys(&self.config, auth, self.identities(), |prompt| self.ask(prompt), warn)
    }

    fn identities(&self) -> Vec<PathBuf> {
        let said = self.config.is_said("IdentityFile");
        let files = ssh_config::identity_files(&self.config).unwrap_or_else(|e| {
            say(&format!("konko: IdentityFile: {e}"));
            Vec::new()
        });
        // Those that are tried by default need not be there.
        let files = files.into_iter().filter(|path| said || path.exists());
        files.map(private_of).filter(|path| self.is_private(path)).collect()
    }

    /// A key of ours that others can read is not used, as with OpenSSH.
    fn is_private(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        if is_public(path) {
            return true;
        }
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

    fn ask(&self, prompt: PasswordPrompt<'_>) -> Option<Password> {
        if self.batch {
            return None;
        }
        let Login { host, .. } = self;
        let user = SshStr::new(&self.user);
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
                let why = if text.is_empty() { String::new() } else { format!("{}\n", text.trim_end()) };
                let new = terminal::ask(&format!("{why}Enter {user}@{host}'s new password: "), false)?;
                let same = terminal::ask(&format!("Retype {user}@{host}'s new password: "), false)?;
                if new.expose() == same.expose() {
                    break Some(new);
                }
                say("Mismatch; try again.");
            },
            _ => None,
        }
    }

    fn answer(&self, questions: &Questions) -> Option<Vec<Password>> {
        for text in [&questions.name, &questions.instruction] {
            if !text.is_empty() {
                say(SshStr::new(text.as_bytes()).escaped(true).to_string().trim_end());
            }
        }
        let Login { host, .. } = self;
        let user = SshStr::new(&self.user);
        let ask = |q: &konko::Prompt| {
            let prompt = SshStr::new(q.prompt.as_bytes()).escaped(true);
            terminal::ask(&format!("({user}@{host}) {prompt}"), q.echo)
        };
        questions.questions.iter().map(ask).collect()
    }
}

/// Whether it is a public key, which stands for the private one that an agent has.
fn is_public(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(16 << 10).read_to_end(&mut start));
    read.is_ok() && PublicKey::from_openssh_line(start.trim_ascii()).is_ok()
}

/// For a public key, the private key beside it, if there is one.
fn private_of(path: PathBuf) -> PathBuf {
    let private = path.with_extension("");
    let named = path.extension().is_some_and(|extension| extension == "pub");
    if named && private.exists() && is_public(&path) { private } else { path }
}

/// The option that allows what was refused, for those who have no other way to reach an old device.
fn way_out(error: &Error) -> &'static str {
    let ErrorKind::Ssh(konko::core::Error::Peer(e)) = error.kind() else { return "" };
    match e.fault() {
        Fault::WeakHostKey => {
            "\nIf the device cannot have a better key, -o RequiredRSASize=1024 takes it; \
             somebody with means may be able to imitate it."
        }
        Fault::PrefixTruncation => {
            "\nIf the server has nothing else, -o AllowTerrapin=yes goes on nevertheless."
        }
        _ => "",
    }
}

/// A connection through what a shell runs.
fn through(command: &[u8]) -> std::io::Result<FdStream> {
    let shell =
        std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into());
    let (here, there) = UnixStream::pair()?;
    let script = OsString::from_vec([b"exec ", command].concat());
    let (input, output) = (OwnedFd::from(there.try_clone()?), OwnedFd::from(there));
    // It ends when nobody is on the other side any more, and is nobody's to wait for.
    Command::new(shell).arg("-c").arg(script).stdin(input).stdout(output).spawn()?;
    FdStream::try_from(here)
}

/// Verbosity: 0 is INFO, each DEBUG one more, what is quieter is below.
fn level(name: &[u8]) -> i8 {
    match name {
        b"SILENT" => -3,
        b"FATAL" => -2,
        b"ERROR" => -1,
        b"VERBOSE" | b"DEBUG" => 1,
        b"DEBUG2" => 2,
        b"DEBUG3" => 3,
        _ => 0,
    }
}

/// Asks about a host that is not known.
fn confirm(host: &UnknownHost) -> Answer {
    let name = SshStr::new(host.name().as_bytes());
    let fingerprint = host.fingerprint();
    let mut text = format!(
        "The authenticity of host '{name}' can't be established.\n{} key fingerprint is {fingerprint}.\n",
        host.key().key_type()
    );
    for known in host.other() {
        text += &format!(
            "WARNING: another key is known for this host: {} at {}\n",
            SshStr::new(known.key_type.as_bytes()),
            known.at
        );
    }
    for at in &host.hints().unreadable {
        text += &format!("WARNING: a key for this host may stand at {at}, in a line that is damaged\n");
    }
    for at in host.elsewhere() {
        text += &format!("This key is known for another name at {at}\n");
    }
    text += "Are you sure you want to continue connecting (yes/no/[fingerprint])? ";
    loop {
        let Some(answer) = terminal::ask(&text, true) else { return Answer::Reject };
        match answer.expose().trim_ascii() {
            b"yes" => return Answer::Remember,
            b"no" => return Answer::Reject,
            answer if answer == fingerprint.to_string().as_bytes() => return Answer::Remember,
            _ => text = "Please type 'yes', 'no' or the fingerprint: ".into(),
        }
    }
}
