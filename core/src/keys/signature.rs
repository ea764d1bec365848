//! The SSH form of signatures: `string algorithm, string signature` (RFC 4253 §6.6).
//!
//! What is inside says the type of the key. On both levels nothing may follow the last field.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

use super::{PublicKey, SignatureAlgorithm, SignatureDetails};
use crate::crypto::{BadSignature, Provider};
use crate::wire::{Reader, Sink};

/// Encodes a raw signature, as [`Signer::sign`](crate::crypto::Signer::sign) makes them.
pub fn encode(algorithm: SignatureAlgorithm, raw: &[u8]) -> Vec<u8> {
    let mut blob = Vec::with_capacity(raw.len().saturating_add(48));
    blob.put_string(algorithm.signature_name().as_bytes());
    algorithm.key_type().format().write_signature(raw, &mut blob);
    blob
}

/// Decodes a signature that must be of `expected`, and returns it raw: 64 bytes for Ed25519,
/// `r || s` of curve width for ECDSA (positive mpints, surplus zeros in front dropped), as sent for RSA.
///
/// # Errors
/// [`BadSignature`] for another algorithm, and for a form that is not exact.
pub fn decode(blob: &[u8], expected: SignatureAlgorithm) -> Result<Vec<u8>, BadSignature> {
    let mut r = Reader::new(blob);
    // K-13, AS-07: the name says exactly what was agreed on, ssh-rsa is not rsa-sha2-512.
    if r.string().map_err(bad)? != expected.signature_name().as_bytes() {
        return Err(BadSignature);
    }
    let raw = expected.key_type().format().read_signature(&mut r)?;
    r.end().map_err(bad)?;
    Ok(raw)
}

/// What a signature blob of `algorithm` says beside being a signature, if it is one by a security key. Nothing of it is true
/// unless the signature was [verified](verify).
pub fn details(blob: &[u8], algorithm: SignatureAlgorithm) -> Option<SignatureDetails> {
    algorithm.key_type().format().details(&decode(blob, algorithm).ok()?)
}

/// The algorithm that a signature blob names, whatever it is; for logs and for agents that choose.
pub fn algorithm(blob: &[u8]) -> Option<SignatureAlgorithm> {
    let name = Reader::new(blob).string().ok()?;
    SignatureAlgorithm::from_name(core::str::from_utf8(name).ok()?)
}

/// Verifies a signature blob of `algorithm` over `message`.
///
/// Fails too when `algorithm` is not one of the key's type, when the blob names another algorithm, or
/// when its form is not exact (K-13, AS-07, AS-11). An RSA signature shorter than the modulus is
/// padded in front, as OpenSSH does, since some peers strip leading zeros.
pub fn verify(
    provider: &dyn Provider,
    key: &PublicKey,
    algorithm: SignatureAlgorithm,
    message: &[u8],
    blob: &[u8],
) -> Result<(), BadSignature> {
    let algorithm = key.own_algorithm(algorithm).ok_or(BadSignature)?;
    let raw = decode(blob, algorithm)?;
    key.key_type().format().verify(provider, key.fields(), algorithm, message, &raw)
}

/// A signature that is a string of so many bytes.
pub(super) fn bytes(r: &mut Reader<'_>, length: RangeInclusive<usize>) -> Result<Vec<u8>, BadSignature> {
    let bytes = r.string().map_err(bad)?;
    if length.contains(&bytes.len()) { Ok(bytes.to_vec()) } else { Err(BadSignature) }
}

pub(super) fn bad<E>(_: E) -> BadSignature {
    BadSignature
}
