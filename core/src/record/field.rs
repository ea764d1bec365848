//! The arguments of calls, as values with an encoding.
//!
//! When a call is recorded its arguments are borrowed from the caller; when it is read back they are
//! borrowed from the transcript. Where the two cannot have the same type, an enum says which.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::auth::client::{AuthRequest, HostClaim};
use crate::auth::server::{AuthDecision, Challenge};
use crate::auth::{Method, MethodSet};
use crate::channel::{ChannelId, ChannelRequest, DataStream, OpenKind, WindowConfig};
use crate::keys::PublicKey;
use crate::wire::{DecodeError, Reader, Sink};

type Decoded<T> = Result<T, DecodeError>;

/// An argument.
pub(super) trait Field<'a>: Sized {
    fn put(&self, out: &mut dyn Sink);

    fn read(r: &mut Reader<'a>) -> Decoded<Self>;

    /// What of it may be shown, with a space in front: nothing, unless it is a number or a word of ours.
    fn show(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// The bytes up to the end of the call.
pub(crate) struct Rest<'a>(pub(crate) &'a [u8]);

/// [`AuthRequest`] without the private half of keys.
pub(crate) enum AuthFields<'a> {
    None,
    Password(&'a [u8]),
    PasswordChange {
        old: &'a [u8],
        new: &'a [u8],
    },
    /// Probe, sign here, sign elsewhere; with the algorithm of that name.
    Key(KeyUse, KeyRef<'a>, &'a str),
    KeyboardInteractive,
    /// A key of the host, with the algorithm of that name, and who vouches for whom.
    Host(KeyUse, KeyRef<'a>, &'a str, HostClaim<'a>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyUse {
    Probe,
    Here,
    Elsewhere,
}

pub(crate) enum KeyRef<'a> {
    Given(&'a PublicKey),
    Blob(&'a [u8]),
}

pub(crate) enum Texts<'a> {
    Given(&'a [&'a [u8]]),
    Encoded(&'a [u8]),
}

impl<'a> AuthFields<'a> {
    pub(crate) fn of(method: &AuthRequest<'a>) -> Self {
        match method {
            AuthRequest::None => AuthFields::None,
            AuthRequest::Password(p) => AuthFields::Password(p.expose()),
            AuthRequest::PasswordChange { old, new } => {
                AuthFields::PasswordChange { old: old.expose(), new: new.expose() }
            }
            AuthRequest::ProbeKey { key, algorithm } => {
                AuthFields::Key(KeyUse::Probe, KeyRef::Given(key), algorithm.name())
            }
            AuthRequest::PublicKey { key, algorithm } => {
                AuthFields::Key(KeyUse::Here, KeyRef::Given(key.public()), algorithm.name())
            }
            AuthRequest::ExternalKey { key, algorithm } => {
                AuthFields::Key(KeyUse::Elsewhere, KeyRef::Given(key), algorithm.name())
            }
            AuthRequest::KeyboardInteractive => AuthFields::KeyboardInteractive,
            AuthRequest::HostBased { key, algorithm, claim } => {
                AuthFields::Host(KeyUse::Here, KeyRef::Given(key.public()), algorithm.name(), *claim)
            }
            AuthRequest::ExternalHostBased { key, algorithm, claim } => {
                AuthFields::Host(KeyUse::Elsewhere, KeyRef::Given(key), algorithm.name(), *claim)
            }
        }
    }
}

impl AuthFields<'_> {
    fn name(&self) -> &'static str {
        match self {
            AuthFields::None => "none",
            AuthFields::Password(_) => "password",
            AuthFields::PasswordChange { .. } => "password change",
            AuthFields::Key(KeyUse::Probe, ..) => "probe of a key",
            AuthFields::Key(KeyUse::Here, ..) => "publickey",
            AuthFields::Key(KeyUse::Elsewhere, ..) => "publickey, signed elsewhere",
            AuthFields::KeyboardInteractive => "keyboard-interactive",
            AuthFields::Host(KeyUse::Elsewhere, ..) => "hostbased, signed elsewhere",
            AuthFields::Host(..) => "hostbased",
        }
    }
}

impl<'a> Texts<'a> {
    /// The texts, for a call.
    pub(crate) fn list(&self) -> Decoded<Vec<&'a [u8]>> {
        match self {
            Texts::Given(texts) => Ok(texts.to_vec()),
            Texts::Encoded(bytes) => {
                let mut r = Reader::new(bytes);
                let mut texts = Vec::new();
                while !r.is_empty() {
                    texts.push(r.string()?);
                }
                Ok(texts)
            }
        }
    }
}

