//! Hostbased authentication (RFC 4252 §9) in both roles, and which hosts a server believes.

use std::sync::Arc;

use konko_core::auth::{Method, MethodSet};
use konko_core::client::{AuthRequest, HostClaim};
use konko_core::hosts::{BadEquivalent, Equivalents, HostTrust, KnownHosts};
use konko_core::keys::{KeyPair, KeyType, SignatureAlgorithm};
use konko_core::server::AuthDecision;
use konko_core::*;
use konko_test::raw::rig::{server_config, transport};
use konko_test::{host_key, key_of};

const CLAIM: HostClaim<'static> = HostClaim { host: b"client.example.", user: b"alice" };

fn server() -> ServerConfig {
    let mut server = server_config(transport(crypto::Policy::Modern));
    server.methods = MethodSet::EMPTY.with(Method::HostBased);
    server
}

/// What the server was told, and whether both are in.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    probes: Vec<(String, String, String)>,
    signed: Vec<(String, String)>,
    failures: usize,
    inside: bool,
}

/// A client whose host vouches for alice, and a server that answers the probe so. `forge`: another key signs than the one
/// that is named.
fn login(key: &Arc<KeyPair>, believe: bool, external: bool, forge: Option<&Arc<KeyPair>>) -> Told {
    let policy = crypto::Policy::Modern;
    let mut now = Time::from_micros(1);
    let config = Arc::new(ClientConfig::new(transport(policy)));
    let mut client = ClientConnection::new(config, Seed::new([1; 32]), now);
    let mut server = ServerConnection::new(Arc::new(server()), Seed::new([2; 32]), now);
    let (mut client_rx, mut server_rx, mut told) = (RxBuf::new(), RxBuf::new(), Told::default());
    let mut tried = false;
    let mut rng = Rng::from_seed(&Seed::new([3; 32]));
    for _ in 0..40 {
        now = now + std::time::Duration::from_millis(5);
        while let Ok(Step::Event(event)) = client.poll(now, &mut client_rx) {
            match event {
                ClientEvent::Auth(ClientAuth::HostKey(ticket)) => {
                    client.decide_host_key(ticket, Decision::Accept).unwrap();
                }
                ClientEvent::Auth(ClientAuth::Needed { .. }) if !tried => {
                    tried = true;
                    let algorithm = key.public().signature_algorithms()[0];
                    let request = match external {
                        true => AuthRequest::ExternalHostBased { key: key.public(), algorithm, claim: CLAIM },
                        false => AuthRequest::HostBased { key, algorithm, claim: CLAIM },
                    };
                    client.authenticate("alice", request).unwrap();
                }
                ClientEvent::Auth(ClientAuth::Needed { methods, .. }) => {
                    assert_eq!(methods.map(|m| m.as_str().to_owned()).as_deref(), Some("hostbased"));
                    told.failures += 1;
                }
                ClientEvent::Auth(ClientAuth::Sign(ticket)) => {
                    let request = client.sign_request(&ticket).unwrap();
                    let (algorithm, message) = (request.algorithm, request.message.to_vec());
                    let signature = forge.unwrap_or(key).sign(algorithm, &message, &mut rng).unwrap();
                    let given = client.provide_signature(ticket, &signature);
                    assert_eq!(given.is_ok(), forge.is_none());
                }
                _ => {}
            }
        }
        while let Ok(Step::Event(event)) = server.poll(now, &mut server_rx) {
            match event {
                ServerEvent::Auth(ServerAuth::HostProbe {
                    ticket,
                    user,
                    key: asked,
                    host,
                    host_user,
                    ..
                }) => {
                    assert_eq!(&*asked, key.public());
                    told.probes.push((user.to_text(), host.to_text(), host_user.to_text()));
                    server.decide_probe(ticket, Decision::accept_if(believe)).unwrap();
                }
                ServerEvent::Auth(ServerAuth::HostSigned { ticket, key: signer, host, user }) => {
                    assert_eq!(signer.key(), key.public());
                    let text = |bytes| String::from_utf8(bytes).unwrap();
                    told.signed.push((text(host), text(user)));
                    server.decide_auth(ticket, AuthDecision::Accept).unwrap();
                }
                ServerEvent::Auth(ServerAuth::Outcome(_)) => {}
                ServerEvent::Auth(other) => panic!("{other:?}"),
                _ => {}
            }
        }
        let sent = client.tx().pending().to_vec();
        client.tx().consume(sent.len());
        server_rx.push(&sent);
        let sent = server.tx().pending().to_vec();
        server.tx().consume(sent.len());
        client_rx.push(&sent);
    }
    told.inside = client.is_authenticated() && server.is_authenticated();
    told
}

