//! Where the corpora come from: small inputs that reach deep, made by hand and from sessions.

use std::sync::Arc;

use konko_core::channel::{ChannelEvent, ChannelRequest, DataStream, OpenKind};
use konko_core::client::{AuthRequest, Password};
use konko_core::keys::{KeyType, PrivateKey, PublicKey};
use konko_core::krl::{Authority, Krl};
use konko_core::msg;
use konko_core::server::AuthDecision;
use konko_core::sshsig::{HashKind, MessageHash, Namespace, ToSign};
use konko_core::transport::negotiate::Role;
use konko_core::wire::{Reader, Sink, SshStr};
use konko_core::*;

use crate::packets::protections;
use crate::peer;
use konko_test::{null, null_key};

/// The seeds of a target: name and bytes.
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let list = match target {
        "client" => machine(Role::Server),
        "server" => machine(Role::Client),
        "mitm" => mitm(),
        "channels" => channels(),
        "packets" => packets(),
        "sftp_client" => sftp_client(),
        "sftp_server" => sftp_server(),
        "sftp_pair" => sftp_pair(),
        "wire" => wire(),
        "msgs" => payloads(),
        "private_key" => private_keys(),
        "public_key" => public_keys(),
        "known_hosts" => known_hosts(),
        "krl" => krls(),
        "sshsig" => signatures(),
        "authorized_keys" => authorized_keys(),
        "transcript" => transcripts(),
        _ => Vec::new(),
    };
    list.into_iter().enumerate().map(|(i, bytes)| (format!("{i:03}"), bytes)).collect()
}

/// Scripts that log in and use channels, with decisions of several kinds.
fn machine(role: Role) -> Vec<Vec<u8>> {
    let script =
        |steps: &[(u8, u8)]| -> Vec<u8> { steps.iter().flat_map(|(step, arg)| [3, *step, *arg]).collect() };
    let calls = |n: usize| -> Vec<u8> { [10, 3].repeat(n) };
    let login = [7u8, 1];
    let kex = [7u8, 0];
    let open = script(&[(15, 1), (15, 66), (15, 255)]);
    let talk = script(&[(23, 0x10), (19, 5), (20, 5), (18, 90), (23, 0x20), (26, 1), (29, 9), (21, 0)]);
    let confirm = script(&[(16, 0), (16, 17), (19, 0), (24, 0), (27, 0), (22, 0)]);
    let auths = script(&[(6, 0), (7, 1), (8, 1), (9, 1), (10, 1), (11, 0), (12, 2), (6, 1), (10, 3), (8, 0)]);
    let rekey = script(&[(1, 0), (2, 0), (3, 0)]);
    let bodies: Vec<Vec<u8>> = vec![
        [&kex[..], &auths, &script(&[(7, 0)]), &talk].concat(),
        [&login[..], &open, &talk, &calls(4), &script(&[(22, 0), (31, 11)])].concat(),
        [&login[..], &calls(3), &confirm, &calls(5), &talk].concat(),
        [&login[..], &open, &rekey, &talk, &rekey, &calls(6)].concat(),
        [&login[..], &[9, 20, 11, 0, 9, 23, 11, 255]].concat(),
        script(&[(0, 0), (1, 4), (13, 0), (14, 0), (3, 0)]),
        script(&[(0, 0), (1, 1), (2, 1), (2, 6), (3, 0), (5, 0)]),
        script(&[(0, 0), (1, 2), (2, 2), (3, 0), (5, 0), (7, 0), (15, 1)]),
        script(&[(0, 0), (1, 32 + 8), (2, 0), (3, 0)]),
        [&[0, 20][..], b"SSH-2.0-x\r\nnonsense\0\0", &[1, 3, 20, 0, 0, 2, 1, 0]].concat(),
    ];
    let controls: [&[u8]; 3] = [
        &[0; 16],
        &[1, 2, 4, 1, 1, 0, 0, 6, 3, 0, 9, 2, 1, 40, 8, 0, 5, 3, 1, 1, 200, 4, 7, 17, 33],
        &[7, 1, 5, 2, 3, 11, 200, 16, 17, 48, 64, 80, 90, 130, 14, 0, 0, 1, 0, 2, 31, 9, 77],
    ];
    let flags = [0u8, 1, 2, 16 + 64, 32 + 128, 192 + 8];
    let mut out = Vec::new();
    for (i, body) in bodies.iter().enumerate() {
        for (j, control) in controls.iter().enumerate() {
            let flag = flags[(i + j) % flags.len()];
            out.push([&[flag, control.len() as u8][..], control, body].concat());
        }
    }
    let _ = role;
    out
}

