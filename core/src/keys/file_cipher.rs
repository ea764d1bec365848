//! Encryption of OpenSSH key files. The [`Provider`](crate::crypto::Provider)'s packet ciphers come
//! with a MAC and a length field that key files do not have, so this uses the block ciphers directly.

use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit};
use chacha20::cipher::{BlockModeDecrypt, KeyIvInit, StreamCipher};
use poly1305::Poly1305;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::KeyError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    None,
    Ctr,
    Cbc,
    Gcm,
    ChaChaPoly,
}

/// A cipher of OpenSSH's `cipher.c`, as key files name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileCipher {
    mode: Mode,
    /// Bytes of key.
    pub(super) key: usize,
}

impl FileCipher {
    pub(super) const NONE: FileCipher = FileCipher { mode: Mode::None, key: 0 };
    /// What we write, and OpenSSH by default: `aes256-ctr`.
    pub(super) const WRITE: FileCipher = FileCipher { mode: Mode::Ctr, key: 32 };
    pub(super) const WRITE_NAME: &'static str = "aes256-ctr";

    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        let (mode, key) = match name {
            b"none" => (Mode::None, 0),
            b"aes128-ctr" => (Mode::Ctr, 16),
            b"aes192-ctr" => (Mode::Ctr, 24),
            b"aes256-ctr" => (Mode::Ctr, 32),
            b"aes128-cbc" => (Mode::Cbc, 16),
            b"aes192-cbc" => (Mode::Cbc, 24),
            b"aes256-cbc" | b"rijndael-cbc@lysator.liu.se" => (Mode::Cbc, 32),
            b"aes128-gcm@openssh.com" => (Mode::Gcm, 16),
            b"aes256-gcm@openssh.com" => (Mode::Gcm, 32),
            b"chacha20-poly1305@openssh.com" => (Mode::ChaChaPoly, 64),
            _ => return None,
        };
        Some(FileCipher { mode, key })
    }

    pub(super) fn encrypts(self) -> bool {
        self.mode != Mode::None
    }

    pub(super) fn iv(self) -> usize {
        match self.mode {
            Mode::None | Mode::ChaChaPoly => 0,
            Mode::Ctr | Mode::Cbc => 16,
            Mode::Gcm => 12,
        }
    }

    /// The private section is padded to a multiple of this.
    pub(super) fn block(self) -> usize {
        match self.mode {
            Mode::None | Mode::ChaChaPoly => 8,
            _ => 16,
        }
    }

    /// Bytes of tag behind the private section.
    pub(super) fn tag(self) -> usize {
        if matches!(self.mode, Mode::Gcm | Mode::ChaChaPoly) { 16 } else { 0 }
    }

    /// Decrypts in place. `material` is key and IV together, from the key derivation.
    pub(super) fn decrypt(self, material: &[u8], data: &mut [u8], tag: &[u8]) -> Result<(), KeyError> {
        let (key, iv) = material.split_at_checked(self.key).ok_or(DERIVED)?;
        match (self.mode, self.key) {
            (Mode::None, _) => Ok(()),
            (Mode::Ctr, 16) => ctr::<Aes128>(key, iv, data),
            (Mode::Ctr, 24) => ctr::<Aes192>(key, iv, data),
            (Mode::Ctr, _) => ctr::<Aes256>(key, iv, data),
            (Mode::Cbc, 16) => cbc::<Aes128>(key, iv, data),
            (Mode::Cbc, 24) => cbc::<Aes192>(key, iv, data),
            (Mode::Cbc, _) => cbc::<Aes256>(key, iv, data),
            (Mode::Gcm, 16) => gcm::<Aes128Gcm>(key, iv, data, tag),
            (Mode::Gcm, _) => gcm::<Aes256Gcm>(key, iv, data, tag),
            (Mode::ChaChaPoly, _) => chacha_poly(key, data, tag),
        }
    }

    /// Encrypts in place for [`WRITE`](Self::WRITE), where that is the same as decrypting.
    pub(super) fn encrypt(material: &[u8], data: &mut [u8]) -> Result<(), KeyError> {
        Self::WRITE.decrypt(material, data, &[])
    }
}

const DERIVED: KeyError = KeyError::Malformed("the derived key's length");

fn ctr<C>(key: &[u8], iv: &[u8], data: &mut [u8]) -> Result<(), KeyError>
where
    ctr::Ctr128BE<C>: KeyIvInit + StreamCipher,
    C: aes::cipher::BlockCipherEncrypt + aes::cipher::BlockSizeUser<BlockSize = aes::cipher::consts::U16>,
{
    let mut cipher = ctr::Ctr128BE::<C>::new_from_slices(key, iv).map_err(|_| DERIVED)?;
    cipher.try_apply_keystream(data).map_err(|_| DERIVED)
}

fn cbc<C>(key: &[u8], iv: &[u8], data: &mut [u8]) -> Result<(), KeyError>
where
    cbc::Decryptor<C>: KeyIvInit + BlockModeDecrypt,
    C: aes::cipher::BlockCipherDecrypt,
{
    let mut cipher = cbc::Decryptor::<C>::new_from_slices(key, iv).map_err(|_| DERIVED)?;
    let (blocks, []) = aes::cipher::Array::slice_as_chunks_mut(data) else { return Err(DERIVED) };
    cipher.decrypt_blocks(blocks);
    Ok(())
}

fn gcm<A: KeyInit + AeadInOut>(key: &[u8], iv: &[u8], data: &mut [u8], tag: &[u8]) -> Result<(), KeyError> {
    let cipher = A::new_from_slice(key).map_err(|_| DERIVED)?;
    let nonce = iv.try_into().map_err(|_| DERIVED)?;
    let tag = tag.try_into().map_err(|_| DERIVED)?;
    cipher.decrypt_inout_detached(nonce, &[], data.into(), tag).map_err(|_| KeyError::WrongPassphrase)
}

/// OpenSSH's `cipher-chachapoly.c` with sequence number 0 and no additional data: the first half of
/// the key encrypts, the second (for the length of packets) is not used.
fn chacha_poly(key: &[u8], data: &mut [u8], tag: &[u8]) -> Result<(), KeyError> {
    let (key, _) = key.split_at_checked(32).ok_or(DERIVED)?;
    let mut cipher = chacha20::ChaCha20::new_from_slices(key, &[0; 12]).map_err(|_| DERIVED)?;
    // Block 0 is the Poly1305 key (its first half), the data starts at block 1.
    let mut first = Zeroizing::new([0u8; 64]);
    cipher.try_apply_keystream(&mut first[..]).map_err(|_| DERIVED)?;
    let mac_key = first.first_chunk::<32>().ok_or(DERIVED)?;
    let expected = Poly1305::new(mac_key.into()).compute_unpadded(data);
    if !bool::from(expected.as_slice().ct_eq(tag)) {
        return Err(KeyError::WrongPassphrase);
    }
    cipher.try_apply_keystream(data).map_err(|_| DERIVED)
}
