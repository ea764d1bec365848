//! Randomness: one 32-byte seed, from which generators are forked by purpose.

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng as _, SeedableRng, TryCryptoRng, TryRng};
use core::convert::Infallible;
use core::fmt;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// All the randomness of one connection. Take it from the operating system, once a connection;
/// the same seed replays the same session, so it is as secret as the session's keys.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; 32]);

impl Seed {
    /// Wraps 32 bytes that nobody else knows.
    pub fn new(bytes: [u8; 32]) -> Self {
        Seed(bytes)
    }

    /// A generator for one purpose. Purposes are independent, so a draw added to one of them
    /// does not shift the others (transcripts stay valid).
    pub(crate) fn fork(&self, purpose: &[u8]) -> Rng {
        let mut seed = [0u8; 32];
        // HMAC takes keys of any length; this cannot fail.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) {
            mac.update(purpose);
            seed.copy_from_slice(&mac.finalize().into_bytes());
        }
        let rng = Rng(ChaCha20Rng::from_seed(seed));
        seed.zeroize();
        rng
    }

    /// The bytes, for a transcript.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// A seeded generator (ChaCha20). Not `Clone`: a copied generator would repeat secrets.
pub struct Rng(ChaCha20Rng);

impl Rng {
    /// A generator from a seed, for work outside a connection (making keys, for example).
    pub fn from_seed(seed: &Seed) -> Self {
        seed.fork(b"rng")
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }

    /// `N` random bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }
}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng(..)")
    }
}

impl TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill_bytes(dst);
        Ok(())
    }
}

impl TryCryptoRng for Rng {}
