//! User authentication of our client against hostile servers. Each test carries its row of the
//! security facts (AC).

use std::sync::Arc;

use konko_core::Blocked;
use konko_core::client::{AuthRequest, Password};
use konko_core::error::{Fault, UsageError};
use konko_core::keys::{KeyPair, KeyType, SignatureAlgorithm, signature};
use konko_core::server::AuthDecision;
use konko_core::transport::negotiate::Role;
use konko_core::wire::{Reader, Sink};
use konko_test::raw::rig::Proof;
use konko_test::raw::*;
use konko_test::{key_of, rsa_key};

fn failure(methods: &str, partial: bool) -> Vec<u8> {
    let mut m = strings(51, &[methods.as_bytes()]);
    m.push(u8::from(partial));
    m
}

fn info_request(claimed: u32, real: u32) -> Vec<u8> {
    let mut m = strings(60, &[b"name", b"instruction", b""]);
    m.put_u32(claimed);
    for _ in 0..real {
        m.put_string(b"? ");
        m.put_bool(false);
    }
    m
}

/// A client that waits for what the test tells it.
fn client(proofs: Vec<Proof>) -> Rig {
    let mut rig = Rig::new(Role::Client);
    rig.app.proofs = proofs;
    rig.service();
    rig
}

fn user_key() -> Arc<KeyPair> {
    key_of(KeyType::ED25519, 9)
}

fn server() -> Rig {
    let mut rig = Rig::new(Role::Server);
    rig.service();
    rig
}

// ---- our client ----

#[test]
fn ac01_a_login_without_proof_is_called_trivial() {
    for (proof, trivial) in [(Proof::None, true), (Proof::Password, false), (Proof::Key(user_key()), false)] {
        let mut rig = client(vec![proof]);
        rig.expect(50);
        rig.send(&[52]);
        assert_eq!(rig.events_with(&format!("trivial: {trivial}")), 1, "{:?}", rig.events);
    }
    // Keyboard-interactive without a question, and a probe, prove nothing either.
    let mut rig = client(vec![Proof::Interactive]);
    rig.send(&info_request(0, 0));
    let ticket = rig.app.prompt_tickets.pop().unwrap();
    rig.conn_client().answer_prompts(ticket, &[""; 0]).unwrap();
    rig.send(&[52]);
    assert_eq!(rig.events_with("trivial: true"), 1);
    let mut rig = client(vec![Proof::Probe(user_key().public().clone())]);
    rig.send(&[52]);
    assert_eq!(rig.events_with("trivial: true"), 1);
}

#[test]
fn ac02_answers_come_to_one_request_each() {
    let answers = [failure("password", false), vec![52], strings(60, &[b"expired", b""])];
    for answer in &answers {
        // Nothing was asked.
        let mut rig = client(vec![]);
        rig.send(answer);
        rig.assert_fault(Fault::UnexpectedMessage);
        if answer[0] == 52 {
            continue;
        }
        // Twice for one request.
        let mut rig = client(vec![Proof::Password]);
        rig.send(answer);
        rig.assert_alive();
        rig.send(answer);
        rig.assert_fault(Fault::UnexpectedMessage);
    }
}

/// A server's slips that OpenSSH's client does not mind: nothing happens, and the session goes on.
#[test]
fn c7_what_comes_late_or_too_long_from_a_server_ends_nothing() {
    let late = [
        failure("password", false),
        failure("", true),
        vec![51],
        vec![52],
        vec![52, 1, 2, 3],
        strings(53, &[b"late banner", b""]),
        strings(60, &[b"expired", b""]),
        info_request(1, 1),
    ];
    for strict in [true, false] {
        for compressed in [false, true] {
            let mut rig = Rig::new(Role::Client);
            if !strict {
                rig.peer.offer = rig.peer.offer.lax();
                rig.peer.offer.cipher = ["aes128-ctr".into(), "aes128-ctr".into()];
            }
            if compressed {
                rig.peer.offer.compression = ["zlib@openssh.com".into(), "zlib@openssh.com".into()];
            }
            rig.login();
            let events = rig.events.len();
            for message in &late {
                rig.send(message);
                rig.assert_alive();
            }
            assert_eq!((rig.events.len(), rig.numbers()), (events, vec![]));
            rig.rekey();
            let (id, _) = rig.opened(3, 1 << 20, 1 << 15);
            assert_eq!(rig.app.channels, [id]);
        }
    }
}

