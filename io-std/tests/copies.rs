//! Copies by the programs and by the library: modes, what is there already, special files, links, both ends of a name.
#![cfg(feature = "cli")]

mod copies_rig;
mod silent;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use copies_rig::{Desk, modified};
use konko::sftp::{GetOptions, Links, PutOptions};
use silent::{Silence, Silent};

/// The ways to copy the file or folder `from` to the name `to`, both on the desk.
const WAYS: [&str; 8] = ["down", "up", "relay", "get", "put", "get_with", "put_with", "copy_to"];

/// Copies, and whether it said that all went well.
fn copy(desk: &Desk, way: &str, (from, to): (&str, &str), preserve: bool) -> bool {
    let folder = desk.path(from).is_dir();
    let flags = match (folder, preserve) {
        (false, false) => "-q",
        (true, false) => "-qr",
        (false, true) => "-qp",
        (true, true) => "-qrp",
    };
    let sftp_flags = flags.replace('q', if preserve || folder { "" } else { "f" }).replace('r', "R");
    let here = |name: &str| desk.path(name).into_os_string();
    let scp = |from, to| desk.scp(&[flags.into(), from, to]).status == Some(0);
    let line = |verb: &str| {
        let line = format!("{verb} {sftp_flags} {} {}\n", desk.path(from).display(), desk.path(to).display());
        desk.sftp(line).status == Some(0)
    };
    let get = GetOptions::new().preserve(preserve);
    let put = PutOptions::new().preserve(preserve);
    let (source, target) = (desk.path(from), desk.path(to));
    let whole = |report: Result<konko::sftp::TreeReport, _>| report.is_ok_and(|report| report.is_complete());
    match (way, folder) {
        ("down", _) => scp(desk.there(from), here(to)),
        ("up", _) => scp(here(from), desk.there(to)),
        ("relay", _) => scp(desk.there(from), desk.there(to)),
        ("get" | "put", _) => line(way),
        ("get_with", false) => desk.client().get_with(source, target, &get).is_ok(),
        ("get_with", true) => whole(desk.client().get_tree(source, target, &get, Links::Follow)),
        ("put_with", false) => desk.client().put_with(source, target, &put).is_ok(),
        ("put_with", true) => whole(desk.client().put_tree(source, target, &put, Links::Follow)),
        (_, false) => desk.client().copy_to(source, &desk.client(), target, &put).is_ok(),
        (_, true) => whole(desk.client().copy_tree_to(source, &desk.client(), target, &put, Links::Follow)),
    }
}

#[test]
fn a11_d6_modes_are_those_of_the_source_less_the_umask_or_kept() {
    for umask in [0o022, 0o077, 0o027] {
        for (mode, folder_mode) in
            [(0o644, 0o755), (0o600, 0o700), (0o777, 0o777), (0o640, 0o550), (0o444, 0o500)]
        {
            let mut desk = Desk::new();
            desk.umask = umask;
            desk.file("src/priv/f", "x");
            desk.chmod("src/priv/f", mode);
            desk.chmod("src/priv", folder_mode);
            for way in WAYS {
                // The umask of the test itself is nobody's business: the library gets where the program of the
                // server writes.
                if way == "get_with" && umask != 0o022 {
                    continue;
                }
                for preserve in [false, true] {
                    let what = format!("{way} {preserve} {umask:o} {mode:o} {folder_mode:o}");
                    desk.clear("file");
                    assert!(copy(&desk, way, ("src/priv/f", "file"), preserve), "{what}");
                    // A local file can be written while it comes, and stays that way (sftp-client.c, do_download).
                    let down = if matches!(way, "down" | "get" | "get_with") { 0o600 } else { 0 };
                    let expected = if preserve { mode } else { (mode | down) & !umask };
                    assert_eq!(desk.mode("file"), expected, "{what}");
                    desk.clear("tree");
                    assert!(copy(&desk, way, ("src", "tree"), preserve), "{what}");
                    let expected = if preserve { folder_mode } else { folder_mode & !umask };
                    assert_eq!(desk.mode("tree/priv"), expected, "{what}");
                    desk.chmod("tree/priv", 0o700);
                    // What is there keeps its own.
                    desk.file("old", "old");
                    desk.chmod("old", 0o604);
                    assert!(copy(&desk, way, ("src/priv/f", "old"), preserve), "{what}");
                    assert_eq!(desk.mode("old"), if preserve { mode } else { 0o604 }, "{what}");
                    desk.clear("old");
                }
            }
            desk.chmod("src/priv", 0o700);
        }
    }
}

