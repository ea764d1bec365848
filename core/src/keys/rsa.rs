//! RSA keys. Arithmetic on their numbers that is no signature is constant time in the secrets.

use alloc::string::ToString;
use alloc::vec::Vec;

use crypto_bigint::{BoxedUint, ConcatenatingMul, NonZero};
use pkcs1::der::Decode;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use zeroize::Zeroizing;

use super::{Algorithm, Halves, KeyError, KeyFormat, KeyType, SignatureAlgorithm, der, signature};
use crate::crypto::fields::{RsaPrivate, RsaPublic};
use crate::crypto::{BadSignature, HashAlgorithm, Policy, Secret};
use crate::rng::Rng;
use crate::wire::{Reader, Sink, minimal};

/// RFC 4253 §6.6 and RFC 8332.
struct Rsa;

impl KeyType {
    /// RFC 4253 §6.6; for old peers. A new key has 2048 to 16,384 bits, 3072 unless something else is asked
    /// for; seconds of work from 4096 on, and minutes at the end.
    pub const RSA: Self = Self::new(&Rsa);
}

impl SignatureAlgorithm {
    /// RFC 8332.
    pub const RSA_SHA512: Self =
        Self::new(&const { Algorithm::new("rsa-sha2-512", KeyType::RSA).hash(HashAlgorithm::Sha512) });
    /// RFC 8332.
    pub const RSA_SHA256: Self =
        Self::new(&const { Algorithm::new("rsa-sha2-256", KeyType::RSA).hash(HashAlgorithm::Sha256) });
    /// RSA with SHA-1 (RFC 4253 §6.6); policy `Compat`.
    pub const RSA_SHA1: Self = Self::new(
        &const { Algorithm::new("ssh-rsa", KeyType::RSA).hash(HashAlgorithm::Sha1).policy(Policy::Compat) },
    );
}

/// `rsaEncryption` (RFC 8017 §A.1).
pub(super) const RSA: &str = "1.2.840.113549.1.1.1";

/// Widest and narrowest RSA modulus that is read at all, in bits. Upper: OpenSSH's
/// `SSHBUF_MAX_BIGNUM`. Lower: OpenSSH's `SSH_RSA_MINIMUM_MODULUS_SIZE`; policy asks for more, see
/// [`PublicKey::strength_ok`](super::PublicKey::strength_ok).
const MODULUS_BITS: core::ops::RangeInclusive<usize> = 1024..=16_384;

/// Widest RSA prime (F-09): half of the widest modulus, so that work stays bounded.
const MAX_PRIME_BITS: usize = 8192;

/// What is made unless something else is asked for (OpenSSH's `DEFAULT_BITS`).
const DEFAULT_BITS: usize = 3072;

/// Longest signature: 16,384 bits.
const MAX_SIGNATURE: usize = 2048;

fn halves(key: &RsaPrivate<'_>) -> Result<Halves, KeyError> {
    check(key)?;
    Ok(Halves::written(|out| RsaPublic { e: key.e, n: key.n }.put(out), |out| key.put(out)))
}

