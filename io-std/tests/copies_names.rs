//! Copies of files and trees whatever they are called, by every program and every call: what is copied is at its name
//! in the target, and nothing else changes.
#![cfg(feature = "cli")]

mod copies_rig;
mod liar;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use copies_rig::{Desk, Ended, bytes, escaped, quoted};
use konko::sftp::{ErrorKind, GetOptions, Links, PutOptions};
use liar::Liar;

/// Names that are honest on Unix and mean something to Windows, to a shell, to a pattern, or to scp itself.
const NAMES: [&[u8]; 34] = [
    b"report:2026",
    b"2026-11-26T21:40:00.log",
    b"C:",
    b"host:x",
    b"back\\slash",
    b"\\\\host",
    b"aux",
    b"CON",
    b"nul.txt",
    b"COM1",
    b"lpt9.x",
    b"conin$",
    b"end.",
    b"space ",
    b" ",
    b"a b",
    b"a*b",
    b"*",
    b"a?b",
    b"[x]",
    b"quote'\"",
    b"<in>|",
    b"-",
    b"-rf",
    b"...",
    b"..x",
    b".hidden",
    b"~",
    b"~root",
    b"#",
    b"tab\there",
    b"new\nline",
    b"\x1b[2J",
    b"\xff\xfe",
];

/// `src` with a file of each name, or a folder with files that the target has too.
fn desk(folders: bool) -> Desk {
    let desk = Desk::new();
    for name in NAMES {
        let at = Path::new("src").join(OsStr::from_bytes(name));
        if folders {
            desk.file(at.join("mine"), name);
            desk.file(at.join(".ssh/authorized_keys"), b"theirs");
        } else {
            desk.file(at, name);
        }
    }
    fresh(&desk);
    desk
}

/// An untouched target, in a folder in which nothing may change either.
fn fresh(desk: &Desk) {
    desk.clear("around");
    desk.file("around/mine", b"1");
    desk.file("around/to/mine", b"2");
    desk.file("around/to/.ssh/authorized_keys", b"3");
}

/// The sources have arrived at their names, and nothing else has changed.
#[track_caller]
fn check(desk: &Desk, ended: Option<Ended>, left_out: &[&[u8]], what: &str) {
    let mut expected = std::collections::BTreeMap::new();
    for (name, content) in [
        ("mine", &b"1"[..]),
        ("to", b"dir"),
        ("to/mine", b"2"),
        ("to/.ssh", b"dir"),
        ("to/.ssh/authorized_keys", b"3"),
    ] {
        expected.insert(name.as_bytes().to_vec(), content.to_vec());
    }
    for (name, content) in desk.tree("src") {
        if left_out.iter().any(|out| name.split(|b| *b == b'/').next() == Some(*out)) {
            continue;
        }
        expected.insert([b"to/", &name[..]].concat(), content);
    }
    let found = desk.tree("around");
    for (name, content) in &expected {
        let shown = String::from_utf8_lossy(name);
        assert_eq!(found.get(name), Some(content), "{what}: {shown}; {ended:?}");
    }
    let more: Vec<_> = found.keys().filter(|name| !expected.contains_key(*name)).collect();
    assert!(more.is_empty(), "{what}: {more:?}; {ended:?}");
    if let Some(ended) = ended {
        assert_eq!(ended.status, Some(0), "{what}: {ended:?}");
    }
}

fn src(name: &[u8]) -> Vec<u8> {
    [b"src/", name].concat()
}

/// All ways of `konko scp`.
fn with_scp(folders: bool) {
    let desk = desk(folders);
    let top = desk.path("");
    let top = top.as_os_str().as_bytes().strip_suffix(b"/").unwrap();
    let there = |host: &[u8], path: &[u8]| bytes(&[host, b":", top, b"/", path]);
    let to_here = || desk.path("around/to").into_os_string();
    let recursive = folders.then(|| OsString::from("-r"));
    let go = |sources: Vec<OsString>, target: OsString, what: &str| {
        fresh(&desk);
        let args: Vec<OsString> = recursive.iter().cloned().chain(sources).chain([target]).collect();
        check(&desk, Some(desk.scp(&args)), &[], what);
    };
    let named = |host: &[u8]| -> Vec<OsString> {
        NAMES.iter().map(|name| there(host, &escaped(&src(name)))).collect()
    };
    let here =
        || NAMES.iter().map(|name| desk.path(OsStr::from_bytes(&src(name))).into_os_string()).collect();
    let all = |host: &[u8]| vec![there(host, b"src/*"), there(host, b"src/.[.h]*")];
    let to_there = || there(b"other", b"around/to");
    go(named(b"host"), to_here(), "down, as typed");
    go(all(b"host"), to_here(), "down, by a pattern");
    go(here(), to_there(), "up");
    go(named(b"host"), to_there(), "relay, as typed");
    go(all(b"host"), to_there(), "relay, by a pattern");
}

/// All ways of `konko sftp`.
fn with_sftp(folders: bool) {
    let desk = desk(folders);
    let flag: &[u8] = if folders { b" -R " } else { b" " };
    let no_line = |name: &&[u8]| !name.contains(&b'\n');
    for (verb, what) in [(&b"get"[..], "get, as typed"), (b"put", "put, as typed")] {
        fresh(&desk);
        let lines: Vec<u8> = NAMES
            .iter()
            .filter(|name| no_line(name))
            .flat_map(|name| [verb, flag, &quoted(&src(name)), b" around/to\n"].concat())
            .collect();
        check(&desk, Some(desk.sftp(lines)), &[b"new\nline"], what);
        fresh(&desk);
        let lines: Vec<u8> = [&b"src/*"[..], b"src/.[.h]*"]
            .iter()
            .flat_map(|pattern| [verb, flag, pattern, b" around/to\n"].concat())
            .collect();
        check(&desk, Some(desk.sftp(lines)), &[], &format!("{what}, by a pattern"));
    }
}

