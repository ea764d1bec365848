//! Packet framing that does not depend on who computes the cipher: encrypt-and-MAC (RFC 4253 §6.4),
//! encrypt-then-MAC (OpenSSH PROTOCOL §1.5), and the nonce rules of the AEADs.

use hmac::{Hmac, KeyInit};
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

use crate::crypto::{
    BadKey, BadTag, DirectionKeys, HashAlgorithm, Mac, PacketOpener, PacketSealer, Protection, Shape,
};

/// Bytes of the packet length field.
const LENGTH: usize = 4;

/// A block cipher in a mode that carries its state from packet to packet, one direction.
pub(super) trait Blocks: Send {
    /// Transforms `data`, a whole number of blocks, in place. `None` when the mode cannot go on.
    fn apply(&mut self, data: &mut [u8]) -> Option<()>;
}

/// A keyed HMAC. Keying costs two compressions, so it is done once and cloned for each packet.
enum Keyed {
    Md5(Hmac<Md5>),
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha512(Hmac<Sha512>),
}

struct MacKey {
    keyed: Keyed,
    /// Bytes on the wire; fewer than the hash has for `hmac-sha1-96`.
    tag: usize,
}

fn key<M: KeyInit>(bytes: &[u8]) -> Result<M, BadKey> {
    M::new_from_slice(bytes).map_err(|_| BadKey)
}

/// The MAC over `seq || data`, in the front of the array.
fn compute<M: hmac::Mac + Clone>(keyed: &M, seq: u32, data: &[u8]) -> [u8; 64] {
    let mut mac = keyed.clone();
    mac.update(&seq.to_be_bytes());
    mac.update(data);
    let mut out = [0; 64];
    for (to, from) in out.iter_mut().zip(mac.finalize().into_bytes()) {
        *to = from;
    }
    out
}

impl MacKey {
    fn new(mac: Mac, bytes: &[u8]) -> Result<Self, BadKey> {
        if bytes.len() != mac.key_len() {
            return Err(BadKey);
        }
        let keyed = match mac.hash() {
            HashAlgorithm::Md5 => Keyed::Md5(key(bytes)?),
            HashAlgorithm::Sha1 => Keyed::Sha1(key(bytes)?),
            HashAlgorithm::Sha256 => Keyed::Sha256(key(bytes)?),
            HashAlgorithm::Sha512 => Keyed::Sha512(key(bytes)?),
            HashAlgorithm::Sha384 => return Err(BadKey),
        };
        Ok(MacKey { keyed, tag: mac.tag_len() })
    }

    fn compute(&self, seq: u32, data: &[u8]) -> [u8; 64] {
        match &self.keyed {
            Keyed::Md5(m) => compute(m, seq, data),
            Keyed::Sha1(m) => compute(m, seq, data),
            Keyed::Sha256(m) => compute(m, seq, data),
            Keyed::Sha512(m) => compute(m, seq, data),
        }
    }

    fn write(&self, seq: u32, data: &[u8], tag: &mut [u8]) {
        for (to, from) in tag.iter_mut().zip(self.compute(seq, data)) {
            *to = from;
        }
    }

    fn verify(&self, seq: u32, data: &[u8], tag: &[u8]) -> bool {
        let computed = self.compute(seq, data);
        computed.get(..self.tag).is_some_and(|computed| computed.ct_eq(tag).into())
    }
}

/// One direction of a block cipher with a MAC: a sealer if `C` encrypts, an opener if it decrypts.
pub(super) struct WithMac<C> {
    cipher: C,
    mac: MacKey,
    shape: Shape,
    /// Opener of encrypt-and-MAC: the first block of the current packet is decrypted already.
    head_open: bool,
}

impl<C: Blocks> WithMac<C> {
    /// `cipher` is that of `protection`, keyed.
    pub(super) fn new(cipher: C, protection: Protection, keys: &DirectionKeys) -> Result<Self, BadKey> {
        let mac = protection.mac.ok_or(BadKey)?;
        let (etm, block) = (mac.etm(), protection.cipher.block());
        let shape = Shape {
            block: block.max(8),
            tag: mac.tag_len(),
            length_in_block: !etm,
            head: if etm { LENGTH } else { block },
            conceal: protection.cipher.cbc() && !etm,
        };
        Ok(WithMac { cipher, mac: MacKey::new(mac, keys.mac.expose())?, shape, head_open: false })
    }

    /// The packet without its tag, and the tag; `None` if what the cipher covers is not a whole
    /// number of blocks.
    fn split<'p>(&self, packet: &'p mut [u8]) -> Option<(&'p mut [u8], &'p mut [u8])> {
        let clear = if self.shape.length_in_block { 0 } else { LENGTH };
        let end = packet.len().checked_sub(self.shape.tag)?;
        let covered = end.checked_sub(clear)?;
        if covered == 0 || covered.checked_rem(self.shape.block)? != 0 {
            return None;
        }
        packet.split_at_mut_checked(end)
    }

    fn try_seal(&mut self, seq: u32, packet: &mut [u8]) -> Option<()> {
        let (body, tag) = self.split(packet)?;
        if self.shape.length_in_block {
            self.mac.write(seq, body, tag);
            self.cipher.apply(body)
        } else {
            let (_, covered) = body.split_at_mut_checked(LENGTH)?;
            self.cipher.apply(covered)?;
            self.mac.write(seq, body, tag);
            Some(())
        }
    }

    fn try_open(&mut self, seq: u32, packet: &mut [u8]) -> Option<()> {
        let done = if core::mem::take(&mut self.head_open) { self.shape.head } else { 0 };
        let (body, tag) = self.split(packet)?;
        if self.shape.length_in_block {
            let (_, rest) = body.split_at_mut_checked(done)?;
            self.cipher.apply(rest)?;
            self.mac.verify(seq, body, tag).then_some(())
        } else {
            if !self.mac.verify(seq, body, tag) {
                return None;
            }
            let (_, covered) = body.split_at_mut_checked(LENGTH)?;
            self.cipher.apply(covered)
        }
    }
}

