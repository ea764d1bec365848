//! Agents: programs that hold private keys and sign with them (RFC 9987, OpenSSH `PROTOCOL.agent`).
//!
//! Both ends are machines over bytes. A [`Client`] asks, one request at a time: list, sign, add, remove, lock,
//! and what OpenSSH added, [`bind_session`](Client::bind_session) and destinations. A [`Keyring`] holds keys, with one
//! [`Server`] for each connection to it. Whoever has the socket carries the bytes:
//!
//! ```
//! use konko_core::agent::{Client, Keyring, Reply, Server};
//! use konko_core::keys::{KeyType, PrivateKey};
//! use konko_core::{Rng, Seed, Time, provider};
//!
//! let mut keyring = Keyring::new(provider::best(), Rng::from_seed(&Seed::new([1; 32])));
//! let (mut server, mut client) = (Server::new(), Client::new());
//! let key = PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&Seed::new([2; 32])))?;
//! client.add(&key, b"alice@home", &Default::default())?;
//!
//! server.receive(client.take_tx().as_slice());
//! assert!(server.poll(&mut keyring, Time::ZERO)?.is_none(), "nobody is asked");
//! assert_eq!(client.receive(server.take_tx().as_slice())?, Some(Reply::Done));
//! assert_eq!(keyring.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Everything is bounded: a message has at most [`MAX_MESSAGE`] bytes, and a list [`MAX_IDENTITIES`] keys. A key of a
//! type that is not known here is kept as its blob, and never an error.

mod client;
mod constraint;
mod destination;
mod error;
mod keyring;
mod message;
mod permit;
mod place;
mod server;

use alloc::vec::Vec;

pub use client::{Client, Reply};
pub use constraint::{AssociatedCertificates, Constraints};
pub use destination::{Destination, Hop, HopKey};
pub use error::AgentError;
pub use keyring::Keyring;
pub use place::{Place, places};
pub use server::{Confirm, Server};

use crate::keys::{Certificate, KeyError, PublicKey};

/// Most bytes of a message behind its length (OpenSSH `AGENT_MAX_LEN`).
pub const MAX_MESSAGE: usize = 256 * 1024;
/// Most keys in a list (OpenSSH `MAX_AGENT_IDENTITIES`).
pub const MAX_IDENTITIES: usize = 2048;
/// Most sessions that a connection to an agent can be bound to (OpenSSH `AGENT_MAX_SESSION_IDS`).
const MAX_BINDINGS: usize = 16;
/// Longest session identifier, in bytes (OpenSSH `AGENT_MAX_SID_LEN`).
const MAX_SESSION_ID: usize = 128;
/// Most destinations of a key (OpenSSH `AGENT_MAX_DEST_CONSTRAINTS`).
const MAX_DESTINATIONS: usize = 1024;
/// Most certificates that are to be joined to a token's keys (OpenSSH `AGENT_MAX_EXT_CERTS`).
const MAX_CERTIFICATES: usize = 1024;
/// Longest pattern of user names, in bytes (OpenSSH `AGENT_USER_CONSTRAINT_MAX_LEN`).
const MAX_USER: usize = 256;

/// A key that an agent says it has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// The key blob, to the byte.
    pub blob: Vec<u8>,
    /// What whoever added it called it; from the agent, as it is.
    pub comment: Vec<u8>,
    /// The key; `None` when its type is not known here. Such a key can be asked about by its blob.
    pub key: Option<PublicKey>,
}

impl Identity {
    fn new(blob: &[u8], comment: &[u8]) -> Self {
        Identity { blob: blob.to_vec(), comment: comment.to_vec(), key: read_key(blob).ok() }
    }
}

/// A key, or a certificate, by its blob.
fn read_key(blob: &[u8]) -> Result<PublicKey, KeyError> {
    match PublicKey::from_blob(blob) {
        Err(KeyError::CertificateGiven) => {
            Certificate::from_blob(blob).map(|certificate| certificate.public().clone())
        }
        key => key,
    }
}

/// What the connection of an agent is bound to: see [`Client::bind_session`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To log in over the session, which is the last one that the connection can be bound to.
    Login,
    /// To hand the agent on to the session's server.
    Forwarding,
}
