//! A man in the middle between two real machines with real cryptography.
//!
//! He may drop, insert, repeat, swap, cut and change what goes by, packet by packet while it is in
//! clear and byte by byte after that. Whatever he does: if the client gets to the end, it and the
//! server saw exactly what they see without him (K-01, Terrapin).

use std::sync::{Arc, OnceLock};

use konko_core::channel::{ChannelEvent, ChannelId, ChannelRequest, DataStream, Exit, OpenKind};
use konko_core::client::{AuthRequest, Password};
use konko_core::crypto::{Cipher, Kex, Mac};
use konko_core::keys::SignatureAlgorithm;
use konko_core::msg::{self, Message};
use konko_core::server::{AuthDecision, Credential};
use konko_core::wire::{Sink, SshStr};
use konko_core::*;
use konko_test::host_key;

use crate::input::Input;
use crate::peer;

const NOW: Time = Time::from_micros(1_000_000);

/// Everything that the applications saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outcome {
    client: Vec<String>,
    server: Vec<String>,
    /// What the client learned of the server's abilities; comes in EXT_INFO, which Terrapin cuts.
    signature_algorithms: Vec<SignatureAlgorithm>,
    algorithms: String,
    strict: bool,
    done: bool,
}

/// One thing the man does, to a unit of one direction: the identification, a packet, or what comes
/// at once after NEWKEYS.
#[derive(Clone, Copy, Debug)]
struct Act {
    to_server: bool,
    at: usize,
    what: u8,
    arg: [u8; 2],
}

/// A key that shows what the client knows of the server's algorithms.
fn rsa() -> keys::PublicKey {
    let line = include_bytes!("../../core/tests/data/keys/rsa.pub");
    keys::PublicKey::from_openssh_line(line.trim_ascii()).expect("a key of the tests").0
}

fn transport(suite: u8) -> TransportConfig {
    let mut transport = TransportConfig::new(provider::rustcrypto());
    transport.algorithms.kex = vec![Kex::Curve25519Sha256];
    let (cipher, mac) = match suite % 4 {
        0 => (Cipher::ChaCha20Poly1305, Mac::HmacSha256),
        1 => (Cipher::Aes128Gcm, Mac::HmacSha256),
        2 => (Cipher::Aes128Ctr, Mac::HmacSha256Etm),
        _ => (Cipher::Aes128Ctr, Mac::HmacSha256),
    };
    transport.algorithms.set_ciphers(&[cipher]);
    transport.algorithms.mac = [vec![mac], vec![mac]];
    transport
}

/// Follows one direction: cuts it into units while it is in clear.
#[derive(Default)]
struct LoginMethod {
    held: Vec<u8>,
    unit: usize,
    ident: bool,
    sealed: bool,
    /// The unit that waits to be sent after its successor.
    swapped: Option<Vec<u8>>,
}

impl LoginMethod {
    /// What goes on to the other side of what came.
    fn pass(&mut self, bytes: &[u8], to_server: bool, acts: &[Act]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let mut out = Vec::new();
        while let Some(unit) = self.next() {
            let act = acts.iter().find(|a| a.to_server == to_server && a.at == self.unit);
            self.unit += 1;
            let late = self.swapped.take();
            match act {
                Some(act) if act.what % 8 == 4 && !self.sealed => self.swapped = Some(unit),
                Some(act) => meddle(*act, unit, &mut out),
                None => out.extend(unit),
            }
            out.extend(late.unwrap_or_default());
        }
        out
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        let end = if self.sealed {
            self.held.len()
        } else if !self.ident {
            self.ident = self.held.contains(&b'\n');
            self.held.iter().position(|b| *b == b'\n')? + 1
        } else {
            let head = self.held.first_chunk::<4>()?;
            let end = u32::from_be_bytes(*head) as usize + 4;
            if self.held.len() < end {
                return None;
            }
            self.sealed = self.held.get(5) == Some(&msg::NewKeys::NUMBER);
            end
        };
        (end > 0).then(|| self.held.drain(..end).collect())
    }
}

