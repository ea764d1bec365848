//! Encryption of PKCS#8: PBES2 (RFC 8018 §6.2) with PBKDF2 or scrypt (RFC 7914 §7).

use alloc::string::ToString;
use alloc::vec::Vec;

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Reader as _};
use zeroize::Zeroizing;

use super::der::{NULL, OCTET_STRING, SEQUENCE, identifier, integer, value};
use super::file_cipher::{FileCipher, without_padding};
use super::kdf::{self, Derived, Prf};
use super::{KdfLimits, KeyError};
use crate::rng::Rng;

const PBES2: &str = "1.2.840.113549.1.5.13";
const PBKDF2: &str = "1.2.840.113549.1.5.12";
const SCRYPT: &str = "1.3.6.1.4.1.11591.4.11";
const HMAC_SHA256: &str = "1.2.840.113549.2.9";
const AES256_CBC: &str = "2.16.840.1.101.3.4.1.42";

/// What is written (OWASP's advice for HMAC-SHA-256); reading takes what the limits allow.
const ITERATIONS: u32 = 600_000;

/// Longest salt that is read.
const MAX_SALT: usize = 1024;

const MALFORMED: KeyError = KeyError::Malformed("how it is encrypted");

/// An `AlgorithmIdentifier`.
struct Algorithm<'a> {
    oid: ObjectIdentifier,
    parameters: Option<AnyRef<'a>>,
}

impl<'a> Algorithm<'a> {
    fn read(r: &mut impl der::Reader<'a>) -> Result<Self, der::Error> {
        r.sequence(|r| {
            let oid = r.decode()?;
            let parameters = if r.is_finished() { None } else { Some(r.decode()?) };
            Ok(Algorithm { oid, parameters })
        })
    }

    fn is(&self, dotted: &str) -> bool {
        ObjectIdentifier::new(dotted) == Ok(self.oid)
    }

    fn parameters(&self) -> Result<AnyRef<'a>, KeyError> {
        self.parameters.ok_or(MALFORMED)
    }
}

/// The cipher and its IV.
fn cipher<'a>(algorithm: &Algorithm<'a>) -> Result<(FileCipher, &'a [u8]), KeyError> {
    let ciphers = [
        ("2.16.840.1.101.3.4.1.2", FileCipher::AES128_CBC),
        ("2.16.840.1.101.3.4.1.22", FileCipher::AES192_CBC),
        (AES256_CBC, FileCipher::AES256_CBC),
        ("1.2.840.113549.3.7", FileCipher::TRIPLE_DES_CBC),
    ];
    let found = ciphers.iter().find(|(oid, _)| algorithm.is(oid));
    let (_, cipher) = found.ok_or_else(|| KeyError::UnsupportedCipher(algorithm.oid.to_string()))?;
    let iv = algorithm.parameters()?.decode_as::<&OctetStringRef>().map_err(|_| MALFORMED)?.as_bytes();
    if iv.len() != cipher.iv() {
        return Err(MALFORMED);
    }
    Ok((*cipher, iv))
}

