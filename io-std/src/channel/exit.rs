use std::fmt;

use konko_core::channel;
use konko_core::wire::SshStr;

/// How a remote program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// With a status; 0 is success.
    Status(u32),
    /// By a signal.
    Signal {
        /// Signal name without `SIG`; from the peer, as it is.
        signal: String,
        /// Whether it dumped core.
        core_dumped: bool,
        /// Text for a person; from the peer, as it is.
        message: String,
    },
    /// The server did not say. Some devices never do.
    Missing,
}

impl Exit {
    /// Whether the program ended with status 0.
    pub fn success(&self) -> bool {
        *self == Exit::Status(0)
    }
}

impl From<channel::Exit<'_>> for Exit {
    fn from(exit: channel::Exit<'_>) -> Self {
        let text = |s: SshStr<'_>| s.to_text();
        match exit {
            channel::Exit::Status(status) => Exit::Status(status),
            channel::Exit::Signal { signal, core_dumped, message } => {
                Exit::Signal { signal: text(signal), core_dumped, message: text(message) }
            }
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Status(status) => write!(f, "exit status {status}"),
            Exit::Signal { signal, core_dumped, message } => {
                let core = if *core_dumped { " (core dumped)" } else { "" };
                write!(f, "killed by signal {}{core}", SshStr::new(signal.as_bytes()))?;
                if message.is_empty() { Ok(()) } else { write!(f, ": {}", SshStr::new(message.as_bytes())) }
            }
            Exit::Missing => f.write_str("no exit status"),
        }
    }
}

impl From<u32> for Exit {
    fn from(status: u32) -> Self {
        Exit::Status(status)
    }
}
