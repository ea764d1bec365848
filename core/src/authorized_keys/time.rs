/// What the zones of the world are ahead of UTC at most, in seconds.
const EASTMOST: u64 = 14 * 3600;

/// Reads `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, with `Z` or `UTC` behind it, as seconds since
/// 1970 UTC.
///
/// Without the zone, sshd means that of its machine. There is none here, so the earliest moment is
/// taken that any zone could mean: a key rather expires 14 hours early than late.
pub(super) fn parse(text: &[u8]) -> Option<u64> {
    let utc = text.strip_suffix(b"Z").or_else(|| text.strip_suffix(b"UTC"));
    let digits = utc.unwrap_or(text);
    if !digits.iter().all(u8::is_ascii_digit) || !matches!(digits.len(), 8 | 12 | 14) {
        return None;
    }
    // A part that is not written is zero.
    let part = |from: usize, to: usize| {
        let digits = digits.get(from..to).unwrap_or_default();
        digits
            .iter()
            .fold(0u64, |n, digit| n.saturating_mul(10).saturating_add(u64::from(digit.saturating_sub(b'0'))))
    };
    let (year, month, day) = (part(0, 4), part(4, 6), part(6, 8));
    let (hour, minute, second) = (part(8, 10), part(10, 12), part(12, 14));
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days(year, month, day)?;
    let seconds = days.checked_mul(86_400)?.checked_add(hour * 3600 + minute * 60 + second)?;
    Some(if utc.is_some() { seconds } else { seconds.saturating_sub(EASTMOST) })
}

/// Days from 1970-01-01 to a date that is no earlier and that exists (Gregorian calendar).
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || !(1..=length).contains(&day) {
        return None;
    }
    // Years count from March, so that a leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    // The same for 1970-01-01.
    before.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_sshd_writes_them() {
        let table: [(&str, Option<u64>); 20] = [
            ("19700101Z", Some(0)),
            ("197001010000Z", Some(0)),
            ("19700101000001UTC", Some(1)),
            ("20000229Z", Some(951_782_400)),
            ("20260101Z", Some(1_767_225_600)),
            ("202601012359Z", Some(1_767_225_600 + 86_340)),
            ("20260101", Some(1_767_225_600 - 14 * 3600)),
            ("19700101", Some(0)),
            ("99991231235959Z", Some(253_402_300_799)),
            ("20260229Z", None),
            ("21000229Z", None),
            ("20261301Z", None),
            ("20260001Z", None),
            ("20260100Z", None),
            ("2026010124Z", None),
            ("202601012400Z", None),
            ("20260101235960Z", None),
            ("", None),
            ("Z", None),
            ("2026-01-1", None),
        ];
        for (text, seconds) in table {
            assert_eq!(parse(text.as_bytes()), seconds, "{text}");
        }
    }

    #[test]
    fn days_follow_each_other() {
        let mut expected = 0;
        for year in 1970..2405 {
            for month in 1..=12 {
                for day in 1..=31 {
                    if let Some(found) = days(year, month, day) {
                        assert_eq!(found, expected, "{year}-{month}-{day}");
                        expected += 1;
                    }
                }
            }
        }
        assert_eq!(expected, 158_881, "435 years");
    }
}
