//! The native provider: AWS-LC where it is faster *and* gives the same bytes.
//!
//! AWS-LC has a generator of its own, so what needs randomness (ephemeral scalars, ML-KEM, ECDSA
//! nonces) stays with the portable provider or gets its randomness from [`Rng`]. Measured no
//! faster and left there too: hashes and HMAC (both use the SHA instructions), Ed25519 verification
//! (and `verify_strict` refuses more). What AWS-LC refuses for its own reasons (RSA moduli outside
//! 2048..=8192 bits, SHA-1 signing) falls back, so that both providers accept the same.

use alloc::boxed::Box;
use alloc::vec::Vec;

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey, chacha20_poly1305_openssh as openssh,
};
use aws_lc_rs::cipher::{AES_128, AES_192, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::{agreement, signature};

use super::framing::{Blocks, CHACHA_SHAPE, GCM_SHAPE, GcmNonces, SeqNonces, WithMac, clear_length, refuse};
use super::rustcrypto::{
    Ed25519, PortableRsa, RUSTCRYPTO, RsaKey, blinding, check_keys, draw_scalar, ecdsa_signer, full_length,
    point, rsa_numbers, uncompressed,
};
use super::signer::{RawSigner, checked};
use crate::crypto::fields::{RsaPrivate, RsaPublic};
use crate::crypto::{
    BadKey, BadPublicValue, BadSignature, BadTag, Cipher, Curve, DirectionKeys, Hash, HashAlgorithm, Kem,
    PacketOpener, PacketSealer, Protection, Provider, Scheme, Secret, Shape, Signer,
};
use crate::rng::Rng;

/// The native provider (feature `aws-lc`).
#[derive(Clone, Copy, Debug, Default)]
pub struct AwsLc;

/// The one value of [`AwsLc`].
pub static AWS_LC: AwsLc = AwsLc;

/// The native provider, ready for a configuration.
pub fn aws_lc() -> &'static dyn Provider {
    &AWS_LC
}

impl Provider for AwsLc {
    fn name(&self) -> &'static str {
        "aws-lc"
    }

    fn fast_aes(&self) -> bool {
        super::hardware_aes()
    }

    fn sealer(&self, protection: Protection, keys: &DirectionKeys) -> Result<Box<dyn PacketSealer>, BadKey> {
        check_keys(protection, keys)?;
        Ok(match protection.cipher {
            Cipher::Aes128Gcm | Cipher::Aes256Gcm => Box::new(Gcm::new(keys)?),
            Cipher::ChaCha20Poly1305 => Box::new(ChaChaSealer::new(keys)?),
            Cipher::Aes128Ctr | Cipher::Aes192Ctr | Cipher::Aes256Ctr => {
                Box::new(WithMac::new(Ctr::new(keys)?, protection, keys)?)
            }
            _ => return RUSTCRYPTO.sealer(protection, keys),
        })
    }

    fn opener(&self, protection: Protection, keys: &DirectionKeys) -> Result<Box<dyn PacketOpener>, BadKey> {
        check_keys(protection, keys)?;
        Ok(match protection.cipher {
            Cipher::Aes128Gcm | Cipher::Aes256Gcm => Box::new(Gcm::new(keys)?),
            Cipher::ChaCha20Poly1305 => Box::new(ChaChaOpener::new(keys)?),
            Cipher::Aes128Ctr | Cipher::Aes192Ctr | Cipher::Aes256Ctr => {
                Box::new(WithMac::new(Ctr::new(keys)?, protection, keys)?)
            }
            _ => return RUSTCRYPTO.opener(protection, keys),
        })
    }

    fn hash(&self, algorithm: HashAlgorithm) -> Box<dyn Hash> {
        RUSTCRYPTO.hash(algorithm)
    }

    fn x25519_public(&self, secret: &[u8; 32]) -> [u8; 32] {
        public_point(&agreement::X25519, secret)
            .and_then(|point| point.try_into().ok())
            .unwrap_or_else(|| RUSTCRYPTO.x25519_public(secret))
    }

    fn x25519(&self, secret: &[u8; 32], peer: &[u8; 32]) -> Result<Secret, BadPublicValue> {
        // AWS-LC refuses an all-zero result too.
        agree(&agreement::X25519, secret, peer)
    }

    fn ecdh_generate(&self, curve: Curve, rng: &mut Rng) -> (Secret, Vec<u8>) {
        let scalar = draw_scalar(curve, rng);
        let public = public_point(ecdh_algorithm(curve), &scalar);
        (Secret::copy_of(&scalar), public.unwrap_or_default())
    }

    fn ecdh(&self, curve: Curve, secret: &Secret, peer: &[u8]) -> Result<Secret, BadPublicValue> {
        // AWS-LC takes compressed, hybrid and DER-wrapped points as well; we do not.
        if !uncompressed(curve, peer) {
            return Err(BadPublicValue);
        }
        agree(ecdh_algorithm(curve), secret.expose(), peer)
    }

    fn kems(&self) -> &'static [Kem] {
        RUSTCRYPTO.kems()
    }

    fn kem_generate(&self, kem: Kem, seed: &[u8; 64]) -> Result<(Secret, Vec<u8>), BadPublicValue> {
        RUSTCRYPTO.kem_generate(kem, seed)
    }

    fn kem_encapsulate(
        &self,
        kem: Kem,
        public: &[u8],
        m: &[u8; 32],
    ) -> Result<(Vec<u8>, Secret), BadPublicValue> {
        RUSTCRYPTO.kem_encapsulate(kem, public, m)
    }

    fn kem_decapsulate(
        &self,
        kem: Kem,
        private: &Secret,
        ciphertext: &[u8],
    ) -> Result<Secret, BadPublicValue> {
        RUSTCRYPTO.kem_decapsulate(kem, private, ciphertext)
    }

    fn modexp(&self, p: &[u8], base: &[u8], exponent: &Secret) -> Result<Secret, BadPublicValue> {
        RUSTCRYPTO.modexp(p, base, exponent)
    }

    fn safe_prime(&self, p: &[u8]) -> Option<bool> {
        RUSTCRYPTO.safe_prime(p)
    }

    fn schemes(&self) -> &'static [&'static dyn Scheme] {
        &[&Ed25519, &Ecdsa(Curve::P256), &Ecdsa(Curve::P384), &Ecdsa(Curve::P521), &Rsa]
    }
}

