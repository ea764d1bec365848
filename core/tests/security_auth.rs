//! User authentication of our server against hostile clients. Each test carries its row of the
//! security facts (AS).

#[path = "security_auth/keys.rs"]
mod keys;

use std::sync::Arc;
use std::time::Duration;

use konko_core::auth::{Method, MethodSet};
use konko_core::error::{Error, Fault, Phase, TimerKind};
use konko_core::keys::{KeyPair, KeyType, SignatureAlgorithm};
use konko_core::msg;
use konko_core::server::{AuthDecision, Challenge};
use konko_core::transport::negotiate::{Policy, Role};
use konko_core::wire::{Sink, SshStr};
use konko_core::{Blocked, UsageError};
use konko_test::key_of;
use konko_test::raw::rig::{server_config, transport};
use konko_test::raw::*;

fn failure(methods: &str, partial: bool) -> Vec<u8> {
    let mut m = strings(51, &[methods.as_bytes()]);
    m.push(u8::from(partial));
    m
}

fn info_response(claimed: u32, answers: &[&str]) -> Vec<u8> {
    let mut m = vec![61];
    m.put_u32(claimed);
    answers.iter().for_each(|a| m.put_string(a.as_bytes()));
    m
}

fn kbdint(user: &str) -> Vec<u8> {
    strings(50, &[user.as_bytes(), b"ssh-connection", b"keyboard-interactive", b"", b""])
}

fn server() -> Rig {
    let mut rig = Rig::new(Role::Server);
    rig.service();
    rig
}

/// A server whose application knows `key`.
fn server_for(key: &KeyPair) -> Rig {
    let mut rig = server();
    rig.app.keys.push(key.public().clone());
    rig
}

fn user_key() -> Arc<KeyPair> {
    key_of(KeyType::ED25519, 9)
}

// ---- our server: state ----

#[test]
fn as01_messages_of_a_server_do_not_reach_a_server() {
    for number in [6, 51, 52, 53, 60] {
        for place in 0..3 {
            let mut rig = Rig::new(Role::Server);
            match place {
                0 => rig.handshake(),
                1 => rig.service(),
                _ => rig.login(),
            };
            rig.send(&strings(number, &[b"password"]));
            rig.assert_fault(Fault::UnexpectedMessage);
            assert_eq!(rig.events_with("Authenticated"), usize::from(place == 2));
        }
    }
}

#[test]
fn as02_the_connection_protocol_is_out_of_reach_before_authentication() {
    let open = payload(&msg::ChannelOpen::new(SshStr::new(b"session"), 0, 1 << 20, 1 << 15, &[]));
    let exec = payload(&msg::ChannelRequest::new(0, SshStr::new(b"exec"), true, &[0, 0, 0, 2, b'i', b'd']));
    let global = payload(&msg::GlobalRequest::new(SshStr::new(b"tcpip-forward"), true, &[]));
    for message in [open, exec, global] {
        for place in 0..6 {
            let mut rig = Rig::new(Role::Server);
            match place {
                0 => rig.peer.send_ident(),
                1 => {
                    rig.kexinit();
                }
                2 => {
                    rig.kexinit().method();
                }
                3 => {
                    rig.handshake();
                }
                4 => {
                    rig.service();
                }
                _ => {
                    // While the application thinks about the password.
                    rig.app.hold_auth = true;
                    rig.service();
                    rig.send(&Rig::password_request("alice", PASSWORD));
                    assert_eq!(rig.blocked, Some(Blocked::Decision));
                    rig.send(&message);
                    rig.assert_alive();
                    let ticket = rig.app.auth_tickets.pop().unwrap();
                    rig.conn_server().decide_auth(ticket, AuthDecision::Reject).unwrap();
                    rig.wait(Duration::from_millis(20));
                }
            }
            if place < 5 {
                rig.send(&message);
            }
            rig.assert_fault(Fault::UnexpectedMessage);
            assert_eq!(rig.events_with("Open") + rig.events_with("Request") + rig.events_with("Channel"), 0);
        }
    }
}

