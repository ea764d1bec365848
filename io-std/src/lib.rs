//! SSH2 on `std::net`: blocking, usable from several threads, over the pure state machine of
//! [`konko_core`].
//!
//! ```no_run
//! use konko::{Auth, Client, ClientOptions};
//!
//! # fn main() -> Result<(), konko::Error> {
//! // The host key is checked against the user's known_hosts: an unknown host is an error.
//! let client = Client::connect("example.org:22", ClientOptions::default())?;
//! client.login("alice", Auth::new().key_file("/home/alice/.ssh/id_ed25519"))?;
//! let output = client.exec("uname -a")?;
//! println!("{} {}", output.exit, String::from_utf8_lossy(&output.stdout));
//! # Ok(())
//! # }
//! ```
//!
//! [`Client`] and [`Channel`] are cheap handles, `Send` and `Sync`. One thread a connection reads
//! the socket, so keepalives, key renewal and window adjusts never wait for the application; it ends
//! by itself when the connection does. Dropping a handle closes what it owns, without
//! blocking; but a remote file waits for what was written to it.
//! Every call that waits takes its deadline from [`ClientOptions`] or from the handle.
//!
//! # Features
//!
//! - `server` (default): [`server`] and the serving half of [`sftp`]. A program that is only a client does without, and
//!   without the crates that hash passwords and start programs: `default-features = false`.
//! - `aws-lc`: the native cryptography provider.
//! - `cli`: the program `konko`, for `cargo install`; nothing in the library depends on it.
#![cfg_attr(docsrs, feature(doc_cfg))]
// Pages speak of the server too.
#![cfg_attr(not(feature = "server"), allow(rustdoc::broken_intra_doc_links))]
// Allowed in one place, `server/child.rs`.
#![deny(unsafe_code)]

mod agent;
mod agent_server;
mod auth;
mod blocking;
mod cancel;
mod channel;
mod client;
mod dial;
mod end;
mod error;
mod exec;
mod hosts;
pub mod key_file;
pub mod known_hosts;
pub mod modes;
mod notice;
mod options;
mod screening;
#[cfg(feature = "server")]
pub mod server;
pub mod sftp;
mod shared;
mod sparing;
pub mod ssh_config;
mod state;
mod stream;
mod watch;

pub use agent::{Agent, AgentFailure, AgentSocket};
pub use agent_server::AgentServer;
pub use auth::{Answers, Auth, PasswordPrompt};
pub use blocking::BlockingFd;
pub use cancel::Cancel;
pub use channel::{Asked, Channel, Exit, Stderr, Traffic};
pub use client::{Client, Target};
pub use dial::ConnectFailures;
pub use error::{Error, ErrorKind};
pub use exec::{Exec, Output};
pub use hosts::{HostKeys, HostLookup, KnownHostsFiles};
pub use konko_core as core;
pub use konko_core::channel::{ChannelRequest, OpenFailure, OpenKind, WindowConfig};
pub use konko_core::client::{Password, SignRequest};
pub use konko_core::crypto::HashAlgorithm;
pub use konko_core::error::{Phase, UsageError};
pub use konko_core::hosts::{Answer, HostKeyProblem, UnknownHost};
pub use konko_core::keys::{Fingerprint, KeyPair, KeyType, PrivateKey, PublicKey};
pub use konko_core::login::{Attempt, AuthFailure, LoggedIn, Outcome, Prompt, Questions};
pub use konko_core::session::Pty;
pub use konko_core::transport::Keepalive;
pub use konko_core::transport::limits::{Limits, RekeyLimit};
pub use konko_core::transport::negotiate::{Algorithms, Negotiated, Policy};
pub use konko_core::wire::SshStr;
pub use konko_core::{Rng, Seed};
pub use notice::Notice;
pub use options::{AddressFamily, ClientOptions};
pub use sftp::Sftp;
pub use stream::{FdStream, Stream};

/// A seed from the operating system: for a key, to sign with, or for a connection of your own.
///
/// # Errors
/// The system has no random numbers.
pub fn seed_from_os() -> std::io::Result<core::Seed> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| std::io::Error::other(format!("no random numbers: {e}")))?;
    Ok(core::Seed::new(bytes))
}

/// A clock that begins now: what a machine of the core, or an [`Audit`](core::sftp::Audit), is told for the time.
pub fn clock() -> impl Fn() -> core::Time + Copy + Send + Sync {
    let start = std::time::Instant::now();
    move || core::Time::ZERO + start.elapsed()
}

/// What a mutex holds; a thread that panicked left it as it was.
pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The examples of the front page are compiled.
#[cfg(all(doctest, feature = "server"))]
#[doc = include_str!("../../README.md")]
struct Readme;
