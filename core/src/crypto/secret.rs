use alloc::vec::Vec;
use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::wire::Sink;

/// Secret bytes of a fixed length: wiped on drop, never printed, not `Clone`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes over `bytes`. Its capacity should be exact, so that no reallocation left a copy.
    pub fn new(bytes: Vec<u8>) -> Self {
        Secret(bytes)
    }

    /// Copies `bytes` into a new secret.
    pub fn copy_of(bytes: &[u8]) -> Self {
        Secret(bytes.to_vec())
    }

    /// No bytes.
    pub fn empty() -> Self {
        Secret(Vec::new())
    }

    /// The bytes. Keep them where they are.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

/// The result `K` of a key exchange, encoded the way the method hashes it: as `mpint`, or for the
/// post-quantum hybrids as `string`.
pub struct SharedSecret(Secret);

impl SharedSecret {
    /// `K` as mpint (RFC 4253 §8, RFC 5656 §4, RFC 8731 §3.1), from its big-endian magnitude.
    pub fn mpint(magnitude: &Secret) -> Self {
        let mut encoded = Vec::with_capacity(magnitude.expose().len().saturating_add(5));
        encoded.put_mpint(magnitude.expose());
        SharedSecret(Secret::new(encoded))
    }

    /// `K` as string (the hybrids).
    pub fn string(bytes: &[u8]) -> Self {
        let mut encoded = Vec::with_capacity(bytes.len().saturating_add(4));
        encoded.put_string(bytes);
        SharedSecret(Secret::new(encoded))
    }

    /// The encoded form that goes into the exchange hash and the key derivation.
    pub fn encoded(&self) -> &[u8] {
        self.0.expose()
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(..)")
    }
}
