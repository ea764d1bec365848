//! A local file that is sent.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::sftp::attrs::Attrs;
use crate::sftp::client::{Handle, OpenFlags, Reply, SftpClient};
use crate::sftp::operation::Extension;
use crate::sftp::status::{Status, StatusCode};

use super::check::{Running, Second, SizeCheck};
use super::lane::{Drive, Halt, Lane, Task, Turn};
use super::outgoing::Outgoing;
use super::requests::{Ask, Sent};
use super::{Local, Notice, TransferConfig, TransferError, UploadOptions, Verify};

/// ```text
/// Look ─> Source ─> Opening ─ handle ─> Open: Size ─> Fill ─> SetAttrs ─> Fsync ─> Close
///  (careful only)      ^                                                            │
///                      └── writes that were never answered ─────────── Closed: Size ┤
///                                            Rename <─ Hash, Reopen ─> Reread <──────┘
/// ```
pub(super) struct Upload {
    path: Vec<u8>,
    options: UploadOptions,
    phase: Phase,
    out: Outgoing,
    hash: Option<Running>,
    /// What is written may be the very file that is read: it is not cut.
    in_place: bool,
    /// It was opened once: what is there is ours.
    made: bool,
    tries: u32,
}

enum Phase {
    /// What is at the path that will be written.
    Look {
        sent: bool,
        there: Option<Attrs>,
    },
    /// Until the local file is open.
    Source {
        asked: bool,
        there: Option<Attrs>,
    },
    Opening {
        sent: bool,
    },
    Open(Handle, Step),
    /// Everything was sent and the file closed.
    Closed(After),
}

/// What is done with the open file next.
#[derive(Clone, Copy)]
enum Step {
    /// FSTAT of a file to be resumed.
    Size {
        sent: bool,
    },
    Fill,
    SetAttrs,
    Fsync,
    Close,
}

/// What is done with the written file next.
enum After {
    Size(SizeCheck),
    /// The server's hash.
    Hash {
        sent: bool,
    },
    Reopen {
        sent: bool,
    },
    Reread(Handle, Box<Second>),
    CloseReread(Handle),
    Rename,
    End,
}

impl Upload {
    pub(super) fn new(
        path: &[u8],
        options: UploadOptions,
        config: &TransferConfig,
    ) -> Result<Self, TransferError> {
        // What is not cut, or is another file for now, can be the same one without harm.
        let harmless = options.fresh || options.resume || options.temporary.is_some();
        let phase = match (options.careful, harmless) {
            (true, false) => Phase::Look { sent: false, there: None },
            (true, true) => Phase::Source { asked: false, there: None },
            (false, _) => Phase::Opening { sent: false },
        };
        Ok(Upload {
            path: path.to_vec(),
            phase,
            out: Outgoing::new(options.offset),
            hash: Running::start(config, options.verify)?,
            in_place: false,
            made: false,
            tries: 0,
            options,
        })
    }

    pub(super) fn step(&mut self, go: &mut Drive<'_>) -> Result<(), Halt> {
        let flags = self.flags();
        match &mut self.phase {
            Phase::Look { sent, there } => {
                go.answered(sent, Ask::Look, |client| client.stat(&self.path))?;
                self.phase = Phase::Source { asked: false, there: there.take() };
            }
            Phase::Source { asked, .. } => {
                if !*asked {
                    *asked = true;
                    go.lane.notices.push_back(Notice::Source { job: go.task.id });
                }
                return Err(Halt::Turn(Turn::Idle));
            }
            Phase::Opening { sent } => {
                let path = self.options.temporary.as_deref().unwrap_or(&self.path);
                let request = |client: &mut SftpClient| client.open(path, flags, &self.options.create);
                go.answered(sent, Ask::Open, request)?;
                return Err(Halt::Fail(TransferError::Changed));
            }
            Phase::Open(..) => return self.step_open(go),
            Phase::Closed(_) => return self.step_closed(go),
        }
        Ok(())
    }

    fn step_open(&mut self, go: &mut Drive<'_>) -> Result<(), Halt> {
        let Phase::Open(handle, step) = &mut self.phase else { return Ok(()) };
        *step = match step {
            Step::Size { sent } => {
                go.answered(sent, Ask::Stat, |client| client.fstat(handle))?;
                Step::Fill
            }
            Step::Fill => {
                self.out.pump(go)?;
                Step::SetAttrs
            }
            Step::SetAttrs => {
                if let Some(attrs) = &self.options.attrs {
                    go.ask(Ask::SetAttrs, |client| client.fsetstat(handle, attrs))?;
                }
                Step::Fsync
            }
            Step::Fsync => {
                if self.options.fsync && go.client.supports(Extension::Fsync) {
                    go.ask(Ask::Fsync, |client| client.fsync(handle))?;
                }
                Step::Close
            }
            Step::Close => {
                go.close(handle)?;
                self.phase = Phase::Closed(After::Size(SizeCheck::default()));
                return Ok(());
            }
        };
        Ok(())
    }

