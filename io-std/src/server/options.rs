use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use konko_core::admission::AdmissionLimits;
use konko_core::auth::MethodSet;
use konko_core::channel::WindowConfig;
use konko_core::crypto::Provider;
use konko_core::error::Phase;
use konko_core::keys::{Certificate, CertificateKind, KeyPair, KeyType, PrivateKey};
use konko_core::session::SessionRules;
use konko_core::transport::limits::{Limits, RekeyLimit};
use konko_core::transport::negotiate::{Algorithms, Policy};
use konko_core::transport::{Keepalive, Moduli};
use konko_core::{Rng, ServerConfig, TransportConfig};

use crate::error::{Error, ErrorKind};
use crate::notice::Notice;

/// How a server speaks, and how much it takes. The default is safe; only the host key is missing.
#[derive(Clone)]
pub struct ServerOptions {
    pub(super) transport: TransportConfig,
    pub(super) host_keys: Vec<Arc<KeyPair>>,
    pub(super) window: WindowConfig,
    pub(super) methods: Option<MethodSet>,
    pub(super) banner: Option<String>,
    pub(super) admission: AdmissionLimits,
    pub(super) sessions: SessionRules,
    pub(super) unused_timeout: Option<Duration>,
    pub(super) stall_timeout: Option<Duration>,
    pub(super) on_notice: Option<ServerObserver>,
    /// Clients are not told which keys there are.
    pub(super) keeps_host_keys: bool,
}

pub(super) type ServerObserver = Arc<dyn Fn(&ServerNotice<'_>) + Send + Sync>;

/// A [`Notice`] of a server, with the connection it is about. `Display` is a line for a log.
#[derive(Debug)]
#[non_exhaustive]
pub struct ServerNotice<'n> {
    /// The connection's number; `None` if it was not let in, or concerns none.
    pub connection: Option<u64>,
    /// Who it is from: an address and port, or a word for a pipe.
    pub peer: &'n str,
    /// Where the connection was when it happened.
    pub phase: Phase,
    /// What happened.
    pub notice: &'n Notice,
}

impl fmt::Display for ServerNotice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.connection {
            Some(id) => write!(f, "#{id} {} {}: {}", self.peer, self.phase, self.notice),
            None => write!(f, "-- {}: {}", self.peer, self.notice),
        }
    }
}

impl ServerOptions {
    /// The defaults with these host keys, of which there must be at least one; several of different
    /// types let more clients in.
    pub fn new(host_keys: impl IntoIterator<Item = Arc<KeyPair>>) -> Self {
        ServerOptions {
            transport: transport(TransportConfig::new(konko_core::provider::best())),
            host_keys: host_keys.into_iter().collect(),
            window: WindowConfig::default(),
            methods: None,
            banner: None,
            admission: AdmissionLimits::default(),
            sessions: SessionRules::default(),
            unused_timeout: Some(Duration::from_secs(600)),
            stall_timeout: Some(Duration::from_secs(120)),
            on_notice: None,
            keeps_host_keys: false,
        }
    }

