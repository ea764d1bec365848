//! A type of key that konko does not know is a row: its format, and its algorithm in the lists of a
//! configuration. Both sides then log in with it as with any other.

use std::sync::Arc;

use ed25519_dalek::Signer as _;
use konko_core::crypto::{BadKey, BadSignature, Digest, HashAlgorithm, Provider, Signer};
use konko_core::hosts::{HostKeyStatus, KnownHosts, learn_line};
use konko_core::keys::{
    Algorithm, Halves, KeyError, KeyFormat, KeyPair, KeyType, PrivateKey, PublicKey, SignatureAlgorithm,
    signature,
};
use konko_core::replay::{Setup, replay};
use konko_core::wire::{Reader, Sink};
use konko_core::{ClientConfig, Rng, Seed, ServerConfig, provider};
use konko_test::apps::{Host, Proof, Shell, all_methods};
use konko_test::{Pair, host_key, key_of, transport_config};

/// As a key on a device (OpenSSH PROTOCOL.u2f): the key belongs to an application, and what is signed is
/// the message with flags and a counter, which stand in the signature.
struct Device;

const DEVICE: KeyType = KeyType::new(&Device);
const DEVICE_ALG: SignatureAlgorithm =
    SignatureAlgorithm::new(&const { Algorithm::new("test@konko", DEVICE) });

/// Flags and counter.
const TOUCH: [u8; 5] = [1, 0, 0, 0, 9];

fn touched(provider: &dyn Provider, application: &[u8], touch: &[u8], message: &[u8]) -> Vec<u8> {
    let [application, message] =
        [application, message].map(|m| Digest::of(provider, HashAlgorithm::Sha256, &[m]));
    [application.as_bytes(), touch, message.as_bytes()].concat()
}

impl KeyFormat for Device {
    fn name(&self) -> &'static str {
        "test@konko"
    }

    fn algorithms(&self) -> &'static [SignatureAlgorithm] {
        &[DEVICE_ALG]
    }

    fn read(&self, r: &mut Reader<'_>, out: &mut dyn Sink) -> Result<(), KeyError> {
        let (key, application) = (r.string()?, r.string()?);
        if key.len() != 32 {
            return Err(KeyError::Malformed("the length"));
        }
        out.put_string(key);
        out.put_string(application);
        Ok(())
    }

    fn bits(&self, _key: &[u8]) -> usize {
        256
    }

    fn read_signature(&self, r: &mut Reader<'_>) -> Result<Vec<u8>, BadSignature> {
        let raw = r.string().ok().filter(|raw| raw.len() == 64).ok_or(BadSignature)?;
        Ok([raw, r.bytes(TOUCH.len()).map_err(|_| BadSignature)?].concat())
    }

    fn write_signature(&self, raw: &[u8], out: &mut dyn Sink) {
        let (raw, touch) = raw.split_at(64);
        out.put_string(raw);
        out.put(touch);
    }

    fn verify(
        &self,
        provider: &dyn Provider,
        key: &[u8],
        _: SignatureAlgorithm,
        message: &[u8],
        raw: &[u8],
    ) -> Result<(), BadSignature> {
        let mut fields = Reader::new(key);
        let (key, application) = (fields.string().unwrap(), fields.string().unwrap());
        let (raw, touch) = raw.split_at(64);
        let mut plain = Vec::new();
        plain.put_string(key);
        provider.verify("ssh-ed25519", None, &plain, &touched(provider, application, touch, message), raw)
    }
}

/// As a certificate (OpenSSH PROTOCOL.certkeys): a key, and what somebody says about it. It signs under the
/// name of the plain key.
struct Certificate;

const CERTIFICATE: KeyType = KeyType::new(&Certificate);
const CERTIFICATE_ALG: SignatureAlgorithm = SignatureAlgorithm::new(
    &const { Algorithm::new("test-cert@konko", CERTIFICATE).signature("ssh-ed25519") },
);

/// The blob of the key for which a certificate is.
fn plain(certificate: &[u8]) -> &[u8] {
    let mut fields = Reader::new(certificate);
    fields.string().unwrap();
    fields.string().unwrap()
}