#[test]
fn a2_folders_of_any_name_arrive_as_folders_with_scp() {
    with_scp(true);
}

#[test]
fn a2_folders_of_any_name_arrive_as_folders_with_sftp() {
    with_sftp(true);
}

#[test]
fn a3_files_of_any_name_arrive_with_scp() {
    with_scp(false);
}

#[test]
fn a3_files_of_any_name_arrive_with_sftp() {
    with_sftp(false);
}

#[test]
fn a2_a3_names_in_trees_of_the_library() {
    for folders in [true, false] {
        let desk = desk(folders);
        let sftp = desk.client();
        let report = sftp.get_tree("src", desk.path("around/to"), &GetOptions::new(), Links::Follow).unwrap();
        assert!(report.is_complete(), "{report:?}");
        check(&desk, None, &[], "get_tree");
        fresh(&desk);
        let report = sftp.put_tree(desk.path("src"), "around/to", &PutOptions::new(), Links::Follow).unwrap();
        assert!(report.is_complete(), "{report:?}");
        check(&desk, None, &[], "put_tree");
    }
}

/// Names that no honest server sends.
const LIES: [&[u8]; 12] = [
    b"",
    b".",
    b"..",
    b"/",
    b"../x",
    b"../../x",
    b"/tmp/x",
    b"a/b",
    b"ok/../../x",
    b"nul\0",
    b"ok/",
    b"./ok",
];

#[test]
fn a2_what_a_server_calls_its_files_leads_nowhere_else() {
    for folders in [true, false] {
        let liar = Liar::new(&LIES, folders);
        let mut desk = Desk::new();
        desk.server = liar.command();
        let only_ok = |ended: &dyn std::fmt::Debug, what: &str| {
            let found = desk.tree("around");
            let known = ["mine", "to", "to/mine", "to/ok", "to/.ssh", "to/.ssh/authorized_keys"];
            for name in found.keys().map(|name| String::from_utf8_lossy(name)) {
                let mut fine =
                    known.contains(&&*name) || name.starts_with("to/ok/") || name.starts_with("to/tree");
                // What was typed may be there under just that name: this server has everything.
                fine |= what.rsplit_once('/').is_some_and(|(_, last)| {
                    name.strip_prefix("to/").is_some_and(|rest| rest.split('/').next() == Some(last))
                });
                assert!(fine, "{what}: {name:?}; {ended:?}");
            }
            assert_eq!(found[&b"to/mine"[..]], b"2", "{what}: {ended:?}");
            assert_eq!(found[&b"mine"[..]], b"1", "{what}: {ended:?}");
            fresh(&desk);
        };
        fresh(&desk);
        let to = desk.path("around/to").into_os_string();
        for source in ["host:tree/*", "host:tree/.*", "host:*/*", "host:tree", "host:tree/??"] {
            let ended = desk.scp(&[OsStr::new("-r"), OsStr::new(source), &to]);
            only_ok(&ended, source);
        }
        for line in [
            "get -R tree/* around/to",
            "get -R tree/.* around/to",
            "get -R tree around/to",
            "get tree/* around/to",
        ] {
            let ended = desk.sftp(line);
            only_ok(&ended, line);
        }
        let sftp = liar.client();
        let report =
            sftp.get_tree("tree", desk.path("around/to/tree"), &GetOptions::new(), Links::Follow).unwrap();
        let unsafe_ones = report.failures.iter().filter(|e| matches!(e.kind(), ErrorKind::Unsafe(_))).count();
        // `.` and `..` are in every directory, and no failure.
        assert_eq!(unsafe_ones, LIES.len() - 2, "{report:?}");
        assert_eq!(desk.read(if folders { "around/to/tree/ok/f" } else { "around/to/tree/ok" }), b"evil");
        only_ok(&report, "get_tree");
        // Between two servers it is the second that has to be kept from harm.
        let other = Desk::new();
        fresh(&other);
        let to = other.client();
        let report =
            sftp.copy_tree_to("tree", &to, "around/to/tree", &PutOptions::new(), Links::Follow).unwrap();
        let unsafe_ones = report.failures.iter().filter(|e| matches!(e.kind(), ErrorKind::Unsafe(_))).count();
        assert_eq!(unsafe_ones, LIES.len() - 2, "{report:?}");
        assert_eq!(other.read(if folders { "around/to/tree/ok/f" } else { "around/to/tree/ok" }), b"evil");
        assert_eq!((other.read("around/mine"), other.read("around/to/mine")), (b"1".to_vec(), b"2".to_vec()));
    }
}

#[test]
fn a2_a_name_that_only_means_a_directory_means_what_is_in_it() {
    let desk = Desk::new();
    desk.file("src/sub/f", b"x");
    for source in ["src/.", "src/sub/..", "src/./"] {
        for up in [true, false] {
            desk.clear("to");
            desk.dir("to");
            let ended = if up {
                desk.scp(&["-r".into(), source.into(), desk.there("to")])
            } else {
                desk.scp(&["-r".into(), desk.there(source), "to".into()])
            };
            assert_eq!(desk.tree("to"), desk.tree("src"), "{source} {ended:?}");
        }
    }
}
