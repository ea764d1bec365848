//! No path, no link and no race leads out of the root (group S of the flaw catalogue).
#![cfg(feature = "server")]

mod sftp_rig;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use konko::core::sftp::*;
use konko::sftp::Root;
use sftp_rig::{Got, Rig};

const SECRET: &[u8] = b"nobody in the jail may know this";
const READ: OpenFlags = OpenFlags::READ;
const NO_SUCH_FILE: StatusCode = StatusCode::NO_SUCH_FILE;

/// `top/user1` is the root; `top/user10` and `top/secret` are not.
struct Place {
    top: tempfile::TempDir,
    root: PathBuf,
}

impl Place {
    fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("user1");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("inside"), "inside").unwrap();
        fs::write(root.join("a/b/deep"), "deep").unwrap();
        fs::create_dir(top.path().join("user10")).unwrap();
        fs::write(top.path().join("user10/secret"), SECRET).unwrap();
        fs::write(top.path().join("secret"), SECRET).unwrap();
        fs::create_dir(top.path().join("empty")).unwrap();
        Place { top, root }
    }

    /// Everything outside of the root, with what could change of it.
    fn outside(&self) -> BTreeMap<PathBuf, (u32, i64, i64, u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        let mut todo = vec![self.top.path().to_owned()];
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                if path == self.root {
                    continue;
                }
                let stat = fs::symlink_metadata(&path).unwrap();
                let content = if stat.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
                let times = (stat.mtime(), stat.mtime_nsec());
                found.insert(path.clone(), (stat.mode(), times.0, times.1, stat.uid(), content));
                if stat.is_dir() {
                    todo.push(path);
                }
            }
        }
        found
    }

    fn host(&self, name: &str) -> String {
        self.top.path().join(name).to_str().unwrap().to_owned()
    }
}

/// Every request that has a path, with a path that must not work. What it can find out is returned.
fn everything(rig: &mut Rig, path: &[u8]) -> Vec<Got> {
    let set = Attrs::new().with_permissions(0o777).with_times(1, 1);
    let create = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
    let none = Attrs::new();
    let mut answers = vec![
        rig.call(|c| c.stat(path)),
        rig.call(|c| c.lstat(path)),
        rig.call(|c| c.open(path, READ, &none)),
        rig.call(|c| c.open(path, create, &none)),
        rig.call(|c| c.opendir(path)),
        rig.call(|c| c.setstat(path, &set)),
        rig.call(|c| c.setstat(path, &Attrs::new().with_size(0))),
        rig.call(|c| c.readlink(path)),
        rig.call(|c| c.statvfs(path)),
        rig.call(|c| c.rename(path, b"/caught2")),
        rig.call(|c| c.symlink(b"x", path)),
        rig.call(|c| c.mkdir(path, &none)),
        rig.call(|c| c.rmdir(path)),
        rig.call(|c| c.remove(path)),
    ];
    // A server that is read-only does not even offer these.
    if rig.client.supports(Extension::PosixRename) {
        answers.extend([
            rig.call(|c| c.lsetstat(path, &set)),
            rig.call(|c| c.hardlink(path, b"/caught1")),
            rig.call(|c| c.hardlink(b"/inside", path)),
            rig.call(|c| c.posix_rename(path, b"/caught3")),
            rig.call(|c| c.posix_rename(b"/a/b/deep", path)),
        ]);
    }
    answers
}

/// Whether an answer could have come from outside.
fn tells(got: &Got) -> bool {
    match got {
        Got::Attrs(attrs) => attrs.size() == Some(SECRET.len() as u64),
        Got::Status(_, text) => text.contains("user1") || text.contains("tmp"),
        _ => false,
    }
}

