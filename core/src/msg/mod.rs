//! SSH messages: one struct a message, one table of all numbers.
//!
//! Applications do not need this module; it is public for tools and tests that speak the protocol
//! by hand.

mod auth;
mod connection;
mod kex;
mod transport;

pub use auth::*;
pub use connection::*;
pub use kex::*;
pub use transport::*;

use crate::wire::{DecodeError, Reader, Sink};

/// A message: its number, its fields in order.
pub trait Message<'a>: Sized {
    /// The message number (RFC 4250 §4.1.2).
    const NUMBER: u8;

    /// Reads the fields after the number.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for fields that are cut off or not what their types allow.
    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError>;

    /// Writes the fields after the number.
    fn write(&self, out: &mut dyn Sink);

    /// Parses a whole payload; bytes after the last field are an error.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for another number, fields that are cut off or wrong, and bytes left over.
    fn parse(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(payload);
        if r.u8()? != Self::NUMBER {
            return Err(DecodeError::Invalid);
        }
        let message = Self::read(&mut r)?;
        r.end()?;
        Ok(message)
    }

    /// The whole payload.
    fn put(&self, out: &mut dyn Sink) {
        out.put_u8(Self::NUMBER);
        self.write(out);
    }
}

/// Defines regular messages: fields in wire order, each named with its wire type.
macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident = $number:literal { $($(#[$fdoc:meta])* $field:ident : $kind:ident,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name<'a> {
            $($(#[$fdoc])* pub $field: crate::msg::field_type!('a $kind),)*
            #[doc(hidden)]
            pub _lifetime: core::marker::PhantomData<&'a ()>,
        }

        impl<'a> $name<'a> {
            /// The message with these fields, in wire order.
            #[allow(clippy::new_without_default)]
            pub fn new($($field: crate::msg::field_type!('a $kind)),*) -> Self {
                $name { $($field,)* _lifetime: core::marker::PhantomData }
            }
        }

        /// Bytes are printed as their number: they may be a password, or what was typed.
        impl core::fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.debug_struct(stringify!($name))
                    $(.field(stringify!($field), crate::msg::field_debug!($kind self.$field)))*
                    .finish()
            }
        }

        impl<'a> crate::msg::Message<'a> for $name<'a> {
            const NUMBER: u8 = $number;

            #[allow(unused_variables)]
            fn read(r: &mut crate::wire::Reader<'a>) -> Result<Self, crate::wire::DecodeError> {
                $(let $field = crate::msg::field_read!(r $kind);)*
                Ok($name::new($($field),*))
            }

            #[allow(unused_variables)]
            fn write(&self, out: &mut dyn crate::wire::Sink) {
                $(crate::msg::field_write!(out $kind self.$field);)*
            }
        }
    )*};
}
macro_rules! field_type {
    ($l:lifetime u8) => { u8 };
    ($l:lifetime u32) => { u32 };
    ($l:lifetime bool) => { bool };
    ($l:lifetime string) => { &$l [u8] };
    ($l:lifetime mpint) => { &$l [u8] };
    ($l:lifetime rest) => { &$l [u8] };
    ($l:lifetime text) => { crate::wire::SshStr<$l> };
    ($l:lifetime name_list) => { crate::wire::NameList<$l> };
}
macro_rules! field_read {
    ($r:ident rest) => {{
        let n = $r.rest().len();
        $r.bytes(n)?
    }};
    ($r:ident $kind:ident) => {
        $r.$kind()?
    };
}
macro_rules! field_write {
    ($out:ident u8 $v:expr) => {
        $out.put_u8($v)
    };
    ($out:ident u32 $v:expr) => {
        $out.put_u32($v)
    };
    ($out:ident bool $v:expr) => {
        $out.put_bool($v)
    };
    ($out:ident string $v:expr) => {
        $out.put_string($v)
    };
    ($out:ident mpint $v:expr) => {
        $out.put_mpint($v)
    };
    ($out:ident rest $v:expr) => {
        $out.put($v)
    };
    ($out:ident text $v:expr) => {
        $out.put_string($v.as_bytes())
    };
    ($out:ident name_list $v:expr) => {
        $out.put_string($v.as_str().as_bytes())
    };
}
macro_rules! field_debug {
    (string $v:expr) => {
        &format_args!("{} bytes", $v.len())
    };
    (rest $v:expr) => {
        &format_args!("{} bytes", $v.len())
    };
    (mpint $v:expr) => {
        &format_args!("{} bytes", $v.len())
    };
    ($kind:ident $v:expr) => {
        &$v
    };
}
pub(crate) use {field_debug, field_read, field_type, field_write, messages};

/// What a message is for; decides when it is legal ([`crate::transport::legal`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// DISCONNECT: always honoured.
    Disconnect,
    /// IGNORE, DEBUG, UNIMPLEMENTED.
    Filler,
    /// SERVICE_REQUEST, SERVICE_ACCEPT.
    Service,
    /// EXT_INFO.
    ExtInfo,
    /// KEXINIT.
    KexInit,
    /// NEWKEYS.
    NewKeys,
    /// 30 to 49: what the negotiated method says.
    KexMethod,
    /// USERAUTH_REQUEST, _FAILURE, _SUCCESS, _BANNER.
    Auth,
    /// 60 to 79: what the current authentication method says.
    AuthRequest,
    /// Global requests and channels.
    Connection,
    /// PING and PONG (OpenSSH PROTOCOL §1.8).
    Ping,
}

/// Who may send a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentBy {
    /// The client only.
    Client,
    /// The server only.
    Server,
    /// Either side.
    Both,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// The message number.
    pub number: u8,
    /// The name without its prefix.
    pub name: &'static str,
    /// What it is for.
    pub category: Category,
    /// Who may send it.
    pub from: SentBy,
    /// Where it is defined.
    pub source: &'static str,
}

