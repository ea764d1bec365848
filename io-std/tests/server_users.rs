//! The table of users and its files.
#![cfg(feature = "server")]

use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use konko::core::authorized_keys::AuthorizedKeys;
use konko::core::keys::PublicKey;
use konko::server::users::{BadUser, KeyFile, PasswordFileProblem, User, Users};
use tempfile::TempDir;

const ALICE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINFtSbggKRyVeFDitf8xA29Zg+1YGYKaPC9ct1zY2Y5Q";
const BOB: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
/// "secret", made by the program argon2.
const HASH: &str = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$4mqQiyq0VpIzuZmp+8eSF3YJ7Av58TkEJ4LIdOVsAc4";

fn key(line: &str) -> PublicKey {
    PublicKey::from_openssh_line(line.as_bytes()).unwrap().0
}

/// A file that only we can write.
fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

fn file(dir: &TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("file");
    write(&path, text);
    path
}

/// What a table warns of.
fn listen(users: &mut Users) -> Arc<Mutex<Vec<String>>> {
    let said = Arc::new(Mutex::new(Vec::new()));
    let out = said.clone();
    users.on_warning(move |text| out.lock().unwrap().push(text.to_owned()));
    said
}

fn take(said: &Mutex<Vec<String>>) -> Vec<String> {
    std::mem::take(&mut said.lock().unwrap())
}

/// Makes the file old, so that it is not read again for being new.
fn age(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(100)).unwrap();
}

#[test]
fn keys_of_a_user_and_keys_for_everybody() {
    let keys = |text: &str| AuthorizedKeys::parse("keys", text.as_bytes()).unwrap();
    let mut users = Users::new();
    users.add("alice", User::new().keys(keys(ALICE))).unwrap();
    assert!(users.key("alice", &key(ALICE), None).is_some());
    assert!(users.key("bob", &key(ALICE), None).is_none());
    assert!(users.key("alice", &key(BOB), None).is_none());
    users.add_keys(keys(&format!("from=\"192.0.2.1\",restrict {BOB} for everybody")));
    let from = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    let entry = users.key("anybody", &key(BOB), from("192.0.2.1")).unwrap();
    assert!(!entry.options.pty);
    assert_eq!(entry.comment().to_str(), Some("for everybody"));
    assert!(users.key("anybody", &key(BOB), from("192.0.2.2")).is_none());
    assert!(users.key("anybody", &key(BOB), None).is_none());
}

#[test]
fn a_key_file_is_read_again_when_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("authorized_keys");
    let mut users = Users::new();
    let said = listen(&mut users);
    users.add("alice", User::new().key_file(KeyFile::new(&path))).unwrap();
    assert_eq!(take(&said).len(), 1, "it is not there");
    let may = |line: &str| users.key("alice", &key(line), None).is_some();
    assert!(!may(ALICE));
    assert!(take(&said).is_empty(), "that was said");
    write(&path, ALICE);
    assert!(may(ALICE) && !may(BOB));
    // The same length, and the same time as far as a coarse clock can tell.
    write(&path, BOB);
    assert!(may(BOB) && !may(ALICE));
    age(&path);
    assert!(may(BOB) && may(BOB));
    write(&path, &format!("{ALICE}\ncomand=\"x\" {BOB}\n"));
    assert!(may(ALICE) && !may(BOB) && !may(BOB));
    let warnings = take(&said);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("authorized_keys:2: the option \"comand\" is not known"), "{warnings:?}");
    fs::remove_file(&path).unwrap();
    assert!(!may(ALICE), "nobody comes in by what was there");
    write(&path, ALICE);
    assert!(may(ALICE));
}

