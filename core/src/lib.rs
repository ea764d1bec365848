//! SSH2 as one pure, deterministic state machine: bytes in, events and bytes out.
//!
//! `konko-core` holds the whole protocol, client and server: transport, key exchange, user
//! authentication, channels, keys, known hosts, authorized keys. It has no sockets, threads, clock or
//! randomness of its own. The crate `konko` binds it to blocking `std::net`; this crate is for those
//! who want to drive it from something else, to simulate, replay or fuzz it.
//!
//! # The loop
//!
//! 1. Make a [`ClientConnection`] or a [`ServerConnection`] from a configuration, a [`Seed`] of 32
//!    random bytes and the current [`Time`]. The first bytes to send are in `tx()` at once.
//! 2. Call [`poll`](Connection::poll) with the time and an [`RxBuf`].
//! 3. An event? Handle it. Events borrow from the `RxBuf` only, so the connection can be called while
//!    you hold one. If it carries a *ticket*, answer the ticket, now or later, with the method that its
//!    type names. Poll again.
//! 4. [`Blocked`]? Send what is in `tx()`. Then, for `Input`, read from the peer into `rx.spare()` and
//!    say `rx.filled(n)`, or `rx.eof()`; for `Decision`, wait until you answer the open ticket; for
//!    `Output`, wait until the peer takes more; for `Closed`, close.
//! 5. Wait at most until [`deadline`](Connection::deadline), then poll again.
//! 6. An error? The connection has ended. Send what is in `tx()`, it says goodbye, and close.
//!
//! Any method may be called at any time: one that makes no sense now returns a [`UsageError`] and
//! changes nothing. What is not decided is denied when a timer ends.
//!
//! # A client and a server in memory
//!
//! ```
//! use std::sync::Arc;
//! use konko_core::channel::{ChannelEvent, ChannelRequest, OpenKind, DataStream};
//! use konko_core::client::{AuthRequest, Password};
//! use konko_core::keys::{KeyType, PrivateKey};
//! use konko_core::server::{Credential, AuthDecision};
//! use konko_core::*;
//!
//! let provider = provider::best();
//! // Real programs take seeds from the operating system.
//! let key = PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&Seed::new([1; 32])))?;
//! let host_key = Arc::new(key.key_pair(provider)?);
//! let config = Arc::new(ServerConfig::new(TransportConfig::new(provider), vec![host_key.clone()]));
//! let mut server = ServerConnection::new(config, Seed::new([2; 32]), Time::ZERO);
//! let config = Arc::new(ClientConfig::new(TransportConfig::new(provider)));
//! let mut client = ClientConnection::new(config, Seed::new([3; 32]), Time::ZERO);
//!
//! let (mut client_rx, mut server_rx) = (RxBuf::new(), RxBuf::new());
//! let mut answer = Vec::new();
//! let mut closed = false;
//! while !closed {
//!     while let Step::Event(event) = client.poll(Time::ZERO, &mut client_rx)? {
//!         match event {
//!             ClientEvent::Auth(ClientAuth::HostKey(ticket)) => {
//!                 let known = client.offered_host_key() == Some(host_key.public());
//!                 client.decide_host_key(ticket, Decision::accept_if(known))?;
//!             }
//!             ClientEvent::Auth(ClientAuth::Needed { .. }) => {
//!                 client.authenticate("alice", AuthRequest::Password(&Password::new("wonderland")))?;
//!             }
//!             ClientEvent::Authenticated { .. } => {
//!                 client.open(OpenKind::Session)?;
//!             }
//!             ClientEvent::Opened(channel) => {
//!                 client.request(channel, ChannelRequest::Exec(wire::SshStr::new(b"greet")), WantReply::Yes)?;
//!             }
//!             ClientEvent::Channel(channel, ChannelEvent::Data { data, .. }) => {
//!                 answer.extend_from_slice(data);
//!                 client.consume(channel, data.len())?;
//!             }
//!             ClientEvent::Channel(_, ChannelEvent::Closed) => closed = true,
//!             _ => {}
//!         }
//!     }
//!     while let Step::Event(event) = server.poll(Time::ZERO, &mut server_rx)? {
//!         match event {
//!             ServerEvent::Auth(ServerAuth::Attempt { ticket, credential, .. }) => {
//!                 let right = matches!(credential, Credential::Password(b"wonderland"));
//!                 server.decide_auth(ticket, if right { AuthDecision::Accept } else { AuthDecision::Reject })?;
//!             }
//!             ServerEvent::Open { ticket, .. } => {
//!                 server.accept_channel(ticket)?;
//!             }
//!             ServerEvent::Channel(channel, ChannelEvent::Request { ticket: Some(ticket), .. }) => {
//!                 server.reply(ticket, Decision::Accept)?;
//!                 server.write(channel, DataStream::Data, b"hello")?;
//!                 server.request(channel, ChannelRequest::ExitStatus(0), WantReply::No)?;
//!                 server.close_channel(channel)?;
//!             }
//!             _ => {}
//!         }
//!     }
//!     // The network: what one sends, the other receives.
//!     server_rx.push(client.tx().pending());
//!     let n = client.tx().len();
//!     client.tx().consume(n);
//!     client_rx.push(server.tx().pending());
//!     let n = server.tx().len();
//!     server.tx().consume(n);
//! }
//! assert_eq!(answer, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Determinism
//!
//! The same configuration, seed and sequence of poll times, input and calls gives the same output
//! bytes, events and deadlines, on every machine and with every [provider].
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod admission;
pub mod agent;
pub mod auth;
pub mod authorized_keys;
pub mod channel;
pub mod client;
pub mod config;
mod connection;
pub mod crypto;
mod date;
pub mod dial;
pub mod error;
pub mod hosts;
pub mod keys;
pub mod krl;
pub mod login;
pub mod msg;
mod options;
pub mod provider;
mod record;
pub mod replay;
pub mod rng;
pub mod server;
pub mod session;
pub mod sftp;
pub mod slab;
pub mod ssh_config;
pub mod sshd_config;
pub mod sshsig;
pub mod text;
pub mod time;
pub mod transport;
pub mod wire;

pub use client::{ClientAuth, ClientConfig, ClientConnection, ClientEvent};
pub use connection::{Blocked, Connection, DataSlot, Decision, Event, EventOf, Side, Step, WantReply};
pub use error::{Error, UsageError};
pub use rng::{Rng, Seed};
pub use server::{ServerAuth, ServerConfig, ServerConnection, ServerEvent};
pub use time::Time;
pub use transport::{RxBuf, TransportConfig, TxBuf};

#[cfg(test)]
#[path = "../tests/property/mod.rs"]
mod property;
