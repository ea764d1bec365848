//! `konko scp` and `konko sftp` on folders of this machine: the server is `konko sftp-server`, started by the client.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use konko::Sftp;
use konko::sftp::SftpOptions;

pub const KONKO: &str = env!("CARGO_BIN_EXE_konko");

/// Nothing here takes that long.
const DEADLINE: Duration = Duration::from_secs(60);

/// A folder for one story.
pub struct Desk {
    dir: tempfile::TempDir,
    /// The command of the server.
    pub server: String,
    pub umask: u32,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Desk {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Desk { dir, server: format!("{KONKO} sftp-server"), umask: 0o22 }
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `host:` and the path of something here.
    pub fn there(&self, name: impl AsRef<Path>) -> OsString {
        let mut text = OsString::from("host:");
        text.push(self.path(name));
        text
    }

    /// Makes a file, with the folders that it is in.
    pub fn file(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub fn dir(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    pub fn clear(&self, name: impl AsRef<Path>) {
        let path = self.path(name);
        let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
    }

    pub fn read(&self, name: impl AsRef<Path>) -> Vec<u8> {
        let path = self.path(name);
        fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    pub fn mode(&self, name: impl AsRef<Path>) -> u32 {
        fs::symlink_metadata(self.path(name)).unwrap().permissions().mode() & 0o7777
    }

    pub fn chmod(&self, name: impl AsRef<Path>, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn fifo(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.path(name);
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        path
    }

    /// All that is below a folder: what files hold, what links say, and `dir`, `fifo` for the rest.
    pub fn tree(&self, name: impl AsRef<Path>) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let top = self.path(name);
        let mut found = BTreeMap::new();
        walk(&top, &top, &mut found);
        found
    }

    fn run(&self, mut command: Command, input: &[u8]) -> Ended {
        command.current_dir(self.dir.path()).env("HOME", self.dir.path()).env_remove("KONKO_LOG");
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
        let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        std::thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
        let stdout = std::thread::spawn(move || {
            let mut text = Vec::new();
            out.read_to_end(&mut text).map(|_| text)
        });
        let stderr = std::thread::spawn(move || {
            let mut text = Vec::new();
            err.read_to_end(&mut text).map(|_| text)
        });
        let end = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > end {
                let _ = child.kill();
                break child.wait().unwrap();
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (stdout, stderr) = (stdout.join().unwrap().unwrap(), stderr.join().unwrap().unwrap());
        Ended { status: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Under the umask of the desk.
    fn konko(&self) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("umask {:o}; exec \"$@\"", self.umask), "sh", KONKO]);
        command
    }

    pub fn scp<S: AsRef<OsStr>>(&self, args: &[S]) -> Ended {
        let mut command = self.konko();
        command.args(["scp", "-D", &self.server]).args(args);
        self.run(command, b"")
    }

    /// Runs the lines of a batch.
    pub fn sftp(&self, lines: impl AsRef<[u8]>) -> Ended {
        let mut command = self.konko();
        command.args(["sftp", "-q", "-b", "-", "-D", &self.server]);
        self.run(command, lines.as_ref())
    }

    /// The library with the same server.
    pub fn client(&self) -> Sftp {
        let mut command = Command::new("sh");
        let line = format!("umask {:o}; exec {}", self.umask, self.server);
        command.args(["-c", &line]).current_dir(self.dir.path());
        Sftp::spawn(command, SftpOptions::default()).unwrap()
    }
}

fn walk(top: &Path, dir: &Path, found: &mut BTreeMap<Vec<u8>, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(top).unwrap().as_os_str().as_bytes().to_vec();
        let what = match meta.file_type() {
            kind if kind.is_dir() => b"dir".to_vec(),
            kind if kind.is_file() => fs::read(&path).unwrap(),
            kind if kind.is_symlink() => fs::read_link(&path).unwrap().into_os_string().into_vec(),
            _ => b"special".to_vec(),
        };
        found.insert(name, what);
        if meta.is_dir() {
            walk(top, &path, found);
        }
    }
}

/// Seconds of the last change.
pub fn modified(path: impl AsRef<Path>) -> i64 {
    fs::symlink_metadata(path).unwrap().mtime()
}

/// A name as it is written in a pattern on the server.
pub fn escaped(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for b in name {
        if matches!(b, b'*' | b'?' | b'[' | b']' | b'\\') {
            out.push(b'\\');
        }
        out.push(*b);
    }
    out
}

/// A word of a line of `konko sftp` that means these bytes.
pub fn quoted(name: &[u8]) -> Vec<u8> {
    let mut out = vec![b'"'];
    for b in name {
        if matches!(b, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*b);
    }
    out.push(b'"');
    out
}

/// Bytes one after the other.
pub fn bytes(parts: &[&[u8]]) -> OsString {
    OsString::from_vec(parts.concat())
}
