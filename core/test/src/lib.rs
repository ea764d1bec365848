//! Simulations for [konko](konko_core): two ends of a connection on a virtual clock, over a line that is as bad as you
//! like, in as much time as it takes to compute.
//!
//! | what | for |
//! |---|---|
//! | [`Pair`] | a client and a server, the line between them, and the clock; an [`App`] at each end is yours, or one of [`apps`] and [`sftp`] |
//! | [`Line`], [`Link`] | one direction of a line: delay, jitter, bandwidth, sockets that are full, reads that are cut, receivers that stall |
//! | [`raw`] | a peer that may send any bytes in any state, with keys of its own, and a connection that has to bear it |
//! | [`null`] | cryptography that protects nothing and costs nothing, and that nobody real ever agrees on |
//!
//! All chance comes from seeds: what was seen once is seen again, on every machine. Nothing here waits, and nothing here is
//! for production: these are the rigs of konko's own tests, and they panic where a test should.
//!
//! # An application over a satellite
//!
//! ```
//! use std::time::Duration;
//!
//! use konko_core::channel::{ChannelEvent, DataStream};
//! use konko_core::server::{ServerSide, AuthDecision};
//! use konko_core::*;
//! use konko_test::apps::Shell;
//! use konko_test::{App, Pair, null, null_key};
//!
//! /// Lets everybody in, and answers what comes with its length.
//! struct Counter;
//!
//! impl App<ServerSide> for Counter {
//!     fn on_event(&mut self, conn: &mut ServerConnection, event: ServerEvent<'_>) {
//!         match event {
//!             Event::Auth(ServerAuth::Attempt { ticket, .. }) => {
//!                 conn.decide_auth(ticket, AuthDecision::Accept).unwrap();
//!             }
//!             Event::Open { ticket, .. } => drop(conn.accept_channel(ticket).unwrap()),
//!             Event::Channel(_, ChannelEvent::Request { ticket: Some(ticket), .. }) => {
//!                 conn.reply(ticket, Decision::Accept).unwrap();
//!             }
//!             Event::Channel(id, ChannelEvent::Data { data, .. }) => {
//!                 let answer = format!("{} bytes", data.len());
//!                 conn.consume(id, data.len()).unwrap();
//!                 conn.write(id, DataStream::Data, answer.as_bytes()).unwrap();
//!                 conn.close_channel(id).unwrap();
//!             }
//!             _ => {}
//!         }
//!     }
//! }
//!
//! let config = || TransportConfig::new(null());
//! let server = ServerConfig::with_transport(config(), vec![null_key()]);
//! // A client that logs in and runs a command; yours is an `App<Client>` as well.
//! let client = Shell::new("count").with_input(b"hello".to_vec());
//!
//! let mut pair = Pair::new(ClientConfig::new(config()), server, (client, Counter));
//! pair.link.latency = Duration::from_millis(300);
//! pair.link.bandwidth = 100_000;
//! let start = pair.now;
//! pair.drive_until("the answer", |pair| pair.client.app.seen.closed);
//!
//! assert_eq!(pair.client.app.seen.out, b"5 bytes");
//! let took = pair.now.since(start);
//! assert!(took > Duration::from_secs(3) && took < Duration::from_secs(7), "{took:?}");
//! ```
#![forbid(unsafe_code)]

pub mod apps;
mod line;
mod null;
mod pair;
pub mod raw;
pub mod sftp;
pub mod tokens;

use std::sync::Arc;

use konko_core::keys::{KeyPair, KeyType, PrivateKey};
use konko_core::{Rng, Seed, TransportConfig, provider};

pub use line::{Line, Link, Stalls};
pub use null::{null, null_key};
pub use pair::{App, End, Pair};

/// The key of that kind and seed. One of a security key's type is of a device that is always touched; one of a
/// certificate's is that of a host, for all names, by [`tokens::authority`].
pub fn key_of(kind: KeyType, seed: u8) -> Arc<KeyPair> {
    if kind.is_certificate() || kind.is_security_key() {
        return tokens::other_key(kind, seed);
    }
    let mut rng = Rng::from_seed(&Seed::new([seed; 32]));
    let key = PrivateKey::generate(kind, &mut rng).unwrap();
    Arc::new(key.key_pair(provider::rustcrypto()).unwrap())
}

/// The host key of every simulated server.
pub fn host_key() -> Arc<KeyPair> {
    key_of(KeyType::ED25519, 7)
}

/// The usual configuration with RustCrypto, which is the same on every machine.
pub fn transport_config() -> TransportConfig {
    TransportConfig::new(provider::rustcrypto())
}

/// An RSA key of 3072 bits, always the same: making one takes too long for a test.
pub fn rsa_key() -> Arc<KeyPair> {
    let key = PrivateKey::load(include_bytes!("../data/rsa"), None).unwrap();
    Arc::new(key.key_pair(provider::rustcrypto()).unwrap())
}