/// Every act on every unit once.
fn mitm() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for suite in 0..4u8 {
        for place in 0..12u8 {
            out.push(vec![suite, place, suite * 2 + place % 8, place, 9]);
        }
        // Terrapin: a packet in front of NEWKEYS, the first one behind it gone.
        out.push(vec![suite, 7, 2, 0, 0, 9, 5, 11, 0]);
    }
    out
}

fn channels() -> Vec<Vec<u8>> {
    let open = [0u8, 0, 3, 6, 255, 3, 1, 1, 6, 255];
    let write = [0u8, 2, 0, 0x20, 0, 6, 255];
    let mut out = vec![
        [&open[..], &write, &[3, 6, 0, 4, 0, 6, 255, 0, 8, 0, 3, 9, 0, 6, 255]].concat(),
        [&open[..], &open, &write, &[0, 12, 200, 3, 12, 200], &write, &[6, 255]].concat(),
        [&open[..], &[0, 10, 0, 3, 10, 0, 6, 255, 3, 11, 0, 0, 11, 1, 6, 255]].concat(),
        [&open[..], &[0, 13, 0, 3, 13, 1, 6, 255, 3, 14, 0, 7, 255, 7, 255]].concat(),
        [&open[..], &[0, 9, 0, 3, 9, 0, 3, 2, 0, 9, 9, 6, 255], &open].concat(),
        [&write[..], &open, &[0, 5, 0, 0, 90, 3, 5, 1, 1, 1, 6, 1, 0, 9]].concat(),
    ];
    // Many at once.
    out.push(open.repeat(20));
    out.push([open.repeat(4), write.repeat(20), [0, 9, 0x10, 3, 9, 0x20, 6, 255].repeat(3)].concat());
    out
}

fn packets() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for (i, _) in protections().iter().enumerate() {
        out.push([&[i as u8, 5, 9, 1, 1, 0, 7][..], &[6; 41]].concat());
        if i % 4 == 0 {
            out.push([&[i as u8, 5, 9, 0][..], &[0; 64]].concat());
        }
    }
    out
}

fn wire() -> Vec<Vec<u8>> {
    let mut value = Vec::new();
    value.put_u8(1);
    value.put_bool(true);
    value.put_u32(7);
    value.put_u64(8);
    value.put_string(b"text");
    value.put_mpint(&[0x80, 1]);
    value.put_string(b"one,two,three");
    value.put_string("h\u{e9}\u{202e}\x1b".as_bytes());
    let good = [&[8u8, 0, 1, 2, 3, 4, 5, 6, 7][..], &value].concat();
    let mut out = vec![good.clone(), good[..20].to_vec()];
    for step in [4u8, 5, 6, 7] {
        out.push([&[1, step][..], &[0xff, 0xff, 0xff, 0xff, 1, 2, 3]].concat());
        out.push([&[1, step][..], &[0, 0, 0, 3, b',', 0x80, 0]].concat());
    }
    out
}

/// One payload of each kind, out of the scripts of both roles.
fn payloads() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for role in [Role::Client, Role::Server] {
        for step in 1..peer::STEPS {
            if role == Role::Server && step >= 15 {
                continue;
            }
            let packet = peer::script(role, step, 0x12);
            let pad = usize::from(packet[4]);
            out.push(packet[5..packet.len() - pad].to_vec());
        }
    }
    out
}

fn key(kind: KeyType) -> PrivateKey {
    let mut rng = Rng::from_seed(&Seed::new([7; 32]));
    PrivateKey::generate(kind, &mut rng).expect("keys without RSA need no luck")
}

const KINDS: [KeyType; 4] =
    [KeyType::ED25519, KeyType::ECDSA_NISTP256, KeyType::ECDSA_NISTP384, KeyType::ECDSA_NISTP521];

