//! What a server lets a session do before its program starts, and while it runs (RFC 4254 §6).
//!
//! [`Sessions`] keeps what clients ask for on the channels of one connection: environment, terminal,
//! program, and says for each request what is to happen. It asks the application what only that can
//! know, and a binding does the rest: it replies, starts the program, passes on what it is told.
//!
//! ```
//! # use konko_core::channel::{ChannelId, ChannelRequest, RequestTicket};
//! # use konko_core::session::{Sessions, Step, SessionRequest};
//! # use konko_core::{Decision, ServerConnection, UsageError};
//! fn on_request(
//!     conn: &mut ServerConnection,
//!     sessions: &mut Sessions,
//!     channel: ChannelId,
//!     ticket: Option<RequestTicket>,
//!     request: &ChannelRequest<'_>,
//! ) -> Result<(), UsageError> {
//!     let granted = match sessions.request(channel, SessionRequest::of(request)) {
//!         Step::Reply(granted) => granted,
//!         Step::Pty(pty) => sessions.grant_pty(channel, pty),
//!         Step::Start(start) => {
//!             println!("to run: {}", start.program);
//!             true
//!         }
//!         // For a program that runs, and for the application.
//!         Step::Tell(_) | Step::Other(_) => false,
//!     };
//!     ticket.map_or(Ok(()), |ticket| conn.reply(ticket, Decision::accept_if(granted)))
//! }
//! ```

mod wish;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::mem;

pub use wish::{ChannelKind, Control, Program, Pty, SessionRequest};

use crate::channel::ChannelId;
use crate::text::pattern;

/// A name and a value, as bytes.
pub type Variable = (Vec<u8>, Vec<u8>);

/// What sessions may do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionRules {
    /// Sessions of one connection at a time (`MaxSessions` of sshd_config(5)).
    pub max_sessions: usize,
    /// Patterns for the names of variables that a client may set (`AcceptEnv`). A variable may
    /// change what a program does, so name only those that are harmless.
    pub accept_env: Vec<Vec<u8>>,
}

impl Default for SessionRules {
    /// 10 sessions, as OpenSSH; the variables of the language, `LANG` and `LC_*`, as Debian's.
    fn default() -> Self {
        SessionRules { max_sessions: 10, accept_env: [&b"LANG"[..], b"LC_*"].map(Vec::from).into() }
    }
}

/// The sessions of a connection.
#[derive(Debug)]
pub struct Sessions {
    rules: SessionRules,
    slots: BTreeMap<ChannelId, Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    started: bool,
    env: Vec<Variable>,
    pty: Option<Pty>,
}

/// What is to happen with a request.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the client waits for a reply"]
pub enum Step {
    /// It is answered with this; nothing else is to be done.
    Reply(bool),
    /// May the session have this terminal? If so, [`Sessions::grant_pty`]; reply then.
    Pty(Pty),
    /// May this run? If so, start it and reply; if not, give it back to [`Sessions::rejected`] first: the client
    /// may want something else on the same channel then, as OpenSSH's `sftp -s` and others do.
    Start(Start),
    /// Tell the program that runs, and reply whether it listens.
    Tell(Control),
    /// It has nothing to do with starting a program; or the channel is none of the sessions.
    Other(SessionRequest),
}

/// A program that a client wants to run.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Start {
    /// What is to run.
    pub program: Program,
    /// The environment variables that the client sent and that the rules let through, in its order.
    pub env: Vec<Variable>,
    /// The terminal that was granted.
    pub pty: Option<Pty>,
}

impl Sessions {
    /// None yet.
    pub fn new(rules: SessionRules) -> Self {
        Sessions { rules, slots: BTreeMap::new() }
    }

    /// Whether one more would be too many: refuse its channel with
    /// [`OpenFailure::RESOURCE_SHORTAGE`](crate::channel::OpenFailure::RESOURCE_SHORTAGE).
    pub fn full(&self) -> bool {
        self.slots.len() >= self.rules.max_sessions
    }

    /// A session's channel was accepted.
    pub fn opened(&mut self, channel: ChannelId) {
        self.slots.insert(channel, Slot::default());
    }

    /// A channel was closed.
    pub fn closed(&mut self, channel: ChannelId) {
        self.slots.remove(&channel);
    }

    /// Whether a program has been started on the channel.
    pub fn started(&self, channel: ChannelId) -> bool {
        self.slots.get(&channel).is_some_and(|slot| slot.started)
    }

    /// What is to happen with a request of the client.
    pub fn request(&mut self, channel: ChannelId, wish: SessionRequest) -> Step {
        let Some(slot) = self.slots.get_mut(&channel) else { return Step::Other(wish) };
        match wish {
            SessionRequest::Env(name, value) if !slot.started => {
                let wanted = self.rules.accept_env.iter().any(|p| pattern::matches(p, &name));
                if wanted {
                    // How many and how large they may be, the channel has seen to.
                    slot.env.push((name, value));
                }
                Step::Reply(wanted)
            }
            SessionRequest::Pty(pty) if !slot.started => Step::Pty(pty),
            SessionRequest::Control(control) => {
                if let (Control::WindowChange { columns, rows, width, height }, Some(pty)) =
                    (&control, &mut slot.pty)
                {
                    (pty.columns, pty.rows, pty.width, pty.height) = (*columns, *rows, *width, *height);
                }
                // Before the program is started, the size is that of the request for the terminal.
                if slot.started { Step::Tell(control) } else { Step::Reply(false) }
            }
            SessionRequest::Start(program) if !slot.started => {
                slot.started = true;
                Step::Start(Start { program, env: mem::take(&mut slot.env), pty: slot.pty.take() })
            }
            other => Step::Other(other),
        }
    }

    /// The session may have the terminal of a [`Step::Pty`]: the program gets it. False if its channel
    /// is gone, or its program has been started meanwhile.
    pub fn grant_pty(&mut self, channel: ChannelId, pty: Pty) -> bool {
        let slot = self.slots.get_mut(&channel).filter(|slot| !slot.started);
        slot.map(|slot| slot.pty = Some(pty)).is_some()
    }

    /// The program may not run. What was prepared for it is kept for the next.
    pub fn rejected(&mut self, channel: ChannelId, env: Vec<Variable>, pty: Option<Pty>) {
        if let Some(slot) = self.slots.get_mut(&channel) {
            *slot = Slot { started: false, env, pty };
        }
    }
}

#[cfg(test)]
mod tests;