#[test]
fn as03_services_come_in_order_and_by_name() {
    let mut rig = Rig::new(Role::Server);
    rig.handshake();
    rig.send(&Rig::password_request("alice", PASSWORD));
    rig.assert_fault(Fault::UnexpectedMessage);
    for service in ["ssh-connection", "", "ssh-userauth\0", "ssh-userauth@x"] {
        let mut rig = Rig::new(Role::Server);
        rig.handshake();
        rig.send(&strings(5, &[service.as_bytes()]));
        rig.assert_fault(Fault::ServiceNotAvailable);
    }
    let mut rig = server();
    rig.send(&strings(5, &[b"ssh-connection"]));
    rig.assert_fault(Fault::ServiceNotAvailable);
    let mut rig = server();
    let mut wrong = strings(50, &[b"alice", b"ssh-admin", b"password"]);
    wrong.push(0);
    wrong.put_string(PASSWORD.as_bytes());
    rig.refused(&wrong);
    assert_eq!(rig.events_with("Auth(Attempt {"), 0);
}

/// Paramiko asks for the service again before each method. That changes nothing.
#[test]
fn as03_the_service_may_be_asked_for_again() {
    let key = user_key();
    let again = strings(5, &[b"ssh-userauth"]);
    let mut rig = server_for(&key);
    rig.app.partial = Some(MethodSet::EMPTY.with(Method::Password));
    let id = rig.peer.session_id.clone();
    let signed = rig.peer.key_request("alice", &key, SignatureAlgorithm::ED25519, &id);
    rig.send(&signed);
    assert_eq!(rig.expect(51), failure("password", true));
    rig.send(&again);
    assert_eq!(rig.expect(6), strings(6, &[b"ssh-userauth"]));
    rig.assert_alive();
    // What was proven still counts, and the user is still the one who proved it.
    rig.send(&Rig::password_request("alice", PASSWORD));
    rig.expect(52);
    // Nor is anything open to others after it, and nobody gets answers for ever.
    let mut rig = server();
    for _ in 0..transport(Policy::Modern).limits.auth_requests {
        rig.send(&again);
        rig.expect(6);
    }
    rig.send(&again);
    rig.assert_fault(Fault::TooManyAuthAttempts);
    let mut rig = Rig::new(Role::Server);
    rig.login();
    rig.send(&again);
    rig.assert_fault(Fault::UnexpectedMessage);
}

#[test]
fn as04_as23_the_user_does_not_change_on_the_way() {
    let key = user_key();
    let mut rig = server_for(&key);
    rig.app.partial = Some(MethodSet::EMPTY.with(Method::Password));
    let id = rig.peer.session_id.clone();
    let signed = rig.peer.key_request("alice", &key, SignatureAlgorithm::ED25519, &id);
    rig.send(&signed);
    assert_eq!(rig.expect(51), failure("password", true));
    rig.send(&Rig::password_request("bob", PASSWORD));
    rig.assert_fault(Fault::PrincipalChanged);
    assert_eq!(rig.events_with("Authenticated"), 0);
    // Without a change, the second factor lets alice in, and nobody else.
    let mut rig = server_for(&key);
    rig.app.partial = Some(MethodSet::EMPTY.with(Method::Password));
    let id = rig.peer.session_id.clone();
    let signed = rig.peer.key_request("alice", &key, SignatureAlgorithm::ED25519, &id);
    rig.send(&signed);
    rig.expect(51);
    rig.send(&Rig::password_request("alice", PASSWORD));
    rig.expect(52);
    assert_eq!(rig.conn_server().user().unwrap().as_bytes(), b"alice");
}

// ---- our server: counting ----

