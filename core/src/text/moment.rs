use crate::date::Date;

/// What the zones of the world are ahead of UTC at most, in seconds.
const EASTMOST: u64 = 14 * 3600;
/// From the earliest to the latest moment that a time without its zone may mean: zones are up to 12 hours behind.
pub(crate) const WIDEST: u64 = EASTMOST + 12 * 3600;

/// Reads `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, with `Z` or `UTC` behind it, as seconds since
/// 1970 UTC.
///
/// Without the zone, sshd means that of its machine. There is none here, so the earliest moment is
/// taken that any zone could mean: a key rather expires 14 hours early than late.
pub(crate) fn parse(text: &[u8]) -> Option<u64> {
    let utc = text.ends_with(b"Z") || text.ends_with(b"UTC");
    let seconds = Date::moment(text)?;
    Some(if utc { seconds } else { seconds.saturating_sub(EASTMOST) })
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
}