macro_rules! number {
    ($type:ident $put:ident $read:ident) => {
        impl Field<'_> for $type {
            fn put(&self, out: &mut dyn Sink) {
                out.$put(*self);
            }

            fn read(r: &mut Reader<'_>) -> Decoded<Self> {
                r.$read()
            }

            fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, " {self}")
            }
        }
    };
}

number!(u32 put_u32 u32);
number!(u64 put_u64 u64);
number!(bool put_bool bool);

/// At the end of a call: absent, or four bytes.
impl Field<'_> for Option<u32> {
    fn put(&self, out: &mut dyn Sink) {
        if let Some(n) = self {
            out.put_u32(*n);
        }
    }

    fn read(r: &mut Reader<'_>) -> Decoded<Self> {
        if r.is_empty() { Ok(None) } else { r.u32().map(Some) }
    }
}

impl<'a> Field<'a> for &'a str {
    fn put(&self, out: &mut dyn Sink) {
        out.put_string(self.as_bytes());
    }

    fn read(r: &mut Reader<'a>) -> Decoded<Self> {
        text(r)
    }
}

impl<'a> Field<'a> for &'a [u8] {
    fn put(&self, out: &mut dyn Sink) {
        out.put_string(self);
    }

    fn read(r: &mut Reader<'a>) -> Decoded<Self> {
        r.string()
    }
}

impl<'a> Field<'a> for Rest<'a> {
    fn put(&self, out: &mut dyn Sink) {
        out.put(self.0);
    }

    fn read(r: &mut Reader<'a>) -> Decoded<Self> {
        rest(r).map(Rest)
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " {} bytes", self.0.len())
    }
}

impl Field<'_> for ChannelId {
    fn put(&self, out: &mut dyn Sink) {
        out.put_u32(self.local);
        out.put_u32(self.generation);
    }

    fn read(r: &mut Reader<'_>) -> Decoded<Self> {
        Ok(ChannelId { local: r.u32()?, generation: r.u32()? })
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " on channel {}.{}", self.local, self.generation)
    }
}

impl Field<'_> for DataStream {
    fn put(&self, out: &mut dyn Sink) {
        out.put_bool(*self == DataStream::Stderr);
    }

    fn read(r: &mut Reader<'_>) -> Decoded<Self> {
        Ok(if r.bool()? { DataStream::Stderr } else { DataStream::Data })
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " {self:?}")
    }
}

impl Field<'_> for WindowConfig {
    fn put(&self, out: &mut dyn Sink) {
        for n in [self.initial, self.max, self.packet] {
            out.put_u32(n);
        }
    }

    fn read(r: &mut Reader<'_>) -> Decoded<Self> {
        Ok(WindowConfig { initial: r.u32()?, max: r.u32()?, packet: r.u32()? })
    }
}

/// A known name with fields of one's own is still `Other`: a flag says so.
impl<'a> Field<'a> for ChannelRequest<'a> {
    fn put(&self, out: &mut dyn Sink) {
        out.put_bool(matches!(self, ChannelRequest::Other { .. }));
        out.put_string(self.kind().as_bytes());
        self.encode(out);
    }

    fn read(r: &mut Reader<'a>) -> Decoded<Self> {
        let (other, kind, fields) = (r.bool()?, r.text()?, rest(r)?);
        if other { Ok(ChannelRequest::Other { kind, fields }) } else { ChannelRequest::decode(kind, fields) }
    }
}

impl<'a> Field<'a> for OpenKind<'a> {
    fn put(&self, out: &mut dyn Sink) {
        out.put_bool(matches!(self, OpenKind::Other { .. }));
        out.put_string(self.kind().as_bytes());
        self.encode(out);
    }

    fn read(r: &mut Reader<'a>) -> Decoded<Self> {
        let (other, kind, fields) = (r.bool()?, r.text()?, rest(r)?);
        if other { Ok(OpenKind::Other { kind, fields }) } else { OpenKind::decode(kind, fields) }
    }
}

