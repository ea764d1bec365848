//! SFTP, version 3 (draft-ietf-secsh-filexfer-02) with OpenSSH's extensions: a protocol of its own.
//!
//! [`Client`] and [`Server`] are machines over bytes. They never see a channel: what comes from one goes
//! into `poll`, what is in `tx` goes to one. [`transfer`] moves whole files over a [`Client`], with many
//! requests in flight. Names and paths are bytes.
//!
//! File data is not copied on the way in: a READ's reply and a WRITE arrive as parts that borrow from
//! the input, whatever their size. On the way out it is read straight into `tx`.

mod attrs;
mod client;
mod error;
mod extension;
mod longname;
mod memory;
mod message;
mod operation;
mod peers;
mod server;
mod status;
pub mod transfer;

pub use attrs::{Attrs, FileType, ModeText, Owner, Times};
pub use client::{Client, ClientConfig, Entry, Event, Handle, Names, OpenFlags, Reply, RequestId};
pub use error::{Error, Fault, UsageError};
pub use extension::{FileHash, HashList, Ids, Limits, StatVfs, UsersGroups, hash_from_name, hash_name};
pub use longname::LongName;
pub use memory::{MemoryFs, MemoryHandles, MemorySession};
pub use message::{MAX_DATA, MAX_HANDLE, MAX_MESSAGE, MsgBuf};
pub use operation::{Extension, ExtensionSet, Operation, OperationSet};
pub use server::{CheckFile, FileSystem, HandleId, NameList, Op, Request, Server, ServerConfig, Ticket};
pub use status::{Status, StatusCode};

/// The version that both sides speak.
pub const VERSION: u32 = 3;

/// Whether a name that a server sent can be used as the name of a local file below a directory of one's
/// choice: one component that goes nowhere else (S-18). Not empty, not `.` or `..`, without `/`, `\`,
/// NUL and `:`, and not a name that Windows reserves for devices.
pub fn is_safe_name(name: &[u8]) -> bool {
    if name.is_empty() || name == b"." || name == b".." {
        return false;
    }
    if name.iter().any(|b| matches!(b, b'/' | b'\\' | 0 | b':')) {
        return false;
    }
    let stem = name.split(|b| *b == b'.').next().unwrap_or_default();
    let device = |prefix: &[u8]| {
        stem.len() == 4
            && stem.get(..3).is_some_and(|s| s.eq_ignore_ascii_case(prefix))
            && stem.last().is_some_and(u8::is_ascii_digit)
    };
    let reserved = [&b"con"[..], b"prn", b"aux", b"nul"].iter().any(|r| stem.eq_ignore_ascii_case(r));
    !(reserved || device(b"com") || device(b"lpt"))
}