#[test]
fn s_09_no_path_leads_out_of_the_root() {
    for walk in [false, true] {
        let place = Place::new();
        let before = place.outside();
        let root = Root::open(&place.root).unwrap();
        let root = if walk { root.walk() } else { root };
        let host = place.host("secret");
        let mut paths: Vec<String> = Vec::new();
        for end in ["secret", "user10/secret", "user10", "empty"] {
            for way in [
                "../",
                "/../",
                "//../",
                "a/../../",
                "/a/../../",
                "a/b/../../../",
                "./../",
                "/./../",
                "/..//../",
                "a/./b/../../../",
                "../user1/../",
                "../user1/a/../../",
                "....//",
                "..\\",
                "/a/b/../../../../",
                "%2e%2e/",
                "..%2f",
                "\u{202e}../",
                "a\u{2215}../../",
                "../../../../../../../../../../",
            ] {
                paths.push(format!("{way}{end}"));
                paths.push(format!("{way}{end}/"));
                paths.push(format!("{way}{end}/."));
            }
        }
        // The prefix is that of the root.
        paths.extend(["0/secret", "../user10/secret", "/user10/secret", "user10/secret"].map(String::from));
        paths.extend([host.clone(), format!("/{host}"), format!("C:{host}"), "C:\\".into(), "\\".into()]);
        paths.extend([format!("/proc/self/root{host}"), format!("/proc/self/cwd/{host}")]);
        assert!(paths.len() > 60);
        for path in &paths {
            // What one of them makes inside must not be found by the next.
            let mut rig = Rig::new(&root);
            let answers = everything(&mut rig, path.as_bytes());
            assert!(!answers.iter().any(tells), "{path}: {answers:?}");
            assert_eq!(place.outside(), before, "{path}");
            fs::remove_dir_all(&place.root).unwrap();
            fs::create_dir_all(place.root.join("a/b")).unwrap();
            fs::write(place.root.join("inside"), "inside").unwrap();
            fs::write(place.root.join("a/b/deep"), "deep").unwrap();
            // Its descriptor is that of the folder, not of the name.
            let root_again = Root::open(&place.root).unwrap();
            let mut rig = Rig::new(&if walk { root_again.walk() } else { root_again });
            assert_eq!(rig.read("/../../a/../inside"), Ok(b"inside".to_vec()), "the root is its own parent");
        }
    }
}

#[test]
fn s_09_the_root_itself_is_not_to_be_had() {
    let place = Place::new();
    for mut rig in Rig::both(&place.root) {
        for path in ["/", "//", "/.", ".", "", "..", "/..", "a/..", "/a/b/../.."] {
            let all: Vec<StatusCode> = vec![
                rig.ask(|c| c.rmdir(path.as_bytes())),
                rig.ask(|c| c.remove(path.as_bytes())),
                rig.ask(|c| c.rename(path.as_bytes(), b"x")),
                rig.ask(|c| c.posix_rename(path.as_bytes(), b"x")),
                rig.ask(|c| c.posix_rename(b"inside", path.as_bytes())),
                rig.ask(|c| c.mkdir(path.as_bytes(), &Attrs::new())),
                rig.ask(|c| c.symlink(b"x", path.as_bytes())),
                rig.ask(|c| c.hardlink(b"inside", path.as_bytes())),
            ];
            assert!(all.iter().all(|code| *code != StatusCode::OK), "{path}: {all:?}");
            assert!(rig.stat(path).unwrap().is_dir(), "{path}");
            assert_eq!(rig.path(|c| c.realpath(path.as_bytes())).as_deref(), Ok("/"), "{path}");
        }
        assert_eq!(rig.list("/").unwrap(), [&b"."[..], b"..", b"a", b"inside"]);
        // What stands above is not shown, and both lines are the root's.
        let line = |name: &[u8]| rig.lines.iter().find(|l| l.0 == name).unwrap().2.clone();
        assert_eq!(line(b"."), line(b".."));
    }
}

