use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::LIMITS;
use crate::config::Line;
use crate::text::{TooLarge, lines};

/// The patterns of the `Host` lines of one file, in order, each once: for completion, and for lists of hosts. Those
/// without `*`, `?` and `!` are names. Lines that are wrong say nothing here, nor do files that are included.
///
/// # Errors
/// [`TooLarge`]
pub fn host_patterns(file: &[u8]) -> Result<Vec<Vec<u8>>, TooLarge> {
    let (mut seen, mut all) = (BTreeSet::new(), Vec::new());
    for text in lines(file, LIMITS)? {
        let Ok(Some(line)) = Line::parse(text.text()) else { continue };
        if line.keyword != "host" {
            continue;
        }
        for word in line.arguments {
            if !word.is_empty() && seen.insert(word.clone()) {
                all.push(word);
            }
        }
    }
    Ok(all)
}
