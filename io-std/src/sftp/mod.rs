//! SFTP: the client, over a connection or any stream, and a server on directories of this machine.
//!
//! [`Sftp`] is the client, [`File`] an open file on the server. On the other side, [`Root`] is a directory that clients cannot leave, or the whole system; [`serve()`] serves it, or any
//! other [`FileSystem`], on a channel: in a [`Session`], which answers at once, or [`Pooled`]. The protocol itself is [`konko_core::sftp`].

mod client;
mod client_link;
mod client_session;
mod file;
pub mod local;
mod observe;
#[cfg(feature = "server")]
mod server;

pub use client::{ReadDir, Sftp, SftpOptions, Walk};
pub use file::File;
pub use konko_core::sftp::session::{
    DirEntry, Error, ErrorKind, GetOptions, Links, Metadata, OpenOptions, Progress, PutOptions, Remote,
    RemotePath, TreeReport, glob,
};
pub use konko_core::sftp::transfer::{Summary, Verify};
#[cfg(feature = "server")]
pub use konko_core::sftp::{
    Access, Audit, AuditLine, CopyRange, DirItem, Done, FileSystem, Finished, Layer, MemoryFs, Operation,
    OperationSet, Queue, Quota, Rules, ServerConfig, Session, Target, Task, normalize,
};
pub use konko_core::sftp::{
    Attrs, CheckFile, Extension, ExtensionSet, FileHash, FileType, HashList, Ids, LongName, ModeText,
    NameRules, OpenFlags, Owner, StatVfs, Status, StatusCode, Times, UnsafeName, UsersGroups, hash_from_name,
    hash_name, is_safe_name, last_name,
};
pub use observe::OnProgress;
pub(crate) use observe::io_kind;
#[cfg(feature = "server")]
pub(crate) use server::run;
#[cfg(feature = "server")]
pub use server::{Listing, Pooled, Replies, Root, RootedFile, RootedFs, Workers, serve, serve_streams};
