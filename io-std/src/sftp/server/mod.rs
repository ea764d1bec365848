//! The server: directories of this machine, and any other file system, served on a channel or any stream.

mod attrs;
mod bulk;
mod errno;
mod listing;
mod names;
mod object;
mod pool;
mod program;
mod resolve;
mod root;
mod rooted;
mod serve;

pub use listing::Listing;
pub use pool::{Pooled, Replies, Workers};
pub(crate) use program::run;
pub use root::Root;
pub use rooted::{RootedFile, RootedFs};
pub use serve::{serve, serve_streams};
