use core::fmt;

use base64ct::{Base64Unpadded, Encoding};
use md5::Digest as _;

use crate::crypto::HashAlgorithm;

/// The hash of a public key blob, the short form of a key that people compare.
///
/// `Display` is OpenSSH's: `SHA256:` and base64 without padding, or `MD5:` and hex with colons.
/// Show SHA-256; MD5 and SHA-1 can collide and are for comparing with what old devices print.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint {
    name: &'static str,
    bytes: [u8; 64],
    len: usize,
}

impl Fingerprint {
    pub(super) fn of(algorithm: HashAlgorithm, blob: &[u8]) -> Self {
        match algorithm {
            HashAlgorithm::Md5 => Self::new("MD5", &md5::Md5::digest(blob)),
            HashAlgorithm::Sha1 => Self::new("SHA1", &sha1::Sha1::digest(blob)),
            HashAlgorithm::Sha256 => Self::new("SHA256", &sha2::Sha256::digest(blob)),
            HashAlgorithm::Sha384 => Self::new("SHA384", &sha2::Sha384::digest(blob)),
            HashAlgorithm::Sha512 => Self::new("SHA512", &sha2::Sha512::digest(blob)),
        }
    }

    fn new(name: &'static str, digest: &[u8]) -> Self {
        let mut bytes = [0; 64];
        bytes.iter_mut().zip(digest).for_each(|(to, from)| *to = *from);
        Fingerprint { name, bytes, len: digest.len() }
    }

    /// The name of the hash as it is shown: `SHA256`, `MD5`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The hash itself.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.name)?;
        if self.name == "MD5" {
            for (i, byte) in self.as_bytes().iter().enumerate() {
                let colon = if i == 0 { "" } else { ":" };
                write!(f, "{colon}{byte:02x}")?;
            }
            return Ok(());
        }
        // 64 bytes are 86 characters.
        let mut text = [0u8; 88];
        f.write_str(Base64Unpadded::encode(self.as_bytes(), &mut text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
