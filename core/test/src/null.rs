//! Cryptography that protects nothing.

use std::sync::Arc;

use konko_core::crypto::{
    BadKey, BadPublicValue, BadSignature, BadTag, Curve, DirectionKeys, Hash, HashAlgorithm, Kem,
    PacketOpener, PacketSealer, Protection, Provider, Scheme, Secret, Shape, Signer,
};
use konko_core::keys::{KeyPair, KeyType, PrivateKey};
use konko_core::{Rng, Seed, provider};

/// A provider that protects nothing and costs next to nothing: packets stay in clear and without a tag, every
/// signature verifies, every shared secret is the same. Only hashes are real.
///
/// Its algorithms have names of their own (`null-aes128-gcm@openssh.com`), so that it agrees with itself only: any real
/// peer ends the connection with `NoCommonAlgorithm`, whatever either of them is configured to accept.
pub fn null() -> &'static dyn Provider {
    &Null
}

/// A key pair of the [null provider](null), always the same: its signatures are worth nothing.
pub fn null_key() -> Arc<KeyPair> {
    let key = PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&Seed::new([77; 32])));
    let key = key.expect("Ed25519 keys are just bytes");
    Arc::new(key.key_pair(null()).expect("the null provider takes every key"))
}

#[derive(Debug)]
struct Null;

struct Clear;

impl PacketSealer for Clear {
    fn shape(&self) -> Shape {
        Shape::PLAIN
    }

    fn seal(&mut self, _seq: u32, _packet: &mut [u8]) {}
}

impl PacketOpener for Clear {
    fn shape(&self) -> Shape {
        Shape::PLAIN
    }

    fn length(&mut self, _seq: u32, head: &mut [u8]) -> u32 {
        head.first_chunk().map_or(0, |b| u32::from_be_bytes(*b))
    }

    fn open(&mut self, _seq: u32, _packet: &mut [u8]) -> Result<(), BadTag> {
        Ok(())
    }
}

/// Of signatures of so many bytes.
struct NullSigner(usize);

impl Signer for NullSigner {
    fn sign(&self, _: Option<HashAlgorithm>, _message: &[u8], _rng: &mut Rng) -> Result<Vec<u8>, BadKey> {
        Ok(vec![1; self.0])
    }
}

fn secret() -> Secret {
    Secret::copy_of(&[0x5a; 32])
}

impl Provider for Null {
    fn name(&self) -> &'static str {
        "null"
    }

    fn prefix(&self) -> &'static str {
        "null-"
    }

    fn fast_aes(&self) -> bool {
        true
    }

    fn sealer(&self, _: Protection, _: &DirectionKeys) -> Result<Box<dyn PacketSealer>, BadKey> {
        Ok(Box::new(Clear))
    }

    fn opener(&self, _: Protection, _: &DirectionKeys) -> Result<Box<dyn PacketOpener>, BadKey> {
        Ok(Box::new(Clear))
    }

    fn hash(&self, algorithm: HashAlgorithm) -> Box<dyn Hash> {
        provider::rustcrypto().hash(algorithm)
    }

    fn x25519_public(&self, _secret: &[u8; 32]) -> [u8; 32] {
        [9; 32]
    }

    fn x25519(&self, _secret: &[u8; 32], peer: &[u8; 32]) -> Result<Secret, BadPublicValue> {
        if *peer == [0; 32] { Err(BadPublicValue) } else { Ok(secret()) }
    }

    fn ecdh_generate(&self, curve: Curve, _rng: &mut Rng) -> (Secret, Vec<u8>) {
        let mut point = vec![7; 1 + 2 * curve.width()];
        point[0] = 4;
        (secret(), point)
    }

    fn ecdh(&self, curve: Curve, _secret: &Secret, peer: &[u8]) -> Result<Secret, BadPublicValue> {
        if peer.len() == 1 + 2 * curve.width() { Ok(secret()) } else { Err(BadPublicValue) }
    }

    fn kems(&self) -> &'static [Kem] {
        Kem::ALL
    }

    fn kem_generate(&self, kem: Kem, _seed: &[u8; 64]) -> Result<(Secret, Vec<u8>), BadPublicValue> {
        Ok((secret(), vec![1; kem.public_len()]))
    }

    fn kem_encapsulate(
        &self,
        kem: Kem,
        public: &[u8],
        _m: &[u8; 32],
    ) -> Result<(Vec<u8>, Secret), BadPublicValue> {
        if public.len() != kem.public_len() {
            return Err(BadPublicValue);
        }
        Ok((vec![2; kem.ciphertext_len()], secret()))
    }

    fn kem_decapsulate(&self, kem: Kem, _: &Secret, ciphertext: &[u8]) -> Result<Secret, BadPublicValue> {
        if ciphertext.len() == kem.ciphertext_len() { Ok(secret()) } else { Err(BadPublicValue) }
    }

    fn modexp(&self, _p: &[u8], _base: &[u8], _exponent: &Secret) -> Result<Secret, BadPublicValue> {
        Ok(secret())
    }

    fn schemes(&self) -> &'static [&'static dyn Scheme] {
        &[]
    }

    fn verify(
        &self,
        _: &str,
        _: Option<HashAlgorithm>,
        _: &[u8],
        _: &[u8],
        _: &[u8],
    ) -> Result<(), BadSignature> {
        Ok(())
    }

    fn signer(&self, key_type: &str, _: &[u8]) -> Result<Box<dyn Signer>, BadKey> {
        let length = match key_type {
            "ecdsa-sha2-nistp384" => 96,
            "ecdsa-sha2-nistp521" => 132,
            "ssh-rsa" => 256,
            _ => 64,
        };
        Ok(Box::new(NullSigner(length)))
    }
}
