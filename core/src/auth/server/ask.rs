//! What the application is asked, and what it answers.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use subtle::ConstantTimeEq;

use super::{AuthOutcome, VerifiedKey};
use crate::auth::MethodSet;
use crate::keys::{PublicKey, SignatureAlgorithm};
use crate::msg::UserauthInfoResponse;
use crate::wire::{Part, SshStr};

/// Answers one authentication attempt. Give it to `decide_auth`.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an attempt without a decision holds up the client until the login grace time ends"]
pub struct AuthTicket {
    pub(crate) number: u32,
}

/// Answers whether a key may be used. Give it to `decide_probe`; it lets nobody in.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a probe without an answer holds up the client until the login grace time ends"]
pub struct ProbeTicket {
    pub(crate) number: u32,
}

/// The application's word on an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthDecision {
    /// The user is in.
    Accept,
    /// No. The answer goes out after a delay that does not depend on the reason.
    Reject,
    /// Right so far, and one of these methods is needed too.
    Partial(MethodSet),
    /// Ask the user; for keyboard-interactive only. `Credential::Answers` follows.
    Challenge(Challenge),
    /// The password was right but has expired; for passwords only. `Credential::PasswordChange`
    /// may follow. The answer to that too, when the new password will not do (RFC 4252 §8).
    PasswordExpired {
        /// Text for the user: that the password has expired, or what is wrong with the new one.
        prompt: String,
    },
}

/// Questions to the user (RFC 4256 §3.2), at most 64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// Title; may be empty.
    pub name: String,
    /// What to do; may be empty.
    pub instruction: String,
    /// Each with whether the answer may be shown while it is typed.
    pub prompts: Vec<(String, bool)>,
}

/// What a client offers as proof. Keys are not here: see [`ServerAuth::Signed`](crate::ServerAuth).
/// Comparing two takes the same time whatever a password is, up to its length. `Debug` shows no password
/// and no answer.
#[non_exhaustive]
pub enum Credential<'b> {
    /// Nothing.
    None,
    /// A password. Compare it in constant time.
    Password(&'b [u8]),
    /// An expired password and a new one.
    PasswordChange {
        /// The expired one.
        old: &'b [u8],
        /// The new one.
        new: &'b [u8],
    },
    /// The start of keyboard-interactive; answer with `Challenge`.
    KeyboardInteractive {
        /// What the client would like to be asked by, comma-separated; mostly empty.
        submethods: SshStr<'b>,
    },
    /// The answers to the last challenge, as many as it had prompts.
    Answers(Answers<'b>),
}

impl<'a> Credential<'a> {
    /// The same proof in other bytes.
    fn over<'b>(self, part: &mut impl Part<'a, 'b>) -> Option<Credential<'b>> {
        Some(match self {
            Self::None => Credential::None,
            Self::Password(password) => Credential::Password(part(password)?),
            Self::PasswordChange { old, new } => {
                Credential::PasswordChange { old: part(old)?, new: part(new)? }
            }
            Self::KeyboardInteractive { submethods } => {
                Credential::KeyboardInteractive { submethods: submethods.over(part)? }
            }
            Self::Answers(Answers(answers)) => Credential::Answers(Answers(answers.over(part)?)),
        })
    }
}

impl PartialEq for Credential<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Password(a), Self::Password(b)) => same(a, b),
            (Self::PasswordChange { old: a, new: c }, Self::PasswordChange { old: b, new: d }) => {
                same(a, b) & same(c, d)
            }
            (Self::KeyboardInteractive { submethods: a }, Self::KeyboardInteractive { submethods: b }) => {
                a == b
            }
            (Self::Answers(a), Self::Answers(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Credential<'_> {}

/// Compares secrets.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Password(_) => f.write_str("Password(..)"),
            Self::PasswordChange { .. } => f.write_str("PasswordChange { .. }"),
            Self::KeyboardInteractive { submethods } => {
                f.debug_struct("KeyboardInteractive").field("submethods", submethods).finish()
            }
            Self::Answers(answers) => answers.fmt(f),
        }
    }
}

/// Answers of keyboard-interactive.
#[derive(Clone, Copy)]
pub struct Answers<'b>(pub(super) UserauthInfoResponse<'b>);

