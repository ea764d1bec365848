//! The file format, and the form that may be shown.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use super::entry::Record;
use crate::error::Phase;
use crate::msg::Message;
use crate::msg::{self, NewKeys};
use crate::rng::Seed;
use crate::time::Time;
use crate::transport::negotiate::Role;
use crate::wire::{DecodeError, Reader, Sink};

/// Largest transcript that is written or read. A recording that reaches it just stops; what it has
/// still replays.
pub const MAX_TRANSCRIPT: usize = 256 << 20;

const MAGIC: [u8; 8] = *b"konkoTR\n";
const VERSION: u32 = 1;
/// Magic, version, role, seed, start.
pub(crate) const HEADER: usize = 8 + 4 + 1 + 32 + 8;

pub(super) fn put_header(out: &mut dyn Sink, role: Role, seed: &Seed, now: Time) {
    out.put(&MAGIC);
    out.put_u32(VERSION);
    out.put_u8(u8::from(role == Role::Server));
    out.put(seed.bytes());
    out.put_u64(now.as_micros());
}

/// Everything that went into one connection, from its seed on, and marks of what came out.
///
/// **It holds secrets**: the seed opens every session key, passwords and answers stand in it as
/// they were given, and all data that was exchanged can be read from it. It is wiped on drop and
/// prints nothing; [`redact`](Self::redact) makes a form that may be shown.
pub struct SecretTranscript {
    bytes: Zeroizing<Vec<u8>>,
    role: Role,
    records: usize,
    complete: bool,
}

/// Why bytes are no transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TranscriptError {
    /// They do not begin as one.
    NotATranscript,
    /// Written by another version.
    Version(u32),
    /// More than [`MAX_TRANSCRIPT`] bytes.
    TooLarge,
    /// The record of that number does not parse.
    Record(usize, DecodeError),
}

impl fmt::Display for TranscriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotATranscript => f.write_str("this is no konko transcript"),
            Self::Version(v) => write!(f, "a transcript of version {v}; this konko reads version {VERSION}"),
            Self::TooLarge => write!(f, "a transcript of more than {MAX_TRANSCRIPT} bytes"),
            Self::Record(n, e) => write!(f, "record {n} of the transcript is damaged: {e}"),
        }
    }
}

impl core::error::Error for TranscriptError {}

impl SecretTranscript {
    pub(super) fn from_recorder(bytes: Zeroizing<Vec<u8>>) -> Self {
        let role = if bytes.get(12) == Some(&1) { Role::Server } else { Role::Client };
        let mut transcript = SecretTranscript { bytes, role, records: 0, complete: false };
        let (mut records, mut complete) = (0usize, false);
        for record in transcript.records() {
            records = records.saturating_add(1);
            complete = matches!(record, Record::End);
        }
        (transcript.records, transcript.complete) = (records, complete);
        transcript
    }

