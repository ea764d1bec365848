//! Our SFTP client and its programs against OpenSSH's, AsyncSSH's and Paramiko's servers.

use konko::core::crypto::HashAlgorithm;
use konko::core::sftp::{Extension, FileType, StatusCode};
use konko::sftp::{GetOptions, Links, OpenOptions, PutOptions, SftpOptions, Verify};
use konko::{Auth, Client, ClientOptions, HostKeys, Sftp};
use konko_conformance::data::Hasher;
use konko_conformance::log::say;
use konko_conformance::peers::{full, konko};
use konko_conformance::sshd::login;
use konko_conformance::{Checksum, KeyRing, OpenSsh, Pattern, Process, SftpServer, Sshd, not_run};
use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

const SIZES: [u64; 6] = [0, 1, 32_767, 32_768, 32_769, (1 << 20) + 1];

fn connect(port: u16, keys: &KeyRing) -> Client {
    let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
    let client = Client::connect(("127.0.0.1", port), options).unwrap();
    client.login(login(), Auth::new().key_file(keys.private("user_ed25519"))).unwrap();
    client
}

fn openssh() -> Option<OpenSsh> {
    let openssh = OpenSsh::system();
    if openssh.is_none() {
        not_run("OpenSSH's SFTP server", "sshd or ssh is not installed");
    }
    openssh
}

fn checksum(path: &Path) -> Checksum {
    let (mut file, mut hash) = (fs::File::open(path).unwrap(), Hasher::default());
    let mut buffer = vec![0; 1 << 20];
    while let n @ 1.. = file.read(&mut buffer).unwrap() {
        hash.update(&buffer[..n]);
    }
    hash.finish()
}

fn write_pattern(path: &Path, pattern: Pattern) {
    std::io::copy(&mut pattern.reader(), &mut fs::File::create(path).unwrap()).unwrap();
}

/// What every server has to do.
fn everything(sftp: &mut Sftp, peer: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    fs::create_dir(&here).unwrap();
    fs::create_dir(&there).unwrap();
    sftp.set_current_dir(&there).unwrap();
    files(sftp, &here, &there);
    objects(sftp, &there);
    // Its RENAME replaces what is there.
    names(sftp, &there, peer == "asyncssh");
    trees(sftp, &here, &there);
    extensions(sftp, &there, peer);
}

fn files(sftp: &Sftp, here: &Path, there: &Path) {
    for len in SIZES {
        let pattern = Pattern { seed: len, len };
        let (from, back) = (here.join("from"), here.join("back"));
        write_pattern(&from, pattern);
        sftp.put(&from, "f").unwrap();
        assert_eq!(checksum(&there.join("f")), pattern.checksum(), "put of {len}");
        let verify = GetOptions::new().verify(Verify::Reread(HashAlgorithm::Sha256));
        sftp.get_with("f", &back, &verify).unwrap();
        assert_eq!(checksum(&back), pattern.checksum(), "get of {len}");
        let mut bytes = Vec::new();
        sftp.get_to("f", &mut bytes).unwrap();
        assert_eq!(bytes, fs::read(&from).unwrap(), "stream of {len}");
        sftp.put_from(&mut &bytes[..], "g").unwrap();
        assert_eq!(checksum(&there.join("g")), pattern.checksum(), "stream to {len}");
    }
    // Half of it is there.
    let pattern = Pattern { seed: 7, len: 3_000_000 };
    write_pattern(&here.join("whole"), pattern);
    let bytes = fs::read(here.join("whole")).unwrap();
    fs::write(there.join("half"), &bytes[..1_000_001]).unwrap();
    fs::write(here.join("half"), &bytes[..2_000_001]).unwrap();
    let put = PutOptions::new().resume(true);
    assert_eq!(sftp.put_with(here.join("whole"), "half", &put).unwrap().bytes, 1_999_999);
    let get = GetOptions::new().resume(true);
    assert_eq!(sftp.get_with("half", here.join("half"), &get).unwrap().bytes, 999_999);
    assert_eq!(checksum(&there.join("half")), pattern.checksum());
    assert_eq!(checksum(&here.join("half")), pattern.checksum());
    // Permissions and times, there and back.
    let time = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::set_permissions(here.join("whole"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::File::options().write(true).open(here.join("whole")).unwrap().set_modified(time).unwrap();
    let put = PutOptions::new().preserve(true);
    sftp.put_with(here.join("whole"), "kept", &put).unwrap();
    let meta = fs::metadata(there.join("kept")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.modified().unwrap()), (0o640, time));
    sftp.get_with("kept", here.join("kept"), &GetOptions::new().preserve(true)).unwrap();
    let meta = fs::metadata(here.join("kept")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.modified().unwrap()), (0o640, time));
}

