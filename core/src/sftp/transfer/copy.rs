//! A remote file that is copied to another path of the same server: by copy-data if the server has it, else
//! through this side.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::sftp::attrs::Attrs;
use crate::sftp::client::{Handle, OpenFlags, Reply, SftpClient};
use crate::sftp::operation::Extension;
use crate::sftp::status::StatusCode;

use super::check::SizeCheck;
use super::intake::Intake;
use super::lane::{Drive, Halt, Task, Turn};
use super::ranges::Ranges;
use super::requests::{Ask, Sent};
use super::{Notice, TransferError, UploadOptions};

/// The source has to be there, a file, and readable, before anything happens to the target.
///
/// ```text
/// Opening ─ source ─> Source: Stat ─> Taste ─> OpenTarget ─ target ─> Both: CopyData ─> Close ─> Target ─> Closed
///                                                                        Through <─┘      ^                  │
///                                                                        Restat ──────────┘      Doubt <─────┤
///                                                                                                   └─> End <┘
/// ```
pub(super) struct Copy {
    path: Vec<u8>,
    target: Vec<u8>,
    options: UploadOptions,
    phase: Phase,
    pub(super) intake: Intake,
    /// Data that was read and the client did not take yet.
    held: VecDeque<(u64, Vec<u8>)>,
    written: u64,
    /// What is written, and whether that may be the very file that is read.
    there: Option<Attrs>,
    in_place: bool,
    by_server: bool,
}

enum Phase {
    Opening(Opening, Option<Handle>),
    Source(Handle, Source),
    Both { source: Handle, target: Handle, way: LoginMethod },
    Target(Handle),
    Closed(SizeCheck),
    Doubt(Doubt),
    End { doubted: bool },
}

enum Opening {
    Open,
    /// STAT of the target.
    Look,
    Answers,
}

enum Source {
    Stat { sent: bool },
    Taste { sent: bool },
    OpenTarget { sent: bool },
}

#[derive(Clone, Copy)]
enum LoginMethod {
    CopyData {
        sent: bool,
    },
    Through,
    /// The source ended before its size: FSTAT once more.
    Restat,
    Close,
}

/// The size of what was read says nothing, it was changed, or the server copied less: what is read where the copy
/// ends tells, and whether its size is the same.
enum Doubt {
    Open { sent: bool },
    Probe(Handle),
    Restat(Handle),
    Answers(Handle),
    Close(Handle),
}

impl Copy {
    pub(super) fn new(from: &[u8], to: &[u8], options: UploadOptions) -> Self {
        Copy {
            path: from.to_vec(),
            target: to.to_vec(),
            options,
            phase: Phase::Opening(Opening::Open, None),
            intake: Intake { ranges: Ranges::new(0, None, None, None), order: None },
            held: VecDeque::new(),
            written: 0,
            there: None,
            in_place: false,
            by_server: false,
        }
    }

    pub(super) fn step(&mut self, go: &mut Drive<'_>) -> Result<(), Halt> {
        match &mut self.phase {
            Phase::Opening(step @ Opening::Open, _) => {
                let request =
                    |client: &mut SftpClient| client.open(&self.path, OpenFlags::READ, &Attrs::new());
                go.ask(Ask::Open, request)?;
                *step = Opening::Look;
            }
            Phase::Opening(step @ Opening::Look, _) => {
                go.ask(Ask::Look, |client| client.stat(&self.target))?;
                *step = Opening::Answers;
            }
            Phase::Opening(Opening::Answers, source) => {
                go.task.quiet()?;
                let source = source.take().ok_or(TransferError::Changed)?;
                self.intake.ranges.size_pending = true;
                self.phase = Phase::Source(source, Source::Stat { sent: false });
            }
            Phase::Source(handle, Source::Stat { sent }) => {
                go.answered(sent, Ask::Stat, |client| client.fstat(handle))?;
                self.phase = Phase::Source(handle.clone(), Source::Taste { sent: false });
            }
            Phase::Source(handle, Source::Taste { sent }) => {
                go.answered(sent, Ask::Taste, |client| client.read(handle, 0, 1))?;
                self.phase = Phase::Source(handle.clone(), Source::OpenTarget { sent: false });
            }
            Phase::Source(_, Source::OpenTarget { sent }) => {
                let options = &self.options;
                let cut = if self.in_place { OpenFlags::TRUNCATE.0 } else { 0 };
                let request = |client: &mut SftpClient| {
                    client.open(&self.target, OpenFlags(options.flags.0 & !cut), &options.create)
                };
                go.answered(sent, Ask::OpenTarget, request)?;
                return Err(Halt::Fail(TransferError::Changed));
            }
            Phase::Both { .. } => return self.step_both(go),
            Phase::Target(handle) => {
                go.close(handle)?;
                self.phase = Phase::Closed(SizeCheck::default());
            }
            Phase::Closed(check) => {
                check.step(go, &self.target)?;
                self.phase = Phase::End { doubted: false };
            }
            Phase::Doubt(_) => return self.step_doubt(go),
            Phase::End { .. } => return go.task.end(),
        }
        Ok(())
    }

