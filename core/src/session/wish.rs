//! What clients ask for, out of the receive buffer, so that it can be answered later and from anywhere.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::channel::{ChannelRequest, OpenKind, PtyRequest};
use crate::wire::SshStr;

/// What kind of channel a client opens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelKind {
    /// A session: for a program (RFC 4254 §6.1).
    Session,
    /// A connection that the server is to make (RFC 4254 §7.2).
    DirectTcpip {
        /// Where to: a name or an address, as the client wrote it.
        host: String,
        /// Where to; never 0.
        port: u16,
        /// Who asked the client for it, as it says.
        originator: String,
        /// Who asked the client for it, as it says.
        originator_port: u32,
    },
    /// Any other type.
    Other {
        /// Its name, as the client wrote it.
        name: String,
        /// Its fields, as on the wire.
        fields: Vec<u8>,
    },
}

/// A pseudo-terminal that a client asks for (RFC 4254 §6.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Pty {
    /// `TERM`.
    pub term: Vec<u8>,
    /// Width in characters.
    pub columns: u32,
    /// Height in characters.
    pub rows: u32,
    /// Width in pixels; 0 if unknown.
    pub width: u32,
    /// Height in pixels; 0 if unknown.
    pub height: u32,
    /// Terminal modes, opcode and value (RFC 4254 §8).
    pub modes: Vec<(u8, u32)>,
}

impl fmt::Debug for Pty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pty { term, columns, rows, width, height, modes } = self;
        let mut out = f.debug_struct("Pty");
        out.field("term", &SshStr::new(term)).field("columns", columns).field("rows", rows);
        out.field("width", width).field("height", height).field("modes", modes).finish()
    }
}

impl Default for Pty {
    /// `xterm`, 80 by 24, no modes.
    fn default() -> Self {
        Pty { term: b"xterm".into(), columns: 80, rows: 24, width: 0, height: 0, modes: Vec::new() }
    }
}

impl From<&PtyRequest<'_>> for Pty {
    fn from(request: &PtyRequest<'_>) -> Self {
        let PtyRequest { term, columns, rows, width, height, modes } = *request;
        Pty { term: term.as_bytes().to_vec(), columns, rows, width, height, modes: modes.iter().collect() }
    }
}

/// What is to run in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// The user's shell.
    Shell,
    /// A command.
    Exec(Vec<u8>),
    /// A subsystem, such as `sftp`.
    Subsystem(Vec<u8>),
}

impl fmt::Display for Program {
    /// One line for a log, escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = |bytes| SshStr::new(bytes).excerpt(200);
        match self {
            Program::Shell => f.write_str("a shell"),
            Program::Exec(command) => write!(f, "\"{}\"", escaped(command)),
            Program::Subsystem(name) => write!(f, "the subsystem \"{}\"", escaped(name)),
        }
    }
}

/// What a client tells a program that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// The terminal has another size (RFC 4254 §6.7).
    WindowChange {
        /// Width in characters.
        columns: u32,
        /// Height in characters.
        rows: u32,
        /// Width in pixels, 0 if unknown.
        width: u32,
        /// Height in pixels, 0 if unknown.
        height: u32,
    },
    /// A signal for the program, without `SIG` (RFC 4254 §6.9). From the client: check it.
    Signal(String),
    /// A break of so many milliseconds (RFC 4335).
    Break(u32),
    /// Nobody reads standard output any more (`eow@openssh.com`, OpenSSH's PROTOCOL §2.1): writing to it
    /// fails from now on, the rest goes on.
    Eow,
}

/// What is asked on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionRequest {
    /// A terminal.
    Pty(Pty),
    /// An environment variable: name and value.
    Env(Vec<u8>, Vec<u8>),
    /// To run something.
    Start(Program),
    /// To tell the program something.
    Control(Control),
    /// Anything else.
    Other {
        /// Its name, as the client wrote it.
        name: String,
        /// Its fields, as on the wire.
        fields: Vec<u8>,
    },
}

impl ChannelKind {
    /// The type name on the wire.
    pub fn name(&self) -> &str {
        match self {
            ChannelKind::Session => "session",
            ChannelKind::DirectTcpip { .. } => "direct-tcpip",
            ChannelKind::Other { name, .. } => name,
        }
    }
}

impl From<&OpenKind<'_>> for ChannelKind {
    fn from(kind: &OpenKind<'_>) -> Self {
        match *kind {
            OpenKind::Session => ChannelKind::Session,
            OpenKind::DirectTcpip { host, port, originator, originator_port } => ChannelKind::DirectTcpip {
                host: host.to_text(),
                // The connection refuses ports that are none.
                port: u16::try_from(port).unwrap_or(0),
                originator: originator.to_text(),
                originator_port,
            },
            ref other => {
                let fields = match other {
                    OpenKind::Other { fields, .. } => fields.to_vec(),
                    _ => Vec::new(),
                };
                ChannelKind::Other { name: other.kind().to_text(), fields }
            }
        }
    }
}

impl SessionRequest {
    /// What a request asks for.
    pub fn of(request: &ChannelRequest<'_>) -> Self {
        use ChannelRequest as R;
        match *request {
            R::Pty(ref pty) => SessionRequest::Pty(pty.into()),
            R::Env { name, value } => {
                SessionRequest::Env(name.as_bytes().to_vec(), value.as_bytes().to_vec())
            }
            R::Shell => SessionRequest::Start(Program::Shell),
            R::Exec(command) => SessionRequest::Start(Program::Exec(command.as_bytes().to_vec())),
            R::Subsystem(name) => SessionRequest::Start(Program::Subsystem(name.as_bytes().to_vec())),
            R::WindowChange { columns, rows, width, height } => {
                SessionRequest::Control(Control::WindowChange { columns, rows, width, height })
            }
            R::Signal(name) => SessionRequest::Control(Control::Signal(name.to_text())),
            R::Break(length) => SessionRequest::Control(Control::Break(length)),
            R::Eow => SessionRequest::Control(Control::Eow),
            ref other => {
                let fields = match other {
                    R::Other { fields, .. } => fields.to_vec(),
                    _ => Vec::new(),
                };
                SessionRequest::Other { name: other.kind().to_text(), fields }
            }
        }
    }

    /// The request name on the wire.
    pub fn name(&self) -> &str {
        match self {
            SessionRequest::Pty(_) => "pty-req",
            SessionRequest::Env(..) => "env",
            SessionRequest::Start(Program::Shell) => "shell",
            SessionRequest::Start(Program::Exec(_)) => "exec",
            SessionRequest::Start(Program::Subsystem(_)) => "subsystem",
            SessionRequest::Control(Control::WindowChange { .. }) => "window-change",
            SessionRequest::Control(Control::Signal(_)) => "signal",
            SessionRequest::Control(Control::Break(_)) => "break",
            SessionRequest::Control(Control::Eow) => "eow@openssh.com",
            SessionRequest::Other { name, .. } => name,
        }
    }
}
