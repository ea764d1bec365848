//! The house keeps its rules: rooms of the core use only floors below them, nobody uses somebody who uses
//! him, and no passage stands twice, in both roles or in two adapters. ARCHITECTURE.md tells what lives where.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of `core/src`, floor by floor, the lowest first.
const FLOORS: &[&[&str]] = &[
    &["wire", "time", "date", "rng", "slab", "options"],
    &["crypto", "provider", "text"],
    &["msg", "keys", "error"],
    &["transport", "krl", "sshsig"],
    &["channel", "auth"],
    &["record"],
    &["connection", "client", "server"],
    &["agent", "config", "hosts", "authorized_keys", "sftp", "dial"],
    &["login", "session", "admission", "ssh_config", "sshd_config"],
    &["replay"],
];

/// Lines of code that may be the same in two places that must not know each other's work by heart.
const PASSAGE: usize = 12;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().path()) {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The code of a file: no comments, no tests at its end.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let mut code = String::new();
    for line in text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")) {
        code += line.split("//").next().unwrap();
        code.push('\n');
    }
    code
}

/// The rooms that a file of the core names: `crate::room`, `crate::{room, …}`.
fn used_rooms(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            used.insert(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && c.is_alphabetic() => {
                    used.insert(word(&group[i..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    used
}

/// Room → the rooms it uses → a file that does.
fn uses() -> BTreeMap<String, BTreeMap<String, String>> {
    let source = root().join("core/src");
    // What `lib.rs` gives a short name.
    let lib = code(&source.join("lib.rs"));
    let mut short: BTreeMap<String, String> = BTreeMap::new();
    for item in lib.split(';').map(str::trim).filter_map(|i| i.strip_prefix("pub use ")) {
        let (room, names) = item.split_once("::").unwrap();
        for name in names.split(|c: char| !c.is_alphanumeric()).filter(|n| !n.is_empty()) {
            short.insert(name.to_owned(), room.to_owned());
        }
    }
    let mut rooms: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for file in rust_files(&source) {
        let name = file.strip_prefix(&source).unwrap().to_string_lossy().into_owned();
        let room = name.split(['/', '.']).next().unwrap().to_owned();
        if room == "lib" {
            continue;
        }
        let mut used = used_rooms(&code(&file));
        used = used.into_iter().map(|u| short.get(&u).cloned().unwrap_or(u)).collect();
        used.remove(&room);
        // How unit tests choose their cases: no room of the house.
        used.remove("property");
        let entry = rooms.entry(room).or_default();
        for other in used {
            entry.entry(other).or_insert_with(|| name.clone());
        }
    }
    rooms
}

fn floor(room: &str) -> usize {
    let floor = FLOORS.iter().position(|rooms| rooms.contains(&room));
    floor.unwrap_or_else(|| panic!("on which floor does `{room}` live? Say so here and in ARCHITECTURE.md"))
}

#[test]
fn a_room_uses_only_floors_below_it() {
    let mut wrong = Vec::new();
    for (room, used) in uses() {
        for (other, file) in used {
            if floor(&other) > floor(&room) {
                wrong.push(format!("core/src/{file} ({room}) uses {other}, which stands above it"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_two_rooms_use_each_other() {
    let uses = uses();
    let mut wrong = BTreeSet::new();
    for room in uses.keys() {
        // Everything that it reaches.
        let mut reached: BTreeSet<&str> = BTreeSet::new();
        let mut waiting = vec![room.as_str()];
        while let Some(at) = waiting.pop() {
            for next in uses.get(at).into_iter().flat_map(BTreeMap::keys) {
                if reached.insert(next) {
                    waiting.push(next);
                }
            }
        }
        if reached.contains(room.as_str()) {
            wrong.insert(room);
        }
    }
    assert!(wrong.is_empty(), "these rooms use each other in a circle: {wrong:?}");
}

/// The lines of a file that say something, and where they stand.
fn lines(file: &Path) -> Vec<(String, usize)> {
    let says = |line: &str| line.len() > 3 && !line.starts_with("use ") && !line.starts_with("#[");
    let code = code(file);
    let lines = code.lines().map(str::trim).zip(1..).filter(|(line, _)| says(line));
    lines.map(|(line, n)| (line.to_owned(), n)).collect()
}

/// Passages that stand in files of both groups.
fn shared(one: &[PathBuf], other: &[PathBuf]) -> Vec<String> {
    let mut seen: BTreeMap<Vec<String>, String> = BTreeMap::new();
    let window = PASSAGE + 1;
    let text = |lines: &[(String, usize)]| lines.iter().map(|(line, _)| line.clone()).collect::<Vec<_>>();
    let place = |file: &Path, lines: &[(String, usize)]| format!("{}:{}", file.display(), lines[0].1);
    for file in one {
        for passage in lines(file).windows(window) {
            seen.entry(text(passage)).or_insert_with(|| place(file, passage));
        }
    }
    let mut found = Vec::new();
    for file in other {
        for passage in lines(file).windows(window) {
            if let Some(first) = seen.get(&text(passage)) {
                found.push(format!("{first} and {}", place(file, passage)));
            }
        }
    }
    found
}

#[test]
fn no_passage_stands_in_both_roles_or_in_two_adapters() {
    let of = |dir: &str| rust_files(&root().join(dir));
    let role = |role: &str| {
        let mut files = of("core/src");
        files.extend(of("io-std/src"));
        let named =
            |f: &PathBuf| f.components().any(|c| Path::new(&c).file_stem().is_some_and(|s| s == role));
        files.retain(named);
        assert!(!files.is_empty(), "no files of the {role}");
        files
    };
    let mut found = shared(&role("client"), &role("server"));
    let adapters = ["io-std/src", "io-mio/src", "io-mio/examples", "io-std/examples", "io-async/src"];
    for (i, one) in adapters.iter().enumerate() {
        for other in &adapters[i + 1..] {
            found.extend(shared(&of(one), &of(other)));
        }
    }
    assert!(found.is_empty(), "the same passage:\n{}", found.join("\n"));
}
