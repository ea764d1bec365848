//! What a server's application is asked, out of the receive buffer so that it can be answered later
//! and from anywhere.

use konko_core::auth::Method;
use konko_core::channel::{
    ChannelId, ChannelRequest, GlobalRequestRef, GlobalTicket, OpenKind, OpenTicket, RequestTicket,
};
use konko_core::client::Password;
use konko_core::crypto::HashAlgorithm;
use konko_core::keys::{PublicKey, SignatureAlgorithm};
use konko_core::login::Outcome;
use konko_core::server::{
    AuthOutcome, AuthRejection, AuthResult, AuthTicket, Credential as Offered, ProbeTicket,
};
use konko_core::session::{ChannelKind, SessionRequest};
use konko_core::wire::SshStr;
use konko_core::{Connection, Error, Event, RxBuf, ServerAuth, ServerConnection, Side, Step, Time};

use super::auth::Credential;
use crate::end::End;
use crate::notice::Notice;

/// One question.
pub(crate) enum Ask {
    Probe {
        ticket: ProbeTicket,
        user: String,
        key: Box<PublicKey>,
        algorithm: SignatureAlgorithm,
        signed: bool,
    },
    HostProbe {
        ticket: ProbeTicket,
        user: String,
        key: Box<PublicKey>,
        algorithm: SignatureAlgorithm,
        host: String,
        host_user: String,
    },
    Auth {
        ticket: AuthTicket,
        user: Option<String>,
        credential: Credential,
    },
    Outcome(Box<AuthOutcome>),
    Authenticated,
    Open {
        ticket: OpenTicket,
        kind: ChannelKind,
    },
    Request {
        channel: ChannelId,
        ticket: Option<RequestTicket>,
        wish: SessionRequest,
    },
    Global {
        ticket: Option<GlobalTicket>,
        name: String,
        fields: Vec<u8>,
    },
    Closed(ChannelId),
}

fn text(s: SshStr<'_>) -> String {
    s.to_text()
}

impl Ask {
    /// The question in an attempt to come in, if there is one.
    fn of(auth: ServerAuth<'_>) -> Option<Self> {
        Some(match auth {
            ServerAuth::Probe { ticket, user, key, algorithm, signed } => {
                Ask::Probe { ticket, user: text(user), key, algorithm, signed }
            }
            ServerAuth::Signed { ticket, key } => {
                let (algorithm, details) = (key.algorithm(), key.details());
                let key = Box::new(key.key().clone());
                Ask::Auth {
                    ticket,
                    user: None,
                    credential: Credential::PublicKey { key, algorithm, details },
                }
            }
            ServerAuth::HostProbe { ticket, user, key, algorithm, host, host_user } => {
                let [user, host, host_user] = [user, host, host_user].map(text);
                Ask::HostProbe { ticket, user, key, algorithm, host, host_user }
            }
            ServerAuth::HostSigned { ticket, key, host, user } => {
                let (algorithm, key) = (key.algorithm(), Box::new(key.key().clone()));
                let [host, user] = [&host, &user].map(|name| text(SshStr::new(name)));
                let credential = Credential::HostBased { key, algorithm, host, user };
                Ask::Auth { ticket, user: None, credential }
            }
            ServerAuth::Attempt { ticket, user, credential: attempt } => {
                let answers = matches!(attempt, Offered::Answers(_));
                let user = (!answers).then(|| text(user));
                Ask::Auth { ticket, user, credential: credential(attempt)? }
            }
            ServerAuth::Outcome(outcome) => Ask::Outcome(outcome),
            _ => return None,
        })
    }

    fn open(ticket: OpenTicket, kind: OpenKind<'_>) -> Self {
        Ask::Open { ticket, kind: ChannelKind::from(&kind) }
    }

    fn global(ticket: Option<GlobalTicket>, request: &GlobalRequestRef<'_>) -> Self {
        Ask::Global { ticket, name: text(request.name), fields: request.fields.to_vec() }
    }

    /// What a log has of it.
    pub(crate) fn notice(&self) -> Option<Notice> {
        match self {
            Ask::Outcome(outcome) => notice_of(outcome),
            _ => None,
        }
    }
}

/// What a log has of an attempt. Everybody asks with `none` what there is; that is no news.
fn notice_of(outcome: &AuthOutcome) -> Option<Notice> {
    let text = |bytes, most| SshStr::new(bytes).excerpt(most);
    let result = match outcome.result {
        AuthResult::Accepted => Outcome::Accepted,
        AuthResult::Partial => Outcome::Partial,
        AuthResult::Rejected(_) if !outcome.counted => return None,
        AuthResult::Rejected(AuthRejection::Decision) => Outcome::Rejected,
        AuthResult::Rejected(why) => {
            let what = [&outcome.method[..], &outcome.user].map(|bytes| text(bytes, 100));
            let algorithm = text(&outcome.algorithm, 60);
            let space = if algorithm.is_empty() { "" } else { " " };
            let [method, user] = what;
            return Some(Notice::Refused(format!("{method} for \"{user}\"{space}{algorithm}: {why}")));
        }
        _ => return None,
    };
    let method = std::str::from_utf8(&outcome.method).ok().and_then(Method::from_name)?;
    let key = outcome.key.as_ref().map(|key| (key.key_type().name(), key.fingerprint(HashAlgorithm::Sha256)));
    let user = SshStr::new(&outcome.user).to_text();
    Some(Notice::Login { user, method: method.name(), key, outcome: result })
}

fn credential(attempt: Offered<'_>) -> Option<Credential> {
    Some(match attempt {
        Offered::None => Credential::None,
        Offered::Password(password) => Credential::Password(Password::new(password)),
        Offered::PasswordChange { old, new } => {
            Credential::PasswordChange { old: Password::new(old), new: Password::new(new) }
        }
        Offered::KeyboardInteractive { submethods } => {
            Credential::KeyboardInteractive { submethods: text(submethods) }
        }
        Offered::Answers(answers) => Credential::Answers(answers.iter().map(Password::new).collect()),
        _ => return None,
    })
}

/// A server's, whose application is asked for whatever the client wants.
impl End for ServerConnection {
    fn poll<'b>(&mut self, now: Time, rx: &'b mut RxBuf) -> Result<Step<Event<'b, Option<Ask>>>, Error> {
        Ok(match ServerConnection::poll(self, now, rx)? {
            Step::Event(event) => Step::Event(match event {
                Event::Authenticated { .. } => Event::Auth(Some(Ask::Authenticated)),
                Event::Open { ticket, kind } => Event::Auth(Some(Ask::open(ticket, kind))),
                Event::GlobalRequest { ticket, request } => Event::Auth(Some(Ask::global(ticket, &request))),
                event => event.map_auth(Ask::of),
            }),
            Step::Blocked(why) => Step::Blocked(why),
        })
    }

    fn conn(&self) -> &Connection<dyn Side> {
        self
    }

    fn conn_mut(&mut self) -> &mut Connection<dyn Side> {
        self
    }

    fn requested(
        &mut self,
        channel: ChannelId,
        ticket: Option<RequestTicket>,
        request: &ChannelRequest<'_>,
    ) -> Option<Ask> {
        Some(Ask::Request { channel, ticket, wish: SessionRequest::of(request) })
    }

    fn closed(&mut self, channel: ChannelId) -> Option<Ask> {
        Some(Ask::Closed(channel))
    }
}