/// Key files that the tests of the core have, the small ones.
const FILES: [&[u8]; 19] = [
    include_bytes!("../../core/tests/data/keys/ed25519"),
    include_bytes!("../../core/tests/data/keys/ecdsa256"),
    include_bytes!("../../core/tests/data/keys/ecdsa256-pem"),
    include_bytes!("../../core/tests/data/keys/ecdsa256-pkcs8"),
    include_bytes!("../../core/tests/data/keys/enc-aes256-ctr"),
    include_bytes!("../../core/tests/data/keys/enc-chacha20-poly1305"),
    include_bytes!("../../core/tests/data/keys/bad-dsa"),
    include_bytes!("../../core/tests/data/key_files/dek_aes128-ecdsa"),
    include_bytes!("../../core/tests/data/key_files/dek_des3-ecdsa"),
    include_bytes!("../../core/tests/data/key_files/explicit-ecdsa"),
    include_bytes!("../../core/tests/data/key_files/explicit_pkcs8-ecdsa"),
    include_bytes!("../../core/tests/data/key_files/pbes2_aes-256-cbc-ecdsa"),
    include_bytes!("../../core/tests/data/key_files/scrypt-ecdsa"),
    include_bytes!("../../core/tests/data/key_files/pkcs8-openssl"),
    include_bytes!("../../core/tests/data/key_files/ppk2_encrypted-ed25519"),
    include_bytes!("../../core/tests/data/key_files/ppk3-ecdsa"),
    include_bytes!("../../core/tests/data/key_files/ppk3_encrypted-ed25519"),
    include_bytes!("../../core/tests/data/key_files/sshcom-rsa"),
    include_bytes!("../../core/tests/data/key_files/openssh_3des-cbc-ed25519"),
];

fn private_keys() -> Vec<Vec<u8>> {
    FILES.iter().map(|f| f.to_vec()).collect()
}

fn public_keys() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for kind in KINDS {
        let key = key(kind).public().clone();
        out.push(key.to_openssh_line("user@host").into_bytes());
        out.push(key.to_blob());
    }
    out.push(include_bytes!("../../core/tests/data/keys/bad-cert.pub").to_vec());
    for kind in KINDS {
        let key = key(kind).public().clone();
        out.push(key.to_rfc4716("user@host").into_bytes());
        out.push(key.to_spki_pem().expect("a type that X.509 has").into_bytes());
    }
    let line = include_bytes!("../../core/tests/data/keys/rsa.pub");
    let (rsa, _) = PublicKey::from_openssh_line(line).expect("a key of the tests");
    out.push(rsa.to_blob());
    // The same key, with zeros in front of its numbers.
    let mut fields = Reader::new(rsa.fields());
    let mut blob = Vec::new();
    blob.put_string(b"ssh-rsa");
    for zeros in [3, 5] {
        blob.put_string(&[&vec![0; zeros], fields.string().expect("a number")].concat());
    }
    out.push(blob);
    out
}

fn known_hosts() -> Vec<Vec<u8>> {
    let key = key(KeyType::ED25519).public().to_openssh_line("");
    let key = key.trim_end();
    [
        format!("example.org {key}\n[10.0.0.1]:2222,192.0.2.* {key}\n# comment\n\n"),
        format!("@revoked * {key}\n@cert-authority *.org {key}\n!example.org,*.org {key}\n"),
        format!("|1|AAAAAAAAAAAAAAAAAAAAAAAAAAA=|AAAAAAAAAAAAAAAAAAAAAAAAAAA= {key}\n"),
        "broken\nexample.org ssh-ed25519 AAAA\nexample.org ssh-rsa !!!!\n\0\n".to_string(),
    ]
    .into_iter()
    .map(String::into_bytes)
    .collect()
}

fn krls() -> Vec<Vec<u8>> {
    let key = key(KeyType::ED25519).public().to_openssh_line("");
    let spec = format!(
        "serial: 1\nserial: 5-0x20\nserial: 100\nserial: 103\nid: alice\nsha1: {key}\nsha256: {key}\n{key}\n"
    );
    let mut krl = Krl::new();
    krl.revoke_from(spec.as_bytes(), &Authority::Any).expect("it is one");
    let lists: String = (0..200).map(|n| format!("serial: {}\n", 3 * n + 1)).collect();
    let mut bitmap = Krl::new();
    bitmap.revoke_from(lists.as_bytes(), &Authority::Key(Box::from(&b"a key"[..]))).expect("it is one");
    vec![krl.to_bytes(), bitmap.to_bytes(), spec.into_bytes(), format!("# keys\n{key}\n").into_bytes()]
}