#[test]
fn d5_trees_keep_modes_times_and_what_links_lead_to() {
    for way in WAYS {
        let desk = Desk::new();
        desk.file("src/real/f", "1");
        symlink("real", desk.path("src/link")).unwrap();
        symlink("real/f", desk.path("src/file")).unwrap();
        desk.chmod("src/real", 0o750);
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        fs::File::open(desk.path("src/real")).unwrap().set_modified(old).unwrap();
        assert!(copy(&desk, way, ("src", "to"), true), "{way}");
        assert_eq!((desk.mode("to/real"), modified(desk.path("to/real"))), (0o750, 1_000_000_000), "{way}");
        // sftp(1) passes links over, scp(1) follows them.
        let followed = !matches!(way, "get" | "put");
        let text = |name: &str| fs::read(desk.path(name)).ok();
        let expected = followed.then(|| b"1".to_vec());
        assert_eq!((text("to/link/f"), text("to/file")), (expected.clone(), expected), "{way}");
    }
}

#[test]
fn d3_a_file_copied_onto_itself_is_not_lost() {
    let content = vec![7u8; 300_000];
    for way in WAYS {
        for name in ["f", "hard", "soft", "sub/../f"] {
            let desk = Desk::new();
            desk.file("f", &content);
            desk.dir("sub");
            fs::hard_link(desk.path("f"), desk.path("hard")).unwrap();
            symlink("f", desk.path("soft")).unwrap();
            for (from, to) in [("f", name), (name, "f")] {
                copy(&desk, way, (from, to), false);
                assert_eq!(desk.read("f").len(), content.len(), "{way} {from} {to}");
                assert!(desk.read("f") == content, "{way} {from} {to}");
                desk.sftp(format!("cp {} {}\n", desk.path(from).display(), desk.path(to).display()));
                assert!(desk.read("f") == content, "cp {from} {to}");
                let _ = desk.client().copy(desk.path(from), desk.path(to));
                assert!(desk.read("f") == content, "copy {from} {to}");
            }
        }
        // Whole trees, too.
        let desk = Desk::new();
        desk.file("t/a/f", &content);
        copy(&desk, way, ("t/a", "t/a"), false);
        assert!(desk.read("t/a/f") == content, "{way}");
    }
}

#[test]
fn d3_a_tree_copied_into_itself_ends() {
    for way in WAYS {
        let desk = Desk::new();
        desk.file("t/f", "1");
        copy(&desk, way, ("t", "t/sub"), false);
        assert_eq!(desk.read("t/sub/f"), b"1", "{way}");
        assert!(!desk.path("t/sub/sub/sub").exists(), "{way}");
    }
}

#[test]
fn d1_d2_c14_what_cannot_be_read_leaves_the_target_as_it_is() {
    for way in WAYS.into_iter().chain(["cp", "copy"]) {
        for source in ["fifo", "dir", "nothing", "dangling", "zero", "unreadable"] {
            let desk = Desk::new();
            desk.fifo("fifo");
            desk.dir("dir");
            symlink("nowhere", desk.path("dangling")).unwrap();
            // The device itself, and no copy of it, is what a link leads to.
            symlink("/dev/zero", desk.path("zero")).unwrap();
            // Nobody can read it: not even root, for whom there are no permissions.
            symlink("/proc/self/mem", desk.path("unreadable")).unwrap();
            desk.file("target", "good");
            let done = match way {
                "cp" => desk.sftp(format!("cp {source} target\n")).status == Some(0),
                "copy" => desk.client().copy(source, "target").is_ok(),
                way => copy(&desk, way, (source, "target"), false),
            };
            assert_eq!((done, desk.read("target")), (false, b"good".to_vec()), "{way} {source}");
        }
    }
}

#[test]
fn d4_special_files_in_trees_are_passed_over_and_said() {
    for way in WAYS {
        let desk = Desk::new();
        desk.file("t/a", "1");
        desk.file("t/d/z", "2");
        desk.fifo("t/pipe");
        assert!(copy(&desk, way, ("t", "to"), false), "{way}");
        assert_eq!((desk.read("to/a"), desk.read("to/d/z")), (b"1".to_vec(), b"2".to_vec()), "{way}");
        assert!(!desk.path("to/pipe").exists(), "{way}");
    }
    let desk = Desk::new();
    desk.file("t/a", "1");
    desk.fifo("t/pipe");
    let ended = desk.scp(&["-r".into(), desk.there("t"), "to".into()]);
    assert!(ended.stderr.contains("pipe") && ended.stderr.contains("not a regular file"), "{ended:?}");
}

