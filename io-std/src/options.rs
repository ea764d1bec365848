use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use konko_core::TransportConfig;
use konko_core::channel::WindowConfig;
use konko_core::crypto::Provider;
use konko_core::transport::limits::{Limits, RekeyLimit};
use konko_core::transport::negotiate::{Algorithms, Policy};
use konko_core::transport::{Keepalive, Moduli};
use konko_core::wire::SshStr;

use crate::hosts::HostKeys;
use crate::notice::Notice;
use crate::shared::Observer;

/// How a client connects. The default is safe: known_hosts decides about host keys, the policy
/// `Modern` about algorithms.
#[derive(Clone)]
pub struct ClientOptions {
    pub(crate) transport: TransportConfig,
    pub(crate) window: WindowConfig,
    pub(crate) host_keys: HostKeys,
    /// The user chose the host key algorithms; their order stays.
    pub(crate) fixed_host_key_order: bool,
    pub(crate) alias: Option<String>,
    pub(crate) family: AddressFamily,
    pub(crate) bind: Option<IpAddr>,
    pub(crate) tcp_keepalive: bool,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) handshake_timeout: Option<Duration>,
    pub(crate) auth_timeout: Option<Duration>,
    pub(crate) reply_timeout: Option<Duration>,
    pub(crate) io_timeout: Option<Duration>,
    pub(crate) on_notice: Option<Observer>,
    pub(crate) on_banner: Option<Banner>,
}

/// Which addresses of a host are tried (`AddressFamily`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressFamily {
    /// All.
    #[default]
    Any,
    /// IPv4 alone.
    Inet,
    /// IPv6 alone.
    Inet6,
}

impl AddressFamily {
    pub(crate) fn takes(self, address: &SocketAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Inet => address.is_ipv4(),
            Self::Inet6 => address.is_ipv6(),
        }
    }
}

impl fmt::Display for AddressFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "address",
            Self::Inet => "IPv4 address",
            Self::Inet6 => "IPv6 address",
        })
    }
}

pub(crate) type Banner = Arc<dyn Fn(SshStr<'_>) + Send + Sync>;

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            transport: TransportConfig::new(konko_core::provider::best()),
            window: WindowConfig::default(),
            host_keys: HostKeys::default(),
            fixed_host_key_order: false,
            alias: None,
            family: AddressFamily::Any,
            bind: None,
            tcp_keepalive: true,
            connect_timeout: Some(Duration::from_secs(30)),
            handshake_timeout: Some(Duration::from_secs(60)),
            auth_timeout: Some(Duration::from_secs(120)),
            reply_timeout: Some(Duration::from_secs(60)),
            io_timeout: None,
            on_notice: None,
            on_banner: None,
        }
    }
}