    fn step_both(&mut self, go: &mut Drive<'_>) -> Result<(), Halt> {
        let Phase::Both { source, target, way } = &mut self.phase else { return Ok(()) };
        match *way {
            LoginMethod::CopyData { sent: false } => {
                let able = go.client.supports(Extension::CopyData);
                if able {
                    go.task.quiet()?;
                }
                // What is made up as it is read says that it is empty (/proc), and servers copy as much of it.
                if !able || self.intake.ranges.size == Some(0) {
                    *way = LoginMethod::Through;
                    return Err(Halt::Turn(Turn::Rotate));
                }
                let request = |client: &mut SftpClient| client.copy_data((source, 0), 0, (target, 0));
                go.ask(Ask::CopyData, request)?;
                *way = LoginMethod::CopyData { sent: true };
            }
            LoginMethod::CopyData { sent: true } => {
                go.task.quiet()?;
                *way = LoginMethod::Close;
            }
            LoginMethod::Through => {
                while let Some((offset, data)) = self.held.front() {
                    if !write(go, target, (*offset, data)) {
                        return Err(Halt::Turn(Turn::Blocked));
                    }
                    self.held.pop_front();
                }
                self.intake.pump(go, source)?;
                let short = self.intake.is_short(go.task.summary.attrs.as_ref());
                *way = if short { LoginMethod::Restat } else { LoginMethod::Close };
            }
            LoginMethod::Restat => {
                go.ask(Ask::Restat, |client| client.fstat(source))?;
                *way = LoginMethod::Close;
            }
            LoginMethod::Close => {
                go.task.quiet()?;
                go.close(source)?;
                self.phase = Phase::Target(target.clone());
            }
        }
        Ok(())
    }

    fn step_doubt(&mut self, go: &mut Drive<'_>) -> Result<(), Halt> {
        let Phase::Doubt(doubt) = &mut self.phase else { return Ok(()) };
        *doubt = match doubt {
            Doubt::Open { sent } => {
                go.task.quiet()?;
                let request =
                    |client: &mut SftpClient| client.open(&self.path, OpenFlags::READ, &Attrs::new());
                go.answered(sent, Ask::Open, request)?;
                return Err(Halt::Fail(TransferError::Changed));
            }
            Doubt::Probe(handle) => {
                let end = go.task.summary.size;
                go.ask(Ask::Probe, |client| client.read(handle, end, 1))?;
                Doubt::Restat(handle.clone())
            }
            Doubt::Restat(handle) => {
                go.ask(Ask::Restat, |client| client.fstat(handle))?;
                Doubt::Answers(handle.clone())
            }
            Doubt::Answers(handle) => {
                go.task.quiet()?;
                Doubt::Close(handle.clone())
            }
            Doubt::Close(handle) => {
                go.close(handle)?;
                self.phase = Phase::End { doubted: true };
                return Ok(());
            }
        };
        Ok(())
    }

    /// Data goes back to the server.
    pub(super) fn on_data(
        &mut self,
        go: &mut Drive<'_>,
        (sent, left): (&Sent, u32),
        offset: u64,
        data: &[u8],
    ) -> Result<(), TransferError> {
        if sent.ask == Ask::Taste {
            return Ok(());
        }
        if sent.ask == Ask::Probe {
            // There is more than was copied.
            let (expected, got) = (self.intake.ranges.size.unwrap_or(0), go.task.summary.size);
            return Err(TransferError::SizeMismatch { expected, got });
        }
        self.intake.arrived(go.lane, sent, offset, data.len(), left);
        if let Phase::Both { target, .. } = &self.phase
            && !(self.held.is_empty() && write(go, target, (offset, data)))
        {
            self.held.push_back((offset, data.to_vec()));
        }
        Ok(())
    }

