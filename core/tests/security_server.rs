//! What a server promises beside the layers' own rules. Each test carries its row of the security facts.

mod counting;

use std::time::Duration;

use counting::{Broken, VERIFIED};
use konko_core::TransportConfig;
use konko_core::error::Fault;
use konko_core::keys::{KeyType, SignatureAlgorithm};
use konko_core::msg;
use konko_core::transport::negotiate::{Policy, Role};
use konko_core::wire::{Sink, SshStr};
use konko_test::raw::rig::{server_config, transport};
use konko_test::raw::{PASSWORD, Rig, payload, provider, strings};
use konko_test::{key_of, rsa_key};

const WINDOW: u32 = 2 << 20;
const PACKET: u32 = 32 * 1024;

fn text(s: &str) -> SshStr<'_> {
    SshStr::new(s.as_bytes())
}

fn server() -> Rig {
    let mut rig = Rig::new(Role::Server);
    rig.login();
    rig
}

fn session(number: u32) -> Vec<u8> {
    payload(&msg::ChannelOpen::new(text("session"), number, WINDOW, PACKET, &[]))
}

fn global(name: &str, want_reply: bool) -> Vec<u8> {
    payload(&msg::GlobalRequest::new(text(name), want_reply, &[]))
}

#[test]
fn c28_no_session_follows_the_promise_of_no_more() {
    for want_reply in [false, true] {
        let mut rig = server();
        let number = rig.open(5, WINDOW, PACKET);
        rig.send(&global("no-more-sessions@openssh.com", want_reply));
        assert_eq!(rig.numbers(), if want_reply { vec![81] } else { vec![] });
        assert_eq!(rig.events_with("GlobalRequest"), 0, "there is nothing to decide");
        // The session that is there goes on, and so does everything else.
        rig.send(&payload(&msg::ChannelRequest::new(number, text("shell"), true, &[])));
        rig.expect(99);
        let mut to = strings(0, &[b"host"])[1..].to_vec();
        to.put_u32(22);
        to.put_string(b"127.0.0.1");
        to.put_u32(4000);
        rig.send(&payload(&msg::ChannelOpen::new(text("direct-tcpip"), 6, WINDOW, PACKET, &to)));
        rig.expect(91);
        rig.send(&session(7));
        rig.assert_fault(Fault::NoMoreSessions);
    }
    // To a client it is a request like any other: no session is opened there anyway.
    let mut rig = Rig::new(Role::Client);
    rig.login();
    rig.send(&global("no-more-sessions@openssh.com", true));
    rig.expect(82);
}

#[test]
fn c33_keepalive_of_a_channel_is_answered_by_the_core() {
    let mut rig = server();
    let number = rig.open(5, WINDOW, PACKET);
    rig.send(&payload(&msg::ChannelRequest::new(number, text("keepalive@openssh.com"), true, &[])));
    rig.expect(100);
    assert_eq!(rig.events_with("Request"), 0);
}

#[test]
fn k22_r20_weak_algorithms_and_compression_are_nobodys_first_choice() {
    let default = TransportConfig::new(provider()).algorithms;
    for name in default.kex.iter().map(|kex| kex.name()) {
        assert!(!name.ends_with("sha1") && !name.contains("group1-"), "{name}");
    }
    for policy in [Policy::Modern, Policy::Compat, Policy::LegacyDevice] {
        for way in policy.algorithms(true).compression {
            assert_eq!(way[0].name(), "none", "whoever wants it has to ask");
        }
    }
}

#[test]
fn as29_r07_a_verifier_that_fails_lets_nobody_in_and_runs_six_times_at_most() {
    let key = key_of(KeyType::ED25519, 9);
    let mut transport = transport(Policy::Modern);
    transport.provider = &Broken;
    let mut rig = Rig::server(server_config(transport));
    rig.app.keys = vec![key.public().clone()];
    rig.service();
    let id = rig.peer.session_id.clone();
    let mut tries = 0;
    while rig.error.is_none() {
        // It is right, which only a verifier can say.
        let request = rig.peer.key_request("alice", &key, SignatureAlgorithm::ED25519, &id);
        rig.send(&request);
        rig.wait(Duration::from_secs(1));
        tries += 1;
        assert!(tries <= 6);
    }
    rig.assert_fault(Fault::TooManyAuthAttempts);
    assert_eq!((rig.events_with("Auth(Signed {"), rig.events_with("Authenticated")), (0, 0));
    assert_eq!(VERIFIED.get(), 6);
}

#[test]
fn a7_no_signature_is_looked_at_before_the_key_may_be_used() {
    let known = key_of(KeyType::ED25519, 9);
    for unknown in [key_of(KeyType::ED25519, 10), key_of(KeyType::ECDSA_NISTP521, 11), rsa_key()] {
        let mut transport = transport(Policy::Modern);
        transport.provider = &Broken;
        let mut rig = Rig::server(server_config(transport));
        rig.app.keys = vec![known.public().clone()];
        rig.service();
        let id = rig.peer.session_id.clone();
        let before = VERIFIED.get();
        let algorithm = unknown.public().signature_algorithms()[0];
        let mut request = rig.peer.key_request("alice", &unknown, algorithm, &id);
        for round in 0..2 {
            rig.send(&request);
            rig.wait(Duration::from_secs(1));
            rig.expect(51);
            assert_eq!(VERIFIED.get(), before, "{algorithm} {round}");
            *request.last_mut().unwrap() ^= 1;
        }
        let request = rig.peer.key_request("alice", &known, SignatureAlgorithm::ED25519, &id);
        rig.send(&request);
        assert_eq!(VERIFIED.get(), before + 1, "after a yes");
    }
}

#[test]
fn r12_no_message_of_no_length_is_waited_for_in_a_loop() {
    // Requests, data and windows of nothing, a thousand each: each costs one step, and none an answer
    // that grows.
    let mut rig = server();
    let number = rig.open(5, WINDOW, PACKET);
    let before = rig.sent;
    for _ in 0..1000 {
        rig.send(&payload(&msg::ChannelData::new(number, &[])));
        rig.send(&payload(&msg::ChannelExtendedData::new(number, 1, &[])));
        rig.send(&payload(&msg::ChannelWindowAdjust::new(number, 0)));
        rig.send(&payload(&msg::ChannelRequest::new(number, text("x"), false, &[])));
        rig.send(&strings(2, &[b""]));
    }
    rig.assert_alive();
    assert_eq!(rig.sent, before);
}

#[test]
fn as30_who_is_in_is_who_proved_it_whatever_is_asked_later() {
    let mut rig = Rig::new(Role::Server);
    rig.service();
    let user = |rig: &mut Rig| rig.conn_server().user().map(|user| user.to_text());
    assert_eq!((user(&mut rig), rig.conn().is_authenticated()), (None, false));
    rig.refused(&Rig::password_request("alice", "wrong"));
    assert_eq!((user(&mut rig).as_deref(), rig.conn().is_authenticated()), (Some("alice"), false));
    rig.send(&Rig::password_request("alice", PASSWORD));
    rig.expect(52);
    for name in ["root", "alice"] {
        rig.send(&Rig::password_request(name, PASSWORD));
        rig.wait(Duration::from_millis(20));
        assert_eq!(rig.numbers(), [], "RFC 4252 §5.1: no answer after success");
        assert_eq!((user(&mut rig).as_deref(), rig.conn().is_authenticated()), (Some("alice"), true));
    }
}
