//! UpdateHostKeys in both roles: a server tells which keys it has and proves them, a client learns and forgets.

use std::sync::Arc;

use konko_core::hosts::*;
use konko_core::keys::{KeyPair, KeyType, PublicKey, SignatureAlgorithm};

use konko_core::wire::Sink;
use konko_core::*;
use konko_test::apps::{Host, Proof, Shell};
use konko_test::{App, Pair, key_of, rsa_key, transport_config};

/// A client that logs in and updates its file of known hosts, which is kept in memory.
struct Updater {
    shell: Shell,
    check: HostKeyCheck,
    settled: Option<Settled>,
    file: Vec<u8>,
    update: Option<HostKeysUpdate>,
    /// The fields of each announcement.
    announced: Vec<Vec<u8>>,
    /// Sent instead of what the update asks for.
    instead: Option<Vec<u8>>,
    /// Asks a second time.
    again: bool,
    outcome: Vec<Result<(usize, usize), Unchanged>>,
    replies: Vec<bool>,
}

impl Updater {
    fn new(file: &str, update: UpdateHostKeys) -> Self {
        let mut checking = Checking::default();
        checking.user_files = vec![b"user".to_vec()];
        checking.global_files = vec![b"global".to_vec()];
        checking.update_host_keys = update;
        let known = Arc::new(KnownHosts::parse("user", file.as_bytes()).unwrap());
        Updater {
            shell: Shell::login([Proof::Password("wonderland")]),
            check: HostKeyCheck::new("host", 22, Trust::KnownHosts(checking), known),
            settled: None,
            file: file.into(),
            update: None,
            announced: Vec::new(),
            instead: None,
            again: false,
            outcome: Vec::new(),
            replies: Vec::new(),
        }
    }

    fn apply(&mut self, changes: &HostKeyChanges) {
        let mut file = KnownHostsFile::parse(&self.file).unwrap();
        changes.apply(0, &mut file, &mut Rng::from_seed(&Seed::new([1; 32]))).unwrap();
        self.file = file.to_bytes();
        self.outcome.push(Ok((changes.learned().len(), changes.removed().len())));
    }

    fn on_announcement(&mut self, conn: &mut ClientConnection, fields: &[u8]) {
        self.announced.push(fields.to_vec());
        let allowed = algorithms();
        let settled = self.settled.as_ref().unwrap();
        let mut update = match self.check.update(settled, fields, &allowed, 2048) {
            Ok(update) => update,
            Err(why) => return self.outcome.push(Err(why)),
        };
        while update.question().is_some() {
            update.answer(Contents::Bytes(self.file.clone()));
        }
        match update.decide() {
            NextOfUpdate::Prove(fields) => {
                let fields = self.instead.take().unwrap_or(fields);
                conn.request_global(PROOF, &fields, WantReply::Yes).unwrap();
                if self.again {
                    conn.request_global(PROOF, &fields, WantReply::Yes).unwrap();
                }
                self.update = Some(update);
            }
            NextOfUpdate::Change(changes) => self.apply(&changes),
            NextOfUpdate::Nothing(why) => self.outcome.push(Err(why)),
        }
    }
}

impl App<client::ClientSide> for Updater {
    fn on_event(&mut self, conn: &mut ClientConnection, event: ClientEvent<'_>) {
        match event {
            ClientEvent::Auth(ClientAuth::HostKey(ticket)) => {
                let Checked::Settled(settled) = self.check.decide(conn.offered_host_key().unwrap()) else {
                    panic!("nobody is asked")
                };
                let yes = matches!(settled, Settled::Accept { .. });
                self.settled = Some(settled);
                conn.decide_host_key(ticket, Decision::accept_if(yes)).unwrap();
            }
            ClientEvent::GlobalRequest { ticket, request } => {
                assert!(ticket.is_none() && request.name.as_bytes() == ANNOUNCEMENT.as_bytes());
                let fields = request.fields.to_vec();
                self.on_announcement(conn, &fields);
            }
            ClientEvent::GlobalReply { ok, fields } => {
                self.replies.push(ok);
                let Some(update) = self.update.take() else { return };
                let id = conn.session_id().unwrap().as_bytes().to_vec();
                let algorithm = conn.negotiated().unwrap().host_key;
                match update.proved(provider::rustcrypto(), &id, algorithm, ok, fields) {
                    Ok(changes) => self.apply(&changes),
                    Err(why) => self.outcome.push(Err(why)),
                }
            }
            event => self.shell.on_event(conn, event),
        }
    }
}

/// What a client offers.
fn algorithms() -> Vec<SignatureAlgorithm> {
    transport_config().algorithms.host_key
}

fn ed() -> Arc<KeyPair> {
    key_of(KeyType::ED25519, 7)
}

fn line(names: &str, key: &PublicKey) -> String {
    format!("{names} {}\n", key.to_openssh_line(""))
}

