//! SFTP on one event loop: a file system in memory that all sessions share. Hashes of whole files are made by workers:
//! such a request is answered when its hash is there, and others meanwhile.
//!
//! ```text
//! cargo run --release -p konko-mio --example sftp -- 127.0.0.1:2222
//! sftp -P 2222 alice@127.0.0.1             (the password is "wonderland")
//! ```
//!
//! The SFTP machine knows no connection and the connection knows no SFTP: bytes of a channel go in,
//! replies come out, and whatever cannot go on now is kept with the credit that belongs to it.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;

use konko_mio::core::admission::AdmissionLimits;
use konko_mio::core::channel::{ChannelEvent, ChannelId, ChannelRequest, DataStream};
use konko_mio::core::crypto::{Digest, HashAlgorithm};
use konko_mio::core::keys::{KeyType, PrivateKey};
use konko_mio::core::server::{AuthDecision, Credential};
use konko_mio::core::sftp::{
    self, Answer, Backend, FileHash, HandleId, MemoryFs, MsgBuf, Op, Request, ServerConfig as SftpConfig,
    Ticket,
};
use konko_mio::core::{
    Decision, Rng, ServerAuth, ServerConfig, ServerConnection, ServerEvent, TransportConfig, WantReply,
    provider,
};
use konko_mio::{App, Closed, ConnId, Hub, Loop, Settings, Workers};

/// What the files together may hold, in bytes.
const CAPACITY: usize = 1 << 30;

/// One client's SFTP session.
struct Session {
    server: sftp::SftpServer,
    rx: MsgBuf,
    files: Late,
    /// Input that the machine takes when its replies have gone out; the channel's window bounds it.
    held: Vec<u8>,
    eof: bool,
}

/// A backend that answers at once, but for hashes of whole files.
struct Late {
    files: sftp::Session<Rc<MemoryFs>>,
    /// What workers are to hash.
    wanted: Vec<(Ticket, HashAlgorithm, Vec<u8>)>,
    /// What they have hashed.
    made: Vec<(Ticket, FileHash)>,
}

impl Backend for Late {
    fn request(&mut self, server: &mut sftp::SftpServer, request: Request<'_>) {
        if let Op::CheckFileName { path, check } = &request.op
            && (check.offset, check.block) == (0, 0)
            && let Some(algorithm) = check.algs.iter().next()
            && let Some(data) = self.files.file_system().content(path)
            && [0, data.len() as u64].contains(&check.len)
        {
            return self.wanted.push((request.ticket, algorithm, data));
        }
        self.files.request(server, request);
    }

    fn settle(&mut self, server: &mut sftp::SftpServer) {
        for (ticket, hash) in self.made.drain(..) {
            let _ = server.reply(ticket, Answer::FileHash(hash));
        }
    }

    fn abandoned(&mut self, handle: HandleId) {
        self.files.abandoned(handle);
    }
}

/// A hash that a worker has made, and for whom.
pub struct Hashed(ConnId, ChannelId, Ticket, FileHash);

/// The application.
pub struct Files {
    fs: Rc<MemoryFs>,
    sessions: BTreeMap<(ConnId, ChannelId), Session>,
}

impl Default for Files {
    fn default() -> Self {
        Files { fs: Rc::new(MemoryFs::new(provider::best(), CAPACITY)), sessions: BTreeMap::new() }
    }
}

impl Files {
    /// Lets a session take `data` and whatever it can take besides, and sends what comes of it.
    fn drive(&mut self, id: ConnId, conn: &mut ServerConnection, channel: ChannelId, data: &[u8]) {
        let Some(session) = self.sessions.get_mut(&(id, channel)) else { return };
        // Mostly nothing is held, and the bytes are taken from where they were received.
        let mut held = std::mem::take(&mut session.held);
        held.extend_from_slice(if held.is_empty() { &[] } else { data });
        let mut input = if held.is_empty() { data } else { &held[..] };
        loop {
            let before = input.len();
            if session.server.run(&mut session.files, &mut session.rx, &mut input).is_err() {
                return exit(conn, channel, 1);
            }
            let _ = conn.consume(channel, before - input.len());
            let tx = session.server.tx();
            let sent = conn.write(channel, DataStream::Data, tx.pending()).unwrap_or(0);
            tx.consume(sent);
            if sent == 0 || input.is_empty() {
                break;
            }
        }
        session.held = input.to_vec();
        let answered = !session.server.is_awaited() && session.server.tx().is_empty();
        if session.eof && session.held.is_empty() && answered {
            exit(conn, channel, 0);
        }
    }

    /// Hands to the workers what a session left for them.
    fn hash(&mut self, id: ConnId, channel: ChannelId, hub: &Hub<Hashed>) {
        let Some(session) = self.sessions.get_mut(&(id, channel)) else { return };
        for (ticket, algorithm, data) in session.files.wanted.drain(..) {
            hub.spawn(move || {
                let digests = Digest::of(provider::best(), algorithm, &[&data]).as_bytes().to_vec();
                Hashed(id, channel, ticket, FileHash { algorithm, digests })
            });
        }
    }

