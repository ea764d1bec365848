//! A file system in memory, served over a socket pair or by a server.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard};

use konko::core::provider;
use konko::core::sftp::{HandleId, MemoryFs, MsgBuf, Op, OpenFiles, ServerConfig, SftpServer, StatusCode};
use konko::server::users::{User, Users};
use konko::server::{Programs, Server as SshServer, ServerOptions, Service};
use konko::sftp::SftpOptions;
use konko::{Auth, Client, ClientOptions, FdStream, HostKeys, Sftp};

/// Shared by all sessions.
#[derive(Clone)]
pub struct Memory(Arc<Mutex<MemoryFs>>);

/// What is written is in the file when that is closed, as with Erlang's server.
#[derive(Default)]
struct Late {
    open: BTreeMap<HandleId, (Vec<u8>, Vec<u8>)>,
}

impl Late {
    /// False: the request is for the file system.
    fn takes(&mut self, fs: &MemoryFs, op: &Op<'_>) -> bool {
        match op {
            Op::Open { handle, path, .. } => drop(self.open.insert(*handle, (path.to_vec(), Vec::new()))),
            Op::Write { handle, offset, data } => {
                let (_, file) = self.open.get_mut(handle).unwrap();
                file.resize(file.len().max(*offset as usize + data.len()), 0);
                file[*offset as usize..][..data.len()].copy_from_slice(data);
                return true;
            }
            Op::Close { handle } => {
                if let Some((path, data)) = self.open.remove(handle).filter(|(_, data)| !data.is_empty()) {
                    fs.insert(&path, data).unwrap();
                }
            }
            _ => {}
        }
        false
    }
}

impl Memory {
    pub fn new() -> Self {
        Memory(Arc::new(Mutex::new(MemoryFs::new(provider::best(), 1 << 30))))
    }

    pub fn lock(&self) -> MutexGuard<'_, MemoryFs> {
        self.0.lock().unwrap()
    }

    pub fn insert(&self, path: &str, content: impl Into<Vec<u8>>) {
        self.lock().insert(path.as_bytes(), content.into()).unwrap();
    }

    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        self.lock().content(path.as_bytes())
    }

    /// Serves one session until the peer closes.
    pub fn serve(&self, from: impl Read, to: impl Write, config: ServerConfig) {
        self.serve_as(from, to, config, None);
    }

    fn serve_as(
        &self,
        mut from: impl Read,
        mut to: impl Write,
        config: ServerConfig,
        mut late: Option<Late>,
    ) {
        let (mut server, mut open, mut rx) = (
            SftpServer::new(config, &konko::core::Seed::new([7; 32])),
            OpenFiles::<MemoryFs>::new(),
            MsgBuf::new(),
        );
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let n = match from.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(n) => n,
            };
            let mut input = &buffer[..n];
            loop {
                let fs = self.lock();
                loop {
                    match server.poll(&mut rx, &mut input) {
                        Ok(Some(request)) if late.as_mut().is_some_and(|l| l.takes(&fs, &request.op)) => {
                            server.reply_status(request.ticket, StatusCode::OK).unwrap();
                        }
                        Ok(Some(request)) => open.request(&*fs, &mut server, request),
                        Ok(None) => break,
                        Err(_) => return,
                    }
                }
                drop(fs);
                let tx = server.tx();
                let idle = tx.is_empty();
                if to.write_all(tx.pending()).is_err() {
                    return;
                }
                tx.consume(tx.len());
                if idle && input.is_empty() {
                    break;
                }
            }
        }
    }

    /// A client whose server writes files when they are closed.
    pub fn connect_late(&self) -> Sftp {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let this = self.clone();
        std::thread::spawn(move || {
            this.serve_as(&theirs, &theirs, ServerConfig::default(), Some(Late::default()))
        });
        Sftp::over(FdStream::try_from(ours).unwrap(), SftpOptions::default()).unwrap()
    }

    /// A client over a socket pair.
    pub fn connect(&self) -> Sftp {
        self.connect_with(SftpOptions::default(), ServerConfig::new().allow_chown(true))
    }

    pub fn connect_with(&self, options: SftpOptions, config: ServerConfig) -> Sftp {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let this = self.clone();
        std::thread::spawn(move || this.serve(&theirs, &theirs, config));
        Sftp::over(FdStream::try_from(ours).unwrap(), options).unwrap()
    }

    /// A server that offers it as the subsystem `sftp`, and a client that is logged in.
    pub fn over_ssh(&self) -> (SshServer, Client) {
        let mut users = Users::new();
        users.add("alice", User::new().password("wonderland")).unwrap();
        let this = self.clone();
        let programs = Programs::new().subsystem("sftp", move |call| {
            this.serve(call.channel(), call.channel(), ServerConfig::default());
            0u32
        });
        let service = Service::new(Arc::new(users), Arc::new(programs));
        let options = ServerOptions::with_new_key().unwrap().methods(service.users().methods());
        let server = SshServer::listen("127.0.0.1:0", options, move |_| service.clone()).unwrap();
        let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
        let client = Client::connect(server.local_addr(), options).unwrap();
        client.login("alice", Auth::new().password("wonderland")).unwrap();
        (server, client)
    }
}

/// Bytes that do not repeat.
pub fn pattern(len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    let mut i = 0u64;
    while bytes.len() < len {
        bytes.extend_from_slice(&i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        i += 1;
    }
    bytes.truncate(len);
    bytes
}
