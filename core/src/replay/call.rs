//! What an application calls, as values with an encoding.
//!
//! When a call is recorded its arguments are borrowed from the caller; when it is read back they
//! are borrowed from the transcript. Where the two cannot have the same type, an enum says which.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::auth::{Method, MethodSet};
use crate::channel::{ChannelId, ChannelRequest, OpenKind, Stream, WindowConfig};
use crate::client::AuthMethod;
use crate::crypto::SigAlg;
use crate::keys::PublicKey;
use crate::server::{Challenge, Verdict};
use crate::wire::{DecodeError, Reader, Sink};

type Decoded<T> = Result<T, DecodeError>;

/// A call that changes a connection.
pub(crate) enum Call<'a> {
    /// On one channel.
    Channel(ChannelId, ChannelCall<'a>),
    /// About the connection.
    Connection(ConnectionCall<'a>),
    /// Of the client's face.
    Client(ClientCall<'a>),
    /// Of the server's face.
    Server(ServerCall<'a>),
}

/// See the methods of the same names of [`Connection`](crate::Connection).
pub(crate) enum ChannelCall<'a> {
    Accept,
    Refuse { why: u32, text: &'a str },
    Request { request: ChannelRequest<'a>, want_reply: bool },
    Reply { number: u64, ok: bool },
    Write { stream: Stream, data: &'a [u8] },
    Slot { stream: Stream, want: u64 },
    Consume(u64),
    Finish,
    Close,
}

pub(crate) enum ConnectionCall<'a> {
    Open {
        kind: OpenKind<'a>,
        window: WindowConfig,
    },
    /// Of the slot that was lent just before.
    Commit(&'a [u8]),
    RequestGlobal {
        name: &'a str,
        fields: &'a [u8],
        want_reply: bool,
    },
    ReplyGlobal {
        number: u64,
        ok: bool,
        port: Option<u32>,
    },
    Rekey,
    Disconnect {
        code: u32,
        text: &'a str,
    },
    FinishJob(u32),
}

pub(crate) enum ClientCall<'a> {
    DecideHostKey { number: u32, accept: bool },
    Authenticate { user: &'a [u8], proof: Proof<'a> },
    ProvideSignature { number: u32, signature: &'a [u8] },
    CancelSignature(u32),
    AnswerPrompts { number: u32, answers: Texts<'a> },
}

pub(crate) enum ServerCall<'a> {
    DecideAuth { number: u32, verdict: Cow<'a, Verdict> },
    DecideProbe { number: u32, usable: bool },
}

/// [`AuthMethod`] without the private half of keys.
pub(crate) enum Proof<'a> {
    None,
    Password(&'a [u8]),
    PasswordChange {
        old: &'a [u8],
        new: &'a [u8],
    },
    /// Probe, sign here, sign elsewhere.
    Key(KeyUse, KeyRef<'a>, SigAlg),
    KeyboardInteractive,
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
    Given(&'a [&'a str]),
    Encoded(&'a [u8]),
}

impl<'a> Proof<'a> {
    pub(crate) fn of(method: &AuthMethod<'a>) -> Self {
        match method {
            AuthMethod::None => Proof::None,
            AuthMethod::Password(p) => Proof::Password(p.expose()),
            AuthMethod::PasswordChange { old, new } => {
                Proof::PasswordChange { old: old.expose(), new: new.expose() }
            }
            AuthMethod::ProbeKey { key, alg } => Proof::Key(KeyUse::Probe, KeyRef::Given(key), *alg),
            AuthMethod::PublicKey { key, alg } => Proof::Key(KeyUse::Here, KeyRef::Given(key.public()), *alg),
            AuthMethod::ExternalKey { key, alg } => Proof::Key(KeyUse::Elsewhere, KeyRef::Given(key), *alg),
            AuthMethod::KeyboardInteractive => Proof::KeyboardInteractive,
        }
    }

    fn put(&self, out: &mut dyn Sink) {
        match self {
            Proof::None => out.put_u8(0),
            Proof::Password(p) => {
                out.put_u8(1);
                out.put_string(p);
            }
            Proof::PasswordChange { old, new } => {
                out.put_u8(2);
                out.put_string(old);
                out.put_string(new);
            }
            Proof::Key(usage, key, alg) => {
                out.put_u8(match usage {
                    KeyUse::Probe => 3,
                    KeyUse::Here => 4,
                    KeyUse::Elsewhere => 5,
                });
                match key {
                    KeyRef::Given(key) => out.put_string(&key.to_blob()),
                    KeyRef::Blob(blob) => out.put_string(blob),
                }
                out.put_string(alg.name().as_bytes());
            }
            Proof::KeyboardInteractive => out.put_u8(6),
        }
    }

    fn read(r: &mut Reader<'a>) -> Decoded<Self> {
        let usage = match r.u8()? {
            0 => return Ok(Proof::None),
            1 => return Ok(Proof::Password(r.string()?)),
            2 => return Ok(Proof::PasswordChange { old: r.string()?, new: r.string()? }),
            3 => KeyUse::Probe,
            4 => KeyUse::Here,
            5 => KeyUse::Elsewhere,
            6 => return Ok(Proof::KeyboardInteractive),
            _ => return Err(DecodeError::Invalid),
        };
        let (blob, alg) = (r.string()?, text(r)?);
        Ok(Proof::Key(usage, KeyRef::Blob(blob), SigAlg::from_name(alg).ok_or(DecodeError::Invalid)?))
    }
}

impl Texts<'_> {
    fn put(&self, out: &mut dyn Sink) {
        match self {
            Texts::Given(texts) => texts.iter().for_each(|t| out.put_string(t.as_bytes())),
            Texts::Encoded(bytes) => out.put(bytes),
        }
    }
}

impl<'a> Texts<'a> {
    /// The texts, for a call.
    pub(crate) fn list(&self) -> Decoded<Vec<&'a str>> {
        match self {
            Texts::Given(texts) => Ok(texts.to_vec()),
            Texts::Encoded(bytes) => {
                let mut r = Reader::new(bytes);
                let mut texts = Vec::new();
                while !r.is_empty() {
                    texts.push(text(&mut r)?);
                }
                Ok(texts)
            }
        }
    }
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

fn put_stream(out: &mut dyn Sink, stream: Stream) {
    out.put_bool(stream == Stream::Stderr);
}

fn stream(r: &mut Reader<'_>) -> Decoded<Stream> {
    Ok(if r.bool()? { Stream::Stderr } else { Stream::Data })
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

impl<'a> Call<'a> {
    /// Writes the call: its number, its arguments.
    pub(crate) fn put(&self, out: &mut dyn Sink) {
        out.put_u8(self.number());
        match self {
            Call::Channel(id, call) => {
                out.put_u32(id.local);
                out.put_u32(id.generation);
                call.put(out);
            }
            Call::Connection(call) => call.put(out),
            Call::Client(call) => call.put(out),
            Call::Server(call) => call.put(out),
        }
    }

    /// Reads a call.
    pub(crate) fn read(r: &mut Reader<'a>) -> Decoded<Self> {
        match r.u8()? {
            number @ 0..=15 => {
                let id = ChannelId { local: r.u32()?, generation: r.u32()? };
                ChannelCall::read(number, r).map(|call| Call::Channel(id, call))
            }
            number @ (16..=31 | 49) => ConnectionCall::read(number, r).map(Call::Connection),
            number @ 32..=47 => ClientCall::read(number, r).map(Call::Client),
            number @ 48..=63 => ServerCall::read(number, r).map(Call::Server),
            _ => Err(DecodeError::Invalid),
        }
    }

    fn number(&self) -> u8 {
        match self {
            Call::Channel(_, call) => match call {
                ChannelCall::Accept => 0,
                ChannelCall::Refuse { .. } => 1,
                ChannelCall::Request { .. } => 2,
                ChannelCall::Reply { .. } => 3,
                ChannelCall::Write { .. } => 4,
                ChannelCall::Slot { .. } => 5,
                ChannelCall::Consume(_) => 6,
                ChannelCall::Finish => 7,
                ChannelCall::Close => 8,
            },
            Call::Connection(call) => match call {
                ConnectionCall::Open { .. } => 16,
                ConnectionCall::Commit(_) => 17,
                ConnectionCall::RequestGlobal { .. } => 18,
                ConnectionCall::ReplyGlobal { .. } => 19,
                ConnectionCall::Rekey => 20,
                ConnectionCall::Disconnect { .. } => 21,
                ConnectionCall::FinishJob(_) => 49,
            },
            Call::Client(call) => match call {
                ClientCall::DecideHostKey { .. } => 32,
                ClientCall::Authenticate { .. } => 33,
                ClientCall::ProvideSignature { .. } => 34,
                ClientCall::CancelSignature(_) => 35,
                ClientCall::AnswerPrompts { .. } => 36,
            },
            Call::Server(call) => match call {
                ServerCall::DecideAuth { .. } => 48,
                ServerCall::DecideProbe { .. } => 50,
            },
        }
    }
}

impl<'a> ChannelCall<'a> {
    fn put(&self, out: &mut dyn Sink) {
        match self {
            ChannelCall::Accept | ChannelCall::Finish | ChannelCall::Close => {}
            ChannelCall::Refuse { why, text } => {
                out.put_u32(*why);
                out.put_string(text.as_bytes());
            }
            ChannelCall::Request { request, want_reply } => {
                out.put_bool(*want_reply);
                // A known name with fields of one's own is still `Other`.
                out.put_bool(matches!(request, ChannelRequest::Other { .. }));
                out.put_string(request.kind().as_bytes());
                request.encode(out);
            }
            ChannelCall::Reply { number, ok } => {
                out.put_u64(*number);
                out.put_bool(*ok);
            }
            ChannelCall::Write { stream, data } => {
                put_stream(out, *stream);
                out.put(data);
            }
            ChannelCall::Slot { stream, want } => {
                put_stream(out, *stream);
                out.put_u64(*want);
            }
            ChannelCall::Consume(n) => out.put_u64(*n),
        }
    }

    fn read(number: u8, r: &mut Reader<'a>) -> Decoded<Self> {
        Ok(match number {
            0 => ChannelCall::Accept,
            1 => ChannelCall::Refuse { why: r.u32()?, text: text(r)? },
            2 => {
                let (want_reply, other) = (r.bool()?, r.bool()?);
                let (kind, fields) = (r.text()?, rest(r)?);
                let request = if other {
                    ChannelRequest::Other { kind, fields }
                } else {
                    ChannelRequest::decode(kind, fields)?
                };
                ChannelCall::Request { request, want_reply }
            }
            3 => ChannelCall::Reply { number: r.u64()?, ok: r.bool()? },
            4 => ChannelCall::Write { stream: stream(r)?, data: rest(r)? },
            5 => ChannelCall::Slot { stream: stream(r)?, want: r.u64()? },
            6 => ChannelCall::Consume(r.u64()?),
            7 => ChannelCall::Finish,
            8 => ChannelCall::Close,
            _ => return Err(DecodeError::Invalid),
        })
    }
}

impl<'a> ConnectionCall<'a> {
    fn put(&self, out: &mut dyn Sink) {
        match self {
            ConnectionCall::Open { kind, window } => {
                for n in [window.initial, window.max, window.packet] {
                    out.put_u32(n);
                }
                out.put_bool(matches!(kind, OpenKind::Other { .. }));
                out.put_string(kind.kind().as_bytes());
                kind.encode(out);
            }
            ConnectionCall::Commit(data) => out.put(data),
            ConnectionCall::RequestGlobal { name, fields, want_reply } => {
                out.put_bool(*want_reply);
                out.put_string(name.as_bytes());
                out.put(fields);
            }
            ConnectionCall::ReplyGlobal { number, ok, port } => {
                out.put_u64(*number);
                out.put_bool(*ok);
                if let Some(port) = port {
                    out.put_u32(*port);
                }
            }
            ConnectionCall::Rekey => {}
            ConnectionCall::FinishJob(generation) => out.put_u32(*generation),
            ConnectionCall::Disconnect { code, text } => {
                out.put_u32(*code);
                out.put_string(text.as_bytes());
            }
        }
    }

    fn read(number: u8, r: &mut Reader<'a>) -> Decoded<Self> {
        Ok(match number {
            16 => {
                let window = WindowConfig { initial: r.u32()?, max: r.u32()?, packet: r.u32()? };
                let (other, kind, fields) = (r.bool()?, r.text()?, rest(r)?);
                let kind =
                    if other { OpenKind::Other { kind, fields } } else { OpenKind::decode(kind, fields)? };
                ConnectionCall::Open { kind, window }
            }
            17 => ConnectionCall::Commit(rest(r)?),
            18 => {
                let want_reply = r.bool()?;
                ConnectionCall::RequestGlobal { name: text(r)?, fields: rest(r)?, want_reply }
            }
            19 => ConnectionCall::ReplyGlobal {
                number: r.u64()?,
                ok: r.bool()?,
                port: if r.is_empty() { None } else { Some(r.u32()?) },
            },
            20 => ConnectionCall::Rekey,
            21 => ConnectionCall::Disconnect { code: r.u32()?, text: text(r)? },
            49 => ConnectionCall::FinishJob(r.u32()?),
            _ => return Err(DecodeError::Invalid),
        })
    }
}

impl<'a> ClientCall<'a> {
    fn put(&self, out: &mut dyn Sink) {
        match self {
            ClientCall::DecideHostKey { number, accept } => {
                out.put_u32(*number);
                out.put_bool(*accept);
            }
            ClientCall::Authenticate { user, proof } => {
                out.put_string(user);
                proof.put(out);
            }
            ClientCall::ProvideSignature { number, signature } => {
                out.put_u32(*number);
                out.put(signature);
            }
            ClientCall::CancelSignature(number) => out.put_u32(*number),
            ClientCall::AnswerPrompts { number, answers } => {
                out.put_u32(*number);
                answers.put(out);
            }
        }
    }

    fn read(number: u8, r: &mut Reader<'a>) -> Decoded<Self> {
        Ok(match number {
            32 => ClientCall::DecideHostKey { number: r.u32()?, accept: r.bool()? },
            33 => ClientCall::Authenticate { user: r.string()?, proof: Proof::read(r)? },
            34 => ClientCall::ProvideSignature { number: r.u32()?, signature: rest(r)? },
            35 => ClientCall::CancelSignature(r.u32()?),
            36 => {
                let (number, answers) = (r.u32()?, Texts::Encoded(rest(r)?));
                answers.list()?;
                ClientCall::AnswerPrompts { number, answers }
            }
            _ => return Err(DecodeError::Invalid),
        })
    }
}

impl<'a> ServerCall<'a> {
    fn put(&self, out: &mut dyn Sink) {
        match self {
            ServerCall::DecideAuth { number, verdict } => {
                out.put_u32(*number);
                put_verdict(out, verdict);
            }
            ServerCall::DecideProbe { number, usable } => {
                out.put_u32(*number);
                out.put_bool(*usable);
            }
        }
    }

    fn read(number: u8, r: &mut Reader<'a>) -> Decoded<Self> {
        Ok(match number {
            48 => ServerCall::DecideAuth { number: r.u32()?, verdict: Cow::Owned(verdict(r)?) },
            50 => ServerCall::DecideProbe { number: r.u32()?, usable: r.bool()? },
            _ => return Err(DecodeError::Invalid),
        })
    }
}

fn put_verdict(out: &mut dyn Sink, verdict: &Verdict) {
    match verdict {
        Verdict::Accept => out.put_u8(0),
        Verdict::Reject => out.put_u8(1),
        Verdict::Partial(methods) => {
            out.put_u8(2);
            put_methods(out, *methods);
        }
        Verdict::Challenge(challenge) => {
            out.put_u8(3);
            out.put_string(challenge.name.as_bytes());
            out.put_string(challenge.instruction.as_bytes());
            for (prompt, echo) in &challenge.prompts {
                out.put_string(prompt.as_bytes());
                out.put_bool(*echo);
            }
        }
        Verdict::PasswordExpired { prompt } => {
            out.put_u8(4);
            out.put_string(prompt.as_bytes());
        }
    }
}

fn verdict(r: &mut Reader<'_>) -> Decoded<Verdict> {
    Ok(match r.u8()? {
        0 => Verdict::Accept,
        1 => Verdict::Reject,
        2 => Verdict::Partial(methods(r)?),
        3 => {
            let mut challenge = Challenge { name: owned(r)?, instruction: owned(r)?, prompts: Vec::new() };
            while !r.is_empty() {
                challenge.prompts.push((owned(r)?, r.bool()?));
            }
            Verdict::Challenge(challenge)
        }
        4 => Verdict::PasswordExpired { prompt: owned(r)? },
        _ => return Err(DecodeError::Invalid),
    })
}

/// What may be shown: the kind of the call, never a name, a text or a secret.
impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Call::Channel(id, call) => {
                write!(f, "channel {}.{}: ", id.local, id.generation)?;
                match call {
                    ChannelCall::Accept => f.write_str("accept_channel"),
                    ChannelCall::Refuse { why, .. } => write!(f, "refuse_channel {why}"),
                    ChannelCall::Request { .. } => f.write_str("request"),
                    ChannelCall::Reply { ok, .. } => write!(f, "reply {ok}"),
                    ChannelCall::Write { stream, data } => write!(f, "write {stream:?} {} bytes", data.len()),
                    ChannelCall::Slot { stream, want } => write!(f, "slot {stream:?} {want} bytes"),
                    ChannelCall::Consume(n) => write!(f, "consume {n} bytes"),
                    ChannelCall::Finish => f.write_str("finish"),
                    ChannelCall::Close => f.write_str("close_channel"),
                }
            }
            Call::Connection(call) => match call {
                ConnectionCall::Open { .. } => f.write_str("open"),
                ConnectionCall::Commit(data) => write!(f, "commit {} bytes", data.len()),
                ConnectionCall::RequestGlobal { .. } => f.write_str("request_global"),
                ConnectionCall::ReplyGlobal { ok, .. } => write!(f, "reply_global {ok}"),
                ConnectionCall::Rekey => f.write_str("rekey"),
                ConnectionCall::FinishJob(_) => f.write_str("finish_job"),
                ConnectionCall::Disconnect { code, .. } => write!(f, "disconnect {code}"),
            },
            Call::Client(call) => f.write_str(match call {
                ClientCall::DecideHostKey { accept: true, .. } => "decide_host_key true",
                ClientCall::DecideHostKey { .. } => "decide_host_key false",
                ClientCall::Authenticate { proof, .. } => proof.name(),
                ClientCall::ProvideSignature { .. } => "provide_signature",
                ClientCall::CancelSignature(_) => "cancel_signature",
                ClientCall::AnswerPrompts { .. } => "answer_prompts",
            }),
            Call::Server(call) => f.write_str(match call {
                ServerCall::DecideAuth { .. } => "decide_auth",
                ServerCall::DecideProbe { usable: true, .. } => "decide_probe true",
                ServerCall::DecideProbe { .. } => "decide_probe false",
            }),
        }
    }
}

impl Proof<'_> {
    fn name(&self) -> &'static str {
        match self {
            Proof::None => "authenticate none",
            Proof::Password(_) => "authenticate password",
            Proof::PasswordChange { .. } => "authenticate password change",
            Proof::Key(KeyUse::Probe, ..) => "authenticate probe of a key",
            Proof::Key(KeyUse::Here, ..) => "authenticate publickey",
            Proof::Key(KeyUse::Elsewhere, ..) => "authenticate publickey, signed elsewhere",
            Proof::KeyboardInteractive => "authenticate keyboard-interactive",
        }
    }
}