/// One direction of AES-GCM.
struct Gcm {
    key: LessSafeKey,
    nonces: GcmNonces,
}

impl Gcm {
    fn new(keys: &DirectionKeys) -> Result<Self, BadKey> {
        let bytes = keys.key.expose();
        let algorithm = if bytes.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
        let key = UnboundKey::new(algorithm, bytes).map_err(|_| BadKey)?;
        Ok(Gcm { key: LessSafeKey::new(key), nonces: GcmNonces::new(keys.iv.expose())? })
    }

    fn try_seal(&mut self, packet: &mut [u8]) -> Option<()> {
        let (packet, tag) = packet.split_last_chunk_mut::<16>()?;
        let (length, body) = packet.split_first_chunk_mut::<4>()?;
        let nonce = Nonce::assume_unique_for_key(self.nonces.next()?);
        let computed = self.key.seal_in_place_separate_tag(nonce, Aad::from(&*length), body).ok()?;
        *tag = computed.as_ref().try_into().ok()?;
        Some(())
    }

    fn try_open(&mut self, packet: &mut [u8]) -> Option<()> {
        // Counted for every packet, good or bad, as the peer counts.
        let nonce = Nonce::assume_unique_for_key(self.nonces.next()?);
        let (packet, tag) = packet.split_last_chunk_mut::<16>()?;
        let (length, body) = packet.split_first_chunk_mut::<4>()?;
        self.key.open_in_place_separate_tag(nonce, Aad::from(&*length), &tag[..], body).ok().map(drop)
    }
}

impl PacketSealer for Gcm {
    fn shape(&self) -> Shape {
        GCM_SHAPE
    }

    fn seal(&mut self, _seq: u32, packet: &mut [u8]) {
        if self.try_seal(packet).is_none() {
            packet.fill(0);
        }
    }
}