const fn row(number: u8, name: &'static str, category: Category, from: SentBy, source: &'static str) -> Info {
    Info { number, name, category, from, source }
}

/// Every message konko knows. Numbers 30–49 and 60–79 mean different things by method; they stand
/// here under the name of the message that uses them first.
pub const MESSAGES: &[Info] = &[
    row(1, "DISCONNECT", Category::Disconnect, SentBy::Both, "RFC 4253 §11.1"),
    row(2, "IGNORE", Category::Filler, SentBy::Both, "RFC 4253 §11.2"),
    row(3, "UNIMPLEMENTED", Category::Filler, SentBy::Both, "RFC 4253 §11.4"),
    row(4, "DEBUG", Category::Filler, SentBy::Both, "RFC 4253 §11.3"),
    row(5, "SERVICE_REQUEST", Category::Service, SentBy::Client, "RFC 4253 §10"),
    row(6, "SERVICE_ACCEPT", Category::Service, SentBy::Server, "RFC 4253 §10"),
    row(7, "EXT_INFO", Category::ExtInfo, SentBy::Both, "RFC 8308 §2.3"),
    row(20, "KEXINIT", Category::KexInit, SentBy::Both, "RFC 4253 §7.1"),
    row(21, "NEWKEYS", Category::NewKeys, SentBy::Both, "RFC 4253 §7.3"),
    row(30, "KEX_INIT", Category::KexMethod, SentBy::Client, "RFC 4253 §8, RFC 5656 §4, RFC 8731 §3"),
    row(
        31,
        "KEX_REPLY, GEX_GROUP",
        Category::KexMethod,
        SentBy::Server,
        "RFC 4253 §8, RFC 5656 §4, RFC 4419 §5",
    ),
    row(32, "GEX_INIT", Category::KexMethod, SentBy::Client, "RFC 4419 §5"),
    row(33, "GEX_REPLY", Category::KexMethod, SentBy::Server, "RFC 4419 §5"),
    row(34, "GEX_REQUEST", Category::KexMethod, SentBy::Client, "RFC 4419 §5"),
    row(50, "USERAUTH_REQUEST", Category::Auth, SentBy::Client, "RFC 4252 §5"),
    row(51, "USERAUTH_FAILURE", Category::Auth, SentBy::Server, "RFC 4252 §5.1"),
    row(52, "USERAUTH_SUCCESS", Category::Auth, SentBy::Server, "RFC 4252 §5.1"),
    row(53, "USERAUTH_BANNER", Category::Auth, SentBy::Server, "RFC 4252 §5.4"),
    row(
        60,
        "USERAUTH_PK_OK, _PASSWD_CHANGEREQ, _INFO_REQUEST",
        Category::AuthRequest,
        SentBy::Server,
        "RFC 4252 §7, §8, RFC 4256 §3.2",
    ),
    row(61, "USERAUTH_INFO_RESPONSE", Category::AuthRequest, SentBy::Client, "RFC 4256 §3.4"),
    row(80, "GLOBAL_REQUEST", Category::Connection, SentBy::Both, "RFC 4254 §4"),
    row(81, "REQUEST_SUCCESS", Category::Connection, SentBy::Both, "RFC 4254 §4"),
    row(82, "REQUEST_FAILURE", Category::Connection, SentBy::Both, "RFC 4254 §4"),
    row(90, "CHANNEL_OPEN", Category::Connection, SentBy::Both, "RFC 4254 §5.1"),
    row(91, "CHANNEL_OPEN_CONFIRMATION", Category::Connection, SentBy::Both, "RFC 4254 §5.1"),
    row(92, "CHANNEL_OPEN_FAILURE", Category::Connection, SentBy::Both, "RFC 4254 §5.1"),
    row(93, "CHANNEL_WINDOW_ADJUST", Category::Connection, SentBy::Both, "RFC 4254 §5.2"),
    row(94, "CHANNEL_DATA", Category::Connection, SentBy::Both, "RFC 4254 §5.2"),
    row(95, "CHANNEL_EXTENDED_DATA", Category::Connection, SentBy::Both, "RFC 4254 §5.2"),
    row(96, "CHANNEL_EOF", Category::Connection, SentBy::Both, "RFC 4254 §5.3"),
    row(97, "CHANNEL_CLOSE", Category::Connection, SentBy::Both, "RFC 4254 §5.3"),
    row(98, "CHANNEL_REQUEST", Category::Connection, SentBy::Both, "RFC 4254 §5.4"),
    row(99, "CHANNEL_SUCCESS", Category::Connection, SentBy::Both, "RFC 4254 §5.4"),
    row(100, "CHANNEL_FAILURE", Category::Connection, SentBy::Both, "RFC 4254 §5.4"),
    row(192, "PING", Category::Ping, SentBy::Both, "OpenSSH PROTOCOL §1.8"),
    row(193, "PONG", Category::Ping, SentBy::Both, "OpenSSH PROTOCOL §1.8"),
];

/// The table row of a number, if konko knows it.
pub fn info(number: u8) -> Option<&'static Info> {
    MESSAGES.binary_search_by_key(&number, |m| m.number).ok().and_then(|i| MESSAGES.get(i))
}

/// A name for a person: `CHANNEL_DATA (94)`, or `message 77` when unknown.
pub fn name(number: u8) -> alloc::string::String {
    match info(number) {
        Some(i) => alloc::format!("{} ({number})", i.name),
        None => alloc::format!("message {number}"),
    }
}
