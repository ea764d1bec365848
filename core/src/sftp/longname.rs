//! The line of a directory listing, as `ls -l` has it (OpenSSH `sftp-common.c::ls_file`).

use alloc::vec::Vec;
use core::fmt::Write;

use super::attrs::{Attrs, ModeText};

/// Builds the long name of a directory entry. Clients show it; none may parse it.
#[derive(Clone, Copy, Debug)]
pub struct LongName<'a> {
    /// The name.
    pub name: &'a [u8],
    /// Mode, size, modification time; ids if there are no names.
    pub attrs: &'a Attrs,
    /// Hard links.
    pub links: u64,
    /// Name of the owner; empty: the number.
    pub owner: &'a str,
    /// Name of the group; empty: the number.
    pub group: &'a str,
    /// The time now, in seconds since 1970 UTC: recent files show hours, others the year.
    pub now: u64,
}

impl LongName<'_> {
    /// The line.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut line = alloc::string::String::new();
        let mode = self.attrs.permissions.unwrap_or(0);
        let number = |n: Option<u32>| n.map_or_else(|| "?".into(), |n| alloc::format!("{n}"));
        let named = |name: &str, id| if name.is_empty() { number(id) } else { name.into() };
        let owner = named(self.owner, self.attrs.owner.map(|o| o.uid));
        let group = named(self.group, self.attrs.owner.map(|o| o.gid));
        let size = self.attrs.size.unwrap_or(0);
        let _ = write!(line, "{} {:3} {owner:8} {group:8} {size:8} ", ModeText(mode), self.links);
        push_time(&mut line, self.attrs.times.map_or(0, |t| u64::from(t.modified)), self.now);
        line.push(' ');
        let mut bytes = line.into_bytes();
        bytes.extend_from_slice(self.name);
        bytes
    }
}

/// `Feb  3 14:05` for half a year, then `Feb  3  2019`. UTC.
fn push_time(out: &mut impl Write, time: u64, now: u64) {
    const HALF_YEAR: u64 = 365 * 24 * 3600 / 2;
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day) = date(time / 86_400);
    let name = usize::try_from(month).ok().and_then(|m| MONTHS.get(m)).copied().unwrap_or("???");
    let recent = time <= now && now.saturating_sub(time) < HALF_YEAR;
    let _ = if recent {
        let minutes = time % 86_400 / 60;
        write!(out, "{name} {day:2} {:02}:{:02}", minutes / 60, minutes % 60)
    } else {
        write!(out, "{name} {day:2}  {year}")
    };
}

/// Year, month from 0, day from 1, of so many days since 1970-01-01 (Gregorian calendar).
fn date(days: u64) -> (u64, u64, u64) {
    // Years that start in March have their leap day at the end.
    let days = days.saturating_add(719_468);
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12;
    (year + era * 400 + u64::from(month < 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date(0), (1970, 0, 1));
        assert_eq!(date(11_016), (2000, 1, 29));
        assert_eq!(date(11_017), (2000, 2, 1));
        assert_eq!(date(19_723), (2024, 0, 1));
        assert_eq!(date(49_709), (2106, 1, 6));
    }

    #[test]
    fn a_line_as_ls_has_it() {
        let attrs = Attrs::new().with_permissions(0o100_644).with_size(5).with_times(0, 1_700_000_000);
        let mut name = LongName {
            name: b"a\xff",
            attrs: &attrs,
            links: 1,
            owner: "root",
            group: "",
            now: 1_700_000_100,
        };
        assert_eq!(name.to_bytes(), b"-rw-r--r--   1 root     ?               5 Nov 14 22:13 a\xff");
        name.now = 1_800_000_000;
        assert!(name.to_bytes().ends_with(b"Nov 14  2023 a\xff"));
    }
}
