//! The parsers: no panic, and what parses comes out again the same.

use std::sync::Arc;

use konko_core::authorized_keys::AuthorizedKeys;
use konko_core::hosts::{HostKeyStatus, KnownHosts, KnownHostsFile, Means};
use konko_core::keys::{KdfLimits, PrivateKey, PublicKey};
use konko_core::krl::{Authority, Krl, RevokedKeys};
use konko_core::msg::*;
use konko_core::replay::{SecretTranscript, Setup, replay};
use konko_core::sshsig::{AllowedSigners, MessageHash, SshSig};
use konko_core::transport::negotiate::Role;
use konko_core::wire::{NameList, NameListBuilder, Reader, Sink};
use konko_core::{ClientConfig, Rng, Seed, ServerConfig, TransportConfig};

use crate::input::Input;
use konko_test::{null, null_key};

/// The target `wire`: the first byte says how many bytes of steps follow, the rest is read.
pub fn wire(data: &[u8]) {
    let (mut steps, mut bytes) = Input::split(data);
    let bytes = bytes.rest();
    let mut r = Reader::new(bytes);
    while !steps.is_empty() {
        let before = r.rest();
        let step = steps.byte() % 8;
        let again = match step {
            0 => r.u8().map(|v| put(|out| out.put_u8(v))),
            1 => r.bool().map(|_| Vec::new()),
            2 => r.u32().map(|v| put(|out| out.put_u32(v))),
            3 => r.u64().map(|v| put(|out| out.put_u64(v))),
            4 => r.string().map(|v| put(|out| out.put_string(v))),
            5 => r.mpint().map(|v| put(|out| out.put_mpint(v))),
            6 => r.name_list().map(|v| {
                let built: NameListBuilder = v.iter().collect();
                let list = built.finish();
                assert_eq!(NameList::parse(list.as_bytes()), Ok(v));
                put(|out| out.put_string(list.as_bytes()))
            }),
            _ => r.text().map(|v| {
                let shown = format!("{v} {v:?} {}", v.excerpt(20));
                assert!(!shown.chars().any(char::is_control), "{shown:?}");
                put(|out| out.put_string(v.as_bytes()))
            }),
        };
        match again {
            Ok(out) => {
                let used = &before[..before.len() - r.rest().len()];
                // Booleans are not canonical, mpints may have superfluous zeros.
                assert!(step == 1 || step == 5 || out == used);
            }
            Err(_) => assert_eq!(r.rest().len(), before.len(), "a failed read consumes nothing"),
        }
    }
}

