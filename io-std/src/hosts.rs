use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use konko_core::crypto::{HashAlg, SigAlg};
use konko_core::hosts::{self, Hints, Known, KnownHosts, Location, Problem, Verdict, learn_line};
use konko_core::keys::{Fingerprint, PublicKey};
use konko_core::wire::SshStr;

use crate::notice::Notice;

mod file;
mod zone;

/// How a client finds out whether a host key is the right one.
///
/// The default is [`known_hosts`](Self::known_hosts): the user's and the system's files, and an
/// unknown host is an error.
#[derive(Clone)]
pub struct HostKeys(Policy);

#[derive(Clone)]
enum Policy {
    Files(KnownHostsFiles),
    Pinned(Vec<Pin>),
    Any,
}

#[derive(Clone, PartialEq, Eq)]
enum Pin {
    Key(PublicKey),
    Fingerprint(String),
}

impl HostKeys {
    /// The files `~/.ssh/known_hosts`, `~/.ssh/known_hosts2`, `/etc/ssh/ssh_known_hosts` and
    /// `/etc/ssh/ssh_known_hosts2`, checked strictly.
    pub fn known_hosts() -> KnownHostsFiles {
        KnownHostsFiles::default()
    }

    /// Only a key with this fingerprint: `SHA256:` and base64, as `ssh-keygen -l` prints it.
    pub fn pinned(fingerprint: impl Into<String>) -> Self {
        HostKeys(Policy::Pinned(vec![Pin::Fingerprint(fingerprint.into())]))
    }

    /// Only these keys.
    pub fn pinned_keys(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        HostKeys(Policy::Pinned(keys.into_iter().map(Pin::Key).collect()))
    }

    /// Any key at all. Whoever sits on the way to the host can read and change everything, passwords
    /// included; for tests only.
    pub fn insecure_accept_any() -> Self {
        HostKeys(Policy::Any)
    }

    /// Looks up what is known about a host.
    pub(crate) fn known(&self, host: &str, port: u16) -> Lookup {
        let known = match &self.0 {
            Policy::Files(files) => file::load(files.user.iter().chain(&files.global)),
            _ => KnownHosts::new(),
        };
        Lookup { policy: self.0.clone(), known, host: zone::named(host).into_owned(), port }
    }
}

impl Default for HostKeys {
    fn default() -> Self {
        Self::known_hosts().into()
    }
}

impl fmt::Debug for HostKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Policy::Files(files) => files.fmt(f),
            Policy::Pinned(pins) => write!(f, "HostKeys({} pinned)", pins.len()),
            Policy::Any => f.write_str("HostKeys(any)"),
        }
    }
}

/// Host keys by known_hosts files; see [`HostKeys::known_hosts`].
#[derive(Clone)]
pub struct KnownHostsFiles {
    user: Vec<PathBuf>,
    global: Vec<PathBuf>,
    unknown: Unknown,
    tolerate_changed: bool,
    hash: bool,
}

#[derive(Clone)]
enum Unknown {
    Refuse,
    AcceptNew,
    Ask(Arc<dyn Fn(&UnknownHost<'_>) -> Answer + Send + Sync>),
}

impl Default for KnownHostsFiles {
    fn default() -> Self {
        let ssh = std::env::home_dir().unwrap_or_default().join(".ssh");
        KnownHostsFiles {
            user: vec![ssh.join("known_hosts"), ssh.join("known_hosts2")],
            global: ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"].map(PathBuf::from).into(),
            unknown: Unknown::Refuse,
            tolerate_changed: false,
            hash: false,
        }
    }
}

impl KnownHostsFiles {
    /// Other files of the user; new hosts are added to the first.
    #[must_use]
    pub fn user_files(mut self, files: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        self.user = files.into_iter().map(Into::into).collect();
        self
    }

    /// Other files of the system.
    #[must_use]
    pub fn global_files(mut self, files: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        self.global = files.into_iter().map(Into::into).collect();
        self
    }

    /// A host that is not known at all is accepted and added. A changed key is refused still.
    #[must_use]
    pub fn accept_new(mut self) -> Self {
        self.unknown = Unknown::AcceptNew;
        self
    }

    /// Somebody is asked about a host that is not known. Called from the thread that connects.
    #[must_use]
    pub fn prompt(mut self, ask: impl Fn(&UnknownHost<'_>) -> Answer + Send + Sync + 'static) -> Self {
        self.unknown = Unknown::Ask(Arc::new(ask));
        self
    }

    /// Goes on even when the key has changed, with a warning (`StrictHostKeyChecking no`). Whoever
    /// sits on the way can then read everything: send no password. A revoked key is refused still.
    #[must_use]
    pub fn insecure_accept_changed(mut self) -> Self {
        self.tolerate_changed = true;
        self
    }

    /// Adds new hosts under a hash of their name (`HashKnownHosts`).
    #[must_use]
    pub fn hash_names(mut self, hash: bool) -> Self {
        self.hash = hash;
        self
    }
}

impl From<KnownHostsFiles> for HostKeys {
    fn from(files: KnownHostsFiles) -> Self {
        HostKeys(Policy::Files(files))
    }
}

impl fmt::Debug for KnownHostsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownHostsFiles").field("user", &self.user).field("global", &self.global).finish()
    }
}

/// The question about a host that is not known.
#[derive(Debug)]
pub struct UnknownHost<'a> {
    /// The name that was connected to.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// The key that the host showed, and proved to have.
    pub key: &'a PublicKey,
    /// Keys of other types that are known for the host. If there are any, it is not a new host.
    pub other: &'a [Known],
    /// What else was seen in the files.
    pub hints: &'a Hints,
    /// Where else this very key is known.
    pub elsewhere: Vec<Location>,
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
    pub file: Option<PathBuf>,
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
                    write!(f, ", then add the key to {}", file.display())?;
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

/// What the files say about one host.
pub(crate) struct Lookup {
    policy: Policy,
    known: KnownHosts,
    host: String,
    port: u16,
}

impl Lookup {
    /// The algorithms of the keys that are known, to be asked for first (U-08).
    pub(crate) fn algorithms(&self) -> Vec<SigAlg> {
        match &self.policy {
            Policy::Files(_) => self.known.known_algorithms(&self.host, self.port),
            Policy::Pinned(pins) => {
                let keys = pins.iter().filter_map(|p| if let Pin::Key(k) = p { Some(k) } else { None });
                keys.flat_map(|k| k.sig_algs()).copied().collect()
            }
            Policy::Any => Vec::new(),
        }
    }

