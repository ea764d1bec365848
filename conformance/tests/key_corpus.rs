//! Key files of ssh-keygen, openssl and puttygen, each made here: every file loads, has ssh-keygen's fingerprint and signs
//! what ssh-keygen verifies; and what konko writes is read by all three. `konko keygen` beside ssh-keygen.

use konko_conformance::peers::{full, installed, konko};
use konko_conformance::{Feed, Process, not_run};
use konko_core::crypto::HashAlgorithm;
use konko_core::keys::{FileCipher, PrivateKey, PublicKey, PuttyVersion};
use konko_core::provider;
use konko_core::wire::Sink;
use konko_core::{Rng, Seed};
use sha2::{Digest, Sha512};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

const PASS: &str = "correct horse";

/// The keys that everything is made from: a name, and how ssh-keygen makes it.
const KINDS: [(&str, &[&str]); 5] = [
    ("ed25519", &["-t", "ed25519"]),
    ("ecdsa256", &["-t", "ecdsa", "-b", "256"]),
    ("ecdsa384", &["-t", "ecdsa", "-b", "384"]),
    ("ecdsa521", &["-t", "ecdsa", "-b", "521"]),
    ("rsa", &["-t", "rsa", "-b", "2048"]),
];

/// A folder that programs work in.
struct Folder(tempfile::TempDir);

impl Folder {
    /// `None`, and said, when a program is missing.
    fn new() -> Option<Self> {
        for program in ["ssh-keygen", "openssl", "puttygen"] {
            if installed(program).is_none() {
                not_run("the corpus of keys", &format!("{program} is not installed"));
                return None;
            }
        }
        let folder = Folder(tempfile::tempdir().expect("a temporary folder"));
        folder.write("pass", PASS);
        folder.write("none", "");
        for (kind, how) in KINDS {
            folder.run(
                "ssh-keygen",
                &[how, &["-q", "-N", "", "-C", &format!("{kind} comment"), "-f", kind]].concat(),
            );
        }
        Some(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the folder is writable");
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).expect("the file is ours");
    }

    /// A program that must end well; what it says on standard output.
    fn run(&self, program: &str, words: &[&str]) -> String {
        let (code, said, complaint) = self.call(Path::new(program), words, b"");
        assert_eq!(code, 0, "{program} {words:?}: {said}{complaint}");
        said
    }

    fn call(&self, program: &Path, words: &[&str], input: &[u8]) -> (i32, String, String) {
        let mut command = Command::new(program);
        command.args(words).current_dir(self.0.path()).env("HOME", self.0.path()).env_remove("SSH_ASKPASS");
        let finished = Process::new(command).feed(Feed::Bytes(input.to_vec())).run().expect("it runs");
        (finished.code(), finished.stdout.text(), finished.stderr.text())
    }

