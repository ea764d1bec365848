//! A14: no memory that the blocking binding frees still holds a secret of a session, on either side: passwords,
//! passphrases, answers, and what went through channels. In a file of its own, because it needs its own allocator.
#![cfg(feature = "server")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use konko::core::auth::{Method, MethodSet};
use konko::core::client::Password;
use konko::core::keys::{KeyType, PrivateKey};
use konko::core::server::Challenge;
use konko::core::{Rng, Seed};
use konko::server::{
    AuthAttempt, Connection, Credential, Handler, KeyProbe, Programs, Server, ServerOptions, Session,
};
use konko::{Auth, Channel, Client, ClientOptions, Exec, HostKeys};
use zeroize::Zeroizing;

const PASSWORD: &str = "an old password that nobody may read";
const NEW: &str = "the new password that nobody may read";
const ANSWER: &str = "one answer that nobody may read either";
const PASSPHRASE: &str = "passphrase of a key that nobody knows";
const TYPED: &str = "typed into sudo: do not leave this behind; ";
const SECRETS: [&str; 5] = [PASSWORD, NEW, ANSWER, PASSPHRASE, TYPED];
/// Bytes of a mark: the front of a secret.
const MARK: usize = 16;

static WATCHING: AtomicBool = AtomicBool::new(false);
static LEAKS: AtomicUsize = AtomicUsize::new(0);
static PLACES: Mutex<Vec<String>> = Mutex::new(Vec::new());

thread_local! {
    /// This thread is looking at a block; what that frees is not looked at.
    static LOOKING: Cell<bool> = const { Cell::new(false) };
}

/// Looks for the marks in each block before it is freed, in all threads. Growing goes through here as well, since the
/// default `realloc` is allocate, copy, free.
struct Watcher;

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Watcher {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Zeroed, so that what a block never held is not read as uninitialised.
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let on = WATCHING.load(Ordering::Relaxed);
        if on && !LOOKING.try_with(|looking| looking.replace(true)).unwrap_or(true) {
            // SAFETY: the block was allocated with this layout, zeroed, and is not freed yet.
            look(unsafe { std::slice::from_raw_parts(block, layout.size()) });
            LOOKING.with(|looking| looking.set(false));
        }
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static WATCHER: Watcher = Watcher;

fn look(bytes: &[u8]) {
    let found = SECRETS.iter().find(|secret| {
        let mark = &secret.as_bytes()[..MARK];
        bytes.windows(MARK).any(|window| window == mark)
    });
    if let Some(secret) = found {
        LEAKS.fetch_add(1, Ordering::Relaxed);
        let trace = std::backtrace::Backtrace::force_capture();
        let mut places = PLACES.lock().unwrap_or_else(|e| e.into_inner());
        places.push(format!("{secret:?} in {} bytes: {trace}", bytes.len()));
    }
}

/// Counts freed blocks that hold a secret while `work` runs.
fn leaks(work: impl FnOnce()) -> usize {
    LEAKS.store(0, Ordering::Relaxed);
    WATCHING.store(true, Ordering::Relaxed);
    work();
    WATCHING.store(false, Ordering::Relaxed);
    LEAKS.load(Ordering::Relaxed)
}

/// Alice has a password that has expired, bob answers a question, carol has a key. `cat` says back what it reads.
struct Door(Programs);

impl Handler for Door {
    fn authenticate(&mut self, attempt: AuthAttempt) {
        match (attempt.user(), attempt.credential()) {
            ("alice", Credential::Password(p)) if p.expose() == PASSWORD.as_bytes() => {
                attempt.password_expired("a new one: ").unwrap();
            }
            ("alice", Credential::PasswordChange { new, .. }) if new.expose() == NEW.as_bytes() => {
                attempt.accept()
            }
            ("bob", Credential::KeyboardInteractive { .. }) => {
                let prompts = vec![("Answer: ".to_owned(), false)];
                attempt.challenge(Challenge { prompts, ..Challenge::default() }).unwrap();
            }
            ("bob", Credential::Answers(answers)) if answers[0].expose() == ANSWER.as_bytes() => {
                attempt.accept()
            }
            ("carol", Credential::PublicKey { .. }) => attempt.accept(),
            _ => attempt.reject(),
        }
    }

    fn key_probe(&mut self, probe: KeyProbe) {
        probe.would_do();
    }

    fn session(&mut self, session: Session) {
        self.0.start(session).unwrap();
    }
}

/// Not on the stack: what is left behind there gets into the padding of anything.
fn room() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(vec![0; 7000])
}

