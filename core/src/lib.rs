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

pub mod crypto;
pub mod hosts;
pub mod keys;
pub mod provider;
pub mod rng;
pub mod time;
pub mod wire;

pub use rng::{Rng, Seed};
pub use time::Time;
