//! What can end a connection, split by who is at fault.
//!
//! Errors of a connection are sticky: after the first one, every `poll` returns it again and no
//! byte of input is looked at. The DISCONNECT that fits is already in the output when the error is
//! returned. A [`UsageError`] is different: the call did nothing and the connection lives on.

mod negotiation;

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use crate::msg::{self, DisconnectCode};
use crate::wire::{DecodeError, SshStr};

pub use negotiation::{AlgorithmCategory, Mismatch, NegotiationFailure};

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The peer broke the protocol, or offers nothing we accept.
    Peer(PeerError),
    /// This side refused: the host key was not accepted, or the attempts ran out.
    Rejected(Rejected),
    /// A timer ran out.
    Timeout(TimerKind, Phase),
    /// The peer or this side ended the connection.
    Disconnected(Box<Disconnected>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(e) => e.fmt(f),
            Self::Rejected(e) => e.fmt(f),
            Self::Timeout(kind, phase) => write!(f, "{phase}: {kind}"),
            Self::Disconnected(d) => d.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

impl Error {
    /// The kind of error, with nothing in it that a peer wrote.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Peer(e) => alloc::format!("Error(Peer({:?}, {:?}))", e.fault, e.phase),
            Self::Rejected(e) => alloc::format!("Error(Rejected({e:?}))"),
            Self::Timeout(kind, phase) => alloc::format!("Error(Timeout({kind:?}, {phase:?}))"),
            Self::Disconnected(d) => {
                alloc::format!("Error(Disconnected({:?}, {}, {:?}))", d.by, d.code.0, d.phase)
            }
        }
    }
}

/// Where in its life the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// Waiting for the peer's identification line.
    Ident,
    /// The first key exchange.
    KeyExchange,
    /// From the first NEWKEYS to the end of user authentication.
    Authentication,
    /// Authenticated.
    Connected,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ident => "waiting for the identification line",
            Self::KeyExchange => "during key exchange",
            Self::Authentication => "during authentication",
            Self::Connected => "while connected",
        })
    }
}

/// The timers a connection has. In the order in which they fire when several are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimerKind {
    /// The peer's identification line did not come in time.
    Ident,
    /// The peer did not answer in a key exchange, the first or a later one.
    KeyExchange,
    /// The server did not answer the client's authentication request.
    AuthReply,
    /// The client did not authenticate in time; counts from the start, traffic does not renew it.
    LoginGrace,
    /// A rejected attempt is answered only now. Never an error.
    AuthDelay,
    /// The peer has not been heard of for the whole keepalive period.
    KeepAlive,
    /// Keys are renewed. Never an error.
    Rekey,
    /// The application did not answer an event in time.
    Decision,
}

impl fmt::Display for TimerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ident => "timed out; the peer sent no SSH identification (is it an SSH server?)",
            Self::KeyExchange => "timed out; the peer did not go on with the key exchange",
            Self::AuthReply => "timed out; the server did not answer the authentication request",
            Self::LoginGrace => "timed out; the client did not authenticate within the login grace time",
            Self::AuthDelay => "the delay of a rejected attempt ended",
            Self::KeepAlive => "timed out; the peer did not answer the keepalive probes",
            Self::Rekey => "the keys are due to be renewed",
            Self::Decision => "timed out; a question to the application was not answered",
        })
    }
}

/// The peer is at fault.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerError {
    detail: Option<Box<Detail>>,
    fault: Fault,
    phase: Phase,
}

/// What a person needs to know beyond the kind of fault.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Detail {
    Text(String),
    Negotiation(NegotiationFailure),
}

impl PeerError {
    pub(crate) fn new(fault: Fault, phase: Phase) -> Self {
        PeerError { detail: None, fault, phase }
    }

    pub(crate) fn with_text(fault: Fault, phase: Phase, text: String) -> Self {
        PeerError { detail: Some(Box::new(Detail::Text(text))), fault, phase }
    }

    pub(crate) fn negotiation(failure: NegotiationFailure) -> Self {
        PeerError {
            detail: Some(Box::new(Detail::Negotiation(failure))),
            fault: Fault::NoCommonAlgorithm,
            phase: Phase::KeyExchange,
        }
    }

