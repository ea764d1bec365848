//! A client and a server joined by a simulated link, on a virtual clock.
//!
//! Everything is decided by the seed: latency, bandwidth and how the bytes are cut. A test tells
//! what the two applications do and drives the pair until something has happened.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use konko_core::*;

/// How bytes travel in one direction.
#[derive(Clone, Debug)]
pub struct Link {
    pub latency: Duration,
    /// Bytes a second; 0 is no limit.
    pub bandwidth: u64,
    /// Cut what is sent into pieces of at most so many bytes.
    pub chunk: usize,
}

impl Default for Link {
    fn default() -> Self {
        Link { latency: Duration::from_millis(1), bandwidth: 0, chunk: usize::MAX }
    }
}

/// Bytes on their way.
#[derive(Default)]
struct Wire {
    flying: VecDeque<(Time, Vec<u8>)>,
    busy_until: Time,
    /// Nothing arrives any more, and nobody says so.
    pub cut: bool,
    /// The sender has closed.
    closed: Option<Time>,
}

/// One end: a connection, its input and its application.
pub struct End<C, A> {
    pub conn: C,
    pub app: A,
    pub rx: RxBuf,
    /// All bytes it sent.
    pub sent: Vec<u8>,
    pub keep_sent: bool,
    pub result: Option<Error>,
    pub blocked: Option<Blocked>,
}

/// What the application at an end of role `S` does with events.
pub trait App<S: Side> {
    fn on_event(&mut self, conn: &mut Connection<S>, event: EventOf<'_, S>);
    fn idle(&mut self, _conn: &mut Connection<S>) {}
}

pub struct Pair<C, S> {
    pub client: End<ClientConnection, C>,
    pub server: End<ServerConnection, S>,
    pub now: Time,
    pub link: Link,
    to_server: Wire,
    to_client: Wire,
    pub steps: u64,
}

impl<C: App<client::Client>, S: App<server::Server>> Pair<C, S> {
    pub fn new(client: ClientConfig, server: ServerConfig, apps: (C, S)) -> Self {
        Self::seeded(client, server, apps, 1)
    }

    pub fn seeded(client: ClientConfig, server: ServerConfig, (c, s): (C, S), seed: u8) -> Self {
        let now = Time::from_micros(1_000_000);
        let end_c = ClientConnection::new(Arc::new(client), Seed::new([seed; 32]), now);
        let end_s = ServerConnection::new(Arc::new(server), Seed::new([seed.wrapping_add(100); 32]), now);
        Pair {
            client: End::new(end_c, c),
            server: End::new(end_s, s),
            now,
            link: Link::default(),
            to_server: Wire::default(),
            to_client: Wire::default(),
            steps: 0,
        }
    }

    /// The same, and both ends write down what happens.
    pub fn recorded(client: ClientConfig, server: ServerConfig, apps: (C, S), seed: u8) -> Self {
        let (client, server) = (Arc::new(client), Arc::new(server));
        let mut pair = Self::seeded((*client).clone(), (*server).clone(), apps, seed);
        let [c, s] = [seed, seed.wrapping_add(100)].map(|n| Seed::new([n; 32]));
        pair.client.conn = ClientConnection::recorded(client, c, pair.now);
        pair.server.conn = ServerConnection::recorded(server, s, pair.now);
        pair
    }

    /// Nothing the server sends arrives any more.
    pub fn silence_server(&mut self) {
        self.to_client.cut = true;
    }

    /// Nothing the client sends arrives any more.
    pub fn silence_client(&mut self) {
        self.to_server.cut = true;
    }

    /// Both directions end: the peers read end of input after what was sent.
    pub fn close_link(&mut self) {
        self.to_server.closed = Some(self.now);
        self.to_client.closed = Some(self.now);
    }

