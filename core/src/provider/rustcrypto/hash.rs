//! Running hashes.

use alloc::boxed::Box;

use sha2::Digest;

use crate::crypto::{Hash, HashAlg};

struct Running<D>(D);

impl<D: Digest + Send> Hash for Running<D> {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(self: Box<Self>, out: &mut [u8; 64]) {
        for (to, from) in out.iter_mut().zip(self.0.finalize()) {
            *to = from;
        }
    }
}

pub(super) fn start(alg: HashAlg) -> Box<dyn Hash> {
    match alg {
        HashAlg::Md5 => Box::new(Running(md5::Md5::new())),
        HashAlg::Sha1 => Box::new(Running(sha1::Sha1::new())),
        HashAlg::Sha256 => Box::new(Running(sha2::Sha256::new())),
        HashAlg::Sha384 => Box::new(Running(sha2::Sha384::new())),
        HashAlg::Sha512 => Box::new(Running(sha2::Sha512::new())),
    }
}
