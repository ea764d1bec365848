//! One file on its way.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::crypto::{Digest, Hash, HashAlg};
use crate::sftp::attrs::Attrs;
use crate::sftp::client::{Handle, OpenFlags};
use crate::time::Time;

use super::ranges::{Ranges, Reorder};
use super::{GetOptions, JobId, PutOptions, Summary, TransferError, Verify};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Get,
    Put,
    Copy,
    /// Reads from a handle of the application's.
    Read,
    /// Writes to a handle of the application's, when it says so.
    Write,
}

/// What a job does next. Items that send something do not wait for the reply; `Wait` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// STAT of what is there before it is written.
    Look,
    /// Until the local file is open.
    Source,
    Open,
    OpenTarget,
    /// Until everything that was sent is answered.
    Wait,
    /// FSTAT of the open file.
    Stat,
    /// The same of a file that ended before its size.
    Restat,
    /// READ of one byte where a copy that the server made ends.
    Probe,
    Read,
    Fill,
    SetAttrs,
    Fsync,
    Close,
    CloseTarget,
    /// Size of the file that was written, by its path.
    StatPath,
    /// The hash of it, from the server.
    HashPath,
    /// The hash of the file that is read.
    HashHandle,
    Rename,
    Remove,
    CopyData,
    /// Open what was written, to read it again.
    Reopen,
    /// From here on, data goes into a hash.
    Reread,
}

/// Where data that is read goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sink {
    App,
    Hash,
    Remote,
}

/// A request of a job that was not answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) job: JobId,
    pub(super) item: Item,
    pub(super) offset: u64,
    pub(super) len: u32,
    /// Bytes of a READ that came.
    pub(super) got: u32,
    pub(super) sent: Time,
    /// Its place among all that were sent.
    pub(super) turn: u64,
}

impl Flight {
    pub(super) fn is_data(&self) -> bool {
        matches!(self.item, Item::Read | Item::Fill)
    }

    /// The server has much to do for it, and others may overtake it meanwhile.
    pub(super) fn is_long(&self) -> bool {
        matches!(self.item, Item::CopyData | Item::HashPath | Item::HashHandle | Item::Fsync)
    }
}

pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) kind: Kind,
    /// What is read, or written.
    pub(super) path: Vec<u8>,
    /// What a copy writes.
    pub(super) target: Vec<u8>,
    pub(super) get: GetOptions,
    pub(super) put: PutOptions,
    pub(super) script: VecDeque<Item>,
    pub(super) handle: Option<Handle>,
    pub(super) second: Option<Handle>,
    /// Requests that were not answered, and READs and WRITEs among them.
    pub(super) outstanding: usize,
    pub(super) data: usize,
    pub(super) sink: Sink,
    pub(super) ranges: Ranges,
    pub(super) order: Option<Reorder>,
    /// Data of a copy that the client did not take yet.
    pub(super) held: VecDeque<(u64, Vec<u8>)>,
    pub(super) hash: Option<(HashAlg, Box<dyn Hash>)>,
    pub(super) digest: Option<Digest>,
    /// Where the next local data goes.
    pub(super) next: u64,
    pub(super) first: u64,
    /// Local data to be sent again.
    pub(super) refill: VecDeque<(u64, u32)>,
    pub(super) acked: u64,
    /// No more local data.
    pub(super) ended: bool,
    /// Local data was asked for, or there is none now.
    pub(super) asked: bool,
    /// The file was closed behind its only READ.
    pub(super) behind: bool,
    /// It has to be read once more, from where it stopped, without that.
    pub(super) again: bool,
    /// Times that it could not be opened, or was stat'ed in vain.
    pub(super) tries: u32,
    pub(super) restated: bool,
    /// It ended before its size, and FSTAT was asked again.
    pub(super) doubted: bool,
    /// A temporary file exists.
    pub(super) temporary: bool,
    pub(super) queued: bool,
    pub(super) started: bool,
    /// What is at the path that will be written, and whether that may be the very file that is read.
    pub(super) there: Option<Attrs>,
    pub(super) in_place: bool,
    /// It was said that the file is open.
    pub(super) opened: bool,
    /// What was written already is to stay.
    pub(super) reopening: bool,
    /// Files that count as open for it.
    pub(super) opens: usize,
    /// copy-data did it.
    pub(super) copied: bool,
    /// The second pass, for the hash.
    pub(super) rereading: bool,
    /// Stalls of its own in a row, without anything becoming safe: how much was then.
    pub(super) starved: (u32, u64),
    pub(super) error: Option<TransferError>,
    pub(super) summary: Summary,
}

impl core::fmt::Debug for Job {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "Job({:?} {:?}, then {:?}, {} outstanding)",
            self.kind, self.id, self.script, self.outstanding
        )
    }
}

impl Job {
    pub(super) fn new(id: JobId, kind: Kind, path: &[u8], get: GetOptions, put: PutOptions) -> Self {
        // A size from a listing is good for one READ, not to judge what came.
        let size = get.size.filter(|_| kind == Kind::Read);
        let (start, end, limit) = (get.offset, get.end, get.limit);
        let ordered = get.ordered || get.verify != Verify::Size;
        let start = if matches!(kind, Kind::Put | Kind::Write) { put.offset } else { start };
        let sink = if kind == Kind::Copy { Sink::Remote } else { Sink::App };
        let mut job = Job {
            id,
            kind,
            path: path.to_vec(),
            target: Vec::new(),
            ranges: Ranges::new(start, end, size, limit),
            order: ordered.then(|| Reorder::new(start)),
            next: put.offset,
            first: put.offset,
            get,
            put,
            script: VecDeque::new(),
            handle: None,
            second: None,
            outstanding: 0,
            data: 0,
            sink,
            held: VecDeque::new(),
            hash: None,
            digest: None,
            refill: VecDeque::new(),
            acked: 0,
            ended: false,
            asked: false,
            behind: false,
            again: false,
            tries: 0,
            restated: false,
            doubted: false,
            temporary: false,
            queued: false,
            started: false,
            there: None,
            in_place: false,
            opened: false,
            reopening: false,
            opens: 0,
            copied: false,
            rereading: false,
            starved: (0, 0),
            error: None,
            summary: Summary::default(),
        };
        job.write_script();
        job
    }

