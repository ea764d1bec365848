//! What copies leave behind, beside OpenSSH's own: the same command line for `scp` and `konko scp`, with OpenSSH's
//! `sftp-server` on this machine (`-D`).

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use konko_conformance::peers::{installed, konko, not_run};
use konko_conformance::process::Process;

/// Where distributions have it.
const SERVERS: [&str; 4] = [
    "/usr/lib/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/libexec/sftp-server",
];

/// Each with its mode, and when it was changed if that was kept.
type Entries = Vec<(PathBuf, u32, i64)>;

struct Both {
    konko: PathBuf,
    scp: PathBuf,
    server: &'static str,
}

impl Both {
    fn here() -> Option<Self> {
        let (konko, scp) = (konko()?, installed("scp")?);
        let server = SERVERS.into_iter().find(|path| Path::new(path).exists());
        if server.is_none() {
            not_run("sftp-server of OpenSSH", "not installed");
        }
        Some(Both { konko, scp, server: server? })
    }

    /// Runs both, each in a folder that `prepare` made, under `umask`; what stands in the folders then, with modes, and
    /// whether the program said that all went well.
    fn run(&self, prepare: impl Fn(&Path), umask: u32, args: &[&str]) -> [(bool, Entries); 2] {
        let programs = [(&self.scp, None), (&self.konko, Some("scp"))];
        programs.map(|(program, word)| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            prepare(folder.path());
            let mut command = Command::new("sh");
            command.args(["-c", &format!("umask {umask:o}; exec \"$@\""), "sh"]).arg(program).args(word);
            command.args(["-q", "-D", self.server]);
            // Remote paths are absolute: OpenSSH's server starts at home.
            let top = folder.path().to_str().expect("a path of our own");
            command.args(args.iter().map(|arg| match arg.split_once(':') {
                Some((host, path)) => format!("{host}:{top}/{path}"),
                None => (*arg).to_owned(),
            }));
            command.current_dir(folder.path());
            let finished =
                Process::new(command).deadline(Duration::from_secs(60)).run().expect("it ends in time");
            let mut found = Vec::new();
            list(folder.path(), folder.path(), &mut found);
            found.sort();
            (finished.code() == 0, found)
        })
    }
}

/// Paths, modes, and the times of the last change where they are old.
fn list(top: &Path, dir: &Path, found: &mut Entries) {
    for entry in fs::read_dir(dir).expect("the folder is there") {
        let path = entry.expect("the folder is readable").path();
        let meta = fs::symlink_metadata(&path).expect("the entry is there");
        let old = Some(meta.mtime()).filter(|time| *time < 1_500_000_000);
        let name = path.strip_prefix(top).expect("it is below").to_owned();
        found.push((name, meta.mode(), old.unwrap_or(0)));
        if meta.is_dir() {
            list(top, &path, found);
        }
    }
}

fn file(path: PathBuf, mode: u32) {
    fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the folder is writable");
    fs::write(&path, "content").expect("the folder is writable");
    chmod(&path, mode);
    let old = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let file = fs::File::options().append(true).open(&path).expect("the file is ours");
    file.set_modified(old).expect("the file is ours");
}

fn chmod(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the file is ours");
}

#[test]
fn a11_d5_d6_modes_and_times_beside_openssh() {
    let Some(both) = Both::here() else { return };
    for umask in [0o022, 0o077, 0o002] {
        for (mode, folder) in [(0o644, 0o755), (0o600, 0o700), (0o664, 0o775), (0o750, 0o555)] {
            let prepare = |top: &Path| {
                file(top.join("d/f"), mode);
                chmod(&top.join("d"), folder);
            };
            for ends in [["d/f", "h:to"], ["h:d/f", "to"], ["h:d/f", "g:to"]] {
                for flags in [&[][..], &["-p"]] {
                    let [theirs, ours] = both.run(prepare, umask, &[flags, &ends].concat());
                    assert_eq!(ours, theirs, "{flags:?} {ends:?} {umask:o} {mode:o}");
                }
            }
            for ends in [["d", "h:to"], ["h:d", "to"], ["h:d", "g:to"]] {
                for flags in ["-r", "-rp"] {
                    let [mut theirs, mut ours] = both.run(prepare, umask, &[flags, ends[0], ends[1]]);
                    // Up, OpenSSH sets the mode of a folder in the end whatever the umask is; down, it does not do so
                    // with -p either. konko leaves it at what the umask made of it, as cp(1), and keeps it with -p.
                    for found in [&mut theirs, &mut ours] {
                        found.1.iter_mut().filter(|entry| entry.0.ends_with("to")).for_each(|entry| {
                            entry.1 &= !umask;
                        });
                    }
                    assert_eq!(ours, theirs, "{flags} {ends:?} {umask:o} {folder:o}");
                }
            }
        }
    }
}

#[test]
fn a2_d4_names_and_ends_of_paths_beside_openssh() {
    let Some(both) = Both::here() else { return };
    let prepare = |top: &Path| {
        for name in ["s/report:2026/f", "s/aux", "s/back\\slash", "s/x y", "s/.hidden", "a", "b"] {
            file(top.join(name), 0o644);
        }
        fs::create_dir(top.join("t")).expect("the folder is writable");
        symlink("nowhere", top.join("dangling")).expect("the folder is writable");
    };
    for args in [
        &["-r", "s/.", "h:t"][..],
        &["-r", "h:s/.", "t"],
        &["-r", "s", "h:t"],
        &["-r", "s/", "h:t/"],
        &["-r", "h:s/", "t/"],
        &["-r", "h:s/*", "t"],
        &["-r", "h:s/report*", "t"],
        &["-r", "h:s/*", "g:t"],
        &["h:s/x\\ y", "t"],
        &["h:s/back\\\\slash", "t"],
        &["a", "h:t\\ u"],
        &["a", "b", "h:new"],
        &["h:[ab]", "new"],
        &["a", "h:dangling"],
        &["h:nothing", "t"],
        &["nothing", "h:t"],
        &["a", "h:nothing/x"],
        &["s", "h:t"],
        &["h:s", "t"],
    ] {
        let [theirs, ours] = both.run(prepare, 0o022, args);
        assert_eq!(ours, theirs, "{args:?}");
    }
}
