//! What the tests of the crypto seam share.
#![allow(dead_code)]

use konko_core::crypto::{Cipher, DirectionKeys, Kex, Mac, Policy, Protection, Provider, Secret, Shape};
use konko_core::{Rng, Seed};

#[path = "../key_fields/mod.rs"]
mod key_fields;
pub use key_fields::*;

/// Every provider of this build.
pub fn providers() -> Vec<&'static dyn Provider> {
    #[cfg(feature = "aws-lc")]
    return vec![konko_core::provider::rustcrypto(), konko_core::provider::aws_lc()];
    #[cfg(not(feature = "aws-lc"))]
    vec![konko_core::provider::rustcrypto()]
}

/// Every key exchange method that a provider can compute.
pub fn methods(provider: &dyn Provider) -> Vec<Kex> {
    let mut algorithms = Policy::Modern.algorithms(true);
    algorithms.kex = Kex::ALL.to_vec();
    algorithms.for_provider(provider).kex.clone()
}

/// Every combination of cipher and MAC that can be negotiated.
pub fn protections() -> Vec<Protection> {
    let mut all = Vec::new();
    for &cipher in Cipher::ALL {
        if cipher.aead() {
            all.push(Protection { cipher, mac: None });
        } else {
            all.extend(Mac::ALL.iter().map(|&mac| Protection { cipher, mac: Some(mac) }));
        }
    }
    all
}

/// `n` bytes that are easy to make in any language.
pub fn pattern(n: usize, salt: u8) -> Vec<u8> {
    (0..n).map(|i| (i as u8).wrapping_mul(7).wrapping_add(salt)).collect()
}

pub fn keys(protection: Protection, key: Vec<u8>, iv: Vec<u8>, mac: Vec<u8>) -> DirectionKeys {
    assert_eq!(key.len(), protection.cipher.key_len());
    DirectionKeys { iv: Secret::new(iv), key: Secret::new(key), mac: Secret::new(mac) }
}

/// The keys of `data/packets.py`.
pub fn pattern_keys(protection: Protection) -> DirectionKeys {
    let mac_len = protection.mac.map_or(0, |mac| mac.key_len());
    let Protection { cipher, .. } = protection;
    keys(protection, pattern(cipher.key_len(), 1), pattern(cipher.iv_len(), 0xf2), pattern(mac_len, 3))
}

/// A packet of `blocks` blocks with room for the tag.
pub fn packet(shape: Shape, blocks: usize) -> Vec<u8> {
    let body = blocks * shape.block - if shape.length_in_block { 4 } else { 0 };
    let mut packet = (body as u32).to_be_bytes().to_vec();
    packet.extend(pattern(body, blocks as u8));
    packet.resize(4 + body + shape.tag, 0);
    packet
}

pub fn rng(seed: u8) -> Rng {
    Rng::from_seed(&Seed::new([seed; 32]))
}

pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

pub fn hex32(text: &str) -> [u8; 32] {
    hex(text).try_into().unwrap()
}

/// An RSA key of `data/rsa.txt`, with OpenSSL's signatures over "konko".
pub struct RsaFixture {
    pub name: &'static str,
    pub n: Vec<u8>,
    pub e: Vec<u8>,
    pub d: Vec<u8>,
    pub p: Vec<u8>,
    pub q: Vec<u8>,
    pub sha512: Vec<u8>,
    pub sha256: Vec<u8>,
    pub sha1: Vec<u8>,
}

impl RsaFixture {
    pub fn all() -> Vec<Self> {
        include_str!("../data/rsa.txt")
            .lines()
            .map(|line| {
                let mut words = line.split(' ');
                let name = words.next().unwrap();
                let mut number = || hex(words.next().unwrap());
                let (n, e, d, p, q) = (number(), number(), number(), number(), number());
                RsaFixture { name, n, e, d, p, q, sha512: number(), sha256: number(), sha1: number() }
            })
            .collect()
    }

    /// No provider needs `iqmp`.
    pub fn private(&self) -> Key {
        let RsaFixture { n, e, d, p, q, .. } = self;
        rsa_private([n, e, d, &[], p, q])
    }

    pub fn public(&self) -> Key {
        rsa(&self.e, &self.n)
    }
}
