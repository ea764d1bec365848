//! What the transport does with the packets it receives.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::kex::{self, Exchange, Job, KexState, Outcome, Step};
use super::legal::{self, State, Verdict};
use super::limits::MAX_PACKETS_PER_KEY;
use super::negotiate::{self, Negotiated, Role};
use super::packets::Payload;
use super::{DoneJob, Incoming, MAX_IDLE_EXCHANGES, RxBuf, STORM_PACE, Transport};
use crate::crypto::kex::{Ephemeral, PublicValue};
use crate::crypto::{Cipher, Compression, Kex, Protection};
use crate::error::{Denied, Failure, Fault};
use crate::keys::PublicKey;
use crate::msg::{
    Category, DhInit, DhReply, EcdhInit, EcdhReply, ExtInfo, GexGroup, GexInit, GexReply, GexRequest,
    KexInit, Message, NewKeys, Pong, Unimplemented,
};
use crate::rng::Seed;
use crate::time::Time;
use crate::wire::Sink;

/// What became of a message.
type Handled = Result<Option<Incoming>, Failure>;

impl Transport {
    /// Takes input until there is something for the layers above, or no whole packet is left.
    pub(crate) fn receive(&mut self, now: Time, rx: &mut RxBuf) -> Handled {
        if self.peer_ident.is_empty() {
            let Some(line) = self.ident.next(self.role, rx)? else { return Ok(None) };
            self.peer_ident = line;
            self.liveness.identified(now);
            if self.role == Role::Server {
                self.send_kexinit();
            }
            return Ok(Some(Incoming::Ident));
        }
        while let Some((seq, payload)) = self.packets.next(rx)? {
            let bytes = payload.of(rx);
            let number = bytes.first().copied().unwrap_or(0);
            self.check_budgets()?;
            self.liveness.heard(now);
            match legal::judge(self.state(), self.role, self.strict, number) {
                Verdict::Refuse => return Err(Failure::unexpected(number)),
                Verdict::Ignore => {}
                Verdict::Unimplemented => self.packets.send(&Unimplemented::new(seq)),
                Verdict::Handle => {
                    let category = crate::msg::info(number).map_or(Category::Connection, |i| i.category);
                    if let Some(incoming) = self.handle(now, category, seq, payload, rx)? {
                        return Ok(Some(incoming));
                    }
                }
            }
            if self.clogged() {
                break;
            }
            // Between any two packets, so that it does not matter how the input is cut.
            if self.rekey_due(now) {
                self.start_rekey(now);
            }
        }
        Ok(None)
    }

    /// What the receiver is waiting for.
    fn state(&self) -> State {
        match &self.kex {
            KexState::Running(exchange) => {
                match (self.session_id.is_none() || self.base == State::FirstInit, &exchange.step) {
                    (true, Step::AwaitNewKeys { .. }) => State::FirstNewKeys,
                    (true, _) => State::FirstMethod,
                    (false, Step::AwaitNewKeys { .. }) => State::RekeyNewKeys,
                    (false, _) => State::RekeyMethod,
                }
            }
            _ => self.base,
        }
    }

    /// Budgets of packets and bytes.
    fn check_budgets(&self) -> Result<(), Failure> {
        let (messages, bytes) = self.packets.received();
        let limits = &self.config.limits;
        if self.base != State::Connected
            && (messages > limits.packets_before_auth || bytes > limits.bytes_before_auth)
        {
            return Err(Fault::TooMuchBeforeAuth.into());
        }
        let packets = self.packets.received_with_keys();
        let wrapped = self.session_id.is_none() && packets > u64::from(u32::MAX);
        if packets > MAX_PACKETS_PER_KEY || wrapped {
            return Err(Fault::SequenceExhausted.into());
        }
        Ok(())
    }

    fn handle(&mut self, now: Time, category: Category, seq: u32, payload: Payload, rx: &RxBuf) -> Handled {
        let bytes = payload.of(rx);
        match category {
            Category::Disconnect => Ok(Some(Incoming::Disconnect(payload))),
            Category::KexInit => self.on_kexinit(now, seq, bytes),
            Category::KexMethod => self.on_method(now, bytes),
            Category::NewKeys => self.on_newkeys(now, bytes),
            Category::ExtInfo => {
                self.on_ext_info(bytes)?;
                Ok(Some(Incoming::Message(ExtInfo::NUMBER, payload)))
            }
            Category::Ping => {
                if bytes.first() == Some(&crate::msg::Ping::NUMBER) {
                    let ping = Self::parse::<crate::msg::Ping<'_>>(bytes)?;
                    // Replies while our own key exchange runs would have to be kept (V-35).
                    if self.gate_open() && !self.clogged() {
                        self.packets.send(&Pong::new(ping.data));
                    }
                }
                Ok(None)
            }
            Category::Service | Category::Auth | Category::AuthMethod | Category::Connection => {
                self.progressed();
                Ok(Some(Incoming::Message(bytes.first().copied().unwrap_or(0), payload)))
            }
            Category::Filler => Ok(None),
        }
    }