/// Strict key exchange is as strict as it was: nothing of it is ignored before or inside an exchange.
#[test]
fn c7_nothing_late_is_let_into_a_key_exchange() {
    for message in [failure("password", false), vec![52], strings(53, &[b"late banner", b""])] {
        let mut rig = Rig::new(Role::Client);
        rig.login();
        rig.rekey_init();
        rig.send(&message);
        rig.assert_fault(Fault::UnexpectedMessage);
        let mut rig = Rig::new(Role::Client);
        rig.kexinit();
        rig.send(&message);
        assert!(rig.error.is_some());
    }
}

#[test]
fn c7_bytes_after_success_and_banner_are_not_looked_at() {
    for extra in [&[0][..], &[0; 9], b"\0\0\0\x05hello", &[0xff; 300]] {
        let mut rig = client(vec![Proof::Password]);
        rig.expect(50);
        rig.send(&[&strings(53, &[b"welcome", b"en"])[..], extra].concat());
        rig.send(&[&[52], extra].concat());
        rig.assert_alive();
        assert_eq!((rig.events_with("Banner"), rig.events_with("Authenticated")), (1, 1));
    }
    // FAILURE is as it has to be; OpenSSH's client never goes on after another.
    let mut rig = client(vec![Proof::Password]);
    rig.send(&[&failure("password", false)[..], &[0]].concat());
    rig.assert_fault(Fault::Malformed);
}

#[test]
fn c7_a_service_may_be_accepted_without_its_name() {
    for (accept, good) in [
        (vec![6], true),
        (strings(6, &[b""]), true),
        (strings(6, &[b"ssh-userauth"]), true),
        (strings(6, &[b"ssh-connection"]), false),
        (vec![6, 0, 0, 0, 1], false),
        (strings(6, &[b"ssh-userauth", b""]), false),
    ] {
        let mut rig = Rig::new(Role::Client);
        rig.handshake();
        rig.expect(5);
        rig.send(&accept);
        assert_eq!(rig.error.is_none(), good, "{accept:?}");
        assert_eq!(rig.events_with("Auth(Needed"), usize::from(good));
    }
}

#[test]
fn c2_an_empty_list_of_methods_says_nothing() {
    for (partial, list) in [(false, ""), (true, ""), (false, "password"), (true, "password,x")] {
        let mut rig = client(vec![Proof::None]);
        rig.send(&failure(list, partial));
        let said = if list.is_empty() { "None".to_owned() } else { format!("Some([{list}])") };
        let expected = format!("Auth(Needed {{ methods: {said}, partial_success: {partial} }})");
        assert_eq!(rig.events.last(), Some(&expected));
        // Whatever is tried next goes out.
        for proof in [Proof::Password, Proof::Interactive, Proof::Key(user_key())] {
            rig.peer.rx.clear();
            rig.assert_alive();
            let mut rig = client(vec![Proof::None, proof]);
            rig.expect(50);
            rig.send(&failure(list, partial));
            rig.expect(50);
        }
    }
}

#[test]
fn c9_a_new_password_that_is_refused_may_be_followed_by_another() {
    let mut rig = client(vec![Proof::Password]);
    rig.expect(50);
    let old = Password::new(PASSWORD);
    for (round, reason) in ["expired", "too short", "too old", "too well known"].iter().enumerate() {
        rig.send(&strings(60, &[reason.as_bytes(), b""]));
        rig.assert_alive();
        assert_eq!(rig.events_with("PasswordExpired"), round + 1);
        assert!(rig.events.last().unwrap().contains(reason), "{:?}", rig.events);
        let new = Password::new(format!("new {round}"));
        let change = AuthRequest::PasswordChange { old: &old, new: &new };
        rig.conn_client().authenticate("alice", change).unwrap();
        rig.run();
        let fields = [PASSWORD.as_bytes(), new.expose()];
        assert!(rig.expect(50).ends_with(&strings(1, &fields)));
    }
    rig.send(&[52]);
    assert_eq!(rig.events_with("trivial: false"), 1);
    // Another method may be tried instead.
    let mut rig = client(vec![Proof::Password]);
    rig.send(&strings(60, &[b"expired", b""]));
    rig.conn_client().authenticate("alice", AuthRequest::KeyboardInteractive).unwrap();
    rig.run();
    rig.assert_alive();

    // The server's side of it: each refusal says why, and neither lets anybody in nor counts as a failure.
    let mut rig = server();
    rig.app.hold_auth = true;
    rig.send(&Rig::password_request("alice", PASSWORD));
    for reason in ["expired", "too short", "too old", "4", "5", "6", "7"] {
        let ticket = rig.app.auth_tickets.pop().unwrap();
        let verdict = AuthDecision::PasswordExpired { prompt: reason.into() };
        rig.conn_server().decide_auth(ticket, verdict).unwrap();
        rig.run();
        assert_eq!(rig.expect(60), strings(60, &[reason.as_bytes(), b""]));
        let mut m = userauth("alice", "ssh-connection", "password");
        m.push(1);
        m.put_string(PASSWORD.as_bytes());
        m.put_string(b"new");
        rig.send(&m);
        rig.assert_alive();
    }
    let ticket = rig.app.auth_tickets.pop().unwrap();
    rig.conn_server().decide_auth(ticket, AuthDecision::Accept).unwrap();
    rig.run();
    rig.expect(52);
}

