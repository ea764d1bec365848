//! Opening channels (RFC 4254 §5.1, §6.1, §7.2).

use crate::wire::{DecodeError, Part, Reader, Sink, SshStr};

/// Answers one channel open of the peer: give it to `accept_channel` or `reject_channel`.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an open without an answer is refused when the decision timer ends"]
pub struct OpenTicket {
    pub(crate) channel: super::ChannelId,
}

/// Types of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenKind<'a> {
    /// A session: a program on the server (§6.1).
    Session,
    /// A connection that the client asks the server to make (§7.2).
    DirectTcpip {
        /// Where to.
        host: SshStr<'a>,
        /// Where to.
        port: u32,
        /// Who asked the opener for it.
        originator: SshStr<'a>,
        /// Who asked the opener for it.
        originator_port: u32,
    },
    /// A connection that arrived at a port the client had asked for (§7.2).
    ForwardedTcpip {
        /// The address that was asked for.
        host: SshStr<'a>,
        /// Its port.
        port: u32,
        /// Who connected.
        originator: SshStr<'a>,
        /// Who connected.
        originator_port: u32,
    },
    /// Any other type.
    Other {
        /// Type name.
        kind: SshStr<'a>,
        /// Its fields, as on the wire.
        fields: &'a [u8],
    },
}

impl<'a> OpenKind<'a> {
    /// The same kind in other bytes.
    pub(crate) fn over<'b>(self, part: &mut impl Part<'a, 'b>) -> Option<OpenKind<'b>> {
        Some(match self {
            Self::Session => OpenKind::Session,
            Self::DirectTcpip { host, port, originator, originator_port } => {
                let (host, originator) = (host.over(part)?, originator.over(part)?);
                OpenKind::DirectTcpip { host, port, originator, originator_port }
            }
            Self::ForwardedTcpip { host, port, originator, originator_port } => {
                let (host, originator) = (host.over(part)?, originator.over(part)?);
                OpenKind::ForwardedTcpip { host, port, originator, originator_port }
            }
            Self::Other { kind, fields } => OpenKind::Other { kind: kind.over(part)?, fields: part(fields)? },
        })
    }

    /// The type name on the wire.
    pub fn kind(&self) -> SshStr<'a> {
        SshStr::new(match self {
            Self::Session => b"session",
            Self::DirectTcpip { .. } => b"direct-tcpip",
            Self::ForwardedTcpip { .. } => b"forwarded-tcpip",
            Self::Other { kind, .. } => return *kind,
        })
    }

    pub(crate) fn decode(kind: SshStr<'a>, fields: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(fields);
        let open = match kind.as_bytes() {
            b"session" => Self::Session,
            b"direct-tcpip" => {
                let (host, port, originator, originator_port) = (r.text()?, r.u32()?, r.text()?, r.u32()?);
                Self::DirectTcpip { host, port, originator, originator_port }
            }
            b"forwarded-tcpip" => {
                let (host, port, originator, originator_port) = (r.text()?, r.u32()?, r.text()?, r.u32()?);
                Self::ForwardedTcpip { host, port, originator, originator_port }
            }
            _ => return Ok(Self::Other { kind, fields }),
        };
        r.end()?;
        Ok(open)
    }

    pub(crate) fn encode(&self, out: &mut dyn Sink) {
        match self {
            Self::Session => {}
            Self::DirectTcpip { host, port, originator, originator_port }
            | Self::ForwardedTcpip { host, port, originator, originator_port } => {
                out.put_string(host.as_bytes());
                out.put_u32(*port);
                out.put_string(originator.as_bytes());
                out.put_u32(*originator_port);
            }
            Self::Other { fields, .. } => out.put(fields),
        }
    }
}

/// Reasons for refusing a channel (RFC 4254 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFailure(pub u32);

impl OpenFailure {
    /// 1
    pub const ADMINISTRATIVELY_PROHIBITED: Self = Self(1);
    /// 2
    pub const CONNECT_FAILED: Self = Self(2);
    /// 3
    pub const UNKNOWN_CHANNEL_TYPE: Self = Self(3);
    /// 4
    pub const RESOURCE_SHORTAGE: Self = Self(4);

    /// The RFC's name, in words.
    pub const fn name(self) -> &'static str {
        match self.0 {
            1 => "administratively prohibited",
            2 => "connect failed",
            3 => "unknown channel type",
            4 => "resource shortage",
            _ => "unknown reason",
        }
    }
}
