//! Requests that are bound to the server's host key (`publickey-hostbound-v00@openssh.com`, OpenSSH PROTOCOL §3.1), in
//! both roles, and what binds an agent to a session.

use std::sync::Arc;

use konko_core::client::AuthRequest;
use konko_core::keys::{KeyPair, KeyType, SignatureAlgorithm, signature};
use konko_core::transport::negotiate::Role;
use konko_core::wire::{Reader, Sink};
use konko_test::raw::rig::Proof;
use konko_test::raw::*;
use konko_test::{host_key, key_of};

const PLAIN: &[u8] = b"publickey";
const HOSTBOUND: &[u8] = b"publickey-hostbound-v00@openssh.com";
const ED25519: SignatureAlgorithm = SignatureAlgorithm::ED25519;

fn user_key() -> Arc<KeyPair> {
    key_of(KeyType::ED25519, 9)
}

fn ext_info(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut m = vec![7, 0, 0, 0, 1];
    m.put_string(name);
    m.put_string(value);
    m
}

/// A client whose server announces this.
fn client(proofs: Vec<Proof>, ext: &[u8]) -> Rig {
    let mut rig = Rig::new(Role::Client);
    rig.app.proofs = proofs;
    rig.handshake();
    rig.send(ext);
    rig.expect(5);
    rig.send(&strings(6, &[b"ssh-userauth"]));
    rig
}

/// Method, and the host key in a publickey request of `user_key`; its signature is right.
fn seen(rig: &mut Rig, request: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut r = Reader::new(&request[1..]);
    let [_user, _service, method] = [(); 3].map(|()| r.string().unwrap());
    let signed = r.bool().unwrap();
    let [_algorithm, _blob] = [(); 2].map(|()| r.string().unwrap());
    let host = (method == HOSTBOUND).then(|| r.string().unwrap().to_vec());
    if signed {
        let mut message = Vec::new();
        let id = rig.conn().session_id().unwrap().as_bytes().to_vec();
        message.put_string(&id);
        message.extend(&request[..request.len() - r.rest().len()]);
        let blob = r.string().unwrap();
        signature::verify(provider(), user_key().public(), ED25519, &message, blob).unwrap();
    }
    r.end().unwrap();
    (method.to_vec(), host)
}

#[test]
fn a_client_binds_what_it_signs_where_the_server_takes_it() {
    let announced = ext_info(b"publickey-hostbound@openssh.com", b"0");
    let bound = |ext: &[u8], external: bool| {
        let proof = if external { vec![] } else { vec![Proof::Key(user_key())] };
        let mut rig = client(proof, ext);
        if external {
            let key = user_key();
            let request = AuthRequest::ExternalKey { key: key.public(), algorithm: ED25519 };
            rig.conn_client().authenticate("alice", request).unwrap();
            rig.run();
            let ticket = rig.app.sign_tickets.pop().unwrap();
            let message = rig.conn_client().sign_request(&ticket).unwrap().message.to_vec();
            let blob = key.sign(ED25519, &message, &mut rig.peer.rng).unwrap();
            rig.conn_client().provide_signature(ticket, &blob).unwrap();
            rig.run();
        }
        let request = rig.expect(50);
        seen(&mut rig, &request)
    };
    for external in [false, true] {
        let host = Some(host_key().public().to_blob());
        assert_eq!(bound(&announced, external), (HOSTBOUND.to_vec(), host));
        let other = ext_info(b"publickey-hostbound@openssh.com", b"1");
        assert_eq!(bound(&other, external), (PLAIN.to_vec(), None), "a version that we do not have");
        assert_eq!(bound(&ext_info(b"x", b"0"), external), (PLAIN.to_vec(), None));
    }
    // The question whether a key would do is not bound (OpenSSH sshconnect2.c `send_pubkey_test`).
    let key = user_key().public().clone();
    let mut rig = client(vec![Proof::Probe(key)], &announced);
    let request = rig.expect(50);
    assert_eq!(seen(&mut rig, &request), (PLAIN.to_vec(), None));
}

