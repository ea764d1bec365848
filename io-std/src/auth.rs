use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use konko_core::client::{Password, SignRequest};
use konko_core::crypto::Provider;
use konko_core::keys::{KeyPair, MAX_FILE, PublicKey};
use konko_core::login::{Answer, Asked, LoggedIn, Login, LoginMethod, Question, Questions};
use konko_core::wire::SshStr;

use crate::agent::{Agent, AgentSocket};
use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::key_file::{certificate_path, public_path};
use crate::notice::Notice;
use crate::shared::Deadline;

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
        /// The server's text, escaped but for ends of lines and tabs: that the password has expired, or
        /// what is wrong with the last new one.
        text: &'p str,
    },
}

type Ask<'a> = Box<dyn FnMut(PasswordPrompt<'_>) -> Option<Password> + 'a>;
type Respond<'a> = Box<dyn FnMut(&Questions) -> Option<Vec<Password>> + 'a>;
type Sign<'a> = Box<dyn FnMut(&SignRequest<'_>) -> Option<Vec<u8>> + 'a>;

/// How to prove who the user is: what to try, in order.
///
/// What the server does not take is skipped; a server that does not say what it takes is tried with all
/// of them. After a partial success the rest goes on, so a chain such as key and then password is just
/// both of them. See [`konko_core::login`].
#[derive(Default)]
pub struct Auth<'a> {
    ways: Vec<(LoginMethod, Asking<'a>)>,
    identities_only: bool,
    attempt_limit: Option<Option<u32>>,
}

