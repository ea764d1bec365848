//! Real clients, all called in one way: OpenSSH's `ssh`, PuTTY's `plink`, Dropbear's `dbclient`, Paramiko, AsyncSSH,
//! and konko's own.

use crate::keys::KeyRing;
use crate::peers::{OpenSsh, installed, not_run, python};
use crate::probe::lists_of;
use crate::process::{Feed, Finished, Process};
use crate::program::Program;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A client.
#[derive(Clone, Debug)]
pub enum Client {
    /// OpenSSH's.
    OpenSsh(Program),
    /// konko's own.
    Konko(Program),
    /// PuTTY's, without a window.
    Plink(PathBuf),
    /// Dropbear's.
    Dbclient(PathBuf),
    /// `peers/paramiko_client.py`, and the Python that has Paramiko.
    Paramiko(PathBuf),
    /// `peers/asyncssh_client.py`, and the Python that has AsyncSSH.
    AsyncSsh(PathBuf),
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenSsh(_) => "OpenSSH",
            Self::Konko(_) => "konko",
            Self::Plink(_) => "PuTTY",
            Self::Dbclient(_) => "Dropbear",
            Self::Paramiko(_) => "Paramiko",
            Self::AsyncSsh(_) => "AsyncSSH",
        })
    }
}

impl Client {
    /// Those that are on this machine; the others are recorded as not run.
    ///
    /// # Panics
    /// With `CI=true`, when one is missing.
    pub fn all() -> Vec<Self> {
        let openssh = OpenSsh::system().map(|o| Self::OpenSsh(Program::new(vec![o.ssh().into()])));
        if openssh.is_none() {
            not_run("OpenSSH's client", "sshd or ssh is not installed");
        }
        let konko = Program::konko().map(Self::Konko);
        [openssh, konko].into_iter().flatten().chain(Self::others()).collect()
    }

    /// The same without OpenSSH's and konko's.
    ///
    /// # Panics
    /// With `CI=true`, when one is missing.
    pub fn others() -> Vec<Self> {
        let python = python();
        if python.is_none() {
            not_run(
                "Paramiko and AsyncSSH",
                "not installed; conformance/install puts them under target/peers",
            );
        }
        let found = [
            installed("plink").and_then(|plink| installed("puttygen").map(|_| Self::Plink(plink))),
            installed("dbclient").and_then(|db| installed("dropbearconvert").map(|_| Self::Dbclient(db))),
            python.clone().map(Self::Paramiko),
            python.map(Self::AsyncSsh),
        ];
        found.into_iter().flatten().collect()
    }
}

/// Paramiko and AsyncSSH, as far as they are there.
pub fn python_clients() -> Vec<Client> {
    let python = |c: &Client| matches!(c, Client::Paramiko(_) | Client::AsyncSsh(_));
    Client::others().into_iter().filter(python).collect()
}

/// The number of name-lists in a KEXINIT.
pub const LISTS: usize = 10;

impl Client {
    /// The name-lists of its KEXINIT with all its algorithms on, in the order of RFC 4253 §7.1.
    ///
    /// # Panics
    /// When none comes.
    pub fn lists(&self) -> Vec<Vec<String>> {
        let mut ended = Ok(());
        let lists = lists_of(|port| {
            let call = Call::to(port, &KeyRing::shared()).key("user_ed25519");
            ended = call.deadline(Duration::from_secs(20)).try_run(self, "true").map(drop);
        });
        lists.unwrap_or_else(|| panic!("{self} sent no KEXINIT: {ended:?}"))
    }
}

/// One call of a client: to whom, how to log in, what to run.
#[derive(Clone, Debug)]
pub struct Call {
    port: u16,
    keys: KeyRing,
    user: String,
    key: Option<String>,
    password: Option<String>,
    interactive: bool,
    trusted: Vec<String>,
    compress: bool,
    env: Option<(String, String)>,
    rekey: Option<u64>,
    more: Vec<String>,
    feed: Feed,
    deadline: Duration,
}

impl Call {
    /// Connects to 127.0.0.1 at `port`, trusting every `host_KIND` of `keys`, and logs in with no proof yet.
    pub fn to(port: u16, keys: &KeyRing) -> Self {
        let trusted = crate::keys::KINDS.iter().map(|(kind, _)| format!("host_{kind}")).collect();
        Self {
            port,
            keys: keys.clone(),
            user: "somebody".into(),
            key: None,
            password: None,
            interactive: false,
            trusted,
            compress: false,
            env: None,
            rekey: None,
            more: Vec::new(),
            feed: Feed::Empty,
            deadline: Duration::from_secs(60),
        }
    }