    fn start(&mut self, id: ConnId, channel: ChannelId) -> bool {
        let Ok(seed) = konko_mio::seed_from_os() else {
            return false;
        };
        let session = Session {
            server: sftp::SftpServer::new(SftpConfig::default(), &seed),
            rx: MsgBuf::new(),
            files: Late {
                files: sftp::Session::new(Rc::clone(&self.fs)),
                wanted: Vec::new(),
                made: Vec::new(),
            },
            held: Vec::new(),
            eof: false,
        };
        self.sessions.insert((id, channel), session);
        true
    }
}

impl App for Files {
    type Message = Hashed;

    fn on_server_event(
        &mut self,
        id: ConnId,
        conn: &mut ServerConnection,
        event: ServerEvent<'_>,
        hub: &mut Hub<Hashed>,
    ) {
        match event {
            ServerEvent::Auth(ServerAuth::Attempt { ticket, credential, .. }) => {
                let right = matches!(credential, Credential::Password(b"wonderland"));
                let _ =
                    conn.decide_auth(ticket, if right { AuthDecision::Accept } else { AuthDecision::Reject });
            }
            ServerEvent::Auth(ServerAuth::Probe { ticket, .. }) => {
                let _ = conn.decide_probe(ticket, Decision::Reject);
            }
            ServerEvent::Open { ticket, .. } => drop(conn.accept_channel(ticket)),
            ServerEvent::Channel(channel, ChannelEvent::Request { ticket, request }) => {
                let sftp = matches!(request, ChannelRequest::Subsystem(name) if name.as_bytes() == b"sftp");
                let started = sftp && self.start(id, channel);
                if let Some(ticket) = ticket {
                    let _ = conn.reply(ticket, Decision::accept_if(started));
                }
            }
            ServerEvent::Channel(channel, ChannelEvent::Data { data, .. }) => {
                self.drive(id, conn, channel, data);
                self.hash(id, channel, hub);
            }
            ServerEvent::Channel(channel, ChannelEvent::Writable) => {
                self.drive(id, conn, channel, &[]);
                self.hash(id, channel, hub);
            }
            ServerEvent::Channel(channel, ChannelEvent::Eof) => {
                if let Some(session) = self.sessions.get_mut(&(id, channel)) {
                    session.eof = true;
                }
                self.drive(id, conn, channel, &[]);
            }
            ServerEvent::Channel(channel, ChannelEvent::Closed) => {
                self.end(|of| *of == (id, channel));
            }
            ServerEvent::GlobalRequest { ticket: Some(ticket), .. } => {
                let _ = conn.reply_global(ticket, Decision::Reject, None);
            }
            _ => {}
        }
    }

    fn on_message(&mut self, Hashed(id, channel, ticket, hash): Hashed, hub: &mut Hub<Hashed>) {
        // The session may have ended meanwhile.
        let Some(session) = self.sessions.get_mut(&(id, channel)) else { return };
        session.files.made.push((ticket, hash));
        if let Some(conn) = hub.server(id) {
            self.drive(id, conn, channel, &[]);
        }
        self.hash(id, channel, hub);
    }

    fn on_closed(&mut self, id: ConnId, why: Closed, _hub: &mut Hub<Hashed>) {
        self.end(|(of, _)| *of == id);
        eprintln!("{id}: {why}");
    }
}

impl Files {
    /// Ends sessions, and lets the file system go of what they left open.
    fn end(&mut self, which: impl Fn(&(ConnId, ChannelId)) -> bool) {
        self.sessions.retain(|of, session| {
            if !which(of) {
                return true;
            }
            for handle in session.server.finish() {
                session.files.abandoned(handle);
            }
            false
        });
    }
}

fn exit(conn: &mut ServerConnection, channel: ChannelId, status: u32) {
    let _ = conn.request(channel, ChannelRequest::ExitStatus(status), WantReply::No);
    let _ = conn.send_eof(channel);
    let _ = conn.close_channel(channel);
}

#[allow(dead_code, reason = "a test has a loop of its own")]
fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:2222".into()).parse()?;
    let provider = provider::best();
    let key = PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&konko_mio::seed_from_os()?))?;
    let config = ServerConfig::new(TransportConfig::new(provider), vec![Arc::new(key.key_pair(provider)?)]);
    let mut server = Loop::new(Settings::default().workers(Workers::new(2)?))?;
    let listener = konko_mio::bind(addr, konko_mio::Sharing::Alone)?;
    println!("listening on {}", listener.local_addr()?);
    std::io::stdout().flush()?;
    server.hub().listen(listener, Arc::new(config), konko_mio::admission(AdmissionLimits::default())?)?;
    Ok(server.run(&mut Files::default())?)
}