impl ClientOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How to find out whether a host key is the right one.
    #[must_use]
    pub fn host_keys(mut self, host_keys: impl Into<HostKeys>) -> Self {
        self.host_keys = host_keys.into();
        self
    }

    /// Known hosts are looked up under this name instead of the one that was connected to, whatever
    /// the port (`HostKeyAlias`).
    #[must_use]
    pub fn host_key_alias(mut self, alias: impl Into<String>) -> Self {
        self.alias = Some(alias.into());
        self
    }

    /// The algorithms of a policy.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.transport.algorithms = policy.algorithms(self.transport.provider.fast_aes());
        self
    }

    /// Exactly these algorithms. Algorithms that the host is known by still move to the front.
    #[must_use]
    pub fn algorithms(mut self, algorithms: Algorithms) -> Self {
        self.transport.algorithms = algorithms;
        self
    }

    /// Keeps the order of the host key algorithms, whatever key the host is known by.
    #[must_use]
    pub fn keep_host_key_order(mut self) -> Self {
        self.fixed_host_key_order = true;
        self
    }

    /// Another provider of cryptography than the best of this build. Call it before `policy`.
    #[must_use]
    pub fn provider(mut self, provider: &'static dyn Provider) -> Self {
        self.transport.provider = provider;
        self
    }

    /// Which of the host's addresses are tried: all.
    #[must_use]
    pub fn address_family(mut self, family: AddressFamily) -> Self {
        self.family = family;
        self
    }

    /// The address of this machine that is connected from (`BindAddress`). Only addresses of its family are tried.
    #[must_use]
    pub fn bind_address(mut self, address: IpAddr) -> Self {
        self.bind = Some(address);
        self
    }

    /// Whether the system finds out by itself, in hours, that the server is gone (SO_KEEPALIVE): it does.
    #[must_use]
    pub fn tcp_keepalive(mut self, keepalive: bool) -> Self {
        self.tcp_keepalive = keepalive;
        self
    }

    /// How long each TCP address may take to answer: 30 seconds. `None`: as long as the system lets it.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long everything up to the keys may take, TCP included: 60 seconds. A person who is asked
    /// about a host key has all the time there is.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// How long the server may take for its answers in one login: 120 seconds. A person's time does
    /// not count.
    #[must_use]
    pub fn auth_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.auth_timeout = timeout;
        self
    }

    /// How long the server may take to answer a channel open or a request: 60 seconds.
    #[must_use]
    pub fn reply_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.reply_timeout = timeout;
        self
    }

    /// How long a read or a write on a channel may take, unless the channel says otherwise: for ever.
    #[must_use]
    pub fn io_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.io_timeout = timeout;
        self
    }

    /// Probing of a silent server: every 30 seconds, three times. `None`: never.
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

    /// The size of the group that a group exchange asks for, in bits: 3072 (RFC 4419 §3), held within the limits. The
    /// server gives the smallest of at least that size, or its largest.
    #[must_use]
    pub fn preferred_group_size(mut self, bits: u32) -> Self {
        self.transport.preferred_group_bits = bits;
        self
    }

    /// Tests groups that a server chooses and nobody knows: whether they are of a safe prime. Known are those of RFC 3526,
    /// and `known`, such as what `/etc/ssh/moduli` holds ([`Moduli::parse`]). A test takes some 0.2 seconds for 3072 bits and 3
    /// for 8192, on the connection's own thread, and once a group in a process. Without the feature `screening` no test can
    /// be made, and a server with an unknown group is refused.
    #[must_use]
    pub fn screen_groups(mut self, known: Moduli) -> Self {
        self.transport.screen_groups = true;
        self.transport.moduli = Some(Arc::new(known));
        self
    }

    /// How hard zlib tries where compression was agreed on, from 1 (fast) to 9 (small): 6.
    #[must_use]
    pub fn compression_level(mut self, level: u8) -> Self {
        self.transport.compression_level = level;
        self
    }

    /// Windows of channels.
    #[must_use]
    pub fn window(mut self, window: WindowConfig) -> Self {
        self.window = window;
        self
    }

    /// Limits on what the server may make us do.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.transport.limits = limits;
        self
    }

    /// The smallest RSA host key that is taken, in bits: 2048 (`RequiredRSASize`). Old devices have
    /// keys of 1024 bits, which somebody with means can compute. Call it after `limits`.
    #[must_use]
    pub fn required_rsa_size(mut self, bits: usize) -> Self {
        self.transport.limits.rsa_bits = bits;
        self
    }

    /// Uses ChaCha20-Poly1305, and CBC with encrypt-then-MAC, also with a server that lacks strict key
    /// exchange. Whoever sits on the way can then cut away the first packets unnoticed
    /// (CVE-2023-48795, "Terrapin").
    #[must_use]
    pub fn insecure_allow_terrapin(mut self) -> Self {
        self.transport.allow_terrapin = true;
        self
    }

    /// Gets the server's text from before authentication. Escape it before it reaches a terminal;
    /// `SshStr` does. Called from the thread that logs in.
    #[must_use]
    pub fn on_banner(mut self, banner: impl Fn(SshStr<'_>) + Send + Sync + 'static) -> Self {
        self.on_banner = Some(Arc::new(banner));
        self
    }

    /// Gets a notice of each step. Called from whichever thread makes it; do not block in it.
    #[must_use]
    pub fn on_notice(mut self, observer: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        self.on_notice = Some(Arc::new(move |_, notice: &Notice| observer(notice)));
        self
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("transport", &self.transport)
            .field("host_keys", &self.host_keys)
            .field("handshake_timeout", &self.handshake_timeout)
            .finish_non_exhaustive()
    }
}
