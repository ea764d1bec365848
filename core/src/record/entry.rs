//! The records of a transcript: `byte kind`, `string body`.

use core::fmt;

use super::call::Call;
use crate::wire::{DecodeError, Reader, Sink};

/// A digest that tells two values apart: SHA-256, cut to 16 bytes.
pub(crate) type Mark = [u8; 16];

pub(crate) const POLL: u8 = 1;
pub(crate) const FOUND: u8 = 2;
pub(crate) const CALL: u8 = 3;
pub(crate) const SENT: u8 = 4;
pub(crate) const CONSUMED: u8 = 5;
pub(crate) const END: u8 = 6;

/// One thing that happened to a connection.
pub(crate) enum Record<'a> {
    /// `poll` was called so much later than the last time (modulo 2^64), with this new input.
    Poll { delta: u64, eof: bool, input: &'a [u8] },
    /// What that `poll` returned: its kind and the deadline after it (and a mark of the whole,
    /// which is only compared).
    Found { what: &'a str, deadline: Option<(u64, u8)> },
    /// A method was called.
    Call(Call<'a>),
    /// So much output was made since the last record of this kind (and a mark of it).
    Sent { len: u64 },
    /// The application took so much output.
    Consumed(u64),
    /// The recording was taken; without it, it was cut off.
    End,
}

impl<'a> Record<'a> {
    /// Reads one record from the front.
    pub(crate) fn next(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let kind = r.u8()?;
        let mut body = Reader::new(r.string()?);
        let record = match kind {
            POLL => {
                Record::Poll { delta: body.u64()?, eof: body.bool()?, input: body.bytes(body.rest().len())? }
            }
            FOUND => {
                body.array::<16>()?;
                Record::Found {
                    deadline: if body.bool()? { Some((body.u64()?, body.u8()?)) } else { None },
                    what: body.text()?.to_str().ok_or(DecodeError::Invalid)?,
                }
            }
            CALL => Record::Call(Call::read(&mut body)?),
            SENT => {
                let len = body.u64()?;
                body.array::<16>()?;
                Record::Sent { len }
            }
            CONSUMED => Record::Consumed(body.u64()?),
            END => Record::End,
            _ => return Err(DecodeError::Invalid),
        };
        body.end()?;
        Ok(record)
    }
}

/// Writes the body of [`Record::Found`].
pub(crate) fn put_found(out: &mut dyn Sink, what: &str, mark: &Mark, deadline: Option<(u64, u8)>) {
    out.put(mark);
    out.put_bool(deadline.is_some());
    if let Some((at, kind)) = deadline {
        out.put_u64(at);
        out.put_u8(kind);
    }
    out.put_string(what.as_bytes());
}

/// Shows no secret: no input, no argument, no digest of either.
impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Record::Poll { eof, input, .. } => {
                let end = if *eof { ", end of input" } else { "" };
                write!(f, "poll: {} bytes of input{end}", input.len())
            }
            Record::Found { what, deadline: None, .. } => write!(f, "{what}"),
            Record::Found { what, deadline: Some((at, _)), .. } => {
                write!(f, "{what}; deadline {}", crate::Time::from_micros(*at))
            }
            Record::Call(call) => write!(f, "{call}"),
            Record::Sent { len } => write!(f, "output: {len} bytes"),
            Record::Consumed(n) => write!(f, "output taken: {n} bytes"),
            Record::End => f.write_str("end of the recording"),
        }
    }
}
