//! What a job sends, step by step.

use crate::crypto::Digest;
use crate::sftp::attrs::Attrs;
use crate::sftp::client::{Client, OpenFlags};
use crate::sftp::error::UsageError;
use crate::sftp::operation::{Extension, Operation};
use crate::sftp::status::{Status, StatusCode};
use crate::time::Time;

use super::engine::Transfers;
use super::job::{Item, Job, Kind, REREAD, Sink};
use super::ranges::{Ranges, Reorder};
use super::{Local, Notice, TransferError, Verify};

/// How a job's turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It could go on; others first.
    Rotate,
    /// Nobody can go on: the window or the client is full.
    Blocked,
    /// It waits for something.
    Idle,
    /// It has ended.
    Finished,
}

/// What became of one item.
enum Done {
    Next,
    Stay(Turn),
}

impl Transfers {
    /// Lets a job send what it can.
    pub(super) fn run(&mut self, client: &mut Client, job: &mut Job, now: Time) -> Turn {
        if !job.started {
            return Turn::Idle;
        }
        loop {
            let Some(item) = job.script.front().copied() else {
                if job.outstanding > 0 {
                    return Turn::Idle;
                }
                if self.conclude(job) {
                    return Turn::Finished;
                }
                continue;
            };
            match self.step(client, job, item, now) {
                Done::Next => {
                    // What failed has a new script.
                    if job.script.front() == Some(&item) {
                        job.script.pop_front();
                    }
                }
                Done::Stay(turn) => return turn,
            }
        }
    }

    fn step(&mut self, client: &mut Client, job: &mut Job, item: Item, now: Time) -> Done {
        match item {
            Item::Wait if job.outstanding > 0 => Done::Stay(Turn::Idle),
            Item::Wait => Done::Next,
            Item::Source => {
                if !job.asked {
                    job.asked = true;
                    self.notices.push_back(Notice::Source { job: job.id });
                }
                Done::Stay(Turn::Idle)
            }
            Item::Read => self.pump_reads(client, job, now),
            Item::Fill => self.pump_fills(client, job),
            Item::CopyData if !client.supports(Extension::CopyData) => {
                job.script.pop_front();
                job.script.push_front(Item::Read);
                Done::Stay(Turn::Rotate)
            }
            // What is made up as it is read says that it is empty (/proc), and servers copy as much of it.
            Item::CopyData if job.outstanding > 0 => Done::Stay(Turn::Idle),
            Item::CopyData if job.ranges.size == Some(0) => {
                job.script.pop_front();
                job.script.push_front(Item::Read);
                Done::Stay(Turn::Rotate)
            }
            Item::Stat if self.fits_behind(job, self.read_len(client)).is_some() => {
                job.ranges.size = job.get.size;
                Done::Next
            }
            Item::Reread => self.start_rereading(job),
            Item::HashHandle | Item::HashPath if !client.supports(Extension::CheckFile) => {
                hash_by_reading(job);
                Done::Stay(Turn::Rotate)
            }
            Item::Fsync if !client.supports(Extension::Fsync) => Done::Next,
            Item::Close if job.handle.is_none() => Done::Next,
            Item::CloseTarget if job.second.is_none() => Done::Next,
            Item::Remove if !job.temporary => Done::Next,
            _ => self.control(client, job, item, now),
        }
    }

    /// Sends a request that is not about data.
    fn control(&mut self, client: &mut Client, job: &mut Job, item: Item, now: Time) -> Done {
        // A server that stalled before gets one thing at a time.
        if self.window.has_stalled() && job.outstanding > 0 {
            return Done::Stay(Turn::Idle);
        }
        let Some(request) = request(client, job, item) else { return Done::Next };
        match self.sent(job, item, (self.files as u64, 0), request, now) {
            Ok(()) => {
                match item {
                    Item::Stat => job.ranges.size_pending = true,
                    Item::Close => {
                        job.handle = None;
                        self.closed(job);
                    }
                    Item::CloseTarget => {
                        job.second = None;
                        self.closed(job);
                    }
                    _ => {}
                }
                Done::Next
            }
            Err(UsageError::Full | UsageError::NotReady | UsageError::Ended) => Done::Stay(Turn::Blocked),
            Err(error) => {
                let text = match error {
                    UsageError::InvalidPath => "the path holds a NUL byte",
                    UsageError::TooLong => "the path is too long",
                    _ => "the server does not offer it",
                };
                let status = Status::with_message(StatusCode::OP_UNSUPPORTED, text);
                job.fail(TransferError::Remote { op: operation(item), status });
                Done::Next
            }
        }
    }

