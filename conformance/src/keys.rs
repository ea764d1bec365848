//! Keys for hosts and users, made by `ssh-keygen` once and kept under `target/`.

use crate::peers;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The kinds of keys of a [`KeyRing`], with the arguments that make them. No DSA: konko has none.
pub const KINDS: [(&str, &[&str]); 5] = [
    ("ed25519", &["-t", "ed25519"]),
    ("ecdsa256", &["-t", "ecdsa", "-b", "256"]),
    ("ecdsa384", &["-t", "ecdsa", "-b", "384"]),
    ("ecdsa521", &["-t", "ecdsa", "-b", "521"]),
    ("rsa", &["-t", "rsa", "-b", "3072"]),
];

/// The passphrase of `user_encrypted`.
pub const PASSPHRASE: &str = "correct horse";

/// A folder with, for each of [`KINDS`], `host_KIND` and `user_KIND` with `.pub` and `-cert.pub`; with the certificate
/// authority `ca`; with `user_encrypted`, an Ed25519 key under [`PASSPHRASE`]; with `other`, a key nobody trusts.
#[derive(Clone, Debug)]
pub struct KeyRing {
    folder: PathBuf,
}

impl KeyRing {
    /// The one key ring of this checkout; the first to ask makes it.
    ///
    /// # Panics
    /// When `ssh-keygen` does not run.
    pub fn shared() -> Self {
        let folder = peers::folder().join("keys-1");
        if !folder.exists() {
            fs::create_dir_all(peers::folder()).expect("target is writable");
            let scratch = tempfile::tempdir_in(peers::folder()).expect("target is writable");
            let made = scratch.path().join("keys");
            make(&made);
            // Of two test programs that do this at once, the second finds the name taken: theirs serve as well.
            if let Err(e) = fs::rename(&made, &folder) {
                assert!(folder.exists(), "{}: {e}", folder.display());
            }
        }
        Self { folder }
    }

    /// The private key file of that name, as `user_rsa`.
    pub fn private(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The public key file of that name.
    pub fn public(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.pub"))
    }

    /// The certificate file of that name.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}-cert.pub"))
    }

    /// The public key as `type base64`, without a comment.
    ///
    /// # Panics
    /// When there is no such key.
    pub fn public_line(&self, name: &str) -> String {
        let text = fs::read_to_string(self.public(name)).expect("the key exists");
        text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// The fingerprint, `SHA256:…`, as `ssh-keygen -l` says it.
    ///
    /// # Panics
    /// When `ssh-keygen` does not run.
    pub fn fingerprint(&self, name: &str) -> String {
        let output = Command::new("ssh-keygen").arg("-lf").arg(self.public(name)).output();
        let text = String::from_utf8(output.expect("ssh-keygen runs").stdout).expect("text");
        text.split_whitespace().nth(1).expect("bits, fingerprint, comment").to_owned()
    }
}

fn make(folder: &Path) {
    fs::create_dir(folder).expect("a new folder");
    keygen(&["-t", "ed25519", "-N", "", "-C", "konko-ca", "-f"], &folder.join("ca"));
    keygen(&["-t", "ed25519", "-N", "", "-C", "other", "-f"], &folder.join("other"));
    keygen(&["-t", "ed25519", "-N", PASSPHRASE, "-C", "encrypted", "-f"], &folder.join("user_encrypted"));
    let ca = folder.join("ca").display().to_string();
    let me = user();
    for (kind, args) in KINDS {
        for (role, sign) in [("host", ["-h", "-n", "127.0.0.1,localhost"]), ("user", ["-n", &me, "-q"])] {
            let name = format!("{role}_{kind}");
            let file = folder.join(&name);
            keygen(&[args, &["-N", "", "-C", &name, "-f"]].concat(), &file);
            let mut arguments = vec!["-s", &ca, "-I", &name];
            arguments.extend(sign);
            keygen(&arguments, &file.with_extension("pub"));
        }
    }
}

fn keygen(args: &[&str], file: &Path) {
    let output = Command::new("ssh-keygen").args(args).arg(file).stdin(Stdio::null()).output();
    let output = output.expect("ssh-keygen runs");
    assert!(output.status.success(), "ssh-keygen {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The name of the user who runs the tests.
///
/// # Panics
/// When the user has no name.
pub fn user() -> String {
    nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().expect("this user has a name").name
}
