//! Files of known hosts are written whole, one writer after the other, and stay the user's own.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use konko::core::hosts::{Checked, Checking, HostKeyCheck, KnownHosts, NewHost, Settled, Trust, Unknown};
use konko::known_hosts::{append, change};
use konko::{KeyType, PrivateKey, PublicKey, Rng, Seed};
use rustix::fs::{FlockOperation, flock};

fn key() -> PublicKey {
    let kind = KeyType::from_name("ssh-ed25519").unwrap();
    PrivateKey::generate(kind, &mut Rng::from_seed(&Seed::new([5; 32]))).unwrap().public().clone()
}

fn new_host(file: &Path, host: &str) -> Box<NewHost> {
    let mut checking = Checking::default();
    checking.unknown = Unknown::AcceptNew;
    checking.user_files = vec![file.to_str().unwrap().into()];
    let check = HostKeyCheck::new(host, 22, Trust::KnownHosts(checking), Arc::new(KnownHosts::new()));
    match check.decide(&key()) {
        Checked::Settled(Settled::Accept { remember: Some(new), .. }) => new,
        other => panic!("{other:?}"),
    }
}

fn names(dir: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    names
}

#[test]
fn h19_writers_wait_for_each_other_and_nothing_is_lost() {
    const EACH: usize = 60;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("known_hosts");
    thread::scope(|scope| {
        for writer in ["a", "b"] {
            let file = &file;
            scope.spawn(move || {
                for n in 0..EACH {
                    change(file, |f| f.add(&format!("{writer}{n}"), 22, &key(), None))
                        .unwrap()
                        .result
                        .unwrap();
                }
            });
        }
        scope.spawn(|| (0..EACH).for_each(|n| append(&new_host(&file, &format!("c{n}"))).unwrap()));
    });
    let text = fs::read_to_string(&file).unwrap();
    let mut hosts: Vec<&str> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    assert_eq!((hosts.len(), text.lines().count()), (3 * EACH, 3 * EACH));
    assert_eq!(names(dir.path()), [file.clone(), dir.path().join("known_hosts.old")], "nothing is left over");
}

#[test]
fn h19_a_file_keeps_its_mode_and_what_was_before_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("known_hosts");
    let before = format!("# mine\na {}\n", key().to_openssh_line(""));
    fs::write(&file, &before).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    let done = change(&file, |f| f.remove("b", 22)).unwrap();
    assert_eq!((done.result, done.old), (0, None));
    let old = dir.path().join("known_hosts.old");
    assert!(!old.exists(), "nothing was changed");
    fs::write(&old, "older").unwrap();
    let done = change(&file, |f| f.remove("a", 22)).unwrap();
    assert_eq!((done.result, done.old.as_ref()), (1, Some(&old)));
    assert_eq!(fs::read_to_string(&file).unwrap(), "# mine\n");
    assert_eq!(fs::read_to_string(&old).unwrap(), before);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o640);
    let new = dir.path().join("folder/known_hosts");
    change(&new, |f| f.add("a", 22, &key(), None)).unwrap().result.unwrap();
    assert_eq!(new.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(new.parent().unwrap().metadata().unwrap().permissions().mode() & 0o7777, 0o700);
}

#[test]
fn h19_a_link_stays_a_link_and_one_that_lies_in_wait_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("dotfiles"), dir.path().join("known_hosts"));
    fs::write(&real, format!("a {}\n", key().to_openssh_line(""))).unwrap();
    symlink(&real, &link).unwrap();
    // Where the old contents go, somebody has put a link to a file of somebody else.
    let (other, old) = (dir.path().join("other"), dir.path().join("dotfiles.old"));
    fs::write(&other, "precious").unwrap();
    symlink(&other, &old).unwrap();
    assert_eq!(change(&link, |f| f.remove("a", 22)).unwrap().result, 1);
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_eq!(fs::read(&real).unwrap(), b"");
    assert_eq!(fs::read_to_string(&other).unwrap(), "precious");
    assert!(!old.symlink_metadata().unwrap().is_symlink());
}

#[test]
fn h19_what_cannot_be_changed_is_an_error_and_waits_for_nobody_forever() {
    let dir = tempfile::tempdir().unwrap();
    assert!(change(dir.path(), |f| f.remove("a", 22)).is_err(), "a folder");
    let fifo = dir.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(change(&fifo, |f| f.remove("a", 22)).is_err(), "a FIFO");
    assert_eq!(change("/dev/null", |f| f.add("a", 22, &key(), None).is_ok()).unwrap().old, None);
    let lock = fs::File::open(dir.path()).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let file = dir.path().join("known_hosts");
    let error = append(&new_host(&file, "a")).unwrap_err();
    assert!(error.to_string().contains("locked"), "{error}");
    assert!(!file.exists());
}
