//! Programs that bring a protocol of their own and let an ssh carry it: each runs over the program under test, twice,
//! with files large and small, and what arrives is compared. rsync gives its remote shell sockets that do not block.

use konko_conformance::peers::installed;
use konko_conformance::{OpenSsh, Process, Program, Sshd, not_run};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A server, a script that is an ssh to it, and folders with files.
struct Rig {
    sshd: Sshd,
    ssh: PathBuf,
    to: String,
    dir: tempfile::TempDir,
}

impl Rig {
    fn new(tool: &str) -> Option<Self> {
        let program = Program::under_test()?;
        let Some(openssh) = OpenSsh::system() else {
            not_run(&format!("{tool} over konko ssh"), "sshd or ssh is not installed");
            return None;
        };
        installed(tool)?;
        let sshd = Sshd::start(&openssh, &[]);
        let dir = tempfile::tempdir().expect("a temporary folder");
        let command = program.to(&sshd).into_command("");
        let words: Vec<String> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| format!("'{}'", word.to_string_lossy()))
            .collect();
        let (to, words) = words.split_last().expect("a call ends with its destination");
        let ssh = dir.path().join("ssh");
        fs::write(&ssh, format!("#!/bin/sh\nexec {} \"$@\"\n", words.join(" "))).expect("a writable folder");
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("the file is ours");
        let from = dir.path().join("from/sub");
        fs::create_dir_all(&from).expect("a writable folder");
        for i in 0..200u32 {
            fs::write(from.join(format!("small {i}")), i.to_string().repeat(100)).expect("a writable folder");
        }
        let noise: Vec<u8> = (0..8_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        fs::write(from.join("large"), noise).expect("a writable folder");
        Some(Rig { to: to.trim_matches('\'').to_owned(), sshd, ssh, dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Runs a program with this script as its ssh.
    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        command.args(arguments).env("HOME", self.dir.path()).env("BORG_RSH", &self.ssh);
        command.env("GIT_SSH_COMMAND", &self.ssh).env("UNISON", self.path("unison"));
        command.env("RESTIC_PASSWORD", "secret").env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes");
        command.env("BORG_RELOCATED_REPO_ACCESS_IS_OK", "yes").current_dir(self.dir.path());
        let done = Process::new(command).deadline(Duration::from_secs(120)).run();
        done.unwrap_or_else(|e| panic!("{e}")).expect_code(0);
    }

    /// What was sent, and what came.
    fn same(&self, a: &str, b: &str) {
        self.run("diff", &["-r", &self.shown(a), &self.shown(b)]);
        let count = fs::read_dir(Path::new(&self.shown(b))).map_or(0, Iterator::count);
        assert!(count > 0, "{b} is empty (port {})", self.sshd.port);
    }
}

#[test]
fn b1_rsync_over_the_program() {
    let Some(rig) = Rig::new("rsync") else { return };
    let (ssh, to) = (rig.ssh.display().to_string(), &rig.to);
    for i in 0..2 {
        let (there, back) = (format!("there{i}"), format!("back{i}"));
        let remote = format!("{to}:{}/", rig.shown(&there));
        rig.run("rsync", &["-a", "-e", &ssh, &format!("{}/", rig.shown("from")), &remote]);
        rig.run("rsync", &["-a", "-e", &ssh, &remote, &format!("{}/", rig.shown(&back))]);
        rig.same("from", &there);
        rig.same("from", &back);
    }
}

#[test]
fn b1_git_over_the_program() {
    let Some(rig) = Rig::new("git") else { return };
    let from = rig.shown("from");
    rig.run("git", &["init", "-q", "-b", "main", &from]);
    rig.run("git", &["-C", &from, "add", "."]);
    let who = ["-c", "user.name=n", "-c", "user.email=e"];
    rig.run("git", &[&["-C", &from][..], &who, &["commit", "-q", "-m", "all"]].concat());
    for i in 0..2 {
        let (bare, clone) = (rig.shown(&format!("bare{i}")), rig.shown(&format!("clone{i}")));
        let remote = format!("{}:{bare}", rig.to);
        rig.run("git", &["init", "-q", "--bare", "-b", "main", &bare]);
        rig.run("git", &["-C", &from, "push", "-q", &remote, "main"]);
        rig.run("git", &["clone", "-q", &remote, &clone]);
        rig.same("from/sub", &format!("clone{i}/sub"));
    }
}

#[test]
fn b1_borg_over_the_program() {
    let Some(rig) = Rig::new("borg") else { return };
    for i in 0..2 {
        let repository = format!("{}:{}", rig.to, rig.shown(&format!("borg{i}")));
        rig.run("borg", &["init", "-e", "none", &repository]);
        rig.run("borg", &["create", &format!("{repository}::all"), "from"]);
        let back = rig.path(&format!("back{i}"));
        fs::rename(rig.path("from"), &back).expect("a folder of ours");
        rig.run("borg", &["extract", &format!("{repository}::all")]);
        rig.same(&format!("back{i}"), "from");
    }
}

#[test]
fn b1_restic_over_the_program() {
    let Some(rig) = Rig::new("restic") else { return };
    let command = format!("sftp.command={} {} -s sftp", rig.ssh.display(), rig.to);
    for i in 0..2 {
        let repository = format!("sftp:{}:{}", rig.to, rig.shown(&format!("restic{i}")));
        let base = ["-q", "--no-cache", "-o", &command, "-r", &repository];
        rig.run("restic", &[&base[..], &["init"]].concat());
        rig.run("restic", &[&base[..], &["backup", "from"]].concat());
        let back = format!("back{i}");
        rig.run("restic", &[&base[..], &["restore", "latest", "--target", &back]].concat());
        rig.same("from", &format!("{back}/from"));
    }
}

#[test]
fn b1_unison_over_the_program() {
    let Some(rig) = Rig::new("unison") else { return };
    let ssh = rig.ssh.display().to_string();
    for i in 0..2 {
        let there = format!("there{i}");
        let remote = format!("ssh://{}/{}", rig.to, rig.shown(&there));
        rig.run("unison", &["-batch", "-ui", "text", "-sshcmd", &ssh, &rig.shown("from"), &remote]);
        rig.same("from", &there);
    }
}
