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

use super::{Hints, HostKeyProblem, HostKeyStatus, Known, KnownHosts, NewHost, Problem, canonical};
use crate::crypto::HashAlgorithm;
use crate::keys::{Fingerprint, PublicKey, SignatureAlgorithm};
use crate::text::Location;

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
}

impl Checking {
    /// The files that OpenSSH has (`UserKnownHostsFile`, `GlobalKnownHostsFile`), for a user with this home.
    pub fn of_home(home: &[u8]) -> Self {
        let user = [&b"/.ssh/known_hosts"[..], b"/.ssh/known_hosts2"];
        let global = [&b"/etc/ssh/ssh_known_hosts"[..], b"/etc/ssh/ssh_known_hosts2"];
        Checking {
            user_files: user.map(|name| [home, name].concat()).into(),
            global_files: global.map(Vec::from).into(),
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
            Answer::Once => accept(Accepted::New),
            Answer::Remember => Settled::Accept { why: Accepted::New, remember: self.new },
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
    /// It is pinned.
    Pinned,
    /// The host is new.
    New,
    /// Any key is.
    Any,
}

impl fmt::Display for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Accepted::Known(at) => write!(f, "known at {at}"),
            Accepted::Pinned => f.write_str("it is pinned"),
            Accepted::New => f.write_str("the host is new"),
            Accepted::Any => f.write_str("any key is"),
        }
    }
}

/// The decision about one host.
#[derive(Clone, Debug)]
pub struct HostKeyCheck {
    host: String,
    port: u16,
    trust: Trust,
    known: Arc<KnownHosts>,
}

impl HostKeyCheck {
    /// For a host by the name that the user typed, or its alias, with what the files say (see
    /// [`Reading`](super::Reading)).
    pub fn new(host: impl Into<String>, port: u16, trust: Trust, known: Arc<KnownHosts>) -> Self {
        HostKeyCheck { host: host.into(), port, trust, known }
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

    /// Decides about the key that the host shows and has proved to have.
    pub fn decide(&self, key: &PublicKey) -> Checked {
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
        let status = self.known.lookup(&self.host, self.port, None, key);
        Checked::Settled(match &status {
            HostKeyStatus::Match { at } => accept(Accepted::Known(at.clone())),
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

    fn unknown(&self, checking: &Checking, key: &PublicKey, status: HostKeyStatus) -> Checked {
        // A host of which other keys are known is not new.
        let is_new = matches!(&status, HostKeyStatus::Unknown(hints) if hints.unreadable.is_empty());
        let mut problem = self.problem(key, Some(status));
        let new = || NewHost::new(checking, &self.host, self.port, key).map(Box::new);
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
