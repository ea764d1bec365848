//! The peer of a fuzzed connection: packets in clear, from raw bytes to well-made messages.

use konko_core::keys::{SignatureAlgorithm, signature};
use konko_core::msg::*;
use konko_core::transport::negotiate::Role;
use konko_core::wire::{NameList, Sink, SshStr};
use konko_test::null_key;

use crate::input::Input;

/// Frames a payload as the null provider does: padded to 8 bytes, in clear.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let mut pad = 8 - (payload.len() + 5) % 8;
    if pad < 4 {
        pad += 8;
    }
    let mut out = Vec::new();
    out.put_len(payload.len() + 1 + pad);
    out.put_u8(pad as u8);
    out.put(payload);
    out.resize(out.len() + pad, 0);
    out
}

fn text(s: &str) -> SshStr<'_> {
    SshStr::new(s.as_bytes())
}

fn payload<'m>(message: &impl Message<'m>) -> Vec<u8> {
    let mut out = Vec::new();
    message.put(&mut out);
    out
}

/// A blob that parses as a signature of the key pair.
fn signature_blob() -> Vec<u8> {
    signature::encode(SignatureAlgorithm::ED25519, &[1; 64])
}

/// KEXINIT with these methods first.
pub fn kexinit(role: Role, kex: &str, strict: bool, compression: &str, follows: bool) -> Vec<u8> {
    let side = if role == Role::Client { "c" } else { "s" };
    let mut list = format!("null-{kex}");
    if strict {
        list.push_str(&format!(",ext-info-{side},kex-strict-{side}-v00@openssh.com"));
    }
    let name = |s| NameList::parse(s).expect("a list of names");
    payload(&KexInit {
        cookie: [3; 16],
        kex: name(list.as_bytes()),
        host_key: name(b"null-ssh-ed25519"),
        cipher: [name(b"null-aes128-gcm@openssh.com,null-chacha20-poly1305@openssh.com"); 2],
        mac: [name(b"null-hmac-sha2-256"); 2],
        compression: [name(compression.as_bytes()); 2],
        first_kex_packet_follows: follows,
    })
}

const KEX: [&str; 6] = [
    "curve25519-sha256",
    "mlkem768x25519-sha256",
    "ecdh-sha2-nistp256",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group-exchange-sha256",
    "ecdh-sha2-nistp521",
];

/// The steps of a peer that wants to get on. `arg` picks variants.
pub fn script(role: Role, step: u8, arg: u8) -> Vec<u8> {
    match role {
        Role::Server => server_script(step, arg),
        Role::Client => client_script(step, arg),
    }
}

/// How many steps [`script`] has.
pub const STEPS: u8 = 32;

fn kexinit_variant(role: Role, arg: u8) -> Vec<u8> {
    let kex = KEX[usize::from(arg & 7) % KEX.len()];
    let compression = if arg & 16 == 0 { "none" } else { "zlib@openssh.com,none" };
    frame(&kexinit(role, kex, arg & 8 == 0, compression, arg & 32 != 0))
}

fn key_value(arg: u8) -> Vec<u8> {
    match arg & 7 {
        0 => vec![9; 32],
        1 => vec![2; 1088 + 32],
        2 => [vec![4], vec![7; 64]].concat(),
        3 => vec![0; 32],
        4 => vec![0x5a; 32],
        5 => [vec![4], vec![7; 132]].concat(),
        6 => vec![1; 1184 + 32],
        _ => vec![],
    }
}

/// What a server says to get a client on.
fn server_script(step: u8, arg: u8) -> Vec<u8> {
    let (n, big) = (u32::from(arg & 15), u32::from(arg) << 12);
    let key = null_key().public().to_blob();
    let value = key_value(arg);
    let sig = signature_blob();
    frame(&match step % STEPS {
        0 => return b"SSH-2.0-fuzz\r\n".to_vec(),
        1 => return kexinit_variant(Role::Server, arg),
        2 => payload(&EcdhReply::new(&key, &value, &sig)),
        3 => payload(&NewKeys::new()),
        4 => {
            let mut pairs = Vec::new();
            pairs.put_string(b"server-sig-algs");
            pairs.put_string(b"ssh-ed25519,rsa-sha2-256");
            pairs.put_string(b"ping@openssh.com");
            pairs.put_string(b"0");
            payload(&ExtInfo::new(2, &pairs))
        }
        5 => payload(&ServiceAccept::new(text("ssh-userauth"))),
        6 => {
            let list = NameList::parse(b"password,publickey,keyboard-interactive").expect("names");
            payload(&UserauthFailure::new(list, arg & 1 == 1))
        }
        7 => payload(&UserauthSuccess::new(&[])),
        8 => payload(&UserauthBanner { message: text("hello \u{1b}[0m") }),
        9 => payload(&UserauthPkOk::new(text("ssh-ed25519"), &key)),
        10 => {
            let mut prompts = Vec::new();
            for _ in 0..n {
                prompts.put_string(b"What? ");
                prompts.put_bool(false);
            }
            payload(&UserauthInfoRequest::new(text("n"), text("i"), n, &prompts))
        }
        11 => payload(&UserauthPasswdChangereq::new(text("old"), text(""))),
        12 => payload(&GexGroup::new(&[0xff; 256], &[2])),
        13 => payload(&GexReply::new(&key, &[0x5a; 32], &sig)),
        14 => payload(&DhReply::new(&key, &[0x5a; 32], &sig)),
        _ => return connection_script(step % STEPS, arg, n, big),
    })
}

