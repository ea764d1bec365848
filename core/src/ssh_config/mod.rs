//! The configuration of a client: ssh_config(5), read as OpenSSH 10 reads it.
//!
//! [`Lookup`] finds what holds for one host. Files, variables, commands of `Match exec`, names of hosts and interfaces
//! are asked of whoever drives it ([`Question`]); nothing is read here. What comes of it is a [`Config`]: a value for
//! every keyword, each with the line that said it and the blocks around that line, and as text what `ssh -G` prints.
//! [`Keyword`] is the table of all keywords.

mod algorithms;
mod canonical;
mod config;
mod defaults;
mod dump;
mod error;
mod forward;
mod keyword;
mod lookup;
pub(crate) mod matching;
mod names;
mod reader;
mod request;
mod tokens;
mod value;

use alloc::sync::Arc;
use alloc::vec::Vec;

pub use algorithms::{assemble, names};
pub use config::Config;
pub use error::{ConfigError, Problem, Wrong};
pub use keyword::{Algorithms, Keyword, Kind, Tokens};
pub use lookup::{Answer, Family, Found, Lookup, Question};
pub use names::host_patterns;
pub use request::{Local, Request};

use crate::text::{Limits, Location};

/// How large a configuration may be. OpenSSH has no limit; nobody writes that much.
pub const LIMITS: Limits = Limits { file: 4 * 1024 * 1024, line: crate::config::MAX_LINE };

/// What `Match version` is compared with: the release whose language this is, as patterns for it are written for that.
pub const VERSION: &str = "OpenSSH_10.0p2";

/// The words of a value.
type Words = Vec<Vec<u8>>;

/// A line that decides whether others count: a `Host`, a `Match` or an `Include`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    at: Location,
    text: Vec<u8>,
}

impl Block {
    /// Where it stands.
    pub fn at(&self) -> &Location {
        &self.at
    }

    /// The line.
    pub fn text(&self) -> &[u8] {
        &self.text
    }
}

/// One value of a keyword, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    words: Words,
    at: Option<Location>,
    blocks: Vec<Arc<Block>>,
    user: bool,
}

impl Setting {
    /// The words of the value, as `ssh -G` writes them.
    pub fn words(&self) -> &[Vec<u8>] {
        &self.words
    }

    /// Its line; `None` for a default.
    pub fn at(&self) -> Option<&Location> {
        self.at.as_ref()
    }

    /// The blocks and includes that let the line count, the outermost first.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.blocks.iter().map(AsRef::as_ref)
    }
}
