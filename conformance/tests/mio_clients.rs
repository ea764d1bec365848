//! Real clients on a server of `konko-mio`: each algorithm of each of them once.

use konko_conformance::clients::LISTS;
use konko_conformance::data::{checksum_of, noise};
use konko_conformance::keys::{KINDS, KeyRing};
use konko_conformance::log::say;
use konko_conformance::matrix::at_once;
use konko_conformance::{Call, Client, Feed, List, Pattern, Table};
use konko_core::admission::AdmissionLimits;
use konko_core::channel::{ChannelEvent, ChannelId, ChannelRequest, DataStream};
use konko_core::crypto::{Cipher, Compression, Kex, Mac};
use konko_core::keys::{Certificate, PrivateKey, PublicKey, SignatureAlgorithm};
use konko_core::server::AuthDecision;
use konko_core::transport::limits::RekeyLimit;
use konko_core::transport::negotiate::Negotiated;
use konko_core::{
    Decision, ServerAuth, ServerConfig, ServerConnection, ServerEvent, TransportConfig, WantReply, provider,
};
use konko_mio::{App, ConnId, Hub, Loop, Mailbox, Settings, Workers};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the server used for a user, and how often keys were renewed.
type Seen = Arc<Mutex<BTreeMap<String, (Negotiated, u64)>>>;

/// Lets in who has the key, and echoes.
struct Cat {
    key: PublicKey,
    seen: Seen,
    /// Bytes to be sent, and whether all have come.
    waiting: BTreeMap<(ConnId, ChannelId), (Vec<u8>, bool)>,
}

impl App for Cat {
    type Message = ();

    fn on_server_event(
        &mut self,
        id: ConnId,
        conn: &mut ServerConnection,
        event: ServerEvent<'_>,
        _: &mut Hub<()>,
    ) {
        let verdict = |right| if right { AuthDecision::Accept } else { AuthDecision::Reject };
        match event {
            ServerEvent::Auth(ServerAuth::Probe { ticket, key, .. }) => {
                conn.decide_probe(ticket, Decision::accept_if(*key == self.key)).unwrap();
            }
            ServerEvent::Auth(ServerAuth::Signed { ticket, key }) => {
                conn.decide_auth(ticket, verdict(*key.key() == self.key)).unwrap();
            }
            ServerEvent::Auth(ServerAuth::Attempt { ticket, .. }) => {
                conn.decide_auth(ticket, AuthDecision::Reject).unwrap()
            }
            ServerEvent::Open { ticket, .. } => {
                let channel = conn.accept_channel(ticket).unwrap();
                self.waiting.insert((id, channel), (Vec::new(), false));
            }
            ServerEvent::GlobalRequest { ticket: Some(ticket), .. } => {
                conn.reply_global(ticket, Decision::Reject, None).unwrap();
            }
            ServerEvent::Channel(_, ChannelEvent::Request { ticket: Some(ticket), request }) => {
                let known = matches!(request, ChannelRequest::Exec(command) if command.as_bytes() == b"cat");
                conn.reply(ticket, Decision::accept_if(known)).unwrap();
            }
            ServerEvent::Channel(channel, ChannelEvent::Closed) => drop(self.waiting.remove(&(id, channel))),
            ServerEvent::Channel(channel, event) => {
                let Some((bytes, eof)) = self.waiting.get_mut(&(id, channel)) else { return };
                match event {
                    ChannelEvent::Data { data, .. } => bytes.extend_from_slice(data),
                    ChannelEvent::Eof => *eof = true,
                    _ => {}
                }
                let sent = conn.write(channel, DataStream::Data, bytes).unwrap();
                bytes.drain(..sent);
                conn.consume(channel, sent).unwrap();
                if *eof && bytes.is_empty() {
                    *eof = false;
                    conn.request(channel, ChannelRequest::ExitStatus(0), WantReply::No).unwrap();
                    conn.send_eof(channel).unwrap();
                    conn.close_channel(channel).unwrap();
                    let user = conn.user().unwrap().to_string();
                    let used = (conn.negotiated().unwrap().clone(), conn.key_exchanges() - 1);
                    self.seen.lock().unwrap().insert(user, used);
                }
            }
            _ => {}
        }
    }
}

