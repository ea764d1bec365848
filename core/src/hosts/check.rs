//! Whether to believe a host: what is known about it, what its key is, and what a person says.
//!
//! ```
//! # use std::sync::Arc;
//! # use konko_core::hosts::{Answer, Checked, HostKeyCheck, KnownHosts, NewHost, Settled, Trust};
//! # use konko_core::keys::PublicKey;
//! # fn connected(host: &str, key: &PublicKey, trust: &Trust, files: Arc<KnownHosts>, append: impl Fn(&NewHost)) -> bool {
//! let check = HostKeyCheck::new(host, 22, trust.clone(), files);
//! // Before the connection is made: `prefer_host_keys(&check.algorithms())`. Then, for the key it shows:
//! let settled = match check.decide(key) {
//!     Checked::Settled(settled) => settled,
//!     Checked::Ask(unknown) => {
//!         println!("{} is not known; its key is {}", unknown.name(), unknown.fingerprint());
//!         unknown.answer(Answer::Reject)
//!     }
//! };
//! match settled {
//!     Settled::Accept { remember, .. } => {
//!         if let Some(new) = remember {
//!             append(&new);
//!         }
//!         true
//!     }
//!     Settled::Tolerate(problem) => {
//!         eprintln!("warning: {problem}");
//!         true
//!     }
//!     Settled::Reject(problem) => {
//!         eprintln!("{problem}");
//!         false
//!     }
//! }
//! # }
//! ```

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::update::UpdateHostKeys;
use super::{
    Hints, HostAuthorities, HostCertificateStatus, HostKeyProblem, HostKeyStatus, Known, KnownHosts, NewHost,
    Problem, canonical,
};
use crate::crypto::HashAlgorithm;
use crate::keys::{Certificate, CertificateProblem, Fingerprint, PublicKey, SignatureAlgorithm};
use crate::text::Location;
use crate::wire::SshStr;

/// Damaged lines that somebody is told of.
const WARNINGS: usize = 3;

/// Whom a client believes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Trust {
    /// Hosts that known_hosts files know.
    KnownHosts(Checking),
    /// A host with one of these keys.
    Pinned(Vec<Pin>),
    /// Any host at all. Whoever sits on the way can read and change everything, passwords included; for
    /// tests only.
    Any,
}

impl Default for Trust {
    /// Known hosts without any files, and a host that is not known is refused.
    fn default() -> Self {
        Trust::KnownHosts(Checking::default())
    }
}

/// A key that a host must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// This key.
    Key(PublicKey),
    /// The key with this fingerprint: `SHA256:` and base64, as `ssh-keygen -l` prints it.
    Fingerprint(String),
}

/// How strictly known_hosts files are taken (`StrictHostKeyChecking` of ssh_config(5)).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Checking {
    /// What is done about a host that is not known.
    pub unknown: Unknown,
    /// Goes on even when the key has changed. A revoked key is refused still.
    pub tolerate_changed: bool,
    /// Writes new hosts under a hash of their name (`HashKnownHosts`).
    pub hash_names: bool,
    /// Paths of the user's files. New hosts go into the first.
    pub user_files: Vec<Vec<u8>>,
    /// Paths of the system's files.
    pub global_files: Vec<Vec<u8>>,
    /// Paths of files of keys that are revoked whatever host shows them (`RevokedHostKeys`): key revocation lists, or
    /// one key a line. One that is missing or cannot be read refuses every host.
    pub revoked_host_keys: Vec<Vec<u8>>,
    /// A program that prints lines of known hosts, and its arguments (`KnownHostsCommand`), in which `%H`, `%I`, `%t`,
    /// `%f`, `%K` and `%%` stand for what they do in ssh_config(5), TOKENS; others are replaced already. It is run
    /// before the connection is made, and for the key that the host shows. If it fails, every host is refused.
    pub known_hosts_command: Option<Vec<Vec<u8>>>,
    /// The host's address is checked and remembered too (`CheckHostIP`), if it is [told](HostKeyCheck::address).
    pub check_host_ip: bool,
    /// What is done when the host tells which keys it has (`UpdateHostKeys`).
    pub update_host_keys: UpdateHostKeys,
}

impl Checking {
    /// The files that OpenSSH has (`UserKnownHostsFile`, `GlobalKnownHostsFile`), for a user with this home.
    pub fn of_home(home: &[u8]) -> Self {
        let user = [&b"/.ssh/known_hosts"[..], b"/.ssh/known_hosts2"];
        let global = [&b"/etc/ssh/ssh_known_hosts"[..], b"/etc/ssh/ssh_known_hosts2"];
        Checking {
            user_files: user.map(|name| [home, name].concat()).into(),
            global_files: global.map(Vec::from).into(),
            update_host_keys: UpdateHostKeys::Yes,
            ..Checking::default()
        }
    }
}

