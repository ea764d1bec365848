//! SFTP through real connections and their channels, on the simulated link.

use std::collections::BTreeMap;
use std::rc::Rc;

use konko_core::channel::{ChannelEvent, ChannelId, ChannelRequest, DataStream, OpenKind};
use konko_core::sftp::transfer::{
    Handled, JobId, Local, Notice, Summary, TransferConfig, TransferError, Transfers,
};
use konko_core::sftp::{ClientConfig, MemoryFs, MsgBuf, ServerConfig, Session, SftpClient, SftpServer};
use konko_core::wire::SshStr;
use konko_core::{
    ClientAuth, ClientConnection, ClientEvent, Decision, Seed, ServerAuth, ServerConnection, ServerEvent,
    Time, WantReply, client, server,
};

use crate::{App, Pair, host_key, transport_config};

/// A client that moves files.
pub struct Mover {
    /// The protocol's end.
    pub client: SftpClient,
    /// Its input.
    pub rx: MsgBuf,
    /// What moves the files.
    pub transfers: Transfers,
    /// Its channel.
    pub id: Option<ChannelId>,
    /// The server took the subsystem.
    pub open: bool,
    /// What time it is; [`run`] says so.
    pub now: Time,
    /// What is sent, by job.
    pub sources: BTreeMap<JobId, Vec<u8>>,
    /// What came, by job: how much, and whether each byte is that of the file at its place.
    pub got: BTreeMap<JobId, (u64, bool)>,
    /// What each download is compared with.
    pub expected: Vec<u8>,
    /// How the jobs ended.
    pub ended: BTreeMap<JobId, std::result::Result<Summary, TransferError>>,
    /// What was read from the sources.
    pub sent: u64,
    /// When the last job ended.
    pub last: Time,
}

impl Mover {
    /// One that moves nothing yet.
    pub fn new(config: TransferConfig) -> Self {
        Mover {
            client: SftpClient::new(ClientConfig::default()),
            rx: MsgBuf::new(),
            transfers: Transfers::new(config),
            id: None,
            open: false,
            now: Time::ZERO,
            sources: BTreeMap::new(),
            got: BTreeMap::new(),
            expected: Vec::new(),
            ended: BTreeMap::new(),
            sent: 0,
            last: Time::ZERO,
        }
    }

    fn notices(&mut self) {
        while let Some(notice) = self.transfers.poll(&mut self.client, self.now) {
            match notice {
                Notice::Fill { job, offset, .. } => {
                    let data = self.sources[&job].get(offset as usize..).unwrap_or_default();
                    let n = self.transfers.fill(&mut self.client, job, self.now, |room| {
                        let n = room.len().min(data.len());
                        room[..n].copy_from_slice(&data[..n]);
                        Local::Data(n)
                    });
                    self.sent += n as u64;
                }
                Notice::Finished { job, result } => {
                    self.last = self.now;
                    self.ended.insert(job, result);
                }
                _ => {}
            }
        }
    }

    fn on_data(&mut self, mut input: &[u8]) {
        loop {
            let event = self.client.poll(&mut self.rx, &mut input).unwrap();
            let Some(event) = event else { return };
            if let Handled::Data { job, offset, data } =
                self.transfers.on_event(&mut self.client, event, self.now)
            {
                let right = self.expected.get(offset as usize..).is_some_and(|e| e.starts_with(data));
                let (n, all) = self.got.entry(job).or_insert((0, true));
                *n += data.len() as u64;
                *all &= right;
            }
            self.notices();
        }
    }

    fn flush(&mut self, conn: &mut ClientConnection) {
        let Some(id) = self.id.filter(|_| self.open) else { return };
        loop {
            self.notices();
            let tx = self.client.tx();
            let n = conn.write(id, DataStream::Data, tx.pending()).unwrap();
            tx.consume(n);
            if n == 0 {
                return;
            }
        }
    }
}

