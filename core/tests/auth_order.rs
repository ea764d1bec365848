//! In which order a server looks at what strangers send, what it costs, and when it answers.

use std::time::{Duration, Instant};

use konko_core::error::TimerKind;
use konko_core::keys::{KeyPair, KeyType, SignatureAlgorithm};
use konko_core::server::AuthDecision;
use konko_core::transport::negotiate::Policy;
use konko_core::wire::Sink;
use konko_core::{Decision, ServerConfig, UsageError};
use konko_test::raw::rig::{server_config, transport};
use konko_test::raw::*;
use konko_test::{key_of, rsa_key};

const METHODS: &[u8] = b"password,publickey,keyboard-interactive";

fn config() -> ServerConfig {
    let mut transport = transport(Policy::Modern);
    transport.limits.auth_tries = 10_000;
    transport.limits.auth_requests = 10_000;
    server_config(transport)
}

fn server() -> Rig {
    let mut rig = Rig::server(config());
    rig.service();
    rig
}

/// How long the answer takes, when the application answers all at once.
fn answer(rig: &mut Rig, request: &[u8]) -> (Vec<u8>, Duration) {
    let from = rig.now;
    rig.send(request);
    loop {
        if let Some(message) = rig.peer.next() {
            return (message, rig.now.since(from));
        }
        let (at, kind) = rig.deadline().unwrap();
        assert_eq!(kind, TimerKind::AuthDelay);
        rig.now = at;
        rig.poll();
        rig.collect();
        rig.assert_alive();
    }
}

// ---- the order ----

#[test]
fn a7_a_yes_to_a_probe_lets_nobody_in() {
    let key = key_of(KeyType::ED25519, 9);
    let blob = key.public().to_blob();
    let mut rig = server();
    rig.app.hold_probes = true;
    rig.app.hold_auth = true;
    // Without a signature, with one over another session, with rubbish for one.
    rig.send(&publickey("alice", false, "ssh-ed25519", &blob));
    let ticket = rig.app.probe_tickets.pop().unwrap();
    rig.conn_server().decide_probe(ticket, Decision::Accept).unwrap();
    rig.run().expect(60);
    let mut rubbish = publickey("alice", true, "ssh-ed25519", &blob);
    rubbish.put_string(b"rubbish");
    for request in [rig.peer.key_request("alice", &key, SignatureAlgorithm::ED25519, &[7; 32]), rubbish] {
        rig.send(&request);
        let ticket = rig.app.probe_tickets.pop().unwrap();
        rig.conn_server().decide_probe(ticket, Decision::Accept).unwrap();
        rig.run().wait(Duration::from_millis(20));
        rig.expect(51);
    }
    assert_eq!(rig.events_with("Rejected(Signature)"), 2);
    assert_eq!(rig.events_with("Auth(Signed") + rig.events_with("Authenticated"), 0);
    // The right one is asked about again, and only that answer lets in.
    let id = rig.peer.session_id.clone();
    let request = rig.peer.key_request("alice", &key, SignatureAlgorithm::ED25519, &id);
    rig.send(&request);
    let ticket = rig.app.probe_tickets.pop().unwrap();
    rig.conn_server().decide_probe(ticket, Decision::Accept).unwrap();
    rig.run();
    assert_eq!((rig.events_with("Auth(Signed {"), rig.events_with("Authenticated")), (1, 0));
    let shown = format!("{:?}", key.public());
    assert!(rig.events.iter().any(|e| e.starts_with("Auth(Signed {") && e.contains(&shown)));
    assert!(rig.messages().is_empty(), "no answer yet");
    let ticket = rig.app.auth_tickets.pop().unwrap();
    rig.conn_server().decide_auth(ticket, AuthDecision::Accept).unwrap();
    rig.run().expect(52);
}

#[test]
fn a7_an_answer_to_a_probe_that_is_over_changes_nothing() {
    let key = key_of(KeyType::ED25519, 9);
    let mut rig = server();
    rig.app.hold_probes = true;
    let id = rig.peer.session_id.clone();
    let request = rig.peer.key_request("alice", &key, SignatureAlgorithm::ED25519, &id);
    rig.send(&request);
    let held = rig.app.probe_tickets.pop().unwrap();
    rig.conn_server().decide_probe(held, Decision::Reject).unwrap();
    rig.wait(Duration::from_millis(20));
    rig.expect(51);
    rig.send(&request);
    // Tickets of another connection have the same numbers; one of before has not.
    let mut other = server();
    other.app.hold_probes = true;
    let id = other.peer.session_id.clone();
    let request = other.peer.key_request("alice", &key, SignatureAlgorithm::ED25519, &id);
    other.send(&request);
    let stale = other.app.probe_tickets.pop().unwrap();
    assert_eq!(rig.conn_server().decide_probe(stale, Decision::Accept), Err(UsageError::StaleTicket));
    assert_eq!(rig.events_with("Auth(Signed") + rig.events_with("Authenticated"), 0);
}

