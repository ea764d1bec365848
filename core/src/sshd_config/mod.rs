//! The configuration of a server: sshd_config(5), its lines and its `Match` blocks.
//!
//! [`Reading`] asks for the files, [`ServerConfig`] says which lines count for a connection. What the values mean is the
//! server's to know: lines are given as they stand, each with its place. A keyword that sshd(8) does not know, a
//! keyword that cannot stand in a `Match`, a condition that is not known, and a quote that is not closed are errors here.

mod keywords;
mod reading;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

pub use keywords::{is_known, may_match};
pub use reading::Reading;

use crate::admission::Addresses;
use crate::config::Line;
use crate::ssh_config::matching::{Criterion, hosts, list};
use crate::ssh_config::{VERSION, Wrong};
use crate::text::Location;

/// A line that says something.
#[derive(Clone, Debug)]
pub struct Entry {
    line: Line,
    at: Location,
    block: Option<Arc<MatchBlock>>,
}

impl Entry {
    /// The line; the keyword in lower case.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// Where it stands.
    pub fn at(&self) -> &Location {
        &self.at
    }

    /// The `Match` whose block it stands in.
    pub fn block(&self) -> Option<&MatchBlock> {
        self.block.as_deref()
    }
}

/// A `Match` line.
#[derive(Debug)]
pub struct MatchBlock {
    at: Location,
    criteria: Vec<Criterion>,
    /// The block around an `Include`.
    outer: Option<Arc<MatchBlock>>,
}

impl MatchBlock {
    /// Where it stands.
    pub fn at(&self) -> &Location {
        &self.at
    }

    /// Whether it asks about something, such as `group`, itself or by a block around it: whoever never knows that cannot
    /// obey it, and a negated condition would always hold.
    pub fn asks_about(&self, criterion: &str) -> bool {
        let own = self.criteria.iter().any(|c| c.name == criterion.as_bytes());
        own || self.outer.as_ref().is_some_and(|outer| outer.asks_about(criterion))
    }

    fn holds(&self, connection: &Connection<'_>) -> bool {
        let all = self.criteria.iter().all(|c| one(c, connection) != c.negated);
        all && self.outer.as_ref().is_none_or(|outer| outer.holds(connection))
    }
}

/// Whom a `Match` is about. What is not known matches nothing.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Connection<'c> {
    /// The user who wants in.
    pub user: Option<&'c [u8]>,
    /// Whether there is no such user.
    pub invalid_user: bool,
    /// The groups that the user is in.
    pub groups: &'c [Vec<u8>],
    /// The client's name; its address where names are not looked up (`UseDNS no`).
    pub host: Option<&'c [u8]>,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The address that it came in by.
    pub local_address: Option<IpAddr>,
    /// The port that it came in by.
    pub local_port: Option<u16>,
    /// The routing domain that it came in by.
    pub rdomain: Option<&'c [u8]>,
}

fn one(criterion: &Criterion, connection: &Connection<'_>) -> bool {
    let argument = criterion.argument.as_slice();
    let address = |of: Option<IpAddr>| {
        let addresses = Addresses::parse(argument);
        of.zip(addresses).is_some_and(|(address, list)| list.contains(address))
    };
    match criterion.name.as_slice() {
        b"all" => true,
        b"invalid-user" => connection.invalid_user,
        b"user" => connection.user.is_some_and(|user| list(argument, user)),
        b"group" => connection.groups.iter().any(|group| list(argument, group)),
        b"host" => connection.host.is_some_and(|host| hosts(argument, host)),
        b"address" => address(connection.address),
        b"localaddress" => address(connection.local_address),
        b"localport" => {
            connection.local_port.is_some_and(|port| argument == alloc::format!("{port}").as_bytes())
        }
        b"rdomain" => connection.rdomain.is_some_and(|domain| list(argument, domain)),
        b"version" => list(argument, VERSION.as_bytes()),
        _ => false,
    }
}

/// Whether a condition can be judged at all.
fn check(criterion: &Criterion) -> Result<(), Wrong> {
    let argument = criterion.argument.as_slice();
    match criterion.name.as_slice() {
        b"all" | b"invalid-user" | b"user" | b"group" | b"host" | b"rdomain" | b"version" => Ok(()),
        b"address" | b"localaddress" => match Addresses::parse(argument) {
            Some(_) => Ok(()),
            None => Err(Wrong::Networks(argument.to_vec())),
        },
        b"localport" => {
            let port: Option<u16> = core::str::from_utf8(argument).ok().and_then(|text| text.parse().ok());
            match port {
                Some(_) => Ok(()),
                None => Err(Wrong::Value(argument.to_vec(), "a port".into())),
            }
        }
        name => Err(Wrong::Criterion(name.to_vec())),
    }
}

/// All lines of a server's configuration, in order.
#[derive(Clone, Debug, Default)]
pub struct ServerConfig {
    entries: Vec<Entry>,
}

impl ServerConfig {
    /// The lines outside of all `Match` blocks: they count for everybody, unless a block that holds says otherwise.
    pub fn global(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.block.is_none())
    }

    /// The lines inside of `Match` blocks.
    pub fn conditional(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.block.is_some())
    }

    /// The lines that count for a connection: those of the blocks that hold, then the global ones. Of each keyword that
    /// does not accumulate, the first counts.
    pub fn of<'s>(&'s self, connection: &'s Connection<'_>) -> impl Iterator<Item = &'s Entry> {
        let holds = |entry: &&Entry| entry.block.as_ref().is_some_and(|block| block.holds(connection));
        self.entries.iter().filter(holds).chain(self.global())
    }

    /// The first line of a keyword, in lower case, that counts for a connection.
    pub fn first<'s>(&'s self, keyword: &str, connection: &'s Connection<'_>) -> Option<&'s Entry> {
        let holds =
            |block: &Option<Arc<MatchBlock>>| block.as_ref().is_some_and(|block| block.holds(connection));
        let of = |entry: &&Entry| entry.line.keyword == keyword;
        let matched = self.entries.iter().filter(of).find(|entry| holds(&entry.block));
        matched.or_else(|| self.global().find(of))
    }
}
