use alloc::string::String;
use core::fmt;

use crate::keys::{KeyError, SignatureAlgorithm};
use crate::wire::{DecodeError, SshStr};

/// What went wrong between a client and its agent. `Display` says what was expected and what came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AgentError {
    /// A request waits for its answer; there is one at a time.
    Busy,
    /// Something came from the agent, and nothing was asked.
    Unasked,
    /// A message of no bytes, or of more than 256 KiB; how many. Nothing after it can be read: close the connection.
    Length(u32),
    /// The request would be longer than any agent takes.
    TooLarge,
    /// The agent's answer is none to the request.
    UnexpectedReply {
        /// What was asked for.
        asked: &'static str,
        /// The number of the message that came.
        got: u8,
    },
    /// The agent's answer cannot be read; what was asked for.
    Malformed(&'static str),
    /// The agent says that it has so many keys; 2048 are the most.
    TooManyKeys(u32),
    /// The agent signed in another way than it was asked to. Old agents ignore the flags that ask for SHA-2.
    Algorithm {
        /// The algorithm that was asked for.
        asked: SignatureAlgorithm,
        /// The algorithm that the signature names; from the agent, as it is.
        got: String,
    },
    /// A key, or what is said about its use, cannot be put into a request.
    Key(KeyError),
    /// What was to be said about a key's use makes no sense; what.
    Constraint(&'static str),
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("the agent has not answered the last request yet"),
            Self::Unasked => f.write_str("the agent said something without being asked"),
            Self::Length(n) => {
                write!(f, "a message of {n} bytes; one has 1 to 262144. Is the socket really an agent's?")
            }
            Self::TooLarge => f.write_str("the request is longer than 256 KiB, which no agent takes"),
            Self::UnexpectedReply { asked, got } => {
                write!(f, "the agent was asked to {asked} and answered with message {got}")
            }
            Self::Malformed(asked) => {
                write!(f, "the agent was asked to {asked}, and its answer cannot be read")
            }
            Self::TooManyKeys(n) => write!(f, "the agent says that it has {n} keys; 2048 are the most"),
            Self::Algorithm { asked, got } => write!(
                f,
                "the agent was asked for a signature by {asked} and made one by {}; it is too old for {asked}",
                SshStr::new(got.as_bytes()).excerpt(64)
            ),
            Self::Key(error) => error.fmt(f),
            Self::Constraint(what) => f.write_str(what),
        }
    }
}

impl core::error::Error for AgentError {}

impl From<KeyError> for AgentError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

/// Of what is read of a request; the asker learns no more than that it failed.
impl From<DecodeError> for AgentError {
    fn from(_: DecodeError) -> Self {
        Self::Malformed("read a request")
    }
}
