//! The connections of a loop by number.

use std::fmt;

use konko_core::slab::{Key, Slab};

use crate::link::Link;

/// A connection of one loop. Numbers of closed connections are used again, identifiers are not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(Key);

impl ConnId {
    /// The number, which a connection has alone while it is there.
    pub(crate) fn number(self) -> usize {
        self.0.index() as usize
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.index())
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnId({})", self.0)
    }
}

/// A connection is absent from its place while it is at work.
#[derive(Default)]
pub(crate) struct Links(Slab<Option<Box<Link>>>);

impl Links {
    /// Takes a place; the link is [`put`](Self::put) into it.
    pub(crate) fn reserve(&mut self) -> ConnId {
        ConnId(self.0.insert(None))
    }

    pub(crate) fn put(&mut self, id: ConnId, link: Box<Link>) {
        if let Some(place) = self.0.get_mut(id.0) {
            *place = Some(link);
        }
    }

    pub(crate) fn take(&mut self, id: ConnId) -> Option<Box<Link>> {
        self.0.get_mut(id.0)?.take()
    }

    pub(crate) fn get(&self, id: ConnId) -> Option<&Link> {
        self.0.get(id.0)?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Link> {
        self.0.get_mut(id.0)?.as_deref_mut()
    }

    pub(crate) fn remove(&mut self, id: ConnId) {
        self.0.remove(id.0);
    }

    /// Who has a number now.
    pub(crate) fn at(&self, number: usize) -> Option<ConnId> {
        self.0.at(u32::try_from(number).ok()?).map(ConnId)
    }

    /// Places that are taken.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn ids(&self) -> Vec<ConnId> {
        self.0.iter().map(|(key, _)| ConnId(key)).collect()
    }
}
