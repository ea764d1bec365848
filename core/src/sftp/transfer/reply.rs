//! What replies do to a job, and how it ends.

use crate::crypto::Digest;
use crate::sftp::attrs::{Attrs, FileType};
use crate::sftp::client::{Client, Event, Reply};
use crate::sftp::status::{Status, StatusCode};
use crate::time::Time;

use super::engine::Transfers;
use super::job::{Flight, Item, Job, Kind, Sink};
use super::ranges::Ranges;
use super::script::{hash_by_reading, operation};
use super::{Handled, Notice, TransferError};

/// Times that a file is opened again when a server has too many open.
const MAX_TRIES: u32 = 8;
/// Replies shorter than this teach nothing about a server.
const LEAST_READ: u32 = 4096;

impl Transfers {
    /// Takes an event of the client. What is not for a job is handed back.
    pub fn on_event<'b>(&mut self, client: &mut Client, event: Event<'b>, now: Time) -> Handled<'b> {
        match event {
            Event::Data { id, at, data, left } => {
                let Some(flight) = self.flights.get_mut(&id) else {
                    return Handled::Other(Event::Data { id, at, data, left });
                };
                flight.got = flight.got.saturating_add(data.len() as u32);
                let (flight, offset) = (*flight, flight.offset.saturating_add(u64::from(at)));
                if left == 0 {
                    self.flights.remove(&id);
                    self.answered = self.answered.max(flight.turn);
                }
                let job = flight.job;
                let mine =
                    self.with(job, |this, job| this.on_data(client, job, (flight, left), offset, data, now));
                self.wake(job);
                if mine == Some(true) { Handled::Data { job, offset, data } } else { Handled::Done }
            }
            Event::Reply { id, reply } => {
                let Some(flight) = self.flights.remove(&id) else {
                    return Handled::Other(Event::Reply { id, reply });
                };
                self.window.alive(now);
                self.answered = self.answered.max(flight.turn);
                let job = flight.job;
                let failed = self.with(job, |this, job| {
                    job.outstanding = job.outstanding.saturating_sub(1);
                    if matches!(flight.item, Item::Read | Item::Fill) {
                        job.data = job.data.saturating_sub(1);
                        this.window.acked(flight.len as usize, flight.sent, now);
                    }
                    let before = job.error.is_some();
                    this.on_reply(job, flight, reply);
                    job.error.is_some() && !before
                });
                if failed == Some(true) {
                    self.drop_data(client, job);
                }
                self.wake(job);
                Handled::Done
            }
            other => Handled::Other(other),
        }
    }

    /// True: the data goes to the application now.
    fn on_data(
        &mut self,
        client: &mut Client,
        job: &mut Job,
        (flight, left): (Flight, u32),
        offset: u64,
        data: &[u8],
        now: Time,
    ) -> bool {
        self.window.alive(now);
        if flight.item == Item::Probe {
            // There is more than was copied.
            job.outstanding = job.outstanding.saturating_sub(1);
            let expected = job.ranges.size.unwrap_or(0);
            job.fail(TransferError::SizeMismatch { expected, got: job.summary.size });
            return false;
        }
        job.ranges.got(offset, data.len());
        if left == 0 {
            job.outstanding = job.outstanding.saturating_sub(1);
            job.data = job.data.saturating_sub(1);
            self.window.acked(flight.len as usize, flight.sent, now);
            let hole = job.ranges.replied(flight.offset, flight.len, flight.got);
            let end = flight.offset.saturating_add(u64::from(flight.got));
            // Short in the middle of the file: this is what the server gives at most.
            if hole && job.ranges.size.is_some_and(|size| end < size) {
                self.longest = self.longest.min(flight.got.max(LEAST_READ));
            }
        }
        if job.error.is_some() {
            return false;
        }
        if job.sink == Sink::Remote {
            self.forward(client, job, offset, data, now);
            return false;
        }
        let in_turn = job.order.as_mut().is_none_or(|order| order.take(offset, data));
        if in_turn && let Some((_, hash)) = &mut job.hash {
            hash.update(data);
        }
        while let Some((offset, data)) = job.order.as_mut().and_then(|o| o.ready()) {
            if let Some((_, hash)) = &mut job.hash {
                hash.update(&data);
            }
            if job.sink == Sink::App {
                self.notices.push_back(Notice::Data { job: job.id, offset, data });
            }
        }
        in_turn && job.sink == Sink::App
    }

    /// Data of a copy goes back to the server.
    fn forward(&mut self, client: &mut Client, job: &mut Job, offset: u64, data: &[u8], now: Time) {
        let Some(handle) = &job.second else { return };
        let direct = job.held.is_empty();
        let request = if direct { client.write(handle, offset, data).ok() } else { None };
        match request {
            Some(request) => {
                let _ = self.sent(job, Item::Fill, (offset, data.len() as u32), Ok(request), now);
            }
            None => job.held.push_back((offset, data.to_vec())),
        }
    }

    fn on_reply(&mut self, job: &mut Job, flight: Flight, reply: Reply<'_>) {
        match (flight.item, reply) {
            (Item::Open | Item::Reopen, Reply::Handle(handle)) => {
                job.handle = Some(handle);
                self.most_files = self.most_files.saturating_add(1).min(self.config.max_files);
                job.temporary |= job.put.temporary.is_some() && flight.item == Item::Open;
                if flight.item == Item::Open && !job.put.resume && job.error.is_none() && !job.opened {
                    job.opened = true;
                    let offset = job.ranges.done();
                    self.notices.push_back(Notice::Opened { job: job.id, offset });
                }
                if flight.item == Item::Reopen {
                    job.opens = job.opens.saturating_add(1);
                    self.files = self.files.saturating_add(1);
                }
            }
            (Item::OpenTarget, Reply::Handle(handle)) => job.second = Some(handle),
            (Item::Stat, Reply::Attrs(attrs)) => {
                job.ranges.size_pending = false;
                if job.kind == Kind::Put {
                    let offset = attrs.size.unwrap_or(0);
                    (job.next, job.first) = (offset, offset);
                    job.ranges = Ranges::new(offset, None, None, None);
                    self.notices.push_back(Notice::Opened { job: job.id, offset });
                } else {
                    job.ranges.size = attrs.size;
                    // A pipe makes one wait for ever, a device has no end.
                    if attrs.file_type().is_some_and(|kind| kind != FileType::File) {
                        job.fail(TransferError::NotRegular);
                    }
                }
                if job.kind == Kind::Copy {
                    job.compare(&attrs);
                }
                job.summary.attrs = Some(attrs);
            }
            (Item::Restat, Reply::Attrs(attrs)) => {
                let modified = |a: &Attrs| a.times.map(|t| t.modified);
                let before = job.summary.attrs.as_ref().and_then(modified);
                // It was not cut meanwhile: that is all there is. Files of /sys have a size of 4096.
                if attrs.size == job.ranges.size && before.is_some() && modified(&attrs) == before {
                    job.ranges.size = None;
                }
            }
            (Item::Probe, Reply::Status(status)) if status.code == StatusCode::EOF => {}
            (Item::Look, Reply::Attrs(attrs)) => job.there = Some(attrs),
            // The size of a device says nothing of what was written to it.
            (Item::StatPath, Reply::Attrs(attrs))
                if attrs.file_type().is_some_and(|kind| kind != FileType::File) => {}
            (Item::StatPath, Reply::Attrs(attrs)) => self.on_size(job, attrs.size),
            (Item::HashPath | Item::HashHandle, Reply::FileHash(hash)) => {
                let ours = job.hash.take().map(|(alg, h)| (alg, Digest::finish(alg, h)));
                match ours {
                    Some((alg, d)) if alg == hash.alg && d.as_bytes() == hash.digests => {
                        job.summary.hash_verified = true;
                    }
                    _ => job.fail(TransferError::HashMismatch),
                }
            }
            (Item::Fill, Reply::Status(status)) if status.is_ok() => {
                job.acked = job.acked.saturating_add(u64::from(flight.len));
                if job.is_upload() {
                    job.ranges.got(flight.offset, flight.len as usize);
                }
                let done = job.acked;
                if job.kind != Kind::Write {
                    self.notices.push_back(Notice::Progress { job: job.id, done });
                }
            }
            (Item::Read, Reply::Status(status)) if status.code == StatusCode::EOF => {
                job.ranges.eof(flight.offset);
            }
            (item, Reply::Status(status)) if status.is_ok() => match item {
                Item::SetAttrs => job.summary.attrs_set = true,
                Item::Fsync => job.summary.synced = true,
                Item::Rename => job.temporary = false,
                Item::CopyData => job.copied = true,
                _ => {}
            },
            (item, Reply::Status(status)) => self.on_refusal(job, item, flight.offset, status),
            // The client checks that replies fit.
            _ => {}
        }
    }

    /// The size of what was written, as the server has it.
    fn on_size(&mut self, job: &mut Job, size: Option<u64>) {
        let expected = match job.kind {
            Kind::Copy if job.copied => job.ranges.size,
            Kind::Copy => Some(job.ranges.done()),
            _ => Some(job.next),
        };
        let Some(got) = size else { return };
        if expected == Some(got) {
            job.summary.size_verified = true;
        } else if !job.restated && job.error.is_none() {
            // Perhaps it was answered before the file was closed, and some servers write no earlier.
            job.restated = true;
            job.script.push_front(Item::StatPath);
            job.script.push_front(Item::Wait);
        } else if job.copied && job.error.is_none() {
            // The size of what was read says nothing, it was changed, or the server copied less: what is read
            // where the copy ends tells, and whether its size is the same.
            (job.summary.size, job.doubted) = (got, true);
            let steps =
                [Item::Wait, Item::Open, Item::Wait, Item::Probe, Item::Restat, Item::Wait, Item::Close];
            steps.iter().rev().for_each(|i| job.script.push_front(*i));
            job.opens = job.opens.saturating_add(1);
            self.files = self.files.saturating_add(1);
        } else {
            job.fail(TransferError::SizeMismatch { expected: expected.unwrap_or(0), got });
        }
    }

    /// `others`: files that were open when an OPEN was sent.
    fn on_refusal(&mut self, job: &mut Job, item: Item, others: u64, status: Status) {
        let remote = |status| TransferError::Remote { op: operation(item), status };
        match item {
            Item::Open | Item::OpenTarget => {
                self.closed(job);
                let full = status.code == StatusCode::FAILURE && others > 1 && job.tries < MAX_TRIES;
                if full && job.kind != Kind::Copy && job.error.is_none() {
                    // Perhaps too many are open: again, when there are fewer.
                    job.tries = job.tries.saturating_add(1);
                    self.most_files = self.files.max(1);
                    job.script.push_front(Item::Open);
                    job.started = false;
                    self.requeue(job.id);
                    return;
                }
                job.fail(remote(status));
            }
            Item::Reopen => job.fail(remote(status)),
            // Not every server tells; what cannot be told cannot be compared.
            Item::Stat => {
                job.ranges.size_pending = false;
                if job.kind == Kind::Put {
                    job.fail(remote(status));
                }
            }
            Item::StatPath | Item::Restat | Item::Look => {}
            Item::SetAttrs if !job.put.require_attrs => job.summary.attrs_refused = Some(status),
            Item::Fsync if status.code == StatusCode::OP_UNSUPPORTED => {}
            Item::HashPath | Item::HashHandle => {
                job.script.push_front(item);
                hash_by_reading(job);
            }
            Item::CopyData => {
                job.ranges.size_pending = job.ranges.size.is_none();
                job.script.push_front(Item::Read);
            }
            // Its handle was closed before its turn: a server that does not keep the order.
            Item::Read if job.behind => job.again = true,
            // The job has failed already; this was only to tidy up.
            Item::Remove => {}
            _ => job.fail(remote(status)),
        }
    }

    /// Everything was sent and answered. False: the job goes on.
    pub(super) fn conclude(&mut self, job: &mut Job) -> bool {
        let id = job.id;
        if job.error.is_none() && job.behind && (job.again || job.ranges.verdict().is_err()) {
            // What was known of the file was wrong, or the server gave less than all: once more, slowly.
            job.start_again();
            job.tries = job.tries.max(1);
            job.opens = job.opens.saturating_add(1);
            self.files = self.files.saturating_add(1);
            return false;
        }
        if job.error.is_none()
            && let Err(error) = finish(job)
        {
            let temporary = job.temporary;
            job.fail(error);
            if temporary {
                return false;
            }
        }
        for _ in 0..job.opens {
            self.closed(job);
        }
        let result = match job.error.take() {
            Some(error) => Err(error),
            None => Ok(core::mem::take(&mut job.summary)),
        };
        self.notices.push_back(Notice::Finished { job: id, result });
        true
    }
}

