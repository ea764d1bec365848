//! The user's own configuration: ssh_config(5), as `ssh` reads it.
//!
//! [`connect`](crate::Client::connect_configured) is the whole of it in one call. [`Configured`] is what lies between: what the
//! configuration says of a host, and the options that come of it, which can still be changed. The rest is for
//! whoever drives a [`Lookup`] of the core without it: an event loop, an async runtime.

mod answers;
mod options;

pub use answers::{answer, local, lookup};
pub use konko_core::ssh_config::{
    Algorithms, Answer, Block, Config, ConfigError, Family, Found, Keyword, Kind, Local, Lookup, Problem,
    Question, Request, Setting, Tokens, Wrong, host_patterns,
};
pub use options::{
    Configured, certificate_files, client_options, defaults, identity_files, keys, known_hosts, left_out,
};
