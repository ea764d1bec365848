use core::fmt;

use base64ct::{Base64, Encoding};

use super::MAX_LINE;
use super::options::{KeyOptions, OptionProblem, Parsed};
use crate::keys::{KeyError, PublicKey, next_field, sig_algs_of};
use crate::wire::Reader;

/// A line in its fields: `[options] type key [comment]`.
pub(super) struct Line<'a> {
    pub(super) options: KeyOptions,
    pub(super) key: PublicKey,
    pub(super) comment: &'a [u8],
}

/// Why a line of authorized_keys lets nobody in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The line is longer than 16 KiB.
    TooLong,
    /// The line holds a NUL byte.
    Nul,
    /// Quotes are opened and not closed.
    Quotes,
    /// There is no key type and key where they belong.
    Fields,
    /// An option is not known, or its value makes no sense.
    Option(OptionProblem),
    /// The key is damaged or of a type we do not have.
    Key(KeyError),
    /// The key signs certificates, and those are not supported yet.
    Authority,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("the line is longer than 16 KiB"),
            Self::Nul => f.write_str("the line holds a NUL byte"),
            Self::Quotes => f.write_str("a quote is not closed"),
            Self::Fields => f.write_str("the line is not `[options] type key [comment]`"),
            Self::Option(problem) => problem.fmt(f),
            Self::Key(error) => error.fmt(f),
            Self::Authority => f.write_str("certificates are not supported yet (cert-authority)"),
        }?;
        f.write_str("; the line is ignored")
    }
}

impl core::error::Error for Problem {}

impl<'a> Line<'a> {
    /// Reads a line, without its line feed. `None` for an empty line or a comment.
    pub(super) fn parse(line: &'a [u8]) -> Result<Option<Self>, Problem> {
        if line.len() > MAX_LINE {
            return Err(Problem::TooLong);
        }
        let line = line.trim_ascii_end();
        let start = line.iter().position(|b| !blank(b)).unwrap_or(line.len());
        let line = line.get(start..).unwrap_or_default();
        if line.is_empty() || line.starts_with(b"#") {
            return Ok(None);
        }
        if line.contains(&0) {
            return Err(Problem::Nul);
        }
        let (first, rest) = next_field(line);
        if let Some((key, comment)) = plain_key(first, rest)? {
            return Ok(Some(Line { options: KeyOptions::default(), key, comment }));
        }
        let (options, rest) = split_options(line).ok_or(Problem::Quotes)?;
        let Parsed { options, authority } = Parsed::parse(options).map_err(Problem::Option)?;
        let (declared, rest) = next_field(rest);
        let (encoded, comment) = next_field(rest);
        if encoded.is_empty() {
            return Err(Problem::Fields);
        }
        let key = PublicKey::from_base64(declared, encoded).map_err(Problem::Key)?;
        if authority {
            return Err(Problem::Authority);
        }
        Ok(Some(Line { options, key, comment }))
    }
}

/// Reads a line that has no options: its first field is a key type that we have, or is the type that
/// stands inside the second.
fn plain_key<'a>(declared: &[u8], rest: &'a [u8]) -> Result<Option<(PublicKey, &'a [u8])>, Problem> {
    let (encoded, comment) = next_field(rest);
    let known = core::str::from_utf8(declared).is_ok_and(|name| !sig_algs_of(name).is_empty());
    if known && encoded.is_empty() {
        return Err(Problem::Fields);
    }
    if !known && !names_itself(declared, encoded) {
        return Ok(None);
    }
    let key = PublicKey::from_base64(declared, encoded).map_err(Problem::Key)?;
    Ok(Some((key, comment)))
}

/// Whether the blob begins with this type, so that the line is a key of a type that we do not have
/// rather than options.
fn names_itself(declared: &[u8], encoded: &[u8]) -> bool {
    let mut buffer = [0u8; 96];
    // Whole groups of four characters for the length (4 bytes) and the name.
    let characters = declared.len().saturating_add(4).div_ceil(3).saturating_mul(4);
    let head = encoded.get(..characters).unwrap_or(encoded);
    Base64::decode(head, &mut buffer).is_ok_and(|head| Reader::new(head).string() == Ok(declared))
}

/// Splits off the options, which end at the first blank outside of quotes.
fn split_options(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in line.iter().enumerate() {
        match byte {
            b'"' if escaped => {}
            b'"' => quoted = !quoted,
            byte if !quoted && blank(byte) => return line.split_at_checked(at),
            _ => {}
        }
        escaped = *byte == b'\\';
    }
    (!quoted).then_some((line, &[]))
}

fn blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}
