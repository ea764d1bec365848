//! Whom the client trusts by its known_hosts files, whatever state they are in.
#![cfg(feature = "server")]

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use konko::core::keys::{KeyType, PrivateKey, PublicKey};
use konko::core::{Rng, Seed};
use konko::{Answer, Client, ClientOptions, ErrorKind, HostKeys, KnownHostsFiles, Notice};
use support::serve;

const MODES: [&str; 4] = ["yes", "accept-new", "ask", "no"];

/// A server, its key, and a folder for files.
struct Rig {
    addr: SocketAddr,
    key: PublicKey,
    other: PublicKey,
    dir: tempfile::TempDir,
}

/// What came of a connection: whether it stood, what was said, and how often somebody was asked.
struct Done {
    error: Option<String>,
    warnings: Vec<String>,
    asked: usize,
}

impl Rig {
    fn new() -> Self {
        let addr = serve();
        let any = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
        let key = Client::connect(addr, any).unwrap().host_key().unwrap();
        let other =
            PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&Seed::new([77; 32]))).unwrap();
        Rig { addr, key, other: other.public().clone(), dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The line for the server: its key, another one, or its key revoked.
    fn line(&self, what: &str) -> String {
        let host = format!("[{}]:{}", self.addr.ip(), self.addr.port());
        let text = |key: &PublicKey| key.to_openssh_line("");
        match what {
            "old" => format!("{host} {}\n", text(&self.other)),
            "revoked" => format!("@revoked * {}\n", text(&self.key)),
            _ => format!("{host} {}\n", text(&self.key)),
        }
    }

    fn connect(&self, mode: &str, user: &Path, global: &Path) -> Done {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let files: KnownHostsFiles = HostKeys::known_hosts().user_files([user]).global_files([global]);
        let files = match mode {
            "yes" => files,
            "accept-new" => files.accept_new(),
            "no" => files.accept_new().insecure_accept_changed(),
            // Somebody who says yes to everything.
            _ => files.prompt(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
                Answer::Remember
            }),
        };
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let said = Arc::clone(&warnings);
        let options = ClientOptions::new().host_keys(files).on_notice(move |notice| {
            if let Notice::Warning(text) = notice {
                said.lock().unwrap().push(text.clone());
            }
        });
        let error = Client::connect(self.addr, options).err();
        if let Some(e) = &error {
            assert!(matches!(e.kind(), ErrorKind::HostKey(_)), "{e}");
        }
        let warnings = warnings.lock().unwrap().clone();
        Done { error: error.map(|e| e.to_string()), warnings, asked: asked.load(Ordering::Relaxed) }
    }
}

/// Files that are there and cannot be read whole. `line` is what stands in it where something can.
fn unreadable(rig: &Rig, kind: &str, line: &str) -> Option<PathBuf> {
    let path = rig.path(&format!("the {kind}"));
    match kind {
        "too large" => {
            fs::write(&path, line).unwrap();
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(16 * 1024 * 1024 + 1).unwrap();
        }
        "directory" => fs::create_dir(&path).unwrap(),
        "FIFO" => {
            let done = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
            assert!(done.success());
        }
        "link to itself" => std::os::unix::fs::symlink(&path, &path).unwrap(),
        "device" => return Some("/dev/zero".into()),
        // Reading address 0 of one's own memory is an I/O error.
        "I/O error" => return Some(PathBuf::from("/proc/self/mem")).filter(|p| p.exists()),
        _ => {
            fs::write(&path, line).unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
            // Root may read what nobody may, but not this.
            let locked = [path, "/proc/sys/vm/compact_memory".into()];
            let denied = |e: std::io::Error| e.kind() == std::io::ErrorKind::PermissionDenied;
            return locked.into_iter().find(|path| fs::File::open(path).is_err_and(denied));
        }
    }
    Some(path)
}

