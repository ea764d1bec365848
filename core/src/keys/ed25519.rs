use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::{Algorithm, FOREIGN, Halves, KeyError, KeyFormat, KeyType, SignatureAlgorithm, der, signature};
use crate::crypto::fields::{Ed25519Private, Ed25519Public};
use crate::crypto::{BadSignature, Secret};
use crate::rng::Rng;
use crate::wire::{Reader, Sink};

/// RFC 8709.
struct Ed25519;

impl KeyType {
    /// RFC 8709. The default choice for a new key.
    pub const ED25519: Self = Self::new(&Ed25519);
}

impl SignatureAlgorithm {
    /// RFC 8709.
    pub const ED25519: Self = Self::new(&const { Algorithm::new("ssh-ed25519", KeyType::ED25519) });
}

const LENGTH: KeyError = KeyError::Malformed("Ed25519 key length");

fn public_of(seed: &[u8; 32]) -> [u8; 32] {
    ed25519_dalek::SigningKey::from_bytes(seed).verifying_key().to_bytes()
}

fn halves(seed: &[u8; 32], key: &[u8; 32]) -> Halves {
    let secret = Zeroizing::new([&seed[..], key].concat());
    Halves::written(
        |out| Ed25519Public { key }.put(out),
        |out| Ed25519Private { key, secret: &secret }.put(out),
    )
}

/// The first half of the private fields' secret.
fn seed_of(key: &[u8]) -> Result<&[u8], KeyError> {
    Ed25519Private::parse(key).and_then(|fields| fields.secret.get(..32)).ok_or(LENGTH)
}

impl KeyFormat for Ed25519 {
    fn name(&self) -> &'static str {
        "ssh-ed25519"
    }

    fn algorithms(&self) -> &'static [SignatureAlgorithm] {
        &[SignatureAlgorithm::ED25519]
    }

    fn read(&self, r: &mut Reader<'_>, out: &mut dyn Sink) -> Result<(), KeyError> {
        let fields = Ed25519Public::read(r)?;
        if fields.key.len() != 32 {
            return Err(LENGTH);
        }
        fields.put(out);
        Ok(())
    }

    fn bits(&self, _key: &[u8]) -> usize {
        256
    }

    fn read_private(&self, r: &mut Reader<'_>) -> Result<Halves, KeyError> {
        let fields = Ed25519Private::read(r)?;
        let both: &[u8; 64] = fields.secret.try_into().map_err(|_| LENGTH)?;
        let (seed, again) = both.split_first_chunk::<32>().ok_or(LENGTH)?;
        let own = public_of(seed);
        if fields.key != own || again != own {
            return Err(FOREIGN);
        }
        Ok(halves(seed, &own))
    }

    fn generate(&self, _bits: Option<usize>, rng: &mut Rng) -> Result<Halves, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill(&mut seed[..]);
        Ok(halves(&seed, &public_of(&seed)))
    }

    fn object_identifiers(&self) -> Option<(&'static str, Option<&'static str>)> {
        Some(("1.3.101.112", None))
    }

    /// RFC 8410 §7: an OCTET STRING of 32 bytes within the OCTET STRING.
    fn read_der(&self, private: &[u8], public: Option<&[u8]>) -> Result<Halves, KeyError> {
        let seed = private.strip_prefix(&[0x04, 0x20]).and_then(|seed| seed.try_into().ok());
        let seed: &[u8; 32] = seed.ok_or(LENGTH)?;
        let own = public_of(seed);
        if public.is_some_and(|public| public != own) {
            return Err(FOREIGN);
        }
        Ok(halves(seed, &own))
    }

    fn write_der(&self, key: &[u8], _alone: bool) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        Ok(der::value(der::OCTET_STRING, &[seed_of(key)?]))
    }

    /// RFC 8410 §4.
    fn read_public_der(&self, key: &[u8], out: &mut dyn Sink) -> Result<(), KeyError> {
        Ed25519Public { key }.put(out);
        Ok(())
    }

    fn write_public_der(&self, key: &[u8]) -> Result<Vec<u8>, KeyError> {
        Ok(Ed25519Public::parse(key).ok_or(LENGTH)?.key.to_vec())
    }

    fn read_putty(&self, _public: &[u8], r: &mut Reader<'_>) -> Result<Halves, KeyError> {
        let seed: &[u8; 32] = r.string()?.try_into().map_err(|_| LENGTH)?;
        Ok(halves(seed, &public_of(seed)))
    }

    fn write_putty(&self, key: &[u8]) -> Result<Secret, KeyError> {
        let seed = seed_of(key)?;
        Ok(Secret::written(|out| out.put_string(seed)))
    }

    /// RFC 8709 §6.
    fn read_signature(&self, r: &mut Reader<'_>) -> Result<Vec<u8>, BadSignature> {
        signature::bytes(r, 64..=64)
    }
}
