//! How a user gets in: what is asked, in which order, and what stands in the report.

use std::sync::Arc;

use konko_core::auth::{Method, MethodSet};
use konko_core::client::Password;
use konko_core::keys::{KeyError, KeyPair, KeyType};
use konko_core::login::{Answer, Asked, AuthFailure, LoggedIn, Login, LoginMethod, Outcome, Question};
use konko_core::*;
use konko_test::apps::Host;
use konko_test::{App, Pair, host_key, key_of, transport_config};

/// What somebody says to a question.
type Answers = Box<dyn FnMut(&Question) -> Answer>;

/// A client that does nothing but log in.
struct Person {
    login: Login,
    answers: Answers,
    /// The questions, in a word each.
    asked: Vec<&'static str>,
    /// Answers when the connection has nothing else to do.
    slow: bool,
    waiting: Option<Asked>,
}

impl Person {
    fn new(login: Login, answers: impl FnMut(&Question) -> Answer + 'static) -> Self {
        Person { login, answers: Box::new(answers), asked: Vec::new(), slow: false, waiting: None }
    }
}

fn word(question: &Question) -> &'static str {
    match question {
        Question::KeyFile => "file",
        Question::CertificateFile => "certificate",
        Question::Passphrase { .. } => "passphrase",
        Question::Sign { .. } => "signature",
        Question::Password { .. } => "password",
        Question::NewPassword { .. } => "new password",
        Question::Prompts(_) => "answers",
        _ => "something",
    }
}

impl App<client::ClientSide> for Person {
    fn on_event(&mut self, conn: &mut ClientConnection, event: ClientEvent<'_>) {
        if let Some(event) = self.login.event(conn, event) {
            if let ClientEvent::Auth(ClientAuth::HostKey(ticket)) = event {
                conn.decide_host_key(ticket, Decision::Accept).unwrap();
            }
            return;
        }
        while let Some(asked) = self.login.question() {
            self.asked.push(word(&asked.question));
            if self.slow {
                self.waiting = Some(asked);
                return;
            }
            let answer = (self.answers)(&asked.question);
            let _ = self.login.answer(conn, answer);
        }
    }

    fn idle(&mut self, conn: &mut ClientConnection) {
        if let Some(asked) = self.waiting.take() {
            let answer = (self.answers)(&asked.question);
            self.login.answer(conn, answer).unwrap();
            assert_eq!(self.login.answer(conn, Answer::No), Err(UsageError::StaleTicket));
        }
    }
}

const ALL: [Method; 3] = [Method::PublicKey, Method::Password, Method::KeyboardInteractive];

fn meet(methods: &[Method], person: Person, host: Host) -> Pair<Person, Host> {
    let mut server = ServerConfig::new(transport_config(), vec![host_key()]);
    server.methods = methods.iter().copied().collect::<MethodSet>();
    Pair::new(ClientConfig::new(transport_config()), server, (person, host))
}

/// How it ended, and what was asked.
fn log_in(
    methods: &[Method],
    person: Person,
    host: Host,
) -> (Result<LoggedIn, AuthFailure>, Vec<&'static str>) {
    let mut pair = meet(methods, person, host);
    pair.drive_until("the login's end", |pair| pair.client.app.login.is_over());
    let person = pair.client.app;
    (person.login.finish(), person.asked)
}

fn secret(text: &str) -> Answer {
    Answer::Secret(Password::new(text.as_bytes()))
}

fn tried(attempts: &[login::Attempt]) -> Vec<(Method, Outcome)> {
    attempts.iter().map(|a| (a.method, a.outcome.clone())).collect()
}

fn knows(key: &KeyPair) -> Host {
    Host { keys: vec![key.public().clone()], ..Host::default() }
}

#[test]
fn a_key_that_is_here_needs_no_question() {
    let key = key_of(KeyType::ED25519, 3);
    let login = Login::new("alice", [LoginMethod::Key(key.clone()), LoginMethod::Password { tries: 3 }]);
    let (result, asked) = log_in(&ALL, Person::new(login, |_| panic!("nobody is asked")), knows(&key));
    let done = result.unwrap();
    assert_eq!((done.method, done.trivial, asked.len()), (Method::PublicKey, false, 0));
    assert_eq!(tried(&done.attempts), [(Method::PublicKey, Outcome::Accepted)]);
}