fn meddle(act: Act, mut unit: Vec<u8>, out: &mut Vec<u8>) {
    let [a, b] = act.arg;
    match act.what % 8 {
        0 => {}
        1 => {
            out.extend_from_slice(&unit);
            out.extend(unit);
        }
        2 => {
            out.extend(inserted(a, b));
            out.extend(unit);
        }
        3 => {
            let at = usize::from(u16::from_be_bytes([a, b])) % unit.len();
            unit[at] ^= 1 << (a & 7);
            out.extend(unit);
        }
        5 => {
            // Sealed: the first packets disappear, as Terrapin wants it.
            unit.drain(..unit.len().min(usize::from(a) * 4 + usize::from(b & 3)));
            out.extend(unit);
        }
        6 => {
            unit.truncate(unit.len().saturating_sub(usize::from(a)));
            out.extend(unit);
        }
        _ => {
            out.extend(unit);
            out.extend(inserted(a, b));
        }
    }
}

/// Packets that anybody can make up.
fn inserted(a: u8, b: u8) -> Vec<u8> {
    let mut payload = Vec::new();
    match a % 8 {
        0 => msg::Ignore::new(&[0; 4]).put(&mut payload),
        1 => msg::Unimplemented::new(u32::from(b)).put(&mut payload),
        2 => msg::Debug::new(false, SshStr::new(b"x"), SshStr::new(b"")).put(&mut payload),
        3 => msg::ExtInfo::new(0, &[]).put(&mut payload),
        4 => msg::NewKeys::new().put(&mut payload),
        5 => payload.put_u8(b),
        6 => msg::Ping::new(&[]).put(&mut payload),
        _ => msg::ServiceAccept::new(SshStr::new(b"ssh-userauth")).put(&mut payload),
    }
    peer::frame(&payload)
}

struct Scene {
    client: ClientConnection,
    server: ServerConnection,
    outcome: Outcome,
    channel: Option<ChannelId>,
}

impl Scene {
    fn client_event(&mut self, event: ClientEvent<'_>) {
        self.outcome.client.push(format!("{event:?}"));
        match event {
            ClientEvent::Auth(ClientAuth::HostKey(ticket)) => {
                let right = self.client.offered_host_key() == Some(host_key().public());
                self.client.decide_host_key(ticket, Decision::accept_if(right)).expect("a fresh ticket");
            }
            ClientEvent::Auth(ClientAuth::Needed { .. }) => {
                self.outcome.signature_algorithms = self.client.signature_algorithms(&rsa());
                let password = Password::new("secret");
                let _ = self.client.authenticate("alice", AuthRequest::Password(&password));
            }
            ClientEvent::Authenticated { .. } => self.channel = self.client.open(OpenKind::Session).ok(),
            ClientEvent::Opened(id) => {
                let _ = self.client.request(id, ChannelRequest::Exec(SshStr::new(b"run")), WantReply::Yes);
                let _ = self.client.write(id, DataStream::Data, b"question");
            }
            ClientEvent::Channel(_, ChannelEvent::Exit(Exit::Status(7))) => self.outcome.done = true,
            _ => {}
        }
    }

    fn server_event(&mut self, event: ServerEvent<'_>) {
        self.outcome.server.push(format!("{event:?}"));
        match event {
            ServerEvent::Auth(ServerAuth::Attempt { ticket, credential, .. }) => {
                let right = matches!(credential, Credential::Password(p) if p == b"secret");
                let verdict = if right { AuthDecision::Accept } else { AuthDecision::Reject };
                self.server.decide_auth(ticket, verdict).expect("a fresh ticket");
            }
            ServerEvent::Open { ticket, .. } => drop(self.server.accept_channel(ticket).ok()),
            ServerEvent::Channel(_, ChannelEvent::Request { ticket: Some(ticket), .. }) => {
                let _ = self.server.reply(ticket, Decision::Accept);
            }
            ServerEvent::Channel(id, ChannelEvent::Data { .. }) => {
                let _ = self.server.write(id, DataStream::Data, b"answer");
                let _ = self.server.request(id, ChannelRequest::ExitStatus(7), WantReply::No);
            }
            _ => {}
        }
    }
}

