//! Every operation on real files.
#![cfg(feature = "server")]

mod sftp_rig;

use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::{Arc, Mutex};

use konko::core::crypto::HashAlgorithm;
use konko::core::sftp::*;
use konko::sftp::Root;
use sftp_rig::{Got, Rig};

const OK: StatusCode = StatusCode::OK;
const NEW: OpenFlags = OpenFlags(OpenFlags::WRITE.0 | OpenFlags::CREATE.0 | OpenFlags::TRUNCATE.0);

/// In a jail in both ways, and in the whole system.
fn everywhere(test: impl Fn(Rig, &std::path::Path)) {
    for i in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let rig = match i {
            0 => Rig::new(&Root::open(dir.path()).unwrap()),
            1 => Rig::new(&Root::open(dir.path()).unwrap().walk()),
            _ => Rig::new(&Root::host(dir.path()).unwrap()),
        };
        test(rig, dir.path());
    }
}

/// Bytes that differ everywhere.
fn pattern(len: usize) -> Vec<u8> {
    (0u64..).flat_map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ i << 7).to_be_bytes()).take(len).collect()
}

#[test]
fn files_of_all_sizes_come_back_as_they_went() {
    everywhere(|mut rig, dir| {
        for len in [0, 1, 32767, 32768, 32769, (1 << 20) + 1] {
            let content = pattern(len);
            let to = rig.open("file", NEW).unwrap();
            for (i, piece) in content.chunks(100_000).enumerate() {
                assert_eq!(rig.ask(|c| c.write(&to, i as u64 * 100_000, piece)), OK);
            }
            rig.close(&to);
            assert!(fs::read(dir.join("file")).unwrap() == content, "{len} bytes written");
            let from = rig.open("file", OpenFlags::READ).unwrap();
            let mut back = Vec::new();
            while let Ok(piece) = rig.read_at(&from, back.len() as u64, 1 << 20) {
                assert!(piece.len() <= 261_120, "s_05: never more than 255 KiB");
                back.extend(piece);
            }
            assert_eq!(rig.read_at(&from, len as u64, 10), Err(StatusCode::EOF));
            assert!(back == content, "{len} bytes read");
            assert_eq!(rig.attrs(|c| c.fstat(&from)).unwrap().size(), Some(len as u64));
            rig.close(&from);
        }
    });
}

#[test]
fn sparse_files_stay_sparse_and_offsets_go_beyond_4_gib() {
    everywhere(|mut rig, dir| {
        let far = (4 << 30) + 1;
        let file = rig.open("sparse", NEW | OpenFlags::READ).unwrap();
        assert_eq!(rig.ask(|c| c.write(&file, far, b"end")), OK);
        assert_eq!(rig.read_at(&file, far - 2, 100), Ok(b"\0\0end".to_vec()));
        assert_eq!(rig.stat("sparse").unwrap().size(), Some(far + 3));
        assert!(fs::metadata(dir.join("sparse")).unwrap().blocks() < 1000);
        assert_eq!(rig.ask(|c| c.fsetstat(&file, &Attrs::new().with_size(5 << 30))), OK);
        assert_eq!(rig.ask(|c| c.setstat(b"sparse", &Attrs::new().with_size(3))), OK);
        assert_eq!(rig.read_at(&file, 0, 100), Ok(vec![0; 3]));
    });
}

#[test]
fn opening_as_the_flags_say() {
    everywhere(|mut rig, dir| {
        assert_eq!(rig.open("a", OpenFlags::READ), Err(StatusCode::NO_SUCH_FILE));
        assert_eq!(rig.open("a", OpenFlags::WRITE), Err(StatusCode::NO_SUCH_FILE));
        rig.write("a", b"abcdef").unwrap();
        let exclusive = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
        assert_eq!(rig.open("a", exclusive), Err(StatusCode::FAILURE));
        let append = rig.open("a", OpenFlags::WRITE | OpenFlags::APPEND).unwrap();
        assert_eq!(rig.ask(|c| c.write(&append, 0, b"gh")), OK);
        assert_eq!(rig.ask(|c| c.write(&append, 1, b"i")), OK);
        let both = rig.open("a", OpenFlags::READ | OpenFlags::WRITE).unwrap();
        assert_eq!(rig.ask(|c| c.write(&both, 1, b"B")), OK);
        assert_eq!(rig.read_at(&both, 0, 100), Ok(b"aBcdefghi".to_vec()));
        assert_eq!(rig.read_at(&append, 0, 1), Err(StatusCode::PERMISSION_DENIED), "not open for that");
        let mode = Attrs::new().with_permissions(0o640);
        assert!(matches!(rig.call(|c| c.open(b"m", NEW, &mode)), Got::Handle(_)));
        assert_eq!(fs::metadata(dir.join("m")).unwrap().permissions().mode() & 0o777, 0o640);
    });
}

