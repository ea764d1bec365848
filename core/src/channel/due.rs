//! What is due: replies, credit, EOF and CLOSE that were put off, and answers nobody gave.

use super::table::{Channels, Phase, Reply, Undecided};
use super::{ChannelEvent, ChannelId, Heard, OpenFailure, OpenTicket, RequestTicket};
use crate::msg::{ChannelClose, ChannelEof, ChannelFailure, ChannelSuccess, ChannelWindowAdjust};
use crate::time::Time;
use crate::transport::{Open, Transport};

impl Channels {
    /// Sends control output that is due, as far as the gate and the output allow.
    #[inline]
    pub(crate) fn flush(&mut self, open: &mut Open<'_>, now: Time) {
        if self.globals.is_due() || !self.ready.is_empty() {
            self.send_due(open, now);
        }
    }

    fn send_due(&mut self, open: &mut Open<'_>, now: Time) {
        self.globals.flush(open);
        while !open.clogged()
            && let Some(local) = self.ready.pop_front()
        {
            self.flush_channel(open, local, now);
        }
    }

    pub(super) fn flush_channel(&mut self, open: &mut Open<'_>, local: u32, now: Time) {
        let Some(channel) = self.slot(local) else { return };
        channel.ready = false;
        if channel.phase != Phase::Open {
            // Comes back when the open is confirmed.
            return;
        }
        let remote = channel.remote;
        while let Some(Reply { ok: Some(ok), .. }) = channel.replies.front().copied() {
            channel.replies.pop_front();
            channel.first_reply = channel.first_reply.saturating_add(1);
            if channel.close_sent {
                continue;
            }
            if ok {
                open.send(&ChannelSuccess::new(remote));
            } else {
                open.send(&ChannelFailure::new(remote));
            }
        }
        if channel.receive.due() && !channel.eof_received && !channel.close_wanted {
            let bytes = channel.receive.adjust(now);
            open.send(&ChannelWindowAdjust::new(remote, bytes));
        }
        if channel.eof_wanted && !channel.eof_sent && !channel.close_sent {
            channel.eof_sent = true;
            open.send(&ChannelEof::new(remote));
        }
        if channel.close_wanted && !channel.close_sent {
            channel.close_sent = true;
            open.send(&ChannelClose::new(remote));
        }
    }

    /// The next channel whose writer may go on.
    pub(crate) fn next_writable(&mut self, transport: &Transport) -> Option<Heard<'static>> {
        while transport.takes_data() {
            let local = self.stalled.pop_front()?;
            let Some(channel) = self.slot(local) else { continue };
            channel.stalled = false;
            if channel.blocked && channel.send_window > 0 {
                channel.blocked = false;
                return Some(Heard::Channel(self.id(local), ChannelEvent::Writable));
            }
        }
        None
    }

    /// When the oldest undecided question is denied.
    pub(crate) fn decision_deadline(&mut self) -> Option<Time> {
        while let Some((at, question)) = self.decisions.front() {
            if self.is_undecided(question) {
                return Some(*at);
            }
            self.decisions.pop_front();
        }
        None
    }

    /// Denies what has waited too long.
    pub(crate) fn deny_expired(&mut self, transport: &mut Transport, now: Time) {
        while self.decision_deadline().is_some_and(|at| at <= now) {
            match self.decisions.pop_front() {
                Some((_, Undecided::Open(channel))) => {
                    let why = OpenFailure::ADMINISTRATIVELY_PROHIBITED;
                    let ticket = OpenTicket { channel };
                    if self.reject(transport, ticket, why, "not answered in time").is_err() {
                        // The output is full; there will be another time.
                        let again = transport.liveness().decision_due(now);
                        self.decisions.push_back((again, Undecided::Open(channel)));
                    }
                }
                Some((_, Undecided::Request(channel, number))) => {
                    let _ = self.reply(&RequestTicket { channel, number }, false);
                }
                Some((_, Undecided::Global(number))) => {
                    let _ = self.globals.decide(number, false, None);
                }
                None => return,
            }
        }
    }

    pub(super) fn is_undecided(&self, question: &Undecided) -> bool {
        let live = |id: &ChannelId| self.table.get(id.key());
        match question {
            Undecided::Open(id) => live(id).is_some_and(|c| c.phase == Phase::Undecided),
            Undecided::Request(id, number) => live(id).is_some_and(|c| {
                let index = number.checked_sub(c.first_reply).and_then(|i| usize::try_from(i).ok());
                matches!(index.and_then(|i| c.replies.get(i)), Some(Reply { ok: None, .. }))
            }),
            Undecided::Global(number) => self.globals.undecided(*number),
        }
    }

    pub(super) fn must_decide(&mut self, transport: &mut Transport, now: Time, question: Undecided) {
        let at = transport.liveness().decision_due(now);
        if self.decisions.len() >= 1024 {
            let mut decisions = core::mem::take(&mut self.decisions);
            decisions.retain(|(_, q)| self.is_undecided(q));
            self.decisions = decisions;
        }
        self.decisions.push_back((at, question));
        transport.liveness().decision_asked(at);
    }
}
