//! What takes long in a key exchange, and may be computed on another thread: the server's share, and a client's test of
//! a group.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::group::Group;
use super::method::{Outcome, exchange_hash};
use crate::crypto::kex::{Ephemeral, PublicValue, respond};
use crate::crypto::{BadPublicValue, Hash, Kex, Provider};
use crate::error::Fault;
use crate::keys::{KeyPair, SignatureAlgorithm};
use crate::rng::Rng;

/// Costly work of a key exchange, milliseconds or more; [`run`](Self::run) may be called on any thread.
///
/// On a server it is its share of the exchange: the ephemeral key, the shared secret and the host key's signature. On a
/// client, with `screen_groups`, whether a group of a server's choice is one of a safe prime.
pub struct Job {
    pub(super) generation: u32,
    pub(super) provider: &'static dyn Provider,
    pub(super) work: Work,
}

pub(super) enum Work {
    Reply(Box<Share>),
    Screen { p: Vec<u8> },
}

/// What the server's share is made of.
pub(super) struct Share {
    pub(super) kex: Kex,
    pub(super) group: Option<Group>,
    pub(super) client: PublicValue,
    pub(super) hash: Box<dyn Hash>,
    pub(super) key: Arc<KeyPair>,
    pub(super) algorithm: SignatureAlgorithm,
    pub(super) rng: Rng,
}

/// A finished [`Job`], to be handed to `finish_job`.
pub struct DoneJob {
    pub(super) generation: u32,
    pub(super) result: Result<Done, Fault>,
}

pub(super) enum Done {
    Reply(Box<ServerReply>),
    Screened,
}

pub(super) struct ServerReply {
    pub(super) public: PublicValue,
    pub(super) signature: Vec<u8>,
    pub(super) outcome: Outcome,
}

impl Job {
    /// Which piece of work of its connection this is.
    pub(crate) fn number(&self) -> u32 {
        self.generation
    }

    /// The modulus that a client tests, big-endian: with a table of those that have passed, each is tested once.
    pub fn modulus(&self) -> Option<&[u8]> {
        match &self.work {
            Work::Screen { p } => Some(p),
            Work::Reply(_) => None,
        }
    }

    /// Does the work.
    pub fn run(self) -> DoneJob {
        let result = match self.work {
            Work::Reply(share) => share.reply(self.provider).map(|reply| Done::Reply(Box::new(reply))),
            Work::Screen { p } => match self.provider.safe_prime(&p) {
                Some(true) => Ok(Done::Screened),
                _ => Err(Fault::BadGroup),
            },
        };
        DoneJob { generation: self.generation, result }
    }

    /// What [`run`](Self::run) gives for a [`modulus`](Self::modulus) that has passed before, without the work. Of any
    /// other job it is the work.
    pub fn passed_before(self) -> DoneJob {
        match self.work {
            Work::Screen { .. } => DoneJob { generation: self.generation, result: Ok(Done::Screened) },
            Work::Reply(_) => self.run(),
        }
    }
}

impl Share {
    fn reply(mut self, provider: &'static dyn Provider) -> Result<ServerReply, Fault> {
        let (public, shared) = match &self.group {
            Some(group) => {
                let (own, public) = Ephemeral::dh(&group.p, &group.g, &mut self.rng, provider)
                    .map_err(|BadPublicValue| Fault::BadPublicValue)?;
                let shared = own.finish(&self.client, provider);
                (public, shared.map_err(|BadPublicValue| Fault::BadPublicValue)?)
            }
            None => respond(self.kex, &self.client, &mut self.rng, provider)
                .map_err(|BadPublicValue| Fault::BadPublicValue)?,
        };
        let hash = exchange_hash(self.kex.hash(), self.hash, &public, &shared);
        // Our own key failing to sign is not the peer's fault, but there is no other way on.
        let signature =
            self.key.sign(self.algorithm, hash.as_bytes(), &mut self.rng).map_err(|_| Fault::BadHostKey)?;
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
        match &self.work {
            Work::Reply(share) => write!(f, "Job({}, {})", share.kex, share.algorithm),
            Work::Screen { p } => write!(f, "Job(a modulus of {} bytes)", p.len()),
        }
    }
}

impl DoneJob {
    /// Whether the work was done well: for a client's table of moduli that have passed.
    pub fn is_ok(&self) -> bool {
        self.result.is_ok()
    }

    /// Of which piece of work.
    pub(crate) fn number(&self) -> u32 {
        self.generation
    }

    /// Of work that was never given out.
    pub(crate) fn stray(number: u32) -> Self {
        DoneJob { generation: number, result: Err(Fault::BadHostKey) }
    }
}

impl core::fmt::Debug for DoneJob {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("DoneJob(..)")
    }
}
