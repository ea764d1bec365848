//! Real SFTP clients on `konko serve --root`: everything they send arrives, and comes back, byte for byte.

use konko_conformance::log::say;
use konko_conformance::peers::full;
use konko_conformance::serve::Setup;
use konko_conformance::sftp::{SftpCall, SftpClient};
use konko_conformance::{Checksum, Pattern, Serve, data};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn serve(root: &Path) -> Option<Serve> {
    Setup::new(&["HostKeyAlgorithms=*", "PubkeyAcceptedAlgorithms=*"]).map(|setup| setup.root(root).start())
}

fn file(path: &Path, seed: u64, len: u64) {
    let mut content = Vec::new();
    Pattern { seed, len }.reader().read_to_end(&mut content).unwrap();
    fs::write(path, content).unwrap();
}

/// The sizes at which something could go wrong.
const SIZES: [u64; 6] = [0, 1, 32767, 32768, 32769, (1 << 20) + 1];

/// Files of [`SIZES`], many small files, a deep tree, odd names.
fn tree(top: &Path, any_names: bool) {
    fs::create_dir(top).unwrap();
    for len in SIZES {
        file(&top.join(format!("size-{len}")), len, len);
    }
    let small = top.join("small");
    fs::create_dir(&small).unwrap();
    for i in 0..if full() { 10_000 } else { 1000 } {
        fs::write(small.join(format!("{i:05}")), format!("small file {i}")).unwrap();
    }
    let mut deep = top.join("deep");
    for i in 0..30 {
        fs::create_dir(&deep).unwrap();
        fs::write(deep.join("file"), format!("at depth {i}")).unwrap();
        deep.push(format!("d{i}"));
    }
    let names = top.join("names");
    fs::create_dir(&names).unwrap();
    let mut odd: Vec<Vec<u8>> =
        ["a b", "\u{e9}t\u{e9}", "\u{1f41a}", "#x", "a'b", "x&y", "(1)", "...", "=;,"]
            .map(|name| name.as_bytes().to_vec())
            .to_vec();
    if any_names {
        // AsyncSSH takes no backslash for a name.
        odd.extend((1..=255u8).filter(|b| !matches!(b, b'/' | b'\\')).map(|b| vec![b'x', b, b'y']));
        odd.push(vec![b'n'; 255]);
        odd.push(vec![0xff; 255]);
    }
    for name in &odd {
        fs::write(names.join(OsStr::from_bytes(name)), name).unwrap();
    }
}

/// Every file below a folder, with its checksum.
fn sums(top: &Path) -> BTreeMap<PathBuf, Checksum> {
    let mut found = BTreeMap::new();
    let mut todo = vec![top.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                found.insert(path.strip_prefix(top).unwrap().to_owned(), sum(&path));
            }
        }
    }
    found
}

