use super::{Message, messages};
use crate::wire::{DecodeError, Reader, Sink, SshStr};

messages! {
    /// SSH_MSG_GLOBAL_REQUEST (RFC 4254 §4).
    GlobalRequest = 80 {
        /// Request name.
        name: text,
        /// Whether an answer is expected.
        want_reply: bool,
        /// What the request adds.
        fields: rest,
    }

    /// SSH_MSG_REQUEST_SUCCESS (RFC 4254 §4).
    RequestSuccess = 81 {
        /// What the request's definition says.
        fields: rest,
    }

    /// SSH_MSG_REQUEST_FAILURE (RFC 4254 §4).
    RequestFailure = 82 {}

    /// SSH_MSG_CHANNEL_OPEN (RFC 4254 §5.1).
    ChannelOpen = 90 {
        /// Channel type.
        kind: text,
        /// The opener's number for the channel.
        sender: u32,
        /// Bytes the opener is ready to take.
        window: u32,
        /// Most bytes of data a packet.
        max_packet: u32,
        /// What the type adds.
        fields: rest,
    }

    /// SSH_MSG_CHANNEL_OPEN_CONFIRMATION (RFC 4254 §5.1).
    ChannelOpenConfirmation = 91 {
        /// The opener's number.
        recipient: u32,
        /// The acceptor's number.
        sender: u32,
        /// Bytes the acceptor is ready to take.
        window: u32,
        /// Most bytes of data a packet.
        max_packet: u32,
        /// What the type adds.
        fields: rest,
    }

    /// SSH_MSG_CHANNEL_WINDOW_ADJUST (RFC 4254 §5.2).
    ChannelWindowAdjust = 93 {
        /// The receiver's number.
        recipient: u32,
        /// More bytes of credit.
        bytes: u32,
    }

    /// SSH_MSG_CHANNEL_DATA (RFC 4254 §5.2).
    ChannelData = 94 {
        /// The receiver's number.
        recipient: u32,
        /// The data.
        data: string,
    }

    /// SSH_MSG_CHANNEL_EXTENDED_DATA (RFC 4254 §5.2).
    ChannelExtendedData = 95 {
        /// The receiver's number.
        recipient: u32,
        /// 1 is standard error.
        code: u32,
        /// The data.
        data: string,
    }

    /// SSH_MSG_CHANNEL_EOF (RFC 4254 §5.3).
    ChannelEof = 96 {
        /// The receiver's number.
        recipient: u32,
    }

    /// SSH_MSG_CHANNEL_CLOSE (RFC 4254 §5.3).
    ChannelClose = 97 {
        /// The receiver's number.
        recipient: u32,
    }

    /// SSH_MSG_CHANNEL_REQUEST (RFC 4254 §5.4).
    ChannelRequest = 98 {
        /// The receiver's number.
        recipient: u32,
        /// Request name.
        kind: text,
        /// Whether an answer is expected.
        want_reply: bool,
        /// What the request adds.
        fields: rest,
    }

    /// SSH_MSG_CHANNEL_SUCCESS (RFC 4254 §5.4).
    ChannelSuccess = 99 {
        /// The receiver's number.
        recipient: u32,
    }

    /// SSH_MSG_CHANNEL_FAILURE (RFC 4254 §5.4).
    ChannelFailure = 100 {
        /// The receiver's number.
        recipient: u32,
    }
}

/// SSH_MSG_CHANNEL_OPEN_FAILURE (RFC 4254 §5.1). Reading tolerates a missing language tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelOpenFailure<'a> {
    /// The opener's number.
    pub recipient: u32,
    /// Reason code.
    pub reason: u32,
    /// Text for a person.
    pub description: SshStr<'a>,
}

impl<'a> Message<'a> for ChannelOpenFailure<'a> {
    const NUMBER: u8 = 92;

    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let message = ChannelOpenFailure { recipient: r.u32()?, reason: r.u32()?, description: r.text()? };
        if !r.is_empty() {
            r.text()?;
        }
        Ok(message)
    }

    fn write(&self, out: &mut dyn Sink) {
        out.put_u32(self.recipient);
        out.put_u32(self.reason);
        out.put_string(self.description.as_bytes());
        out.put_string(b"");
    }
}