    fn load(&self, name: &str, passphrase: Option<&str>) -> PrivateKey {
        let bytes = fs::read(self.path(name)).expect("it was made");
        PrivateKey::load(&bytes, passphrase.map(str::as_bytes)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// That the key of `kind` is in the file, in all that can be seen of it.
    fn expect(&self, name: &str, kind: &str, passphrase: Option<&str>) {
        let key = self.load(name, passphrase);
        let print = self.run("ssh-keygen", &["-lf", &format!("{kind}.pub")]);
        let print = print.split(' ').nth(1).expect("bits, fingerprint, comment");
        assert_eq!(key.public().fingerprint(HashAlgorithm::Sha256).to_string(), print, "{name}");
        assert!(key == self.load(kind, None), "{name}: the same numbers");
        let (public, _) = PublicKey::load(&fs::read(self.path(&format!("{kind}.pub"))).unwrap()).unwrap();
        assert_eq!(*key.public(), public, "{name}");
        self.write("message", "a message");
        self.write("message.sig", &signature(&key, b"a message"));
        let words = ["-Y", "check-novalidate", "-n", "file", "-s", "message.sig"];
        let (code, said, complaint) = self.call(Path::new("ssh-keygen"), &words, b"a message");
        assert_eq!(code, 0, "{name}: {said}{complaint}");
        assert!(said.contains(print), "{name}: {said}");
        if passphrase.is_some() {
            let bytes = fs::read(self.path(name)).unwrap();
            assert_eq!(
                PrivateKey::load(&bytes, None).unwrap_err(),
                konko_core::keys::KeyError::Encrypted,
                "{name}"
            );
            let wrong = PrivateKey::load(&bytes, Some(b"wrong")).unwrap_err();
            assert_eq!(wrong, konko_core::keys::KeyError::WrongPassphrase, "{name}");
        }
    }
}

/// A signature as PROTOCOL.sshsig has it.
fn signature(key: &PrivateKey, message: &[u8]) -> String {
    let mut rng = Rng::from_seed(&Seed::new([1; 32]));
    let algorithm = key.public().signature_algorithms()[0];
    let common = |out: &mut Vec<u8>| {
        [&b"file"[..], b"", b"sha512"].iter().for_each(|field| out.put_string(field));
    };
    let mut signed = b"SSHSIG".to_vec();
    common(&mut signed);
    signed.put_string(&Sha512::digest(message));
    let blob = key.key_pair(provider::best()).unwrap().sign(algorithm, &signed, &mut rng).unwrap();
    let mut whole = b"SSHSIG".to_vec();
    whole.put_u32(1);
    whole.put_string(&key.public().to_blob());
    common(&mut whole);
    whole.put_string(&blob);
    format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", base64(&whole))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for (n, chunk) in bytes.chunks(3).enumerate() {
        if n > 0 && n % 16 == 0 {
            text.push('\n');
        }
        let group =
            chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let at = (group >> (18 - 6 * digit)) & 63;
            text.push(if digit > chunk.len() { '=' } else { char::from(DIGITS[at as usize]) });
        }
    }
    text
}

#[test]
fn files_of_ssh_keygen() {
    let Some(folder) = Folder::new() else { return };
    for (kind, _) in KINDS {
        folder.expect(kind, kind, None);
        for cipher in FileCipher::all() {
            // Each costs two derivations: each cipher with the first kind, the others with the usual one.
            if kind != "ed25519" && cipher != FileCipher::AES256_CTR && !full() {
                continue;
            }
            let rounds = if cipher == FileCipher::AES256_CTR { "24" } else { "2" };
            let name = format!("{kind}-{}", cipher.name());
            fs::copy(folder.path(kind), folder.path(&name)).unwrap();
            let words = ["-q", "-p", "-P", "", "-N", PASS, "-a", rounds, "-Z", cipher.name(), "-f", &name];
            folder.run("ssh-keygen", &words);
            folder.expect(&name, kind, Some(PASS));
        }
        for format in ["PEM", "PKCS8"].iter().filter(|_| kind != "ed25519") {
            for pass in ["", PASS] {
                let name = format!("{kind}-{format}");
                fs::copy(folder.path(kind), folder.path(&name)).unwrap();
                folder.run("ssh-keygen", &["-q", "-p", "-P", "", "-N", pass, "-m", format, "-f", &name]);
                folder.expect(&name, kind, (!pass.is_empty()).then_some(PASS));
            }
        }
    }
}

#[test]
fn files_of_openssl() {
    let Some(folder) = Folder::new() else { return };
    let pass = format!("pass:{PASS}");
    for (kind, _) in KINDS.iter().filter(|(kind, _)| *kind != "ed25519") {
        let pem = format!("{kind}-pem");
        fs::copy(folder.path(kind), folder.path(&pem)).unwrap();
        folder.run("ssh-keygen", &["-q", "-p", "-P", "", "-N", "", "-m", "PEM", "-f", &pem]);
        let family = if *kind == "rsa" { "rsa" } else { "ec" };
        for cipher in ["-aes128", "-aes192", "-aes256", "-des3"] {
            let old: &[&str] = if family == "rsa" { &["-traditional"] } else { &[] };
            let words = [&[family, "-in", &pem, cipher, "-passout", &pass, "-out", "made"], old].concat();
            folder.run("openssl", &words);
            folder.expect("made", kind, Some(PASS));
        }
        folder.run("openssl", &["pkcs8", "-topk8", "-nocrypt", "-in", &pem, "-out", "made"]);
        folder.expect("made", kind, None);
        if family == "ec" {
            for form in ["compressed", "uncompressed"] {
                let explicit = ["-param_enc", "explicit", "-conv_form", form, "-out", "made"];
                folder.run("openssl", &[&["ec", "-in", &pem][..], &explicit].concat());
                folder.expect("made", kind, None);
            }
        }
        pkcs8(&folder, &pem, kind, &pass);
    }
    // OpenSSL makes an Ed25519 key that ssh-keygen of old reads in no form: through konko.
    folder.run("openssl", &["genpkey", "-algorithm", "ed25519", "-out", "openssl"]);
    let mut rng = Rng::from_seed(&Seed::new([2; 32]));
    let key = folder.load("openssl", None);
    folder.write("own", &key.to_openssh(None, &mut rng).unwrap());
    folder.write("own.pub", &(key.public().to_openssh_line("") + "\n"));
    folder.expect("openssl", "own", None);
    pkcs8(&folder, "openssl", "own", &pass);
}

