use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

use crate::text::address::Address;

/// The longest host name that is written, in bytes (`NI_MAXHOST`).
const MAX_NAME: usize = 1024;
const DEFAULT_PORT: u16 = 22;

/// The name under which known_hosts knows a host (H-08): lower case, without one dot at the end,
/// `[name]:port` unless the port is 22 (or 0, which stands for "none given"). Brackets around an
/// IPv6 address are taken off first.
///
/// An address has one spelling, as with OpenSSH, whichever of those that getaddrinfo(3) reads was
/// typed: `0::1` is `::1`; `127.1`, `0x7f.1` and `2130706433` are `127.0.0.1`. A zone stays; who knows
/// the machine's interfaces gives their names rather than their numbers.
///
/// Give it what the user typed or `HostKeyAlias`, not what a resolver made of it (H-17).
pub fn canonical(host: &str, port: u16) -> String {
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let host = host.strip_suffix('.').filter(|h| !h.is_empty()).unwrap_or(host);
    let address = Address::parse(host.as_bytes()).and_then(|a| String::from_utf8(a.bytes().collect()).ok());
    let host = address.unwrap_or_else(|| host.to_owned()).to_ascii_lowercase();
    if port == 0 || port == DEFAULT_PORT { host } else { alloc::format!("[{host}]:{port}") }
}

/// The host and the port of a name as [`canonical`] writes it: `[host]:port`, or a host on port 22.
///
/// ```
/// # use konko_core::hosts::split;
/// assert_eq!(split("[example.org]:2222"), ("example.org", 2222));
/// assert_eq!(split("::1"), ("::1", 22));
/// ```
pub fn split(name: &str) -> (&str, u16) {
    let with_port = || {
        let (host, port) = name.strip_prefix('[')?.rsplit_once("]:")?;
        Some((host, port.parse().ok()?))
    };
    with_port().unwrap_or((name, DEFAULT_PORT))
}

/// The [canonical] form of a plain name that stands in a file, byte by byte: files are long, so nothing is
/// allocated for a name.
pub(super) fn canonical_entry(name: &[u8]) -> impl Iterator<Item = u8> {
    let bracketed = name.strip_prefix(b"[").and_then(|rest| {
        let end = rest.iter().rposition(|b| *b == b']')?;
        Some((rest.get(..end)?, rest.get(end..)?))
    });
    let (host, port) = bracketed.unwrap_or((name, b""));
    let host = host.strip_suffix(b".").filter(|h| !h.is_empty()).unwrap_or(host);
    let (open, port): (&[u8], &[u8]) = match port {
        b"" | b"]" | b"]:22" => (b"", b""),
        port => (b"[", port),
    };
    let (address, host) = match Address::parse(host) {
        Some(address) => (Some(address.bytes()), &[][..]),
        None => (None, host),
    };
    let bytes = open.iter().copied().chain(address.into_iter().flatten());
    bytes.chain(host.iter().chain(port).copied()).map(|b| b.to_ascii_lowercase())
}

/// A host name that cannot be written into known_hosts, because it would mean something else there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadHostName(pub(super) String);

impl fmt::Display for BadHostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = crate::wire::SshStr::new(self.0.as_bytes()).excerpt(80);
        write!(
            f,
            "\"{name}\" cannot be stored as a known host: a name has letters, digits and - . _ : % / + = ~ only"
        )
    }
}

impl core::error::Error for BadHostName {}

/// Whether a name is safe to write: nothing that separates, negates, matches or marks (H-09).
pub(super) fn check(host: &str) -> Result<(), BadHostName> {
    let plain = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._:%/+=~".contains(&b);
    // With two dots at the end, taking one off would leave a name of which one is taken off again.
    let bad_end = plain.ends_with("..") || plain == ".";
    if plain.is_empty() || plain.len() > MAX_NAME || bad_end || !plain.bytes().all(allowed) {
        return Err(BadHostName(host.to_owned()));
    }
    Ok(())
}
