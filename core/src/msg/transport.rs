use super::{Message, messages};
use crate::wire::{DecodeError, Reader, Sink, SshStr};

messages! {
    /// SSH_MSG_IGNORE (RFC 4253 §11.2).
    Ignore = 2 {
        /// Anything. Never looked at: some devices leave the string out.
        data: rest,
    }

    /// SSH_MSG_UNIMPLEMENTED (RFC 4253 §11.4).
    Unimplemented = 3 {
        /// Sequence number of the packet that was not understood.
        seq: u32,
    }

    /// SSH_MSG_DEBUG (RFC 4253 §11.3).
    Debug = 4 {
        /// Whether the sender wants it shown.
        always_display: bool,
        /// Text.
        message: text,
        /// RFC 3066 language.
        language: text,
    }

    /// SSH_MSG_SERVICE_REQUEST (RFC 4253 §10).
    ServiceRequest = 5 {
        /// `ssh-userauth`, or `ssh-connection`.
        service: text,
    }

    /// SSH_MSG_NEWKEYS (RFC 4253 §7.3).
    NewKeys = 21 {}

    /// SSH_MSG_PING (OpenSSH PROTOCOL §1.8).
    Ping = 192 {
        /// Comes back in the PONG.
        data: string,
    }

    /// SSH_MSG_PONG (OpenSSH PROTOCOL §1.8).
    Pong = 193 {
        /// From the PING.
        data: string,
    }
}

/// SSH_MSG_SERVICE_ACCEPT (RFC 4253 §10). Reading tolerates a missing name, as OpenSSH does
/// (`input_userauth_service_accept`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceAccept<'a> {
    /// The service asked for; empty if the server does not say.
    pub service: SshStr<'a>,
}

impl<'a> ServiceAccept<'a> {
    /// For this service.
    pub fn new(service: SshStr<'a>) -> Self {
        ServiceAccept { service }
    }
}

impl<'a> Message<'a> for ServiceAccept<'a> {
    const NUMBER: u8 = 6;

    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let service = if r.is_empty() { SshStr::new(b"") } else { r.text()? };
        Ok(ServiceAccept { service })
    }

    fn write(&self, out: &mut dyn Sink) {
        out.put_string(self.service.as_bytes());
    }
}

/// SSH_MSG_DISCONNECT (RFC 4253 §11.1). Reading tolerates a missing language tag, and a missing
/// text too: old peers leave them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Reason code.
    pub code: u32,
    /// Text for a person.
    pub description: SshStr<'a>,
}

impl<'a> Message<'a> for Disconnect<'a> {
    const NUMBER: u8 = 1;

    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let code = r.u32()?;
        let description = if r.is_empty() { SshStr::new(b"") } else { r.text()? };
        if !r.is_empty() {
            r.text()?;
        }
        Ok(Disconnect { code, description })
    }

    fn write(&self, out: &mut dyn Sink) {
        out.put_u32(self.code);
        out.put_string(self.description.as_bytes());
        out.put_string(b"");
    }
}

/// SSH_MSG_EXT_INFO (RFC 8308 §2.3): a count, then pairs of name and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtInfo<'a> {
    count: u32,
    pairs: &'a [u8],
}

/// Most extensions in one EXT_INFO (OpenSSH kex.c).
const MAX_EXTENSIONS: u32 = 1024;

impl<'a> Message<'a> for ExtInfo<'a> {
    const NUMBER: u8 = 7;

    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let count = r.u32()?;
        if count > MAX_EXTENSIONS {
            return Err(DecodeError::Invalid);
        }
        let pairs = r.rest();
        for _ in 0..count {
            r.string()?;
            r.string()?;
        }
        Ok(ExtInfo { count, pairs })
    }

    fn write(&self, out: &mut dyn Sink) {
        out.put_u32(self.count);
        out.put(self.pairs);
    }
}

impl<'a> ExtInfo<'a> {
    /// From already encoded pairs.
    pub fn new(count: u32, pairs: &'a [u8]) -> Self {
        ExtInfo { count, pairs }
    }

    /// The pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut r = Reader::new(self.pairs);
        (0..self.count).map_while(move |_| Some((r.string().ok()?, r.string().ok()?)))
    }
}

/// DISCONNECT reason codes (RFC 4250 §4.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisconnectCode(pub u32);

impl DisconnectCode {
    /// 2
    pub const PROTOCOL_ERROR: Self = Self(2);
    /// 3
    pub const KEY_EXCHANGE_FAILED: Self = Self(3);
    /// 5
    pub const MAC_ERROR: Self = Self(5);
    /// 6
    pub const COMPRESSION_ERROR: Self = Self(6);
    /// 7
    pub const SERVICE_NOT_AVAILABLE: Self = Self(7);
    /// 8
    pub const PROTOCOL_VERSION_NOT_SUPPORTED: Self = Self(8);
    /// 9
    pub const HOST_KEY_NOT_VERIFIABLE: Self = Self(9);
    /// 10
    pub const CONNECTION_LOST: Self = Self(10);
    /// 11
    pub const BY_APPLICATION: Self = Self(11);
    /// 12
    pub const TOO_MANY_CONNECTIONS: Self = Self(12);
    /// 13
    pub const AUTH_CANCELLED_BY_USER: Self = Self(13);
    /// 14
    pub const NO_MORE_AUTH_METHODS_AVAILABLE: Self = Self(14);

    /// The RFC's name, in words.
    pub const fn name(self) -> &'static str {
        match self.0 {
            1 => "host not allowed to connect",
            2 => "protocol error",
            3 => "key exchange failed",
            5 => "MAC error",
            6 => "compression error",
            7 => "service not available",
            8 => "protocol version not supported",
            9 => "host key not verifiable",
            10 => "connection lost",
            11 => "by application",
            12 => "too many connections",
            13 => "authentication cancelled by user",
            14 => "no more authentication methods available",
            15 => "illegal user name",
            _ => "unknown reason",
        }
    }
}
