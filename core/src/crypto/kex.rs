//! Key exchange methods composed from a provider's primitives. Pure: bytes in, bytes out.

use alloc::vec::Vec;

use super::{BadPublicValue, Curve, Kex, Provider, Secret, SharedSecret, groups};
use crate::rng::Rng;
use crate::wire::minimal;

/// Bytes of an ML-KEM-768 encapsulation key and ciphertext (FIPS 203).
const MLKEM_PUBLIC: usize = 1184;
const MLKEM_CIPHERTEXT: usize = 1088;

/// Bytes of exponent for finite-field Diffie-Hellman: twice the strength the hash can carry,
/// never below 512 bits (OpenSSH `dh_gen_key`).
const EXPONENT: usize = 64;

/// One side's ephemeral secret while the exchange runs. Dropped, and wiped, when it is done.
pub struct Ephemeral(Inner);

enum Inner {
    X25519(Secret),
    Ecdh(Curve, Secret),
    Hybrid { kem: Secret, x25519: Secret },
    Dh { p: Vec<u8>, x: Secret },
}

impl core::fmt::Debug for Ephemeral {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Ephemeral(..)")
    }
}

/// A public value as it goes into the packet and the exchange hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicValue {
    /// `string` (curves and hybrids).
    String(Vec<u8>),
    /// `mpint` (finite-field Diffie-Hellman): minimal big-endian magnitude.
    Mpint(Vec<u8>),
}

impl PublicValue {
    /// Appends the value in its encoding.
    pub fn put<S: crate::wire::Sink + ?Sized>(&self, out: &mut S) {
        match self {
            Self::String(bytes) => out.put_string(bytes),
            Self::Mpint(magnitude) => out.put_mpint(magnitude),
        }
    }
}

impl Ephemeral {
    /// Starts the client's side of a method without group exchange.
    ///
    /// # Errors
    ///
    /// [`BadPublicValue`] for a provider that cannot compute in the group.
    pub fn client(
        kex: Kex,
        rng: &mut Rng,
        provider: &dyn Provider,
    ) -> Result<(Self, PublicValue), BadPublicValue> {
        if let Some(group) = groups::fixed(kex) {
            return Self::dh(group.p, group.g, rng, provider);
        }
        match kex {
            Kex::MlKem768X25519Sha256 => {
                let kem = Secret::copy_of(&zeroize::Zeroizing::new(rng.array::<64>())[..]);
                let x = Secret::copy_of(&zeroize::Zeroizing::new(rng.array::<32>())[..]);
                let mut public = provider.mlkem768_public(seed(&kem)?);
                public.extend_from_slice(&provider.x25519_public(scalar(&x)?));
                Ok((Ephemeral(Inner::Hybrid { kem, x25519: x }), PublicValue::String(public)))
            }
            Kex::EcdhNistp256 => Ok(Self::ecdh(Curve::P256, rng, provider)),
            Kex::EcdhNistp384 => Ok(Self::ecdh(Curve::P384, rng, provider)),
            Kex::EcdhNistp521 => Ok(Self::ecdh(Curve::P521, rng, provider)),
            _ => {
                let x = Secret::copy_of(&zeroize::Zeroizing::new(rng.array::<32>())[..]);
                let public = provider.x25519_public(scalar(&x)?).to_vec();
                Ok((Ephemeral(Inner::X25519(x)), PublicValue::String(public)))
            }
        }
    }

    /// Starts one side of finite-field Diffie-Hellman in a given group.
    ///
    /// # Errors
    ///
    /// [`BadPublicValue`] for a group that the provider cannot compute in: an even or too large prime.
    pub fn dh(
        p: &[u8],
        g: &[u8],
        rng: &mut Rng,
        provider: &dyn Provider,
    ) -> Result<(Self, PublicValue), BadPublicValue> {
        // 512 random bits with the top bit set: never zero, never short.
        let mut exponent = zeroize::Zeroizing::new(rng.array::<EXPONENT>());
        if let Some(top) = exponent.first_mut() {
            *top |= 0x80;
        }
        let x = Secret::copy_of(&exponent[..]);
        let public = provider.modexp(p, g, &x)?;
        let inner = Inner::Dh { p: minimal(p).to_vec(), x };
        Ok((Ephemeral(inner), PublicValue::Mpint(minimal(public.expose()).to_vec())))
    }

    fn ecdh(curve: Curve, rng: &mut Rng, provider: &dyn Provider) -> (Self, PublicValue) {
        let (secret, public) = provider.ecdh_generate(curve, rng);
        (Ephemeral(Inner::Ecdh(curve, secret)), PublicValue::String(public))
    }

