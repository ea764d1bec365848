//! Security keys without a device, and certificates.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use konko_core::crypto::{BadKey, Digest, HashAlgorithm, Signer};
use konko_core::keys::{
    CertificateKind, CertificateRequest, KeyPair, KeyType, PrivateKey, PublicKey, SignatureAlgorithm,
};
use konko_core::provider;
use konko_core::wire::Sink;
use konko_core::{Rng, Seed};

use crate::key_of;

/// What a device does for one of its keys (OpenSSH PROTOCOL.u2f), with flags that a test sets.
pub struct Token {
    inner: Box<dyn Signer>,
    application: &'static [u8],
    flags: Arc<AtomicU8>,
    counter: AtomicU32,
}

impl Signer for Token {
    fn sign(&self, hash: Option<HashAlgorithm>, message: &[u8], rng: &mut Rng) -> Result<Vec<u8>, BadKey> {
        let provider = provider::rustcrypto();
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        let details = [&[self.flags.load(Ordering::Relaxed)], &counter.to_be_bytes()[..]].concat();
        let [application, message] =
            [self.application, message].map(|m| Digest::of(provider, HashAlgorithm::Sha256, &[m]));
        let signed = [application.as_bytes(), &details, message.as_bytes()].concat();
        Ok([self.inner.sign(hash, &signed, rng)?, details].concat())
    }
}

/// A key of a security key's type and seed, which says in its signatures what `flags` says then: 1 for a touch, 4 for a PIN.
pub fn security_key(kind: KeyType, seed: u8, flags: Arc<AtomicU8>) -> KeyPair {
    let ed25519 = kind == KeyType::SK_ED25519;
    let inner = if ed25519 { KeyType::ED25519 } else { KeyType::ECDSA_NISTP256 };
    let mut rng = Rng::from_seed(&Seed::new([seed; 32]));
    let key = PrivateKey::generate(inner, &mut rng).unwrap();
    let mut blob = Vec::new();
    blob.put_string(kind.name().as_bytes());
    blob.put(key.public().fields());
    blob.put_string(b"ssh:");
    let public = PublicKey::from_blob(&blob).unwrap();
    let inner = provider::rustcrypto().signer(inner.name(), key.expose_fields()).unwrap();
    let counter = AtomicU32::new(1);
    KeyPair::from_signer(public, Box::new(Token { inner, application: b"ssh:", flags, counter }))
}

/// The authority of all certificates here.
pub fn authority() -> Arc<KeyPair> {
    key_of(KeyType::ED25519, 99)
}

/// The key under a certificate of the [authority](authority()), as `request` would have it.
pub fn certified(
    pair: &KeyPair,
    kind: CertificateKind,
    request: impl FnOnce(CertificateRequest) -> CertificateRequest,
) -> Arc<KeyPair> {
    let mut rng = Rng::from_seed(&Seed::new([42; 32]));
    let request = request(CertificateRequest::new(kind, pair.public()));
    let certificate = request.sign(&authority(), None, &mut rng).unwrap();
    Arc::new(pair.certified(certificate.public()).unwrap())
}

/// A key with that algorithm: of a security key's type it is touched, of a certificate's it is a host's, and for all hosts.
pub(crate) fn other_key(kind: KeyType, seed: u8) -> Arc<KeyPair> {
    if !kind.is_certificate() {
        return Arc::new(security_key(kind, seed, Arc::new(AtomicU8::new(1))));
    }
    let plain = if kind.plain() == KeyType::RSA { crate::rsa_key() } else { key_of(kind.plain(), seed) };
    certified(&plain, CertificateKind::Host, |request| request.principals(["*"]))
}

/// Whether keys of the algorithm's type are made here: neither certificates nor keys on a device.
pub fn is_made_here(algorithm: &SignatureAlgorithm) -> bool {
    let kind = algorithm.key_type();
    !kind.is_certificate() && !kind.is_security_key()
}