#[test]
fn a_host_vouches_for_its_user_with_a_key_that_is_here_or_elsewhere() {
    for kind in [KeyType::ED25519, KeyType::ECDSA_NISTP256] {
        let key = key_of(kind, 60);
        for external in [false, true] {
            let told = login(&key, true, external, None);
            assert_eq!(told.probes, [("alice".into(), "client.example.".into(), "alice".into())]);
            assert_eq!(told.signed, [("client.example.".into(), "alice".into())]);
            assert!(told.inside && told.failures == 0, "{told:?}");
        }
    }
}

#[test]
fn a_host_that_nobody_believes_is_refused_before_its_signature_is_looked_at() {
    let told = login(&key_of(KeyType::ED25519, 60), false, false, None);
    assert_eq!((told.probes.len(), told.signed.len(), told.failures, told.inside), (1, 0, 1, false));
}

#[test]
fn ac09_a_signature_that_is_not_the_hosts_never_leaves() {
    let told = login(&key_of(KeyType::ED25519, 60), true, true, Some(&key_of(KeyType::ED25519, 61)));
    assert_eq!(told, Told::default());
}

/// A signature over any other request, session, host or user, of another algorithm or cut, lets nobody in.
#[test]
fn as06_a_hosts_signature_is_bound_to_the_session_and_to_every_byte_of_the_request() {
    use konko_core::wire::Sink;
    use konko_test::raw::Rig;
    let key = key_of(KeyType::ED25519, 60);
    let request = |session: &[u8], flip: Option<usize>, cut: usize| {
        let mut fields = vec![50];
        for text in [&b"alice"[..], b"ssh-connection", b"hostbased", b"ssh-ed25519"] {
            fields.put_string(text);
        }
        fields.put_string(&key.public().to_blob());
        for text in [&b"client.example."[..], b"alice"] {
            fields.put_string(text);
        }
        let mut message = Vec::new();
        message.put_string(session);
        message.extend_from_slice(&fields);
        if let Some(at) = flip {
            let at = at % message.len();
            message[at] ^= 1;
        }
        let mut rng = Rng::from_seed(&Seed::new([3; 32]));
        let signature = key.sign(SignatureAlgorithm::ED25519, &message, &mut rng).unwrap();
        fields.put_string(&signature[..signature.len() - cut]);
        fields
    };
    // 4 + 32 bytes of session, the request, to its last byte.
    let whole = request(&[0; 32], None, 0).len();
    let flips = (0..whole - 87 + 36).step_by(7).map(Some).chain([None]);
    for flip in flips {
        let mut rig = Rig::server(server());
        rig.app.hosts = true;
        rig.service();
        let session = rig.peer.session_id.clone();
        rig.send(&request(&session, flip, 0));
        rig.wait(std::time::Duration::from_millis(20));
        let expected = if flip.is_none() { 52 } else { 51 };
        assert_eq!(rig.numbers(), [expected], "{flip:?}");
    }
    for cut in [1, 40, 83] {
        let mut rig = Rig::server(server());
        rig.app.hosts = true;
        rig.service();
        let session = rig.peer.session_id.clone();
        let failure = rig.refused(&request(&session, None, cut));
        assert_eq!(failure[0], 51);
    }
}

