//! `konko keygen` by itself; beside ssh-keygen it is held in `conformance`.

mod program;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Output, Stdio};

use konko::{HashAlgorithm, PrivateKey, PublicKey};
use program::konko;

/// A call in a folder of its own, to which nothing is said.
fn keygen(folder: &Path, words: &[&str]) -> Output {
    let mut call = konko(["keygen"]);
    call.args(words).current_dir(folder).env("HOME", folder).env_remove("SSH_ASKPASS");
    call.stdin(Stdio::null()).output().unwrap()
}

fn good(folder: &Path, words: &[&str]) -> String {
    let output = keygen(folder, words);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn bad(folder: &Path, words: &[&str]) -> (Option<i32>, String) {
    let output = keygen(folder, words);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn keys_of_each_type_are_made_shown_and_printed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let kinds: [(&str, &[&str]); 5] = [
        ("256 ED25519", &["-t", "ed25519"]),
        ("256 ECDSA", &["-t", "ecdsa"]),
        ("384 ECDSA", &["-t", "ecdsa", "-b384"]),
        ("521 ECDSA", &["-tecdsa", "-b", "521"]),
        ("2048 RSA", &["-t", "rsa", "-b", "2048"]),
    ];
    for (kind, words) in kinds {
        let name = kind.replace(' ', "-");
        let said = good(folder, &[words, &["-N", "", "-C", "who am I", "-f", &name]].concat());
        let key = PrivateKey::load(&fs::read(folder.join(&name)).unwrap(), None).unwrap();
        let print = key.public().fingerprint(HashAlgorithm::Sha256).to_string();
        assert!(said.contains(&print) && said.contains("+----[SHA256]-----+"), "{said}");
        assert_eq!(fs::metadata(folder.join(&name)).unwrap().mode() & 0o7777, 0o600);
        let line = fs::read_to_string(folder.join(name.clone() + ".pub")).unwrap();
        assert_eq!(PublicKey::from_openssh_line(line.as_bytes()).unwrap().0, *key.public());
        let (bits, kind) = kind.split_once(' ').unwrap();
        for file in [name.clone(), name.clone() + ".pub"] {
            assert_eq!(good(folder, &["-lf", &file]), format!("{bits} {print} who am I ({kind})\n"));
        }
        assert_eq!(good(folder, &["-yf", &name]), line);
        let md5 = key.public().fingerprint(HashAlgorithm::Md5);
        assert!(good(folder, &["-l", "-E", "md5", "-f", &name]).contains(&format!(" {md5} ")));
    }
}

#[test]
fn without_a_name_the_usual_file_is_written_and_none_is_overwritten_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Nobody says where: as with ssh-keygen, no answer is no.
    assert_eq!(keygen(folder, &["-N", ""]).status.code(), Some(1));
    good(folder, &["-q", "-N", "", "-f", "key"]);
    let before = fs::read(folder.join("key")).unwrap();
    assert_eq!(keygen(folder, &["-N", "", "-f", "key"]).status.code(), Some(1));
    assert_eq!(fs::read(folder.join("key")).unwrap(), before);
    symlink(folder.join("elsewhere"), folder.join("link")).unwrap();
    assert_eq!(keygen(folder, &["-N", "", "-f", "link"]).status.code(), Some(1));
    assert!(!folder.join("elsewhere").exists());
}

#[test]
fn what_cannot_be_done_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (words, code, says) in [
        (&["-t", "foo"][..], 255, "unknown key type foo"),
        (&["-t", "rsa", "-b", "512", "-f", "k"], 255, "minimum is 2048 bits"),
        (&["-t", "ecdsa", "-b", "255", "-f", "k"], 255, "256, 384 or 521"),
        (&["-lf", "nothing"], 255, "nothing: No such file or directory"),
        (
            &["-q", "-N", "", "-f", "no/folder"],
            1,
            "Saving key \"no/folder\" failed: No such file or directory",
        ),
        (&["a", "b"], 1, "Too many arguments."),
    ] {
        let (ended, said) = bad(folder, words);
        assert_eq!(ended, Some(code), "{words:?}: {said}");
        assert!(said.contains(says), "{words:?}: {said}");
    }
    fs::write(folder.join("text"), "hello\n").unwrap();
    assert_eq!(bad(folder, &["-lf", "text"]), (Some(255), "text is not a public key file.\n".into()));
}
