use std::fmt;

use konko_core::keys::Fingerprint;
use konko_core::transport::negotiate::Negotiated;
use konko_core::wire::SshStr;

use konko_core::hosts::HostKeyProblem;
use konko_core::login::{Attempt, Outcome};

/// Something worth a line in a log; see [`ClientOptions::on_notice`](crate::ClientOptions::on_notice).
/// `Display` is that line; everything in it that the peer said is escaped.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// An address is tried.
    Connecting(std::net::SocketAddr),
    /// An address did not connect, for this reason; others may.
    NotConnected(std::net::SocketAddr, String),
    /// The TCP connection stands.
    Connected(std::net::SocketAddr),
    /// The algorithms are agreed on, first or again.
    Negotiated {
        /// The peer's identification line, escaped.
        ident: String,
        /// The algorithms.
        algorithms: Box<Negotiated>,
        /// Whether strict key exchange is in force.
        strict: bool,
    },
    /// The server proved that it has this key: type and fingerprint.
    HostKey(&'static str, Fingerprint),
    /// The key was accepted, for this reason.
    HostKeyAccepted(String),
    /// The server told which keys it has, and proved those that were not known; what was done about them.
    HostKeysUpdated(String),
    /// The server told which keys it has, and nothing was done; why.
    HostKeysKept(String),
    /// The key is not the known one, and the options say to go on nevertheless.
    HostKeyTolerated(Box<HostKeyProblem>),
    /// Something about host keys that the user should know.
    Warning(String),
    /// One authentication attempt is over.
    Auth(Attempt),
    /// The user is in.
    Authenticated {
        /// By this method.
        method: &'static str,
        /// The server asked for no proof at all.
        trivial: bool,
    },
    /// A channel is open: its number.
    Opened(String),
    /// A channel is closed: its number.
    Closed(String),
    /// Keys were renewed: how many exchanges there were.
    Rekeyed(u64),
    /// A client's connection was let in.
    Accepted,
    /// A client offered proof of who it is, or asked whether a key would do.
    Login {
        /// The user name; from the client.
        user: String,
        /// The authentication method.
        method: &'static str,
        /// The type and fingerprint of the key, for publickey.
        key: Option<(&'static str, Fingerprint)>,
        /// What came of it.
        outcome: Outcome,
    },
    /// A client runs something in a session: what, escaped.
    Session(String),
    /// Something a client wanted was refused: what and why, escaped.
    Refused(String),
    /// What others can cause at will happened a hundred times within a minute; the rest of that minute
    /// nothing more is said about it.
    Quiet,
    /// The server opened a channel that nobody here wants; it was refused. Its type, escaped.
    OpenRefused(String),
    /// The server sent a request that concerns no channel. Its name, escaped.
    GlobalRequest(String),
    /// The connection ended.
    Ended(String),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting(addr) => write!(f, "connecting to {addr}"),
            Self::NotConnected(addr, why) => write!(f, "no connection to {addr}: {why}"),
            Self::Connected(addr) => write!(f, "connected to {addr}"),
            Self::Negotiated { ident, algorithms, strict } => {
                let n = algorithms;
                let quantum = if n.kex.post_quantum() { "post-quantum" } else { "not post-quantum" };
                let strict = if *strict { "strict" } else { "not strict" };
                write!(f, "peer {ident}; kex {} ({quantum}, {strict}), host key {}", n.kex, n.host_key)?;
                for ((p, c), way) in n.protection.iter().zip(n.compression).zip(["out", "in"]) {
                    write!(f, "; {way} {}", p.cipher)?;
                    if let Some(mac) = p.mac {
                        write!(f, " {mac}")?;
                    }
                    write!(f, " compression {c}")?;
                }
                Ok(())
            }
            Self::HostKey(kind, fingerprint) => write!(f, "host key {kind} {fingerprint}"),
            Self::HostKeyAccepted(why) => write!(f, "host key accepted: {why}"),
            Self::HostKeysUpdated(what) => write!(f, "{what}"),
            Self::HostKeysKept(why) => write!(f, "host keys are not updated: {why}"),
            Self::HostKeyTolerated(problem) => write!(f, "warning: {problem}"),
            Self::Warning(text) => write!(f, "warning: {text}"),
            Self::Auth(attempt) => write!(f, "auth {attempt}"),
            Self::Authenticated { method, trivial } => {
                let trivial = if *trivial { ", without any proof" } else { "" };
                write!(f, "authenticated by {method}{trivial}")
            }
            Self::Opened(id) => write!(f, "channel {id} open"),
            Self::Closed(id) => write!(f, "channel {id} closed"),
            Self::Rekeyed(n) => write!(f, "keys renewed (key exchange {n})"),
            Self::Accepted => f.write_str("connection accepted"),
            Self::Login { user, method, key, outcome } => {
                write!(f, "{method} for \"{}\"", SshStr::new(user.as_bytes()).excerpt(100))?;
                if let Some((kind, fingerprint)) = key {
                    write!(f, " {kind} {fingerprint}")?;
                }
                f.write_str(match outcome {
                    Outcome::Accepted => ": accepted",
                    Outcome::Partial => ": right, and more is needed",
                    _ => ": rejected",
                })
            }
            Self::Session(text) => f.write_str(text),
            Self::Refused(text) => write!(f, "refused: {text}"),
            Self::Quiet => f.write_str("this happens very often; no more lines about it for a minute"),
            Self::OpenRefused(kind) => write!(f, "refused a channel that the server opened: {kind}"),
            Self::GlobalRequest(name) => write!(f, "the server says {name}"),
            Self::Ended(why) => write!(f, "connection ended: {why}"),
        }
    }
}
