//! From the arguments of a line to the words of a value, as `ssh -G` writes them; `None` for what says nothing.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};

use super::Words;
use super::algorithms;
use super::error::Wrong;
use super::keyword::{Keyword, Kind};
use crate::config::Line;
use crate::text::pattern;

/// The value of a line whose keyword has one that is read from the line alone.
pub(super) fn read(row: &Keyword, line: &Line) -> Result<Option<Words>, Wrong> {
    let words = match row.kind {
        Kind::Flag => vec![choice(FLAGS, one(line)?)?],
        Kind::Choice(words) => vec![choice(words, one(line)?)?],
        Kind::Number => vec![number(one(line)?)?.to_string().into_bytes()],
        Kind::Time => match time_or_none(one(line)?)? {
            Some(seconds) => vec![seconds.to_string().into_bytes()],
            None => return Ok(None),
        },
        Kind::Text | Kind::Identity => vec![one(line)?.to_vec()],
        Kind::Command => vec![command(line)],
        Kind::Addendum => vec![addendum(line)],
        Kind::Paths => paths(row, line)?,
        Kind::Algorithms(which) => {
            let list = one(line)?;
            algorithms::check(which, list)?;
            vec![list.to_vec()]
        }
        Kind::Escape => vec![escape(one(line)?)?],
        Kind::Service => service(line)?,
        Kind::TunnelDevice => device(one(line)?)?,
        Kind::Destinations => destinations(line)?,
        Kind::Names => names(line)?,
        Kind::Variables => variables(line)?,
        Kind::Domains => domains(line)?,
        Kind::Aliases => aliases(line)?,
        Kind::Mask => vec![mask(one(line)?)?],
        Kind::AddKeys => add_keys(line)?,
        Kind::Keystrokes => vec![keystrokes(one(line)?)?],
        Kind::Timeouts => timeouts(line)?,
        Kind::Persist => persist(one(line)?)?,
        _ => return Ok(None),
    };
    Ok(Some(words))
}

const FLAGS: &[(&str, &str)] = &[("yes", "yes"), ("true", "yes"), ("no", "no"), ("false", "no")];

/// The only argument.
pub(super) fn one(line: &Line) -> Result<&[u8], Wrong> {
    match line.arguments.as_slice() {
        [value] if !value.is_empty() => Ok(value),
        [_] => Err(Wrong::Empty),
        _ => Err(Wrong::TooMany),
    }
}

fn choice(words: &[(&str, &'static str)], value: &[u8]) -> Result<Vec<u8>, Wrong> {
    let found = words.iter().find(|(word, _)| word.as_bytes().eq_ignore_ascii_case(value));
    found.map(|(_, written)| written.as_bytes().to_vec()).ok_or_else(|| {
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        Wrong::Value(value.to_vec(), format!("one of {}", all.join(", ")))
    })
}

pub(super) fn is_none(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"none")
}

/// A number as strtonum(3) reads it: white space and a sign may stand before it.
pub(super) fn number(value: &[u8]) -> Result<u32, Wrong> {
    let wrong = || Wrong::Value(value.to_vec(), "a number from 0 to 2147483647".into());
    let text = core::str::from_utf8(value).map_err(|_| wrong())?.trim_ascii_start();
    let digits =
        text.strip_prefix('+').or_else(|| text.strip_prefix('-').filter(|n| n.bytes().all(|b| b == b'0')));
    let digits = digits.unwrap_or(text);
    let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u32>().ok()).flatten();
    number.filter(|n| i32::try_from(*n).is_ok()).ok_or_else(wrong)
}

/// A time as in sshd_config(5), TIME FORMATS, in seconds.
pub(super) fn time(value: &[u8]) -> Result<u32, Wrong> {
    let wrong = || Wrong::Value(value.to_vec(), "a time such as 90, 5m or 1h30m".into());
    let mut total = 0u32;
    let mut rest = value;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let end = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, after) = rest.split_at_checked(end).ok_or_else(wrong)?;
        let n: u32 = core::str::from_utf8(digits).ok().and_then(|d| d.parse().ok()).ok_or_else(wrong)?;
        let unit = match after.first().map(u8::to_ascii_lowercase) {
            None | Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3600,
            Some(b'd') => 86_400,
            Some(b'w') => 604_800,
            Some(_) => return Err(wrong()),
        };
        total = n.checked_mul(unit).and_then(|n| total.checked_add(n)).ok_or_else(wrong)?;
        rest = after.get(1..).unwrap_or_default();
    }
    if i32::try_from(total).is_err() {
        return Err(wrong());
    }
    Ok(total)
}