    /// A file of the job is no longer open.
    pub(super) fn closed(&mut self, job: &mut Job) {
        if job.opens > 0 {
            job.opens = job.opens.saturating_sub(1);
            self.files = self.files.saturating_sub(1);
        }
    }

    /// Bytes of one READ.
    pub(super) fn read_len(&self, client: &Client) -> u32 {
        self.config.request_len.unwrap_or(u32::MAX).min(client.limits().read_len()).min(self.longest)
    }

    fn write_len(&self, client: &Client) -> usize {
        self.config.request_len.unwrap_or(u32::MAX).min(client.limits().write_len()) as usize
    }

    fn pump_reads(&mut self, client: &mut Client, job: &mut Job, now: Time) -> Done {
        if let Some(turn) = self.flush_held(client, job, now) {
            return Done::Stay(turn);
        }
        let len = self.read_len(client);
        self.window.at_least(self.config.start_requests.saturating_mul(len as usize));
        let behind = self.fits_behind(job, len);
        loop {
            if job.data == 0 && job.ranges.is_exhausted() {
                if job.is_short() && !job.doubted {
                    job.doubted = true;
                    job.script.pop_front();
                    [Item::Wait, Item::Restat].iter().for_each(|i| job.script.push_front(*i));
                }
                return Done::Next;
            }
            if self.config.sequential && job.data > 0 {
                return Done::Stay(Turn::Idle);
            }
            if !self.window.has_room() {
                return Done::Stay(Turn::Blocked);
            }
            if !self.may_wait(job, behind.unwrap_or(len)) {
                return Done::Stay(Turn::Idle);
            }
            let Some((offset, n)) = job.ranges.next(behind.unwrap_or(len), job.data) else {
                return Done::Stay(Turn::Idle);
            };
            let Some(handle) = &job.handle else { return Done::Next };
            let request = client.read(handle, offset, n);
            if self.sent(job, Item::Read, (offset, n), request, now).is_err() {
                job.ranges.again(offset, n);
                return Done::Stay(Turn::Blocked);
            }
            if behind.is_some() {
                job.behind = true;
                return Done::Next;
            }
            if job.data.is_multiple_of(8) {
                return Done::Stay(Turn::Rotate);
            }
        }
    }

    /// Whether what is read next can be kept until its turn: what comes out of turn is never more than the
    /// largest window, all jobs together. What is next can always come.
    fn may_wait(&self, job: &Job, len: u32) -> bool {
        let in_turn = job.order.as_ref().is_none_or(|order| job.ranges.upcoming() <= order.next());
        in_turn || self.window.room_beside(self.held) >= len as usize
    }

    /// The length of the one READ that fetches a small file of known size and shows that it ends there. The
    /// file can then be closed behind it.
    fn fits_behind(&self, job: &Job, len: u32) -> Option<u32> {
        let plain = job.kind == Kind::Get
            && job.sink == Sink::App
            && job.get.verify == Verify::Size
            && job.get.limit.is_none()
            && job.get.end.is_none()
            && job.tries == 0
            && job.data == 0
            && job.ranges.done() == job.get.offset
            && !self.config.sequential;
        let told = job.ranges.size.or(job.get.size);
        let left = told.filter(|_| plain && !job.rereading && !job.get.attrs)?.checked_sub(job.get.offset)?;
        let need = left.saturating_add(1).next_multiple_of(4096);
        u32::try_from(need).ok().filter(|need| *need <= len)
    }

    fn pump_fills(&mut self, client: &mut Client, job: &mut Job) -> Done {
        if job.ended && job.refill.is_empty() {
            // So that what stalls can still be sent again.
            let careful = self.window.has_stalled() || job.kind == Kind::Write;
            return if careful && job.outstanding > 0 { Done::Stay(Turn::Idle) } else { Done::Next };
        }
        if job.asked || job.kind == Kind::Write {
            return Done::Stay(Turn::Idle);
        }
        let len = self.write_len(client);
        self.window.at_least(self.config.start_requests.saturating_mul(len));
        if self.config.sequential && job.data > 0 {
            return Done::Stay(Turn::Idle);
        }
        if !self.window.has_room() || !client.has_room() {
            return Done::Stay(Turn::Blocked);
        }
        let (offset, len) = match job.refill.front() {
            Some((offset, n)) => (*offset, *n as usize),
            None => (job.next, len),
        };
        job.asked = true;
        self.notices.push_back(Notice::Fill { job: job.id, offset, len });
        Done::Stay(Turn::Idle)
    }

