use super::{Message, messages};
use crate::wire::{DecodeError, Part, Reader, Sink, SshStr};

messages! {
    /// SSH_MSG_USERAUTH_REQUEST (RFC 4252 §5).
    UserauthRequest = 50 {
        /// User name.
        user: text,
        /// Service to start: `ssh-connection`.
        service: text,
        /// Method name.
        method: text,
        /// What the method adds.
        fields: rest,
    }

    /// SSH_MSG_USERAUTH_FAILURE (RFC 4252 §5.1).
    UserauthFailure = 51 {
        /// Methods that can go on.
        methods: name_list,
        /// The request was right, but more is needed.
        partial_success: bool,
    }

    /// SSH_MSG_USERAUTH_SUCCESS (RFC 4252 §5.1).
    UserauthSuccess = 52 {
        /// Nothing. Never looked at, as in OpenSSH (`input_userauth_success`).
        rest: rest,
    }

    /// SSH_MSG_USERAUTH_PK_OK (RFC 4252 §7).
    UserauthPkOk = 60 {
        /// Algorithm of the probe.
        algorithm: text,
        /// Key blob of the probe.
        key: string,
    }

    /// SSH_MSG_USERAUTH_PASSWD_CHANGEREQ (RFC 4252 §8).
    UserauthPasswdChangereq = 60 {
        /// Text for the user.
        prompt: text,
        /// Language.
        language: text,
    }
}

/// SSH_MSG_USERAUTH_BANNER (RFC 4252 §5.4). What follows the language is not looked at, as in OpenSSH
/// (`input_userauth_banner`): cryptlib sends a NUL there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserauthBanner<'a> {
    /// Text for the user, before authentication.
    pub message: SshStr<'a>,
}

impl<'a> Message<'a> for UserauthBanner<'a> {
    const NUMBER: u8 = 53;

    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let message = r.text()?;
        r.text()?;
        r.bytes(r.rest().len())?;
        Ok(UserauthBanner { message })
    }

    fn write(&self, out: &mut dyn Sink) {
        out.put_string(self.message.as_bytes());
        out.put_string(b"");
    }
}

/// Most prompts in one keyboard-interactive request (OpenSSH's server draws the line at 100).
pub const MAX_PROMPTS: u32 = 64;

/// SSH_MSG_USERAUTH_INFO_REQUEST (RFC 4256 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserauthInfoRequest<'a> {
    /// Title.
    pub name: SshStr<'a>,
    /// What to do.
    pub instruction: SshStr<'a>,
    /// How many prompts.
    pub count: u32,
    prompts: &'a [u8],
}

impl<'a> UserauthInfoRequest<'a> {
    /// From already encoded prompts.
    pub fn new(name: SshStr<'a>, instruction: SshStr<'a>, count: u32, prompts: &'a [u8]) -> Self {
        Self { name, instruction, count, prompts }
    }

    /// The same questions in other bytes.
    pub(crate) fn over<'b>(self, part: &mut impl Part<'a, 'b>) -> Option<UserauthInfoRequest<'b>> {
        let (name, instruction) = (self.name.over(part)?, self.instruction.over(part)?);
        Some(UserauthInfoRequest { name, instruction, count: self.count, prompts: part(self.prompts)? })
    }

    /// The prompts, each with whether the answer may be shown.
    pub fn prompts(&self) -> impl Iterator<Item = (SshStr<'a>, bool)> + use<'a> {
        let mut r = Reader::new(self.prompts);
        (0..self.count).map_while(move |_| Some((r.text().ok()?, r.bool().ok()?)))
    }
}

impl<'a> Message<'a> for UserauthInfoRequest<'a> {
    const NUMBER: u8 = 60;

    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let name = r.text()?;
        let instruction = r.text()?;
        r.string()?;
        let count = r.u32()?;
        if count > MAX_PROMPTS {
            return Err(DecodeError::Invalid);
        }
        let prompts = r.rest();
        for _ in 0..count {
            r.string()?;
            r.bool()?;
        }
        Ok(UserauthInfoRequest { name, instruction, count, prompts })
    }

    fn write(&self, out: &mut dyn Sink) {
        out.put_string(self.name.as_bytes());
        out.put_string(self.instruction.as_bytes());
        out.put_string(b"");
        out.put_u32(self.count);
        out.put(self.prompts);
    }
}

/// SSH_MSG_USERAUTH_INFO_RESPONSE (RFC 4256 §3.4).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UserauthInfoResponse<'a> {
    /// How many answers.
    pub count: u32,
    answers: &'a [u8],
}

impl core::fmt::Debug for UserauthInfoResponse<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "UserauthInfoResponse({} answers)", self.count)
    }
}

impl<'a> UserauthInfoResponse<'a> {
    /// From already encoded answers.
    pub fn new(count: u32, answers: &'a [u8]) -> Self {
        Self { count, answers }
    }

    /// The same answers in other bytes.
    pub(crate) fn over<'b>(self, part: &mut impl Part<'a, 'b>) -> Option<UserauthInfoResponse<'b>> {
        Some(UserauthInfoResponse { count: self.count, answers: part(self.answers)? })
    }

    /// The answers in order.
    pub fn answers(&self) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let mut r = Reader::new(self.answers);
        (0..self.count).map_while(move |_| r.string().ok())
    }
}

impl<'a> Message<'a> for UserauthInfoResponse<'a> {
    const NUMBER: u8 = 61;

    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let count = r.u32()?;
        if count > MAX_PROMPTS {
            return Err(DecodeError::Invalid);
        }
        let answers = r.rest();
        for _ in 0..count {
            r.string()?;
        }
        Ok(UserauthInfoResponse { count, answers })
    }

    fn write(&self, out: &mut dyn Sink) {
        out.put_u32(self.count);
        out.put(self.answers);
    }
}
