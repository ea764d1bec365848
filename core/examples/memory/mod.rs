//! A server and a client in one process, for the examples: one runs `greet` or `send N`, the other asks for it.
#![allow(dead_code, reason = "not every example needs all of it")]

use std::sync::Arc;

use konko_core::channel::{ChannelEvent, ChannelId, ChannelRequest, DataStream, Exit, OpenKind};
use konko_core::keys::{KeyPair, KeyType, PrivateKey};
use konko_core::login::{Answer, Login, LoginMethod, Question};
use konko_core::server::{AuthDecision, Credential};
use konko_core::*;

/// A host key. Real programs take the seed from the operating system.
pub fn host_key() -> Arc<KeyPair> {
    let key = PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&Seed::new([1; 32]))).unwrap();
    Arc::new(key.key_pair(provider::best()).unwrap())
}

pub fn client_config() -> ClientConfig {
    ClientConfig::new(TransportConfig::new(provider::best()))
}

pub fn server_config() -> ServerConfig {
    ServerConfig::new(TransportConfig::new(provider::best()), vec![host_key()])
}

/// Logs in as alice, runs one command, counts what comes.
pub struct Runner {
    login: Login,
    command: &'static str,
    pub received: u64,
    pub text: Vec<u8>,
    pub exit: Option<u32>,
    pub closed: bool,
}

impl Runner {
    pub fn new(command: &'static str) -> Self {
        let login = Login::new("alice", [LoginMethod::Password { tries: 1 }]);
        Runner { login, command, received: 0, text: Vec::new(), exit: None, closed: false }
    }

    pub fn on_event(&mut self, conn: &mut ClientConnection, event: ClientEvent<'_>) {
        let Some(event) = self.login.event(conn, event) else {
            while let Some(asked) = self.login.question() {
                let answer = match asked.question {
                    Question::Password { .. } => Answer::Secret(client::Password::new("wonderland")),
                    _ => Answer::No,
                };
                self.login.answer(conn, answer).unwrap();
            }
            return;
        };
        match event {
            ClientEvent::Auth(ClientAuth::HostKey(ticket)) => {
                let known = conn.offered_host_key() == Some(host_key().public());
                conn.decide_host_key(ticket, Decision::accept_if(known)).unwrap();
            }
            ClientEvent::Authenticated { .. } => drop(conn.open(OpenKind::Session).unwrap()),
            ClientEvent::Opened(channel) => {
                let command = ChannelRequest::Exec(wire::SshStr::new(self.command.as_bytes()));
                conn.request(channel, command, WantReply::Yes).unwrap();
            }
            ClientEvent::Channel(channel, ChannelEvent::Data { data, .. }) => {
                self.received += data.len() as u64;
                self.text.extend(data.iter().take(100));
                conn.consume(channel, data.len()).unwrap();
            }
            ClientEvent::Channel(_, ChannelEvent::Exit(Exit::Status(status))) => self.exit = Some(status),
            ClientEvent::Channel(_, ChannelEvent::Closed) => self.closed = true,
            _ => {}
        }
    }
}

/// Lets alice in and runs her commands.
#[derive(Default)]
pub struct Host {
    sending: Option<(ChannelId, u64)>,
}

impl Host {
    pub fn on_event(&mut self, conn: &mut ServerConnection, event: ServerEvent<'_>) {
        match event {
            ServerEvent::Auth(ServerAuth::Attempt { ticket, credential, .. }) => {
                let right = matches!(credential, Credential::Password(b"wonderland"));
                let verdict = if right { AuthDecision::Accept } else { AuthDecision::Reject };
                conn.decide_auth(ticket, verdict).unwrap();
            }
            ServerEvent::Open { ticket, .. } => drop(conn.accept_channel(ticket).unwrap()),
            ServerEvent::Channel(channel, ChannelEvent::Request { ticket: Some(ticket), request }) => {
                let ChannelRequest::Exec(command) = request else {
                    return conn.reply(ticket, Decision::Reject).unwrap();
                };
                conn.reply(ticket, Decision::Accept).unwrap();
                let command = command.to_str().unwrap_or_default();
                let bytes = command.strip_prefix("send ").and_then(|n| n.parse().ok()).unwrap_or(0);
                if bytes == 0 {
                    conn.write(channel, DataStream::Data, b"hello, alice").unwrap();
                }
                self.sending = Some((channel, bytes));
                self.send(conn);
            }
            ServerEvent::Channel(_, ChannelEvent::Writable) => self.send(conn),
            _ => {}
        }
    }

    /// Sends what the window and the output take; `Writable` follows when there is room again.
    fn send(&mut self, conn: &mut ServerConnection) {
        let Some((channel, left)) = &mut self.sending else { return };
        while *left > 0 {
            let want = usize::try_from(*left).unwrap_or(usize::MAX).min(32 * 1024);
            match conn.write(*channel, DataStream::Data, &[0; 32 * 1024][..want]).unwrap() {
                0 => return,
                n => *left -= n as u64,
            }
        }
        conn.request(*channel, ChannelRequest::ExitStatus(0), WantReply::No).unwrap();
        conn.close_channel(*channel).unwrap();
        self.sending = None;
    }
}
