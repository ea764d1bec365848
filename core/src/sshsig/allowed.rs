//! Lines of a file of allowed signers: `principals [options] key` (ssh-keygen(1), ALLOWED SIGNERS).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::keys::{KeyError, PublicKey};
use crate::text::pattern::{ListMatch, Sign, matches};
use crate::text::{BadLine, moment, next_field, split_quoted, unquote};

/// Who may sign what.
#[derive(Clone, Debug)]
pub(super) struct Allowed {
    /// Patterns, with commas between them.
    pub(super) principals: Box<[u8]>,
    /// The key is an authority's: it signs certificates, not files.
    pub(super) authority: bool,
    /// Patterns, with commas between them; any, without.
    pub(super) namespaces: Option<Vec<u8>>,
    pub(super) times: SignerTimes,
    pub(super) key: PublicKey,
}

/// When a key may have signed, in seconds since 1970 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignerTimes {
    /// Not before this.
    pub after: Option<u64>,
    /// Not after this.
    pub before: Option<u64>,
}

/// Why a line of allowed signers allows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignerProblem {
    /// No line is like that.
    Line(BadLine),
    /// The line is not `principals [options] key`.
    Fields,
    /// A quote that is not closed, or a value without quotes.
    Quotes,
    /// An option that is not known.
    Option,
    /// An option that is there twice.
    Twice(&'static str),
    /// No time.
    Time(&'static str),
    /// `valid-before` is not after `valid-after`.
    Times,
    /// The key cannot be read.
    Key(KeyError),
}

impl fmt::Display for SignerProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignerProblem::Line(problem) => problem.fmt(f),
            SignerProblem::Fields => f.write_str("the line is not `principals [options] key`"),
            SignerProblem::Quotes => f.write_str("a value stands in double quotes, and they are closed"),
            SignerProblem::Option => f.write_str(
                "an option is not known: there are cert-authority, namespaces=, valid-after= and valid-before=",
            ),
            SignerProblem::Twice(name) => write!(f, "multiple \"{name}\" clauses"),
            SignerProblem::Time(name) => write!(f, "invalid \"{name}\" time"),
            SignerProblem::Times => f.write_str("\"valid-before\" time is before \"valid-after\""),
            SignerProblem::Key(problem) => write!(f, "invalid key: {problem}"),
        }
    }
}

impl Allowed {
    pub(super) fn read(line: &[u8]) -> Result<Self, SignerProblem> {
        let (principals, rest) = match line.first() {
            Some(b'"') => unquote(line).ok_or(SignerProblem::Quotes)?,
            _ => {
                let (field, rest) = next_field(line);
                (field.to_vec(), rest)
            }
        };
        let rest = rest.trim_ascii_start();
        if principals.is_empty() || rest.is_empty() {
            return Err(SignerProblem::Fields);
        }
        let allowed = match PublicKey::from_openssh_line(rest) {
            Ok((key, _)) => Self::new(principals, key),
            Err(problem) => {
                let (options, key) = split_quoted(rest).map_err(|_| SignerProblem::Quotes)?;
                let key = key.trim_ascii_start();
                // Without options it is the key that is wrong.
                let key = if key.contains(&b' ') || key.contains(&b'\t') {
                    PublicKey::from_openssh_line(key).map_err(SignerProblem::Key)?.0
                } else {
                    return Err(SignerProblem::Key(problem));
                };
                let mut allowed = Self::new(principals, key);
                allowed.options(options)?;
                allowed
            }
        };
        let SignerTimes { after, before } = allowed.times;
        if let (Some(after), Some(before)) = (after, before)
            && before <= after
        {
            return Err(SignerProblem::Times);
        }
        Ok(allowed)
    }

    fn new(principals: Vec<u8>, key: PublicKey) -> Self {
        Allowed {
            principals: principals.into(),
            authority: false,
            namespaces: None,
            times: SignerTimes::default(),
            key,
        }
    }

    /// `name` or `name="value"`, with commas between them.
    fn options(&mut self, text: &[u8]) -> Result<(), SignerProblem> {
        let mut rest = text;
        loop {
            let end = rest.iter().position(|b| matches!(b, b'=' | b',')).unwrap_or(rest.len());
            let (name, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            let (value, after) = match after.strip_prefix(b"=") {
                Some(quoted) => {
                    let (value, after) = unquote(quoted).ok_or(SignerProblem::Quotes)?;
                    (Some(value), after)
                }
                None => (None, after),
            };
            self.option(name, value)?;
            rest = match after {
                [] => return Ok(()),
                [b',', more @ ..] if !more.is_empty() => more,
                _ => return Err(SignerProblem::Option),
            };
        }
    }

    fn option(&mut self, name: &[u8], value: Option<Vec<u8>>) -> Result<(), SignerProblem> {
        match (&name.to_ascii_lowercase()[..], value) {
            (b"cert-authority", None) => self.authority = true,
            (b"namespaces", Some(value)) => {
                if self.namespaces.replace(value).is_some() {
                    return Err(SignerProblem::Twice("namespaces"));
                }
            }
            (b"valid-after", Some(value)) => {
                // The latest moment that any zone could mean, where none is given: 26 hours behind the earliest.
                let zone = value.ends_with(b"Z") || value.ends_with(b"UTC");
                let time = moment::parse(&value).filter(|time| *time > 0);
                let time = time.ok_or(SignerProblem::Time("valid-after"))?;
                let time = if zone { time } else { time.saturating_add(moment::WIDEST) };
                set(&mut self.times.after, time, "valid-after")?;
            }
            (b"valid-before", Some(value)) => {
                let time = moment::parse(&value).filter(|time| *time > 0);
                set(
                    &mut self.times.before,
                    time.ok_or(SignerProblem::Time("valid-before"))?,
                    "valid-before",
                )?;
            }
            _ => return Err(SignerProblem::Option),
        }
        Ok(())
    }

    pub(super) fn is_for(&self, principal: &[u8]) -> bool {
        in_list(&self.principals, principal)
    }

    pub(super) fn has_namespace(&self, namespace: &[u8]) -> bool {
        self.namespaces.as_ref().is_none_or(|list| in_list(list, namespace))
    }
}

fn set(slot: &mut Option<u64>, time: u64, name: &'static str) -> Result<(), SignerProblem> {
    if slot.replace(time).is_some() { Err(SignerProblem::Twice(name)) } else { Ok(()) }
}

fn in_list(list: &[u8], text: &[u8]) -> bool {
    let patterns = list.split(|b| *b == b',').map(Sign::split);
    ListMatch::of(patterns.map(|(sign, pattern)| (sign, matches(pattern, text)))) == ListMatch::Yes
}