fn equivalents(text: &str) -> (Equivalents, Vec<(u32, BadEquivalent)>) {
    let (equivalents, warnings) = Equivalents::parse(&b"shosts.equiv"[..], text.as_bytes()).unwrap();
    (equivalents, warnings.into_iter().map(|w| (w.at.line, w.problem)).collect())
}

#[test]
fn equivalent_hosts_are_read_as_openssh_reads_them_and_never_let_in_more() {
    let text = "# hosts\n\nBuild.example\r\n-bad.example\nbad.example\nshared.example bob\n \
                shared.example -carol\nshared.example carol\n";
    let (hosts, warnings) = equivalents(text);
    assert_eq!(warnings, []);
    for (host, host_user, user, expected) in [
        ("build.example", "alice", "alice", true),
        ("BUILD.EXAMPLE", "alice", "alice", true),
        ("build.example", "alice", "root", false),
        ("build.example", "Alice", "alice", false),
        ("other.example", "alice", "alice", false),
        ("", "alice", "alice", false),
        ("bad.example", "alice", "alice", false),
        ("shared.example", "bob", "bob", true),
        // Where OpenSSH lets in under any name.
        ("shared.example", "bob", "alice", false),
        ("shared.example", "alice", "alice", false),
        ("shared.example", "carol", "carol", false),
    ] {
        let allowed = hosts.allow(host.as_bytes(), host_user.as_bytes(), user.as_bytes());
        assert_eq!(allowed, expected, "{host} {host_user} {user}");
    }
}

#[test]
fn what_cannot_be_read_lets_nobody_in() {
    use BadEquivalent::{Everybody, Fields, Netgroup};
    let (hosts, warnings) = equivalents("+\n+ +\na.example +\n@all\na.example @all\na b c\na.example\n");
    assert_eq!(
        warnings,
        [(1, Everybody), (2, Everybody), (3, Everybody), (4, Netgroup), (5, Netgroup), (6, Fields)]
    );
    assert!(hosts.allow(b"a.example", b"alice", b"alice"));
    assert!(!hosts.allow(b"b.example", b"alice", b"alice"));
    // A refusal that cannot be read is one of everybody, from there on.
    for refusal in ["-@all", "-+", "a.example -@all", "-a b c", "-"] {
        let (hosts, warnings) = equivalents(&format!("first.example\n{refusal}\na.example\n"));
        assert_eq!(warnings.len(), 1, "{refusal}");
        assert!(hosts.allow(b"first.example", b"alice", b"alice"), "{refusal}");
        assert!(!hosts.allow(b"a.example", b"alice", b"alice"), "{refusal}");
    }
}

#[test]
fn a_host_is_believed_by_its_key_and_by_its_name_alone() {
    let (key, other) = (key_of(KeyType::ED25519, 60), host_key());
    let mut known = KnownHosts::new();
    let lines = format!(
        "client.example {}\n@revoked * {}\n",
        key.public().to_openssh_line(""),
        key_of(KeyType::ED25519, 62).public().to_openssh_line("")
    );
    known.add_file(&b"known_hosts"[..], lines.as_bytes()).unwrap();
    let trust = HostTrust::new(equivalents("client.example\nrevoked.example\n*.example\n").0, known);
    assert!(trust.allow("client.example", key.public(), "alice", "alice"));
    assert!(trust.allow("client.example.", key.public(), "alice", "alice"));
    assert!(!trust.allow("client.example..", key.public(), "alice", "alice"));
    assert!(!trust.allow("client.example", other.public(), "alice", "alice"));
    assert!(!trust.allow("client.example", key.public(), "bob", "alice"));
    for name in ["*.example", "client.example,other", "", ".", "[client.example]:22", "cli\u{e9}nt", "a b"] {
        assert!(!trust.allow(name, key.public(), "alice", "alice"), "{name}");
    }
}
