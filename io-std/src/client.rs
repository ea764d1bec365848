use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use konko_core::channel::OpenKind;
use konko_core::crypto::HashAlgorithm;
use konko_core::error::Phase;
use konko_core::keys::PublicKey;
use konko_core::transport::negotiate::Negotiated;
use konko_core::wire::SshStr;
use konko_core::{ClientConfig, ClientConnection, Decision};

use crate::channel::Channel;
use crate::dial;
use crate::end::ClientEnd;
use crate::error::{Error, ErrorKind};
use crate::hosts::Updater;
use crate::notice::Notice;
use crate::options::{Banner, ClientOptions};
use crate::shared::{Deadline, Shared};
use crate::state::Sink;
use crate::stream::{FdStream, Stream};

/// Where to connect to: a host and a port.
pub trait Target {
    /// The host name or address, and the port.
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    fn host_and_port(&self) -> Result<(String, u16), String>;
}

impl Target for str {
    /// `host`, `host:port`, `[address]:port`, or an IPv6 address; port 22 unless given.
    fn host_and_port(&self) -> Result<(String, u16), String> {
        let wrong = || format!("\"{}\" is not host:port", SshStr::new(self.as_bytes()));
        let (host, port) = if let Some(rest) = self.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
            (host, rest.strip_prefix(':').or_else(|| rest.is_empty().then_some("22")).ok_or_else(wrong)?)
        } else {
            match self.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, port),
                _ => (self, "22"),
            }
        };
        if host.is_empty() {
            return Err(wrong());
        }
        Ok((host.to_owned(), port.parse().map_err(|_| wrong())?))
    }
}

impl Target for String {
    fn host_and_port(&self) -> Result<(String, u16), String> {
        self.as_str().host_and_port()
    }
}

impl<T: Target + ?Sized> Target for &T {
    fn host_and_port(&self) -> Result<(String, u16), String> {
        (**self).host_and_port()
    }
}

impl<S: AsRef<str>> Target for (S, u16) {
    fn host_and_port(&self) -> Result<(String, u16), String> {
        let host = self.0.as_ref();
        // The brackets of an address are how it is written, and no part of it.
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        Ok((bare.unwrap_or(host).to_owned(), self.1))
    }
}

impl Target for SocketAddr {
    fn host_and_port(&self) -> Result<(String, u16), String> {
        Ok((self.ip().to_string(), self.port()))
    }
}

/// A connection to a server. Clones are handles to the same connection and can be used from several
/// threads. When the last handle is dropped, channels included, the connection ends without waiting.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
    pub(crate) shared: Arc<Shared<ClientEnd>>,
    pub(crate) auth_timeout: Option<Duration>,
    pub(crate) on_banner: Option<Banner>,
}

/// What channels hold of their connection. A client's ends when nobody can use it any more; a
/// server's lives as long as the peer wants it.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) reply_timeout: Option<Duration>,
    pub(crate) io_timeout: Option<Duration>,
    pub(crate) ends_when_dropped: bool,
}

impl Client {
    /// Connects to a server and checks its host key. [`login`](Self::login) comes next.
    ///
    /// A host's addresses are tried a quarter of a second apart, IPv6 and IPv4 in turn, until one
    /// answers (RFC 8305).
    ///
    /// # Errors
    /// `Resolve` or `Connect` if there is no TCP connection; `HostKey` if the host key is not one to trust; `Ssh` if the two do
    /// not agree; `Timeout`.
    pub fn connect(to: impl Target, options: ClientOptions) -> Result<Self, Error> {
        let deadline = Deadline::after(options.handshake_timeout);
        let (host, port) =
            to.host_and_port().map_err(|text| Error::new(ErrorKind::Local(text), &Arc::from("")))?;
        let peer = name(&host, port);
        let socket = connect_tcp(&host, port, &options, deadline, &peer)?;
        let address = socket.peer_addr().ok().map(|address| address.ip());
        let local = |e| Error::new(ErrorKind::Connect(Arc::new(e)), &peer);
        let stream = FdStream::tcp(socket, options.tcp_keepalive).map_err(local)?;
        Self::handshake(Box::new(stream), (&host, port), address, options, deadline)
    }