    fn step_closed(&mut self, go: &mut Drive<'_>) -> Result<(), Halt> {
        let path = self.options.temporary.as_deref().unwrap_or(&self.path);
        let Phase::Closed(after) = &mut self.phase else { return Ok(()) };
        *after = match after {
            After::Size(check) => {
                check.step(go, path)?;
                match self.options.verify {
                    Verify::Size => After::Rename,
                    Verify::Hash(_) => After::Hash { sent: false },
                    Verify::Reread(_) => After::Reopen { sent: false },
                }
            }
            After::Hash { sent: false } if !go.client.supports(Extension::CheckFile) => {
                *after = After::Reopen { sent: false };
                return Err(Halt::Turn(Turn::Rotate));
            }
            After::Hash { sent } => {
                let len = self.out.next.saturating_sub(self.out.first);
                // A length of 0 would be everything.
                if let Some(hash) = self.hash.as_ref().filter(|_| len > 0) {
                    let request = |client: &mut SftpClient| {
                        client.check_file_name(path, &[hash.algorithm()], self.out.first, len, 0)
                    };
                    go.answered(sent, Ask::HashPath, request)?;
                }
                go.task.quiet()?;
                After::Rename
            }
            After::Reopen { sent } => {
                go.task.quiet()?;
                let request = |client: &mut SftpClient| client.open(path, OpenFlags::READ, &Attrs::new());
                go.answered(sent, Ask::Reopen, request)?;
                return Err(Halt::Fail(TransferError::Changed));
            }
            After::Reread(handle, second) => {
                second.intake.pump(go, handle)?;
                let After::Reread(handle, second) = core::mem::replace(after, After::End) else {
                    return Ok(());
                };
                *after = After::CloseReread(handle);
                second.verdict()?;
                go.task.summary.hash_verified = true;
                return Ok(());
            }
            After::CloseReread(handle) => {
                go.close(handle)?;
                After::Rename
            }
            After::Rename => {
                if let Some(temporary) = &self.options.temporary {
                    go.task.quiet()?;
                    let posix = go.client.supports(Extension::PosixRename);
                    go.ask(Ask::Rename, |client| match posix {
                        true => client.posix_rename(temporary, &self.path),
                        false => client.rename(temporary, &self.path),
                    })?;
                }
                After::End
            }
            After::End => return go.task.end(),
        };
        Ok(())
    }

