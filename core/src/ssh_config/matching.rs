//! The conditions of `Match` (`readconf.c`, `match_cfg_line`).

use alloc::vec::Vec;
use core::net::IpAddr;

use super::VERSION;
use super::error::Wrong;
use super::lookup::{Answer, Question, Stop};
use super::reader::Reader;
use super::value::is_none;
use crate::admission::Addresses;
use crate::config::Line;
use crate::text::Location;
use crate::text::pattern::{self, ListMatch, Sign};

/// Criteria whose argument may follow an equals sign.
const WITH_EQUALS: &[&str] =
    &["host", "originalhost", "user", "localuser", "localnetwork", "version", "tagged", "command", "exec"];

/// A condition of a `Match` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Criterion {
    pub(crate) name: Vec<u8>,
    pub(crate) negated: bool,
    /// Empty for those that have none.
    pub(crate) argument: Vec<u8>,
}

/// Takes a line apart. `all` stands alone or behind one other; `bare` are those without an argument; `empty` those
/// whose argument may be nothing.
pub(crate) fn criteria(
    words: &[Vec<u8>],
    equals: &[&str],
    bare: &[&str],
    empty: &[&str],
) -> Result<Vec<Criterion>, Wrong> {
    let is = |names: &[&str], name: &[u8]| names.iter().any(|n| n.as_bytes().eq_ignore_ascii_case(name));
    let mut all = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (sign, mut name) = Sign::split(word);
        let negated = sign == Sign::Negated;
        if is(&["all"], name) {
            if all.len() > 1 || words.next().is_some() {
                return Err(Wrong::All);
            }
            all.push(Criterion { name: b"all".to_vec(), negated, argument: Vec::new() });
            return Ok(all);
        }
        if is(bare, name) {
            all.push(Criterion { name: name.to_ascii_lowercase(), negated, argument: Vec::new() });
            continue;
        }
        let at = name.iter().position(|b| *b == b'=');
        let split = at.and_then(|at| name.split_at_checked(at)).filter(|(name, _)| is(equals, name));
        let argument = match split {
            Some((before, after)) => {
                name = before;
                after.get(1..).unwrap_or_default().to_vec()
            }
            None => words.next().ok_or_else(|| Wrong::NoCriterion(word.clone()))?.clone(),
        };
        if argument.is_empty() && !is(empty, name) {
            return Err(Wrong::NoCriterion(word.clone()));
        }
        all.push(Criterion { name: name.to_ascii_lowercase(), negated, argument });
    }
    if all.is_empty() { Err(Wrong::NoCriteria) } else { Ok(all) }
}

/// Whether the lines behind it count.
pub(super) fn matches(reader: &mut Reader<'_>, line: &Line, _: &Location) -> Result<bool, Stop> {
    let all = criteria(&line.arguments, WITH_EQUALS, &["canonical", "final"], &["tagged", "command"])?;
    let mut result = true;
    for criterion in &all {
        let holds = one(reader, criterion, result)?;
        result &= holds != criterion.negated;
    }
    Ok(result)
}

/// Whether one condition holds. Commands are run only where everything before them holds.
fn one(reader: &mut Reader<'_>, criterion: &Criterion, so_far: bool) -> Result<bool, Stop> {
    let argument = criterion.argument.as_slice();
    let first = |name: &str| reader.first(name).unwrap_or_default().to_vec();
    Ok(match criterion.name.as_slice() {
        b"all" => true,
        b"canonical" => reader.final_pass,
        b"final" => {
            reader.final_wanted |= !reader.final_pass;
            reader.final_pass
        }
        b"host" => hosts(argument, &reader.current_host()?),
        b"originalhost" => hosts(argument, &reader.request.host),
        b"user" => {
            let user = reader.first("User").unwrap_or(&reader.request.local.user);
            list(argument, user)
        }
        b"localuser" => list(argument, &reader.request.local.user),
        b"localnetwork" => {
            let networks = networks(argument).ok_or_else(|| Wrong::Networks(argument.to_vec()))?;
            match reader.answers.get(Question::Interfaces)? {
                Answer::Addresses(all) => all.iter().any(|address| networks.contains(*address)),
                _ => false,
            }
        }
        b"version" => list(argument, VERSION.as_bytes()),
        b"tagged" => maybe_empty(argument, &first("Tag")),
        b"command" => maybe_empty(argument, &reader.request.command),
        b"sessiontype" => {
            let kind: &[u8] = match first("SessionType").as_slice() {
                b"subsystem" => b"subsystem",
                b"none" => b"none",
                _ if !reader.request.command.is_empty() => b"exec",
                _ => b"shell",
            };
            list(argument, kind)
        }
        b"exec" => {
            let command = reader.expanded(argument, false)?;
            if !so_far {
                return Ok(false);
            }
            matches!(reader.answers.get(Question::Run(command))?, Answer::Succeeded(true))
        }
        name => return Err(Wrong::Criterion(name.to_vec()).into()),
    })
}

/// Whether a list of patterns with commas is for a text; the case of letters counts.
pub(crate) fn list(patterns: &[u8], text: &[u8]) -> bool {
    let all = patterns.split(|b| *b == b',').map(Sign::split);
    ListMatch::of(all.map(|(sign, p)| (sign, pattern::matches(p, text)))) == ListMatch::Yes
}

/// The same for a host, where it does not.
pub(crate) fn hosts(patterns: &[u8], host: &[u8]) -> bool {
    let all = patterns.split(|b| *b == b',').map(Sign::split);
    ListMatch::of(all.map(|(sign, p)| (sign, pattern::matches_host(p, host)))) == ListMatch::Yes
}

/// What is empty is matched by nothing alone.
fn maybe_empty(patterns: &[u8], text: &[u8]) -> bool {
    if text.is_empty() { patterns.is_empty() } else { list(patterns, text) }
}

/// Addresses and networks, without patterns.
fn networks(text: &[u8]) -> Option<Addresses> {
    let literal = |part: &[u8]| {
        let address = part.split(|b| *b == b'/').next()?;
        core::str::from_utf8(address).ok()?.parse::<IpAddr>().ok()
    };
    if text.split(|b| *b == b',').any(|part| is_none(part) || literal(part).is_none()) {
        return None;
    }
    Addresses::parse(text)
}
