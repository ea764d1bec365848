//! Which peers are on this machine.
//!
//! `conformance/install` puts them there. What cannot be installed as a package of the system stands in the peers
//! folder, `target/peers` (or `KONKO_PEERS`).

use crate::log::say;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Says that something was not run, and why; records it in the file that `KONKO_NOT_RUN` names, for the summary at
/// the end of `conformance/test`.
///
/// # Panics
/// When `CI=true`: there, everything must run.
pub fn not_run(what: &str, why: &str) {
    cannot_run(what, why);
    assert!(std::env::var("CI").as_deref() != Ok("true"), "with CI=true everything must run: {what}: {why}");
}

/// The same for what this machine cannot do, whatever is installed: a device that is not there. No failure.
pub fn cannot_run(what: &str, why: &str) {
    let line = format!("NOT RUN: {what}: {why}\n");
    say(&line);
    if let Some(path) = std::env::var_os("KONKO_NOT_RUN") {
        let file = std::fs::File::options().create(true).append(true).open(path);
        file.and_then(|mut f| f.write_all(line.as_bytes()))
            .expect("the file of KONKO_NOT_RUN can be written");
    }
}

/// Whether the long tests run too (`conformance/test --full`).
pub fn full() -> bool {
    std::env::var("KONKO_FULL").as_deref() == Ok("1")
}

/// The folder of peers that are no packages of the system.
pub fn folder() -> PathBuf {
    match std::env::var_os("KONKO_PEERS") {
        Some(path) => path.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers"),
    }
}

/// The `konko` that was built last, as a release. `None`, and recorded as not run, when there is none.
///
/// # Panics
/// With `CI=true`, when there is none.
pub fn konko() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let konko = workspace().join(target).join("release/konko");
    if !konko.exists() {
        not_run("the konko program", &format!("{} was not built", konko.display()));
        return None;
    }
    Some(konko)
}

/// A program of the system; `None`, and recorded as not run, when it is not installed.
///
/// # Panics
/// With `CI=true`, when it is not installed.
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|p| p.exists());
    if found.is_none() {
        not_run(name, "not installed");
    }
    found
}

/// The top of this checkout.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is a folder of the workspace")
}

/// The Python of the virtual environment that has AsyncSSH, when it is there.
pub fn python() -> Option<PathBuf> {
    Some(folder().join("venv/bin/python")).filter(|p| p.exists())
}

/// An OpenSSH on this machine: the system's, or a newer one unpacked beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSsh {
    root: PathBuf,
    version: (u32, u32),
}

impl OpenSsh {
    /// The system's, when both server and client are installed.
    pub fn system() -> Option<Self> {
        Self::at("/".into())
    }

    /// Version 10 or newer, which has ML-KEM: the system's if it is that new, else the one in the peers folder.
    pub fn ten() -> Option<Self> {
        let new = |o: &Self| o.version >= (10, 0);
        Self::system().filter(new).or_else(|| Self::at(folder().join("openssh10")).filter(new))
    }

    fn at(root: PathBuf) -> Option<Self> {
        let mut found = Self { root, version: (0, 0) };
        if !found.sshd().exists() || !found.ssh().exists() {
            return None;
        }
        let output = Command::new(found.ssh()).arg("-V").output().ok()?;
        found.version = parse_version(&String::from_utf8_lossy(&output.stderr))?;
        Some(found)
    }

    /// Major and minor version.
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// The client program.
    pub fn ssh(&self) -> PathBuf {
        self.root.join("usr/bin/ssh")
    }

    /// The server program.
    pub fn sshd(&self) -> PathBuf {
        self.root.join("usr/sbin/sshd")
    }

    /// The SFTP server program.
    pub fn sftp_server(&self) -> PathBuf {
        self.root.join("usr/lib/openssh/sftp-server")
    }

    /// Lines of configuration that tell a server where its own parts are.
    pub(crate) fn config(&self) -> String {
        let moduli = self.root.join("etc/ssh/moduli");
        let mut lines = format!("Subsystem sftp {}\n", self.sftp_server().display());
        if moduli.exists() {
            lines += &format!("ModuliFile {}\n", moduli.display());
        }
        if self.version >= (9, 8) {
            let part = |name| self.root.join("usr/lib/openssh").join(name).display().to_string();
            lines += &format!("SshdSessionPath {}\n", part("sshd-session"));
            if self.version >= (10, 0) {
                lines += &format!("SshdAuthPath {}\n", part("sshd-auth"));
            }
        }
        lines
    }

    /// What `ssh -Q what` of the same version lists.
    ///
    /// # Panics
    /// When the program does not run.
    pub fn query(&self, what: &str) -> Vec<String> {
        let output = Command::new(self.ssh()).args(["-Q", what]).output().expect("ssh -Q runs");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
}

/// `OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19 27 Jan 2026`
fn parse_version(banner: &str) -> Option<(u32, u32)> {
    let rest = banner.strip_prefix("OpenSSH_")?;
    let (major, rest) = rest.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(parse_version("OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19"), Some((9, 2)));
        assert_eq!(parse_version("OpenSSH_10.0p2 Debian-7~bpo12+1, OpenSSL 3.0.19"), Some((10, 0)));
        assert_eq!(parse_version("ssh: not found"), None);
    }
}