/// A time, or `none`, which is no value at all.
pub(super) fn time_or_none(value: &[u8]) -> Result<Option<u32>, Wrong> {
    if value == b"none" { Ok(None) } else { time(value).map(Some) }
}

/// What stands behind the keyword, without blanks and equals signs in front.
pub(super) fn command(line: &Line) -> Vec<u8> {
    let start = line.rest.iter().position(|b| !matches!(b, b' ' | b'\t' | b'='));
    start.and_then(|start| line.rest.get(start..)).unwrap_or_default().to_vec()
}

fn addendum(line: &Line) -> Vec<u8> {
    if is_none(&line.rest) { Vec::new() } else { line.rest.clone() }
}

/// No argument is empty, and `none` stands alone.
fn alone(line: &Line) -> Result<(), Wrong> {
    if line.arguments.iter().any(Vec::is_empty) {
        return Err(Wrong::Empty);
    }
    let none = line.arguments.iter().any(|word| is_none(word));
    if none && line.arguments.len() > 1 { Err(Wrong::NoneAlone) } else { Ok(()) }
}

/// Files that are named in one line, at most (`SSH_MAX_HOSTS_FILES`).
const MAX_FILES: usize = 32;

fn paths(row: &Keyword, line: &Line) -> Result<Words, Wrong> {
    alone(line)?;
    if line.arguments.len() > MAX_FILES {
        return Err(Wrong::TooMany);
    }
    // OpenSSH keeps the first alone.
    let keep = if row.name == "LogVerbose" { 1 } else { MAX_FILES };
    Ok(line.arguments.iter().take(keep).cloned().collect())
}

/// The character as vis(3) shows it; `none`.
fn escape(value: &[u8]) -> Result<Vec<u8>, Wrong> {
    let byte = match value {
        b"none" => return Ok(value.to_vec()),
        [byte] => *byte,
        [b'^', c @ 64..128] => c & 0x1f,
        _ => return Err(Wrong::Value(value.to_vec(), "a character, ^ and a letter, or none".into())),
    };
    Ok(visible(byte))
}

/// As vis(3) writes a byte that has no picture, white space too.
fn visible(byte: u8) -> Vec<u8> {
    match byte {
        b'\\' => b"\\\\".to_vec(),
        0x21..=0x7e => vec![byte],
        b' ' | 0xa0 => format!("\\{byte:03o}").into_bytes(),
        _ => {
            let (meta, low) = (byte & 0x80 != 0, byte & 0x7f);
            let mut out = vec![b'\\'];
            if meta {
                out.push(b'M');
            }
            match low {
                0x7f => out.extend(b"^?"),
                0..0x20 => out.extend([b'^', low | 0x40]),
                _ => out.extend([b'-', low]),
            }
            out
        }
    }
}

/// The byte that vis(3) shows like this.
pub(super) fn escaped(shown: &[u8]) -> Option<u8> {
    (0..=0xff).find(|byte| visible(*byte) == shown)
}

/// Classes of service and their numbers (`misc.c`, `ipqos`).
const CLASSES: &[(&str, u8)] = &[
    ("af11", 0x28),
    ("af12", 0x30),
    ("af13", 0x38),
    ("af21", 0x48),
    ("af22", 0x50),
    ("af23", 0x58),
    ("af31", 0x68),
    ("af32", 0x70),
    ("af33", 0x78),
    ("af41", 0x88),
    ("af42", 0x90),
    ("af43", 0x98),
    ("cs0", 0x00),
    ("cs1", 0x20),
    ("cs2", 0x40),
    ("cs3", 0x60),
    ("cs4", 0x80),
    ("cs5", 0xa0),
    ("cs6", 0xc0),
    ("cs7", 0xe0),
    ("ef", 0xb8),
    ("le", 0x04),
    ("lowdelay", 0x10),
    ("throughput", 0x08),
    ("reliability", 0x04),
];

