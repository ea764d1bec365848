//! The blocking SFTP client, against a file system in memory.
#![cfg(feature = "server")]

mod liar;
mod memory;

use std::io::{BufRead, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use konko::Cancel;
use konko::core::crypto::HashAlgorithm;
use konko::core::sftp::{Attrs, Extension, FileType, ServerConfig, StatusCode};
use konko::sftp::{ErrorKind, GetOptions, Links, OpenOptions, PutOptions, SftpOptions, Verify};
use memory::{Memory, pattern};

const SIZES: [usize; 8] = [0, 1, 32_767, 32_768, 32_769, 261_120, 1_048_577, 5_000_003];

#[test]
fn a_file_is_written_and_read_as_with_the_standard_library() {
    let memory = Memory::new();
    let sftp = memory.connect();
    for size in SIZES {
        let bytes = pattern(size);
        let mut file = sftp.create("f").unwrap();
        for piece in bytes.chunks(100_001) {
            file.write_all(piece).unwrap();
        }
        file.close().unwrap();
        assert_eq!(memory.content("f").unwrap(), bytes, "{size}");
        let mut back = Vec::new();
        sftp.open("f").unwrap().read_to_end(&mut back).unwrap();
        assert_eq!(back, bytes, "{size}");
    }
}

#[test]
fn seeking_reading_and_writing_in_turn() {
    let memory = Memory::new();
    let sftp = memory.connect();
    let bytes = pattern(500_000);
    memory.insert("f", bytes.clone());
    let mut file = sftp.open_with("f", &OpenOptions::new().read(true).write(true)).unwrap();
    let mut part = [0; 1000];
    file.seek(SeekFrom::Start(400_000)).unwrap();
    file.read_exact(&mut part).unwrap();
    assert_eq!(part, bytes[400_000..401_000]);
    file.seek(SeekFrom::Current(-1000)).unwrap();
    file.write_all(b"here").unwrap();
    file.read_exact(&mut part).unwrap();
    assert_eq!(part, bytes[400_004..401_004]);
    assert_eq!(file.seek(SeekFrom::End(-10)).unwrap(), 499_990);
    let mut end = Vec::new();
    file.read_to_end(&mut end).unwrap();
    assert_eq!(end, &bytes[499_990..]);
    file.seek(SeekFrom::Start(399_999)).unwrap();
    let mut word = [0; 6];
    file.read_exact(&mut word).unwrap();
    assert_eq!((&word[1..5], word[0], word[5]), (&b"here"[..], bytes[399_999], bytes[400_004]));
    assert!(file.seek(SeekFrom::Current(-1_000_000)).is_err());
}

#[test]
fn lines_ranges_and_offsets() {
    let memory = Memory::new();
    let sftp = memory.connect();
    memory.insert("lines", "one\ntwo\nthree");
    let lines: Vec<String> = sftp.open("lines").unwrap().lines().map(Result::unwrap).collect();
    assert_eq!(lines, ["one", "two", "three"]);
    let bytes = pattern(2_000_000);
    memory.insert("f", bytes.clone());
    let file = sftp.open_with("f", &OpenOptions::new().read(true).write(true)).unwrap();
    let parts = file.read_ranges(&[(0, 10), (1_000_000, 600_000), (1_999_995, 100), (5_000_000, 5)]).unwrap();
    assert_eq!(parts[0], &bytes[..10]);
    assert_eq!(parts[1], &bytes[1_000_000..1_600_000]);
    assert_eq!(parts[2], &bytes[1_999_995..]);
    assert!(parts[3].is_empty());
    let mut part = [0; 20];
    assert_eq!(file.read_at(&mut part, 1_999_990).unwrap(), 10);
    assert_eq!(part[..10], bytes[1_999_990..]);
    assert_eq!(file.write_at(&bytes[..700_000], 100).unwrap(), 700_000);
    assert_eq!(memory.content("f").unwrap()[100..700_100], bytes[..700_000]);
    file.set_len(7).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 7);
}

