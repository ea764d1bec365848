//! Names of users and groups, each looked up once a session.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStringExt;

use nix::unistd::{Gid, Group, Uid, User};

/// Names that are remembered: a client may ask for any number.
const MAX_NAMES: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Names {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

impl Names {
    /// The name of a user; empty if there is none.
    pub(super) fn user(&mut self, uid: u32) -> &str {
        look_up(&mut self.users, uid, |uid| Some(User::from_uid(Uid::from_raw(uid)).ok()??.name))
    }

    /// The name of a group; empty if there is none.
    pub(super) fn group(&mut self, gid: u32) -> &str {
        look_up(&mut self.groups, gid, |gid| Some(Group::from_gid(Gid::from_raw(gid)).ok()??.name))
    }
}

fn look_up(known: &mut BTreeMap<u32, String>, id: u32, find: impl FnOnce(u32) -> Option<String>) -> &str {
    if known.len() >= MAX_NAMES && !known.contains_key(&id) {
        known.clear();
    }
    known.entry(id).or_insert_with(|| find(id).unwrap_or_default())
}

/// The home directory of a user; of whoever runs this program if there is no name.
pub(super) fn home(user: &[u8]) -> Option<Vec<u8>> {
    let user = match user {
        b"" => User::from_uid(nix::unistd::geteuid()),
        name => User::from_name(std::str::from_utf8(name).ok()?),
    };
    Some(user.ok()??.dir.into_os_string().into_vec())
}
