//! What both roles configure about the transport.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::handshake::negotiate::{Algorithms, Policy};
use super::limits::{Limits, RekeyLimit};
use super::moduli::Moduli;
use crate::crypto::Provider;
use crate::options::options;

/// What both roles configure about the transport.
#[derive(Clone)]
#[non_exhaustive]
pub struct TransportConfig {
    /// Where cryptography comes from.
    pub provider: &'static dyn Provider,
    /// What may be negotiated.
    pub algorithms: Algorithms,
    /// What a peer may ask of us.
    pub limits: Limits,
    /// When keys are renewed.
    pub rekey: RekeyLimit,
    /// The software version in our identification line, after `SSH-2.0-`: printable US-ASCII
    /// without spaces and minus signs (RFC 4253 §4.2), at most 200 bytes.
    pub software: String,
    /// After authentication, probe a silent peer this often and give up after so many unanswered
    /// probes. `None`: never.
    pub keepalive: Option<Keepalive>,
    /// Use ciphers that are open to prefix truncation (Terrapin, CVE-2023-48795) with a peer that
    /// does not support strict key exchange: ChaCha20-Poly1305, and CBC with encrypt-then-MAC.
    pub allow_terrapin: bool,
    /// A client's wish in a group exchange, in bits: 3072, within what the limits allow (RFC 4419 §3). The server gives
    /// the smallest group of at least this size, or its largest.
    pub preferred_group_bits: u32,
    /// Groups of a server's group exchanges; without any, or with none of a size that fits, the fixed ones of RFC 3526.
    /// To a client that screens they are known.
    pub moduli: Option<Arc<Moduli>>,
    /// On a client: a group that a server proposes, which is neither a fixed one of RFC 3526 nor one of `moduli`, is
    /// tested. It comes as an [`Event::Job`](crate::Event::Job) before anything is computed with it, and the connection
    /// ends with [`Fault::BadGroup`](crate::error::Fault::BadGroup) unless it is probably a safe prime, or when the provider
    /// [cannot tell](Provider::safe_prime). Without this, what OpenSSH's client checks is checked: size, oddness, and the
    /// range of the generator and of the shared secret.
    pub screen_groups: bool,
    /// How hard zlib tries, from 1 (fast) to 9 (small): 6, as in OpenSSH. Others count as the nearest.
    pub compression_level: u8,
}

options! {
    /// Probing of a silent peer.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Keepalive {
        /// Silence before each probe.
        interval: core::time::Duration = core::time::Duration::from_secs(30),
        /// Unanswered probes after which the connection ends.
        count: u32 = 3,
    }
}

impl TransportConfig {
    /// The policy `Modern` on `provider`.
    pub fn new(provider: &'static dyn Provider) -> Self {
        Self::with_policy(provider, Policy::Modern)
    }

    /// The algorithms of a policy, and the key sizes that go with it: `LegacyDevice` takes RSA keys
    /// and group exchange moduli from 1024 bits, the others from 2048.
    pub fn with_policy(provider: &'static dyn Provider, policy: Policy) -> Self {
        let mut limits = Limits::default();
        if policy == Policy::LegacyDevice {
            limits.rsa_bits = 1024;
            limits.group_bits.0 = 1024;
        }
        TransportConfig {
            provider,
            algorithms: policy.algorithms(provider.fast_aes()),
            limits,
            rekey: RekeyLimit::default(),
            software: String::from(concat!("konko_", env!("CARGO_PKG_VERSION"))),
            keepalive: Some(Keepalive::default()),
            allow_terrapin: false,
            preferred_group_bits: 3072,
            moduli: None,
            screen_groups: false,
            compression_level: 6,
        }
    }

    /// Our identification line, without its end.
    pub(super) fn ident_line(&self) -> Vec<u8> {
        let legal = |b: &u8| (0x21..=0x7e).contains(b) && *b != b'-';
        let mut line = b"SSH-2.0-".to_vec();
        line.extend(self.software.bytes().filter(legal).take(200));
        line
    }
}

impl core::fmt::Debug for TransportConfig {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("TransportConfig")
            .field("provider", &self.provider.name())
            .field("algorithms", &self.algorithms)
            .field("rekey", &self.rekey)
            .finish_non_exhaustive()
    }
}
