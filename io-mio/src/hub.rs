//! The connections of a loop, as the application sees them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use konko_core::admission::{Admission, AdmissionLimits};
use konko_core::dial::Dial;
use konko_core::transport::Job;
use konko_core::{
    ClientConfig, ClientConnection, Connection, Seed, ServerConfig, ServerConnection, Side, Time, TxBuf,
};
use mio::{Interest, Registry, Token};

use crate::dial::Dialing;
use crate::link::{Conn, Link, Place, SharedAdmission};
use crate::links::{ConnId, Links};
use crate::mailbox::{Mail, Mailbox};
use crate::socket::Socket;
use crate::timers::Timers;
use crate::workers::Workers;

/// Tokens before the first connection's: the waker's, then those of listeners.
pub(crate) const FIRST_CONNECTION: usize = 1 + MAX_LISTENERS;
/// Listeners of one loop.
pub(crate) const MAX_LISTENERS: usize = 63;
/// Output buffers without an owner that are kept.
const SPARE_OUTPUTS: usize = 8;

/// How a loop treats its connections. The defaults suit servers of any size.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(crate) workers: Option<Workers>,
    pub(crate) turn_bytes: usize,
    pub(crate) turn_events: u32,
    pub(crate) startup_slice: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) linger: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            workers: None,
            turn_bytes: 128 * 1024,
            turn_events: 64,
            startup_slice: Duration::from_millis(1),
            connect_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(60),
            linger: Duration::from_secs(2),
        }
    }
}

impl Settings {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Who does costly work: the loop itself unless said otherwise, and everybody waits. With workers, set
    /// [`ServerConfig::offload`], so that key exchanges go there.
    #[must_use]
    pub fn workers(mut self, workers: Workers) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Bytes that a connection may read and write in one turn, before it is another's: 128 KiB.
    #[must_use]
    pub fn turn_bytes(mut self, bytes: usize) -> Self {
        self.turn_bytes = bytes;
        self
    }

    /// Events that a connection may cause in one turn: 64.
    #[must_use]
    pub fn turn_events(mut self, events: u32) -> Self {
        self.turn_events = events;
        self
    }

    /// How long clients that are not authenticated may keep the loop busy before established
    /// connections are looked at again: 1 ms.
    #[must_use]
    pub fn startup_slice(mut self, time: Duration) -> Self {
        self.startup_slice = time;
        self
    }

    /// How long a TCP connect may take, to each address of a host: 10 seconds.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a peer may take no byte of what waits for it, before it is cut off: 60 seconds.
    #[must_use]
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// How long the last words of a connection may take, and the peer to close its side: 2 seconds.
    #[must_use]
    pub fn linger(mut self, time: Duration) -> Self {
        self.linger = time;
        self
    }
}

/// A listener of one loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerId(pub(crate) usize);

pub(crate) struct Listener {
    pub(crate) socket: mio::net::TcpListener,
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) admission: SharedAdmission,
    /// There may be somebody to accept.
    pub(crate) ready: bool,
    /// Out of descriptors: nothing is accepted until then, or until a connection ends.
    pub(crate) paused: Option<Time>,
    /// The application knows that accepting fails.
    pub(crate) told: bool,
}

/// The connections of a loop: how an application reaches others than the one an event came from.
pub struct Hub<M> {
    pub(crate) settings: Settings,
    start: Instant,
    now: Time,
    registry: Registry,
    base: usize,
    pub(crate) links: Links,
    pub(crate) timers: Timers,
    /// Connections that want a turn: established ones, and the others.
    pub(crate) ready: [VecDeque<ConnId>; 2],
    pub(crate) listeners: Vec<Option<Listener>>,
    pub(crate) mailbox: Mailbox<M>,
    pub(crate) alarms: BTreeMap<(Time, u64), M>,
    next_alarm: u64,
    outputs: Vec<TxBuf>,
    draining: Option<Time>,
    /// Patience has ended.
    drain_over: bool,
}

