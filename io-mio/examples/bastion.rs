//! A bastion: clients log in here, and the connections they ask for (`direct-tcpip`, as `ssh -J` and
//! `ssh -L` do) go on through one SSH connection to a server further in.
//!
//! ```text
//! UPSTREAM_PASSWORD=... cargo run --release -p konko-mio --example bastion -- 127.0.0.1:2222 10.0.0.1:22 relay SHA256:...
//! ssh -J alice@127.0.0.1:2222 alice@inner        (the password is "wonderland")
//! ```
//!
//! Nothing is stored between the two connections: a packet is decrypted where it was received, and
//! its data is written from there straight into the packet that goes out, where it is encrypted. That
//! is the one copy there is. Only what the next connection cannot take at once is kept, at most a
//! window a channel, and the window opens only for what has gone on.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use konko_mio::core::admission::AdmissionLimits;
use konko_mio::core::channel::{
    ChannelEvent, ChannelId, ChannelRequest, DataStream, OpenFailure, OpenKind, OpenTicket,
};
use konko_mio::core::client::{AuthRequest, Password};
use konko_mio::core::crypto::HashAlgorithm;
use konko_mio::core::keys::{KeyType, PrivateKey};
use konko_mio::core::server::{AuthDecision, AuthTicket, Credential};
use konko_mio::core::*;
use konko_mio::{App, Closed, ConnId, Hub, Loop, Settings, Workers};

/// One end of a relay.
type End = (ConnId, ChannelId);

/// A channel from which data comes, as the other end sees it.
struct Flow {
    to: End,
    /// What the other end could not take yet.
    kept: Vec<u8>,
    eof: bool,
    closed: bool,
}

impl Flow {
    /// Once everything has gone on, its end does too.
    fn pass_end(&self, next: &mut Connection<dyn Side>) {
        let _ = match (self.kept.is_empty(), self.closed, self.eof) {
            (true, true, _) => next.close_channel(self.to.1),
            (true, false, true) => next.send_eof(self.to.1),
            _ => Ok(()),
        };
    }
}

/// Writes what the channel takes now.
fn write(conn: &mut Connection<dyn Side>, channel: ChannelId, data: &[u8]) -> usize {
    conn.write(channel, DataStream::Data, data).unwrap_or(0)
}

pub(crate) struct Bastion {
    upstream: ConnId,
    pub(crate) user: String,
    pub(crate) password: Password,
    /// The upstream's host key, as `ssh-keygen -l` prints it.
    pub(crate) fingerprint: String,
    ready: bool,
    /// Logins that wait for the way further in.
    waiting: Vec<(ConnId, AuthTicket)>,
    /// Opened further in, not answered yet.
    opening: BTreeMap<ChannelId, (ConnId, OpenTicket)>,
    flows: BTreeMap<End, Flow>,
    /// Bytes that went straight on, and bytes that had to be kept for a while.
    pub(crate) direct: u64,
    pub(crate) kept: u64,
}

impl Bastion {
    pub(crate) fn new(upstream: ConnId, user: String, password: Password, fingerprint: String) -> Self {
        Bastion {
            upstream,
            user,
            password,
            fingerprint,
            ready: false,
            waiting: Vec::new(),
            opening: BTreeMap::new(),
            flows: BTreeMap::new(),
            direct: 0,
            kept: 0,
        }
    }

