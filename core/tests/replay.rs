//! Sessions are recorded on both ends and replayed: everything comes out the same, and the first
//! place where it does not is found.

use std::sync::Arc;
use std::time::Duration;

use konko_core::auth::{Method, MethodSet};
use konko_core::crypto::Compression;
use konko_core::keys::{KeyPair, KeyType, SignatureAlgorithm};
use konko_core::replay::{Divergence, Report, SecretTranscript, Setup, TranscriptError, replay};
use konko_core::*;

use konko_test::apps::{Host, Proof, Shell, all_methods};
use konko_test::{Pair, host_key, key_of, transport_config};

struct Story {
    client: ClientConfig,
    server: ServerConfig,
    keys: Vec<Arc<KeyPair>>,
    transcripts: [SecretTranscript; 2],
}

fn configs() -> (ClientConfig, ServerConfig) {
    let mut server = ServerConfig::with_transport(transport_config(), vec![host_key()]);
    server.methods = all_methods();
    server.banner = Some("be nice".into());
    (ClientConfig::new(transport_config()), server)
}

fn set_transport(configs: &mut (ClientConfig, ServerConfig), change: impl Fn(&mut TransportConfig)) {
    change(Arc::make_mut(&mut configs.0.transport));
    change(Arc::make_mut(&mut configs.1.transport));
}

/// Records a session until `done`.
fn tell(
    (client, server): (ClientConfig, ServerConfig),
    apps: (Shell, Host),
    mut done: impl FnMut(&mut Pair<Shell, Host>) -> bool,
) -> Story {
    let mut pair = Pair::recorded(client.clone(), server.clone(), apps, 3);
    pair.link.chunk = 5000;
    pair.drive_until("the story ends", &mut done);
    let transcripts =
        [pair.client.conn.take_transcript().unwrap(), pair.server.conn.take_transcript().unwrap()];
    Story { client, server, keys: Vec::new(), transcripts }
}

fn closed(pair: &mut Pair<Shell, Host>) -> bool {
    pair.client.app.seen.closed
}

fn over(pair: &mut Pair<Shell, Host>) -> bool {
    pair.client.over() && pair.server.over()
}

impl Story {
    fn setups(&self) -> [Setup<'_>; 2] {
        [
            Setup::Client { config: Arc::new(self.client.clone()), keys: &self.keys },
            Setup::Server(Arc::new(self.server.clone())),
        ]
    }

    /// Replays both ends, also after a trip through bytes.
    fn replays(&self) -> [Report; 2] {
        let mut setups = self.setups().into_iter();
        self.transcripts.each_ref().map(|t| {
            let setup = setups.next().unwrap();
            let report = replay(t, setup.clone()).unwrap_or_else(|d| panic!("{d}"));
            let again = SecretTranscript::from_bytes(t.to_bytes()).unwrap();
            assert_eq!(replay(&again, setup), Ok(report));
            assert!(report.complete);
            report
        })
    }
}

#[test]
fn every_login_replays() {
    let key = key_of(KeyType::ED25519, 9);
    let algorithm = SignatureAlgorithm::ED25519;
    let proofs = [
        Proof::Password("wonderland"),
        Proof::Key(key.clone(), algorithm),
        Proof::External(key.clone(), algorithm),
        Proof::Interactive(vec!["blue", "42"]),
    ];
    for proof in proofs {
        let host = Host { keys: vec![key.public().clone()], ..Host::default() };
        let shell = Shell::new("exit 0").with_proofs([
            Proof::None,
            Proof::Password("wrong"),
            Proof::Probe(key.public().clone(), algorithm),
            proof,
        ]);
        let mut story = tell(configs(), (shell, host), closed);
        story.keys = vec![key_of(KeyType::ED25519, 10), key.clone()];
        let [client, server] = story.replays();
        assert!(client.polls > 10 && client.calls > 5 && server.calls > 5, "{client:?} {server:?}");
    }
}

#[test]
fn two_factors_and_an_expired_password_replay() {
    let second = Some(MethodSet::EMPTY.with(Method::KeyboardInteractive));
    let host = Host { second, ..Host::default() };
    let shell = Shell::new("exit 0")
        .with_proofs([Proof::Password("wonderland"), Proof::Interactive(vec!["blue", "42"])]);
    tell(configs(), (shell, host), closed).replays();
    let host = Host { expired: true, ..Host::default() };
    let shell = Shell::new("exit 0")
        .with_proofs([Proof::Password("wonderland"), Proof::Change("wonderland", "fresh")]);
    tell(configs(), (shell, host), closed).replays();
}

#[test]
fn a_key_that_is_not_in_the_setup_is_named() {
    let key = key_of(KeyType::ED25519, 9);
    let host = Host { keys: vec![key.public().clone()], ..Host::default() };
    let shell = Shell::new("exit 0").with_proofs([Proof::Key(key, SignatureAlgorithm::ED25519)]);
    let story = tell(configs(), (shell, host), closed);
    let [client, _] = story.setups();
    let d = replay(&story.transcripts[0], client).unwrap_err();
    assert_eq!(d.got, "no such key pair in the setup of the replay");
}

