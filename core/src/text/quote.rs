//! The two ways of OpenSSH to quote: of configurations (`misc.c`, `argv_split`), where either quote keeps white space
//! in a word, and of the options before a key (`auth-options.c`, `opt_dequote`), where a value stands in double quotes.

use alloc::vec::Vec;
use core::fmt;

use super::line::is_blank;

/// A quote that is not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenQuote;

impl fmt::Display for OpenQuote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quote is not closed")
    }
}

impl core::error::Error for OpenQuote {}

/// The arguments of a line of a configuration, without their quotes (`argv_split`): spaces and tabs separate them,
/// double and single quotes keep those, a backslash takes the meaning from a quote, from a backslash, and outside
/// of quotes from a space; `#` where an argument could begin starts a comment.
///
/// # Errors
/// [`OpenQuote`]
pub fn arguments(text: &[u8]) -> Result<Vec<Vec<u8>>, OpenQuote> {
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
        return Err(OpenQuote);
    }
    all.extend(word);
    Ok(all)
}

/// Splits at the first blank outside of double quotes, within which `\"` is none; the blank is the rest's
/// (`sshkey_advance_past_options`).
pub(crate) fn split_quoted(line: &[u8]) -> Result<(&[u8], &[u8]), OpenQuote> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in line.iter().enumerate() {
        match byte {
            b'"' if escaped => {}
            b'"' => quoted = !quoted,
            byte if !quoted && is_blank(byte) => return line.split_at_checked(at).ok_or(OpenQuote),
            _ => {}
        }
        escaped = *byte == b'\\';
    }
    if quoted { Err(OpenQuote) } else { Ok((line, &[])) }
}

/// Reads a value in double quotes, in which `\"` stands for a quote, and what follows (`opt_dequote`).
pub(crate) fn unquote(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut rest = text.strip_prefix(b"\"")?;
    let mut value = Vec::new();
    loop {
        rest = match rest {
            [b'\\', b'"', rest @ ..] => {
                value.push(b'"');
                rest
            }
            [b'"', rest @ ..] => return Some((value, rest)),
            [byte, rest @ ..] => {
                value.push(*byte);
                rest
            }
            [] => return None,
        };
    }
}
