//! Values that borrow from a message, and the same values over other bytes.
//!
//! A message is read once, when it is judged. What is read borrows from the receive buffer, which has to
//! be free again before it is known whether there is an event to tell. So a value goes through that time
//! as what it is without its texts, and the places of these in the message.

/// Most parts of one value: the user and two passwords; the title, text and questions of a challenge.
const MAX: usize = 3;

/// Gives other bytes for each part of a value, in their order.
pub(crate) trait Part<'a, 'b>: FnMut(&'a [u8]) -> Option<&'b [u8]> {}

impl<'a, 'b, F: FnMut(&'a [u8]) -> Option<&'b [u8]>> Part<'a, 'b> for F {}

/// Where the parts of a value stand in a message. Small: it is moved with each event.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts {
    places: [(u32, u32); MAX],
    count: u8,
}

impl Parts {
    /// Notes where `part` stands in `message`. `None` if it does not stand there.
    #[inline]
    pub(crate) fn note(&mut self, message: &[u8], part: &[u8]) -> Option<()> {
        let mut place = (0, 0);
        // A text that was left out may stand anywhere.
        if !part.is_empty() {
            let start = part.as_ptr().addr().checked_sub(message.as_ptr().addr())?;
            let end = start.checked_add(part.len()).filter(|end| *end <= message.len())?;
            place = (u32::try_from(start).ok()?, u32::try_from(end).ok()?);
        }
        *self.places.get_mut(usize::from(self.count))? = place;
        self.count = self.count.saturating_add(1);
        Some(())
    }

    /// The parts in `message`, in the order in which they were noted.
    #[inline]
    pub(crate) fn of(self, message: &[u8]) -> impl Iterator<Item = &[u8]> {
        let places = self.places.into_iter().take(usize::from(self.count));
        places.map_while(|(start, end)| message.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?))
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
        assert_eq!(Parts::default().note(head, tail), None);
        assert_eq!(Parts::default().note(&message, &[7; 20]), None);
        assert_eq!(Parts::default().note(head, &message), None);
        assert_eq!(parts.note(&message, head), None);
        assert_eq!(parts.of(&message).count(), 3);
    }
}
