//! The grammar of ssh_config(5) and sshd_config(5): a keyword and its arguments, in a line of a file or behind `-o`.
//!
//! As OpenSSH reads it (`readconf.c` `process_config_line_depth`, `misc.c` `strdelim`): the keyword ends at white space
//! or one `=`, and [`arguments`] follow. They are bytes, whatever they are.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::text::{BadLine, OpenQuote, arguments, said};

/// The longest line that is used, in bytes: as long as an argument of a program may be (Linux).
pub const MAX_LINE: usize = 128 * 1024;

/// One line, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
#[non_exhaustive]
pub enum LineError {
    /// No line is like that.
    Line(BadLine),
    /// A quote is not closed.
    Quote(OpenQuote),
    /// Nothing stands behind this keyword.
    NoArgument(String),
    /// The keyword is not text.
    Keyword,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineError::Line(problem) => problem.fmt(f),
            LineError::Quote(problem) => problem.fmt(f),
            LineError::NoArgument(keyword) => write!(f, "{keyword}: no value is given"),
            LineError::Keyword => f.write_str("the keyword is not a word of letters"),
        }
    }
}

impl core::error::Error for LineError {}

impl Line {
    /// Takes a line apart; `None` if it is empty or a comment.
    ///
    /// # Errors
    /// [`LineError`]
    pub fn parse(line: &[u8]) -> Result<Option<Self>, LineError> {
        let Some(line) = said(line, MAX_LINE).map_err(LineError::Line)? else { return Ok(None) };
        let (word, rest) = match line.strip_prefix(b"\"") {
            Some(quoted) => {
                let (word, rest) = cut(quoted, |b| b == b'"').ok_or(LineError::Quote(OpenQuote))?;
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
        let arguments = arguments(rest).map_err(LineError::Quote)?;
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
