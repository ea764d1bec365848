//! Every limit in one place, with where its default comes from.

use core::time::Duration;

use crate::keys::PublicKey;

/// How much a peer may ask of us. Defaults follow OpenSSH 10 where it has the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The peer's identification line must come within this time. Ours.
    pub ident_timeout: Duration,
    /// Each step of a key exchange must come within this time. Ours; twisted and nsoftware
    /// peers are known to stall.
    pub kex_timeout: Duration,
    /// The server's answer to an authentication request must come within this time. Ours; a server
    /// may ask a slow directory.
    pub auth_reply_timeout: Duration,
    /// From the start to USERAUTH_SUCCESS, on a server: OpenSSH LoginGraceTime.
    pub login_grace: Duration,
    /// An undecided channel open is refused after this time. Ours.
    pub decision_timeout: Duration,
    /// Packets before authentication. Ours.
    pub packets_before_auth: u64,
    /// Bytes before authentication. Ours.
    pub bytes_before_auth: u64,
    /// Failed attempts before the server gives up: OpenSSH MaxAuthTries.
    pub auth_tries: u32,
    /// All authentication requests of a connection: Go's server.
    pub auth_requests: u32,
    /// Public key probes that get an answer: Dropbear.
    pub key_probes: u32,
    /// Attempts a client makes: Go's client.
    pub client_attempts: u32,
    /// Bytes of a password: OpenSSH `MAX_PASSWORD_LEN`.
    pub password: usize,
    /// Banner bytes that a client reads in all.
    pub banner_bytes: usize,
    /// Banner messages that a client reads.
    pub banners: u32,
    /// Channels at a time: ours. OpenSSH allows 10 sessions and 16,384 channels.
    pub channels: usize,
    /// Channel opens that wait for the application's decision.
    pub undecided_opens: usize,
    /// Requests of a channel that wait for the application's reply.
    pub channel_requests: usize,
    /// Global requests that wait for the application's reply.
    pub global_requests: usize,
    /// Environment variables of a session: OpenSSH session.c.
    pub env: u32,
    /// Application data is taken while less than this is pending in the output.
    pub output_soft: usize,
    /// Input is not read while more than this is pending in the output.
    pub output_hard: usize,
    /// Smallest RSA key of a host or user, in bits: facts of 2025; OpenSSH says 1024.
    pub rsa_bits: usize,
    /// Largest RSA key of a user, in bits: OpenSSH `SSHBUF_MAX_BIGNUM`, which no key passes here either.
    /// Unknown keys cost no arithmetic whatever their size; lower it to bound what known ones cost.
    pub rsa_bits_max: usize,
    /// Largest public exponent of a user's RSA key, in bits: 32, which no key passes here. Nearly all
    /// keys have 17; verifying takes time by this number.
    pub rsa_exponent_bits: usize,
    /// Sizes of a group in a group exchange, in bits: OpenSSH `DH_GRP_MIN`, `DH_GRP_MAX`.
    pub group_bits: (u32, u32),
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            ident_timeout: Duration::from_secs(30),
            kex_timeout: Duration::from_secs(30),
            auth_reply_timeout: Duration::from_secs(120),
            login_grace: Duration::from_secs(120),
            decision_timeout: Duration::from_secs(30),
            packets_before_auth: 10_000,
            bytes_before_auth: 8 << 20,
            auth_tries: 6,
            auth_requests: 128,
            key_probes: 15,
            client_attempts: 64,
            password: 1024,
            banner_bytes: 64 * 1024,
            banners: 16,
            channels: 256,
            undecided_opens: 16,
            channel_requests: 64,
            global_requests: 128,
            env: 128,
            output_soft: 256 * 1024,
            output_hard: 1 << 20,
            rsa_bits: 2048,
            rsa_bits_max: 16_384,
            rsa_exponent_bits: 32,
            group_bits: (2048, 8192),
        }
    }
}

impl Limits {
    /// Whether a user may come with this key: neither too weak nor too large.
    pub(crate) fn allow(&self, key: &PublicKey) -> bool {
        let fits = |[n, e]: [usize; 2]| n <= self.rsa_bits_max && e <= self.rsa_exponent_bits;
        key.strength_ok(self.rsa_bits) && key.rsa_size().is_none_or(fits)
    }
}

/// When keys are renewed (RFC 4253 §9, RFC 4344 §3). A cipher's own limit comes on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RekeyLimit {
    /// Bytes in either direction.
    pub bytes: u64,
    /// Packets in either direction.
    pub packets: u64,
    /// Time since the last key exchange.
    pub time: Duration,
}

impl Default for RekeyLimit {
    /// 1 GiB, 2^31 packets, one hour (RFC 4253 §9, RFC 4344 §3.1).
    fn default() -> Self {
        RekeyLimit { bytes: 1 << 30, packets: 1 << 31, time: Duration::from_secs(3600) }
    }
}

/// Packet numbers with one key end here at the latest (RFC 4344 §3.1, OpenSSH `MAX_PACKETS`).
pub(crate) const MAX_PACKETS_PER_KEY: u64 = 1 << 31;
