use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use konko_core::client::{AuthMethod, Password, SignRequest};
use konko_core::crypto::{HashAlg, SigAlg};
use konko_core::keys::{KeyError, KeyPair, MAX_FILE, PrivateKey, PublicKey};
use konko_core::wire::SshStr;
use zeroize::Zeroizing;

use crate::client::Client;
use crate::error::{Attempt, AuthFailure, Error, ErrorKind, Outcome};
use crate::notice::Notice;
use crate::shared::Deadline;
use crate::state::AuthStep;

/// What somebody is asked for when a secret is needed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum PasswordPrompt<'p> {
    /// The user's password.
    Password {
        /// The user name.
        user: &'p [u8],
        /// From 1.
        attempt: u32,
    },
    /// The passphrase of a key file.
    Passphrase {
        /// The file.
        file: &'p Path,
        /// From 1.
        attempt: u32,
    },
    /// The password was right but has expired; a new one. Asked again when the server does not like
    /// the new one.
    NewPassword {
        /// The server's text, escaped: that the password has expired, or what is wrong with the last
        /// new one.
        text: &'p str,
    },
}

/// One question of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The text; from the peer, as it is. Escape it before it reaches a terminal.
    pub prompt: String,
    /// Whether the answer may be shown while it is typed.
    pub echo: bool,
}

/// One round of questions (RFC 4256 §3.2). The texts are from the peer, as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Questions {
    /// Title; may be empty.
    pub name: String,
    /// What to do; may be empty.
    pub instruction: String,
    /// The questions; may be none.
    pub questions: Vec<Question>,
}

type Ask<'a> = Box<dyn FnMut(PasswordPrompt<'_>) -> Option<Password> + 'a>;
type Respond<'a> = Box<dyn FnMut(&Questions) -> Option<Vec<String>> + 'a>;
type Sign<'a> = Box<dyn FnMut(&SignRequest<'_>) -> Option<Vec<u8>> + 'a>;

/// How to prove who the user is: what to try, in order.
///
/// What the server does not take is skipped; a server that does not say what it takes is tried with all
/// of them. After a partial success the rest goes on, so a chain such as key and then password is just
/// both of them.
#[derive(Default)]
pub struct Auth<'a> {
    candidates: Vec<Candidate<'a>>,
}

struct Candidate<'a> {
    how: How<'a>,
    done: bool,
}

