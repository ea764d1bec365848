//! Whether to believe a host: what is known about it, what its key is, and what a person says.
//!
//! ```
//! # use std::sync::Arc;
//! # use konko_core::hosts::{Answer, Decision, HostKeyCheck, KnownHosts, Settled, Trust};
//! # use konko_core::keys::PublicKey;
//! # fn connected(host: &str, key: &PublicKey, files: Arc<KnownHosts>, append: impl Fn(&str)) -> bool {
//! let check = HostKeyCheck::new(host, 22, Trust::default(), files);
//! // Before the connection is made: `prefer_host_keys(&check.algorithms())`. Then, for the key it shows:
//! let settled = match check.decide(key) {
//!     Decision::Settled(settled) => settled,
//!     Decision::Ask(unknown) => {
//!         println!("{} is not known; its key is {}", unknown.host, unknown.fingerprint());
//!         check.answered(*unknown, Answer::Refuse)
//!     }
//! };
//! match settled {
//!     Settled::Accept { remember, .. } => {
//!         if remember && let Ok(line) = check.line(key, [0; 20]) {
//!             append(&line);
//!         }
//!         true
//!     }
//!     Settled::Tolerate(problem) => {
//!         eprintln!("warning: {problem}");
//!         true
//!     }
//!     Settled::Refuse(problem) => {
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

use super::{BadHostName, Hints, Known, KnownHosts, Problem, Verdict, canonical, learn_line};
use crate::crypto::{HashAlg, SigAlg};
use crate::keys::{Fingerprint, PublicKey};
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
    /// Known hosts, and a host that is not known is refused.
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
    /// The file that new hosts go into, as a person knows it.
    pub file: Option<String>,
}

/// What is done about a host that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// It is refused.
    #[default]
    Refuse,
    /// It is believed and remembered, if no other key of it is known.
    AcceptNew,
    /// A person is asked.
    Ask,
}

/// The question about a host that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownHost {
    /// The name that was connected to.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The key that the host showed, and proved to have.
    pub key: PublicKey,
    /// Keys of other types that are known for the host. If there are any, it is not a new host.
    pub other: Vec<Known>,
    /// What else was seen in the files.
    pub hints: Hints,
    /// Where else this very key is known.
    pub elsewhere: Vec<Location>,
}

impl UnknownHost {
    /// The key's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        self.key.fingerprint(HashAlg::Sha256)
    }
}

/// The answer to [`UnknownHost`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not this key.
    Refuse,
    /// This key, this time.
    Once,
    /// This key, from now on.
    Remember,
}