fn service(line: &Line) -> Result<Words, Wrong> {
    let class = |value: &Vec<u8>| {
        let wrong = || Wrong::Value(value.clone(), "a class of service such as af21 or cs1, or none".into());
        if is_none(value) {
            return Ok(b"none".to_vec());
        }
        let named = CLASSES.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(value));
        let number = match named {
            Some((_, number)) => *number,
            None => number(value).ok().and_then(|n| u8::try_from(n).ok()).ok_or_else(wrong)?,
        };
        let name = CLASSES.iter().find(|(_, n)| *n == number);
        Ok(name.map_or_else(|| format!("0x{number:02x}"), |(name, _)| (*name).into()).into_bytes())
    };
    match line.arguments.as_slice() {
        [both] => class(both).map(|class| vec![class.clone(), class]),
        [interactive, bulk] => Ok(vec![class(interactive)?, class(bulk)?]),
        _ => Err(Wrong::TooMany),
    }
}

/// Bytes as scan_scaled(3) reads them: a number, and one letter that is a power of 1024.
pub(super) fn scaled(value: &[u8]) -> Result<u64, Wrong> {
    let wrong = || Wrong::Value(value.to_vec(), "a number of bytes such as 512M or 1G".into());
    let text = core::str::from_utf8(value).map_err(|_| wrong())?.trim_ascii_start();
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end).ok_or_else(wrong)?;
    let n: u64 = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| wrong())? };
    let power: u32 = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        "P" => 5,
        "E" => 6,
        _ => return Err(wrong()),
    };
    let bytes = 1024u64.checked_pow(power).and_then(|unit| n.checked_mul(unit));
    bytes.filter(|n| i64::try_from(*n).is_ok() && (*n == 0 || *n >= 16)).ok_or_else(wrong)
}

fn device(value: &[u8]) -> Result<Words, Wrong> {
    let wrong = || Wrong::Value(value.to_vec(), "the numbers of two devices, or any".into());
    let side = |side: &[u8]| {
        if side.eq_ignore_ascii_case(b"any") {
            return Ok(b"any".to_vec());
        }
        let n = number(side).ok().filter(|n| *n <= 0x7fff_fffd).ok_or_else(wrong)?;
        Ok(n.to_string().into_bytes())
    };
    match value.iter().position(|b| *b == b':') {
        Some(at) => {
            let (local, remote) = value.split_at_checked(at).ok_or_else(wrong)?;
            Ok(vec![side(local)?, side(remote.get(1..).unwrap_or_default())?])
        }
        None => Ok(vec![side(value)?, b"any".to_vec()]),
    }
}

fn destinations(line: &Line) -> Result<Words, Wrong> {
    let word = |word: &Vec<u8>| {
        let special = is_none(word) || word.eq_ignore_ascii_case(b"any");
        if special && line.arguments.len() == 1 {
            return Ok(word.clone());
        }
        let port = word.iter().rposition(|b| *b == b':').and_then(|at| word.get(at.saturating_add(1)..));
        let good =
            port.is_some_and(|port| port == b"*" || number(port).is_ok_and(|n| (1..65536).contains(&n)));
        if good && !special { Ok(word.clone()) } else { Err(Wrong::Value(word.clone(), "host:port".into())) }
    };
    line.arguments.iter().map(word).collect()
}

fn names(line: &Line) -> Result<Words, Wrong> {
    let wrong = line.arguments.iter().find(|name| name.is_empty() || name.contains(&b'='));
    match wrong {
        Some(name) => Err(Wrong::Value(name.clone(), "the name of a variable".into())),
        None => Ok(line.arguments.clone()),
    }
}

/// The first of several with one name counts.
fn variables(line: &Line) -> Result<Words, Wrong> {
    let mut words: Words = Vec::new();
    for pair in &line.arguments {
        let name = pair.split(|b| *b == b'=').next().unwrap_or_default();
        if name.len() == pair.len() {
            return Err(Wrong::Value(pair.clone(), "NAME=VALUE".into()));
        }
        if !words.iter().any(|other| other.split(|b| *b == b'=').next() == Some(name)) {
            words.push(pair.clone());
        }
    }
    Ok(words)
}

/// A domain in lower case, without a dot at its end (`misc.c`, `valid_domain`).
pub(super) fn domain(name: &[u8]) -> Option<Vec<u8>> {
    let good = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let starts = name.first().is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let twice = name.windows(2).any(|pair| pair == b"..");
    if !starts || twice || !name.iter().all(good) {
        return None;
    }
    Some(name.strip_suffix(b".").unwrap_or(name).to_ascii_lowercase())
}