impl App<client::ClientSide> for Mover {
    fn on_event(&mut self, conn: &mut ClientConnection, event: ClientEvent<'_>) {
        match event {
            ClientEvent::Auth(ClientAuth::HostKey(ticket)) => {
                conn.decide_host_key(ticket, Decision::Accept).unwrap()
            }
            ClientEvent::Auth(ClientAuth::Needed { .. }) => {
                let password = client::Password::new("x");
                conn.authenticate("x", client::AuthRequest::Password(&password)).unwrap();
            }
            ClientEvent::Authenticated { .. } => drop(conn.open(OpenKind::Session).unwrap()),
            ClientEvent::Opened(id) => {
                conn.request(id, ChannelRequest::Subsystem(SshStr::new(b"sftp")), WantReply::Yes).unwrap();
                self.id = Some(id);
            }
            ClientEvent::Channel(_, ChannelEvent::RequestDone { ok }) => {
                assert!(ok);
                self.open = true;
            }
            ClientEvent::Channel(id, ChannelEvent::Data { data, .. }) => {
                self.on_data(data);
                conn.consume(id, data.len()).unwrap();
            }
            _ => {}
        }
    }

    fn idle(&mut self, conn: &mut ClientConnection) {
        self.flush(conn);
    }
}

/// A server with a file system in memory.
pub struct Store {
    /// The protocol's end.
    pub server: SftpServer,
    /// Its input.
    pub rx: MsgBuf,
    /// Its files.
    pub fs: Rc<MemoryFs>,
    /// What the client has open.
    pub session: Session<Rc<MemoryFs>>,
    /// Its channel.
    pub id: Option<ChannelId>,
    /// Came and was not taken yet: the window shrinks by as much.
    pub input: Vec<u8>,
    /// Most that ever waited.
    pub most_input: usize,
}

impl Store {
    /// One without files.
    pub fn new(config: ServerConfig) -> Self {
        let fs = Rc::new(MemoryFs::new(konko_core::provider::rustcrypto(), 1 << 30));
        Store {
            server: SftpServer::new(config, &Seed::new([7; 32])),
            rx: MsgBuf::new(),
            session: Session::new(Rc::clone(&fs)),
            fs,
            id: None,
            input: Vec::new(),
            most_input: 0,
        }
    }

    fn work(&mut self, conn: &mut ServerConnection) {
        let Some(id) = self.id else { return };
        loop {
            let mut input = self.input.as_slice();
            self.server.run(&mut self.session, &mut self.rx, &mut input).unwrap();
            let taken = self.input.len() - input.len();
            self.input.drain(..taken);
            conn.consume(id, taken).unwrap();
            let tx = self.server.tx();
            let n = conn.write(id, DataStream::Data, tx.pending()).unwrap();
            tx.consume(n);
            if n == 0 {
                return;
            }
        }
    }
}

impl App<server::ServerSide> for Store {
    fn on_event(&mut self, conn: &mut ServerConnection, event: ServerEvent<'_>) {
        match event {
            ServerEvent::Auth(ServerAuth::Attempt { ticket, .. }) => {
                conn.decide_auth(ticket, server::AuthDecision::Accept).unwrap()
            }
            ServerEvent::Open { ticket, .. } => self.id = Some(conn.accept_channel(ticket).unwrap()),
            ServerEvent::Channel(_, ChannelEvent::Request { ticket: Some(ticket), .. }) => {
                conn.reply(ticket, Decision::Accept).unwrap();
            }
            ServerEvent::Channel(_, ChannelEvent::Data { data, .. }) => {
                self.input.extend_from_slice(data);
                self.work(conn);
                self.most_input = self.most_input.max(self.input.len());
            }
            _ => {}
        }
    }

    fn idle(&mut self, conn: &mut ServerConnection) {
        self.work(conn);
    }
}

/// Both, connected and ready; `set` may change the two configurations.
pub fn pair(
    config: TransferConfig,
    set: impl FnOnce(&mut konko_core::ClientConfig, &mut konko_core::ServerConfig),
) -> Pair<Mover, Store> {
    let mut client = konko_core::ClientConfig::new(transport_config());
    let mut server = konko_core::ServerConfig::new(transport_config(), vec![host_key()]);
    set(&mut client, &mut server);
    let store = Store::new(ServerConfig::default());
    Pair::new(client, server, (Mover::new(config), store))
}

/// Drives until all jobs have ended; tells the applications what time it is.
pub fn run(pair: &mut Pair<Mover, Store>, what: &str) {
    pair.drive_until(what, |p| {
        p.client.app.now = p.now;
        p.client.app.transfers.is_empty()
    });
    pair.client.app.notices();
}
