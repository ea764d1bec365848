//! User authentication (RFC 4252, RFC 4256), both sides.

pub(crate) mod client;
mod lists;
mod penalty;
pub(crate) mod server;

use core::fmt;

pub use lists::{BadMethodLists, MethodLists, Needs};
pub use penalty::Penalty;

use crate::wire::NameListBuilder;

/// The service that authentication starts, and the one that does it.
pub(crate) const CONNECTION_SERVICE: &str = "ssh-connection";
pub(crate) const USERAUTH_SERVICE: &str = "ssh-userauth";

/// Public keys with the server's host key in what is signed, so that no other server can use it (OpenSSH PROTOCOL
/// §3.1). The method is `publickey` under another name, and never listed.
pub(crate) const HOSTBOUND_METHOD: &str = "publickey-hostbound-v00@openssh.com";

/// Authentication methods that konko knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Method {
    /// No proof at all (RFC 4252 §5.2).
    None,
    /// RFC 4252 §8.
    Password,
    /// RFC 4252 §7.
    PublicKey,
    /// RFC 4256.
    KeyboardInteractive,
    /// RFC 4252 §9.
    HostBased,
}

impl Method {
    /// All of them.
    pub const ALL: [Method; 5] =
        [Method::None, Method::Password, Method::PublicKey, Method::KeyboardInteractive, Method::HostBased];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Method::None => "none",
            Method::Password => "password",
            Method::PublicKey => "publickey",
            Method::KeyboardInteractive => "keyboard-interactive",
            Method::HostBased => "hostbased",
        }
    }

    /// The method of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name() == name)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a machine of authentication has for the application.
#[derive(Debug)]
pub(crate) enum Told<A> {
    Auth(A),
    /// The user is in.
    Authenticated {
        method: Method,
        /// No proof was asked for.
        trivial: bool,
    },
}

/// A set of methods.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct MethodSet(u8);

impl MethodSet {
    /// No method.
    pub const EMPTY: MethodSet = MethodSet(0);

    /// With `method` added.
    #[must_use]
    pub const fn with(self, method: Method) -> Self {
        MethodSet(self.0 | method.bit())
    }

    /// Without `method`.
    #[must_use]
    pub const fn without(self, method: Method) -> Self {
        MethodSet(self.0 & !method.bit())
    }

    /// Whether `method` is in it.
    pub const fn contains(self, method: Method) -> bool {
        self.0 & method.bit() != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The methods.
    pub fn iter(self) -> impl Iterator<Item = Method> {
        Method::ALL.into_iter().filter(move |m| self.contains(*m))
    }

    /// The names, joined by commas. `none` is never listed (RFC 4252 §5.2).
    pub(crate) fn name_list(self) -> alloc::string::String {
        let names = self.iter().filter(|m| *m != Method::None).map(Method::name);
        names.collect::<NameListBuilder>().finish()
    }
}

impl FromIterator<Method> for MethodSet {
    fn from_iter<I: IntoIterator<Item = Method>>(methods: I) -> Self {
        methods.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for MethodSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