#[test]
fn a4_a_file_that_cannot_be_read_refuses_every_key() {
    let start = Instant::now();
    for kind in ["too large", "directory", "FIFO", "device", "no permission", "I/O error", "link to itself"] {
        for what in ["old", "revoked", "right"] {
            let rig = Rig::new();
            let line = rig.line(what);
            let Some(bad) = unreadable(&rig, kind, &line) else { continue };
            let good = rig.path("good");
            for (user, global) in [(&bad, &good), (&good, &bad)] {
                for mode in MODES {
                    fs::write(&good, &line).unwrap();
                    let done = rig.connect(mode, user, global);
                    let error = done.error.unwrap_or_else(|| panic!("{kind}, {what}, {mode}: connected"));
                    let named = error.contains(&bad.display().to_string()) || error.contains("REVOKED");
                    assert!(named, "{kind}, {what}, {mode}: {error}");
                    assert_eq!(done.asked, 0, "{kind}, {what}, {mode}");
                    assert_eq!(fs::read_to_string(&good).unwrap(), line, "nothing is added");
                }
            }
        }
    }
    assert!(start.elapsed() < Duration::from_secs(60), "nothing waits");
}

#[test]
fn a4_what_is_not_there_and_the_null_device_are_empty() {
    let rig = Rig::new();
    let link = rig.path("link");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    let below_a_file = {
        fs::write(rig.path("file"), rig.line("right")).unwrap();
        rig.path("file/known_hosts")
    };
    for empty in
        [Path::new("/dev/null"), &link, &rig.path("missing"), &below_a_file, Path::new("/dev/../dev/null")]
    {
        let right = rig.path("right");
        fs::write(&right, rig.line("right")).unwrap();
        assert_eq!(rig.connect("yes", &right, empty).error, None, "{}", empty.display());
        assert_eq!(rig.connect("yes", empty, &right).error, None, "{}", empty.display());
        assert!(rig.connect("yes", empty, empty).error.unwrap().contains("not known"));
    }
    // A host is not added to what keeps nothing, and that is no reason for a word.
    for null in [Path::new("/dev/null"), &link] {
        assert_eq!(rig.connect("accept-new", null, null).error, None);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}

/// A line damaged in the middle of its key.
fn damaged(line: &str, how: &str) -> Vec<u8> {
    let mut bytes = line.as_bytes().to_vec();
    let at = line.rfind("AAAA").unwrap() + 40;
    match how {
        "NUL" => bytes[at] = 0,
        "not UTF-8" => bytes[at] = 0xfc,
        _ => bytes.truncate(at),
    }
    bytes
}

#[test]
fn a4_a_damaged_line_is_seen_and_refuses_where_it_may_revoke() {
    for how in ["NUL", "not UTF-8", "cut"] {
        for what in ["old", "revoked", "right"] {
            let rig = Rig::new();
            let (bad, empty) = (rig.path("bad"), rig.path("empty"));
            for (user, global) in [(&bad, &empty), (&empty, &bad)] {
                for mode in MODES {
                    let bytes = [b"# first\n", &damaged(&rig.line(what), how)[..]].concat();
                    fs::write(&bad, &bytes).unwrap();
                    fs::write(&empty, "").unwrap();
                    let done = rig.connect(mode, user, global);
                    let case = format!("{how}, {what}, {mode}: {:?} {:?}", done.error, done.warnings);
                    let place = format!("{}:2", bad.display());
                    let stood = done.error.is_none();
                    match (what, mode) {
                        ("revoked", _) => assert!(!stood && done.asked == 0, "{case}"),
                        // The damaged line is for this host, so the host is not new: a person decides.
                        (_, "yes" | "accept-new") => assert!(!stood, "{case}"),
                        (_, "ask") => assert!(stood && done.asked == 1, "{case}"),
                        _ => assert!(stood, "{case}"),
                    }
                    let said = done.error.iter().chain(&done.warnings).any(|text| text.contains(&place));
                    assert!(said, "{case}");
                    if what == "revoked" || mode == "accept-new" {
                        assert_eq!(fs::read(&empty).unwrap(), b"", "{case}");
                        assert_eq!(fs::read(&bad).unwrap(), bytes, "{case}");
                    }
                }
            }
        }
    }
}

#[test]
fn a5_the_server_is_known_however_its_address_is_spelt() {
    let rig = Rig::new();
    let file = rig.path("kh");
    let port = rig.addr.port();
    let connect = |host: &str, files: KnownHostsFiles, alias: Option<&str>| {
        let files = files.user_files([&file]).global_files([] as [&Path; 0]).accept_new();
        let mut options = ClientOptions::new().host_keys(files);
        if let Some(alias) = alias {
            options = options.host_key_alias(alias);
        }
        Client::connect((host, port), options)
    };
    for spelt in ["127.0.0.1", "127.1", "2130706433", "0x7f.1"] {
        for (what, stands) in [("right", true), ("old", false)] {
            let line = rig.line(what);
            fs::write(&file, &line).unwrap();
            let client = connect(spelt, HostKeys::known_hosts(), None);
            assert_eq!(client.is_ok(), stands, "{spelt}, {what}");
            assert_eq!(fs::read_to_string(&file).unwrap(), line, "{spelt}, {what}");
        }
        fs::write(&file, "").unwrap();
        connect(spelt, HostKeys::known_hosts(), None).unwrap();
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            rig.line("right"),
            "{spelt} is added as OpenSSH would"
        );
    }
    // An alias is the whole name, as with OpenSSH.
    fs::write(&file, format!("alias {}\n", rig.other.to_openssh_line(""))).unwrap();
    assert!(connect("127.0.0.1", HostKeys::known_hosts(), Some("Alias")).is_err());
    fs::write(&file, "").unwrap();
    connect("127.0.0.1", HostKeys::known_hosts(), Some("Alias")).unwrap();
    assert!(fs::read_to_string(&file).unwrap().starts_with("alias "));
}

