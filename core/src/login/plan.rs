//! The order of things: what is tried next, and what an answer of the server means for it.

mod agent;
mod keys;
mod secrets;

use alloc::borrow::ToOwned;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use super::{
    ATTEMPT_LIMIT, Answer, Asked, Attempt, AuthFailure, LockedKey, LoggedIn, LoginMethod, Outcome, Question,
};
use crate::auth::Method;
use crate::auth::client::{AuthRequest, HostClaim, Password, PromptTicket, SignTicket};
use crate::client::{ClientAuth, ClientConnection, ClientEvent};
use crate::crypto::HashAlgorithm;
use crate::error::UsageError;
use crate::keys::{KeyPair, PublicKey, SignatureAlgorithm};
use crate::wire::NameList;

/// A login in progress. See the [module](super).
#[derive(Debug)]
pub struct Login {
    user: Vec<u8>,
    candidates: Vec<Candidate>,
    /// What the server takes.
    offer: Offer,
    doing: Doing,
    question: Option<Asked>,
    attempts: Vec<Attempt>,
    sign_elsewhere: bool,
    /// Only what the list names is taken from an agent.
    identities_only: bool,
    /// Failures after which the server ends the connection.
    attempt_limit: Option<u32>,
    agent: agent::Connection,
    result: Option<Result<(Method, bool), Option<UsageError>>>,
}

#[derive(Debug)]
struct Candidate {
    /// Which of the application's ways it comes from.
    place: usize,
    way: Way,
    used: u32,
    done: bool,
}

#[derive(Clone, Debug)]
enum Way {
    /// As the application has it.
    Given(LoginMethod),
    /// A key file that was read before its turn, to see whether an agent has its key.
    Read(agent::KeyFile),
    /// A key that an agent has.
    AgentKey(agent::AgentKey),
}

