//! Serial numbers that are revoked, as runs of numbers that follow each other.

use alloc::collections::BTreeMap;

use super::KrlError;

/// Runs that a list may have; what is written as a bitmap of a few MiB could otherwise take a hundred times that.
const MAX_RUNS: usize = 4 * 1024 * 1024;

/// The first of each run, and its last; no two touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Serials(BTreeMap<u64, u64>);

impl Serials {
    pub(super) fn contains(&self, serial: u64) -> bool {
        // 0 is what an authority writes that gives no numbers.
        serial != 0 && self.0.range(..=serial).next_back().is_some_and(|(_, last)| *last >= serial)
    }

    pub(super) fn add(&mut self, first: u64, last: u64) -> Result<(), KrlError> {
        if first == 0 || first > last {
            return Err(KrlError::Serials);
        }
        let (mut first, mut last) = (first, last);
        // Every run that begins before the new one ends, or right behind it, and reaches it.
        while let Some((from, to)) = self.0.range(..=last.saturating_add(1)).next_back() {
            let (from, to) = (*from, *to);
            if to.saturating_add(1) < first {
                break;
            }
            first = first.min(from);
            last = last.max(to);
            self.0.remove(&from);
        }
        if self.0.len() >= MAX_RUNS {
            return Err(KrlError::TooLarge);
        }
        self.0.insert(first, last);
        Ok(())
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(first, last)| (*first, *last))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn runs(of: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut serials = Serials::default();
        of.iter().for_each(|(first, last)| serials.add(*first, *last).unwrap());
        serials.runs().collect()
    }

    #[test]
    fn runs_that_touch_are_one() {
        assert_eq!(runs(&[(5, 5), (7, 7), (6, 6)]), [(5, 7)]);
        assert_eq!(runs(&[(1, 2), (10, 20), (5, 6), (2, 11)]), [(1, 20)]);
        assert_eq!(runs(&[(10, 20), (12, 13)]), [(10, 20)]);
        assert_eq!(runs(&[(1, u64::MAX), (5, 6)]), [(1, u64::MAX)]);
        assert_eq!(runs(&[(u64::MAX, u64::MAX), (1, 1)]), [(1, 1), (u64::MAX, u64::MAX)]);
        assert_eq!(runs(&[(u64::MAX, u64::MAX), (u64::MAX - 1, u64::MAX - 1)]), [(u64::MAX - 1, u64::MAX)]);
    }

    #[test]
    fn zero_is_no_serial_number() {
        let mut serials = Serials::default();
        assert_eq!(serials.add(0, 5), Err(KrlError::Serials));
        assert_eq!(serials.add(6, 5), Err(KrlError::Serials));
        serials.add(1, 3).unwrap();
        assert!(!serials.contains(0) && serials.contains(1) && serials.contains(3) && !serials.contains(4));
    }
}
