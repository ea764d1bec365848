//! An SFTP client joined in memory with a server on a folder of this machine.
#![allow(dead_code)]

use std::path::Path;
use std::sync::Arc;

use konko::core::Seed;
use konko::core::sftp::*;
use konko::sftp::{Root, RootedFs};

/// What came back, kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Got {
    Status(StatusCode, String),
    Handle(Handle),
    Data(Vec<u8>),
    Names(Vec<Vec<u8>>),
    Path(Vec<u8>),
    Attrs(Attrs),
    StatVfs(StatVfs),
    UsersGroups(UsersGroups),
    FileHash(FileHash),
}

pub type Answer<T> = Result<T, StatusCode>;

pub struct Rig {
    pub client: SftpClient,
    client_rx: MsgBuf,
    pub server: SftpServer,
    server_rx: MsgBuf,
    pub fs: Session<Arc<RootedFs>>,
    /// Names and lines of the last READDIR.
    pub lines: Vec<(Vec<u8>, Vec<u8>, Attrs)>,
}

impl Rig {
    pub fn new(root: &Root) -> Self {
        let seed = Seed::new([5; 32]);
        let mut rig = Rig {
            client: SftpClient::new(ClientConfig::default()),
            client_rx: MsgBuf::new(),
            server: SftpServer::new(root.config(), &seed),
            server_rx: MsgBuf::new(),
            fs: root.session(),
            lines: Vec::new(),
        };
        assert_eq!(rig.exchange(), []);
        assert!(rig.client.is_ready());
        rig
    }

    /// On a folder that is closed off, with what the system offers, and with the walk.
    pub fn both(dir: impl AsRef<Path>) -> [Rig; 2] {
        let root = Root::open(dir).unwrap();
        [Rig::new(&root), Rig::new(&root.walk())]
    }

    fn exchange(&mut self) -> Vec<(RequestId, Got)> {
        let mut events = Vec::new();
        loop {
            let out = take(self.client.tx());
            let mut input = &out[..];
            while !input.is_empty() || !self.server.tx().is_empty() {
                self.server.run(&mut self.fs, &mut self.server_rx, &mut input).unwrap();
                let back = take(self.server.tx());
                self.receive(&back, &mut events);
            }
            if self.client.tx().is_empty() {
                return events;
            }
        }
    }

    fn receive(&mut self, mut input: &[u8], events: &mut Vec<(RequestId, Got)>) {
        while let Some(event) = self.client.poll(&mut self.client_rx, &mut input).unwrap() {
            match event {
                Event::Ready => {}
                Event::Reply { id, reply: Reply::Names(names) } => {
                    let keep = |e: Entry<'_>| (e.name.to_vec(), e.long_name.as_bytes().to_vec(), e.attrs);
                    self.lines = names.iter().map(keep).collect();
                    events.push((id, Got::Names(names.iter().map(|e| e.name.to_vec()).collect())));
                }
                Event::Reply { id, reply } => events.push((id, keep(reply))),
                Event::Data { id, at, data, .. } => match events.last_mut() {
                    Some((last, Got::Data(have))) if *last == id && at > 0 => have.extend_from_slice(data),
                    _ => events.push((id, Got::Data(data.to_vec()))),
                },
                other => panic!("{other:?}"),
            }
        }
    }

    /// One request and its reply.
    pub fn call(&mut self, request: impl FnOnce(&mut SftpClient) -> Result<RequestId, UsageError>) -> Got {
        let id = request(&mut self.client).unwrap();
        let events = self.exchange();
        assert!(matches!(&events[..], [(i, _)] if *i == id), "{events:?}");
        events.into_iter().next().unwrap().1
    }

    /// One that is answered with a status.
    pub fn ask(
        &mut self,
        request: impl FnOnce(&mut SftpClient) -> Result<RequestId, UsageError>,
    ) -> StatusCode {
        match self.call(request) {
            Got::Status(code, _) => code,
            other => panic!("a status, not {other:?}"),
        }
    }

