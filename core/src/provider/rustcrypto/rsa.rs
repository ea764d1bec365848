//! RSA PKCS#1 v1.5 signatures (RFC 8332). With `keys/rsa.rs`, which makes RSA keys, the only
//! place that uses the crate `rsa`, a pre-release: never decryption, always blinded.

use alloc::boxed::Box;
use alloc::vec::Vec;

use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BoxedUint, Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey};
use zeroize::Zeroizing;

use super::RUSTCRYPTO;
use crate::crypto::fields::{RsaPrivate, RsaPublic};
use crate::crypto::{BadKey, BadSignature, Digest, HashAlgorithm, Scheme, Signer};
use crate::provider::signer::{RawSigner, checked};
use crate::rng::{Rng, Seed};

/// Modulus bits: OpenSSH's `SSHBUF_MAX_BIGNUM` above; below, what any peer of today still has.
/// Policy asks for more (2048) one floor up.
const MODULUS_BITS: core::ops::RangeInclusive<usize> = 1024..=16384;

/// `e` and `n` if they are inside the hard limits: e odd, 3 <= e < 2^32, n odd, its size in range.
/// Costs nothing, so no arithmetic is spent on a hostile key (AS-10).
pub(in crate::provider) fn rsa_numbers(key: &[u8]) -> Option<RsaPublic<'_>> {
    RsaPublic::parse(key).filter(|key| sane(key.e, key.n))
}

fn sane(e: &[u8], n: &[u8]) -> bool {
    let top = n.first().map_or(0, |top| usize::try_from(top.leading_zeros()).unwrap_or(8));
    let bits = n.len().saturating_mul(8).saturating_sub(top);
    let odd = |number: &[u8]| number.last().is_some_and(|b| b & 1 == 1);
    MODULUS_BITS.contains(&bits) && odd(n) && odd(e) && e.len() <= 4 && e != [1]
}

/// The hash, if it is one that RSA keys sign with, and the `DigestInfo` before the digest (RFC 8017
/// §9.2 note 1) with the digest's length.
fn scheme(hash: Option<HashAlgorithm>) -> Option<(HashAlgorithm, Pkcs1v15Sign)> {
    let hash = hash?;
    let prefix: &[u8] = match hash {
        HashAlgorithm::Sha1 => {
            &[0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14]
        }
        HashAlgorithm::Sha256 => &[
            0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
            0x00, 0x04, 0x20,
        ],
        HashAlgorithm::Sha512 => &[
            0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05,
            0x00, 0x04, 0x40,
        ],
        HashAlgorithm::Md5 | HashAlgorithm::Sha384 => return None,
    };
    Some((hash, Pkcs1v15Sign { hash_len: Some(hash.len()), prefix: prefix.into() }))
}

/// The signature with the modulus' length. Some peers strip leading zeros; OpenSSH puts them
/// back (`openssh_RSA_verify`), and refuses a longer one.
pub(in crate::provider) fn full_length(signature: &[u8], len: usize) -> Option<Vec<u8>> {
    let missing = len.checked_sub(signature.len())?;
    let mut full = alloc::vec![0; missing];
    full.extend_from_slice(signature);
    Some(full)
}

/// RFC 8332, and RSA with SHA-1 (RFC 4253 §6.6).
pub(in crate::provider) struct Rsa;

impl Scheme for Rsa {
    fn key_type(&self) -> &'static str {
        "ssh-rsa"
    }

    fn verify(
        &self,
        hash: Option<HashAlgorithm>,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        let (hash, scheme) = scheme(hash).ok_or(BadSignature)?;
        let RsaPublic { e, n } = rsa_numbers(key).ok_or(BadSignature)?;
        let signature = full_length(signature, n.len()).ok_or(BadSignature)?;
        let key = RsaPublicKey::new_with_size_limits(
            BoxedUint::from_be_slice_vartime(n),
            BoxedUint::from_be_slice_vartime(e),
            MODULUS_BITS,
        )
        .map_err(|_| BadSignature)?;
        let digest = Digest::of(&RUSTCRYPTO, hash, &[message]);
        key.verify(scheme, digest.as_bytes(), &signature).map_err(|_| BadSignature)
    }

    fn signer(&'static self, key: &[u8]) -> Result<Box<dyn Signer>, BadKey> {
        let key = RsaKey::new(&RsaPrivate::parse(key).ok_or(BadKey)?)?;
        let public = key.public();
        Ok(checked(key, public, self))
    }
}

/// A private key whose numbers fit together.
pub(in crate::provider) struct RsaKey(RsaPrivateKey);

impl RsaKey {
    /// Checks `p * q = n`, `d < n` and `d * e = 1` modulo `p - 1` and `q - 1`.
    pub(in crate::provider) fn new(fields: &RsaPrivate<'_>) -> Result<Self, BadKey> {
        let &RsaPrivate { n, e, d, p, q, .. } = fields;
        if !sane(e, n) {
            return Err(BadKey);
        }
        let bits = u32::try_from(n.len().saturating_mul(8)).map_err(|_| BadKey)?;
        // Secret numbers get a precision that depends on n only.
        let secret = |number: &[u8], bits: u32| BoxedUint::from_be_slice(number, bits).map_err(|_| BadKey);
        let half = bits.div_ceil(2);
        let primes = alloc::vec![secret(p, half)?, secret(q, half)?];
        let key = RsaPrivateKey::from_components(
            BoxedUint::from_be_slice_vartime(n),
            BoxedUint::from_be_slice_vartime(e),
            secret(d, bits)?,
            primes,
        )
        .map_err(|_| BadKey)?;
        // Without these signing would fall back to a slower way; the key is odd anyway.
        if key.dp().is_none() { Err(BadKey) } else { Ok(RsaKey(key)) }
    }

    /// The fields of the public half.
    pub(in crate::provider) fn public(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        RsaPublic { e: &self.0.e_bytes(), n: &self.0.n_bytes() }.put(&mut fields);
        fields
    }

    /// `d mod (p-1)`, `d mod (q-1)` and `1/q mod p`, big-endian.
    #[cfg(feature = "aws-lc")]
    pub(in crate::provider) fn crt(&self) -> Option<[Zeroizing<Vec<u8>>; 3]> {
        let bytes = |number: &BoxedUint| Zeroizing::new(number.to_be_bytes().into_vec());
        let inverse = Zeroizing::new(self.0.crt_coefficient()?);
        Some([bytes(self.0.dp()?), bytes(self.0.dq()?), bytes(&inverse)])
    }
}

/// A generator for blinding. Every provider takes exactly this much from `rng`, whether it needs
/// it or not, so that what is drawn afterwards does not depend on the provider.
pub(in crate::provider) fn blinding(rng: &mut Rng) -> Rng {
    let seed = Zeroizing::new(rng.array::<32>());
    Rng::from_seed(&Seed::new(*seed))
}

impl RawSigner for RsaKey {
    fn sign(&self, hash: Option<HashAlgorithm>, message: &[u8], rng: &mut Rng) -> Result<Vec<u8>, BadKey> {
        let (hash, scheme) = scheme(hash).ok_or(BadKey)?;
        let digest = Digest::of(&RUSTCRYPTO, hash, &[message]);
        self.0.sign_with_rng(&mut blinding(rng), scheme, digest.as_bytes()).map_err(|_| BadKey)
    }
}