enum How<'a> {
    None,
    Key(Arc<KeyPair>),
    File(PathBuf, Ask<'a>),
    External(PublicKey, Sign<'a>),
    Password { tries: u32, used: u32, ask: Ask<'a> },
    Interactive { tries: u32, used: u32, respond: Respond<'a> },
}

/// Passphrases that are asked for, a file: OpenSSH `NumberOfPasswordPrompts`.
const PASSPHRASES: u32 = 3;
/// New passwords that a server may refuse. A person gives up before; a program that always says the same
/// must not run into the core's limit of requests.
const NEW_PASSWORDS: u32 = 16;

impl<'a> Auth<'a> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, how: How<'a>) -> Self {
        self.candidates.push(Candidate { how, done: false });
        self
    }

    /// No proof at all. Some devices let everybody in and ask later.
    #[must_use]
    pub fn none(self) -> Self {
        self.with(How::None)
    }

    /// A password. It also answers a keyboard-interactive server that asks one hidden question.
    #[must_use]
    pub fn password(self, password: impl Into<Vec<u8>>) -> Self {
        let mut password = Some(Password::new(password));
        self.passwords(1, move |prompt| match prompt {
            PasswordPrompt::Password { .. } => password.take(),
            _ => None,
        })
    }

    /// Asks for passwords, up to `tries` times, and for a new one if it has expired, until the server
    /// likes one. `None` gives up.
    #[must_use]
    pub fn passwords(self, tries: u32, ask: impl FnMut(PasswordPrompt<'_>) -> Option<Password> + 'a) -> Self {
        self.with(How::Password { tries, used: 0, ask: Box::new(ask) })
    }

    /// A key.
    #[must_use]
    pub fn key(self, key: Arc<KeyPair>) -> Self {
        self.with(How::Key(key))
    }

    /// A key file without a passphrase. One that cannot be read is skipped.
    #[must_use]
    pub fn key_file(self, path: impl Into<PathBuf>) -> Self {
        self.key_file_with(path, |_| None)
    }

    /// A key file. If it is encrypted and the server would take it, its passphrase is asked for.
    #[must_use]
    pub fn key_file_with(
        self,
        path: impl Into<PathBuf>,
        ask: impl FnMut(PasswordPrompt<'_>) -> Option<Password> + 'a,
    ) -> Self {
        self.with(How::File(path.into(), Box::new(ask)))
    }

    /// A key that is elsewhere. The server is asked first whether it would take it; then `sign`
    /// returns an SSH signature blob, or `None` to give up.
    #[must_use]
    pub fn external(
        self,
        key: PublicKey,
        sign: impl FnMut(&SignRequest<'_>) -> Option<Vec<u8>> + 'a,
    ) -> Self {
        self.with(How::External(key, Box::new(sign)))
    }

    /// Answers to whatever the server asks, up to `tries` times. `None` gives up.
    #[must_use]
    pub fn interactive(
        self,
        tries: u32,
        respond: impl FnMut(&Questions) -> Option<Vec<String>> + 'a,
    ) -> Self {
        self.with(How::Interactive { tries, used: 0, respond: Box::new(respond) })
    }
}

impl fmt::Debug for Auth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.candidates.iter().map(|c| c.how.method())).finish()
    }
}

impl How<'_> {
    fn method(&self) -> &'static str {
        match self {
            How::None => "none",
            How::Key(_) | How::File(..) | How::External(..) => "publickey",
            How::Password { .. } => "password",
            How::Interactive { .. } => "keyboard-interactive",
        }
    }

    /// Somebody may have to type something for it.
    fn takes_a_person(&self) -> bool {
        matches!(self, How::Password { .. } | How::Interactive { .. })
    }
}

/// How the user came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The method that completed it.
    pub method: &'static str,
    /// The server asked for no proof at all. Be careful what you tell it next.
    pub trivial: bool,
    /// All that was tried, in order.
    pub attempts: Vec<Attempt>,
}

impl Client {
    /// Logs the user in.
    ///
    /// # Errors
    /// `Auth` with each attempt, if nothing helps; the connection lives on then, unless the server
    /// has had enough.
    pub fn login(&self, user: impl AsRef<[u8]>, auth: Auth<'_>) -> Result<Login, Error> {
        let handle = self.handle();
        handle.shared.with(|state| {
            state.auth.retain(|step| matches!(step, AuthStep::Authenticated { .. }));
        });
        let mut login = Running {
            client: self,
            user: user.as_ref(),
            deadline: Deadline::after(self.auth_timeout),
            offer: Offer::Unasked,
            interactive: auth.candidates.iter().any(|c| matches!(c.how, How::Interactive { .. })),
            attempts: Vec::new(),
        };
        let result = login.run(auth);
        login.banners();
        match result {
            Ok(Some((method, trivial))) => Ok(Login { method, trivial, attempts: login.attempts }),
            Ok(None) => Err(login.failed(None)),
            Err(error) if login.attempts.is_empty() || error.is_timeout() => Err(error),
            Err(error) => Err(login.failed(Some(error))),
        }
    }
}

/// What one attempt came to.
enum Verdict {
    In(&'static str, bool),
    Out(Outcome),
}

/// A login in progress.
struct Running<'l> {
    client: &'l Client,
    user: &'l [u8],
    deadline: Deadline,
    offer: Offer,
    /// Somebody answers questions, so that passwords need not.
    interactive: bool,
    attempts: Vec<Attempt>,
}