fn objects(sftp: &Sftp, there: &Path) {
    let mut file = sftp.open_with("o", &OpenOptions::new().read(true).write(true).create(true)).unwrap();
    file.write_all(&[b'a'; 100_000]).unwrap();
    file.seek(SeekFrom::Start(50_000)).unwrap();
    file.write_all(b"here").unwrap();
    file.seek(SeekFrom::Start(49_999)).unwrap();
    let mut six = [0; 6];
    file.read_exact(&mut six).unwrap();
    assert_eq!(&six, b"aherea");
    assert_eq!(file.metadata().unwrap().len(), 100_000);
    file.close().unwrap();
    let file = sftp.open("o").unwrap();
    let parts = file.read_ranges(&[(0, 3), (49_999, 6), (99_998, 10)]).unwrap();
    assert_eq!(parts, [b"aaa".to_vec(), b"aherea".to_vec(), b"aa".to_vec()]);
    let mut log = sftp.open_with("log", &OpenOptions::new().append(true).create(true)).unwrap();
    log.write_all(b"one").unwrap();
    log.flush().unwrap();
    log.write_all(b"two").unwrap();
    log.close().unwrap();
    assert_eq!(fs::read(there.join("log")).unwrap(), b"onetwo");
    sftp.truncate("log", 2).unwrap();
    // Paramiko's server empties the file first.
    assert_eq!(fs::metadata(there.join("log")).unwrap().len(), 2);
}

fn names(sftp: &Sftp, there: &Path, rename_replaces: bool) {
    sftp.create_dir_all("a/b").unwrap();
    sftp.write("a/b/f", "text").unwrap();
    sftp.symlink("b/f", "a/link").unwrap();
    assert_eq!(fs::read_link(there.join("a/link")).unwrap(), Path::new("b/f"));
    assert_eq!(sftp.read_link("a/link").unwrap(), b"b/f");
    assert_eq!(sftp.symlink_metadata("a/link").unwrap().file_type(), Some(FileType::Symlink));
    assert_eq!(sftp.metadata("a/link").unwrap().len(), 4);
    sftp.set_permissions("a/b/f", 0o600).unwrap();
    assert_eq!(fs::metadata(there.join("a/b/f")).unwrap().mode() & 0o7777, 0o600);
    sftp.rename_new("a/b/f", "a/b/g").unwrap();
    assert_eq!(sftp.rename_new("a/b/g", "a/link").is_ok(), rename_replaces);
    assert_eq!(sftp.open("a/b/f").unwrap_err().code(), Some(StatusCode::NO_SUCH_FILE));
    assert!(sftp.remove_dir("a").is_err());
    sftp.remove_file("a/link").unwrap();
    sftp.remove_dir_all("a").unwrap();
    assert!(!there.join("a").exists());
}

