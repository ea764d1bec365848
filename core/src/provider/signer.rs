//! Signing keys of every provider: what is common to them, and the check before release.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::crypto::{BadKey, HashAlgorithm, Scheme, Signer};
use crate::rng::Rng;

/// A private key that can make raw signatures.
pub(super) trait RawSigner: Send + Sync {
    /// As [`Signer::sign`], without the check.
    fn sign(&self, hash: Option<HashAlgorithm>, message: &[u8], rng: &mut Rng) -> Result<Vec<u8>, BadKey>;
}

/// A signer that verifies each signature before it lets go of it: one computed with a hardware
/// fault would give the key away (AC-10).
struct CheckedSigner<K> {
    key: K,
    /// The fields of the public half.
    public: Vec<u8>,
    scheme: &'static dyn Scheme,
}

/// A signer whose signatures `scheme` verifies with the fields `public`.
pub(super) fn checked<K: RawSigner + 'static>(
    key: K,
    public: Vec<u8>,
    scheme: &'static dyn Scheme,
) -> Box<dyn Signer> {
    Box::new(CheckedSigner { key, public, scheme })
}

impl<K: RawSigner> Signer for CheckedSigner<K> {
    fn sign(&self, hash: Option<HashAlgorithm>, message: &[u8], rng: &mut Rng) -> Result<Vec<u8>, BadKey> {
        let signature = self.key.sign(hash, message, rng)?;
        match self.scheme.verify(hash, &self.public, message, &signature) {
            Ok(()) => Ok(signature),
            Err(_) => Err(BadKey),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::fields::{Ed25519Private, Ed25519Public};
    use crate::provider::rustcrypto::Ed25519;
    use crate::rng::Seed;

    /// Signs correctly, then has a bit flipped.
    struct Faulty(Box<dyn Signer>, usize);

    impl RawSigner for Faulty {
        fn sign(
            &self,
            hash: Option<HashAlgorithm>,
            message: &[u8],
            rng: &mut Rng,
        ) -> Result<Vec<u8>, BadKey> {
            let mut signature = self.0.sign(hash, message, rng)?;
            if let Some(byte) = signature.get_mut(self.1) {
                *byte ^= 1;
            }
            Ok(signature)
        }
    }

    #[test]
    fn ac10_a_faulty_signature_does_not_leave() {
        let pair = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
        let key = pair.verifying_key().to_bytes();
        let (mut public, mut private) = (Vec::new(), Vec::new());
        Ed25519Public { key: &key }.put(&mut public);
        Ed25519Private { key: &key, secret: &pair.to_keypair_bytes() }.put(&mut private);
        let mut rng = Rng::from_seed(&Seed::new([1; 32]));
        for (bit, ok) in [(64, true), (0, false), (31, false), (32, false), (63, false)] {
            let faulty = Faulty(Ed25519.signer(&private).unwrap(), bit);
            let signer = checked(faulty, public.clone(), &Ed25519);
            assert_eq!(signer.sign(None, b"m", &mut rng).is_ok(), ok, "byte {bit}");
        }
    }
}
