use alloc::vec::Vec;
use core::fmt;

use crate::rng::{Rng, Seed};
use crate::sftp::client::OpenFlags;
use crate::slab::{Key, Slab};

/// Bytes of a handle on the wire: the place in the table, and a number that only we know.
const WIRE: usize = 12;

/// An open file or directory of a session, as its file system knows it. Indices are used again, whole
/// identifiers are not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandleId(Key);

impl HandleId {
    /// A small number, below [`ServerConfig::max_handles`](super::ServerConfig::max_handles), that no
    /// other open handle has.
    pub fn index(self) -> usize {
        self.0.index() as usize
    }
}

impl fmt::Debug for HandleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandleId({})", self.0)
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
    /// The rest of its bytes on the wire.
    secret: [u8; WIRE - 4],
    kind: Kind,
    /// Its OPEN was answered: the client knows it.
    known: bool,
    /// Requests for it that were not answered.
    held: u32,
    /// The CLOSE that waits for them.
    closing: Option<Key>,
    closed: bool,
}

/// The handles of a session.
pub(super) struct Handles {
    entries: Slab<Entry>,
    most: usize,
    rng: Rng,
}

impl Handles {
    pub(super) fn new(most: usize, seed: &Seed) -> Self {
        let rng = seed.fork(b"sftp handles");
        Handles { entries: Slab::new(), most, rng }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// A place for what an OPEN opens; `None`: there are as many as allowed.
    pub(super) fn reserve(&mut self, kind: Kind) -> Option<HandleId> {
        if self.len() >= self.most {
            return None;
        }
        let secret = self.rng.array();
        let entry = Entry { secret, kind, known: false, held: 0, closing: None, closed: false };
        Some(HandleId(self.entries.insert(entry)))
    }

    /// Stands for a handle that may be reserved now; `None`: there are as many as allowed.
    pub(super) fn vacant(&self) -> Option<HandleId> {
        (self.len() < self.most).then_some(HandleId(Key::new(0, 0)))
    }

    /// Whether requests for it were not answered.
    pub(super) fn is_held(&self, id: HandleId) -> bool {
        self.entries.get(id.0).is_some_and(|e| e.held > 0)
    }

    fn entry(&mut self, id: HandleId) -> Option<&mut Entry> {
        self.entries.get_mut(id.0)
    }

    /// Its OPEN succeeded: the bytes that the client gets.
    pub(super) fn publish(&mut self, id: HandleId) -> Option<[u8; WIRE]> {
        let entry = self.entry(id)?;
        entry.known = true;
        let mut wire = [0; WIRE];
        let (index, secret) = wire.split_at_mut(4);
        index.copy_from_slice(&id.0.index().to_be_bytes());
        secret.copy_from_slice(&entry.secret);
        Some(wire)
    }

    /// The handle that these bytes stand for, if it is open.
    pub(super) fn find(&self, wire: &[u8]) -> Option<(HandleId, Kind)> {
        if wire.len() != WIRE {
            return None;
        }
        let (index, secret) = wire.split_first_chunk::<4>()?;
        let key = self.entries.at(u32::from_be_bytes(*index))?;
        let entry = self.entries.get(key)?;
        (entry.known && !entry.closed && entry.secret == secret).then_some((HandleId(key), entry.kind))
    }

    pub(super) fn hold(&mut self, id: HandleId) {
        if let Some(entry) = self.entry(id) {
            entry.held = entry.held.saturating_add(1);
        }
    }

    /// A request for it was answered. Returns the CLOSE that may go on now.
    pub(super) fn release(&mut self, id: HandleId) -> Option<Key> {
        let entry = self.entry(id)?;
        entry.held = entry.held.saturating_sub(1);
        // The CLOSE itself holds it.
        if entry.held == 1 { entry.closing.take() } else { None }
    }

    /// No further requests. True if none is unanswered; else `close` waits for them.
    pub(super) fn close(&mut self, id: HandleId, close: Key) -> bool {
        let Some(entry) = self.entry(id) else { return true };
        entry.closed = true;
        // The CLOSE itself holds it.
        if entry.held > 1 {
            entry.closing = Some(close);
        }
        entry.held <= 1
    }

    pub(super) fn remove(&mut self, id: HandleId) {
        self.entries.remove(id.0);
    }

    /// Empties the table.
    pub(super) fn drain(&mut self) -> Vec<HandleId> {
        // What was reserved and never answered was perhaps opened.
        self.entries.drain().into_iter().map(|(key, _)| HandleId(key)).collect()
    }
}

impl fmt::Debug for Handles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handles({} open)", self.len())
    }
}
