//! To bytes (PROTOCOL.krl). Serial numbers go into whatever section takes least room for them: a list, a range, or a
//! bitmap where many are close together.

use alloc::vec::Vec;

use super::read::{FORMAT, MAGIC, section};
use super::{Certificates, Krl};
use crate::wire::Sink;

/// A section's type and length.
const HEADER: u64 = 5;
/// A gap that a bitmap is not ended for: what follows would cost more in a section of its own.
const MAX_GAP: u64 = 256;
/// How many numbers one bitmap spans at most: OpenSSH reads numbers of 16,384 bits.
const MAX_SPAN: u64 = 16_000;

impl Krl {
    /// The list's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.put_u32(FORMAT);
        out.put_u64(self.version);
        out.put_u64(self.generated);
        out.put_u64(self.flags);
        out.put_string(b"");
        out.put_string(&self.comment);
        for list in &self.certificates {
            put_section(&mut out, section::CERTIFICATES, &list.to_bytes());
        }
        put_strings(&mut out, section::KEYS, self.keys.iter().map(|blob| &**blob));
        put_strings(&mut out, section::SHA1, self.sha1.iter().map(|hash| &hash[..]));
        put_strings(&mut out, section::SHA256, self.sha256.iter().map(|hash| &hash[..]));
        out
    }
}

impl Certificates {
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_string(self.authority.as_deref().unwrap_or_default());
        out.put_string(b"");
        let runs: Vec<(u64, u64)> = self.serials.runs().collect();
        let mut rest = &runs[..];
        let mut singles = Vec::new();
        while let Some(((first, last), after)) = rest.split_first() {
            let cluster = cluster(rest);
            let (near, beyond) = rest.split_at_checked(cluster).unwrap_or((rest, &[]));
            let until = near.last().map_or(*last, |(_, last)| *last);
            let bitmap = HEADER + 13 + until.saturating_sub(*first) / 8;
            let alone = near.iter().fold(0u64, |sum, run| sum.saturating_add(cost(*run)));
            if near.len() > 1 && bitmap < alone {
                put_section(&mut out, section::SERIAL_BITMAP, &bits(near, *first, until));
                rest = beyond;
                continue;
            }
            let count = last.saturating_sub(*first);
            if count < 2 {
                (0..=count).for_each(|n| singles.put_u64(first.saturating_add(n)));
            } else {
                let range = [first.to_be_bytes(), last.to_be_bytes()].concat();
                put_section(&mut out, section::SERIAL_RANGE, &range);
            }
            rest = after;
        }
        if !singles.is_empty() {
            put_section(&mut out, section::SERIAL_LIST, &singles);
        }
        put_strings(&mut out, section::KEY_ID, self.key_ids.iter().map(|id| &**id));
        out
    }
}

/// What a run takes without a bitmap.
fn cost((first, last): (u64, u64)) -> u64 {
    let more = last.saturating_sub(first);
    if more < 2 { more.saturating_add(1).saturating_mul(8) } else { HEADER + 16 }
}

/// How many of the runs are so close together that one bitmap may be best for them.
fn cluster(runs: &[(u64, u64)]) -> usize {
    let Some((start, _)) = runs.first() else { return 0 };
    let close = |pair: &&[(u64, u64)]| match pair {
        [(_, last), (next, until)] => {
            next.saturating_sub(*last) <= MAX_GAP && until.saturating_sub(*start) < MAX_SPAN
        }
        _ => false,
    };
    runs.windows(2).take_while(close).count().saturating_add(1)
}

/// The bits of a bitmap, behind its offset.
fn bits(runs: &[(u64, u64)], first: u64, last: u64) -> Vec<u8> {
    let mut little =
        alloc::vec![0u8; usize::try_from(last.saturating_sub(first) / 8).unwrap_or(0).saturating_add(1)];
    for (from, to) in runs {
        for serial in *from..=*to {
            let bit = serial.saturating_sub(first);
            if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|at| little.get_mut(at)) {
                *byte |= 1 << (bit % 8);
            }
        }
    }
    little.reverse();
    let mut out = Vec::new();
    out.put_u64(first);
    out.put_mpint(&little);
    out
}

fn put_section(out: &mut Vec<u8>, kind: u8, data: &[u8]) {
    out.put_u8(kind);
    out.put_string(data);
}

fn put_strings<'a>(out: &mut Vec<u8>, kind: u8, strings: impl Iterator<Item = &'a [u8]>) {
    let mut data = Vec::new();
    strings.for_each(|string| data.put_string(string));
    if !data.is_empty() {
        put_section(out, kind, &data);
    }
}
