//! OpenSSH's server on loopback, with a configuration, keys and log of its own.

use crate::keys::{KINDS, KeyRing, user};
use crate::log::say;
use crate::peers::OpenSsh;
use crate::process::{Server, wait_until};
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A running server; ends when dropped, and prints its log if the test fails.
#[derive(Debug)]
pub struct Sshd {
    // The order matters: the server ends before its folder goes.
    _server: Server,
    folder: TempDir,
    /// On 127.0.0.1.
    pub port: u16,
    /// The keys of the host and of the users it lets in.
    pub keys: KeyRing,
}

impl Sshd {
    /// Starts a server with every algorithm it knows switched on, all host keys, and `extra` lines of configuration,
    /// which come first and so win.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(openssh: &OpenSsh, extra: &[&str]) -> Self {
        let kinds: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
        Self::with_host_keys(openssh, &kinds, extra)
    }

    /// The same with host keys of these kinds only, see [`KINDS`].
    ///
    /// # Panics
    /// When it does not start.
    pub fn with_host_keys(openssh: &OpenSsh, kinds: &[&str], extra: &[&str]) -> Self {
        Self::start_in(openssh, kinds, extra, None)
    }

    /// The same with every host key, and with `home` in the place of root's home, for the server and its sessions alone.
    /// `None` for anybody but root.
    ///
    /// # Panics
    /// When it does not start.
    pub fn with_home(openssh: &OpenSsh, extra: &[&str], home: &Path) -> Option<Self> {
        let kinds: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
        let root = nix::unistd::geteuid().is_root();
        root.then(|| Self::start_in(openssh, &kinds, extra, Some(home)))
    }

    fn start_in(openssh: &OpenSsh, kinds: &[&str], extra: &[&str], home: Option<&Path>) -> Self {
        let keys = KeyRing::shared();
        if nix::unistd::geteuid().is_root() {
            // The server insists on it; a system that starts it as a service makes it at boot.
            fs::create_dir_all("/run/sshd").expect("root can make /run/sshd");
        }
        // A free port may be taken by another test before the server listens on it.
        let mut log = String::new();
        for _ in 0..5 {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let port = free_port();
            fs::write(
                folder.path().join("config"),
                config(openssh, &keys, kinds, extra, folder.path(), port),
            )
            .expect("the folder is writable");
            authorize(&keys, folder.path());
            match launch(openssh, folder.path(), home) {
                Ok(server) => {
                    let sshd = Self { _server: server, folder, port, keys };
                    sshd.trust(kinds);
                    return sshd;
                }
                Err(said) => log = said,
            }
        }
        panic!("sshd does not start:\n{log}");
    }

    /// A file of this name in the server's own folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The known_hosts file that trusts this server's keys and its certificate authority.
    pub fn known_hosts(&self) -> PathBuf {
        self.file("known_hosts")
    }

    /// How this server is named in known_hosts.
    pub fn host_pattern(&self) -> String {
        format!("[127.0.0.1]:{}", self.port)
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.file("log")).unwrap_or_default()).into_owned()
    }

    fn trust(&self, kinds: &[&str]) {
        let host = self.host_pattern();
        let mut text = format!("@cert-authority {host} {}\n", self.keys.public_line("ca"));
        for kind in kinds {
            text += &format!("{host} {}\n", self.keys.public_line(&format!("host_{kind}")));
        }
        fs::write(self.known_hosts(), text).expect("the folder is writable");
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            say(&format!("--- the end of the log of sshd, port {}\n{}\n---", self.port, tail.join("\n")));
        }
    }
}

/// A port of 127.0.0.1 on which nobody listens now.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("bound").port()
}

fn config(
    openssh: &OpenSsh,
    keys: &KeyRing,
    kinds: &[&str],
    extra: &[&str],
    folder: &Path,
    port: u16,
) -> String {
    let mut text = extra.iter().map(|line| format!("{line}\n")).collect::<String>();
    let here = |name: &str| folder.join(name).display().to_string();
    text += &format!("ListenAddress 127.0.0.1:{port}\nPidFile {}\n", here("pid"));
    text += &format!("AuthorizedKeysFile {}\n", here("authorized_keys"));
    text += &format!("TrustedUserCAKeys {}\n", keys.public("ca").display());
    for kind in kinds {
        text += &format!("HostKey {}\n", keys.private(&format!("host_{kind}")).display());
        text += &format!("HostCertificate {}\n", keys.certificate(&format!("host_{kind}")).display());
    }
    text += &openssh.config();
    let all = |option: &str, query: &str| format!("{option} {}\n", openssh.query(query).join(","));
    text += &all("KexAlgorithms", "kex");
    text += &all("Ciphers", "cipher");
    text += &all("MACs", "mac");
    for option in ["HostKeyAlgorithms", "PubkeyAcceptedAlgorithms"] {
        text += &all(option, "HostKeyAlgorithms");
    }
    text += "LogLevel VERBOSE\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nMaxStartups 100\nMaxSessions 100\nMaxAuthTries 20\nUseDNS no\n\
             PrintMotd no\nPrintLastLog no\nX11Forwarding no\nCompression yes\nAcceptEnv KONKO_*\n";
    text
}

fn authorize(keys: &KeyRing, folder: &Path) {
    let mut lines = keys.public_line("user_encrypted") + "\n";
    for (kind, _) in KINDS {
        lines += &format!("{}\n", keys.public_line(&format!("user_{kind}")));
    }
    fs::write(folder.join("authorized_keys"), lines).expect("the folder is writable");
}

/// Starts the program and waits until it listens; the error is its log.
fn launch(openssh: &OpenSsh, folder: &Path, home: Option<&Path>) -> Result<Server, String> {
    let path = folder.join("log");
    let log = File::create(&path).expect("the folder is writable");
    let mut command = match home {
        Some(home) => {
            // A mount namespace of its own; the program keeps the process.
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh", "-c", "mount --bind \"$1\" ~root && shift && exec \"$@\"", "sh"]);
            command.arg(home).arg(openssh.sshd());
            command
        }
        None => Command::new(openssh.sshd()),
    };
    let child = command
        .args(["-D", "-e", "-f"])
        .arg(folder.join("config"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|e| format!("{}: {e}", openssh.sshd().display()))?;
    let mut server = Server(child);
    let listening = wait_until(Duration::from_secs(20), || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        if text.contains("Server listening on 127.0.0.1") {
            return Some(Ok(()));
        }
        let ended = server.0.try_wait().ok().flatten();
        ended.map(|status| Err(format!("{status}\n{text}")))
    });
    match listening {
        Some(Ok(())) => Ok(server),
        Some(Err(log)) => Err(log),
        None => Err(format!("not listening after 20 s\n{}", fs::read_to_string(&path).unwrap_or_default())),
    }
}

/// The user name to log in with: only the one who runs the server can log in unless that is root.
pub fn login() -> String {
    user()
}