impl KeyFormat for Rsa {
    fn name(&self) -> &'static str {
        "ssh-rsa"
    }

    fn algorithms(&self) -> &'static [SignatureAlgorithm] {
        &[SignatureAlgorithm::RSA_SHA512, SignatureAlgorithm::RSA_SHA256, SignatureAlgorithm::RSA_SHA1]
    }

    fn read(&self, r: &mut Reader<'_>, out: &mut dyn Sink) -> Result<(), KeyError> {
        let fields = RsaPublic::read(r)?;
        check_public(&fields)?;
        fields.put(out);
        Ok(())
    }

    fn bits(&self, key: &[u8]) -> usize {
        self.rsa_size(key).map_or(0, |[bits, _]| bits)
    }

    fn rsa_size(&self, key: &[u8]) -> Option<[usize; 2]> {
        RsaPublic::parse(key).map(|key| [bit_length(key.n), bit_length(key.e)])
    }

    fn read_private(&self, r: &mut Reader<'_>) -> Result<Halves, KeyError> {
        halves(&RsaPrivate::read(r)?)
    }

    fn generate(&self, bits: Option<usize>, rng: &mut Rng) -> Result<Halves, KeyError> {
        let bits = bits.unwrap_or(DEFAULT_BITS);
        if !(2048..=*MODULUS_BITS.end()).contains(&bits) {
            return Err(KeyError::RsaSize { bits });
        }
        let key = rsa::RsaPrivateKey::new(rng, bits).map_err(|_| KeyError::RsaSize { bits })?;
        let [p, q] = key.primes() else { return Err(PRODUCT) };
        let secret = |x: &BoxedUint| Zeroizing::new(x.to_be_bytes());
        let iqmp = Zeroizing::new(key.crt_coefficient().ok_or(COEFFICIENT)?);
        let (n, e) = (key.n_bytes(), key.e_bytes());
        let (d, iqmp, p, q) = (secret(key.d()), secret(&iqmp), secret(p), secret(q));
        halves(&RsaPrivate { n: &n, e: &e, d: &d, iqmp: &iqmp, p: &p, q: &q })
    }

    fn object_identifiers(&self) -> Option<(&'static str, Option<&'static str>)> {
        Some((RSA, None))
    }

    /// PKCS#1 (RFC 8017). RFC 5958 does not say what a public half beside it is, and nobody writes one.
    fn read_der(&self, private: &[u8], _public: Option<&[u8]>) -> Result<Halves, KeyError> {
        let rsa = pkcs1::RsaPrivateKeyRef::from_der(private).map_err(|_| KeyError::Malformed("PKCS#1"))?;
        if rsa.other_prime_infos.is_some() {
            return Err(KeyError::UnsupportedKeyType("RSA of more than two primes".to_string()));
        }
        halves(&RsaPrivate {
            n: rsa.modulus.as_bytes(),
            e: rsa.public_exponent.as_bytes(),
            d: rsa.private_exponent.as_bytes(),
            p: rsa.prime1.as_bytes(),
            q: rsa.prime2.as_bytes(),
            iqmp: rsa.coefficient.as_bytes(),
        })
    }

    fn write_der(&self, key: &[u8], _alone: bool) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let key = RsaPrivate::parse(key).ok_or(PRODUCT)?;
        let d = integer(key.d);
        let [dp, dq] = [key.p, key.q].map(|prime| {
            let order = Zeroizing::new(integer(prime).wrapping_sub(BoxedUint::one()));
            remainder(&d, &order).map(|rest| Zeroizing::new(rest.to_be_bytes().into_vec()))
        });
        let (dp, dq) = (dp.ok_or(PRIME)?, dq.ok_or(PRIME)?);
        let numbers = [&[], key.n, key.e, key.d, key.p, key.q, &dp, &dq, key.iqmp].map(der::integer);
        let parts = numbers.each_ref().map(|number| &number[..]);
        Ok(der::value(der::SEQUENCE, &parts))
    }

    /// PKCS#1 (RFC 8017 §A.1.1).
    fn read_public_der(&self, key: &[u8], out: &mut dyn Sink) -> Result<(), KeyError> {
        let rsa = pkcs1::RsaPublicKeyRef::from_der(key).map_err(|_| KeyError::Malformed("PKCS#1"))?;
        RsaPublic { e: rsa.public_exponent.as_bytes(), n: rsa.modulus.as_bytes() }.put(out);
        Ok(())
    }

    fn write_public_der(&self, key: &[u8]) -> Result<Vec<u8>, KeyError> {
        let key = RsaPublic::parse(key).ok_or(PRODUCT)?;
        Ok(der::value(der::SEQUENCE, &[&der::integer(key.n), &der::integer(key.e)]).to_vec())
    }

    fn read_putty(&self, public: &[u8], r: &mut Reader<'_>) -> Result<Halves, KeyError> {
        let RsaPublic { e, n } = RsaPublic::parse(public).ok_or(PRODUCT)?;
        let [d, p, q, iqmp] = [r.mpint()?, r.mpint()?, r.mpint()?, r.mpint()?];
        halves(&RsaPrivate { n, e, d, iqmp, p, q })
    }

    fn write_putty(&self, key: &[u8]) -> Result<Secret, KeyError> {
        let key = RsaPrivate::parse(key).ok_or(PRODUCT)?;
        Ok(Secret::written(|out| [key.d, key.p, key.q, key.iqmp].iter().for_each(|x| out.put_mpint(x))))
    }

    /// RFC 8332 §3: the number. One shorter than the modulus is padded in front when it is verified, as
    /// OpenSSH does, since some peers strip leading zeros (AS-11).
    fn read_signature(&self, r: &mut Reader<'_>) -> Result<Vec<u8>, BadSignature> {
        signature::bytes(r, 1..=MAX_SIGNATURE)
    }
}

