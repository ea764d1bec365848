//! The server's share of a key exchange, which may be computed on another thread.

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

/// The server's share of a key exchange: its ephemeral key, the shared secret and the host key's
/// signature. Milliseconds of work with RSA or large groups; [`run`](Self::run) may be called on
/// any thread.
pub struct Job {
    pub(super) generation: u32,
    pub(super) provider: &'static dyn Provider,
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
    pub(super) result: Result<ServerReply, Fault>,
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
        write!(f, "Job({}, {})", self.kex, self.algorithm)
    }
}

impl DoneJob {
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
