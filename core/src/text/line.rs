use core::fmt;

/// How large a kind of file may be, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest file that is read.
    pub file: usize,
    /// The longest line that is used.
    pub line: usize,
}

/// A file over its limit, which nobody means to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// The limit, in bytes.
    pub max: usize,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is larger than {}; is it the right file?", Size(self.max))
    }
}

impl core::error::Error for TooLarge {}

/// What no line may be, whatever it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadLine {
    /// It is longer than so many bytes.
    TooLong(usize),
    /// It holds a NUL byte.
    Nul,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadLine::TooLong(max) => write!(f, "the line is longer than {}", Size(*max)),
            BadLine::Nul => f.write_str("the line holds a NUL byte"),
        }
    }
}

impl core::error::Error for BadLine {}

/// A number of bytes, for people.
struct Size(usize);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n.is_multiple_of(1 << 20) => write!(f, "{} MiB", n >> 20),
            n if n.is_multiple_of(1 << 10) => write!(f, "{} KiB", n >> 10),
            n => write!(f, "{n} bytes"),
        }
    }
}

/// A line that says something.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    number: u32,
    start: usize,
    text: &'a [u8],
    whole: &'a [u8],
    max: usize,
}

impl<'a> Line<'a> {
    /// Its number, from 1; lines that say nothing count.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Where [`text`](Self::text) begins in the file.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Where [`text`](Self::text) ends in the file.
    pub fn end(&self) -> usize {
        self.start.saturating_add(self.text.len())
    }

    /// What stands there, good or bad.
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// The same with all that stands around it, but for the end of the line: for what may end with blanks,
    /// such as a password.
    pub fn whole(&self) -> &'a [u8] {
        self.whole.strip_suffix(b"\r").unwrap_or(self.whole)
    }

    /// The line, if it is one.
    ///
    /// # Errors
    /// [`BadLine`]
    pub fn read(&self) -> Result<&'a [u8], BadLine> {
        if self.text.len() > self.max {
            return Err(BadLine::TooLong(self.max));
        }
        if self.text.contains(&0) {
            return Err(BadLine::Nul);
        }
        Ok(self.text)
    }
}

/// The lines of a file that say something; see [`lines`].
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    rest: Option<&'a [u8]>,
    number: u32,
    start: usize,
    max: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        loop {
            let rest = self.rest?;
            let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
            let (whole, after) = rest.split_at_checked(end)?;
            let start = self.start;
            self.rest = after.get(1..);
            self.start = start.saturating_add(end).saturating_add(1);
            self.number = self.number.checked_add(1)?;
            if let Some((blanks, text)) = trimmed(whole) {
                let start = start.saturating_add(blanks);
                return Some(Line { number: self.number, start, text, whole, max: self.max });
            }
        }
    }
}

/// The lines of a file that say something, in order.
///
/// # Errors
/// [`TooLarge`]
pub fn lines(file: &[u8], limits: Limits) -> Result<Lines<'_>, TooLarge> {
    if file.len() > limits.file {
        return Err(TooLarge { max: limits.file });
    }
    let text = without_mark(file);
    Ok(Lines { rest: Some(text), number: 0, start: file.len().saturating_sub(text.len()), max: limits.line })
}

/// One line that is no file's, such as an argument of a program; `None` if it says nothing.
///
/// # Errors
/// [`BadLine`]
pub fn said(line: &[u8], max: usize) -> Result<Option<&[u8]>, BadLine> {
    trimmed(line).map(|(start, text)| Line { number: 1, start, text, whole: line, max }.read()).transpose()
}

/// How many blanks stand in front, and what a line says.
fn trimmed(line: &[u8]) -> Option<(usize, &[u8])> {
    let start = line.iter().position(|b| !is_blank(b))?;
    let text = line.get(start..)?.trim_ascii_end();
    (!text.is_empty() && !text.starts_with(b"#")).then_some((start, text))
}

/// The text behind the mark with which some editors begin a file of UTF-8.
pub(crate) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// Splits off the next field and the spaces and tabs around it; no other byte separates (H-12).
pub(crate) fn next_field(text: &[u8]) -> (&[u8], &[u8]) {
    let start = text.iter().position(|b| !is_blank(b)).unwrap_or(text.len());
    let text = text.get(start..).unwrap_or_default();
    let end = text.iter().position(is_blank).unwrap_or(text.len());
    let (field, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    let next = rest.iter().position(|b| !is_blank(b)).unwrap_or(rest.len());
    (field, rest.get(next..).unwrap_or_default())
}

pub(super) fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const LIMITS: Limits = Limits { file: 64, line: 8 };

    fn read(file: &[u8]) -> Vec<(u32, Result<&[u8], BadLine>)> {
        let all = lines(file, LIMITS).unwrap();
        let all = all.inspect(|line| assert!(file[line.start()..].starts_with(line.text())));
        all.map(|line| (line.number(), line.read())).collect()
    }

    #[test]
    fn every_file_is_read_alike() {
        type Read<'a> = &'a [(u32, &'a [u8])];
        let table: [(&[u8], Read<'_>); 11] = [
            (b"", &[]),
            (b"\n\n", &[]),
            (b"a\nb", &[(1, b"a"), (2, b"b")]),
            (b"a\r\nb\r\n", &[(1, b"a"), (2, b"b")]),
            (b"\xef\xbb\xbfa\n\xef\xbb\xbfb", &[(1, b"a"), (2, b"\xef\xbb\xbfb")]),
            (b"\xef\xbb\xbf# a\n", &[]),
            (b" \t a b \t\x0c\r\r\n \r\n\t\nc", &[(1, b"a b"), (4, b"c")]),
            (b"a\rb", &[(1, b"a\rb")]),
            (b"# a\n  # b\na # b", &[(3, b"a # b")]),
            (b"\x0ca\n\x0b", &[(1, b"\x0ca"), (2, b"\x0b")]),
            (b"\xff\xfe", &[(1, b"\xff\xfe")]),
        ];
        for (file, expected) in table {
            let expected: Vec<_> = expected.iter().map(|(n, text)| (*n, Ok(*text))).collect();
            assert_eq!(read(file), expected, "{file:?}");
        }
    }

    #[test]
    fn what_no_line_may_be_is_said_of_that_line_alone() {
        let (long, nul) = (Err(BadLine::TooLong(8)), Err(BadLine::Nul));
        assert_eq!(read(b"a\0b\n123456789\nc"), [(1, nul), (2, long), (3, Ok(&b"c"[..]))]);
        assert_eq!(read(b"  12345678  \r\n"), [(1, Ok(&b"12345678"[..]))], "blanks around it do not count");
        assert_eq!(read(b"# 123456789\0\n \t         \n"), [], "what says nothing is never wrong");
        assert_eq!(said(b" a \r\n", 1), Ok(Some(&b"a"[..])));
        assert_eq!((said(b" # a", 1), said(b"ab", 1)), (Ok(None), Err(BadLine::TooLong(1))));
    }

    #[test]
    fn a_file_over_its_limit_is_not_read() {
        assert_eq!(lines(&[b'\n'; 65], LIMITS).unwrap_err(), TooLarge { max: 64 });
        assert_eq!(lines(&[b'\n'; 64], LIMITS).unwrap().count(), 0);
        for (max, text) in [(16 << 20, "16 MiB"), (64 << 10, "64 KiB"), (100, "100 bytes")] {
            assert!(alloc::format!("{}", TooLarge { max }).contains(text));
        }
    }
}
