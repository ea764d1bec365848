//! konko on one `mio` event loop, for tens of thousands of connections, client and server.
#![forbid(unsafe_code)]

mod app;
mod driver;
mod hub;
mod link;
mod mailbox;
mod slab;
mod socket;
mod timers;
mod workers;

pub use app::{App, Closed};
pub use driver::{Driver, Loop};
pub use hub::{Hub, ListenerId, Settings, admission};
pub use link::SharedAdmission;
pub use mailbox::Mailbox;
pub use slab::ConnId;
pub use socket::{Stream, bind, raise_descriptor_limit};
pub use workers::Workers;

/// The protocol itself.
pub use konko_core as core;