/// What the passphrase is turned into a key with.
enum Kdf<'a> {
    Pbkdf2 { salt: &'a [u8], iterations: u32, length: Option<u16>, prf: Prf },
    Scrypt { salt: &'a [u8], cost: [u64; 3], length: Option<u16> },
}

impl<'a> Kdf<'a> {
    fn parse(algorithm: &Algorithm<'a>) -> Result<Self, KeyError> {
        let kdf = if algorithm.is(PBKDF2) {
            Self::pbkdf2(algorithm.parameters()?)?
        } else if algorithm.is(SCRYPT) {
            let parameters = algorithm.parameters()?.sequence(|r| {
                let salt = r.decode::<&OctetStringRef>()?.as_bytes();
                let cost = [r.decode()?, r.decode()?, r.decode()?];
                Ok::<_, der::Error>(Kdf::Scrypt { salt, cost, length: r.decode()? })
            });
            parameters.map_err(|_| MALFORMED)?
        } else {
            return Err(KeyError::UnsupportedKdf(algorithm.oid.to_string()));
        };
        let (Kdf::Pbkdf2 { salt, .. } | Kdf::Scrypt { salt, .. }) = &kdf;
        if salt.is_empty() || salt.len() > MAX_SALT { Err(MALFORMED) } else { Ok(kdf) }
    }

    fn pbkdf2(parameters: AnyRef<'a>) -> Result<Self, KeyError> {
        let parsed = parameters.sequence(|r| {
            let salt = r.decode::<&OctetStringRef>()?.as_bytes();
            let (iterations, length) = (r.decode()?, r.decode::<Option<u16>>()?);
            let prf = if r.is_finished() { None } else { Some(Algorithm::read(r)?) };
            Ok::<_, der::Error>((salt, iterations, length, prf))
        });
        let (salt, iterations, length, prf) = parsed.map_err(|_| MALFORMED)?;
        let known = [
            ("1.2.840.113549.2.7", Prf::Sha1),
            (HMAC_SHA256, Prf::Sha256),
            ("1.2.840.113549.2.10", Prf::Sha384),
            ("1.2.840.113549.2.11", Prf::Sha512),
        ];
        let prf = match prf {
            None => Prf::Sha1,
            Some(prf) => {
                let found = known.iter().find(|(oid, _)| prf.is(oid));
                found.ok_or_else(|| KeyError::UnsupportedKdf(prf.oid.to_string()))?.1
            }
        };
        Ok(Kdf::Pbkdf2 { salt, iterations, length, prf })
    }

    fn derive(&self, passphrase: &[u8], length: usize, limits: &KdfLimits) -> Result<Derived, KeyError> {
        let (Kdf::Pbkdf2 { length: own, .. } | Kdf::Scrypt { length: own, .. }) = self;
        if own.is_some_and(|own| usize::from(own) != length) {
            return Err(MALFORMED);
        }
        match *self {
            Kdf::Pbkdf2 { salt, iterations, prf, .. } => {
                kdf::pbkdf2(prf, passphrase, salt, iterations, length, limits)
            }
            Kdf::Scrypt { salt, cost, .. } => kdf::scrypt(passphrase, salt, cost, length, limits),
        }
    }
}

/// What is encrypted in an `EncryptedPrivateKeyInfo`.
pub(super) fn decrypt(
    bytes: &[u8],
    passphrase: Option<&[u8]>,
    limits: &KdfLimits,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let outer = AnyRef::from_der(bytes).and_then(|outer| {
        outer.sequence(|r| {
            let scheme = Algorithm::read(r)?;
            Ok::<_, der::Error>((scheme, r.decode::<&OctetStringRef>()?.as_bytes()))
        })
    });
    let (scheme, data) = outer.map_err(|_| KeyError::Malformed("PKCS#8"))?;
    if !scheme.is(PBES2) {
        return Err(KeyError::UnsupportedKdf(scheme.oid.to_string()));
    }
    let parts = scheme.parameters()?;
    let parts = parts.sequence(|r| Ok::<_, der::Error>((Algorithm::read(r)?, Algorithm::read(r)?)));
    let (kdf, encryption) = parts.map_err(|_| MALFORMED)?;
    let (kdf, (cipher, iv)) = (Kdf::parse(&kdf)?, cipher(&encryption)?);
    if data.is_empty() || !data.len().is_multiple_of(cipher.block()) {
        return Err(KeyError::Malformed("what is encrypted is not whole blocks"));
    }
    let passphrase = passphrase.filter(|p| !p.is_empty()).ok_or(KeyError::Encrypted)?;
    let key = kdf.derive(passphrase, cipher.key(), limits)?;
    let material = Zeroizing::new([&key[..], iv].concat());
    let mut plain = Zeroizing::new(data.to_vec());
    cipher.decrypt(&material, &mut plain, &[])?;
    let length = without_padding(&plain, cipher.block())?.len();
    plain.truncate(length);
    Ok(plain)
}

/// An `EncryptedPrivateKeyInfo` of `plain`.
pub(super) fn encrypt(
    plain: &[u8],
    passphrase: &[u8],
    rng: &mut Rng,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let cipher = FileCipher::AES256_CBC;
    let (salt, iv) = (rng.array::<16>(), rng.array::<16>());
    let limits = KdfLimits::default();
    let key = kdf::pbkdf2(Prf::Sha256, passphrase, &salt, ITERATIONS, cipher.key(), &limits)?;
    let material = Zeroizing::new([&key[..], &iv].concat());
    let length = plain.len().saturating_add(1).next_multiple_of(cipher.block());
    let padding = u8::try_from(length.saturating_sub(plain.len())).unwrap_or_default();
    let mut data = Zeroizing::new(Vec::with_capacity(length));
    data.extend_from_slice(plain);
    data.resize(length, padding);
    cipher.encrypt(&material, &mut data)?;
    let prf = value(SEQUENCE, &[&identifier(HMAC_SHA256), NULL]);
    let kdf = value(SEQUENCE, &[&value(OCTET_STRING, &[&salt]), &integer(&ITERATIONS.to_be_bytes()), &prf]);
    let kdf = value(SEQUENCE, &[&identifier(PBKDF2), &kdf]);
    let encryption = value(SEQUENCE, &[&identifier(AES256_CBC), &value(OCTET_STRING, &[&iv])]);
    let scheme = value(SEQUENCE, &[&identifier(PBES2), &value(SEQUENCE, &[&kdf, &encryption])]);
    Ok(value(SEQUENCE, &[&scheme, &value(OCTET_STRING, &[&data])]))
}