impl<C: Blocks> PacketSealer for WithMac<C> {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn seal(&mut self, seq: u32, packet: &mut [u8]) {
        if self.try_seal(seq, packet).is_none() {
            packet.fill(0);
        }
    }
}

impl<C: Blocks> PacketOpener for WithMac<C> {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn length(&mut self, _seq: u32, head: &mut [u8]) -> u32 {
        if self.shape.length_in_block && !self.head_open {
            let Some(block) = head.get_mut(..self.shape.head) else { return 0 };
            if self.cipher.apply(block).is_none() {
                return 0;
            }
            self.head_open = true;
        }
        clear_length(head)
    }

    fn open(&mut self, seq: u32, packet: &mut [u8]) -> Result<(), BadTag> {
        refuse(self.try_open(seq, packet), packet)
    }
}

/// The length field when it is not, or no longer, encrypted; 0 (never legal) if it is not there.
pub(super) fn clear_length(head: &[u8]) -> u32 {
    head.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// Turns a failed open into [`BadTag`] with nothing left to read in the packet (V-14).
pub(super) fn refuse(opened: Option<()>, packet: &mut [u8]) -> Result<(), BadTag> {
    opened.ok_or_else(|| {
        packet.fill(0);
        BadTag
    })
}

/// The layout of AES-GCM packets (RFC 5647 §7.2): the length is in clear and authenticated.
pub(super) const GCM_SHAPE: Shape =
    Shape { block: 16, tag: 16, length_in_block: false, head: LENGTH, conceal: false };

/// The layout of chacha20-poly1305@openssh.com: the length is encrypted with a key of its own.
pub(super) const CHACHA_SHAPE: Shape =
    Shape { block: 8, tag: 16, length_in_block: false, head: LENGTH, conceal: false };

/// AES-GCM nonces: 4 fixed bytes and a 64-bit invocation counter that starts anywhere and counts
/// modulo 2^64 (RFC 5647 §7.1; OpenSSL's `EVP_CTRL_GCM_IV_GEN` does the same).
pub(super) struct GcmNonces {
    fixed: [u8; 4],
    counter: u64,
    /// Invocations left before the counter would come back to where it started.
    left: u64,
}

impl GcmNonces {
    pub(super) fn new(iv: &[u8]) -> Result<Self, BadKey> {
        let iv: &[u8; 12] = iv.try_into().map_err(|_| BadKey)?;
        let [a, b, c, d, counter @ ..] = *iv;
        Ok(GcmNonces { fixed: [a, b, c, d], counter: u64::from_be_bytes(counter), left: u64::MAX })
    }

    /// The next nonce; `None` rather than one that was used before.
    pub(super) fn next(&mut self) -> Option<[u8; 12]> {
        self.left = self.left.checked_sub(1)?;
        let [a, b, c, d] = self.fixed;
        let [e, f, g, h, i, j, k, l] = self.counter.to_be_bytes();
        self.counter = self.counter.wrapping_add(1);
        Some([a, b, c, d, e, f, g, h, i, j, k, l])
    }
}

/// Sequence numbers as nonces: each at most once for a key, so only ever forward, and at most
/// once around the circle.
#[derive(Default)]
pub(super) struct SeqNonces(Option<(u32, u32)>);

impl SeqNonces {
    /// Whether `seq` may be used; remembers that it was.
    pub(super) fn take(&mut self, seq: u32) -> bool {
        match &mut self.0 {
            None => self.0 = Some((seq, 0)),
            Some((first, last)) => {
                let distance = seq.wrapping_sub(*first);
                if distance <= *last {
                    return false;
                }
                *last = distance;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v18_gcm_nonces_count_modulo_2_64_and_never_repeat() {
        let mut iv = [7u8; 12];
        iv[4..].copy_from_slice(&(u64::MAX - 1).to_be_bytes());
        let mut nonces = GcmNonces::new(&iv).unwrap();
        let counters: std::vec::Vec<u64> = (0..4)
            .map(|_| {
                let nonce = nonces.next().unwrap();
                assert_eq!(nonce[..4], [7; 4]);
                u64::from_be_bytes(nonce[4..].try_into().unwrap())
            })
            .collect();
        assert_eq!(counters, [u64::MAX - 1, u64::MAX, 0, 1]);
        nonces.left = 1;
        assert!(nonces.next().is_some());
        assert_eq!(nonces.next(), None);
        assert_eq!(nonces.next(), None);
    }

    #[test]
    fn v19_a_sequence_number_is_a_nonce_at_most_once() {
        let mut nonces = SeqNonces::default();
        for seq in [u32::MAX - 1, u32::MAX, 0, 1, 9] {
            assert!(nonces.take(seq));
            assert!(!nonces.take(seq));
        }
        assert!(!nonces.take(8), "backwards");
        assert!(nonces.take(u32::MAX - 2), "the last of the circle");
        assert!(!nonces.take(u32::MAX - 1), "around the circle");
    }
}
