//! What is asked of the other side about a channel.

use std::time::Duration;

use konko_core::WantReply;
use konko_core::channel::{ChannelRequest, PtyModes, PtyRequest};
use konko_core::session::Pty;
use konko_core::wire::SshStr;

use super::{Channel, usage};
use crate::error::{Error, ErrorKind};
use crate::shared::Deadline;
use crate::state::Chan;

impl Channel {
    /// Asks for a pseudo-terminal, before the program is started, and waits for the answer.
    ///
    /// # Errors
    /// `RequestRefused` if there is none to be had.
    pub fn request_pty(&self, pty: &Pty) -> Result<(), Error> {
        self.send_pty(pty)?.wait()
    }

    /// Asks for a pseudo-terminal without waiting for the answer.
    ///
    /// # Errors
    /// Why the connection ended; `ChannelClosed`; `Cancelled`.
    pub fn send_pty(&self, pty: &Pty) -> Result<Asked, Error> {
        let modes = PtyModes::encode(pty.modes.iter().copied());
        self.send(&ChannelRequest::Pty(PtyRequest {
            term: SshStr::new(&pty.term),
            columns: pty.columns,
            rows: pty.rows,
            width: pty.width,
            height: pty.height,
            modes: PtyModes::new(&modes),
        }))
    }

    /// Sets an environment variable; before the program is started. Servers take few names (see
    /// `AcceptEnv`), and the answer is not waited for. Names and values are bytes, as in an environment.
    ///
    /// # Errors
    /// Why the connection ended; `ChannelClosed`; `Cancelled`.
    pub fn env(&self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), Error> {
        let (name, value) = (SshStr::new(name.as_ref()), SshStr::new(value.as_ref()));
        self.send_request(&ChannelRequest::Env { name, value }, false, None).map(|_| ())
    }

    /// Starts a command; the remote shell parses it. Returns when the server says that it has, or when something of
    /// the program comes: some devices never answer.
    ///
    /// # Errors
    /// `RequestRefused` if the server would not; `ProgramStarted` if there is a program already; `Timeout`; why the connection
    /// ended.
    pub fn exec(&self, command: impl AsRef<[u8]>) -> Result<(), Error> {
        self.request(&ChannelRequest::Exec(SshStr::new(command.as_ref())))
    }

    /// Starts the user's shell.
    ///
    /// # Errors
    /// As [`exec`](Self::exec).
    pub fn shell(&self) -> Result<(), Error> {
        self.request(&ChannelRequest::Shell)
    }

    /// Starts a subsystem, such as `sftp`.
    ///
    /// # Errors
    /// As [`exec`](Self::exec); servers without it refuse.
    pub fn subsystem(&self, name: impl AsRef<[u8]>) -> Result<(), Error> {
        self.request(&ChannelRequest::Subsystem(SshStr::new(name.as_ref())))
    }

    /// Sends a signal to the program: a name without `SIG`. There is no answer.
    ///
    /// # Errors
    /// Why the connection ended; `ChannelClosed`; `Cancelled`.
    pub fn signal(&self, name: impl AsRef<[u8]>) -> Result<(), Error> {
        self.send_request(&ChannelRequest::Signal(SshStr::new(name.as_ref())), false, None).map(|_| ())
    }

    /// Tells the new size of the terminal, in characters. There is no answer.
    ///
    /// # Errors
    /// Why the connection ended; `ChannelClosed`; `Cancelled`.
    pub fn window_change(&self, columns: u32, rows: u32) -> Result<(), Error> {
        let size = ChannelRequest::WindowChange { columns, rows, width: 0, height: 0 };
        self.send_request(&size, false, None).map(|_| ())
    }

    /// Sends any request and waits until it is granted, if it is one that has an answer.
    ///
    /// # Errors
    /// `RequestRefused` if it is not.
    pub fn request(&self, request: &ChannelRequest<'_>) -> Result<(), Error> {
        if request.may_want_reply() {
            self.shared().may_wait("the answer to a channel request")?;
        }
        self.send(request)?.wait()
    }