#[test]
fn a7_an_unknown_key_is_refused_alike_whether_its_signature_is_right_or_wrong() {
    for key in [key_of(KeyType::ED25519, 9), key_of(KeyType::ECDSA_NISTP384, 9), rsa_key()] {
        let algorithm = key.public().signature_algorithms()[0];
        let mut rig = server();
        let id = rig.peer.session_id.clone();
        let right = rig.peer.key_request("alice", &key, algorithm, &id);
        let mut wrong = right.clone();
        *wrong.last_mut().unwrap() ^= 1;
        let probe = publickey("alice", false, algorithm.name(), &key.public().to_blob());
        let first = answer(&mut rig, &right);
        let mut failure = strings(51, &[METHODS]);
        failure.push(0);
        assert_eq!(first.0, failure);
        for request in [&wrong, &probe] {
            assert_eq!(answer(&mut rig, request), first, "{algorithm}");
        }
        // And as a known key with a wrong signature, when looking at it takes no time.
        rig.app.keys.push(key.public().clone());
        assert_eq!(answer(&mut rig, &wrong), first, "{algorithm}");
    }
}

#[test]
fn a7_a_policy_says_how_large_a_key_may_be() {
    let rsa = |bits: usize, e: &[u8]| {
        let mut n = vec![0xff; bits / 8];
        n[0] = 0x80;
        let mut blob = strings(0, &[b"ssh-rsa"])[1..].to_vec();
        blob.put_mpint(e);
        blob.put_mpint(&n);
        blob
    };
    let (common, large) = ([1, 0, 1], [0xff, 0xff, 0xff, 0xff]);
    for (bits, exponent, allowed) in [
        (16_384, 32, [true, true, true, true]),
        (4096, 32, [true, true, false, false]),
        (16_384, 17, [true, false, true, false]),
        (4096, 17, [true, false, false, false]),
        (2048, 2, [false, false, false, false]),
    ] {
        let mut config = config();
        let transport = std::sync::Arc::make_mut(&mut config.transport);
        (transport.limits.rsa_bits_max, transport.limits.rsa_exponent_bits) = (bits, exponent);
        let mut rig = Rig::server(config);
        rig.service();
        let keys = [rsa(4096, &common), rsa(4096, &large), rsa(16_384, &common), rsa(16_384, &large)];
        for (blob, allowed) in keys.iter().zip(allowed) {
            let asked = rig.events_with("Auth(Probe {");
            answer(&mut rig, &publickey("alice", false, "rsa-sha2-256", blob));
            assert_eq!(rig.events_with("Auth(Probe {") > asked, allowed, "{bits} {exponent}");
        }
    }
}

/// With a debug build of the core; the cryptography is optimised. Deciding takes no time here, and the
/// waiting is none.
#[test]
fn a7_a_request_with_an_unknown_key_takes_two_milliseconds_at_most() {
    let mut requests = Vec::new();
    let mut rsa = strings(0, &[b"ssh-rsa"])[1..].to_vec();
    rsa.put_mpint(&[0xff, 0xff, 0xff, 0xff]);
    rsa.put_mpint(&[0xff; 2048]);
    let of = |kind| key_of(kind, 9).public().to_blob();
    for (algorithm, blob, signature) in [
        ("rsa-sha2-512", rsa.clone(), 2048),
        ("rsa-sha2-256", rsa, 2048),
        ("ssh-ed25519", of(KeyType::ED25519), 64),
        ("ecdsa-sha2-nistp256", of(KeyType::ECDSA_NISTP256), 72),
        ("ecdsa-sha2-nistp384", of(KeyType::ECDSA_NISTP384), 104),
        ("ecdsa-sha2-nistp521", of(KeyType::ECDSA_NISTP521), 140),
    ] {
        requests.push((algorithm, publickey("alice", false, algorithm, &blob)));
        let mut inner = Vec::new();
        inner.put_string(algorithm.as_bytes());
        inner.put_string(&vec![0x7f; signature]);
        let mut signed = publickey("alice", true, algorithm, &blob);
        signed.put_string(&inner);
        requests.push((algorithm, signed));
    }
    for (algorithm, request) in &requests {
        let mut rig = server();
        let mut took = Vec::new();
        for _ in 0..7 {
            rig.peer.send(request);
            let bytes = std::mem::take(&mut rig.peer.tx);
            let start = Instant::now();
            rig.feed(&bytes);
            took.push(start.elapsed());
            rig.wait(Duration::from_millis(20));
            rig.expect(51);
        }
        // The least: others use this machine too.
        let least = took.iter().min().unwrap();
        assert!(*least <= Duration::from_millis(2), "{algorithm}: {took:?}");
    }
}

