//! A server that sends whatever names it likes.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use konko::core::Seed;
use konko::core::sftp::{Answer, Backend, HandleId, MsgBuf, Op, Request, SftpServer};
use konko::sftp::{Attrs, ServerConfig, SftpOptions, StatusCode};
use konko::{FdStream, Sftp};

/// `tree` holds entries of the given names and `ok`; each a file with `evil` in it, or a folder with a file `f`.
pub struct Liar {
    listener: TcpListener,
}

impl Liar {
    pub fn new(names: &[&[u8]], folders: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let names: Vec<Vec<u8>> = names.iter().map(|name| name.to_vec()).chain([b"ok".to_vec()]).collect();
        let accept = listener.try_clone().unwrap();
        std::thread::spawn(move || {
            for stream in accept.incoming() {
                let Ok(stream) = stream else { return };
                let fs = Lies { names: names.clone(), folders, open: Vec::new() };
                std::thread::spawn(move || serve(stream, fs));
            }
        });
        Liar { listener }
    }

    /// A command that speaks with it on its standard streams.
    pub fn command(&self) -> String {
        let port = self.listener.local_addr().unwrap().port();
        format!("bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}; cat <&3 & cat >&3; kill $!'")
    }

    pub fn client(&self) -> Sftp {
        let stream = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        Sftp::over(FdStream::try_from(stream).unwrap(), SftpOptions::default()).unwrap()
    }
}

fn serve(stream: TcpStream, mut fs: Lies) {
    let (mut server, mut rx) = (SftpServer::new(ServerConfig::default(), &Seed::new([9; 32])), MsgBuf::new());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = match (&stream).read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(n) => n,
        };
        let mut input = &buffer[..n];
        while !input.is_empty() {
            if server.run(&mut fs, &mut rx, &mut input).is_err() {
                return;
            }
            let tx = server.tx();
            if (&stream).write_all(tx.pending()).is_err() {
                return;
            }
            tx.consume(tx.len());
        }
    }
}

struct Lies {
    names: Vec<Vec<u8>>,
    folders: bool,
    /// Directories that are open: whether it is the tree, and whether it was read.
    open: Vec<(HandleId, bool, bool)>,
}

impl Lies {
    fn entry(folder: bool) -> Attrs {
        Attrs::new().with_size(4).with_permissions(if folder { 0o40_755 } else { 0o100_644 }).with_times(1, 1)
    }

    /// How deep a path is below the tree; its last name does not count if it is a lie.
    fn is_folder(&self, path: &[u8]) -> bool {
        let below = path.strip_prefix(b"/").unwrap_or(path).strip_prefix(b"./").unwrap_or(path);
        match below {
            b"" | b"." | b"tree" | b"/tree" => true,
            path if path.ends_with(b"/f") => false,
            path => {
                self.folders && path.starts_with(b"tree/") || path.ends_with(b"/.") || path.ends_with(b"..")
            }
        }
    }
}

impl Backend for Lies {
    fn request(&mut self, server: &mut SftpServer, request: Request<'_>) {
        let Request { ticket, op, .. } = request;
        let answered = match op {
            Op::Stat { path } | Op::Lstat { path } => {
                let attrs = Self::entry(self.is_folder(path));
                server.reply(ticket, Answer::Attrs(attrs))
            }
            Op::Realpath { path } => {
                let path = [b"/", path.strip_prefix(b"/").unwrap_or(path)].concat();
                server.reply(ticket, Answer::Path(path))
            }
            Op::Opendir { handle, path } if self.is_folder(path) => {
                self.open.push((handle, path.ends_with(b"tree"), false));
                server.reply_opened(ticket)
            }
            Op::Readdir { handle } => {
                let Some((_, tree, read)) = self.open.iter_mut().find(|(open, ..)| *open == handle) else {
                    let _ = server.reply_status(ticket, StatusCode::FAILURE);
                    return;
                };
                let first = !std::mem::replace(read, true);
                let (names, kind) = match *tree {
                    true => (self.names.clone(), self.folders),
                    false => (vec![b"f".to_vec()], false),
                };
                server.reply_names(ticket, |out| {
                    for name in names.iter().filter(|_| first) {
                        out.push(name, b"a line", &Self::entry(kind));
                    }
                    Ok(())
                })
            }
            Op::Open { .. } => server.reply_opened(ticket),
            Op::Read { offset: 0, .. } => server.reply(ticket, Answer::Data(b"evil".to_vec())),
            Op::Read { .. } => server.reply_status(ticket, StatusCode::EOF),
            Op::Fstat { .. } => server.reply(ticket, Answer::Attrs(Self::entry(false))),
            Op::Close { handle } => {
                self.open.retain(|(open, ..)| *open != handle);
                server.reply_status(ticket, StatusCode::OK)
            }
            _ => server.reply_status(ticket, StatusCode::OP_UNSUPPORTED),
        };
        let _ = answered;
    }

    fn abandoned(&mut self, _: HandleId) {}
}
