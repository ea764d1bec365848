//! How an exchange ends: keys (RFC 4253 §7.2), NEWKEYS (§7.3), and what follows the first one (RFC 8308).

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::method::Outcome;
use super::negotiate::{Negotiated, Role};
use super::{Ground, Handled, Handshake, Milestone, Session, Stage, State};
use crate::crypto::{Compression, Digest, DirectionKeys, HashAlgorithm, Protection, Provider, Secret};
use crate::error::{Failure, Fault};
use crate::keys::PublicKey;
use crate::msg::{ExtInfo, Message, NewKeys};
use crate::transport::HOSTBOUND;
use crate::transport::packets::{Receiver, Sender, parse};
use crate::wire::{NameListBuilder, Sink};

impl Handshake {
    /// Sends NEWKEYS and puts our sending keys in force: the gate opens.
    pub(super) fn send_new_keys(
        &mut self,
        ground: &mut Ground<'_>,
        algorithms: &Negotiated,
        outcome: &Outcome,
        (host_key, proof): (PublicKey, Vec<u8>),
        session: Option<Box<Session>>,
    ) -> Result<(), Failure> {
        let first = session.is_none();
        let session = match session {
            Some(mut session) => {
                session.host_key = host_key;
                session
            }
            None => {
                let first_key = host_key.clone();
                Box::new(Session { id: outcome.hash, first_key, proof, host_key, stage: Stage::Service })
            }
        };
        let (algorithm, provider) = (algorithms.kex.hash(), ground.config.provider);
        let [cs, sc] = algorithms.protection;
        let (out, into) = if self.role == Role::Client { (cs, sc) } else { (sc, cs) };
        let keys = |sender, p| direction_keys(provider, algorithm, outcome, &session.id, sender, p);
        let sealer = provider.sealer(out, &keys(self.role, out));
        let opener = provider.opener(into, &keys(self.role.peer(), into));
        let (Ok(sealer), Ok(opener)) = (sealer, opener) else {
            // Derived lengths are the algorithms' own, so the provider never refuses them.
            self.state = State::Over { session: Some(session) };
            return Err(Fault::NoCommonAlgorithm.into());
        };
        self.state = State::NewKeys { opener, session };
        ground.sender.send(&NewKeys::new());
        ground.sender.rekey(sealer, self.markers.strict);
        ground.sender.compress(self.compresses(self.role));
        ground.liveness.exchange_goes_on(ground.now);
        if first {
            self.send_ext_info(ground);
        }
        Ok(())
    }

    /// The peer's NEWKEYS: its keys come into force, and the exchange is complete.
    pub(in crate::transport) fn on_new_keys(&mut self, ground: &mut Ground<'_>, payload: &[u8]) -> Handled {
        parse::<NewKeys<'_>>(payload)?;
        let (opener, session) = match self.take() {
            State::NewKeys { opener, session } => (opener, session),
            other => {
                self.state = other;
                return Err(Failure::unexpected(NewKeys::NUMBER));
            }
        };
        self.state = State::Idle { session };
        if self.role == Role::Server {
            // The client's NEWKEYS answers our reply.
            ground.liveness.measure_rtt(ground.now);
        }
        ground.receiver.rekey(opener, self.markers.strict);
        ground.receiver.compress(self.compresses(self.role.peer()));
        ground.liveness.keyed(ground.now);
        self.renewal = self.renewal(&ground.config.rekey, ground.now);
        self.completed = self.completed.saturating_add(1);
        Ok(Some(if self.completed == 1 { Milestone::Keyed } else { Milestone::Rekeyed }))
    }

    // ---- compression ----

    /// Whether packets that `sender` sends are compressed from NEWKEYS on.
    fn compresses(&self, sender: Role) -> bool {
        match self.compression(sender) {
            Compression::None => false,
            Compression::Zlib => true,
            Compression::ZlibOpenssh => self.stage() == Some(Stage::Connected),
        }
    }