impl KeyFormat for Certificate {
    fn name(&self) -> &'static str {
        "test-cert@konko"
    }

    fn algorithms(&self) -> &'static [SignatureAlgorithm] {
        &[CERTIFICATE_ALG]
    }

    fn read(&self, r: &mut Reader<'_>, out: &mut dyn Sink) -> Result<(), KeyError> {
        let (nonce, key, principal) = (r.string()?, r.string()?, r.string()?);
        PublicKey::from_blob(key)?;
        [nonce, key, principal].into_iter().for_each(|field| out.put_string(field));
        Ok(())
    }

    fn bits(&self, _key: &[u8]) -> usize {
        256
    }

    /// The certificate, and the private key for which it is.
    fn read_private(&self, r: &mut Reader<'_>) -> Result<Halves, KeyError> {
        let mut public = Vec::new();
        self.read(r, &mut public)?;
        let inner = PrivateKey::from_fields(KeyType::ED25519, r.string()?)?;
        if inner.public().to_blob() != plain(&public) {
            return Err(KeyError::Inconsistent("the certificate is another key's"));
        }
        let private = |out: &mut dyn Sink| {
            out.put(&public);
            out.put_string(inner.expose_fields());
        };
        Ok(Halves::written(|out| out.put(&public), private))
    }

    fn signer(&self, provider: &dyn Provider, key: &[u8]) -> Result<Box<dyn Signer>, BadKey> {
        let mut fields = Reader::new(key);
        let [_, _, _, inner] = [(); 4].map(|()| fields.string().unwrap());
        provider.signer("ssh-ed25519", inner)
    }

    fn read_signature(&self, r: &mut Reader<'_>) -> Result<Vec<u8>, BadSignature> {
        r.string().map(<[u8]>::to_vec).map_err(|_| BadSignature)
    }

    fn verify(
        &self,
        provider: &dyn Provider,
        key: &[u8],
        _: SignatureAlgorithm,
        message: &[u8],
        raw: &[u8],
    ) -> Result<(), BadSignature> {
        let inner = PublicKey::from_blob(plain(key)).unwrap();
        signature::verify(
            provider,
            &inner,
            SignatureAlgorithm::ED25519,
            message,
            &signature::encode(SignatureAlgorithm::ED25519, raw),
        )
    }
}

/// What a device does.
struct Token(ed25519_dalek::SigningKey);

impl Signer for Token {
    fn sign(&self, _: Option<HashAlgorithm>, message: &[u8], _: &mut Rng) -> Result<Vec<u8>, BadKey> {
        let message = touched(provider::rustcrypto(), b"ssh:", &TOUCH, message);
        Ok([&self.0.sign(&message).to_bytes()[..], &TOUCH].concat())
    }
}

fn device(seed: u8) -> Arc<KeyPair> {
    let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
    let mut blob = Vec::new();
    blob.put_string(b"test@konko");
    blob.put_string(key.verifying_key().as_bytes());
    blob.put_string(b"ssh:");
    let public = PublicKey::from_blob_with(DEVICE, &blob).unwrap();
    Arc::new(KeyPair::from_signer(public, Box::new(Token(key))))
}

fn certificate(seed: u8) -> Arc<KeyPair> {
    let mut rng = Rng::from_seed(&Seed::new([seed; 32]));
    let key = PrivateKey::generate(KeyType::ED25519, &mut rng).unwrap();
    let mut fields = Vec::new();
    let inner = key.public().to_blob();
    [&b"nonce"[..], &inner, b"alice", key.expose_fields()]
        .into_iter()
        .for_each(|field| fields.put_string(field));
    let certified = PrivateKey::from_fields(CERTIFICATE, &fields).unwrap();
    assert_eq!(certified.expose_fields(), fields);
    Arc::new(certified.key_pair(provider::rustcrypto()).unwrap())
}

fn configs(host: &Arc<KeyPair>) -> (ClientConfig, ServerConfig) {
    let mut transport = transport_config();
    for list in [&mut transport.algorithms.host_key, &mut transport.algorithms.user_key] {
        list.extend([DEVICE_ALG, CERTIFICATE_ALG]);
    }
    let mut server = ServerConfig::with_transport(transport.clone(), vec![host.clone()]);
    server.methods = all_methods();
    (ClientConfig::new(transport), server)
}

#[test]
fn both_sides_log_in_with_a_type_of_their_own_and_it_replays() {
    for (host, user) in [(device(1), certificate(2)), (certificate(3), device(4))] {
        let [host_alg, algorithm] = [&host, &user].map(|key| key.public().signature_algorithms()[0]);
        let proofs = [Proof::Probe(user.public().clone(), algorithm), Proof::Key(user.clone(), algorithm)];
        for proof in [Proof::Key(user.clone(), algorithm), Proof::External(user.clone(), algorithm)] {
            let (client, server) = configs(&host);
            let shell = Shell::login(proofs.clone().into_iter().take(1).chain([proof]));
            let app = Host { keys: vec![user.public().clone()], ..Host::default() };
            let mut pair = Pair::recorded(client.clone(), server.clone(), (shell, app), 3);
            pair.drive_until("the login", |p| p.client.conn.is_authenticated());
            assert_eq!(pair.client.conn.negotiated().unwrap().host_key, host_alg);
            let setup = Setup::Client { config: Arc::new(client), keys: std::slice::from_ref(&user) };
            replay(&pair.client.conn.take_transcript().unwrap(), setup).unwrap();
            replay(&pair.server.conn.take_transcript().unwrap(), Setup::Server(Arc::new(server))).unwrap();
        }
    }
}

#[test]
fn a_key_of_the_type_that_is_another_one_does_not_come_in() {
    let (client, server) = configs(&device(1));
    let shell = Shell::login([Proof::Key(device(5), DEVICE_ALG), Proof::Password("wonderland")]);
    let app = Host { keys: vec![device(4).public().clone()], ..Host::default() };
    let mut pair = Pair::new(client, server, (shell, app));
    pair.drive_until("the login", |p| p.client.conn.is_authenticated());
    assert_eq!(pair.client.app.proofs.len(), 0, "only the password did");
}

