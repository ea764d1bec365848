//! What both roles configure about the transport.

use alloc::string::String;
use alloc::vec::Vec;

use super::handshake::negotiate::{Algorithms, Policy};
use super::limits::{Limits, RekeyLimit};
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