/// Each way in which openssl encrypts PKCS#8 that is not broken.
fn pkcs8(folder: &Folder, from: &str, kind: &str, pass: &str) {
    let ways: [&[&str]; 8] = [
        &["-v2", "aes-128-cbc"],
        &["-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA1"],
        &["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA384"],
        &["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512", "-iter", "10000"],
        &["-v2", "des3", "-iter", "1"],
        &["-scrypt"],
        &["-scrypt", "-scrypt_N", "1024", "-scrypt_r", "16", "-scrypt_p", "3"],
        &["-v2", "aes-128-cbc", "-scrypt"],
    ];
    for way in ways {
        let words = [&["pkcs8", "-topk8", "-in", from, "-passout", pass, "-out", "made"], way].concat();
        folder.run("openssl", &words);
        folder.expect("made", kind, Some(PASS));
    }
}

#[test]
fn files_of_puttygen() {
    let Some(folder) = Folder::new() else { return };
    for (kind, _) in KINDS {
        for parameters in
            ["version=2", "version=3", "version=3,kdf=argon2i", "version=3,kdf=argon2d,memory=16"]
        {
            for (secret, passphrase) in [("none", None), ("pass", Some(PASS))] {
                let words = [
                    kind,
                    "-O",
                    "private",
                    "--ppk-param",
                    parameters,
                    "--new-passphrase",
                    secret,
                    "-o",
                    "made",
                ];
                folder.run("puttygen", &words);
                folder.expect("made", kind, passphrase);
                assert_eq!(folder.load("made", passphrase).comment().to_string(), format!("{kind} comment"));
            }
        }
    }
    for (secret, passphrase) in [("none", None), ("pass", Some(PASS))] {
        folder.run("puttygen", &["rsa", "-O", "private-sshcom", "--new-passphrase", secret, "-o", "made"]);
        folder.expect("made", "rsa", passphrase);
    }
}

#[test]
fn what_konko_writes_is_read_by_all_three() {
    let Some(folder) = Folder::new() else { return };
    let mut rng = Rng::from_seed(&Seed::new([3; 32]));
    let pass = format!("pass:{PASS}");
    for (kind, _) in KINDS {
        let key = folder.load(kind, None);
        let line = key.public().to_openssh_line("");
        let openssh = |what: &str, phrase: &str| {
            let said = folder.run("ssh-keygen", &["-y", "-P", phrase, "-f", "made"]);
            assert!(said.starts_with(&line), "{kind} {what}: {said}");
        };
        let spki = key.public().to_spki_pem().unwrap();
        let openssl = |what: &str| {
            let said = folder.run("openssl", &["pkey", "-in", "made", "-passin", &pass, "-pubout"]);
            assert_eq!(said, spki, "{kind} {what}");
        };
        let putty = |what: &str, secret: &str| {
            let said = folder.run("puttygen", &["made", "--old-passphrase", secret, "-L"]);
            assert!(said.starts_with(&line), "{kind} {what}: {said}");
        };
        for cipher in FileCipher::all() {
            let text = key.to_openssh_with_cipher(Some((PASS.as_bytes(), 2)), cipher, &mut rng).unwrap();
            folder.write("made", &text);
            openssh(cipher.name(), PASS);
            // PuTTY has no other cipher for these files than two of them.
            if matches!(cipher.name(), "aes256-ctr" | "aes256-cbc") {
                putty(cipher.name(), "pass");
            }
        }
        folder.write("made", &key.to_openssh(None, &mut rng).unwrap());
        openssh("plain", "");
        putty("plain", "none");
        for (phrase, given) in [("", None), (PASS, Some(PASS.as_bytes()))] {
            folder.write("made", &key.to_pkcs8(given, &mut rng).unwrap());
            openssl("PKCS#8");
            if kind != "ed25519" {
                openssh("PKCS#8", phrase);
            }
            for version in [PuttyVersion::V2, PuttyVersion::V3] {
                folder.write("made", &key.to_putty(version, given, &mut rng).unwrap());
                putty("ppk", if given.is_some() { "pass" } else { "none" });
            }
        }
        if let Ok(text) = key.to_pem() {
            folder.write("made", &text);
            openssl("PEM");
            openssh("PEM", "");
            putty("PEM", "none");
        }
        folder.write("made", &key.public().to_rfc4716("a comment"));
        assert!(folder.run("ssh-keygen", &["-i", "-f", "made"]).starts_with(&line), "{kind}");
        assert!(folder.run("puttygen", &["made", "-L"]).starts_with(&line), "{kind}");
    }
}

