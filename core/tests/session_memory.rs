//! A14: no freed memory still holds a secret of a session: passwords, answers, what was typed and
//! read, keys. In a file of its own, because it needs its own allocator.

mod watcher;

use std::sync::Arc;
use std::time::Duration;

use konko_core::auth::{Method, MethodSet};
use konko_core::channel::{ChannelEvent, ChannelId, ChannelRequest, DataStream, OpenKind};
use konko_core::client::{AuthRequest, Password};
use konko_core::crypto::*;
use konko_core::keys::{KeyPair, KeyType, PrivateKey};
use konko_core::server::{AuthDecision, Challenge, Credential};
use konko_core::wire::SshStr;
use konko_core::*;
use watcher::{leaks, look_for, look_for_too, unwatched};

const PASSWORD: &str = "an old password that nobody may read";
const NEW: &str = "the new password that nobody may read";
const ANSWER: &str = "one answer that nobody may read either";
const VARIABLE: &str = "token-0123456789-of-the-environment";
const TYPED: &[u8] = b"typed into sudo: do not leave this behind";

/// Hands on to RustCrypto, and tells the watcher about every secret that passes.
#[derive(Debug)]
struct Telling;

fn text(text: &str) -> SshStr<'_> {
    SshStr::new(text.as_bytes())
}

fn inner() -> &'static dyn Provider {
    provider::rustcrypto()
}

fn told(secret: Secret) -> Secret {
    look_for_too(secret.expose());
    secret
}

impl Provider for Telling {
    fn name(&self) -> &'static str {
        "telling"
    }
    fn fast_aes(&self) -> bool {
        true
    }
    fn sealer(&self, p: Protection, keys: &DirectionKeys) -> Result<Box<dyn PacketSealer>, BadKey> {
        [&keys.key, &keys.mac].iter().for_each(|key| look_for_too(key.expose()));
        inner().sealer(p, keys)
    }
    fn opener(&self, p: Protection, keys: &DirectionKeys) -> Result<Box<dyn PacketOpener>, BadKey> {
        [&keys.key, &keys.mac].iter().for_each(|key| look_for_too(key.expose()));
        inner().opener(p, keys)
    }
    fn hash(&self, algorithm: HashAlgorithm) -> Box<dyn Hash> {
        inner().hash(algorithm)
    }
    fn x25519_public(&self, secret: &[u8; 32]) -> [u8; 32] {
        look_for_too(secret);
        inner().x25519_public(secret)
    }
    fn x25519(&self, secret: &[u8; 32], peer: &[u8; 32]) -> Result<Secret, BadPublicValue> {
        inner().x25519(secret, peer).map(told)
    }
    fn ecdh_generate(&self, curve: Curve, rng: &mut Rng) -> (Secret, Vec<u8>) {
        let (secret, public) = inner().ecdh_generate(curve, rng);
        (told(secret), public)
    }
    fn ecdh(&self, curve: Curve, secret: &Secret, peer: &[u8]) -> Result<Secret, BadPublicValue> {
        inner().ecdh(curve, secret, peer).map(told)
    }
    fn kems(&self) -> &'static [Kem] {
        inner().kems()
    }
    fn kem_generate(&self, kem: Kem, seed: &[u8; 64]) -> Result<(Secret, Vec<u8>), BadPublicValue> {
        look_for_too(seed);
        inner().kem_generate(kem, seed).map(|(private, public)| (told(private), public))
    }
    fn kem_encapsulate(
        &self,
        kem: Kem,
        public: &[u8],
        m: &[u8; 32],
    ) -> Result<(Vec<u8>, Secret), BadPublicValue> {
        inner().kem_encapsulate(kem, public, m).map(|(c, k)| (c, told(k)))
    }
    fn kem_decapsulate(
        &self,
        kem: Kem,
        private: &Secret,
        ciphertext: &[u8],
    ) -> Result<Secret, BadPublicValue> {
        inner().kem_decapsulate(kem, private, ciphertext).map(told)
    }
    fn modexp(&self, p: &[u8], base: &[u8], exponent: &Secret) -> Result<Secret, BadPublicValue> {
        inner().modexp(p, base, exponent)
    }
    fn schemes(&self) -> &'static [&'static dyn Scheme] {
        inner().schemes()
    }
}

fn config(kex: Kex, cipher: Cipher, compression: Compression) -> TransportConfig {
    let mut config = TransportConfig::new(&Telling);
    config.algorithms.kex = vec![kex];
    config.algorithms.set_ciphers(&[cipher]).set_compression(&[compression]);
    config
}

fn host_key() -> Arc<KeyPair> {
    let mut rng = Rng::from_seed(&Seed::new([7; 32]));
    let key = PrivateKey::generate(KeyType::ED25519, &mut rng).unwrap();
    Arc::new(key.key_pair(inner()).unwrap())
}

struct Session {
    client: ClientConnection,
    server: ServerConnection,
    rx: [RxBuf; 2],
    now: Time,
    interactive: bool,
    /// The client's and the server's number of the channel.
    channels: [Option<ChannelId>; 2],
    came: [usize; 2],
    /// Every event, in `Debug` form.
    told: String,
}