fn put(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

/// The target `msgs`: any payload as every message.
pub fn msgs(data: &[u8]) {
    macro_rules! each {
        ($($name:ident)*) => { $(
            // What parses is written, and parses again.
            if let Ok(message) = $name::parse(data) {
                let mut out = Vec::new();
                message.put(&mut out);
                assert!($name::parse(&out).is_ok(), "{} does not parse again", stringify!($name));
                let mut twice = Vec::new();
                $name::parse(&out).into_iter().for_each(|m| m.put(&mut twice));
                assert!(out == twice);
            }
        )* };
    }
    each!(
        Disconnect Ignore Unimplemented Debug ServiceRequest ServiceAccept ExtInfo NewKeys Ping Pong
        KexInit EcdhInit EcdhReply DhInit DhReply GexRequest GexGroup GexInit GexReply
        UserauthRequest UserauthFailure UserauthSuccess UserauthBanner UserauthPkOk
        UserauthPasswdChangereq UserauthInfoRequest UserauthInfoResponse
        GlobalRequest RequestSuccess RequestFailure ChannelOpen ChannelOpenConfirmation
        ChannelOpenFailure ChannelWindowAdjust ChannelData ChannelExtendedData ChannelEof
        ChannelClose ChannelRequest ChannelSuccess ChannelFailure
    );
    if let Ok(m) = ExtInfo::parse(data) {
        m.iter().for_each(drop);
    }
    if let Ok(m) = UserauthInfoRequest::parse(data) {
        m.prompts().for_each(drop);
    }
}

/// The target `private_key`.
pub fn private_key(data: &[u8]) {
    // What a fuzzer may spend on the key derivation of an encrypted file.
    let limits = KdfLimits::default().bcrypt_rounds(2).pbkdf2_iterations(16).memory(64).work(128);
    for passphrase in [None, Some(&b"secret"[..])] {
        if let Ok(key) = PrivateKey::load_limited(data, passphrase, &limits) {
            let blob = key.public().to_blob();
            assert_eq!(PublicKey::from_blob(&blob).as_ref(), Ok(key.public()));
        }
    }
    let _ = PrivateKey::public_of(data);
}

/// The target `public_key`: as a blob and as a line.
pub fn public_key(data: &[u8]) {
    if let Ok(key) = PublicKey::from_blob(data) {
        let own = key.to_blob();
        assert_eq!(PublicKey::from_blob(&own).as_ref(), Ok(&key), "the key's own blob is another key");
        // The numbers of RSA may have zeros in front, which the key does not keep.
        let spelt_otherwise = key.key_type().name() == "ssh-rsa" && own.len() < data.len();
        assert!(own == data || spelt_otherwise, "a blob that is not canonical was taken");
        line_of(&key);
    }
    if let Ok((key, comment)) = PublicKey::load(data) {
        let text = key.to_rfc4716(&String::from_utf8_lossy(&comment));
        let (again, _) = PublicKey::load(text.as_bytes()).expect("what we write reads");
        assert_eq!(again, key);
    }
    if let Ok((key, comment)) = PublicKey::from_openssh_line(data) {
        let _ = comment.to_string();
        line_of(&key);
    }
}

fn line_of(key: &PublicKey) {
    let line = key.to_openssh_line("comment");
    let (again, _) = PublicKey::from_openssh_line(line.trim_end().as_bytes()).expect("a line of ours reads");
    assert_eq!(again, *key);
    let _ = (key.bits(), key.fingerprint(konko_core::crypto::HashAlgorithm::Sha256).to_string());
}

/// The target `krl`: what is read is written so that it is read again, a list of keys and a specification as well.
pub fn krl(data: &[u8]) {
    if let Ok(krl) = Krl::parse(data) {
        assert_eq!(Krl::parse(&krl.to_bytes()).as_ref(), Ok(&krl));
        assert_eq!(krl.items().count(), krl.items().count());
    }
    if let Ok(revoked) = RevokedKeys::parse(data) {
        let _ = revoked.check_key(null_key().public());
    }
    let mut krl = Krl::new();
    let _ = krl.revoke_from(data, &Authority::Any);
    assert_eq!(Krl::parse(&krl.to_bytes()), Ok(krl));
}

/// The target `sshsig`: what is read is written alike, and nobody is allowed by a line that is not understood.
pub fn sshsig(data: &[u8]) {
    for signature in [SshSig::from_armored(data), SshSig::from_blob(data)].into_iter().flatten() {
        assert_eq!(SshSig::from_armored(signature.to_armored().as_bytes()).as_ref(), Ok(&signature));
        let hash = MessageHash::of(signature.hash(), b"message");
        let _ = signature.verify(konko_core::provider::rustcrypto(), signature.namespace(), &hash);
    }
    if let Ok(signers) = AllowedSigners::parse("fuzz", data) {
        let key = null_key();
        let _ = signers.check(konko_core::provider::rustcrypto(), key.public(), b"alice", b"file", 1 << 30);
        let _ = (
            signers.principals_of(konko_core::provider::rustcrypto(), key.public(), 0),
            signers.matching(b"alice").count(),
        );
    }
}

/// The target `known_hosts`.
pub fn known_hosts(data: &[u8]) {
    if let Ok(mut file) = KnownHostsFile::parse(data) {
        assert_eq!(file.to_bytes(), data);
        let found = file.find("example.org", 22).iter().filter(|entry| entry.means == Means::Known).count();
        assert_eq!(file.remove("example.org", 22), found);
        file.hash_names(&mut Rng::from_seed(&Seed::new([1; 32])));
        assert!(file.find("example.org", 22).iter().all(|entry| entry.means != Means::Known));
    }
    let Ok(mut hosts) = KnownHosts::parse("fuzz", data) else { return };
    let key = null_key();
    for (host, port, ip) in [
        ("example.org", 22, Some("192.0.2.1")),
        ("10.0.0.1", 2222, None),
        ("0::1", 22, None),
        ("", 0, Some("")),
    ] {
        let _ = hosts.lookup(host, port, ip, key.public());
        let _ = hosts.known_algorithms(host, port);
    }
    let _ = (hosts.locations_of(key.public()), hosts.warnings());
    hosts.add_unreadable("another", "not read");
    let verdict = hosts.lookup("example.org", 22, None, key.public());
    assert!(
        matches!(verdict, HostKeyStatus::Revoked { .. } | HostKeyStatus::Unreadable { .. }),
        "{verdict:?}"
    );
}

/// The target `authorized_keys`: each line stands for itself, and whoever is let in was let in by one.
pub fn authorized_keys(data: &[u8]) {
    let Ok(keys) = AuthorizedKeys::parse("fuzz", data) else { return };
    let key = null_key();
    for (source, now) in [(Some("192.0.2.1"), Some(1 << 30)), (Some("2001:db8::1"), None), (None, Some(0))] {
        let source = source.map(|text| text.parse().expect("an address"));
        let Some(entry) = keys.find(key.public(), source, now) else { continue };
        let number = usize::try_from(entry.at.line).expect("a line") - 1;
        let line = data.split(|b| *b == b'\n').nth(number).expect("the line it names");
        let alone = AuthorizedKeys::parse("fuzz", line).expect("a line is no larger");
        let again = alone.find(key.public(), source, now).expect("the same line alone");
        assert_eq!(again.options, entry.options);
        assert_eq!(again.comment(), entry.comment());
        let twice = entry.options.clone().and(entry.options.clone()).expect("one command");
        for (host, port) in [(&b"localhost"[..], 80), (b"", 0), (b"a.example", 22)] {
            assert_eq!(twice.may_connect(host, port), entry.options.may_connect(host, port));
            assert_eq!(twice.may_listen(host, port), entry.options.may_listen(host, port));
        }
        assert!(twice.admits(source, now));
    }
    for warning in keys.warnings() {
        assert!(!warning.to_string().chars().any(char::is_control), "{warning:?}");
    }
}

/// The target `transcript`: any bytes as a file, and a replay of what reads.
pub fn transcript(data: &[u8]) {
    let Ok(read) = SecretTranscript::from_bytes(data) else { return };
    assert_eq!(read.to_bytes(), data);
    assert_eq!(read.redact().lines().count(), read.len());
    let keys = [null_key()];
    let transport = TransportConfig::new(null());
    let setup = match read.role() {
        Role::Client => Setup::Client { config: Arc::new(ClientConfig::new(transport)), keys: &keys },
        Role::Server => Setup::Server(Arc::new(ServerConfig::with_transport(transport, keys.to_vec()))),
    };
    match replay(&read, setup) {
        Ok(report) => assert!(report.records == read.len()),
        Err(divergence) => assert!(divergence.step <= read.len() + 1, "{divergence}"),
    }
}
