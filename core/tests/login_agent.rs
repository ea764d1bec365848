//! Logging in with the keys of an agent: which are offered, in which order, and what stands in the report.

use konko_core::agent::{Constraints, Destination, Hop, HopKey, Keyring, Server};
use konko_core::auth::{Method, MethodSet};
use konko_core::client::Password;
use konko_core::keys::{KeyPair, KeyType, PrivateKey, PublicKey, SignatureAlgorithm};
use konko_core::login::{Answer, Attempt, AuthFailure, LoggedIn, Login, LoginMethod, Outcome, Question};
use konko_core::wire::{Reader, Sink};
use konko_core::*;
use konko_test::apps::Host;
use konko_test::{App, Pair, host_key, key_of, rsa_key, transport_config};

type Answers = Box<dyn FnMut(&Question) -> Answer>;

/// A client that does nothing but log in.
struct Person {
    login: Login,
    answers: Answers,
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
            let answer = (self.answers)(&asked.question);
            let _ = self.login.answer(conn, answer);
        }
    }
}

const AGENT: &str = "/run/agent";

fn rng(n: u8) -> Rng {
    Rng::from_seed(&Seed::new([n; 32]))
}

fn private(n: u8) -> PrivateKey {
    PrivateKey::generate(KeyType::ED25519, &mut rng(n)).unwrap()
}

/// The public key that `private(n)` has.
fn public(n: u8) -> PublicKey {
    private(n).public().clone()
}

fn file(n: u8) -> Vec<u8> {
    private(n).to_openssh(None, &mut rng(1)).unwrap().as_bytes().to_vec()
}

/// An agent with these keys, whose comments are their numbers.
fn agent(keys: &[u8]) -> Keyring {
    let mut keyring = Keyring::new(provider::rustcrypto(), rng(1));
    for n in keys {
        let comment = n.to_string();
        keyring.add(&private(*n), comment.as_bytes(), &Constraints::new(), Time::ZERO).unwrap();
    }
    keyring
}

/// Answers for an agent, a few bytes at a time.
fn from_agent(mut keyring: Keyring) -> impl FnMut(&Question) -> Answer {
    let (mut server, mut said) = (Server::new(), Vec::new());
    move |question| {
        let Question::Agent { send } = question else { return Answer::No };
        server.receive(send);
        server.poll(&mut keyring, Time::ZERO).unwrap();
        said.extend(server.take_tx());
        let now = said.len().min(700);
        Answer::Agent(Ok(said.drain(..now).collect()))
    }
}

fn in_agent() -> LoginMethod {
    LoginMethod::Agent { name: AGENT.into() }
}

fn key_file(name: &str) -> LoginMethod {
    LoginMethod::File { name: name.into() }
}

fn meet(
    login: Login,
    answers: impl FnMut(&Question) -> Answer + 'static,
    host: Host,
    change: impl FnOnce(&mut TransportConfig, &mut TransportConfig),
) -> Pair<Person, Host> {
    let (mut ours, mut theirs) = (transport_config(), transport_config());
    change(&mut ours, &mut theirs);
    let mut server = ServerConfig::new(theirs, vec![host_key()]);
    server.methods = MethodSet::EMPTY.with(Method::PublicKey).with(Method::Password);
    let person = Person { login, answers: Box::new(answers) };
    let mut pair = Pair::new(ClientConfig::new(ours), server, (person, host));
    pair.drive_until("the login's end", |pair| {
        pair.client.app.login.is_over() || pair.client.result.is_some()
    });
    pair
}

fn log_in(
    login: Login,
    answers: impl FnMut(&Question) -> Answer + 'static,
    host: Host,
) -> Result<LoggedIn, AuthFailure> {
    meet(login, answers, host, |_, _| {}).client.app.login.finish()
}

fn knows(keys: &[PublicKey]) -> Host {
    Host { keys: keys.to_vec(), ..Host::default() }
}

/// Where each key came from, and what came of it.
fn report(attempts: &[Attempt]) -> Vec<String> {
    let line = |a: &Attempt| match (&a.origin, &a.outcome) {
        (Some(origin), Outcome::Skipped(why)) => format!("{origin} - {why}"),
        (Some(origin), outcome) => format!("{origin} {outcome:?}"),
        (None, outcome) => format!("{} {outcome:?}", a.method),
    };
    attempts.iter().map(line).collect()
}