    /// Speaks SSH over a stream that stands already: a socket of your own, or a pipe to a proxy.
    /// `host` and `port` are what known_hosts knows the server by.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), from the host key on; `Io`, with what the stream says.
    pub fn over(stream: impl Stream, host: &str, port: u16, options: ClientOptions) -> Result<Self, Error> {
        let deadline = Deadline::after(options.handshake_timeout);
        Self::handshake(Box::new(stream), (host, port), None, options, deadline)
    }

    fn handshake(
        stream: Box<dyn Stream>,
        (host, port): (&str, u16),
        address: Option<IpAddr>,
        options: ClientOptions,
        mut deadline: Deadline,
    ) -> Result<Self, Error> {
        let peer = name(host, port);
        // An alias is the whole name: the port is no part of it (ssh_config(5), HostKeyAlias).
        let (host, port) = options.alias.as_deref().map_or((host, port), |alias| (alias, 22));
        let mut known = options.host_keys.lookup(host, port);
        if let Some(address) = address {
            known = known.address(address);
        }
        let mut transport = options.transport;
        if !options.fixed_host_key_order {
            transport.algorithms.prefer_host_keys(&known.algorithms());
        }
        if let Some(left) = deadline.left() {
            // The deadline of the whole is the one that counts. The machine's own timer is a little
            // earlier: it can say what came instead of an identification line.
            let left = left.saturating_sub((left / 10).min(Duration::from_millis(100)));
            transport.limits.ident_timeout = transport.limits.ident_timeout.min(left);
        }
        let seed = crate::seed_from_os().map_err(|e| Error::new(ErrorKind::Local(e.to_string()), &peer))?;
        let (allowed, min_rsa_bits) = (transport.algorithms.host_key.clone(), transport.limits.rsa_bits);
        let provider = transport.provider;
        let mut config = ClientConfig::new(transport);
        config.window = options.window;
        let end = |now| ClientEnd::new(ClientConnection::new(Arc::new(config), seed, now));
        let shared = Shared::new(end, stream, peer, options.on_notice);
        shared.start()?;
        let handle = Arc::new(Handle {
            shared: shared.clone(),
            reply_timeout: options.reply_timeout,
            io_timeout: options.io_timeout,
            ends_when_dropped: true,
        });
        let client = Client {
            handle,
            shared: Arc::clone(&shared),
            auth_timeout: options.auth_timeout,
            on_banner: options.on_banner,
        };
        let (ticket, key) = shared.wait(deadline, "the host key", |state| {
            Some((state.end.host_key.take()?, state.end.conn.offered_host_key()?.clone()))
        })?;
        let before = Instant::now();
        shared.notice(Notice::HostKey(key.key_type().name(), key.fingerprint(HashAlgorithm::Sha256)));
        let verdict = known.settle(&key, &mut |notice| shared.notice(notice));
        deadline.extend(before.elapsed());
        let updater = verdict.as_ref().ok().and_then(|trusted| {
            let (check, settled) = trusted.clone();
            let ask = options.host_keys.ask_changes();
            check.may_update(&settled).then(|| Updater {
                check,
                settled,
                allowed,
                min_rsa_bits,
                provider,
                ask,
            })
        });
        shared
            .with(|state| {
                state.end.updater = updater;
                state.end.conn.decide_host_key(ticket, Decision::accept_if(verdict.is_ok()))
            })
            .ok();
        if let Err(problem) = verdict {
            return Err(shared.error(ErrorKind::HostKey(problem)));
        }
        shared.wait(deadline, "the authentication service", |state| {
            state.end.conn.may_authenticate().then_some(())
        })?;
        Ok(client)
    }

