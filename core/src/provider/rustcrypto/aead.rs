//! AES-GCM (RFC 5647, OpenSSH PROTOCOL §1.6) and chacha20-poly1305@openssh.com.

use aes_gcm::aead::consts::{U12, U16};
use aes_gcm::{AeadInOut, KeyInit};
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use poly1305::Poly1305;
use poly1305::universal_hash::UniversalHash;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::crypto::{BadKey, BadTag, PacketOpener, PacketSealer, Shape};
use crate::provider::framing::{CHACHA_SHAPE, GCM_SHAPE, GcmNonces, SeqNonces, clear_length, refuse};

/// One direction of AES-GCM.
pub(super) struct Gcm<A> {
    aead: A,
    nonces: GcmNonces,
}

pub(super) fn gcm<A: KeyInit>(key: &[u8], iv: &[u8]) -> Result<Gcm<A>, BadKey> {
    let aead = A::new_from_slice(key).map_err(|_| BadKey)?;
    Ok(Gcm { aead, nonces: GcmNonces::new(iv)? })
}

impl<A: AeadInOut<NonceSize = U12, TagSize = U16>> Gcm<A> {
    fn try_seal(&mut self, packet: &mut [u8]) -> Option<()> {
        let (packet, tag) = packet.split_last_chunk_mut::<16>()?;
        let (length, body) = packet.split_first_chunk_mut::<4>()?;
        let nonce = self.nonces.next()?;
        *tag = self.aead.encrypt_inout_detached(&nonce.into(), length, body.into()).ok()?.into();
        Some(())
    }

    fn try_open(&mut self, packet: &mut [u8]) -> Option<()> {
        // Counted for every packet, good or bad, as the peer counts.
        let nonce = self.nonces.next()?;
        let (packet, tag) = packet.split_last_chunk_mut::<16>()?;
        let (length, body) = packet.split_first_chunk_mut::<4>()?;
        self.aead.decrypt_inout_detached(&nonce.into(), length, body.into(), &(*tag).into()).ok()
    }
}

impl<A: AeadInOut<NonceSize = U12, TagSize = U16> + Send> PacketSealer for Gcm<A> {
    fn shape(&self) -> Shape {
        GCM_SHAPE
    }

    fn seal(&mut self, _seq: u32, packet: &mut [u8]) {
        if self.try_seal(packet).is_none() {
            packet.fill(0);
        }
    }
}

impl<A: AeadInOut<NonceSize = U12, TagSize = U16> + Send> PacketOpener for Gcm<A> {
    fn shape(&self) -> Shape {
        GCM_SHAPE
    }

    fn length(&mut self, _seq: u32, head: &mut [u8]) -> u32 {
        clear_length(head)
    }

    fn open(&mut self, _seq: u32, packet: &mut [u8]) -> Result<(), BadTag> {
        refuse(self.try_open(packet), packet)
    }
}

/// One direction of chacha20-poly1305@openssh.com.
///
/// The nonce is the sequence number as 64 bits, the block counter 64 bits before it. The IETF
/// layout (32-bit counter, 96-bit nonce) with four zero bytes in front gives the same stream.
pub(super) struct OpensshChaCha {
    /// `K_2`, the first half of the key material: payload and Poly1305 key.
    body: Zeroizing<[u8; 32]>,
    /// `K_1`, the second half: the length.
    length: Zeroizing<[u8; 32]>,
    /// Sealing only.
    nonces: SeqNonces,
}

impl OpensshChaCha {
    pub(super) fn new(key: &[u8]) -> Result<Self, BadKey> {
        let key: &[u8; 64] = key.try_into().map_err(|_| BadKey)?;
        let (body, rest) = key.split_first_chunk::<32>().ok_or(BadKey)?;
        let length = rest.first_chunk::<32>().ok_or(BadKey)?;
        Ok(OpensshChaCha {
            body: Zeroizing::new(*body),
            length: Zeroizing::new(*length),
            nonces: SeqNonces::default(),
        })
    }

    /// The payload's stream at block 1, and Poly1305 keyed from block 0.
    fn start(&self, seq: u32) -> Option<(ChaCha20, Poly1305)> {
        let mut stream = stream(&self.body, seq);
        let mut block = [0u8; 64];
        stream.try_apply_keystream(&mut block).ok()?;
        let mac = block.first_chunk::<32>().map(|key| Poly1305::new(&(*key).into()));
        block.zeroize();
        Some((stream, mac?))
    }

    fn try_seal(&mut self, seq: u32, packet: &mut [u8]) -> Option<()> {
        let (packet, tag) = packet.split_last_chunk_mut::<16>()?;
        let (length, body) = packet.split_first_chunk_mut::<4>()?;
        if !self.nonces.take(seq) {
            return None;
        }
        let (mut payload, mac) = self.start(seq)?;
        payload.try_apply_keystream(body).ok()?;
        stream(&self.length, seq).try_apply_keystream(&mut length[..]).ok()?;
        *tag = poly1305(mac, packet);
        Some(())
    }

    fn try_open(&mut self, seq: u32, packet: &mut [u8]) -> Option<()> {
        let (packet, tag) = packet.split_last_chunk_mut::<16>()?;
        let (mut payload, mac) = self.start(seq)?;
        if !bool::from(poly1305(mac, packet).ct_eq(&tag[..])) {
            return None;
        }
        let (length, body) = packet.split_first_chunk_mut::<4>()?;
        // What is authenticated is as long as its length field says, so no block for that again.
        *length = u32::try_from(body.len()).ok()?.to_be_bytes();
        payload.try_apply_keystream(body).ok()
    }
}

fn stream(key: &[u8; 32], seq: u32) -> ChaCha20 {
    let [a, b, c, d] = seq.to_be_bytes();
    ChaCha20::new(key.into(), &[0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d].into())
}

/// Poly1305 over `data`, unpadded. Whole blocks go through `update`, which uses wide SIMD.
fn poly1305(mut mac: Poly1305, data: &[u8]) -> [u8; 16] {
    let (blocks, tail) = poly1305::Block::slice_as_chunks(data);
    mac.update(blocks);
    mac.compute_unpadded(tail).into()
}

impl PacketSealer for OpensshChaCha {
    fn shape(&self) -> Shape {
        CHACHA_SHAPE
    }

    fn seal(&mut self, seq: u32, packet: &mut [u8]) {
        if self.try_seal(seq, packet).is_none() {
            packet.fill(0);
        }
    }
}

impl PacketOpener for OpensshChaCha {
    fn shape(&self) -> Shape {
        CHACHA_SHAPE
    }

    fn length(&mut self, seq: u32, head: &mut [u8]) -> u32 {
        let Some(mut length) = head.first_chunk::<4>().copied() else { return 0 };
        match stream(&self.length, seq).try_apply_keystream(&mut length[..]) {
            Ok(()) => u32::from_be_bytes(length),
            Err(_) => 0,
        }
    }

    fn open(&mut self, seq: u32, packet: &mut [u8]) -> Result<(), BadTag> {
        refuse(self.try_open(seq, packet), packet)
    }
}
