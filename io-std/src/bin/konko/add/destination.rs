//! Destinations of keys, by the names of hosts (ssh-add.c `parse_dest_constraint`).

use std::path::PathBuf;

use konko::core::agent::{Destination, Hop, HopKey};
use konko::core::hosts::{KnownHostsFile, Means};
use konko::core::wire::SshStr;

use super::Done;
use crate::values::expand;

/// The files of known hosts that hosts are looked up in.
pub struct Known(Vec<KnownHostsFile>);

impl Known {
    /// Those files, or the usual ones. One that is not there is empty.
    pub fn read(files: &[PathBuf]) -> Self {
        let usual = [
            "~/.ssh/known_hosts",
            "~/.ssh/known_hosts2",
            "/etc/ssh/ssh_known_hosts",
            "/etc/ssh/ssh_known_hosts2",
        ];
        let usual = usual.iter().map(expand);
        let files: Vec<PathBuf> =
            if files.is_empty() { usual.collect() } else { files.iter().map(expand).collect() };
        let read =
            |path: &PathBuf| std::fs::read(path).ok().and_then(|bytes| KnownHostsFile::parse(&bytes).ok());
        Known(files.iter().filter_map(read).collect())
    }

    /// `[user@]host`, or `host>[user@]host`.
    pub fn destination(&self, text: &[u8]) -> Done<Destination> {
        let shown = SshStr::new(text);
        let (from, to) = match text.iter().position(|b| *b == b'>') {
            Some(at) => (self.hop(&text[..at], &shown)?, self.hop(&text[at + 1..], &shown)?),
            None => (Hop::origin(), self.hop(text, &shown)?),
        };
        if !from.user_pattern().is_empty() {
            return Err(format!("Invalid key constraint {shown}: cannot specify user on 'from' host"));
        }
        Destination::new(from, to).map_err(|e| format!("Invalid key destination constraint \"{shown}\": {e}"))
    }

    fn hop(&self, text: &[u8], whole: &SshStr<'_>) -> Done<Hop> {
        let (user, host) = match text.iter().rposition(|b| *b == b'@') {
            Some(at) => (&text[..at], &text[at + 1..]),
            None => (&b""[..], text),
        };
        let wrong = || format!("Invalid key destination constraint \"{whole}\": does not specify a host");
        let name = std::str::from_utf8(host).ok().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        // `[host]:port` is a name of its own in these files; brackets alone are how an address is written.
        let (bare, port) = match name.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((bare, rest)) => {
                (bare, rest.strip_prefix(':').and_then(|port| port.parse().ok()).unwrap_or(22))
            }
            None => (name, 22),
        };
        let entries = self.0.iter().flat_map(|file| file.find(bare, port));
        let keys = entries.filter_map(|entry| match entry.means {
            Means::Known => entry.key().ok().map(HopKey::host),
            Means::Authority => entry.key().ok().map(HopKey::authority),
            Means::Revoked => None,
        });
        let hop = Hop::host(host, keys).user(user);
        if hop.keys().is_empty() {
            return Err(format!("No host keys found for destination \"{}\"", SshStr::new(host)));
        }
        Ok(hop)
    }
}