impl PacketOpener for Gcm {
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

struct ChaChaSealer {
    key: openssh::SealingKey,
    nonces: SeqNonces,
}

impl ChaChaSealer {
    fn new(keys: &DirectionKeys) -> Result<Self, BadKey> {
        let key = keys.key.expose().try_into().map_err(|_| BadKey)?;
        Ok(ChaChaSealer { key: openssh::SealingKey::new(key), nonces: SeqNonces::default() })
    }

    fn try_seal(&mut self, seq: u32, packet: &mut [u8]) -> Option<()> {
        let (packet, tag) = packet.split_last_chunk_mut::<16>()?;
        // The library indexes past the length.
        if packet.len() < openssh::PACKET_LENGTH_LEN || !self.nonces.take(seq) {
            return None;
        }
        self.key.seal_in_place(seq, packet, tag);
        Some(())
    }
}

impl PacketSealer for ChaChaSealer {
    fn shape(&self) -> Shape {
        CHACHA_SHAPE
    }

    fn seal(&mut self, seq: u32, packet: &mut [u8]) {
        if self.try_seal(seq, packet).is_none() {
            packet.fill(0);
        }
    }
}

struct ChaChaOpener(openssh::OpeningKey);

impl ChaChaOpener {
    fn new(keys: &DirectionKeys) -> Result<Self, BadKey> {
        let key = keys.key.expose().try_into().map_err(|_| BadKey)?;
        Ok(ChaChaOpener(openssh::OpeningKey::new(key)))
    }

    fn try_open(&mut self, seq: u32, packet: &mut [u8]) -> Option<()> {
        let (packet, tag) = packet.split_last_chunk_mut::<16>()?;
        let len = u32::try_from(packet.len().checked_sub(openssh::PACKET_LENGTH_LEN)?).ok()?;
        self.0.open_in_place(seq, packet, tag).ok()?;
        // It leaves the length encrypted; what is authenticated is as long as that says.
        *packet.first_chunk_mut::<4>()? = len.to_be_bytes();
        Some(())
    }
}

impl PacketOpener for ChaChaOpener {
    fn shape(&self) -> Shape {
        CHACHA_SHAPE
    }

    fn length(&mut self, seq: u32, head: &mut [u8]) -> u32 {
        head.first_chunk().map_or(0, |bytes| u32::from_be_bytes(self.0.decrypt_packet_length(seq, *bytes)))
    }

    fn open(&mut self, seq: u32, packet: &mut [u8]) -> Result<(), BadTag> {
        refuse(self.try_open(seq, packet), packet)
    }
}

/// AES-CTR. The library has no stream that works in place, but packets are whole blocks, so each
/// is one message that starts at the counter where the last one ended.
struct Ctr {
    key: EncryptingKey,
    counter: u128,
}

impl Ctr {
    fn new(keys: &DirectionKeys) -> Result<Self, BadKey> {
        let bytes = keys.key.expose();
        let algorithm = match bytes.len() {
            16 => &AES_128,
            24 => &AES_192,
            _ => &AES_256,
        };
        let key = UnboundCipherKey::new(algorithm, bytes).and_then(EncryptingKey::ctr).map_err(|_| BadKey)?;
        let iv = keys.iv.expose().try_into().map_err(|_| BadKey)?;
        Ok(Ctr { key, counter: u128::from_be_bytes(iv) })
    }
}

impl Blocks for Ctr {
    fn apply(&mut self, data: &mut [u8]) -> Option<()> {
        let context = EncryptionContext::Iv128((&self.counter.to_be_bytes()).into());
        let blocks = u128::try_from(data.len()).ok()?.checked_div(16)?;
        self.counter = self.counter.wrapping_add(blocks);
        self.key.less_safe_encrypt(data, context).ok().map(drop)
    }
}

fn ecdh_algorithm(curve: Curve) -> &'static agreement::Algorithm {
    match curve {
        Curve::P256 => &agreement::ECDH_P256,
        Curve::P384 => &agreement::ECDH_P384,
        Curve::P521 => &agreement::ECDH_P521,
    }
}

fn public_point(algorithm: &'static agreement::Algorithm, secret: &[u8]) -> Option<Vec<u8>> {
    let key = agreement::PrivateKey::from_private_key(algorithm, secret).ok()?;
    Some(key.compute_public_key().ok()?.as_ref().to_vec())
}