fn trees(sftp: &Sftp, here: &Path, there: &Path) {
    let files: usize = if full() { 10_000 } else { 1_000 };
    let tree = here.join("tree");
    for i in 0..files {
        let dir = tree.join(format!("d{}", i % 10));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("f{i}")), format!("{i} ").repeat(i % 300)).unwrap();
    }
    let deep = (0..40).fold(tree.clone(), |path, i| path.join(i.to_string()));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("bottom"), "deep").unwrap();
    let report = sftp.put_tree(&tree, "tree", &PutOptions::new(), Links::Skip).unwrap();
    assert!(report.is_complete() && report.files == files as u64 + 1, "{report:?}");
    same(&tree, &there.join("tree"));
    let report = sftp.get_tree("tree", here.join("tree2"), &GetOptions::new(), Links::Skip).unwrap();
    assert!(report.is_complete() && report.files == files as u64 + 1, "{report:?}");
    same(&tree, &here.join("tree2"));
    assert_eq!(sftp.walk("tree").map(Result::unwrap).count(), files + 1 + 10 + 40);
    assert_eq!(sftp.glob("tree/d[3-5]/f*3").unwrap().len(), files / 10);
    sftp.remove_dir_all("tree").unwrap();
}

fn same(a: &Path, b: &Path) {
    let diff = Command::new("diff").arg("-r").arg(a).arg(b).output().unwrap();
    assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
}

/// Those that the server has; what it does not have is an error that says so.
fn extensions(sftp: &Sftp, there: &Path, peer: &str) {
    sftp.write("x", "hello").unwrap();
    let has = |extension| sftp.supports(extension);
    if has(Extension::PosixRename) {
        sftp.write("y", "other").unwrap();
        sftp.rename("x", "y").unwrap();
        sftp.rename("y", "x").unwrap();
    }
    assert_eq!(sftp.statvfs(".").is_ok(), has(Extension::Statvfs));
    assert_eq!(sftp.open("x").unwrap().statvfs().is_ok(), has(Extension::Fstatvfs));
    assert_eq!(sftp.hard_link("x", "hard").is_ok(), has(Extension::Hardlink));
    let file = sftp.open_with("x", &OpenOptions::new().read(true).write(true)).unwrap();
    assert_eq!(file.sync_all().is_ok(), has(Extension::Fsync));
    if has(Extension::Lsetstat) {
        sftp.symlink("x", "lnk").unwrap();
        let set = konko::core::sftp::Attrs::new().with_times(5, 6);
        sftp.set_symlink_metadata("lnk", &set).unwrap();
        assert_eq!(fs::symlink_metadata(there.join("lnk")).unwrap().mtime(), 6);
    }
    assert_eq!(sftp.expand_path("~").is_ok(), has(Extension::ExpandPath));
    assert_eq!(sftp.home_dir(&login()).is_ok(), has(Extension::HomeDirectory));
    assert_eq!(sftp.users_groups(&[0], &[0]).is_ok(), has(Extension::UsersGroupsById));
    if has(Extension::CopyData) {
        let to = sftp.create("copied").unwrap();
        file.copy_data(1, 3, &to, 0).unwrap();
        assert_eq!(fs::read(there.join("copied")).unwrap(), b"ell");
    }
    let hash = sftp.check_file("x", &[HashAlgorithm::Sha1, HashAlgorithm::Sha256], (0, 0), 0);
    // Paramiko's server announces it and takes it by a name of its own.
    assert_eq!(hash.is_ok(), has(Extension::CheckFile) && peer != "paramiko");
    sftp.copy("x", "z").unwrap();
    assert_eq!(fs::read(there.join("z")).unwrap(), b"hello");
    let size = sftp.limits().read;
    assert!(!has(Extension::Limits) || size > 0);
}

