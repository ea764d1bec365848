use alloc::string::String;
use core::fmt;

use super::{DecodeError, Part};

/// Most names in a list we read.
const MAX_NAMES: usize = 1024;
/// RFC 4251 §6: a name is at most 64 characters. Real peers stay below; markers included.
const MAX_NAME: usize = 64;

/// `name-list` (RFC 4251 §5): comma-separated names of printable US-ASCII.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NameList<'a>(&'a str);

impl<'a> NameList<'a> {
    /// The list with no names.
    pub const EMPTY: NameList<'static> = NameList("");
    /// Longest list we read, in bytes (facts: a KEXINIT of OpenSSH 10 has lists below 1 KiB; russh
    /// draws the same line).
    pub const MAX_BYTES: usize = 16 * 1024;

    /// Checks the bytes of a list. Empty names are refused, an empty list is fine.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Invalid`] for an empty or unprintable name, one of more than 64 bytes, or too many (RFC 4251 §5, §6).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(DecodeError::Invalid);
        }
        if bytes.is_empty() {
            return Ok(NameList(""));
        }
        let mut names = 0usize;
        for name in bytes.split(|b| *b == b',') {
            names = names.saturating_add(1);
            let printable = name.iter().all(|b| (0x21..=0x7e).contains(b));
            if name.is_empty() || name.len() > MAX_NAME || !printable || names > MAX_NAMES {
                return Err(DecodeError::Invalid);
            }
        }
        core::str::from_utf8(bytes).map(NameList).map_err(|_| DecodeError::Invalid)
    }

    /// The same list in other bytes.
    pub(crate) fn over<'b>(self, part: &mut impl Part<'a, 'b>) -> Option<NameList<'b>> {
        core::str::from_utf8(part(self.0.as_bytes())?).ok().map(NameList)
    }

    /// The names in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        self.0.split(',').filter(|n| !n.is_empty())
    }

    /// Whether `name` is in the list.
    pub fn contains(&self, name: &str) -> bool {
        self.iter().any(|n| n == name)
    }

    /// The list as it stands on the wire, names joined by commas.
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// True when there is no name.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for NameList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for NameList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.0)
    }
}

/// Joins names with commas.
#[derive(Clone, Debug, Default)]
pub struct NameListBuilder(String);

impl NameListBuilder {
    /// Starts with no names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one name.
    pub fn push(&mut self, name: &str) -> &mut Self {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(name);
        self
    }

    /// The joined names.
    pub fn finish(self) -> String {
        self.0
    }
}

impl<'n> FromIterator<&'n str> for NameListBuilder {
    fn from_iter<I: IntoIterator<Item = &'n str>>(names: I) -> Self {
        let mut list = Self::new();
        for name in names {
            list.push(name);
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v32_name_list_abuse_is_refused() {
        for bad in [&b","[..], b",,", b",a", b"a,", b"a b", b"a\0", b"\xc3\xa9", &[b'a'; 65]] {
            assert_eq!(NameList::parse(bad), Err(DecodeError::Invalid), "{bad:?}");
        }
        let many = alloc::vec![b"a,".repeat(1024), b"a".to_vec()].concat();
        assert_eq!(NameList::parse(&many), Err(DecodeError::Invalid), "1025 names");
        assert_eq!(NameList::parse(&[b'a'; 16 * 1024 + 1]), Err(DecodeError::Invalid));
        assert_eq!(NameList::parse(b"").map(|l| l.iter().count()), Ok(0));
        assert_eq!(
            NameList::parse(b"a,b,a").map(|l| l.iter().count()),
            Ok(3),
            "duplicates are the matcher's affair"
        );
    }
}
