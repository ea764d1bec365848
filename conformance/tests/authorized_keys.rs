//! The options of authorized_keys with keys of every kind: sshd says yes and no where the table of core's own test
//! says that it does.

use konko_conformance::{OpenSsh, Sshd, not_run, sshd};
use konko_core::client::AuthRequest;
use konko_core::keys::{KeyType, PrivateKey, PublicKey};
use konko_core::transport::limits::Limits;
use konko_core::wire::Sink;
use konko_core::{
    ClientAuth, ClientConfig, ClientConnection, ClientEvent, Decision, Rng, RxBuf, Seed, Step, Time,
    TransportConfig, provider,
};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/tests/data/authorized_keys/options.txt");

/// A public key of each kind; nobody has to sign.
fn keys(rng: &mut Rng) -> Vec<PublicKey> {
    let made = |kind, rng: &mut Rng| PrivateKey::generate(kind, rng).expect("a key").public().clone();
    let mut keys = vec![made(KeyType::ED25519, rng)];
    for kind in [KeyType::ECDSA_NISTP256, KeyType::ECDSA_NISTP384, KeyType::ECDSA_NISTP521] {
        keys.push(made(kind, rng));
    }
    // Any odd number of the right length passes for a modulus.
    let mut n: [u8; 256] = rng.array();
    n[0] |= 0x80;
    n[255] |= 1;
    let mut blob = Vec::new();
    blob.put_string(b"ssh-rsa");
    blob.put_mpint(&[1, 0, 1]);
    blob.put_mpint(&n);
    keys.push(PublicKey::from_blob(&blob).expect("a key"));
    keys
}

/// Asks the server about each key on one connection: whether it would let its owner in.
fn probe(port: u16, keys: &[PublicKey]) -> Vec<bool> {
    let many = u32::MAX;
    let mut transport = TransportConfig::new(provider::rustcrypto());
    transport.limits = Limits::new().client_attempts(many);
    let config = Arc::new(ClientConfig::new(transport));
    let start = Instant::now();
    let mut conn = ClientConnection::new(config, Seed::new([78; 32]), Time::ZERO);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    stream.set_nodelay(true).expect("a socket");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    let mut rx = RxBuf::new();
    let mut answers = Vec::new();
    let (mut asked, user) = (false, sshd::login());
    while answers.len() < keys.len() {
        match conn.poll(Time::ZERO + start.elapsed(), &mut rx).expect("the connection lives") {
            Step::Event(ClientEvent::Auth(ClientAuth::HostKey(ticket))) => {
                conn.decide_host_key(ticket, Decision::Accept).expect("asked")
            }
            Step::Event(
                event @ (ClientEvent::Auth(ClientAuth::Needed { .. })
                | ClientEvent::Auth(ClientAuth::KeyAccepted)),
            ) => {
                if asked {
                    answers.push(matches!(event, ClientEvent::Auth(ClientAuth::KeyAccepted)));
                }
                let Some(key) = keys.get(answers.len()) else { break };
                let algorithm = conn.signature_algorithms(key)[0];
                conn.authenticate(&user, AuthRequest::ProbeKey { key, algorithm }).expect("it may be asked");
                asked = true;
            }
            Step::Event(_) => {}
            Step::Blocked(_) => {
                let tx = conn.tx();
                let n = tx.len();
                stream.write_all(tx.pending()).expect("the server reads");
                tx.consume(n);
                match stream.read(rx.spare()).expect("the server answers") {
                    0 => rx.eof(),
                    n => rx.filled(n),
                }
            }
        }
    }
    answers
}

#[test]
fn a17_options_let_in_what_the_table_says() {
    let Some(openssh) = OpenSsh::system() else {
        return not_run("options of authorized_keys with OpenSSH's server", "sshd is not installed");
    };
    let server = Sshd::start(&openssh, &["MaxAuthTries 10000"]);
    let table = fs::read_to_string(TABLE).expect("the table");
    let mut rng = Rng::from_seed(&Seed::new([79; 32]));
    let (mut file, mut rows, mut all) = (String::new(), Vec::new(), Vec::new());
    for (expected, options) in
        table.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '))
    {
        // A server that reads all of it for each question takes its time; what is about the key is asked for all kinds.
        let kinds = if ["principals", "authority", "required"].iter().any(|word| options.contains(word)) {
            5
        } else {
            1
        };
        for key in keys(&mut rng).into_iter().take(kinds) {
            file += &format!("{options} {}\n", key.to_openssh_line("a comment"));
            rows.push((expected != "no", options, key.key_type()));
            all.push(key);
        }
    }
    fs::write(server.file("authorized_keys"), file).expect("the server's folder");
    let answers = probe(server.port, &all);
    let wrong: Vec<_> =
        rows.iter().zip(answers).filter(|((expected, ..), answer)| expected != answer).collect();
    assert!(wrong.is_empty(), "sshd answers otherwise: {wrong:#?}");
    assert!(rows.len() > 150);
}