    pub(super) fn fill_job(
        &mut self,
        client: &mut Client,
        job: &mut Job,
        now: Time,
        read: impl FnOnce(&mut [u8]) -> Local,
    ) -> usize {
        let again = job.refill.front().copied();
        let most = self.write_len(client);
        let (offset, len) = again.map_or((job.next, most), |(offset, n)| (offset, (n as usize).min(most)));
        let free = self.window.has_room() && client.has_room() && (!self.config.sequential || job.data == 0);
        let open = matches!(job.script.front(), Some(Item::Fill)) && job.error.is_none();
        let Some(handle) = job.handle.clone().filter(|_| free && open) else { return 0 };
        let (mut said, mut hash) = (Local::Data(0), job.hash.take());
        let sent = client.write_with(&handle, offset, len, |room| {
            said = read(room);
            let n = if let Local::Data(n) = said { n.min(room.len()) } else { 0 };
            if again.is_none()
                && let Some((_, hash)) = &mut hash
            {
                hash.update(room.get(..n).unwrap_or_default());
            }
            said = if let Local::Data(_) = said { Local::Data(n) } else { said };
            n
        });
        job.hash = hash;
        let n = match (sent, said) {
            (Ok(Some(request)), Local::Data(n)) => {
                let _ = self.sent(job, Item::Fill, (offset, n as u32), Ok(request), now);
                n
            }
            (Ok(_), Local::Data(_)) => {
                // The local file has become shorter than what was sent of it once.
                if again.is_some() {
                    job.fail(TransferError::Local);
                }
                job.ended = true;
                0
            }
            (_, Local::Failed) => {
                job.fail(TransferError::Local);
                0
            }
            (_, Local::Later) => {
                job.asked = true;
                return 0;
            }
            (Err(_), _) => 0,
        };
        match again {
            Some((_, left)) if n > 0 => {
                job.refill.pop_front();
                let rest = left.saturating_sub(n as u32);
                if rest > 0 {
                    job.refill.push_front((offset.saturating_add(n as u64), rest));
                }
            }
            _ => job.next = job.next.saturating_add(n as u64),
        }
        job.asked = false;
        if !job.queued {
            job.queued = true;
            self.make_ready(job.id);
        }
        n
    }

    /// Writes what a copy has read and the client did not take.
    fn flush_held(&mut self, client: &mut Client, job: &mut Job, now: Time) -> Option<Turn> {
        while let Some((offset, data)) = job.held.pop_front() {
            let Some(handle) = &job.second else { return None };
            let request = client.write(handle, offset, &data);
            if self.sent(job, Item::Fill, (offset, data.len() as u32), request, now).is_err() {
                job.held.push_front((offset, data));
                return Some(Turn::Blocked);
            }
        }
        None
    }

    fn start_rereading(&mut self, job: &mut Job) -> Done {
        let Some(provider) = self.config.provider else {
            job.fail(TransferError::NoProvider);
            return Done::Next;
        };
        let alg = match job.verify() {
            Verify::Hash(alg) | Verify::Reread(alg) => alg,
            Verify::Size => return Done::Next,
        };
        // The first pass has to be right before there is a second.
        let (start, end) = if job.kind == Kind::Put {
            (job.first, job.next)
        } else {
            match job.ranges.verdict() {
                Ok(bytes) => (job.get.offset, job.get.offset.saturating_add(bytes)),
                Err(error) => {
                    job.fail(error);
                    return Done::Next;
                }
            }
        };
        job.summary.bytes = end.saturating_sub(start);
        if let Some((alg, hash)) = job.hash.take() {
            job.digest = Some(Digest::finish(alg, hash));
        }
        job.hash = Some((alg, provider.hash(alg)));
        job.rereading = true;
        job.sink = Sink::Hash;
        // One byte more would come if the file were longer.
        job.ranges = Ranges::new(start, job.get.end.map(|_| end), Some(end), None);
        job.order = Some(Reorder::new(start));
        Done::Next
    }
}

