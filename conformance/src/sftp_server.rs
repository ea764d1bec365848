//! SFTP servers on AsyncSSH and Paramiko.

use crate::keys::KeyRing;
use crate::log::say;
use crate::peers::{not_run, python};
use crate::process::{Server, wait_until};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A running server; see `peers/sftp_server.py`. Ends when dropped.
#[derive(Debug)]
pub struct SftpServer {
    // The order matters: the server ends before its folder goes.
    _server: Server,
    folder: TempDir,
    /// On 127.0.0.1.
    pub port: u16,
    /// The keys of the host and of the user it lets in.
    pub keys: KeyRing,
}

impl SftpServer {
    /// Starts it on `library`, `asyncssh` or `paramiko`; `None`, and recorded as not run, when there is none.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(library: &str) -> Option<Self> {
        let Some(python) = python() else {
            not_run(library, "not installed; conformance/install puts it under target/peers");
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let keys = KeyRing::shared();
        let log = |name: &str| File::create(folder.path().join(name)).expect("the folder is writable");
        let child = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/sftp_server.py"))
            .arg(library)
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
            let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            panic!("sftp_server.py {library}: {log}");
        };
        Some(Self { _server: server, folder, port, keys })
    }
}

impl Drop for SftpServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            say(&format!("--- the log of the SFTP server\n{log}\n---"));
        }
    }
}