#[test]
fn names_of_any_bytes() {
    everywhere(|mut rig, dir| {
        let mut names: Vec<Vec<u8>> = (1..=255u8).filter(|b| *b != b'/').map(|b| vec![b'n', b]).collect();
        names.extend([b" ".to_vec(), b"a b".to_vec(), b"-rf".to_vec(), vec![0xff; 255], b"...".to_vec()]);
        names.extend(["\u{e9}", "e\u{301}", "\u{1f41a}", "a\nb", "\u{202e}x"].map(|s| s.as_bytes().to_vec()));
        for name in &names {
            rig.write(name, name).unwrap();
        }
        let mut expected = names.clone();
        expected.extend([b".".to_vec(), b"..".to_vec()]);
        expected.sort();
        assert_eq!(rig.list("."), Ok(expected));
        for name in &names {
            assert_eq!(rig.read(name).as_ref(), Ok(name));
            let local = dir.join(std::ffi::OsStr::from_bytes(name));
            assert_eq!(fs::read(local).unwrap(), *name);
            assert_eq!(rig.ask(|c| c.remove(name)), OK);
        }
        assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
    });
}

#[test]
fn long_directories_come_in_parts_and_whole() {
    everywhere(|mut rig, dir| {
        fs::create_dir(dir.join("many")).unwrap();
        let names: Vec<Vec<u8>> = (0..3000).map(|i| format!("{i:0200}").into_bytes()).collect();
        for name in &names {
            fs::write(dir.join("many").join(std::ffi::OsString::from_vec(name.clone())), b"").unwrap();
        }
        let mut listed = rig.list("many").unwrap();
        assert_eq!(listed.drain(..2).collect::<Vec<_>>(), [&b"."[..], b".."]);
        assert_eq!(listed, names);
        let (name, line, attrs) = &rig.lines[5];
        assert!(line.ends_with(name) && line.starts_with(b"-rw"));
        assert!(attrs.is_file() && attrs.size() == Some(0));
        assert_eq!(rig.server.open_handles(), 0);
        assert_eq!(rig.list("missing"), Err(StatusCode::NO_SUCH_FILE));
        assert_eq!(rig.list("many/0"), Err(StatusCode::NO_SUCH_FILE));
    });
}