    /// Logs in under that name.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    /// Logs in with that key of the ring.
    #[must_use]
    pub fn key(mut self, name: &str) -> Self {
        self.key = Some(name.to_owned());
        self
    }

    /// Logs in as this user with this password, by the method `password` or whatever else asks for it.
    #[must_use]
    pub fn password(mut self, (user, password): (&str, &str)) -> Self {
        self.password = Some(password.to_owned());
        self.user(user)
    }

    /// Answers prompts with the password, where the client has to be told so.
    #[must_use]
    pub fn interactive(mut self) -> Self {
        self.interactive = true;
        self
    }

    /// Trusts these host keys of the ring and no other.
    #[must_use]
    pub fn trusting(mut self, names: &[&str]) -> Self {
        self.trusted = names.iter().map(|n| (*n).to_owned()).collect();
        self
    }

    /// Asks for compression.
    #[must_use]
    pub fn compress(mut self) -> Self {
        self.compress = true;
        self
    }

    /// Sends a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env = Some((name.to_owned(), value.to_owned()));
        self
    }

    /// Renews keys after that many bytes, if the client can be told to.
    #[must_use]
    pub fn rekey(mut self, bytes: u64) -> Self {
        self.rekey = Some(bytes);
        self
    }

    /// Adds arguments of this client before the command.
    #[must_use]
    pub fn more(mut self, arguments: &[&str]) -> Self {
        self.more.extend(arguments.iter().map(|a| (*a).to_owned()));
        self
    }

    /// Sets what goes into standard input; nothing by default.
    #[must_use]
    pub fn feed(mut self, feed: Feed) -> Self {
        self.feed = feed;
        self
    }

    /// Sets how long it may take, 60 s by default.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs a command.
    ///
    /// # Panics
    /// When the client does not end within the deadline.
    #[track_caller]
    pub fn run(&self, client: &Client, remote: &str) -> Finished {
        self.try_run(client, remote).unwrap_or_else(|e| panic!("{client}: {e}"))
    }

    /// Runs a command; the error is that the deadline passed.
    pub fn try_run(&self, client: &Client, remote: &str) -> Result<Finished, String> {
        let home = tempfile::tempdir().map_err(|e| e.to_string())?;
        let command = self.command(client, remote, home.path());
        Process::new(command).feed(self.feed.clone()).deadline(self.deadline).run()
    }

    /// The whole command, for a caller that runs it in a way of its own; `home` is a folder for the client's files.
    /// An empty `remote` is a shell.
    ///
    /// # Panics
    /// When files cannot be written, or keys not be converted.
    pub fn command(&self, client: &Client, remote: &str, home: &Path) -> Command {
        match client {
            Client::OpenSsh(program) | Client::Konko(program) => self.ssh(program, remote, home),
            Client::Plink(path) => self.plink(path, remote, home),
            Client::Dbclient(path) => self.dbclient(path, remote, home),
            Client::Paramiko(path) => self.python(path, "paramiko_client.py", remote, home),
            Client::AsyncSsh(path) => self.python(path, "asyncssh_client.py", remote, home),
        }
    }

    /// A known_hosts file that trusts what this call trusts, under `host`.
    fn known_hosts(&self, path: &Path, host: &str) {
        let lines = self.trusted.iter().map(|name| format!("{host} {}\n", self.keys.public_line(name)));
        fs::write(path, lines.collect::<String>()).expect("the folder is writable");
    }

    fn host_and_port(&self) -> String {
        format!("[127.0.0.1]:{}", self.port)
    }

    fn ssh(&self, program: &Program, remote: &str, home: &Path) -> Command {
        self.known_hosts(&home.join("known_hosts"), &self.host_and_port());
        let more: Vec<&str> = self.more.iter().map(String::as_str).collect();
        let mut call = program.call(home, self.port).user(&self.user).args(&more);
        call = call.option("StrictHostKeyChecking", "yes").option("BatchMode", "yes");
        call = call.option("Compression", if self.compress { "yes" } else { "no" });
        let mut methods = Vec::new();
        if let Some(key) = &self.key {
            methods.push("publickey");
            call = call.identity(&self.keys, key);
        }
        if let Some(password) = &self.password {
            methods.push(if self.interactive { "keyboard-interactive" } else { "password" });
            call = call.askpass(&askpass(home, password));
        }
        call = call.option("PreferredAuthentications", methods.join(","));
        if let Some((name, value)) = &self.env {
            call = call.option("SetEnv", format!("{name}={value}"));
        }
        if let Some(bytes) = self.rekey {
            call = call.option("RekeyLimit", bytes);
        }
        call.into_command(remote)
    }

    fn plink(&self, path: &Path, remote: &str, home: &Path) -> Command {
        // All its algorithms above the line beneath which it asks a person.
        let mut session = String::from(
            "Protocol=ssh\nCipher=aesgcm,aes,chacha20,3des,blowfish,des,arcfour,WARN\n\
             KEX=ntru-curve25519,ecdh,dh-gex-sha1,dh-group18-sha512,dh-group17-sha512,dh-group16-sha512,\
             dh-group15-sha512,dh-group14-sha1,rsa,dh-group1-sha1,WARN\n\
             HostKey=ed25519,ecdsa,rsa,dsa,ed448,WARN\n",
        );
        if let Some((name, value)) = &self.env {
            session += &format!("Environment={name}={value}\n");
        }
        if let Some(bytes) = self.rekey {
            session += &format!("RekeyBytes={bytes}\n");
        }
        let folder = home.join(".putty/sessions");
        fs::create_dir_all(&folder).expect("the folder is writable");
        fs::write(folder.join("all"), session).expect("the folder is writable");
        let mut command = clean(path, home);
        command.args(["-batch", "-load", "all", "-ssh", "-noagent", "-P", &self.port.to_string()]);
        for name in &self.trusted {
            command.args(["-hostkey", &self.keys.fingerprint(name)]);
        }
        if self.compress {
            command.arg("-C");
        }
        if let Some(key) = &self.key {
            let ppk = home.join("key.ppk");
            let mut convert = clean(Path::new("puttygen"), home);
            convert.arg(self.keys.private(key)).args(["-O", "private", "-o"]).arg(&ppk);
            done(convert);
            command.arg("-i").arg(ppk);
        }
        if let Some(password) = &self.password {
            let file = home.join("password");
            fs::write(&file, password).expect("the folder is writable");
            command.arg("-pwfile").arg(file);
        }
        command.args(&self.more).arg(format!("{}@127.0.0.1", self.user));
        if !remote.is_empty() {
            command.arg(remote);
        }
        command
    }

    fn dbclient(&self, path: &Path, remote: &str, home: &Path) -> Command {
        fs::create_dir_all(home.join(".ssh")).expect("the folder is writable");
        // It knows hosts by name alone.
        self.known_hosts(&home.join(".ssh/known_hosts"), "127.0.0.1");
        let mut command = clean(path, home);
        command.args(["-p", &self.port.to_string()]);
        if let Some(key) = &self.key {
            let converted = home.join("key");
            let mut convert = clean(Path::new("dropbearconvert"), home);
            convert.args(["openssh", "dropbear"]).arg(self.keys.private(key)).arg(&converted);
            done(convert);
            command.arg("-i").arg(converted);
        }
        if let Some(password) = &self.password {
            command.env("DROPBEAR_PASSWORD", password);
        }
        command.args(&self.more).arg(format!("{}@127.0.0.1", self.user));
        if !remote.is_empty() {
            command.arg(remote);
        }
        command
    }

    fn python(&self, path: &Path, script: &str, remote: &str, home: &Path) -> Command {
        let known_hosts = home.join("known_hosts");
        self.known_hosts(&known_hosts, &self.host_and_port());
        let mut command = clean(path, home);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(script));
        command.args(["--port", &self.port.to_string(), "--user", &self.user, "--known-hosts"]);
        command.arg(known_hosts);
        if let Some(key) = &self.key {
            // A copy, beside which stands no certificate that they would offer instead.
            let copy = home.join("key");
            fs::copy(self.keys.private(key), &copy).expect("the folder is writable");
            command.arg("--key").arg(copy);
        }
        if let Some(password) = &self.password {
            command.args([if self.interactive { "--answer" } else { "--password" }, password]);
        }
        if self.compress {
            command.arg("--compress");
        }
        if let Some((name, value)) = &self.env {
            command.arg("--env").arg(format!("{name}={value}"));
        }
        if let Some(bytes) = self.rekey {
            command.args(["--rekey", &bytes.to_string()]);
        }
        command.args(&self.more).arg(remote);
        command
    }
}

/// A command with a home folder of its own, and nothing from the environment that would change what it does.
fn clean(path: &Path, home: &Path) -> Command {
    let mut command = Command::new(path);
    command.env("HOME", home).env_remove("SSH_AUTH_SOCK").env_remove("SSH_ASKPASS").env_remove("DISPLAY");
    command
}

/// Runs a program that converts a key.
fn done(command: Command) {
    let done = Process::new(command).run().unwrap_or_else(|e| panic!("{e}"));
    done.expect_code(0);
}

/// A program that answers every prompt with the password.
fn askpass(home: &Path, password: &str) -> PathBuf {
    let path = home.join("askpass");
    fs::write(&path, format!("#!/bin/sh\necho '{password}'\n")).expect("the folder is writable");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("the file is ours");
    path
}
