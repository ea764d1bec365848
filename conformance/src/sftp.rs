//! Real SFTP clients, all called in one way: send a tree of files, fetch it back, and change names.

use crate::keys::KINDS;
use crate::peers::{installed, not_run, python};
use crate::process::{Finished, Process};
use crate::serve::Serve;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SftpClient {
    /// OpenSSH's `sftp`.
    OpenSsh,
    /// OpenSSH's `scp`, which speaks SFTP.
    Scp,
    /// PuTTY's.
    Psftp,
    /// `peers/paramiko_sftp.py`.
    Paramiko,
    /// `peers/asyncssh_sftp.py`.
    AsyncSsh,
    /// With libssh2; one file at a time.
    Curl,
    /// On top of OpenSSH's `ssh`.
    Lftp,
    /// With Go's library.
    Rclone,
}

impl fmt::Display for SftpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program())
    }
}

impl SftpClient {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::OpenSsh,
        Self::Scp,
        Self::Psftp,
        Self::Paramiko,
        Self::AsyncSsh,
        Self::Curl,
        Self::Lftp,
        Self::Rclone,
    ];

    fn program(self) -> &'static str {
        match self {
            Self::OpenSsh => "sftp",
            Self::Scp => "scp",
            Self::Psftp => "psftp",
            Self::Paramiko => "Paramiko",
            Self::AsyncSsh => "AsyncSSH",
            Self::Curl => "curl",
            Self::Lftp => "lftp",
            Self::Rclone => "rclone",
        }
    }

    /// Those that are on this machine; the others are recorded as not run.
    ///
    /// # Panics
    /// With `CI=true`, when one is missing.
    pub fn on_this_machine() -> Vec<Self> {
        let here = |client: &Self| match client {
            Self::Paramiko | Self::AsyncSsh => {
                let here = python().is_some();
                if !here {
                    not_run(
                        client.program(),
                        "not installed; conformance/install puts it under target/peers",
                    );
                }
                here
            }
            client => installed(client.program()).is_some(),
        };
        Self::ALL.into_iter().filter(here).collect()
    }

    /// Whether it sends and fetches whole trees by itself.
    pub fn has_trees(self) -> bool {
        self != Self::Curl
    }

    /// Whether file names are any bytes to it, not text.
    pub fn has_any_names(self) -> bool {
        matches!(self, Self::OpenSsh | Self::Scp | Self::Paramiko | Self::AsyncSsh)
    }
}

/// One session of a client with `konko serve`.
#[derive(Debug)]
pub struct SftpCall<'s> {
    serve: &'s Serve,
    home: tempfile::TempDir,
    deadline: Duration,
    compress: bool,
}

impl<'s> SftpCall<'s> {
    /// Logs in to `serve` with a key.
    ///
    /// # Panics
    /// When files cannot be written.
    pub fn to(serve: &'s Serve) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        // A copy, beside which stands no certificate that clients would offer instead.
        let key = home.path().join("key");
        fs::copy(serve.keys().private("user_ed25519"), &key).expect("the folder is writable");
        fs::copy(serve.keys().public("user_ed25519"), home.path().join("key.pub"))
            .expect("the folder is writable");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("the file is ours");
        Self { serve, home, deadline: Duration::from_secs(300), compress: false }
    }

    /// Sets how long it may take, 300 s by default.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Turns compression on; for OpenSSH's programs and those that run its `ssh`.
    #[must_use]
    pub fn compress(mut self) -> Self {
        self.compress = true;
        self
    }

    /// Sends the folder or file `from` as `to`, an absolute path that does not exist yet.
    ///
    /// # Panics
    /// When the client fails, or does not end within the deadline.
    #[track_caller]
    pub fn send(&self, client: SftpClient, from: &Path, to: &str) {
        self.transfer(client, from, to, true);
    }

    /// Fetches the folder or file `from`, an absolute path, as `to`, which does not exist yet.
    ///
    /// # Panics
    /// When the client fails, or does not end within the deadline.
    #[track_caller]
    pub fn fetch(&self, client: SftpClient, from: &str, to: &Path) {
        self.transfer(client, to, from, false);
    }

    #[track_caller]
    fn transfer(&self, client: SftpClient, local: &Path, remote: &str, send: bool) {
        let here = local.display().to_string();
        let folder = if send { local.is_dir() } else { self.is_folder(remote) };
        let recursive = if folder { "-r " } else { "" };
        let verb = if send { "put" } else { "get" };
        let (one, other) = if send { (&here[..], remote) } else { (remote, &here[..]) };
        let command = match client {
            SftpClient::OpenSsh => self.sftp(&format!("{verb} {recursive}{one} {other}\n")),
            SftpClient::Psftp => self.psftp(&format!("{verb} {recursive}{one} {other}\n")),
            SftpClient::Scp => {
                let mut command = self.openssh("scp");
                command.args(["-s", "-q"]).args(folder.then_some("-r"));
                let remote = format!("somebody@127.0.0.1:{remote}");
                let (one, other) = if send { (&here, &remote) } else { (&remote, &here) };
                command.args([one, other]);
                command
            }
            SftpClient::Paramiko => self.python("paramiko_sftp.py", &[verb, &here, remote]),
            SftpClient::AsyncSsh => self.python("asyncssh_sftp.py", &[verb, &here, remote]),
            SftpClient::Curl => {
                let mut command = self.clean("curl");
                let ecdsa = self.serve.keys().fingerprint("host_ecdsa256");
                let key = self.home.path().join("key").display().to_string();
                command.args(["-sS", "--fail", "-u", "somebody:", "--key", &key, "--pubkey"]);
                command.arg(format!("{key}.pub"));
                command.args(["--hostpubsha256", ecdsa.trim_start_matches("SHA256:")]);
                let url = format!("sftp://127.0.0.1:{}{remote}", self.serve.port);
                command.args([if send { "-T" } else { "-o" }, &here, &url]);
                command
            }
            SftpClient::Lftp => {
                let how = match (folder, send) {
                    (true, true) => format!("mirror -R {here} {remote}"),
                    (true, false) => format!("mirror {remote} {here}"),
                    (false, true) => format!("put {here} -o {remote}"),
                    (false, false) => format!("get {remote} -o {here}"),
                };
                self.lftp(&how)
            }
            SftpClient::Rclone => {
                let mut command = self.clean("rclone");
                let key = self.home.path().join("key");
                let hosts = self.serve.known_hosts();
                let there = format!(
                    ":sftp,host=127.0.0.1,port={},user=somebody,key_file={},known_hosts_file={},\
                     disable_hashcheck=true,shell_type=none:{remote}",
                    self.serve.port,
                    key.display(),
                    hosts.display()
                );
                let (one, other) = if send { (&here, &there) } else { (&there, &here) };
                let config = ["--config", "/dev/null", "--retries", "1", "--ignore-times"];
                command.args(config).arg(if folder { "copy" } else { "copyto" }).args([one, other]);
                if folder {
                    command.args(["--links", "--create-empty-src-dirs"]);
                }
                command
            }
        };
        self.expect(client, command);
    }