/// Names are bytes.
fn any_names(sftp: &Sftp) {
    let folder = tempfile::tempdir().unwrap();
    let odd: Vec<Vec<u8>> = (1..=255u8)
        .filter(|b| *b != b'/')
        .map(|b| vec![b, b'x', b])
        .chain([b"\xff\xfe".to_vec(), b" ".to_vec(), b"-rf".to_vec(), b"a\nb".to_vec(), vec![b'n'; 255]])
        .collect();
    for name in &odd {
        let path = folder.path().join(std::ffi::OsString::from_vec(name.clone()));
        sftp.write(&path, name).unwrap();
        assert_eq!(fs::read(&path).unwrap(), *name);
    }
    let mut found: Vec<Vec<u8>> =
        sftp.read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().to_vec()).collect();
    found.sort();
    let mut odd = odd;
    odd.sort();
    assert!(found == odd);
    sftp.remove_dir_all(folder.path()).unwrap();
    fs::create_dir(folder.path()).unwrap();
    assert!(folder.path().as_os_str().as_bytes().starts_with(b"/"));
}

#[test]
fn openssh_over_a_connection() {
    let Some(openssh) = openssh() else { return };
    let sshd = Sshd::start(&openssh, &[]);
    let client = connect(sshd.port, &sshd.keys);
    everything(&mut client.sftp().unwrap(), "openssh");
    any_names(&client.sftp().unwrap());
}

#[test]
fn openssh_through_pipes() {
    let Some(openssh) = openssh() else { return };
    let mut sftp = Sftp::spawn(Command::new(openssh.sftp_server()), SftpOptions::default()).unwrap();
    everything(&mut sftp, "openssh");
    any_names(&sftp);
}

#[test]
fn asyncssh() {
    let Some(server) = SftpServer::start("asyncssh") else { return };
    everything(&mut connect(server.port, &server.keys).sftp().unwrap(), "asyncssh");
}

#[test]
fn paramiko() {
    let Some(server) = SftpServer::start("paramiko") else { return };
    everything(&mut connect(server.port, &server.keys).sftp().unwrap(), "paramiko");
}

#[test]
fn more_than_4_gib() {
    if !full() {
        return say("SFTP of 4 GiB and a byte: only with conformance/test --full");
    }
    let Some(openssh) = openssh() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (from, to, back) = (folder.path().join("from"), folder.path().join("to"), folder.path().join("back"));
    let len = (4u64 << 30) + 1;
    let file = fs::File::create(&from).unwrap();
    file.set_len(len).unwrap();
    for at in [0, 1 << 31, (1 << 32) - 1, len - 1] {
        file.write_all_at(b"x", at).unwrap();
    }
    let sftp = Sftp::spawn(Command::new(openssh.sftp_server()), SftpOptions::default()).unwrap();
    sftp.put(&from, &to).unwrap();
    assert_eq!(checksum(&to), checksum(&from));
    sftp.get_with(&to, &back, &GetOptions::new().sparse(true)).unwrap();
    assert_eq!(checksum(&back), checksum(&from));
    assert!(fs::metadata(&back).unwrap().blocks() < 1 << 20, "it has holes");
}

// ---- the programs ----

fn program(name: &str, sshd: &Sshd) -> Option<Command> {
    let mut command = Command::new(konko()?);
    command.arg(name).arg("-P").arg(sshd.port.to_string());
    command.arg("-i").arg(sshd.keys.private("user_ed25519"));
    command.arg("-o").arg(format!("UserKnownHostsFile={}", sshd.known_hosts().display()));
    command.args(["-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"]);
    Some(command)
}

fn sshd_with_sftp() -> Option<Sshd> {
    let openssh = openssh()?;
    Some(Sshd::start(&openssh, &[]))
}