    pub(super) fn on_reply(
        &mut self,
        go: &mut Drive<'_>,
        sent: &Sent,
        reply: Reply<'_>,
    ) -> Result<(), TransferError> {
        match (sent.ask, reply) {
            (Ask::Open | Ask::OpenTarget, Reply::Handle(handle)) => self.on_handle(go, handle),
            (Ask::Look, Reply::Attrs(attrs)) => self.there = Some(attrs),
            (Ask::Look | Ask::StatPath, Reply::Status(_)) => {}
            (Ask::StatPath, Reply::Attrs(attrs)) => return self.on_size(go, &attrs),
            (Ask::Write, Reply::Status(status)) if status.is_ok() => {
                self.written = self.written.saturating_add(u64::from(sent.len));
                go.lane.notices.push_back(Notice::Progress { job: go.task.id, done: self.written });
            }
            (Ask::Probe | Ask::Taste, Reply::Status(status)) if status.code == StatusCode::EOF => {}
            (Ask::CopyData, Reply::Status(status)) if status.is_ok() => self.by_server = true,
            (Ask::CopyData, Reply::Status(_)) => {
                self.intake.ranges.size_pending = self.intake.ranges.size.is_none();
                if let Phase::Both { way, .. } = &mut self.phase {
                    *way = LoginMethod::Through;
                }
            }
            (ask, reply) => {
                match (ask, &reply) {
                    (Ask::Stat, Reply::Attrs(attrs)) => {
                        self.in_place =
                            self.there.as_ref().is_some_and(|there| there.may_be_same_file(attrs));
                    }
                    (Ask::Open | Ask::OpenTarget, _) => go.lane.closed(go.task),
                    _ => {}
                }
                return self.intake.on_reply(go.task, sent, reply);
            }
        }
        Ok(())
    }

    fn on_handle(&mut self, go: &mut Drive<'_>, handle: Handle) {
        match &mut self.phase {
            Phase::Opening(_, source) => {
                *source = Some(handle);
                go.lane.opened();
                go.lane.notices.push_back(Notice::Opened { job: go.task.id, offset: 0 });
            }
            Phase::Source(source, _) => {
                let (source, way) = (source.clone(), LoginMethod::CopyData { sent: false });
                self.phase = Phase::Both { source, target: handle, way };
            }
            Phase::Doubt(doubt) => {
                go.lane.opened();
                *doubt = Doubt::Probe(handle);
            }
            _ => {}
        }
    }

    /// The size of what was written, as the server has it.
    fn on_size(&mut self, go: &mut Drive<'_>, told: &Attrs) -> Result<(), TransferError> {
        let Phase::Closed(check) = &mut self.phase else { return Ok(()) };
        let ranges = &self.intake.ranges;
        let expected = if self.by_server { ranges.size } else { Some(ranges.done()) };
        let Some(got) = check.judge(go.task, expected, told) else { return Ok(()) };
        if !self.by_server {
            return Err(TransferError::SizeMismatch { expected: expected.unwrap_or(0), got });
        }
        go.task.summary.size = got;
        self.phase = Phase::Doubt(Doubt::Open { sent: false });
        go.lane.opens(go.task);
        Ok(())
    }

    /// A READ or WRITE was not answered: what did not get written is read again, and written then.
    pub(super) fn again(&mut self, offset: u64, len: u32) {
        self.intake.ranges.again(offset, len);
        if let Phase::Both { way: way @ (LoginMethod::Restat | LoginMethod::Close), .. } = &mut self.phase {
            *way = LoginMethod::Through;
        }
    }

    pub(super) fn finish(&self, task: &mut Task) -> Result<(), TransferError> {
        if !self.by_server {
            return self.intake.finish(task);
        }
        let told = self.intake.ranges.size;
        match (&self.phase, told) {
            (Phase::End { doubted: true }, Some(expected)) => {
                return Err(TransferError::SizeMismatch { expected, got: task.summary.size });
            }
            (Phase::End { doubted: true }, None) => {}
            _ => task.summary.size = told.unwrap_or(0),
        }
        task.summary.bytes = task.summary.size;
        Ok(())
    }

    pub(super) fn into_handles(self) -> [Option<Handle>; 2] {
        match self.phase {
            Phase::Opening(_, source) => [source, None],
            Phase::Source(source, _) => [Some(source), None],
            Phase::Both { source, target, .. } => [Some(source), Some(target)],
            Phase::Target(target) => [None, Some(target)],
            Phase::Doubt(
                Doubt::Probe(handle) | Doubt::Restat(handle) | Doubt::Answers(handle) | Doubt::Close(handle),
            ) => [Some(handle), None],
            Phase::Doubt(Doubt::Open { .. }) | Phase::Closed(_) | Phase::End { .. } => [None, None],
        }
    }
}

/// WRITE of what was read. False: the client does not take it now.
fn write(go: &mut Drive<'_>, target: &Handle, (offset, data): (u64, &[u8])) -> bool {
    match go.client.write(target, offset, data) {
        Ok(id) => {
            go.note(Ask::Write, (offset, data.len() as u32), id);
            true
        }
        Err(_) => false,
    }
}
