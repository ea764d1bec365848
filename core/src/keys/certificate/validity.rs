//! When a certificate is valid, as people write and read it (ssh-keygen(1), `-V`; `sshkey_format_cert_validity`).

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

use super::Certificate;
use crate::date::Date;
use crate::wire::SshStr;

/// From when on a certificate is valid, and from when on not any more, in seconds since 1970 UTC. `Display` is what
/// ssh-keygen prints, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    after: u64,
    before: u64,
}

/// Why a text does not say when a certificate is valid; what stands there, escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadValidity {
    /// It is neither `+TIME` nor `FROM:TO`.
    Form(String),
    /// A time is none.
    Time(String),
    /// It ends before it begins.
    Empty,
}

impl fmt::Display for BadValidity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(text) => {
                write!(f, "\"{text}\" is neither a time such as +52w, nor two such as 20260101Z:forever")
            }
            Self::Time(text) => write!(
                f,
                "\"{text}\" is no time: YYYYMMDD[HHMM[SS]][Z] in UTC, +1h, -5m, 0xHEX, always or forever"
            ),
            Self::Empty => f.write_str("the certificate would end before it begins"),
        }
    }
}

impl core::error::Error for BadValidity {}

impl Validity {
    /// From then on, and from then on not any more; [`u64::MAX`] is never.
    pub const fn new(after: u64, before: u64) -> Self {
        Validity { after, before }
    }

    /// Reads what `ssh-keygen -V` takes: `+TIME` from about now, or `FROM:TO`. Times of day are UTC, whether a `Z` says so or
    /// not.
    ///
    /// # Errors
    /// [`BadValidity`].
    pub fn parse(text: &str, now: u64) -> Result<Self, BadValidity> {
        let shown = |text: &str| SshStr::new(text.as_bytes()).excerpt(80).to_owned();
        let Some((from, to)) = text.split_once(':') else {
            let length = text.strip_prefix('+').ok_or_else(|| BadValidity::Form(shown(text)))?;
            let length = duration(length).ok_or_else(|| BadValidity::Time(shown(text)))?;
            let before = now.checked_add(length).ok_or_else(|| BadValidity::Time(shown(text)))?;
            // A minute earlier, for hosts whose clocks are late, as in OpenSSH.
            let after = (now.saturating_sub(59) / 60).saturating_mul(60);
            return Ok(Validity { after, before });
        };
        if from.is_empty() || to.is_empty() {
            return Err(BadValidity::Form(shown(text)));
        }
        let one = |text: &str, always: &str, value: u64| match text {
            text if text == always => Ok(value),
            text => moment(text, now).ok_or_else(|| BadValidity::Time(shown(text))),
        };
        let (after, before) = (one(from, "always", 0)?, one(to, "forever", u64::MAX)?);
        if before <= after { Err(BadValidity::Empty) } else { Ok(Validity { after, before }) }
    }

    /// From when on.
    pub const fn after(self) -> u64 {
        self.after
    }

    /// From when on not any more.
    pub const fn before(self) -> u64 {
        self.before
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (after, before) = (Moment(self.after), Moment(self.before));
        match (self.after, self.before) {
            (0, u64::MAX) => f.write_str("forever"),
            (0, _) => write!(f, "before {before}"),
            (_, u64::MAX) => write!(f, "after {after}"),
            _ => write!(f, "from {after} to {before}"),
        }
    }
}

impl Certificate {
    /// When it is valid, as it says.
    pub fn validity(&self) -> Validity {
        Validity { after: self.valid_after, before: self.valid_before }
    }
}

struct Moment(u64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Date { year, month, day } = Date::from_days(self.0 / 86_400);
        let second = self.0 % 86_400;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

/// A moment: `+TIME`, `-TIME`, `0xHEX`, or a date.
fn moment(text: &str, now: u64) -> Option<u64> {
    match text.as_bytes() {
        [b'+', ..] => now.checked_add(duration(text.get(1..)?)?),
        [b'-', ..] => now.checked_sub(duration(text.get(1..)?)?),
        [b'0', b'x', ..] => {
            let hex = text.get(2..).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))?;
            u64::from_str_radix(hex, 16).ok()
        }
        _ => Date::moment(text.as_bytes()),
    }
}

/// Seconds, or numbers with a unit of s, m, h, d or w each (sshd_config(5), TIME FORMATS).
fn duration(text: &str) -> Option<u64> {
    let (mut total, mut number) = (0u64, None::<u64>);
    for byte in text.bytes() {
        let unit = match byte.to_ascii_lowercase() {
            digit @ b'0'..=b'9' => {
                let digit = u64::from(digit.saturating_sub(b'0'));
                number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
                continue;
            }
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    match number {
        Some(seconds) => total.checked_add(seconds),
        None if text.is_empty() => None,
        None => Some(total),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_767_225_630;

    #[test]
    fn what_ssh_keygen_takes_is_taken() {
        let table = [
            ("+52w", Ok((NOW - 90, NOW + 52 * 604_800))),
            ("+1h30m", Ok((NOW - 90, NOW + 5400))),
            ("always:forever", Ok((0, u64::MAX))),
            ("-1d:+1", Ok((NOW - 86_400, NOW + 1))),
            ("20260101:20260102Z", Ok((1_767_225_600, 1_767_312_000))),
            ("202601010000:20260101000001", Ok((1_767_225_600, 1_767_225_601))),
            ("0x10:0x1f", Ok((16, 31))),
        ];
        for (text, expected) in table {
            let found = Validity::parse(text, NOW).map(|v| (v.after(), v.before()));
            assert_eq!(found, expected, "{text}");
        }
        let form = |text: &str| Err(BadValidity::Form(text.into()));
        let time = |text: &str| Err(BadValidity::Time(text.into()));
        let wrong = [
            ("", form("")),
            ("1h", form("1h")),
            (":", form(":")),
            ("always:", form("always:")),
            ("+", time("+")),
            ("+1x", time("+1x")),
            ("forever:always", time("forever")),
            ("20261301:forever", time("20261301")),
            ("-99999w:forever", time("-99999w")),
            ("0x:forever", time("0x")),
            ("0x+1:forever", time("0x+1")),
            ("+2h:+1h", Err(BadValidity::Empty)),
            ("+1h:+1h", Err(BadValidity::Empty)),
        ];
        for (text, expected) in wrong {
            assert_eq!(Validity::parse(text, NOW), expected, "{text}");
        }
    }

    #[test]
    fn what_ssh_keygen_prints_is_printed() {
        let shown = |after, before| alloc::format!("{}", Validity::new(after, before));
        assert_eq!(shown(0, u64::MAX), "forever");
        assert_eq!(shown(0, NOW), "before 2026-01-01T00:00:30");
        assert_eq!(shown(NOW, u64::MAX), "after 2026-01-01T00:00:30");
        assert_eq!(shown(1, NOW), "from 1970-01-01T00:00:01 to 2026-01-01T00:00:30");
    }
}
