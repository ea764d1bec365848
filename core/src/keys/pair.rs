use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::{KeyError, PublicKey, SignatureAlgorithm, signature};
use crate::crypto::{BadKey, Signer};
use crate::rng::Rng;

/// A public key with something that signs for it: what a client holds for a user and a server for
/// a host. Put it in an `Arc` to share it.
///
/// Made from a private key by [`PrivateKey::key_pair`](super::PrivateKey::key_pair), or from a
/// signer of your own, such as one that asks a token.
pub struct KeyPair {
    public: PublicKey,
    /// In a box of its own: moving it into the `Arc` would leave a copy of the key behind.
    signer: Arc<Box<dyn Signer>>,
}

impl KeyPair {
    /// Joins a public key and its signer. That they belong together is the caller's word; a wrong
    /// pair makes signatures that no peer accepts.
    pub fn from_signer(public: PublicKey, signer: Box<dyn Signer>) -> Self {
        KeyPair { public, signer: Arc::new(signer) }
    }

    /// The same key under a certificate: what it signs is the same, what it shows is the certificate.
    ///
    /// # Errors
    /// [`KeyError::NotACertificate`], and [`KeyError::OtherKey`] for one that is for another key.
    pub fn certified(&self, certificate: &PublicKey) -> Result<Self, KeyError> {
        if !certificate.is_certificate() {
            return Err(KeyError::NotACertificate);
        }
        if certificate.plain() != self.public.plain() {
            return Err(KeyError::OtherKey);
        }
        Ok(KeyPair { public: certificate.clone(), signer: Arc::clone(&self.signer) })
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs `message` and returns the SSH signature blob. `rng` only blinds; the signature itself
    /// does not depend on it.
    ///
    /// Fails when `algorithm` is not one of the key's type (see [`PublicKey::signature_algorithms`]), or when the
    /// signer does.
    pub fn sign(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        rng: &mut Rng,
    ) -> Result<Vec<u8>, BadKey> {
        let algorithm = self.public.own_algorithm(algorithm).ok_or(BadKey)?;
        Ok(signature::encode(algorithm, &self.signer.sign(algorithm.hash(), message, rng)?))
    }
}

/// Prints the public half only.
impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyPair").field(&self.public).finish()
    }
}
