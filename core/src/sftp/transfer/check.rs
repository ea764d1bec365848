//! Whether what arrived is what was sent.

use alloc::boxed::Box;

use crate::crypto::{Digest, Hash, HashAlg};
use crate::sftp::attrs::{Attrs, FileType};
use crate::sftp::extension::FileHash;

use super::intake::Intake;
use super::lane::Lane;
use super::ranges::{Ranges, Reorder};
use super::{TransferConfig, TransferError, Verify};

/// The hash of what passes.
pub(super) struct Running {
    alg: HashAlg,
    hash: Box<dyn Hash>,
}

impl Running {
    /// The hash that `verify` wants, if any.
    pub(super) fn start(config: &TransferConfig, verify: Verify) -> Result<Option<Self>, TransferError> {
        match verify {
            Verify::Size => Ok(None),
            Verify::Hash(alg) | Verify::Reread(alg) => {
                let provider = config.provider.ok_or(TransferError::NoProvider)?;
                Ok(Some(Running { alg, hash: provider.hash(alg) }))
            }
        }
    }

    pub(super) fn alg(&self) -> HashAlg {
        self.alg
    }

    pub(super) fn update(&mut self, data: &[u8]) {
        self.hash.update(data);
    }

    fn finish(self) -> Digest {
        Digest::finish(self.alg, self.hash)
    }

    /// Compares it with the server's.
    pub(super) fn compare(self, told: &FileHash) -> Result<(), TransferError> {
        let same = self.alg == told.alg && self.finish().as_bytes() == told.digests;
        if same { Ok(()) } else { Err(TransferError::HashMismatch) }
    }
}

/// Everything is read once more, and hashed.
pub(super) struct Second {
    pub(super) intake: Intake,
    hash: Running,
    first: Digest,
}

impl Second {
    /// Reads from `start` to `end`; unless `bounded`, one byte more would come if the file were longer.
    pub(super) fn start(
        config: &TransferConfig,
        first: Running,
        (start, end): (u64, u64),
        bounded: bool,
    ) -> Result<Self, TransferError> {
        let hash = Running::start(config, Verify::Reread(first.alg))?.ok_or(TransferError::NoProvider)?;
        let ranges = Ranges::new(start, bounded.then_some(end), Some(end), None);
        let intake = Intake { ranges, order: Some(Reorder::new(start)) };
        Ok(Second { intake, hash, first: first.finish() })
    }

    pub(super) fn on_data(&mut self, lane: &mut Lane, offset: u64, data: &[u8]) {
        self.intake.take(lane, None, Some(&mut self.hash), offset, data);
    }

    /// Where it ended, if it is the same.
    pub(super) fn verdict(self) -> Result<u64, TransferError> {
        self.intake.ranges.verdict()?;
        if self.hash.finish() != self.first {
            return Err(TransferError::HashMismatch);
        }
        Ok(self.intake.ranges.done())
    }
}

/// Whether it is known to be something else than a regular file.
pub(super) fn is_special(attrs: &Attrs) -> bool {
    attrs.file_type().is_some_and(|kind| kind != FileType::File)
}

/// Whether a file is as it was: of the size that was told, and not written to since.
pub(super) fn is_unchanged(before: Option<&Attrs>, size: Option<u64>, now: &Attrs) -> bool {
    let modified = |attrs: &Attrs| attrs.times.map(|t| t.modified);
    let before = before.and_then(modified);
    now.size == size && before.is_some() && modified(now) == before
}