    /// Decides about the key that the host shows.
    pub(crate) fn check(
        &self,
        key: &PublicKey,
        notice: &mut dyn FnMut(Notice),
    ) -> Result<(), Box<HostKeyProblem>> {
        self.warn(notice);
        let fingerprint = key.fingerprint(HashAlg::Sha256);
        let files = match &self.policy {
            Policy::Any => {
                notice(Notice::HostKeyAccepted("any key is".into()));
                return Ok(());
            }
            Policy::Pinned(pins) => {
                let text = fingerprint.to_string();
                let same = |pin: &Pin| match pin {
                    Pin::Key(pinned) => pinned == key,
                    Pin::Fingerprint(pinned) => pinned.trim_end_matches('=') == text,
                };
                if pins.iter().any(same) {
                    notice(Notice::HostKeyAccepted("it is pinned".into()));
                    return Ok(());
                }
                return Err(self.problem(key, None, false));
            }
            Policy::Files(files) => files,
        };
        let verdict = self.known.lookup(&self.host, self.port, None, key);
        match &verdict {
            Verdict::Match { at } => {
                notice(Notice::HostKeyAccepted(format!("known at {at}")));
                Ok(())
            }
            Verdict::Unknown(hints) => self.unknown(files, key, &[], hints, verdict.clone(), notice),
            Verdict::OtherTypeKnown { known } => {
                self.unknown(files, key, known, &Hints::default(), verdict.clone(), notice)
            }
            Verdict::Changed { .. } if files.tolerate_changed => {
                notice(Notice::HostKeyTolerated(self.problem(key, Some(verdict), false)));
                Ok(())
            }
            Verdict::Changed { .. } | Verdict::Revoked { .. } | Verdict::Unreadable { .. } => {
                Err(self.problem(key, Some(verdict), false))
            }
        }
    }

    /// Says which lines are damaged. Keys of types we do not have are no damage.
    fn warn(&self, notice: &mut dyn FnMut(Notice)) {
        const SHOWN: usize = 3;
        let mut lines = self.known.warnings();
        lines.retain(|warning| warning.problem != Problem::UnknownType);
        for warning in lines.iter().take(SHOWN) {
            notice(Notice::Warning(warning.to_string()));
        }
        if let Some(rest) = lines.len().checked_sub(SHOWN).filter(|rest| *rest > 0) {
            notice(Notice::Warning(format!("{rest} more lines of known hosts are damaged")));
        }
    }

    fn unknown(
        &self,
        files: &KnownHostsFiles,
        key: &PublicKey,
        other: &[Known],
        hints: &Hints,
        verdict: Verdict,
        notice: &mut dyn FnMut(Notice),
    ) -> Result<(), Box<HostKeyProblem>> {
        let answer = match &files.unknown {
            // A host of which other keys are known is not new.
            Unknown::AcceptNew if other.is_empty() && hints.unreadable.is_empty() => Answer::Remember,
            Unknown::AcceptNew if files.tolerate_changed => Answer::Once,
            Unknown::AcceptNew | Unknown::Refuse => return Err(self.problem(key, Some(verdict), false)),
            Unknown::Ask(ask) => ask(&UnknownHost {
                host: &self.host,
                port: self.port,
                key,
                other,
                hints,
                elsewhere: self.known.locations_of(key),
            }),
        };
        if answer == Answer::Refuse {
            return Err(self.problem(key, Some(verdict), true));
        }
        notice(Notice::HostKeyAccepted("the host is new".into()));
        let file = files.user.first().filter(|_| answer == Answer::Remember);
        if let Some(file) = file {
            match self.learn(file, key, files.hash) {
                Ok(()) => notice(Notice::Warning(format!(
                    "permanently added {} ({}) to {}",
                    hosts::canonical(&self.host, self.port),
                    key.key_type(),
                    file.display()
                ))),
                Err(e) => {
                    notice(Notice::Warning(format!(
                        "the host could not be added to {}: {e}",
                        file.display()
                    )));
                }
            }
        }
        Ok(())
    }

    fn problem(&self, key: &PublicKey, verdict: Option<Verdict>, asked: bool) -> Box<HostKeyProblem> {
        let file = match &self.policy {
            Policy::Files(files) => files.user.first().cloned(),
            _ => None,
        };
        Box::new(HostKeyProblem {
            host: hosts::canonical(&self.host, self.port),
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

    fn learn(&self, file: &Path, key: &PublicKey, hash: bool) -> io::Result<()> {
        let mut salt = [0; 20];
        if hash {
            getrandom::fill(&mut salt).map_err(|e| io::Error::other(e.to_string()))?;
        }
        let line = learn_line(&self.host, self.port, key, hash.then_some(salt)).map_err(io::Error::other)?;
        file::append(file, &line)
    }
}