#[test]
fn s_09_names_that_are_no_names() {
    let place = Place::new();
    let long = vec![b'x'; 256];
    let deep = b"d/".repeat(3000);
    for mut rig in Rig::both(&place.root) {
        assert_eq!(rig.read(&long), Err(StatusCode::FAILURE), "a name of 256 bytes");
        assert_eq!(rig.read(&deep), Err(StatusCode::FAILURE), "a path of 6000 bytes");
        assert_eq!(rig.stat("inside/"), Err(NO_SUCH_FILE), "a file is no directory");
        assert_eq!(rig.stat("inside/.."), Err(NO_SUCH_FILE));
        assert_eq!(rig.ask(|c| c.remove(b"inside/")), NO_SUCH_FILE);
        assert_eq!(rig.stat("/a//b///").unwrap().file_type(), Some(FileType::Directory));
    }
    // A NUL never reaches the system: the client refuses to send it, and the server to take it.
    let mut rig = Rig::new(&Root::open(&place.root).unwrap());
    assert_eq!(rig.client.stat(b"inside\0../secret").err(), Some(UsageError::InvalidPath));
}

#[test]
fn s_10_links_mean_what_they_mean_below_the_root() {
    for walk in [false, true] {
        let place = Place::new();
        let before = place.outside();
        let root = Root::open(&place.root).unwrap();
        let mut rig = Rig::new(&if walk { root.walk() } else { root });
        // Some stood there before, some a client makes.
        for (name, target) in [
            ("l1", place.host("secret")),
            ("l2", "../secret".into()),
            ("l3", "../../../../../../".into()),
            ("l4", "/".into()),
            ("l5", "a/../../user10".into()),
            ("l6", place.host("user10")),
            ("l7", "/proc/self/root".into()),
            ("l8", "../user1/../user10/secret".into()),
        ] {
            symlink(&target, place.root.join(name)).unwrap();
            let made = format!("made-{name}");
            assert_eq!(rig.ask(|c| c.symlink(target.as_bytes(), made.as_bytes())), StatusCode::OK);
            for link in [name, &made] {
                assert!(rig.lstat(link).unwrap().is_symlink());
                for path in [
                    link.to_owned(),
                    format!("{link}/"),
                    format!("{link}/secret"),
                    format!("{link}/user10/secret"),
                    format!("{link}/../secret"),
                    format!("a/../{link}/secret"),
                ] {
                    let read = rig.read(&path);
                    assert!(read.is_err(), "{path}: {read:?}");
                    assert_ne!(
                        rig.stat(&path).ok().and_then(|a| a.size()),
                        Some(SECRET.len() as u64),
                        "{path}"
                    );
                }
            }
        }
        // Through a link that leads nowhere a file is made below the root, if at all.
        let _ = rig.write("l1", b"below");
        let _ = rig.write("l2", b"below");
        let _ = rig.ask(|c| c.mkdir(b"l5/new", &Attrs::new()));
        let _ = rig.ask(|c| c.setstat(b"l6", &Attrs::new().with_permissions(0)));
        let _ = rig.ask(|c| c.setstat(b"l8", &Attrs::new().with_size(0)));
        let _ = rig.ask(|c| c.posix_rename(b"inside", b"l3/moved"));
        let _ = rig.ask(|c| c.hardlink(b"l1", b"caught"));
        assert!(rig.read("caught").is_err() || rig.read("caught") == Ok(b"below".to_vec()));
        assert_eq!(place.outside(), before);
        assert_eq!(rig.read("l3/moved"), Ok(b"inside".to_vec()), "the link to / is the root");
        assert_eq!(rig.read("l4/a/b/deep"), Ok(b"deep".to_vec()));
    }
}

#[test]
fn s_10_links_without_end_and_links_of_the_last_name() {
    let place = Place::new();
    symlink("loop", place.root.join("loop")).unwrap();
    symlink("inside", place.root.join("file-link")).unwrap();
    symlink("missing", place.root.join("dangling")).unwrap();
    for mut rig in Rig::both(&place.root) {
        assert_eq!(rig.read("loop"), Err(NO_SUCH_FILE));
        assert_eq!(rig.read("loop/x"), Err(NO_SUCH_FILE));
        // lsetstat is for the link, and of the file it leads to nothing changes.
        let before = rig.stat("inside").unwrap();
        let times = Attrs::new().with_times(7, 8);
        assert_eq!(rig.ask(|c| c.lsetstat(b"file-link", &times)), StatusCode::OK);
        assert_eq!(rig.stat("inside").unwrap(), before);
        assert_eq!(rig.lstat("file-link").unwrap().times(), Some(Times { accessed: 7, modified: 8 }));
        let mode = Attrs::new().with_permissions(0);
        assert_ne!(rig.ask(|c| c.lsetstat(b"file-link", &mode)), StatusCode::OK);
        assert_eq!(rig.stat("inside").unwrap(), before);
        // An exclusive creation does not follow.
        let exclusive = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
        assert!(rig.open("dangling", exclusive).is_err());
        assert!(!place.root.join("missing").exists());
        assert_eq!(rig.write("dangling", b"made"), Ok(()));
        assert_eq!(fs::read(place.root.join("missing")).unwrap(), b"made");
        assert_eq!(rig.ask(|c| c.remove(b"missing")), StatusCode::OK);
    }
}

