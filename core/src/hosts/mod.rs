//! Known hosts: text in, status out (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).
//!
//! Files are read and written by the caller, who is asked: [`Reading`] for each that counts, [`NewHost`] says
//! what to append to which. [`HostKeyCheck`] decides in between. Loading only splits lines and indexes plain
//! names; keys are decoded and hashed names computed when a host is looked up.

mod broken;
mod certificate;
mod check;
mod edit;
mod equivalents;
mod files;
mod line;
mod name;
mod problem;
mod status;
mod update;

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use base64ct::{Base64, Encoding};

pub use certificate::{HostAuthorities, HostCertificateStatus};
pub use check::{
    Accepted, Answer, Checked, Checking, HostKeyCheck, Pin, Settled, Trust, Unknown, UnknownHost,
};
pub use edit::{Entry, KnownHostsFile, Means, NamesHashed};
pub use equivalents::{BadEquivalent, EQUIVALENTS_LIMITS, Equivalents, HostTrust};
pub use files::{CannotRemember, Contents, NewHost, Question, Reading};
pub use line::Problem;
pub use name::{BadHostName, canonical, split};
pub use problem::HostKeyProblem;
pub use status::{Damage, Hints, HostKeyStatus, Known, Unreadable, Warning};
pub use update::{
    ANNOUNCEMENT, HostKeyChanges, HostKeysUpdate, NextOfUpdate, PROOF, Unchanged, UpdateHostKeys,
};

use crate::crypto::HashAlgorithm;
use crate::keys::{PublicKey, SignatureAlgorithm};
use crate::krl::{NotReadable, RevokedKeys};
use crate::text::{Limits, Location, MAX_WARNINGS, TooLarge, lines};
use broken::{Broken, Remains};
use line::{Line, Marker, is_pattern};
use name::canonical_entry;

/// How large a known_hosts file may be (H-15); a line of a key of 16,384 bits and hundreds of names fits.
pub const LIMITS: Limits = Limits { file: 16 * 1024 * 1024, line: 64 * 1024 };
/// A line of more names is searched rather than indexed, so that the index stays small.
const MAX_INDEXED_NAMES: usize = 64;

/// The keys that hosts are known by, from one or several files.
///
/// Immutable once filled; put it in an `Arc` to share it.
///
/// ```
/// # use konko_core::hosts::{KnownHosts, HostKeyStatus};
/// # use konko_core::keys::PublicKey;
/// let line = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINFtSbggKRyVeFDitf8xA29Zg+1YGYKaPC9ct1zY2Y5Q";
/// let (key, _) = PublicKey::from_openssh_line(line).unwrap();
/// let file = [b"example.org,192.0.2.* ", &line[..]].concat();
/// let hosts = KnownHosts::parse("known_hosts", &file).unwrap();
/// assert!(matches!(hosts.lookup("Example.ORG.", 22, None, &key), HostKeyStatus::Match { .. }));
/// assert!(matches!(hosts.lookup("example.org", 2222, None, &key), HostKeyStatus::Unknown(_)));
/// ```
#[derive(Default)]
pub struct KnownHosts {
    files: Vec<File>,
    entries: Vec<Place>,
    /// Plain names by their hash, sorted; what a hash finds is compared in full.
    index: Vec<(u64, u32)>,
    /// Lines with wildcards, negations or hashed names: these are tried one by one.
    scan: Vec<u32>,
    /// Damaged lines: all that may revoke, and of the others the first [`MAX_WARNINGS`].
    broken: Vec<Broken>,
    /// How many of these do not revoke.
    harmless: usize,
    /// Files that cannot be read: any key may be revoked in them.
    unreadable: Vec<Unreadable>,
    /// Files of keys that are revoked for every host.
    revoked: Vec<(Location, RevokedKeys)>,
}

struct File {
    name: Arc<[u8]>,
    text: Box<[u8]>,
}

/// Where a line is; its fields are found again when it is needed. Files are long, and so is their index.
#[derive(Clone, Copy)]
struct Place {
    file: u32,
    line: u32,
    start: u32,
    end: u32,
}

impl KnownHosts {
    /// No host is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one file. `name` is for messages only.
    ///
    /// # Errors
    /// [`TooLarge`]; lines that make no sense are skipped, see [`warnings`](Self::warnings).
    pub fn parse(name: impl AsRef<[u8]>, bytes: &[u8]) -> Result<Self, TooLarge> {
        let mut hosts = Self::new();
        hosts.add_file(name, bytes)?;
        Ok(hosts)
    }