impl Way {
    fn method(&self) -> Method {
        match self {
            Way::Given(way) => way.method(),
            Way::Read(_) | Way::AgentKey(_) => Method::PublicKey,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Offer {
    /// Nothing was asked yet.
    Unasked,
    /// It does not say: anything may be tried.
    Any,
    /// These methods.
    These(Vec<String>),
}

impl Offer {
    fn has(&self, method: Method) -> bool {
        match self {
            Offer::Unasked | Offer::Any => true,
            Offer::These(methods) => methods.iter().any(|m| m == method.name()),
        }
    }

    fn named(&self) -> Vec<String> {
        match self {
            Offer::Unasked | Offer::Any => Vec::new(),
            Offer::These(methods) => methods.clone(),
        }
    }
}

/// A public key on its way: whose, and how it signs.
#[derive(Debug)]
struct Offered {
    way: usize,
    key: PublicKey,
    /// Its private half, if it is here.
    pair: Option<Arc<KeyPair>>,
    origin: Option<String>,
    algorithm: SignatureAlgorithm,
    /// What is tried if the server does not take that.
    rest: VecDeque<SignatureAlgorithm>,
    /// The key's blob as the agent has it, if it is in one.
    in_agent: Option<Vec<u8>>,
    /// The algorithm is a guess.
    guessed: bool,
    /// The name of the file that the key is from, while nobody has asked for a certificate beside it.
    file: Option<FileName>,
    /// The key file that is to be unlocked once the server has said that it would take the key.
    locked: Option<LockedKey>,
}

/// What is being done.
#[derive(Debug)]
enum Doing {
    /// Nothing: the connection is not ready yet, or the login is over.
    Nothing,
    // What the server has to answer.
    /// `none`, to learn what it takes.
    Learning,
    /// `none`, as the user's wish.
    Unproven,
    /// Would it take the key?
    Probing(Offered),
    /// A signed request.
    Signed(Offered),
    /// A request that the host has signed.
    Vouched(PublicKey, SignatureAlgorithm),
    /// A password.
    Password {
        way: usize,
        password: Password,
    },
    /// An expired password and a new one, so many of which it has refused.
    Change {
        way: usize,
        old: Password,
        refused: u32,
    },
    /// A keyboard-interactive request, or answers.
    Interactive(Conversation),
    // What the application has to answer.
    File(usize),
    /// Binding, or a list, of an agent.
    Agent(usize, agent::Talk),
    /// A key file, before its turn; the agent has these keys.
    Identify(usize, agent::Identifying),
    /// A certificate for that key.
    Certificate {
        way: usize,
        name: FileName,
        key: FileKey,
    },
    Passphrase {
        offered: Offered,
        attempt: u32,
    },
    Signing {
        offered: Offered,
        ticket: Option<SignTicket>,
    },
    AskPassword(usize),
    AskNewPassword {
        way: usize,
        old: Password,
        refused: u32,
        text: String,
    },
    AskAnswers {
        talk: Conversation,
        ticket: PromptTicket,
        count: usize,
    },
}

/// What a key file held, or stands for.
#[derive(Debug)]
enum FileKey {
    Ready(Arc<KeyPair>),
    Locked(LockedKey),
    /// With the key's blob as the agent has it.
    InAgent(PublicKey, Vec<u8>),
}

/// A key file: which, for the application, and what a person calls it.
#[derive(Clone, Debug)]
struct FileName {
    place: usize,
    name: String,
}

/// A keyboard-interactive exchange.
#[derive(Debug)]
struct Conversation {
    way: usize,
    /// The password, if it is what answers.
    password: Option<Password>,
    /// The server has asked something.
    asked: bool,
    /// A round was not answered.
    given_up: bool,
}

impl Login {
    /// A login of `user`, by these ways in this order. [`begin`](Self::begin) it when the connection is
    /// ready, or give it the first [`Needed`](ClientAuth::Needed).
    pub fn new(user: impl Into<Vec<u8>>, ways: impl IntoIterator<Item = LoginMethod>) -> Self {
        let ways = ways.into_iter().map(Way::Given).enumerate();
        let candidates = ways.map(|(place, way)| Candidate { place, way, used: 0, done: false }).collect();
        Login {
            user: user.into(),
            candidates,
            offer: Offer::Unasked,
            doing: Doing::Nothing,
            question: None,
            attempts: Vec::new(),
            sign_elsewhere: false,
            identities_only: false,
            attempt_limit: Some(ATTEMPT_LIMIT),
            agent: agent::Connection::default(),
            result: None,
        }
    }

    /// Of the keys in an agent, only those that key files of the list name as well are used (`IdentitiesOnly`).
    #[must_use]
    pub fn identities_only(mut self) -> Self {
        self.identities_only = true;
        self
    }

    /// How many failures the server takes before it ends the connection: 6, as OpenSSH's `MaxAuthTries`. Keys of an
    /// agent that nobody named must leave enough of them for key files and for what a person types; those that do not
    /// come last then. `None`: the order of the list, whatever the server does.
    #[must_use]
    pub fn attempt_limit(mut self, failures: Option<u32>) -> Self {
        self.attempt_limit = failures;
        self
    }

    /// Asks the application for signatures by keys that are here too, [`Question::Sign`], so that a
    /// thread of its own can make them: RSA takes milliseconds.
    #[must_use]
    pub fn sign_elsewhere(mut self) -> Self {
        self.sign_elsewhere = true;
        self
    }

    /// Begins, on a connection that has said [`Needed`](ClientAuth::Needed).
    pub fn begin(&mut self, conn: &mut ClientConnection) {
        if matches!(self.doing, Doing::Nothing) && self.result.is_none() {
            self.go_on(conn);
        }
    }

    /// Takes an event that concerns the login, and gives every other back. Look for a
    /// [`question`](Self::question) afterwards, and whether it [is over](Self::is_over).
    pub fn event<'b>(
        &mut self,
        conn: &mut ClientConnection,
        event: ClientEvent<'b>,
    ) -> Option<ClientEvent<'b>> {
        if self.result.is_some() {
            return Some(event);
        }
        let done = match event {
            ClientEvent::Auth(ClientAuth::Needed { methods, partial_success }) => {
                self.on_failure(conn, methods, partial_success)
            }
            ClientEvent::Authenticated { method, trivial } => {
                self.on_success(method, trivial);
                // Others want to know as well.
                return Some(ClientEvent::Authenticated { method, trivial });
            }
            ClientEvent::Auth(ClientAuth::KeyAccepted) => self.on_key_accepted(conn),
            ClientEvent::Auth(ClientAuth::Sign(ticket)) => self.on_sign(conn, ticket),
            ClientEvent::Auth(ClientAuth::PasswordExpired { prompt }) => {
                self.on_password_expired(conn, prompt);
                Ok(())
            }
            ClientEvent::Auth(ClientAuth::Prompts { ticket, prompts }) => {
                self.on_prompts(conn, ticket, &prompts)
            }
            other => return Some(other),
        };
        self.usage(done);
        None
    }

    /// What the application is asked now, once; [`answer`](Self::answer) it.
    pub fn question(&mut self) -> Option<Asked> {
        self.question.take()
    }

    /// Answers the last question, now or later. An answer of another kind than the question wants is
    /// taken as [`Answer::No`].
    ///
    /// # Errors
    ///
    /// `StaleTicket` when nothing was asked, and what
    /// [`authenticate`](ClientConnection::authenticate) says, which ends the login.
    pub fn answer(&mut self, conn: &mut ClientConnection, answer: Answer) -> Result<(), UsageError> {
        let done = match mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::File(way) => self.on_file(conn, way, answer),
            Doing::Agent(way, talk) => self.on_agent(conn, way, talk, answer),
            Doing::Identify(way, identifying) => self.on_identified(conn, way, identifying, answer),
            Doing::Certificate { way, name, key } => self.on_certificate(conn, way, name, key, answer),
            Doing::Passphrase { offered, attempt } => self.on_unlocked(conn, offered, attempt, answer),
            Doing::Signing { offered, ticket: Some(ticket) } => {
                self.on_signature(conn, offered, ticket, answer)
            }
            Doing::AskPassword(way) => self.on_password(conn, way, answer),
            Doing::AskNewPassword { way, old, refused, text } => {
                self.on_new_password(conn, way, old, (refused, text), answer)
            }
            Doing::AskAnswers { talk, ticket, count } => self.on_answers(conn, talk, (ticket, count), answer),
            other => {
                self.doing = other;
                return Err(UsageError::StaleTicket);
            }
        };
        self.question = self.question.take().filter(|_| done.is_ok());
        self.usage(done);
        done
    }