/// Stops the other thread, after a panic too.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Exchanges two names for as long as `during` runs.
fn swapping<T>(one: &Path, other: &Path, during: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let cwd = rustix::fs::CWD;
            while !stop.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(cwd, one, cwd, other, flags).unwrap();
            }
        });
        let _stop = Stop(&stop);
        during()
    })
}

#[test]
fn s_10_a_directory_that_is_swapped_with_a_link_to_the_outside() {
    for (walk, judged) in [(false, false), (true, false), (false, true), (true, true)] {
        let place = Place::new();
        let before = place.outside();
        let swapped = place.root.join("x");
        fs::create_dir(&swapped).unwrap();
        fs::write(swapped.join("secret"), "harmless").unwrap();
        fs::create_dir(swapped.join("sub")).unwrap();
        symlink(place.host("user10"), place.root.join("link")).unwrap();
        let root = Root::open(&place.root).unwrap();
        let root = if walk { root.walk() } else { root };
        let root = if judged { root.authorize(|access| !access.path.starts_with(b"/link")) } else { root };
        let mut rig = Rig::new(&root);
        let (mut reads, mut exposed) = (0, 0);
        swapping(&swapped, &place.root.join("link"), || {
            let until = Instant::now() + Duration::from_millis(400);
            while Instant::now() < until {
                for path in ["x/secret", "/a/../x/secret", "x/sub/../secret"] {
                    if let Ok(content) = rig.read(path) {
                        assert_eq!(content, b"harmless");
                        reads += 1;
                    }
                    if let Ok(attrs) = rig.stat(path) {
                        assert_eq!(attrs.size(), Some(8));
                    }
                    let times = Attrs::new().with_times(1, 1).with_permissions(0o600);
                    let _ = rig.ask(|c| c.setstat(path.as_bytes(), &times));
                    let _ = rig.ask(|c| c.posix_rename(path.as_bytes(), path.as_bytes()));
                }
                let _ = rig.write("x/new", b"new");
                let _ = rig.ask(|c| c.mkdir(b"x/dir", &Attrs::new()));
                let _ = rig.ask(|c| c.rmdir(b"x/dir"));
                let _ = rig.ask(|c| c.hardlink(b"inside", b"x/hard"));
                let _ = rig.ask(|c| c.symlink(b"inside", b"x/soft"));
                let _ = rig.ask(|c| c.remove(b"x/hard"));
                let _ = rig.ask(|c| c.remove(b"x/soft"));
                let _ = rig.ask(|c| c.remove(b"x/new"));
                if let Ok(names) = rig.list("x") {
                    assert!(names.contains(&b"sub".to_vec()), "{names:?}");
                }
                // Whoever trusts the name gets it: the test could fail.
                exposed += u32::from(fs::read(swapped.join("secret")).is_ok_and(|c| c == SECRET));
            }
        });
        assert!(reads > 10 && exposed > 10, "{reads} reads, {exposed} times the name led outside");
        assert_eq!(place.outside(), before, "walk {walk}, judged {judged}");
    }
}

