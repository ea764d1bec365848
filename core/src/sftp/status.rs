use alloc::borrow::Cow;
use core::fmt;

use crate::wire::SshStr;

/// Longest text of a status that is kept, in bytes.
const MAX_TEXT: usize = 1024;

/// Status codes (draft-ietf-secsh-filexfer-02 §7). Peers may send others; they are kept as they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusCode(pub u32);

impl StatusCode {
    /// Done.
    pub const OK: Self = Self(0);
    /// The file ends here, or no more names follow.
    pub const EOF: Self = Self(1);
    /// The path does not exist.
    pub const NO_SUCH_FILE: Self = Self(2);
    /// Not allowed.
    pub const PERMISSION_DENIED: Self = Self(3);
    /// Something else went wrong.
    pub const FAILURE: Self = Self(4);
    /// The request cannot be understood.
    pub const BAD_MESSAGE: Self = Self(5);
    /// Made up locally by a client.
    pub const NO_CONNECTION: Self = Self(6);
    /// Made up locally by a client.
    pub const CONNECTION_LOST: Self = Self(7);
    /// The server does not have this operation.
    pub const OP_UNSUPPORTED: Self = Self(8);

    /// What it says, for a person.
    pub fn text(self) -> &'static str {
        match self {
            Self::OK => "success",
            Self::EOF => "end of file",
            Self::NO_SUCH_FILE => "no such file",
            Self::PERMISSION_DENIED => "permission denied",
            Self::FAILURE => "failure",
            Self::BAD_MESSAGE => "bad message",
            Self::NO_CONNECTION => "no connection",
            Self::CONNECTION_LOST => "connection lost",
            Self::OP_UNSUPPORTED => "operation unsupported",
            _ => "unknown status",
        }
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())?;
        if self.0 > 8 { write!(f, " {}", self.0) } else { Ok(()) }
    }
}

impl fmt::Debug for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatusCode({self})")
    }
}

/// How a request ended: a code, and perhaps words for a person.
#[derive(Clone, PartialEq, Eq)]
pub struct Status {
    /// The code.
    pub code: StatusCode,
    /// The peer's words, cut at 1 KiB; escaped when shown. Empty if it sent none.
    pub message: Cow<'static, str>,
}

impl Status {
    /// A code with the usual words for it.
    pub const fn new(code: StatusCode) -> Self {
        Status { code, message: Cow::Borrowed("") }
    }

    /// A code with words of its own. They go to the peer: no paths of the host (S-11), no secrets.
    pub fn with_message(code: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Status { code, message: message.into() }
    }

    /// What a peer sent; the text is bounded and made UTF-8.
    pub(crate) fn from_peer(code: u32, text: &[u8]) -> Self {
        let cut = text.get(..MAX_TEXT).unwrap_or(text);
        Status { code: StatusCode(code), message: Cow::Owned(SshStr::new(cut).to_text()) }
    }

    /// True for [`StatusCode::OK`].
    pub fn is_ok(&self) -> bool {
        self.code == StatusCode::OK
    }

    /// The words that go to a peer.
    pub(crate) fn wire_text(&self) -> &str {
        if self.message.is_empty() { self.code.text() } else { &self.message }
    }
}

impl From<StatusCode> for Status {
    fn from(code: StatusCode) -> Self {
        Status::new(code)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code.fmt(f)?;
        if self.message.is_empty() || self.message.eq_ignore_ascii_case(self.code.text()) {
            return Ok(());
        }
        write!(f, ": {}", SshStr::new(self.message.as_bytes()))
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Status({self})")
    }
}

impl core::error::Error for Status {}
