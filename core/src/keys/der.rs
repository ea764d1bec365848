//! Keys in ASN.1 DER: PKCS#8 (RFC 5208, RFC 5958, RFC 8410), PKCS#1 (RFC 8017) and SEC1 (RFC 5915), and public keys as
//! in certificates (RFC 5280). The schemas bound the depth; lengths are definite and checked by the `der` crate.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use der::asn1::{AnyRef, BitStringRef};
use der::{Decode, Reader as _};
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};
use zeroize::Zeroizing;

use super::{
    FOREIGN, KdfLimits, KeyError, KeyType, PrivateKey, PublicKey, ec_parameters, ecdsa, pbes2, pem, rsa,
};
use crate::rng::Rng;

const DSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10040.4.1");

/// OpenSSL breaks lines here.
const LINE_WIDTH: usize = 64;

pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: &[u8] = &[5, 0];

/// A value and what stands before it: its tag and its length. `parts` one behind the other are the value.
pub(super) fn value(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(length.saturating_add(10)));
    out.push(tag);
    let bytes = length.to_be_bytes();
    let bytes = crate::wire::minimal(&bytes);
    match (bytes, u8::try_from(bytes.len())) {
        ([], _) => out.push(0),
        ([short @ ..0x80], _) => out.push(*short),
        (long, Ok(count)) => {
            out.push(0x80 | count);
            out.extend_from_slice(long);
        }
        // More bytes than a number of this machine has.
        (_, Err(_)) => {}
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// A number that is not negative, from its magnitude.
pub(super) fn integer(magnitude: &[u8]) -> Zeroizing<Vec<u8>> {
    let magnitude = crate::wire::minimal(magnitude);
    let sign: &[u8] = if magnitude.first().is_none_or(|b| *b >= 0x80) { &[0] } else { &[] };
    value(INTEGER, &[sign, magnitude])
}

/// The name of something, from its dotted form.
pub(super) fn identifier(dotted: &str) -> Zeroizing<Vec<u8>> {
    let oid = ObjectIdentifier::new(dotted);
    value(0x06, &[oid.as_ref().map_or(&[][..], |oid| oid.as_bytes())])
}

pub(super) fn pkcs8(bytes: &[u8]) -> Result<PrivateKey, KeyError> {
    let info = PrivateKeyInfoRef::from_der(bytes).map_err(|_| KeyError::Malformed("PKCS#8"))?;
    let algorithm = info.algorithm.oid;
    if algorithm == DSA {
        return Err(KeyError::unsupported_type(b"ssh-dss"));
    }
    let kind = kind_of(algorithm, || match info.algorithm.parameters {
        Some(parameters) => ec_parameters::curve(parameters),
        None => Err(KeyError::Malformed("EC parameters")),
    })?;
    let public = match info.public_key {
        Some(bits) => Some(bits.as_bytes().ok_or(FOREIGN)?),
        None => None,
    };
    read(kind, info.private_key.as_bytes(), public)
}

/// PKCS#8 that is encrypted (RFC 5958 §3).
pub(super) fn encrypted_pkcs8(
    bytes: &[u8],
    passphrase: Option<&[u8]>,
    limits: &KdfLimits,
) -> Result<PrivateKey, KeyError> {
    let plain = pbes2::decrypt(bytes, passphrase, limits)?;
    pkcs8(&plain).map_err(wrong)
}

/// The padding may be right by chance: what is no key behind it was opened with another passphrase.
pub(super) fn wrong(error: KeyError) -> KeyError {
    if matches!(error, KeyError::Malformed(_)) { KeyError::WrongPassphrase } else { error }
}

pub(super) fn pkcs1(bytes: &[u8]) -> Result<PrivateKey, KeyError> {
    let algorithm = ObjectIdentifier::new_unwrap(rsa::RSA);
    read(kind_of(algorithm, || Err(KeyError::Malformed("PKCS#1")))?, bytes, None)
}

pub(super) fn sec1(bytes: &[u8]) -> Result<PrivateKey, KeyError> {
    let curve = ecdsa::Sec1::parse(bytes)?.curve;
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

/// `AlgorithmIdentifier` of a type of key.
fn algorithm(kind: KeyType) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let identifiers = kind.format().object_identifiers();
    let (own, parameters) = identifiers.ok_or_else(|| KeyError::unsupported_type(kind.name().as_bytes()))?;
    let parameters = match parameters {
        Some(curve) => identifier(curve).to_vec(),
        // RFC 8017 §A.1 asks for NULL, RFC 8410 §3 for nothing.
        None if own == rsa::RSA => NULL.to_vec(),
        None => Vec::new(),
    };
    Ok(value(SEQUENCE, &[&identifier(own), &parameters]))
}

/// `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7).
pub(super) fn public(bytes: &[u8]) -> Result<PublicKey, KeyError> {
    const MALFORMED: KeyError = KeyError::Malformed("the public key");
    let info = AnyRef::from_der(bytes).and_then(|info| {
        info.sequence(|r| {
            let algorithm = r.sequence::<_, _, der::Error>(|r| {
                let own: ObjectIdentifier = r.decode()?;
                let parameters: Option<AnyRef<'_>> = if r.is_finished() { None } else { Some(r.decode()?) };
                Ok((own, parameters))
            })?;
            let key: BitStringRef<'_> = r.decode()?;
            Ok::<_, der::Error>((algorithm, key))
        })
    });
    let ((own, parameters), key) = info.map_err(|_| MALFORMED)?;
    if own == DSA {
        return Err(KeyError::unsupported_type(b"ssh-dss"));
    }
    let kind = kind_of(own, || match parameters {
        Some(parameters) => ec_parameters::curve(parameters),
        None => Err(KeyError::Malformed("EC parameters")),
    })?;
    read_public(kind, key.as_bytes().ok_or(MALFORMED)?)
}

/// PKCS#1's public key (RFC 8017 §A.1.1).
pub(super) fn pkcs1_public(bytes: &[u8]) -> Result<PublicKey, KeyError> {
    read_public(KeyType::RSA, bytes)
}

fn read_public(kind: KeyType, key: &[u8]) -> Result<PublicKey, KeyError> {
    let mut fields = Vec::new();
    kind.format().read_public_der(key, &mut fields)?;
    // Checked as if it had come in a blob.
    let mut r = crate::wire::Reader::new(&fields);
    let mut canonical = Vec::new();
    kind.format().read(&mut r, &mut canonical)?;
    r.end()?;
    Ok(PublicKey::from_fields(kind, canonical))
}

impl PublicKey {
    /// The key as X.509 has it, in PEM: what `ssh-keygen -e -m PKCS8` and `openssl pkey -pubout` write.
    ///
    /// # Errors
    /// [`KeyError::UnsupportedKeyType`] for a type that has no form there.
    pub fn to_spki_pem(&self) -> Result<String, KeyError> {
        let bits = self.key_type().format().write_public_der(self.fields())?;
        let info = value(SEQUENCE, &[&algorithm(self.key_type())?, &value(BIT_STRING, &[&[0], &bits])]);
        pem::write("PUBLIC KEY", LINE_WIDTH, &info).map(|text| (*text).clone())
    }

    /// An RSA key as PKCS#1 has it, in PEM: what `ssh-keygen -e -m PEM` writes.
    ///
    /// # Errors
    /// [`KeyError::UnsupportedKeyType`] for other types.
    pub fn to_pkcs1_pem(&self) -> Result<String, KeyError> {
        if self.key_type() != KeyType::RSA {
            return Err(KeyError::unsupported_type(self.key_type().name().as_bytes()));
        }
        let key = self.key_type().format().write_public_der(self.fields())?;
        pem::write("RSA PUBLIC KEY", LINE_WIDTH, &key).map(|text| (*text).clone())
    }
}

impl PrivateKey {
    /// The key as PKCS#8 in PEM (RFC 5958, RFC 7468): what `openssl pkcs8` and `ssh-keygen -m PKCS8` write and read.
    ///
    /// With a passphrase it is encrypted with AES-256-CBC under PBKDF2 with HMAC-SHA-256 and 600,000 iterations (PBES2,
    /// RFC 8018), which is some tenths of a second; `rng` gives salt and IV. There is no comment in it.
    ///
    /// # Errors
    /// [`KeyError::UnsupportedKeyType`] for a type that is not in PKCS#8, and [`KeyError::Encrypted`] for an empty
    /// passphrase: say `None` to write it unencrypted.
    pub fn to_pkcs8(&self, passphrase: Option<&[u8]>, rng: &mut Rng) -> Result<Zeroizing<String>, KeyError> {
        let kind = self.public().key_type();
        let private = kind.format().write_der(self.expose_fields(), false)?;
        let algorithm = algorithm(kind)?;
        let info = value(SEQUENCE, &[&integer(&[]), &algorithm, &value(OCTET_STRING, &[&private])]);
        match passphrase {
            None => pem::write("PRIVATE KEY", LINE_WIDTH, &info),
            Some([]) => Err(KeyError::Encrypted),
            Some(passphrase) => {
                pem::write("ENCRYPTED PRIVATE KEY", LINE_WIDTH, &pbes2::encrypt(&info, passphrase, rng)?)
            }
        }
    }

    /// The key in the older format of its type, in PEM and without a passphrase: PKCS#1 for RSA (RFC 8017), SEC1 for
    /// ECDSA (RFC 5915). Encrypted it is not written: what such files are encrypted with (`DEK-Info`) withstands
    /// nobody who guesses passphrases.
    ///
    /// # Errors
    /// [`KeyError::UnsupportedKeyType`] for a type that has none, such as Ed25519.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        let kind = self.public().key_type();
        let label = match kind.format().object_identifiers() {
            Some((rsa::RSA, _)) => "RSA PRIVATE KEY",
            Some((ecdsa::EC, _)) => "EC PRIVATE KEY",
            _ => return Err(KeyError::unsupported_type(kind.name().as_bytes())),
        };
        pem::write(label, LINE_WIDTH, &kind.format().write_der(self.expose_fields(), true)?)
    }
}
