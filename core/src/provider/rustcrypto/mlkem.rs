//! ML-KEM-768 (FIPS 203), deterministic: all randomness is an argument.

use alloc::vec::Vec;

use ml_kem::ml_kem_768::{Ciphertext, DecapsulationKey, EncapsulationKey};
use ml_kem::{Decapsulate, KeyExport};
use zeroize::Zeroize;

use crate::crypto::{BadPublicValue, Secret};

pub(super) fn public(seed: &[u8; 64]) -> Vec<u8> {
    DecapsulationKey::from_seed((*seed).into()).encapsulation_key().to_bytes().to_vec()
}

pub(super) fn encapsulate(public: &[u8], m: &[u8; 32]) -> Result<(Vec<u8>, Secret), BadPublicValue> {
    let public = public.try_into().map_err(|_| BadPublicValue)?;
    // Refuses coefficients that are not below q (FIPS 203 §7.2, "modulus check").
    let key = EncapsulationKey::new(&public).map_err(|_| BadPublicValue)?;
    let (ciphertext, mut shared) = key.encapsulate_deterministic(&(*m).into());
    let secret = Secret::copy_of(&shared);
    shared.zeroize();
    Ok((ciphertext.to_vec(), secret))
}

pub(super) fn decapsulate(seed: &[u8; 64], ciphertext: &[u8]) -> Result<Secret, BadPublicValue> {
    let ciphertext = Ciphertext::try_from(ciphertext).map_err(|_| BadPublicValue)?;
    let mut shared = DecapsulationKey::from_seed((*seed).into()).decapsulate(&ciphertext);
    let secret = Secret::copy_of(&shared);
    shared.zeroize();
    Ok(secret)
}
