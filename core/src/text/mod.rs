//! Text files that people write: their lines, words, quotes and patterns, and where in them something is wrong.
//!
//! Known hosts, authorized keys and configurations are read by it, so that each is read alike: a line ends at a
//! line feed; white space at its end, a carriage return included, does not count, nor do spaces and tabs at its
//! beginning; what is empty then, or begins with `#`, says nothing and is never too long; a byte order mark before
//! the first line is no part of it; a NUL is nowhere right. That is what OpenSSH makes of its files, but for the
//! mark, which spoils the first word there, the NUL, at which it takes the line for ended, and the limits, which it
//! does not have.

pub(crate) mod address;
mod line;
mod location;
pub(crate) mod moment;
pub mod pattern;
mod quote;
mod sources;

pub use line::{BadLine, Limits, Line, Lines, TooLarge, lines, said};
pub(crate) use line::{next_field, without_mark};
pub use location::{Location, MAX_WARNINGS, Warning};
pub use quote::{OpenQuote, arguments};
pub(crate) use quote::{split_quoted, unquote};
pub(crate) use sources::Sources;
