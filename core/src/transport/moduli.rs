//! Groups for the group exchange from a file in the format of moduli(5).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::text::{self, BadLine, Limits, Location, MAX_WARNINGS, TooLarge};
use crate::wire::minimal;

/// How large a file of moduli may be: OpenSSH's has 560 KiB, and 2 KiB a line.
pub const MODULI_LIMITS: Limits = Limits { file: 8 << 20, line: 8 << 10 };

/// Safe primes (moduli(5)), as in `/etc/ssh/moduli`. A server chooses one of them for each group exchange, as OpenSSH's
/// does; a client that [screens](super::TransportConfig::screen_groups) takes them as known.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Moduli {
    groups: Vec<SafePrime>,
}

#[derive(Clone, PartialEq, Eq)]
struct SafePrime {
    bits: u32,
    p: Vec<u8>,
    g: Vec<u8>,
}

/// What is wrong with a line of a file of moduli; it is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadModulus {
    /// It is no line of text.
    Line(BadLine),
    /// There are not seven fields, or one is no number.
    Fields,
    /// Not a safe prime (type 2), or known to be composite, or never tested.
    Untested,
    /// The modulus has not as many bits as the line says, or is even, or the generator is not below it.
    Numbers,
}

impl fmt::Display for BadModulus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(why) => write!(f, "{why}"),
            Self::Fields => f.write_str("not the seven fields of moduli(5)"),
            Self::Untested => f.write_str("not a tested safe prime"),
            Self::Numbers => f.write_str("the modulus or the generator is not what the line says"),
        }
    }
}

impl core::error::Error for BadModulus {}

impl Moduli {
    /// Reads a file, whose name is for the warnings: one a line that is not used.
    ///
    /// # Errors
    /// [`TooLarge`], for a file over [`MODULI_LIMITS`].
    pub fn parse(
        name: impl Into<Arc<[u8]>>,
        file: &[u8],
    ) -> Result<(Self, Vec<text::Warning<BadModulus>>), TooLarge> {
        let name = name.into();
        let (mut groups, mut warnings) = (Vec::new(), Vec::new());
        for line in text::lines(file, MODULI_LIMITS)? {
            match line.read().map_err(BadModulus::Line).and_then(prime) {
                Ok(prime) => groups.push(prime),
                Err(problem) if warnings.len() < MAX_WARNINGS => {
                    let at = Location::new(Arc::clone(&name), line.number());
                    warnings.push(text::Warning::new(at, problem));
                }
                Err(_) => {}
            }
        }
        Ok((Moduli { groups }, warnings))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether this modulus is one of them: big-endian.
    pub fn contains(&self, p: &[u8]) -> bool {
        let p = minimal(p);
        self.groups.iter().any(|group| group.p == p)
    }

    /// One of the smallest that are as large as wanted, else of the largest, at random (OpenSSH dh.c `choose_dh`).
    pub(super) fn choose(&self, [min, n, max]: [u32; 3], random: u32) -> Option<(&[u8], &[u8])> {
        let fitting = || self.groups.iter().filter(|group| (min..=max).contains(&group.bits));
        let size = fitting()
            .map(|group| group.bits)
            .filter(|bits| *bits >= n)
            .min()
            .or_else(|| fitting().map(|group| group.bits).max())?;
        let best = || fitting().filter(|group| group.bits == size);
        let at = usize::try_from(random).ok()?.checked_rem(best().count())?;
        best().nth(at).map(|group| (&group.p[..], &group.g[..]))
    }
}

impl fmt::Debug for Moduli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Moduli({})", self.groups.len())
    }
}

/// One line: time, type, tests, trials, size, generator, modulus.
fn prime(line: &[u8]) -> Result<SafePrime, BadModulus> {
    let line = core::str::from_utf8(line).map_err(|_| BadModulus::Fields)?;
    let mut fields = line.split_ascii_whitespace();
    let mut number = || fields.next()?.parse::<u64>().ok();
    let (Some(_time), Some(kind), Some(tests), Some(trials), Some(size)) =
        (number(), number(), number(), number(), number())
    else {
        return Err(BadModulus::Fields);
    };
    let (Some(g), Some(p), None) = (hex(fields.next()), hex(fields.next()), fields.next()) else {
        return Err(BadModulus::Fields);
    };
    // MODULI_TYPE_SAFE; MODULI_TESTS_COMPOSITE; untested without any.
    if kind != 2 || tests & 1 != 0 || tests == 0 || trials == 0 {
        return Err(BadModulus::Untested);
    }
    let bits = bits(&p);
    // The size is that of the number with which it was found, which has one bit less.
    let said = size.checked_add(1) == Some(u64::from(bits));
    if !said || !super::handshake::group::is_sane(&p, &g) {
        return Err(BadModulus::Numbers);
    }
    Ok(SafePrime { bits, p, g })
}

/// Bits of a big-endian number.
pub(super) fn bits(p: &[u8]) -> u32 {
    let p = minimal(p);
    let top = p.first().map_or(8, |b| b.leading_zeros());
    u32::try_from(p.len()).unwrap_or(u32::MAX).saturating_mul(8).saturating_sub(top)
}

/// A number in hexadecimal, of an odd number of digits too.
fn hex(text: Option<&str>) -> Option<Vec<u8>> {
    let text = text?.as_bytes();
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(text.len().div_ceil(2));
    for pair in text.rchunks(2).rev() {
        let byte = pair.iter().try_fold(0u8, |byte, b| Some(byte << 4 | digit(b)?))?;
        out.push(byte);
    }
    let out = minimal(&out).to_vec();
    (!out.is_empty()).then_some(out)
}
