//! Which message is legal when. Everything that decides it stands in this file.
//!
//! The table is a pure function of the receiver's state, its role, strict key exchange and the
//! message number. `spec-notes/legality.md` is generated from it, and a test walks the whole matrix.
//! What a legal message then *means* (the step of a key exchange method, the authentication request
//! that is outstanding, the channel) is checked by the machine it goes to.

use alloc::string::String;
use core::fmt::Write as _;

use super::handshake::negotiate::Role;
use crate::msg::{self, Category, SentBy};

/// What the receiver is waiting for.
///
/// ```text
/// FirstInit -> FirstMethod -> FirstNewKeys -> Service -> Auth -> Connected
///                                                        |  ^        |  ^
///                                                        v  |        v  |
///                                               RekeyMethod -> RekeyNewKeys
/// ```
///
/// A key exchange that this side has started changes nothing before the peer's KEXINIT: until
/// then its data is legal (RFC 4253 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Identification is done; the peer's first KEXINIT is next.
    FirstInit,
    /// The first key exchange: messages of the method.
    FirstMethod,
    /// The first NEWKEYS.
    FirstNewKeys,
    /// Keyed; the service request or its answer is next.
    Service,
    /// User authentication.
    Auth,
    /// Authenticated.
    Connected,
    /// The peer's KEXINIT of a later exchange is in: messages of the method.
    RekeyMethod,
    /// NEWKEYS of a later exchange.
    RekeyNewKeys,
}

impl State {
    /// All of them.
    pub const ALL: [State; 8] = [
        State::FirstInit,
        State::FirstMethod,
        State::FirstNewKeys,
        State::Service,
        State::Auth,
        State::Connected,
        State::RekeyMethod,
        State::RekeyNewKeys,
    ];
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Legality {
    /// Handle it.
    Handle,
    /// Drop it without an answer.
    Ignore,
    /// Answer UNIMPLEMENTED (RFC 4253 §11.4).
    Unimplemented,
    /// End the connection.
    Reject,
}

/// The verdict over message `number`, received by `role` in `state`.
///
/// `strict` is strict key exchange (OpenSSH PROTOCOL §1.9): in the first exchange nothing but the
/// exchange itself is legal.
pub fn judge(state: State, role: Role, strict: bool, number: u8) -> Legality {
    use Legality::{Handle, Ignore, Reject, Unimplemented};
    let Some(info) = msg::info(number) else {
        return match (number, state) {
            // Zero is no message, and 80 to 127 belong to the connection protocol, which is a
            // closed list (RFC 4250 §4.1.1).
            (0 | 80..=127, _) => Reject,
            // The first exchange is a closed list; later ones are not (RFC 4253 §11.4).
            (_, State::FirstInit | State::FirstMethod | State::FirstNewKeys) => Reject,
            _ => Unimplemented,
        };
    };
    let sender = role.peer();
    if (info.from == SentBy::Client && sender != Role::Client)
        || (info.from == SentBy::Server && sender != Role::Server)
    {
        return Reject;
    }
    if info.category == Category::Disconnect {
        return Handle;
    }
    match state {
        State::FirstInit => match info.category {
            Category::KexInit => Handle,
            // Whether the exchange is strict is known only with KEXINIT, which then looks back.
            Category::Filler => Ignore,
            _ => Reject,
        },
        State::FirstMethod | State::FirstNewKeys => match info.category {
            Category::Filler if !strict => Ignore,
            other => kex_step(state, other),
        },
        State::RekeyMethod | State::RekeyNewKeys => match info.category {
            Category::Filler => Ignore,
            other => kex_step(state, other),
        },
        State::Service => match info.category {
            Category::Service | Category::ExtInfo => Handle,
            Category::Filler | Category::Ping => Ignore,
            Category::KexInit if role == Role::Client => Handle,
            _ => Reject,
        },
        State::Auth => match info.category {
            Category::Auth | Category::AuthRequest => Handle,
            Category::ExtInfo if role == Role::Client => Handle,
            // Paramiko asks for the service again before each method; OpenSSH answers it too.
            Category::Service if role == Role::Server => Handle,
            Category::Filler | Category::Ping => Ignore,
            Category::KexInit if role == Role::Client => Handle,
            _ => Reject,
        },
        State::Connected => match info.category {
            Category::Connection | Category::KexInit | Category::Ping => Handle,
            Category::Filler => Ignore,
            // RFC 4252 §5.3: once the user is in, what is about authentication is silently ignored.
            // Servers send a FAILURE late, for a request that they took for another one.
            Category::Auth | Category::AuthRequest => Ignore,
            _ => Reject,
        },
    }
}

fn kex_step(state: State, category: Category) -> Legality {
    match (state, category) {
        (State::FirstMethod | State::RekeyMethod, Category::KexMethod) => Legality::Handle,
        (State::FirstNewKeys | State::RekeyNewKeys, Category::NewKeys) => Legality::Handle,
        _ => Legality::Reject,
    }
}

/// The table as a Markdown page, for `spec-notes/legality.md`.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Legality of every message\n\n\
         Generated from `core/src/transport/legal.rs` (`konko_core::transport::legal::markdown`). A test\n\
         fails when this page and the table differ.\n\n\
         Columns: state of the receiver. Cells: verdict for a receiving **c**lient and a receiving **s**erver.\n\
         `+` handled, `.` ignored, `?` answered with UNIMPLEMENTED, `-` ends the connection. A cell `+/-`\n\
         reads: client handles, server refuses. `!` after a cell: refused under strict key exchange.\n\n| message |",
    );
    for state in State::ALL {
        let _ = write!(page, " {state:?} |");
    }
    page.push_str("\n|---|");
    page.push_str(&"---|".repeat(State::ALL.len()));
    page.push('\n');
    let known = msg::MESSAGES.iter().map(|m| (m.number, m.name));
    let unknown = [
        (0, "(none)"),
        (8, "unassigned, transport"),
        (70, "unassigned, authentication"),
        (101, "unassigned, connection"),
        (200, "unassigned, private"),
    ];
    for (number, name) in known.chain(unknown) {
        let _ = write!(page, "| {number} {name} |");
        for state in State::ALL {
            let cell = |role| symbol(judge(state, role, false, number));
            let (c, s) = (cell(Role::Client), cell(Role::Server));
            let strict = [Role::Client, Role::Server]
                .iter()
                .any(|r| judge(state, *r, true, number) != judge(state, *r, false, number));
            let mark = if strict { "!" } else { "" };
            let _ = if c == s { write!(page, " {c}{mark} |") } else { write!(page, " {c}/{s}{mark} |") };
        }
        page.push('\n');
    }
    page
}

fn symbol(verdict: Legality) -> char {
    match verdict {
        Legality::Handle => '+',
        Legality::Ignore => '.',
        Legality::Unimplemented => '?',
        Legality::Reject => '-',
    }
}