#[test]
fn s_10_a_directory_that_is_moved_while_its_parent_is_looked_for() {
    for walk in [false, true] {
        let place = Place::new();
        let before = place.outside();
        // d is at the depth of 3 or of 1.
        fs::create_dir_all(place.root.join("p/q/d/e")).unwrap();
        fs::create_dir(place.root.join("d")).unwrap();
        fs::create_dir(place.root.join("d/e")).unwrap();
        let root = Root::open(&place.root).unwrap();
        let mut rig = Rig::new(&if walk { root.walk() } else { root });
        let mut found = 0;
        swapping(&place.root.join("p/q/d"), &place.root.join("d"), || {
            let until = Instant::now() + Duration::from_millis(300);
            while Instant::now() < until {
                for path in ["p/q/d/e/../../../../../secret", "p/q/d/e/../../../../../../user10/secret"] {
                    assert!(rig.read(path).is_err(), "{path}");
                    let _ = rig.ask(|c| c.remove(path.as_bytes()));
                }
                let read = rig.read("p/q/d/e/../../../../inside");
                found += u32::from(read.is_ok());
            }
        });
        assert!(found > 0);
        assert_eq!(place.outside(), before);
    }
}

#[test]
fn s_11_nothing_tells_where_the_root_is() {
    let place = Place::new();
    let real = fs::canonicalize(&place.root).unwrap();
    symlink(&real, place.root.join("to-root")).unwrap();
    symlink(real.join("a/b"), place.root.join("to-b")).unwrap();
    symlink(real.with_file_name("user10"), place.root.join("to-other")).unwrap();
    symlink("a/b", place.root.join("relative")).unwrap();
    for mut rig in Rig::both(&place.root) {
        assert_eq!(rig.path(|c| c.readlink(b"to-root")).as_deref(), Ok("/"));
        assert_eq!(rig.path(|c| c.readlink(b"to-b")).as_deref(), Ok("/a/b"));
        assert_eq!(rig.path(|c| c.readlink(b"relative")).as_deref(), Ok("a/b"));
        assert_eq!(rig.path(|c| c.realpath(b"relative/deep")).as_deref(), Ok("/a/b/deep"));
        assert_eq!(rig.path(|c| c.realpath(b"../../a/b/../new")).as_deref(), Ok("/a/new"));
        assert_eq!(rig.path(|c| c.realpath(b"missing/new")), Err(NO_SUCH_FILE));
        for path in ["~", "~/a", "."] {
            assert!(!rig.path(|c| c.expand_path(path.as_bytes())).unwrap().contains("user1"));
        }
        assert_eq!(rig.path(|c| c.home_directory(b"")).as_deref(), Ok("/"));
        assert_eq!(rig.path(|c| c.home_directory(b"root")), Err(NO_SUCH_FILE), "no accounts of this machine");
        for got in everything(&mut rig, b"missing/x").iter().chain(&everything(&mut rig, b"inside/x")) {
            assert!(!tells(got), "{got:?}");
        }
        assert!(!rig.client.supports(Extension::UsersGroupsById));
        rig.list("/").unwrap();
        let line = String::from_utf8_lossy(&rig.lines[0].1).into_owned();
        assert!(!line.contains("root"), "{line}");
    }
}

#[test]
fn s_12_read_only_means_that_nothing_changes() {
    let place = Place::new();
    let inside = |dir: &Path| -> Vec<(PathBuf, u32, i64)> {
        let stat =
            |p: &Path| fs::symlink_metadata(p).map(|s| (p.to_owned(), s.mode(), s.mtime_nsec())).unwrap();
        let names = |d: &Path| fs::read_dir(d).unwrap().map(|e| e.unwrap().path()).collect::<Vec<_>>();
        let mut all: Vec<_> = names(dir).iter().chain(&names(&dir.join("a/b"))).map(|p| stat(p)).collect();
        all.sort();
        all
    };
    let before = inside(&place.root);
    let mut rig = Rig::new(&Root::open(&place.root).unwrap().read_only());
    for path in ["inside", "new", "a/b/deep", "a/b"] {
        for got in everything(&mut rig, path.as_bytes()) {
            assert!(!matches!(got, Got::Status(StatusCode::OK, _)), "{path}: {got:?}");
        }
        assert!(!rig.client.supports(Extension::PosixRename), "not even offered");
        let odd = [READ | OpenFlags::CREATE, READ | OpenFlags::WRITE, OpenFlags::WRITE | OpenFlags::APPEND];
        for flags in odd {
            assert_eq!(rig.open(path, flags), Err(StatusCode::PERMISSION_DENIED));
        }
    }
    assert_eq!(rig.read("inside"), Ok(b"inside".to_vec()));
    let handle = rig.open("inside", READ).unwrap();
    let size = Attrs::new().with_size(0);
    assert_eq!(rig.ask(|c| c.fsetstat(&handle, &size)), StatusCode::PERMISSION_DENIED);
    assert_eq!(inside(&place.root), before);
}

