//! Numeric addresses in their one spelling: what getnameinfo(3) makes, with `NI_NUMERICHOST`, of what
//! getaddrinfo(3) reads. OpenSSH looks hosts up by it (`ssh.c`, `resolve_addr`).

use core::fmt::{self, Write};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest text: eight groups of four digits.
const MAX_TEXT: usize = 39;

/// The address that a text stands for, by any spelling of it; `None` for anything else, and with a zone.
pub(crate) fn ip(text: &[u8]) -> Option<IpAddr> {
    read(text).filter(|(_, zone)| zone.is_empty()).map(|(ip, _)| ip)
}

/// An address and what follows it: nothing, or a `%` and a zone.
fn read(text: &[u8]) -> Option<(IpAddr, &[u8])> {
    if let Some(ip) = ipv4(text) {
        return Some((ip.into(), b""));
    }
    let end = text.iter().position(|b| *b == b'%').unwrap_or(text.len());
    let (text, zone) = text.split_at_checked(end)?;
    // A look at the letters is quicker than an attempt, and files are long.
    if !text.contains(&b':') {
        return None;
    }
    let ip: Ipv6Addr = core::str::from_utf8(text).ok()?.parse().ok()?;
    Some((ip.into(), zone))
}

/// An address: its canonical text, and its zone without the `%`.
#[derive(Debug)]
pub(crate) struct Address<'a> {
    text: [u8; MAX_TEXT],
    len: usize,
    zone: &'a [u8],
}

impl<'a> Address<'a> {
    /// `None` for anything that is not an address.
    pub(crate) fn parse(host: &'a [u8]) -> Option<Self> {
        let mut address = Address { text: [0; MAX_TEXT], len: 0, zone: b"" };
        let (ip, zone) = read(host)?;
        match compatible(ip) {
            Some(low) => write!(address, "::{low}").ok()?,
            None => write!(address, "{ip}").ok()?,
        }
        address.zone = canonical_zone(zone)?;
        Some(address)
    }

    pub(crate) fn bytes(self) -> impl Iterator<Item = u8> {
        let percent: &[u8] = if self.zone.is_empty() { b"" } else { b"%" };
        self.text.into_iter().take(self.len).chain(percent.iter().chain(self.zone).copied())
    }
}

impl Write for Address<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let end = self.len.checked_add(s.len()).ok_or(fmt::Error)?;
        self.text.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(s.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// The address in an IPv4-compatible one, of which the lower half has its old form: long out of use, but
/// what inet_ntop(3) writes and a hash is made of.
fn compatible(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(ip) = ip else { return None };
    let low = u32::try_from(ip.to_bits()).ok()?;
    (low > 0xffff).then(|| Ipv4Addr::from_bits(low))
}

/// One to four numbers, of which the last fills what the others leave (inet_aton(3)).
fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    if !text.first()?.is_ascii_digit() {
        return None;
    }
    let (mut value, mut left) = (0u32, 32u32);
    let mut parts = text.split(|b| *b == b'.').peekable();
    while let Some(part) = parts.next() {
        let n = number(part)?;
        let width = if parts.peek().is_some() { 8 } else { left };
        if left == 0 || u64::from(n) >= 1u64.checked_shl(width)? {
            return None;
        }
        left = left.checked_sub(width)?;
        value |= n.checked_shl(left)?;
    }
    Some(Ipv4Addr::from_bits(value))
}

/// As in C: `0x` is hexadecimal, `0` octal.
fn number(text: &[u8]) -> Option<u32> {
    let (digits, radix) = match text {
        [b'0', b'x' | b'X', digits @ ..] => (digits, 16),
        [b'0', digits @ ..] if !digits.is_empty() => (digits, 8),
        digits => (digits, 10),
    };
    // A sign is no digit.
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(core::str::from_utf8(digits).ok()?, radix).ok()
}

/// The zone without its `%`, a number without zeros in front; zone 0 is none.
fn canonical_zone(zone: &[u8]) -> Option<&[u8]> {
    let Some(name) = zone.strip_prefix(b"%") else { return Some(b"") };
    if name.is_empty() || !name.iter().all(u8::is_ascii_digit) {
        return Some(name).filter(|name| !name.is_empty());
    }
    let zeros = name.iter().take_while(|b| **b == b'0').count();
    name.get(zeros..)
}
