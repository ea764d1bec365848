use std::borrow::Cow;
use std::net::Ipv6Addr;

/// The host with its zone by the interface's name where it has a number: so getnameinfo(3) writes a
/// link-local address, and OpenSSH looks it up.
pub(super) fn named(host: &str) -> Cow<'_, str> {
    let plain = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let name = plain.split_once('%').and_then(|(address, zone)| {
        let [first, ..] = address.parse::<Ipv6Addr>().ok()?.segments();
        let link_local = first & 0xffc0 == 0xfe80 || first & 0xff0f == 0xff02;
        let number = zone.bytes().all(|b| b.is_ascii_digit()).then(|| zone.parse().ok()).flatten()?;
        link_local.then(|| interface(number)).flatten().map(|name| format!("{address}%{name}"))
    });
    name.map_or(Cow::Borrowed(host), Cow::Owned)
}

#[cfg(target_os = "linux")]
fn interface(number: u32) -> Option<String> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
    netdevice::index_to_name(&socket, number).ok()
}

/// Elsewhere the number stays.
#[cfg(not(target_os = "linux"))]
fn interface(_number: u32) -> Option<String> {
    None
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn a5_zones_go_by_the_name_of_their_interface() {
        for (spelt, expected) in [
            ("fe80::1%1", "fe80::1%lo"),
            ("[FE80:0::1%01]", "FE80:0::1%lo"),
            ("ff02::1%1", "ff02::1%lo"),
            ("::1%1", "::1%1"),
            ("fe80::1%lo", "fe80::1%lo"),
            ("fe80::1%4294967295", "fe80::1%4294967295"),
            ("fe80::1%+1", "fe80::1%+1"),
            ("fe80::1%0", "fe80::1%0"),
            ("127.0.0.1%1", "127.0.0.1%1"),
            ("host%1", "host%1"),
        ] {
            assert_eq!(named(spelt), expected);
        }
    }
}
