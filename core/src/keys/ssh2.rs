//! The formats of ssh.com: public keys, which became RFC 4716, and private keys, which only RSA (and DSA) have.

use alloc::string::String;
use alloc::vec::Vec;

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use super::file_cipher::FileCipher;
use super::{KeyError, KeyType, PrivateKey, PublicKey, kdf};
use crate::crypto::exact;
use crate::crypto::fields::RsaPrivate;
use crate::text::{Limits, lines};
use crate::wire::{Reader, Sink};

pub(super) const PUBLIC_BEGIN: &[u8] = b"---- BEGIN SSH2 PUBLIC KEY ----";
const PUBLIC_END: &[u8] = b"---- END SSH2 PUBLIC KEY ----";
pub(super) const PRIVATE_BEGIN: &[u8] = b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----";
const PRIVATE_END: &[u8] = b"---- END SSH2 ENCRYPTED PRIVATE KEY ----";
const MAGIC: u32 = 0x3f6f_f9eb;

/// RFC 4716 §3.2: no line is longer than 72 bytes. OpenSSH breaks base64 after 70.
const LINE_WIDTH: usize = 70;
const MAX_LINE: usize = 72;

/// What stands between two lines: the value of the header `Comment`, and the bytes.
struct Body {
    comment: Vec<u8>,
    bytes: Zeroizing<Vec<u8>>,
}

/// Headers go on in the next line after a backslash (RFC 4716 §3.3).
fn body(text: &[u8], begin: &[u8], end: &[u8]) -> Result<Body, KeyError> {
    let limits = Limits { file: super::MAX_FILE, line: super::MAX_FILE };
    let mut lines = lines(text, limits).map_err(|_| KeyError::TooLarge)?.map(|line| line.text());
    lines.find(|line| *line == begin).ok_or(KeyError::NotAKey)?;
    let mut comment = Vec::new();
    let mut encoded = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut header: Option<Vec<u8>> = None;
    for line in lines {
        if line == end {
            let mut bytes = Zeroizing::new(alloc::vec![0; encoded.len()]);
            let length = Base64::decode(&encoded[..], &mut bytes).map_err(|_| KeyError::Malformed("base64"));
            let length = length?.len();
            bytes.truncate(length);
            return Ok(Body { comment, bytes });
        }
        let started = header.is_some();
        // There is no colon in base64.
        if !started && !line.contains(&b':') {
            encoded.extend(line.iter().filter(|b| !b.is_ascii_whitespace()));
            continue;
        }
        let mut whole = header.take().unwrap_or_default();
        if let Some(goes_on) = line.strip_suffix(b"\\") {
            whole.extend_from_slice(goes_on);
            header = Some(whole);
            continue;
        }
        whole.extend_from_slice(line);
        if let Some((name, value)) = whole.split_at_checked(8)
            && name.eq_ignore_ascii_case(b"comment:")
        {
            let value = value.trim_ascii();
            let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            comment = unquoted.unwrap_or(value).to_vec();
        }
    }
    Err(KeyError::Malformed("there is no END line"))
}

impl PublicKey {
    /// Reads a key as RFC 4716 has it, and its comment.
    ///
    /// # Errors
    /// [`KeyError::NotAKey`] where no such key begins, and what is wrong with one.
    pub fn from_rfc4716(text: &[u8]) -> Result<(Self, Vec<u8>), KeyError> {
        let Body { comment, bytes } = body(text, PUBLIC_BEGIN, PUBLIC_END)?;
        Ok((Self::from_blob(&bytes)?, comment))
    }

