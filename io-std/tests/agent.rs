//! An agent on a socket: who may use it, and what is left of it. Tests carry their row of the security facts (F).

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use konko::core::agent::{Constraints, Keyring};
use konko::core::keys::{KeyType, PrivateKey, SignatureAlgorithm, signature};
use konko::core::provider;
use konko::{Agent, AgentFailure, AgentServer, AgentSocket, Rng, Seed};

fn rng() -> Rng {
    Rng::from_seed(&Seed::new([1; 32]))
}

fn keyring() -> Keyring {
    Keyring::new(provider::best(), rng())
}

fn key(seed: u8) -> PrivateKey {
    PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&Seed::new([seed; 32]))).unwrap()
}

/// An agent that serves until it is dropped.
struct Serving(Arc<AgentServer>, Option<JoinHandle<()>>);

impl Serving {
    fn new(agent: AgentServer) -> Self {
        let agent = Arc::new(agent);
        let serving = Arc::clone(&agent);
        Serving(agent, Some(thread::spawn(move || serving.serve().unwrap())))
    }

    fn connect(&self) -> Agent {
        Agent::connect(&AgentSocket::at(self.0.path())).unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.close();
        self.1.take().unwrap().join().unwrap();
    }
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn f23_nobody_else_reaches_the_socket() {
    let serving = Serving::new(AgentServer::bind_private(keyring()).unwrap());
    let (path, folder) = (serving.0.path().to_owned(), serving.0.path().parent().unwrap().to_owned());
    assert_eq!((mode(&path), mode(&folder)), (0o600, 0o700));
    drop(serving);
    assert!(!path.exists() && !folder.exists(), "nothing is left");
    // Where it is asked for: what is there stays, and what is too long is no socket of another name.
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("agent");
    let serving = Serving::new(AgentServer::bind(&path, keyring()).unwrap());
    assert_eq!(mode(&path), 0o600);
    let again = AgentServer::bind(&path, keyring()).unwrap_err();
    assert_eq!(again.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(serving.connect().identities().unwrap(), []);
    drop(serving);
    let names: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
    assert!(names.is_empty(), "{names:?}");
    let long = home.path().join("x".repeat(108));
    assert_eq!(AgentServer::bind(&long, keyring()).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(Agent::connect(&AgentSocket::at(&long)).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn keys_are_shared_by_all_connections() {
    let serving = Serving::new(AgentServer::bind_private(keyring()).unwrap());
    let (mut one, mut two) = (serving.connect(), serving.connect());
    one.add(&key(1), b"mine", &Constraints::new()).unwrap();
    let list = two.identities().unwrap();
    assert_eq!((list.len(), &list[0].comment[..]), (1, &b"mine"[..]));
    let blob = two.sign(&list[0].blob, SignatureAlgorithm::ED25519, b"m").unwrap();
    signature::verify(provider::best(), key(1).public(), SignatureAlgorithm::ED25519, b"m", &blob).unwrap();
    one.lock(b"words").unwrap();
    assert_eq!(two.identities().unwrap(), []);
    assert!(matches!(two.unlock(b"word"), Err(AgentFailure::Refused)));
    // Wrong words delay the next ones, over whatever connection.
    let before = Instant::now();
    one.unlock(b"words").unwrap();
    assert!(before.elapsed() >= Duration::from_millis(90), "{:?}", before.elapsed());
    assert_eq!(two.extensions().unwrap(), [b"session-bind@openssh.com"]);
    two.remove_all().unwrap();
    assert_eq!(one.identities().unwrap(), []);
}

#[test]
fn somebody_is_asked_and_others_need_not_wait() {
    let (asked, questions) = std::sync::mpsc::channel();
    let (answers, answer) = std::sync::mpsc::channel();
    let answer = parking_lot::Mutex::new(answer);
    let agent = AgentServer::bind_private(keyring().can_confirm()).unwrap().on_confirm(move |confirm| {
        asked.send(confirm.comment.clone()).unwrap();
        answer.lock().recv().unwrap()
    });
    let serving = Serving::new(agent);
    let mut other = serving.connect();
    other.add(&key(1), b"asks", &Constraints::new().confirm()).unwrap();
    for yes in [true, false] {
        let mut one = serving.connect();
        let signing = thread::spawn(move || {
            one.sign(&key(1).public().to_blob(), SignatureAlgorithm::ED25519, b"m").is_ok()
        });
        assert_eq!(questions.recv().unwrap(), b"asks");
        assert_eq!(other.identities().unwrap().len(), 1, "while somebody thinks");
        answers.send(yes).unwrap();
        assert_eq!(signing.join().unwrap(), yes);
    }
}

#[test]
fn a_key_goes_when_its_time_is_over_though_nobody_asks() {
    let serving = Serving::new(AgentServer::bind_private(keyring()).unwrap());
    serving.connect().add(&key(1), b"", &Constraints::new().lifetime(1)).unwrap();
    assert_eq!(serving.0.with_keys(|keys, _| keys.len()), 1);
    let until = Instant::now() + Duration::from_secs(20);
    while serving.0.with_keys(|keys, _| keys.len()) == 1 {
        assert!(Instant::now() < until, "it stays");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn f17_who_sends_a_length_that_is_none_is_gone() {
    let serving = Serving::new(AgentServer::bind_private(keyring()).unwrap());
    for length in [0u32, 262_145, u32::MAX] {
        let mut stream = UnixStream::connect(serving.0.path()).unwrap();
        stream.write_all(&length.to_be_bytes()).unwrap();
        assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0);
    }
    assert_eq!(serving.connect().identities().unwrap(), [], "others are served");
}
