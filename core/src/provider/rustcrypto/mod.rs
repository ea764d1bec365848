//! The portable provider, from RustCrypto and dalek crates.

mod aead;
mod blocks;
mod curves;
mod ecdsa;
mod ed25519;
mod hash;
mod kem;
mod modexp;
mod rsa;
#[cfg(feature = "screening")]
mod screening;

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::framing::{Blocks, WithMac};
use crate::crypto::{
    BadKey, BadPublicValue, Cipher, Curve, DirectionKeys, Hash, HashAlgorithm, Kem, PacketOpener,
    PacketSealer, Protection, Provider, Scheme, Secret,
};
use crate::rng::Rng;

// What the native provider shares, so that it draws and refuses the same.
pub(super) use ed25519::Ed25519;
#[cfg(feature = "aws-lc")]
pub(super) use {
    curves::{draw_scalar, uncompressed},
    ecdsa::{point, signer as ecdsa_signer},
    rsa::{Rsa as PortableRsa, RsaKey, blinding, full_length, rsa_numbers},
};
use {ecdsa::Ecdsa, rsa::Rsa};

/// The portable provider: pure Rust, no_std.
#[derive(Clone, Copy, Debug, Default)]
pub struct RustCrypto;

/// The one value of [`RustCrypto`].
pub static RUSTCRYPTO: RustCrypto = RustCrypto;

/// The portable provider, ready for a configuration.
pub fn rustcrypto() -> &'static dyn Provider {
    &RUSTCRYPTO
}

/// That the protection names a MAC exactly when it needs one, and the keys have their lengths.
pub(in crate::provider) fn check_keys(protection: Protection, keys: &DirectionKeys) -> Result<(), BadKey> {
    let Protection { cipher, mac } = protection;
    let mac_len = mac.map_or(0, |mac| mac.key_len());
    let fits = mac.is_none() == cipher.aead()
        && keys.key.expose().len() == cipher.key_len()
        && keys.iv.expose().len() == cipher.iv_len()
        && keys.mac.expose().len() == mac_len;
    if fits { Ok(()) } else { Err(BadKey) }
}

fn with_mac<M: blocks::FromSlices + Blocks>(
    protection: Protection,
    keys: &DirectionKeys,
) -> Result<Box<WithMac<M>>, BadKey> {
    let mode = M::from_slices(keys.key.expose(), keys.iv.expose())?;
    Ok(Box::new(WithMac::new(mode, protection, keys)?))
}

