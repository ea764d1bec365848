//! Sessions of the core with real servers, recorded once: they replay byte for byte with nothing installed.
//!
//! `KONKO_RECORD=1` records them anew, which takes the server. The keys come from fixed seeds and guard nothing, so the
//! transcripts have no secret worth keeping.

use konko_conformance::{OpenSsh, Sshd, not_run};
use konko_core::channel::{ChannelEvent, ChannelRequest, DataStream, Exit, OpenKind};
use konko_core::client::AuthRequest;
use konko_core::crypto::Kex;
use konko_core::keys::{KeyPair, KeyType, PrivateKey, SignatureAlgorithm};
use konko_core::replay::{SecretTranscript, Setup, replay};
use konko_core::{
    ClientAuth, ClientConfig, ClientConnection, ClientEvent, Decision, Rng, RxBuf, Seed, Step, Time,
    TransportConfig, WantReply, provider, wire,
};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const COMMAND: &[u8] = b"cat; exit 7";
const INPUT: &[u8] = b"what goes in comes out";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded").join(name)
}

fn user_key() -> Arc<KeyPair> {
    let key =
        PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&Seed::new([77; 32]))).expect("a key");
    Arc::new(key.key_pair(provider::rustcrypto()).expect("a key pair"))
}

/// What was recorded with: only the hybrid key exchange.
fn config() -> Arc<ClientConfig> {
    let mut transport = TransportConfig::new(provider::rustcrypto());
    transport.algorithms.kex = vec![Kex::MlKem768X25519Sha256];
    // The preference is that of a machine with AES, whatever this one has.
    transport.algorithms = {
        let mut all = konko_core::transport::negotiate::Policy::Modern.algorithms(true);
        all.kex = transport.algorithms.kex;
        all
    };
    transport.software = "konko_recorded".into();
    Arc::new(ClientConfig::new(transport))
}

/// Logs in, runs the command, renews the keys in the middle.
fn record(sshd: &Sshd, login: &str) -> SecretTranscript {
    let key = user_key();
    let start = Instant::now();
    let now = || Time::ZERO + start.elapsed();
    let mut stream = TcpStream::connect(("127.0.0.1", sshd.port)).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
    let mut conn = ClientConnection::recorded(config(), Seed::new([78; 32]), now());
    let mut rx = RxBuf::new();
    let (mut output, mut exit) = (Vec::new(), None);
    loop {
        match conn.poll(now(), &mut rx).expect("the session works") {
            Step::Event(ClientEvent::Auth(ClientAuth::HostKey(ticket))) => {
                conn.decide_host_key(ticket, Decision::Accept).expect("a decision")
            }
            Step::Event(ClientEvent::Auth(ClientAuth::Needed { .. })) => {
                let method = AuthRequest::PublicKey { key: &key, algorithm: SignatureAlgorithm::ED25519 };
                conn.authenticate(login, method).expect("a request");
            }
            Step::Event(ClientEvent::Authenticated { .. }) => {
                conn.open(OpenKind::Session).expect("a channel");
            }
            Step::Event(ClientEvent::Opened(id)) => {
                conn.request(id, ChannelRequest::Exec(wire::SshStr::new(COMMAND)), WantReply::Yes)
                    .expect("a request");
                conn.rekey().expect("new keys");
            }
            Step::Event(ClientEvent::Channel(id, event)) => match event {
                // In the middle of a key exchange nothing is taken; the channel says when it is over.
                ChannelEvent::RequestDone { .. } | ChannelEvent::Writable => {
                    let taken = conn.write(id, DataStream::Data, INPUT).expect("the channel is open");
                    if taken == INPUT.len() {
                        conn.send_eof(id).expect("the channel is open");
                    }
                }
                ChannelEvent::Data { data, .. } => {
                    output.extend_from_slice(data);
                    conn.consume(id, data.len()).expect("credit");
                }
                ChannelEvent::Exit(Exit::Status(n)) => exit = Some(n),
                ChannelEvent::Closed => {
                    assert_eq!((&output[..], exit), (INPUT, Some(7)));
                    return conn.take_transcript().expect("it was recorded");
                }
                _ => {}
            },
            Step::Event(_) => {}
            Step::Blocked(_) => {
                let tx = conn.tx();
                stream.write_all(tx.pending()).expect("the server reads");
                let n = tx.len();
                tx.consume(n);
                match stream.read(rx.spare()).expect("the server speaks") {
                    0 => rx.eof(),
                    n => rx.filled(n),
                }
            }
        }
    }
}

#[test]
fn a_hybrid_session_with_openssh_10() {
    let path = path("openssh10-mlkem768x25519.transcript");
    if std::env::var_os("KONKO_RECORD").is_some() {
        let Some(openssh) = OpenSsh::ten() else {
            return not_run(
                "recording with OpenSSH 10",
                "it is neither the system's nor unpacked under target/peers",
            );
        };
        let keys = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(keys.path(), user_key().public().to_openssh_line("")).expect("the file is ours");
        let line = format!("AuthorizedKeysFile {}", keys.path().display());
        let sshd =
            Sshd::with_host_keys(&openssh, &["ed25519"], &[&line, "PubkeyAcceptedAlgorithms ssh-ed25519"]);
        // The user's name stands in the transcript: the one that is the same everywhere.
        let transcript = record(&sshd, "root");
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        std::fs::write(&path, transcript.to_bytes()).expect("the transcript can be written");
    }
    let bytes = std::fs::read(&path).expect("the recorded session is in the tree");
    let transcript = SecretTranscript::from_bytes(&bytes).expect("a transcript");
    let keys = [user_key()];
    let report =
        replay(&transcript, Setup::Client { config: config(), keys: &keys }).expect("the same session");
    assert!(report.complete && report.received > 3000 && report.sent > 3000, "{report:?}");
}