impl Session {
    fn on_client(&mut self) -> bool {
        let Ok(Step::Event(event)) = self.client.poll(self.now, &mut self.rx[0]) else { return false };
        unwatched(|| self.told.push_str(&format!("{event:?}\n")));
        match event {
            ClientEvent::Auth(ClientAuth::HostKey(ticket)) => {
                self.client.decide_host_key(ticket, Decision::Accept).unwrap()
            }
            ClientEvent::Auth(ClientAuth::Needed { .. }) if self.interactive => {
                self.client.authenticate("alice", AuthRequest::KeyboardInteractive).unwrap();
            }
            ClientEvent::Auth(ClientAuth::Needed { .. }) => {
                let password = Password::new(PASSWORD);
                self.client.authenticate("alice", AuthRequest::Password(&password)).unwrap();
            }
            ClientEvent::Auth(ClientAuth::PasswordExpired { .. }) => {
                let (old, new) = (Password::new(PASSWORD), Password::new(NEW));
                let change = AuthRequest::PasswordChange { old: &old, new: &new };
                self.client.authenticate("alice", change).unwrap();
            }
            ClientEvent::Auth(ClientAuth::Prompts { ticket, .. }) => {
                self.client.answer_prompts(ticket, &[ANSWER, PASSWORD]).unwrap();
            }
            ClientEvent::Authenticated { .. } => {
                self.channels[0] = Some(self.client.open(OpenKind::Session).unwrap());
            }
            ClientEvent::Channel(id, ChannelEvent::Data { data, .. }) => {
                self.came[0] += data.len();
                self.client.consume(id, data.len()).unwrap();
            }
            _ => {}
        }
        true
    }

    fn on_server(&mut self) -> bool {
        let Ok(Step::Event(event)) = self.server.poll(self.now, &mut self.rx[1]) else { return false };
        unwatched(|| self.told.push_str(&format!("{event:?}\n")));
        match event {
            ServerEvent::Auth(ServerAuth::Attempt { ticket, credential, .. }) => {
                let verdict = match credential {
                    Credential::Password(_) => AuthDecision::PasswordExpired { prompt: "a new one: ".into() },
                    Credential::PasswordChange { old, new } => {
                        assert_eq!((old, new), (PASSWORD.as_bytes(), NEW.as_bytes()));
                        AuthDecision::Accept
                    }
                    Credential::KeyboardInteractive { .. } => {
                        let prompts = vec![("one: ".into(), false), ("two: ".into(), false)];
                        AuthDecision::Challenge(Challenge { prompts, ..Challenge::default() })
                    }
                    Credential::Answers(answers) => {
                        assert!(answers.iter().eq([ANSWER.as_bytes(), PASSWORD.as_bytes()]));
                        AuthDecision::Accept
                    }
                    _ => AuthDecision::Reject,
                };
                self.server.decide_auth(ticket, verdict).unwrap();
            }
            ServerEvent::Open { ticket, .. } => {
                self.channels[1] = Some(self.server.accept_channel(ticket).unwrap());
            }
            ServerEvent::Channel(_, ChannelEvent::Request { ticket: Some(ticket), .. }) => {
                self.server.reply(ticket, Decision::Accept).unwrap();
            }
            ServerEvent::Channel(id, ChannelEvent::Data { data, .. }) => {
                self.came[1] += data.len();
                self.server.consume(id, data.len()).unwrap();
            }
            _ => {}
        }
        true
    }

    /// Until nothing moves; time passes at deadlines up to two seconds ahead.
    fn run(&mut self) {
        for _ in 0..3 {
            loop {
                while self.on_client() || self.on_server() {}
                let (up, down) = (self.client.tx().len(), self.server.tx().len());
                self.rx[1].push(self.client.tx().pending());
                self.client.tx().consume(up);
                self.rx[0].push(self.server.tx().pending());
                self.server.tx().consume(down);
                if up + down == 0 {
                    break;
                }
            }
            self.now = self.now + Duration::from_secs(1);
        }
    }

    /// Bytes that begin with the mark and hold it again and again, both ways, by both calls.
    fn type_and_read(&mut self) {
        let (c, s) = (self.channels[0].unwrap(), self.channels[1].unwrap());
        for len in [TYPED.len(), 1000, 30_000, 200_000] {
            let data: Vec<u8> = unwatched(|| TYPED.iter().copied().cycle().take(len).collect());
            assert_eq!(self.client.write(c, DataStream::Data, &data), Ok(len));
            let mut slot = self.server.slot(s, DataStream::Data, len).unwrap().unwrap();
            let n = slot.bytes().len().min(len);
            slot.bytes()[..n].copy_from_slice(&data[..n]);
            slot.commit(n);
            unwatched(|| drop(data));
            self.run();
        }
        // Room that was lent and filled, and never sent.
        let mut slot = self.client.slot(c, DataStream::Data, TYPED.len()).unwrap().unwrap();
        slot.bytes().copy_from_slice(TYPED);
        drop(slot);
        self.run();
    }
}

