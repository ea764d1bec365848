//! SFTP: the client, over a connection or any stream, and a server on directories of this machine.
//!
//! [`Sftp`] is the client, [`File`] an open file on the server. On the other side, [`Root`] is a directory that clients cannot leave, or the whole system; [`serve()`] serves it, or any
//! other [`FileSystem`], on a channel: in a [`Session`], which answers at once, or [`Pooled`]. The protocol itself is [`konko_core::sftp`].

#[cfg(feature = "server")]
mod arguments;
#[cfg(feature = "server")]
mod attrs;
#[cfg(feature = "server")]
mod bulk;
mod client;
mod client_link;
mod client_session;
#[cfg(feature = "server")]
mod errno;
mod file;
#[cfg(feature = "server")]
mod layers;
#[cfg(feature = "server")]
mod listing;
pub mod local;
#[cfg(feature = "server")]
mod names;
#[cfg(feature = "server")]
mod object;
mod observe;
#[cfg(feature = "server")]
mod pool;
#[cfg(feature = "server")]
mod program;
#[cfg(feature = "server")]
mod resolve;
#[cfg(feature = "server")]
mod root;
#[cfg(feature = "server")]
mod rooted;
#[cfg(feature = "server")]
mod serve;

pub use client::{ReadDir, Sftp, SftpOptions, Walk};
pub use file::File;
pub use konko_core::sftp::session::{
    DirEntry, Error, ErrorKind, GetOptions, Links, Metadata, OpenOptions, Progress, PutOptions, Remote,
    RemotePath, TreeReport, glob,
};
pub use konko_core::sftp::transfer::{Summary, Verify};
pub use konko_core::sftp::*;
#[cfg(feature = "server")]
pub use layers::{Audit, AuditLine, Quota};
#[cfg(feature = "server")]
pub use listing::Listing;
pub use observe::OnProgress;
pub(crate) use observe::io_kind;
#[cfg(feature = "server")]
pub use pool::{Pooled, Replies, Workers};
#[cfg(feature = "server")]
pub(crate) use program::run;
#[cfg(feature = "server")]
pub use root::Root;
#[cfg(feature = "server")]
pub use rooted::{RootedFile, RootedFs};
#[cfg(feature = "server")]
pub use serve::{serve, serve_streams};