#[test]
fn ac03_message_60_means_what_was_asked() {
    let key = user_key();
    let pk_ok = strings(60, &[b"ssh-ed25519", &key.public().to_blob()]);
    let bodies = [pk_ok, strings(60, &[b"expired", b""]), info_request(1, 1)];
    let proofs = [Proof::Probe(key.public().clone()), Proof::Password, Proof::Interactive];
    let words = ["KeyAccepted", "PasswordExpired", "Prompts"];
    for (i, proof) in proofs.iter().enumerate() {
        for (j, body) in bodies.iter().enumerate() {
            let mut rig = client(vec![proof.clone()]);
            rig.send(body);
            // PK_OK and PASSWD_CHANGEREQ have the same shape: two strings.
            if i == j || (i == 1 && j == 0) {
                rig.assert_alive();
                assert_eq!(rig.events_with(words[i]), 1);
            } else {
                assert!(rig.error.is_some(), "{i} {j}");
                assert_eq!(rig.events_with(words[j]), 0);
            }
        }
    }
    for proof in [Proof::None, Proof::Key(key)] {
        let mut rig = client(vec![proof]);
        rig.send(&bodies[1]);
        rig.assert_fault(Fault::UnexpectedMessage);
    }
}

#[test]
fn ac04_pk_ok_is_for_the_key_that_was_asked_about() {
    let (key, rsa) = (user_key(), rsa_key());
    let other = key_of(KeyType::ED25519, 10);
    let changed = |key: &KeyPair| {
        let mut blob = key.public().to_blob();
        *blob.last_mut().unwrap() ^= 2;
        blob
    };
    for (asked, algorithm, blob) in [
        (&key, "ssh-ed25519", other.public().to_blob()),
        (&key, "ssh-ed25519", changed(&key)),
        (&key, "ssh-ed25519", vec![]),
        (&key, "ssh-rsa", key.public().to_blob()),
        (&key, "ssh-rsa", rsa.public().to_blob()),
        (&key, "", key.public().to_blob()),
        (&rsa, "ssh-rsa", changed(&rsa)),
        (&rsa, "rsa-sha2-512", changed(&rsa)),
        (&rsa, "ssh-rsa", key.public().to_blob()),
        (&rsa, "ssh-ed25519", rsa.public().to_blob()),
        (&rsa, "rsa-sha2-384", rsa.public().to_blob()),
        (&rsa, "ssh-rsa-cert-v01@openssh.com", rsa.public().to_blob()),
        (&rsa, "", rsa.public().to_blob()),
    ] {
        let mut rig = client(vec![Proof::Probe(asked.public().clone())]);
        rig.send(&strings(60, &[algorithm.as_bytes(), &blob]));
        rig.assert_fault(Fault::UnexpectedMessage);
        assert_eq!(rig.events_with("KeyAccepted"), 0);
    }
}