/// A request to the server of the rig that is bound to this host key, and signed.
fn request(rig: &mut Rig, host: &[u8], signed: bool) -> Vec<u8> {
    let key = user_key();
    let mut m = userauth("alice", "ssh-connection", "publickey-hostbound-v00@openssh.com");
    m.put_bool(signed);
    m.put_string(b"ssh-ed25519");
    m.put_string(&key.public().to_blob());
    m.put_string(host);
    if signed {
        let mut message = Vec::new();
        let id = rig.conn().session_id().unwrap().as_bytes().to_vec();
        message.put_string(&id);
        message.extend(&m);
        m.put_string(&key.sign(ED25519, &message, &mut rig.peer.rng).unwrap());
    }
    m
}

fn server() -> Rig {
    let mut rig = Rig::new(Role::Server);
    rig.service();
    rig.app.keys.push(user_key().public().clone());
    rig
}

#[test]
fn a_server_takes_what_is_bound_to_its_own_host_key() {
    let ours = host_key().public().to_blob();
    let mut rig = server();
    let asked = request(&mut rig, &ours, false);
    rig.send(&asked);
    rig.expect(60);
    let signed = request(&mut rig, &ours, true);
    rig.send(&signed);
    rig.expect(52);
    // For another host, with a signature that is right.
    for other in [key_of(KeyType::ED25519, 8).public().to_blob(), Vec::new(), ours[..ours.len() - 1].to_vec()]
    {
        for sign in [false, true] {
            let mut rig = server();
            let signed = request(&mut rig, &other, sign);
            let answer = rig.refused(&signed);
            assert_eq!(answer[0], 51);
            assert_eq!(rig.events_with("Rejected(HostKey)"), 1, "{:?}", rig.events);
        }
    }
    // A signature that covers no host key says nothing about this one.
    let mut rig = server();
    let id = rig.conn().session_id().unwrap().as_bytes().to_vec();
    let plain = rig.peer.key_request("alice", &user_key(), ED25519, &id);
    let signature = {
        let mut r = Reader::new(&plain[1..]);
        let _names = [(); 3].map(|()| r.string().unwrap());
        r.bool().unwrap();
        let _key = [(); 2].map(|()| r.string().unwrap());
        r.string().unwrap().to_vec()
    };
    let mut bound = request(&mut rig, &ours, false);
    let flag = bound.len() - (4 + ours.len()) - (4 + user_key().public().to_blob().len()) - (4 + 11) - 1;
    bound[flag] = 1;
    bound.put_string(&signature);
    assert_eq!(rig.refused(&bound)[0], 51);
    assert_eq!(rig.events_with("Rejected(Signature)"), 1, "{:?}", rig.events);
}

#[test]
fn a_server_says_that_it_takes_bound_requests_and_lists_the_method_as_publickey() {
    let mut rig = Rig::new(Role::Server);
    rig.kexinit().method();
    rig.peer.send_newkeys();
    rig.run();
    let ext = rig.expect(7);
    let mut expected = Vec::new();
    expected.put_string(b"publickey-hostbound@openssh.com");
    expected.put_string(b"0");
    assert!(ext.windows(expected.len()).any(|w| w == expected));
    let mut rig = server();
    let none = rig.refused(&userauth("alice", "ssh-connection", "none"));
    assert!(!none.windows(9).any(|w| w == b"hostbound"), "it is never listed");
}

#[test]
fn what_binds_an_agent_is_the_first_exchange_for_good() {
    let mut rig = client(vec![Proof::Password], &ext_info(b"x", b""));
    let first = {
        let binding = rig.conn_client().session_binding().expect("keys are in force");
        assert_eq!(binding.host_key, host_key().public());
        signature::verify(provider(), binding.host_key, ED25519, binding.session_id, binding.signature)
            .unwrap();
        (binding.session_id.to_vec(), binding.signature.to_vec())
    };
    rig.send(&[52]);
    rig.rekey();
    let binding = rig.conn_client().session_binding().unwrap();
    assert_eq!((binding.session_id, binding.signature), (&first.0[..], &first.1[..]));
    assert!(Rig::new(Role::Client).conn_client().session_binding().is_none());
}