/// What is done about a host that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// It is refused.
    #[default]
    Reject,
    /// It is believed and remembered, if no other key of it is known.
    AcceptNew,
    /// A person is asked.
    Ask,
}

/// The question about a host that is not known. It is its own ticket: [`answer`](Self::answer) takes it, so
/// that an answer cannot go to another question. Dropped, nothing is accepted.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "whether the key is accepted is not settled"]
pub struct UnknownHost {
    host: String,
    port: u16,
    key: PublicKey,
    /// What a no comes to.
    problem: Box<HostKeyProblem>,
    /// What it is remembered by.
    new: Option<Box<NewHost>>,
}

impl UnknownHost {
    /// The name that was connected to.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The name under which the host was looked up.
    pub fn name(&self) -> &str {
        &self.problem.host
    }

    /// The key that the host showed, and proved to have.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The key's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        self.key.fingerprint(HashAlgorithm::Sha256)
    }

    /// Keys of other types that are known for the host. If there are any, it is not a new host.
    pub fn other(&self) -> &[Known] {
        match &self.problem.status {
            Some(HostKeyStatus::OtherTypeKnown { known }) => known,
            _ => &[],
        }
    }

    /// What else was seen in the files.
    pub fn hints(&self) -> &Hints {
        static NONE: Hints = Hints { authorities: Vec::new(), unreadable: Vec::new(), without_port: None };
        match &self.problem.status {
            Some(HostKeyStatus::Unknown(hints)) => hints,
            _ => &NONE,
        }
    }

    /// Where else this very key is known.
    pub fn elsewhere(&self) -> &[Location] {
        &self.problem.elsewhere
    }

    /// What is to be done after a person has answered.
    pub fn answer(self, answer: Answer) -> Settled {
        match answer {
            Answer::Reject => Settled::Reject(self.problem),
            Answer::Once => accept(Accepted::Confirmed),
            Answer::Remember => Settled::Accept { why: Accepted::Confirmed, remember: self.new },
        }
    }
}

/// The answer to [`UnknownHost`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not this key.
    Reject,
    /// This key, this time.
    Once,
    /// This key, from now on.
    Remember,
}

/// What is to be done about a host key.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Checked {
    /// This.
    Settled(Settled),
    /// A person has to say; [`UnknownHost::answer`] then.
    Ask(Box<UnknownHost>),
}

/// Whether a host key is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Settled {
    /// It is.
    Accept {
        /// Why, for a log.
        why: Accepted,
        /// The host is to be remembered by this.
        remember: Option<Box<NewHost>>,
    },
    /// It is, although it has changed; a person should see this.
    Tolerate(Box<HostKeyProblem>),
    /// It is not, and this is why.
    Reject(Box<HostKeyProblem>),
}

/// Why a host key was accepted. `Display` completes "the host key is accepted:".
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Accepted {
    /// It stands there.
    Known(Location),
    /// It has a certificate by the authority that stands there.
    Certified {
        /// The authority's line.
        at: Location,
        /// What the authority calls the certificate.
        key_id: Vec<u8>,
        /// The number that the authority knows it by.
        serial: u64,
    },
    /// It is pinned.
    Pinned,
    /// The host is new.
    New,
    /// The host is new, and a person said yes.
    Confirmed,
    /// Any key is.
    Any,
}

impl fmt::Display for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Accepted::Known(at) => write!(f, "known at {at}"),
            Accepted::Certified { at, key_id, serial } => write!(
                f,
                "certificate \"{}\" (serial {serial}) by the authority at {at}",
                SshStr::new(key_id)
            ),
            Accepted::Pinned => f.write_str("it is pinned"),
            Accepted::New | Accepted::Confirmed => f.write_str("the host is new"),
            Accepted::Any => f.write_str("any key is"),
        }
    }
}

/// The decision about one host.
#[derive(Clone, Debug)]
pub struct HostKeyCheck {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) trust: Trust,
    known: Arc<KnownHosts>,
    /// The address that was connected to, where it counts.
    address: Option<String>,
    authorities: HostAuthorities,
}

