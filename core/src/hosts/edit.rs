//! A file of known hosts that is to be changed. What is not meant stays as it is: comments, order, lines that are not
//! understood, and how lines end.

use alloc::vec::Vec;
use core::mem;

use super::line::{Line, Marker, are_for, damaged_hash, is_pattern};
use super::name::{canonical, canonical_entry};
use super::{CannotRemember, LIMITS, Problem, hashed_name, learn_line};
use crate::keys::PublicKey;
use crate::rng::Rng;
use crate::text::{TooLarge, lines};

/// One file of known hosts, line by line, to be searched and changed.
///
/// ```
/// # use konko_core::hosts::KnownHostsFile;
/// let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINFtSbggKRyVeFDitf8xA29Zg+1YGYKaPC9ct1zY2Y5Q";
/// let text = format!("# mine\nold.example {key}\nother.example {key}\r\n");
/// let mut file = KnownHostsFile::parse(text.as_bytes()).unwrap();
/// assert_eq!(file.remove("old.example", 22), 1);
/// assert_eq!(file.to_bytes(), format!("# mine\nother.example {key}\r\n").as_bytes());
/// ```
#[derive(Clone, Debug)]
pub struct KnownHostsFile {
    lines: Vec<Kept>,
    changed: bool,
}

/// A line with its end, and its number in the file that was read; 0 for one that was added.
#[derive(Clone, Debug)]
struct Kept {
    number: u32,
    bytes: Vec<u8>,
}

/// A line of a file that is for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry<'a> {
    /// The line's number, from 1.
    pub number: u32,
    /// Its text, without the end of the line.
    pub text: &'a [u8],
    /// What it says of the host.
    pub means: Means,
}

impl Entry<'_> {
    /// The key; the damage if there is none that can be read.
    ///
    /// # Errors
    /// [`Problem`]
    pub fn key(&self) -> Result<PublicKey, Problem> {
        self.line().ok_or(Problem::Fields)?.public_key()
    }

    /// What stands behind the key.
    pub fn comment(&self) -> &[u8] {
        self.line().map(|line| line.comment).unwrap_or_default()
    }

    fn line(&self) -> Option<Line<'_>> {
        said(self.text)?.ok()
    }
}

/// What a line says of its hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// The key is theirs.
    Known,
    /// `@revoked`: nobody may use the key.
    Revoked,
    /// `@cert-authority`: the key signs their certificates.
    Authority,
}

/// A key in a file, for an update of what is known about a host.
pub(super) enum KeyAt {
    /// It is the host's.
    Host(PublicKey),
    /// It is that of another host, or under another name.
    Other(PublicKey),
    /// The line is for the host, and a change of it would mean more than the host.
    Complex,
}

/// What [`KnownHostsFile::hash_names`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamesHashed {
    /// How many names were replaced by their hashes.
    pub hashed: usize,
    /// Lines that keep their names since these are patterns, by their numbers.
    pub patterns: Vec<u32>,
}

impl KnownHostsFile {
    /// Reads a file. A file that is not there is an empty one.
    ///
    /// # Errors
    /// [`TooLarge`]
    pub fn parse(bytes: &[u8]) -> Result<Self, TooLarge> {
        if bytes.len() > LIMITS.file {
            return Err(TooLarge { max: LIMITS.file });
        }
        let kept = |(line, number): (&[u8], u32)| Kept { number, bytes: line.to_vec() };
        let lines = bytes.split_inclusive(|b| *b == b'\n').zip(1..).map(kept).collect();
        Ok(KnownHostsFile { lines, changed: false })
    }