    pub fn open(&mut self, path: impl AsRef<[u8]>, flags: OpenFlags) -> Answer<Handle> {
        match self.call(|c| c.open(path.as_ref(), flags, &Attrs::new())) {
            Got::Handle(handle) => Ok(handle),
            other => Err(failed(other)),
        }
    }

    pub fn close(&mut self, handle: &Handle) {
        assert_eq!(self.ask(|c| c.close(handle)), StatusCode::OK);
    }

    pub fn read_at(&mut self, handle: &Handle, offset: u64, len: u32) -> Answer<Vec<u8>> {
        match self.call(|c| c.read(handle, offset, len)) {
            Got::Data(data) => Ok(data),
            other => Err(failed(other)),
        }
    }

    /// The first 32 KiB of a file.
    pub fn read(&mut self, path: impl AsRef<[u8]>) -> Answer<Vec<u8>> {
        let handle = self.open(path, OpenFlags::READ)?;
        let data = self.read_at(&handle, 0, 32 << 10);
        self.close(&handle);
        match data {
            Err(StatusCode::EOF) => Ok(Vec::new()),
            data => data,
        }
    }

    pub fn write(&mut self, path: impl AsRef<[u8]>, data: &[u8]) -> Answer<()> {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let handle = self.open(path, flags)?;
        let written = match data {
            b"" => StatusCode::OK,
            data => self.ask(|c| c.write(&handle, 0, data)),
        };
        self.close(&handle);
        if written == StatusCode::OK { Ok(()) } else { Err(written) }
    }

    pub fn attrs(
        &mut self,
        request: impl FnOnce(&mut SftpClient) -> Result<RequestId, UsageError>,
    ) -> Answer<Attrs> {
        match self.call(request) {
            Got::Attrs(attrs) => Ok(attrs),
            other => Err(failed(other)),
        }
    }

    pub fn stat(&mut self, path: impl AsRef<[u8]>) -> Answer<Attrs> {
        self.attrs(|c| c.stat(path.as_ref()))
    }

    pub fn lstat(&mut self, path: impl AsRef<[u8]>) -> Answer<Attrs> {
        self.attrs(|c| c.lstat(path.as_ref()))
    }

    pub fn path(
        &mut self,
        request: impl FnOnce(&mut SftpClient) -> Result<RequestId, UsageError>,
    ) -> Answer<String> {
        match self.call(request) {
            Got::Path(path) => Ok(String::from_utf8(path).unwrap()),
            other => Err(failed(other)),
        }
    }

    /// The names in a directory, sorted.
    pub fn list(&mut self, path: impl AsRef<[u8]>) -> Answer<Vec<Vec<u8>>> {
        let handle = match self.call(|c| c.opendir(path.as_ref())) {
            Got::Handle(handle) => handle,
            other => return Err(failed(other)),
        };
        let (mut names, mut lines) = (Vec::new(), Vec::new());
        let ended = loop {
            match self.call(|c| c.readdir(&handle)) {
                Got::Names(more) => {
                    names.extend(more);
                    lines.append(&mut self.lines);
                }
                other => break failed(other),
            }
        };
        self.close(&handle);
        self.lines = lines;
        names.sort();
        if ended == StatusCode::EOF { Ok(names) } else { Err(ended) }
    }
}

fn take(tx: &mut konko::core::TxBuf) -> Vec<u8> {
    let out = tx.pending().to_vec();
    tx.consume(out.len());
    out
}

fn failed(got: Got) -> StatusCode {
    match got {
        Got::Status(code, _) if code != StatusCode::OK => code,
        other => panic!("unexpected {other:?}"),
    }
}

fn keep(reply: Reply<'_>) -> Got {
    match reply {
        Reply::Status(s) => Got::Status(s.code, s.message.into_owned()),
        Reply::Handle(h) => Got::Handle(h),
        Reply::Path(p) => Got::Path(p.to_vec()),
        Reply::Attrs(a) => Got::Attrs(a),
        Reply::StatVfs(s) => Got::StatVfs(s),
        Reply::UsersGroups(u) => Got::UsersGroups(u),
        Reply::FileHash(h) => Got::FileHash(h),
        other => panic!("{other:?}"),
    }
}
