//! Keeps `spec-notes/` from rotting: what its tables name must exist.
//!
//! The form of a page is described in `spec-notes/README.md`.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

const VERBS: [&str; 5] = ["handled", "refused", "differs", "not implemented", "application"];
const LEVELS: [&str; 6] = ["MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY", "text"];
/// The page of known flaws, whose rows have another form.
const CATALOGUE: &str = "security.md";
/// The table of Paramiko's public API, and where its changelog's requirements are met: tables of their own forms.
const PARAMIKO: &str = "paramiko.md";
const SEED: &str = "seed.md";
/// The groups of its rows.
const GROUPS: [&str; 11] = ["V", "K", "H", "AC", "AS", "C", "S", "F", "R", "T", "M"];
const SOURCES: [&str; 5] = ["core", "io-std", "io-mio", "conformance", "fuzz"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// One requirement.
struct Row {
    at: String,
    level: String,
    konko: String,
    place: String,
    proof: String,
}

impl Row {
    fn defect(&self) -> bool {
        self.konko.contains("**defect**")
    }

    fn gap(&self) -> bool {
        self.proof.contains("**gap**")
    }

    fn tests(&self) -> Vec<&str> {
        quoted(&self.proof)
    }
}

/// The pages with tables of requirements, and their rows.
fn pages() -> Vec<(String, Vec<Row>)> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(root().join("spec-notes")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".md")
            || ["README.md", "legality.md", CATALOGUE, PARAMIKO, SEED].contains(&name.as_str())
        {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let rows = text.lines().zip(1..).filter_map(|(line, n)| row(&name, n, line)).collect();
        pages.push((name, rows));
    }
    pages.sort_by(|a, b| a.0.cmp(&b.0));
    pages
}

