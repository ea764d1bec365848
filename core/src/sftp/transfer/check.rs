//! Whether what arrived is what was sent.

use alloc::boxed::Box;

use crate::crypto::{Digest, Hash, HashAlgorithm};
use crate::sftp::attrs::{Attrs, FileType};
use crate::sftp::extension::FileHash;

use super::intake::Intake;
use super::lane::{Drive, Halt, Lane, Task};
use super::ranges::{Ranges, Reorder};
use super::requests::Ask;
use super::{TransferConfig, TransferError, Verify};

/// The hash of what passes.
pub(super) struct Running {
    algorithm: HashAlgorithm,
    hash: Box<dyn Hash>,
}

impl Running {
    /// The hash that `verify` wants, if any.
    pub(super) fn start(config: &TransferConfig, verify: Verify) -> Result<Option<Self>, TransferError> {
        match verify {
            Verify::Size => Ok(None),
            Verify::Hash(algorithm) | Verify::Reread(algorithm) => {
                let provider = config.provider.ok_or(TransferError::NoProvider)?;
                Ok(Some(Running { algorithm, hash: provider.hash(algorithm) }))
            }
        }
    }

    pub(super) fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    pub(super) fn update(&mut self, data: &[u8]) {
        self.hash.update(data);
    }

    fn finish(self) -> Digest {
        Digest::finish(self.algorithm, self.hash)
    }

    /// Compares it with the server's.
    pub(super) fn compare(self, told: &FileHash) -> Result<(), TransferError> {
        let same = self.algorithm == told.algorithm && self.finish().as_bytes() == told.digests;
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
        let hash =
            Running::start(config, Verify::Reread(first.algorithm))?.ok_or(TransferError::NoProvider)?;
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

/// Whether what was written has the size that it should: STAT of its path. Once more if it was wrong: perhaps it was
/// answered before the file was closed, and some servers write no earlier.
#[derive(Debug, Default)]
pub(super) struct SizeCheck {
    sent: bool,
    again: bool,
}

impl SizeCheck {
    pub(super) fn step(&mut self, go: &mut Drive<'_>, path: &[u8]) -> Result<(), Halt> {
        if self.again {
            go.task.quiet()?;
        }
        go.answered(&mut self.sent, Ask::StatPath, |client| client.stat(path))
    }

    /// The size that the server told, if it is wrong for good. That of a device says nothing of what was written.
    pub(super) fn judge(&mut self, task: &mut Task, expected: Option<u64>, told: &Attrs) -> Option<u64> {
        let got = told.size.filter(|_| !is_special(told))?;
        if expected == Some(got) {
            task.summary.size_verified = true;
            return None;
        }
        if core::mem::replace(&mut self.again, true) {
            return Some(got);
        }
        self.sent = false;
        None
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