/// Lets the two talk until nothing moves; `acts` happen in between.
fn talk(suite: u8, acts: &[Act]) -> Outcome {
    let transport = transport(suite);
    let client = Arc::new(ClientConfig::new(transport.clone()));
    let mut server = ServerConfig::with_transport(transport, vec![host_key()]);
    // What only EXT_INFO tells.
    Arc::make_mut(&mut server.transport).algorithms.user_key =
        vec![SignatureAlgorithm::ED25519, SignatureAlgorithm::RSA_SHA256];
    let server = Arc::new(server);
    let mut scene = Scene {
        client: ClientConnection::new(client, Seed::new([1; 32]), NOW),
        server: ServerConnection::new(server, Seed::new([2; 32]), NOW),
        outcome: Outcome::default(),
        channel: None,
    };
    let (mut to_server, mut to_client) = (LoginMethod::default(), LoginMethod::default());
    let (mut client_rx, mut server_rx) = (RxBuf::new(), RxBuf::new());
    for _ in 0..100 {
        let up = scene.client.tx().pending().to_vec();
        scene.client.tx().consume(up.len());
        server_rx.push(&to_server.pass(&up, true, acts));
        while let Ok(Step::Event(event)) = scene.server.poll(NOW, &mut server_rx) {
            scene.server_event(event);
        }
        let down = scene.server.tx().pending().to_vec();
        scene.server.tx().consume(down.len());
        client_rx.push(&to_client.pass(&down, false, acts));
        while let Ok(Step::Event(event)) = scene.client.poll(NOW, &mut client_rx) {
            scene.client_event(event);
        }
        if up.is_empty() && down.is_empty() && scene.client.tx().is_empty() {
            break;
        }
    }
    scene.outcome.algorithms = format!("{:?}", scene.client.negotiated());
    scene.outcome.strict = scene.client.strict_kex() && scene.server.strict_kex();
    if scene.outcome.done {
        assert_eq!(scene.client.session_id(), scene.server.session_id());
    }
    scene.outcome
}

/// The target `mitm`.
pub fn mitm(data: &[u8]) {
    static UNDISTURBED: [OnceLock<Outcome>; 4] = [const { OnceLock::new() }; 4];
    let mut input = Input::new(data);
    let suite = input.byte() % 4;
    let undisturbed = UNDISTURBED[usize::from(suite)].get_or_init(|| talk(suite, &[]));
    assert!(undisturbed.done && undisturbed.strict, "{undisturbed:#?}");
    assert_eq!(undisturbed.signature_algorithms, [SignatureAlgorithm::RSA_SHA256]);
    let mut acts = Vec::new();
    while !input.is_empty() && acts.len() < 5 {
        let place = input.byte();
        acts.push(Act {
            to_server: place & 1 == 0,
            at: usize::from(place >> 1) % 8,
            what: input.byte(),
            arg: [input.byte(), input.byte()],
        });
    }
    let outcome = talk(suite, &acts);
    if outcome.done {
        assert_eq!(outcome, *undisturbed, "{acts:?}");
    } else {
        // What was delivered before it broke off is what would have been delivered.
        let login = |e: &String| e.starts_with("Auth") && !e.starts_with("Auth(HostKey(");
        let connected = |events: &[String]| events.iter().any(login);
        if connected(&outcome.server) {
            assert!(undisturbed.server.starts_with(&outcome.server), "{acts:?}: {outcome:#?}");
        }
        if connected(&outcome.client) {
            assert!(undisturbed.client.starts_with(&outcome.client), "{acts:?}: {outcome:#?}");
            assert_eq!(outcome.signature_algorithms, undisturbed.signature_algorithms, "{acts:?}");
        }
    }
}
