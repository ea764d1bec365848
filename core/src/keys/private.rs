use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use super::{KeyError, KeyPair, PublicKey, numbers};
use crate::crypto::{BadKey, Curve, Provider, Secret, SigningKey, VerifyKey};
use crate::rng::Rng;
use crate::wire::{SshStr, minimal};

/// Longest comment that is kept, in bytes; OpenSSH has no limit, people's are below 100.
const MAX_COMMENT: usize = 1024;

/// A private key with its public half and comment.
///
/// Wiped on drop, not `Clone`, and `Debug` prints the public half only. Its numbers were checked
/// against each other when it was made, so the public half is the private one's (F-08 to F-11).
/// Read one with [`load`](Self::load), make one with [`generate`](Self::generate); to sign, turn it
/// into a [`KeyPair`].
pub struct PrivateKey {
    public: PublicKey,
    comment: Vec<u8>,
    numbers: Numbers,
}

pub(super) enum Numbers {
    Ed25519(Box<Zeroizing<[u8; 32]>>),
    Ecdsa(Curve, Secret),
    Rsa { d: Secret, p: Secret, q: Secret, iqmp: Secret },
}

/// What [`PrivateKey::generate`] makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyKind {
    /// The default choice.
    Ed25519,
    /// For peers without Ed25519 and for FIPS.
    Ecdsa(Curve),
    /// For old peers. 2048 to 8192 bits; seconds of work from 4096 on.
    Rsa {
        /// Bits of the modulus.
        bits: usize,
    },
}

impl PrivateKey {
    /// A new key from `rng`; the same generator state makes the same key.
    ///
    /// # Errors
    /// [`KeyError::RsaSize`] for an RSA modulus outside 2048 to 8192 bits.
    pub fn generate(kind: KeyKind, rng: &mut Rng) -> Result<Self, KeyError> {
        match kind {
            KeyKind::Ed25519 => {
                let mut seed = Box::new(Zeroizing::new([0; 32]));
                rng.fill(&mut seed[..]);
                Self::from_numbers(SigningKey::Ed25519(&seed))
            }
            KeyKind::Ecdsa(curve) => {
                let d = numbers::random_scalar(curve, rng);
                Self::from_numbers(SigningKey::Ecdsa(curve, d.expose()))
            }
            KeyKind::Rsa { bits } => numbers::generate_rsa(bits, rng),
        }
    }

    /// A key from its numbers.
    ///
    /// # Errors
    /// The public half is recomputed, for RSA compared: an ECDSA scalar lies in 1..n, an RSA modulus
    /// is the product of two odd primes of at most 8192 bits and `d` inverts `e` for both (primality
    /// is not tested).
    pub fn from_numbers(key: SigningKey<'_>) -> Result<Self, KeyError> {
        let (public, numbers) = match key {
            SigningKey::Ed25519(seed) => {
                let public = PublicKey::from_numbers(VerifyKey::Ed25519(&numbers::ed25519_public(seed)))?;
                let mut own = Box::new(Zeroizing::new([0; 32]));
                own.copy_from_slice(seed);
                (public, Numbers::Ed25519(own))
            }
            SigningKey::Ecdsa(curve, d) => {
                let d = numbers::scalar(curve, d)?;
                let point = numbers::ecdsa_public(curve, &d)?;
                (PublicKey::from_numbers(VerifyKey::Ecdsa(curve, &point))?, Numbers::Ecdsa(curve, d))
            }
            SigningKey::Rsa { n, e, d, p, q } => {
                return Self::from_rsa(&numbers::Rsa { n, e, d, p, q, iqmp: None });
            }
        };
        Ok(PrivateKey { public, comment: Vec::new(), numbers })
    }

    pub(super) fn from_rsa(rsa: &numbers::Rsa<'_>) -> Result<Self, KeyError> {
        let public = PublicKey::from_numbers(VerifyKey::Rsa { e: rsa.e, n: rsa.n })?;
        let iqmp = numbers::check_rsa(rsa)?;
        let [d, p, q] = [rsa.d, rsa.p, rsa.q].map(|x| Secret::copy_of(minimal(x)));
        Ok(PrivateKey { public, comment: Vec::new(), numbers: Numbers::Rsa { d, p, q, iqmp } })
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The comment, which is whatever somebody wrote into the file; `Display` escapes it.
    pub fn comment(&self) -> SshStr<'_> {
        SshStr::new(&self.comment)
    }

    /// Sets the comment, cut at 1024 bytes.
    pub fn set_comment(&mut self, comment: &[u8]) {
        self.comment = comment.get(..MAX_COMMENT).unwrap_or(comment).to_vec();
    }

    /// The key's numbers, for a [`Provider`].
    pub fn signing_key(&self) -> SigningKey<'_> {
        match (&self.numbers, self.public.verify_key()) {
            (Numbers::Ed25519(seed), _) => SigningKey::Ed25519(seed),
            (Numbers::Ecdsa(curve, d), _) => SigningKey::Ecdsa(*curve, d.expose()),
            (Numbers::Rsa { d, p, q, .. }, public) => {
                // The public half of an RSA key is an RSA key: `from_numbers` made both.
                let (e, n): (&[u8], &[u8]) = match public {
                    VerifyKey::Rsa { e, n } => (e, n),
                    _ => (&[], &[]),
                };
                SigningKey::Rsa { n, e, d: d.expose(), p: p.expose(), q: q.expose() }
            }
        }
    }

    /// The key ready to sign, independent of this one.
    ///
    /// # Errors
    /// [`BadKey`] when the provider refuses the numbers.
    pub fn key_pair(&self, provider: &dyn Provider) -> Result<KeyPair, BadKey> {
        Ok(KeyPair::from_signer(self.public.clone(), provider.signer(self.signing_key())?))
    }

    pub(super) fn numbers(&self) -> &Numbers {
        &self.numbers
    }
}

/// Prints the public half only.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateKey").field(&self.public).finish()
    }
}
