//! What a server's application is asked, out of the receive buffer so that it can be answered later
//! and from anywhere.

use konko_core::ServerAuth;
use konko_core::channel::{
    ChannelId, ChannelRequest, GlobalRequestRef, GlobalTicket, OpenKind, OpenTicket, RequestTicket,
};
use konko_core::client::Password;
use konko_core::crypto::SigAlg;
use konko_core::keys::PublicKey;
use konko_core::server::{Attempt, AuthOutcome, AuthTicket, ProbeTicket};
use konko_core::session::{ChannelKind, Wish};
use konko_core::wire::SshStr;

use super::auth::Credential;

/// One question.
pub(crate) enum Ask {
    Probe { ticket: ProbeTicket, user: String, key: Box<PublicKey>, alg: SigAlg, signed: bool },
    Auth { ticket: AuthTicket, user: Option<String>, credential: Credential },
    Outcome(Box<AuthOutcome>),
    Authenticated,
    Open { ticket: OpenTicket, kind: ChannelKind },
    Request { channel: ChannelId, ticket: Option<RequestTicket>, wish: Wish },
    Global { ticket: Option<GlobalTicket>, name: String, fields: Vec<u8> },
    Closed(ChannelId),
}

fn text(s: SshStr<'_>) -> String {
    s.to_text()
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
        Ask::Open { ticket, kind: ChannelKind::from(&kind) }
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
