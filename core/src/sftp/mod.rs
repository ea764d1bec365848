//! SFTP, version 3 (draft-ietf-secsh-filexfer-02) with OpenSSH's extensions: a protocol of its own.
//!
//! [`SftpClient`] and [`SftpServer`] are machines over bytes. They never see a channel: what comes from one goes
//! into `poll`, what is in `tx` goes to one. [`transfer`] moves whole files over a [`SftpClient`], with many
//! requests in flight. Names and paths are bytes.
//!
//! File data is not copied on the way in: a READ's reply and a WRITE arrive as parts that borrow from
//! the input, whatever their size. On the way out it is read straight into `tx`.

mod arguments;
mod attrs;
mod client;
mod error;
mod extension;
mod file_system;
mod longname;
mod memory;
mod message;
mod names;
mod operation;
mod peers;
mod server;
pub mod session;
mod status;
pub mod transfer;

pub use arguments::{Arguments, BadArguments};
pub use attrs::{Attrs, FileType, ModeText, Owner, Times};
pub use client::{ClientConfig, Entry, Event, Handle, Names, OpenFlags, Reply, RequestId, SftpClient};
pub use error::{Error, Fault, UsageError};
pub use extension::{
    CheckFile, FileHash, HashList, Ids, Limits, StatVfs, UsersGroups, hash_from_name, hash_name,
};
pub use file_system::{
    Access, Audit, AuditLine, CopyRange, DirItem, Done, FileSystem, Finished, Judge, Layer, OpenFiles, Queue,
    Quota, Rules, Session, Target, Task, Witness, normalize,
};
pub use longname::LongName;
pub use memory::MemoryFs;
pub use message::{MAX_DATA, MAX_HANDLE, MAX_MESSAGE, MsgBuf};
pub use names::{NameRules, UnsafeName, is_safe_name, last_name};
pub use operation::{Extension, ExtensionSet, Operation, OperationSet};
pub use server::{Answer, Backend, HandleId, NameList, Op, Request, ServerConfig, SftpServer, Ticket};
pub use status::{Status, StatusCode};

/// The version that both sides speak.
pub const VERSION: u32 = 3;