// ---- the outcome ----

#[test]
fn c23_every_attempt_and_its_outcome_is_one_event() {
    let key = key_of(KeyType::ED25519, 9);
    let mut config = config();
    std::sync::Arc::make_mut(&mut config.transport).limits.auth_tries = 6;
    let mut rig = Rig::server(config);
    rig.service();
    let outcome = |rig: &Rig, from: usize| -> Vec<String> {
        rig.events[from..].iter().filter(|e| e.starts_with("Auth(Outcome(")).cloned().collect()
    };
    let id = rig.peer.session_id.clone();
    let signed = rig.peer.key_request("alice", &key, SignatureAlgorithm::ED25519, &id);
    let mut forged = signed.clone();
    *forged.last_mut().unwrap() ^= 1;
    let probe = publickey("alice", false, "ssh-ed25519", &key.public().to_blob());
    let none = strings(50, &[b"alice", b"ssh-connection", b"none"]);
    for (known, request, result, counted) in [
        (false, &none, "Rejected(Decision)", false),
        (false, &probe, "Rejected(Decision)", true),
        (false, &signed, "Rejected(Decision)", true),
        (true, &forged, "Rejected(Signature)", true),
        (false, &Rig::password_request("alice", "wrong"), "Rejected(Decision)", true),
        (false, &publickey("alice", false, "ssh-dss", b""), "Rejected(Algorithm)", true),
    ] {
        rig.app.keys = if known { vec![key.public().clone()] } else { Vec::new() };
        let from = rig.events.len();
        answer(&mut rig, request);
        let told = outcome(&rig, from);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(result) && told[0].contains(&format!("counted: {counted}")), "{told:?}");
    }
    // The sixth ends the connection, and is told before.
    let from = rig.events.len();
    rig.send(&Rig::password_request("alice", "wrong"));
    assert_eq!(outcome(&rig, from).len(), 1);
    rig.assert_fault(konko_core::error::Fault::TooManyAuthAttempts);
    // A yes to a probe is no outcome; success is one, and comes before the user is in.
    let mut rig = server();
    rig.app.keys = vec![key.public().clone()];
    answer(&mut rig, &probe);
    assert_eq!(outcome(&rig, 0).len(), 0);
    let id = rig.peer.session_id.clone();
    let signed = rig.peer.key_request("alice", &key, SignatureAlgorithm::ED25519, &id);
    answer(&mut rig, &signed);
    let last: Vec<_> = rig.events.iter().rev().take(2).collect();
    assert!(
        last[1].contains("result: Accepted")
            && last[0] == "Authenticated { method: PublicKey, trivial: false }",
        "{last:?}"
    );
}

// ---- the time ----