    /// Reads the file format. All of it is checked here.
    ///
    /// # Errors
    ///
    /// [`TranscriptError`] for what is no transcript, of another version, or damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TranscriptError> {
        let mut r = Reader::new(bytes);
        if r.array() != Ok(MAGIC) {
            return Err(TranscriptError::NotATranscript);
        }
        let header = |e| TranscriptError::Record(0, e);
        let version = r.u32().map_err(header)?;
        if version != VERSION {
            return Err(TranscriptError::Version(version));
        }
        if bytes.len() > MAX_TRANSCRIPT {
            return Err(TranscriptError::TooLarge);
        }
        let role = match r.u8().map_err(header)? {
            0 => Role::Client,
            1 => Role::Server,
            _ => return Err(header(DecodeError::Invalid)),
        };
        r.bytes(32 + 8).map_err(header)?;
        let (mut records, mut complete) = (0usize, false);
        while !r.is_empty() {
            records = records.saturating_add(1);
            let damaged = |e| TranscriptError::Record(records, e);
            if complete {
                return Err(damaged(DecodeError::Trailing));
            }
            complete = matches!(Record::next(&mut r).map_err(damaged)?, Record::End);
        }
        Ok(SecretTranscript { bytes: Zeroizing::new(bytes.to_vec()), role, records, complete })
    }

    /// The file format: keep it where you keep private keys.
    pub fn to_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Which side was recorded.
    pub fn role(&self) -> Role {
        self.role
    }

    /// How many records there are; a [`Divergence`](crate::replay::Divergence) counts them from 1.
    pub fn len(&self) -> usize {
        self.records
    }

    /// True when the recording was taken; without its end, it was cut off.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// True when there is no record.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The seed and the start.
    pub(crate) fn start(&self) -> (Seed, Time) {
        let mut r = Reader::new(self.bytes.get(13..).unwrap_or_default());
        let seed = Zeroizing::new(r.array().unwrap_or_default());
        (Seed::new(*seed), Time::from_micros(r.u64().unwrap_or_default()))
    }

    pub(crate) fn header(&self) -> &[u8] {
        self.bytes.get(..HEADER).unwrap_or_default()
    }

    pub(crate) fn body(&self) -> &[u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut r = Reader::new(self.body());
        core::iter::from_fn(move || Record::next(&mut r).ok())
    }

    /// What may be shown: when what was called and how much came and went, and the kinds of the
    /// packets that came in clear, up to NEWKEYS. No content, no names, no digests.
    pub fn redact(&self) -> Outline {
        let (_, start) = self.start();
        let mut lines = Vec::new();
        let mut now = start.as_micros();
        let mut clear = ClearText::default();
        for record in self.records() {
            if let Record::Poll { delta, .. } = &record {
                now = now.wrapping_add(*delta);
            }
            let at = Time::from_micros(now.wrapping_sub(start.as_micros()));
            let mut line = format!("+{at} {record}");
            if let Record::Poll { input, .. } = record {
                clear.feed(input, &mut line);
            }
            lines.push(line);
        }
        Outline { role: self.role, lines }
    }
}

impl fmt::Debug for SecretTranscript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretTranscript({:?}, {} records)", self.role, self.records)
    }
}

/// The shape of a recorded session; `Display` prints a line a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    role: Role,
    lines: Vec<String>,
}

impl Outline {
    /// Which side was recorded.
    pub fn role(&self) -> Role {
        self.role
    }

    /// One line a record.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

impl fmt::Display for Outline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "konko transcript, {:?}", self.role)?;
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Follows the packets of one direction while they are in clear.
struct ClearText {
    phase: Phase,
    /// Of the current line or packet.
    seen: Vec<u8>,
}

impl Default for ClearText {
    fn default() -> Self {
        ClearText { phase: Phase::Ident, seen: Vec::new() }
    }
}

/// Longest unfinished line or packet that is followed.
const MAX_SEEN: usize = 256 * 1024;

impl ClearText {
    /// Takes input and appends what it begins to `line`.
    fn feed(&mut self, input: &[u8], line: &mut String) {
        if self.phase > Phase::KeyExchange {
            return;
        }
        self.seen.extend_from_slice(input);
        if self.seen.len() > MAX_SEEN {
            self.stop();
        }
        while self.take(line) {}
    }

    fn stop(&mut self) {
        *self = ClearText { phase: Phase::Connected, seen: Vec::new() };
    }

    fn take(&mut self, line: &mut String) -> bool {
        if self.phase == Phase::Ident {
            let Some(end) = self.seen.iter().position(|b| *b == b'\n') else { return false };
            if self.seen.starts_with(b"SSH-") {
                self.phase = Phase::KeyExchange;
                line.push_str(" [identification]");
            }
            self.seen.drain(..=end);
            return true;
        }
        let Some(([a, b, c, d, _, number], _)) = self.seen.split_first_chunk::<6>() else { return false };
        let (length, number) = (u32::from_be_bytes([*a, *b, *c, *d]), *number);
        let total = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(4);
        if !(6..=MAX_SEEN).contains(&total) {
            self.stop();
            return false;
        }
        if self.seen.len() < total {
            return false;
        }
        line.push_str(&format!(" [{}, {total} bytes]", msg::name(number)));
        self.seen.drain(..total);
        if number == NewKeys::NUMBER {
            self.stop();
        }
        true
    }
}
