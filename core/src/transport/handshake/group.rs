//! Groups of a group exchange (RFC 4419).

use alloc::vec::Vec;

use crate::error::{Failure, Fault};
use crate::rng::Rng;
use crate::transport::moduli::{Moduli, bits};

/// A group as negotiated by RFC 4419.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) request: [u32; 3],
    pub(super) p: Vec<u8>,
    pub(super) g: Vec<u8>,
}

/// Checks a group that a server proposes: size as asked, odd, generator in range.
pub(super) fn check(p: &[u8], g: &[u8], request: [u32; 3]) -> Result<(), Failure> {
    let [min, _, max] = request;
    let bits = bits(p);
    if bits < min || bits > max || !is_sane(p, g) {
        let text = alloc::format!("a modulus of {bits} bits, where {min} to {max} were asked for");
        return Err(Failure::text(Fault::BadGroup, text));
    }
    Ok(())
}

/// Odd, and `1 < g < p - 1`; both minimal.
pub(in crate::transport) fn is_sane(p: &[u8], g: &[u8]) -> bool {
    let odd = p.last().is_some_and(|b| b & 1 == 1);
    let g_ok = !g.is_empty() && g != [1] && (g.len() < p.len() || (g.len() == p.len() && g < p));
    // g = p - 1 has order 2; p is odd, so they differ in the last bit only.
    let minus_one = g.len() == p.len() && g.iter().rev().skip(1).eq(p.iter().rev().skip(1));
    odd && g_ok && !minus_one
}

/// Whether a client has nothing to screen.
pub(super) fn is_known(p: &[u8], moduli: Option<&Moduli>) -> bool {
    use crate::crypto::groups::{GROUP1, GROUP14, GROUP15, GROUP16, GROUP17, GROUP18};
    let fixed = [GROUP1, GROUP14, GROUP15, GROUP16, GROUP17, GROUP18];
    fixed.iter().any(|group| group.p == p) || moduli.is_some_and(|moduli| moduli.contains(p))
}

/// The server's choice for a group exchange: the smallest of its groups that is at least as large as wanted, else the
/// largest allowed one. The fixed ones are for a server without a file, or one in which nothing fits.
pub(super) fn choose(
    request: [u32; 3],
    allowed: (u32, u32),
    moduli: Option<&Moduli>,
    rng: &mut Rng,
) -> Option<Group> {
    use crate::crypto::groups::{GROUP14, GROUP15, GROUP16, GROUP17, GROUP18};
    let [min, n, max] = request;
    if min > max || n < min || n > max {
        return None;
    }
    let (min, max) = (min.max(allowed.0), max.min(allowed.1));
    if let Some(moduli) = moduli {
        let random = u32::from_be_bytes(rng.array());
        if let Some((p, g)) = moduli.choose([min, n, max], random) {
            return Some(Group { request, p: p.to_vec(), g: g.to_vec() });
        }
    }
    let groups = [(2048, GROUP14), (3072, GROUP15), (4096, GROUP16), (6144, GROUP17), (8192, GROUP18)];
    let mut fitting = groups.into_iter().filter(|(bits, _)| (min..=max).contains(bits));
    let chosen = fitting.clone().find(|(bits, _)| *bits >= n).or_else(|| fitting.next_back());
    chosen.map(|(_, g)| Group { request, p: g.p.to_vec(), g: g.g.to_vec() })
}
