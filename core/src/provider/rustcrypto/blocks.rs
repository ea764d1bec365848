//! CTR and CBC, packet after packet.

use aes::cipher::array::Array;
use aes::cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, StreamCipher,
};
use ctr::Ctr128BE;

use crate::crypto::BadKey;
use crate::provider::framing::Blocks;

/// RFC 4344 §4: the counter is the whole block, big-endian.
pub(super) type Ctr<C> = Mode<Ctr128BE<C>>;
pub(super) type CbcEncrypt<C> = Mode<cbc::Encryptor<C>>;
pub(super) type CbcDecrypt<C> = Mode<cbc::Decryptor<C>>;

/// A mode of RustCrypto's behind our trait (a foreign type cannot have two blanket impls).
pub(super) struct Mode<M>(M);

/// Making a mode from its key and IV.
pub(super) trait FromSlices: Sized {
    fn from_slices(key: &[u8], iv: &[u8]) -> Result<Self, BadKey>;
}

impl<M: KeyIvInit> FromSlices for Mode<M> {
    fn from_slices(key: &[u8], iv: &[u8]) -> Result<Self, BadKey> {
        M::new_from_slices(key, iv).map(Mode).map_err(|_| BadKey)
    }
}

impl<C> Blocks for Mode<Ctr128BE<C>>
where
    Ctr128BE<C>: StreamCipher + Send,
    C: BlockCipherEncrypt + aes::cipher::BlockSizeUser<BlockSize = aes::cipher::consts::U16>,
{
    fn apply(&mut self, data: &mut [u8]) -> Option<()> {
        self.0.try_apply_keystream(data).ok()
    }
}

impl<C: BlockCipherEncrypt + Send> Blocks for Mode<cbc::Encryptor<C>> {
    fn apply(&mut self, data: &mut [u8]) -> Option<()> {
        let (blocks, rest) = Array::slice_as_chunks_mut(data);
        self.0.encrypt_blocks(blocks);
        rest.is_empty().then_some(())
    }
}

impl<C: BlockCipherDecrypt + Send> Blocks for Mode<cbc::Decryptor<C>> {
    fn apply(&mut self, data: &mut [u8]) -> Option<()> {
        let (blocks, rest) = Array::slice_as_chunks_mut(data);
        self.0.decrypt_blocks(blocks);
        rest.is_empty().then_some(())
    }
}