    /// Lets everything happen that can happen now, then moves the clock to the next thing that
    /// will. False when there is none.
    pub fn step(&mut self) -> bool {
        self.steps += 1;
        let now = self.now;
        self.to_client.deliver(now, &mut self.client.rx);
        self.to_server.deliver(now, &mut self.server.rx);
        loop {
            self.client.poll(now);
            self.server.poll(now);
            let keep = self.client.keep_sent.then_some(&mut self.client.sent);
            let up = self.to_server.take(now, &self.link, self.client.conn.tx(), keep);
            let keep = self.server.keep_sent.then_some(&mut self.server.sent);
            let down = self.to_client.take(now, &self.link, self.server.conn.tx(), keep);
            // Whoever waited for room has some now.
            if up + down == 0 {
                break;
            }
        }
        if self.client.over() {
            self.to_server.closed.get_or_insert(now);
        }
        if self.server.over() {
            self.to_client.closed.get_or_insert(now);
        }
        let mut next = [self.to_client.next(), self.to_server.next()].into_iter().flatten().min();
        if !self.client.over() {
            next = next.into_iter().chain(self.client.conn.deadline().map(|d| d.0)).min();
        }
        if !self.server.over() {
            next = next.into_iter().chain(self.server.conn.deadline().map(|d| d.0)).min();
        }
        match next {
            Some(at) => {
                self.now = at.max(now);
                true
            }
            None => false,
        }
    }

    /// Drives until `done`; panics when the clock passes an hour or nothing moves any more.
    pub fn drive_until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let end = self.now + Duration::from_secs(3 * 3600);
        loop {
            if done(self) {
                return;
            }
            let moved = self.step();
            if done(self) {
                return;
            }
            assert!(
                moved,
                "nothing moves any more before: {what}\nclient {:?}\nserver {:?}",
                self.client.state(),
                self.server.state()
            );
            assert!(
                self.now < end,
                "waited too long for: {what}\nclient {:?}\nserver {:?}",
                self.client.state(),
                self.server.state()
            );
        }
    }

    /// Drives until nothing is in the air and both wait for input.
    pub fn drive(&mut self) {
        loop {
            let deadline = self.now + Duration::from_secs(1);
            if !self.step() || self.now > deadline {
                self.now = self.now.min(deadline);
                return;
            }
        }
    }
}

impl<X, A> End<X, A> {
    fn new(conn: X, app: A) -> Self {
        End { conn, app, rx: RxBuf::new(), sent: Vec::new(), keep_sent: false, result: None, blocked: None }
    }

    pub fn over(&self) -> bool {
        self.result.is_some() || self.blocked == Some(Blocked::Closed)
    }

    fn state(&self) -> (Option<&Error>, Option<Blocked>) {
        (self.result.as_ref(), self.blocked)
    }
}

impl Wire {
    fn take(&mut self, now: Time, link: &Link, tx: &mut TxBuf, keep: Option<&mut Vec<u8>>) -> usize {
        let bytes = tx.pending().to_vec();
        tx.consume(bytes.len());
        if let Some(keep) = keep {
            keep.extend_from_slice(&bytes);
        }
        for piece in bytes.chunks(link.chunk.max(1)) {
            let start = self.busy_until.max(now);
            let micros = (piece.len() as u64 * 1_000_000).checked_div(link.bandwidth).unwrap_or(0);
            self.busy_until = start + Duration::from_micros(micros);
            self.flying.push_back((self.busy_until + link.latency, piece.to_vec()));
        }
        bytes.len()
    }

    fn deliver(&mut self, now: Time, rx: &mut RxBuf) {
        while self.flying.front().is_some_and(|(at, _)| *at <= now) {
            let (_, bytes) = self.flying.pop_front().unwrap();
            if !self.cut {
                rx.push(&bytes);
            }
        }
        if self.flying.is_empty() && self.closed.is_some_and(|at| at <= now) && !self.cut {
            rx.eof();
        }
    }

    fn next(&self) -> Option<Time> {
        self.flying.front().map(|(at, _)| *at)
    }
}

impl<S: Side, A: App<S>> End<Connection<S>, A> {
    /// Polls until blocked.
    fn poll(&mut self, now: Time) {
        if self.over() {
            return;
        }
        loop {
            match self.conn.poll(now, &mut self.rx) {
                Ok(Step::Event(event)) => self.app.on_event(&mut self.conn, event),
                Ok(Step::Blocked(why)) => {
                    self.blocked = Some(why);
                    self.app.idle(&mut self.conn);
                    return;
                }
                Err(error) => {
                    self.result = Some(error);
                    return;
                }
            }
        }
    }
}