/// The same call of both programs, with a copy of the same folder.
#[test]
fn konko_keygen_says_what_ssh_keygen_says() {
    let (Some(folder), Some(konko)) = (Folder::new(), konko()) else { return };
    fs::copy(folder.path("rsa"), folder.path("locked")).unwrap();
    fs::copy(folder.path("rsa.pub"), folder.path("locked.pub")).unwrap();
    folder.run("ssh-keygen", &["-q", "-p", "-P", "", "-N", PASS, "-a", "2", "-f", "locked"]);
    folder.run("ssh-keygen", &["-q", "-p", "-P", "", "-N", "", "-m", "PEM", "-f", "rsa"]);
    let ours = |words: &[&str]| folder.call(&konko, &[&["keygen"], words].concat(), b"");
    let theirs = |words: &[&str]| folder.call(Path::new("ssh-keygen"), words, b"");
    let mut calls: Vec<Vec<String>> = Vec::new();
    for (kind, _) in KINDS {
        for words in
            ["-lf K", "-lf K.pub", "-lvf K", "-lv -E md5 -f K.pub", "-l -E sha512 -f K", "-yf K", "-ef K"]
        {
            calls.push(words.replace('K', kind).split(' ').map(str::to_owned).collect());
        }
        if kind != "ed25519" {
            calls.push(["-e", "-m", "PKCS8", "-f", kind].map(str::to_owned).to_vec());
            calls.push(["-e", "-m", "PEM", "-f", kind].map(str::to_owned).to_vec());
        }
    }
    calls.extend(["-lf locked", "-ef locked"].map(|call| call.split(' ').map(str::to_owned).collect()));
    calls.push(["-y", "-P", PASS, "-f", "locked"].map(str::to_owned).to_vec());
    for call in calls {
        let words: Vec<&str> = call.iter().map(String::as_str).collect();
        let (our_code, our_text, complaint) = ours(&words);
        let (their_code, their_text, _) = theirs(&words);
        assert_eq!((our_code, &our_text), (their_code, &their_text), "{words:?}: {complaint}");
    }
    // What fails ends with the same code.
    for words in
        [&["-lf", "nothing"][..], &["-y", "-P", "wrong", "-f", "locked"], &["-t", "foo"], &["-lf", "pass"]]
    {
        let ((our_code, ..), (their_code, ..)) = (ours(words), theirs(words));
        assert_eq!(our_code, their_code, "{words:?}");
    }
}