fn domains(line: &Line) -> Result<Words, Wrong> {
    alone(line)?;
    let domain = |word: &Vec<u8>| domain(word).ok_or_else(|| Wrong::Value(word.clone(), "a domain".into()));
    line.arguments.iter().map(domain).collect()
}

fn aliases(line: &Line) -> Result<Words, Wrong> {
    alone(line)?;
    let rule = |word: &Vec<u8>| match word.as_slice() {
        b"*" => Ok(b"*:*".to_vec()),
        word if is_none(word) => Ok(b"none".to_vec()),
        word => {
            let word = word.to_ascii_lowercase();
            let at = word.iter().position(|b| *b == b':');
            if at.is_some_and(|at| at.saturating_add(1) < word.len()) {
                Ok(word)
            } else {
                Err(Wrong::Value(word, "source:target, *, or none".into()))
            }
        }
    };
    line.arguments.iter().map(rule).collect()
}

fn mask(value: &[u8]) -> Result<Vec<u8>, Wrong> {
    let digits = core::str::from_utf8(value).ok().and_then(|text| u32::from_str_radix(text, 8).ok());
    let mask = digits.filter(|mask| *mask <= 0o777);
    let mask = mask.ok_or_else(|| Wrong::Value(value.to_vec(), "an octal mask such as 0177".into()))?;
    Ok(format!("0{mask:o}").into_bytes())
}

/// The choice and the seconds.
fn add_keys(line: &Line) -> Result<Words, Wrong> {
    let choice = |value: &[u8]| match value.to_ascii_lowercase().as_slice() {
        b"yes" | b"true" => Some("true"),
        b"no" | b"false" => Some("false"),
        b"ask" => Some("ask"),
        b"confirm" => Some("confirm"),
        _ => None,
    };
    let words = |choice: &str, time: u32| vec![choice.into(), time.to_string().into_bytes()];
    match line.arguments.as_slice() {
        [value] => match choice(value) {
            Some(choice) => Ok(words(choice, 0)),
            None => Ok(words("true", time(value)?)),
        },
        [value, lifetime] if choice(value) == Some("confirm") => Ok(words("confirm", time(lifetime)?)),
        _ => Err(Wrong::TooMany),
    }
}

/// Milliseconds; `no` is 0, and `yes` 20.
fn keystrokes(value: &[u8]) -> Result<Vec<u8>, Wrong> {
    let wrong = || Wrong::Value(value.to_vec(), "yes, no or interval: and 1 to 1000 milliseconds".into());
    let interval = match value {
        b"yes" | b"true" => 20,
        b"no" | b"false" => 0,
        value => {
            let number = value.strip_prefix(b"interval:").and_then(|value| number(value).ok());
            number.filter(|n| (1..=1000).contains(n)).ok_or_else(wrong)?
        }
    };
    Ok(interval.to_string().into_bytes())
}

fn timeouts(line: &Line) -> Result<Words, Wrong> {
    let none = line.arguments.iter().any(|word| is_none(word));
    if none && line.arguments.len() > 1 {
        return Err(Wrong::NoneAlone);
    }
    for word in line.arguments.iter().filter(|word| !is_none(word)) {
        let at = word.iter().position(|b| *b == b'=').filter(|at| *at > 0);
        let value = at.and_then(|at| word.get(at.saturating_add(1)..)).unwrap_or_default();
        time(value).map_err(|_| Wrong::Value(word.clone(), "type=time such as session=5m".into()))?;
    }
    Ok(line.arguments.clone())
}

/// Whether, and the seconds.
fn persist(value: &[u8]) -> Result<Words, Wrong> {
    Ok(match value {
        b"yes" | b"true" => vec![b"yes".to_vec(), b"0".to_vec()],
        b"no" | b"false" => vec![b"no".to_vec(), b"0".to_vec()],
        value => vec![b"yes".to_vec(), time(value)?.to_string().into_bytes()],
    })
}

/// Whether a list of patterns, as `IgnoreUnknown` is one, is for a keyword.
pub(super) fn is_in_list(list: &[u8], text: &[u8]) -> bool {
    let patterns = list.split(|b| *b == b',').map(pattern::Sign::split);
    let patterns = patterns.map(|(sign, p)| (sign, pattern::matches_host(p, text)));
    pattern::ListMatch::of(patterns) == pattern::ListMatch::Yes
}

/// Bytes as text for people, escaped.
pub(super) fn shown(bytes: &[u8]) -> String {
    crate::wire::SshStr::new(bytes).to_string()
}
