//! The messages of a key exchange method (RFC 4253 §8, RFC 4419, RFC 5656, RFC 8731), step by step.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::group::{self, Group};
use super::job::{Done, ServerReply, Share, Work};
use super::negotiate::{Negotiated, Role};
use super::{DoneJob, Ground, Handled, Handshake, Job, Milestone, State};
use crate::crypto::kex::{Ephemeral, PublicValue};
use crate::crypto::{BadPublicValue, Digest, Hash, HashAlgorithm, SharedSecret};
use crate::error::{Failure, Fault};
use crate::keys::{KeyPair, PublicKey};
use crate::msg::{DhInit, DhReply, EcdhInit, EcdhReply, GexGroup, GexInit, GexReply, GexRequest};
use crate::rng::{Rng, Seed};
use crate::transport::packets::parse;
use crate::wire::Sink;

/// An exchange in which both KEXINITs are known.
pub(super) struct Exchange {
    pub(super) algorithms: Negotiated,
    /// The next packet of the method is a wrong guess of the peer.
    pub(super) skip_guess: bool,
    pub(super) step: Step,
}

/// Where the method is. `hash` is the exchange hash as far as it is known; there is one an exchange.
pub(super) enum Step {
    /// Client: GEX_REQUEST is out.
    Group { hash: Box<dyn Hash>, request: [u32; 3] },
    /// Client: this job is testing the group.
    Screening { job: u32, hash: Box<dyn Hash>, group: Group },
    /// Client: our public value is out.
    Reply { hash: Box<dyn Hash>, ephemeral: Ephemeral, public: PublicValue, group: Option<Group> },
    /// Client: the signature is right; is it the right key?
    Decision { outcome: Outcome, key: PublicKey, signature: Vec<u8> },
    /// Server: a group is to be chosen.
    GexRequest { hash: Box<dyn Hash> },
    /// Server: the client's public value is next.
    Init { hash: Box<dyn Hash>, group: Option<Group> },
    /// Server: this job is computing the reply.
    Working { job: u32, key: Arc<KeyPair> },
}

/// What an exchange yields.
pub(super) struct Outcome {
    pub(super) shared: SharedSecret,
    pub(super) hash: Digest,
}

/// The rest of the exchange hash, from the server's public value on.
pub(super) fn exchange_hash(
    algorithm: HashAlgorithm,
    mut hash: Box<dyn Hash>,
    server: &PublicValue,
    shared: &SharedSecret,
) -> Digest {
    server.put(&mut *hash);
    hash.update(shared.encoded());
    Digest::finish(algorithm, hash)
}

/// Adds what comes up to and including the client's public value.
fn hash_up_to_init(hash: &mut dyn Hash, host_key: &[u8], group: Option<&Group>, client: &PublicValue) {
    hash.put_string(host_key);
    if let Some(group) = group {
        for bits in group.request {
            hash.put_u32(bits);
        }
        hash.put_mpint(&group.p);
        hash.put_mpint(&group.g);
    }
    client.put(hash);
}

impl Handshake {
    /// A message of the method.
    pub(in crate::transport) fn on_method(&mut self, ground: &mut Ground<'_>, payload: &[u8]) -> Handled {
        let (exchange, session) = match self.take() {
            State::Method { exchange, session } => (exchange, session),
            other => {
                self.state = other;
                return Err(unexpected(payload));
            }
        };
        let Exchange { algorithms, skip_guess, step } = exchange;
        if skip_guess {
            let exchange = Exchange { algorithms, skip_guess: false, step };
            self.state = State::Method { exchange, session };
            return Ok(None);
        }
        ground.liveness.measure_rtt(ground.now);
        ground.liveness.exchange_goes_on(ground.now);
        let known = session.as_ref().map(|session| &session.host_key);
        let made = match (self.role, step) {
            (Role::Client, Step::Group { hash, request }) => self.on_group(hash, request, ground, payload),
            (Role::Client, step) => client_step(step, &algorithms, known, ground, payload),
            (Role::Server, step) => self.server_step(step, &algorithms, ground, payload),
        };
        let first = session.is_none();
        let (step, milestone) = match made {
            Ok(made) => made,
            Err(failure) => {
                self.state = State::Over { session };
                return Err(failure);
            }
        };
        let exchange = Exchange { algorithms, skip_guess: false, step };
        self.state = State::Method { exchange, session };
        match milestone {
            // In a later exchange the key is known already.
            Some(Milestone::HostKey) if !first => self.accept_host_key(ground).map(|()| None),
            Some(Milestone::Job(job)) if !self.offload && self.role == Role::Server => {
                self.finish_job(ground, job.run())?;
                Ok(None)
            }
            other => Ok(other),
        }
    }