fn signatures() -> Vec<Vec<u8>> {
    let pair = null_key();
    let namespace = Namespace::new("file").expect("it is not empty");
    let signed = |kind| {
        let to_sign = ToSign::new(pair.public(), &namespace, &MessageHash::of(kind, b"message"));
        to_sign.and_then(|it| it.sign(&pair, &mut Rng::from_seed(&Seed::new([1; 32])))).expect("it signs")
    };
    let (one, other) = (signed(HashKind::Sha256), signed(HashKind::Sha512));
    let key = pair.public().to_openssh_line("");
    let signers = format!(
        "# who\nalice,*@example.org,!eve namespaces=\"file,git*\",valid-after=\"20200101Z\",valid-before=\"20300101\" {key}\n\
         \"alice\" cert-authority {key}\nbob {key}\n"
    );
    vec![one.to_armored().into_bytes(), other.to_blob(), signers.into_bytes()]
}

fn authorized_keys() -> Vec<Vec<u8>> {
    let null = null_key().public().to_openssh_line("");
    let other = key(KeyType::ED25519).public().to_openssh_line("other");
    [
        format!("# comment\n\n{null} alice@example.org\n{other}\n"),
        format!("from=\"192.0.2.0/24,!192.0.2.1,2001:db8:*\",restrict,pty {null}\n{null}\n"),
        format!(
            "command=\"echo \\\"hello\\\"\",environment=\"A=b\",permitopen=\"localhost:80\",permitopen=\"[::1]:*\",\
             permitlisten=\"*.example:22\",permitlisten=\"8080\",expiry-time=\"20380119031408Z\" {null}\n"
        ),
        format!("no-pty,port-forwarding,no-agent-forwarding,no-X11-forwarding,no-user-rc,no-touch-required {null}\n"),
        format!("cert-authority,principals=\"a,b\" {null}\nverify-required {null}\ntunnel=\"0\" {other}\n"),
        format!("comand=\"x\" {null}\ncommand=\"x {null}\nrestrict {}\n\0\n", &null[12..]),
    ]
    .into_iter()
    .map(String::into_bytes)
    .collect()
}

/// Recordings of both ends of a short session under the null provider.
fn transcripts() -> Vec<Vec<u8>> {
    let now = Time::from_micros(5);
    let transport = TransportConfig::new(null());
    let server = Arc::new(ServerConfig::with_transport(transport.clone(), vec![null_key()]));
    let mut c = ClientConnection::recorded(Arc::new(ClientConfig::new(transport)), Seed::new([1; 32]), now);
    let mut s = ServerConnection::recorded(server, Seed::new([2; 32]), now);
    let (mut to_c, mut to_s) = (RxBuf::new(), RxBuf::new());
    for round in 0..14 {
        to_s.push(c.tx().pending());
        let n = c.tx().len();
        c.tx().consume(n);
        while let Ok(Step::Event(event)) = s.poll(now, &mut to_s) {
            match event {
                ServerEvent::Auth(ServerAuth::Attempt { ticket, .. }) => {
                    let _ = s.decide_auth(ticket, AuthDecision::Accept);
                }
                ServerEvent::Open { ticket, .. } => drop(s.accept_channel(ticket).is_ok()),
                ServerEvent::Channel(id, ChannelEvent::Data { .. }) => {
                    let _ = s.write(id, DataStream::Stderr, b"answer");
                    let _ = s.close_channel(id);
                }
                _ => {}
            }
        }
        to_c.push(s.tx().pending());
        let n = s.tx().len();
        s.tx().consume(n);
        while let Ok(Step::Event(event)) = c.poll(now, &mut to_c) {
            match event {
                ClientEvent::Auth(ClientAuth::HostKey(ticket)) => {
                    let _ = c.decide_host_key(ticket, Decision::Accept);
                }
                ClientEvent::Auth(ClientAuth::Needed { .. }) => {
                    let _ = c.authenticate("u", AuthRequest::Password(&Password::new("p")));
                }
                ClientEvent::Authenticated { .. } => drop(c.open(OpenKind::Session).is_ok()),
                ClientEvent::Opened(id) => {
                    let _ = c.request(id, ChannelRequest::Exec(SshStr::new(b"x")), WantReply::No);
                    if let Ok(Some(slot)) = c.slot(id, DataStream::Data, 10) {
                        slot.commit(10);
                    }
                }
                _ => {}
            }
        }
        if round == 12 {
            c.disconnect(msg::DisconnectCode::BY_APPLICATION, "done");
        }
    }
    let take = |t: Option<replay::SecretTranscript>| t.map(|t| t.to_bytes().to_vec()).unwrap_or_default();
    vec![take(c.take_transcript()), take(s.take_transcript())]
}