/// F-09: the exponent is odd, over 1 and at most 32 bits; the modulus is odd and of a sane size.
fn check_public(&RsaPublic { e, n }: &RsaPublic<'_>) -> Result<(), KeyError> {
    let bits = bit_length(n);
    if !MODULUS_BITS.contains(&bits) {
        return Err(KeyError::RsaSize { bits });
    }
    let odd = |x: &[u8]| x.last().is_some_and(|b| b & 1 == 1);
    if !odd(n) {
        return Err(KeyError::Malformed("the RSA modulus is even"));
    }
    if !odd(e) || minimal(e) == [1] || bit_length(e) > 32 {
        return Err(KeyError::Malformed("the RSA exponent is not an odd number of 2 to 32 bits"));
    }
    Ok(())
}

fn bit_length(magnitude: &[u8]) -> usize {
    let magnitude = minimal(magnitude);
    let top = magnitude.first().map_or(0, |b| b.leading_zeros());
    magnitude.len().saturating_mul(8).saturating_sub(usize::try_from(top).unwrap_or(0))
}

const COEFFICIENT: KeyError = KeyError::Inconsistent("the RSA coefficient does not belong to the primes");
const PRODUCT: KeyError = KeyError::Inconsistent("the RSA modulus is not the product of the primes");
const EXPONENT: KeyError = KeyError::Inconsistent("the RSA exponents do not belong together");
const PRIME: KeyError = KeyError::Inconsistent("an RSA prime is out of range");

/// Checks that an RSA key's numbers fit together (F-09): the modulus is the product of two odd primes
/// (primality is not tested), `d` inverts `e` for both, and `iqmp` is `q^-1 mod p`. Sizes are checked
/// before any arithmetic.
fn check(key: &RsaPrivate<'_>) -> Result<(), KeyError> {
    check_public(&RsaPublic { e: key.e, n: key.n })?;
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
    if bit_length(key.iqmp) > bit_length(key.p) {
        return Err(COEFFICIENT);
    }
    let iqmp = integer(key.iqmp);
    if *iqmp < *p && product_is_one(&iqmp, &q, &p) { Ok(()) } else { Err(COEFFICIENT) }
}

type Integer = Zeroizing<BoxedUint>;

fn integer(magnitude: &[u8]) -> Integer {
    Zeroizing::new(BoxedUint::from_be_slice_vartime(minimal(magnitude)))
}

/// Whether `a * b mod m` is 1.
fn product_is_one(a: &Integer, b: &Integer, m: &Integer) -> bool {
    let product = Zeroizing::new(a.concatenating_mul(&**b));
    remainder(&product, m).is_some_and(|remainder| remainder.is_one().into())
}

/// `a mod m`.
fn remainder(a: &Integer, m: &Integer) -> Option<Integer> {
    let modulus: Option<NonZero<BoxedUint>> = NonZero::new((**m).clone()).into();
    let modulus = modulus.map(Zeroizing::new)?;
    // `rem` alone would leave the quotient in freed memory.
    let (quotient, remainder) = a.div_rem(&*modulus);
    let (_quotient, remainder) = (Zeroizing::new(quotient), Zeroizing::new(remainder));
    Some(remainder)
}
