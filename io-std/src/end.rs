//! One end of a connection, client or server, for what drives both.

use konko_core::client::HostKeyTicket;
use konko_core::login::Login;
use konko_core::{
    ClientAuth, ClientConnection, Connection, Error, Event, RxBuf, ServerConnection, Side, Step, Time,
};

use crate::server::ask::Ask;

/// One end: a connection, and what only its role keeps.
pub(crate) trait End: Send {
    /// Polls the connection. What only its role is asked is a question to an application, or is kept here.
    fn poll<'b>(&mut self, now: Time, rx: &'b mut RxBuf) -> Result<Step<Event<'b, Option<Ask>>>, Error>;

    /// What both roles can be told.
    fn conn(&self) -> &Connection<dyn Side>;

    /// What both roles can do.
    fn conn_mut(&mut self) -> &mut Connection<dyn Side>;
}

/// A client's.
pub(crate) struct ClientEnd {
    pub(crate) conn: ClientConnection,
    /// The host key waits for a decision.
    pub(crate) host_key: Option<HostKeyTicket>,
    /// A login in progress.
    pub(crate) login: Option<Login>,
    /// Texts of the server that the user has not seen.
    pub(crate) banners: Vec<Vec<u8>>,
}

impl ClientEnd {
    pub(crate) fn new(conn: ClientConnection) -> Self {
        ClientEnd { conn, host_key: None, login: None, banners: Vec::new() }
    }

    fn keep(&mut self, auth: ClientAuth<'_>) -> Option<Ask> {
        match auth {
            ClientAuth::HostKey(ticket) => self.host_key = Some(ticket),
            ClientAuth::Banner(text) => self.banners.push(text.as_bytes().to_vec()),
            _ => {}
        }
        None
    }
}

impl End for ClientEnd {
    fn poll<'b>(&mut self, now: Time, rx: &'b mut RxBuf) -> Result<Step<Event<'b, Option<Ask>>>, Error> {
        let event = match self.conn.poll(now, rx)? {
            Step::Event(event) => event,
            Step::Blocked(why) => return Ok(Step::Blocked(why)),
        };
        let event = match &mut self.login {
            Some(login) => login.event(&mut self.conn, event),
            None => Some(event),
        };
        Ok(Step::Event(event.map_or(Event::Auth(None), |event| event.map_auth(|auth| self.keep(auth)))))
    }

    fn conn(&self) -> &Connection<dyn Side> {
        &self.conn
    }

    fn conn_mut(&mut self) -> &mut Connection<dyn Side> {
        &mut self.conn
    }
}

impl End for ServerConnection {
    fn poll<'b>(&mut self, now: Time, rx: &'b mut RxBuf) -> Result<Step<Event<'b, Option<Ask>>>, Error> {
        Ok(match ServerConnection::poll(self, now, rx)? {
            Step::Event(event) => Step::Event(event.map_auth(Ask::of)),
            Step::Blocked(why) => Step::Blocked(why),
        })
    }

    fn conn(&self) -> &Connection<dyn Side> {
        self
    }

    fn conn_mut(&mut self) -> &mut Connection<dyn Side> {
        self
    }
}
