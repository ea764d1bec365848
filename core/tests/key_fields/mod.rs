//! Keys from their numbers, written as SSH writes them.
#![allow(dead_code)]

use konko_core::crypto::{BadSignature, Curve, Provider};
use konko_core::keys::SignatureAlgorithm;
use konko_core::wire::Sink;
use p256::elliptic_curve::sec1::ToSec1Point;

/// The name of a type and the fields behind it, of a public or of a private key.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    pub kind: &'static str,
    pub fields: Vec<u8>,
}

impl Key {
    pub fn blob(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        blob.put_string(self.kind.as_bytes());
        blob.put(&self.fields);
        blob
    }
}

fn key(kind: &'static str, write: impl FnOnce(&mut Vec<u8>)) -> Key {
    let mut fields = Vec::new();
    write(&mut fields);
    Key { kind, fields }
}

pub fn ed25519(public: &[u8]) -> Key {
    key("ssh-ed25519", |out| out.put_string(public))
}

pub fn ed25519_private(seed: &[u8; 32]) -> Key {
    let pair = ed25519_dalek::SigningKey::from_bytes(seed);
    key("ssh-ed25519", |out| {
        out.put_string(pair.verifying_key().as_bytes());
        out.put_string(&pair.to_keypair_bytes());
    })
}

pub fn ecdsa(curve: Curve, point: &[u8]) -> Key {
    key(curve.key_type(), |out| {
        out.put_string(curve.name().as_bytes());
        out.put_string(point);
    })
}

/// With the point of the scalar, if it has one.
pub fn ecdsa_private(curve: Curve, d: &[u8]) -> Key {
    let d = konko_core::wire::minimal(d);
    let scalar = [&vec![0; curve.width().saturating_sub(d.len())][..], d].concat();
    let point: Option<Vec<u8>> = match curve {
        Curve::P256 => p256::SecretKey::from_slice(&scalar)
            .ok()
            .map(|d| d.public_key().to_sec1_point(false).as_bytes().to_vec()),
        Curve::P384 => p384::SecretKey::from_slice(&scalar)
            .ok()
            .map(|d| d.public_key().to_sec1_point(false).as_bytes().to_vec()),
        Curve::P521 => p521::SecretKey::from_slice(&scalar)
            .ok()
            .map(|d| d.public_key().to_sec1_point(false).as_bytes().to_vec()),
    };
    let mut key = ecdsa(curve, &point.unwrap_or_default());
    key.fields.put_mpint(d);
    key
}

pub fn rsa(e: &[u8], n: &[u8]) -> Key {
    key("ssh-rsa", |out| {
        out.put_mpint(e);
        out.put_mpint(n);
    })
}

pub fn rsa_private([n, e, d, iqmp, p, q]: [&[u8]; 6]) -> Key {
    key("ssh-rsa", |out| [n, e, d, iqmp, p, q].into_iter().for_each(|number| out.put_mpint(number)))
}

/// Verifies a raw signature.
pub fn verify(
    p: &dyn Provider,
    algorithm: SignatureAlgorithm,
    key: &Key,
    message: &[u8],
    raw: &[u8],
) -> Result<(), BadSignature> {
    p.verify(key.kind, algorithm.hash(), &key.fields, message, raw)
}
