//! Every limit in one place, with where its default comes from.

use core::time::Duration;

use crate::keys::PublicKey;
use crate::options::options;

options! {
    /// How much a peer may ask of us. Defaults follow OpenSSH 10 where it has the limit.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Limits {
        /// The peer's identification line must come within this time. Ours.
        ident_timeout: Duration = Duration::from_secs(30),
        /// Each step of a key exchange must come within this time. Ours; twisted and nsoftware
        /// peers are known to stall.
        kex_timeout: Duration = Duration::from_secs(30),
        /// The server's answer to an authentication request must come within this time. Ours; a server
        /// may ask a slow directory.
        auth_reply_timeout: Duration = Duration::from_secs(120),
        /// From the start to USERAUTH_SUCCESS, on a server: OpenSSH LoginGraceTime.
        login_grace: Duration = Duration::from_secs(120),
        /// An undecided channel open is refused after this time. Ours.
        decision_timeout: Duration = Duration::from_secs(30),
        /// Packets before authentication. Ours.
        packets_before_auth: u64 = 10_000,
        /// Bytes before authentication. Ours.
        bytes_before_auth: u64 = 8 << 20,
        /// Failed attempts before the server gives up: OpenSSH MaxAuthTries.
        auth_tries: u32 = 6,
        /// All authentication requests of a connection: Go's server.
        auth_requests: u32 = 128,
        /// Public key probes that get an answer: Dropbear.
        key_probes: u32 = 15,
        /// Attempts a client makes: Go's client.
        client_attempts: u32 = 64,
        /// Bytes of a password: OpenSSH `MAX_PASSWORD_LEN`.
        password: usize = 1024,
        /// Banner bytes that a client reads in all.
        banner_bytes: usize = 64 * 1024,
        /// Banner messages that a client reads.
        banners: u32 = 16,
        /// Channels at a time: ours. OpenSSH allows 10 sessions and 16,384 channels.
        channels: usize = 256,
        /// Channel opens that wait for the application's decision.
        undecided_opens: usize = 16,
        /// Requests of a channel that wait for the application's reply.
        channel_requests: usize = 64,
        /// Global requests that wait for the application's reply.
        global_requests: usize = 128,
        /// Environment variables of a session: OpenSSH session.c.
        env: u32 = 128,
        /// Application data is taken while less than this is pending in the output.
        output_soft: usize = 256 * 1024,
        /// Input is not read while more than this is pending in the output.
        output_hard: usize = 1 << 20,
        /// Smallest RSA key of a host or user, in bits: facts of 2025; OpenSSH says 1024.
        rsa_bits: usize = 2048,
        /// Largest RSA key of a user, in bits: OpenSSH `SSHBUF_MAX_BIGNUM`, which no key passes here either.
        /// Unknown keys cost no arithmetic whatever their size; lower it to bound what known ones cost.
        rsa_bits_max: usize = 16_384,
        /// Largest public exponent of a user's RSA key, in bits: 32, which no key passes here. Nearly all
        /// keys have 17; verifying takes time by this number.
        rsa_exponent_bits: usize = 32,
        /// Sizes of a group in a group exchange, in bits: OpenSSH `DH_GRP_MIN`, `DH_GRP_MAX`.
        group_bits: (u32, u32) = (2048, 8192),
    }
}

impl Limits {
    /// Whether a user may come with this key: neither too weak nor too large.
    pub(crate) fn allow(&self, key: &PublicKey) -> bool {
        let fits = |[n, e]: [usize; 2]| n <= self.rsa_bits_max && e <= self.rsa_exponent_bits;
        key.strength_ok(self.rsa_bits) && key.rsa_size().is_none_or(fits)
    }
}

options! {
    /// When keys are renewed (RFC 4253 §9, RFC 4344 §3). A cipher's own limit comes on top.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct RekeyLimit {
        /// Bytes in either direction.
        bytes: u64 = 1 << 30,
        /// Packets in either direction.
        packets: u64 = 1 << 31,
        /// Time since the last key exchange.
        time: Duration = Duration::from_secs(3600),
    }
}

/// Packet numbers with one key end here at the latest (RFC 4344 §3.1, OpenSSH `MAX_PACKETS`).
pub(crate) const MAX_PACKETS_PER_KEY: u64 = 1 << 31;
