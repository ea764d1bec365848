//! Arithmetic on a private key's numbers that is no signature: recomputing the public half and
//! checking an RSA key. Constant time in the secrets.

use alloc::vec::Vec;

use crypto_bigint::{BoxedUint, ConcatenatingMul, NonZero, Odd};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use zeroize::Zeroizing;

use super::public::bit_length;
use super::{KeyError, PrivateKey};
use crate::crypto::{Curve, Secret, SigningKey};
use crate::rng::Rng;
use crate::wire::minimal;

/// Widest RSA prime (F-09): half of the widest modulus, so that work stays bounded.
const MAX_PRIME_BITS: usize = 8192;

pub(super) fn ed25519_public(seed: &[u8; 32]) -> [u8; 32] {
    ed25519_dalek::SigningKey::from_bytes(seed).verifying_key().to_bytes()
}

/// A scalar of curve width from a magnitude with any leading zeros. Its range is checked by
/// [`ecdsa_public`].
pub(super) fn scalar(curve: Curve, d: &[u8]) -> Result<Secret, KeyError> {
    let d = minimal(d);
    let mut padded = Zeroizing::new(alloc::vec![0; curve.width()]);
    let at = curve.width().checked_sub(d.len()).ok_or(SCALAR)?;
    padded.get_mut(at..).ok_or(SCALAR)?.copy_from_slice(d);
    Ok(Secret::copy_of(&padded))
}

const SCALAR: KeyError = KeyError::Inconsistent("the private scalar is out of the curve's range");

/// The public point, uncompressed; the scalar must be in 1..n (F-10).
pub(super) fn ecdsa_public(curve: Curve, d: &Secret) -> Result<Vec<u8>, KeyError> {
    use p256::elliptic_curve::sec1::ToSec1Point;
    let d = d.expose();
    let point = match curve {
        Curve::P256 => p256::SecretKey::from_slice(d).map(|d| d.public_key().to_sec1_point(false).to_bytes()),
        Curve::P384 => p384::SecretKey::from_slice(d).map(|d| d.public_key().to_sec1_point(false).to_bytes()),
        Curve::P521 => p521::SecretKey::from_slice(d).map(|d| d.public_key().to_sec1_point(false).to_bytes()),
    };
    point.map(Into::into).map_err(|_| SCALAR)
}

pub(super) fn random_scalar(curve: Curve, rng: &mut Rng) -> Secret {
    use p256::elliptic_curve::Generate;
    match curve {
        Curve::P256 => {
            Secret::copy_of(&Zeroizing::new(p256::SecretKey::generate_from_rng(rng).to_bytes())[..])
        }
        Curve::P384 => {
            Secret::copy_of(&Zeroizing::new(p384::SecretKey::generate_from_rng(rng).to_bytes())[..])
        }
        Curve::P521 => {
            Secret::copy_of(&Zeroizing::new(p521::SecretKey::generate_from_rng(rng).to_bytes())[..])
        }
    }
}

pub(super) fn generate_rsa(bits: usize, rng: &mut Rng) -> Result<PrivateKey, KeyError> {
    if !(2048..=MAX_PRIME_BITS).contains(&bits) {
        return Err(KeyError::RsaSize { bits });
    }
    let key = rsa::RsaPrivateKey::new(rng, bits).map_err(|_| KeyError::RsaSize { bits })?;
    let [p, q] = key.primes() else { return Err(PRODUCT) };
    let secret = |x: &BoxedUint| Zeroizing::new(x.to_be_bytes());
    let (d, p, q) = (secret(key.d()), secret(p), secret(q));
    PrivateKey::from_numbers(SigningKey::Rsa { n: &key.n_bytes(), e: &key.e_bytes(), d: &d, p: &p, q: &q })
}

const PRODUCT: KeyError = KeyError::Inconsistent("the RSA modulus is not the product of the primes");
const EXPONENT: KeyError = KeyError::Inconsistent("the RSA exponents do not belong together");
const PRIME: KeyError = KeyError::Inconsistent("an RSA prime is out of range");

/// Checks that an RSA key's numbers fit together (F-09) and returns `q^-1 mod p`. The public half
/// was checked before ([`super::PublicKey::from_numbers`]), sizes are checked before any arithmetic.
pub(super) fn check_rsa(n: &[u8], e: &[u8], d: &[u8], p: &[u8], q: &[u8]) -> Result<Secret, KeyError> {
    for prime in [p, q] {
        let odd = minimal(prime).last().is_some_and(|b| b & 1 == 1);
        if !odd || !(2..=MAX_PRIME_BITS).contains(&bit_length(prime)) {
            return Err(PRIME);
        }
    }
    if minimal(d).is_empty() || bit_length(d) > bit_length(n) {
        return Err(EXPONENT);
    }
    let [n, e, d, p, q] =
        [n, e, d, p, q].map(|x| Zeroizing::new(BoxedUint::from_be_slice_vartime(minimal(x))));
    let product = Zeroizing::new(p.concatenating_mul(&*q));
    if *product != *n {
        return Err(PRODUCT);
    }
    let ed = Zeroizing::new(d.concatenating_mul(&*e));
    for prime in [&p, &q] {
        let order = Zeroizing::new(prime.wrapping_sub(BoxedUint::one()));
        let order = Option::from(NonZero::new((*order).clone())).map(Zeroizing::new).ok_or(PRIME)?;
        if !bool::from(ed.rem(&*order).is_one()) {
            return Err(EXPONENT);
        }
    }
    let modulus: Zeroizing<Odd<BoxedUint>> =
        Option::from(Odd::new((*p).clone())).map(Zeroizing::new).ok_or(PRIME)?;
    let reduced = Zeroizing::new(q.rem(modulus.as_nz_ref()));
    let inverse: Option<BoxedUint> = reduced.invert_odd_mod(&modulus).into();
    let inverse = Zeroizing::new(inverse.ok_or(PRIME)?);
    Ok(Secret::copy_of(minimal(&Zeroizing::new(inverse.to_be_bytes()))))
}
