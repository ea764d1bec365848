//! What no application should have to think about: opens and requests that make no sense.

use super::table::Channel;
use super::{ChannelRequest, Exit, OpenKind};
use crate::transport::negotiate::Role;

/// Longest host name of a direct-tcpip open, and longest value of an environment variable.
const MAX_HOST: usize = 1025;
const MAX_ENV_VALUE: usize = 32 * 1024;

/// Whether a variable is one that a shell could have set: C-22. Which names are harmless is for
/// the application to say.
fn sane_env(name: &[u8], value: &[u8]) -> bool {
    let word = name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let starts = name.first().is_some_and(|b| !b.is_ascii_digit());
    word && starts && name.len() <= 256 && value.len() <= MAX_ENV_VALUE && !value.contains(&0)
}

/// Why an open is refused before the application sees it.
pub(super) fn refusal(role: Role, open: &OpenKind<'_>) -> Option<&'static str> {
    match open {
        // RFC 4254 §6.1: a client rejects sessions; it forwards for nobody either (C-04).
        OpenKind::Session | OpenKind::DirectTcpip { .. } if role == Role::Client => {
            Some("a client takes no such channel")
        }
        OpenKind::ForwardedTcpip { .. } if role == Role::Server => Some("a server takes no such channel"),
        OpenKind::DirectTcpip { host, port, .. } => {
            // A name that is not UTF-8 is nobody's: it would have to become another one.
            let host = host.to_str().filter(|host| host.len() <= MAX_HOST && !host.contains('\0'));
            let fine = host.is_some() && (1..=0xffff).contains(port);
            (!fine).then_some("no such host or port")
        }
        _ => None,
    }
}

/// What to do with a request before the application sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Screen<'p> {
    Ask,
    Reject,
    Drop,
    Exit(Exit<'p>),
}

impl Channel {
    /// Requests that no application should have to think about.
    pub(super) fn screen<'p>(&mut self, request: &ChannelRequest<'p>, max_env: u32) -> Screen<'p> {
        let exit = match *request {
            ChannelRequest::ExitStatus(status) => Some(Exit::Status(status)),
            ChannelRequest::ExitSignal { signal, core_dumped, message } => {
                Some(Exit::Signal { signal, core_dumped, message })
            }
            _ => None,
        };
        if let Some(exit) = exit {
            // The first one counts.
            return if core::mem::replace(&mut self.exit_seen, true) {
                Screen::Drop
            } else {
                Screen::Exit(exit)
            };
        }
        match request {
            r if r.starts_program() => {
                // One program a channel (RFC 4254 §6.5), and only on sessions.
                if !self.session || core::mem::replace(&mut self.program, true) {
                    Screen::Reject
                } else {
                    Screen::Ask
                }
            }
            ChannelRequest::Pty(_) => {
                if !self.session || self.program || core::mem::replace(&mut self.terminal, true) {
                    Screen::Reject
                } else {
                    Screen::Ask
                }
            }
            ChannelRequest::Env { name, value } => {
                self.env = self.env.saturating_add(1);
                let fine = sane_env(name.as_bytes(), value.as_bytes());
                if fine && self.env <= max_env { Screen::Ask } else { Screen::Reject }
            }
            ChannelRequest::Other { kind, .. } if kind.as_bytes() == b"keepalive@openssh.com" => {
                Screen::Reject
            }
            _ => Screen::Ask,
        }
    }
}
