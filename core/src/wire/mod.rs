//! SSH data types on the wire (RFC 4251 §5): borrow-only reading, append-only writing.
//!
//! Reading never panics and never allocates: every length is checked against the bytes that are
//! really there. Writing goes through [`Sink`], so the same code fills a packet, a `Vec` or a hash.

mod name_list;
mod parts;
mod reader;
mod sink;
mod text;

pub use name_list::{NameList, NameListBuilder};
pub(crate) use parts::{Part, Parts};
pub use reader::{DecodeError, Reader};
pub use sink::{Sink, write_mpint};
pub use text::{Escaped, SshStr};

/// Strips leading zero bytes: the minimal big-endian form of an unsigned integer.
pub fn minimal(mut magnitude: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = magnitude {
        magnitude = rest;
    }
    magnitude
}