#[test]
fn d4_links_that_go_round_end() {
    for way in WAYS {
        let desk = Desk::new();
        desk.file("t/f", "1");
        desk.file("t/d/g", "2");
        // Two of them in each place: what goes round in them doubles with each step.
        for name in ["t/up", "t/up2"] {
            symlink(".", desk.path(name)).unwrap();
        }
        for name in ["t/d/up", "t/d/up2"] {
            symlink("..", desk.path(name)).unwrap();
        }
        desk.file("e/h", "3");
        symlink("../e", desk.path("t/across")).unwrap();
        symlink("../t", desk.path("e/back")).unwrap();
        let followed = !matches!(way, "get" | "put");
        // What cannot be copied is told.
        assert_eq!(copy(&desk, way, ("t", "to"), false), !followed, "{way}");
        assert_eq!((desk.read("to/f"), desk.read("to/d/g")), (b"1".to_vec(), b"2".to_vec()), "{way}");
        assert_eq!(desk.path("to/across/h").exists(), followed, "{way}");
        assert!(desk.tree("to").len() < 10, "{way} {:?}", desk.tree("to"));
    }
}

#[test]
fn d4_several_sources_make_their_folder_up_and_between_servers() {
    let desk = Desk::new();
    desk.file("a", "1");
    desk.file("b", "2");
    desk.chmod("a", 0o600);
    let both = |to: &str| (desk.read(format!("{to}/a")), desk.read(format!("{to}/b")));
    let expected = (b"1".to_vec(), b"2".to_vec());
    let ended = desk.scp(&["a".into(), "b".into(), desk.there("up")]);
    assert_eq!((ended.status, both("up"), desk.mode("up")), (Some(0), expected.clone(), 0o700));
    desk.scp(&[desk.there("a"), desk.there("b"), desk.there("between")]);
    assert_eq!(both("between"), expected);
    // A pattern that fits several makes its folder also here; several names do not (scp.c, verifydir).
    desk.scp(&[desk.there("[ab]"), "down".into()]);
    assert_eq!(both("down"), expected);
    let ended = desk.scp(&[desk.there("a"), desk.there("b"), "down2".into()]);
    assert!(ended.status != Some(0) && !desk.path("down2").exists(), "{ended:?}");
    // One that is a file stays it.
    for ended in [
        desk.scp(&["a".into(), "up".into(), desk.there("b")]),
        desk.scp(&[desk.there("[a]"), desk.there("up/a"), "b".into()]),
    ] {
        assert_ne!(ended.status, Some(0), "{ended:?}");
    }
    assert_eq!(desk.read("b"), b"2");
}

#[test]
fn d4_remote_names_are_patterns_with_backslashes_and_targets_are_not() {
    let desk = Desk::new();
    for name in ["x y", "a*", "ab", "back\\slash", "[1]"] {
        desk.file(name, name);
    }
    for (pattern, name) in [
        ("x\\ y", "x y"),
        ("x y", "x y"),
        ("a\\*", "a*"),
        ("back\\\\slash", "back\\slash"),
        ("back\\slash", "back\\slash"),
        ("[1]", "[1]"),
    ] {
        let ended = desk.scp(&[desk.there(pattern), "got".into()]);
        assert_eq!(
            (ended.status, desk.read("got")),
            (Some(0), name.as_bytes().to_vec()),
            "{pattern} {ended:?}"
        );
    }
    // A file that is called as a pattern is not all that the pattern means.
    desk.dir("all");
    desk.scp(&[desk.there("a*"), "all".into()]);
    assert_eq!(desk.tree("all").len(), 2);
    desk.scp(&["ab".into(), desk.there("t\\ u")]);
    assert_eq!(desk.read("t\\ u"), b"ab");
}

#[test]
fn d4_an_unknown_user_behind_a_tilde_is_an_error() {
    let desk = Desk::new();
    desk.file("a", "1");
    desk.file("home/f", "2");
    let target = |path: &str| -> std::ffi::OsString { format!("host:{path}").into() };
    for path in ["~nosuchuser", "~nosuchuser/x"] {
        for ended in [desk.scp(&["a".into(), target(path)]), desk.scp(&[target(path), "got".into()])] {
            assert!(ended.status != Some(0) && ended.stderr.contains("nosuchuser"), "{ended:?}");
        }
        let ended = desk.sftp(format!("put a {path}\n"));
        assert!(ended.status != Some(0) && ended.stderr.contains("nosuchuser"), "{ended:?}");
    }
    assert!(!desk.path("~nosuchuser").exists() && !desk.path("got").exists());
    // Sessions start at home.
    desk.scp(&["a".into(), target("~/home/g")]);
    assert_eq!(desk.read("home/g"), b"1");
}