    /// Adds another file. All files count alike; a key that any of them revokes is revoked.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); the file counts as [unreadable](Self::add_unreadable) then.
    pub fn add_file(&mut self, name: impl AsRef<[u8]>, bytes: &[u8]) -> Result<(), TooLarge> {
        let name = name.as_ref();
        let lines = lines(bytes, LIMITS).inspect_err(|e| self.add_unreadable(name, &e.to_string()))?;
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let file = small(self.files.len());
        for text in lines {
            let place =
                Place { file, line: text.number(), start: small(text.start()), end: small(text.end()) };
            match Line::read(text) {
                Ok(line) => {
                    self.index_line(&line);
                    self.entries.push(place);
                }
                Err(problem) => {
                    let revokes = Remains::of(text.text()).revokes;
                    if revokes || self.harmless < MAX_WARNINGS {
                        self.harmless = self.harmless.saturating_add(usize::from(!revokes));
                        self.broken.push(Broken { place, problem, revokes });
                    }
                }
            }
        }
        self.files.push(File { name: name.into(), text: bytes.into() });
        self.index.sort_unstable();
        Ok(())
    }

    /// Adds a file of keys that are revoked whatever host shows them (`RevokedHostKeys`): a key revocation list, or one
    /// key a line.
    ///
    /// # Errors
    /// As [`RevokedKeys::parse`]; the file counts as [unreadable](Self::add_unreadable) then.
    pub fn add_revoked(&mut self, name: impl AsRef<[u8]>, bytes: &[u8]) -> Result<(), NotReadable> {
        let name = name.as_ref();
        let keys = RevokedKeys::parse(bytes).inspect_err(|e| self.add_unreadable(name, &e.to_string()))?;
        self.revoked.push((Location::new(name, 0), keys));
        Ok(())
    }

    /// Says that a file is there and cannot be read whole: `why` completes `name:`. Since any key may
    /// be revoked in it, every [`lookup`](Self::lookup) is [`HostKeyStatus::Unreadable`] from now on, unless
    /// another file revokes the key. A file that is not there needs no word.
    pub fn add_unreadable(&mut self, name: impl AsRef<[u8]>, why: &str) {
        self.unreadable.push(Unreadable { at: Location::new(name.as_ref(), 0), why: why.to_string() });
    }

    fn index_line(&mut self, line: &Line<'_>) {
        let id = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let names = || line.names.split(|b| *b == b',');
        if names().any(is_pattern) || names().nth(MAX_INDEXED_NAMES).is_some() {
            self.scan.push(id);
        } else {
            self.index.extend(names().map(|name| (name_hash(canonical_entry(name)), id)));
        }
    }

    /// What is known about `key` for the host.
    ///
    /// `host` is what the user typed, or `HostKeyAlias`; see [`canonical`] for its spellings. On a
    /// port other than 22 only entries `[host]:port` (and patterns that match that) count.
    ///
    /// With `ip`, the address that was connected to, the host's address is checked as well, as with
    /// OpenSSH's `CheckHostIP yes`: a key revoked for the address is revoked, and a match by name
    /// becomes [`HostKeyStatus::Changed`] if the address is known with another key of the same type. An
    /// address alone never makes a match.
    ///
    /// Where it cannot be told whether the key is revoked, the status is [`HostKeyStatus::Unreadable`]: a
    /// file cannot be read, or a damaged line marked `@revoked` may be for the host and the key.
    pub fn lookup(&self, host: &str, port: u16, ip: Option<&str>, key: &PublicKey) -> HostKeyStatus {
        let by_name = self.classify(&canonical(host, port), key, false);
        let by_address = ip.map(|ip| self.classify(&canonical(ip, port), key, true)).unwrap_or_default();
        if let Some((at, _)) = self.revoked.iter().find(|(_, keys)| keys.check_key(key).is_some()) {
            return HostKeyStatus::Revoked { at: at.clone() };
        }
        if let Some(at) = by_name.revoked.or(by_address.revoked) {
            return HostKeyStatus::Revoked { at };
        }
        if let Some(what) = self.unreadable.first().cloned().or(by_name.unclear).or(by_address.unclear) {
            return HostKeyStatus::Unreadable { what };
        }
        if let Some(at) = by_name.matched {
            if by_address.matched.is_none() && !by_address.changed.is_empty() {
                return HostKeyStatus::Changed { known: by_address.changed };
            }
            return HostKeyStatus::Match { at };
        }
        if !by_name.changed.is_empty() {
            return HostKeyStatus::Changed { known: by_name.changed };
        }
        if !by_name.other.is_empty() {
            return HostKeyStatus::OtherTypeKnown { known: by_name.other };
        }
        let without_port = match port {
            0 | 22 => None,
            _ => {
                let found = self.classify(&canonical(host, 22), key, false);
                // What is revoked there, or may be, is no key to go by here.
                found.matched.filter(|_| found.revoked.is_none() && found.unclear.is_none())
            }
        };
        HostKeyStatus::Unknown(Hints {
            authorities: by_name.authorities,
            unreadable: by_name.unreadable,
            without_port,
        })
    }