struct Server {
    port: u16,
    seen: Seen,
    mailbox: Mailbox<()>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// With `name` alone in its list, and everything in the others.
    fn start(keys: &KeyRing, list: List, name: &str, workers: &Workers) -> Self {
        let load = |name: &str| PrivateKey::load(&std::fs::read(keys.private(name)).unwrap(), None).unwrap();
        let provider = provider::best();
        let host_keys = KINDS.iter().flat_map(|(kind, _)| {
            let pair = load(&format!("host_{kind}")).key_pair(provider).unwrap();
            let line = std::fs::read(keys.certificate(&format!("host_{kind}"))).unwrap();
            let (certificate, _) = Certificate::from_openssh_line(&line).unwrap();
            let certified = pair.certified(certificate.public()).unwrap();
            [pair, certified].map(Arc::new)
        });
        let mut transport = TransportConfig::new(provider);
        // Some of what clients have is open to Terrapin if they lack strict key exchange.
        transport.allow_terrapin = true;
        transport.rekey = RekeyLimit::new().bytes(256 << 10);
        let algorithms = &mut transport.algorithms;
        algorithms.kex = Kex::ALL.to_vec();
        algorithms.host_key = SignatureAlgorithm::all().collect();
        algorithms.set_ciphers(Cipher::ALL).set_macs(Mac::ALL);
        match list {
            List::Kex => algorithms.kex = vec![Kex::from_name(name).unwrap()],
            List::HostKey => algorithms.host_key = vec![SignatureAlgorithm::from_name(name).unwrap()],
            List::Cipher => drop(algorithms.set_ciphers(&[Cipher::from_name(name).unwrap()])),
            List::Mac => {
                // One that is its own MAC would need no other.
                let plain = ["aes128-ctr", "aes256-ctr"].map(|name| Cipher::from_name(name).unwrap());
                algorithms.set_ciphers(&plain).set_macs(&[Mac::from_name(name).unwrap()]);
            }
        }
        let mut config = ServerConfig::with_transport(transport, host_keys.collect());
        config.offload = true;
        // Nobody can be done with sending before the first rekey.
        config.window = config.window.initial(128 << 10).max(128 << 10);
        let settings = Settings::new().workers(workers.clone());
        let mut server = Loop::new(settings).unwrap();
        let listener = konko_mio::bind("127.0.0.1:0".parse().unwrap(), konko_mio::Sharing::Alone).unwrap();
        let port = listener.local_addr().unwrap().port();
        let admission = konko_mio::admission(AdmissionLimits::default()).unwrap();
        server.hub().listen(listener, Arc::new(config), admission).unwrap();
        let (mailbox, seen) = (server.mailbox(), Seen::default());
        let key = load("user_ed25519").public().clone();
        let mut cat = Cat { key, seen: seen.clone(), waiting: BTreeMap::new() };
        let thread = Some(std::thread::spawn(move || server.run(&mut cat).unwrap()));
        Server { port, seen, mailbox, thread }
    }

    /// Sends a mebibyte through `cat`; how often keys were renewed.
    fn stream(&self, keys: &KeyRing, client: &Client, list: List, name: &str) -> Result<u64, String> {
        let bytes = Pattern { seed: 5, len: 1 << 20 };
        let user = client.to_string();
        let call = Call::to(self.port, keys).key("user_ed25519").user(&user).feed(Feed::Pattern(bytes));
        let done = call.deadline(Duration::from_secs(300)).try_run(client, "cat")?;
        if done.code() != 0 || done.stdout.checksum != bytes.checksum() {
            return Err(done.to_string());
        }
        let seen = self.seen.lock().unwrap();
        let (used, rekeys) = seen.get(&user).ok_or("the server did not see the end")?;
        let [up, down] = used.protection;
        let right = match list {
            List::Kex => used.kex.name() == name,
            List::HostKey => used.host_key.name() == name,
            List::Cipher => [up, down].iter().all(|p| p.cipher.name() == name),
            List::Mac => [up, down].iter().all(|p| p.mac.is_some_and(|mac| mac.name() == name)),
        };
        if !right || *rekeys == 0 {
            return Err(format!("{used:?}, {rekeys} rekeys"));
        }
        Ok(*rekeys)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.mailbox.drain(Duration::ZERO);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

#[test]
fn each_algorithm_of_each_client() {
    let clients = Client::all();
    let offers: Vec<Vec<Vec<String>>> = at_once(&clients, |client| client.lists());
    assert!(offers.iter().all(|lists| lists.len() == LISTS));
    let (keys, workers) = (KeyRing::shared(), Workers::new(2).unwrap());
    let all: Vec<(List, &str)> = List::ALL
        .into_iter()
        .flat_map(|list| list.known().into_iter().map(move |name| (list, name)))
        .collect();
    let rows = at_once(&all, |&(list, name)| {
        let server = Server::start(&keys, list, name, &workers);
        let cells = clients.iter().zip(&offers).map(|(client, offers)| {
            let has = offers[list.place()].iter().any(|n| n == name);
            has.then(|| server.stream(&keys, client, list, name))
        });
        cells.collect::<Vec<_>>()
    });
    let mut table = Table::new(std::iter::once(String::new()).chain(clients.iter().map(Client::to_string)));
    let (mut run, mut failures) = (0, Vec::new());
    for ((_, name), row) in all.iter().zip(&rows) {
        let cells = row.iter().zip(&clients).map(|(cell, client)| match cell {
            None => "-".to_owned(),
            Some(Ok(rekeys)) => {
                run += 1;
                rekeys.to_string()
            }
            Some(Err(what)) => {
                failures.push(format!("{client} with {name}: {what}"));
                "FAIL".to_owned()
            }
        });
        table.row(std::iter::once((*name).to_owned()).chain(cells.collect::<Vec<_>>()));
    }
    say(&format!(
        "\nclients of konko-mio, each algorithm once, 1 MiB each way, rekeys: {run} cells\n{table}"
    ));
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
    assert!(clients.is_empty() || run >= 18 * clients.len(), "only {run} cells of {} clients", clients.len());
}

#[test]
fn b0_noise_through_zlib_and_the_event_loop() {
    let (keys, workers) = (KeyRing::shared(), Workers::new(2).unwrap());
    let server = Server::start(&keys, List::Cipher, "aes128-gcm@openssh.com", &workers);
    let noise = noise(30 << 20);
    for client in Client::all().iter().filter(|c| matches!(c, Client::OpenSsh(_))) {
        let user = client.to_string();
        let call = Call::to(server.port, &keys).key("user_ed25519").user(&user).compress();
        let done =
            call.feed(Feed::Bytes(noise.clone())).deadline(Duration::from_secs(300)).run(client, "cat");
        done.expect_code(0);
        assert_eq!(done.stdout.checksum, checksum_of(&noise), "{client}");
        let seen = server.seen.lock().unwrap();
        let (used, rekeys) = &seen[&user];
        assert_eq!(used.compression, [Compression::ZlibOpenssh; 2], "{client}");
        assert!(*rekeys > 10, "{client}: {rekeys}");
    }
}
