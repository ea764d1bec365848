//! X25519 and ECDH on the NIST curves.

use alloc::vec::Vec;

use p256::elliptic_curve::sec1::{FromSec1Point, ModulusSize, ToSec1Point};
use p256::elliptic_curve::{AffinePoint, CurveArithmetic, FieldBytesSize, PublicKey, SecretKey};
use subtle::ConstantTimeEq;
use x25519_dalek::{PublicKey as MontgomeryPoint, StaticSecret};
use zeroize::Zeroizing;

use crate::crypto::{BadPublicValue, Curve, Secret};
use crate::rng::Rng;

pub(super) fn x25519_public(secret: &[u8; 32]) -> [u8; 32] {
    MontgomeryPoint::from(&StaticSecret::from(*secret)).to_bytes()
}

pub(super) fn x25519(secret: &[u8; 32], peer: &[u8; 32]) -> Result<Secret, BadPublicValue> {
    let shared = StaticSecret::from(*secret).diffie_hellman(&MontgomeryPoint::from(*peer));
    // RFC 8731 §3: a low-order point gives all zeros, whatever our secret is.
    if bool::from(shared.as_bytes().ct_eq(&[0; 32])) {
        return Err(BadPublicValue);
    }
    Ok(Secret::copy_of(shared.as_bytes()))
}

/// A uniform scalar in `1..order`, big-endian, curve width. Every provider draws through this
/// function, so that all of them take the same bytes from `rng`.
pub(in crate::provider) fn draw_scalar(curve: Curve, rng: &mut Rng) -> Zeroizing<Vec<u8>> {
    let mut scalar = Zeroizing::new(alloc::vec![0; curve.width()]);
    loop {
        rng.fill(&mut scalar);
        if curve == Curve::P521
            && let Some(top) = scalar.first_mut()
        {
            // The order has 521 bits of the 528.
            *top &= 1;
        }
        let in_range = match curve {
            Curve::P256 => p256::SecretKey::from_slice(&scalar).is_ok(),
            Curve::P384 => p384::SecretKey::from_slice(&scalar).is_ok(),
            Curve::P521 => p521::SecretKey::from_slice(&scalar).is_ok(),
        };
        if in_range {
            return scalar;
        }
    }
}

pub(super) fn generate(curve: Curve, rng: &mut Rng) -> (Secret, Vec<u8>) {
    let scalar = draw_scalar(curve, rng);
    let public = match curve {
        Curve::P256 => public_point::<p256::NistP256>(&scalar),
        Curve::P384 => public_point::<p384::NistP384>(&scalar),
        Curve::P521 => public_point::<p521::NistP521>(&scalar),
    };
    (Secret::copy_of(&scalar), public.unwrap_or_default())
}

pub(super) fn agree(curve: Curve, secret: &Secret, peer: &[u8]) -> Result<Secret, BadPublicValue> {
    // The library would take a shorter scalar too.
    if !uncompressed(curve, peer) || secret.expose().len() != curve.width() {
        return Err(BadPublicValue);
    }
    match curve {
        Curve::P256 => agree_on::<p256::NistP256>(secret, peer),
        Curve::P384 => agree_on::<p384::NistP384>(secret, peer),
        Curve::P521 => agree_on::<p521::NistP521>(secret, peer),
    }
}

/// Whether the encoding has the form of an uncompressed point (RFC 5656 §4 allows compressed
/// ones; nobody sends them and OpenSSH refuses them).
pub(in crate::provider) fn uncompressed(curve: Curve, point: &[u8]) -> bool {
    let len = curve.width().saturating_mul(2).saturating_add(1);
    point.len() == len && point.first() == Some(&4)
}

fn public_point<C>(scalar: &[u8]) -> Option<Vec<u8>>
where
    C: CurveArithmetic,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
{
    let key = SecretKey::<C>::from_slice(scalar).ok()?;
    Some(key.public_key().to_sec1_point(false).as_bytes().to_vec())
}

fn agree_on<C>(secret: &Secret, peer: &[u8]) -> Result<Secret, BadPublicValue>
where
    C: CurveArithmetic,
    FieldBytesSize<C>: ModulusSize,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
{
    let key = SecretKey::<C>::from_slice(secret.expose()).map_err(|_| BadPublicValue)?;
    let peer = PublicKey::<C>::from_sec1_bytes(peer).map_err(|_| BadPublicValue)?;
    let shared = key.diffie_hellman(&peer);
    Ok(Secret::copy_of(shared.raw_secret_bytes()))
}