#[test]
fn the_keys_come_in_openssh_s_order() {
    let mut agent = from_agent(agent(&[1, 2, 3, 4]));
    let mut files = [Ok(file(9)), Ok(file(3)), Err("no such file".to_owned()), Ok(file(1))].into_iter();
    let answers = move |question: &Question| match question {
        Question::KeyFile => Answer::File(files.next().expect("each file is read once")),
        // The third has its public half beside it.
        Question::PublicKeyFile => Answer::File(Ok(public(4).to_openssh_line("beside").into_bytes())),
        question => agent(question),
    };
    let ways = [in_agent(), key_file("f9"), key_file("f3"), key_file("f4"), key_file("f1")];
    let result = log_in(Login::new("alice", ways), answers, knows(&[public(9)]));
    let expected = [
        "f1 (/run/agent: 1) Rejected",
        "f3 (/run/agent: 3) Rejected",
        "f4 (/run/agent: 4) Rejected",
        "/run/agent: 2 Rejected",
        "f9 Accepted",
    ];
    assert_eq!(report(&result.unwrap().attempts), expected);
}

#[test]
fn only_what_the_list_names_with_identities_only() {
    let mut agent = from_agent(agent(&[1, 2, 3]));
    // A public key may stand for the private one that the agent has.
    let line = public(2).to_openssh_line("c").into_bytes();
    let answers = move |question: &Question| match question {
        Question::KeyFile => Answer::File(Ok(line.clone())),
        question => agent(question),
    };
    let ways = [in_agent(), key_file("f2.pub")];
    let result = log_in(Login::new("alice", ways).identities_only(), answers, knows(&[public(2)]));
    assert_eq!(report(&result.unwrap().attempts), ["f2.pub (/run/agent: 2) Accepted"]);
}

#[test]
fn an_agent_that_cannot_be_used_is_a_line_in_the_report() {
    type Said = fn() -> Answer;
    let table: [(Said, &str); 5] = [
        (|| Answer::No, "there is no agent"),
        (|| Answer::Agent(Err("connection refused".into())), "connection refused"),
        (|| Answer::Agent(Ok(Vec::new())), "the agent has closed the connection"),
        (
            || Answer::Agent(Ok(b"SSH-2.0-x\r\n".to_vec())),
            "a message of 1397966893 bytes; one has 1 to 262144. Is the socket really an agent's?",
        ),
        (|| Answer::Agent(Ok(vec![0, 0, 0, 1, 5])), "the agent does not say which keys it has"),
    ];
    for (said, why) in table {
        let answers = move |question: &Question| match question {
            Question::Agent { .. } => said(),
            Question::Password { .. } => Answer::Secret(Password::new("wonderland")),
            _ => Answer::No,
        };
        let login = Login::new("alice", [in_agent(), LoginMethod::Password { tries: 1 }]);
        let done = log_in(login, answers, Host::default()).unwrap();
        let expected = [format!("{AGENT} - {why}"), "password Accepted".to_owned()];
        assert_eq!(report(&done.attempts), expected);
    }
}

/// An agent that has `keys`, and answers each signature with what `sign` makes of the request's key and message.
fn double(
    keys: Vec<Vec<u8>>,
    mut sign: impl FnMut(&[u8], &[u8], u32) -> Vec<u8>,
) -> impl FnMut(&Question) -> Answer {
    move |question| {
        let Question::Agent { send } = question else { return Answer::No };
        let mut r = Reader::new(&send[4..]);
        let mut answer = Vec::new();
        match r.u8().unwrap() {
            11 => {
                answer.put_u8(12);
                answer.put_u32(keys.len() as u32);
                for (n, key) in keys.iter().enumerate() {
                    answer.put_string(key);
                    answer.put_string(n.to_string().as_bytes());
                }
            }
            13 => {
                let (blob, message) = (r.string().unwrap(), r.string().unwrap());
                answer.extend(sign(blob, message, r.u32().unwrap()));
            }
            _ => answer.put_u8(5),
        }
        let mut frame = Vec::new();
        frame.put_string(&answer);
        Answer::Agent(Ok(frame))
    }
}

fn signature(key: &KeyPair, algorithm: SignatureAlgorithm, message: &[u8]) -> Vec<u8> {
    let mut answer = vec![14];
    answer.put_string(&key.sign(algorithm, message, &mut rng(1)).unwrap());
    answer
}