    /// Runs commands of OpenSSH's `sftp`; the first that fails ends it.
    ///
    /// # Panics
    /// When it does not end within the deadline.
    #[track_caller]
    pub fn batch(&self, commands: &str) -> Finished {
        Process::new(self.sftp(commands)).deadline(self.deadline).run().unwrap_or_else(|e| panic!("{e}"))
    }

    /// Runs the operations of a script of `peers`, which checks what they answer.
    ///
    /// # Panics
    /// When one answers otherwise.
    #[track_caller]
    pub fn operations(&self, client: SftpClient) {
        let script = match client {
            SftpClient::Paramiko => "paramiko_sftp.py",
            _ => "asyncssh_sftp.py",
        };
        self.expect(client, self.python(script, &["operations"]));
    }

    #[track_caller]
    fn expect(&self, client: SftpClient, command: Command) {
        let done = Process::new(command).deadline(self.deadline).run();
        let done = done.unwrap_or_else(|e| panic!("{client}: {e}"));
        assert_eq!(done.code(), 0, "{client}: {done}");
    }

    fn is_folder(&self, remote: &str) -> bool {
        self.serve.root().is_some_and(|root| root.join(remote.trim_start_matches('/')).is_dir())
    }

    fn clean(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("HOME", self.home.path()).env_remove("SSH_AUTH_SOCK").current_dir(self.home.path());
        command
    }

    /// Options that `ssh`, `sftp` and `scp` share.
    fn options(&self) -> Vec<String> {
        let mut options = vec!["-F".to_owned(), "none".into(), "-i".into()];
        options.push(self.home.path().join("key").display().to_string());
        let compression = if self.compress { "Compression=yes" } else { "Compression=no" };
        for option in [
            compression,
            "IdentitiesOnly=yes",
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "GlobalKnownHostsFile=/dev/null",
            &format!("UserKnownHostsFile={}", self.serve.known_hosts().display()),
        ] {
            options.extend(["-o".to_owned(), option.to_owned()]);
        }
        options
    }

    fn openssh(&self, program: &str) -> Command {
        let mut command = self.clean(program);
        command.args(self.options()).args(["-P", &self.serve.port.to_string()]);
        command
    }

    fn sftp(&self, commands: &str) -> Command {
        let batch = self.file("batch", commands);
        let mut command = self.openssh("sftp");
        command.arg("-b").arg(batch).arg("somebody@127.0.0.1");
        command
    }

    fn psftp(&self, commands: &str) -> Command {
        let ppk = self.home.path().join("key.ppk");
        let mut convert = self.clean("puttygen");
        convert.arg(self.home.path().join("key")).args(["-O", "private", "-o"]).arg(&ppk);
        let converted = Process::new(convert).run().unwrap_or_else(|e| panic!("{e}"));
        converted.expect_code(0);
        let mut command = self.clean("psftp");
        command.args(["-batch", "-noagent", "-P", &self.serve.port.to_string()]);
        for (kind, _) in KINDS {
            command.args(["-hostkey", &self.serve.keys().fingerprint(&format!("host_{kind}"))]);
        }
        command.arg("-i").arg(ppk).arg("-b").arg(self.file("batch", commands)).arg("somebody@127.0.0.1");
        command
    }

    fn lftp(&self, how: &str) -> Command {
        let ssh = format!("ssh -a -x {} -p {}", self.options().join(" "), self.serve.port);
        let script = format!(
            "set cmd:fail-exit yes\nset net:max-retries 1\nset sftp:auto-confirm no\nset mirror:set-permissions off\n\
             set sftp:connect-program \"{ssh}\"\nopen sftp://somebody:@127.0.0.1\n{how}\n"
        );
        let mut command = self.clean("lftp");
        command.arg("-f").arg(self.file("script", &script));
        command
    }

    fn python(&self, script: &str, arguments: &[&str]) -> Command {
        let mut command = self.clean(&python().unwrap_or_default().display().to_string());
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(script));
        command.args(["--port", &self.serve.port.to_string(), "--user", "somebody", "--known-hosts"]);
        command.arg(self.serve.known_hosts()).arg("--key").arg(self.home.path().join("key")).args(arguments);
        command
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        fs::write(&path, text).expect("the folder is writable");
        path
    }
}
