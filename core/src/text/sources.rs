use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::text::address::ip;
use crate::text::pattern::{ListMatch, Sign, is_wild, matches_host};

/// Where somebody may come from: the patterns of `from` (ssh_config(5), PATTERNS, with CIDR).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sources(Vec<Source>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    sign: Sign,
    what: Pattern,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// An address and how many of its bits count.
    Network(IpAddr, u32),
    /// Against the address in its canonical text.
    Text(Box<[u8]>),
}

impl Sources {
    /// Reads a list. Hosts are not looked up, so a host name matches nothing; a negated one would
    /// let in what it should keep out, and makes the list unusable, like anything else that cannot
    /// be meant.
    pub(crate) fn parse(list: &[u8]) -> Option<Self> {
        list.split(|b| *b == b',').map(Source::parse).collect::<Option<_>>().map(Sources)
    }

    /// Reads a list of addresses and networks alone, as in the critical option `source-address` of a certificate
    /// (OpenSSH `addr_match_cidr_list`): no wildcards, no negation.
    pub(crate) fn networks(list: &[u8]) -> Option<Self> {
        let sources = Self::parse(list)?;
        let network =
            |source: &Source| source.sign == Sign::Plain && matches!(source.what, Pattern::Network(..));
        sources.0.iter().all(network).then_some(sources)
    }

    /// Whether the list lets the address in. A negated pattern outweighs all others.
    pub(crate) fn admit(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let text = address.to_string();
        let hit = |source: &Source| (source.sign, source.what.matches(address, text.as_bytes()));
        ListMatch::of(self.0.iter().map(hit)) == ListMatch::Yes
    }
}

impl Source {
    fn parse(text: &[u8]) -> Option<Self> {
        let (sign, text) = Sign::split(text);
        let what = Pattern::parse(text)?;
        match &what {
            // Whole addresses are networks by now: what has no wildcard is a name or a slip of the pen.
            Pattern::Text(name) if sign == Sign::Negated && !(is_wild(name) && is_address(name)) => None,
            _ => Some(Source { sign, what }),
        }
    }
}

impl Pattern {
    fn parse(text: &[u8]) -> Option<Self> {
        let text = core::str::from_utf8(text).ok()?;
        if let Some((address, bits)) = text.split_once('/') {
            let address = ip(address.as_bytes())?;
            let digits = !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
            let bits: u32 = bits.parse().ok().filter(|_| digits)?;
            // What is more than the network is an error in sshd, too: one of the two is wrong.
            let fits = bits <= width(address) && network(address, bits) == number(address);
            return fits.then(|| Self::network(address, bits));
        }
        // By any spelling that sshd reads: one that it takes for a name would keep nobody out.
        if let Some(address) = ip(text.as_bytes()) {
            let address = address.to_canonical();
            return Some(Pattern::Network(address, width(address)));
        }
        let meant = |b: u8| b.is_ascii_alphanumeric() || b"*?.:-_".contains(&b);
        (!text.is_empty() && text.bytes().all(meant)).then(|| Pattern::Text(text.as_bytes().into()))
    }

    /// Addresses are compared in their own family, so one of IPv4 that is written as IPv6 is one of IPv4 here as well:
    /// negated, it would let in what it should keep out.
    fn network(address: IpAddr, bits: u32) -> Self {
        let inner = address.to_canonical();
        match width(address).checked_sub(width(inner)).and_then(|outer| bits.checked_sub(outer)) {
            Some(bits) => Pattern::Network(inner, bits),
            None => Pattern::Network(address, bits),
        }
    }

    fn matches(&self, address: IpAddr, text: &[u8]) -> bool {
        match self {
            Pattern::Network(of, bits) => {
                of.is_ipv4() == address.is_ipv4() && network(*of, *bits) == network(address, *bits)
            }
            Pattern::Text(pattern) => matches_host(pattern, text),
        }
    }
}

