//! Channel requests (RFC 4254 §6, RFC 4335, OpenSSH PROTOCOL §2).

use alloc::vec::Vec;
use core::fmt;

use super::ChannelId;
use crate::wire::{DecodeError, Part, Reader, Sink, SshStr};

/// Answers one request of the peer. Give it to `reply`, now or later.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a request without a reply leaves the peer waiting until the decision timer denies it"]
pub struct RequestTicket {
    pub(crate) channel: ChannelId,
    pub(crate) number: u64,
}

impl RequestTicket {
    /// The channel that the request came on.
    pub fn channel(&self) -> ChannelId {
        self.channel
    }
}

/// What can be asked of the other side of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelRequest<'a> {
    /// A pseudo-terminal (RFC 4254 §6.2).
    Pty(PtyRequest<'a>),
    /// An environment variable (§6.4).
    Env {
        /// Name: letters, digits and underscores.
        name: SshStr<'a>,
        /// Value.
        value: SshStr<'a>,
    },
    /// The user's shell (§6.5).
    Shell,
    /// A command (§6.5).
    Exec(SshStr<'a>),
    /// A subsystem, such as `sftp` (§6.5).
    Subsystem(SshStr<'a>),
    /// New size of the terminal (§6.7). Never answered.
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
    /// A signal for the program, without `SIG` (§6.9). Never answered.
    Signal(SshStr<'a>),
    /// A break of so many milliseconds (RFC 4335).
    Break(u32),
    /// The program ended with this status (§6.10). Never answered.
    ExitStatus(u32),
    /// The program was ended by a signal (§6.10). Never answered.
    ExitSignal {
        /// Signal name without `SIG`.
        signal: SshStr<'a>,
        /// Whether it dumped core.
        core_dumped: bool,
        /// Text for a person.
        message: SshStr<'a>,
    },
    /// The other side reads no more (OpenSSH PROTOCOL §2.1). Never answered.
    Eow,
    /// Agent forwarding (OpenSSH PROTOCOL.agent).
    AuthAgent,
    /// Anything else.
    Other {
        /// Request name.
        kind: SshStr<'a>,
        /// Its fields, as on the wire.
        fields: &'a [u8],
    },
}

/// A pseudo-terminal request (RFC 4254 §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PtyRequest<'a> {
    /// `TERM`.
    pub term: SshStr<'a>,
    /// Width in characters.
    pub columns: u32,
    /// Height in characters.
    pub rows: u32,
    /// Width in pixels, 0 if unknown.
    pub width: u32,
    /// Height in pixels, 0 if unknown.
    pub height: u32,
    /// Terminal modes.
    pub modes: PtyModes<'a>,
}

/// Encoded terminal modes (RFC 4254 §8).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PtyModes<'a>(&'a [u8]);

/// Most modes that are looked at.
const MAX_MODES: usize = 256;

impl<'a> PtyModes<'a> {
    /// No modes.
    pub const NONE: PtyModes<'static> = PtyModes(&[]);

    /// Wraps modes as encoded by [`encode`](Self::encode) or a peer.
    pub fn new(encoded: &'a [u8]) -> Self {
        PtyModes(encoded)
    }

    /// Encodes pairs of opcode and value.
    pub fn encode(modes: impl IntoIterator<Item = (u8, u32)>) -> Vec<u8> {
        let mut out = Vec::new();
        for (opcode, value) in modes {
            out.put_u8(opcode);
            out.put_u32(value);
        }
        out.put_u8(0);
        out
    }

    /// The modes: opcode and value. Ends at TTY_OP_END, at an opcode whose argument is unknown
    /// (160 and above), or after 256.
    pub fn iter(&self) -> impl Iterator<Item = (u8, u32)> + use<'a> {
        let mut r = Reader::new(self.0);
        core::iter::from_fn(move || match r.u8() {
            Ok(opcode @ 1..=159) => Some((opcode, r.u32().ok()?)),
            _ => None,
        })
        .take(MAX_MODES)
    }
}

impl fmt::Debug for PtyModes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// How a remote program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit<'a> {
    /// With a status.
    Status(u32),
    /// By a signal.
    Signal {
        /// Signal name without `SIG`.
        signal: SshStr<'a>,
        /// Whether it dumped core.
        core_dumped: bool,
        /// Text for a person.
        message: SshStr<'a>,
    },
}

impl<'a> Exit<'a> {
    pub(crate) fn over<'b>(self, part: &mut impl Part<'a, 'b>) -> Option<Exit<'b>> {
        Some(match self {
            Self::Status(status) => Exit::Status(status),
            Self::Signal { signal, core_dumped, message } => {
                Exit::Signal { signal: signal.over(part)?, core_dumped, message: message.over(part)? }
            }
        })
    }
}

