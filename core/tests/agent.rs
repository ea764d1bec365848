//! Agents: what a client asks, what a keyring answers, and what neither does. Tests carry their row of the security
//! facts (F).

use std::time::Duration;

use konko_core::agent::{
    AgentError, AssociatedCertificates, Client, Constraints, Destination, Hop, HopKey, Keyring, MAX_MESSAGE,
    Place, Purpose, Reply, Server, places,
};
use konko_core::keys::{KeyType, PrivateKey, PublicKey, SignatureAlgorithm, signature};
use konko_core::wire::Sink;
use konko_core::{Decision, Rng, Seed, Time, provider};
use konko_test::{key_of, rsa_key};

const ED25519: SignatureAlgorithm = SignatureAlgorithm::ED25519;

fn rng(n: u8) -> Rng {
    Rng::from_seed(&Seed::new([n; 32]))
}

fn private(kind: KeyType, n: u8) -> PrivateKey {
    PrivateKey::generate(kind, &mut rng(n)).unwrap()
}

/// An agent, what time it is there, and one connection to it.
struct Rig {
    keyring: Keyring,
    server: Server,
    client: Client,
    now: Time,
}

impl Rig {
    fn new() -> Self {
        Rig::over(Keyring::new(provider::best(), rng(1)))
    }

    fn over(keyring: Keyring) -> Self {
        Rig { keyring, server: Server::new(), client: Client::new(), now: Time::ZERO }
    }

    /// Somebody else connects.
    fn reconnect(&mut self) {
        (self.server, self.client) = (Server::new(), Client::new());
    }

    /// What comes of the client's request; whoever is asked says `word`.
    fn ask(&mut self, word: Decision) -> Result<Reply, AgentError> {
        let request = self.client.take_tx();
        // As it may come: one byte after the other.
        for byte in request.iter() {
            self.server.receive(&[*byte]);
            if self.server.poll(&mut self.keyring, self.now).unwrap().is_some() {
                self.server.answer(&mut self.keyring, word);
            }
        }
        let answer = self.server.take_tx();
        for (i, byte) in answer.iter().enumerate() {
            match self.client.receive(&[*byte])? {
                Some(reply) => {
                    assert_eq!(i + 1, answer.len(), "one answer a request");
                    return Ok(reply);
                }
                None => continue,
            }
        }
        panic!("no answer");
    }

    fn add(&mut self, key: &PrivateKey, constraints: Constraints) -> Reply {
        self.client.add(key, b"a comment", &constraints).unwrap();
        self.ask(Decision::Reject).unwrap()
    }