impl HostKeyCheck {
    /// For a host by the name that the user typed, or its alias, with what the files say (see
    /// [`Reading`](super::Reading)).
    pub fn new(host: impl Into<String>, port: u16, trust: Trust, known: Arc<KnownHosts>) -> Self {
        let authorities = HostAuthorities::default();
        HostKeyCheck { host: host.into(), port, trust, known, address: None, authorities }
    }

    /// The numeric address that was connected to, which counts with [`check_host_ip`](Checking::check_host_ip) unless
    /// it is this machine's own or what the user typed. Do not tell it where a proxy was connected to.
    #[must_use]
    pub fn address(mut self, address: core::net::IpAddr) -> Self {
        let wanted = matches!(&self.trust, Trust::KnownHosts(checking) if checking.check_host_ip);
        let text = address.to_canonical().to_string();
        let same = canonical(&text, self.port) == canonical(&self.host, self.port);
        self.address = (wanted && !same && !address.to_canonical().is_loopback()).then_some(text);
        self
    }

    /// What known_hosts files say, anew: after a program was asked about the key that the host has shown.
    #[must_use]
    pub fn known(mut self, known: Arc<KnownHosts>) -> Self {
        self.known = known;
        self
    }

    /// What certificates are held against, the time among it. Without it none is believed, and the keys that they are for
    /// are looked up like any other.
    #[must_use]
    pub fn authorities(mut self, authorities: HostAuthorities) -> Self {
        self.authorities = authorities;
        self
    }