impl Provider for RustCrypto {
    fn name(&self) -> &'static str {
        "rustcrypto"
    }

    fn fast_aes(&self) -> bool {
        super::hardware_aes()
    }

    fn sealer(&self, protection: Protection, keys: &DirectionKeys) -> Result<Box<dyn PacketSealer>, BadKey> {
        check_keys(protection, keys)?;
        let (key, iv) = (keys.key.expose(), keys.iv.expose());
        Ok(match protection.cipher {
            Cipher::Aes128Gcm => Box::new(aead::gcm::<aes_gcm::Aes128Gcm>(key, iv)?),
            Cipher::Aes256Gcm => Box::new(aead::gcm::<aes_gcm::Aes256Gcm>(key, iv)?),
            Cipher::ChaCha20Poly1305 => Box::new(aead::OpensshChaCha::new(key)?),
            Cipher::Aes128Ctr => with_mac::<blocks::Ctr<aes::Aes128>>(protection, keys)?,
            Cipher::Aes192Ctr => with_mac::<blocks::Ctr<aes::Aes192>>(protection, keys)?,
            Cipher::Aes256Ctr => with_mac::<blocks::Ctr<aes::Aes256>>(protection, keys)?,
            Cipher::Aes128Cbc => with_mac::<blocks::CbcEncrypt<aes::Aes128>>(protection, keys)?,
            Cipher::Aes192Cbc => with_mac::<blocks::CbcEncrypt<aes::Aes192>>(protection, keys)?,
            Cipher::Aes256Cbc => with_mac::<blocks::CbcEncrypt<aes::Aes256>>(protection, keys)?,
            Cipher::TripleDesCbc => with_mac::<blocks::CbcEncrypt<des::TdesEde3>>(protection, keys)?,
        })
    }

    fn opener(&self, protection: Protection, keys: &DirectionKeys) -> Result<Box<dyn PacketOpener>, BadKey> {
        check_keys(protection, keys)?;
        let (key, iv) = (keys.key.expose(), keys.iv.expose());
        Ok(match protection.cipher {
            Cipher::Aes128Gcm => Box::new(aead::gcm::<aes_gcm::Aes128Gcm>(key, iv)?),
            Cipher::Aes256Gcm => Box::new(aead::gcm::<aes_gcm::Aes256Gcm>(key, iv)?),
            Cipher::ChaCha20Poly1305 => Box::new(aead::OpensshChaCha::new(key)?),
            Cipher::Aes128Ctr => with_mac::<blocks::Ctr<aes::Aes128>>(protection, keys)?,
            Cipher::Aes192Ctr => with_mac::<blocks::Ctr<aes::Aes192>>(protection, keys)?,
            Cipher::Aes256Ctr => with_mac::<blocks::Ctr<aes::Aes256>>(protection, keys)?,
            Cipher::Aes128Cbc => with_mac::<blocks::CbcDecrypt<aes::Aes128>>(protection, keys)?,
            Cipher::Aes192Cbc => with_mac::<blocks::CbcDecrypt<aes::Aes192>>(protection, keys)?,
            Cipher::Aes256Cbc => with_mac::<blocks::CbcDecrypt<aes::Aes256>>(protection, keys)?,
            Cipher::TripleDesCbc => with_mac::<blocks::CbcDecrypt<des::TdesEde3>>(protection, keys)?,
        })
    }

    fn hash(&self, algorithm: HashAlgorithm) -> Box<dyn Hash> {
        hash::start(algorithm)
    }

    fn x25519_public(&self, secret: &[u8; 32]) -> [u8; 32] {
        curves::x25519_public(secret)
    }

    fn x25519(&self, secret: &[u8; 32], peer: &[u8; 32]) -> Result<Secret, BadPublicValue> {
        curves::x25519(secret, peer)
    }

    fn ecdh_generate(&self, curve: Curve, rng: &mut Rng) -> (Secret, Vec<u8>) {
        curves::generate(curve, rng)
    }

    fn ecdh(&self, curve: Curve, secret: &Secret, peer: &[u8]) -> Result<Secret, BadPublicValue> {
        curves::agree(curve, secret, peer)
    }

    fn kems(&self) -> &'static [Kem] {
        kem::ALL
    }

    fn kem_generate(&self, kem: Kem, seed: &[u8; 64]) -> Result<(Secret, Vec<u8>), BadPublicValue> {
        kem::generate(kem, seed)
    }

    fn kem_encapsulate(
        &self,
        kem: Kem,
        public: &[u8],
        m: &[u8; 32],
    ) -> Result<(Vec<u8>, Secret), BadPublicValue> {
        kem::encapsulate(kem, public, m)
    }

    fn kem_decapsulate(
        &self,
        kem: Kem,
        private: &Secret,
        ciphertext: &[u8],
    ) -> Result<Secret, BadPublicValue> {
        kem::decapsulate(kem, private, ciphertext)
    }

    fn modexp(&self, p: &[u8], base: &[u8], exponent: &Secret) -> Result<Secret, BadPublicValue> {
        modexp::modexp(p, base, exponent)
    }

    #[cfg(feature = "screening")]
    fn safe_prime(&self, p: &[u8]) -> Option<bool> {
        Some(screening::safe_prime(p))
    }

    fn schemes(&self) -> &'static [&'static dyn Scheme] {
        &[&Ed25519, &Ecdsa(Curve::P256), &Ecdsa(Curve::P384), &Ecdsa(Curve::P521), &Rsa]
    }
}