    fn write_script(&mut self) {
        let mut script: Vec<Item> = Vec::new();
        match self.kind {
            Kind::Get => {
                script.extend([Item::Open, Item::Wait]);
                script.push(Item::Stat);
                script.push(Item::Read);
                match self.get.verify {
                    Verify::Size => {}
                    Verify::Hash(_) => script.extend([Item::HashHandle, Item::Wait]),
                    Verify::Reread(_) => script.extend([Item::Reread, Item::Read]),
                }
                script.push(Item::Close);
            }
            Kind::Put => {
                if self.put.careful {
                    // What is not cut, or is another file for now, can be the same one without harm.
                    let harmless = self.put.fresh || self.put.resume || self.put.temporary.is_some();
                    script.extend((!harmless).then_some([Item::Look, Item::Wait]).into_iter().flatten());
                    script.push(Item::Source);
                }
                script.extend([Item::Open, Item::Wait]);
                if self.put.resume {
                    script.extend([Item::Stat, Item::Wait]);
                }
                script.push(Item::Fill);
                if self.put.attrs.is_some() {
                    script.push(Item::SetAttrs);
                }
                if self.put.fsync {
                    script.push(Item::Fsync);
                }
                script.extend([Item::Close, Item::StatPath]);
                match self.put.verify {
                    Verify::Size => {}
                    Verify::Hash(_) => script.extend([Item::Wait, Item::HashPath, Item::Wait]),
                    Verify::Reread(_) => script.extend(REREAD),
                }
                if self.put.temporary.is_some() {
                    script.extend([Item::Wait, Item::Rename]);
                }
            }
            Kind::Copy => {
                // The source has to be there, and a file, before anything happens to the target.
                script.extend([Item::Open, Item::Look, Item::Wait, Item::Stat, Item::Wait, Item::OpenTarget]);
                script.extend([
                    Item::Wait,
                    Item::CopyData,
                    Item::Wait,
                    Item::Close,
                    Item::CloseTarget,
                    Item::StatPath,
                ]);
            }
            Kind::Read => script.push(Item::Read),
            Kind::Write => script.push(Item::Fill),
        }
        self.script = script.into();
    }

    /// The path that is written, for now.
    pub(super) fn written(&self) -> &[u8] {
        match (self.kind, &self.put.temporary) {
            (Kind::Copy, _) => &self.target,
            (_, Some(path)) => path,
            _ => &self.path,
        }
    }

    /// How what is written is opened.
    pub(super) fn flags(&self) -> OpenFlags {
        match self.kind {
            Kind::Put if self.reopening => OpenFlags::WRITE,
            _ if self.put.resume || self.in_place => OpenFlags(self.put.flags.0 & !OpenFlags::TRUNCATE.0),
            _ => self.put.flags,
        }
    }

    /// What is read is known: `attrs`. Perhaps it is what is to be written.
    pub(super) fn compare(&mut self, attrs: &Attrs) {
        self.in_place = self.there.as_ref().is_some_and(|there| there.may_be_same_file(attrs));
    }

    /// The job has failed: what is open is closed, what is temporary removed, then it ends. The first
    /// error counts.
    pub(super) fn fail(&mut self, error: TransferError) {
        if self.error.is_some() {
            return;
        }
        self.error = Some(error);
        self.held.clear();
        if let Some(order) = &mut self.order {
            order.clear();
        }
        self.script.clear();
        if !matches!(self.kind, Kind::Read | Kind::Write) {
            self.script.extend([Item::Wait, Item::Close, Item::CloseTarget]);
            if self.put.temporary.is_some() {
                self.script.extend([Item::Wait, Item::Remove]);
            }
        }
    }

    /// Reads the file once more, from where contiguous data ends.
    pub(super) fn start_again(&mut self) {
        self.ranges.restart();
        if let Some(order) = &mut self.order {
            order.clear();
        }
        self.ranges.size_pending = true;
        (self.behind, self.again, self.doubted) = (false, false, false);
        self.script.extend([Item::Open, Item::Wait, Item::Stat, Item::Read, Item::Close]);
    }

    /// Whether the file that is read has ended before the size that was told, with the times to judge that by.
    pub(super) fn is_short(&self) -> bool {
        let attrs = self.summary.attrs.as_ref();
        let reads = matches!(self.kind, Kind::Get | Kind::Copy) && !self.rereading && self.error.is_none();
        reads && self.ranges.is_short() && attrs.is_some_and(|a| a.times.is_some())
    }

    /// Bytes that wait for their turn.
    pub(super) fn waiting(&self) -> usize {
        self.order.as_ref().map_or(0, Reorder::held)
    }

    /// Contiguous bytes that are safe.
    pub(super) fn done(&self) -> u64 {
        if self.kind == Kind::Put && self.rereading { self.next } else { self.ranges.done() }
    }

    pub(super) fn verify(&self) -> Verify {
        if self.kind == Kind::Put { self.put.verify } else { self.get.verify }
    }
}

/// What was written is read again, and hashed.
pub(super) const REREAD: [Item; 6] =
    [Item::Wait, Item::Reopen, Item::Wait, Item::Reread, Item::Read, Item::Close];