impl PartialEq for Answers<'_> {
    fn eq(&self, other: &Self) -> bool {
        let all = self.iter().zip(other.iter()).fold(true, |all, (a, b)| all & same(a, b));
        self.0.count == other.0.count && all
    }
}

impl Eq for Answers<'_> {}

impl<'b> Answers<'b> {
    /// The answers in order. Compare them in constant time.
    pub fn iter(&self) -> impl Iterator<Item = &'b [u8]> + Clone + use<'b> {
        self.0.answers()
    }
}

impl fmt::Debug for Answers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answers({})", self.0.count)
    }
}

/// What only a server is asked: who its user is (RFC 4252).
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerAuth<'b> {
    /// May this user come in with this key? Nothing is proven yet, and a yes lets nobody in: the client
    /// signs then, or has signed already and its signature is verified. `Signed` follows.
    Probe {
        /// For `decide_probe`.
        ticket: ProbeTicket,
        /// The user name.
        user: SshStr<'b>,
        /// The key.
        key: Box<PublicKey>,
        /// How it signs.
        algorithm: SignatureAlgorithm,
        /// Whether the client has signed. Nobody has looked at the signature.
        signed: bool,
    },
    /// The client has the private half of this key, about which `Probe` asked just before: its
    /// signature over this session was verified. For which user, says `user`.
    Signed {
        /// For `decide_auth`.
        ticket: AuthTicket,
        /// The key.
        key: Box<VerifiedKey>,
    },
    /// May this user come in if that host vouches for it, with this key (`hostbased`, RFC 4252 §9)? Whether the key is that
    /// host's, and whether its user may be this one, is for the application to know: known hosts, and a list of equivalent
    /// hosts. The client has signed, and a yes has its signature verified; `HostSigned` follows. A no, or none, lets
    /// nobody in.
    HostProbe {
        /// For `decide_probe`.
        ticket: ProbeTicket,
        /// The user name here.
        user: SshStr<'b>,
        /// The host's key.
        key: Box<PublicKey>,
        /// How it signs.
        algorithm: SignatureAlgorithm,
        /// The client's host, as it calls itself.
        host: SshStr<'b>,
        /// The user there.
        host_user: SshStr<'b>,
    },
    /// The host about which `HostProbe` asked just before has signed: with its key, over this session, for its user.
    HostSigned {
        /// For `decide_auth`.
        ticket: AuthTicket,
        /// The host's key.
        key: Box<VerifiedKey>,
        /// The client's host.
        host: Vec<u8>,
        /// The user there.
        user: Vec<u8>,
    },
    /// The client offers proof that is no key.
    Attempt {
        /// For `decide_auth`.
        ticket: AuthTicket,
        /// The user name; empty with answers, see `user`.
        user: SshStr<'b>,
        /// The proof.
        credential: Credential<'b>,
    },
    /// An attempt is over: accepted, partly right, or rejected by the application or by the core. For
    /// logs and counts; there is nothing to answer.
    Outcome(Box<AuthOutcome>),
}

impl<'a> ServerAuth<'a> {
    /// The same in other bytes.
    pub(crate) fn over<'b>(self, part: &mut impl Part<'a, 'b>) -> Option<ServerAuth<'b>> {
        Some(match self {
            Self::Probe { ticket, user, key, algorithm, signed } => {
                ServerAuth::Probe { ticket, user: user.over(part)?, key, algorithm, signed }
            }
            Self::Signed { ticket, key } => ServerAuth::Signed { ticket, key },
            Self::HostProbe { ticket, user, key, algorithm, host, host_user } => ServerAuth::HostProbe {
                ticket,
                user: user.over(part)?,
                key,
                algorithm,
                host: host.over(part)?,
                host_user: host_user.over(part)?,
            },
            Self::HostSigned { ticket, key, host, user } => {
                ServerAuth::HostSigned { ticket, key, host, user }
            }
            Self::Attempt { ticket, user, credential } => {
                ServerAuth::Attempt { ticket, user: user.over(part)?, credential: credential.over(part)? }
            }
            Self::Outcome(outcome) => ServerAuth::Outcome(outcome),
        })
    }
}
