//! Finding out what a key file is.

use alloc::vec::Vec;

use super::pem::Block;
use super::{KdfLimits, KeyError, PrivateKey, PublicKey, der, openssh, putty, ssh2};
use crate::text::{Limits, lines, next_field, without_mark};

/// The largest key file that is read, in bytes (F-12).
pub const MAX_FILE: usize = 1024 * 1024;

/// Where a private key is in a file.
enum Found<'a> {
    Block(Block<'a>),
    /// From here on.
    Putty(&'a [u8]),
    Ssh2(&'a [u8]),
}

impl PrivateKey {
    /// Reads a private key file, whatever its format: OpenSSH's own, PKCS#8 (RFC 5208, RFC 5958, RFC 8410; encrypted with
    /// PBES2 under PBKDF2 or scrypt), PKCS#1 (RSA) and SEC1 (EC) with or without `DEK-Info`, PuTTY's `.ppk` of versions
    /// 2 and 3, and ssh.com's.
    ///
    /// Text before the key, CRLF, a byte order mark and a missing last line feed do no harm. The
    /// passphrase is only used when the key is encrypted; ask for it after [`KeyError::Encrypted`].
    /// Checking one costs as much time as the file's author chose (100 to 200 ms is usual), within [`KdfLimits`].
    ///
    /// # Errors
    /// Each says what was found and what to do: see [`KeyError`]. Input over [`MAX_FILE`] is refused.
    pub fn load(bytes: &[u8], passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        Self::load_limited(bytes, passphrase, &KdfLimits::default())
    }

    /// Like [`load`](Self::load), with limits of your own.
    ///
    /// # Errors
    /// As there; [`KeyError::KdfCost`] for what is over a limit.
    pub fn load_limited(
        bytes: &[u8],
        passphrase: Option<&[u8]>,
        limits: &KdfLimits,
    ) -> Result<Self, KeyError> {
        let block = match private_key(bytes)? {
            Found::Block(block) => block,
            Found::Putty(text) => return putty::read(text, passphrase, limits),
            Found::Ssh2(text) => return ssh2::read(text, passphrase),
        };
        match block.label {
            b"OPENSSH PRIVATE KEY" => openssh::read(&block.decode()?, passphrase, limits),
            b"PRIVATE KEY" => der::pkcs8(&block.decode()?),
            b"ENCRYPTED PRIVATE KEY" => der::encrypted_pkcs8(&block.decode()?, passphrase, limits),
            b"RSA PRIVATE KEY" => old(&block, passphrase, der::pkcs1),
            b"EC PRIVATE KEY" => old(&block, passphrase, der::sec1),
            b"DSA PRIVATE KEY" => Err(KeyError::unsupported_type(b"ssh-dss")),
            _ => Err(KeyError::UnsupportedFormat("of an unknown label")),
        }
    }

    /// The public half of a private key file without its passphrase, for asking a server whether
    /// it would take the key. OpenSSH's and PuTTY's files have it in clear.
    ///
    /// # Errors
    /// As [`load`](Self::load); [`KeyError::Encrypted`] for the other formats when they are.
    pub fn public_of(bytes: &[u8]) -> Result<PublicKey, KeyError> {
        match private_key(bytes)? {
            Found::Block(block) if block.label == openssh::LABEL.as_bytes() => {
                openssh::public(&block.decode()?)
            }
            Found::Putty(text) => putty::public(text),
            _ => Self::load(bytes, None).map(|key| key.public().clone()),
        }
    }
}

/// A block that OpenSSL may have encrypted.
fn old(
    block: &Block<'_>,
    passphrase: Option<&[u8]>,
    read: impl FnOnce(&[u8]) -> Result<PrivateKey, KeyError>,
) -> Result<PrivateKey, KeyError> {
    let (dek, mut bytes) = block.decode_with_headers()?;
    match dek {
        None => read(&bytes),
        Some(dek) => {
            dek.decrypt(passphrase, &mut bytes)?;
            read(&bytes).map_err(der::wrong)
        }
    }
}

/// The first private key among the blocks of a file; otherwise an error that tells what it is.
fn private_key(bytes: &[u8]) -> Result<Found<'_>, KeyError> {
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
            None if text.starts_with(putty::START) => {
                return Ok(Found::Putty(bytes.get(line.start()..).unwrap_or_default()));
            }
            None if text == ssh2::PRIVATE_BEGIN => {
                return Ok(Found::Ssh2(bytes.get(line.start()..).unwrap_or_default()));
            }
            None => open = boundary(text, b"-----BEGIN ").map(|label| (label, line.end())),
            Some((label, start)) if boundary(text, b"-----END ") == Some(label) => {
                if label.ends_with(b"PRIVATE KEY") {
                    let body = bytes.get(start..line.start()).unwrap_or_default();
                    return Ok(Found::Block(Block { label, body }));
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

impl PublicKey {
    /// Reads the first key of a file of public keys, whatever its format, and its comment: a line of OpenSSH's, RFC 4716,
    /// or PEM of X.509 (RFC 5280 §4.1.2.7) or of PKCS#1.
    ///
    /// # Errors
    /// As [`from_blob`](Self::from_blob); [`KeyError::Empty`], [`KeyError::NotAKey`].
    pub fn load(bytes: &[u8]) -> Result<(Self, Vec<u8>), KeyError> {
        let limits = Limits { file: MAX_FILE, line: MAX_FILE };
        let mut open: Option<(&[u8], usize)> = None;
        let mut first = None;
        for line in lines(bytes, limits).map_err(|_| KeyError::TooLarge)? {
            let text = line.text();
            first = first.or(Some(text));
            match open {
                None if text == ssh2::PUBLIC_BEGIN => return Self::from_rfc4716(bytes),
                None => open = boundary(text, b"-----BEGIN ").map(|label| (label, line.end())),
                Some((label, start)) if boundary(text, b"-----END ") == Some(label) => {
                    let body = bytes.get(start..line.start()).unwrap_or_default();
                    let block = Block { label, body };
                    match label {
                        b"PUBLIC KEY" => return Ok((der::public(&block.decode()?)?, Vec::new())),
                        b"RSA PUBLIC KEY" => return Ok((der::pkcs1_public(&block.decode()?)?, Vec::new())),
                        _ => open = None,
                    }
                }
                Some(_) => {}
            }
        }
        if open.is_some() {
            return Err(KeyError::Malformed("there is no END line"));
        }
        let (key, comment) = Self::from_openssh_line(first.ok_or(KeyError::Empty)?)?;
        Ok((key, comment.as_bytes().to_vec()))
    }
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
    if text.is_empty() {
        return KeyError::Empty;
    }
    if contains(ssh2::PUBLIC_BEGIN) {
        return KeyError::PublicKeyGiven;
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