    fn server_step(
        &mut self,
        step: Step,
        algorithms: &Negotiated,
        ground: &mut Ground<'_>,
        payload: &[u8],
    ) -> Result<(Step, Option<Milestone>), Failure> {
        match step {
            Step::GexRequest { hash } => {
                let m = parse::<GexRequest<'_>>(payload)?;
                let request = [m.min, m.n, m.max];
                let Some(group) = group::choose(
                    request,
                    ground.config.limits.group_bits,
                    ground.config.moduli.as_deref(),
                    &mut self.rng,
                ) else {
                    let text = format!("the client asks for {} to {} bits, at best {}", m.min, m.max, m.n);
                    return Err(Failure::text(Fault::BadGroup, text));
                };
                ground.sender.send(&GexGroup::new(&group.p, &group.g));
                Ok((Step::Init { hash, group: Some(group) }, None))
            }
            Step::Init { mut hash, group } => {
                let client = match (&group, algorithms.kex) {
                    (Some(_), _) => PublicValue::Mpint(parse::<GexInit<'_>>(payload)?.e.to_vec()),
                    (None, kex) if crate::crypto::groups::fixed(kex).is_some() => {
                        PublicValue::Mpint(parse::<DhInit<'_>>(payload)?.e.to_vec())
                    }
                    (None, _) => PublicValue::String(parse::<EcdhInit<'_>>(payload)?.public.to_vec()),
                };
                let Some(key) = self.host_keys.iter().find(|k| k.public().fits(algorithms.host_key)) else {
                    return Err(Fault::NoCommonAlgorithm.into());
                };
                let key = Arc::clone(key);
                self.jobs = self.jobs.wrapping_add(1);
                hash_up_to_init(&mut *hash, &key.public().to_blob(), group.as_ref(), &client);
                let share = Share {
                    kex: algorithms.kex,
                    group,
                    client,
                    hash,
                    algorithm: algorithms.host_key,
                    key: Arc::clone(&key),
                    rng: Rng::from_seed(&Seed::new(self.rng.array())),
                };
                let job = self.job(ground, Work::Reply(Box::new(share)));
                Ok((Step::Working { job: self.jobs, key }, Some(Milestone::Job(job))))
            }
            _ => Err(unexpected(payload)),
        }
    }

    fn job(&self, ground: &Ground<'_>, work: Work) -> Box<Job> {
        Box::new(Job { generation: self.jobs, provider: ground.config.provider, work })
    }

    /// Client: the group that the server chose.
    fn on_group(
        &mut self,
        hash: Box<dyn Hash>,
        request: [u32; 3],
        ground: &mut Ground<'_>,
        payload: &[u8],
    ) -> Result<(Step, Option<Milestone>), Failure> {
        let m = parse::<GexGroup<'_>>(payload)?;
        group::check(m.p, m.g, request)?;
        let group = Group { request, p: m.p.to_vec(), g: m.g.to_vec() };
        if ground.config.screen_groups && !group::is_known(m.p, ground.config.moduli.as_deref()) {
            self.jobs = self.jobs.wrapping_add(1);
            let job = self.job(ground, Work::Screen { p: group.p.clone() });
            return Ok((Step::Screening { job: self.jobs, hash, group }, Some(Milestone::Job(job))));
        }
        Ok((self.send_gex_init(hash, group, ground)?, None))
    }

    /// Client: the group is one to compute in.
    fn send_gex_init(
        &mut self,
        hash: Box<dyn Hash>,
        group: Group,
        ground: &mut Ground<'_>,
    ) -> Result<Step, Failure> {
        let (ephemeral, public) = Ephemeral::dh(&group.p, &group.g, &mut self.rng, ground.config.provider)
            .map_err(|_| Fault::BadGroup)?;
        if let PublicValue::Mpint(e) = &public {
            ground.sender.send(&GexInit::new(e));
        }
        ground.liveness.expect_reply(ground.now);
        Ok(Step::Reply { hash, ephemeral, public, group: Some(group) })
    }

    /// Client: goes on with a group that was tested.
    fn screened(&mut self, ground: &mut Ground<'_>, result: Result<(), Fault>) -> Result<(), Failure> {
        let State::Method { exchange, session } = self.take() else { return Ok(()) };
        let Exchange { algorithms, skip_guess, step: Step::Screening { hash, group, .. } } = exchange else {
            return Ok(());
        };
        let text = || format!("a modulus of {} bytes that is no safe prime", group.p.len());
        let made = match result {
            Ok(()) => self.send_gex_init(hash, group, ground),
            Err(fault) => Err(Failure::text(fault, text())),
        };
        match made {
            Ok(step) => {
                let exchange = Exchange { algorithms, skip_guess, step };
                self.state = State::Method { exchange, session };
                Ok(())
            }
            Err(failure) => {
                self.state = State::Over { session };
                Err(failure)
            }
        }
    }

    /// Goes on with the result of a job. False: no such job is awaited.
    pub(in crate::transport) fn finish_job(
        &mut self,
        ground: &mut Ground<'_>,
        done: DoneJob,
    ) -> Result<bool, Failure> {
        let State::Method { exchange, .. } = &self.state else { return Ok(false) };
        match (&exchange.step, done.result) {
            (Step::Screening { job, .. }, result) if *job == done.generation => {
                self.screened(ground, result.map(drop))?;
                Ok(true)
            }
            (Step::Working { job, key }, result) if *job == done.generation => {
                let key = key.public().clone();
                let reply = result.and_then(|done| match done {
                    Done::Reply(reply) => Ok(reply),
                    Done::Screened => Err(Fault::BadHostKey),
                });
                self.replied(ground, key, reply)
            }
            _ => Ok(false),
        }
    }

    /// Server: goes on with the computed reply.
    fn replied(
        &mut self,
        ground: &mut Ground<'_>,
        key: PublicKey,
        reply: Result<Box<ServerReply>, Fault>,
    ) -> Result<bool, Failure> {
        let (algorithms, session) = match self.take() {
            State::Method { exchange, session } => (exchange.algorithms, session),
            _ => return Ok(false),
        };
        let reply = match reply {
            Ok(reply) => reply,
            Err(fault) => {
                self.state = State::Over { session };
                return Err(fault.into());
            }
        };
        let blob = key.to_blob();
        match &reply.public {
            PublicValue::String(q) => ground.sender.send(&EcdhReply::new(&blob, q, &reply.signature)),
            PublicValue::Mpint(f) if algorithms.kex.group_exchange() => {
                ground.sender.send(&GexReply::new(&blob, f, &reply.signature));
            }
            PublicValue::Mpint(f) => ground.sender.send(&DhReply::new(&blob, f, &reply.signature)),
        }
        self.send_new_keys(ground, &algorithms, &reply.outcome, (key, Vec::new()), session)?;
        ground.liveness.expect_reply(ground.now);
        Ok(true)
    }

    /// Client: the key is the right one; go on.
    pub(in crate::transport) fn accept_host_key(&mut self, ground: &mut Ground<'_>) -> Result<(), Failure> {
        if self.offered_key().is_none() {
            return Ok(());
        }
        let State::Method { exchange, session } = self.take() else { return Ok(()) };
        let Exchange { algorithms, step: Step::Decision { outcome, key, signature }, .. } = exchange else {
            return Ok(());
        };
        self.send_new_keys(ground, &algorithms, &outcome, (key, signature), session)
    }
}

fn client_step(
    step: Step,
    algorithms: &Negotiated,
    known: Option<&PublicKey>,
    ground: &mut Ground<'_>,
    payload: &[u8],
) -> Result<(Step, Option<Milestone>), Failure> {
    match step {
        Step::Reply { hash, ephemeral, public, group } => {
            let (host_key, server, signature) = match &public {
                PublicValue::String(_) => {
                    let m = parse::<EcdhReply<'_>>(payload)?;
                    (m.host_key, PublicValue::String(m.public.to_vec()), m.signature)
                }
                PublicValue::Mpint(_) if algorithms.kex.group_exchange() => {
                    let m = parse::<GexReply<'_>>(payload)?;
                    (m.host_key, PublicValue::Mpint(m.f.to_vec()), m.signature)
                }
                PublicValue::Mpint(_) => {
                    let m = parse::<DhReply<'_>>(payload)?;
                    (m.host_key, PublicValue::Mpint(m.f.to_vec()), m.signature)
                }
            };
            let mut hash = hash;
            let (algorithm, provider) = (algorithms.kex.hash(), ground.config.provider);
            let key = check_host_key(host_key, algorithms, ground.config.limits.rsa_bits)?;
            hash_up_to_init(&mut *hash, host_key, group.as_ref(), &public);
            let shared =
                ephemeral.finish(&server, provider).map_err(|BadPublicValue| Fault::BadPublicValue)?;
            let hash = exchange_hash(algorithm, hash, &server, &shared);
            crate::keys::signature::verify(provider, &key, algorithms.host_key, hash.as_bytes(), signature)
                .map_err(|_| Fault::BadHostSignature)?;
            if known.is_some_and(|known| *known != key) {
                return Err(Fault::HostKeyChanged.into());
            }
            let (outcome, signature) = (Outcome { shared, hash }, signature.to_vec());
            Ok((Step::Decision { outcome, key, signature }, Some(Milestone::HostKey)))
        }
        _ => Err(unexpected(payload)),
    }
}

/// Whether a host key is of the kind that was agreed on, and strong enough.
fn check_host_key(blob: &[u8], algorithms: &Negotiated, rsa_bits: usize) -> Result<PublicKey, Failure> {
    let algorithm = algorithms.host_key;
    let key = PublicKey::from_blob_with(algorithm.key_type(), blob)
        .map_err(|e| Failure::text(Fault::BadHostKey, format!("{e}")))?;
    if !key.fits(algorithm) {
        let text = format!("a {} key, but {algorithm} was agreed on", key.key_type());
        return Err(Failure::text(Fault::BadHostKey, text));
    }
    if !key.strength_ok(rsa_bits) {
        let text = format!("an RSA key of {} bits; at least {rsa_bits} are required", key.bits());
        return Err(Failure::text(Fault::WeakHostKey, text));
    }
    Ok(key)
}

fn unexpected(payload: &[u8]) -> Failure {
    Failure::unexpected(payload.first().copied().unwrap_or(0))
}
