//! How an exchange begins: two KEXINITs (RFC 4253 §7.1), and when new keys are due (§9).

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use super::method::{Exchange, Step};
use super::negotiate::{self, Negotiated, Role};
use super::{Ground, Handled, Handshake, Milestone, Stage, State};
use crate::crypto::kex::{Ephemeral, PublicValue};
use crate::crypto::{Cipher, Hash, Kex, Protection};
use crate::error::{Failure, Fault};
use crate::msg::{DhInit, EcdhInit, GexRequest, KexInit, Message};
use crate::time::Time;
use crate::transport::limits::{MAX_PACKETS_PER_KEY, RekeyLimit};
use crate::transport::packets::{Receiver, Sender, parse};
use crate::wire::Sink;

/// What a peer announces in its first KEXINIT only.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Markers {
    /// Strict key exchange (OpenSSH PROTOCOL §1.9).
    pub(super) strict: bool,
    /// It takes EXT_INFO (RFC 8308 §2.1).
    pub(super) ext_info: bool,
}

impl Markers {
    /// Strict looks back: KEXINIT must have been the very first packet.
    fn read(role: Role, theirs: &KexInit<'_>, seq: u32) -> Result<Self, Failure> {
        let (strict, ext_info) = match role {
            Role::Client => ("kex-strict-s-v00@openssh.com", "ext-info-s"),
            Role::Server => ("kex-strict-c-v00@openssh.com", "ext-info-c"),
        };
        let markers =
            Markers { strict: theirs.kex.contains(strict), ext_info: theirs.kex.contains(ext_info) };
        if markers.strict && seq != 0 {
            return Err(Failure::text(
                Fault::UnexpectedMessage,
                format!("{seq} packets before KEXINIT, under strict key exchange"),
            ));
        }
        Ok(markers)
    }
}

/// Where the keys in force end: by what went through in either direction, or by the clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Renewal {
    packets: u64,
    bytes: u64,
    at: Time,
}

impl Handshake {
    // ---- new keys ----

    /// The application wants new keys as soon as no exchange is running.
    pub(in crate::transport) fn want_keys(&mut self) {
        self.wanted = true;
    }

    /// A message of the layers above came or went: who renews the keys has something to say, too.
    pub(in crate::transport) fn progressed(&mut self) {
        self.storm.progressed();
    }

    /// Starts an exchange of our own, unless one is running.
    #[cold]
    pub(in crate::transport) fn renew(&mut self, ground: &mut Ground<'_>) {
        match self.take() {
            State::Idle { session } => {
                self.wanted = false;
                let ours = self.send_kexinit(ground, false);
                self.state = State::Init { ours, session: Some(session) };
                ground.liveness.exchange_goes_on(ground.now);
            }
            other => self.state = other,
        }
    }

    /// Whether it is time for new keys, and no exchange is running. Asked with every packet.
    #[inline]
    pub(in crate::transport) fn due(&self, sender: &Sender, receiver: &Receiver, now: Time) -> bool {
        let State::Idle { session } = &self.state else { return false };
        let old = self.wanted
            || now >= self.renewal.at
            || sender.used().reaches(self.renewal.packets, self.renewal.bytes)
            || receiver.used().reaches(self.renewal.packets, self.renewal.bytes);
        old && session.stage == Stage::Connected
    }

    /// When the keys that come into force now are to be renewed.
    pub(super) fn renewal(&self, limit: &RekeyLimit, now: Time) -> Renewal {
        Renewal {
            packets: limit.packets.min(MAX_PACKETS_PER_KEY),
            bytes: limit.bytes.min(self.cipher_limit()),
            at: now + limit.time,
        }
    }

    /// Bytes after which a cipher's blocks begin to collide: 2^32 blocks of 16 bytes, 1 GiB for
    /// 8-byte blocks (RFC 4344 §3.2, OpenSSH packet.c).
    fn cipher_limit(&self) -> u64 {
        let eight = |c: Cipher| c.block() == 8;
        let small = self.negotiated.as_ref().is_some_and(|n| n.protection.iter().any(|p| eight(p.cipher)));
        if small { 1 << 30 } else { 1 << 36 }
    }

    // ---- KEXINIT ----

    /// Sends our KEXINIT, which shuts the gate: whoever calls goes on to a state that has it.
    pub(super) fn send_kexinit(&mut self, ground: &mut Ground<'_>, first: bool) -> Vec<u8> {
        let cookie = self.rng.array();
        let payload =
            ground.config.algorithms.kexinit(self.role, ground.config.provider.prefix(), first, cookie);
        ground.sender.send_payload(&payload);
        payload
    }