#[test]
fn attributes_are_set_and_told() {
    everywhere(|mut rig, dir| {
        rig.write("f", b"12345").unwrap();
        let set = Attrs::new().with_permissions(0o604).with_times(1_000_000_000, 4_000_000_000);
        assert_eq!(rig.ask(|c| c.setstat(b"f", &set)), OK);
        let attrs = rig.stat("f").unwrap();
        assert_eq!(attrs.permissions(), Some(0o100_604));
        assert_eq!(attrs.times(), set.times());
        let stat = fs::metadata(dir.join("f")).unwrap();
        assert_eq!(attrs.owner(), Some(Owner { uid: stat.uid(), gid: stat.gid() }));
        assert_eq!((stat.mode() & 0o777, stat.mtime()), (0o604, 4_000_000_000));
        // Without any permission, the owner still can.
        assert_eq!(rig.ask(|c| c.setstat(b"f", &Attrs::new().with_permissions(0))), OK);
        assert_eq!(rig.ask(|c| c.setstat(b"f", &Attrs::new().with_permissions(0o600))), OK);
        let file = rig.open("f", OpenFlags::READ | OpenFlags::WRITE).unwrap();
        let set = Attrs::new().with_permissions(0o640).with_times(5, 6).with_size(2);
        assert_eq!(rig.ask(|c| c.fsetstat(&file, &set)), OK);
        let attrs = rig.attrs(|c| c.fstat(&file)).unwrap();
        assert_eq!(
            (attrs.size(), attrs.permissions(), attrs.times()),
            (Some(2), Some(0o100_640), set.times())
        );
        assert_eq!(rig.ask(|c| c.setstat(b".", &Attrs::new().with_permissions(0o711))), OK);
        assert_eq!(fs::metadata(dir).unwrap().mode() & 0o777, 0o711);
        // Times before 1970 cannot be told.
        let old = fs::File::open(dir.join("f")).unwrap();
        old.set_modified(std::time::UNIX_EPOCH - std::time::Duration::from_secs(99)).unwrap();
        assert_eq!(rig.stat("f").unwrap().times().unwrap().modified, 0);
        assert_eq!(rig.ask(|c| c.setstat(b"missing", &Attrs::new())), StatusCode::NO_SUCH_FILE);
        assert_eq!(rig.ask(|c| c.lsetstat(b"f", &Attrs::new().with_size(0))), StatusCode::BAD_MESSAGE);
    });
}

#[test]
fn directories_links_and_names() {
    everywhere(|mut rig, dir| {
        assert_eq!(rig.ask(|c| c.mkdir(b"d/", &Attrs::new().with_permissions(0o750))), OK);
        assert_eq!(fs::metadata(dir.join("d")).unwrap().mode() & 0o777, 0o750);
        assert_eq!(rig.ask(|c| c.mkdir(b"d", &Attrs::new())), StatusCode::FAILURE);
        assert_eq!(rig.ask(|c| c.mkdir(b"x/y", &Attrs::new())), StatusCode::NO_SUCH_FILE);
        rig.write("d/f", b"f").unwrap();
        assert_eq!(rig.ask(|c| c.rmdir(b"d")), StatusCode::FAILURE, "not empty");
        assert_eq!(rig.ask(|c| c.remove(b"d")), StatusCode::FAILURE, "a directory");
        assert_eq!(rig.ask(|c| c.symlink(b"d/f", b"link")), OK);
        assert_eq!(rig.path(|c| c.readlink(b"link")).as_deref(), Ok("d/f"));
        assert!(rig.path(|c| c.readlink(b"d/f")).is_err());
        assert!(rig.lstat("link").unwrap().is_symlink() && rig.stat("link").unwrap().is_file());
        assert_eq!(rig.read("link"), Ok(b"f".to_vec()));
        assert_eq!(rig.ask(|c| c.hardlink(b"d/f", b"hard")), OK);
        assert_eq!(fs::metadata(dir.join("hard")).unwrap().nlink(), 2);
        assert_eq!(rig.ask(|c| c.remove(b"link")), OK);
        assert_eq!(rig.ask(|c| c.rename(b"hard", b"d/g")), OK);
        assert_eq!(rig.ask(|c| c.posix_rename(b"d/g", b"d/f")), OK);
        assert_eq!(rig.ask(|c| c.remove(b"d/f")), OK);
        let _ = rig.ask(|c| c.remove(b"d/g"));
        assert_eq!(rig.ask(|c| c.rmdir(b"d/")), OK);
        assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
    });
}