    /// What was tried so far, in order.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Whether it has come to its end: the user is in, or nothing is left to try.
    pub fn is_over(&self) -> bool {
        self.result.is_some()
    }

    /// What came of it. A login that is not over, because its connection is or because nobody wanted to
    /// wait, has failed.
    ///
    /// # Errors
    ///
    /// [`AuthFailure`], with all that was tried or skipped, when the user is not in.
    pub fn finish(self) -> Result<LoggedIn, AuthFailure> {
        let usage = match self.result {
            Some(Ok((method, trivial))) => return Ok(LoggedIn { method, trivial, attempts: self.attempts }),
            Some(Err(usage)) => usage,
            None => None,
        };
        let remaining = self.offer.named();
        Err(AuthFailure { user: self.user, attempts: self.attempts, remaining, usage, ended: None })
    }

    // ---- what comes next ----

    fn usage(&mut self, done: Result<(), UsageError>) {
        if let Err(usage) = done {
            self.doing = Doing::Nothing;
            self.result.get_or_insert(Err(Some(usage)));
        }
    }

    fn go_on(&mut self, conn: &mut ClientConnection) {
        let done = self.choose(conn);
        self.usage(done);
    }

    fn allowed(&self, way: &Way) -> bool {
        match way {
            Way::Given(LoginMethod::None) => self.offer == Offer::Unasked,
            Way::Given(LoginMethod::Password { .. }) => {
                self.offer.has(Method::Password) || self.offer.has(Method::KeyboardInteractive)
            }
            other => self.offer.has(other.method()),
        }
    }

    fn choose(&mut self, conn: &mut ClientConnection) -> Result<(), UsageError> {
        self.doing = Doing::Nothing;
        while let Some(way) = self.next() {
            let Some(candidate) = self.candidates.get_mut(way) else { break };
            if self.offer == Offer::Unasked
                && matches!(&candidate.way, Way::Given(way) if way.takes_a_person())
            {
                // Nobody should type what the server does not want.
                self.send(conn, AuthRequest::None)?;
                self.doing = Doing::Learning;
                return Ok(());
            }
            candidate.used = candidate.used.saturating_add(1);
            let (used, chosen) = (candidate.used, candidate.way.clone());
            candidate.done = match chosen {
                Way::Given(LoginMethod::Password { tries } | LoginMethod::Interactive { tries }) => {
                    used >= tries
                }
                _ => true,
            };
            match chosen {
                Way::Given(given) => self.try_given(conn, way, used, given)?,
                Way::Read(file) => self.on_key_file(conn, way, file)?,
                Way::AgentKey(key) => self.try_agent_key(conn, way, key)?,
            }
            if !matches!(self.doing, Doing::Nothing) || self.result.is_some() {
                return Ok(());
            }
        }
        let left = self.candidates.iter().filter(|c| !c.done && !matches!(c.way, Way::AgentKey(_)));
        let left = left.map(|c| c.way.method()).collect::<Vec<_>>();
        for method in left {
            self.record(method, None, Outcome::Skipped("the server does not offer it".to_owned()));
        }
        self.result.get_or_insert(Err(None));
        Ok(())
    }

    fn try_given(
        &mut self,
        conn: &mut ClientConnection,
        way: usize,
        used: u32,
        given: LoginMethod,
    ) -> Result<(), UsageError> {
        match given {
            LoginMethod::None => {
                self.send(conn, AuthRequest::None)?;
                self.doing = Doing::Unproven;
            }
            LoginMethod::Key(pair) => self.offer_pair(conn, way, pair, None)?,
            LoginMethod::File { .. } | LoginMethod::CertifiedFile { .. } => {
                self.doing = Doing::File(way);
                self.ask(way, Question::KeyFile);
            }
            LoginMethod::External { key, origin } => self.probe(conn, way, key, origin)?,
            LoginMethod::Agent { .. } => self.begin_agent(conn, way),
            LoginMethod::HostBased { key, host, user } => {
                self.vouch(conn, &key, HostClaim { host: &host, user: &user })?;
            }
            LoginMethod::Password { .. } => {
                self.doing = Doing::AskPassword(way);
                self.ask(way, Question::Password { attempt: used });
            }
            LoginMethod::Interactive { .. } => self.converse(conn, way, None)?,
        }
        Ok(())
    }

