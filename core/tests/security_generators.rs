//! Generators over whole classes of hostile input: every message in every state (G1), every damage
//! to a valid message (G2), every flipped bit (G4), every reordering of a handshake (G8).

use std::sync::Arc;
use std::time::Duration;

use konko_core::crypto::{Cipher, Kex, Mac};
use konko_core::error::{Error, Fault};
use konko_core::msg;
use konko_core::transport::legal;
use konko_core::transport::negotiate::{Policy, Role};
use konko_core::wire::{Sink, SshStr};
use konko_core::*;
use konko_test::raw::rig::{Proof, prove, server_config, transport};
use konko_test::raw::*;
use konko_test::{host_key, key_of};

const ROLES: [Role; 2] = [Role::Client, Role::Server];

// ---- G1: every message in every state ----

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Idents are done.
    K0,
    /// KEXINITs too.
    K1,
    /// The same without strict key exchange.
    K1Lax,
    /// The reply is through; NEWKEYS is next.
    K2,
    K2Lax,
    /// Keyed.
    A0,
    /// The service is accepted; on a client a password request is out.
    A1,
    /// Keyboard-interactive is going on.
    A2,
    /// Connected.
    C,
    /// Our KEXINIT of a later exchange is out.
    R1,
    /// The peer's is in.
    R2,
    /// We said goodbye.
    X1,
    /// The peer did.
    X2,
}

const STATES: [At; 13] = [
    At::K0,
    At::K1,
    At::K1Lax,
    At::K2,
    At::K2Lax,
    At::A0,
    At::A1,
    At::A2,
    At::C,
    At::R1,
    At::R2,
    At::X1,
    At::X2,
];

fn at(state: At, role: Role) -> Rig {
    let mut rig = Rig::new(role);
    if matches!(state, At::K1Lax | At::K2Lax) {
        rig.peer.offer = rig.peer.offer.clone().lax();
    }
    rig.app.prompts = 0;
    match state {
        At::K0 => {
            rig.peer.send_ident();
            rig.run();
        }
        At::K1 | At::K1Lax => {
            rig.kexinit();
        }
        At::K2 | At::K2Lax => {
            rig.kexinit().method();
        }
        At::A0 => {
            rig.handshake();
        }
        At::A1 => {
            rig.service();
        }
        At::A2 => {
            rig.app.proofs = vec![Proof::Interactive];
            rig.service();
            if role == Role::Server {
                rig.send(&strings(50, &[b"alice", b"ssh-connection", b"keyboard-interactive", b"", b""]));
            }
        }
        At::C => {
            rig.login();
        }
        At::R1 => {
            rig.login();
            rig.conn().rekey().unwrap();
            rig.run();
        }
        At::R2 => {
            rig.login().rekey_init();
        }
        At::X1 => {
            rig.login();
            rig.conn().disconnect(msg::DisconnectCode::BY_APPLICATION, "");
            rig.run();
        }
        At::X2 => {
            rig.login();
            rig.send(&[1, 0, 0, 0, 11]);
        }
    }
    rig.messages();
    rig.events.clear();
    rig
}