    pub(super) fn on_data(
        &mut self,
        go: &mut Drive<'_>,
        (sent, left): (&Sent, u32),
        offset: u64,
        data: &[u8],
    ) {
        if let Phase::Closed(After::Reread(_, second)) = &mut self.phase {
            second.intake.arrived(go.lane, sent, offset, data.len(), left);
            second.on_data(go.lane, offset, data);
        }
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
                let resume = self.options.resume && !self.made;
                if !resume && !self.made {
                    go.lane.notices.push_back(Notice::Opened { job: go.task.id, offset: self.out.first });
                }
                self.made = true;
                let step = if resume { Step::Size { sent: false } } else { Step::Fill };
                self.phase = Phase::Open(handle, step);
            }
            (Ask::Reopen, Reply::Handle(handle)) => {
                go.lane.opened();
                go.lane.opens(go.task);
                let first = self.hash.take().ok_or(TransferError::NoProvider)?;
                let second = Second::start(&go.lane.config, first, (self.out.first, self.out.next), false)?;
                self.phase = Phase::Closed(After::Reread(handle, Box::new(second)));
            }
            (Ask::Stat, Reply::Attrs(attrs)) => {
                self.out = Outgoing::new(attrs.size.unwrap_or(0));
                go.lane.notices.push_back(Notice::Opened { job: go.task.id, offset: self.out.first });
                go.task.summary.attrs = Some(attrs);
            }
            (Ask::Look, Reply::Attrs(attrs)) => {
                if let Phase::Look { there, .. } = &mut self.phase {
                    *there = Some(attrs);
                }
            }
            (Ask::StatPath, Reply::Attrs(attrs)) => {
                let (Phase::Closed(After::Size(check)), expected) = (&mut self.phase, self.out.next) else {
                    return Ok(());
                };
                if let Some(got) = check.judge(go.task, Some(expected), &attrs) {
                    return Err(TransferError::SizeMismatch { expected, got });
                }
            }
            (Ask::HashPath, Reply::FileHash(told)) => {
                self.hash.take().ok_or(TransferError::HashMismatch)?.compare(&told)?;
                go.task.summary.hash_verified = true;
            }
            (Ask::Write, Reply::Status(status)) if status.is_ok() => {
                let done = self.out.taken(sent);
                go.lane.notices.push_back(Notice::Progress { job: go.task.id, done });
            }
            (Ask::Read, reply) => {
                if let Phase::Closed(After::Reread(_, second)) = &mut self.phase {
                    return second.intake.on_reply(go.task, sent, reply);
                }
            }
            (ask, Reply::Status(status)) if status.is_ok() => match ask {
                Ask::SetAttrs => go.task.summary.attrs_set = true,
                Ask::Fsync => go.task.summary.synced = true,
                // What was temporary is gone.
                Ask::Rename => self.options.temporary = None,
                _ => {}
            },
            (_, Reply::Status(status)) => return self.on_refusal(go, sent, status),
            // The client checks that replies fit.
            _ => {}
        }
        Ok(())
    }

    fn on_refusal(&mut self, go: &mut Drive<'_>, sent: &Sent, status: Status) -> Result<(), TransferError> {
        match sent.ask {
            Ask::Open => {
                go.lane.refused(go.task, &mut self.tries, sent.offset, status)?;
                self.phase = Phase::Opening { sent: false };
            }
            Ask::StatPath | Ask::Look => {}
            Ask::SetAttrs if !self.options.require_attrs => go.task.summary.attrs_refused = Some(status),
            Ask::Fsync if status.code == StatusCode::OP_UNSUPPORTED => {}
            Ask::HashPath => self.phase = Phase::Closed(After::Reopen { sent: false }),
            ask => return Err(ask.refused(status)),
        }
        Ok(())
    }

    /// The local file is open, and is this one.
    pub(super) fn source(&mut self, local: &Attrs) {
        if let Phase::Source { there, .. } = &self.phase {
            self.in_place = there.as_ref().is_some_and(|there| there.may_be_same_file(local));
            self.phase = Phase::Opening { sent: false };
        }
    }

    /// Lends room for local data; `None`: it cannot be taken now, or there is none.
    pub(super) fn fill(
        &mut self,
        go: &mut Drive<'_>,
        read: impl FnOnce(&mut [u8]) -> Local,
    ) -> Result<Option<usize>, TransferError> {
        let Phase::Open(handle, Step::Fill) = &self.phase else { return Ok(None) };
        self.out.fill(go, (handle, self.hash.as_mut()), read)
    }

    /// A READ or WRITE was not answered: it is asked for again.
    pub(super) fn again(&mut self, offset: u64, len: u32) {
        match &mut self.phase {
            Phase::Closed(After::Reread(_, second)) => second.intake.ranges.again(offset, len),
            _ => self.out.again(offset, len),
        }
    }

    /// Goes back to where data is sent, if there is some to be sent again; a file that was closed behind it is
    /// opened once more. True: what it asked for since is to be forgotten.
    pub(super) fn go_back(&mut self, lane: &mut Lane, task: &mut Task) -> bool {
        match &mut self.phase {
            _ if self.out.is_sent() || !self.out.ended => false,
            Phase::Open(_, Step::Fill) => false,
            Phase::Open(_, step) => {
                *step = Step::Fill;
                true
            }
            _ => {
                self.phase = Phase::Opening { sent: false };
                lane.opens(task);
                true
            }
        }
    }

    /// Whether what was sent can be asked for again.
    pub(super) fn is_seekable(&self) -> bool {
        self.options.seekable
    }

    pub(super) fn out(&mut self) -> &mut Outgoing {
        &mut self.out
    }

    /// Contiguous bytes that are safe end here.
    pub(super) fn done(&self) -> u64 {
        match &self.phase {
            Phase::Closed(After::Reread(..)) => self.out.next,
            _ => self.out.done(),
        }
    }

    pub(super) fn held(&self) -> usize {
        match &self.phase {
            Phase::Closed(After::Reread(_, second)) => second.intake.held(),
            _ => 0,
        }
    }

    pub(super) fn finish(&self, task: &mut Task) -> Result<(), TransferError> {
        self.out.finish(task)
    }

    /// What is left when it has failed: an open file, and a temporary one with whether it exists.
    pub(super) fn into_rest(self) -> (Option<Handle>, Option<(Vec<u8>, bool)>) {
        let handle = match self.phase {
            Phase::Open(handle, _) | Phase::Closed(After::Reread(handle, _) | After::CloseReread(handle)) => {
                Some(handle)
            }
            _ => None,
        };
        (handle, self.options.temporary.map(|path| (path, self.made)))
    }

    /// How it is opened. What was written already is to stay.
    fn flags(&self) -> OpenFlags {
        let flags = self.options.flags;
        match self.made {
            true => OpenFlags::WRITE,
            false if self.options.resume || self.in_place => OpenFlags(flags.0 & !OpenFlags::TRUNCATE.0),
            false => flags,
        }
    }
}