impl<'a> ChannelRequest<'a> {
    /// The same request in other bytes.
    pub(crate) fn over<'b>(self, part: &mut impl Part<'a, 'b>) -> Option<ChannelRequest<'b>> {
        Some(match self {
            Self::Pty(PtyRequest { term, columns, rows, width, height, modes }) => {
                let (term, modes) = (term.over(part)?, PtyModes(part(modes.0)?));
                ChannelRequest::Pty(PtyRequest { term, columns, rows, width, height, modes })
            }
            Self::Env { name, value } => {
                ChannelRequest::Env { name: name.over(part)?, value: value.over(part)? }
            }
            Self::Shell => ChannelRequest::Shell,
            Self::Exec(command) => ChannelRequest::Exec(command.over(part)?),
            Self::Subsystem(name) => ChannelRequest::Subsystem(name.over(part)?),
            Self::WindowChange { columns, rows, width, height } => {
                ChannelRequest::WindowChange { columns, rows, width, height }
            }
            Self::Signal(name) => ChannelRequest::Signal(name.over(part)?),
            Self::Break(length) => ChannelRequest::Break(length),
            Self::ExitStatus(status) => ChannelRequest::ExitStatus(status),
            Self::ExitSignal { signal, core_dumped, message } => {
                let (signal, message) = (signal.over(part)?, message.over(part)?);
                ChannelRequest::ExitSignal { signal, core_dumped, message }
            }
            Self::Eow => ChannelRequest::Eow,
            Self::AuthAgent => ChannelRequest::AuthAgent,
            Self::Other { kind, fields } => {
                ChannelRequest::Other { kind: kind.over(part)?, fields: part(fields)? }
            }
        })
    }

    /// The request name on the wire.
    pub fn kind(&self) -> SshStr<'a> {
        SshStr::new(match self {
            Self::Pty(_) => b"pty-req",
            Self::Env { .. } => b"env",
            Self::Shell => b"shell",
            Self::Exec(_) => b"exec",
            Self::Subsystem(_) => b"subsystem",
            Self::WindowChange { .. } => b"window-change",
            Self::Signal(_) => b"signal",
            Self::Break(_) => b"break",
            Self::ExitStatus(_) => b"exit-status",
            Self::ExitSignal { .. } => b"exit-signal",
            Self::Eow => b"eow@openssh.com",
            Self::AuthAgent => b"auth-agent-req@openssh.com",
            Self::Other { kind, .. } => return *kind,
        })
    }

    /// Whether the definition of the request lets it ask for an answer.
    pub fn may_want_reply(&self) -> bool {
        !matches!(
            self,
            Self::WindowChange { .. }
                | Self::Signal(_)
                | Self::ExitStatus(_)
                | Self::ExitSignal { .. }
                | Self::Eow
        )
    }

    /// Whether it starts the channel's program; only one of these succeeds.
    pub fn starts_program(&self) -> bool {
        matches!(self, Self::Shell | Self::Exec(_) | Self::Subsystem(_))
    }

    /// Reads the fields of a request.
    pub(crate) fn decode(kind: SshStr<'a>, fields: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(fields);
        let request = match kind.as_bytes() {
            b"pty-req" => Self::Pty(PtyRequest {
                term: r.text()?,
                columns: r.u32()?,
                rows: r.u32()?,
                width: r.u32()?,
                height: r.u32()?,
                modes: PtyModes(r.string()?),
            }),
            b"env" => Self::Env { name: r.text()?, value: r.text()? },
            b"shell" => Self::Shell,
            b"exec" => Self::Exec(r.text()?),
            b"subsystem" => Self::Subsystem(r.text()?),
            b"window-change" => {
                Self::WindowChange { columns: r.u32()?, rows: r.u32()?, width: r.u32()?, height: r.u32()? }
            }
            b"signal" => Self::Signal(r.text()?),
            b"break" => Self::Break(r.u32()?),
            b"exit-status" => Self::ExitStatus(r.u32()?),
            b"exit-signal" => {
                let (signal, core_dumped, message) = (r.text()?, r.bool()?, r.text()?);
                if !r.is_empty() {
                    r.text()?;
                }
                Self::ExitSignal { signal, core_dumped, message }
            }
            b"eow@openssh.com" => Self::Eow,
            b"auth-agent-req@openssh.com" => Self::AuthAgent,
            _ => return Ok(Self::Other { kind, fields }),
        };
        r.end()?;
        Ok(request)
    }

    /// Writes the fields.
    pub(crate) fn encode(&self, out: &mut dyn Sink) {
        match self {
            Self::Pty(pty) => {
                out.put_string(pty.term.as_bytes());
                for n in [pty.columns, pty.rows, pty.width, pty.height] {
                    out.put_u32(n);
                }
                out.put_string(pty.modes.0);
            }
            Self::Env { name, value } => {
                out.put_string(name.as_bytes());
                out.put_string(value.as_bytes());
            }
            Self::Exec(text) | Self::Subsystem(text) | Self::Signal(text) => out.put_string(text.as_bytes()),
            Self::WindowChange { columns, rows, width, height } => {
                for n in [columns, rows, width, height] {
                    out.put_u32(*n);
                }
            }
            Self::Break(n) | Self::ExitStatus(n) => out.put_u32(*n),
            Self::ExitSignal { signal, core_dumped, message } => {
                out.put_string(signal.as_bytes());
                out.put_bool(*core_dumped);
                out.put_string(message.as_bytes());
                out.put_string(b"");
            }
            Self::Other { fields, .. } => out.put(fields),
            Self::Shell | Self::Eow | Self::AuthAgent => {}
        }
    }
}