/// Every key kind, every name of it, and RSA's numbers with zeros too many; then the signature is made
/// with the algorithm that was asked about.
#[test]
fn c5_pk_ok_may_repeat_the_key_under_any_name_of_its_kind() {
    let curves = [KeyType::ECDSA_NISTP256, KeyType::ECDSA_NISTP384, KeyType::ECDSA_NISTP521]
        .map(|kind| key_of(kind, 9));
    for key in [user_key(), rsa_key()].iter().chain(&curves) {
        let own = key.public().to_blob();
        let mut blobs = vec![own];
        if key.public().key_type().name() == "ssh-rsa" {
            let mut fields = Reader::new(key.public().fields());
            let (e, n) = (fields.string().unwrap(), fields.string().unwrap());
            blobs.push(
                strings(0, &[b"ssh-rsa", &[&[0; 4], e].concat(), &[&[0; 7], n].concat()])[1..].to_vec(),
            );
        }
        for (name, blob) in key
            .public()
            .signature_algorithms()
            .iter()
            .flat_map(|algorithm| blobs.iter().map(move |b| (algorithm, b)))
        {
            let mut rig = client(vec![Proof::Probe(key.public().clone()), Proof::Key(key.clone())]);
            let asked = rig.expect(50);
            rig.send(&strings(60, &[name.name().as_bytes(), blob]));
            rig.assert_alive();
            assert_eq!(rig.events_with("KeyAccepted"), 1);
            let signed = rig.expect(50);
            // The probe up to its end, with the flag set: the same algorithm and blob.
            let flag = strings(50, &[b"alice", b"ssh-connection", b"publickey"]).len();
            assert_eq!(signed[..flag], asked[..flag]);
            assert_eq!(signed[flag + 1..asked.len()], asked[flag + 1..]);
            rig.send(&[52]);
            assert_eq!(rig.events_with("trivial: false"), 1);
        }
    }
}

/// Huawei's devices as hosts, hardware as users: read with the zeros, sent on without them. Nothing else
/// is a signature that was not.
#[test]
fn c6_zeros_before_the_numbers_of_an_ecdsa_signature() {
    for kind in [KeyType::ECDSA_NISTP256, KeyType::ECDSA_NISTP384, KeyType::ECDSA_NISTP521] {
        let key = key_of(kind, 9);
        let algorithm = kind.signature_algorithms()[0];
        for zeros in [[1, 0], [0, 1], [3, 5], [100, 1900], [2100, 0]] {
            let good = zeros[0] < 2048;
            // A user's key that signs elsewhere.
            let mut rig = client(vec![]);
            rig.conn_client()
                .authenticate("alice", AuthRequest::ExternalKey { key: key.public(), algorithm })
                .unwrap();
            rig.run();
            let ticket = rig.app.sign_tickets.pop().unwrap();
            let message = rig.conn_client().sign_request(&ticket).unwrap().message.to_vec();
            let blob = key.sign(algorithm, &message, &mut rig.peer.rng).unwrap();
            let result = rig.conn_client().provide_signature(ticket, &padded(&blob, zeros));
            assert_eq!(result.is_ok(), good, "{zeros:?}");
            rig.run();
            assert_eq!(rig.numbers().is_empty(), !good);
            let other = padded(&key.sign(algorithm, b"something else", &mut rig.peer.rng).unwrap(), zeros);
            assert!(signature::verify(provider(), key.public(), algorithm, &message, &other).is_err());
            // A host.
            let mut rig = Rig::new(Role::Client);
            rig.peer.host_key = key.clone();
            rig.peer.offer.host_key = algorithm.name().into();
            rig.peer.host_zeros = zeros;
            rig.app.accept_host = None;
            rig.kexinit().method();
            assert_eq!((rig.error.is_none(), rig.app.host_tickets.len()), (good, usize::from(good)));
            // Our server.
            let mut rig = server();
            rig.app.keys.push(key.public().clone());
            let id = rig.peer.session_id.clone();
            let request = rig.peer.key_request("alice", &key, algorithm, &id);
            let at = blob_at(&request);
            let (head, blob) = request.split_at(at);
            let mut long = head.to_vec();
            long.put_string(&padded(&blob[4..], zeros));
            if good {
                rig.send(&long);
                rig.expect(52);
            } else {
                rig.refused(&long);
            }
        }
    }
}

/// Where a publickey request's signature begins, with its length.
fn blob_at(request: &[u8]) -> usize {
    let mut r = Reader::new(&request[1..]);
    for _ in 0..3 {
        r.string().unwrap();
    }
    r.u8().unwrap();
    for _ in 0..2 {
        r.string().unwrap();
    }
    request.len() - r.rest().len()
}