#[test]
fn reading_without_reading_ahead_and_writing_through() {
    let memory = Memory::new();
    let sftp = memory.connect();
    let bytes = pattern(100_000);
    let file = sftp.create("f").unwrap();
    file.set_write_behind(false);
    (&file).write_all(&bytes).unwrap();
    // Without a flush it is there.
    assert_eq!(memory.content("f").unwrap(), bytes);
    let mut file = sftp.open("f").unwrap();
    file.set_read_ahead(0);
    let mut back = Vec::new();
    file.read_to_end(&mut back).unwrap();
    assert_eq!(back, bytes);
    assert!(file.fill_buf().unwrap().is_empty());
}

#[test]
fn appending_goes_to_the_end() {
    let memory = Memory::new();
    let sftp = memory.connect();
    memory.insert("log", "one\n");
    let mut file = sftp.open_with("log", &OpenOptions::new().append(true)).unwrap();
    file.write_all(b"two\n").unwrap();
    file.close().unwrap();
    assert_eq!(memory.content("log").unwrap(), b"one\ntwo\n");
    let error = sftp.open_with("log", &OpenOptions::new().write(true).create_new(true)).unwrap_err();
    assert_eq!(error.code(), Some(StatusCode::FAILURE));
    assert!(sftp.open_with("log", &OpenOptions::new().read(true).create(true)).is_err());
}

#[test]
fn a_dropped_file_is_closed_and_what_was_written_arrives() {
    let memory = Memory::new();
    let sftp = memory.connect();
    for i in 0..300 {
        // More than the server would let be open.
        let mut file = sftp.create("f").unwrap();
        write!(file, "{i}").unwrap();
    }
    assert_eq!(memory.content("f").unwrap(), b"299");
    // More than fits into any window, and nobody calls anything afterwards.
    let large = vec![7; 9 << 20];
    sftp.create("large").unwrap().write_all(&large).unwrap();
    assert!(memory.content("large").unwrap() == large);
}

#[test]
fn the_first_error_of_a_write_is_not_lost() {
    let memory = Memory::new();
    let sftp = memory.connect();
    sftp.write("f", "x").unwrap();
    let mut file = sftp.open("f").unwrap();
    let written = file.write_all(&[0; 100]).and_then(|()| file.flush());
    let error = written.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("write \"f\""), "{error}");
}

#[test]
fn directories_links_and_attributes() {
    let memory = Memory::new();
    let mut sftp = memory.connect();
    sftp.create_dir_all("a/b/c").unwrap();
    sftp.create_dir_all("a/b/c").unwrap();
    sftp.write("a/b/c/f", "content").unwrap();
    sftp.symlink("b/c/f", "a/link").unwrap();
    assert_eq!(sftp.read_link("a/link").unwrap(), b"b/c/f");
    assert_eq!(sftp.symlink_metadata("a/link").unwrap().file_type(), Some(FileType::Symlink));
    assert_eq!(sftp.metadata("a/link").unwrap().len(), 7);
    sftp.hard_link("a/b/c/f", "a/hard").unwrap();
    assert_eq!(sftp.canonicalize("a/./b/../b").unwrap(), b"/a/b");
    sftp.set_permissions("a/hard", 0o640).unwrap();
    sftp.chown("a/hard", Some(7), None).unwrap();
    let time = UNIX_EPOCH + Duration::from_secs(1_000_000);
    sftp.set_times("a/hard", time, time).unwrap();
    let meta = sftp.metadata("a/b/c/f").unwrap();
    assert_eq!(
        (meta.permissions(), meta.uid(), meta.modified()),
        (Some(0o640), Some(7), Some(time.duration_since(UNIX_EPOCH).unwrap()))
    );
    sftp.truncate("a/hard", 3).unwrap();
    assert_eq!(sftp.read("a/b/c/f").unwrap(), b"con");
    assert!(sftp.exists("a/hard").unwrap() && !sftp.exists("a/none").unwrap());
    sftp.set_current_dir("a").unwrap();
    assert_eq!(sftp.current_dir(), Some(&b"/a"[..]));
    let mut names: Vec<Vec<u8>> =
        sftp.read_dir("").unwrap().map(|e| e.unwrap().file_name().to_vec()).collect();
    names.sort();
    assert_eq!(names, [&b"b"[..], b"hard", b"link"]);
    sftp.write("other", "y").unwrap();
    sftp.rename("hard", "other").unwrap();
    assert_eq!(sftp.read("other").unwrap(), b"con");
    sftp.write("third", "z").unwrap();
    assert!(sftp.rename_new("third", "other").is_err());
    assert!(sftp.statvfs("").unwrap().blocks > 0);
    sftp.remove_dir_all("/a").unwrap();
    assert!(!sftp.exists("/a").unwrap());
}