/// One session from the first byte until both ends are dropped; what `Debug` showed of its events.
fn session(
    kex: Kex,
    cipher: Cipher,
    compression: Compression,
    interactive: bool,
    key: &Arc<KeyPair>,
) -> String {
    let now = Time::from_micros(1_000_000);
    let mut server = ServerConfig::new(config(kex, cipher, compression), vec![key.clone()]);
    let methods = [Method::Password, Method::KeyboardInteractive];
    server.methods = methods.into_iter().collect::<MethodSet>();
    let client = ClientConfig::new(config(kex, cipher, compression));
    let mut session = Session {
        client: ClientConnection::new(Arc::new(client), Seed::new([1; 32]), now),
        server: ServerConnection::new(Arc::new(server), Seed::new([2; 32]), now),
        rx: [RxBuf::new(), RxBuf::new()],
        now,
        interactive,
        channels: [None; 2],
        came: [0; 2],
        told: String::new(),
    };
    session.run();
    assert!(session.channels[1].is_some(), "nobody got in: {}", session.told);
    session.type_and_read();
    // While the gate is shut, what is asked for is kept.
    session.client.rekey().unwrap();
    session.on_client();
    let id = session.channels[0].unwrap();
    let variable = ChannelRequest::Env { name: text("TOKEN"), value: text(VARIABLE) };
    session.client.request(id, variable, WantReply::Yes).unwrap();
    session.run();
    session.type_and_read();
    // Idle connections give their memory back.
    session.rx.iter_mut().for_each(RxBuf::release);
    session.client.tx().release();
    session.server.tx().release();
    session.type_and_read();
    assert!(session.came[0] > 150_000 && session.came[1] > 600_000, "{:?}", session.came);
    unwatched(|| std::mem::take(&mut session.told))
}

fn marks() -> Vec<[u8; watcher::MARK]> {
    let texts = [PASSWORD.as_bytes(), NEW.as_bytes(), ANSWER.as_bytes(), VARIABLE.as_bytes(), TYPED];
    texts.iter().map(|text| *text.first_chunk().unwrap()).collect()
}

#[test]
fn a14_freed_memory_holds_no_secret_of_a_session() {
    let key = host_key();
    look_for(marks());
    // The watcher does find what is not wiped.
    assert_eq!(leaks(|| drop(PASSWORD.to_owned())), 1);
    let sessions = [
        (Kex::Curve25519Sha256, Cipher::Aes128Gcm, Compression::None, false),
        (Kex::Curve25519Sha256, Cipher::ChaCha20Poly1305, Compression::ZlibOpenssh, false),
        (Kex::MlKem768X25519Sha256, Cipher::Aes256Ctr, Compression::ZlibOpenssh, true),
        (Kex::EcdhNistp256, Cipher::Aes256Gcm, Compression::None, true),
    ];
    for (kex, cipher, compression, interactive) in sessions {
        look_for(marks());
        let mut told = String::new();
        let found = leaks(|| told = session(kex, cipher, compression, interactive, &key));
        assert_eq!(
            found,
            0,
            "{kex} {cipher} {compression}, interactive: {interactive}\n{}",
            watcher::places().join("\n")
        );
        // A secret's text, and the same as a list of numbers.
        for text in [PASSWORD, NEW, ANSWER, std::str::from_utf8(TYPED).unwrap()] {
            let front = &text[..watcher::MARK];
            let numbers = format!("{:?}", front.as_bytes());
            let shown = told.contains(front) || told.contains(numbers.trim_matches(['[', ']']));
            assert!(!shown, "{text:?} is shown in {told}");
        }
    }
}

#[test]
fn a14_no_message_shows_the_bytes_it_carries() {
    use konko_core::msg::*;
    const MARK: &[u8] = b"MARKED";
    let (text, answers) = (SshStr::new(b"x"), [&[61, 0, 0, 0, 1, 0, 0, 0, 6][..], MARK].concat());
    let shown = [
        format!("{:?}", UserauthRequest::new(text, text, text, MARK)),
        format!("{:?}", UserauthInfoResponse::parse(&answers).unwrap()),
        format!("{:?}", UserauthPkOk::new(text, MARK)),
        format!("{:?}", UserauthSuccess::new(MARK)),
        format!("{:?}", ChannelData::new(0, MARK)),
        format!("{:?}", ChannelExtendedData::new(0, 1, MARK)),
        format!("{:?}", ChannelRequest::new(0, text, true, MARK)),
        format!("{:?}", ChannelOpen::new(text, 0, 0, 0, MARK)),
        format!("{:?}", GlobalRequest::new(text, true, MARK)),
        format!("{:?}", Ignore::new(MARK)),
        format!("{:?}", Ping::new(MARK)),
        format!("{:?}", EcdhInit::new(MARK)),
        format!("{:?}", DhInit::new(MARK)),
    ];
    for shown in shown {
        assert!(!shown.contains("MARKED") && !shown.contains("77, 65, 82"), "{shown}");
        assert!(shown.len() > 10, "{shown}");
    }
}
