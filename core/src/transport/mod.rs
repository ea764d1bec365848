//! The transport layer (RFC 4253): from bytes to messages that are legal, authentic and in order.

pub(crate) mod ident;
pub(crate) mod kex;
pub mod legal;
pub mod limits;
pub(crate) mod liveness;
pub mod negotiate;
mod packets;
mod run;

pub(crate) use self::packets::Payload;
pub use self::packets::{RxBuf, TxBuf};
pub use kex::{DoneJob, Job};

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use self::ident::IdentReader;
use self::kex::KexState;
use self::legal::State;
use self::limits::{Limits, MAX_PACKETS_PER_KEY, RekeyLimit};
use self::liveness::Liveness;
use self::negotiate::{Algorithms, Negotiated, Policy, Role};
use self::packets::Packets;
use crate::crypto::{Cipher, Digest, Provider, Scrubbed};
use crate::error::{Phase, UsageError};
use crate::keys::{KeyPair, PublicKey};
use crate::msg::{Message, ServiceRequest};
use crate::rng::{Rng, Seed};
use crate::time::Time;
use crate::wire::{Reader, Sink, SshStr};

/// What both roles configure about the transport.
#[derive(Clone)]
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

/// Probing of a silent peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before each probe.
    pub interval: core::time::Duration,
    /// Unanswered probes after which the connection ends.
    pub count: u32,
}

