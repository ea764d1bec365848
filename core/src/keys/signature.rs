//! The SSH form of signatures: `string algorithm, string signature` (RFC 4253 §6.6).
//!
//! Inside: 64 bytes for Ed25519 (RFC 8709 §6), two mpints for ECDSA (RFC 5656 §3.1.2), the number as
//! bytes for RSA (RFC 8332 §3). On both levels nothing may follow the last field.

use alloc::vec;
use alloc::vec::Vec;

use super::key_type::Form;
use super::{KeyType, PublicKey};
use crate::crypto::{BadSignature, Provider, SigAlg, VerifyKey};
use crate::wire::{Reader, Sink};

/// Encodes a raw signature, as [`Signer::sign`](crate::crypto::Signer::sign) makes them.
pub fn encode(alg: SigAlg, raw: &[u8]) -> Vec<u8> {
    let mut blob = Vec::with_capacity(raw.len().saturating_add(48));
    blob.put_string(alg.name().as_bytes());
    if let Some(Form::Pair(_)) = form(alg) {
        let (r, s) = raw.split_at_checked(raw.len() / 2).unwrap_or((raw, &[]));
        let mut inner = Vec::with_capacity(raw.len().saturating_add(10));
        inner.put_mpint(r);
        inner.put_mpint(s);
        blob.put_string(&inner);
    } else {
        blob.put_string(raw);
    }
    blob
}

/// Decodes a signature that must be of `expected`, and returns it raw: 64 bytes for Ed25519,
/// `r || s` of curve width for ECDSA (positive mpints, surplus zeros in front dropped), as sent for RSA.
pub fn decode(blob: &[u8], expected: SigAlg) -> Result<Vec<u8>, BadSignature> {
    let mut r = Reader::new(blob);
    // K-13, AS-07: the name says exactly what was agreed on, ssh-rsa is not rsa-sha2-512.
    if r.string().map_err(bad)? != expected.name().as_bytes() {
        return Err(BadSignature);
    }
    let inner = r.string().map_err(bad)?;
    r.end().map_err(bad)?;
    match form(expected) {
        Some(Form::Pair(width)) => decode_pair(inner, width),
        Some(form) if form.allows(inner.len()) => Ok(inner.to_vec()),
        _ => Err(BadSignature),
    }
}

/// The algorithm that a signature blob names, whatever it is; for logs and for agents that choose.
pub fn algorithm(blob: &[u8]) -> Option<SigAlg> {
    let name = Reader::new(blob).string().ok()?;
    SigAlg::from_name(core::str::from_utf8(name).ok()?)
}

/// Verifies a signature blob of `alg` over `message`.
///
/// Fails too when `alg` is not one of the key's type, when the blob names another algorithm, or
/// when its form is not exact (K-13, AS-07, AS-11). An RSA signature shorter than the modulus is
/// padded in front, as OpenSSH does, since some peers strip leading zeros.
pub fn verify(
    provider: &dyn Provider,
    key: &PublicKey,
    alg: SigAlg,
    message: &[u8],
    blob: &[u8],
) -> Result<(), BadSignature> {
    if !key.fits(alg) {
        return Err(BadSignature);
    }
    let mut raw = decode(blob, alg)?;
    if let VerifyKey::Rsa { n, .. } = key.verify_key() {
        raw = pad_left(&raw, n.len())?;
    }
    provider.verify(alg, key.verify_key(), message, &raw)
}

fn decode_pair(inner: &[u8], width: usize) -> Result<Vec<u8>, BadSignature> {
    let mut fields = Reader::new(inner);
    let r = positive(&mut fields)?;
    let s = positive(&mut fields)?;
    fields.end().map_err(bad)?;
    let mut raw = pad_left(r, width)?;
    raw.extend_from_slice(&pad_left(s, width)?);
    Ok(raw)
}

/// An mpint above zero. Zeros in front that it need not have are dropped, as in OpenSSH: Huawei's devices
/// and hardware that pads to the curve's width send them. The numbers decide, so nothing else changes.
fn positive<'a>(fields: &mut Reader<'a>) -> Result<&'a [u8], BadSignature> {
    fields.mpint().ok().filter(|number| !number.is_empty()).ok_or(BadSignature)
}

fn pad_left(number: &[u8], width: usize) -> Result<Vec<u8>, BadSignature> {
    let zeros = width.checked_sub(number.len()).ok_or(BadSignature)?;
    let mut padded = vec![0; zeros];
    padded.extend_from_slice(number);
    Ok(padded)
}

fn form(alg: SigAlg) -> Option<Form> {
    KeyType::of_algorithm(alg).map(KeyType::signature)
}

fn bad<E>(_: E) -> BadSignature {
    BadSignature
}
