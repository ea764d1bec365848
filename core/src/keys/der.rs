//! Keys in ASN.1 DER: PKCS#8 (RFC 5208, RFC 5958, RFC 8410), PKCS#1 (RFC 8017) and SEC1 (RFC 5915).
//! The schemas bound the depth; lengths are definite and checked by the `der` crate.

use alloc::string::ToString;

use der::Decode;
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};

use super::{FOREIGN, KeyError, KeyType, PrivateKey, ecdsa, rsa};

const DSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10040.4.1");

pub(super) fn pkcs8(bytes: &[u8]) -> Result<PrivateKey, KeyError> {
    let info = PrivateKeyInfoRef::from_der(bytes).map_err(|_| KeyError::Malformed("PKCS#8"))?;
    let algorithm = info.algorithm.oid;
    if algorithm == DSA {
        return Err(KeyError::unsupported_type(b"ssh-dss"));
    }
    let kind = kind_of(algorithm, || {
        info.algorithm.parameters_oid().map_err(|_| KeyError::Malformed("EC parameters"))
    })?;
    let public = match info.public_key {
        Some(bits) => Some(bits.as_bytes().ok_or(FOREIGN)?),
        None => None,
    };
    read(kind, info.private_key.as_bytes(), public)
}

pub(super) fn pkcs1(bytes: &[u8]) -> Result<PrivateKey, KeyError> {
    let algorithm = ObjectIdentifier::new_unwrap(rsa::RSA);
    read(kind_of(algorithm, || Err(KeyError::Malformed("PKCS#1")))?, bytes, None)
}

pub(super) fn sec1(bytes: &[u8]) -> Result<PrivateKey, KeyError> {
    let ec = sec1::EcPrivateKey::from_der(bytes).map_err(|_| KeyError::Malformed("SEC1"))?;
    let curve = ec.parameters.and_then(|p| p.named_curve());
    let curve = curve.ok_or(KeyError::Malformed("the EC key does not name its curve"));
    read(kind_of(ObjectIdentifier::new_unwrap(ecdsa::EC), || curve)?, bytes, None)
}

fn read(kind: KeyType, private: &[u8], public: Option<&[u8]>) -> Result<PrivateKey, KeyError> {
    Ok(PrivateKey::from_halves(kind, kind.format().read_der(private, public)?))
}

/// The type of that identifier; where it is that of several, `parameters` tell.
fn kind_of(
    algorithm: ObjectIdentifier,
    parameters: impl FnOnce() -> Result<ObjectIdentifier, KeyError>,
) -> Result<KeyType, KeyError> {
    let is = |oid: ObjectIdentifier, text: &str| ObjectIdentifier::new(text) == Ok(oid);
    let mut kinds = KeyType::all()
        .filter_map(|kind| Some((kind, kind.format().object_identifiers()?)))
        .filter(|(_, (own, _))| is(algorithm, own))
        .peekable();
    match kinds.peek() {
        None => Err(KeyError::UnsupportedKeyType(algorithm.to_string())),
        Some((kind, (_, None))) => Ok(*kind),
        Some(_) => {
            let wanted = parameters()?;
            let found = kinds.find(|(_, (_, own))| own.is_some_and(|own| is(wanted, own)));
            let (kind, _) = found.ok_or_else(|| KeyError::UnsupportedKeyType(wanted.to_string()))?;
            Ok(kind)
        }
    }
}