    /// Sends our KEXINIT; the gate is shut until our NEWKEYS.
    pub(super) fn send_kexinit(&mut self) {
        let first = self.session_id.is_none();
        let cookie = self.kex_rng.array();
        let payload = self.config.algorithms.kexinit(self.role, first, cookie, false);
        self.packets.send_payload(&payload);
        self.gate_shut = true;
        self.kex = KexState::Sent(payload);
    }

    fn on_kexinit(&mut self, now: Time, seq: u32, payload: &[u8]) -> Handled {
        let first = self.session_id.is_none();
        let theirs = Self::parse::<KexInit<'_>>(payload)?;
        if matches!(self.kex, KexState::Idle) {
            self.count_exchange(now)?;
            self.send_kexinit();
        }
        let KexState::Sent(ours) = core::mem::replace(&mut self.kex, KexState::Idle) else {
            return Err(Failure::unexpected(KexInit::NUMBER));
        };
        if first {
            self.read_markers(&theirs, seq)?;
        }
        let algorithms = negotiate::negotiate(self.role, &self.config.algorithms, &theirs)?;
        self.check_terrapin(&algorithms)?;
        let skip_guess = theirs.first_kex_packet_follows
            && !KexInit::parse(&ours).is_ok_and(|o| negotiate::guess_was_right(&o, &theirs));
        let (client, server) = match self.role {
            Role::Client => ([&self.our_ident[..], &ours], [&self.peer_ident[..], payload]),
            Role::Server => ([&self.peer_ident[..], payload], [&self.our_ident[..], &ours]),
        };
        // Hashed now: a KEXINIT may be as long as a packet, and is not to be kept.
        let mut hash = self.config.provider.hash(algorithms.kex.hash());
        let ([v_c, i_c], [v_s, i_s]) = (client, server);
        for part in [v_c, v_s, i_c, i_s] {
            hash.put_string(part);
        }
        self.liveness.exchange_goes_on(now);
        let step = self.first_step(now, algorithms.kex)?;
        self.negotiated = Some(algorithms.clone());
        self.kex = KexState::Running(Box::new(Exchange { algorithms, hash: Some(hash), skip_guess, step }));
        Ok(Some(Incoming::Negotiated))
    }

    /// Counts a key exchange that the peer started (K-28).
    fn count_exchange(&mut self, now: Time) -> Result<(), Failure> {
        let paces = now.since(self.idle_since).as_micros() / STORM_PACE.as_micros().max(1);
        let paces = u32::try_from(paces).unwrap_or(u32::MAX);
        self.idle_exchanges = self.idle_exchanges.saturating_sub(paces);
        self.idle_since = if self.idle_exchanges == 0 { now } else { self.idle_since + STORM_PACE * paces };
        self.idle_exchanges = self.idle_exchanges.saturating_add(1);
        if self.idle_exchanges > MAX_IDLE_EXCHANGES {
            return Err(Fault::TooManyKeyExchanges.into());
        }
        Ok(())
    }

    /// Strict key exchange and ext-info are announced in the first KEXINIT only. Strict looks
    /// back: KEXINIT must have been the very first packet.
    fn read_markers(&mut self, theirs: &KexInit<'_>, seq: u32) -> Result<(), Failure> {
        let (strict, ext_info) = match self.role {
            Role::Client => ("kex-strict-s-v00@openssh.com", "ext-info-s"),
            Role::Server => ("kex-strict-c-v00@openssh.com", "ext-info-c"),
        };
        self.strict = theirs.kex.contains(strict);
        self.peer_takes_ext_info = theirs.kex.contains(ext_info);
        if self.strict && seq != 0 {
            return Err(Failure::text(
                Fault::UnexpectedMessage,
                format!("{seq} packets before KEXINIT, under strict key exchange"),
            ));
        }
        Ok(())
    }

