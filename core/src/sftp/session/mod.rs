//! A whole SFTP client over bytes: files with a cursor, listings, patterns, trees.
//!
//! A [`Session`] is the machine, which whoever has the bytes drives; a [`Remote`] is what procedures use, each an
//! `async fn` that never waits for anything but the session: no runtime is needed to run it, and any will do.
//! What a procedure wants of the local file system comes to the driver as a question ([`Event`]), whose answer is a
//! value.
//!
//! ```text
//!   procedures:  remote.get_tree(..).await ── orders ──> Session ──> tx ──> bytes
//!                        ▲                                │  ▲
//!                        └─────────── answers ────────────┘  └── receive <── bytes
//!                                                         │
//!                     local files: open, write, fill <── Event
//! ```
//!
//! The driver's loop:
//!
//! 1. [`Session::receive`] until `None`, for what came; [`Session::eof`] when nothing more will.
//! 2. [`Session::poll`] until `None`. Each [`Event`] says what to do with local files.
//! 3. Send what is in [`Session::tx`], and poll again as soon as some of it is gone.
//! 4. Wait for bytes, at most until [`Session::deadline`], or until the waker of [`Session::set_waker`] wakes: a
//!    procedure asked for something.

mod ask;
mod dir;
mod entry;
mod error;
mod file;
pub mod glob;
mod local;
mod machine;
mod path;
mod remote;
mod transfer;
mod tree;

pub use ask::Facts;
pub use dir::{ReadDir, Walk};
pub use entry::{DirEntry, Metadata};
pub use error::{Cause, Error, ErrorKind};
pub use file::{Cursor, File, MAX_AHEAD, MAX_BEHIND, OpenOptions};
pub use local::{Answer, Asked, Event, Filled, Finish, Progress, Question, Source, Target};
pub use machine::Session;
pub use path::RemotePath;
pub use remote::Remote;
pub use transfer::{GetOptions, PutOptions};
pub use tree::{Links, TreeReport};
