//! Days and dates of the Gregorian calendar, which is taken to have no end.

/// A date, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Date {
    pub(crate) year: u64,
    /// From 1.
    pub(crate) month: u64,
    /// From 1.
    pub(crate) day: u64,
}

/// Days from 0000-03-01 to 1970-01-01: years that begin in March have their leap day at the end.
const MARCH_OF_YEAR_0: u64 = 719_468;
/// Days of 400 years.
const CYCLE: u64 = 146_097;

impl Date {
    /// The date so many days after 1970-01-01.
    pub(crate) fn from_days(days: u64) -> Self {
        let days = days.saturating_add(MARCH_OF_YEAR_0);
        let (cycle, of_cycle) = (days / CYCLE, days % CYCLE);
        let year = (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
        let of_year = of_cycle - (365 * year + year / 4 - year / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = (from_march + 2) % 12 + 1;
        Date { year: year + cycle * 400 + u64::from(month < 3), month, day }
    }

    /// Days from 1970-01-01; `None` for what is no date, for one before that, and for one that no number
    /// of days can say.
    pub(crate) fn days(self) -> Option<u64> {
        let Date { year, month, day } = self;
        let (year, from_march) = match month {
            1..=2 => (year.checked_sub(1)?, month + 9),
            3..=12 => (year, month - 3),
            _ => return None,
        };
        let before = day.checked_sub(1)?.checked_add((153 * from_march + 2) / 5)?;
        let leap_days = (year / 4).checked_sub(year / 100)?.checked_add(year / 400)?;
        let days = year.checked_mul(365)?.checked_add(leap_days)?.checked_add(before)?;
        let days = days.checked_sub(MARCH_OF_YEAR_0)?;
        // A day that the month does not have is one of the next.
        Some(days).filter(|days| Date::from_days(*days) == self)
    }

    /// Reads `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, with or without `Z` or `UTC` behind it, as seconds since 1970 if
    /// it is in UTC (OpenSSH `parse_absolute_time`).
    pub(crate) fn moment(text: &[u8]) -> Option<u64> {
        let utc = text.strip_suffix(b"Z").or_else(|| text.strip_suffix(b"UTC"));
        let digits = utc.unwrap_or(text);
        if !digits.iter().all(u8::is_ascii_digit) || !matches!(digits.len(), 8 | 12 | 14) {
            return None;
        }
        // A part that is not written is zero.
        let part = |from: usize, to: usize| {
            let digit = |n: u64, digit: &u8| {
                n.saturating_mul(10).saturating_add(u64::from(digit.saturating_sub(b'0')))
            };
            digits.get(from..to).unwrap_or_default().iter().fold(0, digit)
        };
        let (hour, minute, second) = (part(8, 10), part(10, 12), part(12, 14));
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let days = Date { year: part(0, 4), month: part(4, 6), day: part(6, 8) }.days()?;
        days.checked_mul(86_400)?.checked_add(hour * 3600 + minute * 60 + second)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn date(year: u64, month: u64, day: u64) -> Date {
        Date { year, month, day }
    }

    #[test]
    fn dates_that_are_known() {
        for (days, expected) in [
            (0, date(1970, 1, 1)),
            (11_016, date(2000, 2, 29)),
            (11_017, date(2000, 3, 1)),
            (19_723, date(2024, 1, 1)),
            (49_709, date(2106, 2, 6)),
        ] {
            assert_eq!((Date::from_days(days), expected.days()), (expected, Some(days)));
        }
    }

    #[test]
    fn what_is_no_date_has_no_day() {
        for (year, month, day) in [
            (2026, 2, 29),
            (2100, 2, 29),
            (2026, 4, 31),
            (2026, 13, 1),
            (2026, 0, 1),
            (2026, 1, 0),
            (2026, 1, 32),
            (1969, 12, 31),
            (0, 1, 1),
            (u64::MAX, 1, 1),
            (2026, 1, u64::MAX),
            (2026, u64::MAX, 1),
        ] {
            assert_eq!(date(year, month, day).days(), None, "{year}-{month}-{day}");
        }
    }

    #[test]
    fn days_follow_each_other() {
        let all = (1970..2405).flat_map(|y| (1..=12).flat_map(move |m| (1..=31).map(move |d| date(y, m, d))));
        assert!(all.filter_map(Date::days).eq(0..158_881), "435 years");
    }

    proptest! {
        #![proptest_config(crate::property::config(1024))]
        /// One way and back is where it began.
        #[test]
        fn days_and_dates_are_inverses(days in 0..u64::MAX / 2, year in 0..10_000u64, month in 0..14u64, day in 0..33u64) {
            for days in [days, days % 4_000_000] {
                prop_assert_eq!(Date::from_days(days).days(), Some(days));
            }
            let date = date(year, month, day);
            prop_assert!(date.days().is_none_or(|days| Date::from_days(days) == date));
            let _ = (Date::from_days(u64::MAX - days).days(), Date { year: u64::MAX - days, month, day }.days());
        }
    }
}
