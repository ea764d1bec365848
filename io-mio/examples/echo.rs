//! A server on one event loop: a shell that echoes what is typed, and a few commands.
//!
//! ```text
//! cargo run --release -p konko-mio --example echo -- 127.0.0.1:2222
//! ssh -p 2222 alice@127.0.0.1 hello        (the password is "wonderland")
//! ssh -p 2222 alice@127.0.0.1 cat <file
//! ```
//!
//! `cat` and a shell give back what they are sent, `true`, `false` and `exit N` end with a status,
//! everything else is repeated. Passwords are checked on a worker thread, as a server would do that
//! hashes them. `THREADS=2` runs two loops on the same address.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use konko_mio::core::admission::AdmissionLimits;
use konko_mio::core::channel::{ChannelEvent, ChannelId, ChannelRequest, DataStream};
use konko_mio::core::keys::{KeyType, PrivateKey};
use konko_mio::core::server::{AuthDecision, AuthTicket, Credential};
use konko_mio::core::{
    Decision, Rng, ServerAuth, ServerConfig, ServerConnection, ServerEvent, TransportConfig, WantReply,
    provider,
};
use konko_mio::{App, Closed, ConnId, Hub, Loop, Settings, SharedAdmission, Workers};

/// What comes back from the workers.
struct Checked {
    id: ConnId,
    ticket: AuthTicket,
    right: bool,
}

/// A channel whose other end does not take everything at once.
#[derive(Default)]
struct Waiting {
    /// The channel's window bounds it.
    bytes: Vec<u8>,
    /// The client has said all.
    eof: bool,
}

#[derive(Default)]
struct Echo {
    waiting: BTreeMap<(ConnId, ChannelId), Waiting>,
}

impl App for Echo {
    type Message = Checked;

    fn on_server_event(
        &mut self,
        id: ConnId,
        conn: &mut ServerConnection,
        event: ServerEvent<'_>,
        hub: &mut Hub<Checked>,
    ) {
        match event {
            ServerEvent::Auth(ServerAuth::Attempt {
                ticket,
                credential: Credential::Password(password),
                ..
            }) => {
                let password = password.to_vec();
                hub.spawn(move || Checked { id, ticket, right: costly_check(&password) });
            }
            ServerEvent::Auth(ServerAuth::Attempt { ticket, .. }) => {
                let _ = conn.decide_auth(ticket, AuthDecision::Reject);
            }
            ServerEvent::Auth(ServerAuth::Probe { ticket, .. }) => {
                let _ = conn.decide_probe(ticket, Decision::Reject);
            }
            ServerEvent::Open { ticket, .. } => {
                let _ = conn.accept_channel(ticket);
            }
            ServerEvent::Channel(channel, ChannelEvent::Request { ticket, request }) => {
                let known = matches!(
                    request,
                    ChannelRequest::Pty(_)
                        | ChannelRequest::Env { .. }
                        | ChannelRequest::Shell
                        | ChannelRequest::Exec(_)
                );
                if let Some(ticket) = ticket {
                    let _ = conn.reply(ticket, Decision::accept_if(known));
                }
                if let ChannelRequest::Exec(command) = request {
                    self.run(id, conn, channel, &command.to_string());
                }
            }
            ServerEvent::Channel(channel, ChannelEvent::Data { data, .. }) => {
                self.send(id, conn, channel, data);
            }
            ServerEvent::Channel(channel, ChannelEvent::Writable) => self.send(id, conn, channel, &[]),
            ServerEvent::Channel(channel, ChannelEvent::Eof) => match self.waiting.get_mut(&(id, channel)) {
                // What is still to be sent goes out before the end.
                Some(waiting) => waiting.eof = true,
                None => exit(conn, channel, 0),
            },
            ServerEvent::Channel(channel, ChannelEvent::Closed) => drop(self.waiting.remove(&(id, channel))),
            ServerEvent::GlobalRequest { ticket: Some(ticket), .. } => {
                let _ = conn.reply_global(ticket, Decision::Reject, None);
            }
            _ => {}
        }
    }

