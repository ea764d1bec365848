//! One connection and its socket.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use konko_core::admission::{Admission, Admitted, Penalty};
use konko_core::error::EndedBy;
use konko_core::msg::DisconnectCode;
use konko_core::transport::DoneJob;
use konko_core::{
    Blocked, ClientConnection, Connection, Error, Event, RxBuf, ServerConnection, Side, Step, Time, TxBuf,
};

use crate::app::{App, Closed};
use crate::dial::Dialing;
use crate::hub::Hub;
use crate::links::ConnId;
use crate::socket::Socket;

/// What a peer may still send while the last words go out to it.
const MAX_DISCARDED: usize = 1 << 20;

#[allow(clippy::large_enum_variant, reason = "it is in a box, and the small one does not last")]
pub(crate) enum Conn {
    Server(ServerConnection),
    Client(ClientConnection),
    /// Nothing but its last words is left.
    Ended(TxBuf),
}

impl Conn {
    /// A connection of either role; `None` when it is over.
    pub(crate) fn any(&self) -> Option<&Connection<dyn Side>> {
        match self {
            Conn::Server(conn) => Some(conn),
            Conn::Client(conn) => Some(conn),
            Conn::Ended(_) => None,
        }
    }

    /// The same; its last words when it is over.
    pub(crate) fn any_mut(&mut self) -> Result<&mut Connection<dyn Side>, &mut TxBuf> {
        match self {
            Conn::Server(conn) => Ok(conn),
            Conn::Client(conn) => Ok(conn),
            Conn::Ended(rest) => Err(rest),
        }
    }

    pub(crate) fn tx(&mut self) -> &mut TxBuf {
        self.any_mut().map_or_else(|rest| rest, |conn| conn.tx())
    }

    fn is_authenticated(&self) -> bool {
        self.any().is_some_and(Connection::is_authenticated)
    }

    /// Whether nothing would be lost if it ended now.
    fn is_idle(&self) -> bool {
        self.any().is_none_or(|conn| !conn.is_authenticated() || conn.open_channels() == 0)
    }

    /// From how much output on channels take no more data.
    fn high_water(&self) -> usize {
        self.any().map_or(usize::MAX, |conn| conn.config().limits.output_soft)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The connection is over; its last words are on their way.
    Ending,
}

/// What is to happen with a link after its turn.
pub(crate) enum Turn {
    /// It waits for the socket, a timer or the application.
    Parked,
    /// Its budget is used up and there is more to do.
    Again,
    /// The socket can be closed.
    Gone,
}

/// Counts the clients of one or several listeners, and keeps those out for a while that misbehaved; see
/// [`admission`](crate::admission). Cheap to clone.
#[derive(Clone, Debug)]
pub struct SharedAdmission(Arc<Mutex<Admission>>, Instant);

impl SharedAdmission {
    pub(crate) fn new(admission: Admission) -> Self {
        SharedAdmission(Arc::new(Mutex::new(admission)), Instant::now())
    }

    /// The admission itself, for a look at its counts.
    pub fn lock(&self) -> MutexGuard<'_, Admission> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its time, which loops that share it have in common.
    pub(crate) fn now(&self) -> Time {
        Time::ZERO + self.1.elapsed()
    }
}

/// A connection's place among those of its listener; given back on drop.
pub(crate) struct Place {
    pub(crate) admitted: Option<Admitted>,
    pub(crate) admission: SharedAdmission,
    /// What its source deserves, when it is over.
    pub(crate) penalty: Option<Penalty>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(admitted) = self.admitted.take() {
            self.admission.lock().ended(admitted, self.penalty, self.admission.now());
        }
    }
}

