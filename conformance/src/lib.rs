//! Real peers in both roles, bad peers, and side-by-side benchmarks.
//!
//! Most tests in `tests/` drive the *program under test* ([`Program`]) against servers that the test starts itself on
//! loopback ([`Sshd`], [`AsyncSshServer`], [`BadPeer`]). The program is a parameter: `KONKO_PROGRAM="ssh"` runs the
//! same tests with OpenSSH's own client, which is how the tests themselves are checked. Those named `server_…` drive real
//! clients ([`Client`]) against `konko serve` ([`Serve`]).
//!
//! A peer that is not installed is never a pass: [`not_run`] says so, records it for the summary of
//! `conformance/test`, and fails when `CI=true`.
//!
//! Fixtures panic when they cannot do their work: they are used by tests only.

pub mod asyncssh;
pub mod bad_peer;
pub mod clients;
pub mod data;
pub mod keys;
pub mod link;
pub mod log;
pub mod matrix;
pub mod pairs;
pub mod peers;
pub mod probe;
pub mod process;
pub mod program;
pub mod serve;
pub mod sftp;
pub mod sftp_server;
pub mod sshd;
pub mod table;
pub mod tmux;

pub use asyncssh::AsyncSshServer;
pub use bad_peer::BadPeer;
pub use clients::{Call, Client};
pub use data::{Checksum, Pattern};
pub use keys::KeyRing;
pub use link::Link;
pub use matrix::{Cell, List, Load, Matrix};
pub use pairs::{WithServe, WithSshd};
pub use peers::{OpenSsh, not_run};
pub use process::{Feed, Finished, Process};
pub use program::{Invocation, Program};
pub use serve::Serve;
pub use sftp_server::SftpServer;
pub use sshd::Sshd;
pub use table::Table;
pub use tmux::Tmux;
