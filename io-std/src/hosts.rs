use std::fmt;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use konko_core::hosts::{
    Answer, Checked, Checking, HostAuthorities, HostKeyChanges, HostKeyCheck, HostKeyProblem, NewHost, Pin,
    Settled, Trust, Unknown, UnknownHost, UpdateHostKeys,
};
use konko_core::keys::{PublicKey, SignatureAlgorithm};
use konko_core::wire::SshStr;

use crate::known_hosts;
use crate::notice::Notice;

mod update;
mod zone;

pub(crate) use update::{AskChanges, Updater};

/// How a client finds out whether a host key is the right one.
///
/// The default is [`known_hosts`](Self::known_hosts): the user's and the system's files, and an
/// unknown host is an error.
#[derive(Clone)]
pub struct HostKeys {
    trust: Trust,
    ask: Option<Ask>,
    ask_changes: Option<AskChanges>,
    authority_algorithms: Option<Vec<SignatureAlgorithm>>,
}

impl HostKeys {
    /// The files `~/.ssh/known_hosts`, `~/.ssh/known_hosts2`, `/etc/ssh/ssh_known_hosts` and
    /// `/etc/ssh/ssh_known_hosts2`, checked strictly.
    pub fn known_hosts() -> KnownHostsFiles {
        KnownHostsFiles::default()
    }

    /// Only a key with this fingerprint: `SHA256:` and base64, as `ssh-keygen -l` prints it.
    pub fn pinned(fingerprint: impl Into<String>) -> Self {
        Self::of(Trust::Pinned(vec![Pin::Fingerprint(fingerprint.into())]))
    }

    /// Only these keys.
    pub fn pinned_keys(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        Self::of(Trust::Pinned(keys.into_iter().map(Pin::Key).collect()))
    }

    /// Any key at all. Whoever sits on the way to the host can read and change everything, passwords
    /// included; for tests only.
    pub fn insecure_accept_any() -> Self {
        Self::of(Trust::Any)
    }

    fn of(trust: Trust) -> Self {
        HostKeys { trust, ask: None, ask_changes: None, authority_algorithms: None }
    }

    pub(crate) fn ask_changes(&self) -> Option<AskChanges> {
        self.ask_changes.clone()
    }

    /// Looks up what is known about a host, by its name and port, as it is connected to.
    pub fn lookup(&self, host: &str, port: u16) -> HostLookup<'_> {
        let host = zone::named(host);
        let known = Arc::new(known_hosts::load_for(&self.trust, &host, port, None));
        let check = HostKeyCheck::new(&*host, port, self.trust.clone(), known);
        let mut authorities = HostAuthorities::default();
        authorities.now =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().map(|now| now.as_secs());
        authorities.algorithms = self.authority_algorithms.clone();
        let check = check.authorities(authorities);
        HostLookup { check, ask: self.ask.as_ref(), trust: &self.trust, host: host.into_owned(), port }
    }
}

impl Default for HostKeys {
    fn default() -> Self {
        Self::known_hosts().into()
    }
}

impl fmt::Debug for HostKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.trust.fmt(f)
    }
}

type Ask = Arc<dyn Fn(&UnknownHost) -> Answer + Send + Sync>;

/// Host keys by known_hosts files; see [`HostKeys::known_hosts`].
#[derive(Clone)]
pub struct KnownHostsFiles {
    checking: Checking,
    ask: Option<Ask>,
    ask_changes: Option<AskChanges>,
    authority_algorithms: Option<Vec<SignatureAlgorithm>>,
}

impl Default for KnownHostsFiles {
    fn default() -> Self {
        let home = bytes(std::env::home_dir().unwrap_or_default());
        let checking = Checking::of_home(&home);
        KnownHostsFiles { checking, ask: None, ask_changes: None, authority_algorithms: None }
    }
}

impl KnownHostsFiles {
    /// Other files of the user; new hosts are added to the first.
    #[must_use]
    pub fn user_files(mut self, files: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        self.checking.user_files = files.into_iter().map(bytes).collect();
        self.checking.update_host_keys = UpdateHostKeys::No;
        self
    }

    /// Other files of the system.
    #[must_use]
    pub fn global_files(mut self, files: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        self.checking.global_files = files.into_iter().map(bytes).collect();
        self
    }

    /// A host that is not known at all is accepted and added. A changed key is refused still.
    #[must_use]
    pub fn accept_new(mut self) -> Self {
        self.checking.unknown = Unknown::AcceptNew;
        self
    }

    /// Somebody is asked about a host that is not known. Called from the thread that connects.
    #[must_use]
    pub fn prompt(mut self, ask: impl Fn(&UnknownHost) -> Answer + Send + Sync + 'static) -> Self {
        self.checking.unknown = Unknown::Ask;
        self.ask = Some(Arc::new(ask));
        self
    }

    /// Goes on even when the key has changed, with a warning (`StrictHostKeyChecking no`). Whoever
    /// sits on the way can then read everything: send no password. A revoked key is refused still.
    #[must_use]
    pub fn insecure_accept_changed(mut self) -> Self {
        self.checking.tolerate_changed = true;
        self
    }

    /// Files of keys that are revoked whatever host shows them (`RevokedHostKeys`): key revocation lists, or one key a
    /// line. One that is missing or cannot be read refuses every host.
    #[must_use]
    pub fn revoked_host_keys(mut self, files: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        self.checking.revoked_host_keys = files.into_iter().map(bytes).collect();
        self
    }

