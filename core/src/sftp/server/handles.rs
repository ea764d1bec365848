use alloc::vec::Vec;
use core::fmt;

use crate::rng::{Rng, Seed};
use crate::sftp::client::OpenFlags;

/// Bytes of a handle on the wire: the place in the table, and a number that only we know.
const WIRE: usize = 12;

/// An open file or directory of a session, as its file system knows it. Indices are used again, whole
/// identifiers are not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandleId {
    index: u32,
    generation: u32,
}

impl HandleId {
    /// A small number, below [`ServerConfig::max_handles`](super::ServerConfig::max_handles), that no
    /// other open handle has.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

impl fmt::Debug for HandleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandleId({}.{})", self.index, self.generation)
    }
}

/// What a handle stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File(OpenFlags),
    Dir,
}

#[derive(Debug)]
struct Entry {
    id: HandleId,
    /// The rest of its bytes on the wire.
    secret: [u8; WIRE - 4],
    kind: Kind,
    /// Its OPEN was answered: the client knows it.
    known: bool,
    /// Requests for it that were not answered.
    held: u32,
    /// The CLOSE that waits for them.
    closing: Option<u32>,
    closed: bool,
}

/// The handles of a session.
pub(super) struct Handles {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    most: usize,
    opened: u32,
    rng: Rng,
}

impl Handles {
    pub(super) fn new(most: usize, seed: &Seed) -> Self {
        let rng = seed.fork(b"sftp handles");
        Handles { entries: Vec::new(), free: Vec::new(), most, opened: 0, rng }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len().saturating_sub(self.free.len())
    }

    /// A place for what an OPEN opens; `None`: there are as many as allowed.
    pub(super) fn reserve(&mut self, kind: Kind) -> Option<HandleId> {
        if self.len() >= self.most {
            return None;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len().saturating_sub(1) as u32
        });
        self.opened = self.opened.wrapping_add(1);
        let id = HandleId { index, generation: self.opened };
        let secret = self.rng.array();
        let entry = Entry { id, secret, kind, known: false, held: 0, closing: None, closed: false };
        *self.entries.get_mut(index as usize)? = Some(entry);
        Some(id)
    }

    /// Stands for a handle that may be reserved now; `None`: there are as many as allowed.
    pub(super) fn vacant(&self) -> Option<HandleId> {
        (self.len() < self.most).then_some(HandleId { index: 0, generation: 0 })
    }

    /// Whether requests for it were not answered.
    pub(super) fn is_held(&self, id: HandleId) -> bool {
        let entry = self.entries.get(id.index()).and_then(Option::as_ref);
        entry.is_some_and(|e| e.id == id && e.held > 0)
    }

    fn entry(&mut self, id: HandleId) -> Option<&mut Entry> {
        self.entries.get_mut(id.index())?.as_mut().filter(|e| e.id == id)
    }

    /// Its OPEN succeeded: the bytes that the client gets.
    pub(super) fn publish(&mut self, id: HandleId) -> Option<[u8; WIRE]> {
        let entry = self.entry(id)?;
        entry.known = true;
        let mut wire = [0; WIRE];
        let (index, secret) = wire.split_at_mut(4);
        index.copy_from_slice(&id.index.to_be_bytes());
        secret.copy_from_slice(&entry.secret);
        Some(wire)
    }

    /// The handle that these bytes stand for, if it is open.
    pub(super) fn find(&self, wire: &[u8]) -> Option<(HandleId, Kind)> {
        if wire.len() != WIRE {
            return None;
        }
        let (index, secret) = wire.split_first_chunk::<4>()?;
        let index = usize::try_from(u32::from_be_bytes(*index)).ok()?;
        let entry = self.entries.get(index)?.as_ref()?;
        (entry.known && !entry.closed && entry.secret == secret).then_some((entry.id, entry.kind))
    }

    pub(super) fn hold(&mut self, id: HandleId) {
        if let Some(entry) = self.entry(id) {
            entry.held = entry.held.saturating_add(1);
        }
    }

    /// A request for it was answered. Returns the CLOSE that may go on now.
    pub(super) fn release(&mut self, id: HandleId) -> Option<u32> {
        let entry = self.entry(id)?;
        entry.held = entry.held.saturating_sub(1);
        // The CLOSE itself holds it.
        if entry.held == 1 { entry.closing.take() } else { None }
    }

    /// No further requests. True if none is unanswered; else `close` waits for them.
    pub(super) fn close(&mut self, id: HandleId, close: u32) -> bool {
        let Some(entry) = self.entry(id) else { return true };
        entry.closed = true;
        // The CLOSE itself holds it.
        if entry.held > 1 {
            entry.closing = Some(close);
        }
        entry.held <= 1
    }

    pub(super) fn remove(&mut self, id: HandleId) {
        if self.entry(id).is_some() {
            if let Some(place) = self.entries.get_mut(id.index()) {
                *place = None;
            }
            self.free.push(id.index);
        }
    }

    /// Empties the table.
    pub(super) fn drain(&mut self) -> Vec<HandleId> {
        self.free.clear();
        // What was reserved and never answered was perhaps opened.
        core::mem::take(&mut self.entries).into_iter().flatten().map(|e| e.id).collect()
    }
}

impl fmt::Debug for Handles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handles({} open)", self.len())
    }
}
