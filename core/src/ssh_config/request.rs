use alloc::vec::Vec;

use super::algorithms;
use super::keyword::Algorithms as Which;
use crate::keys::SignatureAlgorithm;
use crate::transport::negotiate::{Algorithms, Policy};

/// Who asks, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Local {
    pub(super) user: Vec<u8>,
    pub(super) home: Vec<u8>,
    pub(super) uid: u32,
    pub(super) host_name: Vec<u8>,
}

impl Local {
    /// The user's name, home folder and number, and the name of this machine (gethostname(2)).
    pub fn new(
        user: impl Into<Vec<u8>>,
        home: impl Into<Vec<u8>>,
        uid: u32,
        host_name: impl Into<Vec<u8>>,
    ) -> Self {
        Local { user: user.into(), home: home.into(), uid, host_name: host_name.into() }
    }

    /// The user's home folder.
    pub fn home(&self) -> &[u8] {
        &self.home
    }
}

/// Which files are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Files {
    /// `~/.ssh/config` and `/etc/ssh/ssh_config`.
    Usual,
    /// This one, which must be there (`-F`).
    One(Vec<u8>),
    None,
}

/// What no file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Given {
    Line(Vec<u8>),
    User(Vec<u8>),
    Port(u16),
}

/// Whose configuration is wanted: a host as it was typed, and what the command line says.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) local: Local,
    pub(super) host: Vec<u8>,
    pub(super) command: Vec<u8>,
    pub(super) options: Vec<Given>,
    pub(super) files: Files,
    pub(super) system: Vec<u8>,
    pub(super) defaults: Algorithms,
}

impl Request {
    /// For a host, with the user's file and the system's.
    pub fn new(local: Local, host: impl Into<Vec<u8>>) -> Self {
        Request {
            local,
            host: host.into(),
            command: Vec::new(),
            options: Vec::new(),
            files: Files::Usual,
            system: b"/etc/ssh/ssh_config".to_vec(),
            defaults: Policy::Modern.algorithms(true),
        }
    }

    /// A line that counts before all files, as `-o`: `Key=Value` or `Key Value`. Of these, the user and the port,
    /// what is given first counts.
    #[must_use]
    pub fn option(mut self, line: impl Into<Vec<u8>>) -> Self {
        self.options.push(Given::Line(line.into()));
        self
    }

    /// The user, as it was typed: no token means anything in it.
    #[must_use]
    pub fn user(mut self, user: impl Into<Vec<u8>>) -> Self {
        self.options.push(Given::User(user.into()));
        self
    }

    /// The port, as it was typed.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.options.push(Given::Port(port));
        self
    }

    /// The command that is to be run there, for `Match command` and `Match sessiontype`.
    #[must_use]
    pub fn command(mut self, command: impl Into<Vec<u8>>) -> Self {
        self.command = command.into();
        self
    }

    /// This file alone, which must be there (`-F`); `none` is no file at all.
    #[must_use]
    pub fn file(mut self, path: impl Into<Vec<u8>>) -> Self {
        let path = path.into();
        self.files = if path.eq_ignore_ascii_case(b"none") { Files::None } else { Files::One(path) };
        self
    }

    /// Another file of the system than `/etc/ssh/ssh_config`.
    #[must_use]
    pub fn system_file(mut self, path: impl Into<Vec<u8>>) -> Self {
        self.system = path.into();
        self
    }

    /// The algorithms that lists with `+`, `-` and `^` change, and that count where there is no list: those of the
    /// policy [`Modern`](Policy::Modern).
    #[must_use]
    pub fn algorithms(mut self, defaults: Algorithms) -> Self {
        self.defaults = defaults;
        self
    }

    pub(super) fn default_of(&self, which: Which) -> Vec<&'static str> {
        let a = &self.defaults;
        let signatures = |list: &[SignatureAlgorithm]| list.iter().map(|a| a.name()).collect();
        match which {
            Which::Ciphers => a.cipher[0].iter().map(|a| a.name()).collect(),
            Which::Macs => a.mac[0].iter().map(|a| a.name()).collect(),
            Which::Kex => a.kex.iter().map(|a| a.name()).collect(),
            Which::HostKeys => signatures(&a.host_key),
            Which::UserKeys | Which::Hostbased => signatures(&a.user_key),
            Which::Authorities => {
                let known = algorithms::names(Which::Authorities);
                let all: Vec<&'static str> = signatures(&a.host_key);
                all.into_iter().filter(|name| known.contains(name)).collect()
            }
        }
    }
}
