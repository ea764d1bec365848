//! State that both roles have.

use alloc::boxed::Box;

use super::kept::Shown;
use super::run::Next;
use super::side::Side;
use crate::channel::{Channels, WindowConfig};
use crate::error::{Error, Failure, Fault, Phase, Rejected, TimerKind, UsageError};
use crate::msg::DisconnectCode;
use crate::record::{Call, Recorder};
use crate::rng::Seed;
use crate::time::Time;
use crate::transport::negotiate::Role;
use crate::transport::{RxBuf, Silence, Transport};

/// State that both roles have.
pub(crate) struct Machine {
    pub(crate) transport: Transport,
    pub(crate) channels: Channels,
    pub(crate) now: Time,
    pub(super) ended: Option<Error>,
    pub(super) closing: bool,
    pub(crate) recorder: Option<Box<Recorder>>,
}

impl Machine {
    pub(crate) fn new(transport: Transport, window: WindowConfig, now: Time) -> Self {
        Machine {
            transport,
            channels: Channels::new(window),
            now,
            ended: None,
            closing: false,
            recorder: None,
        }
    }

    /// Writes down everything from now on, if nothing has happened yet.
    pub(crate) fn record(&mut self, seed: &Seed, now: Time) {
        let recorder = Recorder::new(self.transport.role(), seed, now, self.transport.tx());
        self.recorder = Some(Box::new(recorder));
    }

    /// Notes a call for the recorder, if there is one.
    pub(crate) fn note(&mut self, call: &Call<'_>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.call(self.transport.tx(), call);
        }
    }

    /// Notes a poll for the recorder, if there is one.
    #[inline]
    pub(super) fn note_poll(&mut self, now: Time, rx: &mut RxBuf) {
        if self.recorder.is_some() {
            return self.record_poll(now, rx);
        }
        // The buffer may serve a recorded connection next.
        rx.forget_fresh();
    }

    #[cold]
    fn record_poll(&mut self, now: Time, rx: &mut RxBuf) {
        if let Some(recorder) = &mut self.recorder {
            recorder.poll(self.transport.tx(), now, rx);
        }
    }

    /// Notes what a poll found, if there is a recorder.
    #[inline]
    pub(super) fn note_found<S: Side>(&mut self, found: &Result<Next<S>, Error>, rx: &RxBuf) {
        if self.recorder.is_some() {
            self.record_found(found, rx);
        }
    }

    #[cold]
    fn record_found<S: Side>(&mut self, found: &Result<Next<S>, Error>, rx: &RxBuf) {
        let Some(recorder) = &mut self.recorder else { return };
        let deadline = self.transport.deadline();
        match found {
            Ok(Next::Event(kept)) => {
                recorder.found(format_args!("{}", Shown(kept, rx)), &[kept.message(rx)], deadline);
            }
            Ok(Next::Blocked(why)) => recorder.found(format_args!("Blocked({why:?})"), &[], deadline),
            Err(error) => {
                let details = alloc::format!("{error:?}");
                recorder.found(format_args!("{}", error.kind()), &[details.as_bytes()], deadline);
            }
        }
    }

    /// Ends the connection on our side with a no.
    pub(crate) fn reject(&mut self, rejected: Rejected, code: DisconnectCode) {
        self.transport.send_disconnect(code, &alloc::format!("{rejected}"));
        self.end(Error::Rejected(rejected));
    }

    pub(super) fn end(&mut self, error: Error) {
        self.transport.liveness().stop();
        self.ended.get_or_insert(error);
    }

    /// Ends the connection for a fault of the peer; the DISCONNECT that fits goes out.
    pub(crate) fn fail(&mut self, failure: Failure) -> Error {
        let fault = failure.fault;
        if self.transport.role() == Role::Server && fault == Fault::NotSsh {
            self.transport.send_not_ssh();
        }
        self.transport.send_disconnect(fault.disconnect_code(), &alloc::format!("{fault}"));
        let error = failure.at(self.transport.handshake().phase());
        self.end(error.clone());
        error
    }

    /// For calls that need a connection which has not ended.
    pub(crate) fn usable(&self) -> Result<(), UsageError> {
        if self.ended.is_some() || self.closing { Err(UsageError::Closed) } else { Ok(()) }
    }

    /// For calls that need an authenticated connection.
    pub(super) fn connected(&self) -> Result<(), UsageError> {
        self.usable()?;
        if self.transport.handshake().phase() == Phase::Connected {
            Ok(())
        } else {
            Err(UsageError::NotAuthenticated)
        }
    }

    /// Why it has ended, if it has.
    pub(crate) fn ended(&self) -> Option<&Error> {
        self.ended.as_ref()
    }

    /// This side has said goodbye.
    pub(crate) fn closing(&self) -> bool {
        self.closing
    }

    /// The peer has been silent: asks whether it is there, or gives it up.
    pub(super) fn on_keepalive(&mut self) -> Result<(), Error> {
        match self.transport.liveness().keepalive(self.now) {
            Silence::Short => {}
            // The same every time: OpenSSH before 9.5 and Paramiko end the connection for a PING,
            // whether they could answer it or not, so it goes to nobody unasked.
            Silence::Probe => {
                // While the gate is shut a key exchange is running, which has a time of its own.
                if let Some(mut open) = self.transport.open() {
                    self.channels.globals.probe(&mut open);
                }
            }
            Silence::Dead => {
                return Err(Error::Timeout(TimerKind::KeepAlive, self.transport.handshake().phase()));
            }
        }
        Ok(())
    }
}