/// A server with these keys that tells them, and a client that knows this.
fn met(keys: &[Arc<KeyPair>], updater: Updater, announce: bool) -> Updater {
    let mut server = ServerConfig::new(transport_config(), keys.to_vec());
    server.announce_host_keys = announce;
    let mut transport = transport_config();
    transport.algorithms.prefer_host_keys(&updater.check.algorithms());
    let mut pair = Pair::new(ClientConfig::new(transport), server, (updater, Host::default()));
    pair.drive_until("the login is over", |p| {
        p.client.conn.is_authenticated() && p.server.conn.is_authenticated()
    });
    for _ in 0..50 {
        pair.step();
    }
    assert_eq!(pair.client.result, None);
    pair.client.app
}

#[test]
fn h16_new_keys_are_learnt_once_they_are_proved_and_old_ones_are_forgotten() {
    let (ed, ec, rsa) = (ed(), key_of(KeyType::ECDSA_NISTP256, 8), rsa_key());
    let gone = key_of(KeyType::ECDSA_NISTP384, 9);
    let file = format!(
        "# mine\n{}{}{}",
        line("host", ed.public()),
        line("host,192.0.2.1", gone.public()),
        line("b", key_of(KeyType::ED25519, 3).public())
    );
    let client = met(&[ed.clone(), ec.clone(), rsa.clone()], Updater::new(&file, UpdateHostKeys::Yes), true);
    assert_eq!(client.outcome, [Ok((2, 1))]);
    let expected = format!(
        "# mine\n{}{}{}{}",
        line("host", ed.public()),
        line("b", key_of(KeyType::ED25519, 3).public()),
        line("host", ec.public()),
        line("host", rsa.public())
    );
    assert_eq!(String::from_utf8(client.file).unwrap(), expected);

    // The next time there is nothing to do, and nobody is asked for a proof.
    let client = met(&[ed, ec, rsa], Updater::new(&expected, UpdateHostKeys::Yes), true);
    assert_eq!((client.outcome, client.replies.len()), (vec![Err(Unchanged::Nothing)], 0));
}

#[test]
fn h16_a_server_that_is_not_told_to_says_nothing() {
    let client = met(&[ed()], Updater::new(&line("host", ed().public()), UpdateHostKeys::Yes), false);
    assert_eq!(client.announced.len(), 0);
}

#[test]
fn h16_a_key_is_proved_once_and_only_if_it_is_the_servers() {
    let (ed, ec) = (ed(), key_of(KeyType::ECDSA_NISTP256, 8));
    let file = line("host", ed.public());
    let mut updater = Updater::new(&file, UpdateHostKeys::Yes);
    updater.again = true;
    let client = met(&[ed.clone(), ec.clone()], updater, true);
    assert_eq!(client.replies, [true, false], "once");

    for strange in [key_of(KeyType::ED25519, 99).public().to_blob(), b"nonsense".to_vec(), Vec::new()] {
        let mut fields = Vec::new();
        fields.put_string(&ec.public().to_blob());
        fields.put_string(&strange);
        let mut updater = Updater::new(&file, UpdateHostKeys::Yes);
        updater.instead = Some(fields);
        let client = met(&[ed.clone(), ec.clone()], updater, true);
        assert_eq!(client.replies, [false]);
        assert!(matches!(client.outcome[..], [Err(Unchanged::Unproven(_))]));
        assert_eq!(String::from_utf8(client.file).unwrap(), file);
    }
}

/// What a client with this file does about an announcement of these keys; `Ok` with the keys it asks proofs for.
fn decide(file: &str, settled: &Settled, keys: &[&PublicKey]) -> Result<NextOfUpdate, Unchanged> {
    let updater = Updater::new(file, UpdateHostKeys::Yes);
    let mut fields = Vec::new();
    keys.iter().for_each(|key| fields.put_string(&key.to_blob()));
    let mut update = updater.check.update(settled, &fields, &algorithms(), 2048)?;
    while update.question().is_some() {
        update.answer(Contents::Bytes(file.into()));
    }
    match update.decide() {
        NextOfUpdate::Nothing(why) => Err(why),
        next => Ok(next),
    }
}

fn known_at(file: &str) -> Settled {
    let at = konko_core::text::Location::new(file.as_bytes(), 1);
    Settled::Accept { why: Accepted::Known(at), remember: None }
}