fn row(page: &str, number: usize, line: &str) -> Option<Row> {
    let cells = line.strip_prefix('|')?.strip_suffix('|')?;
    let at = format!("spec-notes/{page}:{number}");
    let cells: Vec<&str> = cells.split('|').map(str::trim).collect();
    let [section, level, _, konko, place, proof] = cells[..] else {
        panic!("{at}: six cells: section, level, requirement, konko, where, proof");
    };
    if section == "§" || section.starts_with("--") {
        return None;
    }
    let [level, konko, place, proof] = [level, konko, place, proof].map(str::to_owned);
    Some(Row { at, level, konko, place, proof })
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn rust_files(dir: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.map(|e| e.unwrap().path()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && name != "data" {
            rust_files(&path, files);
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}

/// The names of all test functions.
fn tests() -> HashSet<String> {
    let mut files = Vec::new();
    SOURCES.iter().for_each(|dir| rust_files(&root().join(dir), &mut files));
    let mut names = HashSet::new();
    for text in files.iter().map(|f| fs::read_to_string(f).unwrap()) {
        let mut marked = false;
        for line in text.lines().map(str::trim_start) {
            if line.starts_with("#[test]") {
                marked = true;
            } else if let Some(rest) = line.strip_prefix("fn ") {
                // Inside `proptest!` the attribute stands before the function as well.
                if std::mem::take(&mut marked) {
                    names.insert(rest.split(['(', '<']).next().unwrap().to_owned());
                }
            }
        }
    }
    names
}

/// Whether `text` defines `item`: a function, a type, a constant, a field or a variant.
fn defines(text: &str, item: &str) -> bool {
    let starts = |rest: &str, ends: &[char]| {
        rest.strip_prefix(item).is_some_and(|r| r.is_empty() || r.starts_with(ends))
    };
    text.lines().map(str::trim_start).any(|line| {
        let keywords = ["fn ", "struct ", "enum ", "trait ", "const ", "static ", "type ", "mod "];
        let defined = keywords.iter().any(|k| {
            line.split_once(k).is_some_and(|(_, rest)| starts(rest, &['(', '<', ':', ';', ' ', '{', '\'']))
        });
        let line = line.strip_prefix("pub(crate) ").or_else(|| line.strip_prefix("pub ")).unwrap_or(line);
        // A field, a variant, a message of the macro `messages!`.
        let ends = [":", ",", " {", " = "];
        defined || line.strip_prefix(item).is_some_and(|rest| ends.iter().any(|e| rest.starts_with(e)))
    })
}

#[test]
fn every_row_has_the_agreed_form() {
    for (_, rows) in pages() {
        assert!(!rows.is_empty());
        for row in rows {
            let Row { at, level, konko, place, proof } = &row;
            assert!(LEVELS.contains(&level.as_str()), "{at}: level {level}");
            assert!(VERBS.iter().any(|v| konko.starts_with(v)), "{at}: begin with one of {VERBS:?}");
            assert!(place == "—" || !quoted(place).is_empty(), "{at}: where?");
            assert!(proof == "—" || row.gap() || !row.tests().is_empty(), "{at}: a test, **gap** or —");
            let promised = konko.starts_with("handled") || konko.starts_with("refused");
            assert!(proof != "—" || !promised, "{at}: what konko does needs a test, or is a gap");
        }
    }
}

#[test]
fn every_named_test_exists() {
    let tests = tests();
    for (_, rows) in pages() {
        for row in rows {
            for name in row.tests() {
                assert!(tests.contains(name), "{}: there is no test `{name}` any more", row.at);
            }
        }
    }
}

#[test]
fn every_named_place_exists() {
    for (_, rows) in pages() {
        for row in rows {
            for place in quoted(&row.place) {
                let (path, item) = place.split_once("::").unwrap_or((place, ""));
                let file = [root().join("core/src").join(path), root().join(path)];
                let file = file.iter().find(|f| f.is_file());
                let file = file.unwrap_or_else(|| panic!("{}: there is no file {path} any more", row.at));
                let text = fs::read_to_string(file).unwrap();
                assert!(item.is_empty() || defines(&text, item), "{}: {path} has no `{item}`", row.at);
            }
        }
    }
}

/// The rows of the catalogue: identifier and proof.
fn catalogue() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("spec-notes").join(CATALOGUE)).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = rows.map(|row| row.split(" | ").collect::<Vec<_>>());
    let rows = cells.filter(|cells| GROUPS.iter().any(|g| cells[0].split('-').next() == Some(g)));
    rows.map(|cells| {
        let [id, _, _, proof] = cells[..] else { panic!("{CATALOGUE}: row {}: four cells", cells[0]) };
        (id.to_owned(), proof.to_owned())
    })
    .collect()
}

/// What stands like an identifier of a row in `text`.
fn cited(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let row = |word: &&str| {
        let Some((group, number)) = word.split_once('-') else { return false };
        GROUPS.contains(&group) && number.len() == 2 && number.bytes().all(|b| b.is_ascii_digit())
    };
    words.filter(row).map(str::to_owned).collect()
}

#[test]
fn every_row_of_the_catalogue_is_there_once_and_proven_or_a_gap() {
    let (tests, mut seen) = (tests(), HashSet::new());
    for (id, proof) in catalogue() {
        assert!(seen.insert(id.clone()), "{CATALOGUE}: {id} stands there twice");
        let names = quoted(&proof);
        assert!(proof == "—" || proof.contains("**gap**") || !names.is_empty(), "{id}: a test, **gap** or —");
        for name in names {
            assert!(tests.contains(name), "{CATALOGUE}: {id}: there is no test `{name}` any more");
        }
    }
    assert!(seen.len() >= 297);
}

#[test]
fn every_cited_row_is_in_the_catalogue() {
    let known: HashSet<String> = catalogue().into_iter().map(|(id, _)| id).collect();
    let mut files = Vec::new();
    SOURCES.iter().for_each(|dir| rust_files(&root().join(dir), &mut files));
    files.extend(fs::read_dir(root().join("spec-notes")).unwrap().map(|e| e.unwrap().path()));
    let mut count = 0;
    for file in files {
        for id in cited(&fs::read_to_string(&file).unwrap()) {
            assert!(known.contains(&id), "{} cites {id}, which is not in {CATALOGUE}", file.display());
            count += 1;
        }
    }
    assert!(count > known.len(), "only {count} citations were found");
}

/// ARCHITECTURE.md names rooms, files and functions: `file.rs::item`, and folders and files by themselves.
#[test]
fn every_place_on_the_architectures_page_exists() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut places = 0;
    for place in page.lines().flat_map(quoted).filter(|place| place.contains('/') || place.contains(".rs")) {
        let (path, item) = place.split_once("::").unwrap_or((place, ""));
        let found = [root().join("core/src").join(path), root().join(path)];
        let found = found.iter().find(|path| path.exists());
        let found =
            found.unwrap_or_else(|| panic!("ARCHITECTURE.md names {path}, which is not there any more"));
        if !item.is_empty() {
            let text = fs::read_to_string(found).unwrap();
            assert!(defines(&text, item), "ARCHITECTURE.md: {path} has no `{item}`");
            places += 1;
        }
    }
    assert!(places > 20, "only {places} functions are named");
}