/// What is to be done about a host key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// This.
    Settled(Settled),
    /// A person has to say; [`HostKeyCheck::answered`] then.
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
        /// Append what [`HostKeyCheck::line`] makes to the first file of the user.
        remember: bool,
    },
    /// It is, although it has changed; a person should see this.
    Tolerate(Box<HostKeyProblem>),
    /// It is not, and this is why.
    Refuse(Box<HostKeyProblem>),
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
    /// For a host by the name that the user typed, or its alias, with what the files say:
    /// [`KnownHosts::add_file`] for each that was read, [`KnownHosts::add_unreadable`] for each that is there
    /// and could not be read whole.
    pub fn new(host: impl Into<String>, port: u16, trust: Trust, known: Arc<KnownHosts>) -> Self {
        HostKeyCheck { host: host.into(), port, trust, known }
    }

    /// The algorithms of the keys that are known, to be asked for first.
    pub fn algorithms(&self) -> Vec<SigAlg> {
        match &self.trust {
            Trust::KnownHosts(_) => self.known.known_algorithms(&self.host, self.port),
            Trust::Pinned(pins) => {
                let keys = pins.iter().filter_map(|p| if let Pin::Key(k) = p { Some(k) } else { None });
                keys.flat_map(|k| k.sig_algs()).copied().collect()
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
    pub fn decide(&self, key: &PublicKey) -> Decision {
        let checking = match &self.trust {
            Trust::Any => return Decision::Settled(accept(Accepted::Any)),
            Trust::Pinned(pins) => {
                let text = key.fingerprint(HashAlg::Sha256).to_string();
                let same = |pin: &Pin| match pin {
                    Pin::Key(pinned) => pinned == key,
                    Pin::Fingerprint(pinned) => pinned.trim_end_matches('=') == text,
                };
                let pinned = pins.iter().any(same);
                return Decision::Settled(match pinned {
                    true => accept(Accepted::Pinned),
                    false => self.refuse(key, None, false),
                });
            }
            Trust::KnownHosts(checking) => checking,
        };
        let verdict = self.known.lookup(&self.host, self.port, None, key);
        Decision::Settled(match &verdict {
            Verdict::Match { at } => accept(Accepted::Known(at.clone())),
            Verdict::Changed { .. } if checking.tolerate_changed => {
                Settled::Tolerate(self.problem(key, Some(verdict), false))
            }
            Verdict::Changed { .. } | Verdict::Revoked { .. } | Verdict::Unreadable { .. } => {
                self.refuse(key, Some(verdict), false)
            }
            Verdict::Unknown(_) | Verdict::OtherTypeKnown { .. } => {
                return self.unknown(checking, key, verdict);
            }
        })
    }

    fn unknown(&self, checking: &Checking, key: &PublicKey, verdict: Verdict) -> Decision {
        let (other, hints) = match &verdict {
            Verdict::Unknown(hints) => (Vec::new(), hints.clone()),
            Verdict::OtherTypeKnown { known } => (known.clone(), Hints::default()),
            _ => return Decision::Settled(self.refuse(key, Some(verdict), false)),
        };
        Decision::Settled(match checking.unknown {
            // A host of which other keys are known is not new.
            Unknown::AcceptNew if other.is_empty() && hints.unreadable.is_empty() => {
                Settled::Accept { why: Accepted::New, remember: true }
            }
            Unknown::AcceptNew if checking.tolerate_changed => accept(Accepted::New),
            Unknown::AcceptNew | Unknown::Refuse => self.refuse(key, Some(verdict), false),
            Unknown::Ask => {
                return Decision::Ask(Box::new(UnknownHost {
                    host: self.host.clone(),
                    port: self.port,
                    key: key.clone(),
                    other,
                    hints,
                    elsewhere: self.known.locations_of(key),
                }));
            }
        })
    }

    /// What is to be done after a person has answered.
    pub fn answered(&self, unknown: UnknownHost, answer: Answer) -> Settled {
        match answer {
            Answer::Remember => Settled::Accept { why: Accepted::New, remember: true },
            Answer::Once => accept(Accepted::New),
            Answer::Refuse => {
                let verdict = if unknown.other.is_empty() {
                    Verdict::Unknown(unknown.hints)
                } else {
                    Verdict::OtherTypeKnown { known: unknown.other }
                };
                self.refuse(&unknown.key, Some(verdict), true)
            }
        }
    }

    /// The line for a host that is to be remembered, without a line feed; see [`learn_line`]. The salt, 20
    /// random bytes, is used if names are hashed.
    ///
    /// # Errors
    /// [`BadHostName`] for a name that would mean something else in the file.
    pub fn line(&self, key: &PublicKey, salt: [u8; 20]) -> Result<String, BadHostName> {
        let hashed = matches!(&self.trust, Trust::KnownHosts(checking) if checking.hash_names);
        learn_line(&self.host, self.port, key, hashed.then_some(salt))
    }

    /// The host as it is written into a file.
    pub fn name(&self) -> String {
        canonical(&self.host, self.port)
    }

    fn refuse(&self, key: &PublicKey, verdict: Option<Verdict>, asked: bool) -> Settled {
        Settled::Refuse(self.problem(key, verdict, asked))
    }

    fn problem(&self, key: &PublicKey, verdict: Option<Verdict>, asked: bool) -> Box<HostKeyProblem> {
        let file = match &self.trust {
            Trust::KnownHosts(checking) => checking.file.clone(),
            _ => None,
        };
        Box::new(HostKeyProblem {
            host: self.name(),
            key_type: key.key_type(),
            fingerprint: key.fingerprint(HashAlg::Sha256),
            asked,
            elsewhere: match &verdict {
                Some(Verdict::Revoked { .. } | Verdict::Unreadable { .. }) => Vec::new(),
                _ => self.known.locations_of(key),
            },
            verdict,
            file,
        })
    }
}

fn accept(why: Accepted) -> Settled {
    Settled::Accept { why, remember: false }
}

/// Why a host key was not accepted. `Display` says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostKeyProblem {
    /// The name under which it was looked up.
    pub host: String,
    /// The key's type.
    pub key_type: &'static str,
    /// The key's fingerprint.
    pub fingerprint: Fingerprint,
    /// What known_hosts says; `None` for a key that is not the pinned one.
    pub verdict: Option<Verdict>,
    /// Somebody was asked and said no.
    pub asked: bool,
    /// Where else this very key is known.
    pub elsewhere: Vec<Location>,
    /// The file that a new host belongs into.
    pub file: Option<String>,
}

impl fmt::Display for HostKeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key_type, fingerprint) = (self.key_type, &self.fingerprint);
        let host = SshStr::new(self.host.as_bytes());
        match &self.verdict {
            None => {
                write!(f, "the host key is not the pinned one: the host shows {key_type} {fingerprint}")?;
            }
            Some(Verdict::Revoked { at }) => write!(
                f,
                "REVOKED HOST KEY: {at} says that nobody may use the key {key_type} {fingerprint} any more.\n\
                 Somebody else may have it and be listening. Ask the administrator of {host}; do not connect."
            )?,
            Some(Verdict::Unreadable { what }) => write!(
                f,
                "nobody can tell whether the host key is revoked. {what}.\n\
                 Mend or remove it, or name other files of known hosts: until then no host key is trusted. \
                 The host shows {key_type} {fingerprint}."
            )?,
            Some(Verdict::Changed { known }) => {
                write!(
                    f,
                    "THE HOST KEY HAS CHANGED. Somebody may be listening, or the host has new keys.\n  \
                     the host shows  {key_type} {fingerprint}"
                )?;
                write_known(f, known)?;
                write!(
                    f,
                    "\nAsk the administrator of {host} for the right fingerprint. \
                     If it is the one shown, remove the lines named above."
                )?;
            }
            Some(Verdict::OtherTypeKnown { known }) => {
                write!(
                    f,
                    "the host shows a key of a type that is not known for it: {key_type} {fingerprint}"
                )?;
                write_known(f, known)?;
                write!(f, "\nCompare it with what the administrator of {host} says, then add it.")?;
            }
            Some(_) if self.asked => {
                write!(f, "the host key {key_type} {fingerprint} was not confirmed")?;
            }
            Some(_) => {
                writeln!(
                    f,
                    "the host key is not known, and nobody can be asked: it is {key_type} {fingerprint}."
                )?;
                write!(f, "Compare that with what the administrator of {host} says")?;
                if let Some(file) = &self.file {
                    write!(f, ", then add the key to {}", SshStr::new(file.as_bytes()))?;
                }
                f.write_str(" (ssh-keyscan prints the line)")?;
            }
        }
        for at in &self.elsewhere {
            write!(f, "\n  this key is known for another name at {at}")?;
        }
        Ok(())
    }
}

fn write_known(f: &mut fmt::Formatter<'_>, known: &[Known]) -> fmt::Result {
    for k in known {
        let kind = SshStr::new(k.key_type.as_bytes());
        match &k.fingerprint {
            Some(fingerprint) => write!(f, "\n  known is        {kind} {fingerprint} at {}", k.at)?,
            None => write!(f, "\n  known is        {kind} at {}", k.at)?,
        }
    }
    Ok(())
}
