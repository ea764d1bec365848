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

/// An RSA key as files hold it. `iqmp` is `q^-1 mod p`; without it, it is computed.
pub(super) struct Rsa<'a> {
    pub(super) n: &'a [u8],
    pub(super) e: &'a [u8],
    pub(super) d: &'a [u8],
    pub(super) p: &'a [u8],
    pub(super) q: &'a [u8],
    pub(super) iqmp: Option<&'a [u8]>,
}

/// Checks that an RSA key's numbers fit together (F-09) and returns `q^-1 mod p`. The public half
/// was checked before ([`super::PublicKey::from_numbers`]), sizes are checked before any arithmetic.
pub(super) fn check_rsa(key: &Rsa<'_>) -> Result<Secret, KeyError> {
    for prime in [key.p, key.q] {
        let odd = minimal(prime).last().is_some_and(|b| b & 1 == 1);
        if !odd || !(2..=MAX_PRIME_BITS).contains(&bit_length(prime)) {
            return Err(PRIME);
        }
    }
    if minimal(key.d).is_empty() || bit_length(key.d) > bit_length(key.n) {
        return Err(EXPONENT);
    }
    let [n, e, d, p, q] = [key.n, key.e, key.d, key.p, key.q].map(integer);
    let product = Zeroizing::new(p.concatenating_mul(&*q));
    if *product != *n {
        return Err(PRODUCT);
    }
    for prime in [&p, &q] {
        let order = Zeroizing::new(prime.wrapping_sub(BoxedUint::one()));
        if !product_is_one(&d, &e, &order) {
            return Err(EXPONENT);
        }
    }
    match key.iqmp {
        None => inverse(&q, &p),
        Some(iqmp) if bit_length(iqmp) <= bit_length(key.p) => {
            let number = integer(iqmp);
            if *number < *p && product_is_one(&number, &q, &p) {
                Ok(Secret::copy_of(minimal(iqmp)))
            } else {
                Err(COEFFICIENT)
            }
        }
        Some(_) => Err(COEFFICIENT),
    }
}

const COEFFICIENT: KeyError = KeyError::Inconsistent("the RSA coefficient does not belong to the primes");

type Integer = Zeroizing<BoxedUint>;

fn integer(magnitude: &[u8]) -> Integer {
    Zeroizing::new(BoxedUint::from_be_slice_vartime(minimal(magnitude)))
}

/// Whether `a * b mod m` is 1.
fn product_is_one(a: &Integer, b: &Integer, m: &Integer) -> bool {
    let product = Zeroizing::new(a.concatenating_mul(&**b));
    let modulus: Option<NonZero<BoxedUint>> = NonZero::new((**m).clone()).into();
    let Some(modulus) = modulus.map(Zeroizing::new) else { return false };
    // `rem` alone would leave the quotient in freed memory.
    let (quotient, remainder) = product.div_rem(&*modulus);
    let (_quotient, remainder) = (Zeroizing::new(quotient), Zeroizing::new(remainder));
    remainder.is_one().into()
}

/// `a^-1 mod p` for an odd `p`. The crate leaves copies of both in freed memory, so this is for keys
/// that come without the number: new ones.
fn inverse(a: &Integer, p: &Integer) -> Result<Secret, KeyError> {
    let odd: Option<Odd<BoxedUint>> = Odd::new((**p).clone()).into();
    let odd = odd.map(Zeroizing::new).ok_or(PRIME)?;
    let (quotient, reduced) = a.div_rem(odd.as_nz_ref());
    let (_quotient, reduced) = (Zeroizing::new(quotient), Zeroizing::new(reduced));
    let inverse: Option<BoxedUint> = reduced.invert_odd_mod(&odd).into();
    let inverse = Zeroizing::new(inverse.ok_or(PRIME)?);
    Ok(Secret::copy_of(minimal(&Zeroizing::new(inverse.to_be_bytes()))))
}