/// The server makes no hashes: everything is read again.
pub(super) fn hash_by_reading(job: &mut Job) {
    let item = job.script.pop_front();
    let steps: &[Item] =
        if item == Some(Item::HashPath) { &REREAD } else { &[Item::Wait, Item::Reread, Item::Read] };
    steps.iter().rev().for_each(|i| job.script.push_front(*i));
}

fn request(
    client: &mut Client,
    job: &mut Job,
    item: Item,
) -> Option<Result<crate::sftp::client::RequestId, UsageError>> {
    Some(match item {
        Item::Open if job.kind == Kind::Put => {
            job.temporary = false;
            client.open(job.written(), job.flags(), &job.put.create)
        }
        Item::Open => client.open(&job.path, OpenFlags::READ, &Attrs::new()),
        Item::Reopen => client.open(job.written(), OpenFlags::READ, &Attrs::new()),
        Item::OpenTarget => client.open(&job.target, job.flags(), &job.put.create),
        Item::Look if job.kind == Kind::Copy => client.stat(&job.target),
        Item::Look => client.stat(&job.path),
        Item::Stat | Item::Restat => client.fstat(job.handle.as_ref()?),
        Item::Probe => client.read(job.handle.as_ref()?, job.summary.size, 1),
        Item::SetAttrs => client.fsetstat(job.handle.as_ref()?, job.put.attrs.as_ref()?),
        Item::Fsync => client.fsync(job.handle.as_ref()?),
        Item::Close => client.close(job.handle.as_ref()?),
        Item::CloseTarget => client.close(job.second.as_ref()?),
        Item::StatPath => client.stat(job.written()),
        Item::HashPath | Item::HashHandle => hash_request(client, job, item)?,
        Item::Rename if client.supports(Extension::PosixRename) => {
            client.posix_rename(job.put.temporary.as_deref()?, &job.path)
        }
        Item::Rename => client.rename(job.put.temporary.as_deref()?, &job.path),
        Item::Remove => client.remove(job.put.temporary.as_deref()?),
        Item::CopyData => client.copy_data((job.handle.as_ref()?, 0), 0, (job.second.as_ref()?, 0)),
        Item::Wait | Item::Read | Item::Fill | Item::Reread | Item::Source => return None,
    })
}

fn hash_request(
    client: &mut Client,
    job: &mut Job,
    item: Item,
) -> Option<Result<crate::sftp::client::RequestId, UsageError>> {
    let alg = job.hash.as_ref()?.0;
    let (start, end) = match item {
        Item::HashPath => (job.first, job.next),
        _ => (job.get.offset, job.ranges.done()),
    };
    // A length of 0 would be everything.
    let len = end.checked_sub(start).filter(|n| *n > 0)?;
    Some(match item {
        Item::HashPath => client.check_file_name(job.written(), &[alg], start, len, 0),
        _ => client.check_file(job.handle.as_ref()?, &[alg], start, len, 0),
    })
}

/// The operation that an item stands for, in errors.
pub(super) fn operation(item: Item) -> Operation {
    match item {
        Item::Open | Item::OpenTarget | Item::Reopen | Item::Source => Operation::Open,
        Item::Stat | Item::Restat => Operation::Fstat,
        Item::Probe | Item::Read | Item::Reread | Item::Wait => Operation::Read,
        Item::Fill => Operation::Write,
        Item::SetAttrs => Operation::Fsetstat,
        Item::Fsync => Operation::Fsync,
        Item::Close | Item::CloseTarget => Operation::Close,
        Item::StatPath | Item::Look => Operation::Stat,
        Item::HashPath => Operation::CheckFileName,
        Item::HashHandle => Operation::CheckFileHandle,
        Item::Rename => Operation::PosixRename,
        Item::Remove => Operation::Remove,
        Item::CopyData => Operation::CopyData,
    }
}

impl Job {
    pub(super) fn handle_or_started(&self) -> bool {
        self.started
    }

    pub(super) fn is_upload(&self) -> bool {
        matches!(self.kind, Kind::Put | Kind::Write)
    }

    /// Local data can still be sent.
    pub(super) fn is_filling(&self) -> bool {
        matches!(self.script.front(), Some(Item::Fill))
    }
}
