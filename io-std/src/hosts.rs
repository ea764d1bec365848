use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use konko_core::crypto::SigAlg;
use konko_core::hosts::{
    Answer, Checking, Decision, HostKeyCheck, HostKeyProblem, KnownHosts, Pin, Settled, Trust, Unknown,
    UnknownHost,
};
use konko_core::keys::PublicKey;

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
    pub(crate) fn known(&self, host: &str, port: u16) -> Lookup<'_> {
        let (known, trust, files) = match &self.0 {
            Policy::Files(files) => {
                let known = file::load(files.user.iter().chain(&files.global));
                (known, Trust::KnownHosts(files.checking()), Some(files))
            }
            Policy::Pinned(pins) => (KnownHosts::new(), Trust::Pinned(pins.clone()), None),
            Policy::Any => (KnownHosts::new(), Trust::Any, None),
        };
        let check = HostKeyCheck::new(zone::named(host), port, trust, Arc::new(known));
        Lookup { check, files }
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

type Ask = Arc<dyn Fn(&UnknownHost) -> Answer + Send + Sync>;

/// Host keys by known_hosts files; see [`HostKeys::known_hosts`].
#[derive(Clone)]
pub struct KnownHostsFiles {
    user: Vec<PathBuf>,
    global: Vec<PathBuf>,
    unknown: Unknown,
    ask: Option<Ask>,
    tolerate_changed: bool,
    hash: bool,
}

impl Default for KnownHostsFiles {
    fn default() -> Self {
        let ssh = std::env::home_dir().unwrap_or_default().join(".ssh");
        KnownHostsFiles {
            user: vec![ssh.join("known_hosts"), ssh.join("known_hosts2")],
            global: ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"].map(PathBuf::from).into(),
            unknown: Unknown::Refuse,
            ask: None,
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
    pub fn prompt(mut self, ask: impl Fn(&UnknownHost) -> Answer + Send + Sync + 'static) -> Self {
        self.unknown = Unknown::Ask;
        self.ask = Some(Arc::new(ask));
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

    fn checking(&self) -> Checking {
        let mut checking = Checking::default();
        checking.unknown = self.unknown;
        checking.tolerate_changed = self.tolerate_changed;
        checking.hash_names = self.hash;
        checking.file = self.user.first().map(|file| file.display().to_string());
        checking
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

/// What the files say about one host.
pub(crate) struct Lookup<'h> {
    check: HostKeyCheck,
    files: Option<&'h KnownHostsFiles>,
}

impl Lookup<'_> {
    /// The algorithms of the keys that are known, to be asked for first (U-08).
    pub(crate) fn algorithms(&self) -> Vec<SigAlg> {
        self.check.algorithms()
    }

    /// Decides about the key that the host shows.
    pub(crate) fn check(
        &self,
        key: &PublicKey,
        notice: &mut dyn FnMut(Notice),
    ) -> Result<(), Box<HostKeyProblem>> {
        self.check.warnings().into_iter().for_each(|warning| notice(Notice::Warning(warning)));
        let settled = match self.check.decide(key) {
            Decision::Settled(settled) => settled,
            Decision::Ask(unknown) => {
                let ask = self.files.and_then(|files| files.ask.as_ref());
                let answer = ask.map_or(Answer::Refuse, |ask| ask(&unknown));
                self.check.answered(*unknown, answer)
            }
        };
        match settled {
            Settled::Accept { why, remember } => {
                notice(Notice::HostKeyAccepted(why.to_string()));
                let file = self.files.and_then(|files| files.user.first()).filter(|_| remember);
                if let Some(file) = file {
                    let shown = file.display();
                    notice(Notice::Warning(match self.learn(file, key) {
                        Ok(()) => {
                            let name = self.check.name();
                            format!("permanently added {name} ({}) to {shown}", key.key_type())
                        }
                        Err(e) => format!("the host could not be added to {shown}: {e}"),
                    }));
                }
                Ok(())
            }
            Settled::Tolerate(problem) => {
                notice(Notice::HostKeyTolerated(problem));
                Ok(())
            }
            Settled::Refuse(problem) => Err(problem),
        }
    }

    fn learn(&self, file: &Path, key: &PublicKey) -> io::Result<()> {
        let mut salt = [0; 20];
        getrandom::fill(&mut salt).map_err(|e| io::Error::other(e.to_string()))?;
        file::append(file, &self.check.line(key, salt).map_err(io::Error::other)?)
    }
}