pub(crate) struct Link {
    id: ConnId,
    pub(crate) conn: Conn,
    /// Absent until one has connected.
    pub(crate) socket: Option<Socket>,
    dialing: Option<Box<Dialing>>,
    stage: Stage,
    /// Input that could not be dealt with yet: part of a packet, mostly. Absent when idle.
    rx: Option<Box<RxBuf>>,
    place: Option<Place>,
    /// A job that came back.
    pub(crate) job: Option<Box<DoneJob>>,
    /// The connection has output memory, from the loop's pool.
    pub(crate) has_tx: bool,
    /// A deadline of the link's own: to connect, to take output, to end.
    patience: Option<Time>,
    /// The timer entry that holds.
    pub(crate) armed: Option<Time>,
    pub(crate) queued: bool,
    /// The user is in.
    pub(crate) established: bool,
    // What the system said about the socket, until it says otherwise.
    readable: bool,
    writable: bool,
    read_closed: bool,
    /// Nothing more will come.
    eof: bool,
    /// The socket takes nothing any more.
    broken: bool,
    /// The drain was announced.
    told: bool,
    discarded: usize,
}

impl Link {
    pub(crate) fn new(id: ConnId, conn: Conn, socket: Result<Socket, Dialing>) -> Self {
        let (socket, dialing) = match socket {
            Ok(socket) => (Some(socket), None),
            Err(dialing) => (None, Some(Box::new(dialing))),
        };
        Link {
            id,
            conn,
            stage: Stage::Open,
            rx: None,
            place: None,
            job: None,
            has_tx: true,
            patience: None,
            armed: None,
            queued: false,
            established: false,
            readable: false,
            writable: socket.is_some(),
            read_closed: false,
            eof: false,
            broken: false,
            told: false,
            discarded: 0,
            socket,
            dialing,
        }
    }

    pub(crate) fn admitted(mut self, place: Option<Place>) -> Self {
        self.place = place;
        self
    }

    pub(crate) fn ready(&mut self, event: &mio::event::Event) {
        let gone = event.is_error();
        self.readable |= event.is_readable() || event.is_read_closed() || gone;
        self.writable |= event.is_writable() || event.is_write_closed() || gone;
        self.read_closed |= event.is_read_closed() || gone;
    }

    /// When it wants a turn at the latest.
    pub(crate) fn deadline(&self) -> Option<Time> {
        // The connection itself has nothing to do before it has a socket.
        let conn = self.conn.any().filter(|_| self.dialing.is_none());
        [self.patience, conn.and_then(Connection::deadline).map(|(at, _)| at)].into_iter().flatten().min()
    }

    /// Lets the connection do what it can, within its budget.
    pub(crate) fn turn<A: App>(
        &mut self,
        shared: &mut RxBuf,
        app: &mut A,
        hub: &mut Hub<A::Message>,
    ) -> Turn {
        if self.stage == Stage::Ending {
            return self.linger(shared, hub);
        }
        match self.work(shared, app, hub) {
            Ok(false) => Turn::Parked,
            Ok(true) => Turn::Again,
            Err(why) => self.end(why, shared, app, hub),
        }
    }

    fn work<A: App>(
        &mut self,
        shared: &mut RxBuf,
        app: &mut A,
        hub: &mut Hub<A::Message>,
    ) -> Result<bool, Closed> {
        if let Some(dialing) = &mut self.dialing {
            match hub.dial(self.id, dialing).map_err(Closed::Io)? {
                Ok(socket) => {
                    (self.socket, self.dialing, self.patience) = (Some(socket), None, None);
                    // What was noted was said of all that were on their way; of this one it is said again.
                    (self.readable, self.writable, self.read_closed) = (false, false, false);
                }
                Err(until) => {
                    self.patience = until;
                    return Ok(false);
                }
            }
        } else if self.patience.is_some_and(|at| at <= hub.now()) {
            return Err(Closed::Stalled);
        }
        hub.lend_output(self);
        if let (Some(job), Ok(conn)) = (self.job.take(), self.conn.any_mut()) {
            let _ = conn.finish_job(*job);
        }
        let mut own = self.rx.take();
        let result = self.pump(&mut own, shared, app, hub);
        self.rx = match own {
            Some(own) => Some(own).filter(|rx| !rx.is_empty() || self.eof),
            None if shared.is_empty() => None,
            None => Some(Box::new(shared.split_off())),
        };
        let again = result?;
        if !self.told && hub.draining().is_some_and(|until| until <= hub.now() || self.conn.is_idle()) {
            self.told = true;
            if let Ok(conn) = self.conn.any_mut() {
                conn.disconnect(DisconnectCode::BY_APPLICATION, "the service is shutting down");
            }
            return Ok(true);
        }
        self.watch_output(hub);
        Ok(again)
    }

