//! The program that serves a session of a server.

use std::io::{self, Write};

use konko_core::sftp::Arguments;

use super::{Root, serve};
use crate::server::Call;

/// The program that serves a session: the subsystem `sftp`, and `internal-sftp` with its options.
pub(crate) fn run(call: &Call, choose: &dyn Fn(&Call) -> io::Result<Root>) -> u32 {
    let channel = call.channel();
    let root = choose(call).map_err(|e| e.to_string()).and_then(|root| {
        let arguments = Arguments::parse(call.argument(), call.user()).map_err(|e| e.to_string())?;
        let root = root.configure(|config| arguments.restrict(config));
        match arguments.start() {
            Some(start) => root.start_in(start).map_err(|e| format!("the directory of -d: {e}")),
            None => Ok(root),
        }
    });
    let served = root.and_then(|root| {
        let waiting = channel.watcher();
        let root = root.cancel_when(move || !waiting());
        let mut config = root.config();
        config.suit(&channel.peer_ident());
        serve(&channel, config, &mut root.session()).map_err(|e| e.to_string())
    });
    match served {
        Ok(()) => 0,
        Err(text) => {
            let _ = writeln!(channel.stderr(), "sftp: {text}\r");
            1
        }
    }
}
