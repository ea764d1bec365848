//! Global requests (RFC 4254 §4): answered strictly in the order in which they came.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::host_keys::HostKeys;
use crate::error::{Failure, Fault, UsageError};
use crate::msg::{GlobalRequest, RequestFailure, RequestSuccess};
use crate::transport::{Open, Transport};
use crate::wire::{Part, SshStr};

/// Answers one global request of the peer. Give it to `reply_global`.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a request without a reply holds up all later ones until the decision timer denies it"]
pub struct GlobalTicket {
    pub(crate) number: u64,
}

/// A global request of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalRequestRef<'b> {
    /// Request name.
    pub name: SshStr<'b>,
    /// Its fields, as on the wire.
    pub fields: &'b [u8],
}

impl<'a> GlobalRequestRef<'a> {
    /// The same request in other bytes.
    pub(crate) fn over<'b>(self, part: &mut impl Part<'a, 'b>) -> Option<GlobalRequestRef<'b>> {
        Some(GlobalRequestRef { name: self.name.over(part)?, fields: part(self.fields)? })
    }
}

/// A reply on its way: undecided, or decided. A success carries what the request's definition says (such as the port of
/// tcpip-forward).
#[derive(Clone, Debug)]
enum Slot {
    Undecided,
    Granted(Vec<u8>),
    Refused,
}

/// What we asked and still wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// So many probes, one after the other: a peer that never answers them costs no more for each.
    Keepalives(u32),
    Application,
}

/// Both directions' queues.
#[derive(Debug, Default)]
pub(crate) struct Globals {
    replies: VecDeque<Slot>,
    first: u64,
    asked: VecDeque<Asked>,
    /// What a server proves to its client, if it told it about its keys.
    pub(crate) host_keys: Option<Box<HostKeys>>,
}

/// Our own requests that may wait for an answer.
const MAX_ASKED: usize = 64;
/// What asks whether the peer is there; a peer that does not know it says no, which is an answer
/// too (OpenSSH clientloop.c `server_alive_check`).
const KEEPALIVE: &str = "keepalive@openssh.com";

impl Globals {
    /// Takes a request of the peer; the number for its ticket.
    pub(crate) fn incoming(&mut self, limit: usize) -> Result<u64, Failure> {
        if self.replies.len() >= limit {
            return Err(Fault::TooManyRequests.into());
        }
        let number = self.first.saturating_add(self.replies.len() as u64);
        self.replies.push_back(Slot::Undecided);
        Ok(number)
    }

    /// Decides one request.
    pub(crate) fn decide(&mut self, number: u64, ok: bool, port: Option<u32>) -> Result<(), UsageError> {
        let fields = || port.map(|port| port.to_be_bytes().to_vec()).unwrap_or_default();
        self.answer(number, ok.then(fields))
    }

    /// Grants one request with these fields, or refuses it.
    pub(super) fn answer(&mut self, number: u64, granted: Option<Vec<u8>>) -> Result<(), UsageError> {
        let index = number.checked_sub(self.first).and_then(|i| usize::try_from(i).ok());
        match index.and_then(|i| self.replies.get_mut(i)) {
            Some(slot @ Slot::Undecided) => {
                *slot = granted.map_or(Slot::Refused, Slot::Granted);
                Ok(())
            }
            _ => Err(UsageError::StaleTicket),
        }
    }

    pub(crate) fn undecided(&self, number: u64) -> bool {
        let index = number.checked_sub(self.first).and_then(|i| usize::try_from(i).ok());
        matches!(index.and_then(|i| self.replies.get(i)), Some(Slot::Undecided))
    }

    /// Whether it is the turn of a reply.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        matches!(self.replies.front(), Some(Slot::Granted(_) | Slot::Refused))
    }

    /// Sends the replies whose turn it is.
    pub(crate) fn flush(&mut self, open: &mut Open<'_>) {
        while self.is_due() {
            self.first = self.first.saturating_add(1);
            match self.replies.pop_front() {
                Some(Slot::Granted(fields)) => open.send(&RequestSuccess::new(&fields)),
                _ => open.send(&RequestFailure::new()),
            }
        }
    }

    /// Sends a request of the application's.
    pub(crate) fn ask(
        &mut self,
        transport: &mut Transport,
        name: &str,
        fields: &[u8],
        want_reply: bool,
    ) -> Result<(), UsageError> {
        if want_reply && self.asked.len() >= MAX_ASKED {
            return Err(UsageError::Full);
        }
        super::text(name.as_bytes())?;
        super::bounded(fields)?;
        transport.post(&GlobalRequest::new(SshStr::new(name.as_bytes()), want_reply, fields))?;
        if want_reply {
            self.asked.push_back(Asked::Application);
        }
        Ok(())
    }

    /// Sends a keepalive probe, whether earlier ones were answered or not.
    pub(crate) fn probe(&mut self, open: &mut Open<'_>) {
        open.send(&GlobalRequest::new(SshStr::new(KEEPALIVE.as_bytes()), true, &[]));
        match self.asked.back_mut() {
            Some(Asked::Keepalives(n)) => *n = n.saturating_add(1),
            _ => self.asked.push_back(Asked::Keepalives(1)),
        }
    }

    /// The peer answered our oldest request. Answers to nothing are dropped (C-15).
    pub(crate) fn answered(&mut self) -> Option<Asked> {
        match self.asked.front_mut() {
            Some(Asked::Keepalives(n)) if *n > 1 => {
                *n = n.saturating_sub(1);
                Some(Asked::Keepalives(1))
            }
            _ => self.asked.pop_front(),
        }
    }
}