/// What the server takes.
enum Offer {
    /// Nothing was asked yet.
    Unasked,
    /// It does not say: anything may be tried.
    Any,
    /// These methods.
    These(Vec<String>),
}

impl Offer {
    fn of(methods: Option<Vec<String>>) -> Self {
        methods.map_or(Offer::Any, Offer::These)
    }

    fn has(&self, method: &str) -> bool {
        match self {
            Offer::Unasked | Offer::Any => true,
            Offer::These(methods) => methods.iter().any(|m| m == method),
        }
    }

    fn named(&self) -> Vec<String> {
        match self {
            Offer::Unasked | Offer::Any => Vec::new(),
            Offer::These(methods) => methods.clone(),
        }
    }
}

impl Running<'_> {
    fn run(&mut self, auth: Auth<'_>) -> Result<Option<(&'static str, bool)>, Error> {
        let mut candidates = auth.candidates;
        loop {
            let next = candidates.iter_mut().find(|c| !c.done && self.allowed(&c.how));
            let Some(candidate) = next else { break };
            if matches!(self.offer, Offer::Unasked) && candidate.how.takes_a_person() {
                // Nobody should type what the server does not want.
                if let Verdict::In(method, trivial) = self.send(AuthMethod::None)? {
                    return Ok(Some((method, trivial)));
                }
                continue;
            }
            if let Some(login) = self.attempt(candidate)? {
                return Ok(Some(login));
            }
        }
        for candidate in candidates.iter().filter(|c| !c.done) {
            let why = Outcome::Skipped("the server does not offer it".into());
            self.record(candidate.how.method(), None, None, None, why);
        }
        Ok(None)
    }

    fn allowed(&self, how: &How<'_>) -> bool {
        match how {
            How::None => matches!(self.offer, Offer::Unasked),
            How::Password { .. } => self.offer.has("password") || self.offer.has("keyboard-interactive"),
            other => self.offer.has(other.method()),
        }
    }

    fn attempt(&mut self, candidate: &mut Candidate<'_>) -> Result<Option<(&'static str, bool)>, Error> {
        candidate.done = true;
        let method = candidate.how.method();
        let verdict = match &mut candidate.how {
            How::None => self.send(AuthMethod::None)?,
            How::Key(key) => return self.with_key(key, None),
            How::File(path, ask) => return self.with_file(path, ask),
            How::External(key, sign) => return self.with_external(key, sign),
            How::Password { tries, used, ask } => {
                *used += 1;
                candidate.done = used >= tries;
                let prompt = PasswordPrompt::Password { user: self.user, attempt: *used };
                match self.person(|| ask(prompt)) {
                    Some(password) => self.with_password(&password, ask)?,
                    None => {
                        candidate.done = true;
                        Verdict::Out(Outcome::Skipped("no password was given".into()))
                    }
                }
            }
            How::Interactive { tries, used, respond } => {
                *used += 1;
                candidate.done = used >= tries;
                let verdict = self.send(AuthMethod::KeyboardInteractive)?;
                // A server that asks nothing will not ask the next time.
                candidate.done |= matches!(verdict, Verdict::Out(Outcome::Rejected));
                self.converse(verdict, respond)?
            }
        };
        Ok(self.settle(method, None, None, None, verdict))
    }

    // ---- the methods ----

    fn with_key(
        &mut self,
        key: &Arc<KeyPair>,
        origin: Option<&str>,
    ) -> Result<Option<(&'static str, bool)>, Error> {
        let public = key.public().clone();
        for alg in self.algorithms(&public, origin) {
            let verdict = self.send(AuthMethod::PublicKey { key, alg })?;
            let rejected = matches!(verdict, Verdict::Out(Outcome::Rejected));
            let login = self.settle("publickey", Some(&public), origin, Some(alg), verdict);
            if login.is_some() || !rejected {
                return Ok(login);
            }
        }
        Ok(None)
    }

    fn with_file(&mut self, path: &Path, ask: &mut Ask<'_>) -> Result<Option<(&'static str, bool)>, Error> {
        let origin = path.display().to_string();
        let skip = |why: String| Outcome::Skipped(why);
        let bytes = match read_key(path) {
            Ok(bytes) => bytes,
            Err(why) => {
                self.record("publickey", None, Some(&origin), None, skip(why));
                return Ok(None);
            }
        };
        let mut loaded = PrivateKey::load(&bytes, None);
        if matches!(loaded, Err(KeyError::Encrypted)) {
            // No passphrase for a key that the server would not take.
            let Ok(public) = PrivateKey::public_of(&bytes) else { return Ok(None) };
            if !self.probe(&public, &origin)? {
                return Ok(None);
            }
            for attempt in 1..=PASSPHRASES {
                let prompt = PasswordPrompt::Passphrase { file: path, attempt };
                let Some(passphrase) = self.person(|| ask(prompt)) else { break };
                loaded = PrivateKey::load(&bytes, Some(passphrase.expose()));
                if !matches!(loaded, Err(KeyError::WrongPassphrase)) {
                    break;
                }
            }
        }
        let provider = self.client.handle().shared.lock().conn.config().provider;
        let pair = loaded.and_then(|key| key.key_pair(provider).map_err(KeyError::from));
        match pair {
            Ok(pair) => self.with_key(&Arc::new(pair), Some(&origin)),
            Err(e) => {
                self.record("publickey", None, Some(&origin), None, skip(e.to_string()));
                Ok(None)
            }
        }
    }

    fn with_external(
        &mut self,
        key: &PublicKey,
        sign: &mut Sign<'_>,
    ) -> Result<Option<(&'static str, bool)>, Error> {
        if !self.probe(key, "external")? {
            return Ok(None);
        }
        for alg in self.algorithms(key, Some("external")) {
            self.request(AuthMethod::ExternalKey { key, alg })?;
            let AuthStep::Sign(ticket) = self.next()? else { return Ok(None) };
            let shared = &self.client.handle().shared;
            let request = shared
                .lock()
                .conn
                .client()
                .sign_request(&ticket)
                .map(|r| (r.key.clone(), r.alg, r.message.to_vec()));
            let signature = request.and_then(|(key, alg, message)| {
                self.person(|| sign(&SignRequest { key: &key, alg, message: &message }))
            });
            let Some(signature) = signature else {
                let _ = shared.with(|state| state.conn.client().cancel_signature(ticket));
                let why = Outcome::Skipped("the signer gave up".into());
                self.record("publickey", Some(key), Some("external"), Some(alg), why);
                return Ok(None);
            };
            let sent = shared.with(|state| state.conn.client().provide_signature(ticket, &signature));
            sent.map_err(|e| shared.error(ErrorKind::Usage(e)))?;
            let verdict = self.verdict()?;
            let login = self.settle("publickey", Some(key), Some("external"), Some(alg), verdict);
            if login.is_some() {
                return Ok(login);
            }
        }
        Ok(None)
    }

    /// Whether the server would take a key.
    fn probe(&mut self, key: &PublicKey, origin: &str) -> Result<bool, Error> {
        for alg in self.algorithms(key, Some(origin)) {
            self.request(AuthMethod::ProbeKey { key, alg })?;
            match self.next()? {
                AuthStep::KeyAccepted => return Ok(true),
                AuthStep::Needed { methods, .. } => self.offer = Offer::of(methods),
                _ => {}
            }
            self.record("publickey", Some(key), Some(origin), Some(alg), Outcome::Rejected);
        }
        Ok(false)
    }

    /// The best algorithm for the key; and RSA with SHA-1, if the policy has it, for servers that do
    /// not say what they take.
    fn algorithms(&mut self, key: &PublicKey, origin: Option<&str>) -> Vec<SigAlg> {
        let all = self.client.handle().shared.lock().conn.client().signature_algorithms(key);
        if all.is_empty() {
            let why = "neither side's policy has an algorithm for it (PubkeyAcceptedAlgorithms)";
            self.record("publickey", Some(key), origin, None, Outcome::Skipped(why.into()));
        }
        let best = all.first().copied();
        best.into_iter().chain(all.iter().copied().skip(1).filter(|a| *a == SigAlg::RsaSha1)).collect()
    }

    fn with_password(&mut self, password: &Password, ask: &mut Ask<'_>) -> Result<Verdict, Error> {
        if !self.offer.has("password") {
            return self.with_answer(password);
        }
        self.request(AuthMethod::Password(password))?;
        let mut step = self.next()?;
        let mut refused = 0;
        // RFC 4252 §8: the same message says that the new password will not do, and why.
        while let AuthStep::PasswordExpired(text) = step {
            let prompt = PasswordPrompt::NewPassword { text: &text };
            let new = if refused < NEW_PASSWORDS { self.person(|| ask(prompt)) } else { None };
            let Some(new) = new else {
                let what =
                    if refused == 0 { "the password has expired" } else { "the new password was refused" };
                let why = if text.is_empty() { what.to_owned() } else { format!("{what}: {text}") };
                return Ok(Verdict::Out(Outcome::Skipped(why)));
            };
            self.request(AuthMethod::PasswordChange { old: password, new: &new })?;
            step = self.next()?;
            refused += 1;
        }
        let verdict = self.judge(step);
        let rejected = matches!(verdict, Verdict::Out(Outcome::Rejected));
        if rejected && matches!(self.offer, Offer::Any) && !self.interactive {
            // It may take the password in this way only, and does not say so.
            self.settle("password", None, None, None, verdict);
            return self.with_answer(password);
        }
        Ok(verdict)
    }

    /// A server that asks one hidden question most likely asks for the password (U-18).
    fn with_answer(&mut self, password: &Password) -> Result<Verdict, Error> {
        let answer = Zeroizing::new(String::from_utf8_lossy(password.expose()).into_owned());
        let verdict = self.send(AuthMethod::KeyboardInteractive)?;
        self.converse(verdict, &mut |q: &Questions| match &q.questions[..] {
            [] => Some(Vec::new()),
            [only] if !only.echo => Some(vec![String::clone(&answer)]),
            _ => None,
        })
    }

    /// Answers rounds of questions until the server has decided. `first` is what came of the start.
    fn converse(
        &mut self,
        mut verdict: Verdict,
        respond: &mut dyn FnMut(&Questions) -> Option<Vec<String>>,
    ) -> Result<Verdict, Error> {
        let shared = Arc::clone(&self.client.handle().shared);
        loop {
            let step = shared.with(|state| match state.auth.front() {
                Some(AuthStep::Prompts { .. }) => state.auth.pop_front(),
                _ => None,
            });
            let Some(AuthStep::Prompts { ticket, name, instruction, prompts }) = step else {
                return Ok(verdict);
            };
            let count = prompts.len();
            let questions = prompts.into_iter().map(|(prompt, echo)| Question { prompt, echo }).collect();
            let questions = Questions { name, instruction, questions };
            let answers = self.person(|| respond(&questions)).filter(|a| a.len() == count);
            let given_up = answers.is_none();
            // Empty answers end the round; the server says no.
            let answers = Zeroizing::new(answers.unwrap_or_else(|| vec![String::new(); count]));
            let texts: Vec<&str> = answers.iter().map(String::as_str).collect();
            shared
                .with(|state| state.conn.client().answer_prompts(ticket, &texts))
                .map_err(|e| shared.error(ErrorKind::Usage(e)))?;
            verdict = self.verdict()?;
            if given_up && matches!(verdict, Verdict::Out(Outcome::Rejected)) {
                return Ok(Verdict::Out(Outcome::Skipped("the questions were not answered".into())));
            }
        }
    }

    // ---- the exchange ----

    fn request(&self, method: AuthMethod<'_>) -> Result<(), Error> {
        let shared = &self.client.handle().shared;
        shared.with(|state| match &state.ended {
            Some(error) => Err(error.clone()),
            None => state
                .conn
                .client()
                .authenticate(self.user, method)
                .map_err(|e| state.error(ErrorKind::Usage(e))),
        })
    }

    fn send(&mut self, method: AuthMethod<'_>) -> Result<Verdict, Error> {
        self.request(method)?;
        self.verdict()
    }

    fn next(&mut self) -> Result<AuthStep, Error> {
        let shared = &self.client.handle().shared;
        let step =
            shared.wait(self.deadline, "the answer to the authentication request", |s| s.auth.pop_front());
        self.banners();
        step
    }

    fn verdict(&mut self) -> Result<Verdict, Error> {
        let step = self.next()?;
        Ok(self.judge(step))
    }

    fn judge(&mut self, step: AuthStep) -> Verdict {
        match step {
            AuthStep::Authenticated { method, trivial } => Verdict::In(method.name(), trivial),
            AuthStep::Needed { methods, partial } => {
                self.offer = Offer::of(methods);
                Verdict::Out(if partial { Outcome::Partial } else { Outcome::Rejected })
            }
            prompts @ AuthStep::Prompts { .. } => {
                // Back to where `converse` finds it.
                self.client.handle().shared.lock().auth.push_front(prompts);
                Verdict::Out(Outcome::Partial)
            }
            _ => Verdict::Out(Outcome::Rejected),
        }
    }

    fn banners(&self) {
        let handle = self.client.handle();
        let banners = std::mem::take(&mut handle.shared.lock().banners);
        if let Some(show) = &self.client.on_banner {
            banners.iter().for_each(|text| show(SshStr::new(text)));
        }
    }

    /// Asks a person, whose time does not count.
    fn person<T>(&mut self, ask: impl FnOnce() -> T) -> T {
        let before = Instant::now();
        let answer = ask();
        self.deadline.extend(before.elapsed());
        answer
    }

    fn settle(
        &mut self,
        method: &'static str,
        key: Option<&PublicKey>,
        origin: Option<&str>,
        algorithm: Option<SigAlg>,
        verdict: Verdict,
    ) -> Option<(&'static str, bool)> {
        let (outcome, login) = match verdict {
            Verdict::In(method, trivial) => (Outcome::Accepted, Some((method, trivial))),
            Verdict::Out(outcome) => (outcome, None),
        };
        self.record(method, key, origin, algorithm, outcome);
        login
    }

    fn record(
        &mut self,
        method: &'static str,
        key: Option<&PublicKey>,
        origin: Option<&str>,
        algorithm: Option<SigAlg>,
        outcome: Outcome,
    ) {
        let sent = matches!(outcome, Outcome::Rejected | Outcome::Partial);
        let attempt = Attempt {
            method,
            key: key.map(|k| k.fingerprint(HashAlg::Sha256)),
            origin: origin.map(str::to_owned),
            algorithm,
            outcome,
            remaining: if sent { self.offer.named() } else { Vec::new() },
        };
        self.client.handle().shared.notice(Notice::Auth(attempt.clone()));
        self.attempts.push(attempt);
    }

    fn failed(&self, ended: Option<Error>) -> Error {
        let failure = AuthFailure {
            user: self.user.to_owned(),
            attempts: self.attempts.clone(),
            remaining: self.offer.named(),
            ended: ended.map(|e| e.to_string()),
        };
        self.client.handle().shared.error(ErrorKind::Auth(Box::new(failure)))
    }
}

fn read_key(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let read = || {
        let file = fs::File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::other("not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|e| e.to_string())
}