#[test]
fn ac05_the_count_of_prompts_is_the_count_of_prompts() {
    for (claimed, real) in [(u32::MAX, 0), (65, 65), (3, 2), (1, 2), (64, 63)] {
        let mut rig = client(vec![Proof::Interactive]);
        rig.send(&info_request(claimed, real));
        rig.assert_fault(Fault::Malformed);
    }
    for n in [0, 1, 64] {
        let mut rig = client(vec![Proof::Interactive]);
        rig.expect(50);
        rig.send(&info_request(n, n));
        let ticket = rig.app.prompt_tickets.pop().unwrap();
        let answers = vec!["x"; n as usize];
        let c = rig.conn_client();
        c.answer_prompts(ticket, &answers).unwrap();
        rig.run();
        assert_eq!(rig.expect(61)[1..5], n.to_be_bytes());
    }
}

#[test]
fn ac05_a_wrong_number_of_answers_leaves_the_question_open_only_for_its_ticket() {
    let mut rig = client(vec![Proof::Interactive]);
    rig.send(&info_request(2, 2));
    let ticket = rig.app.prompt_tickets.pop().unwrap();
    assert_eq!(rig.conn_client().answer_prompts(ticket, &["one"]), Err(UsageError::AnswerCount));
    rig.assert_alive();
}

#[test]
fn ac06_an_endless_server_ends_at_64_attempts() {
    for partial in [false, true] {
        let mut rig = client(vec![]);
        let mut sent = 0;
        let password = Password::new("guess");
        let error = loop {
            match rig.conn_client().authenticate("alice", AuthRequest::Password(&password)) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
            rig.run();
            rig.send(&failure("password,publickey", partial));
        };
        assert_eq!((sent, error), (64, UsageError::TooManyAttempts));
    }
}

#[test]
fn ac07_banners_are_bounded_and_their_text_is_tame() {
    let mut rig = client(vec![]);
    rig.send(&strings(53, &[b"\x1b]0;owned\x07 \xe2\x80\xae \x9b31m", b"\x1b[0m"]));
    assert!(rig.events[2..].iter().any(|e| e.contains("Banner")));
    assert!(rig.events.iter().all(|e| e.bytes().all(|b| (0x20..0x7f).contains(&b))), "{:?}", rig.events);
    for _ in 0..15 {
        rig.send(&strings(53, &[b"more", b""]));
    }
    rig.assert_alive();
    rig.send(&strings(53, &[b"more", b""]));
    rig.assert_fault(Fault::TooMuchBeforeAuth);
    let mut rig = client(vec![]);
    rig.send(&strings(53, &[&[b'x'; 64 * 1024 + 1], b""]));
    rig.assert_fault(Fault::TooMuchBeforeAuth);
}

#[test]
fn ac08_s25_rsa_keys_sign_with_sha2_or_not_at_all() {
    let key = rsa_key();
    for list in
        [None, Some("ssh-rsa"), Some("rsa-sha2-256"), Some("ssh-ed25519"), Some("rsa-sha2-512,ssh-rsa")]
    {
        let mut rig = Rig::new(Role::Client);
        rig.app.proofs.clear();
        rig.handshake();
        if let Some(list) = list {
            let mut ext = vec![7, 0, 0, 0, 1];
            ext.put_string(b"server-sig-algs");
            ext.put_string(list.as_bytes());
            rig.send(&ext);
        }
        rig.send(&strings(6, &[b"ssh-userauth"]));
        let algs = rig.conn_client().signature_algorithms(key.public());
        let expected: &[SignatureAlgorithm] = match list {
            Some("rsa-sha2-256") => &[SignatureAlgorithm::RSA_SHA256],
            Some("rsa-sha2-512,ssh-rsa") => &[SignatureAlgorithm::RSA_SHA512],
            // Nothing in common (OpenSSH sshconnect2.c `key_sig_algorithm`).
            Some(_) => &[],
            None => &[SignatureAlgorithm::RSA_SHA512, SignatureAlgorithm::RSA_SHA256],
        };
        assert_eq!(algs, expected, "{list:?}");
        let sha1 = AuthRequest::PublicKey { key: &key, algorithm: SignatureAlgorithm::RSA_SHA1 };
        assert_eq!(rig.conn_client().authenticate("alice", sha1), Err(UsageError::KeyMismatch));
    }
}

