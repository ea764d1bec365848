//! Bytes to stream: made from a seed, never stored, and their checksum.

use sha2::{Digest, Sha256};
use std::fmt;
use std::io::{self, Read};

/// An endless stream of bytes made from a seed, cut at a length. Every third block of 4 KiB is text that compresses
/// well, so that zlib has something to do; the others do not compress.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    /// Different seeds give different bytes.
    pub seed: u64,
    /// Length in bytes.
    pub len: u64,
}

impl Pattern {
    /// A reader of these bytes.
    pub fn reader(self) -> PatternReader {
        PatternReader { left: self.len, state: self.seed, block: Vec::new(), at: 0, count: 0 }
    }

    /// The checksum of these bytes.
    pub fn checksum(self) -> Checksum {
        let mut hash = Hasher::default();
        let mut buf = vec![0; 1 << 16];
        let mut reader = self.reader();
        loop {
            match reader.read(&mut buf) {
                Ok(0) | Err(_) => return hash.finish(),
                Ok(n) => hash.update(&buf[..n]),
            }
        }
    }
}

/// See [`Pattern::reader`].
#[derive(Debug)]
pub struct PatternReader {
    left: u64,
    state: u64,
    block: Vec<u8>,
    at: usize,
    count: u64,
}

const BLOCK: usize = 4096;

impl PatternReader {
    fn next_block(&mut self) {
        self.block.clear();
        self.at = 0;
        self.count += 1;
        if self.count.is_multiple_of(3) {
            let line =
                format!("{:016x} konko streams this line again and again\n", splitmix(&mut self.state));
            self.block.extend(line.bytes().cycle().take(BLOCK));
        } else {
            while self.block.len() < BLOCK {
                self.block.extend_from_slice(&splitmix(&mut self.state).to_le_bytes());
            }
        }
    }
}

impl Read for PatternReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() && self.left > 0 {
            if self.at == self.block.len() {
                self.next_block();
            }
            let n = (self.block.len() - self.at)
                .min(buf.len() - done)
                .min(usize::try_from(self.left).unwrap_or(usize::MAX));
            buf[done..done + n].copy_from_slice(&self.block[self.at..self.at + n]);
            self.at += n;
            done += n;
            self.left -= n as u64;
        }
        Ok(done)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): good enough for bytes that must not compress.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// So many bytes that do not compress.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = len as u64;
    let words = std::iter::repeat_with(|| splitmix(&mut state).to_le_bytes());
    words.flatten().take(len).collect()
}

/// The checksum of bytes in memory.
pub fn checksum_of(bytes: &[u8]) -> Checksum {
    let mut hash = Hasher::default();
    hash.update(bytes);
    hash.finish()
}

/// A SHA-256 and the number of bytes it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// Lower-case hexadecimal, as `sha256sum` prints it.
    pub hex: String,
    /// Bytes covered.
    pub len: u64,
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.hex, self.len)
    }
}

/// Counts and hashes what passes by.
#[derive(Default)]
pub struct Hasher {
    sha: Sha256,
    len: u64,
}

impl Hasher {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha.update(bytes);
        self.len += bytes.len() as u64;
    }

    /// The checksum of all that was added.
    pub fn finish(self) -> Checksum {
        let hex = self.sha.finalize().iter().map(|b| format!("{b:02x}")).collect();
        Checksum { hex, len: self.len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_however_they_are_read() {
        let pattern = Pattern { seed: 7, len: 100_001 };
        let mut whole = Vec::new();
        pattern.reader().read_to_end(&mut whole).unwrap();
        let mut pieces = Vec::new();
        let mut reader = pattern.reader();
        let mut buf = [0; 777];
        while let n @ 1.. = reader.read(&mut buf).unwrap() {
            pieces.extend_from_slice(&buf[..n]);
        }
        assert_eq!(whole, pieces);
        assert_eq!(whole.len(), 100_001);
        let mut hash = Hasher::default();
        hash.update(&whole);
        assert_eq!(hash.finish(), pattern.checksum());
    }

    #[test]
    fn checksum_is_that_of_sha256sum() {
        let mut hash = Hasher::default();
        hash.update(b"abc");
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.finish(), Checksum { hex: hex.into(), len: 3 });
    }
}
