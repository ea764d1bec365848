//! The grammar of ssh_config(5) and sshd_config(5): a keyword and its arguments, in a line of a file or behind `-o`.
//!
//! As OpenSSH reads it (`readconf.c` `process_config_line_depth`, `misc.c` `strdelim` and `argv_split`): the keyword
//! ends at white space or one `=`; arguments are separated by white space; double and single quotes keep white space
//! in an argument; a backslash takes the meaning from a quote, from a backslash, and outside of quotes from a space;
//! `#` where an argument could begin starts a comment. Arguments are bytes, whatever they are.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// One line, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// In lower case: keywords have none.
    pub keyword: String,
    /// The arguments without their quotes; at least one.
    pub arguments: Vec<Vec<u8>>,
    /// All that stands behind the keyword, as it is: for keywords whose argument is a command.
    pub rest: Vec<u8>,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineError {
    /// A quote is not closed.
    Quote,
    /// Nothing stands behind this keyword.
    NoArgument(String),
    /// The keyword is not text.
    Keyword,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineError::Quote => f.write_str("a quote is not closed"),
            LineError::NoArgument(keyword) => write!(f, "{keyword}: no value is given"),
            LineError::Keyword => f.write_str("the keyword is not a word of letters"),
        }
    }
}

impl core::error::Error for LineError {}

impl Line {
    /// Takes a line apart; `None` if it is empty or a comment.
    pub fn parse(line: &[u8]) -> Result<Option<Self>, LineError> {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            return Ok(None);
        }
        let (word, rest) = match line.strip_prefix(b"\"") {
            Some(quoted) => {
                let (word, rest) = cut(quoted, |b| b == b'"').ok_or(LineError::Quote)?;
                (word, rest.strip_prefix(b"\"").unwrap_or(rest))
            }
            None => cut(line, |b| b == b'=' || b.is_ascii_whitespace()).unwrap_or((line, b"")),
        };
        let keyword = match core::str::from_utf8(word) {
            Ok(word) if !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                word.to_ascii_lowercase()
            }
            _ => return Err(LineError::Keyword),
        };
        let rest = rest.trim_ascii_start();
        let rest = rest.strip_prefix(b"=").unwrap_or(rest).trim_ascii_start();
        let arguments = arguments(rest)?;
        if arguments.is_empty() {
            return Err(LineError::NoArgument(keyword));
        }
        Ok(Some(Line { keyword, arguments, rest: rest.to_vec() }))
    }
}

/// What stands before the first such byte, and what from there on.
fn cut(line: &[u8], end: impl Fn(u8) -> bool) -> Option<(&[u8], &[u8])> {
    line.split_at_checked(line.iter().position(|b| end(*b))?)
}

/// Splits arguments (`argv_split`).
pub fn arguments(text: &[u8]) -> Result<Vec<Vec<u8>>, LineError> {
    let mut all = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote: Option<u8> = None;
    let mut bytes = text.iter().copied().peekable();
    while let Some(b) = bytes.next() {
        match (b, quote) {
            (b' ' | b'\t', None) => all.extend(word.take()),
            (b'#', None) if word.is_none() => break,
            (b'\\', _) => {
                let meant = bytes.next_if(|next| {
                    matches!(next, b'\'' | b'"' | b'\\') || (quote.is_none() && *next == b' ')
                });
                word.get_or_insert_default().push(meant.unwrap_or(b'\\'));
            }
            (b'"' | b'\'', None) => {
                quote = Some(b);
                word.get_or_insert_default();
            }
            (b, Some(open)) if b == open => quote = None,
            (b, _) => word.get_or_insert_default().push(b),
        }
    }
    if quote.is_some() {
        return Err(LineError::Quote);
    }
    all.extend(word);
    Ok(all)
}
