//! Simulations for konko.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

pub mod apps;
mod line;
mod null;
mod pair;
pub mod raw;
pub mod sftp;

use std::sync::Arc;

use konko_core::keys::{KeyPair, KeyType, PrivateKey};
use konko_core::{Rng, Seed, TransportConfig, provider};

pub use line::{Line, Link, Stalls};
pub use null::{null, null_key};
pub use pair::{App, End, Pair};

/// The key of that kind and seed.
pub fn key_of(kind: KeyType, seed: u8) -> Arc<KeyPair> {
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
