//! Running hashes.

use alloc::boxed::Box;

use sha2::Digest;
use sha2::digest::FixedOutputReset;

use crate::crypto::{Hash, HashAlgorithm};

struct Running<D>(D);

impl<D: Digest + FixedOutputReset + Send> Hash for Running<D> {
    fn update(&mut self, bytes: &[u8]) {
        Digest::update(&mut self.0, bytes);
    }

    fn finish(mut self: Box<Self>, out: &mut [u8; 64]) {
        // In place: a hash that is moved out leaves its last block, which may be a secret, in the memory
        // it came from, where nobody wipes it.
        for (to, from) in out.iter_mut().zip(Digest::finalize_reset(&mut self.0)) {
            *to = from;
        }
    }
}

pub(super) fn start(algorithm: HashAlgorithm) -> Box<dyn Hash> {
    match algorithm {
        HashAlgorithm::Md5 => Box::new(Running(md5::Md5::new())),
        HashAlgorithm::Sha1 => Box::new(Running(sha1::Sha1::new())),
        HashAlgorithm::Sha256 => Box::new(Running(sha2::Sha256::new())),
        HashAlgorithm::Sha384 => Box::new(Running(sha2::Sha384::new())),
        HashAlgorithm::Sha512 => Box::new(Running(sha2::Sha512::new())),
    }
}
