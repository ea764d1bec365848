use alloc::boxed::Box;
use alloc::vec::Vec;

use p256::ecdsa::signature::{self, Signer as _, Verifier};
use zeroize::Zeroizing;

use super::curves::uncompressed;
use crate::crypto::fields::{EcdsaPrivate, EcdsaPublic};
use crate::crypto::{BadKey, BadSignature, Curve, HashAlgorithm, Scheme, Signer};
use crate::provider::signer::{RawSigner, checked};
use crate::rng::Rng;

/// RFC 5656.
pub(in crate::provider) struct Ecdsa(pub(in crate::provider) Curve);

impl Scheme for Ecdsa {
    fn key_type(&self) -> &'static str {
        self.0.key_type()
    }

    /// `signature` is `r || s` of fixed width; both must be in `1..n`. A high s is accepted, as
    /// everybody does in SSH: nothing there depends on a signature being unique.
    fn verify(
        &self,
        hash: Option<HashAlgorithm>,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        let point = point(self.0, hash, key).ok_or(BadSignature)?;
        match self.0 {
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

    fn signer(&'static self, key: &[u8]) -> Result<Box<dyn Signer>, BadKey> {
        signer(self.0, key, self)
    }
}

/// The point of a public key, if it and the hash are those of the curve.
pub(in crate::provider) fn point(curve: Curve, hash: Option<HashAlgorithm>, key: &[u8]) -> Option<&[u8]> {
    let key = EcdsaPublic::parse(key)?;
    let fits =
        key.curve == curve.name().as_bytes() && hash == Some(curve.hash()) && uncompressed(curve, key.point);
    fits.then_some(key.point)
}

fn verify_with<K: Verifier<S>, S>(
    key: signature::Result<K>,
    signature: signature::Result<S>,
    message: &[u8],
) -> Result<(), BadSignature> {
    let (Ok(key), Ok(signature)) = (key, signature) else { return Err(BadSignature) };
    key.verify(message, &signature).map_err(|_| BadSignature)
}

/// A signer whose signatures `scheme` verifies.
pub(in crate::provider) fn signer(
    curve: Curve,
    key: &[u8],
    scheme: &'static dyn Scheme,
) -> Result<Box<dyn Signer>, BadKey> {
    let fields = EcdsaPrivate::parse(key).ok_or(BadKey)?;
    let scalar = padded(fields.d, curve.width())?;
    let mut public = Vec::new();
    EcdsaPublic { curve: curve.name().as_bytes(), point: fields.point }.put(&mut public);
    macro_rules! signer {
        ($krate:ident) => {{
            let key = $krate::ecdsa::SigningKey::from_slice(&scalar).map_err(|_| BadKey)?;
            let point = key.verifying_key().to_sec1_point(false);
            let same = fields.curve == curve.name().as_bytes() && fields.point == point.as_bytes();
            if same { Ok(checked(key, public, scheme)) } else { Err(BadKey) }
        }};
    }
    match curve {
        Curve::P256 => signer!(p256),
        Curve::P384 => signer!(p384),
        Curve::P521 => signer!(p521),
    }
}

/// The number with exactly `width` bytes: an mpint has no leading zeros.
fn padded(number: &[u8], width: usize) -> Result<Zeroizing<Vec<u8>>, BadKey> {
    let mut out = Zeroizing::new(alloc::vec![0; width]);
    let at = width.checked_sub(number.len()).ok_or(BadKey)?;
    out.get_mut(at..).ok_or(BadKey)?.copy_from_slice(number);
    Ok(out)
}

macro_rules! raw_signer {
    ($krate:ident, $curve:expr) => {
        impl RawSigner for $krate::ecdsa::SigningKey {
            /// Deterministic (RFC 6979), so `rng` is not used.
            fn sign(
                &self,
                hash: Option<HashAlgorithm>,
                message: &[u8],
                _rng: &mut Rng,
            ) -> Result<Vec<u8>, BadKey> {
                if hash != Some($curve.hash()) {
                    return Err(BadKey);
                }
                let signature: $krate::ecdsa::Signature = self.try_sign(message).map_err(|_| BadKey)?;
                Ok(signature.to_bytes().to_vec())
            }
        }
    };
}

raw_signer!(p256, Curve::P256);
raw_signer!(p384, Curve::P384);
raw_signer!(p521, Curve::P521);
