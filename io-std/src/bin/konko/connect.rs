//! Connecting and logging in, for all commands that do.

use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use konko::core::client::Password;
use konko::core::crypto::Compression;
use konko::core::error::Fault;
use konko::core::keys::PublicKey;
use konko::core::transport::Keepalive;
use konko::core::transport::limits::Limits;
use konko::core::wire::SshStr;
use konko::{
    AddressFamily, AgentSocket, Answer, Auth, Client, ClientOptions, Error, ErrorKind, HostKeys,
    KnownHostsFiles, Notice, PasswordPrompt, Questions, UnknownHost,
};

use crate::settings::{Settings, Strict};
use crate::streams::say;
use crate::terminal;
use crate::values::expand;

/// Where to, as whom, and how.
pub struct Login {
    pub user: Vec<u8>,
    pub host: String,
    pub port: u16,
    pub settings: Settings,
    pub verbosity: i8,
    pub batch: bool,
    pub family: AddressFamily,
}

impl Login {
    /// For `host`, with what the settings say; `verbosity` counts each `-v`.
    pub fn new(mut settings: Settings, host: String, quiet: bool, verbose: u8) -> Result<Self, String> {
        // A flag counts before LogLevel.
        let level = settings.log_level.filter(|_| verbose == 0).unwrap_or(0);
        let loud = level.saturating_add(verbose.min(3) as i8);
        let user = settings.user.clone().map_or_else(local_user, Ok)?;
        settings.expand(&host, &user)?;
        Ok(Login {
            user: settings.user.clone().unwrap_or(user),
            host: settings.hostname.clone().unwrap_or(host),
            port: settings.port.unwrap_or(22),
            verbosity: if quiet { -3 } else { loud },
            batch: settings.batch == Some(true),
            family: settings.family.unwrap_or_default(),
            settings,
        })
    }

    /// Connects, checks the host key, and logs in.
    pub fn connect(&self) -> Result<Client, String> {
        let changed = Arc::new(AtomicBool::new(false));
        let options = self.options(Arc::clone(&changed))?;
        let text = |e: Error| format!("{e}{}", way_out(&e));
        let mut left = self.settings.attempts.unwrap_or(1);
        let client = loop {
            left = left.saturating_sub(1);
            match Client::connect((&self.host, self.port), options.clone()) {
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
            .address_family(self.family)
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
                let limits = Limits::new().ident_timeout(t).kex_timeout(t);
                options = options.limits(limits);
            }
        }
        if let Some(bits) = s.rsa_size {
            options = options.required_rsa_size(bits);
        }
        if s.terrapin == Some(true) {
            options = options.insecure_allow_terrapin();
        }
        if s.alive_interval.is_some() || s.alive_count.is_some() {
            let default = Keepalive::default();
            let interval = s.alive_interval.unwrap_or(Some(default.interval));
            let count = s.alive_count.unwrap_or(default.count);
            options =
                options.keepalive(interval.map(|interval| Keepalive::new().interval(interval).count(count)));
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
            // Without anybody to ask, the error says what can be done.
            Strict::Ask if self.batch || !terminal::can_ask() => files,
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
                "publickey" if s.publickey != Some(false) => self.keys(auth),
                "keyboard-interactive" if person && s.interactive != Some(false) => {
                    auth.interactive(prompts, |q| self.answer(q))
                }
                "password" if person && s.password != Some(false) => {
                    auth.passwords(prompts, |prompt| self.ask(prompt))
                }
                _ => auth,
            };
        }
        auth
    }

    /// The agent, then the key files (OpenSSH sshconnect2.c `pubkey_prepare`).
    fn keys<'s>(&'s self, mut auth: Auth<'s>) -> Auth<'s> {
        let named = self.settings.identity_agent.as_ref().map(|agent| agent.as_os_str());
        if let Some(agent) = AgentSocket::named(named) {
            auth = auth.agent(agent);
        }
        if self.settings.identities_only == Some(true) {
            auth = auth.identities_only();
        }
        let files = self.identities().into_iter();
        files.fold(auth, |auth, path| auth.key_file_with(path, |prompt| self.ask(prompt)))
    }

    fn identities(&self) -> Vec<PathBuf> {
        let mut files = self.settings.identities.clone();
        if files.is_empty() {
            let default = ["~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"];
            files.extend(default.iter().map(expand).filter(|path| path.exists()));
        }
        files.into_iter().map(private_of).filter(|path| self.is_private(path)).collect()
    }

    /// What would be used, a setting a line, as `ssh -G` prints it.
    pub fn summary(&self) -> String {
        let s = &self.settings;
        let yes_no = |yes: bool| if yes { "yes" } else { "no" };
        let mut lines = vec![
            format!("host {}", self.host),
            format!("user {}", SshStr::new(&self.user)),
            format!("hostname {}", self.host),
            format!("port {}", self.port),
            format!("batchmode {}", yes_no(self.batch)),
            format!("compression {}", yes_no(s.compression == Some(true))),
            format!("identitiesonly {}", yes_no(s.identities_only == Some(true))),
            format!("passwordauthentication {}", yes_no(s.password != Some(false))),
            format!("pubkeyauthentication {}", yes_no(s.publickey != Some(false))),
            format!("kbdinteractiveauthentication {}", yes_no(s.interactive != Some(false))),
            format!("connectionattempts {}", s.attempts.unwrap_or(1)),
        ];
        let family = match self.family {
            AddressFamily::Inet => "inet",
            AddressFamily::Inet6 => "inet6",
            _ => "any",
        };
        lines.push(format!("addressfamily {family}"));
        lines.extend(s.identities.iter().map(|file| format!("identityfile {}", file.display())));
        lines.extend(
            s.user_files.iter().flatten().map(|file| format!("userknownhostsfile {}", file.display())),
        );
        lines.extend(s.send_env.iter().map(|name| format!("sendenv {}", SshStr::new(name))));
        let set = s.set_env.iter().flatten();
        lines.extend(set.map(|(name, value)| format!("setenv {}={}", SshStr::new(name), SshStr::new(value))));
        lines.join("\n")
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

fn local_user() -> Result<Vec<u8>, String> {
    let name = ["USER", "LOGNAME"].iter().find_map(std::env::var_os).filter(|n| !n.is_empty());
    if name.is_none() && rustix::process::geteuid().is_root() {
        return Ok(b"root".to_vec());
    }
    name.map(OsStringExt::into_vec).ok_or_else(|| "the user name is not known; give it with -l".into())
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