    /// The peer's KEXINIT: the answer to ours, or the first of the two.
    pub(in crate::transport) fn on_kexinit(
        &mut self,
        ground: &mut Ground<'_>,
        seq: u32,
        payload: &[u8],
    ) -> Handled {
        let theirs = parse::<KexInit<'_>>(payload)?;
        if matches!(self.state, State::Idle { .. }) {
            self.storm.exchange(ground.now)?;
            if let State::Idle { session } = self.take() {
                let ours = self.send_kexinit(ground, false);
                self.state = State::Init { ours, session: Some(session) };
            }
        }
        let State::Init { ours, session } = &self.state else {
            return Err(Failure::unexpected(KexInit::NUMBER));
        };
        if session.is_none() {
            self.markers = Markers::read(self.role, &theirs, seq)?;
        }
        let algorithms = negotiate::negotiate(
            self.role,
            ground.config.provider.prefix(),
            &ground.config.algorithms,
            &theirs,
        )?;
        self.check_terrapin(ground, &algorithms)?;
        let skip_guess = theirs.first_kex_packet_follows
            && !KexInit::parse(ours).is_ok_and(|o| negotiate::guess_was_right(&o, &theirs));
        let hash = self.hash_up_to_kexinits(ground, &algorithms, ours, payload);
        ground.liveness.exchange_goes_on(ground.now);
        let step = self.first_step(ground, algorithms.kex, hash)?;
        self.negotiated = Some(algorithms.clone());
        if let State::Init { session, .. } = self.take() {
            let exchange = Exchange { algorithms, skip_guess, step };
            self.state = State::Method { exchange, session };
        }
        Ok(Some(Milestone::Negotiated))
    }

    /// The exchange hash of `V_C V_S I_C I_S`. Made at once: a KEXINIT may be as long as a packet, and is
    /// not to be kept.
    fn hash_up_to_kexinits(
        &self,
        ground: &Ground<'_>,
        algorithms: &Negotiated,
        ours: &[u8],
        theirs: &[u8],
    ) -> Box<dyn Hash> {
        let (us, them) = ([&self.our_ident[..], ours], [&self.peer_ident[..], theirs]);
        let ([v_c, i_c], [v_s, i_s]) = match self.role {
            Role::Client => (us, them),
            Role::Server => (them, us),
        };
        let mut hash = ground.config.provider.hash(algorithms.kex.hash());
        for part in [v_c, v_s, i_c, i_s] {
            hash.put_string(part);
        }
        hash
    }

    fn check_terrapin(&self, ground: &Ground<'_>, algorithms: &Negotiated) -> Result<(), Failure> {
        let open = |p: &Protection| {
            p.cipher == Cipher::ChaCha20Poly1305 || (p.cipher.cbc() && p.mac.is_some_and(|m| m.etm()))
        };
        let safe = self.markers.strict || ground.config.allow_terrapin;
        if safe || !algorithms.protection.iter().any(open) {
            return Ok(());
        }
        Err(Failure::text(
            Fault::PrefixTruncation,
            "it lacks strict key exchange, without which the agreed cipher is open to prefix truncation \
             (CVE-2023-48795); put AES-GCM or AES-CTR first, if the peer has them, or allow it in the configuration"
                .into(),
        ))
    }

    /// What follows the two KEXINITs on our side.
    fn first_step(
        &mut self,
        ground: &mut Ground<'_>,
        kex: Kex,
        hash: Box<dyn Hash>,
    ) -> Result<Step, Failure> {
        match (self.role, kex.group_exchange()) {
            (Role::Client, true) => {
                let (min, max) = ground.config.limits.group_bits;
                let request = [min, ground.config.preferred_group_bits.max(min).min(max), max];
                let [min, n, max] = request;
                ground.sender.send(&GexRequest::new(min, n, max));
                ground.liveness.expect_reply(ground.now);
                Ok(Step::Group { hash, request })
            }
            (Role::Client, false) => {
                let (ephemeral, public) = Ephemeral::client(kex, &mut self.rng, ground.config.provider)
                    .map_err(|_| Fault::BadPublicValue)?;
                match &public {
                    PublicValue::String(q) => ground.sender.send(&EcdhInit::new(q)),
                    PublicValue::Mpint(e) => ground.sender.send(&DhInit::new(e)),
                }
                ground.liveness.expect_reply(ground.now);
                Ok(Step::Reply { hash, ephemeral, public, group: None })
            }
            (Role::Server, true) => Ok(Step::GexRequest { hash }),
            (Role::Server, false) => Ok(Step::Init { hash, group: None }),
        }
    }
}