#[test]
fn extensions() {
    let memory = Memory::new();
    memory.lock().set_name(7, "seven");
    let sftp = memory.connect();
    assert!(sftp.supports(Extension::CheckFile) && sftp.limits().read > 0);
    sftp.write("f", "hello").unwrap();
    let hash = sftp.check_file("f", &[HashAlgorithm::Sha256], (0, 0), 0).unwrap();
    assert_eq!(hash.digests[..4], [0x2c, 0xf2, 0x4d, 0xba]);
    let file = sftp.open("f").unwrap();
    assert_eq!(file.check(&[HashAlgorithm::Sha256], (0, 0), 0).unwrap(), hash);
    let to = sftp.create("g").unwrap();
    file.copy_data(1, 3, &to, 0).unwrap();
    to.sync_all().unwrap();
    assert_eq!(memory.content("g").unwrap(), b"ell");
    assert!(file.statvfs().unwrap().block_size > 0);
    assert_eq!(sftp.users_groups(&[7], &[8]).unwrap().users, [Some(b"seven".to_vec())]);
    assert_eq!(sftp.home_dir("").unwrap(), b"/");
    assert_eq!(sftp.expand_path("~/f").unwrap(), b"/f");
    sftp.copy("f", "h").unwrap();
    assert_eq!(memory.content("h").unwrap(), b"hello");
    let error = sftp.extended("no-such@example.org", b"").unwrap_err();
    assert_eq!(error.code(), Some(StatusCode::OP_UNSUPPORTED));
}

#[test]
fn errors_say_what_was_done_to_what_and_why() {
    let memory = Memory::new();
    let sftp = memory.connect();
    let error = sftp.open("no\x1b[2Jsuch").unwrap_err();
    assert!(error.is_not_found());
    let text = error.to_string();
    assert!(
        text.starts_with("open \"no\\") && !text.contains('\x1b') && text.contains("no such file"),
        "{text}"
    );
    let io: std::io::Error = konko::Error::from(error).into();
    assert_eq!(io.kind(), std::io::ErrorKind::NotFound);
    let error = sftp.rename("a", "b").unwrap_err();
    assert!(error.to_string().starts_with("rename \"a\" \"b\": "), "{error}");
    let error = sftp.metadata("a\0b").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid(_)), "{error}");
}

#[test]
fn files_go_there_and_back_with_options() {
    let memory = Memory::new();
    let sftp = memory.connect();
    let here = tempfile::tempdir().unwrap();
    let (from, to) = (here.path().join("from"), here.path().join("to"));
    for size in SIZES {
        std::fs::write(&from, pattern(size)).unwrap();
        let put = PutOptions::new().atomic(true).sync(true).verify(Verify::Hash(HashAlgorithm::Sha256));
        let summary = sftp.put_with(&from, "f", &put).unwrap();
        // There is nothing to hash in an empty file.
        assert!(summary.hash_verified || size == 0, "{size} {summary:?}");
        assert_eq!(summary.size, size as u64);
        let get = GetOptions::new().verify(Verify::Reread(HashAlgorithm::Sha256));
        let summary = sftp.get_with("f", &to, &get).unwrap();
        assert!(summary.hash_verified || size == 0, "{size} {summary:?}");
        assert_eq!(std::fs::read(&to).unwrap(), pattern(size), "{size}");
    }
    let names: Vec<Vec<u8>> = memory.lock().list(b"/");
    assert_eq!(names, [b"f"], "no temporary file is left");
}

