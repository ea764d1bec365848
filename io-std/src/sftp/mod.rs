//! SFTP: the client, over a connection or any stream, and a server on directories of this machine.
//!
//! [`Sftp`] is the client, [`File`] an open file on the server. On the other side, [`Root`] is a directory that clients cannot leave, or the whole system; [`serve()`] serves it, or any
//! other [`FileSystem`], on a channel: in a [`Session`], which answers at once, or [`Pooled`]. The protocol itself is [`konko_core::sftp`].

mod arguments;
mod attrs;
mod bulk;
mod client;
mod client_link;
mod client_session;
mod errno;
mod file;
mod layers;
mod listing;
mod local;
mod names;
mod object;
mod observe;
mod pool;
mod resolve;
mod root;
mod rooted;
mod serve;

pub use client::{ReadDir, Sftp, SftpOptions, Walk};
pub use file::File;
pub use konko_core::sftp::session::{
    DirEntry, Error, ErrorKind, GetOptions, Metadata, OpenOptions, Progress, PutOptions, Remote, RemotePath,
    TreeReport, glob,
};
pub use konko_core::sftp::transfer::{Summary, Verify};
pub use konko_core::sftp::*;
pub use layers::{Audit, AuditLine, Quota};
pub use listing::Listing;
pub(crate) use observe::io_kind;
pub use observe::{Cancel, OnProgress};
pub use pool::{Pooled, Replies, Workers};
pub use root::Root;
pub use rooted::{RootedFile, RootedFs};
pub use serve::{serve, serve_streams};

use std::io::{self, Write};

use crate::server::Call;

/// The program that serves a session: the subsystem `sftp`, and `internal-sftp` with its options.
pub(crate) fn run(call: &Call<'_>, choose: &dyn Fn(&Call<'_>) -> io::Result<Root>) -> u32 {
    let channel = call.channel();
    let root = choose(call).map_err(|e| e.to_string()).and_then(|root| {
        let arguments = arguments::parse(call.argument(), call.user())?;
        arguments.apply(root)
    });
    let served = root.and_then(|root| {
        let waiting = channel.watcher();
        let root = root.cancel_when(move || !waiting());
        let mut config = root.config();
        config.suit(&channel.peer_ident());
        serve(channel, config, &mut root.session()).map_err(|e| e.to_string())
    });
    match served {
        Ok(()) => 0,
        Err(text) => {
            let _ = writeln!(channel.stderr(), "sftp: {text}\r");
            1
        }
    }
}
