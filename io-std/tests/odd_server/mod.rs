//! A server that may break every rule, on a socket: core's raw peer, driven by a story.
#![allow(dead_code, unused_imports)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use konko::core::transport::negotiate::Role;
use konko::core::wire::Reader;

pub use konko_test::raw::{RawPeer, strings};
pub use konko_test::{key_of, rsa_key};

/// What stands behind the length: the tag of AES-GCM, whose lengths are in clear.
const TAG: usize = 16;

pub struct OddServer {
    peer: RawPeer,
    socket: TcpStream,
}

/// Listens on a free port and tells the story to each client; it ends with its connection.
pub fn serve(story: impl Fn(&mut OddServer) + Send + 'static) -> SocketAddr {
    serve_as(|_| {}, story)
}

/// The same for a server that is first made otherwise.
pub fn serve_as(
    make: impl Fn(&mut RawPeer) + Send + 'static,
    story: impl Fn(&mut OddServer) + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let socket = socket.unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut server = OddServer { peer: RawPeer::new(Role::Server), socket };
            make(&mut server.peer);
            // The client may go before it has keys.
            if server.handshake().is_some() {
                story(&mut server);
                // Until the client goes, or says that it does.
                while server.receive().is_some_and(|message| message[0] != 1) {}
            }
        }
    });
    addr
}

impl OddServer {
    fn handshake(&mut self) -> Option<()> {
        self.peer.send_ident();
        self.peer.send_kexinit();
        self.flush();
        assert_eq!(self.receive()?[0], 20);
        self.peer.agree();
        let init = self.receive()?;
        let reply = self.peer.on_kex_init(&init);
        self.peer.send(&reply);
        self.peer.send_newkeys();
        self.flush();
        // Or a DISCONNECT.
        (self.receive()?[0] == 21).then_some(())
    }

    fn flush(&mut self) {
        let bytes = std::mem::take(&mut self.peer.tx);
        self.socket.write_all(&bytes).unwrap();
    }

    /// Sends messages in one write.
    pub fn send(&mut self, messages: &[Vec<u8>]) {
        messages.iter().for_each(|message| self.peer.send(message));
        self.flush();
    }

    /// The client is in.
    pub fn let_in(&mut self) {
        self.send(&[vec![52]]);
        self.login_done();
    }

    /// The client was told that it is in.
    pub fn login_done(&mut self) {
        self.peer.login_done();
    }

    /// A session that says yes to everything; the program prints a line and ends with status 3.
    pub fn hello(&mut self) {
        let mut channel = [0; 4];
        loop {
            let message = self.next();
            match message[0] {
                90 => {
                    let mut r = Reader::new(&message[1..]);
                    r.string().unwrap();
                    channel = r.array().unwrap();
                    self.send(&[numbers(91, channel, &[7, 1 << 20, 1 << 15])]);
                }
                98 => {
                    let mut r = Reader::new(&message[5..]);
                    let (kind, wants_answer) = (r.string().unwrap(), r.bool().unwrap());
                    if wants_answer {
                        self.send(&[numbers(99, channel, &[])]);
                    }
                    if kind == b"exec" {
                        break;
                    }
                }
                80 => self.send(&[vec![82]]),
                _ => {}
            }
        }
        let data = [numbers(94, channel, &[6]), b"hello\n".to_vec()].concat();
        let mut status = numbers(98, channel, &[11]);
        status.extend_from_slice(b"exit-status\0\0\0\0\x03");
        self.send(&[data, status, numbers(96, channel, &[]), numbers(97, channel, &[])]);
    }

    /// The client's next message.
    pub fn next(&mut self) -> Vec<u8> {
        self.receive().expect("the client is there")
    }

    /// The same, or nothing when the client went.
    fn receive(&mut self) -> Option<Vec<u8>> {
        let mut buffer = [0; 4096];
        while !self.has_packet() {
            match self.socket.read(&mut buffer) {
                Ok(n @ 1..) => self.peer.rx.extend_from_slice(&buffer[..n]),
                _ => return None,
            }
        }
        self.peer.next()
    }

    /// The client's next authentication request: its method, and what that adds.
    pub fn request(&mut self) -> (String, Vec<u8>) {
        let message = loop {
            match self.next() {
                m if m[0] == 50 => break m,
                m if m[0] == 5 => self.send(&[strings(6, &[b"ssh-userauth"])]),
                _ => {}
            }
        };
        let mut r = Reader::new(&message[1..]);
        let fields: Vec<&[u8]> = (0..3).map(|_| r.string().unwrap()).collect();
        (String::from_utf8(fields[2].to_vec()).unwrap(), r.rest().to_vec())
    }

    fn has_packet(&self) -> bool {
        let rx = &self.peer.rx;
        let line = if self.peer.their_ident.is_empty() {
            let Some(end) = rx.windows(2).position(|w| w == b"\r\n") else { return false };
            end + 2
        } else {
            0
        };
        let Some(length) = rx[line..].first_chunk() else { return false };
        let tag = if self.peer.opener.is_some() { TAG } else { 0 };
        rx.len() >= line + 4 + u32::from_be_bytes(*length) as usize + tag
    }
}

/// A message about a channel, with these numbers behind it.
fn numbers(number: u8, channel: [u8; 4], more: &[u32]) -> Vec<u8> {
    let mut m = [&[number][..], &channel].concat();
    more.iter().for_each(|n| m.extend(n.to_be_bytes()));
    m
}

/// USERAUTH_FAILURE.
pub fn failure(methods: &str) -> Vec<u8> {
    let mut m = strings(51, &[methods.as_bytes()]);
    m.push(0);
    m
}
