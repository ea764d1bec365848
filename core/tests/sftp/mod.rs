//! An SFTP client and a server joined in memory, with no channel between them.
#![allow(dead_code)]

pub mod drive;
pub mod fake;

use std::rc::Rc;

use konko_core::Seed;
use konko_core::provider;
use konko_core::sftp::*;

/// What came back, kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Got {
    Ready,
    Status(StatusCode),
    Handle(Handle),
    Data(Vec<u8>),
    Names(Vec<Vec<u8>>),
    Path(Vec<u8>),
    Attrs(Attrs),
    StatVfs(StatVfs),
    Limits(Limits),
    UsersGroups(UsersGroups),
    FileHash(FileHash),
    Extended(Vec<u8>),
}

impl Got {
    pub fn handle(self) -> Handle {
        match self {
            Got::Handle(h) => h,
            other => panic!("a handle, not {other:?}"),
        }
    }

    pub fn attrs(self) -> Attrs {
        match self {
            Got::Attrs(a) => a,
            other => panic!("attributes, not {other:?}"),
        }
    }

    pub fn keep(reply: Reply<'_>) -> Got {
        match reply {
            Reply::Status(s) => Got::Status(s.code),
            Reply::Handle(h) => Got::Handle(h),
            Reply::Names(n) => Got::Names(n.iter().map(|e| e.name.to_vec()).collect()),
            Reply::Path(p) => Got::Path(p.to_vec()),
            Reply::Attrs(a) => Got::Attrs(a),
            Reply::StatVfs(s) => Got::StatVfs(s),
            Reply::Limits(l) => Got::Limits(l),
            Reply::UsersGroups(u) => Got::UsersGroups(u),
            Reply::FileHash(h) => Got::FileHash(h),
            Reply::Extended(e) => Got::Extended(e.to_vec()),
            _ => panic!("unknown reply"),
        }
    }
}

/// All events that `bytes` make, whatever comes in parts put together.
pub fn feed(
    client: &mut SftpClient,
    rx: &mut MsgBuf,
    bytes: &[u8],
) -> Result<Vec<(Option<RequestId>, Got)>, Error> {
    let mut input = bytes;
    let mut out: Vec<(Option<RequestId>, Got)> = Vec::new();
    while let Some(event) = client.poll(rx, &mut input)? {
        match event {
            Event::Ready => out.push((None, Got::Ready)),
            Event::Reply { id, reply } => out.push((Some(id), Got::keep(reply))),
            Event::Data { id, at, data, .. } => {
                if at > 0
                    && let Some((_, Got::Data(have))) = out.iter_mut().rfind(|(i, _)| *i == Some(id))
                {
                    have.extend_from_slice(data);
                } else {
                    out.push((Some(id), Got::Data(data.to_vec())));
                }
            }
            other => panic!("{other:?}"),
        }
    }
    Ok(out)
}

pub fn seed(n: u8) -> Seed {
    Seed::new([n; 32])
}

pub fn memory() -> Rc<MemoryFs> {
    let fs = MemoryFs::new(provider::rustcrypto(), 64 << 20);
    fs.set_now(1_700_000_000);
    Rc::new(fs)
}

/// Both ends and a file system between them.
pub struct Joined {
    pub client: SftpClient,
    pub client_rx: MsgBuf,
    pub server: SftpServer,
    pub server_rx: MsgBuf,
    pub fs: Rc<MemoryFs>,
    pub session: Session<Rc<MemoryFs>>,
    /// Pieces in which bytes travel.
    pub chunk: usize,
    /// On their way to the server: what it did not take yet.
    pub to_server: Vec<u8>,
}

impl Joined {
    pub fn new() -> Self {
        Self::with(ClientConfig::default(), ServerConfig::default())
    }

    pub fn with(client: ClientConfig, server: ServerConfig) -> Self {
        let fs = memory();
        let mut joined = Joined {
            client: SftpClient::new(client),
            client_rx: MsgBuf::new(),
            server: SftpServer::new(server, &seed(1)),
            server_rx: MsgBuf::new(),
            session: Session::new(Rc::clone(&fs)),
            fs,
            chunk: 32 << 10,
            to_server: Vec::new(),
        };
        let events = joined.exchange();
        assert_eq!(events, [(None, Got::Ready)]);
        joined
    }

    /// Moves bytes until nothing moves any more.
    pub fn exchange(&mut self) -> Vec<(Option<RequestId>, Got)> {
        let mut events: Vec<(Option<RequestId>, Got)> = Vec::new();
        loop {
            let tx = self.client.tx();
            self.to_server.extend_from_slice(tx.pending());
            tx.consume(tx.len());
            let mut taken = 0;
            for piece in self.to_server.chunks(self.chunk) {
                let mut input = piece;
                self.server.run(&mut self.session, &mut self.server_rx, &mut input).unwrap();
                taken += piece.len() - input.len();
                if !input.is_empty() {
                    assert!(self.server.is_full(), "what can be taken is taken");
                    break;
                }
            }
            self.to_server.drain(..taken);
            let back = self.server.tx().pending().to_vec();
            self.server.tx().consume(back.len());
            for piece in back.chunks(self.chunk) {
                for (id, got) in feed(&mut self.client, &mut self.client_rx, piece).unwrap() {
                    match (events.iter_mut().rfind(|(i, _)| *i == id), got) {
                        (Some((_, Got::Data(have))), Got::Data(more)) => have.extend(more),
                        (_, got) => events.push((id, got)),
                    }
                }
            }
            if taken == 0 && back.is_empty() && self.client.tx().is_empty() {
                return events;
            }
        }
    }

    /// One request and its reply.
    pub fn call(&mut self, request: impl FnOnce(&mut SftpClient) -> Result<RequestId, UsageError>) -> Got {
        let id = request(&mut self.client).unwrap();
        let events = self.exchange();
        let mine: Vec<Got> = events.into_iter().filter(|(i, _)| *i == Some(id)).map(|(_, g)| g).collect();
        assert_eq!(mine.len(), 1, "{mine:?}");
        mine.into_iter().next().unwrap()
    }

    pub fn open(&mut self, path: &str, flags: OpenFlags) -> Handle {
        self.call(|c| c.open(path.as_bytes(), flags, &Attrs::new())).handle()
    }
}

pub const OK: Got = Got::Status(StatusCode::OK);
pub const FAILURE: Got = Got::Status(StatusCode::FAILURE);

/// The fields of a message with its length.
pub fn packet(number: u8, fields: &[u8]) -> Vec<u8> {
    let mut out = ((fields.len() + 1) as u32).to_be_bytes().to_vec();
    out.push(number);
    out.extend_from_slice(fields);
    out
}

/// Bytes that differ everywhere.
pub fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}
