use alloc::vec::Vec;
use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

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

    /// The bytes that `write` writes, which it does twice: a growing `Vec` would leave copies (F-34).
    pub fn written(write: impl Fn(&mut dyn Sink)) -> Self {
        Secret(core::mem::take(&mut *exact(write)))
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

/// Counts first and writes then, so that a secret is never copied by a growing `Vec` (F-34).
pub(crate) fn exact(write: impl Fn(&mut dyn Sink)) -> Zeroizing<Vec<u8>> {
    struct Count(usize);
    impl Sink for Count {
        fn put(&mut self, bytes: &[u8]) {
            self.0 = self.0.saturating_add(bytes.len());
        }
    }
    let mut count = Count(0);
    write(&mut count);
    let mut out = Zeroizing::new(Vec::with_capacity(count.0));
    write(&mut *out);
    out
}

/// Bytes that may be secret, in memory that grows: what it leaves when it does, and when it goes, is
/// wiped.
#[derive(Default)]
pub(crate) struct Scrubbed(Vec<u8>);

impl Scrubbed {
    /// Makes it `len` bytes long; new ones are zero.
    pub(crate) fn resize(&mut self, len: usize) {
        if len > self.0.capacity() {
            grow(&mut self.0, len.next_power_of_two());
        }
        self.0.resize(len, 0);
    }

    /// Forgets the bytes behind the first `len`; they stay in memory until it is wiped.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }
}

impl Sink for Scrubbed {
    fn put(&mut self, bytes: &[u8]) {
        let len = self.0.len().saturating_add(bytes.len());
        if len > self.0.capacity() {
            grow(&mut self.0, len.next_power_of_two());
        }
        self.0.extend_from_slice(bytes);
    }
}

impl core::ops::Deref for Scrubbed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl core::ops::DerefMut for Scrubbed {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Scrubbed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Moves `bytes` into memory for exactly `capacity` bytes, if it has less, and wipes the old one.
pub(crate) fn grow(bytes: &mut Vec<u8>, capacity: usize) {
    if bytes.capacity() < capacity {
        let mut wider = Vec::with_capacity(capacity);
        wider.extend_from_slice(bytes);
        core::mem::replace(bytes, wider).zeroize();
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
