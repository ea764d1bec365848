use alloc::boxed::Box;
use alloc::vec::Vec;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::crypto::fields::{Ed25519Private, Ed25519Public};
use crate::crypto::{BadKey, BadSignature, HashAlgorithm, Scheme, Signer};
use crate::provider::signer::{RawSigner, checked};
use crate::rng::Rng;

/// RFC 8709.
pub(in crate::provider) struct Ed25519;

impl Scheme for Ed25519 {
    fn key_type(&self) -> &'static str {
        "ssh-ed25519"
    }

    /// Strict: S below the group order, neither A nor R of small order (RFC 8032 §5.1.7 and more).
    fn verify(
        &self,
        hash: Option<HashAlgorithm>,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        let key = Ed25519Public::parse(key).filter(|_| hash.is_none()).ok_or(BadSignature)?;
        let key = key.key.try_into().map_err(|_| BadSignature)?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| BadSignature)?;
        let signature = Signature::from_slice(signature).map_err(|_| BadSignature)?;
        key.verify_strict(message, &signature).map_err(|_| BadSignature)
    }

    fn signer(&'static self, key: &[u8]) -> Result<Box<dyn Signer>, BadKey> {
        let fields = Ed25519Private::parse(key).ok_or(BadKey)?;
        let (seed, again) = fields.secret.split_first_chunk::<32>().ok_or(BadKey)?;
        let key = SigningKey::from_bytes(seed);
        let public = key.verifying_key();
        if fields.key != public.as_bytes() || again != public.as_bytes() {
            return Err(BadKey);
        }
        let mut fields = Vec::new();
        Ed25519Public { key: public.as_bytes() }.put(&mut fields);
        Ok(checked(key, fields, self))
    }
}

impl RawSigner for SigningKey {
    /// Deterministic (RFC 8032), so `rng` is not used.
    fn sign(&self, hash: Option<HashAlgorithm>, message: &[u8], _rng: &mut Rng) -> Result<Vec<u8>, BadKey> {
        if hash.is_some() {
            return Err(BadKey);
        }
        Ok(self.try_sign(message).map_err(|_| BadKey)?.to_bytes().to_vec())
    }
}