#[test]
fn h17_what_the_user_typed_is_looked_up_and_not_what_a_resolver_makes_of_it() {
    let rig = Rig::new();
    let known = rig.path("known_hosts");
    // No resolver knows the name that is on file; the server is at an address that stands there with another key.
    let line = |host: &str, key: &PublicKey| format!("{host} {}\n", key.to_openssh_line(""));
    let [ip, port] = [rig.addr.ip().to_string(), rig.addr.port().to_string()];
    let wrong = line(&format!("[{ip}]:{port}"), &rig.other) + &line(&format!("{ip},localhost"), &rig.other);
    fs::write(&known, line("example.invalid", &rig.key) + &wrong).unwrap();
    let options = || {
        let files = HostKeys::known_hosts().user_files([&known]).global_files([] as [&str; 0]);
        ClientOptions::new().host_keys(files)
    };
    for name in ["example.invalid", "eXaMple.INVALID", "Example.invalid."] {
        let stream = konko::FdStream::try_from(std::net::TcpStream::connect(rig.addr).unwrap()).unwrap();
        Client::over(stream, name, 22, options()).unwrap();
    }
    Client::connect(rig.addr, options().host_key_alias("Example.Invalid")).unwrap();
    assert!(Client::connect(rig.addr, options()).is_err(), "by its address it is known with another key");
}

#[test]
fn a4_many_damaged_lines_are_a_few_words() {
    let rig = Rig::new();
    let file = rig.path("kh");
    fs::write(&file, format!("{}{}", "rubbish\n".repeat(5000), rig.line("right"))).unwrap();
    let done = rig.connect("yes", &file, &file);
    assert_eq!(done.error, None);
    assert!((1..=5).contains(&done.warnings.len()), "{:?}", done.warnings.len());
    assert!(done.warnings[0].contains("kh:1: "), "{:?}", done.warnings);
}
