//! Certificates by `ssh-keygen` and by konko, believed and refused as OpenSSH does it, in both roles.

use konko_conformance::keys::{KeyRing, user};
use konko_conformance::peers::konko;
use konko_conformance::process::{Server, wait_until};
use konko_conformance::{OpenSsh, Program, Sshd, not_run};
use konko_core::keys::{CertificateKind, CertificateRequest, PrivateKey, PublicKey};
use konko_core::provider::rustcrypto;
use konko_core::wire::Sink;
use konko_core::{Rng, Seed};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

/// A certificate of the matrix: its name, what `ssh-keygen` makes it with, what konko makes it with.
struct Case {
    name: &'static str,
    keygen: &'static [&'static str],
    request: fn(CertificateRequest) -> CertificateRequest,
    /// Whether OpenSSH 10.5 lets it in with the authority in `TrustedUserCAKeys`, or takes it from a host.
    believed: bool,
    /// OpenSSH 9.2 says otherwise.
    otherwise_before: bool,
}

const fn case(
    name: &'static str,
    believed: bool,
    keygen: &'static [&'static str],
    request: fn(CertificateRequest) -> CertificateRequest,
) -> Case {
    Case { name, keygen, request, believed, otherwise_before: false }
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970").as_secs()
}

fn text(text: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    data.put_string(text);
    data
}

/// `ME` stands for the user who logs in; certificates of konko's have it already.
const USERS: &[Case] = &[
    case("plain", true, &["-n", "ME"], |r| r),
    case("of several", true, &["-n", "other,ME"], |r| r.principals(["other".to_owned(), user()])),
    case("of somebody else", false, &["-n", "other"], |r| r.principals(["other"])),
    case("of nobody", false, &[], |r| r.principals([""; 0])),
    case("of a pattern", false, &["-n", "*"], |r| r.principals(["*"])),
    case("a host's", false, &["-h", "-n", "ME"], |r| r),
    case("expired", false, &["-n", "ME", "-V", "-2h:-1h"], |r| r.valid(now() - 7200, now() - 3600)),
    case("not yet valid", false, &["-n", "ME", "-V", "+1h:+2h"], |r| r.valid(now() + 3600, now() + 7200)),
    case("valid now", true, &["-n", "ME", "-V", "-1h:+1h"], |r| r.valid(now() - 3600, now() + 3600)),
    case("from here", true, &["-n", "ME", "-O", "source-address=127.0.0.0/8,::1/128"], |r| {
        r.source_address("127.0.0.0/8,::1/128")
    }),
    case("from elsewhere", false, &["-n", "ME", "-O", "source-address=192.0.2.0/24"], |r| {
        r.source_address("192.0.2.0/24")
    }),
    case("critical and unknown", false, &["-n", "ME", "-O", "critical:no-such@example.org=x"], |r| {
        r.critical_option("no-such@example.org", &text(b"x"))
    }),
    case("extended by the unknown", true, &["-n", "ME", "-O", "extension:no-such@example.org=x"], |r| {
        r.extension("no-such@example.org", &text(b"x"))
    }),
    case("with nothing permitted", true, &["-n", "ME", "-O", "clear"], |r| r),
    case("forced", true, &["-n", "ME", "-O", "force-command=echo forced"], |r| {
        r.force_command("echo forced")
    }),
    case("verified, of a key that is none of a device", true, &["-n", "ME", "-O", "verify-required"], |r| {
        r.critical_option("verify-required", b"")
    }),
];