#[test]
fn data_both_ways_replays_with_rekeys_compression_and_slots() {
    let input: Vec<u8> = (0..1_000_000u64).map(konko_test::apps::source_byte).collect();
    for compressed in [false, true] {
        for command in ["echo", "source 300000", "count"] {
            let mut configs = configs();
            set_transport(&mut configs, |t| {
                t.rekey.bytes = if compressed { 4_000 } else { 150_000 };
                if compressed {
                    t.algorithms.compression =
                        [vec![Compression::ZlibOpenssh], vec![Compression::ZlibOpenssh]];
                }
            });
            let shell = Shell::new(command).with_input(input.clone());
            let mut rekeyed = 0;
            let story = tell(configs, (shell, Host::default()), |p| {
                rekeyed = p.client.app.rekeyed;
                closed(p)
            });
            assert!(rekeyed > 0 || command != "echo", "compressed: {compressed}");
            let [client, _] = story.replays();
            assert!(compressed || client.sent + client.received > 300_000);
        }
    }
}

#[test]
fn a_refused_host_key_a_timeout_and_a_goodbye_replay() {
    let mut shell = Shell::new("exit 0");
    shell.accept_host_key = Some(false);
    tell(configs(), (shell, Host::default()), over).replays();

    let shell = Shell::new("exit 0").with_proofs([]);
    tell(configs(), (shell, Host::default()), over).replays();

    let mut said = false;
    let story = tell(configs(), (Shell::new("echo"), Host::default()), |p| {
        if p.client.app.seen.granted == [true] && !said {
            said = true;
            p.client.conn.disconnect(msg::DisconnectCode::BY_APPLICATION, "enough");
        }
        over(p)
    });
    story.replays();
}

#[test]
fn jobs_run_again() {
    let mut configs = configs();
    configs.1.offload = true;
    let story = tell(configs, (Shell::new("exit 0"), Host::default()), closed);
    story.replays();
    let outline = story.transcripts[1].redact().to_string();
    assert!(outline.contains("finish_job"), "{outline}");
}

#[test]
fn a_silent_peer_replays_to_the_keepalive_timeout() {
    let mut silent = false;
    let story = tell(configs(), (Shell::new("echo"), Host::default()), |p| {
        if p.client.app.seen.granted == [true] && !silent {
            silent = true;
            p.silence_server();
        }
        p.client.over()
    });
    let report = replay(&story.transcripts[0], story.setups()[0].clone());
    assert!(report.is_ok_and(|r| r.complete));
    assert!(story.transcripts[0].redact().to_string().contains("Timeout(KeepAlive, Connected)"));
}

#[test]
fn a_transcript_that_was_cut_off_replays_as_far_as_it_goes() {
    let story = tell(configs(), (Shell::new("exit 0"), Host::default()), closed);
    let [setup, _] = story.setups();
    let bytes = story.transcripts[0].to_bytes();
    let mut whole = 0;
    for end in 0..bytes.len() {
        let Ok(cut) = SecretTranscript::from_bytes(&bytes[..end]) else { continue };
        whole += 1;
        if whole % 7 != 0 {
            continue;
        }
        let report = replay(&cut, setup.clone()).unwrap_or_else(|d| panic!("{end}: {d}"));
        assert!(!report.complete);
    }
    assert_eq!(whole, story.transcripts[0].len());
}

/// Byte offset and length of the body of each record.
fn bodies(bytes: &[u8]) -> Vec<(u8, usize, usize)> {
    let (mut at, mut out) = (53, Vec::new());
    while at < bytes.len() {
        let len = u32::from_be_bytes(bytes[at + 1..at + 5].try_into().unwrap()) as usize;
        out.push((bytes[at], at + 5, len));
        at += 5 + len;
    }
    out
}

#[test]
fn a_flipped_byte_is_found_at_its_step() {
    let story = tell(configs(), (Shell::new("exit 0"), Host::default()), closed);
    let [setup, _] = story.setups();
    let bytes = story.transcripts[0].to_bytes();
    let flipped = |at: usize| -> Option<Divergence> {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        let t = SecretTranscript::from_bytes(&bytes).unwrap();
        replay(&t, setup.clone()).err()
    };
    // The seed: the first output is another one.
    assert_eq!(flipped(13).unwrap().step, 1);
    // The last byte of each piece of input behind the ident: the poll itself finds something else,
    // in the next record, or a later one that was first to look at these bytes.
    let records = bodies(bytes);
    let (mut found, mut unread) = (0, 0);
    for (i, (kind, at, len)) in records.iter().enumerate() {
        let step = i + 1;
        match kind {
            1 if *len > 9 && i > 8 => {
                // What came with the end of the story was never looked at.
                let Some(d) = flipped(at + len - 1) else {
                    unread += 1;
                    continue;
                };
                assert!(d.step > step && d.step <= step + 8, "{step}: {d}");
                found += usize::from(d.step == step + 1 && d.got.contains("BadTag"));
            }
            // A mark: this very record.
            2 => assert_eq!(flipped(*at).unwrap().step, step),
            4 => assert_eq!(flipped(at + 8).unwrap().step, step),
            _ => {}
        }
    }
    assert!(found >= 2 && unread <= 1, "{found}, {unread}");
}

