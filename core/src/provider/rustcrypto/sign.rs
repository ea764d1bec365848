//! Ed25519 and ECDSA.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ed25519_dalek::Signature as EdSignature;
use p256::ecdsa::signature::{self, Signer as _, Verifier};
use zeroize::Zeroizing;

use super::curves::uncompressed;
use crate::crypto::{BadKey, BadSignature, Curve, Provider, SigAlg, Signer, SigningKey};
use crate::provider::signer::{CheckedSigner, PublicNumbers, RawSigner};
use crate::rng::Rng;

/// Strict: S below the group order, neither A nor R of small order (RFC 8032 §5.1.7 and more).
pub(super) fn verify_ed25519(key: &[u8; 32], message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
    let key = ed25519_dalek::VerifyingKey::from_bytes(key).map_err(|_| BadSignature)?;
    let signature = EdSignature::from_slice(signature).map_err(|_| BadSignature)?;
    key.verify_strict(message, &signature).map_err(|_| BadSignature)
}

/// `signature` is `r || s` of fixed width; both must be in `1..n`. A high s is accepted, as
/// everybody does in SSH: nothing there depends on a signature being unique.
pub(super) fn verify_ecdsa(
    curve: Curve,
    point: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    if !uncompressed(curve, point) {
        return Err(BadSignature);
    }
    match curve {
        Curve::P256 => verify_with(
            p256::ecdsa::VerifyingKey::from_sec1_bytes(point),
            p256::ecdsa::Signature::from_slice(signature),
            message,
        ),
        Curve::P384 => verify_with(
            p384::ecdsa::VerifyingKey::from_sec1_bytes(point),
            p384::ecdsa::Signature::from_slice(signature),
            message,
        ),
        Curve::P521 => verify_with(
            p521::ecdsa::VerifyingKey::from_sec1_bytes(point),
            p521::ecdsa::Signature::from_slice(signature),
            message,
        ),
    }
}

fn verify_with<K: Verifier<S>, S>(
    key: signature::Result<K>,
    signature: signature::Result<S>,
    message: &[u8],
) -> Result<(), BadSignature> {
    let (Ok(key), Ok(signature)) = (key, signature) else { return Err(BadSignature) };
    key.verify(message, &signature).map_err(|_| BadSignature)
}

/// A signer for an Ed25519 or ECDSA key, whose signatures `provider` checks.
pub(in crate::provider) fn plain_signer(
    key: SigningKey<'_>,
    provider: &'static dyn Provider,
) -> Result<Box<dyn Signer>, BadKey> {
    let (key, public) = match key {
        SigningKey::Ed25519(seed) => {
            let key = ed25519_dalek::SigningKey::from_bytes(seed);
            let public = PublicNumbers::Ed25519(key.verifying_key().to_bytes());
            (CurveKey::Ed25519(key), public)
        }
        SigningKey::Ecdsa(curve, scalar) => ecdsa_key(curve, &padded(scalar, curve.width())?)?,
        SigningKey::Rsa { .. } => return Err(BadKey),
    };
    Ok(Box::new(CheckedSigner { key, public, provider }))
}

/// The number with exactly `width` bytes: an mpint may have lost or gained leading zeros.
fn padded(number: &[u8], width: usize) -> Result<Zeroizing<Vec<u8>>, BadKey> {
    let (excess, number) = number.split_at(number.len().saturating_sub(width));
    if excess.iter().any(|b| *b != 0) {
        return Err(BadKey);
    }
    let mut out = Zeroizing::new(alloc::vec![0; width]);
    for (to, from) in out.iter_mut().rev().zip(number.iter().rev()) {
        *to = *from;
    }
    Ok(out)
}

fn ecdsa_key(curve: Curve, scalar: &[u8]) -> Result<(CurveKey, PublicNumbers), BadKey> {
    macro_rules! key {
        ($krate:ident, $variant:ident) => {{
            let key = $krate::ecdsa::SigningKey::from_slice(scalar).map_err(|_| BadKey)?;
            let point = key.verifying_key().to_sec1_point(false).as_bytes().to_vec();
            (CurveKey::$variant(key), PublicNumbers::Ecdsa(curve, point))
        }};
    }
    Ok(match curve {
        Curve::P256 => key!(p256, P256),
        Curve::P384 => key!(p384, P384),
        Curve::P521 => key!(p521, P521),
    })
}

enum CurveKey {
    Ed25519(ed25519_dalek::SigningKey),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
}

impl RawSigner for CurveKey {
    /// Deterministic (RFC 8032; RFC 6979), so `rng` is not used.
    fn sign(&self, alg: SigAlg, message: &[u8], _rng: &mut Rng) -> Result<Vec<u8>, BadKey> {
        match (self, alg) {
            (Self::Ed25519(key), SigAlg::Ed25519) => Ok(key.sign(message).to_bytes().to_vec()),
            (Self::P256(key), SigAlg::EcdsaNistp256) => {
                let signature: p256::ecdsa::Signature = key.try_sign(message).map_err(|_| BadKey)?;
                Ok(signature.to_bytes().to_vec())
            }
            (Self::P384(key), SigAlg::EcdsaNistp384) => {
                let signature: p384::ecdsa::Signature = key.try_sign(message).map_err(|_| BadKey)?;
                Ok(signature.to_bytes().to_vec())
            }
            (Self::P521(key), SigAlg::EcdsaNistp521) => {
                let signature: p521::ecdsa::Signature = key.try_sign(message).map_err(|_| BadKey)?;
                Ok(signature.to_bytes().to_vec())
            }
            _ => Err(BadKey),
        }
    }
}
