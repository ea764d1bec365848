use alloc::vec::Vec;
use core::fmt;

use subtle::ConstantTimeEq;

use super::key_type::Halves;
use super::{KeyError, KeyPair, KeyType, PublicKey};
use crate::crypto::{BadKey, Provider, Secret};
use crate::rng::Rng;
use crate::wire::{Reader, SshStr};

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
    /// The private fields, in their canonical encoding.
    fields: Secret,
}

impl PrivateKey {
    /// A new key from `rng`; the same generator state makes the same key.
    ///
    /// # Errors
    /// [`KeyError::UnsupportedKeyType`] for a type whose keys are not made here.
    pub fn generate(kind: KeyType, rng: &mut Rng) -> Result<Self, KeyError> {
        Ok(Self::from_halves(kind, kind.format().generate(None, rng)?))
    }

    /// A new key of that many bits, which only [RSA](KeyType::RSA) asks for.
    ///
    /// # Errors
    /// As [`generate`](Self::generate); [`KeyError::RsaSize`] outside of 2048 to 16,384 bits.
    pub fn generate_of_size(kind: KeyType, bits: usize, rng: &mut Rng) -> Result<Self, KeyError> {
        Ok(Self::from_halves(kind, kind.format().generate(Some(bits), rng)?))
    }

    /// A key from its private fields, which are what stands behind the type's name in OpenSSH's key files
    /// (`sshkey_private_serialize`) and in what an agent is given.
    ///
    /// # Errors
    /// The public half is recomputed and compared: an ECDSA scalar lies in 1..n, an RSA modulus is the
    /// product of two odd primes of at most 8192 bits and `d` inverts `e` for both (primality is not
    /// tested).
    pub fn from_fields(kind: KeyType, fields: &[u8]) -> Result<Self, KeyError> {
        let mut r = Reader::new(fields);
        let key = Self::read(kind, &mut r)?;
        r.end()?;
        Ok(key)
    }

    /// A key whose type and private fields are the next ones, as in OpenSSH's key files and in what an agent is given.
    pub(crate) fn read_typed(r: &mut Reader<'_>) -> Result<Self, KeyError> {
        Self::read(KeyType::named(r.string()?)?, r)
    }

    /// A key whose private fields are the next ones.
    pub(super) fn read(kind: KeyType, r: &mut Reader<'_>) -> Result<Self, KeyError> {
        Ok(Self::from_halves(kind, kind.format().read_private(r)?))
    }

    pub(super) fn from_halves(kind: KeyType, halves: Halves) -> Self {
        let public = PublicKey::from_fields(kind, halves.public);
        PrivateKey { public, comment: Vec::new(), fields: halves.private }
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

    /// The private fields, as [`from_fields`](Self::from_fields) reads them; for a [`Provider`]. Keep them
    /// where they are.
    pub fn expose_fields(&self) -> &[u8] {
        self.fields.expose()
    }

    /// The key ready to sign, independent of this one.
    ///
    /// # Errors
    /// [`BadKey`] when the provider refuses the numbers.
    pub fn key_pair(&self, provider: &dyn Provider) -> Result<KeyPair, BadKey> {
        let signer = self.public.key_type().format().signer(provider, self.fields.expose())?;
        Ok(KeyPair::from_signer(self.public.clone(), signer))
    }
}

/// Of the same type with the same numbers, compared in constant time; comments do not count (S42).
impl PartialEq for PrivateKey {
    fn eq(&self, other: &Self) -> bool {
        let fields = self.fields.expose().ct_eq(other.fields.expose());
        self.public == other.public && bool::from(fields)
    }
}

impl Eq for PrivateKey {}

/// Prints the public half only.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateKey").field(&self.public).finish()
    }
}