#[test]
fn a_batch_of_every_command() {
    let Some(sshd) = sshd_with_sftp() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    fs::create_dir_all(here.join("tree/sub")).unwrap();
    fs::create_dir(&there).unwrap();
    fs::write(here.join("tree/sub/a b"), "spaces").unwrap();
    write_pattern(&here.join("big"), Pattern { seed: 1, len: 2_000_000 });
    let batch = format!(
        "# every command\nlcd {here}\ncd {there}\npwd\nlpwd\nput big\nput -P big 'with space'\nput -R tree\n\
         get 'with space' back\nget -R tree tree2\nchmod 640 big\nln -s big soft\nln big hard\nls -1\n-get nothing\n\
         rename hard harder\nsymlink big soft2\ncp big copy\nmkdir dir\nrmdir dir\nrm soft*\ndf\ndf -hi\nls -la\n\
         ls -lnrt\nlmkdir made\nlls\n!true\nversion\nprogress\nhelp\nreput big\nreget big back\nbye\nget after\n",
        here = here.display(),
        there = there.display()
    );
    fs::write(folder.path().join("batch"), batch).unwrap();
    let Some(mut command) = program("sftp", &sshd) else { return };
    command.arg("-b").arg(folder.path().join("batch")).arg(format!("{}@127.0.0.1", login()));
    let done = Process::new(command).run().unwrap();
    done.expect_code(0);
    let out = done.stdout.text();
    assert!(out.contains(&format!("Remote working directory: {}", there.display())), "{done}");
    assert!(out.contains("sftp> put big\n") && !out.contains("get after"), "{done}");
    assert_eq!(checksum(&here.join("back")), checksum(&here.join("big")));
    assert_eq!(checksum(&there.join("copy")), checksum(&here.join("big")));
    same(&here.join("tree"), &there.join("tree"));
    same(&here.join("tree"), &here.join("tree2"));
    assert!(here.join("made").is_dir() && there.join("harder").exists() && !there.join("soft").exists());
    assert_eq!(fs::metadata(there.join("big")).unwrap().mode() & 0o7777, 0o640);
}

#[test]
fn the_first_error_ends_a_batch() {
    let Some(sshd) = sshd_with_sftp() else { return };
    let folder = tempfile::tempdir().unwrap();
    let run = |lines: &str| {
        fs::write(folder.path().join("batch"), lines).unwrap();
        let mut command = program("sftp", &sshd)?;
        command.arg("-b").arg(folder.path().join("batch")).arg(format!("{}@127.0.0.1", login()));
        Some(Process::new(command).run().unwrap())
    };
    let Some(done) = run("get /no/such/file\npwd\n") else { return };
    done.expect_code(1).expect_stderr(&["not found"]);
    assert!(!done.stdout.text().contains("Remote working directory"), "{done}");
    run("-get /no/such/file\n@pwd\n").unwrap().expect_code(0);
    run("frobnicate\n").unwrap().expect_code(1).expect_stderr(&["invalid command"]);
    // Nobody listens there.
    let mut command = Command::new(konko().unwrap());
    command.args(["sftp", "-P", "1", "-o", "BatchMode=yes", "127.0.0.1"]);
    Process::new(command).run().unwrap().expect_code(255);
}

#[test]
fn scp_there_back_and_between() {
    let Some(sshd) = sshd_with_sftp() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let remote = |name: &str| format!("{}@127.0.0.1:{}", login(), at(name).display());
    fs::create_dir_all(at("tree/sub")).unwrap();
    write_pattern(&at("tree/sub/f"), Pattern { seed: 2, len: 1_000_000 });
    fs::write(at("tree/g*"), "a star").unwrap();
    let scp = |args: &[&str], code: i32| {
        let Some(mut command) = program("scp", &sshd) else { return };
        command.args(args);
        Process::new(command).run().unwrap().expect_code(code);
    };
    let path = |name: &str| at(name).display().to_string();
    scp(&["-rp", &path("tree"), &remote("t1")], 0);
    scp(&["-r", &remote("t1"), &path("t2")], 0);
    scp(&["-3r", &remote("t1"), &remote("t3")], 0);
    for copy in ["t1", "t2", "t3"] {
        if konko().is_some() {
            same(&at("tree"), &at(copy));
        }
    }
    scp(&[&remote("tree"), &path("t4")], 1);
    scp(&[&remote("none"), &path("t5")], 1);
    scp(&[&remote("tree/g*"), &path("tree/sub/f"), &remote("t1")], 0);
}