/// The result of a job that nothing went wrong with.
fn finish(job: &mut Job) -> Result<(), TransferError> {
    match job.kind {
        Kind::Put | Kind::Write => {
            if job.done() != job.next {
                return Err(TransferError::Changed);
            }
            job.summary.bytes = job.acked;
            job.summary.size = job.next;
        }
        Kind::Copy if job.copied => {
            let told = job.ranges.size;
            if !job.doubted {
                job.summary.size = told.unwrap_or(0);
            } else if let Some(expected) = told {
                return Err(TransferError::SizeMismatch { expected, got: job.summary.size });
            }
            job.summary.bytes = job.summary.size;
        }
        _ if job.rereading => {}
        _ => {
            job.summary.bytes = job.ranges.verdict()?;
            job.summary.size = job.ranges.done();
            job.summary.size_verified = job.ranges.size.is_some();
        }
    }
    if job.rereading {
        job.ranges.verdict()?;
        if job.kind != Kind::Put {
            job.summary.size = job.ranges.done();
            job.summary.size_verified = true;
        }
        let again = job.hash.take().map(|(alg, h)| Digest::finish(alg, h));
        let same = match (&again, &job.digest) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        };
        if !same {
            return Err(TransferError::HashMismatch);
        }
        job.summary.hash_verified = true;
    }
    Ok(())
}
