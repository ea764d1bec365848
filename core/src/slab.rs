//! A table whose places are used again, with keys that are not.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;

/// What stands in a [`Slab`]: a place, and which of its tenants in turn. The key of what was removed finds
/// nothing, whoever has the place now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The key of these numbers, as they came from another key.
    pub const fn new(index: u32, generation: u32) -> Self {
        Key { index, generation }
    }

    /// The place. No two live keys of a slab have the same one.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// How many have had this place up to this one: 1 is the first. Comes round after 2^32 - 1.
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

#[derive(Clone, Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

/// A table of `T` by [`Key`]. The lowest free place is taken first, as channels are numbered, and only what
/// makes it larger than it ever was allocates.
#[derive(Clone, Debug)]
pub struct Slab<T> {
    places: Vec<Place<T>>,
    free: BinaryHeap<Reverse<u32>>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { places: Vec::new(), free: BinaryHeap::new() }
    }
}

impl<T> Slab<T> {
    /// Empty; allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many are in it.
    pub fn len(&self) -> usize {
        self.places.len().saturating_sub(self.free.len())
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key that the next [`insert`](Self::insert) returns.
    pub fn next_key(&self) -> Key {
        let index = self.free.peek().map_or(self.places.len() as u32, |Reverse(index)| *index);
        Key { index, generation: self.places.get(index as usize).map_or(1, |p| p.generation) }
    }

    /// Puts `value` into the lowest free place. There are 2^32 of them; who fills a slab bounds it lower.
    pub fn insert(&mut self, value: T) -> Key {
        let key = self.next_key();
        self.free.pop();
        match self.places.get_mut(key.index as usize) {
            Some(place) => place.value = Some(value),
            None => {
                self.places.push(Place { generation: key.generation, value: Some(value) });
                // So that taking out never allocates.
                self.free.reserve(self.places.len());
            }
        }
        key
    }

    /// What has this key.
    pub fn get(&self, key: Key) -> Option<&T> {
        self.places.get(key.index as usize).filter(|p| p.generation == key.generation)?.value.as_ref()
    }

    /// What has this key.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.place(key)?.value.as_mut()
    }

    /// Takes out what has this key, which stands for nothing from now on.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.place(key)?;
        let value = place.value.take()?;
        // 0 is no key's, so that a key can be made that stands for nothing.
        place.generation = place.generation.checked_add(1).unwrap_or(1);
        self.free.push(Reverse(key.index));
        Some(value)
    }

    /// The key of what is in a place now.
    pub fn at(&self, index: u32) -> Option<Key> {
        let place = self.places.get(index as usize).filter(|p| p.value.is_some())?;
        Some(Key { index, generation: place.generation })
    }

    /// All that is in it, by place.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        (0..).zip(&self.places).filter_map(|(index, place)| {
            Some((Key { index, generation: place.generation }, place.value.as_ref()?))
        })
    }

    /// Takes out everything. The keys are stale.
    pub fn drain(&mut self) -> Vec<(Key, T)> {
        let keys: Vec<Key> = self.iter().map(|(key, _)| key).collect();
        keys.into_iter().filter_map(|key| Some((key, self.remove(key)?))).collect()
    }

    fn place(&mut self, key: Key) -> Option<&mut Place<T>> {
        self.places.get_mut(key.index as usize).filter(|p| p.generation == key.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_and_its_old_key_is_not() {
        let mut slab = Slab::new();
        let (a, b, c) = (slab.insert('a'), slab.insert('b'), slab.insert('c'));
        assert_eq!((a, b, c), (Key::new(0, 1), Key::new(1, 1), Key::new(2, 1)));
        assert_eq!((slab.remove(b), slab.remove(a), slab.remove(a)), (Some('b'), Some('a'), None));
        assert_eq!((slab.len(), slab.at(0), slab.at(2), slab.at(3)), (1, None, Some(c), None));
        let next = slab.next_key();
        let d = slab.insert('d');
        assert_eq!((d, next), (Key::new(0, 2), d), "the lowest one first");
        assert!(slab.get(a).is_none() && slab.get_mut(a).is_none() && slab.remove(a).is_none());
        assert_eq!(slab.iter().collect::<Vec<_>>(), [(d, &'d'), (c, &'c')]);
        assert_eq!(slab.drain(), [(d, 'd'), (c, 'c')]);
        assert!(slab.is_empty() && slab.get(c).is_none());
    }

    #[test]
    fn generations_come_round_without_the_one_that_nothing_has() {
        let mut slab =
            Slab { places: alloc::vec![Place { generation: u32::MAX, value: Some(()) }], ..Slab::new() };
        assert!(slab.remove(Key::new(0, u32::MAX)).is_some());
        assert_eq!(slab.insert(()), Key::new(0, 1));
        assert!(slab.get(Key::new(0, 0)).is_none());
    }
}
