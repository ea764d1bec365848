//! The steps of one key exchange (RFC 4253 §7 and §8, RFC 4419, RFC 5656, RFC 8731), as values.
//!
//! ```text
//! client: ours sent -> both KEXINITs -> [AwaitGroup] -> AwaitReply -> Decision -> AwaitNewKeys
//! server: ours sent -> both KEXINITs -> [AwaitGexRequest] -> AwaitInit -> [Working] -> AwaitNewKeys
//! ```

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::negotiate::{Negotiated, Role};
use crate::crypto::kex::{Ephemeral, PublicValue, respond};
use crate::crypto::{
    BadPublicValue, Digest, DirectionKeys, Hash, HashAlg, Kex, PacketOpener, Protection, Provider, Secret,
    SharedSecret, SigAlg,
};
use crate::error::{Failure, Fault};
use crate::keys::{KeyPair, PublicKey};
use crate::rng::Rng;
use crate::wire::Sink;

/// Where the exchange is.
pub(crate) enum KexState {
    /// None is running.
    Idle,
    /// Our KEXINIT is out.
    Sent(Vec<u8>),
    /// Both KEXINITs are known.
    Running(Box<Exchange>),
}

/// An exchange in which both KEXINITs are known.
pub(crate) struct Exchange {
    pub(crate) algorithms: Negotiated,
    /// The exchange hash, of `V_C V_S I_C I_S` so far. Taken when the rest is known.
    pub(crate) hash: Option<Box<dyn Hash>>,
    /// The next packet of the method is a wrong guess of the peer.
    pub(crate) skip_guess: bool,
    pub(crate) step: Step,
}

pub(crate) enum Step {
    /// Client: GEX_REQUEST is out.
    AwaitGroup { request: [u32; 3] },
    /// Client: our public value is out.
    AwaitReply { ephemeral: Ephemeral, public: PublicValue, group: Option<Group> },
    /// Client: the signature is right; is it the right key?
    Decision { outcome: Outcome, key: PublicKey },
    /// Server: a group is to be chosen.
    AwaitGexRequest,
    /// Server: the client's public value is next.
    AwaitInit { group: Option<Group> },
    /// Server: a job is computing the reply.
    Working,
    /// Our NEWKEYS is out; with the peer's, these keys come into force.
    AwaitNewKeys { opener: Box<dyn PacketOpener> },
    /// Between two steps.
    Moving,
}

/// A group as negotiated by RFC 4419.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) request: [u32; 3],
    pub(crate) p: Vec<u8>,
    pub(crate) g: Vec<u8>,
}

/// What an exchange yields.
pub(crate) struct Outcome {
    pub(crate) shared: SharedSecret,
    pub(crate) hash: Digest,
}

impl Exchange {
    /// The exchange hash up to and including the client's public value. There is one an exchange.
    pub(crate) fn hash_up_to(
        &mut self,
        host_key: &[u8],
        group: Option<&Group>,
        client: &PublicValue,
    ) -> Result<Box<dyn Hash>, Failure> {
        let mut out = self.hash.take().ok_or(Fault::UnexpectedMessage)?;
        out.put_string(host_key);
        if let Some(group) = group {
            for bits in group.request {
                out.put_u32(bits);
            }
            out.put_mpint(&group.p);
            out.put_mpint(&group.g);
        }
        client.put(&mut *out);
        Ok(out)
    }

    /// Client: completes the exchange with the server's reply and checks its signature.
    pub(crate) fn client_finish(
        &mut self,
        provider: &dyn Provider,
        host_key: &[u8],
        server: PublicValue,
        signature: &[u8],
        rsa_bits: usize,
    ) -> Result<(Outcome, PublicKey), Failure> {
        let Step::AwaitReply { ephemeral, public, group } = core::mem::replace(&mut self.step, Step::Moving)
        else {
            return Err(Fault::UnexpectedMessage.into());
        };
        let alg = self.algorithms.host_key;
        let key = PublicKey::from_blob(host_key)
            .map_err(|e| Failure::text(Fault::BadHostKey, alloc::format!("{e}")))?;
        if !key.fits(alg) {
            let text = alloc::format!("a {} key, but {alg} was agreed on", key.key_type());
            return Err(Failure::text(Fault::BadHostKey, text));
        }
        if !key.strength_ok(rsa_bits) {
            let text = alloc::format!("an RSA key of {} bits; at least {rsa_bits} are required", key.bits());
            return Err(Failure::text(Fault::WeakHostKey, text));
        }
        let hash = self.hash_up_to(host_key, group.as_ref(), &public)?;
        let shared = ephemeral.finish(&server, provider).map_err(|BadPublicValue| Fault::BadPublicValue)?;
        let hash = exchange_hash(self.algorithms.kex.hash(), hash, &server, &shared);
        crate::keys::signature::verify(provider, &key, alg, hash.as_bytes(), signature)
            .map_err(|_| Fault::BadHostSignature)?;
        Ok((Outcome { shared, hash }, key))
    }
}

fn exchange_hash(
    alg: HashAlg,
    mut hash: Box<dyn Hash>,
    server: &PublicValue,
    shared: &SharedSecret,
) -> Digest {
    server.put(&mut *hash);
    hash.update(shared.encoded());
    Digest::finish(alg, hash)
}

/// The server's share of a key exchange: its ephemeral key, the shared secret and the host key's
/// signature. Milliseconds of work with RSA or large groups; [`run`](Self::run) may be called on
/// any thread.
pub struct Job {
    pub(crate) generation: u32,
    pub(crate) provider: &'static dyn Provider,
    pub(crate) kex: Kex,
    pub(crate) group: Option<Group>,
    pub(crate) client: PublicValue,
    pub(crate) hash: Box<dyn Hash>,
    pub(crate) key: Arc<KeyPair>,
    pub(crate) alg: SigAlg,
    pub(crate) rng: Rng,
}

