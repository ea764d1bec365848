//! A remote file that is fetched.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::sftp::attrs::Attrs;
use crate::sftp::client::{Handle, OpenFlags, Reply, SftpClient};
use crate::sftp::operation::Extension;
use crate::sftp::status::StatusCode;

use super::check::{Running, Second};
use super::intake::Intake;
use super::lane::{Drive, Halt, Task, Turn};
use super::ranges::{Ranges, Reorder};
use super::requests::{Ask, Sent};
use super::{DownloadOptions, Notice, TransferConfig, TransferError, Verify};

/// ```text
/// Opening ─ handle ─> Open: Stat ─> Read ─┬─> Close ─> Closed
///    ^                           Restat <─┤     ^        │
///    │                             Hash <─┴─ Reread      │
///    └─── what was known of a small file was wrong ──────┘
/// ```
pub(super) struct Download {
    path: Vec<u8>,
    options: DownloadOptions,
    phase: Phase,
    intake: Intake,
    hash: Option<Running>,
    single: Single,
    /// Times that it could not be opened, or was fetched in vain.
    tries: u32,
    /// It was said that the file is open.
    opened: bool,
}

enum Phase {
    Opening { sent: bool },
    Open(Handle, Step),
    Closed,
}

/// What is done with the open file next.
enum Step {
    Stat,
    Read,
    /// It ended before its size: FSTAT once more.
    Restat {
        sent: bool,
    },
    /// The server's hash.
    Hash {
        sent: bool,
    },
    Reread(Option<Box<Second>>),
    Close,
}

/// A small file of known size: one READ fetches it and shows that it ends there, and the file is closed behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Single {
    No,
    Sent,
    /// Its handle was closed before its turn: a server that does not keep the order.
    Refused,
}

impl Download {
    pub(super) fn new(
        path: &[u8],
        options: DownloadOptions,
        config: &TransferConfig,
    ) -> Result<Self, TransferError> {
        let ordered = options.ordered || options.verify != Verify::Size;
        // A size from a listing is good for one READ, not to judge what came.
        let ranges = Ranges::new(options.offset, options.end, None, options.limit);
        Ok(Download {
            path: path.to_vec(),
            phase: Phase::Opening { sent: false },
            intake: Intake { ranges, order: ordered.then(|| Reorder::new(options.offset)) },
            hash: Running::start(config, options.verify)?,
            single: Single::No,
            tries: 0,
            opened: false,
            options,
        })
    }

    pub(super) fn step(&mut self, go: &mut Drive<'_>) -> Result<(), Halt> {
        match &mut self.phase {
            Phase::Opening { sent } => {
                let request =
                    |client: &mut SftpClient| client.open(&self.path, OpenFlags::READ, &Attrs::new());
                go.answered(sent, Ask::Open, request)?;
                return Err(Halt::Fail(TransferError::Changed));
            }
            Phase::Open(..) => return self.step_open(go),
            Phase::Closed => {
                go.task.quiet()?;
                let failed = self.single == Single::Refused || self.intake.ranges.verdict().is_err();
                if self.single == Single::No || !failed {
                    return Err(Halt::Done);
                }
                // What was known of the file was wrong, or the server gave less than all: once more, slowly.
                self.intake.ranges.restart();
                self.intake.order.iter_mut().for_each(Reorder::clear);
                self.intake.ranges.size_pending = true;
                (self.single, self.tries) = (Single::No, self.tries.max(1));
                self.phase = Phase::Opening { sent: false };
                go.lane.opens(go.task);
            }
        }
        Ok(())
    }

    fn step_open(&mut self, go: &mut Drive<'_>) -> Result<(), Halt> {
        let single = self.single_len(go);
        let Phase::Open(handle, step) = &mut self.phase else { return Ok(()) };
        match step {
            Step::Stat if single.is_some() => {
                self.intake.ranges.size = self.options.size;
                *step = Step::Read;
            }
            Step::Stat => {
                go.ask(Ask::Stat, |client| client.fstat(handle))?;
                self.intake.ranges.size_pending = true;
                *step = Step::Read;
            }
            Step::Read => {
                if let Some(len) = single.filter(|_| !self.intake.ranges.is_exhausted()) {
                    go.lane.known_len(go.lane.read_len(go.client) as usize);
                    self.intake.send(go, handle, len)?;
                    self.single = Single::Sent;
                    *step = Step::Close;
                    return Ok(());
                }
                self.intake.pump(go, handle)?;
                let short = self.intake.is_short(go.task.summary.attrs.as_ref());
                *step = if short { Step::Restat { sent: false } } else { check(self.options.verify) };
            }
            Step::Restat { sent } => {
                go.answered(sent, Ask::Restat, |client| client.fstat(handle))?;
                *step = check(self.options.verify);
            }
            Step::Hash { sent: false } if !go.client.supports(Extension::CheckFile) => {
                *step = Step::Reread(None);
                return Err(Halt::Turn(Turn::Rotate));
            }
            Step::Hash { sent } => {
                let start = self.options.offset;
                let len = self.intake.ranges.done().saturating_sub(start);
                // A length of 0 would be everything.
                if let Some(hash) = self.hash.as_ref().filter(|_| len > 0) {
                    let request = |client: &mut SftpClient| {
                        client.check_file(handle, &[hash.algorithm()], start, len, 0)
                    };
                    go.answered(sent, Ask::HashHandle, request)?;
                }
                go.task.quiet()?;
                *step = Step::Close;
            }
            Step::Reread(second @ None) => {
                go.task.quiet()?;
                // The first pass has to be right before there is a second.
                self.intake.finish(go.task)?;
                let span = (self.options.offset, self.intake.ranges.done());
                let first = self.hash.take().ok_or(TransferError::NoProvider)?;
                let bounded = self.options.end.is_some();
                *second = Some(Box::new(Second::start(&go.lane.config, first, span, bounded)?));
            }
            Step::Reread(Some(second)) => {
                second.intake.pump(go, handle)?;
                let Step::Reread(Some(second)) = core::mem::replace(step, Step::Close) else { return Ok(()) };
                // Now it is known for sure.
                self.intake.ranges.size = Some(second.verdict()?);
                go.task.summary.hash_verified = true;
            }
            Step::Close => {
                go.close(handle)?;
                self.phase = Phase::Closed;
            }
        }
        Ok(())
    }