#[test]
fn as15_attempts_are_counted_whatever_they_are() {
    type Make = fn(usize) -> Vec<u8>;
    let makes: [(&str, Make); 4] = [
        ("passwords", |_| Rig::password_request("alice", "wrong")),
        ("unknown methods", |n| userauth("alice", "ssh-connection", &format!("x{n}"))),
        ("mixed", |n| {
            if n % 2 == 0 {
                userauth("alice", "ssh-connection", "x")
            } else {
                Rig::password_request("alice", "")
            }
        }),
        ("none", |_| userauth("alice", "ssh-connection", "none")),
    ];
    for (what, make) in makes {
        let mut rig = server();
        let mut tries = 0;
        while rig.error.is_none() {
            rig.send(&make(tries));
            rig.wait(Duration::from_secs(1));
            tries += 1;
            assert!(tries <= 7, "{what}");
        }
        // The first `none` is free.
        assert_eq!(tries, if what == "none" { 7 } else { 6 }, "{what}");
        rig.assert_fault(Fault::TooManyAuthAttempts);
    }
}

#[test]
fn as15_failed_answers_and_partial_successes_have_an_end() {
    let mut rig = server();
    let mut tries = 0;
    while rig.error.is_none() {
        rig.send(&kbdint("alice"));
        if rig.error.is_none() {
            rig.expect(60);
            rig.send(&info_response(2, &["no", "no"]));
            rig.wait(Duration::from_secs(1));
            rig.peer.rx.len();
            tries += 1;
        }
        if rig.error.is_none() {
            rig.expect(51);
        }
    }
    assert_eq!(tries, 6);
    rig.assert_fault(Fault::TooManyAuthAttempts);
    let mut rig = server();
    let mut partial = 0;
    while rig.error.is_none() {
        rig.app.partial = Some(MethodSet::EMPTY.with(Method::Password));
        rig.send(&Rig::password_request("alice", PASSWORD));
        partial += 1;
        assert!(partial < 200);
    }
    assert_eq!(partial, 129);
    rig.assert_fault(Fault::TooManyAuthAttempts);
}

#[test]
fn as16_answers_come_once_and_in_the_number_that_was_asked() {
    for (claimed, answers) in [(u32::MAX, 0), (2, 1), (2, 3)] {
        let mut rig = server();
        rig.send(&kbdint("alice"));
        rig.expect(60);
        rig.send(&info_response(claimed, &vec!["x"; answers]));
        assert!(rig.error.is_some(), "{claimed} {answers}");
        assert_eq!(rig.events_with("Answers"), 0);
    }
    // Well formed, but not as many as were asked for: a failure (RFC 4256 §3.4).
    for n in [0, 1, 3] {
        let mut rig = server();
        rig.send(&kbdint("alice"));
        rig.expect(60);
        rig.refused(&info_response(n, &vec!["x"; n as usize]));
        assert_eq!(rig.events_with("Answers"), 0);
    }
    // None outstanding; a second one; one that a new request cancelled.
    let mut rig = server();
    rig.send(&info_response(2, &["a", "b"]));
    rig.assert_fault(Fault::UnexpectedMessage);
    let mut rig = server();
    rig.send(&kbdint("alice"));
    rig.expect(60);
    rig.refused(&info_response(2, &["a", "b"]));
    rig.send(&info_response(2, &["a", "b"]));
    rig.assert_fault(Fault::UnexpectedMessage);
    let mut rig = server();
    rig.send(&kbdint("alice"));
    rig.expect(60);
    rig.refused(&Rig::password_request("alice", "wrong"));
    rig.send(&info_response(2, &[PASSWORD, PASSWORD]));
    rig.assert_fault(Fault::UnexpectedMessage);
}

#[test]
fn as17_as26_only_an_explicit_yes_to_an_offered_method_lets_anybody_in() {
    let mut config = server_config(transport(Policy::Modern));
    config.methods = MethodSet::EMPTY.with(Method::PublicKey);
    let mut rig = Rig::server(config);
    rig.service();
    rig.refused(&Rig::password_request("alice", PASSWORD));
    rig.refused(&kbdint("alice"));
    assert_eq!(rig.events_with("Auth(Attempt {"), 0);
    rig.send(&userauth("alice", "ssh-connection", "none"));
    rig.wait(Duration::from_millis(20));
    assert_eq!(rig.expect(51), failure("publickey", false));
    // A ticket that is dropped is no yes.
    let mut rig = server();
    rig.app.hold_auth = true;
    rig.send(&Rig::password_request("alice", PASSWORD));
    rig.app.auth_tickets.clear();
    rig.wait(Duration::from_secs(121));
    assert_eq!(rig.error, Some(Error::Timeout(TimerKind::LoginGrace, Phase::Authentication)));
    assert_eq!(rig.events_with("Authenticated"), 0);
}