#[test]
fn h16_nothing_is_learnt_where_it_is_not_certain_what_it_means() {
    let (ed, new, old) = (ed(), key_of(KeyType::ECDSA_NISTP256, 8), key_of(KeyType::ECDSA_NISTP384, 9));
    let (ed, new, old) = (ed.public(), new.public(), old.public());
    let (trusted, host) = (known_at("user"), line("host", ed));
    assert!(matches!(decide(&host, &trusted, &[ed, new]), Ok(NextOfUpdate::Prove(_))));
    let with = |more: String| format!("{host}{more}");
    for (file, why) in [
        (line("host*", ed), Unchanged::Complex),
        (line("host,a,b", ed), Unchanged::Complex),
        (with(format!("@revoked {}", line("host", old))), Unchanged::Complex),
        (with(format!("@cert-authority {}", line("host", old))), Unchanged::Complex),
        (with(line("other", new)), Unchanged::OtherName),
        (with(line("host", old) + &line("other", old)), Unchanged::OtherName),
    ] {
        assert_eq!(decide(&file, &trusted, &[ed, new]).unwrap_err(), why, "{file}");
    }
    for settled in [
        known_at("global"),
        known_at("KnownHostsCommand"),
        Settled::Accept { why: Accepted::New, remember: None },
        Settled::Accept { why: Accepted::Confirmed, remember: None },
        Settled::Accept { why: Accepted::Pinned, remember: None },
        Settled::Accept { why: Accepted::Any, remember: None },
    ] {
        assert_eq!(decide(&host, &settled, &[ed, new]).unwrap_err(), Unchanged::NotTrusted, "{settled:?}");
    }
    let updater = Updater::new(&host, UpdateHostKeys::No);
    assert_eq!(updater.check.update(&trusted, b"", &[], 2048).unwrap_err(), Unchanged::NotTrusted);
}

#[test]
fn h16_what_a_host_says_is_bounded_and_exact() {
    let (ed, new) = (ed(), key_of(KeyType::ECDSA_NISTP256, 8));
    let (ed, new) = (ed.public(), new.public());
    let (trusted, host) = (known_at("user"), line("host", ed));
    assert!(matches!(decide(&host, &trusted, &[ed, new, new]), Err(Unchanged::Malformed(_))), "twice");
    let updater = Updater::new(&host, UpdateHostKeys::Yes);
    let allowed = algorithms();
    let update = |fields: &[u8], algorithms: &[SignatureAlgorithm]| {
        updater.check.update(&trusted, fields, algorithms, 2048)
    };
    let mut many = Vec::new();
    (0..10_000).for_each(|_| many.put_string(b"\0\0\0\x0assh-future"));
    assert!(matches!(update(&many, &allowed), Err(Unchanged::Malformed(_))));
    assert!(matches!(update(b"\0\0\0\x05a", &allowed), Err(Unchanged::Malformed(_))));
    // Keys of types that nobody has, and of algorithms that were not offered, are passed over.
    let mut fields = Vec::new();
    [&ed.to_blob()[..], b"\0\0\0\x0assh-future", &new.to_blob()]
        .iter()
        .for_each(|blob| fields.put_string(blob));
    let mut update = update(&fields, &[SignatureAlgorithm::from_name("ssh-ed25519").unwrap()]).unwrap();
    update.answer(Contents::Bytes(host.clone().into()));
    assert!(matches!(update.decide(), NextOfUpdate::Nothing(Unchanged::Nothing)));
}

#[test]
fn h16_a_proof_is_for_this_session_and_this_key() {
    let (ed, new) = (ed(), key_of(KeyType::ECDSA_NISTP256, 8));
    let host = line("host", ed.public());
    let algorithm = SignatureAlgorithm::from_name("ecdsa-sha2-nistp256").unwrap();
    let proof = |prefix: &str, session: &[u8], key: &KeyPair| {
        let mut data = Vec::new();
        [prefix.as_bytes(), session, &key.public().to_blob()].iter().for_each(|field| data.put_string(field));
        let mut fields = Vec::new();
        fields.put_string(&new.sign(algorithm, &data, &mut Rng::from_seed(&Seed::new([1; 32]))).unwrap());
        fields
    };
    let good = proof(PROOF, b"session", &new);
    for (fields, granted, ok) in [
        (good.clone(), true, true),
        (good.clone(), false, false),
        (proof(PROOF, b"another", &new), true, false),
        (proof(ANNOUNCEMENT, b"session", &new), true, false),
        (proof(PROOF, b"session", &ed), true, false),
        ([&good[..], b"\0\0\0\0"].concat(), true, false),
        (good[..good.len() - 1].to_vec(), true, false),
        (Vec::new(), true, false),
    ] {
        let updater = Updater::new(&host, UpdateHostKeys::Yes);
        let mut announcement = Vec::new();
        [ed.public(), new.public()].iter().for_each(|key| announcement.put_string(&key.to_blob()));
        let allowed = algorithms();
        let mut update = updater.check.update(&known_at("user"), &announcement, &allowed, 2048).unwrap();
        update.answer(Contents::Bytes(host.clone().into()));
        assert!(matches!(update.decide(), NextOfUpdate::Prove(_)));
        let done = update.proved(provider::rustcrypto(), b"session", algorithm, granted, &fields);
        assert_eq!(done.is_ok(), ok);
    }
}
