use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use konko_core::admission::Penalty;
use konko_core::auth::{Method, Needs};
use konko_core::authorized_keys::KeyOptions;
use konko_core::client::Password;
use konko_core::hosts::HostTrust;
use konko_core::keys::PublicKey;
use konko_core::server::Challenge;

use super::auth::{AuthAttempt, Credential, HostProbe, KeyProbe};
use super::connection::Connection;
use super::handler::Handler;
use super::programs::Programs;
use konko_core::session::Program;

use super::session::Session;
use super::users::Users;
use crate::notice::Notice;
use konko_core::session::Pty;

/// Users and programs put together: the handler of a server that needs nothing special. One value
/// serves one connection.
///
/// Passwords are asked for by both methods, `password` and `keyboard-interactive`. The options of the
/// key that let the user in are kept: a forced command, no terminal.
///
/// ```no_run
/// use konko::server::{Programs, Server, ServerOptions, Service};
/// use konko::server::users::{User, Users};
/// use std::sync::Arc;
///
/// let mut users = Users::new();
/// users.add("alice", User::new().password("wonderland"))?;
/// let programs = Programs::new().command("true", |_| 0u32);
/// let service = Service::new(Arc::new(users), Arc::new(programs));
/// let options = ServerOptions::with_new_key()?.methods(service.users().methods());
/// let server = Server::listen("127.0.0.1:0", options, move |_| service.clone())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Service {
    users: Arc<Users>,
    programs: Arc<Programs>,
    succeeded: Vec<Method>,
    /// Of the keys that proved who the user is: what all of them allow.
    options: KeyOptions,
    user_environment: bool,
    hosts: Option<Arc<HostTrust>>,
}

impl Service {
    /// Lets in `users` to run `programs`.
    pub fn new(users: Arc<Users>, programs: Arc<Programs>) -> Self {
        Service {
            users,
            programs,
            succeeded: Vec::new(),
            options: KeyOptions::default(),
            user_environment: false,
            hosts: None,
        }
    }

    /// Believes these hosts when they vouch for their users (`hostbased`). Offer the method too:
    /// [`ServerOptions::methods`](super::ServerOptions::methods) with [`Method::HostBased`].
    #[must_use]
    pub fn trust_hosts(mut self, hosts: HostTrust) -> Self {
        self.hosts = Some(Arc::new(hosts));
        self
    }

    /// Programs get the variables that the option `environment` of a key sets (OpenSSH
    /// `PermitUserEnvironment`). Whoever may write the keys may then make programs do anything.
    #[must_use]
    pub fn permit_user_environment(mut self) -> Self {
        self.user_environment = true;
        self
    }

    /// The users. Their [`methods`](Users::methods) are what a server has to offer.
    pub fn users(&self) -> &Arc<Users> {
        &self.users
    }

    /// A method was right: the user is in, or goes on with the next.
    fn succeed(&mut self, attempt: AuthAttempt) {
        let method = attempt.credential().method();
        if let Needs::OneOf(now) = self.users.needs(attempt.user(), &self.succeeded)
            && !now.contains(method)
        {
            return attempt.reject();
        }
        self.succeeded.push(method);
        match self.users.needs(attempt.user(), &self.succeeded) {
            Needs::Nothing => attempt.accept(),
            Needs::OneOf(methods) => attempt.partial(methods),
        }
    }

    /// Whoever tries names that nobody has stays outside for a while, after a few of them.
    fn blame(&self, connection: &Connection, user: &str) {
        if !self.users.knows(user) {
            connection.penalize(Penalty::InvalidUser);
        }
    }

    /// Whether a host may vouch for this user, who must be one that there is.
    fn believes(&self, host: &str, key: &PublicKey, host_user: &str, user: &str) -> bool {
        let trust = self.hosts.as_ref().filter(|_| self.users.knows(user));
        trust.is_some_and(|trust| trust.allow(host, key, host_user, user))
    }

    fn password(&mut self, attempt: AuthAttempt, right: bool) {
        if right { self.succeed(attempt) } else { attempt.reject() }
    }
}

impl Handler for Service {
    fn authenticate(&mut self, attempt: AuthAttempt) {
        let user = attempt.user();
        if attempt.credential().method() != Method::None {
            self.blame(attempt.connection(), user);
        }
        let check = |password: &Password| self.users.check_password(user, password.expose());
        match attempt.credential() {
            Credential::Password(password) => {
                let right = check(password);
                self.password(attempt, right);
            }
            Credential::KeyboardInteractive { .. } => {
                let prompts = vec![("Password: ".to_owned(), false)];
                // It is a challenge that can be sent.
                let _ = attempt.challenge(Challenge { prompts, ..Challenge::default() });
            }
            Credential::Answers(answers) => {
                let right = matches!(&answers[..], [password] if check(password));
                self.password(attempt, right);
            }
            Credential::PublicKey { key, .. } => {
                let source = attempt.connection().peer_addr().map(|addr| addr.ip());
                match self.users.key(user, key, source) {
                    Some(entry) => match self.options.clone().and(entry.options) {
                        Ok(both) => {
                            self.options = both;
                            self.succeed(attempt);
                        }
                        // Two keys that force different commands.
                        Err(_) => attempt.reject(),
                    },
                    None => attempt.reject(),
                }
            }
            Credential::HostBased { key, host, user: host_user, .. } => {
                match self.believes(host, key, host_user, user) {
                    true => self.succeed(attempt),
                    false => attempt.reject(),
                }
            }
            _ => attempt.reject(),
        }
    }

    fn host_probe(&mut self, probe: HostProbe) {
        let asked = probe.key_probe();
        self.blame(asked.connection(), asked.user());
        if self.believes(probe.host(), asked.key(), probe.host_user(), asked.user()) {
            probe.would_do();
        }
    }

    fn key_probe(&mut self, probe: KeyProbe) {
        self.blame(probe.connection(), probe.user());
        let source = probe.connection().peer_addr().map(|addr| addr.ip());
        match self.users.key(probe.user(), probe.key(), source) {
            Some(entry) => probe.would_do_with(self.users.touch(&entry)),
            None => probe.reject(),
        }
    }

    fn pty(&mut self, _pty: &Pty) -> bool {
        self.options.pty
    }

    fn session(&mut self, mut session: Session) {
        if self.user_environment {
            for (name, value) in &self.options.environment {
                session.set_env(name.clone(), OsString::from_vec(value.to_vec()));
            }
        }
        if let Some(command) = &self.options.command {
            let original = match session.program() {
                Program::Exec(asked_for) | Program::Subsystem(asked_for) => Some(asked_for.clone()),
                Program::Shell => None,
            };
            if let Some(original) = original {
                session.set_env("SSH_ORIGINAL_COMMAND", OsString::from_vec(original));
            }
            session.replace_program(Program::Exec(command.to_vec()));
            session.reject_signals();
        }
        let connection = session.connection().clone();
        if let Err(error) = self.programs.start(session) {
            connection.note_at_will(Notice::Refused(error.to_string()));
        }
    }
}