    /// The compression that was agreed on for what `sender` sends.
    fn compression(&self, sender: Role) -> Compression {
        let Some(n) = &self.negotiated else { return Compression::None };
        let [cs, sc] = n.compression;
        if sender == Role::Client { cs } else { sc }
    }

    /// Delayed compression starts after USERAUTH_SUCCESS, in both directions.
    pub(in crate::transport) fn start_delayed_compression(
        &self,
        sender: &mut Sender,
        receiver: &mut Receiver,
    ) {
        let delayed = |sender| self.compression(sender) == Compression::ZlibOpenssh;
        if delayed(self.role) {
            sender.compress(true);
        }
        if delayed(self.role.peer()) {
            receiver.compress(true);
        }
    }

    // ---- extensions ----

    /// Server: what we understand, right after the first NEWKEYS (RFC 8308 §2.4).
    fn send_ext_info(&mut self, ground: &mut Ground<'_>) {
        if self.role == Role::Client || !self.markers.ext_info {
            return;
        }
        // The names are those that stand in signatures, which certificates do not have (OpenSSH `kex_server_sig_algs`).
        let plain = ground.config.algorithms.user_key.iter().filter(|a| !a.key_type().is_certificate());
        let names: NameListBuilder = plain.map(|a| a.name()).collect();
        let mut pairs = Vec::new();
        let names = names.finish();
        for (name, value) in
            [("server-sig-algs", names.as_str()), (HOSTBOUND, "0"), ("ping@openssh.com", "0")]
        {
            pairs.put_string(name.as_bytes());
            pairs.put_string(value.as_bytes());
        }
        ground.sender.send(&ExtInfo::new(3, &pairs));
    }

    /// RFC 8308 §2.4: a client sends at most one, a server at most two.
    pub(in crate::transport) fn on_ext_info(&mut self, payload: &[u8]) -> Result<(), Failure> {
        self.ext_infos = self.ext_infos.saturating_add(1);
        let most = if self.role == Role::Client { 2 } else { 1 };
        if self.ext_infos > most {
            return Err(Failure::unexpected(ExtInfo::NUMBER));
        }
        parse::<ExtInfo<'_>>(payload)?;
        Ok(())
    }
}

/// The keys of one direction (RFC 4253 §7.2). `sender` is the side that sends in it.
pub(super) fn direction_keys(
    provider: &dyn Provider,
    algorithm: HashAlgorithm,
    outcome: &Outcome,
    session_id: &Digest,
    sender: Role,
    protection: Protection,
) -> DirectionKeys {
    let [iv, key, mac] = match sender {
        Role::Client => *b"ACE",
        Role::Server => *b"BDF",
    };
    let derive = |letter, len| derive(provider, algorithm, outcome, session_id, letter, len);
    DirectionKeys {
        iv: derive(iv, protection.cipher.iv_len()),
        key: derive(key, protection.cipher.key_len()),
        mac: derive(mac, protection.mac.map_or(0, |m| m.key_len())),
    }
}

fn derive(
    provider: &dyn Provider,
    algorithm: HashAlgorithm,
    outcome: &Outcome,
    session_id: &Digest,
    letter: u8,
    len: usize,
) -> Secret {
    let (k, h) = (outcome.shared.encoded(), outcome.hash.as_bytes());
    // Whole digests first, cut at the end: the capacity never changes, so no copy is left behind.
    // A digest of keys is a piece of them.
    let mut out = zeroize::Zeroizing::new(Vec::with_capacity(len.saturating_add(algorithm.len())));
    let mut part = Digest::of(provider, algorithm, &[k, h, &[letter], session_id.as_bytes()]);
    out.extend_from_slice(part.as_bytes());
    while out.len() < len {
        part = Digest::of(provider, algorithm, &[k, h, &out]);
        out.extend_from_slice(part.as_bytes());
    }
    part.wipe();
    Secret::copy_of(out.get(..len).unwrap_or_default())
}
