//! The line of a directory listing, as `ls -l` has it (OpenSSH `sftp-common.c::ls_file`).

use alloc::vec::Vec;
use core::fmt::Write;

use super::attrs::{Attrs, ModeText};
use crate::date::Date;

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
    let Date { year, month, day } = Date::from_days(time / 86_400);
    let name = MONTHS.iter().zip(1u64..).find(|(_, number)| *number == month).map_or("???", |(name, _)| name);
    let recent = time <= now && now.saturating_sub(time) < HALF_YEAR;
    let _ = if recent {
        let minutes = time % 86_400 / 60;
        write!(out, "{name} {day:2} {:02}:{:02}", minutes / 60, minutes % 60)
    } else {
        write!(out, "{name} {day:2}  {year}")
    };
}

#[cfg(test)]
mod tests {
    use super::*;

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