    fn on_channel<M: Send + 'static>(
        &mut self,
        from: End,
        conn: &mut Connection<dyn Side>,
        event: ChannelEvent<'_>,
        hub: &mut Hub<M>,
    ) {
        match event {
            ChannelEvent::Data { data, .. } => {
                let Some(flow) = self.flows.get_mut(&from) else { return };
                let Some(next) = hub.connection(flow.to.0) else { return };
                let direct = flow.kept.is_empty();
                let n = if direct { write(next, flow.to.1, data) } else { 0 };
                flow.kept.extend_from_slice(&data[n..]);
                (self.direct, self.kept) = (self.direct + n as u64, self.kept + (data.len() - n) as u64);
                let _ = conn.consume(from.1, n);
            }
            // This end takes data again: what comes from the other end goes on.
            ChannelEvent::Writable => {
                let Some(other) = self.flows.get(&from).map(|flow| flow.to) else { return };
                let Some(flow) = self.flows.get_mut(&other) else { return };
                let n = write(conn, from.1, &flow.kept);
                flow.kept.drain(..n);
                flow.pass_end(conn);
                if let Some(source) = hub.connection(other.0) {
                    let _ = source.consume(other.1, n);
                }
            }
            ChannelEvent::Eof | ChannelEvent::Closed => {
                let Some(flow) = self.flows.get_mut(&from) else { return };
                flow.eof = true;
                flow.closed = matches!(event, ChannelEvent::Closed);
                if let Some(next) = hub.connection(flow.to.0) {
                    flow.pass_end(next);
                }
                // A channel's flow is needed as long as the other end may still get something of it.
                let (over, to) = (flow.closed, flow.to);
                if over && self.flows.get(&to).is_none_or(|back| back.closed) {
                    self.flows.remove(&from);
                    self.flows.remove(&to);
                }
            }
            _ => {}
        }
    }

    fn join(&mut self, a: End, b: End) {
        self.flows.insert(a, Flow { to: b, kept: Vec::new(), eof: false, closed: false });
        self.flows.insert(b, Flow { to: a, kept: Vec::new(), eof: false, closed: false });
    }
}

impl App for Bastion {
    type Message = ();

    fn on_server_event(
        &mut self,
        id: ConnId,
        conn: &mut ServerConnection,
        event: ServerEvent<'_>,
        hub: &mut Hub<()>,
    ) {
        let _ = match event {
            ServerEvent::Auth(ServerAuth::Attempt { ticket, credential, .. }) => {
                let right = matches!(credential, Credential::Password(b"wonderland"));
                if right && !self.ready {
                    // Nobody is let in before there is a way further in.
                    self.waiting.push((id, ticket));
                    return;
                }
                conn.decide_auth(ticket, if right { AuthDecision::Accept } else { AuthDecision::Reject })
            }
            ServerEvent::Auth(ServerAuth::Probe { ticket, .. }) => {
                conn.decide_probe(ticket, Decision::Reject)
            }
            ServerEvent::Open { ticket, kind: kind @ OpenKind::DirectTcpip { .. } } if self.ready => {
                // Who asks, and for what, is all that goes on; the answer decides.
                match hub.client(self.upstream).map(|upstream| upstream.open(kind)) {
                    Some(Ok(channel)) => {
                        self.opening.insert(channel, (id, ticket));
                        Ok(())
                    }
                    _ => conn.reject_channel(ticket, OpenFailure::CONNECT_FAILED, "the way in is closed"),
                }
            }
            ServerEvent::Open { ticket, .. } => {
                let why = OpenFailure::ADMINISTRATIVELY_PROHIBITED;
                conn.reject_channel(ticket, why, "only connections further in")
            }
            ServerEvent::GlobalRequest { ticket: Some(ticket), .. } => {
                conn.reply_global(ticket, Decision::Reject, None)
            }
            ServerEvent::Channel(_, ChannelEvent::Request { ticket: Some(ticket), .. }) => {
                conn.reply(ticket, Decision::Reject)
            }
            ServerEvent::Channel(channel, event) => {
                self.on_channel((id, channel), conn, event, hub);
                Ok(())
            }
            _ => Ok(()),
        };
    }