/// What a client says to get a server on.
fn client_script(step: u8, arg: u8) -> Vec<u8> {
    let (n, big) = (u32::from(arg & 15), u32::from(arg) << 12);
    let key = null_key().public().to_blob();
    let value = key_value(arg);
    let request = |method: &str, fields: &[u8]| {
        let user = if arg & 64 == 0 { "alice" } else { "bob" };
        payload(&UserauthRequest::new(text(user), text("ssh-connection"), text(method), fields))
    };
    frame(&match step % STEPS {
        0 => return b"SSH-2.0-fuzz\r\n".to_vec(),
        1 => return kexinit_variant(Role::Client, arg),
        2 => payload(&EcdhInit::new(&value)),
        3 => payload(&NewKeys::new()),
        4 => payload(&ExtInfo::new(0, &[])),
        5 => payload(&ServiceRequest::new(text("ssh-userauth"))),
        6 => request("none", &[]),
        7 => {
            let mut fields = vec![0];
            fields.put_string(b"secret");
            request("password", &fields)
        }
        8 => {
            let mut fields = vec![1];
            fields.put_string(b"secret");
            fields.put_string(b"fresh");
            request("password", &fields)
        }
        9 | 10 => {
            let signed = step % STEPS == 10;
            let mut fields = vec![u8::from(signed)];
            fields.put_string(b"ssh-ed25519");
            fields.put_string(&key);
            if signed {
                fields.put_string(&signature_blob());
            }
            request("publickey", &fields)
        }
        11 => request("keyboard-interactive", &[0; 8]),
        12 => {
            let mut answers = Vec::new();
            (0..n).for_each(|_| answers.put_string(b"42"));
            payload(&UserauthInfoResponse::new(n, &answers))
        }
        13 => payload(&GexRequest::new(2048, 2048 + n, 8192)),
        14 => payload(&GexInit::new(&[0x5a; 32])),
        _ => return connection_script(step % STEPS, arg, n, big),
    })
}

fn connection_script(step: u8, arg: u8, n: u32, big: u32) -> Vec<u8> {
    let data = vec![arg; usize::from(arg) * 3];
    let kinds = ["session", "direct-tcpip", "forwarded-tcpip", "x11"];
    let kind = kinds[usize::from(arg >> 6)];
    let mut address = Vec::new();
    address.put_string(b"host");
    address.put_u32(22);
    address.put_string(b"from");
    address.put_u32(n);
    let fields: &[u8] = if kind == "session" { &[] } else { &address };
    frame(&match step {
        15 => payload(&ChannelOpen::new(text(kind), n, big, 32_768, fields)),
        16 => payload(&ChannelOpenConfirmation::new(n & 3, n, big, 1 + big, &[])),
        17 => payload(&ChannelOpenFailure { recipient: n & 3, reason: n, description: text("no") }),
        18 => payload(&ChannelWindowAdjust::new(n & 3, big)),
        19 => payload(&ChannelData::new(n & 3, &data)),
        20 => payload(&ChannelExtendedData::new(n & 3, 1, &data)),
        21 => payload(&ChannelEof::new(n & 3)),
        22 => payload(&ChannelClose::new(n & 3)),
        23 => {
            let (name, fields): (&str, &[u8]) = match arg >> 4 {
                0 => ("shell", &[]),
                1 => ("exec", b"\0\0\0\x02id"),
                2 => ("exit-status", &[0, 0, 0, 1]),
                3 => ("env", b"\0\0\0\x01A\0\0\0\x01B"),
                4 => ("subsystem", b"\0\0\0\x04sftp"),
                5 => ("window-change", &[0; 16]),
                6 => ("eow@openssh.com", &[]),
                _ => ("unknown@fuzz", b"xyz"),
            };
            payload(&ChannelRequest::new(n & 3, text(name), arg & 8 == 0, fields))
        }
        24 => payload(&ChannelSuccess::new(n & 3)),
        25 => payload(&ChannelFailure::new(n & 3)),
        26 => payload(&GlobalRequest::new(text("keepalive@openssh.com"), arg & 1 == 0, &[])),
        27 => payload(&RequestSuccess::new(&[])),
        28 => payload(&RequestFailure::new()),
        29 => payload(&Ping::new(&data)),
        30 => payload(&Ignore::new(&data)),
        _ => payload(&Disconnect { code: n, description: text("bye") }),
    })
}

/// Steps that take a connection of the other role through key exchange, and with `arg` odd
/// through authentication.
pub fn opening(role: Role, arg: u8) -> Vec<u8> {
    let steps: &[(u8, u8)] = match role {
        Role::Server => &[(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (7, 0)],
        Role::Client => &[(0, 0), (1, 0), (2, 0), (3, 0), (5, 0), (7, 0)],
    };
    let count = if arg & 1 == 1 { steps.len() } else { steps.len() - 1 };
    steps[..count].iter().flat_map(|(step, arg)| script(role, *step, *arg)).collect()
}

/// A well-framed message with any number and fields of the right kinds in any order.
pub fn assembled(input: &mut Input<'_>) -> Vec<u8> {
    const NAMES: [&str; 12] = [
        "session",
        "ssh-connection",
        "ssh-userauth",
        "publickey",
        "password",
        "keyboard-interactive",
        "exec",
        "exit-signal",
        "pty-req",
        "tcpip-forward",
        "curve25519-sha256,none",
        "ssh-ed25519",
    ];
    let mut out = Vec::new();
    out.put_u8(MESSAGES[input.below(MESSAGES.len())].number);
    for _ in 0..input.below(8) {
        match input.below(6) {
            0 => out.put_u8(input.byte()),
            1 => out.put_u32(input.u32()),
            2 => out.put_string(input.bytes()),
            3 => out.put_string(input.pick(&NAMES).as_bytes()),
            4 => out.put_u32(u32::from(input.byte() & 3)),
            _ => out.put(input.bytes()),
        }
    }
    frame(&out)
}