    fn send(&mut self, conn: &mut ClientConnection, method: AuthRequest<'_>) -> Result<(), UsageError> {
        conn.authenticate(&self.user, method)
    }

    fn ask(&mut self, way: usize, question: Question) {
        let way = self.candidates.get(way).map_or(way, |candidate| candidate.place);
        self.question = Some(Asked { way, question });
    }

    fn done_with(&mut self, way: usize) {
        if let Some(candidate) = self.candidates.get_mut(way) {
            candidate.done = true;
        }
    }

    fn method_of(&self, way: usize) -> Method {
        self.candidates.get(way).map_or(Method::None, |c| c.way.method())
    }

    fn on_failure(
        &mut self,
        conn: &mut ClientConnection,
        methods: Option<NameList<'_>>,
        partial: bool,
    ) -> Result<(), UsageError> {
        let doing = mem::replace(&mut self.doing, Doing::Nothing);
        if matches!(doing, Doing::Nothing) {
            // The service was accepted, which says nothing about methods.
            return self.choose(conn);
        }
        self.offer = match methods {
            Some(list) => Offer::These(list.iter().map(str::to_owned).collect()),
            None => Offer::Any,
        };
        let outcome = if partial { Outcome::Partial } else { Outcome::Rejected };
        match doing {
            Doing::Unproven => self.record(Method::None, None, outcome),
            Doing::Probing(offered) => return self.next_algorithm(conn, offered, true, Outcome::Rejected),
            Doing::Signed(offered) => return self.next_algorithm(conn, offered, false, outcome),
            Doing::Vouched(key, algorithm) => {
                self.record(Method::HostBased, Some((Some(&key), None, Some(algorithm))), outcome);
            }
            Doing::Password { way, password } => {
                self.record(Method::Password, None, outcome);
                let answered = self
                    .candidates
                    .iter()
                    .any(|c| matches!(c.way, Way::Given(LoginMethod::Interactive { .. })));
                if !partial && self.offer == Offer::Any && !answered {
                    // It may take the password in this way only, and does not say so.
                    return self.converse(conn, way, Some(password));
                }
            }
            Doing::Change { .. } => self.record(Method::Password, None, outcome),
            Doing::Interactive(talk) => {
                if !talk.asked && !partial && talk.password.is_none() {
                    // A server that asks nothing will not ask the next time.
                    self.done_with(talk.way);
                }
                let unanswered = talk.given_up && !partial;
                let why = || Outcome::Skipped("the questions were not answered".to_owned());
                let outcome = if unanswered { why() } else { outcome };
                self.record(self.method_of(talk.way), None, outcome);
            }
            _ => {}
        }
        self.choose(conn)
    }

    fn on_success(&mut self, method: Method, trivial: bool) {
        match mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Unproven => self.record(Method::None, None, Outcome::Accepted),
            Doing::Signed(offered) => self.record_offered(&offered, Outcome::Accepted),
            Doing::Vouched(key, algorithm) => {
                let key = (Some(&key), None, Some(algorithm));
                self.record(Method::HostBased, Some(key), Outcome::Accepted);
            }
            Doing::Password { way, .. }
            | Doing::Change { way, .. }
            | Doing::Interactive(Conversation { way, .. }) => {
                self.record(self.method_of(way), None, Outcome::Accepted);
            }
            _ => {}
        }
        self.result = Some(Ok((method, trivial)));
    }

    /// A line in the report about a key that was on its way.
    fn record_offered(&mut self, offered: &Offered, outcome: Outcome) {
        let key = (Some(&offered.key), offered.origin.clone(), Some(offered.algorithm));
        self.record(Method::PublicKey, Some(key), outcome);
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.guessed = offered.guessed;
        }
    }

    fn record(
        &mut self,
        method: Method,
        key: Option<(Option<&PublicKey>, Option<String>, Option<SignatureAlgorithm>)>,
        outcome: Outcome,
    ) {
        let (key, origin, algorithm) = key.unwrap_or_default();
        let sent = matches!(outcome, Outcome::Rejected | Outcome::Partial);
        self.attempts.push(Attempt {
            method,
            key: key.map(|k| k.fingerprint(HashAlgorithm::Sha256)),
            origin,
            algorithm,
            guessed: false,
            outcome,
            remaining: if sent { self.offer.named() } else { Vec::new() },
        });
    }
}

/// For a report, in which an attempt is one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