/// A message of SFTP: number, request, fields.
fn sftp(number: u8, id: u32, fields: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u32(fields.len() as u32 + 5);
    out.put_u8(number);
    out.put_u32(id);
    out.put(fields);
    out
}

fn fields(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

/// VERSION, and each kind of reply to the first requests.
fn sftp_client() -> Vec<Vec<u8>> {
    let version = [
        &sftp(2, 3, &[])[..],
        &sftp(
            2,
            3,
            &fields(|f| {
                f.put_string(b"limits@openssh.com");
                f.put_string(b"1");
            }),
        ),
    ]
    .map(<[u8]>::to_vec);
    let status = |id| sftp(101, id, &[0, 0, 0, 4]);
    let name = fields(|f| {
        f.put_u32(1);
        f.put_string(b"n");
        f.put_string(b"-rw n");
        f.put_u32(0);
    });
    let mut out = Vec::new();
    for kind in 0..12u8 {
        let steps = [0, 0, 1, kind, 0, 1, 10, 0, 2, 11, 0, 0, kind, 0, 0, kind, 15];
        for version in &version {
            for id in 0..3 {
                let replies = [
                    sftp(102, id, &fields(|f| f.put_string(b"handle"))),
                    sftp(103, id, &fields(|f| f.put_string(b"some data"))),
                    sftp(104, id, &name),
                    sftp(105, id, &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9]),
                    sftp(201, id, &[0; 88]),
                ];
                let at = usize::from(kind) % replies.len();
                let body = [&version[..], &replies[at], &status(id + 1), &replies[(at + 1) % 5]].concat();
                out.push([&[steps.len() as u8][..], &steps, &body].concat());
            }
        }
    }
    out
}

/// INIT and every request.
fn sftp_server() -> Vec<Vec<u8>> {
    let path = fields(|f| f.put_string(b"/d/f"));
    let open = fields(|f| {
        f.put_string(b"/d/f");
        f.put_u32(3);
        f.put_u32(0);
    });
    let mut all = sftp(1, 3, &[]);
    // INIT has a version where the others have a number.
    for number in 3..=20u8 {
        let fields = match number {
            3 => open.clone(),
            18 | 20 => [&path[..], &path].concat(),
            9 | 14 => [&path[..], &[0, 0, 0, 4, 0, 0, 1, 0xff]].concat(),
            4..=6 | 8 | 10 | 12 => fields(|f| {
                f.put_string(&[0; 12]);
                f.put_u64(0);
                f.put_string(b"data");
            }),
            _ => path.clone(),
        };
        all.extend(sftp(number, u32::from(number), &fields));
    }
    for extension in konko_core::sftp::Extension::all() {
        let name = extension.name();
        all.extend(sftp(
            200,
            50,
            &fields(|f| {
                f.put_string(name.as_bytes());
                f.put(&path);
                f.put(&path);
            }),
        ));
    }
    [[0u8, 3, 63], [1, 3, 63], [2, 0, 0], [3, 1, 6]]
        .iter()
        .map(|steps| [&[3u8][..], &steps[..], &all].concat())
        .collect()
}

/// Sizes, request sizes, hints, and cuts.
fn sftp_pair() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for size in [0u16, 1, 4096, 20_000] {
        for (handles, flags) in [(0u8, 0u8), (3, 1), (1, 0)] {
            for hint in 0..3u8 {
                let head = [(size >> 8) as u8, size as u8, handles, flags, 0x0f, 0xff, hint, hint & 1];
                let cuts: Vec<u8> = (0..200u8).map(|i| i.wrapping_mul(37)).collect();
                out.push([&head[..], &cuts].concat());
            }
        }
    }
    out
}