/// The names of konko's in the table of Paramiko's public API: items of the public crates.
#[test]
fn every_name_beside_paramikos_exists() {
    let page = fs::read_to_string(root().join("spec-notes").join(PARAMIKO)).unwrap();
    let mut files = Vec::new();
    for dir in ["core/src", "io-std/src", "io-mio/src"] {
        rust_files(&root().join(dir), &mut files);
    }
    let files: Vec<(PathBuf, String)> = files
        .into_iter()
        .filter(|file| !file.components().any(|part| part.as_os_str() == "bin"))
        .map(|file| (file.clone(), fs::read_to_string(file).unwrap()))
        .collect();
    // Of the standard library.
    let std =
        ["Read", "BufRead", "Write", "Seek", "BufReader", "BufWriter", "Vec", "Drop", "Write::write_all"];
    // `Type::item`: both stand in one file. `module::item`: the file is that module, or within it.
    let exists = |name: &str| {
        let mut path = name.rsplit("::");
        let (item, of) = (path.next().unwrap_or_default(), path.next().unwrap_or_default());
        files.iter().any(|(file, text)| {
            let within = || file.with_extension("").components().any(|part| part.as_os_str() == of);
            let there = || defines(text, item) || has_variant(text, item);
            text.contains(item) && there() && (of.is_empty() || within() || mentions(text, of))
        })
    };
    let (mut entries, mut gone) = (0, Vec::new());
    for (line, number) in page.lines().zip(1..) {
        let Some(cells) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else { continue };
        let (entry, ours) =
            cells.split_once(" | ").unwrap_or_else(|| panic!("{PARAMIKO}:{number}: two cells"));
        if entry == "Paramiko" {
            continue;
        }
        entries += 1;
        let names: Vec<&str> = quoted(ours).into_iter().filter(|name| !std.contains(name)).collect();
        let not = |name: &&&str| !name.contains('/') && !exists(name);
        gone.extend(names.iter().filter(not).map(|name| format!("{PARAMIKO}:{number}: {entry}: `{name}`")));
        assert!(
            !ours.is_empty() && (ours.len() > 8 || !names.is_empty()),
            "{PARAMIKO}:{number}: {entry}: what then?"
        );
    }
    assert!(gone.is_empty(), "not there any more:\n{}", gone.join("\n"));
    assert_eq!(entries, 610, "101 classes, and their methods, functions and exceptions");
}

/// Whether `text` has a variant with fields of that name.
fn has_variant(text: &str, item: &str) -> bool {
    let starts = |line: &str| line.strip_prefix(item).is_some_and(|rest| rest.starts_with('('));
    text.lines().map(str::trim).any(|line| starts(line) && line.ends_with("),"))
}

/// Whether `word` stands in `text` as a word.
fn mentions(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word)
}

/// Every line of the changelog that konko's requirements began with: a row with a place or a test, each of which exists.
#[test]
fn every_seed_requirement_has_a_place_or_a_test() {
    let page = fs::read_to_string(root().join("spec-notes").join(SEED)).unwrap();
    let tests = tests();
    let mut rows = Vec::new();
    for line in page.lines() {
        let Some(cells) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else { continue };
        let cells: Vec<&str> = cells.split(" | ").collect();
        if cells[0] == "row" {
            continue;
        }
        let [row, what, place, proof] = cells[..] else { panic!("{SEED}: {}: four cells", cells[0]) };
        assert!(!what.is_empty());
        let (places, names) = (quoted(place), quoted(proof));
        assert!(!places.is_empty() || !names.is_empty(), "{SEED}: {row}: neither place nor test");
        for place in places {
            let (path, item) = place.split_once("::").unwrap_or((place, ""));
            let file = [root().join("core/src").join(path), root().join(path)];
            let file = file.iter().find(|f| f.exists());
            let file = file.unwrap_or_else(|| panic!("{SEED}: {row}: there is no {path} any more"));
            let here = || defines(&fs::read_to_string(file).unwrap(), item);
            assert!(item.is_empty() || here(), "{SEED}: {row}: {path} has no `{item}`");
        }
        for name in names {
            assert!(tests.contains(name), "{SEED}: {row}: there is no test `{name}` any more");
        }
        rows.push(row.to_owned());
    }
    let all: Vec<String> =
        (1..=5).map(|n| format!("D{n}")).chain((1..=47).map(|n| format!("S{n}"))).collect();
    assert_eq!(rows, all);
}

/// With `--nocapture`: how much of each page is proven.
#[test]
fn counts() {
    println!("{:14} {:>5} {:>7} {:>5} {:>7}", "page", "rows", "proven", "gaps", "defects");
    for (name, rows) in pages() {
        let of = |f: fn(&Row) -> bool| rows.iter().filter(|r| f(r)).count();
        let proven = of(|r| !r.gap() && !r.tests().is_empty());
        println!("{name:14} {:>5} {proven:>7} {:>5} {:>7}", rows.len(), of(Row::gap), of(Row::defect));
    }
}