    /// The signature algorithms of the keys that are known for the host, best first: all three of
    /// RSA for an RSA key, and those of certificates for such a key. With an authority of the host's they are those of all
    /// certificates too (OpenSSH `order_hostkeyalgs`). Revoked keys do not count.
    ///
    /// A client moves these to the front of the list it offers, so that the host shows a key that
    /// is known; it drops nothing from the list (U-08). That order lets an observer see that the
    /// host is known (H-05).
    pub fn known_algorithms(&self, host: &str, port: u16) -> Vec<SignatureAlgorithm> {
        let name = canonical(host, port);
        let types: Vec<&str> = self
            .lines_for(name.as_bytes())
            .filter(|(_, line)| line.marker == Marker::None && line.public_key().is_ok())
            .map(|(_, line)| line.key_type)
            .collect();
        let authority = self.has_authority(host, port);
        let known = |algorithm: &SignatureAlgorithm| {
            let kind = algorithm.key_type();
            types.contains(&kind.plain().name()) || (authority && kind.is_certificate())
        };
        SignatureAlgorithm::all().filter(known).collect()
    }

    /// Where else the key stands, whatever host it is for: a changed key that is known under
    /// another name is usually a host that moved. Takes time with the number of lines.
    pub fn locations_of(&self, key: &PublicKey) -> Vec<Location> {
        let same = |line: &Line<'_>| {
            line.key_type == key.key_type().name() && line.public_key_like(key).as_ref() == Ok(key)
        };
        (self.entries.iter())
            .filter(|entry| self.line(entry).is_some_and(|l| l.marker == Marker::None && same(&l)))
            .map(|entry| self.location(entry))
            .collect()
    }

    /// The lines that were not used and why, in order. At most the first 1000 that are no lines of
    /// known_hosts at all, then those whose key is damaged or of a type we do not have.
    ///
    /// Decodes every key, so it takes longer than loading; ask for it when somebody wants to know.
    pub fn warnings(&self) -> Vec<Warning> {
        let broken = self.broken.iter().map(|b| (b.place, b.problem, b.revokes));
        let keys = self.entries.iter().filter_map(|place| {
            let line = self.line(place)?;
            let problem = line.public_key().err()?;
            Some((*place, problem, line.marker == Marker::Revoked && problem != Problem::UnknownType))
        });
        let all = broken.chain(keys);
        all.map(|(place, what, revokes)| Warning::new(self.location(&place), Damage { what, revokes }))
            .collect()
    }

    /// How many lines hold a key.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no line holds a key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn classify(&self, name: &str, key: &PublicKey, by_address: bool) -> Found {
        let mut found = Found::default();
        for (entry, line) in self.lines_for(name.as_bytes()) {
            let at = self.location(entry);
            let known = line.public_key_like(key);
            let same = known.as_ref() == Ok(key);
            match (line.marker, known) {
                (Marker::Authority, _) => found.authorities.push(at),
                (Marker::Revoked, _) if same => found.revoked = found.revoked.or(Some(at)),
                // What stands in front of a damaged key is what the key itself says, so far.
                (Marker::Revoked, Err(problem)) if line.key_type == key.key_type().name() => {
                    found.unclear = found.unclear.or(Some(unreadable(at, problem)));
                }
                (Marker::Revoked, _) => {}
                (Marker::None, _) if same => found.matched = found.matched.or(Some(at)),
                (Marker::None, Ok(known)) => {
                    let fingerprint = Some(known.fingerprint(HashAlgorithm::Sha256));
                    let list = if known.key_type() == key.key_type() {
                        &mut found.changed
                    } else {
                        &mut found.other
                    };
                    list.push(Known { at, key_type: line.key_type.to_string(), fingerprint, by_address });
                }
                (Marker::None, Err(Problem::UnknownType)) => {
                    let key_type = line.key_type.to_string();
                    found.other.push(Known { at, key_type, fingerprint: None, by_address });
                }
                (Marker::None, Err(_)) => found.unreadable.push(at),
            }
        }
        for broken in &self.broken {
            let Some(text) = self.text(&broken.place) else { continue };
            let remains = Remains::of(text);
            if remains.is_for(name.as_bytes()) {
                let at = self.location(&broken.place);
                if !broken.revokes {
                    found.unreadable.push(at);
                } else if remains.may_be(key.key_type().name()) {
                    found.unclear = found.unclear.or(Some(unreadable(at, broken.problem)));
                }
            }
        }
        found
    }

    /// The lines for a canonical name, in the order of the files.
    fn lines_for(&self, name: &[u8]) -> impl Iterator<Item = (&Place, Line<'_>)> {
        let hash = name_hash(name.iter().copied());
        let from = self.index.partition_point(|(h, _)| *h < hash);
        let indexed = self.index.iter().skip(from).take_while(|(h, _)| *h == hash).map(|(_, id)| *id);
        let mut ids: Vec<u32> = indexed.chain(self.scan.iter().copied()).collect();
        ids.retain(|id| self.entry(*id).and_then(|e| self.line(e)).is_some_and(|l| l.is_for(name)));
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().filter_map(|id| {
            let entry = self.entry(id)?;
            Some((entry, self.line(entry)?))
        })
    }

    fn entry(&self, id: u32) -> Option<&Place> {
        self.entries.get(usize::try_from(id).ok()?)
    }

    fn line(&self, place: &Place) -> Option<Line<'_>> {
        Line::parse(self.text(place)?).ok()
    }

    fn file(&self, place: &Place) -> Option<&File> {
        self.files.get(usize::try_from(place.file).ok()?)
    }

    fn text(&self, place: &Place) -> Option<&[u8]> {
        let (start, end) = (usize::try_from(place.start).ok()?, usize::try_from(place.end).ok()?);
        self.file(place)?.text.get(start..end)
    }

    fn location(&self, place: &Place) -> Location {
        Location::new(self.file(place).map(|f| f.name.clone()).unwrap_or_default(), place.line)
    }
}