impl<M: Send + 'static> Hub<M> {
    pub(crate) fn new(registry: &Registry, base: Token, settings: Settings) -> io::Result<Self> {
        let waker = mio::Waker::new(registry, base)?;
        Ok(Hub {
            settings,
            start: Instant::now(),
            now: Time::ZERO,
            registry: registry.try_clone()?,
            base: base.0,
            links: Links::default(),
            timers: Timers::default(),
            ready: Default::default(),
            listeners: Vec::new(),
            mailbox: Mailbox::new(waker),
            alarms: BTreeMap::new(),
            next_alarm: 0,
            outputs: Vec::new(),
            draining: None,
            drain_over: false,
        })
    }

    // ---- connections ----

    /// A connection that we serve; `None` when it is over, is a client's, or is the one whose event
    /// is being handled, which is at hand. What is done to it takes effect in this turn of the loop.
    pub fn server(&mut self, id: ConnId) -> Option<&mut ServerConnection> {
        self.enqueue(id);
        match &mut self.touch(id)?.conn {
            Conn::Server(conn) => Some(conn),
            _ => None,
        }
    }

    /// A connection of either role; else as [`server`](Self::server).
    pub fn connection(&mut self, id: ConnId) -> Option<&mut Connection<dyn Side>> {
        self.enqueue(id);
        self.touch(id)?.conn.any_mut().ok()
    }

    /// A connection that we made; else as [`server`](Self::server).
    pub fn client(&mut self, id: ConnId) -> Option<&mut ClientConnection> {
        self.enqueue(id);
        match &mut self.touch(id)?.conn {
            Conn::Client(conn) => Some(conn),
            _ => None,
        }
    }

    /// Connects to a server. Its events follow, or `on_closed`.
    ///
    /// # Errors
    /// The system gives no random numbers. That nobody answers comes with `on_closed`.
    pub fn connect(&mut self, addr: SocketAddr, config: Arc<ClientConfig>) -> io::Result<ConnId> {
        self.connect_any([addr], config)
    }

    /// Connects to whichever address of a host answers first: they are tried a quarter of a second
    /// apart, families in turn (RFC 8305), each for [`Settings::connect_timeout`]. Give them in the
    /// order in which getaddrinfo(3) has them. When all fail, `on_closed` has a
    /// [`ConnectFailures`](konko_core::dial::ConnectFailures), which names each with its error.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_any(
        &mut self,
        addrs: impl IntoIterator<Item = SocketAddr>,
        config: Arc<ClientConfig>,
    ) -> io::Result<ConnId> {
        let dialing = Dialing::new(Dial::new(addrs, Some(self.settings.connect_timeout)));
        self.start_client(Err(dialing), config)
    }

    /// Talks to a server over a stream that is connected.
    ///
    /// # Errors
    /// The stream cannot be registered, or the system has no random numbers.
    pub fn adopt_client(&mut self, stream: Socket, config: Arc<ClientConfig>) -> io::Result<ConnId> {
        self.start_client(Ok(stream), config)
    }

    /// Serves a client over a stream that somebody else accepted; nobody counts it.
    ///
    /// # Errors
    /// As [`adopt_client`](Self::adopt_client).
    pub fn adopt_server(&mut self, stream: Socket, config: Arc<ServerConfig>) -> io::Result<ConnId> {
        self.start_server(stream, config, None)
    }

    /// Whom a connection is with; `None` for Unix sockets, and when it is over.
    pub fn peer(&self, id: ConnId) -> Option<SocketAddr> {
        self.links.get(id)?.socket.as_ref()?.peer()
    }

    /// Connections that there are, those included that are saying goodbye.
    pub fn connections(&self) -> usize {
        self.links.len()
    }

    // ---- listeners ----

    /// Serves the clients that come to `listener`. `admission` says who may; several listeners, of
    /// several loops too, can share one. See [`bind`](crate::bind) and [`admission`].
    ///
    /// # Errors
    /// There are 63 listeners already, or the socket cannot be registered.
    pub fn listen(
        &mut self,
        listener: net::TcpListener,
        config: Arc<ServerConfig>,
        admission: SharedAdmission,
    ) -> io::Result<ListenerId> {
        listener.set_nonblocking(true)?;
        let mut socket = mio::net::TcpListener::from_std(listener);
        let index = self.listeners.iter().position(Option::is_none).unwrap_or(self.listeners.len());
        if index == MAX_LISTENERS {
            return Err(io::Error::other("too many listeners in one loop"));
        }
        self.registry.register(&mut socket, Token(self.base + 1 + index), Interest::READABLE)?;
        let listener = Listener { socket, config, admission, ready: true, paused: None, told: false };
        if index == self.listeners.len() {
            self.listeners.push(None);
        }
        self.listeners[index] = Some(listener);
        Ok(ListenerId(index))
    }

    /// Closes a listener. Its connections go on.
    pub fn unlisten(&mut self, id: ListenerId) {
        if let Some(listener) = self.listeners.get_mut(id.0) {
            *listener = None;
        }
    }

    // ---- time and other threads ----

    /// The time that connections are told, counted from the loop's start.
    pub fn now(&self) -> Time {
        self.now
    }

    /// For other threads, to send messages here.
    pub fn mailbox(&self) -> Mailbox<M> {
        self.mailbox.clone()
    }

    /// Brings `message` to `on_message` after a while.
    pub fn after(&mut self, delay: Duration, message: M) {
        self.next_alarm += 1;
        self.alarms.insert((self.now + delay, self.next_alarm), message);
    }

    /// Does `work` on a worker thread, and brings what comes of it to `on_message`: the checking of a
    /// password, a look into a directory. Without workers it is done at once, here.
    pub fn spawn(&self, work: impl FnOnce() -> M + Send + 'static) {
        self.offload(false, || Mail::Message(work()));
    }

    /// Ends in good order: nobody is accepted any more, connections without a channel are told to
    /// leave, the others when their last channel has closed, at the latest after `patience`. The loop
    /// ends with the last of them.
    pub fn drain(&mut self, patience: Duration) {
        self.listeners.clear();
        let until = self.clock() + patience;
        self.draining = Some(self.draining.map_or(until, |before| before.min(until)));
        for id in self.links.ids() {
            self.enqueue(id);
        }
    }

    pub(crate) fn draining(&self) -> Option<Time> {
        self.draining
    }

    /// When patience ends, if it has not yet.
    pub(crate) fn drain_end(&self) -> Option<Time> {
        self.draining.filter(|_| !self.drain_over)
    }

    /// Gives everybody who is still there a turn, to be told, once patience has ended.
    pub(crate) fn end_drain(&mut self, now: Time) {
        if self.drain_end().is_some_and(|until| until <= now) {
            self.drain_over = true;
            for id in self.links.ids() {
                self.enqueue(id);
            }
        }
    }

    // ---- for the loop ----

    /// What the clock says.
    pub(crate) fn time(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    /// Looks at the clock.
    pub(crate) fn clock(&mut self) -> Time {
        self.now = self.time();
        self.now
    }

    pub(crate) fn base(&self) -> usize {
        self.base
    }

    /// Gives a connection a turn.
    pub(crate) fn enqueue(&mut self, id: ConnId) {
        if let Some(link) = self.links.get_mut(id).filter(|link| !link.queued) {
            link.queued = true;
            let queue = usize::from(!link.established);
            self.ready[queue].push_back(id);
        }
    }

    fn touch(&mut self, id: ConnId) -> Option<&mut Link> {
        let link = self.links.get_mut(id)?;
        lend(&mut self.outputs, link);
        Some(link)
    }

    /// Gives a connection memory for its output.
    pub(crate) fn lend_output(&mut self, link: &mut Link) {
        lend(&mut self.outputs, link);
    }

    /// Takes the memory of a connection without output back.
    pub(crate) fn return_output(&mut self, link: &mut Link) {
        let mut output = TxBuf::new();
        if std::mem::take(&mut link.has_tx)
            && link.conn.tx().swap(&mut output)
            && self.outputs.len() < SPARE_OUTPUTS
        {
            self.outputs.push(output);
        }
    }

    fn start_client(
        &mut self,
        stream: Result<Socket, Dialing>,
        config: Arc<ClientConfig>,
    ) -> io::Result<ConnId> {
        let conn = ClientConnection::new(config, seed_from_os()?, self.clock());
        self.start(Conn::Client(conn), stream, None)
    }

    pub(crate) fn start_server(
        &mut self,
        stream: Socket,
        config: Arc<ServerConfig>,
        place: Option<Place>,
    ) -> io::Result<ConnId> {
        let conn = ServerConnection::new(config, seed_from_os()?, self.clock());
        self.start(Conn::Server(conn), Ok(stream), place)
    }

    fn start(
        &mut self,
        conn: Conn,
        mut stream: Result<Socket, Dialing>,
        place: Option<Place>,
    ) -> io::Result<ConnId> {
        let id = self.links.reserve();
        if let Ok(stream) = &mut stream
            && let Err(error) = stream.register(&self.registry, self.token(id))
        {
            self.links.remove(id);
            return Err(error);
        }
        self.links.put(id, Box::new(Link::new(id, conn, stream).admitted(place)));
        self.enqueue(id);
        Ok(id)
    }

    /// What the sockets of a connection are registered under.
    fn token(&self, id: ConnId) -> Token {
        Token(self.base + FIRST_CONNECTION + id.number())
    }

    pub(crate) fn dial(&self, id: ConnId, dialing: &mut Dialing) -> io::Result<Result<Socket, Option<Time>>> {
        dialing.advance(self.now, &self.registry, self.token(id))
    }

    /// Does what takes long in a key exchange where it disturbs least.
    pub(crate) fn run_job(&self, id: ConnId, conn: &mut Connection<dyn Side>, job: Box<Job>) {
        if self.settings.workers.is_none() {
            let _ = conn.finish_job(job.run());
            return;
        }
        // An established session that renews its keys does not wait for strangers.
        self.offload(conn.is_authenticated(), move || Mail::Job(id, Box::new(job.run())));
    }

    fn offload(&self, urgent: bool, work: impl FnOnce() -> Mail<M> + Send + 'static) {
        let mailbox = self.mailbox.clone();
        let task = move || drop(mailbox.post(work()));
        match &self.settings.workers {
            Some(workers) => workers.run(urgent, task),
            None => task(),
        }
    }
}

fn lend(outputs: &mut Vec<TxBuf>, link: &mut Link) {
    if !std::mem::replace(&mut link.has_tx, true)
        && let Some(mut output) = outputs.pop()
    {
        link.conn.tx().swap(&mut output);
    }
}

impl<M> Drop for Hub<M> {
    fn drop(&mut self) {
        self.mailbox.close();
    }
}

impl<M> fmt::Debug for Hub<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hub({} connections)", self.links.len())
    }
}

/// Admission by these limits, to be shared by listeners.
///
/// # Errors
/// The system has no random numbers.
pub fn admission(limits: AdmissionLimits) -> io::Result<SharedAdmission> {
    Ok(SharedAdmission::new(Admission::new(limits, &seed_from_os()?)))
}

/// A seed from the operating system: for a connection, or to sign with.
///
/// # Errors
/// The system has no random numbers.
pub fn seed_from_os() -> io::Result<Seed> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(Seed::new(bytes))
}