impl Default for Keepalive {
    /// Every 30 seconds, three times.
    fn default() -> Self {
        Keepalive { interval: core::time::Duration::from_secs(30), count: 3 }
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

    fn ident_line(&self) -> Vec<u8> {
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

/// What the transport has for the layers above.
pub(crate) enum Incoming {
    /// A message of the layers above.
    Message(u8, Payload),
    /// The peer's identification line is known.
    Ident,
    /// The algorithms are agreed on.
    Negotiated,
    /// Client: whose key is this?
    HostKey,
    /// Server: work that may be done elsewhere.
    Job(alloc::boxed::Box<Job>),
    /// A key exchange is complete; true for the first.
    Keyed(bool),
    /// DISCONNECT.
    Disconnect(Payload),
}

/// Ident, packets, key exchange, limits. One for both roles.
pub(crate) struct Transport {
    pub(crate) role: Role,
    pub(crate) config: Arc<TransportConfig>,
    host_keys: Vec<Arc<KeyPair>>,
    offload: bool,
    packets: Packets,
    pub(crate) liveness: Liveness,
    ident: IdentReader,
    our_ident: Vec<u8>,
    /// Empty until known.
    pub(crate) peer_ident: Vec<u8>,
    kex: KexState,
    kex_rng: Rng,
    job_generation: u32,
    /// Between key exchanges.
    base: State,
    /// Our KEXINIT is out and our NEWKEYS is not.
    gate_shut: bool,
    strict: bool,
    peer_takes_ext_info: bool,
    ext_infos: u32,
    pub(crate) session_id: Option<Digest>,
    pub(crate) host_key: Option<PublicKey>,
    pub(crate) negotiated: Option<Negotiated>,
    /// Key exchanges that the peer started without a message of the layers above between them, less
    /// one for each [`STORM_PACE`] that has passed.
    idle_exchanges: u32,
    /// Up to when the time has been taken off.
    idle_since: Time,
    pub(crate) rekey_wanted: bool,
    pub(crate) exchanges: u64,
    keyed_at: Time,
    /// Messages kept while the gate is shut, each behind its length. They may hold a password.
    posted: Scrubbed,
}

/// Key exchanges in a row, without any other traffic, that we put up with at whatever speed. OpenSSH
/// knows no limit, and clients are known that renew their keys several times in a row.
const MAX_IDLE_EXCHANGES: u32 = 256;
/// At this pace it may go on for ever: an exchange costs about a millisecond, so a peer that has
/// nothing to say gets about a hundredth of a processor.
const STORM_PACE: core::time::Duration = core::time::Duration::from_millis(100);
/// Bytes of messages kept while the gate is shut.
const MAX_POSTED: usize = 256 * 1024;

impl Transport {
    pub(crate) fn new(
        role: Role,
        config: Arc<TransportConfig>,
        host_keys: Vec<Arc<KeyPair>>,
        offload: bool,
        seed: &Seed,
        now: Time,
    ) -> Self {
        let our_ident = config.ident_line();
        let mut transport = Transport {
            role,
            host_keys,
            offload,
            packets: Packets::new(seed.fork(b"padding")),
            liveness: Liveness::new(Arc::clone(&config), now),
            ident: IdentReader::default(),
            our_ident,
            peer_ident: Vec::new(),
            kex: KexState::Idle,
            kex_rng: seed.fork(b"kex"),
            job_generation: 0,
            base: State::FirstInit,
            gate_shut: true,
            strict: false,
            peer_takes_ext_info: false,
            ext_infos: 0,
            session_id: None,
            host_key: None,
            negotiated: None,
            idle_exchanges: 0,
            idle_since: now,
            rekey_wanted: false,
            exchanges: 0,
            keyed_at: now,
            posted: Scrubbed::default(),
            config,
        };
        transport.packets.send_line(&transport.our_ident);
        transport.packets.send_line(b"\r\n");
        // Some clients hang when KEXINIT comes before their identification line is out, so a
        // server waits for it; no round trip is lost, clients speak first.
        if role == Role::Client {
            transport.send_kexinit();
        }
        transport
    }

    /// What is to be written to the peer.
    pub(crate) fn tx(&self) -> &TxBuf {
        self.packets.tx()
    }

    /// The same, to take from.
    pub(crate) fn tx_mut(&mut self) -> &mut TxBuf {
        self.packets.tx_mut()
    }

    /// Sends a line of text, which is no packet.
    pub(crate) fn send_line(&mut self, line: &[u8]) {
        self.packets.send_line(line);
    }

    /// Sends a message of the layers above, while the gate is open.
    pub(crate) fn send<'m>(&mut self, message: &impl Message<'m>) {
        self.packets.send(message);
    }

    /// Lends room for data in the next packet.
    pub(crate) fn slot(&mut self, prefix: usize, data: usize) -> &mut [u8] {
        self.packets.slot(prefix, data)
    }

    /// Sends what was lent.
    pub(crate) fn commit(&mut self, prefix: &[u8], data: usize) {
        self.packets.commit(prefix, data);
    }

    pub(crate) fn provider(&self) -> &'static dyn Provider {
        self.config.provider
    }

    /// Whether messages of the layers above may be sent now.
    pub(crate) fn gate_open(&self) -> bool {
        !self.gate_shut
    }

    /// Whether application data may be sent now.
    pub(crate) fn takes_data(&self) -> bool {
        self.gate_open() && self.packets.tx().len() < self.config.limits.output_soft
    }

    /// Whether so much output is pending that no more input is to be read.
    pub(crate) fn clogged(&self) -> bool {
        self.packets.tx().len() > self.config.limits.output_hard
    }

    pub(crate) fn awaits_decision(&self) -> bool {
        matches!(&self.kex, KexState::Running(x) if matches!(x.step, kex::Step::Decision { .. } | kex::Step::Working))
    }

    /// Whether the peer knows `eow@openssh.com`, which nobody announces: by its identification, as
    /// OpenSSH compat.c does.
    pub(crate) fn peer_takes_eow(&self) -> bool {
        let software = self.peer_ident.splitn(3, |b| *b == b'-').nth(2).unwrap_or_default();
        software.starts_with(b"OpenSSH") || software.starts_with(b"konko")
    }

    /// Strict key exchange is in force.
    pub(crate) fn strict(&self) -> bool {
        self.strict
    }

    /// Where the connection is, in a person's words.
    pub(crate) fn phase(&self) -> Phase {
        if self.peer_ident.is_empty() {
            return Phase::Ident;
        }
        match self.base {
            State::FirstInit | State::FirstMethod | State::FirstNewKeys => Phase::KeyExchange,
            State::Service | State::Auth => Phase::Authentication,
            _ => Phase::Connected,
        }
    }

    /// Moves on: service accepted, user authenticated.
    pub(crate) fn enter(&mut self, base: State) {
        self.base = base;
    }

    pub(crate) fn base(&self) -> State {
        self.base
    }

    /// Client: asks for a service.
    pub(crate) fn request_service(&mut self, service: &str) {
        self.packets.send(&ServiceRequest::new(SshStr::new(service.as_bytes())));
    }

    /// Whether it is time to renew the keys, and what the next such time is.
    pub(crate) fn rekey_due(&self, now: Time) -> bool {
        let limit = &self.config.rekey;
        let bytes = limit.bytes.min(self.cipher_limit());
        let packets = limit.packets.min(MAX_PACKETS_PER_KEY);
        matches!(self.kex, KexState::Idle)
            && self.base == State::Connected
            && (self.rekey_wanted || self.packets.worn(bytes, packets) || now >= self.keyed_at + limit.time)
    }

    /// Bytes after which a cipher's blocks begin to collide: 2^32 blocks of 16 bytes, 1 GiB for
    /// 8-byte blocks (RFC 4344 §3.2, OpenSSH packet.c).
    fn cipher_limit(&self) -> u64 {
        let eight = |c: Cipher| c.block() == 8;
        let small = self.negotiated.as_ref().is_some_and(|n| n.protection.iter().any(|p| eight(p.cipher)));
        if small { 1 << 30 } else { 1 << 36 }
    }

    /// Starts a key exchange of our own.
    pub(crate) fn start_rekey(&mut self, now: Time) {
        if matches!(self.kex, KexState::Idle) {
            self.rekey_wanted = false;
            self.send_kexinit();
            self.liveness.exchange_goes_on(now);
        }
    }

    /// Nothing of the protocol may be sent any more but DISCONNECT.
    pub(crate) fn send_disconnect(&mut self, code: crate::msg::DisconnectCode, text: &str) {
        // Before the identification of the peer is known there is nobody to read a packet.
        if !self.peer_ident.is_empty() {
            let text = SshStr::new(text.as_bytes());
            self.packets.send(&crate::msg::Disconnect { code: code.0, description: text });
        }
    }

    /// Sends a message of the layers above, or keeps it until the gate opens. Only what the
    /// application asks for comes this way; what the peer causes is flags.
    pub(crate) fn post<'m>(&mut self, message: &impl Message<'m>) -> Result<(), UsageError> {
        self.post_padded(message, 0)
    }