impl fmt::Debug for KnownHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KnownHosts({} files, {} keys)", self.files.len(), self.entries.len())
    }
}

fn unreadable(at: Location, problem: Problem) -> Unreadable {
    Unreadable { at, why: alloc::format!("{problem}, and it is marked @revoked") }
}

#[derive(Default)]
struct Found {
    matched: Option<Location>,
    revoked: Option<Location>,
    /// A damaged line that may revoke the key.
    unclear: Option<Unreadable>,
    changed: Vec<Known>,
    other: Vec<Known>,
    authorities: Vec<Location>,
    unreadable: Vec<Location>,
}

/// The line to append for a new host, without a line feed: `name type key`.
///
/// With `hashed`, 20 random bytes of salt, the name is written as its hash (`HashKnownHosts`). Mind
/// that the file's last line may lack its line feed.
///
/// # Errors
/// [`BadHostName`] for a name that would mean something else in the file: blanks, commas,
/// wildcards, `!`, `@`, `|`, `#`, controls, non-ASCII (H-09).
pub fn learn_line(
    host: &str,
    port: u16,
    key: &PublicKey,
    hashed: Option<[u8; 20]>,
) -> Result<String, BadHostName> {
    name::check(host)?;
    let name = canonical(host, port);
    let name = match hashed {
        None => name,
        Some(salt) => hashed_name(&salt, name.as_bytes()),
    };
    Ok(alloc::format!("{name} {}", key.to_openssh_line("")))
}

/// `|1|salt|hash`, for a canonical name.
fn hashed_name(salt: &[u8; 20], name: &[u8]) -> String {
    let hash = line::hash(salt, name);
    alloc::format!("|1|{}|{}", Base64::encode_string(salt), Base64::encode_string(&hash))
}

/// FNV-1a. Collisions cost a comparison and nothing else.
fn name_hash(name: impl Iterator<Item = u8>) -> u64 {
    name.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