#[test]
fn a_signature_is_made_elsewhere_and_comes_late() {
    let key = key_of(KeyType::ED25519, 3);
    let login = Login::new("alice", [LoginMethod::Key(key.clone())]).sign_elsewhere();
    let mut person = Person::new(login, |question| {
        let Question::Sign { pair: Some(here), algorithm, message, .. } = question else {
            panic!("{question:?}")
        };
        let rng = &mut Rng::from_seed(&Seed::new([9; 32]));
        Answer::Signature(here.sign(*algorithm, message, rng).unwrap())
    });
    person.slow = true;
    let (result, asked) = log_in(&ALL, person, knows(&key));
    assert_eq!(asked, ["signature"]);
    assert_eq!(result.unwrap().method, Method::PublicKey);
}

#[test]
fn nobody_is_asked_for_what_the_server_does_not_take() {
    let ways = [LoginMethod::Password { tries: 3 }, LoginMethod::Interactive { tries: 3 }];
    let person = Person::new(Login::new("alice", ways), |_| panic!("nobody is asked"));
    let (result, _) = log_in(&[Method::PublicKey], person, Host::default());
    let failure = result.unwrap_err();
    assert_eq!(failure.remaining, ["publickey"]);
    let skipped = Outcome::Skipped("the server does not offer it".into());
    assert_eq!(
        tried(&failure.attempts),
        [(Method::Password, skipped.clone()), (Method::KeyboardInteractive, skipped)]
    );
}

#[test]
fn a_person_types_until_it_is_right_and_no_longer() {
    let mut typed = ["wrong", "wonderland", "never"].into_iter();
    let login = Login::new("alice", [LoginMethod::Password { tries: 3 }]);
    let (result, asked) =
        log_in(&ALL, Person::new(login, move |_| secret(typed.next().unwrap())), Host::default());
    assert_eq!(asked, ["password", "password"]);
    let outcomes = [(Method::Password, Outcome::Rejected), (Method::Password, Outcome::Accepted)];
    assert_eq!(tried(&result.unwrap().attempts), outcomes);
}

#[test]
fn a_chain_of_key_and_answers_goes_on_after_a_partial_success() {
    let key = key_of(KeyType::ED25519, 3);
    let ways = [
        LoginMethod::Key(key.clone()),
        LoginMethod::Password { tries: 3 },
        LoginMethod::Interactive { tries: 1 },
    ];
    let person = Person::new(Login::new("alice", ways), |question| match question {
        Question::Prompts(asked) => {
            assert_eq!(asked.questions[1].prompt, "Number? ");
            Answer::Texts(["blue", "42"].map(Password::new).into())
        }
        // Keyboard-interactive would take a password as well.
        _ => Answer::No,
    });
    let second = Some(MethodSet::EMPTY.with(Method::KeyboardInteractive));
    let (result, asked) = log_in(&ALL, person, Host { second, ..knows(&key) });
    assert_eq!(asked, ["password", "answers"]);
    let done = result.unwrap();
    assert_eq!(done.method, Method::KeyboardInteractive);
    assert_eq!(done.attempts[0].outcome, Outcome::Partial);
    assert_eq!(done.attempts[0].remaining, ["keyboard-interactive"]);
}

#[test]
fn c8_an_expired_password_is_changed_on_the_way_and_the_lines_of_the_text_stay_lines() {
    let person =
        Person::new(Login::new("alice", [LoginMethod::Password { tries: 3 }]), |question| match question {
            Question::NewPassword { text } => {
                assert_eq!(text, "too\told:\r\n\\x1b[1mchange it");
                secret("fresh")
            }
            _ => secret("wonderland"),
        });
    let (result, asked) = log_in(&ALL, person, Host { expired: true, ..Host::default() });
    assert_eq!(asked, ["password", "new password"]);
    assert_eq!(result.unwrap().method, Method::Password);
    // In the report it is one line.
    let person =
        Person::new(Login::new("alice", [LoginMethod::Password { tries: 1 }]), |question| match question {
            Question::NewPassword { .. } => Answer::No,
            _ => secret("wonderland"),
        });
    let (result, _) = log_in(&ALL, person, Host { expired: true, ..Host::default() });
    let said = format!("{:?}", result.unwrap_err().attempts[0].outcome);
    assert!(said.contains("has expired: too old: \\\\x1b[1mchange it"), "{said}");
}

