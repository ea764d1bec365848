//! The two ends of one connection, for measurements.
#![allow(dead_code, reason = "not every measurement needs all of it")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use konko_core::auth::{Method, MethodSet};
use konko_core::channel::{ChannelEvent, ChannelId, DataStream, OpenKind};
use konko_core::client::{AuthRequest, Password};
use konko_core::crypto::Provider;
use konko_core::keys::{KeyPair, KeyType, PrivateKey};
use konko_core::server::AuthDecision;
use konko_core::*;

/// The two ends of one connection, in memory.
pub struct Ends {
    pub client: ClientConnection,
    pub server: ServerConnection,
    pub client_rx: RxBuf,
    pub server_rx: RxBuf,
    pub now: Time,
}

pub fn host_key(provider: &'static dyn Provider) -> Arc<KeyPair> {
    let mut rng = Rng::from_seed(&Seed::new([3; 32]));
    Arc::new(PrivateKey::generate(KeyType::ED25519, &mut rng).unwrap().key_pair(provider).unwrap())
}

impl Ends {
    /// Connects, logs in.
    pub fn new(config: TransportConfig, key: Arc<KeyPair>) -> Ends {
        let now = Time::from_micros(1);
        let mut server = ServerConfig::with_transport(config.clone(), vec![key]);
        server.methods = MethodSet::EMPTY.with(Method::Password);
        let mut ends = Ends {
            client: ClientConnection::new(Arc::new(ClientConfig::new(config)), Seed::new([1; 32]), now),
            server: ServerConnection::new(Arc::new(server), Seed::new([2; 32]), now),
            client_rx: RxBuf::new(),
            server_rx: RxBuf::new(),
            now,
        };
        while !ends.client.is_authenticated() {
            ends.exchange();
        }
        ends
    }

    /// Moves output to the other side and lets both handle what came.
    pub fn exchange(&mut self) {
        let tx = self.client.tx();
        self.server_rx.push(tx.pending());
        tx.consume(tx.len());
        let tx = self.server.tx();
        self.client_rx.push(tx.pending());
        tx.consume(tx.len());
        while let Step::Event(event) = self.client.poll(self.now, &mut self.client_rx).unwrap() {
            match event {
                ClientEvent::Auth(ClientAuth::HostKey(ticket)) => {
                    self.client.decide_host_key(ticket, Decision::Accept).unwrap()
                }
                ClientEvent::Auth(ClientAuth::Needed { .. }) => {
                    let password = Password::new(&b"x"[..]);
                    self.client.authenticate("u", AuthRequest::Password(&password)).unwrap();
                }
                _ => {}
            }
        }
        while let Step::Event(event) = self.server.poll(self.now, &mut self.server_rx).unwrap() {
            match event {
                ServerEvent::Auth(ServerAuth::Attempt { ticket, .. }) => {
                    self.server.decide_auth(ticket, AuthDecision::Accept).unwrap()
                }
                ServerEvent::Open { ticket, .. } => {
                    self.server.accept_channel(ticket).unwrap();
                }
                _ => {}
            }
        }
    }

    pub fn open(&mut self) -> ChannelId {
        let id = self.client.open(OpenKind::Session).unwrap();
        self.exchange();
        self.exchange();
        id
    }

    /// One packet of `len` bytes from client to server; the copy between them is not counted.
    pub fn send(&mut self, id: ChannelId, len: usize) -> Duration {
        let start = Instant::now();
        let Some(mut slot) = self.client.slot(id, DataStream::Data, len).unwrap() else {
            self.exchange();
            return self.send(id, len);
        };
        black_box(slot.bytes());
        slot.commit(len);
        let mut spent = start.elapsed();
        let tx = self.client.tx();
        self.server_rx.push(tx.pending());
        tx.consume(tx.len());
        let start = Instant::now();
        while let Step::Event(event) = self.server.poll(self.now, &mut self.server_rx).unwrap() {
            if let ServerEvent::Channel(id, ChannelEvent::Data { data, .. }) = event {
                let n = black_box(data).len();
                self.server.consume(id, n).unwrap();
            }
        }
        spent += start.elapsed();
        let tx = self.server.tx();
        if !tx.is_empty() {
            self.client_rx.push(tx.pending());
            tx.consume(tx.len());
            while let Step::Event(_) = self.client.poll(self.now, &mut self.client_rx).unwrap() {}
        }
        spent
    }
}
