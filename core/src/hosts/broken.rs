use super::Place;
use super::line::{Problem, are_for, check_type, damaged_hash};
use crate::text::next_field;

const REVOKED: &[u8] = b"@revoked";

/// A damaged line: where it is, and what is wrong with it.
pub(super) struct Broken {
    pub(super) place: Place,
    pub(super) problem: Problem,
    /// It is marked `@revoked`, so it may be the line that a key must be refused for.
    pub(super) revokes: bool,
}

/// What can still be told of a damaged line.
pub(super) struct Remains<'a> {
    pub(super) revokes: bool,
    /// The names, if they are whole.
    names: Option<&'a [u8]>,
    /// The key's type, if the key says the same.
    key_type: Option<&'a [u8]>,
}

impl<'a> Remains<'a> {
    pub(super) fn of(line: &'a [u8]) -> Self {
        let (mut revokes, mut rest) = (false, line);
        let (names, after) = loop {
            let (word, after) = next_field(rest);
            if letters(word).next() != Some(b'@') {
                break (word, after);
            }
            revokes |= means_revoked(word, after.is_empty());
            rest = after;
        };
        let (key_type, key) = next_field(after);
        let (key, _) = next_field(key);
        // Names at the end of the line may have been longer.
        let whole = !names.is_empty() && !after.is_empty() && !names.contains(&0) && !damaged_hash(names);
        let sure = !key_type.contains(&0) && check_type(key_type, key).is_ok();
        Remains { revokes, names: whole.then_some(names), key_type: sure.then_some(key_type) }
    }

    /// Whether the line is for the host, as far as that can be told: one that may revoke is, unless it
    /// surely is not.
    pub(super) fn is_for(&self, name: &[u8]) -> bool {
        self.names.map_or(self.revokes, |names| are_for(names, name))
    }

    /// Whether the key on the line may be one of this type.
    pub(super) fn may_be(&self, key_type: &str) -> bool {
        self.key_type.is_none_or(|found| found == key_type.as_bytes())
    }
}

/// The letters of a word, in lower case, without NULs and what an editor puts at a file's beginning.
fn letters(word: &[u8]) -> impl Iterator<Item = u8> {
    let bytes = word.iter().copied().filter(|b| *b != 0).skip_while(|b| !b.is_ascii_graphic());
    bytes.map(|b| b.to_ascii_lowercase())
}

/// Whether a marker is `@revoked`, or was before the line was cut.
fn means_revoked(word: &[u8], last: bool) -> bool {
    let same = letters(word).zip(REVOKED).all(|(letter, wanted)| letter == *wanted);
    let count = letters(word).count();
    same && (count == REVOKED.len() || (last && (2..REVOKED.len()).contains(&count)))
}