#[test]
fn ac09_ac10_a_signature_from_outside_is_checked_before_it_leaves() {
    let key = user_key();
    let other = key_of(KeyType::ED25519, 10);
    type Damage = fn(&mut Vec<u8>);
    let damages: [Damage; 6] = [
        |s| s.clear(),
        |s| s.truncate(s.len() - 1),
        |s| s.push(0),
        |s| *s.last_mut().unwrap() ^= 1,
        |s| s[5] ^= 1,
        |s| s[20] ^= 0x80,
    ];
    for (damage, signer) in damages.iter().map(|d| (Some(d), &key)).chain([(None, &other), (None, &key)]) {
        let mut rig = client(vec![]);
        let external = AuthRequest::ExternalKey { key: key.public(), algorithm: SignatureAlgorithm::ED25519 };
        rig.conn_client().authenticate("alice", external).unwrap();
        rig.run();
        assert_eq!(rig.blocked, Some(Blocked::Decision));
        let ticket = rig.app.sign_tickets.pop().unwrap();
        let message = rig.conn_client().sign_request(&ticket).unwrap().message.to_vec();
        let mut blob = signer.sign(SignatureAlgorithm::ED25519, &message, &mut rig.peer.rng).unwrap();
        if let Some(damage) = damage {
            damage(&mut blob);
        }
        let good = damage.is_none() && Arc::ptr_eq(signer, &key);
        let result = rig.conn_client().provide_signature(ticket, &blob);
        assert_eq!(result, if good { Ok(()) } else { Err(UsageError::KeyMismatch) });
        rig.run();
        assert_eq!(rig.numbers().contains(&50), good);
        if !good {
            // The next attempt is free to go.
            rig.conn_client().authenticate("alice", AuthRequest::None).unwrap();
        }
    }
}

#[test]
fn ac11_short_passwords_look_alike_on_the_wire() {
    let length = |password: &str| {
        let mut rig = client(vec![]);
        rig.collect();
        let before = rig.sent;
        let password = Password::new(password);
        rig.conn_client().authenticate("alice", AuthRequest::Password(&password)).unwrap();
        rig.collect();
        rig.sent - before
    };
    let empty = length("");
    for n in 0..=48 {
        assert_eq!(length(&"x".repeat(n)), empty, "{n}");
    }
}

#[test]
fn ac12_a_password_is_changed_only_by_the_application() {
    let mut rig = client(vec![Proof::Password]);
    rig.expect(50);
    rig.send(&strings(60, &[b"too old", b""]));
    assert_eq!(rig.events_with("PasswordExpired"), 1);
    assert_eq!(rig.numbers(), []);
    let (old, new) = (Password::new("old"), Password::new("new"));
    let change = AuthRequest::PasswordChange { old: &old, new: &new };
    rig.conn_client().authenticate("alice", change).unwrap();
    rig.run();
    let m = rig.expect(50);
    assert!(m.ends_with(&[&[1][..], &strings(0, &[b"old", b"new"])[1..]].concat()));
    // And a server sees a change as a change.
    let mut rig = server();
    let mut m = userauth("alice", "ssh-connection", "password");
    m.push(1);
    m.put_string(PASSWORD.as_bytes());
    m.put_string(b"new");
    rig.refused(&m);
    assert_eq!(rig.events_with("PasswordChange"), 1);
}

#[test]
fn ac13_messages_of_a_client_do_not_reach_a_client() {
    for number in [50, 61] {
        for place in 0..3 {
            let mut rig = if place < 2 {
                client(if place == 0 { vec![] } else { vec![Proof::Interactive] })
            } else {
                let mut rig = Rig::new(Role::Client);
                rig.login();
                rig
            };
            rig.send(&strings(number, &[b"alice", b"ssh-connection", b"none"]));
            rig.assert_fault(Fault::UnexpectedMessage);
        }
    }
}

#[test]
fn ac14_a_user_name_with_nul_never_leaves() {
    let mut rig = client(vec![]);
    assert_eq!(rig.conn_client().authenticate("a\0b", AuthRequest::None), Err(UsageError::InvalidText));
    assert_eq!(
        rig.conn_client().authenticate("a".repeat(1025), AuthRequest::None),
        Err(UsageError::InvalidText)
    );
    rig.run();
    assert_eq!(rig.numbers(), []);
}