const HOSTS: &[Case] = &[
    case("plain", true, &["-h", "-n", "127.0.0.1"], |r| r.principals(["127.0.0.1"])),
    case("of several", true, &["-h", "-n", "a,127.0.0.1"], |r| r.principals(["a", "127.0.0.1"])),
    case("of another", false, &["-h", "-n", "127.0.0.2"], |r| r.principals(["127.0.0.2"])),
    case("of another port", false, &["-h", "-n", "[127.0.0.1]:22"], |r| r.principals(["[127.0.0.1]:22"])),
    Case { otherwise_before: true, ..case("of nobody", false, &["-h"], |r| r.principals([""; 0])) },
    Case {
        otherwise_before: true,
        ..case("of a pattern", true, &["-h", "-n", "127.0.*"], |r| r.principals(["127.0.*"]))
    },
    case("a user's", false, &["-n", "127.0.0.1"], |r| r.principals(["127.0.0.1"])),
    case("expired", false, &["-h", "-n", "127.0.0.1", "-V", "-2h:-1h"], |r| {
        r.principals(["127.0.0.1"]).valid(now() - 7200, now() - 3600)
    }),
    case("not yet valid", false, &["-h", "-n", "127.0.0.1", "-V", "+1h:+2h"], |r| {
        r.principals(["127.0.0.1"]).valid(now() + 3600, now() + 7200)
    }),
    case("critical", false, &["-h", "-n", "127.0.0.1", "-O", "critical:no-such@example.org"], |r| {
        r.principals(["127.0.0.1"]).critical_option("no-such@example.org", b"")
    }),
];

/// A folder with the key ring's `user_ed25519` as `key`, and with a certificate for it.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).expect("the folder is writable");
    fs::set_permissions(to, fs::Permissions::from_mode(0o600)).expect("the file is ours");
}

/// Makes `key`, `key.pub` and `key-cert.pub` of a case in a folder, with `ssh-keygen`.
fn by_keygen(openssh: &OpenSsh, keys: &KeyRing, name: &str, case: &Case, folder: &Path) {
    for (from, to) in [(keys.private(name), "key"), (keys.public(name), "key.pub")] {
        copy(&from, &folder.join(to));
    }
    let me = user();
    let program = openssh.ssh().with_file_name("ssh-keygen");
    let output = Command::new(program)
        .args(["-q", "-s"])
        .arg(keys.private("ca"))
        .args(["-I", case.name, "-z", "7"])
        .args(case.keygen.iter().map(|word| word.replace("ME", &me)))
        .arg(folder.join("key.pub"))
        .stdin(Stdio::null())
        .output()
        .expect("ssh-keygen runs");
    assert!(output.status.success(), "{}: {}", case.name, String::from_utf8_lossy(&output.stderr));
}

/// The same with konko's library, byte for byte another certificate.
fn by_konko(keys: &KeyRing, name: &str, case: &Case, folder: &Path) {
    for (from, to) in [(keys.private(name), "key"), (keys.public(name), "key.pub")] {
        copy(&from, &folder.join(to));
    }
    let line = fs::read(keys.public(name)).expect("the key exists");
    let (key, _) = PublicKey::from_openssh_line(&line).expect("a key");
    let ca = fs::read(keys.private("ca")).expect("the key exists");
    let ca = PrivateKey::load(&ca, None).expect("a key").key_pair(rustcrypto()).expect("a key");
    let kind = if case.keygen.contains(&"-h") { CertificateKind::Host } else { CertificateKind::User };
    let request = CertificateRequest::new(kind, &key).key_id(case.name).serial(7).principals([user()]);
    let mut rng = Rng::from_seed(&Seed::new([1; 32]));
    let certificate = (case.request)(request).sign(&ca, None, &mut rng).expect("it can be issued");
    fs::write(folder.join("key-cert.pub"), certificate.to_openssh_line("") + "\n").expect("writable");
    // OpenSSH's own eyes see what was meant.
    let shown = Command::new("ssh-keygen").arg("-Lf").arg(folder.join("key-cert.pub")).output();
    let shown = String::from_utf8(shown.expect("ssh-keygen runs").stdout).expect("text");
    assert!(shown.contains(&format!("Key ID: \"{}\"", case.name)), "{shown}");
    assert!(shown.contains("Serial: 7"), "{shown}");
    assert!(certificate.signature_is_right(rustcrypto()));
}

