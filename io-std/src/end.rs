//! One end of a connection, client or server, for what drives both.

use konko_core::channel::{ChannelId, ChannelRequest, RequestTicket};
use konko_core::client::HostKeyTicket;
use konko_core::hosts::ANNOUNCEMENT;
use konko_core::login::Login;
use konko_core::{
    ClientAuth, ClientConnection, ClientEvent, Connection, Decision, Error, Event, RxBuf, Side, Step, Time,
};

use crate::hosts::Updater;
#[cfg(feature = "server")]
pub(crate) use crate::server::ask::Ask;

/// What an application is asked. A client's is asked nothing.
#[cfg(not(feature = "server"))]
pub(crate) enum Ask {}

#[cfg(not(feature = "server"))]
impl Ask {
    pub(crate) fn notice(&self) -> Option<crate::Notice> {
        match *self {}
    }
}

/// One end: a connection, and what only its role keeps.
pub(crate) trait End: Send {
    /// Polls the connection. What only its role is asked is a question to an application, or is kept here.
    fn poll<'b>(&mut self, now: Time, rx: &'b mut RxBuf) -> Result<Step<Event<'b, Option<Ask>>>, Error>;

    /// What both roles can be told.
    fn conn(&self) -> &Connection<dyn Side>;

    /// What both roles can do.
    fn conn_mut(&mut self) -> &mut Connection<dyn Side>;

    /// The peer requests something of a channel. What is no question to an application is refused here.
    fn requested(
        &mut self,
        channel: ChannelId,
        ticket: Option<RequestTicket>,
        request: &ChannelRequest<'_>,
    ) -> Option<Ask>;

    /// A channel is closed; what tells the application so.
    fn closed(&mut self, channel: ChannelId) -> Option<Ask>;
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
    /// What becomes of keys that the server tells, until the user is in.
    pub(crate) updater: Option<Updater>,
    /// They are awaited, or something is being done about them.
    pub(crate) updating: bool,
    /// The server has told them.
    pub(crate) told: bool,
    /// What it told.
    pub(crate) announced: Option<Vec<u8>>,
    /// Proofs are awaited; whether they were granted, and what they are.
    pub(crate) proof: Option<Option<(bool, Vec<u8>)>>,
}

impl ClientEnd {
    pub(crate) fn new(conn: ClientConnection) -> Self {
        ClientEnd {
            conn,
            host_key: None,
            login: None,
            banners: Vec::new(),
            updater: None,
            updating: false,
            told: false,
            announced: None,
            proof: None,
        }
    }

    /// Keeps what the server tells of its keys, and proves, for the thread that sees to it.
    fn hear_host_keys(&mut self, event: &ClientEvent<'_>) {
        match event {
            Event::GlobalRequest { ticket: None, request }
                if request.name.as_bytes() == ANNOUNCEMENT.as_bytes() && !self.told =>
            {
                // What is told again is of no interest.
                self.told = true;
                let wanted = self.updating || self.updater.is_some();
                self.announced = wanted.then(|| request.fields.to_vec());
            }
            Event::GlobalReply { ok, fields } if self.proof == Some(None) => {
                self.proof = Some(Some((*ok, fields.to_vec())));
            }
            _ => {}
        }
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
        self.hear_host_keys(&event);
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

    fn requested(
        &mut self,
        _: ChannelId,
        ticket: Option<RequestTicket>,
        _: &ChannelRequest<'_>,
    ) -> Option<Ask> {
        if let Some(ticket) = ticket {
            let _ = self.conn.reply(ticket, Decision::Reject);
        }
        None
    }

    fn closed(&mut self, _: ChannelId) -> Option<Ask> {
        None
    }
}