    /// The file's bytes: those that were read, but for what was changed. The last line of a file that was changed has
    /// its line feed.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|line| line.bytes.iter().copied()).collect()
    }

    /// Whether anything was changed since the file was read.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// The lines that OpenSSH takes for none of known_hosts, and why: too few fields, a marker that does not exist,
    /// a hash that is damaged. They are kept.
    pub fn damaged(&self) -> Vec<(u32, Problem)> {
        let problem = |line: &Kept| match said(&line.bytes)?.map(|line| damaged_hash(line.names)) {
            Err(problem) => Some((line.number, problem)),
            Ok(true) => Some((line.number, Problem::HashedName)),
            Ok(false) => None,
        };
        self.lines.iter().filter_map(problem).collect()
    }

    /// The lines for a host, by its name or a hash or pattern of that, in order; see [`canonical`] for the spellings.
    /// A key that is damaged or of a type that we do not have is no reason to leave a line out.
    pub fn find(&self, host: &str, port: u16) -> Vec<Entry<'_>> {
        let name = canonical(host, port);
        let entry = |line: &'_ Kept| {
            let found = said(&line.bytes)?.ok().filter(|found| are_for(found.names, name.as_bytes()))?;
            Some((line.number, found.marker))
        };
        let mut entries = Vec::new();
        for line in &self.lines {
            if let Some((number, marker)) = entry(line) {
                entries.push(Entry { number, text: text_of(&line.bytes), means: means(marker) });
            }
        }
        entries
    }

    /// Removes every line by which the host is known, and returns how many there were. A line of several names goes
    /// as a whole, one of a pattern too, as with `ssh-keygen -R`. What is marked `@revoked` or `@cert-authority`
    /// stays: it does not say that a key is the host's.
    pub fn remove(&mut self, host: &str, port: u16) -> usize {
        self.remove_where(&canonical(host, port), |_| true)
    }

    /// The same for the lines with this key only. Lines whose key cannot be read stay.
    pub fn remove_key(&mut self, host: &str, port: u16, key: &PublicKey) -> usize {
        self.remove_where(&canonical(host, port), |line| line.public_key_like(key).as_ref() == Ok(key))
    }

    fn remove_where(&mut self, name: &str, meant: impl Fn(&Line<'_>) -> bool) -> usize {
        let before = self.lines.len();
        self.lines.retain(|line| {
            let known = said(&line.bytes).and_then(Result::ok).filter(|line| line.marker == Marker::None);
            !known.is_some_and(|line| are_for(line.names, name.as_bytes()) && meant(&line))
        });
        let removed = before.saturating_sub(self.lines.len());
        self.touched(removed > 0);
        removed
    }

    /// Adds a key of a host at the end, under a hash of its name if there is a salt of 20 random bytes.
    ///
    /// # Errors
    /// [`CannotRemember`]; nothing is changed then.
    pub fn add(
        &mut self,
        host: &str,
        port: u16,
        key: &PublicKey,
        salt: Option<[u8; 20]>,
    ) -> Result<(), CannotRemember> {
        let line = learn_line(host, port, key, salt)?;
        let length = self.lines.iter().map(|line| line.bytes.len()).fold(line.len(), usize::saturating_add);
        if length.saturating_add(2) > LIMITS.file {
            return Err(TooLarge { max: LIMITS.file }.into());
        }
        self.touched(true);
        self.lines.push(Kept { number: 0, bytes: [line.as_bytes(), b"\n"].concat() });
        Ok(())
    }

    /// Replaces every name by its hash, one line for each name, as `ssh-keygen -H`. Patterns, and lines with a
    /// marker, stay as they are.
    pub fn hash_names(&mut self, rng: &mut Rng) -> NamesHashed {
        let mut report = NamesHashed::default();
        let mut lines = Vec::with_capacity(self.lines.len());
        for line in mem::take(&mut self.lines) {
            match said(&line.bytes).and_then(Result::ok) {
                Some(said) if said.names.split(|b| *b == b',').any(is_pattern) => {
                    if !said.names.starts_with(b"|") {
                        report.patterns.push(line.number);
                    }
                    lines.push(line);
                }
                Some(said) if said.marker == Marker::None => {
                    let end = text_of(&line.bytes).ends_with(b"\r");
                    let end: &[u8] = if end { b"\r\n" } else { b"\n" };
                    for name in said.names.split(|b| *b == b',').filter(|name| !name.is_empty()) {
                        let name: Vec<u8> = canonical_entry(name).collect();
                        let hash = hashed_name(&rng.array(), &name);
                        let bytes = [hash.as_bytes(), b" ", said.key_and_on, end].concat();
                        lines.push(Kept { number: line.number, bytes });
                        report.hashed = report.hashed.saturating_add(1);
                    }
                }
                _ => lines.push(line),
            }
        }
        self.lines = lines;
        self.touched(report.hashed > 0);
        report
    }

    /// The keys that are known, whether for the host of this canonical name or for another. Lines that are not
    /// understood, and keys that are not known, say nothing.
    pub(super) fn keys_for(&self, name: &[u8]) -> impl Iterator<Item = KeyAt> {
        self.lines.iter().filter_map(|line| {
            let line = said(&line.bytes)?.ok()?;
            if !are_for(line.names, name) {
                return Some(KeyAt::Other(line.public_key().ok()?));
            }
            let plain = !line.names.contains(&b'*') && !line.names.contains(&b'?');
            let few = line.names.split(|b| *b == b',').nth(2).is_none();
            if line.marker != Marker::None || !plain || !few {
                return Some(KeyAt::Complex);
            }
            Some(KeyAt::Host(line.public_key().ok()?))
        })
    }

    fn touched(&mut self, changed: bool) {
        self.changed |= changed;
        if let Some(last) = self.lines.last_mut().filter(|line| changed && !line.bytes.ends_with(b"\n")) {
            last.bytes.push(b'\n');
        }
    }
}

fn text_of(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\n").unwrap_or(bytes)
}

fn means(marker: Marker) -> Means {
    match marker {
        Marker::None => Means::Known,
        Marker::Revoked => Means::Revoked,
        Marker::Authority => Means::Authority,
    }
}

/// What a line says; `None` if nothing.
fn said(bytes: &[u8]) -> Option<Result<Line<'_>, Problem>> {
    let line = lines(bytes, LIMITS).ok()?.next()?;
    Some(line.read().map_err(Problem::Line).and_then(Line::fields))
}