    /// The length of the one READ that fetches a small file of known size.
    fn single_len(&self, go: &Drive<'_>) -> Option<u32> {
        let (options, ranges) = (&self.options, &self.intake.ranges);
        let plain = options.verify == Verify::Size
            && options.limit.is_none()
            && options.end.is_none()
            && !options.attrs
            && self.tries == 0
            && go.task.data == 0
            && ranges.done() == options.offset
            && !go.lane.config.sequential;
        let told = ranges.size.or(options.size).filter(|_| plain)?;
        let need = told.checked_sub(options.offset)?.saturating_add(1).next_multiple_of(4096);
        u32::try_from(need).ok().filter(|need| *need <= go.lane.read_len(go.client))
    }

    /// True: the data goes to the application now.
    pub(super) fn on_data(
        &mut self,
        go: &mut Drive<'_>,
        (sent, left): (&Sent, u32),
        offset: u64,
        data: &[u8],
    ) -> bool {
        self.reading().arrived(go.lane, sent, offset, data.len(), left);
        if let Phase::Open(_, Step::Reread(Some(second))) = &mut self.phase {
            second.on_data(go.lane, offset, data);
            return false;
        }
        self.intake.take(go.lane, Some(go.task.id), self.hash.as_mut(), offset, data)
    }

    pub(super) fn on_reply(
        &mut self,
        go: &mut Drive<'_>,
        sent: &Sent,
        reply: Reply<'_>,
    ) -> Result<(), TransferError> {
        match (sent.ask, reply) {
            (Ask::Open, Reply::Handle(handle)) => {
                go.lane.opened();
                self.phase = Phase::Open(handle, Step::Stat);
                if !self.opened {
                    self.opened = true;
                    let offset = self.intake.ranges.done();
                    go.lane.notices.push_back(Notice::Opened { job: go.task.id, offset });
                }
            }
            (Ask::HashHandle, Reply::FileHash(told)) => {
                self.hash.take().ok_or(TransferError::HashMismatch)?.compare(&told)?;
                go.task.summary.hash_verified = true;
            }
            (Ask::Open, Reply::Status(status)) => {
                go.lane.refused(go.task, &mut self.tries, sent.offset, status)?;
                self.phase = Phase::Opening { sent: false };
            }
            (Ask::HashHandle, Reply::Status(_)) => {
                if let Phase::Open(_, step) = &mut self.phase {
                    *step = Step::Reread(None);
                }
            }
            (Ask::Read, Reply::Status(status))
                if self.single != Single::No && status.code != StatusCode::EOF =>
            {
                self.single = Single::Refused;
            }
            (_, reply) => return self.reading().on_reply(go.task, sent, reply),
        }
        Ok(())
    }

    /// What is read now, for the first time or once more.
    pub(super) fn reading(&mut self) -> &mut Intake {
        match &mut self.phase {
            Phase::Open(_, Step::Reread(Some(second))) => &mut second.intake,
            _ => &mut self.intake,
        }
    }

    pub(super) fn intake(&self) -> &Intake {
        match &self.phase {
            Phase::Open(_, Step::Reread(Some(second))) => &second.intake,
            _ => &self.intake,
        }
    }

    /// Everything was sent and answered.
    pub(super) fn finish(&self, task: &mut Task) -> Result<(), TransferError> {
        self.intake.finish(task)
    }

    pub(super) fn into_handle(self) -> Option<Handle> {
        match self.phase {
            Phase::Open(handle, _) => Some(handle),
            Phase::Opening { .. } | Phase::Closed => None,
        }
    }
}

/// What follows when everything was read.
fn check(verify: Verify) -> Step {
    match verify {
        Verify::Size => Step::Close,
        Verify::Hash(_) => Step::Hash { sent: false },
        Verify::Reread(_) => Step::Reread(None),
    }
}
