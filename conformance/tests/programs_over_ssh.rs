//! Programs that run `ssh` find konko under that name, by a symlink in their PATH, with nothing but the user's
//! configuration to go by; the server is OpenSSH's. Each that is not installed says so.

use konko_conformance::peers::cannot_run;
use konko_conformance::peers::{folder, installed, konko};
use konko_conformance::{Finished, OpenSsh, Process, Sshd, not_run};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A home folder whose configuration knows the server as `target`, and a PATH where konko is `ssh`, `sftp` and `scp`.
struct Desk {
    sshd: Sshd,
    home: tempfile::TempDir,
}

impl Desk {
    /// `None`, and recorded as not run, where there is no server or no konko.
    fn new() -> Option<Self> {
        let (Some(openssh), Some(konko)) = (OpenSsh::system(), konko()) else { return None };
        let sshd = Sshd::start(&openssh, &["MaxStartups 100:30:200", "MaxSessions 100"]);
        let home = tempfile::tempdir().expect("a folder");
        let bin = home.path().join("bin");
        fs::create_dir(&bin).expect("a folder");
        for name in ["ssh", "sftp", "scp"] {
            symlink(&konko, bin.join(name)).expect("a link");
        }
        fs::create_dir(home.path().join(".ssh")).expect("a folder");
        let config = format!(
            "Host target\n  HostName 127.0.0.1\n  Port {}\n  User {}\n  IdentityFile {}\n  IdentitiesOnly yes\n  \
             UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  BatchMode yes\n",
            sshd.port,
            konko_conformance::sshd::login(),
            sshd.keys.private("user_ed25519").display(),
            sshd.known_hosts().display(),
        );
        let path = home.path().join(".ssh/config");
        fs::write(&path, config).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("permissions");
        Some(Desk { sshd, home })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn ssh(&self) -> PathBuf {
        self.file("bin/ssh")
    }

    /// A command with that PATH and home, and nothing that says which ssh to take, or which kind it is.
    fn call(&self, program: impl AsRef<Path>, args: &[&str]) -> Command {
        let mut command = Command::new(program.as_ref());
        let path = std::env::var("PATH").unwrap_or_default();
        command.args(args).env("PATH", format!("{}:{path}", self.file("bin").display()));
        command.env("HOME", self.home.path()).current_dir(self.home.path());
        for name in [
            "GIT_SSH",
            "GIT_SSH_COMMAND",
            "GIT_SSH_VARIANT",
            "RSYNC_RSH",
            "BORG_RSH",
            "SSH_AUTH_SOCK",
            "SSH_ASKPASS",
        ] {
            command.env_remove(name);
        }
        command
    }

    #[track_caller]
    fn run(&self, program: impl AsRef<Path>, args: &[&str]) -> Finished {
        let name = format!("{} {args:?}", program.as_ref().display());
        let done = Process::new(self.call(program, args)).deadline(Duration::from_secs(120)).run();
        let done = done.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(done.code(), 0, "{name}: {done}");
        done
    }
}

fn contents(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn git_clones_and_pushes_without_being_told_which_ssh_it_is() {
    let (Some(desk), Some(git)) = (Desk::new(), installed("git")) else { return };
    let bare = desk.file("bare.git");
    desk.run(&git, &["init", "-q", "--bare", "-b", "main", &bare.display().to_string()]);
    let url = format!("target:{}", bare.display());
    desk.run(&git, &["clone", "-q", &url, "work"]);
    fs::write(desk.file("work/file"), "from here\n").expect("a file");
    let work = ["-C", "work", "-c", "user.name=a", "-c", "user.email=a@b"];
    desk.run(&git, &[&work[..], &["add", "file"]].concat());
    desk.run(&git, &[&work[..], &["commit", "-q", "-m", "one"]].concat());
    desk.run(&git, &[&work[..], &["push", "-q", "origin", "HEAD:main"]].concat());
    // A port in the URL: git asks what kind of ssh this is, and then says -p.
    let url = format!("ssh://target:{}{}", desk.sshd.port, bare.display());
    desk.run(&git, &["-c", "protocol.version=2", "clone", "-q", "-b", "main", &url, "other"]);
    assert_eq!(contents(&desk.file("other/file")), b"from here\n");
}

#[test]
fn rsync_copies_there_and_back() {
    let (Some(desk), Some(rsync)) = (Desk::new(), installed("rsync")) else { return };
    fs::create_dir_all(desk.file("from/deep")).expect("a folder");
    let data: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    fs::write(desk.file("from/deep/data"), &data).expect("a file");
    let there = format!("target:{}", desk.file("there/").display());
    desk.run(&rsync, &["-az", "--delete", "from/", &there]);
    let port = format!("ssh -p {} -o Compression=yes", desk.sshd.port);
    desk.run(&rsync, &["-a", "-e", &port, &there, "back/"]);
    assert_eq!(contents(&desk.file("back/deep/data")), data);
}

#[test]
fn borg_and_restic_keep_their_archives_there() {
    let Some(desk) = Desk::new() else { return };
    fs::create_dir(desk.file("data")).expect("a folder");
    fs::write(desk.file("data/one"), "kept\n").expect("a file");
    if let Some(borg) = installed("borg") {
        let repository = format!("ssh://target{}", desk.file("borg").display());
        desk.run(&borg, &["init", "-e", "none", &repository]);
        desk.run(&borg, &["create", &format!("{repository}::first"), "data"]);
        fs::create_dir(desk.file("out")).expect("a folder");
        let mut call = desk.call(&borg, &["extract", &format!("{repository}::first")]);
        call.current_dir(desk.file("out"));
        let done = Process::new(call).deadline(Duration::from_secs(120)).run().expect("it ends");
        assert_eq!(done.code(), 0, "{done}");
        assert_eq!(contents(&desk.file("out/data/one")), b"kept\n");
    }
    if let Some(restic) = installed("restic") {
        let repository = format!("sftp:target:{}", desk.file("restic").display());
        let run = |args: &[&str]| {
            let mut call = desk.call(&restic, &[&["-q", "-r", &repository], args].concat());
            call.env("RESTIC_PASSWORD", "secret");
            let done = Process::new(call).deadline(Duration::from_secs(180)).run().expect("it ends");
            assert_eq!(done.code(), 0, "restic {args:?}: {done}");
        };
        run(&["init"]);
        run(&["backup", "data"]);
        run(&["restore", "latest", "--target", "restored"]);
        let restored = desk.file("restored/data/one");
        assert_eq!(contents(&restored), b"kept\n");
    }
}

#[test]
fn opensshs_sftp_and_scp_connect_by_it() {
    let Some(desk) = Desk::new() else { return };
    fs::write(desk.file("one"), "over sftp\n").expect("a file");
    let ssh = desk.ssh().display().to_string();
    let mut all = vec![PathBuf::from("/usr/bin")];
    all.extend(OpenSsh::ten().and_then(|ten| Some(ten.ssh().parent()?.to_owned())));
    for (n, bin) in all.iter().enumerate() {
        let (scp, sftp) = (bin.join("scp"), bin.join("sftp"));
        let there = desk.file(&format!("there{n}"));
        desk.run(&scp, &["-q", "-S", &ssh, "one", &format!("target:{}", there.display())]);
        assert_eq!(contents(&there), b"over sftp\n");
        // The old protocol runs scp there.
        let old = desk.file(&format!("old{n}"));
        desk.run(&scp, &["-q", "-O", "-S", &ssh, "one", &format!("target:{}", old.display())]);
        assert_eq!(contents(&old), b"over sftp\n");
        fs::write(desk.file("batch"), format!("get {} back{n}\n", there.display())).expect("a file");
        desk.run(&sftp, &["-q", "-S", &ssh, "-b", "batch", "target"]);
        assert_eq!(contents(&desk.file(&format!("back{n}"))), b"over sftp\n");
    }
}

#[test]
fn ansible_reaches_its_hosts_in_all_ways_to_send_files() {
    let Some(desk) = Desk::new() else { return };
    let ansible = [folder().join("venv/bin/ansible"), "/usr/bin/ansible".into()];
    let Some(ansible) = ansible.into_iter().find(|path| path.exists()) else {
        not_run("ansible", "not installed");
        return;
    };
    for method in ["sftp", "scp", "piped"] {
        let mut call = desk.call(&ansible, &["-i", "target,", "all", "-m", "ping", "-vvv"]);
        call.env("ANSIBLE_SSH_TRANSFER_METHOD", method).env("ANSIBLE_PYTHON_INTERPRETER", "/usr/bin/python3");
        call.env("ANSIBLE_LOCAL_TEMP", desk.file("tmp")).env("ANSIBLE_REMOTE_TMP", desk.file("remote"));
        call.env("LC_ALL", "C.UTF-8").env_remove("ANSIBLE_PIPELINING");
        let done = Process::new(call).deadline(Duration::from_secs(180)).run().expect("it ends");
        assert!(done.code() == 0 && done.stdout.text().contains("\"ping\": \"pong\""), "{method}: {done}");
    }
    let mut call = desk.call(&ansible, &["-i", "target,", "all", "-m", "command", "-a", "echo done"]);
    call.env("ANSIBLE_PIPELINING", "true")
        .env("ANSIBLE_PYTHON_INTERPRETER", "/usr/bin/python3")
        .env("LC_ALL", "C.UTF-8");
    let done = Process::new(call).deadline(Duration::from_secs(180)).run().expect("it ends");
    assert!(done.code() == 0 && done.stdout.text().contains("done"), "{done}");
}

#[test]
fn sshfs_mounts_a_folder() {
    let (Some(desk), Some(sshfs)) = (Desk::new(), installed("sshfs")) else { return };
    if let Err(e) = fs::File::options().read(true).write(true).open("/dev/fuse") {
        cannot_run("sshfs", &format!("/dev/fuse: {e}"));
        return;
    }
    fs::create_dir(desk.file("served")).expect("a folder");
    fs::create_dir(desk.file("mounted")).expect("a folder");
    fs::write(desk.file("served/one"), "seen\n").expect("a file");
    let (from, to) =
        (format!("target:{}", desk.file("served").display()), desk.file("mounted").display().to_string());
    desk.run(&sshfs, &[&from, &to]);
    let seen = fs::read(desk.file("mounted/one"));
    desk.run("fusermount", &["-u", &to]);
    assert_eq!(seen.expect("it is mounted"), b"seen\n");
}

/// Sharing of connections is for another time: each call has one of its own, and says so with `-v`.
#[test]
fn what_shares_connections_is_taken_and_said() {
    let Some(desk) = Desk::new() else { return };
    let options = ["-o", "ControlMaster=auto", "-o", "ControlPersist=60s", "-o", "ControlPath=%d/cp-%C"];
    let quiet = desk.run(desk.ssh(), &[&options[..], &["target", "echo one"]].concat());
    assert_eq!(quiet.stdout.text().trim(), "one");
    let flags = ["-v", "-a", "-x", "-k", "-T", "-2", "-4", "-n"];
    let loud = desk.run(
        desk.ssh(),
        &[&flags[..], &options, &["-l", &konko_conformance::sshd::login(), "target", "echo two"]].concat(),
    );
    for name in ["ControlMaster", "ControlPersist", "ControlPath"] {
        loud.expect_stderr(&[&format!("not supported yet: {name}")]);
    }
}
