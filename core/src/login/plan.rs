//! The order of things: what is tried next, and what an answer of the server means for it.

use alloc::borrow::ToOwned;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use super::{
    Answer, Asked, Attempt, AuthFailure, LockedKey, LoggedIn, NEW_PASSWORDS, Outcome, PASSPHRASES, Prompt,
    Question, Questions, Way,
};
use crate::auth::Method;
use crate::auth::client::{AuthMethod, Password, PromptTicket, SignTicket};
use crate::client::{ClientAuth, ClientConnection, ClientEvent};
use crate::crypto::{HashAlg, SigAlg};
use crate::error::UsageError;
use crate::keys::{KeyError, KeyPair, PrivateKey, PublicKey};
use crate::msg::UserauthInfoRequest;
use crate::wire::{NameList, SshStr};

/// Most bytes that are shown of the text of an expired password.
const MAX_PROMPT: usize = 1000;

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
    result: Option<Result<(Method, bool), Option<UsageError>>>,
}

#[derive(Debug)]
struct Candidate {
    way: Way,
    used: u32,
    done: bool,
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
    alg: SigAlg,
    /// What is tried if the server does not take that.
    rest: VecDeque<SigAlg>,
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
    /// ready, or give it the first `AuthNeeded`.
    pub fn new(user: impl Into<Vec<u8>>, ways: impl IntoIterator<Item = Way>) -> Self {
        let candidates = ways.into_iter().map(|way| Candidate { way, used: 0, done: false }).collect();
        Login {
            user: user.into(),
            candidates,
            offer: Offer::Unasked,
            doing: Doing::Nothing,
            question: None,
            attempts: Vec::new(),
            sign_elsewhere: false,
            result: None,
        }
    }

    /// Asks the application for signatures by keys that are here too, [`Question::Sign`], so that a
    /// thread of its own can make them: RSA takes milliseconds.
    #[must_use]
    pub fn sign_elsewhere(mut self) -> Self {
        self.sign_elsewhere = true;
        self
    }