/// Whether a pattern with wildcards can mean an address.
fn is_address(pattern: &[u8]) -> bool {
    let wild = pattern.iter().any(|b| b"*?:".contains(b));
    pattern.iter().all(|b| b.is_ascii_digit() || b"*?.:".contains(b) || (wild && b.is_ascii_hexdigit()))
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address with only its first `bits` bits.
fn network(address: IpAddr, bits: u32) -> u128 {
    let rest = width(address).saturating_sub(bits);
    let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
    number(address) & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(list: &str, address: &str) -> bool {
        Sources::parse(list.as_bytes()).expect("a list").admit(address.parse().unwrap())
    }

    /// As OpenSSH's server decides (`addrmatch.c`, `addr_pton_cidr`), seen with each of these lists.
    #[test]
    fn a5_addresses_by_any_spelling() {
        let table = [
            ("127.1", true, false),
            ("0x7f.1", true, false),
            ("2130706433", true, false),
            ("017700000001", true, false),
            ("127.1/32", true, false),
            ("127.0/8", true, false),
            ("!127.1,*", false, true),
            ("!2130706433,*", false, true),
            ("!0::1,*", true, false),
            ("!0:0:0:0:0:0:0:1,*", true, false),
            ("0::1", false, true),
            ("0::1/128", false, true),
            ("0:0::/16", false, true),
            ("1", false, false),
        ];
        for (list, four, six) in table {
            assert_eq!((admits(list, "127.0.0.1"), admits(list, "::1")), (four, six), "{list}");
        }
        assert_eq!(Sources::parse(b"127/8"), None, "more than the network");
        assert_eq!(Sources::parse(b"!127.0.0.1.,*"), None, "a name, which would keep nobody out");
    }

    #[test]
    fn addresses_networks_and_patterns() {
        let table = [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.10", false),
            ("192.0.2.*", "192.0.2.10", true),
            ("192.0.2.?", "192.0.2.10", false),
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.128/25", "192.0.2.127", false),
            ("192.0.2.7/32", "192.0.2.7", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("2001:DB8:*", "2001:db8::1", true),
            ("2001:db8:*", "2001:DB8::1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "192.0.2.1", false),
            ("2001:DB8:0::/48", "2001:db8::7", true),
            ("2001:db8::/48", "2001:db8:1::7", false),
            ("2001:db8:0:0:0:0:0:1", "2001:db8::1", true),
            ("2001:db8:*", "2001:db8::1", true),
            ("::/128", "::", true),
            ("::/128", "::1", false),
            ("192.0.2.0/24", "::ffff:192.0.2.9", true),
            ("::ffff:192.0.2.9", "192.0.2.9", true),
            ("::ffff:192.0.2.0/120", "192.0.2.9", true),
            ("::ffff:192.0.2.0/120", "192.0.3.9", false),
            ("!::ffff:192.0.2.0/120,*", "192.0.2.9", false),
            ("!::ffff:192.0.2.0/120,*", "192.0.3.9", true),
            ("::ffff:0:0/96", "192.0.2.9", true),
            ("::ffff:0:0/96", "2001:db8::1", false),
            ("*", "192.0.2.9", true),
            ("*,!192.0.2.0/24", "192.0.2.9", false),
            ("!192.0.2.0/24,*", "192.0.2.9", false),
            ("!192.0.2.0/24,*", "192.0.3.9", true),
            ("!192.0.2.0/24", "192.0.3.9", false),
            ("*,!2001:db8*", "2001:db8::1", false),
            ("host.example,*.org", "192.0.2.9", false),
            ("host.example,192.0.2.9", "192.0.2.9", true),
        ];
        for (list, address, expected) in table {
            assert_eq!(admits(list, address), expected, "{list} {address}");
        }
    }

    #[test]
    fn as13_lists_that_cannot_be_meant_are_no_lists() {
        for list in [
            "",
            ",",
            "192.0.2.1,",
            "!",
            "192.0.2.1/24",
            "192.0.2.0/33",
            "192.0.2.0/",
            "192.0.2.0/+24",
            "192.0.2/24",
            "192.0.2.*/24",
            "::/129",
            "*, !192.0.2.1",
            "*,!host.example",
            "*,!*.example",
            "*,!!192.0.2.1",
            "a b",
            "192.0.2.1\t",
            "\u{e9}",
        ] {
            assert_eq!(Sources::parse(list.as_bytes()), None, "{list:?}");
        }
    }
}
