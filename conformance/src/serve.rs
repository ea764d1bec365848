//! `konko serve` on loopback, with keys, users and a log of its own.

use crate::keys::{KINDS, KeyRing};
use crate::log::say;
use crate::peers::konko;
use crate::process::{Server, wait_until};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A user with this password, which stands in the server's file as it is.
pub const PLAIN: (&str, &str) = ("plain", "secret");

/// A user with this password, of which the server's file has an argon2 hash.
pub const HASHED: (&str, &str) = ("hashed", "secret");

/// Every algorithm that konko has.
pub const EVERYTHING: [&str; 5] =
    ["KexAlgorithms=*", "HostKeyAlgorithms=*", "Ciphers=*", "MACs=*", "PubkeyAcceptedAlgorithms=*"];

/// What `konko serve` runs with: a folder with host keys of all [`KINDS`], a password file with [`PLAIN`] and
/// [`HASHED`], and an authorized_keys file that lets in every `user_KIND` under any name.
#[derive(Debug)]
pub struct Setup {
    program: PathBuf,
    folder: TempDir,
    keys: KeyRing,
    options: Vec<String>,
    exec: &'static str,
    root: Option<PathBuf>,
}

impl Setup {
    /// With these `-o` options; of two with one key the first counts. Runs the built-in commands. `None`, and recorded
    /// as not run, when konko was not built.
    ///
    /// # Panics
    /// When there is no place for files.
    pub fn new(options: &[&str]) -> Option<Self> {
        let program = konko()?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let keys = KeyRing::shared();
        let lines: Vec<String> =
            KINDS.iter().map(|(kind, _)| keys.public_line(&format!("user_{kind}"))).collect();
        private(&folder.path().join("authorized_keys"), &(lines.join("\n") + "\n"));
        private(
            &folder.path().join("passwords"),
            &format!("{}:plain:{}\n{}:{HASH}\n", PLAIN.0, PLAIN.1, HASHED.0),
        );
        let options = options.iter().map(|o| (*o).to_owned()).collect();
        Some(Self { program, folder, keys, options, exec: "builtin", root: None })
    }

    /// Runs commands and shells of the system.
    #[must_use]
    pub fn shell(mut self) -> Self {
        self.exec = "shell";
        self
    }

    /// Serves this folder over SFTP.
    #[must_use]
    pub fn root(mut self, folder: &Path) -> Self {
        self.root = Some(folder.to_owned());
        self
    }

    /// The keys of the host and of the users it lets in.
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// The server's own folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The arguments of `konko` but for where it listens.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["serve".to_owned(), "-v".into(), "--exec".into(), self.exec.into()];
        let mut file = |option: &str, path: PathBuf| {
            arguments.extend([option.to_owned(), path.display().to_string()]);
        };
        for (kind, _) in KINDS {
            file("--host-key", self.keys.private(&format!("host_{kind}")));
            // Clients in Go, such as rclone, take a certificate where there is one, and then want its authority.
            if self.root.is_none() {
                file("--host-certificate", self.keys.certificate(&format!("host_{kind}")));
            }
        }
        file("--authorized-keys", self.folder.path().join("authorized_keys"));
        file("--password-file", self.folder.path().join("passwords"));
        if let Some(root) = &self.root {
            file("--root", root.clone());
        }
        // All come from one address, and many are meant to fail.
        let exempt = "PerSourcePenaltyExemptList=127.0.0.0/8".to_owned();
        for option in self.options.iter().chain([&exempt]) {
            arguments.extend(["-o".to_owned(), option.clone()]);
        }
        arguments
    }

    /// A command for a shell, as ProxyCommand wants it, that serves one connection on its standard input and output.
    /// It logs to the file `log` of [`folder`](Self::folder).
    pub fn proxy_command(&self) -> String {
        let quoted: Vec<String> = self.arguments().iter().map(|a| format!("'{a}'")).collect();
        let log = self.folder.path().join("log");
        format!("'{}' {} --inetd 2>>'{}'", self.program.display(), quoted.join(" "), log.display())
    }

    /// Starts it on a port of 127.0.0.1.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(self) -> Serve {
        let file = |name: &str| File::create(self.folder.path().join(name)).expect("the folder is writable");
        let child = Command::new(&self.program)
            .args(self.arguments())
            .args(["--listen", "127.0.0.1:0"])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("log"))
            .spawn()
            .expect("konko starts");
        let mut server = Server(child);
        let out = self.folder.path().join("out");
        let port = wait_until(Duration::from_secs(20), || {
            let text = fs::read_to_string(&out).unwrap_or_default();
            let port = text.strip_prefix("listening on 127.0.0.1:").and_then(|t| t.strip_suffix('\n'));
            match port.map(|p| p.parse().ok()) {
                Some(port) => Some(port),
                None => server.0.try_wait().ok().flatten().map(|_| None),
            }
        });
        let Some(Some(port)) = port else { panic!("konko serve does not start:\n{}", self.log()) };
        let serve = Serve { server, setup: self, port };
        serve.setup.trust(port);
        serve
    }

    /// Writes the known_hosts file that trusts this server's keys.
    fn trust(&self, port: u16) {
        let line = |kind| format!("[127.0.0.1]:{port} {}\n", self.keys.public_line(&format!("host_{kind}")));
        let text: String = KINDS.iter().map(|(kind, _)| line(kind)).collect();
        fs::write(self.folder.path().join("known_hosts"), text).expect("the folder is writable");
    }

    /// What has been logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join("log")).unwrap_or_default()).into_owned()
    }
}