#[test]
fn resuming_moves_only_what_is_missing() {
    let memory = Memory::new();
    let sftp = memory.connect();
    let here = tempfile::tempdir().unwrap();
    let (bytes, local) = (pattern(900_000), here.path().join("f"));
    memory.insert("f", bytes.clone());
    std::fs::write(&local, &bytes[..300_000]).unwrap();
    let get = GetOptions::new().resume(true);
    assert_eq!(sftp.get_with("f", &local, &get).unwrap().bytes, 600_000);
    assert_eq!(std::fs::read(&local).unwrap(), bytes);
    memory.insert("f", &bytes[..500_000]);
    let put = PutOptions::new().resume(true);
    assert_eq!(sftp.put_with(&local, "f", &put).unwrap().bytes, 400_000);
    assert_eq!(memory.content("f").unwrap(), bytes);
    memory.insert("f", &bytes[..5]);
    assert!(sftp.get_with("f", &local, &get).unwrap_err().to_string().contains("longer"));
    memory.insert("f", pattern(900_001));
    assert!(sftp.put_with(&local, "f", &put).unwrap_err().to_string().contains("longer"));
}

#[test]
fn permissions_times_and_holes() {
    let memory = Memory::new();
    let sftp = memory.connect();
    let here = tempfile::tempdir().unwrap();
    let (from, to) = (here.path().join("from"), here.path().join("to"));
    let mut bytes = vec![0; 4 << 20];
    bytes[3 << 20] = 1;
    std::fs::write(&from, &bytes).unwrap();
    std::fs::set_permissions(&from, std::fs::Permissions::from_mode(0o640)).unwrap();
    let time = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    std::fs::File::options().write(true).open(&from).unwrap().set_modified(time).unwrap();
    sftp.put_with(&from, "f", &PutOptions::new().preserve(true)).unwrap();
    let meta = sftp.metadata("f").unwrap();
    assert_eq!(
        (meta.permissions(), meta.modified()),
        (Some(0o640), Some(time.duration_since(UNIX_EPOCH).unwrap()))
    );
    sftp.get_with("f", &to, &GetOptions::new().preserve(true).sparse(true)).unwrap();
    let meta = std::fs::metadata(&to).unwrap();
    assert_eq!((meta.permissions().mode() & 0o7777, meta.modified().unwrap()), (0o640, time));
    assert_eq!(std::fs::read(&to).unwrap(), bytes);
    assert!(meta.blocks() * 512 < 2 << 20, "{} blocks", meta.blocks());
}

#[test]
fn readers_and_writers_of_any_kind() {
    let memory = Memory::new();
    let sftp = memory.connect();
    let bytes = pattern(3_000_001);
    assert_eq!(sftp.put_from(&mut &bytes[..], "f").unwrap(), 3_000_001);
    let mut back = Vec::new();
    assert_eq!(sftp.get_to("f", &mut back).unwrap(), 3_000_001);
    assert_eq!(back, bytes);
}

#[test]
fn trees_go_there_and_back() {
    let memory = Memory::new();
    let sftp = memory.connect();
    let here = tempfile::tempdir().unwrap();
    let from = here.path().join("from");
    for dir in 0..20 {
        let dir = from.join(format!("d{dir}/deeper"));
        std::fs::create_dir_all(&dir).unwrap();
        for file in 0..50 {
            std::fs::write(dir.join(format!("f{file}")), pattern(file * 1000)).unwrap();
        }
    }
    std::os::unix::fs::symlink("d0", from.join("link")).unwrap();
    let report = sftp.put_tree(&from, "tree", &PutOptions::new(), Links::Skip).unwrap();
    assert_eq!((report.files, report.dirs, report.failures.len()), (1000, 41, 0), "{report:?}");
    assert!(matches!(&report.skipped[..], [link] if link.to_string().contains("link")), "{report:?}");
    let report = sftp.get_tree("tree", here.path().join("to"), &GetOptions::new(), Links::Skip).unwrap();
    assert_eq!((report.files, report.dirs, report.failures.len()), (1000, 41, 0), "{report:?}");
    for file in 0..50 {
        let path = here.path().join(format!("to/d19/deeper/f{file}"));
        assert_eq!(std::fs::read(path).unwrap(), pattern(file * 1000));
    }
    assert_eq!(sftp.walk("tree").map(Result::unwrap).count(), 1040);
    let found = sftp.glob("tr*/d1[0-3]/*/f4?").unwrap();
    assert_eq!(found.len(), 40);
    assert_eq!(found[0].0, b"tree/d10/deeper/f40");
    sftp.remove_dir_all("tree").unwrap();
    assert!(!sftp.exists("tree").unwrap());
}