    fn check_terrapin(&self, algorithms: &Negotiated) -> Result<(), Failure> {
        let open = |p: &Protection| {
            p.cipher == Cipher::ChaCha20Poly1305 || (p.cipher.cbc() && p.mac.is_some_and(|m| m.etm()))
        };
        if self.strict || self.config.allow_terrapin || !algorithms.protection.iter().any(open) {
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
    fn first_step(&mut self, now: Time, kex: Kex) -> Result<Step, Failure> {
        match (self.role, kex.group_exchange()) {
            (Role::Client, true) => {
                let (min, max) = self.config.limits.group_bits;
                let request = [min, 3072.clamp(min, max), max];
                let [min, n, max] = request;
                self.packets.send(&GexRequest::new(min, n, max));
                self.liveness.expect_reply(now);
                Ok(Step::AwaitGroup { request })
            }
            (Role::Client, false) => {
                let (ephemeral, public) = Ephemeral::client(kex, &mut self.kex_rng, self.config.provider)
                    .map_err(|_| Fault::BadPublicValue)?;
                match &public {
                    PublicValue::String(q) => self.packets.send(&EcdhInit::new(q)),
                    PublicValue::Mpint(e) => self.packets.send(&DhInit::new(e)),
                }
                self.liveness.expect_reply(now);
                Ok(Step::AwaitReply { ephemeral, public, group: None })
            }
            (Role::Server, true) => Ok(Step::AwaitGexRequest),
            (Role::Server, false) => Ok(Step::AwaitInit { group: None }),
        }
    }

    fn on_method(&mut self, now: Time, payload: &[u8]) -> Handled {
        let KexState::Running(mut exchange) = core::mem::replace(&mut self.kex, KexState::Idle) else {
            return Err(Failure::unexpected(payload.first().copied().unwrap_or(0)));
        };
        if exchange.skip_guess {
            exchange.skip_guess = false;
            self.kex = KexState::Running(exchange);
            return Ok(None);
        }
        self.liveness.measure_rtt(now);
        self.liveness.exchange_goes_on(now);
        let handled = match self.role {
            Role::Client => self.client_method(now, &mut exchange, payload),
            Role::Server => self.server_method(&mut exchange, payload),
        };
        self.kex = KexState::Running(exchange);
        match handled? {
            // In a later exchange the key is known already.
            Some(Incoming::HostKey) if self.session_id.is_some() => self.accept_host_key(now).map(|()| None),
            Some(Incoming::Job(job)) if !self.offload => {
                self.finish_job(now, job.run())?;
                Ok(None)
            }
            other => Ok(other),
        }
    }

    fn client_method(&mut self, now: Time, exchange: &mut Exchange, payload: &[u8]) -> Handled {
        let gex = exchange.algorithms.kex.group_exchange();
        if let Step::AwaitGroup { request } = exchange.step {
            let message = Self::parse::<GexGroup<'_>>(payload)?;
            kex::check_group(message.p, message.g, request)?;
            let group = kex::Group { request, p: message.p.to_vec(), g: message.g.to_vec() };
            let (ephemeral, public) =
                Ephemeral::dh(&group.p, &group.g, &mut self.kex_rng, self.config.provider)
                    .map_err(|_| Fault::BadGroup)?;
            if let PublicValue::Mpint(e) = &public {
                self.packets.send(&GexInit::new(e));
            }
            self.liveness.expect_reply(now);
            exchange.step = Step::AwaitReply { ephemeral, public, group: Some(group) };
            return Ok(None);
        }
        let Step::AwaitReply { public, .. } = &exchange.step else {
            return Err(Failure::unexpected(payload.first().copied().unwrap_or(0)));
        };
        let (host_key, server, signature) = match public {
            PublicValue::String(_) => {
                let m = Self::parse::<EcdhReply<'_>>(payload)?;
                (m.host_key, PublicValue::String(m.public.to_vec()), m.signature)
            }
            PublicValue::Mpint(_) if gex => {
                let m = Self::parse::<GexReply<'_>>(payload)?;
                (m.host_key, PublicValue::Mpint(m.f.to_vec()), m.signature)
            }
            PublicValue::Mpint(_) => {
                let m = Self::parse::<DhReply<'_>>(payload)?;
                (m.host_key, PublicValue::Mpint(m.f.to_vec()), m.signature)
            }
        };
        let (outcome, key) = exchange.client_finish(
            self.config.provider,
            host_key,
            server,
            signature,
            self.config.limits.rsa_bits,
        )?;
        if self.session_id.is_some() && self.host_key.as_ref() != Some(&key) {
            return Err(Fault::HostKeyChanged.into());
        }
        exchange.step = Step::Decision { outcome, key };
        Ok(Some(Incoming::HostKey))
    }

    fn server_method(&mut self, exchange: &mut Exchange, payload: &[u8]) -> Handled {
        let number = payload.first().copied().unwrap_or(0);
        if matches!(exchange.step, Step::AwaitGexRequest) {
            let m = Self::parse::<GexRequest<'_>>(payload)?;
            let request = [m.min, m.n, m.max];
            let Some(group) = kex::choose_group(request, self.config.limits.group_bits) else {
                let text = format!("the client asks for {} to {} bits, at best {}", m.min, m.max, m.n);
                return Err(Failure::text(Fault::BadGroup, text));
            };
            self.packets.send(&GexGroup::new(&group.p, &group.g));
            exchange.step = Step::AwaitInit { group: Some(group) };
            return Ok(None);
        }
        let Step::AwaitInit { group } = core::mem::replace(&mut exchange.step, Step::Working) else {
            return Err(Failure::unexpected(number));
        };
        let algorithms = exchange.algorithms.clone();
        let client = match (&group, algorithms.kex) {
            (Some(_), _) => PublicValue::Mpint(Self::parse::<GexInit<'_>>(payload)?.e.to_vec()),
            (None, kex) if crate::crypto::groups::fixed(kex).is_some() => {
                PublicValue::Mpint(Self::parse::<DhInit<'_>>(payload)?.e.to_vec())
            }
            (None, _) => PublicValue::String(Self::parse::<EcdhInit<'_>>(payload)?.public.to_vec()),
        };
        let Some(key) = self.host_keys.iter().find(|k| k.public().fits(algorithms.host_key)) else {
            return Err(Fault::NoCommonAlgorithm.into());
        };
        let key = Arc::clone(key);
        self.job_generation = self.job_generation.wrapping_add(1);
        let hash = exchange.hash_up_to(&key.public().to_blob(), group.as_ref(), &client)?;
        let seed = Seed::new(self.kex_rng.array());
        Ok(Some(Incoming::Job(Box::new(Job {
            generation: self.job_generation,
            provider: self.config.provider,
            kex: algorithms.kex,
            group,
            client,
            hash,
            alg: algorithms.host_key,
            key,
            rng: crate::rng::Rng::from_seed(&seed),
        }))))
    }

    /// Server: goes on with the computed reply. False: no such job is awaited.
    pub(crate) fn finish_job(&mut self, now: Time, done: DoneJob) -> Result<bool, Failure> {
        let KexState::Running(exchange) = &self.kex else { return Ok(false) };
        if !matches!(exchange.step, Step::Working) || done.generation != self.job_generation {
            return Ok(false);
        }
        let (kex, alg) = (exchange.algorithms.kex, exchange.algorithms.host_key);
        let reply = done.result.map_err(Failure::from)?;
        let key = self.host_keys.iter().find(|k| k.public().fits(alg)).map(|k| k.public().clone());
        let blob = key.as_ref().map(PublicKey::to_blob).unwrap_or_default();
        match &reply.public {
            PublicValue::String(q) => self.packets.send(&EcdhReply::new(&blob, q, &reply.signature)),
            PublicValue::Mpint(f) if kex.group_exchange() => {
                self.packets.send(&GexReply::new(&blob, f, &reply.signature));
            }
            PublicValue::Mpint(f) => self.packets.send(&DhReply::new(&blob, f, &reply.signature)),
        }
        self.host_key = key;
        self.send_newkeys(now, reply.outcome)?;
        self.liveness.expect_reply(now);
        Ok(true)
    }

    /// Client: the key that waits for a decision.
    pub(crate) fn offered_key(&self) -> Option<&PublicKey> {
        match &self.kex {
            KexState::Running(x) => match &x.step {
                Step::Decision { key, .. } => Some(key),
                _ => None,
            },
            _ => None,
        }
    }

    /// Client: the key is the right one; go on.
    pub(crate) fn accept_host_key(&mut self, now: Time) -> Result<(), Failure> {
        let KexState::Running(exchange) = &mut self.kex else { return Ok(()) };
        match core::mem::replace(&mut exchange.step, Step::Moving) {
            Step::Decision { outcome, key } => {
                self.host_key = Some(key);
                self.send_newkeys(now, outcome)
            }
            other => {
                exchange.step = other;
                Ok(())
            }
        }
    }

    /// Client: the key is not the right one.
    pub(crate) fn refuse_host_key(&mut self) -> Denied {
        self.kex = KexState::Idle;
        Denied::HostKey
    }

    /// Sends NEWKEYS and puts our sending keys in force.
    fn send_newkeys(&mut self, now: Time, outcome: Outcome) -> Result<(), Failure> {
        let KexState::Running(exchange) = &mut self.kex else { return Ok(()) };
        let first = self.session_id.is_none();
        let session_id = *self.session_id.get_or_insert(outcome.hash);
        let algorithms = exchange.algorithms.clone();
        let (alg, provider) = (algorithms.kex.hash(), self.config.provider);
        let [cs, sc] = algorithms.protection;
        let (out, into) = if self.role == Role::Client { (cs, sc) } else { (sc, cs) };
        let keys = |sender, p| kex::direction_keys(provider, alg, &outcome, &session_id, sender, p);
        let ours = keys(self.role, out);
        let theirs = keys(self.role.peer(), into);
        // Derived lengths are the algorithms' own, so the provider never refuses them.
        let sealer = provider.sealer(out, &ours).map_err(|_| Fault::NoCommonAlgorithm)?;
        let opener = provider.opener(into, &theirs).map_err(|_| Fault::NoCommonAlgorithm)?;
        exchange.step = Step::AwaitNewKeys { opener };
        self.packets.send(&NewKeys::new());
        self.packets.seal_with(sealer, self.strict);
        let compress = self.compresses(self.role);
        self.packets.deflate(compress);
        self.gate_shut = false;
        self.liveness.exchange_goes_on(now);
        if first {
            self.send_ext_info();
        }
        Ok(())
    }

    /// Whether packets that `sender` sends are compressed from now on.
    fn compresses(&self, sender: Role) -> bool {
        let Some(n) = &self.negotiated else { return false };
        let [cs, sc] = n.compression;
        match if sender == Role::Client { cs } else { sc } {
            Compression::None => false,
            Compression::Zlib => true,
            Compression::ZlibOpenssh => self.base == State::Connected,
        }
    }

    /// Delayed compression starts after USERAUTH_SUCCESS, in both directions.
    pub(crate) fn start_delayed_compression(&mut self, sender: Role) {
        let Some(n) = &self.negotiated else { return };
        let [cs, sc] = n.compression;
        let method = if sender == Role::Client { cs } else { sc };
        if method != Compression::ZlibOpenssh {
            return;
        }
        if sender == self.role {
            self.packets.deflate(true);
        } else {
            self.packets.inflate(true);
        }
    }

    fn on_newkeys(&mut self, now: Time, payload: &[u8]) -> Handled {
        Self::parse::<NewKeys<'_>>(payload)?;
        let KexState::Running(exchange) = core::mem::replace(&mut self.kex, KexState::Idle) else {
            return Err(Failure::unexpected(NewKeys::NUMBER));
        };
        let Step::AwaitNewKeys { opener } = exchange.step else {
            return Err(Failure::unexpected(NewKeys::NUMBER));
        };
        if self.role == Role::Server {
            // The client's NEWKEYS answers our reply.
            self.liveness.measure_rtt(now);
        }
        self.packets.open_with(opener, self.strict);
        let compress = self.compresses(self.role.peer());
        self.packets.inflate(compress);
        self.liveness.keyed(now);
        self.keyed_at = now;
        self.exchanges = self.exchanges.saturating_add(1);
        let first = self.base == State::FirstInit;
        if first {
            self.base = State::Service;
        }
        Ok(Some(Incoming::Keyed(first)))
    }

    /// Server: what we understand, right after the first NEWKEYS (RFC 8308 §2.4).
    fn send_ext_info(&mut self) {
        if self.role == Role::Client || !self.peer_takes_ext_info {
            return;
        }
        let names: crate::wire::NameListBuilder =
            self.config.algorithms.user_key.iter().map(|a| a.name()).collect();
        let mut pairs = Vec::new();
        for (name, value) in [("server-sig-algs", names.finish().as_str()), ("ping@openssh.com", "0")] {
            pairs.put_string(name.as_bytes());
            pairs.put_string(value.as_bytes());
        }
        self.packets.send(&ExtInfo::new(2, &pairs));
    }

    /// RFC 8308 §2.4: a client sends at most one, a server at most two.
    fn on_ext_info(&mut self, payload: &[u8]) -> Result<(), Failure> {
        self.ext_infos = self.ext_infos.saturating_add(1);
        let most = if self.role == Role::Client { 2 } else { 1 };
        if self.ext_infos > most {
            return Err(Failure::unexpected(ExtInfo::NUMBER));
        }
        Self::parse::<ExtInfo<'_>>(payload)?;
        Ok(())
    }
}