    /// The kind of fault.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// Where the connection was.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Every category without a common algorithm, when that is the fault.
    pub fn negotiation_failure(&self) -> Option<&NegotiationFailure> {
        match self.detail.as_deref() {
            Some(Detail::Negotiation(n)) => Some(n),
            _ => None,
        }
    }

    /// The DISCONNECT reason that was sent for it.
    pub fn disconnect_code(&self) -> DisconnectCode {
        self.fault.disconnect_code()
    }
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.phase, self.fault)?;
        match self.detail.as_deref() {
            Some(Detail::Text(text)) => write!(f, ": {text}"),
            Some(Detail::Negotiation(n)) => write!(f, "\n{n}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerError({self})")
    }
}

/// The kinds of fault of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// What came is not SSH.
    NotSsh,
    /// The identification line is longer than 255 bytes (RFC 4253 §4.2).
    IdentTooLong,
    /// The identification line holds bytes that are not printable US-ASCII.
    IdentInvalid,
    /// A protocol version other than 2.0 (RFC 4253 §5).
    Version,
    /// The input ended in the middle of something.
    Truncated,
    /// A packet length out of bounds (RFC 4253 §6.1).
    PacketLength,
    /// A padding length out of bounds (RFC 4253 §6).
    Padding,
    /// A packet without a message.
    EmptyPayload,
    /// The integrity check of a packet failed.
    BadTag,
    /// A compressed payload that does not decompress, or grows beyond a packet.
    Decompression,
    /// 2^32 packets before the first NEWKEYS, or 2^31 with the same keys.
    SequenceExhausted,
    /// A message whose fields do not parse.
    Malformed,
    /// A message that is not legal now, or not from this side.
    UnexpectedMessage,
    /// No algorithm in common.
    NoCommonAlgorithm,
    /// A public key exchange value that is out of range, malformed or of low order.
    BadPublicValue,
    /// A Diffie-Hellman group outside the sizes asked for, or not a sane one.
    BadGroup,
    /// The host key is not of the negotiated type, or malformed.
    BadHostKey,
    /// The host's RSA key is smaller than [`Limits::rsa_bits`](crate::transport::limits::Limits).
    WeakHostKey,
    /// The agreed cipher is open to prefix truncation with a peer that lacks strict key exchange
    /// (CVE-2023-48795); see [`TransportConfig::allow_terrapin`](crate::TransportConfig).
    PrefixTruncation,
    /// The host key's signature of the exchange does not verify.
    BadHostSignature,
    /// The host key is another one than in the first key exchange.
    HostKeyChanged,
    /// More key exchanges than progress between them allows.
    TooManyKeyExchanges,
    /// More packets or bytes before authentication than any peer needs.
    TooMuchBeforeAuth,
    /// The client changed user or service in the middle of authentication (RFC 4252 §5).
    PrincipalChanged,
    /// The service asked for is not offered.
    ServiceNotAvailable,
    /// Too many failed attempts, probes or requests.
    TooManyAuthAttempts,
    /// A message for a channel that does not exist or cannot take it.
    BadChannel,
    /// More data than the window or the packet size allows.
    WindowExceeded,
    /// A window beyond 2^32 - 1 bytes (RFC 4254 §5.2).
    WindowOverflow,
    /// More unanswered requests than the limits allow.
    TooManyRequests,
    /// A session after the client had promised that there would be no more (OpenSSH PROTOCOL 2.2).
    NoMoreSessions,
}