    /// The defaults with the host key in a file, which is made if there is none: see [`host_key`](super::host_key()).
    ///
    /// # Errors
    /// `Local`, with what is wrong with the file.
    pub fn with_host_key_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self::new([super::host_key(path)?]))
    }

    /// The defaults with a host key made now. Clients that have seen another will not like it: keep
    /// a key in a file for everything but tests and demonstrations.
    ///
    /// # Errors
    /// `Local` if the system has no random numbers.
    pub fn with_new_key() -> Result<Self, Error> {
        let local = |text: String| Error::new(ErrorKind::Local(text), &Arc::from(""));
        let seed = crate::seed_from_os().map_err(|e| local(e.to_string()))?;
        let pair = PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&seed))
            .and_then(|key| Ok(key.key_pair(konko_core::provider::best())?));
        Ok(Self::new([Arc::new(pair.map_err(|e| local(e.to_string()))?)]))
    }

    /// Shows this certificate beside the plain key that it is for, which has to be one of the host keys (OpenSSH
    /// `HostCertificate`). Call it again for more.
    ///
    /// # Errors
    /// `Local` for a certificate that is not a host's, or whose key is not among the host keys.
    pub fn host_certificate(mut self, certificate: &Certificate) -> Result<Self, Error> {
        let local = |text: &str| Error::new(ErrorKind::Local(text.into()), &Arc::from(""));
        if certificate.kind() != CertificateKind::Host {
            return Err(local("it is not a host certificate"));
        }
        let key = self.host_keys.iter().find(|pair| pair.public() == certificate.key());
        let key = key.ok_or_else(|| local("the certificate is for no host key of this server"))?;
        let certified = key.certified(certificate.public()).map_err(|e| local(&e.to_string()))?;
        self.host_keys.push(Arc::new(certified));
        Ok(self)
    }

    /// The host keys.
    pub fn host_keys(&self) -> &[Arc<KeyPair>] {
        &self.host_keys
    }

    /// The algorithms of a policy, as far as they are
    /// [for a server](konko_core::transport::negotiate::Algorithms::for_server).
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.transport.algorithms = policy.algorithms(self.transport.provider.fast_aes());
        self.transport.algorithms.for_server();
        self
    }

    /// Exactly these algorithms.
    #[must_use]
    pub fn algorithms(mut self, algorithms: Algorithms) -> Self {
        self.transport.algorithms = algorithms;
        self
    }

    /// Another provider of cryptography than the best of this build. Call it before `policy`.
    #[must_use]
    pub fn provider(mut self, provider: &'static dyn Provider) -> Self {
        self.transport.provider = provider;
        self
    }

    /// Groups for the group exchange, such as what `/etc/ssh/moduli` holds ([`Moduli::parse`]): one of the smallest that
    /// are as large as the client wants is chosen at random. Without any, the fixed ones of RFC 3526 serve.
    #[must_use]
    pub fn moduli(mut self, moduli: Moduli) -> Self {
        self.transport.moduli = Some(Arc::new(moduli));
        self
    }

    /// How hard zlib tries where compression was agreed on, from 1 (fast) to 9 (small): 6.
    #[must_use]
    pub fn compression_level(mut self, level: u8) -> Self {
        self.transport.compression_level = level;
        self
    }

    /// The authentication methods that a client may begin with: publickey and password unless said
    /// otherwise. After a partial success, the methods said there.
    #[must_use]
    pub fn methods(mut self, methods: MethodSet) -> Self {
        self.methods = Some(methods);
        self
    }

    /// A text shown before authentication; at most 64 KiB of it.
    #[must_use]
    pub fn banner(mut self, banner: impl Into<String>) -> Self {
        self.banner = Some(banner.into());
        self
    }

    /// From the start to the user being in: 120 seconds (OpenSSH `LoginGraceTime`).
    #[must_use]
    pub fn login_grace(mut self, time: Duration) -> Self {
        self.transport.limits.login_grace = time;
        self
    }

    /// Failed attempts after which the connection ends: 6 (OpenSSH `MaxAuthTries`).
    #[must_use]
    pub fn max_auth_tries(mut self, tries: u32) -> Self {
        self.transport.limits.auth_tries = tries;
        self
    }

    /// Sessions of a connection at a time: 10 (OpenSSH `MaxSessions`).
    #[must_use]
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.sessions.max_sessions = sessions;
        self
    }

    /// How many connections may be there, and how long a source that misbehaved stays outside (OpenSSH
    /// `MaxStartups`, `PerSourceMaxStartups`, `PerSourcePenalties`).
    #[must_use]
    pub fn admission(mut self, limits: AdmissionLimits) -> Self {
        self.admission = limits;
        self
    }

    /// Environment variables that clients may set, with `*` and `?` (OpenSSH `AcceptEnv`): `LANG`
    /// and `LC_*`. The case of letters counts. The core refuses what no shell could have set.
    #[must_use]
    pub fn accept_env<S: Into<Vec<u8>>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.sessions.accept_env = patterns.into_iter().map(Into::into).collect();
        self
    }

    /// An authenticated connection without a channel ends after this time: 10 minutes (OpenSSH
    /// `UnusedConnectionTimeout`). `None`: never.
    #[must_use]
    pub fn unused_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.unused_timeout = timeout;
        self
    }

    /// A connection that takes none of the output that waits for it ends after this time: 2 minutes.
    /// `None`: never. A client that does not read a channel while others move is not meant: the
    /// channel's window stops that one alone.
    #[must_use]
    pub fn stall_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.stall_timeout = timeout;
        self
    }

    /// Probing of a silent client after authentication: every 30 seconds, three times (OpenSSH
    /// `ClientAliveInterval`, `ClientAliveCountMax`). `None`: never.
    #[must_use]
    pub fn keepalive(mut self, keepalive: Option<Keepalive>) -> Self {
        self.transport.keepalive = keepalive;
        self
    }

    /// When keys are renewed.
    #[must_use]
    pub fn rekey(mut self, limit: RekeyLimit) -> Self {
        self.transport.rekey = limit;
        self
    }

    /// Windows of channels.
    #[must_use]
    pub fn window(mut self, window: WindowConfig) -> Self {
        self.window = window;
        self
    }

    /// All other limits. Call it before `login_grace` and `max_auth_tries`.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.transport.limits = limits;
        self
    }

    /// The smallest RSA key that lets a user in, in bits: 2048 (`RequiredRSASize`). Call it after
    /// `limits`.
    #[must_use]
    pub fn required_rsa_size(mut self, bits: usize) -> Self {
        self.transport.limits.rsa_bits = bits;
        self
    }

    /// Uses ChaCha20-Poly1305, and CBC with encrypt-then-MAC, also with a client that lacks strict key
    /// exchange. Whoever sits on the way can then cut away the first packets unnoticed
    /// (CVE-2023-48795, "Terrapin").
    #[must_use]
    pub fn insecure_allow_terrapin(mut self) -> Self {
        self.transport.allow_terrapin = true;
        self
    }

    /// Does not tell clients which keys this server has. Otherwise a client that is logged in learns those that it does
    /// not know (OpenSSH PROTOCOL 2.5), so that keys can be replaced.
    #[must_use]
    pub fn keep_host_keys_untold(mut self) -> Self {
        self.keeps_host_keys = true;
        self
    }

    /// Gets a notice of each step of each connection. Called from whichever thread makes it; do not
    /// block in it.
    #[must_use]
    pub fn on_notice(mut self, observer: impl Fn(&ServerNotice<'_>) + Send + Sync + 'static) -> Self {
        self.on_notice = Some(Arc::new(observer));
        self
    }

    /// What the core is configured with.
    pub(super) fn config(&self) -> ServerConfig {
        let mut config = ServerConfig::with_transport(self.transport.clone(), self.host_keys.clone());
        config.window = self.window;
        config.banner = self.banner.clone();
        config.methods = self.methods.unwrap_or(config.methods);
        config.announce_host_keys = !self.keeps_host_keys;
        config
    }

    /// What keeps the options from working, if anything does.
    pub(super) fn problem(&self) -> Option<String> {
        if self.host_keys.is_empty() {
            return Some("a server needs a host key".into());
        }
        if self.config().transport.algorithms.host_key.is_empty() {
            let names: Vec<_> = self.transport.algorithms.host_key.iter().map(|a| a.name()).collect();
            return Some(format!("no host key fits the allowed algorithms ({})", names.join(",")));
        }
        None
    }
}

/// What a server offers by default.
fn transport(mut config: TransportConfig) -> TransportConfig {
    config.algorithms.for_server();
    config
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerOptions")
            .field("transport", &self.transport)
            .field("host_keys", &self.host_keys.len())
            .field("admission", &self.admission)
            .field("sessions", &self.sessions)
            .finish_non_exhaustive()
    }
}