fn sum(path: &Path) -> Checksum {
    let mut hash = data::Hasher::default();
    let mut file = File::open(path).unwrap();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return hash.finish(),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn same(client: SftpClient, what: &str, one: &Path, other: &Path) {
    let (one, other) = (sums(one), sums(other));
    let missing: Vec<_> = one.keys().filter(|path| !other.contains_key(*path)).collect();
    assert!(missing.is_empty(), "{client}, {what}: without {missing:?}");
    let different: Vec<_> = one.iter().filter(|(path, sum)| other[*path] != **sum).map(|(p, _)| p).collect();
    assert!(different.is_empty(), "{client}, {what}: {different:?} differ");
    assert_eq!(one.len(), other.len(), "{client}, {what}");
}

#[test]
fn trees_go_there_and_back() {
    let work = tempfile::tempdir().unwrap();
    let root = work.path().join("root");
    fs::create_dir(&root).unwrap();
    let Some(serve) = serve(&root) else { return };
    tree(&work.path().join("text"), false);
    tree(&work.path().join("any"), true);
    for client in SftpClient::on_this_machine().into_iter().filter(|client| client.has_trees()) {
        let begun = Instant::now();
        let call = SftpCall::to(&serve);
        let from = work.path().join(if client.has_any_names() { "any" } else { "text" });
        let (there, back) = (format!("/{client}"), work.path().join(format!("back-{client}")));
        call.send(client, &from, &there);
        same(client, "sent", &from, &root.join(&there[1..]));
        call.fetch(client, &there, &back);
        same(client, "fetched", &from, &back);
        say(&format!("{client}: a tree there and back in {:.1} s\n", begun.elapsed().as_secs_f64()));
    }
}

#[test]
fn single_files_go_there_and_back() {
    let work = tempfile::tempdir().unwrap();
    let root = work.path().join("root");
    fs::create_dir(&root).unwrap();
    let Some(serve) = serve(&root) else { return };
    for client in SftpClient::on_this_machine() {
        let call = SftpCall::to(&serve);
        for len in SIZES {
            let name = format!("{client}-{len}");
            let (from, back) = (work.path().join("from"), work.path().join("back"));
            file(&from, len + 9, len);
            call.send(client, &from, &format!("/{name}"));
            assert_eq!(sum(&from), sum(&root.join(&name)), "{client} sent {len} bytes");
            call.fetch(client, &format!("/{name}"), &back);
            assert_eq!(sum(&from), sum(&back), "{client} fetched {len} bytes");
            fs::remove_file(back).unwrap();
        }
    }
}

#[test]
fn a_file_beyond_4_gib_goes_there_and_back() {
    if !full() {
        say("only with --full: files beyond 4 GiB\n");
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let root = work.path().join("root");
    fs::create_dir(&root).unwrap();
    let Some(serve) = serve(&root) else { return };
    let from = work.path().join("sparse");
    let mut sparse = File::create(&from).unwrap();
    for at in [0, (4 << 30) - 1000, (4 << 30) - 7] {
        sparse.seek(SeekFrom::Start(at)).unwrap();
        sparse.write_all(b"12345678").unwrap();
    }
    assert_eq!(fs::metadata(&from).unwrap().size(), (4 << 30) + 1);
    let expected = sum(&from);
    for client in SftpClient::on_this_machine() {
        let call = SftpCall::to(&serve).deadline(Duration::from_secs(1800));
        let (back, begun) = (work.path().join("back"), Instant::now());
        call.send(client, &from, "/large");
        assert_eq!(expected, sum(&root.join("large")), "{client} sent");
        call.fetch(client, "/large", &back);
        assert_eq!(expected, sum(&back), "{client} fetched");
        fs::remove_file(back).unwrap();
        fs::remove_file(root.join("large")).unwrap();
        say(&format!("{client}: 4 GiB there and back in {:.0} s\n", begun.elapsed().as_secs_f64()));
    }
}

#[test]
fn every_operation_of_openssh_sftp() {
    let work = tempfile::tempdir().unwrap();
    let root = work.path().join("root");
    fs::create_dir(&root).unwrap();
    let Some(serve) = serve(&root) else { return };
    file(&root.join("f"), 1, 100_000);
    let call = SftpCall::to(&serve);
    let done = call.batch(
        "pwd\nmkdir d\ncd d\npwd\nrename /f g\ncp g h\nln g hard\nln -s g soft\nchmod 600 g\nls -la\nls -ln\ndf -h\n\
         rm hard\nrm soft\nmkdir e\nrmdir e\nls /d/*\nversion\n",
    );
    done.expect_code(0);
    let text = done.stdout.text();
    for expected in ["Remote working directory: /\n", "Remote working directory: /d\n", "/d/g", "soft"] {
        assert!(text.contains(expected), "without {expected}:\n{text}");
    }
    assert_eq!(sum(&root.join("d/g")), sum(&root.join("d/h")));
    assert_eq!(fs::metadata(root.join("d/g")).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(root.join("d")).unwrap().count(), 2);
    // What must fail does, and says why.
    for (command, why) in [
        ("get /../../etc/passwd", "not found"),
        ("ls /no/such", "not found"),
        ("rmdir /d", "failure"),
        ("mkdir /d", "failure"),
        ("chown 1 /d/g", "denied"),
    ] {
        let done = call.batch(&format!("{command}\n"));
        assert_ne!(done.code(), 0, "{command}");
        let said = done.stderr.text().to_lowercase();
        assert!(said.contains(&why.to_lowercase()), "{command}: {said}");
    }
}

#[test]
fn every_operation_of_the_python_libraries() {
    let work = tempfile::tempdir().unwrap();
    let Some(serve) = serve(work.path()) else { return };
    for client in SftpClient::on_this_machine() {
        if matches!(client, SftpClient::Paramiko | SftpClient::AsyncSsh) {
            SftpCall::to(&serve).operations(client);
            assert_eq!(fs::read_dir(work.path()).unwrap().count(), 0, "{client} left something");
        }
    }
}