impl Fault {
    /// The DISCONNECT reason that fits (RFC 4250 §4.2.2).
    pub fn disconnect_code(self) -> DisconnectCode {
        match self {
            Self::Version => DisconnectCode::PROTOCOL_VERSION_NOT_SUPPORTED,
            Self::BadTag => DisconnectCode::MAC_ERROR,
            Self::Decompression => DisconnectCode::COMPRESSION_ERROR,
            Self::NoCommonAlgorithm
            | Self::BadPublicValue
            | Self::BadGroup
            | Self::BadHostKey
            | Self::WeakHostKey
            | Self::PrefixTruncation
            | Self::BadHostSignature => DisconnectCode::KEY_EXCHANGE_FAILED,
            Self::HostKeyChanged => DisconnectCode::HOST_KEY_NOT_VERIFIABLE,
            Self::ServiceNotAvailable => DisconnectCode::SERVICE_NOT_AVAILABLE,
            Self::TooManyAuthAttempts => DisconnectCode::NO_MORE_AUTH_METHODS_AVAILABLE,
            _ => DisconnectCode::PROTOCOL_ERROR,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSsh => "the peer does not speak SSH",
            Self::IdentTooLong => "the peer's identification line is longer than 255 bytes",
            Self::IdentInvalid => "the peer's identification line is malformed",
            Self::Version => "the peer speaks another version of the protocol; only 2.0 is supported",
            Self::Truncated => "the input ended, or came to a stop, in the middle of a message",
            Self::PacketLength => "the peer sent a packet with a length out of bounds",
            Self::Padding => "the peer sent a packet with a padding length out of bounds",
            Self::EmptyPayload => "the peer sent a packet without a message",
            Self::BadTag => "a packet from the peer failed its integrity check (corrupted or forged)",
            Self::Decompression => "a packet from the peer does not decompress within the packet limit",
            Self::SequenceExhausted => "the peer used up the packet numbers without new keys",
            Self::Malformed => "the peer sent a malformed message",
            Self::UnexpectedMessage => "the peer sent a message that is not allowed now",
            Self::NoCommonAlgorithm => "no algorithm in common with the peer",
            Self::BadPublicValue => "the peer's public key exchange value is not acceptable",
            Self::BadGroup => "the peer's Diffie-Hellman group is not acceptable",
            Self::BadHostKey => "the peer's host key is not acceptable",
            Self::WeakHostKey => "the peer's host key is too weak",
            Self::PrefixTruncation => "the peer's packets could be cut away unnoticed",
            Self::BadHostSignature => "the peer's host key signature does not verify",
            Self::HostKeyChanged => "the peer changed its host key in a later key exchange",
            Self::TooManyKeyExchanges => "the peer started key exchanges without any traffic between them",
            Self::TooMuchBeforeAuth => "the peer sent too much before authentication",
            Self::PrincipalChanged => "the client changed the user or service during authentication",
            Self::ServiceNotAvailable => "the peer asked for a service that is not offered",
            Self::TooManyAuthAttempts => "too many authentication attempts",
            Self::BadChannel => "the peer sent a message for a channel that cannot take it",
            Self::WindowExceeded => "the peer sent more data than the channel's window or packet size allows",
            Self::WindowOverflow => "the peer grew a channel's window beyond 4 GiB",
            Self::TooManyRequests => "the peer left too many requests unanswered or undecided",
            Self::NoMoreSessions => "the client opened a session after it had promised to open no more",
        })
    }
}

/// This side said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejected {
    /// The application did not accept the host key.
    HostKey,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostKey => f.write_str("during key exchange: the host key was not accepted"),
        }
    }
}

/// The connection was ended in an orderly way, or just ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disconnected {
    /// Who did it.
    pub by: EndedBy,
    /// The reason in DISCONNECT; `CONNECTION_LOST` when the connection just ended.
    pub code: DisconnectCode,
    /// The peer's text, escaped, at most 1 KiB; empty when the connection just ended.
    pub text: String,
    /// Where the connection was.
    pub phase: Phase,
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The peer sent DISCONNECT.
    Peer,
    /// This side called `disconnect`.
    Us,
    /// The input ended between two packets, without a DISCONNECT.
    EndOfInput,
}

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by {
            EndedBy::EndOfInput if self.phase == Phase::Ident => {
                write!(
                    f,
                    "{}: the peer closed the connection without a word (a full server, a firewall, or not an SSH server)",
                    self.phase
                )
            }
            EndedBy::EndOfInput => write!(f, "{}: the peer closed the connection", self.phase),
            EndedBy::Peer => {
                write!(f, "{}: disconnected by the peer: {} ({})", self.phase, self.text, self.code.name())
            }
            EndedBy::Us => write!(f, "{}: disconnected by us: {}", self.phase, self.text),
        }
    }
}