    pub(crate) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// Opens a session: a channel for a program, a shell or a subsystem.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn session(&self) -> Result<Channel, Error> {
        self.open(OpenKind::Session)
    }

    /// Opens a channel of any kind. The other way round is not there yet: each channel that the server opens is
    /// refused, and noted.
    ///
    /// # Errors
    /// `OpenRefused` if the server does not want it; `Usage` before the login; `Timeout`; why the connection ended.
    pub fn open(&self, kind: OpenKind<'_>) -> Result<Channel, Error> {
        Channel::open(&self.handle, kind, Sink::Inbox(Default::default()))
    }

    /// Opens a connection that the server makes to `host` and `port`.
    ///
    /// # Errors
    /// As [`open`](Self::open): a server that cannot connect refuses.
    pub fn direct_tcpip(&self, host: &str, port: u16) -> Result<Channel, Error> {
        self.open(OpenKind::DirectTcpip {
            host: SshStr::new(host.as_bytes()),
            port: port.into(),
            originator: SshStr::new(b"127.0.0.1"),
            originator_port: 0,
        })
    }

    /// Renews the keys.
    ///
    /// # Errors
    /// `Usage` before the login, and after the end.
    pub fn rekey(&self) -> Result<(), Error> {
        let shared = &self.shared;
        shared.with(|state| state.end.conn.rekey()).map_err(|e| shared.error(ErrorKind::Usage(e)))
    }

    /// Key exchanges completed so far.
    pub fn key_exchanges(&self) -> u64 {
        self.shared.lock().end.conn.key_exchanges()
    }

    /// The algorithms in use.
    pub fn negotiated(&self) -> Option<Negotiated> {
        self.shared.lock().end.conn.negotiated().cloned()
    }

    /// Whether strict key exchange is in force, against dropped packets (OpenSSH PROTOCOL §1.9).
    pub fn strict_kex(&self) -> bool {
        self.shared.lock().end.conn.strict_kex()
    }

    /// The server's host key, which was accepted.
    pub fn host_key(&self) -> Option<PublicKey> {
        self.shared.lock().end.conn.host_key().cloned()
    }

    /// The server's identification line, escaped.
    pub fn peer_ident(&self) -> Option<String> {
        self.shared.lock().end.conn.peer_ident().map(|ident| ident.to_string())
    }

    /// Whether the user is in and the connection lives.
    pub fn is_connected(&self) -> bool {
        let state = self.shared.lock();
        state.ended.is_none() && state.end.conn.is_authenticated()
    }

    /// Waits until the connection has ended; why it did.
    pub fn wait_closed(&self) -> Error {
        match self.shared.wait::<()>(Deadline::after(None), "", |_| None) {
            Err(error) => error,
            Ok(()) => self.shared.error(ErrorKind::ChannelClosed),
        }
    }

    /// Ends the connection for all handles, without waiting. Dropping the last handle does the same.
    pub fn disconnect(&self) {
        self.shared.disconnect("closed by the user");
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.shared.peer)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.ends_when_dropped {
            self.shared.disconnect("closed by the user");
        }
    }
}

fn name(host: &str, port: u16) -> Arc<str> {
    if host.contains(':') { format!("[{host}]:{port}").into() } else { format!("{host}:{port}").into() }
}

fn connect_tcp(
    host: &str,
    port: u16,
    options: &ClientOptions,
    deadline: Deadline,
    peer: &Arc<str>,
) -> Result<TcpStream, Error> {
    let unresolved = |e| Error::new(ErrorKind::Resolve(Arc::new(e)), peer);
    let resolved = (host, port).to_socket_addrs().map_err(unresolved)?;
    let from = |addr: &SocketAddr| options.bind.is_none_or(|own| own.is_ipv4() == addr.is_ipv4());
    let addresses: Vec<SocketAddr> =
        resolved.filter(|addr| options.family.takes(addr) && from(addr)).collect();
    if addresses.is_empty() {
        let none = format!("it has no {}", options.family);
        return Err(unresolved(std::io::Error::new(std::io::ErrorKind::NotFound, none)));
    }
    let notice = |notice| options.on_notice.iter().for_each(|observer| observer(Phase::Ident, &notice));
    dial::connect(addresses, options.bind, options.connect_timeout, deadline, &notice)
        .map_err(|e| Error::new(ErrorKind::Connect(Arc::new(e)), peer))
}
