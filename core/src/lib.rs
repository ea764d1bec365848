//! SSH2 as one pure, deterministic state machine: bytes in, events and bytes out.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod auth;
pub mod channel;
pub mod client;
mod connection;
pub mod crypto;
pub mod error;
pub mod hosts;
pub mod keys;
pub mod msg;
pub mod provider;
pub mod rng;
pub mod server;
pub mod time;
pub mod transport;
pub mod wire;

pub use client::{ClientConfig, ClientConnection, ClientEvent};
pub use connection::{Blocked, Connection, DataSlot, Side, Step};
pub use error::{Error, UsageError};
pub use rng::{Rng, Seed};
pub use server::{ServerConfig, ServerConnection, ServerEvent};
pub use time::Time;
pub use transport::{RxBuf, TransportConfig, TxBuf};
