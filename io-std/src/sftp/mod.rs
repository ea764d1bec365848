//! SFTP on top of a connection, or of any stream: [`Sftp`] is the client.

mod client;
mod client_dir;
mod client_error;
mod client_link;
mod client_machine;
mod client_session;
mod file;
pub mod glob;
mod path;
mod transfer;
mod tree;

pub use client::{Sftp, SftpOptions};
pub use client_dir::{DirEntry, Metadata};
pub use client_error::{Error, ErrorKind};
pub use file::{File, OpenOptions};
pub use path::RemotePath;
pub use transfer::{Cancel, GetOptions, OnProgress, Progress, PutOptions, Summary, Verify};
pub use tree::{ReadDir, TreeReport, Walk};
