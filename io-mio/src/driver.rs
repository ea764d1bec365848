//! The turns of a loop.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use konko_core::RxBuf;
use konko_core::admission::Penalty;
use mio::event::Event;
use mio::{Events, Poll, Registry, Token};

use crate::app::{App, Closed};
use crate::hub::{FIRST_CONNECTION, Hub, Settings};
use crate::link::{Conn, Place, Turn};
use crate::links::ConnId;
use crate::mailbox::{Mail, Mailbox};
use crate::socket::{Socket, is_exhaustion};

/// Connections accepted in one turn.
const ACCEPTS: usize = 16;
/// Until accepting is tried again when descriptors ran out, if no connection ends before.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A loop: a `mio::Poll` and a [`Driver`].
#[derive(Debug)]
pub struct Loop<M: Send + 'static> {
    poll: Poll,
    driver: Driver<M>,
}

impl<M: Send + 'static> Loop<M> {
    /// A loop without connections.
    ///
    /// # Errors
    /// The system gives no event queue, or no waker.
    pub fn new(settings: Settings) -> io::Result<Self> {
        let poll = Poll::new()?;
        let driver = Driver::new(poll.registry(), Token(0), settings)?;
        Ok(Loop { poll, driver })
    }

    /// Its connections: to listen, to connect.
    pub fn hub(&mut self) -> &mut Hub<M> {
        self.driver.hub()
    }

    /// For other threads, to send messages here.
    pub fn mailbox(&self) -> Mailbox<M> {
        self.driver.hub.mailbox()
    }

    /// Runs until it is drained: see [`Hub::drain`].
    ///
    /// # Errors
    /// What the system says of the event queue. What becomes of a connection is no error here.
    pub fn run<A: App<Message = M>>(&mut self, app: &mut A) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !self.driver.is_drained() {
            match self.poll.poll(&mut events, self.driver.timeout()) {
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
                _ => {}
            }
            for event in &events {
                self.driver.ready(event);
            }
            self.driver.turn(app);
        }
        Ok(())
    }
}

/// Drives connections whose sockets are registered in somebody's `mio::Poll`. [`Loop`] is this with
/// a `Poll` of its own; use it to have connections in a loop that you have already:
///
/// ```no_run
/// # use konko_mio::*;
/// # struct Mine;
/// # impl App for Mine { type Message = (); }
/// # let mut app = Mine;
/// let mut poll = mio::Poll::new()?;
/// // Tokens from 1000 on are the driver's, smaller ones are yours.
/// let mut driver = Driver::<()>::new(poll.registry(), mio::Token(1000), Settings::default())?;
/// let mut events = mio::Events::with_capacity(1024);
/// while !driver.is_drained() {
///     poll.poll(&mut events, driver.timeout())?;
///     for event in &events {
///         if !driver.ready(event) {
///             // One of yours.
///         }
///     }
///     driver.turn(&mut app);
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// mio has one `Waker` a `Poll`, and the driver makes it: to wake the loop yourself, send a message.
pub struct Driver<M: Send + 'static> {
    hub: Hub<M>,
    /// What all connections read into. Only who is in the middle of a packet has a buffer of its own.
    rx: RxBuf,
    mail: Vec<Mail<M>>,
}