    fn on_client_event(
        &mut self,
        id: ConnId,
        conn: &mut ClientConnection,
        event: ClientEvent<'_>,
        hub: &mut Hub<()>,
    ) {
        let _ = match event {
            ClientEvent::Auth(ClientAuth::HostKey(ticket)) => {
                let key =
                    conn.offered_host_key().map(|key| key.fingerprint(HashAlgorithm::Sha256).to_string());
                conn.decide_host_key(ticket, Decision::accept_if(key.as_ref() == Some(&self.fingerprint)))
            }
            ClientEvent::Auth(ClientAuth::Needed { .. }) => {
                conn.authenticate(&self.user, AuthRequest::Password(&self.password))
            }
            ClientEvent::Authenticated { .. } => {
                self.ready = true;
                for (id, ticket) in self.waiting.drain(..) {
                    // Who has gone meanwhile is not let in.
                    if let Some(conn) = hub.server(id) {
                        let _ = conn.decide_auth(ticket, AuthDecision::Accept);
                    }
                }
                Ok(())
            }
            ClientEvent::Opened(inner) => {
                let Some((outer, ticket)) = self.opening.remove(&inner) else { return };
                match hub.server(outer).map(|conn| conn.accept_channel(ticket)) {
                    Some(Ok(channel)) => {
                        self.join((outer, channel), (id, inner));
                        Ok(())
                    }
                    // The client did not wait.
                    _ => conn.close_channel(inner),
                }
            }
            ClientEvent::OpenFailed { channel, why, text } => {
                let Some((outer, ticket)) = self.opening.remove(&channel) else { return };
                let Some(outer) = hub.server(outer) else { return };
                outer.reject_channel(ticket, why, &text.excerpt(200))
            }
            ClientEvent::GlobalRequest { ticket: Some(ticket), .. } => {
                conn.reply_global(ticket, Decision::Reject, None)
            }
            ClientEvent::Channel(channel, event) => {
                // The bytes of exit statuses mean nothing here.
                if let ChannelEvent::Request { ticket: Some(ticket), request } = event {
                    let _ = conn.reply(ticket, Decision::accept_if(matches!(request, ChannelRequest::Eow)));
                    return;
                }
                self.on_channel((id, channel), conn, event, hub);
                Ok(())
            }
            _ => Ok(()),
        };
    }

    fn on_closed(&mut self, id: ConnId, why: Closed, hub: &mut Hub<()>) {
        let ended: Vec<End> = self.flows.keys().filter(|(of, _)| *of == id).copied().collect();
        for end in ended {
            let Some(flow) = self.flows.remove(&end) else { continue };
            if let Some(next) = hub.connection(flow.to.0) {
                let _ = next.close_channel(flow.to.1);
            }
        }
        if id == self.upstream {
            eprintln!("the connection further in has ended: {why}");
            hub.drain(std::time::Duration::from_secs(1));
        }
    }
}

/// Settings of a bastion: key exchanges go to worker threads.
pub(crate) fn server_config() -> Result<ServerConfig, Box<dyn Error>> {
    let key = PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&konko_mio::seed_from_os()?))?;
    let key = Arc::new(key.key_pair(provider::best())?);
    let mut config = ServerConfig::new(TransportConfig::new(provider::best()), vec![key]);
    config.offload = true;
    Ok(config)
}

#[allow(dead_code, reason = "the tests take this file as a module")]
fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [listen, upstream, user, fingerprint] = &args[..] else {
        return Err(
            "usage: bastion LISTEN UPSTREAM USER FINGERPRINT; the password is in UPSTREAM_PASSWORD".into()
        );
    };
    let settings = Settings::new().workers(Workers::new(2)?);
    let mut both = Loop::new(settings)?;
    let admission = konko_mio::admission(AdmissionLimits::default())?;
    let config = Arc::new(server_config()?);
    both.hub().listen(konko_mio::bind(listen.parse()?, konko_mio::Sharing::Alone)?, config, admission)?;
    let config = Arc::new(ClientConfig::new(TransportConfig::new(provider::best())));
    let upstream = both.hub().connect(upstream.parse()?, config)?;
    let password = Password::new(std::env::var("UPSTREAM_PASSWORD")?);
    both.run(&mut Bastion::new(upstream, user.clone(), password, fingerprint.clone()))?;
    Ok(())
}