    /// Polls, writes and reads by turns until the connection waits for something, or has had its
    /// share: true then. Input goes to `own` if there is one, else to `shared`.
    fn pump<A: App>(
        &mut self,
        own: &mut Option<Box<RxBuf>>,
        shared: &mut RxBuf,
        app: &mut A,
        hub: &mut Hub<A::Message>,
    ) -> Result<bool, Closed> {
        let (mut events, mut bytes) = (hub.settings.turn_events, hub.settings.turn_bytes);
        loop {
            let rx = own.as_deref_mut().unwrap_or(shared);
            let blocked = loop {
                if events == 0 {
                    break None;
                }
                match self.step(rx, app, hub).map_err(Closed::Error)? {
                    None => events -= 1,
                    blocked => break blocked,
                }
            };
            self.notice_login();
            let high = self.conn.high_water();
            let held_back = self.conn.tx().len() >= high;
            let sent = self.flush();
            bytes = bytes.saturating_sub(sent);
            match blocked {
                None => return Ok(true),
                Some(Blocked::Closed) => return Err(Closed::Local),
                // There is room again for those who were told to wait.
                Some(why) if sent > 0 && (held_back || why == Blocked::Output) => {}
                Some(Blocked::Input) if self.readable && bytes > 0 => {
                    bytes = bytes.saturating_sub(self.read(own, shared).map_err(Closed::Io)?);
                    continue;
                }
                Some(Blocked::Input) => return Ok(self.readable),
                Some(_) => return Ok(false),
            }
            if bytes == 0 {
                return Ok(true);
            }
        }
    }

    /// Polls once and brings an event to the application. `None`: there may be more.
    fn step<A: App>(
        &mut self,
        rx: &mut RxBuf,
        app: &mut A,
        hub: &mut Hub<A::Message>,
    ) -> Result<Option<Blocked>, Error> {
        let (id, now) = (self.id, hub.now());
        match &mut self.conn {
            Conn::Server(conn) => match conn.poll(now, rx)? {
                Step::Blocked(why) => return Ok(Some(why)),
                Step::Event(Event::Job(job)) => hub.run_job(id, conn, job),
                Step::Event(event) => app.on_server_event(id, conn, event, hub),
            },
            Conn::Client(conn) => match conn.poll(now, rx)? {
                Step::Blocked(why) => return Ok(Some(why)),
                Step::Event(Event::Job(job)) => hub.run_job(id, conn, job),
                Step::Event(event) => app.on_client_event(id, conn, event, hub),
            },
            Conn::Ended(_) => return Ok(Some(Blocked::Closed)),
        }
        Ok(None)
    }

    fn notice_login(&mut self) {
        if self.established || !self.conn.is_authenticated() {
            return;
        }
        self.established = true;
        if let Some(Place { admitted: Some(admitted), admission, .. }) = &mut self.place {
            admission.lock().authenticated(admitted);
        }
    }