#[test]
fn s_18_names_that_lead_elsewhere_are_passed_over() {
    let lies: [&[u8]; 9] = [b"", b".", b"..", b"../x", b"/x", b"a/b", b"ok/../../x", b"nul\0", b"./y"];
    for folders in [true, false] {
        let sftp = liar::Liar::new(&lies, folders).client();
        let here = tempfile::tempdir().unwrap();
        let report =
            sftp.get_tree("tree", here.path().join("up/to"), &GetOptions::new(), Links::Skip).unwrap_err();
        // Nothing was made on the way to a place that is not there.
        assert!(report.to_string().contains("to"), "{report}");
        let report = sftp.get_tree("tree", here.path().join("to"), &GetOptions::new(), Links::Skip).unwrap();
        // `.` and `..` are in every directory, and no failure.
        assert_eq!((report.files, report.failures.len()), (1, lies.len() - 2), "{report:?}");
        assert!(report.failures.iter().all(|e| matches!(e.kind(), ErrorKind::Unsafe(_))));
        let names = |path: &std::path::Path| {
            let list = std::fs::read_dir(path).unwrap();
            list.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
        };
        assert_eq!(
            (names(here.path()), names(&here.path().join("to"))),
            (vec!["to".into()], vec!["ok".into()])
        );
    }
}

#[test]
fn s_18_a_local_link_in_the_way_is_not_followed() {
    let memory = Memory::new();
    memory.insert("tree/dir/f", "1");
    memory.insert("tree/file", "2");
    let sftp = memory.connect();
    let here = tempfile::tempdir().unwrap();
    let (to, elsewhere) = (here.path().join("to"), here.path().join("elsewhere"));
    std::fs::create_dir_all(&to).unwrap();
    std::fs::create_dir_all(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, to.join("dir")).unwrap();
    std::os::unix::fs::symlink(elsewhere.join("made"), to.join("file")).unwrap();
    let report = sftp.get_tree("tree", &to, &GetOptions::new(), Links::Skip).unwrap();
    assert_eq!((report.files, report.failures.len()), (0, 2), "{report:?}");
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn s_19_a_tree_without_end_is_an_error() {
    let memory = Memory::new();
    memory.insert(&format!("{}f", "d/".repeat(70)), "1");
    let sftp = memory.connect();
    let here = tempfile::tempdir().unwrap();
    let report = sftp.get_tree("d", here.path().join("to"), &GetOptions::new(), Links::Skip).unwrap();
    assert!(matches!(report.failures[..], [ref e] if matches!(e.kind(), ErrorKind::Unsafe(_))), "{report:?}");
    assert!(sftp.walk("d").any(|entry| entry.is_err()));
    assert!(sftp.remove_dir_all("d").is_err());
}

#[test]
fn several_threads_use_one_session_at_once() {
    let memory = Memory::new();
    let sftp = memory.connect();
    let bytes = Arc::new(pattern(2_000_000));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (sftp, bytes) = (sftp.clone(), Arc::clone(&bytes));
            scope.spawn(move || {
                let name = format!("f{thread}");
                for _ in 0..3 {
                    sftp.put_from(&mut &bytes[..], &name).unwrap();
                    for _ in 0..50 {
                        assert_eq!(sftp.metadata(&name).unwrap().len(), 2_000_000);
                    }
                    assert!(sftp.read(&name).unwrap() == *bytes);
                }
            });
        }
    });
}

#[test]
fn one_file_read_by_several_threads() {
    let memory = Memory::new();
    let sftp = memory.connect();
    let bytes = pattern(1_000_000);
    memory.insert("f", bytes.clone());
    let file = sftp.open("f").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4usize {
            let (file, bytes) = (&file, &bytes);
            scope.spawn(move || {
                let mut part = vec![0; 1000];
                for i in 0..100 {
                    let offset = (thread * 100 + i) * 2000;
                    assert_eq!(file.read_at(&mut part, offset as u64).unwrap(), 1000);
                    assert_eq!(part, bytes[offset..offset + 1000]);
                }
            });
        }
    });
}

