use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use base64ct::{Base64, Encoding};

use super::options::{KeyOptions, OptionProblem, Parsed};
use crate::keys::{KeyError, KeyType, PublicKey};
use crate::text::{BadLine, Line as Text, OpenQuote, next_field, split_quoted};
use crate::wire::Reader;

/// A line in its fields: `[options] type key [comment]`.
pub(super) struct Line<'a> {
    pub(super) options: KeyOptions,
    pub(super) key: PublicKey,
    pub(super) comment: &'a [u8],
    pub(super) authority: bool,
    pub(super) principals: Option<Vec<Box<[u8]>>>,
}

/// Why a line of authorized_keys lets nobody in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// No line is like that.
    Line(BadLine),
    /// Quotes are opened and not closed.
    Quotes(OpenQuote),
    /// There is no key type and key where they belong.
    Fields,
    /// An option is not known, or its value makes no sense.
    Option(OptionProblem),
    /// The key is damaged or of a type we do not have.
    Key(KeyError),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(problem) => problem.fmt(f),
            Self::Quotes(problem) => problem.fmt(f),
            Self::Fields => f.write_str("the line is not `[options] type key [comment]`"),
            Self::Option(problem) => problem.fmt(f),
            Self::Key(error) => error.fmt(f),
        }?;
        f.write_str("; the line is ignored")
    }
}

impl core::error::Error for Problem {}

impl<'a> Line<'a> {
    /// Reads a line of a file.
    pub(super) fn read(line: Text<'a>) -> Result<Self, Problem> {
        let line = line.read().map_err(Problem::Line)?;
        let (first, rest) = next_field(line);
        if let Some((key, comment)) = plain_key(first, rest)? {
            let options = KeyOptions::default();
            return Ok(Line { options, key, comment, authority: false, principals: None });
        }
        let (options, rest) = split_quoted(line).map_err(Problem::Quotes)?;
        let Parsed { options, authority, principals } = Parsed::parse(options).map_err(Problem::Option)?;
        let (declared, rest) = next_field(rest);
        let (encoded, comment) = next_field(rest);
        if encoded.is_empty() {
            return Err(Problem::Fields);
        }
        let key = PublicKey::from_base64(declared, encoded).map_err(Problem::Key)?;
        Ok(Line { options, key, comment, authority, principals })
    }
}

/// Reads a line that has no options: its first field is a key type that we have, or is the type that
/// stands inside the second.
fn plain_key<'a>(declared: &[u8], rest: &'a [u8]) -> Result<Option<(PublicKey, &'a [u8])>, Problem> {
    let (encoded, comment) = next_field(rest);
    let known = core::str::from_utf8(declared).is_ok_and(|name| KeyType::from_name(name).is_some());
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
