//! What may go at the same time, and what has to wait.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt;

use crate::sftp::server::HandleId;

use super::layer::is_below;

/// What a call is about.
#[derive(Clone, Debug, Default)]
pub(super) struct Concern {
    /// Paths in normal form. One that is below another concerns that too.
    pub(super) paths: [Option<Vec<u8>>; 2],
    /// It changes something there.
    pub(super) changes: bool,
    /// Only bytes from here to there of the file.
    pub(super) range: Option<(u64, u64)>,
    /// It moves on in this directory.
    pub(super) listing: Option<HandleId>,
}

impl Concern {
    /// Whether the later of the two has to wait for the other.
    fn clashes(&self, other: &Concern) -> bool {
        if self.listing.is_some() && self.listing == other.listing {
            return true;
        }
        let apart = match (self.range, other.range) {
            (Some(a), Some(b)) => a.1 <= b.0 || b.1 <= a.0,
            _ => false,
        };
        let both = |path: &[u8]| {
            let others = other.paths.iter().flatten();
            others.into_iter().any(|o| is_below(path, o) || is_below(o, path))
        };
        (self.changes || other.changes) && !apart && self.paths.iter().flatten().any(|p| both(p))
    }
}

struct Entry<T> {
    concern: Concern,
    /// Calls that it waits for.
    waits: usize,
    /// Nothing: it runs.
    call: Option<T>,
}

/// Calls in the order that the protocol wants: "requests relating to the same file are processed in the order in
/// which they are received", and others at the same time (draft-ietf-secsh-filexfer-02 §6.1). Files are told by
/// their paths; of links between them nothing is known.
pub struct Queue<T> {
    entries: BTreeMap<u64, Entry<T>>,
    ready: VecDeque<u64>,
    last: u64,
    running: usize,
    at_once: usize,
}

impl<T> Queue<T> {
    /// At most `at_once` calls run at a time.
    pub fn new(at_once: usize) -> Self {
        Queue { entries: BTreeMap::new(), ready: VecDeque::new(), last: 0, running: 0, at_once }
    }

    pub(super) fn enqueue(&mut self, concern: Concern, call: T) {
        let waits = self.entries.values().filter(|e| e.concern.clashes(&concern)).count();
        self.last = self.last.wrapping_add(1);
        if waits == 0 {
            self.ready.push_back(self.last);
        }
        self.entries.insert(self.last, Entry { concern, waits, call: Some(call) });
    }

    /// A call that may run now, with its number for [`finish`](Self::finish).
    pub fn start(&mut self) -> Option<(u64, T)> {
        if self.running >= self.at_once {
            return None;
        }
        let number = self.ready.pop_front()?;
        let call = self.entries.get_mut(&number)?.call.take()?;
        self.running = self.running.saturating_add(1);
        Some((number, call))
    }

    /// A call has run: what waited for it may.
    pub fn finish(&mut self, number: u64) {
        let Some(Entry { concern, call: None, .. }) = self.entries.remove(&number) else { return };
        self.running = self.running.saturating_sub(1);
        for (number, later) in self.entries.range_mut(number..) {
            if later.concern.clashes(&concern) {
                later.waits = later.waits.saturating_sub(1);
                if later.waits == 0 {
                    self.ready.push_back(*number);
                }
            }
        }
    }

    /// Calls that run.
    pub fn running(&self) -> usize {
        self.running
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({} running of {})", self.running, self.entries.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(path: &str, changes: bool, range: Option<(u64, u64)>) -> Concern {
        Concern { paths: [Some(path.as_bytes().to_vec()), None], changes, range, listing: None }
    }

    #[test]
    fn a_file_is_dealt_with_in_order_and_others_at_the_same_time() {
        let mut queue = Queue::new(9);
        let read = |from| on("/a/f", false, Some((from, from + 10)));
        let write = |from| on("/a/f", true, Some((from, from + 10)));
        let calls = [
            ("create", on("/a/f", true, None)),
            ("read 0", read(0)),
            ("write 5", write(5)),
            ("read 20", read(20)),
            ("stat", on("/a/f", false, None)),
            ("other", on("/a/fg", true, None)),
            ("list", on("/a", false, None)),
            ("rename", on("/a", true, None)),
            ("far", on("/b", true, None)),
        ];
        calls.into_iter().for_each(|(name, concern)| queue.enqueue(concern, name));
        let mut rounds = Vec::new();
        loop {
            let round: Vec<_> = core::iter::from_fn(|| queue.start()).collect();
            if round.is_empty() {
                break;
            }
            rounds.push(round.iter().map(|(_, name)| *name).collect::<Vec<_>>());
            round.iter().for_each(|(number, _)| queue.finish(*number));
        }
        assert_eq!(
            rounds,
            [
                &["create", "other", "far"][..],
                &["read 0", "read 20"],
                &["write 5"],
                &["stat", "list"],
                &["rename"]
            ]
        );
        assert_eq!((queue.running(), queue.entries.len()), (0, 0));
    }

    #[test]
    fn no_more_than_asked_for_run_at_a_time() {
        let mut queue = Queue::new(2);
        for n in 0..5u32 {
            queue.enqueue(on("/f", false, None), n);
        }
        let (first, _) = queue.start().unwrap();
        assert!(queue.start().is_some() && queue.start().is_none());
        queue.finish(first);
        // Said twice, it counts once.
        queue.finish(first);
        assert!(queue.start().is_some() && queue.start().is_none());
    }
}
