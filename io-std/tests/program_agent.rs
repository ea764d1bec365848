//! `konko agent` and `konko add`, as ssh-agent(1) and ssh-add(1).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use konko::core::keys::{KeyType, PrivateKey};
use konko::{Rng, Seed};

const KONKO: &str = env!("CARGO_BIN_EXE_konko");

/// A folder for whoever runs the programs, with a key in it.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let mut rng = Rng::from_seed(&Seed::new([5; 32]));
    let mut key = PrivateKey::generate(KeyType::ED25519, &mut rng).unwrap();
    key.set_comment(b"alice@home");
    fs::create_dir(home.path().join(".ssh")).unwrap();
    let path = home.path().join(".ssh/id_ed25519");
    fs::write(&path, key.to_openssh(None, &mut rng).unwrap().as_bytes()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(path.with_extension("pub"), key.public().to_openssh_line("alice@home")).unwrap();
    home
}

fn run(home: &Path, words: &[&str], env: &BTreeMap<String, String>) -> Output {
    let mut command = Command::new(KONKO);
    command.args(words).env_remove("SSH_AUTH_SOCK").env_remove("SSH_AGENT_PID").env_remove("SSH_ASKPASS");
    command.env("HOME", home).env("TMPDIR", home).envs(env).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn an_agent_in_the_background_and_its_end() {
    let home = home();
    let here = home.path();
    let started = run(here, &["agent", "-s"], &BTreeMap::new());
    assert!(started.status.success(), "{started:?}");
    let said = text(&started.stdout);
    let mut env = BTreeMap::new();
    for line in said.lines() {
        if let Some((name, rest)) = line.split_once('=') {
            let value = rest.split(';').next().unwrap();
            assert_eq!(line, format!("{name}={value}; export {name};"));
            env.insert(name.to_owned(), value.to_owned());
        }
    }
    assert!(said.ends_with(&format!("echo Agent pid {};\n", env["SSH_AGENT_PID"])), "{said}");
    let add = |words: &[&str]| run(here, &[&["add"], words].concat(), &env);
    let empty = add(&["-l"]);
    assert_eq!((empty.status.code(), &empty.stdout[..]), (Some(1), &b"The agent has no identities.\n"[..]));
    // The usual files, where none is named.
    let key = here.join(".ssh/id_ed25519");
    let added = add(&[]);
    let expected = format!("Identity added: {} (alice@home)\n", key.display());
    assert_eq!((added.status.code(), text(&added.stderr)), (Some(0), expected));
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    assert_eq!(text(&add(&["-L"]).stdout).trim(), public.trim());
    assert!(text(&add(&["-l"]).stdout).contains("alice@home (ED25519)"));
    assert_eq!(add(&["-T", &key.display().to_string()]).status.code(), Some(0));
    assert_eq!(text(&add(&["-Q"]).stdout), "session-bind@openssh.com\n");
    assert_eq!(add(&["-d", &key.display().to_string()]).status.code(), Some(0));
    assert_eq!(add(&["-T", &key.display().to_string()]).status.code(), Some(1));
    // Nobody can be asked, so nothing is taken that asks (F-19).
    assert_eq!(add(&["-c"]).status.code(), Some(1));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let open = add(&[]);
    assert!(!open.status.success() && text(&open.stderr).contains("0640"), "{open:?}");
    // It ends, and nothing of it is left.
    let killed = run(here, &["agent", "-k", "-c"], &env);
    let pid = &env["SSH_AGENT_PID"];
    let expected =
        format!("unsetenv SSH_AUTH_SOCK;\nunsetenv SSH_AGENT_PID;\necho Agent pid {pid} killed;\n");
    assert_eq!(text(&killed.stdout), expected);
    let socket = Path::new(&env["SSH_AUTH_SOCK"]);
    let until = Instant::now() + Duration::from_secs(20);
    while socket.parent().unwrap().exists() {
        assert!(Instant::now() < until, "the socket stays");
        std::thread::sleep(Duration::from_millis(10));
    }
    let without = run(here, &["add", "-l"], &env);
    assert_eq!(without.status.code(), Some(2), "{without:?}");
    assert_eq!(run(here, &["add", "-l"], &BTreeMap::new()).status.code(), Some(2));
    assert_eq!(run(here, &["agent", "-k"], &BTreeMap::new()).status.code(), Some(1));
}

#[test]
fn an_agent_for_one_program_ends_with_it() {
    let home = home();
    let here = home.path();
    let script = format!("'{KONKO}' add -q && '{KONKO}' add -l && echo $SSH_AUTH_SOCK && exit 7");
    let done = run(here, &["agent", "sh", "-c", &script], &BTreeMap::new());
    assert_eq!(done.status.code(), Some(7), "{done:?}");
    let said = text(&done.stdout);
    assert!(said.contains("alice@home (ED25519)"), "{said}");
    assert!(!Path::new(said.lines().last().unwrap()).exists());
    assert_eq!(fs::read_dir(here).unwrap().count(), 1, "only .ssh");
    let none = run(here, &["agent", "/nonexistent/program"], &BTreeMap::new());
    assert_eq!(none.status.code(), Some(1));
    assert_eq!(run(here, &["agent", "-k", "true"], &BTreeMap::new()).status.code(), Some(1));
}
