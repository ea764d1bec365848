//! Much data at a time: how much a session may write, and copies.

use std::os::fd::OwnedFd;

use konko_core::sftp::CopyRange;
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::attrs::attrs_of;
use super::errno::{No, Result, no};
use super::resolve::{Tree, id, kind};
use super::root::Rules;

/// How much may be written before the free space is looked at again.
const STEP: u64 = 16 << 20;
/// How much is copied between two questions whether anybody waits for it.
const CHUNK: u64 = 16 << 20;
const BUFFER: usize = 256 << 10;

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

/// Copies up to where reading ends, and says how many bytes it were. `spend` is asked before something is written, with
/// where it will end and how much it is.
///
/// The end is where reading ends, whatever size a file has: in /proc that is 0, in /sys always 4096. Only of a file
/// that grows comes no more than it had: if it grew as fast as it is copied, it would have no end.
pub(super) fn copy(
    from: &OwnedFd,
    to: &OwnedFd,
    append: bool,
    range: CopyRange,
    is_over: &dyn Fn() -> bool,
    spend: impl FnMut(u64, u64) -> Result<()>,
) -> Result<u64> {
    let len = range.len;
    let (source, target) = (rustix::fs::fstat(from)?, rustix::fs::fstat(to)?);
    let apart = len != 0 && range.from.abs_diff(range.to) >= len && !append;
    // It would go on for ever (S-16).
    if id(&source) == id(&target) && !apart {
        return no("the ranges overlap");
    }
    let size = |stat: &Stat| attrs_of(stat).size().unwrap_or(0);
    let regular = kind(&source) == FileType::RegularFile;
    if len == 0 && !regular {
        return no("a device has no end");
    }
    let there = if regular { size(&source).saturating_sub(range.from) } else { 0 };
    let wanted = if len == 0 { u64::MAX } else { len };
    let direct = !append && regular;
    let mut copying = Copying { from, to, append, direct, paid: 0, buffer: Vec::new(), spend };
    let mut copied = 0;
    while copied < wanted {
        if is_over() {
            return no("nobody waits for it");
        }
        let told = there.saturating_sub(copied);
        if told == 0 && len == 0 && size(&rustix::fs::fstat(from)?) > size(&source) {
            break;
        }
        // Beyond the size, nothing is promised that is not read yet.
        copying.direct &= told > 0;
        let most = (wanted - copied).min(if told > 0 { told.min(CHUNK) } else { BUFFER as u64 });
        let n = copying.some(range.from + copied, range.to + copied, most)?;
        if n == 0 {
            break;
        }
        copied += n;
    }
    Ok(copied)
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
            self.pay(to.saturating_add(len), len)?;
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
        let n = rustix::io::retry_on_intr(|| rustix::io::pread(self.from, &mut self.buffer[..most], from))?;
        // What is appended ends where the file has got to, which is not what the client says.
        let start = if self.append { attrs_of(&rustix::fs::fstat(self.to)?).size().unwrap_or(0) } else { to };
        self.pay(start.saturating_add(n as u64), n as u64)?;
        self.paid -= n as u64;
        let mut left = &self.buffer[..n];
        while !left.is_empty() {
            let at = to + (n - left.len()) as u64;
            let wrote = rustix::io::retry_on_intr(|| match self.append {
                true => rustix::io::write(self.to, left),
                false => rustix::io::pwrite(self.to, left, at),
            })?;
            if wrote == 0 {
                return Err(Errno::IO.into());
            }
            left = &left[wrote..];
        }
        Ok(n as u64)
    }
}
