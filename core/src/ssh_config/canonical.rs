//! The name that is connected to: `HostName`, then canonicalisation (`ssh.c`, `resolve_canonicalize`,
//! `check_follow_cname`).

use alloc::vec::Vec;
use core::net::IpAddr;

use super::error::Wrong;
use super::lookup::{Answer, Family, Question, Stop};
use super::matching::hosts;
use super::reader::Reader;
use super::value::{domain, is_none, number};
use crate::text::address::{Address, ip};

/// The host after the first reading of the files.
pub(super) fn host(reader: &Reader<'_>) -> Result<Vec<u8>, Stop> {
    let mut host = reader.current_host()?;
    let address = only_address(&host) || ip(&host).is_some();
    if !address {
        host.make_ascii_lowercase();
    }
    if ip(&host).is_some() || Address::parse(&host).is_some() {
        if is_wanted(reader, &host) {
            let canonical = Address::parse(&host).map(|address| address.bytes().collect());
            host = canonical.unwrap_or(host);
        }
        return Ok(host);
    }
    let found = if address { None } else { in_domains(reader, &host)? };
    if let Some(found) = found {
        return Ok(found);
    }
    if has_rules(reader) && (is_direct(reader) || is_always(reader)) {
        let canonical = resolve(reader, &host)?;
        return match canonical {
            Some(canonical) => Ok(follow(reader, &host, &canonical).unwrap_or(host)),
            // What only a proxy knows need not be found here.
            None if is_direct(reader) => Err(Wrong::Unresolved(host).into()),
            None => Ok(host),
        };
    }
    Ok(host)
}

/// Whether a name can be an address alone (`is_addr_fast`).
fn only_address(name: &[u8]) -> bool {
    name.iter().any(|b| matches!(b, b'%' | b':')) || name.iter().all(|b| b.is_ascii_digit() || *b == b'.')
}

fn family(reader: &Reader<'_>) -> Option<Family> {
    match reader.first("AddressFamily")? {
        b"inet" => Some(Family::Inet),
        b"inet6" => Some(Family::Inet6),
        _ => None,
    }
}

/// Whether an address is one of the family that is wanted.
fn is_wanted(reader: &Reader<'_>, host: &[u8]) -> bool {
    match family(reader) {
        Some(Family::Inet) => matches!(ip(host), Some(IpAddr::V4(_))),
        Some(Family::Inet6) => !matches!(ip(host), Some(IpAddr::V4(_))),
        None => true,
    }
}

fn is_direct(reader: &Reader<'_>) -> bool {
    let jump = reader.values.get("ProxyJump").and_then(|all| all.first()?.words.get(2));
    reader.first("ProxyCommand").is_none_or(is_none) && jump.is_none_or(|jump| is_none(jump))
}

fn is_always(reader: &Reader<'_>) -> bool {
    reader.first("CanonicalizeHostname") == Some(b"always")
}

fn rules<'a>(reader: &'a Reader<'_>) -> &'a [Vec<u8>] {
    let all = reader.values.get("CanonicalizePermittedCNAMEs").and_then(|all| all.first());
    all.map_or(&[], |setting| &setting.words)
}

fn has_rules(reader: &Reader<'_>) -> bool {
    rules(reader).iter().any(|rule| !is_none(rule))
}

/// The canonical name if the host is found: empty where there is none to follow.
fn resolve(reader: &Reader<'_>, name: &[u8]) -> Result<Option<Vec<u8>>, Stop> {
    let question = Question::Resolve { name: name.to_vec(), family: family(reader) };
    Ok(match reader.answers.get(question)? {
        Answer::Resolved { canonical } => Some(domain(canonical).unwrap_or_default()),
        _ => None,
    })
}

/// The host in the first domain that has it.
fn in_domains(reader: &Reader<'_>, host: &[u8]) -> Result<Option<Vec<u8>>, Stop> {
    if !reader.canonicalizes() || !(is_direct(reader) || is_always(reader)) {
        return Ok(None);
    }
    let mut names = Vec::new();
    if host.ends_with(b".") {
        names.push(host.to_vec());
    } else {
        let dots = host.iter().filter(|b| **b == b'.').count();
        let max = reader.first("CanonicalizeMaxDots").and_then(|max| number(max).ok()).unwrap_or(1);
        if u32::try_from(dots).is_ok_and(|dots| dots > max) {
            return Ok(None);
        }
        let domains = reader.values.get("CanonicalDomains").and_then(|all| all.first());
        let domains = domains.map_or(&[][..], |setting| &setting.words);
        names.extend(domains.iter().take_while(|d| !is_none(d)).map(|d| [host, b".", d, b"."].concat()));
    }
    for name in names {
        if let Some(canonical) = resolve(reader, &name)? {
            let plain = name.strip_suffix(b".").unwrap_or(&name).to_vec();
            return Ok(Some(follow(reader, &plain, &canonical).unwrap_or(plain)));
        }
    }
    if reader.first("CanonicalizeFallbackLocal") == Some(b"no") {
        return Err(Wrong::Unresolved(host.to_vec()).into());
    }
    Ok(None)
}

/// The name that a host stands for, if a rule allows to follow it.
fn follow(reader: &Reader<'_>, host: &[u8], canonical: &[u8]) -> Option<Vec<u8>> {
    let allowed = reader.canonicalizes() && (is_direct(reader) || is_always(reader));
    if !allowed || canonical.is_empty() || canonical == host {
        return None;
    }
    let fits = |rule: &Vec<u8>| {
        let at = rule.iter().position(|b| *b == b':')?;
        let (source, target) = rule.split_at_checked(at)?;
        Some(hosts(source, host) && hosts(target.get(1..)?, canonical))
    };
    rules(reader).iter().any(|rule| fits(rule) == Some(true)).then(|| canonical.to_ascii_lowercase())
}