/// Every OpenSSH of this machine.
fn opensshs() -> Vec<OpenSsh> {
    let all: Vec<OpenSsh> = [OpenSsh::system(), OpenSsh::ten()].into_iter().flatten().collect();
    let mut all = all;
    all.dedup();
    if all.is_empty() {
        not_run("certificates with OpenSSH", "sshd or ssh is not installed");
    }
    all
}

/// A server of konko's that takes certificates by the ring's authority alone, under the user's own name.
struct Konko {
    _server: Server,
    folder: tempfile::TempDir,
    port: u16,
}

impl Konko {
    fn start(keys: &KeyRing, arguments: &[&str]) -> Option<Self> {
        let program = konko()?;
        let folder = folder();
        copy(&keys.public("ca"), &folder.path().join("ca"));
        let out = folder.path().join("out");
        let file = |name: &str| File::create(folder.path().join(name)).expect("the folder is writable");
        let child = Command::new(program)
            .args(["serve", "-v", "--exec", "builtin", "--listen", "127.0.0.1:0"])
            .args(["-o", "PerSourcePenalties=no", "--host-key"])
            .arg(keys.private("host_ed25519"))
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("log"))
            .spawn()
            .expect("konko starts");
        let mut server = Server(child);
        let port = wait_until(Duration::from_secs(20), || {
            let text = fs::read_to_string(&out).unwrap_or_default();
            let port = text.strip_prefix("listening on 127.0.0.1:").and_then(|t| t.strip_suffix('\n'));
            match port.map(|p| p.parse().ok()) {
                Some(port) => Some(port),
                None => server.0.try_wait().ok().flatten().map(|_| None),
            }
        });
        let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        let port = port.flatten().unwrap_or_else(|| panic!("konko serve does not start:\n{log}"));
        Some(Self { _server: server, folder, port })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// OpenSSH's server with these lines of configuration, which bears with those who fail.
fn sshd(openssh: &OpenSsh, lines: &[&str]) -> Sshd {
    let patient: &[&str] = if openssh.version() >= (9, 8) { &["PerSourcePenalties no"] } else { &[] };
    Sshd::with_host_keys(openssh, &["ed25519"], &[lines, patient].concat())
}

/// Whether this client gets in with the key and the certificate of a folder, and what it prints.
fn login(openssh: &OpenSsh, port: u16, folder: &Path) -> (bool, String) {
    let program = Program::new(vec![openssh.ssh().into()]);
    let call = program
        .call(folder, port)
        .option("StrictHostKeyChecking", "no")
        .option("BatchMode", "yes")
        .option("UserKnownHostsFile", "/dev/null")
        .identity_file(&folder.join("key"));
    let done = call.run("echo in");
    (done.code() == 0, done.stdout.text())
}

/// OpenSSH's servers and konko's, for certificates by both, with OpenSSH's client.
#[test]
fn users_come_in_with_what_openssh_takes() {
    let keys = KeyRing::shared();
    let opensshs = opensshs();
    let (Some(client), Some(server)) = (opensshs.first(), Konko::start(&keys, &["--trusted-ca", "ca"]))
    else {
        return;
    };
    let servers: Vec<Sshd> =
        opensshs.iter().map(|openssh| sshd(openssh, &["AuthorizedKeysFile none"])).collect();
    for case in USERS {
        for ours in [false, true] {
            let folder = folder();
            match ours {
                true => by_konko(&keys, "user_ed25519", case, folder.path()),
                false => by_keygen(client, &keys, "user_ed25519", case, folder.path()),
            }
            let what = format!("{} (konko's: {ours})\n{}", case.name, server.log());
            let (here, said) = login(client, server.port, folder.path());
            assert_eq!(here, case.believed, "konko: {what}");
            let forced = case.name == "forced";
            assert_eq!(
                said,
                if !here {
                    ""
                } else if forced {
                    "forced\n"
                } else {
                    "in\n"
                },
                "{what}"
            );
            for (openssh, there) in opensshs.iter().zip(&servers) {
                let (let_in, said) = login(client, there.port, folder.path());
                assert_eq!(let_in, case.believed, "OpenSSH {:?}: {what}", openssh.version());
                assert_eq!(said.contains("forced"), forced, "{what}");
            }
        }
    }
}

/// The same with a line of authorized_keys, with and without principals, and with files of principals.
#[test]
fn users_come_in_by_lines_and_principals_as_with_openssh() {
    let keys = KeyRing::shared();
    let opensshs = opensshs();
    let Some(client) = opensshs.first() else { return };
    let me = user();
    let named = case("named", true, &["-n", "ops,dev"], |r| r.principals(["ops", "dev"]));
    let folder = folder();
    by_keygen(client, &keys, "user_ed25519", &named, folder.path());
    let ca = keys.public_line("ca");
    let lines = [
        ("cert-authority", false),
        ("cert-authority,principals=\"ops\"", true),
        ("cert-authority,principals=\"x,dev\"", true),
        ("cert-authority,principals=\"x\"", false),
        ("cert-authority,principals=\"*\"", false),
        ("cert-authority,principals=\"ops\",from=\"192.0.2.1\"", false),
        ("restrict", false),
    ];
    for (options, expected) in lines {
        let place = tempfile::tempdir().expect("a temporary folder");
        let file = place.path().join("authorized_keys");
        fs::write(&file, format!("{options} {ca}\n")).expect("writable");
        let path = file.display().to_string();
        let Some(server) = Konko::start(&keys, &["--authorized-keys", &path]) else { return };
        assert_eq!(
            login(client, server.port, folder.path()).0,
            expected,
            "konko: {options}\n{}",
            server.log()
        );
        for openssh in &opensshs {
            let config = [&format!("AuthorizedKeysFile {path}")[..], "TrustedUserCAKeys none"];
            let server = sshd(openssh, &config);
            assert_eq!(login(client, server.port, folder.path()).0, expected, "OpenSSH: {options}");
        }
    }
    for (text, expected) in [
        ("ops\n", true),
        ("# ops\nother\n", false),
        ("", false),
        (&format!("{me}\n"), false),
        ("from=\"192.0.2.1\" ops\n", false),
        // The first line that is for the certificate decides.
        ("from=\"192.0.2.1\" ops\ndev # now\n", false),
        ("other\nfrom=\"127.0.0.1\" dev # now\n", true),
    ] {
        let place = tempfile::tempdir().expect("a temporary folder");
        fs::write(place.path().join(&me), text).expect("writable");
        let path = format!("{}/%u", place.path().display());
        let arguments = ["--trusted-ca", "ca", "--authorized-principals", &path];
        let Some(server) = Konko::start(&keys, &arguments) else { return };
        assert_eq!(
            login(client, server.port, folder.path()).0,
            expected,
            "konko: {text:?}\n{}",
            server.log()
        );
        for openssh in &opensshs {
            let config = ["AuthorizedKeysFile none", &format!("AuthorizedPrincipalsFile {path}")];
            let server = sshd(openssh, &config);
            assert_eq!(login(client, server.port, folder.path()).0, expected, "OpenSSH: {text:?}");
        }
    }
}

/// Revoked by key, by serial number, by key id and by authority, in a revocation list and in a list of keys.
#[test]
fn revoked_users_stay_outside_as_with_openssh() {
    let keys = KeyRing::shared();
    let opensshs = opensshs();
    let Some(client) = opensshs.first() else { return };
    let plain = case("an id", true, &["-n", "ME"], |r| r);
    let place = folder();
    by_keygen(client, &keys, "user_ed25519", &plain, place.path());
    let (user_line, ca_line) = (keys.public_line("user_ed25519"), keys.public_line("ca"));
    let list = |spec: &str| -> PathBuf {
        let (from, to) = (place.path().join("spec"), place.path().join("krl"));
        fs::write(&from, spec).expect("writable");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-k", "-s"])
            .arg(keys.public("ca"))
            .arg("-f")
            .arg(&to)
            .arg(&from)
            .output()
            .expect("ssh-keygen runs");
        assert!(made.status.success(), "{spec}: {}", String::from_utf8_lossy(&made.stderr));
        to
    };
    for (spec, expected) in [
        ("serial: 7\n", false),
        ("serial: 1-9\n", false),
        ("serial: 8\n", true),
        ("id: an id\n", false),
        ("id: another\n", true),
        (&format!("key: {user_line}\n"), false),
        (&format!("sha256: {user_line}\n"), false),
        (&format!("key: {ca_line}\n"), false),
        ("", true),
    ] {
        let path = list(spec).display().to_string();
        let Some(server) = Konko::start(&keys, &["--trusted-ca", "ca", "--revoked-keys", &path]) else {
            return;
        };
        let here = login(client, server.port, place.path()).0;
        assert_eq!(here, expected, "konko: {spec}\n{}", server.log());
        for openssh in &opensshs {
            let config = ["AuthorizedKeysFile none", &format!("RevokedKeys {path}")];
            let server = sshd(openssh, &config);
            assert_eq!(login(client, server.port, place.path()).0, expected, "OpenSSH: {spec}");
        }
    }
    for (text, expected) in
        [(format!("{user_line}\n"), false), (format!("{ca_line}\n"), false), (String::new(), true)]
    {
        let path = place.path().join("list");
        fs::write(&path, text).expect("writable");
        let path = path.display().to_string();
        let Some(server) = Konko::start(&keys, &["--trusted-ca", "ca", "--revoked-keys", &path]) else {
            return;
        };
        assert_eq!(login(client, server.port, place.path()).0, expected, "{}", server.log());
    }
}

/// What hosts show: konko's client and OpenSSH's, at OpenSSH's servers and at konko's.
#[test]
fn hosts_are_believed_as_with_openssh() {
    let (Some(program), keys, opensshs) = (Program::konko(), KeyRing::shared(), opensshs()) else { return };
    let Some(system) = opensshs.first() else { return };
    for case in HOSTS {
        for ours in [false, true] {
            let folder = folder();
            match ours {
                true => by_konko(&keys, "host_ed25519", case, folder.path()),
                false => by_keygen(system, &keys, "host_ed25519", case, folder.path()),
            }
            let certificate = folder.path().join("key-cert.pub").display().to_string();
            let sshd = Sshd::with_host_keys(
                system,
                &[],
                &[
                    &format!("HostKey {}", keys.private("host_ed25519").display()),
                    &format!("HostCertificate {certificate}"),
                ],
            );
            let known = folder.path().join("known_hosts");
            let trust = |line: &str| fs::write(&known, line).expect("the folder is writable");
            let connect = |program: &Program, port: u16| {
                let call = program
                    .call(folder.path(), port)
                    .option("StrictHostKeyChecking", "yes")
                    .option("BatchMode", "yes")
                    .option("UserKnownHostsFile", known.display())
                    .identity(&keys, "user_ed25519");
                let done = call.run("true");
                (done.code(), done.stderr.text())
            };
            let ca = keys.public_line("ca");
            let line = format!("@cert-authority [127.0.0.1]:{} {ca}\n", sshd.port);
            let (good, bad) = (0, 255);
            let expected = if case.believed { good } else { bad };
            let what = format!("{} (konko's: {ours})", case.name);
            trust(&line);
            let (code, said) = connect(&program, sshd.port);
            assert_eq!(code, expected, "konko: {what}\n{said}");
            for openssh in &opensshs {
                let before = case.otherwise_before && openssh.version() < (10, 3);
                let expected = if case.believed != before { good } else { bad };
                let client = Program::new(vec![openssh.ssh().into()]);
                let (code, said) = connect(&client, sshd.port);
                assert_eq!(code, expected, "OpenSSH {:?}: {what}\n{said}", openssh.version());
            }
            // A line for the name alone does on another port; the key, where it is known, whatever its certificate says; not
            // what is revoked.
            let host = keys.public_line("host_ed25519");
            let revoked = |key: &str| format!("{line}[127.0.0.1]:{} {host}\n@revoked * {key}\n", sshd.port);
            for (text, expected) in [
                (format!("@cert-authority 127.0.0.1 {ca}\n"), expected),
                (format!("@cert-authority 127.0.0.2 {ca}\n"), bad),
                (format!("{line}[127.0.0.1]:{} {host}\n", sshd.port), good),
                (revoked(&ca), bad),
                (revoked(&host), bad),
            ] {
                trust(&text);
                let (code, said) = connect(&program, sshd.port);
                assert_eq!(code, expected, "konko: {what}: {text}\n{said}");
                let client = Program::new(vec![system.ssh().into()]);
                // With 9.2 another case than above.
                if !case.otherwise_before {
                    assert_eq!(connect(&client, sshd.port).0, expected, "OpenSSH: {what}: {text}");
                }
            }
        }
    }
}

/// konko's server shows host certificates of every kind; OpenSSH's clients believe them.
#[test]
fn openssh_believes_what_konko_serves() {
    let keys = KeyRing::shared();
    let ring = KeyRing::shared();
    let authorized = folder();
    let file = authorized.path().join("authorized_keys");
    fs::write(&file, ring.public_line("user_ed25519") + "\n").expect("writable");
    let file = file.display().to_string();
    for (kind, _) in konko_conformance::keys::KINDS {
        let name = format!("host_{kind}");
        let (key, certificate) = (keys.private(&name), keys.certificate(&name));
        let [key, certificate] = [key, certificate].map(|path: PathBuf| path.display().to_string());
        let arguments = ["--host-key", &key, "--host-certificate", &certificate, "--authorized-keys", &file];
        let Some(server) = Konko::start(&keys, &arguments) else { return };
        let known = server.folder.path().join("known_hosts");
        let line = format!("@cert-authority [127.0.0.1]:{} {}\n", server.port, keys.public_line("ca"));
        fs::write(&known, line).expect("the folder is writable");
        let algorithm = match kind {
            "rsa" => "rsa-sha2-512-cert-v01@openssh.com".to_owned(),
            "ed25519" => "ssh-ed25519-cert-v01@openssh.com".to_owned(),
            curve => format!("ecdsa-sha2-nistp{}-cert-v01@openssh.com", &curve[5..]),
        };
        let konko = Program::konko();
        let programs = opensshs().into_iter().map(|o| Program::new(vec![o.ssh().into()])).chain(konko);
        for program in programs {
            let call = program
                .call(server.folder.path(), server.port)
                .option("StrictHostKeyChecking", "yes")
                .option("BatchMode", "yes")
                .option("UserKnownHostsFile", known.display())
                .option("HostKeyAlgorithms", &algorithm)
                .identity(&keys, "user_ed25519");
            call.run("true").expect_code(0);
        }
    }
}

/// Certificates of every kind of key, by authorities of every kind, with konko's client and OpenSSH's servers.
#[test]
fn konko_logs_in_with_certificates_of_every_kind() {
    let (Some(program), keys) = (Program::konko(), KeyRing::shared()) else { return };
    for openssh in opensshs() {
        let sshd = sshd(&openssh, &["AuthorizedKeysFile none"]);
        for (kind, _) in konko_conformance::keys::KINDS {
            let call = program.call(&sshd.file(""), sshd.port).option("BatchMode", "yes");
            call.identity(&sshd.keys, &format!("user_{kind}")).run("true").expect_code(0);
        }
        // Named, and for no other key than its own.
        let certificate = keys.certificate("user_rsa");
        for (name, code) in [("user_rsa", 0), ("user_ed25519", 255)] {
            let place = folder();
            let key = place.path().join("key");
            copy(&keys.private(name), &key);
            let call = program.call(&sshd.file(""), sshd.port).option("BatchMode", "yes");
            let call = call.option("CertificateFile", certificate.display()).identity_file(&key);
            call.run("true").expect_code(code);
        }
    }
}