#[test]
fn what_is_rejected_without_a_question_is_told_with_its_reason() {
    let key = user_key();
    let blob = key.public().to_blob();
    let cases: [(Vec<u8>, &str); 5] = [
        (userauth("alice", "ssh-connection", "hostbased"), "Rejected(Method)"),
        (Rig::password_request("alice", &"x".repeat(1025)), "Rejected(PasswordLength)"),
        (publickey("alice", false, "ssh-rsa-cert-v01@openssh.com", &blob), "Rejected(Algorithm)"),
        (publickey("alice", false, "rsa-sha2-256", &blob), "Rejected(Key)"),
        (Rig::password_request("al\0ice", PASSWORD), "Rejected(UserName)"),
    ];
    for (message, why) in cases {
        let mut rig = server();
        rig.refused(&message);
        assert_eq!(rig.events_with("Auth(Outcome("), 1, "{why}");
        assert_eq!(rig.events_with(why), 1, "{why}");
    }
}

#[test]
fn a_verdict_that_does_not_fit_is_a_rejection_at_once() {
    let challenge = |prompts: usize| {
        let prompts = vec![("Name: ".to_owned(), true); prompts];
        AuthDecision::Challenge(Challenge { prompts, ..Challenge::default() })
    };
    let expired = || AuthDecision::PasswordExpired { prompt: "Change it".into() };
    let password = Rig::password_request("alice", PASSWORD);
    for (attempt, verdict, why) in [
        (&password, challenge(1), UsageError::DecisionMismatch),
        (&kbdint("alice"), expired(), UsageError::DecisionMismatch),
        (&kbdint("alice"), challenge(65), UsageError::AnswerCount),
    ] {
        let mut rig = server();
        rig.app.hold_auth = true;
        rig.send(attempt);
        let ticket = rig.app.auth_tickets.pop().unwrap();
        assert_eq!(rig.conn_server().decide_auth(ticket, verdict), Err(why));
        rig.wait(Duration::from_millis(20));
        assert_eq!(rig.expect(51), failure("password,publickey,keyboard-interactive", false), "{why}");
        assert_eq!(rig.events_with("Authenticated"), 0);
    }
}

#[test]
fn as18_long_passwords_do_not_reach_the_application_and_blank_ones_do() {
    let mut rig = server();
    rig.refused(&Rig::password_request("alice", &"x".repeat(1025)));
    assert_eq!(rig.events_with("Auth(Attempt {"), 0);
    rig.refused(&Rig::password_request("alice", &"x".repeat(1024)));
    rig.refused(&Rig::password_request("alice", ""));
    assert_eq!(rig.events_with("Auth(Attempt {"), 2);
}

#[test]
fn as19_a_truncated_request_says_nothing_about_the_user() {
    let key = user_key();
    let mut rig = server_for(&key);
    let id = rig.peer.session_id.clone();
    let signed = rig.peer.key_request("alice", &key, SignatureAlgorithm::ED25519, &id);
    let requests = |user: &str| {
        let mut signed = signed.clone();
        signed[5..10].copy_from_slice(user.as_bytes());
        [Rig::password_request(user, "x"), kbdint(user), signed]
    };
    let outcome = |m: &[u8]| {
        let mut rig = server();
        rig.app.keys.push(key.public().clone());
        rig.send(m);
        rig.wait(Duration::from_millis(20));
        (rig.error.is_some(), rig.messages())
    };
    for (known, unknown) in requests("alice").iter().zip(requests("carol")) {
        for cut in 1..known.len() {
            assert_eq!(outcome(&known[..cut]), outcome(&unknown[..cut]), "{cut}");
        }
    }
}

