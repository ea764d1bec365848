//! Encryption of key files. The [`Provider`](crate::crypto::Provider)'s packet ciphers come
//! with a MAC and a length field that key files do not have, so this uses the block ciphers directly.

use alloc::vec::Vec;

use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit};
use chacha20::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, StreamCipher};
use des::TdesEde3;
use poly1305::Poly1305;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::KeyError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    None,
    Ctr,
    Cbc,
    TripleDes,
    Gcm,
    ChaChaPoly,
}

/// A cipher of key files, by OpenSSH's name (`cipher.c`); what `ssh-keygen -Z` chooses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileCipher {
    name: &'static str,
    mode: Mode,
    /// Bytes of key.
    key: usize,
}

const fn row(name: &'static str, mode: Mode, key: usize) -> FileCipher {
    FileCipher { name, mode, key }
}

static TABLE: [FileCipher; 10] = [
    FileCipher::AES256_CTR,
    row("aes192-ctr", Mode::Ctr, 24),
    row("aes128-ctr", Mode::Ctr, 16),
    row("aes256-gcm@openssh.com", Mode::Gcm, 32),
    row("aes128-gcm@openssh.com", Mode::Gcm, 16),
    row("chacha20-poly1305@openssh.com", Mode::ChaChaPoly, 64),
    FileCipher::AES256_CBC,
    FileCipher::AES192_CBC,
    FileCipher::AES128_CBC,
    FileCipher::TRIPLE_DES_CBC,
];

impl FileCipher {
    /// What is written unless something else is asked for, here and by OpenSSH: `aes256-ctr`.
    pub const AES256_CTR: FileCipher = row("aes256-ctr", Mode::Ctr, 32);
    pub(super) const NONE: FileCipher = row("none", Mode::None, 0);
    pub(super) const AES256_CBC: FileCipher = row("aes256-cbc", Mode::Cbc, 32);
    pub(super) const AES192_CBC: FileCipher = row("aes192-cbc", Mode::Cbc, 24);
    pub(super) const AES128_CBC: FileCipher = row("aes128-cbc", Mode::Cbc, 16);
    pub(super) const TRIPLE_DES_CBC: FileCipher = row("3des-cbc", Mode::TripleDes, 24);