#[test]
fn progress_is_told_and_a_transfer_can_be_cancelled() {
    let memory = Memory::new();
    let sftp = memory.connect();
    memory.insert("f", pattern(20_000_000));
    let here = tempfile::tempdir().unwrap();
    let most = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&most);
    let watched = sftp.on_progress(move |p| {
        seen.fetch_max(p.done, Ordering::Relaxed);
    });
    watched.get("f", here.path().join("f")).unwrap();
    assert_eq!(most.load(Ordering::Relaxed), 20_000_000);
    let cancel = Cancel::new();
    let stop = cancel.clone();
    let watched = sftp.cancelled_by(&cancel).on_progress(move |p| {
        if p.done > 1_000_000 {
            stop.cancel();
        }
    });
    let error = watched.get("f", here.path().join("g")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Cancelled), "{error}");
    // The session goes on.
    assert!(sftp.exists("f").unwrap());
}

#[test]
fn servers_without_extensions_do_as_well() {
    let memory = Memory::new();
    let config = ServerConfig::new().extensions(konko::core::sftp::ExtensionSet::EMPTY);
    let sftp = memory.connect_with(SftpOptions::default(), config);
    assert!(!sftp.supports(Extension::PosixRename));
    let bytes = pattern(1_000_000);
    sftp.write("f", &bytes).unwrap();
    assert_eq!(sftp.read("f").unwrap(), bytes);
    sftp.copy("f", "g").unwrap();
    assert_eq!(memory.content("g").unwrap(), bytes);
    sftp.rename("g", "h").unwrap();
    assert!(matches!(sftp.statvfs("/").unwrap_err().kind(), ErrorKind::Unsupported(_)));
    assert!(matches!(sftp.hard_link("f", "i").unwrap_err().kind(), ErrorKind::Unsupported(_)));
}

#[test]
fn u_22_a_server_that_prints_something_is_told_from_one_that_speaks() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    (&theirs).write_all(b"Welcome to the router\r\n").unwrap();
    let stream = konko::FdStream::try_from(ours).unwrap();
    let error = konko::Sftp::over(stream, SftpOptions::default()).unwrap_err();
    assert!(error.to_string().contains("Welcome to the router"), "{error}");
}

#[test]
fn a_silent_server_times_out_and_the_session_ends_with_the_connection() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let memory = Memory::new();
    memory.insert("f", "x");
    let (mut server_end, relay) = (theirs.try_clone().unwrap(), theirs);
    let serving = memory.clone();
    let thread = std::thread::spawn(move || serving.serve(&relay, &relay, ServerConfig::default()));
    let stream = konko::FdStream::try_from(ours).unwrap();
    let mut sftp = konko::Sftp::over(stream, SftpOptions::default()).unwrap();
    sftp.set_timeout(Some(Duration::from_millis(100)));
    let held = memory.lock();
    let error = sftp.metadata("f").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout(_)), "{error}");
    drop(held);
    sftp.set_timeout(Some(Duration::from_secs(20)));
    assert_eq!(sftp.metadata("f").unwrap().len(), 1);
    server_end.flush().unwrap();
    server_end.shutdown(std::net::Shutdown::Both).unwrap();
    thread.join().unwrap();
    let error = sftp.metadata("f").unwrap_err();
    assert!(error.is_fatal(), "{error}");
    assert!(!sftp.is_open());
}

#[test]
fn over_a_connection() {
    let memory = Memory::new();
    let (_server, client) = memory.over_ssh();
    let sftp = client.sftp().unwrap();
    let bytes = pattern(20_000_000);
    let here = tempfile::tempdir().unwrap();
    std::fs::write(here.path().join("from"), &bytes).unwrap();
    sftp.put(here.path().join("from"), "f").unwrap();
    assert!(memory.content("f").unwrap() == bytes);
    sftp.get("f", here.path().join("to")).unwrap();
    assert!(std::fs::read(here.path().join("to")).unwrap() == bytes);
    assert!(sftp.read("f").unwrap() == bytes);
    sftp.set_metadata("f", &Attrs::new().with_permissions(0o600)).unwrap();
    client.disconnect();
    let error = sftp.metadata("f").unwrap_err();
    assert!(error.is_fatal(), "{error}");
    let none = client.sftp();
    assert!(none.is_err());
}
