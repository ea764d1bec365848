//! Signing keys of every provider: what is common to them, and the check before release.

use alloc::vec::Vec;

use crate::crypto::{BadKey, Curve, Provider, SigAlg, Signer, VerifyKey};
use crate::rng::Rng;

/// A private key that can make raw signatures.
pub(super) trait RawSigner: Send + Sync {
    /// As [`Signer::sign`], without the check.
    fn sign(&self, alg: SigAlg, message: &[u8], rng: &mut Rng) -> Result<Vec<u8>, BadKey>;
}

/// The public half of a signing key.
pub(super) enum PublicNumbers {
    Ed25519([u8; 32]),
    Ecdsa(Curve, Vec<u8>),
    Rsa { e: Vec<u8>, n: Vec<u8> },
}

impl PublicNumbers {
    fn verify_key(&self) -> VerifyKey<'_> {
        match self {
            Self::Ed25519(key) => VerifyKey::Ed25519(key),
            Self::Ecdsa(curve, point) => VerifyKey::Ecdsa(*curve, point),
            Self::Rsa { e, n } => VerifyKey::Rsa { e, n },
        }
    }
}

/// A signer that verifies each signature before it lets go of it: one computed with a hardware
/// fault would give the key away (AC-10).
pub(super) struct CheckedSigner<K> {
    pub(super) key: K,
    pub(super) public: PublicNumbers,
    pub(super) provider: &'static dyn Provider,
}

impl<K: RawSigner> Signer for CheckedSigner<K> {
    fn sign(&self, alg: SigAlg, message: &[u8], rng: &mut Rng) -> Result<Vec<u8>, BadKey> {
        let signature = self.key.sign(alg, message, rng)?;
        match self.provider.verify(alg, self.public.verify_key(), message, &signature) {
            Ok(()) => Ok(signature),
            Err(_) => Err(BadKey),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SigningKey;
    use crate::provider::{RUSTCRYPTO, rustcrypto};
    use crate::rng::Seed;
    use alloc::boxed::Box;

    /// Signs correctly, then has a bit flipped.
    struct Faulty(Box<dyn Signer>, usize);

    impl RawSigner for Faulty {
        fn sign(&self, alg: SigAlg, message: &[u8], rng: &mut Rng) -> Result<Vec<u8>, BadKey> {
            let mut signature = self.0.sign(alg, message, rng)?;
            if let Some(byte) = signature.get_mut(self.1) {
                *byte ^= 1;
            }
            Ok(signature)
        }
    }

    #[test]
    fn ac10_a_faulty_signature_does_not_leave() {
        let seed = [9; 32];
        let public = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().to_bytes();
        let mut rng = Rng::from_seed(&Seed::new([1; 32]));
        for (bit, ok) in [(64, true), (0, false), (31, false), (32, false), (63, false)] {
            let signer = CheckedSigner {
                key: Faulty(rustcrypto().signer(SigningKey::Ed25519(&seed)).unwrap(), bit),
                public: PublicNumbers::Ed25519(public),
                provider: &RUSTCRYPTO,
            };
            assert_eq!(signer.sign(SigAlg::Ed25519, b"m", &mut rng).is_ok(), ok, "byte {bit}");
        }
    }
}