#[test]
fn f15_a_key_file_that_others_can_change_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, ALICE);
    let mut users = Users::new();
    let said = listen(&mut users);
    users.add_key_file(KeyFile::new(&path));
    let may = || users.key("x", &key(ALICE), None).is_some();
    assert!(may());
    for mode in [0o620, 0o602, 0o666] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert!(!may(), "{mode:o}");
        assert!(take(&said)[0].contains("can be written by others"));
    }
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    assert!(may());
    fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
    assert!(!may());
    assert!(take(&said)[0].contains("its folder can be written by others"));
    fs::set_permissions(dir.path(), Permissions::from_mode(0o1777)).unwrap();
    assert!(may(), "in a folder like /tmp nobody can put another in its place");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    // Only root can give files away.
    if std::os::unix::fs::chown(&path, Some(12345), None).is_ok() {
        assert!(!may());
        assert!(take(&said)[0].contains("owned by another user"));
        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();
        users.add_key_file(KeyFile::new(&link));
        assert!(users.key("x", &key(ALICE), None).is_none(), "nor by a link to it");
        let lax = KeyFile::new(&path).insecure_any_owner();
        users.add_key_file(lax);
        assert!(users.key("x", &key(ALICE), None).is_some());
    }
}

#[test]
fn f15_what_is_no_regular_file_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    for path in [&path, dir.path(), Path::new("/dev/zero")] {
        let mut users = Users::new();
        let said = listen(&mut users);
        users.add_key_file(KeyFile::new(path));
        assert!(take(&said)[0].contains("not a regular file"), "{}", path.display());
        let error = users.add_password_file(path).unwrap_err();
        assert!(error.to_string().ends_with("not a regular file"), "{error}");
    }
    let large = file(&dir, &"#".repeat(1024 * 1024 + 1));
    let mut users = Users::new();
    let said = listen(&mut users);
    users.add_key_file(KeyFile::new(&large));
    assert!(take(&said)[0].contains("larger than 1 MiB"));
    assert!(users.add_password_file(&large).unwrap_err().to_string().contains("larger than 1 MiB"));
}

#[test]
fn a_password_file() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("# users\n\nalice:{HASH}\r\nbob:plain:with: colons and \u{e9} \ncarol:plain:x\n");
    let path = file(&dir, &text);
    let mut users = Users::new();
    let said = listen(&mut users);
    users.add_password_file(&path).unwrap();
    assert!(users.check_password("alice", b"secret") && !users.check_password("alice", b"Secret"));
    assert!(users.check_password("bob", "with: colons and \u{e9} ".as_bytes()));
    assert!(!users.check_password("bob", "with: colons and \u{e9}".as_bytes()));
    assert!(!users.check_password("#", b"users"));
    let warnings = take(&said);
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("2 passwords stand in the file as they are; "), "{warnings:?}");
}

#[test]
fn an_error_names_file_and_line_and_nothing_is_added() {
    let dir = tempfile::tempdir().unwrap();
    let bad = [
        ("alice", "neither"),
        ("alice:", "neither"),
        ("alice:secret", "neither"),
        (":plain:x", "user name"),
        ("a b:plain:x", "user name"),
        ("alice:plain:", "empty"),
        ("ok:plain:x", "already"),
        ("alice:$1$salt$hash", "not an argon2 hash"),
        ("alice:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$!", "not an argon2 hash"),
    ];
    for (line, problem) in bad {
        let path = file(&dir, &format!("ok:plain:x\n# comment\n{line}\n"));
        let mut users = Users::new();
        users.add("other", User::new().password("y")).unwrap();
        let error = users.add_password_file(&path).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("{}:3: ", path.display())) && text.contains(problem), "{text}");
        assert!(!users.check_password("ok", b"x"), "nothing of it is used");
        assert!(users.check_password("other", b"y"));
    }
    let path = file(&dir, "other:plain:x");
    let mut users = Users::new();
    users.add("other", User::new().password("y")).unwrap();
    let error = users.add_password_file(&path).unwrap_err();
    assert!(matches!(error.problem, PasswordFileProblem::User(BadUser::Twice)));
    assert!(users.check_password("other", b"y"));
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    assert!(Users::new().add_password_file(&path).unwrap_err().to_string().contains("written by others"));
    assert!(Users::new().add_password_file(dir.path().join("none")).is_err());
}
