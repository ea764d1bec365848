//! The picture of a key: what OpenSSH calls its randomart.

use alloc::string::String;
use core::fmt::Write;

use super::{Fingerprint, PublicKey};
use crate::crypto::HashAlgorithm;

const COLUMNS: usize = 17;
const ROWS: usize = 9;

/// How often the walk has been on a field, as signs; the last two are where it began and where it ended.
const SIGNS: &[u8] = b" .o+=*BOX@%&#/^SE";
const START: usize = SIGNS.len() - 2;
const END: usize = SIGNS.len() - 1;

impl PublicKey {
    /// The fingerprint as a picture of eleven lines, each with a line feed but the last: the walk of a "drunken
    /// bishop" over a board of 17 by 9 fields, two bits of the hash a step (OpenSSH `fingerprint_randomart`).
    ///
    /// People notice that a picture is another one more easily than that a row of letters is.
    pub fn randomart(&self, algorithm: HashAlgorithm) -> String {
        let fingerprint = self.fingerprint(algorithm);
        let board = walk(&fingerprint);
        let kind = self.key_type().short_name();
        let title = alloc::format!("[{kind} {}]", self.bits());
        // A title that does not fit loses its number, and what does not fit still is cut, as there.
        let title = if title.len() > COLUMNS { alloc::format!("[{kind}]") } else { title };
        let title = title.get(..COLUMNS - 1).unwrap_or(&title);
        let mut picture = String::new();
        border(&mut picture, title);
        for row in &board {
            picture.push_str("\n|");
            picture.extend(row.iter().map(|visits| char::from(SIGNS.get(*visits).copied().unwrap_or(b' '))));
            picture.push('|');
        }
        picture.push('\n');
        border(&mut picture, &alloc::format!("[{}]", fingerprint.name()));
        picture
    }
}

/// How often the walk came by each field.
fn walk(fingerprint: &Fingerprint) -> [[usize; COLUMNS]; ROWS] {
    let mut board = [[0usize; COLUMNS]; ROWS];
    let (mut x, mut y) = (COLUMNS / 2, ROWS / 2);
    let set = |board: &mut [[usize; COLUMNS]; ROWS], x: usize, y: usize, to: &dyn Fn(usize) -> usize| {
        if let Some(field) = board.get_mut(y).and_then(|row| row.get_mut(x)) {
            *field = to(*field);
        }
    };
    for byte in fingerprint.as_bytes() {
        for step in 0..4 {
            let bits = byte >> (2 * step);
            let go = |at: usize, on: bool, last: usize| {
                if on { at.saturating_add(1).min(last) } else { at.saturating_sub(1) }
            };
            x = go(x, bits & 1 != 0, COLUMNS - 1);
            y = go(y, bits & 2 != 0, ROWS - 1);
            set(&mut board, x, y, &|visits| visits.saturating_add(1).min(START - 1));
        }
    }
    set(&mut board, COLUMNS / 2, ROWS / 2, &|_| START);
    set(&mut board, x, y, &|_| END);
    board
}

fn border(picture: &mut String, title: &str) {
    let left = COLUMNS.saturating_sub(title.len()) / 2;
    let _ = write!(picture, "+{:-<left$}{title:-<rest$}+", "", rest = COLUMNS.saturating_sub(left));
}
