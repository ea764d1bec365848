//! Text between BEGIN and END lines (RFC 7468), with the headers of RFC 1421 that OpenSSL writes.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use base64ct::{Base64, Encoding};
use pem_rfc7468::{Encoder, LineEnding, encapsulated_len_wrapped};
use zeroize::Zeroizing;

use super::file_cipher::{FileCipher, without_padding};
use super::{KeyError, kdf};

/// A block between BEGIN and END lines.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    pub(super) label: &'a [u8],
    pub(super) body: &'a [u8],
}

/// How OpenSSL encrypts what is no PKCS#8: `DEK-Info`.
pub(super) struct Dek {
    cipher: FileCipher,
    iv: Vec<u8>,
}

impl Block<'_> {
    /// The bytes that the body's base64 stands for, in a block that has no headers of meaning.
    pub(super) fn decode(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        match self.decode_with_headers()? {
            (None, bytes) => Ok(bytes),
            (Some(_), _) => Err(KeyError::UnsupportedFormat("encrypted PEM (DEK-Info) around it")),
        }
    }

    /// The bytes that the body's base64 stands for, and how they are encrypted.
    pub(super) fn decode_with_headers(&self) -> Result<(Option<Dek>, Zeroizing<Vec<u8>>), KeyError> {
        let mut dek = None;
        let mut encrypted = false;
        let mut text = Zeroizing::new(Vec::with_capacity(self.body.len()));
        for line in self.body.split(|b| *b == b'\n' || *b == b'\r') {
            // There is no colon in base64.
            let Some(colon) = line.iter().position(|b| *b == b':') else {
                text.extend(line.iter().filter(|b| !b.is_ascii_whitespace()));
                continue;
            };
            let (name, value) = line.split_at(colon);
            let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
            match name.trim_ascii() {
                b"Proc-Type" => encrypted = value.ends_with(b"ENCRYPTED"),
                b"DEK-Info" => dek = Some(Dek::parse(value)?),
                _ => {}
            }
        }
        if encrypted && dek.is_none() {
            return Err(KeyError::Malformed("encrypted, and no DEK-Info says how"));
        }
        let mut bytes = Zeroizing::new(vec![0u8; text.len()]);
        let length = Base64::decode(&text[..], &mut bytes).map_err(|_| KeyError::Malformed("base64"))?.len();
        bytes.truncate(length);
        Ok((dek, bytes))
    }
}

impl Dek {
    /// `AES-128-CBC,` and the IV in hex.
    fn parse(value: &[u8]) -> Result<Self, KeyError> {
        let mut parts = value.split(|b| *b == b',');
        let name = parts.next().unwrap_or_default().trim_ascii();
        let cipher = match name {
            b"AES-128-CBC" => FileCipher::AES128_CBC,
            b"AES-192-CBC" => FileCipher::AES192_CBC,
            b"AES-256-CBC" => FileCipher::AES256_CBC,
            b"DES-EDE3-CBC" => FileCipher::TRIPLE_DES_CBC,
            _ => {
                let shown = name.get(..64).unwrap_or(name);
                return Err(KeyError::UnsupportedCipher(String::from_utf8_lossy(shown).into_owned()));
            }
        };
        let iv = hex(parts.next().unwrap_or_default().trim_ascii());
        let iv = iv.filter(|iv| iv.len() == cipher.iv()).ok_or(KeyError::Malformed("the IV of DEK-Info"))?;
        Ok(Dek { cipher, iv })
    }

    pub(super) fn decrypt(
        &self,
        passphrase: Option<&[u8]>,
        bytes: &mut Zeroizing<Vec<u8>>,
    ) -> Result<(), KeyError> {
        let passphrase = passphrase.filter(|p| !p.is_empty()).ok_or(KeyError::Encrypted)?;
        let block = self.cipher.block();
        if bytes.is_empty() || !bytes.len().is_multiple_of(block) {
            return Err(KeyError::Malformed("what is encrypted is not whole blocks"));
        }
        let salt = self.iv.first_chunk::<8>().ok_or(KeyError::Malformed("the IV of DEK-Info"))?;
        let mut material = kdf::md5_chain(passphrase, salt, self.cipher.key());
        let key = Zeroizing::new([&material[..], &self.iv].concat());
        material.clear();
        self.cipher.decrypt(&key, bytes, &[])?;
        let length = without_padding(bytes, block)?.len();
        bytes.truncate(length);
        Ok(())
    }
}

/// Bytes in hex, if they are.
pub(super) fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

/// A block of these bytes, in lines of `width`, with a line feed at the end.
pub(super) fn write(label: &str, width: usize, bytes: &[u8]) -> Result<Zeroizing<String>, KeyError> {
    const TOO_LONG: KeyError = KeyError::TooLarge;
    let length = encapsulated_len_wrapped(label, width, LineEnding::LF, bytes.len());
    let mut text = Zeroizing::new(vec![0u8; length.map_err(|_| TOO_LONG)?]);
    let mut encoder = Encoder::new_wrapped(label, width, LineEnding::LF, &mut text).map_err(|_| TOO_LONG)?;
    encoder.encode(bytes).map_err(|_| TOO_LONG)?;
    let written = encoder.finish().map_err(|_| TOO_LONG)?;
    text.truncate(written);
    // Moves the bytes into the string; they are ASCII.
    String::from_utf8(core::mem::take(&mut *text)).map(Zeroizing::new).map_err(|_| TOO_LONG)
}