#[test]
fn d4_what_is_sent_to_a_device_has_no_size() {
    let desk = Desk::new();
    desk.file("f", vec![0; 1_000_000]);
    for ended in [
        desk.scp(&["f", "host:/dev/null"]),
        desk.scp(&["host:f", "/dev/null"]),
        desk.scp(&["host:f", "other:/dev/null"]),
        desk.sftp("put f /dev/null\nget f /dev/null\n"),
    ] {
        assert_eq!(ended.status, Some(0), "{ended:?}");
    }
    let sftp = desk.client();
    sftp.put(desk.path("f"), "/dev/null").unwrap();
    sftp.get("f", "/dev/null").unwrap();
    sftp.copy("f", "/dev/null").unwrap();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

#[test]
fn c13_opendir_decides_where_a_server_does_not_tell() {
    for silence in [Silence::Type, Silence::Permissions, Silence::Stat, Silence::Nothing] {
        let desk = Desk::new();
        desk.file("srv/sub/f", "1");
        desk.file("srv/g", "2");
        desk.dir("srv/put");
        desk.file("h", "3");
        let silent = Silent::new(&desk.path("srv"), silence);
        let mut desk = desk;
        desk.server = silent.command();
        for line in ["ls -1\n", "ls -1 /\n", "ls -1 .\n", "cd sub\nls -1\n", "ls -1 sub\n", "ls -1 su*\n"] {
            let ended = desk.sftp(line);
            let found: Vec<&str> = ended.stdout.lines().filter(|l| !l.starts_with("sftp>")).collect();
            let expected = if line.contains("su") { vec!["f"] } else { vec!["g", "put", "sub"] };
            assert_eq!((ended.status, found), (Some(0), expected), "{silence:?} {line} {ended:?}");
        }
        let ended = desk.sftp("get -R sub got\nget g got2\nget -R su* got\nput h put\nput h put/i\n");
        assert_eq!(ended.status, Some(0), "{silence:?} {ended:?}");
        assert_eq!(
            (desk.read("got/f"), desk.read("got2"), desk.read("got/sub/f")),
            (b"1".to_vec(), b"2".to_vec(), b"1".to_vec())
        );
        assert_eq!(
            (desk.read("srv/put/h"), desk.read("srv/put/i")),
            (b"3".to_vec(), b"3".to_vec()),
            "{silence:?}"
        );
        desk.clear("got");
        for ended in [
            desk.scp(&["-r", "host:/", "got"]),
            desk.scp(&["h", "host:/put"]),
            desk.scp(&["-r", "host:sub", "other:put"]),
        ] {
            assert_eq!(ended.status, Some(0), "{silence:?} {ended:?}");
        }
        assert_eq!((desk.read("got/sub/f"), desk.read("srv/put/sub/f")), (b"1".to_vec(), b"1".to_vec()));
        // Removing goes through no link.
        symlink(desk.path("srv/sub"), desk.path("srv/put/link")).unwrap();
        silent.client().remove_dir_all("put").unwrap();
        assert!(!desk.path("srv/put").exists() && desk.path("srv/sub/f").exists());
    }
}

#[test]
fn d1_files_that_vanish_leave_nothing_empty_behind() {
    let desk = Desk::new();
    for i in 0..400 {
        desk.file(format!("v/f{i}"), "x");
    }
    let gone = desk.path("v/f7");
    // Gone between the listing and its turn.
    let first = std::sync::atomic::AtomicBool::new(true);
    let sftp = desk.client().on_progress(move |_| {
        if first.swap(false, std::sync::atomic::Ordering::SeqCst) {
            (0..400)
                .filter(|i| i % 2 == 1)
                .for_each(|i| drop(fs::remove_file(gone.with_file_name(format!("f{i}")))));
        }
    });
    let report = sftp.put_tree(desk.path("v"), "to", &PutOptions::new(), Links::Follow).unwrap();
    let empty = desk.tree("to").values().filter(|content| content.is_empty()).count();
    assert_eq!(empty, 0, "{report:?}");
    assert_eq!(report.files as usize + report.failures.len(), 400, "{report:?}");
    assert_eq!(fs::metadata(Path::new(&desk.path("to/f0"))).unwrap().size(), 1);
}
