//! What a server's application is asked, out of the receive buffer so that it can be answered later
//! and from anywhere.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use konko_core::channel::{
    ChannelId, ChannelRequest, GlobalRequestRef, GlobalTicket, OpenKind, OpenTicket, PtyRequest,
    RequestTicket,
};
use konko_core::client::Password;
use konko_core::crypto::SigAlg;
use konko_core::keys::PublicKey;
use konko_core::server::{Attempt, AuthOutcome, AuthTicket, ProbeTicket};
use konko_core::wire::SshStr;
use konko_core::{ServerAuth, channel};

use super::auth::Credential;
use super::session::{Control, Program};
use crate::channel::Pty;

/// One question.
pub(crate) enum Ask {
    Probe { ticket: ProbeTicket, user: String, key: Box<PublicKey>, alg: SigAlg, signed: bool },
    Auth { ticket: AuthTicket, user: Option<String>, credential: Credential },
    Outcome(Box<AuthOutcome>),
    Authenticated,
    Open { ticket: OpenTicket, kind: Kind },
    Request { channel: ChannelId, ticket: Option<RequestTicket>, wish: Wish },
    Global { ticket: Option<GlobalTicket>, name: String, fields: Vec<u8> },
    Closed(ChannelId),
}

/// What kind of channel a client opens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
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

/// What is asked on a channel.
pub(crate) enum Wish {
    Pty(Pty),
    Env(OsString, OsString),
    Start(Program),
    Control(Control),
    Other { name: String, fields: Vec<u8> },
}

fn text(s: SshStr<'_>) -> String {
    String::from_utf8_lossy(s.as_bytes()).into_owned()
}

fn bytes(s: SshStr<'_>) -> OsString {
    OsString::from_vec(s.as_bytes().to_vec())
}

impl Ask {
    /// The question in an attempt to come in, if there is one.
    pub(crate) fn of(auth: ServerAuth<'_>) -> Option<Self> {
        Some(match auth {
            ServerAuth::Probe { ticket, user, key, alg, signed } => {
                Ask::Probe { ticket, user: text(user), key, alg, signed }
            }
            ServerAuth::Signed { ticket, key } => {
                let (algorithm, key) = (key.algorithm(), Box::new(key.key().clone()));
                Ask::Auth { ticket, user: None, credential: Credential::PublicKey { key, algorithm } }
            }
            ServerAuth::Attempt { ticket, user, attempt } => {
                let answers = matches!(attempt, Attempt::Answers(_));
                let user = (!answers).then(|| text(user));
                Ask::Auth { ticket, user, credential: credential(attempt)? }
            }
            ServerAuth::Outcome(outcome) => Ask::Outcome(outcome),
            _ => return None,
        })
    }

    pub(crate) fn open(ticket: OpenTicket, kind: OpenKind<'_>) -> Self {
        Ask::Open { ticket, kind: Kind::of(kind) }
    }

    pub(crate) fn global(ticket: Option<GlobalTicket>, request: &GlobalRequestRef<'_>) -> Self {
        Ask::Global { ticket, name: text(request.name), fields: request.fields.to_vec() }
    }

    pub(crate) fn request(
        channel: ChannelId,
        ticket: Option<RequestTicket>,
        request: &ChannelRequest<'_>,
    ) -> Self {
        Ask::Request { channel, ticket, wish: Wish::of(request) }
    }
}

fn credential(attempt: Attempt<'_>) -> Option<Credential> {
    Some(match attempt {
        Attempt::None => Credential::None,
        Attempt::Password(password) => Credential::Password(Password::new(password)),
        Attempt::PasswordChange { old, new } => {
            Credential::PasswordChange { old: Password::new(old), new: Password::new(new) }
        }
        Attempt::KeyboardInteractive { submethods } => {
            Credential::KeyboardInteractive { submethods: text(submethods) }
        }
        Attempt::Answers(answers) => Credential::Answers(answers.iter().map(Password::new).collect()),
        _ => return None,
    })
}

impl Kind {
    fn of(kind: OpenKind<'_>) -> Self {
        match kind {
            OpenKind::Session => Kind::Session,
            OpenKind::DirectTcpip { host, port, originator, originator_port } => Kind::DirectTcpip {
                host: text(host),
                // The core refuses ports that are none.
                port: u16::try_from(port).unwrap_or(0),
                originator: text(originator),
                originator_port,
            },
            other => {
                let fields = match other {
                    OpenKind::Other { fields, .. } => fields.to_vec(),
                    _ => Vec::new(),
                };
                Kind::Other { name: text(other.kind()), fields }
            }
        }
    }

    /// The type name on the wire.
    pub fn name(&self) -> &str {
        match self {
            Kind::Session => "session",
            Kind::DirectTcpip { .. } => "direct-tcpip",
            Kind::Other { name, .. } => name,
        }
    }
}

impl Wish {
    fn of(request: &ChannelRequest<'_>) -> Self {
        use channel::ChannelRequest as R;
        match *request {
            R::Pty(PtyRequest { term, columns, rows, width, height, modes }) => Wish::Pty(Pty {
                term: bytes(term),
                columns,
                rows,
                width,
                height,
                modes: modes.iter().collect(),
            }),
            R::Env { name, value } => Wish::Env(bytes(name), bytes(value)),
            R::Shell => Wish::Start(Program::Shell),
            R::Exec(command) => Wish::Start(Program::Exec(command.as_bytes().to_vec())),
            R::Subsystem(name) => Wish::Start(Program::Subsystem(text(name))),
            R::WindowChange { columns, rows, width, height } => {
                Wish::Control(Control::WindowChange { columns, rows, width, height })
            }
            R::Signal(name) => Wish::Control(Control::Signal(text(name))),
            R::Break(length) => Wish::Control(Control::Break(length)),
            R::Eow => Wish::Control(Control::Eow),
            ref other => {
                let fields = match other {
                    R::Other { fields, .. } => fields.to_vec(),
                    _ => Vec::new(),
                };
                Wish::Other { name: text(other.kind()), fields }
            }
        }
    }

    /// The request name, for a log.
    pub(crate) fn name(&self) -> &str {
        match self {
            Wish::Pty(_) => "pty-req",
            Wish::Env(..) => "env",
            Wish::Start(Program::Shell) => "shell",
            Wish::Start(Program::Exec(_)) => "exec",
            Wish::Start(Program::Subsystem(_)) => "subsystem",
            Wish::Control(Control::WindowChange { .. }) => "window-change",
            Wish::Control(Control::Signal(_)) => "signal",
            Wish::Control(Control::Break(_)) => "break",
            Wish::Control(Control::Eow) => "eow@openssh.com",
            Wish::Other { name, .. } => name,
        }
    }
}
