//! konko on one `mio` event loop, for tens of thousands of connections, client and server.
//!
//! This crate is empty so far: the binding comes with its own release. Until then, use `konko` for
//! blocking connections with a thread each, or drive [`konko_core`] from your own loop, as its
//! documentation shows in six steps.