#[test]
fn a_peer_that_does_not_have_the_type_refuses_it() {
    let (client, mut server) = configs(&host_key());
    Arc::make_mut(&mut server.transport).algorithms.user_key = transport_config().algorithms.user_key;
    let user = device(4);
    let shell = Shell::login([Proof::Key(user.clone(), DEVICE_ALG), Proof::Password("wonderland")]);
    let app = Host { keys: vec![user.public().clone()], ..Host::default() };
    let mut pair = Pair::new(client, server, (shell, app));
    pair.drive_until("the login", |p| p.client.conn.is_authenticated());
    assert_eq!(pair.client.app.proofs.len(), 0, "only the password did");
}

/// It has the name of another algorithm, and an older hash.
const WEAKER: SignatureAlgorithm = SignatureAlgorithm::new(
    &const { Algorithm::new("rsa-sha2-512", KeyType::RSA).hash(HashAlgorithm::Sha1) },
);

#[test]
fn a_row_with_the_name_of_another_algorithm_does_not_choose_what_a_key_hashes() {
    let p = provider::rustcrypto();
    let mut rng = Rng::from_seed(&Seed::new([1; 32]));
    let key = key_of(KeyType::RSA, 1);
    let sha1 = key.sign(SignatureAlgorithm::RSA_SHA1, b"message", &mut rng).unwrap();
    let raw = signature::decode(&sha1, SignatureAlgorithm::RSA_SHA1).unwrap();
    let renamed = signature::encode(WEAKER, &raw);
    assert_eq!(signature::verify(p, key.public(), WEAKER, b"message", &renamed), Err(BadSignature));
    let signed = key.sign(WEAKER, b"message", &mut rng).unwrap();
    assert_eq!(
        signature::verify(p, key.public(), SignatureAlgorithm::RSA_SHA512, b"message", &signed),
        Ok(())
    );
}

#[test]
fn a_host_is_known_by_a_key_of_a_type_of_its_own() {
    let [key, other] = [1, 2].map(device);
    let [key, other] = [key.public(), other.public()];
    let line = learn_line("h", 22, key, None).unwrap();
    let hosts = KnownHosts::parse("kh", line.as_bytes()).unwrap();
    assert!(matches!(hosts.lookup("h", 22, None, key), HostKeyStatus::Match { .. }));
    assert!(matches!(hosts.lookup("h", 22, None, other), HostKeyStatus::Changed { .. }));
    let plain = host_key();
    assert!(matches!(hosts.lookup("h", 22, None, plain.public()), HostKeyStatus::OtherTypeKnown { .. }));
    assert_eq!(hosts.locations_of(key).len(), 1);
    let revoked = KnownHosts::parse("kh", format!("{line}\n@revoked {line}").as_bytes()).unwrap();
    assert!(matches!(revoked.lookup("h", 22, None, key), HostKeyStatus::Revoked { .. }));
    assert!(matches!(revoked.lookup("h", 22, None, other), HostKeyStatus::Changed { .. }));
    let damaged =
        KnownHosts::parse("kh", format!("@revoked {}", &line[..line.len() - 4]).as_bytes()).unwrap();
    assert!(matches!(damaged.lookup("h", 22, None, other), HostKeyStatus::Unreadable { .. }));
}

#[test]
fn signatures_of_other_types_verify_as_their_rows_say() {
    let p = provider::rustcrypto();
    let mut rng = Rng::from_seed(&Seed::new([1; 32]));
    for (key, other, name) in
        [(device(1), device(2), "test@konko"), (certificate(1), certificate(2), "ssh-ed25519")]
    {
        let algorithm = key.public().signature_algorithms()[0];
        let blob = key.sign(algorithm, b"message", &mut rng).unwrap();
        assert_eq!(Reader::new(&blob).string(), Ok(name.as_bytes()));
        assert_eq!(signature::verify(p, key.public(), algorithm, b"message", &blob), Ok(()));
        assert_eq!(signature::verify(p, key.public(), algorithm, b"massage", &blob), Err(BadSignature));
        assert_eq!(signature::verify(p, other.public(), algorithm, b"message", &blob), Err(BadSignature));
        let plain = key_of(KeyType::ED25519, 1);
        assert_eq!(signature::verify(p, plain.public(), algorithm, b"message", &blob), Err(BadSignature));
        for at in 0..blob.len() {
            let mut damaged = blob.clone();
            damaged[at] ^= 1;
            assert_eq!(
                signature::verify(p, key.public(), algorithm, b"message", &damaged),
                Err(BadSignature),
                "{at}"
            );
        }
        let blob = key.public().to_blob();
        assert_eq!(PublicKey::from_blob_with(key.public().key_type(), &blob).as_ref(), Ok(key.public()));
        assert!(PublicKey::from_blob(&blob).is_err(), "not one of the table");
    }
}