#[test]
fn s_13_clients_set_no_special_bits() {
    let place = Place::new();
    for mut rig in Rig::both(&place.root) {
        // Of a directory setgid and sticky mean no privilege.
        for special in [0o4777, 0o2777, 0o1777, 0o7777] {
            let mode = Attrs::new().with_permissions(special);
            assert_eq!(rig.ask(|c| c.setstat(b"inside", &mode)), StatusCode::PERMISSION_DENIED);
            if special & 0o4000 != 0 {
                assert_eq!(rig.ask(|c| c.setstat(b"a", &mode)), StatusCode::PERMISSION_DENIED);
            }
        }
        let mode = Attrs::new().with_permissions(0o7777);
        let flags = OpenFlags::WRITE | OpenFlags::CREATE;
        let got = rig.call(|c| c.open(b"special", flags, &mode));
        assert!(matches!(got, Got::Handle(_)), "{got:?}");
        rig.ask(|c| c.mkdir(b"special-dir", &mode));
        rig.ask(|c| c.setstat(b"inside", &mode));
        rig.ask(|c| c.lsetstat(b"a", &mode));
        for (name, none) in [("special", 0o7000), ("special-dir", 0o4000), ("inside", 0o7000), ("a", 0o7000)]
        {
            let mode = fs::metadata(place.root.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & none, 0, "{name}: {mode:o}");
        }
    }
}

#[test]
fn s_16_a_file_is_not_copied_into_itself() {
    let place = Place::new();
    fs::hard_link(place.root.join("inside"), place.root.join("same")).unwrap();
    for mut rig in Rig::both(&place.root) {
        let from = rig.open("inside", READ).unwrap();
        let to = rig.open("same", OpenFlags::WRITE).unwrap();
        for (from_offset, len, to_offset) in [(0, 0, 6), (0, 4, 2), (2, 4, 0), (0, 0, 0)] {
            assert_eq!(
                rig.ask(|c| c.copy_data((&from, from_offset), len, (&to, to_offset))),
                StatusCode::FAILURE
            );
        }
        // Apart from each other it works, and does not run on.
        assert_eq!(rig.ask(|c| c.copy_data((&from, 0), 3, (&to, 3))), StatusCode::OK);
        assert_eq!(fs::read(place.root.join("same")).unwrap(), b"insins");
        fs::write(place.root.join("inside"), "inside").unwrap();
        rig.close(&from);
        rig.close(&to);
    }
}