#[test]
fn extensions() {
    everywhere(|mut rig, dir| {
        let content = pattern(700_000);
        fs::write(dir.join("from"), &content).unwrap();
        let from = rig.open("from", OpenFlags::READ).unwrap();
        let to = rig.open("to", NEW).unwrap();
        assert_eq!(rig.ask(|c| c.copy_data((&from, 0), 0, (&to, 0))), OK);
        assert!(fs::read(dir.join("to")).unwrap() == content);
        assert_eq!(rig.ask(|c| c.copy_data((&from, 100), 50, (&to, 10))), OK);
        assert_eq!(fs::read(dir.join("to")).unwrap()[10..60], content[100..150]);
        assert_eq!(
            rig.ask(|c| c.copy_data((&from, 699_990), 50, (&to, 0))),
            StatusCode::EOF,
            "it ends before"
        );
        assert_eq!(rig.ask(|c| c.fsync(&to)), OK);
        let appended = rig.open("to", OpenFlags::WRITE | OpenFlags::APPEND).unwrap();
        assert_eq!(rig.ask(|c| c.copy_data((&from, 0), 7, (&appended, 0))), OK);
        assert_eq!(fs::read(dir.join("to")).unwrap()[700_000..], content[..7]);

        for got in [rig.call(|c| c.statvfs(b".")), rig.call(|c| c.fstatvfs(&from))] {
            let Got::StatVfs(figures) = got else { panic!("{got:?}") };
            assert!(figures.blocks >= figures.blocks_free && figures.fragment_size > 0);
            assert_eq!(figures.name_max, 255);
        }
        let here = rig.path(|c| c.realpath(b"")).unwrap();
        assert_eq!(rig.path(|c| c.expand_path(b"x/..")), Err(StatusCode::NO_SUCH_FILE));
        assert_eq!(rig.path(|c| c.expand_path(b"")).as_deref(), Ok(&here[..]));
        assert!(rig.path(|c| c.expand_path(b"~")).unwrap().starts_with('/'));
        assert_eq!(rig.path(|c| c.expand_path(b"~no-such-user-here/x")), Err(StatusCode::NO_SUCH_FILE));
        assert_eq!(rig.path(|c| c.home_directory(b"no-such-user-here")), Err(StatusCode::NO_SUCH_FILE));
        assert!(rig.path(|c| c.home_directory(b"")).unwrap().starts_with('/'));
        assert!(!rig.client.supports(Extension::CheckFile), "off by default");
        assert_eq!(rig.client.limits().handles, 100);
    });
}

#[test]
fn names_of_users_where_they_are_wanted() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "").unwrap();
    for root in [Root::host(dir.path()).unwrap(), Root::open(dir.path()).unwrap().user_names(true)] {
        let mut rig = Rig::new(&root);
        let got = rig.call(|c| c.users_groups_by_id(&[0, 4_000_000_000, 0], &[0]));
        let Got::UsersGroups(names) = got else { panic!("{got:?}") };
        assert_eq!(names.users, [Some(b"root".to_vec()), None, Some(b"root".to_vec())]);
        assert_eq!(names.groups, [Some(b"root".to_vec())]);
    }
}

#[test]
fn check_file_hashes_what_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let content = pattern(300_000);
    fs::write(dir.path().join("f"), &content).unwrap();
    fs::write(dir.path().join("empty"), "").unwrap();
    let root = Root::open(dir.path()).unwrap();
    let root = root.configure(|c| c.extensions = c.extensions.with(Extension::CheckFile));
    let mut rig = Rig::new(&root);
    let sha256 = |parts: &[&[u8]]| -> Vec<u8> {
        let one = |part: &&[u8]| {
            konko::core::crypto::Digest::of(konko::core::provider::best(), HashAlgorithm::Sha256, &[part])
        };
        parts.iter().flat_map(|p| one(p).as_bytes().to_vec()).collect()
    };
    let mut ask = |name: &[u8], offset, len, block| {
        let got = rig.call(|c| c.check_file_name(name, &[HashAlgorithm::Sha256], offset, len, block));
        match got {
            Got::FileHash(hash) => Ok(hash.digests),
            Got::Status(code, _) => Err(code),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ask(b"f", 0, 0, 0), Ok(sha256(&[&content])));
    assert_eq!(ask(b"f", 10, 20, 0), Ok(sha256(&[&content[10..30]])));
    assert_eq!(
        ask(b"f", 0, 250_000, 100_000),
        Ok(sha256(&[&content[..100_000], &content[100_000..200_000], &content[200_000..250_000]]))
    );
    assert_eq!(ask(b"f", 299_999, 100, 0), Ok(sha256(&[&content[299_999..]])));
    assert_eq!(ask(b"empty", 0, 0, 0), Ok(sha256(&[b""])));
    assert_eq!(ask(b".", 0, 0, 0), Err(StatusCode::FAILURE));
}