    /// The key as RFC 4716 has it, with a line feed at the end. Control characters and quotation marks of `comment`
    /// become spaces.
    pub fn to_rfc4716(&self, comment: &str) -> String {
        let mut text = String::from_utf8_lossy(PUBLIC_BEGIN).into_owned();
        let comment: String =
            comment.chars().map(|c| if c.is_control() || c == '"' { ' ' } else { c }).collect();
        let header = alloc::format!("Comment: \"{comment}\"");
        let mut width = 0usize;
        text.push('\n');
        for c in header.chars() {
            // A character stays whole, and the backslash has room.
            if width.saturating_add(c.len_utf8()) >= MAX_LINE {
                text.push_str("\\\n");
                width = 0;
            }
            text.push(c);
            width = width.saturating_add(c.len_utf8());
        }
        text.push('\n');
        let encoded = Base64::encode_string(&self.to_blob());
        for line in encoded.as_bytes().chunks(LINE_WIDTH) {
            text.push_str(core::str::from_utf8(line).unwrap_or_default());
            text.push('\n');
        }
        text.push_str(&String::from_utf8_lossy(PUBLIC_END));
        text.push('\n');
        text
    }
}

/// Reads a private key of ssh.com, without a passphrase or with `3des-cbc`.
pub(super) fn read(text: &[u8], passphrase: Option<&[u8]>) -> Result<PrivateKey, KeyError> {
    let Body { comment, bytes } = body(text, PRIVATE_BEGIN, PRIVATE_END)?;
    let mut r = Reader::new(&bytes);
    if r.u32()? != MAGIC {
        return Err(KeyError::Malformed("not the beginning of a key of ssh.com"));
    }
    let _length = r.u32()?;
    let kind = r.string()?;
    let cipher = r.string()?;
    let data = r.string()?;
    if kind.starts_with(b"dl-modp") {
        return Err(KeyError::unsupported_type(b"ssh-dss"));
    }
    if !kind.starts_with(b"if-modn") {
        return Err(KeyError::unsupported_type(kind));
    }
    let mut plain = Zeroizing::new(data.to_vec());
    let encrypted = match cipher {
        b"none" => false,
        b"3des-cbc" => true,
        other => {
            let name = String::from_utf8_lossy(other.get(..64).unwrap_or(other));
            return Err(KeyError::UnsupportedCipher(name.into_owned()));
        }
    };
    if encrypted {
        let passphrase = passphrase.filter(|p| !p.is_empty()).ok_or(KeyError::Encrypted)?;
        let cipher = FileCipher::TRIPLE_DES_CBC;
        let mut material = kdf::md5_expand(passphrase, 32);
        material.truncate(cipher.key());
        let material = Zeroizing::new([&material[..], &[0; 8]].concat());
        if plain.is_empty() || !plain.len().is_multiple_of(cipher.block()) {
            return Err(KeyError::Malformed("what is encrypted is not whole blocks"));
        }
        cipher.decrypt(&material, &mut plain, &[])?;
    }
    let key = rsa(&plain);
    let mut key = if encrypted { key.map_err(opened) } else { key }?;
    key.set_comment(&comment);
    Ok(key)
}

/// There is no check number: numbers that make no key were not opened by their passphrase.
fn opened(error: KeyError) -> KeyError {
    match error {
        KeyError::Malformed(_) | KeyError::Inconsistent(_) | KeyError::RsaSize { .. } => {
            KeyError::WrongPassphrase
        }
        error => error,
    }
}

/// Numbers with their lengths in bits.
fn rsa(plain: &[u8]) -> Result<PrivateKey, KeyError> {
    let mut r = Reader::new(Reader::new(plain).string()?);
    let mut number = || {
        let bits = r.u32()?;
        r.bytes(usize::try_from(bits.div_ceil(8)).unwrap_or(usize::MAX))
    };
    // In this file `p` and `q` have changed places: `iqmp` belongs to the second as it stands there.
    let [e, d, n, iqmp, q, p] = [number()?, number()?, number()?, number()?, number()?, number()?];
    let fields = exact(|out: &mut dyn Sink| RsaPrivate { n, e, d, iqmp, p, q }.put(out));
    PrivateKey::from_fields(KeyType::RSA, &fields)
}
