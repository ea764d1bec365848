//! Forwardings, and hosts to go through (`readconf.c`, `parse_forward`, `parse_jump`).

use alloc::string::ToString;
use alloc::vec::Vec;
use alloc::{format, vec};

use super::Words;
use super::error::Wrong;
use super::value::{domain, is_none, number};

/// One field, and whether it is a path: up to a colon, or in brackets; a backslash keeps the next byte.
fn field(text: &[u8]) -> Option<(Vec<u8>, bool, &[u8])> {
    if text.is_empty() {
        return None;
    }
    if let Some(rest) = text.strip_prefix(b"[") {
        let end = rest.iter().position(|b| *b == b']')?;
        let (inner, after) = rest.split_at_checked(end)?;
        let after = match after {
            [b']', b':', after @ ..] => after,
            [b']'] => b"",
            _ => return None,
        };
        return Some((inner.to_vec(), inner.contains(&b'/'), after));
    }
    let mut out = Vec::new();
    let mut path = false;
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'\\' => {
                let (kept, after) = rest.split_first()?;
                out.push(*kept);
                rest = after;
            }
            b':' => return Some((out, path, rest)),
            byte => {
                path |= *byte == b'/';
                out.push(*byte);
            }
        }
    }
    Some((out, path, b""))
}

fn port(text: &[u8]) -> Option<u32> {
    number(text).ok().filter(|port| *port < 65536)
}

fn listen(host: Option<&[u8]>, port: u32) -> Vec<u8> {
    match host {
        Some(host) => [b"[", host, b"]:", port.to_string().as_bytes()].concat(),
        None => port.to_string().into_bytes(),
    }
}

/// A forwarding as two words: where somebody listens, and where that leads. A proxy leads to `[socks]:0`.
pub(super) fn forward(text: &[u8], dynamic: bool, remote: bool) -> Option<Words> {
    let mut rest = text.trim_ascii_start();
    let mut fields = Vec::new();
    while fields.len() < 4 {
        let Some((text, path, after)) = field(rest) else { break };
        fields.push((text, path));
        rest = after;
    }
    if !rest.is_empty() {
        return None;
    }
    let socks = || b"[socks]:0".to_vec();
    let target = |host: &[u8], at: &[u8]| {
        let port = port(at).filter(|port| *port > 0)?;
        Some(listen(Some(host), port))
    };
    let here = |host: Option<&[u8]>, at: &[u8]| {
        let port = port(at).filter(|port| remote || *port > 0)?;
        Some(listen(host, port))
    };
    let words = match (fields.as_slice(), dynamic) {
        ([(a, true)], true) => vec![a.clone(), socks()],
        ([(a, false)], true) => vec![here(None, a)?, socks()],
        ([(a, false), (b, false)], true) => vec![here(Some(a), b)?, socks()],
        ([(a, true), (b, true)], false) => vec![a.clone(), b.clone()],
        ([(a, false), (b, true)], false) => vec![here(None, a)?, b.clone()],
        ([(a, true), (b, _), (c, _)], false) => vec![a.clone(), target(b, c)?],
        ([(a, _), (b, _), (c, true)], false) => vec![here(Some(a), b)?, c.clone()],
        ([(a, _), (b, _), (c, _)], false) => vec![here(None, a)?, target(b, c)?],
        ([(a, _), (b, _), (c, _), (d, _)], false) => vec![here(Some(a), b)?, target(c, d)?],
        _ => return None,
    };
    // A socket's path has its length (`sun_path`).
    let fits = words.iter().all(|word| !word.contains(&b'/') || word.len() < 108);
    fits.then_some(words)
}

/// The hosts of `ProxyJump`: those before the last as they are written, then the user, the host and the port of
/// the last, each empty where it is not said.
pub(super) fn jump(text: &[u8]) -> Result<Words, Wrong> {
    let wrong =
        || Wrong::Value(text.to_vec(), "[user@]host[:port], one or several with commas, or none".into());
    if is_none(text) {
        return Ok(vec![Vec::new(), Vec::new(), b"none".to_vec(), Vec::new()]);
    }
    let end = text.iter().position(|b| *b == b'#').unwrap_or(text.len());
    let text = text.get(..end).unwrap_or_default().trim_ascii_end();
    let mut last = None;
    for part in text.split(|b| *b == b',') {
        last = Some(place(part).ok_or_else(wrong)?);
    }
    let extra = text.iter().rposition(|b| *b == b',').and_then(|at| text.get(..at)).unwrap_or_default();
    let (user, host, port) = last.ok_or_else(wrong)?;
    Ok(vec![extra.to_vec(), user, host, port])
}

/// `[user@]host[:port]` or `ssh://[user@]host[:port]`.
fn place(text: &[u8]) -> Option<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    let (text, uri) = match text.strip_prefix(b"ssh://") {
        Some(rest) => (rest.strip_suffix(b"/").unwrap_or(rest), true),
        None => (text, false),
    };
    let (user, place) = match text.iter().rposition(|b| *b == b'@') {
        Some(0) => return None,
        Some(at) => (text.get(..at)?.to_vec(), text.get(at.checked_add(1)?..)?),
        None => (Vec::new(), text),
    };
    let end = match place.strip_prefix(b"[") {
        Some(rest) => rest.iter().position(|b| *b == b']')?.checked_add(2)?,
        None => place.iter().position(|b| matches!(b, b':' | b'/')).unwrap_or(place.len()),
    };
    let (host, rest) = place.split_at_checked(end)?;
    let host = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
    let port = match rest {
        [] => b"",
        [b':' | b'/', port @ ..] => port,
        _ => return None,
    };
    let good = port.is_empty() || self::port(port).is_some_and(|port| port > 0);
    if host.is_empty() || !good || (uri && domain(host).is_none()) {
        return None;
    }
    let port = if port.is_empty() { Vec::new() } else { format!("{}", self::port(port)?).into_bytes() };
    Some((user, host.to_vec(), port))
}