    /// Sends any request without waiting for its answer, so that several can go out together. Refused to start a
    /// program, the channel reads and writes no more, and [`wait`](Self::wait) says so.
    ///
    /// # Errors
    /// `ProgramStarted` if it is to start a program and there is one already.
    pub fn send(&self, request: &ChannelRequest<'_>) -> Result<Asked, Error> {
        let (what, starts) = match request {
            ChannelRequest::Pty(_) => ("pseudo-terminal", false),
            ChannelRequest::Exec(_) => ("exec", true),
            ChannelRequest::Shell => ("shell", true),
            ChannelRequest::Subsystem(_) => ("subsystem", true),
            _ => ("channel request", false),
        };
        let started = self.shared().with(|state| state.channels.get(&self.0.id).is_some_and(|c| c.started));
        if starts && started {
            return Err(self.shared().error(ErrorKind::ProgramStarted));
        }
        let number = self.send_request(request, true, starts.then_some(what))?;
        let number = Some(number).filter(|_| request.may_want_reply());
        Ok(Asked { channel: self.clone(), number, what, starts })
    }

    /// Sends a request; the number under which its answer will be found.
    fn send_request(
        &self,
        request: &ChannelRequest<'_>,
        want_reply: bool,
        starts: Option<&'static str>,
    ) -> Result<u64, Error> {
        self.shared().with(|state| {
            if let Some(error) = &state.ended {
                return Err(error.clone());
            }
            if state.channels.get(&self.0.id).is_some_and(|chan| chan.cancelled) {
                return Err(state.error(ErrorKind::Cancelled));
            }
            let sent = state.end.conn_mut().request(self.0.id, *request, WantReply::yes_if(want_reply));
            sent.map_err(|e| state.error(usage(e)))?;
            let chan = state.channels.get_mut(&self.0.id);
            Ok(chan.map_or(0, |chan| {
                let number = chan.asked;
                if let Some(what) = starts {
                    chan.starts(number, what);
                }
                chan.asked += u64::from(want_reply && request.may_want_reply());
                number
            }))
        })
    }
}

/// A request that was sent, and whose answer has not been waited for ([`Channel::send`]). Dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct Asked {
    channel: Channel,
    /// `None` for a request without an answer.
    number: Option<u64>,
    what: &'static str,
    /// It is to start the program.
    starts: bool,
}

impl Asked {
    /// Waits until it is granted, for as long as [`ClientOptions::reply_timeout`](crate::ClientOptions::reply_timeout)
    /// says. What comes of a program grants the request that was to start it.
    ///
    /// # Errors
    /// `RequestRefused` if it is not granted.
    pub fn wait(&self) -> Result<(), Error> {
        self.wait_for(self.channel.0.handle.reply_timeout)
    }

    /// As [`wait`](Self::wait), for at most that long; `None`: as long as it takes.
    ///
    /// # Errors
    /// As [`wait`](Self::wait); `Timeout`.
    pub fn wait_for(&self, timeout: Option<Duration>) -> Result<(), Error> {
        let Some(number) = self.number else { return Ok(()) };
        let granted = |chan: &mut Chan| {
            let answer = chan.answers.iter().find(|(n, _)| *n == number).map(|(_, ok)| *ok);
            (self.starts && chan.started).then_some(true).or(answer)
        };
        let awaited = "the answer to a channel request";
        match self.channel.await_control(Deadline::after(timeout), awaited, granted)? {
            true => Ok(()),
            false => Err(self.refusal()),
        }
    }

    pub(crate) fn refusal(&self) -> Error {
        self.channel.shared().error(ErrorKind::RequestRefused(self.what))
    }

    /// The answer, if it has come.
    pub(crate) fn answer(&self) -> Option<bool> {
        let state = self.channel.shared().lock();
        let chan = state.channels.get(&self.channel.0.id)?;
        chan.answers.iter().find(|(n, _)| Some(*n) == self.number).map(|(_, ok)| *ok)
    }
}