    /// Completes the exchange with the peer's public value.
    ///
    /// # Errors
    ///
    /// [`BadPublicValue`] for a value of the peer that is out of range, not on the curve, of the wrong length, or that
    /// gives a shared secret which is no secret.
    pub fn finish(self, peer: &PublicValue, provider: &dyn Provider) -> Result<SharedSecret, BadPublicValue> {
        match (self.0, peer) {
            (Inner::X25519(x), PublicValue::String(point)) => {
                let k = provider.x25519(scalar(&x)?, &fixed(point)?)?;
                Ok(SharedSecret::mpint(&k))
            }
            (Inner::Ecdh(curve, secret), PublicValue::String(point)) => {
                Ok(SharedSecret::mpint(&provider.ecdh(curve, &secret, point)?))
            }
            (Inner::Hybrid { kem, x25519 }, PublicValue::String(reply)) => {
                let (ciphertext, point) = reply.split_at_checked(MLKEM_CIPHERTEXT).ok_or(BadPublicValue)?;
                let classic = provider.x25519(scalar(&x25519)?, &fixed(point)?)?;
                let quantum = provider.mlkem768_decapsulate(seed(&kem)?, ciphertext)?;
                Ok(hybrid_secret(provider, &quantum, &classic))
            }
            (Inner::Dh { p, x }, PublicValue::Mpint(value)) => {
                check_dh_public(&p, value)?;
                let k = provider.modexp(&p, value, &x)?;
                // RFC 4419 §3: a group that is no safe prime may have elements of small order.
                if !inside(&p, k.expose()) {
                    return Err(BadPublicValue);
                }
                Ok(SharedSecret::mpint(&k))
            }
            _ => Err(BadPublicValue),
        }
    }
}

/// The server's side of a method without group exchange: its public value and the secret.
///
/// # Errors
///
/// Those of [`Ephemeral::finish`].
pub fn respond(
    kex: Kex,
    client: &PublicValue,
    rng: &mut Rng,
    provider: &dyn Provider,
) -> Result<(PublicValue, SharedSecret), BadPublicValue> {
    if kex == Kex::MlKem768X25519Sha256 {
        let PublicValue::String(init) = client else { return Err(BadPublicValue) };
        let (public, point) = init.split_at_checked(MLKEM_PUBLIC).ok_or(BadPublicValue)?;
        let x = Secret::copy_of(&zeroize::Zeroizing::new(rng.array::<32>())[..]);
        let classic = provider.x25519(scalar(&x)?, &fixed(point)?)?;
        let m = zeroize::Zeroizing::new(rng.array::<32>());
        let (mut reply, quantum) = provider.mlkem768_encapsulate(public, &m)?;
        reply.extend_from_slice(&provider.x25519_public(scalar(&x)?));
        return Ok((PublicValue::String(reply), hybrid_secret(provider, &quantum, &classic)));
    }
    if let (Some(group), PublicValue::Mpint(value)) = (groups::fixed(kex), client) {
        // Before any exponentiation of ours is spent on it.
        check_dh_public(group.p, value)?;
    }
    let (own, public) = Ephemeral::client(kex, rng, provider)?;
    Ok((public, own.finish(client, provider)?))
}

/// `K = HASH(K_PQ || K_CL)`, used as a string (draft-ietf-sshm-mlkem-hybrid-kex §2.4).
fn hybrid_secret(provider: &dyn Provider, quantum: &Secret, classic: &Secret) -> SharedSecret {
    let hash = super::HashAlgorithm::Sha256;
    let k = super::Digest::of(provider, hash, &[quantum.expose(), classic.expose()]);
    SharedSecret::string(k.as_bytes())
}

/// RFC 4253 §8 asks for 1 <= e <= p-1; like OpenSSH we refuse 1 and p-1 too, and values with fewer
/// than four bits set, so that K cannot be forced.
fn check_dh_public(p: &[u8], value: &[u8]) -> Result<(), BadPublicValue> {
    let bits: u32 = value.iter().map(|b| b.count_ones()).sum();
    if bits < 4 || !inside(p, value) { Err(BadPublicValue) } else { Ok(()) }
}

/// Whether `1 < value < p - 1`; `p` is odd and minimal.
fn inside(p: &[u8], value: &[u8]) -> bool {
    let value = minimal(value);
    let below = value.len() < p.len() || (value.len() == p.len() && value < p);
    // p is odd, so p - 1 differs from it in the last bit only.
    let minus_one = value.len() == p.len()
        && match (value.split_last(), p.split_last()) {
            (Some((v, front)), Some((last, rest))) => front == rest && *v == (last & !1),
            _ => false,
        };
    below && !minus_one && !value.is_empty() && value != [1]
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], BadPublicValue> {
    bytes.try_into().map_err(|_| BadPublicValue)
}

fn scalar(secret: &Secret) -> Result<&[u8; 32], BadPublicValue> {
    secret.expose().try_into().map_err(|_| BadPublicValue)
}

fn seed(secret: &Secret) -> Result<&[u8; 64], BadPublicValue> {
    secret.expose().try_into().map_err(|_| BadPublicValue)
}