    fn listed(&mut self) -> Vec<PublicKey> {
        self.client.list().unwrap();
        match self.ask(Decision::Reject).unwrap() {
            Reply::Identities(list) => list.into_iter().filter_map(|identity| identity.key).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn sign(
        &mut self,
        key: &PublicKey,
        algorithm: SignatureAlgorithm,
        message: &[u8],
    ) -> Result<Reply, AgentError> {
        self.client.sign(&key.to_blob(), algorithm, message).unwrap();
        self.ask(Decision::Reject)
    }

    /// Binds the connection to a session with a host of that key.
    fn bind(&mut self, host: u8, session: &[u8], purpose: Purpose) -> Reply {
        let host = key_of(KeyType::ED25519, host);
        let signature = host.sign(ED25519, session, &mut rng(3)).unwrap();
        self.client.bind_session(&host.public().to_blob(), session, &signature, purpose).unwrap();
        self.ask(Decision::Reject).unwrap()
    }

    /// The raw answer to a raw request.
    fn raw(&mut self, message: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.put_string(message);
        self.server.receive(&frame);
        self.server.poll(&mut self.keyring, self.now).unwrap();
        self.server.take_tx()[4..].to_vec()
    }
}

/// What a client signs to log in, bound to a host or not.
fn login(session: &[u8], user: &str, key: &PublicKey, host: Option<u8>) -> Vec<u8> {
    let mut m = Vec::new();
    m.put_string(session);
    m.put_u8(50);
    m.put_string(user.as_bytes());
    m.put_string(b"ssh-connection");
    m.put_string(if host.is_some() {
        b"publickey-hostbound-v00@openssh.com"
    } else {
        b"publickey".as_slice()
    });
    m.put_bool(true);
    m.put_string(key.signature_algorithms()[0].name().as_bytes());
    m.put_string(&key.to_blob());
    if let Some(host) = host {
        m.put_string(&key_of(KeyType::ED25519, host).public().to_blob());
    }
    m
}

/// The way to a host of that key; from where the agent is, or from another host.
fn way(from: Option<u8>, to: u8, user: &str) -> Destination {
    let hop = |n: u8| {
        let key = HopKey::host(key_of(KeyType::ED25519, n).public().clone());
        Hop::host(format!("host{n}"), [key])
    };
    Destination::new(from.map_or(Hop::origin(), hop), hop(to).user(user)).unwrap()
}

#[test]
fn keys_of_every_type_are_added_listed_used_and_removed() {
    let mut rig = Rig::new();
    let kinds = [KeyType::ED25519, KeyType::ECDSA_NISTP256, KeyType::ECDSA_NISTP384, KeyType::ECDSA_NISTP521];
    let keys: Vec<PrivateKey> = kinds.into_iter().zip(10..).map(|(kind, n)| private(kind, n)).collect();
    for key in &keys {
        assert_eq!(rig.add(key, Constraints::new()), Reply::Done);
    }
    let public: Vec<PublicKey> = keys.iter().map(|key| key.public().clone()).collect();
    assert_eq!(rig.listed(), public, "in the order in which they came");
    for key in &public {
        let algorithm = key.signature_algorithms()[0];
        let Reply::Signature(blob) = rig.sign(key, algorithm, b"message").unwrap() else { panic!("{key:?}") };
        signature::verify(provider::best(), key, algorithm, b"message", &blob).unwrap();
    }
    // The same key again is the same key.
    assert_eq!(rig.add(&keys[1], Constraints::new()), Reply::Done);
    assert_eq!(rig.listed().len(), 4);
    rig.client.remove(&public[2].to_blob()).unwrap();
    assert_eq!(rig.ask(Decision::Reject), Ok(Reply::Done));
    assert_eq!(rig.listed(), [&public[..2], &public[3..]].concat());
    rig.client.remove(&public[2].to_blob()).unwrap();
    assert_eq!(rig.ask(Decision::Reject), Ok(Reply::Refused), "it is gone");
    assert_eq!(rig.sign(&public[2], public[2].signature_algorithms()[0], b"m"), Ok(Reply::Refused));
    rig.client.remove_all().unwrap();
    assert_eq!(rig.ask(Decision::Reject), Ok(Reply::Done));
    assert!(rig.listed().is_empty() && rig.keyring.is_empty());
}

#[test]
fn s34_the_flags_ask_for_sha2_and_the_answer_is_held_to_it() {
    let rsa = rsa_key();
    let blob = rsa.public().to_blob();
    let all = [
        (SignatureAlgorithm::RSA_SHA256, 2u32, "rsa-sha2-256"),
        (SignatureAlgorithm::RSA_SHA512, 4, "rsa-sha2-512"),
        (SignatureAlgorithm::RSA_SHA1, 0, "ssh-rsa"),
    ];
    for (algorithm, flags, name) in all {
        // The agent of the test answers with each algorithm in turn.
        for (other, ..) in all {
            let mut client = Client::new();
            client.sign(&blob, algorithm, b"message").unwrap();
            let request = client.take_tx();
            assert_eq!(request[request.len() - 4..], flags.to_be_bytes(), "{name}: never both flags");
            let mut answer = vec![14];
            answer.put_string(&rsa.sign(other, b"message", &mut rng(1)).unwrap());
            let mut frame = Vec::new();
            frame.put_string(&answer);
            let result = client.receive(&frame);
            if other == algorithm {
                assert!(matches!(result, Ok(Some(Reply::Signature(_)))), "{result:?}");
            } else {
                let got = other.name().to_owned();
                assert_eq!(result, Err(AgentError::Algorithm { asked: algorithm, got }));
                assert!(!client.is_waiting(), "and the next request can go out");
            }
        }
    }
}

#[test]
fn s34_our_agent_signs_as_the_flags_say() {
    let mut rig = Rig::new();
    let key = private(KeyType::RSA, 20);
    assert_eq!(rig.add(&key, Constraints::new()), Reply::Done);
    for algorithm in key.public().signature_algorithms() {
        let Reply::Signature(blob) = rig.sign(key.public(), *algorithm, b"m").unwrap() else { panic!() };
        signature::verify(provider::best(), key.public(), *algorithm, b"m", &blob).unwrap();
    }
}

#[test]
fn f17_a_frame_is_measured_before_memory_is_taken() {
    for length in [0u32, MAX_MESSAGE as u32 + 1, u32::MAX] {
        let mut rig = Rig::new();
        rig.server.receive(&length.to_be_bytes());
        assert_eq!(rig.server.poll(&mut rig.keyring, rig.now), Err(AgentError::Length(length)));
        // Nothing that follows is looked at, or kept.
        rig.server.receive(&[0; 1000]);
        assert_eq!(rig.server.poll(&mut rig.keyring, rig.now), Err(AgentError::Length(length)));
        rig.client.list().unwrap();
        assert_eq!(rig.client.receive(&length.to_be_bytes()), Err(AgentError::Length(length)));
    }
    let mut client = Client::new();
    let long = vec![0; MAX_MESSAGE];
    assert_eq!(client.sign(b"key", ED25519, &long), Err(AgentError::TooLarge));
    client.list().expect("nothing waits");
}

#[test]
fn f18_each_request_has_its_own_answer() {
    type Ask = fn(&mut Client);
    let asks: [(Ask, &[u8]); 5] = [
        (|c| c.list().unwrap(), &[5, 12]),
        (|c| c.sign(b"key", ED25519, b"m").unwrap(), &[5, 14]),
        (|c| c.remove_all().unwrap(), &[5, 6]),
        (|c| c.query().unwrap(), &[5, 6, 28, 29]),
        (|c| c.bind_session(b"k", b"s", b"x", Purpose::Login).unwrap(), &[5, 6, 28]),
    ];
    for (ask, legal) in asks {
        for number in 0..=255u8 {
            let mut client = Client::new();
            ask(&mut client);
            let mut frame = Vec::new();
            frame.put_string(&[number]);
            match client.receive(&frame) {
                Err(AgentError::UnexpectedReply { got, .. }) => {
                    assert!(!legal.contains(&number) && got == number, "{number}");
                }
                _ => assert!(legal.contains(&number), "{number}"),
            }
        }
    }
    // Without being asked, and more than one.
    let mut client = Client::new();
    assert_eq!(client.receive(&[0, 0, 0, 1, 6]), Err(AgentError::Unasked));
    let mut client = Client::new();
    client.remove_all().unwrap();
    assert_eq!(client.receive(&[0, 0, 0, 1, 6, 0, 0, 0, 1, 6]), Err(AgentError::Unasked));
    assert_eq!(client.remove_all().map(|()| client.list()), Ok(Err(AgentError::Busy)));
}

#[test]
fn f18_a_list_is_as_long_as_it_is() {
    let listed = |count: u32, body: &[u8]| {
        let mut client = Client::new();
        client.list().unwrap();
        let mut message = vec![12];
        message.put_u32(count);
        message.extend(body);
        let mut frame = Vec::new();
        frame.put_string(&message);
        client.receive(&frame)
    };
    for count in [2049, u32::MAX] {
        assert_eq!(listed(count, b""), Err(AgentError::TooManyKeys(count)));
    }
    assert_eq!(listed(2048, b""), Err(AgentError::Malformed("list its keys")));
    // A key that is not known here is kept to the byte, and others stand beside it.
    let known = key_of(KeyType::ED25519, 4).public().clone();
    let strange = b"\0\0\0\x13ssh-frob@konko.test\x01\x02".to_vec();
    let mut body = Vec::new();
    for blob in [&strange, &known.to_blob(), &Vec::new()] {
        body.put_string(blob);
        body.put_string(b"comm\xffent");
    }
    let Ok(Some(Reply::Identities(list))) = listed(3, &body) else { panic!() };
    let shown: Vec<_> = list.iter().map(|identity| (&identity.blob, identity.key.clone())).collect();
    assert_eq!(shown, [(&strange, None), (&known.to_blob(), Some(known)), (&Vec::new(), None)]);
    assert_eq!(list[0].comment, b"comm\xffent");
}

/// A request to add a key, with these constraints behind it.
fn addition(constraints: &[u8]) -> Vec<u8> {
    let key = private(KeyType::ED25519, 30);
    let mut m = vec![25];
    m.put_string(b"ssh-ed25519");
    m.extend(key.expose_fields());
    m.put_string(b"c");
    m.extend(constraints);
    m
}

#[test]
fn f19_what_cannot_be_held_to_is_not_taken() {
    let mut extension = vec![255];
    extension.put_string(b"no-such-thing@konko.test");
    let mut empty_restriction = vec![255];
    empty_restriction.put_string(b"restrict-destination-v00@openssh.com");
    empty_restriction.put_string(b"");
    let mut certificates = vec![255];
    certificates.put_string(b"associated-certs-v00@openssh.com");
    certificates.put_bool(true);
    certificates.put_string(b"");
    let mut provider_of_sk = vec![255];
    provider_of_sk.put_string(b"sk-provider@openssh.com");
    provider_of_sk.put_string(b"internal");
    let wrong: [(&str, &[u8]); 11] = [
        ("a lifetime that is cut short", &[1, 0, 0, 0]),
        ("a lifetime twice", &[1, 0, 0, 0, 9, 1, 0, 0, 0, 9]),
        ("confirmation twice", &[2, 2]),
        ("confirmation where nobody is asked", &[2]),
        ("an unknown number", &[0]),
        ("signatures that are counted", &[3, 0, 0, 0, 1]),
        ("another unknown number", &[4]),
        ("an extension", &extension),
        ("no destination at all", &empty_restriction),
        ("certificates of a token", &certificates),
        ("a module for security keys", &provider_of_sk),
    ];
    for (what, constraints) in wrong {
        let mut rig = Rig::new();
        assert_eq!(rig.raw(&addition(constraints)), [5], "{what}");
        assert!(rig.keyring.is_empty(), "{what}");
    }
    let mut rig = Rig::new();
    assert_eq!(rig.raw(&addition(&[1, 0, 0, 0, 9])), [6], "and this is right");
    let mut asking = Rig::over(Keyring::new(provider::best(), rng(1)).can_confirm());
    assert_eq!(asking.raw(&addition(&[2])), [6], "somebody can be asked");
    // What the client is told to say is said whole, or not at all.
    let certificates = AssociatedCertificates::new([b"cert".to_vec()], true);
    let said =
        Client::new().add(&private(KeyType::ED25519, 1), b"", &Constraints::new().certificates(certificates));
    assert!(matches!(said, Err(AgentError::Constraint(_))), "{said:?}");
}

#[test]
fn f19_every_request_that_is_cut_short_is_refused() {
    let key = key_of(KeyType::ED25519, 30).public().clone();
    let mut sign = vec![13];
    sign.put_string(&key.to_blob());
    sign.put_string(b"message");
    sign.put_u32(0);
    let mut remove = vec![18];
    remove.put_string(&key.to_blob());
    let mut lock = vec![22];
    lock.put_string(b"words");
    for whole in [addition(&[1, 0, 0, 0, 9]), sign, remove, lock] {
        for end in 1..whole.len() {
            let mut rig = Rig::new();
            let cut = &whole[..end];
            // Where the constraints begin, the key is whole.
            let whole_key = whole[0] == 25 && end == whole.len() - 5;
            assert_eq!(rig.raw(cut), [if whole_key { 6 } else { 5 }], "{} of {}", end, whole.len());
            assert!(!rig.keyring.is_locked());
        }
    }
}

#[test]
fn a_key_is_gone_when_its_time_is_over() {
    let mut rig = Rig::over(Keyring::new(provider::best(), rng(1)).default_lifetime(100));
    let (short, usual) = (private(KeyType::ED25519, 1), private(KeyType::ED25519, 2));
    assert_eq!(rig.add(&short, Constraints::new().lifetime(10)), Reply::Done);
    assert_eq!(rig.add(&usual, Constraints::new()), Reply::Done);
    assert_eq!(rig.keyring.next_expiry(), Some(Time::ZERO + Duration::from_secs(10)));
    rig.now = Time::ZERO + Duration::from_micros(9_999_999);
    assert_eq!(rig.listed().len(), 2);
    rig.now = Time::ZERO + Duration::from_secs(10);
    assert_eq!(rig.sign(short.public(), ED25519, b"m"), Ok(Reply::Refused));
    assert_eq!(rig.listed(), [usual.public().clone()]);
    rig.now = Time::ZERO + Duration::from_secs(100);
    assert!(rig.listed().is_empty());
    assert_eq!(rig.keyring.next_expiry(), None);
}

#[test]
fn a_person_is_asked_about_each_use_and_requests_wait_meanwhile() {
    let mut rig = Rig::over(Keyring::new(provider::best(), rng(1)).can_confirm());
    let key = private(KeyType::ED25519, 1);
    assert_eq!(rig.add(&key, Constraints::new().confirm()), Reply::Done);
    let ask = |rig: &mut Rig, word| {
        rig.client.sign(&key.public().to_blob(), ED25519, b"m").unwrap();
        rig.ask(word)
    };
    assert_eq!(ask(&mut rig, Decision::Reject), Ok(Reply::Refused));
    assert!(matches!(ask(&mut rig, Decision::Accept), Ok(Reply::Signature(_))));
    // Two requests at once: the second is answered after the first.
    rig.client.sign(&key.public().to_blob(), ED25519, b"m").unwrap();
    rig.server.receive(&rig.client.take_tx());
    rig.server.receive(&[0, 0, 0, 1, 11]);
    let asked = rig.server.poll(&mut rig.keyring, rig.now).unwrap().expect("a question");
    assert_eq!((&asked.key, &asked.comment[..]), (key.public(), &b"a comment"[..]));
    assert_eq!(rig.server.poll(&mut rig.keyring, rig.now), Ok(None), "asked once");
    assert!(rig.server.take_tx().is_empty());
    // The agent is locked before the person says yes.
    let mut other = Rig::over(std::mem::replace(&mut rig.keyring, Keyring::new(provider::best(), rng(1))));
    other.client.lock(b"words").unwrap();
    assert_eq!(other.ask(Decision::Reject), Ok(Reply::Done));
    rig.keyring = other.keyring;
    rig.server.answer(&mut rig.keyring, Decision::Accept);
    rig.server.poll(&mut rig.keyring, rig.now).unwrap();
    assert_eq!(rig.server.take_tx(), [&[0, 0, 0, 1, 5][..], &[0, 0, 0, 5, 12, 0, 0, 0, 0]].concat());
}

#[test]
fn f20_a_locked_agent_shows_nothing_and_still_remembers_where_it_is() {
    let mut rig = Rig::new();
    let key = private(KeyType::ED25519, 1);
    assert_eq!(rig.add(&key, Constraints::new().destinations([way(None, 7, "")])), Reply::Done);
    rig.client.lock(b"words").unwrap();
    assert_eq!(rig.ask(Decision::Reject), Ok(Reply::Done));
    assert!(rig.listed().is_empty());
    assert_eq!(rig.sign(key.public(), ED25519, b"m"), Ok(Reply::Refused));
    assert_eq!(rig.add(&private(KeyType::ED25519, 2), Constraints::new()), Reply::Refused);
    for ask in [Client::remove_all, Client::query] {
        ask(&mut rig.client).unwrap();
        assert_eq!(rig.ask(Decision::Reject), Ok(Reply::Refused));
    }
    rig.client.lock(b"words").unwrap();
    assert_eq!(rig.ask(Decision::Reject), Ok(Reply::Refused), "it is locked");
    // What comes over this connection comes from host 8, and that is true when the agent is unlocked, too.
    assert_eq!(rig.bind(8, b"session", Purpose::Forwarding), Reply::Done);
    rig.client.unlock(b"words").unwrap();
    assert_eq!(rig.ask(Decision::Reject), Ok(Reply::Done));
    assert!(rig.listed().is_empty(), "the key is for host 7");
    rig.reconnect();
    assert_eq!(rig.listed(), [key.public().clone()]);
    assert_eq!(rig.bind(7, b"session", Purpose::Login), Reply::Done);
    assert_eq!(rig.listed(), [key.public().clone()]);
}

#[test]
fn f20_a_wrong_passphrase_makes_the_next_one_wait_whoever_tries() {
    let mut rig = Rig::new();
    rig.client.lock(b"").unwrap();
    assert_eq!(rig.ask(Decision::Reject), Ok(Reply::Refused), "no words are no lock");
    rig.client.lock(b"words").unwrap();
    assert_eq!(rig.ask(Decision::Reject), Ok(Reply::Done));
    rig.client.unlock(b"word").unwrap();
    assert_eq!(rig.ask(Decision::Reject), Ok(Reply::Refused));
    for failures in 1..4u32 {
        rig.reconnect();
        rig.client.unlock(if failures < 3 { b"wrong" } else { b"words" }).unwrap();
        rig.server.receive(&rig.client.take_tx());
        assert_eq!(rig.server.poll(&mut rig.keyring, rig.now), Ok(None));
        assert!(rig.server.take_tx().is_empty(), "not yet");
        let until = rig.now + Duration::from_millis(100) * failures;
        assert_eq!(rig.server.deadline(&rig.keyring), Some(until));
        rig.now = until;
        assert_eq!(rig.server.poll(&mut rig.keyring, rig.now), Ok(None));
        let answer = rig.server.take_tx();
        assert_eq!(answer, [0, 0, 0, 1, if failures < 3 { 5 } else { 6 }]);
        assert_eq!(rig.server.deadline(&rig.keyring), None);
    }
    assert!(!rig.keyring.is_locked());
}

#[test]
fn f21_a_key_is_used_where_its_destinations_say() {
    let mut rig = Rig::new();
    let key = private(KeyType::ED25519, 1);
    let ways = [way(None, 7, "alice*"), way(Some(7), 8, "")];
    assert_eq!(rig.add(&key, Constraints::new().destinations(ways)), Reply::Done);
    let seen = [key.public().clone()];
    let public = key.public();
    // Here: it is seen, and signs nothing.
    assert_eq!(rig.listed(), seen);
    assert_eq!(rig.sign(public, ED25519, &login(b"s7", "alice", public, None)), Ok(Reply::Refused));
    // To host 7.
    assert_eq!(rig.bind(7, b"s7", Purpose::Login), Reply::Done);
    assert_eq!(rig.listed(), seen);
    let tries = [
        (login(b"s7", "alice2", public, None), true),
        (login(b"s7", "alice2", public, Some(7)), true),
        (login(b"s7", "bob", public, None), false),
        (login(b"other", "alice2", public, None), false),
        (login(b"s7", "alice2", public, Some(8)), false),
        (login(b"s7", "alice2", key_of(KeyType::ED25519, 99).public(), None), false),
        (b"anything".to_vec(), false),
    ];
    for (i, (message, right)) in tries.into_iter().enumerate() {
        let result = rig.sign(public, ED25519, &message);
        assert_eq!(matches!(result, Ok(Reply::Signature(_))), right, "{i}: {result:?}");
    }
    // A connection that logs in is bound for good.
    assert_eq!(rig.bind(8, b"s8", Purpose::Forwarding), Reply::Refused);
    // To host 9: nothing.
    rig.reconnect();
    assert_eq!(rig.bind(9, b"s9", Purpose::Login), Reply::Done);
    assert!(rig.listed().is_empty());
    rig.client.remove(&public.to_blob()).unwrap();
    assert_eq!(rig.ask(Decision::Reject), Ok(Reply::Refused));
    assert_eq!(rig.add(&key, Constraints::new()), Reply::Refused, "nor are its limits lifted from there");
    // Over host 7 to host 8, where only a request that names host 8 is signed.
    rig.reconnect();
    assert_eq!(rig.bind(7, b"s7", Purpose::Forwarding), Reply::Done);
    assert_eq!(rig.listed(), seen, "it can be used on from there");
    assert_eq!(rig.sign(public, ED25519, &login(b"s7", "alice", public, Some(7))), Ok(Reply::Refused));
    assert_eq!(rig.bind(8, b"s8", Purpose::Login), Reply::Done);
    assert_eq!(rig.sign(public, ED25519, &login(b"s8", "bob", public, None)), Ok(Reply::Refused));
    assert!(matches!(
        rig.sign(public, ED25519, &login(b"s8", "bob", public, Some(8))),
        Ok(Reply::Signature(_))
    ));
    // Over host 8: no way begins there.
    rig.reconnect();
    assert_eq!(rig.bind(8, b"s8", Purpose::Forwarding), Reply::Done);
    assert!(rig.listed().is_empty());
}

#[test]
fn f21_a_session_is_one_that_its_server_has_signed() {
    let mut rig = Rig::new();
    let key = private(KeyType::ED25519, 1);
    assert_eq!(rig.add(&key, Constraints::new().destinations([way(None, 7, "")])), Reply::Done);
    let host = key_of(KeyType::ED25519, 7);
    let blob = host.public().to_blob();
    let signature = host.sign(ED25519, b"session", &mut rng(3)).unwrap();
    let other = key_of(KeyType::ED25519, 8).sign(ED25519, b"session", &mut rng(3)).unwrap();
    let long = vec![1; 129];
    let of_long = host.sign(ED25519, &long, &mut rng(3)).unwrap();
    let wrong =
        [(&b"sessiom"[..], &signature), (b"session", &other), (&long, &of_long), (b"session", &vec![])];
    for (session, signature) in wrong {
        rig.reconnect();
        rig.client.bind_session(&blob, session, signature, Purpose::Login).unwrap();
        assert_eq!(rig.ask(Decision::Reject), Ok(Reply::Refused));
        assert!(rig.listed().is_empty(), "whoever failed to bind is not local");
    }
    // The same again is the same; another host may not have the same session. Sixteen are the most.
    rig.reconnect();
    assert_eq!(rig.bind(7, b"s0", Purpose::Forwarding), Reply::Done);
    assert_eq!(rig.bind(7, b"s0", Purpose::Forwarding), Reply::Done);
    assert_eq!(rig.bind(8, b"s0", Purpose::Forwarding), Reply::Refused);
    for n in 1..16 {
        assert_eq!(rig.bind(7, format!("s{n}").as_bytes(), Purpose::Forwarding), Reply::Done, "{n}");
    }
    assert_eq!(rig.bind(7, b"s16", Purpose::Forwarding), Reply::Refused);
    assert_eq!(rig.bind(7, b"s15", Purpose::Forwarding), Reply::Done);
}

#[test]
fn f21_destinations_are_bounded_and_make_sense() {
    let host = |n| HopKey::host(key_of(KeyType::ED25519, n).public().clone());
    let named = |name: &str| Hop::host(name, [host(1)]);
    for (from, to) in [
        (Hop::origin(), Hop::origin()),
        (Hop::origin(), Hop::host("h", [])),
        (Hop::host("f", []), named("t")),
        (named("f").user("u"), named("t")),
        (Hop::origin(), named("t").user("u".repeat(257))),
    ] {
        assert!(Destination::new(from.clone(), to.clone()).is_err(), "{from:?} {to:?}");
    }
    let mut rig = Rig::new();
    let key = private(KeyType::ED25519, 1);
    let ways = |n: usize| Constraints::new().destinations(vec![way(None, 7, ""); n]);
    assert_eq!(rig.add(&key, ways(1024)), Reply::Done);
    assert!(matches!(rig.client.add(&key, b"", &ways(1025)), Err(AgentError::Constraint(_))));
    // And from somebody who does not count.
    let mut one = Vec::new();
    {
        let mut client = Client::new();
        client.add(&private(KeyType::ED25519, 30), b"c", &ways(1)).unwrap();
        let request = client.take_tx();
        let plain = addition(&[]).len() + 4;
        // The number, the extension's name, the list's length.
        one.extend(&request[plain + 1 + 4 + 36 + 4..]);
    }
    let mut constraint = vec![255];
    constraint.put_string(b"restrict-destination-v00@openssh.com");
    constraint.put_string(&one.repeat(1025));
    assert_eq!(rig.raw(&addition(&constraint)), [5]);
    let mut constraint = vec![255];
    constraint.put_string(b"restrict-destination-v00@openssh.com");
    constraint.put_string(&one);
    assert_eq!(rig.raw(&addition(&constraint)), [6], "one of them is right");
}

#[test]
fn f22_no_module_is_loaded_because_somebody_names_it() {
    let mut rig = Rig::new();
    let module = b"/usr/lib/libevil.so";
    let certificates = AssociatedCertificates::new([b"certificate".to_vec()], true);
    rig.client.add_token(module, b"1234", &Constraints::new()).unwrap();
    assert_eq!(rig.ask(Decision::Reject), Ok(Reply::Refused));
    rig.client.add_token(module, b"1234", &Constraints::new().certificates(certificates)).unwrap();
    let request = rig.client.take_tx();
    assert_eq!(request[4], 26);
    // OpenSSH PROTOCOL.agent §3: the extension, whether only the certificates, and one string of strings.
    let mut end = vec![255];
    end.put_string(b"associated-certs-v00@openssh.com");
    end.put_bool(true);
    end.put_string(b"\0\0\0\x0bcertificate");
    assert!(request.ends_with(&end));
    assert_eq!(rig.raw(&request[4..]), [5]);
    assert_eq!(rig.raw(&[21, 0, 0, 0, 1, b'm', 0, 0, 0, 0]), [5]);
}

#[test]
fn s21_where_the_agent_is_looked_for() {
    let socket = |path: &str| Place::Socket(path.as_bytes().to_vec());
    let pipe = socket(r"\\.\pipe\openssh-ssh-agent");
    let env = |set: Option<&'static str>| {
        move |name: &[u8]| match name {
            b"SSH_AUTH_SOCK" => set.map(|path| path.as_bytes().to_vec()),
            b"OTHER" => Some(b"/other".to_vec()),
            _ => None,
        }
    };
    for windows in [false, true] {
        let none = if windows { vec![Place::Pageant, pipe.clone()] } else { vec![] };
        for (option, set, expected) in [
            (None, Some("/sock"), vec![socket("/sock")]),
            (None, None, none.clone()),
            (None, Some(""), none.clone()),
            (Some("SSH_AUTH_SOCK"), Some("/sock"), vec![socket("/sock")]),
            (Some("none"), Some("/sock"), vec![]),
            (Some("/agent"), Some("/sock"), vec![socket("/agent")]),
            (Some("$OTHER"), Some("/sock"), vec![socket("/other")]),
            (Some("$UNSET"), Some("/sock"), vec![]),
        ] {
            assert_eq!(places(option.map(str::as_bytes), env(set), windows), expected, "{option:?} {set:?}");
        }
    }
}

#[test]
fn what_an_agent_can_is_asked() {
    let mut rig = Rig::new();
    rig.client.query().unwrap();
    let names = Reply::Extensions(vec![b"session-bind@openssh.com".to_vec()]);
    assert_eq!(rig.ask(Decision::Reject), Ok(names.clone()));
    // As drafts had it.
    let mut draft = vec![6];
    draft.put_string(b"session-bind@openssh.com");
    let mut frame = Vec::new();
    frame.put_string(&draft);
    let mut client = Client::new();
    client.query().unwrap();
    assert_eq!(client.receive(&frame), Ok(Some(names)));
    for unknown in [0u8, 1, 2, 7, 8, 9, 10, 24, 100, 255] {
        assert_eq!(rig.raw(&[unknown]), [if unknown == 9 { 6 } else { 5 }], "{unknown}");
    }
}

#[test]
fn the_list_never_grows_beyond_what_clients_read() {
    let mut rig = Rig::new();
    let key = |n| private(KeyType::ED25519, n);
    let comment = vec![b'c'; 100_000];
    for (n, fits) in [(1, true), (2, true), (3, false)] {
        rig.client.add(&key(n), &comment, &Constraints::new()).unwrap();
        let reply = rig.ask(Decision::Reject).unwrap();
        assert_eq!(reply, if fits { Reply::Done } else { Reply::Refused });
    }
    assert_eq!(rig.listed().len(), 2);
    rig.client.add(&key(2), b"short", &Constraints::new()).unwrap();
    assert_eq!(rig.ask(Decision::Reject), Ok(Reply::Done), "a key is replaced");
    rig.client.add(&key(3), &comment, &Constraints::new()).unwrap();
    assert_eq!(rig.ask(Decision::Reject), Ok(Reply::Done));
}

#[test]
fn nothing_secret_is_printed() {
    let mut rig = Rig::new();
    rig.client.lock(b"hush-hush").unwrap();
    let shown = format!("{:?}", rig.client);
    rig.server.receive(&rig.client.take_tx());
    let shown = format!("{shown} {:?} {:?}", rig.server, rig.keyring);
    assert_eq!(shown, "Client { waiting_for: Some(\"lock itself\") } Server(0 sessions) Keyring(0 keys)");
}
