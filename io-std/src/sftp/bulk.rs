//! Much data at a time: how much a session may write, copies, and hashes.

use std::os::fd::{AsFd, OwnedFd};

use konko_core::crypto::{Digest, HashAlg};
use konko_core::provider;
use konko_core::sftp::{CheckFile, FileHash, StatusCode};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::attrs::attrs_of;
use super::resolve::{Tree, id, kind};
use super::root::Rules;
use super::rooted::{No, Result, no};

/// How much may be written before the free space is looked at again.
const STEP: u64 = 16 << 20;
/// How much is copied or hashed between two questions whether anybody waits for it.
const CHUNK: u64 = 16 << 20;
const BUFFER: usize = 256 << 10;
/// Digests of one check-file reply, in bytes.
const MAX_DIGESTS: usize = 128 << 10;

/// What a session may still write.
#[derive(Debug)]
pub(super) struct Budget {
    written: u64,
    most: u64,
    max_file: u64,
    min_free: Option<u64>,
    /// What may be written before the free space is looked at again.
    credit: u64,
}

impl Budget {
    pub(super) fn new(rules: &Rules) -> Self {
        Budget {
            written: 0,
            most: rules.max_written.unwrap_or(u64::MAX),
            max_file: rules.max_file.unwrap_or(u64::MAX),
            min_free: rules.min_free,
            credit: 0,
        }
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Whether a file may have that size.
    pub(super) fn fits(&self, size: u64) -> Result<()> {
        if size > self.max_file { Err(Errno::FBIG.into()) } else { Ok(()) }
    }

    /// Takes `bytes`, which make a file end at `end` at least.
    pub(super) fn spend(&mut self, tree: &Tree, end: u64, bytes: u64) -> Result<()> {
        self.fits(end)?;
        let written = self.written.saturating_add(bytes);
        if written > self.most {
            return no("this session may not write any more");
        }
        if let Some(floor) = self.min_free {
            if self.credit < bytes {
                let free = rustix::fs::fstatvfs(tree.root())?;
                let spare = free.f_bavail.saturating_mul(free.f_frsize).saturating_sub(floor);
                self.credit = spare.min(STEP.max(bytes));
            }
            self.credit = self.credit.checked_sub(bytes).ok_or(No::System(Errno::NOSPC))?;
        }
        self.written = written;
        Ok(())
    }
}

/// Copies `len` bytes, or all of it if that is 0, and says how many it were. `spend` is asked before
/// something is written, with where it will end and how much it is.
pub(super) fn copy(
    (from, from_offset): (&OwnedFd, u64),
    (to, to_offset): (&OwnedFd, u64),
    append: bool,
    len: u64,
    is_over: &dyn Fn() -> bool,
    spend: impl FnMut(u64, u64) -> Result<()>,
) -> (u64, Result<()>) {
    let mut copied = 0;
    let result = (|| {
        let (source, target) = (rustix::fs::fstat(from)?, rustix::fs::fstat(to)?);
        let apart = len != 0 && from_offset.abs_diff(to_offset) >= len && !append;
        // It would go on for ever (S-16).
        if id(&source) == id(&target) && !apart {
            return no("the ranges overlap");
        }
        let size = attrs_of(&source).size.unwrap_or(0);
        let regular = kind(&source) == FileType::RegularFile;
        // What is there now: a file that grows as fast as it is copied has no end.
        let there = if regular { size.saturating_sub(from_offset) } else { u64::MAX };
        let len = match len {
            0 if regular => there,
            0 => return no("a device has no end"),
            len => len,
        };
        let mut copying =
            Copying { from, to, append, direct: !append && regular, paid: 0, buffer: Vec::new(), spend };
        while copied < len.min(there) {
            if is_over() {
                return no("nobody waits for it");
            }
            let most = (len.min(there) - copied).min(CHUNK);
            let n = copying.some(from_offset + copied, to_offset + copied, most)?;
            if n == 0 {
                break;
            }
            copied += n;
        }
        if copied < len { Err(StatusCode::EOF.into()) } else { Ok(()) }
    })();
    (copied, result)
}

struct Copying<'f, S> {
    from: &'f OwnedFd,
    to: &'f OwnedFd,
    append: bool,
    /// The system copies by itself.
    direct: bool,
    /// Taken from the budget and not written yet.
    paid: u64,
    buffer: Vec<u8>,
    spend: S,
}

impl<S: FnMut(u64, u64) -> Result<()>> Copying<'_, S> {
    fn pay(&mut self, end: u64, bytes: u64) -> Result<()> {
        if bytes > self.paid {
            (self.spend)(end, bytes - self.paid)?;
            self.paid = bytes;
        }
        Ok(())
    }

    fn some(&mut self, from: u64, to: u64, len: u64) -> Result<u64> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.direct {
            self.pay(to + len, len)?;
            let (mut from, mut to) = (from, to);
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            match rustix::fs::copy_file_range(self.from, Some(&mut from), self.to, Some(&mut to), len) {
                // Some file systems make files up as they are read, and say that there is nothing to copy.
                Ok(0) => {}
                Ok(n) => {
                    self.paid -= n as u64;
                    return Ok(n as u64);
                }
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(e) => return Err(e.into()),
            }
            self.direct = false;
        }
        self.buffer.resize(BUFFER, 0);
        let most = usize::try_from(len).unwrap_or(BUFFER).min(BUFFER);
        let n = rustix::io::pread(self.from, &mut self.buffer[..most], from)?;
        self.pay(to + n as u64, n as u64)?;
        self.paid -= n as u64;
        let mut left = &self.buffer[..n];
        while !left.is_empty() {
            let at = to + (n - left.len()) as u64;
            let wrote = match self.append {
                true => rustix::io::write(self.to, left)?,
                false => rustix::io::pwrite(self.to, left, at)?,
            };
            if wrote == 0 {
                return Err(Errno::IO.into());
            }
            left = &left[wrote..];
        }
        Ok(n as u64)
    }
}

/// Hashes what check-file asks for.
pub(super) fn hash(fd: impl AsFd, check: &CheckFile<'_>, is_over: &dyn Fn() -> bool) -> Result<FileHash> {
    let stat = rustix::fs::fstat(&fd)?;
    if kind(&stat) != FileType::RegularFile {
        return no("not a regular file");
    }
    let left = attrs_of(&stat).size.unwrap_or(0).saturating_sub(check.offset);
    let len = if check.len == 0 { left } else { check.len.min(left) };
    let alg = check.algs.iter().next().unwrap_or(HashAlg::Sha256);
    let block = if check.block == 0 { len } else { check.block.into() }.max(1);
    let blocks = len.div_ceil(block).max(1);
    if blocks.saturating_mul(alg.len() as u64) > MAX_DIGESTS as u64 {
        return no("too many blocks");
    }
    let (mut digests, mut buffer) = (Vec::new(), vec![0; BUFFER]);
    let mut at = 0;
    for _ in 0..blocks {
        let mut hash = provider::best().hash(alg);
        let end = len.min(at + block);
        while at < end {
            if is_over() {
                return no("nobody waits for it");
            }
            let most = usize::try_from(end - at).unwrap_or(BUFFER).min(BUFFER);
            let n = rustix::io::pread(&fd, &mut buffer[..most], check.offset + at)?;
            if n == 0 {
                return no("the file became shorter");
            }
            hash.update(&buffer[..n]);
            at += n as u64;
        }
        digests.extend_from_slice(Digest::finish(alg, hash).as_bytes());
    }
    Ok(FileHash { alg, digests })
}