#[test]
fn a_passphrase_is_asked_for_when_the_server_would_take_the_key() {
    let file = include_bytes!("data/keys/enc-aes128-ctr");
    let public = keys::PrivateKey::public_of(file).unwrap();
    let passphrases = |right: &'static str| {
        move |question: &Question| match question {
            Question::KeyFile => Answer::File(Ok(file.to_vec())),
            Question::Passphrase { key, attempt } => {
                let typed = if *attempt == 2 { right } else { "wrong" };
                Answer::Unlocked(key.unlock(&Password::new(typed.as_bytes()), provider::rustcrypto()))
            }
            _ => Answer::No,
        }
    };
    let login = || Login::new("alice", [LoginMethod::File { name: "id_ed25519".into() }]);
    let host = || Host { keys: vec![public.clone()], ..Host::default() };
    let (result, asked) = log_in(&ALL, Person::new(login(), passphrases("konko test")), host());
    assert_eq!(asked, ["file", "passphrase", "passphrase"]);
    assert_eq!(result.unwrap().attempts[0].origin.as_deref(), Some("id_ed25519"));
    // Three times, then the key is left out and the reason said.
    let (result, asked) = log_in(&ALL, Person::new(login(), passphrases("wrong too")), host());
    assert_eq!(asked, ["file", "passphrase", "passphrase", "passphrase"]);
    let why = Outcome::Skipped(KeyError::WrongPassphrase.to_string());
    assert_eq!(tried(&result.unwrap_err().attempts), [(Method::PublicKey, why)]);
    // A server that would not take the key: no passphrase.
    let (result, asked) = log_in(&ALL, Person::new(login(), passphrases("konko test")), Host::default());
    assert_eq!(asked, ["file", "certificate"]);
    assert_eq!(tried(&result.unwrap_err().attempts), [(Method::PublicKey, Outcome::Rejected)]);
}

#[test]
fn a_key_elsewhere_whose_signer_gives_up_is_left_out() {
    let key = key_of(KeyType::ED25519, 3);
    let external = LoginMethod::External { key: key.public().clone(), origin: "token".into() };
    let person = Person::new(Login::new("alice", [external]), |_| Answer::No);
    let (result, asked) = log_in(&ALL, person, knows(&key));
    assert_eq!(asked, ["signature"]);
    let failure = result.unwrap_err();
    assert_eq!(
        tried(&failure.attempts),
        [(Method::PublicKey, Outcome::Skipped("the signer gave up".into()))]
    );
    assert!(failure.to_string().contains("publickey token"), "{failure}");
}

#[test]
fn an_answer_that_nobody_asked_for_changes_nothing() {
    let login = Login::new("alice", [LoginMethod::Password { tries: 1 }]);
    let mut person = Person::new(login, |_| secret("wonderland"));
    person.slow = true;
    let mut pair = meet(&ALL, person, Host::default());
    let end = &mut pair.client;
    assert_eq!(end.app.login.answer(&mut end.conn, secret("x")), Err(UsageError::StaleTicket));
    pair.drive_until("the login's end", |pair| pair.client.app.login.is_over());
    assert!(pair.client.app.login.finish().is_ok());
}

#[test]
fn a_name_that_cannot_be_sent_ends_the_login_with_the_reason() {
    let login = Login::new(*b"ali\0ce", [LoginMethod::Key(key_of(KeyType::ED25519, 3))]);
    let (result, _) = log_in(&ALL, Person::new(login, |_| Answer::No), Host::default());
    let failure = result.unwrap_err();
    assert_eq!(failure.usage, Some(UsageError::InvalidText));
    assert!(failure.attempts.is_empty());
}

#[test]
fn nothing_secret_is_in_debug() {
    let answers = [secret("wonderland"), Answer::Texts(vec![Password::new("wonderland")])];
    let file = Answer::File(Ok(b"wonderland".to_vec()));
    let login = Login::new("alice", [LoginMethod::Key(Arc::clone(&key_of(KeyType::ED25519, 3)))]);
    for text in answers.iter().chain([&file]).map(|a| format!("{a:?}")).chain([format!("{login:?}")]) {
        assert!(!text.contains("wonderland"), "{text}");
    }
}
