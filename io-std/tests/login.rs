//! Logging in to servers with their own ideas of authentication.
#![cfg(feature = "server")]

mod odd_server;
#[allow(dead_code)]
mod support;

use std::sync::{Arc, Mutex};

use konko::core::client::Password;
use konko::core::crypto::HashAlgorithm;
use konko::core::keys::{KeyPair, KeyType, PublicKey, SignatureAlgorithm};
use konko::core::wire::Reader;
use konko::{Auth, Client, ClientOptions, ErrorKind, HostKeys, Outcome, PasswordPrompt};
use odd_server::{OddServer, RawPeer, failure, key_of, rsa_key, serve, serve_as, strings};

fn connect(addr: std::net::SocketAddr) -> Client {
    Client::connect(addr, ClientOptions::new().host_keys(HostKeys::insecure_accept_any())).unwrap()
}

/// Everything that a client can try, in OpenSSH's order, after `first`.
fn everything(first: Auth<'static>) -> Auth<'static> {
    first
        .key(key_of(KeyType::ED25519, 9))
        .interactive(1, |q| Some(q.questions.iter().map(|_| Password::new("hush")).collect()))
        .password("wonderland")
}

/// As the `ssh2` of npm: `reject()` sends no list, unless it is given one.
fn rejects_all_but(method: &'static str, list: &'static str) -> impl Fn(&mut OddServer) {
    move |server| loop {
        let (asked, fields) = server.request();
        match &*asked {
            "publickey" if asked == method && fields[0] == 0 => {
                let mut r = Reader::new(&fields[1..]);
                let both = [r.string().unwrap(), r.string().unwrap()];
                server.send(&[strings(60, &both)]);
            }
            "keyboard-interactive" if asked == method => {
                let mut m = strings(60, &[b"", b"", b""]);
                m.extend([0, 0, 0, 1, 0, 0, 0, 2, b'?', b' ', 0]);
                server.send(&[m]);
                while server.next()[0] != 61 {}
                return server.let_in();
            }
            _ if asked == method => return server.let_in(),
            _ => server.send(&[failure(list)]),
        }
    }
}

fn outcomes(attempts: &[konko::Attempt]) -> Vec<(&'static str, Outcome)> {
    attempts.iter().map(|a| (a.method.name(), a.outcome.clone())).collect()
}

#[test]
fn c2_what_the_user_gave_is_tried_though_the_server_names_no_method() {
    let methods = ["publickey", "keyboard-interactive", "password"];
    for (place, method) in methods.into_iter().enumerate() {
        for (none, first) in [(0, Auth::new()), (1, Auth::new().none())] {
            let client = connect(serve(rejects_all_but(method, "")));
            let login = client.login("alice", everything(first)).unwrap();
            let before = ["none"].iter().take(none).chain(&methods[..place]);
            let expected = before.map(|m| (*m, Outcome::Rejected)).chain([(method, Outcome::Accepted)]);
            assert_eq!(outcomes(&login.attempts), expected.collect::<Vec<_>>());
        }
    }
    // Nothing helps: each was tried once, and nobody claims to know what the server takes.
    let client = connect(serve(rejects_all_but("hostbased", "")));
    let error = client.login("alice", everything(Auth::new())).unwrap_err();
    let ErrorKind::Auth(failure) = error.kind() else { panic!("{error}") };
    assert_eq!(outcomes(&failure.attempts), methods.map(|m| (m, Outcome::Rejected)));
    assert!(failure.remaining.is_empty() && !error.to_string().contains("takes"), "{error}");
}

#[test]
fn c2_a_password_alone_is_also_an_answer_where_the_server_names_no_method() {
    let login = connect(serve(rejects_all_but("keyboard-interactive", "")))
        .login("alice", Auth::new().password("hush"));
    let tried = outcomes(&login.unwrap().attempts);
    assert_eq!(tried, [("password", Outcome::Rejected), ("password", Outcome::Accepted)]);
    // Where the server names its methods, it is sent in one way only.
    let error = connect(serve(rejects_all_but("hostbased", "password,keyboard-interactive")))
        .login("alice", Auth::new().password("hush"))
        .unwrap_err();
    let ErrorKind::Auth(failure) = error.kind() else { panic!("{error}") };
    assert_eq!(outcomes(&failure.attempts), [("password", Outcome::Rejected)]);
}

#[test]
fn c2_the_last_list_counts_and_an_empty_one_is_none() {
    // What the server says to each request, and what is asked for in the end.
    let stories: [(&[&str], &[&str]); 4] = [
        (&["publickey", "", ""], &["none", "publickey", "keyboard-interactive", "password"]),
        (&["", "password", "password"], &["none", "publickey", "password"]),
        (&["password", "", ""], &["none", "password", "publickey", "keyboard-interactive"]),
        (&["hostbased", "", ""], &["none"]),
    ];
    for (lists, expected) in stories {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let addr = serve(move |server| {
            for list in lists.iter().chain(std::iter::repeat(&"")) {
                let (method, _) = server.request();
                log.lock().unwrap().push(method);
                server.send(&[failure(list)]);
            }
        });
        connect(addr).login("alice", everything(Auth::new().none())).unwrap_err();
        assert_eq!(*asked.lock().unwrap(), expected);
    }
}

#[test]
fn c5_a_key_elsewhere_signs_though_pk_ok_names_another_algorithm_of_its_kind() {
    let keys: [Arc<KeyPair>; 3] =
        [rsa_key(), key_of(KeyType::ED25519, 9), key_of(KeyType::ECDSA_NISTP384, 9)];
    for (key, names) in keys.iter().map(|key| (key, key.public().signature_algorithms())) {
        for name in names.iter().map(|algorithm| algorithm.name()) {
            let addr = serve(move |server| {
                loop {
                    let (method, fields) = server.request();
                    let mut r = Reader::new(&fields[1..]);
                    match &*method {
                        "publickey" if fields[0] == 0 => {
                            let blob = (r.string().unwrap(), r.string().unwrap()).1;
                            server.send(&[strings(60, &[name.as_bytes(), blob])]);
                        }
                        "publickey" => {
                            // It was signed with what was asked about, which is never SHA-1.
                            assert_ne!(r.string().unwrap(), SignatureAlgorithm::RSA_SHA1.name().as_bytes());
                            return server.let_in();
                        }
                        _ => server.send(&[failure("publickey")]),
                    }
                }
            });
            let signer = Arc::clone(key);
            let auth = Auth::new().external(key.public().clone(), move |request| {
                let seed = konko::core::Seed::new([1; 32]);
                signer.sign(request.algorithm, request.message, &mut konko::core::Rng::from_seed(&seed)).ok()
            });
            let login = connect(addr).login("alice", auth).unwrap();
            assert_eq!((login.method.name(), login.trivial), ("publickey", false));
        }
    }
}

#[test]
fn c7_slips_of_a_server_around_success_end_nothing() {
    let addr = serve(|server| {
        // Without the name of the service.
        while server.next()[0] != 5 {}
        server.send(&[vec![6]]);
        server.request();
        server.send(&[
            strings(53, &[b"welcome", b""]),
            vec![52, 0, 0, 0],
            failure("password"),
            vec![52],
            failure(""),
        ]);
        let open = loop {
            let message = server.next();
            if message[0] == 90 {
                break message;
            }
        };
        let mut r = Reader::new(&open[1..]);
        r.string().unwrap();
        let sender = r.u32().unwrap();
        let mut refusal = vec![92];
        refusal.extend(sender.to_be_bytes());
        refusal.extend(1u32.to_be_bytes());
        refusal.extend_from_slice(&strings(0, &[b"not here", b""])[1..]);
        server.send(&[failure("publickey"), refusal]);
    });
    let client = connect(addr);
    client.login("alice", Auth::new().key(key_of(KeyType::ED25519, 9))).unwrap();
    let error = client.session().unwrap_err();
    assert!(error.to_string().contains("not here"), "the server answered: {error}");
}

/// An RSA key's blob with zeros before its numbers.
fn with_zeros(key: &PublicKey) -> Vec<u8> {
    let mut fields = Reader::new(key.fields());
    let (e, n) = (fields.string().unwrap(), fields.string().unwrap());
    strings(0, &[b"ssh-rsa", &[&[0; 3], e].concat(), &[&[0; 5], n].concat()])[1..].to_vec()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let bits = three.iter().chain([0, 0].iter()).take(3).fold(0, |n, b| n << 8 | usize::from(*b));
        let letter = |i: usize| char::from(LETTERS[bits >> (18 - 6 * i) & 63]);
        (0..4).map(|i| if i <= three.len() { letter(i) } else { '=' }).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

/// Pins, known_hosts and revoked keys go by the key, whichever of the two is spelt in the other way.
#[test]
fn a1_a_host_is_known_by_its_key_however_that_is_spelt() {
    let key = rsa_key().public().clone();
    let blobs = [key.to_blob(), with_zeros(&key)];
    let folder = tempfile::tempdir().unwrap();
    let files = |text: &str| {
        let path = folder.path().join("known_hosts");
        std::fs::write(&path, text).unwrap();
        HostKeys::known_hosts().user_files([path]).global_files([""; 0])
    };
    for shown in blobs.clone() {
        let make = move |peer: &mut RawPeer| {
            peer.host_key = rsa_key();
            peer.offer.host_key = "rsa-sha2-512".into();
            peer.host_blob = Some(shown.clone());
        };
        let addr = serve_as(make, |server| {
            while server.next()[0] != 5 {}
            server.send(&[strings(6, &[b"ssh-userauth"])]);
        });
        let refused = |keys: HostKeys| {
            let error = Client::connect(addr, ClientOptions::new().host_keys(keys)).err()?;
            assert!(matches!(error.kind(), ErrorKind::HostKey(_)), "{error}");
            Some(error.to_string())
        };
        assert_eq!(refused(HostKeys::pinned(key.fingerprint(HashAlgorithm::Sha256).to_string())), None);
        assert_eq!(refused(HostKeys::pinned_keys([key.clone()])), None);
        for known in &blobs {
            assert_eq!(refused(HostKeys::pinned_keys([PublicKey::from_blob(known).unwrap()])), None);
            let line = format!("* ssh-rsa {}\n", base64(known));
            assert_eq!(refused(files(&line).into()), None);
            let revoked = format!("* ssh-rsa {}\n@revoked {line}", base64(&key.to_blob()));
            assert!(refused(files(&revoked).into()).unwrap().contains("REVOKED"));
        }
        // What is learnt is the key's own encoding.
        assert_eq!(refused(files("").accept_new().into()), None);
        let learnt = std::fs::read_to_string(folder.path().join("known_hosts")).unwrap();
        assert!(learnt.trim_end().ends_with(&key.to_openssh_line("")), "{learnt}");
    }
}

/// What was asked for, and what the user said.
fn changes(
    user_says: &'static [Option<&'static str>],
) -> (Result<konko::LoggedIn, konko::Error>, Vec<String>) {
    let mut asked = Vec::new();
    let mut answers = user_says.iter();
    let auth = Auth::new().passwords(2, |prompt| {
        asked.push(match prompt {
            PasswordPrompt::Password { attempt, .. } => format!("password {attempt}"),
            PasswordPrompt::NewPassword { text } => text.to_owned(),
            other => panic!("{other:?}"),
        });
        answers.next().copied().flatten().map(Password::new)
    });
    let login = connect(support::serve()).login("erin", auth);
    (login, asked)
}

#[test]
fn c9_the_reason_is_shown_and_another_new_password_is_asked_for() {
    let (login, asked) = changes(&[Some("old"), Some("short"), Some("longer"), Some("long enough now")]);
    let expected =
        ["password 1", "it has expired", "5 are too few: at least 12", "6 are too few: at least 12"];
    assert_eq!(asked, expected);
    let login = login.unwrap();
    assert_eq!(outcomes(&login.attempts).last(), Some(&("password", Outcome::Accepted)));
    assert!(!login.trivial);
}

#[test]
fn c9_whoever_gives_up_is_told_the_last_reason() {
    for (says, reason) in [
        (&[Some("old"), None][..], "the password has expired: it has expired"),
        (&[Some("old"), Some("short"), None], "the new password was refused: 5 are too few: at least 12"),
    ] {
        let (login, _) = changes(says);
        let error = login.unwrap_err();
        let ErrorKind::Auth(failure) = error.kind() else { panic!("{error}") };
        let skipped =
            outcomes(&failure.attempts).into_iter().any(|(_, o)| o == Outcome::Skipped(reason.into()));
        assert!(skipped, "{error}");
    }
}

#[test]
fn c9_the_same_bad_password_for_ever_has_an_end() {
    let auth = Auth::new().passwords(1, |prompt| match prompt {
        PasswordPrompt::Password { .. } => Some(Password::new("old")),
        _ => Some(Password::new("short")),
    });
    let error = connect(support::serve()).login("erin", auth).unwrap_err();
    assert!(error.to_string().contains("the new password was refused: 5 are too few"), "{error}");
}

#[test]
fn s26_s32_a_server_that_does_not_say_what_it_takes_gets_the_first_of_ours_and_a_notice() {
    let key = rsa_key();
    let notices = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&notices);
    let options = ClientOptions::new()
        .host_keys(HostKeys::insecure_accept_any())
        .on_notice(move |notice| seen.lock().unwrap().push(notice.to_string()));
    let client = Client::connect(serve(rejects_all_but("none", "publickey")), options).unwrap();
    let error = client.login("alice", Auth::new().key(key)).unwrap_err();
    let ErrorKind::Auth(failure) = error.kind() else { panic!("{error}") };
    assert_eq!(failure.attempts[0].algorithm, Some(SignatureAlgorithm::RSA_SHA512));
    assert!(failure.attempts[0].guessed);
    let said = notices.lock().unwrap().join("\n");
    assert!(
        said.contains("(rsa-sha2-512, a guess: the server does not say what it takes): rejected"),
        "{said}"
    );
    // Who wants SHA-1 for such servers says so by the list, and has nothing else then.
    let mut algorithms = konko::Policy::Compat.algorithms(false);
    algorithms.user_key = vec![SignatureAlgorithm::RSA_SHA1];
    let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any()).algorithms(algorithms);
    let client = Client::connect(serve(rejects_all_but("none", "publickey")), options).unwrap();
    let error = client.login("alice", Auth::new().key(rsa_key())).unwrap_err();
    let ErrorKind::Auth(failure) = error.kind() else { panic!("{error}") };
    assert_eq!(failure.attempts[0].algorithm, Some(SignatureAlgorithm::RSA_SHA1));
}