/// The argon2 hash of the password of [`HASHED`], made with little memory so that tests are quick.
const HASH: &str = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$4mqQiyq0VpIzuZmp+8eSF3YJ7Av58TkEJ4LIdOVsAc4";

/// A file that only its owner can read: konko takes no other as a list of keys or passwords.
fn private(path: &Path, text: &str) {
    fs::write(path, text).expect("the folder is writable");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
}

/// A running server; ends when dropped, and prints the end of its log if the test fails.
#[derive(Debug)]
pub struct Serve {
    // The order matters: the server ends before its folder goes.
    server: Server,
    setup: Setup,
    /// On 127.0.0.1.
    pub port: u16,
}

impl Serve {
    /// Starts a server with the built-in commands; see [`Setup::new`] and [`Setup::start`].
    pub fn start(options: &[&str]) -> Option<Self> {
        Setup::new(options).map(Setup::start)
    }

    /// The keys of the host and of the users it lets in.
    pub fn keys(&self) -> &KeyRing {
        &self.setup.keys
    }

    /// The server's own folder.
    pub fn folder(&self) -> &Path {
        self.setup.folder()
    }

    /// The known_hosts file that trusts this server's keys.
    pub fn known_hosts(&self) -> PathBuf {
        self.folder().join("known_hosts")
    }

    /// The folder that it serves over SFTP.
    pub fn root(&self) -> Option<&Path> {
        self.setup.root.as_deref()
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.server.0.id()
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        self.setup.log()
    }

    /// What the server has logged of the connections on which `user` tried to log in.
    pub fn log_of(&self, user: &str) -> String {
        let log = self.log();
        let named = format!(" for \"{user}\"");
        // `konko serve: #7 127.0.0.1:40404 …`
        let id =
            |line: &str| line.split_whitespace().nth(2).filter(|w| w.starts_with('#')).map(str::to_owned);
        let ids: Vec<String> = log.lines().filter(|line| line.contains(&named)).filter_map(id).collect();
        let lines = log.lines().filter(|line| id(line).is_some_and(|id| ids.contains(&id)));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The same, when the server has noticed that the connection ended, so that nothing is missing.
    ///
    /// # Panics
    /// When it does not notice within 10 s.
    #[track_caller]
    pub fn whole_log_of(&self, user: &str) -> String {
        self.expect_log(user, "connection ended");
        self.log_of(user)
    }

    /// Waits until the log of `user` has `text`, which may come a little after the client ended.
    ///
    /// # Panics
    /// When it does not come within 10 s.
    #[track_caller]
    pub fn expect_log(&self, user: &str, text: &str) {
        let found = wait_until(Duration::from_secs(10), || self.log_of(user).contains(text).then_some(()));
        assert!(found.is_some(), "konko serve did not log \"{text}\" for {user}:\n{}", self.log_of(user));
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(60)..].join("\n");
            say(&format!("--- the end of the log of konko serve, port {}\n{tail}\n---", self.port));
        }
    }
}
