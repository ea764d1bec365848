use core::fmt;

use super::{NameList, SshStr, minimal};

/// Longest mpint we accept, in bytes without the sign byte: 16,384 bits, as OpenSSH's
/// `SSHBUF_MAX_BIGNUM`.
const MAX_MPINT: usize = 2048;

/// What was wrong with the bytes of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The message ended inside a field.
    Truncated,
    /// Bytes were left after the last field.
    Trailing,
    /// A field holds a value its type does not allow.
    Invalid,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the message ends inside a field",
            Self::Trailing => "bytes are left after the last field",
            Self::Invalid => "a field holds a value that its type does not allow",
        })
    }
}

impl core::error::Error for DecodeError {}

/// Reads SSH types from a byte slice, lending what it finds.
///
/// Each method consumes its field or returns an error and consumes nothing.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Takes the next `n` bytes as they are.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for too few bytes.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes the next `N` bytes as an array.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for too few bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// `byte`.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for too few bytes.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[b]| b)
    }

    /// `boolean`: any value but 0 is true (RFC 4251 §5).
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for too few bytes.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        self.u8().map(|b| b != 0)
    }

    /// `uint32`.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for too few bytes.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// `uint64`.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for too few bytes.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// `string`: arbitrary bytes behind a 32-bit length.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for too few bytes.
    pub fn string(&mut self) -> Result<&'a [u8], DecodeError> {
        let before = *self;
        let n = self.u32()?;
        let taken = usize::try_from(n).map_err(|_| DecodeError::Truncated).and_then(|n| self.bytes(n));
        if taken.is_err() {
            *self = before;
        }
        taken
    }

    /// A `string` meant as text. Peers do not always send UTF-8, so this stays bytes.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for too few bytes.
    pub fn text(&mut self) -> Result<SshStr<'a>, DecodeError> {
        self.string().map(SshStr::new)
    }

    /// `mpint` that is not negative, as minimal big-endian bytes (zero is empty).
    ///
    /// Superfluous leading zeros are tolerated, as OpenSSH does; more than 16,384 bits are not.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for too few bytes, and for a number that is negative or has more than 16,384 bits.
    pub fn mpint(&mut self) -> Result<&'a [u8], DecodeError> {
        let mut ahead = *self;
        let raw = ahead.string()?;
        if raw.first().is_some_and(|b| b & 0x80 != 0) {
            return Err(DecodeError::Invalid);
        }
        let magnitude = minimal(raw);
        if magnitude.len() > MAX_MPINT || raw.len() > MAX_MPINT + 1 {
            return Err(DecodeError::Invalid);
        }
        *self = ahead;
        Ok(magnitude)
    }

    /// `name-list`.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for too few bytes, and for what is no list of names.
    pub fn name_list(&mut self) -> Result<NameList<'a>, DecodeError> {
        let mut ahead = *self;
        let list = NameList::parse(ahead.string()?)?;
        *self = ahead;
        Ok(list)
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// True when everything was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Every parser ends here: bytes after the last field are an error.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for bytes that nobody has read.
    pub fn end(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({} bytes left)", self.rest.len())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::wire::Sink;

    fn string(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_string(bytes);
        out
    }

    #[test]
    fn v30_mpint_edge_cases() {
        type Case = (&'static [u8], Result<&'static [u8], DecodeError>);
        let cases: &[Case] = &[
            (&[], Ok(&[])),
            (&[0], Ok(&[])),
            (&[0, 0, 0, 0], Ok(&[])),
            (&[0x80], Err(DecodeError::Invalid)),
            (&[0x00, 0x80], Ok(&[0x80])),
            (&[0xff, 0xff], Err(DecodeError::Invalid)),
            (&[0x7f, 0x01], Ok(&[0x7f, 0x01])),
        ];
        for (raw, expected) in cases {
            assert_eq!(Reader::new(&string(raw)).mpint(), *expected, "{raw:02x?}");
        }
        let mut widest = vec![0u8];
        widest.extend_from_slice(&[0xff; 2048]);
        assert!(Reader::new(&string(&widest)).mpint().is_ok());
        let mut too_wide = vec![1u8];
        too_wide.extend_from_slice(&[0xff; 2048]);
        assert_eq!(Reader::new(&string(&too_wide)).mpint(), Err(DecodeError::Invalid));
    }

    #[test]
    fn a_claimed_length_never_reads_past_the_end() {
        for claim in [1u32, 5, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
            let bytes = claim.to_be_bytes();
            let mut r = Reader::new(&bytes);
            assert_eq!(r.string(), Err(DecodeError::Truncated));
            assert_eq!(r.rest().len(), 4, "a failed read consumes nothing");
        }
    }
}