fn cat(mut channel: &Channel) -> io::Result<()> {
    let mut room = room();
    while let n @ 1.. = channel.read(&mut room)? {
        channel.write_all(&room[..n])?;
    }
    Ok(())
}

/// As much as goes through buffers of every size, the secret in it again and again.
fn talk(client: &Client) {
    static TYPED_OFTEN: [[u8; TYPED.len()]; 6000] = {
        let mut one = [0; TYPED.len()];
        one.copy_from_slice(TYPED.as_bytes());
        [one; 6000]
    };
    let typed = TYPED_OFTEN.as_flattened();
    for len in [TYPED.len(), 5000, typed.len()] {
        let input = &typed[..len];
        let mut output = client.exec_with(&Exec::new("cat").stdin(input)).unwrap();
        assert!(output.exit.success() && output.stdout == input);
        // What was given away is the application's to wipe.
        output.stdout.fill(0);
        let mut channel = client.session().unwrap();
        channel.exec("cat").unwrap();
        let mut writer = channel.clone();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                writer.write_all(input).unwrap();
                writer.send_eof().unwrap();
            });
            let (mut room, mut came) = (room(), 0);
            while let n @ 1.. = channel.read(&mut room).unwrap() {
                came += n;
            }
            assert_eq!(came, len);
        });
        let channel = client.session().unwrap();
        channel.exec("cat").unwrap();
        channel.clone().write_all(&input[..len.min(100_000)]).unwrap();
        channel.send_eof().unwrap();
        channel.copy_to(&mut io::sink()).unwrap();
        // What came and is read by nobody.
        let channel = client.session().unwrap();
        channel.exec("cat").unwrap();
        channel.clone().write_all(&input[..len.min(100_000)]).unwrap();
        channel.send_eof().unwrap();
        channel.wait().unwrap();
    }
}

#[test]
fn a14_freed_memory_holds_no_secret_of_a_session() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("key");
    let mut rng = Rng::from_seed(&Seed::new([3; 32]));
    let key = PrivateKey::generate(KeyType::ED25519, &mut rng).unwrap();
    std::fs::write(&file, key.to_openssh(Some((PASSPHRASE.as_bytes(), 1)), &mut rng).unwrap().as_bytes())
        .unwrap();
    // The watcher does find what is not wiped, in any thread.
    let found = leaks(|| std::thread::spawn(|| drop(PASSWORD.to_owned())).join().unwrap());
    assert_eq!(found, 1);
    PLACES.lock().unwrap().clear();
    let found = leaks(|| {
        let methods = [Method::Password, Method::KeyboardInteractive, Method::PublicKey];
        let options =
            ServerOptions::with_new_key().unwrap().methods(methods.into_iter().collect::<MethodSet>());
        let programs = Programs::new().command("cat", |call| u32::from(cat(&call.channel()).is_err()));
        let server =
            Server::listen("127.0.0.1:0", options, move |_: &Connection| Door(programs.clone())).unwrap();
        for user in ["alice", "bob", "carol"] {
            let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
            let client = Client::connect(server.local_addr(), options).unwrap();
            let auth = match user {
                "alice" => Auth::new().passwords(1, |prompt| match prompt {
                    konko::PasswordPrompt::NewPassword { .. } => Some(Password::new(NEW)),
                    _ => Some(Password::new(PASSWORD)),
                }),
                "bob" => Auth::new().interactive(1, |_| Some(vec![Password::new(ANSWER)])),
                _ => Auth::new().key_file_with(&file, |_| Some(Password::new(PASSPHRASE))),
            };
            client.login(user, auth).unwrap();
            talk(&client);
        }
        // A password that answers a question, and one that is wrong.
        let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
        let client = Client::connect(server.local_addr(), options).unwrap();
        assert!(client.login("alice", Auth::new().password(NEW)).is_err());
        drop(client);
        assert!(server.shutdown(Duration::from_secs(20)));
    });
    let places = PLACES.lock().unwrap();
    assert_eq!(found, 0, "{}", places.join("\n"));
}
