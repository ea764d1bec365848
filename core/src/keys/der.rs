//! Keys in ASN.1 DER: PKCS#8 (RFC 5208, RFC 5958, RFC 8410), PKCS#1 (RFC 8017) and SEC1 (RFC 5915).
//! The schemas bound the depth; lengths are definite and checked by the `der` crate.

use alloc::string::ToString;
use alloc::vec::Vec;

use der::Decode;
use pkcs8::ObjectIdentifier;
use pkcs8::PrivateKeyInfoRef;

use super::{KeyError, PrivateKey, numbers};
use crate::crypto::{Curve, SigningKey, VerifyKey};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const DSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10040.4.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

const FOREIGN: KeyError = KeyError::Inconsistent("the public half is not the private one's");

pub(super) fn pkcs8(bytes: &[u8]) -> Result<PrivateKey, KeyError> {
    let info = PrivateKeyInfoRef::from_der(bytes).map_err(|_| KeyError::Malformed("PKCS#8"))?;
    let private = info.private_key.as_bytes();
    let key = match info.algorithm.oid {
        RSA => pkcs1(private)?,
        ED25519 => ed25519(private)?,
        EC => {
            let curve = info.algorithm.parameters_oid().map_err(|_| KeyError::Malformed("EC parameters"))?;
            ec(private, Some(curve))?
        }
        DSA => return Err(KeyError::unsupported_type(b"ssh-dss")),
        other => return Err(KeyError::UnsupportedKeyType(other.to_string())),
    };
    if let Some(public) = info.public_key {
        let public = public.as_bytes().ok_or(FOREIGN)?;
        let same = match key.public().verify_key() {
            VerifyKey::Ed25519(own) => own == public,
            VerifyKey::Ecdsa(_, own) => own == public,
            // RFC 5958 does not say what this is for RSA, and nobody writes it.
            VerifyKey::Rsa { .. } => true,
        };
        if !same {
            return Err(FOREIGN);
        }
    }
    Ok(key)
}

/// RFC 8410 §7: an OCTET STRING of 32 bytes within the OCTET STRING.
fn ed25519(bytes: &[u8]) -> Result<PrivateKey, KeyError> {
    let seed = bytes.strip_prefix(&[0x04, 0x20]).and_then(|seed| seed.try_into().ok());
    PrivateKey::from_numbers(SigningKey::Ed25519(seed.ok_or(KeyError::Malformed("Ed25519 key length"))?))
}

pub(super) fn pkcs1(bytes: &[u8]) -> Result<PrivateKey, KeyError> {
    let rsa = pkcs1::RsaPrivateKeyRef::from_der(bytes).map_err(|_| KeyError::Malformed("PKCS#1"))?;
    if rsa.other_prime_infos.is_some() {
        return Err(KeyError::UnsupportedKeyType("RSA of more than two primes".to_string()));
    }
    PrivateKey::from_rsa(&numbers::Rsa {
        n: rsa.modulus.as_bytes(),
        e: rsa.public_exponent.as_bytes(),
        d: rsa.private_exponent.as_bytes(),
        p: rsa.prime1.as_bytes(),
        q: rsa.prime2.as_bytes(),
        iqmp: Some(rsa.coefficient.as_bytes()),
    })
}

pub(super) fn sec1(bytes: &[u8]) -> Result<PrivateKey, KeyError> {
    ec(bytes, None)
}

/// The curve stands in the algorithm identifier around, or inside, or both alike (RFC 5915 §3).
fn ec(bytes: &[u8], outer: Option<ObjectIdentifier>) -> Result<PrivateKey, KeyError> {
    let ec = sec1::EcPrivateKey::from_der(bytes).map_err(|_| KeyError::Malformed("SEC1"))?;
    let inner = ec.parameters.and_then(|p| p.named_curve());
    let oid = outer.or(inner).ok_or(KeyError::Malformed("the EC key does not name its curve"))?;
    if inner.is_some_and(|inner| inner != oid) {
        return Err(KeyError::Inconsistent("the EC key names two curves"));
    }
    let curve = match oid {
        P256 => Curve::P256,
        P384 => Curve::P384,
        P521 => Curve::P521,
        other => return Err(KeyError::UnsupportedKeyType(other.to_string())),
    };
    let key = PrivateKey::from_numbers(SigningKey::Ecdsa(curve, ec.private_key))?;
    match (key.public().verify_key(), ec.public_key) {
        (_, None) => Ok(key),
        (VerifyKey::Ecdsa(_, own), Some(public)) if own == public || compressed(own) == public => Ok(key),
        _ => Err(FOREIGN),
    }
}

/// The compressed form of an uncompressed point (SEC1 §2.3.3), which some tools write.
fn compressed(point: &[u8]) -> Vec<u8> {
    let y_is_odd = point.last().is_some_and(|b| b & 1 == 1);
    let x = point.get(1..=point.len() / 2).unwrap_or_default();
    [&[2 | u8::from(y_is_odd)], x].concat()
}