    /// All that there are, best first.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        TABLE.iter().copied()
    }

    /// The cipher of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = if name == "rijndael-cbc@lysator.liu.se" { "aes256-cbc" } else { name };
        Self::all().find(|cipher| cipher.name == name)
    }

    /// The name.
    pub const fn name(self) -> &'static str {
        self.name
    }

    pub(super) fn encrypts(self) -> bool {
        self.mode != Mode::None
    }

    /// Bytes of key.
    pub(super) fn key(self) -> usize {
        self.key
    }

    pub(super) fn iv(self) -> usize {
        match self.mode {
            Mode::None | Mode::ChaChaPoly => 0,
            Mode::Ctr | Mode::Cbc => 16,
            Mode::TripleDes => 8,
            Mode::Gcm => 12,
        }
    }

    /// The private section is padded to a multiple of this.
    pub(super) fn block(self) -> usize {
        match self.mode {
            Mode::None | Mode::ChaChaPoly | Mode::TripleDes => 8,
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
            (Mode::TripleDes, _) => cbc::<TdesEde3>(key, iv, data),
            (Mode::Gcm, 16) => gcm::<Aes128Gcm>(key, iv, data, tag),
            (Mode::Gcm, _) => gcm::<Aes256Gcm>(key, iv, data, tag),
            (Mode::ChaChaPoly, _) => chacha_poly(key, data, |data, expected, cipher| {
                if !bool::from(expected(data).ct_eq(tag)) {
                    return Err(KeyError::WrongPassphrase);
                }
                cipher.try_apply_keystream(data).map_err(|_| DERIVED)
            }),
        }
    }

    /// Encrypts in place, and returns the tag of [`tag`](Self::tag) bytes.
    pub(super) fn encrypt(self, material: &[u8], data: &mut [u8]) -> Result<Vec<u8>, KeyError> {
        let (key, iv) = material.split_at_checked(self.key).ok_or(DERIVED)?;
        match (self.mode, self.key) {
            // Where that is the same as decrypting.
            (Mode::None | Mode::Ctr, _) => self.decrypt(material, data, &[]).map(|()| Vec::new()),
            (Mode::Cbc, 16) => cbc_encrypt::<Aes128>(key, iv, data),
            (Mode::Cbc, 24) => cbc_encrypt::<Aes192>(key, iv, data),
            (Mode::Cbc, _) => cbc_encrypt::<Aes256>(key, iv, data),
            (Mode::TripleDes, _) => cbc_encrypt::<TdesEde3>(key, iv, data),
            (Mode::Gcm, 16) => gcm_encrypt::<Aes128Gcm>(key, iv, data),
            (Mode::Gcm, _) => gcm_encrypt::<Aes256Gcm>(key, iv, data),
            (Mode::ChaChaPoly, _) => chacha_poly(key, data, |data, tag, cipher| {
                cipher.try_apply_keystream(data).map_err(|_| DERIVED)?;
                Ok(tag(data).to_vec())
            }),
        }
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
/// the key encrypts, the second (for the length of packets) is not used. `work` gets the data, what makes a tag, and
/// the cipher at its first block.
fn chacha_poly<T>(
    key: &[u8],
    data: &mut [u8],
    work: impl FnOnce(&mut [u8], &dyn Fn(&[u8]) -> [u8; 16], &mut chacha20::ChaCha20) -> Result<T, KeyError>,
) -> Result<T, KeyError> {
    let (key, _) = key.split_at_checked(32).ok_or(DERIVED)?;
    let mut cipher = chacha20::ChaCha20::new_from_slices(key, &[0; 12]).map_err(|_| DERIVED)?;
    // Block 0 is the Poly1305 key (its first half), the data starts at block 1.
    let mut first = Zeroizing::new([0u8; 64]);
    cipher.try_apply_keystream(&mut first[..]).map_err(|_| DERIVED)?;
    let mac_key = first.first_chunk::<32>().ok_or(DERIVED)?;
    work(data, &|data| Poly1305::new(mac_key.into()).compute_unpadded(data).into(), &mut cipher)
}

fn cbc_encrypt<C>(key: &[u8], iv: &[u8], data: &mut [u8]) -> Result<Vec<u8>, KeyError>
where
    cbc::Encryptor<C>: KeyIvInit + BlockModeEncrypt,
    C: aes::cipher::BlockCipherEncrypt,
{
    let mut cipher = cbc::Encryptor::<C>::new_from_slices(key, iv).map_err(|_| DERIVED)?;
    let (blocks, []) = aes::cipher::Array::slice_as_chunks_mut(data) else { return Err(DERIVED) };
    cipher.encrypt_blocks(blocks);
    Ok(Vec::new())
}

fn gcm_encrypt<A: KeyInit + AeadInOut>(key: &[u8], iv: &[u8], data: &mut [u8]) -> Result<Vec<u8>, KeyError> {
    let cipher = A::new_from_slice(key).map_err(|_| DERIVED)?;
    let nonce = iv.try_into().map_err(|_| DERIVED)?;
    let tag = cipher.encrypt_inout_detached(nonce, &[], data.into()).map_err(|_| DERIVED)?;
    Ok(tag.to_vec())
}

/// Takes off the padding of PKCS#7 behind whole blocks of `block` bytes; otherwise the passphrase was wrong.
pub(super) fn without_padding(data: &[u8], block: usize) -> Result<&[u8], KeyError> {
    let padding = data.last().copied().unwrap_or(0);
    let at = data.len().checked_sub(usize::from(padding)).ok_or(KeyError::WrongPassphrase)?;
    let (data, tail) = data.split_at_checked(at).ok_or(KeyError::WrongPassphrase)?;
    if padding == 0 || usize::from(padding) > block || tail.iter().any(|b| *b != padding) {
        return Err(KeyError::WrongPassphrase);
    }
    Ok(data)
}
