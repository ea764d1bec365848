//! Key exchange methods composed from a provider's primitives. Pure: bytes in, bytes out.

use alloc::vec::Vec;

use super::{BadPublicValue, Curve, Digest, HashAlgorithm, Kem, Kex, Provider, Secret, SharedSecret, groups};
use crate::rng::Rng;
use crate::wire::minimal;

/// Bytes of exponent for finite-field Diffie-Hellman: twice the strength the hash can carry,
/// never below 512 bits (OpenSSH `dh_gen_key`).
const EXPONENT: usize = 64;

/// One side's ephemeral secret while the exchange runs. Dropped, and wiped, when it is done.
pub struct Ephemeral(Inner);

enum Inner {
    Classic(Classic),
    Hybrid { kem: Kem, private: Secret, classic: Classic, hash: HashAlgorithm },
    Dh { p: Vec<u8>, x: Secret },
}

/// A secret of elliptic curve Diffie-Hellman, alone or as one half of a hybrid.
enum Classic {
    X25519(Secret),
    Nist(Curve, Secret),
}

impl Classic {
    fn generate(kex: Kex, rng: &mut Rng, provider: &dyn Provider) -> Result<(Self, Vec<u8>), BadPublicValue> {
        if let Some(curve) = kex.curve() {
            let (secret, public) = provider.ecdh_generate(curve, rng);
            return Ok((Self::Nist(curve, secret), public));
        }
        let x = Secret::copy_of(&zeroize::Zeroizing::new(rng.array::<32>())[..]);
        let public = provider.x25519_public(scalar(&x)?).to_vec();
        Ok((Self::X25519(x), public))
    }

    /// The coordinate that both sides share, as wide as the curve.
    fn agree(&self, peer: &[u8], provider: &dyn Provider) -> Result<Secret, BadPublicValue> {
        match self {
            Self::X25519(x) => provider.x25519(scalar(x)?, &fixed(peer)?),
            Self::Nist(curve, secret) => provider.ecdh(*curve, secret, peer),
        }
    }
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
        let Some(kem) = kex.kem() else {
            let (classic, public) = Classic::generate(kex, rng, provider)?;
            return Ok((Ephemeral(Inner::Classic(classic)), PublicValue::String(public)));
        };
        let (private, mut public) =
            provider.kem_generate(kem, &zeroize::Zeroizing::new(rng.array::<64>()))?;
        let (classic, point) = Classic::generate(kex, rng, provider)?;
        public.extend_from_slice(&point);
        let inner = Inner::Hybrid { kem, private, classic, hash: kex.hash() };
        Ok((Ephemeral(inner), PublicValue::String(public)))
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

    /// Completes the exchange with the peer's public value.
    ///
    /// # Errors
    ///
    /// [`BadPublicValue`] for a value of the peer that is out of range, not on the curve, of the wrong length, or that
    /// gives a shared secret which is no secret.
    pub fn finish(self, peer: &PublicValue, provider: &dyn Provider) -> Result<SharedSecret, BadPublicValue> {
        match (self.0, peer) {
            (Inner::Classic(classic), PublicValue::String(point)) => {
                Ok(SharedSecret::mpint(&classic.agree(point, provider)?))
            }
            (Inner::Hybrid { kem, private, classic, hash }, PublicValue::String(reply)) => {
                let (ciphertext, point) =
                    reply.split_at_checked(kem.ciphertext_len()).ok_or(BadPublicValue)?;
                let classic = classic.agree(point, provider)?;
                let quantum = provider.kem_decapsulate(kem, &private, ciphertext)?;
                Ok(hybrid_secret(provider, hash, &quantum, &classic))
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
    if let Some(kem) = kex.kem() {
        let PublicValue::String(init) = client else { return Err(BadPublicValue) };
        let (public, point) = init.split_at_checked(kem.public_len()).ok_or(BadPublicValue)?;
        let (own, own_point) = Classic::generate(kex, rng, provider)?;
        let classic = own.agree(point, provider)?;
        let m = zeroize::Zeroizing::new(rng.array::<32>());
        let (mut reply, quantum) = provider.kem_encapsulate(kem, public, &m)?;
        reply.extend_from_slice(&own_point);
        return Ok((PublicValue::String(reply), hybrid_secret(provider, kex.hash(), &quantum, &classic)));
    }
    if let (Some(group), PublicValue::Mpint(value)) = (groups::fixed(kex), client) {
        // Before any exponentiation of ours is spent on it.
        check_dh_public(group.p, value)?;
    }
    let (own, public) = Ephemeral::client(kex, rng, provider)?;
    Ok((public, own.finish(client, provider)?))
}

/// `K = HASH(K_PQ || K_CL)`, used as a string (draft-ietf-sshm-mlkem-hybrid-kex §2.4, draft-ietf-sshm-ntruprime-ssh §3).
fn hybrid_secret(
    provider: &dyn Provider,
    hash: HashAlgorithm,
    quantum: &Secret,
    classic: &Secret,
) -> SharedSecret {
    let mut k = Digest::of(provider, hash, &[quantum.expose(), classic.expose()]);
    let shared = SharedSecret::string(k.as_bytes());
    k.wipe();
    shared
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
