//! Every real packet protection: nothing opens but what was sealed, and that comes out as it was.

use konko_core::crypto::{Cipher, DirectionKeys, Mac, PacketOpener, Protection, Provider, Secret};
use konko_core::provider;

use crate::input::Input;

/// Every cipher with every MAC that can go with it.
pub fn protections() -> Vec<Protection> {
    let mut all = Vec::new();
    for cipher in Cipher::ALL.iter().copied() {
        if cipher.aead() {
            all.push(Protection { cipher, mac: None });
        } else {
            all.extend(Mac::ALL.iter().map(|mac| Protection { cipher, mac: Some(*mac) }));
        }
    }
    all
}

fn keys(p: Protection, fill: u8) -> DirectionKeys {
    let key = |len: usize, salt: u8| {
        let bytes: Vec<u8> = (0..len).map(|i| (i as u8).wrapping_mul(37) ^ fill ^ salt).collect();
        Secret::copy_of(&bytes)
    };
    DirectionKeys {
        iv: key(p.cipher.iv_len(), 1),
        key: key(p.cipher.key_len(), 2),
        mac: key(p.mac.map_or(0, |m| m.key_len()), 3),
    }
}

fn opener(provider: &dyn Provider, p: Protection, fill: u8) -> Box<dyn PacketOpener> {
    provider.opener(p, &keys(p, fill)).expect("keys have the lengths the algorithms ask for")
}

/// The target `packets`.
pub fn packets(data: &[u8]) {
    let mut input = Input::new(data);
    let all = protections();
    let p = all[usize::from(input.byte()) % all.len()];
    let (fill, provider) = (input.byte(), provider::rustcrypto());
    let seq = input.u32();
    if input.byte() & 1 == 0 {
        arbitrary(&mut *opener(provider, p, fill), seq, input.rest());
    } else {
        sealed(provider, p, fill, seq, &mut input);
    }
}

/// Bytes that nobody sealed.
fn arbitrary(opener: &mut dyn PacketOpener, mut seq: u32, bytes: &[u8]) {
    let shape = opener.shape();
    let mut rest = bytes.to_vec();
    for _ in 0..8 {
        let Some(head) = rest.get_mut(..shape.head) else { return };
        let total = (opener.length(seq, head) as usize).saturating_add(4 + shape.tag);
        // A short or overlong claim is the caller's to refuse; opening it must fail all the same.
        let total = total.clamp(shape.head, rest.len());
        let mut packet: Vec<u8> = rest.drain(..total).collect();
        assert!(opener.open(seq, &mut packet).is_err(), "arbitrary bytes opened");
        assert!(packet.iter().all(|b| *b == 0), "something is left of a packet that did not open");
        seq = seq.wrapping_add(1);
    }
}

/// A sealed packet, as it is and with one change.
fn sealed(provider: &dyn Provider, p: Protection, fill: u8, seq: u32, input: &mut Input<'_>) {
    let mut sealer = provider.sealer(p, &keys(p, fill)).expect("as above");
    let shape = sealer.shape();
    let (change, at) = (input.byte(), usize::from(input.u16()));
    let mut body = input.rest().to_vec();
    body.truncate(4000);
    // Length, whole blocks, room for the tag.
    let counted = if shape.length_in_block { 4 } else { 0 };
    while body.is_empty() || !(body.len() + counted).is_multiple_of(shape.block) {
        body.push(0);
    }
    let mut plain = (body.len() as u32).to_be_bytes().to_vec();
    plain.extend_from_slice(&body);
    if plain.len() < shape.head {
        return;
    }
    let mut packet = plain.clone();
    packet.resize(plain.len() + shape.tag, 0);
    sealer.seal(seq, &mut packet);
    let mut genuine = packet.clone();
    let mut o = opener(provider, p, fill);
    assert_eq!(o.length(seq, &mut genuine[..shape.head]) as usize, body.len());
    assert!(o.open(seq, &mut genuine).is_ok(), "{p:?}");
    assert!(genuine[4..plain.len()] == body[..], "{p:?} opened to something else");

    let mut o = opener(provider, p, fill);
    let mut forged = packet;
    let at = at % forged.len();
    forged[at] ^= change;
    // Another packet number is a forgery too, but only where the number is part of it (GCM counts
    // by itself).
    if change != 0 {
        let length = o.length(seq, &mut forged[..shape.head]) as usize;
        if length == body.len() || shape.length_in_block {
            assert!(o.open(seq, &mut forged).is_err(), "{p:?}: a change at {at} went unseen");
            assert!(forged.iter().all(|b| *b == 0));
        }
    }
}
