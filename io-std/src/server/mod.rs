//! A blocking server: one thread a connection, decisions as tickets.
//!
//! ```no_run
//! use konko::server::{AuthAttempt, Credential, Handler, KeyProbe, Server, ServerOptions, Session};
//! use std::io::Write;
//!
//! struct Greeter;
//!
//! impl Handler for Greeter {
//!     fn authenticate(&mut self, attempt: AuthAttempt) {
//!         match attempt.credential() {
//!             Credential::Password(password) if password.expose() == b"wonderland" => attempt.accept(),
//!             _ => attempt.reject(),
//!         }
//!     }
//!
//!     fn key_probe(&mut self, probe: KeyProbe) {
//!         probe.reject();
//!     }
//!
//!     fn session(&mut self, session: Session) {
//!         let user = session.connection().user().unwrap_or_default();
//!         let _ = session.run(move |mut channel| write!(channel, "hello, {user}\n").map_or(1u32, |()| 0));
//!     }
//! }
//!
//! # fn main() -> Result<(), konko::Error> {
//! let server = Server::listen("127.0.0.1:2222", ServerOptions::with_new_key()?, |_| Greeter)?;
//! println!("listening on {}", server.local_addr());
//! std::thread::park();
//! # Ok(())
//! # }
//! ```
//!
//! A [`Handler`] is asked for every decision with a ticket that can be answered at once, later, or
//! from another thread; one that is dropped says no. The [`Server`] keeps count of who may come in,
//! and stops gracefully.

pub(crate) mod ask;
mod auth;
mod authorities;
mod child;
mod connection;
mod handler;
mod host_key;
mod key_file;
mod listen;
mod options;
mod password;
pub mod process;
mod programs;
mod request;
mod running;
mod serve;
mod service;
mod session;
mod system;
mod threads;
pub mod users;

pub use auth::{AuthAttempt, Credential, HostProbe, KeyProbe};
pub use connection::Connection;
pub use handler::Handler;
pub use host_key::host_key;
pub use konko_core::admission::{AdmissionLimits, Penalty};
pub use konko_core::auth::{Method, MethodSet};
pub use konko_core::server::{AuthOutcome, AuthRejection, AuthResult, Challenge};
pub use konko_core::session::{ChannelKind, Control, Program};
pub use listen::{Server, serve};
pub use options::{ServerNotice, ServerOptions};
pub use programs::{Call, Programs};
pub use request::{ChannelOpen, GlobalRequest, Request};
pub use service::Service;
pub use session::Session;
pub use system::System;
