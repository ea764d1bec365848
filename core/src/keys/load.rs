//! Finding out what a key file is.

use alloc::vec;
use alloc::vec::Vec;

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use super::{KeyError, PrivateKey, PublicKey, der, openssh};
use crate::text::{Limits, lines, next_field, without_mark};

/// The largest key file that is read, in bytes (F-12).
pub const MAX_FILE: usize = 1024 * 1024;

/// The most bcrypt rounds that an encrypted key may ask for (F-07): about 15 seconds of work.
/// OpenSSH writes 16 or 24.
pub const MAX_KDF_ROUNDS: u32 = 2048;

impl PrivateKey {
    /// Reads a private key file: OpenSSH's own format (plain or encrypted), unencrypted PKCS#8
    /// (RFC 5208, RFC 8410), PKCS#1 (RSA) and SEC1 (EC).
    ///
    /// Text before the key, CRLF, a byte order mark and a missing last line feed do no harm. The
    /// passphrase is only used when the key is encrypted; ask for it after [`KeyError::Encrypted`].
    /// Checking one costs as much time as the file's author chose (100 to 200 ms is usual).
    ///
    /// # Errors
    /// Each says what was found and what to do: see [`KeyError`]. Input over [`MAX_FILE`] is refused.
    pub fn load(bytes: &[u8], passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        Self::load_limited(bytes, passphrase, MAX_KDF_ROUNDS)
    }

    /// Like [`load`](Self::load), with another limit than [`MAX_KDF_ROUNDS`].
    pub fn load_limited(bytes: &[u8], passphrase: Option<&[u8]>, max_rounds: u32) -> Result<Self, KeyError> {
        let block = private_block(bytes)?;
        match block.label {
            b"OPENSSH PRIVATE KEY" => openssh::read(&block.decode()?, passphrase, max_rounds),
            b"PRIVATE KEY" => der::pkcs8(&block.decode()?),
            b"RSA PRIVATE KEY" => der::pkcs1(&block.decode()?),
            b"EC PRIVATE KEY" => der::sec1(&block.decode()?),
            b"DSA PRIVATE KEY" => Err(KeyError::unsupported_type(b"ssh-dss")),
            b"ENCRYPTED PRIVATE KEY" => Err(KeyError::UnsupportedFormat("ENCRYPTED PRIVATE KEY (PKCS#8)")),
            _ => Err(KeyError::UnsupportedFormat("of an unknown label")),
        }
    }

    /// The public half of a private key file without its passphrase, for asking a server whether
    /// it would take the key. Works for every format that [`load`](Self::load) reads.
    pub fn public_of(bytes: &[u8]) -> Result<PublicKey, KeyError> {
        let block = private_block(bytes)?;
        if block.label == openssh::LABEL.as_bytes() {
            return openssh::public(&block.decode()?);
        }
        Self::load(bytes, None).map(|key| key.public().clone())
    }
}

/// A block between BEGIN and END lines.
struct Block<'a> {
    label: &'a [u8],
    body: &'a [u8],
}

impl Block<'_> {
    /// The bytes that the body's base64 stands for.
    fn decode(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        // RFC 1421 headers: encryption of OpenSSL's old kind.
        if self
            .body
            .split(|b| *b == b'\n')
            .any(|line| line.starts_with(b"DEK-Info:") || line.starts_with(b"Proc-Type:"))
        {
            return Err(KeyError::UnsupportedFormat("encrypted PEM (DEK-Info)"));
        }
        let mut text = Zeroizing::new(Vec::with_capacity(self.body.len()));
        text.extend(self.body.iter().filter(|b| !b.is_ascii_whitespace()));
        let mut bytes = Zeroizing::new(vec![0u8; text.len()]);
        let length = Base64::decode(&text[..], &mut bytes).map_err(|_| KeyError::Malformed("base64"))?.len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

/// The first private key among the blocks of a file; otherwise an error that tells what it is.
fn private_block(bytes: &[u8]) -> Result<Block<'_>, KeyError> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(KeyError::UnsupportedFormat("of UTF-16 text"));
    }
    let limits = Limits { file: MAX_FILE, line: MAX_FILE };
    // The label of a BEGIN line without its END line so far, and where its body begins.
    let mut open: Option<(&[u8], usize)> = None;
    let mut other = None;
    for line in lines(bytes, limits).map_err(|_| KeyError::TooLarge)? {
        let text = line.text();
        match open {
            None => open = boundary(text, b"-----BEGIN ").map(|label| (label, line.end())),
            Some((label, start)) if boundary(text, b"-----END ") == Some(label) => {
                if label.ends_with(b"PRIVATE KEY") {
                    return Ok(Block { label, body: bytes.get(start..line.start()).unwrap_or_default() });
                }
                other = other.or(Some(label));
                open = None;
            }
            Some(_) => {}
        }
    }
    if open.is_some() {
        return Err(KeyError::Malformed("there is no END line"));
    }
    Err(what_else(without_mark(bytes), other))
}

/// The label of a BEGIN or END line. It may be indented.
fn boundary<'a>(line: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    line.trim_ascii().strip_prefix(start)?.strip_suffix(b"-----")
}

/// Names what a file without a private key is.
fn what_else(bytes: &[u8], label: Option<&[u8]>) -> KeyError {
    let contains = |what: &[u8]| bytes.windows(what.len()).any(|w| w == what);
    match label {
        Some(b"CERTIFICATE") => return KeyError::CertificateGiven,
        Some(label) if label.ends_with(b"PUBLIC KEY") => return KeyError::PublicKeyGiven,
        _ => {}
    }
    let text = bytes.trim_ascii_start();
    if text.starts_with(b"PuTTY-User-Key-File-") {
        return KeyError::UnsupportedFormat("of PuTTY (.ppk)");
    }
    if contains(b"---- BEGIN SSH2 PUBLIC KEY") {
        return KeyError::PublicKeyGiven;
    }
    if contains(b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY") {
        return KeyError::UnsupportedFormat("of ssh.com");
    }
    if text.starts_with(b"SSH PRIVATE KEY FILE FORMAT 1.1") {
        return KeyError::UnsupportedFormat("of SSH version 1");
    }
    // A `.pub` file begins with the name of a key type.
    let (name, _) = next_field(text);
    let is = |prefix: &[u8]| name.starts_with(prefix);
    if is(b"ssh-") || is(b"ecdsa-sha2-") || is(b"sk-ssh-") || is(b"sk-ecdsa-") {
        return if name.windows(8).any(|w| w == b"-cert-v0") {
            KeyError::CertificateGiven
        } else {
            KeyError::PublicKeyGiven
        };
    }
    KeyError::NotAKey
}