/// A minimal valid body.
fn body(number: u8) -> Vec<u8> {
    let s = SshStr::new(b"x");
    match number {
        1 => payload(&msg::Disconnect { code: 11, description: s }),
        3 => payload(&msg::Unimplemented::new(0)),
        4 => payload(&msg::Debug::new(false, s, s)),
        5 | 6 => strings(number, &[b"ssh-userauth"]),
        7 => vec![7, 0, 0, 0, 0],
        20 => Vec::new(),
        21 | 52 | 82 => vec![number],
        30 => strings(30, &[&[9; 32]]),
        31 => strings(31, &[&host_key().public().to_blob(), &[9; 32], b"signature"]),
        34 => payload(&msg::GexRequest::new(2048, 2048, 8192)),
        50 => strings(50, &[b"alice", b"ssh-connection", b"none"]),
        51 => [&strings(51, &[b"password"])[..], &[0]].concat(),
        53 | 60 => strings(number, &[b"text", b""]),
        61 => vec![61, 0, 0, 0, 0],
        80 => payload(&msg::GlobalRequest::new(s, true, b"")),
        90 => payload(&msg::ChannelOpen::new(SshStr::new(b"session"), 0, 1, 1, b"")),
        91 => payload(&msg::ChannelOpenConfirmation::new(0, 0, 1, 1, b"")),
        92 => payload(&msg::ChannelOpenFailure { recipient: 0, reason: 1, description: s }),
        93 => payload(&msg::ChannelWindowAdjust::new(0, 1)),
        94 => payload(&msg::ChannelData::new(0, b"x")),
        95 => payload(&msg::ChannelExtendedData::new(0, 1, b"x")),
        96 | 97 | 99 | 100 => vec![number, 0, 0, 0, 0],
        98 => payload(&msg::ChannelRequest::new(0, s, true, b"")),
        2 | 32 | 33 | 81 | 192 | 193 => strings(number, &[b"x"]),
        other => vec![other, 0, 0, 0, 0],
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// The connection ends.
    End,
    /// Nothing at all happens.
    Quiet,
    /// The first answer is this message.
    Answer(u8),
    /// An event or a change of state.
    Goes,
}

use Want::{Answer, End, Goes, Quiet};

fn unassigned(number: u8) -> bool {
    !matches!(number, 0..=7 | 20 | 21 | 30..=34 | 50..=53 | 60 | 61 | 80..=127 | 192 | 193)
}

/// What must happen. Written by hand; whatever is not listed ends the connection.
fn want(state: At, role: Role, number: u8) -> Want {
    let client = role == Role::Client;
    let server = !client;
    match (state, number) {
        (At::X1, _) => Quiet,
        (At::X2, _) => End,
        (_, 1) => End,
        (At::K0 | At::K1Lax | At::K2Lax, 2..=4) => Quiet,
        (At::K1 | At::K2, 2..=4) => End,
        (_, 2..=4) => Quiet,
        (At::K0, 20) => Goes,
        (At::K1 | At::K1Lax, 30) if server => Answer(31),
        (At::K2 | At::K2Lax, 21) if server => Quiet,
        (At::K2 | At::K2Lax, 21) => Answer(5),
        (At::A0, 5) if server => Answer(6),
        (At::A0, 6) if client => Goes,
        (At::A0, 7) => Quiet,
        (At::A1 | At::A2, 7) if client => Quiet,
        (At::A0 | At::A1 | At::A2, 20) if client => Answer(20),
        (At::A0 | At::A1 | At::A2, 192 | 193) => Quiet,
        (At::A1 | At::A2, 5) if server => Answer(6),
        (At::A1 | At::A2, 50) if server => Answer(51),
        (At::A1 | At::A2, 51..=53) if client => Goes,
        (At::A1, 60) if client => Goes,
        (At::A2, 61) if server => Answer(52),
        // Servers send a FAILURE late, and nothing about authentication changes anything now.
        (At::C | At::R1, 51..=53 | 60) if client => Quiet,
        (At::C | At::R1, 50 | 61) if server => Quiet,
        (At::C | At::R1, 81 | 82 | 93 | 99 | 100 | 193) => Quiet,
        (At::C, 20) => Answer(20),
        (At::C, 80) => Answer(82),
        (At::C, 90) => Answer(if server { 91 } else { 92 }),
        (At::C, 192) => Answer(193),
        (At::R1, 20) => Goes,
        (At::R1, 80) => Goes,
        // The answer waits for the gate; refused without a question, there is nothing to see yet.
        (At::R1, 90) => {
            if server {
                Goes
            } else {
                Quiet
            }
        }
        (At::R1, 192) => Quiet,
        (At::R2, 30) if server => Answer(31),
        (At::A0 | At::A1 | At::A2 | At::C | At::R1 | At::R2, n) if unassigned(n) => Answer(3),
        _ => End,
    }
}

#[test]
fn g1_v22_every_message_in_every_state_does_what_the_table_says() {
    for state in STATES {
        for role in ROLES {
            for number in 0..=255u8 {
                let mut rig = at(state, role);
                let mut message = body(number);
                if number == 20 {
                    message = rig.peer.offer.payload([3; 16]);
                }
                let was = rig.error.is_some();
                rig.send(&message);
                // An attempt without proof is refused after the floor of all refusals.
                if number == 50 && role == Role::Server {
                    rig.wait(Duration::from_millis(10));
                }
                let wanted = want(state, role, number);
                let ended = rig.error.is_some();
                let events = rig.events.len();
                let said = if matches!(state, At::X1 | At::X2) {
                    None
                } else {
                    rig.peer.next_unless_newkeys(number)
                };
                let right = match wanted {
                    End => ended && events == 0,
                    Quiet => !ended && events == 0 && said.is_none(),
                    Answer(n) => !ended && said == Some(n),
                    Goes => !ended && (events > 0 || said.is_some()),
                };
                assert!(
                    right,
                    "{state:?} {role:?} {number}: wanted {wanted:?}, got {:?}, events {:?}, said {said:?}",
                    rig.error, rig.events
                );
                if was {
                    assert!(said.is_none());
                }
            }
        }
    }
}

#[test]
fn g1_the_hand_written_table_and_the_table_of_the_core_agree() {
    use legal::{Legality, State};
    let states = [
        (At::K0, State::FirstInit),
        (At::K1, State::FirstMethod),
        (At::K2, State::FirstNewKeys),
        (At::A0, State::Service),
        (At::A1, State::Auth),
        (At::C, State::Connected),
        (At::R2, State::RekeyMethod),
    ];
    for (mine, theirs) in states {
        for role in ROLES {
            for number in 0..=255u8 {
                let verdict = legal::judge(theirs, role, true, number);
                let wanted = want(mine, role, number);
                let fits = match verdict {
                    Legality::Reject => wanted == End,
                    Legality::Ignore => wanted == Quiet,
                    Legality::Unimplemented => wanted == Answer(3),
                    // What it means is for the machine to say.
                    Legality::Handle => wanted != Answer(3),
                };
                assert!(fits, "{theirs:?} {role:?} {number}: {verdict:?}, {wanted:?}");
            }
        }
    }
}

#[test]
fn g1_an_empty_body_is_never_more_welcome_than_a_full_one() {
    // These have no fields, or nobody looks at them.
    let bodyless = |n: u8| matches!(n, 2..=4 | 21 | 52 | 81 | 82 | 193) || unassigned(n);
    for state in STATES {
        for role in ROLES {
            for number in (0..=255u8).filter(|n| !unassigned(*n)) {
                let mut rig = at(state, role);
                rig.send(&[number]);
                let wanted = want(state, role, number);
                // Nobody looks at a ping before authentication, nor at what is about authentication after it.
                let early = matches!(state, At::A0 | At::A1 | At::A2);
                let late = matches!(number, 50..=53 | 60 | 61);
                // A SERVICE_ACCEPT may lack its name.
                let unnamed = number == 6 && wanted == Goes;
                let waved = unnamed || wanted == Quiet && (late || (number == 192 && early));
                if wanted == End || (wanted != Quiet && !bodyless(number) && !unnamed) {
                    assert!(rig.error.is_some(), "{state:?} {role:?} {number}");
                    assert_eq!(rig.events.len(), 0);
                } else if bodyless(number) || waved {
                    assert!(rig.error.is_none(), "{state:?} {role:?} {number}: {:?}", rig.error);
                }
            }
        }
    }
}

// ---- G2: damage to every message ----

/// Valid messages with the state they are for.
fn valid() -> Vec<(At, Role, Vec<u8>)> {
    let key = key_of(konko_core::keys::KeyType::ED25519, 9);
    let mut password = strings(50, &[b"alice", b"ssh-connection", b"password"]);
    password.push(0);
    password.put_string(b"wrong");
    let mut probe = strings(50, &[b"alice", b"ssh-connection", b"publickey"]);
    probe.push(0);
    probe.put_string(b"ssh-ed25519");
    probe.put_string(&key.public().to_blob());
    let kbdint = strings(50, &[b"alice", b"ssh-connection", b"keyboard-interactive", b"", b""]);
    let mut info = strings(60, &[b"name", b"what", b""]);
    info.put_u32(1);
    info.put_string(b"? ");
    info.put_bool(true);
    let mut ext = vec![7, 0, 0, 0, 1];
    ext.put_string(b"server-sig-algs");
    ext.put_string(b"ssh-ed25519");
    let request = |kind: &str, fields: &[u8]| {
        payload(&msg::ChannelRequest::new(0, SshStr::new(kind.as_bytes()), true, fields))
    };
    let s = |b: &[u8]| strings(0, &[b])[1..].to_vec();
    let mut pty = s(b"xterm");
    pty.extend_from_slice(&[0; 16]);
    pty.put_string(&[0]);
    let signal = [s(b"KILL"), vec![0], s(b"x"), s(b"")].concat();
    let mut direct = s(b"host");
    direct.put_u32(22);
    direct.put_string(b"from");
    direct.put_u32(1);
    let mut all = vec![
        (At::K0, Role::Server, Offer::fast(Role::Client).payload([1; 16])),
        (At::K0, Role::Client, Offer::fast(Role::Server).payload([1; 16])),
        (At::K1, Role::Server, body(30)),
        (At::K1, Role::Client, body(31)),
        (At::K2, Role::Server, body(21)),
        (At::A0, Role::Server, body(5)),
        (At::A0, Role::Client, body(6)),
        (At::A0, Role::Client, ext.clone()),
        (At::A0, Role::Server, ext),
        (At::A1, Role::Server, password),
        (At::A1, Role::Server, probe),
        (At::A1, Role::Server, kbdint),
        (At::A2, Role::Server, body(61)),
        (At::A2, Role::Client, info),
        (At::A1, Role::Client, body(51)),
        (At::A1, Role::Client, body(52)),
        (At::A1, Role::Client, body(53)),
        (At::A1, Role::Client, body(60)),
        (
            At::C,
            Role::Server,
            payload(&msg::ChannelOpen::new(SshStr::new(b"direct-tcpip"), 0, 1, 1, &direct)),
        ),
        (At::C, Role::Server, payload(&msg::ChannelOpen::new(SshStr::new(b"session"), 0, 1, 1, b""))),
    ];
    for n in [80, 90, 93, 94, 95, 96, 97, 98, 99, 100, 192] {
        all.push((At::C, Role::Server, body(n)));
    }
    for m in [
        request("pty-req", &pty),
        request("env", &[s(b"A"), s(b"b")].concat()),
        request("exec", &s(b"id")),
        request("window-change", &[0; 16]),
        request("exit-status", &[0; 4]),
        request("exit-signal", &signal),
        request("break", &[0; 4]),
        request("signal", &s(b"INT")),
        request("shell", b""),
    ] {
        all.push((At::C, Role::Server, m));
    }
    all
}

/// The state, with an open channel number 0 where there can be one.
fn ready(state: At, role: Role) -> Rig {
    let mut rig = at(state, role);
    if state == At::C {
        rig.open(9, 1 << 20, 1 << 15);
        rig.events.clear();
    }
    rig
}

#[test]
fn g2_v28_truncated_and_longer_messages_are_malformed() {
    for (state, role, message) in valid() {
        let (number, kind) = (message[0], String::from_utf8_lossy(&message).into_owned());
        for cut in 1..message.len() {
            let mut rig = ready(state, role);
            rig.send(&message[..cut]);
            // Nobody reads the end of these: an exit-signal without a language, a global request
            // whose name is not known.
            // A SERVICE_ACCEPT may lack its name.
            let unnamed = number == 6 && cut == 1;
            let tolerated = unnamed || kind.contains("exit-signal") && message.len() - cut == 4;
            assert!(rig.error.is_some() || tolerated, "{kind:?} cut at {cut}");
            assert!(rig.events.is_empty() || tolerated, "{kind:?} cut at {cut}: {:?}", rig.events);
        }
        for more in [&[0][..], &[1], &[0, 0, 0, 0, 0]] {
            let mut rig = ready(state, role);
            rig.send(&[&message[..], more].concat());
            let unknown = matches!(number, 80) || (number == 98 && message.ends_with(b"x\x01"));
            // What follows a banner or a SUCCESS is not looked at.
            let loose = matches!(number, 52 | 53);
            assert!(rig.error.is_some() || unknown || loose, "{kind:?} and {more:?}");
        }
    }
}

#[test]
fn g2_v29_any_length_or_count_may_be_a_lie() {
    for (state, role, message) in valid() {
        for at in 1..message.len().saturating_sub(3) {
            let real = u32::from_be_bytes(message[at..at + 4].try_into().unwrap());
            // Only where a length or a count can stand; the rest is covered by bit flips.
            if real > 300 {
                continue;
            }
            for lie in [0, 1, real.wrapping_sub(1), real + 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
                let mut rig = ready(state, role);
                let mut bad = message.clone();
                bad[at..at + 4].copy_from_slice(&lie.to_be_bytes());
                rig.send(&bad);
                rig.wait(Duration::from_millis(1));
                if rig.error.is_some() {
                    rig.assert_dead();
                }
            }
        }
    }
}

// ---- G4: every byte of a protected packet ----

fn protections() -> Vec<(Cipher, Option<Mac>)> {
    let mut all = Vec::new();
    for cipher in Cipher::ALL {
        if cipher.aead() {
            all.push((*cipher, None));
        } else {
            all.extend(Mac::ALL.iter().map(|m| (*cipher, Some(*m))));
        }
    }
    all
}

#[test]
fn g4_v13_a_flipped_bit_anywhere_ends_the_connection_without_an_event() {
    for (n, (cipher, mac)) in protections().into_iter().enumerate() {
        let role = ROLES[n % 2];
        let mut at = 0;
        loop {
            let mut rig = Rig::with(role, transport(Policy::LegacyDevice));
            rig.peer.offer = rig.peer.offer.clone().cipher(cipher, mac);
            rig.login();
            rig.events.clear();
            let mut packet = rig.peer.packet(&body(80));
            if at == packet.len() {
                break;
            }
            packet[at] ^= 1 << ((at + n) % 8);
            rig.feed(&packet);
            if rig.error.is_none() {
                // A longer packet is waited for, or the defect is concealed.
                rig.feed(&vec![0; 280 * 1024]);
            }
            let fault = match &rig.error {
                Some(Error::Peer(e)) => e.fault(),
                other => panic!("{cipher} {mac:?} byte {at}: {other:?}"),
            };
            assert!(
                matches!(fault, Fault::BadTag | Fault::PacketLength),
                "{cipher} {mac:?} byte {at}: {fault:?}"
            );
            assert_eq!(rig.events.len(), 0);
            at += 1;
        }
    }
}

// ---- G8: a man in the middle of a handshake ----

#[derive(Clone, Copy, Debug, PartialEq)]
enum Attack {
    Delete,
    Double,
    Swap,
    Ignore,
    Debug,
    Unimplemented,
    Replay,
}

const ATTACKS: [Attack; 7] = [
    Attack::Delete,
    Attack::Double,
    Attack::Swap,
    Attack::Ignore,
    Attack::Debug,
    Attack::Unimplemented,
    Attack::Replay,
];

/// Cuts the clear packets of one direction apart, ident line first, and changes one place.
struct Middle {
    buf: Vec<u8>,
    seen: usize,
    /// NEWKEYS went by: what follows is protected and passes in one piece.
    keyed: bool,
    held: Option<Vec<u8>>,
    first: Option<Vec<u8>>,
}

impl Middle {
    fn new() -> Self {
        Middle { buf: vec![], seen: 0, keyed: false, held: None, first: None }
    }

    fn pass(&mut self, bytes: &[u8], attack: Option<(Attack, usize)>) -> Vec<u8> {
        self.buf.extend_from_slice(bytes);
        let mut out = Vec::new();
        loop {
            if self.keyed {
                out.append(&mut self.buf);
                return out;
            }
            let unit: Vec<u8> = if self.seen == 0 {
                let Some(end) = self.buf.windows(2).position(|w| w == b"\r\n") else { return out };
                self.buf.drain(..end + 2).collect()
            } else {
                if self.buf.len() < 4 {
                    return out;
                }
                let n = u32::from_be_bytes(self.buf[..4].try_into().unwrap()) as usize + 4;
                if self.buf.len() < n {
                    return out;
                }
                self.buf.drain(..n).collect()
            };
            self.keyed = self.seen > 0 && unit[5] == 21;
            let hit = attack.filter(|(_, place)| *place == self.seen).map(|(a, _)| a);
            if self.seen == 1 {
                self.first = Some(unit.clone());
            }
            self.seen += 1;
            let filler = |body: &[u8]| {
                let pad = 16 - (body.len() + 5) % 8;
                let mut p = ((body.len() + 1 + pad) as u32).to_be_bytes().to_vec();
                p.push(pad as u8);
                p.extend_from_slice(body);
                p.resize(p.len() + pad, 0);
                p
            };
            match hit {
                None => {}
                Some(Attack::Delete) => continue,
                Some(Attack::Double) => out.extend_from_slice(&unit),
                Some(Attack::Swap) => {
                    self.held = Some(unit);
                    continue;
                }
                Some(Attack::Ignore) => out.extend(filler(&[2, 0, 0, 0, 0])),
                Some(Attack::Debug) => out.extend(filler(&[4, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
                Some(Attack::Unimplemented) => out.extend(filler(&[3, 0, 0, 0, 0])),
                Some(Attack::Replay) => out.extend(self.first.clone().unwrap_or_default()),
            }
            out.extend(unit);
            if let Some(held) = self.held.take() {
                out.extend(held);
            }
        }
    }
}

/// Whether both ends are authenticated after a handshake with this attack on one direction.
fn handshake(kex: Kex, to_server: bool, attack: Option<(Attack, usize)>) -> bool {
    let mut config = transport(Policy::Modern);
    config.algorithms.kex = vec![kex];
    let now = Time::from_micros(1);
    let mut client =
        ClientConnection::new(Arc::new(ClientConfig::new(config.clone())), Seed::new([1; 32]), now);
    let mut server = ServerConnection::new(Arc::new(server_config(config)), Seed::new([2; 32]), now);
    let (mut up, mut down) = (Middle::new(), Middle::new());
    let (mut client_rx, mut server_rx) = (RxBuf::new(), RxBuf::new());
    for _ in 0..12 {
        while let Ok(Step::Event(event)) = client.poll(now, &mut client_rx) {
            match event {
                ClientEvent::Auth(ClientAuth::HostKey(ticket)) => {
                    client.decide_host_key(ticket, Decision::Accept).unwrap()
                }
                ClientEvent::Auth(ClientAuth::Needed { .. }) => prove(&mut client, &Proof::Password),
                _ => {}
            }
        }
        while let Ok(Step::Event(event)) = server.poll(now, &mut server_rx) {
            if let ServerEvent::Auth(ServerAuth::Attempt { ticket, .. }) = event {
                server.decide_auth(ticket, server::AuthDecision::Accept).unwrap();
            }
        }
        let sent = client.tx().pending().to_vec();
        client.tx().consume(sent.len());
        server_rx.push(&up.pass(&sent, attack.filter(|_| to_server)));
        let sent = server.tx().pending().to_vec();
        server.tx().consume(sent.len());
        client_rx.push(&down.pass(&sent, attack.filter(|_| !to_server)));
    }
    client.is_authenticated() && server.is_authenticated()
}

#[test]
fn g8_k01_k03_under_strict_key_exchange_no_packet_is_moved_lost_or_added() {
    let families = [
        Kex::Curve25519Sha256,
        Kex::EcdhNistp256,
        Kex::Group14Sha256,
        Kex::GroupExchangeSha256,
        Kex::MlKem768X25519Sha256,
    ];
    for kex in families {
        assert!(handshake(kex, true, None), "{kex}");
        let packets = if kex.group_exchange() { 4 } else { 3 };
        for to_server in [true, false] {
            for place in 1..=packets {
                for attack in ATTACKS {
                    // A replay in front of itself is the double.
                    assert!(
                        !handshake(kex, to_server, Some((attack, place))),
                        "{kex}: {attack:?} at {place}, to the server: {to_server}"
                    );
                }
            }
        }
    }
}
