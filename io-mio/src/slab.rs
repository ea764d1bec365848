//! The connections of a loop by number.

use std::fmt;

use crate::link::Link;

/// A connection of one loop. Numbers of closed connections are used again, identifiers are not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    pub(crate) slot: u32,
    generation: u32,
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.slot)
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnId({}.{})", self.slot, self.generation)
    }
}

#[derive(Default)]
struct Slot {
    generation: u32,
    used: bool,
    /// Absent from a used slot while the connection is at work.
    link: Option<Box<Link>>,
}

#[derive(Default)]
pub(crate) struct Slab {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Slab {
    /// Takes a slot; the link is [`put`](Self::put) into it.
    pub(crate) fn reserve(&mut self) -> ConnId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize].used = true;
        ConnId { slot, generation: self.slots[slot as usize].generation }
    }

    pub(crate) fn put(&mut self, id: ConnId, link: Box<Link>) {
        if let Some(slot) = self.of(id) {
            slot.link = Some(link);
        }
    }

    pub(crate) fn take(&mut self, id: ConnId) -> Option<Box<Link>> {
        self.of(id)?.link.take()
    }

    pub(crate) fn get(&self, id: ConnId) -> Option<&Link> {
        self.slots.get(id.slot as usize).filter(|s| s.generation == id.generation)?.link.as_deref()
    }

    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Link> {
        self.of(id)?.link.as_deref_mut()
    }

    /// Frees the slot.
    pub(crate) fn remove(&mut self, id: ConnId) {
        let Some(slot) = self.of(id).filter(|s| s.used) else { return };
        (slot.used, slot.link) = (false, None);
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot);
    }

    /// Who is in a slot.
    pub(crate) fn at(&self, slot: usize) -> Option<ConnId> {
        let generation = self.slots.get(slot).filter(|s| s.used)?.generation;
        Some(ConnId { slot: u32::try_from(slot).ok()?, generation })
    }

    /// Slots in use.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn ids(&self) -> Vec<ConnId> {
        (0..self.slots.len()).filter_map(|slot| self.at(slot)).collect()
    }

    fn of(&mut self, id: ConnId) -> Option<&mut Slot> {
        self.slots.get_mut(id.slot as usize).filter(|s| s.generation == id.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_used_again_and_its_old_identifier_is_not() {
        let mut slab = Slab::default();
        let (a, b) = (slab.reserve(), slab.reserve());
        assert_eq!((slab.len(), slab.at(0), slab.at(1), slab.at(2)), (2, Some(a), Some(b), None));
        slab.remove(a);
        slab.remove(a);
        assert_eq!((slab.len(), slab.at(0)), (1, None));
        let c = slab.reserve();
        assert_eq!((c.slot, slab.len(), slab.at(0)), (a.slot, 2, Some(c)));
        assert_ne!(a, c);
        slab.remove(a);
        assert_eq!(slab.len(), 2, "that one is long gone");
    }
}
