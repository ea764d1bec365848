//! A server on AsyncSSH, for what OpenSSH's server needs accounts and PAM for: passwords, prompts, two factors.

use crate::keys::KeyRing;
use crate::log::say;
use crate::peers::{not_run, python};
use crate::process::{Server, wait_until};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A running server; see `peers/asyncssh_server.py` for its users. Ends when dropped.
#[derive(Debug)]
pub struct AsyncSshServer {
    // The order matters: the server ends before its folder goes.
    _server: Server,
    folder: TempDir,
    /// On 127.0.0.1.
    pub port: u16,
    /// The keys of the host and of the users it lets in.
    pub keys: KeyRing,
}

impl AsyncSshServer {
    /// Starts it; `None`, and recorded as not run, when AsyncSSH is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Option<Self> {
        let Some(python) = python() else {
            not_run("AsyncSSH", "not installed; conformance/install puts it under target/peers");
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let keys = KeyRing::shared();
        let log = |name: &str| File::create(folder.path().join(name)).expect("the folder is writable");
        let child = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/asyncssh_server.py"))
            .arg("--host-key")
            .arg(keys.private("host_ed25519"))
            .arg("--client-keys")
            .arg(keys.public("user_ed25519"))
            .stdin(Stdio::null())
            .stdout(log("out"))
            .stderr(log("log"))
            .spawn()
            .expect("Python starts");
        let server = Server(child);
        let port = wait_until(Duration::from_secs(30), || {
            let text = fs::read_to_string(folder.path().join("out")).ok()?;
            text.strip_prefix("port ")?.strip_suffix('\n')?.parse().ok()
        });
        let Some(port) = port else {
            panic!(
                "asyncssh_server.py: {}",
                fs::read_to_string(folder.path().join("log")).unwrap_or_default()
            );
        };
        let line = format!("[127.0.0.1]:{port} {}\n", keys.public_line("host_ed25519"));
        fs::write(folder.path().join("known_hosts"), line).expect("the folder is writable");
        Some(Self { _server: server, folder, port, keys })
    }

    /// The server's own folder, with the known_hosts file that trusts it.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for AsyncSshServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(&format!("--- the log of the AsyncSSH server\n{}\n---", self.log()));
        }
    }
}