#[test]
fn s_28_what_would_wait_for_ever_is_refused_at_once() {
    let place = Place::new();
    let fifo = place.root.join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o666.into(), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.root.join("socket")).unwrap();
    let device = place.root.join("null");
    let number = rustix::fs::makedev(1, 3);
    let kind = rustix::fs::FileType::CharacterDevice;
    let made = rustix::fs::mknodat(rustix::fs::CWD, &device, kind, 0o666.into(), number);
    let mut names = vec!["fifo", "socket"];
    // Only root makes devices.
    names.extend(made.is_ok().then_some("null"));
    let start = Instant::now();
    for mut rig in Rig::both(&place.root) {
        for name in &names {
            for flags in [READ, OpenFlags::WRITE, READ | OpenFlags::WRITE | OpenFlags::CREATE] {
                assert_eq!(rig.open(name, flags), Err(StatusCode::FAILURE), "{name}");
            }
            assert_eq!(
                rig.ask(|c| c.setstat(name.as_bytes(), &Attrs::new().with_size(0))),
                StatusCode::FAILURE
            );
            assert!(rig.stat(name).is_ok(), "{name} can be seen");
            assert!(rig.open("inside", READ).is_ok(), "and the session goes on");
        }
        assert_eq!(rig.open("a", READ), Err(StatusCode::FAILURE), "a directory is no file");
    }
    // In the whole system devices are there, pipes still do not block.
    let mut rig = Rig::new(&Root::host(&place.root).unwrap());
    assert_eq!(rig.open("fifo", READ), Err(StatusCode::FAILURE));
    assert_eq!(rig.open("fifo", OpenFlags::WRITE), Err(StatusCode::FAILURE));
    let zero = rig.open("/dev/zero", READ).unwrap();
    assert_eq!(rig.read_at(&zero, 0, 5), Ok(vec![0; 5]));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn s_30_rename_replaces_nothing_and_posix_rename_does() {
    let place = Place::new();
    for mut rig in Rig::both(&place.root) {
        rig.write("one", b"1").unwrap();
        rig.write("two", b"2").unwrap();
        assert_eq!(rig.ask(|c| c.rename(b"one", b"two")), StatusCode::FAILURE);
        assert_eq!(rig.ask(|c| c.rename(b"a/b", b"a")), StatusCode::FAILURE);
        assert_eq!(rig.read("two"), Ok(b"2".to_vec()));
        assert_eq!(rig.ask(|c| c.posix_rename(b"one", b"two")), StatusCode::OK);
        assert_eq!(rig.read("two"), Ok(b"1".to_vec()));
        assert_eq!(rig.ask(|c| c.rename(b"two", b"a/three")), StatusCode::OK);
        assert_eq!(rig.ask(|c| c.rename(b"a", b"c")), StatusCode::OK, "a directory too");
        assert_eq!(rig.read("c/three"), Ok(b"1".to_vec()));
        assert_eq!(rig.ask(|c| c.rename(b"c", b"a")), StatusCode::OK);
        // A directory that is not empty is replaced by nobody.
        assert_eq!(rig.ask(|c| c.mkdir(b"d", &Attrs::new())), StatusCode::OK);
        assert_ne!(rig.ask(|c| c.posix_rename(b"d", b"a")), StatusCode::OK);
        assert_eq!(rig.ask(|c| c.rmdir(b"d")), StatusCode::OK);
        assert_eq!(rig.ask(|c| c.remove(b"a/three")), StatusCode::OK);
    }
}

#[test]
fn s_32_owners_are_not_a_client_s_to_change() {
    let place = Place::new();
    for mut rig in Rig::both(&place.root) {
        let nobody = Attrs::new().with_owner(65534, 65534);
        assert_eq!(rig.ask(|c| c.setstat(b"inside", &nobody)), StatusCode::PERMISSION_DENIED);
        assert_eq!(rig.ask(|c| c.lsetstat(b"inside", &nobody)), StatusCode::PERMISSION_DENIED);
        let handle = rig.open("inside", OpenFlags::WRITE).unwrap();
        assert_eq!(rig.ask(|c| c.fsetstat(&handle, &nobody)), StatusCode::PERMISSION_DENIED);
        assert_ne!(fs::metadata(place.root.join("inside")).unwrap().uid(), 65534);
    }
}

