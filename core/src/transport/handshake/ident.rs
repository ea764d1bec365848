//! The identification exchange (RFC 4253 §4.2).

use alloc::vec::Vec;

use super::negotiate::Role;
use crate::error::{Failure, Fault, quote};
use crate::transport::packets::RxBuf;

/// Longest identification line with its CR LF (RFC 4253 §4.2).
const MAX_IDENT: usize = 255;
/// Lines a server may send before it, their length, and their bytes in all (OpenSSH kex.c has
/// 1024 lines of 8192 bytes; the total is ours).
const MAX_LINES: u32 = 1024;
const MAX_LINE: usize = 8192;
const MAX_PREAMBLE: usize = 256 * 1024;
/// A server is sure after so many bytes that are no identification, even without a line end. Not
/// at the first wrong byte: what the error shows would depend on how the input was cut.
const MAX_WRONG: usize = 64;

/// Reads the peer's identification line.
#[derive(Debug, Default)]
pub(super) struct IdentReader {
    lines: u32,
    bytes: usize,
    /// The first line that was not SSH, for the error text.
    first: Vec<u8>,
}

impl IdentReader {
    /// The peer's line without CR LF, once it has arrived. A client tolerates other lines before
    /// it; a server does not.
    pub(super) fn next(&mut self, role: Role, rx: &mut RxBuf) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            let input = rx.unread();
            let ssh = looks_like_ssh(input);
            let limit = match (ssh, role) {
                (true, _) => MAX_IDENT,
                (false, Role::Server) => MAX_WRONG,
                (false, Role::Client) => MAX_LINE,
            };
            let end = input.iter().take(limit).position(|b| *b == b'\n');
            let Some(end) = end else {
                if input.len() >= limit {
                    return Err(if ssh { cut(Fault::IdentTooLong, input) } else { self.not_ssh(input) });
                }
                if rx.at_eof() && !input.is_empty() {
                    return Err(if ssh { cut(Fault::Truncated, input) } else { self.not_ssh(input) });
                }
                return Ok(None);
            };
            let line = input.get(..end).unwrap_or_default();
            if ssh {
                let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
                rx.take(end.saturating_add(1));
                check(role, &line)?;
                return Ok(Some(line));
            }
            self.lines = self.lines.saturating_add(1);
            self.bytes = self.bytes.saturating_add(end);
            if role == Role::Server || self.lines > MAX_LINES || self.bytes > MAX_PREAMBLE {
                return Err(self.not_ssh(line));
            }
            if self.first.is_empty() {
                self.first = line.get(..line.len().min(200)).unwrap_or(line).to_vec();
            }
            rx.take(end.saturating_add(1));
        }
    }

    /// The peer went away, or fell silent, before its line was complete: what it said instead, if
    /// anything.
    pub(super) fn ended(&self, input: &[u8]) -> Option<Failure> {
        if looks_like_ssh(input) {
            return Some(cut(Fault::Truncated, input));
        }
        (!self.first.is_empty() || !input.is_empty()).then(|| self.not_ssh(input))
    }

    fn not_ssh(&self, input: &[u8]) -> Failure {
        let shown = if self.first.is_empty() { input.get(..MAX_WRONG).unwrap_or(input) } else { &self.first };
        let hint = match shown {
            [b'H', b'T', b'T', b'P', ..] | [b'G', b'E', b'T', b' ', ..] => " (this is HTTP)",
            [0x15 | 0x16, 0x03, ..] => " (this is TLS)",
            [b'-', b'E', b'R', b'R', ..] => " (this looks like Redis)",
            [b'2', b'2', b'0', ..] => " (this looks like FTP or SMTP)",
            _ => "",
        };
        Failure::text(Fault::NotSsh, alloc::format!("it sent \"{}\"{hint}", quote(shown)))
    }
}

/// The start of a line that is no good as a whole.
fn cut(fault: Fault, line: &[u8]) -> Failure {
    let start = line.get(..MAX_WRONG).unwrap_or(line);
    Failure::text(fault, alloc::format!("\"{}\"", quote(start)))
}

fn looks_like_ssh(input: &[u8]) -> bool {
    input.starts_with(b"SSH-")
}

/// Version 2.0, or from a server 1.99 (RFC 4253 §5.1); printable US-ASCII only.
fn check(role: Role, line: &[u8]) -> Result<(), Failure> {
    if !line.iter().all(|b| (0x20..=0x7e).contains(b)) {
        return Err(Failure::text(Fault::IdentInvalid, alloc::format!("\"{}\"", quote(line))));
    }
    let versions: &[&[u8]] = match role {
        Role::Client => &[b"SSH-2.0-", b"SSH-1.99-"],
        Role::Server => &[b"SSH-2.0-"],
    };
    if versions.iter().any(|v| line.starts_with(v)) {
        Ok(())
    } else {
        Err(Failure::text(Fault::Version, alloc::format!("\"{}\"", quote(line))))
    }
}
