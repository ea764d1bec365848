//! The transport layer (RFC 4253): from bytes to messages that are legal, authentic and in order.
//!
//! Three rooms, each with its own state: `packets` seals, opens and counts; `handshake` identifies the peer, agrees on
//! keys and renews them; `liveness` knows every timer, and whether the peer is there. What may be sent by the floors
//! above, and when, is their `outlet`.

mod config;
mod handshake;
pub mod legal;
pub mod limits;
mod liveness;
mod moduli;
mod outlet;
mod packets;

pub use self::config::{Keepalive, TransportConfig};
pub use self::handshake::{DoneJob, Job, negotiate};
pub(crate) use self::handshake::{Milestone, Stage};
pub(crate) use self::liveness::{Liveness, RoundTrip, Silence};
pub use self::moduli::{BadModulus, MODULI_LIMITS, Moduli};
pub(crate) use self::outlet::Open;
pub(crate) use self::packets::{Payload, parse};
pub use self::packets::{RxBuf, TxBuf};

use alloc::sync::Arc;
use alloc::vec::Vec;

/// The extension by which a server says that it takes requests that are bound to its host key (OpenSSH PROTOCOL §3.1).
pub(crate) const HOSTBOUND: &str = "publickey-hostbound@openssh.com";

use self::handshake::{Ground, Handshake};
use self::legal::Legality;
use self::limits::MAX_PACKETS_PER_KEY;
use self::negotiate::Role;
use self::outlet::Kept;
use self::packets::{Receiver, Sender};
use crate::error::{Failure, Fault, Rejected, TimerKind};
use crate::keys::KeyPair;
use crate::msg::{self, Category, Disconnect, DisconnectCode, Message, Ping, Pong, Unimplemented};
use crate::rng::Seed;
use crate::time::Time;
use crate::wire::SshStr;

/// What the transport has for the layers above.
pub(crate) enum Incoming {
    /// A message of the layers above.
    Message(u8, Payload),
    /// The handshake came so far.
    Reached(Milestone),
    /// DISCONNECT.
    Disconnect(Payload),
}

/// The transport of one connection, one for both roles: its three rooms, and what comes in.
pub(crate) struct Transport {
    role: Role,
    config: Arc<TransportConfig>,
    sender: Sender,
    receiver: Receiver,
    handshake: Handshake,
    liveness: Liveness,
    kept: Kept,
}

impl Transport {
    /// The identification line is in `tx` at once. `host_keys` are a server's.
    pub(crate) fn new(
        role: Role,
        mut config: Arc<TransportConfig>,
        host_keys: Vec<Arc<KeyPair>>,
        offload: bool,
        seed: &Seed,
        now: Time,
    ) -> Self {
        if !config.algorithms.fits_provider(config.provider) {
            let config = Arc::make_mut(&mut config);
            config.algorithms.for_provider(config.provider);
        }
        let mut sender = Sender::new(seed.fork(b"padding"), config.compression_level);
        let mut receiver = Receiver::new();
        let mut liveness = Liveness::new(Arc::clone(&config), now);
        let mut ground = Ground {
            sender: &mut sender,
            receiver: &mut receiver,
            liveness: &mut liveness,
            config: &config,
            now,
        };
        let handshake = Handshake::new(role, host_keys, offload, seed.fork(b"kex"), &mut ground);
        Transport { role, config, sender, receiver, handshake, liveness, kept: Kept::default() }
    }

    /// The handshake, and what it stands on.
    fn parts(&mut self, now: Time) -> (&mut Handshake, Ground<'_>) {
        let Transport { sender, receiver, handshake, liveness, config, .. } = self;
        (handshake, Ground { sender, receiver, liveness, config, now })
    }

    // ---- what comes in ----

    /// Takes input until there is something for the layers above, or no whole packet is left.
    pub(crate) fn receive(&mut self, now: Time, rx: &mut RxBuf) -> Result<Option<Incoming>, Failure> {
        if !self.handshake.identified() {
            let (handshake, mut ground) = self.parts(now);
            let known = handshake.identify(&mut ground, rx)?;
            return Ok(known.then_some(Incoming::Reached(Milestone::Identified)));
        }
        while let Some((seq, payload)) = self.receiver.next(rx)? {
            let number = payload.of(rx).first().copied().unwrap_or(0);
            self.check_budgets()?;
            self.liveness.heard(now);
            match legal::judge(self.handshake.awaits(), self.role, self.handshake.strict(), number) {
                Legality::Reject => return Err(Failure::unexpected(number)),
                Legality::Ignore => {}
                Legality::Unimplemented => self.sender.send(&Unimplemented::new(seq)),
                Legality::Handle => {
                    if let Some(incoming) = self.handle(now, number, seq, payload, rx)? {
                        return Ok(Some(incoming));
                    }
                }
            }
            if self.clogged() {
                break;
            }
            // Between any two packets, so that it does not matter how the input is cut.
            self.renew_keys_if_due(now);
        }
        Ok(None)
    }