#[test]
fn ac09_a_key_whose_agent_signs_wrongly_is_left_out_and_nothing_is_sent() {
    let (ed25519, ed) = (SignatureAlgorithm::ED25519, key_of(KeyType::ED25519, 1));
    let other = key_of(KeyType::ED25519, 2);
    type Wrong = Box<dyn Fn(&[u8], &KeyPair, &KeyPair) -> Vec<u8>>;
    let right = move |m: &[u8], key: &KeyPair| signature(key, ed25519, m);
    let table: [(&str, Wrong); 6] = [
        ("the agent refused to sign", Box::new(|_, _, _| vec![5])),
        ("what signed made no signature by this key", Box::new(move |m, _, other| right(m, other))),
        (
            "what signed made no signature by this key",
            Box::new(move |_, key, _| right(b"something else", key)),
        ),
        (
            "the agent was asked to sign, and its answer cannot be read",
            Box::new(move |m, key, _| {
                let mut answer = right(m, key);
                answer.pop();
                answer
            }),
        ),
        (
            "the agent was asked to sign, and its answer cannot be read",
            Box::new(move |m, key, _| {
                let mut answer = right(m, key);
                answer.push(0);
                answer
            }),
        ),
        ("the agent was asked to sign and answered with message 6", Box::new(|_, _, _| vec![6])),
    ];
    for (why, wrong) in table {
        let (first, second) = (ed.clone(), other.clone());
        let host = knows(&[ed.public().clone(), other.public().clone()]);
        let keys = vec![ed.public().to_blob(), other.public().to_blob()];
        let of_first = ed.public().to_blob();
        let answers = double(keys, move |blob, message, _| match blob == of_first {
            true => wrong(message, &first, &second),
            false => signature(&second, ed25519, message),
        });
        // A wrong signature that was sent would be rejected, and the report would say so.
        let (attempts, lost) = match log_in(Login::new("alice", [in_agent()]), answers, host) {
            Ok(done) => (done.attempts, false),
            // What cannot be read may not be a message at all: nothing more is asked of such an agent.
            Err(failure) => (failure.attempts, true),
        };
        let last = if lost { format!("{AGENT}: 1 - {why}") } else { format!("{AGENT}: 1 Accepted") };
        assert_eq!(report(&attempts), [format!("{AGENT}: 0 - {why}"), last]);
        assert_eq!(lost, why.contains("was asked"), "{why}");
    }
}

#[test]
fn s34_an_agent_that_ignores_the_flags_is_found_out() {
    let (rsa, ed) = (rsa_key(), key_of(KeyType::ED25519, 1));
    let host = knows(&[rsa.public().clone(), ed.public().clone()]);
    let keys = vec![rsa.public().to_blob(), ed.public().to_blob()];
    let answers = double(keys, move |blob, message, flags| {
        if blob == ed.public().to_blob() {
            return signature(&ed, SignatureAlgorithm::ED25519, message);
        }
        assert_eq!(flags, 4, "SHA-512 and nothing else");
        signature(&rsa, SignatureAlgorithm::RSA_SHA1, message)
    });
    let done = log_in(Login::new("alice", [in_agent()]), answers, host).unwrap();
    let why = "the agent was asked for a signature by rsa-sha2-512 and made one by ssh-rsa; it is too old for \
               rsa-sha2-512";
    assert_eq!(report(&done.attempts), [format!("{AGENT}: 0 - {why}"), format!("{AGENT}: 1 Accepted")]);
}

#[test]
fn keys_that_are_not_known_here_are_skipped() {
    let key = key_of(KeyType::ED25519, 1);
    let mut strange = Vec::new();
    strange.put_string(b"ssh-frob@konko.test");
    let keys = vec![strange, b"\xff\xff\xff\xff".to_vec(), key.public().to_blob()];
    let host = knows(&[key.public().clone()]);
    let answers = double(keys, move |_, message, _| signature(&key, SignatureAlgorithm::ED25519, message));
    let done = log_in(Login::new("alice", [in_agent()]), answers, host).unwrap();
    let expected = [
        "/run/agent: 0 - keys of type ssh-frob@konko.test are not known here",
        "/run/agent: 1 - keys of type  are not known here",
        "/run/agent: 2 Accepted",
    ];
    assert_eq!(report(&done.attempts), expected);
}

