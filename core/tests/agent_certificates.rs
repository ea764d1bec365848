//! Agents hold keys plain and under certificates.

use std::time::Duration;

use konko_core::agent::{AgentError, Client, Constraints, Keyring, Reply, Server};
use konko_core::keys::{
    Certificate, CertificateKind, CertificateRequest, KeyError, KeyType, PrivateKey, PublicKey, signature,
};
use konko_core::wire::Sink;
use konko_core::{Rng, Seed, Time, provider};

fn rng(n: u8) -> Rng {
    Rng::from_seed(&Seed::new([n; 32]))
}

fn private(kind: KeyType, n: u8) -> PrivateKey {
    PrivateKey::generate(kind, &mut rng(n)).unwrap()
}

/// A certificate for a user's key.
fn certificate(key: &PublicKey) -> Certificate {
    let authority = private(KeyType::ED25519, 99).key_pair(provider::best()).unwrap();
    let request = CertificateRequest::new(CertificateKind::User, key).key_id("alice's").principals(["alice"]);
    request.sign(&authority, None, &mut rng(98)).unwrap()
}

/// An agent and one connection to it.
struct Rig {
    keyring: Keyring,
    server: Server,
    client: Client,
    now: Time,
}

impl Rig {
    fn new() -> Self {
        let keyring = Keyring::new(provider::best(), rng(1));
        Rig { keyring, server: Server::new(), client: Client::new(), now: Time::ZERO }
    }

    fn ask(&mut self) -> Reply {
        self.server.receive(&self.client.take_tx());
        assert!(self.server.poll(&mut self.keyring, self.now).unwrap().is_none());
        self.client.receive(&self.server.take_tx()).unwrap().unwrap()
    }

    fn listed(&mut self) -> Vec<PublicKey> {
        self.client.list().unwrap();
        let Reply::Identities(list) = self.ask() else { panic!("no list") };
        list.into_iter().map(|identity| identity.key.unwrap()).collect()
    }
}

#[test]
fn s15_a_key_is_held_plain_and_under_its_certificate() {
    let kinds = [
        KeyType::ED25519,
        KeyType::RSA,
        KeyType::ECDSA_NISTP256,
        KeyType::ECDSA_NISTP384,
        KeyType::ECDSA_NISTP521,
    ];
    for kind in kinds {
        let (key, message) = (private(kind, 2), b"to be signed");
        let certificate = certificate(key.public());
        let shown = certificate.public();
        let mut rig = Rig::new();
        rig.client.add(&key, b"plain", &Constraints::new()).unwrap();
        assert_eq!(rig.ask(), Reply::Done);
        rig.client.add_certified(&key, &certificate, b"both", &Constraints::new().lifetime(10)).unwrap();
        assert_eq!(rig.ask(), Reply::Done, "{kind}");
        assert_eq!(rig.listed(), [key.public().clone(), shown.clone()]);
        let algorithm = shown.signature_algorithms()[0];
        rig.client.sign(&shown.to_blob(), algorithm, message).unwrap();
        let Reply::Signature(signed) = rig.ask() else { panic!("{kind}") };
        signature::verify(provider::best(), shown, algorithm, message, &signed).unwrap();
        // One goes when its time is over.
        rig.now = Time::ZERO + Duration::from_secs(11);
        assert_eq!(rig.listed(), [key.public().clone()]);
    }
}

#[test]
fn a_certificate_for_another_key_is_not_taken() {
    let (key, other) = (private(KeyType::ED25519, 2), private(KeyType::ED25519, 3));
    let certificate = certificate(other.public());
    let wrong = Client::new().add_certified(&key, &certificate, b"", &Constraints::new());
    assert_eq!(wrong, Err(AgentError::Key(KeyError::OtherKey)));
    // Whoever writes the bytes is told no: the fields of one key, and of an ECDSA key too few.
    let ecdsa = private(KeyType::ECDSA_NISTP256, 4);
    for (blob, fields) in [
        (certificate.public().to_blob(), key.expose_fields()),
        (self::certificate(ecdsa.public()).public().to_blob(), &[][..]),
    ] {
        let mut rig = Rig::new();
        let mut request = vec![17];
        let name = &blob[4..4 + usize::from(blob[3])];
        request.put_string(name);
        request.put_string(&blob);
        request.put(fields);
        request.put_string(b"a comment");
        let mut framed = Vec::new();
        framed.put_string(&request);
        rig.server.receive(&framed);
        rig.server.poll(&mut rig.keyring, Time::ZERO).unwrap();
        assert_eq!((rig.server.take_tx()[4], rig.keyring.len()), (5, 0));
    }
}