    /// The algorithms of the keys that are known, to be asked for first.
    pub fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        match &self.trust {
            Trust::KnownHosts(_) => self.known.known_algorithms(&self.host, self.port),
            Trust::Pinned(pins) => {
                let keys = pins.iter().filter_map(|p| if let Pin::Key(k) = p { Some(k) } else { None });
                keys.flat_map(|k| k.signature_algorithms()).copied().collect()
            }
            Trust::Any => Vec::new(),
        }
    }

    /// Lines of the files that are damaged, for a person: the first few, and how many more there are.
    /// Keys of types we do not have are no damage.
    pub fn warnings(&self) -> Vec<String> {
        if !matches!(self.trust, Trust::KnownHosts(_)) {
            return Vec::new();
        }
        let mut lines = self.known.warnings();
        lines.retain(|warning| warning.problem.what != Problem::UnknownType);
        let more = lines.len().saturating_sub(WARNINGS);
        let shown = lines.iter().take(WARNINGS).map(ToString::to_string);
        let rest = (more > 0).then(|| alloc::format!("{more} more lines of known hosts are damaged"));
        shown.chain(rest).collect()
    }

    /// Decides about the key that the host shows and has proved to have. Of a certificate that no authority of the host's
    /// vouches for, the key itself is looked up, as OpenSSH does it: all that holds for keys holds for it.
    pub fn decide(&self, key: &PublicKey) -> Checked {
        let (Some(certificate), Trust::KnownHosts(_)) = (Certificate::of(key), &self.trust) else {
            return self.decide_key(&key.plain(), None);
        };
        let status = self.known.lookup_certificate(&self.host, self.port, &certificate, &self.authorities);
        let key = certificate.key();
        let reject = |status| Checked::Settled(Settled::Reject(self.problem(key, Some(status))));
        match status {
            HostCertificateStatus::Match { at } => {
                let key_id = certificate.key_id().as_bytes().to_vec();
                Checked::Settled(accept(Accepted::Certified { at, key_id, serial: certificate.serial() }))
            }
            HostCertificateStatus::Revoked { at } => reject(HostKeyStatus::Revoked { at }),
            HostCertificateStatus::Unreadable { what } => reject(HostKeyStatus::Unreadable { what }),
            HostCertificateStatus::Rejected(problem) => self.decide_key(key, Some(problem)),
        }
    }

    /// Decides about a plain key, which came in a certificate that did not do or by itself.
    fn decide_key(&self, key: &PublicKey, certificate: Option<CertificateProblem>) -> Checked {
        let mut checked = self.look_up(key);
        match &mut checked {
            Checked::Settled(Settled::Reject(problem) | Settled::Tolerate(problem)) => {
                problem.certificate = certificate;
            }
            Checked::Ask(unknown) => unknown.problem.certificate = certificate,
            Checked::Settled(Settled::Accept { .. }) => {}
        }
        checked
    }

    fn look_up(&self, key: &PublicKey) -> Checked {
        let checking = match &self.trust {
            Trust::Any => return Checked::Settled(accept(Accepted::Any)),
            Trust::Pinned(pins) => {
                let text = key.fingerprint(HashAlgorithm::Sha256).to_string();
                let same = |pin: &Pin| match pin {
                    Pin::Key(pinned) => pinned == key,
                    Pin::Fingerprint(pinned) => pinned.trim_end_matches('=') == text,
                };
                let pinned = pins.iter().any(same);
                return Checked::Settled(match pinned {
                    true => accept(Accepted::Pinned),
                    false => Settled::Reject(self.problem(key, None)),
                });
            }
            Trust::KnownHosts(checking) => checking,
        };
        let status = self.status(key);
        Checked::Settled(match &status {
            HostKeyStatus::Match { at } => {
                let new = self.new_address(key).and_then(|ip| NewHost::new(checking, ip, self.port, key));
                Settled::Accept { why: Accepted::Known(at.clone()), remember: new.map(Box::new) }
            }
            HostKeyStatus::Changed { .. } if checking.tolerate_changed => {
                Settled::Tolerate(self.problem(key, Some(status)))
            }
            HostKeyStatus::Changed { .. }
            | HostKeyStatus::Revoked { .. }
            | HostKeyStatus::Unreadable { .. } => Settled::Reject(self.problem(key, Some(status))),
            HostKeyStatus::Unknown(_) | HostKeyStatus::OtherTypeKnown { .. } => {
                return self.unknown(checking, key, status);
            }
        })
    }

    /// What is known about the key, by name and, where that counts, by address: one that is known with another key is
    /// as bad for a host that is not known as for one that is.
    fn status(&self, key: &PublicKey) -> HostKeyStatus {
        let address = self.address.as_deref();
        let status = self.known.lookup(&self.host, self.port, address, key);
        let new = matches!(status, HostKeyStatus::Unknown(_) | HostKeyStatus::OtherTypeKnown { .. });
        match address.filter(|_| new).map(|ip| self.known.lookup(ip, self.port, None, key)) {
            Some(changed @ HostKeyStatus::Changed { .. }) => changed,
            _ => status,
        }
    }

    /// Whether nothing says that the key is revoked.
    pub(super) fn may_be_known(&self, key: &PublicKey) -> bool {
        let status = self.known.lookup(&self.host, self.port, None, key);
        !matches!(status, HostKeyStatus::Revoked { .. } | HostKeyStatus::Unreadable { .. })
    }

    /// The address, if nothing is known about it.
    fn new_address(&self, key: &PublicKey) -> Option<&str> {
        let unknown = |ip: &&str| match self.known.lookup(ip, self.port, None, key) {
            HostKeyStatus::Unknown(hints) => hints.unreadable.is_empty(),
            _ => false,
        };
        self.address.as_deref().filter(unknown)
    }

    fn unknown(&self, checking: &Checking, key: &PublicKey, status: HostKeyStatus) -> Checked {
        // A host of which other keys are known is not new.
        let is_new = matches!(&status, HostKeyStatus::Unknown(hints) if hints.unreadable.is_empty());
        let mut problem = self.problem(key, Some(status));
        let new = || {
            let new = NewHost::new(checking, &self.host, self.port, key)?;
            Some(Box::new(new.with_address(self.new_address(key))))
        };
        Checked::Settled(match checking.unknown {
            Unknown::AcceptNew if is_new => Settled::Accept { why: Accepted::New, remember: new() },
            Unknown::AcceptNew if checking.tolerate_changed => accept(Accepted::New),
            Unknown::AcceptNew | Unknown::Reject => Settled::Reject(problem),
            Unknown::Ask => {
                problem.asked = true;
                let (host, port, key) = (self.host.clone(), self.port, key.clone());
                return Checked::Ask(Box::new(UnknownHost { host, port, key, problem, new: new() }));
            }
        })
    }

    fn problem(&self, key: &PublicKey, status: Option<HostKeyStatus>) -> Box<HostKeyProblem> {
        let file = match &self.trust {
            Trust::KnownHosts(checking) => checking.user_files.first().cloned(),
            _ => None,
        };
        Box::new(HostKeyProblem {
            host: canonical(&self.host, self.port),
            key_type: key.key_type().name(),
            fingerprint: key.fingerprint(HashAlgorithm::Sha256),
            certificate: None,
            asked: false,
            elsewhere: match &status {
                Some(HostKeyStatus::Revoked { .. } | HostKeyStatus::Unreadable { .. }) => Vec::new(),
                _ => self.known.locations_of(key),
            },
            status,
            file,
        })
    }
}

fn accept(why: Accepted) -> Settled {
    Settled::Accept { why, remember: None }
}