#[test]
fn f21_the_agent_is_bound_to_the_session_before_it_is_asked() {
    let here = HopKey::host(host_key().public().clone());
    let elsewhere = HopKey::host(key_of(KeyType::ED25519, 99).public().clone());
    for (key, user, seen) in [(here.clone(), "", true), (here.clone(), "bob", true), (elsewhere, "", false)] {
        let way = Destination::new(Hop::origin(), Hop::host("server", [key]).user(user)).unwrap();
        let mut keyring = Keyring::new(provider::rustcrypto(), rng(1));
        keyring.add(&private(1), b"1", &Constraints::new().destinations([way]), Time::ZERO).unwrap();
        let login = Login::new("alice", [in_agent()]);
        let result = log_in(login, from_agent(keyring), knows(&[public(1)]));
        match (seen, user) {
            (true, "") => assert_eq!(report(&result.unwrap().attempts), ["/run/agent: 1 Accepted"]),
            (true, _) => {
                let refused = ["/run/agent: 1 - the agent refused to sign"];
                assert_eq!(report(&result.unwrap_err().attempts), refused);
            }
            (false, _) => assert!(result.unwrap_err().attempts.is_empty(), "the agent does not show it"),
        }
    }
}

#[test]
fn keys_that_nobody_named_leave_tries_for_what_somebody_did() {
    let many: Vec<u8> = (1..=12).collect();
    let ways = || [in_agent(), key_file("f50"), LoginMethod::Password { tries: 1 }];
    let answers = || {
        let mut agent = from_agent(agent(&many));
        move |question: &Question| match question {
            Question::KeyFile => Answer::File(Ok(file(50))),
            Question::Password { .. } => Answer::Secret(Password::new("wonderland")),
            question => agent(question),
        }
    };
    // The server ends the connection at the sixth failure: four keys of the agent, the file, the password.
    let done = log_in(Login::new("alice", ways()), answers(), Host::default()).unwrap();
    let tried = report(&done.attempts);
    let expected = ["/run/agent: 4 Rejected", "f50 Rejected", "password Accepted"];
    assert_eq!((tried.len(), &tried[3..]), (6, &expected.map(str::to_owned)[..]));
    // In the order of the list, the server has enough before anybody is asked.
    let login = Login::new("alice", ways()).attempt_limit(None);
    let failure = log_in(login, answers(), Host::default()).unwrap_err();
    assert!(failure.attempts.iter().all(|a| a.origin.as_deref().is_some_and(|o| o.starts_with(AGENT))));
    // Where nothing else could help, all are tried.
    let login = Login::new("alice", [in_agent()]);
    let failure = log_in(login, answers(), Host::default()).unwrap_err();
    assert_eq!(failure.attempts.len(), 5, "and a sixth, which nothing comes of");
}

/// What comes of an RSA key, where the client has these algorithms and the server those.
fn with_algorithms(
    ours: Vec<SignatureAlgorithm>,
    theirs: Vec<SignatureAlgorithm>,
) -> (Result<LoggedIn, AuthFailure>, Vec<String>) {
    let login = Login::new("alice", [LoginMethod::Key(rsa_key())]);
    let pair = meet(
        login,
        |_| Answer::No,
        knows(&[rsa_key().public().clone()]),
        |client, server| {
            client.algorithms.user_key = ours;
            server.algorithms.user_key = theirs;
        },
    );
    (pair.client.app.login.finish(), pair.server.app.attempts)
}

const SHA512: SignatureAlgorithm = SignatureAlgorithm::RSA_SHA512;
const SHA256: SignatureAlgorithm = SignatureAlgorithm::RSA_SHA256;
const SHA1: SignatureAlgorithm = SignatureAlgorithm::RSA_SHA1;

#[test]
fn s25_a_key_without_an_algorithm_in_common_is_not_offered() {
    let (result, seen) = with_algorithms(vec![SHA512, SHA256], vec![SignatureAlgorithm::ED25519]);
    let failure = result.unwrap_err();
    let ours = vec![SHA512, SHA256];
    let theirs = "ssh-ed25519".to_owned();
    assert_eq!(failure.attempts[0].outcome, Outcome::NoCommonAlgorithm { ours, theirs });
    assert!(seen.is_empty(), "{seen:?}");
    let text = failure.to_string();
    assert!(
        text.contains("not sent, it can sign by rsa-sha2-512,rsa-sha2-256, and the server takes ssh-ed25519")
    );
}

#[test]
fn s31_s33_the_first_of_ours_that_the_server_takes() {
    let all = vec![SHA512, SHA256, SHA1];
    for (ours, theirs, chosen) in [
        (all.clone(), all.clone(), SHA512),
        (all.clone(), vec![SHA1, SHA256], SHA256),
        (all.clone(), vec![SHA1], SHA1),
        (vec![SHA256, SHA512], all.clone(), SHA256),
        (vec![SHA1], all.clone(), SHA1),
    ] {
        let (result, _) = with_algorithms(ours, theirs);
        let attempt = result.unwrap().attempts.remove(0);
        assert_eq!((attempt.algorithm, attempt.guessed), (Some(chosen), false));
    }
}