impl<M: Send + 'static> Driver<M> {
    /// Registers sockets in `registry`, with tokens from `base` on.
    ///
    /// # Errors
    /// The registry has a waker already, or the system gives none.
    pub fn new(registry: &Registry, base: Token, settings: Settings) -> io::Result<Self> {
        Ok(Driver { hub: Hub::new(registry, base, settings)?, rx: RxBuf::new(), mail: Vec::new() })
    }

    /// Its connections.
    pub fn hub(&mut self) -> &mut Hub<M> {
        &mut self.hub
    }

    /// Whether it was drained and the last connection is over.
    pub fn is_drained(&self) -> bool {
        self.hub.draining().is_some() && self.hub.connections() == 0
    }

    /// How long `Poll::poll` may wait.
    pub fn timeout(&self) -> Option<Duration> {
        let hub = &self.hub;
        let accepting = hub.listeners.iter().flatten().any(|l| l.ready && l.paused.is_none());
        if accepting || hub.ready.iter().any(|queue| !queue.is_empty()) {
            return Some(Duration::ZERO);
        }
        let paused = hub.listeners.iter().flatten().filter_map(|l| l.paused).min();
        let alarm = hub.alarms.keys().next().map(|(at, _)| *at);
        let drained = hub.drain_end();
        let next = [hub.timers.next(), paused, alarm, drained].into_iter().flatten().min();
        next.map(|at| at.since(hub.time()))
    }

    /// Takes note of an event; false if it is not the driver's.
    pub fn ready(&mut self, event: &Event) -> bool {
        let Some(offset) = event.token().0.checked_sub(self.hub.base()) else { return false };
        if let Some(slot) = offset.checked_sub(FIRST_CONNECTION) {
            // A late event of a closed connection is at worst a try in vain for the next one.
            if let Some(id) = self.hub.links.at(slot) {
                if let Some(link) = self.hub.links.get_mut(id) {
                    link.ready(event);
                }
                self.hub.enqueue(id);
            }
        } else if let Some(Some(listener)) = offset.checked_sub(1).and_then(|n| self.hub.listeners.get_mut(n))
        {
            listener.ready = true;
        }
        true
    }

    /// Does what can be done: mail, new connections, timers, then a turn for each connection that
    /// wants one. Call it after each `Poll::poll`.
    pub fn turn<A: App<Message = M>>(&mut self, app: &mut A) {
        self.hub.clock();
        self.read_mail(app);
        self.accept(app);
        self.fire(app);
        // Each established connection once; who comes again meanwhile is next time's.
        for _ in 0..self.hub.ready[0].len() {
            let Some(id) = self.hub.ready[0].pop_front() else { break };
            self.drive(id, app);
        }
        let start = Instant::now();
        while let Some(id) = self.hub.ready[1].pop_front() {
            self.drive(id, app);
            if start.elapsed() >= self.hub.settings.startup_slice {
                break;
            }
        }
    }

    fn read_mail<A: App<Message = M>>(&mut self, app: &mut A) {
        let mut mail = std::mem::take(&mut self.mail);
        self.hub.mailbox.take(&mut mail);
        for item in mail.drain(..) {
            match item {
                Mail::Message(message) => app.on_message(message, &mut self.hub),
                Mail::Job(id, job) => {
                    // Deriving the keys is work too: in the connection's turn.
                    if let Some(link) = self.hub.links.get_mut(id) {
                        link.job = Some(job);
                        self.hub.enqueue(id);
                    }
                }
                Mail::Drain(patience) => self.hub.drain(patience),
            }
        }
        self.mail = mail;
    }

    fn fire<A: App<Message = M>>(&mut self, app: &mut A) {
        let now = self.hub.now();
        while let Some((at, id)) = self.hub.timers.due(now) {
            let Some(link) = self.hub.links.get_mut(id).filter(|link| link.armed == Some(at)) else {
                continue;
            };
            link.armed = None;
            if link.deadline().is_some_and(|deadline| deadline <= now) {
                self.hub.enqueue(id);
            } else {
                self.arm(id);
            }
        }
        while let Some(alarm) = self.hub.alarms.first_entry().filter(|a| a.key().0 <= now) {
            let message = alarm.remove();
            app.on_message(message, &mut self.hub);
        }
        self.hub.end_drain(now);
    }

    fn drive<A: App<Message = M>>(&mut self, id: ConnId, app: &mut A) {
        self.hub.clock();
        let Some(mut link) = self.hub.links.take(id) else { return };
        link.queued = false;
        let (rx, hub) = (&mut self.rx, &mut self.hub);
        let turn = catch_unwind(AssertUnwindSafe(|| link.turn(rx, app, hub)));
        let turn = turn.unwrap_or_else(|_| {
            self.rx = RxBuf::new();
            link.blame(Some(Penalty::Crash));
            app.on_closed(id, Closed::Panicked, &mut self.hub);
            Turn::Gone
        });
        match turn {
            Turn::Gone => {
                drop(link);
                self.hub.links.remove(id);
                // Its descriptor is free.
                for listener in self.hub.listeners.iter_mut().flatten() {
                    listener.paused = None;
                }
                return;
            }
            Turn::Parked => self.hub.links.put(id, link),
            Turn::Again => {
                self.hub.links.put(id, link);
                self.hub.enqueue(id);
            }
        }
        self.arm(id);
    }

    /// Sees to it that a connection gets its turn when its deadline passes.
    fn arm(&mut self, id: ConnId) {
        let Hub { links, timers, .. } = &mut self.hub;
        let live = links.len();
        let Some(link) = links.get_mut(id) else { return };
        let Some(at) = link.deadline().filter(|at| link.armed.is_none_or(|armed| *at < armed)) else {
            return;
        };
        link.armed = Some(at);
        timers.push(at, id, live, |at, id| links.get(id).is_some_and(|link| link.armed == Some(at)));
    }

    fn accept<A: App<Message = M>>(&mut self, app: &mut A) {
        let now = self.hub.now();
        for index in 0..self.hub.listeners.len() {
            for _ in 0..ACCEPTS {
                let Some(Some(listener)) = self.hub.listeners.get_mut(index) else { break };
                if listener.paused.is_some_and(|until| until <= now) {
                    listener.paused = None;
                }
                if !listener.ready || listener.paused.is_some() {
                    break;
                }
                match listener.socket.accept() {
                    Ok((socket, peer)) => self.admit(index, socket, peer, app),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        (listener.ready, listener.told) = (false, false);
                    }
                    Err(e) if is_exhaustion(&e) => {
                        listener.paused = Some(now + ACCEPT_PAUSE);
                        if !std::mem::replace(&mut listener.told, true) {
                            app.on_accept_error(&e);
                        }
                    }
                    // Somebody who is gone already.
                    Err(_) => {}
                }
            }
        }
    }

    fn admit<A: App<Message = M>>(
        &mut self,
        index: usize,
        socket: mio::net::TcpStream,
        peer: std::net::SocketAddr,
        app: &mut A,
    ) {
        let Some(Some(listener)) = self.hub.listeners.get_mut(index) else { return };
        let (config, admission) = (Arc::clone(&listener.config), listener.admission.clone());
        let admitted = admission.lock().admit(Some(peer.ip()), admission.now());
        let place = match admitted {
            Ok(admitted) => Place { admitted: Some(admitted), admission, penalty: None },
            Err(why) => return app.on_refused(peer, why),
        };
        // One that fails here is gone already.
        let Ok(stream) = Socket::try_from(socket) else { return };
        let Ok(id) = self.hub.start_server(stream, config, Some(place)) else { return };
        let Some(mut link) = self.hub.links.take(id) else { return };
        if let Conn::Server(conn) = &mut link.conn {
            app.on_accepted(id, conn, peer, &mut self.hub);
        }
        self.hub.links.put(id, link);
    }
}

impl<M: Send + 'static> fmt::Debug for Driver<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hub.fmt(f)
    }
}
