//! Values that borrow from a message, and the same values over other bytes.
//!
//! A message is read once, when it is judged. What is read borrows from the receive buffer, which has to
//! be free again before it is known whether there is an event to tell. So a value goes through that time
//! as what it is without its texts, and the places of these in the message.

/// Most parts of one value.
const MAX: usize = 4;

/// Gives other bytes for each part of a value, in their order.
pub(crate) trait Part<'a, 'b>: FnMut(&'a [u8]) -> Option<&'b [u8]> {}

impl<'a, 'b, F: FnMut(&'a [u8]) -> Option<&'b [u8]>> Part<'a, 'b> for F {}

/// Where the parts of a value stand in a message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts {
    places: [(usize, usize); MAX],
    count: usize,
}

impl Parts {
    /// Notes where `part` stands in `message`. `None` if it does not stand there.
    pub(crate) fn note(&mut self, message: &[u8], part: &[u8]) -> Option<()> {
        let at = part.as_ptr().addr().checked_sub(message.as_ptr().addr());
        let place = match at {
            // A text that was left out may stand anywhere.
            _ if part.is_empty() => (0, 0),
            at => (at?, at?.checked_add(part.len())?),
        };
        message.get(place.0..place.1)?;
        *self.places.get_mut(self.count)? = place;
        self.count = self.count.saturating_add(1);
        Some(())
    }

    /// The parts in `message`, in the order in which they were noted.
    pub(crate) fn of(self, message: &[u8]) -> impl Iterator<Item = &[u8]> {
        self.places.into_iter().take(self.count).map_while(|(start, end)| message.get(start..end))
    }
}

#[cfg(test)]
mod tests {
    use super::Parts;

    #[test]
    fn parts_are_found_again_and_only_where_they_stand() {
        let message = *b"one two three";
        let (head, tail) = message.split_at(7);
        let mut parts = Parts::default();
        assert_eq!(parts.note(&message, &tail[1..]), Some(()));
        assert_eq!(parts.note(&message, b""), Some(()));
        assert_eq!(parts.note(&message, &head[..3]), Some(()));
        assert!(parts.of(&message).eq([&b"three"[..], b"", b"one"]));

        // Neither what stands elsewhere, nor what reaches beyond, nor more than there is room for.
        assert_eq!(parts.note(head, tail), None);
        assert_eq!(parts.note(&message, &[7; 20]), None);
        assert_eq!(parts.note(&message, head), Some(()));
        assert_eq!(parts.note(&message, head), None);
        assert_eq!(parts.of(&message).count(), 4);
    }
}