#[test]
fn s_31_what_the_system_says_about_writing_reaches_the_client() {
    let mut rig = Rig::new(&Root::host("/").unwrap());
    let full = rig.open("/dev/full", OpenFlags::WRITE).unwrap();
    let Got::Status(code, text) = rig.call(|c| c.write(&full, 0, b"x")) else { panic!() };
    assert_eq!((code, &text[..]), (StatusCode::FAILURE, "no space left on device"));
    let null = rig.open("/dev/null", OpenFlags::WRITE).unwrap();
    assert_eq!(rig.ask(|c| c.fsync(&null)), StatusCode::FAILURE, "it cannot be put on a disk");
}

#[test]
fn s_08_handles_are_limited_and_freed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), "").unwrap();
    let root = Root::open(dir.path()).unwrap();
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let mut rig = Rig::new(&root);
    for _ in 0..3 {
        let handles: Vec<Handle> = (0..100).map(|_| rig.open("f", OpenFlags::READ).unwrap()).collect();
        assert_eq!(rig.open("f", OpenFlags::READ), Err(StatusCode::FAILURE));
        assert!(matches!(rig.call(|c| c.opendir(b".")), Got::Status(StatusCode::FAILURE, _)));
        handles.iter().for_each(|h| rig.close(h));
    }
    rig.open("f", OpenFlags::READ).unwrap();
    for handle in rig.server.finish() {
        rig.fs.abandoned(handle);
    }
    assert_eq!(format!("{:?}", rig.fs), "Session(OpenFiles(0))");
    drop(rig);
    // Other tests of this process open files as well.
    assert!(descriptors() < before + 100);
}

#[test]
fn what_was_done_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(Mutex::new(Vec::new()));
    let witness = Arc::clone(&log);
    let root = Root::open(dir.path()).unwrap().on_done(move |done| {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let other = done.other.map(text).unwrap_or_default();
        let line = format!(
            "{} {} {other} {} {} {}",
            done.operation,
            text(done.path),
            done.status,
            done.read,
            done.written
        );
        witness.lock().unwrap().push(line);
    });
    let mut rig = Rig::new(&root);
    rig.write("f", b"hello").unwrap();
    rig.read("f").unwrap();
    rig.ask(|c| c.rename(b"f", b"g"));
    rig.ask(|c| c.remove(b"f"));
    assert_eq!(
        *log.lock().unwrap(),
        [
            "open f  success 0 0",
            "close f  success 0 5",
            "open f  success 0 0",
            "close f  success 5 0",
            "rename f g success 0 0",
            "remove f  no such file 0 0",
        ]
    );
}

#[test]
fn d11_a_mode_is_set_as_it_was_asked_for_or_not_at_all() {
    let modes = [0, 0o600, 0o777, 0o1777, 0o2775, 0o3775, 0o4755, 0o6755, 0o7777, 0o100_644, 0o042_775];
    everywhere(|mut rig, dir| {
        let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().mode() & 0o7777;
        let set = |name: &str, to: u32| {
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(to)).unwrap();
        };
        fs::write(dir.join("file"), "").unwrap();
        fs::create_dir(dir.join("dir")).unwrap();
        for name in ["file", "dir"] {
            for before in [0o755, 0o1777, 0o2775, 0o4755] {
                for asked in modes {
                    set(name, before);
                    let attrs = Attrs::new().with_permissions(asked).with_times(7, 7);
                    let status = rig.ask(|c| c.setstat(name.as_bytes(), &attrs));
                    let what = format!("{name}: {before:o} to {asked:o}");
                    assert_eq!(mode(name), if status == OK { asked & 0o7777 } else { before }, "{what}");
                    // What was there already is no privilege that is given.
                    if asked & 0o7000 & !before == 0 {
                        assert_eq!(status, OK, "{what}");
                    }
                    assert_eq!(fs::metadata(dir.join(name)).unwrap().mtime(), 7, "the rest is done");
                }
            }
        }
        // Shared directories of an administrator, and those of a client.
        for special in [0o2775, 0o1777, 0o3777] {
            set("dir", 0o755);
            assert_eq!(rig.ask(|c| c.setstat(b"dir", &Attrs::new().with_permissions(special))), OK);
            assert_eq!(mode("dir"), special);
        }
        assert_eq!(rig.ask(|c| c.mkdir(b"sticky", &Attrs::new().with_permissions(0o1700))), OK);
        assert_eq!(mode("sticky"), 0o1700);
        // The same by handle.
        set("file", 0o2755);
        let file = rig.open("file", OpenFlags::WRITE).unwrap();
        let keep = Attrs::new().with_permissions(0o2700);
        assert_eq!(rig.ask(|c| c.fsetstat(&file, &keep)), OK);
        assert_eq!(mode("file"), 0o2700);
        let status = rig.ask(|c| c.fsetstat(&file, &Attrs::new().with_permissions(0o4700)));
        assert_eq!(mode("file"), if status == OK { 0o4700 } else { 0o2700 });
    });
}

