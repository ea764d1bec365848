//! A provider that counts what it is asked to do.

use std::cell::Cell;

use konko_core::Rng;
use konko_core::crypto::{
    BadKey, BadPublicValue, BadSignature, Curve, DirectionKeys, Hash, HashAlgorithm, Kem, PacketOpener,
    PacketSealer, Protection, Provider, Scheme, Secret,
};

use super::provider;

fn raised() {
    RAISED.set(RAISED.get() + 1);
}

/// A provider whose work is counted, and whose verifier fails as a broken library would.
#[derive(Debug)]
pub struct Broken;

thread_local! {
    /// Signatures that were looked at in this test.
    pub static VERIFIED: Cell<usize> = const { Cell::new(0) };
    /// Exponentiations and their like of key exchanges in this test.
    pub static RAISED: Cell<usize> = const { Cell::new(0) };
    /// Bytes of the longest exponent over a finite field.
    pub static EXPONENT: Cell<usize> = const { Cell::new(0) };
}

impl Provider for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }
    fn fast_aes(&self) -> bool {
        provider().fast_aes()
    }
    fn sealer(&self, p: Protection, keys: &DirectionKeys) -> Result<Box<dyn PacketSealer>, BadKey> {
        provider().sealer(p, keys)
    }
    fn opener(&self, p: Protection, keys: &DirectionKeys) -> Result<Box<dyn PacketOpener>, BadKey> {
        provider().opener(p, keys)
    }
    fn hash(&self, algorithm: HashAlgorithm) -> Box<dyn Hash> {
        provider().hash(algorithm)
    }
    fn x25519_public(&self, secret: &[u8; 32]) -> [u8; 32] {
        raised();
        provider().x25519_public(secret)
    }
    fn x25519(&self, secret: &[u8; 32], peer: &[u8; 32]) -> Result<Secret, BadPublicValue> {
        raised();
        provider().x25519(secret, peer)
    }
    fn ecdh_generate(&self, curve: Curve, rng: &mut Rng) -> (Secret, Vec<u8>) {
        raised();
        provider().ecdh_generate(curve, rng)
    }
    fn ecdh(&self, curve: Curve, secret: &Secret, peer: &[u8]) -> Result<Secret, BadPublicValue> {
        raised();
        provider().ecdh(curve, secret, peer)
    }
    fn kems(&self) -> &'static [Kem] {
        provider().kems()
    }
    fn kem_generate(&self, kem: Kem, seed: &[u8; 64]) -> Result<(Secret, Vec<u8>), BadPublicValue> {
        raised();
        provider().kem_generate(kem, seed)
    }
    fn kem_encapsulate(
        &self,
        kem: Kem,
        public: &[u8],
        m: &[u8; 32],
    ) -> Result<(Vec<u8>, Secret), BadPublicValue> {
        raised();
        provider().kem_encapsulate(kem, public, m)
    }
    fn kem_decapsulate(
        &self,
        kem: Kem,
        private: &Secret,
        ciphertext: &[u8],
    ) -> Result<Secret, BadPublicValue> {
        raised();
        provider().kem_decapsulate(kem, private, ciphertext)
    }
    fn modexp(&self, p: &[u8], base: &[u8], exponent: &Secret) -> Result<Secret, BadPublicValue> {
        raised();
        EXPONENT.set(EXPONENT.get().max(exponent.expose().len()));
        provider().modexp(p, base, exponent)
    }
    fn schemes(&self) -> &'static [&'static dyn Scheme] {
        provider().schemes()
    }
    fn verify(
        &self,
        _: &str,
        _: Option<HashAlgorithm>,
        _: &[u8],
        _: &[u8],
        _: &[u8],
    ) -> Result<(), BadSignature> {
        VERIFIED.set(VERIFIED.get() + 1);
        Err(BadSignature)
    }
}