#[test]
fn konko_keygen_makes_and_changes_keys_that_ssh_keygen_takes() {
    let (Some(folder), Some(konko)) = (Folder::new(), konko()) else { return };
    let ours = |words: &[&str], input: &[u8]| {
        let (code, said, complaint) = folder.call(&konko, &[&["keygen"], words].concat(), input);
        assert_eq!(code, 0, "{words:?}: {said}{complaint}");
        said
    };
    let shape = |said: &str| {
        // Prints and pictures are each key's own.
        let lines = said.lines().filter(|line| !line.starts_with(['|', '+']));
        lines.map(|line| line.split("SHA256:").next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    for (kind, how) in KINDS {
        let said = ours(&[how, &["-N", PASS, "-a", "2", "-C", "made", "-f", "new"]].concat(), b"");
        fs::remove_file(folder.path("new.pub")).unwrap();
        let line = folder.run("ssh-keygen", &["-y", "-P", PASS, "-f", "new"]);
        fs::remove_file(folder.path("new")).unwrap();
        let words = [how, &["-N", PASS, "-a", "2", "-C", "made", "-f", "new"]].concat();
        assert_eq!(shape(&said), shape(&folder.run("ssh-keygen", &words)), "{kind}");
        assert!(line.ends_with("made\n"), "{line}");
        fs::remove_file(folder.path("new")).unwrap();
        fs::remove_file(folder.path("new.pub")).unwrap();
    }
    for (kind, _) in KINDS {
        let print = folder.run("ssh-keygen", &["-lf", &format!("{kind}.pub")]);
        let print = print.split(' ').nth(1).unwrap();
        let holds = |phrase: &str| {
            let line = folder.run("ssh-keygen", &["-y", "-P", phrase, "-f", kind]);
            folder.write("line", &line);
            assert!(folder.run("ssh-keygen", &["-lf", "line"]).contains(print), "{kind}");
        };
        let said =
            ours(&["-p", "-P", "", "-N", PASS, "-a", "2", "-Z", "aes256-gcm@openssh.com", "-f", kind], b"");
        let theirs = format!(
            "Key has comment '{kind} comment'\nYour identification has been saved with the new passphrase.\n"
        );
        assert_eq!(said, theirs);
        holds(PASS);
        let said = ours(&["-c", "-P", PASS, "-C", "another", "-f", kind], b"");
        assert_eq!(said, format!("Old comment: {kind} comment\nComment 'another' applied\n"));
        holds(PASS);
        assert!(fs::read_to_string(folder.path(&format!("{kind}.pub"))).unwrap().ends_with(" another\n"));
        assert_eq!(fs::metadata(folder.path(kind)).unwrap().mode() & 0o7777, 0o600);
        // The passphrases come from standard input where there is no terminal.
        if no_terminal() {
            ours(&["-p", "-f", kind], format!("{PASS}\nnew\nnew\n").as_bytes());
            holds("new");
            ours(&["-p", "-P", "new", "-N", "", "-f", kind], b"");
        } else {
            ours(&["-p", "-P", PASS, "-N", "", "-f", kind], b"");
        }
        // Through PuTTY's format and back.
        ours(&["-p", "-m", "PPK", "-P", "", "-N", PASS, "-f", kind], b"");
        assert!(
            folder
                .run("puttygen", &[kind, "--old-passphrase", "pass", "-l"])
                .contains(print.trim_start_matches("SHA256:"))
        );
        let back = ours(&["-i", "-P", PASS, "-N", "", "-f", kind], b"");
        folder.write(kind, &back);
        holds("");
        // And public keys.
        let other = ours(&["-e", "-f", kind], b"");
        folder.write("other", &other);
        assert_eq!(ours(&["-i", "-f", "other"], b""), folder.run("ssh-keygen", &["-i", "-f", "other"]));
    }
}

/// A program asks at its terminal, if it has one, whatever its standard input is.
fn no_terminal() -> bool {
    fs::File::open("/dev/tty").is_err()
}

#[test]
fn konko_passwd_makes_what_konko_serve_reads() {
    let (Some(folder), Some(konko)) = (Folder::new(), konko()) else { return };
    let (code, line, _) = folder.call(&konko, &["passwd", "alice"], b"secret\n");
    assert_eq!(code, 0);
    assert!(line.starts_with("alice:$argon2id$v=19$m="), "{line}");
    let (_, again, _) = folder.call(&konko, &["passwd", "alice"], b"secret\n");
    assert_ne!(line, again, "each has a salt of its own");
    assert_eq!(folder.call(&konko, &["passwd"], b"\n").0, 1);
    assert_eq!(folder.call(&konko, &["passwd", "a:b"], b"x\n").0, 1);
}
