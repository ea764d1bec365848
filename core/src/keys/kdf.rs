//! From a passphrase to the key of a key file, and what that may cost.

use alloc::vec;
use alloc::vec::Vec;

use md5::Digest as _;
use sha2::{Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use super::KeyError;

/// What opening a key file may cost, whatever the file asks for (F-07, F-12, F-13).
///
/// The defaults are far above what programs write, and bound the work to some seconds and 1 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfLimits {
    bcrypt: u32,
    pbkdf2: u32,
    memory: u32,
    work: u32,
}

impl Default for KdfLimits {
    fn default() -> Self {
        KdfLimits { bcrypt: 2048, pbkdf2: 10_000_000, memory: 1 << 20, work: 1 << 24 }
    }
}

impl KdfLimits {
    /// The most rounds of bcrypt: 2048 by default, about 15 seconds of work. OpenSSH writes 16 or 24.
    #[must_use]
    pub fn bcrypt_rounds(mut self, rounds: u32) -> Self {
        self.bcrypt = rounds;
        self
    }

    /// The most iterations of PBKDF2: 10,000,000 by default. OpenSSL writes 2048.
    #[must_use]
    pub fn pbkdf2_iterations(mut self, iterations: u32) -> Self {
        self.pbkdf2 = iterations;
        self
    }

    /// The most memory that scrypt and Argon2 get, in KiB: 1 GiB by default. OpenSSL's scrypt takes 16 MiB, PuTTY's
    /// Argon2 8 MiB.
    #[must_use]
    pub fn memory(mut self, kib: u32) -> Self {
        self.memory = kib;
        self
    }

    /// How much memory scrypt and Argon2 may pass over in all, in KiB: memory times passes or lanes. 16 GiB by default,
    /// about 15 seconds of work. PuTTY chooses as many passes as take 100 ms, whatever the memory.
    #[must_use]
    pub fn work(mut self, kib: u32) -> Self {
        self.work = kib;
        self
    }

    pub(super) fn check_bcrypt(&self, rounds: u32) -> Result<(), KeyError> {
        within("bcrypt rounds", rounds, self.bcrypt)
    }

    pub(super) fn check_argon2(&self, memory: u32, passes: u32, lanes: u32) -> Result<(), KeyError> {
        within("Argon2 lanes", lanes, MAX_LANES)?;
        self.check_memory(memory, passes)
    }

    fn check_memory(&self, memory: u32, times: u32) -> Result<(), KeyError> {
        within("KiB of memory", memory, self.memory)?;
        within("KiB to be passed over", memory.saturating_mul(times), self.work)
    }
}

/// Of Argon2; PuTTY writes 1.
const MAX_LANES: u32 = 64;

fn within(what: &'static str, asked: u32, most: u32) -> Result<(), KeyError> {
    if asked == 0 || asked > most { Err(KeyError::KdfCost { what, asked }) } else { Ok(()) }
}

const DERIVATION: KeyError = KeyError::Malformed("the parameters of its key derivation");

/// The bytes that a derivation fills.
pub(super) type Derived = Zeroizing<Vec<u8>>;

/// bcrypt's PBKDF, as OpenSSH's files have it.
pub(super) fn bcrypt(
    passphrase: &[u8],
    salt: &[u8],
    rounds: u32,
    length: usize,
) -> Result<Derived, KeyError> {
    let mut out = Zeroizing::new(vec![0; length]);
    bcrypt_pbkdf::bcrypt_pbkdf(passphrase, salt, rounds, &mut out).map_err(|_| DERIVATION)?;
    Ok(out)
}

/// OpenSSL's `EVP_BytesToKey` with MD5 and one iteration, and with an empty salt what ssh.com does. Files of that age
/// have nothing better.
pub(super) fn md5_chain(passphrase: &[u8], salt: &[u8], length: usize) -> Derived {
    let mut out = Zeroizing::new(Vec::with_capacity(length.next_multiple_of(16)));
    let mut last = Zeroizing::new(Vec::with_capacity(16));
    while out.len() < length {
        let mut hash = md5::Md5::new();
        hash.update(&last[..]);
        hash.update(passphrase);
        hash.update(salt);
        last.clear();
        last.extend_from_slice(&hash.finalize());
        out.extend_from_slice(&last);
    }
    out.truncate(length);
    out
}

/// As [`md5_chain`], where each link hashes all links before it: ssh.com's `ssh_hash_expand_text`.
pub(super) fn md5_expand(passphrase: &[u8], length: usize) -> Derived {
    let mut out: Derived = Zeroizing::new(Vec::with_capacity(length.next_multiple_of(16)));
    while out.len() < length {
        let mut hash = md5::Md5::new();
        hash.update(passphrase);
        hash.update(&out[..]);
        out.extend_from_slice(&hash.finalize());
    }
    out.truncate(length);
    out
}

/// The pseudorandom function of PBKDF2 (RFC 8018 §A.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prf {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

pub(super) fn pbkdf2(
    prf: Prf,
    passphrase: &[u8],
    salt: &[u8],
    iterations: u32,
    length: usize,
    limits: &KdfLimits,
) -> Result<Derived, KeyError> {
    within("PBKDF2 iterations", iterations, limits.pbkdf2)?;
    let mut out = Zeroizing::new(vec![0; length]);
    match prf {
        Prf::Sha1 => pbkdf2::pbkdf2_hmac::<sha1::Sha1>(passphrase, salt, iterations, &mut out),
        Prf::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(passphrase, salt, iterations, &mut out),
        Prf::Sha384 => pbkdf2::pbkdf2_hmac::<Sha384>(passphrase, salt, iterations, &mut out),
        Prf::Sha512 => pbkdf2::pbkdf2_hmac::<Sha512>(passphrase, salt, iterations, &mut out),
    }
    Ok(out)
}

/// RFC 7914; `n` is a power of two.
pub(super) fn scrypt(
    passphrase: &[u8],
    salt: &[u8],
    [n, r, p]: [u64; 3],
    length: usize,
    limits: &KdfLimits,
) -> Result<Derived, KeyError> {
    let small = |x: u64| u32::try_from(x).unwrap_or(u32::MAX);
    let bytes = n.saturating_mul(r).saturating_mul(128);
    limits.check_memory(small(bytes.div_ceil(1024)), small(p))?;
    if !n.is_power_of_two() || n < 2 {
        return Err(DERIVATION);
    }
    let log_n = u8::try_from(n.trailing_zeros()).map_err(|_| DERIVATION)?;
    let params = scrypt::Params::new(log_n, small(r), small(p)).map_err(|_| DERIVATION)?;
    let mut out = Zeroizing::new(vec![0; length]);
    scrypt::scrypt(passphrase, salt, &params, &mut out).map_err(|_| DERIVATION)?;
    Ok(out)
}

/// RFC 9106; what it may cost has been checked.
pub(super) fn argon2(
    flavour: argon2::Algorithm,
    passphrase: &[u8],
    salt: &[u8],
    [memory, passes, lanes]: [u32; 3],
    length: usize,
) -> Result<Derived, KeyError> {
    let params = argon2::Params::new(memory, passes, lanes, Some(length)).map_err(|_| DERIVATION)?;
    let mut out = Zeroizing::new(vec![0; length]);
    argon2::Argon2::new(flavour, argon2::Version::V0x13, params)
        .hash_password_into(passphrase, salt, &mut out)
        .map_err(|_| DERIVATION)?;
    Ok(out)
}
