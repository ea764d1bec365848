//! A server on a folder that says little of its files.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use konko::core::Seed;
use konko::core::sftp::{Backend, HandleId, MsgBuf, Op, Request, SftpServer};
use konko::sftp::{Root, RootedFs, Session, SftpOptions, StatusCode};
use konko::{FdStream, Sftp};

/// What is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The type of a file (apache/mina-sshd#489).
    Type,
    /// All permissions.
    Permissions,
    /// Everything: STAT, LSTAT and FSTAT are refused.
    Stat,
    /// It tells everything.
    Nothing,
}

pub struct Silent {
    listener: TcpListener,
}

impl Silent {
    pub fn new(folder: &Path, silence: Silence) -> Self {
        let root = Root::open(folder).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let accept = listener.try_clone().unwrap();
        std::thread::spawn(move || {
            for stream in accept.incoming() {
                let Ok(stream) = stream else { return };
                let root = root.clone();
                std::thread::spawn(move || serve(stream, &root, silence));
            }
        });
        Silent { listener }
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

fn serve(stream: TcpStream, root: &Root, silence: Silence) {
    let (mut server, mut rx) = (SftpServer::new(root.config(), &Seed::new([9; 32])), MsgBuf::new());
    let mut fs = Quiet { fs: root.session(), silence };
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
            let mut out = server.tx().pending().to_vec();
            server.tx().consume(out.len());
            hush(&mut out, silence);
            if (&stream).write_all(&out).is_err() {
                return;
            }
        }
    }
}

/// Takes the type out of the permissions in ATTRS and NAME messages, or the permissions.
fn hush(out: &mut [u8], silence: Silence) {
    let mut rest = out;
    while rest.len() > 9 {
        let len = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        let (message, after) = rest.split_at_mut(4 + len);
        rest = after;
        match (message[4], silence) {
            (105, Silence::Type | Silence::Permissions) => {
                attrs(&mut message[9..], silence);
            }
            (104, Silence::Type | Silence::Permissions) => {
                let mut at = 13;
                while at < message.len() {
                    for _ in 0..2 {
                        at += 4 + u32::from_be_bytes(message[at..at + 4].try_into().unwrap()) as usize;
                    }
                    at += attrs(&mut message[at..], silence);
                }
            }
            _ => {}
        }
    }
}

/// The attributes that stand at the start; how long they are.
fn attrs(bytes: &mut [u8], silence: Silence) -> usize {
    let mut flags = u32::from_be_bytes(bytes[..4].try_into().unwrap());
    let at = 4 + if flags & 1 != 0 { 8 } else { 0 } + if flags & 2 != 0 { 8 } else { 0 };
    let times = if flags & 8 != 0 { 8 } else { 0 };
    if flags & 4 == 0 {
        return at + times;
    }
    if silence == Silence::Type {
        let mode = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) & 0o7777;
        bytes[at..at + 4].copy_from_slice(&mode.to_be_bytes());
    } else {
        // The times move up; in the place that is left stands that there are no extended attributes.
        bytes.copy_within(at + 4..at + 4 + times, at);
        bytes[at + times..at + times + 4].fill(0);
        flags = flags & !4 | 0x8000_0000;
        bytes[..4].copy_from_slice(&flags.to_be_bytes());
    }
    at + 4 + times
}

struct Quiet {
    fs: Session<Arc<RootedFs>>,
    silence: Silence,
}

impl Backend for Quiet {
    fn request(&mut self, server: &mut SftpServer, request: Request<'_>) {
        let asks = matches!(request.op, Op::Stat { .. } | Op::Lstat { .. } | Op::Fstat { .. });
        if asks && self.silence == Silence::Stat {
            let _ = server.reply_status(request.ticket, StatusCode::PERMISSION_DENIED);
            return;
        }
        self.fs.request(server, request);
    }

    fn abandoned(&mut self, handle: HandleId) {
        self.fs.abandoned(handle);
    }
}