/// Who answers what a way asks.
enum Asking<'a> {
    Nobody,
    /// A private key, the file of a certificate for it, and who knows the passphrase.
    File(PathBuf, Option<PathBuf>, Ask<'a>),
    Signer(Sign<'a>),
    /// The connection is made when it is needed, once.
    Agent(AgentSocket, Option<Agent>),
    Password(Ask<'a>),
    Prompts(Respond<'a>),
}

impl<'a> Auth<'a> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, way: LoginMethod, asking: Asking<'a>) -> Self {
        self.ways.push((way, asking));
        self
    }

    /// No proof at all. Some devices let everybody in and ask later.
    #[must_use]
    pub fn none(self) -> Self {
        self.with(LoginMethod::None, Asking::Nobody)
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
        self.with(LoginMethod::Password { tries }, Asking::Password(Box::new(ask)))
    }

    /// A key.
    #[must_use]
    pub fn key(self, key: Arc<KeyPair>) -> Self {
        self.with(LoginMethod::Key(key), Asking::Nobody)
    }

    /// A key file without a passphrase. One that cannot be read is skipped.
    #[must_use]
    pub fn key_file(self, path: impl Into<PathBuf>) -> Self {
        self.key_file_with(path, |_| None)
    }

    /// A key file. If it is encrypted and the server would take it, its passphrase is asked for. If the server would not, and a
    /// certificate for it stands in the file of the same name with `-cert.pub` behind it, the key is offered under that.
    #[must_use]
    pub fn key_file_with(
        self,
        path: impl Into<PathBuf>,
        ask: impl FnMut(PasswordPrompt<'_>) -> Option<Password> + 'a,
    ) -> Self {
        let path = path.into();
        let name = path.display().to_string();
        let beside = certificate_path(&path);
        self.with(LoginMethod::File { name }, Asking::File(path, Some(beside), Box::new(ask)))
    }

    /// The same without a certificate, whatever stands beside the file.
    #[must_use]
    pub fn plain_key_file_with(
        self,
        path: impl Into<PathBuf>,
        ask: impl FnMut(PasswordPrompt<'_>) -> Option<Password> + 'a,
    ) -> Self {
        let path = path.into();
        let name = path.display().to_string();
        self.with(LoginMethod::File { name }, Asking::File(path, None, Box::new(ask)))
    }

    /// A key file, offered under the certificate in another file alone (`CertificateFile` of ssh_config(5)).
    #[must_use]
    pub fn certified_key_file_with(
        self,
        path: impl Into<PathBuf>,
        certificate: impl Into<PathBuf>,
        ask: impl FnMut(PasswordPrompt<'_>) -> Option<Password> + 'a,
    ) -> Self {
        let (path, certificate) = (path.into(), certificate.into());
        let name = certificate.display().to_string();
        let asking = Asking::File(path, Some(certificate), Box::new(ask));
        self.with(LoginMethod::CertifiedFile { name }, asking)
    }

    /// The keys in an agent, certificates among them. Put it in front of the key files: keys of the agent that files
    /// name come first, and such a file need not be unlocked. See [`konko_core::login`] for the order.
    ///
    /// ```no_run
    /// use konko::{AgentSocket, Auth};
    ///
    /// let mut auth = Auth::new();
    /// if let Some(agent) = AgentSocket::from_env() {
    ///     auth = auth.agent(agent);
    /// }
    /// let auth = auth.key_file("/home/alice/.ssh/id_ed25519");
    /// # drop(auth);
    /// ```
    #[must_use]
    pub fn agent(self, agent: impl Into<AgentSocket>) -> Self {
        let agent = agent.into();
        let name = agent.path().display().to_string();
        self.with(LoginMethod::Agent { name }, Asking::Agent(agent, None))
    }

    /// Of the keys in an agent, only those that key files name as well are used (`IdentitiesOnly`). A file may then be
    /// the public key, `id_ed25519.pub`, alone.
    #[must_use]
    pub fn identities_only(mut self) -> Self {
        self.identities_only = true;
        self
    }

    /// How many failures the server takes before it ends the connection: 6, as OpenSSH's `MaxAuthTries`. See
    /// [`Login::attempt_limit`].
    #[must_use]
    pub fn attempt_limit(mut self, failures: Option<u32>) -> Self {
        self.attempt_limit = Some(failures);
        self
    }

    /// This host vouches for its user `user` (`hostbased`, RFC 4252 §9), with one of its own keys, which only root may
    /// read as a rule; `host` is its name as the server knows its key by, mostly the fully qualified one. OpenSSH's client
    /// puts a dot at its end, and its server takes it with and without.
    #[must_use]
    pub fn host_based(self, key: Arc<KeyPair>, host: impl Into<Vec<u8>>, user: impl Into<Vec<u8>>) -> Self {
        let (host, user) = (host.into(), user.into());
        self.with(LoginMethod::HostBased { key, host, user }, Asking::Nobody)
    }

    /// A key that is elsewhere. The server is asked first whether it would take it; then `sign`
    /// returns an SSH signature blob, or `None` to give up.
    #[must_use]
    pub fn external(
        self,
        key: PublicKey,
        sign: impl FnMut(&SignRequest<'_>) -> Option<Vec<u8>> + 'a,
    ) -> Self {
        self.with(LoginMethod::External { key, origin: "external".into() }, Asking::Signer(Box::new(sign)))
    }

    /// Answers to whatever the server asks, up to `tries` times. They should be UTF-8 (RFC 4256 §3.4), and are
    /// sent as they are. `None` gives up.
    #[must_use]
    pub fn interactive(
        self,
        tries: u32,
        respond: impl FnMut(&Questions) -> Option<Vec<Password>> + 'a,
    ) -> Self {
        self.with(LoginMethod::Interactive { tries }, Asking::Prompts(Box::new(respond)))
    }

    /// The login of this user, and who answers its questions, for whoever drives a connection of the core without
    /// [`Client`]: an event loop, an async runtime. `provider` is for keys that a passphrase unlocks.
    pub fn login(self, user: impl Into<Vec<u8>>, provider: &'static dyn Provider) -> (Login, Answers<'a>) {
        let (ways, askings): (Vec<_>, Vec<_>) = self.ways.into_iter().unzip();
        let user = user.into();
        let mut login = Login::new(user.clone(), ways);
        if self.identities_only {
            login = login.identities_only();
        }
        if let Some(failures) = self.attempt_limit {
            login = login.attempt_limit(failures);
        }
        (login, Answers { user, provider, askings })
    }
}

/// Who answers what a login asks; see [`Auth::login`].
pub struct Answers<'a> {
    user: Vec<u8>,
    provider: &'static dyn Provider,
    askings: Vec<Asking<'a>>,
}

impl Answers<'_> {
    /// What somebody says to a question of the login; this may take as long as a person does.
    pub fn answer(&mut self, Asked { way, question }: Asked) -> Answer {
        let (user, Some(asking)) = (&self.user, self.askings.get_mut(way)) else { return Answer::No };
        let answer = match (question, asking) {
            (Question::KeyFile, Asking::File(path, ..)) => Some(Answer::File(read_key(path))),
            (Question::PublicKeyFile, Asking::File(path, ..)) => {
                Some(Answer::File(read_key(&public_path(path))))
            }
            (Question::CertificateFile, Asking::File(_, Some(path), _)) => match path.try_exists() {
                Ok(false) => None,
                _ => Some(Answer::File(read_key(path))),
            },
            (Question::Agent { send }, Asking::Agent(socket, agent)) => {
                Some(Answer::Agent(exchange(socket, agent, &send).map_err(|e| e.to_string())))
            }
            (Question::Passphrase { key, attempt }, Asking::File(file, _, ask)) => {
                ask(PasswordPrompt::Passphrase { file, attempt })
                    .map(|passphrase| Answer::Unlocked(key.unlock(&passphrase, self.provider)))
            }
            (Question::Sign { key, algorithm, message, .. }, Asking::Signer(sign)) => {
                sign(&SignRequest { key: &key, algorithm, message: &message }).map(Answer::Signature)
            }
            (Question::Password { attempt }, Asking::Password(ask)) => {
                ask(PasswordPrompt::Password { user, attempt }).map(Answer::Secret)
            }
            (Question::NewPassword { text }, Asking::Password(ask)) => {
                ask(PasswordPrompt::NewPassword { text: &text }).map(Answer::Secret)
            }
            (Question::Prompts(questions), Asking::Prompts(respond)) => {
                respond(&questions).map(Answer::Texts)
            }
            _ => None,
        };
        answer.unwrap_or(Answer::No)
    }
}

impl fmt::Debug for Answers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answers({} ways)", self.askings.len())
    }
}

impl fmt::Debug for Auth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ways.iter().map(|(way, _)| way.method().name())).finish()
    }
}