impl<'a> Field<'a> for AuthFields<'a> {
    fn put(&self, out: &mut dyn Sink) {
        match self {
            AuthFields::None => out.put_u8(0),
            AuthFields::Password(p) => {
                out.put_u8(1);
                out.put_string(p);
            }
            AuthFields::PasswordChange { old, new } => {
                out.put_u8(2);
                out.put_string(old);
                out.put_string(new);
            }
            AuthFields::Key(usage, key, algorithm) => {
                out.put_u8(match usage {
                    KeyUse::Probe => 3,
                    KeyUse::Here => 4,
                    KeyUse::Elsewhere => 5,
                });
                match key {
                    KeyRef::Given(key) => out.put_string(&key.to_blob()),
                    KeyRef::Blob(blob) => out.put_string(blob),
                }
                out.put_string(algorithm.as_bytes());
            }
            AuthFields::KeyboardInteractive => out.put_u8(6),
            AuthFields::Host(usage, key, algorithm, claim) => {
                out.put_u8(if *usage == KeyUse::Elsewhere { 8 } else { 7 });
                match key {
                    KeyRef::Given(key) => out.put_string(&key.to_blob()),
                    KeyRef::Blob(blob) => out.put_string(blob),
                }
                out.put_string(algorithm.as_bytes());
                out.put_string(claim.host);
                out.put_string(claim.user);
            }
        }
    }

    fn read(r: &mut Reader<'a>) -> Decoded<Self> {
        let usage = match r.u8()? {
            0 => return Ok(AuthFields::None),
            1 => return Ok(AuthFields::Password(r.string()?)),
            2 => return Ok(AuthFields::PasswordChange { old: r.string()?, new: r.string()? }),
            3 => KeyUse::Probe,
            4 => KeyUse::Here,
            5 => KeyUse::Elsewhere,
            6 => return Ok(AuthFields::KeyboardInteractive),
            usage @ (7 | 8) => {
                let usage = if usage == 8 { KeyUse::Elsewhere } else { KeyUse::Here };
                let (key, algorithm) = (KeyRef::Blob(r.string()?), text(r)?);
                let claim = HostClaim { host: r.string()?, user: r.string()? };
                return Ok(AuthFields::Host(usage, key, algorithm, claim));
            }
            _ => return Err(DecodeError::Invalid),
        };
        Ok(AuthFields::Key(usage, KeyRef::Blob(r.string()?), text(r)?))
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " {}", self.name())
    }
}

impl<'a> Field<'a> for Texts<'a> {
    fn put(&self, out: &mut dyn Sink) {
        match self {
            Texts::Given(texts) => texts.iter().for_each(|t| out.put_string(t)),
            Texts::Encoded(bytes) => out.put(bytes),
        }
    }

    fn read(r: &mut Reader<'a>) -> Decoded<Self> {
        let texts = Texts::Encoded(rest(r)?);
        texts.list()?;
        Ok(texts)
    }
}

impl<'a> Field<'a> for Cow<'a, AuthDecision> {
    fn put(&self, out: &mut dyn Sink) {
        put_decision(out, self);
    }

    fn read(r: &mut Reader<'a>) -> Decoded<Self> {
        decision(r).map(Cow::Owned)
    }
}

fn put_decision(out: &mut dyn Sink, decision: &AuthDecision) {
    match decision {
        AuthDecision::Accept => out.put_u8(0),
        AuthDecision::Reject => out.put_u8(1),
        AuthDecision::Partial(methods) => {
            out.put_u8(2);
            put_methods(out, *methods);
        }
        AuthDecision::Challenge(challenge) => {
            out.put_u8(3);
            out.put_string(challenge.name.as_bytes());
            out.put_string(challenge.instruction.as_bytes());
            for (prompt, echo) in &challenge.prompts {
                out.put_string(prompt.as_bytes());
                out.put_bool(*echo);
            }
        }
        AuthDecision::PasswordExpired { prompt } => {
            out.put_u8(4);
            out.put_string(prompt.as_bytes());
        }
    }
}

fn decision(r: &mut Reader<'_>) -> Decoded<AuthDecision> {
    Ok(match r.u8()? {
        0 => AuthDecision::Accept,
        1 => AuthDecision::Reject,
        2 => AuthDecision::Partial(methods(r)?),
        3 => {
            let mut challenge = Challenge { name: owned(r)?, instruction: owned(r)?, prompts: Vec::new() };
            while !r.is_empty() {
                challenge.prompts.push((owned(r)?, r.bool()?));
            }
            AuthDecision::Challenge(challenge)
        }
        4 => AuthDecision::PasswordExpired { prompt: owned(r)? },
        _ => return Err(DecodeError::Invalid),
    })
}

/// Sets of methods by bit, in the order of [`Method::ALL`].
fn put_methods(out: &mut dyn Sink, methods: MethodSet) {
    let bits = Method::ALL.iter().rev().fold(0u8, |bits, m| (bits << 1) | u8::from(methods.contains(*m)));
    out.put_u8(bits);
}

fn methods(r: &mut Reader<'_>) -> Decoded<MethodSet> {
    let bits = r.u8()?;
    Ok(Method::ALL.iter().zip(0u32..).filter(|(_, i)| (bits >> i) & 1 == 1).map(|(m, _)| *m).collect())
}

fn text<'a>(r: &mut Reader<'a>) -> Decoded<&'a str> {
    r.text()?.to_str().ok_or(DecodeError::Invalid)
}

fn owned(r: &mut Reader<'_>) -> Decoded<String> {
    text(r).map(String::from)
}

fn rest<'a>(r: &mut Reader<'a>) -> Decoded<&'a [u8]> {
    r.bytes(r.rest().len())
}