    /// A program, by its path, that prints lines of known hosts, and its arguments (`KnownHostsCommand`). In them `%H`,
    /// `%I`, `%t`, `%f`, `%K` and `%%` stand for what they do in ssh_config(5), TOKENS. It is run before the connection
    /// is made, and once more for the key that the host shows. If it fails, every host is refused.
    #[must_use]
    pub fn known_hosts_command(mut self, words: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        self.checking.known_hosts_command = Some(words.into_iter().map(bytes).collect());
        self
    }

    /// The host's address is checked and remembered too (`CheckHostIP`).
    #[must_use]
    pub fn check_host_ip(mut self, check: bool) -> Self {
        self.checking.check_host_ip = check;
        self
    }

    /// What is done when the host tells which keys it has (`UpdateHostKeys`): with the user's usual files they are
    /// updated, with others they are not, unless it is said here.
    #[must_use]
    pub fn update_host_keys(mut self, update: UpdateHostKeys) -> Self {
        self.checking.update_host_keys = update;
        self
    }

    /// Somebody is asked before the user's files are changed because the host has other keys now (`UpdateHostKeys
    /// ask`). Called from a thread of its own, while the connection is in use.
    #[must_use]
    pub fn ask_to_update(mut self, ask: impl Fn(&HostKeyChanges) -> bool + Send + Sync + 'static) -> Self {
        self.checking.update_host_keys = UpdateHostKeys::Ask;
        self.ask_changes = Some(Arc::new(ask));
        self
    }

    /// With what the authorities of hosts may sign (`CASignatureAlgorithms`): [`SignatureAlgorithm::of_authorities`] unless
    /// it is said.
    #[must_use]
    pub fn authority_algorithms(mut self, algorithms: impl IntoIterator<Item = SignatureAlgorithm>) -> Self {
        self.authority_algorithms = Some(algorithms.into_iter().collect());
        self
    }

    /// Adds new hosts under a hash of their name (`HashKnownHosts`).
    #[must_use]
    pub fn hash_names(mut self, hash: bool) -> Self {
        self.checking.hash_names = hash;
        self
    }
}

fn bytes(path: impl Into<PathBuf>) -> Vec<u8> {
    path.into().into_os_string().into_vec()
}

impl From<KnownHostsFiles> for HostKeys {
    fn from(files: KnownHostsFiles) -> Self {
        let trust = Trust::KnownHosts(files.checking);
        HostKeys {
            trust,
            ask: files.ask,
            ask_changes: files.ask_changes,
            authority_algorithms: files.authority_algorithms,
        }
    }
}

impl fmt::Debug for KnownHostsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.checking.fmt(f)
    }
}

/// What is known about one host, for whoever drives a connection of the core without [`Client`](crate::Client): an
/// event loop, an async runtime.
pub struct HostLookup<'h> {
    check: HostKeyCheck,
    ask: Option<&'h Ask>,
    trust: &'h Trust,
    host: String,
    port: u16,
}

impl fmt::Debug for HostLookup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.check.fmt(f)
    }
}

impl HostLookup<'_> {
    /// The algorithms of the keys that are known, to be asked for first: give them to
    /// [`prefer_host_keys`](crate::Algorithms::prefer_host_keys).
    pub fn algorithms(&self) -> Vec<SignatureAlgorithm> {
        self.check.algorithms()
    }

    /// The numeric address that was connected to, for [`check_host_ip`](KnownHostsFiles::check_host_ip): not that of a
    /// proxy.
    #[must_use]
    pub fn address(mut self, address: IpAddr) -> Self {
        self.check = self.check.address(address);
        self
    }

    /// Decides about the key that the host shows, asks a person if that is wanted, and remembers a new host.
    ///
    /// # Errors
    /// Why it is not the right one.
    pub fn check(&self, key: &PublicKey, notice: &mut dyn FnMut(Notice)) -> Result<(), Box<HostKeyProblem>> {
        self.settle(key, notice).map(|_| ())
    }

    /// The same, and what an update of the host's keys needs.
    pub(crate) fn settle(
        &self,
        key: &PublicKey,
        notice: &mut dyn FnMut(Notice),
    ) -> Result<(HostKeyCheck, Settled), Box<HostKeyProblem>> {
        self.check.warnings().into_iter().for_each(|warning| notice(Notice::Warning(warning)));
        let mut check = self.check.clone();
        if matches!(self.trust, Trust::KnownHosts(checking) if checking.known_hosts_command.is_some()) {
            let known = known_hosts::load_for(self.trust, &self.host, self.port, Some(key));
            check = check.known(Arc::new(known));
        }
        let settled = match check.decide(key) {
            Checked::Settled(settled) => settled,
            Checked::Ask(unknown) => {
                let answer = self.ask.map_or(Answer::Reject, |ask| ask(&unknown));
                unknown.answer(answer)
            }
        };
        match &settled {
            Settled::Accept { why, remember } => {
                notice(Notice::HostKeyAccepted(why.to_string()));
                if let Some(new) = remember {
                    notice(Notice::Warning(learn(new)));
                }
            }
            Settled::Tolerate(problem) => notice(Notice::HostKeyTolerated(problem.clone())),
            Settled::Reject(problem) => return Err(problem.clone()),
        }
        Ok((check, settled))
    }
}

/// Remembers a host, and says so.
fn learn(new: &NewHost) -> String {
    let file = SshStr::new(new.file());
    match known_hosts::append(new) {
        Ok(()) => format!("permanently added {new} to {file}"),
        Err(e) => format!("the host could not be added to {file}: {e}"),
    }
}