#[test]
fn another_configuration_is_found() {
    let story = tell(configs(), (Shell::new("exit 0"), Host::default()), closed);
    let mut other = story.server.clone();
    other.banner = Some("be very nice".into());
    let d = replay(&story.transcripts[1], Setup::Server(Arc::new(other))).unwrap_err();
    assert!(d.expected.starts_with("output"), "{d}");
    let wrong = replay(&story.transcripts[0], story.setups()[1].clone()).unwrap_err();
    assert_eq!((wrong.step, wrong.expected.as_str()), (0, "a setup of a Client"));
}

#[test]
fn the_outline_shows_the_shape_and_no_secret() {
    let story = tell(configs(), (Shell::new("exit 7"), Host::default()), closed);
    for t in &story.transcripts {
        let text = t.redact().to_string();
        for secret in ["wonderland", "alice", "exit 7", "be nice"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        assert!(text.contains("[identification]"), "{text}");
        assert!(text.contains("[KEXINIT (20),"), "{text}");
        assert!(text.contains("[NEWKEYS (21), 16 bytes]"), "{text}");
        assert!(!text.contains("SERVICE"), "{text}");
        assert!(!format!("{t:?}").contains("wonderland"));
    }
    let text = story.transcripts[0].redact().to_string();
    assert!(text.contains("authenticate password") && text.contains("HostKey(1)"), "{text}");
}

#[test]
fn bytes_that_are_no_transcript_are_refused() {
    let story = tell(configs(), (Shell::new("exit 0"), Host::default()), closed);
    let good = story.transcripts[0].to_bytes();
    let read = |bytes: &[u8]| SecretTranscript::from_bytes(bytes).map(|_| ()).unwrap_err();
    assert_eq!(read(b""), TranscriptError::NotATranscript);
    assert_eq!(read(&good[1..]), TranscriptError::NotATranscript);
    let mut version = good.to_vec();
    version[11] = 9;
    assert_eq!(read(&version), TranscriptError::Version(9));
    let mut role = good.to_vec();
    role[12] = 2;
    assert!(matches!(read(&role), TranscriptError::Record(0, _)));
    let mut tail = good.to_vec();
    tail.push(7);
    assert!(matches!(read(&tail), TranscriptError::Record(n, _) if n == story.transcripts[0].len() + 1));
}

#[test]
fn recording_changes_nothing_that_is_sent() {
    let run = |recorded: bool| {
        let (c, s) = configs();
        let apps = (Shell::new("echo").with_input(vec![5; 100_000]), Host::default());
        let mut pair = if recorded { Pair::recorded(c, s, apps, 3) } else { Pair::seeded(c, s, apps, 3) };
        (pair.client.keep_sent, pair.server.keep_sent) = (true, true);
        pair.link.latency = Duration::from_millis(5);
        pair.drive_until("the end", closed);
        let log = (pair.client.app.log.clone(), pair.server.app.log.clone());
        (pair.client.sent.clone(), pair.server.sent.clone(), log, pair.now)
    };
    let (plain, recorded) = (run(false), run(true));
    assert!(plain == recorded && plain == run(false));
}

#[test]
fn a_pooled_buffer_with_a_past_replays() {
    // The buffer served a connection that was not recorded; only its own bytes count for this one.
    let (client, server) = configs();
    let mut rx = RxBuf::new();
    let mut first = ServerConnection::new(Arc::new(server.clone()), Seed::new([1; 32]), Time::ZERO);
    rx.push(b"SSH-2.0-old\r\n");
    assert!(matches!(first.poll(Time::ZERO, &mut rx), Ok(Step::Blocked(Blocked::Input))));
    let mut conn = ServerConnection::recorded(Arc::new(server.clone()), Seed::new([2; 32]), Time::ZERO);
    let mut peer = ClientConnection::new(Arc::new(client), Seed::new([3; 32]), Time::ZERO);
    rx.push(peer.tx().pending());
    assert!(matches!(conn.poll(Time::ZERO, &mut rx), Ok(Step::Event(ServerEvent::Negotiated))));
    let transcript = conn.take_transcript().unwrap();
    assert!(conn.take_transcript().is_none());
    replay(&transcript, Setup::Server(Arc::new(server))).unwrap();
}
