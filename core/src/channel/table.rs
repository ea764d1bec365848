//! The channel table: one for both roles.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use super::global::Globals;
use super::window::ReceiveWindow;
use super::{ChannelId, WindowConfig};
use crate::error::{Failure, Fault};
use crate::slab::{Key, Slab};
use crate::time::Time;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Our CHANNEL_OPEN is out.
    Opening,
    /// The peer's CHANNEL_OPEN waits for the application.
    Undecided,
    Open,
}

/// A reply that is due, in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    pub(super) what: Asks,
    /// Undecided at first.
    pub(super) ok: Option<bool>,
}

/// What of a channel there is only one of. A request for it that was not granted may be followed by
/// another: some clients try `exec` when a server lacks a subsystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    Program,
    Terminal,
    Other,
}

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) phase: Phase,
    pub(super) session: bool,
    /// The peer's number.
    pub(super) remote: u32,
    pub(super) receive: ReceiveWindow,
    pub(super) send_window: u32,
    pub(super) send_packet: usize,
    pub(super) eof_sent: bool,
    pub(super) eof_wanted: bool,
    pub(super) close_sent: bool,
    pub(super) close_wanted: bool,
    pub(super) eof_received: bool,
    /// The writer was told to wait.
    pub(super) blocked: bool,
    /// In the list of stalled channels.
    pub(super) stalled: bool,
    /// In the list of channels with control output.
    pub(super) ready: bool,
    pub(super) program: bool,
    pub(super) terminal: bool,
    pub(super) env: u32,
    pub(super) exit_seen: bool,
    /// Requests of the peer that want a reply, oldest first.
    pub(super) replies: VecDeque<Reply>,
    pub(super) first_reply: u64,
    /// Our own requests that wait for an answer.
    pub(super) asked: usize,
}

/// All channels of a connection.
#[derive(Debug)]
pub(crate) struct Channels {
    pub(super) table: Slab<Box<Channel>>,
    pub(super) undecided: usize,
    /// The client has promised to open no more sessions.
    pub(super) no_more_sessions: bool,
    /// Channels with control output (replies, adjusts, EOF, CLOSE).
    pub(super) ready: VecDeque<u32>,
    /// Channels whose writer waits for room, not for the window.
    pub(super) stalled: VecDeque<u32>,
    /// What the application has not decided, with deadlines; oldest first.
    pub(super) decisions: VecDeque<(Time, Undecided)>,
    pub(crate) globals: Globals,
    pub(crate) window: WindowConfig,
}

#[derive(Debug)]
pub(super) enum Undecided {
    Open(ChannelId),
    Request(ChannelId, u64),
    Global(u64),
}

impl Channels {
    pub(crate) fn new(window: WindowConfig) -> Self {
        Channels {
            table: Slab::new(),
            undecided: 0,
            no_more_sessions: false,
            ready: VecDeque::new(),
            stalled: VecDeque::new(),
            decisions: VecDeque::new(),
            globals: Globals::default(),
            window,
        }
    }

    /// Channels that exist.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn insert(&mut self, phase: Phase, session: bool, window: WindowConfig) -> ChannelId {
        ChannelId::of(self.table.insert(Box::new(Channel {
            phase,
            session,
            remote: 0,
            receive: ReceiveWindow::new(window),
            send_window: 0,
            send_packet: 0,
            eof_sent: false,
            eof_wanted: false,
            close_sent: false,
            close_wanted: false,
            eof_received: false,
            blocked: false,
            stalled: false,
            ready: false,
            program: false,
            terminal: false,
            env: 0,
            exit_seen: false,
            replies: VecDeque::new(),
            first_reply: 0,
            asked: 0,
        })))
    }

    pub(super) fn remove(&mut self, local: u32) {
        if let Some(key) = self.table.at(local) {
            self.table.remove(key);
        }
    }

    pub(super) fn slot(&mut self, local: u32) -> Option<&mut Channel> {
        self.table.get_mut(self.table.at(local)?).map(Box::as_mut)
    }

    pub(super) fn find(&mut self, id: ChannelId) -> Option<&mut Channel> {
        self.table.get_mut(id.key()).map(Box::as_mut)
    }

    pub(super) fn id(&self, local: u32) -> ChannelId {
        ChannelId::of(self.table.at(local).unwrap_or(Key::new(local, 0)))
    }

    /// A channel that both sides have agreed on.
    pub(super) fn established(&mut self, local: u32) -> Result<&mut Channel, Failure> {
        self.slot(local).filter(|c| c.phase == Phase::Open).ok_or_else(|| bad_channel(local))
    }

    /// A channel that we are opening.
    pub(super) fn opening(&mut self, local: u32) -> Result<&mut Channel, Failure> {
        self.slot(local).filter(|c| c.phase == Phase::Opening).ok_or_else(|| bad_channel(local))
    }

    pub(super) fn stall(&mut self, local: u32) {
        if let Some(channel) = self.slot(local)
            && !channel.stalled
        {
            channel.stalled = true;
            self.stalled.push_back(local);
        }
    }

    pub(super) fn make_ready(&mut self, local: u32) {
        if let Some(channel) = self.slot(local)
            && !channel.ready
        {
            channel.ready = true;
            self.ready.push_back(local);
        }
    }
}

pub(super) fn bad_channel(local: u32) -> Failure {
    Failure::text(Fault::BadChannel, alloc::format!("channel {local}"))
}
