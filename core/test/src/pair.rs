//! A client and a server joined by a simulated line, on a virtual clock.

use std::sync::Arc;
use std::time::Duration;

use konko_core::*;

use crate::line::{Line, Link};

/// One end: a connection, its input and its application.
#[non_exhaustive]
pub struct End<C, A> {
    /// The connection.
    pub conn: C,
    /// Its application.
    pub app: A,
    /// Input that was not read yet.
    pub rx: RxBuf,
    /// All bytes it sent.
    pub sent: Vec<u8>,
    /// Whether that is kept.
    pub keep_sent: bool,
    /// How it failed, if it did.
    pub result: Option<Error>,
    /// Why the last poll went no further.
    pub blocked: Option<Blocked>,
}

/// What the application at an end of role `S` does with events.
pub trait App<S: Side> {
    /// One event. Calls may be made at once.
    fn on_event(&mut self, conn: &mut Connection<S>, event: EventOf<'_, S>);
    /// Nothing more happens now: the time to write what there was no room for.
    fn idle(&mut self, _conn: &mut Connection<S>) {}
}

/// A client and a server, the line between them, and the clock. A test says what the two applications do, and drives the
/// pair until something has happened.
pub struct Pair<C, S> {
    /// Who connects.
    pub client: End<ClientConnection, C>,
    /// Who listens.
    pub server: End<ServerConnection, S>,
    /// What time it is: the next thing happens now.
    pub now: Time,
    /// What the line is like, in both directions; it may change at any time.
    pub link: Link,
    to_server: Line,
    to_client: Line,
    /// How often something happened.
    pub steps: u64,
}

impl<C: App<client::ClientSide>, S: App<server::ServerSide>> Pair<C, S> {
    /// Both at the beginning, with a seed that is always the same.
    pub fn new(client: ClientConfig, server: ServerConfig, apps: (C, S)) -> Self {
        Self::seeded(client, server, apps, 1)
    }

    /// The same with any seed: of the two connections, and of what the line does by chance.
    pub fn seeded(client: ClientConfig, server: ServerConfig, (c, s): (C, S), seed: u8) -> Self {
        let now = Time::from_micros(1_000_000);
        let end_c = ClientConnection::new(Arc::new(client), Seed::new([seed; 32]), now);
        let end_s = ServerConnection::new(Arc::new(server), Seed::new([seed.wrapping_add(100); 32]), now);
        Pair {
            client: End::new(end_c, c),
            server: End::new(end_s, s),
            now,
            link: Link::default(),
            to_server: Line::new(&Seed::new([seed.wrapping_add(50); 32])),
            to_client: Line::new(&Seed::new([seed.wrapping_add(150); 32])),
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
        self.to_client.silence();
    }

    /// Nothing the client sends arrives any more.
    pub fn silence_client(&mut self) {
        self.to_server.silence();
    }

    /// Both directions end: the peers read end of input after what was sent.
    pub fn close_link(&mut self) {
        self.to_server.close(self.now);
        self.to_client.close(self.now);
    }

    /// Lets everything happen that can happen now, then moves the clock to the next thing that
    /// will. False when there is none.
    pub fn step(&mut self) -> bool {
        self.steps += 1;
        let now = self.now;
        self.to_client.deliver(now, &self.link, &mut self.client.rx);
        self.to_server.deliver(now, &self.link, &mut self.server.rx);
        loop {
            self.client.poll(now);
            self.server.poll(now);
            let up = self.client.send(now, &self.link, &mut self.to_server);
            let down = self.server.send(now, &self.link, &mut self.to_client);
            // Whoever waited for room has some now.
            if up + down == 0 {
                break;
            }
        }
        if self.client.over() {
            self.to_server.close(now);
        }
        if self.server.over() {
            self.to_client.close(now);
        }
        let lines = [self.to_client.next(now, &self.link), self.to_server.next(now, &self.link)];
        let mut next = lines.into_iter().flatten().min();
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

    /// Drives until `done`, which is asked before and after each [step](Self::step).
    ///
    /// # Panics
    /// When three hours have passed on the clock, or nothing moves any more; says `what` did not happen.
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

    /// Drives until nothing happens for a second.
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

    /// Whether this end is done: closed, or failed.
    pub fn over(&self) -> bool {
        self.result.is_some() || self.blocked == Some(Blocked::Closed)
    }

    fn state(&self) -> (Option<&Error>, Option<Blocked>) {
        (self.result.as_ref(), self.blocked)
    }
}

impl<S: Side, A: App<S>> End<Connection<S>, A> {
    /// Hands output to the line; how many bytes it took.
    fn send(&mut self, now: Time, link: &Link, line: &mut Line) -> usize {
        let before = self.keep_sent.then(|| self.conn.tx().pending().to_vec());
        let taken = line.take(now, link, self.conn.tx());
        self.sent.extend(before.iter().flat_map(|bytes| bytes.iter().take(taken)));
        taken
    }

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