impl Client {
    /// Logs the user in.
    ///
    /// # Errors
    /// `Auth` with each attempt, if nothing helps; the connection lives on then, unless the server
    /// has had enough.
    pub fn login(&self, user: impl AsRef<[u8]>, auth: Auth<'_>) -> Result<LoggedIn, Error> {
        let shared = &self.shared;
        let provider = shared.lock().end.conn.config().provider;
        let (mut login, mut answers) = auth.login(user.as_ref(), provider);
        shared.with(|state| match &state.ended {
            Some(error) => Err(error.clone()),
            None => {
                login.begin(&mut state.end.conn);
                state.end.login = Some(login);
                Ok(())
            }
        })?;
        let driven = self.drive(&mut answers);
        self.show_banners();
        let Some(login) = shared.lock().end.login.take() else {
            return Err(shared.error(ErrorKind::ChannelClosed));
        };
        match (driven, login.finish()) {
            (Ok(()), Ok(done)) => {
                self.begin_update();
                Ok(done)
            }
            (Ok(()), Err(failure)) => Err(shared.error(match failure.usage {
                Some(usage) if failure.attempts.is_empty() => ErrorKind::Usage(usage),
                _ => ErrorKind::Auth(Box::new(failure)),
            })),
            (Err(error), Err(mut failure)) if !failure.attempts.is_empty() && !error.is_timeout() => {
                failure.ended = Some(error.to_string());
                Err(shared.error(ErrorKind::Auth(Box::new(failure))))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Asks what the login asks, until it is over.
    fn drive(&self, answers: &mut Answers<'_>) -> Result<(), Error> {
        let shared = &self.shared;
        let mut deadline = Deadline::after(self.auth_timeout);
        let mut seen = 0;
        loop {
            let (asked, news) =
                shared.wait(deadline, "the answer to the authentication request", |state| {
                    let login = state.end.login.as_mut()?;
                    let asked = login.question();
                    let news = login.attempts().get(seen..).unwrap_or_default().to_vec();
                    (asked.is_some() || login.is_over() || !news.is_empty()).then_some((asked, news))
                })?;
            self.show_banners();
            seen += news.len();
            news.into_iter().for_each(|attempt| shared.notice(Notice::Auth(attempt)));
            let Some(asked) = asked else {
                if shared.lock().end.login.as_ref().is_none_or(Login::is_over) {
                    return Ok(());
                }
                continue;
            };
            // A person's time does not count.
            let before = Instant::now();
            let answer = answers.answer(asked);
            deadline.extend(before.elapsed());
            shared.with(|state| {
                let (conn, login) = (&mut state.end.conn, state.end.login.as_mut());
                // What was wrong with it stands in the report.
                login.map(|login| login.answer(conn, answer))
            });
        }
    }

    fn show_banners(&self) {
        let banners = std::mem::take(&mut self.shared.lock().end.banners);
        if let Some(show) = &self.on_banner {
            banners.iter().for_each(|text| show(SshStr::new(text)));
        }
    }
}

fn exchange(socket: &AgentSocket, agent: &mut Option<Agent>, send: &[u8]) -> std::io::Result<Vec<u8>> {
    match agent {
        Some(agent) => agent.exchange(send),
        None => agent.insert(Agent::connect(socket)?).exchange(send),
    }
}

fn read_key(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let read = || {
        let file = fs::File::open(path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(std::io::Error::other("not a regular file"));
        }
        // At once, so that no part of the key is left behind in memory that it outgrew.
        let mut bytes = Vec::with_capacity(meta.len().min(MAX_FILE as u64) as usize + 64);
        file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|e| e.to_string())
}