    /// Reads once; how much that was.
    fn read(&mut self, own: &mut Option<Box<RxBuf>>, shared: &mut RxBuf) -> io::Result<usize> {
        if own.as_ref().is_some_and(|rx| rx.is_empty()) {
            *own = None;
        }
        let Some(socket) = &mut self.socket else { return Ok(0) };
        let rx = own.as_deref_mut().unwrap_or(shared);
        let spare = rx.spare();
        let room = spare.len();
        match socket.read(spare) {
            Ok(n) if n > 0 => {
                rx.filled(n);
                // A short read has emptied the socket, unless the end follows; mio says when that is
                // known, and wakes for what comes later.
                self.readable = n == room || self.read_closed || !cfg!(unix);
                Ok(n)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(0)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(0),
            // What is no SSH server often resets the connection; what it said is worth more than that.
            Err(e) if e.kind() != io::ErrorKind::ConnectionReset || rx.is_empty() => Err(e),
            _ => {
                (self.readable, self.eof) = (false, true);
                let mut rest = own.take().unwrap_or_else(|| Box::new(shared.split_off()));
                rest.eof();
                *own = Some(rest);
                Ok(0)
            }
        }
    }

    /// Writes what the socket takes; how much that was.
    fn flush(&mut self) -> usize {
        let mut sent = 0;
        let (tx, Some(socket)) = (self.conn.tx(), &mut self.socket) else { return 0 };
        while !tx.is_empty() && self.writable && !self.broken {
            let len = tx.len();
            match socket.write(tx.pending()) {
                Ok(n) if n > 0 => {
                    tx.consume(n);
                    sent += n;
                    self.writable = n == len || !cfg!(unix);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // What the peer said before it went away is still to be read; it tells more.
                _ => self.broken = true,
            }
        }
        if self.broken {
            let n = tx.len();
            tx.consume(n);
            sent += n;
        }
        if sent > 0 {
            self.patience = None;
        }
        sent
    }

    /// Gives output memory back, or sets a time for the peer to take what there is.
    fn watch_output<M: Send + 'static>(&mut self, hub: &mut Hub<M>) {
        if self.conn.tx().is_empty() {
            self.patience = None;
            hub.return_output(self);
        } else if self.patience.is_none() {
            self.patience = Some(hub.now() + hub.settings.write_timeout);
        }
    }

    /// Notes what the source of the connection deserves for how it ends, for this reason or another.
    pub(crate) fn blame(&mut self, why: Option<Penalty>) {
        if let (Conn::Server(conn), Some(place)) = (&mut self.conn, &mut self.place) {
            if let Some(why) = why {
                conn.penalize(why);
            }
            place.penalty = conn.penalty();
        }
    }

    /// The connection is over. Tells the application, and says goodbye.
    pub(crate) fn end<A: App>(
        &mut self,
        why: Closed,
        shared: &mut RxBuf,
        app: &mut A,
        hub: &mut Hub<A::Message>,
    ) -> Turn {
        let silent = match &why {
            Closed::Error(Error::Disconnected(how)) => how.by != EndedBy::Us,
            Closed::Error(_) | Closed::Local => false,
            _ => true,
        };
        self.blame(None);
        let mut rest = TxBuf::new();
        self.conn.tx().swap(&mut rest);
        self.conn = Conn::Ended(rest);
        self.rx = None;
        self.stage = Stage::Ending;
        app.on_closed(self.id, why, hub);
        if silent || self.eof || self.broken {
            return Turn::Gone;
        }
        self.patience = Some(hub.now() + hub.settings.linger);
        self.linger(shared, hub)
    }

    /// Sends the last words, then waits until the peer has closed too: closing a socket with unread
    /// input would reset it, and the peer might never see them.
    fn linger<M: Send + 'static>(&mut self, shared: &mut RxBuf, hub: &mut Hub<M>) -> Turn {
        let until = self.patience;
        self.flush();
        self.patience = until;
        if self.broken || until.is_none_or(|at| at <= hub.now()) {
            return Turn::Gone;
        }
        if !self.conn.tx().is_empty() {
            return Turn::Parked;
        }
        hub.return_output(self);
        let Some(socket) = &mut self.socket else { return Turn::Gone };
        socket.finish();
        while self.readable {
            match socket.read(shared.spare()) {
                Ok(n) if n > 0 && self.discarded < MAX_DISCARDED => self.discarded += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                _ => return Turn::Gone,
            }
        }
        Turn::Parked
    }
}