/// A finished [`Job`], to be handed to `finish_job`.
pub struct DoneJob {
    pub(crate) generation: u32,
    pub(crate) result: Result<ServerReply, Fault>,
}

pub(crate) struct ServerReply {
    pub(crate) public: PublicValue,
    pub(crate) signature: Vec<u8>,
    pub(crate) outcome: Outcome,
}

impl Job {
    /// Does the work.
    pub fn run(self) -> DoneJob {
        DoneJob { generation: self.generation, result: self.reply() }
    }

    fn reply(mut self) -> Result<ServerReply, Fault> {
        let (public, shared) = match &self.group {
            Some(group) => {
                let (own, public) = Ephemeral::dh(&group.p, &group.g, &mut self.rng, self.provider)
                    .map_err(|BadPublicValue| Fault::BadPublicValue)?;
                (
                    public,
                    own.finish(&self.client, self.provider)
                        .map_err(|BadPublicValue| Fault::BadPublicValue)?,
                )
            }
            None => respond(self.kex, &self.client, &mut self.rng, self.provider)
                .map_err(|BadPublicValue| Fault::BadPublicValue)?,
        };
        let hash = exchange_hash(self.kex.hash(), self.hash, &public, &shared);
        // Our own key failing to sign is not the peer's fault, but there is no other way on.
        let signature =
            self.key.sign(self.alg, hash.as_bytes(), &mut self.rng).map_err(|_| Fault::BadHostKey)?;
        Ok(ServerReply { public, signature, outcome: Outcome { shared, hash } })
    }
}

/// Of one connection: the same piece of work.
impl PartialEq for Job {
    fn eq(&self, other: &Self) -> bool {
        self.generation == other.generation
    }
}

impl Eq for Job {}

impl core::fmt::Debug for Job {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Job({}, {})", self.kex, self.alg)
    }
}

impl core::fmt::Debug for DoneJob {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("DoneJob(..)")
    }
}

/// The keys of one direction (RFC 4253 §7.2). `sender` is the side that sends in it.
pub(crate) fn direction_keys(
    provider: &dyn Provider,
    alg: HashAlg,
    outcome: &Outcome,
    session_id: &Digest,
    sender: Role,
    protection: Protection,
) -> DirectionKeys {
    let [iv, key, mac] = match sender {
        Role::Client => *b"ACE",
        Role::Server => *b"BDF",
    };
    let derive = |letter, len| derive(provider, alg, outcome, session_id, letter, len);
    DirectionKeys {
        iv: derive(iv, protection.cipher.iv_len()),
        key: derive(key, protection.cipher.key_len()),
        mac: derive(mac, protection.mac.map_or(0, |m| m.key_len())),
    }
}

fn derive(
    provider: &dyn Provider,
    alg: HashAlg,
    outcome: &Outcome,
    session_id: &Digest,
    letter: u8,
    len: usize,
) -> Secret {
    let (k, h) = (outcome.shared.encoded(), outcome.hash.as_bytes());
    // Whole digests first, cut at the end: the capacity never changes, so no copy is left behind.
    // A digest of keys is a piece of them.
    let mut out = zeroize::Zeroizing::new(Vec::with_capacity(len.saturating_add(alg.len())));
    let mut part = Digest::of(provider, alg, &[k, h, &[letter], session_id.as_bytes()]);
    out.extend_from_slice(part.as_bytes());
    while out.len() < len {
        part = Digest::of(provider, alg, &[k, h, &out]);
        out.extend_from_slice(part.as_bytes());
    }
    part.wipe();
    Secret::copy_of(out.get(..len).unwrap_or_default())
}

/// Checks a group that a server proposes: size as asked, odd, generator in range.
pub(crate) fn check_group(p: &[u8], g: &[u8], request: [u32; 3]) -> Result<(), Failure> {
    let [min, _, max] = request;
    let top = p.first().map_or(8, |b| b.leading_zeros());
    let bits = u32::try_from(p.len()).unwrap_or(u32::MAX).saturating_mul(8).saturating_sub(top);
    let odd = p.last().is_some_and(|b| b & 1 == 1);
    let g_ok = !g.is_empty() && g != [1] && (g.len() < p.len() || (g.len() == p.len() && g < p));
    // g = p - 1 has order 2; p is odd, so they differ in the last bit only.
    let minus_one = g.len() == p.len() && g.iter().rev().skip(1).eq(p.iter().rev().skip(1));
    if bits < min || bits > max || !odd || !g_ok || minus_one {
        let text = alloc::format!("a modulus of {bits} bits, where {min} to {max} were asked for");
        return Err(Failure::text(Fault::BadGroup, text));
    }
    Ok(())
}

/// The server's choice for a group exchange: the smallest fixed group that is at least as large as
/// wanted, else the largest allowed one.
pub(crate) fn choose_group(request: [u32; 3], allowed: (u32, u32)) -> Option<Group> {
    use crate::crypto::groups::{GROUP14, GROUP15, GROUP16, GROUP18};
    let [min, n, max] = request;
    if min > max || n < min || n > max {
        return None;
    }
    let (min, max) = (min.max(allowed.0), max.min(allowed.1));
    let groups = [(2048, GROUP14), (3072, GROUP15), (4096, GROUP16), (8192, GROUP18)];
    let mut fitting = groups.into_iter().filter(|(bits, _)| (min..=max).contains(bits));
    let chosen = fitting.clone().find(|(bits, _)| *bits >= n).or_else(|| fitting.next_back());
    chosen.map(|(_, g)| Group { request, p: g.p.to_vec(), g: g.g.to_vec() })
}