#[test]
fn r_19_s_25_a_session_writes_no_more_than_it_may() {
    let place = Place::new();
    let root = Root::open(&place.root).unwrap().max_written(10).max_file_size(1000);
    let mut rig = Rig::new(&root);
    let file = rig.open("file", READ | OpenFlags::WRITE | OpenFlags::CREATE).unwrap();
    // No file of a terabyte, not even one of holes.
    assert_eq!(rig.ask(|c| c.write(&file, 1 << 40, b"x")), StatusCode::FAILURE);
    assert_eq!(rig.ask(|c| c.fsetstat(&file, &Attrs::new().with_size(1001))), StatusCode::FAILURE);
    assert_eq!(rig.ask(|c| c.setstat(b"file", &Attrs::new().with_size(1 << 50))), StatusCode::FAILURE);
    assert_eq!(rig.ask(|c| c.fsetstat(&file, &Attrs::new().with_size(1000))), StatusCode::OK);
    assert_eq!(rig.ask(|c| c.write(&file, 994, b"123456")), StatusCode::OK);
    assert_eq!(rig.ask(|c| c.write(&file, 995, b"123456")), StatusCode::FAILURE, "beyond 1000");
    assert_eq!(rig.ask(|c| c.write(&file, 0, b"12345")), StatusCode::FAILURE, "6 + 5");
    assert_eq!(rig.fs.file_system().written(), 6);
    // Copies count.
    let other = rig.open("other", OpenFlags::WRITE | OpenFlags::CREATE).unwrap();
    assert_eq!(rig.ask(|c| c.copy_data((&file, 0), 5, (&other, 0))), StatusCode::FAILURE);
    assert_eq!(rig.ask(|c| c.copy_data((&file, 994), 4, (&other, 0))), StatusCode::OK);
    assert_eq!(fs::read(place.root.join("other")).unwrap(), b"1234");
    assert_eq!(rig.fs.file_system().written(), 10);
    // Another session has its own allowance; a full disk has none.
    assert_eq!(Rig::new(&root).write("more", b"0123456789"), Ok(()));
    let full = Root::open(&place.root).unwrap().min_free(u64::MAX);
    assert_eq!(Rig::new(&full).write("more", b"x"), Err(StatusCode::FAILURE));
}

#[test]
fn what_is_judged_is_what_is_done() {
    let place = Place::new();
    symlink("private", place.root.join("alias")).unwrap();
    fs::create_dir(place.root.join("private")).unwrap();
    fs::write(place.root.join("private/key"), "key").unwrap();
    let judge = |access: &Access<'_>| {
        assert!(access.path.starts_with(b"/") && !access.path.windows(3).any(|w| w == b"/.."));
        let private = |path: &[u8]| path.starts_with(b"/private");
        let reads = access.operation == Operation::Open && access.flags == Some(READ);
        !(private(access.path) || access.other.is_some_and(private))
            || (reads && access.path == b"/private/ok")
    };
    for root in [
        Root::open(&place.root).unwrap(),
        Root::open(&place.root).unwrap().walk(),
        Root::host(&place.root).unwrap(),
    ] {
        let host = !root.config().allow_chown;
        let top =
            if host { String::new() } else { fs::canonicalize(&place.root).unwrap().display().to_string() };
        let strip = top.clone();
        let root = root.authorize(move |access| {
            let cut = |p: &[u8]| p.strip_prefix(strip.as_bytes()).unwrap_or(p).to_vec();
            let (path, other) = (cut(access.path), access.other.map(cut));
            let mut access = *access;
            (access.path, access.other) = (&path, other.as_deref());
            judge(&access)
        });
        let mut rig = Rig::new(&root);
        for path in ["private/key", "alias/key", "/a/../alias/key", "a/../alias/../private/key"] {
            let path = if path.starts_with('/') { format!("{top}{path}") } else { path.into() };
            assert_eq!(rig.read(&path), Err(StatusCode::PERMISSION_DENIED), "{path}");
            assert_eq!(rig.write(&path, b"x"), Err(StatusCode::PERMISSION_DENIED), "{path}");
            assert_eq!(rig.stat(&path), Err(StatusCode::PERMISSION_DENIED), "{path}");
            let moved = rig.ask(|c| c.rename(path.as_bytes(), b"free"));
            assert_eq!(moved, StatusCode::PERMISSION_DENIED, "{path}");
            let linked = rig.ask(|c| c.hardlink(b"inside", path.as_bytes()));
            assert_eq!(linked, StatusCode::PERMISSION_DENIED, "{path}");
        }
        assert_eq!(rig.read("inside"), Ok(b"inside".to_vec()));
        assert_eq!(rig.ask(|c| c.remove(b"alias")), StatusCode::OK, "the link itself is not private");
        symlink("private", place.root.join("alias")).unwrap();
        assert_eq!(fs::read(place.root.join("private/key")).unwrap(), b"key");
    }
}
