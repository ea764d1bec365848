//! A client driven by hand over a socket, which stops wherever it is told to.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use konko::core::channel::{ChannelId, ChannelRequest, OpenKind, WindowConfig};
use konko::core::client::{AuthRequest, Password};
use konko::core::provider::best;
use konko::core::wire::SshStr;
use konko::core::{
    ClientAuth, ClientConfig, ClientConnection, ClientEvent, Decision, RxBuf, Seed, Step, Time,
    TransportConfig, WantReply,
};
use rustix::net::{AddressFamily, SocketType};

/// How far a client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// It has the server's host key, and says nothing to it.
    HostKey,
    /// It may authenticate, and does not.
    Auth,
    /// It has offered a password, and does not wait for the answer.
    Asked,
    /// One password was wrong.
    Rejected,
    /// It is in, and runs a command.
    Running,
}

pub struct Raw {
    conn: ClientConnection,
    socket: TcpStream,
    rx: RxBuf,
    start: Instant,
    channel: Option<ChannelId>,
    command: &'static str,
    /// Bytes that were sent, and how many may be.
    pub sent: usize,
    limit: usize,
}

impl Raw {
    pub fn new(socket: TcpStream, seed: u64, command: &'static str) -> Self {
        let mut config = ClientConfig::new(TransportConfig::new(best()));
        // The server may send as much as it likes.
        config.window = WindowConfig::new().initial(64 << 20).max(64 << 20).packet(32 << 10);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let conn = ClientConnection::new(Arc::new(config), Seed::new(bytes), Time::ZERO);
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (rx, start) = (RxBuf::new(), Instant::now());
        Raw { conn, socket, rx, start, channel: None, command, sent: 0, limit: usize::MAX }
    }

    /// Sends no more than that, whatever it is in the middle of.
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Goes on until there, or to its limit.
    pub fn run(mut self, stop: Stop) -> Self {
        loop {
            let mut at = None;
            while let Step::Event(event) =
                self.conn.poll(Time::ZERO + self.start.elapsed(), &mut self.rx).unwrap()
            {
                at = at.max(Self::on_event(&mut self.conn, event, &mut self.channel, self.command, stop));
            }
            let tx = self.conn.tx();
            let out = &tx.pending()[..tx.len().min(self.limit - self.sent)];
            self.socket.write_all(out).unwrap();
            self.sent += out.len();
            let all = tx.len();
            tx.consume(all);
            if at == Some(stop) || self.sent == self.limit {
                return self;
            }
            let n = self.socket.read(self.rx.spare()).unwrap();
            assert!(n > 0, "the server hung up");
            self.rx.filled(n);
        }
    }

    fn on_event(
        conn: &mut ClientConnection,
        event: ClientEvent<'_>,
        channel: &mut Option<ChannelId>,
        command: &str,
        stop: Stop,
    ) -> Option<Stop> {
        match event {
            ClientEvent::Auth(ClientAuth::HostKey(_)) if stop == Stop::HostKey => return Some(Stop::HostKey),
            ClientEvent::Auth(ClientAuth::HostKey(ticket)) => {
                conn.decide_host_key(ticket, Decision::Accept).unwrap()
            }
            ClientEvent::Auth(ClientAuth::Needed { methods: None, .. }) => {
                if stop > Stop::Auth {
                    let password = if stop == Stop::Running { "wonderland" } else { "looking-glass" };
                    let password = Password::new(password.as_bytes());
                    conn.authenticate("alice", AuthRequest::Password(&password)).unwrap();
                }
                return Some(if stop == Stop::Asked { Stop::Asked } else { Stop::Auth });
            }
            ClientEvent::Auth(ClientAuth::Needed { .. }) => return Some(Stop::Rejected),
            ClientEvent::Authenticated { .. } => *channel = Some(conn.open(OpenKind::Session).unwrap()),
            ClientEvent::Opened(id) => {
                let exec = ChannelRequest::Exec(SshStr::new(command.as_bytes()));
                conn.request(id, exec, WantReply::Yes).unwrap();
                return Some(Stop::Running);
            }
            _ => {}
        }
        None
    }

    /// Sends a global request; whether it is granted.
    pub fn request_global(&mut self, name: &str, fields: &[u8]) -> bool {
        self.conn.request_global(name, fields, WantReply::Yes).unwrap();
        loop {
            let now = Time::ZERO + self.start.elapsed();
            while let Step::Event(event) = self.conn.poll(now, &mut self.rx).unwrap() {
                if let ClientEvent::GlobalReply { ok, .. } = event {
                    return ok;
                }
            }
            let tx = self.conn.tx();
            self.socket.write_all(tx.pending()).unwrap();
            let all = tx.len();
            tx.consume(all);
            let n = self.socket.read(self.rx.spare()).unwrap();
            assert!(n > 0, "the server hung up");
            self.rx.filled(n);
        }
    }

    /// Waits until the server has hung up.
    pub fn is_cut(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) => return e.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}

/// A connection from `from`, an address of the loopback network, whose system holds little of what nobody
/// reads.
pub fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket: OwnedFd = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 16 << 10).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::from(from), 0))).unwrap();
    rustix::net::connect(&socket, &to).unwrap();
    socket.into()
}