    /// The same, in a packet of at least `min` bytes of payload.
    pub(crate) fn post_padded<'m>(
        &mut self,
        message: &impl Message<'m>,
        min: usize,
    ) -> Result<(), UsageError> {
        if self.gate_open() && self.posted.is_empty() {
            if self.packets.tx().len() > self.config.limits.output_hard.saturating_mul(2) {
                return Err(UsageError::Full);
            }
            self.packets.send_padded(message, min);
            return Ok(());
        }
        if self.posted.len() > MAX_POSTED {
            return Err(UsageError::Full);
        }
        let mut payload = Scrubbed::default();
        message.put(&mut payload);
        self.posted.put_string(&payload);
        Ok(())
    }

    /// Sends what was kept, once the gate is open.
    pub(crate) fn flush_posted(&mut self) {
        if self.gate_shut || self.posted.is_empty() {
            return;
        }
        let posted = core::mem::take(&mut self.posted);
        let mut r = Reader::new(&posted);
        while let Ok(payload) = r.string() {
            self.packets.send_payload(payload);
        }
    }

    /// Counts a message of the layers above as progress between key exchanges.
    pub(crate) fn progressed(&mut self) {
        self.idle_exchanges = 0;
    }

    pub(crate) fn in_packet(&self, rx: &RxBuf) -> bool {
        self.packets.in_packet(rx)
    }

    /// What the peer said instead of an identification line before it went away or fell silent.
    pub(crate) fn ident_failure(&self, rx: &RxBuf) -> Option<crate::error::Failure> {
        self.ident.ended(rx.unread())
    }

    /// Parses a message of the peer, naming it in the error.
    pub(crate) fn parse<'m, M: Message<'m>>(payload: &'m [u8]) -> Result<M, crate::error::Failure> {
        M::parse(payload).map_err(|e| crate::error::Failure::malformed(M::NUMBER, e))
    }
}
