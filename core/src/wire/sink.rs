use alloc::vec::Vec;

use super::minimal;

/// Somewhere SSH types can be appended to: a packet being built, a `Vec`, a running hash.
pub trait Sink {
    /// Appends `bytes` as they are.
    fn put(&mut self, bytes: &[u8]);

    /// `byte`.
    fn put_u8(&mut self, v: u8) {
        self.put(&[v]);
    }

    /// `boolean`.
    fn put_bool(&mut self, v: bool) {
        self.put(&[u8::from(v)]);
    }

    /// `uint32`.
    fn put_u32(&mut self, v: u32) {
        self.put(&v.to_be_bytes());
    }

    /// `uint64`.
    fn put_u64(&mut self, v: u64) {
        self.put(&v.to_be_bytes());
    }

    /// `string`.
    fn put_string(&mut self, bytes: &[u8]) {
        self.put_len(bytes.len());
        self.put(bytes);
    }

    /// `mpint` from the big-endian magnitude of a non-negative integer.
    fn put_mpint(&mut self, magnitude: &[u8]) {
        let magnitude = minimal(magnitude);
        let sign = magnitude.first().is_some_and(|b| b & 0x80 != 0);
        self.put_len(magnitude.len().saturating_add(usize::from(sign)));
        if sign {
            self.put(&[0]);
        }
        self.put(magnitude);
    }

    /// The 32-bit length of a string whose bytes follow.
    ///
    /// A length over `u32::MAX` cannot be said in SSH; callers bound their data far below
    /// (packets are at most 256 KiB), so it saturates rather than wraps.
    fn put_len(&mut self, n: usize) {
        self.put_u32(u32::try_from(n).unwrap_or(u32::MAX));
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn put(&mut self, bytes: &[u8]) {
        (**self).put(bytes);
    }
}

/// The `mpint` encoding of a big-endian magnitude, on its own.
pub fn write_mpint(magnitude: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(magnitude.len().saturating_add(5));
    out.put_mpint(magnitude);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mpint_examples_of_rfc_4251() {
        assert_eq!(write_mpint(&[]), [0, 0, 0, 0]);
        assert_eq!(
            write_mpint(&[0x09, 0xa3, 0x78, 0xf9, 0xb2, 0xe3, 0x32, 0xa7]),
            [0, 0, 0, 8, 0x09, 0xa3, 0x78, 0xf9, 0xb2, 0xe3, 0x32, 0xa7]
        );
        assert_eq!(write_mpint(&[0, 0, 0x80]), [0, 0, 0, 2, 0, 0x80]);
    }
}