    /// Budgets of packets and bytes.
    fn check_budgets(&self) -> Result<(), Failure> {
        let limits = &self.config.limits;
        if self.handshake.stage() != Some(Stage::Connected)
            && self.receiver.received().exceeds(limits.packets_before_auth, limits.bytes_before_auth)
        {
            return Err(Fault::TooMuchBeforeAuth.into());
        }
        let packets = self.receiver.used().packets();
        let wrapped = self.handshake.session_id().is_none() && packets > u64::from(u32::MAX);
        if packets > MAX_PACKETS_PER_KEY || wrapped {
            return Err(Fault::SequenceExhausted.into());
        }
        Ok(())
    }

    /// A message that is legal now.
    fn handle(
        &mut self,
        now: Time,
        number: u8,
        seq: u32,
        payload: Payload,
        rx: &RxBuf,
    ) -> Result<Option<Incoming>, Failure> {
        let bytes = payload.of(rx);
        let (handshake, mut ground) = self.parts(now);
        let milestone = match msg::info(number).map_or(Category::Connection, |i| i.category) {
            Category::KexInit => handshake.on_kexinit(&mut ground, seq, bytes)?,
            Category::KexMethod => handshake.on_method(&mut ground, bytes)?,
            Category::NewKeys => handshake.on_new_keys(&mut ground, bytes)?,
            Category::Ping => {
                self.on_ping(number, bytes)?;
                None
            }
            Category::Filler => None,
            Category::Disconnect => return Ok(Some(Incoming::Disconnect(payload))),
            Category::ExtInfo => {
                handshake.on_ext_info(bytes)?;
                return Ok(Some(Incoming::Message(number, payload)));
            }
            Category::Service | Category::Auth | Category::AuthRequest | Category::Connection => {
                handshake.progressed();
                return Ok(Some(Incoming::Message(number, payload)));
            }
        };
        Ok(milestone.map(Incoming::Reached))
    }

    /// PING is answered, but not while our own key exchange runs: replies would have to be kept (V-35).
    fn on_ping(&mut self, number: u8, payload: &[u8]) -> Result<(), Failure> {
        if number == Ping::NUMBER {
            let ping = parse::<Ping<'_>>(payload)?;
            if self.gate_open() && !self.clogged() {
                self.sender.send(&Pong::new(ping.data));
            }
        }
        Ok(())
    }

    /// True when part of a packet has arrived.
    pub(crate) fn in_packet(&self, rx: &RxBuf) -> bool {
        self.receiver.in_packet(rx)
    }

    // ---- the handshake ----

    /// Where the handshake is, and what came of it.
    pub(crate) fn handshake(&self) -> &Handshake {
        &self.handshake
    }

    /// The application wants new keys as soon as no key exchange is running.
    pub(crate) fn want_keys(&mut self) {
        self.handshake.want_keys();
    }

    /// Starts a key exchange, if it is time for new keys.
    #[inline]
    pub(crate) fn renew_keys_if_due(&mut self, now: Time) {
        if self.handshake.due(&self.sender, &self.receiver, now) {
            let (handshake, mut ground) = self.parts(now);
            handshake.renew(&mut ground);
        }
    }

    /// Server: goes on with the computed reply. False: no such job is awaited.
    pub(crate) fn finish_job(&mut self, now: Time, done: DoneJob) -> Result<bool, Failure> {
        let (handshake, mut ground) = self.parts(now);
        handshake.finish_job(&mut ground, done)
    }

    /// Client: the key is the right one; go on.
    pub(crate) fn accept_host_key(&mut self, now: Time) -> Result<(), Failure> {
        let (handshake, mut ground) = self.parts(now);
        handshake.accept_host_key(&mut ground)
    }

    /// Client: the key is not the right one.
    pub(crate) fn reject_host_key(&mut self) -> Rejected {
        self.handshake.reject_host_key()
    }

    /// Goes on to the next stage, with what begins there: once the user is in, delayed compression and keepalive.
    pub(crate) fn enter(&mut self, stage: Stage, now: Time) {
        if self.handshake.enter(stage) && stage == Stage::Connected {
            self.handshake.start_delayed_compression(&mut self.sender, &mut self.receiver);
            self.liveness.authenticated(now);
        }
    }

    // ---- the rest ----

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn config(&self) -> &Arc<TransportConfig> {
        &self.config
    }

    /// Timers, keepalive and round trips.
    pub(crate) fn liveness(&mut self) -> &mut Liveness {
        &mut self.liveness
    }

    /// The earliest deadline, and what it is for.
    pub(crate) fn deadline(&self) -> Option<(Time, TimerKind)> {
        self.liveness.deadline()
    }

    /// What is to be written to the peer.
    pub(crate) fn tx(&self) -> &TxBuf {
        self.sender.tx()
    }

    /// The same, to take from.
    pub(crate) fn tx_mut(&mut self) -> &mut TxBuf {
        self.sender.tx_mut()
    }

    /// Says goodbye. It goes out whether the gate is open or not, and nothing after it.
    pub(crate) fn send_disconnect(&mut self, code: DisconnectCode, text: &str) {
        // Before the identification of the peer is known there is nobody to read a packet.
        if self.handshake.identified() {
            let text = SshStr::new(text.as_bytes());
            self.sender.send(&Disconnect { code: code.0, description: text });
        }
    }

    /// Server: tells who does not speak SSH, in a line of text (OpenSSH kex.c).
    pub(crate) fn send_not_ssh(&mut self) {
        self.sender.line(b"Invalid SSH identification string.\r\n");
    }
}