fn agree(
    algorithm: &'static agreement::Algorithm,
    secret: &[u8],
    peer: &[u8],
) -> Result<Secret, BadPublicValue> {
    let key = agreement::PrivateKey::from_private_key(algorithm, secret).map_err(|_| BadPublicValue)?;
    let peer = agreement::UnparsedPublicKey::new(algorithm, peer);
    agreement::agree(&key, peer, BadPublicValue, |shared| Ok(Secret::copy_of(shared)))
}

/// Signing stays with the portable provider, whose nonces are RFC 6979.
struct Ecdsa(Curve);

impl Scheme for Ecdsa {
    fn key_type(&self) -> &'static str {
        self.0.key_type()
    }

    fn verify(
        &self,
        hash: Option<HashAlgorithm>,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        let algorithm = match self.0 {
            Curve::P256 => &signature::ECDSA_P256_SHA256_FIXED,
            Curve::P384 => &signature::ECDSA_P384_SHA384_FIXED,
            Curve::P521 => &signature::ECDSA_P521_SHA512_FIXED,
        };
        let point = point(self.0, hash, key).ok_or(BadSignature)?;
        signature::UnparsedPublicKey::new(algorithm, point)
            .verify(message, signature)
            .map_err(|_| BadSignature)
    }

    fn signer(&'static self, key: &[u8]) -> Result<Box<dyn Signer>, BadKey> {
        ecdsa_signer(self.0, key, self)
    }
}

struct Rsa;

impl Scheme for Rsa {
    fn key_type(&self) -> &'static str {
        PortableRsa.key_type()
    }

    fn verify(
        &self,
        hash: Option<HashAlgorithm>,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        let parameters = match hash {
            Some(HashAlgorithm::Sha512) => &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
            Some(HashAlgorithm::Sha256) => &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
            Some(HashAlgorithm::Sha1) => &signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
            _ => return Err(BadSignature),
        };
        let RsaPublic { e, n } = rsa_numbers(key).ok_or(BadSignature)?;
        if n.len() > 8192 / 8 {
            return PortableRsa.verify(hash, key, message, signature);
        }
        let signature = full_length(signature, n.len()).ok_or(BadSignature)?;
        PublicKeyComponents { n, e }.verify(parameters, message, &signature).map_err(|_| BadSignature)
    }

    fn signer(&'static self, key: &[u8]) -> Result<Box<dyn Signer>, BadKey> {
        let key = RsaSigner::new(key)?;
        let public = key.portable.public();
        Ok(checked(key, public, self))
    }
}

/// An RSA key, native where the library takes it.
struct RsaSigner {
    native: Option<KeyPair>,
    portable: RsaKey,
}

impl RsaSigner {
    fn new(key: &[u8]) -> Result<Self, BadKey> {
        let fields = RsaPrivate::parse(key).ok_or(BadKey)?;
        let portable = RsaKey::new(&fields)?;
        let [dp, dq, q_inv] = portable.crt().ok_or(BadKey)?;
        let native = KeyPair::from_components(&KeyPairComponents {
            public_key: PublicKeyComponents { n: fields.n, e: fields.e },
            d: fields.d,
            p: fields.p,
            q: fields.q,
            dP: &dp[..],
            dQ: &dq[..],
            qInv: &q_inv[..],
        });
        Ok(RsaSigner { native: native.ok(), portable })
    }
}

impl RawSigner for RsaSigner {
    fn sign(&self, hash: Option<HashAlgorithm>, message: &[u8], rng: &mut Rng) -> Result<Vec<u8>, BadKey> {
        let padding = match hash {
            Some(HashAlgorithm::Sha512) => &signature::RSA_PKCS1_SHA512,
            Some(HashAlgorithm::Sha256) => &signature::RSA_PKCS1_SHA256,
            _ => return self.portable.sign(hash, message, rng),
        };
        let Some(native) = &self.native else { return self.portable.sign(hash, message, rng) };
        // The library blinds with its own generator, which does not show in the signature.
        drop(blinding(rng));
        let mut out = alloc::vec![0; native.public_modulus_len()];
        native.sign(padding, &SystemRandom::new(), message, &mut out).map_err(|_| BadKey)?;
        Ok(out)
    }
}