#[test]
fn d11_a_name_with_a_slash_behind_it_is_that_of_a_directory() {
    everywhere(|mut rig, dir| {
        fs::write(dir.join("f"), "f").unwrap();
        fs::create_dir(dir.join("d")).unwrap();
        std::os::unix::fs::symlink("d", dir.join("l")).unwrap();
        for (from, to) in
            [("f", "new/"), ("f/", "new"), ("f/", "new/"), ("l/", "new"), ("l", "new/"), ("f", "new//")]
        {
            let plain = rig.ask(|c| c.rename(from.as_bytes(), to.as_bytes()));
            let posix = rig.ask(|c| c.posix_rename(from.as_bytes(), to.as_bytes()));
            assert!(plain != OK && posix != OK, "{from} to {to}: {plain}, {posix}");
            assert!(!dir.join("new").exists() && dir.join("f").is_file() && dir.join("l").is_symlink());
        }
        for (from, to) in [("d", "e/"), ("e/", "d"), ("d//", "e/"), ("e", "d")] {
            assert_eq!(rig.ask(|c| c.rename(from.as_bytes(), to.as_bytes())), OK, "{from} to {to}");
        }
        for (from, to) in [("d/", "e"), ("e", "d/")] {
            assert_eq!(rig.ask(|c| c.posix_rename(from.as_bytes(), to.as_bytes())), OK, "{from} to {to}");
        }
        assert!(dir.join("d").is_dir());
    });
}

#[test]
fn d11_a_root_that_is_reopened_is_what_has_the_name_now() {
    let top = tempfile::tempdir().unwrap();
    let at = |name: &str| top.path().join(name);
    for name in ["one", "two"] {
        fs::create_dir_all(at(name).join("in")).unwrap();
        fs::write(at(name).join("in/which"), name).unwrap();
    }
    let point = |to: &str| {
        let _ = fs::remove_file(at("current"));
        std::os::unix::fs::symlink(to, at("current")).unwrap();
    };
    point("one");
    let roots = [
        Root::open(at("current")).unwrap(),
        Root::open(at("current")).unwrap().walk().read_only(),
        Root::open(at("current")).unwrap().start_in("/in").unwrap(),
        Root::host(at("current")).unwrap(),
    ];
    for (i, root) in roots.iter().enumerate() {
        let path = if i == 2 { "which" } else { "in/which" };
        let which = |root: &Root| Rig::new(root).read(path).unwrap();
        point("one");
        let mut session = Rig::new(root);
        point("two");
        assert_eq!(session.read(path).unwrap(), b"one", "a session stays with what it began with");
        assert_eq!(which(root), b"one");
        let reopened = root.reopen().unwrap();
        assert_eq!(which(&reopened), b"two");
        assert_eq!(reopened.config().read_only, i == 1, "its rules are the same");
        fs::rename(at("two"), at("gone")).unwrap();
        assert_eq!(root.reopen().unwrap_err().kind(), std::io::ErrorKind::NotFound);
        fs::rename(at("gone"), at("two")).unwrap();
    }
}