    /// Begins, on a connection that has said `AuthNeeded`.
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
            ClientEvent::Auth(ClientAuth::Sign(ticket)) => {
                self.on_sign(conn, ticket);
                Ok(())
            }
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
            Way::None => self.offer == Offer::Unasked,
            Way::Password { .. } => {
                self.offer.has(Method::Password) || self.offer.has(Method::KeyboardInteractive)
            }
            other => self.offer.has(other.method()),
        }
    }

    fn choose(&mut self, conn: &mut ClientConnection) -> Result<(), UsageError> {
        self.doing = Doing::Nothing;
        loop {
            let next = self.candidates.iter().position(|c| !c.done && self.allowed(&c.way));
            let Some((way, candidate)) = next.and_then(|n| Some((n, self.candidates.get_mut(n)?))) else {
                break;
            };
            if self.offer == Offer::Unasked && candidate.way.takes_a_person() {
                // Nobody should type what the server does not want.
                self.send(conn, AuthMethod::None)?;
                self.doing = Doing::Learning;
                return Ok(());
            }
            candidate.used = candidate.used.saturating_add(1);
            let (used, chosen) = (candidate.used, candidate.way.clone());
            candidate.done = match chosen {
                Way::Password { tries } | Way::Interactive { tries } => used >= tries,
                _ => true,
            };
            match chosen {
                Way::None => {
                    self.send(conn, AuthMethod::None)?;
                    self.doing = Doing::Unproven;
                }
                Way::Key(pair) => self.offer_pair(conn, way, pair, None)?,
                Way::File { .. } => {
                    self.doing = Doing::File(way);
                    self.ask(way, Question::KeyFile);
                }
                Way::External { key, origin } => self.probe(conn, way, key, origin, None)?,
                Way::Password { .. } => {
                    self.doing = Doing::AskPassword(way);
                    self.ask(way, Question::Password { attempt: used });
                }
                Way::Interactive { .. } => self.converse(conn, way, None)?,
            }
            if !matches!(self.doing, Doing::Nothing) {
                return Ok(());
            }
        }
        let left = self.candidates.iter().filter(|c| !c.done).map(|c| c.way.method()).collect::<Vec<_>>();
        for method in left {
            self.record(method, None, Outcome::Skipped("the server does not offer it".to_owned()));
        }
        self.result.get_or_insert(Err(None));
        Ok(())
    }

    fn send(&mut self, conn: &mut ClientConnection, method: AuthMethod<'_>) -> Result<(), UsageError> {
        conn.authenticate(&self.user, method)
    }

    fn ask(&mut self, way: usize, question: Question) {
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

    // ---- keys ----

    /// The best algorithm for the key; and RSA with SHA-1, if the policy has it, for servers that do
    /// not say what they take. `None`, and a line in the report, if there is no algorithm at all.
    fn offered(
        &mut self,
        conn: &ClientConnection,
        way: usize,
        key: PublicKey,
        origin: Option<String>,
    ) -> Option<Offered> {
        let mut all = conn.signature_algorithms(&key).into_iter();
        let Some(alg) = all.next() else {
            let why = "neither side's policy has an algorithm for it (PubkeyAcceptedAlgorithms)";
            let key = (Some(&key), origin, None);
            self.record(Method::PublicKey, Some(key), Outcome::Skipped(why.to_owned()));
            return None;
        };
        let rest = all.filter(|a| *a == SigAlg::RsaSha1).collect();
        Some(Offered { way, key, pair: None, origin, alg, rest, locked: None })
    }

    fn offer_pair(
        &mut self,
        conn: &mut ClientConnection,
        way: usize,
        pair: Arc<KeyPair>,
        origin: Option<String>,
    ) -> Result<(), UsageError> {
        let Some(offered) = self.offered(conn, way, pair.public().clone(), origin) else { return Ok(()) };
        self.sign(conn, Offered { pair: Some(pair), ..offered })
    }

    fn probe(
        &mut self,
        conn: &mut ClientConnection,
        way: usize,
        key: PublicKey,
        origin: String,
        locked: Option<LockedKey>,
    ) -> Result<(), UsageError> {
        let Some(offered) = self.offered(conn, way, key, Some(origin)) else { return Ok(()) };
        let offered = Offered { locked, ..offered };
        self.send(conn, AuthMethod::ProbeKey { key: &offered.key, alg: offered.alg })?;
        self.doing = Doing::Probing(offered);
        Ok(())
    }

    /// Sends the signed request, or asks for the signature first.
    fn sign(&mut self, conn: &mut ClientConnection, offered: Offered) -> Result<(), UsageError> {
        match &offered.pair {
            Some(pair) if !self.sign_elsewhere => {
                self.send(conn, AuthMethod::PublicKey { key: pair, alg: offered.alg })?;
                self.doing = Doing::Signed(offered);
            }
            _ => {
                self.send(conn, AuthMethod::ExternalKey { key: &offered.key, alg: offered.alg })?;
                self.doing = Doing::Signing { offered, ticket: None };
            }
        }
        Ok(())
    }

    fn on_file(&mut self, conn: &mut ClientConnection, way: usize, answer: Answer) -> Result<(), UsageError> {
        let name = match self.candidates.get(way).map(|c| &c.way) {
            Some(Way::File { name }) => name.clone(),
            _ => String::new(),
        };
        let why = match answer {
            Answer::File(Ok(bytes)) => {
                let bytes = zeroize::Zeroizing::new(bytes);
                match self.load(conn, &bytes) {
                    Ok(pair) => {
                        self.offer_pair(conn, way, pair, Some(name))?;
                        return self.unless_waiting(conn);
                    }
                    Err(KeyError::Encrypted) => match PrivateKey::public_of(&bytes) {
                        // No passphrase for a key that the server would not take.
                        Ok(public) => {
                            let locked = LockedKey { bytes, public: public.clone() };
                            self.probe(conn, way, public, name, Some(locked))?;
                            return self.unless_waiting(conn);
                        }
                        Err(error) => format!("{error}"),
                    },
                    Err(error) => format!("{error}"),
                }
            }
            Answer::File(Err(why)) => why,
            _ => "it was not read".to_owned(),
        };
        self.record(Method::PublicKey, Some((None, Some(name), None)), Outcome::Skipped(why));
        self.choose(conn)
    }

    fn load(&self, conn: &ClientConnection, bytes: &[u8]) -> Result<Arc<KeyPair>, KeyError> {
        let key = PrivateKey::load(bytes, None)?;
        Ok(Arc::new(key.key_pair(conn.config().provider)?))
    }

    /// Goes on with the next way if the last one came to nothing before anything was sent.
    fn unless_waiting(&mut self, conn: &mut ClientConnection) -> Result<(), UsageError> {
        if matches!(self.doing, Doing::Nothing) { self.choose(conn) } else { Ok(()) }
    }

    fn on_key_accepted(&mut self, conn: &mut ClientConnection) -> Result<(), UsageError> {
        match mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Probing(offered) if offered.locked.is_some() => {
                self.ask_passphrase(offered, 1);
                Ok(())
            }
            Doing::Probing(offered) => self.sign(conn, offered),
            other => {
                self.doing = other;
                Ok(())
            }
        }
    }

    fn ask_passphrase(&mut self, offered: Offered, attempt: u32) {
        if let Some(key) = offered.locked.clone() {
            let way = offered.way;
            self.doing = Doing::Passphrase { offered, attempt };
            self.ask(way, Question::Passphrase { key, attempt });
        }
    }

    fn on_unlocked(
        &mut self,
        conn: &mut ClientConnection,
        offered: Offered,
        attempt: u32,
        answer: Answer,
    ) -> Result<(), UsageError> {
        let error = match answer {
            Answer::Unlocked(Ok(pair)) => {
                return self.sign(conn, Offered { pair: Some(pair), locked: None, ..offered });
            }
            Answer::Unlocked(Err(KeyError::WrongPassphrase)) if attempt < PASSPHRASES => {
                self.ask_passphrase(offered, attempt.saturating_add(1));
                return Ok(());
            }
            Answer::Unlocked(Err(error)) => error,
            // What the last one came to.
            _ if attempt > 1 => KeyError::WrongPassphrase,
            _ => KeyError::Encrypted,
        };
        let file = (None, offered.origin, None);
        self.record(Method::PublicKey, Some(file), Outcome::Skipped(format!("{error}")));
        self.choose(conn)
    }

    fn on_sign(&mut self, conn: &ClientConnection, new: SignTicket) {
        let Doing::Signing { offered, ticket } = &mut self.doing else { return };
        let Some(request) = conn.sign_request(&new) else { return };
        let (key, alg, message) = (request.key.clone(), request.alg, request.message.to_vec());
        let (way, pair) = (offered.way, offered.pair.clone());
        *ticket = Some(new);
        self.ask(way, Question::Sign { key, pair, alg, message });
    }

    fn on_signature(
        &mut self,
        conn: &mut ClientConnection,
        offered: Offered,
        ticket: SignTicket,
        answer: Answer,
    ) -> Result<(), UsageError> {
        let Answer::Signature(signature) = answer else {
            conn.cancel_signature(ticket)?;
            let why = Outcome::Skipped("the signer gave up".to_owned());
            self.record(
                Method::PublicKey,
                Some((Some(&offered.key), offered.origin, Some(offered.alg))),
                why,
            );
            return self.choose(conn);
        };
        conn.provide_signature(ticket, &signature)?;
        self.doing = Doing::Signed(offered);
        Ok(())
    }

    /// The server said no to a key: the same with another algorithm, or the next way.
    fn next_algorithm(
        &mut self,
        conn: &mut ClientConnection,
        offered: Offered,
        probing: bool,
        outcome: Outcome,
    ) -> Result<(), UsageError> {
        let rejected = outcome == Outcome::Rejected;
        let key = (Some(&offered.key), offered.origin.clone(), Some(offered.alg));
        self.record(Method::PublicKey, Some(key), outcome);
        let mut offered = offered;
        let Some(alg) = offered.rest.pop_front().filter(|_| rejected) else { return self.choose(conn) };
        offered.alg = alg;
        if !probing {
            return self.sign(conn, offered);
        }
        self.send(conn, AuthMethod::ProbeKey { key: &offered.key, alg })?;
        self.doing = Doing::Probing(offered);
        Ok(())
    }

    // ---- passwords ----

    fn on_password(
        &mut self,
        conn: &mut ClientConnection,
        way: usize,
        answer: Answer,
    ) -> Result<(), UsageError> {
        let Answer::Secret(password) = answer else {
            self.done_with(way);
            let why = Outcome::Skipped("no password was given".to_owned());
            self.record(Method::Password, None, why);
            return self.choose(conn);
        };
        if !self.offer.has(Method::Password) {
            return self.converse(conn, way, Some(password));
        }
        self.send(conn, AuthMethod::Password(&password))?;
        self.doing = Doing::Password { way, password };
        Ok(())
    }

    /// RFC 4252 §8: the same message says that the password has expired, and that the new one will not
    /// do, and why.
    fn on_password_expired(&mut self, conn: &mut ClientConnection, text: SshStr<'_>) {
        let (way, old, refused) = match mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Password { way, password } => (way, password, 0),
            Doing::Change { way, old, refused } => (way, old, refused),
            other => {
                self.doing = other;
                return;
            }
        };
        // Escaped as every text of the server, and its lines stay lines.
        let text = text.as_bytes();
        let text = SshStr::new(text.get(..MAX_PROMPT).unwrap_or(text)).escaped(true).to_string();
        if refused >= NEW_PASSWORDS {
            let done = self.on_new_password(conn, way, old, (refused, text), Answer::No);
            return self.usage(done);
        }
        self.ask(way, Question::NewPassword { text: text.clone() });
        self.doing = Doing::AskNewPassword { way, old, refused, text };
    }

    fn on_new_password(
        &mut self,
        conn: &mut ClientConnection,
        way: usize,
        old: Password,
        (refused, text): (u32, String),
        answer: Answer,
    ) -> Result<(), UsageError> {
        let Answer::Secret(new) = answer else {
            let what = if refused == 0 { "the password has expired" } else { "the new password was refused" };
            let why = if text.is_empty() { what.to_owned() } else { format!("{what}: {}", one_line(&text)) };
            self.record(Method::Password, None, Outcome::Skipped(why));
            return self.choose(conn);
        };
        self.send(conn, AuthMethod::PasswordChange { old: &old, new: &new })?;
        self.doing = Doing::Change { way, old, refused: refused.saturating_add(1) };
        Ok(())
    }

    // ---- keyboard-interactive ----

    fn converse(
        &mut self,
        conn: &mut ClientConnection,
        way: usize,
        password: Option<Password>,
    ) -> Result<(), UsageError> {
        self.send(conn, AuthMethod::KeyboardInteractive)?;
        self.doing = Doing::Interactive(Conversation { way, password, asked: false, given_up: false });
        Ok(())
    }

    fn on_prompts(
        &mut self,
        conn: &mut ClientConnection,
        ticket: PromptTicket,
        prompts: &UserauthInfoRequest<'_>,
    ) -> Result<(), UsageError> {
        let mut talk = match mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Interactive(talk) => talk,
            other => {
                self.doing = other;
                return Ok(());
            }
        };
        talk.asked = true;
        let questions: Vec<Prompt> =
            prompts.prompts().map(|(prompt, echo)| Prompt { prompt: prompt.to_text(), echo }).collect();
        let count = questions.len();
        if let Some(password) = &talk.password {
            // A server that asks one hidden question most likely asks for the password.
            let answers = match &questions[..] {
                [] => Some(Vec::new()),
                [only] if !only.echo => Some(alloc::vec![Password::new(password.expose())]),
                _ => None,
            };
            let answer = answers.map_or(Answer::No, Answer::Texts);
            return self.on_answers(conn, talk, (ticket, count), answer);
        }
        let (name, instruction) = (prompts.name.to_text(), prompts.instruction.to_text());
        self.ask(talk.way, Question::Prompts(Questions { name, instruction, questions }));
        self.doing = Doing::AskAnswers { talk, ticket, count };
        Ok(())
    }

    fn on_answers(
        &mut self,
        conn: &mut ClientConnection,
        mut talk: Conversation,
        (ticket, count): (PromptTicket, usize),
        answer: Answer,
    ) -> Result<(), UsageError> {
        let answers = match answer {
            Answer::Texts(texts) if texts.len() == count => Some(texts),
            _ => None,
        };
        talk.given_up = answers.is_none();
        // Empty answers end the round; the server says no.
        let answers = answers.unwrap_or_else(|| (0..count).map(|_| Password::new("")).collect());
        conn.answer_prompts(ticket, &answers)?;
        self.doing = Doing::Interactive(talk);
        Ok(())
    }

    // ---- what the server says ----

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
            Doing::Password { way, password } => {
                self.record(Method::Password, None, outcome);
                let answered = self.candidates.iter().any(|c| matches!(c.way, Way::Interactive { .. }));
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
            Doing::Signed(Offered { key, origin, alg, .. }) => {
                self.record(Method::PublicKey, Some((Some(&key), origin, Some(alg))), Outcome::Accepted);
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

    fn record(
        &mut self,
        method: Method,
        key: Option<(Option<&PublicKey>, Option<String>, Option<SigAlg>)>,
        outcome: Outcome,
    ) {
        let (key, origin, algorithm) = key.unwrap_or_default();
        let sent = matches!(outcome, Outcome::Rejected | Outcome::Partial);
        self.attempts.push(Attempt {
            method,
            key: key.map(|k| k.fingerprint(HashAlg::Sha256)),
            origin,
            algorithm,
            outcome,
            remaining: if sent { self.offer.named() } else { Vec::new() },
        });
    }
}

/// For a report, in which an attempt is one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