#[test]
fn as20_every_refusal_takes_the_same_time() {
    // The clock of the reply, whatever the reason; the decision itself takes no time here. Those that
    // do are in `auth_order`.
    let key = user_key();
    let reply_after = |m: &[u8]| {
        let mut rig = server();
        rig.send(m);
        let from = rig.now;
        while rig.peer.next().is_none() {
            let (at, _) = rig.deadline().unwrap();
            rig.now = at;
            rig.poll();
            rig.collect();
            rig.assert_alive();
        }
        rig.now.since(from)
    };
    let mut signed =
        Rig::new(Role::Server).peer.key_request("alice", &key, SignatureAlgorithm::ED25519, &[1; 32]);
    signed.truncate(signed.len());
    let first = reply_after(&Rig::password_request("alice", "wrong"));
    assert!(first >= Duration::from_millis(5) && first < Duration::from_millis(10), "{first:?}");
    for m in [
        userauth("alice", "ssh-connection", "gssapi-with-mic"),
        publickey("alice", false, "ssh-dss", b""),
        publickey("alice", false, "ssh-ed25519", &key.public().to_blob()),
        signed,
        Rig::password_request("alice", &"x".repeat(2000)),
    ] {
        assert_eq!(reply_after(&m), first);
    }
}

#[test]
fn as21_the_16th_probe_ends_it() {
    let key = user_key();
    let mut rig = server_for(&key);
    for _ in 0..15 {
        rig.send(&publickey("alice", false, "ssh-ed25519", &key.public().to_blob()));
        rig.expect(60);
    }
    rig.send(&publickey("alice", false, "ssh-ed25519", &key.public().to_blob()));
    rig.assert_fault(Fault::TooManyAuthAttempts);
}

#[test]
fn as22_requests_after_success_are_ignored() {
    let mut rig = Rig::new(Role::Server);
    rig.login();
    let events = rig.events.len();
    rig.send(&Rig::password_request("root", PASSWORD));
    rig.send(&userauth("root", "ssh-connection", "none"));
    rig.wait(Duration::from_millis(50));
    rig.assert_alive();
    assert_eq!((rig.events.len(), rig.numbers()), (events, vec![]));
    assert_eq!(rig.conn_server().user().unwrap().as_bytes(), b"alice");
    rig.send(&info_response(0, &[]));
    rig.send(&info_response(1, &[PASSWORD]));
    rig.wait(Duration::from_millis(50));
    rig.assert_alive();
    assert_eq!((rig.events.len(), rig.numbers()), (events, vec![]));
}

#[test]
fn v31_user_names_with_nul_or_bad_text_fail_like_any_other() {
    for user in [&b"ali\0ce"[..], b"\xff\xfe", b""] {
        let mut rig = server();
        let mut m = strings(50, &[user, b"ssh-connection", b"password"]);
        m.push(0);
        m.put_string(PASSWORD.as_bytes());
        rig.send(&m);
        rig.wait(Duration::from_millis(20));
        let heard = rig.events_with("Auth(Attempt {");
        assert_eq!(heard, usize::from(user.is_empty()), "{user:?}");
        if heard == 0 {
            rig.expect(51);
        }
    }
}

#[test]
fn r01_the_login_grace_time_is_absolute() {
    for chatty in [false, true] {
        let mut rig = server();
        let start = rig.now;
        while rig.error.is_none() {
            if chatty {
                rig.peer.send(&[2, 0, 0, 0, 0]);
                rig.run();
            }
            assert_eq!(rig.error, None);
            assert!(rig.now.since(start) < Duration::from_secs(120));
            rig.wait(Duration::from_millis(500));
        }
        assert_eq!(rig.error, Some(Error::Timeout(TimerKind::LoginGrace, Phase::Authentication)));
        assert_eq!(rig.now.since(start), Duration::from_secs(120));
    }
}