    fn on_closed(&mut self, id: ConnId, why: Closed, _hub: &mut Hub<Checked>) {
        self.waiting.retain(|(of, _), _| *of != id);
        eprintln!("{id}: {why}");
    }

    fn on_message(&mut self, checked: Checked, hub: &mut Hub<Checked>) {
        // The client may have gone away meanwhile.
        if let Some(conn) = hub.server(checked.id) {
            let verdict = if checked.right { AuthDecision::Accept } else { AuthDecision::Reject };
            let _ = conn.decide_auth(checked.ticket, verdict);
        }
    }
}

impl Echo {
    /// Sends what was left, then `data`; what does not fit is kept. Credit goes back for what was
    /// sent, so that a client that does not read cannot send either.
    fn send(&mut self, id: ConnId, conn: &mut ServerConnection, channel: ChannelId, data: &[u8]) {
        let mut sent = 0;
        if let Some(waiting) = self.waiting.get_mut(&(id, channel)) {
            waiting.bytes.extend_from_slice(data);
            sent = conn.write(channel, DataStream::Data, &waiting.bytes).unwrap_or(0);
            waiting.bytes.drain(..sent);
            if waiting.bytes.is_empty() {
                if waiting.eof {
                    exit(conn, channel, 0);
                }
                self.waiting.remove(&(id, channel));
            }
        } else {
            sent += conn.write(channel, DataStream::Data, data).unwrap_or(0);
            if sent < data.len() {
                let rest = Waiting { bytes: data[sent..].to_vec(), eof: false };
                self.waiting.insert((id, channel), rest);
            }
        }
        let _ = conn.consume(channel, sent);
    }

    fn run(&mut self, id: ConnId, conn: &mut ServerConnection, channel: ChannelId, command: &str) {
        match command.split_once(' ').unwrap_or((command, "")) {
            ("cat", _) => {}
            ("true", _) => exit(conn, channel, 0),
            ("false", _) => exit(conn, channel, 1),
            ("exit", status) => exit(conn, channel, status.parse().unwrap_or(255)),
            _ => {
                self.send(id, conn, channel, format!("{command}\n").as_bytes());
                exit(conn, channel, 0);
            }
        }
    }
}

fn exit(conn: &mut ServerConnection, channel: ChannelId, status: u32) {
    let _ = conn.request(channel, ChannelRequest::ExitStatus(status), WantReply::No);
    let _ = conn.send_eof(channel);
    let _ = conn.close_channel(channel);
}

/// Stands for a password hash; tens of milliseconds of work in earnest.
fn costly_check(password: &[u8]) -> bool {
    password == b"wonderland"
}

fn serve(
    addr: SocketAddr,
    config: Arc<ServerConfig>,
    admission: SharedAdmission,
    workers: Workers,
) -> std::io::Result<()> {
    let mut server = Loop::new(Settings::new().workers(workers))?;
    server.hub().listen(konko_mio::bind(addr, konko_mio::Sharing::Shared)?, config, admission)?;
    server.run(&mut Echo::default())
}

fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:2222".into()).parse()?;
    let threads = std::env::var("THREADS").map_or(Ok(1), |n| n.parse())?;
    let provider = provider::best();
    let key = PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&konko_mio::seed_from_os()?))?;
    let mut config =
        ServerConfig::new(TransportConfig::new(provider), vec![Arc::new(key.key_pair(provider)?)]);
    config.offload = true;
    let config = Arc::new(config);
    konko_mio::raise_descriptor_limit(20_000);
    let admission = konko_mio::admission(AdmissionLimits::default())?;
    let workers = Workers::new(2)?;
    let loops: Vec<_> = (0..threads)
        .map(|_| {
            let (config, admission, workers) = (config.clone(), admission.clone(), workers.clone());
            std::thread::spawn(move || serve(addr, config, admission, workers))
        })
        .collect();
    println!("listening on {addr}");
    std::io::stdout().flush()?;
    for serving in loops {
        serving.join().map_err(|_| "a loop panicked")??;
    }
    Ok(())
}