/// A call that makes no sense now. It changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsageError {
    /// The connection has ended.
    Closed,
    /// The ticket was answered before, or its question has gone away.
    StaleTicket,
    /// A login before the server is ready for it: before the first `ClientAuth::Needed`.
    TooEarly,
    /// Channels, requests and new keys come after the login.
    NotAuthenticated,
    /// Authentication is already over.
    AlreadyAuthenticated,
    /// An authentication request is waiting for its answer.
    RequestPending,
    /// As many authentication requests were sent as one connection may
    /// ([`Limits::client_attempts`](crate::transport::limits::Limits)).
    TooManyAttempts,
    /// No such channel, or it was closed.
    NoSuchChannel,
    /// The channel does not allow this now: it is not open yet, was finished, or the other side
    /// opens it.
    ChannelState,
    /// Too much is waiting to be sent; go on when the output has drained.
    Full,
    /// A text holds bytes that its place does not allow (NUL, control characters), or is too long.
    InvalidText,
    /// The key cannot make signatures of that algorithm, or the policy does not allow it.
    KeyMismatch,
    /// The number of answers is not the number of prompts.
    AnswerCount,
    /// The decision does not fit the attempt.
    DecisionMismatch,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the connection has ended: connect again",
            Self::StaleTicket => "the ticket was answered before, or its question has gone away",
            Self::TooEarly => "the server is not ready for a login yet: wait until it asks for one",
            Self::NotAuthenticated => "nobody is logged in yet: log in first",
            Self::AlreadyAuthenticated => {
                "somebody is logged in already: one connection has one login, so connect again for another"
            }
            Self::RequestPending => "a login is still waiting for the server's answer: wait for it first",
            Self::TooManyAttempts => "too many logins were tried on this connection: connect again",
            Self::NoSuchChannel => "no such channel, or it was closed: open another one",
            Self::ChannelState => {
                "the channel does not allow this now: it is not open yet, was finished, or is not ours to open"
            }
            Self::Full => "too much is waiting to be sent: go on when the output has drained",
            Self::InvalidText => {
                "the text is longer than its place allows or holds bytes that it does not (NUL, controls)"
            }
            Self::KeyMismatch => {
                "the key cannot sign with this algorithm, or the policy does not allow it: take another of either"
            }
            Self::AnswerCount => "the number of answers is not the number of prompts: give one for each",
            Self::DecisionMismatch => "this decision does not fit the attempt: only what was asked can be answered",
        })
    }
}

impl core::error::Error for UsageError {}

/// A fault on its way up, before the phase is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) fault: Fault,
    pub(crate) text: Option<String>,
    pub(crate) negotiation: Option<Box<NegotiationFailure>>,
}

impl Failure {
    pub(crate) fn text(fault: Fault, text: String) -> Self {
        Failure { fault, text: Some(text), negotiation: None }
    }

    /// A message that is not legal now.
    pub(crate) fn unexpected(number: u8) -> Self {
        Self::text(Fault::UnexpectedMessage, msg::name(number))
    }

    /// A message whose fields do not parse.
    pub(crate) fn malformed(number: u8, error: DecodeError) -> Self {
        Self::text(Fault::Malformed, alloc::format!("{}: {error}", msg::name(number)))
    }

    pub(crate) fn at(self, phase: Phase) -> Error {
        Error::Peer(match (self.negotiation, self.text) {
            (Some(n), _) => PeerError::negotiation(*n),
            (None, Some(text)) => PeerError::with_text(self.fault, phase, text),
            (None, None) => PeerError::new(self.fault, phase),
        })
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Failure { fault, text: None, negotiation: None }
    }
}

/// The escaped, bounded form of a peer's text in an error.
pub(crate) fn quote(bytes: &[u8]) -> String {
    SshStr::new(bytes).excerpt(200)
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Error>() <= 16);
