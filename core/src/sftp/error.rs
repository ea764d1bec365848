use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use crate::wire::{DecodeError, SshStr};

use super::Extension;

/// Why an SFTP session ended. Sticky: every later `poll` returns it again.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    fault: Fault,
    detail: Box<str>,
}

impl Error {
    pub(crate) fn new(fault: Fault, detail: impl Into<String>) -> Self {
        Error { fault, detail: detail.into().into_boxed_str() }
    }

    pub(crate) fn malformed(what: &str, error: DecodeError) -> Self {
        Self::new(Fault::Malformed, alloc::format!("{what}: {error}"))
    }

    /// The kind of fault.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// What came and what was expected; the peer's text in it is escaped.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SFTP: {}", self.fault)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self})")
    }
}

impl core::error::Error for Error {}

/// The kinds of fault of a peer, and the end of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// What came first is not an SFTP packet: a login script's or a device's text.
    NotSftp,
    /// Another version of the protocol.
    Version,
    /// A length of 0 or beyond the limit.
    MessageLength,
    /// A message whose fields do not parse.
    Malformed,
    /// A message that is not legal now, or not from this side.
    UnexpectedMessage,
    /// A reply to a request that is not outstanding: never sent, or answered before.
    UnknownRequest,
    /// A reply of a kind that does not answer the request.
    WrongReply,
    /// More data than was asked for, or none.
    DataLength,
    /// A handle that stands for something else that is open.
    HandleInUse,
    /// The peer closed.
    Closed,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSftp => "the peer does not speak SFTP",
            Self::Version => "the peer speaks another version of the protocol; only 3 is supported",
            Self::MessageLength => "a message is empty or larger than 256 KiB",
            Self::Malformed => "a message is malformed",
            Self::UnexpectedMessage => "a message came that does not belong here",
            Self::UnknownRequest => "a reply came to a request that is not outstanding",
            Self::WrongReply => "a reply does not fit its request",
            Self::DataLength => "a reply has more data than was asked for, or none",
            Self::HandleInUse => {
                "the server gave two open files one handle; with ClientConfig::max_handles less are open at a time"
            }
            Self::Closed => "the session was closed",
        })
    }
}

/// A call that makes no sense now; it changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsageError {
    /// VERSION has not come yet.
    NotReady,
    /// The session has ended.
    Ended,
    /// As many requests as allowed are outstanding, or too much waits to be sent: send `tx`, take
    /// replies, try again.
    Full,
    /// The server did not announce this extension.
    Unsupported(Extension),
    /// A path, name or block of data is larger than a message can carry.
    TooLong,
    /// A path holds a NUL byte, which no server can mean.
    InvalidPath,
    /// The ticket belongs to another session, or was answered.
    StaleTicket,
    /// This reply does not answer that request; the peer got FAILURE.
    ReplyMismatch,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotReady => "the server has not answered the start of the session yet: wait for it first",
            Self::Ended => "the session has ended: open another",
            Self::Full => "too many requests are outstanding: take replies first",
            Self::Unsupported(e) => return write!(f, "the server does not offer {}", e.name()),
            Self::TooLong => "a path or a block of data is too long for a message",
            Self::InvalidPath => "the path holds a NUL byte",
            Self::StaleTicket => "the ticket was answered before or is not of this session",
            Self::ReplyMismatch => "the reply does not answer that kind of request",
        })
    }
}

impl core::error::Error for UsageError {}

/// The escaped start of a peer's text.
pub(crate) fn quote(bytes: &[u8]) -> String {
    alloc::format!("\"{}\"", SshStr::new(bytes).excerpt(200))
}