/// OpenSSH auth2.c `ensure_minimum_time_since`: from the request's arrival to the answer, doubled until
/// it is long enough. The rig looks at no clock while the application decides.
#[test]
fn a8_as20_however_long_a_decision_takes_the_answer_comes_at_a_power_of_two_of_the_delay() {
    let key = key_of(KeyType::ED25519, 9);
    let mut quick = server();
    let least = answer(&mut quick, &Rig::password_request("alice", "wrong")).1;
    assert!(least >= Duration::from_millis(5) && least < Duration::from_millis(10), "{least:?}");
    let kbdint = strings(50, &[b"alice", b"ssh-connection", b"keyboard-interactive", b"", b""]);
    for micros in (0..100_000).step_by(1777).chain([least.as_micros() as u64, 2 * least.as_micros() as u64]) {
        let took = Duration::from_micros(micros);
        for what in ["password", "probe", "signed", "known key", "interactive"] {
            let mut rig = server();
            (rig.app.hold_auth, rig.app.hold_probes) = (true, what != "known key");
            if what == "known key" {
                rig.app.keys.push(key.public().clone());
            }
            let id = rig.peer.session_id.clone();
            let request = match what {
                "password" => Rig::password_request("alice", "wrong"),
                "probe" => publickey("alice", false, "ssh-ed25519", &key.public().to_blob()),
                "interactive" => kbdint.clone(),
                _ => rig.peer.key_request("alice", &key, SignatureAlgorithm::ED25519, &id),
            };
            let from = rig.now;
            rig.send(&request);
            rig.now = from + took;
            match (rig.app.probe_tickets.pop(), rig.app.auth_tickets.pop()) {
                (Some(ticket), None) => rig.conn_server().decide_probe(ticket, Decision::Reject).unwrap(),
                (None, Some(ticket)) => rig.conn_server().decide_auth(ticket, AuthDecision::Reject).unwrap(),
                other => panic!("{what}: {other:?}"),
            }
            rig.poll();
            rig.collect();
            let mut message = rig.peer.next();
            while message.is_none() {
                rig.now = rig.deadline().unwrap().0;
                rig.poll();
                rig.collect();
                message = rig.peer.next();
            }
            let mut right = least;
            while right < took {
                right *= 2;
            }
            assert_eq!(rig.now.since(from), right, "{what} that took {took:?}, least {least:?}");
        }
    }
}

/// Polls in between, at any time, change nothing.
#[test]
fn a8_as20_polls_while_the_application_decides_change_nothing() {
    for (polls, took) in [(3, 33), (30, 33), (100, 2), (5, 60)] {
        let mut times = Vec::new();
        for polls in [0, polls] {
            let mut rig = server();
            rig.app.hold_auth = true;
            let from = rig.now;
            rig.send(&Rig::password_request("alice", "wrong"));
            for i in 0..polls {
                rig.now = from + Duration::from_millis(took) * i / polls;
                rig.poll();
            }
            rig.now = from + Duration::from_millis(took);
            let ticket = rig.app.auth_tickets.pop().unwrap();
            rig.conn_server().decide_auth(ticket, AuthDecision::Reject).unwrap();
            rig.wait(Duration::from_millis(0));
            while rig.peer.next().is_none() {
                rig.now = rig.now + Duration::from_micros(10);
                rig.poll();
                rig.collect();
            }
            times.push(rig.now.since(from).as_micros() / 10);
        }
        assert_eq!(times[0], times[1]);
    }
}

#[test]
fn a8_as20_the_delay_of_a_user_is_the_same_in_every_connection_of_a_server() {
    let ask = |config: &ServerConfig, seed: u8, user: &str| {
        let mut rig = Rig::seeded(config.clone(), seed);
        rig.service();
        answer(&mut rig, &Rig::password_request(user, "wrong")).1
    };
    let first = config();
    let names = ["alice", "bob", "root", "nobody", ""];
    let of_first: Vec<_> = names.iter().map(|user| ask(&first, 2, user)).collect();
    for seed in 3..6 {
        // Also of one that was started anew with the same key.
        for config in [&first, &config()] {
            let again: Vec<_> = names.iter().map(|user| ask(config, seed, user)).collect();
            assert_eq!(again, of_first);
        }
    }
    let distinct: std::collections::BTreeSet<_> = of_first.iter().collect();
    assert!(distinct.len() > 3, "it depends on the name: {of_first:?}");
    // Another host key is another secret; keys of each kind give one, and one that lasts.
    let with = |key: &std::sync::Arc<KeyPair>| {
        let transport = transport(Policy::Modern);
        ServerConfig::new(transport, vec![key.clone()]).methods(first.methods)
    };
    let secret = |config: &ServerConfig| ask(config, 2, "alice");
    let mut seen = vec![secret(&first)];
    for key in [key_of(KeyType::ED25519, 8), key_of(KeyType::ECDSA_NISTP256, 8), rsa_key()] {
        let mut config = with(&key);
        assert!(config.delay_secret.is_some());
        let secret_of_key = config.delay_secret.clone();
        let again = with(&key).delay_secret;
        // The rig speaks with an Ed25519 host key.
        config = first.clone().delay_secret(secret_of_key);
        let delay = secret(&config);
        assert_eq!(secret(&first.clone().delay_secret(again)), delay);
        assert!(!seen.contains(&delay));
        seen.push(delay);
    }
}
